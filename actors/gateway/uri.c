/*  uri - the target of an HTTP request, taken apart */
#include "actors/gateway/uri.h"

#include <string.h>

static int hex (char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*  Decodes size bytes; in_path: no encoded slash, and "+" stays what it is. */
static char *decode (const char *text, size_t size, bool in_path, arena_t *arena,
                     nexus_error_t *error)
{
    char *out = arena_alloc (arena, size + 1), *to = out;
    if (!out) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "the request's target is too long");
        return NULL;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            int high = size - i > 2 ? hex (text[i + 1]) : -1;
            int low = size - i > 2 ? hex (text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                nexus_error_set (error, NEXUS_INVALID,
                                 "the request's target has a %% without two hex digits behind it");
                return NULL;
            }
            c = (unsigned char)(high << 4 | low);
            i += 2;
            if (in_path && c == '/') {
                nexus_error_set (error, NEXUS_INVALID, "the request's path has an encoded slash");
                return NULL;
            }
        } else if (c == '+' && !in_path) {
            c = ' ';
        } else if (c <= ' ' || c >= 127) {
            nexus_error_set (error, NEXUS_INVALID,
                             "the request's target has a character that must be percent-encoded");
            return NULL;
        }
        if (c < ' ' || c == 127) {
            nexus_error_set (error, NEXUS_INVALID, "the request's target has a control character");
            return NULL;
        }
        *to++ = (char)c;
    }
    *to = 0;
    return out;
}

static int check_segments (const char *path, nexus_error_t *error)
{
    for (const char *segment = path + 1;; segment++) {
        size_t size = strcspn (segment, "/");
        bool last = !segment[size];
        if ((!size && !(last && segment == path + 1)) || (size == 1 && segment[0] == '.') ||
            (size == 2 && segment[0] == '.' && segment[1] == '.'))
            return nexus_error_set (error, NEXUS_INVALID,
                                    "the request's path has an empty, \".\" or \"..\" segment");
        if (last)
            return 0;
        segment += size;
    }
}

static int parse_query (const char *text, arena_t *arena, record_map_t *query, nexus_error_t *error)
{
    query->items = arena_alloc (arena, URI_QUERY_MAX * sizeof (*query->items));
    if (!query->items)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the request's query is too long");
    while (*text) {
        size_t size = strcspn (text, "&");
        const char *equals = memchr (text, '=', size);
        size_t key_size = equals ? (size_t)(equals - text) : size;
        if (size) {
            if (query->count == URI_QUERY_MAX)
                return nexus_error_set (error, NEXUS_INVALID,
                                        "the request has more than %d query parameters",
                                        URI_QUERY_MAX);
            record_pair_t *pair = &query->items[query->count];
            pair->key = decode (text, key_size, false, arena, error);
            pair->value =
                equals ? decode (equals + 1, size - key_size - 1, false, arena, error) : "";
            if (!pair->key || !pair->value)
                return -1;
            for (size_t i = 0; i < query->count; i++)
                if (strcmp (query->items[i].key, pair->key) == 0)
                    return nexus_error_set (error, NEXUS_INVALID,
                                            "the query parameter %.60s is given twice", pair->key);
            query->count++;
        }
        text += size + (text[size] == '&');
    }
    return 0;
}

int uri_parse (const char *target, arena_t *arena, const char **ret_path, record_map_t *ret_query,
               nexus_error_t *error)
{
    if (strlen (target) > URI_TARGET_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "the request's target exceeds %d bytes",
                                URI_TARGET_MAX);
    if (target[0] != '/')
        return nexus_error_set (error, NEXUS_INVALID,
                                "the request's target must begin with a slash");
    size_t path_size = strcspn (target, "?");
    const char *path = decode (target, path_size, true, arena, error);
    record_map_t query = {0};
    if (!path || check_segments (path, error))
        return -1;
    if (parse_query (target + path_size + (target[path_size] == '?'), arena, &query, error))
        return -1;
    *ret_path = path;
    *ret_query = query;
    return 0;
}

void uri_escape (const char *text, buffer_t *out)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++)
        if (strchr (plain, *text))
            buffer_append (out, text, 1);
        else
            buffer_printf (out, "%%%02X", (unsigned)(unsigned char)*text);
}
