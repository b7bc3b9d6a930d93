/*  confchange_test - etcd's rules in a table, and what no sequence of changes may break */
#include "actors/election/confchange.h"
#include "actors/election/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  ---- configurations as text: "1 2 3 & 1 2 | 4 > 5 auto" ----------------------

    voters & outgoing voters | learners > learners-next, and "auto" for auto-leave. */

static raft_conf_state_t s_conf (const char *text)
{
    raft_conf_state_t conf = {0};
    quorum_set_t *set = &conf.voters;
    for (const char *at = text; *at; at++) {
        if (*at == '&')
            set = &conf.voters_outgoing;
        else if (*at == '|')
            set = &conf.learners;
        else if (*at == '>')
            set = &conf.learners_next;
        else if (*at == 'a') {
            conf.auto_leave = true;
            break;
        } else if (*at >= '1' && *at <= '9')
            assert_true (quorum_set_add (set, (uint64_t)(*at - '0')));
    }
    return conf;
}

static void s_text_set (const quorum_set_t *set, const char *before, char *out)
{
    if (set->count == 0)
        return;
    strcat (out, before);
    for (uint64_t id = 1; id <= 9; id++)
        if (quorum_set_has (set, id))
            snprintf (out + strlen (out), 4, "%s%d", out[strlen (out) - 1] == ' ' ? "" : " ",
                      (int)id);
}

static const char *s_text (const raft_conf_state_t *conf)
{
    static char out[200];
    out[0] = ' ';
    out[1] = 0;
    s_text_set (&conf->voters, "", out);
    s_text_set (&conf->voters_outgoing, " & ", out);
    s_text_set (&conf->learners, " | ", out);
    s_text_set (&conf->learners_next, " > ", out);
    strcat (out, conf->auto_leave ? " auto" : "");
    return out + 1;
}

/*  Operations: "v4" voter, "l4" learner, "r4" remove. */
static size_t s_ops (const char *text, confchange_op_t *ops)
{
    size_t count = 0;
    for (const char *at = text; *at; at++) {
        if (*at == ' ')
            continue;
        ops[count++] = (confchange_op_t){.kind = *at == 'v'   ? CONFCHANGE_ADD_VOTER
                                                 : *at == 'l' ? CONFCHANGE_ADD_LEARNER
                                                              : CONFCHANGE_REMOVE,
                                         .id = (uint64_t)(at[1] - '0')};
        at++;
    }
    return count;
}

typedef enum { SIMPLE, ENTER, ENTER_AUTO, LEAVE } how_t;

