/*  backup - nexus backup: a copy of the whole ledger in a file */
#include "actors/snapshots/snapshot_files.h"
#include "cli/client.h"
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <sys/stat.h>
#include <unistd.h>

/*  A copy is taken again when the master that has it is gone. */
enum { ATTEMPTS = 5, WAIT_MS = 330000 };

static const option_t backup_options[] = {
    CLIENT_OPTIONS,
    {"check", 0, NULL, {NULL}, NULL, "Only say what FILE is, and whether it is whole."},
    {"force", 'f', NULL, {NULL}, NULL, "Replace FILE."},
    {"stale",
     0,
     NULL,
     {NULL},
     NULL,
     "What the answering master has, also without a majority: the last resort."},
    {0},
};

static void describe (const char *file, const snapshot_info_t *copy)
{
    printf ("%s: everything up to log index %" PRIu64 " of term %" PRIu64 ", %" PRIu64
            " bytes, whole\n",
            file, copy->index, copy->term, copy->size);
}

/*  The parts, one after the other. 1: that copy is not to be had (any more). */
static int fetch (client_t *client, const backup_t *backup, int fd, const char *file,
                  nexus_error_t *error)
{
    char path[200];
    for (uint64_t offset = 0; offset < backup->size;) {
        client_answer_t answer = {0};
        snprintf (path, sizeof (path), "/api/v1/backups/%s?offset=%" PRIu64, backup->id, offset);
        if (client_ask (client, path, NULL, NULL, 0, &answer, error))
            return error->code == NEXUS_NOT_FOUND ? 1 : -1;
        size_t size = answer.body.size;
        errno = 0;
        bool good = size && pwrite (fd, answer.body.data, size, (off_t)offset) == (ssize_t)size;
        int reason = errno ? errno : ENOSPC;
        client_answer_free (&answer);
        if (!size)
            return nexus_error_set (error, NEXUS_CORRUPT,
                                    "the backup ends at byte %" PRIu64 " of %" PRIu64, offset,
                                    backup->size);
        if (!good)
            return nexus_error_set (error, NEXUS_IO, "can't write %s: %s", file, strerror (reason));
        offset += size;
    }
    return 0;
}

/*  Into FILE.part, until it is whole. */
static int take (client_t *client, bool stale, const char *part, snapshot_info_t *copy,
                 nexus_error_t *error)
{
    int fd = open (part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return nexus_error_set (error, NEXUS_IO, "can't write %s: %s", part, strerror (errno));
    arena_t arena;
    arena_init (&arena, 1 << 20, NULL, 0);
    int rc = 1;
    for (int i = 0; i < ATTEMPTS && rc > 0; i++) {
        backup_t backup;
        arena_reset (&arena);
        rc = client_record (client, stale ? "/api/v1/backups?stale=true" : "/api/v1/backups", "{}",
                            &backup_record, &arena, &backup, error);
        if (rc == 0 && ftruncate (fd, 0) != 0)
            rc = nexus_error_set (error, NEXUS_IO, "can't write %s: %s", part, strerror (errno));
        if (rc == 0)
            rc = fetch (client, &backup, fd, part, error);
        if (rc == 0 && fsync (fd) != 0)
            rc = nexus_error_set (error, NEXUS_IO, "can't flush %s: %s", part, strerror (errno));
        if (rc == 0)
            rc = snapshot_files_describe (part, true, copy, error);
        if (rc == 0 && (copy->index != backup.index ||
                        memcmp (&copy->hash, &backup.hash, sizeof (copy->hash)) != 0))
            rc = nexus_error_set (error, NEXUS_CORRUPT,
                                  "what came is not the backup that was made: try again");
    }
    arena_reset (&arena);
    close (fd);
    return rc ? -1 : 0;
}

static int sync_dir_of (const char *file, nexus_error_t *error)
{
    char dir[4096];
    const char *slash = strrchr (file, '/');
    snprintf (dir, sizeof (dir), "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 && fsync (fd) == 0
                 ? 0
                 : nexus_error_set (error, NEXUS_IO, "can't flush %s: %s", dir, strerror (errno));
    if (fd >= 0)
        close (fd);
    return rc;
}

static int back_up (client_t *client, bool stale, const char *file, nexus_error_t *error)
{
    char part[4096];
    snapshot_info_t copy;
    if (snprintf (part, sizeof (part), "%s.part", file) >= (int)sizeof (part))
        return nexus_error_set (error, NEXUS_INVALID, "the file's name is too long");
    int rc = take (client, stale, part, &copy, error);
    if (rc == 0 && rename (part, file) != 0)
        rc = nexus_error_set (error, NEXUS_IO, "can't write %s: %s", file, strerror (errno));
    if (rc) {
        unlink (part);
        return -1;
    }
    describe (file, &copy);
    return sync_dir_of (file, error);
}

static int check_only (const char *file)
{
    nexus_error_t error = {NEXUS_OK, ""};
    snapshot_info_t copy;
    if (snapshot_files_describe (file, true, &copy, &error))
        return command_fail_input (&error);
    describe (file, &copy);
    return 0;
}

static int run_backup (options_t *options)
{
    const char *file = options_argument (options, 0);
    nexus_error_t error;
    if (options_flag (options, "check"))
        return check_only (file);
    struct stat status;
    bool there = stat (file, &status) == 0;
    if (there && !S_ISREG (status.st_mode)) {
        nexus_error_set (&error, NEXUS_INVALID, "%s is not a regular file: name another", file);
        return command_fail (&error);
    }
    if (there && !options_flag (options, "force")) {
        nexus_error_set (&error, NEXUS_EXISTS,
                         "%s is there already: choose another name, or --force", file);
        return command_fail (&error);
    }
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    client_set_wait (client, WAIT_MS);
    int rc =
        back_up (client, options_flag (options, "stale"), file, &error) ? command_fail (&error) : 0;
    client_destroy (&client);
    return rc;
}

const command_t command_backup = {
    "backup",
    "FILE",
    "Copy the cluster's state into a file",
    "Jobs, workers, tokens, the key-value store: all that was done before the command\n"
    "was given. Any master makes the copy, while the cluster goes on; it is checked\n"
    "when it is here, and FILE is there whole or not at all. It needs a token of role\n"
    "admin. nexus restore makes a cluster of it again; keep root.key and the masters'\n"
    "node.key, too, which are in no backup.",
    backup_options,
    1,
    1,
    run_backup};
