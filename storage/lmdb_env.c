#include "storage/lmdb_env.h"

#include "storage/file_error.h"
#include "storage/lmdb_check.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    READERS_MAX = 510,
    SPACE_MIN = 1 << 20, /* free bytes without which a file system counts as full */
    MAP_MIN = 256 << 10,
    ROOM = 64 << 20 /* of a written map, reserved ahead of what is in use */
};

static bool is_damage (int code)
{
    return code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID ||
           code == MDB_PANIC;
}

int lmdb_env_error (const lmdb_env_t *self, int code, const char *doing, nexus_error_t *error)
{
    nexus_code_t kind = NEXUS_IO;
    const char *advice = "restart, and report it if it comes again";
    if (code > 0)
        return file_error (self->dir, doing, code, error);
    if (code == MDB_MAP_FULL) {
        kind = NEXUS_EXHAUSTED;
        advice = "give it a larger map size and restart";
    } else if (code == MDB_READERS_FULL) {
        kind = NEXUS_EXHAUSTED;
        advice = "too many snapshots are open at once: end them sooner";
    } else if (code == MDB_VERSION_MISMATCH) {
        kind = NEXUS_CORRUPT;
        advice = "another version of LMDB wrote it: open it with that one";
    } else if (is_damage (code)) {
        kind = NEXUS_CORRUPT;
        advice = self->mends ? self->mends
                             : "the file is damaged or is something else: move it away and join "
                               "again";
    }
    return nexus_error_set (error, kind, "%.300s: can't %s: %s; %s", self->dir, doing,
                            mdb_strerror (code), advice);
}

/*  LMDB relies on locks and on a map that is one with the file; neither holds there. */
static bool is_network (const struct statfs *fs)
{
    unsigned long type = (unsigned long)fs->f_type & 0xffffffffUL;
    return type == 0x6969 /* NFS */ || type == 0xff534d42 /* CIFS */ ||
           type == 0xfe534d42 /* SMB2 */
           || type == 0x5346414f /* AFS */;
}

