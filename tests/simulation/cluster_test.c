/*  Whole clusters: masters and workers of the actors that ship, under every profile.

    SEED=n runs that seed only, SEEDS=n that many; TRACE=file writes its history; PROFILE, MASTERS.
 */
#include "actors/simulation/simulation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void run_seed (uint64_t seed, const char *profile, unsigned masters,
                      simulation_report_t *report)
{
    const char *path = getenv ("TRACE");
    nexus_error_t error = {0};
    simulation_options_t options = {.seed = seed,
                                    .profile = profile,
                                    .masters = masters,
                                    .wrong_clocks = getenv ("CLOCKS") != NULL,
                                    .faults_ms = 30000};
    options.trace = path ? fopen (path, "w") : NULL;
    int rc = simulation_run (&options, report, &error);
    if (options.trace)
        fclose (options.trace);
    if (getenv ("VERBOSE"))
        fprintf (stderr,
                 "%s seed %llu, %u masters: %llu steps, %lld ms, terms %llu, entries %llu, "
                 "restarts %llu, processes %llu, %llu succeeded, %llu cancelled%s%s\n",
                 profile, (unsigned long long)seed, masters, (unsigned long long)report->steps,
                 (long long)report->virtual_ms, (unsigned long long)report->terms,
                 (unsigned long long)report->entries, (unsigned long long)report->restarts,
                 (unsigned long long)report->processes, (unsigned long long)report->jobs_succeeded,
                 (unsigned long long)report->jobs_cancelled, rc ? ": " : "", rc ? error.text : "");
    if (rc == -1)
        fail_msg ("profile %s, %u masters: %s", profile, masters, error.text);
}

static void a_calm_cluster_does_its_work (void **state)
{
    (void)state;
    simulation_report_t report;
    for (unsigned masters = 1; masters <= 5; masters += 2) {
        run_seed (masters, "calm", masters, &report);
        assert_int_equal (report.jobs_succeeded + report.jobs_cancelled, 8);
        assert_int_equal (report.restarts, 0);
        assert_int_equal (report.terms, 1);
        assert_true (report.processes >= report.jobs_succeeded);
    }
}

static void faults_are_survived (void **state)
{
    (void)state;
    static const char *const profiles[] = {"lan", "wan", "swarm", "swarm"};
    const char *one = getenv ("SEED"), *many = getenv ("SEEDS"), *profile = getenv ("PROFILE");
    const char *masters = getenv ("MASTERS");
    uint64_t first = one ? strtoull (one, NULL, 10) : 1;
    uint64_t count = many ? strtoull (many, NULL, 10) : one ? 1 : 12;
    uint64_t restarts = 0;
    simulation_report_t report;
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_seed (seed, profile ? profile : profiles[seed % 4],
                  masters ? (unsigned)strtoul (masters, NULL, 10)
                          : 3 + 2 * (unsigned)(seed / 4 % 2),
                  &report);
        restarts += report.restarts;
    }
    if (!one)
        assert_true (restarts > 0); /* or nothing was tested */
}

static void a_seed_replays (void **state)
{
    (void)state;
    char *text[2];
    size_t size[2];
    simulation_report_t reports[2];
    nexus_error_t error;
    for (int i = 0; i < 2; i++) {
        FILE *trace = open_memstream (&text[i], &size[i]);
        simulation_options_t options = {.seed = 5, .faults_ms = 5000, .jobs = 2, .trace = trace};
        if (simulation_run (&options, &reports[i], &error) == -1)
            fail_msg ("%s", error.text);
        fclose (trace);
    }
    assert_int_equal (size[0], size[1]);
    assert_memory_equal (text[0], text[1], size[0]);
    assert_memory_equal (&reports[0], &reports[1], sizeof reports[0]);
    free (text[0]);
    free (text[1]);
}

static void wrong_options_are_refused (void **state)
{
    (void)state;
    simulation_report_t report;
    nexus_error_t error;
    assert_int_equal (simulation_run (&(simulation_options_t){.masters = 8}, &report, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_int_equal (simulation_run (&(simulation_options_t){.profile = "war"}, &report, &error),
                      -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (wrong_options_are_refused),
        cmocka_unit_test (a_calm_cluster_does_its_work),
        cmocka_unit_test (a_seed_replays),
        cmocka_unit_test (faults_are_survived),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
