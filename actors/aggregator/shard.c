/*  shard - membership, the checks of a push, and its way to who computes */
#include "actors/aggregator/shard_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (UINT64_C (16) << 30)
enum { HELLOS = 30, HELLO_MS = 2000 };

/*  ---- memory -------------------------------------------------------------- */

bool shard_take (shard_actor_t *self, uint64_t size)
{
    if (size > self->bytes_max || self->bytes > self->bytes_max - size)
        return false;
    self->bytes += size;
    return true;
}

void shard_give (shard_actor_t *self, uint64_t size)
{
    assert (self->bytes >= size);
    self->bytes -= size;
}

bool shard_room (shard_actor_t *self, void ***array, size_t *room, size_t index)
{
    if (index < *room)
        return true;
    size_t wanted = *room ? *room : 16;
    while (wanted <= index)
        wanted *= 2;
    uint64_t more = (wanted - *room) * sizeof (void *);
    if (!shard_take (self, more))
        return false;
    void **grown = realloc (*array, wanted * sizeof (void *));
    if (!grown) {
        shard_give (self, more);
        return false;
    }
    memset (grown + *room, 0, more);
    *array = grown;
    *room = wanted;
    return true;
}

void contribution_clear (shard_actor_t *self, contribution_t *contribution)
{
    if (contribution->payload)
        shard_give (self, contribution->payload->size);
    payload_release (&contribution->payload);
    *contribution = (contribution_t){0};
}

/*  ---- answers --------------------------------------------------------------- */

chunk_push_t shard_push_of (const shard_actor_t *self, data_operation_t operation, uint64_t step,
                            uint64_t chunk, size_t rank)
{
    return (chunk_push_t){
        .operation = (int)operation,
        .mode = PUSH_CONTRIBUTE,
        .step = step,
        .shard = self->index,
        .generation = self->generation,
        .chunk = chunk,
        .rank = rank,
        .attempt = self->view.members.items[rank].attempt,
    };
}

static void send_result (const shard_actor_t *self, context_t *ctx, const record_key_t *to,
                         const chunk_push_t *push, chunk_status_t status, nexus_code_t code,
                         const char *text, uint64_t version, payload_t *payload)
{
    chunk_result_t result = {
        .epoch = self->view.epoch,
        .operation = push->operation,
        .mode = push->mode,
        .step = push->step,
        .shard = self->index,
        .generation = self->generation,
        .start = self->start,
        .chunk = push->chunk,
        .rank = push->rank,
        .attempt = push->attempt,
        .status = (int)status,
        .code = (uint64_t)code,
        .text = text,
        .version = version,
    };
    address_t address = address_remote (to, "contributor", 0);
    payload_t *shared = payload ? payload_retain (payload) : NULL;
    if (payload)
        metric_add (self->bytes_out, (double)payload->size);
    context_send_payload (ctx, &address, &chunk_result_record, &result, &shared);
}

/*  The key that the view gives to the rank: who is answered later may have a new one by then. */
static const record_key_t *key_of (const shard_actor_t *self, uint64_t rank)
{
    return &self->view.members.items[rank].key;
}

void shard_answer (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                   chunk_status_t status, const char *text)
{
    send_result (self, ctx, key_of (self, push->rank), push, status, NEXUS_OK, text, 0, NULL);
}

void shard_deliver (shard_actor_t *self, context_t *ctx, const chunk_push_t *push, uint64_t version,
                    payload_t *payload)
{
    if (!record_key_is_zero (key_of (self, push->rank)))
        send_result (self, ctx, key_of (self, push->rank), push, CHUNK_DONE, NEXUS_OK, NULL,
                     version, payload);
}

static void count_refused (context_t *ctx, const char *reason)
{
    buffer_t labels = {0};
    metrics_label (&labels, "reason", reason);
    buffer_append (&labels, "", 1);
    if (!labels.failed)
        metric_add (metrics_counter (context_metrics (ctx), "nexus_aggregator_refused_total",
                                     "Pushes that a shard refused", (const char *)labels.data),
                    1);
    buffer_free (&labels);
}

void shard_refuse (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                   const char *reason, nexus_code_t code, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof (text), format, args);
    va_end (args);
    count_refused (ctx, reason);
    send_result (self, ctx, key_of (self, push->rank), push, CHUNK_REFUSED, code, text, 0, NULL);
}

void shard_unmarked_text (const shard_actor_t *self, char text[200])
{
    size_t missing = 0;
    char list[140] = "";
    size_t length = 0;
    for (size_t rank = 0; rank < self->world; rank++) {
        if (self->view.members.items[rank].done || self->marks[rank])
            continue;
        if (missing++ < 8)
            length += (size_t)snprintf (list + length, sizeof (list) - length, "%s%zu",
                                        missing > 1 ? ", " : "", rank);
    }
    if (missing == 0) {
        snprintf (text, 200, "aggregator %llu", (unsigned long long)self->index);
        return;
    }
    snprintf (text, 200, "rank%s %s%s", missing == 1 ? "" : "s", list,
              missing > 8 ? " and others" : "");
}

