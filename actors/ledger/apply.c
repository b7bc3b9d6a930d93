/*  apply - what each command does to the ledger's tables

    Every function here first checks, then writes: a refusal leaves no trace.
    Failures of the tables themselves are fatal and stick in the application.
*/
#include "actors/ledger/apply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    RUNS_MAX = 64,                  /* runs remembered per task */
    METRIC_POINTS_MAX = 2000,       /* per job and name; the oldest go first */
    APPLY_MEMORY_MAX = 64 << 20,    /* one command's working memory */
    BACKOFF_MAX_MS = 60000
};

/*  One application of one command. */
typedef struct {
    tables_txn_t *txn;
    arena_t arena;
    uint64_t *changed;
    char *value;
    bool fatal;
    nexus_error_t *error;
} application_t;

/*  ---- reading and writing -------------------------------------------------- */

/*  1: found, 0: not there; a failure of the tables sticks and reads as not there. */
static int get (application_t *self, ledger_table_t table, ledger_key_t key, void *value)
{
    int found = self->fatal ? 0
                            : ledger_get (self->txn, table, key, &self->arena, value, self->error);
    if (found < 0)
        self->fatal = true;
    return found > 0;
}

static void put_raw (application_t *self, ledger_table_t table, ledger_key_t key, slice_t value)
{
    if (!self->fatal && tables_put (self->txn, table, ledger_slice (&key), value, self->error))
        self->fatal = true;
    *self->changed |= UINT64_C (1) << table;
}

static void put (application_t *self, ledger_table_t table, ledger_key_t key,
                 const record_t *record, const void *value)
{
    buffer_t bytes = { 0 };
    record_encode (record, value, &bytes);
    put_raw (self, table, key, (slice_t){ bytes.data, bytes.size });
    buffer_free (&bytes);
}

static void put_number (application_t *self, const char *name, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t) (number >> (56 - 8 * i));
    put_raw (self, LEDGER_META, ledger_key_text (name), (slice_t){ bytes, sizeof (bytes) });
}

static void put_job (application_t *self, const job_t *job)
{
    put (self, LEDGER_JOBS, ledger_key_text (job->id), &job_record, job);
}

static void put_task (application_t *self, const task_t *task)
{
    put (self, LEDGER_TASKS, ledger_key_number (task->job_id, task->rank), &task_record, task);
}

static void put_shard (application_t *self, const shard_t *shard)
{
    put (self, LEDGER_SHARDS, ledger_key_number (shard->job_id, shard->index), &shard_record,
         shard);
}

static void erase (application_t *self, ledger_table_t table, ledger_key_t key)
{
    tables_delete (self->txn, table, ledger_slice (&key));
    *self->changed |= UINT64_C (1) << table;
}

/*  A job with its ranks and aggregators, as they are now. */
typedef struct {
    job_t job;
    task_t *tasks;
    size_t task_count;
    shard_t *shards;
    size_t shard_count;
} gang_state_t;

static bool load (application_t *self, const char *job_id, gang_state_t *gang)
{
    if (!get (self, LEDGER_JOBS, ledger_key_text (job_id ? job_id : ""), &gang->job))
        return false;
    if (ledger_list_tasks (self->txn, job_id, &self->arena, &gang->tasks, &gang->task_count,
                           self->error) ||
        ledger_list_shards (self->txn, job_id, &self->arena, &gang->shards, &gang->shard_count,
                            self->error)) {
        self->fatal = true;
        return false;
    }
    return true;
}

static int no_such_job (application_t *self, const char *job_id)
{
    return self->fatal ? -1
                       : nexus_error_set (self->error, NEXUS_NOT_FOUND, "there is no job \"%s\"",
                                          job_id ? job_id : "");
}

/*  ---- a job's phase follows from its ranks ----------------------------------- */

static void explain (application_t *self, job_t *job, const char *reason, const char *message)
{
    job->reason = reason;
    job->message = arena_strdup (&self->arena, message);
}

