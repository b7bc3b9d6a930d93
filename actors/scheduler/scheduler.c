/*  scheduler - the actor that decides who runs what */
#include "actors/scheduler/scheduler.h"

#include "actors/scheduler/plan.h"

#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 100,          /* back-offs, deadlines and repairs are looked at this often */
    RESEND_MS = 300,        /* a worker that did not follow gets its assignment again */
    ALIVE_MS = 3000,        /* for the soft view only */
    MEMORY_MAX = 256 << 20
};

/*  What is known of a worker beyond the ledger. */
typedef struct {
    record_key_t key;
    const message_t *report; /* its last one, held; or NULL */
    int64_t heard_ns;
    buffer_t sent;           /* its last assignment, encoded with version 0 */
    uint64_t version;        /* under which it was sent */
    int64_t sent_ns;
    uint64_t states_request; /* proposals in flight */
    uint64_t points_request;
    const message_t *points; /* the report that points_request carries; held */
    uint64_t reports;        /* how many came */
    uint64_t points_taken;   /* up to which their points were proposed */
    bool fresh;              /* the report has not been compared with the ledger yet */
} peer_t;

typedef struct {
    tables_t *tables;
    leadership_t leadership;
    uint64_t counter;       /* of assignment versions in this term */
    peer_t **peers;
    size_t peer_count, peer_room;
    uint64_t plan_request;  /* one plan is in flight at a time: the next sees its result */
    bool dirty;             /* the ledger changed, or we have just become leader */
    bool retry;             /* something waits for time to pass */
} scheduler_t;

/*  ---- peers -------------------------------------------------------------------- */

static peer_t *peer_of (scheduler_t *self, const record_key_t *key, bool create)
{
    for (size_t i = 0; i < self->peer_count; i++)
        if (!memcmp (&self->peers[i]->key, key, sizeof (*key)))
            return self->peers[i];
    if (!create)
        return NULL;
    if (self->peer_count == self->peer_room) {
        self->peer_room = self->peer_room ? self->peer_room * 2 : 16;
        self->peers = realloc (self->peers, self->peer_room * sizeof (*self->peers));
    }
    peer_t *peer = calloc (1, sizeof (*peer));
    if (!self->peers || !peer)
        abort ();
    peer->key = *key;
    return self->peers[self->peer_count++] = peer;
}

static void drop_points (peer_t *peer)
{
    peer->points_request = 0;
    if (peer->points)
        message_release ((message_t **) &peer->points);
}

static void forget_leadership (scheduler_t *self)
{
    for (size_t i = 0; i < self->peer_count; i++) {
        buffer_clear (&self->peers[i]->sent);
        self->peers[i]->version = 0;
        self->peers[i]->states_request = 0;
        self->peers[i]->fresh = self->peers[i]->report != NULL;
        drop_points (self->peers[i]);
    }
    self->plan_request = 0;
    self->counter = 0;
}

/*  ---- what workers report --------------------------------------------------------- */

static const task_t *find_task (const plan_job_t *jobs, size_t count, const task_state_t *state)
{
    for (size_t i = 0; i < count; i++)
        if (state->job_id && !strcmp (jobs[i].job.id, state->job_id))
            for (size_t t = 0; t < jobs[i].task_count; t++)
                if (jobs[i].tasks[t].rank == state->rank)
                    return &jobs[i].tasks[t];
    return NULL;
}

static const shard_t *find_shard (const plan_job_t *jobs, size_t count, const shard_state_t *state)
{
    for (size_t i = 0; i < count; i++)
        if (state->job_id && !strcmp (jobs[i].job.id, state->job_id))
            for (size_t s = 0; s < jobs[i].shard_count; s++)
                if (jobs[i].shards[s].index == state->index)
                    return &jobs[i].shards[s];
    return NULL;
}

