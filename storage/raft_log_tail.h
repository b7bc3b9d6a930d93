/*  raft_log_tail - the newest writes of a Raft log, in a file of their own

    One flush of a file whose blocks are all there is the least that a durable
    write can cost. LMDB needs two, and writes whole pages. So a journaled log
    (raft_log.h) puts each write here first, acknowledges it, and brings what has
    gathered to LMDB later, many writes in one transaction.

    The file has a fixed size, is filled with zeros when it is made, and has two
    halves. The records of a generation (a random number) stand in one of them, from
    its beginning on: in the first if the number is even. A record is one write: the hard
    state and any number of entries.

        offset  size
             0     4  "NXT2"
             4     4  CRC-32C of bytes 8 to the record's end
             8     8  generation
            16     8  number: 0, 1, ... in a generation
            24     4  bytes of the body
            28     4  entries in it
            32     8  the generation before, 0: none
            40     8  how many records it has
            48     -  body: term, vote, commit (8 bytes each); entries, as
                      raft_log_record.h has them

    Numbers are little endian. LMDB's state says from which generation on records
    count. While the records of one are brought to LMDB, new ones go to the next one, in the
    other half; when that is done, LMDB's state says the next one, and the first half is free.

    Writes go past the kernel's cache (O_DIRECT) where the file system lets them: in whole blocks,
    zeros behind the record. The block in which the record before ended is written again, with
    the same bytes up to there: a disk that keeps its sectors whole can't lose them.

    A record is written when the one before is on disk. So an unreadable record with a readable one
    behind it has rotted. With none behind it, a loss of power cut it short, before it was
    acknowledged; or it has rotted last. DIR/boot tells these apart as far as that goes: it names the
    boot of the machine since which every write of the tail has ended well. In the same boot, a
    record that has a header and ends in its first block has rotted. After another one nobody can
    tell.

    One thread. After a failure nobody knows what the disk has: the node has to end.
*/
#pragma once

#include "storage/raft_log.h"

enum {
    RAFT_LOG_TAIL_SIZE = 8 << 20,
    RAFT_LOG_TAIL_HALF = 4 << 20,
    RAFT_LOG_TAIL_HEADER = 48,
    RAFT_LOG_TAIL_BLOCK = 4096 /* the file is written in whole ones */
};

typedef struct {
    char *path;
    int fd; /* -1: not open */
    uint64_t generation;
    uint64_t number; /* of the next record */
    size_t used;     /* of its half */
    uint64_t previous, previous_count;
    bool unbroken;   /* DIR/boot named this boot when it was opened */
    uint8_t *blocks; /* written next: whole ones, the first begins with the end of the last write */
    size_t blocks_size;
} raft_log_tail_t;

/*  Makes DIR/tail if it isn't there. What the kernel's cache has of it is flushed and forgotten:
    what is read is what the disk has. */
int raft_log_tail_open (raft_log_tail_t *self, const char *dir, nexus_error_t *error);
void raft_log_tail_close (raft_log_tail_t *self);

/*  Nothing in the tail counts: what will is written in this boot. Not earlier, or a record that the loss
    of power before this boot cut short would pass for one that has rotted. A boot that can't be
    noted costs only that distinction. */
void raft_log_tail_note_boot (const raft_log_tail_t *self);

/*  Visits the writes of that generation, and of the one that follows it, in order; what they point
   to is theirs for the visit only. -1: visit refused one (it says why), or one is unreadable
   (NEXUS_CORRUPT). */
int raft_log_tail_replay (raft_log_tail_t *self, uint64_t generation,
                          int (*visit) (void *context, const raft_log_write_t *write,
                                        nexus_error_t *error),
                          void *context, nexus_error_t *error);

/*  From here on records are of this generation, and may be appended. restart: nothing before them counts any more.
    follow: those of the generation so far still do, and stay; the new one is a number for the
    other half. */
void raft_log_tail_restart (raft_log_tail_t *self, uint64_t generation);
void raft_log_tail_follow (raft_log_tail_t *self, uint64_t generation);

/*  Bytes that these writes take as one record. */
size_t raft_log_tail_size (const raft_log_write_t *writes, size_t count);
bool raft_log_tail_fits (const raft_log_tail_t *self, size_t size);

/*  Encodes the writes' entries, and hard, as one record of raft_log_tail_size bytes at out, and
    fills entries[], one for each, with what points there. */
void raft_log_tail_encode (const raft_log_tail_t *self, const raft_log_write_t *writes,
                           size_t count, const raft_log_hard_state_t *hard, uint8_t *out,
                           size_t size, raft_log_entry_t *entries);
/*  Puts that record into the file and flushes it; it must fit. -1: see above. */
int raft_log_tail_append (raft_log_tail_t *self, const uint8_t *record, size_t size,
                          nexus_error_t *error);
