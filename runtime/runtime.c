#include "runtime/runtime_private.h"

#include "runtime/clock.h"
#include "runtime/random.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKETS_MAX 65536
#define CALL_MS_MAX 86400000

/*  How many messages may wait for sender_wake. */
#define WAKE_MESSAGES 256

/*  A route once set stays readable: senders use it without a lock. */
typedef struct route route_t;
struct route {
    address_t to;
    route_t *older;
};

typedef struct abandoned abandoned_t;
struct abandoned {
    abandoned_t *next;
    host_t *host;
    zactor_t *zactor;
};

enum { LANE_CONTROL, LANE_DATA, LANES };

struct runtime {
    record_key_t key;
    log_t *log;
    metrics_t *metrics;
    void *zmq;
    directory_t *directory;
    _Atomic (route_t *) routes[LANES];
    pthread_mutex_t lock; /* of routes (for writing) and abandoned */
    abandoned_t *abandoned;
    metric_t *messages;
    metric_t *dead[DEAD_REASONS_OF_HOSTS];
    atomic_uint hosts;
    atomic_uint_fast64_t calls;
};

static const record_key_t this_node;
static _Thread_local sender_t *thread_sender;

/*  ---- the process -------------------------------------------------------- */

/*  CZMQ takes SIGINT and SIGTERM for itself on first use; a library must not.
    If the program already uses CZMQ its handlers stay as they are. */
static void prepare_process (void)
{
    struct sigaction interrupt, terminate;
    sigaction (SIGINT, NULL, &interrupt);
    sigaction (SIGTERM, NULL, &terminate);
    zsys_handler_set (NULL);
    void *zmq = zsys_init ();
    sigaction (SIGINT, &interrupt, NULL);
    sigaction (SIGTERM, &terminate, NULL);
    /* Takes effect unless the program has opened a CZMQ socket before. */
    if (zmq && zmq_ctx_get (zmq, ZMQ_MAX_SOCKETS) < SOCKETS_MAX)
        zmq_ctx_set (zmq, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
}

static void *must (void *memory)
{
    if (!memory) {
        fprintf (stderr, "nexus: out of memory (runtime)\n");
        abort ();
    }
    return memory;
}

/*  ---- construction ------------------------------------------------------- */

static void make_metrics (runtime_t *self)
{
    self->messages = metrics_counter (self->metrics, "nexus_messages_total",
                                      "Messages delivered to a mailbox of this node.", NULL);
    for (int i = 0; i < DEAD_REASONS_OF_HOSTS; i++) {
        char labels[64];
        snprintf (labels, sizeof labels, "reason=\"%s\"", dead_reasons[i].name);
        self->dead[i] = metrics_counter (self->metrics, "nexus_dead_letters_total",
                                         "Messages that could not be delivered.", labels);
    }
}

static int make_context (runtime_t *self, int io_threads, nexus_error_t *error)
{
    self->zmq = zmq_ctx_new ();
    if (!self->zmq)
        return nexus_error_set (error, NEXUS_IO, "zmq_ctx_new: %s", zmq_strerror (errno));
    zmq_ctx_set (self->zmq, ZMQ_IO_THREADS, io_threads > 0 ? io_threads : 1);
    int most = zmq_ctx_get (self->zmq, ZMQ_SOCKET_LIMIT);
    zmq_ctx_set (self->zmq, ZMQ_MAX_SOCKETS, most < SOCKETS_MAX ? most : SOCKETS_MAX);
    return 0;
}

runtime_t *runtime_new (const runtime_config_t *config, nexus_error_t *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once (&once, prepare_process);

    runtime_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    pthread_mutex_init (&self->lock, NULL);
    self->key = config->key;
    self->log = config->log;
    atomic_init (&self->calls, random_entropy () >> 1);
    self->metrics = metrics_new ();
    self->directory = directory_new ();
    if (!self->metrics || !self->directory) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        runtime_destroy (&self);
        return NULL;
    }
    if (make_context (self, config->io_threads, error) == -1) {
        runtime_destroy (&self);
        return NULL;
    }
    make_metrics (self);
    return self;
}

static unsigned collect_abandoned (runtime_t *self)
{
    unsigned left = 0;
    while (self->abandoned) {
        abandoned_t *abandoned = self->abandoned;
        self->abandoned = abandoned->next;
        if (!host_collect (abandoned->host, abandoned->zactor))
            left++;
        free (abandoned);
    }
    return left;
}

