#include "transport/link_private.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECORD_SELF link_hello_t
RECORD_DEFINE (link_hello, 16, 0, "First frame of a connection.", LINK_HELLO)
#undef RECORD_SELF
#define RECORD_SELF link_credit_t
RECORD_DEFINE (link_credit, 17, 0, "What was taken in, so that more may be sent.", LINK_CREDIT)
#undef RECORD_SELF
#define RECORD_SELF link_dial_t
RECORD_DEFINE (link_dial, 18, 0, "Keep a connection to a node.", LINK_DIAL)
#undef RECORD_SELF
#define RECORD_SELF link_hangup_t
RECORD_DEFINE (link_hangup, 19, 0, "End the connection to a node.", LINK_HANGUP)
#undef RECORD_SELF
#define RECORD_SELF link_subscribe_t
RECORD_DEFINE (link_subscribe, 20, 0, "Tell me when peers come and go.", LINK_SUBSCRIBE)
#undef RECORD_SELF
#define RECORD_SELF peer_event_t
RECORD_DEFINE (peer_event, 21, 0, "A peer has come or gone.", PEER_EVENT)
#undef RECORD_SELF
#define RECORD_SELF link_status_t
RECORD_DEFINE (link_status, 22, 0, "What a link is bound to, and its peers.", LINK_STATUS)
#undef RECORD_SELF

#define MIB ((int64_t)1 << 20)

/*  Timers carry a peer, or NULL for the tick. */
#define TIMER_TICK 0

/*  ---- the peers' table --------------------------------------------------- */

/*  Keys are uniformly random, and only admitted ones get here: their first bytes are a hash. */
static peer_t **bucket_of (link_t *self, const record_key_t *key)
{
    return &self->buckets[(key->bytes[0] | key->bytes[1] << 8) % BUCKETS];
}

peer_t *link_find (link_t *self, const record_key_t *key)
{
    peer_t *peer = *bucket_of (self, key);
    while (peer && memcmp (peer->key.bytes, key->bytes, sizeof key->bytes) != 0)
        peer = peer->bucket_next;
    return peer;
}

bool link_admitted (link_t *self, peer_t *peer)
{
    uint64_t generation = keyring_generation (self->config->keyring);
    int64_t end = peer->entry.not_after_ms;
    if (peer->generation != generation ||
        (peer->admitted && end && context_wall_ms (self->ctx) >= end)) {
        peer->admitted = keyring_find (self->config->keyring, self->config->domain, &peer->key,
                                       context_wall_ms (self->ctx), &peer->entry);
        peer->generation = generation;
    }
    return peer->admitted;
}

peer_t *link_need (link_t *self, const record_key_t *key)
{
    peer_t *peer = link_find (self, key);
    if (peer)
        return link_admitted (self, peer) ? peer : NULL;
    uint64_t generation = keyring_generation (self->config->keyring);
    keyring_entry_t entry;
    if (!keyring_find (self->config->keyring, self->config->domain, key,
                       context_wall_ms (self->ctx), &entry) ||
        !(peer = calloc (1, sizeof *peer)))
        return NULL;
    peer->key = *key;
    peer->entry = entry;
    peer->generation = generation;
    peer->admitted = true;
    peer->out.fd = peer->in.fd = -1;
    peer->bucket_next = *bucket_of (self, key);
    *bucket_of (self, key) = peer;
    peer->next = self->peers;
    if (peer->next)
        peer->next->previous = peer;
    self->peers = peer;
    return peer;
}

static void forget_peer (link_t *self, peer_t *peer)
{
    assert (!peer->dial && !peer->waiting && !peer->up);
    peer_t **at = bucket_of (self, &peer->key);
    while (*at != peer)
        at = &(*at)->bucket_next;
    *at = peer->bucket_next;
    if (peer->next)
        peer->next->previous = peer->previous;
    if (peer->previous)
        peer->previous->next = peer->next;
    else
        self->peers = peer->next;
    link_queue_free (&peer->queue);
    free (peer);
}

/*  ---- drops --------------------------------------------------------------- */

static const char *const drop_names[DROPS] = {
    [DROP_UNAUTHENTICATED] = "unauthenticated",
    [DROP_REVOKED] = "revoked",
    [DROP_ROUTE] = "route",
    [DROP_NO_HELLO] = "no_hello",
    [DROP_MALFORMED] = "malformed",
    [DROP_UNKNOWN_KIND] = "unknown_kind",
    [DROP_ROLE] = "role",
    [DROP_VERSION] = "version",
    [DROP_DEADLINE] = "deadline",
    [DROP_QUEUE_FULL] = "queue_full",
    [DROP_TOO_LARGE] = "too_large",
    [DROP_UNKNOWN_PEER] = "unknown_peer",
    [DROP_FORWARDED] = "forwarded",
    [DROP_HANGUP] = "hangup",
};

