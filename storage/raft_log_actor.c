#include "storage/raft_log_actor.h"

#include "runtime/clock.h"
#include "storage/flush_times.h"
#include "storage/side_thread.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#define RECORD_SELF log_entry_t
RECORD_DEFINE (log_entry, 0, 0, "An entry of the Raft log.", LOG_ENTRY)
#undef RECORD_SELF
#define RECORD_SELF log_append_t
RECORD_DEFINE (log_append, 32, 0, "Write this to the Raft log.", LOG_APPEND)
#undef RECORD_SELF
#define RECORD_SELF log_durable_t
RECORD_DEFINE (log_durable, 33, 0, "A write to the Raft log is on disk.", LOG_DURABLE)
#undef RECORD_SELF
#define RECORD_SELF log_compact_t
RECORD_DEFINE (log_compact, 34, 0, "Drop old entries of the Raft log.", LOG_COMPACT)
#undef RECORD_SELF

enum { TIMER_COMPACT, TIMER_USAGE, TIMER_SYNC, TIMER_SETTLE };

/*  A journaled log brings to LMDB what has gathered after this time, or when it is so much. */
enum { SETTLE_MS = 1000, SETTLE_BYTES = 1 << 20 };
enum { COMPACT_PAUSE_MS = 5 };
enum { USAGE_MS = 1000, FULL_PERCENT = 80, READERS_EVERY = 60 };
enum { DISK_LOW = 512 << 20 }; /* some seconds of much work, and what is reserved ahead */
enum { STOP_MS = 5000 };       /* how long a disk may keep us from ending */

/*  What is written on the spot: see the header. */
enum { SPOT_FLUSH_US = 10000, SPOT_BYTES = 16 << 10, SPOT_SHARE_PERCENT = 50 };

/*  log_appends, in order. */
typedef struct {
    message_t **items;
    size_t count;
    size_t capacity;
} appends_t;

/*  What may take long: one at a time. Meanwhile the log is the job's. */
typedef enum { JOB_NONE, JOB_WRITE, JOB_SYNC, JOB_COMPACT } job_t;

typedef struct {
    raft_log_t *log;
    side_thread_t *aside; /* where jobs are done; NULL in the simulator: on the spot */
    job_t job;
    int64_t job_ns; /* how long it took */
    int job_rc;
    int64_t job_left; /* of a compaction */
    nexus_error_t job_error;
    appends_t waiting; /* for the next write */
    appends_t writing; /* the job's */
    appends_t written; /* not acknowledged yet: written, but not known to be on disk */
    uint64_t number;   /* of the write that they are part of */
    uint64_t last;     /* where the log ends with it */
    uint64_t last_term;
    raft_log_hard_state_t hard; /* and what it says */
    bool sync_due;
    bool syncing;  /* TIMER_SYNC is on its way */
    bool settling; /* TIMER_SETTLE is */
    bool settle_due;
    bool compact_due;
    message_t *compacting; /* the request in progress, or NULL */
    uint64_t looks;        /* at the usage */
    bool full;
    bool disk_low;
    bool failed;
    log_durable_t told; /* last, */
    address_t appender; /* and to whom; "": nobody yet */
    flush_times_t flushes;
    int64_t seen_ns, seen_cpu_ns; /* at the last write: the clock, and what our thread had used */
    double share; /* of the time between two writes that it uses, a moving average */
    metric_t *commits;
    metric_t *syncs;
    metric_t *entries;
    metric_t *seconds;
    metric_t *used;
    metric_t *limit;
    metric_t *disk_free;
    metric_t *flush_last, *flush_p50, *flush_p99;
} actor_t;

/*  ---- life -------------------------------------------------------------- */

/*  Says it in time: a master whose disk is full ends. */
static void measure_disk (actor_t *self, context_t *ctx)
{
    uint64_t left = raft_log_disk_free (self->log);
    bool low = left < DISK_LOW;
    if (left == UINT64_MAX)
        return;
    metric_set (self->disk_free, (double)left);
    if (low && !self->disk_low)
        log_warning (context_log (ctx), "the disk is nearly full; when it is, this master ends",
                     LOG_UINT ("free_bytes", left));
    self->disk_low = low;
}

