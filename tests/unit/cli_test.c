/*  cli_test - the client commands against a real API: edge, gateway and ledger are the shipped
   ones; a stand-in for the election commits what is proposed at once, one for the scheduler knows
   who is alive, one for a worker's logs has some output. */
#include "actors/gateway/api_tokens.h"
#include "actors/gateway/gateway.h"
#include "actors/gateway/http.h"
#include "actors/ledger/ledger.h"
#include "actors/protocol/api.h"
#include "actors/protocol/command.h"
#include "actors/protocol/consensus.h"
#include "actors/protocol/http.h"
#include "cli/command.h"
#include "runtime/host.h"
#include "tests/unit/temp_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sysexits.h>

#include <cmocka.h>

static const record_key_t node = {{1, 2, 3}};

/*  ---- stand-ins -------------------------------------------------------------------- */

typedef struct {
    uint64_t index;
    message_t *waiting[64];
    uint64_t indices[64];
    size_t count;
} election_t;

static int no_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)state, (void)ctx, (void)args, (void)error;
    return 0;
}

static void commit (election_t *self, context_t *ctx, const message_t *message)
{
    const propose_t *propose = message->body;
    buffer_t bytes = {0};
    once_t once = {propose->client, propose->sequence, propose->after, propose->command};
    command_encode (&once_record, &once, &bytes);
    apply_entry_t entry = {.index = ++self->index, .term = 3, .command = {bytes.data, bytes.size}};
    apply_t apply = {.entries = {&entry, 1}};
    address_t ledger = address_local ("ledger", 0);
    self->waiting[self->count] = message_retain ((message_t *)(uintptr_t)message);
    self->indices[self->count++] = self->index;
    context_send (ctx, &ledger, &apply_record, &apply);
    buffer_free (&bytes);
}

/*  The next answer gets lost: the command is applied, and its sender is told to ask again. */
static _Atomic bool lose_answer;

static void answer (election_t *self, context_t *ctx, const apply_result_t *result)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->indices[i] != result->index)
            continue;
        proposed_t proposed = {.index = result->index, .value = result->text};
        if (lose_answer) {
            lose_answer = false;
            context_reply_failure (ctx, self->waiting[i], NEXUS_UNAVAILABLE, "ask again");
        } else if (result->code)
            context_reply_failure (ctx, self->waiting[i], (nexus_code_t)result->code, "%s",
                                   result->text);
        else
            context_reply (ctx, self->waiting[i], &proposed_record, &proposed);
        message_release (&self->waiting[i]);
        self->count--;
        self->waiting[i] = self->waiting[self->count];
        self->indices[i] = self->indices[self->count];
        return;
    }
}

static void election_receive (void *state, context_t *ctx, const message_t *message)
{
    election_t *self = state;
    const applied_t *applied = message_body (message, applied);
    if (message_body (message, leadership_subscribe)) {
        leadership_t leadership = {
            .term = 3, .leader = node, .leading = true, .commit = self->index};
        context_send (ctx, &message->from, &leadership_record, &leadership);
    } else if (message_body (message, propose)) {
        commit (self, ctx, message);
    } else if (message_body (message, read_barrier)) {
        context_reply (ctx, message, &done_record, &(done_t){.value = self->index});
    }
    for (size_t i = 0; applied && i < applied->results.count; i++)
        answer (self, ctx, &applied->results.items[i]);
}

static void scheduler_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    if (!message_body (message, cluster_view_get))
        return;
    worker_view_t worker = {.key = node, .alive = true, .heard_ms_ago = 5, .load = 0.25};
    task_traffic_t traffic = {0, 0, 3 << 20, 5 << 20};
    cluster_view_t view = {.workers = {&worker, 1}, .traffic = {&traffic, 1}};
    context_reply (ctx, message, &cluster_view_record, &view);
}

