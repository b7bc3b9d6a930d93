/*  messages - what the executor and its edges tell each other

    "executor" decides, "process" starts and signals processes, "logs" captures
    their output. In-process only; ids 110-116.
*/
#pragma once

#include "actors/protocol/cluster.h"

/* clang-format off */

/*  "executor" to "process", as a request: start this rank. The reply is a
    process_started, or a failure if it can't be started. Later a process_ended
    comes. */
#define PROCESS_START(F) \
    F (RECORD, order, task_order, .doc = "What to run.")
RECORD_DECLARE (process_start, PROCESS_START)
#define PROCESS_STARTED(F) \
    F (INT, pid, _, .doc = "Process, leader of its own group.") \
    F (KEY, key, _, .doc = "Public key that was made for it.")
RECORD_DECLARE (process_started, PROCESS_STARTED)
#define PROCESS_ENDED(F) \
    F (INT, pid, _, .doc = "Which.") \
    F (INT, exit_code, _, .doc = "Its exit code; 128 + n: signal n killed it.")
RECORD_DECLARE (process_ended, PROCESS_ENDED)
/*  "executor" to "process": send this signal to the whole group. */
#define PROCESS_SIGNAL(F) \
    F (INT, pid, _, .doc = "Which.") \
    F (STRING, signal, _, .max = 8, .doc = "TERM, KILL ...")
RECORD_DECLARE (process_signal, PROCESS_SIGNAL)

/*  "process" to "logs": capture what comes out of this descriptor, which is handed over. */
#define LOG_CAPTURE(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, rank, _, .doc = "Rank.") \
    F (UINT, attempt, _, .doc = "Which run.") \
    F (INT, fd, _, .doc = "Read end of a pipe.")
RECORD_DECLARE (log_capture, LOG_CAPTURE)

/* clang-format on */
