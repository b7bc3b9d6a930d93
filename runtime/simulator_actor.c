/*  simulator_actor - actors under the simulator: contexts, mailboxes, turns, ends */
#include "runtime/simulator_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*  ---- finding ----------------------------------------------------------- */

static sim_actor_t **bucket_of (const simulator_t *self, unsigned node, const char *name,
                                uint64_t instance)
{
    uint64_t hash = (node + 1) * UINT64_C (0x9e3779b97f4a7c15) + instance;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C (0x100000001b3);
    hash ^= hash >> 32;
    return (sim_actor_t **)&self->buckets[hash % ACTOR_BUCKETS];
}

sim_actor_t *sim_actor_find (const simulator_t *self, unsigned node, const char *name,
                             uint64_t instance)
{
    for (sim_actor_t *actor = *bucket_of (self, node, name, instance); actor;
         actor = actor->bucket_next)
        if (actor->node == node && actor->context.self.instance == instance &&
            strcmp (actor->context.self.actor, name) == 0)
            return actor;
    return NULL;
}

static sim_actor_t *find (const simulator_t *self, unsigned node, const address_t *address)
{
    return sim_actor_find (self, node, address->actor, address->instance);
}

/*  ---- mailboxes --------------------------------------------------------- */

void sim_actor_wake (sim_actor_t *actor)
{
    simulator_t *sim = actor->sim;
    if (actor->ready || actor->ending || sim->nodes[actor->node].paused)
        return;
    if (sim->ready_count == sim->ready_capacity) {
        size_t capacity = sim->ready_capacity ? sim->ready_capacity * 2 : 64;
        sim_actor_t **ring = sim_checked (calloc (capacity, sizeof *ring));
        for (size_t i = 0; i < sim->ready_count; i++)
            ring[i] = sim->ready[(sim->ready_first + i) % sim->ready_capacity];
        free (sim->ready);
        sim->ready = ring;
        sim->ready_capacity = capacity;
        sim->ready_first = 0;
    }
    sim->ready[(sim->ready_first + sim->ready_count++) % sim->ready_capacity] = actor;
    actor->ready = true;
}

static void forget_ready (sim_actor_t *actor)
{
    simulator_t *sim = actor->sim;
    for (size_t i = 0; actor->ready && i < sim->ready_count; i++) {
        sim_actor_t **entry = &sim->ready[(sim->ready_first + i) % sim->ready_capacity];
        if (*entry == actor) {
            *entry = NULL;
            actor->ready = false;
        }
    }
}

/*  The actor after this one, parents before children; NULL: it was the last. */
static sim_actor_t *next_of_node (sim_actor_t *actor)
{
    if (actor->first_child)
        return actor->first_child;
    while (actor && !actor->next)
        actor = actor->parent;
    return actor ? actor->next : NULL;
}

void sim_actors_pause (simulator_t *self, unsigned node)
{
    for (sim_actor_t *actor = self->nodes[node].first_root; actor; actor = next_of_node (actor))
        forget_ready (actor);
}

void sim_actors_resume (simulator_t *self, unsigned node)
{
    for (sim_actor_t *actor = self->nodes[node].first_root; actor; actor = next_of_node (actor))
        if (actor->control.count || actor->data.count || actor->due_count || actor->stop_asked ||
            actor->end_asked)
            sim_actor_wake (actor);
}

static void lane_push (sim_lane_t *lane, message_t **message_p)
{
    message_t *message = *message_p;
    *message_p = NULL;
    message->next = NULL;
    *lane->last = message;
    lane->last = &message->next;
    lane->count++;
    lane->bytes += message->size;
}

static message_t *lane_pop (sim_lane_t *lane)
{
    message_t *message = lane->first;
    lane->first = message->next;
    if (!lane->first)
        lane->last = &lane->first;
    message->next = NULL;
    lane->count--;
    lane->bytes -= message->size;
    return message;
}

static void reply_failure (simulator_t *self, unsigned node, const message_t *request,
                           nexus_code_t code, const char *text)
{
    char address[64], whole[200];
    snprintf (whole, sizeof whole, "%s: %s", address_text (&request->to, address), text);
    failure_t failure = {.code = (uint64_t)code, .text = whole};
    message_t *reply = message_new (&failure_record, &failure, NULL, &request->from, &request->to);
    reply->flags = MESSAGE_REPLY;
    reply->correlation = request->correlation;
    reply->deadline_ns = request->deadline_ns;
    reply->trace = request->trace;
    if (record_key_is_zero (&reply->to.node))
        sim_deliver (self, node, &reply);
    else
        sim_network_send (self, node, &reply);
}

