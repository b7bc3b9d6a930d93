/*  command - the tables of the ledger's commands */
#include "actors/protocol/command.h"

/* clang-format off */
#define RECORD_SELF submit_job_t
RECORD_DEFINE (submit_job, 200, 0, "Submit a job.", SUBMIT_JOB)
#undef RECORD_SELF
#define RECORD_SELF end_job_t
RECORD_DEFINE (end_job, 201, 0, "End a job.", END_JOB)
#undef RECORD_SELF
#define RECORD_SELF place_t
RECORD_DEFINE (place, 0, 0, "Where a rank or a shard goes.", PLACE)
#undef RECORD_SELF
#define RECORD_SELF place_job_t
RECORD_DEFINE (place_job, 202, 0, "Give waiting ranks and shards their workers.", PLACE_JOB)
#undef RECORD_SELF
#define RECORD_SELF explain_job_t
RECORD_DEFINE (explain_job, 203, 0, "Say why a job waits.", EXPLAIN_JOB)
#undef RECORD_SELF
#define RECORD_SELF update_tasks_t
RECORD_DEFINE (update_tasks, 204, 0, "Record what a worker reports.", UPDATE_TASKS)
#undef RECORD_SELF
#define RECORD_SELF add_metrics_t
RECORD_DEFINE (add_metrics, 205, 0, "Record metric values.", ADD_METRICS)
#undef RECORD_SELF
#define RECORD_SELF add_worker_t
RECORD_DEFINE (add_worker, 206, 0, "Let a worker in.", ADD_WORKER)
#undef RECORD_SELF
#define RECORD_SELF set_worker_t
RECORD_DEFINE (set_worker, 207, 0, "Change a worker.", SET_WORKER)
#undef RECORD_SELF
#define RECORD_SELF remove_worker_t
RECORD_DEFINE (remove_worker, 208, 0, "Revoke a worker.", REMOVE_WORKER)
#undef RECORD_SELF
#define RECORD_SELF set_master_t
RECORD_DEFINE (set_master, 209, 0, "Record a master.", SET_MASTER)
#undef RECORD_SELF
#define RECORD_SELF add_token_t
RECORD_DEFINE (add_token, 210, 0, "Record a join token.", ADD_TOKEN)
#undef RECORD_SELF
#define RECORD_SELF kv_put_t
RECORD_DEFINE (kv_put, 211, 0, "Write an entry of the key-value store.", KV_PUT)
#undef RECORD_SELF
#define RECORD_SELF kv_delete_t
RECORD_DEFINE (kv_delete, 212, 0, "Delete an entry of the key-value store.", KV_DELETE)
#undef RECORD_SELF
#define RECORD_SELF change_masters_t
RECORD_DEFINE (change_masters, 213, 0, "Change who the masters are.", CHANGE_MASTERS)
#undef RECORD_SELF
#define RECORD_SELF once_t
RECORD_DEFINE (once, 219, 0, "A command that is applied at most once.", ONCE)
#undef RECORD_SELF
/* clang-format on */
