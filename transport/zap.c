#include "transport/zap.h"
#include "transport/identity.h"

#include "runtime/host.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define ENDPOINT  "inproc://zeromq.zap.01"
#define TEXT_MAX  255 /* of an address, a domain, a request id */
#define BATCH_MAX 256

/*  Frames of a question, counted from ROUTER's routing id. */
enum {
    ROUTE,
    DELIMITER,
    VERSION,
    REQUEST_ID,
    DOMAIN,
    ADDRESS,
    IDENTITY,
    MECHANISM,
    CREDENTIALS,
    FRAMES
};

typedef struct {
    uint8_t data[TEXT_MAX + 1]; /* zero behind the content */
    size_t size;                /* TEXT_MAX + 1: it was longer */
} frame_t;

typedef enum { GRANTED, REFUSED, THROTTLED, MALFORMED, STATUSES } status_t;

static const struct {
    const char *code, *text, *label;
} statuses[STATUSES] = {
    {"200", "OK", "status=\"200\""},
    {"400", "this key is not known here", "status=\"400\""},
    {"300", "too many handshakes from this address", "status=\"300\""},
    {"500", "malformed request", "status=\"500\""},
};

/*  A token bucket an address. The table is a cache: two addresses in one slot
    share a bucket's fate, the newer takes the slot with a full bucket. */
#define BUCKETS 4096
typedef struct {
    uint64_t address; /* its hash; 0: free */
    double tokens;
    int64_t filled_ns;
} bucket_t;

typedef struct {
    const zap_config_t *config;
    void *socket;
    frame_t frames[FRAMES];
    bucket_t buckets[BUCKETS];
    metric_t *counters[STATUSES];
} zap_t;

static uint64_t hash (const uint8_t *data, size_t size)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 1099511628211u;
    return h ? h : 1;
}

static bool take_token (zap_t *self, const frame_t *address, int64_t now)
{
    double rate = self->config->rate_per_s > 0 ? self->config->rate_per_s : 100;
    double burst = self->config->burst > 0 ? self->config->burst : 1000;
    uint64_t h = hash (address->data, address->size);
    bucket_t *bucket = &self->buckets[h % BUCKETS];
    if (bucket->address != h)
        *bucket = (bucket_t){h, burst, now};
    bucket->tokens += (double)(now - bucket->filled_ns) * 1e-9 * rate;
    bucket->filled_ns = now;
    if (bucket->tokens > burst)
        bucket->tokens = burst;
    if (bucket->tokens < 1)
        return false;
    bucket->tokens -= 1;
    return true;
}

/*  Reads one whole question; frames past the last known one are read and
    forgotten. Returns the number of frames, 0 if none is waiting. */
static size_t read_question (zap_t *self)
{
    size_t count = 0;
    bool more = true;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init (&part);
        if (zmq_msg_recv (&part, self->socket, ZMQ_DONTWAIT) == -1) {
            zmq_msg_close (&part);
            return 0;
        }
        if (count < FRAMES) {
            frame_t *frame = &self->frames[count];
            size_t size = zmq_msg_size (&part);
            memset (frame->data, 0, sizeof frame->data);
            frame->size = size <= TEXT_MAX ? size : TEXT_MAX + 1;
            memcpy (frame->data, zmq_msg_data (&part), size <= TEXT_MAX ? size : 0);
        }
        count++;
        more = zmq_msg_more (&part);
        zmq_msg_close (&part);
    }
    return count;
}

static bool frame_is (const frame_t *frame, const char *text)
{
    return frame->size == strlen (text) && memcmp (frame->data, text, frame->size) == 0;
}

static status_t judge (zap_t *self, context_t *ctx, size_t count, keyring_entry_t *ret_entry)
{
    const frame_t *f = self->frames;
    if (count != FRAMES || !frame_is (&f[VERSION], "1.0") || f[DOMAIN].size >= KEYRING_DOMAIN_MAX ||
        strlen ((const char *)f[DOMAIN].data) != f[DOMAIN].size || f[ADDRESS].size > TEXT_MAX)
        return MALFORMED;
    if (!take_token (self, &f[ADDRESS], context_now (ctx)))
        return THROTTLED;
    if (!frame_is (&f[MECHANISM], "CURVE") || f[CREDENTIALS].size != 32)
        return REFUSED;
    record_key_t key;
    memcpy (key.bytes, f[CREDENTIALS].data, sizeof key.bytes);
    return keyring_find (self->config->keyring, (const char *)f[DOMAIN].data, &key,
                         context_wall_ms (ctx), ret_entry)
               ? GRANTED
               : REFUSED;
}

static int reply_part (zap_t *self, const void *data, size_t size, bool more)
{
    return zmq_send (self->socket, data, size, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
}

/*  The asking connection may have gone: then nobody waits, and a failed send is fine. */
static void answer (zap_t *self, status_t status, const char *user)
{
    const frame_t *f = self->frames;
    if (reply_part (self, f[ROUTE].data, f[ROUTE].size, true) == -1)
        return;
    reply_part (self, NULL, 0, true);
    reply_part (self, "1.0", 3, true);
    reply_part (self, f[REQUEST_ID].data, f[REQUEST_ID].size, true);
    reply_part (self, statuses[status].code, 3, true);
    reply_part (self, statuses[status].text, strlen (statuses[status].text), true);
    reply_part (self, user, strlen (user), true);
    reply_part (self, NULL, 0, false);
}

static void ready (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)socket, (void)fd, (void)events;
    zap_t *self = state;
    for (int i = 0; i < BATCH_MAX; i++) {
        size_t count = read_question (self);
        if (count == 0)
            return;
        keyring_entry_t entry;
        status_t status = judge (self, ctx, count, &entry);
        metric_add (self->counters[status], 1);
        bool answerable = count > REQUEST_ID && self->frames[ROUTE].size <= TEXT_MAX &&
                          self->frames[DELIMITER].size == 0 &&
                          self->frames[REQUEST_ID].size <= TEXT_MAX;
        char user[65] = "";
        if (status == GRANTED)
            key_to_hex (&entry.key, user);
        if (answerable)
            answer (self, status, user);
    }
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    zap_t *self = state;
    self->config = args;
    assert (self->config && self->config->keyring);
    self->socket = zmq_socket (runtime_zmq (context_runtime (ctx)), ZMQ_ROUTER);
    if (!self->socket)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "zap: can't open a socket: %s",
                                zmq_strerror (errno));
    int zero = 0;
    zmq_setsockopt (self->socket, ZMQ_LINGER, &zero, sizeof zero);
    if (zmq_bind (self->socket, ENDPOINT) == -1) {
        int rc = nexus_error_set (error, NEXUS_EXISTS, "zap: can't bind %s: %s (one a node)",
                                  ENDPOINT, zmq_strerror (errno));
        zmq_close (self->socket);
        return rc;
    }
    for (int i = 0; i < STATUSES; i++)
        self->counters[i] = metrics_counter (context_metrics (ctx), "nexus_zap_requests_total",
                                             "Handshakes judged, by answer.", statuses[i].label);
    context_poll (ctx, self->socket, -1, POLLIN, ready);
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    context_reply_failure (ctx, message, NEXUS_INVALID, "zap takes no messages");
}

static void stop (void *state, context_t *ctx)
{
    zap_t *self = state;
    context_poll (ctx, self->socket, -1, 0, NULL);
    zmq_close (self->socket);
}

const behaviour_t zap_behaviour = {
    .name = "zap",
    .state_size = sizeof (zap_t),
    .start = start,
    .receive = receive,
    .stop = stop,
};
