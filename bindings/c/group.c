/*  group - the training part of nexus.h

    A group is a small node: a runtime with the task's own key, a link to the
    worker's agent (ipc), a lane to the shards, and the contributor, each in a
    thread of its own. Public calls ask the contributor and wait.
*/
#include "nexus.h"

#include "actors/aggregator/contributor.h"
#include "nexus_version.h"
#include "runtime/host.h"
#include "storage/checkpoint.h"
#include "transport/link.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TASK_FILE_BYTES_MAX = 65536,
    TIMEOUT_S = 300,
    TIMEOUT_S_MAX = 43200,
    CALL_MS = 86400000, /* the contributor gives up long before */
};
#define COUNT_MAX ((size_t)1 << 34)

struct nexus_group {
    arena_t arena; /* of task */
    task_file_t task;
    keypair_t key;
    keyring_t *keyring;
    log_t *log;
    runtime_t *runtime;
    zactor_t *link;
    zactor_t *lane;
    zactor_t *contributor;
    link_config_t link_config;
    link_config_t lane_config;
    contributor_args_t args;
    contributor_shared_t shared;
    char name[64];
    int64_t join_ms;
};

/*  What may come to a task. */
static const catalog_entry_t kinds[] = {
    {&chunk_result_record, ROLE_BIT (ROLE_WORKER)},
    {&group_view_record, ROLE_BIT (ROLE_WORKER)},
    {&task_stop_record, ROLE_BIT (ROLE_WORKER)},
};
static const catalog_t catalog = {kinds, sizeof (kinds) / sizeof (kinds[0])};

static atomic_bool joined;                /* this process has a group */
static _Atomic (nexus_group_t *) current; /* and it is this one, for leave_at_exit */

const char *nexus_version_text (void)
{
    return NEXUS_VERSION;
}

/*  ---- who we are ------------------------------------------------------------------ */

static int read_text (const char *path, buffer_t *text, nexus_error_t *error)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO,
                                "NEXUS_TASK_FILE: can't open %s: %s", path, strerror (errno));
    uint8_t *room = buffer_reserve (text, TASK_FILE_BYTES_MAX + 1);
    ssize_t size = 0;
    while (room && text->size <= TASK_FILE_BYTES_MAX &&
           (size = read (fd, room + text->size, TASK_FILE_BYTES_MAX + 1 - text->size)) > 0)
        text->size += (size_t)size;
    int reason = errno;
    close (fd);
    if (!room)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    if (size < 0)
        return nexus_error_set (error, NEXUS_IO, "NEXUS_TASK_FILE: can't read %s: %s", path,
                                strerror (reason));
    if (text->size > TASK_FILE_BYTES_MAX)
        return nexus_error_set (error, NEXUS_INVALID,
                                "NEXUS_TASK_FILE: %s is no task file: "
                                "it is larger than %d bytes",
                                path, TASK_FILE_BYTES_MAX);
    return 0;
}

static int check_task (const task_file_t *task, const char *path, nexus_error_t *error)
{
    const char *missing = !task->job_id || !*task->job_id                 ? "job_id"
                          : !task->endpoint || !*task->endpoint           ? "endpoint"
                          : record_key_is_zero (&task->agent)             ? "agent"
                          : record_key_is_zero (&task->public_key)        ? "public_key"
                          : record_key_is_zero (&task->secret_key)        ? "secret_key"
                          : task->world == 0 || task->rank >= task->world ? "world"
                                                                          : NULL;
    if (!missing)
        return 0;
    return nexus_error_set (error, NEXUS_INVALID, "NEXUS_TASK_FILE: %s: %s is missing or wrong",
                            path, missing);
}

static int read_task (nexus_group_t *self, nexus_error_t *error)
{
    const char *path = getenv ("NEXUS_TASK_FILE");
    if (!path || !*path)
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "NEXUS_TASK_FILE is not set: no Nexus job started this program; "
                                "submit it with `nexus job submit`");
    buffer_t text = {0};
    record_faults_t faults = {0};
    int rc = read_text (path, &text, error);
    if (rc == 0 && record_from_yaml (&task_file_record, (const char *)text.data, text.size,
                                     RECORD_ALLOW_READONLY, &self->arena, &self->task, &faults) < 0)
        rc = nexus_error_set (error, NEXUS_INVALID, "NEXUS_TASK_FILE: %s",
                              record_faults_text (&faults, path, &self->arena));
    if (rc == 0)
        rc = check_task (&self->task, path, error);
    if (text.data)
        explicit_bzero (text.data, text.size);
    buffer_free (&text);
    return rc;
}

