/*  raft_log - the Raft log on the simulator's disk: see the header.

    Every change is a commit of the disk: entries under index + 2, then the log's
    state in one of two slots (0 and 1, in turn; the newer valid one counts), so
    that a torn commit loses itself and nothing else. An entry that is replaced
    is written over: if that commit is lost, the older record is still there. */
#include "actors/simulation/raft_log.h"

#include "storage/crc32c.h"
#include "storage/flush_times.h"
#include "storage/raft_log_actor.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_OF_FIRST = 2, USAGE_MS = 1000 };

/*  What stands before an entry's data on disk. */
typedef struct {
    uint64_t index, term, type;
    uint64_t crc; /* of what stands above, and of the data */
} entry_head_t;

/*  A commit whose flush is under way. */
typedef struct waiting waiting_t;
struct waiting {
    waiting_t *next;
    message_t *request;
    uint64_t flush_us;
    simulated_log_state_t state; /* once it is durable */
};

typedef struct {
    simulated_log_t *log;
    waiting_t *first, **last; /* in the order of their flushes */
    flush_times_t flushes;
    log_durable_t told; /* last, */
    address_t appender; /* and to whom; "": nobody yet */
    bool full;          /* as it was told */
    bool failed;
} actor_t;

enum { TIMER_FLUSHED, TIMER_USAGE };

static uint64_t state_checksum (const simulated_log_state_t *state)
{
    return crc32c (0, state, offsetof (simulated_log_state_t, crc));
}

static uint64_t entry_checksum (const entry_head_t *head, const void *data, size_t size)
{
    uint32_t crc = crc32c (0, head, offsetof (entry_head_t, crc));
    return size ? crc32c (crc, data, size) : crc;
}

typedef bool (read_fn) (sim_disk_t *disk, uint64_t key, const uint8_t **data, size_t *size);

static bool read_visible (sim_disk_t *disk, uint64_t key, const uint8_t **data, size_t *size)
{
    return sim_disk_read (disk, key, data, size);
}

/*  The newest state that is whole; zeroes if there is none. */
static simulated_log_state_t find_state (sim_disk_t *disk, read_fn *read)
{
    simulated_log_state_t newest = {0};
    for (uint64_t slot = 0; slot < KEY_OF_FIRST; slot++) {
        const uint8_t *data;
        size_t size;
        simulated_log_state_t state;
        if (!read (disk, slot, &data, &size) || size != sizeof state)
            continue;
        memcpy (&state, data, sizeof state);
        if (state.crc == state_checksum (&state) && state.number > newest.number)
            newest = state;
    }
    return newest;
}

/*  False if the entry is not there or damaged. */
static bool find_entry (sim_disk_t *disk, read_fn *read, uint64_t index, entry_head_t *ret_head,
                        const uint8_t **ret_data, size_t *ret_size)
{
    const uint8_t *bytes;
    size_t size;
    if (!read (disk, index + KEY_OF_FIRST, &bytes, &size) || size < sizeof *ret_head)
        return false;
    memcpy (ret_head, bytes, sizeof *ret_head);
    *ret_data = bytes + sizeof *ret_head;
    *ret_size = size - sizeof *ret_head;
    return ret_head->index == index &&
           ret_head->crc == entry_checksum (ret_head, *ret_data, *ret_size);
}

static bool is_damaged (const simulated_log_t *self, uint64_t index)
{
    entry_head_t head;
    const uint8_t *data;
    size_t size;
    return !find_entry (self->disk, read_visible, index, &head, &data, &size);
}

static void look_for_damage (simulated_log_t *self)
{
    self->damaged = 0;
    for (uint64_t index = self->state.first; index <= self->state.last && !self->damaged; index++)
        if (is_damaged (self, index))
            self->damaged = index;
}

void simulated_log_init (simulated_log_t *self, sim_disk_t *disk, uint64_t incarnation)
{
    *self = (simulated_log_t){.self = self, .disk = disk, .incarnation = incarnation | 1};
}

void simulated_log_wipe (simulated_log_t *self, uint64_t incarnation)
{
    sim_disk_wipe (self->disk);
    simulated_log_init (self, self->disk, incarnation);
}

