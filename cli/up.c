/*  up - nexus up and nexus down: a whole cluster on this machine

    Every node is a process of its own, started with the same command and files
    as a node anywhere; this process starts them in order, restarts those that
    die, and stops them all. */
#include "cli/children.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/local_cluster.h"
#include "runtime/clock.h"
#include "transport/join_token.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { START_TIMEOUT_MS = 60000, STOP_TIMEOUT_MS = 20000, POLL_MS = 50, TOKEN_VALID_MS = 600000 };

static const option_t up_options[] = {
    {"masters", 'm', "N", .def = "3",
     .doc = "Masters: 1 to 9, best odd; of a cluster that is there, as it is."},
    {"workers", 'w', "N", .def = "4", .doc = "Workers: 0 to 64; likewise."},
    {"sites", 's', "N", .def = "2", .doc = "Sites that the nodes are spread over; likewise."},
    {"cpu", 0, "CORES", .def = "2", .doc = "What each worker offers."},
    {"port", 'p', "PORT", .def = "7400",
     .doc = "First of two ports a master; 0: any free ones; likewise."},
    {"detach", 'D', NULL, .doc = "Return once the cluster runs."},
    CLIENT_OPTIONS,
    {0},
};

static const option_t down_options[] = {
    {"dir", 'd', "DIR", {"NEXUS_DIR"}, "nexus-cluster", "The cluster's directory."},
    {0},
};

typedef struct {
    options_t *options;
    char dir[PATH_MAX];
    local_cluster_t cluster;
    arena_t arena;
    children_t *children;
    client_t *client;
    int pid_file;
    int report; /* detached: the pipe to the command that waits; else -1 */
} up_t;

static volatile sig_atomic_t stop_wanted;

static void want_stop (int signal_number)
{
    (void)signal_number;
    stop_wanted = 1;
}

/*  ---- waiting ---------------------------------------------------------------------- */

/*  The last line of a node's output says why it ended. */
static void last_line (const char *path, char line[400])
{
    char text[4096];
    FILE *file = fopen (path, "re");
    line[0] = 0;
    if (!file)
        return;
    if (!fseek (file, 0, SEEK_END)) {
        long size = ftell (file);
        fseek (file, size > 4000 ? size - 4000 : 0, SEEK_SET);
    }
    size_t size = fread (text, 1, sizeof (text) - 1, file);
    fclose (file);
    while (size && text[size - 1] == '\n')
        size--;
    text[size] = 0;
    char *start = strrchr (text, '\n');
    snprintf (line, 400, "%.399s", start ? start + 1 : text);
}

static int check_failing (up_t *self, char kind, uint64_t count, nexus_error_t *error)
{
    char name[16], line[400];
    for (uint64_t i = 1; i <= count; i++) {
        snprintf (name, sizeof (name), "%c%" PRIu64, kind, i);
        if (!children_failing (self->children, name))
            continue;
        const char *path = arena_printf (&self->arena, "%s/%s/node.log", self->dir, name);
        last_line (path, line);
        return nexus_error_set (error, NEXUS_UNAVAILABLE, "%s does not start: %s (all of it: %s)",
                                name, line, path);
    }
    return 0;
}

/*  Runs the nodes until done says so. -1 if one can't start, or it takes too long. */
static int wait_until (up_t *self, bool (*done) (up_t *), const char *what, nexus_error_t *error)
{
    int64_t end = clock_now_ns () + INT64_C (1000000) * START_TIMEOUT_MS;
    while (!done (self)) {
        children_poll (self->children, NULL, NULL);
        if (check_failing (self, 'm', self->cluster.masters, error) ||
            check_failing (self, 'w', self->cluster.workers, error))
            return -1;
        if (stop_wanted)
            return nexus_error_set (error, NEXUS_CANCELLED, "stopped while waiting for %s", what);
        if (clock_now_ns () > end)
            return nexus_error_set (error, NEXUS_DEADLINE,
                                    "waited %d s for %s in vain: see %s/*/node.log",
                                    START_TIMEOUT_MS / 1000, what, self->dir);
        poll (NULL, 0, POLL_MS);
    }
    return 0;
}

static bool have_certificates (up_t *self)
{
    char path[PATH_MAX + 32];
    for (uint64_t i = 1; i <= self->cluster.masters; i++) {
        snprintf (path, sizeof (path), "%s/m%" PRIu64 "/api-cert.pem", self->dir, i);
        if (access (path, R_OK))
            return false;
    }
    return true;
}

