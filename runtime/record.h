/*  record - everything that has fields is described once

    A job, a worker, a message, a section of a configuration file: each is a C
    struct and a table of its fields (name, type, limits, default, one line of
    documentation). Struct and table come from one list, so a new field is one
    line. From the table come the msgpack codec, the JSON and YAML forms, the
    check, the OpenAPI schema, the reference page and the columns of tables.

    Declare in a header:

        #define RESOURCES(F)                                                                     \
            F (REAL,   cpu,    _, .def = "1", .min = 0.01, .max = 4096, .doc = "CPU cores.")      \
            F (UINT,   memory, _, .unit = "bytes", .doc = "Memory.")
        RECORD_DECLARE (resources, RESOURCES)        // resources_t, resources_record

        #define JOB(F)                                                                           \
            F (STRING,  name,      _, .flags = RECORD_REQUIRED, .min = 1, .max = 63, .doc = "...")  \
            F (STRINGS, command,   _, .flags = RECORD_REQUIRED, .min = 1, .max = 256, .doc = "...") \
            F (MAP,     env,       _, .max = 256, .doc = "...")                                   \
            F (RECORD,  resources, resources, .doc = "What one rank needs.")                      \
            F (RECORDS, artifacts, artifact, .max = 64, .doc = "...")                             \
            F (ENUM,    phase,     job_phase, .doc = "...")
        RECORD_DECLARE (job, JOB)

    and define in one .c file:

        RECORD_DEFINE (job, 17, "A job as its user submits it.", JOB)

    The kinds, and the struct member that each makes:

        BOOL     bool name;
        INT      int64_t name;            .min .max bound the value
        UINT     uint64_t name;           .min .max bound the value
        REAL     double name;             .min .max bound the value; never NaN or infinite
        STRING   const char *name;        UTF-8 without control characters other than tab and newline;
                                          .min .max bound its length in bytes; NULL reads as ""
        BYTES    record_bytes_t name;     .min .max bound its size
        KEY      record_key_t name;       32 bytes; JSON and YAML: 64 hex digits; all zero = absent
        ENUM     int name;                sub = an enum declared with RECORD_ENUM
        RECORD   SUB_t name;              sub = a record; embedded
        STRINGS  record_strings_t name;   list of strings; .min .max bound the count
        INTS     record_ints_t name;      list of int64_t
        MAP      record_map_t name;       string -> string; .max bounds the count
        RECORDS  struct { SUB_t *items; size_t count; } name;   list of records

    Where .max is left out (0): strings are at most 4,096 bytes, bytes 1 MiB,
    lists and maps 4,096 entries, numbers unbounded. .min = .max = 0 for a number
    means no bound; give a field that must be positive .min = 1.

    Memory: whatever a record points to belongs to the arena that it was decoded
    into; a record built by hand may point anywhere that lives long enough.
    Records are plain values: copying the struct copies the pointers,
    record_clone copies it all.

    Wire form: a msgpack array, one element a field, in order of declaration;
    nested records likewise. A longer array comes from a newer version: the
    excess is skipped. A shorter one from an older: the missing fields take
    their defaults. So fields are only ever appended, with .since.

    File form (YAML) and JSON: maps by field name. An unknown key is an error
    there, and so is a missing required field. SECRET fields appear as "***" in
    JSON unless asked for.
*/
#pragma once

#include "runtime/arena.h"
#include "runtime/buffer.h"
#include "runtime/error.h"

#include <jansson.h>
#include <stdint.h>

typedef struct {
    const uint8_t *data;
    size_t size;
} record_bytes_t;

typedef struct {
    uint8_t bytes[32];
} record_key_t;

typedef struct {
    const char **items;
    size_t count;
} record_strings_t;

typedef struct {
    int64_t *items;
    size_t count;
} record_ints_t;

typedef struct {
    const char *key;
    const char *value;
} record_pair_t;

typedef struct {
    record_pair_t *items;
    size_t count;
} record_map_t;

typedef enum {
    RECORD_TYPE_BOOL,
    RECORD_TYPE_INT,
    RECORD_TYPE_UINT,
    RECORD_TYPE_REAL,
    RECORD_TYPE_STRING,
    RECORD_TYPE_BYTES,
    RECORD_TYPE_KEY,
    RECORD_TYPE_ENUM,
    RECORD_TYPE_RECORD,
    RECORD_TYPE_STRINGS,
    RECORD_TYPE_INTS,
    RECORD_TYPE_MAP,
    RECORD_TYPE_RECORDS
} record_type_t;

enum {
    RECORD_REQUIRED = 1, /* must be present in JSON and YAML (and not empty) */
    RECORD_SECRET = 2,   /* never printed, logged or returned */
    RECORD_READONLY = 4, /* set by the cluster: refused in a user's document */
    RECORD_COLUMN = 8    /* a column of the command's table for people */
};

/*  Flags of a record. */
enum {
    RECORD_DATA_LANE = 1, /* a message of the mailbox's data lane and of bulk sockets */
};

