/*  snapshots - the actor that keeps a durable copy of the ledger: see the header */
#include "actors/snapshots/snapshots_private.h"

#include "runtime/planted.h"
#include "storage/raft_log_actor.h"

#include <string.h>

#define RETRY_NS   MS_TO_NS (10000)
#define COMPACT_MS 600000

/*  ---- life ------------------------------------------------------------------------------ */

static uint64_t or_default (uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    snapshots_t *self = state;
    (void)error;
    self->args = args;
    self->entries = or_default (self->args->entries, 100000);
    self->log_bytes = or_default (self->args->log_bytes, UINT64_C (1) << 30);
    self->window = or_default (self->args->window, self->entries / 10 + 1);
    self->bytes_per_second = or_default (self->args->bytes_per_second, 32 << 20);
    if (self->bytes_per_second < CHUNK_MAX)
        self->bytes_per_second = CHUNK_MAX;
    self->poll_ns = MS_TO_NS (self->args->poll_ms ? self->args->poll_ms : 1000);
    self->pause_ns = MS_TO_NS (self->args->pause_ms);
    metrics_t *metrics = context_metrics (ctx);
    self->index_metric =
        metrics_gauge (metrics, "nexus_snapshot_index",
                       "Log index that this master's durable copy of the ledger covers.", NULL);
    self->size_metric = metrics_gauge (metrics, "nexus_snapshot_bytes",
                                       "Size of the durable copy of the ledger.", NULL);
    self->made_metric =
        metrics_counter (metrics, "nexus_snapshots_made_total", "Copies of the ledger made.", NULL);
    serve_start (self, ctx);
    fetch_start (self, ctx);
    snapshot_info_t copy;
    self->args->store.current (self->args->store.self, &copy);
    if (copy.index)
        snapshots_stored (self, ctx, &copy, false);
    self->poll_timer = context_after (ctx, self->poll_ns, TIMER_POLL);
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    snapshots_t *self = state;
    (void)ctx;
    serve_end (self);
    message_release (&self->make_request);
}

void snapshots_stored (snapshots_t *self, context_t *ctx, const snapshot_info_t *copy, bool fetched)
{
    if (copy->index >= self->copy.index)
        self->copy = *copy;
    metric_set (self->index_metric, (double)self->copy.index);
    metric_set (self->size_metric, (double)self->copy.size);
    address_t election = address_local ("election", 0);
    snapshot_stored_t stored = {.index = copy->index, .term = copy->term, .fetched = fetched};
    context_send (ctx, &election, &snapshot_stored_record, &stored);
}

/*  ---- making a copy ----------------------------------------------------------------------- */

static void answer_make (snapshots_t *self, context_t *ctx)
{
    if (!self->make_request)
        return;
    snapshot_chunk_t header = serve_header (&self->copy);
    context_reply (ctx, self->make_request, &snapshot_chunk_record, &header);
    message_release (&self->make_request);
}

/*  It is durable. */
static void made (snapshots_t *self, context_t *ctx)
{
    self->make_timer = 0;
    snapshots_stored (self, ctx, &self->made, false);
    fetch_overtaken (self, self->made.index);
    answer_make (self, ctx);
}

static void make (snapshots_t *self, context_t *ctx)
{
    nexus_error_t error;
    int64_t delay_ns = 0;
    if (self->make_timer)
        return;
    if (self->args->store.make (self->args->store.self, &self->made, &delay_ns, &error) != 0) {
        log_warning (context_log (ctx),
                     "no copy of the ledger could be made, so the log can't be compacted",
                     LOG_TEXT ("why", error.text));
        self->retry_ns = context_now (ctx) + RETRY_NS;
        if (self->make_request)
            context_reply_failure (ctx, self->make_request, error.code, "snapshots: %s",
                                   error.text);
        message_release (&self->make_request);
        return;
    }
    metric_add (self->made_metric, 1);
    self->made_ns = context_now (ctx);
    if (delay_ns > 0 && !PLANTED (COMPACT_TOO_EARLY))
        self->make_timer = context_after (ctx, delay_ns, TIMER_MADE);
    else
        made (self, ctx);
}

