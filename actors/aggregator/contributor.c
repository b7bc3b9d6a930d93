/*  contributor - its life: messages, the view, dialling, joining and leaving */
#include "actors/aggregator/contributor_private.h"

#include "transport/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define RECORD_SELF operate_t
RECORD_DEFINE (operate, 0, 0, "An operation of the program.", OPERATE)
#undef RECORD_SELF
#define RECORD_SELF operated_t
RECORD_DEFINE (operated, 0, 0, "It is done.", OPERATED)
#undef RECORD_SELF
#define RECORD_SELF contributor_join_t
RECORD_DEFINE (contributor_join, 0, 0, "Wait for the group.", CONTRIBUTOR_JOIN)
#undef RECORD_SELF
#define RECORD_SELF contributor_leave_t
RECORD_DEFINE (contributor_leave, 0, 0, "Leave the group.", CONTRIBUTOR_LEAVE)
#undef RECORD_SELF
#define RECORD_SELF contributor_report_t
RECORD_DEFINE (contributor_report, 0, 0, "A metric value.", CONTRIBUTOR_REPORT)
#undef RECORD_SELF
/* clang-format on */

enum { TIMER_TICK = 1, TIMER_DRAIN = 2 };

/*  ---- to the shards ------------------------------------------------------------------- */

uint64_t chunk_size (const contributor_t *self, uint64_t count, uint64_t chunk)
{
    uint64_t first = chunk * self->chunk_floats;
    uint64_t left = first < count ? count - first : 0;
    return left < self->chunk_floats ? left : self->chunk_floats;
}

void contributor_push (contributor_t *self, context_t *ctx, chunk_push_t *push,
                       payload_t **payload_p)
{
    size_t shard = (size_t)(push->chunk % self->shard_count);
    const shard_peer_t *peer = &self->shards[shard];
    push->job_id = self->args->job_id;
    push->epoch = self->view.epoch;
    push->shard = shard;
    push->generation = peer->generation;
    push->rank = self->args->rank;
    push->attempt = self->args->attempt;
    if (*payload_p)
        atomic_fetch_add (&self->args->shared->pushed, (*payload_p)->size);
    address_t to = address_remote (&peer->node, "shard", peer->instance);
    context_send_payload (ctx, &to, &chunk_push_record, push, payload_p);
}

bool contributor_flows (const contributor_t *self, const context_t *ctx, uint64_t chunk)
{
    int64_t done_at = self->shards[chunk % self->shard_count].done_at;
    return done_at && context_now (ctx) - done_at < MS_TO_NS (QUIET_MS);
}

static void dial (context_t *ctx, const shard_peer_t *peer)
{
    address_t lane = address_local ("lane", 0);
    const char *endpoints[1] = {peer->endpoint};
    link_dial_t with = {.node = peer->node, .endpoints = {endpoints, 1}, .role = ROLE_WORKER};
    if (peer->endpoint[0] && !record_key_is_zero (&peer->node))
        context_send (ctx, &lane, &link_dial_record, &with);
}

static void hangup (context_t *ctx, const record_key_t *node)
{
    address_t lane = address_local ("lane", 0);
    if (!record_key_is_zero (node))
        context_send (ctx, &lane, &link_hangup_record, &(link_hangup_t){.node = *node});
}

void contributor_hangup (contributor_t *self, context_t *ctx)
{
    for (size_t i = 0; i < self->shard_count; i++)
        hangup (ctx, &self->shards[i].node);
}

void contributor_dial (contributor_t *self, context_t *ctx)
{
    for (size_t i = 0; i < self->shard_count; i++)
        dial (ctx, &self->shards[i]);
}

/*  ---- the view -------------------------------------------------------------------------- */

void contributor_ask_view (contributor_t *self, context_t *ctx)
{
    int64_t now = context_now (ctx);
    if (self->joined_at && now - self->joined_at < MS_TO_NS (500))
        return;
    task_join_t join = {
        .job_id = self->args->job_id, .rank = self->args->rank, .attempt = self->args->attempt};
    self->joined_at = now;
    context_send (ctx, &self->agent, &task_join_record, &join);
}

static bool hosts (const contributor_t *self, const record_key_t *node)
{
    for (size_t i = 0; i < self->shard_count; i++)
        if (memcmp (&self->shards[i].node, node, sizeof (*node)) == 0)
            return true;
    return false;
}

