/*  The contributor by script: what it sends where, what it makes of answers, whom it blames. */
#include "actors/aggregator/contributor.h"
#include "runtime/harness.h"
#include "transport/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { WORLD = 3, SHARDS = 2, FLOATS = 2500, CHUNKS = 3, CHUNK_FLOATS = 1024 };

typedef struct {
    harness_t *h;
    contributor_shared_t shared;
    contributor_args_t args;
    record_key_t self, agent, nodes[SHARDS];
    group_view_t view;
    group_member_t members[WORLD];
    group_shard_t shards[SHARDS];
    float input[FLOATS], output[FLOATS];
} fixture_t;

static record_key_t key_of (unsigned number)
{
    return (record_key_t){{5, (uint8_t)number}};
}

static void give_view (fixture_t *f)
{
    f->view.version++;
    address_t from = address_remote (&f->agent, "agent", 0);
    harness_deliver (f->h, &from, &group_view_record, &f->view);
}

static void set_up (fixture_t *f)
{
    *f = (fixture_t){.self = key_of (1), .agent = key_of (100)};
    f->nodes[0] = key_of (200);
    f->nodes[1] = key_of (201);
    for (unsigned i = 0; i < WORLD; i++)
        f->members[i] = (group_member_t){.rank = i, .key = key_of (i)};
    for (unsigned i = 0; i < SHARDS; i++)
        f->shards[i] = (group_shard_t){.index = i,
                                       .generation = 1,
                                       .node = f->nodes[i],
                                       .endpoint = "tcp://10.0.0.1:7",
                                       .ready = true};
    f->view = (group_view_t){.job_id = "job-1",
                             .epoch = 1,
                             .complete = true,
                             .aggregation = {.shards = SHARDS,
                                             .chunk_bytes = 4096,
                                             .learning_rate = 0.5,
                                             .momentum = 0.25},
                             .members = {f->members, WORLD},
                             .shards = {f->shards, SHARDS}};
    f->args = (contributor_args_t){.job_id = "job-1",
                                   .rank = 1,
                                   .world = WORLD,
                                   .agent = f->agent,
                                   .timeout_ms = 5000,
                                   .shared = &f->shared};
    nexus_error_t error;
    f->h = harness_new (&contributor_behaviour, &f->args, &f->self, &error);
    assert_non_null (f->h);
    harness_set_role (f->h, ROLE_WORKER);
    assert_non_null (harness_expect (f->h, task_join));
    for (size_t i = 0; i < FLOATS; i++) {
        f->input[i] = (float)i;
        f->output[i] = -1;
    }
}

static void tear_down (fixture_t *f)
{
    harness_destroy (&f->h);
}

static uint64_t operate (fixture_t *f, int operation, uint64_t step, size_t count)
{
    operate_t with = {.operation = operation,
                      .step = step,
                      .input = (uintptr_t)f->input,
                      .output = (uintptr_t)f->output,
                      .count = count};
    return harness_ask (f->h, NULL, &operate_record, &with);
}

/*  Takes the next push, which must be of that chunk and go to its shard. */
static const chunk_push_t *expect_push (fixture_t *f, int mode, uint64_t chunk)
{
    const chunk_push_t *push = harness_find (f->h, chunk_push);
    assert_non_null (push);
    assert_int_equal (push->mode, mode);
    assert_int_equal (push->chunk, chunk);
    assert_int_equal (push->shard, chunk % SHARDS);
    address_t to = address_remote (&f->nodes[chunk % SHARDS], "shard",
                                   shard_instance ("job-1", chunk % SHARDS));
    assert_true (address_equal (&harness_message (f->h)->to, &to));
    return push;
}

static size_t floats_of (uint64_t chunk)
{
    return chunk + 1 < CHUNKS ? CHUNK_FLOATS : FLOATS - (CHUNKS - 1) * CHUNK_FLOATS;
}

static chunk_result_t result_of (const fixture_t *f, int operation, uint64_t step, uint64_t chunk,
                                 int status)
{
    return (chunk_result_t){.operation = operation,
                            .mode = PUSH_CONTRIBUTE,
                            .step = step,
                            .shard = chunk % SHARDS,
                            .generation = f->shards[chunk % SHARDS].generation,
                            .start = 9,
                            .chunk = chunk,
                            .rank = 1,
                            .status = status};
}