static bool read_status (up_t *self, cluster_status_t *status)
{
    return !client_record (self->client, "/api/v1/cluster/status", NULL, &cluster_status_record,
                           &self->arena, status, NULL);
}

static bool have_leader (up_t *self)
{
    cluster_status_t status;
    return read_status (self, &status) && *status.leader;
}

static bool have_workers (up_t *self)
{
    cluster_status_t status;
    return read_status (self, &status) && *status.leader &&
           status.workers.active + status.workers.draining == self->cluster.workers;
}

/*  ---- starting ----------------------------------------------------------------------- */

static int start_nodes (up_t *self, const char *kind, char letter, uint64_t count,
                        nexus_error_t *error)
{
    for (uint64_t i = 1; i <= count; i++) {
        const char *name = arena_printf (&self->arena, "%c%" PRIu64, letter, i);
        const char *config = arena_printf (&self->arena, "%s/%s/%s.yaml", self->dir, name, kind);
        const char *output = arena_printf (&self->arena, "%s/%s/node.log", self->dir, name);
        if (children_start (self->children, name, output,
                            (const char *[]){kind, "--config", config, NULL}, error))
            return -1;
    }
    return 0;
}

/*  Makes a join token for a worker that has not joined yet, and tells the cluster its public half. */
static int admit_worker (up_t *self, const cluster_root_t *root, uint64_t worker,
                         nexus_error_t *error)
{
    join_token_t token;
    if (!access (arena_printf (&self->arena, "%s/w%" PRIu64 "/membership", self->dir, worker),
                 F_OK))
        return 0;
    join_token_generate (&token, &root->public_key);
    token_request_t request = {.key = token.pair.public_key, .uses = 1, .valid_ms = TOKEN_VALID_MS};
    json_t *json = record_to_json (&token_request_record, &request, 0);
    char *body = json_dumps (json, 0);
    client_answer_t answer;
    int rc = client_ask (self->client, "/api/v1/tokens", "application/json", body, strlen (body),
                         &answer, error);
    if (!rc) {
        client_answer_free (&answer);
        char *text = join_token_text (&token);
        rc = local_cluster_write_token (self->dir, worker, text, error);
        join_token_text_free (&text);
    }
    free (body);
    json_decref (json);
    join_token_wipe (&token);
    return rc;
}

static int admit_workers (up_t *self, nexus_error_t *error)
{
    cluster_root_t root;
    if (cluster_root_load (&root, arena_printf (&self->arena, "%s/root.key", self->dir), error))
        return -1;
    int rc = 0;
    for (uint64_t i = 1; i <= self->cluster.workers && !rc; i++)
        rc = admit_worker (self, &root, i, error);
    cluster_root_wipe (&root);
    return rc;
}

static int start_all (up_t *self, nexus_error_t *error)
{
    if (start_nodes (self, "master", 'm', self->cluster.masters, error) ||
        wait_until (self, have_certificates, "the masters' certificates", error) ||
        local_cluster_write_authority (self->dir, &self->cluster, error))
        return -1;
    self->client = client_new (self->options, error);
    if (!self->client)
        return -1;
    client_set_patience (self->client, POLL_MS);
    if (wait_until (self, have_leader, "a leader", error))
        return -1;
    client_set_patience (self->client, START_TIMEOUT_MS);
    if (admit_workers (self, error))
        return -1;
    client_set_patience (self->client, POLL_MS);
    return start_nodes (self, "worker", 'w', self->cluster.workers, error) ||
           wait_until (self, have_workers, "the workers", error);
}

/*  ---- running ------------------------------------------------------------------------- */

/*  Says something to whoever waits: on standard output, or through the pipe. */
static void tell (up_t *self, int code, const char *text)
{
    if (self->report < 0) {
        fputs (text, code ? stderr : stdout);
        fflush (stdout);
        return;
    }
    uint8_t byte = (uint8_t)code;
    if (write (self->report, &byte, 1) != 1 ||
        write (self->report, text, strlen (text)) != (ssize_t)strlen (text))
        return; /* nobody waits any more */
    close (self->report);
    self->report = -1;
}

