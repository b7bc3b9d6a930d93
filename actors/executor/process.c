/*  process - the edge that starts, signals and reaps tasks' processes */
#include "actors/executor/process.h"

#include "actors/executor/strays.h"

#include "transport/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EXEC_TIMEOUT_MS = 10000,
    LOOK_MS = 20,
    PROCESSES_MAX = 4096,
    ENVIRONMENT_MAX = 512,
    MEMORY_MAX = 4 << 20
};

typedef struct {
    pid_t pid;
    int pidfd;
    record_key_t key;
    char file[1200]; /* its NEXUS_TASK_FILE */
} process_t;

typedef struct {
    const process_args_t *args;
    process_t processes[PROCESSES_MAX];
    size_t count;
} edge_t;

/*  What the child needs, made before the fork: after it only system calls are allowed. */
typedef struct {
    char *program;
    char **argv;
    char *envp[ENVIRONMENT_MAX + 1];
    size_t env_count;
    const char *workdir;
    int output; /* write end */
    int status; /* write end: errno of a failed exec */
    pid_t parent;
} launch_t;

/*  ---- preparing ----------------------------------------------------------------- */

static int make_dir (const char *path, nexus_error_t *error)
{
    if (mkdir (path, 0700) && errno != EEXIST)
        return nexus_error_set (error, NEXUS_IO, "can't make directory %s: %s", path,
                                strerror (errno));
    return 0;
}

static void add_env (launch_t *launch, arena_t *arena, const char *name, const char *value)
{
    size_t size = strlen (name);
    char *text = arena_printf (arena, "%s=%s", name, value);
    for (size_t i = 0; text && i < launch->env_count; i++)
        if (!strncmp (launch->envp[i], text, size + 1)) {
            launch->envp[i] = text;
            return;
        }
    if (text && launch->env_count < ENVIRONMENT_MAX)
        launch->envp[launch->env_count++] = text;
}

static void add_env_number (launch_t *launch, arena_t *arena, const char *name, uint64_t value)
{
    add_env (launch, arena, name, arena_printf (arena, "%" PRIu64, value));
}

static const char *get_env (const launch_t *launch, const char *name)
{
    size_t size = strlen (name);
    for (size_t i = 0; i < launch->env_count; i++)
        if (!strncmp (launch->envp[i], name, size) && launch->envp[i][size] == '=')
            return launch->envp[i] + size + 1;
    return NULL;
}

/*  The worker's own surroundings, the job's variables, then who the task is:
    ours, and the names that torchrun gives, so that programs written for it start. */
static void prepare_environment (const edge_t *self, const task_order_t *order, const char *file,
                                 launch_t *launch, arena_t *arena)
{
    static const char *const inherited[] = {"HOME",
                                            "USER",
                                            "LOGNAME",
                                            "LANG",
                                            "LC_ALL",
                                            "TZ",
                                            "TMPDIR",
                                            "LD_LIBRARY_PATH",
                                            "ASAN_OPTIONS",
                                            "LSAN_OPTIONS",
                                            "CUDA_VISIBLE_DEVICES"};
    for (size_t i = 0; i < sizeof (inherited) / sizeof (inherited[0]); i++)
        if (getenv (inherited[i]))
            add_env (launch, arena, inherited[i], getenv (inherited[i]));
    const char *path = getenv ("PATH");
    path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin";
    add_env (launch, arena, "PATH",
             self->args->path ? arena_printf (arena, "%s:%s", self->args->path, path) : path);
    uint64_t threads = order->spec.resources.cpu > 1 ? (uint64_t)order->spec.resources.cpu : 1;
    add_env_number (launch, arena, "OMP_NUM_THREADS", threads);
    add_env_number (launch, arena, "OPENBLAS_NUM_THREADS", threads);
    for (size_t i = 0; i < order->spec.env.count; i++)
        add_env (launch, arena, order->spec.env.items[i].key, order->spec.env.items[i].value);
    add_env (launch, arena, "NEXUS_TASK_FILE", file);
    add_env (launch, arena, "NEXUS_JOB_ID", order->job_id);
    add_env_number (launch, arena, "NEXUS_RANK", order->rank);
    add_env_number (launch, arena, "NEXUS_WORLD_SIZE", order->world);
    add_env_number (launch, arena, "NEXUS_ATTEMPT", order->attempt);
    add_env_number (launch, arena, "RANK", order->rank);
    add_env_number (launch, arena, "WORLD_SIZE", order->world);
    add_env (launch, arena, "TORCHELASTIC_RUN_ID", order->job_id);
    add_env_number (launch, arena, "TORCHELASTIC_RESTART_COUNT", order->attempt);
}

