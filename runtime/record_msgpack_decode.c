/*  record - out of the wire form: msgpack, checked before it is believed

    msgpack-c's unpacker allocates what a header claims (150 bytes cost 15 GiB), so
    foreign bytes are first walked without allocating anything, then decoded by
    the record's table straight into the struct. */
#include "runtime/msgpack_format.h"
#include "runtime/record_private.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static inline uint64_t load (const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint16_t load16 (const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load32 (const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t load64 (const uint8_t *at)
{
    return (uint64_t)load32 (at) << 32 | load32 (at + 4);
}

/*  ---- validator --------------------------------------------------------- */

/*  The head of one object. */
typedef struct {
    size_t head;     /* bytes of the head: the first byte and the count or length behind it */
    uint64_t body;   /* bytes behind the head that belong to the object itself */
    uint64_t inside; /* objects that follow inside it */
    bool container;
} object_t;

/*  What follows the first bytes 0xc0 to 0xdf: bytes of the length field (or of the value), and what
    they count. */
typedef enum { REFUSED, PLAIN, LENGTH, ELEMENTS, PAIRS } follow_t;
static const struct {
    uint8_t size;
    uint8_t follow;
} heads[32] = {
    [NIL - 0xc0] = {0, PLAIN},        [FALSE_ - 0xc0] = {0, PLAIN},
    [TRUE_ - 0xc0] = {0, PLAIN},      [BIN8 - 0xc0] = {1, LENGTH},
    [BIN16 - 0xc0] = {2, LENGTH},     [BIN32 - 0xc0] = {4, LENGTH},
    [FLOAT32 - 0xc0] = {4, PLAIN},    [FLOAT64 - 0xc0] = {8, PLAIN},
    [UINT8 - 0xc0] = {1, PLAIN},      [UINT16 - 0xc0] = {2, PLAIN},
    [UINT32 - 0xc0] = {4, PLAIN},     [UINT64 - 0xc0] = {8, PLAIN},
    [INT8 - 0xc0] = {1, PLAIN},       [INT16 - 0xc0] = {2, PLAIN},
    [INT32 - 0xc0] = {4, PLAIN},      [INT64 - 0xc0] = {8, PLAIN},
    [STR8 - 0xc0] = {1, LENGTH},      [STR16 - 0xc0] = {2, LENGTH},
    [STR32 - 0xc0] = {4, LENGTH},     [ARRAY16 - 0xc0] = {2, ELEMENTS},
    [ARRAY32 - 0xc0] = {4, ELEMENTS}, [MAP16 - 0xc0] = {2, PAIRS},
    [MAP32 - 0xc0] = {4, PAIRS},
};

/*  Reads the head at at, of which left bytes (at least 1) can be read. */
static inline bool read_head (const uint8_t *at, size_t left, object_t *object)
{
    uint8_t first = *at;
    *object = (object_t){.head = 1};
    if (first < FIXMAP || first >= NEGATIVE_FIXINT)
        return true;
    if (first < NIL) {
        if (first >= FIXSTR) {
            object->body = first & 0x1f;
        } else {
            object->container = true;
            object->inside = first >= FIXARRAY ? first & 0x0f : (first & 0x0f) * 2u;
        }
        return true;
    }
    size_t size = heads[first - NIL].size;
    if (left <= size)
        return false;
    object->head += size;
    uint64_t count;
    switch (heads[first - NIL].follow) {
    case PLAIN:
        return true;
    case LENGTH:
        object->body = load (at + 1, size);
        return true;
    case ELEMENTS:
    case PAIRS:
        count = load (at + 1, size);
        object->container = true;
        object->inside = heads[first - NIL].follow == PAIRS ? count * 2 : count;
        return true;
    default: /* ext types and 0xc1 */
        return false;
    }
}

bool msgpack_valid (const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    const uint8_t *at = data;
    uint64_t open[RECORD_DEPTH_MAX]; /* objects still to come in each open container */
    size_t depth = 0;
    if (size == 0)
        return false;
    while (true) {
        object_t object;
        if (at == end || !read_head (at, (size_t)(end - at), &object))
            return false;
        at += object.head;
        size_t left = (size_t)(end - at);
        if (object.body > left || object.inside > left)
            return false;
        at += object.body;
        if (object.container) {
            if (depth == RECORD_DEPTH_MAX)
                return false;
            open[depth++] = object.inside + 1;
        }
        while (depth > 0 && --open[depth - 1] == 0)
            depth--;
        if (depth == 0)
            return at == end;
    }
}

