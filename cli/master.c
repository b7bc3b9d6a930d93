/*  master - nexus master list, add, promote, remove, transfer */
#include "actors/protocol/consensus.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"

#include "transport/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 250 };

static const char masters_path[] = "/api/v1/masters";

static const option_t list_options[] = {CLIENT_OPTIONS, CLIENT_STALE, CLIENT_JSON, {0}};
static const option_t plain_options[] = {CLIENT_OPTIONS, CLIENT_JSON, {0}};
static const option_t add_options[] = {
    {"key", 'k', "HEX", {NULL}, NULL, "Its public key: nexus key DIR/node.key."},
    {"link", 'l', "URL", {NULL}, NULL, "tcp://HOST:PORT at which masters and workers reach it."},
    {"api", 'a', "URL", {NULL}, "", "https://HOST:PORT of its API."},
    {"learner", 0, NULL, .doc = "Leave it a learner: it gets everything and decides nothing."},
    {"wait", 'w', "SECONDS", {NULL}, "600", "How long to wait until it has caught up."},
    CLIENT_OPTIONS,
    CLIENT_JSON,
    {0},
};
static const option_t transfer_options[] = {
    {"to", 't', "NAME", {NULL}, "", "Who shall lead; unless given, the voter that lacks least."},
    CLIENT_OPTIONS,
    CLIENT_JSON,
    {0},
};

/*  ---- list ---------------------------------------------------------------------- */

static void print_masters (const void *value)
{
    const master_info_list_t *list = value;
    table_t *table = table_new ();
    table_record_header (table, &master_info_record);
    for (size_t i = 0; i < list->masters.count; i++)
        table_record (table, &master_info_record, &list->masters.items[i]);
    table_print (table, stdout, 0);
    table_destroy (&table);
    if (list->joint)
        fprintf (stderr, "a change is under way: decisions need a majority of the old voters and "
                         "one of the new\n");
    if (!*list->leader)
        fprintf (stderr, "no leader is known\n");
}

static int run_list (options_t *options)
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    client_set_stale (client, options_flag (options, "stale"));
    int rc = client_show (client, options_flag (options, "json"), masters_path, NULL,
                          &master_info_list_record, print_masters);
    client_destroy (&client);
    return rc;
}

/*  ---- promote, remove ------------------------------------------------------------ */

static int look (client_t *client, const char *name, arena_t *arena, master_info_t *ret_info,
                 nexus_error_t *error);

/*  A removal that is asked for again, because the first answer was lost with the leader that it
    removed, finds nobody: then it is done. */
static int change (options_t *options, const char *verb, const char *what, bool removes)
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    const char *name = options_argument (options, 0);
    const char *path = client_path (client, "/api/v1/masters/", name, verb);
    int rc = 0;
    arena_t arena;
    master_t master;
    arena_init (&arena, 16 << 20, NULL, 0);
    master_info_t info;
    bool there = removes && look (client, name, &arena, &info, &error) == 0;
    if (options_flag (options, "json"))
        rc = client_print (client, path, "{}");
    else if (client_record (client, path, "{}", &master_record, &arena, &master, &error) &&
             !(there && error.code == NEXUS_NOT_FOUND))
        rc = command_fail (&error);
    else
        printf ("%s %s\n", name, what);
    arena_reset (&arena);
    client_destroy (&client);
    return rc;
}

static int run_promote (options_t *options)
{
    return change (options, "/promote", "is a voter", false);
}

static int run_remove (options_t *options)
{
    return change (options, "/remove", "is removed: its key is revoked", true);
}

/*  ---- add ------------------------------------------------------------------------- */

static int64_t now_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*  What the leader makes of it: *ret_info's texts are in the arena. */
static int look (client_t *client, const char *name, arena_t *arena, master_info_t *ret_info,
                 nexus_error_t *error)
{
    master_info_list_t list;
    if (client_record (client, masters_path, NULL, &master_info_list_record, arena, &list, error))
        return -1;
    for (size_t i = 0; i < list.masters.count; i++)
        if (strcmp (list.masters.items[i].name, name) == 0) {
            *ret_info = list.masters.items[i];
            return 0;
        }
    return nexus_error_set (error, NEXUS_NOT_FOUND, "master %s was removed meanwhile", name);
}