static void measure_usage (actor_t *self, context_t *ctx)
{
    size_t used, limit;
    if (++self->looks % READERS_EVERY == 0 && raft_log_check_readers (self->log) > 0)
        log_warning (context_log (ctx), "a process that is gone had the Raft log open: it pinned "
                                        "old pages");
    raft_log_usage (self->log, &used, &limit);
    metric_set (self->used, (double)used);
    metric_set (self->limit, (double)limit);
    measure_disk (self, ctx);
    metric_set (self->flush_last, self->flushes.last_us / 1e6);
    metric_set (self->flush_p50, self->flushes.p50_us / 1e6);
    metric_set (self->flush_p99, self->flushes.p99_us / 1e6);
    bool full = used / FULL_PERCENT >= limit / 100;
    if (full && !self->full)
        log_warning (context_log (ctx), "raft log is nearly full", LOG_UINT ("used_bytes", used),
                     LOG_UINT ("limit_bytes", limit));
    /* Who refuses all proposals writes nothing, and would never hear that there is room again. */
    if (full != self->full && self->appender.actor[0]) {
        self->told.full = full;
        context_send (ctx, &self->appender, &log_durable_record, &self->told);
    }
    self->full = full;
    context_after (ctx, MS_TO_NS (USAGE_MS), TIMER_USAGE);
}

static void do_job (void *arg);
static poll_fn job_done;

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    actor_t *self = state;
    self->log = (raft_log_t *)args;
    assert (self->log);
    raft_log_state_t log;
    raft_log_state (self->log, &log);
    self->hard = log.hard;
    if (context_runtime (ctx)) {
        self->aside = side_thread_new ("raft_log", do_job, self, error);
        if (!self->aside)
            return -1;
        context_poll (ctx, NULL, side_thread_fd (self->aside), POLLIN, job_done);
    }
    metrics_t *metrics = context_metrics (ctx);
    self->commits = metrics_counter (metrics, "nexus_raft_log_commits_total",
                                     "Transactions committed to the Raft log", NULL);
    self->syncs =
        metrics_counter (metrics, "nexus_raft_log_syncs_total",
                         "Flushes of the Raft log because nothing more was waiting", NULL);
    self->entries = metrics_counter (metrics, "nexus_raft_log_entries_total",
                                     "Entries appended to the Raft log", NULL);
    self->seconds = metrics_histogram (metrics, "nexus_raft_log_commit_seconds",
                                       "Time that a commit to the Raft log takes", NULL, NULL, 0);
    self->used = metrics_gauge (metrics, "nexus_raft_log_used_bytes",
                                "Bytes of the Raft log's map that are in use", NULL);
    self->limit =
        metrics_gauge (metrics, "nexus_raft_log_limit_bytes", "Size of the Raft log's map", NULL);
    self->disk_free = metrics_gauge (metrics, "nexus_disk_free_bytes",
                                     "Bytes left on the file system of the Raft log", NULL);
    self->flush_last = metrics_gauge (metrics, "nexus_raft_log_flush_last_seconds",
                                      "Time that the Raft log's last flush took", NULL);
    self->flush_p50 =
        metrics_gauge (metrics, "nexus_raft_log_flush_p50_seconds",
                       "Half of the Raft log's last 256 flushes took no longer", NULL);
    self->flush_p99 =
        metrics_gauge (metrics, "nexus_raft_log_flush_p99_seconds",
                       "99 % of the Raft log's last 256 flushes took no longer", NULL);
    measure_usage (self, ctx);
    return 0;
}

static void clear (appends_t *appends)
{
    for (size_t i = 0; i < appends->count; i++)
        message_release (&appends->items[i]);
    appends->count = 0;
}

static void stop (void *state, context_t *ctx)
{
    actor_t *self = state;
    if (self->aside) {
        context_poll (ctx, NULL, side_thread_fd (self->aside), 0, NULL);
        if (!side_thread_destroy (&self->aside, STOP_MS)) {
            log_error (context_log (ctx), "the disk hangs: what it was given last is given up on");
            return; /* it may still use all of it */
        }
    }
    clear (&self->waiting);
    clear (&self->writing);
    clear (&self->written);
    free (self->waiting.items);
    free (self->writing.items);
    free (self->written.items);
    message_release (&self->compacting);
}

