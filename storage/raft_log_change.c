/*  One transaction: what it may do to the log. */
#include "storage/raft_log_private.h"

/*  As much is written anew when a log is compacted, at most. */
enum { REWRITE_BYTES = 16 << 20 };

int raft_log_refuse (raft_log_change_t *self, const char *what, uint64_t index)
{
    const raft_log_state_t *state = &self->content.state;
    return nexus_error_set (self->error, NEXUS_INVALID,
                            "%.200s: can't %s %llu: the log has %llu to %llu, committed to %llu",
                            self->log->env.dir, what, (unsigned long long)index,
                            (unsigned long long)state->first, (unsigned long long)state->last,
                            (unsigned long long)state->hard.commit);
}

int raft_log_refuse_lmdb (raft_log_change_t *self, int code, const char *doing)
{
    return lmdb_env_error (&self->log->env, code, doing, self->error);
}

int raft_log_change_begin (raft_log_change_t *self, raft_log_t *log, nexus_error_t *error)
{
    *self = (raft_log_change_t){.log = log, .error = error};
    self->txn = lmdb_env_begin (&log->env, true, error);
    if (!self->txn)
        return -1;
    raft_log_state (log, &self->content.state);
    self->content.generation = log->now.generation;
    self->damaged = self->content.state.damaged;
    return 0;
}

/*  Commits. In a pipelined log, LMDB's order is: write the pages, flush, write the meta page. So
   the flush makes the meta page of the commit before durable, not the own one. A transaction that
   changed nothing flushes nothing. */
static int change_commit (raft_log_change_t *self)
{
    raft_log_t *log = self->log;
    MDB_envinfo info;
    size_t number = mdb_txn_id (self->txn);
    if (lmdb_env_commit (&log->env, self->txn, self->error) != 0)
        return -1;
    if (mdb_env_info (log->env.env, &info) != 0 || info.me_last_txnid != number)
        return 0;
    log->written++;
    log->durable = log->durability == RAFT_LOG_PIPELINED ? log->written - 1 : log->written;
    return 0;
}

/*  Where the lowest damage is gone there may be more: all is read again before others learn
    of either. */
int raft_log_change_check (raft_log_change_t *self)
{
    raft_log_content_t content = {0};
    raft_log_check_t check;
    if (!self->mended)
        return 0;
    if (raft_log_check_all (self->log, self->txn, &content, &check, self->error) != 0)
        return -1;
    self->content.state.damaged = check.damaged;
    self->content.state.last_term = content.state.last_term;
    return 0;
}

/*  What a reader found meanwhile must not be forgotten, unless all was read again. Under lock. */
uint64_t raft_log_change_damaged (const raft_log_change_t *self)
{
    uint64_t noted = self->log->now.state.damaged;
    return self->mended || noted == self->damaged ? self->content.state.damaged : noted;
}

/*  rc: whether the changes succeeded. Commits or forgets them. */
int raft_log_change_end (raft_log_change_t *self, int rc)
{
    raft_log_t *log = self->log;
    if (rc == 0 && self->state_changed) {
        int code = raft_log_put_state (log, self->txn, &self->content);
        if (code)
            rc = raft_log_refuse_lmdb (self, code, "write its state");
    }
    if (rc == 0)
        rc = raft_log_change_check (self);
    if (rc == 0)
        rc = change_commit (self);
    else
        mdb_txn_abort (self->txn);
    if (rc == 0) {
        pthread_mutex_lock (&log->lock);
        self->content.state.damaged = raft_log_change_damaged (self);
        log->now = self->content;
        pthread_mutex_unlock (&log->lock);
    }
    return rc;
}

/*  The term of an entry as this transaction sees it. Returns 0, or -1 if it is damaged. */
static int change_term (raft_log_change_t *self, uint64_t index, uint64_t *ret_term)
{
    raft_log_t *log = self->log;
    if (index < self->content.state.first) {
        *ret_term = self->content.state.previous_term;
        return 0;
    }
    raft_log_entry_t entry;
    MDB_val key = raft_log_key (&index), value;
    int code = mdb_get (self->txn, log->table, &key, &value);
    if (code)
        return raft_log_refuse_lmdb (self, code, "read an entry");
    if (raft_log_decode (log, RAFT_LOG_RECORD_ENTRY, index, value, &entry, self->error) != 0)
        return -1;
    *ret_term = entry.term;
    return 0;
}

/*  The same if the entry can be read; otherwise 0. */
static uint64_t change_known_term (raft_log_change_t *self, uint64_t index)
{
    nexus_error_t damage, *error = self->error;
    uint64_t term;
    self->error = &damage;
    int rc = change_term (self, index, &term);
    self->error = error;
    return rc == 0 ? term : 0;
}

