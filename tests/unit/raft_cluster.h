/*  raft_cluster - N Raft cores in one thread: virtual time, a network that can be cut, delayed
    and lossy, disks that hold writes back and forget them in a crash

    After each turn of a node the invariants of Raft are checked (figure 3.2 of the thesis),
    and on each message that it depends on nothing that isn't on the sender's disk.
*/
#pragma once

#include "actors/election/confchange.h"
#include "actors/election/raft_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER_NODES   7
#define CLUSTER_ENTRIES 20000
#define CLUSTER_TERMS   20000

typedef struct {
    uint64_t sequence;
    raft_hard_state_t hard;
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    uint64_t truncate_from;
    raft_entry_t *entries;
    size_t count;
    raft_entry_t *repairs;
    size_t repairs_count;
} cluster_write_t;

typedef struct {
    uint64_t id;
    raft_t *raft; /* NULL: crashed */
    raft_config_t config;
    /* The disk. */
    raft_hard_state_t hard;
    raft_entry_t *log; /* log[i] has index i + 1 */
    size_t log_count;
    bool rotten[CLUSTER_ENTRIES]; /* [i] has index i: it can't be read */
    uint64_t damaged;             /* the lowest one that a reader found */
    uint64_t reads_of_disk;
    uint64_t compacted; /* entries up to here can't be read any more */
    uint64_t applied;
    bool hold; /* writes wait for cluster_flush */
    cluster_write_t writes[4096];
    size_t writes_count;
    /* What came out. */
    raft_read_t reads[4096];
    size_t reads_count;
    uint64_t committed_seen;
    raft_offer_t offer;  /* the last one */
    uint64_t copy_index; /* the durable copy of the state machine */
    uint64_t copy_term;
    bool no_fetch; /* offers are not followed */
    uint64_t restores;
    uint64_t applied_while_writing; /* how often both came at once */
} cluster_node_t;

typedef struct {
    int64_t at_ms;
    raft_message_t message;
} cluster_packet_t;

typedef struct {
    uint32_t count;
    cluster_node_t nodes[CLUSTER_NODES + 1]; /* [0] is unused */
    int64_t now_ms;
    int fast_percent[CLUSTER_NODES + 1]; /* by how much a node's clock is faster */
    uint64_t random;
    cluster_packet_t *packets;
    size_t packets_count;
    size_t packets_capacity;
    bool cut[CLUSTER_NODES + 1][CLUSTER_NODES + 1];
    unsigned drop_percent;
    unsigned duplicate_percent;
    int64_t delay_ms_max; /* 0: messages arrive in the same millisecond, in order */
    uint64_t sent[RAFT_MSG_TYPES];
    bool (*intercept) (void *context, const raft_message_t *message); /* true: lost */
    void *intercept_context;
    /* The truth. */
    struct {
        uint64_t term;
        uint64_t value;
    } committed[CLUSTER_ENTRIES];
    uint64_t committed_last;
    uint64_t leaders[CLUSTER_TERMS];
    uint64_t changes; /* of the configuration, that were proposed */
} cluster_t;

static inline uint64_t cluster_random (cluster_t *self, uint64_t below)
{
    self->random = self->random * UINT64_C (6364136223846793005) + UINT64_C (1442695040888963407);
    return (self->random >> 33) % below;
}

static inline uint64_t cluster_value (const raft_entry_t *entry)
{
    uint64_t value = 0;
    if (raft_blob_size (entry->blob) >= sizeof (value))
        memcpy (&value, raft_blob_data (entry->blob), sizeof (value));
    return value;
}

/*  What a node's own clock says. */
static inline int64_t cluster_clock (const cluster_t *self, uint64_t id)
{
    return self->now_ms + self->now_ms * self->fast_percent[id] / 100;
}

/*  The lowest entry that can't be read, as a start finds it. */
static void s_disk_look (cluster_node_t *node)
{
    node->damaged = 0;
    for (uint64_t i = node->log_count; i > node->compacted; i--)
        if (node->rotten[i])
            node->damaged = i;
}

