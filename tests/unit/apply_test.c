/*  What each command does to the ledger. */
#include "ledger_world.h"

#include "runtime/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static ledger_world_t world;

static int setup (void **state)
{
    (void)state;
    ledger_world_init (&world);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    ledger_world_expect_sound (&world);
    ledger_world_clear (&world);
    return 0;
}

/*  ---- short hands --------------------------------------------------------------- */

static const char *const TRAIN[] = {"train"};
static record_key_t TOKEN_KEY;

static job_spec_t spec_of (uint64_t min, uint64_t max, uint64_t shards)
{
    job_spec_t spec;
    record_init (&job_spec_record, &spec);
    spec.name = "mnist";
    spec.command = (record_strings_t){(const char **)(uintptr_t)TRAIN, 1};
    spec.gang = (gang_t){min, max};
    spec.aggregation.shards = shards;
    return spec;
}

static const char *submit (const job_spec_t *spec)
{
    assert_int_equal (COMMAND (&world, submit_job, .spec = *spec, .time_ms = 1000), NEXUS_OK);
    return arena_strdup (&world.arena, world.value);
}

static nexus_code_t hear (unsigned n, double cpu, worker_state_t state, uint64_t session,
                          const char *reason)
{
    worker_t worker = {.key = key_of (n),
                       .state = (int)state,
                       .reason = reason,
                       .resources = {.cpu = cpu},
                       .lane = "tcp://10.0.0.1:1",
                       .session = session,
                       .name = "ignored",
                       .site = "ignored"};
    return COMMAND (&world, set_worker, .worker = worker, .time_ms = 2000, .heard = true);
}

static nexus_code_t operate (unsigned n, worker_state_t state, const char *reason)
{
    worker_t worker = {.key = key_of (n), .state = (int)state, .reason = reason, .name = "ignored"};
    return COMMAND (&world, set_worker, .worker = worker, .time_ms = 3000);
}

static nexus_code_t enrol (unsigned n, const char *name, const char *site)
{
    worker_t worker = {.key = key_of (n),
                       .name = name,
                       .site = site,
                       .state = WORKER_LOST,
                       .reason = "joined",
                       .enrolled_ms = 500};
    return COMMAND (&world, add_worker, .worker = worker, .token = TOKEN_KEY);
}

/*  Workers 1 to count, w1 ..., each with cpu cores, alive in session 100 + n. */
static void add_workers (unsigned count, double cpu)
{
    TOKEN_KEY = key_of (999);
    token_t token = {.key = TOKEN_KEY, .uses = 100, .not_after_ms = 1000};
    assert_int_equal (COMMAND (&world, add_token, .token = token), NEXUS_OK);
    for (unsigned n = 1; n <= count; n++) {
        char name[16];
        snprintf (name, sizeof (name), "w%u", n);
        assert_int_equal (enrol (n, name, "home"), NEXUS_OK);
        assert_int_equal (hear (n, cpu, WORKER_ACTIVE, 100 + n, ""), NEXUS_OK);
    }
}

/*  ranks: a worker for each rank from 0 on, 0: not placed; likewise shards. Ends with -1. */
static nexus_code_t place (const char *job, uint64_t epoch, const int *ranks, const int *shards)
{
    place_t tasks[16], others[16];
    place_job_t plan = {.job_id = job, .epoch = epoch, .time_ms = 4000};
    plan.tasks.items = tasks;
    plan.shards.items = others;
    for (uint64_t i = 0; ranks && ranks[i] >= 0; i++)
        if (ranks[i])
            tasks[plan.tasks.count++] = (place_t){i, key_of ((unsigned)ranks[i])};
    for (uint64_t i = 0; shards && shards[i] >= 0; i++)
        if (shards[i])
            others[plan.shards.count++] = (place_t){i, key_of ((unsigned)shards[i])};
    return ledger_world_apply (&world, &place_job_record, &plan);
}

#define ON(...) ((const int[]){__VA_ARGS__, -1})

static void report (unsigned worker, const char *job, uint64_t rank, uint64_t attempt,
                    task_phase_t phase, int64_t exit_code, const char *reason)
{
    task_state_t state = {.job_id = job,
                          .rank = rank,
                          .attempt = attempt,
                          .phase = (int)phase,
                          .exit_code = exit_code,
                          .reason = reason};
    if (phase == TASK_RUNNING)
        state.key = key_of (1000 + (unsigned)rank);
    assert_int_equal (COMMAND (&world, update_tasks, .worker = key_of (worker),
                               .tasks = {&state, 1}, .time_ms = 10000),
                      NEXUS_OK);
}

static void report_shard (unsigned worker, const char *job, uint64_t index, uint64_t generation,
                          bool ready)
{
    shard_state_t state = {job, index, generation, ready};
    assert_int_equal (COMMAND (&world, update_tasks, .worker = key_of (worker),
                               .shards = {&state, 1}, .time_ms = 10000),
                      NEXUS_OK);
}

static void expect_job (const char *id, job_phase_t phase, const char *reason)
{
    job_t job = ledger_world_job (&world, id);
    assert_string_equal (record_choice_name (&job_phase_choices, job.phase),
                         record_choice_name (&job_phase_choices, (int)phase));
    assert_string_equal (job.reason, reason);
    assert_true (*job.message);
}

static void expect_task (const char *id, uint64_t rank, task_phase_t phase, unsigned worker,
                         uint64_t attempt)
{
    task_t task = ledger_world_task (&world, id, rank);
    record_key_t none = {{0}}, key = worker ? key_of (worker) : none;
    assert_string_equal (record_choice_name (&task_phase_choices, task.phase),
                         record_choice_name (&task_phase_choices, (int)phase));
    assert_memory_equal (&task.worker, &key, sizeof (key));
    assert_int_equal (task.attempt, attempt);
}

/*  ---- submitting ------------------------------------------------------------------ */

static void test_submit (void **state)
{
    (void)state;
    job_spec_t spec = spec_of (2, 3, 2);
    const char *id = submit (&spec);
    assert_string_equal (id, "mnist-1");
    assert_string_equal (submit (&spec), "mnist-2");
    job_t job = ledger_world_job (&world, id);
    assert_int_equal (job.number, 1);
    assert_int_equal (job.submitted_ms, 1000);
    assert_int_equal (job.started_ms, 0);
    assert_string_equal (job.spec.command.items[0], "train");
    expect_job (id, JOB_QUEUED, "Queued");
    expect_task (id, 2, TASK_WAITING, 0, 0);
    task_t none;
    assert_false (ledger_world_get (&world, LEDGER_TASKS, ledger_key_number (id, 3), &none));
    assert_int_equal (ledger_world_shard (&world, id, 1).phase, SHARD_WAITING);
}

/*  As a once: the same client and sequence yield the same job. */
static nexus_code_t submit_once (uint64_t client, uint64_t sequence, uint64_t after)
{
    submit_job_t command = {.spec = spec_of (1, 0, 0), .time_ms = (int64_t)world.index};
    buffer_t bytes = {0};
    command_encode (&submit_job_record, &command, &bytes);
    nexus_code_t code =
        COMMAND (&world, once, client, sequence, after, .command = {bytes.data, bytes.size});
    buffer_free (&bytes);
    return code;
}

