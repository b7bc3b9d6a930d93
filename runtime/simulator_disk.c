/*  simulator_disk - a disk that forgets: see the header.

    Two tables of records: what is durable, and what a reader sees. Between them
    stands the queue of operations that are not durable yet, each with the time
    at which its commit's flush ends. Nothing is scheduled: the queue is moved on
    whenever somebody looks, by the simulation's clock.
*/
#include "runtime/simulator_disk.h"
#include "runtime/random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  What was written: in the queue and in both tables at once. */
typedef struct {
    size_t references;
    size_t size;
    uint8_t data[];
} block_t;

typedef struct {
    uint64_t key;
    block_t *block;
} entry_t;

/*  Ascending by key: mostly appended to. */
typedef struct {
    entry_t *entries;
    size_t count, capacity;
} table_t;

static const int64_t OPEN = INT64_MAX;       /* of the commit that is still being written */
static const int64_t FAILED = INT64_MAX - 1; /* of one that nobody knows of what the disk has */

typedef struct operation operation_t;
struct operation {
    operation_t *next;
    int64_t durable_at;
    uint64_t first, last;
    block_t *block; /* NULL: they are erased */
};

struct sim_disk {
    const int64_t *now;
    random_t random;
    sim_disk_config_t config;
    table_t visible, durable;
    operation_t *queue, **queue_end;
    int64_t flush_end; /* of the newest commit */
};

static void *checked (void *memory)
{
    if (!memory) {
        fprintf (stderr, "simulator: out of memory for a disk's records; run fewer steps\n");
        abort ();
    }
    return memory;
}

/*  ---- tables ------------------------------------------------------------ */

static block_t *block_new (const void *data, size_t size)
{
    block_t *block = checked (malloc (sizeof *block + size));
    block->references = 1;
    block->size = size;
    if (size)
        memcpy (block->data, data, size);
    return block;
}

static void block_release (block_t *block)
{
    if (block && --block->references == 0)
        free (block);
}

