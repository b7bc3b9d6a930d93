/*  apply_jobs - submitting, ending and placing jobs */
#include "actors/ledger/application.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int apply_submit_job (application_t *self, const void *body)
{
    const submit_job_t *command = body;
    record_faults_t faults = {.count = 0};
    if (job_spec_check (&command->spec, &self->arena, &faults))
        return nexus_error_set (self->error, NEXUS_INVALID, "%s",
                                record_faults_text (&faults, "job", &self->arena));
    uint64_t number = application_number (self, ledger_key_text ("jobs")) + 1;
    job_state_t state;
    record_init (&job_record, &state.job);
    state.job.spec = command->spec;
    state.job.id = arena_printf (&self->arena, "%s-%" PRIu64, command->spec.name, number);
    state.job.number = number;
    state.job.submitted_ms = command->time_ms;
    application_explain (self, &state.job, "Queued", "waits for the scheduler");
    uint64_t world = command->spec.gang.max ? command->spec.gang.max : command->spec.gang.min;
    state.task_count = (size_t)world;
    state.shard_count = (size_t)command->spec.aggregation.shards;
    state.tasks = arena_alloc (&self->scratch, state.task_count * sizeof (task_t));
    state.shards = arena_alloc (&self->scratch, (state.shard_count + 1) * sizeof (shard_t));
    if (!state.job.id || !state.tasks || !state.shards)
        return -1;
    for (size_t i = 0; i < state.task_count; i++) {
        record_init (&task_record, &state.tasks[i]);
        state.tasks[i].job_id = state.job.id;
        state.tasks[i].rank = i;
        application_put_task (self, &state.tasks[i]);
    }
    for (size_t i = 0; i < state.shard_count; i++) {
        record_init (&shard_record, &state.shards[i]);
        state.shards[i].job_id = state.job.id;
        state.shards[i].index = i;
        application_put_shard (self, &state.shards[i]);
    }
    application_put_number (self, ledger_key_text ("jobs"), number);
    snprintf (self->value, LEDGER_VALUE_MAX, "%s", state.job.id);
    application_settle (self, &state, command->time_ms);
    return 0;
}

int apply_end_job (application_t *self, const void *body)
{
    const end_job_t *command = body;
    job_state_t state;
    if (!application_load (self, command->job_id, &state))
        return application_no_job (self, command->job_id);
    if (command->ending != JOB_CANCELLED && command->ending != JOB_FAILED &&
        command->ending != JOB_TIMED_OUT)
        return nexus_error_set (self->error, NEXUS_INVALID, "a job can't be made to end as \"%s\"",
                                record_choice_name (&job_phase_choices, command->ending));
    if (job_phase_ended ((job_phase_t)state.job.phase))
        return nexus_error_set (self->error, NEXUS_CONFLICT, "job %s has ended already (%s)",
                                command->job_id,
                                record_choice_name (&job_phase_choices, state.job.phase));
    if (state.job.phase == JOB_STOPPING)
        return 0;
    application_stop (self, &state, (job_phase_t)command->ending, command->reason,
                      command->message);
    application_settle (self, &state, command->time_ms);
    return 0;
}

int apply_explain_job (application_t *self, const void *body)
{
    const explain_job_t *command = body;
    job_t job;
    if (!application_get (self, LEDGER_JOBS, ledger_key_text (command->job_id), &job))
        return application_no_job (self, command->job_id);
    if (job.phase != JOB_QUEUED && job.phase != JOB_RECOVERING)
        return 0;
    application_explain (self, &job, command->reason, command->message);
    application_put (self, LEDGER_JOBS, ledger_key_text (job.id), &job_record, &job);
    return 0;
}

/*  ---- placement ---------------------------------------------------------------- */

static int stale (application_t *self, const char *job_id, const char *why)
{
    return nexus_error_set (self->error, NEXUS_CONFLICT, "the plan for %s is out of date: %s",
                            job_id, why);
}

/*  Does every place name a rank (or a shard) that waits, and none twice? */
static int check_waiting (application_t *self, const job_state_t *state, const place_t *places,
                          size_t count, bool is_shard)
{
    size_t known = is_shard ? state->shard_count : state->task_count;
    bool *named = arena_alloc (&self->scratch, known + 1);
    for (size_t i = 0; named && i < count; i++) {
        uint64_t n = places[i].number;
        bool waits = n < known && (is_shard ? state->shards[n].phase == SHARD_WAITING
                                            : state->tasks[n].phase == TASK_WAITING);
        if (!waits || named[n])
            return stale (self, state->job.id,
                          is_shard ? "a shard of it does not wait for a worker"
                                   : "a rank of it does not wait for a worker");
        named[n] = true;
    }
    return 0;
}

/*  The first placement decides about the size: all aggregators, and the ranks from 0
    on without a gap, at least as many as must run together. */
static int check_gang (application_t *self, const job_state_t *state, const place_job_t *plan)
{
    if (!plan->tasks.count && !plan->shards.count)
        return stale (self, state->job.id, "it places nothing");
    if (state->job.epoch)
        return 0;
    for (size_t i = 0; i < plan->tasks.count; i++)
        if (plan->tasks.items[i].number >= plan->tasks.count)
            return stale (self, state->job.id, "its ranks have a gap");
    if (plan->tasks.count < state->job.spec.gang.min || plan->shards.count < state->shard_count)
        return stale (self, state->job.id, "it does not place the whole gang");
    return 0;
}

