/*  record - everything that has fields is described once: values, limits and their check */
#include "runtime/record_private.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*  ---- enums ------------------------------------------------------------- */

const char *record_choice_name (const record_choices_t *choices, int value)
{
    return value >= 0 && value < choices->count ? choices->names[value] : "?";
}

int record_choice_value (const record_choices_t *choices, const char *name)
{
    for (int value = 0; value < choices->count; value++)
        if (strcmp (choices->names[value], name) == 0)
            return value;
    return -1;
}

/*  ---- numbers as text --------------------------------------------------- */

bool record_parse_int (const char *text, int64_t *value)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || digits[strspn (digits, "0123456789")])
        return false;
    errno = 0;
    long long parsed = strtoll (text, NULL, 10);
    if (errno)
        return false;
    *value = parsed;
    return true;
}

bool record_parse_uint (const char *text, uint64_t *value)
{
    const char *digits = text + (*text == '+');
    if (!*digits || digits[strspn (digits, "0123456789")])
        return false;
    errno = 0;
    unsigned long long parsed = strtoull (digits, NULL, 10);
    if (errno)
        return false;
    *value = parsed;
    return true;
}

/*  strtod and printf write the decimal point of the locale, which a program that embeds us may have
    set; documents always have a '.'. */
static char locale_point (void)
{
    return *localeconv ()->decimal_point;
}

bool record_parse_real (const char *text, double *value)
{
    char local[64];
    size_t length = strlen (text);
    if (length == 0 || length >= sizeof local || text[strspn (text, "+-0123456789.eE")])
        return false;
    memcpy (local, text, length + 1);
    char *point = strchr (local, '.');
    if (point)
        *point = locale_point ();
    char *end;
    double parsed = strtod (local, &end);
    if (*end || end == local || !isfinite (parsed))
        return false;
    *value = parsed;
    return true;
}

void record_real_text (double value, char *text, size_t size)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf (text, size, "%.*g", digits, value);
        if (strtod (text, NULL) == value)
            break;
    }
    char *point = strchr (text, locale_point ());
    if (point)
        *point = '.';
}

/*  ---- text -------------------------------------------------------------- */

/*  The length of the UTF-8 sequence at text, 0 if it is not one (RFC 3629: no surrogates, no
    overlong forms) or a C1 control character. */
static size_t utf8_length (const unsigned char *text, size_t left)
{
    unsigned char lead = text[0];
    size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool refused = (lead == 0xe0 && text[1] < 0xa0) || (lead == 0xed && text[1] > 0x9f) ||
                   (lead == 0xf0 && text[1] < 0x90) || (lead == 0xf4 && text[1] > 0x8f) ||
                   (lead == 0xc2 && text[1] < 0xa0);
    return refused ? 0 : length;
}

bool record_text_valid (const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + size;
    while (at < end) {
        if (*at >= 0x80) {
            size_t length = utf8_length (at, (size_t)(end - at));
            if (length == 0)
                return false;
            at += length;
        } else {
            if ((*at < 0x20 && *at != '\t' && *at != '\n') || *at == 0x7f)
                return false;
            at++;
        }
    }
    return true;
}

void record_quote (const char *text, size_t length, char *out, size_t size)
{
    enum { SHOWN = 40 };
    assert (size > SHOWN + 8);
    size_t used = 0;
    out[used++] = '"';
    size_t i = 0;
    while (i < length && used < SHOWN) {
        unsigned char c = (unsigned char)text[i];
        size_t sequence = c < 0x80 ? 1 : utf8_length ((const unsigned char *)text + i, length - i);
        if (sequence == 0 || (sequence == 1 && !isprint (c))) {
            out[used++] = '?';
            i++;
            continue;
        }
        memcpy (out + used, text + i, sequence);
        used += sequence;
        i += sequence;
    }
    snprintf (out + used, size - used, "%s", i < length ? "...\"" : "\"");
}

/*  ---- defaults ---------------------------------------------------------- */

