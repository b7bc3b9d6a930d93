/*  reduce - float32 kernels, a block at a time

    Every loop has a constant trip count over a block that fits the first-level
    cache, which is what compilers vectorise at -O2 without further checks; what
    is misaligned or shorter than a block passes through a block of its own.
*/
#include "actors/aggregator/reduce.h"

#include <assert.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "payloads are little-endian float32 and are summed where they lie"
#endif

enum { BLOCK = 1024 };

/*  floats elements of data from first on, as a whole aligned block. */
static const float *block_at (const void *data, size_t first, size_t floats, float scratch[BLOCK])
{
    const unsigned char *bytes = (const unsigned char *)data + first * sizeof (float);
    if (floats == BLOCK && (uintptr_t)bytes % _Alignof(float) == 0)
        return (const float *)(const void *)bytes;
    memcpy (scratch, bytes, floats * sizeof (float));
    memset (scratch + floats, 0, (BLOCK - floats) * sizeof (float));
    return scratch;
}

static void add (float *restrict sum, const float *restrict x)
{
    for (int i = 0; i < BLOCK; i++)
        sum[i] += x[i];
}

static void maximum (float *restrict largest, const float *restrict x)
{
    for (int i = 0; i < BLOCK; i++)
        largest[i] = x[i] > largest[i] ? x[i] : largest[i];
}

static void divide (float *restrict sum, float by)
{
    for (int i = 0; i < BLOCK; i++)
        sum[i] /= by;
}

static void reduce_block (data_reduction_t reduction, const void *const *buffers, size_t count,
                          size_t first, size_t floats, float result[BLOCK])
{
    float scratch[BLOCK];
    memcpy (result, block_at (buffers[0], first, floats, scratch), BLOCK * sizeof (float));
    for (size_t k = 1; k < count; k++) {
        const float *x = block_at (buffers[k], first, floats, scratch);
        if (reduction == REDUCTION_MAX)
            maximum (result, x);
        else
            add (result, x);
    }
    if (reduction == REDUCTION_MEAN)
        divide (result, (float)count);
}

void reduce_buffers (data_reduction_t reduction, const void *const *buffers, size_t count,
                     size_t floats, float *result)
{
    assert (count > 0);
    float block[BLOCK];
    for (size_t first = 0; first < floats; first += BLOCK) {
        size_t size = floats - first < BLOCK ? floats - first : BLOCK;
        reduce_block (reduction, buffers, count, first, size, block);
        memcpy (result + first, block, size * sizeof (float));
    }
}

/*  g becomes the new parameters. */
static void step (float *restrict g, const float *restrict p, float *restrict m,
                  const reduce_update_t *update)
{
    const float rate = update->learning_rate;
    const float mu = update->momentum;
    const float decay = update->weight_decay;
    for (int i = 0; i < BLOCK; i++) {
        m[i] = mu * m[i] + (g[i] + decay * p[i]);
        g[i] = p[i] - rate * m[i];
    }
}

void reduce_update (const void *const *gradients, size_t count, size_t floats,
                    const reduce_update_t *update, const void *parameters, float *momentum,
                    float *result)
{
    assert (count > 0);
    float block[BLOCK], p_scratch[BLOCK], m_block[BLOCK];
    for (size_t first = 0; first < floats; first += BLOCK) {
        size_t size = floats - first < BLOCK ? floats - first : BLOCK;
        reduce_block (REDUCTION_MEAN, gradients, count, first, size, block);
        const float *p = block_at (parameters, first, size, p_scratch);
        memset (m_block, 0, sizeof (m_block));
        memcpy (m_block, momentum + first, size * sizeof (float));
        step (block, p, m_block, update);
        memcpy (momentum + first, m_block, size * sizeof (float));
        memcpy (result + first, block, size * sizeof (float));
    }
}
