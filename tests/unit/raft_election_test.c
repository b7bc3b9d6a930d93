/*  raft_election: who leads: votes, leases, timeouts, and the change from one to another */
#include "tests/unit/raft_cluster.h"

static void test_first_election (void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= 5; count++) {
        cluster_t *cluster = cluster_new (count, count, NULL);
        cluster_run (cluster, 5000);
        uint64_t leader = cluster_leader (cluster);
        assert_int_not_equal (leader, 0);
        for (uint64_t id = 1; id <= count; id++) {
            raft_status_t status = cluster_status (cluster, id);
            assert_int_equal (status.soft.leader, leader);
            assert_int_equal (status.hard.commit, 1); /* the no-op */
            assert_int_equal (status.applied, 1);
            assert_int_equal (status.anomalies, 0);
        }
        cluster_destroy (&cluster);
    }
}

static void test_new_leader_after_crash (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 7, NULL);
    cluster_elect (cluster, 1);
    cluster_propose (cluster, 1, 1);
    cluster_run (cluster, 200);
    cluster_crash (cluster, 1);
    cluster_run (cluster, 4000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader == 2 || leader == 3);
    assert_int_equal (cluster_propose (cluster, leader, 2), RAFT_OK);
    cluster_start (cluster, 1);
    cluster_run (cluster, 500);
    assert_int_equal (cluster_status (cluster, 1).soft.leader, leader);
    assert_int_equal (cluster->nodes[1].applied, cluster->committed_last);
    assert_int_equal (cluster->committed[cluster->committed_last].value, 2);
    cluster_destroy (&cluster);
}

/*  Thesis 9.6: who was cut off and comes back neither raises the term nor unseats the leader. */
static void test_pre_vote_does_not_disturb (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_isolate (cluster, 3, true);
    cluster_run (cluster, 10000);
    assert_int_equal (cluster_status (cluster, 3).soft.role, RAFT_PRE_CANDIDATE);
    assert_int_equal (cluster_status (cluster, 3).soft.term, 1);
    cluster_propose (cluster, 1, 5);
    cluster_heal (cluster);
    cluster_run (cluster, 3000);
    assert_int_equal (cluster_leader (cluster), 1);
    assert_int_equal (cluster_status (cluster, 1).soft.term, 1);
    assert_int_equal (cluster->nodes[3].applied, 2);
    cluster_destroy (&cluster);
}

/*  Without PreVote its term is later than the leader's: all have to meet in one again. */
static void test_stuck_candidate (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.pre_vote = false;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_isolate (cluster, 3, true);
    cluster_run (cluster, 10000);
    assert_true (cluster_status (cluster, 3).soft.term > 3);
    assert_int_equal (cluster_leader (cluster), 1);
    cluster_heal (cluster);
    cluster_run (cluster, 6000);
    uint64_t leader = cluster_leader (cluster);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal (cluster_status (cluster, id).soft.leader, leader);
    cluster_destroy (&cluster);
}

static void test_check_quorum (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (5, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 2000);
    assert_true (raft_lease_valid (cluster->nodes[1].raft));
    for (uint64_t id = 3; id <= 5; id++)
        cluster->cut[1][id] = cluster->cut[id][1] = true;
    cluster_run (cluster, 901);
    assert_int_equal (cluster_status (cluster, 1).soft.role, RAFT_LEADER);
    assert_false (raft_lease_valid (cluster->nodes[1].raft)); /* the lease ends first */
    cluster_run (cluster, 1100);
    assert_int_not_equal (cluster_status (cluster, 1).soft.role, RAFT_LEADER);
    cluster_run (cluster, 5000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader > 1);
    cluster_destroy (&cluster);
}

/*  While a lease holds, nobody else is elected; neither with the vote of one that restarted. */
static void test_lease_fences_votes (void **state)
{
    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        cluster_t *cluster = cluster_new (3, 3, NULL);
        cluster_elect (cluster, 1);
        cluster_run (cluster, 1000);
        cluster_isolate (cluster, 1, true);
        if (restart) {
            cluster_crash (cluster, 2);
            cluster_start (cluster, 2);
        }
        int tries = 0;
        for (; raft_lease_valid (cluster->nodes[1].raft); tries++) {
            raft_campaign (cluster->nodes[3].raft);
            cluster_run (cluster, 50); /* checks that nobody leads beside the lease */
        }
        assert_true (tries > 10);
        cluster_run (cluster, 5000);
        assert_true (cluster_leader (cluster) > 1);
        cluster_destroy (&cluster);
    }
}

/*  Leases while the timeouts grow and shrink, clocks run at rates a tenth apart, nodes restart, and
    some have other bounds than the leader: in cluster_run nobody leads beside a lease. Returns for
    how many milliseconds there was one. */
