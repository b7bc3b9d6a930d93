/*  command - what changes the ledger

    A command is a record in the Raft log: two bytes of kind (big endian), then
    the record's wire form. Applying one is a pure function of the tables and the
    command; whatever depends on clocks or chance is in the command, put there
    by the leader. Ids: 200-219.

    A command that comes in a `once` is applied at most once, however often its
    sender, a relay or the network repeats it: see actors/ledger/requests.h.
*/
#pragma once

#include "actors/protocol/cluster.h"

/* clang-format off */

#define SUBMIT_JOB(F) \
    F (RECORD, spec, job_spec, .doc = "The job.") \
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

/*  What a master says of itself: where it is reached, and its log's incarnation. It must be a
    member already; its name, its role and an incarnation that is known don't change. */
#define SET_MASTER(F) F (RECORD, master, master, .doc = "A master, by its key.")
RECORD_DECLARE (set_master, SET_MASTER)

/*  Another configuration of the masters. In the log it is an entry of type 1: the election puts
    it in force on a master when the ledger has applied it there, unless it refused it. */
#define CHANGE_MASTERS(F) \
    F (UINT, base, _, .doc = "The index of the configuration that it was worked out from: another one is a conflict.") \
    F (RECORDS, masters, master, .max = 32, .doc = "Those who are new.") \
    F (RECORD, conf, cluster_conf, .doc = "What shall be in force. Masters that aren't in it are forgotten, their keys revoked.")
RECORD_DECLARE (change_masters, CHANGE_MASTERS)

#define ADD_TOKEN(F) F (RECORD, token, token, .doc = "A join token.")
RECORD_DECLARE (add_token, ADD_TOKEN)

/*  Both yield a version as text: a put that of the entry (the log index of this very command), a
    delete that of what it deleted ("0": nothing was there). */
#define KV_PUT(F) \
    F (STRING, key, _, .min = 1, .max = 400, .doc = "Key.") \
    F (BYTES, value, _, .max = 65536, .doc = "Value.") \
    F (BOOL, compare, _, .doc = "Only if the entry has this version.") \
    F (UINT, version, _, .doc = "With compare: what must be there, or the command is refused as a conflict; 0: nothing.")
RECORD_DECLARE (kv_put, KV_PUT)

#define KV_DELETE(F) \
    F (STRING, key, _, .min = 1, .max = 400, .doc = "Key.") \
    F (BOOL, compare, _, .doc = "Only if the entry has this version.") \
    F (UINT, version, _, .doc = "With compare: what must be there, or the command is refused as a conflict; 0: nothing.")
RECORD_DECLARE (kv_delete, KV_DELETE)

#define ONCE(F) \
    F (UINT, client, _, .doc = "Who asks: a number drawn at random, or the hash of a caller's key (then its highest bit is 1).") \
    F (UINT, sequence, _, .doc = "Which of its requests: never used for another one.") \
    F (UINT, after, _, .doc = "An applied index that the sender knew when it first sent the request.") \
    F (BYTES, command, _, .min = 2, .max = 1048512, .doc = "The command: kind and record.")
RECORD_DECLARE (once, ONCE)

/*  Of a command, so that an entry of the log holds it in its `once`, too. */
enum { COMMAND_MAX = 1048512 };

/* clang-format on */
