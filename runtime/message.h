/*  message - what actors send each other

    A message carries one record (its kind) and, on the data plane, one payload:
    bytes that are never copied between their producer and the socket. It knows
    who speaks (as the link authenticated it, never as the bytes claim), whom it
    is for, and until when it is wanted.

    A message is immutable once sent, reference-counted, and may be held by
    several threads. Sending clones the record into the message, so a sender's
    stack is good enough as a body.
*/
#pragma once

#include "runtime/record.h"

/*  Where an actor lives: the node's CURVE public key (all zero: this node), the
    actor's name, and its instance where there are many of a name (a shard, a
    task); 0 otherwise. */
typedef struct {
    record_key_t node;
    char actor[24];
    uint64_t instance;
} address_t;

/*  This node's actor of that name. Asserts that the name fits. */
address_t address_local (const char *actor, uint64_t instance);
address_t address_remote (const record_key_t *node, const char *actor, uint64_t instance);
bool address_equal (const address_t *a, const address_t *b);
/*  "actor", "actor/instance" or "actor/instance@0123abcd", for logs. */
const char *address_text (const address_t *address, char text[64]);

/*  Who a message's sender is, as its key says. Local actors speak as ROLE_LOCAL. */
#define ROLES(E)                                         \
    E (ROLE_NONE, "none")                                \
    E (ROLE_LOCAL, "local")                              \
    E (ROLE_MASTER, "master")                            \
    E (ROLE_WORKER, "worker")                            \
    E (ROLE_TASK, "task")     /* a rank's own process */ \
    E (ROLE_JOINER, "joiner") /* holds a join token, may only enrol */
RECORD_ENUM (role, ROLES)
#define ROLE_BIT(role) (1u << (role))

/*  ---- payloads ---------------------------------------------------------- */

/*  Bytes with a release callback; reference-counted, thread-safe. */
typedef struct payload payload_t;
struct payload {
    const uint8_t *data;
    size_t size;
    void (*release) (void *context); /* may run on any thread */
    void *context;
    uint32_t references; /* atomic; use the functions */
};

payload_t *payload_new (const void *data, size_t size, void (*release) (void *), void *context);
/*  Memory of its own (64-byte aligned); *ret_data is where to write before it is sent. */
payload_t *payload_alloc (size_t size, uint8_t **ret_data);
payload_t *payload_retain (payload_t *self);
void payload_release (payload_t **self_p);

/*  ---- messages ---------------------------------------------------------- */

enum {
    MESSAGE_REQUEST = 1, /* the sender waits for a reply until the deadline */
    MESSAGE_REPLY = 2    /* answers the request of the same correlation */
};

typedef struct message message_t;
struct message {
    message_t *next; /* the mailbox's link; nobody else's business */
    const record_t *kind;
    const void *body;   /* a value of kind; lives as long as the message */
    payload_t *payload; /* or NULL; the message holds one reference */
    address_t to;
    address_t from;
    role_t role; /* of the sender */
    unsigned flags;
    uint64_t correlation; /* 0: neither request nor reply */
    int64_t deadline_ns;  /* on this process's monotonic clock; 0: none */
    uint64_t trace;       /* passed on from cause to effect; 0: none */
    size_t size;          /* bytes it accounts for in a mailbox */
    uint32_t references;  /* atomic; use the functions */
    bool pooled;          /* where its memory came from; nobody else's business */
    arena_t arena;
};

/*  Clones body (a value of kind). The payload's reference is taken over
    (*payload_p becomes NULL); payload_p may be NULL. Never fails: out of memory
    ends the process with a message. */
message_t *message_new (const record_t *kind, const void *body, payload_t **payload_p,
                        const address_t *to, const address_t *from);
/*  Decodes a foreign body straight into a message. NULL with an error if it is not valid. */
message_t *message_decode (const record_t *kind, const uint8_t *data, size_t size,
                           nexus_error_t *error);
message_t *message_retain (message_t *self);
void message_release (message_t **self_p);

/*  The body if the message is of that record, else NULL:
        const heartbeat_t *beat = message_body (msg, heartbeat);            */
#define message_body(msg, rec) ((msg)->kind == &rec##_record ? (const rec##_t *)(msg)->body : NULL)

/*  ---- the runtime's own kinds (ids 1 to 15) ------------------------------ */

/*  The reply that a request gets when it can't have its own. */
#define FAILURE(F)                                         \
    F (UINT, code, _, .max = 64, .doc = "A nexus_code_t.") \
    F (STRING, text, _, .max = 500, .doc = "What was wrong, where, what to do.")
RECORD_DECLARE (failure, FAILURE)

/*  An actor that was watched has ended, or its node is out of reach. */
#define DOWN(F)                                                 \
    F (KEY, node, _, .doc = "Its node; zero: this one.")        \
    F (STRING, actor, _, .max = 23, .doc = "Its name.")         \
    F (UINT, instance, _, .doc = "Its instance.")               \
    F (BOOL, failed, _, .doc = "It failed, rather than ended.") \
    F (STRING, reason, _, .max = 500, .doc = "Why.")
RECORD_DECLARE (down, DOWN)

/*  An empty answer: done. */
#define DONE(F) F (UINT, value, _, .doc = "Whatever the request's page says.")
RECORD_DECLARE (done, DONE)
