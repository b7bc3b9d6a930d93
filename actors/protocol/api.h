/*  api - what the management API takes and gives

    Bodies and query parameters of the HTTP API that are no records of the
    ledger's. The gateway writes them, `nexus` reads them with the same tables,
    and /openapi.json describes them.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "actors/protocol/consensus.h"

/* clang-format off */

/*  ---- errors (RFC 9457) ----------------------------------------------------- */

#define PROBLEM_FAULT(F) \
    F (STRING, path, _, .max = 200, .doc = "The field: gang.min; empty: the whole document.") \
    F (UINT, line, _, .doc = "Line in a YAML document; 0: not known.") \
    F (STRING, message, _, .doc = "What was expected, what was found.")
RECORD_DECLARE (problem_fault, PROBLEM_FAULT)
#define PROBLEM(F) \
    F (STRING, type, _, .max = 200, .doc = "What kind of problem: a URI reference, stable, for programs.") \
    F (STRING, title, _, .max = 200, .doc = "The kind, in words.") \
    F (UINT, status, _, .doc = "The HTTP status.") \
    F (STRING, detail, _, .doc = "What was wrong, where, what to do.") \
    F (STRING, code, _, .max = 63, .doc = "invalid, not_found, unavailable ...") \
    F (RECORDS, errors, problem_fault, .max = 64, .doc = "Every fault of the document.")
RECORD_DECLARE (problem, PROBLEM)

/*  ---- the cluster ------------------------------------------------------------ */

#define MASTER_ROLES(E) E (MASTER_UNKNOWN, "unknown") E (MASTER_FOLLOWER, "follower") E (MASTER_LEADER, "leader") \
    E (MASTER_REFUSED, "refused") /* its log is not the one on record: its disk was lost */
RECORD_ENUM (master_role, MASTER_ROLES)