void record_field_default (const record_field_t *field, void *member)
{
    const char *def = field->def;
    bool parsed = true;
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        *(bool *)member = def && strcmp (def, "true") == 0;
        break;
    case RECORD_TYPE_INT:
        *(int64_t *)member = 0;
        parsed = !def || record_parse_int (def, member);
        break;
    case RECORD_TYPE_UINT:
        *(uint64_t *)member = 0;
        parsed = !def || record_parse_uint (def, member);
        break;
    case RECORD_TYPE_REAL:
        *(double *)member = 0;
        parsed = !def || record_parse_real (def, member);
        break;
    case RECORD_TYPE_STRING:
        *(const char **)member = def ? def : "";
        break;
    case RECORD_TYPE_ENUM:
        *(int *)member = def ? record_choice_value (field->choices, def) : 0;
        parsed = *(int *)member >= 0;
        break;
    case RECORD_TYPE_RECORD:
        record_init (field->record, member);
        break;
    case RECORD_TYPE_BYTES:
        *(record_bytes_t *)member = (record_bytes_t){0};
        break;
    case RECORD_TYPE_KEY:
        *(record_key_t *)member = (record_key_t){0};
        break;
    case RECORD_TYPE_STRINGS:
    case RECORD_TYPE_INTS:
    case RECORD_TYPE_MAP:
    case RECORD_TYPE_RECORDS:
        /* Their default is empty: a default list would need somebody to own it. */
        memset (member, 0, sizeof (record_list_t));
        break;
    }
    assert (parsed && "a field's default must be a value of its type");
}

void record_init (const record_t *record, void *value)
{
    memset (value, 0, record->size);
    for (size_t i = 0; i < record->field_count; i++)
        record_field_default (&record->fields[i],
                              record_member_mutable (&record->fields[i], value));
}

/*  ---- copies ------------------------------------------------------------ */

static int clone_pointers (const record_t *record, const void *value, arena_t *arena, void *copy);

static int clone_strings (const record_strings_t *from, arena_t *arena, record_strings_t *to)
{
    to->items = NULL;
    if (from->count == 0)
        return 0;
    const char **items = arena_alloc (arena, from->count * sizeof *items);
    if (!items)
        return -1;
    for (size_t i = 0; i < from->count; i++)
        items[i] = arena_strdup (arena, from->items[i] ? from->items[i] : "");
    to->items = items;
    return arena->failed ? -1 : 0;
}

static int clone_map (const record_map_t *from, arena_t *arena, record_map_t *to)
{
    to->items = NULL;
    if (from->count == 0)
        return 0;
    record_pair_t *items = arena_alloc (arena, from->count * sizeof *items);
    if (!items)
        return -1;
    for (size_t i = 0; i < from->count; i++) {
        const record_pair_t *pair = &from->items[i];
        items[i].key = arena_strdup (arena, pair->key ? pair->key : "");
        items[i].value = arena_strdup (arena, pair->value ? pair->value : "");
    }
    to->items = items;
    return arena->failed ? -1 : 0;
}

static int clone_records (const record_t *record, const void *from, arena_t *arena, void *to)
{
    record_list_t list = record_list_load (from);
    char *items = NULL;
    if (list.count > 0) {
        items = arena_copy (arena, list.items, list.count * record->size);
        if (!items)
            return -1;
        for (size_t i = 0; i < list.count; i++)
            if (clone_pointers (record, (char *)list.items + i * record->size, arena,
                                items + i * record->size))
                return -1;
    }
    record_list_store (to, items, list.count);
    return 0;
}

/*  The struct itself is already copied; now what it points to. */
static int clone_pointers (const record_t *record, const void *value, arena_t *arena, void *copy)
{
    const record_field_t *end = record->fields + record->field_count;
    for (const record_field_t *field = record->fields; field < end; field++) {
        const void *from = record_member (field, value);
        void *to = record_member_mutable (field, copy);
        switch (field->type) {
        case RECORD_TYPE_BOOL:
        case RECORD_TYPE_INT:
        case RECORD_TYPE_UINT:
        case RECORD_TYPE_REAL:
        case RECORD_TYPE_KEY:
        case RECORD_TYPE_ENUM:
            break;
        case RECORD_TYPE_STRING: {
            const char *text = *(const char *const *)from;
            *(const char **)to = text && *text ? arena_strdup (arena, text) : "";
            break;
        }
        case RECORD_TYPE_BYTES: {
            const record_bytes_t *bytes = from;
            ((record_bytes_t *)to)->data =
                bytes->size ? arena_copy (arena, bytes->data, bytes->size) : NULL;
            break;
        }
        case RECORD_TYPE_RECORD:
            if (clone_pointers (field->record, from, arena, to))
                return -1;
            break;
        case RECORD_TYPE_STRINGS:
            if (clone_strings (from, arena, to))
                return -1;
            break;
        case RECORD_TYPE_INTS: {
            const record_ints_t *ints = from;
            ((record_ints_t *)to)->items =
                ints->count ? arena_copy (arena, ints->items, ints->count * sizeof (int64_t))
                            : NULL;
            break;
        }
        case RECORD_TYPE_MAP:
            if (clone_map (from, arena, to))
                return -1;
            break;
        case RECORD_TYPE_RECORDS:
            if (clone_records (field->record, from, arena, to))
                return -1;
            break;
        }
    }
    return arena->failed ? -1 : 0;
}

