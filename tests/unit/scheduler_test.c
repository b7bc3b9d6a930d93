/*  The scheduler: what it proposes and what it tells workers, on a ledger that the test applies
    its proposals to. */
#include "actors/scheduler/scheduler.h"
#include "ledger_world.h"

#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static ledger_world_t world;
static scheduler_args_t args;
static harness_t *harness;

static int setup (void **state)
{
    (void)state;
    ledger_world_init (&world);
    args = (scheduler_args_t){world.tables};
    harness = harness_new (&scheduler_behaviour, &args, NULL, NULL);
    assert_non_null (harness);
    assert_non_null (harness_expect (harness, leadership_subscribe));
    assert_non_null (harness_expect (harness, ledger_subscribe));
    token_t token = {.key = key_of (999), .uses = 1000, .not_after_ms = 10};
    assert_int_equal (COMMAND (&world, add_token, .token = token), NEXUS_OK);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    harness_destroy (&harness);
    ledger_world_expect_sound (&world);
    ledger_world_clear (&world);
    return 0;
}

/*  ---- short hands ---------------------------------------------------------------- */

static void changed (void)
{
    harness_deliver (harness, NULL, &ledger_changed_record, &(ledger_changed_t){1, UINT64_MAX});
}

static void lead (uint64_t term, bool leading)
{
    leadership_t leadership = {.term = term, .leading = leading};
    harness_deliver (harness, NULL, &leadership_record, &leadership);
}

static void hear (unsigned n, worker_state_t state, uint64_t session)
{
    worker_t worker = {.key = key_of (n),
                       .name = "x",
                       .session = session,
                       .state = (int)state,
                       .resources = {.cpu = 2},
                       .lane = "tcp://1.2.3.4:5"};
    assert_int_equal (COMMAND (&world, set_worker, .worker = worker, .heard = true), NEXUS_OK);
}

/*  In session 100 + n. */
static void add_worker (unsigned n)
{
    char name[16];
    snprintf (name, sizeof (name), "w%u", n);
    worker_t worker = {.key = key_of (n), .name = name};
    assert_int_equal (COMMAND (&world, add_worker, .worker = worker, .token = key_of (999)),
                      NEXUS_OK);
    hear (n, WORKER_ACTIVE, 100 + n);
}

static job_spec_t spec_of (uint64_t ranks)
{
    static const char *command[] = {"train"};
    job_spec_t spec;
    record_init (&job_spec_record, &spec);
    spec.name = "job";
    spec.command = (record_strings_t){command, 1};
    spec.gang.min = ranks;
    return spec;
}

static const char *submit_spec (const job_spec_t *spec)
{
    assert_int_equal (COMMAND (&world, submit_job, .spec = *spec), NEXUS_OK);
    return arena_strdup (&world.arena, world.value);
}

static const char *submit (uint64_t ranks)
{
    job_spec_t spec = spec_of (ranks);
    return submit_spec (&spec);
}

/*  A report without anything in it: "I am here, and follow that". */
static void here (unsigned n, uint64_t assignment)
{
    record_key_t key = key_of (n);
    address_t from = address_remote (&key, "agent", 0);
    worker_report_t report = {.session = 100 + n, .assignment = assignment, .load = 0.25};
    harness_set_role (harness, ROLE_WORKER);
    harness_deliver (harness, &from, &worker_report_record, &report);
    harness_set_role (harness, ROLE_MASTER);
}

static void report (unsigned n, uint64_t session, task_state_t *tasks, size_t count)
{
    record_key_t key = key_of (n);
    address_t from = address_remote (&key, "agent", 0);
    worker_report_t out = {.session = session, .assignment = UINT64_MAX, .tasks = {tasks, count}};
    harness_set_role (harness, ROLE_WORKER);
    harness_deliver (harness, &from, &worker_report_record, &out);
    harness_set_role (harness, ROLE_MASTER);
}

/*  The kind of the command that a propose carries. */
static unsigned kind_of (const propose_t *propose)
{
    return (unsigned)propose->command.data[0] << 8 | propose->command.data[1];
}

static const message_t *expect_proposal (const record_t *kind)
{
    const propose_t *propose = harness_find (harness, propose);
    assert_non_null (propose);
    assert_int_equal (kind_of (propose), kind->id);
    assert_string_equal (harness_message (harness)->to.actor, "election");
    return message_retain ((message_t *)harness_message (harness));
}

