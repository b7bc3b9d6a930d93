/*  What other masters say: a follower, and a leader, take any sequence of Raft's messages.

    Input: a byte (odd: it leads), then messages, each behind its size in two bytes (little
    endian) and the sender's number in one. */
#include "actors/election/election_wire.h"
#include "actors/election/raft.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

enum { ENTRIES_MAX = 4096 };

/*  A disk that is always done at once. */
typedef struct {
    uint64_t terms[ENTRIES_MAX + 1];
    uint64_t last;
} disk_t;

static uint64_t disk_first (void *self)
{
    (void)self;
    return 1;
}

static uint64_t disk_last (void *self)
{
    return ((disk_t *)self)->last;
}

static uint64_t disk_term (void *self, uint64_t index)
{
    disk_t *disk = self;
    return index <= disk->last ? disk->terms[index] : 0;
}

static size_t disk_entries (void *self, uint64_t lo, uint64_t hi, size_t bytes_max,
                            raft_entry_t *entries)
{
    (void)bytes_max;
    disk_t *disk = self;
    size_t count = 0;
    for (uint64_t index = lo; index < hi && index <= disk->last; index++)
        entries[count++] = (raft_entry_t){.index = index, .term = disk->terms[index]};
    return count;
}

static void disk_write (disk_t *disk, const raft_ready_t *ready)
{
    if (ready->truncate_from) {
        if (ready->truncate_from > disk->last)
            abort ();
        disk->last = ready->truncate_from - 1;
    }
    for (size_t i = 0; i < ready->append_count; i++) {
        if (ready->append[i].index != disk->last + 1)
            abort ();
        disk->terms[++disk->last] = ready->append[i].term;
    }
}

static void settle (raft_t *raft, disk_t *disk)
{
    raft_ready_t ready;
    while (raft_ready (raft, &ready)) {
        if (ready.sequence) {
            disk_write (disk, &ready);
            raft_persisted (raft, ready.sequence);
        }
        if (ready.committed_count)
            raft_applied (raft, ready.committed[ready.committed_count - 1].index);
        raft_ready_clear (&ready);
    }
}

static void step (raft_t *raft, uint64_t from, const uint8_t *data, size_t size)
{
    arena_t arena;
    consensus_t record;
    raft_message_t message;
    arena_init (&arena, 1 << 20, NULL, 0);
    if (record_decode (&consensus_record, data, size, &arena, &record, NULL) == 0) {
        election_decode (&record, from, 1, &message);
        raft_step (raft, &message);
        raft_entries_free (message.entries, message.entries_count);
    }
    arena_reset (&arena);
}

static raft_t *make (disk_t *disk, bool leader)
{
    raft_config_t config = raft_config_default ();
    config.id = 1;
    config.seed = 1;
    config.conf_state.voters = (quorum_set_t){3, {1, 2, 3}};
    config.cache_bytes_max = 64;
    config.storage = (raft_storage_t){.self = disk,
                                      .first = disk_first,
                                      .last = disk_last,
                                      .term = disk_term,
                                      .entries = disk_entries};
    const char *reason;
    raft_t *raft = raft_new (&config, 1, &reason);
    if (!raft)
        abort ();
    raft_message_t vote = {.type = RAFT_MSG_PRE_VOTE_RESP, .from = 2, .to = 1, .term = 1};
    if (leader) {
        raft_campaign (raft);
        raft_step (raft, &vote);
        settle (raft, disk);
        vote.type = RAFT_MSG_VOTE_RESP;
        raft_step (raft, &vote);
        settle (raft, disk);
        if (raft_soft_state (raft).role != RAFT_LEADER)
            abort ();
    }
    return raft;
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    disk_t *disk = calloc (1, sizeof (disk_t));
    if (!disk)
        abort ();
    raft_t *raft = make (disk, data[0] & 1);
    uint64_t commit = 0;
    int64_t now_ms = 1;
    for (size_t at = 1; at + 3 <= size && disk->last < ENTRIES_MAX / 2;) {
        size_t length = (size_t)data[at] | (size_t)data[at + 1] << 8;
        uint64_t from = data[at + 2];
        at += 3;
        length = length > size - at ? size - at : length;
        step (raft, from, data + at, length);
        at += length;
        settle (raft, disk);
        raft_tick (raft, now_ms += 70);
        settle (raft, disk);
        raft_status_t status;
        raft_status (raft, &status);
        if (status.hard.commit < commit || status.hard.commit > status.last ||
            status.durable != disk->last)
            abort ();
        commit = status.hard.commit;
    }
    raft_destroy (&raft);
    free (disk);
    return 0;
}
