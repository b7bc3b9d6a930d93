/*  logs - the edge that keeps what a worker's tasks write

    Reads the pipes that "process" hands over and appends to the runs' logs on
    disk (storage/job_log.h); answers log_reads of masters, who have no other way
    to a worker's disk. A read at the end of a run that goes on waits for more, up
    to its wait_ms. A task is never held up for a reader: its pipe is always
    drained; if the disk is full its output is dropped, and the log says so.
*/
#pragma once

#include "actors/executor/messages.h"
#include "runtime/behaviour.h"

/*  Borrowed. */
typedef struct {
    const char *dir; /* the logs' own */
} logs_args_t;

extern const behaviour_t logs_behaviour; /* "logs" */
