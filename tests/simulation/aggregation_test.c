/*  Aggregation under fire: contributors, shards and aggregators over a network that loses,
    duplicates, reorders and partitions, while ranks and workers crash. Every rank's
    parameters and collectives must be bit-identical to a serial computation, for every
    seed. NEXUS_SEEDS chooses how many seeds, NEXUS_SEED one of them. */
#include "actors/aggregator/aggregator.h"
#include "actors/aggregator/contributor.h"
#include "actors/aggregator/shard.h"
#include "runtime/simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum {
    RANKS_MAX = 4,
    WORKERS = 3,
    SHARDS_MAX = 3,
    STEPS = 24,
    FLOATS_MAX = 9000,
    ATTEMPTS_MAX = 12,
    CHUNK_BYTES = 4096,
};

typedef struct cluster cluster_t;

/*  A rank's program; outlives its crashes, so that lent buffers do. */
typedef struct {
    cluster_t *cluster;
    size_t rank;
    float parameters[FLOATS_MAX];
    float gradient[FLOATS_MAX];
    float values[FLOATS_MAX];
    contributor_args_t args;
    contributor_shared_t shared;
} process_t;

typedef struct {
    bool running, done;
    uint64_t attempt;
    unsigned node;
    record_key_t key;
    process_t *process;
    unsigned pushed;  /* push_pulls since the last misfortune; the first may have been under way */
    int64_t start_at; /* when it is not running */
    process_t *all[ATTEMPTS_MAX];
} rank_t;

typedef struct {
    unsigned worker;
    uint64_t generation;
    bool ready;
    int64_t place_at; /* when it has no place; 0: it has */
} placed_t;

struct cluster {
    simulator_t *sim;
    uint64_t random;
    size_t world, shards;
    size_t floats;
    bool momentum;
    unsigned workers[WORKERS];
    record_key_t worker_keys[WORKERS];
    int64_t worker_back[WORKERS]; /* when it restarts; 0: it is up */
    rank_t ranks[RANKS_MAX];
    placed_t placed[SHARDS_MAX];
    uint64_t epoch, version;
    int64_t tell_rank[RANKS_MAX], tell_worker[WORKERS];
    unsigned keys, nodes;
    float reference[STEPS + 1][FLOATS_MAX];
    char fault[300];
};

static const nexus_error_t no_error;

