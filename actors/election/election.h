/*  election - the actor through which the masters agree: Raft's core and its messages

    Takes commands of any actor on any master (propose), puts them in order with
    the other masters' elections (consensus), has them written by the log's actor
    (log_append), hands what is committed to the ledger (apply), and answers when
    it is applied. Tells its subscribers who leads.

    Takes: propose, read_barrier, master_change, leadership_transfer, leadership_subscribe,
    consensus (masters only), applied, log_durable, peer_event.

    Who the masters are stands in the ledger; until it knows, in the arguments. A master
    of another cluster (one that began with other founders) is not listened to.

    A request on a follower is passed on to the leader; a proposal in a once, and again, unchanged, if
    the leader can't or another one leads, so that it is done once whatever gets lost or comes twice.
    Workers may propose kv_put and kv_delete, numbered. What the answers promise:
    - proposed, or the command's own failure: it is applied, on a majority's disks;
    - NEXUS_UNAVAILABLE: it is not in the log and never will be; retry;
    - NEXUS_DEADLINE: nobody knows (yet).

    The core (raft.h) does no I/O and knows no clock; this does neither, it asks
    its context; so both run in the simulator as they are.

    If a write of the log fails, so does this actor, and the node has to end with it.
*/
#pragma once

#include "actors/election/raft_types.h"
#include "actors/protocol/cluster.h"
#include "actors/protocol/consensus.h"
#include "runtime/behaviour.h"

/*  The log, as this node had it when the actor starts, and for reading: raft_storage_t with
    what else is stored beside the entries. election_raft_log.h makes one of a raft_log_t. */
typedef struct {
    raft_storage_t entries;
    /*  -1 with the reason if this log can't be trusted. */
    int (*load) (void *self, raft_hard_state_t *ret_hard, nexus_error_t *error);
    /*  Drawn when this log was made, never 0; NULL: it has none, and nobody looks at it. */
    uint64_t (*incarnation) (void *self);
    const char *actor; /* takes log_append */
} election_log_t;

typedef struct {
    /* The masters that the cluster began with, this one included, as this node was told when it
       was started for the first time; at most QUORUM_MEMBERS_MAX. They count until the ledger
       knows better. */
    const record_key_t *masters;
    size_t masters_count;
    /* The same, for the ledger: the first leader writes them there. NULL: nobody does. */
    const master_t *records;
    /* This master came to a cluster that was there: it has no founders to tell of, takes no part
       in decisions, and waits until a leader tells it who does. masters_count is 0. */
    bool join;
    /* Silence after which a master campaigns (up to twice that): to begin with, and the bounds
       within which the leader fits it to the network and its disk; 0: it stays as it is. */
    int64_t election_ms;
    int64_t election_ms_min;
    int64_t election_ms_max;
    size_t message_bytes_max; /* of entries in one message; 0: the core's default */
    election_log_t log;
} election_args_t;

/*  "election"; args are an election_args_t. */
extern const behaviour_t election_behaviour;

/*  The number that stands for a master in Raft: the first 8 bytes of its key. */
uint64_t election_id (const record_key_t *key);
