/*  Consensus beside etcd: three masters and three members of Debian's etcd on this machine, in one
    run, in turns; both with their programs' defaults, each on the same disk, which both flush.

    usage: consensus_bench [--json] [--quick] [--only STORE] [--dir DIR] ...; --help says more

    Commits and linearizable reads a second and their latency, with 1 to 1,024 in flight; the time
   from kill -9 of the leader to the next acknowledged write, and whether all that was acknowledged
    is there afterwards; how long a member takes to serve again after a restart with many entries
    in the log; memory; flushes of the disk. Masters are spoken to over CURVE as a worker does,
    etcd in gRPC over HTTP/2, plain unless --tls is given. Of several rounds the median counts. */
#include "tests/bench/consensus/cluster.h"
#include "tests/bench/consensus/report.h"
#include "tests/bench/consensus/usage.h"

#include "cli/options.h"
#include "runtime/clock.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    KEYS = 10000, /* that the puts of the loads are drawn from */
    WARMUP_MS = 300,
    FAILOVER_FLIGHT = 8,
    FAILOVER_KEYS = 60000, /* at most so many writes a kill */
    FILL_FLIGHT = 1024,
    TMPFS = 0x01021994
};

static const option_t options_table[] = {
    {"json", 'j', NULL, .doc = "One JSON object instead of tables."},
    {"quick", 'q', NULL,
     .doc = "About a minute: fewer and shorter rounds, a tenth of the entries."},
    {"only", 0, "STORE", .doc = "nexus or etcd: the other one is left out."},
    {"tls", 0, NULL,
     .doc =
         "etcd with mutual TLS, among its members and with the load: as guarded as masters are."},
    {"phases", 0, "NAMES", .def = "writes,reads,failover,restart", .doc = "What to measure."},
    {"flights", 0, "NUMBERS", .def = "1,16,64,256,1024", .doc = "Operations in flight."},
    {"rounds", 0, "N", .doc = "Rounds of each load; default 3."},
    {"seconds", 0, "S", .doc = "A load's measured time in each round; default 1.5."},
    {"kills", 0, "N", .doc = "Leaders to kill of each store; default 20."},
    {"entries", 0, "N", .doc = "Writes before the restarts; default 1000000."},
    {"dir", 0, "DIR", .def = "build/consensus-bench",
     .doc = "For the data: made, and removed; on a disk."},
    {"program", 0, "FILE", .doc = "The nexus command; default: the one of this build."},
    {"hold", 0, NULL, .doc = "Keep the members running at the end until Return is pressed."},
    {0},
};

typedef enum { PHASE_WRITES, PHASE_READS, PHASE_FAILOVER, PHASE_RESTART, PHASES } phase_t;
static const char *const phase_names[PHASES] = {"writes", "reads", "failover", "restart"};

/*  Names with commas between them. */
static int parse_phases (const char *text, bool ret_wanted[PHASES], nexus_error_t *error)
{
    for (size_t size; *text; text += size + (text[size] == ',')) {
        size = strcspn (text, ",");
        size_t i = 0;
        while (i < PHASES &&
               (strlen (phase_names[i]) != size || strncmp (phase_names[i], text, size) != 0))
            i++;
        if (i == PHASES)
            return nexus_error_set (
                error, NEXUS_INVALID,
                "--phases: \"%.*s\" is none of writes, reads, failover, restart", (int)size, text);
        ret_wanted[i] = true;
    }
    return 0;
}

typedef struct {
    options_t *options;
    char dir[PATH_MAX];
    const char *program;
    cluster_t *clusters[STORES];
    report_t *report;
    uint64_t rounds, kills, entries;
    double seconds;
    bool phases[PHASES];
    load_result_t *result; /* shared with the generators */
    uint8_t *acknowledged;
    uint64_t seed;
} bench_t;

static void say (const char *format, ...) __attribute__ ((format (printf, 1, 2)));
static void say (const char *format, ...)
{
    va_list args;
    va_start (args, format);
    vfprintf (stderr, format, args);
    va_end (args);
}

/*  ---- loads ---------------------------------------------------------------------------- */

static double members_cpu (const cluster_t *cluster)
{
    double seconds = 0;
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++) {
        usage_process_t usage;
        usage_process (cluster_pid (cluster, i), &usage);
        seconds += usage.cpu_seconds;
    }
    return seconds;
}