static void end_run (application_t *self, task_t *task, const char *ending)
{
    if (task->runs.count)
        task->runs.items[task->runs.count - 1].ending = arena_strdup (&self->arena, ending);
    task->key = (record_key_t){ { 0 } };
}

/*  Its ranks are all at rest: the job ends, its aggregators are given back. */
static void end_job_now (application_t *self, gang_state_t *gang, job_phase_t phase,
                         int64_t time_ms)
{
    gang->job.phase = phase;
    gang->job.ended_ms = time_ms;
    for (size_t i = 0; i < gang->shard_count; i++) {
        gang->shards[i].phase = SHARD_WAITING;
        gang->shards[i].worker = (record_key_t){ { 0 } };
        put_shard (self, &gang->shards[i]);
    }
}

/*  Recomputes the phase after its ranks or aggregators have changed, writes the job. */
static void settle (application_t *self, gang_state_t *gang, int64_t time_ms)
{
    job_t *job = &gang->job;
    size_t waiting = 0, active = 0, succeeded = 0, restarting = 0;
    for (size_t i = 0; i < gang->task_count; i++) {
        const task_t *task = &gang->tasks[i];
        waiting += task->phase == TASK_WAITING;
        active += task->phase == TASK_ASSIGNED || task->phase == TASK_RUNNING;
        succeeded += task->phase == TASK_SUCCEEDED;
        restarting += task->phase == TASK_ASSIGNED && task->failures;
    }
    for (size_t i = 0; i < gang->shard_count; i++)
        waiting += gang->shards[i].phase == SHARD_WAITING;

    if (job_phase_ended (job->phase))
        ;
    else if (job->phase == JOB_STOPPING) {
        if (!active)
            end_job_now (self, gang, (job_phase_t) job->ending, time_ms);
    } else if (succeeded == gang->task_count) {
        explain (self, job, "Finished", "all ranks have succeeded");
        end_job_now (self, gang, JOB_SUCCEEDED, time_ms);
    } else if (waiting)
        job->phase = job->epoch ? JOB_RECOVERING : JOB_QUEUED;
    else if (restarting)
        job->phase = JOB_RESTARTING;
    else {
        if (job->phase != JOB_RUNNING)
            explain (self, job, "Placed", "every rank has a worker");
        job->phase = JOB_RUNNING;
    }
    put_job (self, job);
}

/*  Asks all its ranks to stop; those without a worker are stopped at once. */
static void stop_gang (application_t *self, gang_state_t *gang, job_phase_t ending,
                       const char *reason, const char *message, int64_t time_ms)
{
    gang->job.phase = JOB_STOPPING;
    gang->job.ending = (int) ending;
    explain (self, &gang->job, reason, message);
    for (size_t i = 0; i < gang->task_count; i++)
        if (gang->tasks[i].phase == TASK_WAITING) {
            gang->tasks[i].phase = TASK_STOPPED;
            put_task (self, &gang->tasks[i]);
        }
    settle (self, gang, time_ms);
}

/*  ---- jobs ------------------------------------------------------------------- */

