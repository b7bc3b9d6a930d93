#include "storage/checkpoint.h"

#include "storage/crc32c.h"
#include "storage/file_error.h"
#include "storage/little_endian.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*  The header's fields; docs/disk-format.md. */
enum {
    AT_VERSION = 8,
    AT_RANK = 16,
    AT_STEP = 24,
    AT_SIZE = 32,
    AT_HASH = 40,
    AT_JOB = 72,
    AT_ZERO = 136,
    AT_CRC = 188
};
static const char magic[8] = {'N', 'E', 'X', 'U', 'S', 'C', 'K', 'P'};
enum { VERSION = 1, STEP_DIGITS = 20, BUFFER = 256 << 10 };

/*  ---- header ------------------------------------------------------------ */

void checkpoint_header_encode (const checkpoint_t *info, uint8_t out[CHECKPOINT_HEADER])
{
    memset (out, 0, CHECKPOINT_HEADER);
    memcpy (out, magic, sizeof magic);
    put_u32 (out + AT_VERSION, VERSION);
    put_u64 (out + AT_RANK, info->rank);
    put_u64 (out + AT_STEP, info->step);
    put_u64 (out + AT_SIZE, info->size);
    memcpy (out + AT_HASH, info->hash, sizeof info->hash);
    memcpy (out + AT_JOB, info->job, strlen (info->job));
    put_u32 (out + AT_CRC, crc32c (0, out, AT_CRC));
}

int checkpoint_header_decode (const uint8_t bytes[CHECKPOINT_HEADER], checkpoint_t *ret_info,
                              nexus_error_t *error)
{
    if (memcmp (bytes, magic, sizeof magic) != 0)
        return nexus_error_set (error, NEXUS_CORRUPT, "it is no checkpoint");
    if (get_u32 (bytes + AT_CRC) != crc32c (0, bytes, AT_CRC))
        return nexus_error_set (error, NEXUS_CORRUPT, "its header was altered");
    if (get_u32 (bytes + AT_VERSION) != VERSION)
        return nexus_error_set (error, NEXUS_CORRUPT, "a newer version wrote it: run that one");
    checkpoint_t info = {
        .rank = get_u64 (bytes + AT_RANK),
        .step = get_u64 (bytes + AT_STEP),
        .size = get_u64 (bytes + AT_SIZE),
    };
    memcpy (info.hash, bytes + AT_HASH, sizeof info.hash);
    memcpy (info.job, bytes + AT_JOB, sizeof info.job);
    if (info.size > INT64_MAX - CHECKPOINT_HEADER || info.job[0] == 0 ||
        !memchr (info.job, 0, sizeof info.job))
        return nexus_error_set (error, NEXUS_CORRUPT, "its header contradicts itself");
    *ret_info = info;
    return 0;
}

/*  ---- names and files --------------------------------------------------- */

static int make_path (char path[PATH_MAX], const char *dir, const char *suffix, uint64_t rank,
                      uint64_t step, nexus_error_t *error)
{
    int length =
        snprintf (path, PATH_MAX, "%s/%" PRIu64 "-%020" PRIu64 ".%s", dir, rank, step, suffix);
    return length < PATH_MAX ? 0 : file_error (dir, "name a checkpoint", ENAMETOOLONG, error);
}

/*  Is this the name of a rank's file with that suffix? */
static bool parse_name (const char *name, const char *suffix, uint64_t rank, uint64_t *ret_step)
{
    char expected[NAME_MAX + 1];
    const char *dash = strchr (name, '-');
    if (!dash || strspn (dash + 1, "0123456789") != STEP_DIGITS)
        return false;
    uint64_t step = strtoull (dash + 1, NULL, 10);
    snprintf (expected, sizeof expected, "%" PRIu64 "-%020" PRIu64 ".%s", rank, step, suffix);
    *ret_step = step;
    return strcmp (name, expected) == 0;
}

