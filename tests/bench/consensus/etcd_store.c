/*  etcd_store - etcd as a store: Debian's etcd, with its defaults; without TLS, or with it */
#include "tests/bench/consensus/cluster.h"
#include "tests/bench/consensus/etcd_client.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*  As many threads as the other generator has (libzmq's and the actor's). */
enum { THREADS = 2, ARGUMENTS = 20, ARGUMENT_MAX = 600 };

typedef struct {
    char dir[512];
    etcd_endpoints_t endpoints;
    tls_identity_t identity;
    uint16_t peers[CLUSTER_MEMBERS];
    char text[ARGUMENTS][ARGUMENT_MAX];
    const char *arguments[ARGUMENTS + 1];
} etcd_t;

static void *make (const char *dir, const char *program, nexus_error_t *error)
{
    (void)program, (void)error;
    etcd_t *self = calloc (1, sizeof (*self));
    assert (self);
    snprintf (self->dir, sizeof (self->dir), "%s", dir);
    self->endpoints.members = CLUSTER_MEMBERS;
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++) {
        self->endpoints.ports[i] = cluster_free_port ();
        self->peers[i] = cluster_free_port ();
    }
    return self;
}

static void *make_tls (const char *dir, const char *program, nexus_error_t *error)
{
    etcd_t *self = make (dir, program, error);
    self->endpoints.identity = &self->identity;
    if (tls_make_identity (dir, &self->identity, error) == 0)
        return self;
    free (self);
    return NULL;
}

static const char *const *command (void *store, unsigned member)
{
    etcd_t *self = store;
    bool tls = self->endpoints.identity;
    const char *host = tls ? "https://127.0.0.1" : "http://127.0.0.1";
    const char *certificate = self->identity.certificate, *key = self->identity.key;
    char client[64], peer[64], cluster[ARGUMENT_MAX] = "", name[16], data[540];
    snprintf (client, sizeof (client), "%s:%u", host, self->endpoints.ports[member]);
    snprintf (peer, sizeof (peer), "%s:%u", host, self->peers[member]);
    snprintf (name, sizeof (name), "e%u", member + 1);
    snprintf (data, sizeof (data), "%s/%s", self->dir, name);
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++)
        snprintf (cluster + strlen (cluster), sizeof (cluster) - strlen (cluster), "%se%u=%s:%u",
                  i ? "," : "", i + 1, host, self->peers[i]);
    const struct {
        const char *name, *value;
        bool wanted;
    } all[] = {
        {"name", name, true},
        {"data-dir", data, true},
        {"listen-client-urls", client, true},
        {"advertise-client-urls", client, true},
        {"listen-peer-urls", peer, true},
        {"initial-advertise-peer-urls", peer, true},
        {"initial-cluster", cluster, true},
        {"initial-cluster-token", "bench", true},
        {"logger", "zap", true},
        {"log-level", "error", true},
        {"cert-file", certificate, tls},
        {"key-file", key, tls},
        {"trusted-ca-file", certificate, tls},
        {"client-cert-auth", "true", tls},
        {"peer-cert-file", certificate, tls},
        {"peer-key-file", key, tls},
        {"peer-trusted-ca-file", certificate, tls},
        {"peer-client-cert-auth", "true", tls},
    };
    size_t count = 0;
    self->arguments[count++] = "etcd";
    for (size_t i = 0; i < sizeof (all) / sizeof (all[0]); i++) {
        if (!all[i].wanted)
            continue;
        assert (count < ARGUMENTS);
        snprintf (self->text[count], ARGUMENT_MAX, "--%s=%s", all[i].name, all[i].value);
        self->arguments[count] = self->text[count];
        count++;
    }
    self->arguments[count] = NULL;
    return self->arguments;
}

static int prepare (void *store, nexus_error_t *error)
{
    const etcd_t *self = store;
    (void)error;
    return etcd_client_leader (&self->endpoints) < 0;
}

static int leader (void *store)
{
    const etcd_t *self = store;
    return etcd_client_leader (&self->endpoints);
}

typedef struct {
    const etcd_t *store;
    load_config_t config;
    load_result_t *result;
    int rc;
    pthread_t thread;
} part_t;

static void *run_part (void *context)
{
    part_t *part = context;
    part->rc = etcd_client_run (&part->store->endpoints, &part->config, part->result);
    return NULL;
}

/*  Shares a load among the threads; one that must stay whole is not shared. */
static int run (void *store, const load_config_t *config, load_result_t *result)
{
    part_t parts[THREADS];
    unsigned count = config->ascending || config->flight < THREADS ? 1 : THREADS;
    int rc = 0;
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (part_t){.store = store, .config = *config};
        parts[i].config.flight = config->flight / count;
        parts[i].config.seed = config->seed * THREADS + i;
        parts[i].result = i ? calloc (1, sizeof (*result)) : result;
        assert (parts[i].result);
        pthread_create (&parts[i].thread, NULL, run_part, &parts[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join (parts[i].thread, NULL);
        rc = rc ? rc : parts[i].rc;
        if (!i)
            continue;
        load_result_merge (result, parts[i].result);
        free (parts[i].result);
    }
    return rc;
}

#define ETCD(maker)                                                                               \
    {                                                                                             \
        .name = "etcd", .make = (maker), .destroy = free, .command = command, .prepare = prepare, \
        .leader = leader, .run = run                                                              \
    }

const store_t etcd_store = ETCD (make);
const store_t etcd_tls_store = ETCD (make_tls);
