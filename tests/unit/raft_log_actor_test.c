#include "runtime/harness.h"
#include "runtime/host.h"
#include "storage/raft_log_actor.h"
#include "temp_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    char dir[64];
    raft_log_t *log;
    harness_t *harness;
} fixture_t;

static void setup (fixture_t *self, size_t map_size)
{
    nexus_error_t error = {0};
    self->log = raft_log_open (temp_dir_new (self->dir), map_size, &error);
    if (!self->log)
        fail_msg ("%s", error.text);
    self->harness = harness_new (&raft_log_actor, self->log, NULL, &error);
    assert_non_null (self->harness);
}

static void teardown (fixture_t *self)
{
    harness_destroy (&self->harness);
    raft_log_close (&self->log);
    temp_dir_remove (self->dir);
}

static log_entry_t make_entry (uint64_t index, uint64_t term, const char *text)
{
    return (log_entry_t){
        .index = index,
        .term = term,
        .type = 1,
        .data = {(const uint8_t *)text, strlen (text)},
    };
}

static double commits (fixture_t *self)
{
    metrics_t *metrics = context_metrics (harness_context (self->harness));
    return metric_value (metrics_counter (metrics, "nexus_raft_log_commits_total",
                                          "Transactions committed to the Raft log", NULL));
}

static raft_log_state_t state_of (fixture_t *self)
{
    raft_log_state_t state;
    raft_log_state (self->log, &state);
    return state;
}

static void expect_durable (fixture_t *self, uint64_t sequence, uint64_t last, uint64_t term)
{
    const log_durable_t *durable = harness_expect (self->harness, log_durable);
    assert_non_null (durable);
    assert_int_equal (durable->sequence, sequence);
    assert_int_equal (durable->last_index, last);
    assert_int_equal (durable->last_term, term);
    assert_false (durable->full);
    assert_true (durable->flush_us > 0 && durable->flush_p99_us >= durable->flush_p50_us);
}

/*  Everything that waits becomes one commit; the answers come in order. */
static void test_group_commit (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 64 << 20);
    harness_hold (self.harness);
    for (uint64_t i = 1; i <= 200; i++) {
        log_entry_t entry = make_entry (i, 3, "command");
        log_append_t append = {.entries = {&entry, 1}, .sequence = 1000 + i};
        if (i == 200) {
            append.has_hard_state = true;
            append.term = 4;
            append.vote = 9;
            append.commit = 150;
        }
        harness_deliver (self.harness, NULL, &log_append_record, &append);
    }
    assert_int_equal (state_of (&self).last, 0);
    harness_turn (self.harness);
    assert_true (commits (&self) == 1);
    for (uint64_t i = 1; i <= 200; i++)
        expect_durable (&self, 1000 + i, 200, 3);
    assert_true (harness_quiet (self.harness));
    raft_log_state_t log = state_of (&self);
    assert_int_equal (log.last, 200);
    assert_int_equal (log.hard.term, 4);
    assert_int_equal (log.hard.vote, 9);
    assert_int_equal (log.hard.commit, 150);
    teardown (&self);
}

/*  As a request, and a suffix replaced by what comes in the same turn. */
static void test_order_and_requests (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 64 << 20);
    log_entry_t old[] = {make_entry (1, 1, "a"), make_entry (2, 1, "b"), make_entry (3, 1, "c")};
    log_entry_t new[] = {make_entry (2, 2, "B")};
    log_append_t first = {.entries = {old, 3}, .sequence = 1};
    log_append_t second = {.truncate_from = 2, .entries = {new, 1}, .sequence = 2};
    harness_hold (self.harness);
    uint64_t one = harness_ask (self.harness, NULL, &log_append_record, &first);
    uint64_t two = harness_ask (self.harness, NULL, &log_append_record, &second);
    harness_turn (self.harness);
    const log_durable_t *durable = harness_expect_reply (self.harness, one, log_durable);
    assert_non_null (durable);
    assert_int_equal (durable->sequence, 1);
    durable = harness_expect_reply (self.harness, two, log_durable);
    assert_non_null (durable);
    assert_int_equal (durable->sequence, 2);
    assert_int_equal (durable->last_index, 2);
    assert_int_equal (raft_log_term (self.log, 2), 2);
    assert_int_equal (raft_log_term (self.log, 3), 0);
    teardown (&self);
}

static void test_compaction_in_slices (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 64 << 20);
    static log_entry_t entries[5000];
    for (uint64_t i = 0; i < 5000; i++)
        entries[i] = make_entry (i + 1, 1, "x");
    log_append_t append = {
        .entries = {entries, 5000}, .has_hard_state = true, .term = 1, .commit = 5000};
    harness_deliver (self.harness, NULL, &log_append_record, &append);
    expect_durable (&self, 0, 5000, 1);
    uint64_t wrong =
        harness_ask (self.harness, NULL, &log_compact_record, &(log_compact_t){.index = 5001});
    harness_advance (self.harness, 1);
    assert_non_null (harness_expect_reply (self.harness, wrong, failure));
    harness_hold (self.harness);
    uint64_t right =
        harness_ask (self.harness, NULL, &log_compact_record, &(log_compact_t){.index = 4900});
    uint64_t twice =
        harness_ask (self.harness, NULL, &log_compact_record, &(log_compact_t){.index = 4900});
    harness_turn (self.harness);
    assert_non_null (harness_expect_reply (self.harness, twice, failure));
    harness_advance (self.harness, 1);
    const done_t *done = harness_expect_reply (self.harness, right, done);
    assert_non_null (done);
    assert_int_equal (done->value, 4900);
    assert_int_equal (state_of (&self).first, 4901);
    assert_false (harness_ended (self.harness, NULL));
    teardown (&self);
}

