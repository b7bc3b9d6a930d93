/*  record - into the wire form: msgpack */
#include "runtime/msgpack_format.h"
#include "runtime/record_private.h"

/*  A head of first byte and a big-endian number of size bytes. */
static inline uint8_t *put (uint8_t *at, uint8_t first, uint64_t value, size_t size)
{
    *at++ = first;
    for (size_t i = size; i-- > 0;)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static inline uint8_t *put_uint (uint8_t *at, uint64_t value)
{
    if (value < 0x80)
        return put (at, (uint8_t)value, 0, 0);
    if (value <= UINT8_MAX)
        return put (at, UINT8, value, 1);
    if (value <= UINT16_MAX)
        return put (at, UINT16, value, 2);
    if (value <= UINT32_MAX)
        return put (at, UINT32, value, 4);
    return put (at, UINT64, value, 8);
}

static inline uint8_t *put_int (uint8_t *at, int64_t value)
{
    if (value >= 0)
        return put_uint (at, (uint64_t)value);
    if (value >= -32)
        return put (at, (uint8_t)value, 0, 0);
    if (value >= INT8_MIN)
        return put (at, INT8, (uint64_t)value, 1);
    if (value >= INT16_MIN)
        return put (at, INT16, (uint64_t)value, 2);
    if (value >= INT32_MIN)
        return put (at, INT32, (uint64_t)value, 4);
    return put (at, INT64, (uint64_t)value, 8);
}

static inline uint8_t *put_str_head (uint8_t *at, size_t size)
{
    if (size < 32)
        return put (at, (uint8_t)(FIXSTR | size), 0, 0);
    if (size <= UINT8_MAX)
        return put (at, STR8, size, 1);
    if (size <= UINT16_MAX)
        return put (at, STR16, size, 2);
    return put (at, STR32, size, 4);
}

static inline uint8_t *put_bin_head (uint8_t *at, size_t size)
{
    if (size <= UINT8_MAX)
        return put (at, BIN8, size, 1);
    if (size <= UINT16_MAX)
        return put (at, BIN16, size, 2);
    return put (at, BIN32, size, 4);
}

static inline uint8_t *put_array_head (uint8_t *at, size_t count)
{
    if (count < 16)
        return put (at, (uint8_t)(FIXARRAY | count), 0, 0);
    if (count <= UINT16_MAX)
        return put (at, ARRAY16, count, 2);
    return put (at, ARRAY32, count, 4);
}

static inline uint8_t *put_map_head (uint8_t *at, size_t count)
{
    if (count < 16)
        return put (at, (uint8_t)(FIXMAP | count), 0, 0);
    if (count <= UINT16_MAX)
        return put (at, MAP16, count, 2);
    return put (at, MAP32, count, 4);
}

enum { HEAD_MAX = 9 }; /* the longest head or number */

/*  Room for a head and size bytes, or NULL (and the buffer has failed). */
static inline uint8_t *room (buffer_t *out, size_t size)
{
    if (!out->failed && !out->limit && out->capacity - out->size >= size + HEAD_MAX)
        return out->data + out->size;
    return buffer_reserve (out, size + HEAD_MAX);
}

static inline void filled (buffer_t *out, const uint8_t *end)
{
    out->size = (size_t)(end - out->data);
}

static void encode_text (const char *text, buffer_t *out)
{
    size_t size = text ? strlen (text) : 0;
    uint8_t *at = room (out, size);
    if (!at)
        return;
    at = put_str_head (at, size);
    if (size)
        memcpy (at, text, size);
    filled (out, at + size);
}

static void encode_bytes (const uint8_t *data, size_t size, buffer_t *out)
{
    uint8_t *at = room (out, size);
    if (!at)
        return;
    at = put_bin_head (at, size);
    if (size)
        memcpy (at, data, size);
    filled (out, at + size);
}

/*  A number or a head, which fit in HEAD_MAX. */
#define ENCODE(out, put_it, value)             \
    do {                                       \
        uint8_t *at_ = room (out, 0);          \
        if (at_)                               \
            filled (out, put_it (at_, value)); \
    } while (0)

static inline uint8_t *put_real (uint8_t *at, double value)
{
    uint64_t bits;
    memcpy (&bits, &value, sizeof bits);
    return put (at, FLOAT64, bits, 8);
}

static inline uint8_t *put_bool (uint8_t *at, bool value)
{
    return put (at, value ? TRUE_ : FALSE_, 0, 0);
}

static void encode_strings (const record_strings_t *strings, buffer_t *out)
{
    ENCODE (out, put_array_head, strings->count);
    for (size_t i = 0; i < strings->count; i++)
        encode_text (strings->items[i], out);
}

static void encode_ints (const record_ints_t *ints, buffer_t *out)
{
    ENCODE (out, put_array_head, ints->count);
    for (size_t i = 0; i < ints->count; i++)
        ENCODE (out, put_int, ints->items[i]);
}

static void encode_map (const record_map_t *map, buffer_t *out)
{
    ENCODE (out, put_map_head, map->count);
    for (size_t i = 0; i < map->count; i++) {
        encode_text (map->items[i].key, out);
        encode_text (map->items[i].value, out);
    }
}

static void encode_records (const record_t *record, const void *member, buffer_t *out)
{
    record_list_t list = record_list_load (member);
    ENCODE (out, put_array_head, list.count);
    for (size_t i = 0; i < list.count; i++)
        record_encode (record, (char *)list.items + i * record->size, out);
}

void record_encode (const record_t *record, const void *value, buffer_t *out)
{
    ENCODE (out, put_array_head, record->field_count);
    const record_field_t *end = record->fields + record->field_count;
    for (const record_field_t *field = record->fields; field < end; field++) {
        const void *member = record_member (field, value);
        switch (field->type) {
        case RECORD_TYPE_BOOL:
            ENCODE (out, put_bool, *(const bool *)member);
            break;
        case RECORD_TYPE_INT:
            ENCODE (out, put_int, *(const int64_t *)member);
            break;
        case RECORD_TYPE_UINT:
            ENCODE (out, put_uint, *(const uint64_t *)member);
            break;
        case RECORD_TYPE_REAL:
            ENCODE (out, put_real, *(const double *)member);
            break;
        case RECORD_TYPE_ENUM:
            ENCODE (out, put_int, *(const int *)member);
            break;
        case RECORD_TYPE_STRING:
            encode_text (*(const char *const *)member, out);
            break;
        case RECORD_TYPE_BYTES: {
            const record_bytes_t *bytes = member;
            encode_bytes (bytes->data, bytes->size, out);
            break;
        }
        case RECORD_TYPE_KEY:
            encode_bytes (member, sizeof (record_key_t), out);
            break;
        case RECORD_TYPE_RECORD:
            record_encode (field->record, member, out);
            break;
        case RECORD_TYPE_STRINGS:
            encode_strings (member, out);
            break;
        case RECORD_TYPE_INTS:
            encode_ints (member, out);
            break;
        case RECORD_TYPE_MAP:
            encode_map (member, out);
            break;
        case RECORD_TYPE_RECORDS:
            encode_records (field->record, member, out);
            break;
        }
    }
}