/*  Takes over what the view says of a shard; hangs up on a node that hosts none any more. */
static void update_shard (contributor_t *self, context_t *ctx, size_t index)
{
    const group_shard_t *said = &self->view.shards.items[index];
    shard_peer_t *peer = &self->shards[index];
    const char *endpoint = said->endpoint ? said->endpoint : "";
    record_key_t before = peer->node;
    bool moved = memcmp (&before, &said->node, sizeof (before)) != 0;
    if (moved || strcmp (peer->endpoint, endpoint) != 0) {
        peer->node = said->node;
        snprintf (peer->endpoint, sizeof (peer->endpoint), "%s", endpoint);
        if (moved && !hosts (self, &before))
            hangup (ctx, &before);
        dial (ctx, peer);
    }
    if (peer->generation != said->generation)
        peer->start = 0;
    peer->generation = said->generation;
    peer->ready = said->ready && !record_key_is_zero (&said->node);
    if (!peer->ready || peer->served == peer->generation + 1)
        return;
    if (peer->served) {
        operation_resend (self, index);
        bring_all (self, index);
    }
    peer->served = peer->generation + 1;
}

static int first_view (contributor_t *self, const group_view_t *view)
{
    self->chunk_floats = view->aggregation.chunk_bytes / sizeof (float);
    self->shard_count = view->shards.count;
    self->shards = calloc (self->shard_count ? self->shard_count : 1, sizeof (*self->shards));
    if (!self->shards || self->chunk_floats == 0)
        return -1;
    for (size_t i = 0; i < self->shard_count; i++)
        self->shards[i].instance = shard_instance (self->args->job_id, i);
    self->window = WINDOW_BYTES / view->aggregation.chunk_bytes;
    if (self->window < 4)
        self->window = 4;
    if (self->window > WINDOW_CHUNKS_MAX)
        self->window = WINDOW_CHUNKS_MAX;
    return 0;
}

static bool is_ours (const contributor_t *self, const group_view_t *view)
{
    return strcmp (view->job_id ? view->job_id : "", self->args->job_id) == 0 &&
           view->members.count == self->args->world && self->args->rank < self->args->world &&
           (!self->has_view || view->shards.count == self->shard_count);
}

static bool is_newer (const contributor_t *self, const group_view_t *view)
{
    return !self->has_view || view->epoch > self->view.epoch ||
           (view->epoch == self->view.epoch && view->version > self->view.version);
}

static void check_join (contributor_t *self, context_t *ctx)
{
    if (!self->join)
        return;
    if (self->has_view && self->view.complete &&
        memcmp (&self->view.members.items[self->args->rank].key, context_node (ctx),
                sizeof (record_key_t)) == 0) {
        context_reply (ctx, self->join, &done_record, &(done_t){0});
        message_release (&self->join);
    } else if (context_now (ctx) >= self->join_until) {
        char text[300];
        contributor_waits_for (self, text);
        context_reply_failure (ctx, self->join, NEXUS_DEADLINE,
                               "the group of job %s did not come together in time: waited for %s",
                               self->args->job_id, text);
        message_release (&self->join);
    }
}

static void receive_view (contributor_t *self, context_t *ctx, const group_view_t *view)
{
    if (!is_ours (self, view) || !is_newer (self, view))
        return;
    arena_t arena;
    group_view_t copy;
    arena_init (&arena, 0, NULL, 0);
    if (record_clone (&group_view_record, view, &arena, &copy) < 0 ||
        (!self->has_view && first_view (self, &copy) < 0)) {
        arena_reset (&arena);
        return;
    }
    if (self->has_view && view->epoch > self->view.epoch)
        self->open.progress_at = context_now (ctx);
    arena_reset (&self->arena);
    self->arena = arena;
    self->view = copy;
    self->has_view = true;
    atomic_store (&self->args->shared->epoch, copy.epoch);
    for (size_t i = 0; i < self->shard_count; i++)
        update_shard (self, ctx, i);
    if (copy.members.items[self->args->rank].attempt > self->args->attempt && !self->replaced) {
        self->replaced = true;
        operation_fail (self, ctx, NEXUS_CANCELLED,
                        "attempt %llu of rank %llu runs: this process (attempt %llu) must end",
                        (unsigned long long)copy.members.items[self->args->rank].attempt,
                        (unsigned long long)self->args->rank,
                        (unsigned long long)self->args->attempt);
    }
    bring_tick (self, ctx);
    operation_tick (self, ctx);
    operation_pump (self, ctx);
    check_join (self, ctx);
}

/*  ---- from the shards --------------------------------------------------------------------- */

static void receive_result (contributor_t *self, context_t *ctx, const message_t *message,
                            const chunk_result_t *result)
{
    if (message->role != ROLE_WORKER || result->shard >= self->shard_count)
        return;
    shard_peer_t *peer = &self->shards[result->shard];
    if (memcmp (&peer->node, &message->from.node, sizeof (peer->node)) != 0 ||
        result->rank != self->args->rank || result->attempt != self->args->attempt ||
        result->chunk % self->shard_count != result->shard)
        return;
    if (result->generation != peer->generation) {
        contributor_ask_view (self, ctx);
        return;
    }
    if (message->payload)
        atomic_fetch_add (&self->args->shared->pulled, message->payload->size);
    bool restarted = peer->start && peer->start != result->start;
    peer->start = result->start;
    if (result->status == CHUNK_DONE)
        peer->done_at = context_now (ctx);
    if (restarted) {
        operation_resend (self, result->shard);
        bring_all (self, result->shard);
        bring_tick (self, ctx);
    }
    if (result->mode == PUSH_SEED)
        bring_result (self, ctx, result);
    else
        operation_result (self, ctx, result, message->payload);
}

