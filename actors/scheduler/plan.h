/*  plan - where the waiting ranks and aggregators of a job go

    A pure function of a picture of the cluster. A gang is placed whole or not
    at all; ranks and aggregators that lost their worker are placed anew around
    those that run on. Applying a plan checks it again (ledger), so a stale one
    is refused and never oversubscribes a worker.
*/
#pragma once

#include "actors/protocol/ledger.h"

/*  A worker and what is free on it. */
typedef struct {
    worker_t worker;
    resources_t free;
} plan_worker_t;

/*  The picture that plans are made on; in one arena. */
typedef struct {
    plan_worker_t *workers;
    size_t worker_count;
} plan_cluster_t;

/*  A job, its ranks and its aggregators. */
typedef struct {
    job_t job;
    task_t *tasks;
    size_t task_count;
    shard_t *shards;
    size_t shard_count;
} plan_job_t;

/*  Takes the picture. jobs come ordered by priority (highest first), then by
    age. -1 if the ledger is not readable. */
int plan_read (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster, plan_job_t **ret_jobs,
               size_t *ret_count, nexus_error_t *error);

/*  True if the job has ranks or aggregators that wait for a place. */
bool plan_waits (const plan_job_t *job);

/*  Places all that waits: fills *plan (memory in the arena, time_ms left to the
    caller), takes what it uses off cluster, and returns true; or returns false with why it
    must wait: a stable word and a text with figures. */
bool plan_place (plan_cluster_t *cluster, const plan_job_t *job, arena_t *arena, place_job_t *plan,
                 const char **ret_reason, const char **ret_message);