/*  A reader comes to an entry. */
static bool s_disk_readable (cluster_node_t *node, uint64_t index)
{
    if (!node->rotten[index])
        return true;
    if (!node->damaged || index < node->damaged)
        node->damaged = index;
    return false;
}

static uint64_t s_disk_damaged (void *self)
{
    return ((cluster_node_t *)self)->damaged;
}

/*  The disk as the core reads it. */
static uint64_t s_disk_first (void *self)
{
    return ((cluster_node_t *)self)->compacted + 1;
}

static uint64_t s_disk_last (void *self)
{
    return ((cluster_node_t *)self)->log_count;
}

static uint64_t s_disk_term (void *self, uint64_t index)
{
    cluster_node_t *node = self;
    node->reads_of_disk++;
    if (index < 1 || index < node->compacted || index > node->log_count)
        return 0;
    if (index > node->compacted && !s_disk_readable (node, index))
        return 0;
    return node->log[index - 1].term;
}

static size_t s_disk_entries (void *self, uint64_t lo, uint64_t hi, size_t bytes_max,
                              raft_entry_t *entries)
{
    cluster_node_t *node = self;
    size_t count = 0, bytes = 0;
    node->reads_of_disk++;
    if (lo <= node->compacted)
        return 0;
    for (uint64_t index = lo; index < hi && index <= node->log_count; index++) {
        bytes += raft_entry_bytes (&node->log[index - 1]);
        if ((count && bytes > bytes_max) || !s_disk_readable (node, index))
            break;
        entries[count] = node->log[index - 1];
        raft_blob_retain (entries[count++].blob);
    }
    return count;
}

static void s_disk_truncate (cluster_node_t *node, uint64_t last)
{
    while (node->log_count > last) {
        node->rotten[node->log_count] = false;
        raft_blob_release (node->log[--node->log_count].blob);
    }
    if (node->damaged > last)
        node->damaged = 0;
}

static void s_write_free (cluster_write_t *write)
{
    raft_entries_free (write->entries, write->count);
    raft_entries_free (write->repairs, write->repairs_count);
}

/*  Only what is damaged is put back, and only as it was, unless it goes anyway. */
static void s_disk_repair (cluster_node_t *node, const cluster_write_t *write)
{
    for (size_t i = 0; i < write->repairs_count; i++) {
        const raft_entry_t *entry = &write->repairs[i];
        assert_true (entry->index > node->compacted && entry->index <= node->log_count);
        raft_entry_t *own = &node->log[entry->index - 1];
        assert_true (node->rotten[entry->index]);
        assert_true (write->truncate_from == 0 || entry->index < write->truncate_from);
        if (entry->index <= node->hard.commit)
            assert_int_equal (own->term, entry->term);
        raft_blob_release (own->blob);
        *own = *entry;
        raft_blob_retain (own->blob);
        node->rotten[entry->index] = false;
    }
    if (write->repairs_count)
        s_disk_look (node);
    for (uint64_t i = 2; i <= node->log_count && write->repairs_count; i++)
        if (!write->truncate_from || i < write->truncate_from)
            assert_true (i <= node->compacted + 1 || node->rotten[i] || node->rotten[i - 1] ||
                         node->log[i - 2].term <= node->log[i - 1].term);
}

/*  Behind a copy of the state machine. */
static void s_disk_begin_anew (cluster_node_t *node, uint64_t index, uint64_t term)
{
    assert_true (index >= node->compacted);
    s_disk_truncate (node, 0);
    for (uint64_t i = 1; i <= index; i++)
        node->log[node->log_count++] = (raft_entry_t){.index = i, .term = i == index ? term : 0};
    node->compacted = index;
    if (node->hard.commit < index)
        node->hard.commit = index;
    if (node->hard.term < term)
        node->hard = (raft_hard_state_t){.term = term, .commit = node->hard.commit};
}

