/*  The loop of a host: timers, then a turn for each actor that has something,
    then the sockets; asleep in one ppoll when there is nothing to do.

    An actor is ended in one place only, run_turn (and below it, with its parent),
    never under one of its own callbacks. Whatever wants an actor to end marks it
    and gives it a turn. */
#include "runtime/runtime_private.h"

#include "runtime/clock.h"
#include "runtime/pending.h"
#include "runtime/random.h"
#include "runtime/timers.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MESSAGES_MAX   1024
#define TIMERS_MAX          1024   /* a pass */
#define POLL_INTERVAL_NS    200000 /* how often a busy host looks at its sockets */
#define SLEEP_NS_MAX        60000000000
#define SHUTDOWN_MS_DEFAULT 5000
#define REAP_MS             5000 /* for a thread that has nothing left to do */
#define DEPTH_MAX           64   /* of a tree of actors */

enum { TIMER_USER, TIMER_DEADLINE, TIMER_SHUTDOWN };

typedef struct actor actor_t;
typedef struct kid kid_t;

/*  A child of an actor: in this host, or in one of its own. */
struct kid {
    kid_t *next; /* an older one */
    address_t address;
    actor_t *actor;
    host_t *host;
    zactor_t *zactor;
    int64_t shutdown_ms;
    uint64_t timer; /* of its shutdown */
};

struct actor {
    context_t context; /* first: a context is an actor */
    host_t *host;
    const behaviour_t *behaviour;
    mailbox_t *mailbox;
    actor_t *parent; /* in this host; NULL: the root */
    kid_t *kids;     /* newest first */
    timer_list_t timers;
    unsigned polls;
    unsigned depth;
    bool started;
    bool touched; /* had a callback since its last settle */
    bool ending;
    bool failed;
    char *reason;
    metric_t *waiting; /* the gauge of its mailbox */
    double reported;
    _Alignas(max_align_t) char state[];
};

typedef struct {
    void *socket; /* of libzmq, or NULL */
    int fd;
    short events; /* 0: removed */
    poll_fn *ready;
    actor_t *actor;
} watch_t;

struct host {
    runtime_t *runtime;
    child_t child;
    address_t address; /* of the root */
    address_t parent;  /* told when the root ends; no name: nobody */

    /* Shared between the host's thread and whoever started it. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned references;
    bool failed; /* the start */
    bool ended;
    nexus_error_t error;

    /* The thread's own. */
    zsock_t *pipe;
    inbox_t *inbox;
    mailbox_t *ready_first, *ready_last; /* their turn comes */
    actor_t *root;
    timers_t *timers;
    pending_t *pending;
    sender_t sender;
    random_t random;
    int64_t now; /* of the callback in hand; 0: not asked yet */
    watch_t *watches;
    size_t watch_count, watch_capacity;
    bool changed_watches;
    struct pollfd *fds; /* inbox, pipe, watches */
    size_t fd_capacity;
    char root_reason[500];
};

static const context_ops_t host_ops;
static void end_actor (actor_t *actor);

static actor_t *actor_of (const context_t *ctx)
{
    return (actor_t *)(uintptr_t)ctx;
}

static int64_t now_ns (host_t *self)
{
    if (!self->now)
        self->now = clock_now_ns ();
    return self->now;
}

/*  ---- turns --------------------------------------------------------------- */

static void enqueue (host_t *self, mailbox_t *mailbox)
{
    mailbox_set_next (mailbox, NULL);
    if (self->ready_first)
        mailbox_set_next (self->ready_last, mailbox);
    else
        self->ready_first = mailbox;
    self->ready_last = mailbox;
}

/*  Gives the actor a turn, if it has none coming. */
static void touch (actor_t *actor)
{
    actor->touched = true;
    if (mailbox_claim (actor->mailbox))
        enqueue (actor->host, mailbox_retain (actor->mailbox));
}

