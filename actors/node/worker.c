/*  worker - a whole worker: its files, its world, its actors */
#include "actors/node/worker.h"

#include "actors/agent/agent.h"
#include "actors/aggregator/aggregator.h"
#include "actors/executor/executor.h"
#include "actors/executor/logs.h"
#include "actors/executor/process.h"
#include "actors/node/join.h"
#include "actors/node/masters_file.h"
#include "actors/protocol/catalog.h"
#include "runtime/supervisor.h"
#include "transport/resolve.h"
#include "transport/zap.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_DOMAIN "control"
#define LANE_DOMAIN    "lane"

enum {
    SOCKET_PATH_MAX = 100, /* of a Unix socket: 107 and some room */
    STATUS_TIMEOUT_MS = 5000
};

struct worker_node {
    const worker_config_t *config;
    arena_t arena;
    int lock;
    keypair_t key;
    keyring_t *keyring;
    runtime_t *runtime;
    zactor_t *links; /* first up, last down: zap, link, lane */
    zactor_t *services;

    masters_file_t masters; /* as heard of last, or as configured */
    link_dial_t *dials;
    const char *masters_path;
    const char *agent_endpoint;
    zap_config_t zap;
    link_config_t link, lane;
    child_t link_children[3];
    node_args_t link_node;

    agent_args_t agent;
    aggregator_args_t aggregator;
    process_args_t process;
    logs_args_t logs;
    child_t service_children[6];
    node_args_t service_node;
};

static double load_average (void)
{
    double load = 0;
    return getloadavg (&load, 1) == 1 ? load : 0;
}

static const char *path_in (worker_node_t *self, const char *name)
{
    return arena_printf (&self->arena, "%s/%s", self->config->dir, name);
}

/*  ---- links ------------------------------------------------------------------------ */

static int list_configured (worker_node_t *self, nexus_error_t *error)
{
    const worker_config_t *config = self->config;
    size_t count = config->masters.count;
    self->masters = (masters_file_t){.index = 0};
    self->masters.masters.items = arena_alloc (&self->arena, count * sizeof (master_t));
    if (!self->masters.masters.items)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a worker");
    self->masters.masters.count = count;
    for (size_t i = 0; i < count; i++) {
        const peer_config_t *peer = &config->masters.items[i];
        self->masters.masters.items[i] = (master_t){
            .key = peer->key, .name = peer->name, .endpoint = peer->endpoint, .api = peer->api};
    }
    return 0;
}

/*  Whom it heard of last, or else the configuration file's masters. What is remembered is newer: masters
    come and go, and nobody edits the files of all workers then. */
static int know_masters (worker_node_t *self, log_t *log, nexus_error_t *error)
{
    self->masters_path = path_in (self, "masters");
    int rc = masters_file_load (self->masters_path, &self->arena, &self->masters, error);
    if (rc && error->code != NEXUS_NOT_FOUND)
        log_warning (log,
                     "the masters that were heard of last can't be read: the configuration "
                     "file's are taken",
                     LOG_TEXT ("reason", error->text));
    if (rc || !self->masters.masters.count)
        rc = list_configured (self, error);
    size_t count = self->masters.masters.count;
    self->dials = rc ? NULL : arena_alloc (&self->arena, count * sizeof (*self->dials));
    if (!self->dials)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a worker");
    return 0;
}

