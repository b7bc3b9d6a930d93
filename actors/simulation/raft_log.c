/*  raft_log - the Raft log on the simulator's disk: see the header.

    Every log_append is a commit of the disk: entries under index + 2, then the
    log's state in one of two slots (0 and 1, in turn; the newer valid one counts),
    so that a torn commit loses itself and nothing else. */
#include "actors/simulation/raft_log.h"

#include "storage/crc32c.h"
#include "storage/flush_times.h"
#include "storage/raft_log_actor.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_HEAD = 16, KEY_OF_FIRST = 2 };

typedef struct {
    uint64_t number; /* of the commit */
    uint64_t last;
    uint64_t term, vote, commit;
    uint64_t crc; /* of what stands above */
} log_state_t;

typedef struct waiting waiting_t;
struct waiting {
    waiting_t *next;
    message_t *request;
    uint64_t flush_us;
};

typedef struct {
    sim_disk_t *disk;
    log_state_t state;
    waiting_t *first, **last; /* in the order of their flushes */
    flush_times_t flushes;
} disk_log_t;

static uint64_t checksum (const log_state_t *state)
{
    return crc32c (0, state, offsetof (log_state_t, crc));
}

/*  The newest state that is whole; zeroes if there is none. */
static log_state_t find_state (const sim_disk_t *disk)
{
    log_state_t newest = {0};
    for (uint64_t slot = 0; slot < KEY_OF_FIRST; slot++) {
        const uint8_t *data;
        size_t size;
        log_state_t state;
        if (!sim_disk_read (disk, slot, &data, &size) || size != sizeof state)
            continue;
        memcpy (&state, data, sizeof state);
        if (state.crc == checksum (&state) && state.number > newest.number)
            newest = state;
    }
    return newest;
}

/*  ---- writing ---------------------------------------------------------------------- */

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx, (void)error;
    disk_log_t *self = state;
    memcpy (&self->disk, args, sizeof self->disk);
    self->state = find_state (self->disk);
    self->last = &self->first;
    return 0;
}

static void put_entry (disk_log_t *self, const log_entry_t *entry)
{
    uint8_t *bytes = malloc (ENTRY_HEAD + entry->data.size);
    assert (bytes);
    memcpy (bytes, &entry->term, 8);
    memcpy (bytes + 8, &entry->type, 8);
    if (entry->data.size)
        memcpy (bytes + ENTRY_HEAD, entry->data.data, entry->data.size);
    sim_disk_write (self->disk, entry->index + KEY_OF_FIRST, bytes, ENTRY_HEAD + entry->data.size);
    free (bytes);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    disk_log_t *self = state;
    const log_append_t *append = message_body (message, log_append);
    if (!append)
        return;
    assert (append->has_hard_state && append->term >= self->state.term);
    if (append->truncate_from) {
        assert (append->truncate_from <= self->state.last + 1);
        assert (append->truncate_from > self->state.commit); /* never what is committed */
        self->state.last = append->truncate_from - 1;
    }
    for (size_t i = 0; i < append->entries.count; i++) {
        assert (append->entries.items[i].index == self->state.last + 1);
        put_entry (self, &append->entries.items[i]);
        self->state.last++;
    }
    self->state.term = append->term;
    self->state.vote = append->vote;
    self->state.commit = append->commit;
    self->state.number++;
    self->state.crc = checksum (&self->state);
    sim_disk_write (self->disk, self->state.number % KEY_OF_FIRST, &self->state,
                    sizeof self->state);
    int64_t flush_ns = sim_disk_commit (self->disk);
    waiting_t *waiting = malloc (sizeof *waiting);
    assert (waiting);
    *waiting = (waiting_t){NULL, message_retain ((message_t *)message), (uint64_t)flush_ns / 1000};
    *self->last = waiting;
    self->last = &waiting->next;
    flush_times_note (&self->flushes, flush_ns);
    context_after (ctx, flush_ns, 0);
}

static waiting_t *take_first (disk_log_t *self)
{
    waiting_t *waiting = self->first;
    self->first = waiting->next;
    if (!self->first)
        self->last = &self->first;
    return waiting;
}

/*  The oldest flush is over: flushes end in their order, and so do their timers. */
static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id, (void)data;
    disk_log_t *self = state;
    waiting_t *waiting = take_first (self);
    const log_append_t *append = waiting->request->body;
    log_durable_t durable = {
        .sequence = append->sequence,
        .flush_us = waiting->flush_us,
        .flush_p50_us = self->flushes.p50_us,
        .flush_p99_us = self->flushes.p99_us,
    };
    context_reply (ctx, waiting->request, &log_durable_record, &durable);
    message_release (&waiting->request);
    free (waiting);
}

static void stop (void *state, context_t *ctx)
{
    (void)ctx;
    disk_log_t *self = state;
    while (self->first) {
        waiting_t *waiting = take_first (self);
        message_release (&waiting->request);
        free (waiting);
    }
}

const behaviour_t simulated_log_behaviour = {
    .name = "log",
    .state_size = sizeof (disk_log_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .stop = stop,
};

/*  ---- reading ---------------------------------------------------------------------- */

static uint64_t read_first (void *disk)
{
    (void)disk;
    return 1;
}

static uint64_t read_last (void *disk)
{
    return find_state (disk).last;
}

static uint64_t read_term (void *disk, uint64_t index)
{
    const uint8_t *data;
    size_t size;
    uint64_t term = 0;
    if (index && sim_disk_read (disk, index + KEY_OF_FIRST, &data, &size))
        memcpy (&term, data, 8);
    return term;
}

static size_t read_entries (void *disk, uint64_t lo, uint64_t hi, size_t bytes_max,
                            raft_entry_t *entries)
{
    size_t count = 0, bytes = 0;
    for (uint64_t index = lo; index < hi; index++) {
        const uint8_t *data;
        size_t size;
        uint64_t type;
        if (!sim_disk_read (disk, index + KEY_OF_FIRST, &data, &size))
            break;
        bytes += size;
        if (count && bytes > bytes_max)
            break;
        raft_entry_t *entry = &entries[count++];
        *entry = (raft_entry_t){.index = index};
        memcpy (&entry->term, data, 8);
        memcpy (&type, data + 8, 8);
        entry->type = (raft_entry_type_t)type;
        if (size > ENTRY_HEAD)
            entry->blob = raft_blob_new (data + ENTRY_HEAD, size - ENTRY_HEAD);
    }
    return count;
}

static int load (void *disk, raft_hard_state_t *ret_hard, nexus_error_t *error)
{
    (void)error;
    log_state_t state = find_state (disk);
    *ret_hard = (raft_hard_state_t){state.term, state.vote, state.commit};
    return 0;
}

election_log_t simulated_log (sim_disk_t *disk)
{
    return (election_log_t){.entries = {.self = disk,
                                        .first = read_first,
                                        .last = read_last,
                                        .term = read_term,
                                        .entries = read_entries},
                            .load = load,
                            .actor = simulated_log_behaviour.name};
}
