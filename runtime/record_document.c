/*  record - from a document's tree to a value, with all that is wrong with it

    JSON and YAML readers build the same tree; this half knows fields, limits and
    what to tell the author. Text that has not been checked yet never enters a
    message unquoted. */
#include "runtime/record_private.h"

#include <assert.h>
#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCRATCH_MAX = 64 << 20 };

void record_loader_init (record_loader_t *self, unsigned flags, arena_t *arena,
                         record_faults_t *faults)
{
    assert (arena && faults);
    *self = (record_loader_t){
        .flags = flags, .arena = arena, .faults = faults, .faults_before = faults->count};
    arena_init (&self->scratch, SCRATCH_MAX, NULL, 0);
}

record_node_t *record_loader_node (record_loader_t *self, record_node_kind_t kind, int line,
                                   record_node_t *parent)
{
    record_node_t *node = self->nodes < RECORD_NODES_MAX
                              ? arena_alloc (&self->scratch, sizeof (record_node_t))
                              : NULL;
    if (!node) {
        record_fault (self->faults, self->arena, "", line,
                      "the document is too large: at most %d values", RECORD_NODES_MAX);
        return NULL;
    }
    self->nodes++;
    node->kind = kind;
    node->line = line;
    if (parent) {
        if (parent->last)
            parent->last->next = node;
        else
            parent->first = node;
        parent->last = node;
        parent->count++;
    }
    return node;
}

/*  ---- messages ---------------------------------------------------------- */

static void found_text (const record_node_t *node, char *text, size_t size)
{
    switch (node->kind) {
    case RECORD_NODE_NULL:
        snprintf (text, size, "nothing");
        break;
    case RECORD_NODE_PLAIN:
    case RECORD_NODE_TEXT:
        record_quote (node->text, node->size, text, size);
        break;
    case RECORD_NODE_NUMBER:
    case RECORD_NODE_BOOL:
        snprintf (text, size, "%s", node->text);
        break;
    case RECORD_NODE_LIST:
        snprintf (text, size, "a list of %zu", node->count);
        break;
    case RECORD_NODE_MAP:
        snprintf (text, size, "a map of %zu", node->count);
        break;
    }
}

static void complain (record_loader_t *self, const record_field_t *field, const record_node_t *node,
                      const record_path_t *path)
{
    char expected[300], found[80] = "something else";
    record_expected (field, expected, sizeof expected);
    if (!(field->flags & RECORD_SECRET))
        found_text (node, found, sizeof found);
    record_fault_at (self->faults, self->arena, path, node->line, "expected %s, found %s", expected,
                     found);
}

/*  Foreign text that may stand in a path. */
static const char *clean_key (record_loader_t *self, const record_node_t *node)
{
    char quoted[80];
    record_quote (node->key, node->key_size, quoted, sizeof quoted);
    size_t length = strlen (quoted);
    const char *text = arena_strndup (&self->scratch, quoted + 1, length - 2);
    return text ? text : "?";
}

/*  Letters and digits only, in lower case: maxRetries, max-retries and max_retries are near. */
static size_t fold (const char *text, char *out, size_t size)
{
    size_t used = 0;
    for (; *text && used < size; text++)
        if (isalnum ((unsigned char)*text))
            out[used++] = (char)tolower ((unsigned char)*text);
    return used;
}

enum { NAME_MAX_FOLDED = 48 };

