/*  tables_lmdb - the inside of the LMDB backing, shared by its files

    tables_lmdb.c   generations, transactions, operations
    tables_cache.c  the directory of a cache: what is valid, and replacing it

    A generation is one LMDB environment with its tables. Plain tables have one for life; a
    cache gets another one when it is replaced, and the old one lasts until its readers are
    through.
*/
#pragma once

#include "storage/boot_id.h"
#include "storage/lmdb_env.h"
#include "storage/tables_backing.h"

#include <pthread.h>

typedef struct {
    lmdb_env_t env;
    size_t references; /* under the tables' lock */
    MDB_dbi handles[];
} lmdb_generation_t;

typedef struct lmdb_tables lmdb_tables_t;
struct lmdb_tables {
    tables_t base;
    pthread_mutex_t lock; /* of now, and of all references */
    lmdb_generation_t *now;
    void *scratch; /* of the writer */
    size_t scratch_size;
    /* Of a cache; NULL and 0 otherwise. */
    char *dir;
    size_t map_size;
    const char *const *names;
    char slot; /* where now is */
    char boot[BOOT_ID_MAX];
    pthread_mutex_t prepare_lock; /* of slot, and of what follows */
    lmdb_generation_t *prepared;  /* in the other slot; or NULL */
    uint8_t prepared_hash[32];    /* of the copy that it was made of */
    void (*before_close) (lmdb_tables_t *self);
};

lmdb_tables_t *lmdb_tables_new (size_t count, nexus_error_t *error);
/*  Of one that has no generation yet. */
void lmdb_tables_free (lmdb_tables_t *self);

lmdb_generation_t *lmdb_generation_open (const char *dir, size_t map_size, unsigned flags,
                                         const char *const *names, size_t count,
                                         nexus_error_t *error);
/*  Reads every row: is it what was written? -1 with NEXUS_CORRUPT if one isn't. */
int lmdb_generation_check (lmdb_generation_t *self, size_t count, nexus_error_t *error);
/*  Takes generation over; the one before goes when nobody uses it any more. */
void lmdb_tables_swap (lmdb_tables_t *self, lmdb_generation_t *generation);

/*  tables_cache.c */
int tables_cache_replace (tables_t *self, const char *file, nexus_error_t *error);
int tables_cache_prepare (tables_t *self, const char *file, nexus_error_t *error);
