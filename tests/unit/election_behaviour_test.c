/*  The election's behaviour, alone: the test is its log and its ledger */
#include "actors/election/election.h"
#include "runtime/harness.h"
#include "storage/raft_log_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    record_key_t masters[3];
    election_args_t args;
    harness_t *harness;
    uint64_t damaged;
    uint64_t log_last; /* as the election finds it at its start */
} fixture_t;

static uint64_t log_first (void *self)
{
    (void)self;
    return 1;
}

static uint64_t log_last (void *self)
{
    return ((fixture_t *)self)->log_last;
}

static uint64_t log_term (void *self, uint64_t index)
{
    const fixture_t *log = self;
    return index && index <= log->log_last && index != log->damaged;
}

static size_t log_entries (void *self, uint64_t lo, uint64_t hi, size_t bytes_max,
                           raft_entry_t *entries)
{
    (void)self, (void)lo, (void)hi, (void)bytes_max, (void)entries;
    return 0;
}

static uint64_t log_damaged (void *self)
{
    return ((fixture_t *)self)->damaged;
}

static int log_load (void *self, raft_hard_state_t *ret_hard, nexus_error_t *error)
{
    (void)error;
    uint64_t last = ((fixture_t *)self)->log_last;
    *ret_hard = (raft_hard_state_t){.term = last ? 1 : 0, .commit = last};
    return 0;
}

static void setup_with (fixture_t *self, size_t masters, uint64_t last, uint64_t damaged)
{
    *self = (fixture_t){.log_last = last, .damaged = damaged};
    for (size_t i = 0; i < masters; i++)
        memset (&self->masters[i], (int)i + 1, sizeof self->masters[i]);
    self->args = (election_args_t){.masters = self->masters,
                                   .masters_count = masters,
                                   .election_ms = 300,
                                   .log = {.entries = {.self = self,
                                                       .first = log_first,
                                                       .last = log_last,
                                                       .term = log_term,
                                                       .entries = log_entries,
                                                       .damaged = log_damaged},
                                           .load = log_load,
                                           .actor = "raft_log"}};
    nexus_error_t error = {0};
    self->harness = harness_new (&election_behaviour, &self->args, &self->masters[0], &error);
    if (!self->harness)
        fail_msg ("%s", error.text);
}

static void setup (fixture_t *self, size_t masters)
{
    setup_with (self, masters, 0, 0);
}

static void teardown (fixture_t *self)
{
    harness_destroy (&self->harness);
}

/*  The log writes what it was asked to. */
static void persist (fixture_t *self)
{
    const log_append_t *append;
    while (harness_count (self->harness, &log_append_record)) {
        append = harness_find (self->harness, log_append);
        message_t *request = message_retain ((message_t *)harness_message (self->harness));
        log_durable_t durable = {.sequence = append->sequence};
        harness_reply (self->harness, request, &log_durable_record, &durable);
        message_release (&request);
    }
}

/*  A ledger's word. */
static void tell_applied (fixture_t *self, uint64_t index, uint64_t done, const char *text)
{
    address_t ledger = address_local ("ledger", 0);
    apply_result_t result = {.index = done, .text = text};
    applied_t applied = {.index = index, .done = done, .results = {&result, text != NULL}};
    harness_deliver (self->harness, &ledger, &applied_record, &applied);
}

static uint64_t expect_apply (fixture_t *self)
{
    const apply_t *apply = harness_find (self->harness, apply);
    assert_non_null (apply);
    return apply->entries.count ? apply->entries.items[apply->entries.count - 1].index : 0;
}

/*  Alone, it leads; its no-op is applied. */
static void lead_alone (fixture_t *self)
{
    setup (self, 1);
    assert_int_equal (expect_apply (self), 0);
    tell_applied (self, 0, 0, NULL);
    persist (self);
    assert_int_equal (expect_apply (self), 1);
    tell_applied (self, 1, 1, NULL);
    harness_clear (self->harness);
}

