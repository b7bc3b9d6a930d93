/*  fault_kinds - the faults that a simulation can be run without, by name */
#pragma once

#include "runtime/buffer.h"
#include "runtime/simulator.h"

extern const unsigned fault_kinds_count;

/*  "loss,crashes": a bit for each kind. -1 names the one that doesn't exist, and those that do. */
int fault_kinds_parse (const char *text, uint64_t *ret_kinds, nexus_error_t *error);
/*  The same back, with commas. */
void fault_kinds_print (uint64_t kinds, buffer_t *out);
/*  None of these from now on. */
void fault_kinds_leave_out (simulator_t *sim, uint64_t kinds);
