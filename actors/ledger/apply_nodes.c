/*  apply_nodes - workers and join tokens */
#include "actors/ledger/application.h"

#include <string.h>

/*  ---- what a worker held -------------------------------------------------------- */

typedef struct {
    arena_t *arena;
    const char **jobs; /* each once */
    size_t count, room;
} held_jobs_t;

/*  Keys sort by job, so that a job's ranks and shards follow each other. */
static bool note_job (void *context, slice_t key, slice_t value)
{
    held_jobs_t *self = context;
    const char *job_id = (const char *)key.data + sizeof (record_key_t);
    (void)value;
    if (self->count && !strcmp (self->jobs[self->count - 1], job_id))
        return true;
    if (self->count == self->room) {
        size_t room = self->room ? self->room * 2 : 16;
        const char **jobs = arena_alloc (self->arena, room * sizeof (*jobs));
        if (!jobs)
            return false;
        if (self->count)
            memcpy (jobs, self->jobs, self->count * sizeof (*jobs));
        self->jobs = jobs;
        self->room = room;
    }
    self->jobs[self->count] = arena_strdup (self->arena, job_id);
    return self->jobs[self->count++] != NULL;
}

static void displace_job (application_t *self, const char *job_id, const record_key_t *worker,
                          const char *why, int64_t time_ms)
{
    job_state_t state;
    if (!application_load (self, job_id, &state))
        return;
    bool stopping = state.job.phase == JOB_STOPPING;
    for (size_t i = 0; i < state.task_count; i++) {
        task_t *task = &state.tasks[i];
        if (!task_holds (task) || memcmp (&task->worker, worker, sizeof (*worker)))
            continue;
        application_end_run (self, task, stopping ? TASK_STOPPED : TASK_WAITING, why);
        task->reason = why;
        application_put_task (self, task);
    }
    for (size_t i = 0; i < state.shard_count; i++)
        if (!memcmp (&state.shards[i].worker, worker, sizeof (*worker)))
            application_free_shard (self, &state.shards[i]);
    state.job.epoch++;
    if (!stopping)
        application_explain (self, &state.job, "WorkerGone", why);
    application_settle (self, &state, time_ms);
}

/*  A worker takes no part any more (lost, draining, restarted, removed): what it had waits for
    another place. */
static void displace (application_t *self, const worker_t *worker, const char *why, int64_t time_ms)
{
    held_jobs_t held = {.arena = &self->arena};
    record_key_t key = worker->key;
    why = application_clip (self, arena_printf (&self->arena, "worker %s: %s", worker->name, why),
                            200);
    tables_each (self->txn, LEDGER_HELD, (slice_t){key.bytes, sizeof (key.bytes)},
                 (slice_t){NULL, 0}, note_job, &held);
    for (size_t i = 0; i < held.count; i++)
        displace_job (self, held.jobs[i], &key, why, time_ms);
}

/*  ---- workers ---------------------------------------------------------------------- */

/*  May this key and this name become a worker's? */
static int check_identity (application_t *self, const worker_t *worker, bool *ret_known)
{
    worker_t other;
    slice_t holder;
    ledger_key_t key = ledger_key_node (&worker->key);
    if (!worker_name_check (worker->name))
        return nexus_error_set (self->error, NEXUS_INVALID,
                                "name: expected letters, digits, '.', '_' and '-'; found \"%s\"",
                                worker->name);
    /*  Whoever asks may name any public key: it must not take another node's role away. */
    if (record_key_is_zero (&worker->key) || application_has (self, LEDGER_MASTERS, key) ||
        application_has (self, LEDGER_TOKENS, key))
        return nexus_error_set (self->error, NEXUS_DENIED, "this key can't be a worker's");
    if (tables_get (self->txn, LEDGER_NAMES, SLICE (worker->name), &holder) &&
        (holder.size != 32 || memcmp (holder.data, worker->key.bytes, 32)))
        return nexus_error_set (self->error, NEXUS_EXISTS,
                                "there is a worker \"%s\" with another key: choose another name, "
                                "or remove it first",
                                worker->name);
    *ret_known = application_get (self, LEDGER_WORKERS, key, &other);
    if (*ret_known && strcmp (other.name, worker->name))
        return nexus_error_set (self->error, NEXUS_EXISTS,
                                "this key belongs to worker \"%s\" already", other.name);
    return self->fatal ? -1 : 0;
}

