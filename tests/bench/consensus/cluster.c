/*  cluster - three members of a store on this machine, each a process of its own */
#include "tests/bench/consensus/cluster.h"

#include "runtime/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 20000, LOAD_TIMEOUT_MS = 300000 };

struct cluster {
    const store_t *store;
    void *made;
    char dir[512];
    pid_t pids[CLUSTER_MEMBERS];
};

static int64_t now_ms (void)
{
    return clock_now_ns () / 1000000;
}

uint16_t cluster_free_port (void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t size = sizeof (address);
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind (fd, (struct sockaddr *)&address, size) ||
             getsockname (fd, (struct sockaddr *)&address, &size);
    assert (fd >= 0 && !rc);
    (void)rc;
    close (fd);
    return ntohs (address.sin_port);
}

void *cluster_shared (size_t size)
{
    void *memory = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert (memory != MAP_FAILED);
    return memory;
}

/*  ---- members ------------------------------------------------------------------------- */

int cluster_start (cluster_t *self, unsigned member, nexus_error_t *error)
{
    char output[600];
    snprintf (output, sizeof (output), "%s/member-%u.log", self->dir, member + 1);
    const char *const *command = self->store->command (self->made, member);
    pid_t parent = getpid (), pid = fork ();
    if (pid < 0)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "fork: %s", strerror (errno));
    if (pid == 0) {
        int log = open (output, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2 (log, 1);
        dup2 (log, 2);
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        if (getppid () == parent)
            execvp (command[0], (char *const *)(uintptr_t)command);
        fprintf (stderr, "%s: %s\n", command[0], strerror (errno));
        _exit (127);
    }
    self->pids[member] = pid;
    return 0;
}

void cluster_kill (cluster_t *self, unsigned member)
{
    if (!self->pids[member])
        return;
    kill (self->pids[member], SIGKILL);
    waitpid (self->pids[member], NULL, 0);
    self->pids[member] = 0;
}

static int check_members (cluster_t *self, nexus_error_t *error)
{
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++)
        if (self->pids[i] && waitpid (self->pids[i], NULL, WNOHANG) == self->pids[i]) {
            self->pids[i] = 0;
            return nexus_error_set (error, NEXUS_UNAVAILABLE,
                                    "%s: member %u has ended: see %s/member-%u.log",
                                    self->store->name, i + 1, self->dir, i + 1);
        }
    return 0;
}

int cluster_leader (cluster_t *self, nexus_error_t *error)
{
    int64_t end_ms = now_ms () + WAIT_MS;
    int leader;
    while ((leader = self->store->leader (self->made)) < 0) {
        if (now_ms () > end_ms)
            return nexus_error_set (error, NEXUS_DEADLINE, "%s: no leader within %d s: see %s",
                                    self->store->name, WAIT_MS / 1000, self->dir);
        if (check_members (self, error))
            return -1;
        usleep (20000);
    }
    return leader;
}

static int start_all (cluster_t *self, const char *program, nexus_error_t *error)
{
    if (mkdir (self->dir, 0700) && errno != EEXIST)
        return nexus_error_set (error, NEXUS_IO, "can't make %s: %s", self->dir, strerror (errno));
    self->made = self->store->make (self->dir, program, error);
    if (!self->made)
        return -1;
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++)
        if (cluster_start (self, i, error))
            return -1;
    int rc;
    int64_t end_ms = now_ms () + WAIT_MS;
    while ((rc = self->store->prepare (self->made, error)) > 0 && now_ms () < end_ms) {
        if (check_members (self, error))
            return -1;
        usleep (50000);
    }
    if (rc > 0)
        nexus_error_set (error, NEXUS_DEADLINE, "%s: not ready within %d s: see %s",
                         self->store->name, WAIT_MS / 1000, self->dir);
    return rc ? -1 : cluster_leader (self, error) < 0 ? -1 : 0;
}

cluster_t *cluster_new (const store_t *store, const char *dir, const char *program,
                        nexus_error_t *error)
{
    cluster_t *self = calloc (1, sizeof (*self));
    assert (self);
    self->store = store;
    snprintf (self->dir, sizeof (self->dir), "%.400s/%s", dir, store->name);
    if (start_all (self, program, error))
        cluster_destroy (&self);
    return self;
}

void cluster_destroy (cluster_t **self_p)
{
    cluster_t *self = *self_p;
    if (!self)
        return;
    for (unsigned i = 0; i < CLUSTER_MEMBERS; i++)
        cluster_kill (self, i);
    if (self->made)
        self->store->destroy (self->made);
    free (self);
    *self_p = NULL;
}

const char *cluster_name (const cluster_t *self)
{
    return self->store->name;
}

pid_t cluster_pid (const cluster_t *self, unsigned member)
{
    return self->pids[member];
}

/*  ---- loads --------------------------------------------------------------------------- */

int cluster_load (cluster_t *self, const load_config_t *config, load_result_t *result,
                  nexus_error_t *error)
{
    pid_t parent = getpid (), pid = fork ();
    if (pid == 0) {
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        _exit (getppid () == parent && !self->store->run (self->made, config, result) ? 0 : 1);
    }
    int status = -1;
    int64_t end_ms = now_ms () + LOAD_TIMEOUT_MS;
    while (pid > 0 && waitpid (pid, &status, WNOHANG) == 0) {
        if (now_ms () > end_ms)
            kill (pid, SIGKILL);
        usleep (10000);
    }
    if (pid < 0 || status || !result->complete)
        return nexus_error_set (
            error, NEXUS_UNAVAILABLE,
            "%s: the load generator %s: %llu operations done, %llu attempts failed%s%s",
            self->store->name, status ? "failed" : "got no answer to some",
            (unsigned long long)result->total, (unsigned long long)result->failed,
            *result->failure ? ": " : "", result->failure);
    return 0;
}