void link_drop (link_t *self, peer_t *peer, drop_t reason, const char *detail)
{
    static const record_key_t nobody;
    metric_add (self->metrics.dropped[reason], 1);
    int64_t *logged_ns = peer ? &peer->logged_ns : &self->logged_ns;
    int64_t now = context_now (self->ctx);
    if (*logged_ns && now - *logged_ns < MS_TO_NS (1000))
        return;
    *logged_ns = now;
    log_warning (context_log (self->ctx), "link dropped a message",
                 LOG_TEXT ("reason", drop_names[reason]), LOG_TEXT ("detail", detail),
                 LOG_NODE ("peer", peer ? &peer->key : &nobody),
                 LOG_TEXT ("name", peer ? peer->entry.name : ""));
}

/*  ---- up and down --------------------------------------------------------- */

static void send_event (link_t *self, const address_t *to, const peer_t *peer)
{
    const connection_t *route = peer->route ? peer->route : &peer->in;
    peer_event_t event = {
        .node = peer->key,
        .role = (int)peer->entry.role,
        .up = peer->up,
        .address = route->address,
        .name = peer->name,
        .incarnation = peer->incarnation,
    };
    context_send (self->ctx, to, &peer_event_record, &event);
}

static void report (link_t *self, peer_t *peer, bool up)
{
    if (peer->up == up)
        return;
    peer->up = up;
    self->up_count = up ? self->up_count + 1 : self->up_count - 1;
    metric_set (self->metrics.peers, (double)self->up_count);
    const char *address = peer->route ? peer->route->address : "";
    log_info (context_log (self->ctx), up ? "peer is up" : "peer is down",
              LOG_NODE ("peer", &peer->key), LOG_TEXT ("name", peer->name),
              LOG_TEXT ("role", record_choice_name (&role_choices, (int)peer->entry.role)),
              LOG_TEXT ("address", address));
    for (size_t i = 0; i < self->subscriber_count; i++)
        send_event (self, &self->subscribers[i], peer);
}

/*  A route is kept while it lasts: changing it could overtake what is on its way. */
void link_update (link_t *self, peer_t *peer)
{
    if (!peer->route || !peer->route->open)
        peer->route = peer->out.open ? &peer->out : peer->in.open ? &peer->in : NULL;
    report (self, peer, peer->route != NULL);
}

void link_close_connection (link_t *self, peer_t *peer, connection_t *connection)
{
    connection->open = false;
    connection->fd = -1;
    if (peer->route == connection)
        link_update (self, peer);
}

/*  Whether two answers of one node's link differ in incarnation: it was started again
    without our having seen its end, so it has forgotten what it was asked. */
static void note_incarnation (link_t *self, peer_t *peer, connection_t *connection,
                              uint64_t incarnation)
{
    if (peer->up && peer->incarnation != incarnation) {
        connection_t *other = connection == &peer->in ? &peer->out : &peer->in;
        other->open = false;
        peer->route = NULL;
        report (self, peer, false);
    }
    peer->incarnation = incarnation;
}

void link_greeted (link_t *self, peer_t *peer, connection_t *connection, const link_hello_t *hello)
{
    note_incarnation (self, peer, connection, hello->incarnation);
    snprintf (peer->name, sizeof peer->name, "%s", hello->name ? hello->name : "");
    connection->open = true;
    connection->window = hello->window < self->window ? hello->window : self->window;
    connection->sent = connection->acknowledged = 0;
    connection->received = connection->told = 0;
    link_update (self, peer);
}

/*  libzmq has no call for it, so it is done behind its back, after making sure that the descriptor
    is still a connection of that address: at worst another connection from there is cut, and made
    again. */
void link_shut (int fd, const char *connected)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[256];
    if (fd != -1 && getpeername (fd, (struct sockaddr *)&address, &size) == 0 &&
        getnameinfo ((struct sockaddr *)&address, size, host, sizeof host, NULL, 0,
                     NI_NUMERICHOST) == 0 &&
        strcmp (host, connected) == 0)
        shutdown (fd, SHUT_RDWR);
}

static void cut (link_t *self, peer_t *peer)
{
    receive_drain_events (self);
    link_shut (peer->in.fd, peer->in.address);
    dial_stop (self, peer);
    peer->in.open = false;
    link_update (self, peer);
}

/*  ---- local kinds --------------------------------------------------------- */