/*  The oldest write reaches the disk; the core isn't told yet. */
static uint64_t s_disk_write (cluster_node_t *node)
{
    cluster_write_t write = node->writes[0];
    node->writes_count--;
    memmove (node->writes, node->writes + 1, node->writes_count * sizeof (cluster_write_t));
    assert_true (write.hard.term >= node->hard.term);
    node->hard = write.hard;
    if (write.snapshot_index)
        s_disk_begin_anew (node, write.snapshot_index, write.snapshot_term);
    s_disk_repair (node, &write);
    if (write.truncate_from) {
        assert_true (write.truncate_from <= node->log_count);
        s_disk_truncate (node, write.truncate_from - 1);
    }
    for (size_t i = 0; i < write.count; i++) {
        assert_int_equal (write.entries[i].index, node->log_count + 1);
        assert_true (node->log_count < CLUSTER_ENTRIES);
        node->log[node->log_count] = write.entries[i];
        raft_blob_retain (node->log[node->log_count++].blob);
    }
    s_write_free (&write);
    return write.sequence;
}

/*  What a message promises must be on the sender's disk. */
static void s_check_durable (const cluster_node_t *node, const raft_message_t *message)
{
    switch (message->type) {
    case RAFT_MSG_VOTE:
        /* Later, if several writes became durable at once: then it is old news. */
        assert_true (node->hard.term >= message->term);
        if (node->hard.term > message->term)
            break;
        assert_int_equal (node->hard.vote, node->id);
        assert_true (node->log_count >= message->index);
        break;
    case RAFT_MSG_VOTE_RESP:
        assert_true (node->hard.term >= message->term);
        if (!message->reject && node->hard.term == message->term)
            assert_int_equal (node->hard.vote, message->to);
        break;
    case RAFT_MSG_PRE_VOTE:
        assert_int_equal (node->raft->damaged, 0);
        break;
    case RAFT_MSG_PRE_VOTE_RESP:
        assert_true (message->reject || !node->raft->damaged);
        break;
    case RAFT_MSG_APP_RESP:
        if (!message->reject && message->index && node->hard.term == message->term)
            assert_true (node->log_count >= message->index);
        if (!message->reject && node->raft->damaged)
            assert_true (message->index < node->raft->damaged);
        break;
    default:
        break;
    }
}

static void s_network_add (cluster_t *self, const raft_message_t *message)
{
    if (self->cut[message->from][message->to] || cluster_random (self, 100) < self->drop_percent ||
        (self->intercept && self->intercept (self->intercept_context, message)))
        return;
    if (self->packets_count == self->packets_capacity) {
        self->packets_capacity = self->packets_capacity ? self->packets_capacity * 2 : 64;
        self->packets =
            raft_realloc (self->packets, self->packets_capacity * sizeof (cluster_packet_t));
    }
    cluster_packet_t packet = {.at_ms = self->now_ms, .message = *message};
    if (self->delay_ms_max)
        packet.at_ms += (int64_t)cluster_random (self, (uint64_t)self->delay_ms_max + 1);
    packet.message.entries = NULL;
    if (message->entries_count) {
        packet.message.entries = raft_alloc (message->entries_count * sizeof (raft_entry_t));
        for (size_t i = 0; i < message->entries_count; i++) {
            packet.message.entries[i] = message->entries[i];
            raft_blob_retain (message->entries[i].blob);
        }
    }
    self->packets[self->packets_count++] = packet;
}

static void s_send (cluster_t *self, cluster_node_t *node, const raft_message_t *message)
{
    s_check_durable (node, message);
    assert_int_equal (message->from, node->id);
    self->sent[message->type]++;
    s_network_add (self, message);
    if (cluster_random (self, 100) < self->duplicate_percent)
        s_network_add (self, message);
}

/*  Committed entries are the same everywhere, forever (state machine safety). */
static void s_check_committed (cluster_t *self, uint64_t index, uint64_t term, uint64_t value)
{
    assert_true (index < CLUSTER_ENTRIES);
    if (index > self->committed_last) {
        assert_int_equal (index, self->committed_last + 1);
        self->committed_last = index;
        self->committed[index].term = term;
        self->committed[index].value = value;
    }
    assert_int_equal (self->committed[index].term, term);
    assert_int_equal (self->committed[index].value, value);
}