static bool is_full (const struct statfs *fs)
{
    return (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize < SPACE_MIN;
}

static int prepare_dir (lmdb_env_t *self, nexus_error_t *error)
{
    if (mkdir (self->dir, 0700) != 0 && errno != EEXIST)
        return lmdb_env_error (self, errno, "create the directory", error);
    struct stat status;
    if (stat (self->dir, &status) != 0)
        return lmdb_env_error (self, errno, "look at the directory", error);
    if (!S_ISDIR (status.st_mode))
        return nexus_error_set (error, NEXUS_INVALID,
                                "%.300s: is not a directory; name another or move it away",
                                self->dir);
    struct statfs fs;
    if (statfs (self->dir, &fs) != 0)
        return lmdb_env_error (self, errno, "look at its file system", error);
    if (is_network (&fs))
        return nexus_error_set (error, NEXUS_INVALID,
                                "%.300s: lies on a network file system, which loses locks and "
                                "commits; choose a directory on a local disk",
                                self->dir);
    /*  LMDB touches its lock file through memory: on a full disk that is a SIGBUS. */
    if ((uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < SPACE_MIN)
        return lmdb_env_error (self, ENOSPC, "open it", error);
    return 0;
}

/*  flock's locks belong to the open file, so they also keep out a second open by
    this process, which LMDB must never see (closing one would drop the other's
    POSIX locks). They vanish with the process, however it ends. */
static int take_lock (lmdb_env_t *self, nexus_error_t *error)
{
    char path[PATH_MAX];
    if (snprintf (path, sizeof path, "%s/lock", self->dir) >= (int)sizeof path)
        return lmdb_env_error (self, ENAMETOOLONG, "lock it", error);
    int lock = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return lmdb_env_error (self, errno, "open its lock file", error);
    if (flock (lock, LOCK_EX | LOCK_NB) != 0) {
        int code = errno;
        char owner[32] = "";
        (void)!pread (lock, owner, sizeof owner - 1, 0);
        close (lock);
        if (code != EWOULDBLOCK)
            return lmdb_env_error (self, code, "lock it", error);
        return nexus_error_set (error, NEXUS_CONFLICT,
                                "%.300s: is in use by %s (process %ld); end that first or choose "
                                "another directory",
                                self->dir,
                                atol (owner) == getpid () ? "this very process" : "another process",
                                atol (owner));
    }
    char owner[32];
    int length = snprintf (owner, sizeof owner, "%ld\n", (long)getpid ());
    /*  Only for the message above; without it the number there is 0. */
    if (ftruncate (lock, 0) != 0 || pwrite (lock, owner, (size_t)length, 0) != length)
        errno = 0;
    self->lock = lock;
    return 0;
}

/*  Pages that were allocated and freed within one transaction at the end of the
    file are never written, so the file may be a little shorter than LMDB thinks;
    a file cut by somebody else is much shorter. A read behind the end is a
    SIGBUS; a read of zeros is an error that LMDB reports. */
static int extend_file (lmdb_env_t *self)
{
    MDB_envinfo info;
    MDB_stat status;
    int code = mdb_env_info (self->env, &info);
    if (code == 0)
        code = mdb_env_stat (self->env, &status);
    mdb_filehandle_t fd;
    if (code == 0)
        code = mdb_env_get_fd (self->env, &fd);
    if (code)
        return code;
    self->page_size = status.ms_psize;
    self->map_size = info.me_mapsize;
    struct stat file;
    if (fstat (fd, &file) != 0)
        return errno;
    off_t size = (off_t)((info.me_last_pgno + 1) * status.ms_psize);
    return file.st_size < size && ftruncate (fd, size) != 0 ? errno : 0;
}

/*  A store to a map for which the disk has no room is a SIGBUS: so room for more than a
    transaction writes is taken before it begins. Returns an errno. */
static int reserve_room (lmdb_env_t *self)
{
    MDB_envinfo info;
    mdb_filehandle_t fd;
    int code = mdb_env_info (self->env, &info);
    if (code)
        return code;
    size_t used = (info.me_last_pgno + 1) * self->page_size;
    size_t wanted = used + ROOM < self->map_size ? used + ROOM : self->map_size;
    if (self->reserved && self->reserved + ROOM / 2 >= wanted)
        return 0;
    code = mdb_env_get_fd (self->env, &fd);
    if (code == 0 &&
        fallocate (fd, 0, (off_t)self->reserved, (off_t)(wanted - self->reserved)) != 0)
        code = errno;
    if (code == 0)
        self->reserved = wanted;
    return code;
}

/*  Before LMDB believes it. */
static int check_file (const lmdb_env_t *self, size_t map_size, nexus_error_t *error)
{
    char path[PATH_MAX];
    if (snprintf (path, sizeof path, "%s/data.mdb", self->dir) >= (int)sizeof path)
        return lmdb_env_error (self, ENAMETOOLONG, "open it", error);
    return lmdb_check (path, map_size, error);
}

static int open_env (lmdb_env_t *self, size_t map_size, unsigned flags, unsigned tables_max)
{
    size_t page = (size_t)sysconf (_SC_PAGESIZE);
    map_size = map_size < MAP_MIN ? MAP_MIN : map_size;
    map_size = (map_size + page - 1) / page * page;
    int code = mdb_env_create (&self->env);
    if (code == 0)
        code = mdb_env_set_mapsize (self->env, map_size);
    if (code == 0)
        code = mdb_env_set_maxreaders (self->env, READERS_MAX);
    if (code == 0)
        code = mdb_env_set_maxdbs (self->env, tables_max);
    if (code == 0)
        code = mdb_env_open (self->env, self->dir, flags | MDB_NOTLS, 0600);
    int dead;
    if (code == 0)
        code = mdb_reader_check (self->env, &dead);
    if (code == 0)
        code = extend_file (self);
    self->writes_map = (flags & MDB_WRITEMAP) != 0;
    return code == 0 && self->writes_map ? reserve_room (self) : code;
}

int lmdb_env_open (lmdb_env_t *self, const char *dir, size_t map_size, unsigned flags,
                   unsigned tables_max, nexus_error_t *error)
{
    assert (flags == 0 || flags == MDB_NOMETASYNC || flags == MDB_NOSYNC ||
            flags == (MDB_NOSYNC | MDB_WRITEMAP));
    lmdb_env_t env = {.lock = -1, .dir = strdup (dir)};
    if (!env.dir)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    int rc = prepare_dir (&env, error);
    if (rc == 0)
        rc = take_lock (&env, error);
    if (rc == 0)
        rc = check_file (&env, map_size, error);
    if (rc == 0) {
        int code = open_env (&env, map_size, flags, tables_max);
        if (code == EOPNOTSUPP && flags & MDB_WRITEMAP) { /* a file system that can't reserve */
            mdb_env_close (env.env);
            code = open_env (&env, map_size, flags & ~(unsigned)MDB_WRITEMAP, tables_max);
        }
        if (code)
            rc = lmdb_env_error (&env, code, "open it", error);
    }
    if (rc) {
        lmdb_env_close (&env);
        return -1;
    }
    *self = env;
    return 0;
}

void lmdb_env_close (lmdb_env_t *self)
{
    if (self->env)
        mdb_env_close (self->env);
    if (self->dir && self->lock >= 0)
        close (self->lock);
    free (self->dir);
    *self = (lmdb_env_t){.lock = -1};
}

void lmdb_env_poison (lmdb_env_t *self, int code)
{
    int none = 0;
    atomic_compare_exchange_strong (&self->poison, &none, code);
}

MDB_txn *lmdb_env_begin (lmdb_env_t *self, bool write, nexus_error_t *error)
{
    MDB_txn *txn;
    int code = mdb_txn_begin (self->env, NULL, write ? 0 : MDB_RDONLY, &txn);
    if (code) {
        lmdb_env_error (self, code, "begin a transaction", error);
        return NULL;
    }
    /*  Looked at behind the write lock: the writer before us may have failed. A
        reader may go on after a failed commit, not after damage was seen. */
    int poison = atomic_load (&self->poison);
    if (poison && (write || is_damage (poison))) {
        mdb_txn_abort (txn);
        lmdb_env_error (self, poison, "be used after an earlier failure", error);
        return NULL;
    }
    static_assert (ROOM == 64 << 20, "the text below says so");
    code = write && self->writes_map ? reserve_room (self) : 0;
    if (code) {
        mdb_txn_abort (txn);
        lmdb_env_error (self, code, "reserve 64 MiB ahead of what is written", error);
        return NULL;
    }
    return txn;
}

int lmdb_env_commit (lmdb_env_t *self, MDB_txn *txn, nexus_error_t *error)
{
    int code = mdb_txn_commit (txn);
    if (code == 0)
        return 0;
    /*  LMDB makes EIO of a short write, which most often means a full disk. */
    struct statfs fs;
    if (code == EIO && statfs (self->dir, &fs) == 0 && is_full (&fs))
        code = ENOSPC;
    lmdb_env_poison (self, code);
    return lmdb_env_error (self, code, "commit", error);
}

int lmdb_env_sync (lmdb_env_t *self, nexus_error_t *error)
{
    int poison = atomic_load (&self->poison);
    if (poison)
        return lmdb_env_error (self, poison, "be used after an earlier failure", error);
    int code = mdb_env_sync (self->env, 1);
    if (code == 0)
        return 0;
    lmdb_env_poison (self, code);
    return lmdb_env_error (self, code, "flush it", error);
}

int lmdb_env_check_readers (lmdb_env_t *self)
{
    int dead = 0;
    return mdb_reader_check (self->env, &dead) == 0 ? dead : -1;
}

/*  The free list is LMDB's table 0: transaction -> pages, each value a list whose
    first word is its length. */
static size_t free_pages (MDB_env *env)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    size_t pages = 0;
    if (mdb_txn_begin (env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (mdb_cursor_open (txn, 0, &cursor) == 0) {
        MDB_val key, value;
        while (mdb_cursor_get (cursor, &key, &value, MDB_NEXT) == 0) {
            size_t length = 0;
            if (value.mv_size >= sizeof length)
                memcpy (&length, value.mv_data, sizeof length);
            pages += length;
        }
        mdb_cursor_close (cursor);
    }
    mdb_txn_abort (txn);
    return pages;
}

void lmdb_env_usage (lmdb_env_t *self, size_t *ret_used, size_t *ret_limit)
{
    size_t unused = free_pages (self->env);
    MDB_envinfo info;
    int code = mdb_env_info (self->env, &info);
    size_t pages = code == 0 ? info.me_last_pgno + 1 : 0;
    *ret_used = (pages > unused ? pages - unused : 0) * self->page_size;
    *ret_limit = self->map_size;
}
