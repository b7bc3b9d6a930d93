/*  snapshot_store - copies of a ledger on the simulator's disk: stands in for snapshot_files

    A copy is all of a ledger's tables (in memory) as bytes, and durable some time
    after it was made or came: a crash before that loses it, and the one before it is there
    again. What was fetched of a copy survives a crash, but not always as it was.
*/
#pragma once

#include "actors/simulation/raft_log.h"
#include "actors/snapshots/snapshots.h"
#include "runtime/random.h"
#include "runtime/simulator.h"
#include "storage/tables.h"

enum { SIMULATED_COPIES = 4 };

typedef struct {
    snapshot_info_t info;
    uint8_t *bytes;
    int64_t durable_ns; /* in simulated time */
} simulated_copy_t;

/*  A node's copies; zeroed but for what is borrowed, they outlive the node's actors. */
typedef struct {
    simulated_log_t *log;
    tables_t **tables; /* the ledger's, wherever they are now */
    const simulator_t *sim;
    random_t random;
    double flush_ms;
    simulated_copy_t copies[SIMULATED_COPIES]; /* the newest first */
    simulated_copy_t part;                     /* that is being fetched */
    uint64_t have;
} simulated_store_t;

void simulated_store_init (simulated_store_t *self, simulated_log_t *log, tables_t **tables,
                           const simulator_t *sim, uint64_t seed, double flush_ms);
/*  All of it is gone. */
void simulated_store_clear (simulated_store_t *self);

/*  For the behaviour. */
snapshot_store_t simulated_store (simulated_store_t *self);
/*  The index that the newest durable copy covers; 0: there is none. */
uint64_t simulated_store_durable (const simulated_store_t *self);
/*  The node has crashed: what was not durable is lost. */
void simulated_store_crash (simulated_store_t *self);
/*  Before the actors start: as snapshot_files_recover does. The ledger has become its newest
    durable copy if that is needed, the log begins behind it if it ends before it. */
void simulated_store_recover (simulated_store_t *self);
/*  ledger_args_t.restore. */
int simulated_store_restore (void *self, nexus_error_t *error);
