/*  apply - what each command does to the ledger's tables

    A pure function of (tables, command): no clock, no chance, nothing of this
    node, so that all masters at one index hold equal tables. A command that is
    refused changes nothing.
*/
#pragma once

#include "actors/protocol/ledger.h"

/*  Of what a command yields, its end included. */
enum { LEDGER_VALUE_MAX = 200 };

/*  Applies one command within the write transaction. 0: done, and value
    (LEDGER_VALUE_MAX bytes) holds what it yielded ("" if nothing). -1: refused, with
    the reason for its proposer. *ret_fatal is set if the tables themselves
    failed (the node must end). changed gets a bit for each table it wrote. */
int ledger_apply (tables_txn_t *txn, slice_t command, char *value, uint64_t *changed,
                  bool *ret_fatal, nexus_error_t *error);
