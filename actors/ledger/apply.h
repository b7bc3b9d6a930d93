/*  apply - what each command does to the ledger's tables

    A pure function of (tables, command): no clock, no chance, nothing of this
    node, so that all masters at one index hold equal tables. A command that is
    refused changes nothing.
*/
#pragma once

#include "actors/ledger/requests.h"
#include "actors/protocol/ledger.h"

/*  Of what a command yields, its end included. */
enum { LEDGER_VALUE_MAX = REQUESTS_TEXT_MAX + 1 };

/*  A write transaction, begun and ended by whoever applies. Before its commit comes
    requests_flush. */
typedef struct {
    tables_txn_t *txn;
    requests_t *requests; /* as the tables have them */
    uint64_t changed;     /* gets a bit for each table that is written (but for requests) */
    uint64_t repeated;    /* commands that were not applied, since they had been before */
    bool fatal;           /* the tables themselves failed: the node must end */
} ledger_writer_t;

/*  Applies the command at this log index. 0: done, and value (LEDGER_VALUE_MAX bytes)
    holds what it yielded ("" if nothing). -1: refused, with the reason for its
    proposer; or self->fatal, with what failed. */
int ledger_apply (ledger_writer_t *self, uint64_t index, slice_t command, char *value,
                  nexus_error_t *error);
