/*  A YAML file from anybody, and back. */
#include "tests/fuzz/sample.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    arena_t arena;
    arena_init (&arena, SAMPLE_ARENA_MAX, NULL, 0);
    record_faults_t faults = {0};
    sample_t value, back;
    if (record_from_yaml (&sample_record, (const char *)data, size, 0, &arena, &value, &faults) ==
        0) {
        sample_expect_sound (&value, &arena);
        buffer_t out = {0};
        record_to_yaml (&sample_record, &value, RECORD_SHOW_SECRETS, &out);
        if (record_from_yaml (&sample_record, (const char *)out.data, out.size, 0, &arena, &back,
                              &faults) ||
            !record_equal (&sample_record, &value, &back)) {
            fprintf (stderr, "%s%.*s", record_faults_text (&faults, "again", &arena), (int)out.size,
                     (const char *)out.data);
            abort ();
        }
        buffer_free (&out);
    } else if (faults.count == 0) {
        abort ();
    }
    arena_reset (&arena);
    return 0;
}
