#include "runtime/block_pool.h"

#include <pthread.h>
#include <stdlib.h>

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PLAIN_MALLOC
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define PLAIN_MALLOC
#endif

#ifdef PLAIN_MALLOC

void *block_alloc (void)
{
    return malloc (BLOCK_SIZE);
}

void block_free (void *block)
{
    free (block);
}

#else

#define MAGAZINE  32  /* blocks */
#define DEPOT_MAX 256 /* magazines: 4 MiB */

/*  A free block is its own link. */
typedef struct block block_t;
struct block {
    block_t *next;     /* in its magazine */
    block_t *magazine; /* of the first block: the next magazine in the depot */
};

typedef struct {
    block_t *loaded, *spare; /* spare is full or empty */
    unsigned count;          /* in loaded */
    char registered;
} cache_t;

static _Thread_local cache_t cache;

static struct {
    pthread_mutex_t lock;
    block_t *full;
    unsigned count;
} depot = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_all (block_t *block)
{
    while (block) {
        block_t *next = block->next;
        free (block);
        block = next;
    }
}

static void thread_exit (void *args)
{
    cache_t *self = args;
    free_all (self->loaded);
    free_all (self->spare);
    *self = (cache_t){0};
}

static void prepare (void)
{
    pthread_key_create (&at_exit, thread_exit);
}

/*  Sees to it that the thread's blocks are freed at its end. */
static void enlist (cache_t *self)
{
    pthread_once (&once, prepare);
    pthread_setspecific (at_exit, self);
    self->registered = 1;
}

static block_t *depot_take (void)
{
    pthread_mutex_lock (&depot.lock);
    block_t *magazine = depot.full;
    if (magazine) {
        depot.full = magazine->magazine;
        depot.count--;
    }
    pthread_mutex_unlock (&depot.lock);
    return magazine;
}

static void depot_give (block_t *magazine)
{
    pthread_mutex_lock (&depot.lock);
    if (depot.count < DEPOT_MAX) {
        magazine->magazine = depot.full;
        depot.full = magazine;
        depot.count++;
        magazine = NULL;
    }
    pthread_mutex_unlock (&depot.lock);
    free_all (magazine);
}

void *block_alloc (void)
{
    cache_t *self = &cache;
    if (!self->loaded) {
        self->loaded = self->spare ? self->spare : depot_take ();
        self->spare = NULL;
        self->count = self->loaded ? MAGAZINE : 0;
        if (!self->loaded)
            return malloc (BLOCK_SIZE);
        if (!self->registered)
            enlist (self);
    }
    block_t *block = self->loaded;
    self->loaded = block->next;
    self->count--;
    return block;
}

void block_free (void *memory)
{
    cache_t *self = &cache;
    if (self->count == MAGAZINE) {
        if (self->spare)
            depot_give (self->spare);
        self->spare = self->loaded;
        self->loaded = NULL;
        self->count = 0;
    }
    if (!self->registered)
        enlist (self);
    block_t *block = memory;
    block->next = self->loaded;
    self->loaded = block;
    self->count++;
}

#endif
