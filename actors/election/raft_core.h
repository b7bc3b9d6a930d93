/*  raft_core - the inside of raft: shared by the files of the core, included by nobody else

    raft.c              life cycle, time, the ready loop
    raft_step.c         a message comes in: terms first, then by type
    raft_snapshot.c     those who need what is compacted
    raft_repair.c       entries that the own disk has lost
    raft_election.c     roles, campaigns, votes
    raft_replication.c  proposals, MsgApp and its answers, commit, heartbeats
    raft_read.c         ReadIndex and the lease
*/
#pragma once

#include "actors/election/raft.h"
#include "actors/election/raft_journal.h"
#include "actors/election/tracker.h"
#include "runtime/planted.h"

/*  Heartbeat rounds whose time of sending is remembered, for the lease. */
#define RAFT_ROUNDS 64

/*  A message that may leave once the write numbered sequence is durable: the next one, which
    has no number yet, or the last one, if there is nothing to write. */
#define RAFT_UNNUMBERED UINT64_MAX
typedef struct {
    uint64_t sequence;
    raft_message_t message;
} raft_held_t;

/*  A read that waits for a heartbeat round to be answered; round 0: not begun. */
typedef struct {
    uint64_t from;
    uint64_t id;
    uint64_t index;
    uint64_t round;
} raft_waiting_read_t;

struct raft {
    raft_config_t config;
    raft_journal_t journal;
    tracker_t tracker;

    uint64_t term;
    uint64_t vote;
    uint64_t term_written; /* as it was last handed out for writing */
    uint64_t vote_written;
    raft_role_t role;
    uint64_t leader;
    raft_soft_state_t soft_reported;

    uint64_t random;
    int64_t now_ms;
    int64_t election_deadline_ms;  /* not leader: campaign */
    int64_t heartbeat_deadline_ms; /* leader: the next heartbeat */
    int64_t quorum_deadline_ms;    /* leader: the next quorum check */
    int64_t promise_ms;            /* no vote before that: what leaders were promised */
    int64_t campaign_ms;           /* when the last campaign began */
    uint32_t attempts;             /* campaigns since a leader was last heard of */
    bool late_excused;             /* the deadline was put off once: see raft_tick */
    int64_t apply_deadline_ms;     /* follower: before it, committed entries wait */
    bool hurry;                    /* they don't: raft_hurry */
    int64_t commit_deadline_ms; /* leader: when followers hear of a commit; INT64_MAX: they know */
    int64_t contact_ms;         /* when a leader was last heard of; a start counts as such */

    uint64_t transferee;
    int64_t transfer_deadline_ms;
    bool lease_void;        /* a MsgTimeoutNow left in this term: leases protect no longer */
    bool leaving;           /* leader, but no voter any more: until others can go on without it */
    uint64_t leaving_round; /* the heartbeat that tells them that; 0: they lack entries yet */

    raft_blob_t *founding;       /* the first entry, if it is this node's; or NULL */
    uint64_t term_start;         /* leader: the index of the term's no-op */
    uint64_t pending_conf_index; /* leader: no other change before this one is applied */
    size_t uncommitted_bytes;
    size_t applying_bytes;

    uint64_t sequence;  /* of the last write that was handed out */
    uint64_t persisted; /* and of the last one that is durable */
    raft_held_t *held;
    size_t held_count;
    size_t held_capacity;
    raft_messages_t outbox;

    uint64_t damaged;      /* the lowest entry that can't be read; 0: none */
    raft_entry_t *repairs; /* to be put back with the next write */
    size_t repairs_count;
    size_t repairs_room;
    uint64_t repair_from; /* who sent what is being put back, and when; 0: nothing is */
    uint64_t repair_term;
    uint64_t repair_upto;     /* with that, the log is his up to here */
    uint64_t repair_sequence; /* of that write; 0: not handed out yet */

    uint64_t round;
    struct {
        int64_t sent_ms;
        int64_t timeout_ms; /* as it was announced */
    } rounds[RAFT_ROUNDS];
    raft_waiting_read_t *waiting; /* oldest first; room for reads_max */
    size_t waiting_count;
    raft_read_t *answers;
    size_t answers_count;
    size_t answers_capacity;

    uint64_t snapshot_index; /* of the durable copy of the state machine; 0: there is none */
    uint64_t snapshot_term;
    raft_offer_t offer; /* follower: the leader's, to be handed out */

    uint64_t contradicted; /* committed here, and something else at the leader; 0: nothing is */
    uint64_t forgotten;    /* acknowledged, and not there; 0: nothing is */
    struct {
        unsigned count; /* heartbeat rounds in a row that say so, */
        uint64_t last;  /* the last one of them, */
        uint64_t term;  /* and whose they are */
    } lacking;
    uint64_t anomalies;
    uint64_t elections;
    uint64_t disk_stalls;
};

