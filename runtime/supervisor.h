/*  supervisor - OTP's supervision, as a behaviour

    Starts its children in order, stops them in reverse, restarts them by their
    restart type and its strategy. More than intensity restarts within period:
    the supervisor itself stops its children and fails, so that its own
    supervisor decides. Source: Erlang/OTP, supervisor(3).
*/
#pragma once

#include "runtime/behaviour.h"

typedef enum {
    SUPERVISE_ONE_FOR_ONE, /* restart the one that ended */
    SUPERVISE_ONE_FOR_ALL, /* restart all */
    SUPERVISE_REST_FOR_ONE /* restart it and those started after it */
} strategy_t;

/*  The arguments of supervisor_behaviour; children are borrowed. */
typedef struct {
    strategy_t strategy;
    unsigned intensity; /* restarts within the period; default (0): 1 */
    int64_t period_ms;  /* default (0): 5,000 */
    const child_t *children;
    size_t count;
} supervisor_spec_t;

extern const behaviour_t supervisor_behaviour;
