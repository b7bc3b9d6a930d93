/*  tls_files - the API's certificate and key, as PEM files

    What is missing is made at the first start: an ECDSA P-256 key (mode 0600),
    and a self-signed certificate for ten years, for localhost, 127.0.0.1, ::1, the machine's name,
   and the names given. Each file is written beside its place, synced and renamed: a crash leaves a
   whole file or none. Edge only.
*/
#pragma once

#include "runtime/buffer.h"
#include "runtime/error.h"

enum { TLS_NAMES_MAX = 8 };

/*  Makes both files, or the certificate of a key that is there. names: further host names and
    addresses, NULL-terminated. -1 with an error that names the file: a certificate
    without its key, a file that is not readable or not writable. */
int tls_files_ensure (const char *certificate, const char *key, const char *const *names,
                      nexus_error_t *error);

/*  Appends the file's text and a 0 byte (not counted): what libmicrohttpd wants. */
int tls_files_read (const char *path, buffer_t *out, nexus_error_t *error);
