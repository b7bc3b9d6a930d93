/*  strays - processes that a task has left behind */
#include "actors/executor/strays.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 256 << 10 };

/*  Whether the environment, a run of terminated texts, names the task. */
static bool names_task (const char *environment, size_t size, const char *file, bool all)
{
    static const char name[] = "NEXUS_TASK_FILE=";
    size_t name_size = sizeof (name) - 1, file_size = strlen (file);
    for (size_t at = 0; at < size; at += strnlen (environment + at, size - at) + 1) {
        const char *entry = environment + at;
        size_t length = strnlen (entry, size - at);
        if (length < name_size + file_size || memcmp (entry, name, name_size) ||
            memcmp (entry + name_size, file, file_size))
            continue;
        return all || length == name_size + file_size;
    }
    return false;
}

static size_t read_environment (const char *pid, char *out)
{
    char path[300];
    size_t size = 0;
    snprintf (path, sizeof (path), "/proc/%s/environ", pid);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0; /* another user's, or gone */
    for (ssize_t got = 1; got > 0 && size<ENVIRONMENT_MAX; size += got> 0 ? (size_t)got : 0)
        got = read (fd, out + size, ENVIRONMENT_MAX - size);
    close (fd);
    return size;
}

unsigned strays_kill (const char *file, bool all)
{
    unsigned count = 0;
    char *environment = malloc (ENVIRONMENT_MAX);
    DIR *proc = environment ? opendir ("/proc") : NULL;
    for (const struct dirent *entry; proc && (entry = readdir (proc));) {
        pid_t pid = (pid_t)strtol (entry->d_name, NULL, 10);
        if (!isdigit ((unsigned char)entry->d_name[0]) || pid == getpid ())
            continue;
        size_t size = read_environment (entry->d_name, environment);
        if (names_task (environment, size, file, all) && !kill (pid, SIGKILL))
            count++;
    }
    if (proc)
        closedir (proc);
    free (environment);
    return count;
}