static void test_submit_is_idempotent (void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal (submit_once (5, 1, 0), NEXUS_OK);
        assert_string_equal (world.value, "mnist-1");
        assert_int_equal (world.changed != 0, i == 0);
    }
    assert_int_equal (submit_once (5, 2, 0), NEXUS_OK);
    assert_string_equal (world.value, "mnist-2");
    assert_int_equal (submit_once (6, 1, 0), NEXUS_OK);
    assert_string_equal (world.value, "mnist-3");
}

static void test_submit_refusals (void **state)
{
    (void)state;
    const char *empty[] = {""};
    char *large = calloc (1, 4001);
    memset (large, 'x', 4000);
    const char *much[40];
    for (size_t i = 0; i < 40; i++)
        much[i] = large;
    job_spec_t specs[9];
    for (size_t i = 0; i < 9; i++)
        specs[i] = spec_of (1, 0, 0);
    specs[0].name = "Upper";
    specs[1].gang = (gang_t){3, 2};
    specs[2].resources.cpu = 0;
    specs[3].command = (record_strings_t){empty, 1};
    specs[4].workdir = "somewhere";
    specs[5].checkpoint.dir = "./here";
    specs[6].stop.signal = "SEGV";
    specs[7].command = (record_strings_t){much, 40};
    specs[8].name = "";
    static const char *const words[] = {"name",        "gang.max", "resources.cpu",
                                        "command",     "workdir",  "checkpoint.dir",
                                        "stop.signal", "takes",    "name"};
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal (COMMAND (&world, submit_job, .spec = specs[i]), NEXUS_INVALID);
        if (!strstr (world.error.text, words[i]))
            fail_msg ("%s", world.error.text);
    }
    free (large);
}

/*  ---- lives ------------------------------------------------------------------------ */

/*  A job of two ranks (0 on w1, 1 on w2; a third worker is free), of which each rank may fail
 * twice. */
typedef enum {
    END,
    RUN,
    SUCCEED,
    FAIL,
    STOPPED,
    LOSE,
    BACK,
    RESTART,
    DRAIN,
    UNDRAIN,
    REMOVE,
    CANCEL,
    PLACE
} act_t;

typedef struct {
    act_t act;
    uint64_t who;     /* rank, or worker */
    uint64_t attempt; /* PLACE: the worker */
    job_phase_t phase;
    const char *reason;
} step_t;

#define LIFE_STEPS 16

static const struct {
    const char *what;
    step_t steps[LIFE_STEPS];
} lives[] = {
    {"success",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {RUN, 1, 0, JOB_RUNNING, "Placed"},
      {SUCCEED, 0, 0, JOB_RUNNING, "Placed"},
      {SUCCEED, 1, 0, JOB_SUCCEEDED, "Finished"}}},
    {"success without ever having been seen running",
     {{SUCCEED, 0, 0, JOB_RUNNING, "Placed"}, {SUCCEED, 1, 0, JOB_SUCCEEDED, "Finished"}}},
    {"failures are forgiven, twice",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {FAIL, 0, 0, JOB_RESTARTING, "TaskFailed"},
      {RUN, 0, 1, JOB_RUNNING, "Placed"},
      {FAIL, 0, 1, JOB_RESTARTING, "TaskFailed"},
      {RUN, 0, 2, JOB_RUNNING, "Placed"},
      {SUCCEED, 0, 2, JOB_RUNNING, "Placed"},
      {FAIL, 1, 0, JOB_RESTARTING, "TaskFailed"},
      {SUCCEED, 1, 1, JOB_SUCCEEDED, "Finished"}}},
    {"the third failure ends the job, when the others are at rest",
     {{RUN, 1, 0, JOB_RUNNING, "Placed"},
      {FAIL, 0, 0, JOB_RESTARTING, "TaskFailed"},
      {FAIL, 0, 1, JOB_RESTARTING, "TaskFailed"},
      {FAIL, 0, 2, JOB_STOPPING, "TaskFailed"},
      {FAIL, 1, 0, JOB_FAILED, "TaskFailed"}}},
    {"reports of another attempt are void",
     {{RUN, 0, 1, JOB_RUNNING, "Placed"},
      {FAIL, 0, 1, JOB_RUNNING, "Placed"},
      {FAIL, 0, 0, JOB_RESTARTING, "TaskFailed"},
      {FAIL, 0, 0, JOB_RESTARTING, "TaskFailed"},
      {SUCCEED, 0, 0, JOB_RESTARTING, "TaskFailed"},
      {SUCCEED, 0, 1, JOB_RUNNING, "Placed"}}},
    {"a cancelled job waits for its ranks",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {CANCEL, 0, 0, JOB_STOPPING, "Asked"},
      {CANCEL, 0, 0, JOB_STOPPING, "Asked"},
      {RUN, 1, 0, JOB_STOPPING, "Asked"},
      {STOPPED, 0, 0, JOB_STOPPING, "Asked"},
      {SUCCEED, 1, 0, JOB_CANCELLED, "Asked"}}},
    {"a lost worker's rank is placed anew and costs no attempt",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {LOSE, 1, 0, JOB_RECOVERING, "WorkerGone"},
      {SUCCEED, 0, 0, JOB_RECOVERING, "WorkerGone"}, /* it is not its any more */
      {PLACE, 0, 3, JOB_RUNNING, "Placed"},
      {FAIL, 0, 1, JOB_RESTARTING, "TaskFailed"},
      {FAIL, 0, 2, JOB_RESTARTING, "TaskFailed"},
      {RUN, 0, 3, JOB_RUNNING, "Placed"}}},
    {"restarted worker: what it ran is gone, though it is there",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {RESTART, 1, 0, JOB_RECOVERING, "WorkerGone"},
      {PLACE, 0, 1, JOB_RUNNING, "Placed"},
      {SUCCEED, 0, 0, JOB_RUNNING, "Placed"},
      {SUCCEED, 0, 1, JOB_RUNNING, "Placed"},
      {SUCCEED, 1, 0, JOB_SUCCEEDED, "Finished"}}},
    {"a drained worker's ranks move",
     {{DRAIN, 2, 0, JOB_RECOVERING, "WorkerGone"},
      {PLACE, 1, 3, JOB_RUNNING, "Placed"},
      {UNDRAIN, 2, 0, JOB_RUNNING, "Placed"}}},
    {"a removed worker's ranks move",
     {{REMOVE, 2, 0, JOB_RECOVERING, "WorkerGone"}, {PLACE, 1, 3, JOB_RUNNING, "Placed"}}},
    {"both workers lost at once",
     {{LOSE, 1, 0, JOB_RECOVERING, "WorkerGone"},
      {LOSE, 2, 0, JOB_RECOVERING, "WorkerGone"},
      {PLACE, 0, 3, JOB_RECOVERING, "WorkerGone"},
      {BACK, 1, 0, JOB_RECOVERING, "WorkerGone"},
      {PLACE, 1, 1, JOB_RUNNING, "Placed"}}},
    {"a rank that its worker gave up goes elsewhere",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {STOPPED, 0, 0, JOB_RECOVERING, "TaskStopped"},
      {PLACE, 0, 3, JOB_RUNNING, "Placed"}}},
    {"a job that is stopping while its workers die ends",
     {{RUN, 0, 0, JOB_RUNNING, "Placed"},
      {CANCEL, 0, 0, JOB_STOPPING, "Asked"},
      {LOSE, 1, 0, JOB_STOPPING, "Asked"},
      {REMOVE, 2, 0, JOB_CANCELLED, "Asked"}}},
    {"cancelled while a rank waits for a place",
     {{LOSE, 1, 0, JOB_RECOVERING, "WorkerGone"},
      {CANCEL, 0, 0, JOB_STOPPING, "Asked"},
      {STOPPED, 1, 0, JOB_CANCELLED, "Asked"}}},
};

