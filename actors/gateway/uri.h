/*  uri - the target of an HTTP request, taken apart

    Percent-decoding happens here, once, and strictly: what is not a clean path
    and query is refused instead of repaired, so that no two readers of a request
    (a proxy before us, this parser, the routes) can understand it differently.
*/
#pragma once

#include "runtime/record.h"

enum { URI_TARGET_MAX = 4096, URI_QUERY_MAX = 32 };

/*  Takes "/a/b?c=d" apart; everything returned lives in the arena. Refused with
    NEXUS_INVALID: anything but origin form, bad percent escapes, encoded
    slashes, empty, "." and ".." segments, control characters, a query parameter given
    twice, more than URI_QUERY_MAX of them. "+" in a query is a space. */
int uri_parse (const char *target, arena_t *arena, const char **ret_path, record_map_t *ret_query,
               nexus_error_t *error);

/*  Appends text so that uri_parse gives it back as part of a segment or a value. */
void uri_escape (const char *text, buffer_t *out);
