/*  record - YAML

    What is read is the part of YAML 1.1 that people write by hand: block and flow
    style, all ways to quote, comments. Anchors, aliases (a few lines of them
    make gigabytes), tags and several documents in one file are refused.
    Reads libyaml's events with a stack of fixed depth. */
#include "runtime/record_private.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

/*  ---- from YAML --------------------------------------------------------- */

typedef struct {
    record_loader_t *loader;
    record_node_t *root;
    record_node_t *open[RECORD_DEPTH_MAX]; /* containers that have not ended */
    size_t depth;
    const char *key; /* read, its value still to come */
    size_t key_size;
    int key_line;
    size_t documents;
} reader_t;

static bool refuse (reader_t *self, int line, const char *message)
{
    record_fault (self->loader->faults, self->loader->arena, "", line, "%s", message);
    return false;
}

/*  A new value where the reader stands: the root, an element, or the value of the key. */
static record_node_t *add_node (reader_t *self, record_node_kind_t kind, int line)
{
    record_node_t *parent = self->depth ? self->open[self->depth - 1] : NULL;
    record_node_t *node = record_loader_node (self->loader, kind, line, parent);
    if (!node)
        return NULL;
    if (!parent)
        self->root = node;
    node->key = self->key;
    node->key_size = self->key_size;
    node->key_line = self->key_line;
    self->key = NULL;
    return node;
}

static bool wants_key (const reader_t *self)
{
    return self->depth > 0 && self->open[self->depth - 1]->kind == RECORD_NODE_MAP && !self->key;
}

static bool is_null (const char *text)
{
    return !*text || strcmp (text, "~") == 0 || strcmp (text, "null") == 0 ||
           strcmp (text, "Null") == 0 || strcmp (text, "NULL") == 0;
}

static bool read_scalar (reader_t *self, const yaml_event_t *event, int line)
{
    const char *text = arena_strndup (
        &self->loader->scratch, (const char *)event->data.scalar.value, event->data.scalar.length);
    if (!text)
        return refuse (self, line, "the document is too large");
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (wants_key (self)) {
        if (plain && strcmp (text, "<<") == 0)
            return refuse (self, line, "merge keys (<<) are not read: write the fields out");
        self->key = text;
        self->key_size = event->data.scalar.length;
        self->key_line = line;
        return true;
    }
    record_node_t *node = add_node (self, plain ? RECORD_NODE_PLAIN : RECORD_NODE_TEXT, line);
    if (!node)
        return false;
    if (plain && is_null (text))
        node->kind = RECORD_NODE_NULL;
    node->text = text;
    node->size = event->data.scalar.length;
    return true;
}

static bool open_container (reader_t *self, record_node_kind_t kind, int line)
{
    if (wants_key (self))
        return refuse (self, line,
                       "expected a name and a colon, found a list or map as a name "
                       "(quote text that begins with [ or {)");
    if (self->depth == RECORD_DEPTH_MAX)
        return refuse (self, line, "the document is nested too deeply: at most 8 levels");
    record_node_t *node = add_node (self, kind, line);
    if (!node)
        return false;
    self->open[self->depth++] = node;
    return true;
}

/*  Anchors and tags stand at scalars, lists and maps alike. */
static bool refuse_properties (reader_t *self, const yaml_char_t *anchor, const yaml_char_t *tag,
                               int line)
{
    if (anchor)
        return refuse (self, line,
                       "anchors (&name) and aliases (*name) are not read: write it "
                       "out, or quote text that begins with &");
    if (tag)
        return refuse (self, line,
                       "tags (!name) are not read: leave it out, or quote text that begins with !");
    return true;
}

/*  One event; false: a fault was found. */
static bool read_event (reader_t *self, const yaml_event_t *event)
{
    int line = (int)event->start_mark.line + 1;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++self->documents == 1 ||
               refuse (self, line, "a second document: one file holds one document");
    case YAML_ALIAS_EVENT:
        return refuse_properties (self, event->data.alias.anchor, NULL, line);
    case YAML_SCALAR_EVENT:
        return refuse_properties (self, event->data.scalar.anchor, event->data.scalar.tag, line) &&
               read_scalar (self, event, line);
    case YAML_SEQUENCE_START_EVENT:
        return refuse_properties (self, event->data.sequence_start.anchor,
                                  event->data.sequence_start.tag, line) &&
               open_container (self, RECORD_NODE_LIST, line);
    case YAML_MAPPING_START_EVENT:
        return refuse_properties (self, event->data.mapping_start.anchor,
                                  event->data.mapping_start.tag, line) &&
               open_container (self, RECORD_NODE_MAP, line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        assert (self->depth > 0); /* libyaml's grammar */
        self->depth--;
        return true;
    default:
        return true;
    }
}

