/*  raft_membership_test - configuration changes in the core, scenario by scenario, then at random
 */
#include "tests/unit/raft_cluster.h"

static const raft_conf_state_t *s_conf (cluster_t *cluster, uint64_t id)
{
    return raft_conf (cluster->nodes[id].raft);
}

static bool s_voters_are (cluster_t *cluster, uint64_t id, uint32_t count, ...)
{
    const raft_conf_state_t *conf = s_conf (cluster, id);
    va_list list;
    va_start (list, count);
    bool same = conf->voters.count == count;
    for (uint32_t i = 0; i < count; i++)
        same &= quorum_set_has (&conf->voters, (uint64_t)va_arg (list, int));
    va_end (list);
    return same;
}

/*  1 becomes 3: learners first, which catch up, then voters one by one. */
static void test_grow (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (3, 1, 1, NULL);
    cluster_elect (cluster, 1);
    for (uint64_t value = 1; value <= 20; value++)
        cluster_propose (cluster, 1, value);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "l2"), RAFT_OK);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "l3"), RAFT_OK);
    cluster_run (cluster, 300);
    assert_int_equal (cluster->nodes[2].applied, cluster->committed_last);
    assert_true (quorum_set_has (&s_conf (cluster, 3)->learners, 2)); /* 3 knows it as well */
    /* Learners count for nothing: with both of them cut off, 1 goes on. */
    cluster_isolate (cluster, 2, true);
    cluster_isolate (cluster, 3, true);
    cluster_propose (cluster, 1, 21);
    assert_int_equal (cluster->committed_last, cluster->nodes[1].applied);
    cluster_heal (cluster);
    cluster_run (cluster, 300);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v2"), RAFT_OK);
    cluster_settle (cluster);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v3"), RAFT_OK);
    cluster_run (cluster, 300);
    for (uint64_t id = 1; id <= 3; id++)
        assert_true (s_voters_are (cluster, id, 3, 1, 2, 3));
    /* Now two are needed, and two are enough. */
    cluster_isolate (cluster, 1, true);
    cluster_run (cluster, 3000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader == 2 || leader == 3);
    assert_int_equal (cluster_propose (cluster, leader, 22), RAFT_OK);
    cluster_settle (cluster);
    assert_int_equal (cluster->nodes[leader].applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  It takes effect when it is applied, not when it is appended; and one at a time. */
static void test_takes_effect_when_applied (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (4, 3, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_isolate (cluster, 2, true);
    cluster_isolate (cluster, 3, true);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v4"), RAFT_OK);
    cluster_settle (cluster);
    assert_true (s_voters_are (cluster, 1, 3, 1, 2, 3));
    assert_int_equal (cluster->nodes[4].log_count, 0);
    assert_true (cluster_status (cluster, 1).changing);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "l4"), RAFT_BUSY);
    cluster_heal (cluster);
    cluster_run (cluster, 300);
    assert_true (s_voters_are (cluster, 1, 4, 1, 2, 3, 4));
    assert_true (s_voters_are (cluster, 4, 4, 1, 2, 3, 4));
    assert_false (cluster_status (cluster, 1).changing);
    cluster_destroy (&cluster);
}

/*  A new leader may find a change in its log that isn't decided: it takes none before it is, and
    before its own no-op is committed. */
static void test_none_before_the_no_op (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (4, 3, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    /* The change reaches 2, and 1 dies without having heard of that. */
    cluster->cut[2][1] = true;
    cluster_isolate (cluster, 3, true);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v4"), RAFT_OK);
    cluster_settle (cluster);
    cluster_crash (cluster, 1);
    cluster_heal (cluster);
    cluster_run (cluster, 1100);
    cluster->nodes[3].hold = true;
    raft_campaign (cluster->nodes[2].raft);
    cluster_settle (cluster);
    cluster_flush (cluster, 3, 1); /* the vote, but not the entries */
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 2).soft.role, RAFT_LEADER);
    assert_true (s_voters_are (cluster, 2, 3, 1, 2, 3));
    assert_int_equal (cluster_change (cluster, 2, CONFCHANGE_AUTO, "r1"), RAFT_BUSY);
    cluster->nodes[3].hold = false;
    cluster_run (cluster, 100);
    assert_true (s_voters_are (cluster, 2, 4, 1, 2, 3, 4)); /* decided by the new leader */
    assert_int_equal (cluster_change (cluster, 2, CONFCHANGE_AUTO, "r1"), RAFT_OK);
    cluster_run (cluster, 200);
    assert_true (s_voters_are (cluster, 4, 3, 2, 3, 4));
    cluster_destroy (&cluster);
}

