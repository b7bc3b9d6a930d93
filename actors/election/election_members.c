/*  election_members - who takes part: keys, the configuration, and its changes

    The core knows numbers; what they stand for is kept here. A change is an entry of the
    log with a change_masters command: the ledger applies it like any other, and when it
    has done so without refusing it, the same configuration is put in force in the core.
    Since all ledgers decide alike, so do all elections. At the start the ledger says which
    configuration its tables hold; as long as it has none, the founders are the voters.
*/
#include "actors/election/confchange.h"
#include "actors/election/election_private.h"
#include "actors/protocol/command.h"
#include "actors/protocol/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*  Entries that a learner may lack of the leader's log when it becomes a voter: as one it could
    hold up decisions until it has them. */
enum { LAG_MAX = 4096 };

/*  A master that was heard of this long ago is within reach, whatever the election timeout. */
enum { REACH_MS = 1000 };

/*  ---- keys ---------------------------------------------------------------- */

uint64_t election_id (const record_key_t *key)
{
    uint64_t id = 0;
    for (int i = 0; i < 8; i++)
        id = id << 8 | key->bytes[i];
    return id;
}

const record_key_t *election_key (const election_t *self, uint64_t id)
{
    for (size_t i = 0; id && i < self->peers_count; i++)
        if (self->peers[i].id == id)
            return &self->peers[i].key;
    return NULL;
}

static bool s_same_key (const record_key_t *a, const record_key_t *b)
{
    return memcmp (a, b, sizeof (*a)) == 0;
}

bool election_is_member (const raft_conf_state_t *conf, uint64_t id)
{
    return quorum_set_has (&conf->voters, id) || quorum_set_has (&conf->voters_outgoing, id) ||
           quorum_set_has (&conf->learners, id);
}

/*  The place of one that takes no part (any more); NULL: all do. */
static election_peer_t *s_free_place (election_t *self)
{
    if (self->peers_count < ELECTION_PEERS_MAX)
        return &self->peers[self->peers_count++];
    for (size_t i = 0; self->raft && i < self->peers_count; i++)
        if (self->peers[i].id != self->id &&
            !election_is_member (raft_conf (self->raft), self->peers[i].id))
            return &self->peers[i];
    return NULL;
}

bool election_meet (election_t *self, const record_key_t *key)
{
    uint64_t id = election_id (key);
    const record_key_t *known = election_key (self, id);
    if (known || id == 0)
        return known && s_same_key (known, key);
    election_peer_t *peer = s_free_place (self);
    if (peer)
        *peer = (election_peer_t){.id = id, .key = *key};
    return peer != NULL;
}

/*  ---- the configuration, as a record and in the core ------------------------ */

static conf_member_t *s_member (election_t *self, cluster_conf_t *conf, uint64_t id)
{
    const record_key_t *key = election_key (self, id);
    assert (key); /* each member's key was learnt with the member */
    for (size_t i = 0; i < conf->members.count; i++)
        if (s_same_key (&conf->members.items[i].key, key))
            return &conf->members.items[i];
    assert (conf->members.count < ELECTION_MEMBERS_MAX);
    conf->members.items[conf->members.count] =
        (conf_member_t){.key = *key, .incarnation = election_incarnation (self, id)};
    return &conf->members.items[conf->members.count++];
}

/*  members: room for ELECTION_MEMBERS_MAX. */
static void s_encode (election_t *self, const raft_conf_state_t *state, conf_member_t *members,
                      cluster_conf_t *conf)
{
    *conf = (cluster_conf_t){
        .cluster = self->conf.cluster, .auto_leave = state->auto_leave, .members = {members, 0}};
    for (uint32_t i = 0; i < state->voters.count; i++)
        s_member (self, conf, state->voters.ids[i])->voter = true;
    for (uint32_t i = 0; i < state->voters_outgoing.count; i++)
        s_member (self, conf, state->voters_outgoing.ids[i])->outgoing = true;
    for (uint32_t i = 0; i < state->learners.count; i++)
        s_member (self, conf, state->learners.ids[i])->learner = true;
    for (uint32_t i = 0; i < state->learners_next.count; i++)
        s_member (self, conf, state->learners_next.ids[i])->learner = true;
}

