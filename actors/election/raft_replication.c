/*  raft_replication - proposals, MsgApp and its answers, commit, heartbeats */
#include "actors/election/raft_core.h"

#include <assert.h>

enum { FORGOTTEN_ROUNDS = 8 };

uint64_t raft_push (raft_t *self, raft_entry_type_t type, raft_blob_t *blob)
{
    raft_entry_t entry = {
        .term = self->term,
        .index = raft_journal_last (&self->journal) + 1,
        .type = type,
        .blob = blob,
    };
    raft_journal_push (&self->journal, &entry);
    self->uncommitted_bytes += raft_entry_bytes (&entry);
    return entry.index;
}

bool raft_changing (const raft_t *self)
{
    /* One change at a time, and none before the term's no-op is committed (the bug in the
       thesis' single-server changes, raft-dev 2015). */
    return (self->pending_conf_index > self->journal.applied && !PLANTED (TWO_CHANGES)) ||
           (!raft_committed_in_term (self) && !PLANTED (CHANGE_BEFORE_NOOP));
}

raft_result_t raft_propose (raft_t *self, raft_entry_type_t type, raft_blob_t *blob,
                            uint64_t *ret_index, uint64_t *ret_term)
{
    raft_result_t result = RAFT_OK;
    size_t bytes = raft_blob_size (blob) + RAFT_ENTRY_OVERHEAD;
    if (self->role != RAFT_LEADER)
        result = RAFT_NOT_LEADER;
    else if (self->transferee || self->leaving)
        result = RAFT_BUSY; /* thesis 3.10: or the target never catches up */
    else if (self->uncommitted_bytes &&
             self->uncommitted_bytes + bytes > self->config.uncommitted_bytes_max)
        result = RAFT_BUSY;
    else if (type == RAFT_ENTRY_CONFIG && raft_changing (self))
        result = RAFT_BUSY;
    if (result != RAFT_OK) {
        raft_blob_release (blob);
        return result;
    }
    *ret_index = raft_push (self, type, blob);
    *ret_term = self->term;
    if (type == RAFT_ENTRY_CONFIG)
        self->pending_conf_index = *ret_index;
    return RAFT_OK;
}

/*  One MsgApp to a peer; without entries only if empty is set. False if nothing was sent. */
static bool s_send_append (raft_t *self, tracker_progress_t *peer, bool empty)
{
    if (tracker_paused (peer))
        return false;
    uint64_t previous = peer->next - 1;
    uint64_t term = raft_journal_term (&self->journal, previous);
    bool known = previous == 0 || term > 0;
    /* What is compacted may still be in memory. */
    if (!known || peer->next < self->journal.offset) {
        if (peer->next < raft_journal_first (&self->journal)) {
            raft_offer_snapshot (self, peer);
            return false;
        }
        if (!known)
            return false; /* it can't be read at the moment */
    }
    raft_message_t message = {
        .type = RAFT_MSG_APP,
        .to = peer->id,
        .index = previous,
        .log_term = term,
        .commit = self->journal.committed,
        .election_ms = (uint64_t)self->config.election_timeout_ms,
    };
    if (peer->state != TRACKER_REPLICATE || !tracker_window_full (&peer->window))
        message.entries_count =
            raft_journal_entries (&self->journal, peer->next, UINT64_MAX, RAFT_BATCH_MAX,
                                  self->config.message_bytes_max, &message.entries);
    if (message.entries_count == 0 && !empty)
        return false;
    size_t bytes = 0;
    for (size_t i = 0; i < message.entries_count; i++)
        bytes += raft_entry_bytes (&message.entries[i]);
    tracker_sent (peer, message.entries_count, bytes);
    peer->commit_sent = message.commit;
    raft_send (self, message);
    return true;
}

