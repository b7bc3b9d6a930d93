/*  Links beside raw libzmq, both with CURVE over tcp loopback, in one process and one run:
    messages a second one way, bulk bytes a second, round trips.

    usage: link_bench [--json] [ROUNDS]

    Raw is a DEALER and a ROUTER in two contexts with a thread each: no actors, no mailboxes,
    no records, no check of who may send what. Of all rounds the best counts, for both. */
#include "tests/unit/link_node.h"

#include "runtime/clock.h"

#include <pthread.h>
#include <zmq.h>

#define ENVELOPE 8 /* what a ping's record adds to its data, about */

typedef struct {
    const char *name;
    size_t size;
    uint64_t count;
    bool bulk;
} load_t;

static const load_t loads[] = {
    {"64 B", 64, 400000, false},
    {"1 KiB", 1024, 150000, false},
    {"1 MiB", 1 << 20, 800, true},
};
enum { LOADS = sizeof loads / sizeof loads[0], TRIPS = 5000 };

static double seconds_since (int64_t began)
{
    return (double)(clock_now_ns () - began) * 1e-9;
}

/*  ---- raw -------------------------------------------------------------------------- */

typedef struct {
    void *zmq_a, *zmq_b, *dealer, *router;
    const load_t *load;
} raw_t;

static void raw_open (raw_t *self)
{
    keypair_t a, b;
    int on = 1, unlimited = 100000;
    char endpoint[256];
    size_t size = sizeof endpoint;
    keypair_generate (&a);
    keypair_generate (&b);
    self->zmq_a = zmq_ctx_new ();
    self->zmq_b = zmq_ctx_new ();
    self->dealer = zmq_socket (self->zmq_a, ZMQ_DEALER);
    self->router = zmq_socket (self->zmq_b, ZMQ_ROUTER);
    zmq_setsockopt (self->router, ZMQ_CURVE_SERVER, &on, sizeof on);
    zmq_setsockopt (self->router, ZMQ_CURVE_SECRETKEY, b.secret_key.bytes, 32);
    zmq_setsockopt (self->dealer, ZMQ_CURVE_SERVERKEY, b.public_key.bytes, 32);
    zmq_setsockopt (self->dealer, ZMQ_CURVE_PUBLICKEY, a.public_key.bytes, 32);
    zmq_setsockopt (self->dealer, ZMQ_CURVE_SECRETKEY, a.secret_key.bytes, 32);
    zmq_setsockopt (self->dealer, ZMQ_SNDHWM, &unlimited, sizeof on);
    zmq_setsockopt (self->router, ZMQ_RCVHWM, &unlimited, sizeof on);
    zmq_bind (self->router, "tcp://127.0.0.1:*");
    zmq_getsockopt (self->router, ZMQ_LAST_ENDPOINT, endpoint, &size);
    zmq_connect (self->dealer, endpoint);
}

static void raw_close (raw_t *self)
{
    zmq_close (self->dealer);
    zmq_close (self->router);
    zmq_ctx_term (self->zmq_a);
    zmq_ctx_term (self->zmq_b);
}

static void raw_receive (raw_t *self, bool echo)
{
    zmq_msg_t route, body;
    zmq_msg_init (&route);
    zmq_msg_init (&body);
    zmq_msg_recv (&route, self->router, 0);
    zmq_msg_recv (&body, self->router, 0);
    if (echo) {
        zmq_msg_send (&route, self->router, ZMQ_SNDMORE);
        zmq_msg_send (&body, self->router, 0);
    }
    zmq_msg_close (&route);
    zmq_msg_close (&body);
}

static void *raw_sink (void *context)
{
    raw_t *self = context;
    for (uint64_t i = 0; i < self->load->count; i++)
        raw_receive (self, false);
    return NULL;
}

static void *raw_echo (void *context)
{
    for (int i = 0; i < TRIPS; i++)
        raw_receive (context, true);
    return NULL;
}

static void raw_nothing (void *data, void *hint)
{
    (void)data, (void)hint;
}

/*  Messages a second. */
static double raw_rate (const load_t *load)
{
    raw_t self = {.load = load};
    pthread_t thread;
    raw_open (&self);
    uint8_t *data = calloc (1, load->size);
    zmq_send (self.dealer, data, 1, 0); /* the handshake is not measured */
    raw_receive (&self, false);
    int64_t began = clock_now_ns ();
    pthread_create (&thread, NULL, raw_sink, &self);
    for (uint64_t i = 0; i < load->count; i++) {
        zmq_msg_t message;
        if (load->bulk)
            zmq_msg_init_data (&message, data, load->size, raw_nothing, NULL);
        else {
            zmq_msg_init_size (&message, load->size);
            memcpy (zmq_msg_data (&message), data, load->size);
        }
        zmq_msg_send (&message, self.dealer, 0);
    }
    pthread_join (thread, NULL);
    double rate = (double)load->count / seconds_since (began);
    raw_close (&self);
    free (data);
    return rate;
}

