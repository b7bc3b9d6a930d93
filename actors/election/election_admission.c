/*  election_admission - whose messages count: those of the logs that are on record

    A master that lost its disk comes back with its key, but without what it promised:
    it could vote twice in a term, or make others believe that an entry is on a majority's
    disks that isn't on its own any more. So each log has an incarnation, drawn when it was
    made; the configuration in the ledger records which master has which; and every message
    says which one its sender has, and which one it has on record of the receiver.

    - Whose incarnation is another one than is on record is not listened to, by anybody.
    - A log that has an entry has the record: the first entry of a cluster is the founding
      one, with the incarnations of all. So whoever has a log knows whom to believe.
    - Whoever has nothing (an empty log and ledger) can't know whether it is new, or has lost
      everything. It votes for those who have it on record. It takes part in the founding only
      if all the founders say, to it as it is now, that they have nothing either. (If one of
      them had voted or acknowledged before it lost its disk, then the others who counted that
      either know the new log and not the old one, or aren't without a log any more.)

    A master that is not on record (it came later, or the cluster is older than this) is
    listened to, and recorded by the leader; it becomes a voter only then.
*/
#include "actors/election/election_private.h"
#include "actors/protocol/command.h"
#include "storage/raft_log_actor.h"

#include <inttypes.h>
#include <string.h>

/*  Between two complaints about the same. */
enum { COMPLAIN_MS = 60000 };

static bool s_same_key (const record_key_t *a, const record_key_t *b)
{
    return memcmp (a, b, sizeof (*a)) == 0;
}

static election_peer_t *s_peer (election_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->peers_count; i++)
        if (self->peers[i].id == id)
            return &self->peers[i];
    return NULL;
}

uint64_t election_on_record (const election_t *self, const record_key_t *key)
{
    /* Until the ledger has the founding entry, the log has it. */
    const conf_member_t *members = self->conf.index ? self->members : self->founders;
    size_t count = self->conf.index ? self->conf.members.count : self->founders_count;
    for (size_t i = 0; i < count; i++)
        if (s_same_key (&members[i].key, key))
            return members[i].incarnation;
    return 0;
}

bool election_has_nothing (const election_t *self)
{
    return raft_is_empty (self->raft);
}

standing_t election_standing (const election_t *self, int64_t now_ms)
{
    if (self->refused_as)
        return STANDING_REFUSED;
    if (self->removed)
        return STANDING_OUTSIDE;
    if (election_has_nothing (self))
        return self->args->join             ? STANDING_JOINING
               : now_ms < self->stranger_ms ? STANDING_STRANGE
                                            : STANDING_FOUNDING;
    /* Whoever has a leader may be one that only has to read on. */
    bool outside = self->conf.index && !self->status.soft.leader &&
                   !election_is_member (raft_conf (self->raft), self->id);
    return outside ? STANDING_OUTSIDE : STANDING_MEMBER;
}

uint64_t election_expected (election_t *self, uint64_t id)
{
    const election_peer_t *peer = s_peer (self, id);
    if (!peer)
        return 0;
    /* Who has read but a part of the log may have an older record of it than it says that there is. */
    if (election_has_nothing (self) || peer->record_index > self->conf.index)
        return peer->heard;
    return election_on_record (self, &peer->key);
}

/*  ---- founding ------------------------------------------------------------ */

/*  All founders are there, have nothing, and know this master as it is now. */
static bool s_founders_are_ready (election_t *self)
{
    if (self->args->join)
        return false;
    for (size_t i = 0; i < self->args->masters_count; i++) {
        const election_peer_t *peer = s_peer (self, election_id (&self->args->masters[i]));
        if (peer->id != self->id && !(peer->heard && peer->has_nothing && peer->knows_us))
            return false;
    }
    return true;
}

static bool s_founds (const election_t *self)
{
    return self->args->records && self->incarnation;
}

