/*  simulate - nexus simulate: masters, or whole clusters, over virtual time, a seed each */
#include "actors/simulation/fault_kinds.h"
#include "actors/simulation/masters.h"
#include "actors/simulation/seeds.h"
#include "actors/simulation/simulation.h"
#include "cli/command.h"
#include "cli/shrink.h"
#include "runtime/planted.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const option_t simulate_options[] = {
    {"seeds", 's', "A..B", .def = "1..20", .doc = "The seeds to run, or a single one."},
    {"masters", 'm', "N", .doc = "Masters, 1 to 7; unless given 5, with workers 3."},
    {"profile", 'p', "NAME", .def = "swarm", .doc = "calm, lan, wan or swarm."},
    {"steps", 0, "N", .def = "20000", .doc = "Turns of actors with faults."},
    {"workers", 'w', "N", .def = "0",
     .doc = "Workers, up to 32, with jobs to run; 0: masters alone."},
    {"jobs", 'j', "N", .def = "8", .doc = "With workers: jobs to submit, 1 to 200."},
    {"seconds", 0, "N", .def = "60", .doc = "With workers: virtual seconds with faults."},
    {"clocks", 0, NULL, .doc = "With workers: wall clocks disagree and jump, as the profile says."},
    {"clients", 0, "N", .def = "0",
     .doc = "Without workers: clients that ask, up to 24; 0: as the seed says."},
    {"without", 0, "KINDS", .def = "",
     .doc = "Without workers: leave out kinds of faults: loss,crashes ..."},
    {"no-shrink", 0, NULL, .doc = "Don't look for a smaller simulation that fails likewise."},
    {"processes", 0, "N", .def = "0", .doc = "Seeds to run at once; 0: one for each core."},
    {"plant", 0, "BUG", .environment = {"NEXUS_PLANT"},
     .doc = "Switch on a planted bug; for builds with -DNEXUS_PLANTED_BUGS=ON."},
    {"trace", 't', "FILE", .doc = "Write all that happens; for a single seed."},
    {"verbose", 'v', NULL, .doc = "Say how each seed went."},
    {0},
};

typedef struct {
    uint64_t first, last, processes;
    bool verbose;
    bool whole; /* with workers: */
    simulation_options_t simulation;
    masters_options_t masters;
    FILE *trace;
    uint64_t failed, steps, restarts, jobs, done, undecided;
    uint64_t failed_seed; /* the first one */
    char failure[500];
} simulate_t;

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

static int open_trace (simulate_t *self, const char *path, nexus_error_t *error)
{
    if (!path)
        return 0;
    if (self->first != self->last)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--trace: a trace is of one seed; say which with --seeds N");
    self->trace = fopen (path, "we");
    if (!self->trace)
        return nexus_error_set (error, NEXUS_IO, "--trace: can't write %s: %s", path,
                                strerror (errno));
    return 0;
}

/*  Options of the other world would change nothing. */
static int check_world (options_t *options, bool whole, nexus_error_t *error)
{
    static const char *const of_workers[] = {"jobs", "seconds", "clocks"};
    for (size_t i = 0; i < sizeof of_workers / sizeof of_workers[0] && !whole; i++)
        if (options_source (options, of_workers[i]) > OPTION_DEFAULT)
            return nexus_error_set (error, NEXUS_INVALID,
                                    "--%s: there are no jobs without workers; say how many with "
                                    "--workers N",
                                    of_workers[i]);
    static const char *const of_masters[] = {"clients", "without"};
    for (size_t i = 0; i < sizeof of_masters / sizeof of_masters[0] && whole; i++)
        if (options_source (options, of_masters[i]) > OPTION_DEFAULT)
            return nexus_error_set (error, NEXUS_INVALID, "--%s: not with workers", of_masters[i]);
    if (whole && options_source (options, "steps") > OPTION_DEFAULT)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--steps: with workers, faults last for --seconds N");
    return 0;
}

