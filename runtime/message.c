#include "runtime/message.h"

#include "runtime/block_pool.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

RECORD_ENUM_DEFINE (role, ROLES)

#define RECORD_SELF failure_t
RECORD_DEFINE (failure, 1, 0, "The reply that a request gets when it can't have its own.", FAILURE)
#undef RECORD_SELF
#define RECORD_SELF down_t
RECORD_DEFINE (down, 2, 0, "An actor that was watched has ended.", DOWN)
#undef RECORD_SELF
#define RECORD_SELF done_t
RECORD_DEFINE (done, 3, 0, "An empty answer: done.", DONE)
#undef RECORD_SELF

/*  Room for a small record's strings in the message's own block. */
#define INLINE_SIZE 128

/*  What a foreign body may cost: a list of tiny elements grows when decoded. */
#define DECODE_BASE   ((size_t)64 << 10)
#define DECODE_FACTOR 64

_Static_assert(sizeof (address_t) == 64, "an address has no padding: it is compared as bytes");

/*  ---- addresses --------------------------------------------------------- */

address_t address_local (const char *actor, uint64_t instance)
{
    address_t self = {.instance = instance};
    size_t length = strlen (actor);
    assert (length < sizeof self.actor);
    memcpy (self.actor, actor, length);
    return self;
}

address_t address_remote (const record_key_t *node, const char *actor, uint64_t instance)
{
    address_t self = address_local (actor, instance);
    self.node = *node;
    return self;
}

bool address_equal (const address_t *a, const address_t *b)
{
    return memcmp (a, b, sizeof *a) == 0;
}

const char *address_text (const address_t *address, char text[64])
{
    int n = snprintf (text, 64, "%.23s", address->actor);
    if (address->instance)
        n += snprintf (text + n, 64 - (size_t)n, "/%llu", (unsigned long long)address->instance);
    if (!record_key_is_zero (&address->node)) {
        const uint8_t *key = address->node.bytes;
        snprintf (text + n, 64 - (size_t)n, "@%02x%02x%02x%02x", key[0], key[1], key[2], key[3]);
    }
    return text;
}

/*  ---- reference counts --------------------------------------------------- */

/*  The structs are plain C for their readers; their counts are touched only here. */
static void retain (uint32_t *references)
{
    __atomic_fetch_add (references, 1, __ATOMIC_RELAXED);
}

/*  True for whoever drops the last reference. */
static bool release (uint32_t *references)
{
    /* The last owner need not write: nobody else can take a reference any more. */
    if (__atomic_load_n (references, __ATOMIC_ACQUIRE) == 1)
        return true;
    return __atomic_fetch_sub (references, 1, __ATOMIC_ACQ_REL) == 1;
}

static void *must (void *memory, size_t size)
{
    if (!memory) {
        fprintf (stderr, "nexus: out of memory (a message of %zu bytes)\n", size);
        abort ();
    }
    return memory;
}

/*  ---- payloads ----------------------------------------------------------- */

payload_t *payload_new (const void *data, size_t size, void (*release_fn) (void *), void *context)
{
    payload_t *self = must (malloc (sizeof *self), sizeof *self);
    *self = (payload_t){data, size, release_fn, context, 1};
    return self;
}

payload_t *payload_alloc (size_t size, uint8_t **ret_data)
{
    size_t rounded = (size + 63) & ~(size_t)63;
    uint8_t *data = must (aligned_alloc (64, rounded ? rounded : 64), size);
    *ret_data = data;
    return payload_new (data, size, free, data);
}

payload_t *payload_retain (payload_t *self)
{
    retain (&self->references);
    return self;
}

void payload_release (payload_t **self_p)
{
    payload_t *self = *self_p;
    *self_p = NULL;
    if (!self || !release (&self->references))
        return;
    if (self->release)
        self->release (self->context);
    free (self);
}

/*  ---- messages ----------------------------------------------------------- */

/*  One block holds the message, its body and extra bytes for the body's strings;
    most messages fit a pooled block. */
static message_t *create (const record_t *kind, size_t limit, size_t extra)
{
    size_t size = sizeof (message_t) + kind->size + extra;
    bool pooled = size <= BLOCK_SIZE;
    if (pooled)
        size = BLOCK_SIZE;
    message_t *self = must (pooled ? block_alloc () : malloc (size), size);
    memset (self, 0, sizeof *self);
    self->kind = kind;
    self->role = ROLE_LOCAL;
    self->references = 1;
    self->pooled = pooled;
    arena_init (&self->arena, limit, self + 1, size - sizeof *self);
    return self;
}

static void account (message_t *self)
{
    self->size = sizeof *self + self->arena.used + (self->payload ? self->payload->size : 0);
}

message_t *message_new (const record_t *kind, const void *body, payload_t **payload_p,
                        const address_t *to, const address_t *from)
{
    assert (body);
    message_t *self = create (kind, 0, INLINE_SIZE);
    void *copy = arena_alloc (&self->arena, kind->size);
    if (!copy || record_clone (kind, body, &self->arena, copy) == -1)
        must (NULL, kind->size);
    self->body = copy;
    if (payload_p) {
        self->payload = *payload_p;
        *payload_p = NULL;
    }
    self->to = *to;
    self->from = *from;
    account (self);
    return self;
}

message_t *message_decode (const record_t *kind, const uint8_t *data, size_t size,
                           nexus_error_t *error)
{
    message_t *self =
        create (kind, DECODE_BASE + DECODE_FACTOR * size, size < 4096 ? size + INLINE_SIZE : 4096);
    void *body = arena_alloc (&self->arena, kind->size);
    if (!body) {
        message_release (&self);
        nexus_error_set (error, NEXUS_EXHAUSTED, "%s: too large to decode", kind->name);
        return NULL;
    }
    if (record_decode (kind, data, size, &self->arena, body, error) == -1) {
        message_release (&self);
        return NULL;
    }
    self->body = body;
    account (self);
    return self;
}

message_t *message_retain (message_t *self)
{
    retain (&self->references);
    return self;
}

void message_release (message_t **self_p)
{
    message_t *self = *self_p;
    *self_p = NULL;
    if (!self || !release (&self->references))
        return;
    payload_release (&self->payload);
    if (self->arena.blocks)
        arena_reset (&self->arena);
    if (self->pooled)
        block_free (self);
    else
        free (self);
}
