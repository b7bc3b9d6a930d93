/*  raft_election - roles, campaigns, votes, leadership transfer */
#include "actors/election/raft_core.h"

#include <assert.h>

/*  What a change of role or term ends. */
static void s_reset (raft_t *self, uint64_t term)
{
    if (self->term != term) {
        assert (term > self->term);
        self->term = term;
        self->vote = 0;
    }
    self->leader = 0;
    self->election_deadline_ms = self->now_ms + raft_random_timeout (self);
    self->transferee = 0;
    self->lease_void = false;
    self->leaving = false;
    self->leaving_round = 0;
    self->uncommitted_bytes = 0;
    raft_reads_fail (self);
    tracker_reset (&self->tracker, raft_journal_last (&self->journal) + 1);
}

void raft_become_follower (raft_t *self, uint64_t term, uint64_t leader)
{
    s_reset (self, term);
    self->role = RAFT_FOLLOWER;
    self->leader = leader;
}

static void s_become_leader (raft_t *self)
{
    assert (self->role == RAFT_CANDIDATE);
    s_reset (self, self->term);
    self->role = RAFT_LEADER;
    self->leader = self->config.id;
    tracker_progress_t *own = tracker_find (&self->tracker, self->config.id);
    assert (own);
    tracker_become_replicate (own);
    own->recent_active = true;
    own->lease_until_ms = INT64_MAX; /* one always hears oneself */
    self->attempts = 0;
    /* The first answers may take as long as the votes did: on a network that nobody has measured
       yet, an election timeout may be too short for them. */
    int64_t took_ms = 2 * (self->now_ms - self->campaign_ms);
    int64_t patience_ms = self->config.election_timeout_ms;
    self->quorum_deadline_ms = self->now_ms + (took_ms > patience_ms ? took_ms : patience_ms);
    /* There may be a configuration change among the entries taken over: none is proposed
       before they are all applied. */
    self->pending_conf_index = raft_journal_last (&self->journal);
    /* Thesis 6.4, 3.6.2: entries of earlier terms are only committed together with one of
       this term, so the term begins with one. */
    if (self->founding && raft_journal_last (&self->journal) == 0)
        self->term_start = self->pending_conf_index =
            raft_push (self, RAFT_ENTRY_CONFIG, raft_blob_retain (self->founding));
    else
        self->term_start = raft_push (self, RAFT_ENTRY_NORMAL, NULL);
    raft_acknowledge_self (self);
    raft_heartbeat (self);
}

static void s_send_votes (raft_t *self, raft_campaign_t campaign)
{
    bool pre = campaign == RAFT_CAMPAIGN_PRE;
    for (uint32_t i = 0; i < self->tracker.count; i++) {
        uint64_t to = self->tracker.peers[i].id;
        if (to == self->config.id || !tracker_is_voter (&self->tracker, to))
            continue;
        raft_message_t message = {
            .type = pre ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE,
            .to = to,
            .term = pre ? self->term + 1 : self->term,
            .index = raft_journal_last (&self->journal),
            .log_term = raft_journal_last_term (&self->journal),
            .force = campaign == RAFT_CAMPAIGN_TRANSFER,
        };
        /* A vote request promises: this is my log, and I am candidate in this term but once.
           If it left before that is on disk, then after a crash the grants that it earned
           could elect the same node in the same term with a shorter log. */
        if (pre || PLANTED (CANDIDACY_BEFORE_FLUSH))
            raft_send (self, message);
        else
            raft_send_durable (self, message);
    }
}

/*  How long a campaign gets until the next one. Half to one election timeout, which is many
    round trips (a vote that was split is not a leader that may still come back), and twice as
    long after each failure: on a network that nobody has measured yet a timeout may be too
    short for any answer to arrive. */
static int64_t s_retry_ms (raft_t *self)
{
    unsigned shift = self->attempts > 1 ? self->attempts - 1 : 0;
    int64_t base_ms = self->config.election_timeout_ms << (shift < 3 ? shift : 3);
    if (base_ms > self->config.election_timeout_max_ms)
        base_ms = self->config.election_timeout_max_ms;
    int64_t half_ms = (base_ms + 1) / 2;
    return half_ms + raft_random (self, half_ms);
}

