/*  contributor - a rank's side of the aggregation group

    A behaviour at address "contributor" of the rank's own process (its node key is
    the task's). The program's thread asks it, one operation at a time, through
    local requests; it cuts buffers into chunks, keeps a window of them in
    flight to the shards (actors/protocol/data.h), and answers when all results
    are there. Outputs are written only then: a failed operation leaves them as they were.

    Buffers are lent until the answer: contributions are sent from where they lie
    (zero-copy), and an answer waits until the network has let go of them. What has
    to be sent again is copied.

    What goes wrong is set right by asking. A chunk without an answer for a while is
    asked for (a few bytes); the shard says done, pending, or missing, and only
    then the data travel again. Membership comes as group_views from the worker's
    agent; a shard of another generation (or that was started again) is empty: the
    contributor brings it what it holds (the newest parameters and the version
    before, the results of the last 8 steps of each series) at once, whether an
    operation is open or not, and contributes again to the open one.

    No operation waits in silence: without progress for timeout_ms it fails with
    NEXUS_DEADLINE and says whom it waited for.

    Sends: chunk_push to "shard"; task_join, task_metrics to "agent"; link_dial,
           link_hangup to "lane".
    Takes: chunk_result, group_view, task_stop; locally what is below.

    Memory: two versions of the parameters, and of other results the last 8 steps of
    each series, as far as they fit 64 MiB.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "actors/protocol/data.h"
#include "runtime/behaviour.h"

/*  What other threads may read at any time. */
typedef struct {
    _Atomic uint64_t epoch;
    _Atomic uint64_t pushed; /* bytes */
    _Atomic uint64_t pulled;
    _Atomic int stopping;
} contributor_shared_t;

typedef struct {
    const char *job_id;
    uint64_t rank;
    uint64_t world;
    uint64_t attempt;
    record_key_t agent;           /* the worker */
    int64_t timeout_ms;           /* 0: 300,000 */
    int64_t leave_ms;             /* how long leaving waits for the other ranks; 0: 10,000 */
    contributor_shared_t *shared; /* outlives the actor */
} contributor_args_t;

extern const behaviour_t contributor_behaviour;

/* clang-format off */

/*  An operation, as a request. Pointers to count floats travel as numbers: these records
    never leave the process. The reply is an operated. */
#define OPERATE(F) \
    F (ENUM, operation, data_operation, .doc = "Which.") \
    F (UINT, step, _, .doc = "Of a collective.") \
    F (UINT, input, _, .doc = "Pointer to what is contributed.") \
    F (UINT, output, _, .doc = "Pointer to where the result goes; may be the input.") \
    F (UINT, count, _, .max = 17179869184, .doc = "Floats.") \
    F (ENUM, reduction, data_reduction, .doc = "Of an all-reduce.") \
    F (UINT, root, _, .max = 4095, .doc = "Of a broadcast.") \
    F (BOOL, updates, _, .doc = "The next three count, rather than the job's.") \
    F (REAL, learning_rate, _, .doc = "Of a push_pull.") \
    F (REAL, momentum, _, .doc = "Of a push_pull.") \
    F (REAL, weight_decay, _, .doc = "Of a push_pull.")
RECORD_DECLARE (operate, OPERATE)
#define OPERATED(F) F (UINT, version, _, .doc = "Of the parameters.")
RECORD_DECLARE (operated, OPERATED)

/*  As a request: wait for the whole group. The reply is a done. */
#define CONTRIBUTOR_JOIN(F) F (INT, timeout_ms, _, .unit = "ms", .doc = "At most.")
RECORD_DECLARE (contributor_join, CONTRIBUTOR_JOIN)
/*  As a request: wait until nobody needs this rank and all metrics are delivered. The reply is a done. */
#define CONTRIBUTOR_LEAVE(F) F (BOOL, at_once, _, .doc = "Do not wait for the other ranks.")
RECORD_DECLARE (contributor_leave, CONTRIBUTOR_LEAVE)
/*  A metric value; no reply. */
#define CONTRIBUTOR_REPORT(F) \
    F (STRING, name, _, .min = 1, .max = 63, .doc = "Name.") \
    F (UINT, step, _, .doc = "Step.") \
    F (REAL, value, _, .doc = "Value.")
RECORD_DECLARE (contributor_report, CONTRIBUTOR_REPORT)

/* clang-format on */
