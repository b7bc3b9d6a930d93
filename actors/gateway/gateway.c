/*  gateway - the management API's behaviour */
#include "actors/gateway/gateway.h"

#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"
#include "actors/protocol/consensus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { TIMER_TICK, TIMER_APPLY }; /* a timer's data */

#define STALE_SHOWS "?stale=true (of the command: --stale) shows what this one knows as it is"

/*  ---- masters ----------------------------------------------------------------- */

static gateway_master_t *find_master (gateway_t *self, const record_key_t *key)
{
    for (size_t i = 0; i < self->master_count; i++)
        if (memcmp (&self->masters[i].master.key, key, sizeof (*key)) == 0)
            return &self->masters[i];
    return NULL;
}

const char *gateway_leader (const gateway_t *self)
{
    if (record_key_is_zero (&self->leadership.leader))
        return "";
    const gateway_master_t *leader = find_master ((gateway_t *)self, &self->leadership.leader);
    return leader ? leader->name : "";
}

/*  The masters that don't answer. */
static void name_missing (const gateway_t *self, context_t *ctx, char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < self->master_count; i++) {
        size_t used = strlen (text);
        if (!gateway_reachable (self, ctx, &self->masters[i]))
            snprintf (text + used, size - used, "%s%s", count++ ? ", " : "", self->masters[i].name);
    }
    size_t used = strlen (text);
    snprintf (text + used, size - used, "%s",
              count ? " cannot be reached yet"
                    : "all of them can be reached: it is about to begin");
}

void gateway_no_leader (const gateway_t *self, context_t *ctx, char text[GATEWAY_TEXT_MAX])
{
    static const char *const texts[] = {
        [STANDING_MEMBER] = "fewer than half of the masters are up and reachable, or an election "
                            "is going on",
        [STANDING_FOUNDING] = "the cluster is not founded yet: for that, all the masters of the "
                              "configuration must be up once; ",
        [STANDING_STRANGE] = "the cluster is not founded: another master was set up with other "
                             "`masters:`, or without `join: true`; this one's log says which",
        [STANDING_JOINING] = "this master has not been let in yet: nexus master add, of a master "
                             "of the cluster",
        [STANDING_REFUSED] = "this master's log is not the one that the others have on record: its "
                             "disk was lost or replaced; " CONSENSUS_REPLACE_MASTER,
        [STANDING_OUTSIDE] = GATEWAY_OUTSIDE,
    };
    snprintf (text, GATEWAY_TEXT_MAX, "%s", texts[self->leadership.standing]);
    if (self->leadership.standing == STANDING_FOUNDING)
        name_missing (self, ctx, text, GATEWAY_TEXT_MAX);
}

void gateway_unconfirmed (const gateway_t *self, context_t *ctx, const failure_t *why,
                          char text[GATEWAY_TEXT_MAX])
{
    if (self->leadership.standing == STANDING_MEMBER)
        snprintf (text, GATEWAY_TEXT_MAX,
                  "no majority of the masters confirms that what this one knows is up to date "
                  "(%.200s): ask again; " STALE_SHOWS,
                  why ? why->text : "no answer");
    else {
        gateway_no_leader (self, ctx, text);
        size_t used = strlen (text);
        snprintf (text + used, GATEWAY_TEXT_MAX - used, "; " STALE_SHOWS);
    }
}

bool gateway_reachable (const gateway_t *self, context_t *ctx, const gateway_master_t *master)
{
    (void)self;
    if (memcmp (&master->master.key, context_node (ctx), sizeof (record_key_t)) == 0)
        return true;
    return master->heard_ns && context_now (ctx) - master->heard_ns <= MS_TO_NS (GATEWAY_HEARD_MS);
}

static void copy_master (gateway_t *self, const master_t *from)
{
    gateway_master_t *to = find_master (self, &from->key);
    if (!to) {
        if (self->master_count == GATEWAY_MASTERS_MAX)
            return;
        to = &self->masters[self->master_count++];
        *to = (gateway_master_t){0};
    }
    snprintf (to->name, sizeof (to->name), "%s", from->name ? from->name : "");
    snprintf (to->endpoint, sizeof (to->endpoint), "%s", from->endpoint ? from->endpoint : "");
    snprintf (to->api, sizeof (to->api), "%s", from->api ? from->api : "");
    to->master = (master_t){from->key, to->name, to->endpoint, to->api};
}

