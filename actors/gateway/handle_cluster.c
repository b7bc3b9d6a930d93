/*  handle_cluster - the cluster at a glance, health, metrics, the description */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"
#include "actors/gateway/openapi.h"
#include "nexus_version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count_jobs (call_t *call, job_counts_t *counts, nexus_error_t *error)
{
    void *items;
    if (ledger_list (call->txn, LEDGER_JOBS, NULL, NULL, 0, &call->arena, &items, &counts->total,
                     error))
        return -1;
    const job_t *jobs = items;
    uint64_t *const by_phase[] = {
        [JOB_QUEUED] = &counts->queued,         [JOB_RUNNING] = &counts->running,
        [JOB_RESTARTING] = &counts->restarting, [JOB_RECOVERING] = &counts->recovering,
        [JOB_STOPPING] = &counts->stopping,     [JOB_SUCCEEDED] = &counts->succeeded,
        [JOB_FAILED] = &counts->failed,         [JOB_CANCELLED] = &counts->cancelled,
        [JOB_TIMED_OUT] = &counts->timed_out,
    };
    for (size_t i = 0; i < counts->total; i++)
        ++*by_phase[jobs[i].phase];
    return 0;
}

static int count_workers (call_t *call, worker_counts_t *counts, nexus_error_t *error)
{
    worker_t *workers;
    if (ledger_list_workers (call->txn, &call->arena, &workers, &counts->total, error))
        return -1;
    for (size_t i = 0; i < counts->total; i++)
        ++*(workers[i].state == WORKER_ACTIVE     ? &counts->active
            : workers[i].state == WORKER_DRAINING ? &counts->draining
                                                  : &counts->lost);
    for (size_t i = 0; call->view && i < call->view->workers.count; i++)
        counts->alive += call->view->workers.items[i].alive;
    return 0;
}

static master_status_t master_status (const call_t *call, const gateway_master_t *master)
{
    const gateway_t *gateway = call->gateway;
    bool here = memcmp (&master->master.key, context_node (call->ctx), sizeof (record_key_t)) == 0;
    bool leads =
        memcmp (&master->master.key, &gateway->leadership.leader, sizeof (record_key_t)) == 0;
    bool reachable = gateway_reachable (gateway, call->ctx, master);
    int standing = here ? gateway->leadership.standing : master->state.standing;
    return (master_status_t){
        .name = master->name,
        .role = leads                          ? MASTER_LEADER
                : !reachable                   ? MASTER_UNKNOWN
                : standing == STANDING_REFUSED ? MASTER_REFUSED
                                               : MASTER_FOLLOWER,
        .reachable = reachable,
        .applied = here ? ledger_number (call->txn, LEDGER_APPLIED) : master->state.applied,
        .endpoint = master->endpoint,
        .api = master->api,
        .key = master->master.key,
    };
}

static int by_name (const void *a, const void *b)
{
    return strcmp (((const master_status_t *)a)->name, ((const master_status_t *)b)->name);
}

void handle_cluster_status (call_t *call)
{
    const gateway_t *gateway = call->gateway;
    master_status_t masters[GATEWAY_MASTERS_MAX];
    cluster_status_t status = {.answered_by = gateway->args->name,
                               .version = NEXUS_VERSION,
                               .leader = gateway_leader (gateway),
                               .term = gateway->leadership.term,
                               .commit = gateway->leadership.commit,
                               .applied = ledger_number (call->txn, LEDGER_APPLIED),
                               .message = ""};
    char why[GATEWAY_TEXT_MAX];
    if (!*status.leader) {
        gateway_no_leader (gateway, call->ctx, why);
        status.message = why;
    }
    for (size_t i = 0; i < gateway->master_count; i++)
        masters[i] = master_status (call, &gateway->masters[i]);
    qsort (masters, gateway->master_count, sizeof (master_status_t), by_name);
    status.masters.items = masters;
    status.masters.count = gateway->master_count;
    nexus_error_t error;
    if (count_jobs (call, &status.jobs, &error) || count_workers (call, &status.workers, &error))
        call_fail_error (call, &error);
    else
        call_reply_record (call, &cluster_status_record, &status);
}

void handle_livez (call_t *call)
{
    call_reply_text (call, 200, "ok\n");
}

void handle_readyz (call_t *call)
{
    char why[GATEWAY_TEXT_MAX];
    const gateway_t *gateway = call->gateway;
    bool member = gateway->leadership.standing == STANDING_MEMBER;
    if (member && *gateway_leader (gateway)) {
        call_reply_text (call, 200, "ok\n");
        return;
    }
    gateway_no_leader (gateway, call->ctx, why);
    call_fail (call, NEXUS_UNAVAILABLE, "%s%s", member ? "no leader is known: " : "", why);
}

/*  What the ledger knows, as gauges; the rest of the registry is kept by its owners. */
static void set_gauges (call_t *call)
{
    metrics_t *metrics = context_metrics (call->ctx);
    job_counts_t jobs = {0};
    worker_counts_t workers = {0};
    if (count_jobs (call, &jobs, NULL) || count_workers (call, &workers, NULL))
        return;
    const struct {
        const char *labels;
        uint64_t value;
    } by_phase[] =
        {
            {"phase=\"queued\"", jobs.queued},         {"phase=\"running\"", jobs.running},
            {"phase=\"restarting\"", jobs.restarting}, {"phase=\"recovering\"", jobs.recovering},
            {"phase=\"stopping\"", jobs.stopping},     {"phase=\"succeeded\"", jobs.succeeded},
            {"phase=\"failed\"", jobs.failed},         {"phase=\"cancelled\"", jobs.cancelled},
            {"phase=\"timed_out\"", jobs.timed_out},
        },
      by_state[] = {
          {"state=\"active\"", workers.active},
          {"state=\"draining\"", workers.draining},
          {"state=\"lost\"", workers.lost},
      };
    for (size_t i = 0; i < sizeof (by_phase) / sizeof (by_phase[0]); i++)
        metric_set (metrics_gauge (metrics, "nexus_jobs", "Jobs in the ledger by phase.",
                                   by_phase[i].labels),
                    (double)by_phase[i].value);
    for (size_t i = 0; i < sizeof (by_state) / sizeof (by_state[0]); i++)
        metric_set (metrics_gauge (metrics, "nexus_workers", "Workers in the ledger by state.",
                                   by_state[i].labels),
                    (double)by_state[i].value);
}

void handle_metrics (call_t *call)
{
    bool openmetrics =
        strstr (call_header (call, "accept"), "application/openmetrics-text") != NULL;
    buffer_t text = {.limit = 64 << 20};
    set_gauges (call);
    metrics_render (context_metrics (call->ctx), openmetrics, &text);
    if (text.failed)
        call_fail (call, NEXUS_EXHAUSTED, "the metrics do not fit into memory");
    else
        call_reply (call, 200,
                    openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                : "text/plain; version=0.0.4; charset=utf-8",
                    text.data, text.size);
    buffer_free (&text);
}

void handle_openapi (call_t *call)
{
    json_t *document = openapi_document ();
    char *text = document ? json_dumps (document, JSON_INDENT (1)) : NULL;
    if (text)
        call_reply (call, 200, "application/json", text, strlen (text));
    else
        call_fail (call, NEXUS_EXHAUSTED, "the description does not fit into memory");
    free (text);
    json_decref (document);
}