uint64_t election_incarnation (election_t *self, uint64_t id)
{
    const election_peer_t *peer = s_peer (self, id);
    if (id == self->id)
        return self->incarnation;
    uint64_t recorded = peer ? election_on_record (self, &peer->key) : 0;
    return recorded || !peer ? recorded : peer->heard;
}

/*  An entry of the log: is it the founding one? */
void election_admission_entry (election_t *self, const raft_entry_t *entry)
{
    const uint8_t *bytes = raft_blob_data (entry->blob);
    size_t size = raft_blob_size (entry->blob);
    change_masters_t command;
    nexus_error_t error;
    arena_t arena;
    if (entry->index != 1)
        return;
    self->founders_count = 0; /* another leader's entry may have taken its place */
    if (entry->type != RAFT_ENTRY_CONFIG || size < 2 ||
        (bytes[0] << 8 | bytes[1]) != change_masters_record.id)
        return;
    arena_init (&arena, 0, NULL, 0);
    if (record_decode (&change_masters_record, bytes + 2, size - 2, &arena, &command, &error) == 0)
        for (size_t i = 0;
             i < command.conf.members.count && self->founders_count < QUORUM_MEMBERS_MAX; i++)
            self->founders[self->founders_count++] = command.conf.members.items[i];
    arena_reset (&arena);
}

/*  The own incarnation, as this master's own record has it. */
static uint64_t s_own_record (const election_t *self)
{
    const record_key_t *key = election_key (self, self->id);
    return key ? election_on_record (self, key) : 0;
}

/*  ---- sending ------------------------------------------------------------- */

void election_admission_mark (election_t *self, uint64_t to, consensus_t *record)
{
    record->incarnation = self->incarnation;
    record->expected = election_expected (self, to);
    record->has_nothing = election_has_nothing (self);
    record->record_index = s_own_record (self) == self->incarnation ? self->conf.index : 0;
}

/*  To one that doesn't know this master as it is now, or that is to know that it is known: a
    vote that is refused says nothing else. */
static void s_greet (election_t *self, context_t *ctx, const election_peer_t *peer)
{
    uint64_t term = self->status.hard.term;
    consensus_t record = {.type = RAFT_MSG_PRE_VOTE_RESP,
                          .term = term ? term : 1,
                          .reject = true,
                          .cluster = self->conf.cluster};
    address_t to = address_remote (&peer->key, "election", 0);
    election_admission_mark (self, peer->id, &record);
    context_send (ctx, &to, &consensus_record, &record);
}

void election_admission_greet (election_t *self, context_t *ctx, uint64_t id)
{
    if (!self->raft || !s_founds (self) || !election_has_nothing (self))
        return;
    for (size_t i = 0; i < self->peers_count; i++)
        if (self->peers[i].id != self->id && (id == 0 || self->peers[i].id == id))
            s_greet (self, ctx, &self->peers[i]);
}

/*  ---- receiving ----------------------------------------------------------- */

static void s_refuse_peer (election_t *self, context_t *ctx, election_peer_t *peer,
                           uint64_t incarnation)
{
    self->refusals++;
    peer->refused = true;
    if (election_now_ms (ctx) < peer->complain_ms)
        return;
    peer->complain_ms = election_now_ms (ctx) + COMPLAIN_MS;
    log_error (context_log (ctx),
               "a master comes with another log than is on record: its disk was lost or replaced. "
               "It is not listened to; " CONSENSUS_REPLACE_MASTER,
               LOG_NODE ("master", &peer->key),
               LOG_UINT ("on_record", election_on_record (self, &peer->key)),
               LOG_UINT ("its_log", incarnation));
}

static void s_be_refused (election_t *self, context_t *ctx, uint64_t expected)
{
    if (self->refused_as != expected)
        log_error (context_log (ctx),
                   "this master's log is not the one that the others have on record: its disk was "
                   "lost or replaced. Nothing that it says counts, and it "
                   "waits; " CONSENSUS_REPLACE_MASTER,
                   LOG_UINT ("on_record", expected), LOG_UINT ("its_log", self->incarnation));
    self->refused_as = expected;
}

