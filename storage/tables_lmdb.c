#include "storage/tables_lmdb.h"

#include "storage/crc32c.h"
#include "storage/file_error.h"
#include "storage/little_endian.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    tables_txn_t base;
    MDB_txn *txn;
    lmdb_generation_t *generation;
    int failed; /* LMDB's code of the first operation that failed, or 0 */
    /* Of a writer: who reads a key mostly writes it next, and is spared a second search. */
    MDB_cursor *last_read; /* at the last key that was found, unless something was written since */
    MDB_cursor *cursors[]; /* a table's; NULL: not needed yet */
} lmdb_txn_t;

static lmdb_tables_t *backing (tables_txn_t *txn)
{
    return (lmdb_tables_t *)txn->tables;
}

static lmdb_env_t *env_of (tables_txn_t *txn)
{
    return &((lmdb_txn_t *)txn)->generation->env;
}

static MDB_dbi handle_of (tables_txn_t *txn, size_t table)
{
    return ((lmdb_txn_t *)txn)->generation->handles[table];
}

static MDB_val to_val (slice_t slice)
{
    return (MDB_val){.mv_size = slice.size, .mv_data = (void *)slice.data};
}

static slice_t to_slice (MDB_val val)
{
    return (slice_t){.data = val.mv_data, .size = val.mv_size};
}

/*  ---- rows ---------------------------------------------------------------------- */

/*  LMDB has no checksums, so a value ends with one: CRC-32C of the key and of what is before. */
enum { SEAL = 4 };

static uint32_t sum_of (const MDB_val *key, const void *data, size_t size)
{
    return crc32c (crc32c (0, key->mv_data, key->mv_size), data, size);
}

/*  Takes the checksum off. False if the row is not what was written. */
static bool unseal (const MDB_val *key, MDB_val *value)
{
    if (value->mv_size < SEAL)
        return false;
    value->mv_size -= SEAL;
    return get_u32 ((const uint8_t *)value->mv_data + value->mv_size) ==
           sum_of (key, value->mv_data, value->mv_size);
}

/*  A read that fails for another reason than "no such key" has met a damaged
    page: what it returned is worthless, and so is what follows from it. */
static void fail_read (tables_txn_t *base, int code)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    base->failed = true;
    if (!txn->failed)
        txn->failed = code;
    if (code != MDB_BAD_TXN)
        lmdb_env_poison (env_of (base), code);
}

/*  ---- generations ------------------------------------------------------------- */

static void generation_free (lmdb_generation_t *self)
{
    lmdb_env_close (&self->env);
    free (self);
}

static int generation_tables (lmdb_generation_t *self, const char *const *names, size_t count,
                              nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, true, error);
    if (!txn)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int code = mdb_dbi_open (txn, names[i], MDB_CREATE, &self->handles[i]);
        if (code) {
            mdb_txn_abort (txn);
            return lmdb_env_error (&self->env, code, "open its tables", error);
        }
    }
    return lmdb_env_commit (&self->env, txn, error);
}

static lmdb_generation_t *generation_new (size_t count, nexus_error_t *error)
{
    lmdb_generation_t *self = calloc (1, sizeof *self + count * sizeof self->handles[0]);
    if (!self)
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    else
        self->references = 1;
    return self;
}

lmdb_generation_t *lmdb_generation_open (const char *dir, size_t map_size, unsigned flags,
                                         const char *const *names, size_t count,
                                         nexus_error_t *error)
{
    lmdb_generation_t *self = generation_new (count, error);
    if (!self)
        return NULL;
    if (lmdb_env_open (&self->env, dir, map_size, flags, (unsigned)count, error) != 0) {
        free (self);
        return NULL;
    }
    if (generation_tables (self, names, count, error) != 0) {
        generation_free (self);
        return NULL;
    }
    return self;
}

static int check_table (MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open (txn, table, &cursor);
    if (code)
        return code;
    while ((code = mdb_cursor_get (cursor, &key, &value, MDB_NEXT)) == 0 && unseal (&key, &value))
        continue;
    mdb_cursor_close (cursor);
    return code == 0 ? MDB_CORRUPTED : code == MDB_NOTFOUND ? 0 : code;
}

int lmdb_generation_check (lmdb_generation_t *self, size_t count, nexus_error_t *error)
{
    MDB_txn *txn = lmdb_env_begin (&self->env, false, error);
    if (!txn)
        return -1;
    int code = 0;
    for (size_t i = 0; i < count && code == 0; i++)
        code = check_table (txn, self->handles[i]);
    mdb_txn_abort (txn);
    if (code)
        lmdb_env_poison (&self->env, code);
    return code ? lmdb_env_error (&self->env, code, "read its rows", error) : 0;
}

/*  The one that counts now, with a reference. */
static lmdb_generation_t *generation_take (lmdb_tables_t *self)
{
    pthread_mutex_lock (&self->lock);
    lmdb_generation_t *generation = self->now;
    generation->references++;
    pthread_mutex_unlock (&self->lock);
    return generation;
}

