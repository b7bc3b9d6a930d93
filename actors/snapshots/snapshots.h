/*  snapshots - the actor that keeps a durable copy of the ledger, gives it away, and fetches
    another master's

    - It makes a copy when enough has been applied since the last one (entries, or
      bytes of the Raft log), tells the election (snapshot_stored), and has the log
      compacted up to it, but for a window behind which a follower catches up without a
      copy.
    - It answers other masters' snapshot_reads a chunk at a time, no faster than
      bytes_per_second in all: a copy must not stand in the way of the heartbeats and
      entries that share the connection. A copy that is being read is not taken away, nor is
      the log compacted beyond it, for as long as there is room.
    - On the election's word (snapshot_fetch) it pulls the leader's copy, four
      chunks ahead, and goes on at the byte that it has after anything that
      interrupts it: a lost chunk, a lost connection, a restart of either side. If the leader
      (or another one) has another copy, it begins again. What arrived is checked as a
      whole, made the durable copy, and told to the election.

    Takes: snapshot_read (masters and local actors), snapshot_fetch, snapshot_make.

    Files are behind snapshot_store_t: in production they block, so the actor has a thread of
    its own; in the simulator they don't, and durability comes after a delay.
*/
#pragma once

#include "actors/protocol/snapshot.h"
#include "runtime/behaviour.h"

/*  A copy. Two with the same hash are the same bytes. */
typedef struct {
    uint64_t index; /* 0: there is none */
    uint64_t term;
    uint64_t size;
    record_key_t hash;
} snapshot_info_t;

/*  Where this master's ledger and Raft log are. */
typedef struct {
    uint64_t applied;   /* the ledger's index */
    uint64_t log_first; /* the first entry that is there */
    uint64_t log_last;
    uint64_t log_bytes; /* that the log takes */
} snapshot_position_t;

/*  Functions return -1 with an error that names the file; then nothing has changed unless it says
    so. A delay is how long it takes, from now, until what was done is durable: 0 if the
    function has waited itself. Calls come from one thread, one at a time. */
typedef struct {
    void *self;
    void (*position) (void *self, snapshot_position_t *ret_position);
    /*  The durable copy; index 0: there is none. */
    void (*current) (void *self, snapshot_info_t *ret_copy);
    /*  Copies the ledger as it is now; that becomes the durable copy. */
    int (*make) (void *self, snapshot_info_t *ret_copy, int64_t *ret_delay_ns,
                 nexus_error_t *error);
    /*  Bytes of a copy: the durable one, or one of the last before it, as long as it is kept.
        Returns how many; NEXUS_NOT_FOUND: that copy is gone. */
    int64_t (*read) (void *self, const snapshot_info_t *copy, uint64_t offset, void *data,
                     size_t size, nexus_error_t *error);
    /*  The copy that is being fetched, and how many of its bytes are there, from the first on.
        Survives a restart. index 0: none is. */
    void (*part) (void *self, snapshot_info_t *ret_copy, uint64_t *ret_have);
    /*  Begins to fetch one; what was there of another one goes. */
    int (*part_begin) (void *self, const snapshot_info_t *copy, nexus_error_t *error);
    /*  The next bytes, at `have`. */
    int (*part_write) (void *self, uint64_t offset, const void *data, size_t size,
                       nexus_error_t *error);
    /*  All of it is there: checks it, and makes it the durable copy unless that covers as much
       already. -1: it is not what it should be, and is gone. */
    int (*part_finish) (void *self, int64_t *ret_delay_ns, nexus_error_t *error);
    void (*part_drop) (void *self);
} snapshot_store_t;

typedef struct {
    snapshot_store_t store;
    const char *log_actor;     /* takes log_compact; NULL: "raft_log" */
    uint64_t entries;          /* applied since the last copy: make one; 0: 100,000 */
    uint64_t log_bytes;        /* the log takes more: make one, keep a shorter window; 0: 1 GiB */
    uint64_t window;           /* entries that stay in the log behind a copy; 0: entries / 10 */
    uint64_t bytes_per_second; /* given away, to all together; 0: 32 MiB */
    int64_t poll_ms;           /* how often to look; 0: 1,000 */
    int64_t pause_ms;          /* between two copies, at least, unless the log is too large */
} snapshots_args_t;

extern const behaviour_t snapshots_behaviour; /* "snapshots" */
