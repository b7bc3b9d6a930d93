/*  reads - the ledger's answers to kv_get */
#include "actors/ledger/reads.h"

#include "actors/protocol/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BARRIER_MS = 5000,
    ENTRIES_MAX = 1000,     /* of one list */
    BYTES_MAX = 512 * 1024, /* of one list's values */
    STACK = 4096            /* enough for most entries */
};

/*  ---- lists of requests ------------------------------------------------------ */

static void s_push (ledger_reads_list_t *list, const message_t *message)
{
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 64;
        list->items = realloc (list->items, list->room * sizeof (*list->items));
        if (!list->items) {
            fprintf (stderr, "nexus: out of memory\n");
            abort ();
        }
    }
    list->items[list->count++] = message_retain ((message_t *)message);
}

static void s_refuse (ledger_reads_list_t *list, context_t *ctx, nexus_code_t code,
                      const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        context_reply_failure (ctx, list->items[i], code, "%s", text);
        message_release (&list->items[i]);
    }
    list->count = 0;
}

/*  ---- answers ----------------------------------------------------------------- */

static int s_get (tables_txn_t *txn, const kv_get_t *get, arena_t *arena, kv_got_t *got,
                  nexus_error_t *error)
{
    kv_entry_t entry;
    if (!*get->key)
        return 0;
    int found = ledger_get (txn, LEDGER_KV, ledger_key_text (get->key), arena, &entry, error);
    if (found <= 0)
        return found;
    got->found = true;
    got->value = entry.value;
    got->version = entry.version;
    return 0;
}

typedef struct {
    kv_got_t *got;
    arena_t *arena;
    slice_t after;
    size_t limit, bytes;
    nexus_error_t *error;
    bool failed;
} listing_t;

static bool s_list_one (void *context, slice_t key, slice_t value)
{
    listing_t *self = context;
    kv_got_t *got = self->got;
    if (self->after.size && key.size == self->after.size &&
        memcmp (key.data, self->after.data, key.size) == 0)
        return true;
    got->more = got->entries.count == self->limit || self->bytes + value.size > BYTES_MAX;
    if (got->more)
        return false;
    self->failed = record_decode (&kv_entry_record, value.data, value.size, self->arena,
                                  &got->entries.items[got->entries.count], self->error) != 0;
    self->bytes += value.size;
    got->entries.count += !self->failed;
    return !self->failed;
}

static int s_list (tables_txn_t *txn, const kv_get_t *get, arena_t *arena, kv_got_t *got,
                   nexus_error_t *error)
{
    size_t limit = get->limit && get->limit < ENTRIES_MAX ? (size_t)get->limit : ENTRIES_MAX;
    listing_t listing = {
        .got = got, .arena = arena, .after = SLICE (get->after), .limit = limit, .error = error};
    got->entries.items = arena_alloc (arena, limit * sizeof (kv_entry_t));
    if (!got->entries.items)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a list");
    slice_t prefix = SLICE (get->key);
    bool behind = strcmp (get->after, get->key) > 0;
    tables_each (txn, LEDGER_KV, prefix, behind ? listing.after : prefix, s_list_one, &listing);
    got->found = got->entries.count > 0;
    return listing.failed ? -1 : 0;
}

static void s_answer (context_t *ctx, tables_txn_t *txn, uint64_t index, const message_t *request)
{
    char stack[STACK];
    arena_t arena;
    nexus_error_t error;
    const kv_get_t *get = request->body;
    kv_got_t got = {.index = index};
    arena_init (&arena, 0, stack, sizeof (stack));
    int rc = get->prefix ? s_list (txn, get, &arena, &got, &error)
                         : s_get (txn, get, &arena, &got, &error);
    if (tables_failed (txn, &error))
        context_reply_failure (ctx, request, NEXUS_UNAVAILABLE, "%s", error.text);
    else if (rc)
        context_reply_failure (ctx, request, error.code, "%s", error.text);
    else
        context_reply (ctx, request, &kv_got_record, &got);
    arena_reset (&arena);
}

/*  All of a list from one snapshot. */
static void s_answer_all (ledger_reads_list_t *list, context_t *ctx, tables_t *tables)
{
    nexus_error_t error;
    if (!list->count)
        return;
    tables_txn_t *txn = tables_begin (tables, false, &error);
    if (!txn) {
        s_refuse (list, ctx, error.code, error.text);
        return;
    }
    uint64_t index = ledger_number (txn, LEDGER_APPLIED);
    for (size_t i = 0; i < list->count; i++) {
        s_answer (ctx, txn, index, list->items[i]);
        message_release (&list->items[i]);
    }
    list->count = 0;
    tables_abort (&txn);
}

/*  ---- in and out ---------------------------------------------------------------- */

void ledger_reads_take (ledger_reads_t *self, context_t *ctx, const message_t *message)
{
    const kv_get_t *get = message->body;
    ledger_reads_list_t *list = get->stale ? &self->stale : &self->fresh;
    if (message->role != ROLE_LOCAL && message->role != ROLE_MASTER && message->role != ROLE_WORKER)
        context_reply_failure (ctx, message, NEXUS_DENIED, "ledger: masters and workers may read");
    else if (list->count >= LEDGER_READS_MAX)
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "ledger: too many reads wait: retry later");
    else
        s_push (list, message);
}

void ledger_reads_confirmed (ledger_reads_t *self, context_t *ctx, tables_t *tables,
                             const message_t *reply)
{
    const failure_t *failure = message_body (reply, failure);
    if (!self->barrier || reply->correlation != self->barrier)
        return;
    self->barrier = 0;
    if (failure)
        s_refuse (&self->asked, ctx, (nexus_code_t)failure->code, failure->text);
    else
        s_answer_all (&self->asked, ctx, tables);
}

void ledger_reads_settle (ledger_reads_t *self, context_t *ctx, tables_t *tables)
{
    s_answer_all (&self->stale, ctx, tables);
    if (self->barrier || !self->fresh.count)
        return;
    ledger_reads_list_t empty = self->asked;
    self->asked = self->fresh;
    self->fresh = empty;
    address_t election = address_local ("election", 0);
    self->barrier =
        context_request (ctx, &election, &read_barrier_record, &(read_barrier_t){0}, BARRIER_MS);
}

void ledger_reads_end (ledger_reads_t *self, context_t *ctx)
{
    ledger_reads_list_t *lists[] = {&self->stale, &self->fresh, &self->asked};
    for (size_t i = 0; i < 3; i++) {
        s_refuse (lists[i], ctx, NEXUS_UNAVAILABLE, "ledger: this master stops");
        free (lists[i]->items);
    }
}
