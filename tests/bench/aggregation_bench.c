/*  aggregation_bench - tensor bytes a second through shards over CurveZMQ on loopback

        aggregation_bench [RANKS [SHARDS [MEGABYTES [ROUNDS]]]]     default: 4 2 100 5

    All ranks, and the worker that hosts the shards, run in this process, each with
    its own runtime, keys and sockets. Prints, for all_reduce and push_pull, the
    rate (a rank's tensor bytes / time, the figure that gloo's benchmark gives). */
#include "actors/aggregator/aggregator.h"
#include "actors/aggregator/contributor.h"
#include "runtime/clock.h"
#include "runtime/host.h"
#include "transport/link.h"
#include "transport/zap.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RANKS_MAX = 16, SHARDS_MAX = 16 };

static const catalog_entry_t kinds[] = {
    {&chunk_push_record, ROLE_BIT (ROLE_TASK)},
    {&chunk_result_record, ROLE_BIT (ROLE_WORKER)},
};
static const catalog_t catalog = {kinds, 2};

typedef struct {
    keypair_t key;
    keyring_t *keyring;
    log_t *log;
    runtime_t *runtime;
    zactor_t *zap, *lane, *actor;
    zap_config_t zap_config;
    link_config_t lane_config;
    contributor_args_t args;
    contributor_shared_t shared;
    aggregator_args_t aggregator;
    float *data, *parameters;
} node_t;

static node_t worker, ranks[RANKS_MAX];
static size_t rank_count, shard_count, count, rounds;
static pthread_barrier_t gate;

static zactor_t *host (node_t *self, const behaviour_t *behaviour, const char *name,
                       const void *args)
{
    nexus_error_t error;
    child_t child = {.behaviour = behaviour,
                     .name = name,
                     .args = args,
                     .thread = true,
                     .mailbox_bytes_max = (size_t)1 << 30};
    zactor_t *actor = host_new (self->runtime, &child, &error);
    if (!actor) {
        fprintf (stderr, "%s: %s\n", name, error.text);
        exit (1);
    }
    return actor;
}

static void start (node_t *self, const char *name, const char *endpoint)
{
    static const char *endpoints[1];
    nexus_error_t error;
    keypair_generate (&self->key);
    self->keyring = keyring_new ();
    self->log = log_new (2, false, LOG_LEVEL_WARNING, name);
    self->runtime = runtime_new (
        &(runtime_config_t){.name = name, .key = self->key.public_key, .log = self->log}, &error);
    assert (self->runtime);
    self->zap_config.keyring = self->keyring;
    self->zap = host (self, &zap_behaviour, "zap", &self->zap_config);
    endpoints[0] = endpoint;
    self->lane_config = (link_config_t){.name = name,
                                        .key = &self->key,
                                        .endpoints = endpoints,
                                        .endpoint_count = endpoint ? 1 : 0,
                                        .domain = "lane",
                                        .keyring = self->keyring,
                                        .catalog = &catalog,
                                        .data = true};
    self->lane = host (self, &link_behaviour, "lane", &self->lane_config);
    runtime_route (self->runtime, true, "lane");
}

static void deliver (node_t *self, const record_key_t *from, role_t role, const char *actor,
                     const record_t *kind, const void *body)
{
    address_t to = address_local (actor, 0);
    address_t sender = address_remote (from, "agent", 0);
    message_t *message = message_new (kind, body, NULL, &to, &sender);
    message->role = role;
    runtime_send (self->runtime, &message);
}

static void make_group (void)
{
    nexus_error_t error;
    group_member_t members[RANKS_MAX];
    group_shard_t shards[SHARDS_MAX];
    shard_order_t orders[SHARDS_MAX];
    address_t lane = address_local ("lane", 0);
    message_t *reply = runtime_call (worker.runtime, &lane, &link_status_record,
                                     &(link_status_t){0}, 5000, &error);
    assert (reply);
    const link_status_t *status = message_body (reply, link_status);
    for (size_t i = 0; i < rank_count; i++)
        members[i] = (group_member_t){.rank = i, .key = ranks[i].key.public_key};
    for (size_t i = 0; i < shard_count; i++) {
        orders[i] = (shard_order_t){"bench-1", i, 1};
        shards[i] = (group_shard_t){.index = i,
                                    .generation = 1,
                                    .node = worker.key.public_key,
                                    .endpoint = status->endpoints.items[0],
                                    .ready = true};
    }
    group_view_t view = {.job_id = "bench-1",
                         .epoch = 1,
                         .complete = true,
                         .aggregation = {.shards = shard_count, .chunk_bytes = 1048576},
                         .members = {members, rank_count},
                         .shards = {shards, shard_count}};
    const char *chunk = getenv ("CHUNK_BYTES");
    if (chunk)
        view.aggregation.chunk_bytes = strtoull (chunk, NULL, 10);
    shard_orders_t all = {.shards = {orders, shard_count}, .groups = {&view, 1}};
    record_key_t local = {{0}};
    deliver (&worker, &local, ROLE_LOCAL, "aggregator", &shard_orders_record, &all);
    usleep (100000);
    for (size_t i = 0; i < rank_count; i++)
        deliver (&ranks[i], &worker.key.public_key, ROLE_WORKER, "contributor", &group_view_record,
                 &view);
    message_release (&reply);
}

