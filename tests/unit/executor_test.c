/*  The executor brings a worker's tasks in line with its orders: every case of orders, starts and
    ends that cross each other. */
#include "actors/executor/executor.h"
#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static harness_t *harness;
static task_order_t orders[16];
static task_orders_t list;

static int setup (void **state)
{
    (void)state;
    harness = harness_new (&executor_behaviour, NULL, NULL, NULL);
    assert_non_null (harness);
    list = (task_orders_t){.tasks = {orders, 0}, .capacity = {.cpu = 2}};
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    harness_destroy (&harness);
    return 0;
}

/*  ---- short hands ------------------------------------------------------------------ */

static task_order_t *add (const char *job, uint64_t rank, uint64_t attempt)
{
    task_order_t *order = &orders[list.tasks.count++];
    record_init (&task_order_record, order);
    order->job_id = job;
    order->rank = rank;
    order->attempt = attempt;
    order->spec.name = "job";
    order->spec.stop.grace_ms = 500;
    return order;
}

static void give (void)
{
    harness_deliver (harness, NULL, &task_orders_record, &list);
}

/*  Forgets what was ordered; a new list begins. */
static void again (void)
{
    list.tasks.count = 0;
}

static const message_t *expect_start (uint64_t rank, uint64_t attempt)
{
    const process_start_t *start = harness_find (harness, process_start);
    assert_non_null (start);
    assert_int_equal (start->order.rank, rank);
    assert_int_equal (start->order.attempt, attempt);
    return message_retain ((message_t *)harness_message (harness));
}

static void started (const message_t *request, int64_t pid)
{
    process_started_t reply = {.pid = pid, .key = {{(uint8_t)pid}}};
    harness_reply (harness, request, &process_started_record, &reply);
    message_release ((message_t **)&request);
}

static void start (uint64_t rank, uint64_t attempt, int64_t pid)
{
    started (expect_start (rank, attempt), pid);
}

static void ended (int64_t pid, int64_t exit_code)
{
    harness_deliver (harness, NULL, &process_ended_record,
                     &(process_ended_t){.pid = pid, .exit_code = exit_code});
}

static void expect_signal (int64_t pid, const char *name)
{
    const process_signal_t *signal = harness_find (harness, process_signal);
    assert_non_null (signal);
    assert_int_equal (signal->pid, pid);
    assert_string_equal (signal->signal, name);
}

/*  The newest states; the state of that rank in them, which must be there. */
static task_state_t expect_state (uint64_t rank, uint64_t attempt, task_phase_t phase)
{
    static task_state_t found;
    static char reason[200];
    const task_states_t *states;
    bool any = false;
    while (harness_count (harness, &task_states_record)) {
        states = harness_find (harness, task_states);
        any = false;
        for (size_t i = 0; i < states->tasks.count; i++)
            if (states->tasks.items[i].rank == rank) {
                found = states->tasks.items[i];
                snprintf (reason, sizeof (reason), "%s", found.reason);
                found.reason = reason;
                any = true;
            }
    }
    assert_true (any);
    assert_int_equal (found.attempt, attempt);
    assert_string_equal (record_choice_name (&task_phase_choices, found.phase),
                         record_choice_name (&task_phase_choices, (int)phase));
    return found;
}

static size_t expect_states (void)
{
    const task_states_t *states = NULL;
    while (harness_count (harness, &task_states_record))
        states = harness_find (harness, task_states);
    assert_non_null (states);
    return states->tasks.count;
}

/*  ---- lives -------------------------------------------------------------------------- */

static void test_success (void **state)
{
    (void)state;
    add ("a-1", 3, 0);
    give ();
    const message_t *request = expect_start (3, 0);
    assert_string_equal (request->to.actor, "process");
    assert_int_equal (expect_state (3, 0, TASK_ASSIGNED).pid, 0);
    started (request, 77);
    task_state_t running = expect_state (3, 0, TASK_RUNNING);
    assert_int_equal (running.pid, 77);
    assert_int_equal (running.key.bytes[0], 77);
    give (); /* repeated orders change nothing */
    assert_true (harness_quiet (harness));
    ended (77, 0);
    task_state_t done = expect_state (3, 0, TASK_SUCCEEDED);
    assert_int_equal (done.pid, 0);
    assert_true (record_key_is_zero (&done.key));
    assert_string_equal (done.reason, "exited with code 0");
    give ();
    assert_true (harness_quiet (harness));
    again ();
    give ();
    assert_int_equal (expect_states (), 0);
    assert_true (harness_quiet (harness));
}

