/*  Links between nodes of one process, over tcp and ipc: what arrives, in which
    order, as whose; and what happens when it can't. */
#include "tests/unit/link_node.h"

#include "transport/link_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <zmq.h>

#define TCP "tcp://127.0.0.1:*"

/*  ---- the frame ------------------------------------------------------------------ */

static const link_envelope_t golden = {
    .kind = 50002,
    .flags = LINK_REQUEST,
    .to_actor = "election",
    .to_instance = 7,
    .from_actor = "registry",
    .from_instance = 300,
    .correlation = 0x1122334455667788,
    .deadline_ms = 70000,
    .trace = 200,
};

static void the_envelope_has_golden_bytes (void **state)
{
    (void)state;
    static const char expected[] = "9b"                 /* an array of 11 */
                                   "01"                 /* version */
                                   "cdc352"             /* kind 50002 */
                                   "01"                 /* a request */
                                   "a8656c656374696f6e" /* to "election" */
                                   "07"                 /* / 7 */
                                   "a87265676973747279" /* from "registry" */
                                   "cd012c"             /* / 300 */
                                   "cf1122334455667788" /* correlation */
                                   "ce00011170"         /* 70,000 ms are left */
                                   "ccc8"               /* trace */
                                   "ce00000002"         /* two bytes of body: */
                                   "912a";              /* order { 42 } */
    buffer_t out = {0};
    link_frame_append (&out, &golden, &order_record, &(order_t){42});
    char hex[400] = "";
    for (size_t i = 0; i < out.size; i++)
        sprintf (hex + 2 * i, "%02x", out.data[i]);
    assert_string_equal (hex, expected);

    link_frame_t frame = {out.data, out.data + out.size};
    link_envelope_t back;
    assert_int_equal (link_frame_next (&frame, &back), 1);
    assert_int_equal (back.kind, golden.kind);
    assert_int_equal (back.flags, golden.flags);
    assert_string_equal (back.to_actor, golden.to_actor);
    assert_int_equal (back.to_instance, golden.to_instance);
    assert_string_equal (back.from_actor, golden.from_actor);
    assert_int_equal (back.from_instance, golden.from_instance);
    assert_int_equal (back.correlation, golden.correlation);
    assert_int_equal (back.deadline_ms, golden.deadline_ms);
    assert_int_equal (back.trace, golden.trace);
    assert_int_equal (back.body_size, 2);
    assert_int_equal (link_frame_next (&frame, &back), 0);
    buffer_free (&out);
}

/*  A prefix of a frame is either whole messages or malformed, never read past. */
static void a_cut_frame_is_malformed (void **state)
{
    (void)state;
    buffer_t out = {0};
    link_frame_append (&out, &golden, &order_record, &(order_t){1});
    size_t one = out.size;
    link_frame_append (&out, &golden, &order_record, &(order_t){2});
    for (size_t size = 0; size <= out.size; size++) {
        uint8_t *copy = malloc (size + 1); /* so that a sanitizer sees a read past the end */
        copy = realloc (copy, size ? size : 1);
        memcpy (copy, out.data, size);
        link_frame_t frame = {copy, copy + size};
        link_envelope_t envelope;
        int rc, count = 0;
        while ((rc = link_frame_next (&frame, &envelope)) == 1)
            count++;
        assert_int_equal (count, size == out.size ? 2 : size >= one ? 1 : 0);
        assert_int_equal (rc, size == 0 || size == one || size == out.size ? 0 : -1);
        free (copy);
    }
    buffer_free (&out);
}

static int parse (const char *hex)
{
    uint8_t bytes[200];
    size_t size = strlen (hex) / 2;
    for (size_t i = 0; i < size; i++)
        sscanf (hex + 2 * i, "%2hhx", &bytes[i]);
    link_frame_t frame = {bytes, bytes + size};
    link_envelope_t envelope;
    return link_frame_next (&frame, &envelope);
}

