/*  What the election answers to changes of the masters */
#include "actors/protocol/command.h"
#include "tests/unit/election_alone.h"

static master_op_t op_of (const fixture_t *self, master_op_kind_t kind, unsigned n,
                          const char *name)
{
    return (master_op_t){
        .op = (int)kind,
        .master = {.key = self->masters[n], .name = name, .endpoint = "tcp://x:1"}};
}

static uint64_t ask (fixture_t *self, const master_op_t *ops, size_t count, bool stay)
{
    master_change_t change = {.changes = {(master_op_t *)(uintptr_t)ops, count}, .stay = stay};
    return harness_ask (self->harness, NULL, &master_change_record, &change);
}

/*  It is refused, with that code and text. */
static void expect_refusal (fixture_t *self, uint64_t request, nexus_code_t code, const char *text)
{
    const failure_t *failure = harness_expect_reply (self->harness, request, failure);
    assert_non_null (failure);
    if (failure->code != (uint64_t)code || !strstr (failure->text, text))
        fail_msg ("%d \"%s\" instead of %d \"%s\"", (int)failure->code, failure->text, (int)code,
                  text);
}

static void refuse (fixture_t *self, master_op_kind_t kind, unsigned n, const char *name,
                    nexus_code_t code, const char *text)
{
    master_op_t op = op_of (self, kind, n, name);
    expect_refusal (self, ask (self, &op, 1, false), code, text);
}

/*  The entry that was handed to the ledger last, as the command that it must be. */
static change_masters_t *expect_change (fixture_t *self, arena_t *arena)
{
    const apply_t *apply = harness_find (self->harness, apply);
    assert_non_null (apply);
    const apply_entry_t *entry = &apply->entries.items[apply->entries.count - 1];
    change_masters_t *change = arena_alloc (arena, sizeof (*change));
    assert_true (entry->command.size > 2);
    assert_int_equal (entry->command.data[0] << 8 | entry->command.data[1],
                      change_masters_record.id);
    assert_int_equal (record_decode (&change_masters_record, entry->command.data + 2,
                                     entry->command.size - 2, arena, change, NULL),
                      0);
    return change;
}

/*  Who was removed hears of nothing any more: whoever reads through it is told so, and needn't wait. */
static void test_reads_of_a_removed_one (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 3);
    tell_applied (&self, 0, 0, NULL);
    harness_clear (self.harness);
    address_t ledger = address_local ("ledger", 0);
    uint64_t read = harness_ask (self.harness, &ledger, &read_barrier_record, &(read_barrier_t){0});
    assert_int_equal (harness_count (self.harness, &failure_record), 0);
    conf_member_t members[] = {{.key = self.masters[1], .voter = true},
                               {.key = self.masters[2], .voter = true}};
    applied_t applied = {.conf = {.index = 7, .members = {members, 2}}};
    harness_deliver (self.harness, &ledger, &applied_record, &applied);
    expect_refusal (&self, read, NEXUS_UNAVAILABLE, "was removed");
    read = harness_ask (self.harness, &ledger, &read_barrier_record, &(read_barrier_t){0});
    expect_refusal (&self, read, NEXUS_UNAVAILABLE, "was removed");
    teardown (&self);
}

static uint64_t log_incarnation (void *self)
{
    (void)self;
    return 77;
}

/*  A learner has read of the log but a part, in which the leader stands as it was before it lost its
    disk and came back. What it answers must name the leader as it is, or the leader doesn't listen. */
static void test_old_record (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, 2);
    harness_destroy (&self.harness);
    self.args.log.incarnation = log_incarnation;
    self.args.join = true;
    self.args.masters_count = 0;
    self.log_last = 30;
    self.harness = harness_new (&election_behaviour, &self.args, &self.masters[0], NULL);
    conf_member_t members[] = {{.key = self.masters[0], .learner = true, .incarnation = 77},
                               {.key = self.masters[1], .voter = true, .incarnation = 5}};
    address_t ledger = address_local ("ledger", 0);
    address_t leader = address_remote (&self.masters[1], "election", 0);
    applied_t applied = {.index = 30, .done = 30, .conf = {.index = 20, .members = {members, 2}}};
    harness_deliver (self.harness, &ledger, &applied_record, &applied);
    harness_clear (self.harness);
    consensus_t heartbeat = {.type = RAFT_MSG_HEARTBEAT,
                             .term = 4,
                             .context = 1,
                             .incarnation = 9,
                             .expected = 77,
                             .record_index = 400};
    harness_deliver (self.harness, &leader, &consensus_record, &heartbeat);
    persist (&self);
    const consensus_t *answer = harness_find (self.harness, consensus);
    assert_non_null (answer);
    assert_int_equal (answer->type, RAFT_MSG_HEARTBEAT_RESP);
    assert_int_equal (answer->expected, 9);
    teardown (&self);
}

/*  A learner is added when the ledger has applied the change, and not before; one that hasn't
    answered can't be promoted. */
