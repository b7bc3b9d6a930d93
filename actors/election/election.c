/*  election - the behaviour that carries Raft's core */
#include "actors/election/election_private.h"

#include "actors/election/election_wire.h"
#include "runtime/planted.h"
#include "storage/raft_log_actor.h"
#include "transport/link.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*  A disk may stall for long (the core steps down meanwhile); for how long until it is taken
    for dead. */
enum { LOG_TIMEOUT_MS = 600000 };

/*  What is promised to a leader's lease at most, and how long a master that starts votes for
    nobody. */
enum { LEASE_MS_MAX = 500 };

/*  Followers apply what was committed at most so much later, and under load are told of it by the
    next entries alone. A read through them does not wait for that: its heartbeat tells. */
enum { COMMIT_DELAY_MS = 5 };

/*  The entry that founds a cluster is its first one. */
enum { FOUNDING_INDEX = 1 };

/*  Between two looks at how the peers are, as metrics. */
enum { MEASURE_MS = 1000 };

/*  The ledger is asked where it stands this often until it answers. */
enum { LEDGER_RETRY_MS = 100 };

int64_t election_now_ms (context_t *ctx)
{
    return PLANTED (LEASE_OF_WALL_CLOCK) ? context_wall_ms (ctx) : NS_TO_MS (context_now (ctx));
}

/*  ---- life ---------------------------------------------------------------- */

static int s_check_timeouts (const election_args_t *args, nexus_error_t *error)
{
    if (args->election_ms < 10 || args->election_ms > RAFT_TIMEOUT_MAX_MS ||
        (args->election_ms_min && args->election_ms_min < 10) ||
        (args->election_ms_max && args->election_ms_max < args->election_ms_min) ||
        args->election_ms_max > RAFT_TIMEOUT_MAX_MS)
        return nexus_error_set (error, NEXUS_INVALID,
                                "election: election_ms_min (at least 10) must not be above "
                                "election_ms_max (at most %d)",
                                RAFT_TIMEOUT_MAX_MS);
    return 0;
}

static void s_make_metrics (election_t *self, metrics_t *metrics)
{
    self->term_metric = metrics_gauge (metrics, "nexus_raft_term", "Raft's current term.", NULL);
    self->leader_metric =
        metrics_gauge (metrics, "nexus_raft_leader", "1 if this master leads.", NULL);
    self->commit_metric =
        metrics_gauge (metrics, "nexus_raft_commit_index", "Log index that is committed.", NULL);
    self->applied_metric =
        metrics_gauge (metrics, "nexus_raft_applied_index", "Log index that is applied.", NULL);
    self->elections_metric = metrics_gauge (metrics, "nexus_raft_campaigns",
                                            "Campaigns of this master since its start.", NULL);
    self->anomalies_metric =
        metrics_gauge (metrics, "nexus_raft_anomalies",
                       "Messages of other masters since the start that made no sense.", NULL);
    self->stalls_metric =
        metrics_gauge (metrics, "nexus_raft_disk_stalls",
                       "Leaderships since the start given up because the disk hung.", NULL);
    self->timeout_metric =
        metrics_gauge (metrics, "nexus_raft_election_timeout_seconds",
                       "Silence after which this master campaigns, up to twice that.", NULL);
    self->damaged_metric = metrics_gauge (
        metrics, "nexus_raft_damaged_index",
        "Lowest entry of the Raft log that can't be read, 0 for none: this master is impaired.",
        NULL);
    self->proposals_metric = metrics_counter (metrics, "nexus_raft_proposals_total",
                                              "Commands appended as leader.", NULL);
    self->refused_metric = metrics_counter (metrics, "nexus_raft_proposals_refused_total",
                                            "Commands refused as leader: a limit.", NULL);
}

static void s_ask_ledger (context_t *ctx)
{
    address_t ledger = address_local ("ledger", 0);
    context_send (ctx, &ledger, &apply_record, &(apply_t){0});
}

static void s_arm (election_t *self, context_t *ctx, int64_t at_ms)
{
    /* An earlier timer is as good: it looks again. */
    if (self->timer && self->timer_ms <= at_ms)
        return;
    if (self->timer)
        context_cancel (ctx, self->timer);
    int64_t now_ns =
        PLANTED (LEASE_OF_WALL_CLOCK) ? MS_TO_NS (election_now_ms (ctx)) : context_now (ctx);
    self->timer = context_after (ctx, MS_TO_NS (at_ms) - now_ns, 0);
    self->timer_ms = at_ms;
}