/*  Where the command is: a path as it stands, else the first on PATH. */
static int find_program (launch_t *launch, const task_order_t *order, arena_t *arena,
                         nexus_error_t *error)
{
    const char *name = order->spec.command.items[0];
    if (strchr (name, '/')) {
        launch->program = arena_strdup (arena, name);
        return 0;
    }
    const char *path = get_env (launch, "PATH");
    while (path && *path) {
        size_t size = strcspn (path, ":");
        char *program = size ? arena_printf (arena, "%.*s/%s", (int)size, path, name) : NULL;
        struct stat status;
        if (program && !access (program, X_OK) && !stat (program, &status) &&
            S_ISREG (status.st_mode)) {
            launch->program = program;
            return 0;
        }
        path += size + (path[size] == ':');
    }
    return nexus_error_set (error, NEXUS_NOT_FOUND,
                            "command \"%s\" is not on this worker's PATH: install it there, or "
                            "give its path",
                            name);
}

static int write_task_file (const edge_t *self, const task_order_t *order, const keypair_t *key,
                            const char *path, arena_t *arena, nexus_error_t *error)
{
    const char *checkpoints = order->spec.checkpoint.dir;
    if (!checkpoints || !*checkpoints)
        checkpoints = arena_printf (arena, "%s/checkpoints/%s", self->args->dir, order->job_id);
    task_file_t file = {.job_id = order->job_id,
                        .rank = order->rank,
                        .world = order->world,
                        .attempt = order->attempt,
                        .agent = self->args->key,
                        .endpoint = self->args->endpoint,
                        .public_key = key->public_key,
                        .secret_key = key->secret_key,
                        .checkpoints = checkpoints,
                        .checkpoints_keep = order->spec.checkpoint.keep};
    buffer_t text = {0};
    record_to_yaml (&task_file_record, &file, RECORD_SHOW_SECRETS, &text);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = 0;
    if (fd < 0 || write (fd, text.data, text.size) != (ssize_t)text.size)
        rc = nexus_error_set (error, NEXUS_IO, "can't write %s: %s", path, strerror (errno));
    if (fd >= 0)
        close (fd);
    buffer_free (&text);
    return rc;
}

/*  ---- starting ---------------------------------------------------------------------- */

/*  In the child: system calls only. */
static void run_child (const launch_t *launch)
{
    setpgid (0, 0);
    /*  The worker may have died before this took effect. */
    if (prctl (PR_SET_PDEATHSIG, SIGKILL) || getppid () != launch->parent)
        _exit (127);
    sigset_t none;
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        signal (i, SIG_DFL);
    int input = open ("/dev/null", O_RDONLY);
    if (dup2 (input, 0) >= 0 && dup2 (launch->output, 1) >= 0 && dup2 (launch->output, 2) >= 0 &&
        dup2 (launch->status, 3) >= 0 && fcntl (3, F_SETFD, FD_CLOEXEC) >= 0 &&
        !syscall (SYS_close_range, 4U, ~0U, 0U) && !chdir (launch->workdir))
        execve (launch->program, launch->argv, launch->envp);
    int reason = errno;
    if (write (3, &reason, sizeof (reason)) < 0)
        _exit (126);
    _exit (127);
}

/*  Forks, and waits until the program runs or could not be run. */
static pid_t spawn (launch_t *launch, int *ret_output, nexus_error_t *error)
{
    int output[2] = {-1, -1}, status[2] = {-1, -1};
    if (pipe2 (output, O_CLOEXEC) || pipe2 (status, O_CLOEXEC)) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "no descriptors for another task: %s",
                         strerror (errno));
        if (output[0] >= 0)
            close (output[0]), close (output[1]);
        return -1;
    }
    launch->output = output[1];
    launch->status = status[1];
    launch->parent = getpid ();
    pid_t pid = fork ();
    if (pid == 0)
        run_child (launch);
    int reason = pid < 0 ? errno : 0;
    close (output[1]);
    close (status[1]);
    if (pid > 0) {
        struct pollfd wait = {.fd = status[0], .events = POLLIN};
        int rc = poll (&wait, 1, EXEC_TIMEOUT_MS);
        if (rc == 0)
            reason = ETIMEDOUT;
        else if (read (status[0], &reason, sizeof (reason)) <= 0)
            reason = 0; /* closed by the exec */
    }
    close (status[0]);
    if (!reason) {
        *ret_output = output[0];
        return pid;
    }
    close (output[0]);
    if (pid > 0) {
        kill (pid, SIGKILL);
        waitpid (pid, NULL, 0);
    }
    nexus_error_set (error, NEXUS_IO, "can't run %s in %s: %s", launch->program, launch->workdir,
                     strerror (reason));
    return -1;
}

