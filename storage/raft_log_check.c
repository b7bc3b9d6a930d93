/*  Records in LMDB, and whether they are what was written. */
#include "storage/raft_log_private.h"

#include "storage/little_endian.h"

#include <stdarg.h>
#include <stdio.h>

/*  The state's data: term, vote, commit, start index, start term, incarnation, generation of the
    tail (8 bytes each). The log begins behind start. */
enum { STATE_SIZE = 56 };

int raft_log_decode (raft_log_t *self, raft_log_record_kind_t kind, uint64_t index, MDB_val value,
                     raft_log_entry_t *ret_entry, nexus_error_t *error)
{
    if (raft_log_record_decode (kind, index, value.mv_data, value.mv_size, ret_entry, error) == 0)
        return 0;
    return nexus_error_prefix (error, "%.200s: ", self->env.dir);
}

/*  Returns LMDB's code. */
int raft_log_put_record (raft_log_t *self, MDB_txn *txn, raft_log_record_kind_t kind,
                         const raft_log_entry_t *entry, unsigned flags)
{
    MDB_val key = raft_log_key (&entry->index);
    MDB_val value = {.mv_size = RAFT_LOG_RECORD_HEADER + entry->size};
    int code = mdb_put (txn, self->table, &key, &value, flags | MDB_RESERVE);
    if (code == 0)
        raft_log_record_encode (kind, entry, value.mv_data);
    return code;
}

int raft_log_put_state (raft_log_t *self, MDB_txn *txn, const raft_log_content_t *content)
{
    uint8_t data[STATE_SIZE];
    const raft_log_state_t *state = &content->state;
    put_u64 (data, state->hard.term);
    put_u64 (data + 8, state->hard.vote);
    put_u64 (data + 16, state->hard.commit);
    put_u64 (data + 24, state->first - 1);
    put_u64 (data + 32, state->previous_term);
    put_u64 (data + 40, state->incarnation);
    put_u64 (data + 48, content->generation);
    raft_log_entry_t record = {.index = STATE_KEY, .data = data, .size = sizeof data};
    return raft_log_put_record (self, txn, RAFT_LOG_RECORD_STATE, &record, 0);
}

int raft_log_get_state (raft_log_t *self, MDB_val value, raft_log_content_t *content,
                        nexus_error_t *error)
{
    raft_log_entry_t record;
    if (raft_log_decode (self, RAFT_LOG_RECORD_STATE, STATE_KEY, value, &record, error) != 0)
        return -1;
    const uint8_t *data = record.data;
    if (record.size < STATE_SIZE)
        return nexus_error_set (error, NEXUS_CORRUPT, "%.200s: the log's state is too short",
                                self->env.dir);
    raft_log_state_t *state = &content->state;
    state->hard.term = get_u64 (data);
    state->hard.vote = get_u64 (data + 8);
    state->hard.commit = get_u64 (data + 16);
    state->first = get_u64 (data + 24) + 1;
    state->previous_term = get_u64 (data + 32);
    state->incarnation = get_u64 (data + 40);
    content->generation = get_u64 (data + 48);
    return 0;
}

/*  ---- checking ---------------------------------------------------------- */

void raft_log_note_damage (raft_log_t *self, uint64_t index)
{
    pthread_mutex_lock (&self->lock);
    raft_log_state_t *state = &self->now.state;
    if (index >= state->first && (!state->damaged || index < state->damaged))
        state->damaged = index;
    pthread_mutex_unlock (&self->lock);
}

/*  Only the first damage is reported. */
__attribute__ ((format (printf, 3, 4))) static void damage (raft_log_check_t *check, uint64_t index,
                                                            const char *format, ...)
{
    if (check->damaged)
        return;
    check->damaged = index;
    char text[200];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    nexus_error_set (&check->error, NEXUS_CORRUPT, "entry %llu: %s", (unsigned long long)index,
                     text);
}

static void check_entry (raft_log_check_t *check, MDB_val key, MDB_val value)
{
    nexus_error_t error;
    raft_log_entry_t entry;
    uint64_t index;
    bool known = raft_log_index (key, &index) == 0 && index >= check->expected;
    bool good = known && raft_log_record_decode (RAFT_LOG_RECORD_ENTRY, index, value.mv_data,
                                                 value.mv_size, &entry, &error) == 0;
    if (known && index > check->expected)
        damage (check, check->expected, "it is missing, the next is %llu",
                (unsigned long long)index);
    /*  What is out of order and damaged as well tells nothing about where the log ends. */
    if (!known || (!good && index > check->expected)) {
        damage (check, check->expected, "something else lies before it");
        return;
    }
    check->expected = index + 1;
    if (!good)
        damage (check, index, "%s", error.text);
    else if (entry.term < check->term)
        damage (check, index, "its term is older than that of the entry before");
    else
        check->term = entry.term;
}

/*  Reads the state and every entry. -1: the state can't be read, or LMDB's pages. */
int raft_log_check_all (raft_log_t *self, MDB_txn *txn, raft_log_content_t *content,
                        raft_log_check_t *check, nexus_error_t *error)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = -1;
    int code = mdb_cursor_open (txn, self->table, &cursor);
    if (code == 0)
        code = mdb_cursor_get (cursor, &key, &value, MDB_FIRST);
    uint64_t index = 1;
    if (code || raft_log_index (key, &index) != 0 || index != STATE_KEY) {
        nexus_error_set (error, NEXUS_CORRUPT, "%.200s: the log's state is missing", self->env.dir);
        goto done;
    }
    if (raft_log_get_state (self, value, content, error) != 0)
        goto done;
    *check =
        (raft_log_check_t){.expected = content->state.first, .term = content->state.previous_term};
    while ((code = mdb_cursor_get (cursor, &key, &value, MDB_NEXT)) == 0)
        check_entry (check, key, value);
    if (code != MDB_NOTFOUND) {
        lmdb_env_poison (&self->env, code);
        lmdb_env_error (&self->env, code, "read its entries", error);
        goto done;
    }
    content->state.last = check->expected - 1;
    content->state.last_term = check->term;
    content->state.damaged = check->damaged;
    rc = 0;
done:
    if (cursor)
        mdb_cursor_close (cursor);
    return rc;
}

int raft_log_check_committed (raft_log_t *self, raft_log_content_t *content,
                              raft_log_check_t *check, nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, false, error);
    if (!txn)
        return -1;
    int rc = raft_log_check_all (self, txn, content, check, error);
    mdb_txn_abort (txn);
    return rc;
}

/*  What was committed can't be gone: then it is not the disk that we wrote to. */
int raft_log_check_commit (raft_log_t *self, const raft_log_state_t *state, nexus_error_t *error)
{
    if (state->hard.commit <= state->last && state->hard.term >= state->last_term)
        return 0;
    return nexus_error_set (
        error, NEXUS_CORRUPT,
        "%.200s: it ends with entry %llu of term %llu, but committed %llu and "
        "saw term %llu: entries were lost; move the directory away and join "
        "the cluster again",
        self->env.dir, (unsigned long long)state->last, (unsigned long long)state->last_term,
        (unsigned long long)state->hard.commit, (unsigned long long)state->hard.term);
}

int raft_log_check (raft_log_t *self, nexus_error_t *error)
{
    raft_log_content_t content = {0};
    raft_log_check_t check;
    int rc = raft_log_check_committed (self, &content, &check, error);
    if (rc == 0 && check.damaged) {
        raft_log_note_damage (self, check.damaged);
        rc = nexus_error_set (error, NEXUS_CORRUPT, "%.200s: %s", self->env.dir, check.error.text);
    }
    return rc;
}
