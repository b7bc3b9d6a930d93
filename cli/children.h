/*  children - the node processes of a local cluster

    Starts them, starts those again that end while they should run (after a pause
    of 2 seconds, as a service manager would), and stops them. They die with the
    process that runs this, however it dies.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct children children_t;

children_t *children_new (void);
/*  Stops all that run: SIGTERM, and after 10 seconds SIGKILL. */
void children_destroy (children_t **self_p);

/*  Runs this program with these arguments (NULL-terminated; copied), its output to
    output (appended; NULL: ours). name is for messages. */
int children_start (children_t *self, const char *name, const char *output,
                    const char *const *arguments, nexus_error_t *error);

/*  Reaps what has ended and starts again what should run. Calls on_end, if not NULL, for
    each that ended. Call at least every 100 ms or so. */
void children_poll (children_t *self,
                    void (*on_end) (void *context, const char *name, const char *how, pid_t pid),
                    void *context);

/*  The process of that name; 0: it does not run now. */
pid_t children_pid (const children_t *self, const char *name);

/*  Whether it has ended within its first seconds each time so far: it cannot start. */
bool children_failing (const children_t *self, const char *name);
