/*  messaging_bench - what a message between actors costs, beside bare CZMQ and libzmq

        messaging_bench [--json] [--quick]

    One way and round trip: between two behaviours of one host, between two hosts
    (zactors), over a bare zactor's pipe, and over a bare libzmq inproc PAIR pair.
    All in one run, alternating, the best of several rounds each, since a
    machine's mood changes more than the code. Messages are a record of three
    integers (24 bytes); the bare ones are frames of 64 bytes. */
#include "runtime/clock.h"
#include "runtime/host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  ---- the kind ------------------------------------------------------------------- */

#define SAMPLE(F)                                      \
    F (UINT, number, _, .doc = "Counts the messages.") \
    F (INT, one, _, .doc = "Payload.")                 \
    F (INT, two, _, .doc = "Payload.")
RECORD_DECLARE (sample, SAMPLE)
#define RECORD_SELF sample_t
RECORD_DEFINE (sample, 3900, 0, "A message of the bench.", SAMPLE)
#undef RECORD_SELF

#define ACK(F) F (UINT, number, _, .doc = "The messages received so far.")
RECORD_DECLARE (ack, ACK)
#define RECORD_SELF ack_t
RECORD_DEFINE (ack, 3901, 0, "The receiver's credit.", ACK)
#undef RECORD_SELF

/*  ---- behaviours -------------------------------------------------------------------- */

#define BATCH  1000 /* messages that the sender sends in one callback */
#define WINDOW 4000 /* messages on their way */
#define FRAME  64

/*  What both sides of a run share. */
typedef struct {
    uint64_t count;
    bool echo; /* round trips, one at a time */
    bool thread;
    atomic_bool finished;
} run_t;

typedef struct {
    const run_t *run;
    address_t peer;
    uint64_t sent;
    uint64_t acked;
} sender_state_t;

typedef struct {
    run_t *run;
    address_t peer;
    uint64_t received;
} receiver_state_t;

static void send_more (sender_state_t *self, context_t *ctx)
{
    const run_t *run = self->run;
    while (self->sent < run->count && self->sent + BATCH <= self->acked + WINDOW) {
        for (int i = 0; i < BATCH && self->sent < run->count; i++) {
            sample_t sample = {.number = ++self->sent, .one = 1, .two = 2};
            context_send (ctx, &self->peer, &sample_record, &sample);
        }
    }
}

static void send_one (sender_state_t *self, context_t *ctx)
{
    if (self->sent < self->run->count)
        context_send (ctx, &self->peer, &sample_record, &(sample_t){.number = ++self->sent});
}

static const behaviour_t receiver_behaviour;

static int sender_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    sender_state_t *self = state;
    self->run = args;
    self->peer = address_local ("receiver", 0);
    child_t receiver = {.behaviour = &receiver_behaviour,
                        .name = "receiver",
                        .args = args,
                        .thread = self->run->thread};
    return context_spawn (ctx, &receiver, error);
}

static void sender_receive (void *state, context_t *ctx, const message_t *message)
{
    sender_state_t *self = state;
    const ack_t *ack = message_body (message, ack);
    if (self->run->echo) {
        send_one (self, ctx);
    } else if (ack) {
        self->acked = ack->number;
        send_more (self, ctx);
    }
}

static int receiver_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    receiver_state_t *self = state;
    self->run = (run_t *)(uintptr_t)args;
    self->peer = address_local ("sender", 0);
    return 0;
}

static void receiver_receive (void *state, context_t *ctx, const message_t *message)
{
    receiver_state_t *self = state;
    const sample_t *sample = message_body (message, sample);
    if (!sample)
        return;
    self->received++;
    if (self->received == self->run->count)
        atomic_store (&self->run->finished, true);
    if (self->run->echo)
        context_send (ctx, &self->peer, &sample_record, sample);
    else if (self->received % BATCH == 0)
        context_send (ctx, &self->peer, &ack_record, &(ack_t){.number = self->received});
}

static const behaviour_t sender_behaviour = {.name = "sender",
                                             .state_size = sizeof (sender_state_t),
                                             .start = sender_start,
                                             .receive = sender_receive};
static const behaviour_t receiver_behaviour = {.name = "receiver",
                                               .state_size = sizeof (receiver_state_t),
                                               .start = receiver_start,
                                               .receive = receiver_receive};

_Noreturn static void die (const char *what)
{
    fprintf (stderr, "messaging_bench: %s\n", what);
    exit (1);
}

/*  Messages (or round trips) a second. */
static double run_actors (uint64_t count, bool echo, bool thread)
{
    nexus_error_t error;
    run_t run = {.count = count, .echo = echo, .thread = thread};
    runtime_t *runtime = runtime_new (&(runtime_config_t){.name = "bench"}, &error);
    child_t root = {.behaviour = &sender_behaviour, .name = "sender", .args = &run};
    zactor_t *host = runtime ? host_new (runtime, &root, &error) : NULL;
    if (!host)
        die (error.text);
    address_t to = address_local ("sender", 0);
    message_t *start = message_new (&ack_record, &(ack_t){0}, NULL, &to, &to);
    int64_t began = clock_now_ns ();
    runtime_send (runtime, &start);
    while (!atomic_load (&run.finished))
        zclock_sleep (1);
    double seconds = (double)(clock_now_ns () - began) / 1e9;
    zactor_destroy (&host);
    runtime_destroy (&runtime);
    return (double)count / seconds;
}

static double one_way_in_host (uint64_t count)
{
    return run_actors (count, false, false);
}

static double one_way_between_hosts (uint64_t count)
{
    return run_actors (count, false, true);
}

static double round_trip_in_host (uint64_t count)
{
    return run_actors (count, true, false);
}

