/*  golden_test - the bytes of every message kind and every ledger command

    Values are made from the field tables, so a new kind or field needs no line
    here. golden.txt holds their bytes; a difference means that older nodes and
    older logs would be read wrongly, unless it is a new kind or a field appended.
    NEXUS_GOLDEN=write writes golden.txt and the fuzz target's seeds anew. */
#include "actors/ledger/apply.h"
#include "actors/protocol/catalog.h"
#include "actors/protocol/cluster.h"
#include "transport/identity.h"
#include "transport/join_token.h"
#include "transport/link.h"
#include "transport/link_frame.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KINDS_MAX 128

static char folder[512]; /* of this file */
static arena_t arena;

/*  ---- values from tables ----------------------------------------------------------- */

static uint64_t counter;

/*  1, 2, 3 ... within the field's limits; now and then a large one, for the wider forms. */
static uint64_t draw_number (const record_field_t *field)
{
    uint64_t value = ++counter % 5 ? counter : counter << 20;
    double min = field->min > 0 ? field->min : 0;
    if (field->max != 0 && (double)value > field->max)
        value = (uint64_t)field->max - value % 2;
    return (double)value < min ? (uint64_t)min : value;
}

static const char *draw_text (const record_field_t *field)
{
    char *text = arena_printf (&arena, "%s-%llu", field->name, (unsigned long long)++counter);
    size_t max = field->max > 0 ? (size_t)field->max : 4096;
    if (strlen (text) > max)
        text[max] = 0;
    return text;
}

static record_bytes_t draw_bytes (const record_field_t *field)
{
    size_t size = field->min > 5 ? (size_t)field->min : 5;
    if (field->max > 0 && (double)size > field->max)
        size = (size_t)field->max;
    uint8_t *data = arena_alloc (&arena, size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(++counter * 7);
    return (record_bytes_t){data, size};
}

static size_t draw_count (const record_field_t *field)
{
    return field->max == 1 ? 1 : 2;
}

static void fill (const record_t *record, char *value);

static void fill_records (const record_field_t *field, void *member)
{
    size_t count = draw_count (field);
    char *items = arena_alloc (&arena, count * field->record->size);
    for (size_t i = 0; i < count; i++)
        fill (field->record, items + i * field->record->size);
    memcpy (member, &items, sizeof items);
    memcpy ((char *)member + sizeof items, &count, sizeof count);
}

static void fill_field (const record_field_t *field, void *member)
{
    size_t count = draw_count (field);
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        *(bool *)member = ++counter % 2;
        break;
    case RECORD_TYPE_INT: {
        int64_t number = (int64_t)draw_number (field);
        *(int64_t *)member = counter % 2 && (field->min < 0 || field->max == 0) ? -number : number;
        if (field->min != 0 && (double)*(int64_t *)member < field->min)
            *(int64_t *)member = (int64_t)field->min;
        break;
    }
    case RECORD_TYPE_UINT:
        *(uint64_t *)member = draw_number (field);
        break;
    case RECORD_TYPE_REAL:
        *(double *)member = field->max == 1 ? 0.625 : (double)(++counter) + 0.25;
        break;
    case RECORD_TYPE_STRING:
        *(const char **)member = draw_text (field);
        break;
    case RECORD_TYPE_BYTES:
        *(record_bytes_t *)member = draw_bytes (field);
        break;
    case RECORD_TYPE_KEY:
        memset (member, (int)(++counter % 255 + 1), sizeof (record_key_t));
        break;
    case RECORD_TYPE_ENUM:
        *(int *)member = (int)(++counter % (uint64_t)field->choices->count);
        break;
    case RECORD_TYPE_RECORD:
        fill (field->record, member);
        break;
    case RECORD_TYPE_STRINGS: {
        const char **items = arena_alloc (&arena, count * sizeof *items);
        for (size_t i = 0; i < count; i++)
            items[i] = draw_text (field);
        *(record_strings_t *)member = (record_strings_t){items, count};
        break;
    }
    case RECORD_TYPE_INTS: {
        int64_t *items = arena_alloc (&arena, count * sizeof *items);
        for (size_t i = 0; i < count; i++)
            items[i] = (int64_t)draw_number (field);
        *(record_ints_t *)member = (record_ints_t){items, count};
        break;
    }
    case RECORD_TYPE_MAP: {
        record_pair_t *items = arena_alloc (&arena, count * sizeof *items);
        for (size_t i = 0; i < count; i++)
            items[i] = (record_pair_t){draw_text (field), draw_text (field)};
        *(record_map_t *)member = (record_map_t){items, count};
        break;
    }
    case RECORD_TYPE_RECORDS:
        fill_records (field, member);
        break;
    }
}

static void fill (const record_t *record, char *value)
{
    for (size_t i = 0; i < record->field_count; i++)
        fill_field (&record->fields[i], value + record->fields[i].offset);
}

/*  ---- the lines ------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    const record_t *kind; /* NULL: not a record */
    uint8_t *bytes;
    size_t size;
} line_t;

static line_t lines[KINDS_MAX];
static size_t line_count;

