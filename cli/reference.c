/*  reference - nexus reference: docs/reference.md, from the code's own tables

    Whatever has fields says itself what they mean (runtime/record.h); this file
    only says in which order. A record is described once, under the first heading
    that needs it; records inside it follow it. */
#include "actors/gateway/routes.h"
#include "actors/protocol/api.h"
#include "actors/protocol/catalog.h"
#include "actors/protocol/config.h"
#include "actors/protocol/ledger.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/local_cluster.h"
#include "transport/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const option_t reference_options[] = {{0}};
static const option_t client_options[] = {CLIENT_OPTIONS, {0}};

enum { RECORDS_MAX = 256 };

typedef struct {
    buffer_t text;
    const record_t *seen[RECORDS_MAX];
    size_t count;
} page_t;

/*  Each record only once: false if it is on the page already. */
static bool is_new (page_t *self, const record_t *record)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->seen[i] == record)
            return false;
    assert (self->count < RECORDS_MAX);
    self->seen[self->count++] = record;
    return true;
}

/*  Records nest at most eight deep (the wire form's limit). */
static void put_record (page_t *self, const record_t *record)
{
    if (!is_new (self, record))
        return;
    record_reference (record, &self->text);
    for (size_t i = 0; i < record->field_count; i++)
        if (record->fields[i].record)
            put_record (self, record->fields[i].record);
}

/*  Text of a table's cell: a bar would end it. */
static void put_cell (page_t *self, const char *text)
{
    for (; *text; text++)
        buffer_printf (&self->text, *text == '|' ? "\\%c" : "%c", *text == '\n' ? ' ' : *text);
}

/*  ---- commands --------------------------------------------------------------------- */

static bool is_client_option (const option_t *option)
{
    for (const option_t *known = client_options; known->name; known++)
        if (!strcmp (known->name, option->name) && !strcmp (known->doc, option->doc))
            return true;
    return false;
}

static void put_option (page_t *self, const option_t *option)
{
    buffer_t *out = &self->text;
    buffer_printf (out, "| `--%s%s%s`", option->name, option->argument ? " " : "",
                   option->argument ? option->argument : "");
    if (option->letter)
        buffer_printf (out, ", `-%c`", option->letter);
    buffer_printf (out, " | ");
    put_cell (self, option->doc);
    if (option->def && *option->def)
        buffer_printf (out, " Default: `%s`.", option->def);
    for (size_t i = 0; i < 2 && option->environment[i]; i++)
        buffer_printf (out, "%s`%s`", i ? ", " : " Environment: ", option->environment[i]);
    buffer_printf (out, option->environment[0] ? ". |\n" : " |\n");
}

static void put_command (page_t *self, const command_t *command)
{
    buffer_t *out = &self->text;
    bool asks = false, own = false;
    buffer_printf (out, "### nexus %s\n\n%s.\n\n", command->name, command->summary);
    buffer_printf (out, "```\nnexus %s [OPTIONS]%s%s\n```\n\n", command->name,
                   *command->arguments ? " " : "", command->arguments);
    if (command->details)
        buffer_printf (out, "%s\n\n", command->details);
    for (const option_t *option = command->options; option->name; option++) {
        if (is_client_option (option)) {
            asks = true;
            continue;
        }
        if (!own)
            buffer_printf (out, "| Option | Meaning |\n| --- | --- |\n");
        own = true;
        put_option (self, option);
    }
    buffer_printf (out, own ? "\n" : "");
    if (asks)
        buffer_printf (out, "And the [options of commands that ask a cluster]"
                            "(#options-of-commands-that-ask-a-cluster).\n\n");
}

static void put_commands (page_t *self)
{
    buffer_printf (&self->text, "## Commands\n\n"
                                "A value comes from the command line, else from the environment, "
                                "else from a file, else from the default. `--help` is known to "
                                "every command.\n\n");
    for (size_t i = 0; i < commands_count; i++)
        put_command (self, commands[i]);
    buffer_printf (&self->text, "### Options of commands that ask a cluster\n\n"
                                "| Option | Meaning |\n| --- | --- |\n");
    for (const option_t *option = client_options; option->name; option++)
        put_option (self, option);
    buffer_printf (&self->text, "\n");
}

