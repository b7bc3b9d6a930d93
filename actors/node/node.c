/*  node - the root of a node's actors, and what masters and workers share */
#include "actors/node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_SIZE_MAX = 1 << 20 };

/*  ---- the root actor ------------------------------------------------------------- */

typedef struct {
    const node_args_t *args;
} node_t;

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    node_t *self = state;
    self->args = args;
    for (size_t i = 0; i < self->args->count; i++)
        if (context_spawn (ctx, &self->args->children[i], error))
            return nexus_error_prefix (error, "%s: ", self->args->children[i].name);
    address_t link = address_local ("link", 0);
    for (size_t i = 0; i < self->args->dial_count; i++)
        context_send (ctx, &link, &link_dial_record, &self->args->dials[i]);
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    const down_t *down = message_body (message, down);
    if (!down || message->role != ROLE_LOCAL)
        return;
    nexus_error_t error;
    nexus_error_set (&error, NEXUS_UNAVAILABLE, "%s has ended: %s", down->actor,
                     down->reason && *down->reason ? down->reason : "no reason given");
    log_error (context_log (ctx), "a part that the node can't do without has ended",
               LOG_TEXT ("part", down->actor), LOG_TEXT ("reason", down->reason));
    context_fail (ctx, &error);
}

const behaviour_t node_behaviour = {
    .name = "node",
    .state_size = sizeof (node_t),
    .start = start,
    .receive = receive,
};

/*  ---- configuration ----------------------------------------------------------------- */

static char *read_text (const char *file, arena_t *arena, size_t *ret_size, nexus_error_t *error)
{
    FILE *stream = fopen (file, "re");
    if (!stream) {
        nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO, "%s: %s", file,
                         strerror (errno));
        return NULL;
    }
    char *text = arena_alloc (arena, CONFIG_SIZE_MAX + 1);
    size_t size = text ? fread (text, 1, CONFIG_SIZE_MAX + 1, stream) : 0;
    bool failed = !text || ferror (stream);
    fclose (stream);
    if (failed || size > CONFIG_SIZE_MAX) {
        nexus_error_set (error, failed ? NEXUS_IO : NEXUS_INVALID, "%s: %s", file,
                         failed ? "can't be read" : "is larger than 1 MiB");
        return NULL;
    }
    *ret_size = size;
    return text;
}

int node_config_load (const record_t *record, const char *file, const char *text, arena_t *arena,
                      void *value, nexus_error_t *error)
{
    size_t size = text ? strlen (text) : 0;
    if (!text && !file)
        return nexus_error_set (error, NEXUS_INVALID, "no configuration was given");
    if (!text && !(text = read_text (file, arena, &size, error)))
        return -1;
    record_faults_t faults = {.count = 0};
    if (record_from_yaml (record, text, size, 0, arena, value, &faults))
        return nexus_error_set (error, NEXUS_INVALID, "%s",
                                record_faults_text (&faults, file ? file : record->name, arena));
    return 0;
}

log_t *node_log_open (const log_config_t *config, const char *name, int *ret_fd,
                      nexus_error_t *error)
{
    int fd = -1;
    if (config->file && *config->file) {
        fd = open (config->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0) {
            nexus_error_set (error, NEXUS_IO, "can't write the log %s: %s", config->file,
                             strerror (errno));
            return NULL;
        }
    }
    log_t *log =
        log_new (fd < 0 ? STDERR_FILENO : fd, config->json, (log_level_t)config->level, name);
    *ret_fd = fd;
    return log;
}

int node_dir_take (const char *dir, nexus_error_t *error)
{
    char path[1100];
    if (mkdir (dir, 0700) && errno != EEXIST)
        return nexus_error_set (error, NEXUS_IO, "can't make the directory %s: %s", dir,
                                strerror (errno));
    snprintf (path, sizeof (path), "%s/node.lock", dir);
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return nexus_error_set (error, NEXUS_IO, "can't write in the directory %s: %s", dir,
                                strerror (errno));
    if (flock (fd, LOCK_EX | LOCK_NB)) {
        int reason = errno;
        close (fd);
        return nexus_error_set (error, NEXUS_EXISTS, "%s: %s", dir,
                                reason == EWOULDBLOCK
                                    ? "another node runs in this directory: stop it first, or "
                                      "give this one a directory of its own"
                                    : strerror (reason));
    }
    if (ftruncate (fd, 0) || dprintf (fd, "%d\n", (int)getpid ()) < 0) {
        close (fd);
        return nexus_error_set (error, NEXUS_IO, "can't write %s: %s", path, strerror (errno));
    }
    return fd;
}
