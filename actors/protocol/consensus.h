/*  consensus - what the elections of the masters tell each other

    Raft's messages, and two requests of other actors to the election. Ids: 130-139.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/message.h"

/*  What to do about a master whose directory can't be trusted any more; ends a sentence. */
#define CONSENSUS_REPLACE_MASTER                                                                 \
    "remove it (nexus master remove), stop it, empty its directory but for node.key, api-* and " \
    "its "                                                                                       \
    "configuration, start it with `join: true`, and add it again (nexus master add)"

/* clang-format off */

#define CONSENSUS_ENTRY(F) \
    F (UINT, index, _, .doc = "Its place in the log.") \
    F (UINT, term, _, .doc = "The term that it was proposed in.") \
    F (UINT, type, _, .max = 1, .doc = "0: a command, or without data a leader's no-op; 1: a change of the configuration.") \
    F (BYTES, data, _, .max = 1048576, .doc = "The command.")
RECORD_DECLARE (consensus_entry, CONSENSUS_ENTRY)

/*  From "election" to "election" of another master. */
#define CONSENSUS(F) \
    F (UINT, type, _, .min = 1, .max = 13, .doc = "1 MsgApp, 2 MsgAppResp, 3 MsgHeartbeat, 4 MsgHeartbeatResp, 5 MsgVote, 6 MsgVoteResp, 7 MsgPreVote, 8 MsgPreVoteResp, 9 MsgTimeoutNow, 10 MsgTransferLeader, 11 MsgReadIndex, 12 MsgReadIndexResp, 13 MsgSnap.") \
    F (UINT, term, _, .doc = "The sender's term; of a MsgPreVote and its grant, the one after it.") \
    F (UINT, index, _, .doc = "MsgApp: the entry before entries. MsgAppResp: all is on disk up to here; if rejected, the index that was asked about. MsgVote, MsgPreVote: the candidate's last entry. MsgReadIndexResp: what to wait for. MsgSnap: the last entry that the leader's copy of the state covers.") \
    F (UINT, log_term, _, .doc = "The term of the entry at index; of a rejection, at reject_hint.") \
    F (UINT, commit, _, .doc = "The leader's commit index. MsgHeartbeat: no more of it than the receiver has acknowledged to this leader; one that lacks it all the same has lost it, and ends.") \
    F (UINT, reject_hint, _, .doc = "MsgAppResp: the logs may agree up to here.") \
    F (UINT, context, _, .doc = "MsgHeartbeat and its answer: the round. MsgReadIndex and its answer: the request's number.") \
    F (BOOL, reject, _, .doc = "Answers: no.") \
    F (BOOL, force, _, .doc = "MsgVote: the leader asked for it. MsgAppResp, rejected: what was acknowledged behind reject_hint is damaged; send it again.") \
    F (RECORDS, entries, consensus_entry, .max = 1024, .doc = "MsgApp: ascending, without gaps.") \
    F (UINT, election_ms, _, .max = 600000, .unit = "ms", .doc = "MsgApp, MsgHeartbeat: the election timeout that all shall take, within their bounds. MsgHeartbeatResp: the sender votes for nobody for that long.") \
    F (UINT, cluster, _, .doc = "The sender's cluster's number; 0: it doesn't know yet. Those of another cluster are not listened to.") \
    F (UINT, incarnation, _, .doc = "Of the sender's log, drawn when that was made.") \
    F (UINT, expected, _, .doc = "The incarnation of the receiver's log that is on record (or, if has_nothing, that was heard of last); 0: none.") \
    F (BOOL, has_nothing, _, .doc = "The sender's log and ledger are empty.") \
    F (UINT, record_index, _, .doc = "Log index of the configuration that the sender has in force, if its own incarnation stands there; 0: it doesn't.")
RECORD_DECLARE (consensus, CONSENSUS)

/*  To "election" on any master, as a request: wait until the ledger of this master
    has everything that was committed in the cluster when the request came; what is
    then read from it is linearizable. The reply is a done record whose value is the
    applied index, or a failure (NEXUS_UNAVAILABLE, NEXUS_DEADLINE). */
