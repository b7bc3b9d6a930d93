/*  host - the production shell: a zactor that runs behaviours

    runtime_t is one node's world within a process: the directory of its actors'
    mailboxes, its libzmq context (so that an embedded node never disturbs its
    host's sockets nor another node's ZAP handler), its log and metrics. Several
    may live in one process.

    A host is a CZMQ zactor. It runs one behaviour or many; each has a bounded
    mailbox with two lanes (control: served first, bounded by a hard limit only;
    data: bounded in count and bytes). Between hosts a message is one push onto
    the target's queue and, if that host slept, one wake-up. Messages for other
    nodes go to the actor that runtime_route names (the link).

    Delivery: in order between two actors; at most once; a message that can't be
    delivered is a dead letter: counted by reason in
    nexus_dead_letters_total{reason}, and if it was a request, its sender gets a failure.
*/
#pragma once

#include "runtime/behaviour.h"

#include <czmq.h>

typedef struct {
    const char *name; /* of the node, for logs */
    record_key_t key; /* its public key */
    log_t *log;       /* borrowed */
    int io_threads;   /* of libzmq; 0: 1 */
} runtime_config_t;

runtime_t *runtime_new (const runtime_config_t *config, nexus_error_t *error);
/*  All hosts must have been destroyed. */
void runtime_destroy (runtime_t **self_p);

/*  The node's own libzmq context. */
void *runtime_zmq (runtime_t *self);
metrics_t *runtime_metrics (runtime_t *self);
log_t *runtime_log (runtime_t *self);

/*  Control-lane (lane == false) or data-lane messages for other nodes go to this local actor. */
void runtime_route (runtime_t *self, bool data_lane, const char *actor);

/*  Delivers from any thread; takes over the message. A message whose to.node is
    zero or this node's key is for a local actor. */
void runtime_send (runtime_t *self, message_t **message_p);

/*  For edges (a link that finds no way on): counts the message under reason (a
    constant word), and if it was a request fails it with code. Takes it over. */
void runtime_dead_letter (runtime_t *self, message_t **message_p, const char *reason,
                          nexus_code_t code);

/*  Asks from a thread that is no actor (a program that embeds us, a test) and
    waits for the answer: a message to release, or NULL with an error (a failure reply, the
    deadline). Asserts that it is not called from an actor. */
message_t *runtime_call (runtime_t *self, const address_t *to, const record_t *kind,
                         const void *body, int64_t timeout_ms, nexus_error_t *error);

/*  Starts a zactor that runs child (and whatever that spawns in its thread).
    NULL with the reason when its start failed. zactor_destroy ends it: stop is
    called, children first, each within its shutdown time. On the zactor's pipe
    the host sends "DOWN" and the reason when its root actor ends by itself. */
zactor_t *host_new (runtime_t *runtime, const child_t *child, nexus_error_t *error);
