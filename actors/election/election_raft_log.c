/*  election_raft_log - the election's log on disk, as the core reads it */
#include "actors/election/election_raft_log.h"

#include "storage/raft_log_actor.h"

static uint64_t s_first (void *self)
{
    raft_log_state_t state;
    raft_log_state (self, &state);
    return state.first;
}

static uint64_t s_last (void *self)
{
    raft_log_state_t state;
    raft_log_state (self, &state);
    return state.last;
}

static uint64_t s_term (void *self, uint64_t index)
{
    return raft_log_term (self, index);
}

typedef struct {
    raft_entry_t *entries;
    size_t count;
} s_copy_t;

static bool s_visit (void *context, const raft_log_entry_t *entry)
{
    s_copy_t *copy = context;
    copy->entries[copy->count++] = (raft_entry_t){
        .term = entry->term,
        .index = entry->index,
        .type = (raft_entry_type_t)entry->type,
        .blob = entry->size ? raft_blob_new (entry->data, entry->size) : NULL,
    };
    return true;
}

static size_t s_entries (void *self, uint64_t lo, uint64_t hi, size_t bytes_max,
                         raft_entry_t *entries)
{
    s_copy_t copy = {.entries = entries};
    raft_log_read (self, lo, hi - 1, bytes_max, s_visit, &copy, NULL);
    return copy.count;
}

static uint64_t s_damaged (void *self)
{
    raft_log_state_t state;
    raft_log_state (self, &state);
    return state.damaged;
}

static int s_load (void *self, raft_hard_state_t *ret_hard, nexus_error_t *error)
{
    (void)error;
    raft_log_state_t state;
    raft_log_state (self, &state);
    *ret_hard = (raft_hard_state_t){
        .term = state.hard.term, .vote = state.hard.vote, .commit = state.hard.commit};
    return 0;
}

static uint64_t s_incarnation (void *self)
{
    raft_log_state_t state;
    raft_log_state (self, &state);
    return state.incarnation;
}

election_log_t election_raft_log (raft_log_t *log)
{
    return (election_log_t){
        .entries = {.self = log,
                    .first = s_first,
                    .last = s_last,
                    .term = s_term,
                    .entries = s_entries,
                    .damaged = s_damaged},
        .load = s_load,
        .incarnation = s_incarnation,
        .actor = raft_log_actor.name,
    };
}