static bool task_is_news (const task_t *task, const peer_t *peer, const task_state_t *state)
{
    if (!task || memcmp (&task->worker, &peer->key, 32) || task->attempt != state->attempt ||
        (task->phase != TASK_ASSIGNED && task->phase != TASK_RUNNING))
        return false;
    if (state->phase == TASK_RUNNING)
        return task->phase != TASK_RUNNING || memcmp (&task->key, &state->key, 32);
    return state->phase == TASK_SUCCEEDED || state->phase == TASK_FAILED ||
           state->phase == TASK_STOPPED;
}

/*  Proposes what of a worker's report is not in the ledger yet. */
static void record_report (context_t *ctx, peer_t *peer, const plan_job_t *jobs, size_t count,
                           arena_t *arena)
{
    const worker_report_t *report = peer->report->body;
    update_tasks_t news = { .worker = peer->key, .time_ms = context_wall_ms (ctx) };
    news.tasks.items = arena_alloc (arena, (report->tasks.count + 1) * sizeof (task_state_t));
    news.shards.items = arena_alloc (arena, (report->shards.count + 1) * sizeof (shard_state_t));
    if (!news.tasks.items || !news.shards.items)
        return;
    for (size_t i = 0; i < report->tasks.count; i++)
        if (task_is_news (find_task (jobs, count, &report->tasks.items[i]), peer,
                          &report->tasks.items[i]))
            news.tasks.items[news.tasks.count++] = report->tasks.items[i];
    for (size_t i = 0; i < report->shards.count; i++) {
        const shard_state_t *state = &report->shards.items[i];
        const shard_t *shard = find_shard (jobs, count, state);
        if (shard && !memcmp (&shard->worker, &peer->key, 32) &&
            shard->generation == state->generation && shard->phase != SHARD_WAITING &&
            state->ready != (shard->phase == SHARD_READY))
            news.shards.items[news.shards.count++] = *state;
    }
    peer->fresh = false;
    if ((news.tasks.count || news.shards.count) && !peer->states_request) {
        /*  What is in the report now is proposed once; a later report repeats what got lost. */
        peer->states_request = command_propose (ctx, &update_tasks_record, &news);
    }
    if (report->points.count && !peer->points_request && peer->points_taken < peer->reports) {
        add_metrics_t points = { .points = { report->points.items, report->points.count } };
        peer->points = message_retain ((message_t *) peer->report);
        peer->points_taken = peer->reports;
        peer->points_request = command_propose (ctx, &add_metrics_record, &points);
    }
}

/*  ---- assignments ------------------------------------------------------------------- */

static const worker_t *worker_of (const plan_cluster_t *cluster, const record_key_t *key)
{
    for (size_t i = 0; i < cluster->worker_count; i++)
        if (!memcmp (&cluster->workers[i].worker.key, key, sizeof (*key)))
            return &cluster->workers[i].worker;
    return NULL;
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
        *member = (group_member_t){ .rank = task->rank, .attempt = task->attempt,
                                    .done = task->phase == TASK_SUCCEEDED };
        if (task->phase == TASK_RUNNING)
            member->key = task->key;
        view->complete &= member->done || !record_key_is_zero (&member->key);
    }
    for (size_t i = 0; i < job->shard_count; i++) {
        const shard_t *shard = &job->shards[i];
        const worker_t *host = worker_of (cluster, &shard->worker);
        view->shards.items[view->shards.count++] =
            (group_shard_t){ .index = shard->index, .generation = shard->generation,
                             .node = shard->worker, .endpoint = host ? host->lane : "",
                             .ready = shard->phase == SHARD_READY };
        view->complete &= shard->phase == SHARD_READY;
    }
}

