/*  contributor_operation - the open operation

    Chunks are sent in order, as many as the window holds; each is in flight until
    its result is there. Retries are a question first (PUSH_ASK): data travel
    again only if the shard says that it has not got them.
*/
#include "actors/aggregator/contributor_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMER_DRAIN = 2 };

static const char *name_of (int operation)
{
    return record_choice_name (&data_operation_choices, operation);
}

/*  ---- lending buffers ------------------------------------------------------------------ */

static void borrow_release (void *context)
{
    borrow_t *borrow = context;
    if (atomic_fetch_sub (&borrow->references, 1) == 1)
        free (borrow);
}

static payload_t *lend (borrow_t *borrow, const float *data, size_t floats)
{
    atomic_fetch_add (&borrow->references, 1);
    return payload_new (data, floats * sizeof (float), borrow_release, borrow);
}

/*  ---- opening ----------------------------------------------------------------------------- */

/*  What is wrong with it before anything is sent? */
static int operation_check (contributor_t *self, const operate_t *with, nexus_error_t *error)
{
    bool parameters =
        with->operation == OPERATION_PUSH_PULL || with->operation == OPERATION_PARAMETERS;
    if (self->open.open)
        return nexus_error_set (error, NEXUS_INVALID,
                                "another operation is open: a group belongs to one thread");
    if (!self->has_view)
        return nexus_error_set (error, NEXUS_UNAVAILABLE, "this rank has not joined yet");
    if (self->shard_count == 0)
        return nexus_error_set (error, NEXUS_INVALID,
                                "job %s has no aggregators: set aggregation.shards in its job file",
                                self->args->job_id);
    if (parameters && with->count == 0)
        return nexus_error_set (error, NEXUS_INVALID, "there are no parameters (count is 0)");
    if (with->operation == OPERATION_PUSH_PULL && !self->held)
        return nexus_error_set (error, NEXUS_INVALID,
                                "push_pull before nexus_parameters: call that once first");
    if (with->root >= self->args->world)
        return nexus_error_set (error, NEXUS_INVALID, "root %llu of %llu ranks",
                                (unsigned long long)with->root,
                                (unsigned long long)self->args->world);
    return parameters ? held_prepare (self, with->count, error) : 0;
}

/*  Chunks whose result is here already: an operation that failed is being repeated. */
static void count_finished (contributor_t *self)
{
    open_t *open = &self->open;
    for (uint64_t chunk = 0; chunk < open->chunks; chunk++) {
        bool done = open->past
                        ? open->past->results[chunk].there
                        : open->operation == OPERATION_PUSH_PULL && self->held[chunk].current &&
                              self->held[chunk].version == open->step + 1;
        if (!done)
            continue;
        open->flights[chunk].state = FLIGHT_DONE;
        open->finished++;
    }
}

static int operation_prepare (contributor_t *self, const operate_t *with, nexus_error_t *error)
{
    open_t *open = &self->open;
    uint64_t chunks = (with->count + self->chunk_floats - 1) / self->chunk_floats;
    open->operation = with->operation;
    open->with = *with;
    open->chunks = chunks ? chunks : 1;
    open->step = with->operation == OPERATION_PUSH_PULL    ? self->version
                 : with->operation == OPERATION_PARAMETERS ? 0
                                                           : with->step;
    bool series = with->operation != OPERATION_PUSH_PULL && with->operation != OPERATION_PARAMETERS;
    if (series && !(open->past = past_of (self, open->operation, open->step, open->chunks, error)))
        return -1;
    open->flights = calloc (open->chunks, sizeof (*open->flights));
    open->borrow = malloc (sizeof (*open->borrow));
    if (!open->flights || !open->borrow)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory for %llu chunks",
                                (unsigned long long)open->chunks);
    atomic_init (&open->borrow->references, 1);
    return 0;
}

static void operation_reset (contributor_t *self)
{
    free (self->open.flights);
    if (self->open.borrow)
        borrow_release (self->open.borrow);
    message_release (&self->open.request);
    self->open = (open_t){0};
}

void operation_free (contributor_t *self)
{
    operation_reset (self);
}

static void operation_end (contributor_t *self, context_t *ctx);

