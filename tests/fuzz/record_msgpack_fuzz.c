/*  Bytes from the wire: validator and decoder. */
#include "tests/fuzz/sample.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    arena_t arena;
    arena_init (&arena, SAMPLE_ARENA_MAX, NULL, 0);
    nexus_error_t error = {0};
    sample_t value;
    if (record_decode (&sample_record, data, size, &arena, &value, &error) == 0) {
        sample_expect_sound (&value, &arena);
    } else if (error.code == NEXUS_OK || !error.text[0]) {
        abort ();
    }
    arena_reset (&arena);
    return 0;
}
