/*  gateway_test - requests in, responses and messages out */
#include "actors/gateway/gateway.h"
#include "actors/protocol/api.h"
#include "actors/protocol/consensus.h"
#include "actors/protocol/http.h"
#include "actors/protocol/ledger.h"
#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(n) ((record_key_t){{n, n, n}})

typedef struct {
    tables_t *tables;
    harness_t *harness;
    gateway_args_t args;
    json_t *json; /* the last answer's body */
    arena_t arena;
} world_t;

static const master_t masters[] = {
    {{{1, 1, 1}}, "m1", "tcp://127.0.0.1:1", "https://127.0.0.1:11"},
    {{{2, 2, 2}}, "m2", "tcp://127.0.0.1:2", "https://127.0.0.1:12"},
    {{{3, 3, 3}}, "m3", "tcp://127.0.0.1:3", "https://127.0.0.1:13"},
};

static void put (world_t *world, ledger_table_t table, ledger_key_t key, const record_t *record,
                 const void *value)
{
    buffer_t bytes = {0};
    record_encode (record, value, &bytes);
    tables_txn_t *txn = tables_begin (world->tables, true, NULL);
    assert_int_equal (
        tables_put (txn, table, ledger_slice (&key), (slice_t){bytes.data, bytes.size}, NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    buffer_free (&bytes);
}

static void put_applied (world_t *world, uint8_t index)
{
    uint8_t bytes[8] = {[7] = index};
    tables_txn_t *txn = tables_begin (world->tables, true, NULL);
    assert_int_equal (
        tables_put (txn, LEDGER_META, SLICE (LEDGER_APPLIED), (slice_t){bytes, 8}, NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
}

static job_t make_job (const char *id, uint64_t number, job_phase_t phase)
{
    job_t job;
    record_init (&job_record, &job);
    static const char *command[] = {"true"};
    job.id = id;
    job.number = number;
    job.phase = (int)phase;
    job.spec.name = "mnist";
    job.spec.command = (record_strings_t){command, 1};
    return job;
}

static void put_job (world_t *world, const char *id, uint64_t number, job_phase_t phase)
{
    job_t job = make_job (id, number, phase);
    put (world, LEDGER_JOBS, ledger_key_text (id), &job_record, &job);
}

static void put_worker (world_t *world, const char *name, uint8_t n, worker_state_t state)
{
    worker_t worker;
    record_init (&worker_record, &worker);
    worker.key = KEY (n);
    worker.name = name;
    worker.site = "home";
    worker.state = (int)state;
    put (world, LEDGER_WORKERS, ledger_key_node (&worker.key), &worker_record, &worker);
    tables_txn_t *txn = tables_begin (world->tables, true, NULL);
    assert_int_equal (
        tables_put (txn, LEDGER_NAMES, SLICE (name), (slice_t){worker.key.bytes, 32}, NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
}

static int setup (void **state)
{
    world_t *world = calloc (1, sizeof (*world));
    world->tables = tables_open_memory (ledger_table_names, LEDGER_TABLES);
    world->args = (gateway_args_t){world->tables, "m1", masters, 3};
    record_key_t node = masters[0].key;
    world->harness = harness_new (&gateway_behaviour, &world->args, &node, NULL);
    assert_non_null (world->harness);
    /*  It subscribes and probes at once. */
    assert_non_null (harness_expect (world->harness, leadership_subscribe));
    assert_non_null (harness_expect (world->harness, ledger_subscribe));
    assert_int_equal (harness_count (world->harness, &gateway_probe_record), 2);
    harness_clear (world->harness);
    *state = world;
    return 0;
}

static int teardown (void **state)
{
    world_t *world = *state;
    harness_destroy (&world->harness);
    tables_close (&world->tables);
    json_decref (world->json);
    free (world);
    return 0;
}

static void lead (world_t *world, uint8_t n)
{
    leadership_t leadership = {.term = 4, .leader = KEY (n), .leading = n == 1, .commit = 9};
    harness_deliver (world->harness, NULL, &leadership_record, &leadership);
}

/*  The election's word that this master's ledger is up to date, where it was asked for. */
static void confirm (world_t *world)
{
    if (!harness_count (world->harness, &read_barrier_record))
        return;
    assert_non_null (harness_find (world->harness, read_barrier));
    harness_reply (world->harness, harness_message (world->harness), &done_record, &(done_t){0});
}

static uint64_t ask_unconfirmed (world_t *world, api_role_t role, const char *method,
                                 const char *path, record_map_t query, record_map_t headers,
                                 const char *body)
{
    http_request_t request = {.method = method,
                              .path = path,
                              .query = query,
                              .headers = headers,
                              .body = {(const uint8_t *)body, body ? strlen (body) : 0},
                              .user = "alice",
                              .role = (int)role};
    return harness_ask (world->harness, NULL, &http_request_record, &request);
}

static uint64_t ask_as (world_t *world, api_role_t role, const char *method, const char *path,
                        record_map_t query, record_map_t headers, const char *body)
{
    uint64_t asked = ask_unconfirmed (world, role, method, path, query, headers, body);
    confirm (world);
    return asked;
}

static uint64_t ask (world_t *world, const char *method, const char *path, const char *body)
{
    return ask_as (world, API_ADMIN, method, path, (record_map_t){0}, (record_map_t){0}, body);
}

/*  The answer, its JSON (if it is any) in world->json. */
static const http_response_t *answer (world_t *world, uint64_t correlation)
{
    const http_response_t *response =
        harness_expect_reply (world->harness, correlation, http_response);
    assert_non_null (response);
    json_decref (world->json);
    world->json = json_loadb ((const char *)response->body.data, response->body.size, 0, NULL);
    return response;
}

static const char *header (const http_response_t *response, const char *name)
{
    for (size_t i = 0; i < response->headers.count; i++)
        if (strcmp (response->headers.items[i].key, name) == 0)
            return response->headers.items[i].value;
    return NULL;
}

static const char *text (const json_t *json, const char *key)
{
    const char *value = json_string_value (json_object_get (json, key));
    return value ? value : "(none)";
}

static json_int_t number (const json_t *json, const char *key)
{
    return json_integer_value (json_object_get (json, key));
}

/*  Answers the gateway's question for the soft state. */
static void give_view (world_t *world, const cluster_view_t *view)
{
    assert_non_null (harness_expect (world->harness, cluster_view_get));
    if (view)
        harness_reply (world->harness, harness_message (world->harness), &cluster_view_record,
                       view);
    else
        harness_reply_failure (world->harness, harness_message (world->harness), NEXUS_UNAVAILABLE,
                               "nobody");
}

static void test_health (void **state)
{
    world_t *world = *state;
    uint64_t asked =
        ask_as (world, API_NOBODY, "GET", "/livez", (record_map_t){0}, (record_map_t){0}, NULL);
    assert_int_equal (answer (world, asked)->status, 200);
    static const struct {
        standing_t standing;
        const char *text;
    } reasons[] = {
        {STANDING_MEMBER, "an election is going on"},
        {STANDING_FOUNDING, "must be up once; m2, m3 cannot be reached yet"},
        {STANDING_JOINING, "nexus master add"},
        {STANDING_REFUSED, "on record"},
        {STANDING_OUTSIDE, "was removed"},
        {STANDING_STRANGE, "other `masters:`"},
    };
    for (size_t i = 0; i < sizeof (reasons) / sizeof (reasons[0]); i++) {
        leadership_t leadership = {.term = 1, .standing = (int)reasons[i].standing};
        harness_deliver (world->harness, NULL, &leadership_record, &leadership);
        const http_response_t *why = answer (world, ask (world, "GET", "/readyz", NULL));
        assert_int_equal (why->status, 503);
        assert_non_null (
            memmem (why->body.data, why->body.size, reasons[i].text, strlen (reasons[i].text)));
    }
    lead (world, 2);
    const http_response_t *ready = answer (world, ask (world, "GET", "/readyz", NULL));
    assert_int_equal (ready->status, 200);
    assert_string_equal (header (ready, "X-Nexus-Leader"), "m2");
}

static void test_refusals (void **state)
{
    world_t *world = *state;
    const http_response_t *response = answer (world, ask (world, "GET", "/nowhere", NULL));
    assert_int_equal (response->status, 404);
    assert_string_equal (response->content_type, "application/problem+json");
    assert_string_equal (text (world->json, "code"), "not_found");
    response = answer (world, ask (world, "DELETE", "/api/v1/jobs", NULL));
    assert_int_equal (response->status, 405);
    assert_string_equal (header (response, "Allow"), "POST, GET");
    uint64_t asked = ask_as (world, API_VIEWER, "POST", "/api/v1/jobs", (record_map_t){0},
                             (record_map_t){0}, "{}");
    assert_int_equal (answer (world, asked)->status, 403);
    asked = ask_as (world, API_NOBODY, "GET", "/api/v1/jobs", (record_map_t){0}, (record_map_t){0},
                    NULL);
    assert_int_equal (answer (world, asked)->status, 403);
    record_pair_t unknown[] = {{"limti", "3"}};
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs", (record_map_t){unknown, 1},
                    (record_map_t){0}, NULL);
    assert_int_equal (answer (world, asked)->status, 400);
    assert_non_null (strstr (text (world->json, "detail"), "limti"));
    record_pair_t large[] = {{"limit", "1001"}};
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs", (record_map_t){large, 1},
                    (record_map_t){0}, NULL);
    assert_int_equal (answer (world, asked)->status, 400);
    assert_true (harness_quiet (world->harness));
}

static void test_status (void **state)
{
    world_t *world = *state;
    lead (world, 1);
    put_applied (world, 9);
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    put_job (world, "mnist-2", 2, JOB_QUEUED);
    put_worker (world, "w1", 11, WORKER_ACTIVE);
    put_worker (world, "w2", 12, WORKER_LOST);
    /*  m2 answers its probe, m3 does not. */
    harness_advance (world->harness, 1000);
    assert_non_null (harness_find (world->harness, gateway_probe));
    assert_int_equal (harness_message (world->harness)->to.node.bytes[0], 2);
    gateway_state_t there = {.term = 4, .applied = 8};
    harness_reply (world->harness, harness_message (world->harness), &gateway_state_record, &there);
    harness_clear (world->harness);

    uint64_t asked = ask (world, "GET", "/api/v1/cluster/status", NULL);
    worker_view_t seen[] = {{.key = KEY (11), .alive = true}, {.key = KEY (12)}};
    cluster_view_t view = {.workers = {seen, 2}};
    give_view (world, &view);
    const http_response_t *response = answer (world, asked);
    assert_int_equal (response->status, 200);
    assert_string_equal (header (response, "X-Nexus-Index"), "9");
    assert_string_equal (text (world->json, "leader"), "m1");
    assert_int_equal (number (world->json, "term"), 4);
    assert_int_equal (number (world->json, "commit"), 9);
    json_t *list = json_object_get (world->json, "masters");
    assert_int_equal (json_array_size (list), 3);
    static const char *const roles[] = {"leader", "follower", "unknown"};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal (text (json_array_get (list, i), "role"), roles[i]);
        assert_int_equal (json_is_true (json_object_get (json_array_get (list, i), "reachable")),
                          i < 2);
    }
    assert_int_equal (number (json_array_get (list, 1), "applied"), 8);
    json_t *workers = json_object_get (world->json, "workers");
    assert_int_equal (number (workers, "total"), 2);
    assert_int_equal (number (workers, "alive"), 1);
    assert_int_equal (number (workers, "lost"), 1);
    assert_int_equal (number (json_object_get (world->json, "jobs"), "running"), 1);
    assert_int_equal (number (json_object_get (world->json, "jobs"), "total"), 2);

    /*  Without the soft state it still answers. */
    asked = ask (world, "GET", "/api/v1/cluster/status", NULL);
    give_view (world, NULL);
    assert_int_equal (answer (world, asked)->status, 200);
}

static const char job_json[] =
    "{\"name\": \"mnist\", \"command\": [\"python3\", \"train.py\"], \"gang\": {\"min\": 2}}";

static void test_submit (void **state)
{
    world_t *world = *state;
    record_pair_t headers[] = {{"content-type", "application/json"}, {"idempotency-key", "k1"}};
    uint64_t asked = ask_as (world, API_ADMIN, "POST", "/api/v1/jobs", (record_map_t){0},
                             (record_map_t){headers, 2}, job_json);
    const propose_t *propose = harness_expect (world->harness, propose);
    assert_non_null (propose);
    const message_t *question = harness_message (world->harness);
    assert_string_equal (question->to.actor, "election");
    assert_int_equal (propose->command.data[0] << 8 | propose->command.data[1],
                      submit_job_record.id);
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    submit_job_t command;
    assert_int_equal (record_decode (&submit_job_record, propose->command.data + 2,
                                     propose->command.size - 2, &arena, &command, NULL),
                      0);
    assert_string_equal (command.spec.name, "mnist");
    assert_int_equal (propose->client >> 63, 1); /* made of the key */
    assert_int_equal (command.spec.gang.min, 2);
    arena_reset (&arena);
    /*  Applied at index 7 by the leader; this master's ledger is not there yet. */
    harness_reply (world->harness, question, &proposed_record,
                   &(proposed_t){.index = 7, .value = "mnist-1"});
    assert_true (harness_quiet (world->harness));
    put_job (world, "mnist-1", 1, JOB_QUEUED);
    put_applied (world, 7);
    harness_deliver (world->harness, NULL, &ledger_changed_record, &(ledger_changed_t){.index = 7});
    const http_response_t *response = answer (world, asked);
    assert_int_equal (response->status, 201);
    assert_string_equal (header (response, "Location"), "/api/v1/jobs/mnist-1");
    assert_string_equal (header (response, "X-Nexus-Index"), "7");
    assert_string_equal (text (world->json, "id"), "mnist-1");
    assert_string_equal (text (world->json, "phase"), "queued");
}

/*  The command is durable, so the client learns it even if this master stays behind. */
static void test_submit_on_a_lagging_master (void **state)
{
    world_t *world = *state;
    uint64_t asked = ask (world, "POST", "/api/v1/jobs", job_json);
    assert_non_null (harness_expect (world->harness, propose));
    harness_reply (world->harness, harness_message (world->harness), &proposed_record,
                   &(proposed_t){.index = 7, .value = "mnist-1"});
    harness_advance (world->harness, 2100);
    assert_int_equal (answer (world, asked)->status, 201);
    assert_string_equal (text (world->json, "id"), "mnist-1");
    assert_string_equal (text (json_object_get (world->json, "spec"), "name"), "mnist");
}

static void test_submit_faults (void **state)
{
    world_t *world = *state;
    record_pair_t yaml[] = {{"content-type", "application/yaml; charset=utf-8"}};
    uint64_t asked =
        ask_as (world, API_ADMIN, "POST", "/api/v1/jobs", (record_map_t){0},
                (record_map_t){yaml, 1}, "name: mnist\ncomand: [true]\ngang:\n  min: 0\n");
    assert_int_equal (answer (world, asked)->status, 400);
    json_t *errors = json_object_get (world->json, "errors");
    assert_true (json_array_size (errors) >= 3); /* comand, gang.min, command is missing */
    bool found = false;
    for (size_t i = 0; i < json_array_size (errors); i++) {
        json_t *fault = json_array_get (errors, i);
        if (strcmp (text (fault, "path"), "gang.min") == 0) {
            assert_int_equal (number (fault, "line"), 4);
            found = true;
        }
    }
    assert_true (found);
    assert_int_equal (answer (world, ask (world, "POST", "/api/v1/jobs", "{\"name\": "))->status,
                      400);
    assert_int_equal (answer (world, ask (world, "POST", "/api/v1/jobs", NULL))->status, 400);
    asked = ask (world, "POST", "/api/v1/jobs", "{\"name\": \"A b\", \"command\": [\"x\"]}");
    assert_int_equal (answer (world, asked)->status, 400);
    assert_string_equal (text (json_array_get (json_object_get (world->json, "errors"), 0), "path"),
                         "name");
    record_pair_t other[] = {{"content-type", "text/html"}};
    asked = ask_as (world, API_ADMIN, "POST", "/api/v1/jobs", (record_map_t){0},
                    (record_map_t){other, 1}, job_json);
    assert_int_equal (answer (world, asked)->status, 415);
    assert_true (harness_quiet (world->harness));
}

static void test_no_leader (void **state)
{
    world_t *world = *state;
    uint64_t asked = ask (world, "POST", "/api/v1/jobs", job_json);
    assert_non_null (harness_expect (world->harness, propose));
    harness_reply_failure (world->harness, harness_message (world->harness), NEXUS_UNAVAILABLE,
                           "there is no leader");
    const http_response_t *response = answer (world, asked);
    assert_int_equal (response->status, 503);
    assert_string_equal (header (response, "Retry-After"), "1");
    assert_string_equal (text (world->json, "detail"), "there is no leader");
}

static void test_list (void **state)
{
    world_t *world = *state;
    put_job (world, "zebra-1", 1, JOB_SUCCEEDED);
    put_job (world, "ant-2", 2, JOB_RUNNING);
    put_job (world, "mouse-3", 3, JOB_QUEUED);
    record_pair_t two[] = {{"limit", "2"}, {"cursor", ""}};
    uint64_t asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs", (record_map_t){two, 1},
                             (record_map_t){0}, NULL);
    assert_int_equal (answer (world, asked)->status, 200);
    json_t *jobs = json_object_get (world->json, "jobs");
    assert_int_equal (json_array_size (jobs), 2);
    assert_string_equal (text (json_array_get (jobs, 0), "id"), "zebra-1");
    assert_string_equal (text (json_array_get (jobs, 1), "id"), "ant-2");
    char next[32];
    snprintf (next, sizeof (next), "%s", text (world->json, "next"));
    two[1].value = next;
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs", (record_map_t){two, 2},
                    (record_map_t){0}, NULL);
    answer (world, asked);
    jobs = json_object_get (world->json, "jobs");
    assert_int_equal (json_array_size (jobs), 1);
    assert_string_equal (text (json_array_get (jobs, 0), "id"), "mouse-3");
    assert_string_equal (text (world->json, "next"), "");
    record_pair_t filter[] = {{"phase", "queued,running"}, {"reverse", "true"}};
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs", (record_map_t){filter, 2},
                    (record_map_t){0}, NULL);
    answer (world, asked);
    jobs = json_object_get (world->json, "jobs");
    assert_int_equal (json_array_size (jobs), 2);
    assert_string_equal (text (json_array_get (jobs, 0), "id"), "mouse-3");
    record_pair_t wrong[] = {{"phase", "asleep"}};
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs", (record_map_t){wrong, 1},
                    (record_map_t){0}, NULL);
    assert_int_equal (answer (world, asked)->status, 400);
}

