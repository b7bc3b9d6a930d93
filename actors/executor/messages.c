/*  messages - what the executor and its edges tell each other */
#include "actors/executor/messages.h"

/* clang-format off */
#define RECORD_SELF process_start_t
RECORD_DEFINE (process_start, 110, 0, "Start a rank.", PROCESS_START)
#undef RECORD_SELF
#define RECORD_SELF process_started_t
RECORD_DEFINE (process_started, 111, 0, "A rank runs.", PROCESS_STARTED)
#undef RECORD_SELF
#define RECORD_SELF process_ended_t
RECORD_DEFINE (process_ended, 112, 0, "A process has ended.", PROCESS_ENDED)
#undef RECORD_SELF
#define RECORD_SELF process_signal_t
RECORD_DEFINE (process_signal, 113, 0, "Signal a process group.", PROCESS_SIGNAL)
#undef RECORD_SELF
#define RECORD_SELF log_capture_t
RECORD_DEFINE (log_capture, 114, 0, "Capture a rank's output.", LOG_CAPTURE)
#undef RECORD_SELF
/* clang-format on */
