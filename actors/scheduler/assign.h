/*  assign - what a worker shall run

    A pure function of the picture of the cluster and the time.
*/
#pragma once

#include "actors/scheduler/plan.h"

/*  Fills *out with all that the worker shall run, version 0, its memory in the arena.
    *ret_held_back is set if a back-off still holds something back. -1, and *out is not
    to be used, if the arena is too small. */
int assign_worker (const plan_cluster_t *cluster, const plan_worker_t *worker, int64_t now_ms,
                   arena_t *arena, assignment_t *out, bool *ret_held_back);
