/*  http - the HTTPS edge */
#include "actors/gateway/http.h"

#include "actors/gateway/api_tokens.h"
#include "actors/gateway/http_guard.h"
#include "actors/gateway/problem.h"
#include "actors/gateway/routes.h"
#include "actors/gateway/tls_files.h"
#include "actors/gateway/uri.h"
#include "actors/protocol/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 256,
    HEADERS_BYTES_MAX = 32768,
    BODY_BYTES_MAX = 1 << 20,
    DISCARD_BYTES_MAX = 8 << 20, /* of a body that is too large, before the connection is cut */
    RECEIVE_MS = 30000,          /* for a request to arrive, and for a response to be taken */
    ANSWER_MS = 45000,           /* for the gateway's answer */
    TICK_MS = 1000,
    TOKEN_BYTES_MAX = 200
};
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

typedef struct http http_t;

/*  A connection and until when it must have got on. */
typedef struct connection {
    struct connection *next, *prev;
    int fd;
    int64_t deadline_ns;
    char peer[64];
} connection_t;

typedef enum {
    REQUEST_HEADERS, /* to be looked at */
    REQUEST_BODY,    /* arrives */
    REQUEST_WAITS,   /* the connection is suspended: the gateway thinks */
    REQUEST_ANSWERED
} request_state_t;

/*  What the gateway is told of a request's headers. */
static const char *const kept_headers[] = {"content-type", "accept", "idempotency-key",
                                           "x-nexus-after", "if-match"};
enum { KEPT_HEADERS = sizeof (kept_headers) / sizeof (kept_headers[0]) };

typedef struct request {
    struct request *next, *prev;
    http_t *http;
    struct MHD_Connection *handle;
    connection_t *connection;
    request_state_t state;
    char *target;
    const char *path; /* in arena, like all that follows */
    record_map_t query;
    record_pair_t headers[KEPT_HEADERS];
    size_t header_count;
    api_role_t role;
    char user[64];
    buffer_t body;
    size_t discarded;
    uint64_t correlation;
    message_t *reply;
    int64_t begun_ns;
    arena_t arena;
} request_t;

struct http {
    const http_args_t *args;
    context_t *ctx;
    struct MHD_Daemon *daemon;
    int epoll_fd;
    int listen_fd; /* until the daemon has it; then -1 */
    uint16_t port;
    api_tokens_t *tokens;
    char certificate_path[1200], key_path[1200], tokens_path[1200];
    connection_t *connections;
    request_t *requests;
    uint64_t timer; /* libmicrohttpd's */
    bool resumed;   /* a connection was: let the daemon run */
    bool stopping;
    metric_t *connected, *seconds;
};

/*  ---- answers ------------------------------------------------------------------ */

static void count_answer (const request_t *request, const char *method, unsigned status)
{
    static const char *const methods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                          "PATCH", "DELETE", "OPTIONS"};
    const char *name = "other";
    for (size_t i = 0; i < sizeof (methods) / sizeof (methods[0]); i++)
        if (strcmp (method, methods[i]) == 0)
            name = methods[i];
    char labels[64];
    snprintf (labels, sizeof (labels), "code=\"%u\",method=\"%s\"", status, name);
    http_t *self = request->http;
    metric_add (metrics_counter (context_metrics (self->ctx), "nexus_http_requests_total",
                                 "Requests to the HTTPS API that were answered.", labels),
                1);
    metric_observe (self->seconds, (double)(context_now (self->ctx) - request->begun_ns) / 1e9);
}

static enum MHD_Result queue (request_t *request, const char *method, unsigned status,
                              struct MHD_Response *response, const char *type)
{
    if (!response)
        return MHD_NO;
    if (type && *type)
        (void)MHD_add_response_header (response, "Content-Type", type);
    (void)MHD_add_response_header (response, "Cache-Control", "no-store");
    (void)MHD_add_response_header (response, "X-Content-Type-Options", "nosniff");
    enum MHD_Result result = MHD_queue_response (request->handle, status, response);
    MHD_destroy_response (response);
    count_answer (request, method, status);
    return result;
}