/*  Adds what one job wants of a worker. Returns true if a back-off holds something back. */
static bool assign_job (const plan_cluster_t *cluster, const plan_job_t *job,
                        const record_key_t *worker, int64_t now_ms, arena_t *arena,
                        assignment_t *out)
{
    bool held_back = false, concerned = false;
    for (size_t i = 0; i < job->task_count; i++) {
        const task_t *task = &job->tasks[i];
        if ((task->phase != TASK_ASSIGNED && task->phase != TASK_RUNNING) ||
            memcmp (&task->worker, worker, sizeof (*worker)))
            continue;
        if (task->phase == TASK_ASSIGNED && task->not_before_ms > now_ms &&
            job->job.phase != JOB_STOPPING) {
            held_back = true;
            continue;
        }
        concerned = true;
        out->tasks.items[out->tasks.count++] =
            (task_order_t){ .job_id = job->job.id, .rank = task->rank, .attempt = task->attempt,
                            .stop = job->job.phase == JOB_STOPPING, .world = job->task_count,
                            .spec = job->job.spec };
    }
    for (size_t i = 0; i < job->shard_count; i++) {
        const shard_t *shard = &job->shards[i];
        if (shard->phase == SHARD_WAITING || memcmp (&shard->worker, worker, sizeof (*worker)))
            continue;
        concerned = true;
        out->shards.items[out->shards.count++] =
            (shard_order_t){ .job_id = job->job.id, .index = shard->index,
                             .generation = shard->generation };
    }
    if (concerned)
        view_group (cluster, job, arena, &out->groups.items[out->groups.count++]);
    return held_back;
}

/*  Works out a worker's assignment; sends it if it is new, or not yet followed. */
static void assign (scheduler_t *self, context_t *ctx, peer_t *peer, const plan_cluster_t *cluster,
                    const plan_job_t *jobs, size_t count, arena_t *arena)
{
    size_t tasks = 1, shards = 1;
    for (size_t i = 0; i < count; i++) {
        tasks += jobs[i].task_count;
        shards += jobs[i].shard_count;
    }
    assignment_t out;
    record_init (&assignment_record, &out);
    out.tasks.items = arena_alloc (arena, tasks * sizeof (task_order_t));
    out.shards.items = arena_alloc (arena, shards * sizeof (shard_order_t));
    out.groups.items = arena_alloc (arena, (count + 1) * sizeof (group_view_t));
    if (!out.tasks.items || !out.shards.items || !out.groups.items)
        return;
    for (size_t i = 0; i < count; i++)
        self->retry |= assign_job (cluster, &jobs[i], &peer->key, context_wall_ms (ctx), arena, &out);

    buffer_t bytes = { 0 };
    record_encode (&assignment_record, &out, &bytes);
    const worker_report_t *report = peer->report ? peer->report->body : NULL;
    bool news = !peer->version || bytes.size != peer->sent.size ||
                memcmp (bytes.data, peer->sent.data, bytes.size);
    bool behind = report && report->assignment < peer->version &&
                  context_now (ctx) - peer->sent_ns > MS_TO_NS (RESEND_MS);
    if (news) {
        peer->version = self->leadership.term << 32 | ++self->counter;
        buffer_free (&peer->sent);
        peer->sent = bytes;
    } else
        buffer_free (&bytes);
    if (!news && !behind)
        return;
    out.version = peer->version;
    for (size_t i = 0; i < out.groups.count; i++)
        out.groups.items[i].version = peer->version;
    address_t agent = address_remote (&peer->key, "agent", 0);
    context_send (ctx, &agent, &assignment_record, &out);
    peer->sent_ns = context_now (ctx);
}

/*  ---- planning ---------------------------------------------------------------------- */

static bool say_why (scheduler_t *self, context_t *ctx, const job_t *job, const char *reason,
                     const char *message)
{
    if (job->reason && !strcmp (job->reason, reason) && job->message &&
        !strcmp (job->message, message))
        return false;
    explain_job_t why = { .job_id = job->id, .reason = reason, .message = message };
    self->plan_request = command_propose (ctx, &explain_job_record, &why);
    return true;
}