typedef struct record record_t;

typedef struct {
    const char *name;         /* "job_phase" */
    const char *const *names; /* value -> name, "running" ... */
    int count;
} record_choices_t;

typedef struct {
    const char *name;
    record_type_t type;
    unsigned flags;
    size_t offset;
    double min, max;
    const char *def;        /* default, as it would stand in YAML */
    const char *unit;       /* "bytes", "ms", "cores" ... for the reference */
    const char *doc;        /* one line */
    int since;              /* the record's version that brought the field; 0 = the first */
    const record_t *record; /* RECORD, RECORDS */
    const record_choices_t *choices; /* ENUM */
} record_field_t;

struct record {
    const char *name;
    uint16_t id; /* the kind on the wire; 0: never travels on its own */
    unsigned flags;
    size_t size;
    const record_field_t *fields;
    size_t field_count;
    const char *doc;
};

/*  ---- declaring --------------------------------------------------------- */

#define RECORD_MEMBER_BOOL(name, sub)    bool name;
#define RECORD_MEMBER_INT(name, sub)     int64_t name;
#define RECORD_MEMBER_UINT(name, sub)    uint64_t name;
#define RECORD_MEMBER_REAL(name, sub)    double name;
#define RECORD_MEMBER_STRING(name, sub)  const char *name;
#define RECORD_MEMBER_BYTES(name, sub)   record_bytes_t name;
#define RECORD_MEMBER_KEY(name, sub)     record_key_t name;
#define RECORD_MEMBER_ENUM(name, sub)    int name;
#define RECORD_MEMBER_RECORD(name, sub)  sub##_t name;
#define RECORD_MEMBER_STRINGS(name, sub) record_strings_t name;
#define RECORD_MEMBER_INTS(name, sub)    record_ints_t name;
#define RECORD_MEMBER_MAP(name, sub)     record_map_t name;
#define RECORD_MEMBER_RECORDS(name, sub) \
    struct {                             \
        sub##_t *items;                  \
        size_t count;                    \
    } name;
#define RECORD_MEMBER(kind, name, sub, ...) RECORD_MEMBER_##kind (name, sub)

#define RECORD_DECLARE(name, FIELDS) \
    typedef struct name {            \
        FIELDS (RECORD_MEMBER)       \
    } name##_t;                      \
    extern const record_t name##_record;