static void logs_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    static const char output[] = "line one\nline two\n";
    const log_read_t *read = message_body (message, log_read);
    if (!read)
        return;
    uint64_t size = sizeof (output) - 1;
    uint64_t from = read->offset < size ? read->offset : size;
    log_chunk_t chunk = {
        .offset = from, .data = {(const uint8_t *)output + from, size - from}, .end = true};
    context_reply (ctx, message, &log_chunk_record, &chunk);
}

/*  ---- the world ----------------------------------------------------------------------- */

typedef struct {
    char dir[64], client_dir[80], url[200];
    tables_t *tables;
    log_t *log;
    runtime_t *runtime;
    zactor_t *hosts[6];
    size_t host_count;
    api_config_t config;
    http_args_t http_args;
    gateway_args_t gateway_args;
    ledger_args_t ledger_args;
    behaviour_t stand_ins[3];
    char out[200000], err[20000];
} world_t;

static void spawn (world_t *world, const behaviour_t *behaviour, const void *args)
{
    nexus_error_t error = {0};
    child_t child = {.behaviour = behaviour, .name = behaviour->name, .args = args};
    world->hosts[world->host_count] = host_new (world->runtime, &child, &error);
    if (!world->hosts[world->host_count++])
        fail_msg ("%s: %s", behaviour->name, error.text);
}

static void propose (world_t *world, const record_t *kind, const void *command)
{
    buffer_t bytes = {0};
    nexus_error_t error;
    address_t to = address_local ("election", 0);
    command_encode (kind, command, &bytes);
    propose_t body = {.command = {bytes.data, bytes.size}};
    message_t *reply = runtime_call (world->runtime, &to, &propose_record, &body, 5000, &error);
    if (!reply)
        fail_msg ("%s", error.text);
    message_release (&reply);
    buffer_free (&bytes);
}

static void write_client_yaml (world_t *world, const char *endpoints)
{
    char path[120];
    snprintf (path, sizeof (path), "%s/client.yaml", world->dir);
    FILE *file = fopen (path, "w");
    fprintf (file, "endpoints: [%s]\ntoken: secret\nauthority: api-cert.pem\n", endpoints);
    fclose (file);
}

static void add_worker (world_t *world)
{
    add_worker_t command;
    record_init (&add_worker_record, &command);
    command.worker.key = node;
    command.worker.name = "w1";
    command.worker.site = "home";
    command.worker.resources.cpu = 8;
    command.worker.lane = "tcp://127.0.0.1:9";
    command.worker.enrolled_ms = 1;
    command.token = (record_key_t){{9}};
    add_token_t token = {.token = {.key = command.token, .uses = 1, .not_after_ms = 2}};
    propose (world, &add_token_record, &token);
    propose (world, &add_worker_record, &command);
}

static int setup (void **state)
{
    static const master_t masters[] = {{{{1, 2, 3}}, "m1", "tcp://127.0.0.1:1", ""}};
    world_t *world = calloc (1, sizeof (*world));
    nexus_error_t error;
    char tokens[100];
    temp_dir_new (world->dir);
    snprintf (tokens, sizeof (tokens), "%s/api-tokens", world->dir);
    assert_int_equal (api_tokens_add (tokens, "secret", "alice", API_ADMIN, &error), 0);
    record_init (&api_config_record, &world->config);
    world->config.port = 0;
    world->tables = tables_open_memory (ledger_table_names, LEDGER_TABLES);
    world->log = log_new (2, false, LOG_LEVEL_WARNING, "m1");
    runtime_config_t config = {.name = "m1", .key = node, .log = world->log};
    world->runtime = runtime_new (&config, &error);
    world->ledger_args.tables = world->tables;
    world->gateway_args = (gateway_args_t){world->tables, "m1", masters, 1};
    world->http_args = (http_args_t){.config = &world->config, .dir = world->dir};
    world->stand_ins[0] = (behaviour_t){.name = "election",
                                        .state_size = sizeof (election_t),
                                        .start = no_start,
                                        .receive = election_receive};
    world->stand_ins[1] = (behaviour_t){
        .name = "scheduler", .state_size = 8, .start = no_start, .receive = scheduler_receive};
    world->stand_ins[2] =
        (behaviour_t){.name = "logs", .state_size = 8, .start = no_start, .receive = logs_receive};
    spawn (world, &ledger_behaviour, &world->ledger_args);
    for (size_t i = 0; i < 3; i++)
        spawn (world, &world->stand_ins[i], NULL);
    spawn (world, &gateway_behaviour, &world->gateway_args);
    spawn (world, &http_behaviour, &world->http_args);
    address_t to = address_local ("http", 0);
    message_t *reply = runtime_call (world->runtime, &to, &http_endpoint_get_record,
                                     &(http_endpoint_get_t){.now = true}, 5000, &error);
    assert_non_null (reply);
    snprintf (world->url, sizeof (world->url), "%s", ((const http_endpoint_t *)reply->body)->url);
    message_release (&reply);
    write_client_yaml (world, world->url);
    add_worker (world);
    setenv ("NEXUS_DIR", world->dir, 1);
    *state = world;
    return 0;
}