static void put_task (world_t *world, const char *job, uint64_t rank, uint8_t worker,
                      uint64_t attempt, record_key_t earlier)
{
    task_t task;
    task_run_t runs[2];
    record_init (&task_record, &task);
    record_init (&task_run_record, &runs[0]);
    record_init (&task_run_record, &runs[1]);
    task.job_id = job;
    task.rank = rank;
    task.worker = worker ? KEY (worker) : (record_key_t){{0}};
    task.attempt = attempt;
    task.phase = worker ? TASK_RUNNING : TASK_WAITING;
    task.bytes_pushed = 11; /* of earlier runs */
    task.bytes_pulled = 5;
    if (!record_key_is_zero (&earlier)) {
        runs[0].worker = earlier;
        runs[0].attempt = 0;
        task.runs.items = runs;
        task.runs.count = 1;
    }
    put (world, LEDGER_TASKS, ledger_key_number (job, rank), &task_record, &task);
}

static void test_job_detail (void **state)
{
    world_t *world = *state;
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    put_worker (world, "w1", 11, WORKER_ACTIVE);
    put_task (world, "mnist-1", 0, 11, 1, (record_key_t){{0}});
    uint64_t asked = ask (world, "GET", "/api/v1/jobs/mnist-1", NULL);
    worker_view_t seen[] = {{.key = KEY (11), .alive = true}};
    task_traffic_t traffic[] = {{0, 1, 100, 50}, {0, 0, 7, 7}};
    cluster_view_t view = {.workers = {seen, 1}, .traffic = {traffic, 2}};
    const cluster_view_get_t *get = harness_expect (world->harness, cluster_view_get);
    assert_non_null (get);
    assert_string_equal (get->job_id, "mnist-1");
    harness_reply (world->harness, harness_message (world->harness), &cluster_view_record, &view);
    assert_int_equal (answer (world, asked)->status, 200);
    assert_string_equal (text (json_object_get (world->json, "job"), "id"), "mnist-1");
    assert_int_equal (json_array_size (json_object_get (world->json, "tasks")), 1);
    assert_int_equal (number (world->json, "bytes_pushed"), 111);
    assert_int_equal (number (world->json, "bytes_pulled"), 55);
    json_t *worker = json_array_get (json_object_get (world->json, "workers"), 0);
    assert_string_equal (text (worker, "name"), "w1");
    assert_true (json_is_true (json_object_get (worker, "alive")));
    asked = ask (world, "GET", "/api/v1/jobs/nobody-9", NULL);
    give_view (world, &view);
    assert_int_equal (answer (world, asked)->status, 404);
}

