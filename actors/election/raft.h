/*  raft - consensus on a log of commands: a pure state machine

    Raft as in Ongaro's thesis ("Consensus: Bridging Theory and Practice", 2014),
    with PreVote (9.6), CheckQuorum and the leader's lease (6.2, 6.4.1), leadership
    transfer (3.10), ReadIndex (6.4), pipelining and parallel disk writes (10.2).

    No I/O, no clock, no randomness: time, messages, proposals and reports from the
    disk go in; what has to be sent, written and applied comes out. The same calls
    in the same order give the same output, always. Not thread-safe: one thread.

    The loop of the one who runs it, once a turn:

        raft_tick (raft, now_ms);
        raft_step (raft, &message);              as many as have come
        raft_propose (raft, ...);
        while (raft_ready (raft, &ready)) {
            send ready.messages                  at once
            if (ready.sequence)                  queue the write; when it is durable:
                ...                              raft_persisted (raft, ready.sequence)
            apply ready.committed                when done: raft_applied (raft, index)
            answer ready.reads
            raft_ready_clear (&ready);
        }
        wait until raft_deadline_ms (raft), or for something to come

    Writes are done in the order of their sequence numbers: truncate, append, hard
    state, all of it or nothing. What may leave only after a write (votes, vote
    requests, acknowledgements, the leader's own one) is held back here until
    raft_persisted says so, whereas a leader's MsgApp leaves while its own disk
    is still writing. There is nothing else to be careful about: whatever stands in
    ready.messages may be sent, in any order, late, twice or never.

    Snapshots. The core moves no state, only positions. Whoever runs it says up to where a
    copy of the state machine is durable (raft_set_snapshot); the log may be compacted up to
    there. A peer that needs what is compacted is offered the leader's copy with every
    heartbeat that it answers (MsgSnap). On the peer the offer comes out as ready.offer; when
    the copy is durable there, raft_restore begins the log anew behind it. Then the state
    machine has to become the copy, and raft_applied says so.

    Peers are not trusted to make sense: a message that contradicts the protocol is
    counted (raft_status_t.anomalies) and ignored.
*/
#pragma once

#include "actors/election/raft_types.h"
#include "actors/election/tracker.h"

typedef struct raft raft_t;

typedef struct {
    uint64_t id;
    /* A follower that hears nothing for one to two election timeouts campaigns, and votes for
       nobody within one. It takes the timeout from its leader's messages, within min and max;
       this is the one to begin with. A leader sends a heartbeat at least every heartbeat_ms. */
    int64_t election_timeout_ms;
    int64_t election_timeout_min_ms;
    int64_t election_timeout_max_ms;
    int64_t heartbeat_ms;
    /* What a follower promises a leader's lease at most: a node that starts doesn't know what it
       promised before it stopped, and votes for nobody for that long. */
    int64_t lease_max_ms;
    /* A write that takes that long, and an election timeout, ends a leadership. */
    int64_t disk_stall_ms;
    /* For how long followers may not hear that something was committed, if no entry goes to them
       that would tell them; 0: they are told at once, with a message of its own. */
    int64_t commit_delay_ms;
    /* A follower hands out what is committed at most that often, in larger batches, unless many
       entries wait or raft_hurry says that somebody does; 0: at once. */
    int64_t apply_delay_ms;
    uint64_t seed; /* of the randomised timeouts: differs between nodes and starts */
    bool pre_vote;
    bool check_quorum;     /* also what leases stand on */
    bool read_lease;       /* answer reads from the lease: trusts the clocks' rates */
    uint32_t inflight_max; /* messages to one follower that are not answered yet */
    size_t inflight_bytes_max;
    size_t message_bytes_max;     /* entries in one MsgApp; one entry always fits */
    size_t uncommitted_bytes_max; /* proposals beyond that are refused: RAFT_BUSY */
    size_t apply_bytes_max;       /* handed out and not yet reported applied */
    size_t cache_bytes_max;       /* newest entries kept in memory */
    size_t reads_max;             /* ReadIndex requests waiting */
    /* What was on disk when the node stopped. */
    raft_hard_state_t hard_state;
    raft_conf_state_t conf_state;
    uint64_t applied; /* what the state machine has; entries after it are handed out */
    raft_storage_t storage;
} raft_config_t;