void raft_replicate (raft_t *self)
{
    bool due = self->config.commit_delay_ms == 0 || self->now_ms >= self->commit_deadline_ms;
    bool news = false;
    for (uint32_t i = 0; i < self->tracker.count; i++) {
        tracker_progress_t *peer = &self->tracker.peers[i];
        if (peer->id == self->config.id)
            continue;
        /* Pipelining (thesis 10.2.1): as much as the window lets through. */
        while (s_send_append (self, peer, false))
            continue;
        /* Followers shall apply what is committed before the next heartbeat; but the next entry
           tells them as well, and half of the messages are saved if it comes soon. */
        if (peer->commit_sent >= self->journal.committed || peer->state != TRACKER_REPLICATE)
            continue;
        if (due)
            s_send_append (self, peer, true);
        else
            news = true;
    }
    if (!news)
        self->commit_deadline_ms = INT64_MAX;
    else if (self->commit_deadline_ms == INT64_MAX)
        self->commit_deadline_ms = self->now_ms + self->config.commit_delay_ms;
}

void raft_maybe_commit (raft_t *self)
{
    uint64_t index = tracker_committed (&self->tracker);
    /* Thesis 3.6.2: by counting, only entries of the own term are committed; earlier ones with
       them (figure 3.7, "figure 8" of the paper). */
    if (index <= raft_journal_last (&self->journal) && index > self->journal.committed &&
        (raft_journal_term (&self->journal, index) == self->term || PLANTED (COMMIT_OLDER_TERM))) {
        /* Those whom a change removes hear of its commit before anybody acts on it: soon
           afterwards their keys are revoked. */
        if (self->pending_conf_index > self->journal.committed && self->pending_conf_index <= index)
            self->commit_deadline_ms = self->now_ms;
        raft_journal_commit (&self->journal, index);
    }
}

void raft_acknowledge_self (raft_t *self)
{
    tracker_progress_t *own = tracker_find (&self->tracker, self->config.id);
    assert (self->role == RAFT_LEADER);
    /* Thesis 10.2.1: the leader counts itself only for what its own disk has. */
    uint64_t counted =
        PLANTED (COUNT_SELF_UNWRITTEN) ? raft_journal_last (&self->journal) : self->journal.durable;
    if (own && tracker_update (own, counted))
        raft_maybe_commit (self);
}

/*  The leader's commit index, as far as it can be true here. */
static void s_follow_commit (raft_t *self, uint64_t commit)
{
    if (commit <= raft_journal_last (&self->journal))
        raft_journal_commit (&self->journal, commit);
    else
        self->anomalies++;
}

void raft_reject_append (raft_t *self, const raft_message_t *message)
{
    /* Thesis 3.5, end: tell the leader where our term begins, not just "no"; it then skips
       a term at a time. */
    raft_message_t answer = {
        .type = RAFT_MSG_APP_RESP, .to = message->from, .reject = true, .index = message->index};
    answer.reject_hint =
        raft_journal_conflict (&self->journal, message->index, message->log_term, &answer.log_term);
    raft_send (self, answer);
}

/*  The first entry that is committed here, and another one in the message; 0: there is none. No
    leader can lack what was committed; but a voter whose disk forgot what it had acknowledged may
    have made one that does. */
static uint64_t s_contradicted (const raft_journal_t *journal, const raft_message_t *message)
{
    for (size_t i = 0; i <= message->entries_count; i++) {
        uint64_t index = message->index + i;
        uint64_t term = i == 0 ? message->log_term : message->entries[i - 1].term;
        uint64_t own = index <= journal->committed ? raft_journal_term (journal, index) : 0;
        if (own && own != term)
            return index;
    }
    return 0;
}