static void reply_done (context_t *ctx, const message_t *message)
{
    context_reply (ctx, message, &done_record, &(done_t){0});
}

static const char *bad_endpoint (const link_dial_t *dial)
{
    char host[256], port[16];
    for (size_t i = 0; i < dial->endpoints.count; i++) {
        const char *endpoint = dial->endpoints.items[i];
        if (strlen (endpoint) >= sizeof ((dial_t *)0)->endpoints[0] ||
            resolve_split (endpoint, host, port) == -1)
            return endpoint;
    }
    return NULL;
}

/*  The keyring is the one source of who is trusted: whoever we dial is entered there. */
static int let_in (link_t *self, const link_dial_t *dial, nexus_error_t *error)
{
    keyring_entry_t entry;
    if (keyring_find (self->config->keyring, self->config->domain, &dial->node,
                      context_wall_ms (self->ctx), &entry))
        return 0;
    entry = (keyring_entry_t){.key = dial->node, .role = (role_t)dial->role};
    snprintf (entry.name, sizeof entry.name, "%s", dial->name ? dial->name : "");
    return keyring_allow (self->config->keyring, self->config->domain, &entry, error);
}

static void on_dial (link_t *self, const message_t *message, const link_dial_t *dial)
{
    nexus_error_t error;
    const char *bad = bad_endpoint (dial);
    if (bad || dial->endpoints.count == 0 || dial->endpoints.count > ENDPOINTS_MAX ||
        record_key_is_zero (&dial->node)) {
        context_reply_failure (self->ctx, message, NEXUS_INVALID,
                               "link: \"%s\" is no endpoint: write tcp://HOST:PORT or ipc://PATH",
                               bad ? bad : "");
        return;
    }
    peer_t *peer = let_in (self, dial, &error) == 0 ? link_need (self, &dial->node) : NULL;
    if (peer && dial_start (self, peer, &dial->endpoints) == 0)
        reply_done (self->ctx, message);
    else
        context_reply_failure (self->ctx, message, NEXUS_EXHAUSTED, "link: no room for a peer");
}

static void on_hangup (link_t *self, const message_t *message, const link_hangup_t *hangup)
{
    peer_t *peer = link_find (self, &hangup->node);
    if (peer)
        dial_stop (self, peer);
    /*  What waits would wait in vain, and keep the memory that it was lent. */
    if (peer && !peer->route)
        send_fail_all (self, peer, DROP_HANGUP);
    reply_done (self->ctx, message);
}

static void unsubscribe (link_t *self, const address_t *address)
{
    for (size_t i = 0; i < self->subscriber_count; i++)
        if (address_equal (&self->subscribers[i], address)) {
            self->subscribers[i] = self->subscribers[--self->subscriber_count];
            return;
        }
}

static void on_subscribe (link_t *self, const message_t *message, const link_subscribe_t *body)
{
    unsubscribe (self, &message->from);
    if (body->off) {
        reply_done (self->ctx, message);
        return;
    }
    if (self->subscriber_count == SUBSCRIBERS_MAX) {
        context_reply_failure (self->ctx, message, NEXUS_EXHAUSTED,
                               "link: more than %d subscribers", SUBSCRIBERS_MAX);
        return;
    }
    self->subscribers[self->subscriber_count++] = message->from;
    context_watch (self->ctx, &message->from);
    reply_done (self->ctx, message);
    for (peer_t *peer = self->peers; peer; peer = peer->next)
        if (peer->up)
            send_event (self, &message->from, peer);
}

static void on_status (link_t *self, const message_t *message)
{
    const char *items[ENDPOINTS_MAX];
    for (size_t i = 0; i < self->bound_count; i++)
        items[i] = self->bound[i];
    link_status_t status = {.endpoints = {items, self->bound_count}, .peers = self->up_count};
    context_reply (self->ctx, message, &link_status_record, &status);
}

/*  Answers of the resolver, to look-ups of dials. */
static void on_reply (link_t *self, const message_t *message)
{
    for (peer_t *peer = self->dialled; peer; peer = peer->dial->next)
        if (peer->dial->query == message->correlation) {
            dial_resolved (self, peer, message_body (message, resolved));
            return;
        }
}

