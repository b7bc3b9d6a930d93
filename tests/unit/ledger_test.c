/*  The ledger's actor: batches, results, subscribers, and a log with a hole in it. */
#include "actors/ledger/ledger.h"
#include "ledger_world.h"

#include "actors/protocol/consensus.h"
#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static ledger_world_t world;
static ledger_args_t args;
static harness_t *harness;

static int setup (void **state)
{
    (void)state;
    ledger_world_init (&world);
    args = (ledger_args_t){world.tables};
    harness = harness_new (&ledger_behaviour, &args, NULL, NULL);
    assert_non_null (harness);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    harness_destroy (&harness);
    ledger_world_clear (&world);
    return 0;
}

/*  Entries first to last; every third one is refused, every fourth is a no-op. */
static void apply_range (uint64_t first, uint64_t last)
{
    apply_entry_t entries[64];
    apply_t batch = {.entries = {entries, 0}};
    buffer_t good = {0}, bad = {0};
    command_encode (&add_token_record, &(add_token_t){{.key = key_of (1), .uses = 1}}, &good);
    command_encode (&explain_job_record, &(explain_job_t){.job_id = "none"}, &bad);
    for (uint64_t i = first; i <= last; i++) {
        const buffer_t *command = i % 3 ? &good : &bad;
        entries[batch.entries.count++] = (apply_entry_t){
            .index = i, .term = 2, .command = {command->data, i % 4 ? command->size : 0}};
    }
    harness_deliver (harness, NULL, &apply_record, &batch);
    buffer_free (&good);
    buffer_free (&bad);
}

static uint64_t applied_index (void)
{
    tables_txn_t *txn = tables_begin (world.tables, false, NULL);
    uint64_t index = ledger_number (txn, LEDGER_APPLIED);
    tables_abort (&txn);
    return index;
}

/*  Results come before the commit; when readers see what was done, that is told as well. */
static const applied_t *expect_results (uint64_t before, uint64_t index, size_t count)
{
    const applied_t *applied = harness_expect (harness, applied);
    assert_non_null (applied);
    assert_int_equal (applied->index, before);
    assert_int_equal (applied->done, index);
    assert_int_equal (applied->results.count, count);
    return applied;
}

/*  By now, more is. */
static void expect_visible_until (uint64_t index, uint64_t now)
{
    const applied_t *applied = harness_expect (harness, applied);
    assert_non_null (applied);
    assert_int_equal (applied->index, index);
    assert_int_equal (applied->done, index);
    assert_int_equal (applied->results.count, 0);
    assert_int_equal (applied_index (), now);
}

static void expect_visible (uint64_t index)
{
    expect_visible_until (index, index);
}

static void test_batches (void **state)
{
    (void)state;
    harness_deliver (harness, NULL, &apply_record, &(apply_t){{NULL, 0}});
    const applied_t *applied = harness_expect (harness, applied);
    assert_non_null (applied);
    assert_int_equal (applied->index, 0);
    apply_range (1, 12);
    applied = expect_results (0, 12, 12);
    for (uint64_t i = 1; i <= 12; i++) {
        const apply_result_t *result = &applied->results.items[i - 1];
        assert_int_equal (result->index, i);
        bool refused = i % 3 == 0 && i % 4;
        assert_int_equal (result->code, refused ? NEXUS_NOT_FOUND : NEXUS_OK);
        assert_true (refused == (strstr (result->text, "no job") != NULL));
    }
    expect_visible (12);
    /*  All that comes in one turn is one transaction and one answer. */
    harness_hold (harness);
    apply_range (13, 20);
    apply_range (18, 30); /* overlaps */
    harness_turn (harness);
    applied = expect_results (12, 30, 18);
    assert_int_equal (applied->results.items[0].index, 13);
    expect_visible (30);
    apply_range (1, 30); /* again, from the beginning */
    expect_visible (30);
    assert_true (harness_quiet (harness));
    /*  Another start goes on where this one ended. */
    harness_destroy (&harness);
    harness = harness_new (&ledger_behaviour, &args, NULL, NULL);
    apply_range (30, 31);
    expect_results (30, 31, 1);
    expect_visible (31);
}

