/*  master - a whole master: its files, its world, its actors */
#include "actors/node/master.h"

#include "actors/election/election.h"
#include "actors/election/election_raft_log.h"
#include "actors/gateway/gateway.h"
#include "actors/gateway/http.h"
#include "actors/ledger/ledger.h"
#include "actors/node/masters_file.h"
#include "actors/protocol/catalog.h"
#include "actors/protocol/consensus.h"
#include "actors/protocol/known_masters.h"
#include "actors/registry/registry.h"
#include "actors/scheduler/scheduler.h"
#include "actors/snapshots/snapshot_files.h"
#include "runtime/supervisor.h"
#include "storage/raft_log_actor.h"
#include "transport/resolve.h"
#include "transport/secret_file.h"
#include "transport/zap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAP_SIZE    ((size_t)16 << 30)
#define LEDGER_MAP_SIZE ((size_t)16 << 30)
#define DOMAIN          "control"

enum {
    MASTERS_MAX = 96 /* as the ledger's configuration */,
    ELECTION_MS = 300,
    HAND_OVER_MS = 5000
};

struct master_node {
    const master_config_t *config;
    arena_t arena;
    int lock;
    keypair_t key;
    cluster_root_t root;
    raft_log_t *raft_log;
    tables_t *tables;
    snapshot_files_t *copies;
    keyring_t *keyring;
    runtime_t *runtime;
    zactor_t *host;

    masters_file_t founders;
    record_key_t founder_keys[MASTERS_MAX];
    master_t *masters; /* as the ledger has them, or until it does, the configuration file */
    size_t master_count;
    link_dial_t dials[MASTERS_MAX];
    const char *dial_endpoints[MASTERS_MAX];
    zap_config_t zap;
    link_config_t link;
    ledger_args_t ledger;
    election_args_t election;
    snapshots_args_t snapshots;
    registry_args_t registry;
    scheduler_args_t scheduler;
    gateway_args_t gateway;
    http_args_t http;
    const char *api_names[2]; /* what others call us, for the certificate; NULL-terminated */
    child_t services[4];
    supervisor_spec_t supervisor;
    child_t children[7];
    node_args_t node;
};

static char *path_in (master_node_t *self, const char *name)
{
    return arena_printf (&self->arena, "%s/%s", self->config->dir, name);
}

/*  Who we are among the masters: name and key must agree with the configuration. */
static int find_self (const master_node_t *self, size_t *ret_index, nexus_error_t *error)
{
    const master_config_t *config = self->config;
    char hex[65];
    key_to_hex (&self->key.public_key, hex);
    for (size_t i = 0; i < config->masters.count; i++) {
        if (strcmp (config->masters.items[i].name, config->name))
            continue;
        if (memcmp (&config->masters.items[i].key, &self->key.public_key, sizeof (record_key_t)))
            return nexus_error_set (error, NEXUS_INVALID,
                                    "masters[%zu].key: %s/node.key has the public key %s, the "
                                    "configuration says otherwise",
                                    i, config->dir, hex);
        *ret_index = i;
        return 0;
    }
    return nexus_error_set (error, NEXUS_INVALID,
                            "masters: \"%s\" is not among them; add it with the key %s",
                            config->name, hex);
}

/*  Each is somewhere, and somebody else. */
static int check_peer (const master_config_t *config, size_t i, nexus_error_t *error)
{
    const peer_config_t *peer = &config->masters.items[i];
    if (known_masters_check_addresses (peer->endpoint, peer->api, error)) {
        char where[32];
        snprintf (where, sizeof (where), "masters[%zu].", i);
        nexus_error_prefix (error, where);
        return -1;
    }
    for (size_t k = 0; k < i; k++) {
        const peer_config_t *other = &config->masters.items[k];
        const char *same = strcmp (other->name, peer->name) == 0                       ? "name"
                           : strcmp (other->endpoint, peer->endpoint) == 0             ? "endpoint"
                           : memcmp (&other->key, &peer->key, sizeof (peer->key)) == 0 ? "key"
                                                                                       : NULL;
        if (same)
            return nexus_error_set (error, NEXUS_INVALID,
                                    "masters[%zu].%s: that is masters[%zu]'s as well", i, same, k);
    }
    return 0;
}