static void refuse_syntax (reader_t *self, const yaml_parser_t *parser)
{
    bool has_mark = parser->problem_mark.line || parser->problem_mark.column;
    size_t line = has_mark ? parser->problem_mark.line : parser->mark.line;
    record_fault (self->loader->faults, self->loader->arena, "", (int)line + 1, "not YAML: %s%s%s",
                  parser->context ? parser->context : "", parser->context ? ": " : "",
                  parser->problem ? parser->problem : "out of memory");
}

static void read_document (reader_t *self, const char *text, size_t size)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize (&parser)) {
        refuse (self, 0, "no memory to read the document");
        return;
    }
    yaml_parser_set_encoding (&parser, YAML_UTF8_ENCODING);
    /*  libyaml asserts that there is a text, be it empty. */
    yaml_parser_set_input_string (&parser, (const unsigned char *)(text ? text : ""), size);
    bool more = true;
    while (more) {
        yaml_event_t event;
        if (!yaml_parser_parse (&parser, &event)) {
            refuse_syntax (self, &parser);
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT && read_event (self, &event);
        yaml_event_delete (&event);
    }
    yaml_parser_delete (&parser);
}

int record_from_yaml (const record_t *record, const char *text, size_t size, unsigned flags,
                      arena_t *arena, void *value, record_faults_t *faults)
{
    record_loader_t loader;
    record_loader_init (&loader, flags, arena, faults);
    reader_t reader = {.loader = &loader};
    if (size > RECORD_DOCUMENT_MAX)
        record_fault (faults, arena, "", 0, "the document has %zu bytes: at most %d are read", size,
                      RECORD_DOCUMENT_MAX);
    else
        read_document (&reader, text, size);
    /* An empty file is a document without fields. */
    if (!reader.root && faults->count == loader.faults_before)
        reader.root = record_loader_node (&loader, RECORD_NODE_NULL, 1, NULL);
    return record_loader_finish (&loader, record, reader.root, value);
}

/*  ---- to YAML ----------------------------------------------------------- */

/*  Needs no quotes, in any reader's eyes: a word that is no number, boolean or null. */
static bool is_word (const char *text)
{
    static const char *const reserved[] = {"true", "false", "null", "yes", "no", "on",
                                           "off",  "y",     "n",    "inf", "nan"};
    if (!isalpha ((unsigned char)*text) && *text != '/')
        return false;
    for (const char *at = text; *at; at++)
        if (!isalnum ((unsigned char)*at) && !strchr ("_-./", *at))
            return false;
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcasecmp (text, reserved[i]) == 0)
            return false;
    return true;
}

/*  Double quotes, on one line. What libyaml takes for a line break or refuses unescaped is escaped.
 */
static void quoted (const char *text, buffer_t *out)
{
    static const struct {
        const char *bytes;
        const char *escape;
    } escapes[] = {
        {"\"", "\\\""},
        {"\\", "\\\\"},
        {"\n", "\\n"},
        {"\t", "\\t"},
        {"\xe2\x80\xa8", "\\L"},
        {"\xe2\x80\xa9", "\\P"},
        {"\xef\xbb\xbf", "\\uFEFF"},
        {"\xef\xbf\xbe", "\\uFFFE"},
        {"\xef\xbf\xbf", "\\uFFFF"},
    };
    buffer_append (out, "\"", 1);
    const char *plain = text;
    for (const char *at = text; *at;) {
        size_t skip = 0;
        for (size_t i = 0; i < sizeof escapes / sizeof *escapes && skip == 0; i++) {
            size_t length = strlen (escapes[i].bytes);
            if (strncmp (at, escapes[i].bytes, length) == 0) {
                buffer_append (out, plain, (size_t)(at - plain));
                buffer_append (out, escapes[i].escape, strlen (escapes[i].escape));
                skip = length;
            }
        }
        at += skip ? skip : 1;
        if (skip)
            plain = at;
    }
    buffer_append (out, plain, strlen (plain));
    buffer_append (out, "\"", 1);
}

static void put_text (const char *text, buffer_t *out)
{
    if (text && is_word (text))
        buffer_append (out, text, strlen (text));
    else
        quoted (text ? text : "", out);
}

static void indent (size_t depth, buffer_t *out)
{
    for (size_t i = 0; i < depth; i++)
        buffer_append (out, "  ", 2);
}

static void put_real (double value, buffer_t *out)
{
    char text[40];
    record_real_text (value, text, sizeof text);
    buffer_append (out, text, strlen (text));
}

static void put_base64 (const record_bytes_t *bytes, buffer_t *out)
{
    size_t size = sodium_base64_encoded_len (bytes->size, sodium_base64_VARIANT_ORIGINAL);
    buffer_append (out, "\"", 1);
    uint8_t *room = buffer_reserve (out, size);
    if (!room)
        return;
    sodium_bin2base64 ((char *)room, size, bytes->data, bytes->size,
                       sodium_base64_VARIANT_ORIGINAL);
    out->size += size - 1; /* without the NUL */
    buffer_append (out, "\"", 1);
}

