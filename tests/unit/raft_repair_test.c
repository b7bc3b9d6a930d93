/*  raft_repair: damaged logs: who has one decides nothing until it is whole */
#include "tests/unit/raft_cluster.h"

/*  Three nodes, 20 entries everywhere, 1 leads; then 3 is down, and its disk loses some. */
static cluster_t *s_damaged (const uint64_t *indexes, size_t count)
{
    raft_config_t config = raft_config_default ();
    config.cache_bytes_max = 0;
    cluster_t *cluster = cluster_new (3, 5, &config);
    cluster_elect (cluster, 1);
    for (uint64_t value = 1; value < 20; value++)
        assert_int_equal (cluster_propose (cluster, 1, value), RAFT_OK);
    cluster_settle (cluster);
    cluster_run (cluster, 200);
    assert_int_equal (cluster->nodes[3].log_count, 20);
    cluster_crash (cluster, 3);
    for (size_t i = 0; i < count; i++)
        cluster_rot (cluster, 3, indexes[i]);
    return cluster;
}

static void s_check_healed (cluster_t *cluster)
{
    for (uint64_t id = 1; id <= cluster->count; id++) {
        raft_status_t status = cluster_status (cluster, id);
        assert_int_equal (status.damaged, 0);
        assert_int_equal (status.anomalies, 0);
        assert_int_equal (cluster->nodes[id].log_count, cluster->committed_last);
        assert_int_equal (cluster->nodes[id].applied, cluster->committed_last);
        for (uint64_t i = 1; i <= cluster->nodes[id].log_count; i++)
            assert_false (cluster->nodes[id].rotten[i]);
    }
    cluster_check_logs (cluster);
}

static void test_damage_is_fetched (void **state)
{
    (void)state;
    static const struct {
        uint64_t indexes[6];
        size_t count;
    } cases[] = {
        {{7}, 1}, {{1}, 1}, {{20}, 1}, {{1, 20}, 2}, {{6, 7, 8, 15, 19, 20}, 6}, {{18, 19, 20}, 3},
    };
    for (size_t i = 0; i < sizeof (cases) / sizeof (cases[0]); i++) {
        cluster_t *cluster = s_damaged (cases[i].indexes, cases[i].count);
        cluster_start (cluster, 3);
        assert_int_equal (cluster_status (cluster, 3).damaged, cases[i].indexes[0]);
        /* Whatever it had acknowledged: from the damage on it doesn't any more. */
        cluster_run (cluster, 50);
        raft_t *leader = cluster->nodes[1].raft;
        for (int round = 0; round < 1000 && cluster_status (cluster, 3).damaged; round++) {
            const tracker_progress_t *peer = raft_progress (leader, 3);
            if (peer->state == TRACKER_PROBE)
                assert_true (peer->match < cases[i].indexes[0] || cluster->nodes[3].damaged == 0 ||
                             peer->match < cluster->nodes[3].damaged);
            cluster_run (cluster, 1);
            assert_int_equal (cluster->nodes[3].log_count, 20); /* nothing is dropped */
        }
        s_check_healed (cluster); /* a heartbeat was enough */
        assert_int_equal (cluster_propose (cluster, 1, 99), RAFT_OK);
        cluster_run (cluster, 300);
        s_check_healed (cluster);
        assert_int_equal (cluster_leader (cluster), 1);
        cluster_destroy (&cluster);
    }
}

/*  Its vote could elect somebody without an entry that counts on the lost copy. */
static void test_damaged_does_not_vote (void **state)
{
    (void)state;
    cluster_t *cluster = s_damaged ((const uint64_t[]){7}, 1);
    cluster_crash (cluster, 1);
    cluster_start (cluster, 3);
    cluster_run (cluster, 20000);
    assert_int_equal (cluster_leader (cluster), 0);
    assert_int_equal (raft_campaign (cluster->nodes[3].raft), RAFT_BUSY);
    assert_int_equal (cluster_status (cluster, 3).elections, 0);
    cluster_start (cluster, 1);
    cluster_run (cluster, 5000);
    assert_true (cluster_leader (cluster) == 1 || cluster_leader (cluster) == 2);
    s_check_healed (cluster);
    /* Now it does. */
    uint64_t leader = cluster_leader (cluster);
    cluster_crash (cluster, leader);
    cluster_run (cluster, 5000);
    assert_int_not_equal (cluster_leader (cluster), 0);
    cluster_destroy (&cluster);
}

