/*  ledger_world - a ledger in memory for tests: commands in, records out, and what must always hold
 */
#pragma once

#include "actors/ledger/apply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  Fuzz targets use this too: no cmocka here. */
#define WORLD_FAIL(...) (fprintf (stderr, __VA_ARGS__), fputc ('\n', stderr), abort ())

typedef struct {
    tables_t *tables;
    requests_t *requests;
    uint64_t index; /* of the command applied last */
    arena_t arena;  /* of what was read; until the end of the test */
    uint64_t changed;
    char value[LEDGER_VALUE_MAX];
    nexus_error_t error;
} ledger_world_t;

static inline record_key_t key_of (unsigned n)
{
    record_key_t key = {{0}};
    key.bytes[0] = (uint8_t)(n >> 8);
    key.bytes[1] = (uint8_t)n;
    key.bytes[31] = 1;
    return key;
}

static inline void ledger_world_init (ledger_world_t *self)
{
    *self = (ledger_world_t){.tables = tables_open_memory (ledger_table_names, LEDGER_TABLES),
                             .requests = requests_new (1)};
    arena_init (&self->arena, 0, NULL, 0);
}

static inline void ledger_world_clear (ledger_world_t *self)
{
    requests_destroy (&self->requests);
    tables_close (&self->tables);
    arena_reset (&self->arena);
}

/*  ---- commands in ----------------------------------------------------------- */

/*  The code of a refusal; NEXUS_OK if it was applied. As the ledger actor does it. */
static inline nexus_code_t ledger_world_apply_bytes (ledger_world_t *self, const uint8_t *data,
                                                     size_t size)
{
    nexus_error_t error = {NEXUS_OK, ""};
    tables_txn_t *txn = tables_begin (self->tables, true, &error);
    ledger_writer_t writer = {.txn = txn, .requests = self->requests};
    int rc = ledger_apply (&writer, ++self->index, (slice_t){data, size}, self->value, &error);
    self->changed = writer.changed;
    if (writer.fatal || requests_flush (self->requests, txn, &error))
        WORLD_FAIL ("the tables failed: %s", error.text);
    if (rc && (error.code == NEXUS_OK || !error.text[0] || self->changed))
        WORLD_FAIL ("a refusal without a reason, or with a trace: %s", error.text);
    if (tables_commit (&txn, NULL))
        WORLD_FAIL ("the tables can't commit");
    self->error = error;
    return rc ? error.code : NEXUS_OK;
}

/*  The tables say that they have everything up to world->index, as the ledger actor has them say. */
static inline void ledger_world_mark (ledger_world_t *self)
{
    uint8_t index[8];
    for (int i = 0; i < 8; i++)
        index[i] = (uint8_t)(self->index >> (56 - 8 * i));
    tables_txn_t *txn = tables_begin (self->tables, true, NULL);
    if (tables_put (txn, LEDGER_META, SLICE (LEDGER_APPLIED), (slice_t){index, 8}, NULL) ||
        tables_commit (&txn, NULL))
        WORLD_FAIL ("the tables can't commit");
}

static inline nexus_code_t ledger_world_apply (ledger_world_t *self, const record_t *kind,
                                               const void *command)
{
    buffer_t bytes = {0};
    command_encode (kind, command, &bytes);
    nexus_code_t code = ledger_world_apply_bytes (self, bytes.data, bytes.size);
    buffer_free (&bytes);
    return code;
}

