/*  The agent speaks for a worker: what masters, tasks, executor and aggregator hear from it. */
#include "actors/agent/agent.h"
#include "runtime/harness.h"
#include "transport/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define KEY(n) ((record_key_t){{(uint8_t)(n), 9}})

static const master_t masters[] = {{.key = {{1, 9}}, .name = "m1", .endpoint = "tcp://m1:1"},
                                   {.key = {{2, 9}}, .name = "m2", .endpoint = "tcp://m2:1"}};
static agent_args_t args;
static harness_t *harness;
static uint64_t session;

static double load (void)
{
    return 0.5;
}

static int setup (void **state)
{
    (void)state;
    args = (agent_args_t){
        .self = {.name = "w1", .site = "home", .resources = {.cpu = 4}, .lane = "tcp://10.0.0.1:9"},
        .masters = masters,
        .master_count = 2,
        .heartbeat_ms = 1000,
        .load = load};
    harness = harness_new (&agent_behaviour, &args, NULL, NULL);
    assert_non_null (harness);
    const heartbeat_t *beat = harness_expect (harness, heartbeat);
    assert_non_null (beat);
    assert_string_equal (beat->name, "w1");
    assert_true (beat->session > 0 && beat->session < UINT64_C (1) << 63);
    session = beat->session;
    assert_memory_equal (&harness_message (harness)->to.node, &masters[0].key, 32);
    assert_string_equal (harness_message (harness)->to.actor, "registry");
    assert_non_null (harness_expect (harness, heartbeat));
    assert_memory_equal (&harness_message (harness)->to.node, &masters[1].key, 32);
    harness_clear (harness);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    harness_destroy (&harness);
    return 0;
}

/*  ---- short hands ------------------------------------------------------------------- */

/*  Both masters hear the same; returns what one of them got. */
static const worker_report_t *expect_report (void)
{
    assert_int_equal (harness_count (harness, &worker_report_record), 2);
    assert_non_null (harness_find (harness, worker_report));
    const worker_report_t *report = harness_find (harness, worker_report);
    assert_non_null (report);
    assert_string_equal (harness_message (harness)->to.actor, "scheduler");
    assert_memory_equal (&harness_message (harness)->to.node, &masters[1].key, 32);
    assert_int_equal (report->session, session);
    return report;
}

static void from_master (const record_t *kind, const void *body)
{
    address_t from = address_remote (&masters[0].key, "scheduler", 0);
    harness_set_role (harness, ROLE_MASTER);
    harness_deliver (harness, &from, kind, body);
}

static uint64_t from_task (unsigned n, const record_t *kind, const void *body)
{
    record_key_t key = KEY (n);
    address_t from = address_remote (&key, "contributor", 0);
    harness_set_role (harness, ROLE_TASK);
    if (kind == &task_metrics_record)
        return harness_ask (harness, &from, kind, body);
    harness_deliver (harness, &from, kind, body);
    return 0;
}

static void assign (uint64_t version, bool stop)
{
    task_order_t task;
    record_init (&task_order_record, &task);
    task.job_id = "a-1";
    task.rank = 3;
    task.attempt = 2;
    task.stop = stop;
    task.spec.name = "a";
    task.spec.stop.grace_ms = 700;
    shard_order_t shard = {"a-1", 0, 1};
    group_view_t group = {.job_id = "a-1", .epoch = 5, .version = version};
    record_init (&aggregation_record, &group.aggregation);
    assignment_t assignment = {
        .version = version, .tasks = {&task, 1}, .shards = {&shard, 1}, .groups = {&group, 1}};
    from_master (&assignment_record, &assignment);
}

/*  The executor says that rank 3 runs, as the process with key n (0: none). */
static void run_task (unsigned n, task_phase_t phase)
{
    task_state_t task = {.job_id = "a-1", .rank = 3, .attempt = 2, .phase = (int)phase};
    if (n)
        task.key = KEY (n);
    harness_deliver (harness, NULL, &task_states_record, &(task_states_t){{&task, 1}});
}

