#include "runtime/pending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  Open addressing with linear probing; correlations are consecutive, so their
    low bits alone spread them perfectly. */
struct pending {
    pending_entry_t *entries; /* correlation 0: free */
    size_t capacity;          /* a power of two */
    size_t count;
    uint64_t next;
};

static void *must (void *memory)
{
    if (!memory) {
        fprintf (stderr, "nexus: out of memory (pending requests)\n");
        abort ();
    }
    return memory;
}

pending_t *pending_new (uint64_t first)
{
    pending_t *self = must (calloc (1, sizeof *self));
    self->next = first;
    return self;
}

void pending_destroy (pending_t **self_p)
{
    pending_t *self = *self_p;
    if (!self)
        return;
    free (self->entries);
    free (self);
    *self_p = NULL;
}

uint64_t pending_next (pending_t *self)
{
    if (!self->next)
        self->next = 1;
    return self->next;
}

static void insert (pending_t *self, const pending_entry_t *entry)
{
    size_t i = entry->correlation & (self->capacity - 1);
    while (self->entries[i].correlation)
        i = (i + 1) & (self->capacity - 1);
    self->entries[i] = *entry;
}

static void grow (pending_t *self)
{
    pending_entry_t *old = self->entries;
    size_t old_capacity = self->capacity;
    self->capacity = old_capacity ? old_capacity * 2 : 8;
    self->entries = must (calloc (self->capacity, sizeof *self->entries));
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].correlation)
            insert (self, &old[i]);
    free (old);
}

uint64_t pending_add (pending_t *self, void *owner, uint64_t timer, const address_t *to,
                      uint64_t trace)
{
    if (self->count * 2 >= self->capacity)
        grow (self);
    pending_entry_t entry = {pending_next (self), owner, timer, *to, trace};
    self->next++;
    insert (self, &entry);
    self->count++;
    return entry.correlation;
}

/*  Closes the gap at i, so that probing never stops short of an entry. */
static void close_gap (pending_t *self, size_t i)
{
    size_t mask = self->capacity - 1;
    self->entries[i].correlation = 0;
    for (size_t j = (i + 1) & mask; self->entries[j].correlation; j = (j + 1) & mask) {
        size_t home = self->entries[j].correlation & mask;
        if (((j - home) & mask) < ((j - i) & mask))
            continue; /* it sits between its home and the gap's other side */
        self->entries[i] = self->entries[j];
        self->entries[j].correlation = 0;
        i = j;
    }
}

const pending_entry_t *pending_find (const pending_t *self, const void *owner, uint64_t correlation)
{
    if (!correlation || !self->count)
        return NULL;
    size_t mask = self->capacity - 1;
    size_t i = correlation & mask;
    while (self->entries[i].correlation != correlation) {
        if (!self->entries[i].correlation)
            return NULL;
        i = (i + 1) & mask;
    }
    return self->entries[i].owner == owner ? &self->entries[i] : NULL;
}

bool pending_take (pending_t *self, const void *owner, uint64_t correlation,
                   pending_entry_t *ret_entry)
{
    const pending_entry_t *entry = pending_find (self, owner, correlation);
    if (!entry)
        return false;
    if (ret_entry)
        *ret_entry = *entry;
    close_gap (self, (size_t)(entry - self->entries));
    self->count--;
    return true;
}

size_t pending_count (const pending_t *self)
{
    return self->count;
}
