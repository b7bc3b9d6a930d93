/*  scheduler - the actor that decides who runs what

    On the leader: places waiting jobs (plan.h), records what workers report,
    and keeps every worker's assignment (all that it shall run) up to date.
    It is level-triggered: what a worker should do follows from the ledger
    alone, so a new leader takes over by reading it, and a lost message is
    repaired by the next report. On the other masters it only listens.

    Sends: propose to "election"; assignment, metrics_stored to workers' "agent".
    Takes: leadership, ledger_changed, worker_report, cluster_view_get.
*/
#pragma once

#include "actors/protocol/ledger.h"
#include "runtime/behaviour.h"

typedef struct {
    tables_t *tables; /* borrowed; read only */
} scheduler_args_t;

extern const behaviour_t scheduler_behaviour; /* "scheduler" */
