/*  resolve_test - which texts are endpoints, and which need a name server */
#include "transport/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_split (void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        int result;
        const char *host, *port;
    } table[] = {
        {"tcp://127.0.0.1:7440", 0, "127.0.0.1", "7440"},
        {"tcp://[::1]:65535", 0, "::1", "65535"},
        {"tcp://a.example:1", 1, "a.example", "1"},
        {"ipc:///run/link", 0, NULL, NULL},
        {"tcp://127.0.0.1:65536", -1, NULL, NULL},
        {"tcp://127.0.0.1:99999", -1, NULL, NULL},
        {"tcp://127.0.0.1:", -1, NULL, NULL},
        {"tcp://127.0.0.1:-1", -1, NULL, NULL},
        {"tcp://127.0.0.1", -1, NULL, NULL},
        {"tcp://:7440", -1, NULL, NULL},
        {"tcp://[a.example]:1", -1, NULL, NULL},
        {"udp://127.0.0.1:7440", -1, NULL, NULL},
        {"ipc://", -1, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char host[256] = "", port[16] = "";
        assert_int_equal (resolve_split (table[i].endpoint, host, port), table[i].result);
        if (table[i].host) {
            assert_string_equal (host, table[i].host);
            assert_string_equal (port, table[i].port);
        }
    }
}

static void test_wildcards (void **state)
{
    (void)state;
    static const char *const nowhere[] = {"tcp://*:7400", "tcp://0.0.0.0:7400", "tcp://[::]:7400",
                                          "tcp://[::ffff:0.0.0.0]:1", "tcp://10.0.0.1:0"};
    static const char *const somewhere[] = {"tcp://10.0.0.1:7400", "tcp://[::1]:7400",
                                            "tcp://a.example:1", "ipc:///run/link", "nothing"};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++)
        assert_true (resolve_is_wildcard (nowhere[i]));
    for (size_t i = 0; i < sizeof somewhere / sizeof somewhere[0]; i++)
        assert_false (resolve_is_wildcard (somewhere[i]));
}

static void test_what_it_is_for (void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        bool reachable, listenable;
    } table[] = {
        {"tcp://10.0.0.1:7400", true, true},     {"tcp://[::1]:7400", true, true},
        {"tcp://a.example:7400", true, false},   {"tcp://*:7400", false, true},
        {"tcp://0.0.0.0:7400", false, true},     {"ipc:///run/link", false, false},
        {"tcp://127.0.0.1:99999", false, false}, {"tcp://127.0.0.1:1x2", false, false},
        {"http://10.0.0.1:1", false, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal (resolve_is_reachable (table[i].endpoint), table[i].reachable);
        assert_int_equal (resolve_is_listenable (table[i].endpoint), table[i].listenable);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test (test_split),
                                       cmocka_unit_test (test_wildcards),
                                       cmocka_unit_test (test_what_it_is_for)};
    return cmocka_run_group_tests (tests, NULL, NULL);
}
