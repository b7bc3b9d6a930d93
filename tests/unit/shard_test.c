/*  The shard by script: who may speak, what is counted, what is answered. */
#include "actors/aggregator/shard.h"
#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { WORLD = 3, FLOATS = 1024 };

typedef struct {
    harness_t *h;
    group_view_t view;
    group_member_t members[WORLD];
    group_shard_t shards[2];
    shard_args_t args;
    chunk_push_t push; /* what the next push says */
} fixture_t;

static record_key_t key_of (unsigned rank, unsigned attempt)
{
    return (record_key_t){{7, (uint8_t)rank, (uint8_t)attempt}};
}

static void set_up (fixture_t *f, uint64_t bytes_max)
{
    *f = (fixture_t){0};
    for (unsigned i = 0; i < WORLD; i++)
        f->members[i] = (group_member_t){.rank = i, .key = key_of (i, 0)};
    f->shards[1].index = 1;
    f->view = (group_view_t){.job_id = "job-1",
                             .epoch = 4,
                             .version = 10,
                             .complete = true,
                             .aggregation = {.shards = 2, .chunk_bytes = 4096},
                             .members = {f->members, WORLD},
                             .shards = {f->shards, 2}};
    f->args = (shard_args_t){"job-1", 1, 5, &f->view, bytes_max};
    nexus_error_t error;
    f->h = harness_new (&shard_behaviour, &f->args, NULL, &error);
    assert_non_null (f->h);
    harness_set_role (f->h, ROLE_TASK);
    harness_advance (f->h, 0);
    harness_clear (f->h);
    f->push = (chunk_push_t){.job_id = "job-1",
                             .epoch = 4,
                             .shard = 1,
                             .generation = 5,
                             .chunk = 1,
                             .chunks = 4,
                             .floats = FLOATS,
                             .learning_rate = 1};
}

static void tear_down (fixture_t *f)
{
    harness_destroy (&f->h);
}

static payload_t *constant (size_t floats, float value)
{
    uint8_t *data;
    payload_t *payload = payload_alloc (floats * sizeof (float), &data);
    for (size_t i = 0; i < floats; i++)
        memcpy (data + i * sizeof (float), &value, sizeof (value));
    return payload;
}

/*  Pushes as that rank, with a payload of count floats of that value (count 0: none). */
static void push (fixture_t *f, unsigned rank, int operation, int mode, uint64_t step, size_t count,
                  float value)
{
    chunk_push_t with = f->push;
    with.operation = operation;
    with.mode = mode;
    with.step = step;
    with.rank = rank;
    with.attempt = f->members[rank].attempt;
    record_key_t key = f->members[rank].key;
    address_t from = address_remote (&key, "contributor", 0);
    payload_t *payload = count ? constant (count, value) : NULL;
    if (payload)
        harness_deliver_payload (f->h, &from, &chunk_push_record, &with, &payload);
    else
        harness_deliver (f->h, &from, &chunk_push_record, &with);
}

static const chunk_result_t *expect (fixture_t *f, unsigned rank, int status)
{
    const chunk_result_t *result = harness_expect (f->h, chunk_result);
    assert_non_null (result);
    if (result->status != status)
        fprintf (stderr, "rank %u: %s: %s\n", rank,
                 record_choice_name (&chunk_status_choices, result->status), result->text);
    assert_int_equal (result->status, status);
    assert_int_equal (result->rank, rank);
    assert_memory_equal (&harness_message (f->h)->to.node, &f->members[rank].key, 32);
    return result;
}

static void expect_floats (fixture_t *f, unsigned rank, uint64_t version, float value)
{
    const chunk_result_t *result = expect (f, rank, CHUNK_DONE);
    assert_int_equal (result->version, version);
    const payload_t *payload = harness_message (f->h)->payload;
    assert_non_null (payload);
    assert_int_equal (payload->size, f->push.floats * sizeof (float));
    for (size_t i = 0; i < f->push.floats; i++)
        assert_memory_equal (payload->data + i * sizeof (float), &value, sizeof (value));
}

/*  All ranks ask; rank 0 proposes. */
static void seed (fixture_t *f, float value)
{
    for (unsigned rank = 0; rank < WORLD; rank++)
        push (f, rank, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, rank ? 0 : FLOATS, value);
    harness_clear (f->h);
}

static void give_view (fixture_t *f)
{
    f->view.version++;
    harness_deliver (f->h, NULL, &group_view_record, &f->view);
}

/*  ---- tests ------------------------------------------------------------------------------- */

