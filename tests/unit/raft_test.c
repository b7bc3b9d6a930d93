/*  raft: states and messages that make no sense, and random histories */
#include "tests/unit/raft_cluster.h"

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
        cmocka_unit_test (test_refused_states),
        cmocka_unit_test (test_hostile_messages),
        cmocka_unit_test (test_soak),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
