/*  application - what the commands share */
#include "actors/ledger/application.h"

#include <assert.h>
#include <string.h>

enum { RUNS_MAX = 64 /* remembered per rank */ };

/*  ---- records ------------------------------------------------------------- */

bool application_get (application_t *self, ledger_table_t table, ledger_key_t key, void *value)
{
    if (self->fatal)
        return false;
    int found = ledger_get (self->txn, table, key, &self->scratch, value, self->error);
    self->fatal = found < 0;
    return found > 0;
}

bool application_has (application_t *self, ledger_table_t table, ledger_key_t key)
{
    slice_t value;
    return key.size > 0 && tables_get (self->txn, table, ledger_slice (&key), &value);
}

void application_put_bytes (application_t *self, ledger_table_t table, ledger_key_t key,
                            slice_t value)
{
    if (!self->fatal && tables_put (self->txn, table, ledger_slice (&key), value, self->error))
        self->fatal = true;
    *self->changed |= UINT64_C (1) << table;
}

void application_put (application_t *self, ledger_table_t table, ledger_key_t key,
                      const record_t *record, const void *value)
{
    buffer_t bytes = {0};
    record_encode (record, value, &bytes);
    application_put_bytes (self, table, key, (slice_t){bytes.data, bytes.size});
    buffer_free (&bytes);
}

void application_erase (application_t *self, ledger_table_t table, ledger_key_t key)
{
    if (!self->fatal)
        tables_delete (self->txn, table, ledger_slice (&key));
    *self->changed |= UINT64_C (1) << table;
}

uint64_t application_number (application_t *self, ledger_key_t key)
{
    slice_t found;
    uint64_t number = 0;
    if (tables_get (self->txn, LEDGER_META, ledger_slice (&key), &found) && found.size == 8)
        for (size_t i = 0; i < 8; i++)
            number = number << 8 | ((const uint8_t *)found.data)[i];
    return number;
}

void application_put_number (application_t *self, ledger_key_t key, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    application_put_bytes (self, LEDGER_META, key, (slice_t){bytes, sizeof (bytes)});
}

const char *application_clip (application_t *self, const char *text, size_t max)
{
    size_t size = strlen (text);
    if (size <= max)
        return text;
    /*  A byte 10xxxxxx goes on with a character (RFC 3629). */
    for (size = max; size && ((uint8_t)text[size] & 0xc0) == 0x80;)
        size--;
    return arena_strndup (&self->arena, text, size);
}

/*  ---- a job, its ranks, its aggregators ------------------------------------- */

bool application_load (application_t *self, const char *job_id, job_state_t *state)
{
    arena_reset (&self->scratch);
    *state = (job_state_t){.tasks = NULL};
    if (!application_get (self, LEDGER_JOBS, ledger_key_text (job_id), &state->job))
        return false;
    if (ledger_list_tasks (self->txn, job_id, &self->scratch, &state->tasks, &state->task_count,
                           self->error) ||
        ledger_list_shards (self->txn, job_id, &self->scratch, &state->shards, &state->shard_count,
                            self->error)) {
        self->fatal = true;
        return false;
    }
    return true;
}

int application_no_job (application_t *self, const char *job_id)
{
    if (self->fatal)
        return -1;
    return nexus_error_set (self->error, NEXUS_NOT_FOUND, "there is no job \"%s\"", job_id);
}

static void put_job (application_t *self, const job_t *job)
{
    ledger_key_t key = ledger_key_text (job->id);
    application_put (self, LEDGER_JOBS, key, &job_record, job);
    bool listed = application_has (self, LEDGER_ACTIVE, key);
    if (job_phase_ended ((job_phase_t)job->phase) && listed)
        application_erase (self, LEDGER_ACTIVE, key);
    else if (!job_phase_ended ((job_phase_t)job->phase) && !listed)
        application_put_bytes (self, LEDGER_ACTIVE, key, (slice_t){"", 0});
}

void application_put_task (application_t *self, const task_t *task)
{
    application_put (self, LEDGER_TASKS, ledger_key_number (task->job_id, task->rank), &task_record,
                     task);
}

void application_put_shard (application_t *self, const shard_t *shard)
{
    application_put (self, LEDGER_SHARDS, ledger_key_number (shard->job_id, shard->index),
                     &shard_record, shard);
}

void application_explain (application_t *self, job_t *job, const char *reason, const char *message)
{
    job->reason = reason;
    job->message = application_clip (self, message, 500);
}

bool task_holds (const task_t *task)
{
    return task->phase == TASK_ASSIGNED || task->phase == TASK_RUNNING;
}

