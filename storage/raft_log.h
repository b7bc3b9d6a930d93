/*  raft_log - a node's part of the Raft log, and its vote, on LMDB

    One environment with one table: key 0 is the log's state (term, vote, commit,
    where the log begins, incarnation), key N is entry N.

    A write is done whole or not at all, and in one of three ways:
    - journaled: one flush, of a file in front of LMDB (raft_log_tail.h); it is on disk
      when raft_log_write returns, and brought to LMDB with others later
      (raft_log_settle). The fastest, whether little or much is written;
    - strict: LMDB's two flushes a commit; it is on disk when raft_log_write returns;
    - pipelined: one flush (MDB_NOMETASYNC). Then a write is on disk when the next one
      has returned, or raft_log_sync. Whoever has more to write saves a flush each;
      until a write is on disk, a power failure takes it back, whole.
    Any failure of a commit or a flush poisons the log: nobody can tell what the disk
    has; the node has to end, and start again. The next open asks the disk, not
    the kernel's cache.

    Every record carries a CRC and is checked whenever it is read, and all of them
    by raft_log_open. What is found damaged is reported (raft_log_state_t.damaged)
    and left alone: it may be committed, and others may count on our having it.
    Such a node must not vote nor lead until the entry was fetched from the leader
    and put back (raft_log_write_t.repairs). If the state itself is damaged, the vote is
    lost, and the log does not open.

    Threads: one thread writes (raft_log_write, _sync, _compact); any thread reads.
    A reader sees one moment of the log, and must leave its visit soon, because
    until then no page can be used again.
*/
#pragma once

#include "runtime/buffer.h"
#include "storage/raft_log_record.h"

#include <stdbool.h>

typedef struct raft_log raft_log_t;

typedef struct {
    uint64_t term;
    uint64_t vote;
    uint64_t commit; /* a lower bound */
} raft_log_hard_state_t;

typedef struct {
    uint64_t first;         /* the first entry that is there; 1 for a new log */
    uint64_t last;          /* first - 1: none is there */
    uint64_t previous_term; /* of entry first - 1; 0: there is none */
    uint64_t last_term;     /* of entry last (or first - 1) */
    raft_log_hard_state_t hard;
    uint64_t incarnation; /* random, drawn when this log was made, never 0: a disk
                             that was lost or replaced has another one */
    uint64_t damaged;     /* the lowest index that can't be read; 0: none */
} raft_log_state_t;

/*  map_size: upper limit of the file's size; sparse, so give it plenty (16 GiB). */
raft_log_t *raft_log_open (const char *dir, size_t map_size, nexus_error_t *error);
void raft_log_close (raft_log_t **self_p);

typedef enum { RAFT_LOG_JOURNALED, RAFT_LOG_PIPELINED, RAFT_LOG_STRICT } raft_log_durability_t;

/*  After raft_log_open a log is strict. */
int raft_log_set_durability (raft_log_t *self, raft_log_durability_t durability,
                             nexus_error_t *error);
raft_log_durability_t raft_log_durability (const raft_log_t *self);

void raft_log_state (raft_log_t *self, raft_log_state_t *ret_state);
/*  One change; what is 0 or NULL stays as it is. In this order: */
typedef struct {
    /*  A snapshot that holds everything up to here is durable: all entries go, the
        log continues behind it. */
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    /*  Entries that are damaged here and were fetched from the leader: put back. One that can be
        read stays, and must have the same term; one that is compacted by now is left out. */
    const raft_log_entry_t *repairs;
    size_t repairs_count;
    /*  Entries from here on go. Never one that is committed. */
    uint64_t truncate_from;
    /*  Appended; the first follows the last that is there, terms never fall. */
    const raft_log_entry_t *entries;
    size_t count;
    const raft_log_hard_state_t *hard;
} raft_log_write_t;

/*  Does all changes in one transaction. -1: nothing of it was done. NEXUS_INVALID: a change
    contradicts the log; anything else is fatal for the node (NEXUS_EXHAUSTED: map or
    disk full; NEXUS_IO, NEXUS_CORRUPT). */
int raft_log_write (raft_log_t *self, const raft_log_write_t *writes, size_t count,
                    nexus_error_t *error);

/*  Writes are numbered from 1 on. The last that was done, and the last that is on disk, to stay:
    the same in a strict log, one less at most in a pipelined one. What changes nothing
    gets no number. For the writing thread. */
uint64_t raft_log_written (const raft_log_t *self);
uint64_t raft_log_durable (const raft_log_t *self);
/*  All that was written is on disk when it returns; a flush, if it wasn't. -1 is fatal. */
int raft_log_sync (raft_log_t *self, nexus_error_t *error);

/*  Of a journaled log: bytes that are in the tail only, and bringing them to LMDB, which takes
    milliseconds. raft_log_settle_begin has a thread do it (nothing if there is nothing, or if one is
    at it) and goes on; -1: the last one failed, fatally. raft_log_write does it by itself when
    RAFT_LOG_GATHER_WRITES have gathered or half of the tail is full, and waits for the one before.
    raft_log_settle returns when all of it is done. For the writing thread. */
enum { RAFT_LOG_GATHER_WRITES = 1024 };
size_t raft_log_gathered (raft_log_t *self);
bool raft_log_settling (const raft_log_t *self);
int raft_log_settle_begin (raft_log_t *self, nexus_error_t *error);
int raft_log_settle (raft_log_t *self, nexus_error_t *error);

/*  Calls visit with entries from..to (both included) in order until it returns
    false or bytes_max of data have been visited (one entry is always visited).
    Stops early, and without an error, where the log ends, or after any entry but the first:
    then the rest comes with the next call. Returns the number visited;
    -1: from is not there (NEXUS_NOT_FOUND), or it is damaged (NEXUS_CORRUPT). If a later one
    is damaged, those before it are visited. The entry belongs to the visit: copy it. */
int64_t raft_log_read (raft_log_t *self, uint64_t from, uint64_t to, size_t bytes_max,
                       bool (*visit) (void *context, const raft_log_entry_t *entry), void *context,
                       nexus_error_t *error);

/*  The term of an entry, also of first - 1; 0 if it isn't there or can't be read. */
uint64_t raft_log_term (raft_log_t *self, uint64_t index);

enum { RAFT_LOG_COMPACT_SLICE = 2048 };

/*  Drops entries up to index (included), at most RAFT_LOG_COMPACT_SLICE in a call, from the oldest
    on. Returns how many are left to drop, or -1. They must be committed and
    covered by a durable snapshot. Of a journaled log a thread does it, as it settles: call again
    a little later, until none is left. */
int64_t raft_log_compact (raft_log_t *self, uint64_t index, nexus_error_t *error);

/*  Reads everything again, as raft_log_open does. 0, or -1 with the first damage. */
int raft_log_check (raft_log_t *self, nexus_error_t *error);

/*  Frees what readers pin whose process is gone; how many there were. Once a minute will do. */
int raft_log_check_readers (raft_log_t *self);

/*  Bytes in use and the limit: refuse proposals from 80 % on. Walks the list of free pages:
    once a second is often enough. */
void raft_log_usage (raft_log_t *self, size_t *ret_used, size_t *ret_limit);
/*  What its file system has left for us; UINT64_MAX if it doesn't say. */
uint64_t raft_log_disk_free (const raft_log_t *self);
