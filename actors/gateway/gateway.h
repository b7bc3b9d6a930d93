/*  gateway - the management API's behaviour

    Takes http_request messages (from the HTTPS edge, http.h, or from anyone in
    the process) and answers each with a http_response. Reads come from a
    snapshot of this master's ledger, once a read barrier has confirmed that it is up to date
    (one barrier for all reads of a turn); writes are proposed to "election", which
    any master's does; what is in no ledger (who is alive, bytes moved) comes
    from "scheduler"; a rank's output comes from "logs" on its worker.

    Actor name: "gateway", one on each master.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/behaviour.h"
#include "storage/tables.h"

typedef struct {
    tables_t *tables;        /* the ledger's; read only */
    const char *name;        /* of this master */
    const master_t *masters; /* as configured: until the ledger knows them */
    size_t master_count;
} gateway_args_t;

extern const behaviour_t gateway_behaviour;