/*  As the election and the ledger do it. */
static void commit (const message_t *request)
{
    const propose_t *propose = request->body;
    nexus_code_t code =
        ledger_world_apply_bytes (&world, propose->command.data, propose->command.size);
    ledger_world_mark (&world);
    if (!code && world.changed)
        changed ();
    if (code)
        harness_reply_failure (harness, request, code, world.error.text);
    else
        harness_reply (harness, request, &proposed_record, &(proposed_t){world.index, world.value});
    message_release ((message_t **)&request);
}

static void refuse (const message_t *request)
{
    harness_reply_failure (harness, request, NEXUS_UNAVAILABLE, "no leader");
    message_release ((message_t **)&request);
}

/*  Applies whatever is proposed, until nothing is. Returns how many there were. */
static size_t commit_all (void)
{
    size_t count = 0;
    while (harness_count (harness, &propose_record)) {
        const propose_t *propose = harness_find (harness, propose);
        assert_non_null (propose);
        commit (message_retain ((message_t *)harness_message (harness)));
        assert_true (++count < 1000);
    }
    return count;
}

/*  The newest assignment to that worker, and how many there were; those to others are forgotten. */
static const assignment_t *expect_assignment (unsigned n, size_t *ret_count)
{
    static const message_t *found;
    size_t count = 0;
    record_key_t key = key_of (n);
    if (found)
        message_release ((message_t **)&found);
    while (harness_count (harness, &assignment_record)) {
        assert_non_null (harness_find (harness, assignment));
        const message_t *message = harness_message (harness);
        if (!same_key (&message->to.node, &key))
            continue;
        count++;
        if (found)
            message_release ((message_t **)&found);
        found = message_retain ((message_t *)message);
        assert_string_equal (found->to.actor, "agent");
    }
    if (ret_count)
        *ret_count = count;
    return found ? found->body : NULL;
}

static job_phase_t phase (const char *job)
{
    return (job_phase_t)ledger_world_job (&world, job).phase;
}

/*  ---- leading ------------------------------------------------------------------------------ */

static void test_follower_only_listens (void **state)
{
    (void)state;
    add_worker (1);
    submit (1);
    changed ();
    here (1, 0);
    harness_advance (harness, 1000);
    lead (3, false);
    assert_true (harness_quiet (harness));
    uint64_t asked =
        harness_ask (harness, NULL, &cluster_view_get_record, &(cluster_view_get_t){.job_id = ""});
    const cluster_view_t *view = harness_expect_reply (harness, asked, cluster_view);
    assert_non_null (view);
    assert_int_equal (view->workers.count, 1);
    assert_true (view->workers.items[0].alive);
    assert_int_equal (view->workers.items[0].heard_ms_ago, 1000);
    lead (4, true); /* now it knows at once */
    commit (expect_proposal (&place_job_record));
    assert_non_null (expect_assignment (1, NULL));
}

static void test_places_and_assigns (void **state)
{
    (void)state;
    add_worker (1);
    add_worker (2);
    lead (3, true);
    here (1, 0);
    here (2, 0);
    const assignment_t *assignment = expect_assignment (1, NULL);
    assert_non_null (assignment);
    assert_int_equal (assignment->tasks.count, 0);
    harness_clear (harness);
    const char *job = submit (2);
    changed ();
    const message_t *proposal = expect_proposal (&place_job_record);
    changed (); /* while it is on its way nothing is planned */
    harness_advance (harness, 500);
    assert_true (harness_quiet (harness));
    commit (proposal);
    assert_int_equal (phase (job), JOB_RUNNING);
    size_t count;
    assignment = expect_assignment (1, &count);
    assert_int_equal (count, 1);
    assert_int_equal (assignment->tasks.count, 1);
    assert_int_equal (assignment->version >> 32, 3);
    assert_int_equal (assignment->groups.items[0].version, assignment->version);
}