static void test_fresh_group (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    push (&f, 2, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0);
    assert_string_equal (expect (&f, 2, CHUNK_PENDING)->text, "ranks 0, 1");
    push (&f, 0, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0);
    expect (&f, 0, CHUNK_MISSING); /* nobody else can bring any */
    push (&f, 0, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, FLOATS, 3);
    assert_string_equal (expect (&f, 0, CHUNK_PENDING)->text, "rank 1");
    push (&f, 1, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, FLOATS, 99); /* not its to say */
    for (unsigned rank = 0; rank < WORLD; rank++)
        expect_floats (&f, rank, 0, 3);
    assert_true (harness_quiet (f.h));
    tear_down (&f);
}

static void test_push_pull (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 10);
    push (&f, 2, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 3);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 6);
    assert_true (harness_quiet (f.h));
    push (&f, 2, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 3); /* twice: counted once */
    assert_string_equal (expect (&f, 2, CHUNK_PENDING)->text, "rank 1");
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_ASK, 0, 0, 0);
    expect (&f, 1, CHUNK_MISSING);
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 0);
    for (unsigned rank = 0; rank < WORLD; rank++)
        expect_floats (&f, rank, 1, 7); /* 10 - (6 + 0 + 3) / 3 */
    /* Done already: answered again, changes nothing. */
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 50);
    expect_floats (&f, 1, 1, 7);
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_ASK, 0, 0, 0);
    expect_floats (&f, 1, 1, 7);
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 2, FLOATS, 1);
    assert_int_equal (expect (&f, 1, CHUNK_REFUSED)->code, NEXUS_CONFLICT);
    /* The version before is there for a rank that starts anew. */
    push (&f, 1, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 1, 0, 0);
    expect_floats (&f, 1, 0, 10);
    push (&f, 1, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0);
    expect_floats (&f, 1, 1, 7);
    tear_down (&f);
}

static void test_momentum (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 0);
    f.push.momentum = 0.5;
    for (uint64_t step = 0; step < 2; step++) {
        for (unsigned rank = 0; rank < WORLD; rank++)
            push (&f, rank, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, step, FLOATS, 2);
        for (unsigned rank = 0; rank < WORLD; rank++)
            expect_floats (&f, rank, step + 1, step ? -5.0f : -2.0f);
    }
    tear_down (&f);
}

static void test_different_updates (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 0);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 2);
    f.push.learning_rate = 2;
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 2);
    assert_int_equal (expect (&f, 0, CHUNK_REFUSED)->code, NEXUS_INVALID);
    assert_int_equal (expect (&f, 1, CHUNK_REFUSED)->code, NEXUS_INVALID);
    tear_down (&f);
}

static void test_who_may_speak (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 0);
    group_member_t honest = f.members[1];
    f.members[1].key = key_of (2, 0); /* rank 2 says that it is rank 1 */
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    expect (&f, 1, CHUNK_STALE);
    f.members[1] = honest;
    f.members[1].attempt = 1;
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    expect (&f, 1, CHUNK_STALE);
    f.members[1] = honest;
    f.push.generation = 4;
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    assert_non_null (strstr (expect (&f, 1, CHUNK_STALE)->text, "generation 4"));
    f.push.generation = 5;
    f.push.job_id = "job-2";
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    expect (&f, 1, CHUNK_STALE);
    f.push.job_id = "job-1";
    harness_set_role (f.h, ROLE_WORKER);
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    assert_true (harness_quiet (f.h));
    /* A view that comes from elsewhere than the aggregator changes nothing. */
    record_key_t stranger = key_of (9, 9);
    address_t from = address_remote (&stranger, "aggregator", 0);
    f.view.epoch = 100;
    f.members[0].attempt = 7;
    harness_deliver (f.h, &from, &group_view_record, &f.view);
    f.members[0].attempt = 0;
    harness_set_role (f.h, ROLE_TASK);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_ASK, 0, 0, 0);
    expect (&f, 0, CHUNK_MISSING);
    tear_down (&f);
}

static void test_malformed (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 0);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS - 1, 1); /* short payload */
    expect (&f, 0, CHUNK_REFUSED);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, 0, 0); /* none */
    expect (&f, 0, CHUNK_REFUSED);
    f.push.chunk = 2; /* shard 0's */
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    expect (&f, 0, CHUNK_REFUSED);
    f.push.chunk = 5; /* of 4 */
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    expect (&f, 0, CHUNK_REFUSED);
    f.push.chunk = 1;
    f.push.floats = 100; /* only the last may be short */
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, 100, 1);
    expect (&f, 0, CHUNK_REFUSED);
    f.push.floats = FLOATS;
    f.push.chunks = 6; /* other ranks have 4 */
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    assert_non_null (strstr (expect (&f, 0, CHUNK_REFUSED)->text, "equal on all ranks"));
    tear_down (&f);
}

