/*  masters_checks - the invariants of consensus, after every step

    Each check looks at what the last step changed, so that a step costs the same
    however long the history is. Raft's safety properties are those of Ongaro's
    thesis, figure 3.2. */
#include "actors/simulation/masters_private.h"

#include "actors/election/election_private.h"
#include "actors/election/raft_core.h"
#include "actors/protocol/snapshot.h"
#include "storage/crc32c.h"
#include "storage/raft_log_actor.h"
#include "storage/tables.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define U(number) ((unsigned long long)(number))

static const election_t *election_of (masters_t *self, const machine_t *machine)
{
    const election_t *election = simulator_state (self->sim, machine->number, "election", 0);
    return election && election->raft && !election->failed ? election : NULL;
}

static truth_t *truth_at (masters_t *self, uint64_t index)
{
    if (index >= self->truth_room) {
        size_t room = index * 2 + 1024;
        self->truth = raft_realloc (self->truth, room * sizeof *self->truth);
        memset (self->truth + self->truth_room, 0, (room - self->truth_room) * sizeof (truth_t));
        self->truth_room = room;
    }
    return &self->truth[index];
}

static uint64_t hash_data (const void *data, size_t size)
{
    /* 0 is "not known". */
    return ((uint64_t)crc32c (0, data, size) << 24 ^ size) | UINT64_C (1) << 63;
}

/*  ---- log matching -------------------------------------------------------------- */

static seen_t *seen_find (const masters_t *self, uint64_t index, uint64_t term)
{
    uint64_t mask = self->seen_room - 1;
    uint64_t place = (index * UINT64_C (0x9e3779b97f4a7c15) ^ term * UINT64_C (0xc2b2ae3d27d4eb4f));
    place ^= place >> 29;
    while (self->seen[place & mask].index &&
           (self->seen[place & mask].index != index || self->seen[place & mask].term != term))
        place++;
    return &self->seen[place & mask];
}

static void seen_grow (masters_t *self)
{
    seen_t *old = self->seen;
    size_t room = self->seen_room;
    self->seen_room = room ? room * 2 : 4096;
    self->seen = calloc (self->seen_room, sizeof (seen_t));
    assert (self->seen);
    for (size_t i = 0; i < room; i++)
        if (old[i].index)
            *seen_find (self, old[i].index, old[i].term) = old[i];
    free (old);
}

/*  Same index and term: same data, and the same before it; so, by induction, are whole logs. */
static void check_entry (masters_t *self, const machine_t *machine, const log_entry_t *entry,
                         uint64_t previous_term)
{
    if (self->seen_count * 2 >= self->seen_room)
        seen_grow (self);
    uint64_t hash = hash_data (entry->data.data, entry->data.size);
    seen_t *seen = seen_find (self, entry->index, entry->term);
    if (!previous_term && entry->index > 1) { /* that one can't be read */
        if (!seen->index)
            return;
        previous_term = seen->previous_term;
    }
    if (!seen->index) {
        *seen = (seen_t){entry->index, entry->term, previous_term, hash};
        self->seen_count++;
    } else if (seen->hash != hash || seen->previous_term != previous_term)
        masters_wrong (self,
                       "log matching: %s writes another entry %llu of term %llu than there was",
                       machine->name, U (entry->index), U (entry->term));
}

/*  A leader changes the masters only once it has committed something in its term; the founding
    entry is that itself. */
static void check_change (masters_t *self, const machine_t *machine, const raft_t *raft,
                          const log_entry_t *entry)
{
    if (entry->type != RAFT_ENTRY_CONFIG || entry->index == 1 || raft->role != RAFT_LEADER ||
        entry->term != raft->term ||
        raft_journal_term (&raft->journal, raft->journal.committed) == raft->term)
        return;
    masters_wrong (self, "%s changes the masters in term %llu, in which nothing is committed yet",
                   machine->name, U (raft->term));
}

