#include "storage/raft_log_tail.h"

#include "storage/boot_id.h"
#include "storage/crc32c.h"
#include "storage/file_error.h"
#include "storage/little_endian.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t magic[4] = {'N', 'X', 'T', '2'};
enum { HEADER = RAFT_LOG_TAIL_HEADER, HARD_SIZE = 24, CHECKED_AT = 8 };

/*  ---- the file ------------------------------------------------------------- */

/*  Past the kernel's cache, or through it. False if the file system doesn't know the former. */
static bool set_direct (int fd, bool direct)
{
    int flags = fcntl (fd, F_GETFL);
    return flags != -1 && fcntl (fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/*  Some file systems take O_DIRECT, and then refuse to write; and what is left of a write that
    was cut short may not be whole blocks any more. */
static int write_all (int fd, const uint8_t *data, size_t size, off_t at)
{
    bool cached = false;
    while (size) {
        ssize_t written = pwrite (fd, data, size, at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EINVAL && !cached) {
            cached = set_direct (fd, false);
            continue;
        }
        if (written <= 0)
            return written < 0 ? errno : EIO;
        data += written;
        size -= (size_t)written;
        at += written;
    }
    return 0;
}

/*  Written, not only reserved: so no flush has to note later that a block is in use. */
static int fill (int fd)
{
    uint8_t *zeros = calloc (1, RAFT_LOG_TAIL_SIZE);
    if (!zeros)
        return ENOMEM;
    int code = write_all (fd, zeros, RAFT_LOG_TAIL_SIZE, 0);
    free (zeros);
    return code;
}

/*  ---- DIR/boot ------------------------------------------------------------- */

static bool boot_path (const raft_log_tail_t *self, char path[PATH_MAX])
{
    int dir = (int)(strlen (self->path) - strlen ("tail"));
    return snprintf (path, PATH_MAX, "%.*sboot", dir, self->path) < PATH_MAX;
}

/*  Does DIR/boot name this boot? */
static bool same_boot (const raft_log_tail_t *self)
{
    char path[PATH_MAX], now[BOOT_ID_MAX], then[BOOT_ID_MAX] = "";
    boot_id_read (now);
    FILE *file = *now && boot_path (self, path) ? fopen (path, "re") : NULL;
    if (!file)
        return false;
    bool read = fgets (then, sizeof then, file) != NULL;
    fclose (file);
    return read && strcmp (now, then) == 0;
}

/*  A write has failed: what the disk has of it, nobody knows. */
static void forget_boot (const raft_log_tail_t *self)
{
    char path[PATH_MAX];
    if (boot_path (self, path))
        unlink (path);
}

void raft_log_tail_note_boot (const raft_log_tail_t *self)
{
    char path[PATH_MAX], now[BOOT_ID_MAX];
    boot_id_read (now);
    FILE *file = boot_path (self, path) ? fopen (path, "we") : NULL;
    if (!file)
        return;
    fputs (now, file);
    fclose (file);
}

/*  ---- opening -------------------------------------------------------------- */

int raft_log_tail_open (raft_log_tail_t *self, const char *dir, nexus_error_t *error)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf (path, sizeof path, "%s/tail", dir);
    *self = (raft_log_tail_t){.fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    self->path = strdup (path);
    int code = self->fd < 0 ? errno : 0;
    if (code == 0 && fstat (self->fd, &status) != 0)
        code = errno;
    if (code == 0 && status.st_size < RAFT_LOG_TAIL_SIZE)
        code = fill (self->fd);
    if (code == 0 && fsync (self->fd) != 0)
        code = errno;
    if (code == 0)
        code = posix_fadvise (self->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (code == 0)
        set_direct (self->fd, true);
    int directory = code ? -1 : open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (code == 0 && (directory < 0 || fsync (directory) != 0))
        code = errno;
    if (directory >= 0)
        close (directory);
    if (code == 0 && self->path) {
        self->unbroken = same_boot (self);
        return 0;
    }
    raft_log_tail_close (self);
    return file_error (path, "open it", code ? code : ENOMEM, error);
}

void raft_log_tail_close (raft_log_tail_t *self)
{
    if (self->path && self->fd >= 0)
        close (self->fd);
    free (self->path);
    free (self->blocks);
    *self = (raft_log_tail_t){.fd = -1};
}

/*  ---- reading -------------------------------------------------------------- */

/*  Does a record of that generation begin at bytes? */
static bool is_begun (const uint8_t *bytes, size_t room, uint64_t generation)
{
    return room >= HEADER && memcmp (bytes, magic, sizeof magic) == 0 &&
           get_u64 (bytes + 8) == generation;
}

/*  The size of the record at bytes, of which there are room; 0 if none is there. */
static size_t look (const uint8_t *bytes, size_t room, uint64_t generation)
{
    if (!is_begun (bytes, room, generation))
        return 0;
    size_t size = HEADER + (size_t)get_u32 (bytes + 24);
    if (size > room || get_u32 (bytes + 4) != crc32c (0, bytes + CHECKED_AT, size - CHECKED_AT))
        return 0;
    return size;
}

static int contradiction (const raft_log_tail_t *self, nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_CORRUPT,
                            "%.300s: record %llu contradicts itself: another version wrote it",
                            self->path, (unsigned long long)self->number);
}

/*  Takes a (checked) record apart. */
static int visit_record (raft_log_tail_t *self, const uint8_t *bytes, size_t size,
                         int (*visit) (void *context, const raft_log_write_t *write,
                                       nexus_error_t *error),
                         void *context, nexus_error_t *error)
{
    size_t at = HEADER + HARD_SIZE;
    raft_log_write_t write = {.count = get_u32 (bytes + 28)};
    if (size < at || write.count > size / RAFT_LOG_RECORD_HEADER)
        return contradiction (self, error);
    raft_log_hard_state_t hard = {get_u64 (bytes + HEADER), get_u64 (bytes + HEADER + 8),
                                  get_u64 (bytes + HEADER + 16)};
    write.hard = &hard;
    raft_log_entry_t *entries = calloc (write.count + 1, sizeof *entries);
    if (!entries)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < write.count; i++) {
        size_t left = size - at;
        size_t record = left < RAFT_LOG_RECORD_HEADER
                            ? SIZE_MAX
                            : RAFT_LOG_RECORD_HEADER + (size_t)get_u32 (bytes + at + 4);
        if (record > left)
            rc = contradiction (self, error);
        else
            rc = raft_log_record_decode (RAFT_LOG_RECORD_ENTRY, get_u64 (bytes + at + 8),
                                         bytes + at, record, &entries[i], error);
        at += rc == 0 ? record : 0;
    }
    write.entries = entries;
    if (rc == 0)
        rc = visit (context, &write, error);
    free (entries);
    return rc;
}

static size_t half_of (uint64_t generation)
{
    return generation % 2 ? RAFT_LOG_TAIL_HALF : 0;
}

/*  Is there a later record of this generation than the one that can't be read at `at`? Then that
    one was acknowledged. */
static bool later_record (const raft_log_tail_t *self, const uint8_t *half, size_t at)
{
    for (; at + HEADER <= RAFT_LOG_TAIL_HALF; at++)
        if (half[at] == magic[0] && look (half + at, RAFT_LOG_TAIL_HALF - at, self->generation) &&
            get_u64 (half + at + 16) > self->number)
            return true;
    return false;
}

/*  Has the record at `at`, which can't be read, rotted rather than been cut short? One that ends in
    the block in which it begins was written at once or not at all. */
static bool rotten (const raft_log_tail_t *self, const uint8_t *half, size_t at)
{
    const uint8_t *record = half + at;
    if (!self->unbroken || !is_begun (record, RAFT_LOG_TAIL_HALF - at, self->generation) ||
        get_u64 (record + 16) != self->number)
        return false;
    size_t size = HEADER + (size_t)get_u32 (record + 24);
    return size <= RAFT_LOG_TAIL_BLOCK - at % RAFT_LOG_TAIL_BLOCK;
}

static int lost (const raft_log_tail_t *self, nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_CORRUPT,
                            "%.300s: record %llu can't be read, and was on disk: acknowledged "
                            "entries are lost; check the disk, move the directory away and join "
                            "the cluster again",
                            self->path, (unsigned long long)self->number);
}

