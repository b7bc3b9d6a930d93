/*  nexus_client - a load on masters: a worker's identity, a CURVE link, one actor */
#include "tests/bench/consensus/nexus_client.h"

#include "actors/ledger/ledger.h"
#include "actors/node/join.h"
#include "actors/protocol/catalog.h"
#include "runtime/clock.h"
#include "runtime/host.h"
#include "transport/link.h"

#include <assert.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 5000,
    TAGS = 1 << 16, /* attempts that may wait for an answer, at most */
    CONNECT_MS = 10000
};

typedef struct {
    const worker_config_t *worker;
    const load_config_t *config;
    load_result_t *result;
    keypair_t key;
    keyring_t *keyring;
    runtime_t *runtime;
    log_t *log;
    link_config_t link;
    sem_t over;
} client_t;

typedef struct {
    client_t *client;
    context_t *ctx;
    load_t *load;
    uint64_t id; /* ours, for exactly-once */
    bool started;
    uint64_t question; /* the correlation of what is asked before it starts */
    int64_t give_up_ns;
    buffer_t command;
    struct {
        uint64_t correlation, tag;
    } attempts[TAGS];
} actor_t;

/*  ---- requests and answers ------------------------------------------------------------------ */

static uint64_t send_put (actor_t *self, const record_key_t *master, const load_request_t *request)
{
    address_t to = address_remote (master, "election", 0);
    buffer_clear (&self->command);
    kv_put_t put = {.key = request->key, .value = {request->value, LOAD_VALUE_SIZE}};
    command_encode (&kv_put_record, &put, &self->command);
    propose_t propose = {.command = {self->command.data, self->command.size},
                         .client = self->id,
                         .sequence = request->number,
                         .after = request->after};
    return context_request (self->ctx, &to, &propose_record, &propose, TIMEOUT_MS);
}

static uint64_t send_get (actor_t *self, const record_key_t *master, const load_request_t *request)
{
    address_t to = address_remote (master, "ledger", 0);
    kv_get_t get = {.key = request->key};
    return context_request (self->ctx, &to, &kv_get_record, &get, TIMEOUT_MS);
}

static void send_request (void *context, unsigned member, uint64_t tag,
                          const load_request_t *request)
{
    actor_t *self = context;
    const record_key_t *master = &self->client->worker->masters.items[member].key;
    uint64_t correlation = request->op == LOAD_PUT ? send_put (self, master, request)
                                                   : send_get (self, master, request);
    self->attempts[correlation % TAGS].correlation = correlation;
    self->attempts[correlation % TAGS].tag = tag;
}

/*  A put says which index its sender knew (propose.after): so that is asked before the first one.
 */
static void ask_index (actor_t *self)
{
    const client_t *client = self->client;
    address_t to =
        address_remote (&client->worker->masters.items[client->config->member].key, "ledger", 0);
    self->question = context_request (self->ctx, &to, &kv_get_record,
                                      &(kv_get_t){.key = "bench", .stale = true}, TIMEOUT_MS);
}

static void begin (actor_t *self, uint64_t index)
{
    self->started = true;
    load_start (self->load, send_request, self, index, clock_now_ns ());
}

static void take_answer (actor_t *self, const message_t *message)
{
    uint64_t correlation = message->correlation;
    if (self->load && !self->started && correlation == self->question) {
        if (message_body (message, kv_got))
            begin (self, message_body (message, kv_got)->index);
        else
            ask_index (self);
        return;
    }
    if (!self->load || self->attempts[correlation % TAGS].correlation != correlation)
        return;
    uint64_t tag = self->attempts[correlation % TAGS].tag;
    int64_t now_ns = clock_now_ns ();
    const proposed_t *proposed = message_body (message, proposed);
    const failure_t *failure = message_body (message, failure);
    if (failure)
        snprintf (self->client->result->failure, sizeof (self->client->result->failure), "%.199s",
                  failure->text);
    const kv_got_t *got = message_body (message, kv_got);
    if (got)
        load_answer (self->load, tag, LOAD_OK, got->index, got->found ? got->value.data : NULL,
                     got->value.size, now_ns);
    else
        load_answer (self->load, tag, proposed ? LOAD_OK : LOAD_FAILED,
                     proposed ? proposed->index : 0, NULL, 0, now_ns);
}

/*  ---- the actor --------------------------------------------------------------------------------
 */

static void dial (actor_t *self, unsigned member)
{
    const peer_config_t *peer = &self->client->worker->masters.items[member];
    address_t link = address_local ("link", 0);
    const char *endpoint = peer->endpoint;
    link_dial_t request = {
        .node = peer->key, .role = ROLE_MASTER, .name = peer->name, .endpoints = {&endpoint, 1}};
    context_send (self->ctx, &link, &link_dial_record, &request);
}