static void check_append (masters_t *self, machine_t *machine, const log_append_t *append)
{
    const election_t *election = election_of (self, machine);
    const simulated_log_state_t *disk = &machine->log.state;
    if (append->term < disk->term ||
        (append->term == disk->term && disk->vote && append->vote != disk->vote))
        masters_wrong (self, "%s goes back from term %llu, vote %llx to term %llu, vote %llx",
                       machine->name, U (disk->term), U (disk->vote), U (append->term),
                       U (append->vote));
    if (append->commit < disk->commit)
        masters_wrong (self, "%s goes back from commit %llu to %llu", machine->name,
                       U (disk->commit), U (append->commit));
    if (append->snapshot_index > simulated_store_durable (&machine->store))
        masters_wrong (self, "%s begins its log behind %llu, and no copy of the ledger covers that",
                       machine->name, U (append->snapshot_index));
    if (append->snapshot_index && truth_at (self, append->snapshot_index)->term &&
        truth_at (self, append->snapshot_index)->term != append->snapshot_term)
        masters_wrong (self,
                       "%s begins its log behind entry %llu of term %llu, which is of term %llu",
                       machine->name, U (append->snapshot_index), U (append->snapshot_term),
                       U (truth_at (self, append->snapshot_index)->term));
    if (append->truncate_from && append->truncate_from <= machine->commit)
        masters_wrong (self, "%s truncates from %llu, and %llu was committed", machine->name,
                       U (append->truncate_from), U (machine->commit));
    for (size_t i = 0; i < append->entries.count && election; i++) {
        const log_entry_t *entry = &append->entries.items[i];
        uint64_t previous = i ? append->entries.items[i - 1].term
                              : raft_journal_term (&election->raft->journal, entry->index - 1);
        check_entry (self, machine, entry, previous);
        check_change (self, machine, election->raft, entry);
    }
}

/*  ---- committed ------------------------------------------------------------------ */

static machine_t *machine_of (masters_t *self, uint64_t id)
{
    for (unsigned i = 0; i < self->machine_count; i++)
        if (election_id (&self->keys[i]) == id)
            return &self->machines[i];
    return NULL;
}

/*  No message takes longer. */
#define NEWS_NS MS_TO_NS (30000)

typedef struct {
    masters_t *world;
    uint64_t index, term;
} durable_t;

/*  1 if a crash at this moment would leave the entry on that master's disk. */
static uint64_t is_durable (uint64_t id, void *context)
{
    const durable_t *entry = context;
    machine_t *machine = machine_of (entry->world, id);
    if (!machine)
        return 0;
    simulated_log_state_t state = simulated_log_durable_state (&machine->log);
    uint64_t term;
    if (entry->index <= simulated_store_durable (&machine->store))
        return 1; /* a copy of the ledger has it */
    /* It had the entry, and said so; the news may still be on its way. */
    if (machine->wiped && entry->index <= machine->lost &&
        simulator_now (entry->world->sim) - machine->lost_ns < NEWS_NS)
        return 1;
    /* What rots later is no less durable than what a disk loses later. */
    return entry->index <= state.last &&
           (simulated_log_durable (&machine->log, entry->index, &term) ? term == entry->term
                                                                       : machine->rots);
}

static void check_majority (masters_t *self, const machine_t *machine, const raft_t *raft,
                            uint64_t index, uint64_t term)
{
    durable_t entry = {self, index, term};
    const raft_conf_state_t *conf = &machine->conf, *after = raft_conf (raft);
    /* One turn may see both: an entry committed, and then another configuration in force. */
    if (!quorum_joint_acked (&after->voters, &after->voters_outgoing, is_durable, &entry) &&
        (!conf->voters.count ||
         !quorum_joint_acked (&conf->voters, &conf->voters_outgoing, is_durable, &entry)))
        masters_wrong (
            self, "%s takes entry %llu of term %llu for committed, and no majority has it on disk",
            machine->name, U (index), U (term));
}

/*  What this master takes for committed since its last turn. */
static void check_commit (masters_t *self, machine_t *machine, const raft_t *raft)
{
    uint64_t commit = raft->journal.committed;
    if (commit < machine->commit)
        masters_wrong (self, "%s: the commit index goes back from %llu to %llu", machine->name,
                       U (machine->commit), U (commit));
    for (uint64_t index = machine->commit + 1; index <= commit; index++) {
        uint64_t term = raft_journal_term (&raft->journal, index);
        truth_t *truth = truth_at (self, index);
        if (!term)
            continue; /* a snapshot had it */
        if (!truth->term) {
            const seen_t *seen = seen_find (self, index, term);
            *truth = (truth_t){.term = term, .hash = seen->hash, .decided = raft->term};
        } else if (truth->term != term)
            masters_wrong (self,
                           "%s: entry %llu is of term %llu, and one of term %llu was committed",
                           machine->name, U (index), U (term), U (truth->term));
    }
    if (commit > self->committed) {
        check_majority (self, machine, raft, commit, truth_at (self, commit)->term);
        self->committed = commit;
        if (raft->role == RAFT_LEADER)
            masters_faults_leader (self, machine);
    }
    machine->commit = commit;
}

