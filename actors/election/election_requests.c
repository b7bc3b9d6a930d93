/*  election_requests - those who wait for the election: proposals, reads, transfers

    Each request is answered exactly once: with its result, or with a failure that
    says whether a retry is safe.
*/
#include "actors/election/election_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*  Room for one more. False if too many wait already. */
static bool s_room (void *items_p, size_t count, size_t *room, size_t item_size)
{
    if (count == ELECTION_WAITING_MAX)
        return false;
    if (count < *room)
        return true;
    *room = *room ? *room * 2 : 64;
    void **items = items_p;
    *items = raft_realloc (*items, *room * item_size);
    return true;
}

static void s_refuse (context_t *ctx, message_t **request_p, nexus_code_t code, const char *text)
{
    context_reply_failure (ctx, *request_p, code, "%s", text);
    message_release (request_p);
}

/*  ---- proposals ----------------------------------------------------------- */

static const char *s_no_leader = "election: no leader at the moment, nothing was done: retry";
static const char *s_lost = "election: another leader's entry took its place, nothing was done: "
                            "retry";

/*  Asks the leader on behalf of the request's sender. */
static void s_relay (election_t *self, context_t *ctx, const message_t *message)
{
    const record_key_t *leader = election_key (self, raft_soft_state (self->raft).leader);
    int64_t left_ms = NS_TO_MS (message->deadline_ns - context_now (ctx));
    /* What was passed on once is not passed on again: masters that don't agree on who leads
       would send it round and round. */
    if (message->role != ROLE_LOCAL)
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: this master doesn't lead (any more), nothing was done: "
                               "retry");
    else if (!leader)
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", s_no_leader);
    else if (!s_room (&self->relays, self->relays_count, &self->relays_room,
                      sizeof (election_relay_t)))
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: too many requests wait, nothing was done: retry later");
    else {
        address_t to = address_remote (leader, "election", 0);
        self->relays[self->relays_count++] = (election_relay_t){
            .correlation = context_request (ctx, &to, message->kind, message->body, left_ms),
            .request = message_retain ((message_t *)message),
        };
    }
}

bool election_relayed (election_t *self, context_t *ctx, const message_t *reply)
{
    for (size_t i = 0; i < self->relays_count; i++) {
        if (self->relays[i].correlation != reply->correlation)
            continue;
        message_t *request = self->relays[i].request;
        self->relays[i] = self->relays[--self->relays_count];
        context_reply (ctx, request, reply->kind, reply->body);
        message_release (&request);
        return true;
    }
    return false;
}

/*  Another proposal may wait for the same index, from an earlier term that this master led: its
    entry is gone from our log, but only what is committed there decides. */
static void s_wait_for_commit (election_t *self, const message_t *message, uint64_t index,
                               uint64_t term)
{
    self->proposals[self->proposals_count++] = (election_proposal_t){
        .index = index, .term = term, .request = message_retain ((message_t *)message)};
}

void election_propose (election_t *self, context_t *ctx, const message_t *message)
{
    const propose_t *propose = message->body;
    if (!self->raft) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", s_no_leader);
        return;
    }
    if (raft_soft_state (self->raft).role != RAFT_LEADER) {
        s_relay (self, ctx, message);
        return;
    }
    if (self->log_full) {
        metric_add (self->refused_metric, 1);
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: the leader's log is nearly full, nothing was done: free "
                               "space on its disk");
        return;
    }
    uint64_t index, term;
    raft_blob_t *blob = raft_blob_new (propose->command.data, propose->command.size);
    if (!s_room (&self->proposals, self->proposals_count, &self->proposals_room,
                 sizeof (election_proposal_t))) {
        raft_blob_release (blob);
    } else if (raft_propose (self->raft, RAFT_ENTRY_NORMAL, blob, &index, &term) == RAFT_OK) {
        s_wait_for_commit (self, message, index, term);
        metric_add (self->proposals_metric, 1);
        return;
    }
    metric_add (self->refused_metric, 1);
    context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                           self->status.transferee
                               ? "election: leadership is being handed over, nothing was done: "
                                 "retry"
                               : "election: too much waits for a majority's disks, nothing was "
                                 "done: retry later");
}

