/*  contributor_held - what a rank holds for a shard that is lost

    Results are kept as the payloads that they came in. A new shard gets, of each
    of its chunks, the newest parameters and (behind them in the same payload) the
    version before, and the results of the steps that are kept.
*/
#include "actors/aggregator/contributor_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*  What may travel as one seed; a link's frames end at 16 MiB. */
#define SEED_BYTES_MAX ((size_t)8 << 20)

/*  ---- parameters -------------------------------------------------------------------- */

int held_prepare (contributor_t *self, uint64_t count, nexus_error_t *error)
{
    if (self->held && self->held_count != count)
        return nexus_error_set (error, NEXUS_INVALID,
                                "%llu floats, but this group's parameters are %llu",
                                (unsigned long long)count, (unsigned long long)self->held_count);
    if (self->held)
        return 0;
    uint64_t chunks = (count + self->chunk_floats - 1) / self->chunk_floats;
    self->held = calloc (chunks, sizeof (*self->held));
    if (!self->held)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory for %llu chunks",
                                (unsigned long long)chunks);
    self->held_chunks = chunks;
    self->held_count = count;
    return 0;
}

void held_put (contributor_t *self, uint64_t chunk, uint64_t version, payload_t *payload)
{
    assert (chunk < self->held_chunks);
    held_t *held = &self->held[chunk];
    payload_release (&held->previous);
    if (held->current && held->version + 1 == version)
        held->previous = held->current;
    else
        payload_release (&held->current);
    held->current = payload_retain (payload);
    held->version = version;
}

/*  ---- steps of the series -------------------------------------------------------------- */

static size_t series_of (int operation)
{
    return operation == OPERATION_ALL_REDUCE ? 0 : operation == OPERATION_BROADCAST ? 1 : 2;
}

static void past_free (contributor_t *self, past_t *past)
{
    for (uint64_t chunk = 0; past->results && chunk < past->chunks; chunk++)
        payload_release (&past->results[chunk].payload);
    free (past->results);
    self->past_bytes -= past->bytes;
    *past = (past_t){0};
}

past_t *past_of (contributor_t *self, int operation, uint64_t step, uint64_t chunks,
                 nexus_error_t *error)
{
    past_t *series = self->pasts[series_of (operation)];
    past_t *place = NULL;
    for (size_t i = 0; i < SERIES_KEPT; i++) {
        past_t *past = &series[i];
        if (past->results && past->complete && past->step >= step) {
            nexus_error_set (error, NEXUS_INVALID,
                             "this rank has done %s %llu already: steps must grow",
                             record_choice_name (&data_operation_choices, operation),
                             (unsigned long long)past->step);
            return NULL;
        }
        if (past->results && past->step == step && past->chunks == chunks)
            return past;
        if (!place || !past->results || (place->results && past->step < place->step))
            place = past;
    }
    past_free (self, place);
    place->results = calloc (chunks, sizeof (*place->results));
    if (!place->results) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory for %llu chunks",
                         (unsigned long long)chunks);
        return NULL;
    }
    place->step = step;
    place->chunks = chunks;
    return place;
}

void past_put (contributor_t *self, past_t *past, uint64_t chunk, payload_t *payload)
{
    assert (chunk < past->chunks && !past->results[chunk].there);
    past->results[chunk].there = true;
    if (!payload)
        return;
    past->results[chunk].payload = payload_retain (payload);
    past->bytes += payload->size;
    self->past_bytes += payload->size;
}

void past_trim (contributor_t *self, const past_t *newest)
{
    while (self->past_bytes > HISTORY_BYTES_MAX) {
        past_t *oldest = NULL;
        for (size_t s = 0; s < SERIES; s++)
            for (size_t i = 0; i < SERIES_KEPT; i++) {
                past_t *past = &self->pasts[s][i];
                if (past->results && past != newest && past->bytes &&
                    (!oldest || past->step < oldest->step))
                    oldest = past;
            }
        if (!oldest)
            return;
        past_free (self, oldest);
    }
}

/*  ---- bringing it to a shard ------------------------------------------------------------- */

static void bring_add (contributor_t *self, int operation, uint64_t step, uint64_t chunk)
{
    if (self->bring_count == self->bring_room) {
        size_t room = self->bring_room ? self->bring_room * 2 : 64;
        bring_t *grown = realloc (self->bring, room * sizeof (*grown));
        if (!grown)
            abort ();
        self->bring = grown;
        self->bring_room = room;
    }
    self->bring[self->bring_count++] =
        (bring_t){.operation = operation, .step = step, .chunk = chunk};
}

static void bring_taken (contributor_t *self, bring_t *item)
{
    if (item->taken)
        return;
    if (item->sent)
        self->bring_in_flight--;
    item->taken = true;
    while (self->bring_first < self->bring_count && self->bring[self->bring_first].taken)
        self->bring_first++;
    if (self->bring_first == self->bring_count)
        self->bring_count = self->bring_first = self->bring_next = 0;
}