static const struct {
    const char *before;
    how_t how;
    const char *ops;
    const char *after; /* or NULL: refused */
    const char *reason;
} cases[] = {
    /* Simple: one voter at most, learners as they like. */
    {"1", SIMPLE, "v2", "1 2", NULL},
    {"1", SIMPLE, "l2", "1 | 2", NULL},
    {"1", SIMPLE, "l2 l3 l4", "1 | 2 3 4", NULL},
    {"1 | 2", SIMPLE, "v2", "1 2", NULL},
    {"1 2", SIMPLE, "l2", "1 | 2", NULL},
    {"1 2 3", SIMPLE, "r3", "1 2", NULL},
    {"1 | 2", SIMPLE, "r2", "1", NULL},
    {"1 2 | 3", SIMPLE, "v3 l4 l5", "1 2 3 | 4 5", NULL},
    {"1 2 3", SIMPLE, "", "1 2 3", NULL},
    {"1 2 3", SIMPLE, "v3", "1 2 3", NULL}, /* fulfilled already */
    {"1 2 3", SIMPLE, "r9", "1 2 3", NULL}, /* the same */
    {"1 2 3 | 4", SIMPLE, "l4", "1 2 3 | 4", NULL},
    {"1 2 3", SIMPLE, "v4 r4", "1 2 3", NULL}, /* in their order */
    {"1 2 3", SIMPLE, "r4 v4", "1 2 3 4", NULL},
    {"1 2 3", SIMPLE, "v4 v5", NULL, "more than one voter would change"},
    {"1 2 3", SIMPLE, "v4 r3", NULL, "more than one voter would change"},
    {"1 2 3", SIMPLE, "r2 r3", NULL, "more than one voter would change"},
    {"1 2 3", SIMPLE, "l2 l3", NULL, "more than one voter would change"},
    {"1", SIMPLE, "r1", NULL, "no voter would be left"},
    {"1", SIMPLE, "l1", NULL, "no voter would be left"},
    {"1 | 2", SIMPLE, "r1", NULL, "no voter would be left"},
    {"1 2 & 1", SIMPLE, "v3", NULL, "has to be left first"},
    {"1 2 & 1 auto", SIMPLE, "l3", NULL, "has to be left first"},
    {"1", SIMPLE, "v0", NULL, "a member with id 0"},
    /* Into a joint configuration: anything. */
    {"1", ENTER, "", "1 & 1", NULL},
    {"1", ENTER_AUTO, "", "1 & 1 auto", NULL},
    {"1", ENTER, "v2 v3", "1 2 3 & 1", NULL},
    {"1", ENTER_AUTO, "v2 v3", "1 2 3 & 1 auto", NULL},
    {"1 2 3", ENTER, "r1 r2 r3 v4 v5 v6", "4 5 6 & 1 2 3", NULL},
    {"1 2 3", ENTER, "r1 v4 l5", "2 3 4 & 1 2 3 | 5", NULL},
    {"1 2 3", ENTER, "l3", "1 2 & 1 2 3 > 3", NULL}, /* it still votes */
    {"1 2 3", ENTER, "l2 l3 v4", "1 4 & 1 2 3 > 2 3", NULL},
    {"1 2 3", ENTER, "l3 r3", "1 2 & 1 2 3", NULL},
    {"1 2 3", ENTER, "l3 v3", "1 2 3 & 1 2 3", NULL},
    {"1 2 3 | 4", ENTER, "l3 v4", "1 2 4 & 1 2 3 > 3", NULL},
    {"1 2 3 | 4", ENTER, "r4 v5", "1 2 3 5 & 1 2 3", NULL},
    {"1 | 2", ENTER, "v2 r1", "2 & 1", NULL},
    {"1 2", ENTER, "r1 r2", NULL, "no voter would be left"},
    {"1 2", ENTER, "l1 l2", NULL, "no voter would be left"},
    {"1 2 & 1", ENTER, "v3", NULL, "in force already"},
    {"1 2 & 1 auto", ENTER_AUTO, "v3", NULL, "in force already"},
    {"1", ENTER, "l0", NULL, "a member with id 0"},
    /* Out of it. */
    {"1 & 1", LEAVE, "", "1", NULL},
    {"1 2 3 & 1 auto", LEAVE, "", "1 2 3", NULL},
    {"4 5 6 & 1 2 3", LEAVE, "", "4 5 6", NULL},
    {"1 2 & 1 2 3 > 3", LEAVE, "", "1 2 | 3", NULL},
    {"1 4 & 1 2 3 | 5 > 2 3 auto", LEAVE, "", "1 4 | 2 3 5", NULL},
    {"1 2", LEAVE, "", NULL, "no joint configuration is in force"},
};

static void test_table (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof (cases) / sizeof (cases[0]); i++) {
        confchange_op_t ops[9];
        size_t count = s_ops (cases[i].ops, ops);
        raft_conf_state_t before = s_conf (cases[i].before), after = s_conf ("9");
        const char *wrong = NULL;
        assert_null (tracker_conf_check (&before));
        if (cases[i].how == SIMPLE)
            wrong = confchange_simple (&before, ops, count, &after);
        else if (cases[i].how == LEAVE)
            wrong = confchange_leave_joint (&before, &after);
        else
            wrong =
                confchange_enter_joint (&before, cases[i].how == ENTER_AUTO, ops, count, &after);
        if (cases[i].after) {
            if (wrong || strcmp (s_text (&after), cases[i].after))
                fail_msg ("case %zu: %s, %s: %s instead of %s", i, cases[i].before, cases[i].ops,
                          wrong ? wrong : s_text (&after), cases[i].after);
        } else {
            if (!wrong || !strstr (wrong, cases[i].reason))
                fail_msg ("case %zu: %s, %s: \"%s\" instead of \"%s\"", i, cases[i].before,
                          cases[i].ops, wrong ? wrong : "done", cases[i].reason);
            assert_string_equal (s_text (&after), "9"); /* a refusal changes nothing */
        }
    }
}

static void test_transitions (void **state)
{
    (void)state;
    raft_conf_state_t conf = s_conf ("1 2 3"), after;
    confchange_op_t ops[2] = {{CONFCHANGE_ADD_VOTER, 4}, {CONFCHANGE_REMOVE, 1}};
    assert_null (confchange (&conf, CONFCHANGE_AUTO, ops, 1, &after));
    assert_string_equal (s_text (&after), "1 2 3 4");
    assert_null (confchange (&conf, CONFCHANGE_AUTO, ops, 2, &after));
    assert_string_equal (s_text (&after), "2 3 4 & 1 2 3 auto");
    assert_null (confchange (&conf, CONFCHANGE_JOINT, ops, 1, &after));
    assert_string_equal (s_text (&after), "1 2 3 4 & 1 2 3 auto");
    assert_null (confchange (&conf, CONFCHANGE_JOINT_EXPLICIT, ops, 2, &after));
    assert_string_equal (s_text (&after), "2 3 4 & 1 2 3");
    assert_true (confchange_joint (&after) && !confchange_joint (&conf));
    raft_conf_state_t left;
    assert_null (confchange (&after, CONFCHANGE_AUTO, NULL, 0, &left));
    assert_string_equal (s_text (&left), "2 3 4");
    assert_non_null (confchange (&conf, CONFCHANGE_AUTO, NULL, 0, &left));
    assert_true (confchange_equal (&left, &left) && !confchange_equal (&left, &after));
}

