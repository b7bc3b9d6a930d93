/*  cluster - masters, workers, and what they tell each other

    Messages between the control plane's actors. Ids: 80-119.
*/
#pragma once

#include "actors/protocol/job.h"
#include "runtime/message.h"

/* clang-format off */

/*  ---- nodes, as the ledger keeps them ------------------------------------ */

#define WORKER_STATES(E) \
    E (WORKER_ACTIVE, "active") \
    E (WORKER_DRAINING, "draining") /* takes no new work; its tasks move */ \
    E (WORKER_LOST, "lost")         /* not heard of; its tasks were taken away */
RECORD_ENUM (worker_state, WORKER_STATES)

#define WORKER(F) \
    F (KEY, key, _, .doc = "Its CURVE public key: its identity.") \
    F (STRING, name, _, .flags = RECORD_COLUMN, .min = 1, .max = 63, .doc = "Unique in the cluster.") \
    F (STRING, site, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Where it stands.") \
    F (ENUM, state, worker_state, .flags = RECORD_COLUMN, .doc = "What the cluster makes of it.") \
    F (STRING, reason, _, .max = 200, .doc = "Why it is in that state.") \
    F (RECORD, resources, resources, .doc = "What it offers.") \
    F (STRING, lane, _, .max = 200, .doc = "Endpoint of its data lane, tcp://ADDRESS:PORT; empty: it hosts no aggregators.") \
    F (MAP, labels, _, .max = 64, .doc = "As its configuration says.") \
    F (BYTES, certificate, _, .max = 1024, .doc = "Its membership, signed by the cluster's root.") \
    F (INT, enrolled_ms, _, .unit = "ms since 1970", .doc = "When it joined.") \
    F (UINT, session, _, .doc = "Of its present run, chosen by it at random; another one means that it was restarted and has lost what it ran.") \
    F (BOOL, drain, _, .doc = "An operator has taken it out of service; kept while it is lost.")
RECORD_DECLARE (worker, WORKER)
/*  Names stand in addresses, files and commands: letters, digits, '.', '_' and '-'. */
bool worker_name_check (const char *name);

#define SUFFRAGES(E) \
    E (MASTER_VOTER, "voter") \
    E (MASTER_LEARNER, "learner") /* gets everything, decides nothing */
RECORD_ENUM (suffrage, SUFFRAGES)

#define MASTER(F) \
    F (KEY, key, _, .doc = "Its CURVE public key: its identity.") \
    F (STRING, name, _, .flags = RECORD_COLUMN, .min = 1, .max = 63, .doc = "Unique in the cluster.") \
    F (STRING, endpoint, _, .max = 200, .doc = "tcp://ADDRESS:PORT of its link.") \
    F (STRING, api, _, .flags = RECORD_COLUMN, .max = 200, .doc = "https://ADDRESS:PORT of its API.") \
    F (ENUM, role, suffrage, .flags = RECORD_COLUMN | RECORD_READONLY, .since = 1, .doc = "Whether it takes part in decisions.") \
    F (UINT, incarnation, _, .flags = RECORD_READONLY, .since = 1, .doc = "Of its Raft log, drawn when that was made: another one is another disk. 0: not heard of yet.")
RECORD_DECLARE (master, MASTER)

/*  Who decides: the configuration of the masters' Raft group. While it is joint
    (some members are outgoing), decisions need a majority of both halves. */
#define CONF_MEMBER(F) \
    F (KEY, key, _, .doc = "Which master.") \
    F (BOOL, voter, _, .doc = "Votes; in a joint configuration, with the incoming half.") \
    F (BOOL, outgoing, _, .doc = "Joint: votes with the outgoing half.") \
    F (BOOL, learner, _, .doc = "Gets everything, decides nothing; outgoing as well: it will be one when the joint configuration is left.") \
    F (UINT, incarnation, _, .doc = "Of its log: another one is not listened to. 0: not known yet, it decides nothing before it is.")
RECORD_DECLARE (conf_member, CONF_MEMBER)
#define CLUSTER_CONF(F) \
    F (UINT, index, _, .doc = "Log index of the change that put it in force; 0: as the cluster began.") \
    F (UINT, cluster, _, .doc = "The cluster's number, made of its first masters' keys: never changes.") \
    F (BOOL, auto_leave, _, .doc = "Joint, and to be left at once.") \
    F (RECORDS, members, conf_member, .max = 96, .doc = "Those who take part; none: not known yet.")
RECORD_DECLARE (cluster_conf, CLUSTER_CONF)

/*  A join token: only its public key is stored. */
#define TOKEN(F) \
    F (KEY, key, _, .doc = "Public key of the token.") \
    F (STRING, site, _, .max = 63, .doc = "Site that its bearer joins; empty: any.") \
    F (UINT, uses, _, .doc = "Nodes that may still join with it.") \
    F (INT, not_after_ms, _, .unit = "ms since 1970", .doc = "When it ends.")
RECORD_DECLARE (token, TOKEN)

/*  ---- the key-value store --------------------------------------------------- */

#define KV_ENTRY(F) \
    F (STRING, key, _, .flags = RECORD_COLUMN, .min = 1, .max = 400, .doc = "Key.") \
    F (BYTES, value, _, .max = 65536, .doc = "Value.") \
    F (UINT, version, _, .flags = RECORD_COLUMN, .doc = "Log index of the last write.") \
    F (UINT, created, _, .flags = RECORD_COLUMN, .doc = "Log index of the first write since it was not there.")
RECORD_DECLARE (kv_entry, KV_ENTRY)

/*  To "ledger" on any master, as a request from an actor there, another master or a
    worker. Unless stale, the answer shows every write that was done before the
    request was sent, whichever master is asked; stale, it shows what that master
    has. The reply is a kv_got, or a failure (NEXUS_UNAVAILABLE, NEXUS_DEADLINE: no
    majority in reach). */
#define KV_GET(F) \
    F (STRING, key, _, .max = 400, .doc = "Key; with prefix, what the keys begin with.") \
    F (BOOL, stale, _, .doc = "Answer at once from what this master has.") \
    F (BOOL, prefix, _, .doc = "List entries instead.") \
    F (STRING, after, _, .max = 400, .doc = "With prefix: only keys behind this one.") \
    F (UINT, limit, _, .max = 1000, .doc = "With prefix: how many entries at most; 0: 1,000. 512 KiB of values end a list too.")
RECORD_DECLARE (kv_get, KV_GET)
#define KV_GOT(F) \
    F (UINT, index, _, .doc = "Log index up to which it shows everything.") \
    F (BOOL, found, _, .doc = "There is such an entry (with prefix: one at least).") \
    F (BYTES, value, _, .max = 65536, .doc = "Its value.") \
    F (UINT, version, _, .doc = "Its version; 0: there is none.") \
    F (RECORDS, entries, kv_entry, .max = 1000, .doc = "With prefix: by key.") \
    F (BOOL, more, _, .doc = "With prefix: there are further ones, behind the last.")
RECORD_DECLARE (kv_got, KV_GOT)

/*  ---- consensus, seen from the other actors of a master -------------------- */

/*  To "election" on any master, as a request: append this command to the log.
    The reply is a proposed record, once a majority has it on disk and the
    ledger has applied it, or a failure: the command's own (applied, but refused),
    or NEXUS_UNAVAILABLE (no leader: not appended) or NEXUS_DEADLINE (unknown).

    With a client it is applied at most once: a repeated request (the same client and
    sequence, on whichever master) is answered with the first one's result. Workers
    may propose kv_put and kv_delete, with a client. */
#define PROPOSE(F) \
    F (BYTES, command, _, .min = 2, .max = 1048512, .doc = "See command.h.") \
    F (UINT, client, _, .since = 1, .doc = "Who asks, a number drawn at random; 0: repeating it may apply it again.") \
    F (UINT, sequence, _, .since = 1, .doc = "Which of its requests: never used for another one.") \
    F (UINT, after, _, .since = 1, .doc = "An applied index that the sender knew when it first sent this request: of too old a one nobody can tell any more whether it was done (NEXUS_DEADLINE), and it is not done again.")
RECORD_DECLARE (propose, PROPOSE)

#define PROPOSED(F) \
    F (UINT, index, _, .doc = "Log index at which it was applied.") \
    F (STRING, value, _, .max = 200, .doc = "What applying it yielded: a job's id ...")
RECORD_DECLARE (proposed, PROPOSED)

/*  What a master is to its group, as far as it can tell. */
#define STANDINGS(E) \
    E (STANDING_MEMBER, "member") \
    E (STANDING_FOUNDING, "founding") /* it has nothing, as the others it waits for */ \
    E (STANDING_STRANGE, "strange")   /* likewise, but others were set up as another cluster */ \
    E (STANDING_JOINING, "joining")   /* it waits to be let in */ \
    E (STANDING_REFUSED, "refused")   /* the others have another log of it on record */ \
    E (STANDING_OUTSIDE, "outside")   /* removed, or not let in yet */
RECORD_ENUM (standing, STANDINGS)

/*  From "election" to a local actor that sent it a leadership_subscribe: at
    once and whenever it changes. */
#define LEADERSHIP_SUBSCRIBE(F) F (BOOL, on, _, .def = "true", .doc = "False: no more.")
RECORD_DECLARE (leadership_subscribe, LEADERSHIP_SUBSCRIBE)
#define LEADERSHIP(F) \
    F (UINT, term, _, .doc = "Raft term.") \
    F (KEY, leader, _, .doc = "The leader's key; zero: none known.") \
    F (BOOL, leading, _, .doc = "This master leads, and has applied all entries of earlier terms.") \
    F (UINT, commit, _, .doc = "Commit index.") \
    F (UINT, last, _, .doc = "Last index of the log.") \
    F (ENUM, standing, standing, .doc = "What this master is to its group.")
RECORD_DECLARE (leadership, LEADERSHIP)

/*  From "election" to "ledger", in order, each index once per start of the ledger;
    the ledger answers each with an applied. Before the first apply the election
    asks where to begin: an apply without entries. */
#define APPLY_ENTRY(F) \
    F (UINT, index, _, .doc = "Log index.") \
    F (UINT, term, _, .doc = "Its term.") \
    F (BYTES, command, _, .max = 1048576, .doc = "Empty: a leader's no-op.")
RECORD_DECLARE (apply_entry, APPLY_ENTRY)
#define APPLY(F) F (RECORDS, entries, apply_entry, .max = 65536, .doc = "Ascending, without gaps.")
RECORD_DECLARE (apply, APPLY)
#define APPLY_RESULT(F) \
    F (UINT, index, _, .doc = "Log index.") \
    F (UINT, code, _, .doc = "A nexus_code_t; 0: done.") \
    F (STRING, text, _, .max = 500, .doc = "Error text, or what applying yielded.")
RECORD_DECLARE (apply_result, APPLY_RESULT)
#define APPLIED(F) \
    F (UINT, index, _, .doc = "Everything up to here is applied, and readers see it.") \
    F (RECORDS, results, apply_result, .max = 65536, .doc = "One for each entry.") \
    F (UINT, done, _, .doc = "If it is more than index: applied up to here, so these are the results, but readers don't see it yet. Another applied follows when they do.") \
    F (RECORD, conf, cluster_conf, .since = 1, .doc = "In answer to an apply without entries: the configuration at that index.")
RECORD_DECLARE (applied, APPLIED)

/*  From "ledger" to a local actor that sent it a ledger_subscribe, after each batch. */
#define LEDGER_SUBSCRIBE(F) \
    F (BOOL, on, _, .def = "true", .doc = "False: no more.") \
    F (UINT, tables, _, .since = 1, .doc = "Bit t: tell of changes of table t; 0: of any.")
RECORD_DECLARE (ledger_subscribe, LEDGER_SUBSCRIBE)
#define LEDGER_CHANGED(F) \
    F (UINT, index, _, .doc = "Applied index.") \
    F (UINT, tables, _, .doc = "Bit t: table t changed.")
RECORD_DECLARE (ledger_changed, LEDGER_CHANGED)

/*  ---- workers and masters -------------------------------------------------- */

/*  From "registry" on a master to "registry" on the others and to "agent" on workers: when
    they connect, and whenever it changes. Of two lists the one with the higher index counts. */
#define MASTER_LIST(F) \
    F (UINT, index, _, .doc = "Log index of the configuration that it is from.") \
    F (RECORDS, masters, master, .max = 96, .doc = "All of them.") \
    F (KEY, root, _, .doc = "The public half of the root key with which the sender signs memberships; zero: it says nothing.")
RECORD_DECLARE (master_list, MASTER_LIST)

/*  A joiner's request to "registry" on any master. The reply is enrolled. */
#define ENROL(F) \
    F (KEY, key, _, .doc = "The public key that the node will use.") \
    F (STRING, name, _, .min = 1, .max = 63, .doc = "Its name.") \
    F (STRING, site, _, .max = 63, .doc = "Its site.")
RECORD_DECLARE (enrol, ENROL)
#define ENROLLED(F) \
    F (BYTES, certificate, _, .max = 1024, .doc = "Membership, signed by the cluster's root.")
RECORD_DECLARE (enrolled, ENROLLED)

/*  From a worker's "agent" to "registry" on every master, every heartbeat interval. */
#define HEARTBEAT(F) \
    F (STRING, name, _, .max = 63, .doc = "Its name.") \
    F (STRING, site, _, .max = 63, .doc = "Its site.") \
    F (UINT, session, _, .doc = "Chosen at random at each start of the worker.") \
    F (RECORD, resources, resources, .doc = "What it offers.") \
    F (STRING, lane, _, .max = 200, .doc = "Endpoint of its data lane, or empty.") \
    F (MAP, labels, _, .max = 64, .doc = "Labels.")
RECORD_DECLARE (heartbeat, HEARTBEAT)

/*  What a worker knows of a task and of an aggregator. */
#define TASK_STATE(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, attempt, _, .doc = "Of the order that it follows.") \
    F (ENUM, phase, task_phase, .doc = "assigned, running, succeeded, failed, stopped.") \
    F (KEY, key, _, .doc = "Of the running process.") \
    F (INT, pid, _, .doc = "Of the running process.") \
    F (INT, exit_code, _, .doc = "128 + n: signal n.") \
    F (STRING, reason, _, .max = 200, .doc = "Text.") \
    F (UINT, bytes_pushed, _, .doc = "To the aggregators so far.") \
    F (UINT, bytes_pulled, _, .doc = "From the aggregators so far.")
RECORD_DECLARE (task_state, TASK_STATE)
#define SHARD_STATE(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, index, _, .doc = "Which shard.") \
    F (UINT, generation, _, .doc = "Of the order that it follows.") \
    F (BOOL, ready, _, .doc = "It serves.")
RECORD_DECLARE (shard_state, SHARD_STATE)

#define METRIC_REPORT(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (RECORD, point, metric_point, .doc = "The value.")
RECORD_DECLARE (metric_report, METRIC_REPORT)

/*  From a worker's "agent" to "scheduler" on every master: at each change and every heartbeat interval. */
#define WORKER_REPORT(F) \
    F (UINT, session, _, .doc = "As in the heartbeat.") \
    F (UINT, assignment, _, .doc = "Version of the assignment that it follows; 0: none since its start.") \
    F (RECORDS, tasks, task_state, .max = 4096, .doc = "Every task that it has or had since its assignment named it.") \
    F (RECORDS, shards, shard_state, .max = 4096, .doc = "Every aggregator.") \
    F (RECORDS, points, metric_report, .max = 4096, .doc = "Metric values not reported before; repeated until a metrics_stored names them.") \
    F (REAL, load, _, .doc = "The machine's load average over a minute.")
RECORD_DECLARE (worker_report, WORKER_REPORT)
/*  From the leader's "scheduler": the metric points of a report are in the ledger. */
#define METRICS_STORED(F) \
    F (RECORDS, points, metric_report, .max = 4096, .doc = "Which.")
RECORD_DECLARE (metrics_stored, METRICS_STORED)

/*  A group as its members and its aggregators see it. */
#define GROUP_MEMBER(F) \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, attempt, _, .doc = "Incarnation of the rank.") \
    F (KEY, key, _, .doc = "Key of its process; zero: not running now.") \
    F (BOOL, done, _, .doc = "It has succeeded and contributes no more.")
RECORD_DECLARE (group_member, GROUP_MEMBER)
#define GROUP_SHARD(F) \
    F (UINT, index, _, .doc = "Which shard.") \
    F (UINT, generation, _, .doc = "Incarnation of the shard.") \
    F (KEY, node, _, .doc = "Key of the worker that hosts it.") \
    F (STRING, endpoint, _, .max = 200, .doc = "That worker's data lane.") \
    F (BOOL, ready, _, .doc = "It serves.")
RECORD_DECLARE (group_shard, GROUP_SHARD)
#define GROUP_VIEW(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, epoch, _, .doc = "Views with a higher epoch replace this one; of equal epochs the later version.") \
    F (UINT, version, _, .doc = "Of the assignment that brought it.") \
    F (BOOL, complete, _, .doc = "Every rank runs (or is done) and every shard serves.") \
    F (RECORD, aggregation, aggregation, .doc = "As the job says.") \
    F (RECORDS, members, group_member, .max = 4096, .doc = "By rank; as many as the world's size.") \
    F (RECORDS, shards, group_shard, .max = 1024, .doc = "By index.")
RECORD_DECLARE (group_view, GROUP_VIEW)

/*  An order to run a rank. */
#define TASK_ORDER(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, attempt, _, .doc = "Incarnation: a higher one replaces a lower one.") \
    F (BOOL, stop, _, .doc = "Stop it, by the job's stop policy.") \
    F (UINT, epoch, _, .doc = "The job's epoch.") \
    F (UINT, world, _, .doc = "Ranks in all.") \
    F (RECORD, spec, job_spec, .doc = "The job.")
RECORD_DECLARE (task_order, TASK_ORDER)
#define SHARD_ORDER(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, index, _, .doc = "Which shard.") \
    F (UINT, generation, _, .doc = "Incarnation: a higher one replaces a lower one, empty.")
RECORD_DECLARE (shard_order, SHARD_ORDER)

/*  From the leader's "scheduler" to a worker's "agent": all that the worker shall
    run, in full. What is not named is stopped and forgotten; so a lost or
    repeated assignment does no harm. */
#define ASSIGNMENT(F) \
    F (UINT, version, _, .doc = "The leader's term times 2^32 plus a counter: a lower one than was seen is ignored.") \
    F (RECORDS, tasks, task_order, .max = 4096, .doc = "Tasks.") \
    F (RECORDS, shards, shard_order, .max = 4096, .doc = "Aggregators.") \
    F (RECORDS, groups, group_view, .max = 4096, .doc = "The groups of those tasks and aggregators.")
RECORD_DECLARE (assignment, ASSIGNMENT)

/*  A master's "gateway" to a worker's "logs": a rank's captured output. The
    reply comes when there is something to say or wait_ms has passed. */
#define LOG_READ(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, attempt, _, .doc = "Which run.") \
    F (UINT, offset, _, .unit = "bytes", .doc = "Where to begin.") \
    F (UINT, max, _, .def = "65536", .max = 1048576, .unit = "bytes", .doc = "How much at most.") \
    F (UINT, wait_ms, _, .max = 30000, .unit = "ms", .doc = "How long to wait for more.")
RECORD_DECLARE (log_read, LOG_READ)
#define LOG_CHUNK(F) \
    F (UINT, offset, _, .doc = "Of the first byte.") \
    F (BYTES, data, _, .max = 1048576, .doc = "Output, stdout and stderr as they came.") \
    F (BOOL, end, _, .doc = "The run has ended and this is its last chunk.")
RECORD_DECLARE (log_chunk, LOG_CHUNK)

/*  "gateway" to "scheduler" on its own master: the soft state that is in no ledger. */
#define CLUSTER_VIEW_GET(F) F (STRING, job_id, _, .max = 63, .doc = "Traffic of this job's tasks; empty: of none.")
RECORD_DECLARE (cluster_view_get, CLUSTER_VIEW_GET)
#define WORKER_VIEW(F) \
    F (KEY, key, _, .doc = "Its key.") \
    F (BOOL, alive, _, .doc = "Heard of lately.") \
    F (UINT, heard_ms_ago, _, .unit = "ms", .doc = "Since it was last heard of.") \
    F (REAL, load, _, .doc = "As its last heartbeat said.")
RECORD_DECLARE (worker_view, WORKER_VIEW)
#define TASK_TRAFFIC(F) \
    F (UINT, rank, _, .flags = RECORD_COLUMN, .doc = "Rank.") \
    F (UINT, attempt, _, .flags = RECORD_COLUMN, .doc = "Which run of it.") \
    F (UINT, bytes_pushed, _, .flags = RECORD_COLUMN, .unit = "bytes", .doc = "To the aggregators so far.") \
    F (UINT, bytes_pulled, _, .flags = RECORD_COLUMN, .unit = "bytes", .doc = "From the aggregators so far.")
RECORD_DECLARE (task_traffic, TASK_TRAFFIC)
#define CLUSTER_VIEW(F) \
    F (RECORDS, workers, worker_view, .max = 65536, .doc = "Every worker that was heard of.") \
    F (RECORDS, traffic, task_traffic, .max = 4096, .doc = "Of the job that was asked for, by rank.")
RECORD_DECLARE (cluster_view, CLUSTER_VIEW)

/*  ---- within a worker -------------------------------------------------------- */

/*  "agent" to "executor": the tasks that shall run, in full. The executor answers
    with task_states whenever something changes. */
#define TASK_ORDERS(F) \
    F (RECORDS, tasks, task_order, .max = 4096, .doc = "Tasks.") \
    F (RECORD, capacity, resources, .doc = "What the worker offers: a task that would exceed it waits until those that are being stopped are gone.")
RECORD_DECLARE (task_orders, TASK_ORDERS)
#define TASK_STATES(F) F (RECORDS, tasks, task_state, .max = 4096, .doc = "Every task.")
RECORD_DECLARE (task_states, TASK_STATES)

/*  "agent" to "aggregator": the shards that shall be hosted, in full, and the views
    of their groups. It answers with shard_states whenever something changes. */
#define SHARD_ORDERS(F) \
    F (RECORDS, shards, shard_order, .max = 4096, .doc = "Aggregators.") \
    F (RECORDS, groups, group_view, .max = 4096, .doc = "Their groups.")
RECORD_DECLARE (shard_orders, SHARD_ORDERS)
#define SHARD_STATES(F) F (RECORDS, shards, shard_state, .max = 4096, .doc = "Every aggregator.")
RECORD_DECLARE (shard_states, SHARD_STATES)

/*  ---- tasks and their worker's agent ------------------------------------------ */

/*  The file that NEXUS_TASK_FILE names: who a task is. Mode 0600. */
#define TASK_FILE(F) \
    F (STRING, job_id, _, .doc = "Job.") \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, world, _, .doc = "Ranks in all.") \
    F (UINT, attempt, _, .doc = "Incarnation.") \
    F (KEY, agent, _, .doc = "The worker's public key.") \
    F (STRING, endpoint, _, .doc = "ipc:// endpoint of the worker's agent.") \
    F (KEY, public_key, _, .doc = "The task's own key.") \
    F (KEY, secret_key, _, .flags = RECORD_SECRET, .doc = "Its secret half.") \
    F (STRING, checkpoints, _, .doc = "Directory for checkpoints.") \
    F (UINT, checkpoints_keep, _, .def = "2", .doc = "How many to keep.")
RECORD_DECLARE (task_file, TASK_FILE)

/*  A task to "agent": tell me my group, now and whenever it changes (as group_view messages to
    the sender). Repeated by the task until a view comes. */
#define TASK_JOIN(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, attempt, _, .doc = "Incarnation.")
RECORD_DECLARE (task_join, TASK_JOIN)
/*  A task to "agent", as a request: new metric values and the traffic so far. The reply is a done. */
#define TASK_METRICS(F) \
    F (RECORDS, points, metric_point, .max = 1024, .doc = "Values.") \
    F (UINT, bytes_pushed, _, .doc = "So far.") \
    F (UINT, bytes_pulled, _, .doc = "So far.")
RECORD_DECLARE (task_metrics, TASK_METRICS)
/*  "agent" to a task: the job is being stopped. */
#define TASK_STOP(F) F (UINT, grace_ms, _, .doc = "Until it is killed.")
RECORD_DECLARE (task_stop, TASK_STOP)

/* clang-format on */
