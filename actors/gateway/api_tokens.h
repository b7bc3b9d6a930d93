/*  api_tokens - who may use the API

    A file of bearer tokens, of which only hashes are kept:

        # hash (BLAKE2b-256 of the token, hex)   name   role
        5f70bf18a08660...                        alice  admin
        0e5751c026e543...                        grafana viewer

    The role is admin (everything) or viewer (reading); left out: admin. Empty
    lines and lines that begin with # mean nothing. The file is read again when
    it changes, so tokens come and go without a restart; a file that is wrong or
    gone leaves nobody in. Edge only: it reads a file.
*/
#pragma once

#include "actors/protocol/http.h"
#include "runtime/error.h"

typedef struct api_tokens api_tokens_t;

enum { API_TOKEN_HASH_SIZE = 64, API_TOKENS_MAX = 1024 };

/*  The hash of a token as it stands in the file. */
void api_token_hash (const char *token, char ret_hex[API_TOKEN_HASH_SIZE + 1]);

/*  Appends a line to the file (made with mode 0600 where it is missing). */
int api_tokens_add (const char *path, const char *token, const char *name, api_role_t role,
                    nexus_error_t *error);

api_tokens_t *api_tokens_new (const char *path);
void api_tokens_destroy (api_tokens_t **self_p);

/*  Reads the file if it has changed. -1 with what is wrong with it, once for each change. */
int api_tokens_refresh (api_tokens_t *self, nexus_error_t *error);

/*  Who bears the token; API_NOBODY: nobody. In constant time for a given file. The name
    is valid until the next refresh. */
api_role_t api_tokens_find (const api_tokens_t *self, const char *token, const char **ret_name);
