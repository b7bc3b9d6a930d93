/*  election_view - how consensus looks from here: for people, and as metrics */
#include "actors/election/election_private.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)RAFT_VIEW_LEADER == (int)RAFT_LEADER &&
                   (int)RAFT_VIEW_PRE_CANDIDATE == (int)RAFT_PRE_CANDIDATE &&
                   (int)RAFT_VIEW_SNAPSHOT == (int)TRACKER_SNAPSHOT,
               "the view's names are the core's");

/*  Everybody in the configuration but this master. */
static size_t s_peers (const election_t *self, uint64_t ids[TRACKER_PEERS_MAX])
{
    const raft_conf_state_t *conf = raft_conf (self->raft);
    const quorum_set_t *sets[] = {&conf->voters, &conf->voters_outgoing, &conf->learners};
    size_t count = 0;
    for (size_t i = 0; i < sizeof (sets) / sizeof (sets[0]); i++)
        for (uint32_t j = 0; j < sets[i]->count; j++) {
            uint64_t id = sets[i]->ids[j];
            bool twice = id == self->id;
            for (size_t k = 0; k < count && !twice; k++)
                twice = ids[k] == id;
            if (!twice)
                ids[count++] = id;
        }
    return count;
}

static raft_peer_view_t s_peer_view (const election_t *self, context_t *ctx, uint64_t id)
{
    const tracker_progress_t *peer = raft_progress (self->raft, id);
    const timeouts_peer_t *times = timeouts_peer (&self->timeouts, id);
    const record_key_t *key = election_key (self, id);
    raft_peer_view_t view = {.heard_ms_ago = -1};
    if (key)
        view.key = *key;
    if (times && times->heard_ns)
        view.heard_ms_ago = NS_TO_MS (context_now (ctx) - times->heard_ns);
    if (times) {
        view.round_trip_us = times->samples.p50_us;
        view.round_trip_p99_us = times->samples.p99_us;
    }
    for (size_t i = 0; i < self->peers_count; i++)
        view.refused |= self->peers[i].id == id && self->peers[i].refused;
    if (!peer)
        return view;
    view.state = (int)peer->state;
    view.active = election_within_reach (self, id);
    view.learner = peer->learner;
    view.match = peer->match;
    view.next = peer->next;
    view.lag = self->status.last > peer->match ? self->status.last - peer->match : 0;
    view.in_flight = peer->window.count;
    view.in_flight_bytes = peer->window.bytes;
    return view;
}

/*  What other actors of this node measure. */
static uint64_t s_gauge (context_t *ctx, const char *name, const char *help)
{
    double value = metric_value (metrics_gauge (context_metrics (ctx), name, help, NULL));
    return value > 0 ? (uint64_t)value : 0;
}

static const char s_refused[] =
    "its log is not the one that the others have on record: its disk was lost or "
    "replaced; " CONSENSUS_REPLACE_MASTER;

static void s_fill (const election_t *self, context_t *ctx, raft_view_t *view)
{
    const raft_status_t *status = &self->status;
    const record_key_t *leader = election_key (self, status->soft.leader);
    *view = (raft_view_t){
        .role = (int)status->soft.role,
        .term = status->hard.term,
        .voter = status->voter,
        .first = status->first,
        .last = status->last,
        .durable = status->durable,
        .commit = status->hard.commit,
        .applied = status->applied,
        .snapshot = status->snapshot,
        .uncommitted_bytes = status->uncommitted_bytes,
        .waiting =
            self->proposals_count + (self->relays_count - self->relays_first) + self->reads_count,
        .election_timeout_ms = (uint64_t)status->election_timeout_ms,
        .heartbeat_ms = (uint64_t)status->heartbeat_ms,
        .flush_last_us = self->flush_last_us,
        .flush_p50_us = self->timeouts.flush_us,
        .flush_p99_us = self->flush_p99_us,
        .log_used_bytes = s_gauge (ctx, "nexus_raft_log_used_bytes",
                                   "Bytes of the Raft log's map that are in use"),
        .log_limit_bytes =
            s_gauge (ctx, "nexus_raft_log_limit_bytes", "Size of the Raft log's map"),
        .ledger_used_bytes =
            s_gauge (ctx, "nexus_ledger_used_bytes", "Bytes of the ledger's map that are in use."),
        .ledger_limit_bytes =
            s_gauge (ctx, "nexus_ledger_limit_bytes", "Size of the ledger's map."),
        .incarnation = self->incarnation,
        .refused = self->refused_as ? s_refused : "",
        .refusals = self->refusals,
        .elections = status->elections,
        .anomalies = status->anomalies,
        .disk_stalls = status->disk_stalls,
        .damaged = status->damaged,
    };
    if (leader)
        view->leader = *leader;
}

void election_view (election_t *self, context_t *ctx, const message_t *message)
{
    const raft_view_get_t *get = message->body;
    uint64_t ids[TRACKER_PEERS_MAX];
    raft_peer_view_t peers[TRACKER_PEERS_MAX];
    raft_view_t view;
    if (!self->raft) {
        context_reply_failure (ctx, message, NEXUS_UNAVAILABLE,
                               "election: this master's ledger is being read: retry");
        return;
    }
    self->now_ms = election_now_ms (ctx);
    raft_status (self->raft, &self->status);
    s_fill (self, ctx, &view);
    if (get->peers && self->status.soft.role == RAFT_LEADER) {
        view.peers.count = s_peers (self, ids);
        view.peers.items = peers;
        for (size_t i = 0; i < view.peers.count; i++)
            peers[i] = s_peer_view (self, ctx, ids[i]);
    }
    context_reply (ctx, message, &raft_view_record, &view);
}

/*  ---- metrics ------------------------------------------------------------- */

static void s_set (context_t *ctx, const char *name, const char *help, const char *labels,
                   double value)
{
    metric_set (metrics_gauge (context_metrics (ctx), name, help, labels), value);
}

void election_measure_peers (election_t *self, context_t *ctx)
{
    self->now_ms = election_now_ms (ctx);
    uint64_t ids[TRACKER_PEERS_MAX];
    size_t count = s_peers (self, ids);
    bool leads = self->status.soft.role == RAFT_LEADER;
    for (size_t i = 0; i < count; i++) {
        raft_peer_view_t view = s_peer_view (self, ctx, ids[i]);
        char labels[64];
        snprintf (labels, sizeof (labels), "peer=\"%02x%02x%02x%02x\"", view.key.bytes[0],
                  view.key.bytes[1], view.key.bytes[2], view.key.bytes[3]);
        s_set (ctx, "nexus_raft_peer_lag", "Leader: entries that the peer lacks.", labels,
               leads ? (double)view.lag : 0);
        s_set (ctx, "nexus_raft_peer_in_flight_bytes",
               "Leader: entries sent to the peer and not answered.", labels,
               leads ? (double)view.in_flight_bytes : 0);
        s_set (ctx, "nexus_raft_peer_active", "Leader: 1 if the peer was heard of lately.", labels,
               leads && view.active);
        s_set (ctx, "nexus_raft_peer_round_trip_p50_seconds",
               "Of the last 256 heartbeats that were measured.", labels,
               (double)view.round_trip_us / 1e6);
        s_set (ctx, "nexus_raft_peer_round_trip_p99_seconds",
               "Of the last 256 heartbeats that were measured.", labels,
               (double)view.round_trip_p99_us / 1e6);
    }
}
