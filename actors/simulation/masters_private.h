/*  masters_private - what the files of the masters' world share

    masters.c          the world: nodes, boots, the run, the end
    masters_checks.c   the invariants, after every step
    masters_faults.c   what goes wrong beyond the simulator's own faults
    masters_clients.c  who asks for something
    masters_rest.c     what has to happen once nothing fails any more
    masters_trace.c    a line for each step
*/
#pragma once

#include "actors/ledger/ledger.h"
#include "actors/node/node.h"
#include "actors/simulation/linearizability.h"
#include "actors/simulation/masters.h"
#include "actors/simulation/raft_log.h"
#include "actors/simulation/snapshot_store.h"
#include "runtime/random.h"

typedef struct masters masters_t;

/*  Timeouts as a master's configuration gives them. */
enum { MASTERS_ELECTION_MS = 300, MASTERS_ELECTION_MS_MIN = 150, MASTERS_ELECTION_MS_MAX = 10000 };

typedef enum {
    FAULT_TRANSFER,
    FAULT_FULL,
    FAULT_CHANGE,
    FAULT_ROT,
    FAULT_WIPE,
    FAULTS
} masters_fault_t;

/*  A master's machine: what outlives its actors, and what it has shown to others. */
typedef struct {
    void *self; /* args of its actors point here: a behaviour's are const */
    masters_t *world;
    unsigned number;
    char name[16];
    simulated_log_t log;
    simulated_store_t store; /* of the ledger's copies */
    tables_t *tables;        /* survive a crash, unless the boot finds that they don't */
    ledger_args_t ledger;
    election_args_t election;
    snapshots_args_t snapshots;
    child_t children[4];
    node_args_t node;
    bool founds;     /* it was there when the cluster began; others come later */
    bool present;    /* it has been switched on */
    uint64_t lost;   /* the last entry that it had when it lost its disk, */
    int64_t lost_ns; /* and when that was */
    bool wiped;      /* it has lost its disk: nobody may count on it any more */
    bool rots;       /* its disk alters what it holds; a minority's do */
    bool counts;     /* once nothing fails: it is up, and takes part */
    unsigned boots;
    int64_t cut_ns; /* when it is cut off from the fading leader; INT64_MAX: not planned */
    int64_t up_ns;  /* when it boots again, after a strike */

    /* Since the boot: */
    uint64_t commit;
    uint64_t durable;
    uint64_t led; /* the term that it led at the end of its last turn */
    uint64_t applied;
    uint64_t conf_index; /* of the configuration in force, as its last turn ended: */
    raft_conf_state_t conf;
    uint64_t shown; /* the newest index that a read showed */
} machine_t;

/*  What is known of an index of the log. */
typedef struct {
    uint64_t term;    /* of the committed entry; 0: none is known to be committed */
    uint64_t hash;    /* of its type and data */
    uint64_t decided; /* the term in which that was seen first */
    uint64_t ledger;  /* hash of the tables at this index; 0: not seen */
} truth_t;

/*  An entry that some log had: what it holds, and what stood before it. */
typedef struct {
    uint64_t index, term, previous_term, hash;
} seen_t;

enum { SPARES_MAX = 4, MACHINES_MAX = MASTERS_MAX + SPARES_MAX };
enum { MASTERS_KEYS_MAX = 6, MASTERS_CLIENT_NODES_MAX = 3 };

/*  A client, as its actor is given it. */
typedef struct {
    void *self;
    masters_t *world;
    unsigned number;
} asker_t;

/*  What a stale read has shown. */
typedef struct {
    unsigned key;
    uint64_t index, version;
    char value[32];
} stale_t;