static void act (const char *job, const step_t *step)
{
    unsigned who = (unsigned)step->who;
    task_t task;
    unsigned worker = who + 1;
    int places[] = {0, 0, -1};
    switch (step->act) {
    case RUN:
    case SUCCEED:
    case FAIL:
    case STOPPED:
        /*  From the worker that has the rank, or had it in the beginning. */
        task = ledger_world_task (&world, job, who);
        for (unsigned n = 1; n <= 3; n++) {
            record_key_t key = key_of (n);
            worker = same_key (&key, &task.worker) ? n : worker;
        }
        report (worker, job, who, step->attempt,
                step->act == RUN       ? TASK_RUNNING
                : step->act == SUCCEED ? TASK_SUCCEEDED
                : step->act == FAIL    ? TASK_FAILED
                                       : TASK_STOPPED,
                step->act == FAIL ? 3 : 0, step->act == FAIL ? "exited with code 3" : "");
        break;
    case LOSE:
        assert_int_equal (hear (who, 4, WORKER_LOST, 100 + who, "it went silent"), NEXUS_OK);
        break;
    case BACK:
        assert_int_equal (hear (who, 4, WORKER_ACTIVE, 100 + who, ""), NEXUS_OK);
        break;
    case RESTART:
        assert_int_equal (hear (who, 4, WORKER_ACTIVE, 200 + who, ""), NEXUS_OK);
        break;
    case DRAIN:
        assert_int_equal (operate (who, WORKER_DRAINING, "new disks"), NEXUS_OK);
        break;
    case UNDRAIN:
        assert_int_equal (operate (who, WORKER_ACTIVE, ""), NEXUS_OK);
        break;
    case REMOVE:
        assert_int_equal (COMMAND (&world, remove_worker, .key = key_of (who), .time_ms = 7000),
                          NEXUS_OK);
        break;
    case CANCEL:
        assert_int_equal (COMMAND (&world, end_job, .job_id = job, .ending = JOB_CANCELLED,
                                   .reason = "Asked", .message = "by hand", .time_ms = 6000),
                          NEXUS_OK);
        break;
    case PLACE:
        places[who] = (int)step->attempt;
        assert_int_equal (place (job, ledger_world_job (&world, job).epoch, places, NULL),
                          NEXUS_OK);
        break;
    case END:
        break;
    }
}

static void test_lives (void **state)
{
    (void)state;
    ledger_world_clear (&world);
    for (size_t i = 0; i < sizeof (lives) / sizeof (lives[0]); i++) {
        ledger_world_init (&world);
        add_workers (3, 4);
        job_spec_t spec = spec_of (2, 0, 0);
        spec.restart.attempts = 2;
        const char *job = submit (&spec);
        assert_int_equal (place (job, 0, ON (1, 2), NULL), NEXUS_OK);
        for (const step_t *step = lives[i].steps; step->act != END; step++) {
            act (job, step);
            job_t now = ledger_world_job (&world, job);
            if (now.phase != (int)step->phase || strcmp (now.reason, step->reason))
                fail_msg ("%s: step %zu: %s, %s (%s)", lives[i].what, step - lives[i].steps,
                          record_choice_name (&job_phase_choices, now.phase), now.reason,
                          now.message);
            ledger_world_expect_sound (&world);
        }
        ledger_world_clear (&world);
    }
    ledger_world_init (&world);
}

/*  ---- details of lives ---------------------------------------------------------------- */

static void test_runs_and_times (void **state)
{
    (void)state;
    add_workers (2, 4);
    job_spec_t spec = spec_of (1, 0, 0);
    spec.restart.attempts = 1000;
    spec.restart.delay_ms = 500;
    const char *job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1), NULL), NEXUS_OK);
    assert_int_equal (ledger_world_job (&world, job).started_ms, 4000);
    assert_int_equal (ledger_world_job (&world, job).epoch, 1);
    report (1, job, 0, 0, TASK_RUNNING, 0, "");
    task_t task = ledger_world_task (&world, job, 0);
    record_key_t key = key_of (1000);
    assert_memory_equal (&task.key, &key, 32);
    assert_int_equal (task.runs.count, 1);
    assert_string_equal (task.runs.items[0].worker_name, "w1");
    assert_string_equal (task.runs.items[0].ending, "");

    /*  Back-off: 500 ms, doubling up to a minute. */
    static const int64_t delays[] = {500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (uint64_t i = 0; i < 80; i++) {
        report (1, job, 0, i, TASK_FAILED, 3, "exited with code 3");
        task = ledger_world_task (&world, job, 0);
        assert_int_equal (task.failures, i + 1);
        assert_int_equal (task.exit_code, 3);
        assert_int_equal (task.not_before_ms, 10000 + delays[i < 8 ? i : 8]);
        assert_int_equal (ledger_world_job (&world, job).epoch, 2 + i);
        assert_true (record_key_is_zero (&task.key));
    }
    assert_int_equal (task.runs.count, 64);
    assert_int_equal (task.runs.items[63].attempt, 80);
    assert_string_equal (task.runs.items[62].ending, "exited with code 3");
    report (1, job, 0, 80, TASK_SUCCEEDED, 0, "");
    assert_int_equal (ledger_world_job (&world, job).ended_ms, 10000);
    assert_string_equal (ledger_world_task (&world, job, 0).runs.items[63].ending, "succeeded");
}

/*  A first delay of more than a minute is what the user wants. */
static void test_long_backoff (void **state)
{
    (void)state;
    add_workers (1, 4);
    job_spec_t spec = spec_of (1, 0, 0);
    spec.restart.delay_ms = 3600000;
    const char *job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1), NULL), NEXUS_OK);
    for (uint64_t i = 0; i < 2; i++) {
        report (1, job, 0, i, TASK_FAILED, 3, "");
        assert_int_equal (ledger_world_task (&world, job, 0).not_before_ms, 10000 + 3600000);
    }
}

/*  Texts that grow on their way must still fit, and stay text. */
static void test_long_texts (void **state)
{
    (void)state;
    add_workers (2, 4);
    job_spec_t spec = spec_of (2, 0, 0);
    const char *job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1, 2), NULL), NEXUS_OK);
    char reason[201];
    for (size_t i = 0; i < 200; i += 2) {
        reason[i] = (char)0xc3;
        reason[i + 1] = (char)0xa9;
    }
    reason[200] = 0;
    assert_int_equal (operate (1, WORKER_DRAINING, reason), NEXUS_OK);
    expect_job (job, JOB_RECOVERING, "WorkerGone");
    assert_true (strlen (ledger_world_task (&world, job, 0).reason) >= 198);
    memset (reason, 'x', 200);
    report (2, job, 1, 0, TASK_FAILED, 1, reason);
    expect_job (job, JOB_RECOVERING, "TaskFailed");
}

