/*  nexus_client - a load on masters: a worker's identity, a CURVE link, one actor

    Proposes kv_put and asks kv_get, over the control link that any worker has, to the
    election and the ledger of the master that the load names. The link and the actor
    share a thread; libzmq's I/O thread is the other one.
*/
#pragma once

#include "actors/protocol/config.h"
#include "tests/bench/consensus/load.h"

/*  Runs a load to its end, in a process that has no other threads and ends after it. worker: who we
   are, and who the masters are; joins with its token the first time. -1 with a line on stderr. */
int nexus_client_run (const worker_config_t *worker, const load_config_t *config,
                      load_result_t *result);
