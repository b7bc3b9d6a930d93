/*  timeouts - how long to wait for a leader: see the header. */
#include "actors/election/timeouts.h"

static timeouts_peer_t *s_peer (timeouts_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->peers[i].id == id)
            return &self->peers[i];
    return NULL;
}

const timeouts_peer_t *timeouts_peer (const timeouts_t *self, uint64_t id)
{
    return s_peer ((timeouts_t *)self, id);
}

void timeouts_forget (timeouts_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++)
        if (id == 0 || self->peers[i].id == id)
            self->peers[i].round = 0;
}

/*  Room for a new peer: its own, or that of whoever was not heard of for longest. */
static timeouts_peer_t *s_add (timeouts_t *self, uint64_t id)
{
    timeouts_peer_t *peer = &self->peers[0];
    if (self->count < TIMEOUTS_PEERS_MAX)
        peer = &self->peers[self->count++];
    else
        for (size_t i = 1; i < self->count; i++)
            if (self->peers[i].heard_ns < peer->heard_ns)
                peer = &self->peers[i];
    *peer = (timeouts_peer_t){.id = id};
    return peer;
}

void timeouts_sent (timeouts_t *self, uint64_t id, uint64_t round, int64_t now_ns)
{
    timeouts_peer_t *peer = s_peer (self, id);
    if (!peer)
        peer = s_add (self, id);
    if (peer->round)
        return;
    peer->round = round;
    peer->sent_ns = now_ns;
}

void timeouts_answered (timeouts_t *self, uint64_t id, uint64_t round, int64_t now_ns,
                        int64_t current_ms)
{
    timeouts_peer_t *peer = s_peer (self, id);
    if (!peer || peer->round == 0)
        return;
    peer->heard_ns = now_ns;
    if (round < peer->round)
        return;
    /* An answer to a later round: this one, or its answer, was lost. */
    if (round == peer->round) {
        int64_t trip_ns = now_ns - peer->sent_ns, most_ns = TIMEOUTS_MOST * current_ms * 1000000;
        flush_times_note (&peer->samples, trip_ns < most_ns ? trip_ns : most_ns);
        flush_times_update (&peer->samples); /* with long timeouts they come seldom */
    }
    peer->round = 0;
}

static int64_t s_larger (int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t timeouts_next_ms (const timeouts_t *self, int64_t now_ns, int64_t current_ms,
                          int64_t min_ms, int64_t max_ms)
{
    int64_t trip_us = 0, last_us = 0;
    for (size_t i = 0; i < self->count; i++) {
        const timeouts_peer_t *peer = &self->peers[i];
        if (peer->samples.count == 0 || now_ns - peer->heard_ns > 2 * current_ms * 1000000)
            continue;
        trip_us = s_larger (trip_us, peer->samples.p90_us);
        last_us = s_larger (last_us, peer->samples.last_us);
    }
    int64_t next_ms = current_ms;
    if (trip_us) {
        int64_t flush_us = self->flush_us > UINT32_MAX ? UINT32_MAX : (int64_t)self->flush_us;
        int64_t wanted_ms = (TIMEOUTS_ROUND_TRIPS * trip_us + TIMEOUTS_FLUSHES * flush_us) / 1000;
        int64_t sudden_ms = TIMEOUTS_LAST * last_us / 1000;
        wanted_ms = s_larger (wanted_ms, sudden_ms < 2 * current_ms ? sudden_ms : 2 * current_ms);
        next_ms = wanted_ms;
        if (wanted_ms < current_ms)
            next_ms = current_ms - (current_ms - wanted_ms + 3) / 4;
    }
    if (next_ms > max_ms)
        next_ms = max_ms;
    return s_larger (next_ms, min_ms);
}

int64_t timeouts_heartbeat_ms (int64_t election_ms)
{
    int64_t heartbeat_ms = election_ms / TIMEOUTS_HEARTBEATS;
    return heartbeat_ms > 0 ? heartbeat_ms : 1;
}
