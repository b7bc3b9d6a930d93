/*  raft_replication: how entries get to the others, and when they are committed and applied */
#include "tests/unit/raft_cluster.h"

static void test_replication (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 1, NULL);
    cluster_elect (cluster, 1);
    assert_int_equal (cluster_propose (cluster, 2, 9), RAFT_NOT_LEADER);
    for (uint64_t value = 1; value <= 100; value++)
        assert_int_equal (cluster_propose (cluster, 1, value), RAFT_OK);
    cluster_settle (cluster);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal (cluster->nodes[id].applied, 101);
        assert_int_equal (cluster_value (&cluster->nodes[id].log[100]), 100);
        assert_int_equal (cluster_status (cluster, id).anomalies, 0);
    }
    assert_int_equal (cluster_status (cluster, 1).uncommitted_bytes, 0);
    cluster_destroy (&cluster);
}

/*  Proposals of one turn share a message. */
static void test_batching (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (2, 1, NULL);
    cluster_elect (cluster, 1);
    uint64_t before = cluster->sent[RAFT_MSG_APP], index, term;
    for (int i = 0; i < 500; i++)
        raft_propose (cluster->nodes[1].raft, RAFT_ENTRY_NORMAL, NULL, &index, &term);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[2].applied, 501);
    assert_int_equal (cluster->sent[RAFT_MSG_APP] - before, 2); /* entries, then the commit */
    cluster_destroy (&cluster);
}

/*  Followers hear of a commit with the next entry, or when the delay is over, not before. */
static void test_commit_delay (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.commit_delay_ms = 20;
    config.heartbeat_ms = 200;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 1000);
    uint64_t before = cluster_status (cluster, 1).hard.commit;
    uint64_t sent = 0;
    for (uint64_t i = 1; i <= 40; i++) {
        cluster_propose (cluster, 1, i);
        cluster_settle (cluster);
        assert_int_equal (cluster_status (cluster, 1).hard.commit, before + i);
        for (uint64_t id = 2; id <= 3; id++) {
            uint64_t behind = before + i - cluster_status (cluster, id).hard.commit;
            assert_true (behind <= 1);
            sent += behind == 0;
        }
        cluster_run (cluster, i % 10 == 0 ? 21 : 1);
        if (i % 10 == 0)
            assert_int_equal (cluster_status (cluster, 2).hard.commit, before + i);
    }
    assert_true (sent < 20); /* at most one in ten had a message of its own */
    cluster_check_logs (cluster);
    cluster_destroy (&cluster);
}

/*  A follower applies in larger batches, late, and not before it has acknowledged what it writes,
    unless somebody waits or much is waiting. */
static void test_apply_delay (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.apply_delay_ms = 20;
    config.commit_delay_ms = 4;
    config.heartbeat_ms = 5;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 1000);
    uint64_t late = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        raft_hurry (cluster->nodes[3].raft, i > 50);
        cluster_propose (cluster, 1, i);
        cluster_run (cluster, 10);
        assert_int_equal (cluster_status (cluster, 1).applied,
                          cluster_status (cluster, 1).hard.commit);
        raft_status_t second = cluster_status (cluster, 2), third = cluster_status (cluster, 3);
        late += second.applied < second.hard.commit;
        assert_true (second.hard.commit - second.applied <= 4);
        if (i > 50)
            assert_int_equal (third.applied, third.hard.commit);
        if (i % 25 == 0) {
            cluster_run (cluster, 25);
            second = cluster_status (cluster, 2);
            assert_int_equal (second.applied, second.hard.commit);
        }
    }
    assert_in_range (late, 20, 80);
    for (uint64_t i = 101; i <= 110; i++) {
        cluster_propose (cluster, 1, i);
        cluster_run (cluster, 1);
    }
    assert_int_equal (cluster->nodes[2].applied_while_writing, 0);
    assert_true (cluster->nodes[3].applied_while_writing > 0);
    cluster_check_logs (cluster);
    cluster_destroy (&cluster);
}

