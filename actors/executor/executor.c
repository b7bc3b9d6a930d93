/*  executor - the actor that brings a worker's tasks in line with its orders */
#include "actors/executor/executor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_TIMEOUT_MS = 30000 };

/*  One rank on this worker, in the attempt that it is at. */
typedef struct {
    const message_t *orders;   /* the task_orders that hold order; held */
    const task_order_t *order; /* what is to be done; of the attempt in state */
    const message_t *next;     /* orders of a higher attempt, to follow when this one is gone */
    const task_order_t *next_order;
    task_state_t state;        /* as reported; its texts are the ones below */
    char job_id[64];
    char reason[200];
    uint64_t start_request;    /* in flight */
    bool stopping;             /* asked to stop; the kill timer runs */
    bool named;                /* in the newest orders */
    uint64_t kill_timer;
} run_t;

typedef struct {
    run_t **runs;
    size_t count, room;
    bool changed;
} executor_t;

static address_t process_address (void)
{
    return address_local ("process", 0);
}

static bool run_is_live (const run_t *run)
{
    return run->start_request || run->state.pid;
}

static run_t *run_of (const executor_t *self, const char *job_id, uint64_t rank)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->runs[i]->state.rank == rank && !strcmp (self->runs[i]->job_id, job_id))
            return self->runs[i];
    return NULL;
}

static void set_phase (executor_t *self, run_t *run, task_phase_t phase, const char *reason)
{
    run->state.phase = (int) phase;
    snprintf (run->reason, sizeof (run->reason), "%s", reason);
    self->changed = true;
}

/*  ---- one run ----------------------------------------------------------------------- */

static void begin (executor_t *self, context_t *ctx, run_t *run)
{
    run->state.attempt = run->order->attempt;
    run->state.key = (record_key_t){ { 0 } };
    run->state.pid = 0;
    run->state.exit_code = 0;
    run->stopping = false;
    set_phase (self, run, TASK_ASSIGNED, "starting");
    process_start_t start = { .order = *run->order };
    address_t process = process_address ();
    run->start_request = context_request (ctx, &process, &process_start_record, &start,
                                          START_TIMEOUT_MS);
}

static void send_signal (context_t *ctx, const run_t *run, const char *name)
{
    address_t process = process_address ();
    process_signal_t order = { .pid = run->state.pid, .signal = name };
    context_send (ctx, &process, &process_signal_record, &order);
}

/*  Asks it to stop; kills it when the grace is over. While it is being started
    this waits for the start's answer. */
static void end (context_t *ctx, run_t *run)
{
    if (run->stopping || !run->state.pid)
        return;
    run->stopping = true;
    send_signal (ctx, run, run->order->spec.stop.signal);
    run->kill_timer = context_after (ctx, MS_TO_NS (run->order->spec.stop.grace_ms),
                                     (uint64_t) run->state.pid);
}

static void drop_orders (run_t *run)
{
    if (run->orders)
        message_release ((message_t **) &run->orders);
    if (run->next)
        message_release ((message_t **) &run->next);
    run->order = run->next_order = NULL;
}

static void forget (executor_t *self, context_t *ctx, size_t i)
{
    context_cancel (ctx, self->runs[i]->kill_timer);
    drop_orders (self->runs[i]);
    free (self->runs[i]);
    self->runs[i] = self->runs[--self->count];
    self->changed = true;
}

/*  Nothing of it runs any more: on to the next attempt, if one is ordered. */
static void follow_next (executor_t *self, context_t *ctx, run_t *run)
{
    if (!run->next || run_is_live (run))
        return;
    if (run->orders)
        message_release ((message_t **) &run->orders);
    run->orders = run->next;
    run->order = run->next_order;
    run->next = NULL;
    run->next_order = NULL;
    if (run->order->stop) {
        run->state.attempt = run->order->attempt;
        set_phase (self, run, TASK_STOPPED, "stopped before it was started");
    } else
        begin (self, ctx, run);
}

/*  ---- orders ---------------------------------------------------------------------------- */

static void take_order (executor_t *self, context_t *ctx, const message_t *message,
                        const task_order_t *order)
{
    run_t *run = run_of (self, order->job_id, order->rank);
    if (!run) {
        if (self->count == self->room) {
            self->room = self->room ? self->room * 2 : 16;
            self->runs = realloc (self->runs, self->room * sizeof (*self->runs));
        }
        run = calloc (1, sizeof (*run));
        if (!self->runs || !run)
            abort ();
        self->runs[self->count++] = run;
        snprintf (run->job_id, sizeof (run->job_id), "%s", order->job_id);
        run->state.job_id = run->job_id;
        run->state.reason = run->reason;
        run->state.rank = order->rank;
        run->next = message_retain ((message_t *) message);
        run->next_order = order;
    } else if (order->attempt > run->state.attempt) {
        if (run->next)
            message_release ((message_t **) &run->next);
        run->next = message_retain ((message_t *) message);
        run->next_order = order;
        end (ctx, run);
    } else if (order->attempt == run->state.attempt && order->stop) {
        if (run_is_live (run))
            end (ctx, run);
        else if (run->state.phase == TASK_ASSIGNED)
            set_phase (self, run, TASK_STOPPED, "stopped before it was started");
    }
    run->named = true;
    follow_next (self, ctx, run);
}

