/*  shrink - a simulation that failed, made smaller as long as the same breaks */
#pragma once

#include "actors/simulation/masters.h"

/*  Leaves away faults, masters, clients and steps, each as long as the same invariant breaks,
    with this seed or one of a few others; at most for about half a minute. */
masters_options_t shrink_masters (const masters_options_t *failed, const char *text);

/*  Prints the command that runs it, what breaks, and what the elections did before that. */
void shrink_print (const masters_options_t *options);
/*  The command alone, without an end of line. */
void shrink_print_command (const masters_options_t *options);
