/*  data - what contributors and shards say to each other

    The data plane's messages. Ids: 64-79. They travel in the data lane, with raw
    little-endian float32 as their payload.

    A buffer of count floats is cut into chunks of aggregation.chunk_bytes; chunk
    c belongs to shard c modulo shards. A contributor speaks of one chunk of one
    operation at a time; the shard answers each push, at once or when the last
    rank's contribution is there:

        (job, operation, step, chunk)   what is being computed
        (rank, attempt)                 who contributes to it: once
        (shard, generation)             who computes it

    The epoch is not part of the key: all that an epoch changes is attempts and
    generations, and those are checked one by one.

    push_pull   step is the version of the parameters that the gradient is added
                to. The payload is the gradient, the answer's the parameters of
                version step + 1.
    all_reduce, broadcast, barrier
                step is the program's. Only root has a payload in a broadcast.
    parameters  asks for a chunk of the parameters: step is 0 for the newest, or
                a version + 1. The answer's version says which it is. A payload
                proposes what they shall be if no one has any (version 0).
*/
#pragma once

#include "runtime/message.h"

/* clang-format off */

#define DATA_OPERATIONS(E) \
    E (OPERATION_PUSH_PULL, "push_pull") \
    E (OPERATION_ALL_REDUCE, "all_reduce") \
    E (OPERATION_BROADCAST, "broadcast") \
    E (OPERATION_BARRIER, "barrier") \
    E (OPERATION_PARAMETERS, "parameters")
RECORD_ENUM (data_operation, DATA_OPERATIONS)

/*  In the order of nexus_reduction_t. */
#define DATA_REDUCTIONS(E) E (REDUCTION_SUM, "sum") E (REDUCTION_MEAN, "mean") E (REDUCTION_MAX, "max")
RECORD_ENUM (data_reduction, DATA_REDUCTIONS)

#define PUSH_MODES(E) \
    E (PUSH_CONTRIBUTE, "contribute") /* the contribution itself */ \
    E (PUSH_ASK, "ask")               /* without payload: how does mine stand? */ \
    E (PUSH_SEED, "seed")             /* what this rank holds of what a lost shard had: parameters of \
                                         version step (and, behind them in the same payload, those of \
                                         step - 1), or the result of a step */
RECORD_ENUM (push_mode, PUSH_MODES)

#define CHUNK_STATUSES(E) \
    E (CHUNK_DONE, "done")       /* here is the result (a seed: it is taken) */ \
    E (CHUNK_PENDING, "pending") /* yours is here; text says who is waited for */ \
    E (CHUNK_MISSING, "missing") /* yours is not here: send it */ \
    E (CHUNK_STALE, "stale")     /* attempt, generation or key are not those that the shard knows: try again later */ \
    E (CHUNK_REFUSED, "refused") /* code and text say why; it will stay so */
RECORD_ENUM (chunk_status, CHUNK_STATUSES)

enum { CHUNK_FLOATS_MAX = 2097152 };

#define CHUNK_PUSH(F) \
    F (STRING, job_id, _, .max = 63, .doc = "Job.") \
    F (UINT, epoch, _, .doc = "Of the sender's view; for people.") \
    F (ENUM, operation, data_operation, .doc = "Which operation.") \
    F (ENUM, mode, push_mode, .doc = "What this says about it.") \
    F (UINT, step, _, .doc = "See the operation.") \
    F (UINT, shard, _, .max = 1023, .doc = "Index of the shard that it is for.") \
    F (UINT, generation, _, .doc = "Incarnation of that shard.") \
    F (UINT, chunk, _, .doc = "Which chunk.") \
    F (UINT, chunks, _, .min = 1, .max = 4294967296, .doc = "Of how many.") \
    F (UINT, floats, _, .max = CHUNK_FLOATS_MAX, .doc = "Floats in this chunk.") \
    F (UINT, rank, _, .max = 4095, .doc = "The sender's rank.") \
    F (UINT, attempt, _, .doc = "Incarnation of the rank.") \
    F (ENUM, reduction, data_reduction, .doc = "Of an all-reduce.") \
    F (UINT, root, _, .max = 4095, .doc = "Of a broadcast.") \
    F (REAL, learning_rate, _, .doc = "Of a push_pull.") \
    F (REAL, momentum, _, .doc = "Of a push_pull.") \
    F (REAL, weight_decay, _, .doc = "Of a push_pull.")
RECORD_DECLARE (chunk_push, CHUNK_PUSH)

#define CHUNK_RESULT(F) \
    F (UINT, epoch, _, .doc = "Of the shard's view; for people.") \
    F (ENUM, operation, data_operation, .doc = "As in the push.") \
    F (ENUM, mode, push_mode, .doc = "As in the push.") \
    F (UINT, step, _, .doc = "As in the push.") \
    F (UINT, shard, _, .max = 1023, .doc = "Who answers.") \
    F (UINT, generation, _, .doc = "Its incarnation.") \
    F (UINT, start, _, .doc = "Chosen at random at each start of the shard: another one means that it has lost what it held.") \
    F (UINT, chunk, _, .doc = "As in the push.") \
    F (UINT, rank, _, .max = 4095, .doc = "Whom it is for.") \
    F (UINT, attempt, _, .doc = "Its incarnation.") \
    F (ENUM, status, chunk_status, .doc = "How it stands.") \
    F (UINT, code, _, .max = 64, .doc = "A nexus_code_t, if refused.") \
    F (STRING, text, _, .max = 300, .doc = "For people.") \
    F (UINT, version, _, .doc = "Of the parameters in the payload.")
RECORD_DECLARE (chunk_result, CHUNK_RESULT)

/* clang-format on */

/*  Where a shard lives on its node: actor "shard" with this instance. */
uint64_t shard_instance (const char *job_id, uint64_t index);