/*  Seconds. */
static double raw_trip (void)
{
    raw_t self = {0};
    pthread_t thread;
    char data[64] = "";
    raw_open (&self);
    zmq_send (self.dealer, data, 1, 0);
    raw_receive (&self, false);
    pthread_create (&thread, NULL, raw_echo, &self);
    int64_t began = clock_now_ns ();
    for (int i = 0; i < TRIPS; i++) {
        zmq_send (self.dealer, data, sizeof data, 0);
        zmq_recv (self.dealer, data, sizeof data, 0);
    }
    double trip = seconds_since (began) / TRIPS;
    pthread_join (thread, NULL);
    raw_close (&self);
    return trip;
}

/*  ---- links ------------------------------------------------------------------------ */

/*  The source keeps a window of messages on their way; the sink acknowledges. */
typedef struct {
    const load_t *load; /* NULL: round trips */
    address_t to;
    _Atomic int64_t began_ns, ended_ns; /* the first answer, the last */
} source_args_t;

typedef struct {
    source_args_t *args;
    uint8_t *data;
    uint64_t sent, acknowledged, trips;
} source_t;

static uint64_t window_of (const load_t *load)
{
    return load->bulk ? 32 : 16384;
}

static void source_fill (source_t *self, context_t *ctx)
{
    const load_t *load = self->args->load;
    while (self->sent < load->count && self->sent - self->acknowledged < window_of (load)) {
        self->sent++;
        if (load->bulk) {
            payload_t *payload = payload_new (self->data, load->size, NULL, NULL);
            context_send_payload (ctx, &self->args->to, &chunk_record, &(chunk_t){self->sent},
                                  &payload);
        } else
            context_send (ctx, &self->args->to, &ping_record,
                          &(ping_t){self->sent, {self->data, load->size - ENVELOPE}});
    }
}

static void source_trip (source_t *self, context_t *ctx)
{
    context_request (ctx, &self->args->to, &ping_record,
                     &(ping_t){self->trips, {self->data, 64 - ENVELOPE}}, 10000);
}

static int source_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    source_t *self = state;
    self->args = (source_args_t *)(uintptr_t)args;
    self->data = calloc (1, 1 << 20);
    if (self->args->load)
        source_fill (self, ctx);
    else
        source_trip (self, ctx);
    return 0;
}

static void source_receive (void *state, context_t *ctx, const message_t *message)
{
    source_t *self = state;
    const order_t *order = message_body (message, order);
    if (self->args->load && order) {
        self->acknowledged = order->number;
        if (self->acknowledged == self->args->load->count)
            atomic_store (&self->args->ended_ns, clock_now_ns ());
        else
            source_fill (self, ctx);
    } else if (++self->trips < TRIPS) {
        if (self->trips == 1)
            atomic_store (&self->args->began_ns, clock_now_ns ());
        source_trip (self, ctx);
    } else
        atomic_store (&self->args->ended_ns, clock_now_ns ());
}

static void source_stop (void *state, context_t *ctx)
{
    (void)ctx;
    free (((source_t *)state)->data);
}

static const behaviour_t source_behaviour = {.name = "source",
                                             .state_size = sizeof (source_t),
                                             .start = source_start,
                                             .receive = source_receive,
                                             .stop = source_stop};

typedef struct {
    const load_t *load;
    uint64_t received;
} sink_t;

static int sink_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx, (void)error;
    ((sink_t *)state)->load = args;
    return 0;
}

static void sink_receive (void *state, context_t *ctx, const message_t *message)
{
    sink_t *self = state;
    if (!self->load) {
        context_reply (ctx, message, message->kind, message->body);
        return;
    }
    self->received++;
    if (self->received % (window_of (self->load) / 4) == 0 || self->received == self->load->count)
        context_send (ctx, &message->from, &order_record, &(order_t){self->received});
}

static const behaviour_t sink_behaviour = {
    .name = "sink", .state_size = sizeof (sink_t), .start = sink_start, .receive = sink_receive};

/*  Shares a thread: the link and the actor that speaks, side by side in one host. */
typedef struct {
    child_t link, actor;
} together_t;

static int together_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)state;
    const together_t *both = args;
    return context_spawn (ctx, &both->link, error) == 0 ? context_spawn (ctx, &both->actor, error)
                                                        : -1;
}

static void together_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state, (void)ctx, (void)message;
}

static const behaviour_t together_behaviour = {
    .name = "together", .start = together_start, .receive = together_receive};

