/*  plan - where the waiting ranks and aggregators of a job go */
#include "actors/scheduler/plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*  ---- the picture ----------------------------------------------------------- */

static int by_priority_then_age (const void *a, const void *b)
{
    const job_t *x = &((const plan_job_t *) a)->job, *y = &((const plan_job_t *) b)->job;
    if (x->spec.priority != y->spec.priority)
        return x->spec.priority > y->spec.priority ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static plan_worker_t *find_worker (plan_cluster_t *cluster, const record_key_t *key)
{
    for (size_t i = 0; i < cluster->worker_count; i++)
        if (!memcmp (&cluster->workers[i].worker.key, key, sizeof (*key)))
            return &cluster->workers[i];
    return NULL;
}

static void take (resources_t *free, const resources_t *need)
{
    free->cpu -= need->cpu;
    free->memory -= need->memory < free->memory ? need->memory : free->memory;
    free->gpus -= need->gpus < free->gpus ? need->gpus : free->gpus;
}

static bool task_holds (const task_t *task)
{
    return task->phase == TASK_ASSIGNED || task->phase == TASK_RUNNING;
}

int plan_read (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster, plan_job_t **ret_jobs,
               size_t *ret_count, nexus_error_t *error)
{
    worker_t *workers;
    job_t *jobs;
    size_t worker_count, job_count, count = 0;
    if (ledger_list_workers (txn, arena, &workers, &worker_count, error) ||
        ledger_list (txn, LEDGER_JOBS, NULL, NULL, 0, arena, (void **) &jobs, &job_count, error))
        return -1;
    plan_worker_t *rooms = arena_alloc (arena, (worker_count + 1) * sizeof (*rooms));
    plan_job_t *gangs = arena_alloc (arena, (job_count + 1) * sizeof (*gangs));
    if (!rooms || !gangs)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory to plan %zu jobs", job_count);
    for (size_t i = 0; i < worker_count; i++)
        rooms[i] = (plan_worker_t){ workers[i], workers[i].resources };
    plan_cluster_t picture = { rooms, worker_count };
    for (size_t i = 0; i < job_count; i++) {
        plan_job_t *gang = &gangs[count];
        if (job_phase_ended (jobs[i].phase))
            continue;
        gang->job = jobs[i];
        if (ledger_list_tasks (txn, jobs[i].id, arena, &gang->tasks, &gang->task_count, error) ||
            ledger_list_shards (txn, jobs[i].id, arena, &gang->shards, &gang->shard_count, error))
            return -1;
        for (size_t t = 0; t < gang->task_count; t++) {
            plan_worker_t *holder = task_holds (&gang->tasks[t])
                                        ? find_worker (&picture, &gang->tasks[t].worker)
                                        : NULL;
            if (holder)
                take (&holder->free, &jobs[i].spec.resources);
        }
        count++;
    }
    qsort (gangs, count, sizeof (*gangs), by_priority_then_age);
    *cluster = picture;
    *ret_jobs = gangs;
    *ret_count = count;
    return 0;
}

bool plan_waits (const plan_job_t *job)
{
    if (job->job.phase == JOB_STOPPING || job_phase_ended (job->job.phase))
        return false;
    for (size_t i = 0; i < job->task_count; i++)
        if (job->tasks[i].phase == TASK_WAITING)
            return true;
    for (size_t i = 0; i < job->shard_count; i++)
        if (job->shards[i].phase == SHARD_WAITING)
            return true;
    return false;
}

/*  ---- placing ------------------------------------------------------------------ */

static bool allowed (const plan_worker_t *candidate, const job_spec_t *spec)
{
    if (candidate->worker.state != WORKER_ACTIVE)
        return false;
    for (size_t i = 0; i < spec->sites.count; i++)
        if (candidate->worker.site && !strcmp (spec->sites.items[i], candidate->worker.site))
            return true;
    return !spec->sites.count;
}

static bool fits (const plan_worker_t *candidate, const resources_t *need)
{
    return candidate->free.cpu + 1e-9 >= need->cpu && candidate->free.memory >= need->memory &&
           candidate->free.gpus >= need->gpus;
}

/*  Ranks of the job that a worker, or its whole site, holds already. */
static size_t ranks_near (const plan_cluster_t *cluster, const size_t *held, size_t worker, bool site)
{
    size_t sum = 0;
    const char *name = cluster->workers[worker].worker.site;
    for (size_t i = 0; i < cluster->worker_count; i++) {
        const char *other = cluster->workers[i].worker.site;
        if (i == worker || (site && name && other && !strcmp (name, other)))
            sum += held[i];
    }
    return sum;
}

/*  Is a the better place than b? Spread: fewest ranks of this job, then most free
    cores. Pack: the site and the worker that hold most of it, then the fullest. */
static bool better (const plan_cluster_t *cluster, const size_t *held, placement_style_t style,
                    size_t a, size_t b)
{
    double free_a = cluster->workers[a].free.cpu, free_b = cluster->workers[b].free.cpu;
    if (style == PLACE_SPREAD) {
        if (held[a] != held[b])
            return held[a] < held[b];
        return free_a > free_b;
    }
    size_t site_a = ranks_near (cluster, held, a, true);
    size_t site_b = ranks_near (cluster, held, b, true);
    if (site_a != site_b)
        return site_a > site_b;
    if (held[a] != held[b])
        return held[a] > held[b];
    return free_a < free_b;
}

static bool place_ranks (plan_cluster_t *cluster, const plan_job_t *job, size_t *held,
                         place_job_t *plan, const char **ret_reason, const char **ret_message,
                         arena_t *arena)
{
    const job_spec_t *spec = &job->job.spec;
    size_t waiting = 0, candidates = 0;
    double most_free = 0;
    for (size_t i = 0; i < cluster->worker_count; i++)
        if (allowed (&cluster->workers[i], spec)) {
            candidates++;
            if (cluster->workers[i].free.cpu > most_free)
                most_free = cluster->workers[i].free.cpu;
        }
    for (size_t t = 0; t < job->task_count; t++) {
        if (job->tasks[t].phase != TASK_WAITING)
            continue;
        waiting++;
        size_t best = cluster->worker_count;
        for (size_t i = 0; i < cluster->worker_count; i++)
            if (allowed (&cluster->workers[i], spec) && fits (&cluster->workers[i], &spec->resources) &&
                (best == cluster->worker_count ||
                 better (cluster, held, (placement_style_t) spec->placement, i, best)))
                best = i;
        if (best == cluster->worker_count)
            continue;
        if (plan->tasks.count + 1 < waiting)
            continue; /* ranks are dense: what follows a gap is not placed */
        held[best]++;
        take (&cluster->workers[best].free, &spec->resources);
        plan->tasks.items[plan->tasks.count++] =
            (place_t){ job->tasks[t].rank, cluster->workers[best].worker.key };
    }
    size_t needed = job->job.epoch ? waiting : spec->gang.min;
    if (plan->tasks.count >= needed)
        return true;
    *ret_reason = candidates ? "InsufficientCapacity" : "NoMatchingWorker";
    *ret_message = arena_printf (
        arena, "needs %zu rank(s) of %g core(s), %" PRIu64 " bytes of memory, %" PRIu64
        " GPU(s) at once; %zu fit on %zu matching worker(s), of which the best has %g core(s) free",
        needed, spec->resources.cpu, spec->resources.memory, spec->resources.gpus,
        plan->tasks.count, candidates, most_free);
    return false;
}

static bool place_shards (const plan_cluster_t *cluster, const plan_job_t *job, size_t *hosted,
                          const size_t *held, place_job_t *plan, const char **ret_reason,
                          const char **ret_message)
{
    for (size_t s = 0; s < job->shard_count; s++) {
        if (job->shards[s].phase != SHARD_WAITING)
            continue;
        size_t best = cluster->worker_count;
        for (size_t i = 0; i < cluster->worker_count; i++) {
            const worker_t *worker = &cluster->workers[i].worker;
            if (!allowed (&cluster->workers[i], &job->job.spec) || !worker->lane || !*worker->lane)
                continue;
            /*  Fewest shards first; among those, close to where ranks are. */
            if (best == cluster->worker_count || hosted[i] < hosted[best] ||
                (hosted[i] == hosted[best] && held[i] > held[best]))
                best = i;
        }
        if (best == cluster->worker_count) {
            *ret_reason = "NoMatchingWorker";
            *ret_message = "no active worker offers a data lane (lane.bind) for its aggregators";
            return false;
        }
        hosted[best]++;
        plan->shards.items[plan->shards.count++] =
            (place_t){ job->shards[s].index, cluster->workers[best].worker.key };
    }
    return true;
}

bool plan_place (plan_cluster_t *cluster, const plan_job_t *job, arena_t *arena, place_job_t *plan,
                 const char **ret_reason, const char **ret_message)
{
    size_t count = cluster->worker_count;
    size_t *held = arena_alloc (arena, (count + 1) * sizeof (*held));
    size_t *hosted = arena_alloc (arena, (count + 1) * sizeof (*hosted));
    resources_t *before = arena_alloc (arena, (count + 1) * sizeof (*before));
    record_init (&place_job_record, plan);
    plan->job_id = job->job.id;
    plan->epoch = job->job.epoch;
    plan->tasks.items = arena_alloc (arena, (job->task_count + 1) * sizeof (place_t));
    plan->shards.items = arena_alloc (arena, (job->shard_count + 1) * sizeof (place_t));
    if (!held || !hosted || !before || !plan->tasks.items || !plan->shards.items) {
        *ret_reason = "OutOfMemory";
        *ret_message = "the leader has no memory to plan this job";
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        before[i] = cluster->workers[i].free;
        for (size_t t = 0; t < job->task_count; t++)
            held[i] += task_holds (&job->tasks[t]) &&
                       !memcmp (&job->tasks[t].worker, &cluster->workers[i].worker.key, 32);
        for (size_t s = 0; s < job->shard_count; s++)
            hosted[i] += job->shards[s].phase != SHARD_WAITING &&
                         !memcmp (&job->shards[s].worker, &cluster->workers[i].worker.key, 32);
    }
    if (place_ranks (cluster, job, held, plan, ret_reason, ret_message, arena) &&
        place_shards (cluster, job, hosted, held, plan, ret_reason, ret_message))
        return true;
    for (size_t i = 0; i < count; i++)
        cluster->workers[i].free = before[i];
    return false;
}
