/*  shard_chunk - the parameters: push_pull rounds, seeding of an empty shard */
#include "actors/aggregator/shard_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*  ---- one chunk's memory --------------------------------------------------------- */

static uint64_t chunk_overhead (const shard_actor_t *self)
{
    return sizeof (chunk_t) + sizeof (seeding_t) +
           self->world * (sizeof (contribution_t) + sizeof (((seeding_t *)NULL)->ranks[0]));
}

static void seeding_free (seeding_t **seeding_p)
{
    seeding_t *seeding = *seeding_p;
    *seeding_p = NULL;
    if (!seeding)
        return;
    payload_release (&seeding->best);
    payload_release (&seeding->previous);
    free (seeding);
}

static void chunk_free (shard_actor_t *self, chunk_t **chunk_p)
{
    chunk_t *chunk = *chunk_p;
    *chunk_p = NULL;
    if (!chunk)
        return;
    for (size_t rank = 0; chunk->gradients && rank < self->world; rank++)
        contribution_clear (self, &chunk->gradients[rank]);
    seeding_free (&chunk->seeding);
    payload_release (&chunk->parameters);
    payload_release (&chunk->previous);
    free (chunk->momentum);
    free (chunk->gradients);
    free (chunk);
}

void shard_chunks_free (shard_actor_t *self)
{
    for (size_t i = 0; i < self->room; i++)
        chunk_free (self, &self->chunks[i]);
    free (self->chunks);
}

/*  A new chunk is charged at once with all that it will need: parameters of two
    versions and the momentum. */
static chunk_t *chunk_new (shard_actor_t *self, uint64_t floats)
{
    uint64_t bytes = chunk_overhead (self) + 3 * floats * sizeof (float);
    if (!shard_take (self, bytes))
        return NULL;
    chunk_t *chunk = calloc (1, sizeof (*chunk));
    if (chunk) {
        chunk->floats = floats;
        chunk->gradients = calloc (self->world, sizeof (*chunk->gradients));
        chunk->seeding =
            calloc (1, sizeof (seeding_t) + self->world * sizeof (chunk->seeding->ranks[0]));
        chunk->momentum = calloc (floats, sizeof (float));
        if (chunk->gradients && chunk->seeding && chunk->momentum)
            return chunk;
        chunk_free (self, &chunk);
    }
    shard_give (self, bytes);
    return NULL;
}

/*  The chunk of a push, made if need be; NULL if the push was refused. */
static chunk_t *chunk_of (shard_actor_t *self, context_t *ctx, const chunk_push_t *push)
{
    if (self->chunks_total && self->chunks_total != push->chunks) {
        shard_refuse (self, ctx, push, "size", NEXUS_INVALID,
                      "rank %llu has parameters of %llu chunks, others of %llu: the count must be "
                      "equal on all ranks",
                      (unsigned long long)push->rank, (unsigned long long)push->chunks,
                      (unsigned long long)self->chunks_total);
        return NULL;
    }
    size_t index = (size_t)(push->chunk / self->shards);
    chunk_t *chunk = index < self->room ? self->chunks[index] : NULL;
    if (!chunk) {
        void **array = (void **)self->chunks;
        bool room = shard_room (self, &array, &self->room, index);
        self->chunks = (chunk_t **)array;
        chunk = room ? chunk_new (self, push->floats) : NULL;
        if (!chunk) {
            shard_refuse (self, ctx, push, "memory", NEXUS_EXHAUSTED,
                          "shard %llu holds %llu bytes of %llu: use more shards",
                          (unsigned long long)self->index, (unsigned long long)self->bytes,
                          (unsigned long long)self->bytes_max);
            return NULL;
        }
        self->chunks[index] = chunk;
        self->chunks_total = push->chunks;
    }
    if (chunk->floats != push->floats) {
        shard_refuse (self, ctx, push, "size", NEXUS_INVALID,
                      "chunk %llu of rank %llu has %llu floats, that of others %llu: the count "
                      "must be equal on all ranks",
                      (unsigned long long)push->chunk, (unsigned long long)push->rank,
                      (unsigned long long)push->floats, (unsigned long long)chunk->floats);
        return NULL;
    }
    return chunk;
}

