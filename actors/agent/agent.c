/*  agent - the actor that speaks for a worker */
#include "actors/agent/agent.h"

#include "actors/protocol/known_masters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POINTS_MAX = 4096, /* metric values that wait for the leader; the oldest go first */
    TASKS_MAX = 4096
};

/*  A process of one of our tasks that has asked for its group. */
typedef struct {
    address_t address;
    char job_id[64];
    uint64_t rank, attempt;
    uint64_t pushed, pulled;
    bool told_to_stop;
} client_t;

typedef struct {
    char job_id[64];
    char name[64];
    metric_point_t point; /* its name is the one above */
} pending_t;

typedef struct {
    const agent_args_t *args;
    known_masters_t masters;
    heartbeat_t beat;
    const message_t *assignment; /* the newest, held; or NULL */
    const message_t *tasks;      /* the executor's newest task_states, held */
    const message_t *shards;     /* the aggregator's newest shard_states, held */
    client_t *clients;
    size_t client_count, client_room;
    pending_t *points;
    size_t point_count;
    bool changed; /* something to report */
} agent_t;

static void hold (const message_t **slot, const message_t *message)
{
    if (*slot)
        message_release ((message_t **)slot);
    *slot = message_retain ((message_t *)message);
}

static const assignment_t *assigned (const agent_t *self)
{
    return self->assignment ? self->assignment->body : NULL;
}

/*  ---- to the masters -------------------------------------------------------------- */

static void to_masters (agent_t *self, context_t *ctx, const char *actor, const record_t *kind,
                        const void *body)
{
    for (size_t i = 0; i < self->masters.count; i++) {
        address_t to = address_remote (&self->masters.items[i].key, actor, 0);
        context_send (ctx, &to, kind, body);
    }
}

static void report (agent_t *self, context_t *ctx)
{
    const task_states_t *tasks = self->tasks ? self->tasks->body : NULL;
    const shard_states_t *shards = self->shards ? self->shards->body : NULL;
    worker_report_t out = {.session = self->beat.session,
                           .assignment = assigned (self) ? assigned (self)->version : 0,
                           .load = self->args->load ? self->args->load () : 0};
    size_t count = tasks ? tasks->tasks.count : 0;
    out.tasks.items = calloc (count + 1, sizeof (task_state_t));
    out.points.items = calloc (self->point_count + 1, sizeof (metric_report_t));
    if (!out.tasks.items || !out.points.items)
        abort ();
    for (size_t i = 0; i < count; i++) {
        task_state_t *task = &out.tasks.items[out.tasks.count++];
        *task = tasks->tasks.items[i];
        for (size_t c = 0; c < self->client_count; c++)
            if (self->clients[c].rank == task->rank && self->clients[c].attempt == task->attempt &&
                !strcmp (self->clients[c].job_id, task->job_id)) {
                task->bytes_pushed = self->clients[c].pushed;
                task->bytes_pulled = self->clients[c].pulled;
            }
    }
    if (shards) {
        out.shards.items = shards->shards.items;
        out.shards.count = shards->shards.count;
    }
    for (size_t i = 0; i < self->point_count; i++) {
        self->points[i].point.name = self->points[i].name;
        out.points.items[out.points.count++] =
            (metric_report_t){self->points[i].job_id, self->points[i].point};
    }
    to_masters (self, ctx, "scheduler", &worker_report_record, &out);
    free (out.tasks.items);
    free (out.points.items);
    self->changed = false;
}

/*  ---- to the tasks ------------------------------------------------------------------ */

static const group_view_t *group_of (const agent_t *self, const char *job_id)
{
    const assignment_t *assignment = assigned (self);
    for (size_t i = 0; assignment && i < assignment->groups.count; i++)
        if (!strcmp (assignment->groups.items[i].job_id, job_id))
            return &assignment->groups.items[i];
    return NULL;
}

static const task_order_t *order_of (const agent_t *self, const client_t *client)
{
    const assignment_t *assignment = assigned (self);
    for (size_t i = 0; assignment && i < assignment->tasks.count; i++) {
        const task_order_t *order = &assignment->tasks.items[i];
        if (order->rank == client->rank && order->attempt == client->attempt &&
            !strcmp (order->job_id, client->job_id))
            return order;
    }
    return NULL;
}

