/*  restore - nexus restore: masters' directories out of a backup

    Works on files alone. What is made is a Raft log that begins behind the backup, and
    a ledger that is the backup but for who the masters are: those of the configuration. */
#include "actors/node/node.h"
#include "actors/protocol/ledger.h"
#include "actors/snapshots/snapshot_files.h"
#include "cli/command.h"
#include "storage/raft_log.h"
#include "transport/identity.h"

#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define MAP_SIZE ((size_t)16 << 30)

/*  By how much the terms go on above the backup's. */
#define TERMS 1000000

static const option_t restore_options[] = {
    {"config", 'c', "FILE", {NULL}, NULL, "The configuration of the master to make."},
    {"dir", 'd', "DIR", {"NEXUS_DIR"}, NULL, "A directory of nexus up: make all its masters."},
    {"gap", 0, "N", {NULL}, "1000000000", "How far log indexes jump ahead of the backup's."},
    {0},
};

/*  What becomes of the backup's index and term. */
typedef struct {
    const char *file;
    snapshot_info_t copy;
    uint64_t index;
    uint64_t term;
} restore_t;

static int put_number (tables_txn_t *txn, const char *name, uint64_t number, nexus_error_t *error)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    return tables_put (txn, LEDGER_META, SLICE (name), (slice_t){bytes, 8}, error);
}

static bool first_key (void *context, slice_t key, slice_t value)
{
    (void)value;
    buffer_append (context, key.data, key.size);
    return false;
}

/*  The masters are those of the configuration: the ledger forgets the others, as it knew none
    when the cluster was new. */
static int rewrite (tables_t *tables, const restore_t *restore, nexus_error_t *error)
{
    tables_txn_t *txn = tables_begin (tables, true, error);
    if (!txn)
        return -1;
    buffer_t key = {0};
    while (tables_each (txn, LEDGER_MASTERS, (slice_t){0}, (slice_t){0}, first_key, &key)) {
        tables_delete (txn, LEDGER_MASTERS, (slice_t){key.data, key.size});
        buffer_clear (&key);
    }
    buffer_free (&key);
    tables_delete (txn, LEDGER_META, SLICE (LEDGER_CONF));
    if (put_number (txn, LEDGER_APPLIED, restore->index, error) ||
        put_number (txn, LEDGER_APPLIED_TERM, restore->term, error)) {
        tables_abort (&txn);
        return -1;
    }
    return tables_commit (&txn, error);
}

static int make_ledger (const char *dir, const restore_t *restore, nexus_error_t *error)
{
    char ledger[1200], copy[1300];
    snprintf (ledger, sizeof (ledger), "%s/ledger", dir);
    snprintf (copy, sizeof (copy), "%s/snapshot", ledger);
    tables_t *tables =
        tables_open_cache (ledger, MAP_SIZE, ledger_table_names, LEDGER_TABLES, NULL, error);
    if (!tables)
        return -1;
    int rc = tables_replace (tables, restore->file, error);
    if (rc == 0)
        rc = rewrite (tables, restore, error);
    if (rc == 0)
        rc = tables_copy (tables, copy, error);
    tables_close (&tables);
    return rc;
}

static int make_log (const char *dir, const restore_t *restore, nexus_error_t *error)
{
    char path[1200];
    snprintf (path, sizeof (path), "%s/log", dir);
    raft_log_t *log = raft_log_open (path, MAP_SIZE, error);
    if (!log)
        return -1;
    raft_log_write_t write = {.snapshot_index = restore->index, .snapshot_term = restore->term};
    int rc = raft_log_write (log, &write, 1, error);
    raft_log_close (&log);
    return rc;
}

/*  Nothing is ever overwritten. */
static int check_free (const char *dir, nexus_error_t *error)
{
    static const char *const names[] = {"log", "ledger"};
    char path[1200];
    for (size_t i = 0; i < 2; i++) {
        snprintf (path, sizeof (path), "%s/%s", dir, names[i]);
        if (access (path, F_OK) == 0)
            return nexus_error_set (error, NEXUS_EXISTS,
                                    "%s is there already: move it away, if it is not needed any "
                                    "more",
                                    path);
    }
    return 0;
}

static int check_config (const master_config_t *config, keypair_t *key, nexus_error_t *error)
{
    char path[1200], hex[65];
    if (config->join)
        return nexus_error_set (
            error, NEXUS_INVALID,
            "join: a master that joins others gets everything from them, and "
            "nothing is restored there; of one that begins the restored cluster, "
            "take `join: true` out of the configuration");
    snprintf (path, sizeof (path), "%s/node.key", config->dir);
    if (keypair_load_or_generate (key, path, error))
        return -1;
    key_to_hex (&key->public_key, hex);
    for (size_t i = 0; i < config->masters.count; i++)
        if (strcmp (config->masters.items[i].name, config->name) == 0 &&
            key_equal (&config->masters.items[i].key, &key->public_key))
            return 0;
    return nexus_error_set (error, NEXUS_INVALID,
                            "masters: \"%s\" is not among them with the key of %s; put it there: "
                            "%s",
                            config->name, path, hex);
}