static void process_exited (void *state, context_t *ctx, void *socket, int fd, short events);

/*  Its directory too, if the task has left nothing in it. */
static void remove_files (process_t *process)
{
    unlink (process->file);
    char *slash = strrchr (process->file, '/');
    if (!slash)
        return;
    *slash = 0;
    rmdir (process->file);
}

static int start_task (edge_t *self, context_t *ctx, const message_t *message, arena_t *arena,
                       nexus_error_t *error)
{
    const task_order_t *order = &((const process_start_t *)message->body)->order;
    /*  Whoever asked would not hear of the process any more, and it would belong to nobody. */
    if (message->deadline_ns &&
        context_now (ctx) + MS_TO_NS (EXEC_TIMEOUT_MS) > message->deadline_ns)
        return nexus_error_set (error, NEXUS_DEADLINE, "the order to start it waited for too long");
    if (self->count == PROCESSES_MAX)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "%d tasks run here already", PROCESSES_MAX);
    if (!order->spec.command.count || !*order->spec.command.items[0])
        return nexus_error_set (error, NEXUS_INVALID, "the job has no command");
    char *dir =
        arena_printf (arena, "%s/tasks/%s.%" PRIu64, self->args->dir, order->job_id, order->rank);
    process_t process = {.pidfd = -1};
    snprintf (process.file, sizeof (process.file), "%s/task.%" PRIu64 ".yaml", dir, order->attempt);
    launch_t launch = {.workdir =
                           order->spec.workdir && *order->spec.workdir ? order->spec.workdir : dir};
    prepare_environment (self, order, process.file, &launch, arena);
    launch.argv = arena_alloc (arena, (order->spec.command.count + 1) * sizeof (char *));
    for (size_t i = 0; launch.argv && i < order->spec.command.count; i++)
        launch.argv[i] = arena_strdup (arena, order->spec.command.items[i]);
    if (arena->failed)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the task's environment is too large");
    keypair_t key;
    keypair_generate (&key);
    int output = -1;
    keyring_entry_t entry = {.key = key.public_key, .role = ROLE_TASK};
    snprintf (entry.name, sizeof (entry.name), "%.50s.%" PRIu64, order->job_id, order->rank);
    bool ready = !make_dir (dir, error) && !find_program (&launch, order, arena, error) &&
                 !write_task_file (self, order, &key, process.file, arena, error) &&
                 !keyring_allow (self->args->keyring, self->args->domain, &entry, error);
    process.key = key.public_key;
    keypair_wipe (&key);
    process.pid = ready ? spawn (&launch, &output, error) : -1;
    if (process.pid < 0) {
        keyring_forget (self->args->keyring, self->args->domain, &process.key);
        remove_files (&process);
        return -1;
    }
    /*  Without a descriptor of it (an old kernel, no descriptor left) we look for its end now and
     * then. */
    process.pidfd = (int)syscall (SYS_pidfd_open, process.pid, 0);
    if (process.pidfd >= 0)
        context_poll (ctx, NULL, process.pidfd, POLLIN, process_exited);
    else
        context_after (ctx, MS_TO_NS (LOOK_MS), (uint64_t)process.pid);
    self->processes[self->count++] = process;
    address_t logs = address_local ("logs", 0);
    context_send (
        ctx, &logs, &log_capture_record,
        &(log_capture_t){
            .job_id = order->job_id, .rank = order->rank, .attempt = order->attempt, .fd = output});
    context_reply (ctx, message, &process_started_record,
                   &(process_started_t){.pid = process.pid, .key = process.key});
    log_info (context_log (ctx), "task runs", LOG_TEXT ("job", order->job_id),
              LOG_UINT ("rank", order->rank), LOG_UINT ("attempt", order->attempt),
              LOG_INT ("pid", process.pid));
    return 0;
}

