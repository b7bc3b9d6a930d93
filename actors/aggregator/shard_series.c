/*  shard_series - collectives named by a step: all_reduce, broadcast, barrier */
#include "actors/aggregator/shard_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static series_t *series_of (shard_actor_t *self, int operation)
{
    switch (operation) {
    case OPERATION_ALL_REDUCE:
        return &self->series[0];
    case OPERATION_BROADCAST:
        return &self->series[1];
    default:
        assert (operation == OPERATION_BARRIER);
        return &self->series[2];
    }
}

static data_operation_t operation_of (size_t series)
{
    static const data_operation_t operations[SERIES_COUNT] = {
        OPERATION_ALL_REDUCE, OPERATION_BROADCAST, OPERATION_BARRIER};
    return operations[series];
}

/*  ---- memory ------------------------------------------------------------------- */

static void contributions_free (shard_actor_t *self, round_t *round)
{
    if (!round->ranks)
        return;
    for (size_t rank = 0; rank < self->world; rank++)
        contribution_clear (self, &round->ranks[rank]);
    free (round->ranks);
    round->ranks = NULL;
    shard_give (self, self->world * sizeof (contribution_t));
}

static void round_free (shard_actor_t *self, round_t **round_p)
{
    round_t *round = *round_p;
    *round_p = NULL;
    if (!round)
        return;
    contributions_free (self, round);
    shard_give (self, sizeof (*round) + (round->result ? round->result->size : 0));
    payload_release (&round->result);
    free (round);
}

static void step_free (shard_actor_t *self, step_t *step)
{
    for (size_t i = 0; i < step->room; i++)
        round_free (self, &step->rounds[i]);
    shard_give (self, step->room * sizeof (*step->rounds));
    free (step->rounds);
    *step = (step_t){0};
}

void shard_series_free (shard_actor_t *self)
{
    for (size_t s = 0; s < SERIES_COUNT; s++)
        for (size_t i = 0; i < self->series[s].count; i++)
            step_free (self, &self->series[s].steps[i]);
}

static round_t *round_new (shard_actor_t *self)
{
    uint64_t bytes = sizeof (round_t) + self->world * sizeof (contribution_t);
    if (!shard_take (self, bytes))
        return NULL;
    round_t *round = calloc (1, sizeof (*round));
    contribution_t *ranks = calloc (self->world, sizeof (*ranks));
    if (round && ranks) {
        round->ranks = ranks;
        return round;
    }
    free (round);
    free (ranks);
    shard_give (self, bytes);
    return NULL;
}

/*  ---- finding the round of a push ------------------------------------------------- */

/*  The step, opened if need be: the oldest makes room. NULL: it is older than all that are kept. */
static step_t *step_of (shard_actor_t *self, series_t *series, const chunk_push_t *push)
{
    size_t at = 0;
    while (at < series->count && series->steps[at].step < push->step)
        at++;
    if (at < series->count && series->steps[at].step == push->step)
        return &series->steps[at];
    if (series->count == SERIES_STEPS_MAX) {
        if (at == 0)
            return NULL;
        step_free (self, &series->steps[0]);
        memmove (series->steps, series->steps + 1, (series->count - 1) * sizeof (step_t));
        series->count--;
        at--;
    }
    memmove (series->steps + at + 1, series->steps + at, (series->count - at) * sizeof (step_t));
    series->steps[at] = (step_t){.step = push->step, .chunks = push->chunks};
    series->count++;
    return &series->steps[at];
}

static round_t *round_of (shard_actor_t *self, context_t *ctx, const chunk_push_t *push)
{
    const char *name = record_choice_name (&data_operation_choices, push->operation);
    step_t *step = step_of (self, series_of (self, push->operation), push);
    if (!step) {
        shard_refuse (self, ctx, push, "forgotten", NEXUS_NOT_FOUND,
                      "%s %llu: its result is not kept any more (steps grow; those of the last 8 "
                      "are kept)",
                      name, (unsigned long long)push->step);
        return NULL;
    }
    if (step->chunks != push->chunks) {
        shard_refuse (self, ctx, push, "size", NEXUS_INVALID,
                      "%s %llu of rank %llu has %llu chunks, that of others %llu: the count must "
                      "be equal on all ranks",
                      name, (unsigned long long)push->step, (unsigned long long)push->rank,
                      (unsigned long long)push->chunks, (unsigned long long)step->chunks);
        return NULL;
    }
    size_t index = (size_t)(push->chunk / self->shards);
    void **array = (void **)step->rounds;
    bool room = shard_room (self, &array, &step->room, index);
    step->rounds = (round_t **)array;
    if (room && !step->rounds[index])
        step->rounds[index] = round_new (self);
    if (!room || !step->rounds[index]) {
        shard_refuse (self, ctx, push, "memory", NEXUS_EXHAUSTED,
                      "shard %llu holds %llu bytes of %llu: use more shards",
                      (unsigned long long)self->index, (unsigned long long)self->bytes,
                      (unsigned long long)self->bytes_max);
        return NULL;
    }
    return step->rounds[index];
}

/*  ---- rounds ----------------------------------------------------------------------- */

/*  Keeps the result (its reference is taken over) and answers who has contributed. */
static void round_done (shard_actor_t *self, context_t *ctx, data_operation_t operation,
                        uint64_t step, uint64_t chunk, round_t *round, payload_t *result)
{
    if (result)
        self->bytes += result->size; /* never more than the contributions that it replaces */
    round->result = result;
    round->done = true;
    metric_add (self->rounds, 1);
    for (size_t rank = 0; rank < self->world; rank++) {
        if (!round->ranks[rank].present)
            continue;
        chunk_push_t push = shard_push_of (self, operation, step, chunk, rank);
        shard_deliver (self, ctx, &push, 0, result);
    }
    contributions_free (self, round);
}