static void envelopes_are_checked (void **state)
{
    (void)state;
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      1);
    /*  A newer node's longer envelope. */
    assert_int_equal (parse ("9e"
                             "01"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "01"
                             "c0"
                             "a3787878"
                             "c4020102"
                             "90"),
                      1);
    assert_int_equal (parse ("9c"
                             "01"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"
                             "91c0"),
                      -1);
    assert_int_equal (parse ("9a"
                             "01"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    assert_int_equal (parse ("9b"
                             "02"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    assert_int_equal (parse ("9b"
                             "01"
                             "00"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    assert_int_equal (parse ("9b"
                             "01"
                             "ce00010000"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "08"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    /*  A request without correlation; request and reply at once. */
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "01"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "03"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "05"
                             "00"
                             "00"
                             "00"),
                      -1);
    /*  A name with a blank, a name of 24 characters. */
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "00"
                             "a120"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "00"
                             "b8"
                             "616161616161616161616161616161616161616161616161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"),
                      -1);
    /*  A body larger than the frame, as far as 64 bits go. */
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "01"),
                      -1);
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "00"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "cfffffffffffffffff"),
                      -1);
    /*  A payload's message that is not the last. */
    assert_int_equal (parse ("9b"
                             "01"
                             "10"
                             "04"
                             "a161"
                             "00"
                             "a162"
                             "00"
                             "00"
                             "00"
                             "00"
                             "00"
                             "9b"),
                      -1);
}

/*  ---- two nodes --------------------------------------------------------------------- */

typedef struct {
    node_t a, b; /* b listens, a dials */
} pair_t;

static void pair_start (pair_t *self, const char *endpoint)
{
    node_init (&self->a, "a", NULL);
    node_init (&self->b, "b", endpoint);
    node_trust (&self->b, &self->a, ROLE_WORKER);
    node_start (&self->a);
    node_start (&self->b);
    node_dial (&self->a, &self->b);
    assert_true (WAIT_FOR (self->a.seen.ups && self->b.seen.ups, 5000));
}

static int open_tcp (void **state)
{
    static pair_t pair;
    pair_start (&pair, TCP);
    *state = &pair;
    return 0;
}

static int open_ipc (void **state)
{
    static pair_t pair;
    static char endpoint[64];
    snprintf (endpoint, sizeof endpoint, "ipc:///tmp/nexus-link-test-%d", (int)getpid ());
    pair_start (&pair, endpoint);
    *state = &pair;
    return 0;
}

static int close_pair (void **state)
{
    pair_t *pair = *state;
    node_free (&pair->a);
    node_free (&pair->b);
    return 0;
}

static void expect_answer (node_t *from, node_t *to, uint64_t number)
{
    nexus_error_t error = {0};
    message_t *reply = node_ask (from, to, &(ping_t){.number = number}, 5000, &error);
    if (!reply)
        fail_msg ("no answer: %s", error.text);
    const ping_t *ping = message_body (reply, ping);
    assert_non_null (ping);
    assert_int_equal (ping->number, number);
    assert_memory_equal (&reply->from.node, &to->pair.public_key, 32);
    message_release (&reply);
}

static void both_directions_share_a_connection (void **state)
{
    pair_t *pair = *state;
    for (uint64_t i = 0; i < 20; i++) {
        expect_answer (&pair->a, &pair->b, i);
        expect_answer (&pair->b, &pair->a, i);
    }
    assert_int_equal (pair->b.seen.role, ROLE_WORKER);
    assert_int_equal (pair->a.seen.role, ROLE_MASTER);
    assert_memory_equal (&pair->b.seen.from, &pair->a.pair.public_key, 32);
}

static void many_messages_keep_their_order (void **state)
{
    pair_t *pair = *state;
    const uint64_t count = 50000;
    for (uint64_t i = 0; i < count; i++) {
        node_send (&pair->a, &pair->b, &ping_record, &(ping_t){.number = i}, NULL);
        if (i % 4096 == 0)
            assert_true (WAIT_FOR (i < pair->b.seen.messages + 8192, 10000));
    }
    assert_true (WAIT_FOR (pair->b.seen.messages == count, 20000));
    assert_int_equal (pair->b.seen.disorder, 0);
    metrics_t *metrics = runtime_metrics (pair->a.runtime);
    double frames = metric_value (metrics_counter (metrics, "nexus_link_frames_total", "",
                                                   "link=\"link\",direction=\"out\""));
    assert_true (frames < (double)count / 2); /* they shared frames */
}

static _Atomic int releases;

static void count_release (void *context)
{
    free (context);
    atomic_fetch_add (&releases, 1);
}

