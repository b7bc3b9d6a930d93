/*  handle_raft - consensus, as all masters see it: each is asked, those that answer in time are
 * shown */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*  The request waits for all the answers; a master that doesn't answer yields a failure. */
struct gateway_gather {
    struct {
        record_key_t key;
        uint64_t correlation; /* 0: answered */
        message_t *reply;
    } asked[GATEWAY_MASTERS_MAX];
    size_t count;
    size_t waiting;
};

void gateway_gather_destroy (gateway_gather_t **self_p)
{
    gateway_gather_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        message_release (&self->asked[i].reply);
    free (self);
    *self_p = NULL;
}

bool gateway_gather_take (gateway_gather_t *self, const message_t *reply)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->asked[i].correlation != reply->correlation)
            continue;
        self->asked[i].correlation = 0;
        self->asked[i].reply = message_retain ((message_t *)reply);
        self->waiting--;
        return true;
    }
    return false;
}

bool gateway_gather_complete (const gateway_gather_t *self)
{
    return self->waiting == 0;
}

/*  ---- the answer -------------------------------------------------------------- */

static const char *name_of (const gateway_t *gateway, const record_key_t *key)
{
    for (size_t i = 0; i < gateway->master_count; i++)
        if (memcmp (&gateway->masters[i].master.key, key, sizeof (*key)) == 0)
            return gateway->masters[i].name;
    return "";
}

static raft_master_t show (call_t *call, const record_key_t *key, const message_t *reply)
{
    const raft_view_t *view = message_body (reply, raft_view);
    raft_master_t master = {.name = name_of (call->gateway, key), .key = *key, .leader = ""};
    record_init (&raft_view_record, &master.view);
    if (!view)
        return master;
    master.answered = true;
    master.view = *view;
    master.leader = name_of (call->gateway, &view->leader);
    raft_peer_view_t *peers =
        arena_alloc (&call->arena, (view->peers.count + 1) * sizeof (raft_peer_view_t));
    if (!peers)
        view = NULL;
    for (size_t i = 0; view && i < view->peers.count; i++) {
        peers[i] = view->peers.items[i];
        peers[i].name = name_of (call->gateway, &peers[i].key);
    }
    master.view.peers.items = peers;
    master.view.peers.count = peers ? master.view.peers.count : 0;
    return master;
}

static void answer (call_t *call, const message_t *reply)
{
    (void)reply;
    const gateway_gather_t *gather = call->gather;
    raft_master_t masters[GATEWAY_MASTERS_MAX];
    char why[GATEWAY_TEXT_MAX] = "";
    raft_overview_t overview = {.answered_by = call->gateway->args->name, .message = why};
    if (!*gateway_leader (call->gateway))
        gateway_no_leader (call->gateway, call->ctx, why);
    assert (gather && gather->count <= GATEWAY_MASTERS_MAX);
    for (size_t i = 0; i < gather->count; i++)
        masters[i] = show (call, &gather->asked[i].key, gather->asked[i].reply);
    overview.masters.items = masters;
    overview.masters.count = gather->count;
    call_reply_record (call, &raft_overview_record, &overview);
}

/*  Who is none of the masters is answered by none: that would look as if all were dead. */
static bool is_master (const call_t *call)
{
    const gateway_t *gateway = call->gateway;
    for (size_t i = 0; i < gateway->master_count; i++)
        if (memcmp (&gateway->masters[i].master.key, context_node (call->ctx),
                    sizeof (record_key_t)) == 0)
            return true;
    return false;
}

void handle_raft (call_t *call)
{
    gateway_t *gateway = call->gateway;
    if (!is_master (call)) {
        call_fail (call, NEXUS_UNAVAILABLE, GATEWAY_OUTSIDE);
        return;
    }
    gateway_gather_t *gather = calloc (1, sizeof (*gather));
    gateway_pending_t *pending = gather ? gateway_keep (call, answer) : NULL;
    if (!gather)
        call_fail (call, NEXUS_EXHAUSTED, "the answer does not fit into memory");
    if (!pending) {
        free (gather);
        return;
    }
    pending->gather = gather;
    pending->wait = GATEWAY_GATHERED;
    for (size_t i = 0; i < gateway->master_count; i++) {
        const record_key_t *key = &gateway->masters[i].master.key;
        bool here = memcmp (key, context_node (call->ctx), sizeof (*key)) == 0;
        address_t to = here ? address_local ("election", 0) : address_remote (key, "election", 0);
        gather->asked[gather->count].key = *key;
        gather->asked[gather->count++].correlation =
            context_request (call->ctx, &to, &raft_view_get_record,
                             &(raft_view_get_t){.peers = true}, GATEWAY_VIEW_MS);
    }
    gather->waiting = gather->count;
}