static int spend_token (application_t *self, const add_worker_t *command)
{
    token_t token;
    if (!application_get (self, LEDGER_TOKENS, ledger_key_node (&command->token), &token))
        return self->fatal ? -1
                           : nexus_error_set (self->error, NEXUS_DENIED,
                                              "the join token is not known: ask for another one");
    if (!token.uses)
        return nexus_error_set (self->error, NEXUS_DENIED,
                                "the join token is used up: ask for another one");
    if (token.not_after_ms < command->worker.enrolled_ms)
        return nexus_error_set (self->error, NEXUS_DENIED,
                                "the join token has expired; ask for another one");
    if (*token.site && strcmp (token.site, command->worker.site))
        return nexus_error_set (self->error, NEXUS_DENIED, "the join token is for site \"%s\"",
                                token.site);
    /*  A token that is used up stays until it expires: its bearer is still connected
        with it, waiting for our answer, and the next one gets a reason. */
    token.uses--;
    application_put (self, LEDGER_TOKENS, ledger_key_node (&token.key), &token_record, &token);
    return 0;
}

int apply_add_worker (application_t *self, const void *body)
{
    const add_worker_t *command = body;
    const worker_t *worker = &command->worker;
    bool known = false;
    if (check_identity (self, worker, &known))
        return -1;
    if (known)
        return 0; /* it asks again: its first answer was lost */
    if (spend_token (self, command))
        return -1;
    application_put (self, LEDGER_WORKERS, ledger_key_node (&worker->key), &worker_record, worker);
    application_put_bytes (self, LEDGER_NAMES, ledger_key_text (worker->name),
                           (slice_t){worker->key.bytes, 32});
    return 0;
}

static int no_worker (application_t *self)
{
    return self->fatal ? -1
                       : nexus_error_set (self->error, NEXUS_NOT_FOUND, "there is no such worker");
}

/*  What the registry says: is it there, and with what? */
static void take_heard (worker_t *worker, const worker_t *said)
{
    worker->resources = said->resources;
    worker->lane = said->lane;
    worker->labels = said->labels;
    worker->session = said->session;
    if (said->state == WORKER_LOST) {
        worker->state = WORKER_LOST;
        worker->reason = said->reason;
    } else if (worker->state == WORKER_LOST) {
        worker->state = worker->drain ? WORKER_DRAINING : WORKER_ACTIVE;
        worker->reason = worker->drain ? "drained by its operator" : "";
    }
}

/*  What an operator says: shall it work? */
static void take_drain (worker_t *worker, const worker_t *said)
{
    worker->drain = said->state == WORKER_DRAINING;
    if (worker->state == WORKER_LOST)
        return;
    worker->state = said->state;
    worker->reason = said->reason;
}

int apply_set_worker (application_t *self, const void *body)
{
    const set_worker_t *command = body;
    worker_t before, worker;
    ledger_key_t key = ledger_key_node (&command->worker.key);
    if (!application_get (self, LEDGER_WORKERS, key, &before))
        return no_worker (self);
    if (!command->heard && command->worker.state == WORKER_LOST)
        return nexus_error_set (self->error, NEXUS_INVALID,
                                "a worker is lost when it is not heard of, not on demand");
    worker = before;
    if (command->heard)
        take_heard (&worker, &command->worker);
    else
        take_drain (&worker, &command->worker);
    application_put (self, LEDGER_WORKERS, key, &worker_record, &worker);
    bool restarted = before.session && before.session != worker.session;
    if (restarted)
        displace (self, &worker, "restarted", command->time_ms);
    else if (worker.state != WORKER_ACTIVE && before.state == WORKER_ACTIVE)
        displace (self, &worker,
                  *worker.reason ? worker.reason
                                 : record_choice_name (&worker_state_choices, worker.state),
                  command->time_ms);
    return 0;
}

int apply_remove_worker (application_t *self, const void *body)
{
    const remove_worker_t *command = body;
    worker_t worker;
    if (!application_get (self, LEDGER_WORKERS, ledger_key_node (&command->key), &worker))
        return no_worker (self);
    application_erase (self, LEDGER_WORKERS, ledger_key_node (&worker.key));
    application_erase (self, LEDGER_NAMES, ledger_key_text (worker.name));
    displace (self, &worker, "removed", command->time_ms);
    return 0;
}

/*  ---- tokens -------------------------------------------------------------- */

int apply_add_token (application_t *self, const void *body)
{
    const add_token_t *command = body;
    ledger_key_t key = ledger_key_node (&command->token.key);
    if (!command->token.uses || record_key_is_zero (&command->token.key))
        return nexus_error_set (self->error, NEXUS_INVALID,
                                "a join token needs a key and at least one use");
    if (application_has (self, LEDGER_MASTERS, key) || application_has (self, LEDGER_WORKERS, key))
        return nexus_error_set (self->error, NEXUS_DENIED, "this key can't be a join token's");
    application_put (self, LEDGER_TOKENS, key, &token_record, &command->token);
    return 0;
}