/*  Masters come and go: the newest list counts, and is remembered. */
static void test_masters_change (void **state)
{
    (void)state;
    master_t now[] = {masters[1], {.key = {{3, 9}}, .name = "m3", .endpoint = "tcp://m3:1"}};
    master_list_t list = {.index = 7, .masters = {now, 2}};
    address_t from = address_remote (&masters[1].key, "registry", 0);
    harness_set_role (harness, ROLE_MASTER);
    harness_deliver (harness, &from, &master_list_record, &list);
    const link_dial_t *dial = harness_expect (harness, link_dial);
    assert_non_null (dial);
    assert_memory_equal (&dial->node, &now[1].key, 32);
    assert_string_equal (dial->endpoints.items[0], "tcp://m3:1");
    const link_hangup_t *hangup = harness_expect (harness, link_hangup);
    assert_non_null (hangup);
    assert_memory_equal (&hangup->node, &masters[0].key, 32);
    const master_list_t *kept = harness_expect (harness, master_list);
    assert_non_null (kept);
    assert_string_equal (harness_message (harness)->to.actor, "masters_file");
    assert_int_equal (kept->masters.count, 2);
    list.index = 6; /* an older one */
    list.masters.count = 1;
    harness_deliver (harness, &from, &master_list_record, &list);
    list = (master_list_t){.index = 7, .masters = {now, 2}}; /* the same once more */
    harness_deliver (harness, &from, &master_list_record, &list);
    assert_true (harness_quiet (harness));
    harness_set_role (harness, ROLE_LOCAL);
}

/*  ---- masters ----------------------------------------------------------------------------- */

static void test_heartbeats (void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        harness_advance (harness, 1000);
        assert_int_equal (harness_count (harness, &heartbeat_record), 2);
        const worker_report_t *report = expect_report ();
        assert_int_equal (report->assignment, 0);
        assert_int_equal (report->tasks.count, 0);
        assert_true (report->load > 0.4 && report->load < 0.6);
        harness_clear (harness);
    }
}

static void test_assignment (void **state)
{
    (void)state;
    assign ((UINT64_C (3) << 32) + 7, false);
    const task_orders_t *tasks = harness_expect (harness, task_orders);
    assert_non_null (tasks);
    assert_string_equal (harness_message (harness)->to.actor, "executor");
    assert_int_equal (tasks->tasks.count, 1);
    assert_int_equal (tasks->tasks.items[0].attempt, 2);
    assert_true (tasks->capacity.cpu > 3.9);
    const shard_orders_t *shards = harness_expect (harness, shard_orders);
    assert_non_null (shards);
    assert_string_equal (harness_message (harness)->to.actor, "aggregator");
    assert_int_equal (shards->shards.count, 1);
    assert_int_equal (shards->groups.items[0].epoch, 5);
    assert_int_equal (expect_report ()->assignment, (UINT64_C (3) << 32) + 7);

    /*  The same again is acknowledged again, an older one too; neither is followed. */
    assign ((UINT64_C (3) << 32) + 7, false);
    assert_int_equal (expect_report ()->assignment, (UINT64_C (3) << 32) + 7);
    assign ((UINT64_C (2) << 32) + 99, true);
    assert_int_equal (expect_report ()->assignment, (UINT64_C (3) << 32) + 7);
    assert_true (harness_quiet (harness));
    assign (UINT64_C (4) << 32, false);
    assert_non_null (harness_expect (harness, task_orders));
}

static void test_states_are_reported (void **state)
{
    (void)state;
    run_task (40, TASK_RUNNING);
    const worker_report_t *report = expect_report ();
    assert_int_equal (report->tasks.count, 1);
    assert_int_equal (report->tasks.items[0].phase, TASK_RUNNING);
    shard_state_t shard = {"a-1", 0, 4, true};
    harness_deliver (harness, NULL, &shard_states_record, &(shard_states_t){{&shard, 1}});
    report = expect_report ();
    assert_int_equal (report->tasks.count, 1);
    assert_int_equal (report->shards.count, 1);
    assert_int_equal (report->shards.items[0].generation, 4);
    /*  What comes in one turn is one report. */
    harness_hold (harness);
    run_task (41, TASK_RUNNING);
    run_task (0, TASK_SUCCEEDED);
    harness_turn (harness);
    assert_int_equal (expect_report ()->tasks.items[0].phase, TASK_SUCCEEDED);
    assert_true (harness_quiet (harness));
}

