/*  Connections that we make. A DEALER lives for one connection: when it ends, or
    was never made, another is opened after a pause, to an address that was looked
    up again. So a connection starts with no memory of the one before it. */
#include "transport/link_private.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MIN_MS 200
#define PAUSE_MAX_MS 5000
#define ATTEMPT_MS   15000 /* from connect to hello */
#define LOOKUP_MS    10000

static void attempt (link_t *self, peer_t *peer);

static void set_timer (link_t *self, peer_t *peer, int64_t delay_ms)
{
    if (peer->dial->timer)
        context_cancel (self->ctx, peer->dial->timer);
    peer->dial->timer =
        delay_ms < 0 ? 0
                     : context_after (self->ctx, MS_TO_NS (delay_ms), (uint64_t)(uintptr_t)peer);
}

static void close_socket (link_t *self, peer_t *peer)
{
    dial_t *dial = peer->dial;
    if (dial->socket.socket) {
        context_poll (self->ctx, dial->socket.socket, -1, 0, NULL);
        context_poll (self->ctx, dial->socket.monitor, -1, 0, NULL);
        link_socket_close (&dial->socket);
    }
    link_close_connection (self, peer, &peer->out);
}

/*  The pause doubles with each round over all endpoints; jitter keeps a crowd that lost one
    server from coming back as one. */
static void pause_dial (link_t *self, peer_t *peer)
{
    dial_t *dial = peer->dial;
    close_socket (self, peer);
    dial->query = 0;
    size_t rounds = dial->failures / dial->endpoint_count;
    int64_t pause = rounds < 8 ? PAUSE_MIN_MS << rounds : PAUSE_MAX_MS;
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    pause = pause / 2 + (int64_t)(context_random (self->ctx) % (uint64_t)pause);
    dial->failures++;
    set_timer (self, peer, pause);
}

/*  ---- the connection's events --------------------------------------------- */

static peer_t *peer_of_monitor (link_t *self, const void *monitor)
{
    for (peer_t *peer = self->dialled; peer; peer = peer->dial->next)
        if (peer->dial->socket.monitor == monitor)
            return peer;
    return NULL;
}

/*  Also when a connection that was let in before is not any more; less and less often. */
static void log_refusal (link_t *self, peer_t *peer)
{
    unsigned failures = peer->dial->failures;
    if ((failures & (failures - 1)) == 0)
        log_warning (context_log (self->ctx), "peer refused our key: it must be admitted there",
                     LOG_NODE ("peer", &peer->key), LOG_TEXT ("address", peer->out.address));
}

static void client_events (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)ctx, (void)fd, (void)events;
    link_t *self = state;
    peer_t *peer = peer_of_monitor (self, socket);
    link_event_t event;
    int value;
    bool ended = false;
    while (peer && link_socket_event (&peer->dial->socket, &event, &value)) {
        if (event == LINK_EVENT_REFUSED) {
            metric_add (self->metrics.refused, 1);
            log_refusal (self, peer);
        } else if (event == LINK_EVENT_HANDSHAKE_FAILED)
            metric_add (self->metrics.failed, 1);
        ended |= event == LINK_EVENT_CLOSED || event == LINK_EVENT_DISCONNECTED ||
                 event == LINK_EVENT_REFUSED || event == LINK_EVENT_HANDSHAKE_FAILED;
    }
    if (ended) {
        receive_drain (self, peer);
        pause_dial (self, peer);
    }
}

/*  ---- attempts ------------------------------------------------------------ */

static void connect_to (link_t *self, peer_t *peer, const char *address)
{
    dial_t *dial = peer->dial;
    nexus_error_t error;
    void *zmq = runtime_zmq (context_runtime (self->ctx));
    if (link_socket_client (&dial->socket, zmq, &self->profile, &peer->key, &error) == -1 ||
        zmq_connect (dial->socket.socket, address) == -1) {
        log_error (context_log (self->ctx), "can't dial", LOG_NODE ("peer", &peer->key),
                   LOG_TEXT ("address", address), LOG_TEXT ("error", zmq_strerror (errno)));
        link_socket_close (&dial->socket);
        pause_dial (self, peer);
        return;
    }
    snprintf (peer->out.address, sizeof peer->out.address, "%s", address);
    context_poll (self->ctx, dial->socket.socket, -1, POLLIN | POLL_DRAINS, receive_client);
    context_poll (self->ctx, dial->socket.monitor, -1, POLLIN | POLL_DRAINS, client_events);
    send_hello (self, peer, &peer->out);
    set_timer (self, peer, ATTEMPT_MS);
}