void election_admission_begin (election_t *self, context_t *ctx)
{
    const raft_storage_t *log = &self->args->log.entries;
    raft_entry_t first = {.index = 0};
    if (log->first (log->self) == 1 && log->entries (log->self, 1, 2, SIZE_MAX, &first) == 1) {
        election_admission_entry (self, &first);
        raft_blob_release (first.blob);
    }
    election_found (self);
    election_admission_greet (self, ctx, 0);
}

/*  Takes down what the message says of its sender. */
static void s_hear (election_t *self, context_t *ctx, election_peer_t *peer,
                    const consensus_t *record)
{
    if (!raft_progress (self->raft, peer->id))
        return; /* when it is (again) a member, it may have another log */
    bool changed = peer->heard != record->incarnation;
    peer->refused = false;
    peer->heard = record->incarnation;
    peer->has_nothing = record->has_nothing;
    peer->record_index = record->record_index;
    peer->knows_us = record->expected == self->incarnation;
    if (changed && election_has_nothing (self)) {
        /* What its old log has voted for doesn't count for the new one. */
        raft_distrust (self->raft, peer->id);
        election_found (self);
    }
    if (s_founds (self) && election_has_nothing (self) && record->has_nothing &&
        (changed || !peer->knows_us))
        s_greet (self, ctx, peer);
}

static bool s_is_vote (uint64_t type)
{
    return type == RAFT_MSG_VOTE || type == RAFT_MSG_PRE_VOTE || type == RAFT_MSG_VOTE_RESP ||
           type == RAFT_MSG_PRE_VOTE_RESP || type == RAFT_MSG_TIMEOUT_NOW;
}

/*  Whoever has nothing: from whom does it take what? */
static bool s_admit_to_nothing (election_t *self, const consensus_t *record)
{
    bool greeting = record->type == RAFT_MSG_PRE_VOTE_RESP && record->reject;
    if (greeting && record->has_nothing)
        return false; /* it has been heard */
    if (!s_is_vote (record->type))
        return record->expected == 0 || record->expected == self->incarnation;
    if (!record->has_nothing)
        return record->expected == self->incarnation;
    return s_founders_are_ready (self);
}

static bool s_from_leader (uint64_t type)
{
    return type == RAFT_MSG_APP || type == RAFT_MSG_HEARTBEAT || type == RAFT_MSG_SNAP;
}

/*  The sender has this master's log for another one. True if it is the leader, and right. */
static bool s_knows_better (const election_t *self, const consensus_t *record)
{
    return s_from_leader (record->type) && !record->has_nothing &&
           s_own_record (self) != self->incarnation;
}

bool election_admit (election_t *self, context_t *ctx, uint64_t from, const consensus_t *record)
{
    election_peer_t *peer = s_peer (self, from);
    if (self->incarnation == 0)
        return true; /* a log that has none */
    uint64_t recorded = election_on_record (self, &peer->key);
    /* The record here may be old: one that has a later one, with its own log on it, was removed and
       let in again meanwhile. */
    if (recorded && recorded != record->incarnation && record->record_index <= self->conf.index) {
        s_refuse_peer (self, ctx, peer, record->incarnation);
        return false;
    }
    if (record->expected && record->expected != self->incarnation) {
        /* One that has nothing itself remembers a log that was here before, and learns. */
        if (s_knows_better (self, record))
            s_be_refused (self, ctx, record->expected);
        else
            s_hear (self, ctx, peer, record);
        return false;
    }
    s_hear (self, ctx, peer, record);
    if (s_from_leader (record->type) && !record->has_nothing)
        self->refused_as = 0; /* it was let in again meanwhile */
    if (self->refused_as)
        return false;
    return !election_has_nothing (self) || !(self->args->records || self->args->join) ||
           s_admit_to_nothing (self, record);
}
