/*  The election's behaviour, alone */
#include "tests/unit/election_alone.h"
#include "transport/link.h"

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

/*  ---- passing on ---------------------------------------------------------------------- */

/*  A master leads in that term: its heartbeat. */
static void heartbeat (fixture_t *self, size_t master, uint64_t term)
{
    address_t leader = address_remote (&self->masters[master], "election", 0);
    consensus_t message = {.type = RAFT_MSG_HEARTBEAT, .term = term};
    harness_set_role (self->harness, ROLE_MASTER);
    harness_deliver (self->harness, &leader, &consensus_record, &message);
    harness_set_role (self->harness, ROLE_LOCAL);
}

static void follow (fixture_t *self)
{
    setup_with (self, 3, 9, 0);
    tell_applied (self, 9, 9, NULL);
    harness_clear (self->harness);
    heartbeat (self, 1, 1);
}

static uint64_t ask_propose (fixture_t *self, role_t role, propose_t propose)
{
    record_key_t node = {{7}};
    address_t other = address_remote (&node, "test", 0);
    harness_set_role (self->harness, role);
    uint64_t asked =
        harness_ask (self->harness, role == ROLE_LOCAL ? NULL : &other, &propose_record, &propose);
    harness_set_role (self->harness, ROLE_LOCAL);
    return asked;
}

/*  What was passed on to that master, the last time; NULL: nothing. */
static const propose_t *passed_on (fixture_t *self, size_t master, message_t **ret_request)
{
    const propose_t *propose = NULL;
    while (harness_count (self->harness, &propose_record)) {
        propose = harness_find (self->harness, propose);
        const message_t *request = harness_message (self->harness);
        assert_memory_equal (&request->to.node, &self->masters[master], sizeof (record_key_t));
        message_release (ret_request);
        *ret_request = message_retain ((message_t *)request);
        propose = (*ret_request)->body;
    }
    return propose;
}

static void expect_failure (fixture_t *self, uint64_t asked, nexus_code_t code)
{
    const failure_t *failure = harness_expect_reply (self->harness, asked, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, code);
}

static void expect_same (const propose_t *first, const propose_t *again)
{
    assert_non_null (again);
    assert_true (again->client && again->client == first->client);
    assert_int_equal (again->sequence, first->sequence);
    assert_int_equal (again->after, first->after);
    assert_int_equal (again->command.size, first->command.size);
}

/*  As one request, until it is known what became of it. */
static void test_passed_on_until_answered (void **state)
{
    (void)state;
    fixture_t self;
    message_t *request = NULL, *first = NULL;
    follow (&self);
    propose_t propose = {.command = {(const uint8_t *)"xy", 2}};
    uint64_t asked = ask_propose (&self, ROLE_LOCAL, propose);
    const propose_t *before = passed_on (&self, 1, &request), *again;
    assert_non_null (before);
    assert_true (before->client && before->client >> 63 == 0);
    assert_int_equal (before->after, 9);
    first = message_retain (request);
    /*  "Nothing was done", says this copy's answer: another one may be on its way. */
    harness_reply_failure (self.harness, request, NEXUS_UNAVAILABLE, "I don't lead");
    assert_int_equal (harness_count (self.harness, &failure_record), 0);
    harness_advance (self.harness, 100);
    again = passed_on (&self, 1, &request);
    expect_same (before, again);
    /*  Its connection breaks and comes back: who knows what got lost. */
    peer_event_t event = {.node = self.masters[1], .role = ROLE_MASTER};
    harness_deliver (self.harness, NULL, &peer_event_record, &event);
    event.up = true;
    harness_deliver (self.harness, NULL, &peer_event_record, &event);
    expect_same (before, passed_on (&self, 1, &request));
    /*  Another leader. */
    heartbeat (&self, 2, 2);
    persist (&self);
    expect_same (before, passed_on (&self, 2, &request));
    harness_reply (self.harness, request, &proposed_record,
                   &(proposed_t){.index = 12, .value = "done"});
    const proposed_t *proposed = harness_expect_reply (self.harness, asked, proposed);
    assert_non_null (proposed);
    assert_string_equal (proposed->value, "done");
    /*  The next one is another request. */
    ask_propose (&self, ROLE_LOCAL, propose);
    again = passed_on (&self, 2, &request);
    assert_true (again->client == before->client && again->sequence != before->sequence);
    /*  Far behind, it knows from the leader how far the others are. */
    address_t leader = address_remote (&self.masters[2], "election", 0);
    consensus_t ahead = {
        .type = RAFT_MSG_APP, .term = 2, .index = 9, .log_term = 1, .commit = 4000};
    harness_set_role (self.harness, ROLE_MASTER);
    harness_deliver (self.harness, &leader, &consensus_record, &ahead);
    harness_set_role (self.harness, ROLE_LOCAL);
    ask_propose (&self, ROLE_LOCAL, propose);
    assert_int_equal (passed_on (&self, 2, &request)->after, 4000);
    message_release (&first);
    message_release (&request);
    teardown (&self);
}

/*  Those who number their requests keep their numbers; whoever passed on is not passed on again. */
static void test_who_may_propose (void **state)
{
    (void)state;
    fixture_t self;
    message_t *request = NULL;
    static uint8_t put[70000] = {0, 211};
    follow (&self);
    propose_t propose = {.command = {put, 100}, .client = 5, .sequence = 6, .after = 7};
    ask_propose (&self, ROLE_WORKER, propose);
    expect_same (&propose, passed_on (&self, 1, &request));
    expect_failure (&self, ask_propose (&self, ROLE_MASTER, propose), NEXUS_UNAVAILABLE);
    propose_t bad[4] = {propose, propose, propose, propose};
    bad[0].client = 0;
    bad[1].client = UINT64_C (1) << 63;
    bad[2].command = (record_bytes_t){(const uint8_t *)"\0\310", 2}; /* submit_job */
    bad[3].command.size = sizeof (put);
    for (size_t i = 0; i < 4; i++)
        expect_failure (&self, ask_propose (&self, ROLE_WORKER, bad[i]), NEXUS_DENIED);
    expect_failure (&self, ask_propose (&self, ROLE_TASK, propose), NEXUS_DENIED);
    assert_int_equal (harness_count (self.harness, &propose_record), 0);
    message_release (&request);
    teardown (&self);
}

/*  What was passed on and is not answered is unknown; what was not is not done. */
static void test_unknown (void **state)
{
    (void)state;
    fixture_t self;
    message_t *request = NULL;
    setup_with (&self, 3, 9, 0);
    tell_applied (&self, 9, 9, NULL);
    propose_t propose = {.command = {(const uint8_t *)"xy", 2}};
    harness_clear (self.harness);
    expect_failure (&self, ask_propose (&self, ROLE_LOCAL, propose), NEXUS_UNAVAILABLE);
    heartbeat (&self, 1, 1);
    uint64_t asked = ask_propose (&self, ROLE_LOCAL, propose);
    assert_non_null (passed_on (&self, 1, &request));
    harness_stop (self.harness);
    expect_failure (&self, asked, NEXUS_DEADLINE);
    message_release (&request);
    teardown (&self);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_results_before_they_show),
        cmocka_unit_test (test_leads_when_it_shows),
        cmocka_unit_test (test_damaged_log),
        cmocka_unit_test (test_passed_on_until_answered),
        cmocka_unit_test (test_who_may_propose),
        cmocka_unit_test (test_unknown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
