/*  ledger - the actor that owns the cluster's state on a master */
#include "actors/ledger/ledger.h"

#include "actors/ledger/apply.h"
#include "actors/ledger/reads.h"
#include "actors/protocol/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum { SUBSCRIBERS_MAX = 16 };

typedef struct {
    const ledger_args_t *args;
    tables_t *tables;
    requests_t *requests;
    uint64_t applied; /* readers see less of it until the transaction is committed */
    uint64_t visible;
    uint64_t changed; /* tables written since the subscribers were last told */
    ledger_reads_t reads;
    struct {
        address_t address;
        uint64_t tables; /* of interest */
    } subscribers[SUBSCRIBERS_MAX];
    size_t subscriber_count;
    const message_t **waiting; /* apply messages of this turn */
    size_t waiting_count, waiting_room;
    metric_t *applied_metric, *refused_metric, *repeated_metric;
} ledger_t;

/*  Where the tables stand, and what of them is kept in memory. */
static int load (ledger_t *self, context_t *ctx, nexus_error_t *error)
{
    tables_txn_t *txn = tables_begin (self->tables, false, error);
    if (!txn)
        return -1;
    self->applied = self->visible = ledger_number (txn, LEDGER_APPLIED);
    requests_destroy (&self->requests);
    self->requests = requests_new (context_random (ctx));
    int rc = requests_load (self->requests, txn, error);
    tables_abort (&txn);
    return rc;
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    ledger_t *self = state;
    self->args = args;
    self->tables = self->args->tables;
    if (load (self, ctx, error)) {
        requests_destroy (&self->requests);
        return -1;
    }
    self->applied_metric = metrics_gauge (context_metrics (ctx), "nexus_ledger_applied_index",
                                          "Log index up to which commands are applied.", NULL);
    self->refused_metric = metrics_counter (context_metrics (ctx), "nexus_ledger_refused_total",
                                            "Commands that were applied and refused.", NULL);
    self->repeated_metric = metrics_counter (
        context_metrics (ctx), "nexus_ledger_repeated_total",
        "Commands that came again and were answered with their first result.", NULL);
    metric_set (self->applied_metric, (double)self->applied);
    return 0;
}

static void subscribe (ledger_t *self, context_t *ctx, const message_t *message)
{
    size_t i = 0;
    while (i < self->subscriber_count &&
           !address_equal (&self->subscribers[i].address, &message->from))
        i++;
    const ledger_subscribe_t *wanted = message->body;
    if (!wanted->on) {
        if (i < self->subscriber_count)
            self->subscribers[i] = self->subscribers[--self->subscriber_count];
        return;
    }
    if (i == SUBSCRIBERS_MAX) {
        log_error (context_log (ctx), "too many subscribers to the ledger",
                   LOG_TEXT ("actor", message->from.actor));
        return;
    }
    self->subscribers[i].address = message->from;
    self->subscribers[i].tables = wanted->tables ? wanted->tables : UINT64_MAX;
    if (i == self->subscriber_count)
        self->subscriber_count++;
    ledger_changed_t changed = {.index = self->visible, .tables = ~UINT64_C (0) >> 1};
    context_send (ctx, &message->from, &ledger_changed_record, &changed);
}

/*  Takes over the reference. */
static void take (ledger_t *self, const message_t *message)
{
    if (self->waiting_count == self->waiting_room) {
        self->waiting_room = self->waiting_room ? self->waiting_room * 2 : 16;
        self->waiting = realloc (self->waiting, self->waiting_room * sizeof (*self->waiting));
        if (!self->waiting)
            abort ();
    }
    self->waiting[self->waiting_count++] = message;
}

static void put_position (tables_txn_t *txn, const char *name, uint64_t number, bool *fatal,
                          nexus_error_t *error)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    if (!*fatal && tables_put (txn, LEDGER_META, SLICE (name), (slice_t){bytes, 8}, error))
        *fatal = true;
}

/*  Applies the entries of one message; fills results (one an entry). */
static void apply_entries (ledger_t *self, tables_txn_t *txn, const apply_t *batch,
                           apply_result_t *results, size_t *ret_count, arena_t *arena, bool *fatal,
                           nexus_error_t *error)
{
    char value[LEDGER_VALUE_MAX];
    ledger_writer_t writer = {.txn = txn, .requests = self->requests};
    uint64_t term = 0;
    for (size_t i = 0; i < batch->entries.count && !*fatal; i++) {
        const apply_entry_t *entry = &batch->entries.items[i];
        if (entry->index <= self->applied)
            continue; /* the election repeats from before what was applied here */
        if (entry->index != self->applied + 1) {
            nexus_error_set (error, NEXUS_CORRUPT,
                             "ledger: log index %llu came after %llu: what is between is lost",
                             (unsigned long long)entry->index, (unsigned long long)self->applied);
            *fatal = true;
            return;
        }
        apply_result_t *result = &results[(*ret_count)++];
        *result = (apply_result_t){.index = entry->index, .text = ""};
        nexus_error_t refusal = {NEXUS_OK, ""};
        if (entry->command.size &&
            ledger_apply (&writer, entry->index,
                          (slice_t){entry->command.data, entry->command.size}, value, &refusal)) {
            metric_add (self->refused_metric, 1);
            result->code = (uint64_t)refusal.code;
            result->text = arena_strdup (arena, refusal.text);
            *fatal = writer.fatal;
            if (*fatal)
                *error = refusal;
        } else if (entry->command.size)
            result->text = arena_strdup (arena, value);
        self->applied = entry->index;
        term = entry->term;
    }
    self->changed |= writer.changed;
    metric_add (self->repeated_metric, (double)writer.repeated);
    if (term)
        put_position (txn, LEDGER_APPLIED_TERM, term, fatal, error);
}