/*  A write that fails ends the actor, and nobody hears that it was done. */
static void test_failure_ends_it (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 64 << 20);
    log_entry_t good = make_entry (1, 1, "a"), gap = make_entry (7, 1, "b");
    log_append_t first = {.entries = {&good, 1}, .sequence = 1};
    log_append_t second = {.entries = {&gap, 1}, .sequence = 2};
    harness_hold (self.harness);
    harness_deliver (self.harness, NULL, &log_append_record, &first);
    harness_deliver (self.harness, NULL, &log_append_record, &second);
    harness_turn (self.harness);
    assert_int_equal (harness_count (self.harness, &log_durable_record), 0);
    nexus_error_t error = {0};
    assert_true (harness_ended (self.harness, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_non_null (strstr (error.text, "raft log"));
    assert_int_equal (state_of (&self).last, 0);
    teardown (&self);
}

static void test_tells_when_nearly_full (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 1 << 20);
    static char text[600000];
    memset (text, 'x', sizeof text - 1);
    log_entry_t large = make_entry (1, 1, text), small = make_entry (2, 1, "s");
    log_append_t append = {.entries = {&large, 1}, .sequence = 1};
    harness_deliver (self.harness, NULL, &log_append_record, &append);
    expect_durable (&self, 1, 1, 1);
    text[300000] = 0;
    small = make_entry (2, 1, text);
    append = (log_append_t){.entries = {&small, 1}, .sequence = 2};
    harness_deliver (self.harness, NULL, &log_append_record, &append);
    expect_durable (&self, 2, 2, 1);
    harness_advance (self.harness, 1100); /* it looks once a second, and says so unasked */
    const log_durable_t *durable = harness_expect (self.harness, log_durable);
    assert_non_null (durable);
    assert_true (durable->full);
    assert_int_equal (durable->sequence, 2);
    small = make_entry (3, 1, "s");
    append = (log_append_t){
        .entries = {&small, 1}, .sequence = 3, .has_hard_state = true, .term = 1, .commit = 3};
    harness_deliver (self.harness, NULL, &log_append_record, &append);
    durable = harness_expect (self.harness, log_durable);
    assert_non_null (durable);
    assert_true (durable->full);
    /* There is room again, and nobody writes: who refuses to write has to be told. */
    harness_deliver (self.harness, NULL, &log_compact_record, &(log_compact_t){.index = 2});
    harness_advance (self.harness, 2200);
    durable = harness_expect (self.harness, log_durable);
    assert_non_null (durable);
    assert_false (durable->full);
    assert_int_equal (durable->sequence, 3);
    teardown (&self);
}

/*  In a zactor of its own, as in production. */
static void test_in_a_host (void **state)
{
    (void)state;
    char dir[64];
    nexus_error_t error = {0};
    raft_log_t *log = raft_log_open (temp_dir_new (dir), 64 << 20, &error);
    runtime_t *runtime = runtime_new (&(runtime_config_t){.name = "m1", .key = {{1}}}, &error);
    if (!log || !runtime)
        fail_msg ("%s", error.text);
    child_t child = {.behaviour = &raft_log_actor, .name = "raft_log", .args = log, .thread = true};
    zactor_t *host = host_new (runtime, &child, &error);
    if (!host)
        fail_msg ("%s", error.text);
    address_t to = address_local ("raft_log", 0);
    for (uint64_t i = 1; i <= 50; i++) {
        log_entry_t entry = make_entry (i, 1, "command");
        log_append_t append = {.entries = {&entry, 1}, .sequence = i};
        message_t *reply = runtime_call (runtime, &to, &log_append_record, &append, 5000, &error);
        if (!reply)
            fail_msg ("%s", error.text);
        const log_durable_t *durable = message_body (reply, log_durable);
        assert_non_null (durable);
        assert_int_equal (durable->sequence, i);
        assert_int_equal (durable->last_index, i);
        message_release (&reply);
    }
    zactor_destroy (&host);
    runtime_destroy (&runtime);
    raft_log_state_t found;
    raft_log_state (log, &found);
    assert_int_equal (found.last, 50);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_group_commit),           cmocka_unit_test (test_order_and_requests),
        cmocka_unit_test (test_compaction_in_slices),   cmocka_unit_test (test_failure_ends_it),
        cmocka_unit_test (test_tells_when_nearly_full), cmocka_unit_test (test_in_a_host),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