int record_clone (const record_t *record, const void *value, arena_t *arena, void *copy)
{
    assert (value != copy);
    memcpy (copy, value, record->size);
    if (clone_pointers (record, value, arena, copy) == 0)
        return 0;
    /* Half a copy would point into the original. */
    record_init (record, copy);
    return -1;
}

/*  ---- comparison -------------------------------------------------------- */

static bool text_equal (const char *a, const char *b)
{
    return strcmp (a ? a : "", b ? b : "") == 0;
}

static bool strings_equal (const record_strings_t *a, const record_strings_t *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!text_equal (a->items[i], b->items[i]))
            return false;
    return true;
}

/*  The order of a map's entries says nothing, though mostly it is the same. */
static bool maps_equal (const record_map_t *a, const record_map_t *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const record_pair_t *pair = &a->items[i];
        size_t j = i;
        if (!text_equal (pair->key, b->items[j].key)) {
            j = 0;
            while (j < b->count && !text_equal (pair->key, b->items[j].key))
                j++;
        }
        if (j == b->count || !text_equal (pair->value, b->items[j].value))
            return false;
    }
    return true;
}

static bool lists_equal (const record_t *record, const void *a, const void *b)
{
    record_list_t left = record_list_load (a), right = record_list_load (b);
    if (left.count != right.count)
        return false;
    for (size_t i = 0; i < left.count; i++)
        if (!record_equal (record, (char *)left.items + i * record->size,
                           (char *)right.items + i * record->size))
            return false;
    return true;
}

bool record_field_equal (const record_field_t *field, const void *a, const void *b)
{
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case RECORD_TYPE_INT:
        return *(const int64_t *)a == *(const int64_t *)b;
    case RECORD_TYPE_UINT:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case RECORD_TYPE_REAL:
        return *(const double *)a == *(const double *)b;
    case RECORD_TYPE_ENUM:
        return *(const int *)a == *(const int *)b;
    case RECORD_TYPE_STRING:
        return text_equal (*(const char *const *)a, *(const char *const *)b);
    case RECORD_TYPE_BYTES: {
        const record_bytes_t *left = a, *right = b;
        return left->size == right->size &&
               (left->size == 0 || memcmp (left->data, right->data, left->size) == 0);
    }
    case RECORD_TYPE_KEY:
        return memcmp (a, b, sizeof (record_key_t)) == 0;
    case RECORD_TYPE_RECORD:
        return record_equal (field->record, a, b);
    case RECORD_TYPE_STRINGS:
        return strings_equal (a, b);
    case RECORD_TYPE_INTS: {
        const record_ints_t *left = a, *right = b;
        return left->count == right->count &&
               (left->count == 0 ||
                memcmp (left->items, right->items, left->count * sizeof (int64_t)) == 0);
    }
    case RECORD_TYPE_MAP:
        return maps_equal (a, b);
    case RECORD_TYPE_RECORDS:
        return lists_equal (field->record, a, b);
    }
    return false;
}

bool record_equal (const record_t *record, const void *a, const void *b)
{
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        if (!record_field_equal (field, record_member (field, a), record_member (field, b)))
            return false;
    }
    return true;
}

bool record_field_is_default (const record_field_t *field, const void *member)
{
    if (field->type == RECORD_TYPE_RECORD) {
        for (size_t i = 0; i < field->record->field_count; i++) {
            const record_field_t *inner = &field->record->fields[i];
            if (!record_field_is_default (inner, record_member (inner, member)))
                return false;
        }
        return true;
    }
    union {
        int64_t integer;
        double real;
        const char *text;
        record_key_t key;
        record_list_t list;
    } def = {0};
    record_field_default (field, &def);
    return record_field_equal (field, member, &def);
}

bool record_key_is_zero (const record_key_t *key)
{
    unsigned all = 0;
    for (size_t i = 0; i < sizeof key->bytes; i++)
        all |= key->bytes[i];
    return all == 0;
}

/*  ---- limits ------------------------------------------------------------ */

