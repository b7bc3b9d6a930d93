/*  raft_log_private - what the parts of raft_log share; for storage/raft_log*.c only

    raft_log.c         opening, closing, writing as others see it
    raft_log_check.c   records in LMDB, and whether they are what was written
    raft_log_change.c  one transaction: what it may do to the log, compaction too
    raft_log_settle.c  a journaled log: the tail, and how it comes to LMDB
    raft_log_read.c    reading
    raft_log_tail.c, raft_log_record.c  the bytes of the tail and of a record
*/
#pragma once

#include "runtime/buffer.h"
#include "storage/lmdb_env.h"
#include "storage/raft_log.h"
#include "storage/raft_log_tail.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define STATE_KEY UINT64_C (0)

typedef struct {
    raft_log_state_t state;
    uint64_t generation; /* of the tail: its records come after this state; 0: there are none */
} raft_log_content_t;

/*  What is in the tail only, of a journaled log; under lock. A start may find two generations. */
typedef struct {
    raft_log_entry_t *entries; /* consecutive, to the log's end; their data in records */
    size_t count;
    size_t capacity;
    uint8_t *records[2 * RAFT_LOG_GATHER_WRITES];
    size_t records_count;
    size_t bytes;
} raft_log_gathered_t;

struct raft_log {
    lmdb_env_t env;
    MDB_dbi table;
    raft_log_content_t now; /* as committed; changed by the writer, under lock */
    pthread_mutex_t lock;
    raft_log_durability_t durability;
    raft_log_tail_t tail;
    raft_log_gathered_t gathered;
    raft_log_gathered_t settling; /* being brought to LMDB: what stands before gathered */
    pthread_t settler;            /* by this thread, if settles */
    bool settles;
    atomic_bool settled; /* it is done */
    raft_log_content_t settling_content;
    int settling_rc;
    nexus_error_t settling_error;
    uint64_t compact_to;  /* with what is brought to LMDB, entries up to here go; 0: none */
    bool compact_refused; /* for this reason: */
    nexus_error_t compact_error;
    uint64_t written; /* writes since the start, and how many of them are on disk to stay */
    uint64_t durable;
};

_Static_assert(sizeof (size_t) == 8, "LMDB's integer keys are as large as size_t");

static inline MDB_val raft_log_key (const uint64_t *index)
{
    return (MDB_val){.mv_size = sizeof *index, .mv_data = (void *)index};
}

static inline int raft_log_index (MDB_val key, uint64_t *ret_index)
{
    if (key.mv_size != sizeof *ret_index)
        return -1;
    memcpy (ret_index, key.mv_data, sizeof *ret_index);
    return 0;
}

/*  ---- raft_log_check.c ------------------------------------------------------ */

int raft_log_decode (raft_log_t *self, raft_log_record_kind_t kind, uint64_t index, MDB_val value,
                     raft_log_entry_t *ret_entry, nexus_error_t *error);
/*  These two return LMDB's code. */
int raft_log_put_record (raft_log_t *self, MDB_txn *txn, raft_log_record_kind_t kind,
                         const raft_log_entry_t *entry, unsigned flags);
int raft_log_put_state (raft_log_t *self, MDB_txn *txn, const raft_log_content_t *content);
int raft_log_get_state (raft_log_t *self, MDB_val value, raft_log_content_t *content,
                        nexus_error_t *error);
void raft_log_note_damage (raft_log_t *self, uint64_t index);

typedef struct {
    uint64_t expected; /* the next index */
    uint64_t term;     /* of the entry before */
    uint64_t damaged;
    nexus_error_t error; /* of the first damage */
} raft_log_check_t;

/*  Reads the state and every entry, of a transaction or of what is committed. -1: the state can't
    be read, or LMDB's pages. */
int raft_log_check_all (raft_log_t *self, MDB_txn *txn, raft_log_content_t *content,
                        raft_log_check_t *check, nexus_error_t *error);
int raft_log_check_committed (raft_log_t *self, raft_log_content_t *content,
                              raft_log_check_t *check, nexus_error_t *error);
/*  What was committed can't be gone: then it is not the disk that we wrote to. */
int raft_log_check_commit (raft_log_t *self, const raft_log_state_t *state, nexus_error_t *error);

/*  ---- raft_log_change.c ----------------------------------------------------- */

/*  A transaction in progress, and what the log will be if it succeeds. */
typedef struct {
    raft_log_t *log;
    MDB_txn *txn;
    raft_log_content_t content;
    bool state_changed;
    bool mended;      /* something damaged is gone, or is put back */
    uint64_t damaged; /* what was known to be so when it began */
    nexus_error_t *error;
} raft_log_change_t;

int raft_log_change_begin (raft_log_change_t *self, raft_log_t *log, nexus_error_t *error);
/*  rc: whether the changes succeeded. Commits or forgets them. */
int raft_log_change_end (raft_log_change_t *self, int rc);
/*  Where something is mended, reads all again; the state must have been put. */
int raft_log_change_check (raft_log_change_t *self);
/*  What is damaged when it is committed; a reader may have found more. Under lock. */
uint64_t raft_log_change_damaged (const raft_log_change_t *self);
/*  Both return -1, with the words for it. */
int raft_log_refuse (raft_log_change_t *self, const char *what, uint64_t index);
int raft_log_refuse_lmdb (raft_log_change_t *self, int code, const char *doing);
int raft_log_change_write (raft_log_change_t *self, const raft_log_write_t *write);
/*  Only what an entry does to the state. */
int raft_log_change_append (raft_log_change_t *self, const raft_log_entry_t *entry);
int raft_log_change_hard (raft_log_change_t *self, const raft_log_hard_state_t *hard);
/*  Drops entries up to index, at most a slice, or all at once if that is less work. Returns how
   many are left, or -1; NEXUS_INVALID has changed nothing. */
int64_t raft_log_change_drop (raft_log_change_t *self, uint64_t index, bool at_once);

/*  ---- raft_log_settle.c ----------------------------------------------------- */

/*  These writes only append, and are small enough for the tail. */
bool raft_log_can_gather (const raft_log_t *self, const raft_log_write_t *writes, size_t count);
/*  Adds the writes to what is gathered; with a flush, unless they come from the tail (replay). */
int raft_log_gather (raft_log_t *self, const raft_log_write_t *writes, size_t count, bool replay,
                     nexus_error_t *error);
/*  Who ran before us may have left writes in the tail. */
int raft_log_take_tail (raft_log_t *self, const char *dir, nexus_error_t *error);
/*  Brings to LMDB what is in the tail only; its records from here on are of that generation. */
int raft_log_settle_now (raft_log_t *self, uint64_t generation, nexus_error_t *error);
/*  A thread does it. Entries up to compact_to (0: none) go with it. Nobody is at it. */
int raft_log_settle_start (raft_log_t *self, uint64_t compact_to, nexus_error_t *error);
/*  Waits for the thread, if there is one. */
int raft_log_settle_finish (raft_log_t *self, nexus_error_t *error);
void raft_log_forget_gathered (raft_log_gathered_t *gathered);
