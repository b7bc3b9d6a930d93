/*  scheduler - the actor that decides who runs what */
#include "actors/scheduler/scheduler.h"

#include "actors/scheduler/assign.h"

#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 100,     /* back-offs, deadlines and repairs are looked at this often */
    RESEND_MS = 300,   /* a worker that did not follow gets its assignment again */
    ALIVE_MS = 3000,   /* for the soft view only */
    FIGURES_MS = 1000, /* why a job waits is told anew this often if only figures changed */
    PLANS_MAX = 64,    /* in flight */
    NEWS_MAX = 1024,   /* task states in a command; the rest follows */
    MEMORY_MAX = 1 << 30
};

/*  What is known of a worker beyond the ledger. */
typedef struct {
    record_key_t key;
    const message_t *report; /* its last one, held; or NULL */
    int64_t heard_ns;
    buffer_t sent;    /* its last assignment, encoded with version 0 */
    uint64_t version; /* under which it was sent; 0: none */
    uint64_t session; /* to which it was sent */
    int64_t sent_ns;
    uint64_t states_request; /* proposals in flight */
    uint64_t points_request;
    const message_t *points; /* the report that points_request carries; held */
    uint64_t reports;        /* how many came */
    uint64_t points_taken;   /* up to which their points were proposed */
    bool fresh;              /* the report has not been compared with the ledger yet */
    bool again;              /* to be compared again at the next tick */
} peer_t;

typedef struct {
    tables_t *tables;
    leadership_t leadership;
    uint64_t counter; /* of assignment versions in this term */
    peer_t **peers;   /* by key */
    size_t peer_count, peer_room;
    arena_t arena;             /* of the picture */
    plan_cluster_t cluster;    /* as the ledger was when we last looked */
    bool stale;                /* the ledger has changed, or may have, since */
    bool due;                  /* all assignments and plans are to be worked out again */
    bool retry;                /* something waits for time to pass */
    bool refused;              /* a plan was: the picture lacks the room that it took */
    uint64_t plans[PLANS_MAX]; /* proposals in flight; the next plans see their results */
    size_t plan_count;
    uint64_t plans_index; /* the picture must show what was done here before the next plans */
    uint64_t picture_index;
    int64_t figures_ns;
} scheduler_t;

/*  ---- peers -------------------------------------------------------------------- */

