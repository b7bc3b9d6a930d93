/*  arena - memory that is freed all at once */
#include "runtime/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    arena_block_t *next;
    max_align_t data[];
};

enum {
    ALIGNMENT = _Alignof(max_align_t),
    BLOCK_MIN = 1024,
    BLOCK_MAX = 64 * 1024,
    /* A request of this size gets a block of its own, so that it does not waste the open one. */
    LARGE = 8 * 1024
};

void arena_init (arena_t *self, size_t limit, void *first, size_t first_size)
{
    assert (self);
    *self = (arena_t){.limit = limit};
    if (!first)
        return;
    size_t skip = -(uintptr_t)first & (ALIGNMENT - 1);
    if (first_size > skip) {
        self->next = (char *)first + skip;
        self->left = (first_size - skip) & ~(size_t)(ALIGNMENT - 1);
    }
}

void arena_reset (arena_t *self)
{
    assert (self);
    arena_block_t *block = self->blocks;
    while (block) {
        arena_block_t *next = block->next;
        free (block);
        block = next;
    }
    *self = (arena_t){.limit = self->limit};
}

static void *fail (arena_t *self)
{
    self->failed = true;
    return NULL;
}

/*  A new block of size bytes, already in the list. */
static char *add_block (arena_t *self, size_t size)
{
    arena_block_t *block = malloc (sizeof (arena_block_t) + size);
    if (!block)
        return fail (self);
    block->next = self->blocks;
    self->blocks = block;
    return (char *)block->data;
}

static void *take_new_block (arena_t *self, size_t size)
{
    if (size >= LARGE) {
        char *data = add_block (self, size);
        if (data)
            self->used += size;
        return data;
    }
    /* Blocks double with what was used, so that small arenas stay small. */
    size_t room = self->used < BLOCK_MIN ? BLOCK_MIN : self->used;
    if (room > BLOCK_MAX)
        room = BLOCK_MAX;
    if (room < size)
        room = size;
    room &= ~(size_t)(ALIGNMENT - 1);
    char *data = add_block (self, room);
    if (!data)
        return NULL;
    self->next = data + size;
    self->left = room - size;
    self->used += size;
    return data;
}

/*  Memory as it comes, not zeroed. */
static inline void *take (arena_t *self, size_t size)
{
    if (self->failed || size > PTRDIFF_MAX - sizeof (arena_block_t) - ALIGNMENT)
        return fail (self);
    size_t rounded = (size + (size == 0) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (self->limit && (self->used > self->limit || rounded > self->limit - self->used))
        return fail (self);
    if (rounded > self->left)
        return take_new_block (self, rounded);
    void *result = self->next;
    self->next += rounded;
    self->left -= rounded;
    self->used += rounded;
    return result;
}

void *arena_alloc (arena_t *self, size_t size)
{
    void *result = take (self, size);
    if (result)
        memset (result, 0, size);
    return result;
}

void *arena_copy (arena_t *self, const void *data, size_t size)
{
    if (!data)
        return NULL;
    void *result = take (self, size);
    if (result)
        memcpy (result, data, size);
    return result;
}

char *arena_strndup (arena_t *self, const char *text, size_t size)
{
    if (!text)
        return NULL;
    char *result = size < SIZE_MAX ? take (self, size + 1) : fail (self);
    if (result) {
        memcpy (result, text, size);
        result[size] = 0;
    }
    return result;
}

char *arena_strdup (arena_t *self, const char *text)
{
    return text ? arena_strndup (self, text, strlen (text)) : NULL;
}

char *arena_printf (arena_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    int length = vsnprintf (NULL, 0, format, args);
    va_end (args);
    assert (length >= 0);
    char *result = take (self, (size_t)length + 1);
    if (!result)
        return NULL;
    va_start (args, format);
    vsnprintf (result, (size_t)length + 1, format, args);
    va_end (args);
    return result;
}