/*  Told again only if it does not follow, and then not at once. */
static void test_assignments_are_repeated (void **state)
{
    (void)state;
    size_t count;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    uint64_t version = expect_assignment (1, NULL)->version;
    here (1, 0); /* it can't have got it yet */
    expect_assignment (1, &count);
    assert_int_equal (count, 0);
    harness_advance (harness, 400);
    here (1, 0);
    const assignment_t *assignment = expect_assignment (1, &count);
    assert_int_equal (count, 1);
    assert_int_equal (assignment->version, version);
    harness_advance (harness, 400);
    here (1, version);
    changed ();
    harness_advance (harness, 5000);
    expect_assignment (1, &count);
    assert_int_equal (count, 0);
    lead (4, true); /* a new term: told anew */
    assignment = expect_assignment (1, &count);
    assert_int_equal (count, 1);
    assert_true (assignment->version > version);
    lead (4, false);
    harness_advance (harness, 400);
    here (1, 0);
    assert_true (harness_quiet (harness));
}

/*  A worker that was restarted has nothing; what it is told waits for the ledger to know. */
static void test_sessions (void **state)
{
    (void)state;
    size_t count;
    add_worker (1);
    lead (3, true);
    report (1, 999, NULL, 0);
    expect_assignment (1, &count);
    assert_int_equal (count, 0);
    const char *job = submit (1);
    changed ();
    commit_all ();
    task_state_t done = {.job_id = job, .phase = TASK_SUCCEEDED};
    report (1, 999, &done, 1); /* not of the run that the ledger knows */
    assert_true (harness_quiet (harness));
    hear (1, WORKER_ACTIVE, 999);
    changed ();
    assert_int_equal (commit_all (), 1); /* placed anew */
    const assignment_t *assignment = expect_assignment (1, &count);
    assert_true (count > 0);
    assert_int_equal (assignment->tasks.items[0].attempt, 1);
}

/*  The ledger answers before readers see what was done: nobody plans on the old picture then. */
static void test_answer_before_it_shows (void **state)
{
    (void)state;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    submit (1);
    changed ();
    const message_t *plan = expect_proposal (&place_job_record);
    harness_clear (harness);
    harness_reply (harness, plan, &proposed_record, &(proposed_t){.index = world.index + 1});
    here (1, 0);
    assert_int_equal (harness_count (harness, &propose_record), 0);
    const propose_t *propose = plan->body;
    assert_int_equal (
        ledger_world_apply_bytes (&world, propose->command.data, propose->command.size), NEXUS_OK);
    ledger_world_mark (&world);
    changed ();
    size_t count;
    expect_assignment (1, &count);
    assert_int_equal (count, 1);
    assert_int_equal (harness_count (harness, &propose_record), 0);
    message_release ((message_t **)&plan);
}

/*  ---- reports ----------------------------------------------------------------------------------
 */

static void test_reports (void **state)
{
    (void)state;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *job = submit (2);
    changed ();
    commit_all ();
    harness_clear (harness);
    task_state_t tasks[] = {{.job_id = job, .phase = TASK_RUNNING, .key = key_of (7)},
                            {.job_id = job, .rank = 1, .phase = TASK_ASSIGNED},
                            {.job_id = job, .rank = 9, .phase = TASK_SUCCEEDED},
                            {.job_id = "none", .phase = TASK_SUCCEEDED},
                            {.job_id = job, .attempt = 3, .phase = TASK_FAILED}};
    report (1, 101, tasks, 5);
    const message_t *proposal = expect_proposal (&update_tasks_record);
    report (1, 101, tasks, 5); /* one at a time */
    assert_true (harness_quiet (harness));
    commit (proposal);
    assert_int_equal (ledger_world_task (&world, job, 0).phase, TASK_RUNNING);
    harness_clear (harness);
    report (1, 101, tasks, 5); /* known */
    assert_int_equal (harness_count (harness, &propose_record), 0);
    tasks[0].phase = TASK_SUCCEEDED;
    tasks[1].phase = TASK_SUCCEEDED;
    report (1, 101, tasks, 5);
    commit_all ();
    assert_int_equal (phase (job), JOB_SUCCEEDED);
    report (1, 101, tasks, 5);
    assert_int_equal (harness_count (harness, &propose_record), 0);
}

static void test_reports_of_strangers (void **state)
{
    (void)state;
    add_worker (1);
    lead (3, true);
    record_key_t key = key_of (1);
    address_t from = address_remote (&key, "agent", 0);
    worker_report_t out = {.session = 101};
    for (int role = ROLE_NONE; role <= ROLE_JOINER; role++) {
        harness_set_role (harness, (role_t)role);
        if (role != ROLE_WORKER)
            harness_deliver (harness, &from, &worker_report_record, &out);
        if (role != ROLE_LOCAL)
            harness_deliver (harness, &from, &leadership_record, &(leadership_t){.term = 9});
    }
    assert_true (harness_quiet (harness));
    here (2, 0); /* let in, but not in the ledger (yet) */
    assert_true (harness_quiet (harness));
    here (1, 0);
    assert_non_null (expect_assignment (1, NULL));
}