/*  All three voters are replaced at once; the joint configuration leaves itself. */
static void test_joint_auto_leave (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (6, 3, 1, NULL);
    cluster_elect (cluster, 1);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v4 v5 v6 r1 r2 r3"), RAFT_OK);
    cluster_run (cluster, 3000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader >= 4);
    assert_true (s_voters_are (cluster, leader, 3, 4, 5, 6));
    assert_false (confchange_joint (s_conf (cluster, leader)));
    assert_int_equal (cluster_propose (cluster, leader, 1), RAFT_OK);
    cluster_run (cluster, 200);
    for (uint64_t id = 4; id <= 6; id++)
        assert_int_equal (cluster->nodes[id].applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  In a joint configuration both halves are needed: without the outgoing voters nothing is decided,
    and nobody is elected. */
static void test_joint_needs_both (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (6, 3, 1, NULL);
    cluster_elect (cluster, 1);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_JOINT_EXPLICIT, "v4 v5 v6 r2 r3"),
                      RAFT_OK);
    cluster_run (cluster, 300);
    assert_true (confchange_joint (s_conf (cluster, 4)));
    assert_false (raft_leave_due (cluster->nodes[1].raft));
    uint64_t before = cluster->committed_last;
    cluster_isolate (cluster, 2, true);
    cluster_isolate (cluster, 3, true);
    cluster_propose (cluster, 1, 1);
    cluster_run (cluster, 100);
    assert_int_equal (cluster->committed_last, before); /* four of the incoming are not enough */
    cluster_run (cluster, 5000);
    assert_int_equal (cluster_leader (cluster), 0);
    cluster_heal (cluster);
    cluster_run (cluster, 3000);
    uint64_t leader = cluster_leader (cluster);
    assert_int_not_equal (leader, 0);
    assert_int_equal (cluster_change (cluster, leader, CONFCHANGE_AUTO, "v2"), RAFT_INVALID);
    assert_int_equal (cluster_change (cluster, leader, CONFCHANGE_AUTO, ""), RAFT_OK);
    cluster_run (cluster, 3000);
    leader = cluster_leader (cluster);
    assert_true (s_voters_are (cluster, leader, 4, 1, 4, 5, 6));
    assert_false (confchange_joint (s_conf (cluster, leader)));
    cluster_destroy (&cluster);
}

/*  The leader dies between the two steps: the next one finds the joint configuration, and leaves
    it. */
static void test_new_leader_leaves_joint (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (4, 3, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    /* The others' disks write the change, but not yet its end. */
    for (uint64_t id = 2; id <= 4; id++)
        cluster->nodes[id].hold = true;
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v4 r3"), RAFT_OK);
    cluster_settle (cluster);
    cluster_flush (cluster, 2, 1);
    cluster_flush (cluster, 3, 1);
    cluster_run (cluster, 100);
    assert_true (confchange_joint (s_conf (cluster, 2)));
    assert_true (confchange_joint (s_conf (cluster, 1)));
    cluster_crash (cluster, 1);
    for (uint64_t id = 2; id <= 4; id++)
        cluster->nodes[id].hold = false;
    cluster_run (cluster, 5000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader == 2 || leader == 4);
    assert_true (s_voters_are (cluster, leader, 3, 1, 2, 4));
    assert_false (confchange_joint (s_conf (cluster, leader)));
    cluster_destroy (&cluster);
}

/*  A voter that is demoted in a joint change votes with the outgoing half until that is left. */
static void test_learners_next (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (4, 3, 1, NULL);
    cluster_elect (cluster, 1);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_JOINT_EXPLICIT, "l3 v4"), RAFT_OK);
    cluster_run (cluster, 300);
    assert_true (quorum_set_has (&s_conf (cluster, 1)->learners_next, 3));
    assert_true (cluster_status (cluster, 3).voter);
    assert_false (raft_progress (cluster->nodes[1].raft, 3)->learner);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, ""), RAFT_OK);
    cluster_run (cluster, 300);
    assert_true (quorum_set_has (&s_conf (cluster, 3)->learners, 3));
    assert_true (raft_progress (cluster->nodes[1].raft, 3)->learner);
    assert_false (cluster_status (cluster, 3).voter);
    assert_int_equal (raft_campaign (cluster->nodes[3].raft), RAFT_INVALID);
    assert_int_equal (raft_transfer_leader (cluster->nodes[1].raft, 3), RAFT_INVALID);
    cluster_destroy (&cluster);
}