void sim_dead_letter (simulator_t *self, unsigned node, message_t **message_p, dead_reason_t reason)
{
    message_t *message = *message_p;
    *message_p = NULL;
    if (message->kind != &down_record) { /* a watcher that has ended too: nothing is lost */
        self->dead[reason]++;
        if (self->trace)
            sim_trace_message (self, node, "dead", message, dead_reasons[reason].name);
    }
    /* A reply that gets lost is not answered, so this ends after one step. */
    if (message->flags & MESSAGE_REQUEST)
        reply_failure (self, node, message, dead_reasons[reason].code, dead_reasons[reason].text);
    message_release (&message);
}

static bool lane_full (const sim_actor_t *actor, const message_t *message)
{
    if (!(message->kind->flags & RECORD_DATA_LANE))
        return actor->control.count >= CONTROL_COUNT_MAX;
    const child_t *child = &actor->child;
    size_t count_max = child->mailbox_count_max ? child->mailbox_count_max : 65536;
    size_t bytes_max = child->mailbox_bytes_max ? child->mailbox_bytes_max : (size_t)256 << 20;
    return actor->data.count >= count_max || actor->data.bytes + message->size > bytes_max;
}

void sim_deliver (simulator_t *self, unsigned node, message_t **message_p)
{
    message_t *message = *message_p;
    sim_actor_t *actor = find (self, node, &message->to);
    if (!actor || actor->ending) {
        const simulator_outside_t *outside = self->outside;
        if (outside && outside->message && outside->message (self->outside_context, node, message))
            message_release (message_p);
        else
            sim_dead_letter (self, node, message_p, DEAD_NO_ACTOR);
    } else if (lane_full (actor, message)) {
        sim_dead_letter (self, node, message_p, DEAD_OVERFLOW);
    } else {
        bool data_lane = message->kind->flags & RECORD_DATA_LANE;
        lane_push (data_lane ? &actor->data : &actor->control, message_p);
        sim_actor_wake (actor);
    }
}

/*  ---- the context ------------------------------------------------------- */

static sim_actor_t *actor_of (const context_t *ctx)
{
    return (sim_actor_t *)ctx;
}

static sim_node_t *node_of (const sim_actor_t *actor)
{
    return &actor->sim->nodes[actor->node];
}

static int64_t ctx_now (const context_t *ctx)
{
    const sim_actor_t *actor = actor_of (ctx);
    return sim_node_now (actor->sim, actor->node);
}

/*  2026-01-01, so that a simulation's dates are those of no log. */
static const int64_t EPOCH_MS = INT64_C (1767225600000);

static int64_t ctx_wall_ms (const context_t *ctx)
{
    const sim_actor_t *actor = actor_of (ctx);
    return EPOCH_MS + NS_TO_MS (actor->sim->now) + node_of (actor)->skew_ms;
}

static uint64_t ctx_random (context_t *ctx)
{
    return random_next (&actor_of (ctx)->random);
}

static bool is_local (const sim_actor_t *actor, const address_t *address)
{
    return record_key_is_zero (&address->node) ||
           memcmp (&address->node, &actor->context.node, sizeof address->node) == 0;
}

static void ctx_send (context_t *ctx, message_t **message_p)
{
    sim_actor_t *actor = actor_of (ctx);
    message_t *message = *message_p;
    if (actor->mute) {
        message_release (message_p);
        return;
    }
    if (record_key_is_zero (&message->from.node))
        message->role = ROLE_LOCAL;
    if (is_local (actor, &message->to))
        memset (&message->to.node, 0, sizeof message->to.node);
    if (actor->sim->trace)
        sim_trace_message (actor->sim, actor->node, "send", message, NULL);
    if (actor->sim->watcher)
        actor->sim->watcher (actor->sim, actor->sim->watcher_context, actor->node, false, message);
    if (record_key_is_zero (&message->to.node))
        sim_deliver (actor->sim, actor->node, message_p);
    else
        sim_network_send (actor->sim, actor->node, message_p);
}

static uint64_t set_timer (sim_actor_t *actor, int64_t delay_ns, sim_event_t event, uint64_t data)
{
    simulator_t *sim = actor->sim;
    int64_t delay = sim_node_delay (sim, actor->node, delay_ns);
    return timers_add (sim->timers, sim->now + delay, actor, &actor->timers, (int)event, data);
}