static void node_ended (void *context, const char *name, const char *how, pid_t pid)
{
    const up_t *self = context;
    char stamp[32], path[PATH_MAX + 100], why[400] = "";
    time_t now = time (NULL);
    struct tm local;
    strftime (stamp, sizeof (stamp), "%H:%M:%S", localtime_r (&now, &local));
    snprintf (path, sizeof (path), "%s/%s/node.log", self->dir, name);
    if (!strncmp (how, "exited", 6)) /* then it has said why */
        last_line (path, why);
    printf ("%s %s (process %d) %s%s%s; it is started again\n", stamp, name, (int)pid, how,
            *why ? ": " : "", why);
    fflush (stdout);
}

static int run_cluster (up_t *self)
{
    nexus_error_t error;
    int code = 0;
    signal (SIGTERM, want_stop);
    signal (SIGINT, want_stop);
    signal (SIGPIPE, SIG_IGN);
    self->children = children_new ();
    if (start_all (self, &error)) {
        code = nexus_code_exit (error.code);
        children_destroy (&self->children); /* when we say no, nothing is left running */
        tell (self, code, arena_printf (&self->arena, "nexus: %s\n", error.text));
    } else {
        const char *dir = self->dir;
        tell (self, 0,
              arena_printf (&self->arena,
                            "The cluster runs: %" PRIu64 " masters, %" PRIu64 " workers, %" PRIu64
                            " sites, in %s.\nnexus status --dir %s shows it; nexus down --dir %s "
                            "stops it.\n",
                            self->cluster.masters, self->cluster.workers, self->cluster.sites, dir,
                            dir, dir));
        while (!stop_wanted) {
            children_poll (self->children, node_ended, self);
            poll (NULL, 0, POLL_MS);
        }
    }
    client_destroy (&self->client);
    children_destroy (&self->children);
    unlink (arena_printf (&self->arena, "%s/supervisor.pid", self->dir));
    return code;
}

static int write_pid (up_t *self)
{
    char text[32];
    int size = snprintf (text, sizeof (text), "%d\n", (int)getpid ());
    return ftruncate (self->pid_file, 0) || pwrite (self->pid_file, text, (size_t)size, 0) != size;
}

/*  Goes on in a process of its own; the command returns when that says how it went. */
static int detach (up_t *self)
{
    int report[2];
    if (pipe2 (report, O_CLOEXEC))
        return 71;
    pid_t pid = fork ();
    if (pid == 0) {
        close (report[0]);
        setsid ();
        char path[PATH_MAX + 32];
        snprintf (path, sizeof (path), "%s/supervisor.log", self->dir);
        int log = open (path, O_WRONLY | O_CREAT | O_APPEND, 0600),
            null = open ("/dev/null", O_RDONLY);
        dup2 (null, 0);
        dup2 (log, 1);
        dup2 (log, 2);
        self->report = report[1];
        if (write_pid (self))
            _exit (74);
        _exit (run_cluster (self));
    }
    close (report[1]);
    uint8_t code = 71;
    char text[PATH_MAX + 500];
    ssize_t got = pid > 0 ? read (report[0], &code, 1) : -1, size;
    while (got > 0 && (size = read (report[0], text, sizeof (text))) > 0)
        fwrite (text, 1, (size_t)size, code ? stderr : stdout);
    if (got <= 0)
        fprintf (stderr, "nexus: the cluster's supervisor has ended: see %s/supervisor.log\n",
                 self->dir);
    return code;
}

/*  Only one supervisor a directory. */
static int take_pid_file (up_t *self, nexus_error_t *error)
{
    char path[PATH_MAX + 32];
    snprintf (path, sizeof (path), "%s/supervisor.pid", self->dir);
    self->pid_file = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->pid_file < 0)
        return nexus_error_set (error, NEXUS_IO, "can't write %s: %s", path, strerror (errno));
    if (flock (self->pid_file, LOCK_EX | LOCK_NB))
        return nexus_error_set (error, NEXUS_EXISTS,
                                "the cluster in %s runs already (nexus down --dir %s stops it)",
                                self->dir, self->dir);
    if (write_pid (self))
        return nexus_error_set (error, NEXUS_IO, "can't write %s: %s", path, strerror (errno));
    return 0;
}