static int s_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    election_t *self = state;
    self->args = args;
    if (s_check_timeouts (args, error) || election_members_start (self, ctx, error))
        return -1;
    const election_log_t *log = &self->args->log;
    if (log->load (log->entries.self, &self->hard, error))
        return -1;
    self->incarnation = log->incarnation ? log->incarnation (log->entries.self) : 0;
    s_make_metrics (self, context_metrics (ctx));
    self->read_id = context_random (ctx); /* answers to an earlier life mean nothing */
    self->client = (context_random (ctx) >> 1) | 1;
    address_t link = address_local ("link", 0);
    context_send (ctx, &link, &link_subscribe_record, &(link_subscribe_t){0});
    s_ask_ledger (ctx);
    s_arm (self, ctx, election_now_ms (ctx) + LEDGER_RETRY_MS);
    return 0;
}

static int64_t s_election_ms_min (const election_t *self)
{
    return self->args->election_ms_min ? self->args->election_ms_min : self->args->election_ms;
}

static int64_t s_election_ms_max (const election_t *self)
{
    return self->args->election_ms_max ? self->args->election_ms_max : self->args->election_ms;
}

/*  The ledger has said how far it is: now the core can begin. */
static void s_begin (election_t *self, context_t *ctx, const applied_t *message)
{
    uint64_t applied = message->index;
    raft_config_t config = raft_config_default ();
    if (!election_members_begin (self, ctx, message, &config.conf_state))
        return;
    config.id = self->id;
    config.election_timeout_ms = self->args->election_ms;
    config.election_timeout_min_ms = s_election_ms_min (self);
    config.election_timeout_max_ms = s_election_ms_max (self);
    config.heartbeat_ms = timeouts_heartbeat_ms (self->args->election_ms);
    config.commit_delay_ms = COMMIT_DELAY_MS;
    config.apply_delay_ms = COMMIT_DELAY_MS;
    config.lease_max_ms = LEASE_MS_MAX;
    config.seed = context_random (ctx);
    if (self->args->message_bytes_max)
        config.message_bytes_max = self->args->message_bytes_max;
    config.hard_state = self->hard;
    config.applied = applied;
    config.storage = self->args->log.entries;
    const char *reason = NULL;
    self->raft = raft_new (&config, election_now_ms (ctx), &reason);
    if (!self->raft) {
        nexus_error_t error;
        nexus_error_set (
            &error, NEXUS_CORRUPT,
            "%s (applied %llu, commit %llu, log ends at %llu). Of this master's "
            "directory a part is gone, or older than the rest: " CONSENSUS_REPLACE_MASTER,
            reason, (unsigned long long)applied, (unsigned long long)self->hard.commit,
            (unsigned long long)config.storage.last (config.storage.self));
        self->failed = true;
        context_fail (ctx, &error);
        return;
    }
    raft_set_snapshot (self->raft, self->copy_index, self->copy_term);
    election_admission_begin (self, ctx);
    /* Alone since the beginning, there is nobody to wait for. One who has become so may have promised
       a lease to a leader that is leaving. */
    if (config.conf_state.voters.count == 1 && self->conf.index <= FOUNDING_INDEX)
        raft_campaign (self->raft);
    raft_status (self->raft, &self->status);
    log_info (context_log (ctx), "election begins", LOG_UINT ("term", self->status.hard.term),
              LOG_UINT ("applied", applied), LOG_UINT ("last", self->status.last));
}

static void s_stop (void *state, context_t *ctx)
{
    election_t *self = state;
    election_members_end (self, ctx);
    election_requests_end (self, ctx);
    raft_ready_clear (&self->begun);
    raft_destroy (&self->raft);
}

/*  ---- messages ------------------------------------------------------------ */

/*  A master that was started to begin a cluster with others doesn't belong here, even if somebody
    added it: what it believes to be a majority may be none (see docs/operations.md). */