static void put_exit_codes (page_t *self)
{
    static const struct {
        int code;
        const char *meaning;
    } outcomes[] = {
        {EXIT_JOB_SUCCEEDED, "The job has succeeded; of any other command: it did what it says."},
        {EXIT_JOB_FAILED, "The job has failed."},
        {EXIT_JOB_NOT_PLACED, "The job was accepted, but it still waits for room."},
        {EXIT_JOB_CANCELLED, "The job was stopped by somebody."},
        {EXIT_JOB_TIMED_OUT, "The job has run longer than its max_runtime_ms."},
    };
    buffer_t *out = &self->text;
    buffer_printf (out,
                   "## Exit codes\n\nThe first five are a job's own outcome (`nexus job submit "
                   "--wait`, `nexus job watch`); the others are sysexits.h's.\n\n"
                   "| Code | Meaning |\n| --- | --- |\n");
    for (size_t i = 0; i < sizeof (outcomes) / sizeof (outcomes[0]); i++)
        buffer_printf (out, "| %d | %s |\n", outcomes[i].code, outcomes[i].meaning);
    buffer_printf (out, "| %d | The command line is wrong. |\n", EX_USAGE);
    buffer_printf (out, "\nAn error's code, as the API names it, with its HTTP status and exit "
                        "code:\n\n| Error | Number | HTTP | Exit |\n| --- | --- | --- | --- |\n");
    for (int code = NEXUS_OK + 1; code < NEXUS_CODES; code++)
        buffer_printf (out, "| `%s` | %d | %d | %d |\n", nexus_code_name ((nexus_code_t)code), code,
                       nexus_code_http ((nexus_code_t)code), nexus_code_exit ((nexus_code_t)code));
    buffer_printf (out, "\n");
}

/*  ---- files and the ledger ------------------------------------------------------------ */

static void put_files (page_t *self)
{
    buffer_t *out = &self->text;
    buffer_printf (out, "## Configuration files\n\nYAML, a map by field name. An unknown key is an "
                        "error, and so is a missing required field.\n\n");
    put_record (self, &master_config_record);
    put_record (self, &worker_config_record);
    put_record (self, &client_config_record);
    buffer_printf (out, "`cluster.yaml`, which `nexus up` writes into its directory:\n\n");
    put_record (self, &local_cluster_record);
    buffer_printf (out, "## The job file\n\nYAML for `nexus job submit`, YAML or JSON for the "
                        "API.\n\n");
    put_record (self, &job_spec_record);
    buffer_printf (out, "## The task file\n\nWhat a rank finds under the name in "
                        "`NEXUS_TASK_FILE`, as YAML; `nexus_join` reads it.\n\n");
    put_record (self, &task_file_record);
}

static void put_ledger (page_t *self)
{
    buffer_t *out = &self->text;
    buffer_printf (out, "## The ledger\n\nThe cluster's state, the same on every master. How its "
                        "keys lie: [ledger.h](../actors/protocol/ledger.h).\n\n"
                        "| Table | Record |\n| --- | --- |\n");
    for (int table = 0; table < LEDGER_TABLES; table++) {
        const record_t *record = ledger_table_record ((ledger_table_t)table);
        buffer_printf (out, record ? "| %s | [%s](#%s) |\n" : "| %s | plain bytes |\n",
                       ledger_table_names[table], record ? record->name : "",
                       record ? record->name : "");
    }
    buffer_printf (out, "\n");
    for (int table = 0; table < LEDGER_TABLES; table++)
        if (ledger_table_record ((ledger_table_t)table))
            put_record (self, ledger_table_record ((ledger_table_t)table));
    buffer_printf (out,
                   "## Ledger commands\n\nAll that changes the ledger. A command is an entry of "
                   "the Raft log: its id (two bytes, big endian), then its record.\n\n"
                   "| Id | Command | Meaning |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < command_catalog.count; i++) {
        const record_t *kind = command_catalog.entries[i].kind;
        buffer_printf (out, "| %u | [%s](#%s) | %s |\n", kind->id, kind->name, kind->name,
                       kind->doc);
    }
    buffer_printf (out, "\n");
    for (size_t i = 0; i < command_catalog.count; i++)
        put_record (self, command_catalog.entries[i].kind);
}