void runtime_destroy (runtime_t **self_p)
{
    runtime_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    unsigned left = collect_abandoned (self);
    if (left) {
        log_error (self->log, "threads did not end: the node's memory is left behind",
                   LOG_UINT ("threads", left));
        return;
    }
    assert (atomic_load (&self->hosts) == 0);
    for (int lane = 0; lane < LANES; lane++) {
        route_t *route = atomic_load (&self->routes[lane]);
        while (route) {
            route_t *older = route->older;
            free (route);
            route = older;
        }
    }
    if (self->zmq)
        zmq_ctx_term (self->zmq);
    directory_destroy (&self->directory);
    metrics_destroy (&self->metrics);
    pthread_mutex_destroy (&self->lock);
    free (self);
}

void *runtime_zmq (runtime_t *self)
{
    return self->zmq;
}

metrics_t *runtime_metrics (runtime_t *self)
{
    return self->metrics;
}

log_t *runtime_log (runtime_t *self)
{
    return self->log;
}

directory_t *runtime_directory (runtime_t *self)
{
    return self->directory;
}

const record_key_t *runtime_key (const runtime_t *self)
{
    return &self->key;
}

static atomic_int hosts; /* of all runtimes: they share CZMQ's context */

void runtime_host_began (runtime_t *self)
{
    atomic_fetch_add (&self->hosts, 1);
    atomic_fetch_add (&hosts, 1);
}

void runtime_host_ended (runtime_t *self)
{
    atomic_fetch_sub (&self->hosts, 1);
    atomic_fetch_sub (&hosts, 1);
}

int runtime_hosts (void)
{
    return atomic_load (&hosts);
}

void runtime_abandon (runtime_t *self, host_t *host, zactor_t *zactor)
{
    abandoned_t *abandoned = must (calloc (1, sizeof *abandoned));
    abandoned->host = host;
    abandoned->zactor = zactor;
    pthread_mutex_lock (&self->lock);
    abandoned->next = self->abandoned;
    self->abandoned = abandoned;
    pthread_mutex_unlock (&self->lock);
}

/*  ---- senders ------------------------------------------------------------ */

void sender_init (sender_t *self, runtime_t *runtime)
{
    memset (self, 0, sizeof *self);
    self->runtime = runtime;
}

void sender_flush (sender_t *self)
{
    if (self->messages)
        metric_add (self->runtime->messages, (double)self->messages);
    self->messages = 0;
}

void sender_wake (sender_t *self)
{
    for (unsigned i = 0; i < self->later_count; i++) {
        mailbox_schedule (self->later[i]);
        mailbox_release (&self->later[i]);
    }
    self->later_count = 0;
    self->later_messages = 0;
}

/*  Remembers that the mailbox's host is to be told, unless it looks anyway. */
static void wake_later (sender_t *self, mailbox_t *mailbox)
{
    if (mailbox_scheduled (mailbox))
        return;
    unsigned i = 0;
    while (i < self->later_count && self->later[i] != mailbox)
        i++;
    if (i == self->later_count)
        self->later[self->later_count++] = mailbox_retain (mailbox);
    if (++self->later_messages >= WAKE_MESSAGES || self->later_count == SENDER_LATER)
        sender_wake (self);
}

void sender_close (sender_t *self)
{
    sender_wake (self);
    sender_flush (self);
    for (int i = 0; i < SENDER_SLOTS; i++)
        mailbox_release (&self->slots[i]);
}

void sender_enter (sender_t *self)
{
    thread_sender = self;
}

/*  The mailbox registered under that address, kept in its slot. fresh: what is
    in the slot has ended, look it up again. */
static mailbox_t *find (runtime_t *self, sender_t *sender, const address_t *to, bool fresh)
{
    mailbox_t **slot = &sender->slots[directory_hash (to) & (SENDER_SLOTS - 1)];
    if (!fresh && *slot && directory_same (mailbox_address (*slot), to))
        return *slot;
    mailbox_release (slot);
    *slot = directory_find (self->directory, to);
    return *slot;
}

static mailbox_result_t push (runtime_t *self, sender_t *sender, const address_t *to,
                              message_t **message_p)
{
    mailbox_t *mailbox = find (self, sender, to, false);
    mailbox_result_t result = mailbox ? mailbox_put (mailbox, message_p) : MAILBOX_CLOSED;
    if (result == MAILBOX_CLOSED && mailbox) {
        mailbox = find (self, sender, to, true);
        if (mailbox)
            result = mailbox_put (mailbox, message_p);
    }
    if (result == MAILBOX_PUSHED)
        wake_later (sender, mailbox);
    return result;
}