static int apply_submit_job (application_t *self, const void *body)
{
    const submit_job_t *command = body;
    record_faults_t faults = { .count = 0 };
    if (job_spec_check (&command->spec, &self->arena, &faults))
        return nexus_error_set (self->error, NEXUS_INVALID, "%s",
                                record_faults_text (&faults, "job", &self->arena));
    bool named = command->idempotency_key && *command->idempotency_key;
    slice_t known;
    if (named && tables_get (self->txn, LEDGER_IDEMPOTENCY, SLICE (command->idempotency_key),
                             &known)) {
        snprintf (self->value, 200, "%.*s", (int) known.size, (const char *) known.data);
        return 0;
    }
    uint64_t number = ledger_number (self->txn, "jobs") + 1;
    job_t job;
    record_init (&job_record, &job);
    job.spec = command->spec;
    job.id = arena_printf (&self->arena, "%s-%" PRIu64, command->spec.name, number);
    job.phase = JOB_QUEUED;
    job.reason = "Queued";
    job.message = "waits for the scheduler";
    job.number = number;
    job.submitted_ms = command->time_ms;
    put_number (self, "jobs", number);
    put_job (self, &job);
    uint64_t world = job.spec.gang.max ? job.spec.gang.max : job.spec.gang.min;
    for (uint64_t rank = 0; rank < world; rank++) {
        task_t task;
        record_init (&task_record, &task);
        task.job_id = job.id;
        task.rank = rank;
        put_task (self, &task);
    }
    for (uint64_t index = 0; index < job.spec.aggregation.shards; index++) {
        shard_t shard;
        record_init (&shard_record, &shard);
        shard.job_id = job.id;
        shard.index = index;
        put_shard (self, &shard);
    }
    if (named)
        put_raw (self, LEDGER_IDEMPOTENCY, ledger_key_text (command->idempotency_key),
                 SLICE (job.id));
    snprintf (self->value, 200, "%s", job.id);
    return 0;
}

static int apply_end_job (application_t *self, const void *body)
{
    const end_job_t *command = body;
    gang_state_t gang = { .tasks = NULL };
    if (!load (self, command->job_id, &gang))
        return no_such_job (self, command->job_id);
    if (job_phase_ended (gang.job.phase))
        return nexus_error_set (self->error, NEXUS_CONFLICT, "job %s has ended already (%s)",
                                command->job_id,
                                record_choice_name (&job_phase_choices, gang.job.phase));
    if (gang.job.phase == JOB_STOPPING)
        return 0;
    if (!job_phase_ended ((job_phase_t) command->ending))
        return nexus_error_set (self->error, NEXUS_INVALID, "a job can't end as \"%s\"",
                                record_choice_name (&job_phase_choices, command->ending));
    stop_gang (self, &gang, (job_phase_t) command->ending, command->reason, command->message,
               command->time_ms);
    return 0;
}

static int apply_explain_job (application_t *self, const void *body)
{
    const explain_job_t *command = body;
    job_t job;
    if (!get (self, LEDGER_JOBS, ledger_key_text (command->job_id), &job))
        return no_such_job (self, command->job_id);
    if (job.phase != JOB_QUEUED && job.phase != JOB_RECOVERING)
        return 0;
    job.reason = command->reason;
    job.message = command->message;
    put_job (self, &job);
    return 0;
}

/*  ---- placement ---------------------------------------------------------------- */

/*  What the ranks of all jobs claim on one worker. */
static resources_t claimed (application_t *self, const record_key_t *worker)
{
    resources_t sum = { 0 };
    job_t *jobs;
    size_t count;
    if (ledger_list (self->txn, LEDGER_JOBS, NULL, NULL, 0, &self->arena, (void **) &jobs, &count,
                     self->error)) {
        self->fatal = true;
        return sum;
    }
    for (size_t i = 0; i < count; i++) {
        task_t *tasks;
        size_t task_count;
        if (job_phase_ended (jobs[i].phase))
            continue;
        if (ledger_list_tasks (self->txn, jobs[i].id, &self->arena, &tasks, &task_count,
                               self->error)) {
            self->fatal = true;
            return sum;
        }
        for (size_t t = 0; t < task_count; t++)
            if ((tasks[t].phase == TASK_ASSIGNED || tasks[t].phase == TASK_RUNNING) &&
                !memcmp (&tasks[t].worker, worker, sizeof (*worker))) {
                sum.cpu += jobs[i].spec.resources.cpu;
                sum.memory += jobs[i].spec.resources.memory;
                sum.gpus += jobs[i].spec.resources.gpus;
            }
    }
    return sum;
}

