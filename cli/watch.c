/*  watch - a job's live block */
#include "cli/watch.h"

#include "cli/command.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_MS = 1000, SILENCE_MS = 60000, LINES = 5, LINE_SIZE = 400 };

/*  What was asked last. */
typedef struct {
    job_detail_t detail;
    metric_list_t metrics;
    cluster_status_t status;
    arena_t arena;
} picture_t;

typedef struct {
    char lines[LINES][LINE_SIZE];
    size_t count;
    char shown[LINE_SIZE];   /* without a terminal: the last line, to say nothing twice */
    size_t drawn;            /* on a terminal: lines to go back */
    uint64_t pushed, pulled; /* the most that was heard of: what has ended is forgotten */
} block_t;

static int64_t clock_ms (clockid_t clock)
{
    struct timespec now;
    clock_gettime (clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*  ---- asking ------------------------------------------------------------------- */

static int take_picture (client_t *client, const char *id, picture_t *picture, nexus_error_t *error)
{
    arena_reset (&picture->arena);
    arena_init (&picture->arena, 64 << 20, NULL, 0);
    arena_t *arena = &picture->arena;
    if (client_record (client, client_path (client, "/api/v1/jobs/", id, ""), NULL,
                       &job_detail_record, arena, &picture->detail, error))
        return -1;
    if (client_record (client, client_path (client, "/api/v1/jobs/", id, "/metrics?limit=1"), NULL,
                       &metric_list_record, arena, &picture->metrics, error))
        return -1;
    return client_record (client, "/api/v1/cluster/status", NULL, &cluster_status_record, arena,
                          &picture->status, error);
}

/*  The newest value of the first of these metrics that the job reports. */
static const metric_point_t *newest (const picture_t *picture, const char *const *names)
{
    for (; *names; names++)
        for (size_t i = picture->metrics.points.count; i-- > 0;)
            if (strcmp (picture->metrics.points.items[i].name, *names) == 0)
                return &picture->metrics.points.items[i];
    return NULL;
}

/*  ---- the lines ------------------------------------------------------------------- */

static void add (block_t *block, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

/*  Appends to the last line. */
static void add (block_t *block, const char *format, ...)
{
    char *line = block->lines[block->count - 1];
    size_t used = strlen (line);
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (line + used, LINE_SIZE - used, format, arguments);
    va_end (arguments);
}

static void new_line (block_t *block)
{
    if (block->count < LINES)
        block->lines[block->count++][0] = 0;
}

static void add_progress (block_t *block, const picture_t *picture)
{
    static const char *const epoch[] = {"epoch", NULL};
    static const char *const loss[] = {"loss", "train_loss", NULL};
    static const char *const accuracy[] = {"test_accuracy", "accuracy", NULL};
    static const char *const speed[] = {"images_per_second", "samples_per_second", NULL};
    const metric_point_t *point = newest (picture, epoch);
    const metric_point_t *step = newest (picture, loss);
    new_line (block);
    if (point)
        add (block, "epoch %s   ", figure_count (point->value).text);
    else if (step)
        add (block, "step %s   ", figure_count ((double)step->step).text);
    if (step)
        add (block, "loss %s   ", figure_real (step->value).text);
    point = newest (picture, accuracy);
    if (point)
        add (block, "test accuracy %.2f %%   ", point->value * (point->value <= 1 ? 100 : 1));
    point = newest (picture, speed);
    if (point)
        add (block, "%s images/s", figure_count (point->value).text);
    if (!picture->metrics.points.count)
        add (block, "no metrics yet");
}

static void add_ranks (block_t *block, const job_detail_t *detail)
{
    size_t running = 0, done = 0, ready = 0;
    for (size_t i = 0; i < detail->tasks.count; i++) {
        running += detail->tasks.items[i].phase == TASK_RUNNING;
        done += detail->tasks.items[i].phase == TASK_SUCCEEDED;
    }
    for (size_t i = 0; i < detail->shards.count; i++)
        ready += detail->shards.items[i].phase == SHARD_READY;
    add (block, "   ranks %zu/%zu running", running, detail->tasks.count);
    if (done)
        add (block, ", %zu done", done);
    if (detail->shards.count)
        add (block, "   aggregators %zu/%zu ready", ready, detail->shards.count);
}

static void compose (block_t *block, const picture_t *picture)
{
    const job_detail_t *detail = &picture->detail;
    const job_t *job = &detail->job;
    int64_t end = job->ended_ms ? job->ended_ms : clock_ms (CLOCK_REALTIME);
    block->count = 0;
    new_line (block);
    add (block, "%s %s   %s", job->id, record_choice_name (&job_phase_choices, job->phase),
         figure_duration (end - job->submitted_ms).text);
    add (block, "   workers %" PRIu64 "/%" PRIu64 " alive", picture->status.workers.alive,
         picture->status.workers.total);
    add (block, "   leader %s, term %" PRIu64,
         *picture->status.leader ? picture->status.leader : "none", picture->status.term);
    if (detail->shards.count || picture->metrics.points.count)
        add_progress (block, picture);
    new_line (block);
    if (detail->bytes_pushed > block->pushed)
        block->pushed = detail->bytes_pushed;
    if (detail->bytes_pulled > block->pulled)
        block->pulled = detail->bytes_pulled;
    add (block, "pushed %s", figure_bytes (block->pushed).text);
    add (block, "   pulled %s", figure_bytes (block->pulled).text);
    add_ranks (block, detail);
    add (block, "   membership epoch %" PRIu64, job->epoch);
    if (job->phase != JOB_RUNNING && job->reason && *job->reason) {
        new_line (block);
        add (block, "%s: %s", job->reason, job->message ? job->message : "");
    }
}

/*  ---- showing ---------------------------------------------------------------------- */

static void draw_on_terminal (block_t *block, bool colours, bool running)
{
    struct winsize size = {.ws_col = 80};
    if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
        size.ws_col = 80;
    if (block->drawn)
        printf ("\033[%zuA", block->drawn);
    fputs ("\r\033[J", stdout);
    for (size_t i = 0; i < block->count; i++) {
        bool bold = colours && i == 0;
        printf ("%s%.*s%s\n", bold ? (running ? "\033[1;32m" : "\033[1m") : "", size.ws_col - 1,
                block->lines[i], bold ? "\033[0m" : "");
    }
    block->drawn = block->count;
    fflush (stdout);
}

static void show (block_t *block, bool running)
{
    if (isatty (STDOUT_FILENO)) {
        draw_on_terminal (block, command_colours (STDOUT_FILENO), running);
        return;
    }
    char line[LINE_SIZE] = "";
    for (size_t i = 0; i < block->count; i++) {
        size_t used = strlen (line);
        snprintf (line + used, sizeof (line) - used, "%s%s", i ? "   " : "", block->lines[i]);
    }
    if (strcmp (line, block->shown) == 0)
        return;
    memcpy (block->shown, line, sizeof (line));
    puts (line);
    fflush (stdout);
}

/*  Prints the lines that have been added to the file, above the block. */
static void show_notes (block_t *block, FILE *notes)
{
    char line[LINE_SIZE];
    bool first = true;
    clearerr (notes);
    while (fgets (line, sizeof (line), notes)) {
        if (first && block->drawn)
            printf ("\033[%zuA\r\033[J", block->drawn);
        if (first)
            block->drawn = 0;
        first = false;
        fputs (line, stdout);
    }
    fflush (stdout);
}

static void show_silence (block_t *block, const nexus_error_t *error, int64_t silent_ms)
{
    if (!block->count)
        new_line (block);
    while (block->count < 4)
        new_line (block);
    block->count = 4;
    block->lines[3][0] = 0;
    add (block, "no master answers for %s: %s", figure_duration (silent_ms).text, error->text);
    show (block, false);
}

/*  ---- watching ----------------------------------------------------------------------- */

static int exit_code (const job_t *job)
{
    switch (job->phase) {
    case JOB_SUCCEEDED:
        return EXIT_JOB_SUCCEEDED;
    case JOB_CANCELLED:
        return EXIT_JOB_CANCELLED;
    case JOB_TIMED_OUT:
        return EXIT_JOB_TIMED_OUT;
    default:
        return EXIT_JOB_FAILED;
    }
}

int watch_job (client_t *client, const char *id, int64_t timeout_ms, bool quiet, const char *notes)
{
    FILE *notes_file = notes ? fopen (notes, "re") : NULL;
    int64_t begun = clock_ms (CLOCK_MONOTONIC), heard = begun;
    block_t block = {.count = 0};
    picture_t picture = {.arena = {0}};
    nexus_error_t error;
    int rc = -1;
    client_set_patience (client, 0);
    while (rc < 0) {
        int64_t now = clock_ms (CLOCK_MONOTONIC);
        bool asked = take_picture (client, id, &picture, &error) == 0;
        if (notes_file && !quiet)
            show_notes (&block, notes_file);
        if (asked) {
            heard = now;
            compose (&block, &picture);
            if (!quiet)
                show (&block, picture.detail.job.phase == JOB_RUNNING);
            if (job_phase_ended ((job_phase_t)picture.detail.job.phase))
                rc = exit_code (&picture.detail.job);
        } else if (error.code != NEXUS_UNAVAILABLE && error.code != NEXUS_DEADLINE) {
            rc = command_fail (&error);
        } else if (now - heard > SILENCE_MS) {
            rc = command_fail (&error);
        } else if (!quiet && now - heard > 2 * INTERVAL_MS) {
            show_silence (&block, &error, now - heard);
        }
        if (rc < 0 && timeout_ms && now - begun >= timeout_ms) {
            bool placed = asked && picture.detail.job.started_ms;
            fprintf (stderr, "nexus: job %s %s; it goes on: nexus job watch %s\n", id,
                     placed ? "has not ended in time" : "is accepted, but not placed yet", id);
            rc = placed ? EX_TEMPFAIL : EXIT_JOB_NOT_PLACED;
        }
        if (rc < 0)
            (void)usleep (INTERVAL_MS * 1000);
    }
    arena_reset (&picture.arena);
    if (notes_file)
        fclose (notes_file);
    return rc;
}