static uint64_t ctx_request (context_t *ctx, message_t **message_p, int64_t timeout_ms)
{
    sim_actor_t *actor = actor_of (ctx);
    simulator_t *sim = actor->sim;
    message_t *message = *message_p;
    uint64_t timer =
        set_timer (actor, MS_TO_NS (timeout_ms), EVENT_DEADLINE, pending_next (sim->pending));
    uint64_t correlation = pending_add (sim->pending, actor, timer, &message->to, message->trace);
    message->correlation = correlation;
    ctx_send (ctx, message_p);
    return correlation;
}

static uint64_t ctx_after (context_t *ctx, int64_t delay_ns, uint64_t data)
{
    return set_timer (actor_of (ctx), delay_ns, EVENT_TIMER, data);
}

static void ctx_cancel (context_t *ctx, uint64_t timer)
{
    sim_actor_t *actor = actor_of (ctx);
    if (timers_cancel (actor->sim->timers, actor, timer))
        return;
    for (size_t i = 0; i < actor->due_count; i++)
        if (actor->due[i].id == timer) {
            memmove (actor->due + i, actor->due + i + 1,
                     (--actor->due_count - i) * sizeof *actor->due);
            return;
        }
}

static int ctx_spawn (context_t *ctx, const child_t *child, nexus_error_t *error)
{
    sim_actor_t *actor = actor_of (ctx);
    simulator_t *sim = actor->sim;
    if (actor->ending)
        return nexus_error_set (error, NEXUS_UNAVAILABLE, "an actor that ends spawns no others");
    if (actor->depth + 1 >= DEPTH_MAX)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "actors are nested more than %d deep",
                                DEPTH_MAX);
    if (sim->outside && sim->outside->spawn)
        return sim->outside->spawn (sim->outside_context, actor->node, child, error);
    return sim_actor_spawn (sim, actor->node, actor, child, error);
}

static void ctx_stop_child (context_t *ctx, const address_t *address)
{
    sim_actor_t *actor = actor_of (ctx);
    simulator_t *sim = actor->sim;
    sim_actor_t *child = find (sim, actor->node, address);
    if (child && child->parent == actor) {
        child->stop_asked = true;
        sim_actor_wake (child);
    } else if (!child && sim->outside && sim->outside->stop_child) {
        sim->outside->stop_child (sim->outside_context, actor->node, address);
    }
}

static void add_watcher (sim_actor_t *target, const sim_actor_t *watcher)
{
    for (size_t i = 0; i < target->watcher_count; i++)
        if (target->watchers[i].serial == watcher->serial)
            return;
    if (target->watcher_count == target->watcher_capacity) {
        target->watcher_capacity = target->watcher_capacity ? target->watcher_capacity * 2 : 4;
        target->watchers = sim_checked (
            realloc (target->watchers, target->watcher_capacity * sizeof *target->watchers));
    }
    target->watchers[target->watcher_count++] =
        (sim_watcher_t){watcher->context.self, watcher->serial};
}

static void send_down (simulator_t *self, unsigned node, const sim_watcher_t *watcher,
                       const address_t *ended, bool failed, const char *reason)
{
    const sim_actor_t *actor = find (self, node, &watcher->address);
    if (!actor || actor->serial != watcher->serial || actor->ending)
        return;
    down_t down = {.node = ended->node,
                   .actor = ended->actor,
                   .instance = ended->instance,
                   .failed = failed,
                   .reason = reason};
    message_t *message = message_new (&down_record, &down, NULL, &watcher->address, ended);
    sim_deliver (self, node, &message);
}

static void ctx_watch (context_t *ctx, const address_t *address)
{
    sim_actor_t *actor = actor_of (ctx);
    simulator_t *sim = actor->sim;
    bool local = is_local (actor, address);
    sim_actor_t *target = local ? find (sim, actor->node, address) : NULL;
    if (target && !target->ending) {
        add_watcher (target, actor);
        return;
    }
    if (sim->outside && sim->outside->watch &&
        sim->outside->watch (sim->outside_context, actor->node, address))
        return;
    sim_watcher_t watcher = {actor->context.self, actor->serial};
    send_down (sim, actor->node, &watcher, address, true,
               local ? "there is no such actor" : "actors of other nodes can't be watched");
}