static void answer_from (fixture_t *f, const record_key_t *node, const chunk_result_t *result,
                         size_t count, float value)
{
    address_t from = address_remote (node, "shard", shard_instance ("job-1", result->shard));
    payload_t *payload = NULL;
    if (count) {
        uint8_t *data;
        payload = payload_alloc (count * sizeof (float), &data);
        for (size_t i = 0; i < count; i++)
            memcpy (data + i * sizeof (float), &value, sizeof (value));
    }
    harness_deliver_payload (f->h, &from, &chunk_result_record, result, &payload);
}

static void answer (fixture_t *f, const chunk_result_t *result, size_t count, float value)
{
    answer_from (f, &f->nodes[result->shard], result, count, value);
}

/*  A shard's result for a chunk, version included. */
static void give (fixture_t *f, int operation, uint64_t step, uint64_t chunk, uint64_t version,
                  float value)
{
    chunk_result_t result = result_of (f, operation, step, chunk, CHUNK_DONE);
    result.version = version;
    answer (f, &result, floats_of (chunk), value);
}

/*  Joins and has parameters of version 7. */
static void get_parameters (fixture_t *f)
{
    give_view (f);
    uint64_t call = operate (f, OPERATION_PARAMETERS, 0, FLOATS);
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
        give (f, OPERATION_PARAMETERS, 0, chunk, 7, 1);
    const operated_t *operated = harness_expect_reply (f->h, call, operated);
    assert_non_null (operated);
    assert_int_equal (operated->version, 7);
    harness_clear (f->h);
}

static void expect_failure (fixture_t *f, uint64_t call, nexus_code_t code, const char *part)
{
    const failure_t *failure = harness_expect_reply (f->h, call, failure);
    assert_non_null (failure);
    if (!strstr (failure->text, part))
        fprintf (stderr, "\"%s\" is not in \"%s\"\n", part, failure->text);
    assert_int_equal (failure->code, code);
    assert_non_null (strstr (failure->text, part));
}

/*  The answer to an operation. It comes when nothing of the program's memory is on its
    way any more: what the harness has recorded has to go first. */
static void let_go (fixture_t *f)
{
    harness_clear (f->h);
    contributor_join_t join = {.timeout_ms = 1};
    uint64_t call = harness_ask (f->h, NULL, &contributor_join_record, &join);
    if (f->view.complete)
        assert_non_null (harness_expect_reply (f->h, call, done)); /* the last expected one goes */
    harness_advance (f->h, 5);
}

static const operated_t *expect_operated (fixture_t *f, uint64_t call)
{
    assert_int_equal (harness_count (f->h, &operated_record), 0);
    let_go (f);
    return harness_expect_reply (f->h, call, operated);
}

/*  ---- tests --------------------------------------------------------------------------------- */

static void test_join (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    contributor_join_t join = {.timeout_ms = 60000};
    uint64_t call = harness_ask (f.h, NULL, &contributor_join_record, &join);
    harness_advance (f.h, 2500);
    assert_true (harness_count (f.h, &task_join_record) >= 2); /* until a view comes */
    f.view.complete = false;
    give_view (&f);
    assert_int_equal (harness_count (f.h, &link_dial_record), SHARDS);
    f.view.complete = true;
    give_view (&f);
    assert_non_null (harness_expect_reply (f.h, call, done));
    assert_int_equal (f.shared.epoch, 1);
    tear_down (&f);
}

static void test_join_in_vain (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    contributor_join_t join = {.timeout_ms = 5000};
    uint64_t call = harness_ask (f.h, NULL, &contributor_join_record, &join);
    f.view.complete = false;
    f.members[2].key = (record_key_t){{0}};
    f.shards[1].ready = false;
    give_view (&f);
    harness_advance (f.h, 6000);
    expect_failure (&f, call, NEXUS_DEADLINE, "rank 2 (not running), aggregator 1 (not serving)");
    tear_down (&f);
}

static void test_misuse (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    expect_failure (&f, operate (&f, OPERATION_BARRIER, 1, 0), NEXUS_UNAVAILABLE, "not joined");
    give_view (&f);
    expect_failure (&f, operate (&f, OPERATION_PUSH_PULL, 0, FLOATS), NEXUS_INVALID,
                    "nexus_parameters");
    expect_failure (&f, operate (&f, OPERATION_PARAMETERS, 0, 0), NEXUS_INVALID, "count");
    get_parameters (&f);
    expect_failure (&f, operate (&f, OPERATION_PUSH_PULL, 0, FLOATS + 1), NEXUS_INVALID, "2501");
    uint64_t first = operate (&f, OPERATION_BARRIER, 4, 0);
    expect_failure (&f, operate (&f, OPERATION_BARRIER, 5, 0), NEXUS_INVALID, "one thread");
    chunk_result_t result = result_of (&f, OPERATION_BARRIER, 4, 0, CHUNK_DONE);
    answer (&f, &result, 0, 0);
    assert_non_null (harness_expect_reply (f.h, first, operated));
    expect_failure (&f, operate (&f, OPERATION_BARRIER, 4, 0), NEXUS_INVALID, "steps must grow");
    tear_down (&f);
}

