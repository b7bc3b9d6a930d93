/*  snapshot_files - the store of copies on disk: see the header */
#include "actors/snapshots/snapshot_files.h"

#include "actors/protocol/ledger.h"
#include "storage/file_error.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { KEPT = 4, SPACE_MIN = 16 << 20, FLUSH = 4 << 20 };

/*  A copy that can be read: the durable one, or one before it whose file has no name any more. */
typedef struct {
    snapshot_info_t copy;
    int fd;
    uint64_t used; /* the larger, the later it was read */
    bool checked;  /* since this start, whole */
} kept_t;

struct snapshot_files {
    tables_t *tables;
    raft_log_t *log;
    char *dir, *current, *part, *info; /* paths: ledger, snapshot, fetch, fetch.info */
    kept_t kept[KEPT];                 /* [0] is the durable one, if its index isn't 0 */
    uint64_t clock;
    snapshot_info_t fetching;
    uint64_t have;
    nexus_error_t damage; /* what is wrong with the copy that was found at the start; or none */
};

/*  ---- what a file is ---------------------------------------------------------------------- */

int snapshot_files_describe (const char *file, bool check, snapshot_info_t *ret_copy,
                             nexus_error_t *error)
{
    tables_copy_t copy;
    int rc = -1;
    if (check ? tables_copy_check (file, &copy, error) : tables_copy_peek (file, &copy, error))
        return -1;
    tables_t *tables = tables_open_copy (file, ledger_table_names, 1, error);
    tables_txn_t *txn = tables ? tables_begin (tables, false, error) : NULL;
    if (txn) {
        *ret_copy = (snapshot_info_t){.index = ledger_number (txn, LEDGER_APPLIED),
                                      .term = ledger_number (txn, LEDGER_APPLIED_TERM),
                                      .size = copy.size};
        memcpy (ret_copy->hash.bytes, copy.hash, sizeof copy.hash);
        tables_abort (&txn);
        rc = 0;
    }
    tables_close (&tables);
    return rc;
}

/*  ---- those that can be read ----------------------------------------------------------------- */

static void forget (kept_t *kept)
{
    if (kept->copy.index)
        close (kept->fd);
    *kept = (kept_t){.fd = -1};
}

