/*  aggregator - shards by order */
#include "actors/aggregator/aggregator.h"

#include "actors/aggregator/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RETRY_MS = 2000 };

typedef enum { HOSTED_RUNNING, HOSTED_STOPPING, HOSTED_FAILED } hosted_state_t;

/*  A shard that runs, or did. */
typedef struct {
    char job_id[64];
    uint64_t index;
    uint64_t generation;
    address_t address;
    hosted_state_t state;
    bool thread;
    uint64_t epoch; /* of the view that it was given last */
    uint64_t version;
    shard_args_t *args;
} hosted_t;

typedef struct {
    const aggregator_args_t *args;
    hosted_t *hosted;
    size_t count;
    size_t room;
    unsigned threads;
    unsigned threads_max;
    message_t *orders; /* the last ones */
} aggregator_t;

/*  ---- what the orders say ----------------------------------------------------- */

static const shard_orders_t *orders_of (const aggregator_t *self)
{
    static const shard_orders_t none = {0};
    return self->orders ? self->orders->body : &none;
}

static const group_view_t *view_of (const aggregator_t *self, const char *job_id)
{
    const shard_orders_t *orders = orders_of (self);
    for (size_t i = 0; i < orders->groups.count; i++)
        if (strcmp (orders->groups.items[i].job_id, job_id) == 0)
            return &orders->groups.items[i];
    return NULL;
}

static hosted_t *hosted_of (aggregator_t *self, const char *job_id, uint64_t index)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->hosted[i].index == index && strcmp (self->hosted[i].job_id, job_id) == 0)
            return &self->hosted[i];
    return NULL;
}

/*  ---- starting and stopping ----------------------------------------------------- */

static void forget (aggregator_t *self, hosted_t *hosted)
{
    if (hosted->thread)
        self->threads--;
    free (hosted->args);
    *hosted = self->hosted[--self->count];
}

static int spawn (aggregator_t *self, context_t *ctx, hosted_t *hosted, const group_view_t *view,
                  nexus_error_t *error)
{
    shard_args_t *args = calloc (1, sizeof (*args));
    if (!args)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    hosted->thread = self->threads < self->threads_max;
    *args = (shard_args_t){.job_id = view->job_id,
                           .index = hosted->index,
                           .generation = hosted->generation,
                           .view = view,
                           .bytes_max = self->args->shard_bytes_max};
    child_t child = {.behaviour = &shard_behaviour,
                     .name = "shard",
                     .instance = hosted->address.instance,
                     .args = args,
                     .thread = hosted->thread,
                     .restart = RESTART_TEMPORARY,
                     .mailbox_bytes_max = (size_t)512 << 20};
    if (context_spawn (ctx, &child, error) < 0) {
        hosted->thread = false;
        free (args);
        return -1;
    }
    /* What they point to may end before the shard does: its start has copied it. */
    hosted->args = args;
    self->threads += hosted->thread;
    return 0;
}

/*  It is tried again later. */
static void fail_shard (context_t *ctx, hosted_t *hosted)
{
    hosted->state = HOSTED_FAILED;
    context_after (ctx, MS_TO_NS (RETRY_MS), 0);
}

static void start_shard (aggregator_t *self, context_t *ctx, const shard_order_t *order)
{
    const group_view_t *view = view_of (self, order->job_id);
    if (!view)
        return;
    if (self->count == self->room) {
        size_t room = self->room ? self->room * 2 : 16;
        hosted_t *grown = realloc (self->hosted, room * sizeof (*grown));
        if (!grown)
            return;
        self->hosted = grown;
        self->room = room;
    }
    hosted_t *hosted = &self->hosted[self->count++];
    *hosted = (hosted_t){.index = order->index,
                         .generation = order->generation,
                         .epoch = view->epoch,
                         .version = view->version};
    snprintf (hosted->job_id, sizeof (hosted->job_id), "%s", order->job_id);
    hosted->address = address_local ("shard", shard_instance (order->job_id, order->index));
    nexus_error_t error = {0};
    if (spawn (self, ctx, hosted, view, &error) < 0) {
        fail_shard (ctx, hosted);
        log_error (context_log (ctx), "a shard did not start", LOG_TEXT ("job", hosted->job_id),
                   LOG_UINT ("shard", hosted->index), LOG_TEXT ("error", error.text));
        return;
    }
    log_info (context_log (ctx), "shard started", LOG_TEXT ("job", hosted->job_id),
              LOG_UINT ("shard", hosted->index), LOG_UINT ("generation", hosted->generation));
}

static void give_view (aggregator_t *self, context_t *ctx, hosted_t *hosted)
{
    const group_view_t *view = view_of (self, hosted->job_id);
    if (!view || hosted->state != HOSTED_RUNNING ||
        (view->epoch == hosted->epoch && view->version == hosted->version))
        return;
    hosted->epoch = view->epoch;
    hosted->version = view->version;
    context_send (ctx, &hosted->address, &group_view_record, view);
}

static bool is_ordered (const aggregator_t *self, const hosted_t *hosted)
{
    const shard_orders_t *orders = orders_of (self);
    for (size_t i = 0; i < orders->shards.count; i++)
        if (orders->shards.items[i].index == hosted->index &&
            orders->shards.items[i].generation == hosted->generation &&
            strcmp (orders->shards.items[i].job_id, hosted->job_id) == 0)
            return true;
    return false;
}