struct masters {
    masters_options_t options;
    simulator_t *sim;
    random_t random;
    /* When copies of a ledger are made, how much of the log stays, how fast they travel. */
    uint64_t copy_entries, copy_window, copy_bytes_per_second;
    unsigned machine_count; /* the first options.masters of them found the cluster */
    record_key_t keys[MACHINES_MAX];
    master_t records[MACHINES_MAX];
    machine_t machines[MACHINES_MAX];
    uint64_t boots;
    int64_t faults[FAULTS];   /* when the next one comes; virtual ns */
    uint64_t operations;      /* of operators, asked for so far */
    bool calm;                /* nothing fails any more */
    int64_t settled_ns;       /* since then there has been a leader that all follow; 0: not yet */
    machine_t *struck;        /* a leader that is about to have bad luck */
    machine_t *fading;        /* one that loses its peers, one after the other */
    size_t message_bytes_max; /* of the elections */

    truth_t *truth; /* by index */
    size_t truth_room;
    uint64_t committed; /* the highest index that any master knew to be */
    seen_t *seen;       /* open addressing */
    size_t seen_count, seen_room;
    uint64_t *leaders; /* by term: election_id */
    size_t leaders_room;
    uint64_t terms;
    uint64_t rotten, restored; /* entries altered; ledgers that became a copy that was fetched */
    raft_conf_state_t conf;
    uint64_t conf_index, changes; /* the newest configuration, and how many there were */
    uint64_t campaigned;          /* the highest term that had a candidate */

    asker_t askers[MASTERS_ASKERS_MAX];
    unsigned asker_count, key_count;
    int64_t pause_ns; /* of a client between two things */
    history_t *history;
    stale_t *stale;
    size_t stale_count, stale_room;
    uint64_t started, done, refused, unknown;
    bool undecided; /* whether the history is linearizable */

    bool wrong; /* an invariant broke: */
    nexus_error_t error;
    char line[4096]; /* of the trace: this step */
    size_t line_size;
};

/*  Notes the first broken invariant. */
void masters_wrong (masters_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
/*  Who takes part, as the machine knows that has heard of the last change; NULL: nobody is up. */
const raft_conf_state_t *masters_conf (const masters_t *self);
bool masters_is_member (const raft_conf_state_t *conf, const record_key_t *key);
/*  A ledger with nothing in it. */
tables_t *masters_open_tables (void);
/*  What the simulator says of the step that broke something, but for the seed. -1. */
int masters_failed (const masters_t *self, nexus_error_t *error);
record_key_t masters_new_key (masters_t *self);
/*  NULL: it isn't a master's. */
machine_t *masters_machine (masters_t *self, const record_key_t *key);

/*  masters_checks.c */
/*  A message that an actor sends. */
void masters_check_sent (masters_t *self, machine_t *machine, const message_t *message);
/*  A turn of that actor is over. */
void masters_check_turn (masters_t *self, machine_t *machine, const char *actor);
/*  A machine boots. */
void masters_check_boot (masters_t *self, machine_t *machine);

/*  masters_faults.c */
void masters_faults_begin (masters_t *self);
/*  A leader was elected, or has committed something: the worst moment to get lost. */
void masters_faults_leader (masters_t *self, machine_t *machine);
/*  Somebody was struck: masters_faults_next has something to do. */
bool masters_faults_due (simulator_t *sim, void *context);
/*  Does what is due; returns virtual ns until the next one. */
int64_t masters_faults_next (masters_t *self);
/*  What lasts is over. */
void masters_faults_end (masters_t *self);

/*  masters_clients.c */
void masters_add_clients (masters_t *self);
void masters_note_stale (masters_t *self, unsigned key, const kv_got_t *got, const char *value);
/*  What all the clients saw; -1 if it can't have been one store. */
int masters_judge (masters_t *self, nexus_error_t *error);

/*  masters_rest.c */
/*  The faults end; -1 if the masters don't come to rest, or don't stay there. */
int masters_rest (masters_t *self, nexus_error_t *error);

/*  masters_trace.c */
void masters_trace_message (masters_t *self, const machine_t *machine, bool received,
                            const message_t *message);
void masters_trace_turn (masters_t *self, const machine_t *machine, const char *actor);
