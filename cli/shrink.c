/*  shrink - smaller simulations that fail in the same way: see the header */
#include "cli/shrink.h"

#include "actors/simulation/fault_kinds.h"
#include "actors/simulation/seeds.h"
#include "runtime/planted.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEEDS = 16, SECONDS_MAX = 30, SHAPE_MAX = 48, LINES_MAX = 40, LINE_MAX = 8192 };

typedef struct {
    masters_options_t options; /* under trial */
    char shape[SHAPE_MAX];     /* what has to break; "": anything */
    bool found;
    uint64_t seed, steps;
    char text[500];
} trial_t;

/*  What broke, without where, when and whose numbers. */
static void find_shape (const char *text, char shape[SHAPE_MAX])
{
    const char *colon = strstr (text, " s: ");
    size_t size = 0;
    if (strstr (text, "step ") && colon)
        text = colon + 4;
    if (strncmp (text, "not ", 4) != 0)
        colon = NULL;
    else
        colon = strchr (text, ':');
    for (; *text && *text != '\n' && text != colon && size < SHAPE_MAX - 1; text++) {
        bool digit = *text >= '0' && *text <= '9';
        if (digit && size && shape[size - 1] == '#')
            continue;
        shape[size++] = digit ? '#' : *text;
    }
    shape[size] = 0;
}

static int run (void *context, uint64_t seed, void *report, nexus_error_t *error)
{
    masters_options_t options = ((const trial_t *)context)->options;
    options.seed = seed;
    return masters_run (&options, report, error);
}

static void ended (void *context, uint64_t seed, const void *report, const char *error)
{
    trial_t *self = context;
    char shape[SHAPE_MAX];
    if (!error)
        return;
    find_shape (error, shape);
    if ((*self->shape && strcmp (shape, self->shape) != 0) || (self->found && self->seed < seed))
        return;
    self->found = true;
    self->seed = seed;
    self->steps = ((const masters_report_t *)report)->steps;
    snprintf (self->text, sizeof self->text, "%s", error);
}

static void run_seeds (trial_t *self, uint64_t first, uint64_t last)
{
    seeds_t seeds = {.first = first,
                     .last = last,
                     .report_size = sizeof (masters_report_t),
                     .until_failed = true,
                     .run = run,
                     .ended = ended,
                     .context = self};
    self->found = false;
    seeds_run (&seeds, NULL);
}

/*  Does it fail like that too? Then it takes the old one's place. */
static bool try_smaller (trial_t *best, const masters_options_t *options)
{
    trial_t trial = *best;
    trial.options = *options;
    run_seeds (&trial, options->seed, options->seed);
    if (!trial.found)
        run_seeds (&trial, 1, SEEDS);
    if (!trial.found)
        return false;
    trial.options.seed = trial.seed;
    /* What comes after it broke is not needed; unless it is the end that breaks. */
    if (trial.steps && trial.steps < trial.options.steps)
        trial.options.steps = trial.steps;
    *best = trial;
    return true;
}

static bool is_over (const struct timespec *begin)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return now.tv_sec - begin->tv_sec >= SECONDS_MAX;
}

masters_options_t shrink_masters (const masters_options_t *failed, const char *text)
{
    trial_t best = {.options = *failed};
    struct timespec begin;
    clock_gettime (CLOCK_MONOTONIC, &begin);
    find_shape (text, best.shape);
    best.options.trace = NULL;
    for (unsigned kind = 0; kind < fault_kinds_count && !is_over (&begin); kind++) {
        masters_options_t smaller = best.options;
        smaller.without |= UINT64_C (1) << kind;
        if (smaller.without != best.options.without)
            try_smaller (&best, &smaller);
    }
    for (bool again = true; again && best.options.masters > 2 && !is_over (&begin);) {
        masters_options_t smaller = best.options;
        smaller.masters--;
        again = try_smaller (&best, &smaller);
    }
    for (unsigned clients = 1; clients <= 2 && !is_over (&begin); clients++) {
        masters_options_t smaller = best.options;
        smaller.clients = clients;
        if (try_smaller (&best, &smaller))
            break;
    }
    for (bool again = true; again && best.options.steps > 50 && !is_over (&begin);) {
        masters_options_t smaller = best.options;
        smaller.steps = smaller.steps * 2 / 3;
        again = try_smaller (&best, &smaller);
    }
    return best.options;
}

