/*  client - the nexus command's side of the HTTPS API */
#include "cli/client.h"

#include "actors/gateway/uri.h"
#include "cli/command.h"
#include "nexus_version.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    ENDPOINTS_MAX = 9,
    BODY_MAX = 64 << 20,
    SHOWN_MAX = 256 << 20, /* memory of an answer, read */
    CONNECT_MS = 5000,
    CONNECT_FIRST_MS = 1000, /* in the first round: a frozen master holds up nobody */
    CONNECT_LEAST_MS = 200,
    ANSWER_MS = 15000,
    PAUSE_MS = 250 /* between two rounds over the masters */
};

struct client {
    char endpoints[ENDPOINTS_MAX][256];
    size_t endpoint_count, endpoint; /* the one that answered last */
    char token[256], authority[1200];
    int64_t wait_ms, patience_ms;
    bool insists; /* somebody said how patient to be: also where nobody listens at all */
    bool stale;
    uint64_t index; /* the highest X-Nexus-Index so far */
    CURL *curl;
    char curl_error[CURL_ERROR_SIZE];
    buffer_t path;
    problem_t problem;
    arena_t arena; /* the problem's */
};

/*  ---- which cluster ----------------------------------------------------------------- */

/*  The path of client.yaml in the first directory that has it; false: none has. */
static bool find_file (const options_t *options, char dir[1024])
{
    const char *given = options_text (options, "dir"), *home = getenv ("HOME");
    char path[1100];
    if (given) {
        snprintf (dir, 1024, "%s", given);
        return true; /* reading it will say what is wrong with it */
    }
    snprintf (dir, 1024, "%s", "nexus-cluster");
    snprintf (path, sizeof (path), "%s/client.yaml", dir);
    if (access (path, F_OK) == 0)
        return true;
    snprintf (dir, 1024, "%s/.config/nexus", home ? home : "");
    snprintf (path, sizeof (path), "%s/client.yaml", dir);
    return access (path, F_OK) == 0;
}

static int read_text (const char *path, buffer_t *out, nexus_error_t *error)
{
    FILE *file = fopen (path, "re");
    if (!file)
        return nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO, "%s: %s", path,
                                strerror (errno));
    out->limit = 1 << 20;
    for (size_t got = 1; got && !out->failed;) {
        uint8_t *to = buffer_reserve (out, 4096);
        got = to ? fread (to, 1, 4096, file) : 0;
        out->size += got;
    }
    bool bad = ferror (file) || out->failed;
    fclose (file);
    return bad ? nexus_error_set (error, NEXUS_IO, "%s: not readable, or larger than 1 MiB", path)
               : 0;
}

/*  Lets client.yaml fill in what neither options nor environment say. */
static int read_file (options_t *options, const char *dir, nexus_error_t *error)
{
    char path[1100], authority[2200];
    buffer_t text = {0}, endpoints = {0};
    arena_t arena;
    client_config_t config;
    record_faults_t faults = {.count = 0};
    arena_init (&arena, 4 << 20, NULL, 0);
    snprintf (path, sizeof (path), "%s/client.yaml", dir);
    int rc = read_text (path, &text, error);
    if (rc == 0 && record_from_yaml (&client_config_record, (const char *)text.data, text.size, 0,
                                     &arena, &config, &faults))
        rc = nexus_error_set (error, NEXUS_INVALID, "%s",
                              record_faults_text (&faults, path, &arena));
    if (rc == 0) {
        for (size_t i = 0; i < config.endpoints.count; i++)
            buffer_printf (&endpoints, "%s%s", i ? "," : "", config.endpoints.items[i]);
        buffer_append (&endpoints, "", 1);
        options_fill (options, "endpoint", (const char *)endpoints.data);
        options_fill (options, "token", config.token);
        bool beside = config.authority && *config.authority && config.authority[0] != '/';
        snprintf (authority, sizeof (authority), "%s%s%s", beside ? dir : "", beside ? "/" : "",
                  config.authority ? config.authority : "");
        options_fill (options, "authority", authority);
    }
    buffer_free (&text);
    buffer_free (&endpoints);
    arena_reset (&arena);
    return rc;
}

