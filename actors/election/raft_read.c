/*  raft_read - ReadIndex and the leader's lease (thesis 6.4)

    Reads wait for a round of heartbeats that began after they came. Rounds are
    numbered, the numbers never come back, and an answer to a round confirms all
    reads of that round and before; so an old answer never confirms a new read, and
    any number of reads costs one round.
*/
#include "actors/election/raft_core.h"

#include <string.h>

bool raft_committed_in_term (const raft_t *self)
{
    return self->role == RAFT_LEADER && self->journal.committed >= self->term_start;
}

bool raft_lease_valid (const raft_t *self)
{
    if (self->role != RAFT_LEADER || !self->config.check_quorum || self->lease_void ||
        !raft_committed_in_term (self))
        return false;
    /* Thesis 6.4.1. A quorum has answered heartbeats and said for how long it will vote for
       nobody; see raft_on_heartbeat_resp. */
    return self->now_ms < tracker_lease_until_ms ((tracker_t *)&self->tracker);
}

void raft_reads_answer (raft_t *self, uint64_t to, uint64_t id, uint64_t index,
                        raft_result_t result)
{
    if (to != self->config.id) {
        raft_send (self, (raft_message_t){.type = RAFT_MSG_READ_INDEX_RESP,
                                          .to = to,
                                          .index = index,
                                          .context = id,
                                          .reject = result != RAFT_OK});
        return;
    }
    if (self->answers_count == self->answers_capacity) {
        self->answers_capacity = self->answers_capacity ? self->answers_capacity * 2 : 8;
        self->answers = raft_realloc (self->answers, self->answers_capacity * sizeof (raft_read_t));
    }
    self->answers[self->answers_count++] =
        (raft_read_t){.id = id, .index = index, .result = result};
}

static raft_result_t s_wait (raft_t *self, uint64_t from, uint64_t id)
{
    if (self->waiting_count == self->config.reads_max)
        return RAFT_BUSY;
    self->waiting[self->waiting_count++] = (raft_waiting_read_t){.from = from, .id = id};
    return RAFT_OK;
}

raft_result_t raft_read_index (raft_t *self, uint64_t id)
{
    if (self->role == RAFT_LEADER)
        return s_wait (self, self->config.id, id);
    if (self->leader == 0)
        return RAFT_NOT_LEADER;
    raft_send (self,
               (raft_message_t){.type = RAFT_MSG_READ_INDEX, .to = self->leader, .context = id});
    return RAFT_OK;
}

void raft_on_read_index (raft_t *self, const raft_message_t *message)
{
    if (self->role != RAFT_LEADER || s_wait (self, message->from, message->context) != RAFT_OK)
        raft_reads_answer (self, message->from, message->context, 0, RAFT_NOT_LEADER);
}

void raft_on_read_index_resp (raft_t *self, const raft_message_t *message)
{
    bool ok = !message->reject && message->from == self->leader;
    raft_reads_answer (self, self->config.id, message->context, ok ? message->index : 0,
                       ok ? RAFT_OK : RAFT_NOT_LEADER);
}

void raft_reads_begin (raft_t *self)
{
    /* Thesis 6.4, step 1: before the term's no-op is committed, a leader doesn't know how far
       the log is committed. */
    if (self->waiting_count == 0 || self->waiting[self->waiting_count - 1].round != 0 ||
        (!raft_committed_in_term (self) && !PLANTED (READ_BEFORE_NOOP)))
        return;
    bool lease = self->config.read_lease && raft_lease_valid (self);
    if (!lease)
        raft_heartbeat (self);
    for (size_t i = self->waiting_count; i-- > 0 && self->waiting[i].round == 0;) {
        self->waiting[i].index = self->journal.committed;
        /* Under the lease the last round that was answered does. */
        self->waiting[i].round = lease ? tracker_round_acked (&self->tracker) : self->round;
    }
    raft_reads_confirm (self);
}

void raft_reads_confirm (raft_t *self)
{
    uint64_t round = tracker_round_acked (&self->tracker);
    size_t done = 0;
    while (done < self->waiting_count && self->waiting[done].round != 0 &&
           self->waiting[done].round <= round) {
        raft_waiting_read_t *read = &self->waiting[done++];
        raft_reads_answer (self, read->from, read->id, read->index, RAFT_OK);
    }
    self->waiting_count -= done;
    memmove (self->waiting, self->waiting + done,
             self->waiting_count * sizeof (raft_waiting_read_t));
}

void raft_reads_fail (raft_t *self)
{
    for (size_t i = 0; i < self->waiting_count; i++)
        raft_reads_answer (self, self->waiting[i].from, self->waiting[i].id, 0, RAFT_NOT_LEADER);
    self->waiting_count = 0;
}
