/*  apply_kv - the key-value store */
#include "actors/ledger/application.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*  1: there; 0: not there; -1: the tables failed. A version that was asked for is compared. */
static int find (application_t *self, const char *key, bool compare, uint64_t version,
                 kv_entry_t *entry)
{
    slice_t stored;
    bool found = tables_get (self->txn, LEDGER_KV, SLICE (key), &stored);
    *entry = (kv_entry_t){.version = 0};
    if (found && record_decode_in_place (&kv_entry_record, stored.data, stored.size, &self->scratch,
                                         entry, self->error)) {
        nexus_error_prefix (self->error, "ledger table kv: ");
        if (self->error)
            self->error->code = NEXUS_CORRUPT;
        self->fatal = true;
        return -1;
    }
    if (compare && version != entry->version)
        return nexus_error_set (self->error, NEXUS_CONFLICT,
                                "\"%.200s\" has version %" PRIu64 ", not %" PRIu64 "%s", key,
                                entry->version, version, found ? "" : ": there is no such key");
    return found;
}

/*  What it takes of the store's room. */
static uint64_t room_of (const kv_entry_t *entry)
{
    return strlen (entry->key) + entry->value.size;
}

static void take_room (application_t *self, uint64_t before, uint64_t after)
{
    uint64_t bytes = application_number (self, ledger_key_text (LEDGER_KV_BYTES));
    application_put_number (self, ledger_key_text (LEDGER_KV_BYTES), bytes - before + after);
}

int apply_kv_put (application_t *self, const void *body)
{
    const kv_put_t *command = body;
    kv_entry_t old;
    int found = find (self, command->key, command->compare, command->version, &old);
    if (found < 0)
        return -1;
    kv_entry_t entry = {.key = command->key,
                        .value = command->value,
                        .version = self->index,
                        .created = found ? old.created : self->index};
    uint64_t before = found ? room_of (&old) : 0, after = room_of (&entry);
    if (after > before) {
        uint64_t bytes = application_number (self, ledger_key_text (LEDGER_KV_BYTES));
        if (bytes - before + after > LEDGER_KV_BYTES_MAX)
            return nexus_error_set (self->error, NEXUS_EXHAUSTED,
                                    "the key-value store is full: %" PRIu64 " of %" PRIu64
                                    " bytes; delete entries",
                                    bytes, LEDGER_KV_BYTES_MAX);
    }
    buffer_t bytes = {0};
    record_encode (&kv_entry_record, &entry, &bytes);
    if (bytes.failed || tables_put (self->txn, LEDGER_KV, SLICE (command->key),
                                    (slice_t){bytes.data, bytes.size}, self->error))
        self->fatal = true;
    *self->changed |= UINT64_C (1) << LEDGER_KV;
    buffer_free (&bytes);
    if (before != after)
        take_room (self, before, after);
    snprintf (self->value, LEDGER_VALUE_MAX, "%" PRIu64, self->index);
    return 0;
}

int apply_kv_delete (application_t *self, const void *body)
{
    const kv_delete_t *command = body;
    kv_entry_t old;
    int found = find (self, command->key, command->compare, command->version, &old);
    if (found < 0)
        return -1;
    snprintf (self->value, LEDGER_VALUE_MAX, "%" PRIu64, old.version);
    if (!found)
        return 0;
    take_room (self, room_of (&old), 0);
    application_erase (self, LEDGER_KV, ledger_key_text (command->key));
    return 0;
}