static void fail (actor_t *self, context_t *ctx, nexus_error_t *error)
{
    self->failed = true;
    nexus_error_prefix (error, "raft log: ");
    context_fail (ctx, error);
}

/*  ---- appending --------------------------------------------------------- */

static void hold (appends_t *appends, const message_t *message)
{
    if (appends->count == appends->capacity) {
        size_t capacity = appends->capacity ? appends->capacity * 2 : 64;
        message_t **items = realloc (appends->items, capacity * sizeof (message_t *));
        assert (items);
        appends->items = items;
        appends->capacity = capacity;
    }
    appends->items[appends->count++] = message_retain ((message_t *)message);
}

static size_t count_entries (const appends_t *appends, bool repairs)
{
    size_t count = 0;
    for (size_t i = 0; i < appends->count; i++) {
        const log_append_t *append = message_body (appends->items[i], log_append);
        count += append->entries.count + (repairs ? append->repairs.count : 0);
    }
    return count;
}

static void fill_entries (const log_entry_t *from, size_t count, raft_log_entry_t *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (raft_log_entry_t){from[i].index, from[i].term, (uint8_t)from[i].type,
                                   from[i].data.data, from[i].data.size};
}

/*  Appends as writes; their entries in one array. */
static void fill_writes (const appends_t *appends, raft_log_write_t *writes,
                         raft_log_hard_state_t *states, raft_log_entry_t *entries)
{
    for (size_t i = 0; i < appends->count; i++) {
        const log_append_t *append = message_body (appends->items[i], log_append);
        states[i] = (raft_log_hard_state_t){append->term, append->vote, append->commit};
        writes[i] = (raft_log_write_t){
            .snapshot_index = append->snapshot_index,
            .snapshot_term = append->snapshot_term,
            .repairs = entries,
            .repairs_count = append->repairs.count,
            .truncate_from = append->truncate_from,
            .entries = entries + append->repairs.count,
            .count = append->entries.count,
            .hard = append->has_hard_state ? &states[i] : NULL,
        };
        fill_entries (append->repairs.items, append->repairs.count, entries);
        entries += append->repairs.count;
        fill_entries (append->entries.items, append->entries.count, entries);
        entries += append->entries.count;
    }
}

/*  One write of all that is in writing. */
static int write_all (actor_t *self, nexus_error_t *error)
{
    const appends_t *writing = &self->writing;
    raft_log_write_t *writes = calloc (writing->count, sizeof *writes);
    raft_log_hard_state_t *states = calloc (writing->count, sizeof *states);
    raft_log_entry_t *entries = calloc (count_entries (writing, true) + 1, sizeof *entries);
    int rc;
    if (writes && states && entries) {
        fill_writes (writing, writes, states, entries);
        rc = raft_log_write (self->log, writes, writing->count, error);
    } else
        rc = nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    free (writes);
    free (states);
    free (entries);
    return rc;
}

static void answer (context_t *ctx, const message_t *message, const log_durable_t *durable)
{
    if (message->flags & MESSAGE_REQUEST)
        context_reply (ctx, message, &log_durable_record, durable);
    else
        context_send (ctx, &message->from, &log_durable_record, durable);
}

/*  Tells those whose write is on disk by now. */
static void acknowledge (actor_t *self, context_t *ctx)
{
    if (self->written.count == 0 || self->number > raft_log_durable (self->log))
        return;
    log_durable_t durable = {
        .last_index = self->last,
        .last_term = self->last_term,
        .full = self->full,
        .flush_us = self->flushes.last_us,
        .flush_p50_us = self->flushes.p50_us,
        .flush_p99_us = self->flushes.p99_us,
    };
    for (size_t i = 0; i < self->written.count; i++) {
        durable.sequence = message_body (self->written.items[i], log_append)->sequence;
        answer (ctx, self->written.items[i], &durable);
    }
    self->told = durable;
    self->appender = self->written.items[self->written.count - 1]->from;
    clear (&self->written);
}

/*  ---- jobs ---------------------------------------------------------------- */