static void test_shards_report (void **state)
{
    (void)state;
    job_spec_t spec = spec_of (1);
    spec.aggregation.shards = 1;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *job = submit_spec (&spec);
    changed ();
    commit_all ();
    shard_state_t shard = {job, 0, 1, true};
    record_key_t key = key_of (1);
    address_t from = address_remote (&key, "agent", 0);
    worker_report_t out = {.session = 101, .assignment = UINT64_MAX, .shards = {&shard, 1}};
    harness_set_role (harness, ROLE_WORKER);
    harness_deliver (harness, &from, &worker_report_record, &out);
    assert_int_equal (commit_all (), 1);
    assert_int_equal (ledger_world_shard (&world, job, 0).phase, SHARD_READY);
    harness_deliver (harness, &from, &worker_report_record, &out);
    assert_int_equal (commit_all (), 0);
}

/*  Refusals and silence are answered with patience: no proposal a message. */
static void test_retries (void **state)
{
    (void)state;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *job = submit (1);
    changed ();
    size_t tries = 0;
    for (int i = 0; i < 100; i++) {
        if (harness_count (harness, &propose_record)) {
            tries++;
            refuse (expect_proposal (&place_job_record));
        }
        harness_advance (harness, 10);
    }
    assert_in_range (tries, 5, 12);
    harness_advance (harness, 200);
    commit_all ();
    harness_clear (harness);
    task_state_t task = {.job_id = job, .phase = TASK_RUNNING, .key = key_of (7)};
    report (1, 101, &task, 1);
    tries = 0;
    for (int i = 0; i < 100; i++) {
        if (harness_count (harness, &propose_record)) {
            tries++;
            refuse (expect_proposal (&update_tasks_record));
        }
        harness_advance (harness, 10);
    }
    assert_in_range (tries, 5, 12);
    harness_advance (harness, 100);
    const message_t *lost = expect_proposal (&update_tasks_record);
    harness_advance (harness, 5200); /* its deadline */
    message_release ((message_t **)&lost);
    commit_all ();
    assert_int_equal (ledger_world_task (&world, job, 0).phase, TASK_RUNNING);
}

/*  What a former leadership asked for is none of the next one's. */
static void test_leadership_changes (void **state)
{
    (void)state;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *job = submit (1);
    changed ();
    const message_t *old = expect_proposal (&place_job_record);
    lead (3, false);
    changed ();
    harness_advance (harness, 200);
    lead (4, true);
    const message_t *new = expect_proposal (&place_job_record);
    commit (old);
    assert_int_equal (phase (job), JOB_RUNNING);
    commit (new); /* a conflict: the epoch has moved on */
    harness_advance (harness, 200);
    assert_int_equal (commit_all (), 0);
    assert_int_equal (ledger_world_job (&world, job).epoch, 1);
}

/*  ---- time
 * ------------------------------------------------------------------------------------------- */

static void test_backoff (void **state)
{
    (void)state;
    size_t count;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *job = submit (1);
    changed ();
    commit_all ();
    task_state_t task = {.job_id = job, .phase = TASK_FAILED, .exit_code = 1};
    report (1, 101, &task, 1);
    commit_all ();
    const assignment_t *assignment = expect_assignment (1, NULL);
    assert_int_equal (assignment->tasks.count, 0);
    harness_advance (harness, 300);
    expect_assignment (1, &count);
    assert_int_equal (count, 0);
    harness_advance (harness, 300);
    assignment = expect_assignment (1, &count);
    assert_int_equal (count, 1);
    assert_int_equal (assignment->tasks.items[0].attempt, 1);
}

