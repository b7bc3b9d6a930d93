/*  watch - a job's live block

    One block of a few lines that shows how the job is doing: redrawn in place on
    a terminal, a line a second otherwise (and only when something has changed).
*/
#pragma once

#include "cli/client.h"

/*  Watches until the job has ended, or timeout_ms (0: no limit) have passed. Returns the
    job's exit code (command.h), or a sysexits code when the masters can't be asked for longer than
    a minute or the time passed while it ran (EX_TEMPFAIL). quiet: prints nothing. notes (may be NULL) names
    a file: lines that are appended to it meanwhile appear above the block. */
int watch_job (client_t *client, const char *id, int64_t timeout_ms, bool quiet, const char *notes);