void shard_answer_pending (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                           const contribution_t *ranks)
{
    for (size_t rank = 0; rank < self->world; rank++)
        self->marks[rank] = ranks[rank].present && ranks[rank].step == push->step;
    char text[200];
    shard_unmarked_text (self, text);
    shard_answer (self, ctx, push, CHUNK_PENDING, text);
}

/*  ---- checks ------------------------------------------------------------------ */

/*  Is the speaker the process that this shard knows as that rank? Answers STALE if not. */
static bool is_member (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                       const message_t *message)
{
    char text[200] = "";
    if (strcmp (push->job_id ? push->job_id : "", self->job_id) != 0 || push->shard != self->index)
        snprintf (text, sizeof (text), "this is shard %llu of job %s",
                  (unsigned long long)self->index, self->job_id);
    else if (push->generation != self->generation)
        snprintf (text, sizeof (text), "generation %llu of shard %llu, but this is generation %llu",
                  (unsigned long long)push->generation, (unsigned long long)self->index,
                  (unsigned long long)self->generation);
    else if (push->rank >= self->world)
        snprintf (text, sizeof (text), "rank %llu of %zu", (unsigned long long)push->rank,
                  self->world);
    else if (memcmp (key_of (self, push->rank), &message->from.node, sizeof (record_key_t)) != 0 ||
             push->attempt != self->view.members.items[push->rank].attempt)
        snprintf (text, sizeof (text),
                  "attempt %llu of rank %llu (epoch %llu), but attempt %llu runs (epoch %llu)",
                  (unsigned long long)push->attempt, (unsigned long long)push->rank,
                  (unsigned long long)push->epoch,
                  (unsigned long long)self->view.members.items[push->rank].attempt,
                  (unsigned long long)self->view.epoch);
    if (!text[0])
        return true;
    count_refused (ctx, "stale");
    send_result (self, ctx, &message->from.node, push, CHUNK_STALE, NEXUS_OK, text, 0, NULL);
    return false;
}

/*  Do chunk, floats and payload fit each other and the job's chunk size? */
static const char *geometry_fault (const shard_actor_t *self, const chunk_push_t *push,
                                   uint64_t payload)
{
    uint64_t floats_max = self->view.aggregation.chunk_bytes / sizeof (float);
    uint64_t bytes = push->floats * sizeof (float);
    bool data = push->operation == OPERATION_PUSH_PULL || push->operation == OPERATION_PARAMETERS;
    if (push->chunk >= push->chunks || push->chunk % self->shards != self->index)
        return "the chunk is not this shard's";
    if (push->floats > floats_max || (push->chunk + 1 < push->chunks && push->floats != floats_max))
        return "the chunk's size is not the job's chunk_bytes";
    if (data && push->floats == 0)
        return "the chunk is empty";
    if (push->mode == PUSH_ASK && payload)
        return "a question has a payload";
    if (push->mode == PUSH_SEED) {
        if (payload != bytes && !(push->operation == OPERATION_PARAMETERS && payload == 2 * bytes))
            return "the seed's size is wrong";
        return NULL;
    }
    if (push->mode != PUSH_CONTRIBUTE)
        return NULL;
    bool optional = push->operation == OPERATION_PARAMETERS ||
                    (push->operation == OPERATION_BROADCAST && push->rank != push->root);
    if (payload != bytes && !(optional && payload == 0))
        return "the payload's size is not the chunk's";
    return NULL;
}

static void receive_push (shard_actor_t *self, context_t *ctx, const message_t *message,
                          const chunk_push_t *push)
{
    payload_t *payload = message->payload;
    if (message->role != ROLE_TASK) {
        count_refused (ctx, "role");
        return;
    }
    metric_add (self->pushes, 1);
    if (payload)
        metric_add (self->bytes_in, (double)payload->size);
    if (!is_member (self, ctx, push, message))
        return;
    const char *fault = geometry_fault (self, push, payload ? payload->size : 0);
    if (fault) {
        shard_refuse (self, ctx, push, "malformed", NEXUS_INVALID, "%s of %s: %s", "chunk",
                      record_choice_name (&data_operation_choices, push->operation), fault);
        return;
    }
    if (payload && payload->size == 0)
        payload = NULL;
    if (push->operation == OPERATION_PUSH_PULL)
        shard_gradient (self, ctx, push, payload);
    else if (push->operation == OPERATION_PARAMETERS)
        shard_parameters (self, ctx, push, payload);
    else
        shard_collective (self, ctx, push, payload);
}

/*  ---- membership ---------------------------------------------------------------- */

static bool is_newer (const group_view_t *view, const group_view_t *than)
{
    return view->epoch != than->epoch ? view->epoch > than->epoch : view->version > than->version;
}

