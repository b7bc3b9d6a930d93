/*  link_private - what the parts of link share; for transport/link*.c only

    link.c          the actor: start, its local kinds, the tick, events
    link_dial.c     connections that we make: look-up, connect, back off
    link_receive.c  frames to messages
    link_send.c     messages to frames, queues and credit
*/
#pragma once

#include "runtime/host.h"
#include "transport/link.h"
#include "transport/link_frame.h"
#include "transport/link_queue.h"
#include "transport/link_socket.h"
#include "transport/resolve.h"

#include <zmq.h>

#define LINK_VERSION    1
#define ROUTE_SIZE      5 /* of the routing ids that a ROUTER makes up */
#define BUCKETS         1024
#define SUBSCRIBERS_MAX 16
#define ENDPOINTS_MAX   16
#define COALESCE_SIZE   (64 << 10)
#define TICK_MS         100
#define PROBE_TICKS     50
#define ORIGINS         256

typedef struct link_state link_t;
typedef struct link_peer peer_t;

/*  One connection, made by us or by the peer. */
typedef struct {
    bool open;                 /* the peer has said hello on it */
    uint8_t route[ROUTE_SIZE]; /* accepted ones: where the ROUTER finds it */
    int fd;                    /* accepted ones: to recognise its end; else -1 */
    char address[256];
    uint64_t window; /* the peer's: what may be on its way to it */
    uint64_t sent, acknowledged;
    uint64_t received, told;
} connection_t;

typedef struct {
    peer_t *next; /* of those that we dial */
    char endpoints[ENDPOINTS_MAX][256];
    size_t endpoint_count;
    size_t endpoint_next;
    char addresses[RESOLVED_MAX][80]; /* what the endpoint in hand resolved to */
    size_t address_count;
    size_t address_next;
    unsigned failures; /* in a row */
    uint64_t query;    /* look-up on its way */
    uint64_t timer;    /* next attempt, or the end of this one */
    link_socket_t socket;
} dial_t;

struct link_peer {
    peer_t *bucket_next;
    peer_t *next, *previous;                 /* of all */
    peer_t *waiting_next, *waiting_previous; /* of those with a queue */
    bool waiting;
    record_key_t key;
    keyring_entry_t entry; /* what the keyring said ... */
    uint64_t generation;   /* ... in this generation */
    bool admitted;
    char name[64];
    uint64_t incarnation;
    dial_t *dial;        /* or NULL */
    connection_t out;    /* over dial's socket */
    connection_t in;     /* over our ROUTER */
    connection_t *route; /* the one we send over; NULL: down */
    bool up;             /* as told to subscribers */
    link_queue_t queue;
    int64_t logged_ns;
};

/*  Where a joiner's request came from: many may hold one token, and so one key, at a time. */
typedef struct {
    record_key_t key;
    uint64_t instance;
    uint64_t correlation; /* 0: free */
    uint8_t route[ROUTE_SIZE];
} origin_t;

typedef enum {
    DROP_UNAUTHENTICATED,
    DROP_REVOKED,
    DROP_ROUTE,
    DROP_NO_HELLO,
    DROP_MALFORMED,
    DROP_UNKNOWN_KIND,
    DROP_ROLE,
    DROP_VERSION,
    DROP_DEADLINE,
    DROP_QUEUE_FULL,
    DROP_TOO_LARGE,
    DROP_UNKNOWN_PEER,
    DROP_FORWARDED,
    DROP_HANGUP,
    DROPS
} drop_t;

struct link_state {
    context_t *ctx;
    const link_config_t *config;
    link_profile_t profile;
    uint64_t window;    /* credit that we give a peer */
    size_t message_max; /* largest body in a frame */
    uint64_t incarnation;
    link_socket_t server;
    char bound[ENDPOINTS_MAX][256];
    size_t bound_count;
    peer_t *buckets[BUCKETS];
    peer_t *peers;
    peer_t *waiting;
    peer_t *dialled;
    size_t up_count;
    size_t connections;  /* accepted, authenticated or not */
    uint64_t generation; /* of the keyring, when all peers were last checked */
    bool resolver;       /* it has been started */
    address_t resolver_address;
    address_t subscribers[SUBSCRIBERS_MAX];
    size_t subscriber_count;
    buffer_t frame;
    origin_t origins[ORIGINS]; /* the newest ones */
    size_t origin_next;
    unsigned ticks;
    int64_t logged_ns;
    struct {
        metric_t *messages_in, *messages_out, *bytes_in, *bytes_out, *frames_in, *frames_out;
        metric_t *peers, *connections, *refused, *failed, *dropped[DROPS];
    } metrics;
};

/*  link.c */
peer_t *link_find (link_t *self, const record_key_t *key);
/*  Finds, or makes it if the keyring knows the key; else NULL. */
peer_t *link_need (link_t *self, const record_key_t *key);
/*  Is the key (still) in the keyring? */
bool link_admitted (link_t *self, peer_t *peer);
/*  Chooses the connection to send over and tells subscribers what has changed. */
void link_update (link_t *self, peer_t *peer);
void link_close_connection (link_t *self, peer_t *peer, connection_t *connection);
/*  Shuts the connection of that descriptor down, if it is one of that address. */
void link_shut (int fd, const char *address);
/*  Counts; logs at most once a second a peer (or, without one, in all). */
void link_drop (link_t *self, peer_t *peer, drop_t reason, const char *detail);
/*  What a connection's first frame brings. */
void link_greeted (link_t *self, peer_t *peer, connection_t *connection, const link_hello_t *hello);

/*  link_dial.c */
/*  With these endpoints from now on; -1 if memory ended. */
int dial_start (link_t *self, peer_t *peer, const record_strings_t *endpoints);
void dial_stop (link_t *self, peer_t *peer);
void dial_timer (link_t *self, peer_t *peer);
void dial_greeted (link_t *self, peer_t *peer);
void dial_resolved (link_t *self, peer_t *peer, const resolved_t *found);

/*  link_receive.c */
poll_fn receive_server;
poll_fn receive_client;
poll_fn receive_server_events;
/*  Takes in what is left on a dialled connection that has ended. */
void receive_drain (link_t *self, peer_t *peer);
void receive_drain_events (link_t *self);

/*  link_send.c */
/*  Takes over the message. */
void send_message (link_t *self, message_t *message);
void send_flush (link_t *self, peer_t *peer);
/*  Sends a record of the link's own over that connection; -1 with errno. */
int send_internal (link_t *self, peer_t *peer, connection_t *connection, const record_t *kind,
                   const void *body);
void send_hello (link_t *self, peer_t *peer, connection_t *connection);
void send_credit (link_t *self, peer_t *peer, connection_t *connection);
/*  Ends the wait of what is too old. */
void send_expire (link_t *self, peer_t *peer);
/*  Ends the wait of all. */
void send_fail_all (link_t *self, peer_t *peer, drop_t reason);
