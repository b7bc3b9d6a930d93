/*  election_wire - Raft's messages as records, and back */
#include "actors/election/election_wire.h"

#include <assert.h>
#include <stdlib.h>

void election_encode (const raft_message_t *message,
                      void (*send) (void *context, const consensus_t *record), void *context)
{
    assert (message->entries_count <= RAFT_BATCH_MAX);
    consensus_entry_t *entries = NULL;
    if (message->entries_count)
        entries = raft_alloc (message->entries_count * sizeof (consensus_entry_t));
    for (size_t i = 0; i < message->entries_count; i++) {
        const raft_entry_t *entry = &message->entries[i];
        entries[i] = (consensus_entry_t){
            .index = entry->index,
            .term = entry->term,
            .type = (uint64_t)entry->type,
            .data = {raft_blob_data (entry->blob), raft_blob_size (entry->blob)},
        };
    }
    consensus_t record = {
        .type = (uint64_t)message->type,
        .term = message->term,
        .index = message->index,
        .log_term = message->log_term,
        .commit = message->commit,
        .reject_hint = message->reject_hint,
        .context = message->context,
        .election_ms = message->election_ms,
        .reject = message->reject,
        .force = message->force,
        .entries = {entries, message->entries_count},
    };
    send (context, &record);
    free (entries);
}

void election_decode (const consensus_t *record, uint64_t from, uint64_t to,
                      raft_message_t *message)
{
    *message = (raft_message_t){
        .type = (raft_message_type_t)record->type,
        .from = from,
        .to = to,
        .term = record->term,
        .index = record->index,
        .log_term = record->log_term,
        .commit = record->commit,
        .reject_hint = record->reject_hint,
        .context = record->context,
        .election_ms = record->election_ms,
        .reject = record->reject,
        .force = record->force,
        .entries_count = record->entries.count,
    };
    if (record->entries.count == 0)
        return;
    message->entries = raft_alloc (record->entries.count * sizeof (raft_entry_t));
    for (size_t i = 0; i < record->entries.count; i++) {
        const consensus_entry_t *entry = &record->entries.items[i];
        message->entries[i] = (raft_entry_t){
            .index = entry->index,
            .term = entry->term,
            .type = (raft_entry_type_t)entry->type,
            .blob = entry->data.size ? raft_blob_new (entry->data.data, entry->data.size) : NULL,
        };
    }
}