static void take_orders (executor_t *self, context_t *ctx, const message_t *message)
{
    const task_orders_t *orders = message->body;
    for (size_t i = 0; i < self->count; i++)
        self->runs[i]->named = false;
    for (size_t i = 0; i < orders->tasks.count; i++)
        take_order (self, ctx, message, &orders->tasks.items[i]);
    for (size_t i = self->count; i-- > 0;) {
        run_t *run = self->runs[i];
        if (run->named)
            continue;
        if (run->next)
            message_release ((message_t **) &run->next);
        if (run_is_live (run))
            end (ctx, run);
        else
            forget (self, ctx, i);
    }
}

/*  ---- what the process edge says ------------------------------------------------------------ */

static size_t index_of_pid (const executor_t *self, int64_t pid)
{
    size_t i = 0;
    while (i < self->count && self->runs[i]->state.pid != pid)
        i++;
    return i;
}

static void take_started (executor_t *self, context_t *ctx, const message_t *reply)
{
    size_t i = 0;
    while (i < self->count && self->runs[i]->start_request != reply->correlation)
        i++;
    if (i == self->count)
        return;
    run_t *run = self->runs[i];
    run->start_request = 0;
    const process_started_t *started = message_body (reply, process_started);
    if (started) {
        run->state.pid = started->pid;
        run->state.key = started->key;
        set_phase (self, run, TASK_RUNNING, "");
        if (!run->named || run->next || run->order->stop)
            end (ctx, run);
        return;
    }
    const failure_t *failure = message_body (reply, failure);
    run->state.exit_code = 127;
    set_phase (self, run, TASK_FAILED, failure && failure->text ? failure->text : "did not start");
    log_warning (context_log (ctx), "a task did not start", LOG_TEXT ("job", run->job_id),
                 LOG_UINT ("rank", run->state.rank), LOG_TEXT ("reason", run->reason));
    if (!run->named)
        forget (self, ctx, i);
    else
        follow_next (self, ctx, run);
}

static void take_ended (executor_t *self, context_t *ctx, const process_ended_t *ended)
{
    size_t i = index_of_pid (self, ended->pid);
    if (!ended->pid || i == self->count)
        return;
    run_t *run = self->runs[i];
    char reason[64];
    context_cancel (ctx, run->kill_timer);
    run->state.pid = 0;
    run->state.key = (record_key_t){ { 0 } };
    run->state.exit_code = ended->exit_code;
    if (ended->exit_code > 128)
        snprintf (reason, sizeof (reason), "killed by signal %" PRId64, ended->exit_code - 128);
    else
        snprintf (reason, sizeof (reason), "exited with code %" PRId64, ended->exit_code);
    set_phase (self, run,
               run->stopping            ? TASK_STOPPED
               : ended->exit_code == 0  ? TASK_SUCCEEDED
                                        : TASK_FAILED,
               reason);
    log_info (context_log (ctx), "task has ended", LOG_TEXT ("job", run->job_id),
              LOG_UINT ("rank", run->state.rank), LOG_UINT ("attempt", run->state.attempt),
              LOG_TEXT ("how", reason));
    run->stopping = false;
    if (!run->named)
        forget (self, ctx, i);
    else
        follow_next (self, ctx, run);
}

/*  ---- the actor -------------------------------------------------------------------------------- */

static void receive (void *state, context_t *ctx, const message_t *message)
{
    executor_t *self = state;
    if (message->role != ROLE_LOCAL)
        return;
    if (message->flags & MESSAGE_REPLY)
        take_started (self, ctx, message);
    else if (message_body (message, task_orders))
        take_orders (self, ctx, message);
    else if (message_body (message, process_ended))
        take_ended (self, ctx, message->body);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t pid)
{
    executor_t *self = state;
    (void) id;
    size_t i = index_of_pid (self, (int64_t) pid);
    if (i < self->count)
        send_signal (ctx, self->runs[i], "KILL");
}

static void settle (void *state, context_t *ctx)
{
    executor_t *self = state;
    if (!self->changed)
        return;
    self->changed = false;
    task_states_t states = { .tasks = { calloc (self->count + 1, sizeof (task_state_t)), 0 } };
    if (!states.tasks.items)
        abort ();
    for (size_t i = 0; i < self->count; i++)
        states.tasks.items[states.tasks.count++] = self->runs[i]->state;
    address_t agent = address_local ("agent", 0);
    context_send (ctx, &agent, &task_states_record, &states);
    free (states.tasks.items);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void) state;
    (void) ctx;
    (void) args;
    (void) error;
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    executor_t *self = state;
    while (self->count)
        forget (self, ctx, self->count - 1);
    free (self->runs);
}

const behaviour_t executor_behaviour = {
    .name = "executor",
    .state_size = sizeof (executor_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .settle = settle,
    .stop = stop,
};
