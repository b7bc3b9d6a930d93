/*  election: in production's shell, with its disk and its links */
#include "tests/unit/election_node.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static uint64_t s_barrier (election_node_t *node)
{
    nexus_error_t error = {0};
    message_t *reply =
        election_node_call (node, "election", &read_barrier_record, &(read_barrier_t){0}, &error);
    if (!reply)
        fail_msg ("read barrier: %s", error.text);
    assert_non_null (message_body (reply, done));
    uint64_t index = message_body (reply, done)->value;
    message_release (&reply);
    return index;
}

/*  Alone it leads at once, and after a restart it still has everything. */
static void test_single (void **state)
{
    (void)state;
    election_nodes_t *nodes = election_nodes_new (1);
    for (uint64_t i = 2; i < 50; i++)
        assert_int_equal (election_nodes_propose (nodes, 0, 100), i); /* 1 is the no-op */
    assert_int_equal (s_barrier (&nodes->nodes[0]), 49);
    election_node_stop (&nodes->nodes[0]);
    nodes->nodes[0].applied = 10; /* as far as that ledger got */
    election_node_open (nodes, 0);
    election_node_begin (nodes, 0);
    assert_int_equal (election_nodes_propose (nodes, 0, 100), 51);
    assert_int_equal (s_barrier (&nodes->nodes[0]), 51);
    election_nodes_destroy (&nodes);
}

static const raft_view_t *s_view (election_node_t *node, message_t **ret_reply)
{
    nexus_error_t error = {0};
    *ret_reply = election_node_call (node, "election", &raft_view_get_record,
                                     &(raft_view_get_t){.peers = true}, &error);
    if (!*ret_reply)
        fail_msg ("raft view: %s", error.text);
    assert_non_null (message_body (*ret_reply, raft_view));
    return message_body (*ret_reply, raft_view);
}

/*  The leader knows how far its peers are and how long their answers take; both agree. */
static void test_view (void **state)
{
    (void)state;
    election_nodes_t *nodes = election_nodes_new (3);
    uint64_t index = 0;
    for (unsigned i = 0; i < 20; i++)
        index = election_nodes_propose (nodes, 0, 200);
    usleep (300000);
    int leader = election_nodes_leader (nodes);
    assert_true (leader >= 0);
    for (int i = 0; i < 3; i++) {
        message_t *reply;
        const raft_view_t *view = s_view (&nodes->nodes[i], &reply);
        assert_int_equal (view->role, i == leader ? RAFT_VIEW_LEADER : RAFT_VIEW_FOLLOWER);
        assert_memory_equal (&view->leader, &nodes->keys[leader], sizeof (record_key_t));
        assert_true (view->voter && view->commit >= index && view->durable >= index);
        assert_true (view->flush_p99_us > 0 && view->log_limit_bytes > 0);
        assert_in_range (view->election_timeout_ms, 150, 10000);
        assert_int_equal (view->peers.count, i == leader ? 2 : 0);
        for (size_t j = 0; j < view->peers.count; j++) {
            const raft_peer_view_t *peer = &view->peers.items[j];
            assert_int_equal (peer->state, RAFT_VIEW_REPLICATE);
            assert_true (peer->active && peer->match >= index);
            assert_int_equal (peer->lag, view->last - peer->match);
            assert_true (peer->round_trip_us > 0 && peer->round_trip_p99_us >= peer->round_trip_us);
            assert_in_range (peer->heard_ms_ago, 0, 5000);
        }
        message_release (&reply);
    }
    election_nodes_destroy (&nodes);
}

/*  Any of three takes proposals and reads; one may go and come back. */
static void test_three (void **state)
{
    (void)state;
    election_nodes_t *nodes = election_nodes_new (3);
    for (unsigned i = 0; i < 30; i++) {
        uint64_t index = election_nodes_propose (nodes, i % 3, 200);
        assert_int_not_equal (index, 0);
        assert_true (s_barrier (&nodes->nodes[(i + 1) % 3]) >= index);
    }
    int leader = election_nodes_leader (nodes);
    assert_true (leader >= 0);
    election_node_stop (&nodes->nodes[leader]);
    unsigned other = (unsigned)(leader + 1) % 3;
    uint64_t index = election_nodes_propose (nodes, other, 200);
    assert_int_not_equal (index, 0);
    assert_int_not_equal (election_nodes_leader (nodes), leader);
    election_node_open (nodes, (unsigned)leader);
    election_node_begin (nodes, (unsigned)leader);
    index = election_nodes_propose (nodes, (unsigned)leader, 200);
    assert_int_not_equal (index, 0);
    assert_true (s_barrier (&nodes->nodes[leader]) >= index);
    election_nodes_destroy (&nodes);
}

/*  Alters a byte of an entry's data in the file of a log. */
static void s_rot (const char *dir, uint64_t index)
{
    char path[128];
    snprintf (path, sizeof path, "%s/data.mdb", dir);
    int fd = open (path, O_RDWR);
    struct stat status;
    assert_true (fd >= 0 && fstat (fd, &status) == 0);
    uint8_t *bytes = mmap (NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true (bytes != MAP_FAILED);
    unsigned found = 0; /* LMDB may have an older copy of the page */
    for (size_t i = 0; i + 300 < (size_t)status.st_size; i++)
        if (bytes[i] == 1 && bytes[i + 1] == 1 && bytes[i + 3] == 0 &&
            memcmp (bytes + i + 8, &index, 8) == 0) {
            bytes[i + 28 + 100] ^= 0x40;
            found++;
        }
    assert_true (found > 0);
    munmap (bytes, (size_t)status.st_size);
    close (fd);
}

/*  A master whose disk has lost something fetches it from the others, and takes part again. */
static void test_damaged_log (void **state)
{
    (void)state;
    election_nodes_t *nodes = election_nodes_new (3);
    uint64_t index = 0;
    for (unsigned i = 0; i < 20; i++)
        index = election_nodes_propose (nodes, 0, 200);
    int leader = election_nodes_leader (nodes);
    assert_true (leader >= 0);
    unsigned victim = (unsigned)(leader + 1) % 3;
    assert_true (s_barrier (&nodes->nodes[victim]) >= index);
    election_node_stop (&nodes->nodes[victim]);
    s_rot (nodes->nodes[victim].dir, index - 5);
    s_rot (nodes->nodes[victim].dir, index);
    election_node_open (nodes, victim);
    election_node_begin (nodes, victim);
    raft_log_state_t log = {.damaged = 1};
    for (int i = 0; i < 200 && log.damaged; i++) {
        usleep (50000);
        raft_log_state (nodes->nodes[victim].raft_log, &log);
    }
    assert_int_equal (log.damaged, 0);
    assert_true (log.last >= index);
    /* Its vote is needed now. */
    election_node_stop (&nodes->nodes[leader]);
    index = election_nodes_propose (nodes, victim, 200);
    assert_int_not_equal (index, 0);
    election_nodes_destroy (&nodes);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_single),
        cmocka_unit_test (test_three),
        cmocka_unit_test (test_view),
        cmocka_unit_test (test_damaged_log),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
