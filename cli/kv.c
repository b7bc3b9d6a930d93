/*  kv - nexus kv put, get, delete, list: the cluster's key-value store */
#include "actors/gateway/uri.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { VALUE_MAX = 65536 };

#define IF_VERSION                                                     \
    {                                                                  \
        "if-version", 0, "N", {NULL}, NULL,                            \
            "Only if the entry has this version; 0: if there is none." \
    }
static const option_t put_options[] = {
    CLIENT_OPTIONS,
    IF_VERSION,
    {"file", 'f', "FILE", {NULL}, NULL, "Where the value is; - is standard input."},
    CLIENT_JSON,
    {0},
};
static const option_t get_options[] = {CLIENT_OPTIONS, CLIENT_STALE, {0}};
static const option_t delete_options[] = {CLIENT_OPTIONS, IF_VERSION, CLIENT_JSON, {0}};
static const option_t list_options[] = {
    CLIENT_OPTIONS,
    CLIENT_STALE,
    CLIENT_JSON,
    {"after", 0, "KEY", {NULL}, "", "Only keys behind this one."},
    {"limit", 'n', "N", {NULL}, "1000", "How many at most."},
    {0},
};

/*  Keys stand in paths of URLs. */
static int check_key (const char *key, nexus_error_t *error)
{
    for (const char *part = key;; part++) {
        size_t size = strcspn (part, "/");
        if (size == 0 || (size == 1 && *part == '.') || (size == 2 && strncmp (part, "..", 2) == 0))
            return nexus_error_set (
                error, NEXUS_INVALID,
                "KEY: \"%.400s\" has an empty, \".\" or \"..\" part between its "
                "slashes",
                key);
        for (size_t i = 0; i < size; i++)
            if ((unsigned char)part[i] < ' ' || part[i] == 0x7f)
                return nexus_error_set (error, NEXUS_INVALID, "KEY: it has a control character");
        part += size;
        if (!*part)
            return 0;
    }
}

/*  The path of a key, whose slashes are those of the path. */
static void key_path (const char *key, buffer_t *path)
{
    buffer_append (path, "/api/v1/kv", 10);
    for (bool more = true; more;) {
        char segment[512];
        size_t size = strcspn (key, "/");
        snprintf (segment, sizeof (segment), "%.*s", (int)size, key);
        buffer_append (path, "/", 1);
        uri_escape (segment, path);
        more = key[size] == '/';
        key += size + more;
    }
    buffer_append (path, "", 1);
}

/*  ---- writing -------------------------------------------------------------------- */

static int write_entry (options_t *options, const char *method, const buffer_t *value)
{
    nexus_error_t error;
    uint64_t version;
    if (check_key (options_argument (options, 0), &error) ||
        (options_text (options, "if-version") &&
         options_number (options, "if-version", 0, INT64_MAX, &version, &error)))
        return command_fail (&error);
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    buffer_t path = {0};
    client_answer_t answer = {0};
    kv_written_t written;
    arena_t arena;
    arena_init (&arena, 1 << 20, NULL, 0);
    key_path (options_argument (options, 0), &path);
    client_question_t question = {.method = method,
                                  .path = (const char *)path.data,
                                  .body_type = "application/octet-stream",
                                  .body = value ? (const void *)value->data : NULL,
                                  .body_size = value ? value->size : 0,
                                  .if_match = options_text (options, "if-version")};
    int rc = 0;
    if (client_question (client, &question, &answer, &error) ||
        client_read (client, &answer, &kv_written_record, &arena, &written, &error))
        rc = command_fail (&error);
    else if (options_flag (options, "json"))
        printf ("%.*s\n", (int)answer.body.size, (const char *)answer.body.data);
    else if (value)
        printf ("version %" PRIu64 "\n", written.version);
    else
        printf (written.version ? "deleted version %" PRIu64 "\n" : "there was no such key\n",
                written.version);
    client_answer_free (&answer);
    buffer_free (&path);
    arena_reset (&arena);
    client_destroy (&client);
    return rc;
}

static int read_file (const char *name, buffer_t *value, nexus_error_t *error)
{
    FILE *file = strcmp (name, "-") ? fopen (name, "rbe") : stdin;
    if (!file)
        return nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO, "%s: %s", name,
                                strerror (errno));
    for (size_t got = 1; got && value->size <= VALUE_MAX;) {
        uint8_t *to = buffer_reserve (value, VALUE_MAX + 1);
        got = to ? fread (to, 1, VALUE_MAX + 1, file) : 0;
        value->size += got;
    }
    bool bad = ferror (file) || value->failed;
    if (file != stdin)
        fclose (file);
    return bad ? nexus_error_set (error, NEXUS_IO, "%s: it can't be read", name) : 0;
}

