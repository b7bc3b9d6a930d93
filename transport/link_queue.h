/*  link_queue - messages that wait for a peer: bounded in count, bytes and time

    A ring that grows by doubling. Belongs to one thread.
*/
#pragma once

#include "runtime/message.h"

typedef struct {
    message_t *message; /* one reference */
    int64_t expires_ns;
} link_item_t;

typedef struct {
    link_item_t *items;
    size_t capacity; /* a power of 2, or 0 */
    size_t first;
    size_t count;
    size_t bytes;
} link_queue_t;

/*  Takes over the reference. False (and nothing taken) if memory ended. */
bool link_queue_push (link_queue_t *self, message_t *message, int64_t expires_ns);
/*  The index-th from the front; asserts that there is one. */
link_item_t *link_queue_at (const link_queue_t *self, size_t index);
/*  Hands the front's reference to the caller. */
message_t *link_queue_pop (link_queue_t *self);
/*  Takes every message whose time is over out, in order, through expired, which gets the
    reference. */
void link_queue_expire (link_queue_t *self, int64_t now_ns,
                        void (*expired) (void *context, message_t *message), void *context);
/*  The queue must be empty. */
void link_queue_free (link_queue_t *self);
