/*  logs - the edge that keeps what a worker's tasks write */
#include "actors/executor/logs.h"

#include "storage/job_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PIECE = 65536,     /* read from a pipe at once */
    READERS_MAX = 4096 /* that wait for more */
};

/*  A run whose output is being captured. */
typedef struct {
    char job[64];
    job_log_run_t run; /* its job is the one above */
    int fd;
    job_log_t *log;
    bool failed; /* the disk refused; said once */
} capture_t;

/*  A read that waits for more. */
typedef struct {
    const message_t *message; /* held */
    uint64_t timer;
} reader_t;

typedef struct {
    const logs_args_t *args;
    capture_t **captures;
    size_t count, room;
    reader_t readers[READERS_MAX];
    size_t reader_count;
    uint8_t piece[PIECE];
} logs_t;

static job_log_run_t run_of (const log_read_t *read)
{
    return (job_log_run_t){.job = read->job_id, .rank = read->rank, .attempt = read->attempt};
}

static bool same_run (const job_log_run_t *a, const job_log_run_t *b)
{
    return a->rank == b->rank && a->attempt == b->attempt && !strcmp (a->job, b->job);
}

/*  ---- reading ---------------------------------------------------------------------- */

/*  Answers if there is something to say; else returns false. */
static bool answer (logs_t *self, context_t *ctx, const message_t *message, bool now)
{
    const log_read_t *read = message->body;
    job_log_run_t run = run_of (read);
    job_log_position_t position;
    nexus_error_t error;
    size_t max = read->max ? read->max : 1;
    uint8_t *data = malloc (max);
    if (!data) {
        context_reply_failure (ctx, message, NEXUS_EXHAUSTED, "no memory for this read");
        return true;
    }
    int64_t size = job_log_read (self->args->dir, &run, read->offset, data, max, &position, &error);
    /*  Rotated away: on with the oldest that is kept; the chunk's offset tells. */
    if (size < 0 && error.code == NEXUS_NOT_FOUND && position.first > read->offset)
        size = job_log_read (self->args->dir, &run, position.first, data, max, &position, &error);
    bool said = size != 0 || position.end || now;
    if (size < 0)
        context_reply_failure (ctx, message, error.code, "%s", error.text);
    else if (said) {
        log_chunk_t chunk = {
            .offset = position.offset, .data = {data, (size_t)size}, .end = position.end};
        context_reply (ctx, message, &log_chunk_record, &chunk);
    }
    free (data);
    return said;
}

static void drop_reader (logs_t *self, context_t *ctx, size_t i)
{
    context_cancel (ctx, self->readers[i].timer);
    message_release ((message_t **)&self->readers[i].message);
    self->readers[i] = self->readers[--self->reader_count];
}

static void wake_readers (logs_t *self, context_t *ctx, const job_log_run_t *run)
{
    for (size_t i = self->reader_count; i-- > 0;) {
        job_log_run_t wanted = run_of (self->readers[i].message->body);
        if (same_run (&wanted, run) && answer (self, ctx, self->readers[i].message, false))
            drop_reader (self, ctx, i);
    }
}

static void take_read (logs_t *self, context_t *ctx, const message_t *message)
{
    const log_read_t *read = message->body;
    bool now = !read->wait_ms || self->reader_count == READERS_MAX;
    if (answer (self, ctx, message, now))
        return;
    reader_t *reader = &self->readers[self->reader_count++];
    reader->message = message_retain ((message_t *)message);
    reader->timer = context_after (ctx, MS_TO_NS (read->wait_ms), 0);
}

/*  ---- capturing ---------------------------------------------------------------------- */

static void end_capture (logs_t *self, context_t *ctx, size_t i)
{
    capture_t *capture = self->captures[i];
    nexus_error_t error;
    context_poll (ctx, NULL, capture->fd, 0, NULL);
    close (capture->fd);
    if (job_log_finish (capture->log, &error))
        log_warning (context_log (ctx), "a log can't be finished", LOG_TEXT ("job", capture->job),
                     LOG_TEXT ("reason", error.text));
    job_log_close (&capture->log);
    self->captures[i] = self->captures[--self->count];
    wake_readers (self, ctx, &capture->run);
    free (capture);
}

/*  Drains one pipe as far as it goes, within the turn's share. Returns false at its end. */
static bool drain (logs_t *self, context_t *ctx, capture_t *capture)
{
    ssize_t size = read (capture->fd, self->piece, PIECE);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    nexus_error_t error;
    if (size > 0 && job_log_append (capture->log, self->piece, (size_t)size, &error) &&
        !capture->failed) {
        capture->failed = true;
        log_error (context_log (ctx), "a task's output is lost", LOG_TEXT ("job", capture->job),
                   LOG_UINT ("rank", capture->run.rank), LOG_TEXT ("reason", error.text));
    }
    if (size > 0)
        wake_readers (self, ctx, &capture->run);
    return true;
}

static void readable (void *state, context_t *ctx, void *socket, int fd, short events)
{
    logs_t *self = state;
    (void)socket;
    (void)events;
    for (size_t i = 0; i < self->count; i++)
        if (self->captures[i]->fd == fd) {
            if (!drain (self, ctx, self->captures[i]))
                end_capture (self, ctx, i);
            return;
        }
}

static void take_capture (logs_t *self, context_t *ctx, const log_capture_t *order)
{
    nexus_error_t error;
    int fd = (int)order->fd;
    capture_t *capture = calloc (1, sizeof (*capture));
    if (self->count == self->room) {
        self->room = self->room ? self->room * 2 : 16;
        self->captures = realloc (self->captures, self->room * sizeof (*self->captures));
    }
    if (!capture || !self->captures)
        abort ();
    strncpy (capture->job, order->job_id, sizeof (capture->job) - 1);
    capture->run = (job_log_run_t){capture->job, order->rank, order->attempt};
    capture->fd = fd;
    capture->log =
        job_log_open (&(job_log_config_t){.dir = self->args->dir}, &capture->run, &error);
    if (!capture->log || fcntl (fd, F_SETFL, O_NONBLOCK)) {
        /*  Without its reader the task would die of SIGPIPE: better than to hang on a full pipe. */
        log_error (context_log (ctx), "a task's output can't be captured",
                   LOG_TEXT ("job", capture->job),
                   LOG_TEXT ("reason", capture->log ? strerror (errno) : error.text));
        job_log_close (&capture->log);
        close (fd);
        free (capture);
        return;
    }
    self->captures[self->count++] = capture;
    context_poll (ctx, NULL, fd, POLLIN, readable);
}

/*  ---- the actor ------------------------------------------------------------------------- */

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    ((logs_t *)state)->args = args;
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    logs_t *self = state;
    if (message->role == ROLE_LOCAL && message_body (message, log_capture))
        take_capture (self, ctx, message->body);
    else if ((message->role == ROLE_LOCAL || message->role == ROLE_MASTER) &&
             message_body (message, log_read))
        take_read (self, ctx, message);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    logs_t *self = state;
    (void)data;
    for (size_t i = 0; i < self->reader_count; i++)
        if (self->readers[i].timer == id) {
            answer (self, ctx, self->readers[i].message, true);
            drop_reader (self, ctx, i);
            return;
        }
}

static void stop (void *state, context_t *ctx)
{
    logs_t *self = state;
    while (self->count)
        end_capture (self, ctx, self->count - 1);
    while (self->reader_count)
        drop_reader (self, ctx, self->reader_count - 1);
    free (self->captures);
}

const behaviour_t logs_behaviour = {
    .name = "logs",
    .state_size = sizeof (logs_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .stop = stop,
};