/*  Everything that a callback needs to be fresh. */
static void enter (actor_t *actor, uint64_t trace)
{
    actor->host->now = 0;
    actor->context.trace = trace;
}

static void receive (actor_t *actor, const message_t *message)
{
    enter (actor, message->trace);
    actor->behaviour->receive (actor->state, &actor->context, message);
}

static kid_t **kid_link (actor_t *actor, const address_t *address)
{
    kid_t **link = &actor->kids;
    while (*link && !directory_same (&(*link)->address, address))
        link = &(*link)->next;
    return link;
}

static void reap (actor_t *actor, const down_t *down);

/*  True if the message is for the actor to see; otherwise it is a dead letter. */
static bool admit (actor_t *actor, message_t **message_p)
{
    host_t *self = actor->host;
    message_t *message = *message_p;
    /* A link gets messages for other nodes: their replies are not ours to match. */
    bool local = runtime_is_local (self->runtime, &message->to);
    if (message->flags & MESSAGE_REPLY && local) {
        pending_entry_t entry;
        if (!pending_take (self->pending, actor, message->correlation, &entry)) {
            runtime_dead (self->runtime, message_p, DEAD_LATE);
            return false;
        }
        timers_cancel (self->timers, actor, entry.timer);
    } else if (message->deadline_ns) {
        self->now = 0;
        if (now_ns (self) > message->deadline_ns) {
            runtime_dead (self->runtime, message_p, DEAD_DEADLINE);
            return false;
        }
    }
    return true;
}

static void deliver (actor_t *actor, message_t *message)
{
    if ((message->flags || message->deadline_ns) && !admit (actor, &message))
        return;
    if (message->kind == &down_record && message->role == ROLE_LOCAL)
        reap (actor, message->body);
    receive (actor, message);
    message_release (&message);
}

static void report_depth (actor_t *actor, double depth)
{
    if (depth != actor->reported)
        metric_add (actor->waiting, depth - actor->reported);
    actor->reported = depth;
}

/*  Takes over the caller's reference on the mailbox. */
static void run_turn (host_t *self, mailbox_t *mailbox)
{
    actor_t *actor = mailbox_owner (mailbox);
    if (!actor) {
        mailbox_release (&mailbox); /* ended since */
        return;
    }
    for (int i = 0; i < TURN_MESSAGES_MAX && !actor->ending; i++) {
        message_t *message = mailbox_pop (mailbox);
        if (!message)
            break;
        actor->touched = true;
        deliver (actor, message);
    }
    if (actor->touched && !actor->ending && actor->behaviour->settle) {
        enter (actor, 0);
        actor->behaviour->settle (actor->state, &actor->context);
    }
    actor->touched = false;
    if (actor->ending) {
        end_actor (actor);
        mailbox_release (&mailbox);
        return;
    }
    bool idle = mailbox_idle (mailbox);
    report_depth (actor, (double)mailbox_depth (mailbox));
    if (idle)
        mailbox_release (&mailbox);
    else
        enqueue (self, mailbox);
}

/*  One turn for each actor that has something now. */
static void run_ready (host_t *self)
{
    mailbox_t *taken = inbox_take (self->inbox);
    while (taken) {
        mailbox_t *next = mailbox_next (taken);
        enqueue (self, taken);
        taken = next;
    }
    mailbox_t *mailbox = self->ready_first;
    self->ready_first = self->ready_last = NULL;
    while (mailbox) {
        mailbox_t *next = mailbox_next (mailbox);
        run_turn (self, mailbox);
        mailbox = next;
    }
}

/*  ---- timers --------------------------------------------------------------- */

static void fail_pending (actor_t *actor, uint64_t correlation)
{
    pending_entry_t entry;
    if (!pending_take (actor->host->pending, actor, correlation, &entry))
        return;
    char name[64], text[128];
    snprintf (text, sizeof text, "no answer from %s before the deadline",
              address_text (&entry.to, name));
    failure_t failure = {.code = NEXUS_DEADLINE, .text = text};
    message_t *message =
        message_new (&failure_record, &failure, NULL, &actor->context.self, &entry.to);
    message->flags = MESSAGE_REPLY;
    message->correlation = correlation;
    message->trace = entry.trace;
    receive (actor, message);
    message_release (&message);
}