static void operate (node_t *self, data_operation_t operation, uint64_t step)
{
    nexus_error_t error;
    address_t to = address_local ("contributor", 0);
    operate_t with = {
        .operation = (int)operation,
        .step = step,
        .count = count,
        .input = (uintptr_t)self->data,
        .output = (uintptr_t)(operation == OPERATION_ALL_REDUCE ? self->data : self->parameters)};
    if (operation == OPERATION_PARAMETERS)
        with.input = with.output;
    message_t *reply = runtime_call (self->runtime, &to, &operate_record, &with, 600000, &error);
    if (!reply) {
        fprintf (stderr, "%s\n", error.text);
        exit (1);
    }
    message_release (&reply);
}

/*  Of the whole process: tells more than the clock where others use the machine too. */
static double cpu_seconds (void)
{
    struct rusage usage;
    getrusage (RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure (node_t *self, data_operation_t operation)
{
    pthread_barrier_wait (&gate);
    int64_t began = clock_now_ns ();
    double cpu_began = cpu_seconds ();
    for (uint64_t round = 1; round <= rounds; round++)
        operate (self, operation, round);
    pthread_barrier_wait (&gate);
    double seconds = (double)(clock_now_ns () - began) / 1e9;
    if (self == &ranks[0])
        printf ("%-10s %zu ranks, %zu shards, %5.1f MB: %.3f GB/s (%.1f ms a round, "
                "%.1f ms of CPU)\n",
                record_choice_name (&data_operation_choices, (int)operation), rank_count,
                shard_count, (double)count * 4 / 1e6,
                (double)count * 4 * (double)rounds / seconds / 1e9, 1000 * seconds / (double)rounds,
                1000 * (cpu_seconds () - cpu_began) / (double)rounds);
}

static void *run (void *argument)
{
    node_t *self = argument;
    nexus_error_t error;
    address_t to = address_local ("contributor", 0);
    contributor_join_t join = {.timeout_ms = 10000};
    message_t *reply =
        runtime_call (self->runtime, &to, &contributor_join_record, &join, 20000, &error);
    assert (reply);
    message_release (&reply);
    operate (self, OPERATION_PARAMETERS, 0);
    measure (self, OPERATION_ALL_REDUCE);
    measure (self, OPERATION_PUSH_PULL);
    return NULL;
}

static size_t argument (int argc, char **argv, int index, size_t usual)
{
    return argc > index ? strtoull (argv[index], NULL, 10) : usual;
}

int main (int argc, char **argv)
{
    rank_count = argument (argc, argv, 1, 4);
    shard_count = argument (argc, argv, 2, 2);
    count = argument (argc, argv, 3, 100) * 1000000 / sizeof (float);
    rounds = argument (argc, argv, 4, 5);
    if (rank_count < 1 || rank_count > RANKS_MAX || shard_count < 1 || shard_count > SHARDS_MAX ||
        count < 1 || rounds < 1)
        return fprintf (stderr, "usage: aggregation_bench [RANKS [SHARDS [MEGABYTES [ROUNDS]]]]\n"),
               64;
    start (&worker, "worker", "tcp://127.0.0.1:*");
    worker.aggregator = (aggregator_args_t){.keyring = worker.keyring, .domain = "lane"};
    worker.actor = host (&worker, &aggregator_behaviour, "aggregator", &worker.aggregator);
    pthread_barrier_init (&gate, NULL, (unsigned)rank_count);
    pthread_t threads[RANKS_MAX];
    for (size_t i = 0; i < rank_count; i++) {
        node_t *rank = &ranks[i];
        start (rank, "rank", NULL);
        rank->data = calloc (count, sizeof (float));
        rank->parameters = calloc (count, sizeof (float));
        assert (rank->data && rank->parameters);
        memset (rank->data, 0, count * sizeof (float));
        rank->args = (contributor_args_t){.job_id = "bench-1",
                                          .rank = i,
                                          .world = rank_count,
                                          .agent = worker.key.public_key,
                                          .shared = &rank->shared};
        rank->actor = host (rank, &contributor_behaviour, "contributor", &rank->args);
    }
    make_group ();
    for (size_t i = 0; i < rank_count; i++)
        pthread_create (&threads[i], NULL, run, &ranks[i]);
    for (size_t i = 0; i < rank_count; i++)
        pthread_join (threads[i], NULL);
    fflush (stdout);
    _exit (0); /* the sockets may go as they are */
}