/*  No-ops, in messages of a hundred. */
static void apply_noops (uint64_t first, uint64_t last)
{
    apply_entry_t entries[100];
    for (uint64_t i = first; i <= last;) {
        apply_t batch = {.entries = {entries, 0}};
        for (; i <= last && batch.entries.count < 100; i++)
            entries[batch.entries.count++] = (apply_entry_t){.index = i, .term = 3};
        harness_deliver (harness, NULL, &apply_record, &batch);
    }
}

/*  Whoever is first needn't wait for the last; and what many turns have done becomes visible
    together, but not ever so late. */
static void test_many (void **state)
{
    (void)state;
    harness_hold (harness);
    apply_noops (1, 600);
    harness_turn (harness);
    expect_results (0, 256, 256);
    expect_results (0, 512, 256);
    const applied_t *applied = expect_results (0, 600, 88);
    assert_int_equal (applied->results.items[0].index, 513);
    expect_visible (600);
    harness_hold (harness);
    apply_noops (601, 2000);
    harness_turn (harness);
    for (uint64_t i = 1; i <= 4; i++)
        expect_results (600, 600 + 256 * i, 256);
    expect_visible_until (1624, 2000);
    expect_results (1624, 1880, 256);
    expect_results (1624, 2000, 120);
    expect_visible (2000);
    assert_true (harness_quiet (harness));
}

static void test_subscribers (void **state)
{
    (void)state;
    address_t one = address_local ("one", 0), two = address_local ("two", 0);
    harness_deliver (harness, &one, &ledger_subscribe_record, &(ledger_subscribe_t){true});
    const ledger_changed_t *changed = harness_expect (harness, ledger_changed);
    assert_non_null (changed); /* at once: whatever there is may be news */
    assert_true (changed->tables & 1u << LEDGER_JOBS);
    harness_deliver (harness, &one, &ledger_subscribe_record, &(ledger_subscribe_t){true});
    harness_deliver (harness, &two, &ledger_subscribe_record, &(ledger_subscribe_t){true});
    harness_clear (harness);
    apply_range (1, 1);
    expect_results (0, 1, 1);
    expect_visible (1);
    changed = harness_expect (harness, ledger_changed);
    assert_int_equal (changed->index, 1);
    assert_int_equal (changed->tables, 1u << LEDGER_TOKENS);
    assert_non_null (harness_expect (harness, ledger_changed));
    assert_true (address_equal (&harness_message (harness)->to, &two));
    assert_true (harness_quiet (harness));
    apply_range (2, 4); /* 3 is refused and 4 is a no-op */
    harness_clear (harness);
    harness_deliver (harness, &one, &ledger_subscribe_record, &(ledger_subscribe_t){false});
    harness_deliver (harness, &one, &ledger_subscribe_record, &(ledger_subscribe_t){false});
    apply_range (5, 5);
    expect_results (4, 5, 1);
    expect_visible (5);
    assert_non_null (harness_expect (harness, ledger_changed));
    assert_true (address_equal (&harness_message (harness)->to, &two));
    assert_true (harness_quiet (harness));
    /*  Many, and strangers. */
    for (uint64_t i = 0; i < 40; i++) {
        address_t many = address_local ("many", i);
        harness_deliver (harness, &many, &ledger_subscribe_record, &(ledger_subscribe_t){true});
    }
    assert_int_equal (harness_count (harness, &ledger_changed_record), 15);
    harness_clear (harness);
    record_key_t node = key_of (5);
    address_t stranger = address_remote (&node, "one", 0);
    harness_deliver (harness, &stranger, &apply_record, &(apply_t){{NULL, 0}});
    assert_true (harness_quiet (harness));
}