static int run_put (options_t *options)
{
    const char *text = options_argument (options, 1), *file = options_text (options, "file");
    buffer_t value = {0};
    nexus_error_t error;
    int rc = 0;
    if (!text == !file) {
        fprintf (stderr, "nexus kv put: give a value, or --file, and not both\n");
        return EX_USAGE;
    }
    (void)buffer_reserve (&value, 1); /* an empty value is a value */
    if (text)
        buffer_append (&value, text, strlen (text));
    else
        rc = read_file (file, &value, &error);
    if (rc)
        rc = command_fail (&error);
    else if (value.size > VALUE_MAX) {
        fprintf (stderr, "nexus: the value exceeds %d bytes\n", VALUE_MAX);
        rc = EX_DATAERR;
    } else
        rc = write_entry (options, "PUT", &value);
    buffer_free (&value);
    return rc;
}

static int run_delete (options_t *options)
{
    return write_entry (options, "DELETE", NULL);
}

/*  ---- reading ------------------------------------------------------------------------ */

static int run_get (options_t *options)
{
    nexus_error_t error;
    if (check_key (options_argument (options, 0), &error))
        return command_fail (&error);
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    buffer_t path = {0};
    client_answer_t answer = {0};
    key_path (options_argument (options, 0), &path);
    client_set_stale (client, options_flag (options, "stale"));
    int rc = 0;
    if (client_ask (client, (const char *)path.data, NULL, NULL, 0, &answer, &error)) {
        rc = command_fail (&error);
    } else {
        fwrite (answer.body.data, 1, answer.body.size, stdout);
        if (isatty (STDOUT_FILENO))
            fputc ('\n', stdout);
    }
    client_answer_free (&answer);
    buffer_free (&path);
    client_destroy (&client);
    return rc;
}

static void print_entries (const void *value)
{
    const kv_list_t *list = value;
    table_t *table = table_new ();
    table_record_header (table, &kv_entry_record);
    table_header (table, "bytes");
    for (size_t i = 0; i < list->entries.count; i++) {
        table_record (table, &kv_entry_record, &list->entries.items[i]);
        table_cell (table, "%zu", list->entries.items[i].value.size);
    }
    table_print (table, stdout, 0);
    table_destroy (&table);
    if (*list->next)
        fprintf (stderr, "there are more: --after '%s'\n", list->next);
}

static int run_list (options_t *options)
{
    nexus_error_t error;
    uint64_t limit;
    const char *prefix = options_argument (options, 0);
    buffer_t path = {0};
    if (options_number (options, "limit", 1, 1000, &limit, &error)) {
        fprintf (stderr, "nexus kv list: %s\n", error.text);
        return EX_USAGE;
    }
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    buffer_printf (&path, "/api/v1/kv?limit=%" PRIu64 "&prefix=", limit);
    uri_escape (prefix ? prefix : "", &path);
    buffer_printf (&path, "&after=");
    uri_escape (options_text (options, "after"), &path);
    buffer_append (&path, "", 1);
    client_set_stale (client, options_flag (options, "stale"));
    int rc = client_show (client, options_flag (options, "json"), (const char *)path.data, NULL,
                          &kv_list_record, print_entries);
    buffer_free (&path);
    client_destroy (&client);
    return rc;
}

const command_t command_kv_put = {
    "kv put",
    "KEY [VALUE]",
    "Write an entry of the key-value store; prints its version",
    "For small values that many need to know: where to meet, what was chosen. Keys have\n"
    "up to 400 bytes (slashes make them a tree for people), values up to 64 KiB.\n"
    "--if-version 0 lets only the first writer win.",
    put_options,
    1,
    2,
    run_put};
const command_t command_kv_get = {
    "kv get", "KEY",  "Print a value of the key-value store, as it is", NULL, get_options, 1,
    1,        run_get};
const command_t command_kv_delete = {
    "kv delete", "KEY",     "Delete an entry of the key-value store", NULL, delete_options, 1,
    1,           run_delete};
const command_t command_kv_list = {
    "kv list", "[PREFIX]", "Entries of the key-value store, by key", NULL, list_options, 0,
    1,         run_list};