static int check_addresses (const master_config_t *config, nexus_error_t *error)
{
    if (!resolve_is_listenable (config->bind))
        return nexus_error_set (error, NEXUS_INVALID,
                                "bind: expected tcp://ADDRESS:PORT, an address of this machine in "
                                "numbers, or * for all; found \"%.200s\"",
                                config->bind);
    for (size_t i = 0; i < config->masters.count; i++)
        if (check_peer (config, i, error))
            return -1;
    return 0;
}

/*  Of a ledger that doesn't open. Damage that could be mended here has been. */
static int ledger_lost (nexus_error_t *error)
{
    nexus_error_t what = *error;
    if (what.code == NEXUS_CORRUPT)
        nexus_error_set (
            error, NEXUS_CORRUPT,
            "%.180s. Nothing else here tells what the ledger held: " CONSENSUS_REPLACE_MASTER
            "; or, if there is no other, restore a backup",
            what.text);
    return -1;
}

static int open_files (master_node_t *self, log_t *log, nexus_error_t *error)
{
    const master_config_t *config = self->config;
    self->lock = node_dir_take (config->dir, error);
    if (self->lock < 0 ||
        keypair_load_or_generate (&self->key, path_in (self, "node.key"), error) ||
        cluster_root_load (&self->root, config->root, error))
        return -1;
    self->raft_log = raft_log_open (path_in (self, "log"), LOG_MAP_SIZE, error);
    if (!self->raft_log ||
        raft_log_set_durability (self->raft_log, (raft_log_durability_t)config->durability, error))
        return -1;
    tables_origin_t origin;
    self->tables = tables_open_cache (path_in (self, "ledger"), LEDGER_MAP_SIZE, ledger_table_names,
                                      LEDGER_TABLES, &origin, error);
    if (!self->tables)
        return ledger_lost (error);
    if (origin == TABLES_MENDED)
        log_warning (log,
                     "the ledger was damaged, so it is made anew of its last copy and the Raft "
                     "log; check the disk");
    else if (origin == TABLES_FROM_COPY)
        log_info (log, "the machine was started anew, or stopped without warning: the ledger "
                       "begins from its last copy, and the Raft log tells the rest");
    else if (origin == TABLES_EMPTY)
        log_info (log, "the ledger begins empty: the Raft log tells all of it");
    self->copies =
        snapshot_files_new (path_in (self, "ledger"), self->tables, self->raft_log, error);
    return self->copies ? snapshot_files_recover (self->copies, log, error) : -1;
}

/*  A node that was never part of anything: nothing depends on what it is told now. */
static int is_fresh (master_node_t *self, bool *ret_fresh, nexus_error_t *error)
{
    raft_log_state_t state;
    raft_log_state (self->raft_log, &state);
    tables_txn_t *txn = tables_begin (self->tables, false, error);
    if (!txn)
        return -1;
    *ret_fresh = state.first == 1 && state.last == 0 && state.hard.term == 0 &&
                 ledger_number (txn, LEDGER_APPLIED) == 0;
    tables_abort (&txn);
    return 0;
}

/*  The masters of the configuration file. */
static int list_configured (master_node_t *self, master_t **ret_masters, nexus_error_t *error)
{
    const master_config_t *config = self->config;
    master_t *masters = arena_alloc (&self->arena, config->masters.count * sizeof (*masters));
    if (!masters)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a master");
    for (size_t i = 0; i < config->masters.count; i++) {
        const peer_config_t *peer = &config->masters.items[i];
        masters[i] = (master_t){
            .key = peer->key, .name = peer->name, .endpoint = peer->endpoint, .api = peer->api};
    }
    *ret_masters = masters;
    return 0;
}

/*  A key goes with a log. If it has had one that is not here, it may be the log of a cluster that
    has grown meanwhile, of which a configuration that names this master alone knows nothing. */
