/*  record - descriptions: the OpenAPI schema, the reference page, lines for logs */
#include "runtime/record_private.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>

/*  ---- OpenAPI ----------------------------------------------------------- */

static void set (json_t *object, const char *key, json_t *value)
{
    json_object_set_new (object, key, value);
}

static json_t *number_to_json (double value)
{
    bool whole = value == floor (value) && fabs (value) < 9.2e18;
    return whole ? json_integer ((json_int_t)value) : json_real (value);
}

static void set_range (json_t *schema, const record_field_t *field)
{
    bool natural = field->type == RECORD_TYPE_UINT;
    if (field->min != 0 || field->max != 0 || natural)
        set (schema, "minimum", number_to_json (natural && field->min < 0 ? 0 : field->min));
    if (field->max != 0)
        set (schema, "maximum", number_to_json (field->max));
}

static void set_counts (json_t *schema, const char *min_key, size_t min, const char *max_key,
                        size_t max)
{
    if (min > 0)
        set (schema, min_key, json_integer ((json_int_t)min));
    set (schema, max_key, json_integer ((json_int_t)max));
}

static json_t *reference_to (const record_t *record)
{
    return json_pack ("{s:o}", "$ref", json_sprintf ("#/components/schemas/%s", record->name));
}

static json_t *choices_to_json (const record_choices_t *choices)
{
    json_t *names = json_array ();
    for (int i = 0; i < choices->count; i++)
        json_array_append_new (names, json_string (choices->names[i]));
    return names;
}

static json_t *typed (const char *type)
{
    return json_pack ("{s:s}", "type", type);
}

/*  Length of base64 with padding. */
static size_t base64_length (size_t size)
{
    return (size + 2) / 3 * 4;
}

static json_t *type_schema (const record_field_t *field)
{
    size_t min = field->min > 0 ? (size_t)field->min : 0;
    size_t max = record_count_max (field);
    json_t *schema;
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        return typed ("boolean");
    case RECORD_TYPE_INT:
    case RECORD_TYPE_UINT:
    case RECORD_TYPE_REAL:
        schema = typed (field->type == RECORD_TYPE_REAL ? "number" : "integer");
        set_range (schema, field);
        return schema;
    case RECORD_TYPE_STRING:
        schema = typed ("string");
        set_counts (schema, "minLength", min ? 1 : 0, "maxLength", max);
        return schema;
    case RECORD_TYPE_BYTES:
        schema = typed ("string");
        set (schema, "contentEncoding", json_string ("base64"));
        set_counts (schema, "minLength", base64_length (min), "maxLength", base64_length (max));
        return schema;
    case RECORD_TYPE_KEY:
        schema = typed ("string");
        set (schema, "pattern", json_string ("^[0-9a-fA-F]{64}$"));
        return schema;
    case RECORD_TYPE_ENUM:
        schema = typed ("string");
        set (schema, "enum", choices_to_json (field->choices));
        return schema;
    case RECORD_TYPE_RECORD:
        return reference_to (field->record);
    case RECORD_TYPE_MAP:
        schema = typed ("object");
        set (schema, "additionalProperties", typed ("string"));
        set_counts (schema, "minProperties", min, "maxProperties", max);
        return schema;
    default:
        schema = typed ("array");
        set (schema, "items",
             field->type == RECORD_TYPE_RECORDS   ? reference_to (field->record)
             : field->type == RECORD_TYPE_STRINGS ? typed ("string")
                                                  : typed ("integer"));
        set_counts (schema, "minItems", min, "maxItems", max);
        return schema;
    }
}

static json_t *default_to_json (const record_field_t *field)
{
    int64_t integer;
    double real;
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        return json_boolean (strcmp (field->def, "true") == 0);
    case RECORD_TYPE_INT:
    case RECORD_TYPE_UINT:
        if (record_parse_int (field->def, &integer))
            return json_integer (integer);
        return json_string (field->def);
    case RECORD_TYPE_REAL:
        return record_parse_real (field->def, &real) ? json_real (real) : NULL;
    default:
        return json_string (field->def);
    }
}

