/*  Frames to messages: who speaks, whether he may, what he says. In that order,
    and nothing is allocated before it is known. */
#include "transport/link_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH_FRAMES 256
#define BATCH_BYTES  ((size_t)8 << 20)

/*  ---- a ZeroMQ message --------------------------------------------------------- */

typedef struct {
    zmq_msg_t parts[3]; /* route (of a ROUTER), frame, payload */
    size_t count;       /* of them */
    bool excess;        /* more came, and were thrown away */
} parts_t;

static void close_parts (parts_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        zmq_msg_close (&self->parts[i]);
    self->count = 0;
}

/*  Reads a whole message. False if none is waiting. */
static bool read_parts (parts_t *self, void *socket, bool server)
{
    size_t max = server ? 3 : 2;
    bool more = true;
    self->count = 0;
    self->excess = false;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init (&part);
        if (zmq_msg_recv (&part, socket, ZMQ_DONTWAIT) == -1) {
            zmq_msg_close (&part);
            close_parts (self);
            return false;
        }
        more = zmq_msg_more (&part);
        if (self->count < max) {
            zmq_msg_init (&self->parts[self->count]);
            zmq_msg_move (&self->parts[self->count++], &part);
        } else
            self->excess = true;
        zmq_msg_close (&part);
    }
    return true;
}

/*  ---- payloads ------------------------------------------------------------------ */

static void release_received (void *context)
{
    zmq_msg_t *bulk = context;
    zmq_msg_close (bulk);
    free (bulk);
}

/*  The message's bytes as a payload, without copying them. */
static payload_t *take_payload (zmq_msg_t *part)
{
    zmq_msg_t *bulk = malloc (sizeof *bulk);
    if (!bulk)
        abort ();
    zmq_msg_init (bulk);
    zmq_msg_move (bulk, part);
    return payload_new (zmq_msg_data (bulk), zmq_msg_size (bulk), release_received, bulk);
}

/*  ---- messages ------------------------------------------------------------------- */

/*  Replies that any request may get need no entry in the catalog. */
static const record_t *universal_reply (const link_envelope_t *envelope, role_t role)
{
    if (!(envelope->flags & LINK_REPLY) || role == ROLE_JOINER)
        return NULL;
    return envelope->kind == failure_record.id ? &failure_record
           : envelope->kind == done_record.id  ? &done_record
                                               : NULL;
}

static const record_t *permitted (link_t *self, peer_t *peer, const link_envelope_t *envelope)
{
    const record_t *reply = universal_reply (envelope, peer->entry.role);
    if (reply)
        return reply;
    const catalog_entry_t *entry = catalog_find (self->config->catalog, envelope->kind);
    if (!entry) {
        link_drop (self, peer, DROP_UNKNOWN_KIND, envelope->to_actor);
        return NULL;
    }
    if (!(entry->senders & ROLE_BIT (peer->entry.role))) {
        link_drop (self, peer, DROP_ROLE, entry->kind->name);
        return NULL;
    }
    return entry->kind;
}

static void deliver (link_t *self, peer_t *peer, const link_envelope_t *envelope, zmq_msg_t *bulk)
{
    const record_t *kind = permitted (self, peer, envelope);
    if (!kind)
        return;
    nexus_error_t error;
    message_t *message = message_decode (kind, envelope->body, envelope->body_size, &error);
    if (!message) {
        link_drop (self, peer, DROP_MALFORMED, error.text);
        return;
    }
    message->to = address_local (envelope->to_actor, envelope->to_instance);
    message->from = address_remote (&peer->key, envelope->from_actor, envelope->from_instance);
    message->role = peer->entry.role;
    message->flags = (envelope->flags & LINK_REQUEST ? (unsigned)MESSAGE_REQUEST : 0u) |
                     (envelope->flags & LINK_REPLY ? (unsigned)MESSAGE_REPLY : 0u);
    message->correlation = envelope->correlation;
    message->trace = envelope->trace;
    if (envelope->deadline_ms) {
        uint64_t ms = envelope->deadline_ms < 86400000 ? envelope->deadline_ms : 86400000;
        message->deadline_ns = context_now (self->ctx) + MS_TO_NS (ms);
    }
    if (bulk) {
        message->payload = take_payload (bulk);
        message->size += message->payload->size;
    }
    metric_add (self->metrics.messages_in, 1);
    runtime_send (context_runtime (self->ctx), &message);
}