/*  One that comes with another log than is on record takes part in nothing. */
static int check_admitted (const master_info_t *info, nexus_error_t *error)
{
    if (info->state != MASTER_REFUSED)
        return 0;
    return nexus_error_set (
        error, NEXUS_EXISTS,
        "%s is there already, and refused: its log is not the one on record, its "
        "disk was lost or replaced; " CONSENSUS_REPLACE_MASTER,
        info->name);
}

static void say_progress (const master_info_t *info, char *said, size_t size)
{
    char text[160];
    if (info->state == MASTER_REFUSED) /* which ends if it was emptied and starts anew */
        snprintf (text, sizeof (text), "%s is refused so far: its log is not the one on record",
                  info->name);
    else if (info->state == MASTER_UNKNOWN)
        snprintf (text, sizeof (text), "waiting for %s to answer", info->name);
    else if (info->match == 0)
        snprintf (text, sizeof (text), "%s has nothing yet: it gets the cluster's state",
                  info->name);
    else
        snprintf (text, sizeof (text), "%s catches up: %s entries are missing", info->name,
                  info->lag ? figure_count ((double)info->lag).text : "no");
    if (strcmp (text, said))
        fprintf (stderr, "%s\n", text);
    snprintf (said, size, "%s", text);
}

/*  A learner becomes a voter as soon as it may. */
static int promote (client_t *client, const char *name, int64_t wait_ms, nexus_error_t *error)
{
    char said[160] = "";
    int64_t until_ms = now_ms () + wait_ms;
    for (;;) {
        arena_t arena;
        master_info_t info = {.name = name};
        master_t master;
        arena_init (&arena, 16 << 20, NULL, 0);
        int rc = look (client, name, &arena, &info, error);
        if (rc == 0 && info.heard_ms_ago >= 0 && info.lag < 1000) {
            const char *path = client_path (client, "/api/v1/masters/", name, "/promote");
            rc = client_record (client, path, "{}", &master_record, &arena, &master, error);
            if (rc == 0) {
                arena_reset (&arena);
                return 0;
            }
            if (error->code == NEXUS_CONFLICT)
                rc = 0; /* it lags again, or another change is under way */
        }
        if (rc == 0)
            say_progress (&info, said, sizeof (said));
        arena_reset (&arena);
        if (rc)
            return -1;
        if (now_ms () >= until_ms)
            return nexus_error_set (
                error, NEXUS_DEADLINE,
                "%s: it stays a learner for now. nexus master list shows how far it is; nexus "
                "master promote %s when it has caught up",
                said, name);
        usleep (LOOK_MS * 1000);
    }
}

/*  NULL if --key is none. */
static char *add_body (options_t *options, nexus_error_t *error)
{
    record_key_t key;
    const char *text = options_text (options, "key"), *link = options_text (options, "link");
    if (!text || key_from_hex (&key, text)) {
        nexus_error_set (error, NEXUS_INVALID,
                         "--key: expected 64 hex digits, the new master's public key: nexus key "
                         "DIR/node.key on its machine");
        return NULL;
    }
    if (!link) {
        nexus_error_set (error, NEXUS_INVALID,
                         "--link is needed: tcp://HOST:PORT at which others reach the new master");
        return NULL;
    }
    json_t *json = json_pack ("{s:s, s:s, s:s, s:s}", "name", options_argument (options, 0), "key",
                              text, "endpoint", link, "api", options_text (options, "api"));
    char *body = json ? json_dumps (json, 0) : NULL;
    if (!body)
        nexus_error_set (error, NEXUS_INVALID, "an option is no UTF-8 text");
    json_decref (json);
    return body;
}

/*  One that was added before keeps the addresses that it has. */
static void say_kept (const master_t *master, const char *link, const char *api)
{
    bool kept = strcmp (master->endpoint, link) != 0 || (*api && strcmp (master->api, api) != 0);
    if (kept)
        fprintf (
            stderr,
            "%s is there already, with --link %s%s%s, and keeps that: once it answers it tells "
            "its addresses itself; if it can't be reached there, remove it and add it again\n",
            master->name, master->endpoint, *master->api ? " --api " : "", master->api);
}

