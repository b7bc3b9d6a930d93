/*  known_masters - whom a node takes for the masters of its cluster */
#include "actors/protocol/known_masters.h"

#include "transport/link.h"
#include "transport/resolve.h"

#include <stdlib.h>
#include <string.h>

static bool same_key (const record_key_t *a, const record_key_t *b)
{
    return memcmp (a, b, sizeof (*a)) == 0;
}

static const master_t *find (const master_t *masters, size_t count, const record_key_t *key)
{
    for (size_t i = 0; i < count; i++)
        if (same_key (&masters[i].key, key))
            return &masters[i];
    return NULL;
}

const master_t *known_masters_find (const known_masters_t *self, const record_key_t *key)
{
    return find (self->items, self->count, key);
}

static void copy (known_masters_t *self, uint64_t index, const master_t *masters, size_t count)
{
    self->index = index;
    self->count = count < KNOWN_MASTERS_MAX ? count : KNOWN_MASTERS_MAX;
    for (size_t i = 0; i < self->count; i++)
        if (record_clone (&master_record, &masters[i], &self->arena, &self->items[i]))
            abort (); /* the arena has no limit: there is no memory */
}

void known_masters_init (known_masters_t *self, uint64_t index, const master_t *masters,
                         size_t count)
{
    arena_init (&self->arena, 0, NULL, 0);
    copy (self, index, masters, count);
}

void known_masters_clear (known_masters_t *self)
{
    arena_reset (&self->arena);
    self->count = 0;
}

static const char *endpoint_of (const master_t *master)
{
    return master && master->endpoint ? master->endpoint : "";
}

/*  Who was at another place, or nowhere, is dialled there. */
static void dial (context_t *ctx, const master_t *before, const master_t *master)
{
    const char *endpoint = endpoint_of (master);
    address_t link = address_local ("link", 0);
    if (same_key (&master->key, context_node (ctx)) || !*endpoint ||
        strcmp (endpoint, endpoint_of (before)) == 0)
        return;
    link_dial_t body = {.node = master->key,
                        .endpoints = {&endpoint, 1},
                        .role = ROLE_MASTER,
                        .name = master->name};
    context_send (ctx, &link, &link_dial_record, &body);
}

static bool same (const known_masters_t *self, const master_t *masters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const master_t *known = known_masters_find (self, &masters[i].key);
        if (!known || !record_equal (&master_record, known, &masters[i]))
            return false;
    }
    return self->count == count;
}

bool known_masters_take (known_masters_t *self, context_t *ctx, uint64_t index,
                         const master_t *masters, size_t count)
{
    if (count == 0 || count > KNOWN_MASTERS_MAX || index < self->index ||
        (index == self->index && same (self, masters, count)))
        return false;
    address_t link = address_local ("link", 0);
    for (size_t i = 0; i < count; i++)
        dial (ctx, known_masters_find (self, &masters[i].key), &masters[i]);
    for (size_t i = 0; i < self->count; i++)
        if (!find (masters, count, &self->items[i].key) &&
            !same_key (&self->items[i].key, context_node (ctx)))
            context_send (ctx, &link, &link_hangup_record,
                          &(link_hangup_t){.node = self->items[i].key});
    arena_t old = self->arena;
    arena_init (&self->arena, 0, NULL, 0);
    copy (self, index, masters, count);
    arena_reset (&old); /* masters may have stood in it */
    return true;
}

int known_masters_check_addresses (const char *endpoint, const char *api, nexus_error_t *error)
{
    if (!resolve_is_reachable (endpoint))
        return nexus_error_set (
            error, NEXUS_INVALID,
            "endpoint: expected tcp://HOST:PORT, where others reach it; found \"%.200s\"",
            endpoint);
    if (api && *api && (strncmp (api, "https://", 8) != 0 || strcspn (api + 8, ":/") == 0))
        return nexus_error_set (error, NEXUS_INVALID,
                                "api: expected https://HOST:PORT, found \"%.200s\"", api);
    return 0;
}
