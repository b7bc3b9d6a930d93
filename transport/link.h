/*  link - the edge actor that carries messages between nodes over CurveZMQ

    Local actors send to remote addresses by plain context_send; the runtime hands
    what is for other nodes to the actor that runtime_route names: a link. Two are
    usual: "link" for the control plane, and "lane" for bulk data (frames up to 16
    MiB, payloads that are not copied), with sockets of their own so that a tensor
    never stands in front of a heartbeat (give the runtime two io_threads: then the
    first is the control plane's alone).

    Connections. A link may bind endpoints (a ROUTER) and dial peers (a DEALER
    each); a peer behind NAT dials out and is reached over the connection it made.
    Messages of both directions share it. Once the CURVE handshake is done both
    sides say hello: from then on the peer is up. A lost connection is dialled
    again after 200 ms to 5 s, with its name resolved again.

    Identity. message->from.node is the key that the connection authenticated and
    message->role what the keyring says of it at that moment; a key that is taken
    out of the keyring is deaf and dumb at once. Routing ids are only addresses:
    each frame's key must be the one that said hello on that route, and the newest
    hello wins. A kind that the catalog does not know, or that the sender's role
    may not send, is dropped, as are malformed bytes; nothing is allocated for a
    message before it is validated. Drops are counted by reason in
    nexus_link_dropped_total. (Replies that are a failure or done need no entry.)

    Delivery. In order between two actors while one connection lasts, at most once.
    What can't go out waits: at most queue_count_max messages and queue_bytes_max
    bytes a peer, until its deadline or queue_ms; then it is dropped and counted,
    and if it was a request its sender gets a failure. Bytes in flight to a peer
    are bounded by the credit that it gives. A request cannot be forwarded to
    another node (its reply would have to name a node that we don't speak for).

    Small messages that wait for one peer at the end of a turn share a frame.
    A received payload's data is aligned to 8 bytes only.

    Limits that libzmq leaves: an authenticated peer may send a message of
    endless parts; a ROUTER's connection cannot be closed through it, so a revoked
    peer's TCP connection is shut down by its descriptor.
*/
#pragma once

#include "runtime/behaviour.h"
#include "runtime/catalog.h"
#include "transport/identity.h"
#include "transport/keyring.h"

typedef struct {
    const char *name; /* of this node, told to peers; at most 63 bytes */
    const keypair_t *key;
    const char *const
        *endpoints; /* to bind: "tcp://0.0.0.0:7400", "tcp://[::]:*", "ipc:///run/x" */
    size_t endpoint_count;
    const char *domain; /* of the keyring; also ZAP's */
    keyring_t *keyring;
    const catalog_t *catalog;
    bool data;              /* the profile of the data plane */
    size_t queue_count_max; /* a peer; 0: 16,384 */
    size_t queue_bytes_max; /* a peer; 0: 64 MiB; data: 512 MiB */
    int64_t queue_ms;       /* 0: 10,000 */
    size_t connections_max; /* accepted at a time, strangers' included; 0: 8,192 */
} link_config_t;

/*  Its arguments are a link_config_t. */
extern const behaviour_t link_behaviour;

/*  ---- what local actors send it (ids 16 to 23) --------------------------- */

/* clang-format off */

/*  Keep a connection to that node. Its key is let in with this role unless the
    keyring knows it. Dialling it again replaces the endpoints. Reply: done, once it is
    noted; NEXUS_INVALID if an endpoint is none. */
#define LINK_DIAL(F)                                                                               \
    F (KEY,     node,      _, .flags = RECORD_REQUIRED, .doc = "The node's public key.")           \
    F (STRINGS, endpoints, _, .min = 1, .max = 16, .doc = "tcp://HOST:PORT or ipc://PATH, tried in turn.") \
    F (ENUM,    role,      role, .doc = "What it is.")                                             \
    F (STRING,  name,      _, .max = 63, .doc = "Its name, for logs.")
RECORD_DECLARE (link_dial, LINK_DIAL)

/*  End the connection and do not dial any more. What waits for that node is dropped,
    unless it has made a connection to us. Reply: done. */
#define LINK_HANGUP(F)                                                                             \
    F (KEY, node, _, .flags = RECORD_REQUIRED, .doc = "The node's public key.")
RECORD_DECLARE (link_hangup, LINK_HANGUP)

/*  The sender gets a peer_event for each peer that is up, and whenever one comes
    up or goes down, until it ends. */
#define LINK_SUBSCRIBE(F)                                                                          \
    F (BOOL, off, _, .doc = "No more events.")
RECORD_DECLARE (link_subscribe, LINK_SUBSCRIBE)

#define PEER_EVENT(F)                                                                              \
    F (KEY,    node,        _, .doc = "The peer's public key.")                                    \
    F (ENUM,   role,        role, .doc = "What the keyring says it is.")                           \
    F (BOOL,   up,          _, .doc = "It speaks; or it does not any more.")                       \
    F (STRING, address,     _, .max = 255, .doc = "Where from, or which endpoint.")                \
    F (STRING, name,        _, .max = 63, .doc = "Its name, as it says.")                          \
    F (UINT,   incarnation, _, .doc = "Another one: its link has been started again.")
RECORD_DECLARE (peer_event, PEER_EVENT)

/*  Asked with an empty one, answers with a full one. */
#define LINK_STATUS(F)                                                                             \
    F (STRINGS, endpoints, _, .max = 64, .doc = "What is bound, with the ports that were chosen.") \
    F (UINT,    peers,     _, .doc = "Peers that are up.")
RECORD_DECLARE (link_status, LINK_STATUS)

/*  ---- what links tell each other ----------------------------------------- */

#define LINK_HELLO(F)                                                                              \
    F (UINT,   version,     _, .doc = "Of the protocol: 1.")                                       \
    F (STRING, name,        _, .max = 63, .doc = "The sender's name.")                             \
    F (UINT,   incarnation, _, .doc = "Drawn when the sender's link started.")                     \
    F (UINT,   window,      _, .unit = "bytes", .doc = "Credit: how much may be on its way to the sender.")
RECORD_DECLARE (link_hello, LINK_HELLO)

/*  Each frame of messages costs its bytes and window / 1,024 more. */
#define LINK_CREDIT(F)                                                                             \
    F (UINT, received, _, .unit = "bytes", .doc = "Taken in on this connection so far.")
RECORD_DECLARE (link_credit, LINK_CREDIT)

/* clang-format on */
