#include "runtime/timers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/*  An id is a sequence number above the number of the slot that holds the
    timer: found at once, and ordered by age. */
#define SLOT_BITS 24
#define SLOT_MASK ((UINT64_C (1) << SLOT_BITS) - 1)

typedef struct {
    timer_entry_t entry; /* id 0: the slot is free */
    timer_list_t *list;
    uint32_t heap;       /* place in the heap */
    uint32_t next, prev; /* in the owner's list, slot + 1; next also in the free list */
} slot_t;

struct timers {
    slot_t *slots;
    uint32_t *heap; /* slot numbers */
    uint32_t capacity;
    uint32_t count;
    uint32_t used; /* slots ever used */
    uint32_t free; /* slot + 1 */
    uint64_t sequence;
};

timers_t *timers_new (void)
{
    timers_t *self = calloc (1, sizeof *self);
    if (!self) {
        fprintf (stderr, "nexus: out of memory (timers)\n");
        abort ();
    }
    return self;
}

void timers_destroy (timers_t **self_p)
{
    timers_t *self = *self_p;
    if (!self)
        return;
    free (self->slots);
    free (self->heap);
    free (self);
    *self_p = NULL;
}

static void grow (timers_t *self)
{
    uint32_t capacity = self->capacity ? self->capacity * 2 : 8;
    assert (capacity <= SLOT_MASK);
    slot_t *slots = realloc (self->slots, capacity * sizeof *slots);
    uint32_t *heap = realloc (self->heap, capacity * sizeof *heap);
    if (!slots || !heap) {
        fprintf (stderr, "nexus: out of memory (%u timers)\n", self->count);
        abort ();
    }
    self->slots = slots;
    self->heap = heap;
    self->capacity = capacity;
}

static bool before (const timers_t *self, uint32_t a, uint32_t b)
{
    const timer_entry_t *x = &self->slots[a].entry;
    const timer_entry_t *y = &self->slots[b].entry;
    return x->at_ns != y->at_ns ? x->at_ns < y->at_ns : x->id < y->id;
}

static void place (timers_t *self, uint32_t position, uint32_t slot)
{
    self->heap[position] = slot;
    self->slots[slot].heap = position;
}

static void sift_up (timers_t *self, uint32_t position, uint32_t slot)
{
    while (position > 0) {
        uint32_t parent = (position - 1) / 2;
        if (!before (self, slot, self->heap[parent]))
            break;
        place (self, position, self->heap[parent]);
        position = parent;
    }
    place (self, position, slot);
}

static void sift_down (timers_t *self, uint32_t position, uint32_t slot)
{
    for (;;) {
        uint32_t child = position * 2 + 1;
        if (child >= self->count)
            break;
        if (child + 1 < self->count && before (self, self->heap[child + 1], self->heap[child]))
            child++;
        if (!before (self, self->heap[child], slot))
            break;
        place (self, position, self->heap[child]);
        position = child;
    }
    place (self, position, slot);
}

uint64_t timers_add (timers_t *self, int64_t at_ns, void *owner, timer_list_t *list, int tag,
                     uint64_t data)
{
    if (self->count == self->capacity)
        grow (self);
    uint32_t number;
    if (self->free) {
        number = self->free - 1;
        self->free = self->slots[number].next;
    } else {
        number = self->used++;
    }
    slot_t *slot = &self->slots[number];
    uint64_t id = ++self->sequence << SLOT_BITS | number;
    slot->entry =
        (timer_entry_t){.id = id, .at_ns = at_ns, .owner = owner, .tag = tag, .data = data};
    slot->list = list;
    slot->prev = 0;
    slot->next = list->first;
    if (slot->next)
        self->slots[slot->next - 1].prev = number + 1;
    list->first = number + 1;
    sift_up (self, self->count++, number);
    return id;
}

static void take (timers_t *self, uint32_t number, timer_entry_t *ret_entry)
{
    slot_t *slot = &self->slots[number];
    assert (slot->entry.id);
    if (ret_entry)
        *ret_entry = slot->entry;
    if (slot->prev)
        self->slots[slot->prev - 1].next = slot->next;
    else
        slot->list->first = slot->next;
    if (slot->next)
        self->slots[slot->next - 1].prev = slot->prev;

    uint32_t hole = slot->heap;
    uint32_t last = self->heap[--self->count];
    if (last != number) {
        sift_up (self, hole, last);
        sift_down (self, self->slots[last].heap, last);
    }
    slot->entry.id = 0;
    slot->next = self->free;
    self->free = number + 1;
}

bool timers_cancel (timers_t *self, const void *owner, uint64_t id)
{
    uint32_t number = (uint32_t)(id & SLOT_MASK);
    if (!id || number >= self->used)
        return false;
    const timer_entry_t *entry = &self->slots[number].entry;
    if (entry->id != id || entry->owner != owner)
        return false;
    take (self, number, NULL);
    return true;
}

bool timers_drop (timers_t *self, const timer_list_t *list, timer_entry_t *ret_entry)
{
    if (!list->first)
        return false;
    take (self, list->first - 1, ret_entry);
    return true;
}

int64_t timers_next (const timers_t *self)
{
    return self->count ? self->slots[self->heap[0]].entry.at_ns : INT64_MAX;
}

bool timers_pop (timers_t *self, int64_t now_ns, timer_entry_t *ret_entry)
{
    if (timers_next (self) > now_ns || !self->count)
        return false;
    take (self, self->heap[0], ret_entry);
    return true;
}

size_t timers_count (const timers_t *self)
{
    return self->count;
}
