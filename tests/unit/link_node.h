/*  link_node - nodes for the tests and the bench of links: a runtime, ZAP, a link
    and an actor that answers, several of them in one process */
#pragma once

#include "runtime/host.h"
#include "transport/link.h"
#include "transport/zap.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

/* clang-format off */
#define PING(F)                                                                                    \
    F (UINT,  number, _, .doc = "Any.")                                                            \
    F (BYTES, data,   _, .max = 4194304, .doc = "Any.")
RECORD_DECLARE (ping, PING)
/*  Masters only. */
#define ORDER(F) F (UINT, number, _, .doc = "Any.")
RECORD_DECLARE (order, ORDER)
/*  Of the data lane. */
#define CHUNK(F) F (UINT, number, _, .doc = "Any.")
RECORD_DECLARE (chunk, CHUNK)
/*  Joiners only, and the answer to it. */
#define JOIN(F) F (UINT, number, _, .doc = "Any.")
RECORD_DECLARE (join, JOIN)
/*  Known to this process but in no catalog. To a local app: ask the last sender of a ping. */
#define STRANGE(F) F (UINT, number, _, .doc = "Any.")
RECORD_DECLARE (strange, STRANGE)
/* clang-format on */

#define RECORD_SELF ping_t
RECORD_DEFINE (ping, 50001, 0, "A message.", PING)
#undef RECORD_SELF
#define RECORD_SELF order_t
RECORD_DEFINE (order, 50002, 0, "A master's message.", ORDER)
#undef RECORD_SELF
#define RECORD_SELF chunk_t
RECORD_DEFINE (chunk, 50003, RECORD_DATA_LANE, "Bulk.", CHUNK)
#undef RECORD_SELF
#define RECORD_SELF join_t
RECORD_DEFINE (join, 50005, 0, "Joining.", JOIN)
#undef RECORD_SELF
#define RECORD_SELF strange_t
RECORD_DEFINE (strange, 50004, 0, "A stranger.", STRANGE)
#undef RECORD_SELF

#define EVERYBODY (ROLE_BIT (ROLE_MASTER) | ROLE_BIT (ROLE_WORKER) | ROLE_BIT (ROLE_TASK))
static const catalog_entry_t test_entries[] = {
    {&ping_record, EVERYBODY},
    {&order_record, ROLE_BIT (ROLE_MASTER)},
    {&chunk_record, EVERYBODY},
    {&join_record, ROLE_BIT (ROLE_JOINER) | ROLE_BIT (ROLE_MASTER)},
};
static const catalog_t test_catalog = {test_entries, 4};

#define TEST_DOMAIN "test"

/*  What the node's actor "app" saw; read from other threads. */
typedef struct {
    _Atomic uint64_t messages, disorder, orders, chunks, bytes, ups, downs;
    _Atomic uint64_t next; /* number that the next ping must have */
    _Atomic int role;      /* of the last sender */
    _Atomic uint64_t failure;
    _Atomic uint64_t answers, answer; /* to what app asked; the last one's number */
    _Atomic uint64_t peer_incarnation;
    _Atomic uint64_t payload_size, payload_sum; /* of the last ping */
    record_key_t from;                          /* of the last ping; read after messages */
} seen_t;

typedef struct {
    keypair_t pair;
    char name[16];
    keyring_t *keyring;
    log_t *log;
    runtime_t *runtime;
    zactor_t *zap, *link, *lane, *app;
    zap_config_t zap_config;
    link_config_t link_config, lane_config;
    const char *endpoint, *lane_endpoint; /* to bind, or NULL */
    char bound[256], lane_bound[256];
    seen_t seen;
} node_t;

