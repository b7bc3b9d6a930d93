/*  confchange - from one configuration of a Raft group to the next

    Pure arithmetic over configurations, with etcd's rules (raft/confchange). A
    change takes effect on a node when its entry is applied there, so for a while
    two configurations decide side by side. That is safe if each majority of the
    one shares a member with each majority of the other:

    - simple: at most one voter comes or goes (thesis 4.1); any number of learners;
    - joint: any change, in two steps (thesis 4.3). In between, decisions need a
      majority of the incoming voters and one of the outgoing ones.

    A voter that becomes a learner in a joint change goes on voting with the
    outgoing half until that is left: it stands in learners_next meanwhile.
*/
#pragma once

#include "actors/election/raft_types.h"

typedef enum {
    CONFCHANGE_ADD_VOTER,   /* also makes a voter of a learner */
    CONFCHANGE_ADD_LEARNER, /* also makes a learner of a voter */
    CONFCHANGE_REMOVE
} confchange_kind_t;

typedef struct {
    confchange_kind_t kind;
    uint64_t id;
} confchange_op_t;

typedef enum {
    CONFCHANGE_AUTO,          /* simple if it is one operation, otherwise joint and left alone */
    CONFCHANGE_JOINT,         /* joint; left as soon as it is in force (auto-leave) */
    CONFCHANGE_JOINT_EXPLICIT /* joint; left by a change of its own */
} confchange_transition_t;

/*  All of them return NULL and fill *ret_after, or a constant text that says why not and leave
    *ret_after alone. before must be a configuration that tracker_conf_check accepts.

    Operations are done in their order. One that is fulfilled already (a voter that is one, a
    node to be removed that isn't there) changes nothing and is no error: a change may be
    proposed twice. */

/*  One voter more or less, at most; before must not be joint. */
const char *confchange_simple (const raft_conf_state_t *before, const confchange_op_t *ops,
                               size_t count, raft_conf_state_t *ret_after);

/*  Into a joint configuration; before must not be one. */
const char *confchange_enter_joint (const raft_conf_state_t *before, bool auto_leave,
                                    const confchange_op_t *ops, size_t count,
                                    raft_conf_state_t *ret_after);

/*  Out of it: the incoming voters remain, and learners_next become learners. */
const char *confchange_leave_joint (const raft_conf_state_t *before, raft_conf_state_t *ret_after);

/*  The way that the transition asks for; no operations: leaves a joint configuration. */
const char *confchange (const raft_conf_state_t *before, confchange_transition_t transition,
                        const confchange_op_t *ops, size_t count, raft_conf_state_t *ret_after);

/*  In force are two sets of voters. */
bool confchange_joint (const raft_conf_state_t *conf);
/*  The same members in the same parts, in whatever order. */
bool confchange_equal (const raft_conf_state_t *a, const raft_conf_state_t *b);
