/*  buffer - bytes that grow */
#include "runtime/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 256 };

static uint8_t *fail (buffer_t *self)
{
    self->failed = true;
    self->size = 0;
    return NULL;
}

static uint8_t *grow (buffer_t *self, size_t size)
{
    if (size > (size_t)PTRDIFF_MAX - self->size)
        return fail (self);
    size_t needed = self->size + size;
    size_t capacity = self->capacity < CAPACITY_MIN ? CAPACITY_MIN : self->capacity;
    while (capacity < needed)
        capacity = capacity > PTRDIFF_MAX / 2 ? needed : capacity * 2;
    if (self->limit && capacity > self->limit && needed <= self->limit)
        capacity = self->limit;
    uint8_t *data = realloc (self->data, capacity);
    if (!data)
        return fail (self);
    self->data = data;
    self->capacity = capacity;
    return data + self->size;
}

uint8_t *buffer_reserve (buffer_t *self, size_t size)
{
    assert (self);
    if (self->failed)
        return NULL;
    if (self->limit && (self->size > self->limit || size > self->limit - self->size))
        return fail (self);
    if (self->data && size <= self->capacity - self->size)
        return self->data + self->size;
    return grow (self, size);
}

void buffer_append (buffer_t *self, const void *data, size_t size)
{
    if (!size)
        return;
    uint8_t *room = buffer_reserve (self, size);
    if (room) {
        memcpy (room, data, size);
        self->size += size;
    }
}

void buffer_printf (buffer_t *self, const char *format, ...)
{
    char local[256];
    va_list args;
    va_start (args, format);
    int length = vsnprintf (local, sizeof local, format, args);
    va_end (args);
    assert (length >= 0);
    if ((size_t)length < sizeof local) {
        buffer_append (self, local, (size_t)length);
        return;
    }
    /* vsnprintf writes a NUL, for which the limit need not have room. */
    char *text = malloc ((size_t)length + 1);
    if (!text) {
        fail (self);
        return;
    }
    va_start (args, format);
    vsnprintf (text, (size_t)length + 1, format, args);
    va_end (args);
    buffer_append (self, text, (size_t)length);
    free (text);
}

void buffer_clear (buffer_t *self)
{
    assert (self);
    self->size = 0;
    self->failed = false;
}

void buffer_free (buffer_t *self)
{
    assert (self);
    free (self->data);
    *self = (buffer_t){.limit = self->limit};
}
