/*  raft_step - a message comes in: first its term (thesis 3.3), then its type

    Everything here comes from another machine. What can't be true is counted and
    ignored; nothing is asserted.
*/
#include "actors/election/raft_core.h"

/*  Nonsense that needs no state to be seen. */
static bool s_plausible (const raft_t *self, const raft_message_t *message)
{
    return message->type > 0 && message->type < RAFT_MSG_TYPES && message->from != 0 &&
           message->from != self->config.id && message->to == self->config.id &&
           message->term > 0 && message->term <= RAFT_NUMBER_MAX &&
           message->index <= RAFT_NUMBER_MAX && message->log_term <= RAFT_NUMBER_MAX &&
           message->commit <= RAFT_NUMBER_MAX && message->reject_hint <= RAFT_NUMBER_MAX &&
           message->election_ms <= RAFT_TIMEOUT_MAX_MS &&
           (message->entries_count == 0 || message->type == RAFT_MSG_APP);
}

static bool s_is_vote (const raft_message_t *message)
{
    return message->type == RAFT_MSG_VOTE || message->type == RAFT_MSG_PRE_VOTE;
}

static bool s_from_leader (const raft_message_t *message)
{
    return message->type == RAFT_MSG_APP || message->type == RAFT_MSG_HEARTBEAT ||
           message->type == RAFT_MSG_SNAP;
}

/*  A message of a later term. False: it is not to be handled any further. */
static bool s_later_term (raft_t *self, const raft_message_t *message)
{
    /* A leader that asks for votes leads no more, has no lease, and can't come back in its term:
       whoever asks for votes of a term never wins an earlier one afterwards. */
    if (s_is_vote (message) && self->leader == message->from && self->role == RAFT_FOLLOWER)
        raft_leader_gone (self, true);
    /* Thesis 4.2.3: with a leader alive, whoever asks for votes is disturbing; only the leader
       itself may have sent him (force, thesis 3.10). */
    if (s_is_vote (message) && !message->force && raft_in_lease (self))
        return false;
    /* A pre-vote changes nobody's term (thesis 9.6), and neither does its grant, which has the
       term that the candidate would have. */
    if ((message->type == RAFT_MSG_PRE_VOTE && !PLANTED (PRE_VOTE_RAISES_TERM)) ||
        (message->type == RAFT_MSG_PRE_VOTE_RESP && !message->reject))
        return true;
    raft_become_follower (self, message->term, s_from_leader (message) ? message->from : 0);
    return true;
}

static void s_earlier_term (raft_t *self, const raft_message_t *message)
{
    switch (message->type) {
    case RAFT_MSG_APP:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAP:
        /* A leader of the past. With PreVote or CheckQuorum our term may be later without
           anybody having been elected, and our own votes are ignored: so tell him our term.
           He steps down, and the cluster meets in one term again. */
        if (self->config.check_quorum || self->config.pre_vote)
            raft_send (self, (raft_message_t){.type = RAFT_MSG_APP_RESP, .to = message->from});
        break;
    case RAFT_MSG_PRE_VOTE:
        raft_send (self, (raft_message_t){
                             .type = RAFT_MSG_PRE_VOTE_RESP, .to = message->from, .reject = true});
        break;
    case RAFT_MSG_READ_INDEX:
        raft_reads_answer (self, message->from, message->context, 0, RAFT_NOT_LEADER);
        break;
    case RAFT_MSG_READ_INDEX_RESP:
        raft_reads_answer (self, self->config.id, message->context, 0, RAFT_NOT_LEADER);
        break;
    default:
        break;
    }
}

/*  A MsgApp, MsgHeartbeat or MsgSnap of this term. False if its sender can't be the leader. */
static bool s_follow (raft_t *self, const raft_message_t *message)
{
    if (self->role == RAFT_LEADER || (self->leader && self->leader != message->from)) {
        self->anomalies++; /* two leaders in one term */
        return false;
    }
    if (self->role != RAFT_FOLLOWER)
        raft_become_follower (self, self->term, message->from);
    self->leader = message->from;
    raft_promise (self, message->election_ms);
    return true;
}

static void s_on_timeout_now (raft_t *self, const raft_message_t *message)
{
    if (self->leader && self->leader != message->from)
        self->anomalies++; /* only the leader may say so */
    else if (self->role == RAFT_FOLLOWER && self->leader)
        raft_election_begin (self, true);
}

/*  What raised our term may have been no vote but somebody's refusal: what was promised to a leader
    before that stands (thesis 6.4.1). */
static bool s_breaks_promise (const raft_t *self, const raft_message_t *message)
{
    return message->type == RAFT_MSG_VOTE && !message->force && self->role == RAFT_FOLLOWER &&
           self->vote != message->from && raft_in_lease (self);
}

/*  A message of this term, or a pre-vote of a later one. */
static void s_dispatch (raft_t *self, const raft_message_t *message)
{
    bool leader = self->role == RAFT_LEADER;
    switch (message->type) {
    case RAFT_MSG_APP:
        if (s_follow (self, message))
            raft_on_append (self, message);
        break;
    case RAFT_MSG_HEARTBEAT:
        if (s_follow (self, message))
            raft_on_heartbeat (self, message);
        break;
    case RAFT_MSG_SNAP:
        if (s_follow (self, message))
            raft_on_snapshot (self, message);
        break;
    case RAFT_MSG_APP_RESP:
        if (leader)
            raft_on_append_resp (self, message);
        break;
    case RAFT_MSG_HEARTBEAT_RESP:
        if (leader)
            raft_on_heartbeat_resp (self, message);
        break;
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        if (!s_breaks_promise (self, message))
            raft_on_vote (self, message);
        break;
    case RAFT_MSG_VOTE_RESP:
    case RAFT_MSG_PRE_VOTE_RESP:
        raft_on_vote_resp (self, message);
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        s_on_timeout_now (self, message);
        break;
    case RAFT_MSG_TRANSFER_LEADER:
        if (leader)
            raft_transfer_leader (self, message->from);
        break;
    case RAFT_MSG_READ_INDEX:
        raft_on_read_index (self, message);
        break;
    case RAFT_MSG_READ_INDEX_RESP:
        raft_on_read_index_resp (self, message);
        break;
    case RAFT_MSG_TYPES:
        break;
    }
}

void raft_step_checked (raft_t *self, const raft_message_t *message)
{
    if (message->term < self->term)
        s_earlier_term (self, message);
    else if (message->term == self->term || s_later_term (self, message))
        s_dispatch (self, message);
}

void raft_step (raft_t *self, const raft_message_t *message)
{
    if (s_plausible (self, message))
        raft_step_checked (self, message);
    else
        self->anomalies++;
}
