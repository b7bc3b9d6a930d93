/*  agent - the actor that speaks for a worker

    Tells every master that the worker is alive and what it runs; hands the
    leader's assignment on to the executor (tasks) and the aggregator (shards);
    tells the worker's tasks what their groups look like, and passes on what they
    report. All masters hear everything, so that a new leader knows at once.

    Sends: heartbeat to masters' "registry", worker_report to their "scheduler";
           task_orders to "executor", shard_orders to "aggregator"; group_view,
           task_stop to tasks' "contributor"; master_list to "masters_file"; link_dial,
           link_hangup to "link".
    Takes: assignment, metrics_stored, master_list; task_states, shard_states; task_join,
           task_metrics.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/behaviour.h"

/*  All borrowed. */
typedef struct {
    heartbeat_t self;        /* what this worker offers; session is set by the agent */
    const master_t *masters; /* as known at the start; they tell of others */
    size_t master_count;
    uint64_t masters_index; /* of the configuration that the list is from; 0: of no one's */
    int64_t heartbeat_ms;
    double (*load) (void); /* the machine's load average, or NULL */
} agent_args_t;

extern const behaviour_t agent_behaviour; /* "agent" */