void election_committed (election_t *self, context_t *ctx, const raft_entry_t *entries,
                         size_t count)
{
    if (count == 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < self->proposals_count; i++) {
        election_proposal_t *proposal = &self->proposals[i];
        bool decided =
            proposal->index >= entries[0].index && proposal->index <= entries[count - 1].index;
        if (decided && entries[proposal->index - entries[0].index].term != proposal->term)
            s_refuse (ctx, &proposal->request, NEXUS_UNAVAILABLE, s_lost);
        else
            self->proposals[kept++] = *proposal;
    }
    self->proposals_count = kept;
}

/*  The result of an index; NULL if the ledger has none (it had applied it before). */
static const apply_result_t *s_result (const applied_t *applied, uint64_t index)
{
    size_t low = 0, high = applied->results.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (applied->results.items[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < applied->results.count && applied->results.items[low].index == index)
        return &applied->results.items[low];
    return NULL;
}

static void s_reads_applied (election_t *self, context_t *ctx, uint64_t applied)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->reads_count; i++) {
        election_read_t *read = &self->reads[i];
        if (!read->confirmed || read->index > applied) {
            self->reads[kept++] = *read;
            continue;
        }
        context_reply (ctx, read->request, &done_record, &(done_t){.value = applied});
        message_release (&read->request);
    }
    self->reads_count = kept;
}

void election_applied (election_t *self, context_t *ctx, const applied_t *applied)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->proposals_count; i++) {
        election_proposal_t *proposal = &self->proposals[i];
        if (proposal->index > applied->index) {
            self->proposals[kept++] = *proposal;
            continue;
        }
        const apply_result_t *result = s_result (applied, proposal->index);
        if (result && result->code != NEXUS_OK)
            s_refuse (ctx, &proposal->request, (nexus_code_t)result->code, result->text);
        else {
            proposed_t proposed = {.index = proposal->index, .value = result ? result->text : ""};
            context_reply (ctx, proposal->request, &proposed_record, &proposed);
            message_release (&proposal->request);
        }
    }
    self->proposals_count = kept;
    s_reads_applied (self, ctx, applied->index);
}

/*  ---- reads --------------------------------------------------------------- */

void election_read (election_t *self, context_t *ctx, const message_t *message)
{
    if (!s_room (&self->reads, self->reads_count, &self->reads_room, sizeof (election_read_t))) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: too many reads wait: retry later");
        return;
    }
    const read_barrier_t *barrier = message->body;
    self->reads[self->reads_count++] = (election_read_t){
        .index = barrier->index, .request = message_retain ((message_t *)message)};
}

void election_reads_answered (election_t *self, context_t *ctx, const raft_read_t *reads,
                              size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < self->reads_count && reads[i].result == RAFT_OK; j++) {
            election_read_t *read = &self->reads[j];
            if (read->id != reads[i].id || read->confirmed)
                continue;
            read->confirmed = true;
            if (read->index < reads[i].index)
                read->index = reads[i].index;
        }
    raft_status (self->raft, &self->status);
    s_reads_applied (self, ctx, self->status.applied);
}

/*  Asks for all that have not been asked (or are to be asked again), always under a fresh
    number: an old answer must not confirm a later question. If there is no leader, or the answer
    is lost, it is asked again later. */
static void s_reads_ask (election_t *self, context_t *ctx, bool again)
{
    bool asked = false;
    for (size_t i = 0; i < self->reads_count; i++) {
        election_read_t *read = &self->reads[i];
        if (read->confirmed || (read->id && !again))
            continue;
        if (!asked)
            raft_read_index (self->raft, ++self->read_id);
        read->id = self->read_id;
        asked = true;
    }
    if (asked)
        self->reads_retry_ms = election_now_ms (ctx) + 2 * self->args->heartbeat_ms;
}

