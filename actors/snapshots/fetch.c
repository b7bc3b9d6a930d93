/*  fetch - pulling another master's copy of the ledger

    Every answer is checked against what is being fetched. Chunks are taken in order only: one
    that overtook another counts as lost, and so does what follows a loss; it is asked for again
    from the byte that is there. After a failure the fetch rests until the election
    repeats the offer, which it does as long as it stands. */
#include "actors/snapshots/snapshots_private.h"

#include <string.h>

#define ANSWER_MS 5000
#define PAUSE_NS  MS_TO_NS (200)
/*  After a disk that is full, or a copy that is damaged. */
#define PAUSE_LONG_NS MS_TO_NS (5000)

void fetch_start (snapshots_t *self, context_t *ctx)
{
    self->fetch.bytes =
        metrics_counter (context_metrics (ctx), "nexus_snapshot_received_bytes_total",
                         "Bytes of copies of the ledger fetched from other masters.", NULL);
}

/*  Gives up for now; what is there stays. */
static void rest (snapshots_t *self, context_t *ctx, int64_t pause_ns)
{
    self->fetch.state = FETCH_IDLE;
    self->fetch.asked_count = 0;
    self->fetch.pause_until_ns = context_now (ctx) + pause_ns;
}

static void complain (snapshots_t *self, context_t *ctx, const char *text)
{
    log_warning (context_log (ctx), "the leader's copy of the ledger can't be fetched",
                 LOG_NODE ("from", &self->fetch.from), LOG_TEXT ("why", text));
    rest (self, ctx, PAUSE_LONG_NS);
}

/*  ---- asking ---------------------------------------------------------------------------- */

static void ask (snapshots_t *self, context_t *ctx, const snapshot_read_t *read)
{
    fetch_t *fetch = &self->fetch;
    address_t to = address_remote (&fetch->from, "snapshots", 0);
    fetch->asked[fetch->asked_count].offset = read->offset;
    fetch->asked[fetch->asked_count++].correlation =
        context_request (ctx, &to, &snapshot_read_record, read, ANSWER_MS);
}

/*  First the one that a part of is there; if the leader doesn't have that, its newest. */
static void ask_what (snapshots_t *self, context_t *ctx, bool newest)
{
    fetch_t *fetch = &self->fetch;
    const snapshot_store_t *store = &self->args->store;
    store->part (store->self, &fetch->copy, &fetch->have);
    fetch->state = FETCH_ASKING;
    fetch->asked_count = 0;
    snapshot_read_t read = {.index = 0};
    if (fetch->copy.index && !newest) {
        read.index = fetch->copy.index;
        read.hash = fetch->copy.hash;
    }
    ask (self, ctx, &read);
}

static void ask_more (snapshots_t *self, context_t *ctx)
{
    fetch_t *fetch = &self->fetch;
    while (fetch->asked_count < FETCH_AHEAD && fetch->next < fetch->copy.size) {
        uint64_t left = fetch->copy.size - fetch->next;
        snapshot_read_t read = {.index = fetch->copy.index,
                                .hash = fetch->copy.hash,
                                .offset = fetch->next,
                                .size = left < CHUNK_MAX ? left : CHUNK_MAX};
        ask (self, ctx, &read);
        fetch->next += read.size;
    }
}

void fetch_offer (snapshots_t *self, context_t *ctx, const snapshot_fetch_t *offer)
{
    fetch_t *fetch = &self->fetch;
    if (fetch->state == FETCH_FLUSHING || offer->index <= self->copy.index) {
        /* It is here already: the election has forgotten, or hasn't heard yet. */
        if (fetch->state != FETCH_FLUSHING)
            snapshots_stored (self, ctx, &self->copy, true);
        return;
    }
    bool same = memcmp (&fetch->from, &offer->from, sizeof (record_key_t)) == 0;
    if (fetch->state != FETCH_IDLE && same)
        return;
    if (fetch->state == FETCH_IDLE && same && context_now (ctx) < fetch->pause_until_ns)
        return;
    fetch->from = offer->from;
    ask_what (self, ctx, false);
}

/*  ---- answers ---------------------------------------------------------------------------- */

static bool same_copy (const snapshot_chunk_t *chunk, const snapshot_info_t *copy)
{
    return chunk->index == copy->index &&
           memcmp (&chunk->hash, &copy->hash, sizeof (record_key_t)) == 0;
}

static void finish (snapshots_t *self, context_t *ctx)
{
    fetch_t *fetch = &self->fetch;
    const snapshot_store_t *store = &self->args->store;
    nexus_error_t error;
    int64_t delay_ns = 0;
    fetch->asked_count = 0;
    if (store->part_finish (store->self, &delay_ns, &error) != 0) {
        complain (self, ctx, error.text);
        return;
    }
    fetch->state = FETCH_FLUSHING;
    if (delay_ns > 0)
        fetch->timer = context_after (ctx, delay_ns, TIMER_FETCHED);
    else
        fetch_timer (self, ctx);
}

