#include "transport/join_token.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_PREFIX  "nexus-join-"
#define TOKEN_VERSION 1
#define BASE64        sodium_base64_VARIANT_URLSAFE_NO_PADDING
/*  version, secret, root, count */
#define FIXED_SIZE (1 + 32 + 32 + 1)
#define CHECK_SIZE 4
#define BINARY_MAX (FIXED_SIZE + JOIN_TOKEN_MASTERS_MAX * (32 + 1 + 200) + CHECK_SIZE)

void join_token_generate (join_token_t *self, const record_key_t *root_public_key)
{
    memset (self, 0, sizeof *self);
    keypair_generate (&self->pair);
    self->root_public_key = *root_public_key;
}

void join_token_wipe (join_token_t *self)
{
    sodium_memzero (self, sizeof *self);
}

static void checksum (const uint8_t *data, size_t size, uint8_t check[CHECK_SIZE])
{
    uint8_t hash[crypto_generichash_BYTES];
    crypto_generichash (hash, sizeof hash, data, size, NULL, 0);
    memcpy (check, hash, CHECK_SIZE);
}

static size_t pack (const join_token_t *self, uint8_t *out)
{
    uint8_t *at = out;
    *at++ = TOKEN_VERSION;
    memcpy (at, self->pair.secret_key.bytes, 32);
    memcpy (at + 32, self->root_public_key.bytes, 32);
    at += 64;
    *at++ = (uint8_t)self->master_count;
    for (size_t i = 0; i < self->master_count; i++) {
        const join_token_master_t *master = &self->masters[i];
        size_t size = strlen (master->endpoint);
        memcpy (at, master->key.bytes, 32);
        at[32] = (uint8_t)size;
        memcpy (at + 33, master->endpoint, size);
        at += 33 + size;
    }
    checksum (out, (size_t)(at - out), at);
    return (size_t)(at - out) + CHECK_SIZE;
}

char *join_token_text (const join_token_t *self)
{
    assert (self->master_count <= JOIN_TOKEN_MASTERS_MAX);
    uint8_t binary[BINARY_MAX];
    size_t size = pack (self, binary);
    size_t text_size = strlen (TOKEN_PREFIX) + sodium_base64_ENCODED_LEN (size, BASE64);
    char *text = malloc (text_size);
    if (text) {
        memcpy (text, TOKEN_PREFIX, strlen (TOKEN_PREFIX));
        sodium_bin2base64 (text + strlen (TOKEN_PREFIX), text_size - strlen (TOKEN_PREFIX), binary,
                           size, BASE64);
    }
    sodium_memzero (binary, sizeof binary);
    return text;
}

void join_token_text_free (char **text_p)
{
    if (*text_p)
        sodium_memzero (*text_p, strlen (*text_p));
    free (*text_p);
    *text_p = NULL;
}

static int unpack_masters (join_token_t *self, const uint8_t *at, size_t left, size_t count)
{
    if (count > JOIN_TOKEN_MASTERS_MAX)
        return -1;
    for (size_t i = 0; i < count; i++) {
        join_token_master_t *master = &self->masters[i];
        if (left < 33 || at[32] >= sizeof master->endpoint || left < 33u + at[32] ||
            memchr (at + 33, 0, at[32]))
            return -1;
        memcpy (master->key.bytes, at, 32);
        memcpy (master->endpoint, at + 33, at[32]);
        left -= 33u + at[32];
        at += 33u + at[32];
    }
    self->master_count = count;
    return left ? -1 : 0;
}

static int unpack (join_token_t *self, const uint8_t *binary, size_t size, nexus_error_t *error)
{
    uint8_t check[CHECK_SIZE];
    if (size && binary[0] != TOKEN_VERSION)
        return nexus_error_set (error, NEXUS_INVALID,
                                "join token: made by another version of nexus (format %d, this one "
                                "reads %d)",
                                binary[0], TOKEN_VERSION);
    if (size < FIXED_SIZE + CHECK_SIZE)
        return nexus_error_set (error, NEXUS_INVALID,
                                "join token: cut short: copy the whole line, with its end");
    size -= CHECK_SIZE;
    checksum (binary, size, check);
    if (memcmp (check, binary + size, CHECK_SIZE) != 0)
        return nexus_error_set (error, NEXUS_INVALID,
                                "join token: its checksum is wrong: copy the whole line again");
    record_key_t secret;
    memcpy (secret.bytes, binary + 1, 32);
    keypair_from_secret (&self->pair, &secret);
    sodium_memzero (&secret, sizeof secret);
    memcpy (self->root_public_key.bytes, binary + 33, 32);
    if (unpack_masters (self, binary + FIXED_SIZE, size - FIXED_SIZE, binary[FIXED_SIZE - 1]) == -1)
        return nexus_error_set (error, NEXUS_INVALID, "join token: its list of masters is damaged");
    return 0;
}

int join_token_parse (join_token_t *self, const char *text, nexus_error_t *error)
{
    if (strncmp (text, TOKEN_PREFIX, strlen (TOKEN_PREFIX)) != 0)
        return nexus_error_set (error, NEXUS_INVALID, "join token: it must begin with \"%s\"",
                                TOKEN_PREFIX);
    const char *base64 = text + strlen (TOKEN_PREFIX);
    uint8_t binary[BINARY_MAX];
    size_t size = 0;
    const char *end = NULL;
    join_token_t found = {0};
    int rc;
    if (sodium_base642bin (binary, sizeof binary, base64, strlen (base64), NULL, &size, &end,
                           BASE64) != 0 ||
        *end)
        rc = nexus_error_set (error, NEXUS_INVALID,
                              "join token: a character that does not belong there, at position %zu",
                              end ? (size_t)(end - text) + 1 : strlen (TOKEN_PREFIX) + 1);
    else
        rc = unpack (&found, binary, size, error);
    if (rc == 0)
        *self = found;
    sodium_memzero (binary, sizeof binary);
    join_token_wipe (&found);
    return rc;
}
