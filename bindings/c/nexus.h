/*  nexus.h - the public C API of Nexus

    Two things are here.

    1. Training. A program that a Nexus job starts (a rank) joins its job's
       aggregation group and exchanges flat float32 buffers with the other
       ranks through the group's sharded aggregators: push/pull of gradients
       against parameters that the aggregators hold, all-reduce, broadcast,
       barrier; it reports metrics and saves checkpoints.

           nexus_error_t error;
           nexus_group_t *group = nexus_join (&error);
           if (!group)
               return fprintf (stderr, "%s\n", error.text), 1;
           uint64_t version;
           if (nexus_parameters (group, parameters, count, &version, &error))
               ...                            // rank 0's at first start, the group's after a restart
           for (uint64_t step = version; step < steps; step++) {
               compute_gradient (step, parameters, gradient);
               if (nexus_push_pull (group, gradient, parameters, count, NULL, &error))
                   ...
           }
           nexus_leave (&group);

       Failures. Ranks, aggregators, workers and masters may die at any time.
       A call on a surviving rank then waits until the group is whole again and
       completes as if nothing had happened; nothing is counted twice. A rank
       that died is started again by Nexus, joins, and nexus_parameters gives
       it the parameters and the version (the number of push_pulls done) to go
       on from. So derive all progress (epoch, position in the data) from the
       version, and name every other collective by a step of its own: a rank
       that comes back repeats the call by its name and gets the same result.

       Determinism. Contributions are summed in float32 in the order of ranks,
       whatever order they arrive in: the same inputs give the same bits.

       Threads. A group belongs to one thread at a time; its sockets run on
       threads of their own. A process joins once.

    2. Embedding. nexus_master and nexus_worker are CZMQ actors:

           zactor_t *master = zactor_new (nexus_master, (void *) &(nexus_node_t){ .config = "m1.yaml" });

    Errors. A function that can fail returns -1 (or NULL) and fills the
    nexus_error_t (which may be NULL); its other outputs are then untouched.
    NEXUS_UNAVAILABLE and NEXUS_DEADLINE are worth a retry; the others not.
*/
#ifndef NEXUS_H
#define NEXUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "nexus_error.h"

/*  "0.1.0" */
NEXUS_EXPORT const char *nexus_version_text (void);

/*  ---- the group --------------------------------------------------------- */

typedef struct nexus_group nexus_group_t;

/*  Joins the group of the job that started this process (from the environment
    that Nexus gave it: NEXUS_TASK_FILE). Waits until the whole gang and its
    aggregators are there, at most NEXUS_JOIN_TIMEOUT seconds (300). NULL with
    the reason otherwise; NEXUS_NOT_FOUND when no Nexus job started us. */
NEXUS_EXPORT nexus_group_t *nexus_join (nexus_error_t *error);

/*  Leaves: what was sent is delivered, connections are closed, memory is freed.
    NULL-safe; *group_p becomes NULL. */
NEXUS_EXPORT void nexus_leave (nexus_group_t **group_p);

NEXUS_EXPORT int nexus_rank (const nexus_group_t *group);
NEXUS_EXPORT int nexus_world_size (const nexus_group_t *group);
/*  How many times this rank was started before: 0 at first. */
NEXUS_EXPORT int nexus_attempt (const nexus_group_t *group);
/*  The membership epoch: grows when a rank or an aggregator was replaced. */
NEXUS_EXPORT uint64_t nexus_epoch (const nexus_group_t *group);
/*  The job's id, valid until nexus_leave. */
NEXUS_EXPORT const char *nexus_job (const nexus_group_t *group);

/*  ---- parameters held by the aggregators -------------------------------- */

/*  Gives all ranks the same parameters of count floats. At the group's first
    start they are rank 0's (the other ranks' buffers are overwritten) and the
    version is 0; later they are what the aggregators hold, after *ret_version
    push_pulls. Call once, before the first push_pull, on every rank. count must
    be equal on all ranks (NEXUS_INVALID), at most 2^34. */
NEXUS_EXPORT int nexus_parameters (nexus_group_t *group, float *parameters, size_t count,
                                   uint64_t *ret_version, nexus_error_t *error);

/*  What the aggregators do with the mean gradient g: SGD with momentum,
    m = momentum * m + g + weight_decay * p;  p = p - learning_rate * m
    (Sutskever et al. 2013, as in PyTorch's SGD). All ranks pass the same. */
typedef struct {
    float learning_rate;
    float momentum;
    float weight_decay;
} nexus_update_t;

/*  One synchronous round: pushes this rank's gradient, waits for those of all
    ranks, pulls the updated parameters into the buffer, which must hold what
    the last call left in it (should an aggregator be lost, it is re-seeded
    from there; the momentum then starts at zero). The gradient is not copied:
    it must stay until the call returns. update NULL: what the job file says. */
