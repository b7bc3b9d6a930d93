/*  The keyring, and the ZAP actor that asks it. */
#include "tests/unit/link_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <zmq.h>

static keyring_entry_t entry_of (uint8_t first, role_t role, int64_t not_after_ms)
{
    keyring_entry_t entry = {.role = role, .not_after_ms = not_after_ms};
    memset (entry.key.bytes, first, sizeof entry.key.bytes);
    snprintf (entry.name, sizeof entry.name, "n%d", first);
    return entry;
}

static void keys_come_and_go (void **state)
{
    (void)state;
    keyring_t *ring = keyring_new ();
    keyring_entry_t found;
    uint64_t generation = keyring_generation (ring);
    for (int i = 200; i > 0; i--) {
        keyring_entry_t entry = entry_of ((uint8_t)i, ROLE_WORKER, 0);
        assert_int_equal (keyring_allow (ring, "a", &entry, NULL), 0);
    }
    assert_true (keyring_generation (ring) > generation);
    for (int i = 1; i <= 200; i++) {
        keyring_entry_t entry = entry_of ((uint8_t)i, ROLE_WORKER, 0);
        assert_true (keyring_find (ring, "a", &entry.key, 0, &found));
        assert_memory_equal (&found, &entry, sizeof entry);
        assert_false (keyring_find (ring, "b", &entry.key, 0, &found));
    }
    keyring_entry_t entry = entry_of (100, ROLE_MASTER, 0);
    assert_int_equal (keyring_allow (ring, "a", &entry, NULL), 0);
    assert_true (keyring_find (ring, "a", &entry.key, 0, &found));
    assert_int_equal (found.role, ROLE_MASTER);
    assert_true (keyring_forget (ring, "a", &entry.key));
    assert_false (keyring_forget (ring, "a", &entry.key));
    assert_false (keyring_forget (ring, "b", &entry.key));
    assert_false (keyring_find (ring, "a", &entry.key, 0, &found));
    keyring_release (&ring);
}

static void a_replacement_is_whole (void **state)
{
    (void)state;
    keyring_t *ring = keyring_new ();
    keyring_entry_t found, old = entry_of (9, ROLE_MASTER, 0);
    keyring_entry_t entries[] = {entry_of (5, ROLE_WORKER, 0), entry_of (3, ROLE_TASK, 1000),
                                 entry_of (5, ROLE_WORKER, 0)};
    assert_int_equal (keyring_allow (ring, "a", &old, NULL), 0);
    assert_int_equal (keyring_replace (ring, "a", entries, 3, NULL), 0);
    assert_false (keyring_find (ring, "a", &old.key, 0, &found));
    assert_true (keyring_find (ring, "a", &entries[0].key, 0, &found));
    assert_true (keyring_find (ring, "a", &entries[1].key, 999, &found));
    assert_false (keyring_find (ring, "a", &entries[1].key, 1000, &found));
    assert_true (keyring_forget (ring, "a", &entries[0].key));
    assert_false (keyring_find (ring, "a", &entries[0].key, 0, &found));
    nexus_error_t error;
    assert_int_equal (keyring_replace (ring, "a", entries, KEYRING_ENTRIES_MAX + 1, &error), -1);
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    assert_int_equal (keyring_replace (ring, "a", NULL, 0, NULL), 0);
    assert_false (keyring_find (ring, "a", &entries[1].key, 0, &found));
    keyring_release (&ring);
}

/*  Readers see the one table or the other, never something between. */
static void *flip (void *context)
{
    keyring_t *ring = context;
    keyring_entry_t even[2] = {entry_of (2, ROLE_WORKER, 0), entry_of (4, ROLE_WORKER, 0)};
    keyring_entry_t odd[2] = {entry_of (2, ROLE_MASTER, 0), entry_of (3, ROLE_MASTER, 0)};
    for (int i = 0; i < 5000; i++)
        keyring_replace (ring, "a", i % 2 ? odd : even, 2, NULL);
    return NULL;
}

static void readers_and_writers_meet (void **state)
{
    (void)state;
    keyring_t *ring = keyring_new ();
    keyring_entry_t first = entry_of (2, ROLE_WORKER, 0), found;
    keyring_allow (ring, "a", &first, NULL);
    pthread_t thread;
    pthread_create (&thread, NULL, flip, keyring_retain (ring));
    for (int i = 0; i < 20000; i++)
        assert_true (keyring_find (ring, "a", &first.key, 0, &found));
    pthread_join (thread, NULL);
    keyring_t *second = ring;
    keyring_release (&ring);
    keyring_release (&second);
}

/*  ---- the actor, asked as libzmq asks ------------------------------------------ */

typedef struct {
    node_t node;
    void *socket;
} asker_t;