static void deliver_all (link_t *self, peer_t *peer, connection_t *connection, zmq_msg_t *head,
                         zmq_msg_t *bulk)
{
    const uint8_t *data = zmq_msg_data (head);
    size_t size = zmq_msg_size (head);
    size_t bytes = size + (bulk ? zmq_msg_size (bulk) : 0);
    metric_add (self->metrics.frames_in, 1);
    metric_add (self->metrics.bytes_in, (double)bytes);
    connection->received += bytes + self->window / 1024;

    link_frame_t frame = {data, data + size};
    link_envelope_t envelope;
    int rc;
    while ((rc = link_frame_next (&frame, &envelope)) == 1) {
        bool with_payload = envelope.flags & LINK_PAYLOAD;
        bool last = frame.at == frame.end;
        if (!*envelope.to_actor || with_payload != (last && bulk))
            link_drop (self, peer, DROP_MALFORMED, "an envelope that does not fit its frame");
        else
            deliver (self, peer, &envelope, with_payload ? bulk : NULL);
    }
    if (rc == -1)
        link_drop (self, peer, DROP_MALFORMED, "not an envelope");
    if (connection->received - connection->told >= self->window / 4)
        send_credit (self, peer, connection);
}

/*  ---- the link's own records ------------------------------------------------------ */

/*  Hello and credit have no addressee and a frame of their own. */
static bool internal (zmq_msg_t *head, link_envelope_t *ret_envelope)
{
    const uint8_t *data = zmq_msg_data (head);
    link_frame_t frame = {data, data + zmq_msg_size (head)};
    return link_frame_next (&frame, ret_envelope) == 1 && !*ret_envelope->to_actor &&
           frame.at == frame.end;
}

static int decode_internal (const record_t *kind, const link_envelope_t *envelope, arena_t *arena,
                            void *body)
{
    return envelope->kind == kind->id &&
                   record_decode (kind, envelope->body, envelope->body_size, arena, body, NULL) == 0
               ? 0
               : -1;
}

/*  True if it was a hello that we can talk to. */
static bool read_hello (link_t *self, peer_t *peer, const link_envelope_t *envelope, arena_t *arena,
                        link_hello_t *hello)
{
    bool decoded = decode_internal (&link_hello_record, envelope, arena, hello) == 0;
    if (!decoded)
        link_drop (self, peer, DROP_MALFORMED, "hello");
    else if (hello->version != LINK_VERSION)
        link_drop (self, peer, DROP_VERSION, "it speaks another version of the protocol");
    return decoded && hello->version == LINK_VERSION;
}

static void take_credit (link_t *self, peer_t *peer, connection_t *connection,
                         const link_envelope_t *envelope)
{
    link_credit_t credit;
    char memory[64];
    arena_t arena;
    arena_init (&arena, sizeof memory, memory, sizeof memory);
    if (decode_internal (&link_credit_record, envelope, &arena, &credit) == -1)
        link_drop (self, peer, DROP_MALFORMED, "neither hello nor credit");
    else if (credit.received > connection->acknowledged && credit.received <= connection->sent)
        connection->acknowledged = credit.received; /* settle sends what waited for it */
    arena_reset (&arena);
}

/*  ---- connections that peers made --------------------------------------------------- */

