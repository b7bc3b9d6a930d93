/*  raft_log_record - how one record of the Raft log lies on disk

    A header of 28 bytes, then the data. Numbers are little endian.

        offset  size
             0     1  version, 1
             1     1  kind: 1 an entry, 2 the log's state
             2     1  the entry's type, as the election gave it
             3     1  zero
             4     4  bytes of data
             8     8  index (of the state: 0)
            16     8  term
            24     4  CRC-32C of bytes 0 to 23 and the data
            28     -  data

    Whatever is read is checked whole: a record that isn't exactly what was
    written under that index is never handed out. docs/disk-format.md has the
    reasons. Pure functions on bytes.
*/
#pragma once

#include "runtime/error.h"

#include <stdint.h>

enum {
    RAFT_LOG_RECORD_HEADER = 28,
    RAFT_LOG_ENTRY_MAX = 4 << 20 /* bytes of data */
};

typedef enum { RAFT_LOG_RECORD_ENTRY = 1, RAFT_LOG_RECORD_STATE = 2 } raft_log_record_kind_t;

typedef struct {
    uint64_t index;
    uint64_t term;
    uint8_t type; /* the election's business */
    const void *data;
    size_t size;
} raft_log_entry_t;

/*  Writes RAFT_LOG_RECORD_HEADER + entry->size bytes. */
void raft_log_record_encode (raft_log_record_kind_t kind, const raft_log_entry_t *entry,
                             uint8_t *out);

/*  Checks size bytes that were found under index, and fills *ret_entry, whose data
    points into bytes. -1 with NEXUS_CORRUPT and what is wrong with them. */
int raft_log_record_decode (raft_log_record_kind_t kind, uint64_t index, const uint8_t *bytes,
                            size_t size, raft_log_entry_t *ret_entry, nexus_error_t *error);
