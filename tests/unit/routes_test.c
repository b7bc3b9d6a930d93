/*  routes_test - paths, queries, the table, its description */
#include "actors/gateway/http_guard.h"
#include "actors/gateway/openapi.h"
#include "actors/gateway/routes.h"
#include "actors/gateway/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void test_match (void **state)
{
    (void)state;
    route_arguments_t arguments;
    assert_true (route_match ("/a/{x}/b/{y}", "/a/one/b/two", &arguments));
    assert_string_equal (arguments.items[0], "one");
    assert_string_equal (arguments.items[1], "two");
    assert_false (route_match ("/a/{x}", "/a/", NULL));
    assert_false (route_match ("/a/{x}", "/a/b/c", NULL));
    assert_false (route_match ("/a/{x}/b", "/a/b", NULL));
    assert_false (route_match ("/a", "/a/", NULL));
    assert_true (route_match ("/a/{x...}", "/a/b/c", &arguments));
    assert_string_equal (arguments.items[0], "b/c");
    assert_true (route_match ("/a/{x...}", "/a/b", &arguments));
    assert_false (route_match ("/a/{x...}", "/a/", &arguments));
    char path[ROUTE_ARGUMENT_SIZE + 4] = "/a/";
    memset (path + 3, 'x', ROUTE_ARGUMENT_SIZE);
    assert_false (route_match ("/a/{x}", path, &arguments));
}

static void test_find (void **state)
{
    (void)state;
    char allow[64];
    const route_t *route = routes_find ("GET", "/api/v1/jobs/mnist-1/logs", NULL, NULL);
    assert_non_null (route);
    assert_string_equal (route->id, "readJobLogs");
    assert_ptr_equal (routes_find ("HEAD", "/livez", NULL, NULL),
                      routes_find ("GET", "/livez", NULL, NULL));
    assert_null (routes_find ("DELETE", "/api/v1/jobs", NULL, allow));
    assert_string_equal (allow, "POST, GET");
    assert_null (routes_find ("GET", "/nowhere", NULL, allow));
    assert_string_equal (allow, "");
}

/*  The names that must exist, whatever else changes. */
static void test_promised_names (void **state)
{
    (void)state;
    assert_non_null (routes_find ("GET", "/api/v1/cluster/status", NULL, NULL));
    assert_non_null (routes_find ("POST", "/api/v1/jobs", NULL, NULL));
    assert_non_null (routes_find ("GET", "/api/v1/jobs/j-1/logs", NULL, NULL));
    assert_non_null (routes_find ("POST", "/api/v1/workers/w1/drain", NULL, NULL));
    size_t open = 0;
    for (size_t i = 0; i < routes_count; i++)
        if (routes[i].flags & ROUTE_OPEN) {
            assert_string_equal (routes[i].method, "GET");
            assert_null (routes[i].query);
            open++;
        }
    assert_int_equal (open, 3);
}

static void test_uri (void **state)
{
    (void)state;
    arena_t arena;
    arena_init (&arena, 1 << 20, NULL, 0);
    const char *path;
    record_map_t query;
    nexus_error_t error;
    assert_int_equal (uri_parse ("/a%20b/c?x=1&y=a+b%2B&z&&w=", &arena, &path, &query, &error), 0);
    assert_string_equal (path, "/a b/c");
    assert_int_equal (query.count, 4);
    assert_string_equal (query.items[0].value, "1");
    assert_string_equal (query.items[1].value, "a b+");
    assert_string_equal (query.items[2].key, "z");
    assert_string_equal (query.items[3].value, "");
    assert_int_equal (uri_parse ("/", &arena, &path, &query, &error), 0);
    assert_int_equal (uri_parse ("/x%41", &arena, &path, &query, &error), 0);
    assert_string_equal (path, "/xA");
    static const char *const bad[] = {"",        "*",        "http://h/a", "/a%",     "/a%2",
                                      "/a%zz",   "/a%2fb",   "/a//b",      "/a/../b", "/./a",
                                      "/a/",     "/a%00b",   "/a%0d%0ab",  "/a\x80",  "/a b",
                                      "/?a=1&a", "/a?b=%00", "/a?b=%1",    "/..",     "/a?\x01"};
    for (size_t i = 0; i < sizeof (bad) / sizeof (bad[0]); i++) {
        error.code = NEXUS_OK;
        if (uri_parse (bad[i], &arena, &path, &query, &error) == 0)
            fail_msg ("accepted \"%s\"", bad[i]);
        assert_int_equal (error.code, NEXUS_INVALID);
    }
    arena_reset (&arena);
}

static void test_escape_comes_back (void **state)
{
    (void)state;
    arena_t arena;
    arena_init (&arena, 1 << 20, NULL, 0);
    buffer_t target = {0};
    buffer_append (&target, "/x?v=", 5);
    static const char text[] = "a&b=c+d %/\xc3\xa9?#";
    uri_escape (text, &target);
    buffer_append (&target, "", 1);
    const char *path;
    record_map_t query;
    assert_int_equal (uri_parse ((const char *)target.data, &arena, &path, &query, NULL), 0);
    assert_string_equal (query.items[0].value, text);
    buffer_free (&target);
    arena_reset (&arena);
}

