/*  Real processes: what they are given, what comes out of them, how they end, and that nothing of
    them is left. */
#include "actors/executor/process.h"
#include "runtime/host.h"
#include "temp_dir.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DOMAIN "tasks"

enum { WAIT_MS = 20000, RECORDED_MAX = 256 };

/*  ---- the executor and the logs of these tests: they write down what they get ------------- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t news;
    message_t *messages[RECORDED_MAX];
    size_t count;
} recorder_t;

static int recorder_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx, (void)error;
    *(const recorder_t **)state = args;
    return 0;
}

static void recorder_receive (void *state, context_t *ctx, const message_t *message)
{
    recorder_t *self = *(recorder_t **)state;
    (void)ctx;
    pthread_mutex_lock (&self->lock);
    if (self->count < RECORDED_MAX)
        self->messages[self->count++] = message_retain ((message_t *)message);
    pthread_cond_signal (&self->news);
    pthread_mutex_unlock (&self->lock);
}

static const behaviour_t recorder_behaviour = {.name = "recorder",
                                               .state_size = sizeof (recorder_t *),
                                               .start = recorder_start,
                                               .receive = recorder_receive};

/*  Takes the next message; fails if none comes. */
static message_t *recorder_take (recorder_t *self)
{
    struct timespec end;
    clock_gettime (CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock (&self->lock);
    while (!self->count && !pthread_cond_timedwait (&self->news, &self->lock, &end))
        ;
    message_t *message = self->count ? self->messages[0] : NULL;
    if (message)
        memmove (self->messages, self->messages + 1, --self->count * sizeof (message));
    pthread_mutex_unlock (&self->lock);
    assert_non_null (message);
    return message;
}

static void recorder_clear (recorder_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        const log_capture_t *capture = message_body (self->messages[i], log_capture);
        if (capture)
            close ((int)capture->fd);
        message_release (&self->messages[i]);
    }
    self->count = 0;
}

/*  ---- a worker's side of things ------------------------------------------------------------- */

static struct {
    char dir[64];
    keyring_t *keyring;
    process_args_t args;
    runtime_t *runtime;
    recorder_t executor, logs;
    zactor_t *executor_host, *logs_host, *process_host;
} world;

static zactor_t *host (const behaviour_t *behaviour, const char *name, const void *args)
{
    nexus_error_t error;
    zactor_t *actor = host_new (
        world.runtime, &(child_t){.behaviour = behaviour, .name = name, .args = args}, &error);
    if (!actor)
        fail_msg ("%s", error.text);
    return actor;
}

static int setup (void **state)
{
    (void)state;
    world.keyring = keyring_new ();
    world.args = (process_args_t){.dir = temp_dir_new (world.dir),
                                  .endpoint = "ipc:///tmp/agent",
                                  .key = {{5}},
                                  .keyring = world.keyring,
                                  .domain = DOMAIN};
    recorder_t *recorders[] = {&world.executor, &world.logs};
    for (size_t i = 0; i < 2; i++) {
        pthread_mutex_init (&recorders[i]->lock, NULL);
        pthread_cond_init (&recorders[i]->news, NULL);
    }
    world.runtime = runtime_new (&(runtime_config_t){.name = "test"}, NULL);
    world.executor_host = host (&recorder_behaviour, "executor", &world.executor);
    world.logs_host = host (&recorder_behaviour, "logs", &world.logs);
    world.process_host = host (&process_behaviour, "process", &world.args);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    zactor_destroy (&world.process_host);
    zactor_destroy (&world.logs_host);
    zactor_destroy (&world.executor_host);
    runtime_destroy (&world.runtime);
    recorder_clear (&world.executor);
    recorder_clear (&world.logs);
    keyring_release (&world.keyring);
    temp_dir_remove (world.dir);
    return 0;
}

/*  ---- short hands ------------------------------------------------------------------------- */

typedef struct {
    const char *command[4];
    task_order_t order;
    process_started_t started;
    nexus_error_t error;
} job_task_t;

static void task_init (job_task_t *self, const char *script)
{
    *self = (job_task_t){.command = {"sh", "-c", script}};
    record_init (&task_order_record, &self->order);
    self->order.job_id = "mnist-1";
    self->order.rank = 2;
    self->order.attempt = 1;
    self->order.world = 4;
    self->order.spec.name = "mnist";
    self->order.spec.command = (record_strings_t){self->command, 3};
}

