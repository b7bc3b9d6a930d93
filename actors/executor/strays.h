/*  strays - processes that a task has left behind

    A process group does not hold those who leave it (setsid), and the kernel kills
    a dead worker's tasks but not their children. What all of them carry is the
    environment that the task was given: NEXUS_TASK_FILE names the task.
*/
#pragma once

#include <stdbool.h>

/*  Kills (SIGKILL) every process whose NEXUS_TASK_FILE is file or, if all is set, begins
    with it. Reads /proc; returns how many. */
unsigned strays_kill (const char *file, bool all);
