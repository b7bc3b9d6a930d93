/*  ledger - the actor that owns the cluster's state on a master */
#include "actors/ledger/ledger.h"

#include "actors/ledger/apply.h"
#include "actors/ledger/reads.h"
#include "actors/protocol/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum { SUBSCRIBERS_MAX = 16 };

/*  What is applied in one turn, and what becomes visible together, at most. */
enum { TURN_ENTRIES = 256, TRANSACTION_ENTRIES = 1024 };

/*  What a turn has applied is certain: those who asked for it needn't wait for the rest, nor for the
    commit, which only readers here need. So before either, the election has its turn, which answers
    them, and then the link, which shares our thread. */
enum { TURNS_BETWEEN = 2 };

typedef struct {
    const ledger_args_t *args;
    tables_t *tables;
    requests_t *requests;
    uint64_t applied; /* readers see less of it until the transaction is committed */
    uint64_t visible;
    uint64_t changed;      /* tables written since the subscribers were last told */
    tables_txn_t *txn;     /* with what is applied and not visible yet, or NULL */
    uint64_t term;         /* of the last entry in it */
    unsigned turns_before; /* of others, before our work goes on */
    bool turn_came;        /* the next of them, with a message to ourselves */
    bool failed;
    ledger_reads_t reads;
    struct {
        address_t address;
        uint64_t tables; /* of interest */
    } subscribers[SUBSCRIBERS_MAX];
    size_t subscriber_count;
    const message_t **waiting; /* apply messages */
    size_t waiting_count, waiting_room;
    size_t entries_done;  /* of the first one */
    address_t asker;      /* of the last one, */
    bool asked;           /* who hears where the ledger stands when all is done, */
    bool asked_for_state; /* and who decides: one had no entries */
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
    self->asker = message->from;
    self->asked = true;
    self->asked_for_state |= ((const apply_t *)message->body)->entries.count == 0;
}

static void fail (ledger_t *self, context_t *ctx, const nexus_error_t *error)
{
    self->failed = true;
    if (self->txn)
        tables_abort (&self->txn);
    context_fail (ctx, error); /* a ledger that can't be written ends the node */
}

/*  ---- applying --------------------------------------------------------------- */

/*  The next entry to apply; NULL if none waits. The election repeats from before what was applied
    here. */
static const apply_entry_t *first_entry (ledger_t *self)
{
    while (self->waiting_count) {
        const apply_t *batch = self->waiting[0]->body;
        for (; self->entries_done < batch->entries.count; self->entries_done++)
            if (batch->entries.items[self->entries_done].index > self->applied)
                return &batch->entries.items[self->entries_done];
        message_release ((message_t **)&self->waiting[0]);
        self->waiting_count--;
        memmove (self->waiting, self->waiting + 1, self->waiting_count * sizeof (*self->waiting));
        self->entries_done = 0;
    }
    return NULL;
}

static int apply_entry (ledger_t *self, const apply_entry_t *entry, apply_result_t *result,
                        arena_t *arena, nexus_error_t *error)
{
    char value[LEDGER_VALUE_MAX];
    ledger_writer_t writer = {.txn = self->txn, .requests = self->requests};
    nexus_error_t refusal = {NEXUS_OK, ""};
    if (entry->index != self->applied + 1)
        return nexus_error_set (
            error, NEXUS_CORRUPT, "ledger: log index %llu came after %llu: what is between is lost",
            (unsigned long long)entry->index, (unsigned long long)self->applied);
    *result = (apply_result_t){.index = entry->index, .text = ""};
    if (entry->command.size &&
        ledger_apply (&writer, entry->index, (slice_t){entry->command.data, entry->command.size},
                      value, &refusal)) {
        metric_add (self->refused_metric, 1);
        result->code = (uint64_t)refusal.code;
        result->text = arena_strdup (arena, refusal.text);
        if (writer.fatal) {
            *error = refusal;
            return -1;
        }
    } else if (entry->command.size)
        result->text = arena_strdup (arena, value);
    self->applied = entry->index;
    self->term = entry->term;
    self->changed |= writer.changed;
    metric_add (self->repeated_metric, (double)writer.repeated);
    return 0;
}