static bool s_is_stranger (election_t *self, context_t *ctx, const message_t *message)
{
    const consensus_t *record = message->body;
    if (!record->cluster || !self->conf.cluster || record->cluster == self->conf.cluster)
        return false;
    if (election_now_ms (ctx) >= self->stranger_ms)
        log_error (context_log (ctx),
                   "a master of another cluster speaks, and is not listened to. One of the two was "
                   "started without `join: true` in its configuration, or with other masters: stop "
                   "it, empty its directory, and let it join",
                   LOG_NODE ("master", &message->from.node),
                   LOG_UINT ("its_cluster", record->cluster),
                   LOG_UINT ("our_cluster", self->conf.cluster));
    self->stranger_ms = election_now_ms (ctx) + 60000;
    return true;
}

static void s_on_consensus (election_t *self, context_t *ctx, const message_t *message)
{
    uint64_t from = election_id (&message->from.node);
    /* Who it is was authenticated, and that it is a master; not only members speak: a leader may be
       one by an entry that isn't applied here yet. */
    if (!self->raft || message->role != ROLE_MASTER || s_is_stranger (self, ctx, message) ||
        !election_meet (self, &message->from.node) ||
        !election_admit (self, ctx, from, message->body))
        return;
    raft_message_t decoded;
    raft_tick (self->raft, election_now_ms (ctx));
    election_decode (message->body, from, self->id, &decoded);
    if (decoded.type == RAFT_MSG_HEARTBEAT_RESP && decoded.term == self->status.soft.term)
        timeouts_answered (&self->timeouts, from, decoded.context, context_now (ctx),
                           self->status.election_timeout_ms);
    if (decoded.type == RAFT_MSG_APP && decoded.commit > self->commit_known)
        self->commit_known = decoded.commit;
    raft_step (self->raft, &decoded);
    if (decoded.type == RAFT_MSG_APP_RESP && decoded.reject && decoded.force)
        election_peer_damaged (self, ctx, &decoded);
    raft_entries_free (decoded.entries, decoded.entries_count);
}

static void s_on_applied (election_t *self, context_t *ctx, const applied_t *applied)
{
    if (!self->raft)
        s_begin (self, ctx, applied);
    else {
        election_members_applied (self, ctx, applied);
        /* To the core, and to reads, only what readers see counts as applied. */
        raft_applied (self->raft, applied->index);
        election_applied (self, ctx, applied);
    }
}

static void s_on_log_durable (election_t *self, const log_durable_t *durable)
{
    self->log_full = durable->full;
    self->timeouts.flush_us = durable->flush_p50_us;
    self->flush_last_us = durable->flush_us;
    self->flush_p99_us = durable->flush_p99_us;
    if (self->raft)
        raft_persisted (self->raft, durable->sequence);
}

/*  A request of ours failed: one that was passed on (and meanwhile perhaps to another leader), or a
    write of the log. */
static void s_on_failure (election_t *self, context_t *ctx, const message_t *message)
{
    bool log = record_key_is_zero (&message->from.node) &&
               strcmp (message->from.actor, self->args->log.actor) == 0;
    if (election_relayed (self, ctx, message) || !log)
        return;
    const failure_t *failure = message->body;
    nexus_error_t error;
    nexus_error_set (&error, (nexus_code_t)failure->code, "election: the log wasn't written: %s",
                     failure->text);
    self->failed = true;
    context_fail (ctx, &error);
}

static void s_subscribe (election_t *self, context_t *ctx, const message_t *message)
{
    const leadership_subscribe_t *subscribe = message->body;
    size_t i = 0;
    while (i < self->subscribers_count && !address_equal (&self->subscribers[i], &message->from))
        i++;
    if (!subscribe->on) {
        if (i < self->subscribers_count)
            self->subscribers[i] = self->subscribers[--self->subscribers_count];
        return;
    }
    if (i == ELECTION_SUBSCRIBERS_MAX) {
        log_warning (context_log (ctx), "too many subscribers",
                     LOG_TEXT ("from", message->from.actor));
        return;
    }
    self->subscribers[i] = message->from;
    if (i == self->subscribers_count)
        self->subscribers_count++;
    context_send (ctx, &message->from, &leadership_record, &self->told);
}

/*  What was on its way over a connection that broke is lost: don't count on it, and pass on again
    what the leader may never have got. */
static void s_on_peer_event (election_t *self, context_t *ctx, const peer_event_t *event)
{
    if (!self->raft || event->role != ROLE_MASTER)
        return;
    timeouts_forget (&self->timeouts, election_id (&event->node));
    raft_tick (self->raft, election_now_ms (ctx));
    if (event->up)
        election_admission_greet (self, ctx, election_id (&event->node));
    if (!event->up)
        raft_unreachable (self->raft, election_id (&event->node));
    else if (election_id (&event->node) == self->relays_leader)
        self->relays_leader = 0;
}