static int take_endpoints (client_t *self, const char *list, nexus_error_t *error)
{
    while (list && *list) {
        size_t size = strcspn (list, ", ");
        if (size && self->endpoint_count < ENDPOINTS_MAX) {
            char *to = self->endpoints[self->endpoint_count++];
            while (size && list[size - 1] == '/')
                size--;
            snprintf (to, 256, "%.*s", (int)size, list);
            if (strncasecmp (to, "https://", 8) != 0)
                return nexus_error_set (error, NEXUS_INVALID,
                                        "\"%s\" is no endpoint: expected https://HOST:PORT", to);
        }
        list += strcspn (list, ", ");
        list += strspn (list, ", ");
    }
    if (!self->endpoint_count)
        return nexus_error_set (
            error, NEXUS_NOT_FOUND,
            "which cluster? There is no ./nexus-cluster/client.yaml; give --dir or "
            "--endpoint (or NEXUS_DIR, NEXUS_API_ENDPOINT), or start one: nexus up");
    return 0;
}

client_t *client_new (options_t *options, nexus_error_t *error)
{
    char dir[1024];
    uint64_t patience;
    client_t *self = calloc (1, sizeof (*self));
    int rc = self ? 0 : nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    if (rc == 0 && find_file (options, dir))
        rc = read_file (options, dir, error);
    if (rc == 0)
        rc = take_endpoints (self, options_text (options, "endpoint"), error);
    if (rc == 0)
        rc = options_number (options, "patience", 0, 86400, &patience, error);
    if (rc == 0) {
        const char *token = options_text (options, "token");
        const char *authority = options_text (options, "authority");
        snprintf (self->token, sizeof (self->token), "%s", token ? token : "");
        snprintf (self->authority, sizeof (self->authority), "%s", authority ? authority : "");
        self->patience_ms = (int64_t)patience * 1000;
        self->insists = options_source (options, "patience") != OPTION_DEFAULT;
        curl_global_init (CURL_GLOBAL_ALL);
        self->curl = curl_easy_init ();
        if (!self->curl)
            rc = nexus_error_set (error, NEXUS_EXHAUSTED, "libcurl can't start");
    }
    if (rc)
        client_destroy (&self);
    return self;
}

void client_destroy (client_t **self_p)
{
    client_t *self = *self_p;
    if (!self)
        return;
    if (self->curl)
        curl_easy_cleanup (self->curl);
    buffer_free (&self->path);
    arena_reset (&self->arena);
    explicit_bzero (self->token, sizeof (self->token));
    free (self);
    *self_p = NULL;
}

void client_set_wait (client_t *self, int64_t wait_ms)
{
    self->wait_ms = wait_ms;
}

void client_set_patience (client_t *self, int64_t patience_ms)
{
    self->patience_ms = patience_ms;
}

void client_set_stale (client_t *self, bool stale)
{
    self->stale = stale;
}

const problem_t *client_problem (const client_t *self)
{
    return &self->problem;
}

const char *client_path (client_t *self, const char *before, const char *id, const char *behind)
{
    buffer_clear (&self->path);
    buffer_append (&self->path, before, strlen (before));
    uri_escape (id, &self->path);
    buffer_append (&self->path, behind, strlen (behind) + 1);
    return self->path.failed ? "" : (const char *)self->path.data;
}

/*  ---- one question to one master ------------------------------------------------------- */

static size_t take_body (char *data, size_t one, size_t size, void *context)
{
    (void)one;
    client_answer_t *answer = context;
    buffer_append (&answer->body, data, size);
    return answer->body.failed ? 0 : size;
}

/*  An answer on its way. */
typedef struct {
    client_t *client;
    client_answer_t *answer;
} taking_t;

