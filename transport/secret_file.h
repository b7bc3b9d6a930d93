/*  secret_file - a small text file that only its owner may read

        nexus-node-key 1
        <hex digits>
        used

    The last line is there once the secret has been used (secret_file_mark).

    The first word says what is inside, so that one kind of key is never taken
    for another. A file is written to a temporary name, synced, then linked to
    its name, so that it exists whole or not at all and never replaces another.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*  Reads exactly size bytes. NEXUS_NOT_FOUND, NEXUS_DENIED (others may read it,
    or it is another user's), NEXUS_CORRUPT, NEXUS_IO. */
int secret_file_load (const char *path, const char *what, uint8_t *data, size_t size,
                      nexus_error_t *error);
/*  Whether it was marked; and marking it, for good: the file goes where the secret goes. */
int secret_file_is_marked (const char *path, bool *ret_marked, nexus_error_t *error);
int secret_file_mark (const char *path, nexus_error_t *error);
/*  NEXUS_EXISTS if there is a file of that name. */
int secret_file_save (const char *path, const char *what, const uint8_t *data, size_t size,
                      nexus_error_t *error);