static void test_stop (void **state)
{
    world_t *world = *state;
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    put_job (world, "done-2", 2, JOB_SUCCEEDED);
    uint64_t asked = ask (world, "POST", "/api/v1/jobs/mnist-1/stop", NULL);
    const propose_t *propose = harness_expect (world->harness, propose);
    assert_non_null (propose);
    assert_int_equal (propose->command.data[1], end_job_record.id);
    put_job (world, "mnist-1", 1, JOB_STOPPING);
    put_applied (world, 3);
    harness_reply (world->harness, harness_message (world->harness), &proposed_record,
                   &(proposed_t){.index = 3});
    assert_int_equal (answer (world, asked)->status, 202);
    assert_string_equal (text (world->json, "phase"), "stopping");
    /*  What has ended is left alone. */
    assert_int_equal (answer (world, ask (world, "POST", "/api/v1/jobs/done-2/stop", NULL))->status,
                      202);
    assert_string_equal (text (world->json, "phase"), "succeeded");
    assert_true (harness_quiet (world->harness));
}

static uint64_t ask_logs (world_t *world, record_pair_t *query, size_t count)
{
    return ask_as (world, API_VIEWER, "GET", "/api/v1/jobs/mnist-1/logs",
                   (record_map_t){query, count}, (record_map_t){0}, NULL);
}