/*  One store's turn: a load, at its leader. */
static int take_turn (bench_t *self, unsigned store, load_op_t op, unsigned flight,
                      report_sample_t *sample, nexus_error_t *error)
{
    cluster_t *cluster = self->clusters[store];
    int leader = cluster_leader (cluster, error);
    if (leader < 0)
        return -1;
    load_config_t config = {.op = op,
                            .flight = flight,
                            .members = CLUSTER_MEMBERS,
                            .member = (unsigned)leader,
                            .space = 'k',
                            .keys = KEYS,
                            .verify = op == LOAD_GET,
                            .warmup_ms = WARMUP_MS,
                            .measure_ms = (int64_t)(self->seconds * 1000),
                            .seed = ++self->seed};
    usage_disk_t before = {0}, after = {0};
    double cpu = members_cpu (cluster);
    usage_disk (self->dir, &before);
    if (cluster_load (cluster, &config, self->result, error))
        return -1;
    usage_disk (self->dir, &after);
    const load_result_t *result = self->result;
    if (result->wrong || result->failed)
        say ("%s: %llu wrong answers, %llu failed\n", cluster_name (cluster),
             (unsigned long long)result->wrong, (unsigned long long)result->failed);
    double total = (double)result->total;
    *sample = (report_sample_t){
        .rate = (double)result->done * 1e9 / (double)result->measured_ns,
        .p50_ns = histogram_quantile (&result->latency_ns, 0.5),
        .p99_ns = histogram_quantile (&result->latency_ns, 0.99),
        .flushes = (double)(after.flushes - before.flushes) / total,
        .bytes = (double)(after.bytes - before.bytes) / total,
        .cpu_us = (members_cpu (cluster) - cpu) * 1e6 / total,
        .wrong = result->wrong,
    };
    return 0;
}

static int measure_level (bench_t *self, load_op_t op, unsigned flight, nexus_error_t *error)
{
    for (uint64_t round = 0; round < self->rounds; round++)
        for (unsigned i = 0; i < STORES; i++) {
            /* Who comes first in one round comes second in the next. */
            unsigned store = (i + (unsigned)round) % STORES;
            report_sample_t sample;
            if (!self->clusters[store])
                continue;
            if (take_turn (self, store, op, flight, &sample, error))
                return -1;
            report_load (self->report, op, flight, store, &sample);
        }
    report_level_done (self->report, op, flight);
    return 0;
}

/*  All keys are there before reads are measured. */
static int fill_keys (bench_t *self, char space, uint64_t count, nexus_error_t *error)
{
    for (unsigned store = 0; store < STORES; store++) {
        cluster_t *cluster = self->clusters[store];
        if (!cluster)
            continue;
        int leader = cluster_leader (cluster, error);
        load_config_t config = {.op = LOAD_PUT,
                                .flight = FILL_FLIGHT,
                                .members = CLUSTER_MEMBERS,
                                .member = (unsigned)leader,
                                .space = space,
                                .keys = count,
                                .ascending = true};
        if (leader < 0 || cluster_load (cluster, &config, self->result, error))
            return -1;
    }
    return 0;
}

static int measure_loads (bench_t *self, load_op_t op, nexus_error_t *error)
{
    if (op == LOAD_GET && fill_keys (self, 'k', KEYS, error))
        return -1;
    const char *at = options_text (self->options, "flights");
    while (*at) {
        char *end;
        unsigned long flight = strtoul (at, &end, 10);
        if (end == at || !flight || flight > LOAD_FLIGHT_MAX)
            return nexus_error_set (error, NEXUS_INVALID, "--flights: expected numbers up to %d",
                                    LOAD_FLIGHT_MAX);
        say ("%s, %lu in flight\n", op == LOAD_PUT ? "writes" : "reads", flight);
        if (measure_level (self, op, (unsigned)flight, error))
            return -1;
        at = *end == ',' ? end + 1 : end;
    }
    return 0;
}

/*  ---- failover --------------------------------------------------------------------------- */

/*  Reads back all that was acknowledged; what is not there, or is another value, is lost. */
static int count_lost (bench_t *self, cluster_t *cluster, uint64_t first, uint64_t *ret_lost,
                       uint64_t *ret_checked, nexus_error_t *error)
{
    int leader = cluster_leader (cluster, error);
    load_config_t config = {.op = LOAD_GET,
                            .flight = 64,
                            .members = CLUSTER_MEMBERS,
                            .member = (unsigned)leader,
                            .space = 'f',
                            .first = first,
                            .keys = FAILOVER_KEYS,
                            .ascending = true,
                            .verify = true,
                            .acknowledged = self->acknowledged};
    if (leader < 0 || cluster_load (cluster, &config, self->result, error))
        return -1;
    *ret_lost = self->result->wrong;
    *ret_checked = self->result->total;
    return 0;
}

