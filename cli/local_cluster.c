/*  local_cluster - a cluster on this machine, in one directory */
#include "cli/local_cluster.h"

#include "actors/node/node.h"
#include "transport/identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
#define RECORD_SELF local_cluster_t
RECORD_DEFINE (local_cluster, 0, 0, "A cluster on one machine: DIR/cluster.yaml.", LOCAL_CLUSTER)
#undef RECORD_SELF
/* clang-format on */

/*  ---- files ------------------------------------------------------------------------ */

/*  Writes a file whole or not at all; 0600. */
static int write_file (const char *path, const void *data, size_t size, nexus_error_t *error)
{
    char temporary[1200];
    snprintf (temporary, sizeof (temporary), "%s.new", path);
    int fd = open (temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool failed = fd < 0 || write (fd, data, size) != (ssize_t)size || fsync (fd);
    int reason = errno;
    if (fd >= 0)
        close (fd);
    if (!failed && rename (temporary, path)) {
        failed = true;
        reason = errno;
    }
    if (!failed)
        return 0;
    unlink (temporary);
    return nexus_error_set (error, reason == ENOSPC ? NEXUS_EXHAUSTED : NEXUS_IO,
                            "can't write %s: %s", path, strerror (reason));
}

static int write_record (const record_t *record, const void *value, const char *path,
                         nexus_error_t *error)
{
    buffer_t text = {0};
    record_to_yaml (record, value, RECORD_SHOW_SECRETS, &text);
    int rc = write_file (path, text.data, text.size, error);
    buffer_free (&text);
    return rc;
}

static int make_dir (const char *path, nexus_error_t *error)
{
    if (!mkdir (path, 0700) || errno == EEXIST)
        return 0;
    return nexus_error_set (error, errno == ENOSPC ? NEXUS_EXHAUSTED : NEXUS_IO,
                            "can't make the directory %s: %s", path, strerror (errno));
}

/*  ---- ports -------------------------------------------------------------------------- */

/*  Binds to the port (0: any) and lets go again. Returns the port, or 0 if it is in use. */
static uint16_t try_port (uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons (port),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t size = sizeof (address);
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return 0;
    setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof (on));
    bool good = !bind (fd, (struct sockaddr *)&address, size) && !listen (fd, 1) &&
                !getsockname (fd, (struct sockaddr *)&address, &size);
    close (fd);
    return good ? ntohs (address.sin_port) : 0;
}

static int choose_ports (local_cluster_t *cluster, uint64_t first, arena_t *arena,
                         nexus_error_t *error)
{
    size_t count = cluster->masters * 2;
    cluster->ports.items = arena_alloc (arena, count * sizeof (int64_t));
    for (size_t i = 0; i < count; i++) {
        uint64_t wanted = first ? first + i : 0;
        if (wanted > 65535)
            return nexus_error_set (error, NEXUS_INVALID,
                                    "--port %" PRIu64 ": %zu ports from there do not exist", first,
                                    count);
        int64_t port = try_port ((uint16_t)wanted);
        if (!port)
            return nexus_error_set (error, NEXUS_EXISTS,
                                    "port %" PRIu64
                                    " of 127.0.0.1 is in use: stop what uses it, or "
                                    "choose another first port with --port (0: any free ones)",
                                    wanted);
        cluster->ports.items[i] = port;
        for (size_t j = 0; j < i; j++)
            if (cluster->ports.items[j] == port && !first) {
                i--; /* the kernel gave one twice: once more */
                break;
            }
    }
    cluster->ports.count = count;
    return 0;
}

/*  ---- nodes ---------------------------------------------------------------------------- */

static const char *site_of (size_t i, const local_cluster_t *cluster, arena_t *arena)
{
    return arena_printf (arena, "site-%zu", i % cluster->sites + 1);
}

