/*  quorum - what a majority, or two of them at once, has agreed on

    Pure arithmetic over sets of voters. A configuration has one set of voters,
    and a second, outgoing one while it changes (joint consensus, Raft thesis
    4.3): then every decision needs a majority of both. An empty set agrees with
    everything, so "no outgoing voters" needs no special case.
*/
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*  A cluster of masters is small; a limit keeps every loop and copy bounded. */
#define QUORUM_MEMBERS_MAX 32

typedef struct {
    uint32_t count;
    uint64_t ids[QUORUM_MEMBERS_MAX];
} quorum_set_t;

typedef enum { QUORUM_PENDING, QUORUM_WON, QUORUM_LOST } quorum_result_t;

/*  What a voter has acknowledged: an index, a round, a time. 0 is nothing yet. */
typedef uint64_t (quorum_acked_fn) (uint64_t id, void *context);

/*  How a voter voted: > 0 yes, < 0 no, 0 not yet. */
typedef int (quorum_voted_fn) (uint64_t id, void *context);

bool quorum_set_has (const quorum_set_t *set, uint64_t id);

/*  Adds id unless it is there. False when the set is full. */
bool quorum_set_add (quorum_set_t *set, uint64_t id);

/*  Removes id if it is there. */
void quorum_set_remove (quorum_set_t *set, uint64_t id);

/*  The largest value that a majority of the set has reached; UINT64_MAX for an empty set. */
uint64_t quorum_majority_acked (const quorum_set_t *set, quorum_acked_fn *acked, void *context);

/*  The largest value that a majority of both sets has reached. */
uint64_t quorum_joint_acked (const quorum_set_t *incoming, const quorum_set_t *outgoing,
                             quorum_acked_fn *acked, void *context);

/*  Won when a majority said yes, lost when it no longer can; an empty set is won. */
quorum_result_t quorum_majority_voted (const quorum_set_t *set, quorum_voted_fn *voted,
                                       void *context);

/*  Won when both are won, lost when either is lost. */
quorum_result_t quorum_joint_voted (const quorum_set_t *incoming, const quorum_set_t *outgoing,
                                    quorum_voted_fn *voted, void *context);