/*  raft.c */
/*  Fills in the sender (and, if it is 0, the term) and queues the message; its entries move. */
void raft_send (raft_t *self, raft_message_t message);
/*  The same, but only after all that has to be written by now is durable. To oneself: the
    message is then stepped. */
void raft_send_durable (raft_t *self, raft_message_t message);
int64_t raft_random_timeout (raft_t *self);
/*  A number below that. */
int64_t raft_random (raft_t *self, int64_t below);
/*  The own disk has been writing for an election timeout. */
bool raft_disk_stalled (const raft_t *self);

/*  raft_step.c */
void raft_step_checked (raft_t *self, const raft_message_t *message);

/*  raft_election.c */
typedef enum { RAFT_CAMPAIGN_PRE, RAFT_CAMPAIGN_REAL, RAFT_CAMPAIGN_TRANSFER } raft_campaign_t;
void raft_become_follower (raft_t *self, uint64_t term, uint64_t leader);
/*  Begins a campaign if this node can be leader at all. */
bool raft_election_begin (raft_t *self, bool transfer);
void raft_on_vote (raft_t *self, const raft_message_t *message);
void raft_on_vote_resp (raft_t *self, const raft_message_t *message);
/*  A leader that is no voter any more steps down as soon as the others don't need it. */
void raft_leave_check (raft_t *self);
/*  Somebody else may hold a lease: votes have to wait (thesis 4.2.3, 6.4.1). */
bool raft_in_lease (const raft_t *self);
/*  The leader is known to lead no more: what was promised to it is void. */
void raft_forget_leader (raft_t *self);
/*  On a follower: its leader is out of reach, or surely no leader any more; then nothing that was
    promised to it counts. Campaigns soon. */
void raft_leader_gone (raft_t *self, bool surely);
/*  A leader was heard: takes its timeout over and promises it not to vote meanwhile. */
void raft_promise (raft_t *self, uint64_t timeout_ms);
void raft_send_timeout_now (raft_t *self, uint64_t to);

/*  raft_replication.c */
void raft_on_append (raft_t *self, const raft_message_t *message);
void raft_on_append_resp (raft_t *self, const raft_message_t *message);
void raft_on_heartbeat (raft_t *self, const raft_message_t *message);
void raft_on_heartbeat_resp (raft_t *self, const raft_message_t *message);
/*  A new round of heartbeats to everybody. */
void raft_heartbeat (raft_t *self);
/*  Sends all that may be sent now. */
void raft_replicate (raft_t *self);
/*  An entry of the own term at the end of the log; takes the blob's reference. */
uint64_t raft_push (raft_t *self, raft_entry_type_t type, raft_blob_t *blob);
/*  Leader: the own disk has come further. */
void raft_acknowledge_self (raft_t *self);
void raft_maybe_commit (raft_t *self);
/*  Leader: no change of the configuration can be proposed now. */
bool raft_changing (const raft_t *self);

/*  raft_snapshot.c */
/*  Leader: the peer needs entries that are compacted. Offers the copy, if there is one. */
void raft_offer_snapshot (raft_t *self, tracker_progress_t *peer);
void raft_on_snapshot (raft_t *self, const raft_message_t *message);

/*  Refuses a MsgApp whose entry before the first is another one here, or missing. */
void raft_reject_append (raft_t *self, const raft_message_t *message);

/*  raft_repair.c */
/*  Has a reader found damage? Then whoever leads doesn't any more. */
void raft_damage_look (raft_t *self);
/*  A MsgApp that reaches the damage. */
void raft_on_append_damaged (raft_t *self, const raft_message_t *message);
/*  Tells the leader, who may have nothing to send. */
void raft_on_heartbeat_damaged (raft_t *self, const raft_message_t *message);
/*  A write is handed out, with what is to be put back. */
void raft_repairs_written (raft_t *self, raft_ready_t *ready);
/*  Writes are durable: is there still damage? */
void raft_repairs_durable (raft_t *self);
void raft_repairs_forget (raft_t *self);

/*  raft_read.c */
bool raft_committed_in_term (const raft_t *self);
void raft_on_read_index (raft_t *self, const raft_message_t *message);
void raft_on_read_index_resp (raft_t *self, const raft_message_t *message);
void raft_reads_answer (raft_t *self, uint64_t to, uint64_t id, uint64_t index,
                        raft_result_t result);
/*  Begins a round for the reads that came since the last one. */
void raft_reads_begin (raft_t *self);
/*  Answers the reads whose round a quorum has answered. */
void raft_reads_confirm (raft_t *self);
/*  Leadership is gone: all who wait shall ask somebody else. */
void raft_reads_fail (raft_t *self);
