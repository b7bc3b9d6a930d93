/*  A log's life, and writing as others see it. */
#include "storage/raft_log_private.h"

#include "storage/file_error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*  ---- opening ------------------------------------------------------------- */

/*  The table, and in a new environment the first state. */
static int open_table (raft_log_t *self, bool make, nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, true, error);
    if (!txn)
        return -1;
    int code = mdb_dbi_open (txn, NULL, MDB_CREATE | MDB_INTEGERKEY, &self->table);
    if (code == 0 && make) {
        raft_log_content_t content = {.state.first = 1};
        while (content.state.incarnation == 0) {
            randombytes_buf (&content.state.incarnation, sizeof content.state.incarnation);
            content.state.incarnation >>= 11; /* 53 bits: JSON's readers keep no more */
        }
        code = raft_log_put_state (self, txn, &content);
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

uint64_t raft_log_disk_free (const raft_log_t *self)
{
    struct statvfs fs;
    return statvfs (self->env.dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

/*  ---- writing, from outside --------------------------------------------- */

int raft_log_write (raft_log_t *self, const raft_log_write_t *writes, size_t count,
                    nexus_error_t *error)
{
    if (self->settles && atomic_load (&self->settled) && raft_log_settle_finish (self, error) != 0)
        return -1;
    int poison = self->env.poison;
    if (poison)
        return lmdb_env_error (&self->env, poison, "be used after an earlier failure", error);
    if (raft_log_can_gather (self, writes, count))
        return raft_log_gather (self, writes, count, false, error);
    raft_log_change_t change;
    if (raft_log_settle (self, error) != 0 || raft_log_change_begin (&change, self, error) != 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = raft_log_change_write (&change, &writes[i]);
    return raft_log_change_end (&change, rc);
}

int raft_log_set_durability (raft_log_t *self, raft_log_durability_t durability,
                             nexus_error_t *error)
{
    if (raft_log_settle_now (self, 0, error) != 0 || raft_log_sync (self, error) != 0)
        return -1;
    if (durability == RAFT_LOG_JOURNALED && self->tail.fd < 0 &&
        raft_log_tail_open (&self->tail, self->env.dir, error) != 0)
        return -1;
    if (durability == RAFT_LOG_JOURNALED)
        raft_log_tail_note_boot (&self->tail);
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
    if (!busy && raft_log_settle_finish (self, error) != 0)
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
    if (!busy && raft_log_settle_start (self, index, error) != 0)
        return -1;
    return (int64_t)(index - state.first + 1);
}

int64_t raft_log_compact (raft_log_t *self, uint64_t index, nexus_error_t *error)
{
    if (self->durability == RAFT_LOG_JOURNALED)
        return compact_journaled (self, index, error);
    raft_log_change_t change;
    if (raft_log_change_begin (&change, self, error) != 0)
        return -1;
    int64_t left = raft_log_change_drop (&change, index, false);
    return raft_log_change_end (&change, left < 0 ? -1 : 0) == 0 ? left : -1;
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
    raft_log_check_t check;
    if (prepare_file (self, dir, map_size, error) != 0 ||
        lmdb_env_open (&self->env, dir, map_size, 0, 0, error) != 0 ||
        open_table (self, false, error) != 0 ||
        raft_log_check_committed (self, &self->now, &check, error) != 0 ||
        raft_log_check_commit (self, &self->now.state, error) != 0 ||
        raft_log_take_tail (self, dir, error) != 0)
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
    raft_log_settle_finish (self, NULL);
    if (self->env.env && !self->env.poison) {
        raft_log_settle_now (self, 0, NULL);
        raft_log_sync (self, NULL);
    }
    raft_log_tail_close (&self->tail);
    raft_log_forget_gathered (&self->gathered);
    raft_log_forget_gathered (&self->settling);
    free (self->settling.entries);
    free (self->gathered.entries);
    lmdb_env_close (&self->env);
    pthread_mutex_destroy (&self->lock);
    free (self);
}
