/*  lmdb_check - is an LMDB file sound enough to be opened?

    LMDB 0.9 trusts its file: a flipped bit in a page's header, in a pointer to a
    node or in the list of free pages ends the process with a signal, or makes a
    commit overwrite live pages. This walks the newest state of the file from its
    meta page and checks all that LMDB would believe: page numbers, kinds, bounds
    of every node, the order of keys, depths and counts, that no page is in use
    twice, and that no free page is in use. Values themselves are opaque: whoever
    stores them adds a checksum.

    Reads every page but the inside of large values. The file must not be open for
    writing meanwhile. For files of this machine's byte order and word size, 64 bits,
    without duplicate keys.
*/
#pragma once

#include "runtime/error.h"

/*  0 if the file is sound, empty or not there; -1 with NEXUS_CORRUPT (the page and
    what is wrong with it) or with what the system said. map_size: what
    the file may grow to; pages far behind that and the file's end are damage. */
int lmdb_check (const char *path, size_t map_size, nexus_error_t *error);
