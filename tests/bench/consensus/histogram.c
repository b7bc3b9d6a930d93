#include "tests/bench/consensus/histogram.h"

#include <stddef.h>

static size_t bucket_of (uint64_t value)
{
    if (value < 64)
        return (size_t)value;
    unsigned exponent = 63 - (unsigned)__builtin_clzll (value);
    return (exponent - 5) * 64 + ((value >> (exponent - 6)) & 63);
}

/*  The middle of a bucket. */
static uint64_t value_of (size_t bucket)
{
    if (bucket < 64)
        return bucket;
    unsigned shift = (unsigned)(bucket / 64) - 1;
    return ((64 + (uint64_t)(bucket % 64)) << shift) + ((UINT64_C (1) << shift) >> 1);
}

void histogram_add (histogram_t *self, uint64_t value)
{
    self->count++;
    self->buckets[bucket_of (value)]++;
}

void histogram_merge (histogram_t *self, const histogram_t *other)
{
    self->count += other->count;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        self->buckets[i] += other->buckets[i];
}

uint64_t histogram_quantile (const histogram_t *self, double share)
{
    uint64_t rank = (uint64_t)((double)self->count * share), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && self->count; i++) {
        seen += self->buckets[i];
        if (seen > rank || seen == self->count)
            return value_of (i);
    }
    return 0;
}