/*  Thesis 4.2.2: a leader that is removed manages its own removal, then steps down. */
static void test_removed_leader_steps_down (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "r1"), RAFT_OK);
    assert_int_equal (cluster_status (cluster, 1).soft.role, RAFT_LEADER); /* not decided yet */
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).soft.role, RAFT_FOLLOWER);
    cluster_settle (cluster);
    /* The others have heard that it is decided, though the leader went in the same moment. */
    assert_true (s_voters_are (cluster, 2, 2, 2, 3));
    assert_true (s_voters_are (cluster, 3, 2, 2, 3));
    uint64_t elections = cluster_status (cluster, 1).elections;
    cluster_run (cluster, 5000);
    uint64_t leader = cluster_leader (cluster);
    assert_true (leader == 2 || leader == 3);
    assert_int_equal (cluster_status (cluster, 1).elections, elections); /* it doesn't campaign */
    assert_int_equal (raft_campaign (cluster->nodes[1].raft), RAFT_INVALID);
    cluster_destroy (&cluster);
}

/*  A follower that is removed hears of it, however long the leader keeps the news of commits. */
static void test_removed_follower_hears_of_it (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.commit_delay_ms = 50;
    cluster_t *cluster = cluster_found (3, 3, 1, &config);
    cluster_elect (cluster, 1);
    cluster_run (cluster, 200);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "r3"), RAFT_OK);
    cluster_settle (cluster);
    assert_true (s_voters_are (cluster, 3, 2, 1, 2));
    cluster_destroy (&cluster);
}

/*  Of two voters, the leader goes: the other one doesn't know that this is decided, and needs its
    vote once more. */
static void test_two_become_one (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (2, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "r1"), RAFT_OK);
    cluster_run (cluster, 5000);
    assert_int_equal (cluster_leader (cluster), 2);
    assert_true (s_voters_are (cluster, 2, 1, 2));
    cluster_crash (cluster, 1);
    assert_int_equal (cluster_propose (cluster, 2, 1), RAFT_OK);
    assert_int_equal (cluster->nodes[2].applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  Of two voters one is removed, and gets an entry more than the leader's disk when that crashes.
    The leader comes back and does not know that the removal is committed: it asks the removed one for its
    vote, and its log is shorter. The refusal tells it. */
static void test_removed_voter_has_more (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (2, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    cluster_node_t *leader = &cluster->nodes[1];
    uint64_t applied = leader->applied;
    leader->hold = true;
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "r2"), RAFT_OK);
    assert_int_equal (cluster_propose (cluster, 1, 7), RAFT_OK);
    cluster_settle (cluster);
    cluster_flush (cluster, 1, 1);
    cluster_settle (cluster);
    assert_true (s_voters_are (cluster, 2, 1, 1));
    assert_int_equal (cluster_status (cluster, 2).last, applied + 2);
    cluster_crash (cluster, 1);
    assert_int_equal (leader->log_count, applied + 1);
    leader->hold = false;
    leader->applied = leader->hard.commit = applied;
    leader->config.conf_state = (raft_conf_state_t){.voters = {2, {1, 2}}};
    cluster_start (cluster, 1);
    cluster_run (cluster, 5000);
    assert_int_equal (cluster_leader (cluster), 1);
    assert_true (s_voters_are (cluster, 1, 1, 1));
    assert_int_equal (cluster_propose (cluster, 1, 8), RAFT_OK);
    assert_int_equal (leader->applied, cluster->committed_last);
    cluster_destroy (&cluster);
}

/*  A node that was removed while it was cut off comes back: it doesn't know, and campaigns in vain;
    nobody's term moves. */
static void test_removed_node_does_not_disturb (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    cluster_isolate (cluster, 3, true);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "r3"), RAFT_OK);
    cluster_run (cluster, 3000);
    assert_true (s_voters_are (cluster, 1, 2, 1, 2));
    assert_true (s_voters_are (cluster, 3, 3, 1, 2, 3));
    raft_soft_state_t before = raft_soft_state (cluster->nodes[1].raft);
    cluster_heal (cluster);
    cluster_run (cluster, 10000);
    raft_soft_state_t after = raft_soft_state (cluster->nodes[1].raft);
    assert_int_equal (after.role, RAFT_LEADER);
    assert_int_equal (after.term, before.term);
    assert_true (cluster->sent[RAFT_MSG_PRE_VOTE] > 0);
    cluster_destroy (&cluster);
}

