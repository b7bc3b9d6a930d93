/*  JSON from anybody, and back. */
#include "tests/fuzz/sample.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    json_t *json = json_loadb ((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (!json)
        return 0;
    arena_t arena;
    arena_init (&arena, SAMPLE_ARENA_MAX, NULL, 0);
    record_faults_t faults = {0};
    sample_t value, back;
    if (record_from_json (&sample_record, json, 0, &arena, &value, &faults) == 0) {
        sample_expect_sound (&value, &arena);
        json_t *again = record_to_json (&sample_record, &value, RECORD_SHOW_SECRETS);
        if (record_from_json (&sample_record, again, 0, &arena, &back, &faults) ||
            !record_equal (&sample_record, &value, &back))
            abort ();
        json_decref (again);
    } else if (faults.count == 0) {
        abort ();
    }
    json_decref (json);
    arena_reset (&arena);
    return 0;
}