static void on_down (link_t *self, const down_t *down)
{
    address_t address = address_local (down->actor, down->instance);
    if (address_equal (&address, &self->resolver_address))
        self->resolver = false; /* started again by the next look-up */
    unsubscribe (self, &address);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    link_t *self = state;
    if (!record_key_is_zero (&message->to.node) &&
        memcmp (&message->to.node, context_node (ctx), sizeof message->to.node) != 0) {
        /*  Only counted and queued here, never changed: constness ends at the reference. */
        send_message (self, message_retain ((message_t *)message));
        return;
    }
    const link_dial_t *dial;
    const link_hangup_t *hangup;
    const link_subscribe_t *subscribe;
    const down_t *down;
    if (message->role != ROLE_LOCAL)
        link_drop (self, link_find (self, &message->from.node), DROP_ROLE,
                   "the link takes no orders from other nodes");
    else if (message->flags & MESSAGE_REPLY)
        on_reply (self, message);
    else if ((dial = message_body (message, link_dial)))
        on_dial (self, message, dial);
    else if ((hangup = message_body (message, link_hangup)))
        on_hangup (self, message, hangup);
    else if ((subscribe = message_body (message, link_subscribe)))
        on_subscribe (self, message, subscribe);
    else if (message_body (message, link_status))
        on_status (self, message);
    else if ((down = message_body (message, down)))
        on_down (self, down);
    else
        context_reply_failure (ctx, message, NEXUS_INVALID, "link: it takes no %s",
                               message->kind->name);
}

/*  ---- turns and ticks ----------------------------------------------------- */

static void check_keys (link_t *self)
{
    uint64_t generation = keyring_generation (self->config->keyring);
    if (generation == self->generation)
        return;
    self->generation = generation;
    for (peer_t *peer = self->peers; peer; peer = peer->next) {
        if (!link_admitted (self, peer)) {
            cut (self, peer);
            send_fail_all (self, peer, DROP_REVOKED);
        }
    }
}

static void settle (void *state, context_t *ctx)
{
    (void)ctx;
    link_t *self = state;
    check_keys (self);
    peer_t *next;
    for (peer_t *peer = self->waiting; peer; peer = next) {
        next = peer->waiting_next;
        send_flush (self, peer);
    }
}

static void tick (link_t *self)
{
    bool probe = ++self->ticks % PROBE_TICKS == 0;
    for (peer_t *peer = self->peers, *next; peer; peer = next) {
        next = peer->next;
        if (peer->admitted && peer->entry.not_after_ms && !link_admitted (self, peer)) {
            cut (self, peer);
            send_fail_all (self, peer, DROP_REVOKED);
        }
        if (peer->waiting)
            send_expire (self, peer);
        /*  An idle connection that was accepted is probed: should the monitor's word of its end
            have come too early, the ROUTER knows that it is gone. */
        if (probe && peer->in.open)
            send_credit (self, peer, &peer->in);
        if (!peer->dial && !peer->waiting && !peer->in.open && !peer->up)
            forget_peer (self, peer);
    }
}

static void on_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    link_t *self = state;
    peer_t *peer = (peer_t *)(uintptr_t)data;
    if (!peer) {
        tick (self);
        context_after (ctx, MS_TO_NS (TICK_MS), TIMER_TICK);
    } else if (peer->dial && peer->dial->timer == timer)
        dial_timer (self, peer);
}

/*  ---- start and stop ------------------------------------------------------ */

static metric_t *counter (link_t *self, const char *name, const char *help, const char *label,
                          const char *value)
{
    buffer_t labels = {0};
    metrics_label (&labels, "link", context_self (self->ctx)->actor);
    if (label)
        metrics_label (&labels, label, value);
    buffer_append (&labels, "", 1);
    metric_t *metric =
        metrics_counter (context_metrics (self->ctx), name, help, (const char *)labels.data);
    buffer_free (&labels);
    return metric;
}

static void start_metrics (link_t *self)
{
    static const char messages[] = "nexus_link_messages_total";
    static const char messages_help[] = "Messages to and from other nodes.";
    static const char bytes[] = "nexus_link_bytes_total";
    static const char bytes_help[] = "Bytes of their frames, before encryption.";
    static const char frames[] = "nexus_link_frames_total";
    static const char frames_help[] = "Frames that carried them.";
    static const char failures[] = "nexus_link_handshake_failures_total";
    static const char failures_help[] = "Connections that ended before anybody could speak.";
    self->metrics.messages_in = counter (self, messages, messages_help, "direction", "in");
    self->metrics.messages_out = counter (self, messages, messages_help, "direction", "out");
    self->metrics.bytes_in = counter (self, bytes, bytes_help, "direction", "in");
    self->metrics.bytes_out = counter (self, bytes, bytes_help, "direction", "out");
    self->metrics.frames_in = counter (self, frames, frames_help, "direction", "in");
    self->metrics.frames_out = counter (self, frames, frames_help, "direction", "out");
    self->metrics.refused = counter (self, failures, failures_help, "reason", "refused");
    self->metrics.failed = counter (self, failures, failures_help, "reason", "handshake");
    for (int i = 0; i < DROPS; i++)
        self->metrics.dropped[i] =
            counter (self, "nexus_link_dropped_total", "Messages dropped, by reason.", "reason",
                     drop_names[i]);
    char label[48];
    snprintf (label, sizeof label, "link=\"%s\"", context_self (self->ctx)->actor);
    self->metrics.connections =
        metrics_gauge (context_metrics (self->ctx), "nexus_link_connections",
                       "Connections that were accepted, authenticated or not.", label);
    self->metrics.peers = metrics_gauge (context_metrics (self->ctx), "nexus_link_peers",
                                         "Peers that are up.", label);
}

