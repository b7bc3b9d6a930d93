/*  host_private - what host.c (the loop and the zactor) and actor.c share */
#pragma once

#include "runtime/pending.h"
#include "runtime/random.h"
#include "runtime/runtime_private.h"
#include "runtime/timers.h"

#include <pthread.h>

enum { TIMER_USER, TIMER_DEADLINE, TIMER_SHUTDOWN };

typedef struct actor actor_t;
typedef struct kid kid_t;

/*  A child of an actor: in this host, or in one of its own. */
struct kid {
    kid_t *next; /* an older one */
    address_t address;
    actor_t *actor;
    host_t *host;
    zactor_t *zactor;
    int64_t shutdown_ms;
    uint64_t timer; /* of its shutdown */
};

struct actor {
    context_t context; /* first: a context is an actor */
    host_t *host;
    const behaviour_t *behaviour;
    mailbox_t *mailbox;
    actor_t *parent; /* in this host; NULL: the root */
    kid_t *kids;     /* newest first */
    timer_list_t timers;
    unsigned polls;
    unsigned depth;
    bool started;
    bool touched; /* had a callback since its last settle */
    bool ending;
    bool failed;
    char *reason;
    metric_t *waiting; /* the gauge of its mailbox */
    double reported;
    _Alignas(max_align_t) char state[];
};

typedef struct {
    void *socket; /* of libzmq, or NULL */
    int fd;
    short events; /* 0: removed */
    poll_fn *ready;
    actor_t *actor;
    bool stale; /* a libzmq socket that was used since it was last asked what it is ready for */
    bool found; /* asked, it has something */
} watch_t;

struct host {
    runtime_t *runtime;
    child_t child;
    address_t address; /* of the root */
    mailbox_t *parent; /* told when the root ends; or NULL */

    /* Shared between the host's thread and whoever started it. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned references;
    bool failed; /* the start */
    bool ended;
    nexus_error_t error;

    /* The thread's own. */
    zsock_t *pipe;
    inbox_t *inbox;
    mailbox_t *ready_first, *ready_last; /* their turn comes */
    actor_t *root;
    timers_t *timers;
    pending_t *pending;
    sender_t sender;
    random_t random;
    int64_t now; /* of the callback in hand; 0: not asked yet */
    watch_t *watches;
    size_t watch_count, watch_capacity;
    bool changed_watches;
    struct pollfd *fds; /* inbox, pipe, watches */
    size_t fd_capacity;
    int64_t polled; /* when ppoll last looked at them */
    char root_reason[500];
};

/*  ---- actor.c -------------------------------------------------------------- */

/*  Is the name one that an actor can have? */
int actor_check (const child_t *child, nexus_error_t *error);
/*  Makes and starts an actor. watcher (or NULL) will be told of its end. */
actor_t *actor_begin (host_t *self, const child_t *child, actor_t *parent, mailbox_t *watcher,
                      nexus_error_t *error);
/*  Ends the actor and its children, and frees it. */
void actor_end (actor_t *actor);
/*  A down message has come: a child with a thread of its own is cleared away. */
void actor_reap (actor_t *actor, const down_t *down);
/*  Gives up on a child's thread. */
void actor_abandon (actor_t *actor, kid_t *kid);
/*  Brings the gauge of waiting messages up to date. */
void actor_report_depth (actor_t *actor, double depth);

/*  ---- host.c --------------------------------------------------------------- */

/*  The time of the callback in hand. */
int64_t host_now (host_t *self);
/*  Before each callback: a fresh clock, the message's trace. */
void host_enter (actor_t *actor, uint64_t trace);
/*  Gives the actor a turn, if it has none coming. */
void host_touch (actor_t *actor);
/*  See context_poll. */
void host_watch (actor_t *actor, void *socket, int fd, short events, poll_fn *ready);
void host_unwatch (actor_t *actor);
/*  See context_used. */
void host_used (actor_t *actor, void *socket);
/*  Starts a zactor for the child; parent (or NULL) will be told of its end, and
    gets a reference on the host in *ret_host. */
zactor_t *host_start (runtime_t *runtime, const child_t *child, mailbox_t *parent,
                      host_t **ret_host, nexus_error_t *error);
/*  Waits until the host's thread has nothing more to do. */
bool host_wait (host_t *self, int64_t timeout_ms);
void host_release (host_t *self);