static void end (actor_t *self)
{
    load_destroy (&self->load);
    sem_post (&self->client->over);
}

static void check (actor_t *self)
{
    if (self->started && self->load && load_over (self->load))
        end (self);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    actor_t *self = state;
    self->client = (client_t *)(uintptr_t)args;
    self->ctx = ctx;
    self->id = context_random (ctx) >> 1 | 1;
    const load_config_t *config = self->client->config;
    child_t link = {.behaviour = &link_behaviour, .name = "link", .args = &self->client->link};
    if (context_spawn (ctx, &link, error))
        return -1;
    address_t to = address_local ("link", 0);
    context_send (ctx, &to, &link_subscribe_record, &(link_subscribe_t){0});
    for (unsigned i = 0; i < config->members; i++)
        if (!config->only || i == config->member)
            dial (self, i);
    self->load = load_new (config, self->client->result);
    self->give_up_ns = clock_now_ns () + CONNECT_MS * INT64_C (1000000);
    context_after (ctx, load_tick_ms (self->load) * INT64_C (1000000), 0);
    return 0;
}

/*  A load begins when the link to its first member is up; others may be down. */
static void peer_changed (actor_t *self, const peer_event_t *event)
{
    const load_config_t *config = self->client->config;
    const peer_config_t *member = &self->client->worker->masters.items[config->member];
    if (self->started || !self->load || !event->up ||
        memcmp (&event->node, &member->key, sizeof (record_key_t)))
        return;
    if (config->op == LOAD_PUT)
        ask_index (self);
    else
        begin (self, 0);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    (void)ctx;
    actor_t *self = state;
    if (message_body (message, peer_event))
        peer_changed (self, message->body);
    else if (message->flags & MESSAGE_REPLY)
        take_answer (self, message);
    check (self);
}

static void tick (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer, (void)data;
    actor_t *self = state;
    const load_config_t *config = self->client->config;
    if (!self->load)
        return;
    if (self->started)
        load_tick (self->load, clock_now_ns ());
    else if (clock_now_ns () > self->give_up_ns) {
        end (self);
        return;
    } else if (config->only) /* it may just have come up: look more often than a link does */
        dial (self, config->member);
    context_after (ctx, load_tick_ms (self->load) * INT64_C (1000000), 0);
    check (self);
}

static void stop (void *state, context_t *ctx)
{
    (void)ctx;
    actor_t *self = state;
    buffer_free (&self->command);
    load_destroy (&self->load);
}

static const behaviour_t client_behaviour = {.name = "client",
                                             .state_size = sizeof (actor_t),
                                             .start = start,
                                             .receive = receive,
                                             .timer = tick,
                                             .stop = stop};

/*  ---- the process ---------------------------------------------------------------------------- */

static int join (client_t *self, nexus_error_t *error)
{
    char path[1200];
    snprintf (path, sizeof (path), "%s/node.key", self->worker->dir);
    if (keypair_load_or_generate (&self->key, path, error))
        return -1;
    snprintf (path, sizeof (path), "%s/membership", self->worker->dir);
    return node_join (self->worker, &self->key, path, self->log, error);
}

static int run (client_t *self, nexus_error_t *error)
{
    if (join (self, error))
        return -1;
    self->keyring = keyring_new ();
    self->runtime = runtime_new (&(runtime_config_t){.name = self->worker->name,
                                                     .key = self->key.public_key,
                                                     .log = self->log},
                                 error);
    if (!self->runtime)
        return -1;
    runtime_route (self->runtime, false, "link");
    self->link = (link_config_t){.name = self->worker->name,
                                 .key = &self->key,
                                 .domain = "control",
                                 .keyring = self->keyring,
                                 .catalog = &protocol_catalog};
    zactor_t *host = host_new (
        self->runtime,
        &(child_t){.behaviour = &client_behaviour, .name = "client", .args = self, .thread = true},
        error);
    while (host && sem_wait (&self->over)) /* EINTR */
        continue;
    return host ? 0 : -1;
}

/*  The process ends next. Nothing is taken down in peace: links would wait a second for answers
    that nobody wants any more. */
int nexus_client_run (const worker_config_t *worker, const load_config_t *config,
                      load_result_t *result)
{
    static client_t self;
    nexus_error_t error;
    self.worker = worker;
    self.config = config;
    self.result = result;
    sem_init (&self.over, 0, 0);
    self.log = log_new (2, false, LOG_LEVEL_ERROR, worker->name);
    int rc = run (&self, &error);
    if (rc)
        fprintf (stderr, "%s\n", error.text);
    return rc || !result->total ? -1 : 0;
}