/*  False if it makes no sense. */
static bool s_decode (const cluster_conf_t *conf, raft_conf_state_t *state)
{
    *state = (raft_conf_state_t){.auto_leave = conf->auto_leave};
    bool fits = true;
    for (size_t i = 0; i < conf->members.count; i++) {
        const conf_member_t *member = &conf->members.items[i];
        uint64_t id = election_id (&member->key);
        if (member->voter)
            fits &= quorum_set_add (&state->voters, id);
        if (member->outgoing)
            fits &= quorum_set_add (&state->voters_outgoing, id);
        if (member->learner)
            fits &=
                quorum_set_add (member->outgoing ? &state->learners_next : &state->learners, id);
    }
    return fits && !tracker_conf_check (state);
}

/*  The cluster's number: the same for all who begin with these masters, in whatever order. */
static uint64_t s_cluster_number (const record_key_t *keys, size_t count)
{
    uint64_t number = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = UINT64_C (0xcbf29ce484222325); /* FNV-1a */
        for (size_t j = 0; j < sizeof (keys[i].bytes); j++)
            hash = (hash ^ keys[i].bytes[j]) * UINT64_C (0x100000001b3);
        number += hash;
    }
    return number | 1; /* never 0 */
}

/*  Keeps a copy of conf, whose members' keys are known from now on. */
static void s_keep (election_t *self, const cluster_conf_t *conf)
{
    assert (conf->members.count <= ELECTION_MEMBERS_MAX);
    self->conf = *conf;
    self->conf.members.items = self->members;
    if (conf->members.count)
        memmove (self->members, conf->members.items, conf->members.count * sizeof (conf_member_t));
    for (size_t i = 0; i < conf->members.count; i++)
        election_meet (self, &conf->members.items[i].key);
}

/*  Who is no member may come back with another log. */
static void s_forget_logs (election_t *self)
{
    for (size_t i = 0; i < self->peers_count; i++)
        if (!election_is_member (raft_conf (self->raft), self->peers[i].id))
            self->peers[i].heard = 0;
}

static bool s_fail (election_t *self, context_t *ctx, const char *text, uint64_t index)
{
    nexus_error_t error;
    nexus_error_set (&error, NEXUS_CORRUPT, "election: the configuration of index %" PRIu64 " %s",
                     index, text);
    self->failed = true;
    context_fail (ctx, &error);
    return false;
}

/*  ---- the start ------------------------------------------------------------- */

int election_members_start (election_t *self, context_t *ctx, nexus_error_t *error)
{
    const election_args_t *args = self->args;
    if (args->join)
        assert (args->masters_count == 0);
    else if (args->masters_count == 0 || args->masters_count > QUORUM_MEMBERS_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "election: %zu masters; 1 to %d can be",
                                args->masters_count, QUORUM_MEMBERS_MAX);
    self->id = election_id (context_node (ctx));
    bool own = args->join;
    for (size_t i = 0; i < args->masters_count; i++) {
        uint64_t id = election_id (&args->masters[i]);
        if (id == 0)
            return nexus_error_set (error, NEXUS_INVALID, "election: master %zu has no key", i);
        if (election_key (self, id))
            return nexus_error_set (error, NEXUS_INVALID,
                                    "election: master %zu has the same key as another one", i);
        election_meet (self, &args->masters[i]);
        own |= id == self->id;
    }
    if (!own)
        return nexus_error_set (error, NEXUS_INVALID,
                                "election: this node's key is not among the masters'");
    election_meet (self, context_node (ctx));
    return 0;
}

bool election_members_begin (election_t *self, context_t *ctx, const applied_t *applied,
                             raft_conf_state_t *ret_state)
{
    *ret_state = (raft_conf_state_t){.auto_leave = false};
    if (applied->conf.members.count) {
        s_keep (self, &applied->conf);
        return s_decode (&applied->conf, ret_state) ||
               s_fail (self, ctx, "makes no sense", applied->conf.index);
    }
    if (self->args->join)
        return true;
    for (size_t i = 0; i < self->args->masters_count; i++)
        quorum_set_add (&ret_state->voters, election_id (&self->args->masters[i]));
    self->conf.cluster = s_cluster_number (self->args->masters, self->args->masters_count);
    return true;
}

/*  ---- a change is committed, then applied ------------------------------------- */

