/*  raft_read: linearizable reads: by a round to a majority, and by the lease */
#include "tests/unit/raft_cluster.h"

static void test_read_index (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    assert_int_equal (raft_read_index (cluster->nodes[2].raft, 1), RAFT_NOT_LEADER);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 10);
    cluster_propose (cluster, 1, 1);
    cluster_settle (cluster);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal (raft_read_index (cluster->nodes[id].raft, 10 + id), RAFT_OK);
        cluster_settle (cluster);
        assert_int_equal (cluster->nodes[id].reads_count, 1);
        assert_int_equal (cluster->nodes[id].reads[0].id, 10 + id);
        assert_int_equal (cluster->nodes[id].reads[0].index, 2);
        assert_int_equal (cluster->nodes[id].reads[0].result, RAFT_OK);
    }
    /* Any number of reads of one turn costs one round. */
    uint64_t before = cluster->sent[RAFT_MSG_HEARTBEAT];
    for (uint64_t i = 0; i < 100; i++)
        raft_read_index (cluster->nodes[1].raft, 100 + i);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[1].reads_count, 101);
    assert_int_equal (cluster->sent[RAFT_MSG_HEARTBEAT] - before, 2);
    /* A leader that nobody follows any more answers nothing; all are told when it knows. */
    cluster_isolate (cluster, 1, true);
    raft_read_index (cluster->nodes[1].raft, 500);
    cluster_run (cluster, 900);
    assert_int_equal (cluster->nodes[1].reads_count, 101);
    cluster_run (cluster, 2000);
    assert_int_equal (cluster->nodes[1].reads_count, 102);
    assert_int_equal (cluster->nodes[1].reads[101].result, RAFT_NOT_LEADER);
    cluster_destroy (&cluster);
}

/*  An answer to an earlier round never confirms a later read (etcd #20418). */
static void test_read_not_confirmed_by_old_answers (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    raft_t *raft = cluster->nodes[1].raft;
    cluster_isolate (cluster, 1, true);
    uint64_t round = raft->round;
    raft_read_index (raft, 1);
    cluster_settle (cluster);
    raft_message_t message = {
        .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .to = 1, .term = 1, .context = round};
    raft_step (raft, &message);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[1].reads_count, 0);
    message.context = round + 2; /* a round that never was */
    raft_step (raft, &message);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[1].reads_count, 0);
    assert_int_equal (cluster_status (cluster, 1).anomalies, 1);
    message.context = round + 1;
    raft_step (raft, &message);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[1].reads_count, 1);
    cluster_destroy (&cluster);
}

static void test_read_waits_for_the_terms_no_op (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster->nodes[2].hold = cluster->nodes[3].hold = true;
    raft_campaign (cluster->nodes[1].raft);
    cluster_settle (cluster);
    cluster_flush (cluster, 2, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster_leader (cluster), 1);
    raft_read_index (cluster->nodes[1].raft, 1);
    cluster_run (cluster, 300);
    assert_int_equal (cluster->nodes[1].reads_count, 0);
    cluster_flush (cluster, 2, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[1].reads_count, 1);
    assert_int_equal (cluster->nodes[1].reads[0].index, 1);
    cluster_destroy (&cluster);
}

static void test_read_lease (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.read_lease = true;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 150);
    uint64_t before = cluster->sent[RAFT_MSG_HEARTBEAT];
    raft_read_index (cluster->nodes[1].raft, 1);
    cluster_pump (cluster, 1);
    assert_int_equal (cluster->nodes[1].reads_count, 1);
    assert_int_equal (cluster->sent[RAFT_MSG_HEARTBEAT], before);
    cluster_destroy (&cluster);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_read_index),
        cmocka_unit_test (test_read_not_confirmed_by_old_answers),
        cmocka_unit_test (test_read_waits_for_the_terms_no_op),
        cmocka_unit_test (test_read_lease),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
