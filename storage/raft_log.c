#include "storage/raft_log.h"

#include "storage/file_error.h"
#include "storage/little_endian.h"
#include "storage/lmdb_env.h"
#include "storage/raft_log_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*  The state's data: term, vote, commit, start index, start term, incarnation, generation of the
    tail (8 bytes each). The log begins behind start. */
enum { STATE_SIZE = 56 };
#define STATE_KEY UINT64_C (0)

/*  As much is written anew when a log is compacted, at most. */
enum { REWRITE_BYTES = 16 << 20 };

typedef struct {
    raft_log_state_t state;
    uint64_t generation; /* of the tail: its records come after this state; 0: there are none */
} content_t;

/*  What is in the tail only, of a journaled log; under lock. A start may find two generations. */
typedef struct {
    raft_log_entry_t *entries; /* consecutive, to the log's end; their data in records */
    size_t count;
    size_t capacity;
    uint8_t *records[2 * RAFT_LOG_GATHER_WRITES];
    size_t records_count;
    size_t bytes;
} gathered_t;

struct raft_log {
    lmdb_env_t env;
    MDB_dbi table;
    content_t now; /* as committed; changed by the writer, under lock */
    pthread_mutex_t lock;
    raft_log_durability_t durability;
    raft_log_tail_t tail;
    gathered_t gathered;
    gathered_t settling; /* being brought to LMDB: what stands before gathered */
    pthread_t settler;   /* by this thread, if settles */
    bool settles;
    atomic_bool settled; /* it is done */
    content_t settling_content;
    int settling_rc;
    nexus_error_t settling_error;
    uint64_t compact_to;        /* with what is brought to LMDB, entries up to here go; 0: none */
    bool compact_refused;       /* for this reason: */
    nexus_error_t compact_error;
    uint64_t written; /* writes since the start, and how many of them are on disk to stay */
    uint64_t durable;
};

_Static_assert(sizeof (size_t) == 8, "LMDB's integer keys are as large as size_t");

/*  ---- records ----------------------------------------------------------- */

static MDB_val key_of (const uint64_t *index)
{
    return (MDB_val){.mv_size = sizeof *index, .mv_data = (void *)index};
}

static int index_of (MDB_val key, uint64_t *ret_index)
{
    if (key.mv_size != sizeof *ret_index)
        return -1;
    memcpy (ret_index, key.mv_data, sizeof *ret_index);
    return 0;
}

static int decode (raft_log_t *self, raft_log_record_kind_t kind, uint64_t index, MDB_val value,
                   raft_log_entry_t *ret_entry, nexus_error_t *error)
{
    if (raft_log_record_decode (kind, index, value.mv_data, value.mv_size, ret_entry, error) == 0)
        return 0;
    return nexus_error_prefix (error, "%.200s: ", self->env.dir);
}

/*  Returns LMDB's code. */
static int put_record (raft_log_t *self, MDB_txn *txn, raft_log_record_kind_t kind,
                       const raft_log_entry_t *entry, unsigned flags)
{
    MDB_val key = key_of (&entry->index);
    MDB_val value = {.mv_size = RAFT_LOG_RECORD_HEADER + entry->size};
    int code = mdb_put (txn, self->table, &key, &value, flags | MDB_RESERVE);
    if (code == 0)
        raft_log_record_encode (kind, entry, value.mv_data);
    return code;
}

static int put_state (raft_log_t *self, MDB_txn *txn, const content_t *content)
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
    return put_record (self, txn, RAFT_LOG_RECORD_STATE, &record, 0);
}