static void s_campaign (raft_t *self, raft_campaign_t campaign)
{
    bool pre = campaign == RAFT_CAMPAIGN_PRE;
    s_reset (self, pre ? self->term : self->term + 1);
    self->role = pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
    self->campaign_ms = self->now_ms;
    self->election_deadline_ms = self->now_ms + s_retry_ms (self);
    s_send_votes (self, campaign);
    if (pre) {
        tracker_find (&self->tracker, self->config.id)->vote = 1;
        if (tracker_vote_result (&self->tracker) == QUORUM_WON)
            s_campaign (self, RAFT_CAMPAIGN_REAL);
        return;
    }
    self->elections++;
    self->vote = self->config.id;
    raft_send_durable (self, (raft_message_t){.type = RAFT_MSG_VOTE_RESP, .to = self->config.id});
}

/*  A configuration that is decided, but isn't in force here yet. */
static bool s_conf_waits (const raft_t *self)
{
    uint64_t index = self->journal.applied + 1;
    bool found = false;
    while (!found && index <= self->journal.committed) {
        raft_entry_t *entries;
        size_t count = raft_journal_entries (&self->journal, index, self->journal.committed,
                                             RAFT_BATCH_MAX, SIZE_MAX, &entries);
        for (size_t i = 0; i < count; i++)
            found |= entries[i].type == RAFT_ENTRY_CONFIG;
        raft_entries_free (entries, count);
        if (count == 0)
            return true; /* it can't be read now, or a copy covers it: nobody knows */
        index += count;
    }
    return found;
}

bool raft_election_begin (raft_t *self, bool transfer)
{
    if (self->role == RAFT_LEADER || !tracker_is_voter (&self->tracker, self->config.id))
        return false;
    /* It would count the votes of those who were asked before the change (etcd: no campaign with
       unapplied configuration changes). */
    if (s_conf_waits (self))
        return false;
    /* Who can't write can't lead, and must not push the term up either; nor who doesn't have what
       it promised. */
    if (self->damaged || raft_disk_stalled (self) || self->term >= RAFT_NUMBER_MAX)
        return false;
    self->attempts++;
    if (transfer)
        s_campaign (self, RAFT_CAMPAIGN_TRANSFER); /* the leader asks for it: no pre-vote */
    else
        s_campaign (self, self->config.pre_vote ? RAFT_CAMPAIGN_PRE : RAFT_CAMPAIGN_REAL);
    return true;
}

raft_result_t raft_campaign (raft_t *self)
{
    if (self->role == RAFT_LEADER)
        return RAFT_OK;
    if (!tracker_is_voter (&self->tracker, self->config.id))
        return RAFT_INVALID;
    /* The own vote is a vote as well; alone there is nobody who could have been promised it. */
    if (raft_in_lease (self) && self->tracker.count > 1)
        return RAFT_BUSY;
    return raft_election_begin (self, false) ? RAFT_OK : RAFT_BUSY;
}

void raft_set_founding (raft_t *self, raft_blob_t *blob)
{
    raft_blob_retain (blob);
    raft_blob_release (self->founding);
    self->founding = blob;
}

void raft_distrust (raft_t *self, uint64_t id)
{
    tracker_progress_t *peer = tracker_find (&self->tracker, id);
    if (peer && id != self->config.id)
        peer->vote = -1;
}

bool raft_in_lease (const raft_t *self)
{
    if (!self->config.check_quorum)
        return false;
    if (self->role == RAFT_LEADER)
        return true; /* it finds out itself when it lost its quorum */
    /* Whether that leader is still known doesn't matter: the promise was made to its lease. */
    return self->now_ms < self->promise_ms;
}

void raft_forget_leader (raft_t *self)
{
    self->leader = 0;
    self->promise_ms = self->now_ms;
}