static void test_bounded_memory (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 20000); /* enough for one chunk, not for two */
    seed (&f, 0);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_ASK, 0, 0, 0);
    expect (&f, 0, CHUNK_MISSING);
    f.push.chunk = 3;
    push (&f, 0, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, FLOATS, 1);
    assert_int_equal (expect (&f, 0, CHUNK_REFUSED)->code, NEXUS_EXHAUSTED);
    tear_down (&f);
}

static void test_replaced_rank (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 0);
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 30);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 3);
    f.members[1].attempt = 1;
    f.members[1].key = key_of (1, 1);
    give_view (&f);
    push (&f, 2, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 3);
    assert_true (harness_quiet (f.h)); /* the former life's 30 does not count */
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 0, FLOATS, 3);
    for (unsigned rank = 0; rank < WORLD; rank++)
        expect_floats (&f, rank, 1, -3);
    tear_down (&f);
}

static void test_done_rank (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    seed (&f, 0);
    push (&f, 0, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, 2);
    push (&f, 1, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, 2);
    assert_true (harness_quiet (f.h));
    f.members[2].done = true;
    give_view (&f);
    expect_floats (&f, 0, 0, 4);
    expect_floats (&f, 1, 0, 4);
    tear_down (&f);
}

/*  A new shard takes the newest version, goes on with what was pushed meanwhile,
    and knows the version before. */
static void test_reseeding (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 7, FLOATS, 1);
    push (&f, 1, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 8, FLOATS, 3);
    push (&f, 0, OPERATION_PARAMETERS, PUSH_SEED, 7, FLOATS, 70);
    expect (&f, 0, CHUNK_DONE);
    push (&f, 1, OPERATION_PARAMETERS, PUSH_SEED, 8, FLOATS, 80);
    expect (&f, 1, CHUNK_DONE);
    assert_true (harness_quiet (f.h));
    push (&f, 2, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0); /* a new process */
    expect_floats (&f, 2, 8, 80);
    expect_floats (&f, 0, 8, 80); /* its gradient of 7 is in there */
    push (&f, 2, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 8, 0, 0);
    expect_floats (&f, 2, 7, 70);
    push (&f, 0, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 8, FLOATS, 3);
    push (&f, 2, OPERATION_PUSH_PULL, PUSH_CONTRIBUTE, 8, FLOATS, 3);
    for (unsigned rank = 0; rank < WORLD; rank++)
        expect_floats (&f, rank, 9, 77);
    push (&f, 0, OPERATION_PARAMETERS, PUSH_SEED, 7, FLOATS, 70); /* late: too late */
    expect (&f, 0, CHUNK_DONE);
    push (&f, 0, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0);
    expect_floats (&f, 0, 9, 77);
    tear_down (&f);
}

static void test_seed_of_two_versions (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    push (&f, 0, OPERATION_PARAMETERS, PUSH_SEED, 5, 2 * FLOATS, 50);
    expect (&f, 0, CHUNK_DONE);
    push (&f, 1, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0);
    expect (&f, 1, CHUNK_PENDING);
    push (&f, 2, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 0, 0, 0);
    expect_floats (&f, 1, 5, 50);
    expect_floats (&f, 2, 5, 50);
    push (&f, 2, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 5, 0, 0);
    expect_floats (&f, 2, 4, 50);
    push (&f, 2, OPERATION_PARAMETERS, PUSH_CONTRIBUTE, 3, 0, 0);
    assert_int_equal (expect (&f, 2, CHUNK_REFUSED)->code, NEXUS_NOT_FOUND);
    tear_down (&f);
}

static void test_collectives (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    f.push.reduction = REDUCTION_MAX;
    for (unsigned rank = 0; rank < WORLD; rank++)
        push (&f, rank, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, (float)rank);
    for (unsigned rank = 0; rank < WORLD; rank++)
        expect_floats (&f, rank, 0, 2);
    f.push.root = 1;
    for (unsigned rank = 0; rank < WORLD; rank++)
        push (&f, rank, OPERATION_BROADCAST, PUSH_CONTRIBUTE, 3, rank == 1 ? FLOATS : 0, 9);
    for (unsigned rank = 0; rank < WORLD; rank++)
        expect_floats (&f, rank, 0, 9);
    /* A rank that comes back asks again by the name. */
    push (&f, 0, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, 1000);
    expect_floats (&f, 0, 0, 2);
    tear_down (&f);
}