#define COMMAND(world, kind, ...) \
    ledger_world_apply (world, &kind##_record, &(kind##_t){__VA_ARGS__})

/*  ---- records out ------------------------------------------------------------ */

static inline bool ledger_world_get (ledger_world_t *self, ledger_table_t table, ledger_key_t key,
                                     void *value)
{
    tables_txn_t *txn = tables_begin (self->tables, false, NULL);
    nexus_error_t error;
    int found = ledger_get (txn, table, key, &self->arena, value, &error);
    tables_abort (&txn);
    if (found < 0)
        WORLD_FAIL ("%s", error.text);
    return found > 0;
}

static inline job_t ledger_world_job (ledger_world_t *self, const char *id)
{
    job_t job;
    if (!ledger_world_get (self, LEDGER_JOBS, ledger_key_text (id), &job))
        WORLD_FAIL ("no job %s", id);
    return job;
}

static inline task_t ledger_world_task (ledger_world_t *self, const char *job, uint64_t rank)
{
    task_t task;
    if (!ledger_world_get (self, LEDGER_TASKS, ledger_key_number (job, rank), &task))
        WORLD_FAIL ("no rank %" PRIu64 " of %s", rank, job);
    return task;
}

static inline shard_t ledger_world_shard (ledger_world_t *self, const char *job, uint64_t index)
{
    shard_t shard;
    if (!ledger_world_get (self, LEDGER_SHARDS, ledger_key_number (job, index), &shard))
        WORLD_FAIL ("no shard %" PRIu64 " of %s", index, job);
    return shard;
}

static inline worker_t ledger_world_worker (ledger_world_t *self, unsigned n)
{
    worker_t worker;
    record_key_t key = key_of (n);
    if (!ledger_world_get (self, LEDGER_WORKERS, ledger_key_node (&key), &worker))
        WORLD_FAIL ("no worker %u", n);
    return worker;
}

/*  ---- what must always hold --------------------------------------------------- */

static inline bool same_key (const record_key_t *a, const record_key_t *b)
{
    return memcmp (a, b, sizeof (*a)) == 0;
}

static inline const char *ledger_world_check_job (tables_txn_t *txn, const job_t *job,
                                                  arena_t *arena, size_t *held)
{
    nexus_error_t error;
    task_t *tasks;
    shard_t *shards;
    slice_t found;
    size_t task_count, shard_count;
    ledger_key_t id = ledger_key_text (job->id);
    if (ledger_list_tasks (txn, job->id, arena, &tasks, &task_count, &error) ||
        ledger_list_shards (txn, job->id, arena, &shards, &shard_count, &error))
        return arena_strdup (arena, error.text);
    bool ended = job_phase_ended ((job_phase_t)job->phase);
    if (tables_get (txn, LEDGER_ACTIVE, ledger_slice (&id), &found) == ended)
        return "active is wrong";
    if (!task_count || (job->epoch && task_count < job->spec.gang.min))
        return "a job has too few ranks";
    for (size_t i = 0; i < task_count; i++) {
        bool holds = tasks[i].phase == TASK_ASSIGNED || tasks[i].phase == TASK_RUNNING;
        ledger_key_t key = ledger_key_held (&tasks[i].worker, job->id, false, i);
        if (tasks[i].rank != i)
            return "ranks have a gap";
        if (tables_get (txn, LEDGER_HELD, ledger_slice (&key), &found) != holds)
            return "held is wrong about a rank";
        if (holds && (ended || record_key_is_zero (&tasks[i].worker)))
            return "a rank runs nowhere, or after its job's end";
        *held += holds;
    }
    for (size_t i = 0; i < shard_count; i++) {
        bool holds = shards[i].phase != SHARD_WAITING;
        ledger_key_t key = ledger_key_held (&shards[i].worker, job->id, true, i);
        if (shards[i].index != i || (holds && ended))
            return "a shard has a gap, or serves after its job's end";
        if (tables_get (txn, LEDGER_HELD, ledger_slice (&key), &found) != holds)
            return "held is wrong about a shard";
        *held += holds;
    }
    return NULL;
}

typedef struct {
    const worker_t *worker;
    resources_t sum;
    bool broken;
} ledger_world_claims_t;

static inline bool ledger_world_add (void *context, slice_t key, slice_t value)
{
    ledger_world_claims_t *claims = context;
    resources_t claim;
    (void)key;
    if (!value.size)
        return true;
    if (record_decode (&resources_record, value.data, value.size, NULL, &claim, NULL)) {
        claims->broken = true;
        return false;
    }
    claims->sum.cpu += claim.cpu;
    claims->sum.memory += claim.memory;
    claims->sum.gpus += claim.gpus;
    return true;
}

/*  Every record is readable, the indexes say what the records say, and no worker
    has more than fits. NULL, or what is wrong. strict: workers never shrink. */
static inline const char *ledger_world_check (tables_t *tables, arena_t *arena, bool strict)
{
    nexus_error_t error;
    job_t *jobs;
    worker_t *workers;
    void *others;
    size_t count, worker_count, held = 0, other_count;
    const char *wrong = NULL;
    tables_txn_t *txn = tables_begin (tables, false, NULL);
    if (ledger_list (txn, LEDGER_JOBS, NULL, NULL, 0, arena, (void **)&jobs, &count, &error) ||
        ledger_list_workers (txn, arena, &workers, &worker_count, &error) ||
        ledger_list (txn, LEDGER_TOKENS, NULL, NULL, 0, arena, &others, &other_count, &error) ||
        ledger_list (txn, LEDGER_MASTERS, NULL, NULL, 0, arena, &others, &other_count, &error) ||
        ledger_list (txn, LEDGER_METRICS, NULL, NULL, 0, arena, &others, &other_count, &error))
        wrong = arena_strdup (arena, error.text);
    for (size_t i = 0; !wrong && i < count; i++)
        wrong = ledger_world_check_job (txn, &jobs[i], arena, &held);
    if (!wrong && held != tables_count (txn, LEDGER_HELD))
        wrong = "held has more than there is";
    if (!wrong && tables_count (txn, LEDGER_NAMES) != worker_count)
        wrong = "names and workers differ";
    for (size_t i = 0; !wrong && i < worker_count; i++) {
        ledger_world_claims_t claims = {.worker = &workers[i]};
        tables_each (txn, LEDGER_HELD, (slice_t){workers[i].key.bytes, 32}, (slice_t){NULL, 0},
                     ledger_world_add, &claims);
        const resources_t *room = &workers[i].resources;
        if (claims.broken)
            wrong = "a claim is not readable";
        else if (strict && (claims.sum.cpu > room->cpu + 1e-6 || claims.sum.memory > room->memory ||
                            claims.sum.gpus > room->gpus))
            wrong = "a worker has more than fits";
        else if (workers[i].state != WORKER_ACTIVE && (claims.sum.cpu > 0))
            wrong = "a worker that is lost or drained holds ranks";
    }
    tables_abort (&txn);
    return wrong;
}

static inline void ledger_world_expect_sound (ledger_world_t *self)
{
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    const char *wrong = ledger_world_check (self->tables, &arena, true);
    if (wrong)
        WORLD_FAIL ("%s", wrong);
    arena_reset (&arena);
}

static inline bool ledger_world_dump_one (void *context, slice_t key, slice_t value)
{
    buffer_t *out = context;
    buffer_append (out, &key.size, sizeof (key.size));
    buffer_append (out, key.data, key.size);
    buffer_append (out, &value.size, sizeof (value.size));
    if (value.size)
        buffer_append (out, value.data, value.size);
    return true;
}

/*  All tables as bytes. */
static inline void ledger_world_dump (tables_t *tables, buffer_t *out)
{
    tables_txn_t *txn = tables_begin (tables, false, NULL);
    for (size_t table = 0; table < LEDGER_TABLES; table++) {
        size_t count = tables_count (txn, table);
        buffer_append (out, &count, sizeof (count));
        tables_each (txn, table, (slice_t){NULL, 0}, (slice_t){NULL, 0}, ledger_world_dump_one,
                     out);
    }
    tables_abort (&txn);
}
