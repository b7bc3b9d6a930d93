/*  election_wire - Raft's messages as records, and back */
#pragma once

#include "actors/election/raft_types.h"
#include "actors/protocol/consensus.h"

/*  Calls send with the record, which points into message and is gone afterwards. */
void election_encode (const raft_message_t *message,
                      void (*send) (void *context, const consensus_t *record), void *context);

/*  Fills *message from what a peer sent; its entries are to be freed with raft_entries_free. */
void election_decode (const consensus_t *record, uint64_t from, uint64_t to,
                      raft_message_t *message);
