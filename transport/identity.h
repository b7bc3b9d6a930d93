/*  identity - the keys of nodes and of the cluster

    A node is its CURVE key pair (Curve25519), kept in a file that only its user
    may read. A cluster is its root: an Ed25519 key pair that signs memberships
    (key, role, name, site, end of validity). The root's secret is needed where
    members are admitted, its public key everywhere.

    Secrets are plain members of these structs so that they can live on a stack
    or in locked memory; whoever holds one calls the ..._wipe function when done.
    Functions are thread-safe on distinct objects. Sources: libsodium
    (crypto_box, crypto_sign); RFC 7748, RFC 8032.
*/
#pragma once

#include "runtime/message.h"

/*  ---- a node's CURVE key pair ------------------------------------------- */

typedef struct {
    record_key_t public_key;
    record_key_t secret_key;
} keypair_t;

void keypair_generate (keypair_t *self);
/*  The public key follows from the secret one. */
void keypair_from_secret (keypair_t *self, const record_key_t *secret_key);
void keypair_wipe (keypair_t *self);

/*  Reads a key file. NEXUS_NOT_FOUND: there is none; NEXUS_DENIED: others may
    read it or it is not ours; NEXUS_CORRUPT: it is cut short or not a key file. */
int keypair_load (keypair_t *self, const char *path, nexus_error_t *error);
/*  Writes a new file (mode 0600, synced); NEXUS_EXISTS rather than overwrite. */
int keypair_save (const keypair_t *self, const char *path, nexus_error_t *error);
/*  Loads, or generates and saves where there is no file; if somebody else was
    faster, theirs is loaded. */
int keypair_load_or_generate (keypair_t *self, const char *path, nexus_error_t *error);

/*  Keys as 64 lower-case hex digits (terminated). */
void key_to_hex (const record_key_t *key, char text[65]);
/*  -1 unless text is exactly 64 hex digits. */
int key_from_hex (record_key_t *key, const char *text);
/*  Constant-time; for secrets. */
bool key_equal (const record_key_t *a, const record_key_t *b);

/*  ---- the cluster's root ------------------------------------------------ */

typedef struct {
    record_key_t public_key;
    uint8_t secret_key[64];
} cluster_root_t;

void cluster_root_generate (cluster_root_t *self);
void cluster_root_wipe (cluster_root_t *self);
/*  As keypair_load, keypair_save. */
int cluster_root_load (cluster_root_t *self, const char *path, nexus_error_t *error);
int cluster_root_save (const cluster_root_t *self, const char *path, nexus_error_t *error);

/*  ---- memberships ------------------------------------------------------- */

/* clang-format off */
#define MEMBERSHIP(F)                                                                              \
    F (KEY,    node,         _, .flags = RECORD_REQUIRED, .doc = "The member's CURVE public key.") \
    F (ENUM,   role,         role, .doc = "What it may do.")                                       \
    F (STRING, name,         _, .max = 63, .doc = "Its name.")                                     \
    F (STRING, site,         _, .max = 63, .doc = "Where it stands.")                              \
    F (INT,    not_after_ms, _, .unit = "ms", .doc = "End of validity (since 1970); 0: none.")     \
    F (BYTES,  signature,    _, .max = 64, .doc = "The cluster root's Ed25519 signature.")
/* clang-format on */
RECORD_DECLARE (membership, MEMBERSHIP)

/*  Signs; the signature is written to storage, which self->signature then points
    to and which must live as long. */
void membership_sign (membership_t *self, const cluster_root_t *root, uint8_t storage[64]);
/*  0 if root signed exactly this and it is still valid at wall_ms; else -1,
    NEXUS_DENIED. */
int membership_verify (const membership_t *self, const record_key_t *root_public_key,
                       int64_t wall_ms, nexus_error_t *error);