static int teardown (void **state)
{
    world_t *world = *state;
    while (world->host_count)
        zactor_destroy (&world->hosts[--world->host_count]);
    runtime_destroy (&world->runtime);
    tables_close (&world->tables);
    log_destroy (&world->log);
    temp_dir_remove (world->dir);
    free (world);
    return 0;
}

/*  ---- running commands ------------------------------------------------------------------ */

static void read_back (FILE *file, char *text, size_t size)
{
    rewind (file);
    text[fread (text, 1, size - 1, file)] = 0;
    fclose (file);
}

/*  Runs it in this process; what it prints is in world->out and world->err. */
static int run (world_t *world, const command_t *command, char **words)
{
    nexus_error_t error;
    int count = 0;
    while (words[count])
        count++;
    options_t *options = options_parse (command->options, count, words, &error);
    if (!options)
        fail_msg ("%s", error.text);
    FILE *out = tmpfile (), *err = tmpfile ();
    fflush (stdout);
    fflush (stderr);
    int old_out = dup (1), old_err = dup (2);
    dup2 (fileno (out), 1);
    dup2 (fileno (err), 2);
    int rc = command->run (options);
    fflush (stdout);
    fflush (stderr);
    dup2 (old_out, 1);
    dup2 (old_err, 2);
    close (old_out);
    close (old_err);
    read_back (out, world->out, sizeof (world->out));
    read_back (err, world->err, sizeof (world->err));
    options_destroy (&options);
    return rc;
}
#define RUN(world, command, ...) run (world, &command, (char *[]){__VA_ARGS__, NULL})
#define RUN0(world, command)     run (world, &command, (char *[]){NULL})

static char *write_job (world_t *world, const char *text)
{
    static char path[120];
    snprintf (path, sizeof (path), "%s/job.yaml", world->dir);
    FILE *file = fopen (path, "w");
    fputs (text, file);
    fclose (file);
    return path;
}

static char *submit (world_t *world)
{
    static char id[64];
    char *file = write_job (world, "name: mnist\ncommand: [python3, train.py]\n");
    assert_int_equal (RUN (world, command_job_submit, file), 0);
    snprintf (id, sizeof (id), "%.*s", (int)strcspn (world->out, "\n"), world->out);
    assert_string_equal (id, "mnist-1");
    return id;
}

/*  Rank 0 gets its worker, as the scheduler would propose. */
static void place_rank (world_t *world, const char *id)
{
    place_t place = {0, node};
    place_job_t command;
    record_init (&place_job_record, &command);
    command.job_id = id;
    command.tasks.items = &place;
    command.tasks.count = 1;
    command.time_ms = 1000;
    tables_txn_t *txn = tables_begin (world->tables, false, NULL);
    arena_t arena;
    job_t job;
    arena_init (&arena, 0, NULL, 0);
    assert_int_equal (ledger_get_job (txn, id, &arena, &job, NULL), 1);
    command.epoch = job.epoch;
    tables_abort (&txn);
    arena_reset (&arena);
    propose (world, &place_job_record, &command);
    task_state_t running;
    record_init (&task_state_record, &running);
    running.job_id = id;
    running.phase = TASK_RUNNING;
    running.key = node;
    update_tasks_t update = {.worker = node, .tasks = {&running, 1}, .time_ms = 1001};
    propose (world, &update_tasks_record, &update);
}

