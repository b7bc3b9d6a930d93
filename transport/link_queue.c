#include "transport/link_queue.h"

#include <assert.h>
#include <stdlib.h>

static bool grow (link_queue_t *self)
{
    size_t capacity = self->capacity ? self->capacity * 2 : 16;
    link_item_t *items = malloc (capacity * sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < self->count; i++)
        items[i] = *link_queue_at (self, i);
    free (self->items);
    self->items = items;
    self->capacity = capacity;
    self->first = 0;
    return true;
}

bool link_queue_push (link_queue_t *self, message_t *message, int64_t expires_ns)
{
    if (self->count == self->capacity && !grow (self))
        return false;
    self->items[(self->first + self->count) & (self->capacity - 1)] =
        (link_item_t){message, expires_ns};
    self->count++;
    self->bytes += message->size;
    return true;
}

link_item_t *link_queue_at (const link_queue_t *self, size_t index)
{
    assert (index < self->count);
    return &self->items[(self->first + index) & (self->capacity - 1)];
}

message_t *link_queue_pop (link_queue_t *self)
{
    message_t *message = link_queue_at (self, 0)->message;
    self->first = (self->first + 1) & (self->capacity - 1);
    self->count--;
    self->bytes -= message->size;
    return message;
}

void link_queue_expire (link_queue_t *self, int64_t now_ns,
                        void (*expired) (void *context, message_t *message), void *context)
{
    size_t count = self->count;
    for (size_t i = 0; i < count; i++) {
        int64_t expires_ns = link_queue_at (self, 0)->expires_ns;
        message_t *message = link_queue_pop (self);
        if (now_ns >= expires_ns)
            expired (context, message);
        else
            link_queue_push (self, message, expires_ns); /* there is room: it just left */
    }
}

void link_queue_free (link_queue_t *self)
{
    assert (self->count == 0);
    free (self->items);
    *self = (link_queue_t){0};
}
