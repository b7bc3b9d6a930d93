/*  simulate - nexus simulate: whole clusters over virtual time, a seed each */
#include "actors/simulation/simulation.h"
#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const option_t simulate_options[] = {
    {"seeds", 's', "A..B", .def = "1..20", .doc = "The seeds to run, or a single one."},
    {"masters", 'm', "N", .def = "3", .doc = "Masters, 1 to 7."},
    {"workers", 'w', "N", .def = "4", .doc = "Workers, 1 to 32."},
    {"jobs", 'j', "N", .def = "8", .doc = "Jobs to submit, 1 to 200."},
    {"profile", 'p', "NAME", .def = "swarm", .doc = "calm, lan, wan or swarm."},
    {"seconds", 0, "N", .def = "60", .doc = "Virtual seconds with faults."},
    {"clocks", 0, NULL, .doc = "Wall clocks disagree and jump, as the profile says."},
    {"trace", 't', "FILE", .doc = "Write all that happens; for a single seed."},
    {"verbose", 'v', NULL, .doc = "Say how each seed went."},
    {0},
};

/*  "7" or "1..20". */
static int parse_seeds (const char *text, uint64_t *ret_first, uint64_t *ret_last,
                        nexus_error_t *error)
{
    char *end;
    errno = 0;
    uint64_t first = strtoull (text, &end, 10), last = first;
    bool good = end != text && text[0] >= '0' && text[0] <= '9';
    if (good && strncmp (end, "..", 2) == 0) {
        const char *second = end + 2;
        last = strtoull (second, &end, 10);
        good = end != second && second[0] >= '0' && second[0] <= '9';
    }
    if (!good || *end || errno || last < first || last == UINT64_MAX)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--seeds: expected a number, or two as in 1..20, found \"%s\"",
                                text);
    *ret_first = first;
    *ret_last = last;
    return 0;
}

static int parse (options_t *options, simulation_options_t *simulation, uint64_t *ret_first,
                  uint64_t *ret_last, nexus_error_t *error)
{
    uint64_t masters, workers, jobs, seconds;
    if (parse_seeds (options_text (options, "seeds"), ret_first, ret_last, error) ||
        options_number (options, "masters", 1, 7, &masters, error) ||
        options_number (options, "workers", 1, 32, &workers, error) ||
        options_number (options, "jobs", 1, 200, &jobs, error) ||
        options_number (options, "seconds", 1, 86400, &seconds, error))
        return -1;
    *simulation = (simulation_options_t){.masters = (unsigned)masters,
                                         .workers = (unsigned)workers,
                                         .jobs = (unsigned)jobs,
                                         .profile = options_text (options, "profile"),
                                         .wrong_clocks = options_flag (options, "clocks"),
                                         .faults_ms = (int64_t)seconds * 1000};
    const char *trace = options_text (options, "trace");
    if (!trace)
        return 0;
    if (*ret_first != *ret_last)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--trace: a trace is of one seed; say which with --seeds N");
    simulation->trace = fopen (trace, "we");
    if (!simulation->trace)
        return nexus_error_set (error, NEXUS_IO, "--trace: can't write %s: %s", trace,
                                strerror (errno));
    return 0;
}

static void print_seed (uint64_t seed, const simulation_report_t *report, const char *fault)
{
    if (fault)
        printf ("%s\n  ", fault); /* names the seed */
    else
        printf ("seed %" PRIu64 ": ok, ", seed);
    printf ("%" PRIu64 " steps, %" PRId64 " virtual ms, term %" PRIu64 ", %" PRIu64
            " log entries, %" PRIu64 " restarts, %" PRIu64 " processes, %" PRIu64
            " jobs succeeded, %" PRIu64 " cancelled, digest %016" PRIx64 "\n",
            report->steps, report->virtual_ms, report->terms, report->entries, report->restarts,
            report->processes, report->jobs_succeeded, report->jobs_cancelled, report->digest);
    fflush (stdout);
}

static int run_simulate (options_t *options)
{
    nexus_error_t error = {0};
    simulation_options_t simulation = {0};
    uint64_t first = 0, last = 0, failed = 0, steps = 0, restarts = 0, jobs = 0;
    if (parse (options, &simulation, &first, &last, &error))
        return command_fail (&error);
    for (uint64_t seed = first; seed <= last; seed++) {
        simulation_report_t report = {0};
        simulation.seed = seed;
        int rc = simulation_run (&simulation, &report, &error);
        if (rc && report.steps == 0)
            return command_fail (&error); /* it did not even begin */
        failed += rc != 0;
        steps += report.steps;
        restarts += report.restarts;
        jobs += report.jobs_succeeded + report.jobs_cancelled;
        if (rc || options_flag (options, "verbose"))
            print_seed (seed, &report, rc ? error.text : NULL);
    }
    printf ("%" PRIu64 " seeds: %" PRIu64 " failed; %" PRIu64 " steps, %" PRIu64
            " restarts, %" PRIu64 " jobs ended\n",
            last - first + 1, failed, steps, restarts, jobs);
    if (simulation.trace && fclose (simulation.trace)) {
        nexus_error_set (&error, NEXUS_IO, "--trace: can't write %s: %s",
                         options_text (options, "trace"), strerror (errno));
        return command_fail (&error);
    }
    return failed ? 1 : 0;
}

const command_t command_simulate = {
    "simulate",
    "",
    "Run whole clusters over virtual time, with faults",
    "Each seed is a cluster of its own: masters and workers of the real actors, in\n"
    "one thread, on a network and disks that fail as the profile says. Clients\n"
    "submit and cancel jobs. In the end everything is healed, and all jobs have to\n"
    "end on all masters. A seed that fails is named with the reason and gives the\n"
    "same history each time: run it alone with --seeds N --trace FILE.\n"
    "Exit code: 0 if no seed failed, else 1.",
    simulate_options,
    0,
    0,
    run_simulate,
};
