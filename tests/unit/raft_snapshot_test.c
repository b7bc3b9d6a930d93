/*  raft_snapshot: those who lag behind the log get a copy */
#include "tests/unit/raft_cluster.h"

/*  Nothing durable is kept in memory, which would do as well as the disk. */
static cluster_t *s_without_cache (void)
{
    raft_config_t config = raft_config_default ();
    config.cache_bytes_max = 0;
    return cluster_new (3, 5, &config);
}

/*  Node 1 leads; node 3 is away while 100 entries are committed and all but keep compacted. */
static cluster_t *s_left_behind (uint64_t keep)
{
    cluster_t *cluster = s_without_cache ();
    cluster_elect (cluster, 1);
    cluster_propose (cluster, 1, 7);
    cluster_settle (cluster);
    cluster_isolate (cluster, 3, true);
    for (uint64_t value = 1; value <= 100; value++) {
        cluster_propose (cluster, 1, value);
        cluster_settle (cluster);
    }
    assert_int_equal (cluster->nodes[1].applied, 102);
    assert_int_equal (cluster->nodes[3].applied, 2);
    cluster_compact (cluster, 1, keep);
    return cluster;
}

static void test_snapshot_catches_up (void **state)
{
    (void)state;
    cluster_t *cluster = s_left_behind (0);
    cluster_heal (cluster);
    cluster_run (cluster, 3000);
    assert_int_equal (cluster->nodes[3].restores, 1);
    assert_int_equal (cluster->nodes[3].offer.index, 102);
    uint64_t leader = cluster_leader (cluster);
    assert_int_equal (cluster_propose (cluster, leader, 1000), RAFT_OK);
    cluster_run (cluster, 200);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal (cluster->nodes[id].applied, cluster->committed_last);
        assert_int_equal (cluster_status (cluster, id).anomalies, 0);
    }
    assert_int_equal (cluster_status (cluster, 3).first, 103);
    const tracker_progress_t *peer = raft_progress (cluster->nodes[leader].raft, 3);
    assert_int_equal (peer->state, TRACKER_REPLICATE);
    cluster_destroy (&cluster);
}

