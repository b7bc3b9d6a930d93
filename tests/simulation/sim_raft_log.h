/*  sim_raft_log - the Raft log on the simulator's disk: stands in for raft_log_actor

    Every log_append is a commit: entries under index + 2, then the log's state in
    one of two slots (0 and 1, in turn; the newer valid one counts), so that a
    torn commit loses itself and nothing else.
*/
#pragma once

#include "actors/election/election.h"
#include "runtime/simulator.h"
#include "storage/crc32c.h"
#include "storage/raft_log_actor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t number; /* of the commit */
    uint64_t last;
    raft_hard_state_t hard;
    uint32_t crc;
} sim_raft_log_state_t;

typedef struct {
    uint64_t sequence; /* of the batch */
    message_t *request;
} sim_raft_log_waiting_t;

typedef struct {
    sim_disk_t *disk;
    sim_raft_log_state_t state;
    uint64_t batch;
    sim_raft_log_waiting_t waiting[4096];
    size_t waiting_count;
} sim_raft_log_t;

static inline bool sim_raft_log_find_state (sim_disk_t *disk, sim_raft_log_state_t *state)
{
    bool found = false;
    for (uint64_t slot = 0; slot < 2; slot++) {
        const uint8_t *data;
        size_t size;
        sim_raft_log_state_t read;
        if (!sim_disk_read (disk, slot, &data, &size) || size != sizeof (read))
            continue;
        memcpy (&read, data, sizeof (read));
        if (read.crc != crc32c (0, data, offsetof (sim_raft_log_state_t, crc)))
            continue;
        if (!found || read.number > state->number)
            *state = read;
        found = true;
    }
    return found;
}

static inline int sim_raft_log_start (void *self_, context_t *ctx, const void *args,
                                      nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    sim_raft_log_t *self = self_;
    self->disk = (sim_disk_t *)args;
    sim_raft_log_find_state (self->disk, &self->state);
    return 0;
}

static inline void sim_raft_log_put (sim_raft_log_t *self, const log_entry_t *entry)
{
    uint8_t *bytes = malloc (16 + entry->data.size);
    assert (bytes);
    memcpy (bytes, &entry->term, 8);
    memcpy (bytes + 8, &entry->type, 8);
    if (entry->data.size)
        memcpy (bytes + 16, entry->data.data, entry->data.size);
    sim_disk_write (self->disk, entry->index + 2, bytes, 16 + entry->data.size);
    free (bytes);
}

static inline void sim_raft_log_receive (void *self_, context_t *ctx, const message_t *message)
{
    sim_raft_log_t *self = self_;
    const log_append_t *append = message_body (message, log_append);
    if (!append)
        return;
    assert (!append->truncate_from || (append->truncate_from <= self->state.last &&
                                       append->truncate_from > self->state.hard.commit));
    if (append->truncate_from)
        self->state.last = append->truncate_from - 1;
    for (size_t i = 0; i < append->entries.count; i++) {
        assert (append->entries.items[i].index == self->state.last + 1);
        sim_raft_log_put (self, &append->entries.items[i]);
        self->state.last++;
    }
    assert (append->has_hard_state && append->term >= self->state.hard.term);
    self->state.hard = (raft_hard_state_t){append->term, append->vote, append->commit};
    self->state.number++;
    self->state.crc = crc32c (0, &self->state, offsetof (sim_raft_log_state_t, crc));
    sim_disk_write (self->disk, self->state.number % 2, &self->state, sizeof (self->state));
    int64_t wait_ns = sim_disk_commit (self->disk);
    assert (self->waiting_count < 4096);
    self->waiting[self->waiting_count++] = (sim_raft_log_waiting_t){
        .sequence = ++self->batch, .request = message_retain ((message_t *)message)};
    context_after (ctx, wait_ns, self->batch);
}

static inline void sim_raft_log_timer (void *self_, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    sim_raft_log_t *self = self_;
    size_t done = 0;
    for (; done < self->waiting_count && self->waiting[done].sequence <= data; done++) {
        message_t *request = self->waiting[done].request;
        log_durable_t durable = {.sequence = ((const log_append_t *)request->body)->sequence};
        context_reply (ctx, request, &log_durable_record, &durable);
        message_release (&request);
    }
    self->waiting_count -= done;
    memmove (self->waiting, self->waiting + done,
             self->waiting_count * sizeof (sim_raft_log_waiting_t));
}

static inline void sim_raft_log_stop (void *self_, context_t *ctx)
{
    (void)ctx;
    sim_raft_log_t *self = self_;
    while (self->waiting_count)
        message_release (&self->waiting[--self->waiting_count].request);
}

static const behaviour_t sim_raft_log_behaviour = {
    .name = "raft_log",
    .state_size = sizeof (sim_raft_log_t),
    .start = sim_raft_log_start,
    .receive = sim_raft_log_receive,
    .timer = sim_raft_log_timer,
    .stop = sim_raft_log_stop,
};

/*  ---- reading ------------------------------------------------------------- */

static inline uint64_t sim_raft_log_first (void *disk)
{
    (void)disk;
    return 1;
}

static inline uint64_t sim_raft_log_last (void *disk)
{
    sim_raft_log_state_t state = {0};
    sim_raft_log_find_state (disk, &state);
    return state.last;
}

static inline uint64_t sim_raft_log_term (void *disk, uint64_t index)
{
    const uint8_t *data;
    size_t size;
    uint64_t term = 0;
    if (index && sim_disk_read (disk, index + 2, &data, &size))
        memcpy (&term, data, 8);
    return term;
}

static inline size_t sim_raft_log_entries (void *disk, uint64_t lo, uint64_t hi, size_t bytes_max,
                                           raft_entry_t *entries)
{
    size_t count = 0, bytes = 0;
    for (uint64_t index = lo; index < hi; index++) {
        const uint8_t *data;
        size_t size;
        uint64_t type;
        if (!sim_disk_read (disk, index + 2, &data, &size))
            break;
        bytes += size;
        if (count && bytes > bytes_max)
            break;
        memcpy (&type, data + 8, 8);
        entries[count] =
            (raft_entry_t){.index = index,
                           .type = (raft_entry_type_t)type,
                           .blob = size > 16 ? raft_blob_new (data + 16, size - 16) : NULL};
        memcpy (&entries[count++].term, data, 8);
    }
    return count;
}

static inline int sim_raft_log_load (void *disk, raft_hard_state_t *ret_hard, nexus_error_t *error)
{
    (void)error;
    sim_raft_log_state_t state = {0};
    sim_raft_log_find_state (disk, &state);
    *ret_hard = state.hard;
    return 0;
}

static inline election_log_t sim_raft_log (sim_disk_t *disk)
{
    return (election_log_t){.entries = {.self = disk,
                                        .first = sim_raft_log_first,
                                        .last = sim_raft_log_last,
                                        .term = sim_raft_log_term,
                                        .entries = sim_raft_log_entries},
                            .load = sim_raft_log_load,
                            .actor = "raft_log"};
}