/*  The same for a thread that keeps no mailboxes. */
static mailbox_result_t push_uncached (runtime_t *self, const address_t *to, message_t **message_p)
{
    mailbox_t *mailbox = directory_find (self->directory, to);
    if (!mailbox)
        return MAILBOX_CLOSED;
    mailbox_result_t result = mailbox_push (mailbox, message_p);
    mailbox_release (&mailbox);
    return result;
}

/*  ---- delivery ----------------------------------------------------------- */

bool runtime_is_local (const runtime_t *self, const address_t *address)
{
    return memcmp (&address->node, &this_node, sizeof this_node) == 0 ||
           memcmp (&address->node, &self->key, sizeof self->key) == 0;
}

bool runtime_may_answer (const runtime_t *self, const address_t *asked, const address_t *from)
{
    return runtime_is_local (self, from) ||
           memcmp (&asked->node, &from->node, sizeof asked->node) == 0;
}

void runtime_route (runtime_t *self, bool data_lane, const char *actor)
{
    route_t *route = must (calloc (1, sizeof *route));
    route->to = address_local (actor, 0);
    pthread_mutex_lock (&self->lock);
    route->older = atomic_load (&self->routes[data_lane]);
    atomic_store (&self->routes[data_lane], route);
    pthread_mutex_unlock (&self->lock);
}

/*  The local actor that a message goes to; NULL: nothing leads there. */
static const address_t *target (const runtime_t *self, const message_t *message)
{
    if (runtime_is_local (self, &message->to))
        return &message->to;
    int lane = message->kind->flags & RECORD_DATA_LANE ? LANE_DATA : LANE_CONTROL;
    const route_t *route = atomic_load (&self->routes[lane]);
    if (!route)
        route = atomic_load (&self->routes[LANE_CONTROL]);
    return route ? &route->to : NULL;
}

void runtime_post (runtime_t *self, sender_t *sender, message_t **message_p)
{
    const address_t *to = target (self, *message_p);
    if (!to) {
        runtime_dead (self, message_p, DEAD_NO_ROUTE);
        return;
    }
    mailbox_result_t result =
        sender ? push (self, sender, to, message_p) : push_uncached (self, to, message_p);
    if (result == MAILBOX_FULL) {
        runtime_dead (self, message_p, DEAD_OVERFLOW);
    } else if (result == MAILBOX_CLOSED) {
        bool local = runtime_is_local (self, &(*message_p)->to);
        bool reply = (*message_p)->flags & MESSAGE_REPLY; /* whoever asked is gone */
        runtime_dead (self, message_p, !local ? DEAD_NO_ROUTE : reply ? DEAD_LATE : DEAD_NO_ACTOR);
    } else if (sender) {
        sender->messages++;
    } else {
        metric_add (self->messages, 1);
    }
}

void runtime_send (runtime_t *self, message_t **message_p)
{
    bool ours = thread_sender && thread_sender->runtime == self;
    runtime_post (self, ours ? thread_sender : NULL, message_p);
}

/*  ---- dead letters ------------------------------------------------------- */

static void fail_request (runtime_t *self, const message_t *request, nexus_code_t code,
                          const char *text)
{
    char name[64], whole[200];
    snprintf (whole, sizeof whole, "%s: %s", address_text (&request->to, name), text);
    failure_t failure = {.code = (uint64_t)code, .text = whole};
    message_t *reply = message_new (&failure_record, &failure, NULL, &request->from, &request->to);
    reply->flags = MESSAGE_REPLY;
    reply->correlation = request->correlation;
    reply->deadline_ns = request->deadline_ns;
    reply->trace = request->trace;
    runtime_send (self, &reply);
}

static void bury (runtime_t *self, message_t **message_p, metric_t *counter, const char *reason,
                  nexus_code_t code, const char *text)
{
    message_t *message = *message_p;
    *message_p = NULL;
    metric_add (counter, 1);
    if (log_enabled (self->log, LOG_LEVEL_DEBUG)) {
        char to[64];
        log_debug (self->log, "dead letter", LOG_TEXT ("reason", reason),
                   LOG_TEXT ("kind", message->kind->name),
                   LOG_TEXT ("to", address_text (&message->to, to)));
    }
    /* A reply that gets lost is not answered, so this ends after one step. */
    if (message->flags & MESSAGE_REQUEST)
        fail_request (self, message, code, text);
    message_release (&message);
}

void runtime_dead (runtime_t *self, message_t **message_p, dead_reason_t reason)
{
    if ((*message_p)->kind == &down_record) {
        message_release (message_p); /* its watcher has ended too: nothing is lost */
        return;
    }
    bury (self, message_p, self->dead[reason], dead_reasons[reason].name, dead_reasons[reason].code,
          dead_reasons[reason].text);
}