static void generation_release (lmdb_tables_t *self, lmdb_generation_t *generation)
{
    pthread_mutex_lock (&self->lock);
    bool last = --generation->references == 0;
    pthread_mutex_unlock (&self->lock);
    if (last)
        generation_free (generation);
}

void lmdb_tables_swap (lmdb_tables_t *self, lmdb_generation_t *generation)
{
    pthread_mutex_lock (&self->lock);
    lmdb_generation_t *old = self->now;
    self->now = generation;
    pthread_mutex_unlock (&self->lock);
    generation_release (self, old);
}

static void lmdb_close (tables_t *base)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    if (self->before_close)
        self->before_close (self);
    generation_free (self->now);
    lmdb_tables_free (self);
}

/*  ---- transactions -------------------------------------------------------------- */

static tables_txn_t *lmdb_begin (tables_t *base, bool write, nexus_error_t *error)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    lmdb_txn_t *txn = calloc (1, sizeof *txn + (write ? base->count * sizeof (MDB_cursor *) : 0));
    if (!txn) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    txn->generation = generation_take (self);
    txn->txn = lmdb_env_begin (&txn->generation->env, write, error);
    if (!txn->txn) {
        generation_release (self, txn->generation);
        free (txn);
        return NULL;
    }
    return &txn->base;
}

static void lmdb_abort (tables_txn_t *base)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    mdb_txn_abort (txn->txn);
    generation_release (backing (base), txn->generation);
    free (txn);
}

static int lmdb_commit (tables_txn_t *base, nexus_error_t *error)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    lmdb_tables_t *self = backing (base);
    int failed = txn->failed;
    if (failed || !base->write) {
        int rc = failed
                     ? lmdb_env_error (env_of (base), failed, "commit what a failure spoilt", error)
                     : 0;
        lmdb_abort (base);
        return rc;
    }
    int rc = lmdb_env_commit (env_of (base), txn->txn, error);
    generation_release (self, txn->generation);
    free (txn);
    return rc;
}

/*  Of a writer. LMDB's code. */
static int find (tables_txn_t *base, size_t table, MDB_val *name, MDB_val *value)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    MDB_cursor **cursor = &txn->cursors[table];
    int code = *cursor ? 0 : mdb_cursor_open (txn->txn, handle_of (base, table), cursor);
    if (code == 0)
        code = mdb_cursor_get (*cursor, name, value, MDB_SET_KEY);
    txn->last_read = code == 0 ? *cursor : NULL;
    return code;
}

static bool lmdb_get (tables_txn_t *base, size_t table, slice_t key, slice_t *ret_value)
{
    MDB_val name = to_val (key), value;
    int code = base->write
                   ? find (base, table, &name, &value)
                   : mdb_get (((lmdb_txn_t *)base)->txn, handle_of (base, table), &name, &value);
    if (code == 0 && !unseal (&name, &value))
        code = MDB_CORRUPTED;
    if (code == 0)
        *ret_value = to_slice (value);
    else if (code != MDB_NOTFOUND)
        fail_read (base, code);
    return code == 0;
}

/*  A key or value may come from a read of this very transaction, and LMDB moves
    such bytes while it makes room for the new ones: so they are put aside, the value with its
    checksum. */
static bool put_aside (lmdb_tables_t *self, MDB_val *key, MDB_val *value)
{
    size_t size = key->mv_size + value->mv_size + SEAL;
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
    put_u32 ((uint8_t *)value->mv_data + value->mv_size,
             sum_of (key, value->mv_data, value->mv_size));
    value->mv_size += SEAL;
    return true;
}

/*  Where the last read stands, if it found this very key. */
static MDB_cursor *position_of (const lmdb_txn_t *txn, size_t table, const MDB_val *name)
{
    MDB_val key, value;
    MDB_cursor *cursor = txn->last_read;
    if (!cursor || cursor != txn->cursors[table] ||
        mdb_cursor_get (cursor, &key, &value, MDB_GET_CURRENT) != 0 ||
        key.mv_size != name->mv_size || memcmp (key.mv_data, name->mv_data, key.mv_size) != 0)
        return NULL;
    return cursor;
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
    MDB_cursor *position = position_of (txn, table, &name);
    txn->last_read = NULL;
    if (!code && position)
        code = mdb_cursor_put (position, &name, &bytes, MDB_CURRENT);
    else if (!code)
        code = mdb_put (txn->txn, handle_of (base, table), &name, &bytes, 0);
    if (code == 0)
        return 0;
    txn->failed = code;
    return lmdb_env_error (env_of (base), code, "write", error);
}

static bool lmdb_erase (tables_txn_t *base, size_t table, slice_t key)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    MDB_val name = to_val (key);
    txn->last_read = NULL;
    int code = mdb_del (txn->txn, handle_of (base, table), &name, NULL);
    /*  Deleting copies pages, so a full map may stop it: the commit says so. */
    if (code != 0 && code != MDB_NOTFOUND && !txn->failed)
        txn->failed = code;
    return code == 0;
}

