/*  raft: scenarios on a cluster in one thread, and random histories */
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

/*  A follower applies in larger batches, late, unless somebody waits or much is waiting. */
static void test_apply_delay (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.apply_delay_ms = 20;
    config.heartbeat_ms = 5;
    cluster_t *cluster = cluster_new (3, 3, &config);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 1000);
    uint64_t late = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        raft_hurry (cluster->nodes[3].raft, i > 50);
        cluster_propose (cluster, 1, i);
        cluster_run (cluster, 10);
        assert_int_equal (cluster_status (cluster, 1).applied, cluster_status (cluster, 1).hard.commit);
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
    cluster_check_logs (cluster);
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

/*  A state on disk that can't be is refused with a reason, not found out later. */
static void test_refused_states (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (1, 1, NULL);
    cluster_run (cluster, 3000);
    cluster_crash (cluster, 1);
    raft_config_t good = cluster->nodes[1].config;
    good.hard_state = cluster->nodes[1].hard;
    good.applied = cluster->nodes[1].applied;
    raft_config_t bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].hard_state.commit = 5; /* entries are lost */
    bad[1].applied = 5;           /* so they are */
    bad[2].hard_state = (raft_hard_state_t){0};
    bad[3].id = 0;
    bad[4].election_timeout_ms = bad[4].heartbeat_ms;
    bad[5].conf_state.voters.ids[0] = 0;
    bad[6].hard_state.term = UINT64_MAX;
    for (int i = 0; i < 7; i++) {
        const char *reason = NULL;
        assert_null (raft_new (&bad[i], 1, &reason));
        assert_non_null (reason);
    }
    cluster_destroy (&cluster);
}

/*  Any message at any time from any peer: nothing crashes, nothing committed changes. */
static void test_hostile_messages (void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 2, 3, 5, 9, 100, RAFT_NUMBER_MAX, UINT64_MAX};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        cluster_t *cluster = cluster_new (3, seed, NULL);
        if (seed % 2)
            cluster_elect (cluster, 1);
        for (uint64_t value = 1; seed % 2 && value < 5; value++)
            cluster_propose (cluster, 1, value);
        cluster_isolate (cluster, 1, true);
        raft_t *raft = cluster->nodes[1].raft;
        for (int i = 0; i < 300; i++) {
            raft_entry_t entries[3];
            raft_message_t message = {
                .type = (raft_message_type_t)cluster_random (cluster, RAFT_MSG_TYPES + 1),
                .from = cluster_random (cluster, 5),
                .to = cluster_random (cluster, 20) ? 1 : 2,
                .term = cluster_random (cluster, 3) ? cluster_status (cluster, 1).soft.term
                                                    : numbers[cluster_random (cluster, 7)],
                .index = numbers[cluster_random (cluster, 9)],
                .log_term = numbers[cluster_random (cluster, 9)],
                .commit = numbers[cluster_random (cluster, 9)],
                .reject_hint = numbers[cluster_random (cluster, 9)],
                .context = numbers[cluster_random (cluster, 9)],
                .reject = cluster_random (cluster, 2),
                .force = cluster_random (cluster, 2),
                .entries = entries,
                .entries_count = cluster_random (cluster, 4),
            };
            if (cluster_random (cluster, 3) == 0) { /* something that fits, up to the entries */
                message.type = RAFT_MSG_APP;
                message.from = 2;
                message.term = cluster_status (cluster, 1).soft.term;
                message.index = cluster_random (cluster, 7);
                message.log_term = raft_journal_term (&raft->journal, message.index);
            }
            uint64_t commit = cluster_status (cluster, 1).hard.commit;
            for (size_t j = 0; j < message.entries_count; j++)
                entries[j] = (raft_entry_t){
                    .term = cluster_random (cluster, 2) ? message.term
                                                        : numbers[cluster_random (cluster, 9)],
                    .index = cluster_random (cluster, 4) ? message.index + 1 + j
                                                         : numbers[cluster_random (cluster, 9)]};
            raft_step (raft, &message);
            assert_true (cluster_status (cluster, 1).hard.commit >= commit);
            raft_ready_t ready;
            while (raft_ready (raft, &ready)) {
                if (ready.sequence) {
                    cluster_node_t *node = &cluster->nodes[1];
                    node->writes[node->writes_count++] =
                        (cluster_write_t){.sequence = ready.sequence,
                                          .hard = ready.hard,
                                          .truncate_from = ready.truncate_from,
                                          .entries = ready.append,
                                          .count = ready.append_count};
                    ready.append = NULL;
                    ready.append_count = 0;
                    raft_persisted (raft, s_disk_write (node));
                }
                if (ready.committed_count)
                    raft_applied (raft, ready.committed[ready.committed_count - 1].index);
                raft_ready_clear (&ready);
            }
        }
        assert_true (cluster_status (cluster, 1).anomalies > 0);
        cluster_destroy (&cluster);
    }
}

