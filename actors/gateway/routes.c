/*  routes - the table of the HTTP API */
#include "actors/gateway/routes.h"

#include "actors/gateway/handlers.h"
#include "actors/protocol/api.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
const route_t routes[] = {
    { "GET", "/api/v1/cluster/status", "getClusterStatus", "cluster",
      "The cluster at a glance: leader, masters, workers, jobs", handle_cluster_status,
      .response = &cluster_status_record, .flags = ROUTE_VIEW },
    { "GET", "/api/v1/raft", "getRaft", "cluster",
      "Consensus, as all masters see it; those that answer within a second", handle_raft,
      .response = &raft_overview_record, .flags = ROUTE_ASKS },
    { "POST", "/api/v1/jobs", "submitJob", "jobs",
      "Submit a job; a repeated Idempotency-Key yields the same job", handle_job_submit,
      .request = &job_spec_record, .response = &job_record, .status = 201, .flags = ROUTE_ASKS,
      .headers = { "Location", "Path of the new job." } },
    { "GET", "/api/v1/jobs", "listJobs", "jobs", "Jobs, a page at a time", handle_job_list,
      .query = &job_list_query_record, .response = &job_list_record },
    { "GET", "/api/v1/jobs/{job_id}", "getJob", "jobs", "A job, its ranks and its aggregators",
      handle_job_get, .response = &job_detail_record, .flags = ROUTE_VIEW },
    { "POST", "/api/v1/jobs/{job_id}/stop", "stopJob", "jobs",
      "Stop a job: its ranks are asked, then killed", handle_job_stop,
      .response = &job_record, .status = 202 },
    { "GET", "/api/v1/jobs/{job_id}/logs", "readJobLogs", "jobs",
      "What a rank has written to stdout and stderr, by byte offset", handle_job_logs,
      .query = &log_query_record, .media_type = "text/plain; charset=utf-8",
      .headers = { "X-Nexus-Next-Offset", "Where to go on.", "X-Nexus-End", "true: the run has ended and this was all." } },
    { "GET", "/api/v1/jobs/{job_id}/metrics", "readJobMetrics", "jobs",
      "Values that the job has reported", handle_job_metrics,
      .query = &metric_query_record, .response = &metric_list_record },
    { "GET", "/api/v1/workers", "listWorkers", "workers", "All workers", handle_worker_list,
      .response = &worker_list_record, .flags = ROUTE_VIEW },
    { "GET", "/api/v1/workers/{worker_id}", "getWorker", "workers", "A worker, by its name",
      handle_worker_get, .response = &worker_status_record, .flags = ROUTE_VIEW },
    { "POST", "/api/v1/workers/{worker_id}/drain", "drainWorker", "workers",
      "Take a worker out of service: its work moves to others", handle_worker_drain,
      .request = &drain_request_record, .response = &worker_record, .status = 202 },
    { "POST", "/api/v1/workers/{worker_id}/undrain", "undrainWorker", "workers",
      "Take a worker back into service", handle_worker_undrain,
      .response = &worker_record, .status = 202 },
    { "POST", "/api/v1/workers/{worker_id}/remove", "removeWorker", "workers",
      "Revoke a worker's key for good: its work moves to others, its name is free", handle_worker_remove,
      .response = &worker_record },
    { "GET", "/api/v1/masters", "listMasters", "masters",
      "All masters: who votes, who leads, who lags", handle_master_list,
      .response = &master_info_list_record },
    { "POST", "/api/v1/masters", "addMaster", "masters",
      "Let a new master in, as a learner: it gets everything and decides nothing", handle_master_add,
      .request = &master_request_record, .response = &master_record, .status = 201 },
    { "POST", "/api/v1/masters/{name}/promote", "promoteMaster", "masters",
      "Make a learner a voter; 409 while it lags, with how far", handle_master_promote,
      .response = &master_record },
    { "POST", "/api/v1/masters/{name}/remove", "removeMaster", "masters",
      "Take a master out of the cluster: its key is revoked; a leader hands over first", handle_master_remove,
      .response = &master_record },
    { "POST", "/api/v1/masters/transfer", "transferLeadership", "masters",
      "Let another master lead", handle_master_transfer,
      .request = &transfer_request_record, .response = &transfer_result_record },
    { "POST", "/api/v1/tokens", "addToken", "workers", "Let nodes join with a token", handle_token_add,
      .request = &token_request_record, .response = &token_record, .status = 201, .flags = ROUTE_ASKS },
    { "GET", "/api/v1/kv", "listEntries", "kv", "Entries of the key-value store, by key", handle_kv_list,
      .query = &kv_query_record, .response = &kv_list_record, .flags = ROUTE_ASKS },
    { "GET", "/api/v1/kv/{key...}", "getEntry", "kv", "A value", handle_kv_get,
      .media_type = "application/octet-stream", .flags = ROUTE_ASKS,
      .headers = { "ETag", "Its version, in quotation marks." } },
    { "PUT", "/api/v1/kv/{key...}", "putEntry", "kv",
      "Write a value; with If-Match only if the entry has that version, 0: if there is none (409)", handle_kv_put,
      .response = &kv_written_record, .flags = ROUTE_ASKS | ROUTE_BYTES },
    { "DELETE", "/api/v1/kv/{key...}", "deleteEntry", "kv",
      "Delete an entry; with If-Match only if it has that version (409)", handle_kv_delete,
      .response = &kv_written_record, .flags = ROUTE_ASKS },
    { "POST", "/api/v1/backups", "createBackup", "backups",
      "A copy of the whole ledger, with all that was done before", handle_backup_create,
      .query = &backup_create_query_record, .response = &backup_record, .status = 201,
      .flags = ROUTE_ASKS },
    { "GET", "/api/v1/backups/{backup_id}", "readBackup", "backups",
      "A part of a copy: up to 64 KiB; nothing behind its end", handle_backup_read,
      .query = &backup_query_record, .media_type = "application/octet-stream",
      .flags = ROUTE_ASKS | ROUTE_ADMIN },
    { "GET", "/livez", "livez", "health", "This master answers", handle_livez,
      .media_type = "text/plain; charset=utf-8", .flags = ROUTE_OPEN },
    { "GET", "/readyz", "readyz", "health", "This master knows a leader; 503 while it does not", handle_readyz,
      .media_type = "text/plain; charset=utf-8", .flags = ROUTE_OPEN },
    { "GET", "/healthz", "healthz", "health", "The same as readyz", handle_readyz,
      .media_type = "text/plain; charset=utf-8", .flags = ROUTE_OPEN },
    { "GET", "/metrics", "readMetrics", "health", "This master's metrics, in Prometheus' text format", handle_metrics,
      .media_type = "text/plain; version=0.0.4; charset=utf-8", .flags = ROUTE_LOCAL },
    { "GET", "/openapi.json", "readDescription", "health", "This description", handle_openapi,
      .media_type = "application/json", .flags = ROUTE_LOCAL },
};
/* clang-format on */
const size_t routes_count = sizeof (routes) / sizeof (routes[0]);