static void test_max_runtime (void **state)
{
    (void)state;
    job_spec_t spec = spec_of (1);
    spec.max_runtime_ms = 2000;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *job = submit_spec (&spec);
    spec.max_runtime_ms = UINT64_MAX;
    const char *other = submit_spec (&spec);
    changed ();
    commit_all ();
    assert_int_equal (phase (job), JOB_RUNNING);
    harness_advance (harness, 1900);
    assert_int_equal (commit_all (), 0);
    harness_advance (harness, 300);
    assert_int_equal (commit_all (), 1);
    assert_int_equal (phase (job), JOB_STOPPING);
    assert_true (expect_assignment (1, NULL)->tasks.items[0].stop);
    task_state_t task = {.job_id = job, .phase = TASK_STOPPED};
    report (1, 101, &task, 1);
    commit_all ();
    assert_int_equal (phase (job), JOB_TIMED_OUT);
    assert_int_equal (phase (other), JOB_RUNNING);
}

/*  ---- why jobs wait
 * -------------------------------------------------------------------------------------- */

static void test_explanations (void **state)
{
    (void)state;
    add_worker (1);
    lead (3, true);
    here (1, 0);
    const char *big = submit (3);
    changed ();
    assert_int_equal (commit_all (), 1);
    assert_string_equal (ledger_world_job (&world, big).reason, "InsufficientCapacity");
    harness_advance (harness, 5000);
    assert_int_equal (commit_all (), 0); /* nothing new to say */

    /*  Figures that change with every small job make no command each time. */
    size_t explained = 0;
    for (int i = 0; i < 100; i++) {
        const char *small = submit (1);
        changed ();
        while (harness_count (harness, &propose_record)) {
            const propose_t *propose = harness_find (harness, propose);
            explained += kind_of (propose) == explain_job_record.id;
            commit (message_retain ((message_t *)harness_message (harness)));
        }
        assert_int_equal (phase (small), JOB_RUNNING);
        task_state_t task = {.job_id = small, .phase = TASK_SUCCEEDED};
        report (1, 101, &task, 1);
        while (harness_count (harness, &propose_record)) {
            const propose_t *propose = harness_find (harness, propose);
            explained += kind_of (propose) == explain_job_record.id;
            commit (message_retain ((message_t *)harness_message (harness)));
        }
        harness_advance (harness, 20);
        harness_clear (harness);
    }
    assert_in_range (explained, 0, 6);
    add_worker (2);
    changed ();
    harness_advance (harness, 200);
    commit_all ();
    assert_int_equal (phase (big), JOB_RUNNING);
}

/*  ---- many
 * --------------------------------------------------------------------------------------------------
 */

static void test_many_jobs (void **state)
{
    (void)state;
    enum { WORKERS = 60, JOBS = 150 };
    const char *jobs[JOBS];
    for (unsigned n = 1; n <= WORKERS; n++)
        add_worker (n);
    for (int i = 0; i < JOBS; i++)
        jobs[i] = submit (1);
    lead (3, true);
    /*  A batch at a time, and each plan counts with the others. */
    size_t first = harness_count (harness, &propose_record);
    assert_in_range (first, 10, 64);
    const message_t *batch[64];
    for (size_t i = 0; i < first; i++)
        batch[i] = expect_proposal (&place_job_record);
    for (size_t i = 0; i + 1 < first; i++) {
        commit (batch[i]);
        assert_int_equal (world.error.code, NEXUS_OK); /* none is in another's way */
        assert_int_equal (harness_count (harness, &propose_record), 0);
    }
    commit (batch[first - 1]);
    commit_all ();
    size_t running = 0;
    for (int i = 0; i < JOBS; i++)
        running += phase (jobs[i]) == JOB_RUNNING;
    assert_int_equal (running, 2 * WORKERS);
}

/*  ---- metrics
 * --------------------------------------------------------------------------------------------------
 */

static void report_points (const char *job, uint64_t step)
{
    record_key_t key = key_of (1);
    address_t from = address_remote (&key, "agent", 0);
    metric_report_t point = {job, {.name = "loss", .step = step, .value = 1, .time_ms = 5}};
    worker_report_t out = {.session = 101, .assignment = UINT64_MAX, .points = {&point, 1}};
    harness_set_role (harness, ROLE_WORKER);
    harness_deliver (harness, &from, &worker_report_record, &out);
    harness_set_role (harness, ROLE_MASTER);
}

