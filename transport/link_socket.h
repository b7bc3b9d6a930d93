/*  link_socket - CURVE sockets of a link, with every option in place

    One place sets the whole profile, before bind and connect, and reads the
    socket's monitor. See docs on each option in link_socket.c; the figures come
    from measurements with libzmq 4.3.4.
*/
#pragma once

#include "transport/identity.h"

typedef struct {
    const keypair_t *key;
    const char *domain; /* ZAP domain of those who connect to us */
    int64_t frame_max;  /* bytes; ZMQ_MAXMSGSIZE */
    int high_water;     /* frames */
    uint64_t affinity;  /* a bit for each of libzmq's I/O threads that may serve it; 0: all */
} link_profile_t;

typedef struct {
    void *socket;
    void *monitor; /* PAIR: events of the socket's connections */
} link_socket_t;

/*  A ROUTER that takes only CURVE connections that ZAP lets in. */
int link_socket_server (link_socket_t *self, void *zmq, const link_profile_t *profile,
                        nexus_error_t *error);
/*  A DEALER for one connection to the node of that key; it never reconnects: whoever
    owns it opens another, to an address that was looked up again. */
int link_socket_client (link_socket_t *self, void *zmq, const link_profile_t *profile,
                        const record_key_t *server, nexus_error_t *error);
void link_socket_close (link_socket_t *self);

typedef enum {
    LINK_EVENT_OTHER,
    LINK_EVENT_ACCEPTED,        /* value: descriptor */
    LINK_EVENT_CLOSED,          /* could not connect */
    LINK_EVENT_DISCONNECTED,    /* value: descriptor */
    LINK_EVENT_REFUSED,         /* by ZAP; value: its status */
    LINK_EVENT_HANDSHAKE_FAILED /* wrong key, wrong protocol, silence */
} link_event_t;

/*  The next event; false if none is waiting. */
bool link_socket_event (link_socket_t *self, link_event_t *ret_event, int *ret_value);