#define RECORD_SUB_BOOL(sub)
#define RECORD_SUB_INT(sub)
#define RECORD_SUB_UINT(sub)
#define RECORD_SUB_REAL(sub)
#define RECORD_SUB_STRING(sub)
#define RECORD_SUB_BYTES(sub)
#define RECORD_SUB_KEY(sub)
#define RECORD_SUB_ENUM(sub)   .choices = &sub##_choices,
#define RECORD_SUB_RECORD(sub) .record = &sub##_record,
#define RECORD_SUB_STRINGS(sub)
#define RECORD_SUB_INTS(sub)
#define RECORD_SUB_MAP(sub)
#define RECORD_SUB_RECORDS(sub) .record = &sub##_record,
#define RECORD_FIELD(kind, field, sub, ...)                               \
    {#field, RECORD_TYPE_##kind, .offset = offsetof (RECORD_SELF, field), \
     RECORD_SUB_##kind (sub) __VA_ARGS__},

/*  Defines the table. RECORD_SELF must be #defined as the struct's type around
    it, because a macro cannot pass it through the list:

        #define RECORD_SELF job_t
        RECORD_DEFINE (job, 17, 0, "A job as its user submits it.", JOB)
        #undef RECORD_SELF
*/
#define RECORD_DEFINE(rec, rec_id, rec_flags, rec_doc, FIELDS)                           \
    static const record_field_t rec##_fields[] = {FIELDS (RECORD_FIELD)};                \
    const record_t rec##_record = {.name = #rec,                                         \
                                   .id = rec_id,                                         \
                                   .flags = rec_flags,                                   \
                                   .size = sizeof (rec##_t),                             \
                                   .fields = rec##_fields,                               \
                                   .field_count =                                        \
                                       sizeof (rec##_fields) / sizeof (rec##_fields[0]), \
                                   .doc = rec_doc};

/*  An enum and its names in one list:

        #define JOB_PHASE(E) E (JOB_QUEUED, "queued") E (JOB_RUNNING, "running")
        RECORD_ENUM (job_phase, JOB_PHASE)               // in the header
        RECORD_ENUM_DEFINE (job_phase, JOB_PHASE)        // in the .c file
*/
#define RECORD_ENUM_VALUE(value, text) value,
#define RECORD_ENUM_TEXT(value, text)  text,
#define RECORD_ENUM(name, LIST)                         \
    typedef enum { LIST (RECORD_ENUM_VALUE) } name##_t; \
    extern const record_choices_t name##_choices;
#define RECORD_ENUM_DEFINE(enum_name, LIST)                                      \
    static const char *const enum_name##_names[] = {LIST (RECORD_ENUM_TEXT)};    \
    const record_choices_t enum_name##_choices = {#enum_name, enum_name##_names, \
                                                  sizeof (enum_name##_names) / sizeof (char *)};

/*  The name of an enum's value ("?" if out of range), and back (-1: no such name). */
const char *record_choice_name (const record_choices_t *choices, int value);
int record_choice_value (const record_choices_t *choices, const char *name);

/*  ---- values ------------------------------------------------------------ */

/*  Sets every field to its default, nested records too. */
void record_init (const record_t *record, void *value);

/*  A deep copy into the arena, of exactly what the table describes. Returns -1
    when the arena is at its limit. */
int record_clone (const record_t *record, const void *value, arena_t *arena, void *copy);

/*  True if both hold the same (compares what the table describes). */
bool record_equal (const record_t *record, const void *a, const void *b);

bool record_key_is_zero (const record_key_t *key);

/*  ---- wire (msgpack) ---------------------------------------------------- */

/*  Is this one well-formed msgpack object that fills exactly size bytes? Depth
    at most 8, every claimed count at most the bytes left, nothing behind it, no
    ext types. Allocates nothing: run before any decoding of foreign bytes. */
bool msgpack_valid (const uint8_t *data, size_t size);

/*  Appends the wire form. The value is taken as valid (see record_check). */
void record_encode (const record_t *record, const void *value, buffer_t *out);

/*  Decodes foreign bytes: validates, bounds, checks every field's limits. Fills
    *value with all memory in the arena. Returns -1 with an error that names
    the record and the field ("job.gang.min: expected an integer from 1 to 4096,
    found 0"). */
int record_decode (const record_t *record, const uint8_t *data, size_t size, arena_t *arena,
                   void *value, nexus_error_t *error);
/*  The same, but members of type bytes point into data, which has to outlive them. */
int record_decode_in_place (const record_t *record, const uint8_t *data, size_t size,
                            arena_t *arena, void *value, nexus_error_t *error);

/*  ---- documents (JSON, YAML) -------------------------------------------- */

/*  One fault of a document. */
typedef struct {
    const char *path;    /* "gang.min", "artifacts[2].src"; "" = the document */
    int line;            /* 1-based, 0 if unknown (JSON) */
    const char *message; /* what was expected, what was found, what to do */
} record_fault_t;

/*  All faults of one document, in order of appearance; at most 64 are kept.
    Everything lives in the arena given when it was filled. */
typedef struct {
    record_fault_t items[64];
    size_t count;
} record_faults_t;

/*  Adds a fault; for checks across fields that the table cannot express. */
void record_fault (record_faults_t *faults, arena_t *arena, const char *path, int line,
                   const char *format, ...) __attribute__ ((format (printf, 5, 6)));

/*  Gives faults that have none their line: that of the field that path names, or of the
    innermost part of path that is there. text is the YAML document, which
    record_from_yaml has accepted. */
void record_faults_lines (record_faults_t *faults, const char *text, size_t size);

/*  "FILE:LINE: path: message" lines, in one text. */
const char *record_faults_text (const record_faults_t *faults, const char *file, arena_t *arena);

enum {
    RECORD_SHOW_SECRETS = 1,  /* to JSON/YAML: secrets in the clear (for files that only we read) */
    RECORD_ALLOW_READONLY = 2 /* from JSON/YAML: the cluster's own fields are welcome */
};

/*  Checks limits, required fields and text of a value built by hand. */
int record_check (const record_t *record, const void *value, arena_t *arena,
                  record_faults_t *faults);

/*  A new reference to a JSON object. Bytes appear as base64, keys as hex. */
json_t *record_to_json (const record_t *record, const void *value, unsigned flags);

/*  Fills *value from JSON. Returns -1 and all faults at once. */
int record_from_json (const record_t *record, const json_t *json, unsigned flags, arena_t *arena,
                      void *value, record_faults_t *faults);

/*  The same from YAML text (libyaml; aliases refused, size at most 1 MiB, depth
    at most 8); faults carry line numbers. An unknown key's fault names the
    nearest known one ("did you mean ..."). Durations and sizes are plain numbers in
    the field's unit, but a STRING may be written as a number. */
int record_from_yaml (const record_t *record, const char *text, size_t size, unsigned flags,
                      arena_t *arena, void *value, record_faults_t *faults);

/*  Appends a YAML document that record_from_yaml reads back; fields that hold
    their default are left out. */
void record_to_yaml (const record_t *record, const void *value, unsigned flags, buffer_t *out);

/*  ---- descriptions ------------------------------------------------------ */

/*  The OpenAPI 3.1 (JSON Schema 2020-12) object of this record; nested records
    as "$ref": "#/components/schemas/NAME". */
json_t *record_schema (const record_t *record);

/*  Appends the reference page's section in Markdown: a table of the fields. */
void record_reference (const record_t *record, buffer_t *out);

/*  Logs and events: "name=x count=3 ..." without secrets; for people. */
void record_to_logfmt (const record_t *record, const void *value, buffer_t *out);
