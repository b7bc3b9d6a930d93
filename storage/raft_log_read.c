/*  Reading: of LMDB, and of what a journaled log has in its tail only. */
#include "storage/raft_log_private.h"

/*  index is not in the table: is that as it should be? Looks at the reader's own
    snapshot, because the writer may have compacted or truncated meanwhile. */
static int missing (raft_log_t *self, MDB_cursor *cursor, uint64_t index, nexus_error_t *error)
{
    MDB_val key, value;
    raft_log_content_t content = {0};
    uint64_t last = 0;
    int rc = mdb_cursor_get (cursor, &key, &value, MDB_FIRST);
    if (rc == 0)
        rc = raft_log_get_state (self, value, &content, error);
    if (rc != 0)
        return nexus_error_set (error, NEXUS_CORRUPT, "%.200s: the log's state can't be read",
                                self->env.dir);
    if (mdb_cursor_get (cursor, &key, &value, MDB_LAST) == 0)
        raft_log_index (key, &last);
    if (index < content.state.first || index > last)
        return nexus_error_set (error, NEXUS_NOT_FOUND, "%.200s: entry %llu is not there",
                                self->env.dir, (unsigned long long)index);
    raft_log_note_damage (self, index);
    return nexus_error_set (error, NEXUS_CORRUPT, "%.200s: entry %llu is missing", self->env.dir,
                            (unsigned long long)index);
}

/*  Entry index from a cursor that stands before it (next) or anywhere. */
static int read_entry (raft_log_t *self, MDB_cursor *cursor, uint64_t index, bool next,
                       raft_log_entry_t *ret_entry, nexus_error_t *error)
{
    uint64_t found = 0;
    MDB_val key = raft_log_key (&index), value;
    int code = mdb_cursor_get (cursor, &key, &value, next ? MDB_NEXT : MDB_SET_KEY);
    if (code && code != MDB_NOTFOUND) {
        lmdb_env_poison (&self->env, code);
        return lmdb_env_error (&self->env, code, "read an entry", error);
    }
    if (code || raft_log_index (key, &found) != 0 || found != index)
        return missing (self, cursor, index, error);
    if (raft_log_decode (self, RAFT_LOG_RECORD_ENTRY, index, value, ret_entry, error) == 0)
        return 0;
    raft_log_note_damage (self, index);
    return -1;
}

/*  Of a journaled log, entries that are in the tail only. Returns the number visited: 0 if from is
    not there. */
static const raft_log_entry_t *find_gathered (const raft_log_t *self, uint64_t index)
{
    const raft_log_gathered_t *parts[] = {&self->settling, &self->gathered};
    for (size_t i = 0; i < 2; i++)
        if (parts[i]->count && index >= parts[i]->entries[0].index &&
            index - parts[i]->entries[0].index < parts[i]->count)
            return &parts[i]->entries[index - parts[i]->entries[0].index];
    return NULL;
}

static int64_t read_gathered (raft_log_t *self, uint64_t from, uint64_t to, size_t bytes_max,
                              bool (*visit) (void *context, const raft_log_entry_t *entry),
                              void *context)
{
    int64_t visited = 0;
    size_t bytes = 0;
    pthread_mutex_lock (&self->lock);
    for (uint64_t index = from; index <= to; index++) {
        const raft_log_entry_t *entry = find_gathered (self, index);
        if (!entry)
            break;
        bytes += entry->size;
        if (visited > 0 && bytes > bytes_max)
            break;
        visited++;
        if (!visit (context, entry))
            break;
    }
    pthread_mutex_unlock (&self->lock);
    return visited;
}

int64_t raft_log_read (raft_log_t *self, uint64_t from, uint64_t to, size_t bytes_max,
                       bool (*visit) (void *context, const raft_log_entry_t *entry), void *context,
                       nexus_error_t *error)
{
    if (from == STATE_KEY)
        return nexus_error_set (error, NEXUS_NOT_FOUND, "%.200s: there is no entry 0",
                                self->env.dir);
    int64_t gathered = read_gathered (self, from, to, bytes_max, visit, context);
    if (gathered > 0)
        return gathered;
    MDB_txn *txn = lmdb_env_begin (&self->env, false, error);
    if (!txn)
        return -1;
    MDB_cursor *cursor;
    int code = mdb_cursor_open (txn, self->table, &cursor);
    if (code) {
        mdb_txn_abort (txn);
        return lmdb_env_error (&self->env, code, "read", error);
    }
    int64_t visited = 0;
    size_t bytes = 0;
    for (uint64_t index = from; index <= to; index++) {
        raft_log_entry_t entry;
        if (read_entry (self, cursor, index, visited > 0, &entry, visited ? NULL : error) != 0) {
            visited = visited ? visited : -1;
            break;
        }
        bytes += entry.size;
        if (visited > 0 && bytes > bytes_max)
            break;
        visited++;
        if (!visit (context, &entry))
            break;
    }
    mdb_cursor_close (cursor);
    mdb_txn_abort (txn);
    return visited;
}

static bool take_term (void *context, const raft_log_entry_t *entry)
{
    *(uint64_t *)context = entry->term;
    return false;
}

uint64_t raft_log_term (raft_log_t *self, uint64_t index)
{
    raft_log_state_t state;
    raft_log_state (self, &state);
    if (index + 1 == state.first)
        return state.previous_term;
    uint64_t term = 0;
    if (index >= state.first && index <= state.last)
        raft_log_read (self, index, index, 0, take_term, &term, NULL);
    return term;
}