static int get_state (raft_log_t *self, MDB_val value, content_t *content, nexus_error_t *error)
{
    raft_log_entry_t record;
    if (decode (self, RAFT_LOG_RECORD_STATE, STATE_KEY, value, &record, error) != 0)
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

/*  ---- opening and checking ---------------------------------------------- */

static void note_damage (raft_log_t *self, uint64_t index)
{
    pthread_mutex_lock (&self->lock);
    raft_log_state_t *state = &self->now.state;
    if (!state->damaged || index < state->damaged)
        state->damaged = index;
    pthread_mutex_unlock (&self->lock);
}

typedef struct {
    uint64_t expected; /* the next index */
    uint64_t term;     /* of the entry before */
    uint64_t damaged;
    nexus_error_t error; /* of the first damage */
} check_t;

/*  Only the first damage is reported. */
__attribute__ ((format (printf, 3, 4))) static void damage (check_t *check, uint64_t index,
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

static void check_entry (check_t *check, MDB_val key, MDB_val value)
{
    nexus_error_t error;
    raft_log_entry_t entry;
    uint64_t index;
    bool known = index_of (key, &index) == 0 && index >= check->expected;
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
static int check_all (raft_log_t *self, content_t *content, check_t *check, nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, false, error);
    if (!txn)
        return -1;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = -1;
    int code = mdb_cursor_open (txn, self->table, &cursor);
    if (code == 0)
        code = mdb_cursor_get (cursor, &key, &value, MDB_FIRST);
    uint64_t index = 1;
    if (code || index_of (key, &index) != 0 || index != STATE_KEY) {
        nexus_error_set (error, NEXUS_CORRUPT, "%.200s: the log's state is missing", self->env.dir);
        goto done;
    }
    if (get_state (self, value, content, error) != 0)
        goto done;
    *check = (check_t){.expected = content->state.first, .term = content->state.previous_term};
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
    mdb_txn_abort (txn);
    return rc;
}

/*  What was committed can't be gone: then it is not the disk that we wrote to. */
static int check_commit (raft_log_t *self, const raft_log_state_t *state, nexus_error_t *error)
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

/*  The table, and in a new environment the first state. */
static int open_table (raft_log_t *self, bool make, nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, true, error);
    if (!txn)
        return -1;
    int code = mdb_dbi_open (txn, NULL, MDB_CREATE | MDB_INTEGERKEY, &self->table);
    if (code == 0 && make) {
        content_t content = {.state.first = 1};
        while (content.state.incarnation == 0)
            randombytes_buf (&content.state.incarnation, sizeof content.state.incarnation);
        code = put_state (self, txn, &content);
    }
    if (code) {
        mdb_txn_abort (txn);
        return lmdb_env_error (&self->env, code, "open the log", error);
    }
    return lmdb_env_commit (&self->env, txn, error);
}

/*  Opens a path, flushes what is behind it, and closes it. With forget, drops what the kernel
    keeps of it. */
static int flush_path (const char *path, int flags, bool forget, nexus_error_t *error)
{
    int fd = open (path, flags | O_CLOEXEC);
    if (fd < 0)
        return file_error (path, "open it", errno, error);
    int code = fsync (fd) == 0 ? 0 : errno;
    if (code == 0 && forget)
        code = posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
    close (fd);
    return code ? file_error (path, "flush it", code, error) : 0;
}

static void remove_draft (const char *draft)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    char path[PATH_MAX + 16];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf (path, sizeof path, "%s/%s", draft, names[i]);
        unlink (path);
    }
    rmdir (draft);
}

/*  A new log is made aside and moved to its place when it is on disk: so a log that is there is
    whole, and one without its state has lost it. */
static int make_file (raft_log_t *self, const char *dir, size_t map_size, const char *path,
                      nexus_error_t *error)
{
    char draft[PATH_MAX], made[PATH_MAX + 16];
    snprintf (draft, sizeof draft, "%s/new", dir);
    snprintf (made, sizeof made, "%s/data.mdb", draft);
    remove_draft (draft);
    if (lmdb_env_open (&self->env, draft, map_size, 0, 0, error) != 0)
        return -1;
    int rc = open_table (self, true, error);
    lmdb_env_close (&self->env);
    /*  Not over a file that somebody else put there meanwhile. */
    if (rc == 0 && link (made, path) != 0 && errno != EEXIST)
        rc = file_error (path, "move it to its place", errno, error);
    if (rc == 0)
        rc = flush_path (dir, O_RDONLY | O_DIRECTORY, false, error);
    remove_draft (draft);
    return rc;
}

/*  Who ran before us may have been killed before a flush, or have ended because a flush failed;
    then the kernel's cache has what the disk may not have. So what is not on disk is
    flushed, and all of it is forgotten: what we read from here on is what the disk has. */
static int prepare_file (raft_log_t *self, const char *dir, size_t map_size, nexus_error_t *error)
{
    char path[PATH_MAX];
    struct stat status;
    if (snprintf (path, sizeof path, "%s/data.mdb", dir) >= (int)sizeof path)
        return file_error (dir, "open it", ENAMETOOLONG, error);
    if (mkdir (dir, 0700) != 0 && errno != EEXIST)
        return file_error (dir, "create the directory", errno, error);
    if (stat (dir, &status) == 0 && !S_ISDIR (status.st_mode))
        return nexus_error_set (error, NEXUS_INVALID,
                                "%.300s: is not a directory; name another or move it away", dir);
    if (stat (path, &status) == 0)
        return flush_path (path, O_RDWR, true, error);
    return errno == ENOENT ? make_file (self, dir, map_size, path, error)
                           : file_error (path, "look at it", errno, error);
}

int raft_log_check (raft_log_t *self, nexus_error_t *error)
{
    content_t content = {0};
    check_t check;
    int rc = check_all (self, &content, &check, error);
    if (rc == 0 && check.damaged) {
        note_damage (self, check.damaged);
        rc = nexus_error_set (error, NEXUS_CORRUPT, "%.200s: %s", self->env.dir, check.error.text);
    }
    return rc;
}