static json_t *field_schema (const record_field_t *field)
{
    json_t *schema = type_schema (field);
    if (field->doc)
        set (schema, "description",
             field->unit ? json_sprintf ("%s (%s)", field->doc, field->unit)
                         : json_string (field->doc));
    if (field->def)
        set (schema, "default", default_to_json (field));
    if (field->flags & RECORD_READONLY)
        set (schema, "readOnly", json_true ());
    if (field->flags & RECORD_SECRET)
        set (schema, "writeOnly", json_true ());
    return schema;
}

json_t *record_schema (const record_t *record)
{
    json_t *properties = json_object (), *required = json_array ();
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        set (properties, field->name, field_schema (field));
        if (field->flags & RECORD_REQUIRED)
            json_array_append_new (required, json_string (field->name));
    }
    json_t *schema = typed ("object");
    if (record->doc)
        set (schema, "description", json_string (record->doc));
    set (schema, "properties", properties);
    if (json_array_size (required) > 0)
        set (schema, "required", required);
    else
        json_decref (required);
    set (schema, "additionalProperties", json_false ());
    return schema;
}

/*  ---- reference page ---------------------------------------------------- */

/*  A table's cell: a bar would end it. */
static void cell (const char *text, buffer_t *out)
{
    for (; *text; text++) {
        if (*text == '|')
            buffer_append (out, "\\", 1);
        buffer_append (out, *text == '\n' ? " " : text, 1);
    }
}

static void reference_default (const record_field_t *field, buffer_t *out)
{
    if (field->flags & RECORD_REQUIRED)
        buffer_printf (out, "required");
    else if (field->def)
        buffer_printf (out, "`%s`", field->def);
    else if (field->type == RECORD_TYPE_BOOL)
        buffer_printf (out, "`false`");
    else if (field->type == RECORD_TYPE_ENUM)
        buffer_printf (out, "`%s`", record_choice_name (field->choices, 0));
    else if (field->type <= RECORD_TYPE_REAL)
        buffer_printf (out, "`0`");
}

static void reference_field (const record_field_t *field, buffer_t *out)
{
    char takes[300];
    record_expected (field, takes, sizeof takes);
    buffer_printf (out, "| `%s` | ", field->name);
    cell (takes, out);
    if (field->unit)
        buffer_printf (out, ", %s", field->unit);
    buffer_append (out, " | ", 3);
    reference_default (field, out);
    buffer_append (out, " | ", 3);
    cell (field->doc ? field->doc : "", out);
    if (field->record)
        buffer_printf (out, " See [%s](#%s).", field->record->name, field->record->name);
    if (field->flags & RECORD_READONLY)
        buffer_printf (out, " Set by the cluster.");
    if (field->flags & RECORD_SECRET)
        buffer_printf (out, " Secret: never shown.");
    if (field->since)
        buffer_printf (out, " Since version %d.", field->since);
    buffer_append (out, " |\n", 3);
}

