/*  storage_bench - what a durable commit costs, beside the least that it could

        storage_bench [DIR [SECONDS]]

    For batches of 1, 16 and 256 entries of 128 bytes: commits and entries a
    second of the Raft log (LMDB, strict), of the ledger's tables, and of a plain
    file that is appended to and flushed (fdatasync), which is the floor. They take
    turns in slices of a tenth of the time, so that a disk whose mood changes
    treats all alike; the ratio is what to compare between machines. DIR must be
    on the disk in question (default: the working directory). */
#include "storage/raft_log.h"
#include "storage/tables.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ENTRY = 128, BATCH_MAX = 256, SLICES = 10, CONTESTANTS = 3 };

static char data[ENTRY];
static uint64_t next_index = 1;
static uint64_t next_key;

static double now (void)
{
    struct timespec time;
    clock_gettime (CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void die (const char *what, const nexus_error_t *error)
{
    fprintf (stderr, "storage_bench: %s: %s\n", what, error ? error->text : "");
    exit (1);
}

static void commit_raft_log (void *context, size_t batch)
{
    raft_log_entry_t entries[BATCH_MAX];
    raft_log_write_t write = {.entries = entries, .count = batch};
    nexus_error_t error = {0};
    for (size_t i = 0; i < batch; i++)
        entries[i] = (raft_log_entry_t){next_index++, 1, 0, data, ENTRY};
    if (raft_log_write (context, &write, 1, &error) != 0)
        die ("raft_log", &error);
}

static void commit_tables (void *context, size_t batch)
{
    nexus_error_t error = {0};
    tables_txn_t *txn = tables_begin (context, true, &error);
    for (size_t i = 0; txn && i < batch; i++) {
        char key[24];
        snprintf (key, sizeof key, "%020llu", (unsigned long long)next_key++);
        if (tables_put (txn, 0, SLICE (key), (slice_t){data, ENTRY}, &error) != 0)
            die ("tables", &error);
    }
    if (!txn || tables_commit (&txn, &error) != 0)
        die ("tables", &error);
}

static void commit_file (void *context, size_t batch)
{
    char bytes[ENTRY * BATCH_MAX] = {0};
    int fd = *(int *)context;
    if (write (fd, bytes, ENTRY * batch) != (ssize_t)(ENTRY * batch) || fdatasync (fd) != 0)
        die ("append and fdatasync", NULL);
}

typedef struct {
    const char *name;
    void (*commit) (void *context, size_t batch);
    void *context;
    double seconds;
    size_t commits;
} contestant_t;

static void measure (contestant_t *contestants, size_t batch, double seconds)
{
    for (int i = 0; i < CONTESTANTS; i++)
        contestants[i].seconds = 0, contestants[i].commits = 0;
    for (int slice = 0; slice < SLICES * CONTESTANTS; slice++) {
        contestant_t *self = &contestants[slice % CONTESTANTS];
        double begun = now (), end = begun + seconds / SLICES;
        do {
            self->commit (self->context, batch);
            self->commits++;
        } while (now () < end);
        self->seconds += now () - begun;
    }
    double floor_rate = (double)contestants[0].commits / contestants[0].seconds;
    for (int i = 0; i < CONTESTANTS; i++) {
        double rate = (double)contestants[i].commits / contestants[i].seconds;
        printf ("%-8s %5zu %12.0f %12.0f %8.3f\n", contestants[i].name, batch, rate,
                rate * (double)batch, rate / floor_rate);
    }
}

static int remove_one (const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove (path);
}

int main (int argc, char **argv)
{
    char dir[4000], path[4100];
    static const char *const names[] = {"table"};
    double seconds = argc > 2 ? atof (argv[2]) : 1;
    nexus_error_t error = {0};
    snprintf (dir, sizeof dir, "%s/storage-bench-XXXXXX", argc > 1 ? argv[1] : ".");
    if (!mkdtemp (dir))
        die ("can't make a directory there", NULL);
    snprintf (path, sizeof path, "%s/log", dir);
    raft_log_t *log = raft_log_open (path, (size_t)16 << 30, &error);
    if (!log)
        die ("raft_log", &error);
    snprintf (path, sizeof path, "%s/tables", dir);
    tables_t *tables = tables_open (path, (size_t)16 << 30, names, 1, &error);
    if (!tables)
        die ("tables", &error);
    snprintf (path, sizeof path, "%s/file", dir);
    int fd = open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    contestant_t contestants[CONTESTANTS] = {
        {.name = "file", .commit = commit_file, .context = &fd},
        {.name = "raft_log", .commit = commit_raft_log, .context = log},
        {.name = "tables", .commit = commit_tables, .context = tables},
    };
    printf ("%-8s %5s %12s %12s %8s\n", "what", "batch", "commits/s", "entries/s", "to file");
    measure (contestants, 1, seconds);
    measure (contestants, 16, seconds);
    measure (contestants, 256, seconds);
    raft_log_close (&log);
    tables_close (&tables);
    close (fd);
    nftw (dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
