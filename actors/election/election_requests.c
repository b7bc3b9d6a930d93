/*  election_requests - those who wait for the election: proposals, reads, transfers

    Each request is answered exactly once: with its result, or with a failure that
    says whether a retry is safe.
*/
#include "actors/election/election_private.h"

#include "actors/protocol/command.h"
#include "actors/protocol/ledger.h"
#include "runtime/planted.h"

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
static const char *s_removed = "election: this master was removed from the cluster: ask another";
static const char *s_lost = "election: another leader's entry took its place, nothing was done: "
                            "retry";
static const char *s_unknown = "election: no leader has answered in time; nobody knows (yet) "
                               "whether it was done";

static bool s_waits_too_long (election_t *self, context_t *ctx, const message_t *request)
{
    return request->deadline_ns &&
           request->deadline_ns - context_now (ctx) < MS_TO_NS (self->status.heartbeat_ms);
}

/*  Sends it to the leader, or notes that it is to be sent later. */
static void s_pass_on (election_t *self, context_t *ctx, election_relay_t *relay)
{
    const message_t *request = relay->request;
    const record_key_t *leader = election_key (self, raft_soft_state (self->raft).leader);
    if (!leader || raft_soft_state (self->raft).role == RAFT_LEADER) {
        if (!self->relays_idle++)
            self->relays_retry_ms = election_now_ms (ctx) + self->status.heartbeat_ms;
        relay->correlation = 0;
        return;
    }
    address_t to = address_remote (leader, "election", 0);
    int64_t left_ms = NS_TO_MS (request->deadline_ns - context_now (ctx));
    if (relay->asker.client) {
        propose_t propose = *(const propose_t *)request->body;
        propose.client = relay->asker.client;
        propose.sequence = PLANTED (REQUEST_RENUMBERED) ? ++self->sequence : relay->asker.sequence;
        propose.after = relay->asker.after;
        relay->correlation = context_request (ctx, &to, &propose_record, &propose, left_ms);
    } else
        relay->correlation = context_request (ctx, &to, request->kind, request->body, left_ms);
}

/*  Takes over the caller's reference to the request. False (and it is still the caller's) if too
    many wait. */
static bool s_add_relay (election_t *self, context_t *ctx, message_t *request,
                         election_asker_t asker)
{
    if (self->relays_first > self->relays_count / 2) {
        self->relays_count -= self->relays_first;
        memmove (self->relays, self->relays + self->relays_first,
                 self->relays_count * sizeof (election_relay_t));
        self->relays_first = 0;
    }
    if (!s_room (&self->relays, self->relays_count, &self->relays_room, sizeof (election_relay_t)))
        return false;
    election_relay_t *relay = &self->relays[self->relays_count++];
    *relay = (election_relay_t){.request = request, .asker = asker};
    s_pass_on (self, ctx, relay);
    return true;
}

/*  Who asks, by the request itself or, if it doesn't say, this election in its place. */
static election_asker_t s_asker (election_t *self, const propose_t *propose)
{
    if (propose->client)
        return (election_asker_t){propose->client, propose->sequence, propose->after};
    /* What is committed elsewhere is as good as applied: this one comes after it. A master that is
       far behind would otherwise be taken for one that asks again, too late. */
    uint64_t after = self->status.applied;
    if (after < self->commit_known)
        after = self->commit_known;
    return (election_asker_t){self->client, ++self->sequence, after};
}

bool election_pass_on (election_t *self, context_t *ctx, message_t *request)
{
    return s_add_relay (self, ctx, request, (election_asker_t){0});
}

void election_relay (election_t *self, context_t *ctx, const message_t *message)
{
    const propose_t *propose = message_body (message, propose);
    message_t *request = NULL;
    /* What was passed on once is not passed on again: masters that don't agree on who leads
       would send it round and round. */
    if (self->removed) /* the others would not even hear it */
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", s_removed);
    else if (message->role == ROLE_MASTER)
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: this master doesn't lead (any more), nothing was done: "
                               "retry");
    else if (!election_key (self, raft_soft_state (self->raft).leader))
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", s_no_leader);
    else
        request = message_retain ((message_t *)message);
    if (request && !s_add_relay (self, ctx, request,
                                 propose ? s_asker (self, propose) : (election_asker_t){0}))
        s_refuse (ctx, &request, NEXUS_UNAVAILABLE,
                  "election: too many requests wait, nothing was done: retry later");
}

static election_relay_t *s_find_relay (election_t *self, uint64_t correlation)
{
    /* Answers come mostly in the order of the questions. */
    for (size_t i = self->relays_first; i < self->relays_count; i++)
        if (self->relays[i].request && self->relays[i].correlation == correlation)
            return &self->relays[i];
    return NULL;
}

