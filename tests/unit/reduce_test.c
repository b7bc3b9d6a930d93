/*  The kernels against a plain loop, bit for bit, at every length and misalignment that matters. */
#include "actors/aggregator/reduce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX = 5000, RANKS = 5 };

static unsigned char memory[RANKS][MAX * sizeof (float) + 16];
static const void *buffers[RANKS];

static float value (size_t rank, size_t i)
{
    return (float)((rank * 7919 + i * 104729) % 20011) / 1000.0f - 10.0f;
}

static float read_float (size_t rank, size_t i)
{
    float x;
    memcpy (&x, (const unsigned char *)buffers[rank] + i * sizeof (float), sizeof (x));
    return x;
}

static void fill (size_t misalignment)
{
    for (size_t rank = 0; rank < RANKS; rank++) {
        buffers[rank] = memory[rank] + misalignment * rank;
        for (size_t i = 0; i < MAX; i++) {
            float x = value (rank, i);
            memcpy (memory[rank] + misalignment * rank + i * sizeof (float), &x, sizeof (x));
        }
    }
}

static void check (data_reduction_t reduction, size_t count, size_t floats)
{
    static float result[MAX + 1];
    result[floats] = 42;
    reduce_buffers (reduction, buffers, count, floats, result);
    for (size_t i = 0; i < floats; i++) {
        float expected = read_float (0, i);
        for (size_t rank = 1; rank < count; rank++) {
            float x = read_float (rank, i);
            if (reduction == REDUCTION_MAX)
                expected = x > expected ? x : expected;
            else
                expected += x;
        }
        if (reduction == REDUCTION_MEAN)
            expected /= (float)count;
        assert_memory_equal (&result[i], &expected, sizeof (float));
    }
    assert_true (result[floats] == 42); /* nothing is written behind the end */
}

static void test_reductions (void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 3, 1023, 1024, 1025, 4096, MAX};
    for (size_t misalignment = 0; misalignment < 4; misalignment++) {
        fill (misalignment);
        for (size_t l = 0; l < sizeof (lengths) / sizeof (lengths[0]); l++)
            for (size_t count = 1; count <= RANKS; count++) {
                check (REDUCTION_SUM, count, lengths[l]);
                check (REDUCTION_MEAN, count, lengths[l]);
                check (REDUCTION_MAX, count, lengths[l]);
            }
    }
}

/*  The order of ranks is the order of additions: in float32 another one gives other bits. */
static void test_order (void **state)
{
    (void)state;
    const float large = 1e8f, small = 1.0f, negative = -1e8f;
    const void *one[] = {&large, &negative, &small};
    const void *other[] = {&large, &small, &negative};
    float a, b;
    reduce_buffers (REDUCTION_SUM, one, 3, 1, &a);
    reduce_buffers (REDUCTION_SUM, other, 3, 1, &b);
    assert_true (a == 1.0f);
    assert_true (b == 0.0f);
}

static void test_update (void **state)
{
    (void)state;
    static float parameters[MAX], momentum[MAX], plain_momentum[MAX], result[MAX];
    const reduce_update_t update = {0.1f, 0.9f, 0.01f};
    fill (1);
    for (size_t i = 0; i < MAX; i++)
        parameters[i] = value (9, i);
    for (int step = 0; step < 3; step++) {
        reduce_update (buffers, RANKS, MAX, &update, parameters, momentum, result);
        for (size_t i = 0; i < MAX; i++) {
            float sum = read_float (0, i);
            for (size_t rank = 1; rank < RANKS; rank++)
                sum += read_float (rank, i);
            float mean = sum / (float)RANKS;
            plain_momentum[i] = 0.9f * plain_momentum[i] + (mean + 0.01f * parameters[i]);
            float expected = parameters[i] - 0.1f * plain_momentum[i];
            assert_memory_equal (&result[i], &expected, sizeof (float));
            assert_memory_equal (&momentum[i], &plain_momentum[i], sizeof (float));
        }
        memcpy (parameters, result, sizeof (parameters));
    }
}

static void test_nan (void **state)
{
    (void)state;
    const float nan = NAN, one = 1.0f;
    const void *pair[] = {&one, &nan};
    float result;
    reduce_buffers (REDUCTION_SUM, pair, 2, 1, &result);
    assert_true (isnan (result)); /* a fault of one rank is seen by all */
    reduce_buffers (REDUCTION_MAX, pair, 2, 1, &result);
    assert_true (result == 1.0f);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_reductions),
        cmocka_unit_test (test_order),
        cmocka_unit_test (test_update),
        cmocka_unit_test (test_nan),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