static bool start_resolver (link_t *self)
{
    if (self->resolver)
        return true;
    char name[24];
    snprintf (name, sizeof name, "%.18s.dns", context_self (self->ctx)->actor);
    nexus_error_t error;
    child_t child = {.behaviour = &resolve_behaviour,
                     .name = name,
                     .thread = true,
                     .restart = RESTART_TEMPORARY,
                     .shutdown_ms = 1000};
    self->resolver_address = address_local (name, 0);
    self->resolver = context_spawn (self->ctx, &child, &error) == 0;
    if (!self->resolver)
        log_error (context_log (self->ctx), "can't look names up", LOG_TEXT ("error", error.text));
    return self->resolver;
}

/*  The next address of the endpoint in hand, else the next endpoint. */
static void attempt (link_t *self, peer_t *peer)
{
    dial_t *dial = peer->dial;
    if (!link_admitted (self, peer)) {
        pause_dial (self, peer);
        return;
    }
    if (dial->address_next < dial->address_count) {
        connect_to (self, peer, dial->addresses[dial->address_next++]);
        return;
    }
    char host[256], port[16];
    const char *endpoint = dial->endpoints[dial->endpoint_next++ % dial->endpoint_count];
    if (resolve_split (endpoint, host, port) == 0) {
        connect_to (self, peer, endpoint);
        return;
    }
    if (!start_resolver (self)) {
        pause_dial (self, peer);
        return;
    }
    set_timer (self, peer, -1); /* the request has its own deadline */
    dial->query = context_request (self->ctx, &self->resolver_address, &resolve_record,
                                   &(resolve_t){.host = host, .port = port}, LOOKUP_MS);
}

void dial_resolved (link_t *self, peer_t *peer, const resolved_t *found)
{
    dial_t *dial = peer->dial;
    dial->query = 0;
    dial->address_count = dial->address_next = 0;
    for (size_t i = 0; found && i < found->endpoints.count && i < RESOLVED_MAX; i++)
        snprintf (dial->addresses[dial->address_count++], sizeof dial->addresses[0], "%s",
                  found->endpoints.items[i]);
    if (dial->address_count)
        connect_to (self, peer, dial->addresses[dial->address_next++]);
    else
        pause_dial (self, peer);
}

int dial_start (link_t *self, peer_t *peer, const record_strings_t *endpoints)
{
    if (!peer->dial) {
        peer->dial = calloc (1, sizeof *peer->dial);
        if (!peer->dial)
            return -1;
        peer->dial->next = self->dialled;
        self->dialled = peer;
    }
    dial_t *dial = peer->dial;
    assert (endpoints->count >= 1 && endpoints->count <= ENDPOINTS_MAX);
    dial->endpoint_count = endpoints->count;
    dial->endpoint_next = 0;
    dial->address_count = dial->address_next = 0;
    dial->failures = 0;
    for (size_t i = 0; i < endpoints->count; i++)
        snprintf (dial->endpoints[i], sizeof dial->endpoints[0], "%s", endpoints->items[i]);
    if (!dial->socket.socket && !dial->query) /* else they serve the next attempt */
        attempt (self, peer);
    return 0;
}

void dial_stop (link_t *self, peer_t *peer)
{
    if (!peer->dial)
        return;
    set_timer (self, peer, -1);
    close_socket (self, peer);
    peer_t **at = &self->dialled;
    while (*at != peer)
        at = &(*at)->dial->next;
    *at = peer->dial->next;
    free (peer->dial);
    peer->dial = NULL;
}

/*  Time to try again, or an attempt that took too long. */
void dial_timer (link_t *self, peer_t *peer)
{
    peer->dial->timer = 0;
    if (peer->dial->socket.socket)
        pause_dial (self, peer);
    else
        attempt (self, peer);
}

void dial_greeted (link_t *self, peer_t *peer)
{
    dial_t *dial = peer->dial;
    dial->failures = 0;
    /*  The next time, the endpoint that worked comes first, looked up again. */
    dial->endpoint_next += dial->endpoint_count - 1;
    dial->endpoint_next %= dial->endpoint_count;
    dial->address_count = dial->address_next = 0;
    set_timer (self, peer, -1);
}