static int add (client_t *client, options_t *options, const char *body, uint64_t wait_s,
                nexus_error_t *error)
{
    const char *name = options_argument (options, 0);
    arena_t arena;
    master_t master;
    arena_init (&arena, 4 << 20, NULL, 0);
    int rc = client_record (client, masters_path, body, &master_record, &arena, &master, error);
    bool voter = rc == 0 && master.role == MASTER_VOTER;
    if (rc == 0)
        say_kept (&master, options_text (options, "link"), options_text (options, "api"));
    if (voter) {
        master_info_t info;
        rc = look (client, name, &arena, &info, error) || check_admitted (&info, error) ? -1 : 0;
    }
    arena_reset (&arena);
    if (rc == 0 && !voter && !options_flag (options, "learner")) {
        rc = promote (client, name, (int64_t)wait_s * 1000, error);
        voter = rc == 0;
    }
    if (rc == 0 && !options_flag (options, "json"))
        printf ("%s is a %s\n", name, voter ? "voter" : "learner");
    else if (rc == 0)
        rc = client_print (client, masters_path, NULL);
    return rc;
}

static int run_add (options_t *options)
{
    nexus_error_t error;
    uint64_t wait_s;
    if (options_number (options, "wait", 0, 86400, &wait_s, &error))
        return command_fail (&error);
    char *body = add_body (options, &error);
    client_t *client = body ? client_new (options, &error) : NULL;
    int rc = client ? add (client, options, body, wait_s, &error) : -1;
    client_destroy (&client);
    free (body);
    return rc < 0 ? command_fail (&error) : rc;
}

/*  ---- transfer --------------------------------------------------------------------- */

/*  Whom the transfer made leader. Who is asked may not have heard of him yet. */
static void print_leader (client_t *client, const char *to, const transfer_result_t *result,
                          arena_t *arena)
{
    master_info_list_t list = {.leader = to ? to : ""};
    for (int tries = 0; !*list.leader && tries < 40; tries++) {
        if (tries)
            (void)usleep (50000);
        if (client_record (client, masters_path, NULL, &master_info_list_record, arena, &list,
                           NULL))
            list.leader = "";
    }
    printf ("%s leads (term %" PRIu64 ")\n", *list.leader ? list.leader : "another master",
            result->term);
}

static int run_transfer (options_t *options)
{
    nexus_error_t error = {NEXUS_INVALID, "--to: this is no UTF-8 text"};
    json_t *json = json_pack ("{s:s}", "to", options_text (options, "to"));
    char *body = json ? json_dumps (json, 0) : NULL;
    client_t *client = body ? client_new (options, &error) : NULL;
    int rc = 0;
    arena_t arena;
    transfer_result_t result;
    arena_init (&arena, 4 << 20, NULL, 0);
    if (!client)
        rc = command_fail (&error);
    else if (options_flag (options, "json"))
        rc = client_print (client, "/api/v1/masters/transfer", body);
    else if (client_record (client, "/api/v1/masters/transfer", body, &transfer_result_record,
                            &arena, &result, &error))
        rc = command_fail (&error);
    else
        print_leader (client, options_text (options, "to"), &result, &arena);
    arena_reset (&arena);
    client_destroy (&client);
    free (body);
    json_decref (json);
    return rc;
}

const command_t command_master_list = {
    "master list", "", "The masters: who votes, who leads, who lags", NULL, list_options, 0, 0,
    run_list};
const command_t command_master_add = {
    "master add",
    "NAME",
    "Let a new master in",
    "Its machine runs `nexus master` with `join: true` in its configuration and waits.\n"
    "It comes as a learner, gets the log, and becomes a voter when it has caught up.\n"
    "Interrupting this does no harm: it stays a learner then (nexus master promote).",
    add_options,
    1,
    1,
    run_add};
const command_t command_master_promote = {
    "master promote",
    "NAME",
    "Make a learner a voter",
    "Refused while it lags, with how far: as a voter it could hold up decisions.",
    plain_options,
    1,
    1,
    run_promote};
const command_t command_master_remove = {
    "master remove",
    "NAME",
    "Take a master out of the cluster for good",
    "Its key is revoked, its connections end. If it leads, another one takes over\n"
    "first. Refused if those who would remain could decide nothing. To come back it\n"
    "needs a directory that is empty but for node.key, and `join: true`.",
    plain_options,
    1,
    1,
    run_remove};
const command_t command_master_transfer = {
    "master transfer", "", "Let another master lead", NULL, transfer_options, 0, 0, run_transfer};