void fetch_timer (snapshots_t *self, context_t *ctx)
{
    fetch_t *fetch = &self->fetch;
    fetch->timer = 0;
    fetch->state = FETCH_IDLE;
    log_info (context_log (ctx), "a copy of the ledger was fetched",
              LOG_NODE ("from", &fetch->from), LOG_UINT ("index", fetch->copy.index),
              LOG_UINT ("bytes", fetch->copy.size));
    snapshots_stored (self, ctx, &fetch->copy, true);
}

static void go_on (snapshots_t *self, context_t *ctx)
{
    self->fetch.state = FETCH_PULLING;
    if (self->fetch.have == self->fetch.copy.size)
        finish (self, ctx);
    else
        ask_more (self, ctx);
}

/*  What the leader has. */
static void on_header (snapshots_t *self, context_t *ctx, const snapshot_chunk_t *chunk)
{
    fetch_t *fetch = &self->fetch;
    const snapshot_store_t *store = &self->args->store;
    nexus_error_t error;
    if (fetch->copy.index && same_copy (chunk, &fetch->copy)) {
        fetch->next = fetch->have;
        go_on (self, ctx);
        return;
    }
    if (chunk->index <= self->copy.index || chunk->term == 0 || chunk->size == 0 ||
        record_key_is_zero (&chunk->hash)) {
        complain (self, ctx, "it is none, or no newer than the own one");
        return;
    }
    fetch->copy = (snapshot_info_t){
        .index = chunk->index, .term = chunk->term, .size = chunk->size, .hash = chunk->hash};
    fetch->have = fetch->next = 0;
    if (store->part_begin (store->self, &fetch->copy, &error) != 0) {
        complain (self, ctx, error.text);
        return;
    }
    log_info (context_log (ctx), "a copy of the ledger is fetched", LOG_NODE ("from", &fetch->from),
              LOG_UINT ("index", chunk->index), LOG_UINT ("bytes", chunk->size));
    go_on (self, ctx);
}

/*  All that was asked for from here on is asked for again. */
static void ask_again (snapshots_t *self, context_t *ctx)
{
    self->fetch.asked_count = 0;
    self->fetch.next = self->fetch.have;
    ask_more (self, ctx);
}

static void on_chunk (snapshots_t *self, context_t *ctx, const snapshot_chunk_t *chunk)
{
    fetch_t *fetch = &self->fetch;
    const snapshot_store_t *store = &self->args->store;
    nexus_error_t error;
    if (!same_copy (chunk, &fetch->copy) || chunk->data.size == 0 ||
        chunk->data.size > fetch->copy.size - fetch->have) {
        complain (self, ctx, "it answers with something else than was asked for");
        return;
    }
    if (chunk->offset != fetch->have) {
        ask_again (self, ctx);
        return;
    }
    if (store->part_write (store->self, fetch->have, chunk->data.data, chunk->data.size, &error) !=
        0) {
        complain (self, ctx, error.text);
        return;
    }
    fetch->have += chunk->data.size;
    metric_add (fetch->bytes, (double)chunk->data.size);
    /* A short one leaves a gap to what was asked for next. */
    if (fetch->asked_count && fetch->asked[0].offset != fetch->have)
        ask_again (self, ctx);
    else {
        if (fetch->asked_count == 0)
            fetch->next = fetch->have;
        go_on (self, ctx);
    }
}

static void on_failure (snapshots_t *self, context_t *ctx, const failure_t *failure)
{
    fetch_t *fetch = &self->fetch;
    if (failure->code == NEXUS_NOT_FOUND && fetch->copy.index) {
        /* Another leader, or a newer copy: what is there of the old one is worth nothing. */
        self->args->store.part_drop (self->args->store.self);
        ask_what (self, ctx, true);
        return;
    }
    rest (self, ctx, PAUSE_NS);
}

bool fetch_answer (snapshots_t *self, context_t *ctx, const message_t *message)
{
    fetch_t *fetch = &self->fetch;
    size_t i = 0;
    while (i < fetch->asked_count && fetch->asked[i].correlation != message->correlation)
        i++;
    if (i == fetch->asked_count)
        return false;
    fetch->asked_count--;
    memmove (&fetch->asked[i], &fetch->asked[i + 1],
             (fetch->asked_count - i) * sizeof (fetch->asked[0]));
    if (message_body (message, failure))
        on_failure (self, ctx, message->body);
    else if (!message_body (message, snapshot_chunk))
        return true;
    else if (fetch->state == FETCH_ASKING)
        on_header (self, ctx, message->body);
    else if (fetch->state == FETCH_PULLING)
        on_chunk (self, ctx, message->body);
    return true;
}

void fetch_overtaken (snapshots_t *self, uint64_t index)
{
    fetch_t *fetch = &self->fetch;
    if (fetch->state == FETCH_FLUSHING)
        return;
    snapshot_info_t part;
    uint64_t have;
    self->args->store.part (self->args->store.self, &part, &have);
    if (part.index == 0 || part.index > index)
        return;
    self->args->store.part_drop (self->args->store.self);
    fetch->state = FETCH_IDLE;
    fetch->asked_count = 0;
}
