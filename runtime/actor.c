/*  An actor's life in its host: how it begins, what its context does, how it ends.

    An actor is ended in one place only: in its turn (and below it, with its
    parent), never under one of its own callbacks. Whatever wants an actor to end
    marks it and gives it a turn. */
#include "runtime/host_private.h"

#include "runtime/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SHUTDOWN_MS_DEFAULT 5000
#define REAP_MS             5000 /* for a thread that has nothing left to do */
#define DEPTH_MAX           64   /* of a tree of actors */

static const context_ops_t actor_ops;

static actor_t *actor_of (const context_t *ctx)
{
    return (actor_t *)(uintptr_t)ctx;
}

static kid_t **kid_link (actor_t *actor, const address_t *address)
{
    kid_t **link = &actor->kids;
    while (*link && !directory_same (&(*link)->address, address))
        link = &(*link)->next;
    return link;
}

void actor_report_depth (actor_t *actor, double depth)
{
    if (depth != actor->reported)
        metric_add (actor->waiting, depth - actor->reported);
    actor->reported = depth;
}

/*  ---- actors: beginning ----------------------------------------------------- */

int actor_check (const child_t *child, nexus_error_t *error)
{
    assert (child->behaviour && child->behaviour->receive);
    size_t length = child->name ? strlen (child->name) : 0;
    if (length == 0 || length >= sizeof ((address_t *)0)->actor)
        return nexus_error_set (error, NEXUS_INVALID,
                                "actor \"%s\": a name must have 1 to %zu characters",
                                child->name ? child->name : "", sizeof ((address_t *)0)->actor - 1);
    return 0;
}

static metric_t *depth_gauge (runtime_t *runtime, const char *name)
{
    buffer_t labels = {0};
    metrics_label (&labels, "actor", name);
    metric_t *gauge = metrics_gauge (runtime_metrics (runtime), "nexus_mailbox_messages",
                                     "Messages that wait in the mailboxes of the actors of a name.",
                                     labels.failed ? NULL : (const char *)labels.data);
    buffer_free (&labels);
    return gauge;
}

static void free_actor (actor_t *actor)
{
    mailbox_release (&actor->mailbox);
    log_destroy (&actor->context.log);
    free (actor->reason);
    free (actor);
}

static actor_t *new_actor (host_t *self, const child_t *child, nexus_error_t *error)
{
    actor_t *actor = calloc (1, sizeof *actor + child->behaviour->state_size);
    if (!actor) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    actor->host = self;
    actor->behaviour = child->behaviour;
    context_t *ctx = &actor->context;
    ctx->ops = &actor_ops;
    ctx->self = address_local (child->name, child->instance);
    ctx->node = *runtime_key (self->runtime);
    ctx->runtime = self->runtime;
    ctx->metrics = runtime_metrics (self->runtime);
    char name[64];
    ctx->log = log_derive (runtime_log (self->runtime), address_text (&ctx->self, name));
    actor->mailbox = mailbox_new (self->inbox, &ctx->self, child->mailbox_count_max,
                                  child->mailbox_bytes_max, actor);
    if (!actor->mailbox) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        free_actor (actor);
        return NULL;
    }
    actor->waiting = depth_gauge (self->runtime, child->name);
    return actor;
}

actor_t *actor_begin (host_t *self, const child_t *child, actor_t *parent, mailbox_t *watcher,
                      nexus_error_t *error)
{
    if (actor_check (child, error) == -1)
        return NULL;
    actor_t *actor = new_actor (self, child, error);
    if (!actor)
        return NULL;
    directory_t *directory = runtime_directory (self->runtime);
    if (directory_add (directory, actor->mailbox, error) == -1) {
        mailbox_disown (actor->mailbox);
        free_actor (actor);
        return NULL;
    }
    actor->parent = parent;
    actor->depth = parent ? parent->depth + 1 : 0;
    nexus_error_t failure = {NEXUS_INVALID, "its start failed without saying why"};
    if (child->behaviour->start &&
        child->behaviour->start (actor->state, &actor->context, child->args, &failure) == -1) {
        actor->failed = true;
        actor->reason = strdup (failure.text);
        actor_end (actor);
        nexus_error_set (error, failure.code, "%s", failure.text);
        return NULL;
    }
    actor->started = true;
    if (watcher)
        directory_watch (directory, &actor->context.self, watcher);
    host_touch (actor);
    return actor;
}

/*  ---- actors: end ------------------------------------------------------------ */

static void mark_ending (actor_t *actor, const nexus_error_t *error)
{
    if (actor->ending)
        return;
    actor->ending = true;
    actor->failed = error != NULL;
    actor->reason = strdup (error ? error->text : "done");
    host_touch (actor);
}

