/*  snapshots_private - the inside of the snapshots actor, shared by its files

    snapshots.c  the behaviour; making copies, compacting
    serve.c      giving copies away
    fetch.c      fetching one
*/
#pragma once

#include "actors/snapshots/snapshots.h"

enum { CHUNK_MAX = 65536 };

/*  ---- serve.c ------------------------------------------------------------------------- */

enum { SERVE_WAITING_MAX = 64, SERVE_READERS_MAX = 16 };

/*  Who reads which copy, and when it last did. */
typedef struct {
    address_t who;
    uint64_t index;
    int64_t last_ns;
} serve_reader_t;

typedef struct {
    message_t *waiting[SERVE_WAITING_MAX]; /* in the order in which they came */
    size_t waiting_count;
    int64_t budget;    /* bytes that may leave now; below 0 after a chunk that was larger */
    int64_t budget_ns; /* when it was last filled */
    uint64_t timer;    /* 0: none */
    uint8_t data[CHUNK_MAX];
    serve_reader_t readers[SERVE_READERS_MAX];
    size_t readers_count;
    metric_t *bytes;
} serve_t;

/*  ---- fetch.c ------------------------------------------------------------------------- */

enum { FETCH_AHEAD = 4 };

typedef enum {
    FETCH_IDLE,
    FETCH_ASKING,  /* what the leader has */
    FETCH_PULLING, /* chunks */
    FETCH_FLUSHING /* all is there; it will be durable soon */
} fetch_state_t;

typedef struct {
    fetch_state_t state;
    record_key_t from;
    snapshot_info_t copy;
    uint64_t have; /* bytes, from the first on */
    uint64_t next; /* to be asked for */
    struct {
        uint64_t correlation;
        uint64_t offset;
    } asked[FETCH_AHEAD]; /* in order */
    size_t asked_count;
    int64_t pause_until_ns; /* after a failure */
    uint64_t timer;         /* while flushing */
    metric_t *bytes;
} fetch_t;

/*  ---- snapshots.c ---------------------------------------------------------------------- */

typedef struct {
    const snapshots_args_t *args;
    uint64_t entries, log_bytes, window, bytes_per_second;
    int64_t poll_ns;
    snapshot_info_t copy; /* the durable one, as the election knows it */
    snapshot_info_t made; /* its flush is under way */
    uint64_t poll_timer, make_timer;
    message_t *make_request; /* waits for the copy under way, or NULL */
    uint64_t compacting;     /* correlation of the log_compact under way; 0: none */
    int64_t retry_ns;        /* no copy before, after one that failed */
    int64_t pause_ns;        /* nor this long after one that was made, */
    int64_t made_ns;         /* then; 0: none was */
    serve_t serve;
    fetch_t fetch;
    metric_t *index_metric, *size_metric, *made_metric;
} snapshots_t;

enum { TIMER_POLL, TIMER_MADE, TIMER_SERVE, TIMER_FETCHED };

/*  A copy became durable: everybody who has to know is told. */
void snapshots_stored (snapshots_t *self, context_t *ctx, const snapshot_info_t *copy,
                       bool fetched);

void serve_start (snapshots_t *self, context_t *ctx);
void serve_read (snapshots_t *self, context_t *ctx, const message_t *message);
void serve_timer (snapshots_t *self, context_t *ctx);
void serve_end (snapshots_t *self);
/*  The oldest copy that somebody is reading; UINT64_MAX: nobody is. */
uint64_t serve_oldest (snapshots_t *self, context_t *ctx);
/*  A copy without data, as an answer. */
snapshot_chunk_t serve_header (const snapshot_info_t *copy);

void fetch_start (snapshots_t *self, context_t *ctx);
void fetch_offer (snapshots_t *self, context_t *ctx, const snapshot_fetch_t *offer);
/*  An answer: a chunk or a failure. False if it belongs to something else. */
bool fetch_answer (snapshots_t *self, context_t *ctx, const message_t *message);
void fetch_timer (snapshots_t *self, context_t *ctx);
/*  This master has a copy of its own up to there: one that is older is of no use. */
void fetch_overtaken (snapshots_t *self, uint64_t index);
