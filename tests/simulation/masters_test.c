/*  The masters' world: histories of consensus with faults, all invariants after every step.

    A fixed set of seeds, and a fresh one each run, which is printed. SEED=n runs that seed only,
    SEEDS=n how many of each; MASTERS, PROFILE, STEPS; TRACE=file with SEED. */
#include "actors/simulation/masters.h"
#include "actors/simulation/seeds.h"
#include "runtime/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct {
    masters_options_t options;
    uint64_t failed, steps, restarts, entries, terms;
} set_t;

static uint64_t number_of (const char *name, uint64_t otherwise)
{
    const char *text = getenv (name);
    return text ? strtoull (text, NULL, 10) : otherwise;
}

static int run (void *context, uint64_t seed, void *report, nexus_error_t *error)
{
    masters_options_t options = ((set_t *)context)->options;
    options.seed = seed;
    return masters_run (&options, report, error);
}

static void ended (void *context, uint64_t seed, const void *ended_report, const char *error)
{
    set_t *set = context;
    const masters_report_t *report = ended_report;
    set->steps += report->steps;
    set->restarts += report->restarts;
    set->entries += report->entries;
    set->terms += report->terms;
    if (!error)
        return;
    set->failed++;
    print_error ("nexus simulate --seeds %llu --masters %u --profile %s --steps %llu: %s\n",
                 (unsigned long long)seed, set->options.masters, set->options.profile,
                 (unsigned long long)set->options.steps, error);
}

static set_t run_set (uint64_t first, uint64_t count, unsigned masters, const char *profile)
{
    nexus_error_t error;
    set_t set = {.options = {.masters = (unsigned)number_of ("MASTERS", masters),
                             .profile = getenv ("PROFILE") ? getenv ("PROFILE") : profile,
                             .steps = number_of ("STEPS", 20000)}};
    seeds_t seeds = {.first = first,
                     .last = first + count - 1,
                     .report_size = sizeof (masters_report_t),
                     .run = run,
                     .ended = ended,
                     .context = &set};
    const char *trace = getenv ("TRACE");
    if (trace && count == 1) {
        set.options.trace = fopen (trace, "w");
        seeds.processes = 1;
    }
    if (seeds_run (&seeds, &error))
        fail_msg ("%s", error.text);
    if (set.options.trace)
        fclose (set.options.trace);
    return set;
}

static const unsigned sizes[] = {5, 3, 7, 1};

static void a_calm_cluster_keeps_its_leader (void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        set_t set = run_set (1, 2, sizes[i], "calm");
        assert_int_equal (set.failed, 0);
        assert_int_equal (set.restarts, 0);
        assert_in_range (set.terms, 2, 6); /* the first vote may be split */
        assert_true (set.entries > 100);
    }
}

static void the_same_seeds (void **state)
{
    static const char *const profiles[] = {"swarm", "swarm", "lan", "wan"};
    (void)state;
    if (getenv ("SEED"))
        return;
    for (size_t i = 0; i < 4; i++) {
        set_t set = run_set (1, number_of ("SEEDS", 25), sizes[i], profiles[i]);
        assert_int_equal (set.failed, 0);
        assert_true (set.restarts > 0); /* or nothing was tested */
    }
}

static void fresh_seeds (void **state)
{
    (void)state;
    uint64_t first = number_of ("SEED", random_entropy () >> 32);
    uint64_t count = getenv ("SEED") ? 1 : number_of ("SEEDS", 25);
    print_message ("seeds %llu..%llu\n", (unsigned long long)first,
                   (unsigned long long)(first + count - 1));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal (run_set (first, count, sizes[i], "swarm").failed, 0);
}

static void a_seed_replays (void **state)
{
    (void)state;
    masters_report_t reports[2];
    nexus_error_t error;
    for (int i = 0; i < 2; i++) {
        masters_options_t options = {.seed = 7, .steps = 5000};
        if (masters_run (&options, &reports[i], &error))
            fail_msg ("%s", error.text);
    }
    assert_memory_equal (&reports[0], &reports[1], sizeof reports[0]);
}

static void wrong_options_are_refused (void **state)
{
    (void)state;
    masters_report_t report;
    nexus_error_t error;
    assert_int_equal (masters_run (&(masters_options_t){.masters = 8}, &report, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_int_equal (masters_run (&(masters_options_t){.profile = "war"}, &report, &error), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
}

/*  ---- seeds ------------------------------------------------------------------------------ */

static int die_at_five (void *context, uint64_t seed, void *report, nexus_error_t *error)
{
    (void)context;
    if (seed == 5)
        abort ();
    memcpy (report, &seed, sizeof seed);
    return seed == 7 ? nexus_error_set (error, NEXUS_CORRUPT, "seven") : 0;
}

static void note_end (void *context, uint64_t seed, const void *report, const char *error)
{
    char (*texts)[32] = context;
    uint64_t reported;
    memcpy (&reported, report, sizeof reported);
    assert_true (seed == 5 || reported == seed);
    snprintf (texts[seed], sizeof texts[seed], "%s", error ? error : "ok");
}

static void a_process_that_dies_is_its_seeds_fault (void **state)
{
    (void)state;
    char texts[21][32] = {""};
    nexus_error_t error;
    seeds_t seeds = {.first = 1,
                     .last = 20,
                     .processes = 3,
                     .report_size = sizeof (uint64_t),
                     .run = die_at_five,
                     .ended = note_end,
                     .context = texts};
    assert_int_equal (seeds_run (&seeds, &error), 0);
    for (unsigned seed = 1; seed <= 20; seed++)
        if (seed == 5)
            assert_non_null (strstr (texts[seed], "the process died"));
        else
            assert_string_equal (texts[seed], seed == 7 ? "seven" : "ok");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (wrong_options_are_refused),
        cmocka_unit_test (a_process_that_dies_is_its_seeds_fault),
        cmocka_unit_test (a_seed_replays),
        cmocka_unit_test (a_calm_cluster_keeps_its_leader),
        cmocka_unit_test (the_same_seeds),
        cmocka_unit_test (fresh_seeds),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