static void test_results_are_kept (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    for (uint64_t step = 1; step <= 12; step++) {
        for (unsigned rank = 0; rank < WORLD; rank++)
            push (&f, rank, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, step, FLOATS, (float)step);
        harness_clear (f.h);
    }
    for (uint64_t step = 5; step <= 12; step++) {
        push (&f, 0, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, step, FLOATS, 1000);
        expect_floats (&f, 0, 0, 3 * (float)step);
    }
    push (&f, 0, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 1, FLOATS, 1000);
    assert_int_equal (expect (&f, 0, CHUNK_REFUSED)->code, NEXUS_NOT_FOUND);
    tear_down (&f);
}

static void test_mismatch_is_told_to_all (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    push (&f, 0, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, 1);
    f.push.reduction = REDUCTION_MEAN;
    push (&f, 1, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, 1);
    assert_int_equal (expect (&f, 0, CHUNK_REFUSED)->code, NEXUS_INVALID);
    assert_int_equal (expect (&f, 1, CHUNK_REFUSED)->code, NEXUS_INVALID);
    tear_down (&f);
}

static void test_seeded_result (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    push (&f, 0, OPERATION_ALL_REDUCE, PUSH_CONTRIBUTE, 3, FLOATS, 1);
    push (&f, 1, OPERATION_ALL_REDUCE, PUSH_SEED, 3, FLOATS, 6);
    expect_floats (&f, 0, 0, 6);
    expect (&f, 1, CHUNK_DONE);
    tear_down (&f);
}

static void test_hello (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f, 0);
    harness_advance (f.h, 2000);
    uint64_t start = 0;
    for (unsigned rank = 0; rank < WORLD; rank++) {
        const chunk_result_t *hello = expect (&f, rank, CHUNK_MISSING);
        assert_int_equal (hello->mode, PUSH_SEED);
        assert_true (hello->start != 0 && (rank == 0 || hello->start == start));
        start = hello->start;
    }
    tear_down (&f);
}

/*  The bytes of the protocol: a change here is a change of its version. */
static void test_golden (void **state)
{
    (void)state;
    chunk_push_t with = {.job_id = "mnist-1",
                         .epoch = 3,
                         .operation = OPERATION_PUSH_PULL,
                         .mode = PUSH_CONTRIBUTE,
                         .step = 117,
                         .shard = 1,
                         .generation = 2,
                         .chunk = 5,
                         .chunks = 8,
                         .floats = 65536,
                         .rank = 3,
                         .attempt = 1,
                         .learning_rate = 0.5,
                         .momentum = 0.25};
    chunk_result_t result = {.epoch = 3,
                             .operation = OPERATION_BARRIER,
                             .mode = PUSH_ASK,
                             .step = 9,
                             .shard = 1,
                             .generation = 2,
                             .start = 77,
                             .chunk = 0,
                             .rank = 3,
                             .attempt = 1,
                             .status = CHUNK_PENDING,
                             .text = "rank 2"};
    buffer_t bytes = {0};
    static const char *const golden[2] = {"dc0011a76d6e6973742d310300007501020508ce0001000003010000"
                                          "cb3fe0000000000000cb3fd0000000000000cb0000000000000000",
                                          "9e0303010901024d0003010100a672616e6b203200"};
    for (int i = 0; i < 2; i++) {
        buffer_clear (&bytes);
        record_encode (i ? &chunk_result_record : &chunk_push_record,
                       i ? (const void *)&result : (const void *)&with, &bytes);
        char hex[400] = "";
        for (size_t k = 0; k < bytes.size && 2 * k + 2 < sizeof (hex); k++)
            snprintf (hex + 2 * k, 3, "%02x", bytes.data[k]);
        assert_string_equal (hex, golden[i]);
    }
    buffer_free (&bytes);
    assert_int_equal (chunk_push_record.id, 64);
    assert_int_equal (chunk_result_record.id, 65);
    assert_true (shard_instance ("mnist-1", 0) == UINT64_C (16737919992966455431));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_fresh_group),
        cmocka_unit_test (test_push_pull),
        cmocka_unit_test (test_momentum),
        cmocka_unit_test (test_different_updates),
        cmocka_unit_test (test_who_may_speak),
        cmocka_unit_test (test_malformed),
        cmocka_unit_test (test_bounded_memory),
        cmocka_unit_test (test_replaced_rank),
        cmocka_unit_test (test_done_rank),
        cmocka_unit_test (test_reseeding),
        cmocka_unit_test (test_seed_of_two_versions),
        cmocka_unit_test (test_collectives),
        cmocka_unit_test (test_results_are_kept),
        cmocka_unit_test (test_mismatch_is_told_to_all),
        cmocka_unit_test (test_seeded_result),
        cmocka_unit_test (test_hello),
        cmocka_unit_test (test_golden),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