/*  A link that was just restarted may find its predecessor's listener still closing. */
static int bind_endpoint (link_t *self, const char *endpoint, nexus_error_t *error)
{
    int rc = -1;
    for (int i = 0; i < 20 && rc == -1; i++) {
        rc = zmq_bind (self->server.socket, endpoint);
        if (rc == -1 && errno != EADDRINUSE)
            break;
        if (rc == -1)
            zmq_poll (NULL, 0, 50);
    }
    if (rc == -1)
        return nexus_error_set (error, NEXUS_UNAVAILABLE, "link: can't listen on %s: %s", endpoint,
                                zmq_strerror (errno));
    size_t size = sizeof self->bound[0];
    zmq_getsockopt (self->server.socket, ZMQ_LAST_ENDPOINT, self->bound[self->bound_count], &size);
    self->bound_count++;
    return 0;
}

static int start_server (link_t *self, nexus_error_t *error)
{
    void *zmq = runtime_zmq (context_runtime (self->ctx));
    if (link_socket_server (&self->server, zmq, &self->profile, error) == -1)
        return nexus_error_prefix (error, "link: ");
    for (size_t i = 0; i < self->config->endpoint_count; i++)
        if (bind_endpoint (self, self->config->endpoints[i], error) == -1) {
            link_socket_close (&self->server);
            return -1;
        }
    context_poll (self->ctx, self->server.socket, -1, POLLIN | POLL_DRAINS, receive_server);
    context_poll (self->ctx, self->server.monitor, -1, POLLIN | POLL_DRAINS, receive_server_events);
    return 0;
}

/*  Where libzmq has several I/O threads the first serves the control plane alone: encrypting a
    tensor must not hold a heartbeat up. */
static uint64_t affinity (const link_t *self)
{
    int threads = zmq_ctx_get (runtime_zmq (context_runtime (self->ctx)), ZMQ_IO_THREADS);
    if (threads < 2)
        return 0;
    return self->config->data ? (threads < 64 ? ((uint64_t)1 << threads) - 2 : ~(uint64_t)1) : 1;
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    link_t *self = state;
    const link_config_t *config = args;
    assert (config && config->key && config->keyring && config->catalog && config->domain);
    assert (config->endpoint_count <= ENDPOINTS_MAX);
    self->ctx = ctx;
    self->config = config;
    self->incarnation = context_random (ctx);
    self->window = (uint64_t)(config->data ? 64 * MIB : 8 * MIB);
    self->profile = (link_profile_t){
        .key = config->key,
        .domain = config->domain,
        .frame_max = config->data ? 16 * MIB : 4 * MIB,
        .high_water = config->data ? 256 : 1000,
        .affinity = affinity (self),
    };
    /*  Room for what shares the frame, and for what CURVE adds. */
    self->message_max = (size_t)self->profile.frame_max - 2 * COALESCE_SIZE;
    self->generation = keyring_generation (config->keyring);
    start_metrics (self);
    if (config->endpoint_count && start_server (self, error) == -1)
        return -1;
    context_after (ctx, MS_TO_NS (TICK_MS), TIMER_TICK);
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    link_t *self = state;
    settle (self, ctx);
    while (self->peers) {
        peer_t *peer = self->peers;
        dial_stop (self, peer);
        peer->in.open = false;
        link_update (self, peer);
        send_fail_all (self, peer, DROP_DEADLINE);
        forget_peer (self, peer);
    }
    if (self->server.socket) {
        context_poll (ctx, self->server.socket, -1, 0, NULL);
        context_poll (ctx, self->server.monitor, -1, 0, NULL);
        for (size_t i = 0; i < self->bound_count; i++)
            zmq_unbind (self->server.socket, self->bound[i]);
        link_socket_close (&self->server);
    }
    buffer_free (&self->frame);
}

const behaviour_t link_behaviour = {
    .name = "link",
    .state_size = sizeof (link_t),
    .start = start,
    .receive = receive,
    .timer = on_timer,
    .settle = settle,
    .stop = stop,
};
