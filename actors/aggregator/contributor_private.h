/*  contributor_private - what the files of the contributor share

    contributor.c             its life: messages, the view, dialling, joining and leaving
    contributor_operation.c   the open operation: chunks in flight, results, deadlines
    contributor_held.c        what it holds for a shard that is lost, and bringing it there
    contributor_metrics.c     metric values on their way to the agent
*/
#pragma once

#include "actors/aggregator/contributor.h"

#include <stdatomic.h>

enum {
    TICK_MS = 200,
    QUIET_MS = 1000, /* while a shard's results flow, what is not there yet may be among them */
    SERIES = 3,
    SERIES_KEPT = 8,
    POINTS_MAX = 1024,
    WINDOW_CHUNKS_MAX = 256,
};
#define WINDOW_BYTES      ((uint64_t)16 << 20)
#define HISTORY_BYTES_MAX ((uint64_t)64 << 20)
#define LEAVE_STEP        UINT64_MAX /* the barrier of those who leave */

/*  A shard as the view has it. */
typedef struct {
    record_key_t node;
    char endpoint[201];
    uint64_t instance;
    uint64_t generation;
    uint64_t served; /* generation + 1 that was brought what we hold; 0: none */
    uint64_t start;  /* 0: not heard of */
    int64_t done_at; /* when its last result came */
    bool ready;
} shard_peer_t;

/*  A chunk of the parameters. */
typedef struct {
    uint64_t version;
    payload_t *current;  /* NULL: nothing */
    payload_t *previous; /* of version - 1, or NULL */
} held_t;

/*  A step of a series. */
typedef struct {
    uint64_t step;
    uint64_t chunks;
    uint64_t bytes;
    bool complete;
    struct {
        payload_t *payload;
        bool there;
    } * results; /* NULL: the place is free */
} past_t;

/*  Something that a shard is to be brought. */
typedef struct {
    int operation;
    uint64_t step;
    uint64_t chunk;
    int64_t due;
    bool sent;
    bool taken;
} bring_t;

/*  Counts the payloads that point into the program's buffers. */
typedef struct {
    atomic_size_t references;
} borrow_t;

typedef enum { FLIGHT_UNSENT, FLIGHT_SENT, FLIGHT_DONE } flight_state_t;

typedef struct {
    int64_t due; /* ask, or send, not before */
    uint8_t state;
    uint8_t tries;
    bool again; /* was sent before: send a copy */
} flight_t;

typedef struct {
    message_t *request; /* NULL: none is open (but for leaving) */
    bool open;
    int operation;
    uint64_t step;
    operate_t with;
    uint64_t chunks;
    flight_t *flights;
    uint64_t first; /* the first that is not done */
    uint64_t next;  /* all from here on have not been sent */
    uint64_t in_flight;
    uint64_t finished;
    past_t *past; /* of a collective */
    borrow_t *borrow;
    int64_t timeout_ns;
    int64_t progress_at;
    bool ended; /* waits for the borrowed buffers only */
    int64_t ended_at;
    bool hung_up;
    nexus_error_t error;
    char waiting[300]; /* what a shard said last */
} open_t;

typedef struct {
    char name[64];
    uint64_t step;
    double value;
    int64_t time_ms;
    int64_t reported_at;
} point_t;

typedef struct {
    const contributor_args_t *args;
    address_t agent;
    arena_t arena; /* of the view */
    group_view_t view;
    bool has_view;
    bool replaced; /* another attempt of this rank runs */
    shard_peer_t *shards;
    size_t shard_count;
    uint64_t chunk_floats;
    uint64_t window;

    message_t *join;
    int64_t join_until;
    int64_t joined_at; /* when task_join was sent last */
    message_t *leave;
    bool leave_flushes;
    int64_t leave_until;

    open_t open;
    bool failed;         /* the last operation */
    uint64_t operations; /* that succeeded */

    held_t *held;
    uint64_t held_chunks;
    uint64_t held_count; /* floats */
    uint64_t version;
    past_t pasts[SERIES][SERIES_KEPT];
    uint64_t past_bytes;
    bring_t *bring;
    size_t bring_count;
    size_t bring_room;
    size_t bring_first; /* before it all are taken */
    size_t bring_next;  /* from here on none was sent */
    size_t bring_in_flight;

    point_t points[POINTS_MAX];
    size_t point_count;
    size_t points_sent;
    uint64_t metrics_request; /* 0: none */
    int64_t metrics_at;
    uint64_t traffic_told;
} contributor_t;

/*  ---- contributor.c ------------------------------------------------------- */

uint64_t chunk_size (const contributor_t *self, uint64_t count, uint64_t chunk);
void contributor_push (contributor_t *self, context_t *ctx, chunk_push_t *push,
                       payload_t **payload_p);
void contributor_ask_view (contributor_t *self, context_t *ctx);
void contributor_hangup (contributor_t *self, context_t *ctx);
void contributor_dial (contributor_t *self, context_t *ctx);
/*  Have results come from the chunk's shard just now? Then it is too early to ask. */
bool contributor_flows (const contributor_t *self, const context_t *ctx, uint64_t chunk);
/*  The leaving barrier has ended, one way or the other. */
void contributor_left (contributor_t *self, context_t *ctx);

/*  ---- contributor_operation.c --------------------------------------------- */

/*  Opens an operation; the request is retained (NULL: the leaving barrier). */
void operation_open (contributor_t *self, context_t *ctx, const message_t *request,
                     const operate_t *with);
/*  Sends what may be sent. */
void operation_pump (contributor_t *self, context_t *ctx);
void operation_result (contributor_t *self, context_t *ctx, const chunk_result_t *result,
                       payload_t *payload);
/*  A shard has nothing any more: what is open there is to be sent again. */
void operation_resend (contributor_t *self, size_t shard);
void operation_fail (contributor_t *self, context_t *ctx, nexus_code_t code, const char *format,
                     ...) __attribute__ ((format (printf, 4, 5)));
void operation_tick (contributor_t *self, context_t *ctx);
void operation_drain (contributor_t *self, context_t *ctx);
void operation_free (contributor_t *self);
/*  "rank 2 (not running)": whom the group waits for. */
void contributor_waits_for (const contributor_t *self, char text[300]);

/*  ---- contributor_held.c ---------------------------------------------------- */

int held_prepare (contributor_t *self, uint64_t count, nexus_error_t *error);
void held_put (contributor_t *self, uint64_t chunk, uint64_t version, payload_t *payload);
/*  The step's place in its series, made if need be; NULL: it is complete already. */
past_t *past_of (contributor_t *self, int operation, uint64_t step, uint64_t chunks,
                 nexus_error_t *error);
void past_put (contributor_t *self, past_t *past, uint64_t chunk, payload_t *payload);
/*  The step is complete: older ones may have to go. */
void past_trim (contributor_t *self, const past_t *newest);
/*  Queues all that we hold for a shard. */
void bring_all (contributor_t *self, size_t shard);
void bring_pump (contributor_t *self, context_t *ctx);
void bring_tick (contributor_t *self, context_t *ctx);
void bring_result (contributor_t *self, context_t *ctx, const chunk_result_t *result);
void held_free (contributor_t *self);

/*  ---- contributor_metrics.c -------------------------------------------------- */

void metrics_report (contributor_t *self, context_t *ctx, const contributor_report_t *report);
void metrics_flush (contributor_t *self, context_t *ctx);
void metrics_answer (contributor_t *self, const message_t *message);
bool metrics_delivered (const contributor_t *self);
