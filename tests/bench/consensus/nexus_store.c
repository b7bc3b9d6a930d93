/*  nexus_store - masters as a store: nexus master, with its defaults, as nexus up configures it */
#include "tests/bench/consensus/cluster.h"
#include "tests/bench/consensus/nexus_client.h"

#include "actors/node/node.h"
#include "cli/local_cluster.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    char dir[512], program[PATH_MAX];
    arena_t arena;
    local_cluster_t cluster;
    worker_config_t worker;
    char config[600];
    const char *arguments[5];
    bool authority;
} nexus_t;

/*  The command of the build that this bench is of. */
static void find_program (char path[PATH_MAX])
{
    ssize_t size = readlink ("/proc/self/exe", path, PATH_MAX - 16);
    path[size > 0 ? size : 0] = 0;
    for (int i = 0; i < 2; i++)
        if (strrchr (path, '/'))
            *strrchr (path, '/') = 0;
    strcat (path, "/nexus");
}

static void destroy (void *store)
{
    nexus_t *self = store;
    arena_reset (&self->arena);
    free (self);
}

static void *make (const char *dir, const char *program, nexus_error_t *error)
{
    nexus_t *self = calloc (1, sizeof (*self));
    assert (self);
    arena_init (&self->arena, 0, NULL, 0);
    snprintf (self->dir, sizeof (self->dir), "%s", dir);
    if (program)
        snprintf (self->program, sizeof (self->program), "%s", program);
    else
        find_program (self->program);
    record_init (&local_cluster_record, &self->cluster);
    self->cluster.masters = CLUSTER_MEMBERS;
    self->cluster.workers = 1; /* the load generator */
    self->cluster.sites = 1;
    if (!access (self->program, X_OK) &&
        !local_cluster_make (dir, 0, &self->cluster, &self->arena, error) &&
        !node_config_load (&worker_config_record,
                           arena_printf (&self->arena, "%s/w1/worker.yaml", dir), NULL,
                           &self->arena, &self->worker, error))
        return self;
    if (access (self->program, X_OK))
        nexus_error_set (error, NEXUS_NOT_FOUND, "%s is no program: build nexus, or say --program",
                         self->program);
    destroy (self);
    return NULL;
}

static const char *const *command (void *store, unsigned member)
{
    nexus_t *self = store;
    snprintf (self->config, sizeof (self->config), "%s/m%u/master.yaml", self->dir, member + 1);
    const char *const all[] = {self->program, "master", "--config", self->config, NULL};
    memcpy (self->arguments, all, sizeof (all));
    return self->arguments;
}

/*  The first line that a command of ours prints; 0 if it succeeded. */
static int ask (const nexus_t *self, const char *arguments, char *line, size_t size)
{
    char text[PATH_MAX + 1200];
    snprintf (text, sizeof (text), "'%s' %s --dir '%s' --patience 1 2>/dev/null", self->program,
              arguments, self->dir);
    line[0] = 0;
    FILE *pipe = popen (text, "re");
    if (!pipe)
        return -1;
    size_t got = fread (line, 1, size - 1, pipe);
    line[got] = 0;
    return pclose (pipe);
}

static int leader (void *store)
{
    nexus_t *self = store;
    char answer[8192];
    unsigned number = 0;
    if (ask (self, "status --json", answer, sizeof (answer)))
        return -1;
    const char *at = strstr (answer, "\"leader\"");
    if (!at || sscanf (at, "\"leader\" : \"m%u\"", &number) != 1 || number > CLUSTER_MEMBERS)
        return -1;
    return (int)number - 1;
}

/*  The certificates of all, a leader, and a join token for the generator. */
static int prepare (void *store, nexus_error_t *error)
{
    nexus_t *self = store;
    char path[700], token[4096];
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++) {
        snprintf (path, sizeof (path), "%s/m%u/api-cert.pem", self->dir, i + 1);
        if (access (path, R_OK))
            return 1;
    }
    if (!self->authority && local_cluster_write_authority (self->dir, &self->cluster, error))
        return 1;
    self->authority = true;
    if (leader (self) < 0)
        return 1;
    snprintf (path, sizeof (path), "token --root '%.500s/root.key'", self->dir);
    if (ask (self, path, token, sizeof (token)))
        return 1;
    return local_cluster_write_token (self->dir, 1, token, error);
}

static int run (void *store, const load_config_t *config, load_result_t *result)
{
    const nexus_t *self = store;
    return nexus_client_run (&self->worker, config, result);
}

const store_t nexus_store = {.name = "nexus",
                             .make = make,
                             .destroy = destroy,
                             .command = command,
                             .prepare = prepare,
                             .leader = leader,
                             .run = run};