static void test_learner (void **state)
{
    (void)state;
    fixture_t self;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    lead_alone (&self);
    memset (&self.masters[1], 7, sizeof self.masters[1]);
    refuse (&self, MASTER_OP_LEARNER, 1, "", NEXUS_INVALID, "needs a name");
    refuse (&self, MASTER_OP_LEARNER, 2, "m3", NEXUS_INVALID, "key is missing"); /* zero */
    refuse (&self, MASTER_OP_VOTER, 1, "m2", NEXUS_NOT_FOUND, "add it as a learner first");
    refuse (&self, MASTER_OP_REMOVE, 1, "m2", NEXUS_NOT_FOUND, "no master of this cluster");
    refuse (&self, MASTER_OP_VOTER, 0, "m1", NEXUS_EXISTS, "are so already");
    refuse (&self, MASTER_OP_REMOVE, 0, "m1", NEXUS_INVALID, "no voter would be left");
    expect_refusal (&self, ask (&self, NULL, 0, false), NEXUS_CONFLICT, "no joint configuration");

    master_op_t op = op_of (&self, MASTER_OP_LEARNER, 1, "m2");
    uint64_t request = ask (&self, &op, 1, false);
    refuse (&self, MASTER_OP_LEARNER, 1, "m2", NEXUS_UNAVAILABLE, "under way");
    persist (&self);
    const change_masters_t *change = expect_change (&self, &arena);
    assert_int_equal (change->masters.count, 1);
    assert_string_equal (change->masters.items[0].name, "m2");
    assert_int_equal (change->masters.items[0].role, MASTER_LEARNER);
    assert_int_equal (change->conf.members.count, 2);
    assert_int_equal (harness_count (self.harness, &consensus_record), 0); /* not in force yet */
    tell_applied (&self, 2, 2, "2");
    assert_non_null (harness_expect_reply (self.harness, request, proposed));
    harness_advance (self.harness, 1000);
    assert_true (harness_count (self.harness, &consensus_record) > 0); /* it gets heartbeats now */
    refuse (&self, MASTER_OP_LEARNER, 1, "m2", NEXUS_EXISTS, "are so already");
    refuse (&self, MASTER_OP_VOTER, 1, "m2", NEXUS_CONFLICT, "m2 has not answered yet");
    assert_false (harness_ended (self.harness, NULL));
    arena_reset (&arena);
    teardown (&self);
}

/*  What the ledger refuses is in force nowhere. */
static void test_refused_by_the_ledger (void **state)
{
    (void)state;
    fixture_t self;
    lead_alone (&self);
    memset (&self.masters[1], 7, sizeof self.masters[1]);
    master_op_t op = op_of (&self, MASTER_OP_LEARNER, 1, "m1"); /* a name that is taken */
    uint64_t request = ask (&self, &op, 1, false);
    persist (&self);
    assert_int_equal (expect_apply (&self), 2);
    address_t ledger = address_local ("ledger", 0);
    apply_result_t result = {.index = 2, .code = NEXUS_EXISTS, .text = "there is a master \"m1\""};
    applied_t applied = {.index = 2, .done = 2, .results = {&result, 1}};
    harness_deliver (self.harness, &ledger, &applied_record, &applied);
    expect_refusal (&self, request, NEXUS_EXISTS, "there is a master");
    harness_advance (self.harness, 1000);
    assert_int_equal (harness_count (self.harness, &consensus_record), 0);
    refuse (&self, MASTER_OP_REMOVE, 1, "m2", NEXUS_NOT_FOUND, "no master of this cluster");
    teardown (&self);
}

/*  The configuration of the start is the ledger's, whatever the founders were; a joint one that is
    to be left is left. */
static void test_begins_with_the_ledgers (void **state)
{
    (void)state;
    fixture_t self;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    setup_with (&self, 1, 1, 0);
    memset (&self.masters[1], 7, sizeof self.masters[1]);
    assert_int_equal (expect_apply (&self), 0);
    conf_member_t members[] = {{.key = self.masters[0], .voter = true, .outgoing = true},
                               {.key = self.masters[1], .learner = true}};
    address_t ledger = address_local ("ledger", 0);
    applied_t applied = {
        .index = 1,
        .done = 1,
        .conf = {.index = 1, .cluster = 5, .auto_leave = true, .members = {members, 2}}};
    harness_deliver (self.harness, &ledger, &applied_record, &applied);
    harness_advance (self.harness,
                     2000); /* it may not campaign at once: it has been there before */
    persist (&self);
    assert_int_equal (expect_apply (&self), 2); /* its no-op */
    tell_applied (&self, 2, 2, NULL);
    persist (&self);
    const change_masters_t *change = expect_change (&self, &arena);
    assert_int_equal (change->base, 1);
    assert_int_equal (change->conf.cluster, 5);
    assert_int_equal (change->conf.members.count, 2);
    assert_true (change->conf.members.items[0].voter && !change->conf.members.items[0].outgoing);
    assert_true (change->conf.members.items[1].learner);
    assert_false (change->conf.auto_leave);
    arena_reset (&arena);
    teardown (&self);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_old_record),
        cmocka_unit_test (test_learner),
        cmocka_unit_test (test_reads_of_a_removed_one),
        cmocka_unit_test (test_refused_by_the_ledger),
        cmocka_unit_test (test_begins_with_the_ledgers),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
