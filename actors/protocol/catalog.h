/*  catalog - every kind that nodes send each other, and who may send it

    The protocol, as links enforce it and as the protocol page lists it. */
#pragma once

#include "runtime/catalog.h"

extern const catalog_t protocol_catalog;

/*  The ledger's commands. They are no messages, so nobody may send one (senders
    is 0): they travel inside propose and inside Raft's entries. */
extern const catalog_t command_catalog;
