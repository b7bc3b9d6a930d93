/*  data - the tables of the data plane's messages */
#include "actors/protocol/data.h"

#include <assert.h>
#include <stdio.h>

/* clang-format off */
RECORD_ENUM_DEFINE (data_operation, DATA_OPERATIONS)
RECORD_ENUM_DEFINE (data_reduction, DATA_REDUCTIONS)
RECORD_ENUM_DEFINE (push_mode, PUSH_MODES)
RECORD_ENUM_DEFINE (chunk_status, CHUNK_STATUSES)

#define RECORD_SELF chunk_push_t
RECORD_DEFINE (chunk_push, 64, RECORD_DATA_LANE, "A rank's contribution to a chunk.", CHUNK_PUSH)
#undef RECORD_SELF
#define RECORD_SELF chunk_result_t
RECORD_DEFINE (chunk_result, 65, RECORD_DATA_LANE, "A shard's answer about a chunk.", CHUNK_RESULT)
#undef RECORD_SELF
/* clang-format on */

/*  FNV-1a over "JOB/INDEX": the addresses of a job's shards are known to whoever
    knows the job, and a collision does no harm (the push names its job). */
uint64_t shard_instance (const char *job_id, uint64_t index)
{
    char text[96];
    int length = snprintf (text, sizeof (text), "%s/%llu", job_id, (unsigned long long)index);
    assert (length > 0 && (size_t)length < sizeof (text));
    uint64_t hash = UINT64_C (14695981039346656037);
    for (int i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C (1099511628211);
    return hash;
}
