/*  client - who wants something of the cluster, and looks whether it keeps its word */
#include "actors/simulation/simulation_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASKED_MAX = 16, SHARDS = 2, MEMORY_MAX = 64 << 20 };

typedef struct {
    simulated_master_t *master;
    struct {
        uint64_t correlation;
        size_t want;
    } asked[ASKED_MAX];
    size_t asked_count;
} client_t;

/*  ---- asking ----------------------------------------------------------------------- */

/*  The token that all workers join with. */
static const record_key_t token_key = {{7, 7, 7}};

static uint64_t add_token (context_t *ctx)
{
    add_token_t command = {.token = {.key = token_key, .uses = 1000000, .not_after_ms = INT64_MAX}};
    return command_propose (ctx, &add_token_record, &command);
}

static uint64_t add_worker (simulation_t *simulation, context_t *ctx, unsigned number)
{
    add_worker_t command = {.token = token_key};
    record_init (&worker_record, &command.worker);
    command.worker.key = *simulator_key (simulation->sim, simulation->options.masters + number);
    command.worker.name = simulation->workers[number].name;
    command.worker.state = WORKER_LOST;
    command.worker.reason = "joined, not heard of yet";
    return command_propose (ctx, &add_worker_record, &command);
}

static uint64_t submit_job (simulation_t *simulation, context_t *ctx, unsigned number)
{
    const simulation_job_t *job = &simulation->jobs[number];
    const char *command_line[] = {"true"};
    submit_job_t command = {.time_ms = context_wall_ms (ctx)};
    record_init (&job_spec_record, &command.spec);
    command.spec.name = "job";
    command.spec.command = (record_strings_t){command_line, 1};
    command.spec.gang.min = job->ranks;
    command.spec.restart.attempts = 1000;
    command.spec.restart.delay_ms = 100;
    command.spec.stop.grace_ms = 300;
    command.spec.aggregation.shards = number % 2 ? SHARDS : 0;
    /* Whichever client asks for it, and however often: it is one request. */
    const once_t once = {.client = 1 + number};
    return command_propose_once (ctx, &submit_job_record, &command, &once);
}

static uint64_t cancel_job (simulation_t *simulation, context_t *ctx, unsigned number)
{
    end_job_t command = {.job_id = simulation->jobs[number].id,
                         .ending = JOB_CANCELLED,
                         .reason = "Cancelled",
                         .message = "the client wanted it so",
                         .time_ms = context_wall_ms (ctx)};
    return command_propose (ctx, &end_job_record, &command);
}

static bool possible (const simulation_t *simulation, const simulation_want_t *want)
{
    if (simulator_now (simulation->sim) < want->since)
        return false;
    switch (want->kind) {
    case WANT_WORKER:
        return simulation->wants[0].done; /* the token */
    case WANT_CANCEL:
        return simulation->jobs[want->number].id[0] != 0;
    default:
        return true;
    }
}

static uint64_t ask (simulation_t *simulation, context_t *ctx, const simulation_want_t *want)
{
    switch (want->kind) {
    case WANT_TOKEN:
        return add_token (ctx);
    case WANT_WORKER:
        return add_worker (simulation, ctx, want->number);
    case WANT_JOB:
        return submit_job (simulation, ctx, want->number);
    default:
        return cancel_job (simulation, ctx, want->number);
    }
}

/*  Asks for something that is not done yet, whoever else may be asking for it too. */
static void ask_for_something (client_t *self, context_t *ctx)
{
    simulation_t *simulation = self->master->simulation;
    if (self->asked_count == ASKED_MAX)
        return;
    size_t first = (size_t)(context_random (ctx) % simulation->want_count);
    for (size_t i = 0; i < simulation->want_count; i++) {
        size_t number = (first + i) % simulation->want_count;
        const simulation_want_t *want = &simulation->wants[number];
        if (want->done || !possible (simulation, want))
            continue;
        self->asked[self->asked_count].want = number;
        self->asked[self->asked_count++].correlation = ask (simulation, ctx, want);
        return;
    }
}

/*  ---- answers ------------------------------------------------------------------------ */

static void acknowledged (simulation_t *simulation, simulation_want_t *want,
                          const proposed_t *proposed)
{
    want->done = true;
    if (want->kind != WANT_JOB)
        return;
    simulation_job_t *job = &simulation->jobs[want->number];
    if (job->id[0] && strcmp (job->id, proposed->value) != 0)
        simulation_broken (simulation, "job %u was submitted twice: %s and %s", want->number,
                           job->id, proposed->value);
    snprintf (job->id, sizeof job->id, "%s", proposed->value);
}

/*  A refusal that means that it is done: somebody else was faster. */
static bool done_already (const simulation_want_t *want, const failure_t *failure)
{
    return (want->kind == WANT_TOKEN && failure->code == NEXUS_EXISTS) ||
           (want->kind == WANT_CANCEL && failure->code == NEXUS_CONFLICT);
}