static int check_key_is_new (const master_node_t *self, const char *key, nexus_error_t *error)
{
    bool used;
    if (secret_file_is_marked (key, &used, error))
        return -1;
    if (!used || self->config->join || self->master_count > 1)
        return 0;
    return nexus_error_set (
        error, NEXUS_INVALID,
        "%.200s has had a Raft log, which is not in its directory any more. If the "
        "cluster has other masters, remove this one and let it join again (`join: "
        "true`, nexus master add); if not, nexus restore brings a backup back; to "
        "found a new cluster, make a new key",
        key);
}

static int mark_key (const char *key, nexus_error_t *error)
{
    bool used;
    if (secret_file_is_marked (key, &used, error))
        return -1;
    return used ? 0 : secret_file_mark (key, error);
}

/*  Whom the cluster began with, or that it was there before us: told by the configuration file at
    the first start, and never again. */
static int know_founders (master_node_t *self, log_t *log, nexus_error_t *error)
{
    const char *path = path_in (self, "founders");
    bool fresh;
    if (is_fresh (self, &fresh, error))
        return -1;
    int rc = masters_file_load (path, &self->arena, &self->founders, error);
    if (rc && error->code != NEXUS_NOT_FOUND)
        return -1;
    const char *key = path_in (self, "node.key");
    if (fresh && check_key_is_new (self, key, error))
        return -1;
    if (rc || fresh) {
        bool join = fresh && self->config->join;
        self->founders = (masters_file_t){.joined = join};
        if (!join) {
            self->founders.masters.items = self->masters;
            self->founders.masters.count = self->master_count;
        }
        if (masters_file_save (path, &self->founders, error))
            return -1;
        log_info (log,
                  join ? "this master waits to be let in: nexus master add"
                       : "this master founds a cluster with those of its configuration file",
                  LOG_UINT ("founders", self->founders.masters.count));
    }
    if (mark_key (key, error))
        return -1;
    for (size_t i = 0; i < self->founders.masters.count; i++)
        self->founder_keys[i] = self->founders.masters.items[i].key;
    return 0;
}

static int know_masters (master_node_t *self, log_t *log, nexus_error_t *error)
{
    cluster_conf_t conf;
    void *known = NULL;
    size_t count = 0;
    tables_txn_t *txn = tables_begin (self->tables, false, error);
    if (!txn)
        return -1;
    int rc = ledger_get_conf (txn, &self->arena, &conf, error) ||
             ledger_list (txn, LEDGER_MASTERS, NULL, NULL, 0, &self->arena, &known, &count, error);
    tables_abort (&txn);
    if (rc || list_configured (self, &self->masters, error))
        return -1;
    self->master_count = self->config->masters.count;
    if (know_founders (self, log, error))
        return -1;
    if (conf.members.count && count <= MASTERS_MAX) {
        self->masters = known;
        self->master_count = count;
    }
    return 0;
}

static int plan_dials (master_node_t *self, nexus_error_t *error)
{
    link_dial_t *dials = arena_alloc (&self->arena, self->master_count * sizeof (*dials));
    if (!dials)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a master");
    self->node.dials = dials;
    for (size_t i = 0; i < self->master_count; i++) {
        const master_t *master = &self->masters[i];
        if (memcmp (&master->key, &self->key.public_key, sizeof (record_key_t)) &&
            master->endpoint && *master->endpoint)
            dials[self->node.dial_count++] =
                (link_dial_t){.node = master->key,
                              .role = ROLE_MASTER,
                              .name = master->name,
                              .endpoints = {(const char **)(uintptr_t)&master->endpoint, 1}};
    }
    return 0;
}

/*  "m1.example.org" of https://m1.example.org:7443, "::1" of https://[::1]:7443; NULL if there is none. */
static const char *host_of (master_node_t *self, const char *url)
{
    const char *host = url ? strstr (url, "://") : NULL;
    if (!host)
        return NULL;
    host += 3;
    size_t size = *host == '[' ? strcspn (++host, "]") : strcspn (host, ":/");
    return size ? arena_strndup (&self->arena, host, size) : NULL;
}

