/*  plan - where the waiting ranks and aggregators of a job go

    A pure function of a picture of the cluster. A gang is placed whole or not
    at all; ranks and aggregators that lost their worker are placed anew around
    those that run on. Applying a plan checks it again (ledger), so a stale one
    is refused and never oversubscribes a worker.
*/
#pragma once

#include "actors/protocol/ledger.h"

/*  A worker, what is free on it, and which jobs it works for. */
typedef struct {
    worker_t worker;
    resources_t free;
    size_t site;  /* workers of one site have equal numbers */
    size_t *jobs; /* indexes, each once */
    size_t job_count, job_room;
} plan_worker_t;

/*  A job that has not ended, its ranks and its aggregators. */
typedef struct {
    job_t job;
    task_t *tasks;
    size_t task_count;
    shard_t *shards;
    size_t shard_count;
} plan_job_t;

/*  The picture that plans are made on; in one arena. */
typedef struct {
    plan_worker_t *workers; /* by key */
    size_t worker_count;
    plan_job_t *jobs; /* highest priority first, then by age */
    size_t job_count;
} plan_cluster_t;

/*  Takes the picture. -1 if the ledger is not readable, or the arena too small. */
int plan_read (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster, nexus_error_t *error);

/*  NULL if there is no such worker. */
plan_worker_t *plan_worker (const plan_cluster_t *cluster, const record_key_t *key);
const plan_job_t *plan_job (const plan_cluster_t *cluster, const char *id);

/*  It is placed and has not ended: it claims room. */
bool plan_holds (const task_t *task);
/*  True if the job has ranks or aggregators that wait for a place. */
bool plan_waits (const plan_job_t *job);

/*  Places all that waits: fills *plan (memory in the arena, time_ms left to the
    caller), takes what it uses off cluster, and returns true; or returns false
    with why it must wait: a stable word and a text with figures. */
bool plan_place (plan_cluster_t *cluster, const plan_job_t *job, arena_t *arena, place_job_t *plan,
                 const char **ret_reason, const char **ret_message);
