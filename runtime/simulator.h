/*  simulator - the second shell: a whole cluster in one thread over virtual time

    Runs the same behaviours as the host (host.h), unmodified: nodes, their
    actors and supervision trees, over a seeded network that delays, loses,
    duplicates, reorders, clogs and partitions; seeded crashes, pauses and
    clocks; and seeded disks (simulator_disk.h). One seed is one history: equal
    seeds, profiles and calls give byte-identical traces.

    What is as in production: a turn hands over every message and timer that is
    waiting (at most 1,024), then calls settle; local messages arrive in order
    and never within the sender's callback; messages between nodes pass through
    their wire form, so nothing is shared; from.node and role are what the link
    knows, not what the bytes say; requests fail at their deadline and late
    replies are dead letters; children, watches and downs.

    What is not: callbacks take no virtual time, threads don't exist (child_t's
    thread is ignored), and context_poll asserts: an edge is replaced by a
    behaviour that stands in for it.

        simulator_t *sim = simulator_new (seed, simulator_profile ("swarm"));
        for (unsigned i = 0; i < 3; i++)
            simulator_add_node (sim, &nodes[i]);
        simulator_observe (sim, check_invariants, &cluster);
        if (simulator_run (sim, MS_TO_NS (60000), 0, NULL, NULL) == SIMULATOR_FAILED)
            fail_msg ("%s", simulator_error (sim));
        simulator_calm (sim, 0);
        if (simulator_run (sim, MS_TO_NS (60000), 0, has_leader, &cluster) != SIMULATOR_REACHED)
            fail_msg ("seed %llu: no leader after healing", seed);
        simulator_destroy (&sim);

    Crash semantics: an actor's stop is called so that it frees its memory, but
    all that it does through its context then has no effect.

    Not thread-safe; several simulators may live in one process.
*/
#pragma once

#include "runtime/behaviour.h"
#include "runtime/simulator_disk.h"

#include <stdio.h>

typedef struct simulator simulator_t;

enum { SIMULATOR_NODES_MAX = 64 };

/*  ---- profiles ---------------------------------------------------------- */

/*  What is drawn from the seed, once a simulation. Intervals are means of
    exponential distributions; an interval of 0 means never. */
/* clang-format off */
#define SIMULATOR_SETTINGS(S)                                                                      \
    S (LOSS,               "loss",               "share of messages between nodes that are lost")  \
    S (DUPLICATION,        "duplication",        "share that arrives twice")                       \
    S (REORDER,            "reorder",            "share that may overtake earlier ones")           \
    S (DELAY_MS,           "delay_ms",           "one way; drawn for each link")                   \
    S (JITTER_MS,          "jitter_ms",          "added to a message's delay, from 0 to this")     \
    S (QUEUE,              "queue",              "messages in flight on a link; more are lost")    \
    S (CLOG_INTERVAL_MS,   "clog_interval_ms",   "between clogs of a link, in the whole cluster")  \
    S (CLOG_MS,            "clog_ms",            "how long a clogged link delivers nothing")       \
    S (PARTITION_INTERVAL_MS, "partition_interval_ms", "between partitions")                       \
    S (PARTITION_MS,       "partition_ms",       "how long a partition lasts")                     \
    S (CRASH_INTERVAL_MS,  "crash_interval_ms",  "between crashes, of one node or of half of them") \
    S (RESTART_MS,         "restart_ms",         "from a crash, or a root actor's failure, to the next boot; of a quarter 1 to 50") \
    S (DOWN,               "down",               "share of the nodes that may be down at once; one always may") \
    S (PAUSE_INTERVAL_MS,  "pause_interval_ms",  "between pauses of a node (a stopped process, a sleeping laptop)") \
    S (PAUSE_MS,           "pause_ms",           "how long a pause lasts")                         \
    S (SKEW_MS,            "skew_ms",            "a node's wall clock is off by up to this")       \
    S (JUMP_INTERVAL_MS,   "jump_interval_ms",   "between jumps of a wall clock")                  \
    S (JUMP_MS,            "jump_ms",            "a jump is up to this, either way")               \
    S (FLUSH_MS,           "flush_ms",           "a disk's flush takes this; drawn for each flush") \
    S (STALL,              "stall",              "share of flushes that take a hundred times as long") \
    S (UNSYNCED_LOST,      "unsynced_lost",      "share of unsynced commits that a crash loses (with all later ones)") \
    S (TEAR,               "tear",               "share of crashes that tear the first lost commit's last write") \
    S (SHUFFLE,            "shuffle",            "share of turns that go to a random actor of those that wait") \
    S (WRITE_FAULT,        "write_fault",        "share of commits to a disk that fail")              \
    S (CLOCK_RATE,         "clock_rate",         "a node's clocks run fast or slow by up to this share") \
    S (ROT_INTERVAL_MS,    "rot_interval_ms",    "between flipped bits on a disk; for worlds that say where") \
    S (WIPE_INTERVAL_MS,   "wipe_interval_ms",   "between disks that are lost for good; likewise")    \
    S (CHANGE_INTERVAL_MS, "change_interval_ms", "between changes of who takes part; likewise")       \
    S (TRANSFER_INTERVAL_MS, "transfer_interval_ms", "between transfers of leadership; likewise")     \
    S (FULL_INTERVAL_MS,   "full_interval_ms",   "between disks that are nearly full for a while; likewise") \
    S (STRIKE,             "strike",             "share of a leader's elections and commits that are followed by its crash or isolation")