static int64_t s_lease_history (uint64_t seed)
{
    raft_config_t config = raft_config_default ();
    config.election_timeout_ms = 100;
    config.heartbeat_ms = 10;
    config.lease_max_ms = 400;
    uint32_t count = 3 + 2 * (uint32_t)(seed % 2);
    cluster_t *cluster = cluster_new (count, seed, &config);
    int64_t leased_ms = 0;
    for (uint64_t id = 1; id <= count; id++) {
        cluster->fast_percent[id] = (int)cluster_random (cluster, 2) * 10;
        cluster->nodes[id].config.election_timeout_max_ms = seed % 3 ? 60000 : 250;
        cluster_crash (cluster, id);
        cluster_start (cluster, id);
    }
    cluster->delay_ms_max = (int64_t)(seed % 4) * 10;
    for (int step = 0; step < 400; step++) {
        uint64_t id = 1 + cluster_random (cluster, count), leader = cluster_leader (cluster);
        switch (cluster_random (cluster, 12)) {
        case 0:
            cluster_isolate (cluster, leader ? leader : id, true);
            break;
        case 1:
            cluster->cut[id][1 + cluster_random (cluster, count)] = true;
            break;
        case 2:
        case 3:
        case 4:
            cluster_heal (cluster);
            break;
        case 5:
            if (id != leader) {
                cluster_crash (cluster, id);
                cluster_start (cluster, id);
            }
            break;
        case 6:
            raft_campaign (cluster->nodes[id].raft);
            break;
        case 7:
            raft_unreachable (cluster->nodes[id].raft, leader);
            break;
        default:
            if (leader)
                raft_set_timeouts (cluster->nodes[leader].raft,
                                   20 + (int64_t)cluster_random (cluster, 1 << (4 + step % 8)), 5);
        }
        for (uint64_t i = 0; i <= cluster_random (cluster, 40); i++) {
            cluster_run (cluster, 1);
            leased_ms += leader && raft_lease_valid (cluster->nodes[leader].raft);
        }
    }
    cluster_destroy (&cluster);
    return leased_ms;
}

static void test_lease_with_changing_timeouts (void **state)
{
    (void)state;
    int64_t leased_ms = 0;
    for (uint64_t seed = 1; seed <= 150; seed++)
        leased_ms += s_lease_history (seed);
    assert_true (leased_ms > 100000);
}

/*  A promise made with a long timeout outlives the timeout; a lease grows only with answers. */
static void test_announced_timeouts (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.election_timeout_max_ms = 3000;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 100);
    raft_set_timeouts (cluster->nodes[1].raft, 2000, 200);
    cluster_isolate (cluster, 1, true);
    cluster_run (cluster, 950);
    assert_false (raft_lease_valid (cluster->nodes[1].raft)); /* 900 ms after the last answer */
    cluster_heal (cluster);
    cluster_run (cluster, 300);
    assert_int_equal (cluster_status (cluster, 2).election_timeout_ms, 2000);
    raft_set_timeouts (cluster->nodes[1].raft, 100, 10);
    cluster_run (cluster, 50);
    assert_int_equal (cluster_status (cluster, 3).election_timeout_ms, 100);
    cluster_isolate (cluster, 1, true);
    cluster_run (cluster, 1500);
    assert_int_equal (cluster_status (cluster, 2).soft.term, 1); /* both keep their promise */
    cluster_run (cluster, 1000);
    assert_true (cluster_leader (cluster) > 1);
    raft_set_timeouts (cluster->nodes[2].raft, 1000000, 10);
    assert_int_equal (cluster_status (cluster, 2).election_timeout_ms, 3000);
    cluster_destroy (&cluster);
}

/*  A node that has restarted doesn't vote for itself either, however short its first timeout. */
static void test_restarted_candidate (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.election_timeout_ms = 50;
    config.heartbeat_ms = 10;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    raft_set_timeouts (cluster->nodes[1].raft, 800, 80);
    cluster_isolate (cluster, 3, true);
    cluster_run (cluster, 1000);
    cluster_heal (cluster);
    cluster_isolate (cluster, 1, true);
    cluster_crash (cluster, 2);
    cluster_start (cluster, 2);
    cluster_run (cluster, 600); /* checks that nobody leads beside the lease */
    assert_true (raft_lease_valid (cluster->nodes[1].raft));
    cluster_run (cluster, 3000);
    assert_true (cluster_leader (cluster) > 1);
    cluster_destroy (&cluster);
}

/*  Two who stand at the same moment don't split the vote: the better log goes on, of equal ones
    the higher id; within a few messages. */