void runtime_dead_letter (runtime_t *self, message_t **message_p, const char *reason,
                          nexus_code_t code)
{
    char labels[64];
    snprintf (labels, sizeof labels, "reason=\"%s\"", reason);
    metric_t *counter = metrics_counter (self->metrics, "nexus_dead_letters_total",
                                         "Messages that could not be delivered.", labels);
    bury (self, message_p, counter, reason, code, reason);
}

void runtime_down (mailbox_t *watcher, const address_t *ended, bool failed, const char *reason)
{
    down_t down = {.node = ended->node,
                   .actor = ended->actor,
                   .instance = ended->instance,
                   .failed = failed,
                   .reason = reason};
    message_t *message = message_new (&down_record, &down, NULL, mailbox_address (watcher), ended);
    if (mailbox_push (watcher, &message) != MAILBOX_PUSHED)
        message_release (&message); /* the watcher has ended too: nothing is lost */
}

void runtime_leave (runtime_t *self, mailbox_t *mailbox, bool failed, const char *reason)
{
    mailbox_t **watchers;
    size_t count;
    directory_remove (self->directory, mailbox, &watchers, &count);
    for (size_t i = 0; i < count; i++) {
        runtime_down (watchers[i], mailbox_address (mailbox), failed, reason);
        mailbox_release (&watchers[i]);
    }
    free (watchers);
}

/*  ---- calls from outside ------------------------------------------------- */

/*  Waits for the reply in a mailbox made for this one call. */
static message_t *await (const runtime_t *self, inbox_t *inbox, mailbox_t *mailbox,
                         const address_t *to, uint64_t correlation, int64_t deadline_ns)
{
    for (;;) {
        mailbox_t *ready;
        while ((ready = inbox_take (inbox)))
            mailbox_release (&ready);
        message_t *message;
        while ((message = mailbox_pop (mailbox))) {
            if (message->flags & MESSAGE_REPLY && message->correlation == correlation &&
                runtime_may_answer (self, to, &message->from))
                return message;
            message_release (&message);
        }
        if (!mailbox_idle (mailbox))
            continue;
        int64_t left_ms = (deadline_ns - clock_now_ns () + 999999) / 1000000;
        if (left_ms <= 0)
            return NULL;
        if (!inbox_sleep (inbox))
            continue;
        struct pollfd wait = {.fd = inbox_fd (inbox), .events = POLLIN};
        int rc = poll (&wait, 1, left_ms < 60000 ? (int)left_ms : 60000);
        inbox_wake (inbox, rc == 1);
    }
}

/*  Turns a failure reply into an error. */
static message_t *answer (message_t *reply, nexus_error_t *error)
{
    const failure_t *failure = message_body (reply, failure);
    if (!failure)
        return reply;
    nexus_code_t code =
        failure->code > 0 && failure->code < NEXUS_CODES ? (nexus_code_t)failure->code : NEXUS_IO;
    nexus_error_set (error, code, "%s", failure->text ? failure->text : "");
    message_release (&reply);
    return NULL;
}

message_t *runtime_call (runtime_t *self, const address_t *to, const record_t *kind,
                         const void *body, int64_t timeout_ms, nexus_error_t *error)
{
    assert (!thread_sender);
    inbox_t *inbox = inbox_new (error);
    if (!inbox)
        return NULL;
    uint64_t call = atomic_fetch_add (&self->calls, 1) + 1;
    timeout_ms = timeout_ms < 0 ? 0 : timeout_ms > CALL_MS_MAX ? CALL_MS_MAX : timeout_ms;
    address_t from = address_local ("call", call);
    mailbox_t *mailbox = mailbox_new (inbox, &from, 0, 0, NULL);
    if (!mailbox) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        inbox_close (&inbox);
        return NULL;
    }
    message_t *reply = NULL;
    if (directory_add (self->directory, mailbox, error) == 0) {
        message_t *request = message_new (kind, body, NULL, to, &from);
        request->flags = MESSAGE_REQUEST;
        request->correlation = call;
        request->deadline_ns = clock_now_ns () + MS_TO_NS (timeout_ms);
        int64_t deadline_ns = request->deadline_ns;
        runtime_send (self, &request);
        reply = await (self, inbox, mailbox, to, call, deadline_ns);
        runtime_leave (self, mailbox, false, "done");
        char name[64];
        if (!reply)
            nexus_error_set (error, NEXUS_DEADLINE, "no answer from %s within %lld ms",
                             address_text (to, name), (long long)timeout_ms);
    }
    mailbox_close (mailbox);
    mailbox_release (&mailbox);
    inbox_close (&inbox);
    return reply ? answer (reply, error) : NULL;
}
