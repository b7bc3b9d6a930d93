/*  ledger - how the cluster's state lies in its tables */
#include "actors/protocol/ledger.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    const record_t *record;
} layout[LEDGER_TABLES] = {
    [LEDGER_META] = {"meta", NULL},
    [LEDGER_MASTERS] = {"masters", &master_record},
    [LEDGER_WORKERS] = {"workers", &worker_record},
    [LEDGER_NAMES] = {"names", NULL},
    [LEDGER_TOKENS] = {"tokens", &token_record},
    [LEDGER_JOBS] = {"jobs", &job_record},
    [LEDGER_TASKS] = {"tasks", &task_record},
    [LEDGER_SHARDS] = {"shards", &shard_record},
    [LEDGER_METRICS] = {"metrics", &metric_point_record},
    [LEDGER_KV] = {"kv", &kv_entry_record},
    [LEDGER_REQUESTS] = {"requests", NULL},
    [LEDGER_ACTIVE] = {"active", NULL},
    [LEDGER_HELD] = {"held", NULL},
};

const char *const ledger_table_names[LEDGER_TABLES] = {
    "meta",   "masters", "workers", "names",    "tokens", "jobs", "tasks",
    "shards", "metrics", "kv",      "requests", "active", "held",
};

const record_t *ledger_table_record (ledger_table_t table)
{
    return layout[table].record;
}

/*  ---- keys --------------------------------------------------------------- */

static void key_append (ledger_key_t *key, const void *data, size_t size)
{
    /*  Longer texts than the records allow never get here: their fields are bounded. */
    assert (size <= sizeof (key->bytes) - key->size);
    memcpy (key->bytes + key->size, data, size);
    key->size += size;
}

static void key_append_number (ledger_key_t *key, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        uint8_t byte = (uint8_t)(number >> (8 * i));
        key_append (key, &byte, 1);
    }
}

ledger_key_t ledger_key_text (const char *text)
{
    ledger_key_t key = {.size = 0};
    key_append (&key, text, strlen (text));
    return key;
}

ledger_key_t ledger_key_node (const record_key_t *node)
{
    ledger_key_t key = {.size = 0};
    key_append (&key, node->bytes, sizeof (node->bytes));
    return key;
}

ledger_key_t ledger_key_job (const char *job)
{
    ledger_key_t key = ledger_key_text (job ? job : "");
    key_append (&key, "", 1);
    return key;
}

ledger_key_t ledger_key_number (const char *job, uint64_t n)
{
    ledger_key_t key = ledger_key_job (job);
    key_append_number (&key, n, 4);
    return key;
}

ledger_key_t ledger_key_metric (const char *job, const char *name, uint64_t step)
{
    ledger_key_t key = ledger_key_job (job);
    key_append (&key, name, strlen (name) + 1);
    key_append_number (&key, step, 8);
    return key;
}

ledger_key_t ledger_key_held (const record_key_t *worker, const char *job, bool is_shard,
                              uint64_t number)
{
    ledger_key_t key = ledger_key_node (worker);
    key_append (&key, job, strlen (job) + 1);
    key_append (&key, is_shard ? "\1" : "\0", 1);
    key_append_number (&key, number, 4);
    return key;
}

slice_t ledger_slice (const ledger_key_t *key)
{
    return key ? (slice_t){key->bytes, key->size} : (slice_t){NULL, 0};
}

/*  ---- reading ------------------------------------------------------------ */

int ledger_get (tables_txn_t *txn, ledger_table_t table, ledger_key_t key, arena_t *arena,
                void *value, nexus_error_t *error)
{
    slice_t found;
    if (!key.size || !tables_get (txn, table, ledger_slice (&key), &found))
        return 0;
    if (record_decode (layout[table].record, found.data, found.size, arena, value, error)) {
        nexus_error_prefix (error, "ledger table %s: ", layout[table].name);
        if (error)
            error->code = NEXUS_CORRUPT;
        return -1;
    }
    return 1;
}

typedef struct {
    const record_t *record;
    arena_t *arena;
    char *items;
    size_t count, room, limit;
    slice_t after;
    nexus_error_t *error;
    bool failed;
} listing_t;

static bool list_one (void *context, slice_t key, slice_t value)
{
    listing_t *self = context;
    if (self->after.size == key.size && !memcmp (self->after.data, key.data, key.size))
        return true;
    if (self->count == self->room) {
        size_t room = self->room ? self->room * 2 : 16;
        char *items = arena_alloc (self->arena, room * self->record->size);
        if (!items) {
            nexus_error_set (self->error, NEXUS_EXHAUSTED, "the list is too long for memory");
            self->failed = true;
            return false;
        }
        if (self->count)
            memcpy (items, self->items, self->count * self->record->size);
        self->items = items;
        self->room = room;
    }
    if (record_decode (self->record, value.data, value.size, self->arena,
                       self->items + self->count * self->record->size, self->error)) {
        if (self->error)
            self->error->code = NEXUS_CORRUPT;
        self->failed = true;
        return false;
    }
    self->count++;
    return !self->limit || self->count < self->limit;
}