/*  ---- leaving -------------------------------------------------------------------------------- */

static void check_leave (contributor_t *self, context_t *ctx)
{
    if (!self->leave || !self->leave_flushes)
        return;
    if (!metrics_delivered (self) && context_now (ctx) < self->leave_until) {
        metrics_flush (self, ctx);
        return;
    }
    context_reply (ctx, self->leave, &done_record, &(done_t){0});
    message_release (&self->leave);
}

void contributor_left (contributor_t *self, context_t *ctx)
{
    self->leave_flushes = true;
    self->leave_until = context_now (ctx) + MS_TO_NS (5000);
    check_leave (self, ctx);
}

/*  A rank that goes may hold the only copy of a result that a shard has lost before the
    others had it. So, if all went well, it waits for them first. */
static void receive_leave (contributor_t *self, context_t *ctx, const message_t *message,
                           const contributor_leave_t *with)
{
    if (self->leave || self->open.open) {
        context_reply_failure (ctx, message, NEXUS_INVALID, "an operation is open");
        return;
    }
    self->leave = message_retain ((message_t *)message);
    if (with->at_once || self->failed || self->operations == 0 || self->replaced ||
        self->shard_count == 0)
        contributor_left (self, ctx);
    else
        operation_open (self, ctx, NULL,
                        &(operate_t){.operation = OPERATION_BARRIER, .step = LEAVE_STEP});
}

/*  ---- the behaviour ----------------------------------------------------------------------------
 */

static void receive_local (contributor_t *self, context_t *ctx, const message_t *message)
{
    const operate_t *operate = message_body (message, operate);
    const contributor_join_t *join = message_body (message, contributor_join);
    const contributor_leave_t *leave = message_body (message, contributor_leave);
    const contributor_report_t *report = message_body (message, contributor_report);
    if (operate) {
        operation_open (self, ctx, message, operate);
    } else if (join && !self->join) {
        self->join = message_retain ((message_t *)message);
        self->join_until = context_now (ctx) + MS_TO_NS (join->timeout_ms);
        check_join (self, ctx);
    } else if (leave) {
        receive_leave (self, ctx, message, leave);
    } else if (report) {
        metrics_report (self, ctx, report);
    }
}

static void contributor_receive (void *state, context_t *ctx, const message_t *message)
{
    contributor_t *self = state;
    const chunk_result_t *result = message_body (message, chunk_result);
    const group_view_t *view = message_body (message, group_view);
    bool agent = message->role == ROLE_WORKER &&
                 memcmp (&message->from.node, &self->args->agent, sizeof (record_key_t)) == 0;
    if (result)
        receive_result (self, ctx, message, result);
    else if (view && agent)
        receive_view (self, ctx, view);
    else if (message_body (message, task_stop) && agent)
        atomic_store (&self->args->shared->stopping, 1);
    else if (message->flags & MESSAGE_REPLY) {
        metrics_answer (self, message);
        check_leave (self, ctx);
    } else if (message->role == ROLE_LOCAL)
        receive_local (self, ctx, message);
}

static void contributor_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    contributor_t *self = state;
    if (data == TIMER_DRAIN) {
        operation_drain (self, ctx);
        return;
    }
    int64_t now = context_now (ctx);
    bool whole = self->has_view && self->view.complete;
    if (now - self->joined_at >= MS_TO_NS (whole ? 10000 : 1000))
        contributor_ask_view (self, ctx);
    check_join (self, ctx);
    if (self->has_view) {
        bring_tick (self, ctx);
        operation_tick (self, ctx);
    }
    if (now - self->metrics_at >= MS_TO_NS (1000))
        metrics_flush (self, ctx);
    check_leave (self, ctx);
    context_after (ctx, MS_TO_NS (TICK_MS), TIMER_TICK);
}

static int contributor_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    contributor_t *self = state;
    self->args = args;
    self->agent = address_remote (&self->args->agent, "agent", 0);
    arena_init (&self->arena, 0, NULL, 0);
    contributor_ask_view (self, ctx);
    context_after (ctx, MS_TO_NS (TICK_MS), TIMER_TICK);
    return 0;
}

static void contributor_stop (void *state, context_t *ctx)
{
    (void)ctx;
    contributor_t *self = state;
    operation_free (self);
    held_free (self);
    message_release (&self->join);
    message_release (&self->leave);
    free (self->shards);
    arena_reset (&self->arena);
}

const behaviour_t contributor_behaviour = {
    .name = "contributor",
    .state_size = sizeof (contributor_t),
    .start = contributor_start,
    .receive = contributor_receive,
    .timer = contributor_timer,
    .stop = contributor_stop,
};