void application_place_task (application_t *self, const job_t *job, task_t *task,
                             const worker_t *worker)
{
    if (task->runs.count)
        task->attempt++;
    task->worker = worker->key;
    task->phase = TASK_ASSIGNED;
    task->not_before_ms = 0;
    size_t keep = task->runs.count < RUNS_MAX ? task->runs.count : RUNS_MAX - 1;
    task_run_t *runs = arena_alloc (&self->scratch, (keep + 1) * sizeof (*runs));
    if (!runs)
        return;
    if (keep)
        memcpy (runs, task->runs.items + task->runs.count - keep, keep * sizeof (*runs));
    runs[keep] =
        (task_run_t){.attempt = task->attempt, .worker = worker->key, .worker_name = worker->name};
    task->runs.items = runs;
    task->runs.count = keep + 1;
    application_put (self, LEDGER_HELD,
                     ledger_key_held (&task->worker, task->job_id, false, task->rank),
                     &resources_record, &job->spec.resources);
}

void application_end_run (application_t *self, task_t *task, task_phase_t phase, const char *ending)
{
    assert (task_holds (task));
    application_erase (self, LEDGER_HELD,
                       ledger_key_held (&task->worker, task->job_id, false, task->rank));
    if (task->runs.count)
        task->runs.items[task->runs.count - 1].ending = application_clip (self, ending, 200);
    task->phase = (int)phase;
    task->key = (record_key_t){{0}};
    if (phase == TASK_WAITING)
        task->worker = (record_key_t){{0}};
}

void application_place_shard (application_t *self, shard_t *shard, const record_key_t *worker)
{
    shard->worker = *worker;
    shard->phase = SHARD_ASSIGNED;
    shard->generation++;
    application_put_bytes (self, LEDGER_HELD,
                           ledger_key_held (worker, shard->job_id, true, shard->index),
                           (slice_t){"", 0});
    application_put_shard (self, shard);
}

void application_free_shard (application_t *self, shard_t *shard)
{
    if (shard->phase == SHARD_WAITING)
        return;
    application_erase (self, LEDGER_HELD,
                       ledger_key_held (&shard->worker, shard->job_id, true, shard->index));
    shard->phase = SHARD_WAITING;
    shard->worker = (record_key_t){{0}};
    application_put_shard (self, shard);
}

/*  ---- a job's phase follows from its ranks ----------------------------------- */

void application_stop (application_t *self, job_state_t *state, job_phase_t ending,
                       const char *reason, const char *message)
{
    state->job.phase = JOB_STOPPING;
    state->job.ending = (int)ending;
    application_explain (self, &state->job, reason, message);
    for (size_t i = 0; i < state->task_count; i++)
        if (state->tasks[i].phase == TASK_WAITING) {
            state->tasks[i].phase = TASK_STOPPED;
            application_put_task (self, &state->tasks[i]);
        }
}

/*  Its ranks are all at rest: the job ends, its aggregators are given back. */
static void end_job (application_t *self, job_state_t *state, job_phase_t phase, int64_t time_ms)
{
    state->job.phase = (int)phase;
    state->job.ended_ms = time_ms;
    for (size_t i = 0; i < state->shard_count; i++)
        application_free_shard (self, &state->shards[i]);
}

void application_settle (application_t *self, job_state_t *state, int64_t time_ms)
{
    job_t *job = &state->job;
    size_t waiting = 0, held = 0, succeeded = 0, restarting = 0;
    for (size_t i = 0; i < state->task_count; i++) {
        const task_t *task = &state->tasks[i];
        waiting += task->phase == TASK_WAITING;
        held += task_holds (task);
        succeeded += task->phase == TASK_SUCCEEDED;
        restarting += task->phase == TASK_ASSIGNED && task->not_before_ms;
    }
    for (size_t i = 0; i < state->shard_count; i++)
        waiting += state->shards[i].phase == SHARD_WAITING;

    assert (!job_phase_ended ((job_phase_t)job->phase));
    if (job->phase == JOB_STOPPING) {
        if (!held)
            end_job (self, state, (job_phase_t)job->ending, time_ms);
    } else if (succeeded == state->task_count) {
        application_explain (self, job, "Finished", "all ranks have succeeded");
        end_job (self, state, JOB_SUCCEEDED, time_ms);
    } else if (waiting)
        job->phase = job->epoch ? JOB_RECOVERING : JOB_QUEUED;
    else if (restarting)
        job->phase = JOB_RESTARTING;
    else if (job->phase != JOB_RUNNING) {
        application_explain (self, job, "Placed", "every rank has a worker");
        job->phase = JOB_RUNNING;
    }
    put_job (self, job);
}