static int write_all (int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write (fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

/*  Fewer than size only at the end of the file. */
static ssize_t read_all (int fd, uint8_t *out, size_t size)
{
    size_t filled = 0;
    while (filled < size) {
        ssize_t got = read (fd, out + filled, size - filled);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        filled += (size_t)got;
    }
    return (ssize_t)filled;
}

static int sync_dir (const char *dir)
{
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync (fd);
    int code = errno;
    close (fd);
    errno = code;
    return rc;
}

/*  ---- saving ------------------------------------------------------------ */

struct checkpoint_writer {
    crypto_generichash_state hash; /* first: it is aligned to 64 bytes */
    checkpoint_t info;
    char *dir;
    char path[PATH_MAX];    /* its name when done */
    char partial[PATH_MAX]; /* its name until then */
    int fd;
};

checkpoint_writer_t *checkpoint_create (const char *dir, const char *job, uint64_t rank,
                                        uint64_t step, nexus_error_t *error)
{
    if (!*job || strlen (job) > 63) {
        nexus_error_set (error, NEXUS_INVALID, "a job's id has %zu bytes: 1 to 63 are possible",
                         strlen (job));
        return NULL;
    }
    checkpoint_writer_t *self = aligned_alloc (alignof (checkpoint_writer_t), sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    memset (self, 0, sizeof *self);
    self->fd = -1;
    self->info.rank = rank;
    self->info.step = step;
    strcpy (self->info.job, job);
    (void)!sodium_init (); /* it chooses the fastest code for this CPU */
    crypto_generichash_init (&self->hash, NULL, 0, sizeof self->info.hash);
    self->dir = strdup (dir);
    int rc = self->dir ? 0 : nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    if (rc == 0)
        rc = make_path (self->path, dir, "checkpoint", rank, step, error);
    if (rc == 0)
        rc = make_path (self->partial, dir, "partial", rank, step, error);
    if (rc == 0 && mkdir (dir, 0700) != 0 && errno != EEXIST)
        rc = file_error (dir, "create the directory", errno, error);
    if (rc == 0) {
        self->fd =
            open (self->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (self->fd < 0)
            rc = file_error (self->partial, "create it", errno, error);
    }
    /*  Room for the header, which is known at the end. */
    if (rc == 0 && lseek (self->fd, CHECKPOINT_HEADER, SEEK_SET) < 0)
        rc = file_error (self->partial, "write it", errno, error);
    if (rc != 0)
        checkpoint_cancel (&self);
    return self;
}

int checkpoint_write (checkpoint_writer_t *self, const void *data, size_t size,
                      nexus_error_t *error)
{
    if (size == 0)
        return 0;
    if (write_all (self->fd, data, size) != 0)
        return file_error (self->partial, "write it", errno, error);
    crypto_generichash_update (&self->hash, data, size);
    self->info.size += size;
    return 0;
}

/*  The order is the point: content and header, flush, name, flush of the name. */
static int finish (checkpoint_writer_t *self, nexus_error_t *error)
{
    uint8_t header[CHECKPOINT_HEADER];
    crypto_generichash_final (&self->hash, self->info.hash, sizeof self->info.hash);
    checkpoint_header_encode (&self->info, header);
    if (lseek (self->fd, 0, SEEK_SET) < 0 || write_all (self->fd, header, sizeof header) != 0)
        return file_error (self->partial, "write it", errno, error);
    /*  Without content the file would end with the header all the same. */
    if (fsync (self->fd) != 0)
        return file_error (self->partial, "write it to disk", errno, error);
    if (rename (self->partial, self->path) != 0)
        return file_error (self->path, "give it its name", errno, error);
    if (sync_dir (self->dir) != 0)
        return file_error (self->dir, "write the directory to disk", errno, error);
    return 0;
}

int checkpoint_commit (checkpoint_writer_t **self_p, nexus_error_t *error)
{
    int rc = finish (*self_p, error);
    checkpoint_cancel (self_p); /* after a success there is no partial file any more */
    return rc;
}

void checkpoint_cancel (checkpoint_writer_t **self_p)
{
    checkpoint_writer_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->fd >= 0) {
        close (self->fd);
        unlink (self->partial);
    }
    free (self->dir);
    free (self);
}

int checkpoint_save (const char *dir, const char *job, uint64_t rank, uint64_t step,
                     const void *data, size_t size, nexus_error_t *error)
{
    checkpoint_writer_t *writer = checkpoint_create (dir, job, rank, step, error);
    if (!writer)
        return -1;
    if (checkpoint_write (writer, data, size, error) != 0) {
        checkpoint_cancel (&writer);
        return -1;
    }
    return checkpoint_commit (&writer, error);
}

/*  ---- loading ----------------------------------------------------------- */

struct checkpoint_reader {
    checkpoint_t info;
    char path[PATH_MAX];
    int fd;
    uint64_t left; /* bytes of content not read yet */
};

static int corrupt (const checkpoint_reader_t *self, const char *what, nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_CORRUPT, "%.300s: %s; take another checkpoint", self->path,
                            what);
}

static int read_header (checkpoint_reader_t *self, const char *job, uint64_t rank, uint64_t step,
                        nexus_error_t *error)
{
    uint8_t header[CHECKPOINT_HEADER];
    struct stat status;
    ssize_t got = read_all (self->fd, header, sizeof header);
    if (got < 0 || fstat (self->fd, &status) != 0)
        return file_error (self->path, "read it", errno, error);
    if (got < CHECKPOINT_HEADER)
        return corrupt (self, "it is shorter than its header", error);
    if (checkpoint_header_decode (header, &self->info, error) != 0)
        return nexus_error_prefix (error, "%.300s: ", self->path);
    if (self->info.rank != rank || self->info.step != step || strcmp (self->info.job, job) != 0)
        return corrupt (self, "another job, rank or step saved it", error);
    if ((uint64_t)status.st_size != CHECKPOINT_HEADER + self->info.size)
        return corrupt (self, "it has another size than was saved", error);
    return 0;
}

static int verify (checkpoint_reader_t *self, nexus_error_t *error)
{
    crypto_generichash_state state;
    uint8_t hash[sizeof self->info.hash];
    uint8_t *buffer = malloc (BUFFER);
    if (!buffer)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    (void)!sodium_init ();
    crypto_generichash_init (&state, NULL, 0, sizeof hash);
    ssize_t got;
    while ((got = read_all (self->fd, buffer, BUFFER)) > 0)
        crypto_generichash_update (&state, buffer, (size_t)got);
    int code = errno;
    free (buffer);
    if (got < 0)
        return file_error (self->path, "read it", code, error);
    crypto_generichash_final (&state, hash, sizeof hash);
    if (memcmp (hash, self->info.hash, sizeof hash) != 0)
        return corrupt (self, "its content was altered", error);
    if (lseek (self->fd, CHECKPOINT_HEADER, SEEK_SET) < 0)
        return file_error (self->path, "read it", errno, error);
    self->left = self->info.size;
    return 0;
}

checkpoint_reader_t *checkpoint_open (const char *dir, const char *job, uint64_t rank,
                                      uint64_t step, nexus_error_t *error)
{
    checkpoint_reader_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->fd = -1;
    int rc = make_path (self->path, dir, "checkpoint", rank, step, error);
    if (rc == 0) {
        self->fd = open (self->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (self->fd < 0 && errno == ENOENT)
            rc = nexus_error_set (error, NEXUS_NOT_FOUND, "%.300s: there is no such checkpoint",
                                  self->path);
        else if (self->fd < 0)
            rc = file_error (self->path, "open it", errno, error);
    }
    if (rc == 0)
        rc = read_header (self, job, rank, step, error);
    if (rc == 0)
        rc = verify (self, error);
    if (rc != 0)
        checkpoint_close (&self);
    return self;
}

checkpoint_reader_t *checkpoint_open_newest (const char *dir, const char *job, uint64_t rank,
                                             nexus_error_t *error)
{
    arena_t arena;
    uint64_t *steps;
    checkpoint_reader_t *self = NULL;
    arena_init (&arena, 0, NULL, 0);
    int64_t count = checkpoint_list (dir, rank, &arena, &steps, error);
    if (count == 0)
        nexus_error_set (error, NEXUS_NOT_FOUND, "%.300s: rank %" PRIu64 " has no checkpoint", dir,
                         rank);
    for (int64_t i = count - 1; i >= 0 && !self; i--)
        self = checkpoint_open (dir, job, rank, steps[i], error);
    arena_reset (&arena);
    return self;
}

const checkpoint_t *checkpoint_info (const checkpoint_reader_t *self)
{
    return &self->info;
}

int64_t checkpoint_read (checkpoint_reader_t *self, void *out, size_t max, nexus_error_t *error)
{
    size_t size = max < self->left ? max : (size_t)self->left;
    ssize_t got = read_all (self->fd, out, size);
    if (got < 0)
        return file_error (self->path, "read it", errno, error);
    if ((size_t)got < size)
        return corrupt (self, "it became shorter while it was read", error);
    self->left -= (uint64_t)got;
    return got;
}

void checkpoint_close (checkpoint_reader_t **self_p)
{
    checkpoint_reader_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->fd >= 0)
        close (self->fd);
    free (self);
}

/*  ---- keeping house ----------------------------------------------------- */

static int by_value (const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/*  Steps of a rank's files with that suffix, ascending, to be freed by the caller. */
static int64_t list (const char *dir, const char *suffix, uint64_t rank, uint64_t **ret_steps,
                     nexus_error_t *error)
{
    size_t count = 0, capacity = 0;
    uint64_t *steps = NULL;
    *ret_steps = NULL;
    DIR *items = opendir (dir);
    if (!items)
        return errno == ENOENT ? 0 : file_error (dir, "list its checkpoints", errno, error);
    const struct dirent *item;
    while ((item = readdir (items))) {
        uint64_t step;
        if (!parse_name (item->d_name, suffix, rank, &step))
            continue;
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            uint64_t *more = realloc (steps, capacity * sizeof *steps);
            if (!more) {
                closedir (items);
                free (steps);
                return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
            }
            steps = more;
        }
        steps[count++] = step;
    }
    closedir (items);
    if (count)
        qsort (steps, count, sizeof *steps, by_value);
    *ret_steps = steps;
    return (int64_t)count;
}

int64_t checkpoint_list (const char *dir, uint64_t rank, arena_t *arena, uint64_t **ret_steps,
                         nexus_error_t *error)
{
    uint64_t *steps;
    int64_t count = list (dir, "checkpoint", rank, &steps, error);
    if (count > 0) {
        uint64_t *copy = arena_copy (arena, steps, (size_t)count * sizeof *steps);
        if (copy)
            *ret_steps = copy;
        else
            count = nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    }
    free (steps);
    return count;
}

/*  Deletes the oldest, all but keep of them. */
static int64_t drop (const char *dir, const char *suffix, uint64_t rank, size_t keep,
                     nexus_error_t *error)
{
    uint64_t *steps;
    char path[PATH_MAX];
    int64_t count = list (dir, suffix, rank, &steps, error), dropped = 0;
    for (int64_t i = 0; i + (int64_t)keep < count; i++) {
        if (make_path (path, dir, suffix, rank, steps[i], error) != 0 ||
            (unlink (path) != 0 && errno != ENOENT &&
             file_error (path, "delete it", errno, error))) {
            dropped = -1;
            break;
        }
        dropped++;
    }
    free (steps);
    return count < 0 ? -1 : dropped;
}

int64_t checkpoint_prune (const char *dir, uint64_t rank, size_t keep, nexus_error_t *error)
{
    if (drop (dir, "partial", rank, 0, error) < 0)
        return -1;
    return drop (dir, "checkpoint", rank, keep > 1 ? keep : 1, error);
}
