/*  status - nexus status */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/status_raft.h"
#include "cli/table.h"

#include <inttypes.h>

static const option_t status_options[] = {
    {"raft", 'r', NULL, .doc = "Consensus, as each master sees it."},
    CLIENT_OPTIONS,
    CLIENT_STALE,
    CLIENT_JSON,
    {0},
};

static void print_status (const cluster_status_t *status)
{
    const worker_counts_t *workers = &status->workers;
    const job_counts_t *jobs = &status->jobs;
    if (*status->leader)
        printf ("Leader   %s (term %" PRIu64 ", commit index %" PRIu64 ")\n", status->leader,
                status->term, status->commit);
    else
        printf ("Leader   none known to %s: %s\n", status->answered_by, status->message);
    printf ("Workers  %" PRIu64 " of %" PRIu64 " alive; %" PRIu64 " draining, %" PRIu64 " lost\n",
            workers->alive, workers->total, workers->draining, workers->lost);
    printf ("Jobs     %" PRIu64 " running, %" PRIu64 " queued, %" PRIu64
            " restarting or recovering, "
            "%" PRIu64 " stopping; ended: %" PRIu64 " succeeded, %" PRIu64 " failed, %" PRIu64
            " cancelled, %" PRIu64 " timed out\n\n",
            jobs->running, jobs->queued, jobs->restarting + jobs->recovering, jobs->stopping,
            jobs->succeeded, jobs->failed, jobs->cancelled, jobs->timed_out);
    table_t *table = table_new ();
    table_header (table, "master");
    for (size_t i = 1; i < 5; i++) {
        static const char *const titles[] = {"", "role", "reachable", "applied", "api"};
        table_header (table, titles[i]);
    }
    for (size_t i = 0; i < status->masters.count; i++)
        table_record (table, &master_status_record, &status->masters.items[i]);
    table_print (table, stdout, 0);
    table_destroy (&table);
}

/*  A cluster without a majority can't confirm what a master knows; then what it knows is all there
    is, and this command is what people look at: it is shown, and the exit code, *ret_rc, says that
    it is not confirmed. */
static int ask (client_t *client, bool stale, client_answer_t *answer, int *ret_rc,
                nexus_error_t *error)
{
    static const char path[] = "/api/v1/cluster/status";
    client_set_stale (client, stale);
    int rc = client_ask (client, path, NULL, NULL, 0, answer, error);
    if (!rc || stale || client_problem (client)->status != 503)
        return rc;
    *ret_rc = command_fail (error);
    fprintf (stderr, "nexus: this is what one of them knew:\n");
    client_set_stale (client, true);
    return client_ask (client, path, NULL, NULL, 0, answer, error);
}

static int run_status (options_t *options)
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    int rc = 0;
    arena_t arena;
    cluster_status_t status;
    client_answer_t answer = {0};
    arena_init (&arena, 64 << 20, NULL, 0);
    if (options_source (options, "patience") == OPTION_DEFAULT)
        client_set_patience (client, 0); /* masters themselves wait for an election */
    if (options_flag (options, "raft"))
        rc = status_raft (client, options_flag (options, "json"));
    else if (ask (client, options_flag (options, "stale"), &answer, &rc, &error))
        rc = command_fail (&error);
    else if (options_flag (options, "json"))
        printf ("%.*s\n", (int)answer.body.size, (const char *)answer.body.data);
    else if (client_read (client, &answer, &cluster_status_record, &arena, &status, &error))
        rc = command_fail (&error);
    else
        print_status (&status);
    client_answer_free (&answer);
    arena_reset (&arena);
    client_destroy (&client);
    return rc;
}

const command_t command_status = {
    "status", "", "The cluster at a glance", NULL, status_options, 0, 0, run_status};
