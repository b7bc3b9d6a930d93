/*  join - how a node with a token becomes a member */
#include "actors/node/join.h"

#include "actors/node/node.h"
#include "actors/protocol/catalog.h"
#include "runtime/clock.h"
#include "transport/join_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    JOIN_TIMEOUT_MS = 30000,
    ASK_TIMEOUT_MS = 3000,
    PAUSE_US = 300000,
    CERTIFICATE_MAX = 1024,
    MASTERS_MAX = 32
};

/*  True if the file holds a certificate for this key. */
static bool has_certificate (const char *path, const record_key_t *key)
{
    uint8_t bytes[CERTIFICATE_MAX];
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read (fd, bytes, sizeof (bytes)) : -1;
    if (fd >= 0)
        close (fd);
    membership_t membership;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    bool good =
        size > 0 &&
        !record_decode (&membership_record, bytes, (size_t)size, &arena, &membership, NULL) &&
        !memcmp (&membership.node, key, sizeof (*key));
    arena_reset (&arena);
    return good;
}

static int write_certificate (const char *path, const record_bytes_t *bytes, nexus_error_t *error)
{
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool failed =
        fd < 0 || write (fd, bytes->data, bytes->size) != (ssize_t)bytes->size || fsync (fd);
    int reason = errno;
    if (fd >= 0)
        close (fd);
    return failed ? nexus_error_set (error, NEXUS_IO, "can't write %s: %s", path, strerror (reason))
                  : 0;
}

static int read_token (const char *path, join_token_t *token, nexus_error_t *error)
{
    char text[4096];
    FILE *file = path && *path ? fopen (path, "re") : NULL;
    if (!file)
        return path && *path
                   ? nexus_error_set (error, NEXUS_NOT_FOUND, "token: %s: %s", path,
                                      strerror (errno))
                   : nexus_error_set (error, NEXUS_INVALID,
                                      "token: this worker has not joined yet and needs the file "
                                      "of a join token");
    size_t size = fread (text, 1, sizeof (text) - 1, file);
    fclose (file);
    text[size] = 0;
    text[strcspn (text, " \r\n\t")] = 0;
    return join_token_parse (token, text, error) ? nexus_error_prefix (error, "%s: ", path) : 0;
}

/*  Checks that what came back makes us what we asked for, in the token's cluster. */
static int check_answer (const enrolled_t *enrolled, const join_token_t *token,
                         const record_key_t *key, nexus_error_t *error)
{
    membership_t membership;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    int rc = record_decode (&membership_record, enrolled->certificate.data,
                            enrolled->certificate.size, &arena, &membership, error) ||
             membership_verify (&membership, &token->root_public_key, clock_wall_ms (), error);
    if (!rc && memcmp (&membership.node, key, sizeof (*key)))
        rc = nexus_error_set (error, NEXUS_DENIED, "the masters sent somebody else's certificate");
    arena_reset (&arena);
    return rc ? -1 : 0;
}

/*  Asks one master after the other until one has an answer that is final. */
static int ask (const worker_config_t *config, runtime_t *runtime, const join_token_t *token,
                const record_key_t *key, const char *certificate, nexus_error_t *error)
{
    enrol_t enrol = {.key = *key, .name = config->name, .site = config->site};
    int64_t end = clock_now_ns () + MS_TO_NS (JOIN_TIMEOUT_MS);
    for (size_t i = 0;; i++) {
        address_t to =
            address_remote (&config->masters.items[i % config->masters.count].key, "registry", 0);
        message_t *reply =
            runtime_call (runtime, &to, &enrol_record, &enrol, ASK_TIMEOUT_MS, error);
        if (reply) {
            const enrolled_t *enrolled = message_body (reply, enrolled);
            int rc = enrolled
                         ? check_answer (enrolled, token, key, error)
                         : nexus_error_set (error, NEXUS_INVALID, "a master answered nonsense");
            if (!rc)
                rc = write_certificate (certificate, &enrolled->certificate, error);
            message_release (&reply);
            return rc;
        }
        bool final = error->code != NEXUS_UNAVAILABLE && error->code != NEXUS_DEADLINE &&
                     error->code != NEXUS_CONFLICT;
        if (final)
            return nexus_error_prefix (error, "%s could not join: ", config->name);
        if (clock_now_ns () > end)
            return nexus_error_set (
                error, NEXUS_UNAVAILABLE,
                "%s could not join: no master let it in within %d s: is one "
                "running, are the masters' endpoints and keys right, and does "
                "the join token still hold (nexus token makes another)? (%.200s)",
                config->name, JOIN_TIMEOUT_MS / 1000, error->text);
        usleep (PAUSE_US);
    }
}

int node_join (const worker_config_t *config, const keypair_t *node_key, const char *certificate,
               log_t *log, nexus_error_t *error)
{
    nexus_error_t own;
    error = error ? error : &own;
    if (has_certificate (certificate, &node_key->public_key))
        return 0;
    join_token_t token;
    if (read_token (config->token, &token, error))
        return -1;
    keyring_t *keyring = keyring_new ();
    const char *endpoints[MASTERS_MAX];
    link_dial_t dials[MASTERS_MAX];
    for (size_t i = 0; i < config->masters.count; i++) {
        endpoints[i] = config->masters.items[i].endpoint;
        dials[i] = (link_dial_t){.node = config->masters.items[i].key,
                                 .role = ROLE_MASTER,
                                 .name = config->masters.items[i].name,
                                 .endpoints = {&endpoints[i], 1}};
    }
    link_config_t link = {.name = config->name,
                          .key = &token.pair,
                          .domain = "control",
                          .keyring = keyring,
                          .catalog = &protocol_catalog};
    child_t child = {.behaviour = &link_behaviour, .name = "link", .args = &link, .thread = true};
    node_args_t node = {
        .children = &child, .count = 1, .dials = dials, .dial_count = config->masters.count};
    runtime_t *runtime = runtime_new (
        &(runtime_config_t){.name = config->name, .key = token.pair.public_key, .log = log}, error);
    zactor_t *host = NULL;
    int rc = -1;
    if (runtime) {
        runtime_route (runtime, false, "link");
        host = host_new (runtime,
                         &(child_t){.behaviour = &node_behaviour, .name = "node", .args = &node},
                         error);
        if (host)
            rc = ask (config, runtime, &token, &node_key->public_key, certificate, error);
    }
    zactor_destroy (&host);
    runtime_destroy (&runtime);
    keyring_release (&keyring);
    join_token_wipe (&token);
    return rc;
}
