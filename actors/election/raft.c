/*  raft - life cycle, time, and the ready loop of the Raft core */
#include "actors/election/raft_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

raft_config_t raft_config_default (void)
{
    return (raft_config_t){
        .election_timeout_ms = 1000,
        .election_timeout_min_ms = 10,
        .election_timeout_max_ms = 60000,
        .heartbeat_ms = 100,
        .lease_max_ms = 1000,
        .disk_stall_ms = 1000,
        .pre_vote = true,
        .check_quorum = true,
        .inflight_max = 256,
        .inflight_bytes_max = 8 << 20,
        .message_bytes_max = 1 << 20,
        .uncommitted_bytes_max = 64 << 20,
        .apply_bytes_max = 16 << 20,
        .cache_bytes_max = 16 << 20,
        .reads_max = 4096,
    };
}

static const char *s_config_check (const raft_config_t *config)
{
    if (config->id == 0)
        return "the node has no id";
    if (config->heartbeat_ms < 1 || config->election_timeout_ms <= config->heartbeat_ms)
        return "the election timeout must be longer than the heartbeat interval";
    if (config->election_timeout_min_ms < 2 ||
        config->election_timeout_max_ms < config->election_timeout_min_ms ||
        config->election_timeout_max_ms > RAFT_TIMEOUT_MAX_MS || config->lease_max_ms < 0)
        return "the election timeout's bounds make no sense";
    if (config->inflight_max == 0 || config->message_bytes_max == 0 ||
        config->apply_bytes_max == 0 || config->reads_max == 0)
        return "a limit is zero";
    if (config->read_lease && !config->check_quorum)
        return "reads from the lease need check_quorum";
    if (config->hard_state.term > RAFT_NUMBER_MAX)
        return "the term makes no sense";
    if (config->hard_state.term == 0 && config->hard_state.vote != 0)
        return "a vote without a term";
    /* A node that is to join knows no configuration yet. */
    const raft_conf_state_t *conf = &config->conf_state;
    if (conf->voters.count == 0 && conf->voters_outgoing.count == 0 && conf->learners.count == 0)
        return NULL;
    return tracker_conf_check (conf);
}

raft_t *raft_new (const raft_config_t *config, int64_t now_ms, const char **ret_reason)
{
    const char *wrong = s_config_check (config);
    raft_t *self = raft_alloc (sizeof (raft_t));
    if (!wrong)
        wrong = raft_journal_init (&self->journal, &config->storage, config->cache_bytes_max,
                                   config->hard_state.commit, config->applied);
    if (!wrong && raft_journal_last_term (&self->journal) > config->hard_state.term)
        wrong = "the log's last term is after the current one: the hard state is lost";
    if (wrong) {
        *ret_reason = wrong;
        raft_journal_clear (&self->journal);
        free (self);
        return NULL;
    }
    self->config = *config;
    self->term = self->term_written = config->hard_state.term;
    self->vote = self->vote_written = config->hard_state.vote;
    self->random = config->seed ^ (config->id * UINT64_C (0x9E3779B97F4A7C15));
    self->now_ms = now_ms;
    self->commit_deadline_ms = INT64_MAX;
    self->waiting = raft_alloc (config->reads_max * sizeof (raft_waiting_read_t));
    tracker_init (&self->tracker, config->inflight_max, config->inflight_bytes_max);
    if (config->conf_state.voters.count)
        tracker_configure (&self->tracker, &config->conf_state,
                           raft_journal_last (&self->journal) + 1);
    /* Before it stopped it may have promised a leader its lease. */
    bool promised = self->term && !PLANTED (LEASE_FORGOTTEN);
    self->promise_ms = promised ? now_ms + config->lease_max_ms : now_ms;
    raft_become_follower (self, self->term, 0);
    self->soft_reported = (raft_soft_state_t){.role = RAFT_FOLLOWER, .term = self->term};
    raft_damage_look (self);
    return self;
}