static void take_reply (client_t *self, const message_t *message)
{
    simulation_t *simulation = self->master->simulation;
    for (size_t i = 0; i < self->asked_count; i++) {
        if (self->asked[i].correlation != message->correlation)
            continue;
        simulation_want_t *want = &simulation->wants[self->asked[i].want];
        const proposed_t *proposed = message_body (message, proposed);
        const failure_t *failure = message_body (message, failure);
        if (proposed)
            acknowledged (simulation, want, proposed);
        else if (failure && done_already (want, failure))
            want->done = true;
        else if (failure && failure->code != NEXUS_UNAVAILABLE && failure->code != NEXUS_DEADLINE &&
                 failure->code != NEXUS_EXHAUSTED)
            simulation_broken (simulation, "a wish of kind %d for %u was refused: %s",
                               (int)want->kind, want->number, failure->text);
        self->asked[i] = self->asked[--self->asked_count];
        return;
    }
}

/*  ---- the actor ------------------------------------------------------------------------ */

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    client_t *self = state;
    memcpy (&self->master, args, sizeof self->master);
    address_t election = address_local ("election", 0), ledger = address_local ("ledger", 0);
    context_send (ctx, &election, &leadership_subscribe_record,
                  &(leadership_subscribe_t){.on = true});
    context_send (ctx, &ledger, &ledger_subscribe_record, &(ledger_subscribe_t){.on = true});
    context_after (ctx, MS_TO_NS (100), 0);
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    client_t *self = state;
    const leadership_t *leadership = message_body (message, leadership);
    if (message->flags & MESSAGE_REPLY)
        take_reply (self, message);
    else if (message_body (message, ledger_changed))
        simulation_check_ledger (self->master->simulation, self->master);
    else if (leadership && leadership->leading)
        simulation_check_leader (self->master->simulation, context_node (ctx), leadership->term);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id, (void)data;
    ask_for_something (state, ctx);
    context_after (ctx, MS_TO_NS (50 + context_random (ctx) % 1000), 0);
}

const behaviour_t simulated_client_behaviour = {
    .name = "client",
    .state_size = sizeof (client_t),
    .start = start,
    .receive = receive,
    .timer = timer,
};

/*  ---- checks --------------------------------------------------------------------------- */

void simulation_check_leader (simulation_t *self, const record_key_t *leader, uint64_t term)
{
    if (term >= self->term_room) {
        uint64_t room = term * 2 + 64;
        self->leaders = realloc (self->leaders, room * sizeof *self->leaders);
        assert (self->leaders);
        memset (self->leaders + self->term_room, 0,
                (room - self->term_room) * sizeof *self->leaders);
        self->term_room = room;
    }
    if (self->terms < term)
        self->terms = term;
    if (record_key_is_zero (&self->leaders[term]))
        self->leaders[term] = *leader;
    else if (memcmp (&self->leaders[term], leader, sizeof *leader) != 0)
        simulation_broken (self, "two leaders in term %llu", (unsigned long long)term);
}

static uint64_t mix (uint64_t hash, slice_t bytes)
{
    const uint8_t *data = bytes.data;
    hash ^= bytes.size;
    for (size_t i = 0; i < bytes.size; i++)
        hash = (hash ^ data[i]) * UINT64_C (0x100000001b3); /* FNV-1a */
    return hash ^ hash >> 29;
}

static bool mix_entry (void *context, slice_t key, slice_t value)
{
    uint64_t *hash = context;
    *hash = mix (mix (*hash, key), value);
    return true;
}

/*  Equal indexes, equal tables. */
static void check_equal (simulation_t *self, const simulated_master_t *master, tables_txn_t *txn)
{
    uint64_t index = ledger_number (txn, LEDGER_APPLIED), hash = UINT64_C (0xcbf29ce484222325);
    for (size_t table = 0; table < LEDGER_TABLES; table++)
        tables_each (txn, table, (slice_t){NULL, 0}, (slice_t){NULL, 0}, mix_entry, &hash);
    if (index >= self->index_room) {
        uint64_t room = index * 2 + 256;
        self->hashes = realloc (self->hashes, room * sizeof *self->hashes);
        assert (self->hashes);
        memset (self->hashes + self->index_room, 0,
                (room - self->index_room) * sizeof *self->hashes);
        self->index_room = room;
    }
    if (!self->hashes[index])
        self->hashes[index] = hash;
    else if (self->hashes[index] != hash)
        simulation_broken (self, "%s: the ledger at index %llu differs from another master's",
                           master->name, (unsigned long long)index);
}

static void check_submissions (simulation_t *self, const simulated_master_t *master,
                               const job_t *jobs, size_t count)
{
    bool numbers[SIMULATION_JOBS_MAX + 1] = {false};
    if (count > self->options.jobs)
        simulation_broken (self, "%s: %zu jobs, %u were submitted", master->name, count,
                           self->options.jobs);
    for (size_t i = 0; i < count; i++) {
        uint64_t number = jobs[i].number;
        if (number > SIMULATION_JOBS_MAX || numbers[number])
            simulation_broken (self, "%s: the number of %s is another's, or too high", master->name,
                               jobs[i].id);
        else
            numbers[number] = true;
    }
}

