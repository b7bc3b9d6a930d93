/*  Where ranks and aggregators go, and what workers are told. */
#include "actors/scheduler/assign.h"
#include "ledger_world.h"

#include "runtime/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static ledger_world_t world;
static plan_cluster_t cluster;
static place_job_t places;
static const char *reason, *message;

static int setup (void **state)
{
    (void)state;
    ledger_world_init (&world);
    token_t token = {.key = key_of (60000), .uses = 10000, .not_after_ms = 10};
    assert_int_equal (COMMAND (&world, add_token, .token = token), NEXUS_OK);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    ledger_world_expect_sound (&world);
    ledger_world_clear (&world);
    return 0;
}

/*  ---- short hands ----------------------------------------------------------------- */

static void add_worker (unsigned n, const char *site, resources_t resources, const char *lane)
{
    char name[16];
    snprintf (name, sizeof (name), "w%u", n);
    worker_t worker = {.key = key_of (n),
                       .name = name,
                       .site = site,
                       .lane = lane,
                       .session = 1,
                       .resources = resources};
    assert_int_equal (COMMAND (&world, add_worker, .worker = worker, .token = key_of (60000)),
                      NEXUS_OK);
    assert_int_equal (COMMAND (&world, set_worker, .worker = worker, .heard = true), NEXUS_OK);
}

static void add_plain (unsigned n, const char *site, double cpu)
{
    add_worker (n, site, (resources_t){.cpu = cpu}, "");
}

static job_spec_t spec_of (uint64_t min, uint64_t max)
{
    static const char *command[] = {"train"};
    job_spec_t spec;
    record_init (&job_spec_record, &spec);
    spec.name = "job";
    spec.command = (record_strings_t){command, 1};
    spec.gang = (gang_t){min, max};
    return spec;
}

static const char *submit (const job_spec_t *spec)
{
    assert_int_equal (COMMAND (&world, submit_job, .spec = *spec), NEXUS_OK);
    return arena_strdup (&world.arena, world.value);
}

static void look (void)
{
    nexus_error_t error;
    tables_txn_t *txn = tables_begin (world.tables, false, NULL);
    if (plan_read (txn, &world.arena, &cluster, &error))
        fail_msg ("%s", error.text);
    tables_abort (&txn);
}

/*  Plans that job on the picture of now. */
static bool plan_it (const char *id)
{
    look ();
    const plan_job_t *job = plan_job (&cluster, id);
    assert_non_null (job);
    assert_true (plan_waits (job));
    return plan_place (&cluster, job, &world.arena, &places, &reason, &message);
}

static void apply_it (void)
{
    if (ledger_world_apply (&world, &place_job_record, &places))
        fail_msg ("the ledger refuses the plan: %s", world.error.text);
}

static size_t ranks_on (unsigned n)
{
    size_t count = 0;
    record_key_t key = key_of (n);
    for (size_t i = 0; i < places.tasks.count; i++)
        count += same_key (&places.tasks.items[i].worker, &key);
    return count;
}

static size_t shards_on (unsigned n)
{
    size_t count = 0;
    record_key_t key = key_of (n);
    for (size_t i = 0; i < places.shards.count; i++)
        count += same_key (&places.shards.items[i].worker, &key);
    return count;
}

static void set_state (unsigned n, worker_state_t state)
{
    worker_t worker = ledger_world_worker (&world, n);
    worker.state = (int)state;
    assert_int_equal (COMMAND (&world, set_worker, .worker = worker, .heard = true), NEXUS_OK);
}

/*  ---- the picture ------------------------------------------------------------------------ */

static void test_picture (void **state)
{
    (void)state;
    job_spec_t low = spec_of (1, 0), high = spec_of (1, 0);
    high.priority = 5;
    add_plain (1, "a", 4);
    add_plain (2, "b", 4);
    add_plain (3, "a", 4);
    const char *first = submit (&low), *second = submit (&high), *third = submit (&low);
    const char *gone = submit (&low);
    assert_int_equal (COMMAND (&world, end_job, .job_id = gone, .ending = JOB_CANCELLED), NEXUS_OK);
    look ();
    assert_int_equal (cluster.job_count, 3);
    assert_string_equal (cluster.jobs[0].job.id, second);
    assert_string_equal (cluster.jobs[1].job.id, first);
    assert_string_equal (cluster.jobs[2].job.id, third);
    assert_null (plan_job (&cluster, gone));
    record_key_t none = key_of (77), one = key_of (1);
    assert_null (plan_worker (&cluster, &none));
    assert_string_equal (plan_worker (&cluster, &one)->worker.name, "w1");
    assert_int_equal (cluster.workers[0].site, cluster.workers[2].site);
    assert_int_not_equal (cluster.workers[0].site, cluster.workers[1].site);
    assert_true (plan_it (first));
    apply_it ();
    look ();
    double free = 0;
    size_t jobs = 0;
    for (size_t i = 0; i < 3; i++) {
        free += cluster.workers[i].free.cpu;
        jobs += cluster.workers[i].job_count;
    }
    assert_true (free > 10.9 && free < 11.1);
    assert_int_equal (jobs, 1);
    assert_false (plan_waits (plan_job (&cluster, first)));
}