#define READ_BARRIER(F) \
    F (UINT, index, _, .doc = "And at least up to this index.")
RECORD_DECLARE (read_barrier, READ_BARRIER)

/*  To "election" on any master, as a request: let another master lead. The reply is a
    done record whose value is the new term, when somebody else leads; or a failure. */
#define LEADERSHIP_TRANSFER(F) \
    F (KEY, to, _, .doc = "The master that shall lead; zero: the one that is furthest.") \
    F (BOOL, own, _, .doc = "Only if the asked master leads: not passed on.")
RECORD_DECLARE (leadership_transfer, LEADERSHIP_TRANSFER)

#define MASTER_OP_KINDS(E) \
    E (MASTER_OP_LEARNER, "learner") /* a new one comes, or a voter votes no more */ \
    E (MASTER_OP_VOTER, "voter")     /* a learner that has caught up votes */ \
    E (MASTER_OP_REMOVE, "remove")
RECORD_ENUM (master_op_kind, MASTER_OP_KINDS)

enum { MASTER_OPS_MAX = 16 };
#define MASTER_OP(F) \
    F (ENUM, op, master_op_kind, .doc = "What happens to it.") \
    F (RECORD, master, master, .doc = "Which: its key; a new one's name and endpoints too.")
RECORD_DECLARE (master_op, MASTER_OP)

/*  To "election" on any master, as a request: change who the masters are. One change of
    one voter at most is done simply; more of them at once go through a joint
    configuration, which is left by itself. The reply is a proposed when the change is in
    force on the leader, or a failure: NEXUS_CONFLICT with the reason if it can't be done (now),
    NEXUS_EXISTS if there is nothing to do, NEXUS_UNAVAILABLE: nothing was done, retry. A
    leader that shall vote no more lets another one lead first, which does the rest. */
#define MASTER_CHANGE(F) \
    F (RECORDS, changes, master_op, .max = 16, .doc = "What changes, in this order; nothing: a joint configuration is left.") \
    F (BOOL, stay, _, .doc = "Stay in the joint configuration until it is left on demand.")
RECORD_DECLARE (master_change, MASTER_CHANGE)

/*  To "election" on any master, as a request: how it sees the group. The reply is a raft_view. */
#define RAFT_VIEW_GET(F) \
    F (BOOL, peers, _, .def = "true", .doc = "And, of the leader, how it sees the others.")
RECORD_DECLARE (raft_view_get, RAFT_VIEW_GET)

#define RAFT_VIEW_ROLES(E) \
    E (RAFT_VIEW_FOLLOWER, "follower") \
    E (RAFT_VIEW_PRE_CANDIDATE, "pre-candidate") \
    E (RAFT_VIEW_CANDIDATE, "candidate") \
    E (RAFT_VIEW_LEADER, "leader")
RECORD_ENUM (raft_view_role, RAFT_VIEW_ROLES)
#define RAFT_VIEW_STATES(E) \
    E (RAFT_VIEW_PROBE, "probe") /* one message at a time: it isn't known where its log ends */ \
    E (RAFT_VIEW_REPLICATE, "replicate") \
    E (RAFT_VIEW_SNAPSHOT, "snapshot") /* it needs what is compacted: it gets a copy */
RECORD_ENUM (raft_view_state, RAFT_VIEW_STATES)