static size_t take_header (char *data, size_t one, size_t size, void *context)
{
    (void)one;
    client_t *self = ((taking_t *)context)->client;
    client_answer_t *answer = ((taking_t *)context)->answer;
    char line[256];
    snprintf (line, sizeof (line), "%.*s", (int)size, data);
    line[strcspn (line, "\r\n")] = 0;
    if (strncasecmp (line, "x-nexus-next-offset:", 20) == 0)
        answer->next_offset = strtoull (line + 20, NULL, 10);
    else if (strncasecmp (line, "x-nexus-end:", 12) == 0)
        answer->end = strstr (line, "true") != NULL;
    else if (strncasecmp (line, "etag:", 5) == 0)
        answer->version = strtoull (line + 5 + strspn (line + 5, " \""), NULL, 10);
    else if (strncasecmp (line, "x-nexus-index:", 14) == 0) {
        uint64_t index = strtoull (line + 14, NULL, 10);
        self->index = index > self->index ? index : self->index;
    } else if (strncasecmp (line, "x-nexus-leader:", 15) == 0)
        snprintf (answer->leader, sizeof (answer->leader), "%s",
                  line + 15 + strspn (line + 15, " "));
    return size;
}

typedef struct {
    client_question_t asked;
    bool write;
    char key[40];   /* Idempotency-Key */
    uint64_t after; /* X-Nexus-After: what was known when it was asked first */
} question_t;

static struct curl_slist *headers_for (const client_t *self, const question_t *question)
{
    char line[400];
    struct curl_slist *headers = curl_slist_append (NULL, "User-Agent: nexus/" NEXUS_VERSION);
    snprintf (line, sizeof (line), "Authorization: Bearer %s", self->token);
    if (*self->token)
        headers = curl_slist_append (headers, line);
    explicit_bzero (line, sizeof (line));
    if (!question->write)
        return headers;
    if (question->asked.body) {
        snprintf (line, sizeof (line), "Content-Type: %s", question->asked.body_type);
        headers = curl_slist_append (headers, line);
    }
    if (question->asked.if_match) {
        snprintf (line, sizeof (line), "If-Match: %s", question->asked.if_match);
        headers = curl_slist_append (headers, line);
    }
    if (question->after) {
        snprintf (line, sizeof (line), "X-Nexus-After: %" PRIu64, question->after);
        headers = curl_slist_append (headers, line);
    }
    snprintf (line, sizeof (line), "Idempotency-Key: %s", question->key);
    headers = curl_slist_append (headers, line);
    return curl_slist_append (headers, "Expect:"); /* no wait for "100 Continue" */
}

