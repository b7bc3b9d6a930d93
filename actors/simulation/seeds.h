/*  seeds - many histories at once, a process for each core

    A history needs nothing of another one, so seeds are given out to processes; and if one dies of
    an assertion, that is known to be its seed's fault and the others go on.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEEDS_REPORT_MAX = 512 };

typedef struct {
    uint64_t first, last;
    unsigned processes; /* 0: as many as there are cores. 1: this process itself does it */
    size_t report_size; /* at most SEEDS_REPORT_MAX */
    bool until_failed;  /* no later seeds once one has failed; those before it are all run */
    /*  Runs a history, in a process of its own; 0 or -1 with what broke. */
    int (*run) (void *context, uint64_t seed, void *report, nexus_error_t *error);
    /*  One has ended, in any order; error is NULL if it went well. Called here. */
    void (*ended) (void *context, uint64_t seed, const void *report, const char *error);
    void *context;
} seeds_t;

/*  Returns when all have ended. -1 if no processes can be started. */
int seeds_run (const seeds_t *seeds, nexus_error_t *error);