/*  Each may say only what is its to say. */
static void test_strangers (void **state)
{
    (void)state;
    address_t from = address_remote (&masters[0].key, "scheduler", 0);
    assignment_t assignment = {.version = 9};
    task_state_t task = {.job_id = "a-1", .phase = TASK_RUNNING, .key = KEY (40)};
    for (int role = ROLE_NONE; role <= ROLE_JOINER; role++) {
        if (role == ROLE_LOCAL)
            continue;
        harness_set_role (harness, (role_t)role);
        if (role != ROLE_MASTER)
            harness_deliver (harness, &from, &assignment_record, &assignment);
        harness_deliver (harness, &from, &task_states_record, &(task_states_t){{&task, 1}});
        harness_deliver (harness, &from, &metrics_stored_record, &(metrics_stored_t){{NULL, 0}});
    }
    task_join_t join = {"a-1", 3, 2};
    from_task (40, &task_join_record, &join); /* no such task runs */
    assert_true (harness_quiet (harness));
    uint64_t asked = from_task (40, &task_metrics_record, &(task_metrics_t){.bytes_pushed = 1});
    const failure_t *failure = harness_expect_reply (harness, asked, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, NEXUS_UNAVAILABLE);
    assert_true (harness_quiet (harness));
}

/*  ---- tasks --------------------------------------------------------------------------------- */

static void test_join (void **state)
{
    (void)state;
    task_join_t join = {"a-1", 3, 2};
    assign (100, false);
    run_task (40, TASK_RUNNING);
    harness_clear (harness);
    from_task (40, &task_join_record, &join);
    const group_view_t *view = harness_expect (harness, group_view);
    assert_non_null (view);
    assert_int_equal (view->epoch, 5);
    record_key_t key = KEY (40);
    assert_memory_equal (&harness_message (harness)->to.node, &key, 32);
    assert_string_equal (harness_message (harness)->to.actor, "contributor");
    assert_true (harness_quiet (harness));

    assign (101, false); /* news for whoever has joined */
    view = harness_find (harness, group_view);
    assert_non_null (view);
    assert_int_equal (view->version, 101);
    assert_int_equal (harness_count (harness, &task_stop_record), 0);
    harness_clear (harness);

    assign (102, true);
    const task_stop_t *stop = harness_find (harness, task_stop);
    assert_non_null (stop);
    assert_int_equal (stop->grace_ms, 700);
    harness_clear (harness);
    assign (103, true);
    assert_int_equal (harness_count (harness, &task_stop_record), 0); /* told once */

    run_task (0, TASK_STOPPED);
    from_task (40, &task_join_record, &join);
    harness_clear (harness);
    assign (104, false);
    assert_int_equal (harness_count (harness, &group_view_record), 1); /* its last figures count */
    harness_deliver (harness, NULL, &task_states_record, &(task_states_t){{NULL, 0}});
    harness_clear (harness);
    assign (105, false);
    assert_int_equal (harness_count (harness, &group_view_record), 0); /* gone */
}

static void test_not_named_is_to_stop (void **state)
{
    (void)state;
    assign (100, false);
    run_task (40, TASK_RUNNING);
    from_task (40, &task_join_record, &(task_join_t){"a-1", 3, 2});
    harness_clear (harness);
    from_master (&assignment_record, &(assignment_t){.version = 101});
    const task_stop_t *stop = harness_find (harness, task_stop);
    assert_non_null (stop);
    assert_int_equal (stop->grace_ms, 0);
}

/*  ---- metrics ----------------------------------------------------------------------------------
 */

static void report_points (uint64_t first, size_t count, const char *name)
{
    metric_point_t *points = calloc (count + 1, sizeof (*points));
    for (size_t i = 0; i < count; i++)
        points[i] = (metric_point_t){name, first + i, 0.5, 77};
    task_metrics_t metrics = {.points = {points, count}, .bytes_pushed = 10, .bytes_pulled = 20};
    uint64_t asked = from_task (40, &task_metrics_record, &metrics);
    assert_non_null (harness_expect_reply (harness, asked, done));
    free (points);
}