static void s_on_local (election_t *self, context_t *ctx, const message_t *message)
{
    if (message_body (message, applied))
        s_on_applied (self, ctx, message->body);
    else if (message_body (message, log_durable))
        s_on_log_durable (self, message->body);
    else if (message_body (message, snapshot_stored))
        election_stored (self, ctx, message->body);
    else if (message_body (message, leadership_subscribe))
        s_subscribe (self, ctx, message);
    else if (message_body (message, read_barrier))
        election_read (self, ctx, message);
    else if (message_body (message, peer_event))
        s_on_peer_event (self, ctx, message->body);
}

static void s_receive (void *state, context_t *ctx, const message_t *message)
{
    election_t *self = state;
    if (self->failed)
        return;
    if (message->flags & MESSAGE_REPLY && message_body (message, failure))
        s_on_failure (self, ctx, message);
    else if (message_body (message, consensus))
        s_on_consensus (self, ctx, message);
    else if (message->flags & MESSAGE_REPLY &&
             (message_body (message, proposed) || message_body (message, done)))
        election_relayed (self, ctx, message);
    else if (message_body (message, propose))
        election_propose (self, ctx, message);
    else if (message->role != ROLE_LOCAL && message->role != ROLE_MASTER)
        return;
    else if (message_body (message, leadership_transfer))
        election_transfer (self, ctx, message);
    else if (message_body (message, master_change))
        election_change (self, ctx, message);
    else if (message_body (message, raft_view_get))
        election_view (self, ctx, message);
    else if (message->role == ROLE_LOCAL)
        s_on_local (self, ctx, message);
}

static void s_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    election_t *self = state;
    (void)data;
    if (timer != self->timer)
        return;
    self->timer = 0;
    if (!self->raft && !self->failed) {
        s_ask_ledger (ctx);
        s_arm (self, ctx, election_now_ms (ctx) + LEDGER_RETRY_MS);
    }
}

/*  ---- the end of a turn --------------------------------------------------- */

typedef struct {
    election_t *self;
    context_t *ctx;
    uint64_t id;
    address_t to;
} s_sender_t;

static void s_send (void *context, const consensus_t *record)
{
    s_sender_t *sender = context;
    consensus_t marked = *record;
    marked.cluster = sender->self->conf.cluster;
    election_admission_mark (sender->self, sender->id, &marked);
    context_send (sender->ctx, &sender->to, &consensus_record, &marked);
}

static log_entry_t *s_log_entries (const raft_entry_t *from, size_t count)
{
    log_entry_t *entries = count ? raft_alloc (count * sizeof (log_entry_t)) : NULL;
    for (size_t i = 0; i < count; i++)
        entries[i] = (log_entry_t){
            .index = from[i].index,
            .term = from[i].term,
            .type = (uint64_t)from[i].type,
            .data = {raft_blob_data (from[i].blob), raft_blob_size (from[i].blob)},
        };
    return entries;
}

static void s_write (election_t *self, context_t *ctx, const raft_ready_t *ready)
{
    log_entry_t *entries = s_log_entries (ready->append, ready->append_count);
    log_entry_t *repairs = s_log_entries (ready->repairs, ready->repairs_count);
    log_append_t append = {
        .term = ready->hard.term,
        .vote = ready->hard.vote,
        .commit = ready->hard.commit,
        .has_hard_state = true,
        .snapshot_index = ready->snapshot_index,
        .snapshot_term = ready->snapshot_term,
        .truncate_from = ready->truncate_from,
        .entries = {entries, ready->append_count},
        .sequence = ready->sequence,
        .repairs = {repairs, ready->repairs_count},
    };
    address_t to = address_local (self->args->log.actor, 0);
    context_request (ctx, &to, &log_append_record, &append, LOG_TIMEOUT_MS);
    free (entries);
    free (repairs);
}

