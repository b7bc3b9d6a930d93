/*  executor - the actor that brings a worker's tasks in line with its orders */
#include "actors/executor/executor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_TIMEOUT_MS = 60000 };

/*  One rank on this worker, in the attempt that it is at. */
typedef struct {
    task_state_t state; /* as reported; its texts are the ones below */
    char job_id[64];
    char reason[200];
    const task_order_t *order; /* what the newest orders say of it; NULL: nothing */
    bool followed;             /* state is of an attempt that was ordered, rather than empty */
    resources_t need;          /* of that attempt ... */
    char signal[9];            /* ... and how it is to be stopped */
    int64_t grace_ms;
    uint64_t start_request; /* in flight; then pid is 0 */
    bool stopping;          /* asked to stop; the kill timer runs */
    uint64_t kill_timer;
} run_t;

typedef struct {
    const message_t *orders; /* the newest, held; or NULL */
    run_t **runs;
    size_t count, room;
    bool changed;
} executor_t;

static address_t process_address (void)
{
    return address_local ("process", 0);
}

/*  Its process runs, or is about to. */
static bool is_live (const run_t *run)
{
    return run->start_request || run->state.pid;
}

/*  It runs, and shall not. */
static bool is_unwanted (const run_t *run)
{
    const task_order_t *order = run->order;
    return is_live (run) && (!order || order->stop || order->attempt > run->state.attempt);
}

static void set_phase (executor_t *self, run_t *run, task_phase_t phase, const char *reason)
{
    run->state.phase = (int)phase;
    snprintf (run->reason, sizeof (run->reason), "%s", reason);
    self->changed = true;
}

/*  ---- one run ----------------------------------------------------------------------- */

/*  From here on it is at that order's attempt, which has done nothing yet. */
static void follow (run_t *run, const task_order_t *order)
{
    run->followed = true;
    run->state = (task_state_t){.job_id = run->job_id,
                                .rank = run->state.rank,
                                .attempt = order->attempt,
                                .reason = run->reason};
    run->need = order->spec.resources;
    run->grace_ms = (int64_t)order->spec.stop.grace_ms;
    snprintf (run->signal, sizeof (run->signal), "%s", order->spec.stop.signal);
}

/*  Does it have to wait until those that are being stopped are gone? Whether the worker
    is large enough for all that is ordered is not our business, the leader knows. */
static bool must_wait (const executor_t *self, const resources_t *need)
{
    const resources_t *capacity = &((const task_orders_t *)self->orders->body)->capacity;
    resources_t used = *need;
    bool unwanted = false;
    for (size_t i = 0; i < self->count; i++) {
        if (!is_live (self->runs[i]))
            continue;
        unwanted |= is_unwanted (self->runs[i]);
        used.cpu += self->runs[i]->need.cpu;
        used.memory += self->runs[i]->need.memory;
        used.gpus += self->runs[i]->need.gpus;
    }
    return unwanted && (used.cpu > capacity->cpu + 1e-9 || used.memory > capacity->memory ||
                        used.gpus > capacity->gpus);
}

static void begin (executor_t *self, context_t *ctx, run_t *run, const task_order_t *order)
{
    if (must_wait (self, &order->spec.resources))
        return;
    follow (run, order);
    set_phase (self, run, TASK_ASSIGNED, "starting");
    process_start_t start = {.order = *order};
    address_t process = process_address ();
    run->start_request =
        context_request (ctx, &process, &process_start_record, &start, START_TIMEOUT_MS);
}

static void send_signal (context_t *ctx, const run_t *run, const char *name)
{
    address_t process = process_address ();
    process_signal_t order = {.pid = run->state.pid, .signal = name};
    context_send (ctx, &process, &process_signal_record, &order);
}

/*  Asks it to stop; kills it when the grace is over. */
static void end (context_t *ctx, run_t *run)
{
    run->stopping = true;
    send_signal (ctx, run, run->signal);
    run->kill_timer = context_after (ctx, MS_TO_NS (run->grace_ms), (uint64_t)run->state.pid);
}

static void forget (executor_t *self, size_t i)
{
    free (self->runs[i]);
    self->runs[i] = self->runs[--self->count];
    self->changed = true;
}

/*  Takes one step towards what is ordered. Returns false if the run is gone. */
static bool pursue (executor_t *self, context_t *ctx, size_t i)
{
    run_t *run = self->runs[i];
    const task_order_t *order = run->order;
    if (is_live (run)) {
        /*  What is being started is stopped when its process is known. */
        if (is_unwanted (run) && !run->stopping && run->state.pid)
            end (ctx, run);
    } else if (!order) {
        forget (self, i);
        return false;
    } else if (!run->followed || order->attempt > run->state.attempt) {
        if (order->stop) {
            follow (run, order);
            set_phase (self, run, TASK_STOPPED, "stopped before it was started");
        } else
            begin (self, ctx, run, order);
    }
    return true;
}