/*  Levenshtein's distance (1966), by rows. */
static size_t distance (const char *left, size_t left_size, const char *right, size_t right_size)
{
    size_t row[NAME_MAX_FOLDED + 1];
    for (size_t j = 0; j <= right_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= left_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= right_size; j++) {
            size_t best = diagonal + (left[i - 1] != right[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[right_size];
}

/*  The field whose name is near enough to be what was meant, or NULL. */
static const record_field_t *nearest_field (const record_t *record, const char *key)
{
    char wanted[NAME_MAX_FOLDED], known[NAME_MAX_FOLDED];
    size_t wanted_size = fold (key, wanted, sizeof wanted);
    const record_field_t *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < record->field_count; i++) {
        size_t known_size = fold (record->fields[i].name, known, sizeof known);
        size_t far = distance (wanted, wanted_size, known, known_size);
        if (far < best && far <= 1 + known_size / 4 && far < known_size) {
            best = far;
            nearest = &record->fields[i];
        }
    }
    return nearest;
}

static void complain_unknown (record_loader_t *self, const record_t *record,
                              const record_node_t *node, const record_path_t *path)
{
    if (record_faults_full (self->faults))
        return;
    const record_field_t *nearest = nearest_field (record, node->key);
    if (nearest) {
        record_fault_at (self->faults, self->arena, path, node->key_line,
                         "not a field of %s: did you mean \"%s\"?", record->name, nearest->name);
        return;
    }
    char known[400];
    size_t used = 0;
    for (size_t i = 0; i < record->field_count && used < sizeof known; i++)
        used += (size_t)snprintf (known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                  record->fields[i].name);
    record_fault_at (self->faults, self->arena, path, node->key_line,
                     "not a field of %s, which has: %s", record->name, known);
}

/*  ---- conversion of one field ------------------------------------------- */

/*  A NUL inside would cut the text unseen, so that is none. */
static bool is_text (const record_node_t *node)
{
    return (node->kind == RECORD_NODE_TEXT || node->kind == RECORD_NODE_PLAIN) &&
           strlen (node->text) == node->size;
}

static bool is_scalar (const record_node_t *node)
{
    return is_text (node) || node->kind == RECORD_NODE_NUMBER;
}

static bool load_bool (const record_node_t *node, bool *member)
{
    if (node->kind != RECORD_NODE_BOOL && node->kind != RECORD_NODE_PLAIN)
        return false;
    *member = strcmp (node->text, "true") == 0;
    return *member || strcmp (node->text, "false") == 0;
}

static bool load_key (const record_node_t *node, record_key_t *member)
{
    if (!is_text (node))
        return false;
    *member = (record_key_t){0};
    if (node->size == 0)
        return true;
    size_t size;
    return node->size == 2 * sizeof member->bytes &&
           sodium_hex2bin (member->bytes, sizeof member->bytes, node->text, node->size, NULL, &size,
                           NULL) == 0 &&
           size == sizeof member->bytes;
}

static bool load_bytes (record_loader_t *self, const record_node_t *node, record_bytes_t *member)
{
    if (!is_text (node))
        return false;
    size_t room = node->size / 4 * 3 + 3, size;
    uint8_t *data = arena_alloc (&self->scratch, room);
    if (!data || sodium_base642bin (data, room, node->text, node->size, " \n", &size, NULL,
                                    sodium_base64_VARIANT_ORIGINAL))
        return false;
    *member = (record_bytes_t){size ? arena_copy (self->arena, data, size) : NULL, size};
    return true;
}

static bool load_string (record_loader_t *self, const record_node_t *node, const char **member)
{
    if (!is_text (node))
        return false;
    *member = node->size ? arena_strndup (self->arena, node->text, node->size) : "";
    if (!*member)
        *member = ""; /* the arena has failed, which ends the loading */
    return true;
}

/*  Numbers, text and their like: convert, then check as any value. */
static void load_scalar (record_loader_t *self, const record_field_t *field,
                         const record_node_t *node, const record_path_t *path, void *member)
{
    bool loaded = false;
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        loaded = load_bool (node, member);
        break;
    case RECORD_TYPE_INT:
        loaded = is_scalar (node) && record_parse_int (node->text, member);
        break;
    case RECORD_TYPE_UINT:
        loaded = is_scalar (node) && record_parse_uint (node->text, member);
        break;
    case RECORD_TYPE_REAL:
        loaded = is_scalar (node) && record_parse_real (node->text, member);
        break;
    case RECORD_TYPE_ENUM:
        *(int *)member = is_text (node) ? record_choice_value (field->choices, node->text) : -1;
        loaded = *(int *)member >= 0;
        break;
    case RECORD_TYPE_KEY:
        loaded = load_key (node, member);
        break;
    case RECORD_TYPE_BYTES:
        loaded = load_bytes (self, node, member);
        break;
    default:
        loaded = load_string (self, node, member);
        break;
    }
    if (loaded)
        record_check_field (field, member, path, node->line, self->arena, self->faults);
    else
        complain (self, field, node, path);
}

/*  Is this the list (or map) that the field takes, of a size that it takes? */
static bool check_children (record_loader_t *self, const record_field_t *field,
                            const record_node_t *node, const record_path_t *path)
{
    bool required = field->flags & RECORD_REQUIRED;
    record_node_kind_t kind = field->type == RECORD_TYPE_MAP ? RECORD_NODE_MAP : RECORD_NODE_LIST;
    if (node->kind == kind && record_count_fits (field, node->count) &&
        !(required && node->count == 0))
        return true;
    complain (self, field, node, path);
    return false;
}

/*  The text of a list's or map's element, in the arena. */
static const char *load_element (record_loader_t *self, const record_node_t *node,
                                 const record_path_t *path)
{
    if (!is_text (node)) {
        char found[80];
        found_text (node, found, sizeof found);
        record_fault_at (self->faults, self->arena, path, node->line, "expected text, found %s",
                         found);
        return "";
    }
    record_check_text (node->text, node->size, path, node->line, self->arena, self->faults);
    return arena_strndup (self->arena, node->text, node->size);
}

static void load_strings (record_loader_t *self, const record_node_t *node,
                          const record_path_t *path, record_strings_t *member)
{
    const char **items = arena_alloc (self->arena, node->count * sizeof *items);
    if (!items)
        return;
    size_t count = 0;
    for (const record_node_t *child = node->first; child; child = child->next, count++)
        items[count] = load_element (self, child, &(record_path_t){path, NULL, count});
    *member = (record_strings_t){items, count};
}

static void load_ints (record_loader_t *self, const record_node_t *node, const record_path_t *path,
                       record_ints_t *member)
{
    int64_t *items = arena_alloc (self->arena, node->count * sizeof *items);
    if (!items)
        return;
    size_t count = 0;
    for (const record_node_t *child = node->first; child; child = child->next, count++) {
        if (is_scalar (child) && record_parse_int (child->text, &items[count]))
            continue;
        char found[80];
        found_text (child, found, sizeof found);
        record_fault_at (self->faults, self->arena, &(record_path_t){path, NULL, count},
                         child->line, "expected an integer, found %s", found);
    }
    *member = (record_ints_t){items, count};
}

static int compare_nodes (const void *a, const void *b)
{
    const record_node_t *left = *(const record_node_t *const *)a;
    const record_node_t *right = *(const record_node_t *const *)b;
    int order = strcmp (left->key, right->key);
    return order ? order : (left->key_line > right->key_line) - (left->key_line < right->key_line);
}

static void complain_twice (record_loader_t *self, const record_node_t *node,
                            const record_node_t *before, const record_path_t *path)
{
    record_fault_at (self->faults, self->arena, path, node->key_line,
                     "stands there twice (first in line %d): keep one", before->key_line);
}

static void check_map_keys (record_loader_t *self, const record_node_t *node,
                            const record_path_t *path)
{
    const record_node_t **sorted = arena_alloc (&self->scratch, node->count * sizeof *sorted);
    if (!sorted)
        return;
    size_t count = 0;
    for (const record_node_t *child = node->first; child; child = child->next)
        sorted[count++] = child;
    qsort (sorted, count, sizeof *sorted, compare_nodes);
    for (size_t i = 1; i < count; i++)
        if (strcmp (sorted[i - 1]->key, sorted[i]->key) == 0)
            complain_twice (self, sorted[i], sorted[i - 1],
                            &(record_path_t){path, clean_key (self, sorted[i]), 0});
}

static void load_map (record_loader_t *self, const record_node_t *node, const record_path_t *path,
                      record_map_t *member)
{
    record_pair_t *items = arena_alloc (self->arena, node->count * sizeof *items);
    if (!items)
        return;
    size_t count = 0;
    for (const record_node_t *child = node->first; child; child = child->next, count++) {
        record_path_t step = {path, clean_key (self, child), 0};
        record_check_text (child->key, child->key_size, &step, child->key_line, self->arena,
                           self->faults);
        items[count].key = arena_strndup (self->arena, child->key, child->key_size);
        items[count].value = load_element (self, child, &step);
    }
    *member = (record_map_t){items, count};
    check_map_keys (self, node, path);
}

/*  ---- records ----------------------------------------------------------- */

static void load_record (record_loader_t *self, const record_t *record, const record_node_t *node,
                         const record_path_t *path, void *value);

static void load_records (record_loader_t *self, const record_t *record, const record_node_t *node,
                          const record_path_t *path, void *member)
{
    char *items = arena_alloc (self->arena, node->count * record->size);
    if (!items)
        return;
    size_t count = 0;
    for (const record_node_t *child = node->first; child; child = child->next, count++)
        load_record (self, record, child, &(record_path_t){path, NULL, count},
                     items + count * record->size);
    record_list_store (member, items, count);
}

static void load_field (record_loader_t *self, const record_field_t *field,
                        const record_node_t *node, const record_path_t *path, void *member)
{
    if ((field->flags & RECORD_READONLY) && !(self->flags & RECORD_ALLOW_READONLY)) {
        record_fault_at (self->faults, self->arena, path, node->key_line,
                         "set by the cluster: leave it out");
        return;
    }
    if ((field->flags & RECORD_SECRET) && is_text (node) && strcmp (node->text, "***") == 0) {
        record_fault_at (self->faults, self->arena, path, node->line,
                         "*** stands for a secret that was not shown: give the secret itself");
        return;
    }
    switch (field->type) {
    case RECORD_TYPE_RECORD:
        load_record (self, field->record, node, path, member);
        break;
    case RECORD_TYPE_STRINGS:
        if (check_children (self, field, node, path) && node->count > 0)
            load_strings (self, node, path, member);
        break;
    case RECORD_TYPE_INTS:
        if (check_children (self, field, node, path) && node->count > 0)
            load_ints (self, node, path, member);
        break;
    case RECORD_TYPE_MAP:
        if (check_children (self, field, node, path) && node->count > 0)
            load_map (self, node, path, member);
        break;
    case RECORD_TYPE_RECORDS:
        if (check_children (self, field, node, path) && node->count > 0)
            load_records (self, field->record, node, path, member);
        break;
    default:
        load_scalar (self, field, node, path, member);
        break;
    }
}

/*  A field that the document does not name. */
static void load_missing (record_loader_t *self, const record_field_t *field, int line,
                          const record_path_t *path, void *member)
{
    if ((field->flags & RECORD_READONLY) && !(self->flags & RECORD_ALLOW_READONLY))
        return; /* the cluster will set it */
    if (field->flags & RECORD_REQUIRED) {
        char expected[300];
        record_expected (field, expected, sizeof expected);
        record_fault_at (self->faults, self->arena, path, line, "missing: expected %s", expected);
        return;
    }
    record_check_default (field, member, path, line, self->arena, self->faults);
}

static const record_field_t *find_field (const record_t *record, const record_node_t *node)
{
    for (size_t i = 0; i < record->field_count; i++)
        if (strlen (record->fields[i].name) == node->key_size &&
            memcmp (record->fields[i].name, node->key, node->key_size) == 0)
            return &record->fields[i];
    return NULL;
}

static void load_record (record_loader_t *self, const record_t *record, const record_node_t *node,
                         const record_path_t *path, void *value)
{
    record_init (record, value);
    if (node->kind != RECORD_NODE_MAP && node->kind != RECORD_NODE_NULL) {
        char found[80];
        found_text (node, found, sizeof found);
        record_fault_at (self->faults, self->arena, path, node->line,
                         "expected the fields of %s, found %s", record->name, found);
        return;
    }
    const record_node_t **given = arena_alloc (&self->scratch, record->field_count * sizeof *given);
    if (!given)
        return;
    for (const record_node_t *child = node->first; child; child = child->next) {
        const record_field_t *field = find_field (record, child);
        record_path_t step = {path, field ? field->name : clean_key (self, child), 0};
        if (!field) {
            complain_unknown (self, record, child, &step);
            continue;
        }
        const record_node_t **before = &given[field - record->fields];
        if (*before) {
            complain_twice (self, child, *before, &step);
            continue;
        }
        *before = child;
        if (child->kind != RECORD_NODE_NULL)
            load_field (self, field, child, &step, record_member_mutable (field, value));
    }
    for (size_t i = 0; i < record->field_count; i++) {
        const record_field_t *field = &record->fields[i];
        if (!given[i] || given[i]->kind == RECORD_NODE_NULL)
            load_missing (self, field, given[i] ? given[i]->line : node->line,
                          &(record_path_t){path, field->name, 0},
                          record_member_mutable (field, value));
    }
}

int record_loader_finish (record_loader_t *self, const record_t *record, const record_node_t *root,
                          void *value)
{
    record_faults_t *faults = self->faults;
    if (root && faults->count == self->faults_before) {
        void *loaded = arena_alloc (&self->scratch, record->size);
        if (loaded)
            load_record (self, record, root, NULL, loaded);
        if (self->arena->failed || self->scratch.failed)
            record_fault (faults, self->arena, "", root->line,
                          "the document needs more memory than it may take");
        else if (faults->count == self->faults_before && !record_faults_full (faults))
            memcpy (value, loaded, record->size);
    }
    arena_reset (&self->scratch);
    return faults->count > self->faults_before || record_faults_full (faults) ? -1 : 0;
}
