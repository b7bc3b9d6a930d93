/*  confchange - from one configuration of a Raft group to the next */
#include "actors/election/confchange.h"

#include "actors/election/tracker.h"

#include <assert.h>

static const char *const s_full = "too many members";

static const char *s_make_voter (raft_conf_state_t *conf, uint64_t id)
{
    quorum_set_remove (&conf->learners, id);
    quorum_set_remove (&conf->learners_next, id);
    return quorum_set_add (&conf->voters, id) ? NULL : s_full;
}

static const char *s_make_learner (raft_conf_state_t *conf, uint64_t id)
{
    quorum_set_remove (&conf->voters, id);
    /* Who still votes with the outgoing half can't be a learner before that is left. */
    bool votes = quorum_set_has (&conf->voters_outgoing, id);
    return quorum_set_add (votes ? &conf->learners_next : &conf->learners, id) ? NULL : s_full;
}

static void s_remove (raft_conf_state_t *conf, uint64_t id)
{
    quorum_set_remove (&conf->voters, id);
    quorum_set_remove (&conf->learners, id);
    quorum_set_remove (&conf->learners_next, id);
}

static const char *s_operate (raft_conf_state_t *conf, const confchange_op_t *op)
{
    if (op->id == 0)
        return "a member with id 0";
    switch (op->kind) {
    case CONFCHANGE_ADD_VOTER:
        return s_make_voter (conf, op->id);
    case CONFCHANGE_ADD_LEARNER:
        return s_make_learner (conf, op->id);
    case CONFCHANGE_REMOVE:
        s_remove (conf, op->id);
        return NULL;
    }
    return "an operation that is not known";
}

static const char *s_operate_all (raft_conf_state_t *conf, const confchange_op_t *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *wrong = s_operate (conf, &ops[i]);
        if (wrong)
            return wrong;
    }
    if (conf->voters.count == 0)
        return "no voter would be left";
    /* Both sets become one when the joint configuration is left. */
    if (conf->learners.count + conf->learners_next.count > QUORUM_MEMBERS_MAX)
        return s_full;
    return tracker_conf_check (conf);
}

/*  Members of a that b lacks. */
static uint32_t s_missing (const quorum_set_t *a, const quorum_set_t *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->count; i++)
        count += !quorum_set_has (b, a->ids[i]);
    return count;
}

bool confchange_joint (const raft_conf_state_t *conf)
{
    return conf->voters_outgoing.count > 0;
}

static bool s_set_equal (const quorum_set_t *a, const quorum_set_t *b)
{
    return a->count == b->count && s_missing (a, b) == 0;
}

bool confchange_equal (const raft_conf_state_t *a, const raft_conf_state_t *b)
{
    return s_set_equal (&a->voters, &b->voters) &&
           s_set_equal (&a->voters_outgoing, &b->voters_outgoing) &&
           s_set_equal (&a->learners, &b->learners) &&
           s_set_equal (&a->learners_next, &b->learners_next) && a->auto_leave == b->auto_leave;
}

const char *confchange_simple (const raft_conf_state_t *before, const confchange_op_t *ops,
                               size_t count, raft_conf_state_t *ret_after)
{
    assert (!tracker_conf_check (before));
    if (confchange_joint (before))
        return "a joint configuration is in force: it has to be left first";
    raft_conf_state_t after = *before;
    const char *wrong = s_operate_all (&after, ops, count);
    if (wrong)
        return wrong;
    /* A majority of n voters and one of n + 1 share a member; of n + 2 they need not. */
    if (s_missing (&before->voters, &after.voters) + s_missing (&after.voters, &before->voters) > 1)
        return "more than one voter would change without a joint configuration";
    *ret_after = after;
    return NULL;
}

const char *confchange_enter_joint (const raft_conf_state_t *before, bool auto_leave,
                                    const confchange_op_t *ops, size_t count,
                                    raft_conf_state_t *ret_after)
{
    assert (!tracker_conf_check (before));
    if (confchange_joint (before))
        return "a joint configuration is in force already";
    raft_conf_state_t after = *before;
    after.voters_outgoing = before->voters;
    after.auto_leave = auto_leave;
    const char *wrong = s_operate_all (&after, ops, count);
    if (!wrong)
        *ret_after = after;
    return wrong;
}

const char *confchange_leave_joint (const raft_conf_state_t *before, raft_conf_state_t *ret_after)
{
    assert (!tracker_conf_check (before));
    if (!confchange_joint (before))
        return "no joint configuration is in force";
    raft_conf_state_t after = {.voters = before->voters, .learners = before->learners};
    for (uint32_t i = 0; i < before->learners_next.count; i++)
        if (!quorum_set_add (&after.learners, before->learners_next.ids[i]))
            return s_full;
    assert (!tracker_conf_check (&after));
    *ret_after = after;
    return NULL;
}

const char *confchange (const raft_conf_state_t *before, confchange_transition_t transition,
                        const confchange_op_t *ops, size_t count, raft_conf_state_t *ret_after)
{
    if (count == 0 && transition == CONFCHANGE_AUTO)
        return confchange_leave_joint (before, ret_after);
    if (count == 1 && transition == CONFCHANGE_AUTO)
        return confchange_simple (before, ops, count, ret_after);
    bool auto_leave = transition != CONFCHANGE_JOINT_EXPLICIT;
    return confchange_enter_joint (before, auto_leave, ops, count, ret_after);
}