/*  Unlinks and frees; a thread has ended or is given up on. */
static void drop_kid (actor_t *actor, kid_t *kid)
{
    kid_t **link = &actor->kids;
    while (*link != kid)
        link = &(*link)->next;
    *link = kid->next;
    if (kid->timer)
        timers_cancel (actor->host->timers, actor, kid->timer);
    if (kid->host)
        host_release (kid->host);
    free (kid);
}

/*  A thread cannot be ended from outside. Its name is taken from it, so that it
    can be started anew; its zactor is left to the runtime's end. */
void actor_abandon (actor_t *actor, kid_t *kid)
{
    host_t *self = actor->host;
    char name[64], reason[128];
    snprintf (reason, sizeof reason, "did not stop within %lld ms", (long long)kid->shutdown_ms);
    log_error (actor->context.log, "a child's thread is given up on",
               LOG_TEXT ("child", address_text (&kid->address, name)), LOG_TEXT ("reason", reason));
    runtime_abandon (self->runtime, kid->host, kid->zactor);
    kid->host = NULL;

    mailbox_t *mailbox = directory_find (runtime_directory (self->runtime), &kid->address);
    if (mailbox)
        runtime_leave (self->runtime, mailbox, true, reason);
    mailbox_release (&mailbox);
    drop_kid (actor, kid);
}

void actor_reap (actor_t *actor, const down_t *down)
{
    if (!record_key_is_zero (&down->node))
        return;
    address_t address = address_local (down->actor, down->instance);
    kid_t *kid = *kid_link (actor, &address);
    if (!kid || !kid->host)
        return;
    if (host_wait (kid->host, REAP_MS)) {
        zactor_destroy (&kid->zactor);
        drop_kid (actor, kid);
    } else {
        actor_abandon (actor, kid);
    }
}

/*  Ends a child with its parent: nobody is told by the child itself. */
static void end_kid (actor_t *actor, kid_t *kid)
{
    directory_t *directory = runtime_directory (actor->host->runtime);
    directory_unwatch (directory, &kid->address, actor->mailbox);
    if (kid->actor) {
        if (!kid->actor->ending)
            kid->actor->reason = strdup ("its parent ended");
        actor_end (kid->actor);
        return;
    }
    if (!kid->timer) /* not asked yet */
        zstr_send (kid->zactor, "$TERM");
    if (host_wait (kid->host, kid->shutdown_ms)) {
        zactor_destroy (&kid->zactor);
        drop_kid (actor, kid);
    } else {
        actor_abandon (actor, kid);
    }
}

static void drop_timers (actor_t *actor)
{
    timer_entry_t entry;
    while (timers_drop (actor->host->timers, &actor->timers, &entry))
        if (entry.tag == TIMER_DEADLINE)
            pending_take (actor->host->pending, actor, entry.data, NULL);
}

/*  What still waits in the mailbox becomes dead letters; the name is free; the
    watchers get their down message. */
static void leave (actor_t *actor)
{
    runtime_t *runtime = actor->host->runtime;
    mailbox_close (actor->mailbox);
    message_t *message;
    while ((message = mailbox_pop (actor->mailbox)))
        runtime_dead (runtime, &message, DEAD_ENDED);
    runtime_leave (runtime, actor->mailbox, actor->failed, actor->reason ? actor->reason : "done");
    actor_report_depth (actor, 0);
}

void actor_end (actor_t *actor)
{
    host_t *self = actor->host;
    actor->ending = true;
    while (actor->kids)
        end_kid (actor, actor->kids);
    if (actor->started && actor->behaviour->stop) {
        host_enter (actor, 0);
        actor->behaviour->stop (actor->state, &actor->context);
    }
    drop_timers (actor);
    host_unwatch (actor);
    leave (actor);
    if (actor->parent) {
        kid_t *kid = *kid_link (actor->parent, &actor->context.self);
        if (kid && kid->actor == actor)
            drop_kid (actor->parent, kid);
    }
    if (self->root == actor) {
        self->root = NULL;
        snprintf (self->root_reason, sizeof self->root_reason, "%s",
                  actor->reason ? actor->reason : "stopped");
    }
    mailbox_disown (actor->mailbox);
    free_actor (actor);
}

/*  ---- what the context does --------------------------------------------------- */

static int64_t op_now (const context_t *ctx)
{
    return host_now (actor_of (ctx)->host);
}

static int64_t op_wall_ms (const context_t *ctx)
{
    (void)ctx;
    return clock_wall_ms ();
}

static uint64_t op_random (context_t *ctx)
{
    return random_next (&actor_of (ctx)->host->random);
}

static void op_send (context_t *ctx, message_t **message_p)
{
    host_t *self = actor_of (ctx)->host;
    runtime_post (self->runtime, &self->sender, message_p);
}