static int install_snapshot (raft_log_change_t *self, uint64_t index, uint64_t term)
{
    raft_log_state_t *state = &self->content.state;
    if (index < state->first - 1 || index < state->hard.commit)
        return raft_log_refuse (self, "install a snapshot up to", index);
    int code = mdb_drop (self->txn, self->log->table, 0);
    if (code)
        return raft_log_refuse_lmdb (self, code, "drop its entries");
    state->first = index + 1;
    state->last = index;
    state->previous_term = state->last_term = term;
    state->hard.commit = index;
    state->damaged = 0;
    if (state->hard.term < term) {
        state->hard.term = term;
        state->hard.vote = 0;
    }
    self->state_changed = true;
    return 0;
}

/*  Terms never fall, so those of its neighbours that can be read tell what its term can be. behind
    is the first entry that goes in the same write, or 0. */
static int repair (raft_log_change_t *self, const raft_log_entry_t *entry, uint64_t behind)
{
    const raft_log_state_t *state = &self->content.state;
    uint64_t index = entry->index;
    if (index < state->first)
        return 0; /* it was compacted since somebody asked for it */
    if (index > state->last || entry->size > RAFT_LOG_ENTRY_MAX)
        return raft_log_refuse (self, "repair entry", index);
    uint64_t own = change_known_term (self, index);
    if (own == entry->term) {
        self->mended |= index == self->damaged; /* who found it so looked at what was before */
        return 0;
    }
    uint64_t next = index < state->last && index + 1 != behind ? index + 1 : 0;
    uint64_t after = next ? change_known_term (self, next) : 0;
    if (own || entry->term == 0 || entry->term < change_known_term (self, index - 1) ||
        (after && entry->term > after))
        return raft_log_refuse (self, "repair, with a term that can't be its own, entry", index);
    int code = raft_log_put_record (self->log, self->txn, RAFT_LOG_RECORD_ENTRY, entry, 0);
    if (code)
        return raft_log_refuse_lmdb (self, code, "repair an entry");
    self->mended = true;
    return 0;
}

static int truncate_from (raft_log_change_t *self, uint64_t from)
{
    raft_log_state_t *state = &self->content.state;
    if (from > state->last)
        return 0;
    if (from < state->first || from <= state->hard.commit)
        return raft_log_refuse (self, "truncate from", from);
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t last = UINT64_MAX;
    int code = mdb_cursor_open (self->txn, self->log->table, &cursor);
    if (code)
        return raft_log_refuse_lmdb (self, code, "truncate");
    while (code == 0 && last > from) {
        code = mdb_cursor_get (cursor, &key, &value, MDB_LAST);
        if (code == 0 && raft_log_index (key, &last) == 0 && last >= from)
            code = mdb_cursor_del (cursor, 0);
    }
    mdb_cursor_close (cursor);
    if (code)
        return raft_log_refuse_lmdb (self, code, "truncate");
    if (state->damaged >= from)
        state->damaged = 0;
    state->last = from - 1;
    /*  Of what is damaged the term is not known, but that of one before it is a lower bound. */
    uint64_t known = state->last;
    while (known >= state->first && !change_known_term (self, known))
        known--;
    return change_term (self, known, &state->last_term);
}

/*  Only what it does to the state. */
int raft_log_change_append (raft_log_change_t *self, const raft_log_entry_t *entry)
{
    raft_log_state_t *state = &self->content.state;
    if (entry->index != state->last + 1)
        return raft_log_refuse (self, "append entry", entry->index);
    if (entry->term < state->last_term)
        return raft_log_refuse (self, "append, with a term that falls, entry", entry->index);
    if (entry->size > RAFT_LOG_ENTRY_MAX)
        return raft_log_refuse (self, "append, with more than 4 MiB of data, entry", entry->index);
    state->last = entry->index;
    state->last_term = entry->term;
    return 0;
}

static int append (raft_log_change_t *self, const raft_log_entry_t *entry)
{
    if (raft_log_change_append (self, entry) != 0)
        return -1;
    int code = raft_log_put_record (self->log, self->txn, RAFT_LOG_RECORD_ENTRY, entry, MDB_APPEND);
    return code ? raft_log_refuse_lmdb (self, code, "append") : 0;
}

int raft_log_change_hard (raft_log_change_t *self, const raft_log_hard_state_t *hard)
{
    raft_log_state_t *state = &self->content.state;
    if (hard->term < state->hard.term)
        return raft_log_refuse (self, "go back to term", hard->term);
    if (hard->term == state->hard.term && state->hard.vote && hard->vote != state->hard.vote)
        return raft_log_refuse (self, "vote twice in term", hard->term);
    if (hard->commit > state->last)
        return raft_log_refuse (self, "commit, since it isn't there, entry", hard->commit);
    uint64_t commit = state->hard.commit > hard->commit ? state->hard.commit : hard->commit;
    state->hard = *hard;
    state->hard.commit = commit;
    self->state_changed = true;
    return 0;
}