static void abandon (actor_t *actor, kid_t *kid);

static void run_timers (host_t *self)
{
    int64_t now = clock_now_ns ();
    timer_entry_t entry;
    for (int i = 0; i < TIMERS_MAX && timers_pop (self->timers, now, &entry); i++) {
        actor_t *actor = entry.owner;
        if (entry.tag == TIMER_SHUTDOWN) {
            abandon (actor, (kid_t *)(uintptr_t)entry.data);
        } else if (!actor->ending) {
            if (entry.tag == TIMER_DEADLINE) {
                fail_pending (actor, entry.data);
            } else if (actor->behaviour->timer) {
                enter (actor, 0);
                actor->behaviour->timer (actor->state, &actor->context, entry.id, entry.data);
            }
            touch (actor);
        }
    }
}

/*  ---- actors: beginning ----------------------------------------------------- */

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
    ctx->ops = &host_ops;
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

/*  Makes and starts an actor. watcher (or NULL) will be told of its end. */
static actor_t *begin_actor (host_t *self, const child_t *child, actor_t *parent,
                             const address_t *watcher, nexus_error_t *error)
{
    if (check_child (child, error) == -1)
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
        end_actor (actor);
        nexus_error_set (error, failure.code, "%s", failure.text);
        return NULL;
    }
    actor->started = true;
    if (watcher)
        directory_watch (directory, &actor->context.self, watcher);
    touch (actor);
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
    touch (actor);
}

static void host_release (host_t *self)
{
    pthread_mutex_lock (&self->lock);
    bool last = --self->references == 0;
    pthread_mutex_unlock (&self->lock);
    if (!last)
        return;
    pthread_cond_destroy (&self->changed);
    pthread_mutex_destroy (&self->lock);
    free (self);
}