void operation_open (contributor_t *self, context_t *ctx, const message_t *request,
                     const operate_t *with)
{
    nexus_error_t error = {0};
    if (operation_check (self, with, &error) < 0) {
        context_reply_failure (ctx, request, error.code, "%s", error.text);
        return;
    }
    if (operation_prepare (self, with, &error) < 0) {
        operation_reset (self);
        if (request)
            context_reply_failure (ctx, request, error.code, "%s: %s", name_of (with->operation),
                                   error.text);
        else
            contributor_left (self, ctx);
        return;
    }
    open_t *open = &self->open;
    open->open = true;
    open->request = request ? message_retain ((message_t *)request) : NULL;
    int64_t timeout_ms = request ? self->args->timeout_ms : self->args->leave_ms;
    open->timeout_ns = MS_TO_NS (timeout_ms ? timeout_ms : request ? 300000 : 10000);
    open->progress_at = context_now (ctx);
    count_finished (self);
    if (self->replaced)
        operation_fail (self, ctx, NEXUS_CANCELLED,
                        "another attempt of this rank runs: this process must end");
    else if (open->finished == open->chunks)
        operation_end (self, ctx);
    else
        operation_pump (self, ctx);
}

/*  ---- sending -------------------------------------------------------------------------------- */

/*  The contribution's bytes, or NULL if this rank gives none. */
static const float *contribution (const contributor_t *self)
{
    const operate_t *with = &self->open.with;
    switch (with->operation) {
    case OPERATION_BARRIER:
        return NULL;
    case OPERATION_BROADCAST:
        if (with->root != self->args->rank)
            return NULL;
        break;
    case OPERATION_PARAMETERS:
        /* Only where nobody has any: the lowest rank, once it is asked or at its first start. */
        if (self->args->rank != 0 || self->args->attempt != 0)
            return NULL;
        break;
    default:
        break;
    }
    return (const float *)(uintptr_t)with->input;
}

static void send_chunk (contributor_t *self, context_t *ctx, uint64_t chunk, push_mode_t mode,
                        const float *data)
{
    open_t *open = &self->open;
    const operate_t *with = &open->with;
    flight_t *flight = &open->flights[chunk];
    const aggregation_t *job = &self->view.aggregation;
    chunk_push_t push = {
        .operation = open->operation,
        .mode = (int)mode,
        .step = open->step,
        .chunk = chunk,
        .chunks = open->chunks,
        .floats = chunk_size (self, with->count, chunk),
        .reduction = with->reduction,
        .root = with->root,
    };
    if (open->operation == OPERATION_PUSH_PULL) {
        push.learning_rate = with->updates ? with->learning_rate : job->learning_rate;
        push.momentum = with->updates ? with->momentum : job->momentum;
        push.weight_decay = with->updates ? with->weight_decay : job->weight_decay;
    }
    payload_t *payload = NULL;
    if (data && push.floats > 0) {
        data += chunk * self->chunk_floats;
        if (flight->again) {
            uint8_t *copy;
            payload = payload_alloc (push.floats * sizeof (float), &copy);
            memcpy (copy, data, push.floats * sizeof (float));
        } else {
            payload = lend (open->borrow, data, push.floats);
        }
        flight->again = true;
    }
    contributor_push (self, ctx, &push, &payload);
    flight->state = FLIGHT_SENT;
    int64_t wait_ms = 1000 << (flight->tries < 4 ? flight->tries : 3);
    if (flight->tries < 4)
        flight->tries++;
    flight->due = context_now (ctx) + MS_TO_NS (wait_ms);
}

static bool can_send (const contributor_t *self, uint64_t chunk)
{
    return self->shards[chunk % self->shard_count].ready;
}

void operation_pump (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    if (!open->open || open->ended)
        return;
    for (; open->next < open->chunks && open->in_flight < self->window; open->next++) {
        flight_t *flight = &open->flights[open->next];
        if (flight->state == FLIGHT_DONE)
            continue;
        open->in_flight++;
        if (can_send (self, open->next))
            send_chunk (self, ctx, open->next, PUSH_CONTRIBUTE, contribution (self));
    }
}

void operation_resend (contributor_t *self, size_t shard)
{
    open_t *open = &self->open;
    if (!open->open || open->ended)
        return;
    for (uint64_t chunk = open->first; chunk < open->next; chunk++) {
        flight_t *flight = &open->flights[chunk];
        if (chunk % self->shard_count != shard || flight->state != FLIGHT_SENT)
            continue;
        flight->state = FLIGHT_UNSENT;
        flight->tries = 0;
        flight->due = 0;
    }
}

static void resend_due (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    int64_t now = context_now (ctx);
    for (uint64_t chunk = open->first; chunk < open->next; chunk++) {
        flight_t *flight = &open->flights[chunk];
        if (flight->state == FLIGHT_DONE || flight->due > now || !can_send (self, chunk))
            continue;
        if (flight->state == FLIGHT_SENT && !contributor_flows (self, ctx, chunk))
            send_chunk (self, ctx, chunk, PUSH_ASK, NULL);
        else if (flight->state == FLIGHT_UNSENT)
            send_chunk (self, ctx, chunk, PUSH_CONTRIBUTE, contribution (self));
    }
}

