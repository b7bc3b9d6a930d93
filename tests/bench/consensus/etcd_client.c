/*  etcd_client - a load on etcd's KV service: gRPC by hand, over nghttp2 */
#include "tests/bench/consensus/etcd_client.h"

#include "runtime/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS = 2, /* to each member that is asked */
    PREFIX = 5,      /* of a gRPC message: compressed, length */
    REQUEST_MAX = 512,
    ANSWER_MAX = 2048,
    WINDOW = 16 << 20
};

typedef struct call call_t;
typedef struct client client_t;

typedef struct {
    client_t *client;
    unsigned member;
    int fd;     /* -1: none */
    tls_t *tls; /* NULL: without */
    nghttp2_session *session;
    call_t *calls;
    const uint8_t *unsent; /* what the socket didn't take */
    size_t unsent_size;
    bool dirty; /* has something to send, maybe */
} connection_t;

/*  One gRPC call: a stream. */
struct call {
    connection_t *connection;
    call_t *previous, *next;
    uint64_t tag;
    bool get, good; /* grpc-status 0 came */
    size_t sent, size, answer_size;
    uint8_t request[REQUEST_MAX], answer[ANSWER_MAX];
};

struct client {
    int epoll;
    const etcd_endpoints_t *endpoints;
    char authority[LOAD_MEMBERS_MAX][24];
    connection_t connections[LOAD_MEMBERS_MAX][CONNECTIONS];
    unsigned turn;
    call_t *free_calls;
    load_t *load;
    uint64_t lost[LOAD_FLIGHT_MAX * 4]; /* tags of what could not even be sent */
    size_t lost_count;
    uint64_t leader, member_id; /* of a status call */
};

/*  ---- protobuf -------------------------------------------------------------------------- */

