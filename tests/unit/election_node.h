/*  election_node - masters for tests and benches of the election in production's shell: a
    runtime, ZAP, a link, the Raft log on LMDB, a ledger that only counts, and the
    election; several of them in one process */
#pragma once

#include "actors/election/election.h"
#include "actors/election/election_raft_log.h"
#include "actors/protocol/catalog.h"
#include "runtime/host.h"
#include "storage/raft_log_actor.h"
#include "tests/unit/temp_dir.h"
#include "transport/link.h"
#include "transport/zap.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { ELECTION_NODES = 3 };

typedef struct election_node {
    char name[16];
    char dir[64];
    keypair_t pair;
    keyring_t *keyring;
    log_t *log;
    runtime_t *runtime;
    raft_log_t *raft_log;
    zactor_t *zap, *trunk, *writer;
    _Atomic (const child_t *) spawning; /* what the trunk shall start: done when it is NULL again */
    _Atomic (const char *) stopping;    /* what it shall end; likewise */
    _Atomic bool election_runs;
    zap_config_t zap_config;
    link_config_t link_config;
    election_args_t args;
    char bound[256];
    _Atomic uint64_t applied; /* by the ledger, which forgets nothing but its past */
} election_node_t;

typedef struct {
    unsigned count;
    election_node_t nodes[ELECTION_NODES];
    record_key_t keys[ELECTION_NODES];
} election_nodes_t;

/*  ---- the ledger ---------------------------------------------------------------- */

typedef struct {
    election_node_t *node;
} counting_ledger_t;

static inline int counting_ledger_start (void *state, context_t *ctx, const void *args,
                                         nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    ((counting_ledger_t *)state)->node = (election_node_t *)args;
    return 0;
}

static inline void counting_ledger_receive (void *state, context_t *ctx, const message_t *message)
{
    counting_ledger_t *self = state;
    const apply_t *apply = message_body (message, apply);
    if (!apply)
        return;
    applied_t applied = {.results = {calloc (apply->entries.count + 1, sizeof (apply_result_t)),
                                     apply->entries.count}};
    uint64_t last = atomic_load (&self->node->applied);
    for (size_t i = 0; i < apply->entries.count; i++) {
        assert (apply->entries.items[i].index == last + 1);
        last++;
        applied.results.items[i] = (apply_result_t){.index = last, .text = ""};
    }
    atomic_store (&self->node->applied, last);
    applied.index = last;
    context_send (ctx, &message->from, &applied_record, &applied);
    free (applied.results.items);
}

static const behaviour_t counting_ledger = {
    .name = "ledger",
    .state_size = sizeof (counting_ledger_t),
    .start = counting_ledger_start,
    .receive = counting_ledger_receive,
};

/*  ---- nodes --------------------------------------------------------------------- */

static inline zactor_t *election_node_host (election_node_t *self, const behaviour_t *behaviour,
                                            const char *name, const void *args)
{
    nexus_error_t error = {0};
    child_t child = {.behaviour = behaviour, .name = name, .args = args, .thread = true};
    zactor_t *zactor = host_new (self->runtime, &child, &error);
    if (!zactor)
        fprintf (stderr, "%s: %s: %s\n", self->name, name, error.text);
    assert (zactor);
    return zactor;
}

/*  What a peer asks with, and waits for the answer: the caller is a thread of its own. */
static inline message_t *election_node_call (election_node_t *self, const char *actor,
                                             const record_t *kind, const void *body,
                                             nexus_error_t *error)
{
    address_t to = address_local (actor, 0);
    return runtime_call (self->runtime, &to, kind, body, 5000, error);
}

/*  ---- link, ledger and election share a thread, as in a master ------------------- */

typedef struct {
    election_node_t *node;
} election_trunk_t;

enum { ELECTION_TRUNK_LOOK_MS = 1, ELECTION_TRUNK_IDLE_MS = 20 };

