/*  record_private - what the parts of record share; for runtime/record*.c only */
#pragma once

#include "runtime/record.h"

#include <string.h>

enum {
    RECORD_STRING_MAX = 4096, /* where a field gives no limit */
    RECORD_BYTES_MAX = 1 << 20,
    RECORD_COUNT_MAX = 4096,
    RECORD_DEPTH_MAX = 8
};

/*  Where we are in a value: a chain of stack frames, made into text only when something is wrong.
 */
typedef struct record_path record_path_t;
struct record_path {
    const record_path_t *up;
    const char *name; /* NULL: a list's element */
    size_t index;
};

/*  "gang.min", "artifacts[2].src". */
void record_path_text (const record_path_t *path, char *text, size_t size);

/*  Any RECORDS member. Its items' type differs from field to field, so it is read and written by
    copying: the same bytes seen as two types would break the aliasing rules. */
typedef struct {
    void *items;
    size_t count;
} record_list_t;

static inline record_list_t record_list_load (const void *member)
{
    record_list_t list;
    memcpy (&list, member, sizeof list);
    return list;
}

static inline void record_list_store (void *member, void *items, size_t count)
{
    record_list_t list = {items, count};
    memcpy (member, &list, sizeof list);
}

static inline const void *record_member (const record_field_t *field, const void *value)
{
    return (const char *)value + field->offset;
}

static inline void *record_member_mutable (const record_field_t *field, void *value)
{
    return (char *)value + field->offset;
}

/*  Limits. A number without max has no upper bound; with neither it has none at all. */
static inline bool record_number_fits (const record_field_t *field, double value)
{
    if (field->max != 0)
        return value >= field->min && value <= field->max;
    return field->min == 0 || value >= field->min;
}

size_t record_count_max (const record_field_t *field);

static inline bool record_count_fits (const record_field_t *field, size_t count)
{
    return (double)count >= field->min && count <= record_count_max (field);
}

/*  UTF-8 without control characters other than tab and newline? */
bool record_text_valid (const char *text, size_t size);

/*  A key that stands in the map twice, or NULL; also NULL (and the arena has failed) when there is
    no memory to tell. */
const char *record_map_duplicate (const record_map_t *map, arena_t *arena);

/*  Sets one field to its default; the member may hold anything before. */
void record_field_default (const record_field_t *field, void *member);
bool record_field_equal (const record_field_t *field, const void *a, const void *b);
bool record_field_is_default (const record_field_t *field, const void *member);

/*  "an integer from 1 to 4096": what the field takes. */
void record_expected (const record_field_t *field, char *text, size_t size);

/*  Foreign text in quotes for a message: printable, shortened. */
void record_quote (const char *text, size_t length, char *out, size_t size);

/*  Whole-text conversions in the C locale's notation whatever the process has set. */
bool record_parse_int (const char *text, int64_t *value);
bool record_parse_uint (const char *text, uint64_t *value);
bool record_parse_real (const char *text, double *value);
/*  The shortest decimal that reads back as value. */
void record_real_text (double value, char *text, size_t size);

static inline bool record_faults_full (const record_faults_t *faults)
{
    return faults->count == sizeof faults->items / sizeof faults->items[0];
}

/*  Adds "expected ..., found ..." for a field. */
void record_fault_at (record_faults_t *faults, arena_t *arena, const record_path_t *path, int line,
                      const char *format, ...) __attribute__ ((format (printf, 5, 6)));

/*  A list's or a map's text: length and characters. */
void record_check_text (const char *text, size_t size, const record_path_t *path, int line,
                        arena_t *arena, record_faults_t *faults);

/*  A field that was not given: sets the default, and adds a fault if that is outside the field's
    own limits. What a document requires is not asked here. */
void record_check_default (const record_field_t *field, void *member, const record_path_t *path,
                           int line, arena_t *arena, record_faults_t *faults);

/*  Checks one field's value against its table entry. */
void record_check_field (const record_field_t *field, const void *member, const record_path_t *path,
                         int line, arena_t *arena, record_faults_t *faults);

/*  ---- documents: JSON and YAML become the same tree, from which values are loaded ---------- */

enum { RECORD_NODES_MAX = 65536, RECORD_DOCUMENT_MAX = 1 << 20 };

typedef enum {
    RECORD_NODE_NULL,
    RECORD_NODE_PLAIN,  /* YAML without quotes: text or number, as the field would have it */
    RECORD_NODE_TEXT,   /* text */
    RECORD_NODE_NUMBER, /* JSON's number, as text */
    RECORD_NODE_BOOL,   /* JSON's true or false, as text */
    RECORD_NODE_LIST,
    RECORD_NODE_MAP
} record_node_kind_t;

typedef struct record_node record_node_t;
struct record_node {
    record_node_kind_t kind;
    int line;
    int key_line;
    const char *key; /* in a map; NUL-terminated, key_size bytes of anything */
    size_t key_size;
    const char *text; /* likewise */
    size_t size;
    record_node_t *first; /* children of a list or map, in order */
    record_node_t *last;
    record_node_t *next;
    size_t count; /* of children */
};

/*  One document on its way into a value. */
typedef struct {
    unsigned flags;
    arena_t scratch; /* the tree */
    size_t nodes;
    arena_t *arena; /* the value and the faults */
    record_faults_t *faults;
    size_t faults_before;
} record_loader_t;

void record_loader_init (record_loader_t *self, unsigned flags, arena_t *arena,
                         record_faults_t *faults);

/*  A new node, child of parent (NULL: the root); NULL and a fault if there are too many. */
record_node_t *record_loader_node (record_loader_t *self, record_node_kind_t kind, int line,
                                   record_node_t *parent);

/*  Fills *value from the tree unless a fault was found before (root may then be NULL); ends the
    loader. Returns 0, or -1 and *value untouched. */
int record_loader_finish (record_loader_t *self, const record_t *record, const record_node_t *root,
                          void *value);
