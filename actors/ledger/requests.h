/*  requests - what was done for whom, so that nothing is done twice

    A request may reach the log more than once: its sender asks again on another
    master, a relay asks the next leader, the network repeats a message. So a
    request that matters carries who asks (client), which of its requests this is
    (sequence), and an index that its sender knew to be applied when it first asked
    (after): a once record. The ledger keeps the results of the newest
    REQUESTS_KEPT of them, and gives a repeated one the result of the first.

    What was forgotten ends at the horizon, the log index of the newest result that
    is not kept any more. A request's first copy is applied behind `after`; so if
    `after` is not below the horizon, what is not remembered was not done. If it is
    below, nobody can tell, and the request is refused. Hence at most once, always,
    with any number of requests in flight and in any order.

    Clients whose highest bit is set are hashes of keys that the API's callers
    chose. Their results are kept apart, REQUESTS_KEPT as well: people retry after
    minutes, and the cluster's own traffic must not have pushed their results out.

    In the table "requests" results lie in rows of REQUESTS_ROW, in the order of
    their log indexes; key: 0, or 1 for the callers' keys, and the row's number
    (8 bytes, big endian). A row is the concatenation of

        client (8), sequence (8), log index (8), code (1), size of the text (2), text

    where code 0 means done, and the text is what the command yielded or why it was
    refused. The newest row grows; the oldest goes as a whole. The horizons are
    numbers in "meta". Two masters at one index have equal rows.

    Here is an index of those rows in memory: 24 bytes a result and a hash
    table. It follows the writes of a transaction as they are made: if that is aborted,
    load it again.
*/
#pragma once

#include "actors/protocol/ledger.h"

enum {
    REQUESTS_KEPT = 65536,
    REQUESTS_ROW = 32,
    REQUESTS_TEXT_MAX = 500 /* longer ones are cut */
};

/*  Names in the table meta. */
#define REQUESTS_HORIZON        "requests_horizon"
#define REQUESTS_HORIZON_CALLER "requests_horizon_caller"

typedef enum {
    REQUEST_NEW,     /* it was not done: do it, then add its result */
    REQUEST_DONE,    /* it was, with this result */
    REQUEST_TOO_OLD, /* nobody can tell */
    REQUEST_FAILED   /* the table is not readable; see error */
} request_state_t;

typedef struct requests requests_t;

/*  Empty; the seed keeps senders from choosing numbers that slow it down. */
requests_t *requests_new (uint64_t seed);
void requests_destroy (requests_t **self_p);

/*  Forgets what it knows and reads the table. -1 if that is damaged. */
int requests_load (requests_t *self, tables_txn_t *txn, nexus_error_t *error);

/*  text: REQUESTS_TEXT_MAX + 1 bytes; it and *ret_code are set for REQUEST_DONE. */
request_state_t requests_find (const requests_t *self, tables_txn_t *txn, const once_t *once,
                               uint64_t *ret_code, char *text, nexus_error_t *error);

/*  Adds the result of a new one, applied at this index, and drops the oldest. -1 if the tables
    fail. */
int requests_add (requests_t *self, tables_txn_t *txn, const once_t *once, uint64_t index,
                  uint64_t code, const char *text, nexus_error_t *error);

/*  Writes what is not written yet: before the transaction's commit. */
int requests_flush (requests_t *self, tables_txn_t *txn, nexus_error_t *error);
