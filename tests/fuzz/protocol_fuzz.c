/*  Hostile bytes as every kind that nodes send each other, as every ledger command
    and as a membership. Its corpus is the golden bytes (tests/unit/golden_test.c). */
#include "actors/protocol/catalog.h"
#include "actors/protocol/cluster.h"
#include "transport/identity.h"
#include "transport/link.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

enum { MEMORY_MAX = 16 << 20 };

/*  Whatever is let in keeps every limit of its table, and goes out and comes back the same. */
static void decode_as (const record_t *kind, const uint8_t *data, size_t size)
{
    arena_t arena;
    nexus_error_t error = {0};
    arena_init (&arena, MEMORY_MAX, NULL, 0);
    void *value = arena_alloc (&arena, kind->size), *back = arena_alloc (&arena, kind->size);
    if (record_decode (kind, data, size, &arena, value, &error)) {
        if (error.code == NEXUS_OK || !error.text[0])
            abort ();
        arena_reset (&arena);
        return;
    }
    buffer_t wire = {0};
    record_encode (kind, value, &wire);
    if (record_decode (kind, wire.data, wire.size, &arena, back, &error) ||
        !record_equal (kind, value, back)) {
        fprintf (stderr, "%s does not come back: %s\n", kind->name, error.text);
        abort ();
    }
    buffer_free (&wire);
    arena_reset (&arena);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    const catalog_t *catalogs[] = {&protocol_catalog, &command_catalog};
    if (!msgpack_valid (data, size)) {
        /*  Refused before its kind matters: one kind stands for all. */
        decode_as (&assignment_record, data, size);
        return 0;
    }
    for (size_t c = 0; c < 2; c++)
        for (size_t i = 0; i < catalogs[c]->count; i++)
            decode_as (catalogs[c]->entries[i].kind, data, size);
    decode_as (&link_hello_record, data, size);
    decode_as (&link_credit_record, data, size);
    decode_as (&membership_record, data, size);
    return 0;
}