void raft_log_state (raft_log_t *self, raft_log_state_t *ret_state)
{
    pthread_mutex_lock (&self->lock);
    *ret_state = self->now.state;
    pthread_mutex_unlock (&self->lock);
}

int raft_log_check_readers (raft_log_t *self)
{
    return lmdb_env_check_readers (&self->env);
}

void raft_log_usage (raft_log_t *self, size_t *ret_used, size_t *ret_limit)
{
    lmdb_env_usage (&self->env, ret_used, ret_limit);
}

/*  ---- writing ----------------------------------------------------------- */

/*  A transaction in progress, and what the log will be if it succeeds. */
typedef struct {
    raft_log_t *log;
    MDB_txn *txn;
    content_t content;
    bool state_changed;
    bool mended;      /* something damaged is gone, or is put back */
    uint64_t damaged; /* what was known to be so when it began */
    nexus_error_t *error;
} change_t;

static int refuse (change_t *self, const char *what, uint64_t index)
{
    const raft_log_state_t *state = &self->content.state;
    return nexus_error_set (self->error, NEXUS_INVALID,
                            "%.200s: can't %s %llu: the log has %llu to %llu, committed to %llu",
                            self->log->env.dir, what, (unsigned long long)index,
                            (unsigned long long)state->first, (unsigned long long)state->last,
                            (unsigned long long)state->hard.commit);
}

static int refuse_lmdb (change_t *self, int code, const char *doing)
{
    return lmdb_env_error (&self->log->env, code, doing, self->error);
}

