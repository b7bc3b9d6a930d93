/*  Proposals a second and their latency: one master, and three over CURVE on loopback, each with
    its log on LMDB (every acknowledgement behind a flush of the disk), in one process.

    usage: election_bench [--json] [SECONDS [MASTERS IN_FLIGHT]]

    The client is an actor beside the leader: it keeps 1, 16 or 256 commands of 256 bytes in
    flight. For comparison: etcd 3.4.23, three members on one machine with 2 cores, puts of 256
    bytes over gRPC with fsync: 1,012/s with one client, 10,275/s with 256 in flight. */
#include "tests/unit/election_node.h"

#include "runtime/clock.h"

enum { FLIGHT_MAX = 256, SAMPLES_MAX = 1 << 20, COMMAND_SIZE = 256 };

typedef struct {
    unsigned flight;
    int64_t end_ns;
    _Atomic uint64_t done, failed;
    _Atomic bool over;
    uint32_t *samples_us;
} load_t;

typedef struct {
    load_t *load;
    struct {
        uint64_t correlation;
        int64_t began_ns;
    } flight[FLIGHT_MAX];
    unsigned waiting;
} client_t;

static void client_send (client_t *self, context_t *ctx, unsigned place)
{
    static const uint8_t data[COMMAND_SIZE] = {1};
    address_t election = address_local ("election", 0);
    propose_t propose = {.command = {data, sizeof (data)}};
    self->flight[place].began_ns = clock_now_ns ();
    self->flight[place].correlation =
        context_request (ctx, &election, &propose_record, &propose, 5000);
}

static int client_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    client_t *self = state;
    self->load = (load_t *)args;
    for (self->waiting = 0; self->waiting < self->load->flight; self->waiting++)
        client_send (self, ctx, self->waiting);
    return 0;
}

static void client_receive (void *state, context_t *ctx, const message_t *message)
{
    client_t *self = state;
    load_t *load = self->load;
    int64_t now_ns = clock_now_ns ();
    unsigned place = 0;
    while (place < self->waiting && self->flight[place].correlation != message->correlation)
        place++;
    if (place == self->waiting)
        return;
    if (message_body (message, proposed)) {
        uint64_t done = atomic_fetch_add (&load->done, 1);
        if (done < SAMPLES_MAX)
            load->samples_us[done] = (uint32_t)((now_ns - self->flight[place].began_ns) / 1000);
    } else
        atomic_fetch_add (&load->failed, 1);
    if (now_ns < load->end_ns) {
        client_send (self, ctx, place);
        return;
    }
    self->flight[place] = self->flight[--self->waiting];
    if (self->waiting == 0)
        atomic_store (&load->over, true);
}

static const behaviour_t client_behaviour = {
    .name = "client",
    .state_size = sizeof (client_t),
    .start = client_start,
    .receive = client_receive,
};

static int compare (const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void run (election_nodes_t *nodes, unsigned flight, double seconds, bool json)
{
    int leader = election_nodes_leader (nodes);
    assert (leader >= 0);
    load_t load = {.flight = flight, .samples_us = calloc (SAMPLES_MAX, sizeof (uint32_t))};
    assert (load.samples_us);
    int64_t began_ns = clock_now_ns ();
    load.end_ns = began_ns + (int64_t)(seconds * 1e9);
    zactor_t *client =
        election_node_host (&nodes->nodes[leader], &client_behaviour, "client", &load);
    while (!atomic_load (&load.over))
        usleep (1000);
    double took = (double)(clock_now_ns () - began_ns) * 1e-9;
    zactor_destroy (&client);
    size_t count = load.done < SAMPLES_MAX ? load.done : SAMPLES_MAX;
    qsort (load.samples_us, count, sizeof (uint32_t), compare);
    double rate = (double)load.done / took;
    uint32_t p50 = count ? load.samples_us[count / 2] : 0;
    uint32_t p99 = count ? load.samples_us[count * 99 / 100] : 0;
    printf (json ? "{\"masters\": %u, \"in_flight\": %u, \"per_second\": %.0f, \"p50_us\": %u, "
                   "\"p99_us\": %u, \"failed\": %llu}\n"
                 : "%u masters, %3u in flight: %8.0f/s  p50 %6u us  p99 %6u us  failed %llu\n",
            nodes->count, flight, rate, p50, p99, (unsigned long long)load.failed);
    fflush (stdout);
    free (load.samples_us);
}

static void bench (unsigned masters, const unsigned *flights, size_t count, double seconds,
                   bool json)
{
    election_nodes_t *nodes = election_nodes_new (masters);
    uint64_t index = election_nodes_propose (nodes, 0, COMMAND_SIZE);
    assert (index > 0);
    (void)index;
    for (size_t i = 0; i < count; i++)
        run (nodes, flights[i], seconds, json);
    election_nodes_destroy (&nodes);
}

int main (int argc, char **argv)
{
    static const unsigned flights[] = {1, 16, FLIGHT_MAX};
    bool json = argc > 1 && strcmp (argv[1], "--json") == 0;
    argc -= json;
    argv += json;
    double seconds = argc > 1 ? atof (argv[1]) : 2;
    unsigned masters = argc > 2 ? (unsigned)atoi (argv[2]) : 0;
    unsigned flight = argc > 3 ? (unsigned)atoi (argv[3]) : 0;
    if (masters > ELECTION_NODES || flight > FLIGHT_MAX) {
        fprintf (stderr, "1 to %d masters, 1 to %d in flight\n", ELECTION_NODES, FLIGHT_MAX);
        return 64;
    }
    if (masters && flight) {
        bench (masters, &flight, 1, seconds, json);
        return 0;
    }
    for (unsigned count = 1; count <= ELECTION_NODES; count += 2)
        bench (count, flights, sizeof (flights) / sizeof (flights[0]), seconds, json);
    return 0;
}