void bring_all (contributor_t *self, size_t shard)
{
    for (size_t i = self->bring_first; i < self->bring_count; i++)
        if (self->bring[i].chunk % self->shard_count == shard)
            bring_taken (self, &self->bring[i]);
    for (uint64_t chunk = shard; chunk < self->held_chunks; chunk += self->shard_count)
        if (self->held[chunk].current)
            bring_add (self, OPERATION_PARAMETERS, 0, chunk);
    static const int operations[SERIES] = {OPERATION_ALL_REDUCE, OPERATION_BROADCAST,
                                           OPERATION_BARRIER};
    for (size_t s = 0; s < SERIES; s++)
        for (size_t i = 0; i < SERIES_KEPT; i++) {
            const past_t *past = &self->pasts[s][i];
            for (uint64_t chunk = shard; past->results && chunk < past->chunks;
                 chunk += self->shard_count)
                if (past->results[chunk].there)
                    bring_add (self, operations[s], past->step, chunk);
        }
}

static const past_t *past_find (const contributor_t *self, const bring_t *item)
{
    const past_t *series = self->pasts[series_of (item->operation)];
    for (size_t i = 0; i < SERIES_KEPT; i++)
        if (series[i].results && series[i].step == item->step && item->chunk < series[i].chunks &&
            series[i].results[item->chunk].there)
            return &series[i];
    return NULL;
}

/*  Both versions in one payload, so that no network can tear them apart. */
static payload_t *parameters_seed (const held_t *held)
{
    size_t size = held->current->size;
    if (!held->previous || 2 * size > SEED_BYTES_MAX)
        return payload_retain (held->current);
    uint8_t *data;
    payload_t *both = payload_alloc (2 * size, &data);
    memcpy (data, held->current->data, size);
    memcpy (data + size, held->previous->data, size);
    return both;
}

static void bring_send (contributor_t *self, context_t *ctx, bring_t *item)
{
    chunk_push_t push = {.operation = item->operation, .mode = PUSH_SEED, .chunk = item->chunk};
    payload_t *payload = NULL;
    if (item->operation == OPERATION_PARAMETERS) {
        const held_t *held = &self->held[item->chunk];
        push.step = held->version;
        push.chunks = self->held_chunks;
        push.floats = held->current->size / sizeof (float);
        payload = parameters_seed (held);
    } else {
        const past_t *past = past_find (self, item);
        if (!past) { /* it had to make room meanwhile */
            bring_taken (self, item);
            return;
        }
        payload_t *result = past->results[item->chunk].payload;
        push.step = past->step;
        push.chunks = past->chunks;
        push.floats = result ? result->size / sizeof (float) : 0;
        payload = result ? payload_retain (result) : NULL;
    }
    if (!item->sent)
        self->bring_in_flight++;
    item->sent = true;
    item->due = context_now (ctx) + MS_TO_NS (2000);
    contributor_push (self, ctx, &push, &payload);
}

static bool can_bring (const contributor_t *self, const bring_t *item)
{
    return self->shards[item->chunk % self->shard_count].ready;
}

void bring_pump (contributor_t *self, context_t *ctx)
{
    if (self->bring_next < self->bring_first)
        self->bring_next = self->bring_first;
    while (self->bring_next < self->bring_count && self->bring_in_flight < self->window) {
        bring_t *item = &self->bring[self->bring_next++];
        if (!item->taken && can_bring (self, item))
            bring_send (self, ctx, item);
    }
}

void bring_tick (contributor_t *self, context_t *ctx)
{
    for (size_t i = self->bring_first; i < self->bring_next && i < self->bring_count; i++) {
        bring_t *item = &self->bring[i];
        if (!item->taken && item->due <= context_now (ctx) && can_bring (self, item) &&
            !(item->sent && contributor_flows (self, ctx, item->chunk)))
            bring_send (self, ctx, item);
    }
    bring_pump (self, ctx);
}

void bring_result (contributor_t *self, context_t *ctx, const chunk_result_t *result)
{
    if (result->status == CHUNK_MISSING) /* a new shard says hello */
        return;
    for (size_t i = self->bring_first; i < self->bring_next && i < self->bring_count; i++) {
        bring_t *item = &self->bring[i];
        if (item->taken || item->operation != result->operation || item->chunk != result->chunk ||
            (item->operation != OPERATION_PARAMETERS && item->step != result->step))
            continue;
        if (result->status == CHUNK_STALE) {
            item->due = context_now (ctx) + MS_TO_NS (200);
            contributor_ask_view (self, ctx);
            return;
        }
        if (result->status == CHUNK_REFUSED)
            log_warning (context_log (ctx), "an aggregator refused what this rank holds",
                         LOG_UINT ("shard", result->shard), LOG_TEXT ("reason", result->text));
        bring_taken (self, item);
        break;
    }
    bring_pump (self, ctx);
}

void held_free (contributor_t *self)
{
    for (uint64_t chunk = 0; chunk < self->held_chunks; chunk++) {
        payload_release (&self->held[chunk].current);
        payload_release (&self->held[chunk].previous);
    }
    free (self->held);
    for (size_t s = 0; s < SERIES; s++)
        for (size_t i = 0; i < SERIES_KEPT; i++)
            past_free (self, &self->pasts[s][i]);
    free (self->bring);
}