/*  Keeps what is known of those that the list names; the others are gone. */
static void take_masters (gateway_t *self, const master_t *masters, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->master_count; i++) {
        bool named = false;
        for (size_t j = 0; j < count && !named; j++)
            named =
                memcmp (&self->masters[i].master.key, &masters[j].key, sizeof (record_key_t)) == 0;
        if (named && kept != i)
            self->masters[kept] = self->masters[i];
        kept += named;
    }
    self->master_count = kept;
    for (size_t i = 0; i < count; i++)
        copy_master (self, &masters[i]);
    for (size_t i = 0; i < self->master_count; i++) { /* they may have moved */
        gateway_master_t *master = &self->masters[i];
        master->master =
            (master_t){master->master.key, master->name, master->endpoint, master->api};
    }
}

/*  The ledger's, or as long as it knows none, the configured ones. */
static void read_masters (gateway_t *self)
{
    arena_t arena;
    arena_init (&arena, 1 << 20, NULL, 0);
    void *items = NULL;
    size_t count = 0;
    tables_txn_t *txn = tables_begin (self->args->tables, false, NULL);
    if (txn &&
        ledger_list (txn, LEDGER_MASTERS, NULL, NULL, GATEWAY_MASTERS_MAX, &arena, &items, &count,
                     NULL) == 0 &&
        count)
        take_masters (self, items, count);
    else
        take_masters (self, self->args->masters, self->args->master_count);
    arena_reset (&arena);
    if (txn)
        tables_abort (&txn);
}

static void probe_masters (gateway_t *self, context_t *ctx)
{
    gateway_probe_t probe = {.term = self->leadership.term};
    for (size_t i = 0; i < self->master_count; i++) {
        gateway_master_t *master = &self->masters[i];
        if (memcmp (&master->master.key, context_node (ctx), sizeof (record_key_t)) == 0)
            continue;
        address_t to = address_remote (&master->master.key, "gateway", 0);
        master->probe = context_request (ctx, &to, &gateway_probe_record, &probe, GATEWAY_TICK_MS);
    }
}

/*  ---- building calls ------------------------------------------------------------ */

static bool begins_with (const char *text, const char *start)
{
    return strncasecmp (text, start, strlen (start)) == 0;
}

/*  Query parameters are text; numbers and truth values are made of them here, by the
    record's table, so that the record's own check can say what is wrong. */
static json_t *query_value (const record_t *record, const record_pair_t *pair)
{
    for (size_t i = 0; i < record->field_count; i++) {
        record_type_t type = record->fields[i].type;
        if (strcmp (record->fields[i].name, pair->key) != 0)
            continue;
        size_t digits = strspn (pair->value + (pair->value[0] == '-'), "0123456789");
        bool number = digits && digits <= 18 && !pair->value[digits + (pair->value[0] == '-')];
        if ((type == RECORD_TYPE_UINT || type == RECORD_TYPE_INT) && number)
            return json_integer (strtoll (pair->value, NULL, 10));
        if (type == RECORD_TYPE_BOOL && strcmp (pair->value, "true") == 0)
            return json_true ();
        if (type == RECORD_TYPE_BOOL && strcmp (pair->value, "false") == 0)
            return json_false ();
    }
    return json_string (pair->value);
}

/*  Is it stale, which every operation that reads takes? Then it is read here. */
static bool read_stale (call_t *call, const record_pair_t *pair)
{
    if (!route_reads (call->route) || strcmp (pair->key, "stale") != 0)
        return false;
    call->stale = strcmp (pair->value, "true") == 0;
    if (!call->stale && strcmp (pair->value, "false") != 0)
        record_fault (&call->faults, &call->arena, "stale", 0, "expected true or false");
    return true;
}