/*  Whom the old cluster began with; its first start notes those of the configuration. */
static void forget_founders (const char *dir)
{
    char path[1200];
    snprintf (path, sizeof (path), "%s/founders", dir);
    unlink (path);
}

static int remove_one (const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status, (void)kind, (void)at;
    return remove (path);
}

/*  Nothing of it was there before. */
static void remove_made (const char *dir)
{
    static const char *const names[] = {"log", "ledger"};
    char path[1200];
    for (size_t i = 0; i < 2; i++) {
        snprintf (path, sizeof (path), "%s/%s", dir, names[i]);
        (void)nftw (path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/*  One master, whole or not at all. Unless really, only whether it could be. */
static int restore_master (const char *file, const restore_t *restore, bool really,
                           nexus_error_t *error)
{
    arena_t arena;
    master_config_t config;
    keypair_t key;
    arena_init (&arena, 0, NULL, 0);
    int rc = node_config_load (&master_config_record, file, NULL, &arena, &config, error);
    int lock = rc ? -1 : node_dir_take (config.dir, error);
    rc = lock < 0 ? -1 : check_config (&config, &key, error);
    if (rc == 0)
        rc = check_free (config.dir, error);
    if (rc == 0 && really) {
        forget_founders (config.dir);
        /*  The log last: a ledger without a log is refused, and says so. */
        rc = make_ledger (config.dir, restore, error);
        if (rc == 0)
            rc = make_log (config.dir, restore, error);
        if (rc)
            remove_made (config.dir);
    }
    if (rc == 0 && really)
        printf ("%s: %s goes on at log index %" PRIu64 "\n", config.dir, config.name,
                restore->index + 1);
    if (lock >= 0)
        close (lock);
    arena_reset (&arena);
    return rc;
}

static int restore_dir (const char *dir, const restore_t *restore, nexus_error_t *error)
{
    char pattern[1200];
    glob_t found = {0};
    snprintf (pattern, sizeof (pattern), "%s/m*/master.yaml", dir);
    if (glob (pattern, 0, NULL, &found) != 0)
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "%s is no directory of nexus up: no m1/master.yaml is in it", dir);
    int rc = 0;
    for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
        rc = restore_master (found.gl_pathv[i], restore, false, error);
    for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
        rc = restore_master (found.gl_pathv[i], restore, true, error);
    globfree (&found);
    return rc;
}

static int run_restore (options_t *options)
{
    nexus_error_t error = {NEXUS_OK, ""};
    const char *config = options_text (options, "config"), *dir = options_text (options, "dir");
    char *end;
    uint64_t gap = strtoull (options_text (options, "gap"), &end, 10);
    restore_t restore = {.file = options_argument (options, 0)};
    if (*end || gap == 0 || gap > UINT64_C (1) << 60) {
        fprintf (stderr, "nexus restore: --gap is a number from 1 on\n");
        return EX_USAGE;
    }
    if (config && options_source (options, "dir") == OPTION_COMMAND_LINE) {
        fprintf (stderr, "nexus restore: --config FILE of one master, or --dir DIR: not both\n");
        return EX_USAGE;
    }
    if (!config && !dir) {
        fprintf (stderr,
                 "nexus restore: give --config FILE of a master, or --dir DIR of nexus up\n");
        return EX_USAGE;
    }
    if (snapshot_files_describe (restore.file, true, &restore.copy, &error))
        return command_fail_input (&error);
    restore.index = restore.copy.index + gap;
    restore.term = restore.copy.term + TERMS;
    int rc = config ? restore_master (config, &restore, true, &error)
                    : restore_dir (dir, &restore, &error);
    return rc ? command_fail (&error) : 0;
}

const command_t command_restore = {
    "restore",
    "FILE",
    "Make masters out of a backup, when all are lost",
    "For one master by its configuration, or for all of a directory of nexus up. No\n"
    "master may run, and none of the old ones ever again. The configuration says who\n"
    "the masters are: either restore one that stands there alone, and let the others\n"
    "join it (nexus master add); or restore every one of them from the same file.\n"
    "Workers, jobs, tokens and the key-value store are as they were in the backup;\n"
    "log indexes jump ahead, so that no version or event number comes twice. The\n"
    "directory must not have a log or a ledger yet; its node.key and the file of\n"
    "the root key should be the old ones: workers know the masters by their keys.",
    restore_options,
    1,
    1,
    run_restore};