static void put_key (const record_key_t *key, buffer_t *out)
{
    char text[2 * sizeof key->bytes + 1];
    sodium_bin2hex (text, sizeof text, key->bytes, sizeof key->bytes);
    quoted (record_key_is_zero (key) ? "" : text, out);
}

static void put_scalar (const record_field_t *field, const void *member, buffer_t *out)
{
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
        put_real (*(const double *)member, out);
        break;
    case RECORD_TYPE_ENUM:
        put_text (record_choice_name (field->choices, *(const int *)member), out);
        break;
    case RECORD_TYPE_BYTES:
        put_base64 (member, out);
        break;
    case RECORD_TYPE_KEY:
        put_key (member, out);
        break;
    default:
        put_text (*(const char *const *)member, out);
        break;
    }
}

static void put_strings (const record_strings_t *strings, size_t depth, buffer_t *out)
{
    buffer_append (out, "\n", 1);
    for (size_t i = 0; i < strings->count; i++) {
        indent (depth + 1, out);
        buffer_append (out, "- ", 2);
        put_text (strings->items[i], out);
        buffer_append (out, "\n", 1);
    }
}

static void put_ints (const record_ints_t *ints, buffer_t *out)
{
    buffer_append (out, " [", 2);
    for (size_t i = 0; i < ints->count; i++)
        buffer_printf (out, "%s%" PRId64, i ? ", " : "", ints->items[i]);
    buffer_append (out, "]\n", 2);
}

static void put_map (const record_map_t *map, size_t depth, buffer_t *out)
{
    /* YAML's simple keys end at 1,024 characters, escapes included; "? " has no such bound. */
    enum { SIMPLE_KEY_MAX = 128 };
    buffer_append (out, "\n", 1);
    for (size_t i = 0; i < map->count; i++) {
        bool simple = !map->items[i].key || strlen (map->items[i].key) <= SIMPLE_KEY_MAX;
        indent (depth + 1, out);
        if (!simple)
            buffer_append (out, "? ", 2);
        put_text (map->items[i].key, out);
        if (!simple) {
            buffer_append (out, "\n", 1);
            indent (depth + 1, out);
        }
        buffer_append (out, ": ", 2);
        put_text (map->items[i].value, out);
        buffer_append (out, "\n", 1);
    }
}

static bool put_fields (const record_t *record, const void *value, unsigned flags, size_t depth,
                        bool indented, buffer_t *out);

static void put_records (const record_field_t *field, const void *member, unsigned flags,
                         size_t depth, buffer_t *out)
{
    record_list_t list = record_list_load (member);
    buffer_append (out, "\n", 1);
    for (size_t i = 0; i < list.count; i++) {
        indent (depth + 1, out);
        buffer_append (out, "- ", 2);
        if (!put_fields (field->record, (char *)list.items + i * field->record->size, flags,
                         depth + 2, true, out))
            buffer_append (out, "{}\n", 3);
    }
}

/*  Everything behind "name:". */
static void put_value (const record_field_t *field, const void *member, unsigned flags,
                       size_t depth, buffer_t *out)
{
    if ((field->flags & RECORD_SECRET) && !(flags & RECORD_SHOW_SECRETS)) {
        buffer_printf (out, " \"***\"\n");
        return;
    }
    switch (field->type) {
    case RECORD_TYPE_RECORD:
        buffer_append (out, "\n", 1);
        put_fields (field->record, member, flags, depth + 1, false, out);
        break;
    case RECORD_TYPE_STRINGS:
        put_strings (member, depth, out);
        break;
    case RECORD_TYPE_INTS:
        put_ints (member, out);
        break;
    case RECORD_TYPE_MAP:
        put_map (member, depth, out);
        break;
    case RECORD_TYPE_RECORDS:
        put_records (field, member, flags, depth, out);
        break;
    default:
        buffer_append (out, " ", 1);
        put_scalar (field, member, out);
        buffer_append (out, "\n", 1);
        break;
    }
}

/*  The fields that do not hold their default; false if none. indented: the first line's indent
    stands there already, behind a list's dash. */
static bool put_fields (const record_t *record, const void *value, unsigned flags, size_t depth,
                        bool indented, buffer_t *out)
{
    bool any = false;
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        const void *member = record_member (field, value);
        if (!(field->flags & RECORD_REQUIRED) && record_field_is_default (field, member))
            continue;
        if (any || !indented)
            indent (depth, out);
        any = true;
        buffer_printf (out, "%s:", field->name);
        put_value (field, member, flags, depth, out);
    }
    return any;
}

void record_to_yaml (const record_t *record, const void *value, unsigned flags, buffer_t *out)
{
    if (!put_fields (record, value, flags, 0, false, out))
        buffer_append (out, "{}\n", 3);
}