static void test_end_refusals (void **state)
{
    (void)state;
    job_spec_t spec = spec_of (1, 0, 0);
    const char *job = submit (&spec);
    static const job_phase_t wrong[] = {JOB_QUEUED, JOB_RUNNING, JOB_STOPPING, JOB_SUCCEEDED};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal (COMMAND (&world, end_job, .job_id = job, .ending = (int)wrong[i]),
                          NEXUS_INVALID);
    assert_int_equal (COMMAND (&world, end_job, .job_id = "", .ending = JOB_FAILED),
                      NEXUS_NOT_FOUND);
    assert_int_equal (COMMAND (&world, end_job, .job_id = "mnist-2", .ending = JOB_FAILED),
                      NEXUS_NOT_FOUND);
    assert_int_equal (COMMAND (&world, end_job, .job_id = job, .ending = JOB_TIMED_OUT,
                               .reason = "R", .message = "m", .time_ms = 5),
                      NEXUS_OK);
    expect_job (job, JOB_TIMED_OUT, "R");
    assert_int_equal (ledger_world_job (&world, job).ended_ms, 5);
    expect_task (job, 0, TASK_STOPPED, 0, 0);
    assert_int_equal (COMMAND (&world, end_job, .job_id = job, .ending = JOB_FAILED),
                      NEXUS_CONFLICT);
}

static void test_explain (void **state)
{
    (void)state;
    add_workers (1, 4);
    job_spec_t spec = spec_of (1, 0, 0);
    const char *job = submit (&spec);
    assert_int_equal (
        COMMAND (&world, explain_job, .job_id = job, .reason = "Why", .message = "so"), NEXUS_OK);
    expect_job (job, JOB_QUEUED, "Why");
    assert_int_equal (place (job, 0, ON (1), NULL), NEXUS_OK);
    assert_int_equal (
        COMMAND (&world, explain_job, .job_id = job, .reason = "Late", .message = "x"),
        NEXUS_OK); /* it waits no more */
    expect_job (job, JOB_RUNNING, "Placed");
    assert_int_equal (COMMAND (&world, explain_job, .job_id = "none", .reason = "Why"),
                      NEXUS_NOT_FOUND);
}

/*  ---- placing ---------------------------------------------------------------------------- */

static void test_place_conflicts (void **state)
{
    (void)state;
    add_workers (3, 2);
    job_spec_t spec = spec_of (2, 4, 1);
    const char *job = submit (&spec);
    assert_int_equal (operate (3, WORKER_DRAINING, ""), NEXUS_OK);
    assert_int_equal (place ("mnist-9", 0, ON (1, 2), ON (1)), NEXUS_NOT_FOUND);
    assert_int_equal (place (job, 1, ON (1, 2), ON (1)), NEXUS_CONFLICT);    /* epoch */
    assert_int_equal (place (job, 0, NULL, NULL), NEXUS_CONFLICT);           /* nothing */
    assert_int_equal (place (job, 0, ON (1), ON (1)), NEXUS_CONFLICT);       /* below min */
    assert_int_equal (place (job, 0, ON (1, 0, 2), ON (1)), NEXUS_CONFLICT); /* a gap */
    assert_int_equal (place (job, 0, ON (0, 1, 2), ON (1)), NEXUS_CONFLICT); /* without 0 */
    assert_int_equal (place (job, 0, ON (1, 2), NULL), NEXUS_CONFLICT);      /* no shard */
    assert_int_equal (place (job, 0, ON (1, 3), ON (1)), NEXUS_CONFLICT);    /* draining */
    assert_int_equal (place (job, 0, ON (1, 2), ON (3)), NEXUS_CONFLICT);
    assert_int_equal (place (job, 0, ON (1, 7), ON (1)), NEXUS_CONFLICT);          /* unknown */
    assert_int_equal (place (job, 0, ON (1, 1, 1), ON (1)), NEXUS_CONFLICT);       /* no room */
    assert_int_equal (place (job, 0, ON (1, 2, 1, 2, 1), ON (1)), NEXUS_CONFLICT); /* too many */
    place_t twice[] = {{0, key_of (1)}, {0, key_of (2)}};
    assert_int_equal (
        COMMAND (&world, place_job, .job_id = job, .tasks = {twice, 2}, .shards = {twice, 1}),
        NEXUS_CONFLICT);
    place_t once[] = {{0, key_of (1)}, {1, key_of (2)}};
    assert_int_equal (
        COMMAND (&world, place_job, .job_id = job, .tasks = {once, 2}, .shards = {twice, 2}),
        NEXUS_CONFLICT);
    expect_job (job, JOB_QUEUED, "Queued");
    assert_int_equal (place (job, 0, ON (1, 1, 2), ON (2)), NEXUS_OK);
    expect_job (job, JOB_RUNNING, "Placed");
    assert_int_equal (place (job, 0, ON (0, 0, 0, 2), NULL), NEXUS_CONFLICT);
    assert_int_equal (place (job, 1, ON (0, 0, 0, 2), NULL), NEXUS_CONFLICT); /* it has three now */
    task_t none;
    assert_false (ledger_world_get (&world, LEDGER_TASKS, ledger_key_number (job, 3), &none));

    /*  Room is what is left beside other jobs. */
    spec = spec_of (1, 0, 0);
    const char *other = submit (&spec);
    assert_int_equal (place (other, 0, ON (1), NULL), NEXUS_CONFLICT);
    assert_non_null (strstr (world.error.text, "w1 has no room"));
    assert_int_equal (place (other, 0, ON (2), NULL), NEXUS_OK);
    report (1, job, 1, 0, TASK_SUCCEEDED, 0, ""); /* gives its room back */
    const char *third = submit (&spec);
    assert_int_equal (place (third, 0, ON (2), NULL), NEXUS_CONFLICT);
    assert_int_equal (place (third, 0, ON (1), NULL), NEXUS_OK);
}

/*  Figures near 2^64 don't wrap around. */
static void test_place_huge (void **state)
{
    (void)state;
    add_workers (1, 8);
    worker_t worker = {.key = key_of (1),
                       .name = "x",
                       .session = 101,
                       .resources = {.cpu = 8, .memory = UINT64_MAX, .gpus = 4}};
    assert_int_equal (COMMAND (&world, set_worker, .worker = worker, .heard = true), NEXUS_OK);
    job_spec_t spec = spec_of (2, 0, 0);
    spec.resources.memory = UINT64_C (1) << 63;
    const char *job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1, 1), NULL), NEXUS_CONFLICT);
    spec.resources.memory = (UINT64_C (1) << 63) - 1;
    job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1, 1), NULL), NEXUS_OK);
    spec = spec_of (5, 0, 0);
    spec.resources.gpus = 1;
    job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1, 1, 1, 1, 1), NULL), NEXUS_CONFLICT);
    spec.gang.min = 4;
    job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1, 1, 1, 1), NULL), NEXUS_OK);
}