static void test_metrics (void **state)
{
    (void)state;
    run_task (40, TASK_RUNNING);
    harness_clear (harness);
    report_points (1, 3, "loss");
    const worker_report_t *report = expect_report ();
    assert_int_equal (report->points.count, 3);
    assert_string_equal (report->points.items[2].job_id, "a-1");
    assert_string_equal (report->points.items[2].point.name, "loss");
    assert_int_equal (report->points.items[2].point.step, 3);
    assert_int_equal (report->tasks.items[0].bytes_pushed, 10);
    assert_int_equal (report->tasks.items[0].bytes_pulled, 20);

    /*  Repeated until they are stored. */
    harness_advance (harness, 1000);
    assert_int_equal (expect_report ()->points.count, 3);
    harness_clear (harness);
    metric_report_t stored[] = {{"a-1", {"loss", 1, 0.5, 77}}, {"a-1", {"loss", 2, 0.5, 77}}};
    from_master (&metrics_stored_record, &(metrics_stored_t){{stored, 2}});
    from_master (&metrics_stored_record, &(metrics_stored_t){{stored, 2}});
    harness_advance (harness, 1000);
    report = expect_report ();
    assert_int_equal (report->points.count, 1);
    assert_int_equal (report->points.items[0].point.step, 3);
    harness_clear (harness);

    /*  Names that the ledger would not take are no names. */
    report_points (9, 1, "a b");
    report_points (9, 1, "");
    report_points (9, 1, "ok_2");
    harness_clear (harness);
    harness_advance (harness, 1000);
    assert_int_equal (expect_report ()->points.count, 2);
    /*  The last figures of a run that has ended are still reported. */
    run_task (0, TASK_SUCCEEDED);
    harness_clear (harness);
    harness_advance (harness, 1000);
    assert_int_equal (expect_report ()->tasks.items[0].bytes_pushed, 10);
}

/*  A time is set where the program gave none. */
static void test_metrics_get_a_time (void **state)
{
    (void)state;
    run_task (40, TASK_RUNNING);
    metric_point_t point = {"loss", 1, 0.5, 0};
    from_task (40, &task_metrics_record, &(task_metrics_t){.points = {&point, 1}});
    harness_clear (harness);
    harness_advance (harness, 1000);
    assert_true (expect_report ()->points.items[0].point.time_ms > 0);
}

/*  The leader is away for long: the newest 4,096 values are kept, and what is stored at last
   leaves, though its oldest are forgotten. */
static void test_many_points (void **state)
{
    (void)state;
    run_task (40, TASK_RUNNING);
    for (uint64_t i = 0; i < 6; i++) {
        report_points (1 + 1000 * i, 1000, "loss");
        harness_clear (harness);
    }
    harness_advance (harness, 1000);
    const worker_report_t *report = expect_report ();
    assert_int_equal (report->points.count, 4096);
    assert_int_equal (report->points.items[0].point.step, 6001 - 4096);
    assert_int_equal (report->points.items[4095].point.step, 6000);
    metrics_stored_t stored = {{report->points.items, report->points.count}};
    message_t *held = message_retain ((message_t *)harness_message (harness));
    report_points (6001, 100, "loss");
    from_master (&metrics_stored_record, &stored);
    harness_clear (harness);
    harness_advance (harness, 1000);
    report = expect_report ();
    assert_int_equal (report->points.count, 100);
    assert_int_equal (report->points.items[0].point.step, 6001);
    message_release (&held);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_masters_change, setup, teardown),
        cmocka_unit_test_setup_teardown (test_heartbeats, setup, teardown),
        cmocka_unit_test_setup_teardown (test_assignment, setup, teardown),
        cmocka_unit_test_setup_teardown (test_states_are_reported, setup, teardown),
        cmocka_unit_test_setup_teardown (test_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown (test_join, setup, teardown),
        cmocka_unit_test_setup_teardown (test_not_named_is_to_stop, setup, teardown),
        cmocka_unit_test_setup_teardown (test_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown (test_metrics_get_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown (test_many_points, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