/*  Figure 7 of the Raft paper: followers' logs with missing and with extra entries. */
static void test_conflict_repair (void **state)
{
    (void)state;
    static const struct {
        uint64_t terms[16];
        size_t count;
    } logs[] = {
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6}, 10},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6}, 9},
        {{1, 1, 1, 4}, 4},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}, 11},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, 12},
        {{1, 1, 1, 4, 4, 4, 4}, 7},
        {{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}, 11},
    };
    cluster_t *cluster = cluster_new (7, 2, NULL);
    for (uint64_t id = 1; id <= 7; id++) {
        cluster_node_t *node = &cluster->nodes[id];
        cluster_crash (cluster, id);
        for (size_t i = 0; i < logs[id - 1].count; i++) {
            /* One value for one (index, term), as it has to be. */
            uint64_t value = logs[id - 1].terms[i] * 1000 + i + 1;
            node->log[node->log_count++] = (raft_entry_t){
                .term = logs[id - 1].terms[i],
                .index = i + 1,
                .blob = raft_blob_new (&value, sizeof (value)),
            };
        }
        node->hard.term = 7;
        cluster_start (cluster, id);
    }
    cluster_run (cluster, 1001); /* the restarted keep their promises for that long */
    cluster_elect (cluster, 1);
    uint64_t probes = cluster->sent[RAFT_MSG_APP];
    cluster_run (cluster, 300);
    assert_true (probes < 60);
    for (uint64_t id = 1; id <= 7; id++) {
        assert_int_equal (cluster->nodes[id].log_count, 11);
        assert_int_equal (cluster->nodes[id].applied, 11);
        assert_int_equal (cluster_value (&cluster->nodes[id].log[9]), 6010);
        assert_int_equal (cluster_status (cluster, id).anomalies, 0);
    }
    cluster_check_logs (cluster);
    cluster_destroy (&cluster);
}

/*  A follower that is thousands of entries of other terms off is found in a few messages. */
static void test_fast_backtrack (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 2, NULL);
    for (uint64_t id = 1; id <= 3; id++) {
        cluster_node_t *node = &cluster->nodes[id];
        cluster_crash (cluster, id);
        for (uint64_t i = 1; i <= 3000; i++)
            node->log[node->log_count++] = (raft_entry_t){.index = i,
                                                          .term = i <= 1000 ? 1
                                                                  : id == 3 ? 2 + i / 2000
                                                                            : 5 + i / 1500};
        node->hard.term = 9;
        cluster_start (cluster, id);
    }
    cluster_run (cluster, 1001);
    cluster_elect (cluster, 1);
    assert_true (cluster->sent[RAFT_MSG_APP] < 30);
    assert_int_equal (cluster->nodes[3].applied, 3001);
    cluster_check_logs (cluster);
    cluster_destroy (&cluster);
}

static bool s_lose_term_2 (void *context, const raft_message_t *message)
{
    (void)context;
    return message->entries_count && message->entries[0].term == 2;
}

/*  Thesis figure 3.7 (figure 8 of the paper): an entry of an earlier term that stands on a
    majority is not committed by counting; one of the own term commits it as well. */
static void test_figure_8 (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.check_quorum = config.pre_vote = false;
    config.message_bytes_max = 1; /* an entry a message */
    cluster_t *cluster = cluster_new (3, 8, &config);
    cluster_elect (cluster, 1);
    cluster_isolate (cluster, 1, true);
    cluster_propose (cluster, 1, 1); /* index 2, term 1, nowhere else */
    cluster_crash (cluster, 1);
    cluster_start (cluster, 1);
    cluster_heal (cluster);
    cluster->intercept = s_lose_term_2;
    cluster_elect (cluster, 1);
    raft_t *raft = cluster->nodes[1].raft;
    for (uint64_t id = 2; id <= 3; id++)
        tracker_find (&raft->tracker, id)->next = 2;
    cluster_run (cluster, 350);
    assert_int_equal (raft_progress (raft, 2)->match, 2);
    assert_int_equal (raft_progress (raft, 3)->match, 2);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 1);
    cluster->intercept = NULL;
    cluster_run (cluster, 350);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 3);
    cluster_destroy (&cluster);
}

static void test_acknowledged_when_durable (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 100);
    /* The leader's disk hangs: its followers are enough, and were asked in parallel. */
    cluster->nodes[1].hold = true;
    cluster_propose (cluster, 1, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 2);
    assert_int_equal (cluster->nodes[1].applied, 1); /* but it doesn't run ahead of its disk */
    assert_int_equal (cluster->nodes[2].applied, 2);
    cluster_flush (cluster, 1, 1);
    assert_int_equal (cluster->nodes[1].applied, 2);
    /* The followers' disks hang: nothing is committed. */
    cluster->nodes[1].hold = false;
    cluster->nodes[2].hold = cluster->nodes[3].hold = true;
    cluster_propose (cluster, 1, 2);
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 2);
    cluster_flush (cluster, 3, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 3);
    cluster_destroy (&cluster);
}