/*  Sends bytes that depend on seed; the other side must see the same. */
static void send_bytes (node_t *from, node_t *to, size_t size, size_t seed)
{
    uint8_t *data = malloc (size + 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 7 + seed);
        sum = sum * 31 + data[i];
    }
    uint64_t messages = to->seen.messages;
    payload_t *payload = payload_new (data, size, count_release, data);
    node_send (from, to, &ping_record, &(ping_t){.number = 1}, &payload);
    assert_true (WAIT_FOR (to->seen.messages == messages + 1, 5000));
    assert_int_equal (to->seen.payload_size, size);
    assert_int_equal (to->seen.payload_sum, sum);
}

/*  Of every size, whole, both ways, and released exactly once. */
static void payloads_go_both_ways (void **state)
{
    pair_t *pair = *state;
    static const size_t sizes[] = {0, 1, 29, 33, 100, 4096, 65536, 1000000, 3 << 20};
    int count = (int)(sizeof sizes / sizeof sizes[0]);
    atomic_store (&releases, 0);
    for (size_t i = 0; i < (size_t)count; i++) {
        send_bytes (&pair->a, &pair->b, sizes[i], i);
        send_bytes (&pair->b, &pair->a, sizes[i], i + 100);
    }
    assert_true (WAIT_FOR (releases == 2 * count, 5000));
}