/*  The election begins: who decides, as far as it is applied here. True if it can't be read. */
static bool read_conf (ledger_t *self, arena_t *arena, cluster_conf_t *conf, nexus_error_t *error)
{
    tables_txn_t *txn = tables_begin (self->tables, false, error);
    if (!txn)
        return true;
    int rc = ledger_get_conf (txn, arena, conf, error);
    tables_abort (&txn);
    return rc != 0;
}

/*  All that waits becomes one transaction; then everybody is told. */
static void apply_waiting (ledger_t *self, context_t *ctx)
{
    nexus_error_t error = {NEXUS_OK, ""};
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    size_t entries = 0, count = 0;
    for (size_t i = 0; i < self->waiting_count; i++)
        entries += ((const apply_t *)self->waiting[i]->body)->entries.count;
    applied_t done = {.results.items =
                          arena_alloc (&arena, (entries + 1) * sizeof (apply_result_t))};
    applied_t visible = {.index = 0};
    bool fatal = false;
    if (!entries)
        fatal = read_conf (self, &arena, &visible.conf, &error);
    else {
        tables_txn_t *txn = tables_begin (self->tables, true, &error);
        fatal = !txn || !done.results.items;
        for (size_t i = 0; i < self->waiting_count && !fatal; i++)
            apply_entries (self, txn, self->waiting[i]->body, done.results.items, &count, &arena,
                           &fatal, &error);
        if (!fatal)
            put_position (txn, LEDGER_APPLIED, self->applied, &fatal, &error);
        if (!fatal)
            fatal = requests_flush (self->requests, txn, &error) != 0;
        if (fatal && txn)
            tables_abort (&txn);
        else if (!fatal) {
            /*  What was done is certain, whenever this node's own copy of it is: those who asked
               for it needn't wait for the commit. */
            done.index = self->visible;
            done.done = self->applied;
            done.results.count = count;
            if (count) {
                context_send (ctx, &self->waiting[0]->from, &applied_record, &done);
                context_flush (ctx);
            }
            fatal = tables_commit (&txn, &error) != 0;
        }
    }
    if (!fatal) {
        self->visible = self->applied;
        visible.index = visible.done = self->visible;
        context_send (ctx, &self->waiting[0]->from, &applied_record, &visible);
        metric_set (self->applied_metric, (double)self->applied);
        ledger_changed_t changed = {.index = self->applied, .tables = self->changed};
        for (size_t i = 0; i < self->subscriber_count; i++)
            if (self->changed & self->subscribers[i].tables)
                context_send (ctx, &self->subscribers[i].address, &ledger_changed_record, &changed);
        self->changed = 0;
    }
    for (size_t i = 0; i < self->waiting_count; i++)
        message_release ((message_t **)&self->waiting[i]);
    self->waiting_count = 0;
    arena_reset (&arena);
    if (fatal)
        context_fail (ctx, &error); /* a ledger that can't be written ends the node */
}

static int become_copy (ledger_t *self, context_t *ctx, uint64_t index, nexus_error_t *error)
{
    if (!self->args->restore)
        return nexus_error_set (error, NEXUS_INVALID, "ledger: there are no copies here");
    if (self->args->restore (self->args->restore_context, error) || load (self, ctx, error))
        return -1;
    if (self->applied >= index)
        return 0;
    return nexus_error_set (error, NEXUS_CORRUPT,
                            "ledger: the copy covers %llu, but the log begins behind %llu",
                            (unsigned long long)self->applied, (unsigned long long)index);
}

/*  Everything is another one: who subscribed looks at all of it again. */
static void restore (ledger_t *self, context_t *ctx, const message_t *message)
{
    const ledger_restore_t *wanted = message->body;
    nexus_error_t error = {NEXUS_OK, ""};
    if (self->waiting_count)
        apply_waiting (self, ctx);
    if (self->applied < wanted->index && become_copy (self, ctx, wanted->index, &error)) {
        context_fail (ctx, &error);
        return;
    }
    self->changed = ~UINT64_C (0) >> 1;
    /* The answer is that to an apply without entries. */
    take (self, message_new (&apply_record, &(apply_t){.entries = {NULL, 0}}, NULL,
                             context_self (ctx), &message->from));
    apply_waiting (self, ctx);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    ledger_t *self = state;
    if (message_body (message, kv_get))
        ledger_reads_take (&self->reads, ctx, message);
    else if (message->role != ROLE_LOCAL)
        return;
    else if (message->flags & MESSAGE_REPLY)
        ledger_reads_confirmed (&self->reads, ctx, self->tables, message);
    else if (message_body (message, ledger_subscribe))
        subscribe (self, ctx, message);
    else if (message_body (message, ledger_restore))
        restore (self, ctx, message);
    else if (message_body (message, apply))
        take (self, message_retain ((message_t *)message));
}

static void settle (void *state, context_t *ctx)
{
    ledger_t *self = state;
    if (self->waiting_count)
        apply_waiting (self, ctx);
    ledger_reads_settle (&self->reads, ctx, self->tables);
}

static void stop (void *state, context_t *ctx)
{
    ledger_t *self = state;
    for (size_t i = 0; i < self->waiting_count; i++)
        message_release ((message_t **)&self->waiting[i]);
    free (self->waiting);
    ledger_reads_end (&self->reads, ctx);
    requests_destroy (&self->requests);
}

const behaviour_t ledger_behaviour = {
    .name = "ledger",
    .state_size = sizeof (ledger_t),
    .start = start,
    .receive = receive,
    .settle = settle,
    .stop = stop,
};