static CURLcode ask_once (client_t *self, const char *endpoint, int connect_ms,
                          const question_t *question, client_answer_t *answer)
{
    char url[4600];
    CURL *curl = self->curl;
    const client_question_t *asked = &question->asked;
    struct curl_slist *headers = headers_for (self, question);
    taking_t taking = {self, answer};
    const char *stale = !self->stale || question->write ? ""
                        : strchr (asked->path, '?')     ? "&stale=true"
                                                        : "?stale=true";
    snprintf (url, sizeof (url), "%s%s%s", endpoint, asked->path, stale);
    curl_easy_reset (curl); /* connections are kept */
    answer->body.limit = BODY_MAX;
    curl_easy_setopt (curl, CURLOPT_URL, url);
    /* "a/../b" names something else than "b"; the master says so. */
    curl_easy_setopt (curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt (curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt (curl, CURLOPT_ERRORBUFFER, self->curl_error);
    curl_easy_setopt (curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt (curl, CURLOPT_TIMEOUT_MS, (long)(ANSWER_MS + self->wait_ms));
    curl_easy_setopt (curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt (curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt (curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt (curl, CURLOPT_HEADERDATA, &taking);
    if (*self->authority)
        curl_easy_setopt (curl, CURLOPT_CAINFO, self->authority);
    if (asked->body) {
        curl_easy_setopt (curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)asked->body_size);
        curl_easy_setopt (curl, CURLOPT_POSTFIELDS, asked->body);
    }
    if (asked->method)
        curl_easy_setopt (curl, CURLOPT_CUSTOMREQUEST, asked->method);
    self->curl_error[0] = 0;
    CURLcode code = curl_easy_perform (curl);
    curl_easy_getinfo (curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_slist_free_all (headers);
    return code;
}

/*  ---- any master ------------------------------------------------------------------------- */

static int64_t now_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*  Makes the problem's words of the answer's body into an error. */
static int read_problem (client_t *self, const client_answer_t *answer, nexus_error_t *error)
{
    record_faults_t faults = {.count = 0};
    nexus_code_t code = answer->status == 401 || answer->status == 403 ? NEXUS_DENIED
                        : answer->status == 404                        ? NEXUS_NOT_FOUND
                        : answer->status >= 500                        ? NEXUS_UNAVAILABLE
                                                                       : NEXUS_INVALID;
    arena_reset (&self->arena);
    arena_init (&self->arena, 4 << 20, NULL, 0);
    self->problem = (problem_t){0};
    json_t *json = json_loadb ((const char *)answer->body.data, answer->body.size, 0, NULL);
    if (!json || record_from_json (&problem_record, json, RECORD_ALLOW_READONLY, &self->arena,
                                   &self->problem, &faults))
        self->problem = (problem_t){0};
    json_decref (json);
    for (int i = 1; self->problem.code && i < NEXUS_CODES; i++)
        if (strcmp (self->problem.code, nexus_code_name ((nexus_code_t)i)) == 0)
            code = (nexus_code_t)i;
    bool words = self->problem.detail && *self->problem.detail;
    if (words)
        return nexus_error_set (error, code, "%s", self->problem.detail);
    return nexus_error_set (error, code, "%s answered with HTTP status %ld",
                            self->endpoints[self->endpoint], answer->status);
}

static int describe_failure (const client_t *self, const char *endpoint, CURLcode code,
                             nexus_error_t *error)
{
    const char *words = *self->curl_error ? self->curl_error : curl_easy_strerror (code);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return nexus_error_set (error, NEXUS_DENIED,
                                "%s is not trusted: %s; give its certificate with --authority FILE "
                                "(api-cert.pem in the master's directory)",
                                endpoint, words);
    return nexus_error_set (error, NEXUS_UNAVAILABLE, "%s: %s%s", endpoint, words,
                            self->endpoint_count > 1 ? "; nor does any other master answer" : "");
}

/*  Worth asking another master: it was not reached, or it can't answer now. */
static bool is_passing (CURLcode code, long status)
{
    if (code != CURLE_OK)
        return code != CURLE_SSL_CACERT_BADFILE && code != CURLE_URL_MALFORMAT &&
               code != CURLE_WRITE_ERROR;
    return status == 502 || status == 503 || status == 504;
}

/*  How long a round waits for each connection, so that a first one over masters that all hang takes
    no longer than the patience, and later ones only what is left of it. */
static int connect_ms_of (const client_t *self, bool first, int64_t left_ms)
{
    int64_t count = (int64_t)self->endpoint_count;
    int64_t most_ms = first && count > 1 && self->patience_ms ? CONNECT_FIRST_MS : CONNECT_MS;
    int64_t share_ms = first ? left_ms / count : left_ms;
    int64_t ms = share_ms < most_ms ? share_ms : most_ms;
    return (int)(ms > CONNECT_LEAST_MS ? ms : CONNECT_LEAST_MS);
}

/*  One round over all masters, beginning with the one that answered last: 1: answered; 0: none
    can for now; -1: it is no use. heard: somebody spoke, if only to say 503. */
static int ask_round (client_t *self, bool first, int64_t until_ms, const question_t *question,
                      client_answer_t *answer, bool *heard, nexus_error_t *error)
{
    int connect_ms = connect_ms_of (self, first, until_ms - now_ms ());
    bool untrusted = false;
    for (size_t i = 0; i < self->endpoint_count; i++) {
        size_t at = (self->endpoint + i) % self->endpoint_count;
        if (!first && i)
            connect_ms = connect_ms_of (self, first, until_ms - now_ms ());
        client_answer_free (answer);
        CURLcode code = ask_once (self, self->endpoints[at], connect_ms, question, answer);
        if (code == CURLE_OK && !is_passing (code, answer->status)) {
            self->endpoint = at;
            return 1;
        }
        if (code == CURLE_OK) {
            if (!*heard) /* what the first one says: others may only say that they can't either */
                (void)read_problem (self, answer, error);
            *heard = true;
        } else if (!*heard && !untrusted) {
            untrusted = code == CURLE_PEER_FAILED_VERIFICATION;
            (void)describe_failure (self, self->endpoints[at], code, error);
        }
        if (!is_passing (code, answer->status))
            return -1;
    }
    return untrusted && !*heard ? -1 : 0;
}

int client_ask (client_t *self, const char *path, const char *body_type, const void *body,
                size_t body_size, client_answer_t *answer, nexus_error_t *error)
{
    client_question_t question = {
        .path = path, .body_type = body_type, .body = body, .body_size = body_size};
    return client_question (self, &question, answer, error);
}

int client_question (client_t *self, const client_question_t *asked, client_answer_t *answer,
                     nexus_error_t *error)
{
    question_t question = {
        .asked = *asked, .write = asked->method || asked->body, .after = self->index};
    unsigned char random[16];
    int64_t until = now_ms () + (self->patience_ms ? self->patience_ms : CONNECT_MS);
    randombytes_buf (random, sizeof (random));
    sodium_bin2hex (question.key, sizeof (question.key), random, sizeof (random));
    *answer = (client_answer_t){0};
    for (bool first = true;; first = false) {
        bool heard = false;
        int rc = ask_round (self, first, until, &question, answer, &heard, error);
        if (rc > 0)
            break;
        /*  Where nobody listens at all, waiting will hardly help. */
        bool again = self->patience_ms && now_ms () < until &&
                     (heard || self->insists || (first && self->endpoint_count > 1));
        if (rc < 0 || !again) {
            client_answer_free (answer);
            return -1;
        }
        if (heard || self->insists)
            (void)usleep (PAUSE_MS * 1000);
    }
    buffer_append (&answer->body, "", 1);
    answer->body.size -= answer->body.size > 0;
    if (answer->status >= 200 && answer->status < 300)
        return 0;
    (void)read_problem (self, answer, error);
    client_answer_free (answer);
    return -1;
}

void client_answer_free (client_answer_t *answer)
{
    buffer_free (&answer->body);
    *answer = (client_answer_t){0};
}

int client_read (const client_t *self, const client_answer_t *answer, const record_t *record,
                 arena_t *arena, void *value, nexus_error_t *error)
{
    record_faults_t faults = {.count = 0};
    json_error_t where;
    json_t *json = json_loadb ((const char *)answer->body.data, answer->body.size, 0, &where);
    int rc = 0;
    if (!json)
        rc =
            nexus_error_set (error, NEXUS_CORRUPT, "%s answered with something that is no JSON: %s",
                             self->endpoints[self->endpoint], where.text);
    else if (record_from_json (record, json, RECORD_ALLOW_READONLY, arena, value, &faults))
        rc = nexus_error_set (error, NEXUS_CORRUPT,
                              "%s answered with something that this nexus (%s) can't read: %s: %s",
                              self->endpoints[self->endpoint], NEXUS_VERSION,
                              faults.count ? faults.items[0].path : "",
                              faults.count ? faults.items[0].message : "");
    json_decref (json);
    return rc;
}

int client_record (client_t *self, const char *path, const char *body, const record_t *record,
                   arena_t *arena, void *value, nexus_error_t *error)
{
    client_answer_t answer;
    if (client_ask (self, path, "application/json", body, body ? strlen (body) : 0, &answer, error))
        return -1;
    int rc = client_read (self, &answer, record, arena, value, error);
    client_answer_free (&answer);
    return rc;
}

int client_print (client_t *self, const char *path, const char *body)
{
    client_answer_t answer;
    nexus_error_t error;
    if (client_ask (self, path, "application/json", body, body ? strlen (body) : 0, &answer,
                    &error))
        return command_fail (&error);
    fwrite (answer.body.data, 1, answer.body.size, stdout);
    fputc ('\n', stdout);
    client_answer_free (&answer);
    return 0;
}

int client_show (client_t *self, bool json, const char *path, const char *body,
                 const record_t *record, void (*print) (const void *value))
{
    if (json)
        return client_print (self, path, body);
    nexus_error_t error;
    arena_t arena;
    arena_init (&arena, SHOWN_MAX, NULL, 0);
    void *value = arena_alloc (&arena, record->size);
    int rc = value ? 0 : EX_OSERR;
    if (value && client_record (self, path, body, record, &arena, value, &error))
        rc = command_fail (&error);
    else if (value)
        print (value);
    arena_reset (&arena);
    return rc;
}