/*  A number of seconds from the environment, in milliseconds. */
static int read_timeout (const char *name, int64_t *ret_ms, nexus_error_t *error)
{
    const char *text = getenv (name);
    char *end = NULL;
    long seconds = text && *text ? strtol (text, &end, 10) : TIMEOUT_S;
    if ((end && *end) || seconds < 1 || seconds > TIMEOUT_S_MAX)
        return nexus_error_set (error, NEXUS_INVALID,
                                "%s: expected seconds from 1 to %d, found \"%s\"", name,
                                TIMEOUT_S_MAX, text);
    *ret_ms = (int64_t)seconds * 1000;
    return 0;
}

/*  ---- joining -------------------------------------------------------------------------- */

static zactor_t *start_actor (nexus_group_t *self, const behaviour_t *behaviour, const char *name,
                              const void *args, nexus_error_t *error)
{
    child_t child = {.behaviour = behaviour,
                     .name = name,
                     .args = args,
                     .thread = true,
                     .mailbox_bytes_max = (size_t)512 << 20};
    return host_new (self->runtime, &child, error);
}

/*  Asks a local actor; 0 and, if wanted, the reply, or -1. */
static int ask (const nexus_group_t *self, const char *actor, const record_t *kind,
                const void *body, message_t **ret_reply, nexus_error_t *error)
{
    address_t to = address_local (actor, 0);
    message_t *reply = runtime_call (self->runtime, &to, kind, body, CALL_MS, error);
    if (!reply)
        return -1;
    if (ret_reply)
        *ret_reply = reply;
    else
        message_release (&reply);
    return 0;
}

static int start_actors (nexus_group_t *self, nexus_error_t *error)
{
    const char *endpoints[1] = {self->task.endpoint};
    link_dial_t dial = {.node = self->task.agent,
                        .endpoints = {endpoints, 1},
                        .role = ROLE_WORKER,
                        .name = "agent"};
    link_config_t config = {.name = self->name,
                            .key = &self->key,
                            .domain = "group",
                            .keyring = self->keyring,
                            .catalog = &catalog};
    self->link_config = config;
    self->lane_config = config;
    self->lane_config.data = true;
    runtime_route (self->runtime, false, "link");
    runtime_route (self->runtime, true, "lane");
    self->link = start_actor (self, &link_behaviour, "link", &self->link_config, error);
    if (!self->link || ask (self, "link", &link_dial_record, &dial, NULL, error) < 0)
        return -1;
    self->lane = start_actor (self, &link_behaviour, "lane", &self->lane_config, error);
    if (!self->lane)
        return -1;
    self->contributor =
        start_actor (self, &contributor_behaviour, "contributor", &self->args, error);
    return self->contributor ? 0 : -1;
}

static int start_group (nexus_group_t *self, nexus_error_t *error)
{
    int64_t timeout_ms = 0;
    arena_init (&self->arena, 0, NULL, 0);
    if (read_task (self, error) < 0 ||
        read_timeout ("NEXUS_JOIN_TIMEOUT", &self->join_ms, error) < 0 ||
        read_timeout ("NEXUS_TIMEOUT", &timeout_ms, error) < 0)
        return -1;
    snprintf (self->name, sizeof (self->name), "%.50s/%llu", self->task.job_id,
              (unsigned long long)self->task.rank);
    self->key.public_key = self->task.public_key;
    self->key.secret_key = self->task.secret_key;
    self->args = (contributor_args_t){.job_id = self->task.job_id,
                                      .rank = self->task.rank,
                                      .world = self->task.world,
                                      .attempt = self->task.attempt,
                                      .agent = self->task.agent,
                                      .timeout_ms = timeout_ms,
                                      .shared = &self->shared};
    self->keyring = keyring_new ();
    /*  The program's output is its own: what mends itself is not worth a line in it. */
    self->log = log_new (STDERR_FILENO, false, LOG_LEVEL_ERROR, self->name);
    runtime_config_t config = {.name = self->name, .key = self->key.public_key, .log = self->log};
    self->runtime = self->keyring && self->log ? runtime_new (&config, error) : NULL;
    if (!self->runtime)
        return self->keyring && self->log
                   ? -1
                   : nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    return start_actors (self, error);
}

static void destroy_group (nexus_group_t **self_p)
{
    nexus_group_t *self = *self_p;
    *self_p = NULL;
    zactor_destroy (&self->contributor);
    zactor_destroy (&self->lane);
    zactor_destroy (&self->link);
    runtime_destroy (&self->runtime);
    keyring_release (&self->keyring);
    log_destroy (&self->log);
    keypair_wipe (&self->key);
    arena_reset (&self->arena);
    free (self);
}

/*  A program that exits without leaving must not pull CZMQ from under our threads: this
    runs before CZMQ's own exit handler, because it is registered after it. What is
    not delivered yet stays so. */