/*  ---- push_pull -------------------------------------------------------------------- */

static void deliver_version (shard_actor_t *self, context_t *ctx, uint64_t chunk_index,
                             const chunk_t *chunk, size_t rank)
{
    chunk_push_t push =
        shard_push_of (self, OPERATION_PUSH_PULL, chunk->version - 1, chunk_index, rank);
    shard_deliver (self, ctx, &push, chunk->version, chunk->parameters);
}

/*  Closes the round if every rank that is waited for has contributed to it. */
static void chunk_advance (shard_actor_t *self, context_t *ctx, uint64_t chunk_index,
                           chunk_t *chunk)
{
    size_t count = 0;
    reduce_update_t update = {0};
    if (!chunk->parameters)
        return;
    for (size_t rank = 0; rank < self->world; rank++) {
        const contribution_t *gradient = &chunk->gradients[rank];
        if (gradient->present && gradient->step == chunk->version) {
            self->buffers[count++] = gradient->payload->data;
            update = gradient->update;
        } else if (!self->view.members.items[rank].done)
            return;
    }
    if (count == 0)
        return;
    uint8_t *data;
    payload_t *updated = payload_alloc (chunk->floats * sizeof (float), &data);
    reduce_update (self->buffers, count, chunk->floats, &update, chunk->parameters->data,
                   chunk->momentum, (float *)(void *)data);
    payload_release (&chunk->previous);
    chunk->previous = chunk->parameters;
    chunk->parameters = updated;
    chunk->version++;
    metric_add (self->rounds, 1);
    for (size_t rank = 0; rank < self->world; rank++) {
        bool contributed = chunk->gradients[rank].present;
        contribution_clear (self, &chunk->gradients[rank]);
        if (contributed)
            deliver_version (self, ctx, chunk_index, chunk, rank);
    }
}

/*  Another update than that of the contributions to the same round that are there is an
    error of the program, told to all who have contributed. Before the chunk is seeded
    contributions to two rounds may be waiting: each has an update of its own. */
static bool same_update (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                         chunk_t *chunk, const reduce_update_t *update)
{
    bool same = true;
    for (size_t rank = 0; rank < self->world; rank++) {
        const contribution_t *other = &chunk->gradients[rank];
        if (rank != push->rank && other->present && other->step == push->step)
            same &= memcmp (update, &other->update, sizeof (*update)) == 0;
    }
    for (size_t rank = 0; rank < self->world && !same; rank++) {
        contribution_t *other = &chunk->gradients[rank];
        if (rank != push->rank && !(other->present && other->step == push->step))
            continue;
        contribution_clear (self, other);
        chunk_push_t to = shard_push_of (self, OPERATION_PUSH_PULL, push->step, push->chunk, rank);
        shard_refuse (self, ctx, &to, "update", NEXUS_INVALID,
                      "push_pull %llu: the ranks pass different updates (rank %llu: learning rate "
                      "%g, momentum %g, weight decay %g)",
                      (unsigned long long)push->step, (unsigned long long)push->rank,
                      (double)update->learning_rate, (double)update->momentum,
                      (double)update->weight_decay);
    }
    return same;
}

/*  Answers PENDING: who has not said yet what it holds of this chunk. */
static void answer_pending_seeds (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                                  const chunk_t *chunk)
{
    for (size_t rank = 0; rank < self->world; rank++)
        self->marks[rank] = chunk->seeding->ranks[rank].stated;
    char text[200];
    shard_unmarked_text (self, text);
    shard_answer (self, ctx, push, CHUNK_PENDING, text);
}