static void test_logs (void **state)
{
    world_t *world = *state;
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    put_task (world, "mnist-1", 0, 12, 1, KEY (11));
    put_task (world, "mnist-1", 1, 0, 0, (record_key_t){{0}});
    record_pair_t query[] = {{"offset", "10"}, {"wait_ms", "2000"}, {"attempt", "0"}};
    uint64_t asked = ask_logs (world, query, 2);
    const log_read_t *read = harness_expect (world->harness, log_read);
    assert_non_null (read);
    assert_int_equal (read->offset, 10);
    assert_int_equal (read->attempt, 1);
    assert_int_equal (read->wait_ms, 2000);
    assert_string_equal (harness_message (world->harness)->to.actor, "logs");
    assert_int_equal (harness_message (world->harness)->to.node.bytes[0], 12);
    log_chunk_t chunk = {.offset = 10, .data = {(const uint8_t *)"hello", 5}, .end = true};
    harness_reply (world->harness, harness_message (world->harness), &log_chunk_record, &chunk);
    const http_response_t *response = answer (world, asked);
    assert_int_equal (response->status, 200);
    assert_int_equal (response->body.size, 5);
    assert_string_equal (header (response, "X-Nexus-Next-Offset"), "15");
    assert_string_equal (header (response, "X-Nexus-End"), "true");
    /*  An earlier run is on another worker, which is away. */
    asked = ask_logs (world, query, 3);
    assert_non_null (harness_expect (world->harness, log_read));
    assert_int_equal (harness_message (world->harness)->to.node.bytes[0], 11);
    harness_reply_failure (world->harness, harness_message (world->harness), NEXUS_UNAVAILABLE,
                           "no connection");
    assert_int_equal (answer (world, asked)->status, 503);
    query[2].value = "5";
    assert_int_equal (answer (world, ask_logs (world, query, 3))->status, 404);
    record_pair_t rank[] = {{"rank", "1"}};
    assert_int_equal (answer (world, ask_logs (world, rank, 1))->status, 404);
    rank[0].value = "7";
    assert_int_equal (answer (world, ask_logs (world, rank, 1))->status, 404);
}

