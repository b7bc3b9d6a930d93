/*  http - the HTTPS edge

    An actor that owns the API's listening socket: libmicrohttpd over GnuTLS
    (TLS 1.2 and 1.3), driven from the actor's own loop through its epoll
    descriptor. It checks framing (http_guard.h), sizes, text and token
    (api_tokens.h), makes each request an http_request to "gateway", suspends the
    connection meanwhile, and answers with the http_response. It knows of the
    API's operations only which ones are open to everyone.

    Limits: 256 connections; 32 KiB of headers; 1 MiB of body; 30 s for a request
    to arrive and for a response to be taken.

    Actor name: "http", one on each master, on a thread of its own. Its start fails
    when the address is in use, or a file is missing or wrong: the error says which.
*/
#pragma once

#include "actors/protocol/config.h"
#include "runtime/behaviour.h"

typedef struct {
    const api_config_t *config;
    const char *dir;          /* the node's: certificate, key and tokens, unless configured */
    const char *const *names; /* further names for the certificate, NULL-terminated; or NULL */
} http_args_t;

extern const behaviour_t http_behaviour;
