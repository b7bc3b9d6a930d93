/*  masters_file - who the masters are, as a node's directory remembers it */
#include "actors/node/masters_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIZE_MAX_BYTES = 1 << 20, PATH_MAX_BYTES = 1200 };

/* clang-format off */
#define RECORD_SELF masters_file_t
RECORD_DEFINE (masters_file, 0, 0, "The masters that a node remembers.", MASTERS_FILE)
#undef RECORD_SELF
/* clang-format on */

static int file_failed (const char *path, const char *what, nexus_error_t *error)
{
    return nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO, "can't %s %s: %s",
                            what, path, strerror (errno));
}

int masters_file_load (const char *path, arena_t *arena, masters_file_t *value,
                       nexus_error_t *error)
{
    FILE *file = fopen (path, "re");
    if (!file)
        return file_failed (path, "open", error);
    char *text = arena_alloc (arena, SIZE_MAX_BYTES);
    size_t size = text ? fread (text, 1, SIZE_MAX_BYTES, file) : 0;
    bool failed = !text || ferror (file);
    fclose (file);
    if (failed || size == SIZE_MAX_BYTES)
        return nexus_error_set (error, NEXUS_CORRUPT, "%s: can't be read, or is too large", path);
    record_faults_t faults = {.count = 0};
    if (record_from_yaml (&masters_file_record, text, size, RECORD_ALLOW_READONLY, arena, value,
                          &faults))
        return nexus_error_set (error, NEXUS_CORRUPT, "%s",
                                record_faults_text (&faults, path, arena));
    return 0;
}

/*  The directory holds the new name when it is flushed. */
static int flush_directory (const char *path)
{
    char dir[PATH_MAX_BYTES];
    snprintf (dir, sizeof (dir), "%s", path);
    char *slash = strrchr (dir, '/');
    if (slash)
        *slash = 0;
    int fd = open (slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync (fd);
    if (fd >= 0)
        close (fd);
    return rc;
}

int masters_file_save (const char *path, const masters_file_t *value, nexus_error_t *error)
{
    char beside[PATH_MAX_BYTES];
    buffer_t text = {.limit = SIZE_MAX_BYTES};
    snprintf (beside, sizeof (beside), "%s.part", path);
    record_to_yaml (&masters_file_record, value, 0, &text);
    if (text.size == 0)
        buffer_append (&text, "{}\n", 3); /* all its fields hold their defaults */
    int fd = open (beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && !text.failed &&
                   write (fd, text.data, text.size) == (ssize_t)text.size && fsync (fd) == 0;
    int reason = errno;
    buffer_free (&text);
    if (fd >= 0 && close (fd))
        written = false;
    if (written && rename (beside, path) == 0 && flush_directory (path) == 0)
        return 0;
    if (!written)
        errno = reason;
    return file_failed (path, "write", error);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    *(const char **)state = args;
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    const master_list_t *masters = message_body (message, master_list);
    if (message->role != ROLE_LOCAL || !masters)
        return;
    masters_file_t value = {.joined = true,
                            .index = masters->index,
                            .masters = {masters->masters.items, masters->masters.count}};
    nexus_error_t error;
    if (masters_file_save (*(const char **)state, &value, &error))
        log_warning (context_log (ctx), "the masters can't be remembered",
                     LOG_TEXT ("reason", error.text));
}

const behaviour_t masters_file_behaviour = {
    .name = "masters_file",
    .state_size = sizeof (const char *),
    .start = start,
    .receive = receive,
};