static void test_metrics_of_a_job (void **state)
{
    world_t *world = *state;
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    static const char *const names[] = {"accuracy", "loss", "loss_rate"};
    for (size_t n = 0; n < 3; n++)
        for (uint64_t step = 0; step < 5; step++) {
            metric_point_t point = {names[n], step, (double)step / 2, 0};
            put (world, LEDGER_METRICS, ledger_key_metric ("mnist-1", names[n], step),
                 &metric_point_record, &point);
        }
    answer (world, ask (world, "GET", "/api/v1/jobs/mnist-1/metrics", NULL));
    assert_int_equal (json_array_size (json_object_get (world->json, "points")), 15);
    record_pair_t query[] = {{"name", "loss"}, {"limit", "2"}};
    uint64_t asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs/mnist-1/metrics",
                             (record_map_t){query, 2}, (record_map_t){0}, NULL);
    answer (world, asked);
    json_t *points = json_object_get (world->json, "points");
    assert_int_equal (json_array_size (points), 2);
    assert_string_equal (text (json_array_get (points, 0), "name"), "loss");
    assert_int_equal (number (json_array_get (points, 0), "step"), 3);
    record_pair_t two[] = {{"from_step", "3"}, {"limit", "1"}};
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/jobs/mnist-1/metrics",
                    (record_map_t){two, 2}, (record_map_t){0}, NULL);
    answer (world, asked);
    points = json_object_get (world->json, "points");
    assert_int_equal (json_array_size (points), 3); /* the newest of each */
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal (text (json_array_get (points, i), "name"), names[i]);
        assert_int_equal (number (json_array_get (points, i), "step"), 4);
    }
}

static void test_workers (void **state)
{
    world_t *world = *state;
    put_worker (world, "zoe", 11, WORKER_ACTIVE);
    put_worker (world, "bob", 12, WORKER_LOST);
    put_task (world, "mnist-1", 0, 11, 0, (record_key_t){{0}});
    uint64_t asked = ask (world, "GET", "/api/v1/workers", NULL);
    worker_view_t seen[] = {{.key = KEY (11), .alive = true, .load = 0.5, .heard_ms_ago = 20}};
    cluster_view_t view = {.workers = {seen, 1}};
    give_view (world, &view);
    assert_int_equal (answer (world, asked)->status, 200);
    json_t *list = json_object_get (world->json, "workers");
    assert_int_equal (json_array_size (list), 2);
    json_t *zoe = json_array_get (list, 1);
    assert_string_equal (text (json_object_get (zoe, "worker"), "name"), "zoe");
    assert_true (json_is_true (json_object_get (zoe, "alive")));
    assert_int_equal (number (zoe, "tasks"), 1);
    assert_false (json_is_true (json_object_get (json_array_get (list, 0), "alive")));
}

static void test_drain (void **state)
{
    world_t *world = *state;
    put_worker (world, "zoe", 11, WORKER_ACTIVE);
    put_worker (world, "bob", 12, WORKER_LOST);
    uint64_t asked = ask (world, "POST", "/api/v1/workers/zoe/drain", "{\"reason\": \"new disk\"}");
    const propose_t *propose = harness_expect (world->harness, propose);
    assert_non_null (propose);
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    set_worker_t command;
    assert_int_equal (record_decode (&set_worker_record, propose->command.data + 2,
                                     propose->command.size - 2, &arena, &command, NULL),
                      0);
    assert_int_equal (command.worker.state, WORKER_DRAINING);
    assert_string_equal (command.worker.reason, "new disk");
    assert_string_equal (command.worker.site, "home");
    arena_reset (&arena);
    put_worker (world, "zoe", 11, WORKER_DRAINING);
    put_applied (world, 5);
    harness_reply (world->harness, harness_message (world->harness), &proposed_record,
                   &(proposed_t){.index = 5});
    assert_int_equal (answer (world, asked)->status, 202);
    assert_string_equal (text (world->json, "state"), "draining");
    assert_int_equal (
        answer (world, ask (world, "POST", "/api/v1/workers/bob/undrain", NULL))->status, 409);
    assert_int_equal (
        answer (world, ask (world, "POST", "/api/v1/workers/eve/drain", NULL))->status, 404);
}

