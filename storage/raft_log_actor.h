/*  raft_log_actor - writes the Raft log, many requests in one flush

    An edge, because it waits for the disk. Everything that is waiting when a turn ends, or
    when the write before is done, becomes one write (group commit). When that is on disk, each
    request gets its log_durable, in order. Nobody learns of a write before it is on disk.

    It may share the thread of those who send it their writes: it writes on a side thread,
    and they go on meanwhile. But waking that thread, and being woken by it, costs more than what
    there is to do for a lone entry. So it writes on the spot, and keeps its thread from all else
    until the disk is done, if
    - one small append to a journaled log waits, of one entry at most;
    - of the last 256 flushes 99 % took no longer than 10 ms, nor did the last one: a disk that
      begins to stall is waited for once, for less than an election takes to begin;
    - the thread has had nothing to do for at least half of the time lately.
    In the simulator, where there are no threads, everything is done on the spot.

    In a pipelined log (raft_log.h) a transaction is on disk when the next one is
    done: under load there is one flush a transaction. If nothing waits any more, or if
    the term or the vote changed, a flush of its own ends it at once.

    A write that fails makes the actor fail with the reason. There is no going on
    from there: what supervises it has to end the node.

    Only control-lane messages; reads don't come here: raft_log_read and
    raft_log_term may be called from any thread.
*/
#pragma once

#include "runtime/behaviour.h"
#include "storage/raft_log.h"

#define LOG_ENTRY(F)                                                 \
    F (UINT, index, _, .doc = "Its place.")                          \
    F (UINT, term, _, .doc = "The term that it was proposed in.")    \
    F (UINT, type, _, .max = 255, .doc = "The election's business.") \
    F (BYTES, data, _, .max = 4194304, .doc = "The command.")
RECORD_DECLARE (log_entry, LOG_ENTRY)

/*  To the actor, as a request or plainly sent: either way a log_durable comes back
    to the sender. Its parts are done in the order of raft_log_write_t. */
#define LOG_APPEND(F)                                                                \
    F (UINT, term, _, .doc = "Hard state, if has_hard_state: the current term.")     \
    F (UINT, vote, _, .doc = "Whom it voted for in that term.")                      \
    F (UINT, commit, _, .doc = "A lower bound of what is committed.")                \
    F (BOOL, has_hard_state, _, .doc = "Store term, vote and commit.")               \
    F (UINT, truncate_from, _, .doc = "Entries from here on go first; 0: none.")     \
    F (RECORDS, entries, log_entry, .max = 65536, .doc = "Ascending, without gaps.") \
    F (UINT, sequence, _, .doc = "Comes back in log_durable.")                       \
    F (UINT, snapshot_index, _,                                                      \
       .doc = "A durable snapshot holds all up to here: begin anew behind it.")      \
    F (UINT, snapshot_term, _, .doc = "The term of entry snapshot_index.")           \
    F (RECORDS, repairs, log_entry, .max = 65536,                                    \
       .doc = "Entries that are damaged in the log: put back.")
RECORD_DECLARE (log_append, LOG_APPEND)

/*  The answer: all of it, and of what came before it, is on disk. The last one comes again,
    unasked, when full has changed. */
#define LOG_DURABLE(F)                                                                 \
    F (UINT, sequence, _, .doc = "Of the log_append.")                                 \
    F (UINT, last_index, _, .doc = "The last entry on disk.")                          \
    F (UINT, last_term, _, .doc = "Its term.")                                         \
    F (BOOL, full, _, .doc = "80 % of the map are in use: refuse proposals, compact.") \
    F (UINT, flush_us, _, .doc = "How long the last flush took.")                      \
    F (UINT, flush_p50_us, _, .doc = "Half of the last 256 flushes took no longer.")   \
    F (UINT, flush_p99_us, _, .doc = "99 % of the last 256 flushes took no longer.")
RECORD_DECLARE (log_durable, LOG_DURABLE)

/*  A request: drop entries up to index; they are covered by a durable snapshot.
    Done in slices between other writes; the reply is a done record with the index. */
#define LOG_COMPACT(F) F (UINT, index, _, .min = 1, .doc = "The last entry that goes.")
RECORD_DECLARE (log_compact, LOG_COMPACT)

/*  args: the raft_log_t *, borrowed; nobody else writes to it meanwhile. */
extern const behaviour_t raft_log_actor;