/*  The trailing window saves a copy. */
static void test_no_snapshot_within_the_window (void **state)
{
    (void)state;
    cluster_t *cluster = s_left_behind (99); /* entry 3 is what node 3 needs first */
    cluster_heal (cluster);
    cluster_run (cluster, 3000);
    assert_int_equal (cluster->sent[RAFT_MSG_SNAP], 0);
    assert_int_equal (cluster->nodes[3].applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  For as long as the copy isn't there the offer is repeated, entries are not sent, and a later
    copy takes the place of the earlier one. */
static void test_snapshot_offer_repeats (void **state)
{
    (void)state;
    cluster_t *cluster = s_left_behind (0);
    cluster->nodes[3].no_fetch = true;
    cluster_heal (cluster);
    cluster_run (cluster, 3000);
    uint64_t leader = cluster_leader (cluster), sent = cluster->sent[RAFT_MSG_SNAP];
    cluster_run (cluster, 1000);
    assert_in_range (cluster->sent[RAFT_MSG_SNAP] - sent, 9, 11); /* with the heartbeats */
    assert_int_equal (cluster->nodes[3].offer.index, 102);
    assert_int_equal (cluster->nodes[3].offer.from, leader);
    assert_int_equal (raft_progress (cluster->nodes[leader].raft, 3)->state, TRACKER_SNAPSHOT);
    for (uint64_t value = 101; value <= 110; value++) {
        assert_int_equal (cluster_propose (cluster, leader, value), RAFT_OK);
        cluster_settle (cluster);
    }
    cluster_compact (cluster, leader, 0);
    cluster_run (cluster, 200);
    assert_int_equal (cluster->nodes[3].offer.index, cluster->committed_last);
    /* The first copy arrives after all, and is too old: the next one is offered. */
    cluster->nodes[3].offer.index = 102;
    cluster->nodes[3].offer.term = cluster->committed[102].term;
    assert_int_equal (cluster_restore (cluster, 3), RAFT_OK);
    cluster_pump (cluster, 3);
    cluster_run (cluster, 300);
    assert_int_equal (cluster->nodes[3].offer.index, cluster->committed_last);
    cluster->nodes[3].no_fetch = false;
    cluster_run (cluster, 300);
    assert_int_equal (cluster->nodes[3].applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  A leader that knows of no copy that reaches its log's beginning offers nothing, until it does.
 */
static void test_no_offer_without_a_copy (void **state)
{
    (void)state;
    cluster_t *cluster = s_left_behind (0);
    cluster->nodes[1].raft->snapshot_index = 0;
    cluster_heal (cluster);
    cluster_run (cluster, 300);
    assert_int_equal (cluster_leader (cluster), 1);
    assert_int_equal (cluster->sent[RAFT_MSG_SNAP], 0);
    raft_set_snapshot (cluster->nodes[1].raft, 102, cluster->committed[102].term);
    cluster_run (cluster, 300);
    assert_int_equal (cluster->nodes[3].restores, 1);
    assert_int_equal (cluster->nodes[3].applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  A log that has the copy's last entry has all of it: it only commits. */
static void test_snapshot_that_the_log_has (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 5, NULL);
    cluster_elect (cluster, 1);
    cluster_propose (cluster, 1, 7);
    cluster_settle (cluster);
    raft_t *raft = cluster->nodes[2].raft;
    raft_message_t message = {.type = RAFT_MSG_SNAP,
                              .from = 1,
                              .to = 2,
                              .term = raft->term,
                              .index = 2,
                              .log_term = raft->term};
    raft_ready_t ready;
    raft_step (raft, &message);
    assert_true (raft_ready (raft, &ready));
    assert_int_equal (ready.offer.index, 0);
    assert_int_equal (ready.messages.count, 1);
    assert_int_equal (ready.messages.items[0].type, RAFT_MSG_APP_RESP);
    assert_int_equal (ready.messages.items[0].index, 2);
    raft_ready_clear (&ready);
    /* And one that is older than what is committed is old news. */
    message.index = 1;
    message.log_term = 99;
    raft_step (raft, &message);
    assert_int_equal (cluster_status (cluster, 2).anomalies, 1); /* a term after the leader's */
    assert_int_equal (raft_restore (raft, 1, 1), RAFT_INVALID);
    assert_int_equal (raft_restore (raft, 2, 1), RAFT_INVALID);
    assert_int_equal (raft_restore (cluster->nodes[1].raft, 50, 1), RAFT_INVALID); /* it leads */
    assert_int_equal (cluster_status (cluster, 2).last, 2);
    cluster_destroy (&cluster);
}

/*  Entries of a leader that nobody followed lie where the copy's are: they go, also those that
    are being written; what is acknowledged waits for the disk; and a crash before the write
    leaves a node that starts. */
static void test_snapshot_over_a_fork (void **state)
{
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        cluster_t *cluster = s_without_cache ();
        cluster_elect (cluster, 3);
        cluster_run (cluster, 100);
        cluster_isolate (cluster, 3, true);
        for (uint64_t value = 1; value <= 20; value++) {
            cluster->nodes[3].hold = value > 10;
            cluster_propose (cluster, 3, 900 + value);
        }
        assert_int_equal (cluster->nodes[3].log_count, 11);
        assert_int_equal (cluster->nodes[3].writes_count, 10);
        cluster_run (cluster, 4000);
        uint64_t leader = cluster_leader (cluster);
        assert_true (leader == 1 || leader == 2);
        for (uint64_t value = 1; value <= 10; value++) {
            cluster_propose (cluster, leader, value);
            cluster_settle (cluster);
        }
        cluster_compact (cluster, leader, 0);
        cluster_heal (cluster);
        cluster_run (cluster, 500);
        assert_true (cluster->nodes[3].restores > 0);
        const tracker_progress_t *peer = raft_progress (cluster->nodes[leader].raft, 3);
        assert_int_equal (peer->state, TRACKER_SNAPSHOT); /* its disk is slow */
        assert_true (peer->match < 12);
        if (crash) {
            cluster_crash (cluster, 3);
            cluster->nodes[3].hold = false;
            cluster_start (cluster, 3);
        } else {
            cluster->nodes[3].hold = false;
            cluster_pump (cluster, 3);
        }
        cluster_run (cluster, 500);
        assert_int_equal (raft_progress (cluster->nodes[leader].raft, 3)->state, TRACKER_REPLICATE);
        assert_int_equal (cluster_propose (cluster, leader, 1000), RAFT_OK);
        cluster_run (cluster, 200);
        assert_int_equal (cluster->nodes[3].applied, cluster->committed_last);
        assert_int_equal (cluster_status (cluster, 3).anomalies, 0);
        cluster_check_logs (cluster);
        cluster_destroy (&cluster);
    }
}

/*  Between the log's new beginning and the state machine's, nobody knows what the copy says about
    who votes: such a node doesn't campaign. */
static void test_no_campaign_before_the_copy_is_in_place (void **state)
{
    (void)state;
    cluster_t *cluster = s_left_behind (0);
    raft_t *raft = cluster->nodes[3].raft;
    assert_int_equal (raft_restore (raft, 102, 1), RAFT_OK);
    raft->promise_ms = cluster->now_ms; /* the leader's lease is over */
    assert_int_equal (raft_campaign (raft), RAFT_BUSY);
    cluster_pump (cluster, 3);
    assert_int_equal (cluster_status (cluster, 3).applied, 2);
    cluster->nodes[3].applied = 102;
    raft_applied (raft, 102);
    assert_int_equal (raft_campaign (raft), RAFT_OK);
    cluster_destroy (&cluster);
}

/*  Followers that keep up and the state machine are served from memory. */
static void test_memory_serves_those_who_keep_up (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.cache_bytes_max = 4000; /* some 100 entries */
    cluster_t *cluster = cluster_new (3, 5, &config);
    cluster->delay_ms_max = 3;
    cluster_run (cluster, 5000);
    uint64_t leader = cluster_leader (cluster), reads[4] = {0};
    for (uint64_t value = 1; value < 5000; value++) {
        assert_int_equal (cluster_propose (cluster, leader, value), RAFT_OK);
        if (value % 10 == 0)
            cluster_run (cluster, 4);
        for (uint64_t id = 1; id <= 3 && value == 100; id++)
            reads[id] = cluster->nodes[id].reads_of_disk;
    }
    cluster_run (cluster, 100);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal (cluster->nodes[id].applied, cluster->committed_last);
        assert_int_equal (cluster->nodes[id].reads_of_disk, reads[id]);
        assert_true (cluster->nodes[id].raft->journal.bytes < 8000);
    }
    cluster_destroy (&cluster);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_snapshot_catches_up),
        cmocka_unit_test (test_no_snapshot_within_the_window),
        cmocka_unit_test (test_snapshot_offer_repeats),
        cmocka_unit_test (test_no_offer_without_a_copy),
        cmocka_unit_test (test_snapshot_that_the_log_has),
        cmocka_unit_test (test_snapshot_over_a_fork),
        cmocka_unit_test (test_no_campaign_before_the_copy_is_in_place),
        cmocka_unit_test (test_memory_serves_those_who_keep_up),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
