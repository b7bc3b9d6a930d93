/*  ledger_bench - what applying a command costs, on LMDB

        ledger_bench [DIR [SECONDS]]

    kv_put of 256 bytes over 10,000 keys by 100 clients, in transactions of 1, 16, 256 and
    1,024 commands, without and with the memory of what was done for whom (a once). Time of
    this thread's processor, on tables as a master's ledger has them. DIR must not exist
    (default: ./ledger_bench.tmp); it is removed at the end. */
#include "actors/ledger/apply.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 10000, CLIENTS = 100, VALUE = 256 };

static uint64_t next_index;

static double used_seconds (void)
{
    struct timespec time;
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void die (const nexus_error_t *error)
{
    fprintf (stderr, "ledger_bench: %s\n", error->text);
    exit (1);
}

static void build (uint64_t index, bool once, buffer_t *inner, buffer_t *command)
{
    static const uint8_t value[VALUE] = {1};
    char key[32];
    snprintf (key, sizeof (key), "key/%08llu",
              (unsigned long long)(index * UINT64_C (2654435761) % KEYS));
    buffer_clear (inner);
    buffer_clear (command);
    command_encode (&kv_put_record, &(kv_put_t){.key = key, .value = {value, VALUE}}, inner);
    once_t asked = {.client = 1 + index % CLIENTS,
                    .sequence = index,
                    .after = index > 1000 ? index - 1000 : 0,
                    .command = {inner->data, inner->size}};
    if (once)
        command_encode (&once_record, &asked, command);
    else
        buffer_append (command, inner->data, inner->size);
}

static void measure (tables_t *tables, requests_t *requests, size_t batch, bool once,
                     double seconds)
{
    enum { BATCH_MAX = 1024 };
    static buffer_t commands[BATCH_MAX];
    buffer_t inner = {0};
    nexus_error_t error;
    char text[LEDGER_VALUE_MAX];
    double used = 0;
    uint64_t done = 0;
    while (used < seconds) {
        for (size_t i = 0; i < batch; i++)
            build (next_index + 1 + i, once, &inner, &commands[i]);
        double begun = used_seconds ();
        tables_txn_t *txn = tables_begin (tables, true, &error);
        if (!txn)
            die (&error);
        ledger_writer_t writer = {.txn = txn, .requests = requests};
        for (size_t i = 0; i < batch; i++)
            if (ledger_apply (&writer, ++next_index, (slice_t){commands[i].data, commands[i].size},
                              text, &error))
                die (&error);
        if (requests_flush (requests, txn, &error) || tables_commit (&txn, &error))
            die (&error);
        used += used_seconds () - begun;
        done += batch;
    }
    printf ("%5zu a transaction, %s: %8.0f/s  %6.0f ns each\n", batch, once ? "once " : "plain",
            (double)done / used, used / (double)done * 1e9);
    buffer_free (&inner);
}

static int remove_one (const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove (path);
}

int main (int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "ledger_bench.tmp";
    double seconds = argc > 2 ? atof (argv[2]) : 1;
    static const size_t batches[] = {1, 16, 256, 1024};
    nexus_error_t error;
    tables_t *tables =
        tables_open_cache (dir, (size_t)4 << 30, ledger_table_names, LEDGER_TABLES, NULL, &error);
    if (!tables)
        die (&error);
    requests_t *requests = requests_new (1);
    for (size_t i = 0; i < 8; i++)
        measure (tables, requests, batches[i / 2], i % 2, seconds);
    requests_destroy (&requests);
    tables_close (&tables);
    (void)nftw (dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
