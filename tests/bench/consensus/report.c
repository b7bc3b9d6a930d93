/*  report - the bench's figures, side by side */
#include "tests/bench/consensus/report.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS_MAX = 32, SAMPLES_MAX = 128, KILLS_MAX = 1024, MEMORY_MAX = 4 };

typedef struct {
    load_op_t op;
    unsigned flight;
    report_sample_t samples[STORES][SAMPLES_MAX];
    size_t counts[STORES];
} level_t;

typedef struct {
    const char *when;
    uint64_t resident[STORES], anonymous[STORES]; /* of the member that has most */
} memory_t;

typedef struct {
    double ms[KILLS_MAX];
    size_t count;
} times_t;

struct report {
    bool json;
    level_t levels[LEVELS_MAX];
    size_t levels_count;
    times_t failovers[STORES], restarts[STORES];
    uint64_t checked[STORES], lost[STORES];
    memory_t memory[MEMORY_MAX];
    size_t memory_count;
};

static const char *const store_names[STORES] = {"nexus", "etcd"};

report_t *report_new (bool json)
{
    report_t *self = calloc (1, sizeof (*self));
    assert (self);
    self->json = json;
    return self;
}

void report_destroy (report_t **self_p)
{
    free (*self_p);
    *self_p = NULL;
}

/*  ---- taking ------------------------------------------------------------------------------ */

static level_t *level_of (report_t *self, load_op_t op, unsigned flight)
{
    for (size_t i = 0; i < self->levels_count; i++)
        if (self->levels[i].op == op && self->levels[i].flight == flight)
            return &self->levels[i];
    assert (self->levels_count < LEVELS_MAX);
    level_t *level = &self->levels[self->levels_count++];
    level->op = op;
    level->flight = flight;
    return level;
}

void report_load (report_t *self, load_op_t op, unsigned flight, unsigned store,
                  const report_sample_t *sample)
{
    level_t *level = level_of (self, op, flight);
    if (level->counts[store] < SAMPLES_MAX)
        level->samples[store][level->counts[store]++] = *sample;
}

static void add_time (times_t *times, int64_t ns)
{
    if (times->count < KILLS_MAX)
        times->ms[times->count++] = (double)ns * 1e-6;
}

void report_failover (report_t *self, unsigned store, int64_t gap_ns, uint64_t checked,
                      uint64_t lost)
{
    add_time (&self->failovers[store], gap_ns);
    self->checked[store] += checked;
    self->lost[store] += lost;
}

void report_restart (report_t *self, unsigned store, int64_t took_ns)
{
    add_time (&self->restarts[store], took_ns);
}

void report_memory (report_t *self, unsigned store, const char *when, uint64_t resident,
                    uint64_t anonymous)
{
    size_t i = 0;
    while (i < self->memory_count && strcmp (self->memory[i].when, when))
        i++;
    if (i == MEMORY_MAX)
        return;
    if (i == self->memory_count)
        self->memory[self->memory_count++].when = when;
    if (resident > self->memory[i].resident[store])
        self->memory[i].resident[store] = resident;
    if (anonymous > self->memory[i].anonymous[store])
        self->memory[i].anonymous[store] = anonymous;
}

/*  ---- medians ------------------------------------------------------------------------------ */