static inline int election_trunk_start (void *state, context_t *ctx, const void *args,
                                        nexus_error_t *error)
{
    (void)error;
    ((election_trunk_t *)state)->node = (election_node_t *)args;
    context_after (ctx, MS_TO_NS (ELECTION_TRUNK_LOOK_MS), 0);
    return 0;
}

static inline void election_trunk_timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id, (void)data;
    election_node_t *node = ((election_trunk_t *)state)->node;
    const child_t *child = atomic_load (&node->spawning);
    const char *name = atomic_load (&node->stopping);
    if (child) {
        nexus_error_t error = {0};
        int rc = context_spawn (ctx, child, &error);
        if (rc)
            fprintf (stderr, "%s: %s: %s\n", node->name, child->name, error.text);
        assert (rc == 0);
        atomic_store (&node->spawning, NULL);
    }
    if (name) {
        address_t address = address_local (name, 0);
        context_stop_child (ctx, &address);
        atomic_store (&node->stopping, NULL);
    }
    context_after (
        ctx, MS_TO_NS (node->election_runs ? ELECTION_TRUNK_IDLE_MS : ELECTION_TRUNK_LOOK_MS), 0);
}

static inline void election_trunk_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state, (void)ctx, (void)message;
}

static const behaviour_t election_trunk = {
    .name = "trunk",
    .state_size = sizeof (election_trunk_t),
    .start = election_trunk_start,
    .timer = election_trunk_timer,
    .receive = election_trunk_receive,
};

static inline void election_node_spawn (election_node_t *self, const behaviour_t *behaviour,
                                        const char *name, const void *args)
{
    child_t child = {.behaviour = behaviour, .name = name, .args = args};
    atomic_store (&self->spawning, &child);
    while (atomic_load (&self->spawning))
        usleep (200);
}

static inline void election_node_end (election_node_t *self, const char *name)
{
    atomic_store (&self->stopping, name);
    while (atomic_load (&self->stopping))
        usleep (200);
}

