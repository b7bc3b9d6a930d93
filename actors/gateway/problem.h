/*  problem - an error as the body of an HTTP response (RFC 9457) */
#pragma once

#include "actors/protocol/api.h"

#define PROBLEM_TYPE "application/problem+json"

/*  The JSON text, from malloc; NULL when memory ends. faults may be NULL. */
char *problem_json (int status, const char *code, const char *detail,
                    const record_faults_t *faults);
