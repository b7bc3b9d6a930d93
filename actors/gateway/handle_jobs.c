/*  handle_jobs - submit, list, show, stop; output and metrics */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  Finds the job that the path names; false: the call is answered. */
static bool find_job (call_t *call, job_t *job)
{
    nexus_error_t error;
    const char *id = call->arguments.items[0];
    int found = ledger_get_job (call->txn, id, &call->arena, job, &error);
    if (found < 0)
        call_fail_error (call, &error);
    if (found == 0)
        call_fail (call, NEXUS_NOT_FOUND, "there is no job \"%.63s\"; GET /api/v1/jobs lists them",
                   id);
    return found > 0;
}

/*  ---- submit ------------------------------------------------------------------ */

static void submitted (call_t *call, const message_t *reply)
{
    (void)reply;
    char location[128];
    job_t job = {0};
    snprintf (location, sizeof (location), "/api/v1/jobs/%s", call->value);
    call_add_header (call, "Location", location);
    /*  Where this master's ledger lags, the answer says what is certain. */
    if (ledger_get_job (call->txn, call->value, &call->arena, &job, NULL) <= 0)
        job = (job_t){
            .id = call->value, .spec = *(const job_spec_t *)call->body, .phase = JOB_QUEUED};
    call_reply_record (call, &job_record, &job);
}

void handle_job_submit (call_t *call)
{
    const job_spec_t *spec = call->body;
    if (job_spec_check (spec, &call->arena, &call->faults)) {
        if (call_body_is_yaml (call))
            record_faults_lines (&call->faults, (const char *)call->request->body.data,
                                 call->request->body.size);
        call_problem (call, 400, "invalid", "the job has %zu fault%s: %s: %s", call->faults.count,
                      call->faults.count == 1 ? "" : "s", call->faults.items[0].path,
                      call->faults.items[0].message);
        return;
    }
    submit_job_t command = {.spec = *spec, .time_ms = context_wall_ms (call->ctx)};
    call_propose (call, &submit_job_record, &command, submitted);
}

/*  ---- list ---------------------------------------------------------------------- */

/*  The phases named in "queued,running" as bits; 0 with the call answered. Empty: all. */
static unsigned phases_of (call_t *call, const char *text)
{
    unsigned bits = 0;
    while (*text) {
        size_t size = strcspn (text, ",");
        const char *name = arena_printf (&call->arena, "%.*s", (int)size, text);
        int phase = name ? record_choice_value (&job_phase_choices, name) : -1;
        if (phase < 0) {
            call_fail (call, NEXUS_INVALID,
                       "phase: there is no \"%.40s\"; expected queued, running, restarting, "
                       "recovering, stopping, succeeded, failed, cancelled or timed_out",
                       name ? name : "");
            return 0;
        }
        bits |= 1u << phase;
        text += size + (text[size] == ',');
    }
    return bits ? bits : ~0u;
}

static int by_number (const void *a, const void *b)
{
    uint64_t x = ((const job_t *)a)->number, y = ((const job_t *)b)->number;
    return (x > y) - (x < y);
}

static int by_number_reverse (const void *a, const void *b)
{
    return by_number (b, a);
}

void handle_job_list (call_t *call)
{
    const job_list_query_t *query = call->query;
    unsigned phases = phases_of (call, query->phase ? query->phase : "");
    const char *cursor = query->cursor ? query->cursor : "";
    uint64_t after = strtoull (cursor, NULL, 10);
    nexus_error_t error;
    void *items;
    size_t count, kept = 0;
    if (!phases)
        return;
    if (cursor[strspn (cursor, "0123456789")]) {
        call_fail (call, NEXUS_INVALID,
                   "cursor: this is none; pass the \"next\" of the page before");
        return;
    }
    if (ledger_list (call->txn, LEDGER_JOBS, NULL, NULL, 0, &call->arena, &items, &count, &error)) {
        call_fail_error (call, &error);
        return;
    }
    job_t *jobs = items;
    if (count)
        qsort (jobs, count, sizeof (*jobs), query->reverse ? by_number_reverse : by_number);
    char next[24] = "";
    for (size_t i = 0; i < count; i++) {
        bool behind =
            !*cursor || (query->reverse ? jobs[i].number < after : jobs[i].number > after);
        if (!behind || !(phases & 1u << jobs[i].phase))
            continue;
        if (kept == query->limit) {
            snprintf (next, sizeof (next), "%" PRIu64, jobs[kept - 1].number);
            break;
        }
        jobs[kept++] = jobs[i];
    }
    job_list_t list = {.jobs = {jobs, kept}, .next = next};
    call_reply_record (call, &job_list_record, &list);
}

/*  ---- show ---------------------------------------------------------------------- */

static bool is_alive (const cluster_view_t *view, const record_key_t *key)
{
    for (size_t i = 0; view && i < view->workers.count; i++)
        if (memcmp (&view->workers.items[i].key, key, sizeof (*key)) == 0)
            return view->workers.items[i].alive;
    return false;
}

