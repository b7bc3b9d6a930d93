/*  timeouts: what a leader makes of its round trips and its disk's flushes */
#include "actors/election/timeouts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MS INT64_C (1000000)

enum { MIN_MS = 150, MAX_MS = 10000 };

static timeouts_t timeouts;
static uint64_t round_number;
static int64_t now_ns, in_force_ms;

static void trip (uint64_t id, int64_t ms)
{
    timeouts_sent (&timeouts, id, ++round_number, now_ns);
    now_ns += ms * MS;
    timeouts_answered (&timeouts, id, round_number, now_ns, in_force_ms);
}

static int64_t next (int64_t current_ms)
{
    return timeouts_next_ms (&timeouts, now_ns, current_ms, MIN_MS, MAX_MS);
}

/*  Where it comes to rest. */
static int64_t settled (int64_t ms)
{
    for (int i = 0; i < 100; i++)
        ms = next (ms);
    return ms;
}

static int begin (void **state)
{
    (void)state;
    memset (&timeouts, 0, sizeof timeouts);
    now_ns = 1000 * MS;
    in_force_ms = 1000;
    return 0;
}

static void test_nothing_known (void **state)
{
    (void)state;
    assert_int_equal (next (300), 300);
    assert_int_equal (next (1), MIN_MS);
    assert_int_equal (next (100000), MAX_MS);
}

static void test_fast_network (void **state)
{
    (void)state;
    trip (1, 1);
    assert_true (next (300) < 300 && next (300) > MIN_MS); /* little by little */
    assert_int_equal (settled (300), MIN_MS);
    timeouts.flush_us = 50000;
    assert_int_equal (settled (150), TIMEOUTS_FLUSHES * 50 + TIMEOUTS_ROUND_TRIPS);
}

static void test_slow_network (void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        trip (1, 20);
        trip (2, 180 + i % 40);
    }
    int64_t ms = settled (300);
    assert_true (ms >= TIMEOUTS_ROUND_TRIPS * 210 && ms <= TIMEOUTS_ROUND_TRIPS * 219);
    /* Who doesn't answer any more doesn't count. */
    for (int i = 0; i < 200; i++)
        trip (1, 20);
    assert_int_equal (settled (300), MIN_MS);
}

static void test_outlier (void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        trip (1, 1);
    in_force_ms = 5000;
    trip (1, 5000);
    assert_int_equal (next (150), 300); /* at once, but not beyond the double */
    assert_int_equal (next (2000), 4000);
    for (int i = 0; i < 40; i++)
        trip (1, 1);
    assert_int_equal (settled (300), MIN_MS);
}

/*  All that a new leader knows may be that a peer stood still. */
static void test_outlier_alone (void **state)
{
    (void)state;
    int64_t ms = in_force_ms = 150;
    trip (1, 3000);
    for (int i = 0; i < 12; i++) {
        ms = in_force_ms = next (ms);
        assert_true (ms <= 600);
        trip (1, 1);
    }
    assert_int_equal (settled (ms), MIN_MS);
}

/*  But a network that became slow is followed within some rounds. */
static void test_sudden_slowness (void **state)
{
    (void)state;
    in_force_ms = 150;
    for (int i = 0; i < 6; i++) {
        trip (1, 1000);
        in_force_ms = next (in_force_ms);
    }
    assert_true (in_force_ms >= TIMEOUTS_ROUND_TRIPS * 1000);
}

/*  What was lost, or waited for a connection, was no round trip. */
static void test_lost (void **state)
{
    (void)state;
    timeouts_sent (&timeouts, 1, 7, now_ns);
    timeouts_sent (&timeouts, 1, 8, now_ns + 100 * MS); /* not timed: 7 is */
    timeouts_answered (&timeouts, 1, 6, now_ns + 150 * MS, in_force_ms);
    timeouts_answered (&timeouts, 1, 8, now_ns + 200 * MS, in_force_ms);
    assert_int_equal (timeouts_peer (&timeouts, 1)->samples.count, 0);
    timeouts_sent (&timeouts, 1, 9, now_ns);
    timeouts_forget (&timeouts, 1);
    timeouts_answered (&timeouts, 1, 9, now_ns + 5000 * MS, in_force_ms);
    assert_int_equal (timeouts_peer (&timeouts, 1)->samples.count, 0);
    round_number = 9;
    trip (1, 3);
    assert_int_equal (timeouts_peer (&timeouts, 1)->samples.last_us, 3000);
    timeouts_answered (&timeouts, 2, 1, now_ns, in_force_ms); /* nobody */
    assert_null (timeouts_peer (&timeouts, 2));
}

static void test_many_peers (void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= TIMEOUTS_PEERS_MAX + 5; id++)
        trip (id, 1);
    assert_non_null (timeouts_peer (&timeouts, TIMEOUTS_PEERS_MAX + 5));
    assert_null (timeouts_peer (&timeouts, 1));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup (test_nothing_known, begin),
        cmocka_unit_test_setup (test_fast_network, begin),
        cmocka_unit_test_setup (test_slow_network, begin),
        cmocka_unit_test_setup (test_outlier, begin),
        cmocka_unit_test_setup (test_outlier_alone, begin),
        cmocka_unit_test_setup (test_sudden_slowness, begin),
        cmocka_unit_test_setup (test_lost, begin),
        cmocka_unit_test_setup (test_many_peers, begin),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