/*  Waits until a host's thread has nothing more to do. */
static bool wait_ended (host_t *self, int64_t timeout_ms)
{
    int64_t until = clock_now_ns () + MS_TO_NS (timeout_ms);
    struct timespec ts = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    pthread_mutex_lock (&self->lock);
    int rc = 0;
    while (!self->ended && rc == 0)
        rc = pthread_cond_timedwait (&self->changed, &self->lock, &ts);
    bool ended = self->ended;
    pthread_mutex_unlock (&self->lock);
    return ended;
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
static void abandon (actor_t *actor, kid_t *kid)
{
    host_t *self = actor->host;
    char name[64], reason[128];
    snprintf (reason, sizeof reason, "did not stop within %lld ms", (long long)kid->shutdown_ms);
    log_error (actor->context.log, "a child's thread is given up on",
               LOG_TEXT ("child", address_text (&kid->address, name)), LOG_TEXT ("reason", reason));
    runtime_abandon (self->runtime, kid->host, kid->zactor);
    kid->host = NULL;

    directory_t *directory = runtime_directory (self->runtime);
    mailbox_t *mailbox = directory_find (directory, &kid->address);
    if (mailbox) {
        address_t *watchers;
        size_t count;
        if (directory_remove (directory, mailbox, &watchers, &count))
            for (size_t i = 0; i < count; i++)
                runtime_down (self->runtime, &watchers[i], &kid->address, true, reason);
        free (watchers);
        mailbox_release (&mailbox);
    }
    drop_kid (actor, kid);
}

bool host_collect (host_t *self, zactor_t *zactor)
{
    if (!wait_ended (self, 0))
        return false;
    zactor_destroy (&zactor);
    host_release (self);
    return true;
}

/*  The down message of a child with a thread: its zactor can be destroyed now. */
static void reap (actor_t *actor, const down_t *down)
{
    if (!record_key_is_zero (&down->node))
        return;
    address_t address = address_local (down->actor, down->instance);
    kid_t *kid = *kid_link (actor, &address);
    if (!kid || !kid->host)
        return;
    if (wait_ended (kid->host, REAP_MS)) {
        zactor_destroy (&kid->zactor);
        drop_kid (actor, kid);
    } else {
        abandon (actor, kid);
    }
}

/*  Ends a child with its parent: nobody is told by the child itself. */
static void end_kid (actor_t *actor, kid_t *kid)
{
    directory_t *directory = runtime_directory (actor->host->runtime);
    directory_unwatch (directory, &kid->address, &actor->context.self);
    if (kid->actor) {
        if (!kid->actor->ending)
            kid->actor->reason = strdup ("its parent ended");
        end_actor (kid->actor);
        return;
    }
    if (!kid->timer) /* not asked yet */
        zstr_send (kid->zactor, "$TERM");
    if (wait_ended (kid->host, kid->shutdown_ms)) {
        zactor_destroy (&kid->zactor);
        drop_kid (actor, kid);
    } else {
        abandon (actor, kid);
    }
}

static void unwatch_all (actor_t *actor)
{
    host_t *self = actor->host;
    for (size_t i = 0; i < self->watch_count && actor->polls; i++) {
        if (self->watches[i].actor == actor) {
            self->watches[i].events = 0;
            self->watches[i].actor = NULL;
            self->changed_watches = true;
            actor->polls--;
        }
    }
}

static void drop_timers (actor_t *actor)
{
    timer_entry_t entry;
    while (timers_drop (actor->host->timers, &actor->timers, &entry))
        if (entry.tag == TIMER_DEADLINE)
            pending_take (actor->host->pending, actor, entry.data, NULL);
}

/*  Unregisters; what still waits in the mailbox becomes dead letters, and the
    watchers get their down message. */
static void leave (actor_t *actor)
{
    runtime_t *runtime = actor->host->runtime;
    address_t *watchers;
    size_t count;
    directory_remove (runtime_directory (runtime), actor->mailbox, &watchers, &count);
    mailbox_close (actor->mailbox);
    message_t *message;
    while ((message = mailbox_pop (actor->mailbox)))
        runtime_dead (runtime, &message, DEAD_ENDED);
    const char *reason = actor->reason ? actor->reason : "done";
    for (size_t i = 0; i < count; i++)
        runtime_down (runtime, &watchers[i], &actor->context.self, actor->failed, reason);
    free (watchers);
    report_depth (actor, 0);
}

static void end_actor (actor_t *actor)
{
    host_t *self = actor->host;
    actor->ending = true;
    while (actor->kids)
        end_kid (actor, actor->kids);
    if (actor->started && actor->behaviour->stop) {
        enter (actor, 0);
        actor->behaviour->stop (actor->state, &actor->context);
    }
    drop_timers (actor);
    unwatch_all (actor);
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
    return now_ns (actor_of (ctx)->host);
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
    int64_t now = now_ns (actor->host);
    int64_t at = delay_ns < INT64_MAX - now ? now + delay_ns : INT64_MAX;
    return timers_add (actor->host->timers, at, actor, &actor->timers, TIMER_USER, data);
}

static void op_cancel (context_t *ctx, uint64_t timer)
{
    timers_cancel (actor_of (ctx)->host->timers, actor_of (ctx), timer);
}

static zactor_t *start_thread (runtime_t *runtime, const child_t *child, const address_t *parent,
                               host_t **ret_host, nexus_error_t *error);

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
    uint64_t trace = ctx->trace;
    if (child->thread)
        kid->zactor = start_thread (self->runtime, child, &ctx->self, &kid->host, error);
    else
        kid->actor = begin_actor (self, child, actor, &ctx->self, error);
    ctx->trace = trace;
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
    if (!runtime_is_local (runtime, target))
        runtime_down (runtime, &ctx->self, target, true, "actors of other nodes can't be watched");
    else if (!directory_watch (runtime_directory (runtime), target, &ctx->self))
        runtime_down (runtime, &ctx->self, target, true, "there is no such actor");
}

