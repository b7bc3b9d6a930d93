/*  Messages to frames: the queue of each peer, credit, and the sockets. */
#include "transport/link_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/*  ---- the queue ------------------------------------------------------------ */

static void wait_for (link_t *self, peer_t *peer)
{
    if (peer->waiting)
        return;
    peer->waiting = true;
    peer->waiting_previous = NULL;
    peer->waiting_next = self->waiting;
    if (peer->waiting_next)
        peer->waiting_next->waiting_previous = peer;
    self->waiting = peer;
}

static void wait_no_more (link_t *self, peer_t *peer)
{
    if (!peer->waiting || peer->queue.count)
        return;
    peer->waiting = false;
    if (peer->waiting_next)
        peer->waiting_next->waiting_previous = peer->waiting_previous;
    if (peer->waiting_previous)
        peer->waiting_previous->waiting_next = peer->waiting_next;
    else
        self->waiting = peer->waiting_next;
}

static const struct {
    nexus_code_t code;
    const char *text;
} failures[DROPS] = {
    [DROP_REVOKED] = {NEXUS_DENIED, "its key is not admitted (any more)"},
    [DROP_DEADLINE] = {NEXUS_UNAVAILABLE, "no connection to it in time"},
    [DROP_QUEUE_FULL] = {NEXUS_EXHAUSTED, "too much waits for it already"},
    [DROP_TOO_LARGE] = {NEXUS_INVALID, "the message is larger than a frame may be"},
    [DROP_UNKNOWN_PEER] = {NEXUS_UNAVAILABLE, "its key is not known here"},
    [DROP_HANGUP] = {NEXUS_UNAVAILABLE, "the connection to it was ended here"},
    [DROP_FORWARDED] = {NEXUS_INVALID, "a request can't be forwarded to another node"},
};

/*  Ends a message that can't go out; takes over the reference. */
static void undeliverable (link_t *self, peer_t *peer, message_t *message, drop_t reason)
{
    link_drop (self, peer, reason, message->kind->name);
    if (message->flags & MESSAGE_REQUEST) {
        char to[64], text[200];
        snprintf (text, sizeof text, "%s: %s", address_text (&message->to, to),
                  failures[reason].text);
        failure_t failure = {.code = (uint64_t)failures[reason].code, .text = text};
        message_t *reply =
            message_new (&failure_record, &failure, NULL, &message->from, &message->to);
        reply->flags = MESSAGE_REPLY;
        reply->correlation = message->correlation;
        reply->trace = message->trace;
        runtime_send (context_runtime (self->ctx), &reply);
    }
    message_release (&message);
}

typedef struct {
    link_t *self;
    peer_t *peer;
} expiry_t;

static void expired (void *context, message_t *message)
{
    expiry_t *expiry = context;
    undeliverable (expiry->self, expiry->peer, message, DROP_DEADLINE);
}

void send_expire (link_t *self, peer_t *peer)
{
    link_queue_expire (&peer->queue, context_now (self->ctx), expired, &(expiry_t){self, peer});
    wait_no_more (self, peer);
}

void send_fail_all (link_t *self, peer_t *peer, drop_t reason)
{
    while (peer->queue.count)
        undeliverable (self, peer, link_queue_pop (&peer->queue), reason);
    wait_no_more (self, peer);
}

/*  ---- frames ---------------------------------------------------------------- */

static void release_payload (void *data, void *hint)
{
    (void)data;
    payload_t *payload = hint;
    payload_release (&payload);
}

/*  Sends the frame in self->frame and the payload; -1 with errno. */
static int send_parts (link_t *self, void *socket, payload_t *payload)
{
    int flags = ZMQ_DONTWAIT | (payload ? ZMQ_SNDMORE : 0);
    context_used (self->ctx, socket);
    if (zmq_send (socket, self->frame.data, self->frame.size, flags) == -1)
        return -1;
    if (!payload)
        return 0;
    zmq_msg_t bulk;
    payload_t *held = payload_retain (payload);
    if (zmq_msg_init_data (&bulk, (void *)(uintptr_t)payload->data, payload->size, release_payload,
                           held) == -1) {
        payload_release (&held);
        return -1;
    }
    if (zmq_msg_send (&bulk, socket, ZMQ_DONTWAIT) == -1) {
        zmq_msg_close (&bulk);
        return -1;
    }
    return 0;
}