/*  Brings what runs closer to what is ordered; the rest follows when what is being stopped is down.
 */
static void follow (aggregator_t *self, context_t *ctx)
{
    const shard_orders_t *orders = orders_of (self);
    for (size_t i = self->count; i > 0; i--) {
        hosted_t *hosted = &self->hosted[i - 1];
        if (is_ordered (self, hosted)) {
            give_view (self, ctx, hosted);
        } else if (hosted->state == HOSTED_FAILED) {
            forget (self, hosted);
        } else if (hosted->state == HOSTED_RUNNING) {
            hosted->state = HOSTED_STOPPING;
            context_stop_child (ctx, &hosted->address);
        }
    }
    for (size_t i = 0; i < orders->shards.count; i++)
        if (!hosted_of (self, orders->shards.items[i].job_id, orders->shards.items[i].index))
            start_shard (self, ctx, &orders->shards.items[i]);
}

/*  ---- to the agent and the lane ---------------------------------------------------- */

static void report (const aggregator_t *self, context_t *ctx)
{
    shard_states_t states = {0};
    states.shards.items = calloc (self->count ? self->count : 1, sizeof (*states.shards.items));
    if (!states.shards.items)
        return;
    for (size_t i = 0; i < self->count; i++) {
        const hosted_t *hosted = &self->hosted[i];
        states.shards.items[states.shards.count++] =
            (shard_state_t){.job_id = hosted->job_id,
                            .index = hosted->index,
                            .generation = hosted->generation,
                            .ready = hosted->state == HOSTED_RUNNING};
    }
    address_t agent = address_local ("agent", 0);
    context_send (ctx, &agent, &shard_states_record, &states);
    free (states.shards.items);
}

/*  Lets the members of all groups into the data lane, and nobody else. */
static void admit (const aggregator_t *self, context_t *ctx)
{
    const shard_orders_t *orders = orders_of (self);
    size_t count = 0;
    if (!self->args->keyring)
        return;
    for (size_t i = 0; i < orders->groups.count; i++)
        count += orders->groups.items[i].members.count;
    keyring_entry_t *entries = calloc (count ? count : 1, sizeof (*entries));
    if (!entries)
        return;
    count = 0;
    for (size_t i = 0; i < orders->groups.count; i++) {
        const group_view_t *view = &orders->groups.items[i];
        for (size_t k = 0; k < view->members.count; k++) {
            const group_member_t *member = &view->members.items[k];
            if (record_key_is_zero (&member->key))
                continue;
            entries[count].key = member->key;
            entries[count].role = ROLE_TASK;
            snprintf (entries[count].name, sizeof (entries[count].name), "%.50s/%llu", view->job_id,
                      (unsigned long long)member->rank);
            count++;
        }
    }
    nexus_error_t error;
    if (keyring_replace (self->args->keyring, self->args->domain, entries, count, &error) < 0)
        log_error (context_log (ctx), "the groups' members cannot be let in",
                   LOG_TEXT ("error", error.text));
    free (entries);
}

/*  ---- the behaviour ------------------------------------------------------------------ */

static void receive_down (aggregator_t *self, context_t *ctx, const down_t *down)
{
    for (size_t i = 0; i < self->count; i++) {
        hosted_t *hosted = &self->hosted[i];
        if (strcmp (down->actor, "shard") != 0 || hosted->address.instance != down->instance ||
            hosted->state == HOSTED_FAILED)
            continue;
        if (hosted->state == HOSTED_STOPPING) {
            forget (self, hosted);
        } else {
            log_error (context_log (ctx), "a shard has failed", LOG_TEXT ("job", hosted->job_id),
                       LOG_UINT ("shard", hosted->index), LOG_TEXT ("reason", down->reason));
            fail_shard (ctx, hosted);
        }
        follow (self, ctx);
        report (self, ctx);
        return;
    }
}

static void aggregator_receive (void *state, context_t *ctx, const message_t *message)
{
    aggregator_t *self = state;
    const down_t *down = message_body (message, down);
    if (message->role != ROLE_LOCAL)
        return;
    if (down) {
        receive_down (self, ctx, down);
    } else if (message_body (message, shard_orders)) {
        message_release (&self->orders);
        self->orders = message_retain ((message_t *)message);
        admit (self, ctx);
        follow (self, ctx);
        report (self, ctx);
    }
}

static void aggregator_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    (void)data;
    aggregator_t *self = state;
    for (size_t i = self->count; i > 0; i--)
        if (self->hosted[i - 1].state == HOSTED_FAILED)
            forget (self, &self->hosted[i - 1]);
    follow (self, ctx);
    report (self, ctx);
}

static int aggregator_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    aggregator_t *self = state;
    self->args = args;
    long processors = sysconf (_SC_NPROCESSORS_ONLN);
    self->threads_max = self->args->threads_max ? self->args->threads_max
                        : processors > 0        ? (unsigned)processors
                                                : 1;
    return 0;
}

static void aggregator_stop (void *state, context_t *ctx)
{
    (void)ctx;
    aggregator_t *self = state;
    for (size_t i = 0; i < self->count; i++)
        free (self->hosted[i].args);
    free (self->hosted);
    message_release (&self->orders);
}

const behaviour_t aggregator_behaviour = {
    .name = "aggregator",
    .state_size = sizeof (aggregator_t),
    .start = aggregator_start,
    .receive = aggregator_receive,
    .timer = aggregator_timer,
    .stop = aggregator_stop,
};