static void s_check_node (cluster_t *self, cluster_node_t *node)
{
    raft_status_t status;
    raft_status (node->raft, &status);
    assert_true (status.hard.commit <= status.last && status.applied <= status.hard.commit);
    assert_true (status.durable <= node->log_count);
    for (uint64_t i = node->committed_seen + 1; i <= status.hard.commit; i++) {
        raft_entry_t *entries;
        if (i < status.first || node->rotten[i])
            continue;
        assert_int_equal (raft_journal_entries (&node->raft->journal, i, i, 1, SIZE_MAX, &entries),
                          1);
        s_check_committed (self, i, entries[0].term, cluster_value (&entries[0]));
        raft_entries_free (entries, 1);
    }
    node->committed_seen = status.hard.commit;
    if (status.soft.role != RAFT_LEADER)
        return;
    assert_true (status.soft.term < CLUSTER_TERMS);
    uint64_t *leader = &self->leaders[status.soft.term];
    if (*leader == 0) {
        *leader = node->id;
        /* Leader completeness: a new leader has all that was ever committed. */
        assert_true (status.last >= self->committed_last);
        for (uint64_t i = status.first; i <= self->committed_last; i++)
            if (!node->rotten[i])
                assert_int_equal (raft_journal_term (&node->raft->journal, i),
                                  self->committed[i].term);
    }
    assert_int_equal (*leader, node->id); /* election safety */
}

/*  A configuration change as an entry: its value, and what shall be in force. */
typedef struct {
    uint64_t value;
    raft_conf_state_t conf;
} cluster_change_t;

/*  It takes effect when it is applied; the node's disk keeps it with what was applied. */
static void s_apply_config (cluster_node_t *node, const raft_entry_t *entry)
{
    if (raft_blob_size (entry->blob) != sizeof (cluster_change_t))
        return;
    cluster_change_t change;
    memcpy (&change, raft_blob_data (entry->blob), sizeof (change));
    node->config.conf_state = change.conf;
    assert_int_equal (raft_configure (node->raft, &change.conf), RAFT_OK);
}

/*  The copy that was offered is there: the log and the state machine become it. */
static inline raft_result_t cluster_restore (cluster_t *self, uint64_t id)
{
    cluster_node_t *node = &self->nodes[id];
    assert_true (node->offer.index <= self->committed_last);
    assert_int_equal (node->offer.term, self->committed[node->offer.index].term);
    raft_result_t result = raft_restore (node->raft, node->offer.index, node->offer.term);
    if (result != RAFT_OK)
        return result;
    assert_true (node->offer.index >= node->applied);
    node->applied = node->copy_index = node->offer.index;
    node->copy_term = node->offer.term;
    node->restores++;
    raft_applied (node->raft, node->applied);
    return result;
}

/*  A durable copy of the state machine as it is, and the log goes up to keep entries before. */
static inline void cluster_compact (cluster_t *self, uint64_t id, uint64_t keep)
{
    cluster_node_t *node = &self->nodes[id];
    if (node->applied > node->copy_index) {
        node->copy_index = node->applied;
        node->copy_term = self->committed[node->applied].term;
    }
    raft_set_snapshot (node->raft, node->copy_index, node->copy_term);
    /* The log can't be compacted beyond what it knows to be committed. */
    uint64_t to = node->copy_index < node->hard.commit ? node->copy_index : node->hard.commit;
    /* Nor can it begin behind an entry that can't be read. */
    if (to > keep && to - keep > node->compacted && !node->rotten[to - keep])
        node->compacted = to - keep;
    if (node->damaged && node->damaged <= node->compacted)
        s_disk_look (node);
}

/*  Its disk loses an entry. */
static inline void cluster_rot (cluster_t *self, uint64_t id, uint64_t index)
{
    cluster_node_t *node = &self->nodes[id];
    if (index > node->compacted && index <= node->log_count)
        node->rotten[index] = true;
}

