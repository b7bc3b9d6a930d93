/*  client - the nexus command's side of the HTTPS API

    Finds the cluster (options, environment, client.yaml), and asks its masters:
    the last one that answered first, the others when it is out of reach or can't
    (503, 502, 504), until one can or the time is up. A write carries an
    Idempotency-Key, so that asking twice does it once. TLS is always verified.

    Where client.yaml is looked for: --dir, NEXUS_DIR, ./nexus-cluster,
    ~/.config/nexus; the first directory that has it.
*/
#pragma once

#include "actors/protocol/api.h"
#include "actors/protocol/config.h"
#include "cli/options.h"
#include "runtime/buffer.h"

typedef struct client client_t;

/*  The options that every client command has: lines for its table. */
#define CLIENT_OPTIONS                                                                            \
    {"endpoint", 'e',                                                                             \
     "URL",      {"NEXUS_API_ENDPOINT", "LOOMOS_API_ENDPOINT"},                                   \
     NULL,       "https://HOST:PORT of a master; several with commas between."},                  \
        {"dir", 'd', "DIR", {"NEXUS_DIR"}, NULL, "The cluster's directory, with client.yaml."},   \
        {"token", 0, "TOKEN", {"NEXUS_TOKEN"}, NULL, "Bearer token."},                            \
        {"authority", 0, "FILE", {"NEXUS_AUTHORITY"}, NULL, "Certificates to trust, PEM."},       \
    {                                                                                             \
        "patience", 0, "SECONDS", {NULL}, "10",                                                   \
            "How long to look for a master that answers; unless given, only a look where nobody " \
            "listens. Without a majority an answer may take 10 s more."                           \
    }
#define CLIENT_STALE                                                        \
    {                                                                       \
        "stale", 0, NULL, {NULL}, NULL,                                     \
            "Show what the answering master has, even if others know more." \
    }
#define CLIENT_JSON                                                  \
    {                                                                \
        "json", 'j', NULL, {NULL}, NULL, "Print JSON, for programs." \
    }

/*  An answer; its buffers belong to the caller: client_answer_free. */
typedef struct {
    long status;
    buffer_t body;        /* ends with a NUL that is not counted */
    uint64_t next_offset; /* X-Nexus-Next-Offset */
    bool end;             /* X-Nexus-End: true */
    char leader[64];      /* X-Nexus-Leader */
    uint64_t version;     /* ETag, of an entry of the key-value store */
} client_answer_t;

/*  NULL with an error that says how to name a cluster. options must have CLIENT_OPTIONS. */
client_t *client_new (options_t *options, nexus_error_t *error);
void client_destroy (client_t **self_p);

/*  What to ask; method NULL: GET, or POST where there is a body. */
typedef struct {
    const char *method, *path, *body_type;
    const void *body;
    size_t body_size;
    const char *if_match; /* or NULL */
} client_question_t;

/*  Asks. -1 with the problem's words if the status is not 2xx, or
    nobody answered (NEXUS_UNAVAILABLE); *answer is then empty. */
int client_question (client_t *self, const client_question_t *question, client_answer_t *answer,
                     nexus_error_t *error);
/*  The same; body NULL: a GET, else a POST. */
int client_ask (client_t *self, const char *path, const char *body_type, const void *body,
                size_t body_size, client_answer_t *answer, nexus_error_t *error);
void client_answer_free (client_answer_t *answer);

/*  Each fault of the document that the last problem named, or no faults. In the
    client's memory until the next question. */
const problem_t *client_problem (const client_t *self);

/*  How long one question may take on the server, beyond which it is given up; 0: 10 s. */
void client_set_wait (client_t *self, int64_t wait_ms);
/*  Whether GETs are answered from what the answering master has (?stale=true). */
void client_set_stale (client_t *self, bool stale);
/*  How long to look for a master that answers, instead of --patience. */
void client_set_patience (client_t *self, int64_t patience_ms);

/*  Reads an answer's JSON as that record, its memory in the arena. */
int client_read (const client_t *self, const client_answer_t *answer, const record_t *record,
                 arena_t *arena, void *value, nexus_error_t *error);

/*  GETs (body NULL) or POSTs, and reads the answer as that record, its memory in the arena. */
int client_record (client_t *self, const char *path, const char *body, const record_t *record,
                   arena_t *arena, void *value, nexus_error_t *error);

/*  GETs or POSTs and prints the answer's JSON as it came; the exit code. */
int client_print (client_t *self, const char *path, const char *body);

/*  The same if json is set; otherwise reads the answer as that record and has it printed. The
    value's memory is gone afterwards. */
int client_show (client_t *self, bool json, const char *path, const char *body,
                 const record_t *record, void (*print) (const void *value));

/*  "/api/v1/jobs/" and the id, escaped, and what follows. In a buffer of the client's,
    until the next call. */
const char *client_path (client_t *self, const char *before, const char *id, const char *behind);
