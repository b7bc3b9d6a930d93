/*  raft_journal - the log: storage, and a tail in memory */
#include "actors/election/raft_journal.h"
#include "runtime/planted.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *raft_journal_init (raft_journal_t *self, const raft_storage_t *storage,
                               size_t cache_bytes_max, uint64_t commit, uint64_t applied)
{
    *self = (raft_journal_t){.storage = *storage, .cache_bytes_max = cache_bytes_max};
    uint64_t first = storage->first (storage->self);
    uint64_t last = storage->last (storage->self);
    if (first == 0 || last + 1 < first || last > RAFT_NUMBER_MAX)
        return "the log's bounds make no sense";
    /* A write carries everything up to the end together with the commit index, and nothing
       committed is ever truncated: less than that on disk is a disk that lost something. */
    if (commit > last)
        return "the log ends before its commit index: entries are lost";
    if (applied > last)
        return "the log ends before what was applied: entries are lost";
    if (applied + 1 < first)
        return "the log begins after what was applied: a snapshot is missing";
    self->offset = last + 1;
    self->durable = self->written = self->stored = last;
    self->committed = commit > applied ? commit : applied;
    self->applying = self->applied = applied;
    return NULL;
}

void raft_journal_clear (raft_journal_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        raft_blob_release (self->entries[self->head + i].blob);
    free (self->entries);
    free (self->writes);
    *self = (raft_journal_t){0};
}

uint64_t raft_journal_first (const raft_journal_t *self)
{
    uint64_t first = self->storage.first (self->storage.self);
    return first > self->base ? first : self->base + 1;
}

uint64_t raft_journal_last (const raft_journal_t *self)
{
    return self->offset + self->count - 1;
}

static raft_entry_t *s_at (const raft_journal_t *self, uint64_t index)
{
    assert (index >= self->offset && index - self->offset < self->count);
    return &self->entries[self->head + (index - self->offset)];
}

uint64_t raft_journal_term (const raft_journal_t *self, uint64_t index)
{
    if (index == 0 || index > raft_journal_last (self))
        return 0;
    if (index >= self->offset)
        return s_at (self, index)->term;
    if (index <= self->base)
        return index == self->base ? self->base_term : 0;
    return self->storage.term (self->storage.self, index);
}

uint64_t raft_journal_last_term (const raft_journal_t *self)
{
    return raft_journal_term (self, raft_journal_last (self));
}

bool raft_journal_matches (const raft_journal_t *self, uint64_t index, uint64_t term)
{
    if (index == 0)
        return term == 0;
    return term != 0 && raft_journal_term (self, index) == term;
}

bool raft_journal_up_to_date (const raft_journal_t *self, uint64_t index, uint64_t term)
{
    uint64_t own = raft_journal_last_term (self);
    return term > own || (term == own && index >= raft_journal_last (self));
}

uint64_t raft_journal_conflict (const raft_journal_t *self, uint64_t index, uint64_t term,
                                uint64_t *ret_term)
{
    uint64_t last = raft_journal_last (self);
    if (index > last)
        index = last;
    for (int steps = 0; index > 0; index--, steps++) {
        uint64_t own = raft_journal_term (self, index);
        if (own == 0 || own <= term || steps == RAFT_CONFLICT_STEPS) {
            *ret_term = own;
            return index;
        }
    }
    *ret_term = 0;
    return 0;
}

static void s_reserve (raft_journal_t *self)
{
    if (self->head + self->count < self->capacity)
        return;
    /* Moving down costs at most what was dropped since the last time. */
    if (self->head >= self->capacity / 2 && self->head > 0) {
        memmove (self->entries, self->entries + self->head, self->count * sizeof (raft_entry_t));
        self->head = 0;
        return;
    }
    self->capacity = self->capacity ? self->capacity * 2 : 64;
    self->entries = raft_realloc (self->entries, self->capacity * sizeof (raft_entry_t));
}

void raft_journal_push (raft_journal_t *self, const raft_entry_t *entry)
{
    assert (entry->index == raft_journal_last (self) + 1 && entry->term > 0);
    s_reserve (self);
    self->entries[self->head + self->count++] = *entry;
    self->bytes += raft_entry_bytes (entry);
}

/*  Drops everything from index on. */
static void s_truncate (raft_journal_t *self, uint64_t index)
{
    assert (index > self->committed);
    while (self->count && raft_journal_last (self) >= index) {
        raft_entry_t *entry = s_at (self, raft_journal_last (self));
        self->bytes -= raft_entry_bytes (entry);
        raft_blob_release (entry->blob);
        self->count--;
    }
    if (self->offset > index)
        self->offset = index;
    if (self->durable >= index && !PLANTED (TRUNCATE_KEEPS_DURABLE))
        self->durable = index - 1;
    if (self->written >= index)
        self->written = index - 1;
    for (size_t i = 0; i < self->writes_count; i++)
        if (self->writes[i].last >= index && !PLANTED (TRUNCATE_KEEPS_WRITES))
            self->writes[i].last = index - 1;
}

void raft_journal_restore (raft_journal_t *self, uint64_t index, uint64_t term)
{
    assert (index >= self->committed && term > 0);
    for (size_t i = 0; i < self->count; i++)
        raft_blob_release (self->entries[self->head + i].blob);
    self->head = self->count = self->bytes = 0;
    /* What is being written goes when it is written. */
    for (size_t i = 0; i < self->writes_count; i++)
        self->writes[i].last = 0;
    self->base = index;
    self->base_term = term;
    self->anew = true;
    self->offset = index + 1;
    self->durable = 0; /* until the write that says so is done */
    self->written = self->stored = index;
    self->committed = self->applying = index;
}

