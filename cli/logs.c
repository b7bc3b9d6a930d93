/*  logs - nexus job logs: a rank's output, as it comes, over restarts */
#include "cli/client.h"
#include "cli/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { CHUNK = 1 << 18, WAIT_MS = 2000, PAUSE_MS = 500 };

static const option_t logs_options[] = {
    CLIENT_OPTIONS,
    CLIENT_STALE,
    {"rank", 'r', "N", {NULL}, "0", "Which rank."},
    {"attempt", 'a', "N", {NULL}, NULL, "Which run of it; left out: the newest."},
    {"follow", 'f', NULL, {NULL}, NULL, "Wait for more, until the job has ended."},
    {0},
};

typedef struct {
    client_t *client;
    const char *id;
    uint64_t rank, attempt, offset;
    bool follow, fixed; /* fixed: --attempt was given */
    bool silent;        /* it was said already that the worker is away */
} reader_t;

/*  What has become of the rank. */
typedef struct {
    bool ended;       /* the job */
    uint64_t attempt; /* newest run */
    bool ran;         /* there is one */
} rank_state_t;

static int ask_rank (reader_t *self, rank_state_t *state, nexus_error_t *error)
{
    arena_t arena;
    job_detail_t detail;
    arena_init (&arena, 256 << 20, NULL, 0);
    int rc = client_record (self->client, client_path (self->client, "/api/v1/jobs/", self->id, ""),
                            NULL, &job_detail_record, &arena, &detail, error);
    const task_t *task = NULL;
    for (size_t i = 0; rc == 0 && i < detail.tasks.count; i++)
        if (detail.tasks.items[i].rank == self->rank)
            task = &detail.tasks.items[i];
    if (rc == 0 && !task)
        rc = nexus_error_set (error, NEXUS_NOT_FOUND, "job %s has no rank %" PRIu64, self->id,
                              self->rank);
    if (rc == 0) {
        bool placed = !record_key_is_zero (&task->worker);
        size_t runs = task->runs.count;
        state->ended = job_phase_ended ((job_phase_t)detail.job.phase);
        state->ran = placed || runs;
        state->attempt = placed || !runs ? task->attempt : task->runs.items[runs - 1].attempt;
    }
    arena_reset (&arena);
    return rc;
}

/*  Prints what there is; *end: the run has ended and all of it is printed. */
static int read_chunk (reader_t *self, bool wait, bool *end, size_t *got, nexus_error_t *error)
{
    char query[200];
    client_answer_t answer;
    snprintf (query, sizeof (query),
              "/logs?rank=%" PRIu64 "&attempt=%" PRIu64 "&offset=%" PRIu64 "&max=%d&wait_ms=%d",
              self->rank, self->attempt, self->offset, CHUNK, wait ? WAIT_MS : 0);
    if (client_ask (self->client, client_path (self->client, "/api/v1/jobs/", self->id, query),
                    NULL, NULL, 0, &answer, error))
        return -1;
    uint64_t first = answer.next_offset - (answer.next_offset ? answer.body.size : 0);
    if (answer.body.size && first > self->offset)
        fprintf (stderr, "nexus: %" PRIu64 " bytes were rotated away\n", first - self->offset);
    fwrite (answer.body.data, 1, answer.body.size, stdout);
    fflush (stdout);
    *got = answer.body.size;
    *end = answer.end;
    if (answer.next_offset > self->offset)
        self->offset = answer.next_offset;
    client_answer_free (&answer);
    return ferror (stdout) ? nexus_error_set (error, NEXUS_IO, "standard output can't be written")
                           : 0;
}

static int print_all (reader_t *self)
{
    nexus_error_t error;
    bool end = false;
    size_t got = 1;
    while (!end && got)
        if (read_chunk (self, false, &end, &got, &error))
            return command_fail (&error);
    return 0;
}

/*  Goes on to the newest run when the one in hand is over. 1: there is one; 0: not yet; -1: the job
 * has ended. */
static int next_run (reader_t *self, nexus_error_t *error)
{
    rank_state_t state;
    if (ask_rank (self, &state, error))
        return error->code == NEXUS_UNAVAILABLE ? 0 : -2;
    if (!self->fixed && state.ran && state.attempt > self->attempt) {
        fprintf (stderr, "nexus: rank %" PRIu64 " runs again (attempt %" PRIu64 ")\n", self->rank,
                 state.attempt);
        self->attempt = state.attempt;
        self->offset = 0;
        self->silent = false;
        return 1;
    }
    return state.ended || (self->fixed && state.attempt > self->attempt) ? -1 : 0;
}

static int follow (reader_t *self)
{
    nexus_error_t error;
    for (;;) {
        bool end = false;
        size_t got = 0;
        int rc = read_chunk (self, true, &end, &got, &error);
        if (rc && error.code != NEXUS_UNAVAILABLE && error.code != NEXUS_DEADLINE &&
            error.code != NEXUS_NOT_FOUND)
            return command_fail (&error);
        if (rc && !self->silent) {
            fprintf (stderr, "nexus: %s\n", error.text);
            self->silent = true;
        }
        if (!rc)
            self->silent = false;
        if (!rc && !end && got)
            continue;
        if (!rc && end && self->fixed)
            return 0;
        /*  A worker that died while it wrote never says that this was the end. */
        bool away = rc != 0, waited = !rc && !end;
        rc = next_run (self, &error);
        if (rc == -2)
            return command_fail (&error);
        if (rc == -1)
            return away ? EX_UNAVAILABLE : 0;
        if (rc == 0 && !waited)
            (void)usleep (PAUSE_MS * 1000);
    }
}

static int run_logs (options_t *options)
{
    nexus_error_t error;
    reader_t reader = {.id = options_argument (options, 0),
                       .follow = options_flag (options, "follow"),
                       .fixed = options_source (options, "attempt") != OPTION_UNSET};
    if (options_number (options, "rank", 0, 4095, &reader.rank, &error) ||
        (reader.fixed &&
         options_number (options, "attempt", 0, 1000000, &reader.attempt, &error))) {
        fprintf (stderr, "nexus job logs: %s\n", error.text);
        return EX_USAGE;
    }
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    reader.client = client;
    client_set_stale (client, options_flag (options, "stale"));
    client_set_wait (client, WAIT_MS);
    rank_state_t state = {0};
    int rc = 0;
    if (ask_rank (&reader, &state, &error))
        rc = command_fail (&error);
    else if (!reader.fixed)
        reader.attempt = state.attempt;
    if (rc == 0)
        rc = reader.follow ? follow (&reader) : print_all (&reader);
    client_destroy (&client);
    return rc;
}

const command_t command_job_logs = {
    "job logs", "ID",    "What a rank has written to stdout and stderr", NULL, logs_options, 1,
    1,          run_logs};