static void ctx_end (context_t *ctx, const nexus_error_t *error)
{
    sim_actor_t *actor = actor_of (ctx);
    if (actor->end_asked)
        return;
    actor->end_asked = true;
    actor->failed = error != NULL;
    if (error)
        actor->error = *error;
    sim_actor_wake (actor);
}

static void ctx_poll (context_t *ctx, void *socket, int fd, short events, poll_fn *ready)
{
    (void)ctx, (void)socket, (void)fd, (void)events, (void)ready;
    assert (false &&
            "context_poll: an edge does not run in the simulator; simulate what it stands for");
}

static const context_ops_t ops = {
    .now = ctx_now,
    .wall_ms = ctx_wall_ms,
    .random = ctx_random,
    .send = ctx_send,
    .request = ctx_request,
    .after = ctx_after,
    .cancel = ctx_cancel,
    .spawn = ctx_spawn,
    .stop_child = ctx_stop_child,
    .watch = ctx_watch,
    .end = ctx_end,
    .poll = ctx_poll,
};

/*  ---- ends -------------------------------------------------------------- */

static void tell_watchers (sim_actor_t *actor, const char *reason)
{
    for (size_t i = 0; i < actor->watcher_count; i++)
        send_down (actor->sim, actor->node, &actor->watchers[i], &actor->context.self,
                   actor->failed, reason);
}

static void drop_timers (sim_actor_t *actor)
{
    timer_entry_t entry;
    while (timers_drop (actor->sim->timers, &actor->timers, &entry))
        if (entry.tag == EVENT_DEADLINE)
            pending_take (actor->sim->pending, actor, entry.data, NULL);
    for (size_t i = 0; i < actor->due_count; i++)
        if (actor->due[i].deadline)
            pending_take (actor->sim->pending, actor, actor->due[i].data, NULL);
    actor->due_count = 0;
}

static void drop_lane (sim_actor_t *actor, sim_lane_t *lane)
{
    while (lane->first) {
        message_t *message = lane_pop (lane);
        if (actor->mute)
            message_release (&message);
        else
            sim_dead_letter (actor->sim, actor->node, &message, DEAD_ENDED);
    }
}

static void unlink_actor (sim_actor_t *actor)
{
    simulator_t *sim = actor->sim;
    sim_actor_t **place =
        bucket_of (sim, actor->node, actor->context.self.actor, actor->context.self.instance);
    while (*place != actor)
        place = &(*place)->bucket_next;
    *place = actor->bucket_next;
    sim_node_t *node = node_of (actor);
    sim_actor_t **first = actor->parent ? &actor->parent->first_child : &node->first_root;
    sim_actor_t **last = actor->parent ? &actor->parent->last_child : &node->last_root;
    *(actor->previous ? &actor->previous->next : first) = actor->next;
    *(actor->next ? &actor->next->previous : last) = actor->previous;
    forget_ready (actor);
}

static void free_actor (sim_actor_t *actor)
{
    free (actor->watchers);
    free (actor->due);
    free (actor->state);
    free (actor);
}