/*  Once the ROUTER has taken the address it takes the rest of the message too. */
static int send_on_route (link_t *self, const uint8_t route[ROUTE_SIZE], payload_t *payload)
{
    context_used (self->ctx, self->server.socket);
    if (zmq_send (self->server.socket, route, ROUTE_SIZE, ZMQ_DONTWAIT | ZMQ_SNDMORE) == -1)
        return -1;
    return send_parts (self, self->server.socket, payload);
}

static int send_frame (link_t *self, peer_t *peer, connection_t *connection, payload_t *payload)
{
    return connection == &peer->in ? send_on_route (self, connection->route, payload)
                                   : send_parts (self, peer->dial->socket.socket, payload);
}

static void append (link_t *self, const message_t *message, int64_t now)
{
    link_envelope_t envelope = {
        .kind = message->kind->id,
        .flags = (message->flags & MESSAGE_REQUEST ? LINK_REQUEST : 0u) |
                 (message->flags & MESSAGE_REPLY ? LINK_REPLY : 0u) |
                 (message->payload ? LINK_PAYLOAD : 0u),
        .to_instance = message->to.instance,
        .from_instance = message->from.instance,
        .correlation = message->correlation,
        .trace = message->trace,
    };
    if (message->deadline_ns > now)
        envelope.deadline_ms = (uint64_t)NS_TO_MS (message->deadline_ns - now) + 1;
    memcpy (envelope.to_actor, message->to.actor, sizeof envelope.to_actor);
    memcpy (envelope.from_actor, message->from.actor, sizeof envelope.from_actor);
    link_frame_append (&self->frame, &envelope, message->kind, message->body);
}

/*  Packs messages from the front of the queue into self->frame. Returns how many; the payload
    of the last one is borrowed. What is too old or too large is taken out on the way. */
static size_t pack (link_t *self, peer_t *peer, payload_t **ret_payload)
{
    int64_t now = context_now (self->ctx);
    size_t count = 0;
    *ret_payload = NULL;
    buffer_clear (&self->frame);
    while (count < peer->queue.count && self->frame.size < COALESCE_SIZE && !*ret_payload) {
        link_item_t *item = link_queue_at (&peer->queue, count);
        const message_t *message = item->message;
        size_t before = self->frame.size;
        bool late = now >= item->expires_ns;
        bool large = message->payload && message->payload->size > self->message_max;
        if (!late && !large) {
            append (self, message, now);
            large = self->frame.size - before > self->message_max || self->frame.failed;
        }
        if (late || large) {
            self->frame.size = before;
            if (count) /* what is packed goes first: then it is at the front */
                break;
            undeliverable (self, peer, link_queue_pop (&peer->queue),
                           late ? DROP_DEADLINE : DROP_TOO_LARGE);
            buffer_clear (&self->frame);
            continue;
        }
        *ret_payload = message->payload;
        count++;
    }
    return count;
}

static uint64_t charge (const link_t *self, size_t bytes)
{
    return bytes + self->window / 1024;
}

static void sent (link_t *self, peer_t *peer, connection_t *connection, size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        message_t *message = link_queue_pop (&peer->queue);
        message_release (&message);
    }
    connection->sent += charge (self, bytes);
    metric_add (self->metrics.messages_out, (double)count);
    metric_add (self->metrics.frames_out, 1);
    metric_add (self->metrics.bytes_out, (double)bytes);
}