static inline int64_t test_now_ms (void)
{
    struct timespec ts;
    clock_gettime (CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*  Until the expression holds, at most so long; its value. */
#define WAIT_FOR(expression, ms)                         \
    ({                                                   \
        int64_t until_ = test_now_ms () + (ms);          \
        while (!(expression) && test_now_ms () < until_) \
            usleep (1000);                               \
        (expression);                                    \
    })

/*  ---- the actor ------------------------------------------------------------ */

typedef struct {
    seen_t *seen;
} app_t;

static inline int app_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    app_t *self = state;
    const node_t *node = args;
    self->seen = (seen_t *)(uintptr_t)&node->seen;
    (void)ctx;
    return 0;
}

static inline void app_ping (app_t *self, context_t *ctx, const message_t *message,
                             const ping_t *ping)
{
    seen_t *seen = self->seen;
    if (ping->number != atomic_load (&seen->next))
        atomic_fetch_add (&seen->disorder, 1);
    atomic_store (&seen->next, ping->number + 1);
    atomic_store (&seen->role, (int)message->role);
    seen->from = message->from.node;
    uint64_t sum = 0;
    for (size_t i = 0; message->payload && i < message->payload->size; i++)
        sum = sum * 31 + message->payload->data[i];
    atomic_store (&seen->payload_sum, sum);
    atomic_store (&seen->payload_size, message->payload ? message->payload->size : 0);
    atomic_fetch_add (&seen->bytes,
                      ping->data.size + (message->payload ? message->payload->size : 0));
    atomic_fetch_add (&seen->messages, 1);
    payload_t *payload = message->payload ? payload_retain (message->payload) : NULL;
    context_reply_payload (ctx, message, &ping_record, ping, &payload);
}

static inline void app_receive (void *state, context_t *ctx, const message_t *message)
{
    app_t *self = state;
    const ping_t *ping = message_body (message, ping);
    const chunk_t *chunk = message_body (message, chunk);
    const peer_event_t *event = message_body (message, peer_event);
    const failure_t *failure = message_body (message, failure);
    if (ping && message->flags & MESSAGE_REPLY) {
        atomic_store (&self->seen->answer, ping->number);
        atomic_fetch_add (&self->seen->answers, 1);
    } else if (ping)
        app_ping (self, ctx, message, ping);
    else if (message_body (message, strange)) {
        address_t to = address_remote (&self->seen->from, "app", 0);
        context_request (ctx, &to, &ping_record, &(ping_t){0}, 10000);
    } else if (chunk) {
        atomic_fetch_add (&self->seen->bytes, message->payload ? message->payload->size : 0);
        atomic_fetch_add (&self->seen->chunks, 1);
        context_reply (ctx, message, &chunk_record, chunk);
    } else if (message_body (message, join))
        context_reply (ctx, message, &join_record, message->body);
    else if (message_body (message, order))
        atomic_fetch_add (&self->seen->orders, 1);
    else if (event) {
        atomic_store (&self->seen->peer_incarnation, event->incarnation);
        atomic_fetch_add (event->up ? &self->seen->ups : &self->seen->downs, 1);
    } else if (failure)
        atomic_store (&self->seen->failure, failure->code);
}

static const behaviour_t app_behaviour = {
    .name = "app", .state_size = sizeof (app_t), .start = app_start, .receive = app_receive};

/*  ---- nodes ------------------------------------------------------------------ */

static inline zactor_t *node_host (node_t *self, const behaviour_t *behaviour, const char *name,
                                   const void *args)
{
    nexus_error_t error;
    child_t child = {.behaviour = behaviour, .name = name, .args = args, .thread = true};
    zactor_t *zactor = host_new (self->runtime, &child, &error);
    if (!zactor)
        fprintf (stderr, "%s: %s: %s\n", self->name, name, error.text);
    assert (zactor);
    return zactor;
}

static inline void node_status (node_t *self, const char *actor, char bound[256])
{
    nexus_error_t error;
    address_t link = address_local (actor, 0);
    message_t *reply =
        runtime_call (self->runtime, &link, &link_status_record, &(link_status_t){0}, 5000, &error);
    assert (reply);
    const link_status_t *status = message_body (reply, link_status);
    assert (status);
    snprintf (bound, 256, "%s", status->endpoints.count ? status->endpoints.items[0] : "");
    message_release (&reply);
}

/*  The keyring and the key live on from one start to the next. */
static inline void node_start (node_t *self)
{
    nexus_error_t error;
    const char *level = getenv ("LINK_LOG");
    self->log = log_new (2, false, level ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, self->name);
    runtime_config_t config = {
        .name = self->name, .key = self->pair.public_key, .log = self->log, .io_threads = 2};
    self->runtime = runtime_new (&config, &error);
    assert (self->runtime);
    self->zap_config = (zap_config_t){.keyring = self->keyring};
    self->zap = node_host (self, &zap_behaviour, "zap", &self->zap_config);
    self->link_config.name = self->name;
    self->link_config.key = &self->pair;
    self->link_config.endpoints = &self->endpoint;
    self->link_config.endpoint_count = self->endpoint ? 1 : 0;
    self->link_config.domain = TEST_DOMAIN;
    self->link_config.keyring = self->keyring;
    self->link_config.catalog = &test_catalog;
    /*  Before the link: what it brings must find somebody. */
    self->app = node_host (self, &app_behaviour, "app", self);
    self->link = node_host (self, &link_behaviour, "link", &self->link_config);
    address_t link = address_local ("link", 0), app = address_local ("app", 0);
    message_t *subscribe =
        message_new (&link_subscribe_record, &(link_subscribe_t){0}, NULL, &link, &app);
    runtime_send (self->runtime, &subscribe);
    runtime_route (self->runtime, false, "link");
    node_status (self, "link", self->bound);
    self->lane_config = self->link_config;
    self->lane_config.data = true;
    self->lane_config.endpoints = &self->lane_endpoint;
    self->lane_config.endpoint_count = self->lane_endpoint ? 1 : 0;
    self->lane = node_host (self, &link_behaviour, "lane", &self->lane_config);
    runtime_route (self->runtime, true, "lane");
    node_status (self, "lane", self->lane_bound);
}

static inline void node_init (node_t *self, const char *name, const char *endpoint)
{
    memset (self, 0, sizeof *self);
    snprintf (self->name, sizeof self->name, "%s", name);
    keypair_generate (&self->pair);
    self->keyring = keyring_new ();
    self->endpoint = endpoint;
}

static inline void node_stop (node_t *self)
{
    zactor_destroy (&self->app);
    zactor_destroy (&self->link);
    zactor_destroy (&self->lane);
    zactor_destroy (&self->zap);
    runtime_destroy (&self->runtime);
    log_destroy (&self->log);
}

static inline void node_free (node_t *self)
{
    if (self->runtime)
        node_stop (self);
    keyring_release (&self->keyring);
}

static inline void node_trust (node_t *self, const node_t *other, role_t role)
{
    keyring_entry_t entry = {.key = other->pair.public_key, .role = role};
    snprintf (entry.name, sizeof entry.name, "%s", other->name);
    int rc = keyring_allow (self->keyring, TEST_DOMAIN, &entry, NULL);
    assert (rc == 0);
    (void)rc;
}

static inline void node_dial_at (node_t *self, const char *actor, const node_t *other,
                                 const char *endpoint)
{
    nexus_error_t error;
    address_t link = address_local (actor, 0);
    link_dial_t dial = {.node = other->pair.public_key,
                        .endpoints = {&endpoint, 1},
                        .role = ROLE_MASTER,
                        .name = other->name};
    message_t *reply = runtime_call (self->runtime, &link, &link_dial_record, &dial, 5000, &error);
    if (!reply)
        fprintf (stderr, "dial: %s\n", error.text);
    assert (reply);
    message_release (&reply);
}

static inline void node_dial (node_t *self, const node_t *other)
{
    node_dial_at (self, "link", other, other->bound);
}

/*  Asks the other's app; the reply, or NULL. */
static inline message_t *node_ask (node_t *self, const node_t *other, const ping_t *ping,
                                   int64_t timeout_ms, nexus_error_t *error)
{
    address_t app = address_remote (&other->pair.public_key, "app", 0);
    return runtime_call (self->runtime, &app, &ping_record, ping, timeout_ms, error);
}

static inline void node_send (node_t *self, const node_t *other, const record_t *kind,
                              const void *body, payload_t **payload_p)
{
    address_t app = address_remote (&other->pair.public_key, "app", 0);
    address_t from = address_local ("app", 0);
    message_t *message = message_new (kind, body, payload_p, &app, &from);
    runtime_send (self->runtime, &message);
}

/*  The value of one of the link's counters. */
static inline double node_dropped (node_t *self, const char *reason)
{
    char labels[80];
    snprintf (labels, sizeof labels, "link=\"link\",reason=\"%s\"", reason);
    return metric_value (metrics_counter (runtime_metrics (self->runtime),
                                          "nexus_link_dropped_total",
                                          "Messages dropped, by reason.", labels));
}
