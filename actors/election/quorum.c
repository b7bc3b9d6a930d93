/*  quorum - majorities and joint majorities */
#include "actors/election/quorum.h"

#include <assert.h>

bool quorum_set_has (const quorum_set_t *set, uint64_t id)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->ids[i] == id)
            return true;
    return false;
}

bool quorum_set_add (quorum_set_t *set, uint64_t id)
{
    if (quorum_set_has (set, id))
        return true;
    if (set->count == QUORUM_MEMBERS_MAX)
        return false;
    set->ids[set->count++] = id;
    return true;
}

void quorum_set_remove (quorum_set_t *set, uint64_t id)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->ids[i] == id) {
            for (uint32_t j = i + 1; j < set->count; j++)
                set->ids[j - 1] = set->ids[j];
            set->count--;
            return;
        }
}

uint64_t quorum_majority_acked (const quorum_set_t *set, quorum_acked_fn *acked, void *context)
{
    assert (set->count <= QUORUM_MEMBERS_MAX);
    if (set->count == 0)
        return UINT64_MAX;
    uint64_t values[QUORUM_MEMBERS_MAX];
    for (uint32_t i = 0; i < set->count; i++) { /* insertion sort, descending */
        uint64_t value = acked (set->ids[i], context);
        uint32_t at = i;
        for (; at > 0 && values[at - 1] < value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
    /* Of n values in descending order, the first n/2 + 1 are a majority; its smallest counts. */
    return values[set->count / 2];
}

uint64_t quorum_joint_acked (const quorum_set_t *incoming, const quorum_set_t *outgoing,
                             quorum_acked_fn *acked, void *context)
{
    uint64_t in = quorum_majority_acked (incoming, acked, context);
    uint64_t out = quorum_majority_acked (outgoing, acked, context);
    return in < out ? in : out;
}

quorum_result_t quorum_majority_voted (const quorum_set_t *set, quorum_voted_fn *voted,
                                       void *context)
{
    assert (set->count <= QUORUM_MEMBERS_MAX);
    if (set->count == 0)
        return QUORUM_WON;
    uint32_t yes = 0, missing = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        int vote = voted (set->ids[i], context);
        yes += vote > 0;
        missing += vote == 0;
    }
    uint32_t needed = set->count / 2 + 1;
    if (yes >= needed)
        return QUORUM_WON;
    return yes + missing >= needed ? QUORUM_PENDING : QUORUM_LOST;
}

quorum_result_t quorum_joint_voted (const quorum_set_t *incoming, const quorum_set_t *outgoing,
                                    quorum_voted_fn *voted, void *context)
{
    quorum_result_t in = quorum_majority_voted (incoming, voted, context);
    quorum_result_t out = quorum_majority_voted (outgoing, voted, context);
    if (in == QUORUM_LOST || out == QUORUM_LOST)
        return QUORUM_LOST;
    return in == QUORUM_WON && out == QUORUM_WON ? QUORUM_WON : QUORUM_PENDING;
}