static void op_end (context_t *ctx, const nexus_error_t *error)
{
    mark_ending (actor_of (ctx), error);
}

static watch_t *find_watch (host_t *self, const actor_t *actor, const void *socket, int fd)
{
    for (size_t i = 0; i < self->watch_count; i++) {
        watch_t *watch = &self->watches[i];
        if (watch->actor == actor && watch->socket == socket && (socket || watch->fd == fd))
            return watch;
    }
    return NULL;
}

static watch_t *add_watch (host_t *self)
{
    if (self->watch_count == self->watch_capacity) {
        size_t capacity = self->watch_capacity ? self->watch_capacity * 2 : 4;
        watch_t *watches = realloc (self->watches, capacity * sizeof *watches);
        if (!watches) {
            fprintf (stderr, "nexus: out of memory (%zu sockets)\n", capacity);
            abort ();
        }
        self->watches = watches;
        self->watch_capacity = capacity;
    }
    return &self->watches[self->watch_count++];
}

static void op_poll (context_t *ctx, void *socket, int fd, short events, poll_fn *ready)
{
    actor_t *actor = actor_of (ctx);
    host_t *self = actor->host;
    if (socket) {
        socket = zsock_resolve (socket);
        size_t size = sizeof fd;
        int rc = zmq_getsockopt (socket, ZMQ_FD, &fd, &size);
        assert (rc == 0);
    }
    watch_t *watch = find_watch (self, actor, socket, fd);
    self->changed_watches = true;
    if (!events) {
        if (watch) {
            watch->events = 0;
            watch->actor = NULL;
            actor->polls--;
        }
        return;
    }
    assert (ready);
    if (!watch) {
        watch = add_watch (self);
        actor->polls++;
    }
    *watch = (watch_t){socket, fd, events, ready, actor};
}

static const context_ops_t host_ops = {.now = op_now,
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
                                       .poll = op_poll};

/*  ---- sockets ------------------------------------------------------------------ */

/*  What a libzmq socket is ready for, in poll's terms. Its descriptor tells only
    that something changed; asking is what counts. */
static short socket_events (void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    if (zmq_getsockopt (socket, ZMQ_EVENTS, &events, &size) == -1)
        return 0;
    return (short)((events & ZMQ_POLLIN ? POLLIN : 0) | (events & ZMQ_POLLOUT ? POLLOUT : 0));
}

static bool sockets_ready (const host_t *self)
{
    for (size_t i = 0; i < self->watch_count; i++) {
        const watch_t *watch = &self->watches[i];
        if (watch->actor && watch->socket && socket_events (watch->socket) & watch->events)
            return true;
    }
    return false;
}

static void compact_watches (host_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->watch_count; i++)
        if (self->watches[i].actor)
            self->watches[kept++] = self->watches[i];
    self->watch_count = kept;
}

/*  What ppoll looks at; stays as it is until a watch changes. */
static nfds_t fill_fds (host_t *self)
{
    if (!self->changed_watches)
        return (nfds_t)(2 + self->watch_count);
    self->changed_watches = false;
    compact_watches (self);
    size_t count = 2 + self->watch_count;
    if (count > self->fd_capacity) {
        struct pollfd *fds = realloc (self->fds, count * 2 * sizeof *fds);
        if (!fds) {
            fprintf (stderr, "nexus: out of memory (%zu descriptors)\n", count);
            abort ();
        }
        self->fds = fds;
        self->fd_capacity = count * 2;
    }
    self->fds[0] = (struct pollfd){inbox_fd (self->inbox), POLLIN, 0};
    self->fds[1] = (struct pollfd){zsock_fd (self->pipe), POLLIN, 0};
    for (size_t i = 0; i < self->watch_count; i++) {
        const watch_t *watch = &self->watches[i];
        self->fds[2 + i] = (struct pollfd){watch->fd, watch->socket ? POLLIN : watch->events, 0};
    }
    return (nfds_t)count;
}