static void test_remove (void **state)
{
    world_t *world = *state;
    put_worker (world, "zoe", 11, WORKER_ACTIVE);
    uint64_t asked = ask (world, "POST", "/api/v1/workers/zoe/remove", NULL);
    const propose_t *propose = harness_expect (world->harness, propose);
    assert_non_null (propose);
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    remove_worker_t command;
    assert_int_equal (record_decode (&remove_worker_record, propose->command.data + 2,
                                     propose->command.size - 2, &arena, &command, NULL),
                      0);
    assert_int_equal (command.key.bytes[0], 11);
    arena_reset (&arena);
    put_applied (world, 5);
    harness_reply (world->harness, harness_message (world->harness), &proposed_record,
                   &(proposed_t){.index = 5});
    assert_int_equal (answer (world, asked)->status, 200);
    assert_string_equal (text (world->json, "name"), "zoe");
    assert_string_equal (text (world->json, "reason"), "removed");
    assert_int_equal (
        answer (world, ask (world, "POST", "/api/v1/workers/eve/remove", NULL))->status, 404);
}

static void test_metrics_page (void **state)
{
    world_t *world = *state;
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    const http_response_t *response = answer (world, ask (world, "GET", "/metrics", NULL));
    assert_int_equal (response->status, 200);
    char *page = strndup ((const char *)response->body.data, response->body.size);
    assert_non_null (strstr (page, "nexus_jobs{phase=\"running\"} 1"));
    FILE *promtool = popen ("promtool check metrics >&2 2>/dev/null || exit $?", "w");
    if (promtool) {
        fputs (page, promtool);
        int rc = WEXITSTATUS (pclose (promtool));
        assert_true (rc == 0 || rc == 127); /* 127: not installed */
    }
    free (page);
}

/*  A new name doesn't make another master's key or endpoint free; nothing is asked for. */
static void test_master_add_of_another (void **state)
{
    static const char *wrong[] = {
        "{\"name\": \"m9\", \"endpoint\": \"tcp://127.0.0.1:9\", \"key\": \"%s\"}",
        "{\"name\": \"m9\", \"endpoint\": \"tcp://127.0.0.1:2\", \"key\": \"%s\"}"};
    world_t *world = *state;
    put (world, LEDGER_MASTERS, ledger_key_node (&masters[1].key), &master_record, &masters[1]);
    for (int i = 0; i < 3; i++) {
        char key[65], body[300];
        snprintf (key, sizeof (key), "%s%058d", i == 0 ? "020202" : "090909", 0);
        snprintf (body, sizeof (body), wrong[i == 1], key);
        uint64_t asked = ask (world, "POST", "/api/v1/masters", body);
        if (i < 2)
            assert_int_equal (answer (world, asked)->status, 409);
        assert_int_equal (harness_count (world->harness, &master_change_record), i == 2);
    }
}

/*  All masters are asked; one that doesn't answer is shown as such, and nobody waits twice. */
static void test_raft (void **state)
{
    world_t *world = *state;
    uint64_t asked = ask (world, "GET", "/api/v1/raft", NULL);
    raft_peer_view_t peers[] = {{.key = KEY (1), .match = 7, .lag = 2, .heard_ms_ago = 3}};
    raft_view_t view = {.role = RAFT_VIEW_LEADER,
                        .term = 4,
                        .leader = KEY (2),
                        .last = 9,
                        .refused = "",
                        .peers = {peers, 1}};
    for (int i = 0; i < 3; i++) {
        const raft_view_get_t *get = harness_expect (world->harness, raft_view_get);
        assert_true (get && get->peers);
        const message_t *request = harness_message (world->harness);
        bool local = record_key_is_zero (&request->to.node);
        assert_true (local == (i == 0));
        assert_null (harness_expect_reply (world->harness, asked, http_response));
        if (i == 2)
            harness_reply_failure (world->harness, request, NEXUS_DEADLINE, "no answer");
        else
            harness_reply (world->harness, request, &raft_view_record, &view);
    }
    assert_int_equal (answer (world, asked)->status, 200);
    const json_t *list = json_object_get (world->json, "masters");
    assert_int_equal (json_array_size (list), 3);
    const json_t *second = json_array_get (list, 1), *third = json_array_get (list, 2);
    const json_t *shown = json_object_get (second, "view");
    assert_string_equal (text (second, "leader"), "m2");
    assert_string_equal (text (shown, "role"), "leader");
    assert_int_equal (number (shown, "last"), 9);
    const json_t *peer = json_array_get (json_object_get (shown, "peers"), 0);
    assert_string_equal (text (peer, "name"), "m1");
    assert_int_equal (number (peer, "lag"), 2);
    assert_true (json_is_true (json_object_get (second, "answered")));
    assert_true (json_is_false (json_object_get (third, "answered")));
    assert_true (harness_quiet (world->harness));
}

/*  Requests that wait when the gateway ends are answered, and nothing is left behind. */
static void test_raft_unanswered (void **state)
{
    world_t *world = *state;
    uint64_t asked = ask (world, "GET", "/api/v1/raft", NULL);
    assert_non_null (harness_expect (world->harness, raft_view_get));
    harness_stop (world->harness);
    assert_int_not_equal (asked, 0);
}

static void test_strangers_are_ignored (void **state)
{
    world_t *world = *state;
    address_t stranger = address_remote (&masters[2].key, "gateway", 0);
    http_request_t request = {.method = "GET", .path = "/livez", .role = API_ADMIN};
    harness_ask (world->harness, &stranger, &http_request_record, &request);
    leadership_t leadership = {.term = 9, .leader = KEY (3)};
    harness_deliver (world->harness, &stranger, &leadership_record, &leadership);
    assert_true (harness_quiet (world->harness));
    assert_int_equal (answer (world, ask (world, "GET", "/readyz", NULL))->status, 503);
    uint64_t asked = harness_ask (world->harness, &stranger, &gateway_probe_record,
                                  &(gateway_probe_t){.term = 1});
    assert_non_null (harness_expect_reply (world->harness, asked, gateway_state));
}

/*  ---- reads are linearizable ---------------------------------------------------------- */

