/*  flush_times - how long the disk's last flushes took

    A ring of the newest FLUSH_TIMES_MAX durations, in microseconds, and their
    percentiles, which are worked out anew every few notes. For timeouts that
    shall fit the disk, and for metrics. Zeroed is empty. One thread.
*/
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { FLUSH_TIMES_MAX = 256, FLUSH_TIMES_STEP = 16 };

typedef struct {
    uint32_t ring[FLUSH_TIMES_MAX];
    size_t count; /* ever noted */
    uint32_t last_us;
    uint32_t p50_us;
    uint32_t p90_us;
    uint32_t p99_us;
} flush_times_t;

/*  Exact as long as fewer than FLUSH_TIMES_STEP are there, then brought up to date with every
    FLUSH_TIMES_STEP-th. */
void flush_times_note (flush_times_t *self, int64_t duration_ns);
/*  Brings the percentiles up to date now. */
void flush_times_update (flush_times_t *self);