static void test_limit (void **state)
{
    (void)state;
    raft_conf_state_t conf = {0}, after;
    for (uint64_t id = 1; id <= QUORUM_MEMBERS_MAX; id++)
        quorum_set_add (&conf.voters, id);
    confchange_op_t op = {CONFCHANGE_ADD_VOTER, 100};
    assert_string_equal (confchange_simple (&conf, &op, 1, &after), "too many members");
    for (uint64_t id = 1; id < QUORUM_MEMBERS_MAX; id++)
        quorum_set_add (&conf.learners, 200 + id);
    /* One place is left among the learners, but two are to be there when it is over. */
    confchange_op_t two[] = {{CONFCHANGE_ADD_LEARNER, 1}, {CONFCHANGE_ADD_LEARNER, 2}};
    assert_string_equal (confchange_enter_joint (&conf, true, two, 2, &after), "too many members");
    assert_null (confchange_enter_joint (&conf, true, two, 1, &after));
    assert_null (confchange_leave_joint (&after, &after));
    assert_int_equal (after.learners.count, QUORUM_MEMBERS_MAX);
}

/*  ---- quick check ------------------------------------------------------------- */

static uint64_t s_seed;

static uint64_t s_random (uint64_t below)
{
    s_seed = s_seed * UINT64_C (6364136223846793005) + UINT64_C (1442695040888963407);
    return (s_seed >> 33) % below;
}

static int s_votes (uint64_t id, void *context)
{
    return *(unsigned *)context >> id & 1 ? 1 : -1;
}

/*  Do the nodes of this set decide? */
static bool s_decides (const raft_conf_state_t *conf, unsigned set)
{
    return quorum_joint_voted (&conf->voters, &conf->voters_outgoing, s_votes, &set) == QUORUM_WON;
}

/*  Two disjoint sets of nodes never decide, one under each configuration. It is enough to look at
    each set and all the others: what a set can decide, a larger one can as well. */
static void s_check_intersect (const raft_conf_state_t *a, const raft_conf_state_t *b)
{
    for (unsigned set = 0; set < 1u << 9; set++)
        if (s_decides (a, set) && s_decides (b, ~set)) {
            char text[200];
            strcpy (text, s_text (a));
            fail_msg ("%s and %s decide apart (set %x)", text, s_text (b), set);
        }
}

static void s_check_whole (const raft_conf_state_t *conf)
{
    assert_null (tracker_conf_check (conf));
    for (uint32_t i = 0; i < conf->learners_next.count; i++)
        assert_false (quorum_set_has (&conf->voters, conf->learners_next.ids[i]));
    if (!confchange_joint (conf))
        assert_true (conf->learners_next.count == 0 && !conf->auto_leave);
}

/*  The same change, done simply and through a joint configuration, ends the same. */
static void s_check_same_end (const raft_conf_state_t *before, const confchange_op_t *ops,
                              size_t count)
{
    raft_conf_state_t simple, joint;
    if (confchange_simple (before, ops, count, &simple))
        return;
    assert_null (confchange_enter_joint (before, true, ops, count, &joint));
    assert_null (confchange_leave_joint (&joint, &joint));
    assert_true (confchange_equal (&simple, &joint));
}

static void test_quick_check (void **state)
{
    (void)state;
    size_t changed = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        s_seed = seed;
        raft_conf_state_t conf = {0};
        for (uint64_t id = 1; id <= 1 + seed % 5; id++)
            quorum_set_add (&conf.voters, id);
        for (int step = 0; step < 60; step++) {
            confchange_op_t ops[4];
            size_t count = s_random (5);
            for (size_t i = 0; i < count; i++)
                ops[i] = (confchange_op_t){(confchange_kind_t)s_random (3), 1 + s_random (8)};
            raft_conf_state_t after = conf, kept = conf;
            if (!confchange_joint (&conf))
                s_check_same_end (&conf, ops, count);
            if (confchange (&conf, (confchange_transition_t)s_random (3), ops, count, &after)) {
                assert_memory_equal (&after, &kept, sizeof (after));
                refused++;
                continue;
            }
            s_check_whole (&after);
            s_check_intersect (&conf, &after);
            conf = after;
            changed++;
        }
    }
    printf ("%zu changes, %zu refusals\n", changed, refused);
    assert_true (changed > 10000 && refused > 10000); /* both were tried */
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_table),
        cmocka_unit_test (test_transitions),
        cmocka_unit_test (test_limit),
        cmocka_unit_test (test_quick_check),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
