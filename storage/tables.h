/*  tables - the cluster's state as ordered key/value tables

    A small set of named tables, each an ordered map from bytes to bytes, with
    one writer and any number of snapshot readers that block nobody. Two
    backings: LMDB (production) and memory (simulator and unit tests); they
    behave alike.

    Caveats. A transaction belongs to the thread that began it. A reader sees
    the state of its beginning and pins those pages: end it before waiting for
    anything. Pointers that a read returns are valid until its transaction ends
    (or, in a write transaction, until its next write).

    Durability (LMDB), two kinds:
    - tables_open: a commit is on disk when it returns, or rolled back whole by the
      next open (MDB_NOMETASYNC: the last commit may be lost by a power failure,
      never torn);
    - tables_open_cache: a cache of what a log and a durable copy can tell again. Nothing is
      flushed (MDB_NOSYNC), so it outlives the process but not the machine: it counts
      only if it was closed in peace, or while the machine has not booted since.
      Otherwise, or if a row is not what was written, it begins from the copy, DIR/snapshot. The ledger stores its applied
      index in the same transaction; what comes after it is applied again from the Raft log.

    Copies. tables_copy writes one moment of all tables to a file: LMDB's own format,
    compacted, and behind it a trailer with a checksum over everything. It is whole, or not
    there. tables_replace puts such a file in the place of all that the tables hold.
*/
#pragma once

#include "runtime/buffer.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tables tables_t;
typedef struct tables_txn tables_txn_t;

typedef struct {
    const void *data;
    size_t size;
} slice_t;

/*  names: the tables, addressed by their position. Created where missing. -1/NULL
    with an error that names the directory and what to do (rights, space, a second
    process). dir is created if its parent exists. */
tables_t *tables_open (const char *dir, size_t map_size, const char *const *names, size_t count,
                       nexus_error_t *error);

/*  Where a cache's content comes from. */
typedef enum {
    TABLES_KEPT,      /* it was valid */
    TABLES_FROM_COPY, /* it was not, or not there: DIR/snapshot took its place */
    TABLES_EMPTY,     /* nor is there a copy */
    TABLES_MENDED     /* it was damaged: the copy took its place, or nothing if there is none */
} tables_origin_t;

/*  A cache; see above. names are borrowed. *ret_origin may be NULL. A copy that is needed and
    damaged is an error. */
tables_t *tables_open_cache (const char *dir, size_t map_size, const char *const *names,
                             size_t count, tables_origin_t *ret_origin, nexus_error_t *error);
/*  Read-only, over a copy's file, which must not change. Writing is refused. */
tables_t *tables_open_copy (const char *file, const char *const *names, size_t count,
                            nexus_error_t *error);
tables_t *tables_open_memory (const char *const *names, size_t count);
void tables_close (tables_t **self_p);

/*  One writer at a time (a second waits). NULL with an error when the backing refuses. */
tables_txn_t *tables_begin (tables_t *self, bool write, nexus_error_t *error);
/*  Ends it and makes it so. On failure nothing of it remains; after a failed
    commit the tables refuse every further write (the disk lied). */
int tables_commit (tables_txn_t **txn_p, nexus_error_t *error);
/*  Ends it and forgets it; the way to end a reader. */
void tables_abort (tables_txn_t **txn_p);

/*  False if there is no such key. Keys: 1 to 500 bytes. */
bool tables_get (tables_txn_t *txn, size_t table, slice_t key, slice_t *ret_value);
int tables_put (tables_txn_t *txn, size_t table, slice_t key, slice_t value, nexus_error_t *error);
/*  True if it was there. */
bool tables_delete (tables_txn_t *txn, size_t table, slice_t key);

/*  Visits, in order of key, every entry whose key begins with prefix and is not
    below from (either may be empty), until visit returns false. visit must not
    write. Returns the number visited. */
size_t tables_each (tables_txn_t *txn, size_t table, slice_t prefix, slice_t from,
                    bool (*visit) (void *context, slice_t key, slice_t value), void *context);

size_t tables_count (tables_txn_t *txn, size_t table);

/*  Whether a read of this transaction has met damage (LMDB: every row has a checksum): then nothing
    that was found, or not found, counts; NEXUS_CORRUPT. Who answers others asks before he does. */
bool tables_failed (const tables_txn_t *txn, nexus_error_t *error);

/*  Of the memory backing: a hash of all that is committed, in whatever order it was written.
    Costs nothing: it is kept up by every write. */
uint64_t tables_memory_hash (tables_t *self);

/*  Bytes used and the limit, for metrics and refusal at 80 %. */
void tables_usage (tables_t *self, size_t *ret_used, size_t *ret_limit);

/*  ---- copies -------------------------------------------------------------- */

/*  What identifies a copy. Copies of equal tables need not be equal. */
typedef struct {
    uint64_t size;    /* of the file */
    uint8_t hash[32]; /* BLAKE2b of all before it */
} tables_copy_t;

/*  Writes one moment of the tables to FILE.part, flushes it, and renames it to FILE. Any thread,
    while others read and write; pages that change meanwhile need room of their own. On
    failure FILE is as it was, and FILE.part is gone. LMDB only. */
int tables_copy (tables_t *self, const char *file, nexus_error_t *error);
/*  Reads all of a copy: is it what its trailer says? NEXUS_NOT_FOUND if there is no such file. */
int tables_copy_check (const char *file, tables_copy_t *ret_copy, nexus_error_t *error);
/*  What its trailer says; what is before that isn't read. */
int tables_copy_peek (const char *file, tables_copy_t *ret_copy, nexus_error_t *error);

/*  A cache becomes what the copy holds: readers in progress finish with what they see, those that
    begin afterwards see the copy. For the thread that writes, outside a transaction. The
    copy is checked first; on failure nothing has changed. */
int tables_replace (tables_t *self, const char *file, nexus_error_t *error);
/*  What takes long of that, for another thread, beforehand: tables_replace with the same copy is
    then done at once. It costs the copy's size on disk until that comes, or until it
    is called with NULL, which forgets it. */
int tables_prepare (tables_t *self, const char *file, nexus_error_t *error);

/*  The same through memory, for small tables and any backing: appends all that they hold; and
    makes that all that they hold (-1: the bytes are not a dump; nothing has changed). */
void tables_dump (tables_t *self, buffer_t *out);
int tables_load (tables_t *self, const void *dump, size_t size, nexus_error_t *error);

#define SLICE(text) ((slice_t){(text), strlen (text)})
