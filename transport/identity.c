#include "transport/identity.h"
#include "transport/secret_file.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_FILE  "nexus-node-key"
#define ROOT_FILE "nexus-cluster-root"

#define RECORD_SELF membership_t
RECORD_DEFINE (membership, 0, 0, "A node's right to be here, signed by the cluster's root.",
               MEMBERSHIP)
#undef RECORD_SELF

/*  sodium_init only fails where the kernel has no random source at all. */
static void sodium_ready (void)
{
    if (sodium_init () < 0) {
        fputs ("nexus: libsodium found no source of random numbers (getrandom, /dev/urandom)\n",
               stderr);
        abort ();
    }
}

/*  ---- a node's CURVE key pair ------------------------------------------- */

void keypair_generate (keypair_t *self)
{
    sodium_ready ();
    crypto_box_keypair (self->public_key.bytes, self->secret_key.bytes);
}

void keypair_from_secret (keypair_t *self, const record_key_t *secret_key)
{
    sodium_ready ();
    self->secret_key = *secret_key;
    crypto_scalarmult_base (self->public_key.bytes, self->secret_key.bytes);
}

void keypair_wipe (keypair_t *self)
{
    sodium_memzero (self, sizeof *self);
}

int keypair_load (keypair_t *self, const char *path, nexus_error_t *error)
{
    record_key_t secret;
    if (secret_file_load (path, KEY_FILE, secret.bytes, sizeof secret.bytes, error) == -1)
        return -1;
    keypair_from_secret (self, &secret);
    sodium_memzero (&secret, sizeof secret);
    return 0;
}

int keypair_save (const keypair_t *self, const char *path, nexus_error_t *error)
{
    sodium_ready ();
    return secret_file_save (path, KEY_FILE, self->secret_key.bytes, sizeof self->secret_key.bytes,
                             error);
}

int keypair_load_or_generate (keypair_t *self, const char *path, nexus_error_t *error)
{
    nexus_error_t why;
    if (keypair_load (self, path, &why) == 0)
        return 0;
    if (why.code != NEXUS_NOT_FOUND) {
        if (error)
            *error = why;
        return -1;
    }
    keypair_t fresh;
    keypair_generate (&fresh);
    int rc = keypair_save (&fresh, path, &why);
    if (rc == 0)
        *self = fresh;
    else if (why.code == NEXUS_EXISTS)
        rc = keypair_load (self, path, error);
    else if (error)
        *error = why;
    keypair_wipe (&fresh);
    return rc;
}

void key_to_hex (const record_key_t *key, char text[65])
{
    sodium_bin2hex (text, 65, key->bytes, sizeof key->bytes);
}

int key_from_hex (record_key_t *key, const char *text)
{
    record_key_t found;
    size_t size;
    const char *end;
    if (strlen (text) != 64 ||
        sodium_hex2bin (found.bytes, sizeof found.bytes, text, 64, NULL, &size, &end) != 0 ||
        size != sizeof found.bytes || *end)
        return -1;
    *key = found;
    return 0;
}

bool key_equal (const record_key_t *a, const record_key_t *b)
{
    return sodium_memcmp (a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/*  ---- the cluster's root ------------------------------------------------ */

void cluster_root_generate (cluster_root_t *self)
{
    sodium_ready ();
    crypto_sign_keypair (self->public_key.bytes, self->secret_key);
}

void cluster_root_wipe (cluster_root_t *self)
{
    sodium_memzero (self, sizeof *self);
}

/*  The file holds the seed: key and public half follow from it (RFC 8032). */
int cluster_root_load (cluster_root_t *self, const char *path, nexus_error_t *error)
{
    uint8_t seed[crypto_sign_SEEDBYTES];
    if (secret_file_load (path, ROOT_FILE, seed, sizeof seed, error) == -1)
        return -1;
    sodium_ready ();
    crypto_sign_seed_keypair (self->public_key.bytes, self->secret_key, seed);
    sodium_memzero (seed, sizeof seed);
    return 0;
}

int cluster_root_save (const cluster_root_t *self, const char *path, nexus_error_t *error)
{
    uint8_t seed[crypto_sign_SEEDBYTES];
    crypto_sign_ed25519_sk_to_seed (seed, self->secret_key);
    int rc = secret_file_save (path, ROOT_FILE, seed, sizeof seed, error);
    sodium_memzero (seed, sizeof seed);
    return rc;
}

/*  ---- memberships ------------------------------------------------------- */

/*  What is signed: a prefix that no other signature of the root starts with, then
    every field with its size in front, so that no two memberships share bytes. */
#define MEMBERSHIP_PREFIX "nexus membership 1"

static void canonical_text (buffer_t *out, const char *text)
{
    size_t size = text ? strlen (text) : 0;
    uint8_t prefix[2] = {(uint8_t)(size >> 8), (uint8_t)size};
    buffer_append (out, prefix, sizeof prefix);
    if (size)
        buffer_append (out, text, size);
}

static void canonical (const membership_t *self, buffer_t *out)
{
    uint8_t end[8];
    for (int i = 0; i < 8; i++)
        end[i] = (uint8_t)((uint64_t)self->not_after_ms >> (56 - 8 * i));
    canonical_text (out, MEMBERSHIP_PREFIX);
    buffer_append (out, self->node.bytes, sizeof self->node.bytes);
    canonical_text (out, record_choice_name (&role_choices, self->role));
    canonical_text (out, self->name);
    canonical_text (out, self->site);
    buffer_append (out, end, sizeof end);
}

void membership_sign (membership_t *self, const cluster_root_t *root, uint8_t storage[64])
{
    sodium_ready ();
    buffer_t text = {0};
    canonical (self, &text);
    crypto_sign_detached (storage, NULL, text.data, text.size, root->secret_key);
    self->signature = (record_bytes_t){storage, crypto_sign_BYTES};
    buffer_free (&text);
}

int membership_verify (const membership_t *self, const record_key_t *root_public_key,
                       int64_t wall_ms, nexus_error_t *error)
{
    sodium_ready ();
    if (self->signature.size != crypto_sign_BYTES)
        return nexus_error_set (error, NEXUS_DENIED, "the membership of \"%s\" is not signed",
                                self->name ? self->name : "");
    buffer_t text = {0};
    canonical (self, &text);
    int rc = text.failed ? -1
                         : crypto_sign_verify_detached (self->signature.data, text.data, text.size,
                                                        root_public_key->bytes);
    buffer_free (&text);
    if (rc != 0)
        return nexus_error_set (error, NEXUS_DENIED,
                                "the membership of \"%s\" was not signed by this cluster's root",
                                self->name ? self->name : "");
    if (self->not_after_ms && wall_ms >= self->not_after_ms)
        return nexus_error_set (error, NEXUS_DENIED,
                                "the membership of \"%s\" has run out: let it join again",
                                self->name ? self->name : "");
    return 0;
}
