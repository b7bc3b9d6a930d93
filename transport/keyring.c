#include "transport/keyring.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DOMAINS_MAX 16

typedef struct {
    char name[KEYRING_DOMAIN_MAX];
    keyring_entry_t *entries; /* ascending by key, no key twice */
    size_t count;
    size_t capacity;
} domain_t;

struct keyring {
    pthread_rwlock_t lock;
    domain_t domains[DOMAINS_MAX];
    size_t domain_count;
    _Atomic uint64_t generation;
    _Atomic uint32_t references;
};

keyring_t *keyring_new (void)
{
    keyring_t *self = calloc (1, sizeof *self);
    if (!self)
        abort ();
    pthread_rwlock_init (&self->lock, NULL);
    atomic_init (&self->generation, 1);
    atomic_init (&self->references, 1);
    return self;
}

keyring_t *keyring_retain (keyring_t *self)
{
    atomic_fetch_add_explicit (&self->references, 1, memory_order_relaxed);
    return self;
}

void keyring_release (keyring_t **self_p)
{
    keyring_t *self = *self_p;
    *self_p = NULL;
    if (!self || atomic_fetch_sub_explicit (&self->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < self->domain_count; i++)
        free (self->domains[i].entries);
    pthread_rwlock_destroy (&self->lock);
    free (self);
}

static domain_t *find_domain (keyring_t *self, const char *name)
{
    for (size_t i = 0; i < self->domain_count; i++)
        if (strcmp (self->domains[i].name, name) == 0)
            return &self->domains[i];
    return NULL;
}

static domain_t *need_domain (keyring_t *self, const char *name, nexus_error_t *error)
{
    assert (*name && strlen (name) < KEYRING_DOMAIN_MAX);
    domain_t *domain = find_domain (self, name);
    if (domain)
        return domain;
    if (self->domain_count == DOMAINS_MAX) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "keyring: more than %d domains", DOMAINS_MAX);
        return NULL;
    }
    domain = &self->domains[self->domain_count++];
    strcpy (domain->name, name);
    return domain;
}

/*  Where the key stands, or would stand. */
static size_t position (const domain_t *domain, const record_key_t *key, bool *ret_found)
{
    size_t low = 0, high = domain->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp (domain->entries[middle].key.bytes, key->bytes, sizeof key->bytes);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

static void changed (keyring_t *self)
{
    atomic_fetch_add_explicit (&self->generation, 1, memory_order_release);
}

static int by_key (const void *a, const void *b)
{
    const keyring_entry_t *left = a, *right = b;
    return memcmp (left->key.bytes, right->key.bytes, sizeof left->key.bytes);
}

static int no_room (nexus_error_t *error, const char *domain)
{
    return nexus_error_set (error, NEXUS_EXHAUSTED,
                            "keyring: no room for more keys in \"%s\" (limit %d)", domain,
                            KEYRING_ENTRIES_MAX);
}

int keyring_replace (keyring_t *self, const char *domain_name, const keyring_entry_t *entries,
                     size_t count, nexus_error_t *error)
{
    keyring_entry_t *table =
        count <= KEYRING_ENTRIES_MAX ? malloc ((count + 1) * sizeof *table) : NULL;
    if (!table)
        return no_room (error, domain_name);
    if (count)
        memcpy (table, entries, count * sizeof *table);
    qsort (table, count, sizeof *table, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || by_key (&table[kept - 1], &table[i]) != 0)
            table[kept++] = table[i];

    pthread_rwlock_wrlock (&self->lock);
    domain_t *domain = need_domain (self, domain_name, error);
    keyring_entry_t *old = table;
    if (domain) {
        old = domain->entries;
        domain->entries = table;
        domain->count = kept;
        domain->capacity = count + 1;
        changed (self);
    }
    pthread_rwlock_unlock (&self->lock);
    free (old);
    return domain ? 0 : -1;
}

static int insert (domain_t *domain, size_t at, const keyring_entry_t *entry, nexus_error_t *error)
{
    if (domain->count == KEYRING_ENTRIES_MAX)
        return no_room (error, domain->name);
    if (domain->count == domain->capacity) {
        size_t capacity = domain->capacity ? domain->capacity * 2 : 16;
        keyring_entry_t *entries = realloc (domain->entries, capacity * sizeof *entries);
        if (!entries)
            return no_room (error, domain->name);
        domain->entries = entries;
        domain->capacity = capacity;
    }
    memmove (&domain->entries[at + 1], &domain->entries[at],
             (domain->count - at) * sizeof *domain->entries);
    domain->entries[at] = *entry;
    domain->count++;
    return 0;
}

int keyring_allow (keyring_t *self, const char *domain_name, const keyring_entry_t *entry,
                   nexus_error_t *error)
{
    pthread_rwlock_wrlock (&self->lock);
    int rc = -1;
    domain_t *domain = need_domain (self, domain_name, error);
    if (domain) {
        bool found;
        size_t at = position (domain, &entry->key, &found);
        if (found) {
            domain->entries[at] = *entry;
            rc = 0;
        } else
            rc = insert (domain, at, entry, error);
    }
    if (rc == 0)
        changed (self);
    pthread_rwlock_unlock (&self->lock);
    return rc;
}

bool keyring_forget (keyring_t *self, const char *domain_name, const record_key_t *key)
{
    pthread_rwlock_wrlock (&self->lock);
    bool found = false;
    domain_t *domain = find_domain (self, domain_name);
    if (domain) {
        size_t at = position (domain, key, &found);
        if (found) {
            domain->count--;
            memmove (&domain->entries[at], &domain->entries[at + 1],
                     (domain->count - at) * sizeof *domain->entries);
            changed (self);
        }
    }
    pthread_rwlock_unlock (&self->lock);
    return found;
}

bool keyring_find (keyring_t *self, const char *domain_name, const record_key_t *key,
                   int64_t wall_ms, keyring_entry_t *ret_entry)
{
    pthread_rwlock_rdlock (&self->lock);
    bool found = false;
    domain_t *domain = find_domain (self, domain_name);
    if (domain) {
        size_t at = position (domain, key, &found);
        if (found) {
            const keyring_entry_t *entry = &domain->entries[at];
            found = !entry->not_after_ms || wall_ms < entry->not_after_ms;
            if (found)
                *ret_entry = *entry;
        }
    }
    pthread_rwlock_unlock (&self->lock);
    return found;
}

uint64_t keyring_generation (const keyring_t *self)
{
    return atomic_load_explicit (&self->generation, memory_order_acquire);
}