void raft_destroy (raft_t **self_p)
{
    assert (self_p);
    raft_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->held_count; i++)
        raft_entries_free (self->held[i].message.entries, self->held[i].message.entries_count);
    free (self->held);
    raft_messages_clear (&self->outbox);
    raft_repairs_forget (self);
    raft_blob_release (self->founding);
    free (self->waiting);
    free (self->answers);
    tracker_clear (&self->tracker);
    raft_journal_clear (&self->journal);
    free (self);
    *self_p = NULL;
}

/*  splitmix64: small, and good enough to spread timeouts. */
static uint64_t s_random (raft_t *self)
{
    uint64_t z = self->random += UINT64_C (0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C (0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C (0x94D049BB133111EB);
    return z ^ (z >> 31);
}

int64_t raft_random (raft_t *self, int64_t below)
{
    return (int64_t)(s_random (self) % (uint64_t)below);
}

int64_t raft_random_timeout (raft_t *self)
{
    /* One to two election timeouts (thesis 3.4): whoever is first has time to win. */
    return self->config.election_timeout_ms + raft_random (self, self->config.election_timeout_ms);
}

void raft_set_timeouts (raft_t *self, int64_t election_timeout_ms, int64_t heartbeat_ms)
{
    if (election_timeout_ms > self->config.election_timeout_max_ms)
        election_timeout_ms = self->config.election_timeout_max_ms;
    if (election_timeout_ms < self->config.election_timeout_min_ms)
        election_timeout_ms = self->config.election_timeout_min_ms;
    assert (heartbeat_ms > 0 && election_timeout_ms > heartbeat_ms);
    /* Answers that were to come within a short timeout get the time of the long one. */
    int64_t longer_ms = election_timeout_ms - self->config.election_timeout_ms;
    if (longer_ms > 0)
        self->quorum_deadline_ms += longer_ms;
    self->config.election_timeout_ms = election_timeout_ms;
    self->config.heartbeat_ms = heartbeat_ms;
}

bool raft_disk_stalled (const raft_t *self)
{
    int64_t began = raft_journal_write_began_ms (&self->journal);
    if (began == INT64_MAX)
        return false;
    int64_t took_ms = self->now_ms - began;
    return took_ms >= self->config.election_timeout_ms && took_ms >= self->config.disk_stall_ms;
}

static void s_tick_leader (raft_t *self)
{
    /* A leader that can't write any more may still heartbeat, and would hold the cluster up
       for as long as its disk hangs (hashicorp/raft #503): somebody else shall lead. */
    if (raft_disk_stalled (self)) {
        self->disk_stalls++;
        raft_become_follower (self, self->term, 0);
        return;
    }
    if (self->now_ms >= self->quorum_deadline_ms) {
        /* Thesis 6.2: a leader without a quorum steps down, so that clients look elsewhere. */
        if (self->config.check_quorum && !tracker_quorum_active (&self->tracker)) {
            raft_become_follower (self, self->term, 0);
            return;
        }
        for (uint32_t i = 0; i < self->tracker.count; i++)
            self->tracker.peers[i].recent_active = self->tracker.peers[i].id == self->config.id;
        self->quorum_deadline_ms = self->now_ms + self->config.election_timeout_ms;
    }
    /* Thesis 3.10: a transfer that takes longer than an election timeout is given up. */
    if (self->transferee && self->now_ms >= self->transfer_deadline_ms)
        self->transferee = 0;
    if (self->now_ms >= self->heartbeat_deadline_ms)
        raft_heartbeat (self);
}

/*  Nobody was heard for an election timeout. */
static void s_tick_waiting (raft_t *self)
{
    /* If this comes late, this node itself stood still (a paused process, a busy machine) and
       the leader's messages may be waiting to be read: they get the time of a heartbeat. */
    if (self->now_ms - self->election_deadline_ms >= self->config.heartbeat_ms &&
        !self->late_excused) {
        self->late_excused = true;
        self->election_deadline_ms = self->now_ms + self->config.heartbeat_ms;
        return;
    }
    /* The own vote is a vote as well. */
    if (raft_in_lease (self)) {
        self->election_deadline_ms =
            self->promise_ms + raft_random (self, self->config.election_timeout_ms);
        return;
    }
    self->election_deadline_ms = self->now_ms + raft_random_timeout (self);
    /* A candidate whose own disk is still writing its vote has not even asked yet. */
    tracker_progress_t *own = tracker_find (&self->tracker, self->config.id);
    if (self->role == RAFT_CANDIDATE && own && own->vote == 0)
        return;
    raft_election_begin (self, false);
}

void raft_tick (raft_t *self, int64_t now_ms)
{
    if (now_ms > self->now_ms) {
        self->now_ms = now_ms;
        raft_damage_look (self);
    }
    if (self->role == RAFT_LEADER)
        s_tick_leader (self);
    else if (self->now_ms >= self->election_deadline_ms)
        s_tick_waiting (self);
}

/*  Entries that are committed and can be applied, and haven't been handed out yet. */
static uint64_t s_applicable (const raft_t *self)
{
    const raft_journal_t *journal = &self->journal;
    uint64_t last = journal->committed < journal->durable ? journal->committed : journal->durable;
    return journal->applying < last ? last - journal->applying : 0;
}

/*  Nobody waits for a follower's state machine: it takes more at a time, and not before the leader
    has heard of the entries that are being written. */
static bool s_apply_waits (const raft_t *self, bool writing)
{
    int64_t until_ms = self->apply_deadline_ms + (writing ? self->config.apply_delay_ms : 0);
    return self->role != RAFT_LEADER && !self->hurry && self->now_ms < until_ms &&
           s_applicable (self) < RAFT_BATCH_MAX;
}

void raft_hurry (raft_t *self, bool hurry)
{
    self->hurry = hurry;
}

int64_t raft_deadline_ms (const raft_t *self)
{
    if (self->role != RAFT_LEADER)
        return s_applicable (self) && s_apply_waits (self, false) &&
                       self->apply_deadline_ms < self->election_deadline_ms
                   ? self->apply_deadline_ms
                   : self->election_deadline_ms;
    int64_t deadline = self->heartbeat_deadline_ms;
    if (self->quorum_deadline_ms < deadline)
        deadline = self->quorum_deadline_ms;
    if (self->commit_deadline_ms < deadline)
        deadline = self->commit_deadline_ms;
    if (self->transferee && self->transfer_deadline_ms < deadline)
        deadline = self->transfer_deadline_ms;
    return deadline;
}

void raft_send (raft_t *self, raft_message_t message)
{
    message.from = self->config.id;
    if (message.term == 0)
        message.term = self->term;
    assert (message.to != 0 && message.to != self->config.id);
    raft_messages_add (&self->outbox, &message);
}

void raft_send_durable (raft_t *self, raft_message_t message)
{
    message.from = self->config.id;
    if (message.term == 0)
        message.term = self->term;
    if (self->held_count == self->held_capacity) {
        self->held_capacity = self->held_capacity ? self->held_capacity * 2 : 8;
        self->held = raft_realloc (self->held, self->held_capacity * sizeof (raft_held_t));
    }
    self->held[self->held_count++] = (raft_held_t){.sequence = RAFT_UNNUMBERED, .message = message};
}

static bool s_must_write (const raft_t *self)
{
    return self->term != self->term_written || self->vote != self->vote_written ||
           self->journal.anew || self->repairs_count ||
           raft_journal_last (&self->journal) > self->journal.written;
}

/*  Lets go what waited for writes that are durable now. */
static void s_release_held (raft_t *self)
{
    size_t done = 0;
    while (done < self->held_count && self->held[done].sequence <= self->persisted)
        done++;
    if (done == 0)
        return;
    raft_held_t *released = self->held;
    size_t left = self->held_count - done;
    /* Stepping a message may hold others: the rest moves to a list of its own first. */
    self->held_capacity = left ? left : 1;
    self->held = raft_alloc (self->held_capacity * sizeof (raft_held_t));
    memcpy (self->held, released + done, left * sizeof (raft_held_t));
    self->held_count = left;
    for (size_t i = 0; i < done; i++) {
        const raft_message_t *message = &released[i].message;
        /* Found to be damaged since. */
        if (self->damaged && message->type == RAFT_MSG_APP_RESP && message->index >= self->damaged)
            continue;
        if (message->to == self->config.id)
            raft_step_checked (self, &released[i].message);
        else
            raft_messages_add (&self->outbox, &released[i].message);
    }
    free (released);
}

/*  Held messages that came since the last write wait for the one that is handed out now, or
    for the last one, if there is nothing to write. */
static void s_number_held (raft_t *self)
{
    for (size_t i = self->held_count; i-- > 0 && self->held[i].sequence == RAFT_UNNUMBERED;)
        self->held[i].sequence = self->sequence;
}

static void s_ready_write (raft_t *self, raft_ready_t *ready)
{
    if (!s_must_write (self))
        return;
    uint64_t last = raft_journal_last (&self->journal);
    uint64_t first = self->journal.written + 1;
    if (self->journal.anew) {
        ready->snapshot_index = self->journal.base;
        ready->snapshot_term = self->journal.base_term;
    }
    if (first <= last) {
        ready->append_count =
            raft_journal_entries (&self->journal, first, last, SIZE_MAX, SIZE_MAX, &ready->append);
        ready->truncate_from = first <= self->journal.stored ? first : 0;
        assert (ready->append_count == last - first + 1); /* unwritten entries are in memory */
    } else if (self->repairs_count && last < self->journal.stored)
        ready->truncate_from = last + 1;
    ready->sequence = ++self->sequence;
    raft_repairs_written (self, ready);
    ready->hard = (raft_hard_state_t){
        .term = self->term, .vote = self->vote, .commit = self->journal.committed};
    if (PLANTED (VOTE_NOT_PERSISTED))
        ready->hard.vote = 0;
    self->term_written = self->term;
    self->vote_written = self->vote;
    raft_journal_write (&self->journal, self->sequence, self->now_ms);
}

/*  Committed entries are applied only when they are durable here as well: a state machine on
    disk must never be ahead of its own log. */
static void s_ready_committed (raft_t *self, raft_ready_t *ready)
{
    raft_journal_t *journal = &self->journal;
    uint64_t last = journal->committed < journal->durable ? journal->committed : journal->durable;
    if (PLANTED (APPLY_BEFORE_FLUSH))
        last = journal->committed;
    if (journal->applying >= last || self->applying_bytes >= self->config.apply_bytes_max ||
        s_apply_waits (self, ready->sequence))
        return;
    self->apply_deadline_ms = self->now_ms + self->config.apply_delay_ms;
    size_t room = self->config.apply_bytes_max - self->applying_bytes;
    ready->committed_count = raft_journal_entries (journal, journal->applying + 1, last,
                                                   RAFT_BATCH_MAX, room, &ready->committed);
    journal->applying += ready->committed_count;
    for (size_t i = 0; i < ready->committed_count; i++) {
        size_t bytes = raft_entry_bytes (&ready->committed[i]);
        self->applying_bytes += bytes;
        if (self->role == RAFT_LEADER && ready->committed[i].term == self->term) {
            assert (self->uncommitted_bytes >= bytes);
            self->uncommitted_bytes -= bytes;
        }
    }
}

bool raft_ready (raft_t *self, raft_ready_t *ready)
{
    *ready = (raft_ready_t){0};
    if (!s_must_write (self)) {
        s_number_held (self);
        s_release_held (self);
    }
    if (self->role == RAFT_LEADER) {
        raft_reads_begin (self);
        raft_replicate (self);
    }
    s_ready_write (self, ready);
    s_number_held (self);
    s_ready_committed (self, ready);

    raft_soft_state_t soft = raft_soft_state (self);
    ready->soft = soft;
    ready->soft_changed = soft.role != self->soft_reported.role ||
                          soft.leader != self->soft_reported.leader ||
                          soft.term != self->soft_reported.term;
    self->soft_reported = soft;

    ready->messages = self->outbox;
    self->outbox = (raft_messages_t){0};
    ready->reads = self->answers;
    ready->reads_count = self->answers_count;
    self->answers = NULL;
    self->answers_count = self->answers_capacity = 0;
    ready->offer = self->offer;
    self->offer = (raft_offer_t){0};
    if (ready->soft_changed || ready->sequence || ready->committed_count || ready->messages.count ||
        ready->reads_count || ready->offer.index)
        return true;
    raft_ready_clear (ready);
    return false;
}

void raft_ready_clear (raft_ready_t *ready)
{
    raft_entries_free (ready->repairs, ready->repairs_count);
    raft_entries_free (ready->append, ready->append_count);
    raft_entries_free (ready->committed, ready->committed_count);
    raft_messages_clear (&ready->messages);
    free (ready->reads);
    *ready = (raft_ready_t){0};
}

void raft_persisted (raft_t *self, uint64_t sequence)
{
    assert (sequence <= self->sequence);
    if (sequence <= self->persisted)
        return;
    self->persisted = sequence;
    raft_journal_persisted (&self->journal, sequence);
    raft_repairs_durable (self);
    if (self->role == RAFT_LEADER)
        raft_acknowledge_self (self);
    s_release_held (self);
}

void raft_applied (raft_t *self, uint64_t index)
{
    raft_journal_applied (&self->journal, index);
    if (self->journal.applied == self->journal.applying)
        self->applying_bytes = 0;
}

raft_result_t raft_configure (raft_t *self, const raft_conf_state_t *conf)
{
    if (tracker_conf_check (conf))
        return RAFT_INVALID;
    /* Those who leave hear of what is committed for the last time: it may be their removal. */
    if (self->role == RAFT_LEADER) {
        self->commit_deadline_ms = self->now_ms;
        raft_replicate (self);
    }
    tracker_configure (&self->tracker, conf, raft_journal_last (&self->journal) + 1);
    if (self->role != RAFT_LEADER)
        return RAFT_OK;
    if (self->transferee && !tracker_is_voter (&self->tracker, self->transferee))
        self->transferee = 0;
    raft_maybe_commit (self);
    raft_reads_confirm (self);
    /* Thesis 4.2.2: a leader that is no longer a voter leaves when the change is committed. But
       not at once: those who remain may not have heard that, would need its vote under the old
       configuration, and not get it, since its log may be longer than theirs. So it first sees
       to it that a majority of them has all of its log, and one of these knows. */
    if (!tracker_is_voter (&self->tracker, self->config.id)) {
        self->transferee = 0;
        self->leaving = true;
        self->leaving_round = 0;
        raft_leave_check (self);
    }
    return RAFT_OK;
}

const raft_conf_state_t *raft_conf (const raft_t *self)
{
    return &self->tracker.conf;
}

bool raft_leave_due (const raft_t *self)
{
    const raft_conf_state_t *conf = &self->tracker.conf;
    return self->role == RAFT_LEADER && conf->voters_outgoing.count && conf->auto_leave &&
           !self->transferee && !raft_changing (self);
}

raft_soft_state_t raft_soft_state (const raft_t *self)
{
    return (raft_soft_state_t){.role = self->role, .leader = self->leader, .term = self->term};
}

void raft_status (const raft_t *self, raft_status_t *status)
{
    *status = (raft_status_t){
        .id = self->config.id,
        .soft = raft_soft_state (self),
        .hard = {.term = self->term, .vote = self->vote, .commit = self->journal.committed},
        .first = raft_journal_first (&self->journal),
        .last = raft_journal_last (&self->journal),
        .durable = self->journal.durable,
        .applied = self->journal.applied,
        .settled = self->role == RAFT_LEADER && self->journal.applied >= self->term_start,
        .voter = tracker_is_voter (&self->tracker, self->config.id),
        .changing = self->role == RAFT_LEADER && raft_changing (self),
        .uncommitted_bytes = self->uncommitted_bytes,
        .transferee = self->transferee,
        .anomalies = self->anomalies,
        .elections = self->elections,
        .election_timeout_ms = self->config.election_timeout_ms,
        .heartbeat_ms = self->config.heartbeat_ms,
        .disk_stalls = self->disk_stalls,
        .damaged = self->damaged,
        .contradicted = self->contradicted,
        .forgotten = self->forgotten,
        .snapshot = self->snapshot_index,
    };
}

bool raft_is_empty (const raft_t *self)
{
    return raft_journal_last (&self->journal) == 0 && self->journal.applied == 0;
}

const tracker_progress_t *raft_progress (const raft_t *self, uint64_t id)
{
    return tracker_find ((tracker_t *)&self->tracker, id);
}