/*  Adds the worker unless it is among the references; false: the disk lied. */
static bool add_worker_ref (call_t *call, job_detail_t *detail, const record_key_t *key,
                            nexus_error_t *error)
{
    worker_t worker;
    if (record_key_is_zero (key))
        return true;
    for (size_t i = 0; i < detail->workers.count; i++)
        if (memcmp (&detail->workers.items[i].key, key, sizeof (*key)) == 0)
            return true;
    int found =
        ledger_get (call->txn, LEDGER_WORKERS, ledger_key_node (key), &call->arena, &worker, error);
    if (found > 0)
        detail->workers.items[detail->workers.count++] = (worker_ref_t){
            *key, worker.name, worker.site, worker.state, is_alive (call->view, key)};
    return found >= 0;
}

static int read_detail (call_t *call, job_detail_t *detail, nexus_error_t *error)
{
    if (ledger_list_tasks (call->txn, detail->job.id, &call->arena, &detail->tasks.items,
                           &detail->tasks.count, error) ||
        ledger_list_shards (call->txn, detail->job.id, &call->arena, &detail->shards.items,
                            &detail->shards.count, error))
        return -1;
    size_t most = detail->tasks.count + detail->shards.count;
    detail->workers.items = arena_alloc (&call->arena, most * sizeof (worker_ref_t));
    if (most && !detail->workers.items)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the job is too large for memory");
    for (size_t i = 0; i < detail->tasks.count; i++)
        if (!add_worker_ref (call, detail, &detail->tasks.items[i].worker, error))
            return -1;
    for (size_t i = 0; i < detail->shards.count; i++)
        if (!add_worker_ref (call, detail, &detail->shards.items[i].worker, error))
            return -1;
    return 0;
}

/*  Runs that have ended count in the ledger, those that go on in what workers say. */
static void sum_traffic (job_detail_t *detail)
{
    for (size_t t = 0; t < detail->tasks.count; t++) {
        const task_t *task = &detail->tasks.items[t];
        bool goes_on = task->phase == TASK_RUNNING;
        detail->bytes_pushed += task->bytes_pushed;
        detail->bytes_pulled += task->bytes_pulled;
        for (size_t i = 0; goes_on && i < detail->traffic.count; i++) {
            const task_traffic_t *traffic = &detail->traffic.items[i];
            if (traffic->rank == task->rank && traffic->attempt == task->attempt) {
                detail->bytes_pushed += traffic->bytes_pushed;
                detail->bytes_pulled += traffic->bytes_pulled;
            }
        }
    }
}

void handle_job_get (call_t *call)
{
    job_detail_t detail = {0};
    nexus_error_t error;
    if (!find_job (call, &detail.job))
        return;
    if (read_detail (call, &detail, &error)) {
        call_fail_error (call, &error);
        return;
    }
    if (call->view) {
        detail.traffic.items = call->view->traffic.items;
        detail.traffic.count = call->view->traffic.count;
    }
    sum_traffic (&detail);
    call_reply_record (call, &job_detail_record, &detail);
}

/*  ---- stop ------------------------------------------------------------------------ */

static void stopped (call_t *call, const message_t *reply)
{
    (void)reply;
    job_t job;
    if (find_job (call, &job))
        call_reply_record (call, &job_record, &job);
}

void handle_job_stop (call_t *call)
{
    job_t job;
    if (!find_job (call, &job))
        return;
    if (job_phase_ended ((job_phase_t)job.phase)) {
        call_reply_record (call, &job_record, &job);
        return;
    }
    char message[200];
    snprintf (message, sizeof (message), "stopped by %s",
              call->request->user && *call->request->user ? call->request->user : "a client");
    end_job_t command = {.job_id = job.id,
                         .ending = JOB_CANCELLED,
                         .reason = "Stopped",
                         .message = message,
                         .time_ms = context_wall_ms (call->ctx)};
    call_propose (call, &end_job_record, &command, stopped);
}

/*  ---- logs ------------------------------------------------------------------------- */

static void log_answered (call_t *call, const message_t *reply)
{
    const log_chunk_t *chunk = message_body (reply, log_chunk);
    const failure_t *failure = message_body (reply, failure);
    if (failure && (failure->code == NEXUS_UNAVAILABLE || failure->code == NEXUS_DEADLINE)) {
        call_fail (
            call, NEXUS_UNAVAILABLE,
            "the worker that has this output is out of reach: ask again when it is back (%s)",
            failure->text);
        return;
    }
    if (!chunk) {
        call_fail (call, failure ? (nexus_code_t)failure->code : NEXUS_UNAVAILABLE, "%s",
                   failure ? failure->text : "the worker gave no answer that can be read");
        return;
    }
    char offset[24], next[24];
    snprintf (offset, sizeof (offset), "%" PRIu64, chunk->offset);
    snprintf (next, sizeof (next), "%" PRIu64, chunk->offset + chunk->data.size);
    call_add_header (call, "X-Nexus-Offset", offset);
    call_add_header (call, "X-Nexus-Next-Offset", next);
    call_add_header (call, "X-Nexus-End", chunk->end ? "true" : "false");
    call_reply (call, 200, "text/plain; charset=utf-8", chunk->data.data, chunk->data.size);
}

