/*  The aggregator by script: which shards run, what it tells whom, whom it lets in. */
#include "actors/aggregator/aggregator.h"
#include "actors/aggregator/shard.h"
#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct {
    harness_t *h;
    aggregator_args_t args;
    group_view_t view;
    group_member_t members[2];
    group_shard_t shards[3];
} fixture_t;

static void set_up (fixture_t *f)
{
    *f = (fixture_t){0};
    f->members[0] = (group_member_t){.rank = 0, .key = {{1}}};
    f->members[1] = (group_member_t){.rank = 1}; /* does not run yet */
    f->view = (group_view_t){.job_id = "job-1",
                             .epoch = 1,
                             .version = 1,
                             .aggregation = {.shards = 3, .chunk_bytes = 4096},
                             .members = {f->members, 2},
                             .shards = {f->shards, 3}};
    f->args = (aggregator_args_t){.keyring = keyring_new (), .domain = "lane", .threads_max = 1};
    nexus_error_t error;
    f->h = harness_new (&aggregator_behaviour, &f->args, NULL, &error);
    assert_non_null (f->h);
}

static void tear_down (fixture_t *f)
{
    harness_destroy (&f->h);
    keyring_release (&f->args.keyring);
}

static void order (fixture_t *f, const shard_order_t *orders, size_t count)
{
    shard_orders_t all = {.shards = {(shard_order_t *)(uintptr_t)orders, count},
                          .groups = {&f->view, 1}};
    harness_deliver (f->h, NULL, &shard_orders_record, &all);
}

static void expect_spawn (fixture_t *f, uint64_t index, bool thread)
{
    const child_t *child = harness_expect_spawn (f->h);
    assert_non_null (child);
    assert_string_equal (child->name, "shard");
    assert_true (child->behaviour == &shard_behaviour);
    assert_true (child->instance == shard_instance ("job-1", index));
    assert_int_equal (child->thread, thread);
}

static void expect_states (fixture_t *f, size_t count, size_t ready)
{
    const shard_states_t *states = harness_find (f->h, shard_states);
    assert_non_null (states);
    assert_int_equal (states->shards.count, count);
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += states->shards.items[i].ready;
    assert_int_equal (found, ready);
}

static void test_orders (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    const shard_order_t two[] = {{"job-1", 0, 1}, {"job-1", 2, 1}};
    order (&f, two, 2);
    expect_spawn (&f, 0, true); /* threads_max is 1 */
    expect_spawn (&f, 2, false);
    expect_states (&f, 2, 2);
    order (&f, two, 2); /* the same again: nothing happens */
    expect_states (&f, 2, 2);
    assert_true (harness_quiet (f.h));
    f.view.version = 2;
    order (&f, two, 2);
    assert_int_equal (harness_count (f.h, &group_view_record), 2);
    harness_clear (f.h);
    order (&f, two, 1);
    address_t second = address_local ("shard", shard_instance ("job-1", 2));
    assert_true (harness_expect_stop_child (f.h, &second));
    expect_states (&f, 2, 1);
    harness_down (f.h, &second, false, "stopped");
    expect_states (&f, 1, 1);
    tear_down (&f);
}

/*  A new generation is a new, empty shard, at the same address: after the old one is gone. */
static void test_new_generation (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    const shard_order_t old = {"job-1", 1, 4}, new = {"job-1", 1, 5};
    address_t address = address_local ("shard", shard_instance ("job-1", 1));
    order (&f, &old, 1);
    expect_spawn (&f, 1, true);
    expect_states (&f, 1, 1);
    order (&f, &new, 1);
    assert_true (harness_expect_stop_child (f.h, &address));
    expect_states (&f, 1, 0);
    harness_down (f.h, &address, false, "stopped");
    expect_spawn (&f, 1, true);
    const shard_states_t *states = harness_find (f.h, shard_states);
    assert_non_null (states);
    assert_int_equal (states->shards.items[0].generation, 5);
    assert_true (states->shards.items[0].ready);
    tear_down (&f);
}

static void test_failures (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    const shard_order_t one = {"job-1", 0, 1};
    address_t address = address_local ("shard", shard_instance ("job-1", 0));
    harness_refuse_spawn (f.h, NEXUS_EXHAUSTED, "no memory");
    order (&f, &one, 1);
    expect_states (&f, 1, 0);
    harness_clear (f.h);
    harness_advance (f.h, 2100);
    expect_spawn (&f, 0, true);
    expect_states (&f, 1, 1);
    harness_down (f.h, &address, true, "it failed");
    expect_states (&f, 1, 0);
    harness_advance (f.h, 2100);
    expect_spawn (&f, 0, true);
    expect_states (&f, 1, 1);
    tear_down (&f);
}

static void test_admission (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    record_key_t first = {{1}}, second = {{2}};
    keyring_entry_t entry;
    order (&f, NULL, 0);
    assert_true (keyring_find (f.args.keyring, "lane", &first, 0, &entry));
    assert_int_equal (entry.role, ROLE_TASK);
    assert_false (keyring_find (f.args.keyring, "lane", &second, 0, &entry));
    f.members[0].key = second; /* the rank was started anew */
    order (&f, NULL, 0);
    assert_false (keyring_find (f.args.keyring, "lane", &first, 0, &entry));
    assert_true (keyring_find (f.args.keyring, "lane", &second, 0, &entry));
    tear_down (&f);
}

/*  Orders are the agent's: another node's are not followed. */
static void test_foreign_orders (void **state)
{
    (void)state;
    fixture_t f;
    set_up (&f);
    record_key_t key = {{9}};
    address_t from = address_remote (&key, "agent", 0);
    shard_order_t one = {"job-1", 0, 1};
    shard_orders_t all = {.shards = {&one, 1}, .groups = {&f.view, 1}};
    harness_deliver (f.h, &from, &shard_orders_record, &all);
    assert_true (harness_quiet (f.h));
    tear_down (&f);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_orders),         cmocka_unit_test (test_new_generation),
        cmocka_unit_test (test_failures),       cmocka_unit_test (test_admission),
        cmocka_unit_test (test_foreign_orders),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