size_t record_count_max (const record_field_t *field)
{
    if (field->max > 0)
        return (size_t)field->max;
    if (field->type == RECORD_TYPE_STRING)
        return RECORD_STRING_MAX;
    return field->type == RECORD_TYPE_BYTES ? RECORD_BYTES_MAX : RECORD_COUNT_MAX;
}

static void number_text (double value, char *text, size_t size)
{
    if (value == floor (value) && fabs (value) < 1e19)
        snprintf (text, size, "%.0f", value);
    else
        record_real_text (value, text, size);
}

static void expected_number (const record_field_t *field, const char *what, char *text, size_t size)
{
    char min[40], max[40];
    number_text (field->min, min, sizeof min);
    number_text (field->max, max, sizeof max);
    if (field->max != 0)
        snprintf (text, size, "%s from %s to %s", what, min, max);
    else if (field->min != 0)
        snprintf (text, size, "%s of at least %s", what, min);
    else
        snprintf (text, size, "%s", what);
}

static void expected_count (const record_field_t *field, const char *before, const char *after,
                            char *text, size_t size)
{
    if (field->min > 0)
        snprintf (text, size, "%s %.0f to %zu %s", before, field->min, record_count_max (field),
                  after);
    else
        snprintf (text, size, "%s at most %zu %s", before, record_count_max (field), after);
}

static void expected_choice (const record_choices_t *choices, char *text, size_t size)
{
    size_t used = (size_t)snprintf (text, size, "one of ");
    for (int i = 0; i < choices->count && used < size; i++)
        used +=
            (size_t)snprintf (text + used, size - used, "%s%s", i ? ", " : "", choices->names[i]);
}

void record_expected (const record_field_t *field, char *text, size_t size)
{
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        snprintf (text, size, "true or false");
        break;
    case RECORD_TYPE_INT:
        expected_number (field, "an integer", text, size);
        break;
    case RECORD_TYPE_UINT:
        expected_number (
            field, field->max != 0 || field->min != 0 ? "an integer" : "an integer of at least 0",
            text, size);
        break;
    case RECORD_TYPE_REAL:
        expected_number (field, "a number", text, size);
        break;
    case RECORD_TYPE_STRING:
        expected_count (field, "text of", "bytes", text, size);
        break;
    case RECORD_TYPE_BYTES:
        expected_count (field, "data of", "bytes", text, size);
        break;
    case RECORD_TYPE_KEY:
        snprintf (text, size, "a key of 32 bytes (64 hex digits)");
        break;
    case RECORD_TYPE_ENUM:
        expected_choice (field->choices, text, size);
        break;
    case RECORD_TYPE_RECORD:
        snprintf (text, size, "the fields of %s", field->record->name);
        break;
    case RECORD_TYPE_STRINGS:
        expected_count (field, "a list of", "strings", text, size);
        break;
    case RECORD_TYPE_INTS:
        expected_count (field, "a list of", "integers", text, size);
        break;
    case RECORD_TYPE_MAP:
        expected_count (field, "a map of", "strings by name", text, size);
        break;
    case RECORD_TYPE_RECORDS: {
        char after[80];
        snprintf (after, sizeof after, "entries (%s)", field->record->name);
        expected_count (field, "a list of", after, text, size);
        break;
    }
    }
}

/*  ---- faults ------------------------------------------------------------ */

void record_path_text (const record_path_t *path, char *text, size_t size)
{
    const record_path_t *steps[4 * RECORD_DEPTH_MAX];
    size_t count = 0;
    for (; path && count < sizeof steps / sizeof *steps; path = path->up)
        steps[count++] = path;
    size_t used = 0;
    text[0] = 0;
    while (count > 0 && used < size) {
        const record_path_t *step = steps[--count];
        if (step->name)
            used +=
                (size_t)snprintf (text + used, size - used, "%s%s", used ? "." : "", step->name);
        else
            used += (size_t)snprintf (text + used, size - used, "[%zu]", step->index);
    }
}

static void add_fault (record_faults_t *faults, arena_t *arena, const char *path, int line,
                       const char *format, va_list args)
{
    if (record_faults_full (faults))
        return;
    char text[1024];
    vsnprintf (text, sizeof text, format, args);
    record_fault_t *fault = &faults->items[faults->count++];
    fault->path = arena_strdup (arena, path);
    fault->line = line;
    fault->message = arena_strdup (arena, text);
    /* A fault counts even where there is no memory left to word it. */
    if (!fault->path)
        fault->path = "";
    if (!fault->message)
        fault->message = "the document needs more memory than it may take";
}

