/*  election: in production's shell, with its disk and its links */
#include "tests/unit/election_node.h"

#include <setjmp.h>
#include <stdarg.h>
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

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_single),
        cmocka_unit_test (test_three),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