void record_reference (const record_t *record, buffer_t *out)
{
    buffer_printf (out, "### %s\n\n%s\n\n", record->name, record->doc ? record->doc : "");
    if (record->field_count == 0)
        return;
    buffer_printf (out, "| Field | Takes | Default | Meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < record->field_count; i++)
        reference_field (&record->fields[i], out);
    buffer_append (out, "\n", 1);
}

/*  ---- logfmt ------------------------------------------------------------ */

/*  Bare where it can stand so; otherwise in quotes, one line whatever it holds. */
static void put_text (const char *text, buffer_t *out)
{
    if (*text && !strpbrk (text, " \t\n\"=\\")) {
        buffer_append (out, text, strlen (text));
        return;
    }
    buffer_append (out, "\"", 1);
    for (; *text; text++) {
        if (*text == '\n' || *text == '\t')
            buffer_append (out, *text == '\n' ? "\\n" : "\\t", 2);
        else if (*text == '"' || *text == '\\')
            buffer_append (out, (char[]){'\\', *text}, 2);
        else
            buffer_append (out, text, 1);
    }
    buffer_append (out, "\"", 1);
}

/*  A list or a map in one pair of brackets. */
static void put_list (const record_field_t *field, const void *member, buffer_t *out)
{
    record_list_t list = record_list_load (member);
    buffer_append (out, "[", 1);
    for (size_t i = 0; i < list.count; i++) {
        if (i > 0)
            buffer_append (out, " ", 1);
        if (field->type == RECORD_TYPE_STRINGS) {
            const char *text = ((const record_strings_t *)member)->items[i];
            put_text (text ? text : "", out);
        } else if (field->type == RECORD_TYPE_INTS) {
            buffer_printf (out, "%" PRId64, ((const record_ints_t *)member)->items[i]);
        } else if (field->type == RECORD_TYPE_MAP) {
            const record_pair_t *pair = &((const record_map_t *)member)->items[i];
            put_text (pair->key ? pair->key : "", out);
            buffer_append (out, "=", 1);
            put_text (pair->value ? pair->value : "", out);
        } else {
            buffer_append (out, "{", 1);
            record_to_logfmt (field->record, (char *)list.items + i * field->record->size, out);
            buffer_append (out, "}", 1);
        }
    }
    buffer_append (out, "]", 1);
}

static void put_value (const record_field_t *field, const void *member, buffer_t *out)
{
    char text[80];
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        buffer_printf (out, "%s", *(const bool *)member ? "true" : "false");
        break;
    case RECORD_TYPE_INT:
        buffer_printf (out, "%" PRId64, *(const int64_t *)member);
        break;
    case RECORD_TYPE_UINT:
        buffer_printf (out, "%" PRIu64, *(const uint64_t *)member);
        break;
    case RECORD_TYPE_REAL:
        record_real_text (*(const double *)member, text, sizeof text);
        buffer_append (out, text, strlen (text));
        break;
    case RECORD_TYPE_ENUM:
        put_text (record_choice_name (field->choices, *(const int *)member), out);
        break;
    case RECORD_TYPE_STRING:
        put_text (*(const char *const *)member, out);
        break;
    case RECORD_TYPE_BYTES:
        buffer_printf (out, "%zuB", ((const record_bytes_t *)member)->size);
        break;
    case RECORD_TYPE_KEY:
        sodium_bin2hex (text, sizeof text, member, sizeof (record_key_t));
        buffer_append (out, text, 64);
        break;
    default:
        put_list (field, member, out);
        break;
    }
}

/*  Empty text, keys, lists and maps say nothing in a log. */
static bool is_empty (const record_field_t *field, const void *member)
{
    switch (field->type) {
    case RECORD_TYPE_STRING: {
        const char *text = *(const char *const *)member;
        return !text || !*text;
    }
    case RECORD_TYPE_BYTES:
        return ((const record_bytes_t *)member)->size == 0;
    case RECORD_TYPE_KEY:
        return record_key_is_zero (member);
    case RECORD_TYPE_STRINGS:
    case RECORD_TYPE_INTS:
    case RECORD_TYPE_MAP:
    case RECORD_TYPE_RECORDS:
        return record_list_load (member).count == 0;
    default:
        return false;
    }
}

static void put_fields (const record_t *record, const void *value, const char *prefix, bool *first,
                        buffer_t *out)
{
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        const void *member = record_member (field, value);
        if ((field->flags & RECORD_SECRET) || is_empty (field, member))
            continue;
        if (field->type == RECORD_TYPE_RECORD) {
            char path[200];
            snprintf (path, sizeof path, "%s%s.", prefix, field->name);
            put_fields (field->record, member, path, first, out);
            continue;
        }
        buffer_printf (out, "%s%s%s=", *first ? "" : " ", prefix, field->name);
        *first = false;
        put_value (field, member, out);
    }
}

void record_to_logfmt (const record_t *record, const void *value, buffer_t *out)
{
    bool first = true;
    put_fields (record, value, "", &first, out);
}