/*  ---- ending --------------------------------------------------------------------------------- */

static void write_output (const contributor_t *self)
{
    const open_t *open = &self->open;
    float *output = (float *)(uintptr_t)open->with.output;
    for (uint64_t chunk = 0; output && chunk < open->chunks; chunk++) {
        const payload_t *result =
            open->past ? open->past->results[chunk].payload : self->held[chunk].current;
        if (result)
            memcpy (output + chunk * self->chunk_floats, result->data, result->size);
    }
}

static void operation_reply (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    self->failed = open->error.code != NEXUS_OK;
    if (open->hung_up)
        contributor_dial (self, ctx);
    if (!open->request) {
        operation_reset (self);
        contributor_left (self, ctx);
        return;
    }
    if (self->failed) {
        context_reply_failure (ctx, open->request, open->error.code, "%s", open->error.text);
    } else {
        self->operations++;
        context_reply (ctx, open->request, &operated_record,
                       &(operated_t){.version = self->version});
    }
    operation_reset (self);
}

/*  Answers as soon as nothing of the program's memory is on its way any more. What
    is stuck before a connection that does not come goes with a hangup. */
void operation_drain (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    if (!open->open || !open->ended)
        return;
    if (atomic_load (&open->borrow->references) == 1) {
        operation_reply (self, ctx);
        return;
    }
    if (!open->hung_up && context_now (ctx) - open->ended_at > MS_TO_NS (1000)) {
        contributor_hangup (self, ctx);
        open->hung_up = true;
    }
    context_after (ctx, MS_TO_NS (1), TIMER_DRAIN);
}

static void operation_end (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    if (open->error.code == NEXUS_OK) {
        if (open->operation == OPERATION_PUSH_PULL)
            self->version = open->step + 1;
        if (open->past) {
            open->past->complete = true;
            past_trim (self, open->past);
        }
        write_output (self);
    }
    open->ended = true;
    open->ended_at = context_now (ctx);
    operation_drain (self, ctx);
}

void operation_fail (contributor_t *self, context_t *ctx, nexus_code_t code, const char *format,
                     ...)
{
    open_t *open = &self->open;
    if (!open->open || open->ended)
        return;
    va_list args;
    va_start (args, format);
    open->error.code = code;
    vsnprintf (open->error.text, sizeof (open->error.text), format, args);
    va_end (args);
    operation_end (self, ctx);
}

void operation_tick (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    if (!open->open || open->ended)
        return;
    resend_due (self, ctx);
    if (context_now (ctx) - open->progress_at < open->timeout_ns)
        return;
    char text[300];
    contributor_waits_for (self, text);
    operation_fail (self, ctx, NEXUS_DEADLINE,
                    "waited %lld s for %s on %s %llu; %llu of %llu chunks are done",
                    (long long)(open->timeout_ns / 1000000000), text, name_of (open->operation),
                    (unsigned long long)open->step, (unsigned long long)open->finished,
                    (unsigned long long)open->chunks);
}

/*  ---- results ----------------------------------------------------------------------------------
 */

/*  All chunks are here, but a round was open when they were read: those that are
    ahead are read again, as they were at the version that all have. */
static bool read_again (contributor_t *self, context_t *ctx)
{
    open_t *open = &self->open;
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (uint64_t chunk = 0; chunk < open->chunks; chunk++) {
        uint64_t version = self->held[chunk].version;
        lowest = version < lowest ? version : lowest;
        highest = version > highest ? version : highest;
    }
    self->version = lowest;
    if (highest > lowest + 1) {
        operation_fail (self, ctx, NEXUS_CORRUPT,
                        "parts of the parameters are at version %llu, others at %llu: an "
                        "aggregator and every rank that held a copy were lost together; submit "
                        "the job again, from a checkpoint",
                        (unsigned long long)lowest, (unsigned long long)highest);
        return true;
    }
    if (open->step != 0)
        return false;
    bool any = false;
    open->first = open->next = 0;
    for (uint64_t chunk = 0; chunk < open->chunks; chunk++) {
        if (self->held[chunk].version == lowest)
            continue;
        open->flights[chunk] = (flight_t){0};
        open->finished--;
        any = true;
    }
    open->step = lowest + 1;
    if (any)
        operation_pump (self, ctx);
    return any;
}

static void chunk_done (contributor_t *self, context_t *ctx, uint64_t chunk)
{
    open_t *open = &self->open;
    open->flights[chunk].state = FLIGHT_DONE;
    open->in_flight--;
    open->finished++;
    open->progress_at = context_now (ctx);
    open->waiting[0] = '\0';
    while (open->first < open->next && open->flights[open->first].state == FLIGHT_DONE)
        open->first++;
    if (open->finished < open->chunks) {
        operation_pump (self, ctx);
        return;
    }
    if (open->operation == OPERATION_PARAMETERS && read_again (self, ctx))
        return;
    operation_end (self, ctx);
}

