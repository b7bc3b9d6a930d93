/*  simulator_private - what the simulator's files share

    simulator.c          building, running, the trace
    simulator_actor.c    actors: their contexts, mailboxes and turns
    simulator_network.c  messages between nodes
    simulator_faults.c   crashes, pauses, partitions, clocks: by hand and seeded
    simulator_profile.c  how bad it gets
*/
#pragma once

#include "runtime/dead.h"
#include "runtime/simulator.h"
#include "runtime/pending.h"
#include "runtime/random.h"
#include "runtime/timers.h"

enum { TURN_MAX = 1024, ACTOR_BUCKETS = 1024, CONTROL_COUNT_MAX = 1 << 20, DEPTH_MAX = 64 };

typedef struct sim_actor sim_actor_t;

/*  Who wants to know of an actor's end, on the same node. The serial tells an
    actor from the next one of that name. */
typedef struct {
    address_t address;
    uint64_t serial;
} sim_watcher_t;

typedef struct {
    message_t *first, **last;
    size_t count, bytes;
} sim_lane_t;

/*  What the clock brings: tags of timers (timers.h). An actor owns its own
    timers; all others are the simulator's. */
typedef enum {
    EVENT_TIMER,    /* of an actor */
    EVENT_DEADLINE, /* of a request; data is its correlation */
    EVENT_ARRIVAL,  /* data points to a sim_arrival_t */
    EVENT_BOOT,     /* data is the node */
    EVENT_RESUME,   /* data is the node */
    EVENT_HEAL,     /* data is the partition's number */
    EVENT_FAULT     /* the next fault; data is its sort */
} sim_event_t;

/*  A message under way between two nodes. */
typedef struct {
    unsigned from, to;
    message_t *message;
} sim_arrival_t;

/*  A timer or deadline that has expired, and waits for its actor's turn. */
typedef struct {
    uint64_t id, data;
    bool deadline;
} sim_due_t;

struct sim_actor {
    context_t context; /* first: a context_t is its actor */
    simulator_t *sim;
    unsigned node;
    uint64_t serial;
    unsigned depth;
    child_t child;
    void *state;
    random_t random;
    sim_actor_t *parent, *first_child, *last_child, *next, *previous; /* siblings, by age */
    sim_actor_t *bucket_next;
    sim_lane_t control, data;
    timer_list_t timers; /* and deadlines, to come */
    sim_due_t *due;
    size_t due_count, due_capacity;
    sim_watcher_t *watchers;
    size_t watcher_count, watcher_capacity;
    bool started;
    bool ready;      /* its turn is to come, or is now */
    bool stop_asked; /* by its parent */
    bool end_asked;  /* by itself: done, or failed with error */
    bool ending, failed;
    bool mute; /* crashed: what it still does has no effect */
    nexus_error_t error;
};

typedef struct {
    char name[32];
    simulator_t *sim;
    record_key_t key;
    role_t role;
    simulator_boot_fn *boot;
    void *boot_context;
    bool up, paused;
    bool held; /* down until simulator_restart */
    unsigned boots;
    int64_t clock_ns; /* this node's monotonic clock is ahead by this */
    double drift;     /* and gains this much in each unit of time */
    int64_t skew_ms;  /* and its wall clock by this */
    sim_actor_t *first_root, *last_root;
    sim_disk_t *disk;
    metrics_t *metrics;
    log_t *log;
} sim_node_t;

typedef struct {
    double delay_ms;
    int64_t clogged_until;
    int64_t last_arrival;
    unsigned in_flight;
    unsigned cuts; /* partitions that cut it */
    bool known;    /* delay_ms is drawn */
} sim_link_t;

/*  A seeded partition, until it heals. */
typedef struct {
    uint64_t id, from, to;
    bool one_way;
} sim_partition_t;

enum { PARTITIONS_MAX = 16 };

struct simulator {
    uint64_t seed;
    double settings[SIMULATOR_SETTING_COUNT];
    int64_t now;
    uint64_t steps, digest, serial;
    random_t network, faults, schedule;
    timers_t *timers;
    timer_list_t events; /* the simulator's own */
    pending_t *pending;
    sim_node_t nodes[SIMULATOR_NODES_MAX];
    unsigned node_count;
    sim_link_t *links; /* [from * SIMULATOR_NODES_MAX + to] */
    sim_actor_t *buckets[ACTOR_BUCKETS];
    sim_actor_t **ready; /* a ring */
    size_t ready_first, ready_count, ready_capacity;
    sim_actor_t *running; /* whose callback this is */
    sim_partition_t partitions[PARTITIONS_MAX];
    unsigned partition_count;
    uint64_t partition_id;
    bool calm, faults_planned;
    uint64_t dead[DEAD_REASONS];
    const simulator_outside_t *outside;
    void *outside_context;
    simulator_observer_fn *observer;
    void *observer_context;
    simulator_watcher_fn *watcher;
    void *watcher_context;
    unsigned last_node;
    address_t last_actor;
    FILE *trace;
    bool failed;
    nexus_error_t error;
    buffer_t scratch, text;
};

