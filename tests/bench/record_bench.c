/*  What a record costs: encode, validate, decode, clone of a small message. */
#include "runtime/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HEARTBEAT(F)               \
    F (UINT, term, _, .min = 1)    \
    F (UINT, index, _)             \
    F (STRING, node, _, .max = 63) \
    F (REAL, load, _)              \
    F (BOOL, draining, _)
RECORD_DECLARE (heartbeat, HEARTBEAT)
#define RECORD_SELF heartbeat_t
RECORD_DEFINE (heartbeat, 1, 0, "A small message.", HEARTBEAT)
#undef RECORD_SELF

enum { ROUNDS = 5000000 };

static double now (void)
{
    struct timespec time;
    clock_gettime (CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void report (const char *what, double started)
{
    printf ("%-10s %6.1f ns\n", what, (now () - started) / ROUNDS * 1e9);
}

int main (void)
{
    heartbeat_t value = {.term = 3, .index = 123456789, .node = "worker-17.eu", .load = 0.7}, copy;
    _Alignas(max_align_t) char first[1024];
    buffer_t wire = {0};
    size_t sum = 0;

    double started = now ();
    for (int i = 0; i < ROUNDS; i++) {
        buffer_clear (&wire);
        value.index++;
        record_encode (&heartbeat_record, &value, &wire);
        sum += wire.size;
    }
    report ("encode", started);

    started = now ();
    for (int i = 0; i < ROUNDS; i++)
        sum += msgpack_valid (wire.data, wire.size);
    report ("validate", started);

    started = now ();
    for (int i = 0; i < ROUNDS; i++) {
        arena_t arena;
        arena_init (&arena, 0, first, sizeof first);
        if (record_decode (&heartbeat_record, wire.data, wire.size, &arena, &copy, NULL))
            return EXIT_FAILURE;
        sum += copy.index;
        arena_reset (&arena);
    }
    report ("decode", started);

    started = now ();
    for (int i = 0; i < ROUNDS; i++) {
        arena_t arena;
        arena_init (&arena, 0, first, sizeof first);
        if (record_clone (&heartbeat_record, &value, &arena, &copy))
            return EXIT_FAILURE;
        sum += copy.index;
        arena_reset (&arena);
    }
    report ("clone", started);
    buffer_free (&wire);
    return sum ? EXIT_SUCCESS : EXIT_FAILURE; /* the sum keeps the loops alive */
}
