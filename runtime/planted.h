/*  planted - bugs that are there on purpose, to see whether the tests find them

    A simulator that finds nothing proves little. So a number of places where others
    went wrong (or nearly) carry the wrong variant beside the right one:

        if (commit_is_of_this_term || PLANTED (COMMIT_OLDER_TERM))

    In every normal build PLANTED is the constant false, and nothing of it is left. With
    -DNEXUS_PLANTED_BUGS=ON (preset "planted") one bug at a time can be switched on, by
    `nexus simulate --plant commit-older-term` or the environment's NEXUS_PLANT, and
    tests/simulation/planted_test asks of the simulator that it finds each of them.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>

/*  B (NAME, name, what it does, where). */
/* clang-format off */
#define PLANTED_BUGS(B)                                                                            \
    B (VOTE_NOT_PERSISTED,    "vote-not-persisted",    "the vote is not written with the term",            "raft.c, s_ready_write") \
    B (VOTE_BEFORE_FLUSH,     "vote-before-flush",     "a granted vote leaves before it is on disk",       "raft_election.c, raft_on_vote") \
    B (CANDIDACY_BEFORE_FLUSH, "candidacy-before-flush", "votes are asked for before the own one is on disk", "raft_election.c, s_campaign") \
    B (VOTE_TWICE,            "vote-twice",            "two candidates of one term get the vote",          "raft_election.c, raft_on_vote") \
    B (VOTE_WITHOUT_LOG,      "vote-without-log",      "the vote goes to a shorter log as well",           "raft_election.c, raft_on_vote") \
    B (TRANSFER_WITHOUT_LOG,  "transfer-without-log",  "a transferee need not be up to date",              "raft_election.c, raft_on_vote") \
    B (PRE_VOTE_RAISES_TERM,  "pre-vote-raises-term",  "asking for a pre-vote changes others' terms",      "raft_step.c, s_later_term") \
    B (ACK_BEFORE_FLUSH,      "ack-before-flush",      "entries are acknowledged before they are on disk", "raft_replication.c, raft_on_append") \
    B (COUNT_SELF_UNWRITTEN,  "count-self-unwritten",  "the leader counts itself before its own disk",     "raft_replication.c, raft_acknowledge_self") \
    B (COMMIT_OLDER_TERM,     "commit-older-term",     "entries of earlier terms are committed by counting", "raft_replication.c, raft_maybe_commit") \
    B (HEARTBEAT_COMMIT,      "heartbeat-commit",      "heartbeats tell more commit than the follower matches", "raft_replication.c, raft_heartbeat") \
    B (APPEND_UNMATCHED,      "append-unmatched",      "entries are taken whatever stands before them",     "raft_journal.c, raft_journal_append") \
    B (TRUNCATE_ALWAYS,       "truncate-always",       "what follows an append is cut off without a conflict", "raft_journal.c, raft_journal_append") \
    B (TRUNCATE_KEEPS_DURABLE, "truncate-keeps-durable", "after a truncation the old end counts as on disk", "raft_journal.c, s_truncate") \
    B (TRUNCATE_KEEPS_WRITES, "truncate-keeps-writes", "a write under way counts for what replaced it",    "raft_journal.c, s_truncate") \
    B (APPLY_BEFORE_FLUSH,    "apply-before-flush",    "the ledger applies what is not on its own disk",   "raft.c, s_ready_committed") \
    B (LEASE_FORGOTTEN,       "lease-forgotten",       "a restart forgets the lease that it promised",     "raft.c, raft_new") \
    B (LEASE_OF_WALL_CLOCK,   "lease-of-wall-clock",   "timeouts and leases go by a clock that jumps",     "election.c, election_now_ms") \
    B (LEASE_FROM_ANSWER,     "lease-from-answer",     "a lease begins when the heartbeat's answer comes", "raft_replication.c, s_extend_lease") \
    B (LEASE_AFTER_TRANSFER,  "lease-after-transfer",  "a leader keeps its lease while it hands over",     "raft_election.c, raft_send_timeout_now") \
    B (READ_BEFORE_NOOP,      "read-before-noop",      "a new leader's reads don't wait for its first commit", "raft_read.c, raft_reads_begin") \
    B (READ_ID_REUSED,        "read-id-reused",        "the answer to an earlier read confirms a later one", "election_requests.c, s_confirms") \
    B (READ_BEFORE_APPLIED,   "read-before-applied",   "a read does not wait until its index is applied",  "election_requests.c, s_reads_applied") \
    B (REQUESTS_FORGOTTEN,    "requests-forgotten",    "a restart forgets which requests were done",       "requests.c, requests_load") \
    B (REQUEST_RENUMBERED,    "request-renumbered",    "a request that is passed on again is another one", "election_requests.c, s_pass_on") \
    B (CHANGE_BEFORE_NOOP,    "change-before-noop",    "masters change before the term has a commit",      "raft_replication.c, raft_changing") \
    B (TWO_CHANGES,           "two-changes",           "masters change while they are changing",           "raft_replication.c, raft_changing; apply_masters.c") \
    B (JOINT_ONE_MAJORITY,    "joint-one-majority",    "of two sets of voters the incoming one decides alone", "tracker.c, s_outgoing") \
    B (LEARNER_COUNTED,       "learner-counted",       "learners count for a majority",                    "tracker.c, s_incoming") \
    B (SNAPSHOT_OVER_NEWER,   "snapshot-over-newer",   "an old copy replaces a newer state",               "raft_snapshot.c, raft_on_snapshot and raft_restore") \
    B (COMPACT_TOO_EARLY,     "compact-too-early",     "the log is compacted before the copy is on disk",  "snapshots.c, make")
/* clang-format on */

#define PLANTED_ID(id, name, doc, where) PLANTED_##id,
typedef enum { PLANTED_NONE, PLANTED_BUGS (PLANTED_ID) PLANTED_COUNT } planted_t;

#ifdef NEXUS_PLANTED_BUGS
extern planted_t planted_now;
#define PLANTED(id) (planted_now == PLANTED_##id)
#else
#define PLANTED(id) (false)
#endif

typedef struct {
    const char *name, *doc, *where;
} planted_bug_t;

/*  Of PLANTED_NONE: all NULL. */
const planted_bug_t *planted_bug (planted_t bug);
/*  Switches one on, and the others off; "" or NULL: none. -1 if there is no such bug, or this
    build has none. Before any thread or process begins. */
int planted_plant (const char *name, nexus_error_t *error);
/*  Of the one that is switched on; NULL: none. */
const char *planted_name (void);
