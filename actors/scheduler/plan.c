/*  plan - where the waiting ranks and aggregators of a job go */
#include "actors/scheduler/plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*  ---- the picture ----------------------------------------------------------- */

plan_worker_t *plan_worker (const plan_cluster_t *cluster, const record_key_t *key)
{
    size_t low = 0, high = cluster->worker_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp (&cluster->workers[middle].worker.key, key, sizeof (*key));
        if (!order)
            return &cluster->workers[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const plan_job_t *plan_job (const plan_cluster_t *cluster, const char *id)
{
    for (size_t i = 0; i < cluster->job_count; i++)
        if (!strcmp (cluster->jobs[i].job.id, id))
            return &cluster->jobs[i];
    return NULL;
}

bool plan_holds (const task_t *task)
{
    return task->phase == TASK_ASSIGNED || task->phase == TASK_RUNNING;
}

static void take (resources_t *free, const resources_t *need)
{
    free->cpu -= need->cpu;
    free->memory -= need->memory < free->memory ? need->memory : free->memory;
    free->gpus -= need->gpus < free->gpus ? need->gpus : free->gpus;
}

static int no_memory (nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a picture of the cluster");
}

static int read_workers (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster,
                         nexus_error_t *error)
{
    worker_t *workers;
    size_t count;
    if (ledger_list_workers (txn, arena, &workers, &count, error))
        return -1;
    cluster->workers = arena_alloc (arena, (count + 1) * sizeof (*cluster->workers));
    const char **sites = arena_alloc (arena, (count + 1) * sizeof (*sites));
    size_t site_count = 0;
    if (!cluster->workers || !sites)
        return no_memory (error);
    for (size_t i = 0; i < count; i++) {
        size_t site = 0;
        while (site < site_count && strcmp (sites[site], workers[i].site))
            site++;
        if (site == site_count)
            sites[site_count++] = workers[i].site;
        cluster->workers[i] =
            (plan_worker_t){.worker = workers[i], .free = workers[i].resources, .site = site};
    }
    cluster->worker_count = count;
    return 0;
}

static int by_priority_then_age (const void *a, const void *b)
{
    const job_t *x = &((const plan_job_t *)a)->job, *y = &((const plan_job_t *)b)->job;
    if (x->spec.priority != y->spec.priority)
        return x->spec.priority > y->spec.priority ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

typedef struct {
    tables_txn_t *txn;
    arena_t *arena;
    plan_cluster_t *cluster;
    nexus_error_t *error;
    bool failed;
} reading_t;

static bool read_job (void *context, slice_t key, slice_t value)
{
    reading_t *self = context;
    (void)value;
    ledger_key_t id = {.size = key.size};
    memcpy (id.bytes, key.data, key.size);
    plan_job_t *job = &self->cluster->jobs[self->cluster->job_count];
    int found = ledger_get (self->txn, LEDGER_JOBS, id, self->arena, &job->job, self->error);
    if (found <= 0) {
        self->failed = true;
        if (!found)
            nexus_error_set (self->error, NEXUS_CORRUPT, "ledger: a job is active, but not there");
        return false;
    }
    self->cluster->job_count++;
    return true;
}

static int read_jobs (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster,
                      nexus_error_t *error)
{
    size_t count = tables_count (txn, LEDGER_ACTIVE);
    reading_t reading = {txn, arena, cluster, error, false};
    cluster->jobs = arena_alloc (arena, (count + 1) * sizeof (*cluster->jobs));
    if (!cluster->jobs)
        return no_memory (error);
    tables_each (txn, LEDGER_ACTIVE, (slice_t){NULL, 0}, (slice_t){NULL, 0}, read_job, &reading);
    if (reading.failed)
        return -1;
    qsort (cluster->jobs, cluster->job_count, sizeof (*cluster->jobs), by_priority_then_age);
    return 0;
}

/*  That worker works for that job. */
static int note_job (arena_t *arena, plan_worker_t *worker, size_t job)
{
    if (worker->job_count && worker->jobs[worker->job_count - 1] == job)
        return 0;
    if (worker->job_count == worker->job_room) {
        size_t room = worker->job_room ? worker->job_room * 2 : 4;
        size_t *jobs = arena_alloc (arena, room * sizeof (*jobs));
        if (!jobs)
            return -1;
        if (worker->job_count)
            memcpy (jobs, worker->jobs, worker->job_count * sizeof (*jobs));
        worker->jobs = jobs;
        worker->job_room = room;
    }
    worker->jobs[worker->job_count++] = job;
    return 0;
}

static int read_ranks (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster, size_t index,
                       nexus_error_t *error)
{
    plan_job_t *job = &cluster->jobs[index];
    if (ledger_list_tasks (txn, job->job.id, arena, &job->tasks, &job->task_count, error) ||
        ledger_list_shards (txn, job->job.id, arena, &job->shards, &job->shard_count, error))
        return -1;
    for (size_t i = 0; i < job->task_count; i++) {
        plan_worker_t *holder =
            plan_holds (&job->tasks[i]) ? plan_worker (cluster, &job->tasks[i].worker) : NULL;
        if (holder)
            take (&holder->free, &job->job.spec.resources);
        if (holder && note_job (arena, holder, index))
            return no_memory (error);
    }
    for (size_t i = 0; i < job->shard_count; i++) {
        plan_worker_t *holder = job->shards[i].phase != SHARD_WAITING
                                    ? plan_worker (cluster, &job->shards[i].worker)
                                    : NULL;
        if (holder && note_job (arena, holder, index))
            return no_memory (error);
    }
    return 0;
}

int plan_read (tables_txn_t *txn, arena_t *arena, plan_cluster_t *cluster, nexus_error_t *error)
{
    *cluster = (plan_cluster_t){.workers = NULL};
    if (read_workers (txn, arena, cluster, error) || read_jobs (txn, arena, cluster, error))
        return -1;
    for (size_t i = 0; i < cluster->job_count; i++)
        if (read_ranks (txn, arena, cluster, i, error))
            return -1;
    return 0;
}

bool plan_waits (const plan_job_t *job)
{
    if (job->job.phase == JOB_STOPPING)
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

/*  What this job has on each worker and each site, with what is being planned. */
typedef struct {
    size_t *ranks;      /* by worker */
    size_t *shards;     /* by worker */
    size_t *site_ranks; /* by site */
} share_t;

static bool share_init (share_t *self, const plan_cluster_t *cluster, const plan_job_t *job,
                        arena_t *arena)
{
    size_t size = (cluster->worker_count + 1) * sizeof (size_t);
    self->ranks = arena_alloc (arena, size);
    self->shards = arena_alloc (arena, size);
    self->site_ranks = arena_alloc (arena, size);
    if (!self->ranks || !self->shards || !self->site_ranks)
        return false;
    for (size_t i = 0; i < job->task_count; i++) {
        const plan_worker_t *holder =
            plan_holds (&job->tasks[i]) ? plan_worker (cluster, &job->tasks[i].worker) : NULL;
        if (holder) {
            self->ranks[holder - cluster->workers]++;
            self->site_ranks[holder->site]++;
        }
    }
    for (size_t i = 0; i < job->shard_count; i++) {
        const plan_worker_t *holder = job->shards[i].phase != SHARD_WAITING
                                          ? plan_worker (cluster, &job->shards[i].worker)
                                          : NULL;
        if (holder)
            self->shards[holder - cluster->workers]++;
    }
    return true;
}

static bool allowed (const plan_worker_t *candidate, const job_spec_t *spec)
{
    if (candidate->worker.state != WORKER_ACTIVE)
        return false;
    for (size_t i = 0; i < spec->sites.count; i++)
        if (!strcmp (spec->sites.items[i], candidate->worker.site))
            return true;
    return !spec->sites.count;
}

static bool fits (const plan_worker_t *candidate, const resources_t *need)
{
    return candidate->free.cpu + 1e-9 >= need->cpu && candidate->free.memory >= need->memory &&
           candidate->free.gpus >= need->gpus;
}

/*  Is a the better place than b? Spread: fewest ranks of this job, then most free
    cores. Pack: the site and the worker that hold most of it, then the fullest. */
static bool better (const plan_cluster_t *cluster, const share_t *share, placement_style_t style,
                    size_t a, size_t b)
{
    const plan_worker_t *x = &cluster->workers[a], *y = &cluster->workers[b];
    if (style == PLACE_SPREAD) {
        if (share->ranks[a] != share->ranks[b])
            return share->ranks[a] < share->ranks[b];
        return x->free.cpu > y->free.cpu;
    }
    if (share->site_ranks[x->site] != share->site_ranks[y->site])
        return share->site_ranks[x->site] > share->site_ranks[y->site];
    if (share->ranks[a] != share->ranks[b])
        return share->ranks[a] > share->ranks[b];
    return x->free.cpu < y->free.cpu;
}

/*  worker_count: nowhere. */
static size_t best_worker (const plan_cluster_t *cluster, const share_t *share,
                           const job_spec_t *spec)
{
    size_t best = cluster->worker_count;
    for (size_t i = 0; i < cluster->worker_count; i++)
        if (fits (&cluster->workers[i], &spec->resources) && allowed (&cluster->workers[i], spec) &&
            (best == cluster->worker_count ||
             better (cluster, share, (placement_style_t)spec->placement, i, best)))
            best = i;
    return best;
}

/*  Ranks need the same, so where one finds no room the later ones find none either,
    and those placed have no gap between them. */
static void place_ranks (plan_cluster_t *cluster, const plan_job_t *job, share_t *share,
                         place_job_t *plan)
{
    for (size_t i = 0; i < job->task_count; i++) {
        if (job->tasks[i].phase != TASK_WAITING)
            continue;
        size_t best = best_worker (cluster, share, &job->job.spec);
        if (best == cluster->worker_count)
            return;
        share->ranks[best]++;
        share->site_ranks[cluster->workers[best].site]++;
        take (&cluster->workers[best].free, &job->job.spec.resources);
        plan->tasks.items[plan->tasks.count++] =
            (place_t){job->tasks[i].rank, cluster->workers[best].worker.key};
    }
}

static bool place_shards (const plan_cluster_t *cluster, const plan_job_t *job, share_t *share,
                          place_job_t *plan)
{
    for (size_t s = 0; s < job->shard_count; s++) {
        if (job->shards[s].phase != SHARD_WAITING)
            continue;
        size_t best = cluster->worker_count;
        for (size_t i = 0; i < cluster->worker_count; i++) {
            if (!allowed (&cluster->workers[i], &job->job.spec) ||
                !*cluster->workers[i].worker.lane)
                continue;
            /*  Fewest shards first; among those, close to where ranks are. */
            if (best == cluster->worker_count || share->shards[i] < share->shards[best] ||
                (share->shards[i] == share->shards[best] && share->ranks[i] > share->ranks[best]))
                best = i;
        }
        if (best == cluster->worker_count)
            return false;
        share->shards[best]++;
        plan->shards.items[plan->shards.count++] =
            (place_t){job->shards[s].index, cluster->workers[best].worker.key};
    }
    return true;
}

/*  As many ranks as must find room now. */
static size_t needed (const plan_job_t *job)
{
    size_t waiting = 0;
    for (size_t i = 0; i < job->task_count; i++)
        waiting += job->tasks[i].phase == TASK_WAITING;
    return job->job.epoch ? waiting : (size_t)job->job.spec.gang.min;
}

static void explain (const plan_cluster_t *cluster, const plan_job_t *job, size_t placed,
                     arena_t *arena, const char **ret_reason, const char **ret_message)
{
    const resources_t *need = &job->job.spec.resources;
    size_t candidates = 0;
    double most_free = 0;
    for (size_t i = 0; i < cluster->worker_count; i++)
        if (allowed (&cluster->workers[i], &job->job.spec)) {
            candidates++;
            if (cluster->workers[i].free.cpu > most_free)
                most_free = cluster->workers[i].free.cpu;
        }
    *ret_reason = candidates ? "InsufficientCapacity" : "NoMatchingWorker";
    *ret_message = arena_printf (
        arena,
        "needs %zu rank(s) of %g core(s), %" PRIu64 " bytes of memory, %" PRIu64
        " GPU(s) at once; %zu fit on %zu matching worker(s), of which the best has %g core(s) free",
        needed (job), need->cpu, need->memory, need->gpus, placed, candidates, most_free);
}

bool plan_place (plan_cluster_t *cluster, const plan_job_t *job, arena_t *arena, place_job_t *plan,
                 const char **ret_reason, const char **ret_message)
{
    size_t count = cluster->worker_count;
    share_t share;
    resources_t *before = arena_alloc (arena, (count + 1) * sizeof (*before));
    record_init (&place_job_record, plan);
    plan->job_id = job->job.id;
    plan->epoch = job->job.epoch;
    plan->tasks.items = arena_alloc (arena, (job->task_count + 1) * sizeof (place_t));
    plan->shards.items = arena_alloc (arena, (job->shard_count + 1) * sizeof (place_t));
    *ret_reason = "OutOfMemory";
    *ret_message = "the leader has no memory to plan this job";
    if (!share_init (&share, cluster, job, arena) || !before || !plan->tasks.items ||
        !plan->shards.items)
        return false;
    for (size_t i = 0; i < count; i++)
        before[i] = cluster->workers[i].free;
    place_ranks (cluster, job, &share, plan);
    bool ranks = plan->tasks.count >= needed (job);
    if (ranks && place_shards (cluster, job, &share, plan))
        return true;
    for (size_t i = 0; i < count; i++)
        cluster->workers[i].free = before[i];
    if (ranks) {
        *ret_reason = "NoMatchingWorker";
        *ret_message = "no active worker offers a data lane (lane.bind) for its aggregators";
    } else
        explain (cluster, job, plan->tasks.count, arena, ret_reason, ret_message);
    return false;
}
