/*  serve - giving copies of the ledger away, a chunk at a time and no faster than allowed */
#include "actors/snapshots/snapshots_private.h"

#include <string.h>

/*  What may leave at once after a pause: two chunks. */
enum { BURST = 2 * CHUNK_MAX };

/*  Whoever hasn't asked for so long has given up, or has all of it, and what came after it. */
#define READER_NS MS_TO_NS (20000)

void serve_start (snapshots_t *self, context_t *ctx)
{
    self->serve.budget = BURST;
    self->serve.budget_ns = context_now (ctx);
    self->serve.bytes =
        metrics_counter (context_metrics (ctx), "nexus_snapshot_sent_bytes_total",
                         "Bytes of copies of the ledger given to other masters and backups.", NULL);
}

void serve_end (snapshots_t *self)
{
    for (size_t i = 0; i < self->serve.waiting_count; i++)
        message_release (&self->serve.waiting[i]);
}

/*  ---- readers ------------------------------------------------------------------------ */

static void forget_readers (serve_t *self, int64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->readers_count; i++)
        if (now_ns - self->readers[i].last_ns < READER_NS)
            self->readers[kept++] = self->readers[i];
    self->readers_count = kept;
}

/*  Also when it has read the last byte: it then needs the entries behind the copy. */
static void note_reader (serve_t *self, const message_t *message, uint64_t index, int64_t now_ns)
{
    size_t i = 0;
    while (i < self->readers_count && !address_equal (&self->readers[i].who, &message->from))
        i++;
    if (i == SERVE_READERS_MAX)
        return;
    if (i == self->readers_count)
        self->readers_count++;
    self->readers[i] = (serve_reader_t){.who = message->from, .index = index, .last_ns = now_ns};
}

uint64_t serve_oldest (snapshots_t *self, context_t *ctx)
{
    uint64_t oldest = UINT64_MAX;
    forget_readers (&self->serve, context_now (ctx));
    for (size_t i = 0; i < self->serve.readers_count; i++)
        if (self->serve.readers[i].index < oldest)
            oldest = self->serve.readers[i].index;
    return oldest;
}

/*  ---- answers ------------------------------------------------------------------------- */

snapshot_chunk_t serve_header (const snapshot_info_t *copy)
{
    return (snapshot_chunk_t){
        .index = copy->index, .term = copy->term, .size = copy->size, .hash = copy->hash};
}

/*  Which copy is meant: the newest, or the one that is named. */
static snapshot_info_t meant (const snapshots_t *self, const snapshot_read_t *read)
{
    bool same = read->index == self->copy.index &&
                memcmp (&read->hash, &self->copy.hash, sizeof (record_key_t)) == 0;
    if (read->index == 0 || same)
        return self->copy;
    return (snapshot_info_t){.index = read->index, .hash = read->hash};
}

/*  Returns the bytes that left. */
static size_t answer (snapshots_t *self, context_t *ctx, const message_t *message)
{
    uint8_t *data = self->serve.data;
    const snapshot_read_t *read = message->body;
    snapshot_info_t copy = meant (self, read);
    nexus_error_t error = {NEXUS_NOT_FOUND, "there is no copy yet"};
    int64_t size = -1;
    if (copy.index)
        size = self->args->store.read (self->args->store.self, &copy, read->offset, data,
                                       (size_t)read->size, &error);
    if (size < 0) {
        context_reply_failure (ctx, message, error.code, "snapshots: %s", error.text);
        /* The own one may have turned out to be damaged: then there is none. */
        snapshot_info_t now;
        self->args->store.current (self->args->store.self, &now);
        if (now.index == 0)
            self->copy = now;
        return 0;
    }
    snapshot_chunk_t chunk = serve_header (&copy);
    chunk.offset = read->offset;
    chunk.data = (record_bytes_t){data, (size_t)size};
    context_reply (ctx, message, &snapshot_chunk_record, &chunk);
    note_reader (&self->serve, message, copy.index, context_now (ctx));
    metric_add (self->serve.bytes, (double)size);
    return (size_t)size;
}

/*  Answers those whose turn has come; the others wait for a timer. */
static void go_on (snapshots_t *self, context_t *ctx)
{
    serve_t *serve = &self->serve;
    int64_t now_ns = context_now (ctx), rate = (int64_t)self->bytes_per_second;
    int64_t passed_ns = now_ns - serve->budget_ns;
    int64_t enough_ns = BURST * INT64_C (1000000000) / rate + 1;
    serve->budget_ns = now_ns;
    serve->budget += (passed_ns < enough_ns ? passed_ns : enough_ns) * (rate / 1000) / 1000000;
    if (serve->budget > BURST)
        serve->budget = BURST;
    size_t done = 0;
    for (; done < serve->waiting_count && serve->budget > 0; done++) {
        message_t *message = serve->waiting[done];
        if (!message->deadline_ns || message->deadline_ns > now_ns)
            serve->budget -= (int64_t)answer (self, ctx, message);
        message_release (&message);
    }
    serve->waiting_count -= done;
    memmove (serve->waiting, serve->waiting + done, serve->waiting_count * sizeof (message_t *));
    if (serve->waiting_count && !serve->timer)
        serve->timer = context_after (
            ctx, (CHUNK_MAX - serve->budget) * INT64_C (1000000000) / rate + 1, TIMER_SERVE);
}

void serve_read (snapshots_t *self, context_t *ctx, const message_t *message)
{
    if (self->serve.waiting_count == SERVE_WAITING_MAX) {
        context_reply_failure (ctx, message, NEXUS_EXHAUSTED,
                               "snapshots: too many chunks are asked for at once: retry later");
        return;
    }
    self->serve.waiting[self->serve.waiting_count++] = message_retain ((message_t *)message);
    if (!self->serve.timer)
        go_on (self, ctx);
}

void serve_timer (snapshots_t *self, context_t *ctx)
{
    self->serve.timer = 0;
    go_on (self, ctx);
}
