/*  behaviour - what an actor does; context - its only door to the world

    A behaviour is deterministic: messages and timer expiries go in; messages,
    timers and storage requests come out. It touches no socket, file, thread,
    clock or random source; it asks its context. So the same behaviour runs in
    a zactor in production (host.h) and over virtual time in the simulator
    (simulator.h), and takes the same decisions for the same inputs.

    A turn: the shell hands over every message and timer that is waiting (at
    most 1,024), then calls settle once. Whoever can batch (appends, applies,
    reductions) does its work in settle; at low load a turn is one message.

    Nothing blocks in a behaviour. What takes long (a disk flush, a process
    start, a name look-up) is a request to an edge: an actor that may also watch
    file descriptors and sockets (context_poll) and that only production has.

    All functions of a context are for its own actor's thread, inside a callback.
*/
#pragma once

#include "runtime/log.h"
#include "runtime/message.h"
#include "runtime/metrics.h"

#include <poll.h>

typedef struct context context_t;
typedef struct behaviour behaviour_t;

struct behaviour {
    const char *name;
    size_t state_size; /* zeroed before start */
    /*  Returns -1 with an error if the actor cannot work with these arguments;
        then stop is not called. args belong to whoever spawned it and outlive it. */
    int (*start) (void *self, context_t *ctx, const void *args, nexus_error_t *error);
    void (*receive) (void *self, context_t *ctx, const message_t *message);
    void (*timer) (void *self, context_t *ctx, uint64_t timer, uint64_t data); /* or NULL */
    void (*settle) (void *self, context_t *ctx);                               /* or NULL */
    void (*stop) (void *self, context_t *ctx);                                 /* or NULL */
};

/*  ---- who and when ------------------------------------------------------ */

const address_t *context_self (const context_t *ctx);
/*  The node that this actor lives on; its key is what peers see. */
const record_key_t *context_node (const context_t *ctx);
/*  Monotonic nanoseconds; constant within a callback. */
int64_t context_now (const context_t *ctx);
/*  Milliseconds since 1970; for records and people, never for decisions. */
int64_t context_wall_ms (const context_t *ctx);
uint64_t context_random (context_t *ctx);

/*  ---- messages ---------------------------------------------------------- */

/*  Never blocks, never fails for the caller: what can't be delivered is a dead
    letter (counted, by reason), and fails the request that waits for it. */
void context_send (context_t *ctx, const address_t *to, const record_t *kind, const void *body);
/*  With bulk bytes; takes over *payload_p. */
void context_send_payload (context_t *ctx, const address_t *to, const record_t *kind,
                           const void *body, payload_t **payload_p);
/*  Asks. The answer arrives in receive with MESSAGE_REPLY and the returned
    correlation; if none comes in time it is a failure record (NEXUS_DEADLINE),
    and whatever arrives later is a dead letter. */
uint64_t context_request (context_t *ctx, const address_t *to, const record_t *kind,
                          const void *body, int64_t timeout_ms);
/*  Answers a request; does nothing if it was not one. The request need not be
    the current message: hold it with message_retain. */
void context_reply (context_t *ctx, const message_t *request, const record_t *kind,
                    const void *body);
void context_reply_payload (context_t *ctx, const message_t *request, const record_t *kind,
                            const void *body, payload_t **payload_p);
void context_reply_failure (context_t *ctx, const message_t *request, nexus_code_t code,
                            const char *format, ...) __attribute__ ((format (printf, 4, 5)));
/*  Passes a request on as it is, so that the next actor's reply reaches its
    first sender. */
void context_forward (context_t *ctx, const message_t *message, const address_t *to);

/*  What was sent so far in this turn is delivered now, not when the turn ends: for those
    who are about to wait for a disk. */
void context_flush (context_t *ctx);

/*  ---- timers ------------------------------------------------------------ */

/*  Calls timer (self, ctx, returned id, data) once, after at least delay_ns. */
uint64_t context_after (context_t *ctx, int64_t delay_ns, uint64_t data);
/*  After this the timer will not be called; unknown or expired ids are fine. */
void context_cancel (context_t *ctx, uint64_t timer);

#define MS_TO_NS(ms) ((int64_t)(ms)*1000000)
#define NS_TO_MS(ns) ((int64_t)(ns) / 1000000)