/*  Would that worker hold all the ranks that this plan puts on it? */
static int check_room (application_t *self, const job_t *job, const place_job_t *plan,
                       const worker_t *worker)
{
    resources_t sum = claimed (self, &worker->key);
    uint64_t ranks = 0;
    for (size_t i = 0; i < plan->tasks.count; i++)
        ranks += !memcmp (&plan->tasks.items[i].worker, &worker->key, sizeof (worker->key));
    const resources_t *need = &job->spec.resources;
    if (sum.cpu + need->cpu * (double) ranks > worker->resources.cpu + 1e-9 ||
        (need->memory && sum.memory + need->memory * ranks > worker->resources.memory) ||
        (need->gpus && sum.gpus + need->gpus * ranks > worker->resources.gpus))
        return nexus_error_set (self->error, NEXUS_CONFLICT,
                                "worker %s has no room for %" PRIu64 " rank(s) of %s", worker->name,
                                ranks, job->id);
    return 0;
}

static int check_place (application_t *self, const gang_state_t *gang, const place_job_t *plan,
                        const place_t *place, bool is_shard, worker_t *worker)
{
    size_t count = is_shard ? gang->shard_count : gang->task_count;
    bool waits = place->number < count &&
                 (is_shard ? gang->shards[place->number].phase == SHARD_WAITING
                           : gang->tasks[place->number].phase == TASK_WAITING);
    if (!waits)
        return nexus_error_set (self->error, NEXUS_CONFLICT, "%s %" PRIu64 " of %s does not wait",
                                is_shard ? "shard" : "rank", place->number, gang->job.id);
    if (!get (self, LEDGER_WORKERS, ledger_key_node (&place->worker), worker) ||
        worker->state != WORKER_ACTIVE)
        return self->fatal ? -1
                           : nexus_error_set (self->error, NEXUS_CONFLICT,
                                              "a worker of the plan is not active any more");
    if (is_shard && !(worker->lane && *worker->lane))
        return nexus_error_set (self->error, NEXUS_CONFLICT, "worker %s has no data lane",
                                worker->name);
    return is_shard ? 0 : check_room (self, &gang->job, plan, worker);
}

static void place_task (application_t *self, task_t *task, const worker_t *worker)
{
    if (task->runs.count || task->attempt)
        task->attempt++;
    task->worker = worker->key;
    task->phase = TASK_ASSIGNED;
    size_t keep = task->runs.count < RUNS_MAX ? task->runs.count : RUNS_MAX - 1;
    task_run_t *runs = arena_alloc (&self->arena, (keep + 1) * sizeof (*runs));
    if (!runs)
        return;
    if (keep)
        memcpy (runs, task->runs.items + task->runs.count - keep, keep * sizeof (*runs));
    runs[keep] = (task_run_t){ .attempt = task->attempt, .worker = worker->key,
                               .worker_name = worker->name };
    task->runs.items = runs;
    task->runs.count = keep + 1;
}