static void s_apply (election_t *self, context_t *ctx, const raft_ready_t *ready)
{
    election_committed (self, ctx, ready->committed, ready->committed_count);
    apply_entry_t *entries = raft_alloc (ready->committed_count * sizeof (apply_entry_t));
    for (size_t i = 0; i < ready->committed_count; i++) {
        const raft_entry_t *entry = &ready->committed[i];
        election_members_committed (self, entry);
        entries[i] = (apply_entry_t){
            .index = entry->index,
            .term = entry->term,
            .command = {raft_blob_data (entry->blob), raft_blob_size (entry->blob)},
        };
    }
    apply_t apply = {.entries = {entries, ready->committed_count}};
    address_t ledger = address_local ("ledger", 0);
    context_send (ctx, &ledger, &apply_record, &apply);
    free (entries);
}

static void s_send_all (election_t *self, context_t *ctx, const raft_ready_t *ready)
{
    for (size_t i = 0; i < ready->append_count; i++)
        election_admission_entry (self, &ready->append[i]);
    /* What one that the others refuse has to say is of no use to anybody. */
    for (size_t i = 0; i < ready->messages.count && !self->refused_as; i++) {
        const record_key_t *key = election_key (self, ready->messages.items[i].to);
        if (!key)
            continue;
        const raft_message_t *message = &ready->messages.items[i];
        s_sender_t sender = {
            .self = self, .ctx = ctx, .id = message->to, .to = address_remote (key, "election", 0)};
        election_encode (message, s_send, &sender);
        if (message->type == RAFT_MSG_HEARTBEAT)
            timeouts_sent (&self->timeouts, message->to, message->context, context_now (ctx));
    }
}

static void s_finish (election_t *self, context_t *ctx, raft_ready_t *ready)
{
    if (ready->sequence)
        s_write (self, ctx, ready);
    if (ready->committed_count)
        s_apply (self, ctx, ready);
    if (ready->reads_count)
        election_reads_answered (self, ctx, ready->reads, ready->reads_count);
    if (ready->offer.index)
        election_offer (self, ctx, &ready->offer);
    raft_ready_clear (ready);
}

/*  A leader's entries shall be on their way before its own disk begins with them (thesis 10.2.1):
    the link, which shares our thread, has its turn first, then this message brings ours. */
static void s_carry_out (election_t *self, context_t *ctx, raft_ready_t *ready)
{
    s_send_all (self, ctx, ready);
    if (ready->soft.role == RAFT_LEADER && ready->sequence && ready->messages.count) {
        self->begun = *ready;
        context_send (ctx, context_self (ctx), &done_record, &(done_t){0});
    } else
        s_finish (self, ctx, ready);
}

static void s_tell (election_t *self, context_t *ctx)
{
    const raft_status_t *status = &self->status;
    const record_key_t *key = election_key (self, status->soft.leader);
    leadership_t now = {
        .term = status->hard.term,
        .leading = status->settled,
        .commit = status->hard.commit,
        .last = status->last,
        .standing = (int)election_standing (self, election_now_ms (ctx)),
    };
    if (key)
        now.leader = *key;
    bool moved = now.term != self->told.term || now.leading != self->told.leading ||
                 memcmp (&now.leader, &self->told.leader, sizeof (record_key_t)) != 0;
    bool changed = moved || now.standing != self->told.standing;
    self->told = now;
    if (!changed)
        return;
    if (moved && key)
        log_info (context_log (ctx), "leader", LOG_UINT ("term", now.term),
                  LOG_NODE ("leader", key), LOG_INT ("leading", now.leading));
    else if (moved)
        log_info (context_log (ctx), "no leader", LOG_UINT ("term", now.term));
    for (size_t i = 0; i < self->subscribers_count; i++)
        context_send (ctx, &self->subscribers[i], &leadership_record, &now);
}

/*  Says once that the disk has lost something, and once that it is there again. */
static void s_tell_damage (election_t *self, context_t *ctx)
{
    uint64_t damaged = self->status.damaged;
    if (damaged && !self->damaged)
        log_error (context_log (ctx),
                   raft_conf (self->raft)->voters.count > 1
                       ? "an entry of the Raft log can't be read: until it is fetched from the "
                         "leader this master doesn't vote or lead; check the disk"
                       : "an entry of the Raft log can't be read, and there is no other master to "
                         "fetch it from: this one can't lead; restore a backup",
                   LOG_UINT ("entry", damaged));
    else if (!damaged && self->damaged)
        log_warning (context_log (ctx), "the Raft log is whole again: this master votes and leads",
                     LOG_UINT ("entry", self->damaged));
    self->damaged = damaged;
}