static void test_status_and_workers (void **state)
{
    world_t *world = *state;
    assert_int_equal (RUN0 (world, command_status), 0);
    assert_non_null (strstr (world->out, "Leader   m1 (term 3"));
    assert_non_null (strstr (world->out, "1 of 1 alive"));
    assert_int_equal (RUN (world, command_status, "--json"), 0);
    json_t *json = json_loads (world->out, 0, NULL);
    assert_string_equal (json_string_value (json_object_get (json, "leader")), "m1");
    json_decref (json);
    assert_int_equal (RUN0 (world, command_worker_list), 0);
    assert_non_null (strstr (world->out, "w1"));
    assert_int_equal (RUN (world, command_worker_drain, "w1", "--reason", "new disk"), 0);
    assert_string_equal (world->out, "w1 is draining\n");
    assert_int_equal (RUN0 (world, command_worker_list), 0);
    assert_non_null (strstr (world->out, "new disk"));
    assert_int_equal (RUN (world, command_worker_undrain, "w1"), 0);
    assert_string_equal (world->out, "w1 is active\n");
    assert_int_equal (RUN (world, command_worker_drain, "nobody"),
                      nexus_code_exit (NEXUS_NOT_FOUND));
    assert_non_null (strstr (world->err, "nobody"));
}

static void test_job_life (void **state)
{
    world_t *world = *state;
    char *id = submit (world);
    assert_int_equal (RUN0 (world, command_job_list), 0);
    assert_non_null (strstr (world->out, "mnist-1"));
    assert_non_null (strstr (world->out, "queued"));
    assert_int_equal (RUN (world, command_job_list, "--phase", "running"), 0);
    assert_null (strstr (world->out, "mnist-1"));
    assert_int_equal (RUN (world, command_job_watch, id, "--timeout", "1"), EXIT_JOB_NOT_PLACED);
    assert_non_null (strstr (world->err, "not placed"));
    place_rank (world, id);
    assert_int_equal (RUN (world, command_job_show, id), 0);
    assert_non_null (strstr (world->out, "python3 train.py"));
    assert_non_null (strstr (world->out, "w1"));
    assert_non_null (strstr (world->out, "3.00 MiB pushed"));
    assert_int_equal (RUN (world, command_job_watch, id, "--timeout", "1"), EX_TEMPFAIL);
    assert_non_null (strstr (world->out, "leader m1, term 3"));
    assert_non_null (strstr (world->out, "workers 1/1 alive"));
    assert_non_null (strstr (world->out, "pulled 5.00 MiB"));
    assert_int_equal (RUN (world, command_job_logs, id), 0);
    assert_string_equal (world->out, "line one\nline two\n");
    assert_int_equal (RUN (world, command_job_stop, id), 0);
    assert_int_equal (RUN (world, command_job_logs, id, "--attempt", "7"),
                      nexus_code_exit (NEXUS_NOT_FOUND));
    assert_int_equal (RUN (world, command_job_show, "nobody-7"), nexus_code_exit (NEXUS_NOT_FOUND));
}

static void test_outcome (void **state)
{
    world_t *world = *state;
    char *id = submit (world);
    assert_int_equal (RUN (world, command_job_stop, id), 0); /* not placed: it ends at once */
    assert_int_equal (RUN (world, command_job_watch, id), EXIT_JOB_CANCELLED);
    assert_non_null (strstr (world->out, "cancelled"));
    assert_non_null (strstr (world->out, "stopped by alice"));
}