static void s_end_relay (election_t *self, election_relay_t *relay)
{
    message_release (&relay->request);
    while (self->relays_first < self->relays_count && !self->relays[self->relays_first].request)
        self->relays_first++;
}

bool election_relayed (election_t *self, context_t *ctx, const message_t *reply)
{
    election_relay_t *relay = s_find_relay (self, reply->correlation);
    const failure_t *failure = message_body (reply, failure);
    if (!relay)
        return false;
    if (failure && failure->code == NEXUS_UNAVAILABLE && relay->asker.client &&
        !s_waits_too_long (self, ctx, relay->request)) {
        if (!self->relays_idle++)
            self->relays_retry_ms = election_now_ms (ctx) + self->status.heartbeat_ms;
        relay->correlation = 0;
        return true;
    }
    if (failure && failure->code == NEXUS_UNAVAILABLE && relay->asker.client)
        context_reply_failure (ctx, relay->request, NEXUS_DEADLINE, "%s", s_unknown);
    else
        context_reply (ctx, relay->request, reply->kind, reply->body);
    s_end_relay (self, relay);
    return true;
}

/*  Another proposal may wait for the same index, from an earlier term that this master led: its
    entry is gone from our log, but only what is committed there decides. Takes over the caller's
    reference to the request. */
static void s_wait_for_commit (election_t *self, message_t *request, election_asker_t asker,
                               uint64_t index, uint64_t term)
{
    self->proposals[self->proposals_count++] =
        (election_proposal_t){.index = index, .term = term, .request = request, .asker = asker};
}

void election_wait_for_commit (election_t *self, const message_t *message, uint64_t index,
                               uint64_t term)
{
    if (!s_room (&self->proposals, self->proposals_count, &self->proposals_room,
                 sizeof (election_proposal_t)))
        return; /* its sender will hear nothing in time, which means: nobody knows */
    s_wait_for_commit (self, message_retain ((message_t *)message), (election_asker_t){0}, index,
                       term);
}

static void s_free_data (void *data, void *context)
{
    (void)context;
    free (data);
}

/*  The command as it stands in the log. */
static raft_blob_t *s_blob (const propose_t *propose, election_asker_t asker)
{
    if (!asker.client)
        return raft_blob_new (propose->command.data, propose->command.size);
    buffer_t bytes = {0};
    once_t once = {asker.client, asker.sequence, asker.after, propose->command};
    buffer_reserve (&bytes, propose->command.size + 64);
    command_encode (&once_record, &once, &bytes);
    assert (!bytes.failed);
    return raft_blob_wrap (bytes.data, bytes.size, s_free_data, NULL);
}

/*  Appends it as leader. NULL, or why not; nothing was done then. */
static const char *s_append (election_t *self, const message_t *message, election_asker_t asker,
                             uint64_t *index, uint64_t *term)
{
    if (self->log_full)
        return "election: the leader's log is nearly full, nothing was done: free space on its "
               "disk";
    if (s_room (&self->proposals, self->proposals_count, &self->proposals_room,
                sizeof (election_proposal_t)) &&
        raft_propose (self->raft, RAFT_ENTRY_NORMAL, s_blob (message->body, asker), index, term) ==
            RAFT_OK)
        return NULL;
    return self->status.transferee
               ? "election: leadership is being handed over, nothing was done: retry"
               : "election: too much waits for a majority's disks, nothing was done: retry later";
}

enum { WORKER_COMMAND_MAX = 65536 + 512 }; /* a kv_put */

/*  Workers write the key-value store, and nothing else; what is kept for the API's callers is not
    theirs to fill. */
static bool s_may (const message_t *message)
{
    const propose_t *propose = message->body;
    if (message->role == ROLE_LOCAL || message->role == ROLE_MASTER)
        return true;
    unsigned kind = (unsigned)propose->command.data[0] << 8 | propose->command.data[1];
    bool numbered = propose->client && propose->client >> 63 == 0;
    return message->role == ROLE_WORKER && numbered &&
           propose->command.size <= WORKER_COMMAND_MAX &&
           (kind == kv_put_record.id || kind == kv_delete_record.id);
}

void election_propose (election_t *self, context_t *ctx, const message_t *message)
{
    const propose_t *propose = message->body;
    uint64_t index, term;
    if (!s_may (message))
        context_reply_failure (ctx, message, NEXUS_DENIED,
                               "election: a worker may propose kv_put and kv_delete, with a client "
                               "and a sequence");
    else if (!self->raft)
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", s_no_leader);
    else if (raft_soft_state (self->raft).role != RAFT_LEADER)
        election_relay (self, ctx, message);
    else {
        election_asker_t asker = {propose->client, propose->sequence, propose->after};
        const char *refusal = s_append (self, message, asker, &index, &term);
        if (refusal) {
            metric_add (self->refused_metric, 1);
            context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", refusal);
            return;
        }
        s_wait_for_commit (self, message_retain ((message_t *)message), (election_asker_t){0},
                           index, term);
        metric_add (self->proposals_metric, 1);
    }
}

