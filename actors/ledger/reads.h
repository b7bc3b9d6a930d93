/*  reads - the ledger's answers to kv_get

    A read that is not stale must show all that was done before it was sent. So the
    reads of a turn wait for one read_barrier of the election; those that come
    meanwhile wait for the next one. One barrier is under way at a time: the more
    reads there are, the more of them share it. A stale read is answered when the
    turn ends.

    What the election confirms holds for this master's own ledger; so every master
    answers, and one that was deposed, or is cut off, can't.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "actors/protocol/consensus.h"
#include "runtime/behaviour.h"
#include "storage/tables.h"

enum { LEDGER_READS_MAX = 65536 /* that wait; further ones are refused */ };

typedef struct {
    message_t **items;
    size_t count, room;
} ledger_reads_list_t;

typedef struct {
    ledger_reads_list_t stale; /* of this turn */
    ledger_reads_list_t fresh; /* for the next barrier */
    ledger_reads_list_t asked; /* for the one under way */
    uint64_t barrier;          /* its correlation; 0: none */
} ledger_reads_t;

/*  A kv_get. */
void ledger_reads_take (ledger_reads_t *self, context_t *ctx, const message_t *message);
/*  The election's answer to the barrier; other replies are let pass. */
void ledger_reads_confirmed (ledger_reads_t *self, context_t *ctx, tables_t *tables,
                             const message_t *reply);
/*  The end of a turn, after the ledger's commit. */
void ledger_reads_settle (ledger_reads_t *self, context_t *ctx, tables_t *tables);
/*  Refuses all that wait. */
void ledger_reads_end (ledger_reads_t *self, context_t *ctx);