/*  ---- snapshots ------------------------------------------------------------------ */

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

/*  ---- damaged logs -------------------------------------------------------- */

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
        cluster_t *cluster = cluster_new (3, 2, NULL);
        for (uint64_t id = 1; id <= 3; id++)
            cluster_crash (cluster, id);
        cluster_node_t *node = &cluster->nodes[1];
        for (uint64_t k = 1; k <= 4; k++)
            node->log[node->log_count++] = (raft_entry_t){.term = k > 1 ? 3 : 1, .index = k};
        node->hard.term = 5;
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

/*  One disk at a time loses entries: a majority has all of them. */
static void s_rot_somewhere (cluster_t *cluster, uint64_t id)
{
    cluster_node_t *node = &cluster->nodes[id];
    if (cluster->count < 3 || !node->log_count)
        return;
    for (uint64_t other = 1; other <= cluster->count; other++)
        for (uint64_t i = 1; other != id && i <= cluster->nodes[other].log_count; i++)
            if (cluster->nodes[other].rotten[i])
                return;
    for (uint64_t i = cluster_random (cluster, 4); i > 0; i--)
        cluster_rot (cluster, id, node->log_count - cluster_random (cluster, node->log_count) / i);
}

static size_t s_longest (const cluster_t *cluster)
{
    size_t longest = 0;
    for (uint64_t i = 1; i <= cluster->count; i++)
        if (longest < cluster->nodes[i].log_count)
            longest = cluster->nodes[i].log_count;
    return longest;
}

/*  A random history: loss, delay, duplicates, partitions, crashes, slow disks; then all heals,
    and everybody must get to the same state. */
static void s_soak (uint64_t seed, uint32_t count, int steps)
{
    raft_config_t config = raft_config_default ();
    config.election_timeout_ms = 100;
    config.heartbeat_ms = 10;
    config.inflight_max = 1 + (uint32_t)(seed % 7);
    config.message_bytes_max = 100 + 50 * (seed % 5);
    config.cache_bytes_max = 400 * (seed % 3);
    config.apply_bytes_max = 500;
    config.pre_vote = seed % 4 != 0;
    config.check_quorum = seed % 5 != 0;
    cluster_t *cluster = cluster_new (count, seed, &config);
    cluster->delay_ms_max = (int64_t)(seed % 3) * 10;
    cluster->drop_percent = (unsigned)(seed % 4) * 7;
    cluster->duplicate_percent = (unsigned)(seed % 3) * 10;
    uint64_t value = 1;
    for (int step = 0; step < steps; step++) {
        uint64_t id = 1 + cluster_random (cluster, count),
                 other = 1 + cluster_random (cluster, count);
        switch (cluster_random (cluster, 60)) {
        case 0:
            cluster_isolate (cluster, id, true);
            break;
        case 1:
            cluster->cut[id][other] = id != other; /* in one direction only */
            break;
        case 2:
        case 3:
            cluster_heal (cluster);
            break;
        case 4:
            if (cluster->nodes[id].raft)
                cluster_crash (cluster, id);
            break;
        case 5:
        case 6:
        case 7:
            if (!cluster->nodes[id].raft)
                cluster_start (cluster, id);
            break;
        case 8:
            cluster->nodes[id].hold = !cluster->nodes[id].hold;
            break;
        case 9:
            if (cluster->nodes[id].raft)
                raft_transfer_leader (cluster->nodes[id].raft, other);
            break;
        case 10:
            if (cluster->nodes[id].raft && cluster->nodes[id].reads_count < 4000)
                raft_read_index (cluster->nodes[id].raft, (uint64_t)step);
            break;
        case 11:
            /* Its own promise to a leader counts, too: whoever campaigns without a reason breaks
             * it. */
            if (cluster->nodes[id].raft && !raft_in_lease (cluster->nodes[id].raft))
                raft_campaign (cluster->nodes[id].raft);
            break;
        case 12:
        case 13:
            if (cluster->nodes[id].raft)
                cluster_compact (cluster, id, cluster_random (cluster, 10));
            break;
        case 14:
            /* A copy that was offered long ago arrives at last. */
            cluster->nodes[id].no_fetch = !cluster->nodes[id].no_fetch;
            if (cluster->nodes[id].raft && cluster->nodes[id].offer.index)
                cluster_restore (cluster, id);
            break;
        case 15:
            s_rot_somewhere (cluster, id);
            break;
        default:
            for (uint64_t i = 1; i <= count; i++)
                if (cluster->nodes[i].raft && cluster_random (cluster, 4) == 0)
                    cluster_propose (cluster, i, value++);
        }
        for (uint64_t i = 1; i <= count; i++)
            if (cluster->nodes[i].hold)
                cluster_flush (cluster, i, cluster_random (cluster, 3));
        cluster_run (cluster, (int64_t)cluster_random (cluster, 12));
        if (step % 50 == 0)
            cluster_check_logs (cluster);
    }
    cluster->drop_percent = 0;
    cluster_heal (cluster);
    for (uint64_t i = 1; i <= count; i++) {
        cluster->nodes[i].no_fetch = cluster->nodes[i].hold = false;
        if (!cluster->nodes[i].raft)
            cluster_start (cluster, i);
    }
    cluster_run (cluster, 2000);
    uint64_t leader = cluster_leader (cluster);
    assert_int_not_equal (leader, 0);
    do {
        assert_int_equal (cluster_propose (cluster, leader, ++value), RAFT_OK);
        cluster_run (cluster, 200);
    } while (s_longest (cluster) > cluster->nodes[leader].log_count);
    cluster_compact (cluster, leader, 5); /* a copy that covers any damaged log */
    cluster_run (cluster, 200);
    for (uint64_t i = 1; i <= count; i++) {
        assert_int_equal (cluster->nodes[i].applied, cluster->committed_last);
        assert_int_equal (cluster_status (cluster, i).anomalies, 0);
        assert_int_equal (cluster_status (cluster, i).damaged, 0);
    }
    assert_int_equal (cluster->committed[cluster->committed_last].value, value);
    cluster_check_logs (cluster);
    cluster_destroy (&cluster);
}