typedef struct {
    application_t *application;
    resources_t sum;
} claims_t;

static bool add_claim (void *context, slice_t key, slice_t value)
{
    claims_t *claims = context;
    resources_t claim;
    (void)key;
    if (!value.size) /* a shard */
        return true;
    if (record_decode (&resources_record, value.data, value.size, &claims->application->scratch,
                       &claim, claims->application->error)) {
        claims->application->fatal = true;
        return false;
    }
    claims->sum.cpu += claim.cpu;
    claims->sum.memory += claim.memory;
    claims->sum.gpus += claim.gpus;
    return true;
}

/*  Is there room for count times need beside used? Without overflow. */
static bool fits (uint64_t used, uint64_t need, uint64_t count, uint64_t capacity)
{
    return !need || (used <= capacity && need <= (capacity - used) / count);
}

/*  Would the worker hold count more ranks of the job? */
static int check_worker (application_t *self, const job_t *job, const record_key_t *key,
                         uint64_t count)
{
    worker_t worker;
    if (!application_get (self, LEDGER_WORKERS, ledger_key_node (key), &worker) ||
        worker.state != WORKER_ACTIVE)
        return self->fatal ? -1 : stale (self, job->id, "a worker of it is not active");
    claims_t claims = {.application = self};
    tables_each (self->txn, LEDGER_HELD, (slice_t){key->bytes, sizeof (key->bytes)},
                 (slice_t){NULL, 0}, add_claim, &claims);
    if (self->fatal)
        return -1;
    const resources_t *need = &job->spec.resources;
    if (claims.sum.cpu + need->cpu * (double)count > worker.resources.cpu + 1e-9 ||
        !fits (claims.sum.memory, need->memory, count, worker.resources.memory) ||
        !fits (claims.sum.gpus, need->gpus, count, worker.resources.gpus))
        return nexus_error_set (self->error, NEXUS_CONFLICT,
                                "worker %s has no room for %" PRIu64 " rank(s) of %s", worker.name,
                                count, job->id);
    return 0;
}

static int by_worker (const void *a, const void *b)
{
    return memcmp (&((const place_t *)a)->worker, &((const place_t *)b)->worker,
                   sizeof (record_key_t));
}

static int check_workers (application_t *self, const job_state_t *state, const place_job_t *plan)
{
    worker_t worker;
    size_t count = plan->tasks.count;
    place_t *places = arena_alloc (&self->scratch, (count + 1) * sizeof (*places));
    if (!places)
        return -1;
    if (count) {
        memcpy (places, plan->tasks.items, count * sizeof (*places));
        qsort (places, count, sizeof (*places), by_worker);
    }
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && !by_worker (&places[i], &places[end]);)
            end++;
        if (check_worker (self, &state->job, &places[i].worker, end - i))
            return -1;
    }
    for (size_t i = 0; i < plan->shards.count; i++) {
        ledger_key_t key = ledger_key_node (&plan->shards.items[i].worker);
        if (!application_get (self, LEDGER_WORKERS, key, &worker) ||
            worker.state != WORKER_ACTIVE || !*worker.lane)
            return self->fatal ? -1
                               : stale (self, state->job.id,
                                        "a worker of it hosts no aggregators (any more)");
    }
    return 0;
}

int apply_place_job (application_t *self, const void *body)
{
    const place_job_t *plan = body;
    job_state_t state;
    if (!application_load (self, plan->job_id, &state))
        return application_no_job (self, plan->job_id);
    job_t *job = &state.job;
    if (job->epoch != plan->epoch || job->phase == JOB_STOPPING ||
        job_phase_ended ((job_phase_t)job->phase))
        return stale (self, job->id, "the job has changed");
    if (check_waiting (self, &state, plan->tasks.items, plan->tasks.count, false) ||
        check_waiting (self, &state, plan->shards.items, plan->shards.count, true) ||
        check_gang (self, &state, plan) || check_workers (self, &state, plan))
        return -1;

    for (size_t i = 0; i < plan->tasks.count; i++) {
        const place_t *place = &plan->tasks.items[i];
        worker_t worker;
        if (!application_get (self, LEDGER_WORKERS, ledger_key_node (&place->worker), &worker))
            return -1;
        application_place_task (self, job, &state.tasks[place->number], &worker);
        application_put_task (self, &state.tasks[place->number]);
    }
    for (size_t i = 0; i < plan->shards.count; i++)
        application_place_shard (self, &state.shards[plan->shards.items[i].number],
                                 &plan->shards.items[i].worker);
    if (!job->epoch) {
        /*  An elastic gang has the size that found room. */
        for (size_t i = plan->tasks.count; i < state.task_count; i++)
            application_erase (self, LEDGER_TASKS, ledger_key_number (job->id, i));
        state.task_count = plan->tasks.count;
        job->started_ms = plan->time_ms;
    }
    job->epoch++;
    application_settle (self, &state, plan->time_ms);
    return 0;
}