static void test_shards (void **state)
{
    (void)state;
    add_workers (3, 4);
    job_spec_t spec = spec_of (1, 0, 2);
    const char *job = submit (&spec);
    assert_int_equal (place (job, 0, ON (1), ON (1, 2)), NEXUS_OK);
    shard_t shard = ledger_world_shard (&world, job, 1);
    assert_int_equal (shard.phase, SHARD_ASSIGNED);
    assert_int_equal (shard.generation, 1);
    report_shard (1, job, 1, 1, true); /* not its */
    report_shard (2, job, 1, 2, true); /* another generation */
    report_shard (2, job, (UINT64_C (1) << 32) + 1, 1, true);
    report_shard (2, "none", 1, 1, true);
    assert_int_equal (ledger_world_shard (&world, job, 1).phase, SHARD_ASSIGNED);
    report_shard (2, job, 1, 1, false); /* not yet */
    report_shard (2, job, 1, 1, true);
    assert_int_equal (ledger_world_shard (&world, job, 1).phase, SHARD_READY);
    expect_job (job, JOB_RUNNING, "Placed");
    uint64_t epoch = ledger_world_job (&world, job).epoch;
    report_shard (2, job, 1, 1, false);
    expect_job (job, JOB_RECOVERING, "AggregatorFailed");
    assert_int_equal (ledger_world_job (&world, job).epoch, epoch + 1);
    assert_int_equal (place (job, epoch + 1, NULL, ON (0, 3)), NEXUS_OK);
    assert_int_equal (ledger_world_shard (&world, job, 1).generation, 2);
    assert_int_equal (hear (3, 4, WORKER_LOST, 103, "gone"), NEXUS_OK);
    expect_job (job, JOB_RECOVERING, "WorkerGone");
    expect_task (job, 0, TASK_ASSIGNED, 1, 0); /* ranks run on meanwhile */
    report (1, job, 0, 0, TASK_SUCCEEDED, 0, "");
    expect_job (job, JOB_SUCCEEDED, "Finished");
    assert_int_equal (ledger_world_shard (&world, job, 0).phase, SHARD_WAITING);
}

/*  Many states in one report, of several jobs, mixed. */
static void test_reports_of_many (void **state)
{
    (void)state;
    add_workers (1, 8);
    job_spec_t spec = spec_of (2, 0, 1);
    const char *a = submit (&spec), *b = submit (&spec);
    assert_int_equal (place (a, 0, ON (1, 1), ON (1)), NEXUS_OK);
    assert_int_equal (place (b, 0, ON (1, 1), ON (1)), NEXUS_OK);
    task_state_t tasks[] = {{.job_id = a, .phase = TASK_SUCCEEDED},
                            {.job_id = b, .rank = 1, .phase = TASK_RUNNING, .key = key_of (7)},
                            {.job_id = "", .rank = 1, .phase = TASK_RUNNING},
                            {.job_id = b, .rank = UINT64_MAX, .phase = TASK_SUCCEEDED},
                            {.job_id = a, .rank = 1, .phase = TASK_SUCCEEDED},
                            {.job_id = a, .rank = 1, .phase = TASK_FAILED},
                            {.job_id = b, .rank = 0, .phase = TASK_FAILED}};
    shard_state_t shards[] = {{a, 0, 1, true}, {b, 0, 1, true}};
    assert_int_equal (COMMAND (&world, update_tasks, .worker = key_of (1), .tasks = {tasks, 7},
                               .shards = {shards, 2}, .time_ms = 77),
                      NEXUS_OK);
    expect_job (a, JOB_SUCCEEDED, "Finished");
    assert_int_equal (ledger_world_shard (&world, a, 0).phase, SHARD_WAITING);
    expect_job (b, JOB_RESTARTING, "TaskFailed");
    expect_task (b, 0, TASK_ASSIGNED, 1, 1);
    expect_task (b, 1, TASK_RUNNING, 1, 0);
    assert_int_equal (ledger_world_shard (&world, b, 0).phase, SHARD_READY);
}

/*  ---- workers -------------------------------------------------------------------------------- */

static void test_enrolment (void **state)
{
    (void)state;
    record_key_t none = {{0}};
    TOKEN_KEY = key_of (999);
    assert_int_equal (enrol (1, "w1", "home"), NEXUS_DENIED); /* no such token */
    token_t token = {.key = TOKEN_KEY, .site = "home", .uses = 2, .not_after_ms = 500};
    assert_int_equal (COMMAND (&world, add_token, .token = {.key = none, .uses = 1}),
                      NEXUS_INVALID);
    assert_int_equal (COMMAND (&world, add_token, .token = {.key = TOKEN_KEY}), NEXUS_INVALID);
    assert_int_equal (COMMAND (&world, add_token, .token = token), NEXUS_OK);
    assert_int_equal (COMMAND (&world, set_master, .master = {.key = key_of (50), .name = "m1"}),
                      NEXUS_OK); /* nobody has said yet who the masters are */
    assert_int_equal (enrol (1, "w1", "away"), NEXUS_DENIED);
    assert_int_equal (enrol (1, "w 1", "home"), NEXUS_INVALID);
    assert_int_equal (enrol (1, "../w1", "home"), NEXUS_INVALID);
    assert_int_equal (enrol (50, "w1", "home"), NEXUS_DENIED);  /* a master's key */
    assert_int_equal (enrol (999, "w1", "home"), NEXUS_DENIED); /* the token's own */
    assert_int_equal (COMMAND (&world, add_worker, .worker = {.name = "w1"}, .token = TOKEN_KEY),
                      NEXUS_DENIED);
    assert_int_equal (enrol (1, "w1", "home"), NEXUS_OK);
    assert_int_equal (enrol (1, "w1", "home"), NEXUS_OK); /* asked again: costs nothing */
    assert_int_equal (enrol (1, "other", "home"), NEXUS_EXISTS);
    assert_int_equal (enrol (2, "w1", "home"), NEXUS_EXISTS);
    assert_int_equal (enrol (2, "w2", "home"), NEXUS_OK);
    assert_int_equal (enrol (3, "w3", "home"), NEXUS_DENIED);
    assert_non_null (strstr (world.error.text, "used up"));
    assert_int_equal (
        COMMAND (&world, add_token, .token = {.key = key_of (998), .uses = 1, .not_after_ms = 499}),
        NEXUS_OK);
    TOKEN_KEY = key_of (998);
    assert_int_equal (enrol (3, "w3", "home"), NEXUS_DENIED);
    assert_non_null (strstr (world.error.text, "expired"));
    assert_int_equal (COMMAND (&world, add_token, .token = {.key = key_of (50), .uses = 1}),
                      NEXUS_DENIED);
    assert_int_equal (COMMAND (&world, add_token, .token = {.key = key_of (1), .uses = 1}),
                      NEXUS_DENIED);
    assert_int_equal (COMMAND (&world, set_master, .master = {.key = key_of (1), .name = "m"}),
                      NEXUS_DENIED);

    assert_int_equal (COMMAND (&world, remove_worker, .key = key_of (1)), NEXUS_OK);
    assert_int_equal (COMMAND (&world, remove_worker, .key = key_of (1)), NEXUS_NOT_FOUND);
    assert_int_equal (hear (1, 4, WORKER_ACTIVE, 1, ""), NEXUS_NOT_FOUND);
    assert_int_equal (COMMAND (&world, add_token, .token = token), NEXUS_OK);
    TOKEN_KEY = token.key;
    assert_int_equal (enrol (4, "w1", "home"), NEXUS_OK); /* the name is free again */
}