/*  A new durable copy; of those before it the ones that were read last are kept. */
static int keep (snapshot_files_t *self, const snapshot_info_t *copy, nexus_error_t *error)
{
    int fd = open (self->current, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error (self->current, "open it", errno, error);
    size_t oldest = 1;
    for (size_t i = 1; i < KEPT; i++)
        if (self->kept[i].used < self->kept[oldest].used)
            oldest = i;
    if (self->kept[0].copy.index && self->kept[0].used) {
        forget (&self->kept[oldest]);
        self->kept[oldest] = self->kept[0];
    } else
        forget (&self->kept[0]); /* nobody has read it */
    self->kept[0] = (kept_t){.copy = *copy, .fd = fd, .checked = true};
    return 0;
}

static void current (void *store, snapshot_info_t *ret_copy)
{
    snapshot_files_t *self = store;
    *ret_copy = self->kept[0].copy;
}

/*  It goes out of the way, for people to look at; a new one will be made. */
static void put_aside (snapshot_files_t *self)
{
    char aside[PATH_MAX];
    snprintf (aside, sizeof aside, "%s.damaged", self->current);
    if (rename (self->current, aside) != 0)
        unlink (self->current);
    forget (&self->kept[0]);
}

/*  Before it is given to anybody: who fetched it would find out, and ask for it again. */
static bool is_whole (snapshot_files_t *self)
{
    nexus_error_t ignored;
    if (!self->kept[0].checked && tables_copy_check (self->current, NULL, &ignored) != 0) {
        put_aside (self);
        return false;
    }
    self->kept[0].checked = true;
    return true;
}

static int64_t read_copy (void *store, const snapshot_info_t *copy, uint64_t offset, void *data,
                          size_t size, nexus_error_t *error)
{
    snapshot_files_t *self = store;
    size_t i = 0;
    while (i < KEPT && (self->kept[i].copy.index != copy->index ||
                        memcmp (&self->kept[i].copy.hash, &copy->hash, sizeof copy->hash) != 0))
        i++;
    if (i == KEPT || copy->index == 0 || offset > INT64_MAX - size || (i == 0 && !is_whole (self)))
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "the copy that covers %" PRIu64 " is not there (any more)",
                                copy->index);
    self->kept[i].used = ++self->clock;
    size_t done = 0;
    while (done < size) {
        ssize_t got =
            pread (self->kept[i].fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_error (self->current, "read it", errno, error);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int make (void *store, snapshot_info_t *ret_copy, int64_t *ret_delay_ns,
                 nexus_error_t *error)
{
    snapshot_files_t *self = store;
    snapshot_info_t copy;
    *ret_delay_ns = 0;
    tables_prepare (self->tables, NULL, error); /* what was fetched and not wanted */
    if (tables_copy (self->tables, self->current, error) != 0 ||
        snapshot_files_describe (self->current, false, &copy, error) != 0 ||
        keep (self, &copy, error) != 0)
        return -1;
    *ret_copy = copy;
    return 0;
}

static void position (void *store, snapshot_position_t *ret_position)
{
    snapshot_files_t *self = store;
    raft_log_state_t state;
    size_t used, limit;
    *ret_position = (snapshot_position_t){0};
    tables_txn_t *txn = tables_begin (self->tables, false, NULL);
    if (txn)
        ret_position->applied = ledger_number (txn, LEDGER_APPLIED);
    tables_abort (&txn);
    raft_log_state (self->log, &state);
    raft_log_usage (self->log, &used, &limit);
    ret_position->log_first = state.first;
    ret_position->log_last = state.last;
    ret_position->log_bytes = used;
}

/*  ---- one that is being fetched ------------------------------------------------------------- */

static void part (void *store, snapshot_info_t *ret_copy, uint64_t *ret_have)
{
    snapshot_files_t *self = store;
    *ret_copy = self->fetching;
    *ret_have = self->have;
}

static void part_drop (void *store)
{
    snapshot_files_t *self = store;
    unlink (self->info);
    unlink (self->part);
    self->fetching = (snapshot_info_t){0};
    self->have = 0;
}

static int write_info (snapshot_files_t *self, const snapshot_info_t *copy, nexus_error_t *error)
{
    char hex[65];
    for (size_t i = 0; i < 32; i++)
        snprintf (hex + 2 * i, 3, "%02x", copy->hash.bytes[i]);
    FILE *file = fopen (self->info, "we");
    if (!file)
        return file_error (self->info, "write it", errno, error);
    fprintf (file, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", copy->index, copy->term, copy->size,
             hex);
    bool failed = ferror (file);
    failed |= fclose (file) != 0;
    return failed ? file_error (self->info, "write it", errno, error) : 0;
}

/*  What a run before this one has fetched. Whatever is wrong with it: it is begun again. */
static void read_info (snapshot_files_t *self)
{
    snapshot_info_t copy = {0};
    char hex[65] = "";
    struct stat status;
    FILE *file = fopen (self->info, "re");
    if (!file) {
        unlink (self->part);
        return;
    }
    int fields = fscanf (file, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %64s", &copy.index, &copy.term,
                         &copy.size, hex);
    fclose (file);
    bool good = fields == 4 && strlen (hex) == 64 && stat (self->part, &status) == 0 &&
                (uint64_t)status.st_size <= copy.size;
    for (size_t i = 0; good && i < 32; i++)
        good = sscanf (hex + 2 * i, "%2hhx", &copy.hash.bytes[i]) == 1;
    if (!good) {
        part_drop (self);
        return;
    }
    self->fetching = copy;
    self->have = (uint64_t)status.st_size;
}

static int part_begin (void *store, const snapshot_info_t *copy, nexus_error_t *error)
{
    snapshot_files_t *self = store;
    struct statvfs disk;
    part_drop (self);
    if (statvfs (self->dir, &disk) == 0) {
        uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
        /* Once for the copy, once for the ledger that it becomes. */
        if (copy->size > UINT64_MAX / 4 || room < 2 * copy->size + SPACE_MIN)
            return nexus_error_set (error, NEXUS_EXHAUSTED,
                                    "%.300s: a copy of %" PRIu64 " bytes needs twice its size on "
                                    "that file system, where %" PRIu64 " are free: make room",
                                    self->part, copy->size, room);
    }
    int fd = open (self->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error (self->part, "write it", errno, error);
    close (fd);
    if (write_info (self, copy, error) != 0) {
        part_drop (self);
        return -1;
    }
    self->fetching = *copy;
    return 0;
}

static int part_write (void *store, uint64_t offset, const void *data, size_t size,
                       nexus_error_t *error)
{
    snapshot_files_t *self = store;
    assert (self->fetching.index && offset == self->have);
    int fd = open (self->part, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error (self->part, "write it", errno, error);
    errno = 0;
    ssize_t written = pwrite (fd, data, size, (off_t)offset);
    int code = errno ? errno : ENOSPC;
    /* A piece at a time: all at once would keep the Raft log from the disk. */
    if (written == (ssize_t)size && (offset + size) / FLUSH != offset / FLUSH &&
        fdatasync (fd) != 0) {
        code = errno;
        written = -1;
    }
    close (fd);
    if (written != (ssize_t)size) {
        /* What is there of it isn't counted, here or after a restart. */
        if (truncate (self->part, (off_t)offset) != 0)
            part_drop (self);
        return file_error (self->part, "write it", code, error);
    }
    self->have += size;
    return 0;
}

/*  Flushed and what it should be. */
static int check_part (snapshot_files_t *self, nexus_error_t *error)
{
    snapshot_info_t found;
    int fd = open (self->part, O_WRONLY | O_CLOEXEC);
    int rc = fd >= 0 && fsync (fd) == 0 ? 0 : file_error (self->part, "flush it", errno, error);
    if (fd >= 0)
        close (fd);
    if (rc != 0 || snapshot_files_describe (self->part, true, &found, error) != 0)
        return -1;
    const snapshot_info_t *wanted = &self->fetching;
    if (found.index != wanted->index || found.term != wanted->term || found.size != wanted->size ||
        memcmp (&found.hash, &wanted->hash, sizeof found.hash) != 0)
        return nexus_error_set (error, NEXUS_CORRUPT,
                                "%.300s: what was fetched is not the copy that was offered",
                                self->part);
    return 0;
}

static int sync_dir (const char *dir, nexus_error_t *error)
{
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_error (dir, "open it", errno, error);
    int rc = fsync (fd) == 0 ? 0 : file_error (dir, "flush it", errno, error);
    close (fd);
    return rc;
}

static int put_in_place (snapshot_files_t *self, nexus_error_t *error)
{
    if (self->fetching.index <= self->kept[0].copy.index)
        return 0; /* the own one covers as much */
    if (rename (self->part, self->current) != 0)
        return file_error (self->current, "put it in place", errno, error);
    if (sync_dir (self->dir, error) != 0 || keep (self, &self->fetching, error) != 0)
        return -1;
    /* For the ledger, which shall not wait for a disk; if it fails now, it fails there. */
    nexus_error_t ignored;
    tables_prepare (self->tables, self->current, &ignored);
    return 0;
}

static int part_finish (void *store, int64_t *ret_delay_ns, nexus_error_t *error)
{
    snapshot_files_t *self = store;
    *ret_delay_ns = 0;
    int rc = check_part (self, error);
    if (rc == 0)
        rc = put_in_place (self, error);
    part_drop (self);
    return rc;
}

/*  ---- life -------------------------------------------------------------------------------- */

static char *path_of (const char *dir, const char *name)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s/%s", dir, name);
    return strdup (path);
}

snapshot_files_t *snapshot_files_new (const char *dir, tables_t *tables, raft_log_t *log,
                                      nexus_error_t *error)
{
    snapshot_files_t *self = calloc (1, sizeof *self);
    snapshot_info_t copy = {0};
    if (self) {
        *self = (snapshot_files_t){.tables = tables,
                                   .log = log,
                                   .dir = strdup (dir),
                                   .current = path_of (dir, "snapshot"),
                                   .part = path_of (dir, "fetch"),
                                   .info = path_of (dir, "fetch.info")};
        for (size_t i = 0; i < KEPT; i++)
            self->kept[i].fd = -1;
    }
    if (!self || !self->dir || !self->current || !self->part || !self->info) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        snapshot_files_destroy (&self);
        return NULL;
    }
    read_info (self);
    if (access (self->current, F_OK) != 0)
        return self;
    int rc = snapshot_files_describe (self->current, false, &copy, error);
    if (rc != 0 && error->code == NEXUS_CORRUPT) {
        self->damage = *error;
        put_aside (self);
        return self;
    }
    if (rc == 0 && copy.index)
        rc = keep (self, &copy, error);
    self->kept[0].checked = false;
    if (rc != 0)
        snapshot_files_destroy (&self);
    return self;
}

void snapshot_files_destroy (snapshot_files_t **self_p)
{
    snapshot_files_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    for (size_t i = 0; i < KEPT; i++)
        forget (&self->kept[i]);
    free (self->dir);
    free (self->current);
    free (self->part);
    free (self->info);
    free (self);
}

snapshot_store_t snapshot_files_store (snapshot_files_t *self)
{
    return (snapshot_store_t){.self = self,
                              .position = position,
                              .current = current,
                              .make = make,
                              .read = read_copy,
                              .part = part,
                              .part_begin = part_begin,
                              .part_write = part_write,
                              .part_finish = part_finish,
                              .part_drop = part_drop};
}

int snapshot_files_restore (void *store, nexus_error_t *error)
{
    snapshot_files_t *self = store;
    return tables_replace (self->tables, self->current, error);
}

/*  The log goes on behind the copy. */
static int begin_anew (snapshot_files_t *self, const snapshot_info_t *copy, log_t *log,
                       nexus_error_t *error)
{
    raft_log_write_t write = {.snapshot_index = copy->index, .snapshot_term = copy->term};
    log_info (log, "the leader's copy of the ledger had come, and the log's part of it is done now",
              LOG_UINT ("index", copy->index));
    if (raft_log_write (self->log, &write, 1, error) != 0)
        return -1;
    return raft_log_sync (self->log, error);
}

int snapshot_files_recover (snapshot_files_t *self, log_t *log, nexus_error_t *error)
{
    const snapshot_info_t *copy = &self->kept[0].copy;
    snapshot_position_t now;
    raft_log_state_t state;
    if (self->damage.code)
        log_warning (log, "the copy of the ledger is damaged; a new one will be made",
                     LOG_TEXT ("what", self->damage.text));
    if (copy->index == 0)
        return 0;
    raft_log_state (self->log, &state);
    /* Whoever has a copy has had a log, and a vote in it. */
    if (state.hard.term == 0)
        return nexus_error_set (
            error, NEXUS_CORRUPT,
            "%.300s: this copy covers log index %" PRIu64 ", but the Raft log "
            "is new: it was lost, and the vote with it; move the directory away "
            "and join the cluster again",
            self->current, copy->index);
    /* An entry that can't be read may be the copy's last one: then the log has it. */
    uint64_t term = raft_log_term (self->log, copy->index);
    bool other = copy->index + 1 >= state.first && copy->index <= state.last && term != 0 &&
                 term != copy->term;
    if ((copy->index > state.last || other) && begin_anew (self, copy, log, error) != 0)
        return -1;
    position (self, &now);
    if (now.applied + 1 >= now.log_first)
        return 0;
    log_info (log, "the ledger becomes its copy, because the log begins behind it",
              LOG_UINT ("ledger", now.applied), LOG_UINT ("copy", copy->index),
              LOG_UINT ("log", now.log_first));
    return snapshot_files_restore (self, error);
}