static void tell (agent_t *self, context_t *ctx, client_t *client)
{
    const group_view_t *view = group_of (self, client->job_id);
    const task_order_t *order = order_of (self, client);
    if (view)
        context_send (ctx, &client->address, &group_view_record, view);
    if ((!order || order->stop) && !client->told_to_stop) {
        client->told_to_stop = true;
        task_stop_t stop = {.grace_ms = order ? order->spec.stop.grace_ms : 0};
        context_send (ctx, &client->address, &task_stop_record, &stop);
    }
}

/*  The task that this key belongs to, as the executor says; NULL: of none of ours. */
static const task_state_t *task_of (const agent_t *self, const record_key_t *key)
{
    const task_states_t *tasks = self->tasks ? self->tasks->body : NULL;
    for (size_t i = 0; tasks && !record_key_is_zero (key) && i < tasks->tasks.count; i++)
        if (!memcmp (&tasks->tasks.items[i].key, key, sizeof (*key)))
            return &tasks->tasks.items[i];
    return NULL;
}

/*  The executor still knows the run that this client was: its last figures are wanted. */
static bool run_is_known (const agent_t *self, const client_t *client)
{
    const task_states_t *tasks = self->tasks ? self->tasks->body : NULL;
    for (size_t i = 0; tasks && i < tasks->tasks.count; i++)
        if (tasks->tasks.items[i].rank == client->rank &&
            tasks->tasks.items[i].attempt == client->attempt &&
            !strcmp (tasks->tasks.items[i].job_id, client->job_id))
            return true;
    return false;
}

static void forget_clients (agent_t *self)
{
    for (size_t i = 0; i < self->client_count;)
        if (run_is_known (self, &self->clients[i]))
            i++;
        else
            self->clients[i] = self->clients[--self->client_count];
}

static client_t *client_of (agent_t *self, const message_t *message)
{
    const task_state_t *task = task_of (self, &message->from.node);
    if (!task)
        return NULL;
    for (size_t i = 0; i < self->client_count; i++)
        if (!memcmp (&self->clients[i].address.node, &message->from.node, sizeof (record_key_t)))
            return &self->clients[i];
    if (self->client_count == self->client_room) {
        self->client_room = self->client_room ? self->client_room * 2 : 16;
        self->clients = realloc (self->clients, self->client_room * sizeof (*self->clients));
        if (!self->clients)
            abort ();
    }
    client_t *client = &self->clients[self->client_count++];
    *client = (client_t){.address = message->from, .rank = task->rank, .attempt = task->attempt};
    snprintf (client->job_id, sizeof (client->job_id), "%s", task->job_id);
    return client;
}

/*  ---- metric values -------------------------------------------------------------------- */

static bool point_name_good (const char *name)
{
    size_t size = name ? strspn (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_")
                       : 0;
    return size && !name[size];
}

/*  Makes room at the end for that many, at most POINTS_MAX, by forgetting the oldest. */
static void make_room (agent_t *self, size_t count)
{
    size_t excess =
        self->point_count + count > POINTS_MAX ? self->point_count + count - POINTS_MAX : 0;
    if (!excess)
        return;
    self->point_count -= excess;
    memmove (self->points, self->points + excess, self->point_count * sizeof (*self->points));
}

static void add_point (agent_t *self, context_t *ctx, const char *job_id,
                       const metric_point_t *point)
{
    pending_t *pending = &self->points[self->point_count++];
    *pending = (pending_t){.point = *point};
    snprintf (pending->job_id, sizeof (pending->job_id), "%s", job_id);
    snprintf (pending->name, sizeof (pending->name), "%s", point->name);
    if (!pending->point.time_ms)
        pending->point.time_ms = context_wall_ms (ctx);
    self->changed = true;
}

static void take_metrics (agent_t *self, context_t *ctx, const message_t *message)
{
    const task_metrics_t *metrics = message->body;
    client_t *client = client_of (self, message);
    if (!client) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "this task is not known here (yet)");
        return;
    }
    client->pushed = metrics->bytes_pushed;
    client->pulled = metrics->bytes_pulled;
    make_room (self, metrics->points.count);
    for (size_t i = 0; i < metrics->points.count; i++)
        if (point_name_good (metrics->points.items[i].name))
            add_point (self, ctx, client->job_id, &metrics->points.items[i]);
    context_reply (ctx, message, &done_record, &(done_t){0});
}

static bool same_point (const pending_t *pending, const metric_report_t *report)
{
    return pending->point.step == report->point.step &&
           pending->point.time_ms == report->point.time_ms &&
           !strcmp (pending->job_id, report->job_id) && !strcmp (pending->name, report->point.name);
}