/*  Whoever proposed hears of the result before the ledger's commit; whoever reads waits for it. */
static void test_results_before_they_show (void **state)
{
    (void)state;
    fixture_t self;
    lead_alone (&self);
    propose_t propose = {.command = {(const uint8_t *)"x", 1}};
    uint64_t proposal = harness_ask (self.harness, NULL, &propose_record, &propose);
    persist (&self);
    assert_int_equal (expect_apply (&self), 2);
    uint64_t read = harness_ask (self.harness, NULL, &read_barrier_record, &(read_barrier_t){0});
    tell_applied (&self, 1, 2, "result");
    const proposed_t *proposed = harness_expect_reply (self.harness, proposal, proposed);
    assert_non_null (proposed);
    assert_int_equal (proposed->index, 2);
    assert_string_equal (proposed->value, "result");
    uint64_t later = harness_ask (self.harness, NULL, &read_barrier_record, &(read_barrier_t){0});
    assert_int_equal (harness_count (self.harness, &done_record), 0);
    tell_applied (&self, 2, 2, NULL);
    const done_t *done = harness_expect_reply (self.harness, read, done);
    assert_non_null (done);
    assert_int_equal (done->value, 2);
    assert_non_null (harness_expect_reply (self.harness, later, done));
    teardown (&self);
}

/*  A leader has taken over what was before it when readers see that, not when it was applied. */
static void test_leads_when_it_shows (void **state)
{
    (void)state;
    fixture_t self;
    address_t subscriber = address_local ("test", 0);
    setup (&self, 1);
    harness_deliver (self.harness, &subscriber, &leadership_subscribe_record,
                     &(leadership_subscribe_t){true});
    assert_int_equal (expect_apply (&self), 0);
    tell_applied (&self, 0, 0, NULL);
    persist (&self);
    assert_int_equal (expect_apply (&self), 1);
    tell_applied (&self, 0, 1, "");
    const leadership_t *leadership;
    while (harness_count (self.harness, &leadership_record)) {
        leadership = harness_find (self.harness, leadership);
        assert_false (leadership->leading);
    }
    tell_applied (&self, 1, 1, NULL);
    leadership = harness_find (self.harness, leadership);
    assert_non_null (leadership);
    assert_true (leadership->leading);
    teardown (&self);
}

static double damaged_index (fixture_t *self)
{
    metrics_t *metrics = context_metrics (harness_context (self->harness));
    return metric_value (metrics_gauge (metrics, "nexus_raft_damaged_index",
                                        "Lowest entry of the Raft log that can't be read, 0 for "
                                        "none: this master is impaired.",
                                        NULL));
}

static void tell (fixture_t *self, consensus_t message)
{
    address_t leader = address_remote (&self->masters[1], "election", 0);
    message.term = 1;
    harness_deliver (self->harness, &leader, &consensus_record, &message);
}

/*  What its disk lost it fetches from the leader; until then it promises nothing. */
static void test_damaged_log (void **state)
{
    (void)state;
    fixture_t self;
    setup_with (&self, 3, 9, 4);
    tell_applied (&self, 9, 9, NULL);
    harness_clear (self.harness);
    assert_true (damaged_index (&self) == 4);
    tell (&self, (consensus_t){.type = RAFT_MSG_APP, .index = 9, .log_term = 1, .commit = 9});
    const consensus_t *answer = harness_find (self.harness, consensus);
    assert_non_null (answer);
    assert_int_equal (answer->type, RAFT_MSG_APP_RESP);
    assert_true (answer->reject && answer->force);
    assert_int_equal (answer->reject_hint, 3);
    consensus_entry_t entry = {.index = 4, .term = 1, .data = {(const uint8_t *)"lost", 4}};
    tell (
        &self,
        (consensus_t){
            .type = RAFT_MSG_APP, .index = 3, .log_term = 1, .commit = 9, .entries = {&entry, 1}});
    const log_append_t *append = harness_find (self.harness, log_append);
    assert_non_null (append);
    assert_int_equal (append->repairs.count, 1);
    assert_int_equal (append->repairs.items[0].index, 4);
    assert_memory_equal (append->repairs.items[0].data.data, "lost", 4);
    assert_int_equal (append->truncate_from, 0);
    assert_int_equal (append->entries.count, 0);
    assert_int_equal (harness_count (self.harness, &consensus_record), 0);
    message_t *request = message_retain ((message_t *)harness_message (self.harness));
    self.damaged = 0;
    log_durable_t durable = {.sequence = append->sequence};
    harness_reply (self.harness, request, &log_durable_record, &durable);
    message_release (&request);
    answer = harness_find (self.harness, consensus);
    assert_non_null (answer);
    assert_false (answer->reject);
    assert_int_equal (answer->index, 4);
    assert_true (damaged_index (&self) == 0);
    teardown (&self);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_results_before_they_show),
        cmocka_unit_test (test_leads_when_it_shows),
        cmocka_unit_test (test_damaged_log),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