static double round_trip_between_hosts (uint64_t count)
{
    return run_actors (count, true, true);
}

/*  ---- bare -------------------------------------------------------------------------- */

typedef struct {
    uint64_t count;
    bool echo;
} bare_t;

/*  The receiving side of a bare run: counts frames, and echoes or confirms. */
static void bare_receive (void *socket, const bare_t *run)
{
    char frame[FRAME];
    for (uint64_t i = 0; i < run->count; i++) {
        if (zmq_recv (socket, frame, sizeof frame, 0) == -1)
            die (zmq_strerror (zmq_errno ()));
        if (run->echo)
            zmq_send (socket, frame, sizeof frame, 0);
    }
    if (!run->echo)
        zmq_send (socket, frame, sizeof frame, 0);
}

static double bare_send (void *socket, const bare_t *run)
{
    char frame[FRAME] = {0};
    int64_t began = clock_now_ns ();
    for (uint64_t i = 0; i < run->count; i++) {
        if (zmq_send (socket, frame, sizeof frame, 0) == -1)
            die (zmq_strerror (zmq_errno ()));
        if (run->echo)
            zmq_recv (socket, frame, sizeof frame, 0);
    }
    if (!run->echo)
        zmq_recv (socket, frame, sizeof frame, 0);
    return (double)run->count * 1e9 / (double)(clock_now_ns () - began);
}

static void pipe_actor (zsock_t *pipe, void *args)
{
    zsock_signal (pipe, 0);
    bare_receive (zsock_resolve (pipe), args);
}

static double run_pipe (uint64_t count, bool echo)
{
    bare_t run = {count, echo};
    zactor_t *actor = zactor_new (pipe_actor, &run);
    double rate = bare_send (zsock_resolve (zactor_sock (actor)), &run);
    zactor_destroy (&actor);
    return rate;
}

static double one_way_pipe (uint64_t count)
{
    return run_pipe (count, false);
}

static double round_trip_pipe (uint64_t count)
{
    return run_pipe (count, true);
}

typedef struct {
    void *zmq;
    bare_t run;
} inproc_t;

static void *inproc_thread (void *args)
{
    inproc_t *self = args;
    void *socket = zmq_socket (self->zmq, ZMQ_PAIR);
    if (!socket || zmq_connect (socket, "inproc://bench") == -1)
        die ("inproc");
    bare_receive (socket, &self->run);
    zmq_close (socket);
    return NULL;
}

static double run_inproc (uint64_t count, bool echo)
{
    inproc_t self = {zmq_ctx_new (), {count, echo}};
    void *socket = zmq_socket (self.zmq, ZMQ_PAIR);
    pthread_t thread;
    if (!socket || zmq_bind (socket, "inproc://bench") == -1 ||
        pthread_create (&thread, NULL, inproc_thread, &self))
        die ("inproc");
    double rate = bare_send (socket, &self.run);
    pthread_join (thread, NULL);
    zmq_close (socket);
    zmq_ctx_term (self.zmq);
    return rate;
}

static double one_way_inproc (uint64_t count)
{
    return run_inproc (count, false);
}

static double round_trip_inproc (uint64_t count)
{
    return run_inproc (count, true);
}

/*  ---- report ------------------------------------------------------------------------ */

enum { IN_HOST, BETWEEN_HOSTS, PIPE, INPROC, WAYS };

static const char *const way_names[WAYS] = {"in_host", "between_hosts", "zactor_pipe",
                                            "inproc_pair"};

typedef struct {
    const char *name;
    const char *unit;
    double (*run[WAYS]) (uint64_t count);
    uint64_t count[WAYS];
    double best[WAYS];
} section_t;

static section_t sections[] = {
    {"one_way",
     "messages/s",
     {one_way_in_host, one_way_between_hosts, one_way_pipe, one_way_inproc},
     {2000000, 2000000, 2000000, 2000000},
     {0}},
    {"round_trip",
     "round trips/s",
     {round_trip_in_host, round_trip_between_hosts, round_trip_pipe, round_trip_inproc},
     {500000, 20000, 20000, 20000},
     {0}},
};

static void measure (section_t *section, int rounds, uint64_t divisor)
{
    for (int round = 0; round < rounds; round++) {
        for (int way = 0; way < WAYS; way++) {
            double rate = section->run[way](section->count[way] / divisor);
            if (rate > section->best[way])
                section->best[way] = rate;
        }
    }
}

static void print_text (const section_t *section)
{
    printf ("%s (%s)\n", section->name, section->unit);
    for (int way = 0; way < WAYS; way++)
        printf ("  %-14s %12.0f   %.2f x zactor_pipe\n", way_names[way], section->best[way],
                section->best[way] / section->best[PIPE]);
}

static void print_json (void)
{
    printf ("{");
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        printf ("%s\"%s\":{\"unit\":\"%s\"", i ? "," : "", sections[i].name, sections[i].unit);
        for (int way = 0; way < WAYS; way++)
            printf (",\"%s\":%.0f", way_names[way], sections[i].best[way]);
        printf (",\"between_hosts_to_zactor_pipe\":%.3f}",
                sections[i].best[BETWEEN_HOSTS] / sections[i].best[PIPE]);
    }
    printf ("}\n");
}

int main (int argc, char **argv)
{
    bool json = false, quick = false;
    for (int i = 1; i < argc; i++) {
        json |= strcmp (argv[i], "--json") == 0;
        quick |= strcmp (argv[i], "--quick") == 0;
    }
    zsys_handler_set (NULL);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        measure (&sections[i], quick ? 1 : 7, quick ? 10 : 1);
        if (!json)
            print_text (&sections[i]);
    }
    if (json)
        print_json ();
    return 0;
}
