/*  http_fuzz - targets, headers and token lines from strangers

    Whatever uri_parse accepts has no control characters and no way out of its path;
    its query comes back the same through uri_escape. No input gets past the guard with
    two lengths.
*/
#include "actors/gateway/http_guard.h"
#include "actors/gateway/routes.h"
#include "actors/gateway/uri.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void check_text (const char *text)
{
    for (; *text; text++)
        assert ((unsigned char)*text >= ' ' && *text != 127);
}

static void try_target (const char *target)
{
    arena_t arena;
    const char *path, *again;
    record_map_t query, query_again;
    route_arguments_t arguments;
    char allow[64];
    arena_init (&arena, 1 << 20, NULL, 0);
    if (uri_parse (target, &arena, &path, &query, NULL) == 0) {
        assert (path[0] == '/' && !strstr (path, "/../") && !strstr (path, "//"));
        check_text (path);
        (void)routes_find ("GET", path, &arguments, allow);
        buffer_t out = {0};
        buffer_append (&out, "/?", 2);
        for (size_t i = 0; i < query.count; i++) {
            check_text (query.items[i].key);
            check_text (query.items[i].value);
            uri_escape (query.items[i].key, &out);
            buffer_append (&out, "=", 1);
            uri_escape (query.items[i].value, &out);
            buffer_append (&out, "&", 1);
        }
        buffer_append (&out, "", 1);
        if (out.size <= URI_TARGET_MAX) {
            assert (!uri_parse ((const char *)out.data, &arena, &again, &query_again, NULL));
            assert (query_again.count == query.count);
            for (size_t i = 0; i < query.count; i++)
                assert (!strcmp (query.items[i].value, query_again.items[i].value));
        }
        buffer_free (&out);
    }
    arena_reset (&arena);
}

/*  Lines of "name:value", as a header block would be cut. */
static void try_headers (const char *text, size_t size)
{
    http_guard_t guard = {0};
    size_t lengths = 0;
    for (const char *end = text + size; text < end;) {
        const char *line = memchr (text, '\n', (size_t)(end - text));
        size_t line_size = line ? (size_t)(line - text) : (size_t)(end - text);
        const char *colon = memchr (text, ':', line_size);
        size_t name = colon ? (size_t)(colon - text) : line_size;
        size_t value = colon ? line_size - name - 1 : 0;
        http_guard_header (&guard, text, name, colon ? colon + 1 : NULL, value);
        lengths += name == 14 && !strncasecmp (text, "content-length", 14);
        lengths += name == 17 && !strncasecmp (text, "transfer-encoding", 17);
        text += line_size + 1;
    }
    assert (http_guard_check (&guard, true) || lengths <= 1);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    char *text = malloc (size + 1);
    if (!text)
        return 0;
    memcpy (text, data, size);
    text[size] = 0;
    try_target (text);
    try_headers (text, size);
    free (text);
    return 0;
}