static void op_flush (context_t *ctx)
{
    sender_wake (&actor_of (ctx)->host->sender);
}

static uint64_t op_request (context_t *ctx, message_t **message_p, int64_t timeout_ms)
{
    (void)timeout_ms; /* the message has its deadline */
    actor_t *actor = actor_of (ctx);
    host_t *self = actor->host;
    message_t *message = *message_p;
    uint64_t correlation = pending_next (self->pending);
    uint64_t timer = timers_add (self->timers, message->deadline_ns, actor, &actor->timers,
                                 TIMER_DEADLINE, correlation);
    pending_add (self->pending, actor, timer, &message->to, message->trace);
    message->correlation = correlation;
    runtime_post (self->runtime, &self->sender, message_p);
    return correlation;
}

static uint64_t op_after (context_t *ctx, int64_t delay_ns, uint64_t data)
{
    actor_t *actor = actor_of (ctx);
    int64_t now = host_now (actor->host);
    int64_t at = delay_ns < INT64_MAX - now ? now + delay_ns : INT64_MAX;
    return timers_add (actor->host->timers, at, actor, &actor->timers, TIMER_USER, data);
}

static void op_cancel (context_t *ctx, uint64_t timer)
{
    timers_cancel (actor_of (ctx)->host->timers, actor_of (ctx), timer);
}

static int op_spawn (context_t *ctx, const child_t *child, nexus_error_t *error)
{
    actor_t *actor = actor_of (ctx);
    host_t *self = actor->host;
    if (actor->ending)
        return nexus_error_set (error, NEXUS_UNAVAILABLE, "an actor that ends spawns no others");
    if (actor->depth + 1 >= DEPTH_MAX)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "actors are nested more than %d deep",
                                DEPTH_MAX);
    kid_t *kid = calloc (1, sizeof *kid);
    if (!kid)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    kid->shutdown_ms = child->shutdown_ms > 0 ? child->shutdown_ms : SHUTDOWN_MS_DEFAULT;
    sender_wake (&self->sender); /* a start may take its time */
    uint64_t trace = ctx->trace;
    int64_t now = host_now (self); /* the child's callbacks are inside ours: our clock stands */
    if (child->thread)
        kid->zactor = host_start (self->runtime, child, actor->mailbox, &kid->host, error);
    else
        kid->actor = actor_begin (self, child, actor, actor->mailbox, error);
    ctx->trace = trace;
    self->now = now;
    if (!kid->zactor && !kid->actor) {
        free (kid);
        return -1;
    }
    kid->address = address_local (child->name, child->instance);
    kid->next = actor->kids;
    actor->kids = kid;
    return 0;
}

static void op_stop_child (context_t *ctx, const address_t *child)
{
    actor_t *actor = actor_of (ctx);
    kid_t *kid = *kid_link (actor, child);
    if (!kid)
        return; /* ended already: its down message is on its way */
    if (kid->actor) {
        if (!kid->actor->ending) {
            mark_ending (kid->actor, NULL);
            free (kid->actor->reason);
            kid->actor->reason = strdup ("stopped by its parent");
        }
    } else if (!kid->timer) {
        zstr_send (kid->zactor, "$TERM");
        kid->timer = timers_add (actor->host->timers, clock_now_ns () + MS_TO_NS (kid->shutdown_ms),
                                 actor, &actor->timers, TIMER_SHUTDOWN, (uintptr_t)kid);
    }
}

static void op_watch (context_t *ctx, const address_t *target)
{
    runtime_t *runtime = ctx->runtime;
    mailbox_t *self = actor_of (ctx)->mailbox;
    if (!runtime_is_local (runtime, target))
        runtime_down (self, target, true, "actors of other nodes can't be watched");
    else if (!directory_watch (runtime_directory (runtime), target, self))
        runtime_down (self, target, true, "there is no such actor");
}

static void op_end (context_t *ctx, const nexus_error_t *error)
{
    mark_ending (actor_of (ctx), error);
}

static void op_poll (context_t *ctx, void *socket, int fd, short events, poll_fn *ready)
{
    host_watch (actor_of (ctx), socket, fd, events, ready);
}

static void op_used (context_t *ctx, void *socket)
{
    host_used (actor_of (ctx), socket);
}

static const context_ops_t actor_ops = {.now = op_now,
                                        .wall_ms = op_wall_ms,
                                        .random = op_random,
                                        .send = op_send,
                                        .request = op_request,
                                        .after = op_after,
                                        .cancel = op_cancel,
                                        .spawn = op_spawn,
                                        .stop_child = op_stop_child,
                                        .watch = op_watch,
                                        .end = op_end,
                                        .poll = op_poll,
                                        .used = op_used,
                                        .flush = op_flush};
