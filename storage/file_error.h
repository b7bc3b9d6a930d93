/*  file_error - an errno as an error that says what to do */
#pragma once

#include "runtime/error.h"

/*  "PATH: can't DOING: why; what to do". Returns -1. */
int file_error (const char *path, const char *doing, int code, nexus_error_t *error);
