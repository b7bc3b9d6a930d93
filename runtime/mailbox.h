/*  mailbox - an actor's two bounded lanes; inbox - where its thread sleeps

    Any thread pushes, without a lock; one thread (the host's) pops. A lane is a
    stack that producers push on by compare-and-swap and that the consumer takes
    whole and reverses: order per producer is kept, and a burst costs the
    consumer one atomic operation.

    Control lane: popped first. Its limit is only there to stop a runaway. Data
    lane (kinds with RECORD_DATA_LANE): bounded in messages and bytes; what is
    handed out by mailbox_pop counts until the consumer's next mailbox_idle.

    A mailbox that gets its first message puts itself into its host's inbox, and
    writes the inbox's eventfd only if that host sleeps: one wake-up a burst.

    Reference-counted: a producer may hold a mailbox whose actor has ended; its
    pushes are then refused.
*/
#pragma once

#include "runtime/message.h"

typedef struct inbox inbox_t;
typedef struct mailbox mailbox_t;

/*  ---- inbox: the consumer's side ----------------------------------------- */

/*  NULL with an error if there is no descriptor left. */
inbox_t *inbox_new (nexus_error_t *error);
/*  Refuses everything from now on and drops the consumer's reference. */
void inbox_close (inbox_t **self_p);
/*  Becomes readable when something arrives while the consumer sleeps. */
int inbox_fd (const inbox_t *self);

/*  Takes all mailboxes that have got messages, oldest first, linked by
    mailbox_next; the caller owns a reference on each. NULL: none. */
mailbox_t *inbox_take (inbox_t *self);
/*  True if inbox_take would find something. */
bool inbox_waiting (const inbox_t *self);
/*  True: nothing is waiting, and what arrives from now on writes the eventfd. */
bool inbox_sleep (inbox_t *self);
/*  After a sleep; readable says whether poll found the eventfd readable. (It is read
    before the next sleep.) */
void inbox_wake (inbox_t *self, bool readable);

/*  ---- mailbox ------------------------------------------------------------ */

typedef enum { MAILBOX_PUSHED, MAILBOX_FULL, MAILBOX_CLOSED } mailbox_result_t;

/*  Limits of the data lane; 0: 65,536 messages, 256 MiB. owner is the consumer's.
    NULL: out of memory. */
mailbox_t *mailbox_new (inbox_t *inbox, const address_t *address, size_t count_max,
                        size_t bytes_max, void *owner);
mailbox_t *mailbox_retain (mailbox_t *self);
void mailbox_release (mailbox_t **self_p);
const address_t *mailbox_address (const mailbox_t *self);
/*  Any thread: has its actor ended? */
bool mailbox_closed (const mailbox_t *self);

/*  Any thread. Takes the message over if it is pushed. */
mailbox_result_t mailbox_push (mailbox_t *self, message_t **message_p);
/*  The same without telling the consumer: mailbox_schedule must follow, unless
    mailbox_scheduled says afterwards that the consumer looks anyway. */
mailbox_result_t mailbox_put (mailbox_t *self, message_t **message_p);
bool mailbox_scheduled (const mailbox_t *self);
/*  Any thread. Puts the mailbox into its inbox, if it isn't there. */
void mailbox_schedule (mailbox_t *self);

/*  The rest is for the consumer. */

void *mailbox_owner (const mailbox_t *self);
/*  The owner has ended; mailbox_owner is NULL from now on. */
void mailbox_disown (mailbox_t *self);
/*  The next message, control before data; NULL: none. */
message_t *mailbox_pop (mailbox_t *self);
/*  The turn is over. True: nothing is left, and the next push schedules the
    mailbox again. False: it counts as scheduled, give it another turn. */
bool mailbox_idle (mailbox_t *self);
/*  Marks the mailbox as scheduled; false if it was already. */
bool mailbox_claim (mailbox_t *self);
/*  Refuses pushes from now on; mailbox_pop still yields what is there. */
void mailbox_close (mailbox_t *self);
/*  Messages in both lanes. */
size_t mailbox_depth (const mailbox_t *self);

/*  The link of inbox_take's list; the consumer may use it for its own lists. */
mailbox_t *mailbox_next (const mailbox_t *self);
void mailbox_set_next (mailbox_t *self, mailbox_t *next);