static void test_failures (void **state)
{
    (void)state;
    static const struct {
        int64_t exit_code;
        const char *reason;
    } ends[] = {{3, "exited with code 3"},
                {137, "killed by signal 9"},
                {128, "exited with code 128"},
                {255, "exited with code 255"}};
    for (uint64_t i = 0; i < 4; i++) {
        again ();
        add ("a-1", 0, i);
        give ();
        start (0, i, 50 + (int64_t)i);
        ended (50 + (int64_t)i, ends[i].exit_code);
        task_state_t failed = expect_state (0, i, TASK_FAILED);
        assert_int_equal (failed.exit_code, ends[i].exit_code);
        assert_string_equal (failed.reason, ends[i].reason);
    }
    ended (53, 0);  /* known no more */
    ended (0, 0);   /* of nobody */
    ended (999, 0); /* of a stranger */
    assert_true (harness_quiet (harness));
}

static void test_start_fails (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    give ();
    const message_t *request = expect_start (0, 0);
    harness_reply_failure (harness, request, NEXUS_NOT_FOUND, "no such program");
    task_state_t failed = expect_state (0, 0, TASK_FAILED);
    assert_int_equal (failed.exit_code, 127);
    assert_string_equal (failed.reason, "no such program");
    harness_reply_failure (harness, request, NEXUS_NOT_FOUND, "again"); /* a stray reply */
    assert_true (harness_quiet (harness));
    message_release ((message_t **)&request);
    again ();
    add ("a-1", 0, 1);
    give ();
    start (0, 1, 9);
    expect_state (0, 1, TASK_RUNNING);
}

/*  Signal, grace, kill. */
static void test_stop (void **state)
{
    (void)state;
    add ("a-1", 0, 0)->spec.stop.signal = "USR1";
    give ();
    start (0, 0, 7);
    orders[0].stop = true;
    give ();
    expect_signal (7, "USR1");
    give (); /* asked once */
    expect_state (0, 0, TASK_RUNNING);
    assert_true (harness_quiet (harness));
    harness_advance (harness, 499);
    assert_true (harness_quiet (harness));
    harness_advance (harness, 1);
    expect_signal (7, "KILL");
    harness_advance (harness, 5000);
    assert_true (harness_quiet (harness));
    ended (7, 137);
    expect_state (0, 0, TASK_STOPPED);
}

static void test_stop_in_time (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    give ();
    start (0, 0, 7);
    orders[0].stop = true;
    give ();
    expect_signal (7, "TERM");
    ended (7, 0);
    expect_state (0, 0, TASK_STOPPED);
    harness_advance (harness, 5000); /* no kill of whoever has that number now */
    assert_true (harness_quiet (harness));
}

/*  The order to stop comes while the process is being started. */
static void test_stop_while_starting (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    give ();
    const message_t *request = expect_start (0, 0);
    orders[0].stop = true;
    give ();
    expect_state (0, 0, TASK_ASSIGNED);
    assert_true (harness_quiet (harness));
    started (request, 8);
    expect_signal (8, "TERM");
    ended (8, 143);
    expect_state (0, 0, TASK_STOPPED);
}

static void test_stop_before_start (void **state)
{
    (void)state;
    add ("a-1", 0, 2)->stop = true;
    give ();
    expect_state (0, 2, TASK_STOPPED);
    assert_true (harness_quiet (harness));
    again ();
    add ("a-1", 0, 3);
    give ();
    start (0, 3, 5);
    expect_state (0, 3, TASK_RUNNING);
}

/*  What is not named any more is stopped, and then forgotten. */
static void test_not_named (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    add ("a-1", 1, 0);
    give ();
    const message_t *first = expect_start (0, 0), *second = expect_start (1, 0);
    started (first, 7);
    again ();
    add ("b-2", 0, 0)->spec.resources.cpu = 0.5; /* another job's rank 0 is another rank */
    list.capacity.cpu = 100;
    give ();
    expect_signal (7, "TERM");
    start (0, 0, 20);
    started (second, 8);
    expect_signal (8, "TERM");
    ended (8, 0);
    ended (7, 0);
    assert_int_equal (expect_states (), 1);
    assert_true (harness_quiet (harness));
}

