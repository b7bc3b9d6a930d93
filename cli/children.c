/*  children - the node processes of a local cluster */
#include "cli/children.h"

#include "runtime/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 80, ARGUMENTS_MAX = 16, STOP_TIMEOUT_MS = 10000, SHORT_LIFE_MS = 3000 };

#define RESTART_PAUSE_NS INT64_C (2000000000)

typedef struct {
    char name[64];
    char *output;
    char *arguments[ARGUMENTS_MAX + 1];
    pid_t pid; /* 0: does not run */
    int64_t started_ns;
    int64_t restart_ns; /* when to start it again */
    bool failing;
} child_process_t;

struct children {
    child_process_t items[CHILDREN_MAX];
    size_t count;
};

children_t *children_new (void)
{
    return calloc (1, sizeof (children_t));
}

/*  In the child: becomes the program. */
static void become (const child_process_t *child, pid_t parent)
{
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (getppid () != parent)
        _exit (1);
    sigset_t none;
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    /*  A group of its own: Ctrl-C is for the one who runs the cluster, who then stops it in order. */
    setpgid (0, 0);
    int input = open ("/dev/null", O_RDONLY);
    dup2 (input, 0);
    if (child->output) {
        int output = open (child->output, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2 (output, 1);
        dup2 (output, 2);
    }
    execv ("/proc/self/exe", child->arguments);
    _exit (127);
}

static int launch (child_process_t *child, nexus_error_t *error)
{
    pid_t parent = getpid ();
    pid_t pid = fork ();
    if (pid == 0)
        become (child, parent);
    if (pid < 0)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "%s can't be started: %s", child->name,
                                strerror (errno));
    child->pid = pid;
    child->started_ns = clock_now_ns ();
    return 0;
}

int children_start (children_t *self, const char *name, const char *output,
                    const char *const *arguments, nexus_error_t *error)
{
    if (self->count == CHILDREN_MAX)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "more than %d nodes", CHILDREN_MAX);
    child_process_t *child = &self->items[self->count++];
    snprintf (child->name, sizeof (child->name), "%s", name);
    child->output = output ? strdup (output) : NULL;
    child->arguments[0] = strdup ("nexus");
    for (size_t i = 0; arguments[i] && i + 1 < ARGUMENTS_MAX; i++)
        child->arguments[i + 1] = strdup (arguments[i]);
    return launch (child, error);
}

static void describe (int status, char text[64])
{
    if (WIFSIGNALED (status))
        snprintf (text, 64, "killed by signal %d", WTERMSIG (status));
    else
        snprintf (text, 64, "exited with code %d", WEXITSTATUS (status));
}

void children_poll (children_t *self,
                    void (*on_end) (void *context, const char *name, const char *how, pid_t pid),
                    void *context)
{
    int64_t now = clock_now_ns ();
    for (size_t i = 0; i < self->count; i++) {
        child_process_t *child = &self->items[i];
        int status;
        char how[64];
        if (child->pid && waitpid (child->pid, &status, WNOHANG) == child->pid) {
            describe (status, how);
            pid_t pid = child->pid;
            child->pid = 0;
            child->failing =
                WIFEXITED (status) && now - child->started_ns < INT64_C (1000000) * SHORT_LIFE_MS;
            child->restart_ns = now + RESTART_PAUSE_NS;
            if (on_end)
                on_end (context, child->name, how, pid);
        } else if (!child->pid && now >= child->restart_ns && launch (child, NULL))
            child->restart_ns = now + RESTART_PAUSE_NS;
    }
}

static const child_process_t *find (const children_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (!strcmp (self->items[i].name, name))
            return &self->items[i];
    return NULL;
}

pid_t children_pid (const children_t *self, const char *name)
{
    const child_process_t *child = find (self, name);
    return child ? child->pid : 0;
}

bool children_failing (const children_t *self, const char *name)
{
    const child_process_t *child = find (self, name);
    return child && child->failing && !child->pid;
}

void children_destroy (children_t **self_p)
{
    children_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (size_t i = self->count; i-- > 0;)
        if (self->items[i].pid)
            kill (self->items[i].pid, SIGTERM);
    int64_t end = clock_now_ns () + INT64_C (1000000) * STOP_TIMEOUT_MS;
    for (size_t i = 0; i < self->count;) {
        child_process_t *child = &self->items[i];
        if (child->pid && !waitpid (child->pid, NULL, WNOHANG)) {
            if (clock_now_ns () > end)
                kill (child->pid, SIGKILL);
            usleep (20000);
            continue;
        }
        free (child->output);
        for (size_t a = 0; a <= ARGUMENTS_MAX; a++)
            free (child->arguments[a]);
        i++;
    }
    free (self);
}