static int parse (options_t *options, simulate_t *self, nexus_error_t *error)
{
    uint64_t masters = 0, workers, jobs, seconds, steps, clients, without;
    if (parse_seeds (options_text (options, "seeds"), &self->first, &self->last, error) ||
        (options_text (options, "masters") &&
         options_number (options, "masters", 1, MASTERS_MAX, &masters, error)) ||
        options_number (options, "workers", 0, 32, &workers, error) ||
        options_number (options, "jobs", 1, 200, &jobs, error) ||
        options_number (options, "seconds", 1, 86400, &seconds, error) ||
        options_number (options, "steps", 1, 1000000000, &steps, error) ||
        options_number (options, "clients", 0, MASTERS_ASKERS_MAX, &clients, error) ||
        fault_kinds_parse (options_text (options, "without"), &without, error) ||
        options_number (options, "processes", 0, 256, &self->processes, error) ||
        check_world (options, workers > 0, error) ||
        open_trace (self, options_text (options, "trace"), error))
        return -1;
    self->whole = workers > 0;
    self->verbose = options_flag (options, "verbose");
    const char *profile = options_text (options, "profile");
    self->simulation = (simulation_options_t){.masters = masters ? (unsigned)masters : 3,
                                              .workers = (unsigned)workers,
                                              .jobs = (unsigned)jobs,
                                              .profile = profile,
                                              .wrong_clocks = options_flag (options, "clocks"),
                                              .faults_ms = (int64_t)seconds * 1000,
                                              .trace = self->trace};
    self->masters = (masters_options_t){.masters = masters ? (unsigned)masters : 5,
                                        .profile = profile,
                                        .steps = steps,
                                        .clients = (unsigned)clients,
                                        .without = without,
                                        .trace = self->trace};
    return 0;
}

/*  ---- a history --------------------------------------------------------------------- */

static int run_cluster (void *context, uint64_t seed, void *report, nexus_error_t *error)
{
    simulation_options_t options = ((simulate_t *)context)->simulation;
    options.seed = seed;
    return simulation_run (&options, report, error);
}

static int run_masters (void *context, uint64_t seed, void *report, nexus_error_t *error)
{
    masters_options_t options = ((simulate_t *)context)->masters;
    options.seed = seed;
    return masters_run (&options, report, error);
}

/*  What runs it again, and what broke. */
static void print_failure (const simulate_t *self, uint64_t seed, const char *text)
{
    if (self->whole)
        printf ("nexus simulate --seeds %" PRIu64 " --masters %u --profile %s --workers %u --jobs "
                "%u --seconds %" PRId64 "%s: %s\n",
                seed, self->simulation.masters, self->simulation.profile, self->simulation.workers,
                self->simulation.jobs, self->simulation.faults_ms / 1000,
                self->simulation.wrong_clocks ? " --clocks" : "", text);
    else {
        masters_options_t options = self->masters;
        options.seed = seed;
        shrink_print_command (&options);
        printf (": %s\n", text);
    }
}

static void cluster_ended (void *context, uint64_t seed, const void *ended, const char *error)
{
    simulate_t *self = context;
    const simulation_report_t *report = ended;
    self->failed += error != NULL;
    self->steps += report->steps;
    self->restarts += report->restarts;
    self->jobs += report->jobs_succeeded + report->jobs_cancelled;
    if (error)
        print_failure (self, seed, error);
    if (self->verbose)
        printf ("seed %" PRIu64 ": %s, %" PRIu64 " steps, %" PRId64 " virtual ms, term %" PRIu64
                ", %" PRIu64 " log entries, %" PRIu64 " restarts, %" PRIu64 " processes, %" PRIu64
                " jobs succeeded, %" PRIu64 " cancelled, digest %016" PRIx64 "\n",
                seed, error ? "failed" : "ok", report->steps, report->virtual_ms, report->terms,
                report->entries, report->restarts, report->processes, report->jobs_succeeded,
                report->jobs_cancelled, report->digest);
    fflush (stdout);
}