static void take_done (contributor_t *self, context_t *ctx, const chunk_result_t *result,
                       payload_t *payload)
{
    open_t *open = &self->open;
    uint64_t chunk = result->chunk;
    size_t wanted = chunk_size (self, open->with.count, chunk) * sizeof (float);
    if ((payload ? payload->size : 0) != wanted) {
        operation_fail (self, ctx, NEXUS_CORRUPT, "%s %llu: chunk %llu came with %zu bytes of %zu",
                        name_of (open->operation), (unsigned long long)open->step,
                        (unsigned long long)chunk, payload ? payload->size : 0, wanted);
        return;
    }
    if (open->past)
        past_put (self, open->past, chunk, wanted ? payload : NULL);
    else if (open->operation == OPERATION_PARAMETERS || result->version == open->step + 1)
        held_put (self, chunk, result->version, payload);
    else
        return;
    chunk_done (self, ctx, chunk);
}

static void take_refusal (contributor_t *self, context_t *ctx, const chunk_result_t *result)
{
    open_t *open = &self->open;
    if (open->operation == OPERATION_PARAMETERS && open->step != 0 &&
        result->code == NEXUS_NOT_FOUND) {
        /* The version before is lost with a shard: this chunk stays one step ahead, and
           the push_pull to come finds it done. */
        log_warning (context_log (ctx), "parameters of two versions",
                     LOG_UINT ("version", self->version), LOG_UINT ("chunk", result->chunk));
        chunk_done (self, ctx, result->chunk);
        return;
    }
    operation_fail (self, ctx, result->code ? (nexus_code_t)result->code : NEXUS_INVALID, "%s",
                    result->text);
}

void operation_result (contributor_t *self, context_t *ctx, const chunk_result_t *result,
                       payload_t *payload)
{
    open_t *open = &self->open;
    if (!open->open || open->ended || result->operation != open->operation ||
        result->step != open->step || result->chunk >= open->chunks)
        return;
    flight_t *flight = &open->flights[result->chunk];
    if (flight->state == FLIGHT_DONE || result->chunk >= open->next)
        return;
    switch ((chunk_status_t)result->status) {
    case CHUNK_DONE:
        take_done (self, ctx, result, payload);
        break;
    case CHUNK_PENDING:
        snprintf (open->waiting, sizeof (open->waiting), "%s", result->text);
        break;
    case CHUNK_MISSING:
        if (flight->state == FLIGHT_SENT)
            send_chunk (self, ctx, result->chunk, PUSH_CONTRIBUTE,
                        open->operation == OPERATION_PARAMETERS
                            ? (const float *)(uintptr_t)open->with.input
                            : contribution (self));
        break;
    case CHUNK_STALE:
        flight->state = FLIGHT_UNSENT;
        flight->due = context_now (ctx) + MS_TO_NS (200);
        contributor_ask_view (self, ctx);
        break;
    case CHUNK_REFUSED:
        take_refusal (self, ctx, result);
        break;
    }
}

/*  ---- whom we wait for
 * --------------------------------------------------------------------------- */

static size_t append (char text[300], size_t length, const char *format, size_t number,
                      const char *why)
{
    if (length < 250)
        length +=
            (size_t)snprintf (text + length, 300 - length, format, length ? ", " : "", number, why);
    return length;
}

void contributor_waits_for (const contributor_t *self, char text[300])
{
    size_t length = 0;
    text[0] = '\0';
    if (!self->has_view) {
        snprintf (text, 300, "the worker's agent");
        return;
    }
    for (size_t rank = 0; rank < self->view.members.count; rank++) {
        const group_member_t *member = &self->view.members.items[rank];
        if (!member->done && record_key_is_zero (&member->key))
            length = append (text, length, "%srank %zu (%s)", rank, "not running");
    }
    for (size_t shard = 0; shard < self->shard_count; shard++)
        if (!self->shards[shard].ready)
            length = append (text, length, "%saggregator %zu (%s)", shard, "not serving");
    const open_t *open = &self->open;
    if (!length && open->open && open->waiting[0])
        length = (size_t)snprintf (text, 300, "%s", open->waiting);
    if (!length && open->open && open->first < open->chunks)
        length = append (text, length, "%saggregator %zu (%s)",
                         (size_t)(open->first % self->shard_count), "no answer");
    if (!length)
        snprintf (text, 300, "the group");
}