static void test_push_pull (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_PUSH_PULL, 0, FLOATS);
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++) {
        const chunk_push_t *push = expect_push (&f, PUSH_CONTRIBUTE, chunk);
        assert_int_equal (push->step, 7);
        assert_int_equal (push->floats, floats_of (chunk));
        assert_true (push->learning_rate == 0.5 && push->momentum == 0.25);
        const payload_t *payload = harness_message (f.h)->payload;
        assert_int_equal (payload->size, floats_of (chunk) * sizeof (float));
        assert_memory_equal (payload->data, f.input + chunk * CHUNK_FLOATS, payload->size);
    }
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++) {
        assert_true (f.output[chunk * CHUNK_FLOATS] == 1); /* nothing before all is there */
        give (&f, OPERATION_PUSH_PULL, 7, chunk, 8, 2);
    }
    const operated_t *operated = expect_operated (&f, call);
    assert_non_null (operated);
    assert_int_equal (operated->version, 8);
    for (size_t i = 0; i < FLOATS; i++)
        assert_true (f.output[i] == 2);
    tear_down (&f);
}

static void test_strangers (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_BARRIER, 1, 0);
    harness_clear (f.h);
    chunk_result_t result = result_of (&f, OPERATION_BARRIER, 1, 0, CHUNK_DONE);
    answer_from (&f, &f.nodes[1], &result, 0, 0); /* not the node of shard 0 */
    result.attempt = 1;                           /* for another life of this rank */
    answer (&f, &result, 0, 0);
    result.attempt = 0;
    result.step = 2;
    answer (&f, &result, 0, 0);
    harness_set_role (f.h, ROLE_TASK);
    result.step = 1;
    answer (&f, &result, 0, 0);
    assert_true (harness_quiet (f.h));
    harness_set_role (f.h, ROLE_WORKER);
    answer (&f, &result, 0, 0);
    assert_non_null (harness_expect_reply (f.h, call, operated));
    /* A view that is not the agent's. */
    f.view.epoch = 50;
    address_t from = address_remote (&f.nodes[0], "agent", 0);
    harness_deliver (f.h, &from, &group_view_record, &f.view);
    assert_int_equal (f.shared.epoch, 1);
    tear_down (&f);
}

static void test_retries (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_ALL_REDUCE, 3, 100);
    const payload_t *payload =
        expect_push (&f, PUSH_CONTRIBUTE, 0) ? harness_message (f.h)->payload : NULL;
    assert_int_equal (payload->size, 400);
    harness_advance (f.h, 1300); /* a question first, without data */
    expect_push (&f, PUSH_ASK, 0);
    payload = harness_message (f.h)->payload;
    assert_true (!payload || payload->size == 0);
    chunk_result_t result = result_of (&f, OPERATION_ALL_REDUCE, 3, 0, CHUNK_MISSING);
    answer (&f, &result, 0, 0);
    expect_push (&f, PUSH_CONTRIBUTE, 0);
    assert_int_equal (harness_message (f.h)->payload->size, 400);
    result.status = CHUNK_STALE;
    answer (&f, &result, 0, 0);
    assert_non_null (harness_find (f.h, task_join)); /* maybe the view is old */
    harness_advance (f.h, 500);
    expect_push (&f, PUSH_CONTRIBUTE, 0);
    result.status = CHUNK_REFUSED;
    result.code = NEXUS_INVALID;
    result.text = "the reduction must be equal";
    answer (&f, &result, 0, 0);
    expect_failure (&f, call, NEXUS_INVALID, "the reduction must be equal");
    assert_true (f.output[0] == 1); /* untouched */
    tear_down (&f);
}

