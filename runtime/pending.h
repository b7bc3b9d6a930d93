/*  pending - requests that wait for their reply

    A table from correlation to who asked, whom, and the timer of its deadline.
    The deadline itself is a timer (timers.h) whose data is the correlation.
    Used by the production shell and by the simulator. Belongs to one thread.
*/
#pragma once

#include "runtime/message.h"

typedef struct pending pending_t;

typedef struct {
    uint64_t correlation;
    void *owner;
    uint64_t timer;
    address_t to;
    uint64_t trace;
} pending_entry_t;

/*  Correlations count up from first; production draws it at random, so that a
    reply meant for an earlier incarnation finds nothing. */
pending_t *pending_new (uint64_t first);
void pending_destroy (pending_t **self_p);

/*  The correlation that the next pending_add will use; never 0. */
uint64_t pending_next (pending_t *self);
/*  Returns the correlation. */
uint64_t pending_add (pending_t *self, void *owner, uint64_t timer, const address_t *to,
                      uint64_t trace);
/*  Owner's request, to look at; NULL if it is not (or no longer) there. */
const pending_entry_t *pending_find (const pending_t *self, const void *owner,
                                     uint64_t correlation);
/*  Takes owner's request out of the table; false if it is not (or no longer) there. */
bool pending_take (pending_t *self, const void *owner, uint64_t correlation,
                   pending_entry_t *ret_entry);
size_t pending_count (const pending_t *self);