/*  Calls a callback in its actor's name. */
#define CALL(actor, callback, ...)                                   \
    do {                                                             \
        sim_actor_t *caller_ = (actor)->sim->running;                \
        (actor)->sim->running = (actor);                             \
        callback ((actor)->state, &(actor)->context, ##__VA_ARGS__); \
        (actor)->sim->running = caller_;                             \
    } while (0)

/*  Ends an actor that has no children left. */
static void end_leaf (sim_actor_t *actor)
{
    simulator_t *sim = actor->sim;
    actor->ending = true;
    actor->context.trace = 0;
    if (actor->started && actor->child.behaviour->stop)
        CALL (actor, actor->child.behaviour->stop);
    const char *reason = actor->failed       ? actor->error.text
                         : actor->stop_asked ? "stopped by its parent"
                                             : "done";
    if (sim->trace && actor->started)
        sim_trace (sim, actor->node, &actor->context.self, "end", "%s", reason);
    drop_timers (actor);
    unlink_actor (actor);
    drop_lane (actor, &actor->control);
    drop_lane (actor, &actor->data);
    if (!actor->mute)
        tell_watchers (actor, reason);
    free_actor (actor);
}

/*  Ends an actor, its youngest descendants first. */
static void end_tree (sim_actor_t *root, bool mute)
{
    for (sim_actor_t *actor = root;;) {
        actor->ending = true;
        actor->mute |= mute;
        if (actor->last_child) {
            actor = actor->last_child;
            continue;
        }
        sim_actor_t *parent = actor->parent;
        bool last = actor == root;
        end_leaf (actor);
        if (last)
            return;
        actor = parent;
    }
}

static void end_actor (sim_actor_t *actor)
{
    simulator_t *sim = actor->sim;
    unsigned node = actor->node;
    bool root = actor->parent == NULL, failed = actor->failed, asked = actor->end_asked;
    address_t self = actor->context.self;
    nexus_error_t error = actor->error;
    end_tree (actor, false);
    if (!root || !asked)
        return;
    if (sim->outside && sim->outside->end)
        sim->outside->end (sim->outside_context, node, &self, failed ? &error : NULL);
    else if (failed)
        sim_node_exit (sim, node);
}

void sim_actors_end (simulator_t *self, unsigned node, bool mute)
{
    while (self->nodes[node].last_root)
        end_tree (self->nodes[node].last_root, mute);
}

/*  ---- beginnings -------------------------------------------------------- */

static sim_actor_t *new_actor (simulator_t *self, unsigned node, sim_actor_t *parent,
                               const child_t *child)
{
    sim_actor_t *actor = sim_checked (calloc (1, sizeof *actor));
    size_t size = child->behaviour->state_size;
    actor->state = sim_checked (calloc (1, size ? size : 1));
    actor->sim = self;
    actor->node = node;
    actor->serial = ++self->serial;
    actor->child = *child;
    actor->control.last = &actor->control.first;
    actor->data.last = &actor->data.first;
    random_seed (&actor->random, self->seed ^ actor->serial << 32);
    sim_node_t *home = &self->nodes[node];
    actor->context = (context_t){.ops = &ops,
                                 .self = address_local (child->name, child->instance),
                                 .node = home->key,
                                 .log = home->log,
                                 .metrics = home->metrics};
    actor->child.name = actor->context.self.actor;

    sim_actor_t **place = bucket_of (self, node, child->name, child->instance);
    actor->bucket_next = *place;
    *place = actor;
    actor->parent = parent;
    actor->depth = parent ? parent->depth + 1 : 0;
    sim_actor_t **first = parent ? &parent->first_child : &home->first_root;
    sim_actor_t **last = parent ? &parent->last_child : &home->last_root;
    actor->previous = *last;
    *(actor->previous ? &actor->previous->next : first) = actor;
    *last = actor;
    return actor;
}

static int check_child (const child_t *child, nexus_error_t *error)
{
    assert (child->behaviour && child->behaviour->receive);
    size_t length = child->name ? strlen (child->name) : 0;
    if (length == 0 || length >= sizeof ((address_t *)0)->actor)
        return nexus_error_set (error, NEXUS_INVALID,
                                "actor \"%s\": a name must have 1 to %zu characters",
                                child->name ? child->name : "", sizeof ((address_t *)0)->actor - 1);
    return 0;
}

int sim_actor_spawn (simulator_t *self, unsigned node, sim_actor_t *parent, const child_t *child,
                     nexus_error_t *error)
{
    if (check_child (child, error) == -1)
        return -1;
    address_t address = address_local (child->name, child->instance);
    if (find (self, node, &address)) {
        char text[64];
        return nexus_error_set (error, NEXUS_EXISTS, "there is an actor %s already",
                                address_text (&address, text));
    }
    sim_actor_t *actor = new_actor (self, node, parent, child);
    if (self->trace)
        sim_trace (self, node, &actor->context.self, "start", "%s", child->behaviour->name);
    nexus_error_t reason = {NEXUS_INVALID, "its start failed without saying why"};
    int rc = 0;
    if (child->behaviour->start) {
        sim_actor_t *caller = self->running;
        self->running = actor;
        rc = child->behaviour->start (actor->state, &actor->context, child->args, &reason);
        self->running = caller;
    }
    if (rc == -1) {
        actor->failed = true;
        actor->error = reason;
        if (self->trace)
            sim_trace (self, node, &actor->context.self, "refuse", "%s", reason.text);
        end_tree (actor, false);
        if (error)
            *error = reason;
        return -1;
    }
    actor->started = true;
    if (parent)
        add_watcher (actor, parent);
    sim_actor_wake (actor); /* settle after start, too */
    return 0;
}

/*  ---- turns ------------------------------------------------------------- */

void sim_actor_expire (simulator_t *self, const timer_entry_t *entry)
{
    (void)self;
    sim_actor_t *actor = entry->owner;
    if (actor->due_count == actor->due_capacity) {
        actor->due_capacity = actor->due_capacity ? actor->due_capacity * 2 : 4;
        actor->due = sim_checked (realloc (actor->due, actor->due_capacity * sizeof *actor->due));
    }
    actor->due[actor->due_count++] =
        (sim_due_t){entry->id, entry->data, entry->tag == EVENT_DEADLINE};
    sim_actor_wake (actor);
}

static void receive (sim_actor_t *actor, const message_t *message)
{
    sim_digest (actor->sim, message->kind->id ^ message->correlation << 16 ^ message->size << 48);
    if (actor->sim->trace)
        sim_trace_message (actor->sim, actor->node, "receive", message, NULL);
    if (actor->sim->watcher)
        actor->sim->watcher (actor->sim, actor->sim->watcher_context, actor->node, true, message);
    actor->context.trace = message->trace;
    CALL (actor, actor->child.behaviour->receive, message);
    actor->context.trace = 0;
}

/*  A request's deadline: its reply is a failure. */
static void run_deadline (sim_actor_t *actor, uint64_t correlation)
{
    pending_entry_t entry;
    if (!pending_take (actor->sim->pending, actor, correlation, &entry))
        return;
    char text[128], address[64];
    snprintf (text, sizeof text, "no answer from %s before the deadline",
              address_text (&entry.to, address));
    failure_t failure = {.code = NEXUS_DEADLINE, .text = text};
    message_t *reply =
        message_new (&failure_record, &failure, NULL, &actor->context.self, &entry.to);
    reply->flags = MESSAGE_REPLY;
    reply->correlation = correlation;
    reply->trace = entry.trace;
    receive (actor, reply);
    message_release (&reply);
}

static void run_due (sim_actor_t *actor)
{
    sim_due_t due = actor->due[0];
    memmove (actor->due, actor->due + 1, --actor->due_count * sizeof *actor->due);
    if (due.deadline) {
        run_deadline (actor, due.data);
        return;
    }
    sim_digest (actor->sim, due.id);
    if (actor->sim->trace)
        sim_trace (actor->sim, actor->node, &actor->context.self, "timer", "data=%llu",
                   (unsigned long long)due.data);
    if (actor->child.behaviour->timer)
        CALL (actor, actor->child.behaviour->timer, due.id, due.data);
}

/*  Why the actor does not get to see the message; DEAD_REASONS: it does. */
static dead_reason_t refusal (sim_actor_t *actor, const message_t *message)
{
    if (message->flags & MESSAGE_REPLY) {
        pending_entry_t request;
        if (!pending_take (actor->sim->pending, actor, message->correlation, &request))
            return DEAD_LATE;
        timers_cancel (actor->sim->timers, actor, request.timer);
    } else if (message->deadline_ns && ctx_now (&actor->context) > message->deadline_ns) {
        return DEAD_DEADLINE;
    }
    return DEAD_REASONS;
}

static void run_message (sim_actor_t *actor, sim_lane_t *lane)
{
    message_t *message = lane_pop (lane);
    dead_reason_t reason = refusal (actor, message);
    if (reason != DEAD_REASONS) {
        sim_dead_letter (actor->sim, actor->node, &message, reason);
        return;
    }
    receive (actor, message);
    message_release (&message);
}

/*  As the host's: expired timers, then messages, control before data, then settle. */
void sim_actor_turn (sim_actor_t *actor)
{
    sim_digest (actor->sim, (uint64_t)actor->sim->now);
    sim_digest (actor->sim, actor->serial);
    if (actor->stop_asked || actor->end_asked) {
        end_actor (actor);
        return;
    }
    for (int i = 0; i < TURN_MAX && actor->due_count && !actor->end_asked; i++)
        run_due (actor);
    for (int i = 0; i < TURN_MAX && !actor->end_asked; i++)
        if (actor->control.count)
            run_message (actor, &actor->control);
        else if (actor->data.count)
            run_message (actor, &actor->data);
        else
            break;
    if (!actor->end_asked && actor->child.behaviour->settle)
        CALL (actor, actor->child.behaviour->settle);
    actor->ready = false;
    if (actor->end_asked)
        end_actor (actor);
    else if (actor->stop_asked || actor->control.count || actor->data.count || actor->due_count)
        sim_actor_wake (actor);
}
