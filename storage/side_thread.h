/*  side_thread - a thread that does one thing at a time for an actor

    For edges that wait for a disk, and must not keep the thread that they share with others from
    its work meanwhile: side_thread_start has the job done aside, and the descriptor becomes
    readable (context_poll) when it is done. What the job works on is the thread's from then until
    side_thread_finish.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct side_thread side_thread_t;

/*  job is what it does, whenever it is started. NULL with an error if there is no thread, or no
    descriptor. */
side_thread_t *side_thread_new (const char *name, void (*job) (void *arg), void *arg,
                                nexus_error_t *error);
/*  Waits for a job under way, this long at most. False: the job goes on, for the rest of the
    process's life, and what it works on must not be freed. */
bool side_thread_destroy (side_thread_t **self_p, int64_t timeout_ms);

int side_thread_fd (const side_thread_t *self);
void side_thread_start (side_thread_t *self);
/*  True once after each job. */
bool side_thread_finish (side_thread_t *self);
