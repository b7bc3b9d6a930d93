/*  apply_reports - what workers report of their tasks, aggregators and metrics */
#include "actors/ledger/application.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    METRIC_POINTS_MAX = 2000, /* per job and name; the lowest steps go first */
    METRIC_SERIES_MAX = 256   /* names per job; more are dropped */
};

/*  ---- tasks and aggregators ------------------------------------------------------ */

/*  The application failed: another attempt in place while that is forgiven, otherwise
    the end of the job. */
static void fail_task (application_t *self, job_state_t *state, task_t *task, int64_t time_ms)
{
    const restart_policy_t *policy = &state->job.spec.restart;
    task->failures++;
    const char *message = arena_printf (
        &self->arena, "rank %" PRIu64 ": %s; %" PRIu64 " failure(s) of it, %" PRIu64 " forgiven",
        task->rank, *task->reason ? task->reason : "failed", task->failures, policy->attempts);
    record_key_t key = task->worker;
    bool forgiven = task->failures <= policy->attempts;
    application_end_run (self, task, forgiven ? TASK_WAITING : TASK_FAILED, task->reason);
    worker_t worker;
    if (!forgiven) {
        application_stop (self, state, JOB_FAILED, "TaskFailed", message);
        return;
    }
    if (application_get (self, LEDGER_WORKERS, ledger_key_node (&key), &worker))
        application_place_task (self, &state->job, task, &worker);
    task->not_before_ms = time_ms + job_backoff_ms (policy, task->failures);
    state->job.epoch++;
    application_explain (self, &state->job, "TaskFailed", message);
}

/*  Returns true if the state was news. */
static bool take_task (application_t *self, const update_tasks_t *command, job_state_t *state,
                       const task_state_t *report)
{
    task_t *task = &state->tasks[report->rank];
    bool stopping = state->job.phase == JOB_STOPPING;
    /*  Reports of an earlier attempt, or from a worker that lost the rank, are void. */
    if (memcmp (&task->worker, &command->worker, sizeof (task->worker)) ||
        task->attempt != report->attempt || !task_holds (task) || report->phase < TASK_RUNNING)
        return false;
    task->reason = report->reason;
    task->exit_code = report->exit_code;
    if (report->phase != TASK_RUNNING) {
        task->bytes_pushed += report->bytes_pushed;
        task->bytes_pulled += report->bytes_pulled;
    }
    if (report->phase == TASK_RUNNING) {
        task->phase = TASK_RUNNING;
        task->key = report->key;
    } else if (stopping)
        application_end_run (self, task, TASK_STOPPED, "stopped");
    else if (report->phase == TASK_SUCCEEDED)
        application_end_run (self, task, TASK_SUCCEEDED, "succeeded");
    else if (report->phase == TASK_FAILED)
        fail_task (self, state, task, command->time_ms);
    else {
        /*  Its worker gave it up, and not because of the job: it goes elsewhere. */
        application_end_run (self, task, TASK_WAITING, "stopped by its worker");
        state->job.epoch++;
        application_explain (self, &state->job, "TaskStopped",
                             arena_printf (&self->arena,
                                           "rank %" PRIu64 " was stopped by its "
                                           "worker",
                                           task->rank));
    }
    application_put_task (self, task);
    return true;
}

static bool take_shard (application_t *self, const update_tasks_t *command, job_state_t *state,
                        const shard_state_t *report)
{
    shard_t *shard = &state->shards[report->index];
    if (memcmp (&shard->worker, &command->worker, sizeof (shard->worker)) ||
        shard->generation != report->generation || shard->phase == SHARD_WAITING ||
        report->ready == (shard->phase == SHARD_READY))
        return false;
    if (report->ready) {
        shard->phase = SHARD_READY;
        application_put_shard (self, shard);
        return true;
    }
    /*  One that served and does not any more has lost what it held: it is placed anew. */
    application_free_shard (self, shard);
    state->job.epoch++;
    if (state->job.phase != JOB_STOPPING)
        application_explain (self, &state->job, "AggregatorFailed", "an aggregator has failed");
    return true;
}

/*  Loads that job unless it is the one in hand; the former is settled first. */
static bool turn_to (application_t *self, const update_tasks_t *command, job_state_t *state,
                     bool *changed, const char *job_id)
{
    if (!state->job.id || strcmp (state->job.id, job_id)) {
        if (*changed)
            application_settle (self, state, command->time_ms);
        *changed = false;
        if (!application_load (self, job_id, state))
            state->job.id = NULL;
    }
    return state->job.id && !job_phase_ended ((job_phase_t)state->job.phase);
}

int apply_update_tasks (application_t *self, const void *body)
{
    const update_tasks_t *command = body;
    job_state_t state = {.tasks = NULL};
    bool changed = false;
    for (size_t i = 0; i < command->tasks.count; i++) {
        const task_state_t *report = &command->tasks.items[i];
        if (turn_to (self, command, &state, &changed, report->job_id) &&
            report->rank < state.task_count)
            changed |= take_task (self, command, &state, report);
    }
    for (size_t i = 0; i < command->shards.count; i++) {
        const shard_state_t *report = &command->shards.items[i];
        if (turn_to (self, command, &state, &changed, report->job_id) &&
            report->index < state.shard_count)
            changed |= take_shard (self, command, &state, report);
    }
    if (changed)
        application_settle (self, &state, command->time_ms);
    return 0;
}

/*  ---- metrics ---------------------------------------------------------------------- */

static ledger_key_t counter_key (const char *what, const char *job_id, const char *name)
{
    char text[200];
    snprintf (text, sizeof (text), "%s/%s/%s", what, job_id, name);
    return ledger_key_text (text);
}

static bool name_is_good (const char *name)
{
    size_t size = strspn (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return size && !name[size];
}

static bool take_first (void *context, slice_t key, slice_t value)
{
    ledger_key_t *first = context;
    (void)value;
    memcpy (first->bytes, key.data, key.size);
    first->size = key.size;
    return false;
}

static void drop_first (application_t *self, ledger_key_t key)
{
    ledger_key_t first = {.size = 0};
    slice_t prefix = {key.bytes, key.size - 8}; /* without the step */
    if (tables_each (self->txn, LEDGER_METRICS, prefix, (slice_t){NULL, 0}, take_first, &first))
        application_erase (self, LEDGER_METRICS, first);
}

static void add_point (application_t *self, const char *job_id, const metric_point_t *point)
{
    ledger_key_t key = ledger_key_metric (job_id, point->name, point->step);
    ledger_key_t series_key = counter_key ("series", job_id, "");
    ledger_key_t points_key = counter_key ("points", job_id, point->name);
    if (!application_has (self, LEDGER_METRICS, key)) {
        uint64_t points = application_number (self, points_key);
        uint64_t series = application_number (self, series_key);
        if (!points && series == METRIC_SERIES_MAX)
            return;
        if (!points)
            application_put_number (self, series_key, series + 1);
        if (points == METRIC_POINTS_MAX)
            drop_first (self, key);
        else
            application_put_number (self, points_key, points + 1);
    }
    application_put (self, LEDGER_METRICS, key, &metric_point_record, point);
}

int apply_add_metrics (application_t *self, const void *body)
{
    const add_metrics_t *command = body;
    for (size_t i = 0; i < command->points.count; i++) {
        const metric_report_t *report = &command->points.items[i];
        if (name_is_good (report->point.name) &&
            application_has (self, LEDGER_JOBS, ledger_key_text (report->job_id)))
            add_point (self, report->job_id, &report->point);
    }
    return 0;
}