/*  It became a voter by an entry that it hasn't applied: its vote counts, since the candidate knows
    better; it doesn't campaign itself. */
static void test_vote_before_the_promotion_is_applied (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_found (3, 2, 1, NULL);
    cluster_elect (cluster, 1);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "l3"), RAFT_OK);
    cluster_run (cluster, 300);
    /* 3 gets the entry, but never hears that it is committed. */
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "v3"), RAFT_OK);
    cluster_settle (cluster);
    cluster_crash (cluster, 3);
    cluster->nodes[3].config.conf_state =
        (raft_conf_state_t){.voters = {2, {1, 2}}, .learners = {1, {3}}};
    cluster->nodes[3].applied--;
    cluster->nodes[3].hard.commit = cluster->nodes[3].applied;
    cluster_crash (cluster, 1);
    cluster_start (cluster, 3);
    assert_false (cluster_status (cluster, 3).voter);
    cluster_run (cluster, 1100);
    raft_campaign (cluster->nodes[2].raft);
    cluster_settle (cluster);
    assert_int_equal (cluster_leader (cluster), 2); /* with 3's vote: 1 is dead */
    cluster_run (cluster, 200);
    assert_true (cluster_status (cluster, 3).voter);
    cluster_destroy (&cluster);
}

/*  Nobody campaigns between a change being committed and its taking effect there. */
static void test_no_campaign_with_a_change_waiting (void **state)
{
    (void)state;
    raft_config_t config = raft_config_default ();
    config.apply_bytes_max = 1; /* one entry at a time */
    cluster_t *cluster = cluster_found (4, 3, 1, &config);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "l4"), RAFT_OK);
    cluster_settle (cluster);
    raft_t *raft = cluster->nodes[2].raft;
    cluster_run (cluster, 100);
    assert_int_equal (raft->journal.applied, raft->journal.committed);
    raft->journal.applied--; /* as if the ledger were still busy with it */
    cluster_isolate (cluster, 2, true);
    cluster_run (cluster, 5000);
    assert_int_equal (raft_soft_state (raft).role, RAFT_FOLLOWER);
    assert_int_equal (raft_campaign (raft), RAFT_BUSY);
    raft->journal.applied++;
    assert_int_equal (raft_campaign (raft), RAFT_OK);
    cluster_destroy (&cluster);
}

/*  The leadership isn't handed over to one that has been removed. */
static void test_transferee_is_removed (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (3, 1, NULL);
    cluster_elect (cluster, 1);
    cluster_settle (cluster);
    cluster_isolate (cluster, 3, true);
    assert_int_equal (cluster_change (cluster, 1, CONFCHANGE_AUTO, "r3"), RAFT_OK);
    assert_int_equal (raft_transfer_leader (cluster->nodes[1].raft, 3), RAFT_OK);
    cluster_settle (cluster);
    assert_int_equal (cluster_status (cluster, 1).transferee, 0);
    assert_int_equal (cluster_propose (cluster, 1, 1), RAFT_OK);
    cluster_destroy (&cluster);
}

/*  ---- at random: changes among crashes, cuts and lost messages ------------------- */

static void s_random_change (cluster_t *cluster, uint64_t id)
{
    if (!cluster->nodes[id].raft || cluster_status (cluster, id).soft.role != RAFT_LEADER)
        return;
    char text[32] = "";
    uint64_t count = cluster_random (cluster, 4);
    for (uint64_t i = 0; i < count; i++) {
        char op[4] = {"vvlr"[cluster_random (cluster, 4)],
                      (char)('1' + cluster_random (cluster, cluster->count)), ' ', 0};
        strcat (text, op);
    }
    cluster_change (cluster, id, (confchange_transition_t)cluster_random (cluster, 3), text);
}

