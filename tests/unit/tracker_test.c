/*  tracker: the window, the progress states, configurations */
#include "actors/election/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

#define COUNT(array) (sizeof (array) / sizeof (array[0]))

static void test_window_by_count (void **state)
{
    (void)state;
    tracker_window_t window;
    tracker_window_init (&window, 20, 0);
    for (uint64_t round = 0; round < 5; round++) {
        for (uint64_t i = 1; i <= 20; i++) {
            assert_false (tracker_window_full (&window));
            tracker_window_add (&window, round * 20 + i, 100);
        }
        assert_true (tracker_window_full (&window));
        tracker_window_free_to (&window, round * 20); /* old news */
        assert_int_equal (window.count, 20);
        tracker_window_free_to (&window, round * 20 + 7);
        assert_int_equal (window.count, 13);
        assert_int_equal (window.bytes, 1300);
        tracker_window_free_to (&window, round * 20 + 20);
        assert_int_equal (window.count, 0);
        assert_int_equal (window.bytes, 0);
    }
    tracker_window_clear (&window);
}

static void test_window_by_bytes (void **state)
{
    (void)state;
    tracker_window_t window;
    tracker_window_init (&window, 100, 1000);
    tracker_window_add (&window, 1, 600);
    assert_false (tracker_window_full (&window));
    tracker_window_add (&window, 2, 600); /* the last one may go over the limit */
    assert_true (tracker_window_full (&window));
    tracker_window_free_to (&window, 1);
    assert_false (tracker_window_full (&window));
    tracker_window_add (&window, 3, 1000000); /* as may a single large one */
    assert_true (tracker_window_full (&window));
    tracker_window_clear (&window);
}

static void test_probe (void **state)
{
    (void)state;
    tracker_progress_t peer = {.next = 11, .match = 0};
    tracker_window_init (&peer.window, 4, 0);
    assert_false (tracker_paused (&peer));
    tracker_sent (&peer, 3, 300);
    assert_true (tracker_paused (&peer)); /* one message at a time */
    assert_int_equal (peer.next, 11);
    assert_false (tracker_decrease (&peer, 9, 2)); /* an answer to an earlier probe */
    assert_true (tracker_decrease (&peer, 10, 2));
    assert_int_equal (peer.next, 3);
    assert_false (tracker_paused (&peer));
    assert_true (tracker_update (&peer, 5));
    assert_false (tracker_update (&peer, 5));
    assert_int_equal (peer.match, 5);
    assert_int_equal (peer.next, 6);
    tracker_window_clear (&peer.window);
}

static void test_decrease (void **state)
{
    (void)state;
    static const struct {
        tracker_state_t state;
        uint64_t match, next, rejected, hint;
        bool expected;
        uint64_t expected_next;
    } table[] = {
        /* Replicate: below match is stale; otherwise back to what is known */
        {TRACKER_REPLICATE, 5, 10, 5, 5, false, 10},
        {TRACKER_REPLICATE, 5, 10, 4, 4, false, 10},
        {TRACKER_REPLICATE, 5, 10, 9, 9, true, 6},
        /* Probe: only the message before next counts */
        {TRACKER_PROBE, 0, 0, 0, 0, false, 0},
        {TRACKER_PROBE, 0, 10, 5, 5, false, 10},
        {TRACKER_PROBE, 0, 10, 9, 9, true, 9},
        {TRACKER_PROBE, 0, 2, 1, 1, true, 1},
        {TRACKER_PROBE, 0, 10, 9, 2, true, 3},
        {TRACKER_PROBE, 0, 10, 9, 0, true, 1},
        /* never at or below what is known to match, whatever the hint says */
        {TRACKER_PROBE, 5, 10, 9, 0, true, 6},
    };
    for (size_t i = 0; i < COUNT (table); i++) {
        tracker_progress_t peer = {
            .state = table[i].state, .match = table[i].match, .next = table[i].next};
        assert_int_equal (tracker_decrease (&peer, table[i].rejected, table[i].hint),
                          table[i].expected);
        assert_int_equal (peer.next, table[i].expected_next);
    }
}

static void test_replicate (void **state)
{
    (void)state;
    tracker_progress_t peer = {.next = 11, .match = 4};
    tracker_window_init (&peer.window, 2, 0);
    tracker_become_replicate (&peer);
    assert_int_equal (peer.next, 5);
    tracker_sent (&peer, 3, 300);
    assert_int_equal (peer.next, 8); /* optimistic */
    assert_false (tracker_paused (&peer));
    tracker_sent (&peer, 1, 100);
    assert_true (tracker_paused (&peer));
    peer.flow_paused = false; /* a heartbeat was answered: one empty message passes */
    tracker_sent (&peer, 0, 0);
    assert_true (tracker_paused (&peer));
    assert_true (tracker_update (&peer, 7));
    tracker_window_free_to (&peer.window, 7);
    assert_false (tracker_paused (&peer));
    tracker_become_probe (&peer);
    assert_int_equal (peer.next, 8);
    assert_int_equal (peer.window.count, 0);
    tracker_window_clear (&peer.window);
}

