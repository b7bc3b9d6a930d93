/*  aggregator - the actor that hosts a worker's shards

    Follows the agent's shard_orders: starts the shards that they name, stops those
    that they do not, replaces a shard whose generation has grown (by an empty one),
    hands the groups' views on to them, and lets the groups' members into the data
    lane by their keys. After each order and at each change it sends shard_states to the agent.

    A shard is ready once it runs. One that has failed is started again, empty, after
    2 s; its new start number tells the contributors that it holds nothing.

    Shards run in threads of their own as long as there are fewer than threads_max
    of them; the others share the aggregator's.

    Takes: shard_orders (locally, from "agent"). Sends: shard_states to "agent",
           group_view to "shard".
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/behaviour.h"
#include "transport/keyring.h"

typedef struct {
    keyring_t *keyring;       /* of the data lane; borrowed; NULL: none */
    const char *domain;       /* in it: belongs to the aggregator alone */
    unsigned threads_max;     /* 0: as many as there are processors */
    uint64_t shard_bytes_max; /* 0: see shard.h */
} aggregator_args_t;

extern const behaviour_t aggregator_behaviour;