static int read_query (call_t *call)
{
    const record_map_t *query = &call->request->query;
    const record_t *record = call->route->query;
    for (size_t i = 0; !record && i < query->count; i++)
        if (!read_stale (call, &query->items[i]))
            record_fault (&call->faults, &call->arena, query->items[i].key, 0,
                          "this operation takes no such query parameter");
    if (!record)
        return call->faults.count ? -1 : 0;
    call->query = arena_alloc (&call->arena, record->size);
    json_t *json = json_object ();
    for (size_t i = 0; i < query->count; i++)
        if (!read_stale (call, &query->items[i]))
            json_object_set_new (json, query->items[i].key, query_value (record, &query->items[i]));
    int rc = call->query
                 ? record_from_json (record, json, 0, &call->arena, call->query, &call->faults)
                 : -1;
    json_decref (json);
    return call->faults.count ? -1 : rc;
}

static int read_json (call_t *call)
{
    const record_bytes_t *body = &call->request->body;
    json_error_t error;
    json_t *json =
        json_loadb ((const char *)body->data, body->size, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        record_fault (&call->faults, &call->arena, "", error.line > 0 ? error.line : 0,
                      "this is no JSON: %s", error.text);
        return -1;
    }
    int rc =
        record_from_json (call->route->request, json, 0, &call->arena, call->body, &call->faults);
    json_decref (json);
    return rc;
}

/*  0, or -1 with the call answered or faults added. */
static int read_body (call_t *call, bool *answered)
{
    const record_t *record = call->route->request;
    const record_bytes_t *body = &call->request->body;
    const char *type = call_header (call, "content-type");
    if (!record)
        return 0;
    call->body = arena_alloc (&call->arena, record->size);
    if (!call->body)
        return -1;
    if (call_body_is_yaml (call))
        return record_from_yaml (record, (const char *)body->data, body->size, 0, &call->arena,
                                 call->body, &call->faults);
    if (*type && !begins_with (type, "application/json")) {
        call_problem (call, 415, "invalid",
                      "Content-Type is \"%.60s\": send application/json or application/yaml", type);
        *answered = true;
        return -1;
    }
    if (body->size)
        return read_json (call);
    json_t *nothing = json_object ();
    int rc = record_from_json (record, nothing, 0, &call->arena, call->body, &call->faults);
    json_decref (nothing);
    return rc;
}

static bool find_route (call_t *call)
{
    char allow[64] = "";
    const http_request_t *request = call->request;
    call->route = routes_find (request->method, request->path, &call->arguments, allow);
    if (!call->route && !*allow) {
        call_fail (call, NEXUS_NOT_FOUND, "there is no %.100s; /openapi.json lists what there is",
                   request->path);
        return false;
    }
    if (!call->route) {
        call_add_header (call, "Allow", allow);
        call_problem (call, 405, "invalid", "%.16s is no method of %.100s, which takes %s",
                      request->method, request->path, allow);
        return false;
    }
    bool reads = strcmp (call->route->method, "GET") == 0 && !(call->route->flags & ROUTE_ADMIN);
    if (!(call->route->flags & ROUTE_OPEN) && request->role < (reads ? API_VIEWER : API_ADMIN)) {
        call_fail (call, NEXUS_DENIED, "the token \"%.63s\" may not do this: %s", request->user,
                   reads ? "it allows nothing" : "it may only read; use one of role admin");
        return false;
    }
    return true;
}

/*  Builds the call of a request; false: it is answered already. Ends with call_end either way. */
static bool call_begin (call_t *call, gateway_t *self, context_t *ctx, const message_t *message)
{
    *call = (call_t){.gateway = self, .ctx = ctx, .message = message, .request = message->body};
    arena_init (&call->arena, 64 << 20, NULL, 0);
    if (!find_route (call))
        return false;
    bool answered = false;
    int query = read_query (call);
    int body = read_body (call, &answered);
    if (answered)
        return false;
    if (query || body) {
        call_problem (call, 400, "invalid", "the request has %zu fault%s: %s%s%s",
                      call->faults.count, call->faults.count == 1 ? "" : "s",
                      call->faults.count ? call->faults.items[0].path : "",
                      call->faults.count && call->faults.items[0].path[0] ? ": " : "",
                      call->faults.count ? call->faults.items[0].message : "out of memory");
        return false;
    }
    nexus_error_t error;
    call->txn = tables_begin (self->args->tables, false, &error);
    if (!call->txn && error.code == NEXUS_CORRUPT)
        error.code = NEXUS_UNAVAILABLE; /* here only: the next master may know */
    if (!call->txn)
        call_fail_error (call, &error);
    return call->txn != NULL;
}

