/*  election_private - the inside of the election, shared by its files

    election.c            the behaviour: life, messages, timers, the ready loop
    election_requests.c   those who wait: proposals, reads, transfers
    election_members.c    who takes part: keys, the configuration, its changes
    election_admission.c  whose messages count: those of the logs that are on record
    election_view.c       how it all looks from here
    election_snapshot.c   copies of the ledger: offered, stored, restored
    election_wire.c       messages as records
*/
#pragma once

#include "actors/election/election.h"
#include "actors/protocol/snapshot.h"
#include "actors/election/raft.h"
#include "actors/election/timeouts.h"

enum { ELECTION_SUBSCRIBERS_MAX = 16 };

/*  Those who wait at once, at most; more are refused. */
enum { ELECTION_WAITING_MAX = 65536 };

/*  Who asks, so that it is done once (see once_t); client 0: nobody looks after that. */
typedef struct {
    uint64_t client, sequence, after;
} election_asker_t;

/*  A proposal in this master's log: it is decided when its index is committed. */
typedef struct {
    uint64_t index;
    uint64_t term;
    message_t *request;
    election_asker_t asker; /* of one that was a relay before; else client 0 */
} election_proposal_t;

/*  A request that was passed on to the leader. A proposal is passed on until it is known what
    became of it: a copy may still be on its way when the leader says that nothing was done. */
typedef struct {
    uint64_t correlation;   /* 0: it is to be passed on again */
    message_t *request;     /* NULL: answered */
    election_asker_t asker; /* client 0: no proposal, it is not repeated */
} election_relay_t;

/*  A read that waits, first for its index, then for the ledger. All that come in one turn ask
    Raft together, under one number. */
typedef struct {
    uint64_t id; /* the first number that it was asked under; 0: not asked yet */
    uint64_t index;
    bool confirmed;
    message_t *request;
} election_read_t;

/*  Whom a number of the core stands for. Also those who aren't members (yet), but have spoken: a
    leader may be one by an entry that isn't applied here. */
typedef struct {
    uint64_t id;
    record_key_t key;
    uint64_t heard;        /* the incarnation of its log, as it said last; 0: it said nothing yet */
    bool has_nothing;      /* its log and ledger were empty then */
    bool knows_us;         /* it named this master's incarnation then */
    uint64_t record_index; /* of the configuration with that incarnation, as it said; or 0 */
    bool refused;          /* it came with another log than is on record */
    int64_t complain_ms;   /* when it may be complained about again */
} election_peer_t;
enum { ELECTION_PEERS_MAX = 128, ELECTION_MEMBERS_MAX = 96 };

/*  A change of the configuration on its way through the ledger. */
typedef struct {
    uint64_t index;
    raft_blob_t *blob;
} election_change_t;

typedef struct {
    const election_args_t *args;
    uint64_t id;
    int64_t now_ms; /* as it was when last looked at */
    election_peer_t peers[ELECTION_PEERS_MAX];
    size_t peers_count;
    cluster_conf_t conf; /* in force here; its members are those below */
    conf_member_t members[ELECTION_MEMBERS_MAX];
    uint64_t incarnation;                       /* of the own log; 0: it has none */
    conf_member_t founders[QUORUM_MEMBERS_MAX]; /* as the log's first entry says */
    size_t founders_count;
    bool removed;               /* this master was a member, and is none any more */
    bool removal_told;          /* and has said so */
    uint64_t refused_as;        /* the others have that incarnation on record; 0: all is well */
    uint64_t refusals;          /* messages that were not listened to */
    election_change_t *changes; /* committed, not applied yet */
    size_t changes_count;
    size_t changes_room;
    uint64_t led_term; /* the last term that this master led, and since when */
    int64_t led_since_ms;
    message_t *leaving;  /* a change that waits until another master leads; or NULL */
    int64_t stranger_ms; /* when masters of another cluster may be complained about again */
    raft_t *raft;        /* NULL until the ledger has said where it stands */
    raft_hard_state_t hard;
    raft_status_t status; /* as it was when the last turn ended */
    uint64_t timer;       /* 0: none */
    int64_t timer_ms;
    bool log_full;
    uint64_t copy_index, copy_term; /* of this master's durable copy of the ledger; 0: none */
    uint64_t damaged;               /* as it was told */
    int64_t copy_asked_ms;          /* when a fresh one was last asked for */
    uint64_t copy_asked_index;      /* and what the last one covered then */
    bool failed;
    raft_ready_t begun; /* its messages are sent, the rest comes with the next turn; or empty */
    timeouts_t timeouts;
    uint64_t flush_last_us, flush_p99_us;
    int64_t measure_ms;
    int64_t adapt_ms; /* leader: the timeouts are looked at again */

    election_proposal_t *proposals; /* as they came */
    size_t proposals_count;
    size_t proposals_room;
    election_relay_t *relays; /* in the order in which they came */
    size_t relays_first;      /* those before are answered */
    size_t relays_count;      /* end of the array */
    size_t relays_room;
    uint64_t relays_leader; /* who has all that was passed on; 0: pass it on again */
    size_t relays_idle;     /* that are to be passed on again, at relays_retry_ms */
    int64_t relays_retry_ms;
    uint64_t client; /* drawn at this start */
    uint64_t sequence;
    uint64_t commit_known; /* committed somewhere, though perhaps not yet here */
    election_read_t *reads;
    size_t reads_count;
    size_t reads_room;
    uint64_t read_id; /* the last one; never used again */
    int64_t reads_retry_ms;
    message_t *transfer; /* the request in progress, or NULL */

    address_t subscribers[ELECTION_SUBSCRIBERS_MAX];
    size_t subscribers_count;
    leadership_t told;

    metric_t *term_metric, *leader_metric, *commit_metric, *applied_metric;
    metric_t *elections_metric, *anomalies_metric, *proposals_metric, *refused_metric;
    metric_t *damaged_metric;
    metric_t *stalls_metric, *timeout_metric;
} election_t;