static void test_simultaneous_candidates (void **state)
{
    (void)state;
    for (uint64_t better = 1; better <= 2; better++) {
        cluster_t *cluster = cluster_new (3, 3, NULL);
        cluster_elect (cluster, 3);
        cluster_run (cluster, 200);
        if (better == 1) {
            cluster_isolate (cluster, 2, true);
            cluster_propose (cluster, 3, 7);
            cluster_settle (cluster);
        }
        cluster_crash (cluster, 3);
        cluster_heal (cluster);
        for (uint64_t id = 1; id <= 2; id++)
            cluster->nodes[id].raft->promise_ms = cluster->now_ms; /* as if time had passed */
        assert_int_equal (raft_campaign (cluster->nodes[1].raft), RAFT_OK);
        assert_int_equal (raft_campaign (cluster->nodes[2].raft), RAFT_OK);
        cluster_settle (cluster);
        assert_int_equal (cluster_leader (cluster), better);
        assert_int_equal (cluster_status (cluster, better).soft.term, 2);
        cluster_destroy (&cluster);
    }
}

static bool s_lose_votes_of_3 (void *context, const raft_message_t *message)
{
    (void)context;
    return message->from == 3 && message->type == RAFT_MSG_VOTE;
}

/*  Whoever can't win though others step back for him doesn't keep them from it forever. */
static void test_tie_with_one_who_cannot_win (void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cluster_t *cluster = cluster_new (3, seed, NULL);
        cluster->intercept = s_lose_votes_of_3;
        cluster_run (cluster, 20000);
        assert_true (cluster_leader (cluster) == 1 || cluster_leader (cluster) == 2);
        cluster_destroy (&cluster);
    }
}

/*  A network slower than the timeouts that the nodes begin with: campaigns get longer until the
    answers arrive, and a leader stays one though its first answers come late. */
static void test_slow_network (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.election_timeout_ms = 100;
    config.heartbeat_ms = 20;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        cluster_t *cluster = cluster_new (3, seed, &config);
        cluster->delay_ms_max = 250;
        for (int ms = 0; ms < 10000 && cluster_leader (cluster) == 0; ms++)
            cluster_run (cluster, 1);
        uint64_t leader = cluster_leader (cluster);
        assert_int_not_equal (leader, 0);
        assert_true (cluster->nodes[leader].raft->quorum_deadline_ms - cluster->now_ms > 100);
        cluster_destroy (&cluster);
    }
}

/*  A follower that stood still itself (a paused process) reads what waits before it campaigns. */
static void test_late_timer (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 500);
    raft_t *late = cluster->nodes[2].raft;
    raft_tick (late, cluster->now_ms + 5000);
    assert_int_equal (raft_soft_state (late).leader, 1);
    raft_tick (late, cluster->now_ms + 5000 + cluster->nodes[2].config.heartbeat_ms);
    assert_int_equal (raft_soft_state (late).role, RAFT_PRE_CANDIDATE); /* but once only */
    cluster_destroy (&cluster);
}

/*  Followers whose connection to the leader broke don't wait longer than their promise; and a
    leader that campaigns is none, so nobody waits for its lease. */
static void test_leader_known_to_be_gone (void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cluster_t *cluster = cluster_new (3, seed, NULL);
        cluster_elect (cluster, 1);
        cluster_run (cluster, 500);
        cluster_crash (cluster, 1);
        raft_unreachable (cluster->nodes[2].raft, 1);
        raft_unreachable (cluster->nodes[3].raft, 1);
        cluster_run (cluster, 850);
        assert_int_equal (cluster_leader (cluster), 0);
        cluster_run (cluster, 500);
        assert_true (cluster_leader (cluster) > 1);
        cluster_destroy (&cluster);
    }
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 500);
    raft_become_follower (cluster->nodes[1].raft, 1, 0); /* its disk hung */
    cluster->nodes[1].raft->promise_ms = cluster->now_ms;
    assert_int_equal (raft_campaign (cluster->nodes[1].raft), RAFT_OK);
    cluster_settle (cluster);
    assert_int_equal (cluster_leader (cluster), 1);
    assert_int_equal (cluster_status (cluster, 1).soft.term, 2);
    cluster_destroy (&cluster);
}

static bool s_hold_timeout_now (void *context, const raft_message_t *message)
{
    if (message->type != RAFT_MSG_TIMEOUT_NOW)
        return false;
    *(raft_message_t *)context = *message;
    return true;
}

/*  A MsgTimeoutNow may arrive long after the transfer was given up, and the campaign that it
    begins respects no lease: so there is none any more in that term. */