/*  A cluster that is there is what it is, unless somebody asks for another one. */
static int take_numbers (up_t *self, const char *dir, nexus_error_t *error)
{
    bool found;
    local_cluster_t there;
    if (local_cluster_find (dir, &self->arena, &there, &found, error))
        return -1;
    if (found) {
        options_fill (self->options, "masters",
                      arena_printf (&self->arena, "%" PRIu64, there.masters));
        options_fill (self->options, "workers",
                      arena_printf (&self->arena, "%" PRIu64, there.workers));
        options_fill (self->options, "sites", arena_printf (&self->arena, "%" PRIu64, there.sites));
        if (there.ports.count)
            options_fill (self->options, "port",
                          arena_printf (&self->arena, "%" PRId64, there.ports.items[0]));
    }
    return 0;
}

static int prepare (up_t *self, nexus_error_t *error)
{
    options_t *options = self->options;
    uint64_t port;
    options_fill (options, "dir", "nexus-cluster");
    const char *dir = options_text (options, "dir");
    record_init (&local_cluster_record, &self->cluster);
    if (take_numbers (self, dir, error))
        return -1;
    self->cluster.cpu = strtod (options_text (options, "cpu"), NULL);
    if (options_number (options, "masters", 1, 9, &self->cluster.masters, error) ||
        options_number (options, "workers", 0, 64, &self->cluster.workers, error) ||
        options_number (options, "sites", 1, 16, &self->cluster.sites, error) ||
        options_number (options, "port", 0, 65535, &port, error))
        return -1;
    if (self->cluster.cpu <= 0 || self->cluster.cpu > 4096)
        return nexus_error_set (error, NEXUS_INVALID, "--cpu: expected a number of cores above 0");
    if (mkdir (dir, 0700) && errno != EEXIST)
        return nexus_error_set (error, NEXUS_IO, "can't make the directory %s: %s", dir,
                                strerror (errno));
    if (!realpath (dir, self->dir) || strlen (self->dir) > 900)
        return nexus_error_set (error, NEXUS_IO, "%s: %s", dir,
                                strlen (self->dir) > 900 ? "too long a path" : strerror (errno));
    return take_pid_file (self, error) ||
           local_cluster_make (self->dir, port, &self->cluster, &self->arena, error);
}

static int run_up (options_t *options)
{
    up_t self = {.options = options, .pid_file = -1, .report = -1};
    nexus_error_t error;
    arena_init (&self.arena, 0, NULL, 0);
    int code = prepare (&self, &error)            ? command_fail (&error)
               : options_flag (options, "detach") ? detach (&self)
                                                  : run_cluster (&self);
    if (self.pid_file >= 0)
        close (self.pid_file);
    arena_reset (&self.arena);
    return code;
}

/*  ---- down ------------------------------------------------------------------------------- */

static int run_down (options_t *options)
{
    nexus_error_t error;
    char path[PATH_MAX];
    const char *dir = options_text (options, "dir");
    int pid = 0;
    snprintf (path, sizeof (path), "%s/supervisor.pid", dir);
    int file = open (path, O_RDONLY | O_CLOEXEC);
    FILE *stream = file >= 0 ? fdopen (file, "r") : NULL;
    if (!stream || fscanf (stream, "%d", &pid) != 1 || !flock (file, LOCK_SH | LOCK_NB)) {
        /*  No file, or nobody holds it. */
        if (stream)
            fclose (stream);
        nexus_error_set (&error, NEXUS_NOT_FOUND, "no cluster runs in %s", dir);
        return command_fail (&error);
    }
    int64_t end = clock_now_ns () + INT64_C (1000000) * STOP_TIMEOUT_MS;
    kill (pid, SIGTERM);
    while (flock (file, LOCK_SH | LOCK_NB)) {
        if (clock_now_ns () > end) {
            kill (pid, SIGKILL); /* the nodes die with it */
            end = INT64_MAX;
        }
        poll (NULL, 0, POLL_MS);
    }
    fclose (stream);
    printf ("The cluster in %s is stopped; nexus up --dir %s starts it again.\n", dir, dir);
    return 0;
}

const command_t command_up = {
    "up",
    "",
    "Run a whole cluster on this machine",
    "Makes keys and configurations at the first start, runs every node as a process\n"
    "of its own, restarts nodes that die, and stops them all on Ctrl-C. With the same\n"
    "--dir it goes on where it was.",
    up_options,
    0,
    0,
    run_up,
};

const command_t command_down = {
    "down", "",       "Stop the cluster that nexus up --detach started", NULL, down_options, 0,
    0,      run_down,
};