static int compare (const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/*  0 if there are none. */
static double quantile (const double *values, size_t count, double share)
{
    double sorted[KILLS_MAX];
    if (!count)
        return 0;
    memcpy (sorted, values, count * sizeof (double));
    qsort (sorted, count, sizeof (double), compare);
    double place = share * (double)(count - 1);
    size_t low = (size_t)place, high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (place - (double)low) * (sorted[high] - sorted[low]);
}

enum { RATE, P50, P99, FLUSHES, BYTES, CPU, FIGURES };

static void figures_of (const level_t *level, unsigned store, double figures[FIGURES])
{
    double values[FIGURES][SAMPLES_MAX];
    size_t count = level->counts[store];
    for (size_t i = 0; i < count; i++) {
        const report_sample_t *sample = &level->samples[store][i];
        values[RATE][i] = sample->rate;
        values[P50][i] = (double)sample->p50_ns * 1e-3;
        values[P99][i] = (double)sample->p99_ns * 1e-3;
        values[FLUSHES][i] = sample->flushes;
        values[BYTES][i] = sample->bytes;
        values[CPU][i] = sample->cpu_us;
    }
    for (int i = 0; i < FIGURES; i++)
        figures[i] = quantile (values[i], count, 0.5);
}

static double ratio (double a, double b)
{
    return b > 0 ? a / b : 0;
}

/*  ---- tables -------------------------------------------------------------------------------- */

static void print_level (FILE *out, const level_t *level)
{
    double f[STORES][FIGURES];
    for (unsigned store = 0; store < STORES; store++)
        figures_of (level, store, f[store]);
    fprintf (out, "%-6s %5u", level->op == LOAD_PUT ? "write" : "read", level->flight);
    for (unsigned store = 0; store < STORES; store++)
        fprintf (out, " | %8.0f %7.0f %8.0f %5.2f %6.0f", f[store][RATE], f[store][P50],
                 f[store][P99], f[store][FLUSHES], f[store][CPU]);
    fprintf (out, " | %6.2f %6.2f %6.2f\n", ratio (f[NEXUS][RATE], f[ETCD][RATE]),
             ratio (f[NEXUS][P50], f[ETCD][P50]), ratio (f[NEXUS][P99], f[ETCD][P99]));
}

void report_level_done (report_t *self, load_op_t op, unsigned flight)
{
    print_level (stderr, level_of (self, op, flight));
}

static void print_times (const char *what, const times_t *times)
{
    double f[STORES][3];
    if (!times[NEXUS].count && !times[ETCD].count)
        return;
    static const double shares[3] = {0, 0.5, 1};
    for (unsigned store = 0; store < STORES; store++)
        for (int i = 0; i < 3; i++)
            f[store][i] = quantile (times[store].ms, times[store].count, shares[i]);
    printf ("%-34s", what);
    for (unsigned store = 0; store < STORES; store++)
        printf (" | %8.0f %8.0f %8.0f", f[store][0], f[store][1], f[store][2]);
    printf (" | %6.2f\n", ratio (f[NEXUS][1], f[ETCD][1]));
}

static void print_tables (const report_t *self)
{
    if (self->levels_count) {
        printf ("%-12s | %-38s | %-38s | nexus / etcd\n", "", "nexus", "etcd");
        printf ("%-6s %5s", "", "in fl.");
        for (unsigned store = 0; store < STORES; store++)
            printf (" | %8s %7s %8s %5s %6s", "/s", "p50 us", "p99 us", "fl/op", "cpu us");
        printf (" | %6s %6s %6s\n", "/s", "p50", "p99");
    }
    for (size_t i = 0; i < self->levels_count; i++)
        print_level (stdout, &self->levels[i]);
    if (self->failovers[NEXUS].count || self->failovers[ETCD].count ||
        self->restarts[NEXUS].count || self->restarts[ETCD].count) {
        printf ("\n%-34s", "ms: least, median, most");
        for (unsigned store = 0; store < STORES; store++)
            printf (" | %-26s", store_names[store]);
        puts (" | ratio of medians");
    }
    print_times ("kill -9 of the leader to a write", self->failovers);
    print_times ("restart to a linearizable read", self->restarts);
    for (unsigned store = 0; store < STORES; store++)
        if (self->failovers[store].count)
            printf ("%s: %zu kills, %llu acknowledged writes read back, %llu lost\n",
                    store_names[store], self->failovers[store].count,
                    (unsigned long long)self->checked[store],
                    (unsigned long long)self->lost[store]);
    for (size_t i = 0; i < self->memory_count; i++) {
        const memory_t *memory = &self->memory[i];
        printf ("memory %s, MiB resident (anonymous): nexus %.0f (%.0f), etcd %.0f (%.0f)\n",
                memory->when, (double)memory->resident[NEXUS] / 1048576,
                (double)memory->anonymous[NEXUS] / 1048576,
                (double)memory->resident[ETCD] / 1048576,
                (double)memory->anonymous[ETCD] / 1048576);
    }
    if (self->levels_count)
        puts ("/s: a second; fl/op: flushes of the disk an operation, all members together; "
              "cpu: of all members, an operation");
}

/*  ---- JSON ------------------------------------------------------------------------------------
 */

static void print_json_times (const char *name, const times_t *times)
{
    printf (", \"%s_ms\": {", name);
    for (unsigned store = 0; store < STORES; store++) {
        printf ("%s\"%s\": [", store ? ", " : "", store_names[store]);
        for (size_t i = 0; i < times[store].count; i++)
            printf ("%s%.1f", i ? ", " : "", times[store].ms[i]);
        fputs ("]", stdout);
    }
    fputs ("}", stdout);
}

static void print_json (const report_t *self)
{
    fputs ("{\"loads\": [", stdout);
    for (size_t i = 0; i < self->levels_count; i++) {
        const level_t *level = &self->levels[i];
        printf ("%s{\"operation\": \"%s\", \"in_flight\": %u", i ? ", " : "",
                level->op == LOAD_PUT ? "write" : "read", level->flight);
        for (unsigned store = 0; store < STORES; store++) {
            double f[FIGURES];
            figures_of (level, store, f);
            if (level->counts[store])
                printf (", \"%s\": {\"per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
                        "\"flushes_per_operation\": %.4f, \"bytes_per_operation\": %.1f, "
                        "\"cpu_us_per_operation\": %.2f}",
                        store_names[store], f[RATE], f[P50], f[P99], f[FLUSHES], f[BYTES], f[CPU]);
        }
        fputs ("}", stdout);
    }
    fputs ("]", stdout);
    print_json_times ("failover", self->failovers);
    print_json_times ("restart", self->restarts);
    for (unsigned store = 0; store < STORES; store++)
        printf (", \"%s_acknowledged\": %llu, \"%s_lost\": %llu", store_names[store],
                (unsigned long long)self->checked[store], store_names[store],
                (unsigned long long)self->lost[store]);
    fputs (", \"memory_bytes\": [", stdout);
    for (size_t i = 0; i < self->memory_count; i++) {
        const memory_t *memory = &self->memory[i];
        printf ("%s{\"when\": \"%s\"", i ? ", " : "", memory->when);
        for (unsigned store = 0; store < STORES; store++)
            printf (", \"%s\": {\"resident\": %llu, \"anonymous\": %llu}", store_names[store],
                    (unsigned long long)memory->resident[store],
                    (unsigned long long)memory->anonymous[store]);
        fputs ("}", stdout);
    }
    puts ("]}");
}

void report_print (report_t *self)
{
    if (self->json)
        print_json (self);
    else
        print_tables (self);
}