void record_fault (record_faults_t *faults, arena_t *arena, const char *path, int line,
                   const char *format, ...)
{
    va_list args;
    va_start (args, format);
    add_fault (faults, arena, path, line, format, args);
    va_end (args);
}

void record_fault_at (record_faults_t *faults, arena_t *arena, const record_path_t *path, int line,
                      const char *format, ...)
{
    char where[512];
    record_path_text (path, where, sizeof where);
    va_list args;
    va_start (args, format);
    add_fault (faults, arena, where, line, format, args);
    va_end (args);
}

const char *record_faults_text (const record_faults_t *faults, const char *file, arena_t *arena)
{
    buffer_t out = {0};
    for (size_t i = 0; i < faults->count; i++) {
        const record_fault_t *fault = &faults->items[i];
        buffer_printf (&out, "%s:", file);
        if (fault->line)
            buffer_printf (&out, "%d:", fault->line);
        buffer_printf (&out, "%s%s%s %s\n", *fault->path ? " " : "", fault->path,
                       *fault->path ? ":" : "", fault->message);
    }
    const char *text = arena_strndup (arena, out.data ? (const char *)out.data : "", out.size);
    buffer_free (&out);
    return text ? text : "";
}

/*  ---- check ------------------------------------------------------------- */

/*  What a message calls for and where it goes. */
typedef struct {
    const record_field_t *field;
    const record_path_t *path;
    int line;
    arena_t *arena;
    record_faults_t *faults;
} check_t;

static void complain (const check_t *check, const char *found)
{
    char expected[300];
    record_expected (check->field, expected, sizeof expected);
    record_fault_at (check->faults, check->arena, check->path, check->line, "expected %s, found %s",
                     expected, check->field->flags & RECORD_SECRET ? "something else" : found);
}

static void complain_number (const check_t *check, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
static void complain_number (const check_t *check, const char *format, ...)
{
    char found[80];
    va_list args;
    va_start (args, format);
    vsnprintf (found, sizeof found, format, args);
    va_end (args);
    complain (check, found);
}

static void check_count (const check_t *check, size_t count, const char *unit)
{
    if (count == 0 && check->field->flags & RECORD_REQUIRED)
        complain (check, "nothing (it is required)");
    else if (!record_count_fits (check->field, count))
        complain_number (check, "%zu%s", count, unit);
}

void record_check_text (const char *text, size_t size, const record_path_t *path, int line,
                        arena_t *arena, record_faults_t *faults)
{
    if (size > RECORD_STRING_MAX)
        record_fault_at (faults, arena, path, line, "expected text of at most %d bytes, found %zu",
                         RECORD_STRING_MAX, size);
    else if (!record_text_valid (text, size))
        record_fault_at (faults, arena, path, line,
                         "expected UTF-8 text without control characters");
}

static void check_element (const check_t *check, const char *text, const record_path_t *step)
{
    record_check_text (text ? text : "", text ? strlen (text) : 0, step, check->line, check->arena,
                       check->faults);
}

static void check_string (const check_t *check, const char *text)
{
    size_t length = text ? strlen (text) : 0;
    check_count (check, length, " bytes");
    if (length > 0 && !record_text_valid (text, length))
        record_fault_at (check->faults, check->arena, check->path, check->line,
                         "expected UTF-8 text without control characters");
}

static void check_strings (const check_t *check, const record_strings_t *strings)
{
    check_count (check, strings->count, "");
    for (size_t i = 0; i < strings->count && i < record_count_max (check->field); i++)
        check_element (check, strings->items[i], &(record_path_t){check->path, NULL, i});
}

static int compare_keys (const void *a, const void *b)
{
    return strcmp (*(const char *const *)a, *(const char *const *)b);
}

const char *record_map_duplicate (const record_map_t *map, arena_t *arena)
{
    if (map->count < 2)
        return NULL;
    const char **keys = arena_alloc (arena, map->count * sizeof *keys);
    if (!keys)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        keys[i] = map->items[i].key ? map->items[i].key : "";
    qsort (keys, map->count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < map->count; i++)
        if (strcmp (keys[i - 1], keys[i]) == 0)
            return keys[i];
    return NULL;
}

static void check_map (const check_t *check, const record_map_t *map)
{
    check_count (check, map->count, "");
    if (map->count > record_count_max (check->field))
        return;
    for (size_t i = 0; i < map->count; i++) {
        record_path_t step = {check->path, map->items[i].key ? map->items[i].key : "", 0};
        check_element (check, step.name, &step);
        check_element (check, map->items[i].value, &step);
    }
    const char *twice = record_map_duplicate (map, check->arena);
    if (twice)
        record_fault_at (check->faults, check->arena, &(record_path_t){check->path, twice, 0},
                         check->line, "stands there twice: keep one");
}

static void check_record (const record_t *record, const void *value, const record_path_t *path,
                          int line, arena_t *arena, record_faults_t *faults)
{
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        record_check_field (field, record_member (field, value),
                            &(record_path_t){path, field->name, 0}, line, arena, faults);
    }
}