static uint64_t draw (cluster_t *cluster)
{
    uint64_t z = (cluster->random += UINT64_C (0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t draw_ms (cluster_t *cluster, int64_t from, int64_t to)
{
    return MS_TO_NS (from + (int64_t)(draw (cluster) % (uint64_t)(to - from + 1)));
}

static void fault (cluster_t *cluster, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
static void fault (cluster_t *cluster, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    if (!cluster->fault[0])
        vsnprintf (cluster->fault, sizeof (cluster->fault), format, args);
    va_end (args);
}

/*  ---- the computation ------------------------------------------------------------------- */

static float noise (size_t rank, uint64_t step, size_t i)
{
    uint64_t z = (rank * 1000003 + step * 7919 + i + 1) * UINT64_C (0x9e3779b97f4a7c15);
    z ^= z >> 29;
    z *= UINT64_C (0xbf58476d1ce4e5b9);
    z ^= z >> 32;
    return (float)(z % 20001) / 10000.0f - 1.0f;
}

static float gradient_at (size_t rank, uint64_t step, size_t i, float parameter)
{
    return noise (rank, step, i) + 0.1f * parameter;
}

static float value_at (size_t rank, uint64_t step, size_t i, float parameter)
{
    return parameter * (float)(rank + 1) + noise (rank, step + 100, i);
}

static nexus_code_t compare (cluster_t *cluster, size_t rank, const char *what, uint64_t step,
                             const float *found, const float *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp (&found[i], &expected[i], sizeof (float)) != 0) {
            fault (cluster, "rank %zu, %s %llu: [%zu] is %.9g, not %.9g", rank, what,
                   (unsigned long long)step, i, (double)found[i], (double)expected[i]);
            return NEXUS_CORRUPT;
        }
    return NEXUS_OK;
}

static void compute_reference (cluster_t *cluster)
{
    static float momentum[FLOATS_MAX];
    memset (momentum, 0, sizeof (momentum));
    for (size_t i = 0; i < cluster->floats; i++)
        cluster->reference[0][i] = noise (99, 0, i);
    for (uint64_t step = 0; step < STEPS; step++)
        for (size_t i = 0; i < cluster->floats; i++) {
            float p = cluster->reference[step][i];
            float sum = gradient_at (0, step, i, p);
            for (size_t rank = 1; rank < cluster->world; rank++)
                sum += gradient_at (rank, step, i, p);
            float mean = sum / (float)cluster->world;
            float mu = cluster->momentum ? 0.9f : 0.0f;
            momentum[i] = mu * momentum[i] + (mean + 0.001f * p);
            cluster->reference[step + 1][i] = p - 0.05f * momentum[i];
        }
}

/*  ---- the program: what a rank does, one request after the other ---------------------------- */

typedef enum {
    AT_JOIN,
    AT_PARAMETERS,
    AT_REDUCE,
    AT_BROADCAST,
    AT_BARRIER,
    AT_PUSH,
    AT_LEAVE
} at_t;

typedef struct {
    process_t *process;
    at_t at;
    uint64_t version;
    uint64_t request;
} program_t;

static void ask (program_t *self, context_t *ctx, const record_t *kind, const void *body)
{
    address_t contributor = address_local ("contributor", 0);
    self->request = context_request (ctx, &contributor, kind, body, 36000000);
}

static void operate (program_t *self, context_t *ctx, data_operation_t operation, uint64_t step,
                     float *input, float *output, size_t count)
{
    operate_t with = {
        .operation = (int)operation,
        .step = step,
        .input = (uintptr_t)input,
        .output = (uintptr_t)output,
        .count = count,
        .reduction = step % 2 ? REDUCTION_MEAN : REDUCTION_SUM,
        .root = step % self->process->cluster->world,
    };
    if (operation != OPERATION_BROADCAST)
        with.root = 0;
    ask (self, ctx, &operate_record, &with);
}

static size_t reduce_count (const cluster_t *cluster, uint64_t step)
{
    return step % 4 == 0 ? cluster->floats : 3;
}

static void fill (program_t *self, float (*value) (size_t, uint64_t, size_t, float), float *out)
{
    process_t *process = self->process;
    for (size_t i = 0; i < process->cluster->floats; i++)
        out[i] = value (process->rank, self->version, i, process->parameters[i]);
}

static void begin (program_t *self, context_t *ctx)
{
    process_t *process = self->process;
    cluster_t *cluster = process->cluster;
    switch (self->at) {
    case AT_JOIN:
        ask (self, ctx, &contributor_join_record, &(contributor_join_t){.timeout_ms = 3600000});
        break;
    case AT_PARAMETERS:
        for (size_t i = 0; i < cluster->floats; i++)
            process->parameters[i] = process->rank == 0 ? noise (99, 0, i) : -1;
        operate (self, ctx, OPERATION_PARAMETERS, 0, process->parameters, process->parameters,
                 cluster->floats);
        break;
    case AT_REDUCE:
        fill (self, value_at, process->values);
        operate (self, ctx, OPERATION_ALL_REDUCE, self->version, process->values, process->values,
                 reduce_count (cluster, self->version));
        break;
    case AT_BROADCAST:
        fill (self, value_at, process->values);
        operate (self, ctx, OPERATION_BROADCAST, self->version, process->values, process->values,
                 cluster->floats / 2);
        break;
    case AT_BARRIER:
        operate (self, ctx, OPERATION_BARRIER, self->version, NULL, NULL, 0);
        break;
    case AT_PUSH:
        fill (self, gradient_at, process->gradient);
        operate (self, ctx, OPERATION_PUSH_PULL, 0, process->gradient, process->parameters,
                 cluster->floats);
        break;
    case AT_LEAVE:
        ask (self, ctx, &contributor_leave_record, &(contributor_leave_t){0});
        break;
    }
}

static void check_values (program_t *self)
{
    static float expected[FLOATS_MAX];
    process_t *process = self->process;
    cluster_t *cluster = process->cluster;
    uint64_t step = self->version;
    bool reduces = self->at == AT_REDUCE;
    size_t count = reduces ? reduce_count (cluster, step) : cluster->floats / 2;
    for (size_t i = 0; i < count; i++) {
        float p = cluster->reference[step][i];
        expected[i] = value_at (reduces ? 0 : step % cluster->world, step, i, p);
        for (size_t rank = 1; reduces && rank < cluster->world; rank++)
            expected[i] += value_at (rank, step, i, p);
        if (reduces && step % 2)
            expected[i] /= (float)cluster->world;
    }
    compare (cluster, process->rank, reduces ? "all_reduce" : "broadcast", step, process->values,
             expected, count);
}

static void advance (program_t *self, const operated_t *operated)
{
    process_t *process = self->process;
    cluster_t *cluster = process->cluster;
    if (self->at == AT_REDUCE || self->at == AT_BROADCAST)
        check_values (self);
    if (self->at == AT_PARAMETERS || self->at == AT_PUSH) {
        if (self->at == AT_PUSH && operated->version != self->version + 1)
            fault (cluster, "rank %zu: version %llu after %llu", process->rank,
                   (unsigned long long)operated->version, (unsigned long long)self->version);
        self->version = operated->version;
        cluster->ranks[process->rank].pushed += self->at == AT_PUSH;
        compare (cluster, process->rank, "version", self->version, process->parameters,
                 cluster->reference[self->version], cluster->floats);
    }
    uint64_t v = self->version;
    switch (self->at) {
    case AT_JOIN:
        self->at = AT_PARAMETERS;
        break;
    case AT_PARAMETERS:
    case AT_PUSH:
        self->at = v % 2 ? AT_REDUCE : v % 3 == 0 ? AT_BROADCAST : v == STEPS ? AT_LEAVE : AT_PUSH;
        if (v == STEPS)
            self->at = AT_REDUCE;
        break;
    case AT_REDUCE:
        self->at = v == STEPS ? AT_LEAVE : v % 5 == 0 ? AT_BARRIER : AT_PUSH;
        break;
    case AT_BROADCAST:
    case AT_BARRIER:
        self->at = AT_PUSH;
        break;
    case AT_LEAVE:
        cluster->ranks[process->rank].done = true;
        break;
    }
}

static void program_receive (void *state, context_t *ctx, const message_t *message)
{
    program_t *self = state;
    const failure_t *failure = message_body (message, failure);
    if (!(message->flags & MESSAGE_REPLY) || message->correlation != self->request)
        return;
    if (failure) {
        fault (self->process->cluster, "rank %zu, version %llu: %s", self->process->rank,
               (unsigned long long)self->version, failure->text);
        return;
    }
    advance (self, message_body (message, operated));
    if (!self->process->cluster->ranks[self->process->rank].done)
        context_after (ctx, MS_TO_NS (context_random (ctx) % 150), 0);
}

static void program_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    (void)data;
    begin (state, ctx);
}

static int program_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    program_t *self = state;
    memcpy (&self->process, args, sizeof (self->process));
    begin (self, ctx);
    return 0;
}

static const behaviour_t program_behaviour = {
    .name = "program",
    .state_size = sizeof (program_t),
    .start = program_start,
    .receive = program_receive,
    .timer = program_timer,
};

/*  ---- the control plane, played by the test ----------------------------------------------------
 */

static record_key_t new_key (cluster_t *cluster)
{
    record_key_t key = {{1}};
    cluster->keys++;
    key.bytes[1] = (uint8_t)(cluster->keys >> 8);
    key.bytes[2] = (uint8_t)cluster->keys;
    return key;
}

static void changed (cluster_t *cluster, bool epoch)
{
    cluster->epoch += epoch;
    cluster->version++;
    int64_t now = simulator_now (cluster->sim);
    for (size_t i = 0; i < cluster->world; i++)
        cluster->tell_rank[i] = now + draw_ms (cluster, 1, 300);
    for (size_t i = 0; i < WORKERS; i++)
        cluster->tell_worker[i] = now + draw_ms (cluster, 1, 300);
}

typedef struct {
    group_view_t view;
    group_member_t members[RANKS_MAX];
    group_shard_t shards[SHARDS_MAX];
} view_buffer_t;

static void make_view (const cluster_t *cluster, view_buffer_t *out)
{
    *out = (view_buffer_t){0};
    out->view = (group_view_t){
        .job_id = "sim-1",
        .epoch = cluster->epoch,
        .version = cluster->version,
        .complete = true,
        .aggregation = {.shards = cluster->shards,
                        .chunk_bytes = CHUNK_BYTES,
                        .learning_rate = 0.05,
                        .momentum = cluster->momentum ? 0.9 : 0,
                        .weight_decay = 0.001},
        .members = {out->members, cluster->world},
        .shards = {out->shards, cluster->shards},
    };
    for (size_t i = 0; i < cluster->world; i++) {
        const rank_t *rank = &cluster->ranks[i];
        out->members[i] = (group_member_t){.rank = i, .attempt = rank->attempt, .done = rank->done};
        if (rank->running)
            out->members[i].key = rank->key;
        out->view.complete &= rank->running || rank->done;
    }
    for (size_t i = 0; i < cluster->shards; i++) {
        const placed_t *placed = &cluster->placed[i];
        out->shards[i] = (group_shard_t){.index = i,
                                         .generation = placed->generation,
                                         .node = cluster->worker_keys[placed->worker],
                                         .endpoint = "tcp://127.0.0.1:1",
                                         .ready = placed->ready};
        out->view.complete &= placed->ready;
    }
}

static void inject (cluster_t *cluster, unsigned node, role_t role, const record_key_t *from,
                    const char *actor, const record_t *kind, const void *body)
{
    address_t to = address_local (actor, 0);
    address_t sender = address_local ("agent", 0);
    if (from)
        sender.node = *from;
    message_t *message = message_new (kind, body, NULL, &to, &sender);
    simulator_inject (cluster->sim, node, role, &message);
}

static void tell (cluster_t *cluster)
{
    int64_t now = simulator_now (cluster->sim);
    view_buffer_t view;
    make_view (cluster, &view);
    for (size_t i = 0; i < cluster->world; i++) {
        rank_t *rank = &cluster->ranks[i];
        if (!cluster->tell_rank[i] || cluster->tell_rank[i] > now || !rank->running)
            continue;
        cluster->tell_rank[i] = 0;
        inject (cluster, rank->node, ROLE_WORKER, &cluster->worker_keys[0], "contributor",
                &group_view_record, &view.view);
    }
    for (unsigned w = 0; w < WORKERS; w++) {
        if (!cluster->tell_worker[w] || cluster->tell_worker[w] > now || cluster->worker_back[w])
            continue;
        cluster->tell_worker[w] = 0;
        shard_order_t orders[SHARDS_MAX];
        shard_orders_t all = {.shards = {orders, 0}, .groups = {&view.view, 1}};
        for (size_t i = 0; i < cluster->shards; i++)
            if (!cluster->placed[i].place_at && cluster->placed[i].worker == w)
                orders[all.shards.count++] =
                    (shard_order_t){"sim-1", i, cluster->placed[i].generation};
        inject (cluster, cluster->workers[w], ROLE_LOCAL, NULL, "aggregator", &shard_orders_record,
                &all);
    }
}

/*  A shard is ready once it runs where it was placed. */
static void watch_shards (cluster_t *cluster)
{
    for (size_t i = 0; i < cluster->shards; i++) {
        placed_t *placed = &cluster->placed[i];
        bool runs = !placed->place_at && !cluster->worker_back[placed->worker] &&
                    simulator_state (cluster->sim, cluster->workers[placed->worker], "shard",
                                     shard_instance ("sim-1", i));
        if (placed->ready == runs)
            continue;
        placed->ready = runs;
        changed (cluster, false);
    }
}

static int boot_worker (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    (void)context;
    static const aggregator_args_t args = {.threads_max = 1};
    child_t child = {.behaviour = &aggregator_behaviour, .name = "aggregator", .args = &args};
    return simulator_spawn (sim, node, &child, error);
}

static void start_rank (cluster_t *cluster, size_t index)
{
    rank_t *rank = &cluster->ranks[index];
    process_t *process = calloc (1, sizeof (*process));
    nexus_error_t error = no_error;
    assert_non_null (process);
    assert_true (rank->attempt < ATTEMPTS_MAX);
    rank->all[rank->attempt] = process;
    rank->process = process;
    rank->key = new_key (cluster);
    rank->running = true;
    char name[16];
    snprintf (name, sizeof (name), "r%zu.%u", index, (unsigned)rank->attempt);
    cluster->nodes++;
    rank->node = simulator_add_node (
        cluster->sim, &(simulator_node_t){.name = name, .key = rank->key, .role = ROLE_TASK});
    process->cluster = cluster;
    process->rank = index;
    process->args = (contributor_args_t){.job_id = "sim-1",
                                         .rank = index,
                                         .world = cluster->world,
                                         .attempt = rank->attempt,
                                         .agent = cluster->worker_keys[0],
                                         .timeout_ms = 600000,
                                         .leave_ms = 600000,
                                         .shared = &process->shared};
    child_t contributor = {
        .behaviour = &contributor_behaviour, .name = "contributor", .args = &process->args};
    child_t program = {.behaviour = &program_behaviour, .name = "program", .args = &rank->process};
    assert_int_equal (simulator_spawn (cluster->sim, rank->node, &contributor, &error), 0);
    assert_int_equal (simulator_spawn (cluster->sim, rank->node, &program, &error), 0);
}

static void crash_rank (cluster_t *cluster, size_t index)
{
    rank_t *rank = &cluster->ranks[index];
    if (!rank->running || rank->done || rank->attempt + 1 == ATTEMPTS_MAX)
        return;
    simulator_note (cluster->sim, "TEST crash rank %zu", index);
    simulator_crash (cluster->sim, rank->node);
    rank->running = false;
    rank->start_at = simulator_now (cluster->sim) + draw_ms (cluster, 100, 1500);
    changed (cluster, true);
}

/*  keeps: it is back so soon that its shards stay where they are, under the same generation. */
static void crash_worker (cluster_t *cluster, unsigned w, bool keeps)
{
    if (cluster->worker_back[w])
        return;
    simulator_note (cluster->sim, "TEST crash worker %u%s", w, keeps ? ", shards stay" : "");
    int64_t now = simulator_now (cluster->sim);
    simulator_crash (cluster->sim, cluster->workers[w]);
    cluster->worker_back[w] = now + draw_ms (cluster, 50, keeps ? 200 : 3000);
    for (size_t i = 0; i < cluster->shards; i++)
        if (cluster->placed[i].worker == w && !keeps)
            cluster->placed[i].place_at = now + draw_ms (cluster, 50, 1000);
    changed (cluster, true);
}

static void recover (cluster_t *cluster)
{
    int64_t now = simulator_now (cluster->sim);
    for (unsigned w = 0; w < WORKERS; w++)
        if (cluster->worker_back[w] && cluster->worker_back[w] <= now) {
            simulator_restart (cluster->sim, cluster->workers[w]);
            cluster->worker_back[w] = 0;
            cluster->tell_worker[w] = now;
        }
    for (size_t i = 0; i < cluster->shards; i++) {
        placed_t *placed = &cluster->placed[i];
        unsigned w = (unsigned)(draw (cluster) % WORKERS);
        if (!placed->place_at || placed->place_at > now || cluster->worker_back[w])
            continue;
        placed->place_at = 0;
        placed->worker = w;
        placed->generation++;
        placed->ready = false;
        changed (cluster, true);
    }
    for (size_t i = 0; i < cluster->world; i++) {
        rank_t *rank = &cluster->ranks[i];
        if (rank->done && rank->running) {
            simulator_crash (cluster->sim, rank->node); /* its process has exited */
            rank->running = false;
            changed (cluster, false);
        } else if (!rank->running && !rank->done && rank->start_at <= now) {
            rank->attempt++;
            start_rank (cluster, i);
            changed (cluster, true);
        }
    }
}

static bool all_done (const cluster_t *cluster)
{
    for (size_t i = 0; i < cluster->world; i++)
        if (!cluster->ranks[i].done)
            return false;
    return true;
}

/*  Has the group recovered from the last misfortune? What all who held it have lost
    together is lost; so misfortunes are at least a step apart. */
static bool is_whole (const cluster_t *cluster)
{
    for (size_t i = 0; i < cluster->world; i++)
        if (!cluster->ranks[i].done && !(cluster->ranks[i].running && cluster->ranks[i].pushed > 1))
            return false;
    for (size_t i = 0; i < cluster->shards; i++)
        if (!cluster->placed[i].ready)
            return false;
    return true;
}

static void misfortune (cluster_t *cluster)
{
    for (size_t i = 0; i < cluster->world; i++)
        cluster->ranks[i].pushed = 0;
    switch (draw (cluster) % (cluster->world == 1 ? 4 : 5)) {
    case 0:
    case 1:
        crash_rank (cluster, draw (cluster) % cluster->world);
        break;
    case 2:
        if (!cluster->momentum)
            crash_worker (cluster, (unsigned)(draw (cluster) % WORKERS), false);
        break;
    case 3:
        if (!cluster->momentum)
            crash_worker (cluster, (unsigned)(draw (cluster) % WORKERS), true);
        break;
    default: /* a machine with both */
        crash_rank (cluster, draw (cluster) % cluster->world);
        if (!cluster->momentum)
            crash_worker (cluster, (unsigned)(draw (cluster) % WORKERS), false);
        break;
    }
}

/*  ---- a run
 * ----------------------------------------------------------------------------------------- */

static void set_up (cluster_t *cluster, uint64_t seed, const char *profile)
{
    cluster->random = seed * 77777;
    cluster->world = 1 + draw (cluster) % RANKS_MAX;
    cluster->shards = 1 + draw (cluster) % SHARDS_MAX;
    cluster->floats = 10 + draw (cluster) % (FLOATS_MAX - 10);
    cluster->momentum = seed % 3 == 0;
    cluster->epoch = 1;
    cluster->sim = simulator_new (seed, simulator_profile (profile));
    simulator_set (cluster->sim, SIMULATOR_CRASH_INTERVAL_MS, 0);
    simulator_set (cluster->sim, SIMULATOR_PAUSE_INTERVAL_MS, 0);
    if (simulator_setting (cluster->sim, SIMULATOR_LOSS) > 0.1)
        simulator_set (cluster->sim, SIMULATOR_LOSS, 0.1);
    const char *trace = getenv ("NEXUS_TRACE");
    if (trace)
        simulator_trace (cluster->sim, stderr);
    compute_reference (cluster);
    for (unsigned w = 0; w < WORKERS; w++) {
        char name[8];
        snprintf (name, sizeof (name), "w%u", w);
        cluster->worker_keys[w] = new_key (cluster);
        cluster->nodes++;
        cluster->workers[w] = simulator_add_node (
            cluster->sim,
            &(simulator_node_t){name, cluster->worker_keys[w], ROLE_WORKER, boot_worker, cluster});
    }
    for (size_t i = 0; i < cluster->shards; i++)
        cluster->placed[i] = (placed_t){.worker = (unsigned)i % WORKERS, .generation = 1};
    for (size_t i = 0; i < cluster->world; i++)
        start_rank (cluster, i);
    changed (cluster, true);
}

static void run (uint64_t seed, const char *profile, bool misfortunes)
{
    cluster_t *cluster = calloc (1, sizeof (*cluster));
    assert_non_null (cluster);
    set_up (cluster, seed, profile);
    int64_t next = draw_ms (cluster, 200, 3000);
    int64_t calm_at = MS_TO_NS (20000);
    bool calm = false;
    for (int slice = 0; slice < 60000 && !all_done (cluster) && !cluster->fault[0]; slice++) {
        int64_t now = simulator_now (cluster->sim);
        if (simulator_run (cluster->sim, MS_TO_NS (20), 0, NULL, NULL) == SIMULATOR_FAILED)
            fault (cluster, "%s", simulator_error (cluster->sim));
        watch_shards (cluster);
        recover (cluster);
        if (misfortunes && !calm && now >= next && is_whole (cluster)) {
            misfortune (cluster);
            next = now + draw_ms (cluster, 100, 3000);
        }
        if (!calm && now >= calm_at) {
            calm = true;
            uint64_t down = 0;
            for (unsigned node = 0; node < SIMULATOR_NODES_MAX && node < cluster->nodes; node++)
                if (!simulator_is_up (cluster->sim, node))
                    down |= SIMULATOR_NODE (node);
            simulator_calm (cluster->sim, down);
        }
        tell (cluster);
    }
    if (!all_done (cluster))
        fault (cluster, "not done after %lld s",
               (long long)(simulator_now (cluster->sim) / 1000000000));
    if (cluster->fault[0])
        fprintf (stderr, "seed %llu (%s, %zu ranks, %zu shards, %zu floats, %s): %s\n",
                 (unsigned long long)seed, profile, cluster->world, cluster->shards,
                 cluster->floats, cluster->momentum ? "momentum" : "no momentum", cluster->fault);
    assert_int_equal (cluster->fault[0], 0);
    simulator_destroy (&cluster->sim);
    for (size_t i = 0; i < cluster->world; i++)
        for (size_t k = 0; k < ATTEMPTS_MAX; k++)
            free (cluster->ranks[i].all[k]);
    free (cluster);
}

static uint64_t seeds (uint64_t usual)
{
    const char *text = getenv ("NEXUS_SEEDS");
    return text ? strtoull (text, NULL, 10) : usual;
}

static void run_seeds (const char *profile, uint64_t usual, bool misfortunes)
{
    const char *one = getenv ("NEXUS_SEED");
    if (one) {
        run (strtoull (one, NULL, 10), profile, misfortunes);
        return;
    }
    for (uint64_t seed = 1; seed <= seeds (usual); seed++)
        run (seed, profile, misfortunes);
}

static void test_calm (void **state)
{
    (void)state;
    run_seeds ("calm", 6, false);
}

static void test_lossy (void **state)
{
    (void)state;
    run_seeds ("swarm", 20, false);
}

static void test_crashes (void **state)
{
    (void)state;
    run_seeds ("lan", 40, true);
}

static void test_crashes_and_losses (void **state)
{
    (void)state;
    run_seeds ("swarm", 60, true);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_calm),
        cmocka_unit_test (test_lossy),
        cmocka_unit_test (test_crashes),
        cmocka_unit_test (test_crashes_and_losses),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