static int apply_place_job (application_t *self, const void *body)
{
    const place_job_t *plan = body;
    gang_state_t gang = { .tasks = NULL };
    worker_t worker;
    if (!load (self, plan->job_id, &gang))
        return no_such_job (self, plan->job_id);
    if (gang.job.epoch != plan->epoch || gang.job.phase == JOB_STOPPING ||
        job_phase_ended (gang.job.phase))
        return nexus_error_set (self->error, NEXUS_CONFLICT, "the plan for %s is out of date",
                                plan->job_id);
    if (!gang.job.epoch && plan->tasks.count < gang.job.spec.gang.min)
        return nexus_error_set (self->error, NEXUS_CONFLICT,
                                "the plan for %s has %zu ranks, its gang needs %" PRIu64,
                                plan->job_id, plan->tasks.count, gang.job.spec.gang.min);
    for (size_t i = 0; i < plan->tasks.count; i++)
        if (check_place (self, &gang, plan, &plan->tasks.items[i], false, &worker))
            return -1;
    for (size_t i = 0; i < plan->shards.count; i++)
        if (check_place (self, &gang, plan, &plan->shards.items[i], true, &worker))
            return -1;

    for (size_t i = 0; i < plan->tasks.count; i++) {
        const place_t *place = &plan->tasks.items[i];
        get (self, LEDGER_WORKERS, ledger_key_node (&place->worker), &worker);
        if (gang.tasks[place->number].phase == TASK_WAITING) /* a plan may name a rank twice */
            place_task (self, &gang.tasks[place->number], &worker);
        put_task (self, &gang.tasks[place->number]);
    }
    for (size_t i = 0; i < plan->shards.count; i++) {
        shard_t *shard = &gang.shards[plan->shards.items[i].number];
        shard->worker = plan->shards.items[i].worker;
        shard->phase = SHARD_ASSIGNED;
        shard->generation++;
        put_shard (self, shard);
    }
    if (!gang.job.epoch) {
        /*  An elastic gang starts with the ranks that found room; ranks are dense. */
        size_t world = 0;
        while (world < gang.task_count && gang.tasks[world].phase != TASK_WAITING)
            world++;
        for (size_t i = world; i < gang.task_count; i++)
            erase (self, LEDGER_TASKS, ledger_key_number (gang.job.id, i));
        gang.task_count = world;
        gang.job.started_ms = plan->time_ms;
    }
    gang.job.epoch++;
    settle (self, &gang, plan->time_ms);
    return 0;
}

/*  ---- what workers report ------------------------------------------------------ */

/*  The application failed: another attempt in place while some are forgiven,
    otherwise the end of the job. Returns true if the job must end. */
static bool fail_task (application_t *self, gang_state_t *gang, task_t *task, int64_t time_ms)
{
    const restart_policy_t *policy = &gang->job.spec.restart;
    task->failures++;
    end_run (self, task, task->reason);
    if (task->failures > policy->attempts) {
        task->phase = TASK_FAILED;
        return true;
    }
    uint64_t doublings = task->failures - 1 < 16 ? task->failures - 1 : 16;
    int64_t delay = (int64_t) (policy->delay_ms << doublings);
    worker_t worker = { .name = "" };
    get (self, LEDGER_WORKERS, ledger_key_node (&task->worker), &worker);
    worker.key = task->worker;
    place_task (self, task, &worker);
    task->not_before_ms = time_ms + (delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS);
    gang->job.epoch++;
    return false;
}

static void apply_task_state (application_t *self, const update_tasks_t *command,
                              const task_state_t *state)
{
    gang_state_t gang = { .tasks = NULL };
    if (!load (self, state->job_id, &gang) || state->rank >= gang.task_count ||
        job_phase_ended (gang.job.phase))
        return;
    task_t *task = &gang.tasks[state->rank];
    /*  Reports of an earlier attempt, or from a worker that lost the rank, are void. */
    if (memcmp (&task->worker, &command->worker, sizeof (task->worker)) ||
        task->attempt != state->attempt ||
        (task->phase != TASK_ASSIGNED && task->phase != TASK_RUNNING))
        return;
    bool stopping = gang.job.phase == JOB_STOPPING, end = false;
    task->reason = state->reason;
    task->exit_code = state->exit_code;
    if (state->phase != TASK_RUNNING) {
        task->bytes_pushed += state->bytes_pushed;
        task->bytes_pulled += state->bytes_pulled;
    }
    switch (state->phase) {
    case TASK_RUNNING:
        task->phase = TASK_RUNNING;
        task->key = state->key;
        break;
    case TASK_SUCCEEDED:
        task->phase = stopping ? TASK_STOPPED : TASK_SUCCEEDED;
        end_run (self, task, stopping ? "stopped" : "succeeded");
        break;
    case TASK_FAILED:
        if (stopping) {
            task->phase = TASK_STOPPED;
            end_run (self, task, "stopped");
        } else
            end = fail_task (self, &gang, task, command->time_ms);
        break;
    case TASK_STOPPED:
        if (!stopping)
            return;
        task->phase = TASK_STOPPED;
        end_run (self, task, "stopped");
        break;
    default:
        return;
    }
    put_task (self, task);
    if (end)
        stop_gang (self, &gang, JOB_FAILED, "TaskFailed",
                   arena_printf (&self->arena, "rank %" PRIu64 ": %s; %" PRIu64
                                 " failure(s) of it, %" PRIu64 " forgiven",
                                 task->rank, task->reason ? task->reason : "failed",
                                 task->failures, gang.job.spec.restart.attempts),
                   command->time_ms);
    else
        settle (self, &gang, command->time_ms);
}