/*  The place of the first entry whose key is not below. */
static size_t table_find (const table_t *table, uint64_t key)
{
    size_t low = 0, high = table->count;
    if (high && table->entries[high - 1].key < key)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->entries[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static entry_t *table_get (const table_t *table, uint64_t key)
{
    size_t place = table_find (table, key);
    return place < table->count && table->entries[place].key == key ? &table->entries[place] : NULL;
}

/*  Shares the block. */
static void table_put (table_t *table, uint64_t key, block_t *block)
{
    size_t place = table_find (table, key);
    block->references++;
    if (place < table->count && table->entries[place].key == key) {
        block_release (table->entries[place].block);
    } else {
        if (table->count == table->capacity) {
            table->capacity = table->capacity ? table->capacity * 2 : 64;
            table->entries = checked (realloc (table->entries, table->capacity * sizeof (entry_t)));
        }
        memmove (table->entries + place + 1, table->entries + place,
                 (table->count - place) * sizeof (entry_t));
        table->count++;
    }
    table->entries[place] = (entry_t){key, block};
}

static void table_erase (table_t *table, uint64_t first, uint64_t last)
{
    size_t from = table_find (table, first), to = from;
    for (; to < table->count && table->entries[to].key <= last; to++)
        block_release (table->entries[to].block);
    if (to > from)
        memmove (table->entries + from, table->entries + to,
                 (table->count - to) * sizeof (entry_t));
    table->count -= to - from;
}

static void table_free (table_t *table)
{
    table_erase (table, 0, UINT64_MAX);
    free (table->entries);
    *table = (table_t){0};
}

static void apply (table_t *table, const operation_t *operation)
{
    if (operation->block)
        table_put (table, operation->first, operation->block);
    else
        table_erase (table, operation->first, operation->last);
}

/*  ---- the queue --------------------------------------------------------- */

static void drop_first (sim_disk_t *self)
{
    operation_t *operation = self->queue;
    self->queue = operation->next;
    if (!self->queue)
        self->queue_end = &self->queue;
    block_release (operation->block);
    free (operation);
}

/*  Makes durable whatever has been flushed by now. */
static void advance (sim_disk_t *self)
{
    while (self->queue && self->queue->durable_at <= *self->now) {
        apply (&self->durable, self->queue);
        drop_first (self);
    }
}

static void enqueue (sim_disk_t *self, operation_t *operation)
{
    advance (self);
    apply (&self->visible, operation);
    operation->durable_at = OPEN;
    *self->queue_end = operation;
    self->queue_end = &operation->next;
}

sim_disk_t *sim_disk_new (const int64_t *now, uint64_t seed, const sim_disk_config_t *config)
{
    sim_disk_t *self = checked (calloc (1, sizeof *self));
    self->now = now;
    random_seed (&self->random, seed);
    self->config = *config;
    self->queue_end = &self->queue;
    return self;
}

void sim_disk_destroy (sim_disk_t **self_p)
{
    sim_disk_t *self = *self_p;
    if (!self)
        return;
    while (self->queue)
        drop_first (self);
    table_free (&self->visible);
    table_free (&self->durable);
    free (self);
    *self_p = NULL;
}

void sim_disk_configure (sim_disk_t *self, const sim_disk_config_t *config)
{
    self->config = *config;
}

static operation_t *operation_new (uint64_t first, uint64_t last, block_t *block)
{
    operation_t *operation = checked (malloc (sizeof *operation));
    *operation = (operation_t){.first = first, .last = last, .block = block};
    return operation;
}

void sim_disk_write (sim_disk_t *self, uint64_t key, const void *data, size_t size)
{
    enqueue (self, operation_new (key, key, block_new (data, size)));
}

void sim_disk_erase (sim_disk_t *self, uint64_t first, uint64_t last)
{
    assert (first <= last);
    enqueue (self, operation_new (first, last, NULL));
}

int64_t sim_disk_commit (sim_disk_t *self)
{
    double ms = self->config.flush_ms * (0.5 + random_real (&self->random));
    if (random_real (&self->random) < self->config.stall)
        ms *= 100;
    bool fails =
        self->config.write_fault > 0 && random_real (&self->random) < self->config.write_fault;
    int64_t end = *self->now + (int64_t)(ms * 1e6);
    if (end < self->flush_end)
        end = self->flush_end;
    self->flush_end = end;
    for (operation_t *operation = self->queue; operation; operation = operation->next)
        if (operation->durable_at == OPEN)
            operation->durable_at = fails ? FAILED : end;
    return fails ? -1 : end - *self->now;
}

void sim_disk_sync (sim_disk_t *self)
{
    while (self->queue && self->queue->durable_at != OPEN && self->queue->durable_at != FAILED) {
        apply (&self->durable, self->queue);
        drop_first (self);
    }
    self->flush_end = *self->now;
}

/*  ---- reading ----------------------------------------------------------- */

static bool read_table (const table_t *table, uint64_t key, const uint8_t **ret_data,
                        size_t *ret_size)
{
    const entry_t *entry = table_get (table, key);
    if (!entry)
        return false;
    *ret_data = entry->block->data;
    *ret_size = entry->block->size;
    return true;
}

bool sim_disk_read (const sim_disk_t *self, uint64_t key, const uint8_t **ret_data,
                    size_t *ret_size)
{
    return read_table (&self->visible, key, ret_data, ret_size);
}

bool sim_disk_read_durable (sim_disk_t *self, uint64_t key, const uint8_t **ret_data,
                            size_t *ret_size)
{
    advance (self);
    return read_table (&self->durable, key, ret_data, ret_size);
}

bool sim_disk_next (const sim_disk_t *self, uint64_t key, uint64_t *ret_key)
{
    size_t place = table_find (&self->visible, key);
    if (place == self->visible.count)
        return false;
    *ret_key = self->visible.entries[place].key;
    return true;
}

/*  ---- faults ------------------------------------------------------------ */

/*  A torn write: its head arrived, the rest is zeroes. */
static void tear (sim_disk_t *self, const operation_t *operation)
{
    const block_t *whole = operation->block;
    if (!whole || whole->size == 0 || table_get (&self->durable, operation->first))
        return;
    block_t *torn = block_new (whole->data, whole->size);
    size_t head = random_below (&self->random, whole->size);
    memset (torn->data + head, 0, whole->size - head);
    table_put (&self->durable, operation->first, torn);
    block_release (torn);
}

void sim_disk_crash (sim_disk_t *self)
{
    advance (self);
    bool lost = false;
    int64_t kept = 0; /* the commit that was found to have made it */
    while (self->queue) {
        const operation_t *operation = self->queue;
        if (!lost && operation->durable_at != kept) {
            lost = operation->durable_at == OPEN ||
                   random_real (&self->random) < self->config.unsynced_lost;
            kept = operation->durable_at;
            if (lost && random_real (&self->random) < self->config.tear)
                tear (self, operation);
        }
        if (!lost)
            apply (&self->durable, operation);
        drop_first (self);
    }
    self->flush_end = *self->now;
    table_erase (&self->visible, 0, UINT64_MAX);
    for (size_t i = 0; i < self->durable.count; i++) {
        const entry_t *entry = &self->durable.entries[i];
        table_put (&self->visible, entry->key, entry->block);
    }
}

static block_t *find_block (const table_t *table, uint64_t key)
{
    const entry_t *entry = table_get (table, key);
    return entry && entry->block->size ? entry->block : NULL;
}

static void flip (block_t *block, uint64_t bit)
{
    bit %= block->size * 8;
    block->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

bool sim_disk_rot (sim_disk_t *self, uint64_t key)
{
    advance (self);
    uint64_t bit = random_next (&self->random);
    block_t *visible = find_block (&self->visible, key);
    block_t *durable = find_block (&self->durable, key);
    if (visible)
        flip (visible, bit);
    if (durable && durable != visible)
        flip (durable, bit);
    return visible || durable;
}

void sim_disk_wipe (sim_disk_t *self)
{
    while (self->queue)
        drop_first (self);
    self->flush_end = *self->now;
    table_erase (&self->visible, 0, UINT64_MAX);
    table_erase (&self->durable, 0, UINT64_MAX);
}