static void test_soak (void **state)
{
    (void)state;
    const char *from = getenv ("RAFT_SEED"), *count = getenv ("RAFT_SEEDS");
    uint64_t seed = from ? strtoull (from, NULL, 10) : 1;
    uint64_t end = seed + (count ? strtoull (count, NULL, 10) : from ? 1 : 60);
    for (; seed < end; seed++) {
        if (from)
            print_message ("seed %llu\n", (unsigned long long)seed);
        s_soak (seed, 1 + 2 * (uint32_t)(seed % 4), 600);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_first_election),
        cmocka_unit_test (test_commit_delay),
        cmocka_unit_test (test_apply_delay),
        cmocka_unit_test (test_replication),
        cmocka_unit_test (test_batching),
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
        cmocka_unit_test (test_conflict_repair),
        cmocka_unit_test (test_fast_backtrack),
        cmocka_unit_test (test_figure_8),
        cmocka_unit_test (test_vote_is_durable_before_it_leaves),
        cmocka_unit_test (test_acknowledged_when_durable),
        cmocka_unit_test (test_single_node),
        cmocka_unit_test (test_truncated_while_writing),
        cmocka_unit_test (test_disk_stall),
        cmocka_unit_test (test_transfer),
        cmocka_unit_test (test_read_index),
        cmocka_unit_test (test_read_not_confirmed_by_old_answers),
        cmocka_unit_test (test_read_waits_for_the_terms_no_op),
        cmocka_unit_test (test_read_lease),
        cmocka_unit_test (test_learner),
        cmocka_unit_test (test_uncommitted_limit),
        cmocka_unit_test (test_window_is_respected),
        cmocka_unit_test (test_lost_messages_are_sent_again),
        cmocka_unit_test (test_config_entries_one_at_a_time),
        cmocka_unit_test (test_refused_states),
        cmocka_unit_test (test_hostile_messages),
        cmocka_unit_test (test_snapshot_catches_up),
        cmocka_unit_test (test_no_snapshot_within_the_window),
        cmocka_unit_test (test_snapshot_offer_repeats),
        cmocka_unit_test (test_no_offer_without_a_copy),
        cmocka_unit_test (test_snapshot_that_the_log_has),
        cmocka_unit_test (test_snapshot_over_a_fork),
        cmocka_unit_test (test_no_campaign_before_the_copy_is_in_place),
        cmocka_unit_test (test_memory_serves_those_who_keep_up),
        cmocka_unit_test (test_damage_is_fetched),
        cmocka_unit_test (test_damaged_does_not_vote),
        cmocka_unit_test (test_leader_finds_damage),
        cmocka_unit_test (test_damage_behind_what_is_compacted),
        cmocka_unit_test (test_damage_in_a_fork),
        cmocka_unit_test (test_damage_and_certainty),
        cmocka_unit_test (test_damage_that_is_compacted),
        cmocka_unit_test (test_damage_goes_with_compaction),
        cmocka_unit_test (test_soak),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