static const char *guard (const char *const *headers)
{
    http_guard_t self = {0};
    http_guard_header (&self, "Host", 4, "h", 1);
    for (; *headers; headers += 2)
        http_guard_header (&self, headers[0], strlen (headers[0]), headers[1], strlen (headers[1]));
    return http_guard_check (&self, true);
}

static void test_guard (void **state)
{
    (void)state;
    assert_null (guard ((const char *[]){"Content-Length", "5", "X", "tab\tis fine", NULL}));
    assert_null (guard ((const char *[]){"transfer-encoding", "Chunked", NULL}));
    assert_non_null (guard ((const char *[]){"HOST", "h", NULL}));
    assert_non_null (guard ((const char *[]){"Content-Length", "5", "content-length", "5", NULL}));
    assert_non_null (
        guard ((const char *[]){"Content-Length", "5", "Transfer-Encoding", "chunked", NULL}));
    assert_non_null (guard (
        (const char *[]){"Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked", NULL}));
    assert_non_null (guard ((const char *[]){"Transfer-Encoding", "gzip, chunked", NULL}));
    assert_non_null (guard ((const char *[]){"Transfer-Encoding", "xchunked", NULL}));
    assert_non_null (guard ((const char *[]){"Content-Length", "+5", NULL}));
    assert_non_null (guard ((const char *[]){"Content-Length", "5, 5", NULL}));
    assert_non_null (guard ((const char *[]){"Content-Length", "", NULL}));
    assert_non_null (guard ((const char *[]){"Content-Length ", "5", NULL}));
    assert_non_null (guard ((const char *[]){"Content\x0bLength", "5", NULL}));
    assert_non_null (guard ((const char *[]){"", "5", NULL}));
    assert_non_null (guard ((const char *[]){"X", "a\rb", NULL}));
    http_guard_t none = {0};
    assert_non_null (http_guard_check (&none, true));
    none = (http_guard_t){0};
    assert_null (http_guard_check (&none, false));
}

/*  Every $ref must lead somewhere, every operation has an id of its own. */
static size_t check_references (const json_t *json, const json_t *schemas)
{
    size_t found = 0;
    const char *key;
    json_t *value;
    size_t index;
    const char *reference = json_string_value (json_object_get (json, "$ref"));
    if (reference) {
        const char *name = strrchr (reference, '/');
        assert_non_null (name);
        if (!json_object_get (schemas, name + 1))
            fail_msg ("nothing at %s", reference);
        found++;
    }
    json_object_foreach ((json_t *)json, key, value) found += check_references (value, schemas);
    json_array_foreach (json, index, value) found += check_references (value, schemas);
    return found;
}

static void test_openapi (void **state)
{
    (void)state;
    json_t *document = openapi_document ();
    assert_non_null (document);
    assert_string_equal (json_string_value (json_object_get (document, "openapi")), "3.1.0");
    json_t *paths = json_object_get (document, "paths");
    json_t *schemas = json_object_get (json_object_get (document, "components"), "schemas");
    assert_true (check_references (document, schemas) > 30);
    json_t *ids = json_object ();
    for (size_t i = 0; i < routes_count; i++) {
        bool write = strcmp (routes[i].method, "GET") != 0,
             key = strstr (routes[i].path, "{key...}");
        const char *method = strcmp (routes[i].method, "POST") == 0     ? "post"
                             : strcmp (routes[i].method, "PUT") == 0    ? "put"
                             : strcmp (routes[i].method, "DELETE") == 0 ? "delete"
                                                                        : "get";
        json_t *operation = json_object_get (
            json_object_get (paths, key ? "/api/v1/kv/{key}" : routes[i].path), method);
        assert_non_null (operation);
        assert_null (json_object_get (ids, routes[i].id));
        json_object_set_new (ids, routes[i].id, json_true ());
        size_t parameters = json_array_size (json_object_get (operation, "parameters"));
        size_t expected = routes[i].query ? routes[i].query->field_count : 0;
        expected += strchr (routes[i].path, '{') ? 1 : 0;
        expected += write ? 2 : route_reads (&routes[i]) ? 1 : 0; /* Idempotency-Key ...; stale */
        expected += write && key ? 1 : 0;                         /* If-Match */
        assert_int_equal (parameters, expected);
    }
    json_decref (ids);
    json_decref (document);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_match),
        cmocka_unit_test (test_find),
        cmocka_unit_test (test_promised_names),
        cmocka_unit_test (test_uri),
        cmocka_unit_test (test_escape_comes_back),
        cmocka_unit_test (test_guard),
        cmocka_unit_test (test_openapi),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