/*  Sensible values for everything but id, seed, states and storage. */
raft_config_t raft_config_default (void);

typedef enum {
    RAFT_OK,
    RAFT_NOT_LEADER, /* ask the leader (raft_status_t.leader), or wait for one */
    RAFT_BUSY,       /* a limit is reached or something is under way: retry later */
    RAFT_INVALID     /* this can't be done, now or later */
} raft_result_t;

/*  NULL if the configuration or the state on disk can't be right; *ret_reason (a constant)
    says why. Nothing in config is referenced afterwards but the storage. */
raft_t *raft_new (const raft_config_t *config, int64_t now_ms, const char **ret_reason);
void raft_destroy (raft_t **self_p);

/*  Time, in milliseconds of a monotonic clock; going backwards is ignored. */
void raft_tick (raft_t *self, int64_t now_ms);
/*  When raft_tick has something to do, if nothing else happens before. */
int64_t raft_deadline_ms (const raft_t *self);
/*  On the leader: timeouts that fit the measured round trips, within the configured bounds; the
    followers take them over with the next message. */
void raft_set_timeouts (raft_t *self, int64_t election_timeout_ms, int64_t heartbeat_ms);

/*  A peer's message; message->from must be who really sent it. The caller keeps it. */
void raft_step (raft_t *self, const raft_message_t *message);

/*  Appends a command; takes the caller's reference to blob, whatever is returned. On RAFT_OK
    (*ret_index, *ret_term) is its place: it is decided when that index is committed, for it
    if the entry there has that term, against it otherwise. Nothing is forwarded: somebody
    who isn't told where his proposal went can't tell a lost one from a slow one. */
raft_result_t raft_propose (raft_t *self, raft_entry_type_t type, raft_blob_t *blob,
                            uint64_t *ret_index, uint64_t *ret_term);

/*  Asks for the index that a linearizable read has to wait for (applied >= index). The answer
    comes in ready.reads with the same id. If it doesn't come, ask again with a *fresh* id.
    Works on followers, through the leader. */
raft_result_t raft_read_index (raft_t *self, uint64_t id);

/*  The entry with which this node, if it is elected while the log is empty, opens it, in place of
    one without data; a change of the configuration that changes nothing. NULL: none. A reference
    is added. */
void raft_set_founding (raft_t *self, raft_blob_t *blob);
/*  What that peer said in the campaign under way, if there is one, doesn't count. */
void raft_distrust (raft_t *self, uint64_t id);
/*  Whether somebody waits for what is committed to be applied: see apply_delay_ms. */
void raft_hurry (raft_t *self, bool hurry);

/*  Campaigns now, without waiting for the timeout; but for a leader's lease. */
raft_result_t raft_campaign (raft_t *self);
/*  On the leader: hands leadership to a voter, within an election timeout or not at all. */
raft_result_t raft_transfer_leader (raft_t *self, uint64_t id);
/*  The connection to a peer broke. On the leader: what was in flight is probably lost. On a
    follower of that peer: it is probably gone, so the campaign begins as soon as the promise to
    its lease allows. */
void raft_unreachable (raft_t *self, uint64_t id);
/*  This node has a durable copy of its state machine as it was after (index, term): what a leader
    offers to those who are too far behind. Never one that is ahead of what is applied here. */
void raft_set_snapshot (raft_t *self, uint64_t index, uint64_t term);
/*  A copy that the leader offered is durable here. RAFT_OK: the log begins anew behind it (the
    next write says so), and the state machine has to become that copy before it applies
    anything more; raft_applied (raft, index) when it has. RAFT_INVALID: it is of no use, this log
    has come as far meanwhile, or this node leads; nothing was changed. */
raft_result_t raft_restore (raft_t *self, uint64_t index, uint64_t term);
/*  A configuration takes effect: its entry is being applied (call this before raft_applied names
    it), or it was restored. A leader that is no voter in it steps down as soon as others can go
    on without it. RAFT_INVALID: it makes no
    sense (tracker_conf_check), and nothing has changed. */