static uint64_t get_job (world_t *world, const char *stale)
{
    record_pair_t query[] = {{"stale", stale}};
    return ask_unconfirmed (world, API_VIEWER, "GET", "/api/v1/jobs",
                            (record_map_t){query, stale ? 1 : 0}, (record_map_t){0}, NULL);
}

static size_t jobs_answered (world_t *world, uint64_t asked)
{
    assert_int_equal (answer (world, asked)->status, 200);
    return json_array_size (json_object_get (world->json, "jobs"));
}

static void test_read_barrier (void **state)
{
    world_t *world = *state;
    harness_hold (world->harness);
    uint64_t one = get_job (world, NULL), two = get_job (world, "false");
    uint64_t stale = get_job (world, "true");
    harness_turn (world->harness);
    assert_int_equal (jobs_answered (world, stale), 0);
    /*  All of a turn wait for one barrier, and see what is there when it is passed. */
    assert_int_equal (harness_count (world->harness, &read_barrier_record), 1);
    assert_non_null (harness_expect (world->harness, read_barrier));
    message_t *barrier = message_retain ((message_t *)harness_message (world->harness));
    assert_string_equal (barrier->to.actor, "election");
    put_job (world, "mnist-1", 1, JOB_RUNNING);
    uint64_t three = get_job (world, NULL); /* too late for this barrier */
    assert_true (harness_quiet (world->harness));
    harness_reply (world->harness, barrier, &done_record, &(done_t){0});
    message_release (&barrier);
    assert_int_equal (jobs_answered (world, one), 1);
    assert_int_equal (jobs_answered (world, two), 1);
    /*  Without a majority there is no answer but 503, whatever is in the tables. */
    assert_non_null (harness_expect (world->harness, read_barrier));
    harness_reply_failure (world->harness, harness_message (world->harness), NEXUS_DEADLINE,
                           "no answer");
    const http_response_t *response = answer (world, three);
    assert_int_equal (response->status, 503);
    assert_string_equal (header (response, "Retry-After"), "1");
    assert_non_null (strstr (text (world->json, "detail"), "stale=true"));
    /*  Writes read before they write. */
    uint64_t stop = ask_unconfirmed (world, API_ADMIN, "POST", "/api/v1/jobs/mnist-1/stop",
                                     (record_map_t){0}, (record_map_t){0}, NULL);
    assert_int_equal (harness_count (world->harness, &propose_record), 0);
    confirm (world);
    assert_non_null (harness_expect (world->harness, propose));
    (void)stop;
    /*  What is about this master needs nobody's word. */
    assert_int_equal (answer (world, ask (world, "GET", "/metrics", NULL))->status, 200);
    /*  And what is no truth value is refused. */
    assert_int_equal (answer (world, get_job (world, "yes"))->status, 400);
    record_pair_t query[] = {{"stale", "true"}};
    uint64_t wrong = ask_as (world, API_ADMIN, "GET", "/livez", (record_map_t){query, 1},
                             (record_map_t){0}, NULL);
    assert_int_equal (answer (world, wrong)->status, 400);
}

/*  ---- exactly once ----------------------------------------------------------------------- */

typedef struct {
    uint64_t client, sequence, after;
} asker_t;

static asker_t proposed_by (world_t *world, const char *method, const char *path, const char *key,
                            const char *after, const char *body)
{
    record_pair_t headers[] = {{"idempotency-key", key}, {"x-nexus-after", after}};
    ask_as (world, API_ADMIN, method, path, (record_map_t){0},
            (record_map_t){headers, after ? 2 : 1}, body);
    const propose_t *propose = harness_expect (world->harness, propose);
    assert_non_null (propose);
    return (asker_t){propose->client, propose->sequence, propose->after};
}

static void test_idempotency_key (void **state)
{
    world_t *world = *state;
    put_applied (world, 9);
    asker_t a = proposed_by (world, "PUT", "/api/v1/kv/k", "one", NULL, "v");
    put_applied (world, 12);
    asker_t again = proposed_by (world, "PUT", "/api/v1/kv/k", "one", "7", "v");
    assert_true (a.client == again.client && a.sequence == again.sequence);
    assert_int_equal (a.client >> 63, 1);
    assert_int_equal (a.after, 9);
    assert_int_equal (again.after, 7);
    const struct {
        const char *method, *path, *key, *body;
    } others[] = {
        {"PUT", "/api/v1/kv/k", "two", "v"},  {"PUT", "/api/v1/kv/k", "one", "w"},
        {"PUT", "/api/v1/kv/kv", "one", ""},  {"DELETE", "/api/v1/kv/k", "one", "v"},
        {"PUT", "/api/v1/kv/k2", "one", "v"},
    };
    for (size_t i = 0; i < 5; i++) {
        asker_t b = proposed_by (world, others[i].method, others[i].path, others[i].key, NULL,
                                 others[i].body);
        assert_false (a.client == b.client && a.sequence == b.sequence);
    }
    assert_int_equal (proposed_by (world, "PUT", "/api/v1/kv/k", "", NULL, "v").client, 0);
    record_pair_t headers[] = {{"x-nexus-after", "soon"}};
    uint64_t wrong = ask_as (world, API_ADMIN, "PUT", "/api/v1/kv/k", (record_map_t){0},
                             (record_map_t){headers, 1}, "v");
    assert_int_equal (answer (world, wrong)->status, 400);
    /*  A worker that is not there: perhaps this very request removed it before. */
    proposed_by (world, "POST", "/api/v1/workers/gone/remove", "three", NULL, NULL);
    uint64_t asked = ask (world, "POST", "/api/v1/workers/gone/remove", NULL);
    assert_int_equal (answer (world, asked)->status, 404);
}

/*  ---- the key-value store ------------------------------------------------------------------ */