void send_flush (link_t *self, peer_t *peer)
{
    if (!link_admitted (self, peer)) {
        send_fail_all (self, peer, DROP_REVOKED);
        return;
    }
    while (peer->queue.count && peer->route) {
        connection_t *connection = peer->route;
        if (connection->sent - connection->acknowledged >= connection->window)
            break; /* the peer's next credit brings us back */
        payload_t *payload;
        size_t count = pack (self, peer, &payload);
        if (count == 0)
            continue;
        size_t bytes = self->frame.size + (payload ? payload->size : 0);
        if (send_frame (self, peer, connection, payload) == 0)
            sent (self, peer, connection, count, bytes);
        else if (errno == EAGAIN)
            break; /* credit keeps us off the high-water mark; should it not, the tick retries */
        else
            link_close_connection (self, peer, connection);
    }
    wait_no_more (self, peer);
}

/*  ---- the link's own records ------------------------------------------------- */

int send_internal (link_t *self, peer_t *peer, connection_t *connection, const record_t *kind,
                   const void *body)
{
    link_envelope_t envelope = {.kind = kind->id};
    buffer_clear (&self->frame);
    link_frame_append (&self->frame, &envelope, kind, body);
    return send_frame (self, peer, connection, NULL);
}

void send_hello (link_t *self, peer_t *peer, connection_t *connection)
{
    link_hello_t hello = {
        .version = LINK_VERSION,
        .name = self->config->name,
        .incarnation = self->incarnation,
        .window = self->window,
    };
    send_internal (self, peer, connection, &link_hello_record, &hello);
}

void send_credit (link_t *self, peer_t *peer, connection_t *connection)
{
    link_credit_t credit = {.received = connection->received};
    if (send_internal (self, peer, connection, &link_credit_record, &credit) == 0)
        connection->told = connection->received;
    else if (errno != EAGAIN)
        link_close_connection (self, peer, connection);
}

/*  ---- messages ---------------------------------------------------------------- */

/*  A joiner gets answers only, over the connection that it asked on, at once or not at all. */
static void answer_joiner (link_t *self, peer_t *peer, message_t *message)
{
    const uint8_t *route = NULL;
    for (size_t i = 0; i < ORIGINS && message->flags & MESSAGE_REPLY; i++) {
        origin_t *origin = &self->origins[i];
        if (origin->correlation != message->correlation ||
            origin->instance != message->to.instance ||
            memcmp (&origin->key, &peer->key, sizeof peer->key) != 0)
            continue;
        route = origin->route;
        origin->correlation = 0;
        break;
    }
    buffer_clear (&self->frame);
    append (self, message, context_now (self->ctx));
    bool fits = !self->frame.failed && self->frame.size <= self->message_max;
    if (!route || !fits || send_on_route (self, route, message->payload) == -1) {
        undeliverable (self, peer, message, fits ? DROP_UNKNOWN_PEER : DROP_TOO_LARGE);
        return;
    }
    metric_add (self->metrics.messages_out, 1);
    message_release (&message);
}

void send_message (link_t *self, message_t *message)
{
    const link_config_t *config = self->config;
    size_t count_max = config->queue_count_max ? config->queue_count_max : 16384;
    size_t bytes_max =
        config->queue_bytes_max ? config->queue_bytes_max : (size_t)(config->data ? 512 : 64) << 20;
    peer_t *peer = link_need (self, &message->to.node);
    if (!peer) {
        undeliverable (self, NULL, message, DROP_UNKNOWN_PEER);
        return;
    }
    if (!record_key_is_zero (&message->from.node) &&
        memcmp (&message->from.node, context_node (self->ctx), sizeof message->from.node) != 0) {
        undeliverable (self, peer, message, DROP_FORWARDED);
        return;
    }
    if (peer->entry.role == ROLE_JOINER) {
        answer_joiner (self, peer, message);
        return;
    }
    int64_t now = context_now (self->ctx);
    int64_t expires = now + MS_TO_NS (config->queue_ms ? config->queue_ms : 10000);
    if (message->deadline_ns && message->deadline_ns < expires)
        expires = message->deadline_ns;
    if (expires <= now) {
        undeliverable (self, peer, message, DROP_DEADLINE);
        return;
    }
    if (peer->queue.count >= count_max || peer->queue.bytes + message->size > bytes_max ||
        !link_queue_push (&peer->queue, message, expires)) {
        undeliverable (self, peer, message, DROP_QUEUE_FULL);
        return;
    }
    wait_for (self, peer);
}