static size_t worker_of (const worker_t *workers, size_t count, const record_key_t *key)
{
    size_t i = 0;
    while (i < count && memcmp (&workers[i].key, key, sizeof *key) != 0)
        i++;
    return i;
}

/*  Jobs and tasks come in the same order, that of the job's id. */
static void check_room (simulation_t *self, const simulated_master_t *master, const job_t *jobs,
                        size_t job_count, const worker_t *workers, size_t worker_count,
                        const task_t *tasks, size_t task_count)
{
    double used[SIMULATION_WORKERS_MAX + 1] = {0}; /* the last one: no worker */
    for (size_t t = 0, j = 0; t < task_count; t++) {
        while (j < job_count && strcmp (jobs[j].id, tasks[t].job_id) < 0)
            j++;
        if (j == job_count || strcmp (jobs[j].id, tasks[t].job_id) != 0) {
            simulation_broken (self, "%s: a task of %s, which is not there", master->name,
                               tasks[t].job_id);
            return;
        }
        if (tasks[t].phase == TASK_ASSIGNED || tasks[t].phase == TASK_RUNNING)
            used[worker_of (workers, worker_count, &tasks[t].worker)] += jobs[j].spec.resources.cpu;
    }
    for (size_t w = 0; w < worker_count; w++)
        if (used[w] > workers[w].resources.cpu)
            simulation_broken (self, "%s: worker %s has %g cores and tasks for %g", master->name,
                               workers[w].name, workers[w].resources.cpu, used[w]);
    if (used[worker_count] > 0)
        simulation_broken (self, "%s: a task is placed on no worker", master->name);
}

typedef struct {
    arena_t arena;
    job_t *jobs;
    task_t *tasks;
    worker_t *workers;
    size_t job_count, task_count, worker_count;
} view_t;

static int view_init (view_t *self, tables_txn_t *txn, nexus_error_t *error)
{
    arena_init (&self->arena, MEMORY_MAX, NULL, 0);
    return ledger_list (txn, LEDGER_JOBS, NULL, NULL, 0, &self->arena, (void **)&self->jobs,
                        &self->job_count, error) == -1 ||
                   ledger_list (txn, LEDGER_TASKS, NULL, NULL, 0, &self->arena,
                                (void **)&self->tasks, &self->task_count, error) == -1 ||
                   ledger_list_workers (txn, &self->arena, &self->workers, &self->worker_count,
                                        error) == -1
               ? -1
               : 0;
}

void simulation_check_ledger (simulation_t *self, simulated_master_t *master)
{
    nexus_error_t error;
    view_t view;
    tables_txn_t *txn = tables_begin (master->tables, false, &error);
    assert (txn);
    check_equal (self, master, txn);
    if (view_init (&view, txn, &error) == -1) {
        simulation_broken (self, "%s: %s", master->name, error.text);
    } else {
        check_submissions (self, master, view.jobs, view.job_count);
        check_room (self, master, view.jobs, view.job_count, view.workers, view.worker_count,
                    view.tasks, view.task_count);
    }
    arena_reset (&view.arena);
    tables_abort (&txn);
}

/*  ---- rest ------------------------------------------------------------------------------- */

static const job_t *job_of (const job_t *jobs, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp (jobs[i].id, id) == 0)
            return &jobs[i];
    return NULL;
}

static bool jobs_at_rest (const simulation_t *self, const view_t *view, char *why, size_t size)
{
    for (unsigned i = 0; i < self->options.jobs; i++) {
        const simulation_job_t *wanted = &self->jobs[i];
        const job_t *job = job_of (view->jobs, view->job_count, wanted->id);
        if (!job) {
            snprintf (why, size, "job %u (%s) is not in the ledger", i, wanted->id);
            return false;
        }
        bool fine = job->phase == JOB_SUCCEEDED || (wanted->cancel && job->phase == JOB_CANCELLED);
        if (!fine) {
            snprintf (why, size, "%s is %s (%s: %s)", job->id,
                      record_choice_name (&job_phase_choices, job->phase), job->reason,
                      job->message);
            return false;
        }
    }
    return true;
}

bool simulation_at_rest (simulation_t *self, simulated_master_t *master, char *why, size_t size)
{
    for (size_t i = 0; i < self->want_count; i++)
        if (!self->wants[i].done) {
            snprintf (why, size, "wish %zu (kind %d for %u) is not fulfilled", i,
                      (int)self->wants[i].kind, self->wants[i].number);
            return false;
        }
    if (self->process_count) {
        snprintf (why, size, "rank %llu of %s still runs",
                  (unsigned long long)self->processes[0].rank, self->processes[0].job_id);
        return false;
    }
    nexus_error_t error;
    view_t view;
    tables_txn_t *txn = tables_begin (master->tables, false, &error);
    assert (txn);
    bool rest = false;
    if (view_init (&view, txn, &error) == -1)
        snprintf (why, size, "%s", error.text);
    else
        rest = jobs_at_rest (self, &view, why, size);
    arena_reset (&view.arena);
    tables_abort (&txn);
    return rest;
}
