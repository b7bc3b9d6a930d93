/*  arena - memory that is freed all at once

    A decoded record, a parsed document, a message: many small pieces with one
    lifetime. An arena hands them out by bumping a pointer and frees them
    together. Memory is zeroed and aligned for any type. An arena belongs to one
    thread at a time.

    A limit bounds what hostile input may cost: past it arena_alloc returns
    NULL (and so does every later call: the failure is sticky until a reset).
*/
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct arena_block arena_block_t;

typedef struct {
    arena_block_t *blocks;
    char *next;   /* first free byte of the newest block */
    size_t left;  /* bytes free behind it */
    size_t used;  /* bytes handed out in all */
    size_t limit; /* 0: none */
    bool failed;  /* a request was refused */
} arena_t;

/*  Prepares an arena. first (may be NULL) is caller's memory of first_size
    bytes that is used before anything is allocated; the caller frees it. */
void arena_init (arena_t *self, size_t limit, void *first, size_t first_size);

/*  Frees what the arena took itself; the arena is as after arena_init with the
    same limit and no first block. */
void arena_reset (arena_t *self);

/*  Zeroed memory, or NULL if the limit or the machine's memory is reached. */
void *arena_alloc (arena_t *self, size_t size);

/*  Copies. NULL in, NULL out. */
void *arena_copy (arena_t *self, const void *data, size_t size);
char *arena_strdup (arena_t *self, const char *text);
/*  Exactly size bytes of text, and a NUL behind them. */
char *arena_strndup (arena_t *self, const char *text, size_t size);
char *arena_printf (arena_t *self, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