static void leave_at_exit (void)
{
    nexus_group_t *group = atomic_exchange (&current, NULL);
    if (group)
        destroy_group (&group);
}

static void register_exit (void)
{
    atexit (leave_at_exit);
}

nexus_group_t *nexus_join (nexus_error_t *error)
{
    if (atomic_exchange (&joined, true)) {
        nexus_error_set (error, NEXUS_EXISTS, "this process has joined already: it joins once");
        return NULL;
    }
    nexus_group_t *self = calloc (1, sizeof (*self));
    if (!self) {
        atomic_store (&joined, false);
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    if (start_group (self, error) < 0 ||
        ask (self, "contributor", &contributor_join_record,
             &(contributor_join_t){.timeout_ms = self->join_ms}, NULL, error) < 0) {
        destroy_group (&self);
        atomic_store (&joined, false);
    } else {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once (&once, register_exit);
        atomic_store (&current, self);
    }
    return self;
}

void nexus_leave (nexus_group_t **group_p)
{
    if (!group_p || !*group_p)
        return;
    atomic_store (&current, NULL);
    nexus_error_t error;
    if (ask (*group_p, "contributor", &contributor_leave_record, &(contributor_leave_t){0}, NULL,
             &error) < 0)
        log_warning ((*group_p)->log, "left without the others", LOG_TEXT ("error", error.text));
    destroy_group (group_p);
    atomic_store (&joined, false);
}

/*  ---- what is known without asking -------------------------------------------------------- */

int nexus_rank (const nexus_group_t *group)
{
    return (int)group->task.rank;
}

int nexus_world_size (const nexus_group_t *group)
{
    return (int)group->task.world;
}

int nexus_attempt (const nexus_group_t *group)
{
    return (int)group->task.attempt;
}

uint64_t nexus_epoch (const nexus_group_t *group)
{
    return atomic_load (&group->shared.epoch);
}

const char *nexus_job (const nexus_group_t *group)
{
    return group->task.job_id;
}

int nexus_stopping (const nexus_group_t *group)
{
    return atomic_load (&group->shared.stopping);
}

void nexus_traffic (const nexus_group_t *group, uint64_t *ret_pushed, uint64_t *ret_pulled)
{
    if (ret_pushed)
        *ret_pushed = atomic_load (&group->shared.pushed);
    if (ret_pulled)
        *ret_pulled = atomic_load (&group->shared.pulled);
}

/*  ---- operations ------------------------------------------------------------------------------
 */

/*  Lends the buffers to the contributor until it answers. */
static int operate (nexus_group_t *group, const operate_t *with, uint64_t *ret_version,
                    nexus_error_t *error)
{
    message_t *reply = NULL;
    if (!group)
        return nexus_error_set (error, NEXUS_INVALID, "group is NULL: call nexus_join first");
    if (with->count > COUNT_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "count is %llu: expected at most 2^34",
                                (unsigned long long)with->count);
    if (with->count && (!with->input || !with->output))
        return nexus_error_set (error, NEXUS_INVALID, "a buffer is NULL");
    if (ask (group, "contributor", &operate_record, with, &reply, error) < 0)
        return -1;
    const operated_t *operated = message_body (reply, operated);
    if (ret_version && operated)
        *ret_version = operated->version;
    message_release (&reply);
    return 0;
}

int nexus_parameters (nexus_group_t *group, float *parameters, size_t count, uint64_t *ret_version,
                      nexus_error_t *error)
{
    operate_t with = {.operation = OPERATION_PARAMETERS,
                      .input = (uintptr_t)parameters,
                      .output = (uintptr_t)parameters,
                      .count = count};
    return operate (group, &with, ret_version, error);
}

int nexus_push_pull (nexus_group_t *group, const float *gradient, float *parameters, size_t count,
                     const nexus_update_t *update, nexus_error_t *error)
{
    operate_t with = {.operation = OPERATION_PUSH_PULL,
                      .input = (uintptr_t)gradient,
                      .output = (uintptr_t)parameters,
                      .count = count};
    if (update) {
        if (!isfinite (update->learning_rate) || !isfinite (update->momentum) ||
            !isfinite (update->weight_decay))
            return nexus_error_set (error, NEXUS_INVALID, "update: expected finite numbers");
        with.updates = true;
        with.learning_rate = (double)update->learning_rate;
        with.momentum = (double)update->momentum;
        with.weight_decay = (double)update->weight_decay;
    }
    return operate (group, &with, NULL, error);
}

int nexus_all_reduce (nexus_group_t *group, uint64_t step, nexus_reduction_t reduction, float *data,
                      size_t count, nexus_error_t *error)
{
    if (reduction != NEXUS_SUM && reduction != NEXUS_MEAN && reduction != NEXUS_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "reduction: %d is none", (int)reduction);
    operate_t with = {.operation = OPERATION_ALL_REDUCE,
                      .step = step,
                      .input = (uintptr_t)data,
                      .output = (uintptr_t)data,
                      .count = count,
                      .reduction = (int)reduction};
    return operate (group, &with, NULL, error);
}

int nexus_broadcast (nexus_group_t *group, uint64_t step, int root, float *data, size_t count,
                     nexus_error_t *error)
{
    if (root < 0)
        return nexus_error_set (error, NEXUS_INVALID, "root: %d is no rank", root);
    operate_t with = {.operation = OPERATION_BROADCAST,
                      .step = step,
                      .input = (uintptr_t)data,
                      .output = (uintptr_t)data,
                      .count = count,
                      .root = (uint64_t)root};
    return operate (group, &with, NULL, error);
}

int nexus_barrier (nexus_group_t *group, uint64_t step, nexus_error_t *error)
{
    if (step == UINT64_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "step: the largest number is taken");
    return operate (group, &(operate_t){.operation = OPERATION_BARRIER, .step = step}, NULL, error);
}

/*  ---- metrics -----------------------------------------------------------------------------------
 */

int nexus_report (nexus_group_t *group, const char *name, uint64_t step, double value,
                  nexus_error_t *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = name ? strlen (name) : 0;
    if (!group)
        return nexus_error_set (error, NEXUS_INVALID, "group is NULL: call nexus_join first");
    if (length < 1 || length > 63 || strspn (name, allowed) != length)
        return nexus_error_set (error, NEXUS_INVALID,
                                "metric name \"%.64s\": expected 1 to 63 letters, digits and _",
                                name ? name : "");
    if (!isfinite (value))
        return nexus_error_set (error, NEXUS_INVALID, "metric %s: %g is no finite number", name,
                                value);
    address_t to = address_local ("contributor", 0);
    address_t from = address_local ("program", 0);
    contributor_report_t report = {.name = name, .step = step, .value = value};
    message_t *message = message_new (&contributor_report_record, &report, NULL, &to, &from);
    runtime_send (group->runtime, &message);
    return 0;
}

/*  ---- checkpoints
 * ----------------------------------------------------------------------------------- */

static int check_directory (const nexus_group_t *group, nexus_error_t *error)
{
    if (!group)
        return nexus_error_set (error, NEXUS_INVALID, "group is NULL: call nexus_join first");
    if (!group->task.checkpoints || !*group->task.checkpoints)
        return nexus_error_set (error, NEXUS_UNAVAILABLE,
                                "this job has no checkpoint directory: set checkpoint.dir in its "
                                "job file");
    return 0;
}

int nexus_checkpoint_save (nexus_group_t *group, uint64_t step, const void *data, size_t size,
                           nexus_error_t *error)
{
    if (check_directory (group, error) < 0)
        return -1;
    const task_file_t *task = &group->task;
    if (checkpoint_save (task->checkpoints, task->job_id, task->rank, step, data, size, error) < 0)
        return -1;
    size_t keep = task->checkpoints_keep ? task->checkpoints_keep : 1;
    nexus_error_t why;
    if (checkpoint_prune (task->checkpoints, task->rank, keep, &why) < 0)
        log_warning (group->log, "old checkpoints stay", LOG_TEXT ("error", why.text));
    return 0;
}

int nexus_checkpoint_load (nexus_group_t *group, uint64_t *ret_step, void *data, size_t size,
                           size_t *ret_size, nexus_error_t *error)
{
    if (check_directory (group, error) < 0)
        return -1;
    const task_file_t *task = &group->task;
    checkpoint_reader_t *reader =
        checkpoint_open_newest (task->checkpoints, task->job_id, task->rank, error);
    if (!reader)
        return -1;
    const checkpoint_t *info = checkpoint_info (reader);
    size_t wanted = info->size < size ? (size_t)info->size : size;
    size_t have = 0;
    int64_t got = 1;
    while (have < wanted && got > 0) {
        got = checkpoint_read (reader, (char *)data + have, wanted - have, error);
        if (got > 0)
            have += (size_t)got;
    }
    int rc = got < 0         ? -1
             : have < wanted ? nexus_error_set (error, NEXUS_CORRUPT,
                                                "a checkpoint became shorter while it "
                                                "was read")
                             : 0;
    if (rc == 0 && ret_step)
        *ret_step = info->step;
    if (rc == 0 && ret_size)
        *ret_size = (size_t)info->size;
    checkpoint_close (&reader);
    return rc;
}
