/*  masters_clients - who asks the masters for something */
#include "actors/simulation/masters_private.h"

#include "actors/protocol/command.h"

#include <string.h>

typedef struct {
    machine_t *machine;
    uint64_t correlation; /* of the request under way; 0: none */
} client_t;

static void ask (client_t *self, context_t *ctx)
{
    masters_t *world = self->machine->world;
    if (self->correlation || world->calm)
        return;
    add_token_t command;
    record_init (&add_token_record, &command);
    command.token.key.bytes[0] = (uint8_t)context_random (ctx);
    command.token.not_after_ms = (int64_t)(context_random (ctx) % 1000000);
    self->correlation = command_propose (ctx, &add_token_record, &command);
    world->started++;
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    client_t *self = state;
    memcpy (&self->machine, args, sizeof self->machine);
    context_after (ctx, MS_TO_NS (context_random (ctx) % 200), 0);
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    client_t *self = state;
    masters_t *world = self->machine->world;
    if (!(message->flags & MESSAGE_REPLY) || message->correlation != self->correlation)
        return;
    self->correlation = 0;
    const failure_t *failure = message_body (message, failure);
    if (failure && failure->code == NEXUS_UNAVAILABLE)
        world->refused++;
    else if (failure && failure->code == NEXUS_DEADLINE)
        world->unknown++;
    else
        world->done++; /* whatever the command yielded */
    context_after (ctx, MS_TO_NS (context_random (ctx) % 100), 0);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id, (void)data;
    ask (state, ctx);
}

/*  Its machine crashes: nobody will ever know. */
static void stop (void *state, context_t *ctx)
{
    (void)ctx;
    client_t *self = state;
    if (self->correlation)
        self->machine->world->unknown++;
}

const behaviour_t masters_client_behaviour = {
    .name = "client",
    .state_size = sizeof (client_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .stop = stop,
};