static void test_drain_and_loss (void **state)
{
    (void)state;
    add_workers (1, 4);
    worker_t worker = ledger_world_worker (&world, 1);
    assert_string_equal (worker.name, "w1");
    assert_string_equal (worker.site, "home");
    assert_int_equal (worker.session, 101);
    assert_true (worker.resources.cpu > 3);
    assert_int_equal (worker.enrolled_ms, 500);
    assert_int_equal (operate (1, WORKER_LOST, ""), NEXUS_INVALID);

    /*  A drain outlives a loss and what the registry writes meanwhile. */
    assert_int_equal (operate (1, WORKER_DRAINING, "new disks"), NEXUS_OK);
    assert_int_equal (hear (1, 6, WORKER_ACTIVE, 101, ""), NEXUS_OK);
    worker = ledger_world_worker (&world, 1);
    assert_int_equal (worker.state, WORKER_DRAINING);
    assert_string_equal (worker.reason, "new disks");
    assert_true (worker.resources.cpu > 5);
    assert_int_equal (hear (1, 6, WORKER_LOST, 101, "it went silent"), NEXUS_OK);
    assert_int_equal (ledger_world_worker (&world, 1).state, WORKER_LOST);
    assert_int_equal (hear (1, 6, WORKER_ACTIVE, 101, ""), NEXUS_OK);
    assert_int_equal (ledger_world_worker (&world, 1).state, WORKER_DRAINING);
    assert_int_equal (operate (1, WORKER_ACTIVE, ""), NEXUS_OK);
    assert_int_equal (ledger_world_worker (&world, 1).state, WORKER_ACTIVE);

    /*  An operator's command does not bring a lost worker back, nor undo what it said of itself. */
    assert_int_equal (hear (1, 6, WORKER_LOST, 101, "it went silent"), NEXUS_OK);
    assert_int_equal (operate (1, WORKER_ACTIVE, ""), NEXUS_OK);
    worker = ledger_world_worker (&world, 1);
    assert_int_equal (worker.state, WORKER_LOST);
    assert_string_equal (worker.reason, "it went silent");
    assert_int_equal (operate (1, WORKER_DRAINING, "later"), NEXUS_OK);
    assert_int_equal (ledger_world_worker (&world, 1).state, WORKER_LOST);
    assert_int_equal (hear (1, 6, WORKER_ACTIVE, 101, ""), NEXUS_OK);
    worker = ledger_world_worker (&world, 1);
    assert_int_equal (worker.state, WORKER_DRAINING);
    assert_int_equal (worker.session, 101);
}

/*  ---- metrics -------------------------------------------------------------------------------- */

static void add_point (const char *job, const char *name, uint64_t step, double value)
{
    metric_report_t point = {job, {.name = name, .step = step, .value = value, .time_ms = 5}};
    assert_int_equal (COMMAND (&world, add_metrics, .points = {&point, 1}), NEXUS_OK);
}

static size_t points (void)
{
    tables_txn_t *txn = tables_begin (world.tables, false, NULL);
    size_t count = tables_count (txn, LEDGER_METRICS);
    tables_abort (&txn);
    return count;
}

static void test_metrics (void **state)
{
    (void)state;
    job_spec_t spec = spec_of (1, 0, 0);
    const char *job = submit (&spec);
    add_point (job, "loss", 7, 0.5);
    add_point (job, "loss", 7, 0.25); /* again: the last one counts */
    assert_int_equal (points (), 1);
    metric_point_t point;
    assert_true (
        ledger_world_get (&world, LEDGER_METRICS, ledger_key_metric (job, "loss", 7), &point));
    assert_true (fabs (point.value - 0.25) < 1e-9);
    add_point ("none-1", "loss", 7, 0.5);
    add_point ("", "loss", 7, 0.5);
    add_point (job, "a b", 7, 0.5);
    add_point (job, "a/b", 7, 0.5);
    assert_int_equal (points (), 1);

    /*  A ring: 2,000 points, the lowest steps go first. */
    for (uint64_t step = 8; step < 2010; step++)
        add_point (job, "loss", step, 1);
    assert_int_equal (points (), 2000);
    assert_false (
        ledger_world_get (&world, LEDGER_METRICS, ledger_key_metric (job, "loss", 9), &point));
    assert_true (
        ledger_world_get (&world, LEDGER_METRICS, ledger_key_metric (job, "loss", 10), &point));
    add_point (job, "loss", 2009, 3); /* one that is there pushes none out */
    assert_true (
        ledger_world_get (&world, LEDGER_METRICS, ledger_key_metric (job, "loss", 10), &point));
    assert_int_equal (points (), 2000);

    /*  A program that makes up a name each step does not fill the disk. */
    char name[16];
    for (int i = 0; i < 400; i++) {
        snprintf (name, sizeof (name), "loss_%d", i);
        add_point (job, name, 1, 1);
    }
    assert_int_equal (points (), 2000 + 255);
    add_point (job, "loss_0", 2, 1);
    assert_int_equal (points (), 2000 + 256);
}

/*  ---- hostile and random commands
 * ---------------------------------------------------------------- */

static void test_hostile (void **state)
{
    (void)state;
    add_workers (2, 4);
    job_spec_t spec = spec_of (2, 0, 1);
    const char *job = submit (&spec);
    assert_int_equal (ledger_world_apply_bytes (&world, NULL, 0), NEXUS_INVALID);
    assert_int_equal (ledger_world_apply_bytes (&world, (const uint8_t *)"\0", 1), NEXUS_INVALID);
    assert_int_equal (ledger_world_apply_bytes (&world, (const uint8_t *)"\xff\xff\x90", 3),
                      NEXUS_INVALID);
    random_t random;
    random_seed (&random, 7);
    place_t places[] = {{0, key_of (1)}, {1, key_of (2)}};
    place_job_t plan = {.job_id = job, .tasks = {places, 2}, .shards = {places, 1}};
    buffer_t good = {0};
    command_encode (&place_job_record, &plan, &good);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[400];
        size_t size = random_below (&random, sizeof (bytes));
        for (size_t b = 0; b < size; b++)
            bytes[b] = (uint8_t)random_next (&random);
        if (size > 2) {
            bytes[0] = 0;
            bytes[1] = (uint8_t)(198 + random_below (&random, 15));
            bytes[2] = (uint8_t)(0x90 + random_below (&random, 8));
        }
        ledger_world_apply_bytes (&world, bytes, size);
        /*  A good command with a byte changed. */
        uint8_t *copy = malloc (good.size);
        memcpy (copy, good.data, good.size);
        copy[random_below (&random, good.size)] = (uint8_t)random_next (&random);
        ledger_world_apply_bytes (&world, copy, good.size);
        free (copy);
    }
    buffer_free (&good);
}

static const char *random_job (random_t *random, char text[32])
{
    snprintf (text, 32, "mnist-%u", (unsigned)random_below (random, 12));
    return text;
}