int raft_log_change_write (raft_log_change_t *self, const raft_log_write_t *write)
{
    int rc = 0;
    if (write->snapshot_index)
        rc = install_snapshot (self, write->snapshot_index, write->snapshot_term);
    for (size_t i = 0; rc == 0 && i < write->repairs_count; i++)
        rc = repair (self, &write->repairs[i], write->truncate_from);
    if (rc == 0 && write->truncate_from)
        rc = truncate_from (self, write->truncate_from);
    for (size_t i = 0; rc == 0 && i < write->count; i++)
        rc = append (self, &write->entries[i]);
    if (rc == 0 && write->hard)
        rc = raft_log_change_hard (self, write->hard);
    return rc;
}

/*  ---- compacting --------------------------------------------------------- */

static int delete_through (raft_log_change_t *self, uint64_t through)
{
    MDB_cursor *cursor;
    uint64_t index = self->content.state.first;
    MDB_val key = raft_log_key (&index), value;
    int code = mdb_cursor_open (self->txn, self->log->table, &cursor);
    if (code)
        return raft_log_refuse_lmdb (self, code, "compact");
    code = mdb_cursor_get (cursor, &key, &value, MDB_SET_RANGE);
    while (code == 0 && raft_log_index (key, &index) == 0 && index <= through) {
        code = mdb_cursor_del (cursor, 0);
        if (code == 0)
            code = mdb_cursor_get (cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close (cursor);
    return code && code != MDB_NOTFOUND ? raft_log_refuse_lmdb (self, code, "compact") : 0;
}

/*  What stays, if it is little: each record with its index and size before it. False if it isn't,
    or can't be read. */
static bool collect_behind (raft_log_change_t *self, uint64_t through, buffer_t *out)
{
    MDB_cursor *cursor;
    uint64_t index = through + 1;
    MDB_val key = raft_log_key (&index), value;
    out->limit = REWRITE_BYTES;
    if (mdb_cursor_open (self->txn, self->log->table, &cursor))
        return false;
    int code = mdb_cursor_get (cursor, &key, &value, MDB_SET_RANGE);
    while (code == 0 && raft_log_index (key, &index) == 0 && !out->failed) {
        uint64_t head[2] = {index, value.mv_size};
        buffer_append (out, head, sizeof head);
        buffer_append (out, value.mv_data, value.mv_size);
        code = mdb_cursor_get (cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close (cursor);
    return code == MDB_NOTFOUND && !out->failed;
}

/*  Deleting takes every page in hand, emptying the table none. So where little stays of much, what
    stays is written anew. */
static int rewrite (raft_log_change_t *self, const buffer_t *kept)
{
    int code = mdb_drop (self->txn, self->log->table, 0);
    if (code == 0) /* it comes first, and is written again in the end */
        code = raft_log_put_state (self->log, self->txn, &self->content);
    for (size_t at = 0; code == 0 && at < kept->size;) {
        uint64_t head[2];
        memcpy (head, kept->data + at, sizeof head);
        MDB_val key = raft_log_key (&head[0]);
        MDB_val value = {.mv_size = head[1], .mv_data = kept->data + at + sizeof head};
        code = mdb_put (self->txn, self->log->table, &key, &value, MDB_APPEND);
        at += sizeof head + head[1];
    }
    return code ? raft_log_refuse_lmdb (self, code, "compact") : 0;
}

/*  Drops entries up to index, at most a slice, or all at once if that is less work. Returns how
   many are left, or -1; NEXUS_INVALID has changed nothing. */
int64_t raft_log_change_drop (raft_log_change_t *self, uint64_t index, bool at_once)
{
    raft_log_state_t *state = &self->content.state;
    uint64_t term, through = index;
    if (index < state->first)
        return 0;
    if (index > state->hard.commit)
        return raft_log_refuse (self, "compact, since it is not committed, entry", index);
    buffer_t kept = {0};
    at_once = at_once && index - state->first >= 2 * (state->last - index) &&
              collect_behind (self, index, &kept);
    if (!at_once && index - state->first >= RAFT_LOG_COMPACT_SLICE)
        through = state->first + RAFT_LOG_COMPACT_SLICE - 1;
    /*  The log begins behind an entry whose term is known. */
    while (through >= state->first && !change_known_term (self, through))
        through--;
    int rc = 0;
    if (through < state->first)
        rc = raft_log_refuse (self, "compact, since it is damaged, entry", index);
    if (rc == 0)
        rc = change_term (self, through, &term);
    if (rc == 0)
        rc = at_once && through == index ? rewrite (self, &kept) : delete_through (self, through);
    buffer_free (&kept);
    if (rc != 0)
        return -1;
    state->first = through + 1;
    state->previous_term = term;
    self->state_changed = true;
    self->mended = self->damaged && self->damaged <= through;
    return (int64_t)(index - through);
}
