/*  A journaled log: writes gather in the tail and in memory, and are brought to LMDB together. */
#include "storage/raft_log_private.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*  Under lock, or alone. */
void raft_log_forget_gathered (raft_log_gathered_t *gathered)
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

static int put_gathered (raft_log_t *self, MDB_txn *txn, const raft_log_gathered_t *gathered)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < gathered->count; i++)
        code = raft_log_put_record (self, txn, RAFT_LOG_RECORD_ENTRY, &gathered->entries[i],
                                    MDB_APPEND);
    return code;
}

/*  The compaction that goes with it, if one does. A refusal leaves all as it was. */
static int compact_apart (raft_log_t *self, raft_log_change_t *change)
{
    int64_t left = self->compact_to ? raft_log_change_drop (change, self->compact_to, true) : 0;
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
    raft_log_change_t change = {.log = self,
                                .content = self->settling_content,
                                .damaged = self->settling_content.state.damaged,
                                .error = error};
    change.txn = lmdb_env_begin (&self->env, true, error);
    if (!change.txn)
        return -1;
    int code = put_gathered (self, change.txn, &self->settling);
    int rc = code ? raft_log_refuse_lmdb (&change, code, "append") : compact_apart (self, &change);
    if (rc == 0 && (code = raft_log_put_state (self, change.txn, &change.content)) != 0)
        rc = raft_log_refuse_lmdb (&change, code, "write its state");
    if (rc == 0)
        rc = raft_log_change_check (&change);
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
    self->now.state.damaged = raft_log_change_damaged (&change);
    raft_log_forget_gathered (&self->settling);
    pthread_mutex_unlock (&self->lock);
    return 0;
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
int raft_log_settle_finish (raft_log_t *self, nexus_error_t *error)
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
int raft_log_settle_now (raft_log_t *self, uint64_t generation, nexus_error_t *error)
{
    if (raft_log_settle_finish (self, error) != 0)
        return -1;
    raft_log_gathered_t *gathered = &self->gathered;
    if (gathered->records_count == 0 && self->now.generation == generation)
        return 0;
    raft_log_change_t change;
    if (raft_log_change_begin (&change, self, error) != 0)
        return -1;
    int code = put_gathered (self, change.txn, gathered);
    change.content.generation = generation;
    change.state_changed = true;
    if (raft_log_change_end (&change, code ? raft_log_refuse_lmdb (&change, code, "append") : 0) !=
            0 ||
        raft_log_sync (self, error) != 0)
        return -1;
    raft_log_tail_restart (&self->tail, generation);
    pthread_mutex_lock (&self->lock);
    raft_log_forget_gathered (gathered);
    pthread_mutex_unlock (&self->lock);
    return 0;
}

bool raft_log_settling (const raft_log_t *self)
{
    return self->settles;
}

/*  compact_to: see there. Nobody is at it. */
int raft_log_settle_start (raft_log_t *self, uint64_t compact_to, nexus_error_t *error)
{
    self->compact_to = compact_to;
    /*  If nothing was ever put in the tail, it stays so. */
    uint64_t next = self->tail.generation ? fresh_generation (self->tail.generation + 1) : 0;
    raft_log_content_t *content = &self->settling_content;
    *content = (raft_log_content_t){.state = self->now.state, .generation = next};
    pthread_mutex_lock (&self->lock);
    raft_log_gathered_t empty = self->settling;
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
    if (raft_log_settle_finish (self, error) != 0)
        return -1;
    return self->gathered.records_count ? raft_log_settle_start (self, 0, error) : 0;
}

/*  These writes only append, and are small enough for the tail. Truncating, snapshots and
    whatever else is rare goes to LMDB at once. */
bool raft_log_can_gather (const raft_log_t *self, const raft_log_write_t *writes, size_t count)
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
static int gather_state (raft_log_change_t *change, const raft_log_write_t *writes, size_t count,
                         size_t *ret_entries)
{
    *ret_entries = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < writes[i].count; k++)
            if (raft_log_change_append (change, &writes[i].entries[k]) != 0)
                return -1;
        if (writes[i].hard && raft_log_change_hard (change, writes[i].hard) != 0)
            return -1;
        *ret_entries += writes[i].count;
    }
    return 0;
}

/*  Room for count entries more. */
static int reserve_gathered (raft_log_t *self, size_t count, nexus_error_t *error)
{
    raft_log_gathered_t *gathered = &self->gathered;
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
int raft_log_gather (raft_log_t *self, const raft_log_write_t *writes, size_t count, bool replay,
                     nexus_error_t *error)
{
    raft_log_change_t change = {.log = self, .error = error};
    size_t entries, size = raft_log_tail_size (writes, count);
    raft_log_state (self, &change.content.state);
    if (gather_state (&change, writes, count, &entries) != 0)
        return -1;
    const raft_log_hard_state_t *old = &self->now.state.hard, *hard = &change.content.state.hard;
    if (entries == 0 && old->term == hard->term && old->vote == hard->vote &&
        old->commit == hard->commit)
        return 0;
    raft_log_gathered_t *gathered = &self->gathered;
    bool room =
        gathered->records_count < RAFT_LOG_GATHER_WRITES && raft_log_tail_fits (&self->tail, size);
    if (!replay && self->tail.generation == 0 &&
        raft_log_settle_now (self, fresh_generation (0), error) != 0)
        return -1;
    if (!replay && !room &&
        (raft_log_settle_finish (self, error) != 0 || raft_log_settle_begin (self, error) != 0))
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
    if (raft_log_gather (self, write, 1, true, error) == 0)
        return 0;
    error->code = NEXUS_CORRUPT;
    return nexus_error_prefix (error, "%.200s: ", self->tail.path);
}

/*  Who ran before us may have left writes in the tail. */
int raft_log_take_tail (raft_log_t *self, const char *dir, nexus_error_t *error)
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
        raft_log_settle_now (self, 0, error) != 0)
        return -1;
    return raft_log_check_commit (self, &self->now.state, error);
}

size_t raft_log_gathered (raft_log_t *self)
{
    return self->gathered.bytes;
}

int raft_log_settle (raft_log_t *self, nexus_error_t *error)
{
    if (raft_log_settle_finish (self, error) != 0)
        return -1;
    return self->gathered.records_count ? raft_log_settle_now (self, fresh_generation (0), error)
                                        : 0;
}