bool simulated_log_durable (simulated_log_t *self, uint64_t index, uint64_t *ret_term)
{
    entry_head_t head;
    const uint8_t *data;
    size_t size;
    if (!find_entry (self->disk, sim_disk_read_durable, index, &head, &data, &size))
        return false;
    *ret_term = head.term;
    return true;
}

simulated_log_state_t simulated_log_durable_state (simulated_log_t *self)
{
    return find_state (self->disk, sim_disk_read_durable);
}

bool simulated_log_rot (simulated_log_t *self, uint64_t index)
{
    return sim_disk_rot (self->disk, index + KEY_OF_FIRST);
}

/*  ---- life ------------------------------------------------------------------------- */

static void put_state (simulated_log_t *log)
{
    log->state.number++;
    log->state.crc = state_checksum (&log->state);
    sim_disk_write (log->disk, log->state.number % KEY_OF_FIRST, &log->state, sizeof log->state);
}

static void fail (actor_t *self, context_t *ctx)
{
    nexus_error_t error;
    nexus_error_set (&error, NEXUS_IO, "raft log: the disk can't be written");
    self->failed = true;
    context_fail (ctx, &error);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    actor_t *self = state;
    memcpy (&self->log, args, sizeof self->log);
    self->last = &self->first;
    simulated_log_t *log = self->log;
    log->state = find_state (log->disk, read_visible);
    if (log->state.number == 0) {
        log->state = (simulated_log_state_t){.incarnation = log->incarnation, .first = 1};
        put_state (log);
        if (sim_disk_commit (log->disk) < 0)
            fail (self, ctx);
        sim_disk_sync (log->disk); /* a new log's number is for all to know, and to stay */
    }
    log->durable = log->state;
    look_for_damage (log);
    context_after (ctx, MS_TO_NS (USAGE_MS), TIMER_USAGE);
    return 0;
}

void simulated_log_begin_behind (simulated_log_t *self, uint64_t index, uint64_t term)
{
    entry_head_t head;
    const uint8_t *data;
    size_t size;
    self->state = find_state (self->disk, read_visible);
    const simulated_log_state_t *state = &self->state;
    assert (state->number); /* who has a copy has had a log */
    bool readable = find_entry (self->disk, read_visible, index, &head, &data, &size);
    bool other = index >= state->first && index <= state->last && readable && head.term != term;
    if (index <= state->last && !other)
        return;
    uint64_t first = self->state.first, last = self->state.last;
    self->state.first = index + 1;
    self->state.last = index;
    self->state.previous_term = term;
    if (self->state.commit < index)
        self->state.commit = index;
    if (self->state.term < term) { /* that it knew of the copy's term is lost as well */
        self->state.term = term;
        self->state.vote = 0;
    }
    if (last >= first)
        sim_disk_erase (self->disk, first + KEY_OF_FIRST, last + KEY_OF_FIRST);
    put_state (self);
    if (sim_disk_commit (self->disk) >= 0)
        return;
    /* A start that failed is repeated, by a new process that sees what the disk has. */
    sim_disk_crash (self->disk);
    simulated_log_begin_behind (self, index, term);
}

static waiting_t *take_first (actor_t *self)
{
    waiting_t *waiting = self->first;
    self->first = waiting->next;
    if (!self->first)
        self->last = &self->first;
    return waiting;
}

static void stop (void *state, context_t *ctx)
{
    (void)ctx;
    actor_t *self = state;
    while (self->first) {
        waiting_t *waiting = take_first (self);
        message_release (&waiting->request);
        free (waiting);
    }
}

/*  ---- writing ---------------------------------------------------------------------- */

static void put_entry (simulated_log_t *log, const log_entry_t *entry)
{
    size_t size = entry->data.size;
    uint8_t *bytes = malloc (sizeof (entry_head_t) + size);
    assert (bytes);
    entry_head_t head = {.index = entry->index, .term = entry->term, .type = entry->type};
    head.crc = entry_checksum (&head, entry->data.data, size);
    memcpy (bytes, &head, sizeof head);
    if (size)
        memcpy (bytes + sizeof head, entry->data.data, size);
    sim_disk_write (log->disk, entry->index + KEY_OF_FIRST, bytes, sizeof head + size);
    free (bytes);
}

