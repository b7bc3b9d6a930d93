/*  The control plane under pressure: more work than room, clocks that disagree, faults of all
   kinds. cluster_test has the variety, this has the queue: ranks wait for room that dying
   processes, lost workers and stale plans still hold.

    SEED=n runs that seed only, SEEDS=n that many; TRACE=file writes its history. */
#include "actors/simulation/simulation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void run (simulation_options_t options, simulation_report_t *report)
{
    const char *path = getenv ("TRACE");
    nexus_error_t error;
    options.trace = path ? fopen (path, "w") : NULL;
    int rc = simulation_run (&options, report, &error);
    if (options.trace)
        fclose (options.trace);
    if (rc)
        fail_msg ("profile %s, %u workers: %s", options.profile, options.workers, error.text);
    assert_int_equal (report->jobs_succeeded + report->jobs_cancelled, options.jobs);
}

static void test_queue (void **state)
{
    (void)state;
    simulation_report_t report;
    run (
        (simulation_options_t){
            .seed = 1, .profile = "calm", .workers = 1, .jobs = 40, .rest_ms = 600000},
        &report);
    assert_int_equal (report.restarts, 0);
    assert_true (report.jobs_succeeded > 20);
}

static void test_crowds (void **state)
{
    (void)state;
    static const char *const profiles[] = {"swarm", "lan", "swarm", "wan"};
    const char *one = getenv ("SEED"), *many = getenv ("SEEDS");
    uint64_t first = one ? strtoull (one, NULL, 10) : 1;
    uint64_t count = many ? strtoull (many, NULL, 10) : one ? 1 : 24;
    uint64_t restarts = 0;
    simulation_report_t report;
    for (uint64_t seed = first; seed < first + count; seed++) {
        run ((simulation_options_t){.seed = seed,
                                    .profile = profiles[seed % 4],
                                    .workers = 1 + (unsigned)(seed % 3),
                                    .jobs = 24,
                                    .wrong_clocks = true,
                                    .faults_ms = 40000,
                                    .rest_ms = 600000},
             &report);
        restarts += report.restarts;
    }
    if (!one)
        assert_true (restarts > 20);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_queue),
        cmocka_unit_test (test_crowds),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
