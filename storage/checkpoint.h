/*  checkpoint - a rank's saved state, whole or not at all

    A job's checkpoint directory holds one file for each rank and step,

        DIR/RANK-STEP.checkpoint        (STEP with 20 digits)

    a header of 192 bytes, then the content: bytes whose meaning is the program's,
    float32 as a rule. A file is written under another name, flushed, and then
    renamed, so whatever has that name is complete; the header carries a BLAKE2b
    hash of the content, so whatever loads is what was saved. docs/disk-format.md
    has the layout and the reasons.

    Written and read in pieces: a checkpoint may be larger than the memory. An
    object belongs to one thread at a time. Several ranks may share a directory;
    of one rank there is one writer at a time.
*/
#pragma once

#include "runtime/arena.h"
#include "runtime/error.h"

#include <stdint.h>

enum { CHECKPOINT_HEADER = 192 };

typedef struct {
    char job[64];
    uint64_t rank;
    uint64_t step;
    uint64_t size;    /* of the content, in bytes */
    uint8_t hash[32]; /* BLAKE2b of the content */
} checkpoint_t;

/*  ---- saving ------------------------------------------------------------ */

typedef struct checkpoint_writer checkpoint_writer_t;

/*  Begins a checkpoint. dir is created if its parent exists. job: 1 to 63 bytes. */
checkpoint_writer_t *checkpoint_create (const char *dir, const char *job, uint64_t rank,
                                        uint64_t step, nexus_error_t *error);
int checkpoint_write (checkpoint_writer_t *self, const void *data, size_t size,
                      nexus_error_t *error);
/*  Ends it: when this returns 0 the checkpoint is on disk, to stay, in the place of
    an older one of that step. Otherwise there is nothing of it. */
int checkpoint_commit (checkpoint_writer_t **self_p, nexus_error_t *error);
/*  Forgets it. Accepts NULL. */
void checkpoint_cancel (checkpoint_writer_t **self_p);

/*  All of it in one call. */
int checkpoint_save (const char *dir, const char *job, uint64_t rank, uint64_t step,
                     const void *data, size_t size, nexus_error_t *error);

/*  ---- loading ----------------------------------------------------------- */

typedef struct checkpoint_reader checkpoint_reader_t;

/*  Opens one and reads it through once, to verify it. NULL: NEXUS_NOT_FOUND,
    or NEXUS_CORRUPT if it is not what was saved. */
checkpoint_reader_t *checkpoint_open (const char *dir, const char *job, uint64_t rank,
                                      uint64_t step, nexus_error_t *error);
/*  The newest intact one of a rank; damaged ones are passed over. */
checkpoint_reader_t *checkpoint_open_newest (const char *dir, const char *job, uint64_t rank,
                                             nexus_error_t *error);
const checkpoint_t *checkpoint_info (const checkpoint_reader_t *self);
/*  The next piece; 0 at the end, -1 on error. */
int64_t checkpoint_read (checkpoint_reader_t *self, void *out, size_t max, nexus_error_t *error);
void checkpoint_close (checkpoint_reader_t **self_p);

/*  ---- keeping house ----------------------------------------------------- */

/*  The steps that a rank has, ascending, whether intact or not. Returns their
    number (0 if there is no such directory), or -1; *ret_steps lies in the arena. */
int64_t checkpoint_list (const char *dir, uint64_t rank, arena_t *arena, uint64_t **ret_steps,
                         nexus_error_t *error);

/*  Deletes all but the newest `keep` of a rank (at least one stays), and what a writer that
    died has left behind: call it only while no other writer of that rank is at work. Returns the
    number of checkpoints deleted, or -1. */
int64_t checkpoint_prune (const char *dir, uint64_t rank, size_t keep, nexus_error_t *error);

/*  ---- the header -------------------------------------------------------- */

void checkpoint_header_encode (const checkpoint_t *info, uint8_t out[CHECKPOINT_HEADER]);
/*  -1 with NEXUS_CORRUPT unless these bytes are a header of ours. */
int checkpoint_header_decode (const uint8_t bytes[CHECKPOINT_HEADER], checkpoint_t *ret_info,
                              nexus_error_t *error);