static void s_forget_change (election_t *self)
{
    raft_blob_release (self->changes[0].blob);
    self->changes_count--;
    memmove (self->changes, self->changes + 1, self->changes_count * sizeof (election_change_t));
}

void election_members_committed (election_t *self, const raft_entry_t *entry)
{
    if (entry->type != RAFT_ENTRY_CONFIG || raft_blob_size (entry->blob) < 2)
        return;
    if (self->changes_count == self->changes_room) {
        self->changes_room = self->changes_room ? self->changes_room * 2 : 4;
        self->changes =
            raft_realloc (self->changes, self->changes_room * sizeof (election_change_t));
    }
    self->changes[self->changes_count++] =
        (election_change_t){.index = entry->index, .blob = raft_blob_retain (entry->blob)};
}

static void s_report (election_t *self, context_t *ctx, const raft_conf_state_t *before)
{
    const raft_conf_state_t *after = raft_conf (self->raft);
    log_info (context_log (ctx), "masters have changed", LOG_UINT ("index", self->conf.index),
              LOG_UINT ("voters", after->voters.count),
              LOG_UINT ("outgoing", after->voters_outgoing.count),
              LOG_UINT ("learners", after->learners.count));
    bool member = election_is_member (after, self->id);
    self->removed = !member && (self->removed || election_is_member (before, self->id));
    self->removal_told &= self->removed;
    if (self->removed)
        election_reads_refuse (self, ctx);
}

static void s_take_conf (election_t *self, context_t *ctx, const cluster_conf_t *conf)
{
    raft_conf_state_t state, before = *raft_conf (self->raft);
    s_keep (self, conf);
    if (!s_decode (conf, &state) || raft_configure (self->raft, &state) != RAFT_OK)
        s_fail (self, ctx, "makes no sense", conf->index);
    else
        s_report (self, ctx, &before);
    s_forget_logs (self);
}

static void s_take_change (election_t *self, context_t *ctx, const election_change_t *change)
{
    const uint8_t *bytes = raft_blob_data (change->blob);
    size_t size = raft_blob_size (change->blob);
    change_masters_t command;
    nexus_error_t error;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    if ((bytes[0] << 8 | bytes[1]) != change_masters_record.id ||
        record_decode (&change_masters_record, bytes + 2, size - 2, &arena, &command, &error))
        s_fail (self, ctx, "can't be read", change->index);
    else {
        command.conf.index = change->index;
        s_take_conf (self, ctx, &command.conf);
    }
    arena_reset (&arena);
}

/*  Once. Not of what was long ago, and is replayed: it may have been let in again since. */
static void s_tell_removal (election_t *self, context_t *ctx, uint64_t done)
{
    if (!self->removed || self->removal_told || done < self->hard.commit)
        return;
    self->removal_told = true;
    log_warning (
        context_log (ctx),
        "this master was removed from the cluster: stop it; its directory is of no use any "
        "more (unless it is being let in again)");
}

void election_members_applied (election_t *self, context_t *ctx, const applied_t *applied)
{
    uint64_t done = applied->done > applied->index ? applied->done : applied->index;
    while (self->changes_count && self->changes[0].index <= done && !self->failed) {
        const apply_result_t *result = election_result (applied, self->changes[0].index);
        if (result && result->code == NEXUS_OK)
            s_take_change (self, ctx, &self->changes[0]);
        s_forget_change (self);
    }
    /* The ledger has become another master's copy: what was decided up to there stands in it. */
    if (applied->conf.members.count && applied->conf.index > self->conf.index && !self->failed)
        s_take_conf (self, ctx, &applied->conf);
    s_tell_removal (self, ctx, done);
}

/*  ---- a change is asked for ------------------------------------------------------ */

static bool s_refuse (context_t *ctx, const message_t *message, nexus_code_t code,
                      const char *format, ...) __attribute__ ((format (printf, 4, 5)));
static bool s_refuse (context_t *ctx, const message_t *message, nexus_code_t code,
                      const char *format, ...)
{
    char text[300];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof (text), format, args);
    va_end (args);
    context_reply_failure (ctx, message, code, "%s", text);
    return false;
}

static const char *s_name (const master_op_t *op)
{
    return op->master.name && *op->master.name ? op->master.name : "that master";
}

static int64_t s_reach_ms (const election_t *self)
{
    int64_t reach_ms = 2 * self->status.election_timeout_ms;
    return reach_ms < REACH_MS ? REACH_MS : reach_ms;
}