static void pursue_all (executor_t *self, context_t *ctx)
{
    if (self->orders)
        for (size_t i = 0; i < self->count;)
            i += pursue (self, ctx, i);
}

/*  ---- orders ---------------------------------------------------------------------------- */

static run_t *run_of (executor_t *self, const task_order_t *order)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->runs[i]->state.rank == order->rank &&
            !strcmp (self->runs[i]->job_id, order->job_id))
            return self->runs[i];
    if (self->count == self->room) {
        self->room = self->room ? self->room * 2 : 16;
        self->runs = realloc (self->runs, self->room * sizeof (*self->runs));
    }
    run_t *run = calloc (1, sizeof (*run));
    if (!self->runs || !run)
        abort ();
    snprintf (run->job_id, sizeof (run->job_id), "%s", order->job_id);
    run->state.rank = order->rank;
    return self->runs[self->count++] = run;
}

static void take_orders (executor_t *self, const message_t *message)
{
    const task_orders_t *orders = message->body;
    if (self->orders)
        message_release ((message_t **)&self->orders);
    self->orders = message_retain ((message_t *)message);
    for (size_t i = 0; i < self->count; i++)
        self->runs[i]->order = NULL;
    for (size_t i = 0; i < orders->tasks.count; i++)
        run_of (self, &orders->tasks.items[i])->order = &orders->tasks.items[i];
}

/*  ---- what the process edge says ------------------------------------------------------------ */

static run_t *run_of_pid (const executor_t *self, int64_t pid)
{
    for (size_t i = 0; pid && i < self->count; i++)
        if (self->runs[i]->state.pid == pid)
            return self->runs[i];
    return NULL;
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
        return;
    }
    const failure_t *failure = message_body (reply, failure);
    run->state.exit_code = 127;
    set_phase (self, run, TASK_FAILED, failure && failure->text ? failure->text : "did not start");
    log_warning (context_log (ctx), "a task did not start", LOG_TEXT ("job", run->job_id),
                 LOG_UINT ("rank", run->state.rank), LOG_TEXT ("reason", run->reason));
}

static void take_ended (executor_t *self, context_t *ctx, const process_ended_t *ended)
{
    enum { SIGNALS_MAX = 64 };
    run_t *run = run_of_pid (self, ended->pid);
    char reason[64];
    if (!run)
        return;
    context_cancel (ctx, run->kill_timer);
    run->state.pid = 0;
    run->state.key = (record_key_t){{0}};
    run->state.exit_code = ended->exit_code;
    if (ended->exit_code > 128 && ended->exit_code <= 128 + SIGNALS_MAX)
        snprintf (reason, sizeof (reason), "killed by signal %" PRId64, ended->exit_code - 128);
    else
        snprintf (reason, sizeof (reason), "exited with code %" PRId64, ended->exit_code);
    set_phase (self, run,
               run->stopping           ? TASK_STOPPED
               : ended->exit_code == 0 ? TASK_SUCCEEDED
                                       : TASK_FAILED,
               reason);
    log_info (context_log (ctx), "task has ended", LOG_TEXT ("job", run->job_id),
              LOG_UINT ("rank", run->state.rank), LOG_UINT ("attempt", run->state.attempt),
              LOG_TEXT ("how", reason));
    run->stopping = false;
}

/*  ---- the actor ------------------------------------------------------------------------- */

static void receive (void *state, context_t *ctx, const message_t *message)
{
    executor_t *self = state;
    if (message->role != ROLE_LOCAL)
        return;
    if (message->flags & MESSAGE_REPLY)
        take_started (self, ctx, message);
    else if (message_body (message, task_orders))
        take_orders (self, message);
    else if (message_body (message, process_ended))
        take_ended (self, ctx, message->body);
    else
        return;
    pursue_all (self, ctx);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t pid)
{
    executor_t *self = state;
    (void)id;
    const run_t *run = run_of_pid (self, (int64_t)pid);
    if (run)
        send_signal (ctx, run, "KILL");
}

static void settle (void *state, context_t *ctx)
{
    executor_t *self = state;
    if (!self->changed)
        return;
    self->changed = false;
    task_states_t states = {.tasks = {calloc (self->count + 1, sizeof (task_state_t)), 0}};
    if (!states.tasks.items)
        abort ();
    for (size_t i = 0; i < self->count; i++)
        if (self->runs[i]->followed)
            states.tasks.items[states.tasks.count++] = self->runs[i]->state;
    address_t agent = address_local ("agent", 0);
    context_send (ctx, &agent, &task_states_record, &states);
    free (states.tasks.items);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)state;
    (void)ctx;
    (void)args;
    (void)error;
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    executor_t *self = state;
    (void)ctx;
    while (self->count)
        forget (self, self->count - 1);
    free (self->runs);
    if (self->orders)
        message_release ((message_t **)&self->orders);
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
