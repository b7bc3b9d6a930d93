/*  handle_backups - copies of the ledger for whoever keeps backups

    A copy is this master's own (actors/snapshots), and is read in parts. */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"
#include "actors/protocol/consensus.h"
#include "actors/protocol/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART_MAX = 65536 };

static bool answered (call_t *call, const message_t *reply, const void *wanted)
{
    const failure_t *failure = message_body (reply, failure);
    if (!wanted)
        call_fail (call, failure ? (nexus_code_t)failure->code : NEXUS_UNAVAILABLE, "%s",
                   failure ? failure->text : "no answer");
    return wanted != NULL;
}

static void created (call_t *call, const message_t *reply)
{
    const snapshot_chunk_t *copy = message_body (reply, snapshot_chunk);
    if (!answered (call, reply, copy))
        return;
    char hash[65];
    for (size_t i = 0; i < sizeof (copy->hash.bytes); i++)
        snprintf (hash + 2 * i, 3, "%02x", copy->hash.bytes[i]);
    backup_t backup = {.id = arena_printf (&call->arena, "%" PRIu64 "-%s", copy->index, hash),
                       .master = call->gateway->args->name,
                       .index = copy->index,
                       .term = copy->term,
                       .size = copy->size,
                       .hash = copy->hash};
    call_reply_record (call, &backup_record, &backup);
}

/*  With what is done up to there, 0: whatever is. */
static void make (call_t *call, uint64_t index)
{
    address_t snapshots = address_local ("snapshots", 0);
    call_ask (call, &snapshots, &snapshot_make_record, &(snapshot_make_t){.index = index},
              GATEWAY_BACKUP_MS, created);
}

/*  This master has all that was done before the request came. */
static void confirmed (call_t *call, const message_t *reply)
{
    char why[GATEWAY_TEXT_MAX];
    const done_t *done = message_body (reply, done);
    if (done) {
        make (call, done->value);
        return;
    }
    gateway_unconfirmed (call->gateway, call->ctx, message_body (reply, failure), why);
    call_fail (call, NEXUS_UNAVAILABLE, "%s", why);
}

void handle_backup_create (call_t *call)
{
    const backup_create_query_t *query = call->query;
    address_t election = address_local ("election", 0);
    if (query->stale)
        make (call, 0);
    else
        call_ask (call, &election, &read_barrier_record, &(read_barrier_t){0}, GATEWAY_PROPOSE_MS,
                  confirmed);
}

static void got_part (call_t *call, const message_t *reply)
{
    const snapshot_chunk_t *chunk = message_body (reply, snapshot_chunk);
    if (answered (call, reply, chunk))
        call_reply (call, 200, "application/octet-stream", chunk->data.data, chunk->data.size);
}

/*  INDEX-HASH, as created wrote it. */
static bool parse_id (const char *id, snapshot_read_t *read)
{
    char *end;
    read->index = strtoull (id, &end, 10);
    if (end == id || *end != '-' || strlen (end + 1) != 2 * sizeof (read->hash.bytes))
        return false;
    for (size_t i = 0; i < sizeof (read->hash.bytes); i++)
        if (sscanf (end + 1 + 2 * i, "%2hhx", &read->hash.bytes[i]) != 1)
            return false;
    return true;
}

void handle_backup_read (call_t *call)
{
    const backup_query_t *query = call->query;
    snapshot_read_t read = {.offset = query->offset, .size = PART_MAX};
    address_t snapshots = address_local ("snapshots", 0);
    if (!parse_id (call->arguments.items[0], &read))
        call_fail (call, NEXUS_NOT_FOUND, "there is no backup \"%.100s\"",
                   call->arguments.items[0]);
    else
        call_ask (call, &snapshots, &snapshot_read_record, &read, GATEWAY_PROPOSE_MS, got_part);
}
