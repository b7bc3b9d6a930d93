/*  handle_masters - who the masters are, their changes, and who leads */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"
#include "actors/protocol/consensus.h"
#include "actors/protocol/known_masters.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool same_key (const record_key_t *a, const record_key_t *b)
{
    return memcmp (a, b, sizeof (*a)) == 0;
}

static int by_name (const void *a, const void *b)
{
    return strcmp (((const master_t *)a)->name, ((const master_t *)b)->name);
}

/*  False: the call is answered. */
static bool list_masters (call_t *call, master_t **ret_masters, size_t *ret_count)
{
    nexus_error_t error;
    void *items = NULL;
    if (ledger_list (call->txn, LEDGER_MASTERS, NULL, NULL, 0, &call->arena, &items, ret_count,
                     &error)) {
        call_fail_error (call, &error);
        return false;
    }
    *ret_masters = items;
    if (*ret_count)
        qsort (*ret_masters, *ret_count, sizeof (master_t), by_name);
    return true;
}

/*  1: found; 0: there is none; -1: the call is answered. */
static int find_master (call_t *call, const char *name, master_t *master)
{
    master_t *masters;
    size_t count;
    if (!list_masters (call, &masters, &count))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (strcmp (masters[i].name, name) == 0) {
            *master = masters[i];
            return 1;
        }
    return 0;
}

static bool need_master (call_t *call, const char *name, master_t *master)
{
    int found = find_master (call, name, master);
    if (found == 0)
        call_fail (call, NEXUS_NOT_FOUND,
                   "there is no master \"%.63s\": the list of masters shows who is there", name);
    return found > 0;
}

/*  ---- the list --------------------------------------------------------------------- */

/*  What the leader says of a master; NULL: nothing. */
static const raft_peer_view_t *seen_by_leader (const raft_view_t *view, const record_key_t *key)
{
    for (size_t i = 0; view && i < view->peers.count; i++)
        if (same_key (&view->peers.items[i].key, key))
            return &view->peers.items[i];
    return NULL;
}

static bool is_outgoing (const cluster_conf_t *conf, const record_key_t *key)
{
    for (size_t i = 0; i < conf->members.count; i++)
        if (same_key (&conf->members.items[i].key, key))
            return conf->members.items[i].outgoing && !conf->members.items[i].voter;
    return false;
}

static master_info_t describe (const call_t *call, const raft_view_t *view,
                               const cluster_conf_t *conf, const master_t *master)
{
    const raft_peer_view_t *peer = seen_by_leader (view, &master->key);
    bool leads = same_key (&master->key, &call->gateway->leadership.leader);
    master_info_t info = {.name = master->name,
                          .role = master->role,
                          .leaving = is_outgoing (conf, &master->key),
                          .endpoint = master->endpoint,
                          .api = master->api,
                          .key = master->key,
                          .incarnation = master->incarnation,
                          .heard_ms_ago = -1,
                          .state = MASTER_UNKNOWN};
    if (leads) {
        info.state = MASTER_LEADER;
        info.match = view ? view->durable : 0;
        info.heard_ms_ago = 0;
    } else if (peer) {
        info.state = peer->refused  ? MASTER_REFUSED
                     : peer->active ? MASTER_FOLLOWER
                                    : MASTER_UNKNOWN;
        info.match = peer->match;
        info.lag = peer->lag;
        info.heard_ms_ago = peer->heard_ms_ago;
    }
    return info;
}

static void answer_list (call_t *call, const message_t *reply)
{
    master_t *masters;
    size_t count;
    nexus_error_t error;
    cluster_conf_t conf;
    const raft_view_t *view = reply ? message_body (reply, raft_view) : NULL;
    if (!list_masters (call, &masters, &count))
        return;
    if (ledger_get_conf (call->txn, &call->arena, &conf, &error)) {
        call_fail_error (call, &error);
        return;
    }
    master_info_t *items = arena_alloc (&call->arena, (count + 1) * sizeof (*items));
    if (!items) {
        call_fail (call, NEXUS_EXHAUSTED, "the list does not fit into memory");
        return;
    }
    master_info_list_t list = {
        .leader = gateway_leader (call->gateway), .index = conf.index, .masters = {items, count}};
    for (size_t i = 0; i < count; i++)
        items[i] = describe (call, view, &conf, &masters[i]);
    for (size_t i = 0; i < conf.members.count; i++)
        list.joint |= conf.members.items[i].outgoing;
    call_reply_record (call, &master_info_list_record, &list);
}