/*  ---- simulator.c ------------------------------------------------------- */

void *sim_checked (void *memory);
void sim_fail (simulator_t *self, const nexus_error_t *error);
/*  Mixes a value into the digest. */
static inline void sim_digest (simulator_t *self, uint64_t value)
{
    uint64_t z = (self->digest ^ value) * UINT64_C (0x9e3779b97f4a7c15);
    self->digest = z ^ z >> 29;
}
/*  A line of the trace: what happened on that node to that actor (may be NULL). */
void sim_trace (simulator_t *self, unsigned node, const address_t *actor, const char *event,
                const char *format, ...) __attribute__ ((format (printf, 5, 6)));
void sim_trace_message (simulator_t *self, unsigned node, const char *event,
                        const message_t *message, const char *note);
static inline sim_link_t *sim_link (simulator_t *self, unsigned from, unsigned to)
{
    return &self->links[from * SIMULATOR_NODES_MAX + to];
}
/*  A node's number, or -1. */
int sim_find_node (const simulator_t *self, const record_key_t *key);
void sim_boot (simulator_t *self, unsigned node);
/*  Schedules an event of the simulator's own. */
void sim_schedule (simulator_t *self, int64_t delay_ns, sim_event_t event, uint64_t data);
/*  A node's monotonic clock, and how long the simulation waits until it has moved on by delay_ns. */
static inline int64_t sim_node_now (const simulator_t *self, unsigned node)
{
    const sim_node_t *home = &self->nodes[node];
    return self->now + home->clock_ns + (int64_t)((double)self->now * home->drift);
}
static inline int64_t sim_node_delay (const simulator_t *self, unsigned node, int64_t delay_ns)
{
    double drift = self->nodes[node].drift;
    return drift == 0 ? delay_ns : (int64_t)((double)delay_ns / (1 + drift)) + 1;
}
/*  A chance from 0 to 1. */
static inline bool sim_chance (random_t *random, double chance)
{
    return chance > 0 && random_real (random) < chance;
}
static inline int64_t sim_ms (double ms)
{
    return (int64_t)(ms * 1e6);
}

/*  ---- simulator_actor.c ------------------------------------------------- */

sim_actor_t *sim_actor_find (const simulator_t *self, unsigned node, const char *name,
                             uint64_t instance);
int sim_actor_spawn (simulator_t *self, unsigned node, sim_actor_t *parent, const child_t *child,
                     nexus_error_t *error);
void sim_actor_turn (sim_actor_t *actor);
/*  Has something to do. */
void sim_actor_wake (sim_actor_t *actor);
/*  Ends all of a node's actors; mute: as a crash does. */
void sim_actors_end (simulator_t *self, unsigned node, bool mute);
/*  A paused node's actors don't get turns. */
void sim_actors_pause (simulator_t *self, unsigned node);
void sim_actors_resume (simulator_t *self, unsigned node);
/*  A timer or a deadline is due. */
void sim_actor_expire (simulator_t *self, const timer_entry_t *entry);
/*  Puts a message into a local actor's mailbox, or makes it a dead letter. */
void sim_deliver (simulator_t *self, unsigned node, message_t **message_p);
/*  Counts it; a request's sender gets a failure. */
void sim_dead_letter (simulator_t *self, unsigned node, message_t **message_p,
                      dead_reason_t reason);

/*  ---- simulator_network.c ----------------------------------------------- */

void sim_network_send (simulator_t *self, unsigned from, message_t **message_p);
/*  Takes over the arrival. */
void sim_network_arrive (simulator_t *self, sim_arrival_t *arrival);
/*  ---- simulator_faults.c ------------------------------------------------ */

void sim_faults_plan (simulator_t *self);
void sim_faults_event (simulator_t *self, const timer_entry_t *event);
/*  A root actor has failed: the process ends and is started again. */
void sim_node_exit (simulator_t *self, unsigned node);