static void call_end (call_t *call)
{
    tables_abort (&call->txn);
    arena_reset (&call->arena);
}

/*  ---- requests that wait --------------------------------------------------------- */

gateway_pending_t *gateway_keep (call_t *call, call_next_t *next)
{
    gateway_t *self = call->gateway;
    if (self->pending_count == GATEWAY_PENDING_MAX) {
        call_fail (call, NEXUS_UNAVAILABLE, "%d requests wait already; ask again in a second",
                   GATEWAY_PENDING_MAX);
        return NULL;
    }
    gateway_pending_t *pending = &self->pending[self->pending_count++];
    *pending =
        (gateway_pending_t){.request = message_retain ((message_t *)call->message), .next = next};
    return pending;
}

/*  Takes the pending request out and lets it go on. */
static void resume (gateway_t *self, context_t *ctx, size_t at, const message_t *reply)
{
    gateway_pending_t pending = self->pending[at];
    self->pending[at] = self->pending[--self->pending_count];
    if (pending.timer)
        context_cancel (ctx, pending.timer);
    call_t call;
    if (call_begin (&call, self, ctx, pending.request)) {
        call.value = pending.value;
        call.gather = pending.gather;
        pending.next (&call, reply);
    }
    call_end (&call);
    gateway_gather_destroy (&pending.gather);
    message_release (&pending.request);
}

static void fail_pending (gateway_t *self, context_t *ctx, size_t at, const failure_t *failure)
{
    gateway_pending_t pending = self->pending[at];
    self->pending[at] = self->pending[--self->pending_count];
    call_t call;
    bool unknown = pending.wait == GATEWAY_PROPOSED && failure && failure->code == NEXUS_DEADLINE;
    if (call_begin (&call, self, ctx, pending.request))
        call_fail (&call, (nexus_code_t)(failure ? failure->code : NEXUS_UNAVAILABLE), "%s",
                   unknown ? "too few masters answered in time: nobody knows yet whether this was "
                             "done. Look before you do it again"
                   : failure ? failure->text
                             : "an actor answered with the wrong kind of message");
    call_end (&call);
    message_release (&pending.request);
}

static bool is_applied (gateway_t *self, uint64_t index)
{
    if (self->applied >= index)
        return true;
    tables_txn_t *txn = tables_begin (self->args->tables, false, NULL);
    if (!txn)
        return false;
    uint64_t applied = ledger_number (txn, LEDGER_APPLIED);
    tables_abort (&txn);
    if (applied > self->applied)
        self->applied = applied;
    return applied >= index;
}

/*  Not every command changes a table that is followed, and so not each is announced: look as well. */
static void await_applied (gateway_t *self, context_t *ctx, size_t at)
{
    gateway_pending_t *pending = &self->pending[at];
    pending->timer = 0;
    if (is_applied (self, pending->index) || context_now (ctx) >= pending->until_ns)
        resume (self, ctx, at, NULL);
    else {
        pending->look_ms = pending->look_ms ? 2 * pending->look_ms : 1;
        if (pending->look_ms > GATEWAY_LOOK_MS)
            pending->look_ms = GATEWAY_LOOK_MS;
        pending->timer = context_after (ctx, MS_TO_NS (pending->look_ms), TIMER_APPLY);
    }
}

/*  A proposal's answer: the call goes on when this master's ledger has it too, or
    when that takes too long: it is durable either way. */
static void receive_proposed (gateway_t *self, context_t *ctx, size_t at, const message_t *reply)
{
    const proposed_t *proposed = message_body (reply, proposed);
    gateway_pending_t *pending = &self->pending[at];
    if (!proposed) {
        fail_pending (self, ctx, at, message_body (reply, failure));
        return;
    }
    pending->wait = GATEWAY_APPLIED;
    pending->correlation = 0;
    pending->index = proposed->index;
    snprintf (pending->value, sizeof (pending->value), "%s",
              proposed->value ? proposed->value : "");
    pending->until_ns = context_now (ctx) + MS_TO_NS (GATEWAY_APPLY_MS);
    pending->look_ms = 0;
    await_applied (self, ctx, at);
}

