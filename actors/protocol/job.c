/*  job - the tables of what jobs are made of */
#include "actors/protocol/job.h"

#include <string.h>

/* clang-format off */
RECORD_ENUM_DEFINE (placement_style, PLACEMENT_STYLES)
RECORD_ENUM_DEFINE (job_phase, JOB_PHASES)
RECORD_ENUM_DEFINE (task_phase, TASK_PHASES)
RECORD_ENUM_DEFINE (shard_phase, SHARD_PHASES)

#define RECORD_SELF resources_t
RECORD_DEFINE (resources, 0, 0, "CPU, memory and GPUs.", RESOURCES)
#undef RECORD_SELF
#define RECORD_SELF gang_t
RECORD_DEFINE (gang, 0, 0, "How many ranks run together.", GANG)
#undef RECORD_SELF
#define RECORD_SELF restart_policy_t
RECORD_DEFINE (restart_policy, 0, 0, "What happens when a rank fails.", RESTART)
#undef RECORD_SELF
#define RECORD_SELF stop_policy_t
RECORD_DEFINE (stop_policy, 0, 0, "How a rank is stopped.", STOP)
#undef RECORD_SELF
#define RECORD_SELF aggregation_t
RECORD_DEFINE (aggregation, 0, 0, "Sharded gradient aggregation.", AGGREGATION)
#undef RECORD_SELF
#define RECORD_SELF checkpoint_policy_t
RECORD_DEFINE (checkpoint_policy, 0, 0, "Checkpoints.", CHECKPOINT)
#undef RECORD_SELF
#define RECORD_SELF job_spec_t
RECORD_DEFINE (job_spec, 0, 0, "A job as its user submits it.", JOB_SPEC)
#undef RECORD_SELF
#define RECORD_SELF job_t
RECORD_DEFINE (job, 0, 0, "A job as the cluster keeps it.", JOB)
#undef RECORD_SELF
#define RECORD_SELF task_run_t
RECORD_DEFINE (task_run, 0, 0, "A run of a rank on a worker.", TASK_RUN)
#undef RECORD_SELF
#define RECORD_SELF task_t
RECORD_DEFINE (task, 0, 0, "A rank of a job.", TASK)
#undef RECORD_SELF
#define RECORD_SELF shard_t
RECORD_DEFINE (shard, 0, 0, "An aggregator of a job.", SHARD)
#undef RECORD_SELF
#define RECORD_SELF metric_point_t
RECORD_DEFINE (metric_point, 0, 0, "A reported value.", METRIC_POINT)
#undef RECORD_SELF
/* clang-format on */

bool job_phase_ended (job_phase_t phase)
{
    return phase >= JOB_SUCCEEDED;
}

int64_t job_backoff_ms (const restart_policy_t *policy, uint64_t failures)
{
    enum { BACKOFF_MAX_MS = 60000 };
    uint64_t delay = policy->delay_ms;
    for (uint64_t i = 1; i < failures && delay && delay < BACKOFF_MAX_MS; i++)
        delay = delay * 2 < BACKOFF_MAX_MS ? delay * 2 : BACKOFF_MAX_MS;
    return (int64_t)delay;
}

static bool name_is_good (const char *name)
{
    if (*name < 'a' || *name > 'z')
        return false;
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-'))
            return false;
    return true;
}

static bool path_is_good (const char *path)
{
    return !path || !*path || *path == '/';
}

static void check_paths (const job_spec_t *spec, arena_t *arena, record_faults_t *faults)
{
    if (!spec->command.count || !*spec->command.items[0])
        record_fault (faults, arena, "command", 0, "the program's name is empty");
    if (!path_is_good (spec->workdir))
        record_fault (faults, arena, "workdir", 0, "expected an absolute path, found \"%s\"",
                      spec->workdir);
    if (!path_is_good (spec->checkpoint.dir))
        record_fault (faults, arena, "checkpoint.dir", 0, "expected an absolute path, found \"%s\"",
                      spec->checkpoint.dir);
}

/*  A job travels with each order to run one of its ranks. */
static void check_size (const job_spec_t *spec, arena_t *arena, record_faults_t *faults)
{
    buffer_t bytes = {0};
    record_encode (&job_spec_record, spec, &bytes);
    if (bytes.size > JOB_SPEC_BYTES_MAX)
        record_fault (faults, arena, "", 0,
                      "the job takes %zu bytes, of %d at most: put what is "
                      "large into files",
                      bytes.size, JOB_SPEC_BYTES_MAX);
    buffer_free (&bytes);
}

int job_spec_check (const job_spec_t *spec, arena_t *arena, record_faults_t *faults)
{
    static const char *const signals[] = {"TERM", "INT", "HUP", "USR1", "USR2"};
    size_t before = faults->count;
    if (spec->name && !name_is_good (spec->name))
        record_fault (faults, arena, "name", 0,
                      "expected lower-case letters, digits and dashes, beginning with a letter; "
                      "found \"%s\"",
                      spec->name);
    if (spec->resources.cpu <= 0)
        record_fault (faults, arena, "resources.cpu", 0, "expected more than 0 cores");
    if (spec->gang.max && spec->gang.max < spec->gang.min)
        record_fault (faults, arena, "gang.max", 0, "is below gang.min (%llu < %llu)",
                      (unsigned long long)spec->gang.max, (unsigned long long)spec->gang.min);
    bool known = false;
    for (size_t i = 0; spec->stop.signal && i < sizeof (signals) / sizeof (signals[0]); i++)
        known |= strcmp (spec->stop.signal, signals[i]) == 0;
    if (!known)
        record_fault (faults, arena, "stop.signal", 0,
                      "expected TERM, INT, HUP, USR1 or USR2; found \"%s\"",
                      spec->stop.signal ? spec->stop.signal : "");
    if (spec->aggregation.chunk_bytes % 4)
        record_fault (faults, arena, "aggregation.chunk_bytes", 0,
                      "expected a multiple of 4 (a float's size)");
    for (size_t i = 0; i < spec->env.count; i++)
        if (!spec->env.items[i].key[0] || strchr (spec->env.items[i].key, '='))
            record_fault (faults, arena, "env", 0, "\"%s\" is no name of a variable",
                          spec->env.items[i].key);
    check_paths (spec, arena, faults);
    check_size (spec, arena, faults);
    return faults->count == before ? 0 : -1;
}
