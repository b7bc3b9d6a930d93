/*  command - what changes the ledger

    A command is a record in the Raft log: two bytes of kind (big endian), then
    the record's wire form. Applying one is a pure function of the tables and the
    command; whatever depends on clocks or chance is in the command, put there
    by the leader. Ids: 200-219.
*/
#pragma once

#include "actors/protocol/cluster.h"

/* clang-format off */

#define SUBMIT_JOB(F) \
    F (RECORD, spec, job_spec, .doc = "The job.") \
    F (STRING, idempotency_key, _, .max = 200, .doc = "A repeated submission with the same key yields the same job; empty: none.") \
    F (INT, time_ms, _, .doc = "When.")
RECORD_DECLARE (submit_job, SUBMIT_JOB) /* yields the job's id */

#define END_JOB(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (ENUM, ending, job_phase, .doc = "cancelled, failed or timed_out: how it shall end.") \
    F (STRING, reason, _, .max = 64, .doc = "One word.") \
    F (STRING, message, _, .max = 500, .doc = "Text.") \
    F (INT, time_ms, _, .doc = "When.")
RECORD_DECLARE (end_job, END_JOB)

#define PLACE(F) \
    F (UINT, number, _, .doc = "Rank, or shard index.") \
    F (KEY, worker, _, .doc = "Where it goes.")
RECORD_DECLARE (place, PLACE)
#define PLACE_JOB(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, epoch, _, .doc = "The epoch that was planned on: another one is a conflict.") \
    F (RECORDS, tasks, place, .max = 4096, .doc = "Waiting ranks that get a worker.") \
    F (RECORDS, shards, place, .max = 1024, .doc = "Waiting shards that get a worker.") \
    F (INT, time_ms, _, .doc = "When.")
RECORD_DECLARE (place_job, PLACE_JOB)

/*  Why a queued or recovering job waits. */
#define EXPLAIN_JOB(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (STRING, reason, _, .max = 64, .doc = "One word.") \
    F (STRING, message, _, .max = 500, .doc = "Text, with figures.")
RECORD_DECLARE (explain_job, EXPLAIN_JOB)

#define UPDATE_TASKS(F) \
    F (KEY, worker, _, .doc = "Who reports.") \
    F (RECORDS, tasks, task_state, .max = 4096, .doc = "Tasks whose state changed.") \
    F (RECORDS, shards, shard_state, .max = 4096, .doc = "Shards whose state changed.") \
    F (INT, time_ms, _, .doc = "When.")
RECORD_DECLARE (update_tasks, UPDATE_TASKS)

#define ADD_METRICS(F) F (RECORDS, points, metric_report, .max = 4096, .doc = "Values.")
RECORD_DECLARE (add_metrics, ADD_METRICS)

#define ADD_WORKER(F) \
    F (RECORD, worker, worker, .doc = "The worker.") \
    F (KEY, token, _, .doc = "The token that it joined with.")
RECORD_DECLARE (add_worker, ADD_WORKER)

/*  A worker changed. With heard, the registry says what the worker offers and that
    it is there (active) or not (lost); an operator's drain stands. Without, an
    operator takes it out of service (draining) or back (active), with a reason;
    nothing else of the record counts. So neither undoes what the other did
    meanwhile. A worker that is lost, drained or restarted (another session) loses
    its tasks and shards: they wait for another place. */
#define SET_WORKER(F) \
    F (RECORD, worker, worker, .doc = "As it shall be; its key says which.") \
    F (INT, time_ms, _, .doc = "When.") \
    F (BOOL, heard, _, .doc = "The registry speaks, not an operator.")
RECORD_DECLARE (set_worker, SET_WORKER)

#define REMOVE_WORKER(F) \
    F (KEY, key, _, .doc = "Which: its key is revoked.") \
    F (INT, time_ms, _, .doc = "When.")
RECORD_DECLARE (remove_worker, REMOVE_WORKER)

#define SET_MASTER(F) F (RECORD, master, master, .doc = "A master, by its key.")
RECORD_DECLARE (set_master, SET_MASTER)

#define ADD_TOKEN(F) F (RECORD, token, token, .doc = "A join token.")
RECORD_DECLARE (add_token, ADD_TOKEN)

/* clang-format on */