static void test_bad_job_file (void **state)
{
    world_t *world = *state;
    char *file = write_job (world, "name: mnist\ncommand: [x]\ngang:\n  min: 0\nprioritty: 3\n");
    assert_int_equal (RUN (world, command_job_submit, file), EX_DATAERR);
    assert_non_null (strstr (world->err, "job.yaml:4: gang.min: "));
    assert_non_null (strstr (world->err, "job.yaml:5: prioritty: "));
    assert_non_null (strstr (world->err, "priority"));
    assert_int_equal (RUN (world, command_job_submit, "/nonexistent.yaml"), EX_NOINPUT);
}

static void test_metrics (void **state)
{
    world_t *world = *state;
    char *id = submit (world);
    metric_report_t points[20];
    for (uint64_t i = 0; i < 20; i++)
        points[i] = (metric_report_t){
            id, {i % 2 ? "loss" : "test_accuracy", i / 2, i % 2 ? 1.0 / (double)(i + 1) : 0.9, 1}};
    add_metrics_t command = {.points = {points, 20}};
    propose (world, &add_metrics_record, &command);
    assert_int_equal (RUN (world, command_job_metrics, id), 0);
    assert_non_null (strstr (world->out, "loss"));
    assert_non_null (strstr (world->out, "0.0500"));
    assert_null (strstr (world->out, "0.5000"));
    assert_int_equal (RUN (world, command_job_metrics, id, "--all", "--name", "loss"), 0);
    assert_non_null (strstr (world->out, "0.5000"));
    assert_null (strstr (world->out, "test_accuracy"));
    assert_int_equal (RUN (world, command_job_metrics, id, "--svg", "-"), 0);
    assert_int_equal (strncmp (world->out, "<svg ", 5), 0);
    assert_non_null (strstr (world->out, "test_accuracy"));
    assert_int_equal (
        RUN (world, command_job_metrics, id, "--svg", "-", "--left", "speed", "--right", "heat"),
        nexus_code_exit (NEXUS_NOT_FOUND));
    assert_int_equal (RUN (world, command_job_watch, id, "--timeout", "1"), EXIT_JOB_NOT_PLACED);
    assert_non_null (strstr (world->out, "loss 0.0500"));
    assert_non_null (strstr (world->out, "test accuracy 90.00 %"));
}

/*  The first masters are gone: the next one answers, and is remembered. */
static void test_other_masters (void **state)
{
    world_t *world = *state;
    char endpoints[300];
    snprintf (endpoints, sizeof (endpoints),
              "\"https://127.0.0.1:1\", \"https://127.0.0.1:2\", \"%s\"", world->url);
    write_client_yaml (world, endpoints);
    assert_int_equal (RUN0 (world, command_status), 0);
    write_client_yaml (world, "\"https://127.0.0.1:1\"");
    assert_int_equal (RUN0 (world, command_status), EX_UNAVAILABLE);
    assert_non_null (strstr (world->err, "127.0.0.1:1"));
    /*  The command line and the environment come first. */
    assert_int_equal (RUN (world, command_status, "--endpoint", world->url), 0);
    setenv ("LOOMOS_API_ENDPOINT", world->url, 1);
    assert_int_equal (RUN0 (world, command_status), 0);
    setenv ("NEXUS_API_ENDPOINT", "https://127.0.0.1:1", 1);
    assert_int_equal (RUN0 (world, command_status), EX_UNAVAILABLE);
    unsetenv ("LOOMOS_API_ENDPOINT");
    unsetenv ("NEXUS_API_ENDPOINT");
}