/*  ---- the API --------------------------------------------------------------------------- */

static void put_link (page_t *self, const char *label, const record_t *record)
{
    if (record)
        buffer_printf (&self->text, "%s: [%s](#%s). ", label, record->name, record->name);
}

static void put_route (page_t *self, const route_t *route)
{
    buffer_t *out = &self->text;
    const char *role = route->flags & ROUTE_OPEN            ? "none"
                       : strcmp (route->method, "GET") == 0 ? "viewer"
                                                            : "admin";
    buffer_printf (out, "| `%s %s` | %s | ", route->method, route->path, role);
    put_cell (self, route->summary);
    buffer_printf (out, ". ");
    put_link (self, "Parameters", route->query);
    put_link (self, "Body", route->request);
    if (route->flags & ROUTE_BYTES)
        buffer_printf (out, "Body: the value's bytes. ");
    if (route->response)
        buffer_printf (out, "Answer: %d, [%s](#%s).", route->status ? route->status : 200,
                       route->response->name, route->response->name);
    else
        buffer_printf (out, "Answer: %d, `%s`.", route->status ? route->status : 200,
                       route->media_type);
    for (size_t i = 0; i + 1 < 4 && route->headers[i]; i += 2)
        buffer_printf (out, " `%s`: %s", route->headers[i], route->headers[i + 1]);
    buffer_printf (out, " |\n");
}