/*  One ready of a node. */
static void s_carry_out (cluster_t *self, cluster_node_t *node, raft_ready_t *ready)
{
    for (size_t i = 0; i < ready->messages.count; i++)
        s_send (self, node, &ready->messages.items[i]);
    node->applied_while_writing += ready->sequence && ready->committed_count;
    if (ready->sequence) {
        assert_true (node->writes_count < 4096);
        node->writes[node->writes_count++] =
            (cluster_write_t){.sequence = ready->sequence,
                              .hard = ready->hard,
                              .snapshot_index = ready->snapshot_index,
                              .snapshot_term = ready->snapshot_term,
                              .truncate_from = ready->truncate_from,
                              .entries = ready->append,
                              .count = ready->append_count,
                              .repairs = ready->repairs,
                              .repairs_count = ready->repairs_count};
        ready->append = ready->repairs = NULL;
        ready->append_count = ready->repairs_count = 0;
    }
    for (size_t i = 0; i < ready->committed_count; i++) {
        raft_entry_t *entry = &ready->committed[i];
        assert_int_equal (entry->index, node->applied + 1);
        s_check_committed (self, entry->index, entry->term, cluster_value (entry));
        node->applied = entry->index;
        if (entry->type == RAFT_ENTRY_CONFIG)
            s_apply_config (node, entry);
    }
    if (ready->committed_count)
        raft_applied (node->raft, node->applied);
    if (ready->offer.index) {
        node->offer = ready->offer;
        if (!node->no_fetch)
            cluster_restore (self, node->id);
    }
    for (size_t i = 0; i < ready->reads_count && node->reads_count < 4096; i++)
        node->reads[node->reads_count++] = ready->reads[i];
}

/*  Has the leader change the configuration; *ret_why says why not. */
static raft_result_t s_change (cluster_t *self, uint64_t id, confchange_transition_t transition,
                               const confchange_op_t *ops, size_t count, const char **ret_why)
{
    raft_t *raft = self->nodes[id].raft;
    uint64_t index, term;
    cluster_change_t change = {.value = UINT64_C (1) << 40 | ++self->changes};
    *ret_why = confchange (raft_conf (raft), transition, ops, count, &change.conf);
    if (*ret_why)
        return RAFT_INVALID;
    return raft_propose (raft, RAFT_ENTRY_CONFIG, raft_blob_new (&change, sizeof (change)), &index,
                         &term);
}

/*  A turn: everything that a node has to do now. */
static inline void cluster_pump (cluster_t *self, uint64_t id)
{
    cluster_node_t *node = &self->nodes[id];
    raft_ready_t ready;
    bool more = true;
    while (more && node->raft) {
        more = false;
        while (raft_ready (node->raft, &ready)) {
            s_carry_out (self, node, &ready);
            raft_ready_clear (&ready);
            s_check_node (self, node);
        }
        while (!node->hold && node->writes_count) {
            raft_persisted (node->raft, s_disk_write (node));
            more = true;
        }
        const char *why;
        if (raft_leave_due (node->raft)) {
            assert_int_equal (s_change (self, id, CONFCHANGE_AUTO, NULL, 0, &why), RAFT_OK);
            more = true;
        }
    }
}

/*  The oldest count writes of a disk that holds them are done. */
static inline void cluster_flush (cluster_t *self, uint64_t id, size_t count)
{
    cluster_node_t *node = &self->nodes[id];
    while (node->raft && count-- && node->writes_count) {
        raft_persisted (node->raft, s_disk_write (node));
        cluster_pump (self, id);
    }
}

static inline void cluster_start (cluster_t *self, uint64_t id)
{
    cluster_node_t *node = &self->nodes[id];
    const char *reason = "?";
    /* A copy became durable, and the log's write that follows it is lost: it is done now. */
    if (node->copy_index > node->log_count ||
        (node->copy_index > node->compacted &&
         node->log[node->copy_index - 1].term != node->copy_term))
        s_disk_begin_anew (node, node->copy_index, node->copy_term);
    node->config.hard_state = node->hard;
    node->config.applied = node->applied;
    node->config.seed = cluster_random (self, UINT32_MAX);
    node->committed_seen = 0;
    s_disk_look (node);
    node->raft = raft_new (&node->config, cluster_clock (self, id), &reason);
    if (!node->raft)
        fail_msg ("node %d doesn't start: %s", (int)id, reason);
    raft_set_snapshot (node->raft, node->copy_index, node->copy_term);
}