static void test_hole (void **state)
{
    (void)state;
    apply_range (1, 2);
    expect_results (0, 2, 2);
    expect_visible (2);
    apply_range (4, 5);
    nexus_error_t error;
    assert_true (harness_ended (harness, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_int_equal (applied_index (), 2);
}

/*  Puts an entry at the next index, and lets the answer pass. */
static void put (const char *key, const char *value)
{
    static uint64_t client = 100;
    kv_put_t command = {.key = key, .value = {(const uint8_t *)value, strlen (value)}};
    buffer_t inner = {0}, outer = {0};
    command_encode (&kv_put_record, &command, &inner);
    once_t once = {.client = client++, .command = {inner.data, inner.size}};
    command_encode (&once_record, &once, &outer);
    apply_entry_t entry = {
        .index = applied_index () + 1, .term = 1, .command = {outer.data, outer.size}};
    harness_deliver (harness, NULL, &apply_record, &(apply_t){{&entry, 1}});
    const applied_t *applied = harness_expect (harness, applied);
    assert_non_null (applied);
    assert_int_equal (strtoull (applied->results.items[0].text, NULL, 10), entry.index);
    expect_visible (entry.index);
    buffer_free (&inner);
    buffer_free (&outer);
}

static uint64_t ask (role_t role, kv_get_t get)
{
    record_key_t node = key_of (77);
    address_t other = address_remote (&node, "kv", 0);
    harness_set_role (harness, role);
    uint64_t asked =
        harness_ask (harness, role == ROLE_LOCAL ? NULL : &other, &kv_get_record, &get);
    harness_set_role (harness, ROLE_LOCAL);
    return asked;
}

static void expect_got (uint64_t asked, const char *value, uint64_t version, uint64_t index)
{
    const kv_got_t *got = harness_expect_reply (harness, asked, kv_got);
    assert_non_null (got);
    assert_int_equal (got->found, version != 0);
    assert_int_equal (got->version, version);
    assert_int_equal (got->index, index);
    assert_int_equal (got->value.size, strlen (value));
    if (*value)
        assert_memory_equal (got->value.data, value, strlen (value));
}

/*  The reads of a turn wait for one barrier; those that come meanwhile for the next. */
static void test_reads (void **state)
{
    (void)state;
    put ("a", "1");
    harness_hold (harness);
    uint64_t one = ask (ROLE_LOCAL, (kv_get_t){.key = "a"});
    uint64_t two = ask (ROLE_WORKER, (kv_get_t){.key = "b"});
    uint64_t stale = ask (ROLE_MASTER, (kv_get_t){.key = "a", .stale = true});
    harness_turn (harness);
    expect_got (stale, "1", 1, 1);
    assert_non_null (harness_expect (harness, read_barrier));
    message_t *barrier = message_retain ((message_t *)harness_message (harness));
    assert_string_equal (barrier->to.actor, "election");
    assert_true (harness_quiet (harness));
    uint64_t three = ask (ROLE_LOCAL, (kv_get_t){.key = "a"});
    assert_true (harness_quiet (harness));
    put ("a", "22");
    put ("b", "3");
    harness_reply (harness, barrier, &done_record, &(done_t){.value = 3});
    message_release (&barrier);
    expect_got (one, "22", 2, 3);
    expect_got (two, "3", 3, 3);
    assert_non_null (harness_expect (harness, read_barrier));
    barrier = message_retain ((message_t *)harness_message (harness));
    assert_true (harness_quiet (harness));
    /*  No majority: no answer but this one, whatever is in the tables. */
    harness_reply_failure (harness, barrier, NEXUS_UNAVAILABLE, "no leader");
    message_release (&barrier);
    const failure_t *failure = harness_expect_reply (harness, three, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, NEXUS_UNAVAILABLE);
    assert_true (harness_quiet (harness));
    /*  Others than masters and workers may not. */
    uint64_t task = ask (ROLE_TASK, (kv_get_t){.key = "a", .stale = true});
    failure = harness_expect_reply (harness, task, failure);
    assert_int_equal (failure->code, NEXUS_DENIED);
    /*  Nobody is left waiting when it ends. */
    uint64_t last = ask (ROLE_LOCAL, (kv_get_t){.key = "a"});
    assert_non_null (harness_expect (harness, read_barrier));
    harness_stop (harness);
    assert_non_null (harness_expect_reply (harness, last, failure));
}

static size_t list (kv_get_t get, const char *first, bool more)
{
    get.prefix = get.stale = true;
    const kv_got_t *got = harness_expect_reply (harness, ask (ROLE_LOCAL, get), kv_got);
    assert_non_null (got);
    assert_int_equal (got->found, got->entries.count > 0);
    assert_int_equal (got->more, more);
    if (got->entries.count)
        assert_string_equal (got->entries.items[0].key, first);
    return got->entries.count;
}

static void test_lists (void **state)
{
    (void)state;
    static char large[60001];
    memset (large, 'x', 60000);
    const char *keys[] = {"a", "a/1", "a/2", "a/3", "ab", "b"};
    for (size_t i = 0; i < 6; i++)
        put (keys[i], "v");
    assert_int_equal (list ((kv_get_t){.key = ""}, "a", false), 6);
    assert_int_equal (list ((kv_get_t){.key = "a/"}, "a/1", false), 3);
    assert_int_equal (list ((kv_get_t){.key = "a/", .limit = 3}, "a/1", false), 3);
    assert_int_equal (list ((kv_get_t){.key = "a/", .limit = 2}, "a/1", true), 2);
    assert_int_equal (list ((kv_get_t){.key = "a/", .after = "a/2"}, "a/3", false), 1);
    assert_int_equal (list ((kv_get_t){.key = "a/", .after = "a/25"}, "a/3", false), 1);
    assert_int_equal (list ((kv_get_t){.key = "a/", .after = "a"}, "a/1", false), 3);
    assert_int_equal (list ((kv_get_t){.key = "a/", .after = "b"}, "", false), 0);
    assert_int_equal (list ((kv_get_t){.key = "c"}, "", false), 0);
    for (size_t i = 0; i < 10; i++) {
        char key[16];
        snprintf (key, sizeof (key), "large/%zu", i);
        put (key, large);
    }
    assert_int_equal (list ((kv_get_t){.key = "large/"}, "large/0", true), 8);
    assert_int_equal (list ((kv_get_t){.key = "large/", .after = "large/7"}, "large/8", false), 2);
}

/*  What was done for whom outlives a restart of the actor. */
static void test_once_restart (void **state)
{
    (void)state;
    kv_put_t command = {.key = "k"};
    buffer_t inner = {0}, outer = {0};
    command_encode (&kv_put_record, &command, &inner);
    once_t once = {.client = 5, .sequence = 1, .command = {inner.data, inner.size}};
    command_encode (&once_record, &once, &outer);
    for (uint64_t index = 1; index <= 3; index++) {
        apply_entry_t entry = {.index = index, .term = 1, .command = {outer.data, outer.size}};
        harness_deliver (harness, NULL, &apply_record, &(apply_t){{&entry, 1}});
        const applied_t *applied = harness_expect (harness, applied);
        assert_non_null (applied);
        assert_string_equal (applied->results.items[0].text, "1");
        harness_destroy (&harness);
        harness = harness_new (&ledger_behaviour, &args, NULL, NULL);
    }
    buffer_free (&inner);
    buffer_free (&outer);
}

/*  Tables that lie end it, and nothing of the batch remains. */
static void test_corrupt_tables (void **state)
{
    (void)state;
    tables_txn_t *txn = tables_begin (world.tables, true, NULL);
    assert_int_equal (tables_put (txn, LEDGER_JOBS, SLICE ("none"), SLICE ("rubbish"), NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    apply_range (1, 5);
    nexus_error_t error;
    assert_true (harness_ended (harness, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_non_null (strstr (error.text, "jobs"));
    assert_int_equal (applied_index (), 0);
    assert_int_equal (harness_count (harness, &applied_record), 0);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_batches, setup, teardown),
        cmocka_unit_test_setup_teardown (test_many, setup, teardown),
        cmocka_unit_test_setup_teardown (test_subscribers, setup, teardown),
        cmocka_unit_test_setup_teardown (test_hole, setup, teardown),
        cmocka_unit_test_setup_teardown (test_reads, setup, teardown),
        cmocka_unit_test_setup_teardown (test_lists, setup, teardown),
        cmocka_unit_test_setup_teardown (test_once_restart, setup, teardown),
        cmocka_unit_test_setup_teardown (test_corrupt_tables, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
