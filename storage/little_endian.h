/*  little_endian - numbers on disk */
#pragma once

#include <stdint.h>

static inline void put_u32 (uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static inline void put_u64 (uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static inline uint32_t get_u32 (const uint8_t *bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

static inline uint64_t get_u64 (const uint8_t *bytes)
{
    return get_u32 (bytes) | (uint64_t)get_u32 (bytes + 4) << 32;
}
