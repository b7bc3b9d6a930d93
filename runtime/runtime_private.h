/*  runtime_private - what runtime.c and host.c share; nobody else includes it */
#pragma once

#include "runtime/dead.h"
#include "runtime/directory.h"
#include "runtime/host.h"

#include <stdatomic.h>

/*  A sending thread's own: mailboxes that it wrote to last, found again without
    the directory's lock, and messages not yet added to the metric. */
#define SENDER_SLOTS 64
#define SENDER_LATER 8
typedef struct {
    runtime_t *runtime;
    mailbox_t *slots[SENDER_SLOTS];
    mailbox_t *later[SENDER_LATER]; /* have messages that their hosts don't know of yet */
    unsigned later_count;
    unsigned later_messages;
    uint64_t messages;
} sender_t;

void sender_init (sender_t *self, runtime_t *runtime);
/*  Tells the hosts of what was sent. A callback's messages go out together when it
    ends (or every 256 messages): a host that is woken by the first of many would
    take the CPU from their sender, find one, and fall asleep again. */
void sender_wake (sender_t *self);
/*  Adds the messages to the metric. */
void sender_flush (sender_t *self);
void sender_close (sender_t *self);
/*  Makes it the calling thread's, so that runtime_send finds it; NULL: none. */
void sender_enter (sender_t *self);

/*  Delivers or makes a dead letter of it; sender may be NULL. */
void runtime_post (runtime_t *self, sender_t *sender, message_t **message_p);
void runtime_dead (runtime_t *self, message_t **message_p, dead_reason_t reason);
/*  Tells watcher that an actor has ended. */
void runtime_down (mailbox_t *watcher, const address_t *ended, bool failed, const char *reason);
/*  Takes an actor out of the directory and tells its watchers. */
void runtime_leave (runtime_t *self, mailbox_t *mailbox, bool failed, const char *reason);

directory_t *runtime_directory (runtime_t *self);
const record_key_t *runtime_key (const runtime_t *self);
bool runtime_is_local (const runtime_t *self, const address_t *address);
/*  Whether from is on the node that was asked, or on ours: another node's answer is none, however
    well it guesses the correlation. */
bool runtime_may_answer (const runtime_t *self, const address_t *asked, const address_t *from);

/*  Hosts that run. */
void runtime_host_began (runtime_t *self);
void runtime_host_ended (runtime_t *self);
/*  How many there are in this process. */
int runtime_hosts (void);

/*  A host whose thread did not end in time is kept here until the runtime's own
    end; if it still has not ended then, the runtime stays behind with it. */
typedef struct host host_t;
void runtime_abandon (runtime_t *self, host_t *host, zactor_t *zactor);
/*  Frees both if the thread has ended; says whether it has. */
bool host_collect (host_t *self, zactor_t *zactor);