/*  Thesis 3.6.2: by counting, a leader commits entries of its own term, and others with them. One
    that has stepped down in this turn may have heard of them from those who knew. */
static void check_counted (masters_t *self, const machine_t *machine, const raft_t *raft)
{
    uint64_t commit = raft->journal.committed;
    if (raft->role == RAFT_LEADER && machine->led == raft->term && commit > machine->commit &&
        raft_journal_term (&raft->journal, commit) != raft->term)
        masters_wrong (self,
                       "%s leads in term %llu and commits entry %llu of term %llu by counting",
                       machine->name, U (raft->term), U (commit),
                       U (raft_journal_term (&raft->journal, commit)));
}

/*  What a master takes for durable is. */
static void check_durable (masters_t *self, machine_t *machine, const raft_t *raft)
{
    uint64_t index = raft->journal.durable;
    if (index == machine->durable)
        return;
    machine->durable = index;
    durable_t entry = {self, index, raft_journal_term (&raft->journal, index)};
    if (entry.term && !is_durable (raft->config.id, &entry))
        masters_wrong (self,
                       "%s takes entry %llu of term %llu for durable, and it is not on its disk",
                       machine->name, U (index), U (entry.term));
}

/*  What goes to the ledger. */
static void check_apply (masters_t *self, machine_t *machine, const apply_t *apply)
{
    const election_t *election = election_of (self, machine);
    for (size_t i = 0; i < apply->entries.count && election; i++) {
        const apply_entry_t *entry = &apply->entries.items[i];
        truth_t *truth = truth_at (self, entry->index);
        uint64_t hash = hash_data (entry->command.data, entry->command.size);
        if (machine->applied && entry->index != machine->applied + 1)
            masters_wrong (self, "%s applies entry %llu after %llu", machine->name,
                           U (entry->index), U (machine->applied));
        machine->applied = entry->index;
        durable_t durable = {self, entry->index, entry->term};
        if (!is_durable (election->raft->config.id, &durable))
            masters_wrong (self, "%s applies entry %llu of term %llu before that is on its disk",
                           machine->name, U (entry->index), U (entry->term));
        if (!truth->term) /* the check of this very turn comes later */
            *truth = (truth_t){.term = entry->term, .hash = hash, .decided = election->raft->term};
        if (truth->term != entry->term || (truth->hash && truth->hash != hash))
            masters_wrong (
                self, "%s applies another entry %llu (term %llu) than was committed (term %llu)",
                machine->name, U (entry->index), U (entry->term), U (truth->term));
    }
}

static bool same_set (const quorum_set_t *a, const quorum_set_t *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; i < a->count; i++)
        same = same && quorum_set_has (b, a->ids[i]);
    return same;
}

static unsigned missing_in (const quorum_set_t *set, const quorum_set_t *other)
{
    unsigned missing = 0;
    for (uint32_t i = 0; i < set->count; i++)
        missing += !quorum_set_has (other, set->ids[i]);
    return missing;
}

/*  From one configuration to the next, majorities overlap: at most one voter comes or goes, or
    those of before have a say (thesis 4.1 and 4.3). */
static void check_overlap (masters_t *self, const machine_t *machine, const raft_conf_state_t *next)
{
    const raft_conf_state_t *before = &self->conf;
    bool joint = next->voters_outgoing.count > 0, was_joint = before->voters_outgoing.count > 0;
    bool good = was_joint ? same_set (&before->voters, &next->voters)
                : joint   ? same_set (&before->voters, &next->voters_outgoing)
                          : missing_in (&before->voters, &next->voters) +
                                  missing_in (&next->voters, &before->voters) <=
                              1;
    if (before->voters.count && !good)
        masters_wrong (self, "%s: configuration %llu does not follow from the one before",
                       machine->name, U (self->conf_index));
    self->conf = *next;
}

/*  ---- leaders --------------------------------------------------------------------- */

static void check_complete (masters_t *self, const machine_t *machine, const raft_t *raft)
{
    uint64_t index = self->committed;
    while (index && truth_at (self, index)->decided >= raft->term)
        index--;
    uint64_t term = raft_journal_term (&raft->journal, index);
    /* An entry that its disk has altered can't be read, but it is not missing. */
    if (index && index >= raft_journal_first (&raft->journal) &&
        term != truth_at (self, index)->term &&
        !(term == 0 && machine->rots && index <= raft_journal_last (&raft->journal)))
        masters_wrong (self,
                       "leader completeness: %s leads in term %llu without entry %llu of term %llu",
                       machine->name, U (raft->term), U (index), U (truth_at (self, index)->term));
}