/*  An error that the edge itself finds; the connection ends with it. */
static enum MHD_Result refuse (request_t *request, const char *method, int status, const char *code,
                               const char *detail)
{
    char *text = problem_json (status, code, detail, NULL);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer (strlen (text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response) {
        (void)MHD_add_response_header (response, "Connection", "close");
        if (status == 401)
            (void)MHD_add_response_header (response, "WWW-Authenticate", "Bearer");
    }
    request->state = REQUEST_ANSWERED;
    return queue (request, method, (unsigned)status, response, PROBLEM_TYPE);
}

static void release_reply (void *message)
{
    message_t *reply = message;
    message_release (&reply);
}

/*  The gateway's answer. Its body is sent from the message, without a copy. */
static enum MHD_Result answer (request_t *request, const char *method)
{
    const http_response_t *from =
        request->reply ? message_body (request->reply, http_response) : NULL;
    const failure_t *failure = request->reply ? message_body (request->reply, failure) : NULL;
    if (!from)
        return refuse (request, method,
                       failure ? nexus_code_http ((nexus_code_t)failure->code) : 503,
                       failure ? nexus_code_name ((nexus_code_t)failure->code) : "unavailable",
                       failure ? failure->text : "this master is shutting down: ask another one");
    message_t *held = message_retain (request->reply);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls (
        from->body.size, (void *)(uintptr_t)from->body.data, release_reply, held);
    if (!response) {
        message_release (&held);
        return MHD_NO;
    }
    for (size_t i = 0; i < from->headers.count; i++)
        (void)MHD_add_response_header (response, from->headers.items[i].key,
                                       from->headers.items[i].value);
    return queue (request, method, (unsigned)from->status, response, from->content_type);
}

/*  ---- a request's headers --------------------------------------------------------- */

static enum MHD_Result guard_one (void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    http_guard_header (cls, name, name_size, value, value_size);
    return MHD_YES;
}

static const char *header (request_t *request, const char *name)
{
    const char *value = MHD_lookup_connection_value (request->handle, MHD_HEADER_KIND, name);
    return value ? value : "";
}

static void keep_header (request_t *request, const char *name)
{
    const char *value = header (request, name);
    const char *copy = *value ? arena_strdup (&request->arena, value) : NULL;
    if (copy)
        request->headers[request->header_count++] = (record_pair_t){name, copy};
}

/*  True if the request may go on: its operation is open, or its token is known. */
static bool authenticate (request_t *request, const char *method)
{
    const route_t *route = routes_find (method, request->path, NULL, NULL);
    const char *value = header (request, "Authorization");
    const char *name = "";
    if (strncasecmp (value, "Bearer ", 7) == 0 && strlen (value) <= TOKEN_BYTES_MAX + 7) {
        request->role = api_tokens_find (request->http->tokens, value + 7, &name);
        snprintf (request->user, sizeof (request->user), "%s", name);
    }
    return request->role != API_NOBODY || (route && route->flags & ROUTE_OPEN);
}

static enum MHD_Result look_at_headers (request_t *request, const char *method, const char *version)
{
    http_guard_t guard = {0};
    nexus_error_t error;
    MHD_get_connection_values_n (request->handle, MHD_HEADER_KIND, guard_one, &guard);
    const char *fault = http_guard_check (&guard, strcmp (version, "HTTP/1.1") == 0);
    if (fault)
        return refuse (request, method, 400, "invalid", fault);
    if (!request->target ||
        uri_parse (request->target, &request->arena, &request->path, &request->query, &error))
        return refuse (request, method, 400, "invalid", request->target ? error.text : "no target");
    if (!authenticate (request, method))
        return refuse (request, method, 401, "denied",
                       *header (request, "Authorization")
                           ? "this token is not known here; it may have been withdrawn"
                           : "a token is needed: send \"Authorization: Bearer TOKEN\"");
    if (strtoull (header (request, "Content-Length"), NULL, 10) > BODY_BYTES_MAX)
        return refuse (request, method, 413, "exhausted", "the body exceeds 1 MiB");
    for (size_t i = 0; i < KEPT_HEADERS; i++)
        keep_header (request, kept_headers[i]);
    request->state = REQUEST_BODY;
    return MHD_YES;
}

/*  ---- a request's body and its way to the gateway ----------------------------------- */

static enum MHD_Result take_body (request_t *request, const char *data, size_t *size)
{
    if (request->body.size + *size <= BODY_BYTES_MAX && !request->discarded)
        buffer_append (&request->body, data, *size);
    else
        request->discarded += *size;
    *size = 0;
    return request->discarded > DISCARD_BYTES_MAX || request->body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result dispatch (request_t *request, const char *method)
{
    http_t *self = request->http;
    if (request->discarded)
        return refuse (request, method, 413, "exhausted", "the body exceeds 1 MiB");
    http_request_t body = {.method = method,
                           .path = request->path,
                           .query = request->query,
                           .headers = {request->headers, request->header_count},
                           .body = {request->body.data, request->body.size},
                           .peer = request->connection ? request->connection->peer : "",
                           .user = request->user,
                           .role = (int)request->role};
    record_faults_t faults = {.count = 0};
    if (record_check (&http_request_record, &body, &request->arena, &faults)) {
        char text[400];
        snprintf (text, sizeof (text), "the request's %.100s: %.250s", faults.items[0].path,
                  faults.items[0].message);
        return refuse (request, method, 400, "invalid", text);
    }
    address_t to = address_local ("gateway", 0);
    request->correlation = context_request (self->ctx, &to, &http_request_record, &body, ANSWER_MS);
    request->state = REQUEST_WAITS;
    if (request->connection)
        request->connection->deadline_ns =
            context_now (self->ctx) + MS_TO_NS (ANSWER_MS + RECEIVE_MS);
    MHD_suspend_connection (request->handle);
    return MHD_YES;
}

static void resume (request_t *request, const message_t *reply)
{
    request->reply = reply ? message_retain ((message_t *)(uintptr_t)reply) : NULL;
    request->state = REQUEST_ANSWERED;
    if (request->connection)
        request->connection->deadline_ns = context_now (request->http->ctx) + MS_TO_NS (RECEIVE_MS);
    request->http->resumed = true;
    MHD_resume_connection (request->handle);
}

/*  ---- libmicrohttpd's callbacks: within MHD_run, on the actor's thread ----------------- */

static enum MHD_Result on_request (void *cls, struct MHD_Connection *handle, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *size, void **request_p)
{
    (void)cls, (void)url;
    request_t *request = *request_p;
    if (!request)
        return MHD_NO;
    request->handle = handle;
    switch (request->state) {
    case REQUEST_HEADERS:
        return look_at_headers (request, method, version);
    case REQUEST_BODY:
        return *size ? take_body (request, data, size) : dispatch (request, method);
    case REQUEST_ANSWERED:
        return answer (request, method);
    case REQUEST_WAITS:
        break;
    }
    return MHD_YES;
}

/*  The first that is heard of a request: its target, before anybody has decoded it. */
static void *on_target (void *cls, const char *target, struct MHD_Connection *handle)
{
    http_t *self = cls;
    request_t *request = calloc (1, sizeof (*request));
    if (!request)
        return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info (handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request->http = self;
    request->handle = handle;
    request->connection = info ? info->socket_context : NULL;
    request->target = strdup (target);
    request->begun_ns = context_now (self->ctx);
    request->body.limit = BODY_BYTES_MAX;
    arena_init (&request->arena, 1 << 20, NULL, 0);
    request->next = self->requests;
    if (self->requests)
        self->requests->prev = request;
    self->requests = request;
    return request;
}

static void on_completed (void *cls, struct MHD_Connection *handle, void **request_p,
                          enum MHD_RequestTerminationCode code)
{
    (void)handle, (void)code;
    http_t *self = cls;
    request_t *request = *request_p;
    if (!request)
        return;
    if (request->next)
        request->next->prev = request->prev;
    if (request->prev)
        request->prev->next = request->next;
    else
        self->requests = request->next;
    if (request->connection)
        request->connection->deadline_ns = context_now (self->ctx) + MS_TO_NS (RECEIVE_MS);
    message_release (&request->reply);
    buffer_free (&request->body);
    arena_reset (&request->arena);
    free (request->target);
    free (request);
    *request_p = NULL;
}

static void describe_peer (struct MHD_Connection *handle, char text[64])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info (handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[48] = "?";
    unsigned port = 0;
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (address && address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy (&in, address, sizeof (in));
        inet_ntop (AF_INET, &in.sin_addr, host, sizeof (host));
        port = ntohs (in.sin_port);
    } else if (address && address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy (&in, address, sizeof (in));
        inet_ntop (AF_INET6, &in.sin6_addr, host, sizeof (host));
        port = ntohs (in.sin6_port);
    }
    snprintf (text, 64, "%s %u", host, port);
}

static void on_connection (void *cls, struct MHD_Connection *handle, void **context,
                           enum MHD_ConnectionNotificationCode code)
{
    http_t *self = cls;
    connection_t *connection = *context;
    metric_add (self->connected, code == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info (handle, MHD_CONNECTION_INFO_CONNECTION_FD);
        connection = calloc (1, sizeof (*connection));
        *context = connection;
        if (!connection)
            return;
        connection->fd = info ? info->connect_fd : -1;
        connection->deadline_ns = context_now (self->ctx) + MS_TO_NS (RECEIVE_MS);
        describe_peer (handle, connection->peer);
        connection->next = self->connections;
        if (self->connections)
            self->connections->prev = connection;
        self->connections = connection;
    } else if (connection) {
        if (connection->next)
            connection->next->prev = connection->prev;
        if (connection->prev)
            connection->prev->next = connection->next;
        else
            self->connections = connection->next;
        free (connection);
        *context = NULL;
    }
}

static void on_log (void *cls, const char *format, va_list arguments)
{
    http_t *self = cls;
    char text[300];
    vsnprintf (text, sizeof (text), format, arguments);
    text[strcspn (text, "\n")] = 0;
    log_debug (context_log (self->ctx), "libmicrohttpd", LOG_TEXT ("text", text));
}

/*  ---- driving libmicrohttpd ----------------------------------------------------------- */

static void run (http_t *self, context_t *ctx)
{
    MHD_UNSIGNED_LONG_LONG ms = TICK_MS;
    self->ctx = ctx;
    self->resumed = false;
    /*  TLS may hold decrypted bytes that no descriptor tells of: then the timeout is 0. */
    for (int i = 0; i < 16; i++) {
        (void)MHD_run (self->daemon);
        if (MHD_get_timeout (self->daemon, &ms) != MHD_YES)
            ms = TICK_MS;
        if (ms)
            break;
    }
    if (self->timer)
        context_cancel (ctx, self->timer);
    self->timer = ms < TICK_MS ? context_after (ctx, MS_TO_NS (ms ? ms : 1), 1) : 0;
}

static void on_ready (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)socket, (void)fd, (void)events;
    run (state, ctx);
}

static void refresh_tokens (http_t *self, context_t *ctx)
{
    nexus_error_t error;
    if (api_tokens_refresh (self->tokens, &error))
        log_warning (context_log (ctx), "tokens can't be read", LOG_TEXT ("reason", error.text));
}

/*  Who has not got on in time is cut off: libmicrohttpd's own time-out starts again
    with every byte, so a slow sender could hold a connection for ever. */
static void cut_slow (http_t *self, context_t *ctx)
{
    int64_t now = context_now (ctx);
    for (connection_t *connection = self->connections; connection; connection = connection->next)
        if (now > connection->deadline_ns) {
            (void)shutdown (connection->fd, SHUT_RDWR);
            connection->deadline_ns = now + MS_TO_NS (RECEIVE_MS);
        }
}

static void http_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    http_t *self = state;
    (void)timer;
    if (data == 1) {
        self->timer = 0;
        run (self, ctx);
        return;
    }
    refresh_tokens (self, ctx);
    cut_slow (self, ctx);
    run (self, ctx);
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
}

static void endpoint_url (const http_t *self, char text[200])
{
    const char *bind = self->args->config->bind;
    bool any = !strcmp (bind, "0.0.0.0") || !strcmp (bind, "::") || !strcmp (bind, "*");
    bool six = !any && strchr (bind, ':');
    snprintf (text, 200, "https://%s%.150s%s:%u", six ? "[" : "", any ? "127.0.0.1" : bind,
              six ? "]" : "", self->port);
}

static void http_receive (void *state, context_t *ctx, const message_t *message)
{
    http_t *self = state;
    if (message_body (message, http_endpoint_get) && message->role == ROLE_LOCAL) {
        char url[200];
        endpoint_url (self, url);
        http_endpoint_t endpoint = {url, self->port, self->certificate_path};
        context_reply (ctx, message, &http_endpoint_record, &endpoint);
        return;
    }
    for (request_t *request = self->requests; request; request = request->next)
        if (message->flags & MESSAGE_REPLY && request->state == REQUEST_WAITS &&
            request->correlation == message->correlation) {
            resume (request, message);
            return;
        }
}

static void http_settle (void *state, context_t *ctx)
{
    http_t *self = state;
    if (self->resumed)
        run (self, ctx);
}

/*  ---- start and stop ---------------------------------------------------------------------- */

static int listen_on (http_t *self, const struct addrinfo *address, nexus_error_t *error)
{
    const api_config_t *config = self->args->config;
    const int yes = 1;
    int fd = socket (address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof (yes)) == 0 &&
        bind (fd, address->ai_addr, address->ai_addrlen) == 0 && listen (fd, 128) == 0) {
        self->listen_fd = fd;
        return 0;
    }
    int why = errno;
    if (fd >= 0)
        close (fd);
    if (why == EADDRINUSE)
        return nexus_error_set (
            error, NEXUS_EXISTS,
            "the API can't listen on %s port %" PRIu64 ": another program does "
            "already (ss -ltnp shows which); stop it, or set api.port to another "
            "port, or to 0 for any free one",
            config->bind, config->port);
    return nexus_error_set (error, NEXUS_IO,
                            "the API can't listen on %s port %" PRIu64
                            ": %s; see api.bind and api.port",
                            config->bind, config->port, strerror (why));
}