static void receive_view (shard_actor_t *self, context_t *ctx, const group_view_t *view)
{
    if (strcmp (view->job_id ? view->job_id : "", self->job_id) != 0 ||
        !is_newer (view, &self->view))
        return;
    if (view->members.count != self->world || view->shards.count != self->shards) {
        log_error (context_log (ctx), "a group changed its size: view ignored",
                   LOG_TEXT ("job", self->job_id), LOG_UINT ("epoch", view->epoch));
        return;
    }
    arena_t arena;
    group_view_t copy;
    arena_init (&arena, 0, NULL, 0);
    if (record_clone (&group_view_record, view, &arena, &copy) < 0) {
        arena_reset (&arena);
        return;
    }
    bool any = false;
    for (size_t rank = 0; rank < self->world; rank++) {
        const group_member_t *old = &self->view.members.items[rank];
        const group_member_t *now = &copy.members.items[rank];
        /* What a rank contributed before it was done counts; what one that runs again
           contributed in its former life does not: it contributes once more. */
        self->marks[rank] = !now->done && (old->attempt != now->attempt ||
                                           memcmp (&old->key, &now->key, sizeof (old->key)) != 0);
        any = any || self->marks[rank];
    }
    arena_reset (&self->arena);
    self->arena = arena;
    self->view = copy;
    if (any) {
        shard_chunks_drop (self);
        shard_series_drop (self);
    }
    shard_chunks_advance (self, ctx);
    shard_series_advance (self, ctx);
}

/*  ---- hello -----------------------------------------------------------------------

    A shard that starts tells its members, some of which may think that it holds what
    a former one held. */

static void say_hello (shard_actor_t *self, context_t *ctx)
{
    for (size_t rank = 0; rank < self->world; rank++) {
        chunk_push_t push = shard_push_of (self, OPERATION_PARAMETERS, 0, self->index, rank);
        push.mode = PUSH_SEED;
        if (!record_key_is_zero (key_of (self, rank)))
            shard_answer (self, ctx, &push, CHUNK_MISSING, NULL);
    }
}

static void shard_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    shard_actor_t *self = state;
    say_hello (self, ctx);
    if (data + 1 < HELLOS)
        context_after (ctx, MS_TO_NS (HELLO_MS), data + 1);
}

/*  ---- the behaviour ----------------------------------------------------------------- */

static int shard_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    shard_actor_t *self = state;
    const shard_args_t *with = args;
    size_t world = with->view->members.count;
    if (world == 0 || with->index >= with->view->shards.count ||
        with->view->aggregation.chunk_bytes < sizeof (float))
        return nexus_error_set (
            error, NEXUS_INVALID, "shard %llu of job %s: its group has %zu ranks and %zu shards",
            (unsigned long long)with->index, with->job_id, world, with->view->shards.count);
    snprintf (self->job_id, sizeof (self->job_id), "%s", with->job_id);
    self->index = with->index;
    self->generation = with->generation;
    self->start = context_random (ctx) | 1;
    self->world = world;
    self->shards = with->view->shards.count;
    self->bytes_max = with->bytes_max ? with->bytes_max : BYTES_MAX;
    arena_init (&self->arena, 0, NULL, 0);
    self->buffers = calloc (world, sizeof (*self->buffers));
    self->marks = calloc (world, sizeof (*self->marks));
    if (!self->buffers || !self->marks ||
        record_clone (&group_view_record, with->view, &self->arena, &self->view) < 0) {
        free (self->buffers);
        free (self->marks);
        arena_reset (&self->arena);
        return nexus_error_set (error, NEXUS_EXHAUSTED, "shard %llu of job %s: out of memory",
                                (unsigned long long)with->index, with->job_id);
    }
    metrics_t *metrics = context_metrics (ctx);
    self->pushes = metrics_counter (metrics, "nexus_aggregator_pushes_total",
                                    "Messages from contributors", NULL);
    self->bytes_in = metrics_counter (metrics, "nexus_aggregator_received_bytes_total",
                                      "Payload bytes from contributors", NULL);
    self->bytes_out = metrics_counter (metrics, "nexus_aggregator_sent_bytes_total",
                                       "Payload bytes to contributors", NULL);
    self->rounds = metrics_counter (metrics, "nexus_aggregator_rounds_total",
                                    "Chunks reduced over all ranks", NULL);
    self->held = metrics_gauge (metrics, "nexus_aggregator_held_bytes",
                                "Memory that the node's shards hold", NULL);
    context_after (ctx, 0, 0);
    return 0;
}

static void shard_receive (void *state, context_t *ctx, const message_t *message)
{
    shard_actor_t *self = state;
    const chunk_push_t *push = message_body (message, chunk_push);
    const group_view_t *view = message_body (message, group_view);
    uint64_t before = self->bytes;
    if (push)
        receive_push (self, ctx, message, push);
    else if (view && message->role == ROLE_LOCAL)
        receive_view (self, ctx, view);
    metric_add (self->held, (double)self->bytes - (double)before);
}

static void shard_stop (void *state, context_t *ctx)
{
    (void)ctx;
    shard_actor_t *self = state;
    metric_add (self->held, -(double)self->bytes);
    shard_chunks_free (self);
    shard_series_free (self);
    free (self->buffers);
    free (self->marks);
    arena_reset (&self->arena);
}

const behaviour_t shard_behaviour = {
    .name = "shard",
    .state_size = sizeof (shard_actor_t),
    .start = shard_start,
    .receive = shard_receive,
    .timer = shard_timer,
    .stop = shard_stop,
};
