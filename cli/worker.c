/*  worker - nexus worker list, drain, undrain, remove */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const option_t list_options[] = {CLIENT_OPTIONS, CLIENT_STALE, CLIENT_JSON, {0}};
static const option_t plain_options[] = {CLIENT_OPTIONS, CLIENT_JSON, {0}};
static const option_t drain_options[] = {
    CLIENT_OPTIONS,
    CLIENT_JSON,
    {"reason", 'r', "TEXT", {NULL}, "", "Why, for people."},
    {0},
};

static void print_workers (const void *value)
{
    const worker_list_t *list = value;
    static const char *const more[] = {"alive", "cpu",         "memory", "gpus",
                                       "ranks", "aggregators", "load",   "reason"};
    table_t *table = table_new ();
    table_record_header (table, &worker_record);
    for (size_t i = 0; i < sizeof (more) / sizeof (more[0]); i++)
        table_header (table, more[i]);
    for (size_t i = 0; i < list->workers.count; i++) {
        const worker_status_t *status = &list->workers.items[i];
        const resources_t *resources = &status->worker.resources;
        table_record (table, &worker_record, &status->worker);
        table_cell (table, "%s", status->alive ? "yes" : "no");
        table_cell (table, "%g", resources->cpu);
        table_cell (table, "%s", resources->memory ? figure_bytes (resources->memory).text : "");
        table_cell (table, "%" PRIu64, resources->gpus);
        table_cell (table, "%" PRIu64, status->tasks);
        table_cell (table, "%" PRIu64, status->shards);
        table_cell (table, "%.2f", status->load);
        table_cell (table, "%s", status->worker.reason);
    }
    table_print (table, stdout, 0);
    table_destroy (&table);
    if (!list->workers.count)
        fprintf (stderr, "no worker has joined yet\n");
}

static int run_list (options_t *options)
{
    static const char path[] = "/api/v1/workers";
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    client_set_stale (client, options_flag (options, "stale"));
    int rc = client_show (client, options_flag (options, "json"), path, NULL, &worker_list_record,
                          print_workers);
    client_destroy (&client);
    return rc;
}

static void print_state (const void *value)
{
    const worker_t *worker = value;
    printf ("%s is %s\n", worker->name, record_choice_name (&worker_state_choices, worker->state));
}

static void print_removed (const void *value)
{
    printf ("%s is removed\n", ((const worker_t *)value)->name);
}

/*  POSTs and says what became of the worker. */
static int change (options_t *options, const char *verb, const char *body,
                   void (*print) (const void *value))
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    const char *path =
        client_path (client, "/api/v1/workers/", options_argument (options, 0), verb);
    int rc =
        client_show (client, options_flag (options, "json"), path, body, &worker_record, print);
    client_destroy (&client);
    return rc;
}

static int run_drain (options_t *options)
{
    json_t *json = json_pack ("{s:s}", "reason", options_text (options, "reason"));
    char *body = json ? json_dumps (json, 0) : NULL;
    nexus_error_t error = {NEXUS_INVALID, "--reason: this is no UTF-8 text"};
    int rc = body ? change (options, "/drain", body, print_state) : command_fail (&error);
    free (body);
    json_decref (json);
    return rc;
}

static int run_undrain (options_t *options)
{
    return change (options, "/undrain", "{}", print_state);
}

static int run_remove (options_t *options)
{
    return change (options, "/remove", "{}", print_removed);
}

const command_t command_worker_list = {"worker list", "", "The workers", NULL, list_options, 0, 0,
                                       run_list};
const command_t command_worker_drain = {"worker drain",
                                        "NAME",
                                        "Take a worker out of service: its work moves to others",
                                        NULL,
                                        drain_options,
                                        1,
                                        1,
                                        run_drain};
const command_t command_worker_undrain = {
    "worker undrain", "NAME", "Take a worker back into service", NULL, plain_options, 1, 1,
    run_undrain};
const command_t command_worker_remove = {
    "worker remove",
    "NAME",
    "Revoke a worker's key for good",
    "Its work moves to others, its connections end at once, and its name is free. To join again "
    "it\n"
    "needs a new key: an empty directory and a new join token.",
    plain_options,
    1,
    1,
    run_remove};