/*  In whichever thread. */
static void do_job (void *arg)
{
    actor_t *self = arg;
    int64_t begun_ns = clock_now_ns ();
    self->job_error = (nexus_error_t){0};
    self->job_rc = 0;
    if (self->job == JOB_WRITE)
        self->job_rc = write_all (self, &self->job_error);
    else if (self->job == JOB_SYNC)
        self->job_rc = raft_log_sync (self->log, &self->job_error);
    else if (self->job == JOB_COMPACT) {
        uint64_t index = message_body (self->compacting, log_compact)->index;
        self->job_left = raft_log_compact (self->log, index, &self->job_error);
        self->job_rc = self->job_left < 0 ? -1 : 0;
    }
    self->job_ns = clock_now_ns () - begun_ns;
}

static void note_flush (actor_t *self)
{
    flush_times_note (&self->flushes, self->job_ns);
    metric_observe (self->seconds, (double)self->job_ns / 1e9);
}

/*  What was written before is on disk by now. What is written waits for the next write, or for a
    flush: at once if the term or the vote has changed. */
static void end_write (actor_t *self, context_t *ctx)
{
    raft_log_state_t after;
    note_flush (self);
    metric_add (self->commits, 1);
    metric_add (self->entries, (double)count_entries (&self->writing, false));
    acknowledge (self, ctx);
    /*  An empty write makes nothing durable: then they wait together. */
    for (size_t i = 0; i < self->writing.count; i++)
        hold (&self->written, self->writing.items[i]);
    clear (&self->writing);
    raft_log_state (self->log, &after);
    self->number = raft_log_written (self->log);
    self->last = after.last;
    self->last_term = after.last_term;
    self->sync_due |= self->hard.term != after.hard.term || self->hard.vote != after.hard.vote;
    self->hard = after.hard;
    acknowledge (self, ctx);
    /*  The turn that this timer brings sees all that has come meanwhile: nothing, and it syncs, or
        more to write, which flushes as well. */
    if (self->written.count && !self->syncing) {
        self->syncing = true;
        context_after (ctx, 0, TIMER_SYNC);
    }
}

static void end_compact (actor_t *self, context_t *ctx)
{
    uint64_t index = message_body (self->compacting, log_compact)->index;
    acknowledge (self, ctx);
    if (self->job_rc == 0 && self->job_left > 0) {
        int64_t pause_ms = raft_log_settling (self->log) ? COMPACT_PAUSE_MS : 0;
        context_after (ctx, MS_TO_NS (pause_ms), TIMER_COMPACT);
        return;
    }
    if (self->job_rc == 0)
        context_reply (ctx, self->compacting, &done_record, &(done_t){.value = index});
    else
        context_reply_failure (ctx, self->compacting, self->job_error.code, "%s",
                               self->job_error.text);
    message_release (&self->compacting);
}

static void end_job (actor_t *self, context_t *ctx)
{
    job_t job = self->job;
    bool refused = job == JOB_COMPACT && self->job_error.code == NEXUS_INVALID;
    self->job = JOB_NONE;
    if (self->job_rc != 0 && !refused)
        fail (self, ctx, &self->job_error);
    else if (job == JOB_WRITE)
        end_write (self, ctx);
    else if (job == JOB_COMPACT)
        end_compact (self, ctx);
    else {
        note_flush (self);
        metric_add (self->syncs, 1);
        acknowledge (self, ctx);
    }
}

static void begin_job (actor_t *self, context_t *ctx, job_t job, bool on_the_spot)
{
    self->job = job;
    if (self->aside && !on_the_spot) {
        side_thread_start (self->aside);
        return;
    }
    do_job (self);
    end_job (self, ctx);
}

static void job_done (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)socket, (void)fd, (void)events;
    actor_t *self = state;
    if (side_thread_finish (self->aside) && !self->failed)
        end_job (self, ctx);
}

/*  How much of the time our thread has something to do, a flush on the spot not counted. */
static void measure_share (actor_t *self)
{
    struct timespec cpu;
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &cpu);
    int64_t now_ns = clock_now_ns (), cpu_ns = cpu.tv_sec * INT64_C (1000000000) + cpu.tv_nsec;
    if (self->seen_ns && now_ns > self->seen_ns) {
        double share = (double)(cpu_ns - self->seen_cpu_ns) / (double)(now_ns - self->seen_ns);
        self->share += (share - self->share) / 8;
    }
    self->seen_ns = now_ns;
    self->seen_cpu_ns = cpu_ns;
}

