/*  ledger - the actor that owns the cluster's state on a master

    Takes committed entries from the election (apply), applies them to the
    tables in one transaction a turn, answers with the results, and tells its
    subscribers what changed. An apply without entries asks how far it is. On the
    election's word (ledger_restore) it becomes the durable copy.

    Answers kv_get, also of other masters and of workers: the reads of a turn wait
    together for one read_barrier of the election (reads.h). */
#pragma once

#include "actors/protocol/ledger.h"
#include "runtime/behaviour.h"

typedef struct {
    tables_t *tables; /* borrowed; written by this actor alone */
    /*  Makes the tables what the durable copy holds; NULL: there are no copies. */
    int (*restore) (void *context, nexus_error_t *error);
    void *restore_context;
} ledger_args_t;

extern const behaviour_t ledger_behaviour; /* "ledger" */