/*  What is on its way to the disk is lost. */
static inline void cluster_crash (cluster_t *self, uint64_t id)
{
    cluster_node_t *node = &self->nodes[id];
    raft_destroy (&node->raft);
    while (node->writes_count)
        s_write_free (&node->writes[--node->writes_count]);
}

/*  The first `founders` nodes are its voters; the others know no configuration yet. */
static inline cluster_t *cluster_found (uint32_t count, uint32_t founders, uint64_t seed,
                                        const raft_config_t *config)
{
    cluster_t *self = raft_alloc (sizeof (cluster_t));
    self->count = count;
    self->random = seed;
    self->now_ms = 100000;
    for (uint64_t id = 1; id <= count; id++) {
        cluster_node_t *node = &self->nodes[id];
        node->id = id;
        node->log = raft_alloc (CLUSTER_ENTRIES * sizeof (raft_entry_t));
        node->config = config ? *config : raft_config_default ();
        node->config.id = id;
        node->config.storage = (raft_storage_t){.self = node,
                                                .first = s_disk_first,
                                                .last = s_disk_last,
                                                .term = s_disk_term,
                                                .entries = s_disk_entries,
                                                .damaged = s_disk_damaged};
        if (node->config.conf_state.voters.count == 0 && id <= founders)
            for (uint64_t voter = 1; voter <= founders; voter++)
                quorum_set_add (&node->config.conf_state.voters, voter);
        cluster_start (self, id);
    }
    return self;
}

static inline cluster_t *cluster_new (uint32_t count, uint64_t seed, const raft_config_t *config)
{
    return cluster_found (count, count, seed, config);
}

static inline void cluster_destroy (cluster_t **self_p)
{
    cluster_t *self = *self_p;
    for (uint64_t id = 1; id <= self->count; id++) {
        cluster_crash (self, id);
        s_disk_truncate (&self->nodes[id], 0);
        free (self->nodes[id].log);
    }
    for (size_t i = 0; i < self->packets_count; i++)
        raft_entries_free (self->packets[i].message.entries,
                           self->packets[i].message.entries_count);
    free (self->packets);
    free (self);
    *self_p = NULL;
}

/*  Delivers what is due, until nothing more is. */
static inline void cluster_deliver (cluster_t *self)
{
    for (size_t i = 0; i < self->packets_count;) {
        if (self->packets[i].at_ms > self->now_ms) {
            i++;
            continue;
        }
        raft_message_t message = self->packets[i].message;
        self->packets_count--;
        memmove (&self->packets[i], &self->packets[i + 1],
                 (self->packets_count - i) * sizeof (cluster_packet_t));
        cluster_node_t *node = &self->nodes[message.to];
        if (node->raft && !self->cut[message.from][message.to]) {
            raft_step (node->raft, &message);
            cluster_pump (self, message.to);
        }
        raft_entries_free (message.entries, message.entries_count);
        if (!self->delay_ms_max)
            i = 0;
    }
}

/*  Messages only; the clock stands. */
static inline void cluster_settle (cluster_t *self)
{
    for (uint64_t id = 1; id <= self->count; id++)
        cluster_pump (self, id);
    cluster_deliver (self);
}

/*  Who has a lease is the only leader: nobody leads a later term. */
static void s_check_leases (cluster_t *self)
{
    for (uint64_t id = 1; id <= self->count; id++) {
        const raft_t *raft = self->nodes[id].raft;
        if (!raft || !raft_lease_valid (raft))
            continue;
        for (uint64_t other = 1; other <= self->count; other++)
            if (self->nodes[other].raft) {
                raft_soft_state_t soft = raft_soft_state (self->nodes[other].raft);
                assert_false (soft.role == RAFT_LEADER && soft.term > raft->term);
            }
    }
}