/*  ---- decoder ----------------------------------------------------------- */

/*  Reads bytes that msgpack_valid has passed: every object is complete, so only its type, limits
   and text remain to be checked. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    arena_t *arena;
    const record_t *root;
    nexus_error_t *error;
    bool in_place; /* bytes stay where they are */
} reader_t;

static int fail (reader_t *self, const record_path_t *path, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));
static int fail (reader_t *self, const record_path_t *path, const char *format, ...)
{
    if (!self->error)
        return -1;
    char where[200], what[400];
    record_path_text (path, where, sizeof where);
    va_list args;
    va_start (args, format);
    vsnprintf (what, sizeof what, format, args);
    va_end (args);
    return nexus_error_set (self->error, NEXUS_INVALID, "%s%s%s: %s", self->root->name,
                            *where ? "." : "", where, what);
}

static int fail_memory (reader_t *self)
{
    return nexus_error_set (self->error, NEXUS_EXHAUSTED,
                            "%s: the record needs more memory than it may take (%zu bytes)",
                            self->root->name, self->arena->limit);
}

/*  The object at at in words. */
static void found_text (const uint8_t *at, char *text, size_t size);
static int fail_found (reader_t *self, const record_field_t *field, const record_path_t *path,
                       const uint8_t *object)
{
    if (!self->error)
        return -1;
    char expected[250], found[80] = "something else";
    record_expected (field, expected, sizeof expected);
    if (!(field->flags & RECORD_SECRET))
        found_text (object, found, sizeof found);
    return fail (self, path, "expected %s, found %s", expected, found);
}

/*  The readers of one object: true and past it, or false and still before it. */
static inline bool read_uint (reader_t *self, uint64_t *value)
{
    const uint8_t *at = self->at;
    uint8_t first = *at++;
    if (first < FIXMAP) {
        *value = first;
    } else {
        switch (first) {
        case UINT8:
            *value = *at;
            at += 1;
            break;
        case UINT16:
            *value = load16 (at);
            at += 2;
            break;
        case UINT32:
            *value = load32 (at);
            at += 4;
            break;
        case UINT64:
            *value = load64 (at);
            at += 8;
            break;
        default:
            return false;
        }
    }
    self->at = at;
    return true;
}

static inline bool read_int (reader_t *self, int64_t *value)
{
    const uint8_t *at = self->at;
    uint8_t first = *at++;
    if (first >= NEGATIVE_FIXINT) {
        *value = (int8_t)first;
    } else {
        switch (first) {
        case INT8:
            *value = (int8_t)*at;
            at += 1;
            break;
        case INT16:
            *value = (int16_t)load16 (at);
            at += 2;
            break;
        case INT32:
            *value = (int32_t)load32 (at);
            at += 4;
            break;
        case INT64:
            *value = (int64_t)load64 (at);
            at += 8;
            break;
        default: {
            uint64_t natural;
            const uint8_t *before = self->at;
            if (!read_uint (self, &natural))
                return false;
            if (natural > INT64_MAX) {
                self->at = before;
                return false;
            }
            *value = (int64_t)natural;
            return true;
        }
        }
    }
    self->at = at;
    return true;
}

/*  Another encoder may have used a signed form for a natural number. */
static bool read_natural (reader_t *self, uint64_t *value)
{
    if (read_uint (self, value))
        return true;
    const uint8_t *before = self->at;
    int64_t integer;
    if (!read_int (self, &integer))
        return false;
    if (integer < 0) {
        self->at = before;
        return false;
    }
    *value = (uint64_t)integer;
    return true;
}

static bool read_real (reader_t *self, double *value)
{
    if (*self->at == FLOAT64) {
        uint64_t bits = load64 (self->at + 1);
        memcpy (value, &bits, sizeof bits);
        self->at += 9;
    } else if (*self->at == FLOAT32) {
        uint32_t bits = load32 (self->at + 1);
        float narrow;
        memcpy (&narrow, &bits, sizeof bits);
        *value = (double)narrow;
        self->at += 5;
    } else {
        uint64_t natural;
        int64_t integer;
        if (read_uint (self, &natural))
            *value = (double)natural;
        else if (read_int (self, &integer))
            *value = (double)integer;
        else
            return false;
    }
    return true;
}