static void test_single_node (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (1, 3, NULL);
    cluster->nodes[1].hold = true;
    raft_campaign (cluster->nodes[1].raft);
    cluster_pump (cluster, 1);
    assert_int_equal (cluster_leader (cluster), 0);
    cluster_flush (cluster, 1, 1); /* the vote */
    assert_int_equal (cluster_leader (cluster), 1);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 0);
    cluster_flush (cluster, 1, 1); /* the no-op */
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 1);
    cluster_propose (cluster, 1, 1);
    cluster_propose (cluster, 1, 2);
    cluster_flush (cluster, 1, 1);
    assert_int_equal (cluster->nodes[1].applied, 2);
    cluster_crash (cluster, 1);
    cluster_start (cluster, 1);
    assert_int_equal (cluster_status (cluster, 1).last, 2);
    cluster->nodes[1].hold = false;
    cluster_run (cluster, 2500);
    assert_int_equal (cluster_leader (cluster), 1);
    assert_int_equal (raft_read_index (cluster->nodes[1].raft, 77), RAFT_OK);
    cluster_pump (cluster, 1);
    assert_int_equal (cluster->nodes[1].reads_count, 1);
    assert_int_equal (cluster->nodes[1].reads[0].index, 3);
    assert_true (raft_lease_valid (cluster->nodes[1].raft));
    cluster_destroy (&cluster);
}

/*  A leader that lacks what is committed here has come of votes by who forgot it: nothing is agreed to. */
static void test_contradiction (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.conf_state.voters = (quorum_set_t){3, {1, 2, 3}};
    cluster_t *cluster = cluster_new (1, 1, &config);
    cluster_node_t *node = &cluster->nodes[1];
    cluster->cut[1][2] = cluster->cut[1][3] = true;
    raft_entry_t old[] = {{.index = 1, .term = 1}, {.index = 2, .term = 1}};
    raft_message_t message = {.type = RAFT_MSG_APP,
                              .from = 2,
                              .to = 1,
                              .term = 1,
                              .commit = 2,
                              .entries = old,
                              .entries_count = 2};
    raft_step (node->raft, &message);
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).hard.commit, 2);
    raft_entry_t same[] = {{.index = 2, .term = 1}, {.index = 3, .term = 1}};
    message = (raft_message_t){.type = RAFT_MSG_APP,
                               .from = 2,
                               .to = 1,
                               .term = 1,
                               .index = 1,
                               .log_term = 1,
                               .entries = same,
                               .entries_count = 2};
    raft_step (node->raft, &message); /* old news, and some of it new */
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).contradicted, 0);
    raft_entry_t other[] = {{.index = 2, .term = 2}};
    message = (raft_message_t){.type = RAFT_MSG_APP,
                               .from = 3,
                               .to = 1,
                               .term = 2,
                               .index = 1,
                               .log_term = 1,
                               .entries = other,
                               .entries_count = 1};
    uint64_t answers = cluster->sent[RAFT_MSG_APP_RESP];
    raft_step (node->raft, &message);
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).contradicted, 2);
    assert_int_equal (cluster->sent[RAFT_MSG_APP_RESP], answers);
    cluster_destroy (&cluster);
}

/*  A node that comes back with an older copy of its disk, in the same term, notices. */
static void test_forgotten (void **state)
{
    (void)state;
    for (unsigned lost = 0; lost <= 4; lost += 2) {
        cluster_t *cluster = cluster_new (3, 5, NULL);
        cluster_node_t *node = &cluster->nodes[3];
        cluster_elect (cluster, 1);
        for (uint64_t value = 1; value <= 10; value++)
            assert_int_equal (cluster_propose (cluster, 1, value), RAFT_OK);
        cluster_settle (cluster);
        cluster_run (cluster, 300);
        uint64_t last = cluster_status (cluster, 1).hard.commit;
        assert_int_equal (cluster_status (cluster, 3).hard.commit, last);
        cluster_crash (cluster, 3);
        for (unsigned i = 0; i < lost; i++)
            raft_blob_release (node->log[--node->log_count].blob);
        node->applied = node->hard.commit = last - lost;
        cluster_start (cluster, 3);
        cluster_run (cluster, 3000);
        assert_int_equal (cluster_leader (cluster), 1);
        raft_status_t status = cluster_status (cluster, 3);
        assert_int_equal (status.forgotten, lost ? last : 0);
        assert_int_equal (status.last, last - lost);
        cluster_destroy (&cluster);
    }
}