void raft_on_append (raft_t *self, const raft_message_t *message)
{
    raft_message_t answer = {.type = RAFT_MSG_APP_RESP, .to = message->from};
    uint64_t last_new = message->index + message->entries_count;
    if (message->entries_count &&
        message->entries[message->entries_count - 1].term > message->term) {
        self->anomalies++;
        return;
    }
    if (self->damaged && last_new >= self->damaged) {
        raft_on_append_damaged (self, message);
        return;
    }
    if (message->index < self->journal.committed) {
        self->contradicted = s_contradicted (&self->journal, message);
        if (self->contradicted)
            return;
        /* Old news: all that is committed is the leader's as well. */
        answer.index = self->journal.committed;
        if (self->damaged && answer.index >= self->damaged)
            answer.index = self->damaged - 1;
        raft_send_durable (self, answer);
        return;
    }
    switch (raft_journal_append (&self->journal, message->index, message->log_term,
                                 message->entries, message->entries_count)) {
    case RAFT_APPEND_OK:
        s_follow_commit (self, message->commit < last_new ? message->commit : last_new);
        answer.index = last_new;
        if (PLANTED (ACK_BEFORE_FLUSH))
            raft_send (self, answer);
        else
            raft_send_durable (self, answer);
        break;
    case RAFT_APPEND_MISMATCH:
        raft_reject_append (self, message);
        break;
    case RAFT_APPEND_INVALID:
        self->anomalies++;
        break;
    }
}

static void s_on_rejected (raft_t *self, tracker_progress_t *peer, const raft_message_t *message)
{
    uint64_t hint = message->reject_hint, term;
    /* The same skip on our side: what has a later term than the follower's can't match. */
    if (message->log_term > 0)
        hint = raft_journal_conflict (&self->journal, hint, message->log_term, &term);
    if (!tracker_decrease (peer, message->index, hint))
        return;
    if (peer->state == TRACKER_REPLICATE)
        tracker_become_probe (peer);
    s_send_append (self, peer, true);
}

void raft_on_append_resp (raft_t *self, const raft_message_t *message)
{
    tracker_progress_t *peer = tracker_find (&self->tracker, message->from);
    if (!peer)
        return;
    uint64_t last = raft_journal_last (&self->journal);
    if (!message->reject && message->index > last) {
        self->anomalies++;
        return;
    }
    peer->recent_active = true;
    peer->heard_ms = self->now_ms;
    if (message->reject && message->force) {
        /* Its disk lost entries that it had acknowledged: it has them no more. Said again (it
           is, with each heartbeat), it changes nothing: what was sent is on its way. */
        uint64_t known = message->reject_hint < last ? message->reject_hint : last;
        if (peer->state == TRACKER_PROBE && peer->match <= known && peer->next <= known + 1)
            return;
        tracker_lost (peer, known);
        s_send_append (self, peer, true);
        return;
    }
    if (message->reject) {
        s_on_rejected (self, peer, message);
        return;
    }
    bool moved = tracker_update (peer, message->index);
    if (!moved && !(peer->state == TRACKER_PROBE && peer->match == message->index))
        return;
    switch (peer->state) {
    case TRACKER_PROBE:
        tracker_become_replicate (peer);
        break;
    case TRACKER_SNAPSHOT:
        /* From here on the log does again. */
        if (peer->match + 1 >= raft_journal_first (&self->journal)) {
            tracker_become_probe (peer);
            tracker_become_replicate (peer);
        }
        break;
    case TRACKER_REPLICATE:
        tracker_window_free_to (&peer->window, message->index);
        break;
    }
    raft_maybe_commit (self);
    if (self->transferee == peer->id && peer->match == last)
        raft_send_timeout_now (self, peer->id);
    raft_leave_check (self);
}

void raft_unreachable (raft_t *self, uint64_t id)
{
    tracker_progress_t *peer = tracker_find (&self->tracker, id);
    if (self->role == RAFT_LEADER && peer && peer->state == TRACKER_REPLICATE &&
        id != self->config.id)
        tracker_become_probe (peer);
    if (self->role == RAFT_FOLLOWER && self->leader == id && id != 0)
        raft_leader_gone (self, false);
}