int ledger_list (tables_txn_t *txn, ledger_table_t table, const ledger_key_t *prefix,
                 const ledger_key_t *after, size_t limit, arena_t *arena, void **ret_items,
                 size_t *ret_count, nexus_error_t *error)
{
    listing_t listing = {.record = layout[table].record,
                         .arena = arena,
                         .limit = limit,
                         .after = ledger_slice (after),
                         .error = error};
    tables_each (txn, table, ledger_slice (prefix), ledger_slice (after), list_one, &listing);
    if (listing.failed)
        return nexus_error_prefix (error, "ledger table %s: ", layout[table].name);
    *ret_items = listing.items;
    *ret_count = listing.count;
    return 0;
}

int ledger_get_job (tables_txn_t *txn, const char *id, arena_t *arena, job_t *value,
                    nexus_error_t *error)
{
    if (!id || strlen (id) > 63)
        return 0;
    return ledger_get (txn, LEDGER_JOBS, ledger_key_text (id), arena, value, error);
}

int ledger_list_tasks (tables_txn_t *txn, const char *job, arena_t *arena, task_t **ret_tasks,
                       size_t *ret_count, nexus_error_t *error)
{
    ledger_key_t prefix = ledger_key_job (job);
    return ledger_list (txn, LEDGER_TASKS, &prefix, NULL, 0, arena, (void **)ret_tasks, ret_count,
                        error);
}

int ledger_list_shards (tables_txn_t *txn, const char *job, arena_t *arena, shard_t **ret_shards,
                        size_t *ret_count, nexus_error_t *error)
{
    ledger_key_t prefix = ledger_key_job (job);
    return ledger_list (txn, LEDGER_SHARDS, &prefix, NULL, 0, arena, (void **)ret_shards, ret_count,
                        error);
}

int ledger_list_workers (tables_txn_t *txn, arena_t *arena, worker_t **ret_workers,
                         size_t *ret_count, nexus_error_t *error)
{
    return ledger_list (txn, LEDGER_WORKERS, NULL, NULL, 0, arena, (void **)ret_workers, ret_count,
                        error);
}

int ledger_find_worker (tables_txn_t *txn, const char *name, arena_t *arena, worker_t *value,
                        nexus_error_t *error)
{
    slice_t found;
    if (!name || !*name || strlen (name) > 63 ||
        !tables_get (txn, LEDGER_NAMES, SLICE (name), &found) || found.size != 32)
        return 0;
    record_key_t key;
    memcpy (key.bytes, found.data, 32);
    return ledger_get (txn, LEDGER_WORKERS, ledger_key_node (&key), arena, value, error);
}

uint64_t ledger_number (tables_txn_t *txn, const char *name)
{
    slice_t found;
    uint64_t number = 0;
    if (tables_get (txn, LEDGER_META, SLICE (name), &found) && found.size == 8)
        for (size_t i = 0; i < 8; i++)
            number = number << 8 | ((const uint8_t *)found.data)[i];
    return number;
}

int ledger_get_conf (tables_txn_t *txn, arena_t *arena, cluster_conf_t *value, nexus_error_t *error)
{
    slice_t found;
    *value = (cluster_conf_t){.index = 0};
    if (!tables_get (txn, LEDGER_META, SLICE (LEDGER_CONF), &found))
        return 0;
    if (record_decode (&cluster_conf_record, found.data, found.size, arena, value, error)) {
        nexus_error_prefix (error, "ledger table meta, conf: ");
        if (error)
            error->code = NEXUS_CORRUPT;
        return -1;
    }
    return 0;
}

void command_encode (const record_t *kind, const void *value, buffer_t *out)
{
    uint8_t id[2] = {(uint8_t)(kind->id >> 8), (uint8_t)kind->id};
    buffer_append (out, id, 2);
    record_encode (kind, value, out);
}

uint64_t command_propose (context_t *ctx, const record_t *kind, const void *value)
{
    return command_propose_once (ctx, kind, value, &(once_t){0});
}

uint64_t command_propose_once (context_t *ctx, const record_t *kind, const void *value,
                               const once_t *once)
{
    enum { TIMEOUT_MS = 5000 };
    buffer_t bytes = {0};
    command_encode (kind, value, &bytes);
    propose_t request = {.command = {bytes.data, bytes.size},
                         .client = once->client,
                         .sequence = once->sequence,
                         .after = once->after};
    address_t election = address_local ("election", 0);
    uint64_t id = context_request (ctx, &election, &propose_record, &request, TIMEOUT_MS);
    buffer_free (&bytes);
    return id;
}
