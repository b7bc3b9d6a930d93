/*  raft_journal - the log as the core sees it: durable entries and a tail in memory

        first ........ offset ........ durable ..... written ..... last
        | in storage   | in storage    | handed out  | not yet     |
        |              | and memory    | for writing | handed out  |

    Entries from offset on are held in memory: all that aren't durable yet, and
    as many of the newest others as fit in cache_bytes_max, which are those that
    followers that keep up, and the state machine, ask for.

    A copy of the state machine may take the place of everything: the log then begins anew
    behind it (base), and what storage still answers for is no longer asked.

    Writes go out in order, each with a sequence number, and are reported durable
    in the same order. If a suffix is replaced while a write of it is under way,
    that write counts only for what is left of it.
*/
#pragma once

#include "actors/election/raft_types.h"

typedef struct {
    uint64_t sequence;
    uint64_t last;     /* the last entry that it makes durable; 0: none */
    int64_t issued_ms; /* when it was handed out */
} raft_write_t;

typedef struct {
    raft_storage_t storage;
    raft_entry_t *entries; /* the memory: entries[head + i] has index offset + i */
    size_t head;
    size_t count;
    size_t capacity;
    size_t bytes;
    size_t cache_bytes_max;
    uint64_t offset;
    uint64_t durable;
    uint64_t written;
    uint64_t stored; /* where the log on disk ends when all that was handed out is written */
    uint64_t base; /* of the copy that the log begins behind, since this start; 0: storage knows */
    uint64_t base_term;
    bool anew; /* to be told to storage with the next write */
    uint64_t committed;
    uint64_t applying; /* handed out to be applied up to here */
    uint64_t applied;
    raft_write_t *writes; /* under way, oldest first */
    size_t writes_count;
    size_t writes_capacity;
} raft_journal_t;

typedef enum {
    RAFT_APPEND_OK,
    RAFT_APPEND_MISMATCH, /* the entry before is another one, or missing */
    RAFT_APPEND_INVALID   /* nonsense: not consecutive, or it contradicts what is committed */
} raft_append_result_t;

/*  commit and applied are what was known when the node stopped. Returns NULL, or what is wrong
    with them. */
const char *raft_journal_init (raft_journal_t *self, const raft_storage_t *storage,
                               size_t cache_bytes_max, uint64_t commit, uint64_t applied);
void raft_journal_clear (raft_journal_t *self);

uint64_t raft_journal_first (const raft_journal_t *self);
uint64_t raft_journal_last (const raft_journal_t *self);
/*  0 if it is unknown: compacted, or beyond the end. The term of index 0 is 0, too. */
uint64_t raft_journal_term (const raft_journal_t *self, uint64_t index);
uint64_t raft_journal_last_term (const raft_journal_t *self);
bool raft_journal_matches (const raft_journal_t *self, uint64_t index, uint64_t term);

/*  The rule of elections: (index, term) is at least as far as this log (thesis 3.6.1). */
bool raft_journal_up_to_date (const raft_journal_t *self, uint64_t index, uint64_t term);

/*  The largest index <= `index` whose term is <= `term`, or the last index that can be told:
    where logs may meet again after a rejected MsgApp. *ret_term is its term, or 0. Looks at
    RAFT_CONFLICT_STEPS entries at most (a peer chooses the index) and answers with where it
    got to, which costs a round trip more. */
#define RAFT_CONFLICT_STEPS 4096
uint64_t raft_journal_conflict (const raft_journal_t *self, uint64_t index, uint64_t term,
                                uint64_t *ret_term);

/*  One entry at the end; takes the caller's reference. Its index must be last + 1. */
void raft_journal_push (raft_journal_t *self, const raft_entry_t *entry);

/*  What a MsgApp asks for; references are added, the caller keeps his. */
raft_append_result_t raft_journal_append (raft_journal_t *self, uint64_t previous,
                                          uint64_t previous_term, const raft_entry_t *entries,
                                          size_t count);

/*  Forgets all entries and begins behind a copy that covers (index, term), which is ahead of what
    is committed. Everything up to index then counts as committed and handed out. */
void raft_journal_restore (raft_journal_t *self, uint64_t index, uint64_t term);

/*  Entries of a MsgApp follow one another, with terms that never go down. */
bool raft_journal_consecutive (uint64_t previous, uint64_t previous_term,
                               const raft_entry_t *entries, size_t count);
/*  Drops what there is from index on, and puts these entries there; references are added. */
void raft_journal_replace (raft_journal_t *self, uint64_t index, const raft_entry_t *entries,
                           size_t count);

/*  From index on, at most count_max and bytes_max but at least one, with references of their
    own; the caller frees them (raft_entries_free). 0 and NULL if there are none to be had. */
size_t raft_journal_entries (const raft_journal_t *self, uint64_t index, uint64_t last,
                             size_t count_max, size_t bytes_max, raft_entry_t **ret_entries);

/*  A write with everything up to the end begins; it is numbered sequence. */
void raft_journal_write (raft_journal_t *self, uint64_t sequence, int64_t now_ms);
/*  All writes up to sequence are durable. */
void raft_journal_persisted (raft_journal_t *self, uint64_t sequence);
/*  When the oldest write under way began; INT64_MAX if there is none. */
int64_t raft_journal_write_began_ms (const raft_journal_t *self);

/*  True if the commit index moved. Indexes beyond the end are the caller's error. */
bool raft_journal_commit (raft_journal_t *self, uint64_t index);
/*  The state machine has everything up to index, which was handed out before. */
void raft_journal_applied (raft_journal_t *self, uint64_t index);
