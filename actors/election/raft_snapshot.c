/*  raft_snapshot - those who need entries that are compacted: MsgSnap and restoring */
#include "actors/election/raft_core.h"

void raft_set_snapshot (raft_t *self, uint64_t index, uint64_t term)
{
    if (index <= self->snapshot_index)
        return;
    self->snapshot_index = index;
    self->snapshot_term = term;
}

void raft_offer_snapshot (raft_t *self, tracker_progress_t *peer)
{
    /* The log is compacted up to a durable copy only; who runs the core may not have said so yet:
       then the next heartbeat's answer asks again. */
    if (self->snapshot_index + 1 < raft_journal_first (&self->journal) ||
        self->snapshot_index <= peer->match)
        return;
    tracker_become_snapshot (peer, self->snapshot_index);
    raft_send (self, (raft_message_t){
                         .type = RAFT_MSG_SNAP,
                         .to = peer->id,
                         .index = self->snapshot_index,
                         .log_term = self->snapshot_term,
                     });
}

/*  Whether a copy up to that entry may take the place of a damaged log: it covers all of it, or what is
    behind it was never committed. That is so if it has an earlier term than the copy's last entry:
    terms never fall, so another entry than the committed one stands at the copy's end. */
static bool s_covers (const raft_journal_t *journal, uint64_t index, uint64_t term)
{
    uint64_t i = raft_journal_last (journal);
    if (index >= i)
        return true;
    while (i >= index && raft_journal_term (journal, i) == 0) /* damaged as well */
        i--;
    return i >= index && raft_journal_term (journal, i) < term;
}

void raft_on_snapshot (raft_t *self, const raft_message_t *message)
{
    raft_journal_t *journal = &self->journal;
    raft_message_t answer = {.type = RAFT_MSG_APP_RESP, .to = message->from};
    if (message->index == 0 || message->log_term == 0 || message->log_term > message->term) {
        self->anomalies++;
        return;
    }
    /* Damaged, nothing but the leader's entries helps, or such a copy. */
    if (self->damaged) {
        if (s_covers (journal, message->index, message->log_term))
            self->offer = (raft_offer_t){
                .from = message->from, .index = message->index, .term = message->log_term};
        return;
    }
    /* What a copy covers is committed: a log that has its last entry has all of it. */
    if (raft_journal_matches (journal, message->index, message->log_term))
        raft_journal_commit (journal, message->index);
    if (message->index <= journal->committed && !PLANTED (SNAPSHOT_OVER_NEWER)) {
        answer.index = journal->committed;
        raft_send_durable (self, answer);
        return;
    }
    self->offer =
        (raft_offer_t){.from = message->from, .index = message->index, .term = message->log_term};
}

raft_result_t raft_restore (raft_t *self, uint64_t index, uint64_t term)
{
    raft_journal_t *journal = &self->journal;
    bool instead = self->damaged && s_covers (journal, index, term); /* of a damaged log */
    if (self->role == RAFT_LEADER ||
        (index <= journal->committed && !instead && !PLANTED (SNAPSHOT_OVER_NEWER)) ||
        index > RAFT_NUMBER_MAX || term == 0 || term > self->term)
        return RAFT_INVALID;
    if (self->damaged && !instead)
        return RAFT_INVALID;
    if (!instead && raft_journal_matches (journal, index, term) && !PLANTED (SNAPSHOT_OVER_NEWER)) {
        raft_journal_commit (journal, index);
        return RAFT_INVALID;
    }
    uint64_t leader = self->leader;
    if (self->role != RAFT_FOLLOWER)
        raft_become_follower (self, self->term, 0);
    raft_repairs_forget (self);
    raft_journal_restore (journal, index, term);
    raft_set_snapshot (self, index, term);
    if (leader && leader != self->config.id)
        raft_send_durable (
            self, (raft_message_t){.type = RAFT_MSG_APP_RESP, .to = leader, .index = index});
    return RAFT_OK;
}