/*  True if it runs; else self->error says why not. */
static bool task_start (job_task_t *self)
{
    address_t process = address_local ("process", 0);
    message_t *reply =
        runtime_call (world.runtime, &process, &process_start_record,
                      &(process_start_t){.order = self->order}, WAIT_MS, &self->error);
    if (!reply)
        return false;
    assert_non_null (message_body (reply, process_started));
    self->started = *message_body (reply, process_started);
    message_release (&reply);
    return true;
}

/*  All that it writes, until nobody can write any more. */
static void expect_output (char *text, size_t size)
{
    message_t *message = recorder_take (&world.logs);
    const log_capture_t *capture = message_body (message, log_capture);
    assert_non_null (capture);
    assert_string_equal (capture->job_id, "mnist-1");
    assert_int_equal (capture->rank, 2);
    assert_int_equal (capture->attempt, 1);
    size_t used = 0;
    for (ssize_t got; (got = read ((int)capture->fd, text + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = 0;
    close ((int)capture->fd);
    message_release (&message);
}

static void expect_end (const job_task_t *task, int64_t exit_code)
{
    message_t *message = recorder_take (&world.executor);
    const process_ended_t *ended = message_body (message, process_ended);
    assert_non_null (ended);
    assert_int_equal (ended->pid, task->started.pid);
    assert_int_equal (ended->exit_code, exit_code);
    message_release (&message);
}

static void run (const char *script, char *output, size_t size, int64_t exit_code)
{
    job_task_t task;
    task_init (&task, script);
    if (!task_start (&task))
        fail_msg ("%s", task.error.text);
    expect_output (output, size);
    expect_end (&task, exit_code);
}

static void send_signal (const job_task_t *task, const char *name)
{
    address_t to = address_local ("process", 0), from = address_local ("executor", 0);
    process_signal_t order = {.pid = task->started.pid, .signal = name};
    message_t *message = message_new (&process_signal_record, &order, NULL, &to, &from);
    runtime_send (world.runtime, &message);
}

static bool key_is_in (const record_key_t *key)
{
    keyring_entry_t entry;
    return keyring_find (world.keyring, DOMAIN, key, 0, &entry);
}

/*  Whether init has reaped it yet is not our business. */
static bool is_alive (pid_t pid)
{
    char path[40], state = 0;
    snprintf (path, sizeof (path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen (path, "r");
    bool read = file && fscanf (file, "%*d (%*[^)]) %c", &state) == 1;
    if (file)
        fclose (file);
    return read && state != 'Z' && state != 'X';
}

static void expect_gone (pid_t pid)
{
    assert_true (pid > 1);
    for (int i = 0; i < WAIT_MS / 10 && is_alive (pid); i++)
        usleep (10000);
    assert_false (is_alive (pid));
}

/*  Nothing but the two directories themselves. */
static void expect_no_files (void)
{
    char path[100];
    snprintf (path, sizeof (path), "%s/tasks", world.dir);
    DIR *dir = opendir (path);
    assert_non_null (dir);
    for (struct dirent *entry; (entry = readdir (dir));)
        assert_int_equal (entry->d_name[0], '.');
    closedir (dir);
}

/*  ---- what a task is given ------------------------------------------------------------------ */

static void test_output_and_code (void **state)
{
    (void)state;
    char text[1000];
    run ("echo out; echo err >&2; exit 7", text, sizeof (text), 7);
    assert_string_equal (text, "out\nerr\n");
    run ("cat; echo end of input", text, sizeof (text), 0);
    assert_string_equal (text, "end of input\n");
    run ("exit 200", text, sizeof (text), 200);
    expect_no_files ();
}

static void test_surroundings (void **state)
{
    (void)state;
    char text[4000], wanted[200];
    job_task_t task;
    setenv ("NEXUS_TEST_SECRET", "of the worker", 1);
    task_init (&task, "echo $RANK $WORLD_SIZE $NEXUS_RANK $NEXUS_WORLD_SIZE $NEXUS_JOB_ID "
                      "$NEXUS_ATTEMPT $A $TORCHELASTIC_RUN_ID $TORCHELASTIC_RESTART_COUNT "
                      "$OMP_NUM_THREADS .$NEXUS_TEST_SECRET.; pwd; echo $PATH; ls /proc/$$/fd; "
                      "grep -E 'Sig(Ign|Blk)' /proc/self/status");
    record_pair_t env[] = {{"A", "b c"}, {"RANK", "99"}, {"PATH", "/usr/bin:/bin"}};
    task.order.spec.env = (record_map_t){env, 3};
    task.order.spec.resources.cpu = 3.5;
    signal (SIGHUP, SIG_IGN); /* as under nohup */
    assert_true (task_start (&task));
    signal (SIGHUP, SIG_DFL);
    expect_output (text, sizeof (text));
    expect_end (&task, 0);
    snprintf (wanted, sizeof (wanted),
              "2 4 2 4 mnist-1 1 b c mnist-1 1 3 ..\n%s/tasks/mnist-1.2\n/usr/bin:/bin\n0\n1\n2\n",
              world.dir);
    if (strncmp (text, wanted, strlen (wanted)))
        fail_msg ("%s\n%s", text, wanted);
    assert_non_null (strstr (text, "SigBlk:\t0000000000000000\n"));
    assert_non_null (strstr (text, "SigIgn:\t0000000000000000\n"));
}

static void test_workdir_and_path (void **state)
{
    (void)state;
    char text[1000], path[200];
    job_task_t task;
    /*  A program beside the worker's own is found first. */
    snprintf (path, sizeof (path), "%s/bin", world.dir);
    assert_int_equal (mkdir (path, 0700), 0);
    snprintf (path, sizeof (path), "%s/bin/tool", world.dir);
    FILE *file = fopen (path, "w");
    fputs ("#!/bin/sh\npwd\n", file);
    fclose (file);
    assert_int_equal (chmod (path, 0700), 0);
    snprintf (path, sizeof (path), "%s/bin", world.dir);
    world.args.path = path;
    task_init (&task, "");
    task.command[0] = "tool";
    task.order.spec.command.count = 1;
    task.order.spec.workdir = "/usr";
    assert_true (task_start (&task));
    expect_output (text, sizeof (text));
    assert_string_equal (text, "/usr\n");
    expect_end (&task, 0);
    world.args.path = NULL;
}

static void test_task_file (void **state)
{
    (void)state;
    char text[4000] = "";
    job_task_t task;
    task_init (&task, "stat -c '#%a %h' $NEXUS_TASK_FILE; cat $NEXUS_TASK_FILE; sleep 1000");
    task.order.spec.checkpoint.keep = 5;
    assert_true (task_start (&task));
    assert_true (key_is_in (&task.started.key));
    message_t *message = recorder_take (&world.logs);
    int fd = (int)message_body (message, log_capture)->fd;
    size_t used = 0;
    while (!strstr (text, "checkpoints_keep") || text[used - 1] != '\n') {
        ssize_t got = read (fd, text + used, sizeof (text) - 1 - used);
        assert_true (got > 0);
        used += (size_t)got;
        text[used] = 0;
    }
    close (fd);
    message_release (&message);
    assert_memory_equal (text, "#600 1\n", 7);
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    record_faults_t faults = {.count = 0};
    task_file_t file;
    if (record_from_yaml (&task_file_record, text, used, 0, &arena, &file, &faults))
        fail_msg ("%s", record_faults_text (&faults, "task file", &arena));
    assert_string_equal (file.job_id, "mnist-1");
    assert_int_equal (file.rank, 2);
    assert_int_equal (file.world, 4);
    assert_int_equal (file.attempt, 1);
    assert_string_equal (file.endpoint, "ipc:///tmp/agent");
    assert_memory_equal (&file.agent, &world.args.key, 32);
    assert_memory_equal (&file.public_key, &task.started.key, 32);
    assert_false (record_key_is_zero (&file.secret_key));
    assert_int_equal (file.checkpoints_keep, 5);
    assert_non_null (strstr (file.checkpoints, "/checkpoints/mnist-1"));
    arena_reset (&arena);
    send_signal (&task, "KILL");
    expect_end (&task, 137);
    assert_false (key_is_in (&task.started.key));
    expect_no_files ();
}

/*  What it leaves in its directory stays. */
static void test_files_stay (void **state)
{
    (void)state;
    char text[100], path[200];
    run ("echo hello > result", text, sizeof (text), 0);
    snprintf (path, sizeof (path), "%s/tasks/mnist-1.2/result", world.dir);
    assert_int_equal (access (path, R_OK), 0);
    snprintf (path, sizeof (path), "%s/tasks/mnist-1.2/task.1.yaml", world.dir);
    assert_int_equal (access (path, R_OK), -1);
}

/*  ---- how it ends ------------------------------------------------------------------------------
 */

static void test_signals (void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t exit_code;
    } signals[] = {{"TERM", 143}, {"INT", 130},  {"HUP", 129},
                   {"USR1", 138}, {"USR2", 140}, {"KILL", 137}};
    for (size_t i = 0; i < sizeof (signals) / sizeof (signals[0]); i++) {
        job_task_t task;
        task_init (&task, "exec sleep 1000");
        assert_true (task_start (&task));
        send_signal (&task, "SEGV"); /* not among those that may be sent */
        send_signal (&task, "");
        send_signal (&task, NULL);
        send_signal (&(job_task_t){.started.pid = getpid ()}, "KILL");
        send_signal (&(job_task_t){.started.pid = 0}, "KILL");
        send_signal (&(job_task_t){.started.pid = -1}, "KILL");
        send_signal (&task, signals[i].name);
        expect_end (&task, signals[i].exit_code);
        recorder_clear (&world.logs);
    }
}

/*  Its children get the signals too, and none survives it. */
static void test_group (void **state)
{
    (void)state;
    char text[100];
    job_task_t task;
    task_init (&task, "sleep 1000 & echo $!; wait");
    assert_true (task_start (&task));
    send_signal (&task, "TERM");
    expect_output (text, sizeof (text)); /* ends: nobody holds the pipe any more */
    expect_end (&task, 143);
    if (*text) /* it came as far as that */
        expect_gone ((pid_t)strtol (text, NULL, 10));
    run ("sleep 1000 & echo $!; exit 3", text, sizeof (text), 3);
    expect_gone ((pid_t)strtol (text, NULL, 10));
    run ("(trap '' TERM HUP; exec sleep 1000) & echo $!", text, sizeof (text), 0);
    expect_gone ((pid_t)strtol (text, NULL, 10));
}

static void test_many (void **state)
{
    (void)state;
    enum { TASKS = 40 };
    job_task_t tasks[TASKS];
    for (int i = 0; i < TASKS; i++) {
        task_init (&tasks[i], "exit $NEXUS_RANK");
        tasks[i].order.rank = (uint64_t)i;
        assert_true (task_start (&tasks[i]));
    }
    for (int i = 0; i < TASKS; i++) {
        message_t *message = recorder_take (&world.executor);
        const process_ended_t *ended = message_body (message, process_ended);
        int found = 0;
        while (found < TASKS && tasks[found].started.pid != ended->pid)
            found++;
        assert_int_equal (ended->exit_code, found);
        message_release (&message);
    }
    for (int i = 0; i < TASKS; i++)
        assert_false (key_is_in (&tasks[i].started.key));
    expect_no_files ();
}

/*  ---- what can't run
 * ------------------------------------------------------------------------------ */

static void expect_refusal (job_task_t *task, nexus_code_t code, const char *word)
{
    assert_false (task_start (task));
    if (task->error.code != code || !strstr (task->error.text, word))
        fail_msg ("%s (%s)", task->error.text, nexus_code_name (task->error.code));
}

static void test_refusals (void **state)
{
    (void)state;
    job_task_t task;
    task_init (&task, "");
    task.command[0] = "no-such-command";
    expect_refusal (&task, NEXUS_NOT_FOUND, "no-such-command");
    task.command[0] = "/no/such/command";
    expect_refusal (&task, NEXUS_IO, "No such file");
    task.command[0] = "/etc/passwd";
    expect_refusal (&task, NEXUS_IO, "Permission denied");
    task.command[0] = "/tmp";
    expect_refusal (&task, NEXUS_IO, "Permission denied");
    task.command[0] = "";
    expect_refusal (&task, NEXUS_INVALID, "no command");
    task.order.spec.command.count = 0;
    expect_refusal (&task, NEXUS_INVALID, "no command");
    task_init (&task, "true");
    task.order.spec.workdir = "/no/such/directory";
    expect_refusal (&task, NEXUS_IO, "/no/such/directory");
    record_pair_t env = {"PATH", ":::"};
    task_init (&task, "true");
    task.order.spec.env = (record_map_t){&env, 1};
    expect_refusal (&task, NEXUS_NOT_FOUND, "sh");
    expect_no_files ();

    /*  The directory is lost. */
    char path[100];
    snprintf (path, sizeof (path), "%s/tasks", world.dir);
    assert_int_equal (rmdir (path), 0);
    fclose (fopen (path, "w"));
    task_init (&task, "true");
    expect_refusal (&task, NEXUS_IO, path);
    assert_int_equal (unlink (path), 0);
    assert_int_equal (mkdir (path, 0700), 0);

    /*  After all that it still works. */
    char text[100];
    run ("echo fine", text, sizeof (text), 0);
    assert_string_equal (text, "fine\n");
}

static void test_no_directory (void **state)
{
    (void)state;
    process_args_t args = world.args;
    args.dir = "/no/such/directory";
    nexus_error_t error;
    zactor_t *actor = host_new (
        world.runtime, &(child_t){.behaviour = &process_behaviour, .name = "second", .args = &args},
        &error);
    assert_null (actor);
    assert_non_null (strstr (error.text, "/no/such/directory"));
}

/*  Who asked has given up by now: the process would belong to nobody. */
static void test_old_orders (void **state)
{
    (void)state;
    job_task_t task;
    task_init (&task, "sleep 1000");
    address_t to = address_local ("process", 0), from = address_local ("executor", 0);
    process_start_t start = {.order = task.order};
    message_t *message = message_new (&process_start_record, &start, NULL, &to, &from);
    message->flags = MESSAGE_REQUEST;
    message->correlation = 77;
    message->deadline_ns = 1;
    runtime_send (world.runtime, &message);
    char text[100];
    run ("echo fine", text, sizeof (text), 0); /* whose output is the only one */
    assert_string_equal (text, "fine\n");
    assert_int_equal (world.logs.count, 0);
}

/*  ---- the worker ends
 * -------------------------------------------------------------------------------- */

static void test_stop (void **state)
{
    (void)state;
    job_task_t task;
    task_init (&task, "trap '' TERM; sleep 1000 & wait");
    assert_true (task_start (&task));
    zactor_destroy (&world.process_host);
    expect_gone ((pid_t)task.started.pid);
    assert_false (key_is_in (&task.started.key));
    expect_no_files ();
}

/*  A worker that is killed outright takes its tasks along. */
static void test_worker_is_killed (void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal (pipe (pipes), 0);
    pid_t worker = fork ();
    if (worker == 0) {
        job_task_t task;
        setup (NULL);
        task_init (&task, "exec sleep 1000");
        int64_t pid = task_start (&task) ? task.started.pid : -1;
        if (write (pipes[1], &pid, sizeof (pid)) < 0)
            _exit (1);
        temp_dir_remove (world.dir);
        for (;;)
            pause ();
    }
    int64_t pid = -1;
    assert_int_equal (read (pipes[0], &pid, sizeof (pid)), sizeof (pid));
    assert_true (pid > 0);
    assert_true (is_alive ((pid_t)pid));
    kill (worker, SIGKILL);
    waitpid (worker, NULL, 0);
    expect_gone ((pid_t)pid);
    close (pipes[0]);
    close (pipes[1]);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_worker_is_killed), /* first: it forks */
        cmocka_unit_test_setup_teardown (test_output_and_code, setup, teardown),
        cmocka_unit_test_setup_teardown (test_surroundings, setup, teardown),
        cmocka_unit_test_setup_teardown (test_workdir_and_path, setup, teardown),
        cmocka_unit_test_setup_teardown (test_task_file, setup, teardown),
        cmocka_unit_test_setup_teardown (test_files_stay, setup, teardown),
        cmocka_unit_test_setup_teardown (test_signals, setup, teardown),
        cmocka_unit_test_setup_teardown (test_group, setup, teardown),
        cmocka_unit_test_setup_teardown (test_many, setup, teardown),
        cmocka_unit_test_setup_teardown (test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown (test_no_directory, setup, teardown),
        cmocka_unit_test_setup_teardown (test_old_orders, setup, teardown),
        cmocka_unit_test_setup_teardown (test_stop, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