/* clang-format on */

#define SIMULATOR_SETTING_ID(id, name, doc) SIMULATOR_##id,
typedef enum {
    SIMULATOR_SETTINGS (SIMULATOR_SETTING_ID) SIMULATOR_SETTING_COUNT
} simulator_setting_t;

typedef struct {
    const char *name;
    struct {
        double min, max;
        double off; /* the chance that a simulation has none of it (0) */
    } settings[SIMULATOR_SETTING_COUNT];
} simulator_profile_t;

/*  "calm" (nothing fails, 1 ms), "lan" (0.1 to 1 ms, rare crashes), "wan" (30 to
    100 ms, clogs, partitions, crashes), "swarm" (everything, from none to a
    lot). NULL if there is no such profile. */
const simulator_profile_t *simulator_profile (const char *name);

/*  ---- setting up -------------------------------------------------------- */

simulator_t *simulator_new (uint64_t seed, const simulator_profile_t *profile);
/*  Stops all actors (as a crash does) and frees everything. */
void simulator_destroy (simulator_t **self_p);

/*  The value drawn for this simulation; and to set one (affects what follows). */
double simulator_setting (const simulator_t *self, simulator_setting_t setting);
void simulator_set (simulator_t *self, simulator_setting_t setting, double value);

/*  Starts a node's actors, with simulator_spawn; at the first run and after each
    crash. -1 fails the simulation. */
typedef int (simulator_boot_fn) (simulator_t *sim, unsigned node, void *context,
                                 nexus_error_t *error);

typedef struct {
    const char *name; /* for traces; copied */
    record_key_t key;
    role_t role;             /* as others' links authenticate it */
    simulator_boot_fn *boot; /* NULL: no actors but those spawned by hand; a crash is for good */
    void *context;
} simulator_node_t;

/*  Returns the node's number: 0, 1, 2 ... At most SIMULATOR_NODES_MAX. */
unsigned simulator_add_node (simulator_t *self, const simulator_node_t *node);

/*  Starts a root actor. child->args are borrowed until it has ended. If a root
    actor fails, its node goes down (as a process does) and boots again later. */
int simulator_spawn (simulator_t *self, unsigned node, const child_t *child, nexus_error_t *error);
/*  Asks an actor to stop, as its parent would; nothing if it does not run. */
void simulator_stop (simulator_t *self, unsigned node, const char *actor, uint64_t instance);

/*  ---- faults by hand ---------------------------------------------------- */

/*  Sets of nodes are bit masks. */
#define SIMULATOR_NODE(node) (UINT64_C (1) << (node))
#define SIMULATOR_ALL        UINT64_MAX

/*  All of a node's actors, mailboxes, timers and unsynced writes are gone; it
    stays down until simulator_restart. Does nothing to a node that is down. */
void simulator_crash (simulator_t *self, unsigned node);
void simulator_restart (simulator_t *self, unsigned node);
bool simulator_is_up (const simulator_t *self, unsigned node);
/*  A paused node does nothing; what arrives waits in its mailboxes. */
void simulator_pause (simulator_t *self, unsigned node);
void simulator_resume (simulator_t *self, unsigned node);
/*  Cuts the links from every node of one set to every node of the other, or
    only in that direction. Cuts add up until simulator_heal. */
void simulator_partition (simulator_t *self, uint64_t from, uint64_t to, bool one_way);
void simulator_heal (simulator_t *self);
/*  When the last message that is under way arrives: links keep their order, so one that was
    clogged before it was healed holds up what comes behind. */
int64_t simulator_backlog_end (const simulator_t *self);
/*  A link delivers nothing until then; what was sent meanwhile arrives after it. */
void simulator_clog (simulator_t *self, unsigned from, unsigned to, int64_t duration_ns);
void simulator_jump_clock (simulator_t *self, unsigned node, int64_t by_ms);

/*  The liveness phase: no faults from now on. Heals, resumes, restarts what is
    down; the network only delays. Nodes named in leave_down stay down. */