static void receive_applied (gateway_t *self, context_t *ctx, uint64_t index)
{
    self->applied = index > self->applied ? index : self->applied;
    for (size_t i = self->pending_count; i-- > 0;)
        if (self->pending[i].wait == GATEWAY_APPLIED && self->pending[i].index <= self->applied)
            resume (self, ctx, i, NULL);
}

/*  A majority has confirmed that this master's ledger is up to date, or not. */
static void receive_confirmed (gateway_t *self, context_t *ctx, const message_t *reply)
{
    char text[GATEWAY_TEXT_MAX];
    const failure_t *failure = message_body (reply, failure);
    failure_t unconfirmed = {.code = NEXUS_UNAVAILABLE, .text = text};
    gateway_unconfirmed (self, ctx, failure, text);
    self->barrier = 0;
    for (size_t i = self->pending_count; i-- > 0;) {
        if (self->pending[i].wait != GATEWAY_CONFIRMED)
            continue;
        if (failure)
            fail_pending (self, ctx, i, &unconfirmed);
        else
            resume (self, ctx, i, NULL);
    }
}

/*  True if somebody gathers it. */
static bool receive_gathered (gateway_t *self, context_t *ctx, const message_t *reply)
{
    for (size_t i = 0; i < self->pending_count; i++) {
        gateway_gather_t *gather = self->pending[i].gather;
        if (!gather || !gateway_gather_take (gather, reply))
            continue;
        if (gateway_gather_complete (gather))
            resume (self, ctx, i, NULL);
        return true;
    }
    return false;
}

static void receive_reply (gateway_t *self, context_t *ctx, const message_t *reply)
{
    if (self->barrier && reply->correlation == self->barrier) {
        receive_confirmed (self, ctx, reply);
        return;
    }
    if (receive_gathered (self, ctx, reply))
        return;
    for (size_t i = 0; i < self->pending_count; i++)
        if (self->pending[i].correlation == reply->correlation) {
            if (self->pending[i].wait == GATEWAY_PROPOSED)
                receive_proposed (self, ctx, i, reply);
            else
                resume (self, ctx, i, reply);
            return;
        }
    const gateway_state_t *state = message_body (reply, gateway_state);
    for (size_t i = 0; state && i < self->master_count; i++)
        if (self->masters[i].probe == reply->correlation) {
            self->masters[i].state = *state;
            self->masters[i].heard_ns = context_now (ctx);
        }
}

/*  ---- the behaviour ---------------------------------------------------------------- */

static void with_view (call_t *call, const message_t *reply)
{
    call->view = message_body (reply, cluster_view);
    call->route->handler (call);
}

/*  The call's snapshot may be read. */
static void serve (call_t *call, const message_t *reply)
{
    (void)reply;
    if (!(call->route->flags & ROUTE_VIEW)) {
        call->route->handler (call);
        return;
    }
    bool job = strncmp (call->route->path, "/api/v1/jobs/", 13) == 0;
    cluster_view_get_t get = {
        .job_id = job && strlen (call->arguments.items[0]) <= 63 ? call->arguments.items[0] : ""};
    address_t to = address_local ("scheduler", 0);
    call_ask (call, &to, &cluster_view_get_record, &get, GATEWAY_VIEW_MS, with_view);
}

static void receive_http (gateway_t *self, context_t *ctx, const message_t *message)
{
    call_t call;
    if (call_begin (&call, self, ctx, message)) {
        gateway_pending_t *pending = NULL;
        if (call.stale || call.route->flags & (ROUTE_OPEN | ROUTE_LOCAL | ROUTE_ASKS))
            serve (&call, NULL);
        else
            pending = gateway_keep (&call, serve);
        if (pending)
            pending->wait = GATEWAY_BARRIER;
    }
    call_end (&call);
}