static int open_asker (void **state)
{
    static asker_t asker;
    node_init (&asker.node, "n", NULL);
    node_start (&asker.node);
    asker.socket = zmq_socket (runtime_zmq (asker.node.runtime), ZMQ_DEALER);
    int timeout = 500, zero = 0;
    zmq_setsockopt (asker.socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt (asker.socket, ZMQ_LINGER, &zero, sizeof zero);
    *state = &asker;
    return zmq_connect (asker.socket, "inproc://zeromq.zap.01");
}

static int close_asker (void **state)
{
    asker_t *asker = *state;
    zmq_close (asker->socket);
    node_free (&asker->node);
    return 0;
}

/*  Sends frames (NULL ends them; size -1: as text); the status, 0 if nothing came. */
typedef struct {
    const void *data;
    size_t size;
} part_t;

static int ask (asker_t *asker, const part_t *parts, size_t count, char user[256])
{
    for (size_t i = 0; i < count; i++)
        zmq_send (asker->socket, parts[i].data, parts[i].size, i + 1 < count ? ZMQ_SNDMORE : 0);
    int status = 0, more = 1, frames = 0;
    while (more) {
        char data[256];
        int size = zmq_recv (asker->socket, data, sizeof data - 1, 0);
        if (size == -1)
            return 0;
        data[size] = 0;
        if (frames == 3)
            status = atoi (data);
        if (frames == 5 && user)
            snprintf (user, 256, "%s", data);
        frames++;
        size_t more_size = sizeof more;
        zmq_getsockopt (asker->socket, ZMQ_RCVMORE, &more, &more_size);
    }
    assert_int_equal (frames, 7); /* the delimiter and the RFC's six */
    return status;
}

#define TEXT(t)         \
    {                   \
        (t), strlen (t) \
    }

static void known_keys_are_granted (void **state)
{
    asker_t *asker = *state;
    keyring_entry_t entry = entry_of (1, ROLE_WORKER, 0);
    char user[256] = "", hex[65];
    part_t parts[] = {TEXT (""),         TEXT ("1.0"), TEXT ("1"),     TEXT (TEST_DOMAIN),
                      TEXT ("10.0.0.1"), TEXT (""),    TEXT ("CURVE"), {entry.key.bytes, 32}};
    assert_int_equal (ask (asker, parts, 8, user), 400);
    assert_string_equal (user, "");
    keyring_allow (asker->node.keyring, TEST_DOMAIN, &entry, NULL);
    assert_int_equal (ask (asker, parts, 8, user), 200);
    key_to_hex (&entry.key, hex);
    assert_string_equal (user, hex);
    parts[3] = (part_t)TEXT ("other");
    assert_int_equal (ask (asker, parts, 8, user), 400);
    parts[3] = (part_t)TEXT (TEST_DOMAIN);
    parts[6] = (part_t)TEXT ("PLAIN");
    assert_int_equal (ask (asker, parts, 8, user), 400);
    parts[6] = (part_t)TEXT ("CURVE");
    parts[7].size = 31;
    assert_int_equal (ask (asker, parts, 8, user), 400);
    parts[7].size = 32;
    entry.not_after_ms = 1;
    keyring_allow (asker->node.keyring, TEST_DOMAIN, &entry, NULL);
    assert_int_equal (ask (asker, parts, 8, user), 400);
}

static void malformed_questions_do_no_harm (void **state)
{
    asker_t *asker = *state;
    static char huge[100000];
    memset (huge, 'x', sizeof huge);
    part_t parts[12] = {TEXT (""),         TEXT ("1.0"), TEXT ("1"),     TEXT (TEST_DOMAIN),
                        TEXT ("10.0.0.2"), TEXT (""),    TEXT ("CURVE"), TEXT ("short"),
                        TEXT (""),         TEXT (""),    TEXT ("")};
    for (size_t count = 1; count <= 12; count++) {
        int status = ask (asker, parts, count, NULL);
        assert_int_equal (status, count < 3 ? 0 : count == 8 ? 400 : 500);
    }
    for (size_t i = 0; i < 8; i++) {
        part_t was = parts[i];
        parts[i] = (part_t){huge, sizeof huge};
        int status = ask (asker, parts, 8, NULL);
        assert_int_equal (status, i == 0 || i == 2 ? 0 : i == 5 || i == 6 || i == 7 ? 400 : 500);
        parts[i] = was;
    }
    parts[1] = (part_t)TEXT ("2.0");
    assert_int_equal (ask (asker, parts, 8, NULL), 500);
    parts[1] = (part_t)TEXT ("1.0");
    parts[3] = (part_t){"te\0t", 4};
    assert_int_equal (ask (asker, parts, 8, NULL), 500);
}

static void an_address_that_asks_too_often_waits (void **state)
{
    asker_t *asker = *state;
    keyring_entry_t entry = entry_of (1, ROLE_WORKER, 0);
    part_t parts[] = {TEXT (""),         TEXT ("1.0"), TEXT ("1"),     TEXT (TEST_DOMAIN),
                      TEXT ("10.0.0.3"), TEXT (""),    TEXT ("CURVE"), {entry.key.bytes, 32}};
    int refused = 0, throttled = 0;
    for (int i = 0; i < 2000; i++) {
        int status = ask (asker, parts, 8, NULL);
        refused += status == 400;
        throttled += status == 300;
    }
    assert_int_equal (refused + throttled, 2000);
    assert_true (refused >= 1000);
    assert_true (throttled > 0);
    parts[4] = (part_t)TEXT ("10.0.0.4");
    assert_int_equal (ask (asker, parts, 8, NULL), 400);
}

static void a_node_has_one (void **state)
{
    asker_t *asker = *state;
    nexus_error_t error;
    child_t child = {.behaviour = &zap_behaviour, .name = "zap2", .args = &asker->node.zap_config};
    assert_null (host_new (asker->node.runtime, &child, &error));
    assert_int_equal (error.code, NEXUS_EXISTS);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (keys_come_and_go),
        cmocka_unit_test (a_replacement_is_whole),
        cmocka_unit_test (readers_and_writers_meet),
        cmocka_unit_test_setup_teardown (known_keys_are_granted, open_asker, close_asker),
        cmocka_unit_test_setup_teardown (malformed_questions_do_no_harm, open_asker, close_asker),
        cmocka_unit_test_setup_teardown (an_address_that_asks_too_often_waits, open_asker,
                                         close_asker),
        cmocka_unit_test_setup_teardown (a_node_has_one, open_asker, close_asker),
    };
    return cmocka_run_group_tests_name ("zap", tests, NULL, NULL);
}
