/*  tables_copy - the file of a copy: see the header */
#include "storage/tables_copy.h"

#include "storage/file_error.h"
#include "storage/little_endian.h"
#include "storage/tables_backing.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRAILER = 56, HASHED = 24, VERSION = 1, BLOCK = 1 << 20 };

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
        }
    }
    crypto_generichash_update (&state, trailer, HASHED);
    crypto_generichash_final (&state, hash, 32);
    free (block);
    return rc;
}

/*  ---- writing --------------------------------------------------------------------- */

static int write_trailer (int fd, const char *file, nexus_error_t *error)
{
    struct stat status;
    uint8_t trailer[TRAILER];
    if (fstat (fd, &status) != 0)
        return file_error (file, "look at it", errno, error);
    memcpy (trailer, magic, sizeof magic);
    put_u64 (trailer + 8, VERSION);
    put_u64 (trailer + 16, (uint64_t)status.st_size + TRAILER);
    if (hash_file (fd, -1, file, (uint64_t)status.st_size, trailer, trailer + HASHED, error) != 0)
        return -1;
    errno = 0;
    if (pwrite (fd, trailer, TRAILER, status.st_size) != TRAILER)
        return file_error (file, "write it", errno ? errno : ENOSPC, error);
    if (fsync (fd) != 0)
        return file_error (file, "flush it", errno, error);
    return 0;
}

int tables_copy (tables_t *self, const char *file, nexus_error_t *error)
{
    char part[PATH_MAX];
    assert (self->ops->copy);
    if (snprintf (part, sizeof part, "%s.part", file) >= (int)sizeof part)
        return file_error (file, "write it", ENAMETOOLONG, error);
    int fd = open (part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error (part, "write it", errno, error);
    int rc = self->ops->copy (self, fd, part, error);
    if (rc == 0)
        rc = write_trailer (fd, part, error);
    close (fd);
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
                                "know: use a newer one",
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