void raft_leader_gone (raft_t *self, bool surely)
{
    if (surely)
        raft_forget_leader (self);
    /* All followers see that at the same moment and may not ask one another before they are all
       free again: hence a little later, and not all at once. */
    int64_t timeout_ms = self->config.election_timeout_ms;
    int64_t from_ms = self->now_ms > self->promise_ms ? self->now_ms : self->promise_ms;
    int64_t at_ms = from_ms + timeout_ms / 16 + raft_random (self, (timeout_ms + 3) / 4);
    if (at_ms < self->election_deadline_ms)
        self->election_deadline_ms = at_ms;
}

void raft_promise (raft_t *self, uint64_t timeout_ms)
{
    int64_t min_ms = self->config.election_timeout_min_ms;
    int64_t max_ms = self->config.election_timeout_max_ms;
    if (timeout_ms) {
        int64_t taken_ms = timeout_ms > (uint64_t)max_ms ? max_ms : (int64_t)timeout_ms;
        self->config.election_timeout_ms = taken_ms < min_ms ? min_ms : taken_ms;
        /* If this node is to lead: it is measured anew then. */
        if (self->config.heartbeat_ms > self->config.election_timeout_ms / 2)
            self->config.heartbeat_ms = self->config.election_timeout_ms / 2;
    }
    /* A shorter timeout doesn't shorten what was promised with a longer one. */
    int64_t until_ms = self->now_ms + self->config.election_timeout_ms;
    if (self->promise_ms < until_ms)
        self->promise_ms = until_ms;
    self->attempts = 0;
    self->late_excused = false;
    self->election_deadline_ms = self->now_ms + raft_random_timeout (self);
    if (self->election_deadline_ms < self->promise_ms)
        self->election_deadline_ms = self->promise_ms;
}

/*  A pre-candidate is asked by another one, whose log is no worse: two who win the same round
    split the vote of the next. The better log goes on, of equal ones the higher id. The other
    tries again if nothing comes of it. */
static void s_step_back (raft_t *self, const raft_message_t *message)
{
    bool equal = message->log_term == raft_journal_last_term (&self->journal) &&
                 message->index == raft_journal_last (&self->journal);
    if (self->role != RAFT_PRE_CANDIDATE || message->term != self->term + 1 ||
        (equal && message->from < self->config.id))
        return;
    self->role = RAFT_FOLLOWER;
    self->election_deadline_ms = self->now_ms + s_retry_ms (self);
}

void raft_on_vote (raft_t *self, const raft_message_t *message)
{
    bool pre = message->type == RAFT_MSG_PRE_VOTE;
    /* Thesis 3.4: one vote a term; a repeated request gets the same answer. A pre-vote for a
       later term is no vote at all and always possible. */
    bool free = self->vote == message->from || (self->vote == 0 && self->leader == 0) ||
                (pre && message->term > self->term) || PLANTED (VOTE_TWICE);
    /* Thesis 3.6.1: only for a log that is at least as far as our own. */
    bool grant = free && self->role != RAFT_LEADER && !self->damaged &&
                 (raft_journal_up_to_date (&self->journal, message->index, message->log_term) ||
                  PLANTED (VOTE_WITHOUT_LOG) || (PLANTED (TRANSFER_WITHOUT_LOG) && message->force));
    raft_message_t answer = {
        .type = pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP,
        .to = message->from,
        .term = grant ? message->term : self->term,
        .reject = !grant,
    };
    if (!grant) {
        answer.commit = self->journal.committed;
        answer.log_term = raft_journal_term (&self->journal, answer.commit);
    }
    if (pre) {
        raft_send (self, answer);
        if (grant)
            s_step_back (self, message);
        return;
    }
    if (grant) {
        self->vote = message->from;
        self->election_deadline_ms = self->now_ms + raft_random_timeout (self);
    }
    if (PLANTED (VOTE_BEFORE_FLUSH))
        raft_send (self, answer);
    else
        raft_send_durable (self, answer);
}

/*  What one who refuses knows to be committed is so here, too, if the log has the same there. It may
    be that his vote isn't needed any more: of two voters one was removed, knows it, and has
    entries that the other lacks; the other has the removal, does not know that it is committed, and
    would ask for that vote for ever (TiKV's raft-rs: maybe_commit_by_vote). */