static void apply_shard_state (application_t *self, const update_tasks_t *command,
                               const shard_state_t *state)
{
    gang_state_t gang = { .tasks = NULL };
    if (!load (self, state->job_id, &gang) || state->index >= gang.shard_count ||
        job_phase_ended (gang.job.phase))
        return;
    shard_t *shard = &gang.shards[state->index];
    if (memcmp (&shard->worker, &command->worker, sizeof (shard->worker)) ||
        shard->generation != state->generation || shard->phase == SHARD_WAITING)
        return;
    /*  One that served and does not any more has lost what it held: it is placed anew. */
    bool lost = shard->phase == SHARD_READY && !state->ready;
    shard->phase = lost ? SHARD_WAITING : state->ready ? SHARD_READY : SHARD_ASSIGNED;
    if (lost) {
        shard->worker = (record_key_t){ { 0 } };
        gang.job.epoch++;
        explain (self, &gang.job, "AggregatorFailed", "an aggregator has failed");
    }
    put_shard (self, shard);
    settle (self, &gang, command->time_ms);
}

static int apply_update_tasks (application_t *self, const void *body)
{
    const update_tasks_t *command = body;
    for (size_t i = 0; i < command->tasks.count; i++)
        apply_task_state (self, command, &command->tasks.items[i]);
    for (size_t i = 0; i < command->shards.count; i++)
        apply_shard_state (self, command, &command->shards.items[i]);
    return 0;
}

typedef struct {
    size_t count;
    ledger_key_t first;
} series_t;

static bool count_series (void *context, slice_t key, slice_t value)
{
    series_t *series = context;
    (void) value;
    if (!series->count++ && key.size <= sizeof (series->first.bytes)) {
        memcpy (series->first.bytes, key.data, key.size);
        series->first.size = key.size;
    }
    return true;
}

static int apply_add_metrics (application_t *self, const void *body)
{
    const add_metrics_t *command = body;
    for (size_t i = 0; i < command->points.count; i++) {
        const metric_report_t *report = &command->points.items[i];
        if (!report->job_id || !report->point.name)
            continue;
        ledger_key_t key = ledger_key_metric (report->job_id, report->point.name, report->point.step);
        ledger_key_t prefix = key;
        prefix.size -= 8;
        series_t series = { .count = 0 };
        tables_each (self->txn, LEDGER_METRICS, ledger_slice (&prefix), (slice_t){ NULL, 0 },
                     count_series, &series);
        if (series.count >= METRIC_POINTS_MAX)
            erase (self, LEDGER_METRICS, series.first);
        put (self, LEDGER_METRICS, key, &metric_point_record, &report->point);
    }
    return 0;
}

/*  ---- nodes ---------------------------------------------------------------------- */