static void check_records (const check_t *check, const void *member)
{
    record_list_t list = record_list_load (member);
    const record_t *record = check->field->record;
    check_count (check, list.count, "");
    for (size_t i = 0; i < list.count && i < record_count_max (check->field); i++)
        check_record (record, (char *)list.items + i * record->size,
                      &(record_path_t){check->path, NULL, i}, check->line, check->arena,
                      check->faults);
}

static void check_real (const check_t *check, double value)
{
    char found[40];
    record_real_text (value, found, sizeof found);
    if (!isfinite (value) || !record_number_fits (check->field, value))
        complain (check, found);
}

void record_check_field (const record_field_t *field, const void *member, const record_path_t *path,
                         int line, arena_t *arena, record_faults_t *faults)
{
    check_t check = {field, path, line, arena, faults};
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        break;
    case RECORD_TYPE_INT:
        if (!record_number_fits (field, (double)*(const int64_t *)member))
            complain_number (&check, "%" PRId64, *(const int64_t *)member);
        break;
    case RECORD_TYPE_UINT:
        if (!record_number_fits (field, (double)*(const uint64_t *)member))
            complain_number (&check, "%" PRIu64, *(const uint64_t *)member);
        break;
    case RECORD_TYPE_REAL:
        check_real (&check, *(const double *)member);
        break;
    case RECORD_TYPE_STRING:
        check_string (&check, *(const char *const *)member);
        break;
    case RECORD_TYPE_BYTES:
        check_count (&check, ((const record_bytes_t *)member)->size, " bytes");
        break;
    case RECORD_TYPE_KEY:
        if ((field->flags & RECORD_REQUIRED) && record_key_is_zero (member))
            complain (&check, "nothing (it is required)");
        break;
    case RECORD_TYPE_ENUM:
        if (*(const int *)member < 0 || *(const int *)member >= field->choices->count)
            complain_number (&check, "%d", *(const int *)member);
        break;
    case RECORD_TYPE_RECORD:
        check_record (field->record, member, path, line, arena, faults);
        break;
    case RECORD_TYPE_STRINGS:
        check_strings (&check, member);
        break;
    case RECORD_TYPE_INTS:
        check_count (&check, ((const record_ints_t *)member)->count, "");
        break;
    case RECORD_TYPE_MAP:
        check_map (&check, member);
        break;
    case RECORD_TYPE_RECORDS:
        check_records (&check, member);
        break;
    }
}

void record_check_default (const record_field_t *field, void *member, const record_path_t *path,
                           int line, arena_t *arena, record_faults_t *faults)
{
    if (field->type == RECORD_TYPE_RECORD) {
        for (size_t i = 0; i < field->record->field_count; i++) {
            const record_field_t *inner = &field->record->fields[i];
            record_check_default (inner, record_member_mutable (inner, member),
                                  &(record_path_t){path, inner->name, 0}, line, arena, faults);
        }
        return;
    }
    record_field_default (field, member);
    record_field_t optional = *field;
    optional.flags &= ~(unsigned)RECORD_REQUIRED;
    record_faults_t found;
    found.count = 0;
    record_check_field (&optional, member, path, line, arena, &found);
    if (found.count == 0)
        return;
    char expected[300];
    record_expected (field, expected, sizeof expected);
    record_fault_at (faults, arena, path, line, "missing: expected %s", expected);
}

int record_check (const record_t *record, const void *value, arena_t *arena,
                  record_faults_t *faults)
{
    size_t before = faults->count;
    check_record (record, value, NULL, 0, arena, faults);
    if (arena->failed)
        record_fault (faults, arena, "", 0, "the record needs more memory than it may take");
    return faults->count > before || record_faults_full (faults) ? -1 : 0;
}