/*  A leader that reads an entry for a follower and can't: somebody else shall lead. */
static void test_leader_finds_damage (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.cache_bytes_max = 0;
    cluster_t *cluster = cluster_new (3, 5, &config);
    cluster_elect (cluster, 1);
    cluster_isolate (cluster, 3, true);
    for (uint64_t value = 1; value < 20; value++)
        assert_int_equal (cluster_propose (cluster, 1, value), RAFT_OK);
    cluster_settle (cluster);
    cluster_rot (cluster, 1, 12);
    cluster_run (cluster, 100);
    assert_int_equal (cluster_leader (cluster), 1);
    cluster_heal (cluster);
    cluster_run (cluster, 10000);
    assert_int_equal (cluster_leader (cluster), 2);
    s_check_healed (cluster);
    cluster_destroy (&cluster);
}

/*  Its uncommitted end is damaged, and what is left of it belongs to a leader that lost. If only
    what is damaged were put back from the new leader, the rest would match the other's log, who
    would take what stands before it for his own. */
static void test_damage_in_a_fork (void **state)
{
    (void)state;
    /* Node 1 has what it led to in term 3, and nobody else got; 2 and 3 go on in term 2. */
    static const uint64_t terms[3][6] = {{1, 3, 3, 3, 3, 3}, {1, 2}, {1, 2}};
    static const uint64_t rotten[][3] = {{2, 0}, {2, 3, 0}, {3, 0}, {6, 0}, {2, 6, 0}};
    for (size_t which = 0; which < sizeof (rotten) / sizeof (rotten[0]); which++) {
        cluster_t *cluster = cluster_new (3, 2 + which, NULL);
        for (uint64_t id = 1; id <= 3; id++) {
            cluster_node_t *node = &cluster->nodes[id];
            cluster_crash (cluster, id);
            for (size_t i = 0; i < 6 && terms[id - 1][i]; i++) {
                uint64_t value = terms[id - 1][i] * 1000 + i + 1;
                node->log[node->log_count++] = (raft_entry_t){
                    .term = terms[id - 1][i],
                    .index = i + 1,
                    .blob = raft_blob_new (&value, sizeof (value)),
                };
            }
            node->hard.term = 3;
            for (size_t i = 0; id == 1 && rotten[which][i]; i++)
                cluster_rot (cluster, id, rotten[which][i]);
            cluster_start (cluster, id);
        }
        cluster_run (cluster, 5000);
        assert_true (cluster_leader (cluster) > 1);
        assert_int_equal (cluster_propose (cluster, cluster_leader (cluster), 77), RAFT_OK);
        cluster_run (cluster, 500);
        s_check_healed (cluster);
        cluster_destroy (&cluster);
    }
}

/*  The leader begins where this log doesn't any more: what was compacted is committed, and needs no
    match. */
static void test_damage_behind_what_is_compacted (void **state)
{
    (void)state;
    static const uint64_t index = 20;
    cluster_t *cluster = s_damaged (&index, 1);
    cluster_node_t *node = &cluster->nodes[3], *leader = &cluster->nodes[1];
    node->compacted = node->copy_index = 15;
    node->copy_term = node->log[14].term;
    cluster_isolate (cluster, 3, true);
    cluster_start (cluster, 3);
    raft_message_t message = {.type = RAFT_MSG_APP,
                              .from = 1,
                              .to = 3,
                              .term = cluster_status (cluster, 1).hard.term,
                              .index = 10,
                              .log_term = leader->log[9].term,
                              .commit = 20,
                              .entries = leader->log + 10,
                              .entries_count = 10};
    raft_step (node->raft, &message);
    cluster_pump (cluster, 3);
    assert_int_equal (cluster_status (cluster, 3).damaged, 0);
    assert_false (node->rotten[20]);
    cluster_destroy (&cluster);
}