static void test_metrics (void **state)
{
    (void)state;
    add_worker (1);
    const char *job = submit (9);
    lead (3, true);
    commit_all ();
    here (1, 0);
    harness_clear (harness);
    report_points (job, 1);
    commit (expect_proposal (&add_metrics_record));
    const metrics_stored_t *stored = harness_find (harness, metrics_stored);
    assert_non_null (stored);
    assert_int_equal (stored->points.items[0].point.step, 1);
    assert_string_equal (harness_message (harness)->to.actor, "agent");
    report_points (job, 2);
    const message_t *proposal = expect_proposal (&add_metrics_record);
    report_points (job, 3); /* waits for that one's end */
    assert_int_equal (harness_count (harness, &propose_record), 0);
    refuse (proposal);
    assert_int_equal (harness_count (harness, &metrics_stored_record), 0);
    report_points (job, 3);
    commit (expect_proposal (&add_metrics_record));
    stored = harness_find (harness, metrics_stored);
    assert_non_null (stored);
    assert_int_equal (stored->points.items[0].point.step, 3);
}

/*  ---- the rest
 * ------------------------------------------------------------------------------------------------------
 */

static void test_removed_worker (void **state)
{
    (void)state;
    add_worker (1);
    add_worker (2);
    lead (3, true);
    here (1, 0);
    here (2, 0);
    assert_int_equal (COMMAND (&world, remove_worker, .key = key_of (1)), NEXUS_OK);
    changed ();
    harness_clear (harness);
    uint64_t asked =
        harness_ask (harness, NULL, &cluster_view_get_record, &(cluster_view_get_t){.job_id = "a"});
    const cluster_view_t *view = harness_expect_reply (harness, asked, cluster_view);
    assert_int_equal (view->workers.count, 1);
    record_key_t key = key_of (2);
    assert_memory_equal (&view->workers.items[0].key, &key, 32);
}

static void test_traffic (void **state)
{
    (void)state;
    add_worker (1);
    task_state_t tasks[] = {
        {.job_id = "a-1", .rank = 2, .attempt = 1, .bytes_pushed = 10, .bytes_pulled = 20},
        {.job_id = "b-2", .rank = 0, .bytes_pushed = 5}};
    report (1, 101, tasks, 2);
    uint64_t asked = harness_ask (harness, NULL, &cluster_view_get_record,
                                  &(cluster_view_get_t){.job_id = "a-1"});
    const cluster_view_t *view = harness_expect_reply (harness, asked, cluster_view);
    assert_int_equal (view->traffic.count, 1);
    assert_int_equal (view->traffic.items[0].rank, 2);
    assert_int_equal (view->traffic.items[0].bytes_pulled, 20);
    harness_advance (harness, 5000);
    asked =
        harness_ask (harness, NULL, &cluster_view_get_record, &(cluster_view_get_t){.job_id = ""});
    view = harness_expect_reply (harness, asked, cluster_view);
    assert_int_equal (view->traffic.count, 0);
    assert_false (view->workers.items[0].alive);
}

/*  A ledger that can't be read ends it, and says so. */
static void test_corrupt_ledger (void **state)
{
    (void)state;
    const char *job = submit (1);
    tables_txn_t *txn = tables_begin (world.tables, true, NULL);
    assert_int_equal (tables_put (txn, LEDGER_JOBS, SLICE (job), SLICE ("rubbish"), NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    lead (3, true);
    nexus_error_t error;
    assert_true (harness_ended (harness, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    ledger_world_clear (&world);
    ledger_world_init (&world);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_follower_only_listens, setup, teardown),
        cmocka_unit_test_setup_teardown (test_places_and_assigns, setup, teardown),
        cmocka_unit_test_setup_teardown (test_assignments_are_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown (test_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown (test_answer_before_it_shows, setup, teardown),
        cmocka_unit_test_setup_teardown (test_reports, setup, teardown),
        cmocka_unit_test_setup_teardown (test_reports_of_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown (test_shards_report, setup, teardown),
        cmocka_unit_test_setup_teardown (test_retries, setup, teardown),
        cmocka_unit_test_setup_teardown (test_leadership_changes, setup, teardown),
        cmocka_unit_test_setup_teardown (test_backoff, setup, teardown),
        cmocka_unit_test_setup_teardown (test_max_runtime, setup, teardown),
        cmocka_unit_test_setup_teardown (test_explanations, setup, teardown),
        cmocka_unit_test_setup_teardown (test_many_jobs, setup, teardown),
        cmocka_unit_test_setup_teardown (test_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown (test_removed_worker, setup, teardown),
        cmocka_unit_test_setup_teardown (test_traffic, setup, teardown),
        cmocka_unit_test_setup_teardown (test_corrupt_ledger, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