bool election_within_reach (const election_t *self, uint64_t id)
{
    const tracker_progress_t *peer = raft_progress (self->raft, id);
    return id == self->id ||
           (peer && peer->heard_ms && self->now_ms - peer->heard_ms <= s_reach_ms (self));
}

/*  Who doesn't answer is only known when there was time for it. */
static bool s_leads_since_long (election_t *self)
{
    if (self->led_term != self->status.hard.term) {
        self->led_term = self->status.hard.term;
        self->led_since_ms = self->now_ms;
    }
    return self->now_ms - self->led_since_ms > s_reach_ms (self);
}

static int s_within_reach (uint64_t id, void *context)
{
    return election_within_reach (context, id) ? 1 : -1;
}

/*  May a learner become a voter? Only if it has (nearly) all of the log, and answers. */
static bool s_may_promote (election_t *self, context_t *ctx, const message_t *message,
                           const master_op_t *op)
{
    uint64_t id = election_id (&op->master.key);
    const tracker_progress_t *peer = raft_progress (self->raft, id);
    uint64_t lag = peer ? self->status.last - peer->match : 0;
    if (!peer)
        return s_refuse (ctx, message, NEXUS_NOT_FOUND,
                         "%s is no master of this cluster: add it as a learner first", s_name (op));
    if (!peer->learner || id == self->id)
        return true;
    if ((peer->match == 0 && !election_within_reach (self, id)) ||
        (self->incarnation && !election_on_record (self, &op->master.key)))
        return s_refuse (ctx, message, NEXUS_CONFLICT,
                         "learner %s has not answered yet: does it run, and is its endpoint right?",
                         s_name (op));
    if (peer->match == 0)
        return s_refuse (ctx, message, NEXUS_CONFLICT,
                         "learner %s has nothing yet, it gets the cluster's state: retry later",
                         s_name (op));
    if (lag > LAG_MAX)
        return s_refuse (ctx, message, NEXUS_CONFLICT,
                         "learner %s lags: it has entry %" PRIu64 ", the leader %" PRIu64
                         " (%" PRIu64 " more, %d may be missing): retry later",
                         s_name (op), peer->match, self->status.last, lag, LAG_MAX);
    if (!election_within_reach (self, id))
        return s_refuse (ctx, message, NEXUS_CONFLICT, "learner %s doesn't answer at the moment",
                         s_name (op));
    return true;
}

static bool s_may (election_t *self, context_t *ctx, const message_t *message,
                   const master_op_t *op)
{
    uint64_t id = election_id (&op->master.key);
    const record_key_t *known = election_key (self, id);
    bool member = election_is_member (raft_conf (self->raft), id);
    if (id == 0)
        return s_refuse (ctx, message, NEXUS_INVALID, "a master's key is missing");
    if (known && member && !s_same_key (known, &op->master.key))
        return s_refuse (ctx, message, NEXUS_CONFLICT,
                         "the key of %s begins like another master's: let it have a new one",
                         s_name (op));
    switch ((master_op_kind_t)op->op) {
    case MASTER_OP_LEARNER:
        if (!member && (!op->master.name || !*op->master.name))
            return s_refuse (ctx, message, NEXUS_INVALID, "a new master needs a name");
        return true;
    case MASTER_OP_VOTER:
        return s_may_promote (self, ctx, message, op);
    case MASTER_OP_REMOVE:
        return member || s_refuse (ctx, message, NEXUS_NOT_FOUND, "%s is no master of this cluster",
                                   s_name (op));
    }
    return s_refuse (ctx, message, NEXUS_INVALID, "there is no such operation");
}