/*  Seconds that a round trip takes where actors share their link's thread. */
static double together_trip (void)
{
    node_t a, b;
    node_init (&a, "a", NULL);
    node_init (&b, "b", "tcp://127.0.0.1:*");
    node_trust (&b, &a, ROLE_MASTER);
    node_start (&a);
    node_start (&b);
    zactor_destroy (&a.link);
    zactor_destroy (&b.link);
    source_args_t args = {.to = address_remote (&b.pair.public_key, "sink", 0)};
    together_t right = {{.behaviour = &link_behaviour, .name = "link", .args = &b.link_config},
                        {.behaviour = &sink_behaviour, .name = "sink"}};
    together_t left = {{.behaviour = &link_behaviour, .name = "link", .args = &a.link_config},
                       {.behaviour = &source_behaviour, .name = "source", .args = &args}};
    b.link = node_host (&b, &together_behaviour, "right", &right);
    node_status (&b, "link", b.bound);
    keyring_entry_t entry = {.key = b.pair.public_key, .role = ROLE_MASTER};
    keyring_allow (a.keyring, TEST_DOMAIN, &entry, NULL);
    a.link = node_host (&a, &together_behaviour, "left", &left);
    node_dial (&a, &b);
    if (!WAIT_FOR (args.ended_ns != 0, 60000)) {
        fputs ("link_bench: messages were lost\n", stderr);
        exit (1);
    }
    double seconds = (double)(args.ended_ns - args.began_ns) * 1e-9;
    node_free (&a);
    node_free (&b);
    return seconds / (TRIPS - 1);
}

/*  Seconds that the load (NULL: round trips) took. */
static double link_run (const load_t *load)
{
    node_t a, b;
    node_init (&a, "a", NULL);
    node_init (&b, "b", "tcp://127.0.0.1:*");
    b.lane_endpoint = "tcp://127.0.0.1:*";
    node_trust (&b, &a, ROLE_MASTER);
    node_start (&a);
    node_start (&b);
    node_dial (&a, &b);
    node_dial_at (&a, "lane", &b, b.lane_bound);
    bool up = WAIT_FOR (a.seen.ups && b.seen.ups, 5000);
    assert (up);
    (void)up;
    usleep (50000); /* the lane is up too */
    source_args_t args = {.load = load, .to = address_remote (&b.pair.public_key, "sink", 0)};
    zactor_t *sink = node_host (&b, &sink_behaviour, "sink", load);
    int64_t began = clock_now_ns ();
    zactor_t *source = node_host (&a, &source_behaviour, "source", &args);
    if (!WAIT_FOR (args.ended_ns != 0, 60000)) {
        fputs ("link_bench: messages were lost\n", stderr);
        exit (1);
    }
    double seconds = (double)(args.ended_ns - began) * 1e-9;
    zactor_destroy (&source);
    zactor_destroy (&sink);
    node_free (&a);
    node_free (&b);
    return seconds;
}

/*  ---- the table ---------------------------------------------------------------------- */

typedef struct {
    double link, raw;
} result_t;

static double higher (double a, double b)
{
    return a > b ? a : b;
}

static void print_table (const result_t *results)
{
    printf ("%-22s %14s %14s %8s\n", "", "link", "raw libzmq", "ratio");
    for (int i = 0; i < LOADS; i++) {
        double unit = loads[i].bulk ? (double)loads[i].size * 1e-9 : 1;
        printf ("%-22s %14.*f %14.*f %7.2fx\n", loads[i].name, loads[i].bulk ? 2 : 0,
                results[i].link * unit, loads[i].bulk ? 2 : 0, results[i].raw * unit,
                results[i].link / results[i].raw);
    }
    static const char *const names[] = {"round trip (us)", "  on link's thread"};
    for (int i = 0; i < 2; i++)
        printf ("%-22s %14.1f %14.1f %7.2fx\n", names[i], 1e6 / results[LOADS + i].link,
                1e6 / results[LOADS + i].raw, results[LOADS + i].link / results[LOADS + i].raw);
    puts ("messages/s (1 MiB: GB/s), CURVE over tcp loopback; a ratio above 1 favours the link");
}

static void print_json (const result_t *results)
{
    fputs ("{", stdout);
    static const char *const names[] = {"messages_64", "messages_1024", "payloads_1048576",
                                        "round_trips", "round_trips_shared_thread"};
    for (int i = 0; i < LOADS + 2; i++)
        printf ("%s\"%s\": {\"link_per_s\": %.1f, \"raw_per_s\": %.1f, \"ratio\": %.3f}",
                i ? ", " : "", names[i], results[i].link, results[i].raw,
                results[i].link / results[i].raw);
    puts ("}");
}

int main (int argc, char **argv)
{
    bool json = argc > 1 && strcmp (argv[1], "--json") == 0;
    int rounds = argc > 1 + json ? atoi (argv[1 + json]) : 3;
    result_t results[LOADS + 2] = {0};
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < LOADS; i++) {
            results[i].raw = higher (results[i].raw, raw_rate (&loads[i]));
            results[i].link =
                higher (results[i].link, (double)loads[i].count / link_run (&loads[i]));
        }
        results[LOADS].raw = higher (results[LOADS].raw, 1 / raw_trip ());
        results[LOADS].link = higher (results[LOADS].link, TRIPS / link_run (NULL));
        results[LOADS + 1].raw = results[LOADS].raw;
        results[LOADS + 1].link = higher (results[LOADS + 1].link, 1 / together_trip ());
    }
    if (json)
        print_json (results);
    else
        print_table (results);
    return 0;
}
