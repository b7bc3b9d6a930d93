/*  raft_log - the Raft log on the simulator's disk: stands in for storage/raft_log_actor

    Takes log_append and answers with log_durable when the disk's flush is over.
    What a crash loses was never answered for.
*/
#pragma once

#include "actors/election/election.h"
#include "runtime/simulator_disk.h"

/*  The log on that disk, as the election reads it. */
election_log_t simulated_log (sim_disk_t *disk);

/*  "log"; args point to the sim_disk_t * (which is not const, as args are). */
extern const behaviour_t simulated_log_behaviour;