/*  The masters' directories and keys, and how other nodes know them. */
static int make_peers (const char *dir, const local_cluster_t *cluster, arena_t *arena,
                       peer_config_t *peers, nexus_error_t *error)
{
    for (size_t i = 0; i < cluster->masters; i++) {
        keypair_t key;
        if (make_dir (arena_printf (arena, "%s/m%zu", dir, i + 1), error) ||
            keypair_load_or_generate (&key, arena_printf (arena, "%s/m%zu/node.key", dir, i + 1),
                                      error))
            return -1;
        record_init (&peer_config_record, &peers[i]);
        peers[i].name = arena_printf (arena, "m%zu", i + 1);
        peers[i].key = key.public_key;
        peers[i].endpoint =
            arena_printf (arena, "tcp://127.0.0.1:%" PRId64, cluster->ports.items[2 * i]);
        peers[i].api =
            arena_printf (arena, "https://127.0.0.1:%" PRId64, cluster->ports.items[2 * i + 1]);
        keypair_wipe (&key);
    }
    return 0;
}

static int make_masters (const char *dir, const local_cluster_t *cluster, arena_t *arena,
                         peer_config_t *peers, const char *token_line, nexus_error_t *error)
{
    for (size_t i = 0; i < cluster->masters; i++) {
        master_config_t config;
        record_init (&master_config_record, &config);
        config.name = peers[i].name;
        config.site = site_of (i, cluster, arena);
        config.dir = arena_printf (arena, "%s/%s", dir, config.name);
        config.bind = peers[i].endpoint;
        config.masters.items = peers;
        config.masters.count = cluster->masters;
        config.root = arena_printf (arena, "%s/root.key", dir);
        config.api.port = (uint64_t)cluster->ports.items[2 * i + 1];
        config.log.file = arena_printf (arena, "%s/node.log", config.dir);
        if (write_record (&master_config_record, &config,
                          arena_printf (arena, "%s/master.yaml", config.dir), error) ||
            write_file (arena_printf (arena, "%s/api-tokens", config.dir), token_line,
                        strlen (token_line), error))
            return -1;
    }
    return 0;
}

static int make_workers (const char *dir, const local_cluster_t *cluster, arena_t *arena,
                         peer_config_t *peers, nexus_error_t *error)
{
    for (size_t i = 0; i < cluster->workers; i++) {
        worker_config_t config;
        record_init (&worker_config_record, &config);
        config.name = arena_printf (arena, "w%zu", i + 1);
        config.site = site_of (i, cluster, arena);
        config.dir = arena_printf (arena, "%s/%s", dir, config.name);
        config.masters.items = peers;
        config.masters.count = cluster->masters;
        config.token = arena_printf (arena, "%s/join-token", config.dir);
        config.resources.cpu = cluster->cpu;
        config.lane.bind = "tcp://127.0.0.1:*";
        config.log.file = arena_printf (arena, "%s/node.log", config.dir);
        if (make_dir (config.dir, error) ||
            write_record (&worker_config_record, &config,
                          arena_printf (arena, "%s/worker.yaml", config.dir), error))
            return -1;
    }
    return 0;
}

static int make_client (const char *dir, const local_cluster_t *cluster, arena_t *arena,
                        const peer_config_t *peers, const char *token, nexus_error_t *error)
{
    client_config_t client;
    record_init (&client_config_record, &client);
    client.endpoints.items = arena_alloc (arena, cluster->masters * sizeof (char *));
    for (size_t i = 0; i < cluster->masters; i++)
        client.endpoints.items[client.endpoints.count++] = peers[i].api;
    client.token = token;
    client.authority = arena_printf (arena, "%s/authority.pem", dir);
    return write_record (&client_config_record, &client,
                         arena_printf (arena, "%s/client.yaml", dir), error);
}

/*  ---- the whole ------------------------------------------------------------------------- */

/*  A random bearer token, and the line of the masters' token files that accepts it. */
static void make_bearer (char token[65], char line[256])
{
    uint8_t secret[32], hash[32];
    char hex[65];
    randombytes_buf (secret, sizeof (secret));
    sodium_bin2hex (token, 65, secret, sizeof (secret));
    crypto_generichash (hash, sizeof (hash), (const uint8_t *)token, strlen (token), NULL, 0);
    sodium_bin2hex (hex, 65, hash, sizeof (hash));
    snprintf (line, 256, "%s admin admin\n", hex);
    sodium_memzero (secret, sizeof (secret));
}

