/*  tracker - what a leader knows about each peer's log

    A peer's progress is in one of three states (etcd's names):
    - Probe: the leader doesn't know where the peer's log ends; one MsgApp at a
      time, the next one after an answer or a heartbeat's answer;
    - Replicate: it does; entries are sent ahead of the answers (pipelining,
      thesis 10.2.1) up to a window, limited in messages and in bytes;
    - Snapshot: the peer needs entries that are compacted away; nothing is sent
      until its snapshot is installed.
*/
#pragma once

#include "actors/election/raft_types.h"

/*  Voters, outgoing voters and learners together. */
#define TRACKER_PEERS_MAX (3 * QUORUM_MEMBERS_MAX)

typedef enum { TRACKER_PROBE, TRACKER_REPLICATE, TRACKER_SNAPSHOT } tracker_state_t;

typedef struct {
    uint64_t index; /* the last entry of a message in flight */
    size_t bytes;
} tracker_flight_t;

/*  The messages sent and not yet answered, oldest first. */
typedef struct {
    tracker_flight_t *ring;
    uint32_t start;
    uint32_t count;
    uint32_t capacity;
    uint32_t count_max;
    size_t bytes;
    size_t bytes_max; /* 0: no limit */
} tracker_window_t;

void tracker_window_init (tracker_window_t *self, uint32_t count_max, size_t bytes_max);
void tracker_window_clear (tracker_window_t *self);
bool tracker_window_full (const tracker_window_t *self);
/*  One message more; the window must not be full. A message larger than what is left of
    bytes_max is let through and fills the window, so an entry of any size can be sent. */
void tracker_window_add (tracker_window_t *self, uint64_t index, size_t bytes);
/*  Everything up to index was answered. */
void tracker_window_free_to (tracker_window_t *self, uint64_t index);

typedef struct {
    uint64_t id;
    tracker_state_t state;
    uint64_t match;            /* known to be durable there up to here */
    uint64_t next;             /* the next entry to send; > match */
    uint64_t pending_snapshot; /* in Snapshot: the index it covers */
    uint64_t commit_sent;      /* the commit index that was last sent */
    uint64_t round_acked;      /* the last heartbeat round that it answered */
    int64_t heard_ms;          /* when it last answered in this term; 0: not yet */
    int64_t lease_until_ms;    /* until then it has promised to vote for nobody */
    int vote;                  /* > 0 granted, < 0 rejected, 0 not heard */
    bool recent_active;        /* heard of since the last quorum check */
    bool flow_paused;          /* nothing may be sent until an answer comes */
    bool learner;
    tracker_window_t window;
} tracker_progress_t;

void tracker_become_probe (tracker_progress_t *self);
void tracker_become_replicate (tracker_progress_t *self);
void tracker_become_snapshot (tracker_progress_t *self, uint64_t snapshot_index);

/*  Nothing may be sent now. */
bool tracker_paused (const tracker_progress_t *self);

/*  A MsgApp with count entries of bytes in all left, starting at next. */
void tracker_sent (tracker_progress_t *self, size_t count, size_t bytes);

/*  The peer has everything up to index. False if that is old news. */
bool tracker_update (tracker_progress_t *self, uint64_t index);

/*  The peer rejected a MsgApp whose previous entry was `rejected`; its log may match up to
    hint. Moves next back; false if the rejection is a stale one. */
bool tracker_decrease (tracker_progress_t *self, uint64_t rejected, uint64_t hint);

/*  The peer has lost what is behind known, also of what it had acknowledged: all that is sent
    again. */
void tracker_lost (tracker_progress_t *self, uint64_t known);

typedef struct {
    raft_conf_state_t conf;
    tracker_progress_t peers[TRACKER_PEERS_MAX];
    uint32_t count;
    uint32_t window_count_max;
    size_t window_bytes_max;
} tracker_t;

void tracker_init (tracker_t *self, uint32_t window_count_max, size_t window_bytes_max);
void tracker_clear (tracker_t *self);

/*  NULL if conf can be used, otherwise what is wrong with it. */
const char *tracker_conf_check (const raft_conf_state_t *conf);

/*  Takes a (checked) configuration; peers that stay keep their progress, new ones are probed
    from next. */
void tracker_configure (tracker_t *self, const raft_conf_state_t *conf, uint64_t next);

/*  NULL if id is not in the configuration. */
tracker_progress_t *tracker_find (tracker_t *self, uint64_t id);

/*  Votes, directly or in the outgoing half. */
bool tracker_is_voter (const tracker_t *self, uint64_t id);

/*  A new term: everybody is probed from next, votes and answers are forgotten. */
void tracker_reset (tracker_t *self, uint64_t next);

/*  Over the voters: the index that a quorum has, the round that a quorum answered, until when
    a quorum votes for nobody, whether a quorum was active, how the vote stands. */
uint64_t tracker_committed (tracker_t *self);
uint64_t tracker_round_acked (tracker_t *self);
int64_t tracker_lease_until_ms (tracker_t *self);
bool tracker_quorum_active (tracker_t *self);
quorum_result_t tracker_vote_result (tracker_t *self);