static void compose_links (worker_node_t *self)
{
    const worker_config_t *config = self->config;
    size_t dials = 0;
    for (size_t i = 0; i < self->masters.masters.count; i++) {
        const master_t *master = &self->masters.masters.items[i];
        if (master->endpoint && *master->endpoint)
            self->dials[dials++] =
                (link_dial_t){.node = master->key,
                              .role = ROLE_MASTER,
                              .name = master->name,
                              .endpoints = {(const char **)(uintptr_t)&master->endpoint, 1}};
    }
    /*  Tasks reach the agent over a Unix socket in our directory, or, where the path is
        too long for one, in Linux's abstract namespace; CURVE guards both. */
    const char *path = path_in (self, "agent.sock");
    char hex[65];
    key_to_hex (&self->key.public_key, hex);
    self->agent_endpoint = strlen (path) <= SOCKET_PATH_MAX
                               ? arena_printf (&self->arena, "ipc://%s", path)
                               : arena_printf (&self->arena, "ipc://@nexus-%.16s", hex);
    self->zap = (zap_config_t){.keyring = self->keyring};
    self->link = (link_config_t){.name = config->name,
                                 .key = &self->key,
                                 .endpoints = &self->agent_endpoint,
                                 .endpoint_count = 1,
                                 .domain = CONTROL_DOMAIN,
                                 .keyring = self->keyring,
                                 .catalog = &protocol_catalog};
    self->lane = (link_config_t){.name = config->name,
                                 .key = &self->key,
                                 .endpoints = &config->lane.bind,
                                 .endpoint_count = config->lane.bind && *config->lane.bind,
                                 .domain = LANE_DOMAIN,
                                 .keyring = self->keyring,
                                 .catalog = &protocol_catalog,
                                 .data = true};
    const child_t children[] = {
        {.behaviour = &zap_behaviour, .name = "zap", .args = &self->zap, .thread = true},
        {.behaviour = &link_behaviour, .name = "link", .args = &self->link, .thread = true},
        {.behaviour = &link_behaviour, .name = "lane", .args = &self->lane, .thread = true},
    };
    memcpy (self->link_children, children, sizeof (children));
    self->link_node = (node_args_t){
        .children = self->link_children, .count = 3, .dials = self->dials, .dial_count = dials};
}

/*  The endpoint that others reach the data lane at: as configured, or as bound. */
static int lane_endpoint (worker_node_t *self, const char **ret_endpoint, nexus_error_t *error)
{
    const lane_config_t *lane = &self->config->lane;
    *ret_endpoint = lane->advertise && *lane->advertise ? lane->advertise : "";
    if (!lane->bind || !*lane->bind || **ret_endpoint)
        return 0;
    address_t to = address_local ("lane", 0);
    message_t *reply = runtime_call (self->runtime, &to, &link_status_record,
                                     &(link_status_t){.peers = 0}, STATUS_TIMEOUT_MS, error);
    const link_status_t *status = reply ? message_body (reply, link_status) : NULL;
    int rc = 0;
    if (!status || !status->endpoints.count)
        rc = reply ? nexus_error_set (error, NEXUS_INVALID, "lane.bind: nothing is bound") : -1;
    else if (resolve_is_wildcard (status->endpoints.items[0]))
        rc = nexus_error_set (error, NEXUS_INVALID,
                              "lane.advertise: needed, because lane.bind (%s) is no address that "
                              "others can connect to",
                              lane->bind);
    else
        *ret_endpoint = arena_strdup (&self->arena, status->endpoints.items[0]);
    if (reply)
        message_release (&reply);
    return rc;
}

/*  ---- services ------------------------------------------------------------------------ */

/*  NULL if the system does not tell. */
static const char *directory_of_program (arena_t *arena)
{
    char path[PATH_MAX];
    ssize_t size = readlink ("/proc/self/exe", path, sizeof (path));
    while (size > 0 && path[size - 1] != '/')
        size--;
    return size > 1 ? arena_printf (arena, "%.*s", (int)size - 1, path) : NULL;
}