#define RAFT_PEER_VIEW(F) \
    F (KEY, key, _, .doc = "Which master.") \
    F (STRING, name, _, .flags = RECORD_COLUMN, .max = 63, .doc = "Its name, if the answer comes from the API.") \
    F (ENUM, state, raft_view_state, .flags = RECORD_COLUMN, .doc = "How it is supplied: probe, replicate, snapshot.") \
    F (BOOL, active, _, .flags = RECORD_COLUMN, .doc = "Heard of lately: within a second, or two election timeouts.") \
    F (BOOL, learner, _, .doc = "Gets everything, decides nothing.") \
    F (UINT, match, _, .flags = RECORD_COLUMN, .doc = "On its disk up to here.") \
    F (UINT, lag, _, .flags = RECORD_COLUMN, .doc = "Entries that it lacks.") \
    F (UINT, next, _, .doc = "The next entry to send.") \
    F (UINT, in_flight, _, .flags = RECORD_COLUMN, .doc = "Messages that it has not answered.") \
    F (UINT, in_flight_bytes, _, .unit = "bytes", .doc = "Entries in them.") \
    F (UINT, round_trip_us, _, .unit = "us", .flags = RECORD_COLUMN, .doc = "Of the last 256 measured heartbeats: p50. 0: not measured. None counts for more than the election timeout.") \
    F (UINT, round_trip_p99_us, _, .unit = "us", .flags = RECORD_COLUMN, .doc = "p99.") \
    F (INT, heard_ms_ago, _, .unit = "ms", .flags = RECORD_COLUMN, .doc = "Since its last answer to a heartbeat; -1: never.") \
    F (BOOL, refused, _, .doc = "It came with another log than is on record, and is not listened to.")
RECORD_DECLARE (raft_peer_view, RAFT_PEER_VIEW)

#define RAFT_VIEW(F) \
    F (ENUM, role, raft_view_role, .doc = "follower, pre-candidate, candidate, leader.") \
    F (UINT, term, _, .doc = "Its term.") \
    F (KEY, leader, _, .doc = "Who leads, as far as it knows; zero: nobody.") \
    F (BOOL, voter, _, .doc = "It takes part in decisions.") \
    F (UINT, first, _, .doc = "First entry of its log.") \
    F (UINT, last, _, .doc = "Last entry of its log.") \
    F (UINT, durable, _, .doc = "On disk up to here.") \
    F (UINT, commit, _, .doc = "Committed up to here, as far as it knows.") \
    F (UINT, applied, _, .doc = "Applied up to here.") \
    F (UINT, snapshot, _, .doc = "What its durable copy of the ledger covers.") \
    F (UINT, uncommitted_bytes, _, .unit = "bytes", .doc = "Proposals that wait for a majority's disks.") \
    F (UINT, waiting, _, .doc = "Proposals and reads of others that wait here.") \
    F (UINT, election_timeout_ms, _, .unit = "ms", .doc = "Silence after which it campaigns, up to twice that.") \
    F (UINT, heartbeat_ms, _, .unit = "ms", .doc = "Leader: between its heartbeats.") \
    F (UINT, flush_last_us, _, .unit = "us", .doc = "Its disk's last flush.") \
    F (UINT, flush_p50_us, _, .unit = "us", .doc = "p50 of the last 256.") \
    F (UINT, flush_p99_us, _, .unit = "us", .doc = "p99 of them.") \
    F (UINT, log_used_bytes, _, .unit = "bytes", .doc = "Of the log's map.") \
    F (UINT, log_limit_bytes, _, .unit = "bytes", .doc = "At 80 % of it, proposals are refused.") \
    F (UINT, ledger_used_bytes, _, .unit = "bytes", .doc = "Of the ledger's map.") \
    F (UINT, ledger_limit_bytes, _, .unit = "bytes", .doc = "And its size.") \
    F (UINT, incarnation, _, .doc = "Of its log, drawn when that was made.") \
    F (STRING, refused, _, .max = 400, .doc = "Why the others refuse it, and what to do; empty: they don't.") \
    F (UINT, refusals, _, .doc = "Messages of other masters that it dropped because their log is not the one that is known.") \
    F (UINT, elections, _, .doc = "Its campaigns since its start.") \
    F (UINT, anomalies, _, .doc = "Messages that made no sense.") \
    F (UINT, disk_stalls, _, .doc = "Leaderships given up because its disk hung.") \
    F (RECORDS, peers, raft_peer_view, .max = 96, .doc = "Leader: the others.") \
    F (UINT, damaged, _, .doc = "Lowest entry of its log that can't be read, 0: none. Until that is fetched it doesn't vote or lead.")
RECORD_DECLARE (raft_view, RAFT_VIEW)

/* clang-format on */