void shard_gradient (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                     payload_t *payload)
{
    if (push->mode == PUSH_SEED) {
        shard_refuse (self, ctx, push, "malformed", NEXUS_INVALID, "a seed of a push_pull");
        return;
    }
    chunk_t *chunk = chunk_of (self, ctx, push);
    if (!chunk)
        return;
    if (chunk->parameters && push->step != chunk->version) {
        if (push->step + 1 == chunk->version)
            deliver_version (self, ctx, push->chunk, chunk, push->rank);
        else
            shard_refuse (self, ctx, push, "version", NEXUS_CONFLICT,
                          "push_pull %llu of rank %llu, but the group's parameters are at version "
                          "%llu: call nexus_parameters first",
                          (unsigned long long)push->step, (unsigned long long)push->rank,
                          (unsigned long long)chunk->version);
        return;
    }
    contribution_t *gradient = &chunk->gradients[push->rank];
    if (!gradient->present || gradient->step != push->step) {
        if (push->mode == PUSH_ASK) {
            shard_answer (self, ctx, push, CHUNK_MISSING, NULL);
            return;
        }
        reduce_update_t update = {(float)push->learning_rate, (float)push->momentum,
                                  (float)push->weight_decay};
        if (!same_update (self, ctx, push, chunk, &update))
            return;
        contribution_clear (self, gradient);
        if (!shard_take (self, payload->size)) {
            shard_refuse (self, ctx, push, "memory", NEXUS_EXHAUSTED,
                          "shard %llu is full: use more shards", (unsigned long long)self->index);
            return;
        }
        *gradient = (contribution_t){payload_retain (payload), push->step, true, update};
        chunk_advance (self, ctx, push->chunk, chunk);
        return;
    }
    if (chunk->seeding)
        answer_pending_seeds (self, ctx, push, chunk);
    else
        shard_answer_pending (self, ctx, push, chunk->gradients);
}

/*  ---- seeding ----------------------------------------------------------------------- */

static void release_parent (void *parent)
{
    payload_t *payload = parent;
    payload_release (&payload);
}

static payload_t *payload_part (payload_t *parent, size_t offset, size_t size)
{
    if (offset == 0 && size == parent->size)
        return payload_retain (parent);
    return payload_new (parent->data + offset, size, release_parent, payload_retain (parent));
}

static size_t lowest_rank (const shard_actor_t *self)
{
    size_t rank = 0;
    while (rank + 1 < self->world && self->view.members.items[rank].done)
        rank++;
    return rank;
}

/*  Keeps what is the newest so far, and the version before it. */
static void offer_seed (const chunk_t *chunk, uint64_t have, payload_t *payload)
{
    seeding_t *seeding = chunk->seeding;
    size_t size = (size_t)chunk->floats * sizeof (float);
    bool both = payload->size == 2 * size;
    if (have + 1 == seeding->have || (have == seeding->have && both)) {
        if (!seeding->previous && seeding->have > 1)
            seeding->previous = payload_part (payload, have == seeding->have ? size : 0, size);
        return;
    }
    if (seeding->best && have < seeding->have)
        return;
    if (seeding->best && have == seeding->have && have > 0)
        return;
    payload_release (&seeding->previous);
    if (both && have > 1)
        seeding->previous = payload_part (payload, size, size);
    else if (seeding->best && seeding->have && seeding->have + 1 == have)
        seeding->previous = payload_retain (seeding->best);
    payload_release (&seeding->best);
    seeding->best = payload_part (payload, 0, size);
    seeding->have = have;
}

static bool all_stated (const shard_actor_t *self, const chunk_t *chunk)
{
    for (size_t rank = 0; rank < self->world; rank++)
        if (!chunk->seeding->ranks[rank].stated && !self->view.members.items[rank].done)
            return false;
    return true;
}

/*  Answers who asked for the parameters, and goes on with the gradients that came meanwhile. */
static void chunk_seeded (shard_actor_t *self, context_t *ctx, uint64_t chunk_index, chunk_t *chunk,
                          const seeding_t *seeding)
{
    for (size_t rank = 0; rank < self->world; rank++) {
        if (!seeding->ranks[rank].asks)
            continue;
        chunk_push_t push = shard_push_of (self, OPERATION_PARAMETERS, 0, chunk_index, rank);
        shard_deliver (self, ctx, &push, chunk->version, chunk->parameters);
    }
    for (size_t rank = 0; rank < self->world; rank++) {
        contribution_t *gradient = &chunk->gradients[rank];
        if (!gradient->present || gradient->step == chunk->version)
            continue;
        bool behind = gradient->step + 1 == chunk->version;
        contribution_clear (self, gradient);
        if (behind)
            deliver_version (self, ctx, chunk_index, chunk, rank);
    }
}

