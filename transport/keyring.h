/*  keyring - which keys are let in, as what, until when

    The ZAP actor asks it at each handshake and the links ask it about each
    frame, so that a key that is taken out is deaf and dumb at once, whatever
    connections it still holds. Tables are kept apart by ZAP domain (a worker's
    masters, a worker's own tasks). Thread-safe; shared by reference count.
*/
#pragma once

#include "runtime/message.h"

typedef struct keyring keyring_t;

#define KEYRING_DOMAIN_MAX  32    /* bytes of a domain's name, its end included */
#define KEYRING_ENTRIES_MAX 65536 /* a domain */

typedef struct {
    record_key_t key;
    role_t role;
    char name[64];
    int64_t not_after_ms; /* wall clock, since 1970; 0: no end */
} keyring_entry_t;

keyring_t *keyring_new (void);
keyring_t *keyring_retain (keyring_t *self);
void keyring_release (keyring_t **self_p);

/*  Makes these the keys of the domain, all at once. -1 if there are too many keys
    (KEYRING_ENTRIES_MAX) or domains (16); then nothing has changed. */
int keyring_replace (keyring_t *self, const char *domain, const keyring_entry_t *entries,
                     size_t count, nexus_error_t *error);
/*  Adds one, or changes it. */
int keyring_allow (keyring_t *self, const char *domain, const keyring_entry_t *entry,
                   nexus_error_t *error);
/*  False if it was not there. */
bool keyring_forget (keyring_t *self, const char *domain, const record_key_t *key);

/*  False if the key is unknown there or its time is over; then *ret_entry is untouched. */
bool keyring_find (keyring_t *self, const char *domain, const record_key_t *key, int64_t wall_ms,
                   keyring_entry_t *ret_entry);
/*  Grows with each change: who keeps what keyring_find said compares this first. */
uint64_t keyring_generation (const keyring_t *self);
