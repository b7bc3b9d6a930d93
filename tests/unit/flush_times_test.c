#include "storage/flush_times.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_few (void **state)
{
    (void)state;
    flush_times_t times = {0};
    flush_times_note (&times, 300000);
    assert_int_equal (times.last_us, 300);
    assert_int_equal (times.p50_us, 300);
    assert_int_equal (times.p99_us, 300);
    flush_times_note (&times, 100999);
    flush_times_note (&times, 200000);
    assert_int_equal (times.last_us, 200);
    assert_int_equal (times.p50_us, 200);
    assert_int_equal (times.p99_us, 300);
}

/*  Old ones are forgotten; what the clock can't mean does no harm. */
static void test_many (void **state)
{
    (void)state;
    flush_times_t times = {0};
    for (int i = 0; i < FLUSH_TIMES_MAX; i++)
        flush_times_note (&times, 9000000);
    for (int i = 1; i <= FLUSH_TIMES_MAX; i++)
        flush_times_note (&times, i * 1000);
    assert_int_equal (times.last_us, FLUSH_TIMES_MAX);
    assert_int_equal (times.p50_us, 128);
    assert_int_equal (times.p99_us, 254);
    flush_times_note (&times, -5);
    assert_int_equal (times.last_us, 0);
    flush_times_note (&times, INT64_MAX);
    assert_int_equal (times.last_us, UINT32_MAX);
}

int main (void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test (test_few), cmocka_unit_test (test_many)};
    return cmocka_run_group_tests (tests, NULL, NULL);
}