static int open_socket (http_t *self, nexus_error_t *error)
{
    const api_config_t *config = self->args->config;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[24];
    snprintf (port, sizeof (port), "%" PRIu64, config->port);
    const char *bind = config->bind && *config->bind ? config->bind : "127.0.0.1";
    int rc = getaddrinfo (strcmp (bind, "*") == 0 ? NULL : bind, port, &hints, &found);
    if (rc)
        return nexus_error_set (
            error, NEXUS_INVALID,
            "the API can't listen on \"%s\": %s; set api.bind to an address of this "
            "machine",
            bind, gai_strerror (rc));
    rc = listen_on (self, found, error);
    freeaddrinfo (found);
    return rc;
}

static int start_daemon (http_t *self, context_t *ctx, nexus_error_t *error)
{
    buffer_t certificate = {0}, key = {0};
    if (tls_files_read (self->certificate_path, &certificate, error) == 0 &&
        tls_files_read (self->key_path, &key, error) == 0 && open_socket (self, error) == 0) {
        self->daemon = MHD_start_daemon (
            MHD_USE_EPOLL | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
            NULL, on_request, self, MHD_OPTION_EXTERNAL_LOGGER, on_log, self,
            MHD_OPTION_LISTEN_SOCKET, self->listen_fd, MHD_OPTION_HTTPS_MEM_CERT,
            (const char *)certificate.data, MHD_OPTION_HTTPS_MEM_KEY, (const char *)key.data,
            MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
            (size_t)HEADERS_BYTES_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(RECEIVE_MS / 1000),
            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_target, self,
            MHD_OPTION_NOTIFY_COMPLETED, on_completed, self, MHD_OPTION_NOTIFY_CONNECTION,
            on_connection, self, MHD_OPTION_END);
        if (!self->daemon)
            nexus_error_set (
                error, NEXUS_INVALID,
                "the API can't start: is %s a certificate, and %s its key, in PEM form?",
                self->certificate_path, self->key_path);
    }
    buffer_free (&certificate);
    if (key.data)
        explicit_bzero (key.data, key.size);
    buffer_free (&key);
    if (!self->daemon)
        return -1;
    self->listen_fd = -1;
    self->port = MHD_get_daemon_info (self->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    self->epoll_fd = MHD_get_daemon_info (self->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    context_poll (ctx, NULL, self->epoll_fd, POLLIN, on_ready);
    return 0;
}

static void choose_path (char path[1200], const char *configured, const char *dir, const char *name)
{
    if (configured && *configured)
        snprintf (path, 1200, "%s", configured);
    else
        snprintf (path, 1200, "%s/%s", dir, name);
}

static int prepare_files (http_t *self, nexus_error_t *error)
{
    const http_args_t *args = self->args;
    const char *names[TLS_NAMES_MAX + 1] = {args->config->bind};
    for (size_t i = 0; args->names && args->names[i] && i + 1 < TLS_NAMES_MAX; i++)
        names[i + 1] = args->names[i];
    choose_path (self->certificate_path, args->config->certificate, args->dir, "api-cert.pem");
    choose_path (self->key_path, args->config->key, args->dir, "api-key.pem");
    choose_path (self->tokens_path, args->config->tokens, args->dir, "api-tokens");
    if (tls_files_ensure (self->certificate_path, self->key_path, names, error))
        return -1;
    self->tokens = api_tokens_new (self->tokens_path);
    return self->tokens ? 0 : nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
}

static void http_stop (void *state, context_t *ctx)
{
    http_t *self = state;
    self->ctx = ctx;
    if (self->daemon) {
        context_poll (ctx, NULL, self->epoll_fd, 0, on_ready);
        for (request_t *request = self->requests; request; request = request->next)
            if (request->state == REQUEST_WAITS)
                resume (request, NULL);
        (void)MHD_run (self->daemon);
        MHD_stop_daemon (self->daemon);
    }
    if (self->listen_fd >= 0)
        close (self->listen_fd);
    api_tokens_destroy (&self->tokens);
}

static int http_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    http_t *self = state;
    metrics_t *metrics = context_metrics (ctx);
    self->args = args;
    self->ctx = ctx;
    self->listen_fd = -1;
    self->connected = metrics_gauge (metrics, "nexus_http_connections",
                                     "Open connections to the HTTPS API.", NULL);
    self->seconds = metrics_histogram (metrics, "nexus_http_request_duration_seconds",
                                       "From a request's first byte to its answer.", NULL, NULL, 0);
    if (prepare_files (self, error) || start_daemon (self, ctx, error)) {
        http_stop (self, ctx);
        return -1;
    }
    char url[200];
    endpoint_url (self, url);
    log_info (context_log (ctx), "API listens", LOG_TEXT ("url", url));
    refresh_tokens (self, ctx);
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
    return 0;
}

const behaviour_t http_behaviour = {.name = "http",
                                    .state_size = sizeof (http_t),
                                    .start = http_start,
                                    .receive = http_receive,
                                    .timer = http_timer,
                                    .settle = http_settle,
                                    .stop = http_stop};
