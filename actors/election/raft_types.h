/*  raft_types - what the Raft core takes and gives: entries, messages, states

    The names are those of etcd's raft, the field's common language. Node ids are
    64-bit numbers, 0 is nobody. Index 0 and term 0 come before everything.

    Payloads are blobs with an atomic reference count: the same bytes stand in the
    proposal, the log, the messages and the disk writer's queue, in any thread,
    and are copied nowhere.
*/
#pragma once

#include "actors/election/quorum.h"

/*  Terms and indexes above this come from a confused peer: they are refused, so that no sum
    of them overflows. */
#define RAFT_NUMBER_MAX (UINT64_C (1) << 62)

/*  No election timeout is longer, whatever a peer says. */
#define RAFT_TIMEOUT_MAX_MS 600000

/*  Entries in one message, and in one batch to apply, at most. */
#define RAFT_BATCH_MAX 1024

typedef struct raft_blob raft_blob_t;
typedef void (raft_blob_free_fn) (void *data, void *context);

/*  A copy of size bytes, with one reference. */
raft_blob_t *raft_blob_new (const void *data, size_t size);

/*  Takes data over without a copy, with one reference; release (data, context) is called, in
    whatever thread drops the last one. */
raft_blob_t *raft_blob_wrap (void *data, size_t size, raft_blob_free_fn *release, void *context);

/*  One reference more or less; both accept NULL. retain returns blob. */
raft_blob_t *raft_blob_retain (raft_blob_t *blob);
void raft_blob_release (raft_blob_t *blob);

/*  The bytes, valid as long as a reference is held; NULL and 0 for NULL. */
const void *raft_blob_data (const raft_blob_t *blob);
size_t raft_blob_size (const raft_blob_t *blob);

typedef enum {
    RAFT_ENTRY_NORMAL, /* a command; with no data it is the no-op that opens a term */
    RAFT_ENTRY_CONFIG  /* a configuration change; one at a time */
} raft_entry_type_t;

typedef struct {
    uint64_t term;
    uint64_t index;
    raft_entry_type_t type;
    raft_blob_t *blob; /* NULL: no data */
} raft_entry_t;

/*  What an entry counts for in limits: its payload and a fixed share for the rest. */
#define RAFT_ENTRY_OVERHEAD 32
size_t raft_entry_bytes (const raft_entry_t *entry);

/*  Drops the references of count entries and frees the array. Accepts NULL. */
void raft_entries_free (raft_entry_t *entries, size_t count);

typedef enum {
    RAFT_MSG_APP = 1,         /* index, log_term: the entry before entries; commit, election_ms */
    RAFT_MSG_APP_RESP,        /* index: durable up to here; or reject, reject_hint, log_term; with
                                 force, what was acknowledged behind reject_hint is damaged */
    RAFT_MSG_HEARTBEAT,       /* commit, context: the round, election_ms: the timeout to take */
    RAFT_MSG_HEARTBEAT_RESP,  /* context: the round, election_ms: how long it won't vote */
    RAFT_MSG_VOTE,            /* index, log_term: the candidate's last entry; force */
    RAFT_MSG_VOTE_RESP,       /* reject */
    RAFT_MSG_PRE_VOTE,        /* as VOTE; term is the one after the sender's */
    RAFT_MSG_PRE_VOTE_RESP,   /* reject */
    RAFT_MSG_TIMEOUT_NOW,     /* campaign at once (thesis 3.10) */
    RAFT_MSG_TRANSFER_LEADER, /* to the leader: make the sender leader */
    RAFT_MSG_READ_INDEX,      /* context: the asker's request id */
    RAFT_MSG_READ_INDEX_RESP, /* context, index; or reject: ask again with a fresh id */
    RAFT_MSG_SNAP,            /* index, log_term: fetch the leader's copy of the state up to here */
    RAFT_MSG_TYPES
} raft_message_type_t;

typedef struct {
    raft_message_type_t type;
    uint64_t from;
    uint64_t to;
    uint64_t term;
    uint64_t index;
    uint64_t log_term;
    uint64_t commit;
    uint64_t reject_hint;
    uint64_t context;
    uint64_t election_ms;
    bool reject;
    bool force; /* a vote asked for by the leader itself: leases don't count */
    raft_entry_t *entries;
    size_t entries_count;
} raft_message_t;

/*  The type's name, as logs have it: "MsgApp" ... */
const char *raft_message_name (raft_message_type_t type);

typedef struct {
    raft_message_t *items;
    size_t count;
    size_t capacity;
} raft_messages_t;

/*  Appends message, whose entries move into the list. */
void raft_messages_add (raft_messages_t *list, const raft_message_t *message);
/*  Frees all of it; the list is then empty and usable. */
void raft_messages_clear (raft_messages_t *list);

typedef enum { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER } raft_role_t;

/*  Must be on disk before the messages that depend on it leave. commit is a lower bound. */
typedef struct {
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
} raft_hard_state_t;

/*  Who takes part. voters_outgoing, learners_next and auto_leave are used while a joint
    configuration is in force. */
typedef struct {
    quorum_set_t voters;
    quorum_set_t voters_outgoing;
    quorum_set_t learners;
    quorum_set_t learners_next;
    bool auto_leave;
} raft_conf_state_t;

/*  Where durable entries are read from. All calls come from the thread that runs the core,
    return at once, and answer only for what was reported durable (raft_persisted) and not
    truncated since; the write of a batch under way must not change those answers. */
typedef struct {
    void *self;
    /*  The first entry that can be read: one after the snapshot; 1 for a fresh log. */
    uint64_t (*first) (void *self);
    /*  The last entry on disk when the core starts; first - 1 if there is none. */
    uint64_t (*last) (void *self);
    /*  The term of an entry, also of first - 1; 0 if it is not known. */
    uint64_t (*term) (void *self, uint64_t index);
    /*  Fills entries with lo, lo + 1, ... below hi, up to bytes_max but at least one, each
        with a reference of its own. Returns how many; 0 if they can't be had now. */
    size_t (*entries) (void *self, uint64_t lo, uint64_t hi, size_t bytes_max,
                       raft_entry_t *entries);
    /*  The lowest entry that is known to be damaged; 0: none. Its term is 0. NULL: this
        storage is never damaged. */
    uint64_t (*damaged) (void *self);
} raft_storage_t;

/*  malloc and realloc that end the process with a message when memory is exhausted: a Raft
    node that forgets a part of its state is worse than one that is gone. */
void *raft_alloc (size_t size);
void *raft_realloc (void *memory, size_t size);