bool route_reads (const route_t *route)
{
    return strcmp (route->method, "GET") == 0 && !(route->flags & (ROUTE_OPEN | ROUTE_LOCAL));
}

bool route_match (const char *path_template, const char *path, route_arguments_t *arguments)
{
    size_t count = 0;
    while (*path_template && *path) {
        if (*path_template != '{') {
            if (*path_template++ != *path++)
                return false;
            continue;
        }
        size_t name = strcspn (path_template, "}");
        bool rest = name > 3 && strncmp (path_template + name - 3, "...", 3) == 0;
        size_t size = rest ? strlen (path) : strcspn (path, "/");
        if (!size || size >= ROUTE_ARGUMENT_SIZE || count == ROUTE_ARGUMENTS_MAX)
            return false;
        if (arguments)
            snprintf (arguments->items[count], ROUTE_ARGUMENT_SIZE, "%.*s", (int)size, path);
        count++;
        path += size;
        path_template += name + 1;
    }
    return !*path_template && !*path;
}

const route_t *routes_find (const char *method, const char *path, route_arguments_t *arguments,
                            char ret_allow[64])
{
    char allow[64] = "";
    if (strcmp (method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < routes_count; i++) {
        if (!route_match (routes[i].path, path, arguments))
            continue;
        if (strcmp (routes[i].method, method) == 0)
            return &routes[i];
        size_t used = strlen (allow);
        snprintf (allow + used, sizeof (allow) - used, "%s%s", used ? ", " : "", routes[i].method);
    }
    if (ret_allow)
        memcpy (ret_allow, allow, sizeof (allow));
    return NULL;
}