static inline bool read_str (reader_t *self, const char **text, size_t *size)
{
    const uint8_t *at = self->at;
    uint8_t first = *at++;
    if ((first & 0xe0) == FIXSTR) {
        *size = first & 0x1f;
    } else if (first == STR8) {
        *size = *at;
        at += 1;
    } else if (first == STR16) {
        *size = load16 (at);
        at += 2;
    } else if (first == STR32) {
        *size = load32 (at);
        at += 4;
    } else {
        return false;
    }
    *text = (const char *)at;
    self->at = at + *size;
    return true;
}

static inline bool read_bin (reader_t *self, const uint8_t **data, size_t *size)
{
    const uint8_t *at = self->at;
    uint8_t first = *at++;
    if (first == BIN8) {
        *size = *at;
        at += 1;
    } else if (first == BIN16) {
        *size = load16 (at);
        at += 2;
    } else if (first == BIN32) {
        *size = load32 (at);
        at += 4;
    } else {
        return false;
    }
    *data = at;
    self->at = at + *size;
    return true;
}

/*  The head of an array (fix = FIXARRAY) or of a map (FIXMAP). */
static inline bool read_count (reader_t *self, uint8_t fix, size_t *count)
{
    const uint8_t *at = self->at;
    uint8_t first = *at++;
    uint8_t wide = fix == FIXARRAY ? ARRAY16 : MAP16;
    if ((first & 0xf0) == fix) {
        *count = first & 0x0f;
    } else if (first == wide) {
        *count = load16 (at);
        at += 2;
    } else if (first == wide + 1) {
        *count = load32 (at);
        at += 4;
    } else {
        return false;
    }
    self->at = at;
    return true;
}

/*  Passes over objects that a newer version has appended. */
static void skip_objects (reader_t *self, uint64_t count)
{
    while (count > 0) {
        object_t object;
        bool valid = read_head (self->at, (size_t)(self->end - self->at), &object);
        assert (valid); /* msgpack_valid has seen it */
        self->at += object.head + object.body;
        count += object.inside - 1;
    }
}

static void found_text (const uint8_t *at, char *text, size_t size)
{
    reader_t reader = {.at = at};
    uint64_t natural;
    int64_t integer;
    double real;
    const char *string;
    const uint8_t *data;
    size_t length;
    if (read_uint (&reader, &natural))
        snprintf (text, size, "%" PRIu64, natural);
    else if (read_int (&reader, &integer))
        snprintf (text, size, "%" PRId64, integer);
    else if (read_real (&reader, &real))
        record_real_text (real, text, size);
    else if (read_str (&reader, &string, &length))
        record_quote (string, length, text, size);
    else if (read_bin (&reader, &data, &length))
        snprintf (text, size, "%zu bytes", length);
    else if (read_count (&reader, FIXARRAY, &length))
        snprintf (text, size, "a list of %zu", length);
    else if (read_count (&reader, FIXMAP, &length))
        snprintf (text, size, "a map of %zu", length);
    else
        snprintf (text, size, "%s", *at == NIL ? "nil" : *at == TRUE_ ? "true" : "false");
}

/*  A list's or a map's text, NUL-terminated into the arena. */
static int read_element (reader_t *self, const record_path_t *path, const char **text)
{
    const char *found;
    size_t size;
    if (!read_str (self, &found, &size))
        return fail (self, path, "expected text, found another type");
    if (size > RECORD_STRING_MAX)
        return fail (self, path, "expected text of at most %d bytes, found %zu", RECORD_STRING_MAX,
                     size);
    if (!record_text_valid (found, size))
        return fail (self, path, "expected UTF-8 text without control characters");
    *text = arena_strndup (self->arena, found, size);
    return *text ? 0 : fail_memory (self);
}

static int read_string (reader_t *self, const record_field_t *field, const record_path_t *path,
                        const char **member)
{
    const uint8_t *before = self->at;
    const char *found;
    size_t size;
    if (!read_str (self, &found, &size) || !record_count_fits (field, size))
        return fail_found (self, field, path, before);
    if (!record_text_valid (found, size))
        return fail (self, path, "expected UTF-8 text without control characters");
    *member = size ? arena_strndup (self->arena, found, size) : "";
    return *member ? 0 : fail_memory (self);
}

