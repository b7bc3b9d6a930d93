/*  shard - one aggregator: a slice of a job's parameters, and the sums over its ranks

    A behaviour at address shard_instance (job, index) of its node. It holds every
    chunk c of the job's buffers with c modulo shards = index, and answers the
    contributors' pushes (actors/protocol/data.h).

    Rounds. A chunk's contributions are held as the payloads that they came in;
    when every rank that is not done has contributed, they are reduced in the order
    of ranks and everyone is answered with one shared payload. push_pull adds the
    mean gradient to the parameters (SGD with momentum, reduce.h) and makes their
    next version. Nothing is counted twice: a rank has one place in a round, a
    repeated contribution finds it taken, one for a version that is there already
    is answered with those parameters. The results of the last 8 steps of each
    other operation are kept.

    Membership comes as group_views from the local "aggregator". Who may speak is
    decided by the key that the lane authenticated: it must be that of the
    rank's running process in the view, with the same attempt, and the push must
    name this shard's generation; otherwise it is STALE. When a rank's attempt or
    key changes, its open contributions are dropped. A rank that is done is not
    waited for.

    A new shard is empty. For each chunk it waits until every rank that is not
    done has said what it holds (a seed, or "nothing" by asking for parameters) and takes
    the highest version, of the lowest rank among equals; if nobody has any, the
    lowest rank's proposal, as version 0. Momentum then starts at zero. For its first
    minute it says hello to the members, so that they learn that it is new. The version
    before the newest is kept too, so that a rank that starts anew in the middle
    of a round reads one consistent version of all chunks.

    Memory is bounded (bytes_max): parameters, momentum, the former version, one
    open round, 8 results of each series. What exceeds it, or is malformed, is
    refused and counted in nexus_aggregator_refused_total{reason}.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "actors/protocol/data.h"
#include "runtime/behaviour.h"

typedef struct {
    const char *job_id;
    uint64_t index;
    uint64_t generation;
    const group_view_t *view; /* the first one */
    uint64_t bytes_max;       /* 0: 16 GiB */
} shard_args_t;

extern const behaviour_t shard_behaviour;
