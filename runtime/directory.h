/*  directory - a node's actors: name and instance -> mailbox, and who watches whom

    Thread-safe. Looking up takes a shared lock; shells keep a small cache of
    their own in front of it.
*/
#pragma once

#include "runtime/mailbox.h"

typedef struct directory directory_t;

directory_t *directory_new (void);
void directory_destroy (directory_t **self_p);

/*  Adds the mailbox under its address; -1 if that is taken or memory is out. */
int directory_add (directory_t *self, mailbox_t *mailbox, nexus_error_t *error);
/*  Removes it if it is the one that is registered. Its watchers go to *ret_watchers
    (NULL if there are none): the caller releases each, and frees the list. */
bool directory_remove (directory_t *self, mailbox_t *mailbox, mailbox_t ***ret_watchers,
                       size_t *ret_count);
/*  A new reference, or NULL. Only the name and the instance count. */
mailbox_t *directory_find (directory_t *self, const address_t *address);

/*  False if there is no such actor. Watching twice is watching once. A watcher is a
    mailbox, not a name: who watched before a restart is not told after it. */
bool directory_watch (directory_t *self, const address_t *target, mailbox_t *watcher);
void directory_unwatch (directory_t *self, const address_t *target, const mailbox_t *watcher);

/*  Of the name and the instance; the node is left out. */
uint64_t directory_hash (const address_t *address);
bool directory_same (const address_t *a, const address_t *b);
