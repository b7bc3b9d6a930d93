/*  http_test - the HTTPS edge, with real sockets: libcurl as a client, and hand-made bytes over
    GnuTLS for what no client would send. The gateway behind it is a stand-in that
    says what it was asked. */
#include "actors/gateway/http.h"
#include "actors/gateway/api_tokens.h"
#include "actors/gateway/tls_files.h"
#include "actors/protocol/http.h"
#include "runtime/host.h"
#include "tests/unit/temp_dir.h"

#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

/*  ---- the stand-in --------------------------------------------------------------- */

typedef struct {
    message_t *held[300];
    size_t count;
} stand_in_t;

static void stand_in_answer (context_t *ctx, const message_t *message)
{
    const http_request_t *request = message->body;
    const char *type = "";
    for (size_t i = 0; i < request->headers.count; i++)
        if (strcmp (request->headers.items[i].key, "content-type") == 0)
            type = request->headers.items[i].value;
    char text[2000];
    size_t big = strcmp (request->path, "/big") == 0 ? 5u << 20 : 0;
    int size = snprintf (
        text, sizeof (text), "%s %s q=%zu%s%s type=%s headers=%zu body=%zu user=%s role=%d",
        request->method, request->path, request->query.count, request->query.count ? " " : "",
        request->query.count ? request->query.items[0].value : "", type, request->headers.count,
        request->body.size, request->user, request->role);
    record_pair_t header = {"X-Test", "yes"};
    http_response_t response = {.status = 200,
                                .content_type = "text/plain",
                                .headers = {&header, 1},
                                .body = {(const uint8_t *)text, (size_t)size}};
    uint8_t *filler = big ? calloc (1, big) : NULL;
    if (filler)
        response.body = (record_bytes_t){filler, big};
    context_reply (ctx, message, &http_response_record, &response);
    free (filler);
}

static void stand_in_receive (void *state, context_t *ctx, const message_t *message)
{
    stand_in_t *self = state;
    const http_request_t *request = message_body (message, http_request);
    if (!request)
        return;
    if (strcmp (request->path, "/fail") == 0) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "there is no leader");
    } else if (strcmp (request->path, "/slow") == 0) {
        self->held[self->count++] = message_retain ((message_t *)(uintptr_t)message);
        context_after (ctx, MS_TO_NS (200), 0);
    } else if (strcmp (request->path, "/never") != 0) {
        stand_in_answer (ctx, message);
    }
}

static void stand_in_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer, (void)data;
    stand_in_t *self = state;
    if (self->count) {
        message_t *message = self->held[--self->count];
        stand_in_answer (ctx, message);
        message_release (&message);
    }
}

static const behaviour_t stand_in_behaviour = {.name = "gateway",
                                               .state_size = sizeof (stand_in_t),
                                               .receive = stand_in_receive,
                                               .timer = stand_in_timer};

/*  ---- the world ------------------------------------------------------------------- */

typedef struct {
    char dir[64];
    char authority[100], tokens[100], url[200];
    api_config_t config;
    http_args_t args;
    log_t *log;
    runtime_t *runtime;
    zactor_t *gateway, *http;
    uint16_t port;
} world_t;

static const char admin[] = "admin-token", viewer[] = "viewer-token";

static int stand_in_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)state, (void)ctx, (void)args, (void)error;
    return 0;
}

static int setup (void **state)
{
    world_t *world = calloc (1, sizeof (*world));
    nexus_error_t error = {0};
    temp_dir_new (world->dir);
    snprintf (world->authority, sizeof (world->authority), "%s/api-cert.pem", world->dir);
    snprintf (world->tokens, sizeof (world->tokens), "%s/api-tokens", world->dir);
    assert_int_equal (api_tokens_add (world->tokens, admin, "alice", API_ADMIN, &error), 0);
    assert_int_equal (api_tokens_add (world->tokens, viewer, "bob", API_VIEWER, &error), 0);
    record_init (&api_config_record, &world->config);
    world->config.port = 0;
    world->args = (http_args_t){.config = &world->config, .dir = world->dir};
    world->log = log_new (2, false, LOG_LEVEL_WARNING, "m1");
    runtime_config_t config = {.name = "m1", .key = {{1}}, .log = world->log};
    world->runtime = runtime_new (&config, &error);
    assert_non_null (world->runtime);
    static behaviour_t stand_in;
    stand_in = stand_in_behaviour;
    stand_in.start = stand_in_start;
    child_t gateway = {.behaviour = &stand_in, .name = "gateway"};
    child_t http = {.behaviour = &http_behaviour, .name = "http", .args = &world->args};
    world->gateway = host_new (world->runtime, &gateway, &error);
    assert_non_null (world->gateway);
    world->http = host_new (world->runtime, &http, &error);
    if (!world->http)
        fail_msg ("%s", error.text);
    address_t to = address_local ("http", 0);
    message_t *reply = runtime_call (world->runtime, &to, &http_endpoint_get_record,
                                     &(http_endpoint_get_t){.now = true}, 5000, &error);
    assert_non_null (reply);
    const http_endpoint_t *endpoint = message_body (reply, http_endpoint);
    assert_non_null (endpoint);
    snprintf (world->url, sizeof (world->url), "%s", endpoint->url);
    world->port = (uint16_t)endpoint->port;
    assert_true (world->port > 0);
    message_release (&reply);
    *state = world;
    return 0;
}