static inline void election_node_open (election_nodes_t *all, unsigned index)
{
    election_node_t *self = &all->nodes[index];
    static const char *const endpoint = "tcp://127.0.0.1:*";
    nexus_error_t error = {0};
    self->log =
        log_new (2, false, getenv ("ELECTION_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, self->name);
    self->runtime = runtime_new (
        &(runtime_config_t){.name = self->name, .key = self->pair.public_key, .log = self->log},
        &error);
    assert (self->runtime);
    self->zap_config = (zap_config_t){.keyring = self->keyring};
    self->zap = election_node_host (self, &zap_behaviour, "zap", &self->zap_config);
    self->link_config = (link_config_t){.name = self->name,
                                        .key = &self->pair,
                                        .endpoints = &endpoint,
                                        .endpoint_count = 1,
                                        .domain = "control",
                                        .keyring = self->keyring,
                                        .catalog = &protocol_catalog};
    self->trunk = election_node_host (self, &election_trunk, "trunk", self);
    election_node_spawn (self, &link_behaviour, "link", &self->link_config);
    runtime_route (self->runtime, false, "link");
    message_t *reply =
        election_node_call (self, "link", &link_status_record, &(link_status_t){0}, &error);
    assert (reply);
    const link_status_t *status = message_body (reply, link_status);
    snprintf (self->bound, sizeof (self->bound), "%s", status->endpoints.items[0]);
    message_release (&reply);
}

/*  Connects it to those that are up, in whatever direction, and starts the rest. */
static inline void election_node_begin (election_nodes_t *all, unsigned index)
{
    election_node_t *self = &all->nodes[index];
    nexus_error_t error = {0};
    for (unsigned i = 0; i < all->count; i++) {
        const char *endpoint = all->nodes[i].bound;
        if (i == index || !all->nodes[i].runtime)
            continue;
        link_dial_t dial = {.node = all->keys[i],
                            .endpoints = {&endpoint, 1},
                            .role = ROLE_MASTER,
                            .name = all->nodes[i].name};
        message_t *reply = election_node_call (self, "link", &link_dial_record, &dial, &error);
        assert (reply);
        message_release (&reply);
    }
    self->raft_log = raft_log_open (self->dir, (size_t)1 << 30, &error);
    if (!self->raft_log)
        fprintf (stderr, "%s\n", error.text);
    assert (self->raft_log);
    int rc = raft_log_set_durability (self->raft_log, RAFT_LOG_JOURNALED, &error);
    assert (rc == 0);
    (void)rc;
    self->args = (election_args_t){.masters = all->keys,
                                   .masters_count = all->count,
                                   .election_ms = 300,
                                   .election_ms_min = 150,
                                   .election_ms_max = 10000,
                                   .log = election_raft_log (self->raft_log)};
    self->writer = election_node_host (self, &raft_log_actor, "raft_log", self->raft_log);
    election_node_spawn (self, &counting_ledger, "ledger", self);
    election_node_spawn (self, &election_behaviour, "election", &self->args);
    self->election_runs = true;
}

static inline void election_node_stop (election_node_t *self)
{
    self->election_runs = false;
    election_node_end (self, "election");
    usleep (20000); /* what it said last is to leave through the link */
    zactor_destroy (&self->trunk);
    zactor_destroy (&self->writer);
    zactor_destroy (&self->zap);
    runtime_destroy (&self->runtime);
    raft_log_close (&self->raft_log);
    log_destroy (&self->log);
}

static inline election_nodes_t *election_nodes_new (unsigned count)
{
    election_nodes_t *self = calloc (1, sizeof (election_nodes_t));
    assert (self);
    keyring_entry_t entries[ELECTION_NODES] = {0};
    self->count = count;
    for (unsigned i = 0; i < count; i++) {
        election_node_t *node = &self->nodes[i];
        snprintf (node->name, sizeof (node->name), "m%u", i + 1);
        temp_dir_new (node->dir);
        keypair_generate (&node->pair);
        self->keys[i] = node->pair.public_key;
        entries[i] = (keyring_entry_t){.key = self->keys[i], .role = ROLE_MASTER};
        snprintf (entries[i].name, sizeof (entries[i].name), "%s", node->name);
    }
    for (unsigned i = 0; i < count; i++) {
        nexus_error_t error = {0};
        self->nodes[i].keyring = keyring_new ();
        int rc = keyring_replace (self->nodes[i].keyring, "control", entries, count, &error);
        assert (rc == 0);
        election_node_open (self, i);
    }
    for (unsigned i = 0; i < count; i++)
        election_node_begin (self, i);
    return self;
}

static inline void election_nodes_destroy (election_nodes_t **self_p)
{
    election_nodes_t *self = *self_p;
    for (unsigned i = 0; i < self->count; i++) {
        if (self->nodes[i].runtime)
            election_node_stop (&self->nodes[i]);
        keyring_release (&self->nodes[i].keyring);
        temp_dir_remove (self->nodes[i].dir);
    }
    free (self);
    *self_p = NULL;
}

/*  Proposes size bytes on a node until it works, at most for 10 s. The index; 0: it never did. */
static inline uint64_t election_nodes_propose (election_nodes_t *self, unsigned index, size_t size)
{
    uint8_t data[4096] = {1};
    propose_t propose = {.command = {data, size}};
    for (int i = 0; i < 200; i++) {
        nexus_error_t error = {0};
        message_t *reply =
            election_node_call (&self->nodes[index], "election", &propose_record, &propose, &error);
        uint64_t done =
            reply && message_body (reply, proposed) ? message_body (reply, proposed)->index : 0;
        if (reply)
            message_release (&reply);
        if (done)
            return done;
        usleep (50000);
    }
    return 0;
}

/*  The node that leads, as the metrics of all say; -1: none. */
static inline int election_nodes_leader (election_nodes_t *self)
{
    for (unsigned i = 0; i < self->count; i++)
        if (self->nodes[i].runtime &&
            metric_value (metrics_gauge (runtime_metrics (self->nodes[i].runtime),
                                         "nexus_raft_leader", "1 if this master leads.", NULL)))
            return (int)i;
    return -1;
}