static int change_begin (change_t *self, raft_log_t *log, nexus_error_t *error)
{
    *self = (change_t){.log = log, .error = error};
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
static int change_commit (change_t *self)
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

/*  rc: whether the changes succeeded. Commits or forgets them. */
static int change_end (change_t *self, int rc)
{
    raft_log_t *log = self->log;
    if (rc == 0 && self->state_changed) {
        int code = put_state (log, self->txn, &self->content);
        if (code)
            rc = refuse_lmdb (self, code, "write its state");
    }
    if (rc == 0)
        rc = change_commit (self);
    else
        mdb_txn_abort (self->txn);
    if (rc == 0) {
        pthread_mutex_lock (&log->lock);
        content_t old = log->now;
        log->now = self->content;
        /*  What a reader found meanwhile must not be forgotten. */
        if (old.state.damaged != self->damaged)
            log->now.state.damaged = old.state.damaged;
        self->content = old;
        pthread_mutex_unlock (&log->lock);
    }
    return rc;
}

/*  The term of an entry as this transaction sees it. Returns 0, or -1 if it is damaged. */
static int change_term (change_t *self, uint64_t index, uint64_t *ret_term)
{
    raft_log_t *log = self->log;
    if (index < self->content.state.first) {
        *ret_term = self->content.state.previous_term;
        return 0;
    }
    raft_log_entry_t entry;
    MDB_val key = key_of (&index), value;
    int code = mdb_get (self->txn, log->table, &key, &value);
    if (code)
        return refuse_lmdb (self, code, "read an entry");
    if (decode (log, RAFT_LOG_RECORD_ENTRY, index, value, &entry, self->error) != 0)
        return -1;
    *ret_term = entry.term;
    return 0;
}

/*  The same if the entry can be read; otherwise 0. */
static uint64_t change_known_term (change_t *self, uint64_t index)
{
    nexus_error_t damage, *error = self->error;
    uint64_t term;
    self->error = &damage;
    int rc = change_term (self, index, &term);
    self->error = error;
    return rc == 0 ? term : 0;
}

static int install_snapshot (change_t *self, uint64_t index, uint64_t term)
{
    raft_log_state_t *state = &self->content.state;
    if (index < state->first - 1 || index < state->hard.commit)
        return refuse (self, "install a snapshot up to", index);
    int code = mdb_drop (self->txn, self->log->table, 0);
    if (code)
        return refuse_lmdb (self, code, "drop its entries");
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
static int repair (change_t *self, const raft_log_entry_t *entry, uint64_t behind)
{
    const raft_log_state_t *state = &self->content.state;
    uint64_t index = entry->index;
    if (index < state->first)
        return 0; /* it was compacted since somebody asked for it */
    if (index > state->last || entry->size > RAFT_LOG_ENTRY_MAX)
        return refuse (self, "repair entry", index);
    uint64_t own = change_known_term (self, index);
    if (own == entry->term)
        return 0;
    uint64_t next = index < state->last && index + 1 != behind ? index + 1 : 0;
    uint64_t after = next ? change_known_term (self, next) : 0;
    if (own || entry->term == 0 || entry->term < change_known_term (self, index - 1) ||
        (after && entry->term > after))
        return refuse (self, "repair, with a term that can't be its own, entry", index);
    int code = put_record (self->log, self->txn, RAFT_LOG_RECORD_ENTRY, entry, 0);
    if (code)
        return refuse_lmdb (self, code, "repair an entry");
    self->mended = true;
    return 0;
}

static int truncate_from (change_t *self, uint64_t from)
{
    raft_log_state_t *state = &self->content.state;
    if (from > state->last)
        return 0;
    if (from < state->first || from <= state->hard.commit)
        return refuse (self, "truncate from", from);
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t last = UINT64_MAX;
    int code = mdb_cursor_open (self->txn, self->log->table, &cursor);
    if (code)
        return refuse_lmdb (self, code, "truncate");
    while (code == 0 && last > from) {
        code = mdb_cursor_get (cursor, &key, &value, MDB_LAST);
        if (code == 0 && index_of (key, &last) == 0 && last >= from)
            code = mdb_cursor_del (cursor, 0);
    }
    mdb_cursor_close (cursor);
    if (code)
        return refuse_lmdb (self, code, "truncate");
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
static int append_state (change_t *self, const raft_log_entry_t *entry)
{
    raft_log_state_t *state = &self->content.state;
    if (entry->index != state->last + 1)
        return refuse (self, "append entry", entry->index);
    if (entry->term < state->last_term)
        return refuse (self, "append, with a term that falls, entry", entry->index);
    if (entry->size > RAFT_LOG_ENTRY_MAX)
        return refuse (self, "append, with more than 4 MiB of data, entry", entry->index);
    state->last = entry->index;
    state->last_term = entry->term;
    return 0;
}

static int append (change_t *self, const raft_log_entry_t *entry)
{
    if (append_state (self, entry) != 0)
        return -1;
    int code = put_record (self->log, self->txn, RAFT_LOG_RECORD_ENTRY, entry, MDB_APPEND);
    return code ? refuse_lmdb (self, code, "append") : 0;
}

static int set_hard (change_t *self, const raft_log_hard_state_t *hard)
{
    raft_log_state_t *state = &self->content.state;
    if (hard->term < state->hard.term)
        return refuse (self, "go back to term", hard->term);
    if (hard->term == state->hard.term && state->hard.vote && hard->vote != state->hard.vote)
        return refuse (self, "vote twice in term", hard->term);
    if (hard->commit > state->last)
        return refuse (self, "commit, since it isn't there, entry", hard->commit);
    uint64_t commit = state->hard.commit > hard->commit ? state->hard.commit : hard->commit;
    state->hard = *hard;
    state->hard.commit = commit;
    self->state_changed = true;
    return 0;
}

static int apply_write (change_t *self, const raft_log_write_t *write)
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
        rc = set_hard (self, write->hard);
    return rc;
}

/*  The lowest damage is gone; there may be more. */
static int check_again (raft_log_t *self, nexus_error_t *error)
{
    content_t content = {0};
    check_t check;
    int rc = check_all (self, &content, &check, error);
    if (rc == 0) {
        pthread_mutex_lock (&self->lock);
        self->now.state.damaged = check.damaged;
        /*  That of what is gathered is known. */
        if (self->now.state.last == content.state.last)
            self->now.state.last_term = content.state.last_term;
        pthread_mutex_unlock (&self->lock);
    }
    return rc;
}

/*  ---- compacting --------------------------------------------------------- */

static int delete_through (change_t *self, uint64_t through)
{
    MDB_cursor *cursor;
    uint64_t index = self->content.state.first;
    MDB_val key = key_of (&index), value;
    int code = mdb_cursor_open (self->txn, self->log->table, &cursor);
    if (code)
        return refuse_lmdb (self, code, "compact");
    code = mdb_cursor_get (cursor, &key, &value, MDB_SET_RANGE);
    while (code == 0 && index_of (key, &index) == 0 && index <= through) {
        code = mdb_cursor_del (cursor, 0);
        if (code == 0)
            code = mdb_cursor_get (cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close (cursor);
    return code && code != MDB_NOTFOUND ? refuse_lmdb (self, code, "compact") : 0;
}

/*  What stays, if it is little: each record with its index and size before it. False if it isn't,
    or can't be read. */
static bool collect_behind (change_t *self, uint64_t through, buffer_t *out)
{
    MDB_cursor *cursor;
    uint64_t index = through + 1;
    MDB_val key = key_of (&index), value;
    out->limit = REWRITE_BYTES;
    if (mdb_cursor_open (self->txn, self->log->table, &cursor))
        return false;
    int code = mdb_cursor_get (cursor, &key, &value, MDB_SET_RANGE);
    while (code == 0 && index_of (key, &index) == 0 && !out->failed) {
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
static int rewrite (change_t *self, const buffer_t *kept)
{
    int code = mdb_drop (self->txn, self->log->table, 0);
    if (code == 0) /* it comes first, and is written again in the end */
        code = put_state (self->log, self->txn, &self->content);
    for (size_t at = 0; code == 0 && at < kept->size;) {
        uint64_t head[2];
        memcpy (head, kept->data + at, sizeof head);
        MDB_val key = key_of (&head[0]);
        MDB_val value = {.mv_size = head[1], .mv_data = kept->data + at + sizeof head};
        code = mdb_put (self->txn, self->log->table, &key, &value, MDB_APPEND);
        at += sizeof head + head[1];
    }
    return code ? refuse_lmdb (self, code, "compact") : 0;
}

/*  Drops entries up to index, at most a slice, or all at once if that is less work. Returns how many
    are left, or -1; NEXUS_INVALID has changed nothing. */
static int64_t drop_entries (change_t *self, uint64_t index, bool at_once)
{
    raft_log_state_t *state = &self->content.state;
    uint64_t term, through = index;
    if (index < state->first)
        return 0;
    if (index > state->hard.commit)
        return refuse (self, "compact, since it is not committed, entry", index);
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
        rc = refuse (self, "compact, since it is damaged, entry", index);
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

/*  ---- the tail ---------------------------------------------------------- */

/*  Under lock, or alone. */
static void forget (gathered_t *gathered)
{
    for (size_t i = 0; i < gathered->records_count; i++)
        free (gathered->records[i]);
    gathered->records_count = gathered->count = gathered->bytes = 0;
}

/*  Of the parity that is asked for: that is the half of the tail. Never 0. */
static uint64_t fresh_generation (uint64_t parity)
{
    uint64_t generation = 0;
    while (generation < 2)
        randombytes_buf (&generation, sizeof generation);
    return (generation & ~UINT64_C (1)) | (parity & 1);
}

static int put_gathered (raft_log_t *self, MDB_txn *txn, const gathered_t *gathered)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < gathered->count; i++)
        code = put_record (self, txn, RAFT_LOG_RECORD_ENTRY, &gathered->entries[i], MDB_APPEND);
    return code;
}

/*  The compaction that goes with it, if one does. A refusal leaves all as it was. */
static int compact_apart (raft_log_t *self, change_t *change)
{
    int64_t left = self->compact_to ? drop_entries (change, self->compact_to, true) : 0;
    if (left >= 0 || change->error->code != NEXUS_INVALID)
        return left < 0 ? -1 : 0;
    self->compact_refused = true;
    self->compact_error = *change->error;
    return 0;
}

/*  One strict commit with what was gathered when it began. Readers find it in memory until LMDB
    has it. */
static int settle_apart (raft_log_t *self, nexus_error_t *error)
{
    change_t change = {.log = self,
                       .content = self->settling_content,
                       .damaged = self->settling_content.state.damaged,
                       .error = error};
    change.txn = lmdb_env_begin (&self->env, true, error);
    if (!change.txn)
        return -1;
    int code = put_gathered (self, change.txn, &self->settling);
    int rc = code ? refuse_lmdb (&change, code, "append") : compact_apart (self, &change);
    if (rc == 0 && (code = put_state (self, change.txn, &change.content)) != 0)
        rc = refuse_lmdb (&change, code, "write its state");
    if (rc != 0) {
        mdb_txn_abort (change.txn);
        lmdb_env_poison (&self->env, code ? code : EIO);
        return -1;
    }
    if (lmdb_env_commit (&self->env, change.txn, error) != 0)
        return -1;
    pthread_mutex_lock (&self->lock);
    self->now.generation = change.content.generation;
    self->now.state.first = change.content.state.first;
    self->now.state.previous_term = change.content.state.previous_term;
    forget (&self->settling);
    pthread_mutex_unlock (&self->lock);
    return change.mended ? check_again (self, error) : 0;
}

static void *settler (void *arg)
{
    raft_log_t *self = arg;
    pthread_setname_np (pthread_self (), "raft_log");
    self->settling_rc = settle_apart (self, &self->settling_error);
    atomic_store (&self->settled, true);
    return NULL;
}

/*  Waits for the thread, if there is one. */
static int settle_finish (raft_log_t *self, nexus_error_t *error)
{
    if (!self->settles)
        return 0;
    pthread_join (self->settler, NULL);
    self->settles = false;
    if (self->settling_rc != 0 && error)
        *error = self->settling_error;
    return self->settling_rc;
}

/*  Brings to LMDB what is in the tail only; its records from here on are of that generation. */
static int settle (raft_log_t *self, uint64_t generation, nexus_error_t *error)
{
    if (settle_finish (self, error) != 0)
        return -1;
    gathered_t *gathered = &self->gathered;
    if (gathered->records_count == 0 && self->now.generation == generation)
        return 0;
    change_t change;
    if (change_begin (&change, self, error) != 0)
        return -1;
    int code = put_gathered (self, change.txn, gathered);
    change.content.generation = generation;
    change.state_changed = true;
    if (change_end (&change, code ? refuse_lmdb (&change, code, "append") : 0) != 0 ||
        raft_log_sync (self, error) != 0)
        return -1;
    raft_log_tail_restart (&self->tail, generation);
    pthread_mutex_lock (&self->lock);
    forget (gathered);
    pthread_mutex_unlock (&self->lock);
    return 0;
}

bool raft_log_settling (const raft_log_t *self)
{
    return self->settles;
}

/*  compact_to: see there. Nobody is at it. */
static int settle_start (raft_log_t *self, uint64_t compact_to, nexus_error_t *error)
{
    self->compact_to = compact_to;
    /*  If nothing was ever put in the tail, it stays so. */
    uint64_t next = self->tail.generation ? fresh_generation (self->tail.generation + 1) : 0;
    content_t *content = &self->settling_content;
    *content = (content_t){.state = self->now.state, .generation = next};
    pthread_mutex_lock (&self->lock);
    gathered_t empty = self->settling;
    self->settling = self->gathered;
    self->gathered = empty;
    pthread_mutex_unlock (&self->lock);
    if (next)
        raft_log_tail_follow (&self->tail, next);
    atomic_store (&self->settled, false);
    int code = pthread_create (&self->settler, NULL, settler, self);
    if (code) {
        lmdb_env_poison (&self->env, code);
        return lmdb_env_error (&self->env, code, "start a thread", error);
    }
    self->settles = true;
    return 0;
}

int raft_log_settle_begin (raft_log_t *self, nexus_error_t *error)
{
    if (self->settles && !atomic_load (&self->settled))
        return 0;
    if (settle_finish (self, error) != 0)
        return -1;
    return self->gathered.records_count ? settle_start (self, 0, error) : 0;
}

/*  These writes only append, and are small enough for the tail. Truncating, snapshots and
    whatever else is rare goes to LMDB at once. */
static bool can_gather (const raft_log_t *self, const raft_log_write_t *writes, size_t count)
{
    if (self->durability != RAFT_LOG_JOURNALED ||
        raft_log_tail_size (writes, count) > RAFT_LOG_TAIL_SIZE / 4)
        return false;
    for (size_t i = 0; i < count; i++)
        if (writes[i].snapshot_index || writes[i].repairs_count || writes[i].truncate_from)
            return false;
    return true;
}

/*  What the writes do to the state. */
static int gather_state (change_t *change, const raft_log_write_t *writes, size_t count,
                         size_t *ret_entries)
{
    *ret_entries = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < writes[i].count; k++)
            if (append_state (change, &writes[i].entries[k]) != 0)
                return -1;
        if (writes[i].hard && set_hard (change, writes[i].hard) != 0)
            return -1;
        *ret_entries += writes[i].count;
    }
    return 0;
}

/*  Room for count entries more. */
static int reserve_gathered (raft_log_t *self, size_t count, nexus_error_t *error)
{
    gathered_t *gathered = &self->gathered;
    if (gathered->count + count <= gathered->capacity)
        return 0;
    size_t capacity = 2 * (gathered->count + count);
    pthread_mutex_lock (&self->lock);
    raft_log_entry_t *entries = realloc (gathered->entries, capacity * sizeof *entries);
    if (entries) {
        gathered->entries = entries;
        gathered->capacity = capacity;
    }
    pthread_mutex_unlock (&self->lock);
    return entries ? 0 : nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
}

/*  Adds the writes to what is gathered; with a flush, unless they come from the tail. */
static int gather (raft_log_t *self, const raft_log_write_t *writes, size_t count, bool replay,
                   nexus_error_t *error)
{
    change_t change = {.log = self, .error = error};
    size_t entries, size = raft_log_tail_size (writes, count);
    raft_log_state (self, &change.content.state);
    if (gather_state (&change, writes, count, &entries) != 0)
        return -1;
    const raft_log_hard_state_t *old = &self->now.state.hard, *hard = &change.content.state.hard;
    if (entries == 0 && old->term == hard->term && old->vote == hard->vote &&
        old->commit == hard->commit)
        return 0;
    gathered_t *gathered = &self->gathered;
    bool room =
        gathered->records_count < RAFT_LOG_GATHER_WRITES && raft_log_tail_fits (&self->tail, size);
    if (!replay && self->tail.generation == 0 && settle (self, fresh_generation (0), error) != 0)
        return -1;
    if (!replay && !room &&
        (settle_finish (self, error) != 0 || raft_log_settle_begin (self, error) != 0))
        return -1;
    if (reserve_gathered (self, entries, error) != 0)
        return -1;
    uint8_t *record = malloc (size);
    if (!record)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    raft_log_tail_encode (&self->tail, writes, count, hard, record, size,
                          gathered->entries + gathered->count);
    if (!replay && raft_log_tail_append (&self->tail, record, size, error) != 0) {
        lmdb_env_poison (&self->env, EIO);
        free (record);
        return -1;
    }
    pthread_mutex_lock (&self->lock);
    gathered->records[gathered->records_count++] = record;
    gathered->count += entries;
    gathered->bytes += size;
    /*  Not what others may have changed meanwhile: readers, and the thread that settles. */
    self->now.state.last = change.content.state.last;
    self->now.state.last_term = change.content.state.last_term;
    self->now.state.hard = change.content.state.hard;
    pthread_mutex_unlock (&self->lock);
    self->durable = ++self->written;
    return 0;
}

static int take_record (void *context, const raft_log_write_t *write, nexus_error_t *error)
{
    raft_log_t *self = context;
    if (self->gathered.records_count == 2 * RAFT_LOG_GATHER_WRITES)
        return nexus_error_set (error, NEXUS_CORRUPT, "%.300s: more records than were ever written",
                                self->tail.path);
    if (gather (self, write, 1, true, error) == 0)
        return 0;
    error->code = NEXUS_CORRUPT;
    return nexus_error_prefix (error, "%.200s: ", self->tail.path);
}

/*  Who ran before us may have left writes in the tail. */
static int take_tail (raft_log_t *self, const char *dir, nexus_error_t *error)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s/tail", dir);
    if (self->now.generation == 0)
        return 0;
    if (access (path, F_OK) != 0)
        return nexus_error_set (error, NEXUS_CORRUPT,
                                "%.300s: it is missing, and with it the newest entries; put it "
                                "back, or move the directory away and join the cluster again",
                                path);
    if (raft_log_tail_open (&self->tail, dir, error) != 0 ||
        raft_log_tail_replay (&self->tail, self->now.generation, take_record, self, error) != 0 ||
        settle (self, 0, error) != 0)
        return -1;
    return check_commit (self, &self->now.state, error);
}

size_t raft_log_gathered (raft_log_t *self)
{
    return self->gathered.bytes;
}

int raft_log_settle (raft_log_t *self, nexus_error_t *error)
{
    if (settle_finish (self, error) != 0)
        return -1;
    return self->gathered.records_count ? settle (self, fresh_generation (0), error) : 0;
}

/*  ---- writing, from outside --------------------------------------------- */

int raft_log_write (raft_log_t *self, const raft_log_write_t *writes, size_t count,
                    nexus_error_t *error)
{
    if (self->settles && atomic_load (&self->settled) && settle_finish (self, error) != 0)
        return -1;
    int poison = self->env.poison;
    if (poison)
        return lmdb_env_error (&self->env, poison, "be used after an earlier failure", error);
    if (can_gather (self, writes, count))
        return gather (self, writes, count, false, error);
    change_t change;
    if (raft_log_settle (self, error) != 0 || change_begin (&change, self, error) != 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = apply_write (&change, &writes[i]);
    bool mended = change.mended;
    if (change_end (&change, rc) != 0)
        return -1;
    return mended ? check_again (self, error) : 0;
}

int raft_log_set_durability (raft_log_t *self, raft_log_durability_t durability,
                             nexus_error_t *error)
{
    if (settle (self, 0, error) != 0 || raft_log_sync (self, error) != 0)
        return -1;
    if (durability == RAFT_LOG_JOURNALED && self->tail.fd < 0 &&
        raft_log_tail_open (&self->tail, self->env.dir, error) != 0)
        return -1;
    int code = mdb_env_set_flags (self->env.env, MDB_NOMETASYNC, durability == RAFT_LOG_PIPELINED);
    if (code)
        return lmdb_env_error (&self->env, code, "change its mode", error);
    self->durability = durability;
    return 0;
}

raft_log_durability_t raft_log_durability (const raft_log_t *self)
{
    return self->durability;
}

uint64_t raft_log_written (const raft_log_t *self)
{
    return self->written;
}

uint64_t raft_log_durable (const raft_log_t *self)
{
    return self->durable;
}

int raft_log_sync (raft_log_t *self, nexus_error_t *error)
{
    if (self->durable == self->written)
        return 0;
    if (lmdb_env_sync (&self->env, error) != 0)
        return -1;
    self->durable = self->written;
    return 0;
}

/*  A thread does it, with what it brings to LMDB anyway. */
static int64_t compact_journaled (raft_log_t *self, uint64_t index, nexus_error_t *error)
{
    bool busy = self->settles && !atomic_load (&self->settled);
    if (!busy && settle_finish (self, error) != 0)
        return -1;
    if (!busy && self->compact_refused) {
        self->compact_refused = false;
        if (error)
            *error = self->compact_error;
        return -1;
    }
    raft_log_state_t state;
    raft_log_state (self, &state);
    if (index < state.first)
        return 0;
    if (!busy && settle_start (self, index, error) != 0)
        return -1;
    return (int64_t)(index - state.first + 1);
}

int64_t raft_log_compact (raft_log_t *self, uint64_t index, nexus_error_t *error)
{
    if (self->durability == RAFT_LOG_JOURNALED)
        return compact_journaled (self, index, error);
    change_t change;
    if (change_begin (&change, self, error) != 0)
        return -1;
    int64_t left = drop_entries (&change, index, false);
    bool mended = change.mended;
    if (change_end (&change, left < 0 ? -1 : 0) != 0 || (mended && check_again (self, error) != 0))
        return -1;
    return left;
}

/*  ---- life --------------------------------------------------------------- */

raft_log_t *raft_log_open (const char *dir, size_t map_size, nexus_error_t *error)
{
    if (sodium_init () < 0) {
        nexus_error_set (error, NEXUS_IO, "libsodium finds no source of randomness");
        return NULL;
    }
    raft_log_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->env.lock = self->tail.fd = -1;
    self->durability = RAFT_LOG_STRICT;
    pthread_mutex_init (&self->lock, NULL);
    check_t check;
    if (prepare_file (self, dir, map_size, error) != 0 ||
        lmdb_env_open (&self->env, dir, map_size, 0, 0, error) != 0 ||
        open_table (self, false, error) != 0 || check_all (self, &self->now, &check, error) != 0 ||
        check_commit (self, &self->now.state, error) != 0 || take_tail (self, dir, error) != 0)
        raft_log_close (&self);
    return self;
}

void raft_log_close (raft_log_t **self_p)
{
    raft_log_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    /*  What can't be brought to LMDB now stays in the tail; what isn't flushed was never
        acknowledged. */
    settle_finish (self, NULL);
    if (self->env.env && !self->env.poison) {
        settle (self, 0, NULL);
        raft_log_sync (self, NULL);
    }
    raft_log_tail_close (&self->tail);
    forget (&self->gathered);
    forget (&self->settling);
    free (self->settling.entries);
    free (self->gathered.entries);
    lmdb_env_close (&self->env);
    pthread_mutex_destroy (&self->lock);
    free (self);
}

/*  ---- reading ----------------------------------------------------------- */

/*  index is not in the table: is that as it should be? Looks at the reader's own
    snapshot, because the writer may have compacted or truncated meanwhile. */
static int missing (raft_log_t *self, MDB_cursor *cursor, uint64_t index, nexus_error_t *error)
{
    MDB_val key, value;
    content_t content = {0};
    uint64_t last = 0;
    int rc = mdb_cursor_get (cursor, &key, &value, MDB_FIRST);
    if (rc == 0)
        rc = get_state (self, value, &content, error);
    if (rc != 0)
        return nexus_error_set (error, NEXUS_CORRUPT, "%.200s: the log's state can't be read",
                                self->env.dir);
    if (mdb_cursor_get (cursor, &key, &value, MDB_LAST) == 0)
        index_of (key, &last);
    if (index < content.state.first || index > last)
        return nexus_error_set (error, NEXUS_NOT_FOUND, "%.200s: entry %llu is not there",
                                self->env.dir, (unsigned long long)index);
    note_damage (self, index);
    return nexus_error_set (error, NEXUS_CORRUPT, "%.200s: entry %llu is missing", self->env.dir,
                            (unsigned long long)index);
}

/*  Entry index from a cursor that stands before it (next) or anywhere. */
static int read_entry (raft_log_t *self, MDB_cursor *cursor, uint64_t index, bool next,
                       raft_log_entry_t *ret_entry, nexus_error_t *error)
{
    uint64_t found = 0;
    MDB_val key = key_of (&index), value;
    int code = mdb_cursor_get (cursor, &key, &value, next ? MDB_NEXT : MDB_SET_KEY);
    if (code && code != MDB_NOTFOUND) {
        lmdb_env_poison (&self->env, code);
        return lmdb_env_error (&self->env, code, "read an entry", error);
    }
    if (code || index_of (key, &found) != 0 || found != index)
        return missing (self, cursor, index, error);
    if (decode (self, RAFT_LOG_RECORD_ENTRY, index, value, ret_entry, error) == 0)
        return 0;
    note_damage (self, index);
    return -1;
}

/*  Of a journaled log, entries that are in the tail only. Returns the number visited: 0 if from is
    not there. */
static const raft_log_entry_t *find_gathered (const raft_log_t *self, uint64_t index)
{
    const gathered_t *parts[] = {&self->settling, &self->gathered};
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
