/*  crc32c - the checksum of what we store

    CRC-32C (Castagnoli), as in RFC 3720 appendix B.4: it finds every burst of up
    to 32 bits and every odd number of flipped bits. It is no protection against
    somebody who means it. Uses the CPU's instruction where there is one.
*/
#pragma once

#include <stddef.h>
#include <stdint.h>

/*  Continues crc, which is 0 for a beginning: crc32c (crc32c (0, a), b) is that of a and b. */
uint32_t crc32c (uint32_t crc, const void *data, size_t size);

/*  The same without the CPU's instruction; for comparison. */
uint32_t crc32c_portable (uint32_t crc, const void *data, size_t size);