void simulator_calm (simulator_t *self, uint64_t leave_down);

/*  ---- running ----------------------------------------------------------- */

typedef enum {
    SIMULATOR_REACHED, /* the predicate holds */
    SIMULATOR_TIME,    /* the time is over */
    SIMULATOR_STEPS,   /* the steps are over */
    SIMULATOR_IDLE,    /* nothing is left to happen; virtual time is at the end of the run */
    SIMULATOR_FAILED   /* an observer, a boot or the codec: see simulator_error */
} simulator_result_t;

typedef bool (simulator_predicate_fn) (simulator_t *sim, void *context);
/*  Returns -1 and an error if an invariant is broken. */
typedef int (simulator_observer_fn) (simulator_t *sim, void *context, nexus_error_t *error);

/*  Runs for duration_ns of virtual time, at most steps turns (0: no limit), or
    until the predicate (may be NULL) holds; it is asked first and after every turn. */
simulator_result_t simulator_run (simulator_t *self, int64_t duration_ns, uint64_t steps,
                                  simulator_predicate_fn *until, void *context);
/*  Called after every turn. One at a time. */
void simulator_observe (simulator_t *self, simulator_observer_fn *observer, void *context);
/*  Whose turn the last one was. */
unsigned simulator_last_node (const simulator_t *self);
const address_t *simulator_last_actor (const simulator_t *self);
/*  Called with each message when an actor sends it (received is false) and when an
    actor gets it. One at a time. What breaks an invariant is to be told by the observer. */
typedef void (simulator_watcher_fn) (simulator_t *sim, void *context, unsigned node, bool received,
                                     const message_t *message);
void simulator_watch (simulator_t *self, simulator_watcher_fn *watcher, void *context);
/*  "seed 7, step 1234, 12.345678 s: two leaders in term 4: m1, m3" */
const char *simulator_error (const simulator_t *self);

/*  Nanoseconds since the simulation began, whatever the nodes' clocks say. */
int64_t simulator_now (const simulator_t *self);
uint64_t simulator_steps (const simulator_t *self);
uint64_t simulator_seed (const simulator_t *self);
/*  A hash over all that has happened: equal histories, equal digests. */
uint64_t simulator_digest (const simulator_t *self);

/*  A line for each event from now on; NULL ends it. Borrowed. */
void simulator_trace (simulator_t *self, FILE *file);
/*  A line of the test's own in the trace. */
void simulator_note (simulator_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/*  ---- looking in -------------------------------------------------------- */

/*  A behaviour's state; NULL if that actor does not run. */
void *simulator_state (const simulator_t *self, unsigned node, const char *actor,
                       uint64_t instance);
/*  Its context, for tests that call a behaviour's functions. */
context_t *simulator_context (const simulator_t *self, unsigned node, const char *actor,
                              uint64_t instance);
/*  A node's disk; it outlives crashes. */
sim_disk_t *simulator_disk (simulator_t *self, unsigned node);
metrics_t *simulator_metrics (const simulator_t *self, unsigned node);
const record_key_t *simulator_key (const simulator_t *self, unsigned node);
const char *simulator_name (const simulator_t *self, unsigned node);
/*  Dead letters of that reason ("no_actor", "overflow", "late", "link_full" ...);
    NULL: all. */
uint64_t simulator_dead_letters (const simulator_t *self, const char *reason);

/*  ---- the outside ------------------------------------------------------- */

/*  A message from outside the simulation (a client, a test) for a node's actor:
    waits in its mailbox from now on. A from.node of zero speaks as ROLE_LOCAL.
    Takes over the message, whose to, from, flags and correlation the caller has set. */
void simulator_inject (simulator_t *self, unsigned node, role_t role, message_t **message_p);

/*  What has no one to take it within the simulation. Any may be NULL. */
typedef struct {
    /*  A message for an actor or a node that does not exist. True: taken note
        of, not a dead letter. Borrowed; message_retain to keep it. */
    bool (*message) (void *context, unsigned node, message_t *message);
    /*  Instead of starting the child. */
    int (*spawn) (void *context, unsigned node, const child_t *child, nexus_error_t *error);
    /*  A child or a watched actor that does not exist. True: taken note of. */
    bool (*stop_child) (void *context, unsigned node, const address_t *child);
    bool (*watch) (void *context, unsigned node, const address_t *actor);
    /*  The root actor has ended by itself; error is NULL if it was done. */
    void (*end) (void *context, unsigned node, const address_t *actor, const nexus_error_t *error);
} simulator_outside_t;

/*  outside is borrowed. */
void simulator_set_outside (simulator_t *self, const simulator_outside_t *outside, void *context);
