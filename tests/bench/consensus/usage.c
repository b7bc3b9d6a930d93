#include "tests/bench/consensus/usage.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*  Documentation/admin-guide/iostats.rst: fields 5 and 7 are writes and sectors written, 16
 * flushes. */
static int read_stat (const char *path, usage_disk_t *ret_disk)
{
    unsigned long long f[17] = {0};
    FILE *file = fopen (path, "re");
    if (!file)
        return -1;
    int count = 0;
    while (count < 17 && fscanf (file, "%llu", &f[count]) == 1)
        count++;
    fclose (file);
    *ret_disk = (usage_disk_t){.flushes = f[15], .writes = f[4], .bytes = f[6] * 512};
    return count >= 16 ? 0 : -1;
}

int usage_disk (const char *path, usage_disk_t *ret_disk)
{
    struct stat status;
    char file[128];
    if (stat (path, &status))
        return -1;
    unsigned disk = major (status.st_dev), part = minor (status.st_dev);
    /* Flushes are counted for the whole disk, not for its partitions. */
    snprintf (file, sizeof (file), "/sys/dev/block/%u:%u/../stat", disk, part);
    struct stat parent;
    char probe[128];
    snprintf (probe, sizeof (probe), "/sys/dev/block/%u:%u/partition", disk, part);
    if (stat (probe, &parent))
        snprintf (file, sizeof (file), "/sys/dev/block/%u:%u/stat", disk, part);
    return read_stat (file, ret_disk);
}

static uint64_t field_kib (const char *text, const char *name)
{
    unsigned long long value = 0;
    const char *at = strstr (text, name);
    if (at)
        sscanf (at + strlen (name), " %llu", &value);
    return value * 1024;
}

void usage_process (pid_t pid, usage_process_t *ret_process)
{
    char path[64], text[4096];
    memset (ret_process, 0, sizeof (*ret_process));
    snprintf (path, sizeof (path), "/proc/%d/status", (int)pid);
    FILE *file = fopen (path, "re");
    if (!file)
        return;
    text[fread (text, 1, sizeof (text) - 1, file)] = 0;
    fclose (file);
    ret_process->resident = field_kib (text, "VmRSS:");
    ret_process->anonymous = field_kib (text, "RssAnon:");
    snprintf (path, sizeof (path), "/proc/%d/stat", (int)pid);
    file = fopen (path, "re");
    if (!file)
        return;
    text[fread (text, 1, sizeof (text) - 1, file)] = 0;
    fclose (file);
    unsigned long long user = 0, system = 0;
    const char *at = strrchr (text, ')'); /* the name may hold anything */
    if (at)
        sscanf (at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system);
    ret_process->cpu_seconds = (double)(user + system) / (double)sysconf (_SC_CLK_TCK);
}
