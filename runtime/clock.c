#include "runtime/clock.h"

#include <time.h>

int64_t clock_now_ns (void)
{
    struct timespec ts;
    /* It goes on while the machine sleeps: whoever wakes up must not take a lease of yesterday
       for a valid one. */
    clock_gettime (CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_ms (void)
{
    struct timespec ts;
    clock_gettime (CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