/*  A higher attempt replaces the process; a lower one is of the past. */
static void test_attempts (void **state)
{
    (void)state;
    add ("a-1", 0, 4);
    give ();
    start (0, 4, 7);
    orders[0].attempt = 5;
    give ();
    expect_signal (7, "TERM");
    expect_state (0, 4, TASK_RUNNING);
    orders[0].attempt = 6;
    give ();
    assert_true (harness_quiet (harness)); /* never two at once */
    ended (7, 143);
    start (0, 6, 8);
    expect_state (0, 6, TASK_RUNNING);
    orders[0].attempt = 3;
    give ();
    assert_true (harness_quiet (harness));
    orders[0].attempt = 6;
    ended (8, 0);
    expect_state (0, 6, TASK_SUCCEEDED);
    orders[0].attempt = 6;
    give ();
    assert_true (harness_quiet (harness));
}

/*  A replacement that is taken back, and one that is itself to stop. */
static void test_attempts_and_stops (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    give ();
    const message_t *request = expect_start (0, 0);
    orders[0].attempt = 1;
    give ();
    orders[0].stop = true;
    give ();
    started (request, 7);
    expect_signal (7, "TERM");
    ended (7, 143);
    expect_state (0, 1, TASK_STOPPED);
    assert_true (harness_quiet (harness));
}

/*  Named again while it is being stopped: nothing starts twice, it ends as stopped, and the
    leader orders another attempt. */
static void test_named_again (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    give ();
    start (0, 0, 7);
    again ();
    give ();
    expect_signal (7, "TERM");
    add ("a-1", 0, 0);
    give ();
    ended (7, 0);
    expect_state (0, 0, TASK_STOPPED);
    assert_true (harness_quiet (harness));
}

/*  ---- room ------------------------------------------------------------------------------ */

/*  What is being stopped holds its room until its process is gone. */
static void test_room (void **state)
{
    (void)state;
    add ("a-1", 0, 0);
    add ("a-1", 1, 0);
    give ();
    start (0, 0, 7);
    start (1, 0, 8);
    again ();
    add ("a-1", 1, 0);
    add ("b-2", 5, 0);
    give ();
    expect_signal (7, "TERM");
    expect_state (1, 0, TASK_RUNNING);
    assert_true (harness_quiet (harness));
    harness_advance (harness, 500);
    expect_signal (7, "KILL");
    give ();
    assert_true (harness_quiet (harness));
    ended (7, 137);
    start (5, 0, 9);
    expect_state (5, 0, TASK_RUNNING);

    /*  If nothing is being stopped the leader's word counts, whatever the figures say. */
    add ("c-3", 6, 0);
    list.capacity = (resources_t){0};
    give ();
    start (6, 0, 10);
}

static void test_room_of_memory_and_gpus (void **state)
{
    (void)state;
    list.capacity = (resources_t){.cpu = 100, .memory = 1000, .gpus = 2};
    add ("a-1", 0, 0)->spec.resources = (resources_t){.cpu = 1, .memory = 600};
    add ("a-1", 1, 0)->spec.resources = (resources_t){.cpu = 1, .gpus = 2};
    give ();
    start (0, 0, 7);
    start (1, 0, 8);
    again ();
    add ("b-2", 2, 0)->spec.resources = (resources_t){.cpu = 1, .memory = 500};
    add ("b-2", 3, 0)->spec.resources = (resources_t){.cpu = 1, .gpus = 1};
    add ("b-2", 4, 0)->spec.resources = (resources_t){.cpu = 1, .memory = 400};
    give ();
    start (4, 0, 9); /* fits beside them */
    assert_int_equal (harness_count (harness, &process_start_record), 0);
    ended (8, 143);
    start (3, 0, 10);
    ended (7, 143);
    start (2, 0, 11);
}

/*  Order to stop what has not begun because it waits for room. */
static void test_stop_while_waiting (void **state)
{
    (void)state;
    list.capacity.cpu = 1;
    add ("a-1", 0, 0);
    give ();
    start (0, 0, 7);
    again ();
    add ("b-2", 1, 0);
    give ();
    orders[0].stop = true;
    give ();
    expect_state (1, 0, TASK_STOPPED);
    ended (7, 143);
    assert_int_equal (harness_count (harness, &process_start_record), 0);
}