/*  Some of what waits; who asked for it gets the results. */
static int apply_some (ledger_t *self, context_t *ctx, nexus_error_t *error)
{
    const apply_entry_t *entry;
    apply_result_t results[TURN_ENTRIES];
    applied_t done = {.index = self->visible, .results.items = results};
    char memory[4096];
    arena_t arena;
    int rc = 0;
    if (!self->txn && !(self->txn = tables_begin (self->tables, true, error)))
        return -1;
    arena_init (&arena, 0, memory, sizeof (memory));
    while (rc == 0 && done.results.count < TURN_ENTRIES && (entry = first_entry (self)))
        rc = apply_entry (self, entry, &results[done.results.count++], &arena, error);
    done.done = self->applied;
    if (rc == 0)
        context_send (ctx, &self->asker, &applied_record, &done);
    arena_reset (&arena);
    return rc;
}

static int put_position (tables_txn_t *txn, const char *name, uint64_t number, nexus_error_t *error)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    return tables_put (txn, LEDGER_META, SLICE (name), (slice_t){bytes, 8}, error);
}

/*  Makes what is applied visible, with how far that is. */
static int commit (ledger_t *self, nexus_error_t *error)
{
    if (put_position (self->txn, LEDGER_APPLIED_TERM, self->term, error) ||
        put_position (self->txn, LEDGER_APPLIED, self->applied, error) ||
        requests_flush (self->requests, self->txn, error) || tables_commit (&self->txn, error))
        return -1;
    self->visible = self->applied;
    return 0;
}

/*  Who decides, as far as it is applied here: for an election that begins. */
static int read_conf (ledger_t *self, arena_t *arena, cluster_conf_t *conf, nexus_error_t *error)
{
    tables_txn_t *txn = tables_begin (self->tables, false, error);
    if (!txn)
        return -1;
    int rc = ledger_get_conf (txn, arena, conf, error);
    tables_abort (&txn);
    return rc;
}

/*  Everybody hears where the ledger stands now. */
static int tell (ledger_t *self, context_t *ctx, nexus_error_t *error)
{
    applied_t visible = {.index = self->visible, .done = self->visible};
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    int rc = self->asked_for_state ? read_conf (self, &arena, &visible.conf, error) : 0;
    if (rc == 0) {
        self->asked = self->asked_for_state = false;
        context_send (ctx, &self->asker, &applied_record, &visible);
        metric_set (self->applied_metric, (double)self->visible);
        ledger_changed_t changed = {.index = self->visible, .tables = self->changed};
        for (size_t i = 0; i < self->subscriber_count; i++)
            if (self->changed & self->subscribers[i].tables)
                context_send (ctx, &self->subscribers[i].address, &ledger_changed_record, &changed);
        self->changed = 0;
    }
    arena_reset (&arena);
    return rc;
}

/*  A step of what there is to do: some entries, or the commit of what is applied. */
static void work (ledger_t *self, context_t *ctx)
{
    nexus_error_t error = {NEXUS_OK, ""};
    bool enough = self->txn && self->applied - self->visible >= TRANSACTION_ENTRIES;
    int rc = 0;
    if (!enough && first_entry (self))
        rc = apply_some (self, ctx, &error);
    else if ((self->txn && commit (self, &error)) || tell (self, ctx, &error))
        rc = -1;
    if (rc)
        fail (self, ctx, &error);
}

static bool has_work (ledger_t *self)
{
    return !self->failed && (self->txn || self->asked || first_entry (self));
}

/*  A message to ourselves comes when the others have had a turn. */
static void let_others (ledger_t *self, context_t *ctx, unsigned turns)
{
    self->turns_before = turns;
    self->turn_came = false;
    if (turns)
        context_send (ctx, context_self (ctx), &done_record, &(done_t){0});
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
    while (has_work (self))
        work (self, ctx);
    if (self->failed)
        return;
    if (self->applied < wanted->index && become_copy (self, ctx, wanted->index, &error)) {
        fail (self, ctx, &error);
        return;
    }
    self->changed = ~UINT64_C (0) >> 1;
    self->asker = message->from;
    self->asked = self->asked_for_state = true;
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
    else if (message_body (message, done))
        self->turn_came = true;
}

static void settle (void *state, context_t *ctx)
{
    ledger_t *self = state;
    if (self->turn_came)
        let_others (self, ctx, self->turns_before - 1);
    if (!self->turns_before && has_work (self)) {
        work (self, ctx);
        let_others (self, ctx, has_work (self) ? TURNS_BETWEEN : 0);
    }
    ledger_reads_settle (&self->reads, ctx, self->tables);
}

static void stop (void *state, context_t *ctx)
{
    ledger_t *self = state;
    if (self->txn)
        tables_abort (&self->txn);
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