/*  The pipe carries control only: whoever owns the zactor asks us to end. */
static void read_pipe (host_t *self)
{
    while (self->root && zsock_events (self->pipe) & ZMQ_POLLIN) {
        char *command = zstr_recv (self->pipe);
        if (!command || streq (command, "$TERM"))
            end_actor (self->root);
        zstr_free (&command);
    }
}

static void dispatch (host_t *self, nfds_t count)
{
    /* A callback may add watches (behind count) and remove any (actor NULL). */
    for (size_t i = 0; i + 2 < count; i++) {
        watch_t watch = self->watches[i];
        if (!watch.actor || watch.actor->ending)
            continue;
        short events = self->fds[2 + i].revents & (watch.events | POLLERR | POLLHUP | POLLNVAL);
        if (watch.socket)
            events = socket_events (watch.socket) & watch.events;
        if (!events)
            continue;
        enter (watch.actor, 0);
        watch.ready (watch.actor->state, &watch.actor->context, watch.socket, watch.fd, events);
        touch (watch.actor);
    }
}

/*  Looks at the sockets; sleeps if there is nothing else to do. */
static void poll_sockets (host_t *self)
{
    int64_t timeout = 0;
    if (!self->ready_first && !sockets_ready (self)) {
        int64_t next = timers_next (self->timers);
        int64_t left = next == INT64_MAX ? SLEEP_NS_MAX : next - clock_now_ns ();
        if (left > 0 && inbox_sleep (self->inbox))
            timeout = left < SLEEP_NS_MAX ? left : SLEEP_NS_MAX;
    }
    nfds_t count = fill_fds (self);
    struct timespec ts = {.tv_sec = timeout / 1000000000, .tv_nsec = timeout % 1000000000};
    int rc = ppoll (self->fds, count, &ts, NULL);
    if (rc == -1) {
        assert (errno == EINTR || errno == ENOMEM);
        for (nfds_t i = 0; i < count; i++)
            self->fds[i].revents = 0;
    }
    inbox_wake (self->inbox, self->fds[0].revents);
    if (self->fds[1].revents)
        read_pipe (self);
    if (self->root)
        dispatch (self, count);
}

/*  ---- the zactor ---------------------------------------------------------------- */

static void loop (host_t *self)
{
    int64_t polled = 0;
    read_pipe (self);
    while (self->root) {
        if (timers_count (self->timers))
            run_timers (self);
        run_ready (self);
        sender_flush (&self->sender);
        if (!self->root)
            break;
        bool busy = self->ready_first || inbox_waiting (self->inbox);
        int64_t now = busy ? clock_now_ns () : 0;
        if (now && now - polled < POLL_INTERVAL_NS)
            continue;
        poll_sockets (self);
        polled = now;
    }
}

static int open_host (host_t *self, nexus_error_t *error)
{
    self->inbox = inbox_new (error);
    if (!self->inbox)
        return -1;
    self->changed_watches = true;
    random_seed (&self->random, random_entropy ());
    self->timers = timers_new ();
    self->pending = pending_new (random_next (&self->random));
    sender_init (&self->sender, self->runtime);
    sender_enter (&self->sender);
    const address_t *parent = self->parent.actor[0] ? &self->parent : NULL;
    self->root = begin_actor (self, &self->child, NULL, parent, error);
    return self->root ? 0 : -1;
}

static void close_host (host_t *self)
{
    while (self->ready_first) {
        mailbox_t *mailbox = self->ready_first;
        self->ready_first = mailbox_next (mailbox);
        mailbox_release (&mailbox);
    }
    inbox_close (&self->inbox);
    if (self->timers) {
        sender_enter (NULL);
        sender_close (&self->sender);
    }
    timers_destroy (&self->timers);
    pending_destroy (&self->pending);
    free (self->watches);
    free (self->fds);
}