typedef int (visit_fn) (void *context, const raft_log_write_t *write, nexus_error_t *error);

/*  The records of the tail's generation. */
static int replay_generation (raft_log_tail_t *self, const uint8_t *bytes, visit_fn *visit,
                              void *context, nexus_error_t *error)
{
    const uint8_t *half = bytes + half_of (self->generation);
    int rc = 0;
    size_t size;
    while (rc == 0 &&
           (size = look (half + self->used, RAFT_LOG_TAIL_HALF - self->used, self->generation)) >
               0 &&
           get_u64 (half + self->used + 16) == self->number) {
        rc = visit_record (self, half + self->used, size, visit, context, error);
        self->used += size;
        self->number++;
    }
    bool was_there = later_record (self, half, self->used) || rotten (self, half, self->used);
    return rc == 0 && was_there ? lost (self, error) : rc;
}

int raft_log_tail_replay (raft_log_tail_t *self, uint64_t generation, visit_fn *visit,
                          void *context, nexus_error_t *error)
{
    raft_log_tail_restart (self, generation);
    uint8_t *bytes = mmap (NULL, RAFT_LOG_TAIL_SIZE, PROT_READ, MAP_PRIVATE, self->fd, 0);
    if (bytes == MAP_FAILED)
        return file_error (self->path, "read it", errno, error);
    int rc = replay_generation (self, bytes, visit, context, error);
    /*  Does another one follow? Then this one is complete. */
    const uint8_t *other = bytes + (half_of (generation) ? 0 : RAFT_LOG_TAIL_HALF);
    uint64_t next = get_u64 (other + 8);
    if (rc == 0 && look (other, RAFT_LOG_TAIL_HALF, next) && get_u64 (other + 32) == generation) {
        if (get_u64 (other + 40) != self->number)
            rc = lost (self, error);
        raft_log_tail_follow (self, next);
        if (rc == 0)
            rc = replay_generation (self, bytes, visit, context, error);
    }
    munmap (bytes, RAFT_LOG_TAIL_SIZE);
    return rc;
}

