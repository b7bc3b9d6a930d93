/*  histogram - latencies, kept to within 1.6 %

    Buckets of 1/64 of a power of two. Plain memory: may lie in shared memory, be
    zeroed with memset and copied.
*/
#pragma once

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 59 * 64 };

typedef struct {
    uint64_t count;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram_t;

void histogram_add (histogram_t *self, uint64_t value);
void histogram_merge (histogram_t *self, const histogram_t *other);
/*  The value that this share (0 to 1) of all does not exceed; 0 if there is none. */
uint64_t histogram_quantile (const histogram_t *self, double share);
