/*  Timers, pending requests and the seeded generator: what both shells share. */
#include "runtime/timers.h"

#include "runtime/pending.h"
#include "runtime/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_order (void **state)
{
    (void)state;
    timers_t *timers = timers_new ();
    timer_list_t list = {0};
    int owner;
    assert_true (timers_next (timers) == INT64_MAX);
    const int64_t at[] = {50, 10, 50, 10, 30};
    uint64_t ids[5];
    for (uint64_t i = 0; i < 5; i++)
        ids[i] = timers_add (timers, at[i], &owner, &list, 7, i);
    for (int i = 1; i < 5; i++)
        assert_true (ids[i] > ids[i - 1]);
    assert_int_equal (timers_next (timers), 10);
    timer_entry_t entry;
    assert_false (timers_pop (timers, 9, &entry));
    const uint64_t expected[] = {1, 3, 4, 0, 2};
    for (int i = 0; i < 5; i++) {
        assert_true (timers_pop (timers, 50, &entry));
        assert_int_equal (entry.data, expected[i]);
        assert_int_equal (entry.at_ns, at[expected[i]]);
        assert_ptr_equal (entry.owner, &owner);
        assert_int_equal (entry.tag, 7);
    }
    assert_false (timers_pop (timers, INT64_MAX, &entry));
    assert_int_equal (list.first, 0);
    timers_destroy (&timers);
}

static void test_cancel (void **state)
{
    (void)state;
    timers_t *timers = timers_new ();
    timer_list_t list = {0};
    int owner, other;
    uint64_t first = timers_add (timers, 1, &owner, &list, 0, 1);
    uint64_t second = timers_add (timers, 2, &owner, &list, 0, 2);
    assert_false (timers_cancel (timers, &other, first)); /* not the other's */
    assert_true (timers_cancel (timers, &owner, first));
    assert_false (timers_cancel (timers, &owner, first));
    /* The slot is used again; the old id stays dead. */
    uint64_t third = timers_add (timers, 3, &owner, &list, 0, 3);
    assert_false (timers_cancel (timers, &owner, first));
    assert_false (timers_cancel (timers, &owner, 0));
    assert_false (timers_cancel (timers, &owner, UINT64_MAX));
    assert_int_equal (timers_count (timers), 2);
    timer_entry_t entry;
    assert_true (timers_pop (timers, 10, &entry));
    assert_int_equal (entry.id, second);
    assert_true (timers_pop (timers, 10, &entry));
    assert_int_equal (entry.id, third);
    timers_destroy (&timers);
}

/*  Against a plain list: random additions, cancellations, drops and pops. */
#define MODEL 300
typedef struct {
    uint64_t id;
    int64_t at;
    int owner;
} model_t;

static size_t first_of (const model_t *model, size_t count)
{
    size_t first = 0;
    for (size_t i = 1; i < count; i++)
        if (model[i].at < model[first].at ||
            (model[i].at == model[first].at && model[i].id < model[first].id))
            first = i;
    return first;
}

static void test_against_model (void **state)
{
    (void)state;
    random_t random;
    random_seed (&random, 42);
    timers_t *timers = timers_new ();
    int owners[3];
    timer_list_t lists[3] = {0};
    model_t model[MODEL];
    size_t count = 0;
    for (int step = 0; step < 20000; step++) {
        uint64_t what = random_below (&random, 100);
        if (what < 50 && count < MODEL) {
            int owner = (int)random_below (&random, 3);
            int64_t at = (int64_t)random_below (&random, 50);
            uint64_t id = timers_add (timers, at, &owners[owner], &lists[owner], 0, 0);
            model[count++] = (model_t){id, at, owner};
        } else if (what < 70 && count) {
            size_t i = random_below (&random, count);
            assert_true (timers_cancel (timers, &owners[model[i].owner], model[i].id));
            model[i] = model[--count];
        } else if (what < 98 && count) {
            size_t i = first_of (model, count);
            timer_entry_t entry;
            assert_int_equal (timers_next (timers), model[i].at);
            assert_true (timers_pop (timers, model[i].at, &entry));
            assert_int_equal (entry.id, model[i].id);
            model[i] = model[--count];
        } else if (what >= 98) {
            int owner = (int)random_below (&random, 3);
            timer_entry_t entry;
            while (timers_drop (timers, &lists[owner], &entry))
                assert_ptr_equal (entry.owner, &owners[owner]);
            for (size_t i = count; i-- > 0;)
                if (model[i].owner == owner)
                    model[i] = model[--count];
        }
        assert_int_equal (timers_count (timers), count);
    }
    timers_destroy (&timers);
}

static void test_pending (void **state)
{
    (void)state;
    pending_t *pending = pending_new (UINT64_MAX - 1); /* wraps past zero */
    address_t to = address_local ("raft", 2);
    int owner, other;
    uint64_t ids[100];
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t next = pending_next (pending);
        ids[i] = pending_add (pending, &owner, 1000 + i, &to, i);
        assert_int_equal (ids[i], next);
        assert_true (ids[i] != 0);
    }
    pending_entry_t entry;
    assert_false (pending_take (pending, &other, ids[5], &entry));
    assert_false (pending_take (pending, &owner, 0, &entry));
    assert_false (pending_take (pending, &owner, ids[99] + 1, &entry));
    /* In an order that leaves gaps in the middle of probe chains. */
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t k = i * 37 % 100;
        assert_true (pending_take (pending, &owner, ids[k], &entry));
        assert_int_equal (entry.timer, 1000 + k);
        assert_int_equal (entry.trace, k);
        assert_true (address_equal (&entry.to, &to));
        assert_false (pending_take (pending, &owner, ids[k], &entry));
        assert_int_equal (pending_count (pending), 99 - i);
    }
    pending_destroy (&pending);
}

static void test_random (void **state)
{
    (void)state;
    random_t a, b, c;
    random_seed (&a, 1);
    random_seed (&b, 1);
    random_seed (&c, 2);
    unsigned differ = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = random_next (&a);
        assert_int_equal (x, random_next (&b));
        differ += x != random_next (&c);
    }
    assert_true (differ > 990);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++)
        seen[random_below (&a, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range (seen[i], 800, 1200);
    for (int i = 0; i < 1000; i++) {
        double real = random_real (&a);
        assert_true (real >= 0 && real < 1);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_order),         cmocka_unit_test (test_cancel),
        cmocka_unit_test (test_against_model), cmocka_unit_test (test_pending),
        cmocka_unit_test (test_random),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
