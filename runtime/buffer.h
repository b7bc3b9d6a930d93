/*  buffer - bytes that grow

    A sticky failure: when memory (or the limit) ends, the buffer is marked as
    failed and stays empty; writers check ->failed once, at the end.
    buffer_clear and buffer_free end the failure.
*/
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* 0: none */
    bool failed;
} buffer_t;

/*  A zeroed buffer_t is an empty buffer. */
void buffer_append (buffer_t *self, const void *data, size_t size);
void buffer_printf (buffer_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
/*  size bytes of room behind the content, to be filled by the caller, who then
    adds what he filled to self->size; NULL on failure. */
uint8_t *buffer_reserve (buffer_t *self, size_t size);
/*  Empties, keeps the memory. */
void buffer_clear (buffer_t *self);
/*  Frees the memory; the buffer is empty and usable. */
void buffer_free (buffer_t *self);
