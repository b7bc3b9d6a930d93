/*  stand_ins - what a simulated worker has instead of processes and an aggregator */
#include "actors/simulation/simulation_private.h"

#include "actors/executor/messages.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  ---- processes: each is a timer ------------------------------------------------ */

typedef struct {
    simulated_worker_t *worker;
    address_t executor;
} processes_t;

/*  What a timer stands for: the process's end, with an exit code. */
static uint64_t ending (int64_t pid, int exit_code)
{
    return (uint64_t)pid << 8 | (uint64_t)exit_code;
}

static int processes_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx, (void)error;
    processes_t *self = state;
    memcpy (&self->worker, args, sizeof self->worker);
    return 0;
}

static simulation_process_t *find_process (simulation_t *simulation, unsigned worker, int64_t pid)
{
    for (size_t i = 0; i < simulation->process_count; i++)
        if (simulation->processes[i].worker == worker && simulation->processes[i].pid == pid)
            return &simulation->processes[i];
    return NULL;
}

/*  The worker has room for it, and this attempt of the rank runs nowhere. */
static void check_process (simulation_t *simulation, const simulation_process_t *process)
{
    unsigned beside = 0;
    for (size_t i = 0; i < simulation->process_count; i++) {
        const simulation_process_t *other = &simulation->processes[i];
        beside += other->worker == process->worker;
        if (other->rank == process->rank && other->attempt == process->attempt &&
            strcmp (other->job_id, process->job_id) == 0)
            simulation_broken (simulation, "rank %llu of %s runs twice, on w%u and w%u",
                               (unsigned long long)process->rank, process->job_id,
                               other->worker + 1, process->worker + 1);
    }
    if (beside >= WORKER_CPU) /* every rank wants one core */
        simulation_broken (simulation, "w%u has %d cores and %u processes", process->worker + 1,
                           WORKER_CPU, beside + 1);
}

static void begin_process (processes_t *self, context_t *ctx, const message_t *message,
                           const process_start_t *start)
{
    simulation_t *simulation = self->worker->simulation;
    self->executor = message->from;
    if (context_random (ctx) % 20 == 0) {
        context_reply_failure (ctx, message, NEXUS_IO, "fork: out of luck");
        return;
    }
    assert (simulation->process_count < SIMULATION_PROCESSES_MAX);
    simulation_process_t *process = &simulation->processes[simulation->process_count];
    *process = (simulation_process_t){.worker = self->worker->number,
                                      .pid = ++simulation->pid,
                                      .rank = start->order.rank,
                                      .attempt = start->order.attempt};
    snprintf (process->job_id, sizeof process->job_id, "%s", start->order.job_id);
    check_process (simulation, process);
    simulation->process_count++;
    process_started_t started = {.pid = process->pid};
    for (size_t i = 0; i < sizeof started.key.bytes; i++)
        started.key.bytes[i] = (uint8_t)(context_random (ctx) | 1);
    context_reply (ctx, message, &process_started_record, &started);
    int64_t runs_ms = 200 + (int64_t)(context_random (ctx) % 6000);
    int exit_code = context_random (ctx) % 8 == 0 ? 1 : 0;
    context_after (ctx, MS_TO_NS (runs_ms), ending (process->pid, exit_code));
}

static void processes_receive (void *state, context_t *ctx, const message_t *message)
{
    processes_t *self = state;
    const process_start_t *start = message_body (message, process_start);
    const process_signal_t *order = message_body (message, process_signal);
    if (message->role != ROLE_LOCAL)
        return;
    if (start)
        begin_process (self, ctx, message, start);
    if (order && find_process (self->worker->simulation, self->worker->number, order->pid)) {
        bool kill = strcmp (order->signal, "KILL") == 0;
        int64_t takes_ms = kill ? 0 : (int64_t)(context_random (ctx) % 400);
        context_after (ctx, MS_TO_NS (takes_ms), ending (order->pid, kill ? 137 : 143));
    }
}

static void processes_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    processes_t *self = state;
    simulation_t *simulation = self->worker->simulation;
    int64_t pid = (int64_t)(data >> 8);
    simulation_process_t *process = find_process (simulation, self->worker->number, pid);
    if (!process)
        return; /* a signal was faster */
    *process = simulation->processes[--simulation->process_count];
    process_ended_t ended = {.pid = pid, .exit_code = (int64_t)(data & 255)};
    context_send (ctx, &self->executor, &process_ended_record, &ended);
}

/*  Also called in a crash: processes don't outlive their agent here. */
static void processes_stop (void *state, context_t *ctx)
{
    (void)ctx;
    processes_t *self = state;
    simulation_t *simulation = self->worker->simulation;
    for (size_t i = 0; i < simulation->process_count;)
        if (simulation->processes[i].worker == self->worker->number)
            simulation->processes[i] = simulation->processes[--simulation->process_count];
        else
            i++;
}

const behaviour_t simulated_processes_behaviour = {
    .name = "process",
    .state_size = sizeof (processes_t),
    .start = processes_start,
    .receive = processes_receive,
    .timer = processes_timer,
    .stop = processes_stop,
};

/*  ---- the aggregator: every shard is ready at once --------------------------------- */

static void aggregator_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    const shard_orders_t *orders = message_body (message, shard_orders);
    if (!orders || message->role != ROLE_LOCAL)
        return;
    shard_states_t states = {
        .shards = {calloc (orders->shards.count + 1, sizeof (shard_state_t)), 0}};
    assert (states.shards.items);
    for (size_t i = 0; i < orders->shards.count; i++) {
        const shard_order_t *order = &orders->shards.items[i];
        states.shards.items[states.shards.count++] =
            (shard_state_t){.job_id = order->job_id,
                            .index = order->index,
                            .generation = order->generation,
                            .ready = true};
    }
    context_send (ctx, &message->from, &shard_states_record, &states);
    free (states.shards.items);
}

const behaviour_t simulated_aggregator_behaviour = {
    .name = "aggregator",
    .receive = aggregator_receive,
};