/*  A suffix that is replaced while it is being written doesn't count when that write is done. */
static void test_truncated_while_writing (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.conf_state.voters = (quorum_set_t){3, {1, 2, 3}};
    cluster_t *cluster = cluster_new (1, 1, &config);
    cluster_node_t *node = &cluster->nodes[1];
    node->hold = true;
    raft_entry_t old[] = {{.index = 1, .term = 1}, {.index = 2, .term = 1}};
    raft_message_t message = {
        .type = RAFT_MSG_APP, .from = 2, .to = 1, .term = 1, .entries = old, .entries_count = 2};
    cluster->cut[1][2] = cluster->cut[1][3] = true;
    raft_step (node->raft, &message);
    cluster_pump (cluster, 1);
    assert_int_equal (node->writes_count, 1);
    raft_entry_t other[] = {{.index = 2, .term = 2}};
    message = (raft_message_t){.type = RAFT_MSG_APP,
                               .from = 3,
                               .to = 1,
                               .term = 2,
                               .index = 1,
                               .log_term = 1,
                               .entries = other,
                               .entries_count = 1};
    raft_step (node->raft, &message);
    cluster_pump (cluster, 1);
    assert_int_equal (node->writes_count, 2);
    cluster_flush (cluster, 1, 1);
    assert_int_equal (cluster_status (cluster, 1).durable, 1);
    assert_int_equal (node->log_count, 2);
    cluster_flush (cluster, 1, 1);
    assert_int_equal (cluster_status (cluster, 1).durable, 2);
    cluster_destroy (&cluster);
}

static void test_disk_stall (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 100);
    cluster->nodes[1].hold = true;
    cluster_propose (cluster, 1, 1);
    cluster_run (cluster, 900);
    assert_int_equal (cluster_leader (cluster), 1);
    cluster_run (cluster, 4000);
    assert_int_equal (cluster_status (cluster, 1).disk_stalls, 1);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader > 1);
    assert_int_equal (cluster_propose (cluster, leader, 2), RAFT_OK);
    cluster_run (cluster, 100);
    assert_int_equal (cluster_status (cluster, leader).applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

static void test_learner (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.conf_state.voters = (quorum_set_t){2, {1, 2}};
    config.conf_state.learners = (quorum_set_t){1, {3}};
    cluster_t *cluster = cluster_new (3, 3, &config);
    assert_int_equal (raft_campaign (cluster->nodes[3].raft), RAFT_INVALID);
    cluster_run (cluster, 4000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader == 1 || leader == 2);
    cluster_propose (cluster, leader, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[3].applied, 2);
    assert_int_equal (raft_transfer_leader (cluster->nodes[leader].raft, 3), RAFT_INVALID);
    cluster_isolate (cluster, 3 - leader, true); /* a learner makes no quorum */
    cluster_propose (cluster, leader, 2);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[3].log_count, 3);
    assert_int_equal (cluster->committed_last, 2);
    cluster_run (cluster, 2500);
    assert_int_equal (cluster_leader (cluster), 0);
    cluster_destroy (&cluster);
}

static void test_uncommitted_limit (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.uncommitted_bytes_max = 10 * (8 + RAFT_ENTRY_OVERHEAD);
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_isolate (cluster, 1, true);
    for (uint64_t value = 1; value <= 10; value++)
        assert_int_equal (cluster_propose (cluster, 1, value), RAFT_OK);
    assert_int_equal (cluster_propose (cluster, 1, 11), RAFT_BUSY);
    cluster_heal (cluster);
    cluster_run (cluster, 300);
    assert_int_equal (cluster_status (cluster, 1).uncommitted_bytes, 0);
    assert_int_equal (cluster_propose (cluster, 1, 11), RAFT_OK);
    cluster_destroy (&cluster);
}

