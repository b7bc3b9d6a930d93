#include "storage/flush_times.h"

#include <stdlib.h>
#include <string.h>

static int compare (const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/*  Of n values the one that at least percent of them don't exceed (nearest rank). */
static size_t rank (size_t n, size_t percent)
{
    return (n * percent + 99) / 100 - 1;
}

void flush_times_update (flush_times_t *self)
{
    uint32_t sorted[FLUSH_TIMES_MAX];
    size_t n = self->count < FLUSH_TIMES_MAX ? self->count : FLUSH_TIMES_MAX;
    if (n == 0)
        return;
    memcpy (sorted, self->ring, n * sizeof sorted[0]);
    qsort (sorted, n, sizeof sorted[0], compare);
    self->p50_us = sorted[rank (n, 50)];
    self->p90_us = sorted[rank (n, 90)];
    self->p99_us = sorted[rank (n, 99)];
}

void flush_times_note (flush_times_t *self, int64_t duration_ns)
{
    int64_t us = duration_ns / 1000;
    self->last_us = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    self->ring[self->count++ % FLUSH_TIMES_MAX] = self->last_us;
    if (self->count <= FLUSH_TIMES_STEP || self->count % FLUSH_TIMES_STEP == 0)
        flush_times_update (self);
}
