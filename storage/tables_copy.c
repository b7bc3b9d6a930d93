/*  tables_copy - the file of a copy: see the header */
#include "storage/tables_copy.h"

#include "storage/file_error.h"
#include "storage/little_endian.h"
#include "storage/tables_backing.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRAILER = 56, HASHED = 24, VERSION = 2, BLOCK = 1 << 20, WINDOW = 4 << 20 };

static const char magic[8] = {'n', 'e', 'x', 'u', 's', 'c', 'p', 'y'};

int tables_copy_sync_dir (const char *file, nexus_error_t *error)
{
    char dir[PATH_MAX];
    const char *slash = strrchr (file, '/');
    int length = slash ? (int)(slash - file) : 1;
    if (snprintf (dir, sizeof dir, "%.*s", length ? length : 1, slash ? file : ".") >= PATH_MAX)
        return file_error (file, "flush its directory", ENAMETOOLONG, error);
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_error (dir, "open it", errno, error);
    int rc = fsync (fd) == 0 ? 0 : file_error (dir, "flush it", errno, error);
    close (fd);
    return rc;
}

/*  A whole copy in the kernel's hands would be flushed at once, with whatever else is waiting for
    the disk behind it: the Raft log. So what was written some time ago is made to be on
    disk before more comes. */
void tables_copy_flush_behind (int fd, uint64_t end, size_t size)
{
    uint64_t before = end - size;
    if (end / WINDOW == before / WINDOW)
        return;
    off_t at = (off_t)(end / WINDOW * WINDOW);
    sync_file_range (fd, at - WINDOW, WINDOW, SYNC_FILE_RANGE_WRITE);
    if (at >= 2 * WINDOW)
        sync_file_range (fd, at - 2 * WINDOW, WINDOW,
                         SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                             SYNC_FILE_RANGE_WAIT_AFTER);
}

/*  ---- hashing -------------------------------------------------------------------- */

static int fail_copy (const char *file, const char *what, nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_CORRUPT,
                            "%.300s: the copy is damaged: %s; it can't be used", file, what);
}

/*  The hash of the first size bytes of fd and of the trailer's head; writes them to `to` on the
    way, unless that is -1. */
static int hash_file (int fd, int to, const char *file, uint64_t size, const uint8_t *trailer,
                      uint8_t hash[32], nexus_error_t *error)
{
    crypto_generichash_state state;
    uint8_t *block = malloc (BLOCK);
    if (!block)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    crypto_generichash_init (&state, NULL, 0, 32);
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        size_t want = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
        ssize_t got = pread (fd, block, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            rc = got ? file_error (file, "read it", errno, error)
                     : fail_copy (file, "it is cut", error);
        else if (to >= 0 && pwrite (to, block, (size_t)got, (off_t)at) != got)
            rc = file_error (file, "copy it into place", errno ? errno : ENOSPC, error);
        else {
            crypto_generichash_update (&state, block, (size_t)got);
            at += (uint64_t)got;
            if (to >= 0)
                tables_copy_flush_behind (to, at, (size_t)got);
        }
    }
    crypto_generichash_update (&state, trailer, HASHED);
    crypto_generichash_final (&state, hash, 32);
    free (block);
    return rc;
}

/*  ---- writing --------------------------------------------------------------------- */

/*  LMDB writes into one end of a pipe, in a thread of its own, and we take it from the other: so
    that the disk gets it a piece at a time. */
typedef struct {
    tables_t *tables;
    const char *file;
    int to;
    int rc;
    nexus_error_t error;
} source_t;

static void *write_source (void *arg)
{
    source_t *self = arg;
    self->rc = self->tables->ops->copy (self->tables, self->to, self->file, &self->error);
    close (self->to);
    return NULL;
}

typedef struct {
    int fd;
    const char *file;
    uint64_t size;
    crypto_generichash_state state;
    nexus_error_t *error;
} target_t;