static int read_bytes (reader_t *self, const record_field_t *field, const record_path_t *path,
                       record_bytes_t *member)
{
    const uint8_t *before = self->at;
    const uint8_t *data;
    size_t size;
    if (!read_bin (self, &data, &size) || !record_count_fits (field, size))
        return fail_found (self, field, path, before);
    *member = (record_bytes_t){.size = size};
    if (size > 0)
        member->data = self->in_place ? data : arena_copy (self->arena, data, size);
    return size == 0 || member->data ? 0 : fail_memory (self);
}

static int read_key (reader_t *self, const record_field_t *field, const record_path_t *path,
                     record_key_t *member)
{
    const uint8_t *before = self->at;
    const uint8_t *data;
    size_t size;
    if (!read_bin (self, &data, &size) || size != sizeof *member)
        return fail_found (self, field, path, before);
    memcpy (member, data, sizeof *member);
    return 0;
}

static int read_strings (reader_t *self, const record_field_t *field, const record_path_t *path,
                         record_strings_t *member)
{
    const uint8_t *before = self->at;
    size_t count;
    if (!read_count (self, FIXARRAY, &count) || !record_count_fits (field, count))
        return fail_found (self, field, path, before);
    *member = (record_strings_t){.count = count};
    if (count == 0)
        return 0;
    member->items = arena_alloc (self->arena, count * sizeof *member->items);
    if (!member->items)
        return fail_memory (self);
    for (size_t i = 0; i < count; i++)
        if (read_element (self, &(record_path_t){path, NULL, i}, &member->items[i]))
            return -1;
    return 0;
}

static int read_ints (reader_t *self, const record_field_t *field, const record_path_t *path,
                      record_ints_t *member)
{
    const uint8_t *before = self->at;
    size_t count;
    if (!read_count (self, FIXARRAY, &count) || !record_count_fits (field, count))
        return fail_found (self, field, path, before);
    *member = (record_ints_t){.count = count};
    if (count == 0)
        return 0;
    member->items = arena_alloc (self->arena, count * sizeof *member->items);
    if (!member->items)
        return fail_memory (self);
    for (size_t i = 0; i < count; i++)
        if (!read_int (self, &member->items[i]))
            return fail (self, &(record_path_t){path, NULL, i}, "expected an integer");
    return 0;
}

static int read_map (reader_t *self, const record_field_t *field, const record_path_t *path,
                     record_map_t *member)
{
    const uint8_t *before = self->at;
    size_t count;
    if (!read_count (self, FIXMAP, &count) || !record_count_fits (field, count))
        return fail_found (self, field, path, before);
    *member = (record_map_t){.count = count};
    if (count == 0)
        return 0;
    member->items = arena_alloc (self->arena, count * sizeof *member->items);
    if (!member->items)
        return fail_memory (self);
    for (size_t i = 0; i < count; i++) {
        record_path_t step = {path, NULL, i};
        if (read_element (self, &step, &member->items[i].key) ||
            read_element (self, &step, &member->items[i].value))
            return -1;
    }
    const char *twice = record_map_duplicate (member, self->arena);
    if (twice)
        return fail (self, &(record_path_t){path, twice, 0}, "stands there twice");
    return self->arena->failed ? fail_memory (self) : 0;
}

static int read_record (reader_t *self, const record_t *record, const record_path_t *path,
                        void *value);

static int read_records (reader_t *self, const record_field_t *field, const record_path_t *path,
                         void *member)
{
    const uint8_t *before = self->at;
    const record_t *record = field->record;
    size_t count;
    if (!read_count (self, FIXARRAY, &count) || !record_count_fits (field, count))
        return fail_found (self, field, path, before);
    char *items = NULL;
    if (count > 0) {
        items = arena_alloc (self->arena, count * record->size);
        if (!items)
            return fail_memory (self);
        for (size_t i = 0; i < count; i++)
            if (read_record (self, record, &(record_path_t){path, NULL, i},
                             items + i * record->size))
                return -1;
    }
    record_list_store (member, items, count);
    return 0;
}