static int compose_services (worker_node_t *self, nexus_error_t *error)
{
    const worker_config_t *config = self->config;
    const char *lane;
    if (lane_endpoint (self, &lane, error))
        return -1;
    self->agent = (agent_args_t){.masters = self->masters.masters.items,
                                 .master_count = self->masters.masters.count,
                                 .masters_index = self->masters.index,
                                 .heartbeat_ms = (int64_t)config->heartbeat_ms,
                                 .load = load_average};
    self->agent.self = (heartbeat_t){.name = config->name,
                                     .site = config->site,
                                     .resources = config->resources,
                                     .lane = lane,
                                     .labels = config->labels};
    if (self->agent.self.resources.cpu <= 0)
        self->agent.self.resources.cpu = (double)sysconf (_SC_NPROCESSORS_ONLN);
    if (!self->agent.self.resources.memory)
        self->agent.self.resources.memory =
            (uint64_t)sysconf (_SC_PHYS_PAGES) * (uint64_t)sysconf (_SC_PAGESIZE);
    /*  What is installed beside the program is on its tasks' PATH. */
    const char *program_dir = directory_of_program (&self->arena);
    self->aggregator = (aggregator_args_t){.keyring = self->keyring, .domain = LANE_DOMAIN};
    self->process = (process_args_t){.dir = config->dir,
                                     .path = program_dir,
                                     .endpoint = self->agent_endpoint,
                                     .key = self->key.public_key,
                                     .keyring = self->keyring,
                                     .domain = CONTROL_DOMAIN};
    self->logs = (logs_args_t){.dir = path_in (self, "logs")};
    const child_t children[] = {
        {.behaviour = &agent_behaviour, .name = "agent", .args = &self->agent, .thread = true},
        {.behaviour = &logs_behaviour, .name = "logs", .args = &self->logs, .thread = true},
        {.behaviour = &process_behaviour,
         .name = "process",
         .args = &self->process,
         .thread = true},
        {.behaviour = &executor_behaviour, .name = "executor", .thread = true},
        {.behaviour = &aggregator_behaviour,
         .name = "aggregator",
         .args = &self->aggregator,
         .thread = true},
        {.behaviour = &masters_file_behaviour,
         .name = "masters_file",
         .args = self->masters_path,
         .thread = true},
    };
    memcpy (self->service_children, children, sizeof (children));
    self->service_node = (node_args_t){.children = self->service_children, .count = 6};
    return 0;
}

/*  ---- the whole -------------------------------------------------------------------------- */

static int start (worker_node_t *self, log_t *log, nexus_error_t *error)
{
    const worker_config_t *config = self->config;
    self->lock = node_dir_take (config->dir, error);
    if (self->lock < 0 ||
        keypair_load_or_generate (&self->key, path_in (self, "node.key"), error) ||
        node_join (config, &self->key, path_in (self, "membership"), log, error) ||
        know_masters (self, log, error))
        return -1;
    self->keyring = keyring_new ();
    self->runtime = runtime_new (
        &(runtime_config_t){.name = config->name, .key = self->key.public_key, .log = log}, error);
    if (!self->runtime)
        return -1;
    runtime_route (self->runtime, false, "link");
    runtime_route (self->runtime, true, "lane");
    compose_links (self);
    self->links = host_new (
        self->runtime,
        &(child_t){.behaviour = &node_behaviour, .name = "links", .args = &self->link_node}, error);
    if (!self->links || compose_services (self, error))
        return -1;
    self->services = host_new (
        self->runtime,
        &(child_t){.behaviour = &node_behaviour, .name = "services", .args = &self->service_node},
        error);
    return self->services ? 0 : -1;
}

worker_node_t *worker_node_new (const worker_config_t *config, log_t *log, nexus_error_t *error)
{
    worker_node_t *self = calloc (1, sizeof (*self));
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a worker");
        return NULL;
    }
    self->config = config;
    self->lock = -1;
    arena_init (&self->arena, 0, NULL, 0);
    if (start (self, log, error))
        worker_node_destroy (&self);
    return self;
}

void worker_node_destroy (worker_node_t **self_p)
{
    worker_node_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    zactor_destroy (&self->services);
    zactor_destroy (&self->links);
    runtime_destroy (&self->runtime);
    if (self->keyring)
        keyring_release (&self->keyring);
    keypair_wipe (&self->key);
    if (self->lock >= 0)
        close (self->lock);
    arena_reset (&self->arena);
    free (self);
}

runtime_t *worker_node_runtime (worker_node_t *self)
{
    return self->runtime;
}

void worker_node_pipes (worker_node_t *self, zsock_t *ret_pipes[2])
{
    ret_pipes[0] = zactor_sock (self->services);
    ret_pipes[1] = zactor_sock (self->links);
}