static size_t lmdb_each (tables_txn_t *base, size_t table, slice_t prefix, slice_t start,
                         bool (*visit) (void *context, slice_t key, slice_t value), void *context)
{
    lmdb_txn_t *txn = (lmdb_txn_t *)base;
    MDB_cursor *cursor;
    size_t visited = 0;
    int code = mdb_cursor_open (txn->txn, handle_of (base, table), &cursor);
    if (code) {
        fail_read (base, code);
        return 0;
    }
    /*  LMDB knows no key longer than its limit: the longest that it takes, then
        past the one key that this may hit too early. */
    MDB_val key = to_val (start), value;
    size_t key_max = (size_t)mdb_env_get_maxkeysize (env_of (base)->env);
    key.mv_size = key.mv_size > key_max ? key_max : key.mv_size;
    code = mdb_cursor_get (cursor, &key, &value, start.size ? MDB_SET_RANGE : MDB_FIRST);
    while (code == 0 && slice_begins (to_slice (key), prefix)) {
        if (slice_compare (to_slice (key), start) >= 0) {
            if (!unseal (&key, &value)) {
                code = MDB_CORRUPTED;
                break;
            }
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
    int code = mdb_stat (((lmdb_txn_t *)base)->txn, handle_of (base, table), &status);
    if (code)
        fail_read (base, code);
    return code ? 0 : status.ms_entries;
}

static void lmdb_usage (tables_t *base, size_t *ret_used, size_t *ret_limit)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    lmdb_generation_t *generation = generation_take (self);
    lmdb_env_usage (&generation->env, ret_used, ret_limit);
    generation_release (self, generation);
}

static int lmdb_copy (tables_t *base, int fd, const char *file, nexus_error_t *error)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    lmdb_generation_t *generation = generation_take (self);
    /*  Others will rely on it. */
    int rc = lmdb_generation_check (generation, base->count, error);
    int code = rc ? 0 : mdb_env_copyfd2 (generation->env.env, fd, MDB_CP_COMPACT);
    if (code > 0)
        rc = file_error (file, "write the copy", code, error);
    else if (code)
        rc = lmdb_env_error (&generation->env, code, "copy it", error);
    generation_release (self, generation);
    return rc;
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
    .copy = lmdb_copy,
    .replace = tables_cache_replace,
    .prepare = tables_cache_prepare,
};

lmdb_tables_t *lmdb_tables_new (size_t count, nexus_error_t *error)
{
    assert (count > 0 && count <= 1000);
    lmdb_tables_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->base.ops = &lmdb_ops;
    self->base.count = count;
    pthread_mutex_init (&self->lock, NULL);
    pthread_mutex_init (&self->prepare_lock, NULL);
    return self;
}

void lmdb_tables_free (lmdb_tables_t *self)
{
    pthread_mutex_destroy (&self->lock);
    pthread_mutex_destroy (&self->prepare_lock);
    free (self->dir);
    free (self->scratch);
    free (self);
}

tables_t *tables_open (const char *dir, size_t map_size, const char *const *names, size_t count,
                       nexus_error_t *error)
{
    lmdb_tables_t *self = lmdb_tables_new (count, error);
    if (!self)
        return NULL;
    self->now = lmdb_generation_open (dir, map_size, MDB_NOMETASYNC, names, count, error);
    if (!self->now) {
        lmdb_tables_free (self);
        return NULL;
    }
    return &self->base;
}

/*  Not through lmdb_env: nobody writes, so there is nothing to lock, to check or to extend. */
static int open_copy (lmdb_generation_t *self, const char *file, const char *const *names,
                      size_t count)
{
    MDB_txn *txn;
    MDB_stat status;
    int code = mdb_env_create (&self->env.env);
    if (code == 0)
        code = mdb_env_set_maxdbs (self->env.env, (unsigned)count);
    if (code == 0)
        code = mdb_env_open (self->env.env, file,
                             MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS, 0600);
    if (code == 0)
        code = mdb_txn_begin (self->env.env, NULL, MDB_RDONLY, &txn);
    if (code)
        return code;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = mdb_dbi_open (txn, names[i], 0, &self->handles[i]);
    if (code == 0)
        code = mdb_stat (txn, self->handles[0], &status);
    /*  Only a commit keeps the handles. */
    if (code)
        mdb_txn_abort (txn);
    else
        code = mdb_txn_commit (txn);
    self->env.page_size = code ? 0 : status.ms_psize;
    return code;
}

tables_t *tables_open_copy (const char *file, const char *const *names, size_t count,
                            nexus_error_t *error)
{
    lmdb_tables_t *self = lmdb_tables_new (count, error);
    if (!self)
        return NULL;
    self->now = generation_new (count, error);
    if (self->now) {
        self->now->env = (lmdb_env_t){.lock = -1, .dir = strdup (file)};
        int code = self->now->env.dir ? open_copy (self->now, file, names, count) : ENOMEM;
        if (code == 0)
            return &self->base;
        lmdb_env_error (&self->now->env, code, "open the copy", error);
        generation_free (self->now);
    }
    lmdb_tables_free (self);
    return NULL;
}