/*  Which worker has the output of that run? False: the call is answered. */
static bool find_run (call_t *call, const task_t *task, uint64_t *attempt, record_key_t *worker)
{
    const log_query_t *query = call->query;
    size_t runs = task->runs.count;
    *worker = task->worker;
    *attempt = query->attempt < 0 ? task->attempt : (uint64_t)query->attempt;
    if (query->attempt < 0 && record_key_is_zero (worker) && runs) {
        *attempt = task->runs.items[runs - 1].attempt; /* between two runs: the last one */
        *worker = task->runs.items[runs - 1].worker;
    }
    for (size_t i = 0; i < runs; i++)
        if (task->runs.items[i].attempt == *attempt) {
            *worker = task->runs.items[i].worker;
            return true;
        }
    if (*attempt == task->attempt && !record_key_is_zero (worker))
        return true;
    if (query->attempt < 0)
        call_fail (call, NEXUS_NOT_FOUND, "rank %" PRIu64 " has not run yet: %s", task->rank,
                   task->reason && *task->reason ? task->reason : "it waits for a place");
    else
        call_fail (call, NEXUS_NOT_FOUND,
                   "rank %" PRIu64 " has no run %" PRIi64 "; its newest is %" PRIu64, task->rank,
                   query->attempt, task->attempt);
    return false;
}

void handle_job_logs (call_t *call)
{
    const log_query_t *query = call->query;
    job_t job;
    task_t task;
    log_read_t read = {
        .rank = query->rank, .offset = query->offset, .max = query->max, .wait_ms = query->wait_ms};
    record_key_t worker;
    nexus_error_t error;
    if (!find_job (call, &job))
        return;
    int found = ledger_get (call->txn, LEDGER_TASKS, ledger_key_number (job.id, query->rank),
                            &call->arena, &task, &error);
    if (found < 0) {
        call_fail_error (call, &error);
    } else if (found == 0) {
        call_fail (call, NEXUS_NOT_FOUND, "job %s has no rank %" PRIu64, job.id, query->rank);
    } else if (find_run (call, &task, &read.attempt, &worker)) {
        read.job_id = job.id;
        address_t to = address_remote (&worker, "logs", 0);
        call_ask (call, &to, &log_read_record, &read, (int64_t)query->wait_ms + 5000, log_answered);
    }
}

/*  ---- metrics ----------------------------------------------------------------------- */

typedef struct {
    call_t *call;
    const metric_query_t *query;
    metric_point_t *items;
    size_t count, room;
    size_t begin; /* where the points of the metric in hand begin */
    bool failed;
} points_t;

/*  Keeps the newest points of the metric in hand. */
static void cut_points (points_t *self)
{
    size_t have = self->count - self->begin;
    if (have <= self->query->limit)
        return;
    metric_point_t *to = self->items + self->begin;
    memmove (to, to + (have - self->query->limit), self->query->limit * sizeof (*to));
    self->count = self->begin + self->query->limit;
}

static bool collect_point (void *context, slice_t key, slice_t value)
{
    (void)key;
    points_t *self = context;
    if (self->count == self->room) {
        size_t room = self->room ? self->room * 2 : 256;
        metric_point_t *items = arena_alloc (&self->call->arena, room * sizeof (*items));
        self->failed = !items;
        if (!items)
            return false;
        if (self->count)
            memcpy (items, self->items, self->count * sizeof (*items));
        self->items = items;
        self->room = room;
    }
    metric_point_t *point = &self->items[self->count];
    if (record_decode (&metric_point_record, value.data, value.size, &self->call->arena, point,
                       NULL)) {
        self->failed = true;
        return false;
    }
    if (point->step < self->query->from_step)
        return true;
    if (self->count > self->begin && strcmp (self->items[self->begin].name, point->name) != 0) {
        metric_point_t first = *point;
        cut_points (self);
        self->items[self->count] = first;
        self->begin = self->count;
    }
    self->count++;
    return true;
}

void handle_job_metrics (call_t *call)
{
    const metric_query_t *query = call->query;
    points_t points = {.call = call, .query = query};
    job_t job;
    if (!find_job (call, &job))
        return;
    ledger_key_t prefix = ledger_key_job (job.id);
    if (query->name && *query->name) {
        prefix = ledger_key_metric (job.id, query->name, 0);
        prefix.size -= 8;
    }
    tables_each (call->txn, LEDGER_METRICS, ledger_slice (&prefix), (slice_t){NULL, 0},
                 collect_point, &points);
    cut_points (&points);
    if (points.failed) {
        call_fail (call, NEXUS_EXHAUSTED,
                   "the metrics of job %s can't be read or do not fit into "
                   "memory; ask for fewer with name, from_step or limit",
                   job.id);
        return;
    }
    metric_list_t list = {.job_id = job.id, .points = {points.items, points.count}};
    call_reply_record (call, &metric_list_record, &list);
}
