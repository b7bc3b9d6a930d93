/*  error - what went wrong outside the program, in a form that reaches its user

    Operating errors (peers' bytes, files, memory, descriptors) travel as a
    nexus_error_t: a code that programs act on and a text that names what was
    wrong, where, and what to do. Programmer errors are assertions instead.

    A function that can fail takes a nexus_error_t * last, which may be NULL,
    returns -1 or NULL on failure, and leaves its other outputs untouched.
*/
#pragma once

#include <stddef.h>

#include "runtime/nexus_error.h" /* nexus_code_t and nexus_error_t are public */

/*  Fills *error (unless NULL) and returns -1, so that a failing function ends
    in `return nexus_error_set (...)`. */
int nexus_error_set (nexus_error_t *error, nexus_code_t code, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/*  Puts text in front of the error's own ("ledger: " before "map full"). Returns -1. */
int nexus_error_prefix (nexus_error_t *error, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/*  The code's name, as it stands in JSON and on the wire: "not_found" ... */
const char *nexus_code_name (nexus_code_t code);

/*  The HTTP status and the exit code (sysexits) that a code stands for. */
int nexus_code_http (nexus_code_t code);
int nexus_code_exit (nexus_code_t code);