/*  Any command, with values that often mean something. */
static void random_command (random_t *random, ledger_world_t *look, buffer_t *out)
{
    char job[32];
    unsigned n = 1 + (unsigned)random_below (random, 4);
    place_t tasks[4], shards[2];
    job_t now = {.epoch = 0};
    random_job (random, job);
    if (random_below (random, 8) &&
        !ledger_world_get (look, LEDGER_JOBS, ledger_key_text (job), &now))
        now.epoch = 0;
    /* A job is rarely cancelled, or it would have no other end. */
    uint64_t what = random_below (random, 12);
    switch (what == 1 && random_below (random, 20) ? 11 : what) {
    case 0: {
        job_spec_t spec = spec_of (1 + random_below (random, 3), 0, random_below (random, 3));
        spec.gang.max = random_below (random, 2) ? spec.gang.min + 1 : 0;
        spec.restart.attempts = random_below (random, 3);
        submit_job_t command = {.spec = spec, .time_ms = 1};
        command_encode (&submit_job_record, &command, out);
        break;
    }
    case 1:
        command_encode (&end_job_record, &(end_job_t){.job_id = job, .ending = JOB_CANCELLED}, out);
        break;
    case 2:
    case 3: {
        place_job_t plan = {
            .job_id = job, .epoch = now.epoch, .tasks = {tasks, 0}, .shards = {shards, 0}};
        for (uint64_t i = 0; i < 4; i++)
            if (random_below (random, 3) || !now.epoch)
                tasks[plan.tasks.count++] =
                    (place_t){i, key_of (1 + (unsigned)random_below (random, 4))};
        plan.tasks.count = random_below (random, plan.tasks.count + 1);
        for (uint64_t i = 0; i < 2; i++)
            shards[plan.shards.count++] =
                (place_t){i, key_of (1 + (unsigned)random_below (random, 4))};
        plan.shards.count = random_below (random, 3);
        command_encode (&place_job_record, &plan, out);
        break;
    }
    case 4: {
        worker_t worker = {.key = key_of (n),
                           .name = "x",
                           .session = 1 + (random_below (random, 8) == 0),
                           .resources = {.cpu = 3},
                           .lane = "tcp://1.2.3.4:5",
                           .state = random_below (random, 8) ? WORKER_ACTIVE : WORKER_LOST};
        command_encode (&set_worker_record, &(set_worker_t){worker, 4, true}, out);
        break;
    }
    case 5: {
        worker_t worker = {.key = key_of (n),
                           .name = "x",
                           .state = random_below (random, 4) ? WORKER_ACTIVE : WORKER_DRAINING};
        command_encode (&set_worker_record, &(set_worker_t){.worker = worker}, out);
        break;
    }
    default: {
        task_state_t states[3];
        task_t task;
        shard_state_t others[1] = {{job, random_below (random, 2), 1 + random_below (random, 3),
                                    random_below (random, 4) > 0}};
        update_tasks_t command = {
            .worker = key_of (n), .tasks = {states, 3}, .shards = {others, 1}};
        for (size_t i = 0; i < 3; i++) {
            states[i] = (task_state_t){
                .job_id = job,
                .rank = random_below (random, 4),
                .attempt = random_below (random, 4),
                .phase = random_below (random, 2) ? TASK_SUCCEEDED : (int)random_below (random, 6)};
            /* Mostly what its worker would say. */
            ledger_key_t key = ledger_key_number (job, states[i].rank);
            if (random_below (random, 4) && ledger_world_get (look, LEDGER_TASKS, key, &task)) {
                states[i].attempt = task.attempt;
                command.worker = task.worker;
            }
        }
        command_encode (&update_tasks_record, &command, out);
    }
    }
}

/*  Two masters that apply the same commands hold the same bytes, and nothing that
    must hold ever breaks. */
static void test_determinism (void **state)
{
    (void)state;
    size_t phases[9] = {0};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        random_t random;
        ledger_world_t other;
        ledger_world_clear (&world);
        ledger_world_init (&world);
        ledger_world_init (&other);
        ledger_world_t first = world;
        random_seed (&random, seed);
        add_workers (4, 3);
        world.tables = other.tables;
        add_workers (4, 3);
        world.tables = first.tables;
        for (int i = 0; i < 1500; i++) {
            buffer_t command = {0}, a = {0}, b = {0};
            random_command (&random, &world, &command);
            nexus_code_t code = ledger_world_apply_bytes (&world, command.data, command.size);
            assert_int_equal (code, ledger_world_apply_bytes (&other, command.data, command.size));
            assert_string_equal (world.error.text, other.error.text);
            assert_string_equal (world.value, other.value);
            ledger_world_expect_sound (&world);
            if (i % 50 == 0) {
                ledger_world_dump (world.tables, &a);
                ledger_world_dump (other.tables, &b);
                assert_int_equal (a.size, b.size);
                assert_memory_equal (a.data, b.data, a.size);
                buffer_free (&a);
                buffer_free (&b);
                arena_reset (&world.arena);
            }
            buffer_free (&command);
        }
        char id[32];
        job_t job;
        for (int i = 1; i < 12; i++) {
            snprintf (id, sizeof (id), "mnist-%d", i);
            if (ledger_world_get (&world, LEDGER_JOBS, ledger_key_text (id), &job))
                phases[job.phase]++;
        }
        ledger_world_clear (&other);
    }
    if (getenv ("VERBOSE"))
        for (int i = 0; i < 9; i++)
            print_message ("%s %zu\n", record_choice_name (&job_phase_choices, i), phases[i]);
    /*  Random commands reach the interesting places. */
    assert_true (phases[JOB_SUCCEEDED] && phases[JOB_FAILED] && phases[JOB_CANCELLED]);
}

/*  ---- the key-value store --------------------------------------------------------- */

static nexus_code_t put (const char *key, const char *value, bool compare, uint64_t version)
{
    return COMMAND (&world, kv_put, key, {(const uint8_t *)value, strlen (value)}, compare,
                    version);
}

static void expect_entry (const char *key, const char *value, uint64_t version, uint64_t created)
{
    kv_entry_t entry;
    assert_true (ledger_world_get (&world, LEDGER_KV, ledger_key_text (key), &entry));
    assert_string_equal (entry.key, key);
    assert_int_equal (entry.value.size, strlen (value));
    if (*value)
        assert_memory_equal (entry.value.data, value, strlen (value));
    assert_int_equal (entry.version, version);
    assert_int_equal (entry.created, created);
}

static uint64_t kv_bytes (void)
{
    tables_txn_t *txn = tables_begin (world.tables, false, NULL);
    uint64_t bytes = ledger_number (txn, LEDGER_KV_BYTES);
    tables_abort (&txn);
    return bytes;
}

static void test_kv (void **state)
{
    (void)state;
    kv_entry_t none;
    assert_int_equal (put ("a", "one", false, 0), NEXUS_OK);
    assert_string_equal (world.value, "1");
    assert_int_equal (put ("a/b", "", false, 0), NEXUS_OK);
    assert_int_equal (put ("a", "two!", false, 0), NEXUS_OK);
    assert_string_equal (world.value, "3");
    expect_entry ("a", "two!", 3, 1);
    expect_entry ("a/b", "", 2, 2);
    assert_int_equal (kv_bytes (), 1 + 4 + 3);
    /*  Compare: the version that is there, or 0 for none. */
    assert_int_equal (put ("a", "x", true, 1), NEXUS_CONFLICT);
    assert_non_null (strstr (world.error.text, "\"a\" has version 3, not 1"));
    assert_int_equal (put ("a", "x", true, 0), NEXUS_CONFLICT);
    assert_int_equal (put ("b", "x", true, 3), NEXUS_CONFLICT);
    assert_non_null (strstr (world.error.text, "no such key"));
    assert_int_equal (put ("a", "", true, 3), NEXUS_OK);
    assert_int_equal (put ("b", "x", true, 0), NEXUS_OK);
    expect_entry ("a", "", 7, 1);
    expect_entry ("b", "x", 8, 8);
    assert_int_equal (COMMAND (&world, kv_delete, "a", true, 3), NEXUS_CONFLICT);
    assert_int_equal (COMMAND (&world, kv_delete, "a", true, 7), NEXUS_OK);
    assert_string_equal (world.value, "7");
    assert_false (ledger_world_get (&world, LEDGER_KV, ledger_key_text ("a"), &none));
    assert_int_equal (COMMAND (&world, kv_delete, "a", false, 0), NEXUS_OK);
    assert_string_equal (world.value, "0");
    assert_int_equal (world.changed, 0);
    assert_int_equal (COMMAND (&world, kv_delete, "a", true, 1), NEXUS_CONFLICT);
    assert_int_equal (put ("a", "again", true, 0), NEXUS_OK);
    expect_entry ("a", "again", world.index, world.index);
    assert_int_equal (COMMAND (&world, kv_delete, "a"), NEXUS_OK);
    assert_int_equal (COMMAND (&world, kv_delete, "b"), NEXUS_OK);
    assert_int_equal (COMMAND (&world, kv_delete, "a/b"), NEXUS_OK);
    assert_int_equal (kv_bytes (), 0);
}