static void a_large_body_arrives_and_a_larger_one_fails (void **state)
{
    pair_t *pair = *state;
    static uint8_t data[4194304];
    memset (data, 5, sizeof data);
    nexus_error_t error;
    ping_t ping = {.number = 1, .data = {data, 3 << 20}};
    message_t *reply = node_ask (&pair->a, &pair->b, &ping, 10000, &error);
    assert_non_null (reply);
    const ping_t *back = message_body (reply, ping);
    assert_int_equal (back->data.size, 3 << 20);
    assert_memory_equal (back->data.data, data, 3 << 20);
    message_release (&reply);
    ping.data.size = 4194304;
    assert_null (node_ask (&pair->a, &pair->b, &ping, 10000, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
    expect_answer (&pair->a, &pair->b, 2);
}

static void failures_travel (void **state)
{
    pair_t *pair = *state;
    nexus_error_t error;
    address_t nobody = address_remote (&pair->b.pair.public_key, "nobody", 0);
    assert_null (runtime_call (pair->a.runtime, &nobody, &ping_record, &(ping_t){0}, 5000, &error));
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
}

static void a_peer_that_is_away_costs_a_deadline (void **state)
{
    pair_t *pair = *state;
    nexus_error_t error;
    node_stop (&pair->b);
    assert_true (WAIT_FOR (pair->a.seen.downs == 1, 5000));
    int64_t began = test_now_ms ();
    assert_null (node_ask (&pair->a, &pair->b, &(ping_t){0}, 700, &error));
    assert_true (error.code == NEXUS_DEADLINE || error.code == NEXUS_UNAVAILABLE);
    assert_in_range (test_now_ms () - began, 500, 2000);
    assert_true (WAIT_FOR (node_dropped (&pair->a, "deadline") == 1, 2000));
}

static void nobody_known_is_told_at_once (void **state)
{
    pair_t *pair = *state;
    nexus_error_t error;
    static node_t stranger;
    keypair_generate (&stranger.pair);
    int64_t began = test_now_ms ();
    assert_null (node_ask (&pair->a, &stranger, &(ping_t){0}, 5000, &error));
    assert_int_equal (error.code, NEXUS_UNAVAILABLE);
    assert_true (test_now_ms () - began < 2000);
}

/*  What was sent while the peer was away arrives once it is back. */
static void a_peer_that_comes_back_is_reached (void **state)
{
    pair_t *pair = *state;
    char endpoint[256];
    strcpy (endpoint, pair->b.bound);
    pair->b.endpoint = endpoint;
    uint64_t before = pair->a.seen.peer_incarnation;
    node_stop (&pair->b);
    assert_true (WAIT_FOR (pair->a.seen.downs == 1, 5000));
    atomic_store (&pair->b.seen.next, 0);
    for (uint64_t i = 0; i < 100; i++)
        node_send (&pair->a, &pair->b, &ping_record, &(ping_t){.number = i}, NULL);
    node_start (&pair->b);
    assert_true (WAIT_FOR (pair->a.seen.ups == 2, 10000));
    assert_true (pair->a.seen.peer_incarnation != before);
    assert_true (WAIT_FOR (pair->b.seen.messages == 100, 5000));
    assert_int_equal (pair->b.seen.disorder, 0);
    expect_answer (&pair->a, &pair->b, 1);
    expect_answer (&pair->b, &pair->a, 1);
}

static void a_revoked_key_is_deaf_and_dumb_at_once (void **state)
{
    pair_t *pair = *state;
    nexus_error_t error;
    expect_answer (&pair->a, &pair->b, 1);
    uint64_t seen = pair->b.seen.messages;
    assert_true (keyring_forget (pair->b.keyring, TEST_DOMAIN, &pair->a.pair.public_key));
    /*  From here on nothing of a's may reach b's actors. */
    assert_null (node_ask (&pair->a, &pair->b, &(ping_t){0}, 300, &error));
    assert_int_equal (pair->b.seen.messages, seen);
    assert_null (node_ask (&pair->b, &pair->a, &(ping_t){0}, 300, &error));
    assert_true (WAIT_FOR (pair->b.seen.downs == 1, 2000));
    assert_true (WAIT_FOR (pair->a.seen.downs == 1, 5000)); /* its connection was cut */
    node_trust (&pair->b, &pair->a, ROLE_WORKER);
    assert_true (WAIT_FOR (pair->a.seen.ups == 2, 10000));
    expect_answer (&pair->a, &pair->b, 2);
}

static void a_key_that_runs_out_is_cut (void **state)
{
    pair_t *pair = *state;
    keyring_entry_t entry = {.key = pair->a.pair.public_key, .role = ROLE_WORKER};
    struct timespec ts;
    clock_gettime (CLOCK_REALTIME, &ts);
    entry.not_after_ms = ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + 500;
    keyring_allow (pair->b.keyring, TEST_DOMAIN, &entry, NULL);
    expect_answer (&pair->a, &pair->b, 1);
    assert_int_equal (pair->b.seen.downs, 0);
    assert_true (WAIT_FOR (pair->b.seen.downs == 1, 3000));
}

static void a_role_may_send_its_own_kinds_only (void **state)
{
    pair_t *pair = *state;
    node_send (&pair->a, &pair->b, &order_record, &(order_t){1}, NULL); /* a is a worker there */
    assert_true (WAIT_FOR (node_dropped (&pair->b, "role") == 1, 5000));
    node_send (&pair->a, &pair->b, &strange_record, &(strange_t){1}, NULL);
    assert_true (WAIT_FOR (node_dropped (&pair->b, "unknown_kind") == 1, 5000));
    assert_int_equal (pair->b.seen.orders, 0);
    node_send (&pair->b, &pair->a, &order_record, &(order_t){1}, NULL); /* b is a's master */
    assert_true (WAIT_FOR (pair->a.seen.orders == 1, 5000));
    node_trust (&pair->b, &pair->a, ROLE_MASTER);
    node_send (&pair->a, &pair->b, &order_record, &(order_t){1}, NULL);
    assert_true (WAIT_FOR (pair->b.seen.orders == 1, 5000));
}

static void a_hangup_lasts (void **state)
{
    pair_t *pair = *state;
    address_t link = address_local ("link", 0);
    link_hangup_t hangup = {.node = pair->b.pair.public_key};
    message_t *reply =
        runtime_call (pair->a.runtime, &link, &link_hangup_record, &hangup, 5000, NULL);
    assert_non_null (reply);
    message_release (&reply);
    assert_true (WAIT_FOR (pair->a.seen.downs == 1 && pair->b.seen.downs == 1, 5000));
    usleep (700000);
    assert_int_equal (pair->a.seen.ups, 1);
    node_dial (&pair->a, &pair->b);
    assert_true (WAIT_FOR (pair->a.seen.ups == 2, 5000));
    expect_answer (&pair->b, &pair->a, 1);
}

/*  What waits for a peer that is away goes at once: its sender may wait for the payload. */
static void a_hangup_drops_what_waits (void **state)
{
    pair_t *pair = *state;
    node_stop (&pair->b);
    assert_true (WAIT_FOR (pair->a.seen.downs == 1, 5000));
    atomic_store (&releases, 0);
    for (int i = 0; i < 3; i++) {
        uint8_t *data = calloc (1, 1000);
        payload_t *payload = payload_new (data, 1000, count_release, data);
        node_send (&pair->a, &pair->b, &ping_record, &(ping_t){0}, &payload);
    }
    address_t link = address_local ("link", 0);
    link_hangup_t hangup = {.node = pair->b.pair.public_key};
    message_t *reply =
        runtime_call (pair->a.runtime, &link, &link_hangup_record, &hangup, 5000, NULL);
    assert_non_null (reply);
    message_release (&reply);
    assert_true (WAIT_FOR (releases == 3, 1000));
    assert_true (node_dropped (&pair->a, "hangup") == 3);
    node_start (&pair->b);
    node_dial (&pair->a, &pair->b);
    assert_true (WAIT_FOR (pair->a.seen.ups == 2, 5000));
    expect_answer (&pair->a, &pair->b, 1);
}

static void names_are_looked_up (void **state)
{
    pair_t *pair = *state;
    static node_t c;
    char endpoint[256], host[] = "tcp://localhost";
    snprintf (endpoint, sizeof endpoint, "%s%s", host, strrchr (pair->b.bound, ':'));
    node_init (&c, "c", NULL);
    node_trust (&pair->b, &c, ROLE_TASK);
    node_start (&c);
    node_dial_at (&c, "link", &pair->b, endpoint);
    assert_true (WAIT_FOR (c.seen.ups == 1, 5000));
    expect_answer (&c, &pair->b, 1);
    assert_int_equal (pair->b.seen.role, ROLE_TASK);
    node_free (&c);
}

static void bad_orders_are_refused (void **state)
{
    pair_t *pair = *state;
    nexus_error_t error;
    address_t link = address_local ("link", 0);
    static const char *const bad[] = {"",         "tcp://",        "tcp://host",
                                      "tcp://:1", "http://x:1",    "tcp://host:port",
                                      "ipc://",   "tcp://h:123456"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *endpoint = bad[i];
        link_dial_t dial = {.node = pair->b.pair.public_key, .endpoints = {&endpoint, 1}};
        assert_null (runtime_call (pair->a.runtime, &link, &link_dial_record, &dial, 5000, &error));
        assert_int_equal (error.code, NEXUS_INVALID);
    }
    assert_null (runtime_call (pair->a.runtime, &link, &ping_record, &(ping_t){0}, 5000, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
}

/*  ---- three nodes ---------------------------------------------------------------------- */

/*  Two workers dial a master; each is reached over its own connection. */
static void answers_go_to_whoever_asked (void **state)
{
    (void)state;
    static node_t master, workers[2];
    node_init (&master, "m", TCP);
    node_start (&master);
    for (int i = 0; i < 2; i++) {
        node_init (&workers[i], i ? "w1" : "w0", NULL);
        node_trust (&master, &workers[i], ROLE_WORKER);
        node_start (&workers[i]);
        node_dial (&workers[i], &master);
    }
    assert_true (WAIT_FOR (master.seen.ups == 2, 5000));
    assert_true (WAIT_FOR (workers[0].seen.ups && workers[1].seen.ups, 5000));
    for (uint64_t i = 0; i < 50; i++) {
        expect_answer (&workers[i % 2], &master, i);
        expect_answer (&master, &workers[i % 2], i);
        assert_int_equal (workers[i % 2].seen.messages, i / 2 + 1);
    }
    node_free (&workers[0]);
    assert_true (WAIT_FOR (master.seen.downs == 1, 5000));
    expect_answer (&master, &workers[1], 9);
    node_free (&workers[1]);
    node_free (&master);
}

/*  Two machines with one token ask at once: each gets its own answer, also the one whose
    connection is not the newest. */
static void joiners_share_a_token (void **state)
{
    (void)state;
    static node_t master, joiners[2];
    node_init (&master, "m", TCP);
    node_start (&master);
    node_init (&joiners[0], "j0", NULL);
    node_init (&joiners[1], "j1", NULL);
    joiners[1].pair = joiners[0].pair;
    node_trust (&master, &joiners[0], ROLE_JOINER);
    for (int i = 0; i < 2; i++) {
        node_start (&joiners[i]);
        node_dial (&joiners[i], &master);
        assert_true (WAIT_FOR (joiners[i].seen.ups == 1, 5000));
    }
    for (uint64_t i = 0; i < 40; i++) {
        nexus_error_t error;
        address_t app = address_remote (&master.pair.public_key, "app", 0);
        message_t *reply =
            runtime_call (joiners[i % 2].runtime, &app, &join_record, &(join_t){i}, 5000, &error);
        assert_non_null (reply);
        assert_int_equal (message_body (reply, join)->number, i);
        message_release (&reply);
        if (i == 30)
            node_stop (&joiners[1]);
        if (i >= 30)
            i++; /* only the first is left */
    }
    /*  Nobody can address a joiner that has not asked. */
    nexus_error_t error;
    assert_null (node_ask (&master, &joiners[0], &(ping_t){0}, 2000, &error));
    assert_int_equal (error.code, NEXUS_UNAVAILABLE);
    node_free (&joiners[0]);
    node_free (&joiners[1]);
    node_free (&master);
}

/*  A key on two nodes: the older connection is cut rather than left to wait for ever. */
static void a_copied_key_is_not_left_waiting (void **state)
{
    pair_t *pair = *state;
    static node_t copy;
    node_init (&copy, "copy", NULL);
    copy.pair = pair->a.pair;
    node_start (&copy);
    node_dial (&copy, &pair->b);
    assert_true (WAIT_FOR (copy.seen.ups == 1, 5000));
    assert_true (pair->a.seen.downs == 0);
    node_send (&pair->a, &pair->b, &ping_record, &(ping_t){0}, NULL);
    assert_true (WAIT_FOR (pair->a.seen.downs == 1, 5000));
    assert_true (WAIT_FOR (pair->a.seen.ups == 2, 5000));
    expect_answer (&pair->a, &pair->b, 1);
    node_free (&copy);
}

/*  The data lane: frames of 8 MiB, while the control plane goes on. */
static void bulk_goes_over_the_lane (void **state)
{
    (void)state;
    static node_t a, b;
    node_init (&a, "a", NULL);
    node_init (&b, "b", TCP);
    b.lane_endpoint = TCP;
    node_trust (&b, &a, ROLE_WORKER);
    node_start (&a);
    node_start (&b);
    node_dial (&a, &b);
    node_dial_at (&a, "lane", &b, b.lane_bound);
    assert_true (WAIT_FOR (a.seen.ups == 1, 5000));
    const size_t size = 8 << 20;
    for (uint64_t i = 0; i < 16; i++) {
        uint8_t *data;
        payload_t *payload = payload_alloc (size, &data);
        memset (data, (int)i, size);
        node_send (&a, &b, &chunk_record, &(chunk_t){i}, &payload);
    }
    expect_answer (&a, &b, 1);
    assert_true (WAIT_FOR (b.seen.chunks == 16, 30000));
    assert_int_equal (b.seen.bytes, 16 * size);
    node_free (&a);
    node_free (&b);
}

#define PAIR(test) cmocka_unit_test_setup_teardown (test, open_tcp, close_pair)
#define IPC(test)  cmocka_unit_test_setup_teardown (test, open_ipc, close_pair)

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (the_envelope_has_golden_bytes),
        cmocka_unit_test (a_cut_frame_is_malformed),
        cmocka_unit_test (envelopes_are_checked),
        PAIR (both_directions_share_a_connection),
        IPC (both_directions_share_a_connection),
        PAIR (many_messages_keep_their_order),
        PAIR (payloads_go_both_ways),
        IPC (payloads_go_both_ways),
        PAIR (a_large_body_arrives_and_a_larger_one_fails),
        PAIR (failures_travel),
        PAIR (a_peer_that_is_away_costs_a_deadline),
        PAIR (nobody_known_is_told_at_once),
        PAIR (a_peer_that_comes_back_is_reached),
        PAIR (a_revoked_key_is_deaf_and_dumb_at_once),
        PAIR (a_key_that_runs_out_is_cut),
        PAIR (a_role_may_send_its_own_kinds_only),
        PAIR (a_hangup_lasts),
        PAIR (a_hangup_drops_what_waits),
        PAIR (names_are_looked_up),
        PAIR (bad_orders_are_refused),
        cmocka_unit_test (answers_go_to_whoever_asked),
        PAIR (a_copied_key_is_not_left_waiting),
        cmocka_unit_test (joiners_share_a_token),
        cmocka_unit_test (bulk_goes_over_the_lane),
    };
    return cmocka_run_group_tests_name ("link", tests, NULL, NULL);
}