/*  The election timeout until a leader has measured anything. */
static int64_t election_ms (const master_config_t *config)
{
    if (config->election_ms_min > ELECTION_MS)
        return (int64_t)config->election_ms_min;
    return config->election_ms_max < ELECTION_MS ? (int64_t)config->election_ms_max : ELECTION_MS;
}

/*  Fills the arguments of all actors, and who starts whom. */
static void compose (master_node_t *self, size_t me)
{
    const master_config_t *config = self->config;
    const peer_config_t *own = &config->masters.items[me];
    self->zap = (zap_config_t){.keyring = self->keyring};
    self->link = (link_config_t){.name = config->name,
                                 .key = &self->key,
                                 .endpoints = &config->bind,
                                 .endpoint_count = 1,
                                 .domain = DOMAIN,
                                 .keyring = self->keyring,
                                 .catalog = &protocol_catalog};
    self->ledger = (ledger_args_t){
        .tables = self->tables, .restore = snapshot_files_restore, .restore_context = self->copies};
    self->snapshots = (snapshots_args_t){.store = snapshot_files_store (self->copies),
                                         .entries = config->snapshot_entries,
                                         .pause_ms = (int64_t)config->snapshot_seconds * 1000,
                                         .log_bytes = config->snapshot_log_mib << 20,
                                         .bytes_per_second = config->snapshot_mib_per_second << 20};
    raft_log_state_t log;
    raft_log_state (self->raft_log, &log);
    self->election = (election_args_t){.masters = self->founder_keys,
                                       .records = self->founders.masters.items,
                                       .masters_count = self->founders.masters.count,
                                       .join = self->founders.joined,
                                       .election_ms = election_ms (config),
                                       .election_ms_min = (int64_t)config->election_ms_min,
                                       .election_ms_max = (int64_t)config->election_ms_max,
                                       .log = election_raft_log (self->raft_log)};
    self->registry = (registry_args_t){.tables = self->tables,
                                       .keyring = self->keyring,
                                       .domain = DOMAIN,
                                       .root = &self->root,
                                       .self = {.key = self->key.public_key,
                                                .name = config->name,
                                                .endpoint = own->endpoint,
                                                .api = own->api,
                                                .incarnation = log.incarnation},
                                       .masters = self->masters,
                                       .master_count = self->master_count,
                                       .lost_after_ms = (int64_t)config->lost_after_ms};
    self->scheduler = (scheduler_args_t){.tables = self->tables};
    self->gateway = (gateway_args_t){.tables = self->tables,
                                     .name = config->name,
                                     .masters = self->masters,
                                     .master_count = self->master_count};
    self->api_names[0] = host_of (self, own->api);
    self->http =
        (http_args_t){.config = &config->api, .dir = config->dir, .names = self->api_names};

    const child_t services[] = {
        {.behaviour = &registry_behaviour, .name = "registry", .args = &self->registry},
        {.behaviour = &scheduler_behaviour, .name = "scheduler", .args = &self->scheduler},
        {.behaviour = &gateway_behaviour, .name = "gateway", .args = &self->gateway},
        {.behaviour = &http_behaviour, .name = "http", .args = &self->http},
    };
    memcpy (self->services, services, sizeof (services));
    for (size_t i = 0; i < 4; i++)
        self->services[i].thread = true;
    self->supervisor = (supervisor_spec_t){.strategy = SUPERVISE_ONE_FOR_ONE,
                                           .intensity = 5,
                                           .period_ms = 10000,
                                           .children = self->services,
                                           .count = 4};
    const child_t children[] = {
        {.behaviour = &zap_behaviour, .name = "zap", .args = &self->zap},
        {.behaviour = &link_behaviour, .name = "link", .args = &self->link},
        {.behaviour = &raft_log_actor, .name = "raft_log", .args = self->raft_log},
        {.behaviour = &ledger_behaviour, .name = "ledger", .args = &self->ledger},
        {.behaviour = &election_behaviour, .name = "election", .args = &self->election},
        {.behaviour = &snapshots_behaviour, .name = "snapshots", .args = &self->snapshots},
        {.behaviour = &supervisor_behaviour, .name = "services", .args = &self->supervisor},
    };
    memcpy (self->children, children, sizeof (children));
    /*  Link, log, ledger and election pass every command of the cluster to each other: on one thread
        that costs no wake-up. None of them waits for a disk but for a moment; what waits for
        long has its own. */
    for (size_t i = 0; i < sizeof (children) / sizeof (children[0]); i++)
        self->children[i].thread = children[i].behaviour != &link_behaviour &&
                                   children[i].behaviour != &raft_log_actor &&
                                   children[i].behaviour != &ledger_behaviour &&
                                   children[i].behaviour != &election_behaviour;
    self->node.children = self->children;
    self->node.count = sizeof (children) / sizeof (children[0]);
}

