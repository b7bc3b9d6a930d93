/*  tracker - the leader's view of its peers' logs */
#include "actors/election/tracker.h"
#include "runtime/planted.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void tracker_window_init (tracker_window_t *self, uint32_t count_max, size_t bytes_max)
{
    assert (count_max > 0);
    *self = (tracker_window_t){.count_max = count_max, .bytes_max = bytes_max};
}

void tracker_window_clear (tracker_window_t *self)
{
    free (self->ring);
    tracker_window_init (self, self->count_max, self->bytes_max);
}

bool tracker_window_full (const tracker_window_t *self)
{
    return self->count == self->count_max || (self->bytes_max && self->bytes >= self->bytes_max);
}

/*  The ring grows with use: most peers never have a full window. */
static void s_window_grow (tracker_window_t *self)
{
    uint32_t capacity = self->capacity ? self->capacity * 2 : 8;
    if (capacity > self->count_max)
        capacity = self->count_max;
    tracker_flight_t *ring = raft_alloc (capacity * sizeof (tracker_flight_t));
    for (uint32_t i = 0; i < self->count; i++)
        ring[i] = self->ring[(self->start + i) % self->capacity];
    free (self->ring);
    self->ring = ring;
    self->start = 0;
    self->capacity = capacity;
}

void tracker_window_add (tracker_window_t *self, uint64_t index, size_t bytes)
{
    assert (!tracker_window_full (self));
    if (self->count == self->capacity)
        s_window_grow (self);
    self->ring[(self->start + self->count) % self->capacity] =
        (tracker_flight_t){.index = index, .bytes = bytes};
    self->count++;
    self->bytes += bytes;
}

void tracker_window_free_to (tracker_window_t *self, uint64_t index)
{
    while (self->count && self->ring[self->start].index <= index) {
        self->bytes -= self->ring[self->start].bytes;
        self->start = (self->start + 1) % self->capacity;
        self->count--;
    }
}

static void s_become (tracker_progress_t *self, tracker_state_t state)
{
    self->state = state;
    self->flow_paused = false;
    self->pending_snapshot = 0;
    self->window.start = self->window.count = 0;
    self->window.bytes = 0;
}

void tracker_become_probe (tracker_progress_t *self)
{
    /* After a snapshot the peer is known to have all that it covers. */
    uint64_t known = self->state == TRACKER_SNAPSHOT ? self->pending_snapshot : 0;
    s_become (self, TRACKER_PROBE);
    self->next = (known > self->match ? known : self->match) + 1;
}

void tracker_become_replicate (tracker_progress_t *self)
{
    s_become (self, TRACKER_REPLICATE);
    self->next = self->match + 1;
}

void tracker_become_snapshot (tracker_progress_t *self, uint64_t snapshot_index)
{
    s_become (self, TRACKER_SNAPSHOT);
    self->pending_snapshot = snapshot_index;
    self->next = snapshot_index + 1;
}

bool tracker_paused (const tracker_progress_t *self)
{
    return self->state == TRACKER_SNAPSHOT || self->flow_paused;
}

void tracker_sent (tracker_progress_t *self, size_t count, size_t bytes)
{
    switch (self->state) {
    case TRACKER_PROBE:
        self->flow_paused = true;
        break;
    case TRACKER_REPLICATE:
        if (count) {
            self->next += count;
            tracker_window_add (&self->window, self->next - 1, bytes);
        }
        /* A full window still lets one empty message through after each heartbeat's answer
           (flow_paused is cleared then): it is how lost messages are noticed. */
        self->flow_paused = tracker_window_full (&self->window);
        break;
    case TRACKER_SNAPSHOT:
        assert (false && "nothing is sent to a peer that waits for a snapshot");
        break;
    }
}

bool tracker_update (tracker_progress_t *self, uint64_t index)
{
    if (index <= self->match)
        return false;
    self->match = index;
    if (self->next < index + 1)
        self->next = index + 1;
    self->flow_paused = false;
    return true;
}

void tracker_lost (tracker_progress_t *self, uint64_t known)
{
    if (self->match > known)
        self->match = known;
    s_become (self, TRACKER_PROBE);
    self->next = known + 1;
}

bool tracker_decrease (tracker_progress_t *self, uint64_t rejected, uint64_t hint)
{
    if (self->state == TRACKER_REPLICATE) {
        if (rejected <= self->match)
            return false;
        self->next = self->match + 1;
        return true;
    }
    /* One probe at a time: a rejection of anything but the last one is stale. */
    if (self->next - 1 != rejected)
        return false;
    uint64_t next = rejected < hint + 1 ? rejected : hint + 1;
    next = next > self->match + 1 ? next : self->match + 1;
    /* There is nothing earlier to try. At once again it would be refused at once, by each copy of it
       that the network makes: the next heartbeat's answer brings it. */
    if (next == self->next)
        return false;
    self->next = next;
    self->flow_paused = false;
    return true;
}

void tracker_init (tracker_t *self, uint32_t window_count_max, size_t window_bytes_max)
{
    memset (self, 0, sizeof (tracker_t));
    self->window_count_max = window_count_max;
    self->window_bytes_max = window_bytes_max;
}

void tracker_clear (tracker_t *self)
{
    for (uint32_t i = 0; i < self->count; i++)
        tracker_window_clear (&self->peers[i].window);
    self->count = 0;
}

static const char *s_set_check (const quorum_set_t *set)
{
    if (set->count > QUORUM_MEMBERS_MAX)
        return "too many members";
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->ids[i] == 0)
            return "a member with id 0";
        for (uint32_t j = 0; j < i; j++)
            if (set->ids[i] == set->ids[j])
                return "a member stands in a set twice";
    }
    return NULL;
}

