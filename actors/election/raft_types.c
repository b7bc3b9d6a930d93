/*  raft_types - blobs, entries and message lists */
#include "actors/election/raft_types.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct raft_blob {
    atomic_uint references;
    size_t size;
    void *data;
    raft_blob_free_fn *release; /* NULL: the data stands behind this header */
    void *context;
};

void *raft_alloc (size_t size)
{
    void *memory = calloc (1, size ? size : 1);
    if (!memory) {
        fprintf (stderr, "raft: out of memory (%zu bytes)\n", size);
        abort ();
    }
    return memory;
}

void *raft_realloc (void *memory, size_t size)
{
    void *grown = realloc (memory, size ? size : 1);
    if (!grown) {
        fprintf (stderr, "raft: out of memory (%zu bytes)\n", size);
        abort ();
    }
    return grown;
}

raft_blob_t *raft_blob_new (const void *data, size_t size)
{
    raft_blob_t *self = raft_alloc (sizeof (raft_blob_t) + size);
    atomic_init (&self->references, 1);
    self->size = size;
    self->data = self + 1;
    if (size)
        memcpy (self->data, data, size);
    return self;
}

raft_blob_t *raft_blob_wrap (void *data, size_t size, raft_blob_free_fn *release, void *context)
{
    assert (release);
    raft_blob_t *self = raft_alloc (sizeof (raft_blob_t));
    atomic_init (&self->references, 1);
    self->size = size;
    self->data = data;
    self->release = release;
    self->context = context;
    return self;
}

raft_blob_t *raft_blob_retain (raft_blob_t *blob)
{
    if (blob)
        atomic_fetch_add_explicit (&blob->references, 1, memory_order_relaxed);
    return blob;
}

void raft_blob_release (raft_blob_t *blob)
{
    if (!blob)
        return;
    unsigned before = atomic_fetch_sub_explicit (&blob->references, 1, memory_order_acq_rel);
    assert (before > 0);
    if (before > 1)
        return;
    if (blob->release)
        blob->release (blob->data, blob->context);
    free (blob);
}

const void *raft_blob_data (const raft_blob_t *blob)
{
    return blob ? blob->data : NULL;
}

size_t raft_blob_size (const raft_blob_t *blob)
{
    return blob ? blob->size : 0;
}

size_t raft_entry_bytes (const raft_entry_t *entry)
{
    return raft_blob_size (entry->blob) + RAFT_ENTRY_OVERHEAD;
}

void raft_entries_free (raft_entry_t *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        raft_blob_release (entries[i].blob);
    free (entries);
}

const char *raft_message_name (raft_message_type_t type)
{
    static const char *const names[RAFT_MSG_TYPES] = {
        [RAFT_MSG_APP] = "MsgApp",
        [RAFT_MSG_APP_RESP] = "MsgAppResp",
        [RAFT_MSG_HEARTBEAT] = "MsgHeartbeat",
        [RAFT_MSG_HEARTBEAT_RESP] = "MsgHeartbeatResp",
        [RAFT_MSG_VOTE] = "MsgVote",
        [RAFT_MSG_VOTE_RESP] = "MsgVoteResp",
        [RAFT_MSG_PRE_VOTE] = "MsgPreVote",
        [RAFT_MSG_PRE_VOTE_RESP] = "MsgPreVoteResp",
        [RAFT_MSG_TIMEOUT_NOW] = "MsgTimeoutNow",
        [RAFT_MSG_TRANSFER_LEADER] = "MsgTransferLeader",
        [RAFT_MSG_READ_INDEX] = "MsgReadIndex",
        [RAFT_MSG_READ_INDEX_RESP] = "MsgReadIndexResp",
        [RAFT_MSG_SNAP] = "MsgSnap",
    };
    return type > 0 && type < RAFT_MSG_TYPES ? names[type] : "MsgUnknown";
}

void raft_messages_add (raft_messages_t *list, const raft_message_t *message)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 8;
        list->items = raft_realloc (list->items, list->capacity * sizeof (raft_message_t));
    }
    list->items[list->count++] = *message;
}

void raft_messages_clear (raft_messages_t *list)
{
    for (size_t i = 0; i < list->count; i++)
        raft_entries_free (list->items[i].entries, list->items[i].entries_count);
    free (list->items);
    *list = (raft_messages_t){0};
}