/*  Three nodes that are down; the first has four entries, of terms 1, 3, 3 and 3, and is in term 5. */
static cluster_t *s_one_of_three (void)
{
    cluster_t *cluster = cluster_new (3, 2, NULL);
    for (uint64_t id = 1; id <= 3; id++)
        cluster_crash (cluster, id);
    cluster_node_t *node = &cluster->nodes[1];
    for (uint64_t k = 1; k <= 4; k++)
        node->log[node->log_count++] = (raft_entry_t){.term = k > 1 ? 3 : 1, .index = k};
    node->hard.term = 5;
    return cluster;
}

/*  A MsgApp of term 5 from node 2 to node 1, behind entry 1. */
static void s_append_to_damaged (cluster_t *cluster, const uint64_t *terms, size_t count,
                                 uint64_t commit)
{
    raft_entry_t entries[4];
    for (size_t i = 0; i < count; i++)
        entries[i] = (raft_entry_t){.index = i + 2, .term = terms[i]};
    raft_message_t message = {.type = RAFT_MSG_APP,
                              .from = 2,
                              .to = 1,
                              .term = 5,
                              .index = 1,
                              .log_term = 1,
                              .commit = commit,
                              .entries = entries,
                              .entries_count = count};
    raft_step (cluster->nodes[1].raft, &message);
    cluster_pump (cluster, 1);
}

/*  Put back only if it is certain that it stood here. */
static void test_damage_and_certainty (void **state)
{
    (void)state;
    static const struct {
        uint64_t terms[3]; /* the leader's entries from 2 on */
        size_t count;
        uint64_t commit;
        uint64_t last; /* then, of 4 that were there: terms 1, 3 (damaged), 3, 3 */
        bool whole;
    } cases[] = {
        {{2}, 1, 0, 4, false},      /* it may be another one than stood here */
        {{3}, 1, 0, 4, false},      /* nothing says that ours was of term 3 */
        {{3}, 1, 2, 4, true},       /* it is committed */
        {{3, 3}, 2, 0, 4, true},    /* so is the next one: log matching */
        {{4}, 1, 0, 2, true},       /* ours behind it are of an earlier term */
        {{2, 5}, 2, 0, 3, true},    /* the next one is another: all of it goes */
        {{2, 2, 5}, 3, 0, 4, true}, /* likewise */
    };
    for (size_t i = 0; i < sizeof (cases) / sizeof (cases[0]); i++) {
        cluster_t *cluster = s_one_of_three ();
        cluster_node_t *node = &cluster->nodes[1];
        cluster_rot (cluster, 1, 2);
        cluster_start (cluster, 1);
        s_append_to_damaged (cluster, cases[i].terms, cases[i].count, cases[i].commit);
        assert_int_equal (cluster_status (cluster, 1).damaged, cases[i].whole ? 0 : 2);
        assert_int_equal (cluster_status (cluster, 1).last, cases[i].last);
        assert_int_equal (cluster_status (cluster, 1).anomalies, 0);
        if (cases[i].whole) /* as it was, or as the leader has it */
            for (size_t k = 0; k < cases[i].count; k++)
                assert_int_equal (node->log[k + 1].term, cases[i].terms[k]);
        cluster_destroy (&cluster);
    }
}