static uint8_t *put_varint (uint8_t *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_bytes (uint8_t *out, unsigned field, const void *data, size_t size)
{
    out = put_varint (out, field << 3 | 2);
    out = put_varint (out, size);
    memcpy (out, data, size);
    return out + size;
}

typedef struct {
    const uint8_t *at, *end;
} reader_t;

static uint64_t get_varint (reader_t *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; in->at < in->end && shift < 64; shift += 7) {
        uint8_t byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    return value;
}

/*  The next field: its number, 0 at the end. Either *number or *bytes is set. */
static unsigned get_field (reader_t *in, uint64_t *number, reader_t *bytes)
{
    if (in->at >= in->end)
        return 0;
    uint64_t key = get_varint (in);
    *number = get_varint (in); /* fixed-size fields don't occur in what we read */
    if ((key & 7) == 2) {
        size_t left = (size_t)(in->end - in->at);
        size_t size = *number < left ? (size_t)*number : left;
        *bytes = (reader_t){in->at, in->at + size};
        in->at += size;
    }
    return (unsigned)(key >> 3);
}

/*  ---- answers --------------------------------------------------------------------------- */

/*  RangeResponse: kvs = 2; KeyValue: value = 5. */
static const uint8_t *found_value (reader_t in, size_t *ret_size)
{
    uint64_t number;
    reader_t kv = {0}, value = {0};
    for (unsigned field; (field = get_field (&in, &number, &kv));)
        if (field == 2)
            while ((field = get_field (&kv, &number, &value)))
                if (field == 5) {
                    *ret_size = (size_t)(value.end - value.at);
                    return value.at;
                }
    return NULL;
}

/*  StatusResponse: header = 1 (member_id = 2), leader = 4. */
static void read_status (client_t *self, reader_t in)
{
    uint64_t number;
    reader_t header = {0}, ignored;
    for (unsigned field; (field = get_field (&in, &number, &header));)
        if (field == 4)
            self->leader = number;
        else if (field == 1)
            while ((field = get_field (&header, &number, &ignored)))
                if (field == 2)
                    self->member_id = number;
}

static void call_over (client_t *self, call_t *call)
{
    if (call->previous)
        call->previous->next = call->next;
    else
        call->connection->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    reader_t body = {call->answer + PREFIX, call->answer + call->answer_size};
    const uint8_t *value = NULL;
    size_t value_size = 0;
    bool good = call->good && call->answer_size >= PREFIX;
    if (good && !self->load)
        read_status (self, body);
    if (good && call->get)
        value = found_value (body, &value_size);
    if (self->load)
        load_answer (self->load, call->tag, good ? LOAD_OK : LOAD_FAILED, 0, value, value_size,
                     clock_now_ns ());
    call->next = self->free_calls;
    self->free_calls = call;
}

/*  ---- nghttp2's callbacks ------------------------------------------------------------------ */

static ssize_t on_read (nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t room,
                        uint32_t *flags, nghttp2_data_source *source, void *context)
{
    (void)session, (void)stream, (void)context;
    call_t *call = source->ptr;
    size_t size = call->size - call->sent < room ? call->size - call->sent : room;
    memcpy (buffer, call->request + call->sent, size);
    call->sent += size;
    if (call->sent == call->size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int on_data (nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                    size_t size, void *context)
{
    (void)flags, (void)context;
    call_t *call = nghttp2_session_get_stream_user_data (session, stream);
    if (call && size <= ANSWER_MAX - call->answer_size) {
        memcpy (call->answer + call->answer_size, data, size);
        call->answer_size += size;
    }
    return 0;
}

static int on_header (nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                      size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                      void *context)
{
    (void)flags, (void)context;
    call_t *call = nghttp2_session_get_stream_user_data (session, frame->hd.stream_id);
    if (call && name_size == 11 && !memcmp (name, "grpc-status", 11))
        call->good = value_size == 1 && *value == '0';
    return 0;
}

static int on_close (nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    (void)code;
    connection_t *connection = context;
    call_t *call = nghttp2_session_get_stream_user_data (session, stream);
    if (call)
        call_over (connection->client, call);
    return 0;
}

/*  ---- connections -------------------------------------------------------------------------- */

static void connection_close (connection_t *self)
{
    if (self->fd < 0)
        return;
    nghttp2_session_del (self->session);
    tls_destroy (&self->tls);
    close (self->fd);
    self->session = NULL;
    self->fd = -1;
    self->dirty = false;
    self->unsent_size = 0;
    while (self->calls) {
        self->calls->good = false;
        call_over (self->client, self->calls);
    }
}

static nghttp2_session *new_session (connection_t *connection)
{
    nghttp2_session *session = NULL;
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new (&callbacks))
        return NULL;
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback (callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback (callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback (callbacks, on_close);
    if (!nghttp2_session_client_new (&session, callbacks, connection)) {
        const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                   {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
        nghttp2_submit_settings (session, NGHTTP2_FLAG_NONE, settings, 2);
        nghttp2_session_set_local_window_size (session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    }
    nghttp2_session_callbacks_del (callbacks);
    return session;
}

/*  On loopback a connection is made, or refused, at once. */
static int connection_open (connection_t *self)
{
    const client_t *client = self->client;
    const etcd_endpoints_t *endpoints = client->endpoints;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons (endpoints->ports[self->member]),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    int on = 1, fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect (fd, (struct sockaddr *)&address, sizeof (address)) ||
        (endpoints->identity && !(self->tls = tls_connect (fd, endpoints->identity))) ||
        !(self->session = new_session (self))) {
        tls_destroy (&self->tls);
        if (fd >= 0)
            close (fd);
        return -1;
    }
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof (on));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
    epoll_ctl (client->epoll, EPOLL_CTL_ADD, fd, &event);
    self->fd = fd;
    self->dirty = true;
    return 0;
}

/*  A full socket: loopback drains it at once. */
static ssize_t connection_send (connection_t *self, const uint8_t *data, size_t size)
{
    ssize_t rc;
    do
        rc = self->tls ? tls_send (self->tls, data, size)
                       : send (self->fd, data, size, MSG_NOSIGNAL);
    while (rc < 0 && (errno == EINTR || errno == EAGAIN));
    return rc;
}

/*  Writes what a pass has collected in as few calls as possible. */
static void connection_flush (connection_t *self)
{
    static _Thread_local uint8_t out[256 << 10];
    size_t size = 0;
    self->dirty = false;
    for (;;) {
        if (!self->unsent_size) {
            ssize_t rc = nghttp2_session_mem_send (self->session, &self->unsent);
            if (rc < 0) {
                connection_close (self);
                return;
            }
            self->unsent_size = (size_t)rc;
        }
        if (self->unsent_size && self->unsent_size <= sizeof (out) - size) {
            memcpy (out + size, self->unsent, self->unsent_size);
            size += self->unsent_size;
            self->unsent_size = 0;
            continue;
        }
        if (!size)
            return;
        for (size_t at = 0; at < size;) {
            ssize_t rc = connection_send (self, out + at, size - at);
            if (rc < 0) {
                connection_close (self);
                return;
            }
            at += (size_t)rc;
        }
        size = 0;
    }
}

static void connection_receive (connection_t *self)
{
    static _Thread_local uint8_t in[256 << 10];
    do { /* of TLS all that has come: epoll knows nothing of what lies in its buffers */
        ssize_t size = self->tls ? tls_receive (self->tls, in, sizeof (in))
                                 : recv (self->fd, in, sizeof (in), MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0 || nghttp2_session_mem_recv (self->session, in, (size_t)size) != size) {
            connection_close (self);
            return;
        }
        self->dirty = true;
    } while (self->tls);
}

/*  ---- calls -------------------------------------------------------------------------------- */

static nghttp2_nv header (const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen (name),
                        .valuelen = strlen (value),
                        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static call_t *take_call (client_t *self)
{
    call_t *call = self->free_calls;
    if (call)
        self->free_calls = call->next;
    else
        call = malloc (sizeof (*call));
    assert (call);
    call->next = call->previous = NULL;
    call->sent = call->answer_size = 0;
    call->good = call->get = false;
    return call;
}

/*  The request's message lies in call->request + PREFIX and ends at end. -1 if it can't be sent. */
static int submit (client_t *self, unsigned member, call_t *call, const char *path,
                   const uint8_t *end)
{
    connection_t *connection = &self->connections[member][self->turn++ % CONNECTIONS];
    if (connection->fd < 0 && connection_open (connection))
        return -1;
    size_t size = (size_t)(end - call->request) - PREFIX;
    const uint8_t prefix[PREFIX] = {0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size};
    memcpy (call->request, prefix, PREFIX);
    call->size = size + PREFIX;
    const nghttp2_nv headers[] = {
        header (":method", "POST"),
        header (":scheme", connection->tls ? "https" : "http"),
        header (":path", path),
        header (":authority", self->authority[member]),
        header ("content-type", "application/grpc"),
        header ("te", "trailers"),
    };
    const nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_read};
    call->connection = connection;
    if (nghttp2_submit_request (connection->session, NULL, headers,
                                sizeof (headers) / sizeof (headers[0]), &body, call) < 0)
        return -1;
    call->next = connection->calls;
    if (call->next)
        call->next->previous = call;
    connection->calls = call;
    connection->dirty = true;
    return 0;
}

/*  PutRequest: key = 1, value = 2. RangeRequest: key = 1; linearizable unless it says otherwise. */
static void send_request (void *context, unsigned member, uint64_t tag,
                          const load_request_t *request)
{
    client_t *self = context;
    call_t *call = take_call (self);
    uint8_t *end = put_bytes (call->request + PREFIX, 1, request->key, request->key_size);
    call->tag = tag;
    call->get = request->op == LOAD_GET;
    if (!call->get)
        end = put_bytes (end, 2, request->value, LOAD_VALUE_SIZE);
    if (!submit (self, member, call, call->get ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put",
                 end))
        return;
    call->next = self->free_calls;
    self->free_calls = call;
    if (self->lost_count < sizeof (self->lost) / sizeof (self->lost[0]))
        self->lost[self->lost_count++] = tag;
}

/*  ---- the loop ------------------------------------------------------------------------------ */

static client_t *client_new (const etcd_endpoints_t *endpoints)
{
    client_t *self = calloc (1, sizeof (*self));
    assert (self && endpoints->members <= LOAD_MEMBERS_MAX);
    self->epoll = epoll_create1 (EPOLL_CLOEXEC);
    assert (self->epoll >= 0);
    self->endpoints = endpoints;
    for (unsigned i = 0; i < endpoints->members; i++) {
        snprintf (self->authority[i], sizeof (self->authority[i]), "127.0.0.1:%u",
                  endpoints->ports[i]);
        for (unsigned j = 0; j < CONNECTIONS; j++)
            self->connections[i][j] = (connection_t){.client = self, .member = i, .fd = -1};
    }
    return self;
}

static void client_destroy (client_t **self_p)
{
    client_t *self = *self_p;
    self->load = NULL;
    for (unsigned i = 0; i < self->endpoints->members; i++)
        for (unsigned j = 0; j < CONNECTIONS; j++)
            connection_close (&self->connections[i][j]);
    while (self->free_calls) {
        call_t *call = self->free_calls;
        self->free_calls = call->next;
        free (call);
    }
    close (self->epoll);
    free (self);
    *self_p = NULL;
}

static void flush_all (client_t *self)
{
    for (unsigned i = 0; i < self->endpoints->members; i++)
        for (unsigned j = 0; j < CONNECTIONS; j++)
            if (self->connections[i][j].dirty)
                connection_flush (&self->connections[i][j]);
}

/*  One pass: sends what there is, waits at most that long, takes what came. */
static void pass (client_t *self, int wait_ms)
{
    struct epoll_event events[LOAD_MEMBERS_MAX * CONNECTIONS];
    flush_all (self);
    int count = epoll_wait (self->epoll, events, sizeof (events) / sizeof (events[0]), wait_ms);
    for (int i = 0; i < count; i++) {
        connection_t *connection = events[i].data.ptr;
        if (connection->fd >= 0)
            connection_receive (connection);
    }
}

static void report_lost (client_t *self)
{
    size_t count = self->lost_count;
    self->lost_count = 0;
    for (size_t i = 0; i < count; i++)
        load_answer (self->load, self->lost[i], LOAD_FAILED, 0, NULL, 0, clock_now_ns ());
}

int etcd_client_run (const etcd_endpoints_t *endpoints, const load_config_t *config,
                     load_result_t *result)
{
    client_t *self = client_new (endpoints);
    load_t *load = self->load = load_new (config, result);
    load_start (load, send_request, self, 0, clock_now_ns ());
    int64_t tick_ns = clock_now_ns ();
    while (!load_over (load)) {
        pass (self, load_tick_ms (load));
        report_lost (self);
        int64_t now_ns = clock_now_ns ();
        if (now_ns - tick_ns >= load_tick_ms (load) * INT64_C (1000000)) {
            load_tick (load, now_ns);
            tick_ns = now_ns;
        }
    }
    client_destroy (&self);
    load_destroy (&load);
    return result->total ? 0 : -1;
}

/*  Maintenance.Status of one member; 0 if it does not answer within a second. */
static uint64_t ask_status (client_t *self, unsigned member)
{
    self->leader = self->member_id = 0;
    call_t *call = take_call (self);
    if (submit (self, member, call, "/etcdserverpb.Maintenance/Status", call->request + PREFIX)) {
        call->next = self->free_calls;
        self->free_calls = call;
        return 0;
    }
    int64_t end_ns = clock_now_ns () + INT64_C (1000000000);
    while (!self->member_id && call->connection->calls && clock_now_ns () < end_ns)
        pass (self, 20);
    return self->leader && self->leader == self->member_id;
}

int etcd_client_leader (const etcd_endpoints_t *endpoints)
{
    client_t *self = client_new (endpoints);
    int leader = -1;
    for (unsigned i = 0; i < endpoints->members && leader < 0; i++)
        if (ask_status (self, i))
            leader = (int)i;
    client_destroy (&self);
    return leader;
}
