/*  raft_repair - entries that the own disk has lost

    An entry that can't be read may be committed, and others may count on this copy.
    Until it is there again this node is impaired: it doesn't vote, doesn't
    campaign, acknowledges nothing at or past the damage, and drops nothing.

    It says so to the leader (MsgAppResp with reject and force), who forgets what
    was acknowledged from there on and sends it again. What comes is put back when
    it is certain that it is what stood here:
    - the entry is committed, here or at the leader; or
    - an entry behind it is the same in both logs: then so is all before it (log
      matching, thesis 3.5).
    Without that, a later entry that is still here could match another leader's, and
    make him believe that what is before it does as well. If instead an entry behind
    it differs from the leader's, none of these was ever committed, and the leader's
    take their place as always.

    If the leader has compacted what is missing, he offers a snapshot. It is taken
    only if it covers the whole log, but for what was never committed: with less,
    entries would go that were acknowledged.
*/
#include "actors/election/raft_core.h"

#include <stdlib.h>

static uint64_t s_found (const raft_t *self)
{
    const raft_storage_t *storage = &self->config.storage;
    return storage->damaged ? storage->damaged (storage->self) : 0;
}

void raft_damage_look (raft_t *self)
{
    if (self->repair_from)
        return; /* until what was put back is durable */
    self->damaged = s_found (self);
    if (self->damaged && self->role != RAFT_FOLLOWER)
        raft_become_follower (self, self->term, 0);
}

/*  From here on: send it again. */
static void s_report (raft_t *self, const raft_message_t *message)
{
    uint64_t known = self->damaged - 1;
    raft_send (self, (raft_message_t){.type = RAFT_MSG_APP_RESP,
                                      .to = message->from,
                                      .reject = true,
                                      .force = true,
                                      .index = message->index,
                                      .reject_hint = known,
                                      .log_term = raft_journal_term (&self->journal, known)});
}

/*  What a MsgApp tells about the damaged part of this log. */
typedef struct {
    uint64_t certain;  /* up to here the leader's entries are what stood here */
    uint64_t conflict; /* from here on they are not; 0: nothing says so */
} verdict_t;

static bool s_is_damaged (const raft_t *self, uint64_t index)
{
    return index == self->damaged ||
           (index > self->damaged && raft_journal_term (&self->journal, index) == 0);
}

static verdict_t s_judge (const raft_t *self, const raft_message_t *message)
{
    const raft_journal_t *journal = &self->journal;
    uint64_t last = raft_journal_last (journal), last_new = message->index + message->entries_count;
    verdict_t verdict = {.certain = journal->committed};
    if (message->commit > verdict.certain)
        verdict.certain = message->commit;
    for (size_t i = 0; i < message->entries_count && !verdict.conflict; i++) {
        const raft_entry_t *entry = &message->entries[i];
        uint64_t own = entry->index > last ? 0 : raft_journal_term (journal, entry->index);
        if (own && own != entry->term)
            verdict.conflict = entry->index;
        else if (own && entry->index > verdict.certain)
            verdict.certain = entry->index;
    }
    /* Terms never fall: what stands behind the message's end may be of an earlier term. */
    if (!verdict.conflict && last_new < last) {
        uint64_t own = raft_journal_term (journal, last_new + 1);
        if (own && own < message->entries[message->entries_count - 1].term)
            verdict.conflict = last_new + 1;
    }
    /* Nothing is left that could match by mistake. */
    if (!verdict.conflict && last_new >= last && last > verdict.certain)
        verdict.certain = last;
    /* What is damaged and uncertain goes with what is known to differ. */
    if (verdict.conflict) {
        uint64_t index = verdict.certain + 1 > self->damaged ? verdict.certain + 1 : self->damaged;
        while (index < verdict.conflict && !s_is_damaged (self, index))
            index++;
        if (index < verdict.conflict)
            verdict.conflict = index;
    }
    return verdict;
}

static void s_put_back (raft_t *self, const raft_entry_t *entry)
{
    if (self->repairs_count == self->repairs_room) {
        self->repairs_room = self->repairs_room ? self->repairs_room * 2 : 8;
        self->repairs = raft_realloc (self->repairs, self->repairs_room * sizeof (raft_entry_t));
    }
    raft_blob_retain (entry->blob);
    self->repairs[self->repairs_count++] = *entry;
}

void raft_on_append_damaged (raft_t *self, const raft_message_t *message)
{
    raft_journal_t *journal = &self->journal;
    uint64_t last = raft_journal_last (journal);
    if (self->repair_sequence || self->repairs_count)
        return; /* one at a time: the leader sends the rest again */
    if (message->index >= self->damaged) {
        s_report (self, message);
        return;
    }
    if (!raft_journal_consecutive (message->index, message->log_term, message->entries,
                                   message->entries_count)) {
        self->anomalies++;
        return;
    }
    /* What was compacted here is committed, and so it is the leader's as well. */
    if (message->index + 1 >= raft_journal_first (journal) &&
        !raft_journal_matches (journal, message->index, message->log_term)) {
        raft_reject_append (self, message);
        return;
    }
    verdict_t verdict = s_judge (self, message);
    if (verdict.conflict && verdict.conflict <= journal->committed) {
        self->anomalies++;
        return;
    }
    uint64_t end = verdict.conflict ? verdict.conflict : last + 1;
    size_t i = 0;
    for (; i < message->entries_count && message->entries[i].index < end; i++)
        if (message->entries[i].index <= verdict.certain &&
            s_is_damaged (self, message->entries[i].index))
            s_put_back (self, &message->entries[i]);
    bool replaced = i < message->entries_count || verdict.conflict;
    if (replaced)
        raft_journal_replace (journal, end, message->entries + i, message->entries_count - i);
    if (!replaced && !self->repairs_count)
        return; /* nothing is certain yet */
    self->repair_from = message->from;
    self->repair_term = self->term;
    self->repair_upto = message->index + message->entries_count;
}

void raft_on_heartbeat_damaged (raft_t *self, const raft_message_t *message)
{
    if (!self->repair_from)
        s_report (self, message);
}

void raft_repairs_written (raft_t *self, raft_ready_t *ready)
{
    if (!self->repair_from)
        return;
    ready->repairs = self->repairs;
    ready->repairs_count = self->repairs_count;
    self->repairs = NULL;
    self->repairs_count = self->repairs_room = 0;
    self->repair_sequence = ready->sequence;
}

void raft_repairs_durable (raft_t *self)
{
    if (!self->damaged)
        return;
    if (self->repair_from && (!self->repair_sequence || self->persisted < self->repair_sequence))
        return;
    uint64_t leader = self->repair_from, upto = self->repair_upto;
    self->repair_sequence = self->repair_from = 0;
    self->damaged = s_found (self);
    if (self->damaged && self->damaged <= upto)
        upto = self->damaged - 1;
    if (leader && leader == self->leader && self->repair_term == self->term)
        raft_send (self, (raft_message_t){.type = RAFT_MSG_APP_RESP, .to = leader, .index = upto});
}

void raft_repairs_forget (raft_t *self)
{
    raft_entries_free (self->repairs, self->repairs_count);
    self->repairs = NULL;
    self->repairs_count = self->repairs_room = 0;
    self->repair_from = self->repair_sequence = 0;
}