/*  ---- ranks ---------------------------------------------------------------------------------- */

static void test_gang_or_nothing (void **state)
{
    (void)state;
    add_plain (1, "", 2);
    add_plain (2, "", 2);
    job_spec_t spec = spec_of (5, 0);
    const char *job = submit (&spec);
    assert_false (plan_it (job));
    assert_string_equal (reason, "InsufficientCapacity");
    assert_non_null (strstr (message, "needs 5 rank(s) of 1 core(s)"));
    assert_non_null (strstr (message, "4 fit on 2 matching worker(s)"));
    assert_non_null (strstr (message, "the best has 2 core(s) free"));
    assert_true (cluster.workers[0].free.cpu > 1.9 && cluster.workers[1].free.cpu > 1.9);
    spec.gang.min = 4;
    job = submit (&spec);
    assert_true (plan_it (job));
    assert_int_equal (places.tasks.count, 4);
    assert_int_equal (ranks_on (1), 2);
    assert_true (cluster.workers[0].free.cpu < 0.1);
    apply_it ();
}

/*  Elastic: as many as find room, from min to max. */
static void test_elastic (void **state)
{
    (void)state;
    add_plain (1, "", 3);
    job_spec_t spec = spec_of (2, 8);
    const char *job = submit (&spec);
    assert_true (plan_it (job));
    assert_int_equal (places.tasks.count, 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal (places.tasks.items[i].number, i);
    apply_it ();
    spec.gang = (gang_t){4, 8};
    job = submit (&spec);
    assert_false (plan_it (job));
}

static void test_nobody_matches (void **state)
{
    (void)state;
    job_spec_t spec = spec_of (1, 0);
    const char *job = submit (&spec);
    assert_false (plan_it (job));
    assert_string_equal (reason, "NoMatchingWorker");
    add_plain (1, "a", 4);
    add_plain (2, "b", 4);
    const char *sites[] = {"c", "b"};
    spec.sites = (record_strings_t){sites, 1};
    job = submit (&spec);
    assert_false (plan_it (job));
    assert_string_equal (reason, "NoMatchingWorker");
    spec.sites.count = 2;
    job = submit (&spec);
    assert_true (plan_it (job));
    assert_int_equal (ranks_on (2), 1);
    set_state (2, WORKER_LOST);
    assert_false (plan_it (job));
}

static void test_resources (void **state)
{
    (void)state;
    add_worker (1, "", (resources_t){.cpu = 8, .memory = 1000, .gpus = 1}, "");
    add_worker (2, "", (resources_t){.cpu = 1, .memory = 5000, .gpus = 4}, "");
    job_spec_t spec = spec_of (1, 0);
    spec.resources = (resources_t){.cpu = 0.5, .memory = 2000, .gpus = 2};
    assert_true (plan_it (submit (&spec)));
    assert_int_equal (ranks_on (2), 1);
    apply_it ();
    assert_true (plan_it (submit (&spec)));
    apply_it (); /* half a core, 1,000 bytes and no GPU are left */
    assert_false (plan_it (submit (&spec)));
    spec.resources = (resources_t){.cpu = 8.1};
    assert_false (plan_it (submit (&spec)));
    spec.resources = (resources_t){.cpu = 8, .gpus = 2};
    assert_false (plan_it (submit (&spec)));
    assert_string_equal (reason, "InsufficientCapacity");
    spec.resources = (resources_t){.cpu = 8, .memory = 1000, .gpus = 1};
    assert_true (plan_it (submit (&spec)));
    assert_int_equal (ranks_on (1), 1);
    apply_it ();
}

static void test_styles (void **state)
{
    (void)state;
    add_plain (1, "a", 4);
    add_plain (2, "a", 3);
    add_plain (3, "b", 8);
    job_spec_t spec = spec_of (3, 0);
    spec.placement = PLACE_SPREAD;
    assert_true (plan_it (submit (&spec)));
    for (unsigned n = 1; n <= 3; n++)
        assert_int_equal (ranks_on (n), 1);
    spec.placement = PLACE_PACK;
    assert_true (plan_it (submit (&spec)));
    assert_int_equal (ranks_on (2), 3); /* the fullest that holds them all */
    spec.gang.min = 6;
    assert_true (plan_it (submit (&spec)));
    assert_int_equal (ranks_on (3), 0); /* one site */
    spec.gang.min = 15;
    assert_true (plan_it (submit (&spec)));
}

/*  What lost its worker is placed around what runs on. */
static void test_recovery (void **state)
{
    (void)state;
    add_plain (1, "", 2);
    add_plain (2, "", 2);
    add_plain (3, "", 2);
    job_spec_t spec = spec_of (4, 0);
    spec.placement = PLACE_SPREAD;
    const char *job = submit (&spec);
    assert_true (plan_it (job));
    apply_it ();
    unsigned lost = 1;
    while (ranks_on (lost) != 2)
        lost++;
    set_state (lost, WORKER_LOST);
    assert_true (plan_it (job)); /* the other two have one core left each */
    assert_int_equal (places.tasks.count, 2);
    assert_int_equal (places.epoch, 2);
    for (unsigned n = 1; n <= 3; n++)
        assert_int_equal (ranks_on (n), n != lost);
    apply_it ();
    set_state (lost == 1 ? 2 : 1, WORKER_LOST);
    assert_false (plan_it (job)); /* all of them, or none */
    assert_non_null (strstr (message, "needs 2 rank(s)"));
}

/*  ---- aggregators ------------------------------------------------------------------------------
 */

static void test_shards (void **state)
{
    (void)state;
    add_plain (1, "", 4);
    add_worker (2, "", (resources_t){.cpu = 4}, "tcp://1.2.3.4:5");
    job_spec_t spec = spec_of (1, 0);
    spec.aggregation.shards = 4;
    const char *job = submit (&spec);
    set_state (2, WORKER_LOST);
    assert_false (plan_it (job));
    assert_string_equal (reason, "NoMatchingWorker");
    assert_non_null (strstr (message, "data lane"));
    assert_true (cluster.workers[0].free.cpu > 3.9); /* what it took is given back */
    set_state (2, WORKER_ACTIVE);
    assert_true (plan_it (job));
    assert_int_equal (shards_on (2), 4);
    add_worker (3, "", (resources_t){.cpu = 4}, "tcp://1.2.3.4:6");
    assert_true (plan_it (job));
    assert_int_equal (shards_on (2), 2);
    assert_int_equal (shards_on (3), 2);
    apply_it ();
    set_state (3, WORKER_LOST);
    assert_true (plan_it (job));
    assert_int_equal (places.shards.count, 2);
    assert_int_equal (shards_on (2), 2);
    apply_it ();
}

/*  ---- what workers are told
 * ------------------------------------------------------------------------ */

static assignment_t assignment;
static bool held_back;

static void told (unsigned n, int64_t now_ms)
{
    record_key_t key = key_of (n);
    look ();
    held_back = false;
    assert_int_equal (assign_worker (&cluster, plan_worker (&cluster, &key), now_ms, &world.arena,
                                     &assignment, &held_back),
                      0);
}

static void report (unsigned n, const char *job, uint64_t rank, uint64_t attempt,
                    task_phase_t phase)
{
    task_state_t state = {.job_id = job, .rank = rank, .attempt = attempt, .phase = (int)phase};
    if (phase == TASK_RUNNING)
        state.key = key_of (500 + (unsigned)rank);
    assert_int_equal (
        COMMAND (&world, update_tasks, .worker = key_of (n), .tasks = {&state, 1}, .time_ms = 1000),
        NEXUS_OK);
}

static void test_assignment (void **state)
{
    (void)state;
    add_worker (1, "", (resources_t){.cpu = 1}, "tcp://1.2.3.4:5");
    add_worker (2, "", (resources_t){.cpu = 1}, "tcp://1.2.3.4:6");
    add_plain (3, "", 1);
    job_spec_t spec = spec_of (3, 0);
    spec.aggregation.shards = 2;
    const char *job = submit (&spec);
    told (1, 0);
    assert_int_equal (assignment.tasks.count + assignment.shards.count + assignment.groups.count,
                      0);
    assert_true (plan_it (job));
    apply_it ();
    uint64_t mine = 0;
    for (unsigned n = 1; n <= 3; n++) {
        told (n, 0);
        assert_int_equal (assignment.tasks.count, 1);
        assert_int_equal (assignment.shards.count, n < 3);
        assert_int_equal (assignment.groups.count, 1);
        const task_order_t *order = &assignment.tasks.items[0];
        assert_int_equal (order->world, 3);
        assert_int_equal (order->epoch, 1);
        assert_false (order->stop);
        assert_string_equal (order->spec.command.items[0], "train");
        mine = n == 1 ? order->rank : mine;
    }
    const group_view_t *group = &assignment.groups.items[0];
    assert_int_equal (group->epoch, 1);
    assert_int_equal (group->members.count, 3);
    assert_int_equal (group->shards.count, 2);
    assert_true (strncmp (group->shards.items[0].endpoint, "tcp://1.2.3.4:", 14) == 0);
    assert_false (group->complete);

    /*  Complete as soon as all run and all serve. */
    for (unsigned n = 1; n <= 3; n++) {
        told (n, 0);
        report (n, job, assignment.tasks.items[0].rank, 0, TASK_RUNNING);
        for (size_t i = 0; i < assignment.shards.count; i++) {
            shard_state_t shard = {job, assignment.shards.items[i].index, 1, true};
            assert_int_equal (
                COMMAND (&world, update_tasks, .worker = key_of (n), .shards = {&shard, 1}),
                NEXUS_OK);
        }
    }
    told (2, 0);
    assert_true (assignment.groups.items[0].complete);
    record_key_t process = key_of (500 + (unsigned)mine);
    assert_memory_equal (&assignment.groups.items[0].members.items[mine].key, &process, 32);

    /*  A restart is held back for its time; the others see that it is away. */
    report (1, job, mine, 0, TASK_FAILED);
    told (1, 1499);
    assert_true (held_back);
    assert_int_equal (assignment.tasks.count, 0);
    assert_int_equal (assignment.shards.count, 1);
    assert_false (assignment.groups.items[0].complete);
    assert_true (record_key_is_zero (&assignment.groups.items[0].members.items[mine].key));
    told (1, 999); /* the clock was set back: more than the back-off can't be meant */
    assert_false (held_back);
    told (1, 1500);
    assert_false (held_back);
    assert_int_equal (assignment.tasks.items[0].attempt, 1);

    /*  Succeeded ranks are done; to stop does not wait for a restart's time. */
    report (1, job, mine, 1, TASK_FAILED);
    told (2, 0);
    uint64_t other = assignment.tasks.items[0].rank;
    report (2, job, other, 0, TASK_SUCCEEDED);
    told (2, 0);
    assert_int_equal (assignment.tasks.count, 0);
    assert_true (assignment.groups.items[0].members.items[other].done);
    assert_int_equal (COMMAND (&world, end_job, .job_id = job, .ending = JOB_CANCELLED), NEXUS_OK);
    told (1, 0);
    assert_false (held_back);
    assert_true (assignment.tasks.items[0].stop);
}

/*  ---- size
 * --------------------------------------------------------------------------------------------- */

/*  Planning does not grow with the square of the cluster: 1,000 workers, 2,000 ranks. */
static void test_large (void **state)
{
    (void)state;
    enum { WORKERS = 1000, RANKS = 2000 };
    for (unsigned n = 1; n <= WORKERS; n++)
        add_plain (n, n % 2 ? "a" : "b", 4);
    job_spec_t spec = spec_of (RANKS, 0);
    spec.placement = PLACE_PACK;
    const char *job = submit (&spec);
    int64_t begin = clock_now_ns ();
    assert_true (plan_it (job));
    apply_it ();
    look ();
    for (size_t i = 0; i < WORKERS; i++) {
        arena_t arena;
        arena_init (&arena, 0, NULL, 0);
        assert_int_equal (
            assign_worker (&cluster, &cluster.workers[i], 0, &arena, &assignment, &held_back), 0);
        assert_true (assignment.tasks.count == 0 || assignment.tasks.count == 4);
        arena_reset (&arena);
    }
    int64_t took_ms = (clock_now_ns () - begin) / 1000000;
    if (getenv ("VERBOSE"))
        print_message ("%lld ms\n", (long long)took_ms);
    assert_true (took_ms < 10000); /* some 100 ms; a square would take minutes */
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_picture, setup, teardown),
        cmocka_unit_test_setup_teardown (test_gang_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown (test_elastic, setup, teardown),
        cmocka_unit_test_setup_teardown (test_nobody_matches, setup, teardown),
        cmocka_unit_test_setup_teardown (test_resources, setup, teardown),
        cmocka_unit_test_setup_teardown (test_styles, setup, teardown),
        cmocka_unit_test_setup_teardown (test_recovery, setup, teardown),
        cmocka_unit_test_setup_teardown (test_shards, setup, teardown),
        cmocka_unit_test_setup_teardown (test_assignment, setup, teardown),
        cmocka_unit_test_setup_teardown (test_large, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
