/*  snapshot - copies of the ledger, and how they get from master to master

    A copy is a file (storage/tables.h, tables_copy) that holds the whole ledger as it was
    at one log index. Ids: 140-149.
*/
#pragma once

#include "runtime/message.h"

/* clang-format off */

/*  To "snapshots" of any master, as a request: a part of its newest copy. The reply is a
    snapshot_chunk, held back so that copies take no more than their share of the
    network, or a failure: NEXUS_NOT_FOUND, that copy is not there (any more). */
#define SNAPSHOT_READ(F) \
    F (UINT, index, _, .doc = "Of the copy, with hash; 0: the newest.") \
    F (KEY, hash, _, .doc = "Of the copy.") \
    F (UINT, offset, _, .doc = "Where the chunk shall begin.") \
    F (UINT, size, _, .max = 65536, .unit = "bytes", .doc = "How much at most; 0: only what the copy is.")
RECORD_DECLARE (snapshot_read, SNAPSHOT_READ)

#define SNAPSHOT_CHUNK(F) \
    F (UINT, index, _, .doc = "The copy holds everything up to this log index.") \
    F (UINT, term, _, .doc = "The term of that entry; 0, as is size: it is not the newest any more.") \
    F (UINT, size, _, .unit = "bytes", .doc = "Of the whole copy.") \
    F (KEY, hash, _, .doc = "BLAKE2b-256 of all of the copy but its last 32 bytes, which say the same.") \
    F (UINT, offset, _, .doc = "Where data begins.") \
    F (BYTES, data, _, .max = 65536, .doc = "Shorter than asked for at the end only.")
RECORD_DECLARE (snapshot_chunk, SNAPSHOT_CHUNK)

/*  From "election" to its own "snapshots", again and again for as long as it stands: the
    leader has a copy, and this master needs it. */
#define SNAPSHOT_FETCH(F) \
    F (KEY, from, _, .doc = "The leader.") \
    F (UINT, index, _, .doc = "What its copy covers.") \
    F (UINT, term, _, .doc = "The term of that entry.")
RECORD_DECLARE (snapshot_fetch, SNAPSHOT_FETCH)

/*  From "snapshots" to its own "election": this copy is durable here. At the start, after
    each copy that was made, and after one that was fetched. */
#define SNAPSHOT_STORED(F) \
    F (UINT, index, _, .doc = "What it covers.") \
    F (UINT, term, _, .doc = "The term of that entry.") \
    F (BOOL, fetched, _, .doc = "It is another master's.")
RECORD_DECLARE (snapshot_stored, SNAPSHOT_STORED)

/*  To "snapshots" of this master, as a request: make a copy now. The reply is a
    snapshot_chunk without data. */
#define SNAPSHOT_MAKE(F) \
    F (UINT, index, _, .doc = "One that covers at least this will do.")
RECORD_DECLARE (snapshot_make, SNAPSHOT_MAKE)

/*  From "election" to "ledger": become the durable copy; the log begins behind it. The
    answer is an applied. */
#define LEDGER_RESTORE(F) \
    F (UINT, index, _, .doc = "What it covers.")
RECORD_DECLARE (ledger_restore, LEDGER_RESTORE)

/* clang-format on */
