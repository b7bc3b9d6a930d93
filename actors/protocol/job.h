/*  job - what users submit, and what the ledger keeps of it

    The records that jobs are made of: the same in a job file (YAML), over REST
    (JSON), in the ledger and on the wire.
*/
#pragma once

#include "runtime/record.h"

/* clang-format off */

#define RESOURCES(F) \
    F (REAL, cpu, _, .def = "1", .max = 65536, .unit = "cores", .doc = "CPU cores.") \
    F (UINT, memory, _, .unit = "bytes", .doc = "Memory; 0: no claim.") \
    F (UINT, gpus, _, .max = 1024, .doc = "GPUs.")
RECORD_DECLARE (resources, RESOURCES)

#define GANG(F) \
    F (UINT, min, _, .def = "1", .min = 1, .max = 4096, .doc = "Ranks that must run together: all of them or none.") \
    F (UINT, max, _, .max = 4096, .doc = "Ranks at most; 0: as many as min.")
RECORD_DECLARE (gang, GANG)

#define RESTART(F) \
    F (UINT, attempts, _, .def = "3", .max = 1000, .doc = "Failures of the application that are forgiven, per rank. The loss of a worker costs none.") \
    F (UINT, delay_ms, _, .def = "500", .max = 3600000, .unit = "ms", .doc = "Wait before the first restart; doubles each time, up to a minute.")
RECORD_DECLARE (restart_policy, RESTART)

#define STOP(F) \
    F (STRING, signal, _, .def = "TERM", .max = 8, .doc = "Signal that asks a rank to stop: TERM, INT, HUP, USR1, USR2.") \
    F (UINT, grace_ms, _, .def = "10000", .max = 3600000, .unit = "ms", .doc = "Time until it is killed.")
RECORD_DECLARE (stop_policy, STOP)

#define AGGREGATION(F) \
    F (UINT, shards, _, .max = 1024, .doc = "Aggregators that share the parameters; 0: the job needs none.") \
    F (UINT, chunk_bytes, _, .def = "262144", .min = 4096, .max = 8388608, .unit = "bytes", .doc = "Size of the pieces that travel.") \
    F (REAL, learning_rate, _, .def = "0.01", .max = 1000, .doc = "Of the aggregators' SGD, unless the program says otherwise.") \
    F (REAL, momentum, _, .def = "0.9", .max = 1, .doc = "Of the aggregators' SGD.") \
    F (REAL, weight_decay, _, .max = 1, .doc = "Of the aggregators' SGD.")
RECORD_DECLARE (aggregation, AGGREGATION)

#define CHECKPOINT(F) \
    F (STRING, dir, _, .max = 1024, .doc = "Directory for the job's checkpoints; empty: one in the worker's own directory.") \
    F (UINT, keep, _, .def = "2", .min = 1, .max = 1000, .doc = "Checkpoints kept per rank.")
RECORD_DECLARE (checkpoint_policy, CHECKPOINT)

#define PLACEMENT_STYLES(E) E (PLACE_PACK, "pack") E (PLACE_SPREAD, "spread")
RECORD_ENUM (placement_style, PLACEMENT_STYLES)

/*  The job file. */
#define JOB_SPEC(F) \
    F (STRING, name, _, .flags = RECORD_REQUIRED | RECORD_COLUMN, .min = 1, .max = 40, .doc = "Lower-case letters, digits and dashes; begins with a letter.") \
    F (STRINGS, command, _, .flags = RECORD_REQUIRED, .min = 1, .max = 256, .doc = "The program and its arguments; no shell looks at them.") \
    F (MAP, env, _, .max = 256, .doc = "Environment variables.") \
    F (STRING, workdir, _, .max = 1024, .doc = "Working directory; empty: one of the task's own.") \
    F (RECORD, resources, resources, .doc = "What each rank needs.") \
    F (RECORD, gang, gang, .doc = "How many ranks.") \
    F (INT, priority, _, .min = -1000, .max = 1000, .flags = RECORD_COLUMN, .doc = "Higher goes first.") \
    F (STRINGS, sites, _, .max = 64, .doc = "Sites that may be used; empty: all.") \
    F (ENUM, placement, placement_style, .def = "spread", .doc = "Ranks close together or apart.") \
    F (RECORD, restart, restart_policy, .doc = "What happens when a rank fails.") \
    F (RECORD, stop, stop_policy, .doc = "How a rank is stopped.") \
    F (UINT, max_runtime_ms, _, .unit = "ms", .doc = "The job is stopped after running this long; 0: never.") \
    F (RECORD, aggregation, aggregation, .doc = "Sharded gradient aggregation.") \
    F (RECORD, checkpoint, checkpoint_policy, .doc = "Checkpoints.") \
    F (MAP, labels, _, .max = 64, .doc = "Free text for people and programs.")
RECORD_DECLARE (job_spec, JOB_SPEC)

/*  How long a rank that has failed this often (1: once) waits for its next start:
    the delay, doubling up to a minute; a longer first delay stands. */
int64_t job_backoff_ms (const restart_policy_t *policy, uint64_t failures);

enum { JOB_SPEC_BYTES_MAX = 128 << 10 }; /* in its wire form */

/*  Checks what the table can't express (name's letters, gang.max >= min, signal
    names ...). -1 and the faults added. */
int job_spec_check (const job_spec_t *spec, arena_t *arena, record_faults_t *faults);

#define JOB_PHASES(E) \
    E (JOB_QUEUED, "queued")         /* waits for room */ \
    E (JOB_RUNNING, "running")       /* every rank is placed */ \
    E (JOB_RESTARTING, "restarting") /* a rank failed and waits for its restart */ \
    E (JOB_RECOVERING, "recovering") /* a rank or an aggregator lost its worker and waits for a place */ \
    E (JOB_STOPPING, "stopping")     /* its ranks were asked to stop */ \
    E (JOB_SUCCEEDED, "succeeded") \
    E (JOB_FAILED, "failed") \
    E (JOB_CANCELLED, "cancelled") \
    E (JOB_TIMED_OUT, "timed_out")
