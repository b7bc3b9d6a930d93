/*  tls - mutual TLS for etcd's members and for the load on it

    One self-signed certificate serves all: the members among themselves, their clients' side and
    the generator. So each connection costs what it would in a cluster that trusts nobody else. */
#pragma once

#include "runtime/error.h"

#include <stddef.h>
#include <sys/types.h>

typedef struct tls tls_t;

/*  A certificate and its key: PEM files. */
typedef struct {
    char certificate[600], key[600];
} tls_identity_t;

/*  Makes both, in dir: an ECDSA P-256 key (mode 0600), and a certificate for 127.0.0.1 that is good
    for a day. */
int tls_make_identity (const char *dir, tls_identity_t *ret_identity, nexus_error_t *error);

/*  Shakes hands over a connected, blocking socket, as a client that shows that certificate and
    takes no other; makes the socket nonblocking. fd stays the caller's. NULL with a line on stderr.
 */
tls_t *tls_connect (int fd, const tls_identity_t *identity);
void tls_destroy (tls_t **self_p);

/*  As send and recv: the number of bytes; -1 with EAGAIN: not now. */
ssize_t tls_send (tls_t *self, const void *data, size_t size);
ssize_t tls_receive (tls_t *self, void *buffer, size_t room);
