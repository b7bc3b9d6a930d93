/*  tables_backing - what a backing of tables implements

    tables.c checks arguments and rules (keys' sizes, who may write, nothing left
    open) for all backings; a backing only stores. Private to storage/tables*.c.
*/
#pragma once

#include "storage/tables.h"

#include <stdatomic.h>

typedef struct {
    void (*close) (tables_t *self);
    tables_txn_t *(*begin) (tables_t *self, bool write, nexus_error_t *error);
    /*  Both free the transaction, whatever they return. */
    int (*commit) (tables_txn_t *txn, nexus_error_t *error);
    void (*abort) (tables_txn_t *txn);
    bool (*get) (tables_txn_t *txn, size_t table, slice_t key, slice_t *ret_value);
    int (*put) (tables_txn_t *txn, size_t table, slice_t key, slice_t value, nexus_error_t *error);
    bool (*erase) (tables_txn_t *txn, size_t table, slice_t key);
    /*  Visits from the first key that is not below start, as long as keys begin with prefix. */
    size_t (*each) (tables_txn_t *txn, size_t table, slice_t prefix, slice_t start,
                    bool (*visit) (void *context, slice_t key, slice_t value), void *context);
    size_t (*count) (tables_txn_t *txn, size_t table);
    void (*usage) (tables_t *self, size_t *ret_used, size_t *ret_limit);
    /*  Writes one moment in LMDB's format to a descriptor, which is file; or NULL. */
    int (*copy) (tables_t *self, int fd, const char *file, nexus_error_t *error);
    /*  Or NULL: it can't be replaced by a file. */
    int (*replace) (tables_t *self, const char *file, nexus_error_t *error);
    int (*prepare) (tables_t *self, const char *file, nexus_error_t *error);
} tables_ops_t;

/*  First member of a backing's own structs. */
struct tables {
    const tables_ops_t *ops;
    size_t count;                  /* of tables */
    atomic_size_t open;            /* transactions begun and not ended */
    _Atomic (const void *) writer; /* the thread that holds the write lock, or NULL */
};

struct tables_txn {
    tables_t *tables;
    bool write;
    bool failed;       /* a read met damage */
    unsigned visiting; /* tables_each calls in progress */
};

/*  The order of keys: bytewise, a prefix before what it begins. Negative, zero or
    positive as in memcmp. */
int slice_compare (slice_t a, slice_t b);
bool slice_begins (slice_t text, slice_t prefix);
