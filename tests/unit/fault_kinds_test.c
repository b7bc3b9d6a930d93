/*  fault_kinds: names, there and back; and smaller simulations without those faults */
#include "actors/simulation/fault_kinds.h"
#include "actors/simulation/masters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void test_names (void **state)
{
    (void)state;
    nexus_error_t error;
    uint64_t kinds = 7;
    buffer_t out = {0};
    assert_int_equal (fault_kinds_parse ("", &kinds, &error), 0);
    assert_int_equal (kinds, 0);
    assert_int_equal (fault_kinds_parse ("rot,loss", &kinds, &error), 0);
    fault_kinds_print (kinds, &out);
    assert_int_equal (out.size, 8);
    assert_memory_equal (out.data, "loss,rot", 8);
    assert_int_equal (fault_kinds_parse ("loss,los", &kinds, &error), -1);
    assert_non_null (strstr (error.text, "\"los\": there are loss,duplication"));
    buffer_clear (&out);
    fault_kinds_print (UINT64_MAX, &out);
    buffer_append (&out, "", 1);
    assert_int_equal (fault_kinds_parse ((char *)out.data, &kinds, &error), 0);
    assert_int_equal (kinds, (UINT64_C (1) << fault_kinds_count) - 1);
    buffer_free (&out);
}

static void test_left_out (void **state)
{
    (void)state;
    simulator_t *sim = simulator_new (1, simulator_profile ("wan"));
    uint64_t kinds;
    assert_true (simulator_setting (sim, SIMULATOR_CRASH_INTERVAL_MS) > 0);
    assert_true (simulator_setting (sim, SIMULATOR_PAUSE_INTERVAL_MS) > 0);
    assert_int_equal (fault_kinds_parse ("crashes", &kinds, NULL), 0);
    fault_kinds_leave_out (sim, kinds);
    assert_true (simulator_setting (sim, SIMULATOR_CRASH_INTERVAL_MS) == 0);
    assert_true (simulator_setting (sim, SIMULATOR_PAUSE_INTERVAL_MS) > 0);
    simulator_destroy (&sim);
}

static masters_report_t run (uint64_t seed, uint64_t without)
{
    masters_options_t options = {
        .seed = seed, .masters = 3, .steps = 5000, .clients = 1, .without = without};
    masters_report_t report;
    nexus_error_t error;
    if (masters_run (&options, &report, &error))
        fail_msg ("%s", error.text);
    return report;
}

/*  Where nothing fails nobody comes or goes, one leader stays, and more is done. */
static void test_masters (void **state)
{
    (void)state;
    masters_report_t with = {0}, without = {0};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        masters_report_t report = run (seed, 0);
        with.terms += report.terms;
        with.changes += report.changes;
        with.done += report.done;
        report = run (seed, UINT64_MAX);
        assert_int_equal (report.changes, 1);
        assert_true (report.terms <= 3);
        without.terms += report.terms;
        without.done += report.done;
    }
    assert_true (with.changes > 5);
    assert_true (with.terms > without.terms);
    assert_true (with.done < without.done);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_names),
        cmocka_unit_test (test_left_out),
        cmocka_unit_test (test_masters),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
