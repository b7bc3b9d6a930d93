#include "storage/raft_log_actor.h"

#include "storage/flush_times.h"

#include <assert.h>
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
enum { SETTLE_MS = 100, SETTLE_BYTES = 1 << 20 };
enum { USAGE_MS = 1000, FULL_PERCENT = 80, READERS_EVERY = 60 };

/*  log_appends, in order. */
typedef struct {
    message_t **items;
    size_t count;
    size_t capacity;
} appends_t;

typedef struct {
    raft_log_t *log;
    appends_t waiting; /* of this turn */
    appends_t written; /* not acknowledged yet: written, but not known to be on disk */
    uint64_t number;   /* of the write that they are part of */
    uint64_t last;     /* where the log ends with it */
    uint64_t last_term;
    bool syncing;          /* TIMER_SYNC is on its way */
    bool settling;         /* TIMER_SETTLE is */
    message_t *compacting; /* the request in progress, or NULL */
    uint64_t looks;        /* at the usage */
    bool full;
    bool failed;
    log_durable_t told; /* last, */
    address_t appender; /* and to whom; "": nobody yet */
    flush_times_t flushes;
    metric_t *commits;
    metric_t *syncs;
    metric_t *entries;
    metric_t *seconds;
    metric_t *used;
    metric_t *limit;
    metric_t *flush_last, *flush_p50, *flush_p99;
} actor_t;

/*  ---- life -------------------------------------------------------------- */

static void measure_usage (actor_t *self, context_t *ctx)
{
    size_t used, limit;
    if (++self->looks % READERS_EVERY == 0 && raft_log_check_readers (self->log) > 0)
        log_warning (context_log (ctx), "a process that is gone had the Raft log open: it pinned "
                                        "old pages");
    raft_log_usage (self->log, &used, &limit);
    metric_set (self->used, (double)used);
    metric_set (self->limit, (double)limit);
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

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    actor_t *self = state;
    self->log = (raft_log_t *)args;
    assert (self->log);
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
    (void)ctx;
    actor_t *self = state;
    clear (&self->waiting);
    clear (&self->written);
    free (self->waiting.items);
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

static int64_t now_ns (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void note_flush (actor_t *self, int64_t begun_ns)
{
    int64_t took_ns = now_ns () - begun_ns;
    flush_times_note (&self->flushes, took_ns);
    metric_observe (self->seconds, (double)took_ns / 1e9);
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

static int commit (actor_t *self, nexus_error_t *error)
{
    const appends_t *waiting = &self->waiting;
    size_t count = count_entries (waiting, true);
    raft_log_write_t *writes = calloc (waiting->count, sizeof *writes);
    raft_log_hard_state_t *states = calloc (waiting->count, sizeof *states);
    raft_log_entry_t *entries = calloc (count + 1, sizeof *entries);
    int rc;
    if (writes && states && entries) {
        fill_writes (waiting, writes, states, entries);
        int64_t begun_ns = now_ns ();
        rc = raft_log_write (self->log, writes, waiting->count, error);
        note_flush (self, begun_ns);
        metric_add (self->commits, 1);
        metric_add (self->entries, (double)count_entries (waiting, false));
    } else {
        rc = nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    }
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

/*  Flushes what is written, and acknowledges it. */
static void sync_now (actor_t *self, context_t *ctx)
{
    nexus_error_t error = {0};
    if (raft_log_durable (self->log) < raft_log_written (self->log)) {
        int64_t begun_ns = now_ns ();
        if (raft_log_sync (self->log, &error) != 0) {
            fail (self, ctx, &error);
            return;
        }
        note_flush (self, begun_ns);
        metric_add (self->syncs, 1);
    }
    acknowledge (self, ctx);
}

/*  Writes what waits. What was written before is on disk then. True if it changes term or vote. */
static bool write_waiting (actor_t *self, context_t *ctx)
{
    raft_log_state_t before, after;
    nexus_error_t error = {0};
    raft_log_state (self->log, &before);
    if (commit (self, &error) != 0) {
        fail (self, ctx, &error);
        return false;
    }
    acknowledge (self, ctx);
    /*  An empty write makes nothing durable: then they wait together. */
    for (size_t i = 0; i < self->waiting.count; i++)
        hold (&self->written, self->waiting.items[i]);
    clear (&self->waiting);
    raft_log_state (self->log, &after);
    self->number = raft_log_written (self->log);
    self->last = after.last;
    self->last_term = after.last_term;
    return before.hard.term != after.hard.term || before.hard.vote != after.hard.vote;
}

/*  Brings what has gathered in the tail to LMDB. */
static void settle_log (actor_t *self, context_t *ctx)
{
    nexus_error_t error = {0};
    if (raft_log_settle_begin (self->log, &error) != 0)
        fail (self, ctx, &error);
}

static void settle (void *state, context_t *ctx)
{
    actor_t *self = state;
    if (self->failed)
        return;
    bool write = self->waiting.count > 0;
    bool urgent = write ? write_waiting (self, ctx) : true;
    if (self->failed)
        return;
    if (urgent && self->written.count)
        sync_now (self, ctx);
    else
        acknowledge (self, ctx);
    /*  The turn that this timer brings sees all that has come meanwhile: nothing, and it syncs, or
        more to write, which flushes as well. */
    if (self->written.count && !self->syncing) {
        self->syncing = true;
        context_after (ctx, 0, TIMER_SYNC);
    }
    size_t gathered = raft_log_gathered (self->log);
    if (gathered >= SETTLE_BYTES)
        settle_log (self, ctx);
    if ((gathered || raft_log_settling (self->log)) && !self->settling && !self->failed) {
        self->settling = true;
        context_after (ctx, MS_TO_NS (SETTLE_MS), TIMER_SETTLE);
    }
}

/*  ---- compacting -------------------------------------------------------- */

static void compact_slice (actor_t *self, context_t *ctx)
{
    nexus_error_t error = {0};
    uint64_t index = message_body (self->compacting, log_compact)->index;
    int64_t left = raft_log_compact (self->log, index, &error);
    acknowledge (self, ctx);
    if (left > 0) {
        context_after (ctx, 0, TIMER_COMPACT);
        return;
    }
    if (left == 0)
        context_reply (ctx, self->compacting, &done_record, &(done_t){.value = index});
    else if (error.code == NEXUS_INVALID)
        context_reply_failure (ctx, self->compacting, error.code, "%s", error.text);
    else
        fail (self, ctx, &error);
    message_release (&self->compacting);
}

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
        context_after (ctx, 0, TIMER_COMPACT);
    }
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id;
    actor_t *self = state;
    if (self->failed)
        return;
    if (data == TIMER_COMPACT)
        compact_slice (self, ctx);
    else if (data == TIMER_USAGE)
        measure_usage (self, ctx);
    else if (data == TIMER_SYNC)
        self->syncing = false;
    else {
        self->settling = false;
        settle_log (self, ctx);
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