bool raft_journal_consecutive (uint64_t previous, uint64_t previous_term,
                               const raft_entry_t *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].index != previous + 1 || entries[i].term < previous_term ||
            entries[i].term == 0)
            return false;
        previous = entries[i].index;
        previous_term = entries[i].term;
    }
    return true;
}

void raft_journal_replace (raft_journal_t *self, uint64_t index, const raft_entry_t *entries,
                           size_t count)
{
    /* A conflict: our entry was never committed, the leader's takes its place (thesis 3.5). */
    if (index <= raft_journal_last (self))
        s_truncate (self, index);
    for (size_t i = 0; i < count; i++) {
        raft_entry_t entry = entries[i];
        raft_blob_retain (entry.blob);
        raft_journal_push (self, &entry);
    }
}

raft_append_result_t raft_journal_append (raft_journal_t *self, uint64_t previous,
                                          uint64_t previous_term, const raft_entry_t *entries,
                                          size_t count)
{
    if (!raft_journal_consecutive (previous, previous_term, entries, count))
        return RAFT_APPEND_INVALID;
    if (!raft_journal_matches (self, previous, previous_term) &&
        !(PLANTED (APPEND_UNMATCHED) && previous <= raft_journal_last (self)))
        return RAFT_APPEND_MISMATCH;
    size_t same = 0;
    while (same < count && raft_journal_term (self, entries[same].index) == entries[same].term)
        same++;
    uint64_t behind = previous + count + 1;
    if (PLANTED (TRUNCATE_ALWAYS) && same == count && behind > self->committed &&
        behind <= raft_journal_last (self))
        s_truncate (self, behind);
    if (same == count)
        return RAFT_APPEND_OK;
    if (entries[same].index <= self->committed)
        return RAFT_APPEND_INVALID;
    raft_journal_replace (self, entries[same].index, entries + same, count - same);
    return RAFT_APPEND_OK;
}

static size_t s_entries_in_memory (const raft_journal_t *self, uint64_t index, size_t count,
                                   size_t bytes_max, raft_entry_t *entries)
{
    size_t bytes = 0, taken = 0;
    while (taken < count) {
        raft_entry_t *entry = s_at (self, index + taken);
        bytes += raft_entry_bytes (entry);
        if (taken && bytes > bytes_max)
            break;
        entries[taken] = *entry;
        raft_blob_retain (entry->blob);
        taken++;
    }
    return taken;
}

size_t raft_journal_entries (const raft_journal_t *self, uint64_t index, uint64_t last,
                             size_t count_max, size_t bytes_max, raft_entry_t **ret_entries)
{
    *ret_entries = NULL;
    if (last > raft_journal_last (self))
        last = raft_journal_last (self);
    if (index > last || index <= self->base || count_max == 0)
        return 0;
    size_t count = last - index + 1 < count_max ? (size_t)(last - index + 1) : count_max;
    /* One call answers from one place: the rest comes with the next. */
    bool in_memory = index >= self->offset;
    if (!in_memory && self->offset - index < count)
        count = (size_t)(self->offset - index);
    raft_entry_t *entries = raft_alloc (count * sizeof (raft_entry_t));
    size_t taken = in_memory ? s_entries_in_memory (self, index, count, bytes_max, entries)
                             : self->storage.entries (self->storage.self, index, index + count,
                                                      bytes_max, entries);
    assert (taken <= count);
    if (taken == 0)
        free (entries);
    else
        *ret_entries = entries;
    return taken;
}

void raft_journal_write (raft_journal_t *self, uint64_t sequence, int64_t now_ms)
{
    if (self->writes_count == self->writes_capacity) {
        self->writes_capacity = self->writes_capacity ? self->writes_capacity * 2 : 8;
        self->writes = raft_realloc (self->writes, self->writes_capacity * sizeof (raft_write_t));
    }
    uint64_t last = raft_journal_last (self);
    self->writes[self->writes_count++] =
        (raft_write_t){.sequence = sequence,
                       .last = self->anew || last > self->written ? last : 0,
                       .issued_ms = now_ms};
    self->written = self->stored = last;
    self->anew = false;
}

/*  Frees the oldest entries in memory that nobody needs from there. */
static void s_trim (raft_journal_t *self)
{
    while (self->count && self->bytes > self->cache_bytes_max && self->offset <= self->durable &&
           self->offset <= self->applied) {
        raft_entry_t *entry = s_at (self, self->offset);
        self->bytes -= raft_entry_bytes (entry);
        raft_blob_release (entry->blob);
        self->head++;
        self->count--;
        self->offset++;
    }
    if (self->count == 0)
        self->head = 0;
}

void raft_journal_persisted (raft_journal_t *self, uint64_t sequence)
{
    size_t done = 0;
    for (; done < self->writes_count && self->writes[done].sequence <= sequence; done++)
        if (self->writes[done].last > self->durable)
            self->durable = self->writes[done].last;
    self->writes_count -= done;
    memmove (self->writes, self->writes + done, self->writes_count * sizeof (raft_write_t));
    assert (self->durable <= self->written);
    s_trim (self);
}

int64_t raft_journal_write_began_ms (const raft_journal_t *self)
{
    return self->writes_count ? self->writes[0].issued_ms : INT64_MAX;
}

bool raft_journal_commit (raft_journal_t *self, uint64_t index)
{
    assert (index <= raft_journal_last (self));
    if (index <= self->committed)
        return false;
    self->committed = index;
    return true;
}

void raft_journal_applied (raft_journal_t *self, uint64_t index)
{
    assert (index <= self->applying);
    if (index > self->applied)
        self->applied = index;
    s_trim (self);
}