/*  ---- writing -------------------------------------------------------------- */

void raft_log_tail_restart (raft_log_tail_t *self, uint64_t generation)
{
    self->generation = generation;
    self->previous = self->previous_count = 0;
    self->number = 0;
    self->used = 0;
}

void raft_log_tail_follow (raft_log_tail_t *self, uint64_t generation)
{
    assert (self->generation && generation % 2 != self->generation % 2);
    uint64_t previous = self->generation, count = self->number;
    raft_log_tail_restart (self, generation);
    self->previous = previous;
    self->previous_count = count;
}

size_t raft_log_tail_size (const raft_log_write_t *writes, size_t count)
{
    size_t size = HEADER + HARD_SIZE;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < writes[i].count; k++)
            size += RAFT_LOG_RECORD_HEADER + writes[i].entries[k].size;
    return size;
}

bool raft_log_tail_fits (const raft_log_tail_t *self, size_t size)
{
    return size <= RAFT_LOG_TAIL_HALF - self->used;
}

void raft_log_tail_encode (const raft_log_tail_t *self, const raft_log_write_t *writes,
                           size_t count, const raft_log_hard_state_t *hard, uint8_t *out,
                           size_t size, raft_log_entry_t *entries)
{
    size_t at = HEADER + HARD_SIZE, total = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < writes[i].count; k++) {
            raft_log_entry_t entry = writes[i].entries[k];
            raft_log_record_encode (RAFT_LOG_RECORD_ENTRY, &entry, out + at);
            entry.data = out + at + RAFT_LOG_RECORD_HEADER;
            entries[total++] = entry;
            at += RAFT_LOG_RECORD_HEADER + entry.size;
        }
    assert (at == size);
    memcpy (out, magic, sizeof magic);
    put_u64 (out + 8, self->generation);
    put_u64 (out + 16, self->number);
    put_u32 (out + 24, (uint32_t)(size - HEADER));
    put_u32 (out + 28, (uint32_t)total);
    put_u64 (out + 32, self->previous);
    put_u64 (out + 40, self->previous_count);
    put_u64 (out + HEADER, hard->term);
    put_u64 (out + HEADER + 8, hard->vote);
    put_u64 (out + HEADER + 16, hard->commit);
    put_u32 (out + 4, crc32c (0, out + CHECKED_AT, size - CHECKED_AT));
}

static int reserve_blocks (raft_log_tail_t *self, size_t size)
{
    if (size <= self->blocks_size)
        return 0;
    uint8_t *blocks = aligned_alloc (RAFT_LOG_TAIL_BLOCK, 2 * size);
    if (!blocks)
        return ENOMEM;
    if (self->blocks)
        memcpy (blocks, self->blocks, RAFT_LOG_TAIL_BLOCK);
    free (self->blocks);
    self->blocks = blocks;
    self->blocks_size = 2 * size;
    return 0;
}

int raft_log_tail_append (raft_log_tail_t *self, const uint8_t *record, size_t size,
                          nexus_error_t *error)
{
    assert (raft_log_tail_fits (self, size));
    size_t begun = self->used % RAFT_LOG_TAIL_BLOCK, end = begun + size;
    assert (begun == 0 || self->blocks); /* not behind a replay, without a restart */
    size_t whole = (end + RAFT_LOG_TAIL_BLOCK - 1) / RAFT_LOG_TAIL_BLOCK * RAFT_LOG_TAIL_BLOCK;
    int code = reserve_blocks (self, whole);
    if (code == 0) {
        memcpy (self->blocks + begun, record, size);
        memset (self->blocks + end, 0, whole - end);
        code = write_all (self->fd, self->blocks, whole,
                          (off_t)(half_of (self->generation) + self->used - begun));
    }
    if (code) {
        forget_boot (self);
        return file_error (self->path, "write to it", code, error);
    }
    if (fdatasync (self->fd) != 0) {
        code = errno;
        forget_boot (self);
        return file_error (self->path, "flush it", code, error);
    }
    size_t last = end % RAFT_LOG_TAIL_BLOCK;
    memmove (self->blocks, self->blocks + end - last, last);
    self->used += size;
    self->number++;
    return 0;
}