void raft_heartbeat (raft_t *self)
{
    self->heartbeat_deadline_ms = self->now_ms + self->config.heartbeat_ms;
    self->round++;
    self->rounds[self->round % RAFT_ROUNDS].sent_ms = self->now_ms;
    self->rounds[self->round % RAFT_ROUNDS].timeout_ms = self->config.election_timeout_ms;
    for (uint32_t i = 0; i < self->tracker.count; i++) {
        tracker_progress_t *peer = &self->tracker.peers[i];
        if (peer->id == self->config.id) {
            peer->round_acked = self->round;
            continue;
        }
        /* Only what the peer is known to have: it may be behind. */
        uint64_t commit = self->journal.committed;
        raft_send (self,
                   (raft_message_t){
                       .type = RAFT_MSG_HEARTBEAT,
                       .to = peer->id,
                       .commit = peer->match < commit && !PLANTED (HEARTBEAT_COMMIT) ? peer->match
                                                                                     : commit,
                       .context = self->round,
                       .election_ms = (uint64_t)self->config.election_timeout_ms,
                   });
    }
}

/*  A heartbeat says no more to be committed than this node has acknowledged. What it lacks of that
    its disk has lost, without a trace (an old copy of it, a flush that was none), and with it, maybe, a
    vote. Said in many rounds and by none between them: the network may bring an old heartbeat
    while what is damaged here is fetched. */
static void s_remember (raft_t *self, const raft_message_t *message)
{
    if (self->damaged || message->commit <= raft_journal_last (&self->journal) ||
        self->lacking.term != self->term) {
        self->lacking.term = self->term;
        self->lacking.count = 0;
        self->lacking.last = message->context;
    } else if (message->context > self->lacking.last) {
        self->lacking.last = message->context;
        if (++self->lacking.count == FORGOTTEN_ROUNDS)
            self->forgotten = message->commit;
    }
}

void raft_on_heartbeat (raft_t *self, const raft_message_t *message)
{
    s_remember (self, message);
    s_follow_commit (self, message->commit);
    if (self->damaged)
        raft_on_heartbeat_damaged (self, message);
    /* What was just promised (raft_promise), as far as it would be kept over a restart. */
    int64_t promised_ms = self->config.election_timeout_ms;
    if (promised_ms > self->config.lease_max_ms)
        promised_ms = self->config.lease_max_ms;
    raft_send (self, (raft_message_t){.type = RAFT_MSG_HEARTBEAT_RESP,
                                      .to = message->from,
                                      .context = message->context,
                                      .election_ms = (uint64_t)promised_ms});
}

/*  The peer votes for nobody until a time that it has named, counted from when it got the
    message, which is no earlier than when that was sent; on its own clock, which may run up to
    a tenth faster. Late answers count as well: of several promises the longest holds. */
static void s_extend_lease (raft_t *self, tracker_progress_t *peer, const raft_message_t *message)
{
    if (self->round - message->context >= RAFT_ROUNDS)
        return;
    int64_t promised_ms = self->rounds[message->context % RAFT_ROUNDS].timeout_ms;
    if (message->election_ms < (uint64_t)promised_ms)
        promised_ms = (int64_t)message->election_ms;
    int64_t sent_ms = PLANTED (LEASE_FROM_ANSWER)
                          ? self->now_ms
                          : self->rounds[message->context % RAFT_ROUNDS].sent_ms;
    int64_t until_ms = sent_ms + promised_ms - promised_ms / 10;
    if (peer->lease_until_ms < until_ms)
        peer->lease_until_ms = until_ms;
}

void raft_on_heartbeat_resp (raft_t *self, const raft_message_t *message)
{
    tracker_progress_t *peer = tracker_find (&self->tracker, message->from);
    if (!peer)
        return;
    if (message->context > self->round) {
        self->anomalies++; /* an answer to what was never asked */
        return;
    }
    peer->recent_active = true;
    peer->heard_ms = self->now_ms;
    peer->flow_paused = false;
    s_extend_lease (self, peer, message);
    if (message->context > peer->round_acked) {
        peer->round_acked = message->context;
        raft_reads_confirm (self);
    }
    if (peer->state == TRACKER_SNAPSHOT) {
        raft_offer_snapshot (self, peer);
        return;
    }
    /* Something may have been lost on the way: an empty MsgApp brings it to light. */
    if (peer->match < raft_journal_last (&self->journal) || peer->state == TRACKER_PROBE)
        s_send_append (self, peer, true);
    raft_leave_check (self);
}