#define MASTER_STATUS(F) \
    F (STRING, name, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Name.") \
    F (ENUM, role, master_role, .flags = RECORD_COLUMN, .doc = "Whether it leads.") \
    F (BOOL, reachable, _, .flags = RECORD_COLUMN, .doc = "The answering master has heard from it within the last seconds.") \
    F (UINT, applied, _, .flags = RECORD_COLUMN, .doc = "Applied index of its ledger, as last heard.") \
    F (STRING, endpoint, _, .max = 200, .doc = "tcp://ADDRESS:PORT of its link.") \
    F (STRING, api, _, .flags = RECORD_COLUMN, .max = 200, .doc = "https://ADDRESS:PORT of its API.") \
    F (KEY, key, _, .doc = "Its public key.")
RECORD_DECLARE (master_status, MASTER_STATUS)

#define WORKER_COUNTS(F) \
    F (UINT, total, _, .doc = "Workers that have joined.") \
    F (UINT, alive, _, .doc = "Workers heard of lately.") \
    F (UINT, active, _, .doc = "In state active.") \
    F (UINT, draining, _, .doc = "In state draining.") \
    F (UINT, lost, _, .doc = "In state lost.")
RECORD_DECLARE (worker_counts, WORKER_COUNTS)

#define JOB_COUNTS(F) \
    F (UINT, total, _, .doc = "All jobs.") \
    F (UINT, queued, _, .doc = "In phase queued.") \
    F (UINT, running, _, .doc = "In phase running.") \
    F (UINT, restarting, _, .doc = "In phase restarting.") \
    F (UINT, recovering, _, .doc = "In phase recovering.") \
    F (UINT, stopping, _, .doc = "In phase stopping.") \
    F (UINT, succeeded, _, .doc = "In phase succeeded.") \
    F (UINT, failed, _, .doc = "In phase failed.") \
    F (UINT, cancelled, _, .doc = "In phase cancelled.") \
    F (UINT, timed_out, _, .doc = "In phase timed_out.")
RECORD_DECLARE (job_counts, JOB_COUNTS)

#define CLUSTER_STATUS(F) \
    F (STRING, answered_by, _, .max = 63, .doc = "Name of the master that answers.") \
    F (STRING, version, _, .max = 63, .doc = "Its version of Nexus.") \
    F (STRING, leader, _, .max = 63, .doc = "Name of the leading master; empty: none is known.") \
    F (STRING, message, _, .max = 1000, .doc = "Why none is known; empty: one is.") \
    F (UINT, term, _, .doc = "Raft term.") \
    F (UINT, commit, _, .doc = "Raft commit index.") \
    F (UINT, applied, _, .doc = "Applied index of the answering master's ledger.") \
    F (RECORDS, masters, master_status, .max = 64, .doc = "All masters.") \
    F (RECORD, workers, worker_counts, .doc = "How many workers.") \
    F (RECORD, jobs, job_counts, .doc = "How many jobs.")
RECORD_DECLARE (cluster_status, CLUSTER_STATUS)

#define RAFT_MASTER(F) \
    F (STRING, name, _, .max = 63, .doc = "Name.") \
    F (KEY, key, _, .doc = "Its key.") \
    F (STRING, leader, _, .max = 63, .doc = "Who leads, as it sees it; empty: nobody.") \
    F (BOOL, answered, _, .doc = "It said how it sees the group; if not, view is empty.") \
    F (RECORD, view, raft_view, .doc = "What it said.")
RECORD_DECLARE (raft_master, RAFT_MASTER)
#define RAFT_OVERVIEW(F) \
    F (STRING, answered_by, _, .max = 63, .doc = "Name of the master that asked them all.") \
    F (STRING, message, _, .max = 1000, .doc = "Why it knows no leader; empty: it knows one.") \
    F (RECORDS, masters, raft_master, .max = 64, .doc = "All masters.")
RECORD_DECLARE (raft_overview, RAFT_OVERVIEW)

/*  ---- jobs -------------------------------------------------------------------- */

#define JOB_LIST_QUERY(F) \
    F (UINT, limit, _, .def = "100", .min = 1, .max = 1000, .doc = "How many at most.") \
    F (STRING, cursor, _, .max = 200, .doc = "The next of the page before.") \
    F (STRING, phase, _, .max = 200, .doc = "Only jobs in these phases, separated by commas.") \
    F (BOOL, reverse, _, .doc = "Newest first.")
RECORD_DECLARE (job_list_query, JOB_LIST_QUERY)
#define JOB_LIST(F) \
    F (RECORDS, jobs, job, .max = 1000, .doc = "In order of submission.") \
    F (STRING, next, _, .max = 200, .doc = "Cursor of the next page; empty: this is the last.")
RECORD_DECLARE (job_list, JOB_LIST)

/*  A worker that a job's tasks and shards name by key. */
#define WORKER_REF(F) \
    F (KEY, key, _, .doc = "Its key.") \
    F (STRING, name, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Its name.") \
    F (STRING, site, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Its site.") \
    F (ENUM, state, worker_state, .flags = RECORD_COLUMN, .doc = "What the cluster makes of it.") \
    F (BOOL, alive, _, .flags = RECORD_COLUMN, .doc = "Heard of lately.")
RECORD_DECLARE (worker_ref, WORKER_REF)

#define JOB_DETAIL(F) \
    F (RECORD, job, job, .doc = "The job.") \
    F (RECORDS, tasks, task, .max = 4096, .doc = "By rank.") \
    F (RECORDS, shards, shard, .max = 1024, .doc = "By index.") \
    F (RECORDS, workers, worker_ref, .max = 8192, .doc = "The workers that tasks and shards are on.") \
    F (RECORDS, traffic, task_traffic, .max = 4096, .doc = "Bytes between running tasks and aggregators, as last heard.") \
    F (UINT, bytes_pushed, _, .unit = "bytes", .doc = "Sum of the traffic to the aggregators.") \
    F (UINT, bytes_pulled, _, .unit = "bytes", .doc = "Sum of the traffic from the aggregators.")
RECORD_DECLARE (job_detail, JOB_DETAIL)

#define LOG_QUERY(F) \
    F (UINT, rank, _, .max = 4095, .doc = "Which rank.") \
    F (INT, attempt, _, .def = "-1", .min = -1, .max = 1000000, .doc = "Which run of it; -1: the newest.") \
    F (UINT, offset, _, .unit = "bytes", .doc = "Where to begin.") \
    F (UINT, max, _, .def = "65536", .min = 1, .max = 1048576, .unit = "bytes", .doc = "How much at most.") \
    F (UINT, wait_ms, _, .max = 30000, .unit = "ms", .doc = "How long to wait for more.")
RECORD_DECLARE (log_query, LOG_QUERY)

#define METRIC_QUERY(F) \
    F (STRING, name, _, .max = 63, .doc = "Only this metric; empty: all.") \
    F (UINT, from_step, _, .doc = "Only points of this step or later.") \
    F (UINT, limit, _, .def = "20000", .min = 1, .max = 100000, .doc = "How many at most, for each metric: its newest.")
RECORD_DECLARE (metric_query, METRIC_QUERY)
#define METRIC_LIST(F) \
    F (STRING, job_id, _, .max = 63, .doc = "The job.") \
    F (RECORDS, points, metric_point, .max = 1000000, .doc = "By name, then by step.")
RECORD_DECLARE (metric_list, METRIC_LIST)

/*  ---- workers and tokens ------------------------------------------------------- */

#define WORKER_STATUS(F) \
    F (RECORD, worker, worker, .doc = "The worker.") \
    F (BOOL, alive, _, .doc = "Heard of lately.") \
    F (UINT, heard_ms_ago, _, .unit = "ms", .doc = "Since it was last heard of; 0 with alive false: not heard of.") \
    F (REAL, load, _, .doc = "Its load average over a minute, as last heard.") \
    F (UINT, tasks, _, .doc = "Ranks that are placed on it.") \
    F (UINT, shards, _, .doc = "Aggregators that are placed on it.")
RECORD_DECLARE (worker_status, WORKER_STATUS)
#define WORKER_LIST(F) F (RECORDS, workers, worker_status, .max = 65536, .doc = "By name.")
RECORD_DECLARE (worker_list, WORKER_LIST)

/*  ---- masters ----------------------------------------------------------------- */

#define MASTER_INFO(F) \
    F (STRING, name, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Name.") \
    F (ENUM, role, suffrage, .flags = RECORD_COLUMN, .doc = "voter or learner.") \
    F (ENUM, state, master_role, .flags = RECORD_COLUMN, .doc = "leader, follower; unknown: the leader doesn't hear of it, or there is none.") \
    F (UINT, match, _, .flags = RECORD_COLUMN, .doc = "Its disk has the log up to here, as the leader knows.") \
    F (UINT, lag, _, .flags = RECORD_COLUMN, .doc = "Entries that it lacks.") \
    F (INT, heard_ms_ago, _, .unit = "ms", .flags = RECORD_COLUMN, .doc = "Since its last answer to the leader; -1: none.") \
    F (BOOL, leaving, _, .doc = "It votes until the change that is under way is done.") \
    F (STRING, endpoint, _, .flags = RECORD_COLUMN, .max = 200, .doc = "tcp://ADDRESS:PORT of its link.") \
    F (STRING, api, _, .flags = RECORD_COLUMN, .max = 200, .doc = "https://ADDRESS:PORT of its API.") \
    F (KEY, key, _, .doc = "Its public key.") \
    F (UINT, incarnation, _, .doc = "Of its Raft log; 0: not heard of yet.")
RECORD_DECLARE (master_info, MASTER_INFO)
#define MASTER_INFO_LIST(F) \
    F (STRING, leader, _, .max = 63, .doc = "Who leads; empty: nobody is known.") \
    F (UINT, index, _, .doc = "Log index of the last change.") \
    F (BOOL, joint, _, .doc = "A change is under way: decisions need a majority of the old voters and one of the new.") \
    F (RECORDS, masters, master_info, .max = 96, .doc = "By name.")
RECORD_DECLARE (master_info_list, MASTER_INFO_LIST)

#define MASTER_REQUEST(F) \
    F (STRING, name, _, .flags = RECORD_REQUIRED, .min = 1, .max = 63, .doc = "Unique in the cluster.") \
    F (KEY, key, _, .flags = RECORD_REQUIRED, .doc = "Its public key: nexus key DIR/node.key on its machine.") \
    F (STRING, endpoint, _, .flags = RECORD_REQUIRED, .min = 1, .max = 200, .doc = "tcp://HOST:PORT of its link.") \
    F (STRING, api, _, .max = 200, .doc = "https://HOST:PORT of its API.")
RECORD_DECLARE (master_request, MASTER_REQUEST)

#define TRANSFER_REQUEST(F) F (STRING, to, _, .max = 63, .doc = "Who shall lead; empty: the voter that lacks least.")
RECORD_DECLARE (transfer_request, TRANSFER_REQUEST)
#define TRANSFER_RESULT(F) \
    F (UINT, term, _, .doc = "The new term.")
RECORD_DECLARE (transfer_result, TRANSFER_RESULT)

#define DRAIN_REQUEST(F) F (STRING, reason, _, .max = 200, .doc = "Why, for people.")
RECORD_DECLARE (drain_request, DRAIN_REQUEST)

/*  The bearer makes the token's key pair; the cluster learns its public half only. */
#define TOKEN_REQUEST(F) \
    F (KEY, key, _, .flags = RECORD_REQUIRED, .doc = "Public key of the token.") \
    F (STRING, site, _, .max = 63, .doc = "Site that its bearers join; empty: any.") \
    F (UINT, uses, _, .def = "1", .min = 1, .max = 100000, .doc = "Nodes that may join with it.") \
    F (UINT, valid_ms, _, .def = "3600000", .min = 1000, .max = 31536000000, .unit = "ms", .doc = "How long it holds.")
RECORD_DECLARE (token_request, TOKEN_REQUEST)

/*  ---- the key-value store -------------------------------------------------------- */

#define KV_QUERY(F) \
    F (STRING, prefix, _, .max = 400, .doc = "What the keys begin with.") \
    F (STRING, after, _, .max = 400, .doc = "Only keys behind this one: the next of the page before.") \
    F (UINT, limit, _, .def = "100", .min = 1, .max = 1000, .doc = "How many at most; 512 KiB of values end a page too.")
RECORD_DECLARE (kv_query, KV_QUERY)
#define KV_LIST(F) \
    F (RECORDS, entries, kv_entry, .max = 1000, .doc = "By key.") \
    F (STRING, next, _, .max = 400, .doc = "after of the next page; empty: this is the last.")
RECORD_DECLARE (kv_list, KV_LIST)
#define KV_WRITTEN(F) \
    F (STRING, key, _, .flags = RECORD_COLUMN, .max = 400, .doc = "Key.") \
    F (UINT, version, _, .flags = RECORD_COLUMN, .doc = "Of the entry; of a deletion, what it deleted (0: nothing was there).")
RECORD_DECLARE (kv_written, KV_WRITTEN)

/*  ---- backups ---------------------------------------------------------------------- */

#define BACKUP(F) \
    F (STRING, id, _, .max = 100, .doc = "Its name in paths; known to the master that made it, until it has made some more.") \
    F (STRING, master, _, .max = 63, .doc = "That master.") \
    F (UINT, index, _, .flags = RECORD_COLUMN, .doc = "Log index up to which it holds everything.") \
    F (UINT, term, _, .flags = RECORD_COLUMN, .doc = "The term of that entry.") \
    F (UINT, size, _, .flags = RECORD_COLUMN, .unit = "bytes", .doc = "How large it is.") \
    F (KEY, hash, _, .doc = "BLAKE2b-256 of all but its last 32 bytes, which are the same.")
RECORD_DECLARE (backup, BACKUP)
#define BACKUP_QUERY(F) F (UINT, offset, _, .unit = "bytes", .doc = "Where to begin.")
RECORD_DECLARE (backup_query, BACKUP_QUERY)
#define BACKUP_CREATE_QUERY(F) \
    F (BOOL, stale, _, .doc = "What this master has, also without a majority: what others have that it lacks is missing then.")
RECORD_DECLARE (backup_create_query, BACKUP_CREATE_QUERY)

/* clang-format on */