static void test_kv_limits (void **state)
{
    (void)state;
    static char value[65537], key[402];
    memset (value, 'v', 65536);
    memset (key, 'k', 401);
    assert_int_equal (put ("", "x", false, 0), NEXUS_INVALID);
    assert_int_equal (put (key, "x", false, 0), NEXUS_INVALID);
    assert_int_equal (put ("tab\x01", "x", false, 0), NEXUS_INVALID);
    key[400] = 0;
    assert_int_equal (put (key, value, false, 0), NEXUS_OK);
    expect_entry (key, value, world.index, world.index);
    value[65536] = 'v';
    assert_int_equal (COMMAND (&world, kv_put, key, {(const uint8_t *)value, 65537}),
                      NEXUS_INVALID);
    value[65536] = 0;
    /*  A store that is full takes what frees room, and nothing else. */
    tables_txn_t *txn = tables_begin (world.tables, true, NULL);
    uint8_t full[8] = {0, 0, 0, 0, 0x3f, 0xff, 0xff, 0xff}; /* 2^30 - 1 */
    assert_int_equal (
        tables_put (txn, LEDGER_META, SLICE (LEDGER_KV_BYTES), (slice_t){full, 8}, NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    assert_int_equal (put ("ab", "", false, 0), NEXUS_EXHAUSTED);
    assert_int_equal (put ("a", "", false, 0), NEXUS_OK);
    assert_int_equal (put ("b", "", false, 0), NEXUS_EXHAUSTED);
    assert_int_equal (put (key, "less", false, 0), NEXUS_OK);
    assert_int_equal (put ("b", "", false, 0), NEXUS_OK);
}

/*  ---- masters ---------------------------------------------------------------- */

#define MEMBER(n, ...)                 \
    {                                  \
        .key = key_of (n), __VA_ARGS__ \
    }

static const master_t *master (unsigned n)
{
    record_key_t key = key_of (n);
    master_t *value = arena_alloc (&world.arena, sizeof (*value));
    if (!ledger_world_get (&world, LEDGER_MASTERS, ledger_key_node (&key), value))
        return NULL;
    return value;
}

static void test_masters (void **state)
{
    (void)state;
    conf_member_t two[] = {MEMBER (51, .voter = true), MEMBER (52, .voter = true)};
    master_t first[] = {{.key = key_of (51), .name = "m1", .endpoint = "tcp://a:1"},
                        {.key = key_of (52), .name = "m2"}};
    change_masters_t change = {.masters = {first, 2}, .conf = {.cluster = 7, .members = {two, 2}}};
    change.base = 1;
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_CONFLICT);
    change.base = 0;
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    uint64_t base = world.index;
    assert_string_equal (master (51)->endpoint, "tcp://a:1");
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change),
                      NEXUS_CONFLICT); /* repeated */

    /* What a master says of itself: not its name, nor its role; its log only once. */
    assert_int_equal (COMMAND (&world, set_master,
                               .master = {.key = key_of (52),
                                          .name = "x",
                                          .endpoint = "tcp://b:1",
                                          .role = MASTER_LEARNER,
                                          .incarnation = 9}),
                      NEXUS_OK);
    assert_string_equal (master (52)->name, "m2");
    assert_string_equal (master (52)->endpoint, "tcp://b:1");
    assert_int_equal (master (52)->role, MASTER_VOTER);
    assert_int_equal (COMMAND (&world, set_master,
                               .master = {.key = key_of (52), .name = "m2", .incarnation = 10}),
                      NEXUS_CONFLICT);
    assert_int_equal (master (52)->incarnation, 9);
    assert_int_equal (COMMAND (&world, set_master, .master = {.key = key_of (53), .name = "m3"}),
                      NEXUS_NOT_FOUND);

    /* A learner; then a joint configuration in which 52 is on its way out. */
    conf_member_t three[] = {two[0], two[1], MEMBER (53, .learner = true)};
    master_t third = {.key = key_of (53), .name = "m2"};
    change = (change_masters_t){
        .base = base, .masters = {&third, 1}, .conf = {.cluster = 7, .members = {three, 3}}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_EXISTS);
    third.key = key_of (52); /* a voter under another name */
    third.name = "m4";
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_EXISTS);
    third.key = key_of (53);
    third.name = "m 3";
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_INVALID);
    third.name = "m3";
    change.conf.cluster = 8;
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_INVALID);
    change.conf.cluster = 7;
    change.masters.count = 0; /* a member that nobody knows */
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_INVALID);
    change.masters.count = 1;
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    assert_int_equal (master (53)->role, MASTER_LEARNER);
    base = world.index;
    conf_member_t joint[] = {MEMBER (51, .voter = true, .outgoing = true),
                             MEMBER (52, .outgoing = true), MEMBER (53, .voter = true)};
    change = (change_masters_t){.base = base,
                                .conf = {.cluster = 7, .auto_leave = true, .members = {joint, 3}}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    assert_int_equal (master (52)->role, MASTER_VOTER); /* still */
    assert_int_equal (master (53)->role, MASTER_VOTER);
    change.base = world.index;
    conf_member_t last[] = {MEMBER (51, .voter = true), MEMBER (53, .voter = true)};
    change.conf = (cluster_conf_t){.cluster = 7, .members = {last, 2}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    assert_null (master (52)); /* its key is nobody's */
    last[0].voter = last[1].voter = false;
    last[0].learner = last[1].learner = true;
    change.base = world.index;
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_INVALID);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_masters, setup, teardown),
        cmocka_unit_test_setup_teardown (test_submit, setup, teardown),
        cmocka_unit_test_setup_teardown (test_submit_is_idempotent, setup, teardown),
        cmocka_unit_test_setup_teardown (test_submit_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown (test_lives, setup, teardown),
        cmocka_unit_test_setup_teardown (test_runs_and_times, setup, teardown),
        cmocka_unit_test_setup_teardown (test_long_backoff, setup, teardown),
        cmocka_unit_test_setup_teardown (test_long_texts, setup, teardown),
        cmocka_unit_test_setup_teardown (test_end_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown (test_explain, setup, teardown),
        cmocka_unit_test_setup_teardown (test_place_conflicts, setup, teardown),
        cmocka_unit_test_setup_teardown (test_place_huge, setup, teardown),
        cmocka_unit_test_setup_teardown (test_shards, setup, teardown),
        cmocka_unit_test_setup_teardown (test_reports_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown (test_enrolment, setup, teardown),
        cmocka_unit_test_setup_teardown (test_drain_and_loss, setup, teardown),
        cmocka_unit_test_setup_teardown (test_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown (test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown (test_determinism, setup, teardown),
        cmocka_unit_test_setup_teardown (test_kv, setup, teardown),
        cmocka_unit_test_setup_teardown (test_kv_limits, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
