/*  gateway_private - the gateway's state, for its handlers */
#pragma once

#include "actors/gateway/call.h"
#include "actors/gateway/gateway.h"

enum {
    GATEWAY_MASTERS_MAX = 32,
    GATEWAY_TEXT_MAX = 500,
    GATEWAY_PENDING_MAX = 1024, /* requests that wait for another actor */
    GATEWAY_TICK_MS = 1000,
    GATEWAY_HEARD_MS = 2500, /* a master that was heard of within this time is reachable */
    GATEWAY_PROPOSE_MS = 10000,
    GATEWAY_LOOK_MS =
        20, /* how often it looks meanwhile: after 1 ms, then half as often each time */
    GATEWAY_APPLY_MS = 2000, /* how long an answer waits for this master's own ledger */
    GATEWAY_READ_MS = 3000,  /* how long a read waits for a majority's word */
    GATEWAY_VIEW_MS = 1000,
    GATEWAY_BACKUP_MS = 300000 /* a copy of a large ledger takes its time */
};

/*  Another master (or this one), as its gateway said. */
typedef struct {
    master_t master; /* its texts are those below */
    char name[64], endpoint[201], api[201];
    gateway_state_t state;
    int64_t heard_ns; /* 0: never */
    uint64_t probe;   /* correlation of the probe that is out */
} gateway_master_t;

/*  Answers of several actors that one request waits for. */
typedef struct gateway_gather gateway_gather_t;

/*  What a request waits for. */
typedef enum {
    GATEWAY_REPLY,     /* the reply to correlation */
    GATEWAY_PROPOSED,  /* the election's, to correlation, then */
    GATEWAY_APPLIED,   /* that the ledger reaches index */
    GATEWAY_BARRIER,   /* the next read barrier */
    GATEWAY_CONFIRMED, /* the read barrier that is under way */
    GATEWAY_GATHERED   /* all that is gathered */
} gateway_wait_t;

typedef struct {
    gateway_wait_t wait;
    gateway_gather_t *gather;
    uint64_t correlation;
    uint64_t index;
    uint64_t timer;
    int64_t until_ns; /* for the ledger */
    int64_t look_ms;  /* until it is looked at again */
    message_t *request;
    call_next_t *next;
    char value[201];
} gateway_pending_t;

struct gateway {
    const gateway_args_t *args;
    leadership_t leadership;
    uint64_t applied;
    gateway_master_t masters[GATEWAY_MASTERS_MAX];
    size_t master_count;
    gateway_pending_t pending[GATEWAY_PENDING_MAX];
    size_t pending_count;
    uint64_t barrier; /* correlation of the read barrier that is under way; 0: none */
};

#define GATEWAY_OUTSIDE                                                                      \
    "this master is none of the cluster's: it was removed, or has not been let in yet; ask " \
    "another"

/*  The leading master's name; "" while none is known. */
const char *gateway_leader (const gateway_t *gateway);
/*  Why none is known, for people. */
void gateway_no_leader (const gateway_t *gateway, context_t *ctx, char text[GATEWAY_TEXT_MAX]);
/*  Why a linearizable read is not answered; why may be NULL. */
void gateway_unconfirmed (const gateway_t *gateway, context_t *ctx, const failure_t *why,
                          char text[GATEWAY_TEXT_MAX]);
/*  Has this master been heard of lately? This one always. */
bool gateway_reachable (const gateway_t *gateway, context_t *ctx, const gateway_master_t *master);

void gateway_gather_destroy (gateway_gather_t **self_p);
/*  False if it is no answer that this one waits for. */
bool gateway_gather_take (gateway_gather_t *gather, const message_t *reply);
/*  All have answered. */
bool gateway_gather_complete (const gateway_gather_t *gather);

/*  Keeps the call's request until its answer comes; false (and the call is answered: 503)
    when too many wait. */
gateway_pending_t *gateway_keep (call_t *call, call_next_t *next);