static int put (target_t *self, const uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite (self->fd, bytes + done, size - done, (off_t)(self->size + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return file_error (self->file, "write the copy", put ? errno : ENOSPC, self->error);
        done += (size_t)put;
    }
    self->size += size;
    tables_copy_flush_behind (self->fd, self->size, size);
    return 0;
}

/*  To the end of what comes, also after a failure: else the other side would wait for ever. */
static int take_all (target_t *self, int from, uint8_t *block)
{
    int rc = 0;
    for (;;) {
        ssize_t got = read (from, block, BLOCK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? file_error (self->file, "write the copy", errno, self->error) : rc;
        crypto_generichash_update (&self->state, block, (size_t)got);
        if (rc == 0)
            rc = put (self, block, (size_t)got);
    }
}

static int write_data (tables_t *tables, target_t *target)
{
    source_t source = {.tables = tables, .file = target->file};
    int ends[2];
    pthread_t thread;
    uint8_t *block = malloc (BLOCK);
    if (!block)
        return nexus_error_set (target->error, NEXUS_EXHAUSTED, "out of memory");
    if (pipe2 (ends, O_CLOEXEC) != 0) {
        free (block);
        return file_error (target->file, "open a pipe to write it", errno, target->error);
    }
    source.to = ends[1];
    int rc = pthread_create (&thread, NULL, write_source, &source);
    if (rc) {
        close (ends[1]);
        rc = file_error (target->file, "start a thread to write it", rc, target->error);
    } else {
        rc = take_all (target, ends[0], block);
        pthread_join (thread, NULL);
        if (rc == 0 && source.rc != 0) {
            if (target->error)
                *target->error = source.error;
            rc = -1;
        }
    }
    close (ends[0]);
    free (block);
    return rc;
}

static int write_trailer (target_t *self)
{
    uint8_t trailer[TRAILER];
    memcpy (trailer, magic, sizeof magic);
    put_u64 (trailer + 8, VERSION);
    put_u64 (trailer + 16, self->size + TRAILER);
    crypto_generichash_update (&self->state, trailer, HASHED);
    crypto_generichash_final (&self->state, trailer + HASHED, 32);
    if (put (self, trailer, TRAILER) != 0)
        return -1;
    if (fsync (self->fd) != 0)
        return file_error (self->file, "flush it", errno, self->error);
    return 0;
}

int tables_copy (tables_t *self, const char *file, nexus_error_t *error)
{
    char part[PATH_MAX];
    assert (self->ops->copy);
    if (snprintf (part, sizeof part, "%s.part", file) >= (int)sizeof part)
        return file_error (file, "write it", ENAMETOOLONG, error);
    target_t target = {.file = part, .error = error};
    target.fd = open (part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (target.fd < 0)
        return file_error (part, "write it", errno, error);
    crypto_generichash_init (&target.state, NULL, 0, 32);
    int rc = write_data (self, &target);
    if (rc == 0)
        rc = write_trailer (&target);
    close (target.fd);
    if (rc == 0 && rename (part, file) != 0)
        rc = file_error (file, "put it in place", errno, error);
    if (rc != 0) {
        unlink (part);
        return -1;
    }
    return tables_copy_sync_dir (file, error);
}

/*  ---- reading ---------------------------------------------------------------------- */

/*  What the file says of itself. */
static int read_trailer (int fd, const char *file, uint8_t trailer[TRAILER], nexus_error_t *error)
{
    struct stat status;
    if (fstat (fd, &status) != 0)
        return file_error (file, "look at it", errno, error);
    if (status.st_size <= TRAILER ||
        pread (fd, trailer, TRAILER, status.st_size - TRAILER) != TRAILER ||
        memcmp (trailer, magic, sizeof magic) != 0)
        return fail_copy (file, "it has no trailer, so it is cut or something else", error);
    if (get_u64 (trailer + 8) != VERSION)
        return nexus_error_set (error, NEXUS_CORRUPT,
                                "%.300s: the copy has version %llu, which this program does not "
                                "know: use the one that made it, or one of its time",
                                file, (unsigned long long)get_u64 (trailer + 8));
    if (get_u64 (trailer + 16) != (uint64_t)status.st_size)
        return fail_copy (file, "it has another size than it should", error);
    return 0;
}

static void take_trailer (const uint8_t *trailer, tables_copy_t *ret_copy)
{
    ret_copy->size = get_u64 (trailer + 16);
    memcpy (ret_copy->hash, trailer + HASHED, sizeof ret_copy->hash);
}

/*  Checks all of it; writes what is before the trailer to `to`, unless that is -1. */
static int check (int fd, int to, const char *file, tables_copy_t *ret_copy, nexus_error_t *error)
{
    uint8_t trailer[TRAILER], hash[32];
    if (read_trailer (fd, file, trailer, error) != 0 ||
        hash_file (fd, to, file, get_u64 (trailer + 16) - TRAILER, trailer, hash, error) != 0)
        return -1;
    if (memcmp (hash, trailer + HASHED, sizeof hash) != 0)
        return fail_copy (file, "its checksum is wrong", error);
    take_trailer (trailer, ret_copy);
    return 0;
}

int tables_copy_peek (const char *file, tables_copy_t *ret_copy, nexus_error_t *error)
{
    uint8_t trailer[TRAILER];
    int fd = open (file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error (file, "open it", errno, error);
    int rc = read_trailer (fd, file, trailer, error);
    close (fd);
    if (rc == 0)
        take_trailer (trailer, ret_copy);
    return rc;
}

int tables_copy_check (const char *file, tables_copy_t *ret_copy, nexus_error_t *error)
{
    tables_copy_t copy;
    int fd = open (file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error (file, "open it", errno, error);
    int rc = check (fd, -1, file, &copy, error);
    close (fd);
    if (rc == 0 && ret_copy)
        *ret_copy = copy;
    return rc;
}

int tables_copy_extract (const char *file, const char *to, nexus_error_t *error)
{
    tables_copy_t copy;
    int from = open (file, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return file_error (file, "open it", errno, error);
    int fd = open (to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc =
        fd < 0 ? file_error (to, "write it", errno, error) : check (from, fd, file, &copy, error);
    if (fd >= 0)
        close (fd);
    close (from);
    return rc;
}
