/*  A record of the Raft log as a rotten disk may return it. */
#include "storage/crc32c.h"
#include "storage/little_endian.h"
#include "storage/raft_log_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/*  What decodes must be exactly what encoding it yields. */
static void try_decode (raft_log_record_kind_t kind, const uint8_t *bytes, size_t size)
{
    raft_log_entry_t entry;
    nexus_error_t error = {0};
    uint64_t index = size >= 16 ? get_u64 (bytes + 8) : 1;
    if (raft_log_record_decode (kind, index, bytes, size, &entry, &error) != 0) {
        if (error.code != NEXUS_CORRUPT || !error.text[0])
            abort ();
        return;
    }
    if (entry.size > RAFT_LOG_ENTRY_MAX || RAFT_LOG_RECORD_HEADER + entry.size != size)
        abort ();
    uint8_t *again = malloc (size);
    if (!again)
        return;
    raft_log_record_encode (kind, &entry, again);
    if (memcmp (again, bytes, size) != 0)
        abort ();
    free (again);
    if (raft_log_record_decode (kind, index + 1, bytes, size, &entry, NULL) == 0)
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    try_decode (RAFT_LOG_RECORD_ENTRY, data, size);
    try_decode (RAFT_LOG_RECORD_STATE, data, size);
    if (size < RAFT_LOG_RECORD_HEADER)
        return 0;
    /*  With a checksum that fits, so that the checks behind it are reached. */
    uint8_t *bytes = malloc (size);
    if (!bytes)
        return 0;
    memcpy (bytes, data, size);
    put_u32 (bytes + 24, crc32c (crc32c (0, bytes, 24), bytes + RAFT_LOG_RECORD_HEADER,
                                 size - RAFT_LOG_RECORD_HEADER));
    try_decode (RAFT_LOG_RECORD_ENTRY, bytes, size);
    try_decode (RAFT_LOG_RECORD_STATE, bytes, size);
    put_u32 (bytes + 4, (uint32_t)(size - RAFT_LOG_RECORD_HEADER));
    put_u32 (bytes + 24, crc32c (crc32c (0, bytes, 24), bytes + RAFT_LOG_RECORD_HEADER,
                                 size - RAFT_LOG_RECORD_HEADER));
    try_decode (RAFT_LOG_RECORD_ENTRY, bytes, size);
    free (bytes);
    return 0;
}