NEXUS_EXPORT int nexus_push_pull (nexus_group_t *group, const float *gradient, float *parameters,
                                  size_t count, const nexus_update_t *update, nexus_error_t *error);

/*  ---- collectives, named by a step --------------------------------------- */

typedef enum { NEXUS_SUM, NEXUS_MEAN, NEXUS_MAX } nexus_reduction_t;

/*  Every rank's buffer becomes the element-wise reduction over all ranks, in
    rank order. step names this all-reduce: equal on all ranks, used once and
    growing. Results of the last 8 steps are kept for a rank that comes back. */
NEXUS_EXPORT int nexus_all_reduce (nexus_group_t *group, uint64_t step, nexus_reduction_t reduction,
                                   float *data, size_t count, nexus_error_t *error);

/*  Every rank's buffer becomes root's. Steps as above, in a series of their own. */
NEXUS_EXPORT int nexus_broadcast (nexus_group_t *group, uint64_t step, int root, float *data,
                                  size_t count, nexus_error_t *error);

/*  Returns when every rank has called it with this step. A series of its own. */
NEXUS_EXPORT int nexus_barrier (nexus_group_t *group, uint64_t step, nexus_error_t *error);

/*  ---- metrics, checkpoints, stopping ------------------------------------- */

/*  Reports a value for people and programs that watch the job ("loss",
    "test_accuracy", "images_per_second"): name of 1 to 63 letters, digits and _.
    Never blocks; what is reported faster than once a second a name may be
    thinned, the newest always arrives. */
NEXUS_EXPORT int nexus_report (nexus_group_t *group, const char *name, uint64_t step, double value,
                               nexus_error_t *error);

/*  Writes a checkpoint of this rank (durable and checksummed when it returns) into the job's
    checkpoint directory, and keeps as many as the job says. */
NEXUS_EXPORT int nexus_checkpoint_save (nexus_group_t *group, uint64_t step, const void *data,
                                        size_t size, nexus_error_t *error);

/*  Loads this rank's newest intact checkpoint: its step, and up to size bytes of it into data; *ret_size is its
    whole size. NEXUS_NOT_FOUND if there is none. */
NEXUS_EXPORT int nexus_checkpoint_load (nexus_group_t *group, uint64_t *ret_step, void *data,
                                        size_t size, size_t *ret_size, nexus_error_t *error);

/*  1 when the job is being stopped and the program should save and leave. */
NEXUS_EXPORT int nexus_stopping (const nexus_group_t *group);

/*  Bytes sent to and received from the aggregators since nexus_join. */
NEXUS_EXPORT void nexus_traffic (const nexus_group_t *group, uint64_t *ret_pushed,
                                 uint64_t *ret_pulled);

/*  ---- embedding ----------------------------------------------------------- */

/*  The arguments of the actors below. config names a YAML file (docs/reference:
    master_config, worker_config); or text holds such a document itself. */
typedef struct {
    const char *config;
    const char *text;
} nexus_node_t;

/*  Makes a node's key file, or reads the one that is there; hex (may be NULL) gets its public key as 64
    hex digits, as configurations of other nodes name it. */
NEXUS_EXPORT int nexus_key_file (const char *path, char hex[65], nexus_error_t *error);

/*  Makes the file of a cluster's root key, or checks the one that is there. Every master needs it. */
NEXUS_EXPORT int nexus_root_file (const char *path, nexus_error_t *error);

struct _zsock_t;

/*  A master / a worker as a CZMQ actor: zactor_new (nexus_master, &node). zactor_new
    returns when it runs or has failed to start; it keeps nothing of args.
    Commands on the actor (strings, in one message):
        "STARTED"                     -> "OK", "0 "  |  "ERROR", nexus_code_t, blank, reason
        "STATUS"                      -> "OK", JSON
        "TOKEN", site, uses           -> "OK", join token                 (master)
        "SUBMIT", job file's text     -> "OK", job id                     (master)
        "WAIT", job id, milliseconds  -> "OK", phase ("succeeded" ...)    (master)
        "LOGS", job id, rank          -> "OK", what it has written        (master)
    or "ERROR" and the reason. A node that ends by itself says "DOWN" and the reason, unasked;
    nothing comes after it.
    A node that failed to start answers every command with "ERROR" and the reason.
    zactor_destroy stops the node: tasks are stopped, everything is closed. */
NEXUS_EXPORT void nexus_master (struct _zsock_t *pipe, void *args);
NEXUS_EXPORT void nexus_worker (struct _zsock_t *pipe, void *args);

#ifdef __cplusplus
}
#endif

#endif
