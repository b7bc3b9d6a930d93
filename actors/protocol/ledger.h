/*  ledger - how the cluster's state lies in its tables

    The tables, their keys and the records that they hold. The ledger actor
    writes them by applying commands; any actor of the master reads them through
    a snapshot of its own.

        table        key                            value
        meta         name                           8 bytes, big endian; "conf": cluster_conf
        masters      32 bytes: public key           master
        workers      32 bytes: public key           worker
        names        worker's name                  32 bytes: its key
        tokens       32 bytes: public key           token
        jobs         job id                         job
        tasks        job id, 0, rank (4 bytes)      task
        shards       job id, 0, index (4 bytes)     shard
        metrics      job id, 0, name, 0, step (8)   metric_point
        kv           key                            kv_entry
        requests     0 or 1, row number (8)         what was done for whom: actors/ledger/requests.h
        active       job id                         nothing
        held         worker's key, job id, 0,       resources (of a rank)
                     0 or 1, number (4)             or nothing (1: of a shard)

    The last two are indexes that applying commands keeps: the jobs that have not
    ended, and what each worker holds. Numbers in keys are big endian, so that keys sort by them.
*/
#pragma once

#include "actors/protocol/command.h"
#include "runtime/behaviour.h"
#include "storage/tables.h"

typedef enum {
    LEDGER_META,
    LEDGER_MASTERS,
    LEDGER_WORKERS,
    LEDGER_NAMES,
    LEDGER_TOKENS,
    LEDGER_JOBS,
    LEDGER_TASKS,
    LEDGER_SHARDS,
    LEDGER_METRICS,
    LEDGER_KV,
    LEDGER_REQUESTS,
    LEDGER_ACTIVE,
    LEDGER_HELD,
    LEDGER_TABLES
} ledger_table_t;

/*  For tables_open. */
extern const char *const ledger_table_names[LEDGER_TABLES];

/*  What a table's values are; NULL: no record (see above). */
const record_t *ledger_table_record (ledger_table_t table);

/*  A key of any table, built by the functions below. */
typedef struct {
    uint8_t bytes[400];
    size_t size;
} ledger_key_t;

ledger_key_t ledger_key_text (const char *text);              /* jobs, names, meta, kv */
ledger_key_t ledger_key_node (const record_key_t *node);      /* masters, workers, tokens */
ledger_key_t ledger_key_number (const char *job, uint64_t n); /* tasks, shards */
ledger_key_t ledger_key_metric (const char *job, const char *name, uint64_t step);
/*  What all keys of a job in tasks, shards and metrics begin with. */
ledger_key_t ledger_key_job (const char *job);
/*  A rank (or a shard) of a job on a worker, in held. */
ledger_key_t ledger_key_held (const record_key_t *worker, const char *job, bool is_shard,
                              uint64_t number);
slice_t ledger_slice (const ledger_key_t *key);

/*  Reads a record (of the table's type) into *value, its memory in the arena.
    1: found; 0: not there; -1: there, but not readable (the disk lied). */
int ledger_get (tables_txn_t *txn, ledger_table_t table, ledger_key_t key, arena_t *arena,
                void *value, nexus_error_t *error);

/*  All records whose key begins with prefix (NULL: all), as an array in the
    arena, at most limit (0: no limit) and only keys after `after` (NULL: from
    the first). -1 if one is not readable. */
int ledger_list (tables_txn_t *txn, ledger_table_t table, const ledger_key_t *prefix,
                 const ledger_key_t *after, size_t limit, arena_t *arena, void **ret_items,
                 size_t *ret_count, nexus_error_t *error);

/*  Typed forms: ledger_list_jobs (txn, arena, &jobs, &count, error) ... */
int ledger_get_job (tables_txn_t *txn, const char *id, arena_t *arena, job_t *value,
                    nexus_error_t *error);
int ledger_list_tasks (tables_txn_t *txn, const char *job, arena_t *arena, task_t **ret_tasks,
                       size_t *ret_count, nexus_error_t *error);
int ledger_list_shards (tables_txn_t *txn, const char *job, arena_t *arena, shard_t **ret_shards,
                        size_t *ret_count, nexus_error_t *error);
int ledger_list_workers (tables_txn_t *txn, arena_t *arena, worker_t **ret_workers,
                         size_t *ret_count, nexus_error_t *error);
int ledger_find_worker (tables_txn_t *txn, const char *name, arena_t *arena, worker_t *value,
                        nexus_error_t *error);

/*  A number of the meta table; 0 if it is not there. */
uint64_t ledger_number (tables_txn_t *txn, const char *name);
/*  Log index up to which commands are applied. */
#define LEDGER_APPLIED      "applied"
#define LEDGER_APPLIED_TERM "applied_term"
/*  The configuration in force, in meta; no members if there is none yet. -1: it is not readable. */
#define LEDGER_CONF "conf"
int ledger_get_conf (tables_txn_t *txn, arena_t *arena, cluster_conf_t *value,
                     nexus_error_t *error);
/*  Bytes of keys and values in kv, and their limit: what clients write there must not fill the
    disks of the masters. */
#define LEDGER_KV_BYTES     "kv_bytes"
#define LEDGER_KV_BYTES_MAX (UINT64_C (1) << 30)

/*  A command as it stands in the log: appends kind and record. */
void command_encode (const record_t *kind, const void *value, buffer_t *out);

/*  Asks this master's election to append a command. The reply with the returned
    correlation is a proposed or a failure (NEXUS_DEADLINE after 5 seconds). */
uint64_t command_propose (context_t *ctx, const record_t *kind, const void *value);
/*  The same for a request that may be repeated; of once, command means nothing. */
uint64_t command_propose_once (context_t *ctx, const record_t *kind, const void *value,
                               const once_t *once);
