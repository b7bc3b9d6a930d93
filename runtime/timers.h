/*  timers - what is due when, in one deterministic order

    A binary heap, ordered by time and then by id; ids grow with every timer, so
    timers of one instant expire in the order they were set. Used by the
    production shell and by the simulator. Belongs to one thread.

    Every timer belongs to an owner's list, so that an owner that ends can drop
    its timers without a search.
*/
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct timers timers_t;

/*  An owner's timers; zero it before use. */
typedef struct {
    uint32_t first; /* slot + 1; 0: none */
} timer_list_t;

typedef struct {
    uint64_t id; /* never 0 */
    int64_t at_ns;
    void *owner;
    int tag; /* the caller's: what kind of timer this is */
    uint64_t data;
} timer_entry_t;

/*  Out of memory ends the process with a message, here as in message_new. */
timers_t *timers_new (void);
void timers_destroy (timers_t **self_p);

/*  Returns the timer's id. list belongs to owner and must outlive its timers. */
uint64_t timers_add (timers_t *self, int64_t at_ns, void *owner, timer_list_t *list, int tag,
                     uint64_t data);
/*  Removes the timer if it is owner's and has not expired; says whether it was there. */
bool timers_cancel (timers_t *self, const void *owner, uint64_t id);
/*  Takes any one timer off the list; false if it is empty. */
bool timers_drop (timers_t *self, const timer_list_t *list, timer_entry_t *ret_entry);

/*  When the first timer is due; INT64_MAX: there is none. */
int64_t timers_next (const timers_t *self);
/*  Takes the first timer that is due at now_ns; false if none is. */
bool timers_pop (timers_t *self, int64_t now_ns, timer_entry_t *ret_entry);
size_t timers_count (const timers_t *self);
