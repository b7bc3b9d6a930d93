/*  raft_log - the Raft log on the simulator's disk: stands in for storage/raft_log_actor

    Takes log_append and log_compact and answers as the real one does, when the
    disk's flush is over. What a crash loses was never answered for. Like LMDB, a
    commit is there as a whole or not at all; every record carries a checksum and
    is checked by the start and whenever it is read.

    A write that fails ends the actor, and thereby the node.
*/
#pragma once

#include "actors/election/election.h"
#include "runtime/simulator_disk.h"

/*  What stands on disk beside the entries. */
typedef struct {
    uint64_t number; /* of the commit */
    uint64_t incarnation;
    uint64_t first, last;   /* entries that are there; first - 1: none */
    uint64_t previous_term; /* of entry first - 1 */
    uint64_t term, vote, commit;
    uint64_t crc; /* of what stands above */
} simulated_log_state_t;

/*  A node's log: zeroed but for the disk, it outlives the node's actors. */
typedef struct simulated_log simulated_log_t;
struct simulated_log {
    simulated_log_t *self; /* args of the actor point here, as args are const */
    sim_disk_t *disk;
    uint64_t incarnation;          /* drawn when the disk was new; there before anything else is */
    bool full;                     /* 80 % in use: for the world to set */
    simulated_log_state_t state;   /* with all that was written */
    simulated_log_state_t durable; /* with all that was answered for: what readers see */
    uint64_t damaged;              /* the lowest entry that can't be read; 0: none */
};

void simulated_log_init (simulated_log_t *self, sim_disk_t *disk, uint64_t incarnation);
/*  The disk is replaced by an empty one. Of a node that is down. */
void simulated_log_wipe (simulated_log_t *self, uint64_t incarnation);

/*  The log as the election reads it. */
election_log_t simulated_log (simulated_log_t *self);

/*  An entry as a crash at this moment would leave it. False if it is not there or can't be read. */
bool simulated_log_durable (simulated_log_t *self, uint64_t index, uint64_t *ret_term);
/*  The state likewise. */
simulated_log_state_t simulated_log_durable_state (simulated_log_t *self);
/*  While the actor does not run: the log begins anew behind a durable copy of the ledger, unless it
    has the copy's last entry. */
void simulated_log_begin_behind (simulated_log_t *self, uint64_t index, uint64_t term);
/*  Flips a bit of that entry. False if it is not there. */
bool simulated_log_rot (simulated_log_t *self, uint64_t index);

/*  "log"; args point to the field self of a simulated_log_t. */
extern const behaviour_t simulated_log_behaviour;