static void test_deadline (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_PUSH_PULL, 0, FLOATS);
    chunk_result_t result = result_of (&f, OPERATION_PUSH_PULL, 7, 1, CHUNK_PENDING);
    result.text = "ranks 0, 2";
    answer (&f, &result, 0, 0);
    harness_advance (f.h, 5500);
    let_go (&f);
    expect_failure (&f, call, NEXUS_DEADLINE, "ranks 0, 2 on push_pull 7");
    /* And again, by the same name: what had come need not come again. */
    call = operate (&f, OPERATION_PUSH_PULL, 0, FLOATS);
    give (&f, OPERATION_PUSH_PULL, 7, 0, 8, 3);
    f.members[0].key = (record_key_t){{0}};
    f.view.epoch++;
    give_view (&f);
    harness_advance (f.h, 5500);
    let_go (&f);
    expect_failure (&f, call, NEXUS_DEADLINE, "rank 0 (not running) on push_pull 7");
    harness_clear (f.h);
    call = operate (&f, OPERATION_PUSH_PULL, 0, FLOATS);
    expect_push (&f, PUSH_CONTRIBUTE, 1);
    expect_push (&f, PUSH_CONTRIBUTE, 2);
    give (&f, OPERATION_PUSH_PULL, 7, 1, 8, 3);
    give (&f, OPERATION_PUSH_PULL, 7, 2, 8, 3);
    assert_non_null (expect_operated (&f, call));
    assert_true (f.output[0] == 3 && f.output[FLOATS - 1] == 3);
    tear_down (&f);
}

/*  A shard of a new generation is brought all that there is, without being asked. */
static void test_lost_shard (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_PUSH_PULL, 0, FLOATS);
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
        give (&f, OPERATION_PUSH_PULL, 7, chunk, 8, 2);
    assert_non_null (expect_operated (&f, call));
    call = operate (&f, OPERATION_ALL_REDUCE, 3, 100);
    chunk_result_t result = result_of (&f, OPERATION_ALL_REDUCE, 3, 0, CHUNK_DONE);
    answer (&f, &result, 100, 5);
    assert_non_null (expect_operated (&f, call));
    harness_clear (f.h);

    f.shards[0].generation = 2;
    f.shards[0].node = f.nodes[0] = key_of (202);
    f.shards[0].ready = false;
    f.view.epoch++;
    give_view (&f);
    assert_int_equal (harness_count (f.h, &chunk_push_record), 0);
    f.shards[0].ready = true;
    give_view (&f);
    assert_int_equal (expect_push (&f, PUSH_SEED, 0)->step, 8);
    const payload_t *payload = harness_message (f.h)->payload;
    assert_int_equal (payload->size, 2 * CHUNK_FLOATS * sizeof (float)); /* and version 7 */
    float both[2];
    memcpy (&both[0], payload->data, sizeof (float));
    memcpy (&both[1], payload->data + CHUNK_FLOATS * sizeof (float), sizeof (float));
    assert_true (both[0] == 2 && both[1] == 1);
    expect_push (&f, PUSH_SEED, 2);
    assert_int_equal (expect_push (&f, PUSH_SEED, 0)->operation, OPERATION_ALL_REDUCE);
    assert_int_equal (harness_count (f.h, &chunk_push_record), 0);
    /* Until it says that it has them. */
    result = result_of (&f, OPERATION_PARAMETERS, 8, 0, CHUNK_DONE);
    result.mode = PUSH_SEED;
    answer (&f, &result, 0, 0);
    result = result_of (&f, OPERATION_ALL_REDUCE, 3, 0, CHUNK_DONE);
    result.mode = PUSH_SEED;
    answer (&f, &result, 0, 0);
    harness_advance (f.h, 2500);
    expect_push (&f, PUSH_SEED, 2);
    assert_int_equal (harness_count (f.h, &chunk_push_record), 0);
    tear_down (&f);
}

/*  The same after a restart that no view tells of. */
static void test_restarted_shard (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_PUSH_PULL, 0, FLOATS);
    harness_clear (f.h);
    chunk_result_t hello = result_of (&f, OPERATION_PARAMETERS, 0, 1, CHUNK_MISSING);
    hello.mode = PUSH_SEED;
    hello.start = 10;
    answer (&f, &hello, 0, 0);
    expect_push (&f, PUSH_SEED, 1);
    harness_advance (f.h, 200);
    expect_push (&f, PUSH_CONTRIBUTE, 1);
    (void)call;
    tear_down (&f);
}