/*  Takes the parameters, if all have said what they hold and one has something. */
static void chunk_adopt (shard_actor_t *self, context_t *ctx, uint64_t chunk_index, chunk_t *chunk)
{
    seeding_t *seeding = chunk->seeding;
    if (!seeding || !seeding->best || !all_stated (self, chunk))
        return;
    chunk->parameters = seeding->best;
    chunk->previous = seeding->previous;
    chunk->version = seeding->have ? seeding->have - 1 : 0;
    seeding->best = seeding->previous = NULL;
    chunk->seeding = NULL;
    chunk_seeded (self, ctx, chunk_index, chunk, seeding);
    seeding_free (&seeding);
    chunk_advance (self, ctx, chunk_index, chunk);
}

static void answer_held (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                         const chunk_t *chunk)
{
    if (push->step == 0 || push->step == chunk->version + 1)
        shard_deliver (self, ctx, push, chunk->version, chunk->parameters);
    else if (push->step == chunk->version && chunk->previous)
        shard_deliver (self, ctx, push, chunk->version - 1, chunk->previous);
    else
        shard_refuse (self, ctx, push, "version", NEXUS_NOT_FOUND,
                      "version %llu of the parameters is not held any more: they are at %llu",
                      (unsigned long long)(push->step - 1), (unsigned long long)chunk->version);
}

static void answer_unseeded (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                             const chunk_t *chunk)
{
    if (push->rank == lowest_rank (self) && !chunk->seeding->best) {
        shard_answer (self, ctx, push, CHUNK_MISSING, NULL);
        return;
    }
    answer_pending_seeds (self, ctx, push, chunk);
}

void shard_parameters (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                       payload_t *payload)
{
    chunk_t *chunk = chunk_of (self, ctx, push);
    if (!chunk)
        return;
    bool seed = push->mode == PUSH_SEED;
    if (chunk->seeding) {
        uint64_t have = seed ? push->step + 1 : 0;
        if (payload && (seed || push->rank == lowest_rank (self)))
            offer_seed (chunk, have, payload);
        chunk->seeding->ranks[push->rank].stated = true;
        chunk->seeding->ranks[push->rank].asks |= !seed;
        if (seed)
            shard_answer (self, ctx, push, CHUNK_DONE, NULL);
        chunk_adopt (self, ctx, push->chunk, chunk);
        if (chunk->seeding && !seed)
            answer_unseeded (self, ctx, push, chunk);
    } else if (seed) {
        shard_answer (self, ctx, push, CHUNK_DONE, NULL);
    } else {
        answer_held (self, ctx, push, chunk);
    }
}

/*  ---- membership ---------------------------------------------------------------------- */

void shard_chunks_drop (shard_actor_t *self)
{
    for (size_t i = 0; i < self->room; i++) {
        chunk_t *chunk = self->chunks[i];
        for (size_t rank = 0; chunk && rank < self->world; rank++) {
            if (!self->marks[rank])
                continue;
            contribution_clear (self, &chunk->gradients[rank]);
            if (chunk->seeding)
                chunk->seeding->ranks[rank].stated = chunk->seeding->ranks[rank].asks = false;
        }
    }
}

void shard_chunks_advance (shard_actor_t *self, context_t *ctx)
{
    for (size_t i = 0; i < self->room; i++) {
        uint64_t chunk_index = i * self->shards + self->index;
        if (!self->chunks[i])
            continue;
        chunk_adopt (self, ctx, chunk_index, self->chunks[i]);
        chunk_advance (self, ctx, chunk_index, self->chunks[i]);
    }
}