/*  A relay is passed on again; by now this master may lead itself. */
static void s_relay_again (election_t *self, context_t *ctx, election_relay_t *relay)
{
    uint64_t index, term;
    assert (relay->asker.client);
    if (s_waits_too_long (self, ctx, relay->request)) {
        context_reply_failure (ctx, relay->request, NEXUS_DEADLINE, "%s", s_unknown);
        s_end_relay (self, relay);
    } else if (raft_soft_state (self->raft).role == RAFT_LEADER &&
               !s_append (self, relay->request, relay->asker, &index, &term)) {
        s_wait_for_commit (self, message_retain (relay->request), relay->asker, index, term);
        s_end_relay (self, relay);
    } else
        s_pass_on (self, ctx, relay);
}

/*  Another leader: the one that was asked may be dead, and its answer never come. Asking twice is
    harmless, a command is applied once. */
static void s_relays_redirect (election_t *self, context_t *ctx)
{
    uint64_t leader = raft_soft_state (self->raft).leader;
    if (!leader || leader == self->relays_leader)
        return;
    self->relays_leader = leader;
    self->relays_idle = 0;
    for (size_t i = self->relays_first; i < self->relays_count; i++)
        if (self->relays[i].request && self->relays[i].asker.client)
            s_relay_again (self, ctx, &self->relays[i]);
}

static void s_relays_check (election_t *self, context_t *ctx)
{
    s_relays_redirect (self, ctx);
    if (!self->relays_idle || election_now_ms (ctx) < self->relays_retry_ms)
        return;
    self->relays_idle = 0;
    for (size_t i = self->relays_first; i < self->relays_count; i++)
        if (self->relays[i].request && !self->relays[i].correlation)
            s_relay_again (self, ctx, &self->relays[i]);
}

/*  Its entry lost its place to another leader's. Copies of what was a relay may still be on their
    way: it goes on as one. */
static void s_lose (election_t *self, context_t *ctx, election_proposal_t *proposal)
{
    if (!proposal->asker.client)
        s_refuse (ctx, &proposal->request, NEXUS_UNAVAILABLE, s_lost);
    else if (!s_add_relay (self, ctx, proposal->request, proposal->asker))
        s_refuse (ctx, &proposal->request, NEXUS_DEADLINE, s_unknown);
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
            s_lose (self, ctx, proposal);
        else
            self->proposals[kept++] = *proposal;
    }
    self->proposals_count = kept;
}

void election_restored (election_t *self, context_t *ctx, uint64_t index)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->proposals_count; i++) {
        election_proposal_t *proposal = &self->proposals[i];
        if (proposal->index > index)
            self->proposals[kept++] = *proposal;
        else if (!proposal->asker.client ||
                 !s_add_relay (self, ctx, proposal->request, proposal->asker))
            s_refuse (ctx, &proposal->request, NEXUS_DEADLINE, s_unknown);
    }
    self->proposals_count = kept;
}

const apply_result_t *election_result (const applied_t *applied, uint64_t index)
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
        if (!read->confirmed || (read->index > applied && !PLANTED (READ_BEFORE_APPLIED))) {
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
    uint64_t done = applied->done > applied->index ? applied->done : applied->index;
    size_t kept = 0;
    for (size_t i = 0; i < self->proposals_count; i++) {
        election_proposal_t *proposal = &self->proposals[i];
        if (proposal->index > done) {
            self->proposals[kept++] = *proposal;
            continue;
        }
        const apply_result_t *result = election_result (applied, proposal->index);
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

/*  What is committed from now on it never hears of. */
void election_reads_refuse (election_t *self, context_t *ctx)
{
    while (self->reads_count)
        s_refuse (ctx, &self->reads[--self->reads_count].request, NEXUS_UNAVAILABLE, s_removed);
}

void election_read (election_t *self, context_t *ctx, const message_t *message)
{
    if (self->removed) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE, "%s", s_removed);
        return;
    }
    if (!s_room (&self->reads, self->reads_count, &self->reads_room, sizeof (election_read_t))) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: too many reads wait: retry later");
        return;
    }
    const read_barrier_t *barrier = message->body;
    self->reads[self->reads_count++] = (election_read_t){
        .index = barrier->index, .request = message_retain ((message_t *)message)};
}

/*  Whether an answer to that number confirms the read: any does that was asked for after the read
    came. If only the newest counted, a leader that is further away than the pause between two
    questions would never confirm anything. */
static bool s_confirms (const election_t *self, const election_read_t *read, uint64_t id)
{
    return read->id && !read->confirmed &&
           (id - read->id <= self->read_id - read->id || PLANTED (READ_ID_REUSED));
}

