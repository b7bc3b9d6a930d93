/*  reduce - sums over float32 buffers that are the same on every CPU

    The order of additions is the order of the buffers, element by element, in
    float32, without contraction into fused multiply-adds: vector units of any
    width give the same bits. Buffers need no alignment (they come from sockets).
    Pure functions; thread-safe.
*/
#pragma once

#include "actors/protocol/data.h"

/*  result[i] = buffers[0][i] op buffers[1][i] op ... ; a mean is the sum divided
    by count. A maximum keeps the first operand where they don't compare (NaN).
    count >= 1; result may not overlap the buffers. */
void reduce_buffers (data_reduction_t reduction, const void *const *buffers, size_t count,
                     size_t floats, float *result);

typedef struct {
    float learning_rate;
    float momentum;
    float weight_decay;
} reduce_update_t;

/*  One step of SGD with momentum on the mean g of the gradients, fused with
    their sum (Sutskever et al. 2013, in the form of PyTorch's SGD):
        m = momentum * m + (g + weight_decay * p);  result = p - learning_rate * m
    result may not overlap the others. */
void reduce_update (const void *const *gradients, size_t count, size_t floats,
                    const reduce_update_t *update, const void *parameters, float *momentum,
                    float *result);
