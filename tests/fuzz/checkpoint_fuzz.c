/*  A checkpoint's header as somebody else may have written it. */
#include "storage/checkpoint.h"
#include "storage/crc32c.h"
#include "storage/little_endian.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void try_decode (const uint8_t bytes[CHECKPOINT_HEADER])
{
    checkpoint_t info;
    nexus_error_t error = {0};
    if (checkpoint_header_decode (bytes, &info, &error) != 0) {
        if (error.code != NEXUS_CORRUPT || !error.text[0])
            abort ();
        return;
    }
    if (info.size > INT64_MAX || strlen (info.job) > 63 || !info.job[0])
        abort ();
    /*  What decodes must survive another round. */
    uint8_t again[CHECKPOINT_HEADER];
    checkpoint_t twice;
    checkpoint_header_encode (&info, again);
    if (checkpoint_header_decode (again, &twice, NULL) != 0 || twice.size != info.size ||
        twice.rank != info.rank || twice.step != info.step || strcmp (twice.job, info.job) != 0)
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    uint8_t header[CHECKPOINT_HEADER] = {0};
    memcpy (header, data, size < sizeof header ? size : sizeof header);
    try_decode (header);
    put_u32 (header + 188, crc32c (0, header, 188));
    try_decode (header);
    return 0;
}