static bool writes_on_the_spot (actor_t *self)
{
    if (!self->aside)
        return true;
    measure_share (self);
    const log_append_t *append = message_body (self->writing.items[0], log_append);
    return self->writing.count == 1 && append->entries.count <= 1 &&
           self->writing.items[0]->size <= SPOT_BYTES && !append->repairs.count &&
           !append->truncate_from && !append->snapshot_index &&
           raft_log_durability (self->log) == RAFT_LOG_JOURNALED &&
           self->flushes.count >= FLUSH_TIMES_STEP && self->flushes.p99_us <= SPOT_FLUSH_US &&
           self->flushes.last_us <= SPOT_FLUSH_US && self->share * 100 <= SPOT_SHARE_PERCENT;
}

static void begin_write (actor_t *self, context_t *ctx)
{
    appends_t empty = self->writing;
    self->writing = self->waiting;
    self->waiting = empty;
    bool on_the_spot = writes_on_the_spot (self);
    if (on_the_spot)
        context_flush (ctx); /* what others were sent goes first */
    begin_job (self, ctx, JOB_WRITE, on_the_spot);
}

/*  Brings what has gathered in the tail to LMDB: a thread of the log's own does it. */
static void settle_log (actor_t *self, context_t *ctx)
{
    nexus_error_t error = {0};
    self->settle_due = false;
    if (raft_log_settle_begin (self->log, &error) != 0)
        fail (self, ctx, &error);
}

/*  Begins what there is to do; false: nothing. */
static bool next_job (actor_t *self, context_t *ctx)
{
    if (self->waiting.count)
        begin_write (self, ctx);
    else if (self->sync_due) {
        self->sync_due = false;
        if (raft_log_durable (self->log) < raft_log_written (self->log))
            begin_job (self, ctx, JOB_SYNC, false);
        else
            acknowledge (self, ctx);
    } else if (self->compact_due) {
        self->compact_due = false; /* a journaled log only has its own thread do it */
        begin_job (self, ctx, JOB_COMPACT, raft_log_durability (self->log) == RAFT_LOG_JOURNALED);
    } else if (self->settle_due || raft_log_gathered (self->log) >= SETTLE_BYTES) {
        bool under_way = raft_log_settling (self->log);
        settle_log (self, ctx);
        return !under_way;
    } else
        return false;
    return true;
}

static void settle (void *state, context_t *ctx)
{
    actor_t *self = state;
    while (!self->failed && self->job == JOB_NONE && next_job (self, ctx))
        continue;
    if (self->failed || self->job != JOB_NONE)
        return;
    if ((raft_log_gathered (self->log) || raft_log_settling (self->log)) && !self->settling) {
        self->settling = true;
        context_after (ctx, MS_TO_NS (SETTLE_MS), TIMER_SETTLE);
    }
}

/*  ---- messages and timers --------------------------------------------------- */

static void receive (void *state, context_t *ctx, const message_t *message)
{
    actor_t *self = state;
    if (self->failed)
        return;
    if (message_body (message, log_append)) {
        hold (&self->waiting, message);
    } else if (message_body (message, log_compact)) {
        if (self->compacting) {
            context_reply_failure (ctx, message, NEXUS_CONFLICT,
                                   "the log is being compacted: wait for its end");
            return;
        }
        self->compacting = message_retain ((message_t *)message);
        self->compact_due = true;
    }
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id;
    actor_t *self = state;
    if (self->failed)
        return;
    if (data == TIMER_COMPACT)
        self->compact_due = true;
    else if (data == TIMER_USAGE)
        measure_usage (self, ctx);
    else if (data == TIMER_SYNC) {
        self->syncing = false;
        self->sync_due |= self->written.count > 0;
    } else {
        self->settling = false;
        self->settle_due = true;
    }
}

const behaviour_t raft_log_actor = {
    .name = "raft_log",
    .state_size = sizeof (actor_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .settle = settle,
    .stop = stop,
};