static void put_api (page_t *self)
{
    buffer_printf (
        &self->text,
        "## API\n\nHTTPS with a bearer token (`Authorization: Bearer TOKEN`), JSON "
        "bodies. Every master answers every operation; `/openapi.json` describes them for "
        "programs. An error's body is a [problem](#problem) "
        "(`application/problem+json`, RFC 9457).\n\n"
        "What is read is up to date, whichever master answers; GETs take `?stale=true`: what this "
        "master has, at once. Writes take an `Idempotency-Key`: repeated, also on another master, "
        "they are done once (another path or body is another request; not for `/api/v1/masters`, "
        "where it does no harm to ask again); and `X-Nexus-After`, the `X-Nexus-Index` of an "
        "earlier answer, so that one whose result was forgotten is not done again (504).\n\n"
        "| Operation | Role | Meaning |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < routes_count; i++)
        put_route (self, &routes[i]);
    buffer_printf (&self->text, "\n");
    put_record (self, &problem_record);
    for (size_t i = 0; i < routes_count; i++) {
        const record_t *records[] = {routes[i].query, routes[i].request, routes[i].response};
        for (size_t j = 0; j < 3; j++)
            if (records[j])
                put_record (self, records[j]);
    }
}

/*  ---- messages ----------------------------------------------------------------------------- */

static void put_senders (page_t *self, unsigned senders)
{
    const char *comma = "";
    for (int role = 0; role < role_choices.count; role++)
        if (senders & ROLE_BIT (role)) {
            buffer_printf (&self->text, "%s%s", comma, record_choice_name (&role_choices, role));
            comma = ", ";
        }
}

static void put_kind (page_t *self, const record_t *kind, unsigned senders)
{
    buffer_printf (&self->text, "| %u | [%s](#%s) | ", kind->id, kind->name, kind->name);
    put_senders (self, senders);
    buffer_printf (&self->text, " | %s | ", kind->flags & RECORD_DATA_LANE ? "data" : "control");
    put_cell (self, kind->doc);
    buffer_printf (&self->text, " |\n");
}

static void put_ranges (page_t *self)
{
    static const char *const ranges[][2] = {
        {"1-15", "the runtime itself (runtime/message.h)"},
        {"16-31", "links, between themselves and with their node (transport/)"},
        {"32-39", "the Raft log's writer (storage/raft_log_actor.h)"},
        {"64-79", "the data plane (actors/protocol/data.h)"},
        {"80-119", "the control plane (actors/protocol/cluster.h); 110-116 within a worker"},
        {"120-129", "HTTP exchanges, and between gateways (actors/protocol/http.h)"},
        {"130-139", "consensus (actors/protocol/consensus.h)"},
        {"140-149", "copies of the ledger (actors/protocol/snapshot.h)"},
        {"200-219", "ledger commands, which travel inside other messages "
                    "(actors/protocol/command.h)"},
    };
    buffer_printf (&self->text,
                   "Ids that are not in the table never leave a process. The ranges:\n\n"
                   "| Ids | Whose |\n| --- | --- |\n");
    for (size_t i = 0; i < sizeof (ranges) / sizeof (ranges[0]); i++)
        buffer_printf (&self->text, "| %s | %s |\n", ranges[i][0], ranges[i][1]);
    buffer_printf (&self->text, "\n");
}

static void put_messages (page_t *self)
{
    enum {
        ALL = ROLE_BIT (ROLE_MASTER) | ROLE_BIT (ROLE_WORKER) | ROLE_BIT (ROLE_TASK) |
              ROLE_BIT (ROLE_JOINER)
    };
    static const record_t *const own[] = {&link_hello_record, &link_credit_record};
    buffer_printf (&self->text,
                   "## Messages\n\nEvery kind that nodes send each other; [the protocol]"
                   "(protocol.md) says how. A kind from a role that may not send it is dropped. "
                   "failure and done answer a request, whoever was asked.\n\n"
                   "| Id | Kind | From | Lane | Meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof (own) / sizeof (own[0]); i++)
        put_kind (self, own[i], ALL);
    for (size_t i = 0; i < protocol_catalog.count; i++)
        put_kind (self, protocol_catalog.entries[i].kind, protocol_catalog.entries[i].senders);
    buffer_printf (&self->text, "\n");
    put_ranges (self);
    for (size_t i = 0; i < sizeof (own) / sizeof (own[0]); i++)
        put_record (self, own[i]);
    for (size_t i = 0; i < protocol_catalog.count; i++)
        put_record (self, protocol_catalog.entries[i].kind);
    buffer_printf (&self->text, "## Memberships\n\nWhat the cluster's root signs.\n\n");
    put_record (self, &membership_record);
}

static int run_reference (options_t *options)
{
    (void)options;
    page_t page = {0};
    buffer_printf (&page.text,
                   "# Reference\n\nMade by `nexus reference` from the tables that the code itself "
                   "works with. Do not edit: change the table, then\n"
                   "`nexus reference > docs/reference.md`.\n\n"
                   "- [Commands](#commands), [exit codes](#exit-codes)\n"
                   "- [Configuration files](#configuration-files), [the job file]"
                   "(#the-job-file), [the task file](#the-task-file)\n"
                   "- [API](#api)\n"
                   "- [The ledger](#the-ledger), [its commands](#ledger-commands)\n"
                   "- [Messages](#messages), [memberships](#memberships)\n\n");
    put_commands (&page);
    put_exit_codes (&page);
    put_files (&page);
    put_api (&page);
    put_ledger (&page);
    put_messages (&page);
    if (page.text.failed) {
        fputs ("nexus: out of memory\n", stderr);
        return EX_OSERR;
    }
    while (page.text.size > 1 && page.text.data[page.text.size - 2] == '\n')
        page.text.size--; /* one newline at the end */
    fwrite (page.text.data, 1, page.text.size, stdout);
    buffer_free (&page.text);
    return 0;
}

const command_t command_reference = {
    "reference",
    "",
    "Print docs/reference.md: every command, file, field, message and operation",
    NULL,
    reference_options,
    0,
    0,
    run_reference};
