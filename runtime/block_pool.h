/*  block_pool - blocks of one size that one thread takes and another gives back

    Messages are made by one thread and freed by another, which is what malloc
    does worst. Each thread keeps up to two magazines of blocks; full ones go to a
    depot that all threads share, empty-handed threads take from it: one lock for
    32 blocks. Source: Bonwick and Adams, Magazines and Vmem, USENIX 2001.

    What the depot may keep is bounded; the rest goes back to malloc. Under a
    sanitizer it is all malloc and free, so that misuse is still found.
*/
#pragma once

#include <stddef.h>

#define BLOCK_SIZE 512

/*  BLOCK_SIZE bytes, aligned for any type, not zeroed; NULL: out of memory. */
void *block_alloc (void);
void block_free (void *block);