/*  Masters know each other before anything is applied: otherwise a new cluster
    could not begin. */
static int admit_masters (master_node_t *self, nexus_error_t *error)
{
    keyring_entry_t entries[MASTERS_MAX] = {{.role = ROLE_NONE}};
    for (size_t i = 0; i < self->master_count; i++) {
        entries[i] = (keyring_entry_t){.key = self->masters[i].key, .role = ROLE_MASTER};
        strncpy (entries[i].name, self->masters[i].name, sizeof (entries[i].name) - 1);
    }
    return keyring_replace (self->keyring, DOMAIN, entries, self->master_count, error);
}

static int start (master_node_t *self, log_t *log, nexus_error_t *error)
{
    size_t me = 0;
    if (check_addresses (self->config, error) || open_files (self, log, error) ||
        find_self (self, &me, error) || know_masters (self, log, error) || plan_dials (self, error))
        return -1;
    self->keyring = keyring_new ();
    self->runtime = runtime_new (
        &(runtime_config_t){.name = self->config->name, .key = self->key.public_key, .log = log},
        error);
    if (!self->runtime || admit_masters (self, error))
        return -1;
    runtime_route (self->runtime, false, "link");
    compose (self, me);
    self->host = host_new (
        self->runtime,
        &(child_t){.behaviour = &node_behaviour, .name = "node", .args = &self->node}, error);
    return self->host ? 0 : -1;
}

master_node_t *master_node_new (const master_config_t *config, log_t *log, nexus_error_t *error)
{
    master_node_t *self = calloc (1, sizeof (*self));
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a master");
        return NULL;
    }
    self->config = config;
    self->lock = -1;
    arena_init (&self->arena, 0, NULL, 0);
    if (start (self, log, error))
        master_node_destroy (&self);
    return self;
}

/*  A leader that goes in peace lets another one lead first, and waits until that does: nobody waits
    for a timeout, and whoever asks it meanwhile gets his answer. */
static void hand_over (master_node_t *self)
{
    nexus_error_t error;
    address_t election = address_local ("election", 0);
    leadership_transfer_t transfer = {.own = true};
    message_t *reply = runtime_call (self->runtime, &election, &leadership_transfer_record,
                                     &transfer, HAND_OVER_MS, &error);
    if (reply)
        message_release (&reply);
}

void master_node_destroy (master_node_t **self_p)
{
    master_node_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    if (self->host)
        hand_over (self);
    zactor_destroy (&self->host);
    runtime_destroy (&self->runtime);
    if (self->keyring)
        keyring_release (&self->keyring);
    snapshot_files_destroy (&self->copies);
    tables_close (&self->tables);
    raft_log_close (&self->raft_log);
    cluster_root_wipe (&self->root);
    keypair_wipe (&self->key);
    if (self->lock >= 0)
        close (self->lock);
    arena_reset (&self->arena);
    free (self);
}

runtime_t *master_node_runtime (master_node_t *self)
{
    return self->runtime;
}

zsock_t *master_node_pipe (master_node_t *self)
{
    return zactor_sock (self->host);
}