static int hex_digit (char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*  The key that ZAP answered for this connection. */
static int authenticated_key (zmq_msg_t *head, record_key_t *key)
{
    const char *user = zmq_msg_gets (head, "User-Id");
    if (!user)
        return -1;
    for (size_t i = 0; i < sizeof key->bytes; i++, user += 2) {
        int high = hex_digit (user[0]);
        int low = high == -1 ? -1 : hex_digit (user[1]);
        if (low == -1)
            return -1;
        key->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return *user ? -1 : 0;
}

static int descriptor_of (zmq_msg_t *head)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return zmq_msg_get (head, ZMQ_SRCFD);
#pragma GCC diagnostic pop
}

/*  The newest hello wins: an earlier connection of that key is no longer heard. */
static void accept_hello (link_t *self, peer_t *peer, zmq_msg_t *route, zmq_msg_t *head,
                          const link_hello_t *hello)
{
    /*  Word of the end of whatever had this descriptor before is in the monitor already. */
    receive_drain_events (self);
    connection_t *in = &peer->in;
    memcpy (in->route, zmq_msg_data (route), ROUTE_SIZE);
    in->fd = descriptor_of (head);
    const char *address = zmq_msg_gets (head, "Peer-Address");
    snprintf (in->address, sizeof in->address, "%s", address ? address : "");
    in->open = true;
    send_hello (self, peer, in); /* before anything else on this connection */
    if (in->open)
        link_greeted (self, peer, in, hello);
}

static void server_internal (link_t *self, peer_t *peer, parts_t *parts,
                             const link_envelope_t *envelope)
{
    link_hello_t hello;
    char memory[512];
    arena_t arena;
    arena_init (&arena, sizeof memory, memory, sizeof memory);
    bool current =
        peer->in.open && memcmp (peer->in.route, zmq_msg_data (&parts->parts[0]), ROUTE_SIZE) == 0;
    if (envelope->kind == link_hello_record.id) {
        if (read_hello (self, peer, envelope, &arena, &hello) && !current)
            accept_hello (self, peer, &parts->parts[0], &parts->parts[1], &hello);
    } else if (current)
        take_credit (self, peer, &peer->in, envelope);
    arena_reset (&arena);
}

static void note_origins (link_t *self, const record_key_t *key, zmq_msg_t *route, zmq_msg_t *head)
{
    const uint8_t *data = zmq_msg_data (head);
    link_frame_t frame = {data, data + zmq_msg_size (head)};
    link_envelope_t envelope;
    while (link_frame_next (&frame, &envelope) == 1) {
        if (!(envelope.flags & LINK_REQUEST))
            continue;
        origin_t *origin = &self->origins[self->origin_next++ % ORIGINS];
        origin->key = *key;
        origin->instance = envelope.from_instance;
        origin->correlation = envelope.correlation;
        memcpy (origin->route, zmq_msg_data (route), ROUTE_SIZE);
    }
}

/*  A connection that is not (or no longer) its peer's. A peer that believes in it would wait for
    ever: cut off, it makes another. */
static void refuse_connection (link_t *self, peer_t *peer, zmq_msg_t *head)
{
    int fd = descriptor_of (head);
    const char *address = zmq_msg_gets (head, "Peer-Address");
    link_drop (self, peer, DROP_NO_HELLO, "not the connection that said hello last");
    receive_drain_events (self);
    if (peer->in.open && fd != peer->in.fd && address)
        link_shut (fd, address);
}

static void server_message (link_t *self, parts_t *parts)
{
    record_key_t key;
    link_envelope_t envelope;
    zmq_msg_t *route = &parts->parts[0], *head = &parts->parts[1];
    if (parts->count < 2 || parts->excess) {
        link_drop (self, NULL, DROP_MALFORMED, "not one frame or two");
        return;
    }
    if (authenticated_key (head, &key) == -1) {
        link_drop (self, NULL, DROP_UNAUTHENTICATED, "no User-Id");
        return;
    }
    peer_t *peer = link_need (self, &key);
    if (!peer) {
        link_drop (self, link_find (self, &key), DROP_REVOKED, "its key is not in the keyring");
        return;
    }
    /*  Ours begin with a zero byte; nobody has reason to choose his own. */
    const uint8_t *id = zmq_msg_data (route);
    if (zmq_msg_size (route) != ROUTE_SIZE || id[0] != 0) {
        link_drop (self, peer, DROP_ROUTE, "a routing id of its own choice");
        return;
    }
    if (parts->count == 2 && internal (head, &envelope)) {
        server_internal (self, peer, parts, &envelope);
        return;
    }
    if (peer->entry.role == ROLE_JOINER)
        note_origins (self, &key, route, head);
    else if (!peer->in.open || memcmp (peer->in.route, id, ROUTE_SIZE) != 0) {
        refuse_connection (self, peer, head);
        return;
    }
    deliver_all (self, peer, &peer->in, head, parts->count == 3 ? &parts->parts[2] : NULL);
}

static size_t bytes_of (parts_t *parts)
{
    size_t bytes = 0;
    for (size_t i = 0; i < parts->count; i++)
        bytes += zmq_msg_size (&parts->parts[i]);
    return bytes;
}

void receive_server (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)fd, (void)events;
    link_t *self = state;
    parts_t parts;
    size_t bytes = 0;
    for (int i = 0; i < BATCH_FRAMES && bytes < BATCH_BYTES; i++) {
        if (!read_parts (&parts, socket, true))
            return;
        bytes += bytes_of (&parts);
        server_message (self, &parts);
        close_parts (&parts);
    }
    context_used (ctx, socket); /* the rest */
}