/*  Going on would answer with another state than the others, or count for what isn't there. */
static void s_check_contradiction (election_t *self, context_t *ctx)
{
    nexus_error_t error;
    if (!self->status.contradicted && !self->status.forgotten)
        return;
    if (self->status.forgotten)
        nexus_error_set (&error, NEXUS_CORRUPT,
                         "this master acknowledged entry %" PRIu64 ", and its log ends before it, "
                         "at %" PRIu64
                         ": its directory is an older copy, or its disk lost what it had "
                         "flushed; " CONSENSUS_REPLACE_MASTER,
                         self->status.forgotten, self->status.last);
    else
        nexus_error_set (
            &error, NEXUS_CORRUPT,
            "entry %" PRIu64 " was committed here, and the leader has another one there: a "
            "master has lost what it had acknowledged (rot, an old copy of its disk). Keep "
            "a copy of this one's directory, it may hold what the others lack; "
            "then " CONSENSUS_REPLACE_MASTER,
            self->status.contradicted);
    self->failed = true;
    context_fail (ctx, &error);
}

static void s_measure (const election_t *self)
{
    const raft_status_t *status = &self->status;
    metric_set (self->term_metric, (double)status->hard.term);
    metric_set (self->leader_metric, status->soft.role == RAFT_LEADER);
    metric_set (self->commit_metric, (double)status->hard.commit);
    metric_set (self->applied_metric, (double)status->applied);
    metric_set (self->elections_metric, (double)status->elections);
    metric_set (self->anomalies_metric, (double)status->anomalies);
    metric_set (self->stalls_metric, (double)status->disk_stalls);
    metric_set (self->damaged_metric, (double)status->damaged);
    metric_set (self->timeout_metric, (double)status->election_timeout_ms / 1e3);
}

/*  A leader fits the timeouts to what it measures, once a heartbeat. */
static void s_adapt (election_t *self, context_t *ctx)
{
    bool led = self->status.soft.role == RAFT_LEADER;
    raft_status (self->raft, &self->status);
    if (led && self->status.soft.role != RAFT_LEADER)
        election_measure_peers (self, ctx);
    if (self->status.soft.role != RAFT_LEADER)
        return;
    int64_t now_ms = election_now_ms (ctx), current_ms = self->status.election_timeout_ms;
    if (!led)
        timeouts_forget (&self->timeouts, 0);
    else if (now_ms < self->adapt_ms)
        return;
    int64_t next_ms = timeouts_next_ms (&self->timeouts, context_now (ctx), current_ms,
                                        s_election_ms_min (self), s_election_ms_max (self));
    int64_t heartbeat_ms = timeouts_heartbeat_ms (next_ms);
    if (next_ms != current_ms || heartbeat_ms != self->status.heartbeat_ms)
        raft_set_timeouts (self->raft, next_ms, heartbeat_ms);
    self->adapt_ms = now_ms + heartbeat_ms;
    if (now_ms >= self->measure_ms) {
        self->measure_ms = now_ms + MEASURE_MS;
        election_measure_peers (self, ctx);
    }
}

static void s_settle (void *state, context_t *ctx)
{
    election_t *self = state;
    if (!self->raft || self->failed)
        return;
    raft_ready_t ready;
    if (self->begun.sequence)
        s_finish (self, ctx, &self->begun);
    raft_tick (self->raft, election_now_ms (ctx));
    raft_status (self->raft, &self->status);
    election_members_check (self, ctx);
    election_requests_check (self, ctx);
    raft_hurry (self->raft, self->reads_count > 0);
    while (!self->begun.sequence && raft_ready (self->raft, &ready))
        s_carry_out (self, ctx, &ready);
    s_adapt (self, ctx);
    raft_status (self->raft, &self->status);
    election_requests_check (self, ctx);
    s_tell_damage (self, ctx);
    s_check_contradiction (self, ctx);
    s_tell (self, ctx);
    s_measure (self);
    int64_t deadline_ms = raft_deadline_ms (self->raft);
    int64_t requests_ms = election_requests_deadline_ms (self);
    if (requests_ms < deadline_ms)
        deadline_ms = requests_ms;
    s_arm (self, ctx, deadline_ms);
}

const behaviour_t election_behaviour = {
    .name = "election",
    .state_size = sizeof (election_t),
    .start = s_start,
    .receive = s_receive,
    .timer = s_timer,
    .settle = s_settle,
    .stop = s_stop,
};