static int teardown (void **state)
{
    world_t *world = *state;
    zactor_destroy (&world->http);
    zactor_destroy (&world->gateway);
    runtime_destroy (&world->runtime);
    log_destroy (&world->log);
    temp_dir_remove (world->dir);
    free (world);
    return 0;
}

/*  ---- libcurl ------------------------------------------------------------------------ */

typedef struct {
    long status;
    CURLcode code;
    char text[4000];
    size_t size;
    char headers[4000];
    size_t headers_size;
} answer_t;

static size_t take_text (char *data, size_t one, size_t size, void *context)
{
    (void)one;
    answer_t *self = context;
    for (size_t i = 0; i < size; i++)
        if (self->size + i < sizeof (self->text) - 1)
            self->text[self->size + i] = data[i];
    self->size += size;
    return size;
}

static size_t take_header (char *data, size_t one, size_t size, void *context)
{
    (void)one;
    answer_t *self = context;
    if (self->headers_size + size < sizeof (self->headers)) {
        memcpy (self->headers + self->headers_size, data, size);
        self->headers_size += size;
    }
    return size;
}

static answer_t fetch (const world_t *world, const char *token, const char *path, const char *body,
                       size_t body_size)
{
    answer_t answer = {0};
    char url[400], authorization[100];
    CURL *curl = curl_easy_init ();
    struct curl_slist *headers = NULL;
    snprintf (url, sizeof (url), "%s%s", world->url, path);
    snprintf (authorization, sizeof (authorization), "Authorization: Bearer %s",
              token ? token : "");
    if (token)
        headers = curl_slist_append (headers, authorization);
    curl_easy_setopt (curl, CURLOPT_URL, url);
    curl_easy_setopt (curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt (curl, CURLOPT_CAINFO, world->authority);
    curl_easy_setopt (curl, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt (curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, take_text);
    curl_easy_setopt (curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt (curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt (curl, CURLOPT_HEADERDATA, &answer);
    if (body) {
        static const char *const all[] = {"Content-Type: application/yaml",
                                          "Accept: */*",
                                          "Idempotency-Key: k1",
                                          "X-Nexus-After: 7",
                                          "If-Match: 5",
                                          "X-Other: not passed on"};
        for (size_t i = 0; i < sizeof (all) / sizeof (all[0]); i++)
            headers = curl_slist_append (headers, all[i]);
        curl_easy_setopt (curl, CURLOPT_POSTFIELDSIZE, (long)body_size);
        curl_easy_setopt (curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt (curl, CURLOPT_HTTPHEADER, headers);
    answer.code = curl_easy_perform (curl);
    curl_easy_getinfo (curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_slist_free_all (headers);
    curl_easy_cleanup (curl);
    return answer;
}

static void test_round_trip (void **state)
{
    world_t *world = *state;
    answer_t answer = fetch (world, admin, "/a%20b?x=1%262", NULL, 0);
    assert_int_equal (answer.code, CURLE_OK); /* with the certificate verified, by address */
    assert_int_equal (answer.status, 200);
    assert_string_equal (answer.text, "GET /a b q=1 1&2 type= headers=1 body=0 user=alice role=2");
    assert_non_null (strstr (answer.headers, "X-Test: yes"));
    assert_non_null (strstr (answer.headers, "nosniff"));
    answer = fetch (world, viewer, "/jobs", "name: x\n", 8);
    assert_string_equal (answer.text,
                         "POST /jobs q=0 type=application/yaml headers=5 body=8 user=bob role=1");
    answer = fetch (world, viewer, "/big", NULL, 0);
    assert_int_equal (answer.status, 200);
    assert_int_equal (answer.size, 5 << 20);
    answer = fetch (world, viewer, "/fail", NULL, 0);
    assert_int_equal (answer.status, 503);
    assert_non_null (strstr (answer.text, "there is no leader"));
}

static void test_tokens (void **state)
{
    world_t *world = *state;
    answer_t answer = fetch (world, NULL, "/api/v1/jobs", NULL, 0);
    assert_int_equal (answer.status, 401);
    assert_non_null (strstr (answer.headers, "application/problem+json"));
    assert_non_null (strstr (answer.headers, "WWW-Authenticate: Bearer"));
    assert_int_equal (fetch (world, "wrong", "/api/v1/jobs", NULL, 0).status, 401);
    assert_int_equal (fetch (world, "", "/nowhere", NULL, 0).status, 401);
    assert_int_equal (fetch (world, NULL, "/livez", NULL, 0).status, 200);
    assert_int_equal (fetch (world, NULL, "/readyz", NULL, 0).status, 200);
    assert_int_equal (fetch (world, NULL, "/metrics", NULL, 0).status, 401);
    /*  A token comes, and all go, without a restart. */
    assert_int_equal (api_tokens_add (world->tokens, "late", "carol", API_ADMIN, NULL), 0);
    struct stat status;
    assert_int_equal (stat (world->tokens, &status), 0);
    assert_int_equal (status.st_mode & 0777, 0600);
    int tries = 0;
    while (fetch (world, "late", "/x", NULL, 0).status != 200 && tries++ < 40)
        usleep (100000);
    assert_true (tries < 40);
    FILE *file = fopen (world->tokens, "w");
    fputs ("this is no hash alice\n", file);
    fclose (file);
    for (tries = 0; fetch (world, "late", "/x", NULL, 0).status == 200 && tries < 40; tries++)
        usleep (100000);
    assert_true (tries < 40);
    assert_int_equal (fetch (world, admin, "/x", NULL, 0).status, 401);
}

static void test_large_bodies (void **state)
{
    world_t *world = *state;
    char *body = calloc (1, 2 << 20);
    answer_t answer = fetch (world, admin, "/x", body, 1 << 20);
    assert_int_equal (answer.status, 200);
    assert_non_null (strstr (answer.text, "body=1048576"));
    assert_int_equal (fetch (world, admin, "/x", body, (1 << 20) + 1).status, 413);
    free (body);
}

/*  The status, or minus libcurl's code. */
static void *fetch_slow (void *context)
{
    answer_t answer = fetch (context, admin, "/slow", NULL, 0);
    return (void *)(intptr_t)(answer.code ? -(long)answer.code : answer.status);
}

/*  Requests that wait hold nobody up, and are all answered. */
static void test_many_at_once (void **state)
{
    world_t *world = *state;
    pthread_t threads[12];
    for (size_t i = 0; i < 12; i++)
        assert_int_equal (pthread_create (&threads[i], NULL, fetch_slow, world), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal (fetch (world, admin, "/quick", NULL, 0).status, 200);
    for (size_t i = 0; i < 12; i++) {
        void *result;
        pthread_join (threads[i], &result);
        assert_int_equal ((intptr_t)result, 200);
    }
}

/*  ---- bytes by hand --------------------------------------------------------------------- */

/*  Sends bytes over TLS and reads until the server closes, or 20 s of silence; the
    number of responses is counted by their status lines. */
static size_t raw (const world_t *world, const char *bytes, char *text, size_t room, bool *closed)
{
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons (world->port)};
    int fd = socket (AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    assert_int_equal (connect (fd, (struct sockaddr *)&address, sizeof (address)), 0);
    assert_int_equal (gnutls_certificate_allocate_credentials (&credentials), 0);
    assert_int_equal (gnutls_init (&session, GNUTLS_CLIENT), 0);
    gnutls_set_default_priority (session);
    gnutls_credentials_set (session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int (session, fd);
    gnutls_handshake_set_timeout (session, 60000);
    int rc;
    do
        rc = gnutls_handshake (session);
    while (rc < 0 && !gnutls_error_is_fatal (rc));
    assert_int_equal (rc, 0);
    assert_true (gnutls_record_send (session, bytes, strlen (bytes)) > 0);
    gnutls_record_set_timeout (session, 20000);
    size_t size = 0, responses = 0;
    *closed = false;
    for (;;) {
        ssize_t got = gnutls_record_recv (session, text + size, room - size - 1);
        if (got == GNUTLS_E_INTERRUPTED || got == GNUTLS_E_AGAIN)
            continue;
        *closed = got != GNUTLS_E_TIMEDOUT && got <= 0;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    text[size] = 0;
    for (const char *at = text; (at = strstr (at, "HTTP/1.")) != NULL; at++)
        responses += at[8] == ' ' && at[9] >= '1' && at[9] <= '5'; /* a status line */
    gnutls_deinit (session);
    gnutls_certificate_free_credentials (credentials);
    close (fd);
    return responses;
}

#define AUTH     "Authorization: Bearer admin-token\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n"

/*  Whatever else the server says to these, it must not answer the request that hides in the body,
   and must close the connection. */
static void test_smuggling (void **state)
{
    world_t *world = *state;
    static const char *const attempts[] = {
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Content-Length: 0\r\nContent-Length: 85\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Content-Length: 85\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH "Content-Length : 85\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH "Content-Length: +0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH "Content-Length: 0x0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\nHost: i\r\n" AUTH "Content-Length: 0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\n" AUTH "Content-Length: 0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.1\r\nHost: h\r\n" AUTH "X\x01Y: 1\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "POST /x HTTP/1.0\r\n" AUTH "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "GET /../x HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n" SMUGGLED,
        "GET /%zz HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n" SMUGGLED,
        "GET /x?a=1&a=2 HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n" SMUGGLED,
        "GET /x\xff HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n" SMUGGLED,
        "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" SMUGGLED, /* no token */
    };
    for (size_t i = 0; i < sizeof (attempts) / sizeof (attempts[0]); i++) {
        char text[8000];
        bool closed;
        /*  Where libmicrohttpd itself refuses, it may send its response's head twice. */
        size_t responses = raw (world, attempts[i], text, sizeof (text), &closed);
        size_t refusals = 0;
        for (const char *at = text; (at = strstr (at, "HTTP/1.")) != NULL; at++)
            refusals += at[8] == ' ' && at[9] == '4';
        if (responses != refusals || strstr (text, "/smuggled") || !closed)
            fail_msg ("attempt %zu: %zu responses, %sclosed:\n%s", i, responses,
                      closed ? "" : "not ", text);
    }
}

/*  What is allowed: pipelined requests, a chunked body, HEAD. */
static void test_honest_bytes (void **state)
{
    world_t *world = *state;
    char text[8000];
    bool closed;
    size_t responses = raw (world,
                            "POST /one HTTP/1.1\r\nHost: h\r\n" AUTH
                            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                            "GET /two HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n"
                            "HEAD /three HTTP/1.1\r\nHost: h\r\n" AUTH "Connection: close\r\n\r\n",
                            text, sizeof (text), &closed);
    assert_int_equal (responses, 3);
    assert_non_null (strstr (text, "POST /one q=0 type= headers=0 body=3"));
    assert_non_null (strstr (text, "GET /two"));
    assert_null (strstr (text, "HEAD /three"));
    assert_true (closed);
}

/*  A client that goes away in the middle does no harm. */
static void test_vanishing_clients (void **state)
{
    world_t *world = *state;
    for (int i = 0; i < 20; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons (world->port)};
        address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
        int fd = socket (AF_INET, SOCK_STREAM, 0);
        assert_int_equal (connect (fd, (struct sockaddr *)&address, sizeof (address)), 0);
        const struct linger abort_it = {1, 0};
        setsockopt (fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof (abort_it));
        assert_int_equal (write (fd, "\x16\x03\x01", 3), 3);
        close (fd);
    }
    CURL *curl = curl_easy_init ();
    char url[300];
    struct curl_slist *headers = curl_slist_append (NULL, "Authorization: Bearer admin-token");
    snprintf (url, sizeof (url), "%s/slow", world->url);
    curl_easy_setopt (curl, CURLOPT_URL, url);
    curl_easy_setopt (curl, CURLOPT_CAINFO, world->authority);
    curl_easy_setopt (curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt (curl, CURLOPT_TIMEOUT_MS, 100L);
    curl_easy_setopt (curl, CURLOPT_NOSIGNAL, 1L);
    assert_int_equal (curl_easy_perform (curl), CURLE_OPERATION_TIMEDOUT);
    curl_easy_cleanup (curl);
    curl_slist_free_all (headers);
    usleep (300000); /* the answer comes to nobody */
    assert_int_equal (fetch (world, admin, "/x", NULL, 0).status, 200);
}

static void *fetch_never (void *context)
{
    return (void *)(intptr_t)fetch (context, admin, "/never", NULL, 0).status;
}

/*  Stopping while a request waits. */
static void test_stop_with_waiting_requests (void **state)
{
    world_t *world = *state;
    pthread_t thread;
    assert_int_equal (pthread_create (&thread, NULL, fetch_never, world), 0);
    usleep (300000);
    zactor_destroy (&world->http);
    void *result;
    pthread_join (thread, &result);
    assert_true ((intptr_t)result == 503 || (intptr_t)result == 0);
}

/*  ---- starting --------------------------------------------------------------------------- */

static nexus_error_t start_error (world_t *world, const api_config_t *config, const char *dir)
{
    nexus_error_t error = {0};
    http_args_t args = {.config = config, .dir = dir};
    child_t child = {.behaviour = &http_behaviour, .name = "http", .instance = 2, .args = &args};
    zactor_t *http = host_new (world->runtime, &child, &error);
    assert_null (http);
    return error;
}

static void test_start_errors (void **state)
{
    world_t *world = *state;
    api_config_t config = world->config;
    char key[100], certificate[100], port[16];
    config.port = world->port;
    nexus_error_t error = start_error (world, &config, world->dir);
    snprintf (port, sizeof (port), "%u", world->port);
    assert_int_equal (error.code, NEXUS_EXISTS);
    assert_non_null (strstr (error.text, port));
    assert_non_null (strstr (error.text, "127.0.0.1"));
    assert_non_null (strstr (error.text, "api.port"));
    config.port = 0;
    config.bind = "no such host.";
    assert_int_equal (start_error (world, &config, world->dir).code, NEXUS_INVALID);
    config.bind = "192.0.2.1"; /* TEST-NET: nobody's */
    assert_int_equal (start_error (world, &config, world->dir).code, NEXUS_IO);
    config.bind = "127.0.0.1";
    assert_int_equal (start_error (world, &config, "/nonexistent").code, NEXUS_IO);
    snprintf (key, sizeof (key), "%s/none.pem", world->dir);
    config.certificate = world->authority;
    config.key = key;
    error = start_error (world, &config, world->dir);
    assert_non_null (strstr (error.text, key));
    snprintf (certificate, sizeof (certificate), "%s/bad.pem", world->dir);
    FILE *file = fopen (certificate, "w");
    fputs ("no certificate\n", file);
    fclose (file);
    config.certificate = certificate;
    config.key = certificate;
    assert_int_equal (start_error (world, &config, world->dir).code, NEXUS_INVALID);
}

static void test_tls_files (void **state)
{
    (void)state;
    char dir[64], certificate[100], key[100];
    struct stat status;
    nexus_error_t error;
    buffer_t first = {0}, again = {0};
    temp_dir_new (dir);
    snprintf (certificate, sizeof (certificate), "%s/c.pem", dir);
    snprintf (key, sizeof (key), "%s/k.pem", dir);
    const char *const names[] = {"10.1.2.3", "master.example", "0.0.0.0", NULL};
    assert_int_equal (tls_files_ensure (certificate, key, names, &error), 0);
    assert_int_equal (stat (key, &status), 0);
    assert_int_equal (status.st_mode & 0777, 0600);
    assert_int_equal (tls_files_read (key, &first, &error), 0);
    /*  They stay; a lost certificate is made again for the same key. */
    assert_int_equal (tls_files_ensure (certificate, key, names, &error), 0);
    assert_int_equal (remove (certificate), 0);
    assert_int_equal (tls_files_ensure (certificate, key, names, &error), 0);
    assert_int_equal (tls_files_read (key, &again, &error), 0);
    assert_int_equal (first.size, again.size);
    assert_memory_equal (first.data, again.data, first.size);
    assert_int_equal (remove (key), 0);
    assert_int_equal (tls_files_ensure (certificate, key, names, &error), -1);
    buffer_free (&first);
    buffer_free (&again);
    temp_dir_remove (dir);
}

int main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST (round_trip),        TEST (tokens),
        TEST (large_bodies),      TEST (many_at_once),
        TEST (smuggling),         TEST (honest_bytes),
        TEST (vanishing_clients), TEST (stop_with_waiting_requests),
        TEST (start_errors),      cmocka_unit_test (test_tls_files),
    };
    curl_global_init (CURL_GLOBAL_ALL);
    setenv ("ZSYS_SIGHANDLER", "false", 1);
    int rc = cmocka_run_group_tests (tests, NULL, NULL);
    curl_global_cleanup ();
    return rc;
}