/*  Works out what would be in force. */
static bool s_work_out (election_t *self, context_t *ctx, const message_t *message,
                        raft_conf_state_t *after)
{
    const master_change_t *request = message->body;
    const raft_conf_state_t *before = raft_conf (self->raft);
    confchange_op_t ops[MASTER_OPS_MAX];
    size_t count = request->changes.count;
    static const confchange_kind_t kinds[] = {[MASTER_OP_LEARNER] = CONFCHANGE_ADD_LEARNER,
                                              [MASTER_OP_VOTER] = CONFCHANGE_ADD_VOTER,
                                              [MASTER_OP_REMOVE] = CONFCHANGE_REMOVE};
    for (size_t i = 0; i < count; i++) {
        const master_op_t *op = &request->changes.items[i];
        if (!s_may (self, ctx, message, op))
            return false;
        ops[i] = (confchange_op_t){kinds[op->op], election_id (&op->master.key)};
    }
    const char *wrong =
        confchange (before, request->stay && count ? CONFCHANGE_JOINT_EXPLICIT : CONFCHANGE_AUTO,
                    ops, count, after);
    /*  What is in the way of a change may go; if nothing is, asking again is of no use. */
    bool passing = count == 0 || confchange_joint (before);
    if (wrong)
        return s_refuse (ctx, message, passing ? NEXUS_CONFLICT : NEXUS_INVALID,
                         "the masters can't be changed so: %s", wrong);
    if (confchange_equal (before, after))
        return s_refuse (ctx, message, NEXUS_EXISTS, "the masters are so already");
    if (quorum_joint_voted (&after->voters, &after->voters_outgoing, s_within_reach, self) !=
        QUORUM_WON)
        return s_refuse (ctx, message,
                         s_leads_since_long (self) ? NEXUS_CONFLICT : NEXUS_UNAVAILABLE,
                         "of the %" PRIu32 " masters that would vote then, too few answer now: "
                         "nothing could be decided any more",
                         after->voters.count);
    return true;
}

/*  The change as an entry's data. */
static raft_blob_t *s_command (election_t *self, const raft_conf_state_t *after,
                               const master_t *masters, size_t count)
{
    conf_member_t members[ELECTION_MEMBERS_MAX];
    change_masters_t command = {.base = self->conf.index,
                                .masters = {(master_t *)(uintptr_t)masters, count}};
    buffer_t bytes = {0};
    s_encode (self, after, members, &command.conf);
    command_encode (&change_masters_record, &command, &bytes);
    raft_blob_t *blob = raft_blob_new (bytes.data, bytes.size);
    buffer_free (&bytes);
    return blob;
}

/*  NULL, or why not; nothing was done then. */
static const char *s_propose (election_t *self, const raft_conf_state_t *after,
                              const master_t *masters, size_t count, uint64_t *ret_index,
                              uint64_t *ret_term)
{
    if (raft_propose (self->raft, RAFT_ENTRY_CONFIG, s_command (self, after, masters, count),
                      ret_index, ret_term) == RAFT_OK)
        return NULL;
    return self->status.changing
               ? "election: another change of the masters is under way, or the leader is new; "
                 "nothing was done: retry"
               : "election: leadership is being handed over, or too much waits for a majority's "
                 "disks; nothing was done: retry";
}

void election_found (election_t *self)
{
    if (!self->args->records || self->args->join || self->conf.index || !raft_is_empty (self->raft))
        return;
    raft_blob_t *blob =
        s_command (self, raft_conf (self->raft), self->args->records, self->args->masters_count);
    raft_set_founding (self->raft, blob);
    raft_blob_release (blob);
}

/*  Those who are new, as the ledger shall know them. */
static size_t s_new_masters (election_t *self, const master_change_t *request, master_t *masters)
{
    size_t count = 0;
    for (size_t i = 0; i < request->changes.count; i++) {
        const master_op_t *op = &request->changes.items[i];
        if (op->op != MASTER_OP_LEARNER ||
            election_is_member (raft_conf (self->raft), election_id (&op->master.key)))
            continue;
        masters[count] = op->master;
        masters[count].incarnation = 0; /* it says so itself when it is there */
        masters[count++].role = MASTER_LEARNER;
    }
    return count;
}

/*  This master is the leader, and shall vote no more: another one is to lead first, and does the
    rest. So nobody waits for an election, and no proposal is lost. */
static void s_hand_over_first (election_t *self, context_t *ctx, const message_t *message)
{
    if (self->leaving)
        s_refuse (ctx, message, NEXUS_UNAVAILABLE,
                  "election: leadership is being handed over, nothing was done: retry");
    else if (!election_hand_over (self))
        s_refuse (ctx, message, NEXUS_CONFLICT,
                  "this master leads, and no other voter is within reach to take over: nothing was "
                  "done");
    else
        self->leaving = message_retain ((message_t *)message);
}