static int kill_leader (bench_t *self, unsigned store, uint64_t number, nexus_error_t *error)
{
    cluster_t *cluster = self->clusters[store];
    uint64_t first = number * FAILOVER_KEYS, lost, checked;
    int leader = cluster_leader (cluster, error);
    if (leader < 0)
        return -1;
    memset (self->acknowledged, 0, FAILOVER_KEYS);
    load_config_t config = {.op = LOAD_PUT,
                            .flight = FAILOVER_FLIGHT,
                            .members = CLUSTER_MEMBERS,
                            .member = (unsigned)leader,
                            .space = 'f',
                            .first = first,
                            .keys = FAILOVER_KEYS,
                            .ascending = true,
                            .kill_after_ms = 500,
                            .acknowledged = self->acknowledged,
                            .settle_ms = 200,
                            .retry_ms = 20,
                            .kill = cluster_pid (cluster, (unsigned)leader)};
    int rc = cluster_load (cluster, &config, self->result, error);
    int64_t gap_ns = self->result->gap_ns;
    cluster_kill (cluster, (unsigned)leader);
    if (!rc && !gap_ns)
        rc = nexus_error_set (error, NEXUS_UNAVAILABLE,
                              "%s: no write was acknowledged after the kill",
                              cluster_name (cluster));
    rc = rc || count_lost (self, cluster, first, &lost, &checked, error) ||
         cluster_start (cluster, (unsigned)leader, error);
    if (rc)
        return -1;
    report_failover (self->report, store, gap_ns, checked, lost);
    usleep (1500000); /* the restarted one catches up */
    return 0;
}

static int measure_failover (bench_t *self, nexus_error_t *error)
{
    for (uint64_t number = 0; number < self->kills; number++) {
        say ("\rkill %llu of %llu", (unsigned long long)number + 1,
             (unsigned long long)self->kills);
        for (unsigned store = 0; store < STORES; store++)
            if (self->clusters[store] && kill_leader (self, store, number, error))
                return -1;
    }
    say ("\n");
    return 0;
}

/*  ---- restart ----------------------------------------------------------------------------- */

/*  Kills a follower, starts it again, and asks it until it answers a linearizable read. */
static int restart_member (bench_t *self, unsigned store, nexus_error_t *error)
{
    cluster_t *cluster = self->clusters[store];
    int leader = cluster_leader (cluster, error);
    if (leader < 0)
        return -1;
    unsigned member = ((unsigned)leader + 1) % CLUSTER_MEMBERS;
    cluster_kill (cluster, member);
    usleep (200000);
    load_config_t config = {.op = LOAD_GET,
                            .flight = 1,
                            .members = CLUSTER_MEMBERS,
                            .member = member,
                            .only = true,
                            .space = 'k',
                            .keys = 1,
                            .ascending = true,
                            .verify = true,
                            .retry_ms = 20};
    int64_t began_ns = clock_now_ns ();
    if (cluster_start (cluster, member, error) ||
        cluster_load (cluster, &config, self->result, error))
        return -1;
    report_restart (self->report, store, self->result->last_ns - began_ns);
    usleep (500000);
    return 0;
}

static int measure_restart (bench_t *self, nexus_error_t *error)
{
    say ("%llu writes\n", (unsigned long long)self->entries);
    if (fill_keys (self, 'k', KEYS, error))
        return -1;
    for (uint64_t done = 0; done < self->entries; done += 100000)
        if (fill_keys (self, 'm', 100000, error))
            return -1;
    for (unsigned i = 0; i < 5; i++)
        for (unsigned store = 0; store < STORES; store++)
            if (self->clusters[store] && restart_member (self, store, error))
                return -1;
    return 0;
}

static void measure_memory (bench_t *self, const char *when)
{
    for (unsigned store = 0; store < STORES; store++)
        for (unsigned i = 0; self->clusters[store] && i < CLUSTER_MEMBERS; i++) {
            usage_process_t usage;
            usage_process (cluster_pid (self->clusters[store], i), &usage);
            report_memory (self->report, store, when, usage.resident, usage.anonymous);
        }
}

/*  ---- the whole ------------------------------------------------------------------------------ */