/*  Its flush begins; who asked is answered when it is over. */
static void commit (actor_t *self, context_t *ctx, const message_t *request)
{
    put_state (self->log);
    int64_t wait_ns = sim_disk_commit (self->log->disk);
    if (wait_ns < 0) {
        fail (self, ctx);
        return;
    }
    waiting_t *waiting = malloc (sizeof *waiting);
    assert (waiting);
    *waiting = (waiting_t){NULL, message_retain ((message_t *)request), (uint64_t)wait_ns / 1000,
                           self->log->state};
    *self->last = waiting;
    self->last = &waiting->next;
    flush_times_note (&self->flushes, wait_ns);
    /* A clock that runs fast must not be there before the disk is. */
    context_after (ctx, wait_ns + wait_ns / 10 + 10, TIMER_FLUSHED);
}

/*  In the order of raft_log_write_t. What contradicts the log is a fault of the election. */
static void take_append (actor_t *self, context_t *ctx, const message_t *message)
{
    const log_append_t *append = message->body;
    simulated_log_t *log = self->log;
    simulated_log_state_t *state = &log->state;
    if (append->snapshot_index) {
        assert (append->snapshot_index >= state->commit);
        if (state->last >= state->first)
            sim_disk_erase (log->disk, state->first + KEY_OF_FIRST, state->last + KEY_OF_FIRST);
        state->first = append->snapshot_index + 1;
        state->last = append->snapshot_index;
        state->previous_term = append->snapshot_term;
        log->damaged = 0;
    }
    for (size_t i = 0; i < append->repairs.count; i++) {
        const log_entry_t *entry = &append->repairs.items[i];
        assert (entry->index <= state->last);
        if (entry->index >= state->first) /* else it was compacted since it was asked for */
            put_entry (log, entry);
    }
    if (append->truncate_from) {
        assert (append->truncate_from <= state->last + 1 && append->truncate_from >= state->first);
        assert (append->truncate_from > state->commit); /* never what is committed */
        state->last = append->truncate_from - 1;
        if (log->damaged > state->last)
            log->damaged = 0;
    }
    for (size_t i = 0; i < append->entries.count; i++) {
        assert (append->entries.items[i].index == state->last + 1);
        put_entry (log, &append->entries.items[i]);
        state->last++;
    }
    if (append->has_hard_state) {
        assert (append->term >= state->term);
        state->term = append->term;
        state->vote = append->vote;
        state->commit = append->commit;
    }
    if (append->repairs.count)
        look_for_damage (log);
    commit (self, ctx, message);
}

static void take_compact (actor_t *self, context_t *ctx, const message_t *message)
{
    simulated_log_t *log = self->log;
    uint64_t index = ((const log_compact_t *)message->body)->index;
    if (index > log->state.last) {
        context_reply_failure (ctx, message, NEXUS_INVALID, "the log ends before that");
        return;
    }
    if (index >= log->state.first) {
        entry_head_t head;
        const uint8_t *data;
        size_t size;
        if (!find_entry (log->disk, read_visible, index, &head, &data, &size)) {
            context_reply_failure (ctx, message, NEXUS_INVALID, "that entry is damaged");
            return;
        }
        sim_disk_erase (log->disk, log->state.first + KEY_OF_FIRST, index + KEY_OF_FIRST);
        log->state.first = index + 1;
        log->state.previous_term = head.term;
        if (log->damaged && log->damaged < log->state.first)
            look_for_damage (log);
        if (log->damaged && log->damaged <= index)
            look_for_damage (log);
    }
    commit (self, ctx, message);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    actor_t *self = state;
    if (self->failed)
        return;
    if (message_body (message, log_append))
        take_append (self, ctx, message);
    else if (message_body (message, log_compact))
        take_compact (self, ctx, message);
}