/*  A worker takes no part any more (lost, draining, removed): what it had waits for another place. */
static void displace (application_t *self, const record_key_t *worker, const char *why,
                      int64_t time_ms)
{
    job_t *jobs;
    size_t count;
    if (ledger_list (self->txn, LEDGER_JOBS, NULL, NULL, 0, &self->arena, (void **) &jobs, &count,
                     self->error)) {
        self->fatal = true;
        return;
    }
    for (size_t i = 0; i < count && !self->fatal; i++) {
        gang_state_t gang = { .tasks = NULL };
        bool moved = false;
        if (job_phase_ended (jobs[i].phase) || !load (self, jobs[i].id, &gang))
            continue;
        for (size_t t = 0; t < gang.task_count; t++) {
            task_t *task = &gang.tasks[t];
            if ((task->phase != TASK_ASSIGNED && task->phase != TASK_RUNNING) ||
                memcmp (&task->worker, worker, sizeof (*worker)))
                continue;
            end_run (self, task, why);
            task->phase = gang.job.phase == JOB_STOPPING ? TASK_STOPPED : TASK_WAITING;
            task->worker = (record_key_t){ { 0 } };
            task->reason = why;
            put_task (self, task);
            moved = true;
        }
        for (size_t s = 0; s < gang.shard_count; s++) {
            shard_t *shard = &gang.shards[s];
            if (shard->phase == SHARD_WAITING || memcmp (&shard->worker, worker, sizeof (*worker)))
                continue;
            shard->phase = SHARD_WAITING;
            shard->worker = (record_key_t){ { 0 } };
            put_shard (self, shard);
            moved = true;
        }
        if (!moved)
            continue;
        gang.job.epoch++;
        if (gang.job.phase != JOB_STOPPING)
            explain (self, &gang.job, "WorkerGone", why);
        settle (self, &gang, time_ms);
    }
}

static int apply_add_worker (application_t *self, const void *body)
{
    const add_worker_t *command = body;
    const worker_t *worker = &command->worker;
    worker_t other;
    slice_t holder;
    if (tables_get (self->txn, LEDGER_NAMES, SLICE (worker->name), &holder) &&
        (holder.size != 32 || memcmp (holder.data, worker->key.bytes, 32)))
        return nexus_error_set (self->error, NEXUS_EXISTS,
                                "there is a worker \"%s\" with another key: choose another name, "
                                "or remove it first", worker->name);
    if (get (self, LEDGER_WORKERS, ledger_key_node (&worker->key), &other)) {
        if (strcmp (other.name, worker->name))
            return nexus_error_set (self->error, NEXUS_EXISTS,
                                    "this key belongs to worker \"%s\" already", other.name);
        return 0; /* it asks again: its first answer was lost */
    }
    token_t token;
    if (!get (self, LEDGER_TOKENS, ledger_key_node (&command->token), &token))
        return self->fatal ? -1 : nexus_error_set (self->error, NEXUS_DENIED,
                                                   "the join token is not known: ask for another "
                                                   "one");
    if (!token.uses)
        return nexus_error_set (self->error, NEXUS_DENIED,
                                "the join token is used up: ask for another one");
    if (token.not_after_ms < worker->enrolled_ms)
        return nexus_error_set (self->error, NEXUS_DENIED,
                                "the join token has expired; ask for another one");
    if (token.site && *token.site && strcmp (token.site, worker->site ? worker->site : ""))
        return nexus_error_set (self->error, NEXUS_DENIED, "the join token is for site \"%s\"",
                                token.site);
    /*  A token that is used up stays until it expires: its bearer is still connected
        with it, waiting for our answer, and the next one gets a reason. */
    token.uses--;
    put (self, LEDGER_TOKENS, ledger_key_node (&token.key), &token_record, &token);
    put (self, LEDGER_WORKERS, ledger_key_node (&worker->key), &worker_record, worker);
    put_raw (self, LEDGER_NAMES, ledger_key_text (worker->name),
             (slice_t){ worker->key.bytes, 32 });
    return 0;
}

static int apply_set_worker (application_t *self, const void *body)
{
    const set_worker_t *command = body;
    worker_t worker;
    if (!get (self, LEDGER_WORKERS, ledger_key_node (&command->worker.key), &worker))
        return self->fatal ? -1
                           : nexus_error_set (self->error, NEXUS_NOT_FOUND, "there is no such worker");
    worker_t next = command->worker;
    next.name = worker.name; /* name, site and certificate stay as they were enrolled */
    next.site = worker.site;
    next.certificate = worker.certificate;
    next.enrolled_ms = worker.enrolled_ms;
    put (self, LEDGER_WORKERS, ledger_key_node (&next.key), &worker_record, &next);
    bool restarted = worker.session && worker.session != next.session;
    if (restarted || (worker.state == WORKER_ACTIVE && next.state != WORKER_ACTIVE)) {
        const char *why = next.reason && *next.reason
                              ? next.reason
                              : record_choice_name (&worker_state_choices, next.state);
        displace (self, &next.key,
                  arena_printf (&self->arena, "worker %s: %s", next.name,
                                restarted ? "restarted" : why),
                  command->time_ms);
    }
    return 0;
}

