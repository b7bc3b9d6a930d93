/*  record - JSON

    An integer above INT64_MAX does not fit jansson's integers and is written as a
    string of digits; integers are read from such strings too. A field that
    holds no key (all zero) is left out. */
#include "runtime/record_private.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/*  ---- to JSON ----------------------------------------------------------- */

/*  Text that is no UTF-8 cannot have come through record_check; better a mark than no document. */
static json_t *text_to_json (const char *text)
{
    json_t *json = json_string (text ? text : "");
    return json ? json : json_string ("?");
}

static json_t *bytes_to_json (const record_bytes_t *bytes)
{
    size_t size = sodium_base64_encoded_len (bytes->size, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc (size);
    if (!text)
        return NULL;
    sodium_bin2base64 (text, size, bytes->data, bytes->size, sodium_base64_VARIANT_ORIGINAL);
    json_t *json = json_string (text);
    free (text);
    return json;
}

static json_t *key_to_json (const record_key_t *key)
{
    char text[2 * sizeof key->bytes + 1];
    if (record_key_is_zero (key))
        return NULL;
    return json_string (sodium_bin2hex (text, sizeof text, key->bytes, sizeof key->bytes));
}

static json_t *uint_to_json (uint64_t value)
{
    if (value <= INT64_MAX)
        return json_integer ((json_int_t)value);
    char text[24];
    snprintf (text, sizeof text, "%" PRIu64, value);
    return json_string (text);
}

static json_t *list_to_json (const record_field_t *field, const void *member, unsigned flags)
{
    json_t *list = json_array ();
    if (field->type == RECORD_TYPE_STRINGS) {
        const record_strings_t *strings = member;
        for (size_t i = 0; i < strings->count; i++)
            json_array_append_new (list, text_to_json (strings->items[i]));
    } else if (field->type == RECORD_TYPE_INTS) {
        const record_ints_t *ints = member;
        for (size_t i = 0; i < ints->count; i++)
            json_array_append_new (list, json_integer (ints->items[i]));
    } else {
        record_list_t records = record_list_load (member);
        for (size_t i = 0; i < records.count; i++)
            json_array_append_new (
                list, record_to_json (field->record,
                                      (char *)records.items + i * field->record->size, flags));
    }
    return list;
}

static json_t *map_to_json (const record_map_t *map)
{
    json_t *object = json_object ();
    for (size_t i = 0; i < map->count; i++)
        json_object_set_new (object, map->items[i].key ? map->items[i].key : "",
                             text_to_json (map->items[i].value));
    return object;
}

/*  NULL: nothing to show. */
static json_t *field_to_json (const record_field_t *field, const void *member, unsigned flags)
{
    if ((field->flags & RECORD_SECRET) && !(flags & RECORD_SHOW_SECRETS))
        return json_string ("***");
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        return json_boolean (*(const bool *)member);
    case RECORD_TYPE_INT:
        return json_integer (*(const int64_t *)member);
    case RECORD_TYPE_UINT:
        return uint_to_json (*(const uint64_t *)member);
    case RECORD_TYPE_REAL:
        return isfinite (*(const double *)member) ? json_real (*(const double *)member)
                                                  : json_null ();
    case RECORD_TYPE_STRING:
        return text_to_json (*(const char *const *)member);
    case RECORD_TYPE_BYTES:
        return bytes_to_json (member);
    case RECORD_TYPE_KEY:
        return key_to_json (member);
    case RECORD_TYPE_ENUM:
        return json_string (record_choice_name (field->choices, *(const int *)member));
    case RECORD_TYPE_RECORD:
        return record_to_json (field->record, member, flags);
    case RECORD_TYPE_MAP:
        return map_to_json (member);
    case RECORD_TYPE_STRINGS:
    case RECORD_TYPE_INTS:
    case RECORD_TYPE_RECORDS:
        return list_to_json (field, member, flags);
    }
    return NULL;
}

json_t *record_to_json (const record_t *record, const void *value, unsigned flags)
{
    json_t *object = json_object ();
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        json_t *member = field_to_json (field, record_member (field, value), flags);
        if (member)
            json_object_set_new (object, field->name, member);
    }
    return object;
}

/*  ---- from JSON --------------------------------------------------------- */

static const char *number_text (record_loader_t *loader, const json_t *json)
{
    char text[40];
    if (json_is_integer (json))
        snprintf (text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value (json));
    else
        record_real_text (json_real_value (json), text, sizeof text);
    return arena_strdup (&loader->scratch, text);
}

static record_node_t *to_node (record_loader_t *loader, const json_t *json, record_node_t *parent,
                               int depth);

static bool children_to_nodes (record_loader_t *loader, const json_t *json, record_node_t *node,
                               int depth)
{
    size_t index;
    json_t *child;
    const char *key;
    if (depth == RECORD_DEPTH_MAX) {
        record_fault (loader->faults, loader->arena, "", 0,
                      "the document is nested too deeply: at most %d levels", RECORD_DEPTH_MAX);
        return false;
    }
    json_array_foreach (json, index,
                        child) if (!to_node (loader, child, node, depth + 1)) return false;
    json_object_foreach ((json_t *)json, key, child)
    {
        record_node_t *entry = to_node (loader, child, node, depth + 1);
        if (!entry)
            return false;
        entry->key = key;
        entry->key_size = strlen (key);
    }
    return true;
}

/*  The tree borrows jansson's text, which outlives it. */
static record_node_t *to_node (record_loader_t *loader, const json_t *json, record_node_t *parent,
                               int depth)
{
    record_node_t *node = record_loader_node (loader, RECORD_NODE_NULL, 0, parent);
    if (!node)
        return NULL;
    switch (json_typeof (json)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        node->kind = json_is_object (json) ? RECORD_NODE_MAP : RECORD_NODE_LIST;
        return children_to_nodes (loader, json, node, depth) ? node : NULL;
    case JSON_STRING:
        node->kind = RECORD_NODE_TEXT;
        node->text = json_string_value (json);
        node->size = json_string_length (json);
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        node->kind = RECORD_NODE_NUMBER;
        node->text = number_text (loader, json);
        node->size = node->text ? strlen (node->text) : 0;
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        node->kind = RECORD_NODE_BOOL;
        node->text = json_is_true (json) ? "true" : "false";
        node->size = strlen (node->text);
        break;
    case JSON_NULL:
        break;
    }
    if (node->kind == RECORD_NODE_NUMBER && !node->text) {
        record_fault (loader->faults, loader->arena, "", 0, "the document is too large");
        return NULL;
    }
    return node;
}

int record_from_json (const record_t *record, const json_t *json, unsigned flags, arena_t *arena,
                      void *value, record_faults_t *faults)
{
    record_loader_t loader;
    record_loader_init (&loader, flags, arena, faults);
    record_node_t *root = to_node (&loader, json, NULL, 0);
    return record_loader_finish (&loader, record, root, value);
}
