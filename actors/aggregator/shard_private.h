/*  shard_private - what the files of the shard share

    shard.c         membership, checks, the way of a message
    shard_chunk.c   parameters: push_pull rounds and seeding
    shard_series.c  collectives named by a step
*/
#pragma once

#include "actors/aggregator/reduce.h"
#include "actors/aggregator/shard.h"

enum {
    SERIES_COUNT = 3,      /* all_reduce, broadcast, barrier */
    SERIES_STEPS_MAX = 10, /* 8 that are kept, the open one, and one to come */
};

/*  A rank's place in a round. */
typedef struct {
    payload_t *payload;
    uint64_t step; /* push_pull: the version that it is for */
    bool present;
    reduce_update_t update; /* push_pull: what shall be done with the sum */
} contribution_t;

/*  What the ranks say that they hold of a chunk that is not seeded yet. Data
    outlives who brought it: it is what a former shard has answered. */
typedef struct {
    uint64_t have;       /* best's version + 1; 0: best is a proposal */
    payload_t *best;     /* NULL: nobody has any so far */
    payload_t *previous; /* of the version before, or NULL */
    struct {
        bool stated;
        bool asks; /* wants the parameters */
    } ranks[];     /* world */
} seeding_t;

/*  A chunk of the parameters. */
typedef struct {
    uint64_t floats;
    uint64_t version;
    payload_t *parameters;     /* NULL: not seeded */
    payload_t *previous;       /* of version - 1, or NULL */
    float *momentum;           /* NULL: zero */
    contribution_t *gradients; /* world */
    seeding_t *seeding;        /* NULL once seeded */
} chunk_t;

/*  A chunk of a collective. */
typedef struct {
    uint64_t floats;
    uint64_t root;
    data_reduction_t reduction;
    bool opened; /* a contribution has fixed the three above */
    bool done;
    payload_t *result;
    contribution_t *ranks; /* world; NULL when done */
} round_t;

typedef struct {
    uint64_t step;
    uint64_t chunks;
    round_t **rounds; /* by chunk / shards */
    size_t room;
} step_t;

typedef struct {
    step_t steps[SERIES_STEPS_MAX]; /* ascending */
    size_t count;
} series_t;

typedef struct {
    char job_id[64];
    uint64_t index;
    uint64_t generation;
    uint64_t start;
    arena_t arena; /* of the view */
    group_view_t view;
    size_t world;
    size_t shards;
    chunk_t **chunks; /* by chunk / shards */
    size_t room;
    uint64_t chunks_total; /* of the parameters; 0: not known yet */
    series_t series[SERIES_COUNT];
    uint64_t bytes;
    uint64_t bytes_max;
    const void **buffers; /* world; scratch for reductions */
    bool *marks;          /* world; scratch */
    metric_t *pushes;
    metric_t *bytes_in;
    metric_t *bytes_out;
    metric_t *rounds;
    metric_t *held;
} shard_actor_t;

/*  ---- shard.c ------------------------------------------------------------ */

/*  Answers a push: with status and text; with a payload (retained here). */
void shard_answer (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                   chunk_status_t status, const char *text);
void shard_refuse (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                   const char *reason, nexus_code_t code, const char *format, ...)
    __attribute__ ((format (printf, 6, 7)));
void shard_deliver (shard_actor_t *self, context_t *ctx, const chunk_push_t *push, uint64_t version,
                    payload_t *payload);
/*  What a rank would have pushed: the key of an answer that nobody asks for now. */
chunk_push_t shard_push_of (const shard_actor_t *self, data_operation_t operation, uint64_t step,
                            uint64_t chunk, size_t rank);
/*  "ranks 2, 3": those that are neither done nor marked. */
void shard_unmarked_text (const shard_actor_t *self, char text[200]);
/*  Answers PENDING: who has not contributed to the step. */
void shard_answer_pending (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                           const contribution_t *ranks);
/*  Makes room for one more pointer; false (and refused) if there is no memory for it. */
bool shard_room (shard_actor_t *self, void ***array, size_t *room, size_t index);
/*  Is there memory for size bytes more? Counts them in. */
bool shard_take (shard_actor_t *self, uint64_t size);
void shard_give (shard_actor_t *self, uint64_t size);
void contribution_clear (shard_actor_t *self, contribution_t *contribution);

/*  ---- shard_chunk.c ------------------------------------------------------- */

void shard_gradient (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                     payload_t *payload);
void shard_parameters (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                       payload_t *payload);
/*  Takes the marked ranks' contributions out; then completes what can be completed. */
void shard_chunks_drop (shard_actor_t *self);
void shard_chunks_advance (shard_actor_t *self, context_t *ctx);
void shard_chunks_free (shard_actor_t *self);

/*  ---- shard_series.c ------------------------------------------------------ */

void shard_collective (shard_actor_t *self, context_t *ctx, const chunk_push_t *push,
                       payload_t *payload);
void shard_series_drop (shard_actor_t *self);
void shard_series_advance (shard_actor_t *self, context_t *ctx);
void shard_series_free (shard_actor_t *self);
