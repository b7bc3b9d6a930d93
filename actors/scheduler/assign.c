/*  assign - what a worker shall run */
#include "actors/scheduler/assign.h"

#include <string.h>

static bool is_on (const record_key_t *key, const plan_worker_t *worker)
{
    return !memcmp (key, &worker->worker.key, sizeof (*key));
}

static void view_group (const plan_cluster_t *cluster, const plan_job_t *job, arena_t *arena,
                        group_view_t *view)
{
    record_init (&group_view_record, view);
    view->job_id = job->job.id;
    view->epoch = job->job.epoch;
    view->aggregation = job->job.spec.aggregation;
    view->complete = true;
    view->members.items = arena_alloc (arena, (job->task_count + 1) * sizeof (group_member_t));
    view->shards.items = arena_alloc (arena, (job->shard_count + 1) * sizeof (group_shard_t));
    if (!view->members.items || !view->shards.items)
        return;
    for (size_t i = 0; i < job->task_count; i++) {
        const task_t *task = &job->tasks[i];
        group_member_t *member = &view->members.items[view->members.count++];
        *member = (group_member_t){
            .rank = task->rank, .attempt = task->attempt, .done = task->phase == TASK_SUCCEEDED};
        if (task->phase == TASK_RUNNING)
            member->key = task->key;
        view->complete &= member->done || !record_key_is_zero (&member->key);
    }
    for (size_t i = 0; i < job->shard_count; i++) {
        const shard_t *shard = &job->shards[i];
        const plan_worker_t *host = plan_worker (cluster, &shard->worker);
        view->shards.items[view->shards.count++] =
            (group_shard_t){.index = shard->index,
                            .generation = shard->generation,
                            .node = shard->worker,
                            .endpoint = host ? host->worker.lane : "",
                            .ready = shard->phase == SHARD_READY};
        view->complete &= shard->phase == SHARD_READY;
    }
}

/*  Is it too early for its next start? No wait is longer than the back-off, or this
    clock and the one that set the time disagree. */
static bool too_early (const job_spec_t *spec, const task_t *task, int64_t now_ms)
{
    return task->phase == TASK_ASSIGNED && task->not_before_ms > now_ms &&
           task->not_before_ms - now_ms <= job_backoff_ms (&spec->restart, task->failures);
}

static bool assign_ranks (const plan_job_t *job, const plan_worker_t *worker, int64_t now_ms,
                          assignment_t *out)
{
    bool held_back = false, stop = job->job.phase == JOB_STOPPING;
    for (size_t i = 0; i < job->task_count; i++) {
        const task_t *task = &job->tasks[i];
        if (!plan_holds (task) || !is_on (&task->worker, worker))
            continue;
        if (!stop && too_early (&job->job.spec, task, now_ms)) {
            held_back = true;
            continue;
        }
        out->tasks.items[out->tasks.count++] = (task_order_t){.job_id = job->job.id,
                                                              .rank = task->rank,
                                                              .attempt = task->attempt,
                                                              .stop = stop,
                                                              .epoch = job->job.epoch,
                                                              .world = job->task_count,
                                                              .spec = job->job.spec};
    }
    return held_back;
}

static void assign_shards (const plan_job_t *job, const plan_worker_t *worker, assignment_t *out)
{
    for (size_t i = 0; i < job->shard_count; i++) {
        const shard_t *shard = &job->shards[i];
        if (shard->phase != SHARD_WAITING && is_on (&shard->worker, worker))
            out->shards.items[out->shards.count++] = (shard_order_t){
                .job_id = job->job.id, .index = shard->index, .generation = shard->generation};
    }
}

int assign_worker (const plan_cluster_t *cluster, const plan_worker_t *worker, int64_t now_ms,
                   arena_t *arena, assignment_t *out, bool *ret_held_back)
{
    size_t tasks = 1, shards = 1;
    for (size_t i = 0; i < worker->job_count; i++) {
        tasks += cluster->jobs[worker->jobs[i]].task_count;
        shards += cluster->jobs[worker->jobs[i]].shard_count;
    }
    record_init (&assignment_record, out);
    out->tasks.items = arena_alloc (arena, tasks * sizeof (task_order_t));
    out->shards.items = arena_alloc (arena, shards * sizeof (shard_order_t));
    out->groups.items = arena_alloc (arena, (worker->job_count + 1) * sizeof (group_view_t));
    if (!out->tasks.items || !out->shards.items || !out->groups.items)
        return -1;
    for (size_t i = 0; i < worker->job_count; i++) {
        const plan_job_t *job = &cluster->jobs[worker->jobs[i]];
        size_t before = out->tasks.count + out->shards.count;
        *ret_held_back |= assign_ranks (job, worker, now_ms, out);
        assign_shards (job, worker, out);
        if (out->tasks.count + out->shards.count > before)
            view_group (cluster, job, arena, &out->groups.items[out->groups.count++]);
    }
    return arena->failed ? -1 : 0;
}
