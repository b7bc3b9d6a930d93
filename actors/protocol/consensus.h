/*  consensus - what the elections of the masters tell each other

    Raft's messages, and two requests of other actors to the election. Ids: 130-139.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/message.h"

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
    F (UINT, commit, _, .doc = "MsgApp, MsgHeartbeat: the leader's commit index.") \
    F (UINT, reject_hint, _, .doc = "MsgAppResp: the logs may agree up to here.") \
    F (UINT, context, _, .doc = "MsgHeartbeat and its answer: the round. MsgReadIndex and its answer: the request's number.") \
    F (BOOL, reject, _, .doc = "Answers: no.") \
    F (BOOL, force, _, .doc = "MsgVote: the leader asked for it.") \
    F (RECORDS, entries, consensus_entry, .max = 1024, .doc = "MsgApp: ascending, without gaps.") \
    F (UINT, election_ms, _, .max = 600000, .unit = "ms", .doc = "MsgApp, MsgHeartbeat: the election timeout that all shall take, within their bounds. MsgHeartbeatResp: the sender votes for nobody for that long.") \
    F (UINT, cluster, _, .doc = "The sender's cluster's number; 0: it doesn't know yet. Those of another cluster are not listened to.")
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

/* clang-format on */
