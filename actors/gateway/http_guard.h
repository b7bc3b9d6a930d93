/*  http_guard - refuses requests that two readers could understand differently

    Request smuggling needs a message whose end a proxy and a server see in
    different places. libmicrohttpd 0.9.75 takes a repeated Content-Length, and
    Content-Length beside Transfer-Encoding; this guard looks at a request's
    headers before any of its body is used. What it refuses is answered with 400
    and the connection is closed. Source: RFC 9112, sections 5.1, 6.1, 6.3, 11.2.
*/
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    unsigned hosts, lengths, encodings, headers;
    const char *fault; /* what is wrong; NULL: nothing so far */
} http_guard_t;

/*  Looks at one header; sizes as received, since values may hold NUL bytes. */
void http_guard_header (http_guard_t *self, const char *name, size_t name_size, const char *value,
                        size_t value_size);

/*  After the last: NULL, or what is wrong with the request. */
const char *http_guard_check (http_guard_t *self, bool http_1_1);