static void test_kv (void **state)
{
    world_t *world = *state;
    uint64_t asked = ask (world, "GET", "/api/v1/kv/rendezvous/run 7", NULL);
    const kv_get_t *get = harness_expect (world->harness, kv_get);
    assert_non_null (get);
    assert_string_equal (harness_message (world->harness)->to.actor, "ledger");
    assert_string_equal (get->key, "rendezvous/run 7");
    assert_false (get->stale || get->prefix);
    kv_got_t got = {.found = true, .value = {(const uint8_t *)"a\0b", 3}, .version = 17};
    harness_reply (world->harness, harness_message (world->harness), &kv_got_record, &got);
    const http_response_t *response = answer (world, asked);
    assert_int_equal (response->status, 200);
    assert_string_equal (response->content_type, "application/octet-stream");
    assert_string_equal (header (response, "ETag"), "\"17\"");
    assert_int_equal (response->body.size, 3);
    assert_memory_equal (response->body.data, "a\0b", 3);

    record_pair_t query[] = {{"prefix", "r/"}, {"stale", "true"}, {"limit", "1"}};
    asked = ask_as (world, API_VIEWER, "GET", "/api/v1/kv", (record_map_t){query, 3},
                    (record_map_t){0}, NULL);
    get = harness_expect (world->harness, kv_get);
    assert_non_null (get);
    assert_true (get->stale && get->prefix && get->limit == 1);
    kv_entry_t entries[] = {{.key = "r/1", .value = {(const uint8_t *)"x", 1}, .version = 3}};
    got = (kv_got_t){.found = true, .entries = {entries, 1}, .more = true};
    harness_reply (world->harness, harness_message (world->harness), &kv_got_record, &got);
    assert_int_equal (answer (world, asked)->status, 200);
    assert_string_equal (text (world->json, "next"), "r/1");

    asked = ask (world, "GET", "/api/v1/kv/none", NULL);
    assert_non_null (harness_expect (world->harness, kv_get));
    harness_reply (world->harness, harness_message (world->harness), &kv_got_record,
                   &(kv_got_t){0});
    assert_int_equal (answer (world, asked)->status, 404);
    asked = ask (world, "GET", "/api/v1/kv/none", NULL);
    assert_non_null (harness_expect (world->harness, kv_get));
    harness_reply_failure (world->harness, harness_message (world->harness), NEXUS_DEADLINE,
                           "late");
    assert_int_equal (answer (world, asked)->status, 503);
}

static kv_put_t put_with (world_t *world, const char *match, arena_t *arena)
{
    record_pair_t headers[] = {{"if-match", match}};
    ask_as (world, API_ADMIN, "PUT", "/api/v1/kv/a/b", (record_map_t){0},
            (record_map_t){headers, *match ? 1 : 0}, "value");
    const propose_t *propose = harness_expect (world->harness, propose);
    assert_non_null (propose);
    kv_put_t put;
    assert_int_equal (propose->command.data[0] << 8 | propose->command.data[1], kv_put_record.id);
    assert_int_equal (record_decode (&kv_put_record, propose->command.data + 2,
                                     propose->command.size - 2, arena, &put, NULL),
                      0);
    assert_string_equal (put.key, "a/b");
    return put;
}

static void test_kv_writes (void **state)
{
    world_t *world = *state;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    kv_put_t put = put_with (world, "", &arena);
    assert_false (put.compare);
    assert_int_equal (put.value.size, 5);
    put = put_with (world, "\"12\"", &arena);
    assert_true (put.compare && put.version == 12);
    put = put_with (world, "0", &arena);
    assert_true (put.compare && put.version == 0);
    const char *wrong[] = {"\"12", "*", "12\"", "W/\"1\"", "1, 2", "\"\"", "-1"};
    for (size_t i = 0; i < 7; i++) {
        record_pair_t headers[] = {{"if-match", wrong[i]}};
        uint64_t asked = ask_as (world, API_ADMIN, "DELETE", "/api/v1/kv/a", (record_map_t){0},
                                 (record_map_t){headers, 1}, NULL);
        assert_int_equal (answer (world, asked)->status, 400);
    }
    uint64_t asked = ask (world, "DELETE", "/api/v1/kv/a", NULL);
    assert_non_null (harness_expect (world->harness, propose));
    harness_reply (world->harness, harness_message (world->harness), &proposed_record,
                   &(proposed_t){.index = 5, .value = "4"});
    put_applied (world, 5);
    harness_deliver (world->harness, NULL, &ledger_changed_record, &(ledger_changed_t){.index = 5});
    assert_int_equal (answer (world, asked)->status, 200);
    assert_int_equal (number (world->json, "version"), 4);
    asked = ask_as (world, API_VIEWER, "PUT", "/api/v1/kv/a", (record_map_t){0}, (record_map_t){0},
                    "v");
    assert_int_equal (answer (world, asked)->status, 403);
    static char key[500] = "/api/v1/kv/", large[65538];
    memset (key + 11, 'k', 401);
    memset (large, 'v', 65537);
    assert_int_equal (answer (world, ask (world, "PUT", key, "v"))->status, 400);
    assert_int_equal (answer (world, ask (world, "PUT", "/api/v1/kv/k", large))->status, 413);
    arena_reset (&arena);
}

int main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST (health),
        TEST (refusals),
        TEST (status),
        TEST (raft),
        TEST (raft_unanswered),
        TEST (submit),
        TEST (submit_on_a_lagging_master),
        TEST (submit_faults),
        TEST (no_leader),
        TEST (list),
        TEST (job_detail),
        TEST (stop),
        TEST (logs),
        TEST (metrics_of_a_job),
        TEST (workers),
        TEST (drain),
        TEST (remove),
        TEST (metrics_page),
        TEST (strangers_are_ignored),
        cmocka_unit_test_setup_teardown (test_read_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown (test_idempotency_key, setup, teardown),
        cmocka_unit_test_setup_teardown (test_master_add_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown (test_kv, setup, teardown),
        cmocka_unit_test_setup_teardown (test_kv_writes, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