void handle_master_list (call_t *call)
{
    const record_key_t *leader = &call->gateway->leadership.leader;
    address_t to = same_key (leader, context_node (call->ctx))
                       ? address_local ("election", 0)
                       : address_remote (leader, "election", 0);
    if (record_key_is_zero (leader))
        answer_list (call, NULL); /* who they are is known, how far they are is not */
    else
        call_ask (call, &to, &raft_view_get_record, &(raft_view_get_t){.peers = true},
                  GATEWAY_VIEW_MS, answer_list);
}

/*  ---- changes ---------------------------------------------------------------------- */

/*  This master's ledger has the change. */
static void answer_change (call_t *call, const message_t *reply)
{
    (void)reply;
    const master_request_t *request = call->body;
    const char *name = request ? request->name : call->arguments.items[0];
    master_t master;
    int found = find_master (call, name, &master);
    if (found == 0)
        master = (master_t){.name = name}; /* removed */
    if (found >= 0)
        call_reply_record (call, &master_record, &master);
}

static void change (call_t *call, master_op_kind_t op, const master_t *master)
{
    master_op_t ops[] = {{.op = (int)op, .master = *master}};
    master_change_t body = {.changes = {ops, 1}};
    call_change (call, &master_change_record, &body, answer_change);
}

/*  False: what makes a master unique is another one's already, and the call is answered. Were it
    let through, a voter whose key is given under a new name would become a learner. */
static bool is_nobody_elses (call_t *call, const master_request_t *request)
{
    master_t *masters;
    size_t count;
    if (!list_masters (call, &masters, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        bool key = same_key (&masters[i].key, &request->key);
        if (strcmp (masters[i].name, request->name) == 0 ||
            !(key || (masters[i].endpoint && strcmp (masters[i].endpoint, request->endpoint) == 0)))
            continue;
        call_fail (call, NEXUS_EXISTS, "this %s is master \"%.63s\"'s already: nothing was done",
                   key ? "key" : "endpoint", masters[i].name);
        return false;
    }
    return true;
}

void handle_master_add (call_t *call)
{
    const master_request_t *request = call->body;
    master_t master = {.key = request->key,
                       .name = request->name,
                       .endpoint = request->endpoint,
                       .api = request->api},
             known;
    nexus_error_t error;
    if (known_masters_check_addresses (request->endpoint, request->api, &error)) {
        call_fail_error (call, &error);
        return;
    }
    if (!is_nobody_elses (call, request))
        return;
    int found = find_master (call, request->name, &known);
    if (found == 0)
        change (call, MASTER_OP_LEARNER, &master);
    else if (found > 0 && same_key (&known.key, &master.key))
        call_reply_record (call, &master_record, &known); /* asked again */
    else if (found > 0)
        call_fail (
            call, NEXUS_EXISTS,
            "there is a master \"%.63s\" with another key: choose another name, or remove it "
            "first",
            request->name);
}

void handle_master_promote (call_t *call)
{
    master_t master;
    if (!need_master (call, call->arguments.items[0], &master))
        return;
    if (master.role == MASTER_VOTER)
        call_reply_record (call, &master_record, &master);
    else
        change (call, MASTER_OP_VOTER, &master);
}

void handle_master_remove (call_t *call)
{
    master_t master;
    if (need_master (call, call->arguments.items[0], &master))
        change (call, MASTER_OP_REMOVE, &master);
}

/*  ---- who leads -------------------------------------------------------------------- */

static void answer_transfer (call_t *call, const message_t *reply)
{
    const failure_t *failure = message_body (reply, failure);
    const done_t *done = message_body (reply, done);
    if (done) {
        transfer_result_t result = {.term = done->value};
        call_reply_record (call, &transfer_result_record, &result);
    } else
        call_fail (call, (nexus_code_t)(failure ? failure->code : NEXUS_UNAVAILABLE), "%s",
                   failure && failure->text ? failure->text : "the election didn't answer");
}

void handle_master_transfer (call_t *call)
{
    const transfer_request_t *request = call->body;
    leadership_transfer_t transfer = {.own = false};
    address_t election = address_local ("election", 0);
    master_t master;
    if (request->to && *request->to) {
        if (!need_master (call, request->to, &master))
            return;
        transfer.to = master.key;
    }
    call_ask (call, &election, &leadership_transfer_record, &transfer, GATEWAY_PROPOSE_MS,
              answer_transfer);
}