static void test_late_timeout_now (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    raft_message_t late = {0};
    cluster->intercept = s_hold_timeout_now;
    cluster->intercept_context = &late;
    cluster_elect (cluster, 1);
    cluster_run (cluster, 500);
    assert_true (raft_lease_valid (cluster->nodes[1].raft));
    assert_int_equal (raft_transfer_leader (cluster->nodes[1].raft, 2), RAFT_OK);
    cluster_run (cluster, 3000);
    assert_int_equal (cluster_leader (cluster), 1);
    assert_int_equal (cluster_propose (cluster, 1, 1), RAFT_OK);
    assert_false (raft_lease_valid (cluster->nodes[1].raft));
    cluster_isolate (cluster, 1, true);
    raft_step (cluster->nodes[2].raft, &late);
    cluster_run (cluster, 50);
    assert_int_equal (cluster_leader (cluster), 2);
    cluster_destroy (&cluster);
}

static void test_vote_is_durable_before_it_leaves (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster->nodes[1].hold = cluster->nodes[2].hold = true;
    cluster_isolate (cluster, 3, true);
    raft_campaign (cluster->nodes[1].raft);
    cluster_settle (cluster);
    assert_int_equal (cluster->sent[RAFT_MSG_PRE_VOTE_RESP], 1);
    assert_int_equal (cluster->sent[RAFT_MSG_VOTE], 0);
    cluster_flush (cluster, 1, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster->sent[RAFT_MSG_VOTE], 2);
    assert_int_equal (cluster->sent[RAFT_MSG_VOTE_RESP], 0);
    cluster_crash (cluster, 2); /* before the vote was written: it never happened */
    cluster_start (cluster, 2);
    assert_int_equal (cluster_status (cluster, 2).hard.vote, 0);
    cluster_run (cluster, 2500); /* the next campaign; its disk isn't held any more */
    cluster->nodes[1].hold = cluster->nodes[2].hold = false;
    cluster_run (cluster, 5000);
    assert_int_not_equal (cluster_leader (cluster), 0);
    cluster_destroy (&cluster);
}

static void test_transfer (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 3, NULL);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 500);
    assert_int_equal (raft_transfer_leader (cluster->nodes[2].raft, 3), RAFT_NOT_LEADER);
    assert_int_equal (raft_transfer_leader (cluster->nodes[1].raft, 9), RAFT_INVALID);
    cluster_isolate (cluster, 3, true);
    for (uint64_t value = 1; value < 50; value++)
        cluster_propose (cluster, 1, value);
    cluster_run (cluster, 50);
    /* To one that is behind: it catches up first, meanwhile there are no proposals. */
    assert_int_equal (raft_transfer_leader (cluster->nodes[1].raft, 3), RAFT_OK);
    assert_int_equal (cluster_propose (cluster, 1, 60), RAFT_BUSY);
    assert_true (raft_lease_valid (cluster->nodes[1].raft)); /* not on its way yet */
    cluster_heal (cluster);
    cluster_run (cluster, 200);
    assert_int_equal (cluster_leader (cluster), 3);
    assert_int_equal (cluster_status (cluster, 1).soft.leader, 3);
    assert_int_equal (cluster_status (cluster, 1).soft.term, 2);
    /* To one that is gone: given up after an election timeout. */
    cluster_isolate (cluster, 1, true);
    assert_int_equal (raft_transfer_leader (cluster->nodes[3].raft, 1), RAFT_OK);
    cluster_run (cluster, 1000);
    assert_int_equal (cluster_propose (cluster, 3, 61), RAFT_OK);
    cluster_heal (cluster);
    cluster_run (cluster, 200);
    assert_int_equal (cluster_leader (cluster), 3);
    /* A follower may ask for it. */
    raft_message_t message = {.type = RAFT_MSG_TRANSFER_LEADER, .from = 2, .to = 3, .term = 2};
    raft_step (cluster->nodes[3].raft, &message);
    cluster_settle (cluster);
    assert_int_equal (cluster_leader (cluster), 2);
    cluster_destroy (&cluster);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_first_election),
        cmocka_unit_test (test_new_leader_after_crash),
        cmocka_unit_test (test_pre_vote_does_not_disturb),
        cmocka_unit_test (test_stuck_candidate),
        cmocka_unit_test (test_check_quorum),
        cmocka_unit_test (test_lease_fences_votes),
        cmocka_unit_test (test_lease_with_changing_timeouts),
        cmocka_unit_test (test_announced_timeouts),
        cmocka_unit_test (test_restarted_candidate),
        cmocka_unit_test (test_simultaneous_candidates),
        cmocka_unit_test (test_tie_with_one_who_cannot_win),
        cmocka_unit_test (test_slow_network),
        cmocka_unit_test (test_late_timer),
        cmocka_unit_test (test_leader_known_to_be_gone),
        cmocka_unit_test (test_late_timeout_now),
        cmocka_unit_test (test_vote_is_durable_before_it_leaves),
        cmocka_unit_test (test_transfer),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