static void test_window_is_respected (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.inflight_max = 4;
    config.message_bytes_max = 1; /* an entry a message */
    cluster_t *cluster = cluster_new (2, 3, &config);
    cluster_elect (cluster, 1);
    cluster->nodes[2].hold = true;
    uint64_t before = cluster->sent[RAFT_MSG_APP];
    for (uint64_t value = 1; value <= 50; value++)
        cluster_propose (cluster, 1, value);
    cluster_settle (cluster);
    assert_int_equal (cluster->sent[RAFT_MSG_APP] - before, 4);
    cluster_flush (cluster, 2, 1);
    cluster_settle (cluster);
    assert_true (cluster->sent[RAFT_MSG_APP] - before > 4);
    cluster->nodes[2].hold = false;
    cluster_run (cluster, 300);
    assert_int_equal (cluster->nodes[2].applied, 51);
    cluster_destroy (&cluster);
}

static bool s_lose_appends (void *context, const raft_message_t *message)
{
    int *left = context;
    return message->type == RAFT_MSG_APP && message->entries_count && (*left)-- > 0;
}

static void test_lost_messages_are_sent_again (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.inflight_max = 3;
    cluster_t *cluster = cluster_new (2, 3, &config);
    cluster_elect (cluster, 1);
    int left = 3; /* a whole window */
    cluster->intercept = s_lose_appends;
    cluster->intercept_context = &left;
    for (uint64_t value = 1; value <= 5; value++)
        cluster_propose (cluster, 1, value);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[2].log_count, 1);
    cluster_run (cluster, 250);
    assert_int_equal (cluster->nodes[2].applied, 6);
    cluster_destroy (&cluster);
}

static void test_config_entries_one_at_a_time (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_isolate (cluster, 3, true);
    cluster->nodes[2].hold = true;
    raft_t *raft = cluster->nodes[1].raft;
    uint64_t index, term;
    raft_campaign (raft);
    cluster_settle (cluster);
    cluster_flush (cluster, 2, 1);
    cluster_settle (cluster);
    assert_int_equal (raft_propose (raft, RAFT_ENTRY_CONFIG, NULL, &index, &term), RAFT_BUSY);
    cluster_flush (cluster, 2, 1);
    cluster_settle (cluster);
    assert_int_equal (raft_propose (raft, RAFT_ENTRY_CONFIG, NULL, &index, &term), RAFT_OK);
    assert_int_equal (raft_propose (raft, RAFT_ENTRY_CONFIG, NULL, &index, &term), RAFT_BUSY);
    cluster->nodes[2].hold = false;
    cluster_settle (cluster);
    raft_conf_state_t conf = {.voters = {2, {1, 2}}};
    assert_int_equal (raft_configure (raft, &conf), RAFT_OK);
    assert_int_equal (raft_propose (raft, RAFT_ENTRY_CONFIG, NULL, &index, &term), RAFT_OK);
    cluster_settle (cluster);
    conf = (raft_conf_state_t){.voters = {1, {2}}};
    assert_int_equal (raft_configure (raft, &conf), RAFT_OK); /* without itself */
    cluster_settle (cluster);                                 /* the other one has all of its log */
    assert_int_equal (cluster_status (cluster, 1).soft.role, RAFT_FOLLOWER);
    conf = (raft_conf_state_t){0};
    assert_int_equal (raft_configure (raft, &conf), RAFT_INVALID);
    cluster_destroy (&cluster);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_commit_delay),
        cmocka_unit_test (test_apply_delay),
        cmocka_unit_test (test_replication),
        cmocka_unit_test (test_batching),
        cmocka_unit_test (test_conflict_repair),
        cmocka_unit_test (test_fast_backtrack),
        cmocka_unit_test (test_figure_8),
        cmocka_unit_test (test_acknowledged_when_durable),
        cmocka_unit_test (test_single_node),
        cmocka_unit_test (test_contradiction),
        cmocka_unit_test (test_forgotten),
        cmocka_unit_test (test_truncated_while_writing),
        cmocka_unit_test (test_disk_stall),
        cmocka_unit_test (test_learner),
        cmocka_unit_test (test_uncommitted_limit),
        cmocka_unit_test (test_window_is_respected),
        cmocka_unit_test (test_lost_messages_are_sent_again),
        cmocka_unit_test (test_config_entries_one_at_a_time),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
