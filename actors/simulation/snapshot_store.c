/*  snapshot_store - copies of a ledger on the simulator's disk: see the header. */
#include "actors/simulation/snapshot_store.h"

#include "actors/protocol/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*  ---- tables as bytes --------------------------------------------------------------- */

/*  What stands before each entry. */
typedef struct {
    uint32_t table, key_size, value_size;
} copy_head_t;

typedef struct {
    buffer_t *bytes;
    uint32_t table;
} writer_t;

static bool write_entry (void *context, slice_t key, slice_t value)
{
    writer_t *self = context;
    copy_head_t head = {self->table, (uint32_t)key.size, (uint32_t)value.size};
    buffer_append (self->bytes, &head, sizeof head);
    buffer_append (self->bytes, key.data, key.size);
    buffer_append (self->bytes, value.data, value.size);
    return true;
}

static simulated_copy_t copy_tables (tables_t *tables)
{
    nexus_error_t error;
    buffer_t bytes = {0};
    tables_txn_t *txn = tables_begin (tables, false, &error);
    assert (txn);
    for (uint32_t table = 0; table < LEDGER_TABLES; table++)
        tables_each (txn, table, (slice_t){NULL, 0}, (slice_t){NULL, 0}, write_entry,
                     &(writer_t){&bytes, table});
    simulated_copy_t copy = {.info = {.index = ledger_number (txn, LEDGER_APPLIED),
                                      .term = ledger_number (txn, LEDGER_APPLIED_TERM),
                                      .size = bytes.size},
                             .bytes = bytes.data};
    tables_abort (&txn);
    assert (!bytes.failed);
    return copy;
}