/*  Whoever is elected was preceded by leaders whose leases are over, at this very moment. */
static void check_leases_over (masters_t *self, const machine_t *machine, const raft_t *raft)
{
    for (unsigned i = 0; i < self->machine_count; i++) {
        const election_t *other = election_of (self, &self->machines[i]);
        if (!other || other->raft->role != RAFT_LEADER || other->raft->term >= raft->term)
            continue;
        raft_t now = *other->raft;
        now.now_ms = election_now_ms (simulator_context (self->sim, i, "election", 0));
        if (raft_lease_valid (&now))
            masters_wrong (self, "%s has a lease in term %llu, and %s is elected in term %llu",
                           self->machines[i].name, U (now.term), machine->name, U (raft->term));
    }
}

/*  A term begins with a candidate: nothing else may disturb a leader. */
static void check_term (masters_t *self, const machine_t *machine, const raft_t *raft)
{
    if (raft->term <= self->campaigned)
        return;
    if (raft->role == RAFT_CANDIDATE || raft->role == RAFT_LEADER)
        self->campaigned = raft->term;
    else
        masters_wrong (self, "%s is in term %llu, and nobody ever was a candidate in it",
                       machine->name, U (raft->term));
}

static void check_leader (masters_t *self, machine_t *machine, const raft_t *raft)
{
    if (raft->term >= self->leaders_room) {
        size_t room = raft->term * 2 + 64;
        self->leaders = raft_realloc (self->leaders, room * sizeof *self->leaders);
        memset (self->leaders + self->leaders_room, 0,
                (room - self->leaders_room) * sizeof *self->leaders);
        self->leaders_room = room;
    }
    uint64_t *leader = &self->leaders[raft->term];
    if (*leader == raft->config.id)
        return;
    if (*leader) {
        masters_wrong (self, "two leaders in term %llu: %s and %s", U (raft->term),
                       machine_of (self, *leader)->name, machine->name);
        return;
    }
    *leader = raft->config.id;
    if (self->terms < raft->term)
        self->terms = raft->term;
    check_complete (self, machine, raft);
    masters_faults_leader (self, machine);
    check_leases_over (self, machine, raft);
}

/*  While it lasts, this is certainly the only leader. */
static void check_lease (masters_t *self, const machine_t *machine, const raft_t *raft)
{
    if (!raft_lease_valid (raft))
        return;
    for (unsigned i = 0; i < self->machine_count; i++) {
        const election_t *other = election_of (self, &self->machines[i]);
        if (other && other->raft != raft && other->raft->role == RAFT_LEADER &&
            other->raft->term > raft->term)
            masters_wrong (self, "%s has a lease in term %llu, and %s leads in term %llu",
                           machine->name, U (raft->term), self->machines[i].name,
                           U (other->raft->term));
    }
}

/*  ---- promises ---------------------------------------------------------------------- */

static void check_vote (masters_t *self, machine_t *machine, const simulated_log_state_t *disk,
                        uint64_t term, const record_key_t *candidate)
{
    if (disk->term < term || (disk->term == term && disk->vote != election_id (candidate)))
        masters_wrong (self, "%s votes in term %llu before that is on its disk", machine->name,
                       U (term));
}

/*  Acknowledged: all up to there, as it is in this log, even after a crash. */
static void check_acknowledged (masters_t *self, machine_t *machine,
                                const simulated_log_state_t *disk, const consensus_t *answer)
{
    const election_t *election = election_of (self, machine);
    uint64_t index = answer->index, term = 0;
    /* What was asked in a term that is over may have been replaced since. */
    if (!election || index == 0 || index <= simulated_store_durable (&machine->store) ||
        answer->term < election->raft->term)
        return;
    if (disk->term < answer->term || disk->last < index ||
        (simulated_log_durable (&machine->log, index, &term)
             ? term != raft_journal_term (&election->raft->journal, index)
             : !machine->rots))
        masters_wrong (self, "%s acknowledges entry %llu in term %llu before that is on its disk",
                       machine->name, U (index), U (answer->term));
}

