/*  tables_copy - the file of a copy: written, checked, taken apart; see tables.h

    LMDB's file, then the trailer:

        0   8  "nexuscpy"
        8   8  version, 1 (little endian, as all numbers)
        16  8  size of the whole file, trailer included
        24  32 BLAKE2b-256 of all before it

    Private to storage/tables*.c.
*/
#pragma once

#include "storage/tables.h"

/*  Checks a copy, and writes the LMDB file that is in it to `to`, which must not be there. */
int tables_copy_extract (const char *file, const char *to, nexus_error_t *error);

/*  size bytes were written to fd, up to end. */
void tables_copy_flush_behind (int fd, uint64_t end, size_t size);

/*  Flushes the directory that file is in. */
int tables_copy_sync_dir (const char *file, nexus_error_t *error);
