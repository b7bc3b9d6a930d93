/*  clock - the two clocks of production

    Behaviours never call this: they ask their context, which in the simulator
    answers with virtual time. Thread-safe.
*/
#pragma once

#include <stdint.h>

/*  CLOCK_BOOTTIME, nanoseconds: for time-outs and durations. It goes on while the machine sleeps. */
int64_t clock_now_ns (void);

/*  Milliseconds since 1970: for records and people. */
int64_t clock_wall_ms (void);