/*  Descriptors are finite, and libzmq would spin for want of one. */
static void count_connection (link_t *self, int fd)
{
    size_t max = self->config->connections_max ? self->config->connections_max : 8192;
    if (++self->connections > max)
        shutdown (fd, SHUT_RDWR); /* it ends with an event of its own */
}

static void connection_ended (link_t *self, int fd)
{
    if (self->connections)
        self->connections--;
    for (peer_t *peer = self->peers; peer; peer = peer->next)
        if (peer->in.open && peer->in.fd == fd)
            link_close_connection (self, peer, &peer->in);
}

void receive_drain_events (link_t *self)
{
    link_event_t event;
    int value;
    while (self->server.monitor && link_socket_event (&self->server, &event, &value)) {
        if (event == LINK_EVENT_REFUSED)
            metric_add (self->metrics.refused, 1);
        else if (event == LINK_EVENT_HANDSHAKE_FAILED)
            metric_add (self->metrics.failed, 1);
        else if (event == LINK_EVENT_ACCEPTED)
            count_connection (self, value);
        else if (event == LINK_EVENT_DISCONNECTED)
            connection_ended (self, value);
    }
    metric_set (self->metrics.connections, (double)self->connections);
}

void receive_server_events (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)ctx, (void)socket, (void)fd, (void)events;
    receive_drain_events (state);
}

/*  ---- connections that we made ------------------------------------------------------- */

static void client_internal (link_t *self, peer_t *peer, const link_envelope_t *envelope)
{
    link_hello_t hello;
    char memory[512];
    arena_t arena;
    arena_init (&arena, sizeof memory, memory, sizeof memory);
    if (envelope->kind != link_hello_record.id)
        take_credit (self, peer, &peer->out, envelope);
    else if (!peer->out.open && read_hello (self, peer, envelope, &arena, &hello)) {
        link_greeted (self, peer, &peer->out, &hello);
        dial_greeted (self, peer);
    }
    arena_reset (&arena);
}

static void client_message (link_t *self, peer_t *peer, parts_t *parts)
{
    link_envelope_t envelope;
    zmq_msg_t *head = &parts->parts[0];
    if (!link_admitted (self, peer))
        link_drop (self, peer, DROP_REVOKED, "its key is not in the keyring");
    else if (parts->excess)
        link_drop (self, peer, DROP_MALFORMED, "not one frame or two");
    else if (parts->count == 1 && internal (head, &envelope))
        client_internal (self, peer, &envelope);
    else if (!peer->out.open)
        link_drop (self, peer, DROP_NO_HELLO, "it has not said hello");
    else
        deliver_all (self, peer, &peer->out, head, parts->count == 2 ? &parts->parts[1] : NULL);
}

/*  Reads at most that much. */
static void read_client (link_t *self, peer_t *peer, int frames_max, size_t bytes_max)
{
    void *socket = peer->dial->socket.socket;
    parts_t parts;
    size_t bytes = 0;
    for (int i = 0; i < frames_max && bytes < bytes_max; i++) {
        /*  A message may end the dial itself. */
        if (!peer->dial || peer->dial->socket.socket != socket ||
            !read_parts (&parts, socket, false))
            return;
        bytes += bytes_of (&parts);
        client_message (self, peer, &parts);
        close_parts (&parts);
    }
    context_used (self->ctx, socket); /* the rest */
}

void receive_client (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)ctx, (void)fd, (void)events;
    link_t *self = state;
    for (peer_t *peer = self->dialled; peer; peer = peer->dial->next)
        if (peer->dial->socket.socket == socket) {
            read_client (self, peer, BATCH_FRAMES, BATCH_BYTES);
            return;
        }
}

void receive_drain (link_t *self, peer_t *peer)
{
    read_client (self, peer, INT32_MAX, SIZE_MAX);
}