void election_reads_answered (election_t *self, context_t *ctx, const raft_read_t *reads,
                              size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < self->reads_count && reads[i].result == RAFT_OK; j++) {
            election_read_t *read = &self->reads[j];
            if (!s_confirms (self, read, reads[i].id))
                continue;
            read->confirmed = true;
            if (read->index < reads[i].index)
                read->index = reads[i].index;
        }
    raft_status (self->raft, &self->status);
    s_reads_applied (self, ctx, self->status.applied);
}

/*  An answer that takes longer than some round trips was probably lost. */
static int64_t s_reads_patience_ms (const election_t *self)
{
    return self->status.election_timeout_ms / 3;
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
        if (!read->id)
            read->id = self->read_id;
        asked = true;
    }
    if (asked)
        self->reads_retry_ms = election_now_ms (ctx) + s_reads_patience_ms (self);
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
        self->reads_retry_ms = election_now_ms (ctx) + s_reads_patience_ms (self);
}

/*  ---- leadership transfer ------------------------------------------------- */

/*  The voter that needs least to catch up; 0: there is no other. */
static uint64_t s_furthest (const election_t *self)
{
    const quorum_set_t *voters = &raft_conf (self->raft)->voters;
    uint64_t best = 0, match = 0;
    for (uint32_t i = 0; i < voters->count; i++) {
        const tracker_progress_t *peer = raft_progress (self->raft, voters->ids[i]);
        if (peer->id == self->id || !election_within_reach (self, peer->id))
            continue;
        if (!best || peer->match > match) {
            best = peer->id;
            match = peer->match;
        }
    }
    return best;
}

bool election_hand_over (election_t *self)
{
    uint64_t to = s_furthest (self);
    return to && raft_transfer_leader (self->raft, to) == RAFT_OK;
}

void election_transfer (election_t *self, context_t *ctx, const message_t *message)
{
    const leadership_transfer_t *transfer = message->body;
    self->now_ms = election_now_ms (ctx);
    bool leads = self->raft && raft_soft_state (self->raft).role == RAFT_LEADER;
    if (!leads && self->raft && !transfer->own) {
        election_relay (self, ctx, message);
        return;
    }
    if (!leads || self->transfer) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               leads ? "election: a transfer is under way already: retry later"
                                     : "election: this master doesn't lead");
        return;
    }
    uint64_t to =
        record_key_is_zero (&transfer->to) ? s_furthest (self) : election_id (&transfer->to);
    if (to == self->id) {
        context_reply (ctx, message, &done_record, &(done_t){.value = self->status.hard.term});
        return;
    }
    raft_result_t result = to ? raft_transfer_leader (self->raft, to) : RAFT_INVALID;
    if (result == RAFT_OK) {
        self->transfer = message_retain ((message_t *)message);
        log_info (context_log (ctx), "leadership is handed over",
                  LOG_NODE ("to", election_key (self, to)));
    } else if (result == RAFT_INVALID)
        context_reply_failure (ctx, message, NEXUS_INVALID,
                               "election: there is no such other voter, or it is out of reach");
    else
        context_reply_failure (
            ctx, message, NEXUS_UNAVAILABLE,
            "election: this master is giving leadership up already: retry later");
}

static void s_transfer_check (election_t *self, context_t *ctx)
{
    if (!self->transfer || self->status.transferee)
        return;
    if (self->status.soft.role != RAFT_LEADER) {
        if (self->status.soft.leader == 0 && !s_waits_too_long (self, ctx, self->transfer))
            return; /* the other one stands for election */
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
    s_relays_check (self, ctx);
    s_transfer_check (self, ctx);
}

int64_t election_requests_deadline_ms (const election_t *self)
{
    int64_t deadline_ms = self->reads_count ? self->reads_retry_ms : INT64_MAX;
    if (self->relays_idle && self->relays_retry_ms < deadline_ms)
        deadline_ms = self->relays_retry_ms;
    return deadline_ms;
}

void election_requests_end (election_t *self, context_t *ctx)
{
    static const char *const unknown = "election: this master stops; nobody knows (yet) whether it "
                                       "was done";
    while (self->proposals_count)
        s_refuse (ctx, &self->proposals[--self->proposals_count].request, NEXUS_DEADLINE, unknown);
    for (; self->relays_first < self->relays_count; self->relays_first++)
        if (self->relays[self->relays_first].request)
            s_refuse (ctx, &self->relays[self->relays_first].request, NEXUS_DEADLINE, unknown);
    while (self->reads_count)
        s_refuse (ctx, &self->reads[--self->reads_count].request, NEXUS_UNAVAILABLE,
                  "election: this master stops");
    if (self->transfer)
        s_refuse (ctx, &self->transfer, NEXUS_UNAVAILABLE, "election: this master stops");
    free (self->proposals);
    free (self->relays);
    free (self->reads);
}