/*  Places the first job that can be, or says why the first that can't must wait. */
static void plan (scheduler_t *self, context_t *ctx, plan_cluster_t *cluster, plan_job_t *jobs,
                  size_t count, arena_t *arena)
{
    for (size_t i = 0; i < count && !self->plan_request; i++) {
        const char *reason, *message;
        place_job_t places;
        if (!plan_waits (&jobs[i]))
            continue;
        if (plan_place (cluster, &jobs[i], arena, &places, &reason, &message)) {
            places.time_ms = context_wall_ms (ctx);
            self->plan_request = command_propose (ctx, &place_job_record, &places);
        } else
            say_why (self, ctx, &jobs[i].job, reason, message);
    }
}

static void end_overdue (scheduler_t *self, context_t *ctx, const plan_job_t *jobs, size_t count)
{
    int64_t now_ms = context_wall_ms (ctx);
    for (size_t i = 0; i < count && !self->plan_request; i++) {
        const job_t *job = &jobs[i].job;
        if (!job->spec.max_runtime_ms || !job->started_ms || job->phase == JOB_STOPPING)
            continue;
        if (now_ms - job->started_ms < (int64_t) job->spec.max_runtime_ms) {
            self->retry = true;
            continue;
        }
        end_job_t end = { .job_id = job->id, .ending = JOB_TIMED_OUT, .reason = "MaxRuntime",
                          .message = "it ran for as long as max_runtime_ms allows",
                          .time_ms = now_ms };
        self->plan_request = command_propose (ctx, &end_job_record, &end);
    }
}

/*  Reads the ledger and brings everything in line with it. */
static void reconcile (scheduler_t *self, context_t *ctx)
{
    nexus_error_t error;
    arena_t arena;
    plan_cluster_t cluster;
    plan_job_t *jobs;
    size_t count;
    arena_init (&arena, MEMORY_MAX, NULL, 0);
    tables_txn_t *txn = tables_begin (self->tables, false, &error);
    int rc = txn ? plan_read (txn, &arena, &cluster, &jobs, &count, &error) : -1;
    if (txn)
        tables_abort (&txn);
    if (rc) {
        arena_reset (&arena);
        context_fail (ctx, &error);
        return;
    }
    self->dirty = self->retry = false;
    for (size_t i = 0; i < cluster.worker_count; i++) {
        peer_t *peer = peer_of (self, &cluster.workers[i].worker.key, true);
        if (peer->report && peer->fresh)
            record_report (ctx, peer, jobs, count, &arena);
        if (peer->report)
            assign (self, ctx, peer, &cluster, jobs, count, &arena);
    }
    end_overdue (self, ctx, jobs, count);
    plan (self, ctx, &cluster, jobs, count, &arena);
    arena_reset (&arena);
}

/*  ---- messages ------------------------------------------------------------------------ */

static void take_report (scheduler_t *self, context_t *ctx, const message_t *message)
{
    peer_t *peer = peer_of (self, &message->from.node, true);
    if (peer->report)
        message_release ((message_t **) &peer->report);
    peer->report = message_retain ((message_t *) message);
    peer->heard_ns = context_now (ctx);
    peer->reports++;
    peer->fresh = true;
}

static void take_reply (scheduler_t *self, context_t *ctx, const message_t *message)
{
    self->dirty = true;
    if (message->correlation == self->plan_request) {
        self->plan_request = 0;
        return;
    }
    for (size_t i = 0; i < self->peer_count; i++) {
        peer_t *peer = self->peers[i];
        if (message->correlation == peer->states_request) {
            peer->states_request = 0;
            peer->fresh = peer->report != NULL;
        } else if (message->correlation == peer->points_request) {
            if (message_body (message, proposed)) {
                const worker_report_t *report = peer->points->body;
                metrics_stored_t stored = { .points = { report->points.items,
                                                        report->points.count } };
                address_t agent = address_remote (&peer->key, "agent", 0);
                context_send (ctx, &agent, &metrics_stored_record, &stored);
            }
            drop_points (peer);
            peer->fresh = peer->report != NULL;
        }
    }
}