static void masters_ended (void *context, uint64_t seed, const void *ended, const char *error)
{
    simulate_t *self = context;
    const masters_report_t *report = ended;
    self->failed += error != NULL;
    self->steps += report->steps;
    self->restarts += report->restarts;
    self->done += report->done;
    self->undecided += report->undecided;
    if (error) {
        print_failure (self, seed, error);
        if (!*self->failure) {
            self->failed_seed = seed;
            snprintf (self->failure, sizeof self->failure, "%s", error);
        }
    }
    if (self->verbose)
        printf ("seed %" PRIu64 ": %s, %" PRIu64 " steps, %" PRId64 " virtual ms, term %" PRIu64
                ", %" PRIu64 " log entries, %" PRIu64 " restarts, %" PRIu64
                " configurations, %" PRIu64 " copies fetched, %" PRIu64
                " entries altered, requests: %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64
                " unknown, digest %016" PRIx64 "\n",
                seed, error ? "failed" : "ok", report->steps, report->virtual_ms, report->terms,
                report->entries, report->restarts, report->changes, report->restored,
                report->rotten, report->done, report->refused, report->unknown, report->digest);
    fflush (stdout);
}

/*  ---- all ----------------------------------------------------------------------------- */

static void print_sum (const simulate_t *self)
{
    printf ("%" PRIu64 " seeds: %" PRIu64 " failed; %" PRIu64 " steps, %" PRIu64
            " restarts, %" PRIu64 " %s\n",
            self->last - self->first + 1, self->failed, self->steps, self->restarts,
            self->whole ? self->jobs : self->done, self->whole ? "jobs ended" : "requests done");
    if (self->undecided)
        printf ("of %" PRIu64 " histories nobody could say in time whether they are linearizable\n",
                self->undecided);
}

static void shrink (const simulate_t *self)
{
    masters_options_t failed = self->masters;
    failed.seed = self->failed_seed;
    masters_options_t smaller = shrink_masters (&failed, self->failure);
    shrink_print (&smaller);
}

static int run_simulate (options_t *options)
{
    nexus_error_t error = {0};
    simulate_t self = {0};
    if (planted_plant (options_text (options, "plant"), &error) || parse (options, &self, &error))
        return command_fail (&error);
    if (!simulator_profile (options_text (options, "profile"))) {
        nexus_error_set (&error, NEXUS_NOT_FOUND,
                         "--profile: there is no \"%s\"; try calm, lan, wan or swarm",
                         options_text (options, "profile"));
        return command_fail (&error);
    }
    seeds_t seeds = {.first = self.first,
                     .last = self.last,
                     .processes = self.trace ? 1 : (unsigned)self.processes,
                     .report_size =
                         self.whole ? sizeof (simulation_report_t) : sizeof (masters_report_t),
                     .run = self.whole ? run_cluster : run_masters,
                     .ended = self.whole ? cluster_ended : masters_ended,
                     .context = &self};
    if (seeds_run (&seeds, &error))
        return command_fail (&error);
    print_sum (&self);
    if (*self.failure && !options_flag (options, "no-shrink") && !self.trace)
        shrink (&self);
    if (self.trace && fclose (self.trace)) {
        nexus_error_set (&error, NEXUS_IO, "--trace: can't write %s: %s",
                         options_text (options, "trace"), strerror (errno));
        return command_fail (&error);
    }
    return self.failed ? 1 : 0;
}

const command_t command_simulate = {
    "simulate",
    "",
    "Try consensus, or whole clusters, over virtual time, with faults",
    "Each seed is a cluster of its own, of the actors that ship, in one thread, on a\n"
    "network and disks that fail as the profile says. Unless there are workers, it has\n"
    "masters and clients that write and read; after each step Raft's invariants are\n"
    "checked. With --workers, clients submit and cancel jobs, and in the end all jobs\n"
    "have to end on all masters. A seed that fails is named by the command that runs\n"
    "it again, with the reason; add --trace FILE to see each step. For\n"
    "the first one a smaller simulation is looked for that fails likewise.\n"
    "Exit code: 0 if no seed failed, else 1.",
    simulate_options,
    0,
    0,
    run_simulate,
};
