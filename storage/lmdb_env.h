/*  lmdb_env - an LMDB environment, opened the one way that is safe for us

    Owns a directory: takes an exclusive lock on DIR/lock for as long as it is
    open (a second open fails, from this process too), makes the directory,
    refuses network file systems and full ones, clears readers that died, makes
    sure that no page lies behind the end of the file, and turns LMDB's return
    codes into errors that say what to do.

    Poisoned: once a commit or a sync has failed, nobody can tell what is on the
    disk: a failed fdatasync does not poison LMDB itself, so the next commits
    would succeed and leave a hole behind them. From then on lmdb_env_begin
    refuses. The way out is a restart.

    Thread-safe but for open and close. MDB_NOTLS is always set: a read
    transaction belongs to its object, not to its thread. Never MDB_MAPASYNC or
    MDB_NOLOCK; MDB_NOSYNC only for what can be made again, and MDB_WRITEMAP only
    with it: then 64 MiB more than what is in use is taken from the disk, so that
    a full disk is an error of a transaction's begin, not a SIGBUS within it.
*/
#pragma once

#include "runtime/error.h"

#include <lmdb.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
    MDB_env *env;
    char *dir;
    int lock; /* descriptor that holds the lock */
    size_t page_size;
    size_t map_size;
    bool writes_map;
    size_t reserved;   /* of the file, with a written map: has its blocks */
    atomic_int poison; /* LMDB's code of the first fatal error, or 0 */
    const char *mends; /* what to do about damage; NULL: what is always right */
} lmdb_env_t;

/*  flags: 0, MDB_NOMETASYNC, MDB_NOSYNC or MDB_NOSYNC | MDB_WRITEMAP. map_size is an upper limit of
   the file's size; it costs address space, no disk. -1 with an error that names the directory; self
   is then as before. The directory is created if its parent exists. */
int lmdb_env_open (lmdb_env_t *self, const char *dir, size_t map_size, unsigned flags,
                   unsigned tables_max, nexus_error_t *error);
/*  Harmless on a zeroed struct. No transaction may be open. */
void lmdb_env_close (lmdb_env_t *self);

/*  A writer waits for the one before it. NULL if poisoned or refused. */
MDB_txn *lmdb_env_begin (lmdb_env_t *self, bool write, nexus_error_t *error);
/*  Frees txn in any case; a failure poisons. */
int lmdb_env_commit (lmdb_env_t *self, MDB_txn *txn, nexus_error_t *error);
/*  Flushes all that was committed; a failure poisons. Refuses if poisoned already. */
int lmdb_env_sync (lmdb_env_t *self, nexus_error_t *error);
/*  Remembers the first fatal code. */
void lmdb_env_poison (lmdb_env_t *self, int code);

/*  Fills *error from LMDB's (or errno's) code: "DIR: can't DOING: why; what to do". Returns -1. */
int lmdb_env_error (const lmdb_env_t *self, int code, const char *doing, nexus_error_t *error);

/*  Frees the slots of readers whose process is gone; until then they pin their pages. How many;
    -1: it couldn't be told. */
int lmdb_env_check_readers (lmdb_env_t *self);

/*  Bytes in live pages (pages that are free again are not counted), and the map's size. */
void lmdb_env_usage (lmdb_env_t *self, size_t *ret_used, size_t *ret_limit);