/*  ---- ending -------------------------------------------------------------------------- */

static void bury (edge_t *self, context_t *ctx, size_t i)
{
    process_t *process = &self->processes[i];
    if (process->pidfd >= 0) {
        context_poll (ctx, NULL, process->pidfd, 0, NULL);
        close (process->pidfd);
    }
    keyring_forget (self->args->keyring, self->args->domain, &process->key);
    strays_kill (process->file, false);
    remove_files (process);
    self->processes[i] = self->processes[--self->count];
}

/*  Returns false while it runs. */
static bool reap (edge_t *self, context_t *ctx, size_t i)
{
    enum { UNKNOWN = 255 };
    pid_t pid = self->processes[i].pid;
    siginfo_t info = {.si_pid = 0};
    int rc = waitid (P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    if (!rc && !info.si_pid)
        return false;
    process_ended_t ended = {.pid = pid, .exit_code = UNKNOWN};
    if (!rc) { /* else somebody else in this process has reaped it */
        /*  What it left behind in its group; while it is not reaped its number is nobody else's. */
        kill (-pid, SIGKILL);
        waitid (P_PID, (id_t)pid, &info, WEXITED | WNOHANG);
        ended.exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    }
    bury (self, ctx, i);
    address_t executor = address_local ("executor", 0);
    context_send (ctx, &executor, &process_ended_record, &ended);
    return true;
}

static void process_exited (void *state, context_t *ctx, void *socket, int fd, short events)
{
    edge_t *self = state;
    (void)socket;
    (void)events;
    for (size_t i = 0; i < self->count; i++)
        if (self->processes[i].pidfd == fd) {
            reap (self, ctx, i);
            return;
        }
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t pid)
{
    edge_t *self = state;
    (void)id;
    for (size_t i = 0; i < self->count; i++)
        if ((uint64_t)self->processes[i].pid == pid) {
            if (!reap (self, ctx, i))
                context_after (ctx, MS_TO_NS (LOOK_MS), pid);
            return;
        }
}

static void send_signal (edge_t *self, const process_signal_t *order)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"TERM", SIGTERM}, {"INT", SIGINT},   {"HUP", SIGHUP},
                   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"KILL", SIGKILL}};
    for (size_t i = 0; order->signal && i < self->count; i++)
        for (size_t s = 0; s < sizeof (signals) / sizeof (signals[0]); s++)
            if (self->processes[i].pid == order->pid && !strcmp (signals[s].name, order->signal))
                kill (-self->processes[i].pid, signals[s].number);
}

/*  ---- the actor ------------------------------------------------------------------------- */

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    edge_t *self = state;
    self->args = args;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    /*  A worker that was killed has left its tasks' children behind. */
    unsigned strays = strays_kill (arena_printf (&arena, "%s/tasks/", self->args->dir), true);
    if (strays)
        log_info (context_log (ctx), "killed what former tasks had left behind",
                  LOG_UINT ("processes", strays));
    int rc = make_dir (arena_printf (&arena, "%s/tasks", self->args->dir), error) ||
             make_dir (arena_printf (&arena, "%s/checkpoints", self->args->dir), error);
    arena_reset (&arena);
    return rc ? -1 : 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    edge_t *self = state;
    if (message->role != ROLE_LOCAL)
        return;
    if (message_body (message, process_start)) {
        nexus_error_t error;
        arena_t arena;
        arena_init (&arena, MEMORY_MAX, NULL, 0);
        if (start_task (self, ctx, message, &arena, &error))
            context_reply_failure (ctx, message, error.code, "%s", error.text);
        arena_reset (&arena);
    } else if (message_body (message, process_signal))
        send_signal (self, message->body);
}

static void stop (void *state, context_t *ctx)
{
    edge_t *self = state;
    for (size_t i = 0; i < self->count; i++)
        kill (-self->processes[i].pid, SIGKILL);
    while (self->count) {
        waitpid (self->processes[self->count - 1].pid, NULL, 0);
        bury (self, ctx, self->count - 1);
    }
}

const behaviour_t process_behaviour = {
    .name = "process",
    .state_size = sizeof (edge_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .stop = stop,
};