static void s_check_goes_on (cluster_t *cluster, uint64_t value)
{
    uint64_t leader = cluster_leader (cluster);
    assert_int_not_equal (leader, 0);
    assert_int_equal (cluster_propose (cluster, leader, value), RAFT_OK);
    cluster_run (cluster, 300);
    assert_int_equal (cluster->committed[cluster->committed_last].value, value);
    const raft_conf_state_t *conf = s_conf (cluster, leader);
    assert_false (confchange_joint (conf) && conf->auto_leave);
    for (uint64_t i = 1; i <= cluster->count; i++)
        if (quorum_set_has (&conf->voters, i) || quorum_set_has (&conf->learners, i)) {
            assert_int_equal (cluster->nodes[i].applied, cluster->committed_last);
            assert_true (confchange_equal (s_conf (cluster, i), conf));
        }
}

static void s_soak (uint64_t seed, int steps)
{
    raft_config_t config = raft_config_default ();
    config.election_timeout_ms = 100;
    config.heartbeat_ms = 10;
    config.inflight_max = 1 + (uint32_t)(seed % 7);
    config.message_bytes_max = 200;
    config.cache_bytes_max = 400 * (seed % 3);
    config.apply_bytes_max = 500;
    config.pre_vote = seed % 4 != 0;
    config.check_quorum = seed % 5 != 0;
    uint32_t count = 5 + (uint32_t)(seed % 3);
    cluster_t *cluster = cluster_found (count, 1 + (uint32_t)(seed % 5), seed, &config);
    cluster->delay_ms_max = (int64_t)(seed % 3) * 10;
    cluster->drop_percent = (unsigned)(seed % 4) * 5;
    cluster->duplicate_percent = (unsigned)(seed % 3) * 10;
    uint64_t value = 1;
    for (int step = 0; step < steps; step++) {
        uint64_t id = 1 + cluster_random (cluster, count);
        switch (cluster_random (cluster, 40)) {
        case 0:
            cluster_isolate (cluster, id, true);
            break;
        case 1:
        case 2:
            cluster_heal (cluster);
            break;
        case 3:
            if (cluster->nodes[id].raft)
                cluster_crash (cluster, id);
            break;
        case 4:
        case 5:
        case 6:
            if (!cluster->nodes[id].raft)
                cluster_start (cluster, id);
            break;
        case 7:
            cluster->nodes[id].hold = !cluster->nodes[id].hold;
            break;
        case 8:
            if (cluster->nodes[id].raft)
                raft_transfer_leader (cluster->nodes[id].raft, 1 + cluster_random (cluster, count));
            break;
        case 9:
        case 10:
        case 11:
        case 12:
            for (uint64_t i = 1; i <= count; i++)
                s_random_change (cluster, i);
            break;
        default:
            for (uint64_t i = 1; i <= count; i++)
                if (cluster->nodes[i].raft && cluster_random (cluster, 4) == 0)
                    cluster_propose (cluster, i, value++);
        }
        for (uint64_t i = 1; i <= count; i++)
            if (cluster->nodes[i].hold)
                cluster_flush (cluster, i, cluster_random (cluster, 3));
        cluster_run (cluster, (int64_t)cluster_random (cluster, 25));
        if (step % 50 == 0)
            cluster_check_logs (cluster);
    }
    /* When all is well again it must go on, whatever the configuration was then. */
    cluster->drop_percent = 0;
    cluster_heal (cluster);
    for (uint64_t i = 1; i <= count; i++) {
        cluster->nodes[i].hold = false;
        if (!cluster->nodes[i].raft)
            cluster_start (cluster, i);
    }
    cluster_run (cluster, 5000);
    cluster_check_logs (cluster);
    if (config.pre_vote &&
        config.check_quorum) /* else those who were removed may disturb forever */
        s_check_goes_on (cluster, value);
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
        s_soak (seed, 600);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_grow),
        cmocka_unit_test (test_takes_effect_when_applied),
        cmocka_unit_test (test_none_before_the_no_op),
        cmocka_unit_test (test_joint_auto_leave),
        cmocka_unit_test (test_joint_needs_both),
        cmocka_unit_test (test_new_leader_leaves_joint),
        cmocka_unit_test (test_learners_next),
        cmocka_unit_test (test_removed_leader_steps_down),
        cmocka_unit_test (test_removed_follower_hears_of_it),
        cmocka_unit_test (test_two_become_one),
        cmocka_unit_test (test_removed_voter_has_more),
        cmocka_unit_test (test_removed_node_does_not_disturb),
        cmocka_unit_test (test_vote_before_the_promotion_is_applied),
        cmocka_unit_test (test_no_campaign_with_a_change_waiting),
        cmocka_unit_test (test_transferee_is_removed),
        cmocka_unit_test (test_soak),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
