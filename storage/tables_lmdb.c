#include "storage/lmdb_env.h"
#include "storage/tables_backing.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    tables_t base;
    lmdb_env_t env;
    void *scratch; /* of the writer */
    size_t scratch_size;
    MDB_dbi handles[];
} lmdb_tables_t;

typedef struct {
    tables_txn_t base;
    MDB_txn *txn;
    int failed; /* LMDB's code of the first operation that failed, or 0 */
} lmdb_txn_t;

static lmdb_tables_t *backing (tables_txn_t *txn)
{
    return (lmdb_tables_t *)txn->tables;
}

static MDB_val to_val (slice_t slice)
{
    return (MDB_val){.mv_size = slice.size, .mv_data = (void *)slice.data};
}

static slice_t to_slice (MDB_val val)
{
    return (slice_t){.data = val.mv_data, .size = val.mv_size};
}

/*  A read that fails for another reason than "no such key" has met a damaged
    page: what it returned is worthless, and so is what follows from it. */
static void fail_read (tables_txn_t *base, int code)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    if (!txn->failed)
        txn->failed = code;
    if (code != MDB_BAD_TXN)
        lmdb_env_poison (&backing (base)->env, code);
}

static void lmdb_close (tables_t *base)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    lmdb_env_close (&self->env);
    free (self->scratch);
    free (self);
}

static tables_txn_t *lmdb_begin (tables_t *base, bool write, nexus_error_t *error)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    lmdb_txn_t *txn = calloc (1, sizeof *txn);
    if (!txn) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    txn->txn = lmdb_env_begin (&self->env, write, error);
    if (!txn->txn) {
        free (txn);
        return NULL;
    }
    return &txn->base;
}

static void lmdb_abort (tables_txn_t *base)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    mdb_txn_abort (txn->txn);
    free (txn);
}

static int lmdb_commit (tables_txn_t *base, nexus_error_t *error)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    lmdb_tables_t *self = backing (base);
    int failed = txn->failed;
    if (failed || !base->write) {
        lmdb_abort (base);
        return failed ? lmdb_env_error (&self->env, failed, "commit what a failure spoilt", error)
                      : 0;
    }
    int rc = lmdb_env_commit (&self->env, txn->txn, error);
    free (txn);
    return rc;
}

static bool lmdb_get (tables_txn_t *base, size_t table, slice_t key, slice_t *ret_value)
{
    MDB_val name = to_val (key), value;
    int code = mdb_get (((lmdb_txn_t *)base)->txn, backing (base)->handles[table], &name, &value);
    if (code == 0)
        *ret_value = to_slice (value);
    else if (code != MDB_NOTFOUND)
        fail_read (base, code);
    return code == 0;
}

/*  A key or value may come from a read of this very transaction, and LMDB moves
    such bytes while it makes room for the new ones: so they are put aside. */
static bool put_aside (lmdb_tables_t *self, MDB_val *key, MDB_val *value)
{
    size_t size = key->mv_size + value->mv_size;
    if (size > self->scratch_size) {
        void *scratch = realloc (self->scratch, size * 2);
        if (!scratch)
            return false;
        self->scratch = scratch;
        self->scratch_size = size * 2;
    }
    char *bytes = self->scratch;
    memcpy (bytes, key->mv_data, key->mv_size);
    key->mv_data = bytes;
    if (value->mv_size)
        memcpy (bytes + key->mv_size, value->mv_data, value->mv_size);
    value->mv_data = bytes + key->mv_size;
    return true;
}

static int lmdb_put (tables_txn_t *base, size_t table, slice_t key, slice_t value,
                     nexus_error_t *error)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    lmdb_tables_t *self = backing (base);
    MDB_val name = to_val (key), bytes = to_val (value);
    int code = txn->failed;
    if (!code && !put_aside (self, &name, &bytes))
        code = ENOMEM;
    if (!code)
        code = mdb_put (txn->txn, self->handles[table], &name, &bytes, 0);
    if (code == 0)
        return 0;
    txn->failed = code;
    return lmdb_env_error (&self->env, code, "write", error);
}

static bool lmdb_erase (tables_txn_t *base, size_t table, slice_t key)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    MDB_val name = to_val (key);
    int code = mdb_del (txn->txn, backing (base)->handles[table], &name, NULL);
    /*  Deleting copies pages, so a full map may stop it: the commit says so. */
    if (code != 0 && code != MDB_NOTFOUND && !txn->failed)
        txn->failed = code;
    return code == 0;
}

static size_t lmdb_each (tables_txn_t *base, size_t table, slice_t prefix, slice_t start,
                         bool (*visit) (void *context, slice_t key, slice_t value), void *context)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    lmdb_tables_t *self = backing (base);
    MDB_cursor *cursor;
    size_t visited = 0;
    int code = mdb_cursor_open (txn->txn, self->handles[table], &cursor);
    if (code) {
        fail_read (base, code);
        return 0;
    }
    /*  LMDB knows no key longer than its limit: the longest that it takes, then
        past the one key that this may hit too early. */
    MDB_val key = to_val (start), value;
    size_t key_max = (size_t)mdb_env_get_maxkeysize (self->env.env);
    key.mv_size = key.mv_size > key_max ? key_max : key.mv_size;
    code = mdb_cursor_get (cursor, &key, &value, start.size ? MDB_SET_RANGE : MDB_FIRST);
    while (code == 0 && slice_begins (to_slice (key), prefix)) {
        if (slice_compare (to_slice (key), start) >= 0) {
            visited++;
            if (!visit (context, to_slice (key), to_slice (value)))
                break;
        }
        code = mdb_cursor_get (cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close (cursor);
    if (code != 0 && code != MDB_NOTFOUND)
        fail_read (base, code);
    return visited;
}

static size_t lmdb_count (tables_txn_t *base, size_t table)
{
    MDB_stat status;
    int code = mdb_stat (((lmdb_txn_t *)base)->txn, backing (base)->handles[table], &status);
    if (code)
        fail_read (base, code);
    return code ? 0 : status.ms_entries;
}

static void lmdb_usage (tables_t *base, size_t *ret_used, size_t *ret_limit)
{
    lmdb_env_usage (&((lmdb_tables_t *)base)->env, ret_used, ret_limit);
}

static const tables_ops_t lmdb_ops = {
    .close = lmdb_close,
    .begin = lmdb_begin,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .get = lmdb_get,
    .put = lmdb_put,
    .erase = lmdb_erase,
    .each = lmdb_each,
    .count = lmdb_count,
    .usage = lmdb_usage,
};

static int open_tables (lmdb_tables_t *self, const char *const *names, nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, true, error);
    if (!txn)
        return -1;
    for (size_t i = 0; i < self->base.count; i++) {
        int code = mdb_dbi_open (txn, names[i], MDB_CREATE, &self->handles[i]);
        if (code) {
            mdb_txn_abort (txn);
            return lmdb_env_error (&self->env, code, "open its tables", error);
        }
    }
    return lmdb_env_commit (&self->env, txn, error);
}

tables_t *tables_open (const char *dir, size_t map_size, const char *const *names, size_t count,
                       nexus_error_t *error)
{
    assert (count > 0 && count <= 1000);
    lmdb_tables_t *self = calloc (1, sizeof *self + count * sizeof self->handles[0]);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->base.ops = &lmdb_ops;
    self->base.count = count;
    if (lmdb_env_open (&self->env, dir, map_size, MDB_NOMETASYNC, (unsigned)count, error) != 0) {
        free (self);
        return NULL;
    }
    if (open_tables (self, names, error) != 0) {
        lmdb_close (&self->base);
        return NULL;
    }
    return &self->base;
}