/*  The last that a host's thread does. */
static void finish (host_t *self)
{
    runtime_t *runtime = self->runtime;
    pthread_mutex_lock (&self->lock);
    self->ended = true;
    pthread_cond_broadcast (&self->changed);
    pthread_mutex_unlock (&self->lock);
    host_release (self);
    runtime_host_ended (runtime);
}

static void host_main (zsock_t *pipe, void *args)
{
    host_t *self = args;
    self->pipe = pipe;
    zsock_set_linger (pipe, 0);
    zsock_set_sndtimeo (pipe, 0);
    char name[16];
    snprintf (name, sizeof name, "%.15s", self->child.name);
    pthread_setname_np (pthread_self (), name);

    nexus_error_t error;
    int rc = open_host (self, &error);
    if (rc == -1) {
        pthread_mutex_lock (&self->lock);
        self->failed = true;
        self->error = error;
        pthread_mutex_unlock (&self->lock);
    }
    zsock_signal (pipe, rc == 0 ? 0 : 1);
    if (rc == 0) {
        loop (self);
        zstr_sendx (pipe, "DOWN", self->root_reason, NULL);
    }
    close_host (self);
    finish (self);
}

static host_t *new_host (runtime_t *runtime, const child_t *child, const address_t *parent,
                         nexus_error_t *error)
{
    host_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->runtime = runtime;
    self->address = address_local (child->name, child->instance);
    self->child = *child;
    self->child.name = self->address.actor;
    if (parent)
        self->parent = *parent;
    self->references = 2; /* the starter's and the thread's */
    pthread_condattr_t attributes;
    pthread_condattr_init (&attributes);
    pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init (&self->lock, NULL);
    pthread_cond_init (&self->changed, &attributes);
    pthread_condattr_destroy (&attributes);
    return self;
}

/*  CZMQ aborts the process when a zactor's pipe can't be made: try first. */
static int check_sockets (nexus_error_t *error)
{
    void *probes[3];
    size_t made = 0;
    void *zmq = zsys_init ();
    while (zmq && made < 3 && (probes[made] = zmq_socket (zmq, ZMQ_PAIR)))
        made++;
    int reason = errno;
    for (size_t i = 0; i < made; i++)
        zmq_close (probes[i]);
    if (made == 3)
        return 0;
    return nexus_error_set (error, NEXUS_EXHAUSTED,
                            "no socket for another actor with a thread of its own (%s): raise the "
                            "limit of open files (ulimit -n), or CZMQ's (ZSYS_MAX_SOCKETS)",
                            zmq_strerror (reason));
}

static zactor_t *start_thread (runtime_t *runtime, const child_t *child, const address_t *parent,
                               host_t **ret_host, nexus_error_t *error)
{
    if (check_child (child, error) == -1 || check_sockets (error) == -1)
        return NULL;
    host_t *host = new_host (runtime, child, parent, error);
    if (!host)
        return NULL;
    runtime_host_began (runtime);
    zactor_t *zactor = zactor_new (host_main, host);
    assert (zactor);
    zsock_set_sndtimeo (zactor_sock (zactor), 0);
    pthread_mutex_lock (&host->lock);
    bool failed = host->failed;
    nexus_error_t failure = host->error;
    pthread_mutex_unlock (&host->lock);
    if (failed) {
        zactor_destroy (&zactor);
        nexus_error_set (error, failure.code, "%s", failure.text);
    }
    if (zactor && ret_host)
        *ret_host = host;
    else
        host_release (host);
    return zactor;
}

zactor_t *host_new (runtime_t *runtime, const child_t *child, nexus_error_t *error)
{
    return start_thread (runtime, child, NULL, NULL, error);
}
