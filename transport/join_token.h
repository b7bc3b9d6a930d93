/*  join_token - a short-lived right to enrol, as one line of text

    A token is a CURVE key pair of its own. The cluster keeps its public key (in
    the keyring, as ROLE_JOINER); whoever has the text connects with the pair, is
    let in, and may send nothing but the kinds that the catalog gives to joiners.
    So a leaked table of tokens lets nobody in.

    Text: "nexus-join-" + base64url (version 1, secret key 32, root public key 32,
    masters: count 1, each: public key 32, size 1, endpoint; checksum 4). The checksum
    (first bytes of BLAKE2b) finds typing errors; it protects nothing. Naming the
    masters makes the text all that a newcomer needs: CURVE needs their keys.
*/
#pragma once

#include "transport/identity.h"

#define JOIN_TOKEN_MASTERS_MAX 8

typedef struct {
    record_key_t key;
    char endpoint[200]; /* "tcp://master.example.org:7400" */
} join_token_master_t;

typedef struct {
    keypair_t pair;
    record_key_t root_public_key;
    join_token_master_t masters[JOIN_TOKEN_MASTERS_MAX];
    size_t master_count;
} join_token_t;

/*  A fresh pair for the cluster of that root; masters may be added by the caller. */
void join_token_generate (join_token_t *self, const record_key_t *root_public_key);
void join_token_wipe (join_token_t *self);

/*  The text, to be freed with join_token_text_free (which zeroes it). */
char *join_token_text (const join_token_t *self);
void join_token_text_free (char **text_p);
/*  -1, NEXUS_INVALID, with what is wrong with the text (never its content). */
int join_token_parse (join_token_t *self, const char *text, nexus_error_t *error);