/*  ---- other actors ------------------------------------------------------ */

typedef enum {
    RESTART_PERMANENT, /* always restarted */
    RESTART_TRANSIENT, /* restarted if it failed */
    RESTART_TEMPORARY  /* never restarted */
} restart_t;

/*  How to start an actor. */
typedef struct {
    const behaviour_t *behaviour;
    const char *name;
    uint64_t instance;
    const void *args;         /* borrowed until the actor has ended */
    bool thread;              /* a zactor of its own; otherwise it shares its spawner's */
    restart_t restart;        /* for supervisors */
    int64_t shutdown_ms;      /* how long its stop may take; 0: 5,000 */
    size_t mailbox_count_max; /* data lane, messages; 0: 65,536 */
    size_t mailbox_bytes_max; /* data lane, bytes; 0: 256 MiB */
} child_t;

/*  Starts an actor and waits for its start to return; the caller watches it
    from then on. -1 with the reason if its start failed or the address is taken. */
int context_spawn (context_t *ctx, const child_t *child, nexus_error_t *error);
/*  Asks a child to stop; its down message follows. */
void context_stop_child (context_t *ctx, const address_t *child);
/*  A down record will come when that actor ends (at once if there is none). */
void context_watch (context_t *ctx, const address_t *actor);
/*  Ends this actor after the current callback: it is done / it failed. */
void context_stop (context_t *ctx);
void context_fail (context_t *ctx, const nexus_error_t *error);

/*  ---- log and metrics --------------------------------------------------- */

log_t *context_log (const context_t *ctx); /* use log_info (context_log (ctx), ...) */
metrics_t *context_metrics (const context_t *ctx);

/*  ---- edges only: descriptors and sockets ------------------------------- */

typedef void (poll_fn) (void *self, context_t *ctx, void *socket, int fd, short events);

/*  With the events of a libzmq socket: ready receives until the socket is empty, and whatever else
    the actor does with it (or leaves in it) it tells by context_used. Then the actor's turns cost
    no look at the socket, which takes system calls. */
#define POLL_DRAINS 0x4000

/*  Calls ready whenever the libzmq socket (or, if NULL, the descriptor) has one
    of the events (POLLIN, POLLOUT). Call again to change the events; 0 removes
    it. Asserts in the simulator. An edge must drain a ZeroMQ socket or keep its
    interest: readiness is level-triggered. */
void context_poll (context_t *ctx, void *socket, int fd, short events, poll_fn *ready);
/*  Something was sent on that socket (POLL_DRAINS), or left in it: libzmq may have taken notice of
    what came meanwhile, so that its descriptor doesn't tell any more. Harmless if it isn't
    watched. */
void context_used (context_t *ctx, void *socket);

typedef struct runtime runtime_t;
/*  The process's side of things (libzmq context, thread-safe send); NULL in the simulator. */
runtime_t *context_runtime (const context_t *ctx);

/*  ---- for shells -------------------------------------------------------- */

/*  What a shell implements; behaviours never see it. */
typedef struct {
    int64_t (*now) (const context_t *);
    int64_t (*wall_ms) (const context_t *);
    uint64_t (*random) (context_t *);
    /*  Takes over the message. */
    void (*send) (context_t *, message_t **message_p);
    uint64_t (*request) (context_t *, message_t **message_p, int64_t timeout_ms);
    uint64_t (*after) (context_t *, int64_t delay_ns, uint64_t data);
    void (*cancel) (context_t *, uint64_t timer);
    int (*spawn) (context_t *, const child_t *, nexus_error_t *);
    void (*stop_child) (context_t *, const address_t *);
    void (*watch) (context_t *, const address_t *);
    void (*end) (context_t *, const nexus_error_t *error); /* NULL: done */
    void (*poll) (context_t *, void *socket, int fd, short events, poll_fn *ready);
    void (*used) (context_t *, void *socket);
    void (*flush) (context_t *); /* or NULL */
} context_ops_t;

struct context {
    const context_ops_t *ops;
    address_t self; /* node zero */
    record_key_t node;
    log_t *log;
    metrics_t *metrics;
    runtime_t *runtime;
    uint64_t trace; /* of the message in hand */
};