/*  A rank that starts anew in the middle of a round reads one version of all chunks. */
static void test_one_version (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    give_view (&f);
    uint64_t call = operate (&f, OPERATION_PARAMETERS, 0, FLOATS);
    give (&f, OPERATION_PARAMETERS, 0, 0, 8, 80);
    give (&f, OPERATION_PARAMETERS, 0, 1, 7, 70);
    harness_clear (f.h);
    give (&f, OPERATION_PARAMETERS, 0, 2, 7, 70);
    assert_int_equal (expect_push (&f, PUSH_CONTRIBUTE, 0)->step, 8); /* version 7 */
    give (&f, OPERATION_PARAMETERS, 8, 0, 7, 71);
    const operated_t *operated = harness_expect_reply (f.h, call, operated);
    assert_non_null (operated);
    assert_int_equal (operated->version, 7);
    assert_true (f.output[0] == 71 && f.output[FLOATS - 1] == 70);
    tear_down (&f);
}

static void test_replaced (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    uint64_t call = operate (&f, OPERATION_BARRIER, 1, 0);
    f.members[1].attempt = 1;
    f.view.epoch++;
    give_view (&f);
    expect_failure (&f, call, NEXUS_CANCELLED, "attempt 1 of rank 1 runs");
    expect_failure (&f, operate (&f, OPERATION_BARRIER, 2, 0), NEXUS_CANCELLED, "must end");
    tear_down (&f);
}

static void report (fixture_t *f, const char *name, uint64_t step, double value)
{
    contributor_report_t with = {.name = name, .step = step, .value = value};
    harness_deliver (f->h, NULL, &contributor_report_record, &with);
}

static void test_metrics (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    harness_advance (f.h, 1100);
    assert_non_null (harness_find (f.h, task_metrics)); /* the traffic so far */
    harness_reply (f.h, harness_message (f.h), &done_record, &(done_t){0});
    harness_clear (f.h);
    for (uint64_t step = 1; step <= 5; step++)
        report (&f, "loss", step, (double)step);
    report (&f, "accuracy", 1, 0.5);
    harness_advance (f.h, 1100);
    const task_metrics_t *metrics = harness_find (f.h, task_metrics);
    assert_non_null (metrics);
    assert_int_equal (metrics->points.count, 2); /* thinned: the newest of a second */
    assert_int_equal (metrics->points.items[0].step, 5);
    harness_reply_failure (f.h, harness_message (f.h), NEXUS_UNAVAILABLE, "not now");
    report (&f, "loss", 6, 6);
    harness_advance (f.h, 1500);
    metrics = harness_find (f.h, task_metrics);
    assert_non_null (metrics);
    assert_true (metrics->points.count >= 2); /* nothing is lost by that */
    bool newest = false;
    for (size_t i = 0; i < metrics->points.count; i++)
        newest |= metrics->points.items[i].step == 6;
    assert_true (newest);
    harness_reply (f.h, harness_message (f.h), &done_record, &(done_t){0});
    harness_clear (f.h);
    harness_advance (f.h, 3000);
    assert_int_equal (harness_count (f.h, &task_metrics_record), 0);
    tear_down (&f);
}

static void test_leave (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    get_parameters (&f);
    report (&f, "loss", 9, 9);
    uint64_t call = harness_ask (f.h, NULL, &contributor_leave_record, &(contributor_leave_t){0});
    assert_int_equal (expect_push (&f, PUSH_CONTRIBUTE, 0)->operation, OPERATION_BARRIER);
    chunk_result_t result = result_of (&f, OPERATION_BARRIER, UINT64_MAX, 0, CHUNK_DONE);
    answer (&f, &result, 0, 0);
    assert_non_null (harness_find (f.h, task_metrics));
    harness_reply (f.h, harness_message (f.h), &done_record, &(done_t){0});
    assert_non_null (harness_expect_reply (f.h, call, done));
    tear_down (&f);
}

static void test_stop (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    address_t stranger = address_remote (&f.nodes[0], "agent", 0);
    harness_deliver (f.h, &stranger, &task_stop_record, &(task_stop_t){0});
    assert_int_equal (f.shared.stopping, 0);
    address_t agent = address_remote (&f.agent, "agent", 0);
    harness_deliver (f.h, &agent, &task_stop_record, &(task_stop_t){0});
    assert_int_equal (f.shared.stopping, 1);
    tear_down (&f);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_join),
        cmocka_unit_test (test_join_in_vain),
        cmocka_unit_test (test_misuse),
        cmocka_unit_test (test_push_pull),
        cmocka_unit_test (test_strangers),
        cmocka_unit_test (test_retries),
        cmocka_unit_test (test_deadline),
        cmocka_unit_test (test_lost_shard),
        cmocka_unit_test (test_restarted_shard),
        cmocka_unit_test (test_one_version),
        cmocka_unit_test (test_replaced),
        cmocka_unit_test (test_metrics),
        cmocka_unit_test (test_leave),
        cmocka_unit_test (test_stop),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
