#include "storage/raft_log_record.h"

#include "storage/crc32c.h"
#include "storage/little_endian.h"

#include <assert.h>
#include <string.h>

enum { VERSION = 1, CRC_AT = 24 };

static uint32_t checksum (const uint8_t *header, const void *data, size_t size)
{
    return crc32c (crc32c (0, header, CRC_AT), data, size);
}

void raft_log_record_encode (raft_log_record_kind_t kind, const raft_log_entry_t *entry,
                             uint8_t *out)
{
    assert (entry->size <= RAFT_LOG_ENTRY_MAX);
    out[0] = VERSION;
    out[1] = (uint8_t)kind;
    out[2] = entry->type;
    out[3] = 0;
    put_u32 (out + 4, (uint32_t)entry->size);
    put_u64 (out + 8, entry->index);
    put_u64 (out + 16, entry->term);
    put_u32 (out + CRC_AT, checksum (out, entry->data, entry->size));
    if (entry->size)
        memcpy (out + RAFT_LOG_RECORD_HEADER, entry->data, entry->size);
}

static int corrupt (nexus_error_t *error, uint64_t index, const char *what)
{
    return nexus_error_set (error, NEXUS_CORRUPT, "record %llu: %s", (unsigned long long)index,
                            what);
}

int raft_log_record_decode (raft_log_record_kind_t kind, uint64_t index, const uint8_t *bytes,
                            size_t size, raft_log_entry_t *ret_entry, nexus_error_t *error)
{
    if (size < RAFT_LOG_RECORD_HEADER)
        return corrupt (error, index, "it is shorter than its header");
    raft_log_entry_t entry = {
        .index = get_u64 (bytes + 8),
        .term = get_u64 (bytes + 16),
        .type = bytes[2],
        .data = bytes + RAFT_LOG_RECORD_HEADER,
        .size = size - RAFT_LOG_RECORD_HEADER,
    };
    /*  The checksum first: what follows is then what was written, so that a fault there
        is one of us or of another version, not of the disk. */
    if (get_u32 (bytes + CRC_AT) != checksum (bytes, entry.data, entry.size))
        return corrupt (error, index, "its checksum is wrong: the disk altered it");
    if (bytes[0] != VERSION)
        return corrupt (error, index, "a newer version wrote it: run that one");
    if (bytes[1] != kind || bytes[3] != 0 || get_u32 (bytes + 4) != entry.size ||
        entry.size > RAFT_LOG_ENTRY_MAX)
        return corrupt (error, index, "its header contradicts itself");
    if (entry.index != index)
        return corrupt (error, index, "another index lies in its place");
    *ret_entry = entry;
    return 0;
}
