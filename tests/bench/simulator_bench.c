/*  How many turns a second the simulator makes: five nodes that ask each other for echoes.

    usage: simulator_bench [STEPS] */
#include "runtime/simulator.h"

#include "runtime/clock.h"

#include <stdlib.h>

#define ECHO(F)                                                     \
    F (UINT, number, _, .doc = "Which one.")                        \
    F (UINT, term, _, .doc = "A second number, as in a heartbeat.") \
    F (STRING, text, _, .max = 64, .doc = "Some text.")
RECORD_DECLARE (echo, ECHO)
#define RECORD_SELF echo_t
RECORD_DEFINE (echo, 60004, 0, "An echo.", ECHO)
#undef RECORD_SELF

enum { NODES = 5 };

typedef struct {
    uint64_t number, timer;
} echoer_t;

static void ask (echoer_t *self, context_t *ctx)
{
    record_key_t peer = {{(uint8_t)(1 + context_random (ctx) % NODES)}};
    address_t to = address_remote (&peer, "echoer", 0);
    context_request (ctx, &to, &echo_record, &(echo_t){.number = ++self->number, .text = "hello"},
                     1000);
    context_cancel (ctx, self->timer);
    self->timer = context_after (ctx, MS_TO_NS (500), 0);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)args, (void)error;
    ask (state, ctx);
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    const echo_t *echo = message_body (message, echo);
    if (message->flags & MESSAGE_REPLY)
        ask (state, ctx);
    else if (echo)
        context_reply (ctx, message, &echo_record, echo);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id, (void)data;
    ask (state, ctx);
}

static const behaviour_t echoer = {.name = "echoer",
                                   .state_size = sizeof (echoer_t),
                                   .start = start,
                                   .receive = receive,
                                   .timer = timer};

static int boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    (void)context;
    return simulator_spawn (sim, node, &(child_t){.behaviour = &echoer, .name = "echoer"}, error);
}

int main (int argc, char **argv)
{
    uint64_t steps = argc > 1 ? strtoull (argv[1], NULL, 10) : 100000;
    static const char *const profiles[] = {"calm", "lan", "swarm"};
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        simulator_t *sim = simulator_new (1, simulator_profile (profiles[i]));
        for (unsigned node = 0; node < NODES; node++)
            simulator_add_node (sim, &(simulator_node_t){.name = "node",
                                                         .key = {{(uint8_t)(node + 1)}},
                                                         .role = ROLE_MASTER,
                                                         .boot = boot});
        int64_t begin = clock_now_ns ();
        simulator_run (sim, INT64_C (1000000000000000), steps, NULL, NULL);
        double seconds = (double)(clock_now_ns () - begin) / 1e9;
        printf ("%-6s %llu steps of %d nodes in %.0f ms: %.0f steps/s, %.0f virtual s\n",
                profiles[i], (unsigned long long)simulator_steps (sim), NODES, seconds * 1e3,
                (double)simulator_steps (sim) / seconds, (double)simulator_now (sim) / 1e9);
        simulator_destroy (&sim);
    }
    return 0;
}
