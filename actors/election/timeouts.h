/*  timeouts - how long to wait for a leader: from what the network and the disk take

    A leader times its heartbeats' round trips, one at a time for each peer. An
    election timeout is some slow round trips (p90: a peer that stopped or was cut off
    now and then says nothing about the network) and some usual flushes long, so that neither lost
   messages nor a busy machine cost a leader its office, and candidates who stand at different
   moments of it don't meet. A round trip that is long for the present timeout lengthens it at once;
   if it stays alone, that is soon over.

    Pure: time comes in. Nothing here is a promise: what followers promise goes by
    the value that they were told (raft.h).
*/
#pragma once

#include "actors/election/quorum.h"
#include "storage/flush_times.h"

#include <stdbool.h>

enum { TIMEOUTS_PEERS_MAX = 3 * QUORUM_MEMBERS_MAX };

/*  Of a timeout: slow round trips (p90) and usual flushes (p50) in it; the last round trip; and
    heartbeats. */
enum { TIMEOUTS_ROUND_TRIPS = 4, TIMEOUTS_FLUSHES = 4, TIMEOUTS_LAST = 2, TIMEOUTS_HEARTBEATS = 6 };

/*  For more than that many timeouts (the one in force) no round trip counts. A peer that stood still
    for seconds says nothing about the network, and would be all that a new leader knows; a network
    that is so slow says it again, and gets there in a few rounds. */
enum { TIMEOUTS_MOST = 1 };

typedef struct {
    uint64_t id;
    uint64_t round; /* that is being timed; 0: none */
    int64_t sent_ns;
    int64_t heard_ns;      /* its last answer; 0: none */
    flush_times_t samples; /* the newest round trips */
} timeouts_peer_t;

/*  Zeroed is empty. */
typedef struct {
    timeouts_peer_t peers[TIMEOUTS_PEERS_MAX];
    size_t count;
    uint64_t flush_us; /* p50 */
} timeouts_t;

/*  A heartbeat of that round leaves; and is answered. */
void timeouts_sent (timeouts_t *self, uint64_t id, uint64_t round, int64_t now_ns);
void timeouts_answered (timeouts_t *self, uint64_t id, uint64_t round, int64_t now_ns,
                        int64_t current_ms);
/*  What is under way to that peer (0: to all) says nothing any more: its connection broke or
    came up, or another leader was there meanwhile. */
void timeouts_forget (timeouts_t *self, uint64_t id);

/*  NULL: never measured. */
const timeouts_peer_t *timeouts_peer (const timeouts_t *self, uint64_t id);

/*  The election timeout to take after current_ms, for the own disk and the peers that answered
    within twice that. */
int64_t timeouts_next_ms (const timeouts_t *self, int64_t now_ns, int64_t current_ms,
                          int64_t min_ms, int64_t max_ms);
/*  The heartbeat that goes with an election timeout. */
int64_t timeouts_heartbeat_ms (int64_t election_ms);
