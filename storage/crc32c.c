#include "storage/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

/*  tables[k][b]: the CRC of byte b followed by k zero bytes ("slicing by 8", Kounavis and Berry).
 */
static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables (void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = tables[k - 1][byte];
            tables[k][byte] = crc >> 8 ^ tables[0][crc & 255];
        }
}

static uint32_t little_endian (const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

uint32_t crc32c_portable (uint32_t crc, const void *data, size_t size)
{
    pthread_once (&tables_once, make_tables);
    const uint8_t *bytes = data;
    crc = ~crc;
    for (; size >= 8; bytes += 8, size -= 8) {
        uint32_t low = crc ^ little_endian (bytes);
        uint32_t high = little_endian (bytes + 4);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
              tables[4][low >> 24] ^ tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
              tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
    }
    for (; size; bytes++, size--)
        crc = crc >> 8 ^ tables[0][(crc ^ *bytes) & 255];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__ ((target ("sse4.2"))) static uint32_t crc32c_sse42 (uint32_t crc, const void *data,
                                                                  size_t size)
{
    const uint8_t *bytes = data;
    uint64_t wide = ~crc;
    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy (&word, bytes, sizeof word);
        wide = _mm_crc32_u64 (wide, word);
    }
    uint32_t narrow = (uint32_t)wide;
    for (; size; bytes++, size--)
        narrow = _mm_crc32_u8 (narrow, *bytes);
    return ~narrow;
}

uint32_t crc32c (uint32_t crc, const void *data, size_t size)
{
    return __builtin_cpu_supports ("sse4.2") ? crc32c_sse42 (crc, data, size)
                                             : crc32c_portable (crc, data, size);
}
#else
uint32_t crc32c (uint32_t crc, const void *data, size_t size)
{
    return crc32c_portable (crc, data, size);
}
#endif