static void answer_view (scheduler_t *self, context_t *ctx, const message_t *message)
{
    const cluster_view_get_t *query = message->body;
    size_t room = 1;
    for (size_t i = 0; i < self->peer_count; i++)
        if (self->peers[i]->report)
            room += ((const worker_report_t *) self->peers[i]->report->body)->tasks.count;
    worker_view_t *workers = calloc (self->peer_count + 1, sizeof (*workers));
    task_traffic_t *traffic = calloc (room, sizeof (*traffic));
    cluster_view_t view = { .workers = { workers, 0 }, .traffic = { traffic, 0 } };
    for (size_t i = 0; workers && traffic && i < self->peer_count; i++) {
        const peer_t *peer = self->peers[i];
        if (!peer->report)
            continue;
        const worker_report_t *report = peer->report->body;
        int64_t ago_ms = NS_TO_MS (context_now (ctx) - peer->heard_ns);
        workers[view.workers.count++] =
            (worker_view_t){ .key = peer->key, .alive = ago_ms < ALIVE_MS,
                             .heard_ms_ago = (uint64_t) ago_ms, .load = report->load };
        for (size_t t = 0; t < report->tasks.count; t++) {
            const task_state_t *task = &report->tasks.items[t];
            if (query->job_id && task->job_id && !strcmp (query->job_id, task->job_id))
                traffic[view.traffic.count++] =
                    (task_traffic_t){ .rank = task->rank, .attempt = task->attempt,
                                      .bytes_pushed = task->bytes_pushed,
                                      .bytes_pulled = task->bytes_pulled };
        }
    }
    context_reply (ctx, message, &cluster_view_record, &view);
    free (workers);
    free (traffic);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    scheduler_t *self = state;
    if (message->flags & MESSAGE_REPLY)
        take_reply (self, ctx, message);
    else if (message->role == ROLE_WORKER && message_body (message, worker_report))
        take_report (self, ctx, message);
    else if (message->role != ROLE_LOCAL)
        return;
    else if (message_body (message, ledger_changed))
        self->dirty = true;
    else if (message_body (message, cluster_view_get))
        answer_view (self, ctx, message);
    else if (message_body (message, leadership)) {
        const leadership_t *leadership = message->body;
        if (leadership->leading != self->leadership.leading ||
            leadership->term != self->leadership.term) {
            forget_leadership (self);
            self->dirty = true;
        }
        self->leadership = *leadership;
    }
}

static void settle (void *state, context_t *ctx)
{
    scheduler_t *self = state;
    if (!self->leadership.leading)
        return;
    for (size_t i = 0; i < self->peer_count && !self->dirty; i++)
        self->dirty = self->peers[i]->fresh;
    if (self->dirty)
        reconcile (self, ctx);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    scheduler_t *self = state;
    (void) id;
    (void) data;
    self->dirty |= self->retry;
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    scheduler_t *self = state;
    (void) error;
    self->tables = ((const scheduler_args_t *) args)->tables;
    address_t election = address_local ("election", 0), ledger = address_local ("ledger", 0);
    context_send (ctx, &election, &leadership_subscribe_record, &(leadership_subscribe_t){ true });
    context_send (ctx, &ledger, &ledger_subscribe_record, &(ledger_subscribe_t){ true });
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    scheduler_t *self = state;
    (void) ctx;
    for (size_t i = 0; i < self->peer_count; i++) {
        peer_t *peer = self->peers[i];
        drop_points (peer);
        if (peer->report)
            message_release ((message_t **) &peer->report);
        buffer_free (&peer->sent);
        free (peer);
    }
    free (self->peers);
}

const behaviour_t scheduler_behaviour = {
    .name = "scheduler",
    .state_size = sizeof (scheduler_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .settle = settle,
    .stop = stop,
};