static void check_promise (masters_t *self, machine_t *machine, const message_t *message)
{
    const consensus_t *sent = message->body;
    if (sent->reject || (sent->type != RAFT_MSG_APP_RESP && sent->type != RAFT_MSG_VOTE &&
                         sent->type != RAFT_MSG_VOTE_RESP))
        return;
    simulated_log_state_t disk = simulated_log_durable_state (&machine->log);
    if (sent->type == RAFT_MSG_APP_RESP)
        check_acknowledged (self, machine, &disk, sent);
    else
        check_vote (self, machine, &disk, sent->term,
                    sent->type == RAFT_MSG_VOTE ? &self->keys[machine->number] : &message->to.node);
}

/*  ---- the ledger ----------------------------------------------------------------------- */

static void check_ledger (masters_t *self, machine_t *machine)
{
    nexus_error_t error;
    tables_txn_t *txn = tables_begin (machine->tables, false, &error);
    assert (txn);
    uint64_t index = ledger_number (txn, LEDGER_APPLIED);
    tables_abort (&txn);
    truth_t *truth = truth_at (self, index);
    uint64_t hash = tables_memory_hash (machine->tables);
    if (!truth->ledger)
        truth->ledger = hash;
    else if (truth->ledger != hash)
        masters_wrong (self, "%s: the ledger at index %llu differs from another master's",
                       machine->name, U (index));
}

static void check_compact (masters_t *self, const machine_t *machine, const log_compact_t *compact)
{
    uint64_t copy = simulated_store_durable (&machine->store);
    if (compact->index > copy)
        masters_wrong (self,
                       "%s compacts its log up to %llu, and its copy of the ledger covers %llu",
                       machine->name, U (compact->index), U (copy));
}

/*  The next entry that it applies is the one behind the copy. */
static void take_restore (masters_t *self, machine_t *machine, const ledger_restore_t *restore)
{
    self->restored++;
    if (machine->applied < restore->index)
        machine->applied = restore->index;
}

/*  A master never shows less than it has shown before. */
static void check_shown (masters_t *self, machine_t *machine, const kv_got_t *got)
{
    if (got->index < machine->shown)
        masters_wrong (self, "%s shows index %llu after %llu", machine->name, U (got->index),
                       U (machine->shown));
    machine->shown = got->index;
}

/*  ---- all ------------------------------------------------------------------------------- */

void masters_check_sent (masters_t *self, machine_t *machine, const message_t *message)
{
    if (message->kind == &consensus_record)
        check_promise (self, machine, message);
    else if (message->kind == &log_append_record)
        check_append (self, machine, message->body);
    else if (message->kind == &apply_record)
        check_apply (self, machine, message->body);
    else if (message->kind == &log_compact_record)
        check_compact (self, machine, message->body);
    else if (message->kind == &ledger_restore_record)
        take_restore (self, machine, message->body);
    else if (message->kind == &kv_got_record)
        check_shown (self, machine, message->body);
}

void masters_check_turn (masters_t *self, machine_t *machine, const char *actor)
{
    if (strcmp (actor, "ledger") == 0) {
        check_ledger (self, machine);
        return;
    }
    if (strcmp (actor, "election") != 0)
        return;
    const election_t *election = election_of (self, machine);
    if (!election)
        return;
    check_term (self, machine, election->raft);
    if (election->raft->contradicted)
        masters_wrong (self, "%s has committed entry %llu, and the leader has another one there",
                       machine->name, U (election->raft->contradicted));
    if (election->raft->forgotten)
        masters_wrong (self, "%s has acknowledged entry %llu, and does not have it", machine->name,
                       U (election->raft->forgotten));
    check_durable (self, machine, election->raft);
    check_counted (self, machine, election->raft);
    check_commit (self, machine, election->raft);
    if (machine->conf_index != election->conf.index || !machine->conf.voters.count) {
        machine->conf_index = election->conf.index;
        if (self->conf_index < election->conf.index) {
            self->conf_index = election->conf.index;
            self->changes++;
            check_overlap (self, machine, raft_conf (election->raft));
        }
        machine->conf = *raft_conf (election->raft);
    }
    machine->led = election->raft->role == RAFT_LEADER ? election->raft->term : 0;
    if (election->raft->role == RAFT_LEADER) {
        check_leader (self, machine, election->raft);
        check_lease (self, machine, election->raft);
    }
}

void masters_check_boot (masters_t *self, machine_t *machine)
{
    (void)self;
    machine->commit = machine->applied = machine->shown = 0;
    machine->conf = (raft_conf_state_t){.auto_leave = false};
    machine->durable = machine->led = 0;
}