static void on_make (snapshots_t *self, context_t *ctx, const message_t *message)
{
    snapshot_position_t position;
    const snapshot_make_t *wanted = message->body;
    self->args->store.position (self->args->store.self, &position);
    uint64_t least = wanted->index ? wanted->index : position.applied;
    if (self->make_request || self->fetch.state == FETCH_FLUSHING) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "snapshots: another copy is about to be there: retry");
        return;
    }
    self->make_request = message_retain ((message_t *)message);
    if (self->copy.index && self->copy.index >= least)
        answer_make (self, ctx);
    else if (position.applied == 0) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "snapshots: the ledger is empty: there is nothing to copy yet");
        message_release (&self->make_request);
    } else
        make (self, ctx);
}

/*  ---- compacting ----------------------------------------------------------------------------- */

/*  Entries that stay behind a copy: fewer, if they are large and the log is too. */
static uint64_t window (const snapshots_t *self, const snapshot_position_t *position)
{
    uint64_t count = position->log_last + 1 - position->log_first;
    uint64_t each = count ? position->log_bytes / count + 1 : 1;
    uint64_t room = self->log_bytes / 4 / each;
    return self->window < room ? self->window : room;
}

static void compact (snapshots_t *self, context_t *ctx, const snapshot_position_t *position)
{
    uint64_t keep = window (self, position), to = self->copy.index;
    bool large = position->log_bytes > self->log_bytes;
    /* Who fetches a copy needs the entries behind that one next. */
    uint64_t read = large ? UINT64_MAX : serve_oldest (self, ctx);
    to = to > keep ? to - keep : 0;
    to = to < read ? to : read;
    /* Not for the sake of a few. */
    if (self->compacting || to < position->log_first ||
        (to - position->log_first < self->window / 4 && !large))
        return;
    address_t log =
        address_local (self->args->log_actor ? self->args->log_actor : raft_log_actor.name, 0);
    self->compacting =
        context_request (ctx, &log, &log_compact_record, &(log_compact_t){.index = to}, COMPACT_MS);
}

/*  Is there enough that no copy covers? A copy that somebody reads shall stay the newest: by
    the time that it is there, the log must still begin before its end. */
static bool is_due (snapshots_t *self, context_t *ctx, const snapshot_position_t *position)
{
    uint64_t fresh =
        position->applied > self->copy.index ? position->applied - self->copy.index : 0;
    /* One that was fetched is further than the ledger: an own one must not take its place. */
    if (fresh == 0 || context_now (ctx) < self->retry_ns || self->fetch.state == FETCH_FLUSHING)
        return false;
    /* The log begins somewhere, and nobody can be told how it came to that. */
    if (self->copy.index == 0 && position->log_first > 1)
        return true;
    /* Large, and a copy would make it smaller. */
    uint64_t count = position->log_last + 1 - position->log_first;
    if (position->log_bytes > self->log_bytes && fresh > count / 4)
        return true;
    bool pause = self->made_ns && context_now (ctx) < self->made_ns + self->pause_ns;
    return fresh >= self->entries && !pause && serve_oldest (self, ctx) == UINT64_MAX;
}

static void look (snapshots_t *self, context_t *ctx)
{
    snapshot_position_t position;
    self->args->store.position (self->args->store.self, &position);
    if (is_due (self, ctx, &position))
        make (self, ctx);
    if (self->copy.index)
        compact (self, ctx, &position);
    self->poll_timer = context_after (ctx, self->poll_ns, TIMER_POLL);
}

/*  ---- messages ------------------------------------------------------------------------------- */

static void receive (void *state, context_t *ctx, const message_t *message)
{
    snapshots_t *self = state;
    if (message->flags & MESSAGE_REPLY) {
        if (message->correlation == self->compacting)
            self->compacting = 0; /* if it failed, it is tried again */
        else
            fetch_answer (self, ctx, message);
    } else if (message->role != ROLE_LOCAL && message->role != ROLE_MASTER)
        return;
    else if (message_body (message, snapshot_read))
        serve_read (self, ctx, message);
    else if (message->role != ROLE_LOCAL)
        return;
    else if (message_body (message, snapshot_fetch))
        fetch_offer (self, ctx, message->body);
    else if (message_body (message, snapshot_make))
        on_make (self, ctx, message);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    snapshots_t *self = state;
    (void)id;
    switch (data) {
    case TIMER_POLL:
        look (self, ctx);
        break;
    case TIMER_MADE:
        made (self, ctx);
        break;
    case TIMER_SERVE:
        serve_timer (self, ctx);
        break;
    case TIMER_FETCHED:
        fetch_timer (self, ctx);
        break;
    }
}

const behaviour_t snapshots_behaviour = {
    .name = "snapshots",
    .state_size = sizeof (snapshots_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .stop = stop,
};