/*  The leader doesn't have it any more: a snapshot, but only one that covers the whole log. */
static void test_damage_that_is_compacted (void **state)
{
    (void)state;
    cluster_t *cluster = s_damaged ((const uint64_t[]){7}, 1);
    cluster->nodes[3].applied = 5; /* or it would not need the entry */
    cluster->nodes[1].hard.commit = 20;
    cluster->nodes[1].applied = 15;
    cluster_compact (cluster, 1, 2);
    assert_int_equal (cluster->nodes[1].copy_index, 15);
    cluster->nodes[1].applied = 20;
    cluster_start (cluster, 3);
    cluster_run (cluster, 2000);
    /* 16 to 20 were acknowledged, and would go. */
    assert_int_equal (cluster_status (cluster, 3).damaged, 7);
    assert_int_equal (cluster->nodes[3].log_count, 20);
    assert_int_equal (cluster->nodes[3].restores, 0);
    assert_int_equal (cluster_propose (cluster, 1, 99), RAFT_OK);
    cluster_run (cluster, 200);
    cluster->nodes[1].hard.commit = 21;
    cluster_compact (cluster, 1, 2);
    cluster_run (cluster, 1000);
    assert_int_equal (cluster->nodes[3].restores, 1);
    s_check_healed (cluster);
    cluster_destroy (&cluster);
}

/*  What is behind the leader's copy must not go, unless it is of an earlier term than the copy's end:
    then it was never committed. */
static void test_copies_that_cover_a_damaged_log (void **state)
{
    (void)state;
    static const struct {
        uint64_t rotten[3]; /* of 4 that are there: terms 1, 3, 3, 3 */
        uint64_t index, term;
        bool taken;
    } cases[] = {
        {{2}, 4, 3, true},        {{2}, 3, 3, false},   {{2}, 3, 5, true},
        {{2, 3, 4}, 3, 5, false}, {{2, 3}, 2, 5, true}, {{2, 4}, 3, 5, true},
        {{2, 4}, 3, 3, false},    {{4}, 4, 5, true},    {{3, 4}, 3, 5, false},
    };
    for (size_t i = 0; i < sizeof (cases) / sizeof (cases[0]); i++) {
        cluster_t *cluster = s_one_of_three ();
        cluster_node_t *node = &cluster->nodes[1];
        node->no_fetch = true;
        for (size_t k = 0; k < 3 && cases[i].rotten[k]; k++)
            cluster_rot (cluster, 1, cases[i].rotten[k]);
        cluster_start (cluster, 1);
        raft_message_t message = {.type = RAFT_MSG_SNAP,
                                  .from = 2,
                                  .to = 1,
                                  .term = 5,
                                  .index = cases[i].index,
                                  .log_term = cases[i].term};
        raft_step (node->raft, &message);
        cluster_pump (cluster, 1);
        assert_int_equal (node->offer.index, cases[i].taken ? cases[i].index : 0);
        assert_int_equal (raft_restore (node->raft, cases[i].index, cases[i].term),
                          cases[i].taken ? RAFT_OK : RAFT_INVALID);
        cluster_pump (cluster, 1);
        raft_status_t status = cluster_status (cluster, 1);
        assert_int_equal (status.last, cases[i].taken ? cases[i].index : 4);
        assert_int_equal (status.damaged == 0, cases[i].taken);
        cluster_destroy (&cluster);
    }
}

/*  The own compaction takes the damage with it. */
static void test_damage_goes_with_compaction (void **state)
{
    (void)state;
    cluster_t *cluster = s_damaged ((const uint64_t[]){7}, 1);
    cluster_crash (cluster, 1);
    cluster->nodes[3].hard.commit = 20;
    cluster_start (cluster, 3);
    cluster_run (cluster, 100);
    assert_int_equal (cluster_status (cluster, 3).damaged, 7);
    cluster_compact (cluster, 3, 10);
    cluster_run (cluster, 5000);
    assert_int_equal (cluster_status (cluster, 3).damaged, 0);
    assert_int_not_equal (cluster_leader (cluster), 0);
    cluster_destroy (&cluster);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_damage_is_fetched),
        cmocka_unit_test (test_damaged_does_not_vote),
        cmocka_unit_test (test_leader_finds_damage),
        cmocka_unit_test (test_damage_behind_what_is_compacted),
        cmocka_unit_test (test_damage_in_a_fork),
        cmocka_unit_test (test_damage_and_certainty),
        cmocka_unit_test (test_damage_that_is_compacted),
        cmocka_unit_test (test_copies_that_cover_a_damaged_log),
        cmocka_unit_test (test_damage_goes_with_compaction),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