/*  What is stored stood first in a report, in this order; its oldest may be forgotten by now. */
static void take_stored (agent_t *self, const metrics_stored_t *stored)
{
    size_t i = 0, gone = 0;
    while (self->point_count && i < stored->points.count &&
           !same_point (&self->points[0], &stored->points.items[i]))
        i++;
    while (gone < self->point_count && i < stored->points.count &&
           same_point (&self->points[gone], &stored->points.items[i])) {
        gone++;
        i++;
    }
    self->point_count -= gone;
    memmove (self->points, self->points + gone, self->point_count * sizeof (*self->points));
}

/*  ---- the assignment ---------------------------------------------------------------------- */

static void take_assignment (agent_t *self, context_t *ctx, const message_t *message)
{
    const assignment_t *assignment = message->body;
    self->changed = true; /* also a repeated one: its sender has not heard that we follow it */
    if (assigned (self) && assignment->version <= assigned (self)->version)
        return;
    hold (&self->assignment, message);
    address_t executor = address_local ("executor", 0);
    address_t aggregator = address_local ("aggregator", 0);
    task_orders_t tasks = {.tasks = {assignment->tasks.items, assignment->tasks.count},
                           .capacity = self->beat.resources};
    shard_orders_t shards = {.shards = {assignment->shards.items, assignment->shards.count},
                             .groups = {assignment->groups.items, assignment->groups.count}};
    context_send (ctx, &executor, &task_orders_record, &tasks);
    context_send (ctx, &aggregator, &shard_orders_record, &shards);
    for (size_t i = 0; i < self->client_count; i++)
        tell (self, ctx, &self->clients[i]);
}

/*  ---- the masters -------------------------------------------------------------------------- */

static void take_masters (agent_t *self, context_t *ctx, const master_list_t *masters)
{
    address_t file = address_local ("masters_file", 0);
    if (!known_masters_take (&self->masters, ctx, masters->index, masters->masters.items,
                             masters->masters.count))
        return;
    log_info (context_log (ctx), "the masters are", LOG_UINT ("count", self->masters.count),
              LOG_UINT ("index", self->masters.index));
    context_send (ctx, &file, &master_list_record, masters);
}

/*  ---- the actor ------------------------------------------------------------------------------ */

static void receive (void *state, context_t *ctx, const message_t *message)
{
    agent_t *self = state;
    if (message->role == ROLE_MASTER) {
        if (message_body (message, assignment))
            take_assignment (self, ctx, message);
        else if (message_body (message, metrics_stored))
            take_stored (self, message->body);
        else if (message_body (message, master_list))
            take_masters (self, ctx, message->body);
    } else if (message->role == ROLE_TASK) {
        if (message_body (message, task_join)) {
            client_t *client = client_of (self, message);
            if (client) {
                client->address = message->from;
                tell (self, ctx, client);
            }
        } else if (message_body (message, task_metrics))
            take_metrics (self, ctx, message);
    } else if (message->role == ROLE_LOCAL) {
        if (message_body (message, task_states)) {
            hold (&self->tasks, message);
            forget_clients (self);
            self->changed = true;
        } else if (message_body (message, shard_states)) {
            hold (&self->shards, message);
            self->changed = true;
        }
    }
}

static void settle (void *state, context_t *ctx)
{
    agent_t *self = state;
    if (self->changed)
        report (self, ctx);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    agent_t *self = state;
    (void)id;
    (void)data;
    to_masters (self, ctx, "registry", &heartbeat_record, &self->beat);
    report (self, ctx);
    context_after (ctx, MS_TO_NS (self->args->heartbeat_ms), 0);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    agent_t *self = state;
    self->args = args;
    self->beat = self->args->self;
    /*  Never 0; below 2^63 so that it survives JSON. */
    self->beat.session = (context_random (ctx) >> 1) | 1;
    self->points = calloc (POINTS_MAX, sizeof (*self->points));
    if (!self->points)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for the agent");
    known_masters_init (&self->masters, self->args->masters_index, self->args->masters,
                        self->args->master_count);
    context_after (ctx, 0, 0);
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    agent_t *self = state;
    (void)ctx;
    const message_t **held[] = {&self->assignment, &self->tasks, &self->shards};
    for (size_t i = 0; i < 3; i++)
        if (*held[i])
            message_release ((message_t **)held[i]);
    known_masters_clear (&self->masters);
    free (self->clients);
    free (self->points);
}

const behaviour_t agent_behaviour = {
    .name = "agent",
    .state_size = sizeof (agent_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .settle = settle,
    .stop = stop,
};
