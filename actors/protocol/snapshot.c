/*  snapshot - the tables of the messages about copies of the ledger */
#include "actors/protocol/snapshot.h"

/* clang-format off */
#define RECORD_SELF snapshot_read_t
RECORD_DEFINE (snapshot_read, 140, 0, "Give me a part of your copy of the ledger.", SNAPSHOT_READ)
#undef RECORD_SELF
#define RECORD_SELF snapshot_chunk_t
RECORD_DEFINE (snapshot_chunk, 141, 0, "A part of a copy of the ledger.", SNAPSHOT_CHUNK)
#undef RECORD_SELF
#define RECORD_SELF snapshot_fetch_t
RECORD_DEFINE (snapshot_fetch, 142, 0, "Fetch the leader's copy of the ledger.", SNAPSHOT_FETCH)
#undef RECORD_SELF
#define RECORD_SELF snapshot_stored_t
RECORD_DEFINE (snapshot_stored, 143, 0, "A copy of the ledger is durable.", SNAPSHOT_STORED)
#undef RECORD_SELF
#define RECORD_SELF snapshot_make_t
RECORD_DEFINE (snapshot_make, 144, 0, "Make a copy of the ledger.", SNAPSHOT_MAKE)
#undef RECORD_SELF
#define RECORD_SELF ledger_restore_t
RECORD_DEFINE (ledger_restore, 145, 0, "Become the copy.", LEDGER_RESTORE)
#undef RECORD_SELF
/* clang-format on */
