/*  load - what a load generator does, however its requests travel

    Keeps a number of operations in flight, each in a slot: draws the next one,
    hands it to the client's send function, takes the answer, measures. The client
    (etcd_client, nexus_client) owns the sockets and the loop; a load belongs to one
    thread and never blocks.

    An operation that fails, or (once the leader was killed) is not answered within
    retry_ms, is sent again to the next member, with the same number: the first good
    answer ends it, later ones are ignored.
*/
#pragma once

#include "tests/bench/consensus/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LOAD_MEMBERS_MAX = 9, LOAD_KEY_MAX = 32, LOAD_VALUE_SIZE = 256, LOAD_FLIGHT_MAX = 4096 };

typedef enum { LOAD_PUT, LOAD_GET } load_op_t;

typedef struct {
    load_op_t op;
    uint64_t number; /* of the operation; from 1, the same in all its attempts */
    uint64_t after;  /* the newest index that was known when it was first sent */
    char key[LOAD_KEY_MAX];
    size_t key_size;
    uint8_t value[LOAD_VALUE_SIZE]; /* of a put */
} load_request_t;

typedef enum {
    LOAD_OK,
    LOAD_FAILED, /* refused or lost: maybe done, maybe not */
} load_outcome_t;

typedef struct {
    load_op_t op;
    unsigned flight;       /* operations in flight at a time */
    unsigned members;      /* how many there are; attempts go from one to the next */
    unsigned member;       /* the first to be asked */
    bool only;             /* ask that one only */
    char space;            /* keys of different spaces are different */
    uint64_t first, keys;  /* keys first .. first + keys - 1 are drawn at random, or, */
    bool ascending;        /* one after the other; then it ends after the last */
    bool verify;           /* a get must find what the put of its key wrote */
    uint8_t *acknowledged; /* ascending: 1 once a put is acknowledged; of gets: only those */
    int64_t warmup_ms, measure_ms; /* for how long (not ascending) */
    pid_t kill;                    /* this process, */
    int64_t kill_after_ms; /* then; 0: never. Ends settle_ms after the next acknowledgement */
    int64_t settle_ms;
    int64_t retry_ms; /* an unanswered attempt is repeated after that time; 0: never */
    uint64_t seed;
} load_config_t;

/*  May lie in shared memory. */
typedef struct {
    histogram_t latency_ns; /* of what was answered in the measured time */
    uint64_t done;          /* likewise */
    uint64_t failed;        /* attempts, in all */
    uint64_t total;         /* operations done, in all */
    uint64_t wrong;         /* gets that found another value, or none */
    int64_t measured_ns;
    int64_t last_ns;   /* when the last good answer came, of CLOCK_MONOTONIC */
    int64_t gap_ns;    /* from the kill to the next acknowledgement; 0: there was none */
    bool complete;     /* it came to its end */
    char failure[200]; /* the last one's text, if there is one */
} load_result_t;

typedef void (load_send_fn) (void *client, unsigned member, uint64_t tag,
                             const load_request_t *request);
typedef struct load load_t;

/*  config and result outlive it. */
load_t *load_new (const load_config_t *config, load_result_t *result);
void load_destroy (load_t **self_p);
/*  Begins: sends. index: the store's newest index that is known. send must not call back into
    the load. */
void load_start (load_t *self, load_send_fn *send, void *client, uint64_t index, int64_t now_ns);
/*  An attempt's answer. index: the store's newest index that the answer tells, or 0. value: what a
   get found; NULL if there is none. */
void load_answer (load_t *self, uint64_t tag, load_outcome_t outcome, uint64_t index,
                  const uint8_t *value, size_t value_size, int64_t now_ns);
/*  To be called every load_tick_ms. */
void load_tick (load_t *self, int64_t now_ns);
int load_tick_ms (const load_t *self);
/*  True once all that was asked is done: the loop may end. */
bool load_over (const load_t *self);

/*  Adds one thread's result to another's. */
void load_result_merge (load_result_t *self, const load_result_t *other);