const char *tracker_conf_check (const raft_conf_state_t *conf)
{
    const quorum_set_t *sets[] = {&conf->voters, &conf->voters_outgoing, &conf->learners,
                                  &conf->learners_next};
    for (size_t i = 0; i < sizeof (sets) / sizeof (sets[0]); i++) {
        const char *wrong = s_set_check (sets[i]);
        if (wrong)
            return wrong;
    }
    if (conf->voters.count == 0)
        return "no voters";
    for (uint32_t i = 0; i < conf->learners.count; i++)
        if (quorum_set_has (&conf->voters, conf->learners.ids[i]) ||
            quorum_set_has (&conf->voters_outgoing, conf->learners.ids[i]))
            return "a learner that also votes";
    for (uint32_t i = 0; i < conf->learners_next.count; i++)
        if (!quorum_set_has (&conf->voters_outgoing, conf->learners_next.ids[i]))
            return "a learner to be that is no outgoing voter";
    if (conf->voters_outgoing.count == 0 && conf->auto_leave)
        return "auto-leave without outgoing voters";
    return NULL;
}

static void s_configure_set (tracker_t *self, const tracker_t *before, const quorum_set_t *set,
                             uint64_t next)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (tracker_find (self, set->ids[i]))
            continue;
        assert (self->count < TRACKER_PEERS_MAX);
        tracker_progress_t *peer = &self->peers[self->count++];
        tracker_progress_t *old = tracker_find ((tracker_t *)before, set->ids[i]);
        if (old) {
            *peer = *old;
            old->window.ring = NULL; /* moved */
        } else {
            *peer = (tracker_progress_t){.id = set->ids[i], .next = next};
            /* It gets the time of one quorum check to answer for the first time. */
            peer->recent_active = true;
            tracker_window_init (&peer->window, self->window_count_max, self->window_bytes_max);
        }
        peer->learner = quorum_set_has (&self->conf.learners, peer->id);
    }
}

void tracker_configure (tracker_t *self, const raft_conf_state_t *conf, uint64_t next)
{
    assert (!tracker_conf_check (conf));
    tracker_t *before = raft_alloc (sizeof (tracker_t));
    *before = *self;
    self->conf = *conf;
    self->count = 0;
    s_configure_set (self, before, &conf->voters, next);
    s_configure_set (self, before, &conf->voters_outgoing, next);
    s_configure_set (self, before, &conf->learners, next);
    tracker_clear (before);
    free (before);
}

tracker_progress_t *tracker_find (tracker_t *self, uint64_t id)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (self->peers[i].id == id)
            return &self->peers[i];
    return NULL;
}

bool tracker_is_voter (const tracker_t *self, uint64_t id)
{
    return quorum_set_has (&self->conf.voters, id) ||
           quorum_set_has (&self->conf.voters_outgoing, id);
}

void tracker_reset (tracker_t *self, uint64_t next)
{
    for (uint32_t i = 0; i < self->count; i++) {
        tracker_progress_t *peer = &self->peers[i];
        peer->match = 0;
        peer->state = TRACKER_PROBE;
        tracker_become_probe (peer);
        peer->next = next;
        peer->commit_sent = 0;
        peer->round_acked = 0;
        peer->heard_ms = 0;
        peer->lease_until_ms = 0;
        peer->vote = 0;
        peer->recent_active = false;
    }
}

static uint64_t s_match (uint64_t id, void *context)
{
    return tracker_find (context, id)->match;
}

static uint64_t s_round (uint64_t id, void *context)
{
    return tracker_find (context, id)->round_acked;
}

static uint64_t s_lease_until_ms (uint64_t id, void *context)
{
    return (uint64_t)tracker_find (context, id)->lease_until_ms;
}

static int s_active (uint64_t id, void *context)
{
    return tracker_find (context, id)->recent_active ? 1 : -1;
}

static int s_vote (uint64_t id, void *context)
{
    return tracker_find (context, id)->vote;
}

/*  Who decides: a majority of these, and one of those. */
static const quorum_set_t *s_incoming (const tracker_t *self)
{
    static quorum_set_t all;
    if (!PLANTED (LEARNER_COUNTED))
        return &self->conf.voters;
    all = self->conf.voters;
    for (uint32_t i = 0; i < self->conf.learners.count; i++)
        quorum_set_add (&all, self->conf.learners.ids[i]);
    return &all;
}

static const quorum_set_t *s_outgoing (const tracker_t *self)
{
    static const quorum_set_t none;
    return PLANTED (JOINT_ONE_MAJORITY) ? &none : &self->conf.voters_outgoing;
}

uint64_t tracker_committed (tracker_t *self)
{
    return quorum_joint_acked (s_incoming (self), s_outgoing (self), s_match, self);
}

uint64_t tracker_round_acked (tracker_t *self)
{
    return quorum_joint_acked (s_incoming (self), s_outgoing (self), s_round, self);
}

int64_t tracker_lease_until_ms (tracker_t *self)
{
    return (int64_t)quorum_joint_acked (s_incoming (self), s_outgoing (self), s_lease_until_ms,
                                        self);
}

bool tracker_quorum_active (tracker_t *self)
{
    return quorum_joint_voted (s_incoming (self), s_outgoing (self), s_active, self) == QUORUM_WON;
}

quorum_result_t tracker_vote_result (tracker_t *self)
{
    return quorum_joint_voted (s_incoming (self), s_outgoing (self), s_vote, self);
}