static int apply_remove_worker (application_t *self, const void *body)
{
    const remove_worker_t *command = body;
    worker_t worker;
    if (!get (self, LEDGER_WORKERS, ledger_key_node (&command->key), &worker))
        return self->fatal ? -1
                           : nexus_error_set (self->error, NEXUS_NOT_FOUND, "there is no such worker");
    displace (self, &worker.key, "worker removed", 0);
    erase (self, LEDGER_WORKERS, ledger_key_node (&worker.key));
    erase (self, LEDGER_NAMES, ledger_key_text (worker.name));
    return 0;
}

static int apply_set_master (application_t *self, const void *body)
{
    const set_master_t *command = body;
    put (self, LEDGER_MASTERS, ledger_key_node (&command->master.key), &master_record,
         &command->master);
    return 0;
}

static int apply_add_token (application_t *self, const void *body)
{
    const add_token_t *command = body;
    if (!command->token.uses || record_key_is_zero (&command->token.key))
        return nexus_error_set (self->error, NEXUS_INVALID,
                                "a join token needs a key and at least one use");
    put (self, LEDGER_TOKENS, ledger_key_node (&command->token.key), &token_record, &command->token);
    return 0;
}

/*  ---- the table of commands -------------------------------------------------------- */

static const struct {
    const record_t *record;
    int (*apply) (application_t *, const void *);
} commands[] = {
    { &submit_job_record, apply_submit_job },     { &end_job_record, apply_end_job },
    { &place_job_record, apply_place_job },       { &explain_job_record, apply_explain_job },
    { &update_tasks_record, apply_update_tasks }, { &add_metrics_record, apply_add_metrics },
    { &add_worker_record, apply_add_worker },     { &set_worker_record, apply_set_worker },
    { &remove_worker_record, apply_remove_worker }, { &set_master_record, apply_set_master },
    { &add_token_record, apply_add_token },
};

int ledger_apply (tables_txn_t *txn, slice_t command, char *value, uint64_t *changed,
                  bool *ret_fatal, nexus_error_t *error)
{
    const uint8_t *bytes = command.data;
    value[0] = 0;
    *ret_fatal = false;
    if (command.size < 2)
        return nexus_error_set (error, NEXUS_INVALID, "a command without a kind");
    unsigned id = (unsigned) bytes[0] << 8 | bytes[1];
    for (size_t i = 0; i < sizeof (commands) / sizeof (commands[0]); i++) {
        if (commands[i].record->id != id)
            continue;
        application_t self = { .txn = txn, .changed = changed, .value = value, .error = error };
        arena_init (&self.arena, APPLY_MEMORY_MAX, NULL, 0);
        int rc = -1;
        void *body = arena_alloc (&self.arena, commands[i].record->size);
        if (body && !record_decode (commands[i].record, bytes + 2, command.size - 2, &self.arena,
                                    body, error))
            rc = commands[i].apply (&self, body);
        if (self.arena.failed && !rc) {
            /*  Deterministic: the limit is the same on all masters. */
            rc = nexus_error_set (error, NEXUS_EXHAUSTED, "the command needs too much memory");
            self.fatal = true;
        }
        *ret_fatal = self.fatal;
        arena_reset (&self.arena);
        return self.fatal ? -1 : rc;
    }
    return nexus_error_set (error, NEXUS_INVALID, "command %u is not known to this version", id);
}
