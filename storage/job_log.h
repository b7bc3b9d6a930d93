/*  job_log - what a task has written, on its worker's disk

    A run (job, rank, attempt) has a stream of bytes: its stdout and stderr as they
    came. The stream lies in segments, plain files named after the offset of
    their first byte:

        DIR/JOB/RANK.ATTEMPT/00000000000000000000
        DIR/JOB/RANK.ATTEMPT/00000000000016777216
        DIR/JOB/RANK.ATTEMPT/end                      the stream is complete

    There is no header and no index, hence nothing that a crash could tear: what
    the files hold is what there is. When a segment is full the next one begins,
    and the oldest goes if there are more than may be kept; offsets never change.

    One writer a run; readers are plain functions for any thread and process, and
    see whatever was appended before. Job ids may be any text: in file names all
    but letters, digits, - and _ are written as %XX.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *dir;  /* created if its parent exists */
    uint64_t segment; /* bytes of a segment; 0: 16 MiB */
    unsigned keep;    /* segments of a run; 0: 4 */
} job_log_config_t;

typedef struct {
    const char *job; /* 1 to 63 bytes */
    uint64_t rank;
    uint64_t attempt;
} job_log_run_t;

typedef struct job_log job_log_t;

/*  Opens a run's log for appending, at its end if there is one. config is copied. */
job_log_t *job_log_open (const job_log_config_t *config, const job_log_run_t *run,
                         nexus_error_t *error);
void job_log_close (job_log_t **self_p);

/*  On failure (NEXUS_EXHAUSTED: disk full) a part may have been appended; job_log_end_offset tells.
 */
int job_log_append (job_log_t *self, const void *data, size_t size, nexus_error_t *error);
/*  The stream's length so far, with what was rotated away. */
uint64_t job_log_end_offset (const job_log_t *self);
/*  The stream is complete and on disk; nothing is appended any more. */
int job_log_finish (job_log_t *self, nexus_error_t *error);

typedef struct {
    uint64_t first;  /* the first byte that is kept */
    uint64_t offset; /* of the bytes that were read; above the one asked for only
                        where a power failure tore a hole */
    uint64_t next;   /* where to read on */
    bool end;        /* the stream is complete and was read to its end */
} job_log_position_t;

/*  Reads at most max bytes from offset into out. Returns how many (0: there is no
    more yet, or the end), or -1: NEXUS_NOT_FOUND if there is no such run, or if offset
    was rotated away (ret_position->first is then where to go on, else 0);
    NEXUS_INVALID if offset is beyond the end. ret_position is filled in any case. */
int64_t job_log_read (const char *dir, const job_log_run_t *run, uint64_t offset, void *out,
                      size_t max, job_log_position_t *ret_position, nexus_error_t *error);

/*  Deletes all runs of a job; fine if there are none. */
int job_log_remove (const char *dir, const char *job, nexus_error_t *error);
