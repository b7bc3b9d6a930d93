/*  process - the edge that starts, signals and reaps tasks' processes

    A task runs in a process group of its own, with its output in one pipe that
    goes to "logs", standard input empty, no descriptor but those, a key of its
    own, and a file that tells it who it is (NEXUS_TASK_FILE). When the worker
    dies, however it dies, the kernel kills its tasks (PR_SET_PDEATHSIG); when a
    task's first process ends, the rest of its group and whoever left the group
    (strays.h) are killed. A worker that starts kills what tasks of its former life
    have left behind: nothing leaks.
*/
#pragma once

#include "actors/executor/messages.h"
#include "runtime/behaviour.h"
#include "transport/keyring.h"

/*  All borrowed. */
typedef struct {
    const char *dir;      /* the worker's: tasks/ and checkpoints/ are made in it */
    const char *path;     /* put in front of tasks' PATH; or NULL */
    const char *endpoint; /* where tasks reach the agent: ipc://... */
    record_key_t key;     /* the worker's public key */
    keyring_t *keyring;   /* tasks' keys are let in ... */
    const char *domain;   /* ... in this domain */
} process_args_t;

extern const behaviour_t process_behaviour; /* "process" */