static void s_commit_by_refusal (raft_t *self, const raft_message_t *message)
{
    raft_journal_t *journal = &self->journal;
    if (message->reject && message->log_term && self->role != RAFT_LEADER && !self->damaged &&
        message->commit <= raft_journal_last (journal) &&
        raft_journal_term (journal, message->commit) == message->log_term &&
        raft_journal_commit (journal, message->commit) && self->role != RAFT_FOLLOWER &&
        s_conf_waits (self)) {
        /* Who decides has changed: whoever stands now stands under the old rules. */
        raft_become_follower (self, self->term, 0);
        self->election_deadline_ms = self->now_ms + s_retry_ms (self);
    }
}

void raft_on_vote_resp (raft_t *self, const raft_message_t *message)
{
    bool pre = message->type == RAFT_MSG_PRE_VOTE_RESP;
    s_commit_by_refusal (self, message);
    if (self->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
        return; /* an answer of an earlier campaign, or more than were needed */
    if (pre && !message->reject && message->term != self->term + 1)
        return;
    tracker_progress_t *peer = tracker_find (&self->tracker, message->from);
    const tracker_progress_t *own = tracker_find (&self->tracker, self->config.id);
    if (!peer)
        return;
    if (peer->vote == 0)
        peer->vote = message->reject ? -1 : 1;
    switch (tracker_vote_result (&self->tracker)) {
    case QUORUM_WON:
        /* The own vote counts like any other, when it is durable; but nobody leads without
           it: a leader must know after a crash that it had the term. */
        if (pre)
            s_campaign (self, RAFT_CAMPAIGN_REAL);
        else if (own && own->vote > 0)
            s_become_leader (self);
        break;
    case QUORUM_LOST:
        raft_become_follower (self, self->term, 0);
        self->election_deadline_ms = self->now_ms + s_retry_ms (self);
        break;
    case QUORUM_PENDING:
        break;
    }
}

void raft_send_timeout_now (raft_t *self, uint64_t to)
{
    /* Votes of this campaign don't wait for leases, however late the message arrives. */
    self->lease_void = !PLANTED (LEASE_AFTER_TRANSFER);
    raft_send (self, (raft_message_t){.type = RAFT_MSG_TIMEOUT_NOW, .to = to});
}

raft_result_t raft_transfer_leader (raft_t *self, uint64_t id)
{
    if (self->role != RAFT_LEADER)
        return RAFT_NOT_LEADER;
    if (self->leaving)
        return RAFT_BUSY; /* it chooses itself */
    tracker_progress_t *peer = tracker_find (&self->tracker, id);
    if (!peer || !tracker_is_voter (&self->tracker, id))
        return RAFT_INVALID;
    if (id == self->config.id) {
        self->transferee = 0;
        return RAFT_OK;
    }
    if (self->transferee == id)
        return RAFT_OK;
    /* Thesis 3.10: stop taking proposals, bring the target up to date, tell it to campaign. */
    self->transferee = id;
    self->transfer_deadline_ms = self->now_ms + self->config.election_timeout_ms;
    if (peer->match == raft_journal_last (&self->journal) || PLANTED (TRANSFER_WITHOUT_LOG))
        raft_send_timeout_now (self, id);
    return RAFT_OK;
}

void raft_leave_check (raft_t *self)
{
    if (!self->leaving)
        return;
    uint64_t last = raft_journal_last (&self->journal);
    if (self->leaving_round == 0 && tracker_committed (&self->tracker) >= last) {
        raft_heartbeat (self);
        self->leaving_round = self->round;
    }
    if (self->leaving_round == 0 || tracker_round_acked (&self->tracker) < self->leaving_round)
        return;
    uint64_t heir = 0;
    for (uint32_t i = 0; i < self->tracker.count && !heir; i++) {
        const tracker_progress_t *peer = &self->tracker.peers[i];
        if (peer->id != self->config.id && !peer->learner && peer->match == last)
            heir = peer->id;
    }
    if (heir)
        raft_send_timeout_now (self, heir);
    raft_become_follower (self, self->term, 0);
}