static int read_field (reader_t *self, const record_field_t *field, const record_path_t *path,
                       void *member)
{
    const uint8_t *before = self->at;
    uint64_t natural;
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        if (*before != TRUE_ && *before != FALSE_)
            break;
        *(bool *)member = *before == TRUE_;
        self->at++;
        return 0;
    case RECORD_TYPE_INT:
        if (read_int (self, member) && record_number_fits (field, (double)*(int64_t *)member))
            return 0;
        break;
    case RECORD_TYPE_UINT:
        if (read_natural (self, member) && record_number_fits (field, (double)*(uint64_t *)member))
            return 0;
        break;
    case RECORD_TYPE_REAL:
        if (read_real (self, member) && isfinite (*(double *)member) &&
            record_number_fits (field, *(double *)member))
            return 0;
        break;
    case RECORD_TYPE_ENUM:
        if (read_natural (self, &natural) && natural < (uint64_t)field->choices->count) {
            *(int *)member = (int)natural;
            return 0;
        }
        break;
    case RECORD_TYPE_STRING:
        return read_string (self, field, path, member);
    case RECORD_TYPE_BYTES:
        return read_bytes (self, field, path, member);
    case RECORD_TYPE_KEY:
        return read_key (self, field, path, member);
    case RECORD_TYPE_RECORD:
        return read_record (self, field->record, path, member);
    case RECORD_TYPE_STRINGS:
        return read_strings (self, field, path, member);
    case RECORD_TYPE_INTS:
        return read_ints (self, field, path, member);
    case RECORD_TYPE_MAP:
        return read_map (self, field, path, member);
    case RECORD_TYPE_RECORDS:
        return read_records (self, field, path, member);
    }
    return fail_found (self, field, path, before);
}

/*  A field that the sender's version does not know. Its default has to hold against the limits too,
    or a short array would be the way around them. */
static int read_missing (reader_t *self, const record_field_t *field, const record_path_t *path,
                         void *member)
{
    record_faults_t faults;
    faults.count = 0;
    record_check_default (field, member, path, 0, self->arena, &faults);
    if (faults.count == 0)
        return 0;
    return nexus_error_set (self->error, NEXUS_INVALID, "%s.%s: %s", self->root->name,
                            faults.items[0].path, faults.items[0].message);
}

static int read_record (reader_t *self, const record_t *record, const record_path_t *path,
                        void *value)
{
    size_t count;
    const uint8_t *before = self->at;
    if (!read_count (self, FIXARRAY, &count)) {
        char found[80];
        found_text (before, found, sizeof found);
        return fail (self, path, "expected the fields of %s as a list, found %s", record->name,
                     found);
    }
    size_t known = count < record->field_count ? count : record->field_count;
    record_path_t step = {.up = path};
    for (size_t i = 0; i < known; i++) {
        const record_field_t *field = &record->fields[i];
        step.name = field->name;
        if (read_field (self, field, &step, record_member_mutable (field, value)))
            return -1;
    }
    for (size_t i = known; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        step.name = field->name;
        if (read_missing (self, field, &step, record_member_mutable (field, value)))
            return -1;
    }
    skip_objects (self, count - known);
    return 0;
}

static int decode (const record_t *record, const uint8_t *data, size_t size, bool in_place,
                   arena_t *arena, void *value, nexus_error_t *error)
{
    if (!msgpack_valid (data, size))
        return nexus_error_set (error, NEXUS_INVALID,
                                "%s: %zu bytes that are not one well-formed msgpack object",
                                record->name, size);
    /* Decoded aside first, since a failure leaves *value untouched. */
    union {
        max_align_t align;
        char bytes[1024];
    } local;
    void *decoded = record->size <= sizeof local ? &local : arena_alloc (arena, record->size);
    reader_t reader = {.at = data,
                       .end = data + size,
                       .arena = arena,
                       .root = record,
                       .error = error,
                       .in_place = in_place};
    if (!decoded)
        return fail_memory (&reader);
    if (read_record (&reader, record, NULL, decoded))
        return -1;
    assert (reader.at == reader.end);
    memcpy (value, decoded, record->size);
    return 0;
}

int record_decode (const record_t *record, const uint8_t *data, size_t size, arena_t *arena,
                   void *value, nexus_error_t *error)
{
    return decode (record, data, size, false, arena, value, error);
}

int record_decode_in_place (const record_t *record, const uint8_t *data, size_t size,
                            arena_t *arena, void *value, nexus_error_t *error)
{
    return decode (record, data, size, true, arena, value, error);
}