static void answer (actor_t *self, context_t *ctx, const waiting_t *waiting)
{
    const log_append_t *append = message_body (waiting->request, log_append);
    const log_compact_t *compact = message_body (waiting->request, log_compact);
    if (append) {
        self->full = self->log->full;
        self->appender = waiting->request->from;
        self->told = (log_durable_t){.sequence = append->sequence,
                                     .last_index = waiting->state.last,
                                     .full = self->full,
                                     .flush_us = waiting->flush_us,
                                     .flush_p50_us = self->flushes.p50_us,
                                     .flush_p99_us = self->flushes.p99_us};
        context_reply (ctx, waiting->request, &log_durable_record, &self->told);
    } else
        context_reply (ctx, waiting->request, &done_record, &(done_t){.value = compact->index});
}

/*  The oldest flush is over: flushes end in their order, and so do their timers. */
static void end_flush (actor_t *self, context_t *ctx)
{
    waiting_t *waiting = take_first (self);
    self->log->durable = waiting->state;
    answer (self, ctx, waiting);
    message_release (&waiting->request);
    free (waiting);
}

static void look_at_usage (actor_t *self, context_t *ctx)
{
    if (self->full != self->log->full && self->appender.actor[0]) {
        self->told.full = self->full = self->log->full;
        context_send (ctx, &self->appender, &log_durable_record, &self->told);
    }
    context_after (ctx, MS_TO_NS (USAGE_MS), TIMER_USAGE);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id;
    actor_t *self = state;
    if (self->failed)
        return;
    if (data == TIMER_FLUSHED)
        end_flush (self, ctx);
    else
        look_at_usage (self, ctx);
}

const behaviour_t simulated_log_behaviour = {
    .name = "log",
    .state_size = sizeof (actor_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .stop = stop,
};

/*  ---- reading ---------------------------------------------------------------------- */

static uint64_t read_first (void *log)
{
    return ((const simulated_log_t *)log)->durable.first;
}

static uint64_t read_last (void *log)
{
    return ((const simulated_log_t *)log)->durable.last;
}

/*  A reader did not get it. */
static void note_damage (simulated_log_t *self, uint64_t index)
{
    bool mine = index >= self->state.first && index <= self->state.last &&
                index >= self->durable.first && index <= self->durable.last;
    if (mine && (!self->damaged || index < self->damaged))
        self->damaged = index;
}

static uint64_t read_term (void *log, uint64_t index)
{
    simulated_log_t *self = log;
    if (index + 1 == self->durable.first)
        return self->durable.previous_term;
    entry_head_t head;
    const uint8_t *data;
    size_t size;
    bool there = index >= self->durable.first && index <= self->durable.last &&
                 find_entry (self->disk, read_visible, index, &head, &data, &size);
    if (!there)
        note_damage (self, index);
    return there ? head.term : 0;
}

static size_t read_entries (void *log, uint64_t lo, uint64_t hi, size_t bytes_max,
                            raft_entry_t *entries)
{
    simulated_log_t *self = log;
    size_t count = 0, bytes = 0;
    for (uint64_t index = lo; index < hi && index >= self->durable.first; index++) {
        entry_head_t head;
        const uint8_t *data;
        size_t size;
        if (!find_entry (self->disk, read_visible, index, &head, &data, &size)) {
            note_damage (self, index);
            break;
        }
        bytes += size;
        if (count && bytes > bytes_max)
            break;
        entries[count++] = (raft_entry_t){.index = index,
                                          .term = head.term,
                                          .type = (raft_entry_type_t)head.type,
                                          .blob = size ? raft_blob_new (data, size) : NULL};
    }
    return count;
}

static int load (void *log, raft_hard_state_t *ret_hard, nexus_error_t *error)
{
    (void)error;
    const simulated_log_t *self = log;
    *ret_hard = (raft_hard_state_t){self->state.term, self->state.vote, self->state.commit};
    return 0;
}

static uint64_t read_damaged (void *log)
{
    return ((const simulated_log_t *)log)->damaged;
}

static uint64_t incarnation (void *context)
{
    const simulated_log_t *self = context;
    return self->state.incarnation;
}

election_log_t simulated_log (simulated_log_t *self)
{
    return (election_log_t){.entries = {.self = self,
                                        .first = read_first,
                                        .last = read_last,
                                        .term = read_term,
                                        .entries = read_entries,
                                        .damaged = read_damaged},
                            .load = load,
                            .incarnation = incarnation,
                            .actor = simulated_log_behaviour.name};
}