static void add_line (const char *name, const record_t *kind, const void *bytes, size_t size)
{
    assert_true (line_count < KINDS_MAX);
    lines[line_count++] = (line_t){name, kind, arena_copy (&arena, bytes, size), size};
}

/*  Its value comes back as it was, and so do its bytes. */
static void add_record (const record_t *kind)
{
    record_faults_t faults = {0};
    nexus_error_t error = {0};
    buffer_t bytes = {0}, again = {0};
    char *value = arena_alloc (&arena, kind->size), *back = arena_alloc (&arena, kind->size);
    counter = kind->id; /* so that a field more in one kind changes that kind only */
    fill (kind, value);
    if (record_check (kind, value, &arena, &faults))
        fail_msg ("%s", record_faults_text (&faults, kind->name, &arena));
    record_encode (kind, value, &bytes);
    if (record_decode (kind, bytes.data, bytes.size, &arena, back, &error))
        fail_msg ("%s: %s", kind->name, error.text);
    if (!record_equal (kind, value, back))
        fail_msg ("%s: another value came back", kind->name);
    record_encode (kind, back, &again);
    assert_int_equal (again.size, bytes.size);
    assert_memory_equal (again.data, bytes.data, bytes.size);
    add_line (kind->name, kind, bytes.data, bytes.size);
    buffer_free (&bytes);
    buffer_free (&again);
}

/*  The frame that docs/protocol.md takes apart. */
static void add_frame (void)
{
    link_envelope_t envelope = {.kind = log_read_record.id,
                                .flags = LINK_REQUEST,
                                .to_actor = "logs",
                                .from_actor = "gateway",
                                .correlation = 7,
                                .deadline_ms = 5000};
    log_read_t body = {.job_id = "mnist-1", .rank = 3, .offset = 1000, .max = 65536};
    buffer_t frame = {0};
    link_frame_append (&frame, &envelope, &log_read_record, &body);
    add_line ("frame", NULL, frame.data, frame.size);

    link_frame_t reader = {frame.data, frame.data + frame.size};
    link_envelope_t found;
    assert_int_equal (link_frame_next (&reader, &found), 1);
    assert_string_equal (found.to_actor, "logs");
    assert_int_equal (found.deadline_ms, 5000);
    assert_int_equal (link_frame_next (&reader, &found), 0);
    buffer_free (&frame);
}

/*  A membership and a join token, by keys that docs/protocol.md names. */
static void add_trust (void)
{
    uint8_t seed[32], signature[64];
    cluster_root_t root;
    nexus_error_t error = {0};
    assert_true (sodium_init () >= 0);
    memset (seed, 1, sizeof seed);
    crypto_sign_seed_keypair (root.public_key.bytes, root.secret_key, seed);
    membership_t membership = {.role = ROLE_WORKER, .name = "w1", .site = "berlin"};
    memset (membership.node.bytes, 2, 32);
    membership_sign (&membership, &root, signature);
    assert_int_equal (membership_verify (&membership, &root.public_key, 0, &error), 0);
    buffer_t bytes = {0};
    record_encode (&membership_record, &membership, &bytes);
    add_line ("membership", &membership_record, bytes.data, bytes.size);
    buffer_free (&bytes);

    join_token_t token, back;
    record_key_t secret;
    join_token_generate (&token, &root.public_key);
    memset (secret.bytes, 3, 32);
    keypair_from_secret (&token.pair, &secret);
    memset (token.masters[0].key.bytes, 4, 32);
    snprintf (token.masters[0].endpoint, sizeof token.masters[0].endpoint, "tcp://10.0.0.1:7400");
    token.master_count = 1;
    char *text = join_token_text (&token);
    assert_int_equal (join_token_parse (&back, text, &error), 0);
    assert_memory_equal (&back, &token, sizeof token);
    add_line ("join_token", NULL, text, strlen (text));
    join_token_text_free (&text);
}

static void add_all (void)
{
    line_count = 0;
    add_record (&link_hello_record);
    add_record (&link_credit_record);
    for (size_t i = 0; i < protocol_catalog.count; i++)
        add_record (protocol_catalog.entries[i].kind);
    for (size_t i = 0; i < command_catalog.count; i++)
        add_record (command_catalog.entries[i].kind);
    add_frame ();
    add_trust ();
}

static char *hex_of (const line_t *line)
{
    char *hex = arena_alloc (&arena, line->size * 2 + 1);
    return sodium_bin2hex (hex, line->size * 2 + 1, line->bytes, line->size);
}

/*  ---- the files -------------------------------------------------------------------------- */

static FILE *open_file (const char *mode, const char *path)
{
    const char *full = arena_printf (&arena, "%s/%s", folder, path);
    FILE *file = fopen (full, mode);
    if (!file)
        fail_msg ("can't open %s", full);
    return file;
}

static const char *seed_path (const line_t *line)
{
    return arena_printf (&arena, "../fuzz/corpus/protocol/%s", line->name);
}