raft_result_t raft_configure (raft_t *self, const raft_conf_state_t *conf);
/*  Nothing was ever in the log, as far as this node can tell. */
bool raft_is_empty (const raft_t *self);
/*  The configuration in force here. */
const raft_conf_state_t *raft_conf (const raft_t *self);
/*  This node leads, and the joint configuration in force is to be left by itself (auto-leave):
    propose that (confchange_leave_joint (raft_conf)). False while a change is under way, and
    before the term's no-op is committed. */
bool raft_leave_due (const raft_t *self);

typedef struct {
    uint64_t id;
    uint64_t index;       /* if result is RAFT_OK */
    raft_result_t result; /* RAFT_OK, or RAFT_NOT_LEADER: ask again with a fresh id */
} raft_read_t;

typedef struct {
    raft_role_t role;
    uint64_t leader; /* 0: not known */
    uint64_t term;
} raft_soft_state_t;

raft_soft_state_t raft_soft_state (const raft_t *self);

/*  A copy that the leader has, for a log that is too far behind. */
typedef struct {
    uint64_t from; /* the leader */
    uint64_t index;
    uint64_t term;
} raft_offer_t;

/*  What is to be done now. It belongs to the caller until raft_ready_clear; blobs can be
    kept longer with references of their own. */
typedef struct {
    bool soft_changed;
    raft_soft_state_t soft;
    uint64_t sequence; /* 0: nothing to write; it is always to be synced */
    raft_hard_state_t hard;
    uint64_t snapshot_index; /* before that, drop the whole log: it begins anew behind this; or 0 */
    uint64_t snapshot_term;
    uint64_t truncate_from; /* before that, drop what is stored from here on; 0: nothing */
    raft_entry_t *repairs;  /* of entries that are damaged: put them back */
    size_t repairs_count;
    raft_entry_t *append;
    size_t append_count;
    raft_entry_t *committed; /* durable here as well */
    size_t committed_count;
    raft_messages_t messages;
    raft_read_t *reads;
    size_t reads_count;
    raft_offer_t offer; /* index 0: none. Comes again and again for as long as it stands */
} raft_ready_t;

/*  Fills *ready and returns true if there is something to do. */
bool raft_ready (raft_t *self, raft_ready_t *ready);
void raft_ready_clear (raft_ready_t *ready);

/*  All writes up to sequence are on disk, to stay. */
void raft_persisted (raft_t *self, uint64_t sequence);
/*  The state machine has everything up to index, which was handed out before. */
void raft_applied (raft_t *self, uint64_t index);

/*  Certainly the only leader at this moment, for all clocks that run at rates within 10 %:
    without a message, and without the guarantees that ReadIndex gives under any clock. */
bool raft_lease_valid (const raft_t *self);

typedef struct {
    uint64_t id;
    raft_soft_state_t soft;
    raft_hard_state_t hard;
    uint64_t first;
    uint64_t last;
    uint64_t durable;
    uint64_t applied;
    bool settled;  /* leads, and has applied everything of earlier terms */
    bool voter;    /* takes part in decisions, as far as is known here */
    bool changing; /* leads, and takes no change of the configuration now: one is under way, or
                      the term's no-op isn't committed */
    size_t uncommitted_bytes;
    uint64_t transferee;         /* 0: no transfer under way */
    uint64_t anomalies;          /* messages that made no sense */
    uint64_t elections;          /* campaigns begun */
    int64_t election_timeout_ms; /* in force */
    int64_t heartbeat_ms;
    uint64_t damaged;      /* the lowest entry that can't be read; 0: none. Until it is
                             fetched this node doesn't vote, lead or acknowledge more */
    uint64_t contradicted; /* this entry was committed here, and the leader has another one there:
                              somebody has lost what was acknowledged. 0: nothing like that */
    uint64_t forgotten;    /* this entry was acknowledged from here, and is not there. 0: none */
    uint64_t disk_stalls;  /* leaderships given up because the own disk hung */
    uint64_t snapshot;     /* the index that the durable copy covers; 0: none */
} raft_status_t;
void raft_status (const raft_t *self, raft_status_t *status);

/*  A peer's progress, for display; NULL if unknown. Valid until the next call. */
const tracker_progress_t *raft_progress (const raft_t *self, uint64_t id);