/*  All reads of a turn, and those that came while a barrier was under way, share the next. */
static void gateway_settle (void *state, context_t *ctx)
{
    gateway_t *self = state;
    bool any = false;
    if (self->barrier)
        return;
    for (size_t i = 0; i < self->pending_count; i++)
        if (self->pending[i].wait == GATEWAY_BARRIER) {
            self->pending[i].wait = GATEWAY_CONFIRMED;
            any = true;
        }
    address_t to = address_local ("election", 0);
    if (any)
        self->barrier =
            context_request (ctx, &to, &read_barrier_record, &(read_barrier_t){0}, GATEWAY_READ_MS);
}

static void answer_probe (gateway_t *self, context_t *ctx, const message_t *message)
{
    is_applied (self, UINT64_MAX); /* as of now */
    gateway_state_t state = {.term = self->leadership.term,
                             .leading = self->leadership.leading,
                             .applied = self->applied,
                             .standing = self->leadership.standing};
    context_reply (ctx, message, &gateway_state_record, &state);
}

static void gateway_receive (void *state, context_t *ctx, const message_t *message)
{
    gateway_t *self = state;
    const leadership_t *leadership = message_body (message, leadership);
    const ledger_changed_t *changed = message_body (message, ledger_changed);
    if (message->flags & MESSAGE_REPLY)
        receive_reply (self, ctx, message);
    else if (message->role == ROLE_LOCAL && message_body (message, http_request))
        receive_http (self, ctx, message);
    else if (message_body (message, gateway_probe))
        answer_probe (self, ctx, message);
    else if (message->role == ROLE_LOCAL && leadership)
        self->leadership = *leadership;
    else if (message->role == ROLE_LOCAL && changed)
        receive_applied (self, ctx, changed->index);
}

static void measure_ledger (gateway_t *self, context_t *ctx)
{
    size_t used, limit;
    metrics_t *metrics = context_metrics (ctx);
    tables_usage (self->args->tables, &used, &limit);
    metric_set (metrics_gauge (metrics, "nexus_ledger_used_bytes",
                               "Bytes of the ledger's map that are in use.", NULL),
                (double)used);
    metric_set (
        metrics_gauge (metrics, "nexus_ledger_limit_bytes", "Size of the ledger's map.", NULL),
        (double)limit);
}

/*  Subscriptions are renewed every time: the other actors may have been restarted. */
static void tick (gateway_t *self, context_t *ctx)
{
    leadership_subscribe_t leadership = {.on = true};
    /*  Not each time that somebody writes to the key-value store: that is often. */
    const uint64_t others = 1u << LEDGER_META | 1u << LEDGER_KV | 1u << LEDGER_REQUESTS;
    const uint64_t all = (UINT64_C (1) << LEDGER_TABLES) - 1;
    ledger_subscribe_t ledger = {.on = true, .tables = all & ~others};
    address_t to = address_local ("election", 0);
    context_send (ctx, &to, &leadership_subscribe_record, &leadership);
    to = address_local ("ledger", 0);
    context_send (ctx, &to, &ledger_subscribe_record, &ledger);
    read_masters (self);
    probe_masters (self, ctx);
    measure_ledger (self, ctx);
    context_after (ctx, MS_TO_NS (GATEWAY_TICK_MS), TIMER_TICK);
}

static void gateway_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    gateway_t *self = state;
    if (data == TIMER_TICK) {
        tick (self, ctx);
        return;
    }
    for (size_t i = 0; i < self->pending_count; i++)
        if (self->pending[i].timer == timer) {
            await_applied (self, ctx, i);
            return;
        }
}

static int gateway_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    gateway_t *self = state;
    (void)error;
    self->args = args;
    is_applied (self, UINT64_MAX);
    tick (self, ctx);
    return 0;
}

static void gateway_stop (void *state, context_t *ctx)
{
    gateway_t *self = state;
    for (size_t i = 0; i < self->pending_count; i++) {
        context_reply_failure (ctx, self->pending[i].request, NEXUS_UNAVAILABLE,
                               "this master is shutting down: ask another one");
        gateway_gather_destroy (&self->pending[i].gather);
        message_release (&self->pending[i].request);
    }
    self->pending_count = 0;
}

const behaviour_t gateway_behaviour = {.name = "gateway",
                                       .state_size = sizeof (gateway_t),
                                       .start = gateway_start,
                                       .receive = gateway_receive,
                                       .timer = gateway_timer,
                                       .settle = gateway_settle,
                                       .stop = gateway_stop};