static record_key_t hash_of (const uint8_t *bytes, size_t size)
{
    record_key_t key = {{0}};
    uint64_t hash = UINT64_C (0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C (0x100000001b3);
    memcpy (key.bytes, &hash, sizeof hash);
    return key;
}

typedef struct {
    tables_txn_t *txn;
    uint32_t table;
    bool gone; /* an entry was erased: there may be more */
} eraser_t;

static bool first_key (void *context, slice_t key, slice_t value)
{
    (void)value;
    buffer_t *found = context;
    buffer_append (found, key.data, key.size);
    return false;
}

static void erase_all (tables_txn_t *txn, uint32_t table)
{
    buffer_t key = {0};
    while (tables_each (txn, table, (slice_t){NULL, 0}, (slice_t){NULL, 0}, first_key, &key)) {
        tables_delete (txn, table, (slice_t){key.data, key.size});
        buffer_clear (&key);
    }
    buffer_free (&key);
}

static void replace_tables (tables_t *tables, const simulated_copy_t *copy)
{
    nexus_error_t error;
    tables_txn_t *txn = tables_begin (tables, true, &error);
    assert (txn);
    for (uint32_t table = 0; table < LEDGER_TABLES; table++)
        erase_all (txn, table);
    for (uint64_t at = 0; at < copy->info.size;) {
        copy_head_t head;
        memcpy (&head, copy->bytes + at, sizeof head);
        at += sizeof head;
        int rc = tables_put (txn, head.table, (slice_t){copy->bytes + at, head.key_size},
                             (slice_t){copy->bytes + at + head.key_size, head.value_size}, &error);
        assert (rc == 0);
        at += head.key_size + head.value_size;
    }
    int rc = tables_commit (&txn, &error);
    assert (rc == 0);
}

/*  ---- copies ---------------------------------------------------------------------------- */

static void copy_clear (simulated_copy_t *copy)
{
    free (copy->bytes);
    *copy = (simulated_copy_t){.bytes = NULL};
}

static bool same (const snapshot_info_t *a, const snapshot_info_t *b)
{
    return a->index == b->index && memcmp (&a->hash, &b->hash, sizeof a->hash) == 0;
}

/*  Takes over the copy. Returns when it is durable, from now. */
static int64_t keep (simulated_store_t *self, simulated_copy_t *copy)
{
    copy_clear (&self->copies[SIMULATED_COPIES - 1]);
    memmove (self->copies + 1, self->copies, (SIMULATED_COPIES - 1) * sizeof self->copies[0]);
    int64_t delay_ns = (int64_t)(self->flush_ms * 1e6 * (1 + 9 * random_real (&self->random)));
    self->copies[0] = *copy;
    self->copies[0].durable_ns = simulator_now (self->sim) + delay_ns;
    *copy = (simulated_copy_t){.bytes = NULL};
    /* As the log's flushes: for clocks that run fast. */
    return delay_ns + delay_ns / 10 + 10;
}

static void position (void *store, snapshot_position_t *ret_position)
{
    simulated_store_t *self = store;
    nexus_error_t error;
    tables_txn_t *txn = tables_begin (*self->tables, false, &error);
    assert (txn);
    const simulated_log_state_t *log = &self->log->durable;
    *ret_position = (snapshot_position_t){.applied = ledger_number (txn, LEDGER_APPLIED),
                                          .log_first = log->first,
                                          .log_last = log->last,
                                          .log_bytes = (log->last + 1 - log->first) * 100};
    tables_abort (&txn);
}

static void current (void *store, snapshot_info_t *ret_copy)
{
    *ret_copy = ((simulated_store_t *)store)->copies[0].info;
}

static int make (void *store, snapshot_info_t *ret_copy, int64_t *ret_delay_ns,
                 nexus_error_t *error)
{
    simulated_store_t *self = store;
    if (self->log->full && random_below (&self->random, 2))
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the disk is full");
    simulated_copy_t copy = copy_tables (*self->tables);
    copy.info.hash = hash_of (copy.bytes, copy.info.size);
    *ret_copy = copy.info;
    *ret_delay_ns = keep (self, &copy);
    return 0;
}

static int64_t read_copy (void *store, const snapshot_info_t *wanted, uint64_t offset, void *data,
                          size_t size, nexus_error_t *error)
{
    const simulated_store_t *self = store;
    size_t i = 0;
    while (i < SIMULATED_COPIES && !same (&self->copies[i].info, wanted))
        i++;
    if (i == SIMULATED_COPIES || wanted->index == 0 || offset > self->copies[i].info.size)
        return nexus_error_set (error, NEXUS_NOT_FOUND, "that copy is not there (any more)");
    if (size > self->copies[i].info.size - offset)
        size = self->copies[i].info.size - offset;
    memcpy (data, self->copies[i].bytes + offset, size);
    return (int64_t)size;
}

/*  ---- one that is being fetched ------------------------------------------------------------- */

static void part (void *store, snapshot_info_t *ret_copy, uint64_t *ret_have)
{
    const simulated_store_t *self = store;
    *ret_copy = self->part.info;
    *ret_have = self->have;
}

static void part_drop (void *store)
{
    simulated_store_t *self = store;
    copy_clear (&self->part);
    self->have = 0;
}

static int part_begin (void *store, const snapshot_info_t *copy, nexus_error_t *error)
{
    simulated_store_t *self = store;
    part_drop (self);
    if (self->log->full)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the disk is full");
    self->part = (simulated_copy_t){.info = *copy, .bytes = calloc (1, copy->size + 1)};
    assert (self->part.bytes);
    return 0;
}

static int part_write (void *store, uint64_t offset, const void *data, size_t size,
                       nexus_error_t *error)
{
    simulated_store_t *self = store;
    if (self->log->full)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the disk is full");
    assert (offset == self->have && size <= self->part.info.size - offset);
    memcpy (self->part.bytes + offset, data, size);
    self->have += size;
    return 0;
}

static int part_finish (void *store, int64_t *ret_delay_ns, nexus_error_t *error)
{
    simulated_store_t *self = store;
    assert (self->have == self->part.info.size);
    record_key_t hash = hash_of (self->part.bytes, self->part.info.size);
    *ret_delay_ns = 0;
    if (memcmp (&hash, &self->part.info.hash, sizeof hash) != 0) {
        part_drop (self);
        return nexus_error_set (error, NEXUS_CORRUPT, "what was fetched is not what was offered");
    }
    int64_t left_ns = self->copies[0].durable_ns - simulator_now (self->sim);
    if (self->part.info.index > self->copies[0].info.index)
        *ret_delay_ns = keep (self, &self->part);
    else if (left_ns > 0)
        *ret_delay_ns =
            left_ns + left_ns / 10 + 10; /* one that is no worse, but still being flushed */
    part_drop (self);
    return 0;
}

snapshot_store_t simulated_store (simulated_store_t *self)
{
    return (snapshot_store_t){.self = self,
                              .position = position,
                              .current = current,
                              .make = make,
                              .read = read_copy,
                              .part = part,
                              .part_begin = part_begin,
                              .part_write = part_write,
                              .part_finish = part_finish,
                              .part_drop = part_drop};
}

/*  ---- life ------------------------------------------------------------------------------------
 */

void simulated_store_init (simulated_store_t *self, simulated_log_t *log, tables_t **tables,
                           const simulator_t *sim, uint64_t seed, double flush_ms)
{
    *self = (simulated_store_t){.log = log, .tables = tables, .sim = sim, .flush_ms = flush_ms};
    random_seed (&self->random, seed);
}

void simulated_store_clear (simulated_store_t *self)
{
    for (size_t i = 0; i < SIMULATED_COPIES; i++)
        copy_clear (&self->copies[i]);
    part_drop (self);
}

uint64_t simulated_store_durable (const simulated_store_t *self)
{
    size_t i = 0;
    while (i < SIMULATED_COPIES && self->copies[i].durable_ns > simulator_now (self->sim))
        i++;
    return i < SIMULATED_COPIES ? self->copies[i].info.index : 0;
}

void simulated_store_crash (simulated_store_t *self)
{
    while (self->copies[0].info.index && self->copies[0].durable_ns > simulator_now (self->sim)) {
        copy_clear (&self->copies[0]);
        memmove (self->copies, self->copies + 1, (SIMULATED_COPIES - 1) * sizeof self->copies[0]);
        self->copies[SIMULATED_COPIES - 1] = (simulated_copy_t){.bytes = NULL};
    }
    /* Older ones are only there for as long as somebody holds them open. */
    for (size_t i = 1; i < SIMULATED_COPIES; i++)
        copy_clear (&self->copies[i]);
    if (self->have && random_below (&self->random, 3) == 0)
        self->part.bytes[random_below (&self->random, self->have)] ^= 0x40;
}

int simulated_store_restore (void *store, nexus_error_t *error)
{
    simulated_store_t *self = store;
    if (!self->copies[0].info.index)
        return nexus_error_set (error, NEXUS_NOT_FOUND, "there is no copy");
    replace_tables (*self->tables, &self->copies[0]);
    return 0;
}

void simulated_store_recover (simulated_store_t *self)
{
    const snapshot_info_t *copy = &self->copies[0].info;
    nexus_error_t error;
    if (!copy->index)
        return;
    simulated_log_begin_behind (self->log, copy->index, copy->term);
    snapshot_position_t now;
    position (self, &now);
    /* A lost ledger is never made out of the log alone where there is a copy: entries that the
       copy covers may go at any time. */
    if (now.applied >= copy->index)
        return;
    int rc = simulated_store_restore (self, &error);
    assert (rc == 0);
}