static int prepare_dir (bench_t *self, nexus_error_t *error)
{
    const char *dir = options_text (self->options, "dir");
    struct statfs fs;
    if (mkdir (dir, 0700))
        return nexus_error_set (error, NEXUS_IO, "--dir %s: %s", dir, strerror (errno));
    if (!realpath (dir, self->dir) || statfs (self->dir, &fs))
        return nexus_error_set (error, NEXUS_IO, "%s: %s", dir, strerror (errno));
    if (fs.f_type == TMPFS)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--dir %s: that is in memory; flushes would cost nothing", dir);
    return 0;
}

static int prepare (bench_t *self, nexus_error_t *error)
{
    options_t *options = self->options;
    bool quick = options_flag (options, "quick");
    options_fill (options, "rounds", quick ? "1" : "3");
    options_fill (options, "seconds", quick ? "0.8" : "1.5");
    options_fill (options, "kills", quick ? "5" : "20");
    options_fill (options, "entries", quick ? "100000" : "1000000");
    self->seconds = strtod (options_text (options, "seconds"), NULL);
    self->program = options_text (options, "program");
    if (self->seconds <= 0 || self->seconds > 60)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--seconds: expected more than 0, at most 60");
    if (options_number (options, "rounds", 1, 100, &self->rounds, error) ||
        options_number (options, "kills", 0, 1000, &self->kills, error) ||
        options_number (options, "entries", 0, 100000000, &self->entries, error) ||
        parse_phases (options_text (options, "phases"), self->phases, error) ||
        prepare_dir (self, error))
        return -1;
    const store_t *const stores[STORES] = {
        &nexus_store, options_flag (options, "tls") ? &etcd_tls_store : &etcd_store};
    const char *only = options_text (options, "only");
    if (only && strcmp (only, nexus_store.name) && strcmp (only, etcd_store.name))
        return nexus_error_set (error, NEXUS_INVALID, "--only: expected %s or %s, not \"%s\"",
                                nexus_store.name, etcd_store.name, only);
    for (unsigned i = 0; i < STORES; i++) {
        if (only && strcmp (only, stores[i]->name))
            continue;
        self->clusters[i] = cluster_new (stores[i], self->dir, self->program, error);
        if (!self->clusters[i])
            return -1;
    }
    return 0;
}

static int run (bench_t *self, nexus_error_t *error)
{
    if (self->phases[PHASE_WRITES] && measure_loads (self, LOAD_PUT, error))
        return -1;
    if (self->phases[PHASE_READS] && measure_loads (self, LOAD_GET, error))
        return -1;
    measure_memory (self, "after the loads");
    if (self->phases[PHASE_FAILOVER] && measure_failover (self, error))
        return -1;
    if (self->phases[PHASE_RESTART]) {
        if (measure_restart (self, error))
            return -1;
        measure_memory (self, "at the end");
    }
    return 0;
}

static void remove_dir (const char *dir)
{
    char command[PATH_MAX + 16];
    if (!*dir || strchr (dir, '\''))
        return;
    snprintf (command, sizeof (command), "rm -rf '%s'", dir);
    if (system (command))
        say ("can't remove %s\n", dir);
}

int main (int argc, char **argv)
{
    nexus_error_t error;
    bench_t self = {.options = options_parse (options_table, argc - 1, argv + 1, &error)};
    if (!self.options) {
        say ("consensus_bench: %s\n", error.text);
        return 64;
    }
    if (options_help (self.options)) {
        for (const option_t *option = options_table; option->name; option++)
            printf ("  --%-9s %-8s %s\n", option->name, option->argument ? option->argument : "",
                    option->doc);
        options_destroy (&self.options);
        return 0;
    }
    self.result = cluster_shared (sizeof (*self.result));
    self.acknowledged = cluster_shared (FAILOVER_KEYS);
    self.report = report_new (options_flag (self.options, "json"));
    int rc = prepare (&self, &error) ? 64 : run (&self, &error) ? 1 : 0;
    if (options_flag (self.options, "hold")) {
        say ("Return ends it\n");
        (void)getchar ();
    }
    for (unsigned i = 0; i < STORES; i++)
        cluster_destroy (&self.clusters[i]);
    if (rc == 64)
        say ("consensus_bench: %s\n", error.text);
    else if (rc)
        say ("consensus_bench: %s (its data stays in %s)\n", error.text, self.dir);
    else {
        report_print (self.report);
        remove_dir (self.dir);
    }
    report_destroy (&self.report);
    options_destroy (&self.options);
    return rc;
}