static void write_files (void)
{
    FILE *golden = open_file ("w", "golden.txt");
    for (size_t i = 0; i < line_count; i++) {
        fprintf (golden, "%s %s\n", lines[i].name, hex_of (&lines[i]));
        if (lines[i].kind) {
            FILE *seed = open_file ("wb", seed_path (&lines[i]));
            fwrite (lines[i].bytes, 1, lines[i].size, seed);
            fclose (seed);
        }
    }
    fclose (golden);
}

static void test_golden (void **state)
{
    (void)state;
    const char *wish = getenv ("NEXUS_GOLDEN");
    add_all ();
    if (wish && !strcmp (wish, "write"))
        write_files ();
    FILE *golden = open_file ("r", "golden.txt");
    char text[65536];
    size_t wrong = 0;
    for (size_t i = 0; i < line_count; i++) {
        const char *want = arena_printf (&arena, "%s %s\n", lines[i].name, hex_of (&lines[i]));
        if (!fgets (text, sizeof text, golden) || strcmp (text, want) != 0) {
            print_error ("%s: other bytes than in golden.txt\n  now %s", lines[i].name, want);
            wrong++;
        }
    }
    if (fgets (text, sizeof text, golden))
        fail_msg ("golden.txt has a line more: %.60s", text);
    fclose (golden);
    if (wrong)
        fail_msg (
            "%zu wire forms have changed: older nodes would misread them. If only new kinds or "
            "appended fields did it, NEXUS_GOLDEN=write makes golden.txt anew",
            wrong);
}

/*  What the fuzz target starts from is what the kinds are now. */
static void test_seeds (void **state)
{
    (void)state;
    uint8_t found[65536];
    for (size_t i = 0; i < line_count; i++) {
        if (!lines[i].kind)
            continue;
        FILE *seed = open_file ("rb", seed_path (&lines[i]));
        size_t size = fread (found, 1, sizeof found, seed);
        fclose (seed);
        assert_int_equal (size, lines[i].size);
        assert_memory_equal (found, lines[i].bytes, size);
    }
}

/*  What older and newer versions send: fields missing at the end, fields too many. */
static void test_growth (void **state)
{
    (void)state;
    for (size_t i = 0; i < line_count; i++) {
        const record_t *kind = lines[i].kind;
        if (!kind || kind->field_count >= 15)
            continue;
        nexus_error_t error = {0};
        uint8_t *longer = arena_alloc (&arena, lines[i].size + 1);
        void *value = arena_alloc (&arena, kind->size), *old = arena_alloc (&arena, kind->size);
        memcpy (longer, lines[i].bytes, lines[i].size);
        assert_int_equal (longer[0], 0x90 | kind->field_count);
        longer[0]++;
        longer[lines[i].size] = 0xc0;
        if (record_decode (kind, longer, lines[i].size + 1, &arena, value, &error))
            fail_msg ("%s, a field more: %s", kind->name, error.text);
        record_decode (kind, lines[i].bytes, lines[i].size, &arena, old, &error);
        assert_true (record_equal (kind, value, old));
    }
}

/*  The table of commands is the one that is applied: no more, no less. */
static void test_commands (void **state)
{
    (void)state;
    tables_t *tables = tables_open_memory (ledger_table_names, LEDGER_TABLES);
    requests_t *requests = requests_new (1);
    for (unsigned id = 0; id < 1024; id++) {
        bool known = catalog_find (&command_catalog, (uint16_t)id) != NULL;
        uint8_t command[3] = {(uint8_t)(id >> 8), (uint8_t)id, 0xc0};
        char value[LEDGER_VALUE_MAX], want[100];
        nexus_error_t error = {0};
        tables_txn_t *txn = tables_begin (tables, true, &error);
        snprintf (want, sizeof want, "command %u is not known", id);
        ledger_writer_t writer = {.txn = txn, .requests = requests};
        assert_int_equal (ledger_apply (&writer, 1, (slice_t){command, 3}, value, &error), -1);
        assert_int_equal (strstr (error.text, want) == NULL, known);
        tables_abort (&txn);
    }
    requests_destroy (&requests);
    tables_close (&tables);
}

/*  Ids are unique and ascend, as catalog_find needs. */
static void test_catalogs (void **state)
{
    (void)state;
    const catalog_t *catalogs[] = {&protocol_catalog, &command_catalog};
    for (size_t c = 0; c < 2; c++)
        for (size_t i = 0; i < catalogs[c]->count; i++) {
            const record_t *kind = catalogs[c]->entries[i].kind;
            assert_true (i == 0 || catalogs[c]->entries[i - 1].kind->id < kind->id);
            assert_ptr_equal (catalog_find (catalogs[c], kind->id)->kind, kind);
        }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_catalogs), cmocka_unit_test (test_golden),
        cmocka_unit_test (test_seeds),    cmocka_unit_test (test_growth),
        cmocka_unit_test (test_commands),
    };
    snprintf (folder, sizeof folder, "%s", __FILE__);
    *strrchr (folder, '/') = 0;
    arena_init (&arena, 0, NULL, 0);
    int rc = cmocka_run_group_tests (tests, NULL, NULL);
    arena_reset (&arena);
    return rc;
}