/*  Those whose deadline is over: their senders have been told. */
static void s_reads_expire (election_t *self, context_t *ctx)
{
    int64_t now_ns = context_now (ctx);
    size_t kept = 0;
    for (size_t i = 0; i < self->reads_count; i++) {
        if (self->reads[i].request->deadline_ns && self->reads[i].request->deadline_ns <= now_ns)
            message_release (&self->reads[i].request);
        else
            self->reads[kept++] = self->reads[i];
    }
    self->reads_count = kept;
}

static void s_reads_check (election_t *self, context_t *ctx)
{
    if (self->reads_count == 0)
        return;
    bool again = election_now_ms (ctx) >= self->reads_retry_ms;
    if (again)
        s_reads_expire (self, ctx);
    s_reads_ask (self, ctx, again);
    if (again)
        self->reads_retry_ms = election_now_ms (ctx) + 2 * self->args->heartbeat_ms;
}

/*  ---- leadership transfer ------------------------------------------------- */

/*  The voter that needs least to catch up; 0: there is no other. */
static uint64_t s_furthest (const election_t *self)
{
    uint64_t best = 0, match = 0;
    for (size_t i = 0; i < self->args->masters_count; i++) {
        const tracker_progress_t *peer = raft_progress (self->raft, self->ids[i]);
        if (!peer || peer->id == self->id || peer->learner || !peer->recent_active)
            continue;
        if (!best || peer->match > match) {
            best = peer->id;
            match = peer->match;
        }
    }
    return best;
}

void election_transfer (election_t *self, context_t *ctx, const message_t *message)
{
    const leadership_transfer_t *transfer = message->body;
    uint64_t to = 0;
    if (!self->raft || raft_soft_state (self->raft).role != RAFT_LEADER) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: this master doesn't lead: ask the leader");
        return;
    }
    if (self->transfer) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: a transfer is under way already: retry later");
        return;
    }
    to = record_key_is_zero (&transfer->to) ? s_furthest (self) : election_id (&transfer->to);
    raft_result_t result = to ? raft_transfer_leader (self->raft, to) : RAFT_INVALID;
    if (result == RAFT_OK)
        self->transfer = message_retain ((message_t *)message);
    else if (result == RAFT_NOT_LEADER)
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: this master doesn't lead any more: ask the leader");
    else
        context_reply_failure (ctx, message, NEXUS_INVALID,
                               "election: there is no such other master, or it is out of reach");
}

static void s_transfer_check (election_t *self, context_t *ctx)
{
    if (!self->transfer || self->status.transferee)
        return;
    /* Whoever gives leadership up for a transfer knows at once that the term is another one. */
    if (self->status.soft.role != RAFT_LEADER) {
        context_reply (ctx, self->transfer, &done_record,
                       &(done_t){.value = self->status.hard.term});
        message_release (&self->transfer);
    } else
        s_refuse (ctx, &self->transfer, NEXUS_UNAVAILABLE,
                  "election: the other master didn't catch up in time, or doesn't answer; this "
                  "one still leads");
}

/*  ---- all ----------------------------------------------------------------- */

void election_requests_check (election_t *self, context_t *ctx)
{
    s_reads_check (self, ctx);
    s_transfer_check (self, ctx);
}

void election_requests_end (election_t *self, context_t *ctx)
{
    static const char *const unknown = "election: this master stops; nobody knows (yet) whether it "
                                       "was done";
    while (self->proposals_count)
        s_refuse (ctx, &self->proposals[--self->proposals_count].request, NEXUS_DEADLINE, unknown);
    while (self->relays_count)
        s_refuse (ctx, &self->relays[--self->relays_count].request, NEXUS_DEADLINE, unknown);
    while (self->reads_count)
        s_refuse (ctx, &self->reads[--self->reads_count].request, NEXUS_UNAVAILABLE,
                  "election: this master stops");
    if (self->transfer)
        s_refuse (ctx, &self->transfer, NEXUS_UNAVAILABLE, "election: this master stops");
    free (self->proposals);
    free (self->relays);
    free (self->reads);
}