static void test_kv (void **state)
{
    world_t *world = *state;
    assert_int_equal (RUN (world, command_kv_put, "a/b c", "value", "--if-version", "0"), 0);
    char first[64];
    snprintf (first, sizeof (first), "%.60s", world->out);
    assert_int_equal (strncmp (first, "version ", 8), 0);
    assert_int_equal (RUN (world, command_kv_put, "a/b c", "other", "--if-version", "0"),
                      EX_TEMPFAIL);
    assert_non_null (strstr (world->err, "has version"));
    assert_int_equal (RUN (world, command_kv_get, "a/b c"), 0);
    assert_string_equal (world->out, "value");
    assert_int_equal (RUN (world, command_kv_get, "a/b c", "--stale"), 0);
    assert_string_equal (world->out, "value");
    assert_int_equal (RUN (world, command_kv_put, "empty", ""), 0);
    assert_int_equal (RUN (world, command_kv_get, "empty"), 0);
    assert_string_equal (world->out, "");
    assert_int_equal (RUN (world, command_kv_list, "a/"), 0);
    assert_non_null (strstr (world->out, "a/b c"));
    assert_null (strstr (world->out, "empty"));
    assert_int_equal (RUN (world, command_kv_list, "--limit", "1"), 0);
    assert_non_null (strstr (world->err, "--after 'a/b c'"));
    assert_int_equal (RUN (world, command_kv_list, "--json", "--after", "a/b c"), 0);
    assert_non_null (strstr (world->out, "\"key\":\"empty\""));
    assert_int_equal (RUN (world, command_kv_delete, "empty"), 0);
    assert_non_null (strstr (world->out, "deleted version"));
    assert_int_equal (RUN (world, command_kv_delete, "empty"), 0);
    assert_string_equal (world->out, "there was no such key\n");
    assert_int_equal (RUN (world, command_kv_get, "empty"), EX_NOINPUT);
    assert_int_equal (RUN (world, command_kv_put, "k"), EX_USAGE);
    assert_int_equal (RUN (world, command_kv_put, "k", "v", "--file", "f"), EX_USAGE);
    assert_int_equal (RUN (world, command_kv_put, "/k", "v"), EX_DATAERR); /* no clean path */
}

/*  The answer gets lost, the command asks again: done once, and the first result. */
static void test_asked_again (void **state)
{
    world_t *world = *state;
    lose_answer = true;
    assert_int_equal (RUN (world, command_kv_put, "k", "v", "--if-version", "0"), 0);
    assert_false (lose_answer);
    lose_answer = true;
    char *file = write_job (world, "name: mnist\ncommand: [python3, train.py]\n");
    assert_int_equal (RUN (world, command_job_submit, file), 0);
    assert_false (lose_answer);
    assert_string_equal (world->out, "mnist-1\n");
    assert_int_equal (RUN (world, command_job_list, "--json"), 0);
    assert_null (strstr (world->out, "mnist-2"));
    lose_answer = true;
    assert_int_equal (RUN (world, command_worker_remove, "w1"), 0);
    assert_false (lose_answer);
}

static void test_trust (void **state)
{
    world_t *world = *state;
    assert_int_equal (RUN (world, command_status, "--token", "wrong"),
                      nexus_code_exit (NEXUS_DENIED));
    assert_non_null (strstr (world->err, "token"));
    char other[100];
    snprintf (other, sizeof (other), "%s/client.yaml", world->dir);
    assert_int_equal (RUN (world, command_status, "--authority", other),
                      nexus_code_exit (NEXUS_DENIED));
    assert_non_null (strstr (world->err, "--authority"));
    assert_int_equal (RUN (world, command_status, "--dir", "/nonexistent"),
                      nexus_code_exit (NEXUS_NOT_FOUND));
    assert_int_equal (RUN (world, command_status, "--endpoint", "http://127.0.0.1:1"),
                      nexus_code_exit (NEXUS_INVALID));
}

int main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST (status_and_workers),
        TEST (job_life),
        TEST (outcome),
        TEST (bad_job_file),
        TEST (metrics),
        TEST (other_masters),
        TEST (trust),
        TEST (kv),
        TEST (asked_again),
    };
    setenv ("ZSYS_SIGHANDLER", "false", 1);
    return cmocka_run_group_tests (tests, NULL, NULL);
}
