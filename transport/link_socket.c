#include "transport/link_socket.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

/*  A draft option that every libzmq since 4.3 honours by number: without it a
    server with no ZAP handler (not started yet, or dead) lets any key in. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

static bool set_int (void *socket, int option, int value)
{
    return zmq_setsockopt (socket, option, &value, sizeof value) == 0;
}

static bool set_common (void *socket, const link_profile_t *profile)
{
    return zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, profile->key->secret_key.bytes, 32) == 0 &&
           zmq_setsockopt (socket, ZMQ_CURVE_PUBLICKEY, profile->key->public_key.bytes, 32) == 0 &&
           /*  Before any handshake a header of 9 bytes could claim 4 GiB. */
           zmq_setsockopt (socket, ZMQ_MAXMSGSIZE, &profile->frame_max, sizeof (int64_t)) == 0 &&
           zmq_setsockopt (socket, ZMQ_AFFINITY, &profile->affinity, sizeof (uint64_t)) == 0 &&
           set_int (socket, ZMQ_SNDHWM, profile->high_water) &&
           set_int (socket, ZMQ_RCVHWM, profile->high_water) &&
           set_int (socket, ZMQ_LINGER, 1000) && set_int (socket, ZMQ_HANDSHAKE_IVL, 5000) &&
           set_int (socket, ZMQ_IPV6, 1) &&
           /*  Heartbeats find a dead peer and keep NAT entries alive. */
           set_int (socket, ZMQ_HEARTBEAT_IVL, 2000) &&
           set_int (socket, ZMQ_HEARTBEAT_TIMEOUT, 6000) &&
           set_int (socket, ZMQ_HEARTBEAT_TTL, 6000) &&
           /*  Keepalive alone misses a dead peer while data is queued. */
           set_int (socket, ZMQ_TCP_MAXRT, 12000);
}

static bool set_server (void *socket, const link_profile_t *profile)
{
    return set_int (socket, ZMQ_CURVE_SERVER, 1) &&
           zmq_setsockopt (socket, ZMQ_ZAP_DOMAIN, profile->domain, strlen (profile->domain)) ==
               0 &&
           set_int (socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1) &&
           /*  An unknown route is an error that we see, not a silent loss. */
           set_int (socket, ZMQ_ROUTER_MANDATORY, 1) &&
           /*  A second connection can't take over the first one's routing id. */
           set_int (socket, ZMQ_ROUTER_HANDOVER, 0);
}

/*  ZMQ_IMMEDIATE stays off: the socket lives for one connection, and the hello
    must wait in it as the first frame. */
static bool set_client (void *socket, const record_key_t *server)
{
    return zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, server->bytes, 32) == 0 &&
           set_int (socket, ZMQ_RECONNECT_IVL, -1) && set_int (socket, ZMQ_CONNECT_TIMEOUT, 5000);
}

static int open_monitor (link_socket_t *self, void *zmq)
{
    static _Atomic uint64_t counter;
    char endpoint[64];
    snprintf (endpoint, sizeof endpoint, "inproc://nexus.monitor.%llu",
              (unsigned long long)atomic_fetch_add (&counter, 1));
    int events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
                 ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor (self->socket, endpoint, events) == -1)
        return -1;
    self->monitor = zmq_socket (zmq, ZMQ_PAIR);
    if (!self->monitor)
        return -1;
    set_int (self->monitor, ZMQ_LINGER, 0);
    /*  libzmq's I/O thread sends events and waits while it can't: it must always be able to. */
    set_int (self->monitor, ZMQ_RCVHWM, 0);
    return zmq_connect (self->monitor, endpoint);
}

static int open_socket (link_socket_t *self, void *zmq, int type, nexus_error_t *error)
{
    *self = (link_socket_t){0};
    self->socket = zmq_socket (zmq, type);
    if (self->socket && open_monitor (self, zmq) == 0)
        return 0;
    nexus_error_set (error, NEXUS_EXHAUSTED, "can't open a socket: %s", zmq_strerror (errno));
    link_socket_close (self);
    return -1;
}

/*  Options of ours on a socket of ours: only a libzmq without CURVE refuses them. */
static int refused (link_socket_t *self, nexus_error_t *error)
{
    nexus_error_set (error, NEXUS_INVALID,
                     "libzmq refused a socket option: %s (it must be built with CURVE)",
                     zmq_strerror (errno));
    link_socket_close (self);
    return -1;
}

int link_socket_server (link_socket_t *self, void *zmq, const link_profile_t *profile,
                        nexus_error_t *error)
{
    assert (*profile->domain);
    if (open_socket (self, zmq, ZMQ_ROUTER, error) == -1)
        return -1;
    if (!set_common (self->socket, profile) || !set_server (self->socket, profile))
        return refused (self, error);
    return 0;
}

int link_socket_client (link_socket_t *self, void *zmq, const link_profile_t *profile,
                        const record_key_t *server, nexus_error_t *error)
{
    if (open_socket (self, zmq, ZMQ_DEALER, error) == -1)
        return -1;
    if (!set_common (self->socket, profile) || !set_client (self->socket, server))
        return refused (self, error);
    return 0;
}

/*  The monitor is stopped before its reader goes: an event without a reader would hold the I/O
    thread, and with it the node, for ever. */
void link_socket_close (link_socket_t *self)
{
    if (self->socket)
        zmq_socket_monitor (self->socket, NULL, 0);
    if (self->monitor)
        zmq_close (self->monitor);
    if (self->socket)
        zmq_close (self->socket);
    *self = (link_socket_t){0};
}

static link_event_t translate (unsigned event)
{
    switch (event) {
    case ZMQ_EVENT_ACCEPTED:
        return LINK_EVENT_ACCEPTED;
    case ZMQ_EVENT_CLOSED:
    case ZMQ_EVENT_CONNECT_RETRIED:
        return LINK_EVENT_CLOSED;
    case ZMQ_EVENT_DISCONNECTED:
        return LINK_EVENT_DISCONNECTED;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return LINK_EVENT_REFUSED;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return LINK_EVENT_HANDSHAKE_FAILED;
    default:
        return LINK_EVENT_OTHER;
    }
}

/*  A monitor's message: event (16 bits) and value (32 bits) in host order, then
    the endpoint in a second frame. */
bool link_socket_event (link_socket_t *self, link_event_t *ret_event, int *ret_value)
{
    bool found = false, more = true;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init (&part);
        if (zmq_msg_recv (&part, self->monitor, ZMQ_DONTWAIT) == -1) {
            zmq_msg_close (&part);
            return found;
        }
        if (!found && zmq_msg_size (&part) == 6) {
            uint16_t event;
            int32_t value;
            memcpy (&event, zmq_msg_data (&part), sizeof event);
            memcpy (&value, (const char *)zmq_msg_data (&part) + 2, sizeof value);
            *ret_event = translate (event);
            *ret_value = value;
            found = true;
        }
        more = zmq_msg_more (&part);
        zmq_msg_close (&part);
    }
    return found;
}