static void s_change (election_t *self, context_t *ctx, const message_t *message)
{
    const master_change_t *request = message->body;
    raft_conf_state_t after;
    master_t masters[MASTER_OPS_MAX];
    uint64_t index, term;
    self->now_ms = election_now_ms (ctx);
    raft_status (self->raft, &self->status);
    s_leads_since_long (self);
    if (!s_work_out (self, ctx, message, &after))
        return;
    if (!quorum_set_has (&after.voters, self->id) &&
        quorum_set_has (&raft_conf (self->raft)->voters, self->id)) {
        s_hand_over_first (self, ctx, message);
        return;
    }
    for (size_t i = 0; i < request->changes.count; i++)
        if (!election_meet (self, &request->changes.items[i].master.key)) {
            s_refuse (ctx, message, NEXUS_EXHAUSTED, "too many masters");
            return;
        }
    size_t count = s_new_masters (self, request, masters);
    const char *why = s_propose (self, &after, masters, count, &index, &term);
    if (why)
        s_refuse (ctx, message, NEXUS_UNAVAILABLE, "%s", why);
    else
        election_wait_for_commit (self, message, index, term);
}

void election_change (election_t *self, context_t *ctx, const message_t *message)
{
    if (!self->raft)
        s_refuse (ctx, message, NEXUS_UNAVAILABLE,
                  "election: this master has just been started, nothing was done: retry");
    else if (raft_soft_state (self->raft).role != RAFT_LEADER)
        election_relay (self, ctx, message);
    else
        s_change (self, ctx, message);
}

/*  ---- what a leader does by itself ------------------------------------------------- */

/*  The configuration as it is, with the incarnations that are known; and the founders, if the
    ledger doesn't know them though the log isn't empty (an old one, or one that was restored). */
static void s_complete_conf (election_t *self)
{
    uint64_t index, term;
    const election_args_t *args = self->args;
    bool unknown = self->conf.index == 0 && args->records && !args->join, missing = false;
    for (size_t i = 0; i < self->conf.members.count; i++) {
        const conf_member_t *member = &self->members[i];
        missing |= member->incarnation == 0 &&
                   election_incarnation (self, election_id (&member->key)) != 0;
    }
    if (self->status.changing || self->status.soft.role != RAFT_LEADER || self->status.transferee)
        return;
    if (unknown)
        s_propose (self, raft_conf (self->raft), args->records, args->masters_count, &index, &term);
    else if (missing && self->conf.index && self->incarnation)
        s_propose (self, raft_conf (self->raft), NULL, 0, &index, &term);
}

static void s_leave_joint (election_t *self)
{
    raft_conf_state_t after;
    uint64_t index, term;
    if (!raft_leave_due (self->raft))
        return;
    const char *wrong = confchange_leave_joint (raft_conf (self->raft), &after);
    assert (!wrong);
    s_propose (self, &after, NULL, 0, &index, &term); /* refused for now: at the next turn */
}

/*  The change that waits for another leader. */
static void s_check_leaving (election_t *self, context_t *ctx)
{
    message_t *request = self->leaving;
    if (!request || self->status.transferee)
        return;
    if (self->status.soft.role == RAFT_LEADER)
        s_refuse (ctx, request, NEXUS_UNAVAILABLE,
                  "election: no other master took over in time, nothing was done: retry");
    else if (self->status.soft.leader == 0)
        return; /* until it is known who leads, or the request's time is over */
    else if (election_pass_on (self, ctx, request))
        request = NULL;
    else
        s_refuse (ctx, request, NEXUS_UNAVAILABLE,
                  "election: too many requests wait, nothing was done: retry later");
    self->leaving = NULL;
    if (request)
        message_release (&request);
}

void election_members_check (election_t *self, context_t *ctx)
{
    self->now_ms = election_now_ms (ctx);
    if (self->status.soft.role == RAFT_LEADER)
        s_leads_since_long (self); /* notes when it began */
    s_complete_conf (self);
    s_leave_joint (self);
    s_check_leaving (self, ctx);
}

void election_members_end (election_t *self, context_t *ctx)
{
    if (self->leaving) {
        s_refuse (ctx, self->leaving, NEXUS_UNAVAILABLE, "election: this master stops");
        message_release (&self->leaving);
    }
    while (self->changes_count)
        s_forget_change (self);
    free (self->changes);
}