static void test_only_local (void **state)
{
    (void)state;
    record_key_t node = {{9}};
    address_t stranger = address_remote (&node, "agent", 0);
    add ("a-1", 0, 0);
    harness_deliver (harness, &stranger, &task_orders_record, &list);
    assert_true (harness_quiet (harness));
}

/*  Random orders, starts and ends: never two processes of a rank, never more than fits beside
    what is stopped, and what is ordered runs in the end. */
static void test_random (void **state)
{
    (void)state;
    enum { RANKS = 4, STEPS = 20000 };
    int64_t pids[RANKS] = {0}, next = 100;
    const message_t *starting[RANKS] = {NULL};
    list.capacity.cpu = RANKS;
    unsigned seed = 1;
    for (int step = 0; step < STEPS; step++) {
        uint64_t rank = (uint64_t)rand_r (&seed) % RANKS;
        switch (rand_r (&seed) % 4) {
        case 0: /* other orders */
            again ();
            for (uint64_t r = 0; r < RANKS; r++)
                if (rand_r (&seed) % 4)
                    add ("a-1", r, (uint64_t)step / 100)->stop = rand_r (&seed) % 5 == 0;
            give ();
            break;
        case 1:
            if (starting[rank]) {
                const message_t *request = starting[rank];
                starting[rank] = NULL;
                if (rand_r (&seed) % 4) {
                    pids[rank] = ++next;
                    started (request, pids[rank]);
                } else {
                    harness_reply_failure (harness, request, NEXUS_IO, "not today");
                    message_release ((message_t **)&request);
                }
            }
            break;
        case 2:
            if (pids[rank]) {
                int64_t pid = pids[rank];
                pids[rank] = 0;
                ended (pid, rand_r (&seed) % 2);
            }
            break;
        default:
            harness_advance (harness, 100);
        }
        while (harness_count (harness, &process_start_record)) {
            const process_start_t *start = harness_find (harness, process_start);
            assert_null (starting[start->order.rank]);
            assert_int_equal (pids[start->order.rank], 0);
            starting[start->order.rank] = message_retain ((message_t *)harness_message (harness));
        }
        harness_clear (harness);
    }
    /*  All is ordered; all that runs is the newest attempt in the end. */
    again ();
    for (uint64_t r = 0; r < RANKS; r++)
        add ("a-1", r, STEPS);
    give ();
    for (int round = 0; round < 3; round++) {
        for (uint64_t r = 0; r < RANKS; r++) {
            if (starting[r] &&
                ((const process_start_t *)starting[r]->body)->order.attempt < STEPS) {
                harness_reply_failure (harness, starting[r], NEXUS_IO, "late");
                message_release ((message_t **)&starting[r]);
            }
            if (pids[r])
                ended (pids[r], 0);
            pids[r] = 0;
        }
        while (harness_count (harness, &process_start_record)) {
            const process_start_t *start = harness_find (harness, process_start);
            assert_null (starting[start->order.rank]);
            starting[start->order.rank] = message_retain ((message_t *)harness_message (harness));
        }
    }
    for (uint64_t r = 0; r < RANKS; r++) {
        assert_non_null (starting[r]);
        assert_int_equal (((const process_start_t *)starting[r]->body)->order.attempt, STEPS);
        message_release ((message_t **)&starting[r]);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_success, setup, teardown),
        cmocka_unit_test_setup_teardown (test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown (test_start_fails, setup, teardown),
        cmocka_unit_test_setup_teardown (test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown (test_stop_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown (test_stop_while_starting, setup, teardown),
        cmocka_unit_test_setup_teardown (test_stop_before_start, setup, teardown),
        cmocka_unit_test_setup_teardown (test_not_named, setup, teardown),
        cmocka_unit_test_setup_teardown (test_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown (test_attempts_and_stops, setup, teardown),
        cmocka_unit_test_setup_teardown (test_named_again, setup, teardown),
        cmocka_unit_test_setup_teardown (test_room, setup, teardown),
        cmocka_unit_test_setup_teardown (test_room_of_memory_and_gpus, setup, teardown),
        cmocka_unit_test_setup_teardown (test_stop_while_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown (test_only_local, setup, teardown),
        cmocka_unit_test_setup_teardown (test_random, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
