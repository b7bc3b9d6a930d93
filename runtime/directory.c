#include "runtime/directory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry entry_t;
struct entry {
    entry_t *next;
    mailbox_t *mailbox;
    mailbox_t **watchers;
    size_t watcher_count;
};

struct directory {
    pthread_rwlock_t lock;
    entry_t **buckets;
    size_t capacity; /* a power of two */
    size_t count;
};

#define INITIAL 64

uint64_t directory_hash (const address_t *address)
{
    uint64_t words[4];
    memcpy (words, address->actor, sizeof address->actor);
    words[3] = address->instance;
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return hash;
}

bool directory_same (const address_t *a, const address_t *b)
{
    return memcmp (a->actor, b->actor, sizeof a->actor) == 0 && a->instance == b->instance;
}

directory_t *directory_new (void)
{
    directory_t *self = calloc (1, sizeof *self);
    entry_t **buckets = calloc (INITIAL, sizeof *buckets);
    if (!self || !buckets || pthread_rwlock_init (&self->lock, NULL)) {
        free (self);
        free (buckets);
        return NULL;
    }
    self->buckets = buckets;
    self->capacity = INITIAL;
    return self;
}

void directory_destroy (directory_t **self_p)
{
    directory_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->capacity; i++) {
        while (self->buckets[i]) {
            entry_t *entry = self->buckets[i];
            self->buckets[i] = entry->next;
            mailbox_release (&entry->mailbox);
            for (size_t j = 0; j < entry->watcher_count; j++)
                mailbox_release (&entry->watchers[j]);
            free (entry->watchers);
            free (entry);
        }
    }
    pthread_rwlock_destroy (&self->lock);
    free (self->buckets);
    free (self);
    *self_p = NULL;
}

/*  The link that points to the entry, or to the end of its bucket. */
static entry_t **locate (const directory_t *self, const address_t *address)
{
    entry_t **link = &self->buckets[directory_hash (address) & (self->capacity - 1)];
    while (*link && !directory_same (mailbox_address ((*link)->mailbox), address))
        link = &(*link)->next;
    return link;
}

static void grow (directory_t *self)
{
    size_t old_capacity = self->capacity;
    entry_t **old = self->buckets;
    entry_t **buckets = calloc (old_capacity * 2, sizeof *buckets);
    if (!buckets)
        return; /* longer chains still work */
    self->buckets = buckets;
    self->capacity = old_capacity * 2;
    for (size_t i = 0; i < old_capacity; i++) {
        while (old[i]) {
            entry_t *entry = old[i];
            old[i] = entry->next;
            entry_t **link = locate (self, mailbox_address (entry->mailbox));
            entry->next = *link;
            *link = entry;
        }
    }
    free (old);
}

int directory_add (directory_t *self, mailbox_t *mailbox, nexus_error_t *error)
{
    entry_t *entry = calloc (1, sizeof *entry);
    if (!entry)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    char text[64];
    const address_t *address = mailbox_address (mailbox);
    pthread_rwlock_wrlock (&self->lock);
    entry_t **link = locate (self, address);
    if (*link) {
        pthread_rwlock_unlock (&self->lock);
        free (entry);
        return nexus_error_set (error, NEXUS_EXISTS, "there is an actor %s already",
                                address_text (address, text));
    }
    entry->mailbox = mailbox_retain (mailbox);
    *link = entry;
    if (++self->count > self->capacity)
        grow (self);
    pthread_rwlock_unlock (&self->lock);
    return 0;
}

bool directory_remove (directory_t *self, mailbox_t *mailbox, mailbox_t ***ret_watchers,
                       size_t *ret_count)
{
    *ret_watchers = NULL;
    *ret_count = 0;
    pthread_rwlock_wrlock (&self->lock);
    entry_t **link = locate (self, mailbox_address (mailbox));
    entry_t *entry = *link;
    bool found = entry && entry->mailbox == mailbox;
    if (found) {
        *link = entry->next;
        self->count--;
    }
    pthread_rwlock_unlock (&self->lock);
    if (found) {
        *ret_watchers = entry->watchers;
        *ret_count = entry->watcher_count;
        mailbox_release (&entry->mailbox);
        free (entry);
    }
    return found;
}

mailbox_t *directory_find (directory_t *self, const address_t *address)
{
    pthread_rwlock_rdlock (&self->lock);
    entry_t *entry = *locate (self, address);
    mailbox_t *mailbox = entry ? mailbox_retain (entry->mailbox) : NULL;
    pthread_rwlock_unlock (&self->lock);
    return mailbox;
}

static size_t watcher_index (const entry_t *entry, const mailbox_t *watcher)
{
    size_t i = 0;
    while (i < entry->watcher_count && entry->watchers[i] != watcher)
        i++;
    return i;
}

static void drop_watcher (entry_t *entry, size_t i)
{
    mailbox_release (&entry->watchers[i]);
    entry->watchers[i] = entry->watchers[--entry->watcher_count];
}

static bool add_watcher (entry_t *entry, mailbox_t *watcher)
{
    if (watcher_index (entry, watcher) < entry->watcher_count)
        return true;
    /* Those that have ended since make room, so the list is as long as it must be. */
    for (size_t i = entry->watcher_count; i-- > 0;)
        if (mailbox_closed (entry->watchers[i]))
            drop_watcher (entry, i);
    mailbox_t **watchers = realloc (entry->watchers, (entry->watcher_count + 1) * sizeof *watchers);
    if (!watchers)
        return false;
    watchers[entry->watcher_count++] = mailbox_retain (watcher);
    entry->watchers = watchers;
    return true;
}

bool directory_watch (directory_t *self, const address_t *target, mailbox_t *watcher)
{
    pthread_rwlock_wrlock (&self->lock);
    entry_t *entry = *locate (self, target);
    bool watched = entry && add_watcher (entry, watcher);
    pthread_rwlock_unlock (&self->lock);
    return watched;
}

void directory_unwatch (directory_t *self, const address_t *target, const mailbox_t *watcher)
{
    pthread_rwlock_wrlock (&self->lock);
    entry_t *entry = *locate (self, target);
    if (entry) {
        size_t i = watcher_index (entry, watcher);
        if (i < entry->watcher_count)
            drop_watcher (entry, i);
    }
    pthread_rwlock_unlock (&self->lock);
}
