/*  sample - a record with every kind of field, for the fuzz targets of the codecs */
#pragma once

#include "runtime/record.h"

#include <stdio.h>
#include <stdlib.h>

#define SAMPLE_MOOD(E) E (SAMPLE_CALM, "calm") E (SAMPLE_BUSY, "busy")
RECORD_ENUM (sample_mood, SAMPLE_MOOD)
RECORD_ENUM_DEFINE (sample_mood, SAMPLE_MOOD)

#define SAMPLE_POINT(F)                       \
    F (REAL, x, _, .min = -1000, .max = 1000) \
    F (INT, y, _, .def = "7")                 \
    F (STRING, label, _, .max = 20)
RECORD_DECLARE (sample_point, SAMPLE_POINT)
#define RECORD_SELF sample_point_t
RECORD_DEFINE (sample_point, 0, 0, "A point.", SAMPLE_POINT)
#undef RECORD_SELF

#define SAMPLE(F)                                                      \
    F (STRING, name, _, .flags = RECORD_REQUIRED, .min = 1, .max = 63) \
    F (BOOL, on, _, .def = "true")                                     \
    F (INT, delta, _)                                                  \
    F (UINT, count, _, .max = 1e15)                                    \
    F (REAL, rate, _)                                                  \
    F (BYTES, blob, _, .max = 2000)                                    \
    F (KEY, key, _)                                                    \
    F (STRING, token, _, .flags = RECORD_SECRET)                       \
    F (ENUM, mood, sample_mood)                                        \
    F (RECORD, home, sample_point)                                     \
    F (STRINGS, command, _, .max = 10)                                 \
    F (INTS, shape, _, .max = 8)                                       \
    F (MAP, env, _, .max = 50)                                         \
    F (RECORDS, trail, sample_point, .max = 30)
RECORD_DECLARE (sample, SAMPLE)
#define RECORD_SELF sample_t
RECORD_DEFINE (sample, 17, 0, "Every kind of field.", SAMPLE)
#undef RECORD_SELF

enum { SAMPLE_ARENA_MAX = 8 << 20 };

/*  Whatever a reader lets in must be valid and come back the same from the wire. */
static void sample_expect_sound (const sample_t *value, arena_t *arena)
{
    record_faults_t faults = {0};
    if (record_check (&sample_record, value, arena, &faults)) {
        fprintf (stderr, "let in: %s", record_faults_text (&faults, "value", arena));
        abort ();
    }
    buffer_t wire = {0};
    nexus_error_t error;
    sample_t back;
    record_encode (&sample_record, value, &wire);
    if (record_decode (&sample_record, wire.data, wire.size, arena, &back, &error)) {
        fprintf (stderr, "does not decode: %s\n", error.text);
        abort ();
    }
    if (!record_equal (&sample_record, value, &back))
        abort ();
    buffer_free (&wire);
}
