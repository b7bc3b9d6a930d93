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