static void refuse_all (shard_actor_t *self, context_t *ctx, data_operation_t operation,
                        uint64_t step, uint64_t chunk, round_t *round, nexus_code_t code,
                        const char *text)
{
    for (size_t rank = 0; rank < self->world; rank++) {
        if (!round->ranks[rank].present)
            continue;
        contribution_clear (self, &round->ranks[rank]);
        chunk_push_t push = shard_push_of (self, operation, step, chunk, rank);
        shard_refuse (self, ctx, &push, "mismatch", code, "%s %llu: %s",
                      record_choice_name (&data_operation_choices, (int)operation),
                      (unsigned long long)step, text);
    }
    round->opened = false;
}

static payload_t *reduced (shard_actor_t *self, const round_t *round, size_t count)
{
    uint8_t *data;
    payload_t *result = payload_alloc (round->floats * sizeof (float), &data);
    reduce_buffers (round->reduction, self->buffers, count, round->floats, (float *)(void *)data);
    return result;
}

/*  Closes the round if every rank that is waited for has contributed. */
static void round_advance (shard_actor_t *self, context_t *ctx, data_operation_t operation,
                           uint64_t step, uint64_t chunk, round_t *round)
{
    size_t count = 0, present = 0;
    if (round->done)
        return;
    for (size_t rank = 0; rank < self->world; rank++) {
        const contribution_t *contribution = &round->ranks[rank];
        if (!contribution->present && !self->view.members.items[rank].done)
            return;
        present += contribution->present;
        if (contribution->payload)
            self->buffers[count++] = contribution->payload->data;
    }
    if (present == 0)
        return;
    payload_t *result = NULL;
    if (operation == OPERATION_ALL_REDUCE && count > 0) {
        result = reduced (self, round, count);
    } else if (operation == OPERATION_BROADCAST && round->floats > 0) {
        if (!round->ranks[round->root].payload) {
            refuse_all (self, ctx, operation, step, chunk, round, NEXUS_NOT_FOUND,
                        "its root has ended without it");
            return;
        }
        result = payload_retain (round->ranks[round->root].payload);
    }
    round_done (self, ctx, operation, step, chunk, round, result);
}

/*  Do all ranks mean the same operation? If not, all are told. */
static bool same_round (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                        round_t *round)
{
    if (!round->opened) {
        round->opened = true;
        round->floats = push->floats;
        round->root = push->root;
        round->reduction = (data_reduction_t)push->reduction;
    }
    const char *fault = NULL;
    if (round->floats != push->floats)
        fault = "the count must be equal on all ranks";
    else if (push->root >= self->world || round->root != push->root)
        fault = "the root must be one of the ranks, and equal on all of them";
    else if ((int)round->reduction != push->reduction)
        fault = "the reduction must be equal on all ranks";
    if (!fault)
        return true;
    round->ranks[push->rank].present = true;
    refuse_all (self, ctx, (data_operation_t)push->operation, push->step, push->chunk, round,
                NEXUS_INVALID, fault);
    return false;
}

static void take_seed (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                       round_t *round, payload_t *payload)
{
    if (!round->done && (!payload || shard_take (self, payload->size))) {
        if (payload)
            shard_give (self, payload->size); /* round_done counts it */
        round->floats = push->floats;
        round_done (self, ctx, (data_operation_t)push->operation, push->step, push->chunk, round,
                    payload ? payload_retain (payload) : NULL);
    }
    shard_answer (self, ctx, push, CHUNK_DONE, NULL);
}

void shard_collective (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                       payload_t *payload)
{
    round_t *round = round_of (self, ctx, push);
    if (!round)
        return;
    if (push->mode == PUSH_SEED) {
        take_seed (self, ctx, push, round, payload);
        return;
    }
    if (round->done) {
        shard_deliver (self, ctx, push, 0, round->result);
        return;
    }
    contribution_t *mine = &round->ranks[push->rank];
    if (mine->present) {
        shard_answer_pending (self, ctx, push, round->ranks);
        return;
    }
    if (push->mode == PUSH_ASK) {
        shard_answer (self, ctx, push, CHUNK_MISSING, NULL);
        return;
    }
    if (!same_round (self, ctx, push, round))
        return;
    if (payload && !shard_take (self, payload->size)) {
        shard_refuse (self, ctx, push, "memory", NEXUS_EXHAUSTED,
                      "shard %llu is full: use more shards", (unsigned long long)self->index);
        return;
    }
    *mine = (contribution_t){payload ? payload_retain (payload) : NULL, push->step, true};
    round_advance (self, ctx, (data_operation_t)push->operation, push->step, push->chunk, round);
}

/*  ---- membership ---------------------------------------------------------------------- */

void shard_series_drop (shard_actor_t *self)
{
    for (size_t s = 0; s < SERIES_COUNT; s++)
        for (size_t i = 0; i < self->series[s].count; i++) {
            step_t *step = &self->series[s].steps[i];
            for (size_t k = 0; k < step->room; k++)
                for (size_t rank = 0;
                     step->rounds[k] && step->rounds[k]->ranks && rank < self->world; rank++)
                    if (self->marks[rank])
                        contribution_clear (self, &step->rounds[k]->ranks[rank]);
        }
}

void shard_series_advance (shard_actor_t *self, context_t *ctx)
{
    for (size_t s = 0; s < SERIES_COUNT; s++)
        for (size_t i = 0; i < self->series[s].count; i++) {
            step_t *step = &self->series[s].steps[i];
            for (size_t k = 0; k < step->room; k++)
                if (step->rounds[k])
                    round_advance (self, ctx, operation_of (s), step->step,
                                   k * self->shards + self->index, step->rounds[k]);
        }
}
