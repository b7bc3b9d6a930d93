#include "storage/little_endian.h"
#include "storage/tables_backing.h"

#include <assert.h>
#include <string.h>

enum { KEY_SIZE_MAX = 500 };

/*  Its address is this thread's identity. */
static _Thread_local char thread_marker;

int slice_compare (slice_t a, slice_t b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp (a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

bool slice_begins (slice_t text, slice_t prefix)
{
    return text.size >= prefix.size &&
           (prefix.size == 0 || memcmp (text.data, prefix.data, prefix.size) == 0);
}

static bool key_fits (slice_t key)
{
    return key.size >= 1 && key.size <= KEY_SIZE_MAX;
}

void tables_close (tables_t **self_p)
{
    tables_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    assert (atomic_load (&self->open) == 0);
    self->ops->close (self);
}

tables_txn_t *tables_begin (tables_t *self, bool write, nexus_error_t *error)
{
    assert (self);
    /*  A second write transaction of one thread would wait for itself. */
    assert (!write || atomic_load (&self->writer) != &thread_marker);
    tables_txn_t *txn = self->ops->begin (self, write, error);
    if (!txn)
        return NULL;
    txn->tables = self;
    txn->write = write;
    atomic_fetch_add (&self->open, 1);
    if (write)
        atomic_store (&self->writer, &thread_marker);
    return txn;
}

/*  Before the backing lets the next writer in. */
static tables_txn_t *take (tables_txn_t **txn_p)
{
    tables_txn_t *txn = *txn_p;
    *txn_p = NULL;
    assert (txn && txn->visiting == 0);
    tables_t *self = txn->tables;
    if (txn->write) {
        assert (atomic_load (&self->writer) == &thread_marker);
        atomic_store (&self->writer, NULL);
    }
    atomic_fetch_sub (&self->open, 1);
    return txn;
}

int tables_commit (tables_txn_t **txn_p, nexus_error_t *error)
{
    tables_txn_t *txn = take (txn_p);
    return txn->tables->ops->commit (txn, error);
}

void tables_abort (tables_txn_t **txn_p)
{
    if (!*txn_p)
        return;
    tables_txn_t *txn = take (txn_p);
    txn->tables->ops->abort (txn);
}

bool tables_get (tables_txn_t *txn, size_t table, slice_t key, slice_t *ret_value)
{
    assert (table < txn->tables->count);
    slice_t value;
    if (!key_fits (key) || !txn->tables->ops->get (txn, table, key, &value))
        return false;
    if (ret_value)
        *ret_value = value;
    return true;
}

bool tables_failed (const tables_txn_t *txn, nexus_error_t *error)
{
    if (txn->failed)
        nexus_error_set (
            error, NEXUS_CORRUPT,
            "this master's ledger is damaged: what it says doesn't count, and it is made "
            "anew when the master starts again; ask another one meanwhile");
    return txn->failed;
}

int tables_put (tables_txn_t *txn, size_t table, slice_t key, slice_t value, nexus_error_t *error)
{
    assert (txn->write && txn->visiting == 0);
    assert (table < txn->tables->count);
    if (!key_fits (key))
        return nexus_error_set (error, NEXUS_INVALID, "a key has %zu bytes: 1 to %d are possible",
                                key.size, KEY_SIZE_MAX);
    return txn->tables->ops->put (txn, table, key, value, error);
}

bool tables_delete (tables_txn_t *txn, size_t table, slice_t key)
{
    assert (txn->write && txn->visiting == 0);
    assert (table < txn->tables->count);
    return key_fits (key) && txn->tables->ops->erase (txn, table, key);
}

size_t tables_each (tables_txn_t *txn, size_t table, slice_t prefix, slice_t from,
                    bool (*visit) (void *context, slice_t key, slice_t value), void *context)
{
    assert (table < txn->tables->count);
    slice_t start = slice_compare (from, prefix) > 0 ? from : prefix;
    if (prefix.size > KEY_SIZE_MAX)
        return 0;
    /*  Keys are not longer than that, so what follows can't decide. A key equal to
        the cut start is below the whole one, hence one byte more than any key has. */
    if (start.size > KEY_SIZE_MAX + 1)
        start.size = KEY_SIZE_MAX + 1;
    txn->visiting++;
    size_t visited = txn->tables->ops->each (txn, table, prefix, start, visit, context);
    txn->visiting--;
    return visited;
}

size_t tables_count (tables_txn_t *txn, size_t table)
{
    assert (table < txn->tables->count);
    return txn->tables->ops->count (txn, table);
}

void tables_usage (tables_t *self, size_t *ret_used, size_t *ret_limit)
{
    self->ops->usage (self, ret_used, ret_limit);
}

int tables_replace (tables_t *self, const char *file, nexus_error_t *error)
{
    assert (self->ops->replace && atomic_load (&self->writer) == NULL);
    return self->ops->replace (self, file, error);
}

int tables_prepare (tables_t *self, const char *file, nexus_error_t *error)
{
    assert (self->ops->prepare);
    return self->ops->prepare (self, file, error);
}

/*  ---- through memory --------------------------------------------------------------- */

/*  A dump: for each entry the table (4 bytes), the key's size (4), the value's size (8), little
    endian, and both. */
enum { DUMP_HEAD = 16 };

typedef struct {
    buffer_t *out;
    size_t table;
} dump_t;

static bool dump_entry (void *context, slice_t key, slice_t value)
{
    dump_t *dump = context;
    uint8_t head[DUMP_HEAD];
    put_u32 (head, (uint32_t)dump->table);
    put_u32 (head + 4, (uint32_t)key.size);
    put_u64 (head + 8, value.size);
    buffer_append (dump->out, head, sizeof head);
    buffer_append (dump->out, key.data, key.size);
    buffer_append (dump->out, value.data, value.size);
    return true;
}

void tables_dump (tables_t *self, buffer_t *out)
{
    tables_txn_t *txn = tables_begin (self, false, NULL);
    if (!txn)
        return;
    for (size_t i = 0; i < self->count; i++) {
        dump_t dump = {out, i};
        tables_each (txn, i, (slice_t){0}, (slice_t){0}, dump_entry, &dump);
    }
    tables_abort (&txn);
}

/*  The first key of a table; keys are copied because deleting moves them. */
static bool first_key (void *context, slice_t key, slice_t value)
{
    (void)value;
    buffer_append (context, key.data, key.size);
    return false;
}

static void empty (tables_txn_t *txn, size_t table)
{
    buffer_t key = {0};
    while (tables_each (txn, table, (slice_t){0}, (slice_t){0}, first_key, &key)) {
        tables_delete (txn, table, (slice_t){key.data, key.size});
        buffer_clear (&key);
    }
    buffer_free (&key);
}

/*  One entry of a dump; returns its size, or 0: it is none. */
static size_t load_entry (tables_txn_t *txn, const uint8_t *bytes, size_t size,
                          nexus_error_t *error)
{
    if (size < DUMP_HEAD)
        return 0;
    uint64_t key = get_u32 (bytes + 4), value = get_u64 (bytes + 8);
    if (get_u32 (bytes) >= txn->tables->count || key > KEY_SIZE_MAX || key == 0 ||
        value > size - DUMP_HEAD || key > size - DUMP_HEAD - value)
        return 0;
    const uint8_t *data = bytes + DUMP_HEAD;
    if (tables_put (txn, get_u32 (bytes), (slice_t){data, key}, (slice_t){data + key, value},
                    error) != 0)
        return 0;
    return DUMP_HEAD + key + value;
}

int tables_load (tables_t *self, const void *dump, size_t size, nexus_error_t *error)
{
    tables_txn_t *txn = tables_begin (self, true, error);
    if (!txn)
        return -1;
    for (size_t i = 0; i < self->count; i++)
        empty (txn, i);
    nexus_error_set (error, NEXUS_CORRUPT, "the dump of the tables is damaged");
    for (size_t at = 0; at < size;) {
        size_t taken = load_entry (txn, (const uint8_t *)dump + at, size - at, error);
        if (taken == 0) {
            tables_abort (&txn);
            return -1;
        }
        at += taken;
    }
    return tables_commit (&txn, error);
}
