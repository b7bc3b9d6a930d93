/*  The loop of a host: timers, then a turn for each actor that has something,
    then the sockets; asleep in one ppoll when there is nothing to do. */
#include "runtime/host_private.h"

#include "runtime/clock.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_MESSAGES_MAX 1024
#define TIMERS_MAX        1024   /* a pass */
#define POLL_INTERVAL_NS  200000 /* how often a busy host looks at its sockets */
#define PROBES            4      /* a pipe has two ends, an inbox one, and one to spare */

int64_t host_now (host_t *self)
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

void host_touch (actor_t *actor)
{
    actor->touched = true;
    if (mailbox_claim (actor->mailbox))
        enqueue (actor->host, mailbox_retain (actor->mailbox));
}

void host_enter (actor_t *actor, uint64_t trace)
{
    actor->host->now = 0;
    actor->context.trace = trace;
}

static void receive (actor_t *actor, const message_t *message)
{
    host_enter (actor, message->trace);
    actor->behaviour->receive (actor->state, &actor->context, message);
}

/*  True if the message is for the actor to see; otherwise it is a dead letter. */
static bool admit (actor_t *actor, message_t **message_p)
{
    host_t *self = actor->host;
    message_t *message = *message_p;
    /* A link gets messages for other nodes: their replies are not ours to match. */
    bool local = runtime_is_local (self->runtime, &message->to);
    if (message->flags & MESSAGE_REPLY && local) {
        const pending_entry_t *request = pending_find (self->pending, actor, message->correlation);
        if (!request || !runtime_may_answer (self->runtime, &request->to, &message->from)) {
            runtime_dead (self->runtime, message_p, DEAD_LATE);
            return false;
        }
        timers_cancel (self->timers, actor, request->timer);
        pending_take (self->pending, actor, message->correlation, NULL);
    } else if (message->deadline_ns) {
        self->now = 0;
        if (host_now (self) > message->deadline_ns) {
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
        actor_reap (actor, message->body);
    receive (actor, message);
    message_release (&message);
    sender_wake (&actor->host->sender);
}

static void make_stale (const actor_t *actor);

static void take_inbox (host_t *self)
{
    mailbox_t *taken = inbox_take (self->inbox);
    while (taken) {
        mailbox_t *next = mailbox_next (taken);
        enqueue (self, taken);
        taken = next;
    }
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
        host_enter (actor, 0);
        actor->behaviour->settle (actor->state, &actor->context);
    }
    actor->touched = false;
    if (actor->polls)
        make_stale (actor);
    if (actor->ending) {
        actor_end (actor);
        sender_wake (&self->sender);
        mailbox_release (&mailbox);
        return;
    }
    sender_wake (&self->sender);
    bool idle = mailbox_idle (mailbox);
    actor_report_depth (actor, (double)mailbox_depth (mailbox));
    if (idle) {
        mailbox_release (&mailbox);
        return;
    }
    take_inbox (self); /* those whom this turn's messages are for come before its next one */
    enqueue (self, mailbox);
}

/*  One turn for each actor that has something now. */
static void run_ready (host_t *self)
{
    take_inbox (self);
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

static void run_timers (host_t *self)
{
    int64_t now = clock_now_ns ();
    timer_entry_t entry;
    for (int i = 0; i < TIMERS_MAX && timers_pop (self->timers, now, &entry); i++) {
        actor_t *actor = entry.owner;
        if (entry.tag == TIMER_SHUTDOWN) {
            actor_abandon (actor, (kid_t *)(uintptr_t)entry.data);
        } else if (!actor->ending) {
            if (entry.tag == TIMER_DEADLINE) {
                fail_pending (actor, entry.data);
            } else if (actor->behaviour->timer) {
                host_enter (actor, 0);
                actor->behaviour->timer (actor->state, &actor->context, entry.id, entry.data);
            }
            host_touch (actor);
        }
        sender_wake (&self->sender);
    }
}

/*  ---- sockets ------------------------------------------------------------------ */

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

void host_watch (actor_t *actor, void *socket, int fd, short events, poll_fn *ready)
{
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
    *watch = (watch_t){.socket = socket,
                       .fd = fd,
                       .events = events,
                       .ready = ready,
                       .actor = actor,
                       .stale = socket != NULL};
}

void host_unwatch (actor_t *actor)
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

/*  Its actor may have used its sockets, and thereby taken notice of what their descriptors
    would have told. */
static void make_stale (const actor_t *actor)
{
    host_t *self = actor->host;
    for (size_t i = 0; i < self->watch_count; i++)
        if (self->watches[i].actor == actor && !(self->watches[i].events & POLL_DRAINS))
            self->watches[i].stale = self->watches[i].socket != NULL;
}

void host_used (actor_t *actor, void *socket)
{
    watch_t *watch = find_watch (actor->host, actor, socket, -1);
    if (watch)
        watch->stale = true;
}

/*  Asking costs system calls, so only those are asked whose descriptors are not enough. */
static bool sockets_ready (host_t *self)
{
    bool ready = false;
    for (size_t i = 0; i < self->watch_count; i++) {
        watch_t *watch = &self->watches[i];
        if (!watch->actor || !watch->stale)
            continue;
        watch->stale = false;
        watch->found = socket_events (watch->socket) & watch->events;
        ready = ready || watch->found;
    }
    return ready;
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
            actor_end (self->root);
        zstr_free (&command);
    }
}

/*  What a watch is to be called for. */
static short events_of (watch_t *watch, short told)
{
    bool found = watch->found;
    watch->found = false;
    if (!watch->socket)
        return told & (watch->events | POLLERR | POLLHUP | POLLNVAL);
    if (found || (told && watch->events & POLL_DRAINS))
        return watch->events & (POLLIN | POLLOUT);
    return told ? socket_events (watch->socket) & watch->events : 0;
}

static void dispatch (host_t *self, nfds_t count)
{
    /* A callback may add watches (behind count) and remove any (actor NULL). */
    for (size_t i = 0; i + 2 < count; i++) {
        watch_t watch = self->watches[i];
        if (!watch.actor || watch.actor->ending)
            continue;
        short events = events_of (&self->watches[i], self->fds[2 + i].revents);
        if (!events)
            continue;
        if (watch.socket && !(watch.events & POLL_DRAINS))
            self->watches[i].stale = true; /* it may leave something behind */
        host_enter (watch.actor, 0);
        watch.ready (watch.actor->state, &watch.actor->context, watch.socket, watch.fd, events);
        host_touch (watch.actor);
        sender_wake (&self->sender);
    }
}

/*  Until the next timer; 0 if there is something to do before. */
static int64_t time_to_sleep (host_t *self)
{
    if (sockets_ready (self) || self->ready_first)
        return 0;
    int64_t next = timers_next (self->timers);
    int64_t left = next == INT64_MAX ? next : next - clock_now_ns ();
    return left > 0 && inbox_sleep (self->inbox) ? left : 0;
}

/*  Looks at the sockets; sleeps if there is nothing else to do. Who is busy asks the kernel now and
    then only. */
static void poll_sockets (host_t *self)
{
    int64_t left = time_to_sleep (self);
    struct timespec ts = {left / 1000000000, left % 1000000000};
    nfds_t count = fill_fds (self);
    int rc = -1;
    if (left > 0 || clock_now_ns () - self->polled >= POLL_INTERVAL_NS) {
        rc = ppoll (self->fds, count, left == INT64_MAX ? NULL : &ts, NULL);
        assert (rc != -1 || errno == EINTR || errno == ENOMEM);
        self->polled = clock_now_ns ();
    }
    for (nfds_t i = 0; rc == -1 && i < count; i++)
        self->fds[i].revents = 0;
    inbox_wake (self->inbox, self->fds[0].revents);
    if (self->fds[1].revents)
        read_pipe (self);
    if (self->root)
        dispatch (self, count);
}

/*  ---- the zactor ---------------------------------------------------------------- */

static void loop (host_t *self)
{
    read_pipe (self);
    while (self->root) {
        if (timers_count (self->timers))
            run_timers (self);
        run_ready (self);
        sender_flush (&self->sender);
        if (!self->root)
            break;
        bool busy = self->ready_first || inbox_waiting (self->inbox);
        if (!busy || clock_now_ns () - self->polled >= POLL_INTERVAL_NS)
            poll_sockets (self);
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
    self->root = actor_begin (self, &self->child, NULL, self->parent, error);
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

void host_release (host_t *self)
{
    pthread_mutex_lock (&self->lock);
    bool last = --self->references == 0;
    pthread_mutex_unlock (&self->lock);
    if (!last)
        return;
    mailbox_release (&self->parent);
    pthread_cond_destroy (&self->changed);
    pthread_mutex_destroy (&self->lock);
    free (self);
}

bool host_wait (host_t *self, int64_t timeout_ms)
{
    struct timespec ts;
    clock_gettime (CLOCK_MONOTONIC, &ts); /* the condition's clock */
    int64_t until = ts.tv_sec * INT64_C (1000000000) + ts.tv_nsec + MS_TO_NS (timeout_ms);
    ts = (struct timespec){.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    pthread_mutex_lock (&self->lock);
    int rc = 0;
    while (!self->ended && rc == 0)
        rc = pthread_cond_timedwait (&self->changed, &self->lock, &ts);
    bool ended = self->ended;
    pthread_mutex_unlock (&self->lock);
    return ended;
}

bool host_collect (host_t *self, zactor_t *zactor)
{
    if (!host_wait (self, 0))
        return false;
    zactor_destroy (&zactor);
    host_release (self);
    return true;
}

static host_t *new_host (runtime_t *runtime, const child_t *child, mailbox_t *parent,
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
        self->parent = mailbox_retain (parent);
    self->references = 2; /* the starter's and the thread's */
    pthread_condattr_t attributes;
    pthread_condattr_init (&attributes);
    pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init (&self->lock, NULL);
    pthread_cond_init (&self->changed, &attributes);
    pthread_condattr_destroy (&attributes);
    return self;
}

/*  CZMQ aborts the process when a zactor's pipe, two sockets, can't be made: see first
    that there are descriptors and places for it. */
static int check_sockets (nexus_error_t *error)
{
    int probes[PROBES], made = 0;
    while (made < PROBES && (probes[made] = eventfd (0, EFD_CLOEXEC)) != -1)
        made++;
    int reason = made < PROBES ? errno : 0;
    for (int i = 0; i < made; i++)
        close (probes[i]);
    void *zmq = zsys_init ();
    if (!reason && (!zmq || 2 * runtime_hosts () + PROBES > zmq_ctx_get (zmq, ZMQ_MAX_SOCKETS)))
        reason = EMFILE;
    if (!reason)
        return 0;
    return nexus_error_set (error, NEXUS_EXHAUSTED,
                            "no socket for another actor with a thread of its own (%s): raise the "
                            "limit of open files (ulimit -n), or CZMQ's (ZSYS_MAX_SOCKETS)",
                            zmq_strerror (reason));
}

zactor_t *host_start (runtime_t *runtime, const child_t *child, mailbox_t *parent,
                      host_t **ret_host, nexus_error_t *error)
{
    if (actor_check (child, error) == -1 || check_sockets (error) == -1)
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
    return host_start (runtime, child, NULL, NULL, error);
}