/*  Where its peer is, or would be. */
static size_t position (const scheduler_t *self, const record_key_t *key)
{
    size_t low = 0, high = self->peer_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp (&self->peers[middle]->key, key, sizeof (*key)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static peer_t *peer_of (const scheduler_t *self, const record_key_t *key)
{
    size_t i = position (self, key);
    bool found = i < self->peer_count && !memcmp (&self->peers[i]->key, key, sizeof (*key));
    return found ? self->peers[i] : NULL;
}

static peer_t *add_peer (scheduler_t *self, const record_key_t *key)
{
    size_t i = position (self, key);
    if (self->peer_count == self->peer_room) {
        self->peer_room = self->peer_room ? self->peer_room * 2 : 16;
        self->peers = realloc (self->peers, self->peer_room * sizeof (*self->peers));
    }
    peer_t *peer = calloc (1, sizeof (*peer));
    if (!self->peers || !peer)
        abort ();
    memmove (self->peers + i + 1, self->peers + i, (self->peer_count - i) * sizeof (*self->peers));
    self->peer_count++;
    peer->key = *key;
    return self->peers[i] = peer;
}

static void drop_points (peer_t *peer)
{
    peer->points_request = 0;
    if (peer->points)
        message_release ((message_t **)&peer->points);
}

static void peer_destroy (peer_t *peer)
{
    drop_points (peer);
    if (peer->report)
        message_release ((message_t **)&peer->report);
    buffer_free (&peer->sent);
    free (peer);
}

/*  Of workers that the ledger does not know (any more) nothing is kept. */
static void forget_strangers (scheduler_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->peer_count; i++)
        if (plan_worker (&self->cluster, &self->peers[i]->key))
            self->peers[kept++] = self->peers[i];
        else
            peer_destroy (self->peers[i]);
    self->peer_count = kept;
}

static void forget_leadership (scheduler_t *self)
{
    for (size_t i = 0; i < self->peer_count; i++) {
        peer_t *peer = self->peers[i];
        peer->version = 0;
        peer->states_request = 0;
        peer->fresh = peer->report != NULL;
        drop_points (peer);
    }
    self->plan_count = 0;
    self->plans_index = 0;
    self->counter = 0;
}

/*  ---- what workers report --------------------------------------------------------- */

static bool is_of (const record_key_t *worker, const peer_t *peer)
{
    return !memcmp (worker, &peer->key, sizeof (*worker));
}

/*  Ranks and indexes are dense: a job's task i has rank i. */
static bool task_is_news (const plan_job_t *job, const peer_t *peer, const task_state_t *state)
{
    if (!job || state->rank >= job->task_count)
        return false;
    const task_t *task = &job->tasks[state->rank];
    if (!is_of (&task->worker, peer) || task->attempt != state->attempt || !plan_holds (task))
        return false;
    if (state->phase == TASK_RUNNING)
        return task->phase != TASK_RUNNING || memcmp (&task->key, &state->key, sizeof (task->key));
    return state->phase > TASK_RUNNING;
}

static bool shard_is_news (const plan_job_t *job, const peer_t *peer, const shard_state_t *state)
{
    if (!job || state->index >= job->shard_count)
        return false;
    const shard_t *shard = &job->shards[state->index];
    return is_of (&shard->worker, peer) && shard->generation == state->generation &&
           shard->phase != SHARD_WAITING && state->ready != (shard->phase == SHARD_READY);
}

/*  The job of that id among those that the worker works for. */
static const plan_job_t *job_of (const plan_cluster_t *cluster, const plan_worker_t *worker,
                                 const char *id)
{
    for (size_t i = 0; i < worker->job_count; i++)
        if (!strcmp (cluster->jobs[worker->jobs[i]].job.id, id))
            return &cluster->jobs[worker->jobs[i]];
    return NULL;
}

static void propose_states (const scheduler_t *self, context_t *ctx, peer_t *peer,
                            const plan_worker_t *worker)
{
    const worker_report_t *report = peer->report->body;
    update_tasks_t news = {.worker = peer->key, .time_ms = context_wall_ms (ctx)};
    task_state_t *tasks = calloc (report->tasks.count + 1, sizeof (*tasks));
    shard_state_t *shards = calloc (report->shards.count + 1, sizeof (*shards));
    if (!tasks || !shards)
        abort ();
    news.tasks.items = tasks;
    news.shards.items = shards;
    for (size_t i = 0; i < report->tasks.count && news.tasks.count < NEWS_MAX; i++) {
        const task_state_t *state = &report->tasks.items[i];
        if (task_is_news (job_of (&self->cluster, worker, state->job_id), peer, state))
            tasks[news.tasks.count++] = *state;
    }
    for (size_t i = 0; i < report->shards.count && news.shards.count < NEWS_MAX; i++) {
        const shard_state_t *state = &report->shards.items[i];
        if (shard_is_news (job_of (&self->cluster, worker, state->job_id), peer, state))
            shards[news.shards.count++] = *state;
    }
    if (news.tasks.count || news.shards.count)
        peer->states_request = command_propose (ctx, &update_tasks_record, &news);
    free (tasks);
    free (shards);
}

/*  Proposes what of a worker's report is not in the ledger yet. */
static void record_report (const scheduler_t *self, context_t *ctx, peer_t *peer,
                           const plan_worker_t *worker)
{
    const worker_report_t *report = peer->report->body;
    peer->fresh = false;
    if (!peer->states_request)
        propose_states (self, ctx, peer, worker);
    if (report->points.count && !peer->points_request && peer->points_taken < peer->reports) {
        add_metrics_t points = {.points = {report->points.items, report->points.count}};
        peer->points = message_retain ((message_t *)peer->report);
        peer->points_taken = peer->reports;
        peer->points_request = command_propose (ctx, &add_metrics_record, &points);
    }
}

/*  ---- assignments ------------------------------------------------------------------- */

/*  It has had the time to follow its assignment, and says that it does not. */
static bool is_behind (const context_t *ctx, const peer_t *peer)
{
    const worker_report_t *report = peer->report->body;
    return peer->version && report->assignment < peer->version &&
           context_now (ctx) - peer->sent_ns > MS_TO_NS (RESEND_MS);
}

/*  True if this is not what was sent last; then it is from now on. */
static bool is_news (scheduler_t *self, peer_t *peer, const assignment_t *assignment,
                     uint64_t session)
{
    buffer_t bytes = {0};
    record_encode (&assignment_record, assignment, &bytes);
    if (peer->version && peer->session == session && bytes.size == peer->sent.size &&
        !memcmp (bytes.data, peer->sent.data, bytes.size)) {
        buffer_free (&bytes);
        return false;
    }
    buffer_free (&peer->sent);
    peer->sent = bytes;
    peer->session = session;
    peer->version = self->leadership.term << 32 | ++self->counter;
    return true;
}

/*  Works out a worker's assignment; sends it if it is new, or not followed. */
static void assign (scheduler_t *self, context_t *ctx, peer_t *peer, const plan_worker_t *worker)
{
    arena_t arena;
    assignment_t out;
    bool behind = is_behind (ctx, peer);
    arena_init (&arena, MEMORY_MAX, NULL, 0);
    if (assign_worker (&self->cluster, worker, context_wall_ms (ctx), &arena, &out, &self->retry))
        log_error (context_log (ctx), "no memory for an assignment",
                   LOG_TEXT ("worker", worker->worker.name));
    else if (is_news (self, peer, &out, worker->worker.session) || behind) {
        out.version = peer->version;
        for (size_t i = 0; i < out.groups.count; i++)
            out.groups.items[i].version = peer->version;
        address_t agent = address_remote (&peer->key, "agent", 0);
        context_send (ctx, &agent, &assignment_record, &out);
        peer->sent_ns = context_now (ctx);
    }
    arena_reset (&arena);
}

/*  One worker: what it says, what it is told. A report of another run of it than the
    ledger knows is of no use: its tasks are about to be taken away. */
static void serve (scheduler_t *self, context_t *ctx, peer_t *peer, bool all)
{
    const plan_worker_t *worker = peer->report ? plan_worker (&self->cluster, &peer->key) : NULL;
    if (!worker || ((const worker_report_t *)peer->report->body)->session != worker->worker.session)
        return;
    bool fresh = peer->fresh;
    if (fresh)
        record_report (self, ctx, peer, worker);
    if (all || !peer->version || (fresh && is_behind (ctx, peer)))
        assign (self, ctx, peer, worker);
}

/*  ---- planning ---------------------------------------------------------------------- */

static void propose_plan (scheduler_t *self, context_t *ctx, const record_t *kind,
                          const void *command)
{
    self->plans[self->plan_count++] = command_propose (ctx, kind, command);
}

/*  Changed figures alone are told now and then: they change with every job that ends. */
static void say_why (scheduler_t *self, context_t *ctx, const job_t *job, const char *reason,
                     const char *message, bool figures)
{
    bool same = !strcmp (job->reason, reason);
    if (same && !strcmp (job->message, message))
        return;
    if (same && !figures) {
        self->retry = true;
        return;
    }
    explain_job_t why = {.job_id = job->id, .reason = reason, .message = message};
    propose_plan (self, ctx, &explain_job_record, &why);
}

/*  True if the job has run for as long as it may. */
static bool is_overdue (scheduler_t *self, const job_t *job, int64_t now_ms)
{
    if (!job->spec.max_runtime_ms || !job->started_ms || job->phase == JOB_STOPPING)
        return false;
    int64_t ran_ms = now_ms > job->started_ms ? now_ms - job->started_ms : 0;
    if ((uint64_t)ran_ms >= job->spec.max_runtime_ms)
        return true;
    self->retry = true;
    return false;
}

/*  Places the jobs that can be, in order, and says why the others must wait. */
static void plan (scheduler_t *self, context_t *ctx)
{
    int64_t now_ms = context_wall_ms (ctx);
    bool figures = context_now (ctx) - self->figures_ns >= MS_TO_NS (FIGURES_MS);
    arena_t arena;
    arena_init (&arena, MEMORY_MAX, NULL, 0);
    for (size_t i = 0; i < self->cluster.job_count && self->plan_count < PLANS_MAX; i++) {
        const plan_job_t *job = &self->cluster.jobs[i];
        const char *reason, *message;
        place_job_t places;
        if (is_overdue (self, &job->job, now_ms)) {
            end_job_t end = {.job_id = job->job.id,
                             .ending = JOB_TIMED_OUT,
                             .reason = "MaxRuntime",
                             .message = "it ran for as long as max_runtime_ms allows",
                             .time_ms = now_ms};
            propose_plan (self, ctx, &end_job_record, &end);
        } else if (!plan_waits (job)) {
            continue;
        } else if (plan_place (&self->cluster, job, &arena, &places, &reason, &message)) {
            places.time_ms = now_ms;
            propose_plan (self, ctx, &place_job_record, &places);
        } else
            say_why (self, ctx, &job->job, reason, message, figures);
        arena_reset (&arena);
    }
    if (figures && self->plan_count)
        self->figures_ns = context_now (ctx);
}

static int read_ledger (scheduler_t *self, nexus_error_t *error)
{
    arena_reset (&self->arena);
    tables_txn_t *txn = tables_begin (self->tables, false, error);
    int rc = txn ? plan_read (txn, &self->arena, &self->cluster, error) : -1;
    if (txn)
        self->picture_index = ledger_number (txn, LEDGER_APPLIED);
    if (txn)
        tables_abort (&txn);
    if (rc)
        return -1;
    forget_strangers (self);
    self->stale = false;
    self->due = true;
    return 0;
}

/*  ---- messages ------------------------------------------------------------------------ */

static void take_report (scheduler_t *self, context_t *ctx, const message_t *message)
{
    peer_t *peer = peer_of (self, &message->from.node);
    if (!peer)
        peer = add_peer (self, &message->from.node);
    if (peer->report)
        message_release ((message_t **)&peer->report);
    peer->report = message_retain ((message_t *)message);
    peer->heard_ns = context_now (ctx);
    peer->reports++;
    peer->fresh = true;
}

static void take_points_reply (context_t *ctx, peer_t *peer, bool done)
{
    if (done) {
        const worker_report_t *report = peer->points->body;
        metrics_stored_t stored = {.points = {report->points.items, report->points.count}};
        address_t agent = address_remote (&peer->key, "agent", 0);
        context_send (ctx, &agent, &metrics_stored_record, &stored);
    }
    drop_points (peer);
}

/*  Whatever failed is tried again at the next tick, on what the ledger says then. */
static void take_reply (scheduler_t *self, context_t *ctx, const message_t *message)
{
    const proposed_t *proposed = message_body (message, proposed);
    bool done = proposed != NULL;
    for (size_t i = 0; i < self->plan_count; i++)
        if (message->correlation == self->plans[i]) {
            self->plans[i] = self->plans[--self->plan_count];
            self->due |= done;
            if (done && proposed->index > self->plans_index)
                self->plans_index = proposed->index;
            self->refused |= !done;
            return;
        }
    for (size_t i = 0; i < self->peer_count; i++) {
        peer_t *peer = self->peers[i];
        if (message->correlation == peer->states_request) {
            peer->states_request = 0;
            peer->fresh |= done;
            peer->again |= !done;
            return;
        }
        if (message->correlation == peer->points_request) {
            take_points_reply (ctx, peer, done);
            return;
        }
    }
}

static void answer_view (scheduler_t *self, context_t *ctx, const message_t *message)
{
    enum { TRAFFIC_MAX = 4096 };
    const cluster_view_get_t *query = message->body;
    const char *job_id = query->job_id && *query->job_id ? query->job_id : NULL;
    worker_view_t *workers = calloc (self->peer_count + 1, sizeof (*workers));
    task_traffic_t *traffic = calloc (TRAFFIC_MAX, sizeof (*traffic));
    cluster_view_t view = {.workers = {workers, 0}, .traffic = {traffic, 0}};
    if (!workers || !traffic)
        abort ();
    for (size_t i = 0; i < self->peer_count; i++) {
        const peer_t *peer = self->peers[i];
        const worker_report_t *report = peer->report->body;
        int64_t ago_ms = NS_TO_MS (context_now (ctx) - peer->heard_ns);
        workers[view.workers.count++] = (worker_view_t){.key = peer->key,
                                                        .alive = ago_ms < ALIVE_MS,
                                                        .heard_ms_ago = (uint64_t)ago_ms,
                                                        .load = report->load};
        for (size_t t = 0; job_id && t < report->tasks.count; t++) {
            const task_state_t *task = &report->tasks.items[t];
            if (!strcmp (job_id, task->job_id) && view.traffic.count < TRAFFIC_MAX)
                traffic[view.traffic.count++] =
                    (task_traffic_t){.rank = task->rank,
                                     .attempt = task->attempt,
                                     .bytes_pushed = task->bytes_pushed,
                                     .bytes_pulled = task->bytes_pulled};
        }
    }
    context_reply (ctx, message, &cluster_view_record, &view);
    free (workers);
    free (traffic);
}

static void take_leadership (scheduler_t *self, const leadership_t *leadership)
{
    if (leadership->leading != self->leadership.leading ||
        leadership->term != self->leadership.term) {
        forget_leadership (self);
        self->stale = true;
    }
    self->leadership = *leadership;
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
        self->stale = true;
    else if (message_body (message, cluster_view_get))
        answer_view (self, ctx, message);
    else if (message_body (message, leadership))
        take_leadership (self, message->body);
}

static void settle (void *state, context_t *ctx)
{
    scheduler_t *self = state;
    nexus_error_t error;
    if (!self->leadership.leading)
        return;
    if (self->stale && read_ledger (self, &error)) {
        context_fail (ctx, &error);
        return;
    }
    bool all = self->due;
    self->due = false;
    for (size_t i = 0; i < self->peer_count; i++)
        if (all || self->peers[i]->fresh)
            serve (self, ctx, self->peers[i], all);
    /*  The answer to a plan may come before the ledger shows what it did; then so does its
        ledger_changed. */
    if (all && !self->plan_count && self->picture_index >= self->plans_index)
        plan (self, ctx);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    scheduler_t *self = state;
    (void)id;
    (void)data;
    self->stale |= self->refused;
    self->due |= self->retry;
    self->refused = self->retry = false;
    for (size_t i = 0; i < self->peer_count; i++) {
        self->peers[i]->fresh |= self->peers[i]->again;
        self->peers[i]->again = false;
    }
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    scheduler_t *self = state;
    (void)error;
    self->tables = ((const scheduler_args_t *)args)->tables;
    self->stale = true;
    arena_init (&self->arena, MEMORY_MAX, NULL, 0);
    address_t election = address_local ("election", 0), ledger = address_local ("ledger", 0);
    context_send (ctx, &election, &leadership_subscribe_record, &(leadership_subscribe_t){true});
    /*  Not of what clients keep in the key-value store: plans don't depend on it. */
    const uint64_t others = 1u << LEDGER_META | 1u << LEDGER_KV | 1u << LEDGER_REQUESTS;
    const uint64_t all = (UINT64_C (1) << LEDGER_TABLES) - 1;
    context_send (ctx, &ledger, &ledger_subscribe_record,
                  &(ledger_subscribe_t){.on = true, .tables = all & ~others});
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    scheduler_t *self = state;
    (void)ctx;
    for (size_t i = 0; i < self->peer_count; i++)
        peer_destroy (self->peers[i]);
    free (self->peers);
    arena_reset (&self->arena);
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