static inline void cluster_run (cluster_t *self, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        self->now_ms++;
        for (uint64_t id = 1; id <= self->count; id++)
            if (self->nodes[id].raft) {
                raft_tick (self->nodes[id].raft, cluster_clock (self, id));
                cluster_pump (self, id);
            }
        cluster_deliver (self);
        s_check_leases (self);
    }
}

static inline raft_status_t cluster_status (cluster_t *self, uint64_t id)
{
    raft_status_t status;
    raft_status (self->nodes[id].raft, &status);
    return status;
}

/*  The leader of the latest term; 0: none. */
static inline uint64_t cluster_leader (cluster_t *self)
{
    uint64_t leader = 0, term = 0;
    for (uint64_t id = 1; id <= self->count; id++) {
        if (!self->nodes[id].raft)
            continue;
        raft_status_t status = cluster_status (self, id);
        if (status.soft.role == RAFT_LEADER && status.soft.term > term) {
            leader = id;
            term = status.soft.term;
        }
    }
    return leader;
}

/*  Makes id campaign and win; the leases of others have to be over. */
static inline void cluster_elect (cluster_t *self, uint64_t id)
{
    assert_int_equal (raft_campaign (self->nodes[id].raft), RAFT_OK);
    cluster_settle (self);
    assert_int_equal (cluster_status (self, id).soft.role, RAFT_LEADER);
}

static inline raft_result_t cluster_propose (cluster_t *self, uint64_t id, uint64_t value)
{
    uint64_t index, term;
    raft_result_t result = raft_propose (self->nodes[id].raft, RAFT_ENTRY_NORMAL,
                                         raft_blob_new (&value, sizeof (value)), &index, &term);
    cluster_pump (self, id);
    return result;
}

/*  Operations as text: "v4 l5 r1" makes 4 a voter, 5 a learner and removes 1. */
static inline raft_result_t cluster_change (cluster_t *self, uint64_t id,
                                            confchange_transition_t transition, const char *text)
{
    confchange_op_t ops[16];
    size_t count = 0;
    const char *why;
    for (const char *at = text; *at; at++)
        if (*at != ' ') {
            ops[count++] = (confchange_op_t){.kind = *at == 'v'   ? CONFCHANGE_ADD_VOTER
                                                     : *at == 'l' ? CONFCHANGE_ADD_LEARNER
                                                                  : CONFCHANGE_REMOVE,
                                             .id = (uint64_t)(at[1] - '0')};
            at++;
        }
    raft_result_t result = s_change (self, id, transition, ops, count, &why);
    cluster_pump (self, id);
    return result;
}

/*  Cuts id off from everybody, in both directions, or lets it back. */
static inline void cluster_isolate (cluster_t *self, uint64_t id, bool cut)
{
    for (uint64_t other = 1; other <= self->count; other++)
        self->cut[id][other] = self->cut[other][id] = cut && other != id;
}

static inline void cluster_heal (cluster_t *self)
{
    memset (self->cut, 0, sizeof (self->cut));
}

/*  Log matching: same index and term, same entry and everything before it. */
static inline void cluster_check_logs (cluster_t *self)
{
    for (uint64_t id = 1; id <= self->count; id++)
        if (self->nodes[id].raft)
            assert_int_equal (cluster_status (self, id).forgotten, 0);
    for (uint64_t a = 1; a <= self->count; a++)
        for (uint64_t b = a + 1; b <= self->count; b++) {
            cluster_node_t *one = &self->nodes[a], *other = &self->nodes[b];
            size_t i = one->log_count < other->log_count ? one->log_count : other->log_count;
            bool same = false;
            uint64_t compacted =
                one->compacted > other->compacted ? one->compacted : other->compacted;
            while (i-- > compacted) {
                bool equal = one->log[i].term == other->log[i].term;
                assert_true (equal || !same);
                same = equal;
                if (same)
                    assert_int_equal (cluster_value (&one->log[i]), cluster_value (&other->log[i]));
            }
        }
}