int64_t election_now_ms (context_t *ctx);

/*  election_members.c */
/*  NULL if it is no master's that is known. */
const record_key_t *election_key (const election_t *self, uint64_t id);
/*  A master speaks: it is known from now on. False if there is no room for it, or its number stands
    for another one. */
bool election_meet (election_t *self, const record_key_t *key);
int election_members_start (election_t *self, context_t *ctx, nexus_error_t *error);
/*  The configuration to begin with, as the ledger says or the founders. False: it makes no sense,
    and the actor has failed. */
bool election_members_begin (election_t *self, context_t *ctx, const applied_t *applied,
                             raft_conf_state_t *ret_state);
/*  Before what is committed is handed to the ledger, and when that has applied it (and before
    raft_applied). */
void election_members_committed (election_t *self, const raft_entry_t *entry);
void election_members_applied (election_t *self, context_t *ctx, const applied_t *applied);
/*  A master_change. */
void election_change (election_t *self, context_t *ctx, const message_t *message);
/*  On the leader: it answered a short time before now_ms, or is this one. */
bool election_within_reach (const election_t *self, uint64_t id);
/*  What a founder that is elected opens the log with: the configuration, and the incarnations that
    were heard of. */
void election_found (election_t *self);
/*  In each turn, before the core's work. */
void election_members_check (election_t *self, context_t *ctx);
void election_members_end (election_t *self, context_t *ctx);

/*  election_admission.c */
/*  Whether the message counts. Who sent it has been met. */
bool election_admit (election_t *self, context_t *ctx, uint64_t from, const consensus_t *record);
/*  Fills in what every message says of logs. */
void election_admission_mark (election_t *self, uint64_t to, consensus_t *record);
/*  The core begins. */
void election_admission_begin (election_t *self, context_t *ctx);
/*  An entry is appended to the own log. */
void election_admission_entry (election_t *self, const raft_entry_t *entry);
/*  Founders that have nothing make themselves known: to that one, 0: to all. */
void election_admission_greet (election_t *self, context_t *ctx, uint64_t id);
/*  What this master is to its group. */
standing_t election_standing (const election_t *self, int64_t now_ms);
/*  Voter or learner. */
bool election_is_member (const raft_conf_state_t *conf, uint64_t id);
/*  The incarnation on record; 0: none. */
uint64_t election_on_record (const election_t *self, const record_key_t *key);
/*  That, or the one that it said it has. */
uint64_t election_incarnation (election_t *self, uint64_t id);
uint64_t election_expected (election_t *self, uint64_t id);
/*  This master has an empty log and ledger. */
bool election_has_nothing (const election_t *self);

/*  election_view.c */
/*  Answers a raft_view_get. */
void election_view (election_t *self, context_t *ctx, const message_t *message);
/*  How the peers are, as metrics; for once a heartbeat. */
void election_measure_peers (election_t *self, context_t *ctx);
/*  election_snapshot.c */
void election_offer (election_t *self, context_t *ctx, const raft_offer_t *offer);
void election_stored (election_t *self, context_t *ctx, const snapshot_stored_t *stored);

/*  election_snapshot.c */
/*  A follower says what its disk has lost. */
void election_peer_damaged (election_t *self, context_t *ctx, const raft_message_t *message);

/*  election_requests.c */
void election_propose (election_t *self, context_t *ctx, const message_t *message);
void election_read (election_t *self, context_t *ctx, const message_t *message);
/*  All that wait: this master isn't one any more. */
void election_reads_refuse (election_t *self, context_t *ctx);
void election_transfer (election_t *self, context_t *ctx, const message_t *message);
/*  Asks the leader on behalf of the request's sender; or refuses. */
void election_relay (election_t *self, context_t *ctx, const message_t *message);
/*  The same for one that waited here while another master took over. Takes over the caller's
    reference, unless it returns false: too many wait. */
bool election_pass_on (election_t *self, context_t *ctx, message_t *request);
/*  The request is answered when its entry is applied. */
void election_wait_for_commit (election_t *self, const message_t *message, uint64_t index,
                               uint64_t term);
/*  The result of an index; NULL if there is none among them. */
const apply_result_t *election_result (const applied_t *applied, uint64_t index);
/*  On the leader: begins to hand leadership to the voter that needs least to catch up. False if
   none is within reach. */
bool election_hand_over (election_t *self);
/*  The leader's answer to what was passed on. False if it was something else. */
bool election_relayed (election_t *self, context_t *ctx, const message_t *reply);
/*  These entries are committed: proposals that lost their place to others are refused. */
void election_committed (election_t *self, context_t *ctx, const raft_entry_t *entries,
                         size_t count);
/*  The ledger has applied them: proposals are answered up to done, reads up to index. */
void election_applied (election_t *self, context_t *ctx, const applied_t *applied);
/*  The ledger becomes a copy: nobody can tell what became of proposals up to its index. */
void election_restored (election_t *self, context_t *ctx, uint64_t index);
void election_reads_answered (election_t *self, context_t *ctx, const raft_read_t *reads,
                              size_t count);
/*  Before and after the core's work of a turn: new reads are asked, and those again whose answer
    is late; relays that found no leader are passed on again; a transfer that is over is answered.
 */
void election_requests_check (election_t *self, context_t *ctx);
/*  When to call that again at the latest. */
int64_t election_requests_deadline_ms (const election_t *self);
/*  This actor ends: nobody is left waiting for nothing. */
void election_requests_end (election_t *self, context_t *ctx);