RECORD_ENUM (job_phase, JOB_PHASES)
/*  True for the last four: nothing will change any more. */
bool job_phase_ended (job_phase_t phase);

/*  A job as the ledger keeps it. */
#define JOB(F) \
    F (STRING, id, _, .flags = RECORD_COLUMN, .max = 63, .doc = "NAME-NUMBER; numbers grow with the cluster's jobs.") \
    F (RECORD, spec, job_spec, .doc = "As submitted.") \
    F (ENUM, phase, job_phase, .flags = RECORD_COLUMN, .doc = "Where it is in its life.") \
    F (STRING, reason, _, .flags = RECORD_COLUMN, .max = 64, .doc = "Why it is there: one word, stable, for programs.") \
    F (STRING, message, _, .max = 500, .doc = "The same for people, with figures.") \
    F (ENUM, ending, job_phase, .doc = "While stopping: the phase that it will end in.") \
    F (UINT, epoch, _, .flags = RECORD_COLUMN, .doc = "Membership epoch: grows whenever a rank or an aggregator is placed anew.") \
    F (UINT, number, _, .doc = "Order of submission.") \
    F (INT, submitted_ms, _, .unit = "ms since 1970", .doc = "When it was submitted.") \
    F (INT, started_ms, _, .unit = "ms since 1970", .doc = "When it was first placed; 0: never.") \
    F (INT, ended_ms, _, .unit = "ms since 1970", .doc = "When it ended; 0: it has not.")
RECORD_DECLARE (job, JOB)

#define TASK_PHASES(E) \
    E (TASK_WAITING, "waiting")   /* has no place */ \
    E (TASK_ASSIGNED, "assigned") /* has a worker, which has not started it yet */ \
    E (TASK_RUNNING, "running") \
    E (TASK_SUCCEEDED, "succeeded") /* exit code 0 */ \
    E (TASK_FAILED, "failed")       /* another exit code or a signal; nothing forgiven is left */ \
    E (TASK_STOPPED, "stopped")     /* ended because the job was stopped */
RECORD_ENUM (task_phase, TASK_PHASES)

/*  A past or present run of a rank on a worker. */
#define TASK_RUN(F) \
    F (UINT, attempt, _, .flags = RECORD_COLUMN, .doc = "0 at first.") \
    F (KEY, worker, _, .doc = "Where.") \
    F (STRING, worker_name, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Its name.") \
    F (STRING, ending, _, .flags = RECORD_COLUMN, .max = 200, .doc = "Why it ended; empty: it has not.")
RECORD_DECLARE (task_run, TASK_RUN)

/*  One rank of a job. */
#define TASK(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Its job.") \
    F (UINT, rank, _, .flags = RECORD_COLUMN, .max = 4095, .doc = "Its rank, stable over restarts.") \
    F (ENUM, phase, task_phase, .flags = RECORD_COLUMN, .doc = "Where it is in its life.") \
    F (KEY, worker, _, .doc = "Its worker's key; zero: none.") \
    F (UINT, attempt, _, .flags = RECORD_COLUMN, .doc = "How many times it was placed or started before.") \
    F (KEY, key, _, .doc = "The key of its running process; zero: not running.") \
    F (UINT, failures, _, .flags = RECORD_COLUMN, .doc = "Failures of the application so far.") \
    F (INT, not_before_ms, _, .unit = "ms since 1970", .doc = "Back-off: not started again before.") \
    F (INT, exit_code, _, .doc = "Of its last run; 128 + n: killed by signal n.") \
    F (STRING, reason, _, .max = 200, .doc = "What happened last.") \
    F (RECORDS, runs, task_run, .max = 64, .doc = "Its runs, oldest first; the last 64.") \
    F (UINT, bytes_pushed, _, .unit = "bytes", .doc = "To the aggregators, in all runs that have ended.") \
    F (UINT, bytes_pulled, _, .unit = "bytes", .doc = "From the aggregators, in all runs that have ended.")
RECORD_DECLARE (task, TASK)

#define SHARD_PHASES(E) E (SHARD_WAITING, "waiting") E (SHARD_ASSIGNED, "assigned") E (SHARD_READY, "ready")
RECORD_ENUM (shard_phase, SHARD_PHASES)

/*  One aggregator of a job. */
#define SHARD(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Its job.") \
    F (UINT, index, _, .flags = RECORD_COLUMN, .max = 1023, .doc = "Which part of the parameters: every chunk c with c modulo shards = index.") \
    F (ENUM, phase, shard_phase, .flags = RECORD_COLUMN, .doc = "Where it is in its life.") \
    F (KEY, worker, _, .doc = "Its worker's key; zero: none.") \
    F (UINT, generation, _, .flags = RECORD_COLUMN, .doc = "Grows each time it is placed; a new generation starts empty.")
RECORD_DECLARE (shard, SHARD)

/*  A reported value. */
#define METRIC_POINT(F) \
    F (STRING, name, _, .flags = RECORD_COLUMN, .min = 1, .max = 63, .doc = "Letters, digits and _.") \
    F (UINT, step, _, .flags = RECORD_COLUMN, .doc = "The program's step.") \
    F (REAL, value, _, .flags = RECORD_COLUMN, .doc = "The value.") \
    F (INT, time_ms, _, .unit = "ms since 1970", .doc = "When it was reported.")
RECORD_DECLARE (metric_point, METRIC_POINT)

/* clang-format on */