static void test_snapshot (void **state)
{
    (void)state;
    tracker_progress_t peer = {.next = 2, .match = 1};
    tracker_window_init (&peer.window, 2, 0);
    tracker_become_snapshot (&peer, 10);
    assert_true (tracker_paused (&peer));
    tracker_become_probe (&peer);
    assert_int_equal (peer.next, 11);
    tracker_become_snapshot (&peer, 10);
    assert_true (tracker_update (&peer, 12)); /* it got further by other means */
    tracker_become_probe (&peer);
    assert_int_equal (peer.next, 13);
    tracker_window_clear (&peer.window);
}

static void test_conf_check (void **state)
{
    (void)state;
    static const struct {
        raft_conf_state_t conf;
        bool good;
    } table[] = {
        {{.voters = {1, {1}}}, true},
        {{.voters = {0}}, false},
        {{.voters = {2, {1, 1}}}, false},
        {{.voters = {2, {1, 0}}}, false},
        {{.voters = {2, {1, 2}}, .learners = {1, {3}}}, true},
        {{.voters = {2, {1, 2}}, .learners = {1, {2}}}, false},
        {{.voters = {1, {1}}, .voters_outgoing = {2, {1, 2}}, .learners = {1, {2}}}, false},
        {{.voters = {1, {1}}, .voters_outgoing = {2, {1, 2}}, .learners_next = {1, {2}}}, true},
        {{.voters = {1, {1}}, .learners_next = {1, {2}}}, false},
        {{.voters = {1, {1}}, .auto_leave = true}, false},
        {{.voters = {QUORUM_MEMBERS_MAX + 1, {1}}}, false},
    };
    for (size_t i = 0; i < COUNT (table); i++)
        assert_int_equal (tracker_conf_check (&table[i].conf) == NULL, table[i].good);
}

static void test_configure (void **state)
{
    (void)state;
    tracker_t *tracker = raft_alloc (sizeof (tracker_t));
    tracker_init (tracker, 4, 0);
    raft_conf_state_t conf = {.voters = {3, {1, 2, 3}}, .learners = {1, {4}}};
    tracker_configure (tracker, &conf, 10);
    assert_int_equal (tracker->count, 4);
    assert_true (tracker_find (tracker, 4)->learner);
    assert_false (tracker_is_voter (tracker, 4));
    assert_int_equal (tracker_find (tracker, 2)->next, 10);
    tracker_update (tracker_find (tracker, 1), 9);
    tracker_update (tracker_find (tracker, 2), 7);
    tracker_update (tracker_find (tracker, 4), 9); /* learners don't count */
    assert_int_equal (tracker_committed (tracker), 7);
    tracker_window_add (&tracker_find (tracker, 2)->window, 9, 5);

    /* 4 votes instead of 3, jointly */
    conf = (raft_conf_state_t){.voters = {3, {1, 2, 4}}, .voters_outgoing = {3, {1, 2, 3}}};
    tracker_configure (tracker, &conf, 20);
    assert_int_equal (tracker->count, 4);
    assert_int_equal (tracker_find (tracker, 2)->match, 7);
    assert_int_equal (tracker_find (tracker, 2)->window.count, 1);
    assert_false (tracker_find (tracker, 4)->learner);
    assert_int_equal (tracker_committed (tracker), 7); /* 9 in the one, 7 in the other */

    conf = (raft_conf_state_t){.voters = {3, {1, 2, 4}}};
    tracker_configure (tracker, &conf, 20);
    assert_null (tracker_find (tracker, 3));
    assert_int_equal (tracker_committed (tracker), 9);
    tracker_find (tracker, 1)->vote = 1;
    assert_int_equal (tracker_vote_result (tracker), QUORUM_PENDING);
    tracker_find (tracker, 4)->vote = 1;
    assert_int_equal (tracker_vote_result (tracker), QUORUM_WON);
    tracker_reset (tracker, 5);
    assert_int_equal (tracker_vote_result (tracker), QUORUM_PENDING);
    assert_int_equal (tracker_find (tracker, 2)->next, 5);
    assert_int_equal (tracker_find (tracker, 2)->match, 0);
    assert_false (tracker_quorum_active (tracker));
    tracker_clear (tracker);
    free (tracker);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_window_by_count), cmocka_unit_test (test_window_by_bytes),
        cmocka_unit_test (test_probe),           cmocka_unit_test (test_decrease),
        cmocka_unit_test (test_replicate),       cmocka_unit_test (test_snapshot),
        cmocka_unit_test (test_conf_check),      cmocka_unit_test (test_configure),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