void shrink_print_command (const masters_options_t *options)
{
    printf ("nexus simulate --seeds %" PRIu64 " --masters %u --profile %s --steps %" PRIu64,
            options->seed, options->masters, options->profile, options->steps);
    if (planted_name ())
        printf (" --plant %s", planted_name ());
    if (options->clients)
        printf (" --clients %u", options->clients);
    if (options->without) {
        buffer_t kinds = {0};
        fault_kinds_print (options->without, &kinds);
        printf (" --without %.*s", (int)kinds.size, (const char *)kinds.data);
        buffer_free (&kinds);
    }
}

/*  ---- what led to it ---------------------------------------------------------------------- */

typedef struct {
    char node[16];
    char state[160]; /* of its election: role, term, vote, leader, commit */
} seen_t;

/*  Of "step time node actor ... | role tN vote= leader= last= durable= commit= applied=", what
    tells of elections and commits; false: the line has nothing of it. */
static bool find_state (const char *line, char node[16], char state[160])
{
    char role[24], term[24], vote[24], leader[24], last[48], durable[32], commit[32];
    const char *bar = strstr (line, " | ");
    if (!bar || sscanf (line, "%*s %*s %15s", node) != 1 ||
        sscanf (bar, " | %23s %23s %23s %23s %47s %31s %31s", role, term, vote, leader, last,
                durable, commit) != 7)
        return false;
    snprintf (state, 160, "%s %s %s %s %s", role, term, vote, leader, commit);
    return true;
}

/*  Whether the line shows another state than that node's line before. */
static bool is_news (seen_t *seen, size_t count, const char *line, char text[256])
{
    char node[16], state[160];
    double time_s = 0;
    if (!find_state (line, node, state) || sscanf (line, "%*s %lf", &time_s) != 1)
        return false;
    size_t i = 0;
    while (i < count - 1 && *seen[i].node && strcmp (seen[i].node, node) != 0)
        i++;
    bool news = strcmp (seen[i].state, state) != 0;
    memcpy (seen[i].node, node, sizeof node);
    memcpy (seen[i].state, state, sizeof state);
    if (news)
        snprintf (text, 256, "%.6f %s %s", time_s, node, state);
    return news;
}

static void print_trace (FILE *trace)
{
    seen_t seen[64] = {0};
    char (*lines)[256] = calloc (LINES_MAX, sizeof *lines), *line = malloc (LINE_MAX);
    size_t count = 0;
    if (lines && line) {
        rewind (trace);
        while (fgets (line, LINE_MAX, trace))
            if (is_news (seen, 64, line, lines[count % LINES_MAX]))
                count++;
        for (size_t i = count > LINES_MAX ? count - LINES_MAX : 0; i < count; i++)
            printf ("    %s\n", lines[i % LINES_MAX]);
    }
    free (lines);
    free (line);
}

void shrink_print (const masters_options_t *options)
{
    FILE *trace = tmpfile ();
    trial_t trial = {.options = *options};
    if (trace) {
        setvbuf (trace, NULL, _IOLBF, 1 << 16); /* a process that dies leaves what it wrote */
        trial.options.trace = trace;
    }
    run_seeds (&trial, options->seed, options->seed);
    printf ("smaller: ");
    shrink_print_command (options);
    printf (": %s\n", trial.found ? trial.text : "it fails no more");
    if (trace) {
        printf ("  what the elections did until then (all of it: --trace FILE):\n");
        print_trace (trace);
        fclose (trace);
    }
}
