/*  key - nexus key, nexus root, nexus token: what a cluster set up by hand needs */
#include "cli/client.h"
#include "cli/command.h"
#include "nexus.h"
#include "transport/join_token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const option_t no_options[] = {{0}};

static int run_key (options_t *options)
{
    nexus_error_t error;
    char hex[65];
    if (nexus_key_file (options_argument (options, 0), hex, &error))
        return command_fail (&error);
    puts (hex);
    return 0;
}

static int run_root (options_t *options)
{
    nexus_error_t error;
    return nexus_root_file (options_argument (options, 0), &error) ? command_fail (&error) : 0;
}

/*  ---- token ------------------------------------------------------------------------ */

static const option_t token_options[] = {
    {"root", 'R', "FILE", .doc = "The cluster's root key."},
    {"site", 's', "SITE", .doc = "The site that its bearers join; any if left out."},
    {"uses", 'u', "N", .def = "1", .doc = "Nodes that may join with it."},
    {"valid", 0, "SECONDS", .def = "3600", .doc = "How long it holds."},
    CLIENT_OPTIONS,
    {0},
};

static int tell_cluster (options_t *options, const token_request_t *request, nexus_error_t *error)
{
    client_t *client = client_new (options, error);
    if (!client)
        return -1;
    json_t *json = record_to_json (&token_request_record, request, 0);
    char *body = json_dumps (json, 0);
    client_answer_t answer;
    int rc = client_ask (client, "/api/v1/tokens", "application/json", body, strlen (body), &answer,
                         error);
    if (!rc)
        client_answer_free (&answer);
    free (body);
    json_decref (json);
    client_destroy (&client);
    return rc;
}

static int run_token (options_t *options)
{
    nexus_error_t error;
    uint64_t uses, valid_s;
    cluster_root_t root;
    join_token_t token;
    const char *file = options_text (options, "root");
    if (!file) {
        nexus_error_set (&error, NEXUS_INVALID, "--root FILE is needed: the cluster's root key");
        return command_fail (&error);
    }
    if (options_number (options, "uses", 1, 100000, &uses, &error) ||
        options_number (options, "valid", 1, 31536000, &valid_s, &error) ||
        cluster_root_load (&root, file, &error))
        return command_fail (&error);
    join_token_generate (&token, &root.public_key);
    cluster_root_wipe (&root);
    token_request_t request = {.key = token.pair.public_key,
                               .uses = uses,
                               .site = options_text (options, "site"),
                               .valid_ms = valid_s * 1000};
    int rc = tell_cluster (options, &request, &error);
    if (!rc) {
        char *text = join_token_text (&token);
        puts (text);
        join_token_text_free (&text);
    }
    join_token_wipe (&token);
    return rc ? command_fail (&error) : 0;
}

const command_t command_key = {
    "key", "FILE",  "Make a node's key file, or read it; print its public key", NULL, no_options, 1,
    1,     run_key,
};

const command_t command_root = {
    "root", "FILE",   "Make the file of a new cluster's root key, or check it", NULL, no_options, 1,
    1,      run_root,
};

const command_t command_token = {
    "token",
    "",
    "Make a join token: what lets a new worker in, once",
    "Prints the token, which a worker's configuration names as a file (token: FILE).\n"
    "The cluster keeps its public half only.",
    token_options,
    0,
    0,
    run_token,
};
