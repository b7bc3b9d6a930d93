/*  quorum: tables of majorities and joint majorities */
#include "actors/election/quorum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define COUNT(array) (sizeof (array) / sizeof (array[0]))

/*  Voter n has values[n - 1]. */
static uint64_t s_acked (uint64_t id, void *context)
{
    return ((const uint64_t *)context)[id - 1];
}

static int s_voted (uint64_t id, void *context)
{
    char vote = ((const char *)context)[id - 1];
    return vote == 'y' ? 1 : vote == 'n' ? -1 : 0;
}

static void test_set (void **state)
{
    (void)state;
    quorum_set_t set = {0};
    assert_false (quorum_set_has (&set, 1));
    assert_true (quorum_set_add (&set, 1));
    assert_true (quorum_set_add (&set, 1));
    assert_int_equal (set.count, 1);
    for (uint64_t id = 2; id <= QUORUM_MEMBERS_MAX; id++)
        assert_true (quorum_set_add (&set, id));
    assert_false (quorum_set_add (&set, 1000));
    quorum_set_remove (&set, 7);
    quorum_set_remove (&set, 7);
    assert_false (quorum_set_has (&set, 7));
    assert_int_equal (set.count, QUORUM_MEMBERS_MAX - 1);
    assert_true (quorum_set_add (&set, 1000));
}

static void test_majority_acked (void **state)
{
    (void)state;
    static const struct {
        quorum_set_t set;
        uint64_t values[5];
        uint64_t expected;
    } table[] = {
        {{0}, {0}, UINT64_MAX},
        {{1, {1}}, {12}, 12},
        {{2, {1, 2}}, {12, 5}, 5},
        {{3, {1, 2, 3}}, {0, 0, 0}, 0},
        {{3, {1, 2, 3}}, {100, 101, 99}, 100},
        {{3, {3, 1, 2}}, {100, 100, 0}, 100},
        {{3, {1, 2, 3}}, {7, 0, 0}, 0},
        {{4, {1, 2, 3, 4}}, {100, 102, 101, 99}, 100},
        {{5, {1, 2, 3, 4, 5}}, {101, 104, 103, 103, 100}, 103},
    };
    for (size_t i = 0; i < COUNT (table); i++)
        assert_int_equal (quorum_majority_acked (&table[i].set, s_acked, (void *)table[i].values),
                          table[i].expected);
}

static void test_joint_acked (void **state)
{
    (void)state;
    static const struct {
        quorum_set_t in, out;
        uint64_t values[6];
        uint64_t expected;
    } table[] = {
        {{3, {1, 2, 3}}, {0}, {13, 2, 5}, 5},
        {{3, {1, 2, 3}}, {3, {1, 2, 3}}, {13, 2, 5}, 5},
        {{3, {1, 2, 3}}, {3, {4, 5, 6}}, {9, 9, 9, 1, 2, 3}, 2},
        {{3, {1, 2, 3}}, {1, {4}}, {9, 9, 9, 0}, 0},
        {{2, {1, 2}}, {3, {2, 3, 4}}, {8, 6, 7, 0}, 6},
    };
    for (size_t i = 0; i < COUNT (table); i++)
        assert_int_equal (
            quorum_joint_acked (&table[i].in, &table[i].out, s_acked, (void *)table[i].values),
            table[i].expected);
}

static void test_voted (void **state)
{
    (void)state;
    static const struct {
        quorum_set_t in, out;
        const char *votes;
        quorum_result_t expected;
    } table[] = {
        {{0}, {0}, "", QUORUM_WON},
        {{1, {1}}, {0}, "?", QUORUM_PENDING},
        {{1, {1}}, {0}, "n", QUORUM_LOST},
        {{1, {1}}, {0}, "y", QUORUM_WON},
        {{2, {1, 2}}, {0}, "n?", QUORUM_LOST},
        {{2, {1, 2}}, {0}, "y?", QUORUM_PENDING},
        {{3, {1, 2, 3}}, {0}, "yn?", QUORUM_PENDING},
        {{3, {1, 2, 3}}, {0}, "yyn", QUORUM_WON},
        {{3, {1, 2, 3}}, {0}, "nn?", QUORUM_LOST},
        {{4, {1, 2, 3, 4}}, {0}, "yynn", QUORUM_LOST},
        {{5, {1, 2, 3, 4, 5}}, {0}, "yyny?", QUORUM_WON},
        {{1, {1}}, {1, {2}}, "y?", QUORUM_PENDING},
        {{1, {1}}, {1, {2}}, "yn", QUORUM_LOST},
        {{1, {1}}, {1, {2}}, "?n", QUORUM_LOST},
        {{1, {1}}, {1, {2}}, "yy", QUORUM_WON},
        {{3, {1, 2, 3}}, {3, {2, 3, 4}}, "?yy?", QUORUM_WON},
        {{3, {1, 2, 3}}, {3, {4, 5, 6}}, "yy?y??", QUORUM_PENDING},
    };
    for (size_t i = 0; i < COUNT (table); i++)
        assert_int_equal (
            quorum_joint_voted (&table[i].in, &table[i].out, s_voted, (void *)table[i].votes),
            table[i].expected);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_set),
        cmocka_unit_test (test_majority_acked),
        cmocka_unit_test (test_joint_acked),
        cmocka_unit_test (test_voted),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