static int make_new (const char *dir, uint64_t port, local_cluster_t *cluster, arena_t *arena,
                     nexus_error_t *error)
{
    char token[65], line[256];
    peer_config_t *peers = arena_alloc (arena, cluster->masters * sizeof (*peers));
    cluster_root_t root;
    const char *root_file = arena_printf (arena, "%s/root.key", dir);
    if (sodium_init () < 0)
        return nexus_error_set (error, NEXUS_IO, "libsodium can't be initialised");
    if (choose_ports (cluster, port, arena, error))
        return -1;
    if (access (root_file, F_OK)) {
        cluster_root_generate (&root);
        int rc = cluster_root_save (&root, root_file, error);
        cluster_root_wipe (&root);
        if (rc)
            return -1;
    }
    make_bearer (token, line);
    if (make_peers (dir, cluster, arena, peers, error) ||
        make_masters (dir, cluster, arena, peers, line, error) ||
        make_workers (dir, cluster, arena, peers, error) ||
        make_client (dir, cluster, arena, peers, token, error))
        return -1;
    /*  Last: with it the cluster is there, without it the next attempt makes it anew. */
    return write_record (&local_cluster_record, cluster,
                         arena_printf (arena, "%s/cluster.yaml", dir), error);
}

int local_cluster_find (const char *dir, arena_t *arena, local_cluster_t *ret_cluster,
                        bool *ret_found, nexus_error_t *error)
{
    const char *file = arena_printf (arena, "%s/cluster.yaml", dir);
    *ret_found = access (file, F_OK) == 0;
    return *ret_found
               ? node_config_load (&local_cluster_record, file, NULL, arena, ret_cluster, error)
               : 0;
}

int local_cluster_make (const char *dir, uint64_t port, local_cluster_t *cluster, arena_t *arena,
                        nexus_error_t *error)
{
    bool found;
    local_cluster_t there;
    if (make_dir (dir, error) || local_cluster_find (dir, arena, &there, &found, error))
        return -1;
    if (!found)
        return make_new (dir, port, cluster, arena, error);
    if (there.masters != cluster->masters || there.workers != cluster->workers ||
        there.sites != cluster->sites)
        return nexus_error_set (error, NEXUS_EXISTS,
                                "%s holds a cluster of %" PRIu64 " masters, %" PRIu64
                                " workers and %" PRIu64 " sites: ask for the same, choose another "
                                "--dir, or remove it",
                                dir, there.masters, there.workers, there.sites);
    if (there.ports.count != there.masters * 2)
        return nexus_error_set (error, NEXUS_CORRUPT,
                                "%s/cluster.yaml: ports: expected two a master", dir);
    if (port && (int64_t)port != there.ports.items[0])
        return nexus_error_set (error, NEXUS_EXISTS,
                                "%s holds a cluster whose first port is %" PRId64 ", not %" PRIu64
                                ": leave --port out, choose another --dir, or "
                                "remove it",
                                dir, there.ports.items[0], port);
    for (size_t i = 0; i < there.ports.count; i++)
        if (!try_port ((uint16_t)there.ports.items[i]))
            return nexus_error_set (error, NEXUS_EXISTS,
                                    "port %" PRId64 " of 127.0.0.1 is in use: does this cluster "
                                    "run already (nexus status --dir %s)?",
                                    there.ports.items[i], dir);
    *cluster = there;
    return 0;
}

int local_cluster_write_token (const char *dir, uint64_t worker, const char *token,
                               nexus_error_t *error)
{
    char path[1100];
    snprintf (path, sizeof (path), "%s/w%" PRIu64 "/join-token", dir, worker);
    return write_file (path, token, strlen (token), error);
}

int local_cluster_write_authority (const char *dir, const local_cluster_t *cluster,
                                   nexus_error_t *error)
{
    char path[1100];
    buffer_t all = {0};
    for (size_t i = 0; i < cluster->masters; i++) {
        snprintf (path, sizeof (path), "%s/m%zu/api-cert.pem", dir, i + 1);
        FILE *file = fopen (path, "re");
        uint8_t *room = buffer_reserve (&all, 16384);
        if (file && room)
            all.size += fread (room, 1, 16384, file);
        if (file)
            fclose (file);
        else {
            buffer_free (&all);
            return nexus_error_set (error, NEXUS_IO, "%s: %s", path, strerror (errno));
        }
    }
    snprintf (path, sizeof (path), "%s/authority.pem", dir);
    int rc = write_file (path, all.data, all.size, error);
    buffer_free (&all);
    return rc;
}
