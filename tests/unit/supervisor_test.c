/*  The supervisor under the production shell: every strategy with every restart
    type, the order of starts and stops, the limit on restarts. */
#include "runtime/supervisor.h"

#include "runtime/host.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/*  What happened, "+a" for a start and "-a" for an end, in order. */
static struct {
    pthread_mutex_t lock;
    char text[1024];
    int refusals; /* how many starts of "b" shall fail, once it has run */
    bool ran;
} events = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note (char sign, const char *name)
{
    pthread_mutex_lock (&events.lock);
    size_t length = strlen (events.text);
    snprintf (events.text + length, sizeof events.text - length, "%c%s ", sign, name);
    pthread_mutex_unlock (&events.lock);
}

static void reset (int refusals)
{
    events.text[0] = '\0';
    events.refusals = refusals;
    events.ran = false;
}

/*  Waits until exactly that has happened. */
static void expect (const char *text)
{
    bool same = false;
    for (int i = 0; i < 30000 && !same; i++) {
        usleep (1000);
        pthread_mutex_lock (&events.lock);
        same = strcmp (events.text, text) == 0;
        pthread_mutex_unlock (&events.lock);
    }
    pthread_mutex_lock (&events.lock);
    if (!same)
        print_error ("expected \"%s\", got \"%s\"\n", text, events.text);
    pthread_mutex_unlock (&events.lock);
    assert_true (same);
}

/*  ---- children: done_t tells them how to end ---------------------------------- */

enum { END_DONE = 1, END_FAILED = 2 };

static int kid_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)state;
    (void)args;
    const char *name = context_self (ctx)->actor;
    if (strcmp (name, "b") == 0) {
        bool refuse = events.ran && events.refusals > 0;
        events.ran = true;
        if (refuse) {
            events.refusals--;
            note ('!', name);
            return nexus_error_set (error, NEXUS_IO, "not today");
        }
    }
    note ('+', name);
    return 0;
}

static void kid_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    const done_t *done = message_body (message, done);
    nexus_error_t error;
    nexus_error_set (&error, NEXUS_IO, "broken");
    if (done && done->value == END_DONE)
        context_stop (ctx);
    else if (done && done->value == END_FAILED)
        context_fail (ctx, &error);
}

static void kid_stop (void *state, context_t *ctx)
{
    (void)state;
    note ('-', context_self (ctx)->actor);
}

static const behaviour_t kid_behaviour = {
    .name = "kid", .start = kid_start, .receive = kid_receive, .stop = kid_stop};

/*  ---- a tree: the supervisor as a host's root ------------------------------------ */

typedef struct {
    runtime_t *runtime;
    zactor_t *host;
    child_t children[3];
    supervisor_spec_t spec;
} tree_t;

static void begin (tree_t *self, strategy_t strategy, restart_t restart, unsigned intensity,
                   bool thread)
{
    static const char *const names[] = {"a", "b", "c"};
    nexus_error_t error = {0};
    *self = (tree_t){0};
    self->runtime = runtime_new (&(runtime_config_t){.name = "test"}, &error);
    assert_non_null (self->runtime);
    for (int i = 0; i < 3; i++)
        self->children[i] = (child_t){
            .behaviour = &kid_behaviour, .name = names[i], .restart = restart, .thread = thread};
    self->spec = (supervisor_spec_t){.strategy = strategy,
                                     .intensity = intensity,
                                     .period_ms = 60000,
                                     .children = self->children,
                                     .count = 3};
    child_t root = {.behaviour = &supervisor_behaviour, .name = "sup", .args = &self->spec};
    self->host = host_new (self->runtime, &root, &error);
    if (!self->host)
        print_error ("%s\n", error.text);
    assert_non_null (self->host);
}

static void end (tree_t *self)
{
    zactor_destroy (&self->host);
    runtime_destroy (&self->runtime);
}

static void tell (tree_t *self, const char *name, uint64_t how)
{
    address_t to = address_local (name, 0);
    message_t *message = message_new (&done_record, &(done_t){.value = how}, NULL, &to, &to);
    runtime_send (self->runtime, &message);
}

/*  The middle child ends; expected is what happens then. */
static void scenario (strategy_t strategy, restart_t restart, uint64_t how, const char *expected)
{
    for (int thread = 0; thread < 2; thread++) {
        tree_t tree;
        char text[256];
        reset (0);
        begin (&tree, strategy, restart, 5, thread);
        expect ("+a +b +c ");
        tell (&tree, "b", how);
        snprintf (text, sizeof text, "+a +b +c -b %s", expected);
        expect (text);
        usleep (5000); /* and nothing else */
        expect (text);
        end (&tree);
    }
}

static void test_one_for_one (void **state)
{
    (void)state;
    scenario (SUPERVISE_ONE_FOR_ONE, RESTART_PERMANENT, END_DONE, "+b ");
    scenario (SUPERVISE_ONE_FOR_ONE, RESTART_PERMANENT, END_FAILED, "+b ");
    scenario (SUPERVISE_ONE_FOR_ONE, RESTART_TRANSIENT, END_DONE, "");
    scenario (SUPERVISE_ONE_FOR_ONE, RESTART_TRANSIENT, END_FAILED, "+b ");
    scenario (SUPERVISE_ONE_FOR_ONE, RESTART_TEMPORARY, END_DONE, "");
    scenario (SUPERVISE_ONE_FOR_ONE, RESTART_TEMPORARY, END_FAILED, "");
}

static void test_one_for_all (void **state)
{
    (void)state;
    scenario (SUPERVISE_ONE_FOR_ALL, RESTART_PERMANENT, END_DONE, "-c -a +a +b +c ");
    scenario (SUPERVISE_ONE_FOR_ALL, RESTART_PERMANENT, END_FAILED, "-c -a +a +b +c ");
    scenario (SUPERVISE_ONE_FOR_ALL, RESTART_TRANSIENT, END_DONE, "");
    scenario (SUPERVISE_ONE_FOR_ALL, RESTART_TRANSIENT, END_FAILED, "-c -a +a +b +c ");
    scenario (SUPERVISE_ONE_FOR_ALL, RESTART_TEMPORARY, END_DONE, "");
    scenario (SUPERVISE_ONE_FOR_ALL, RESTART_TEMPORARY, END_FAILED, "");
}

static void test_rest_for_one (void **state)
{
    (void)state;
    scenario (SUPERVISE_REST_FOR_ONE, RESTART_PERMANENT, END_DONE, "-c +b +c ");
    scenario (SUPERVISE_REST_FOR_ONE, RESTART_PERMANENT, END_FAILED, "-c +b +c ");
    scenario (SUPERVISE_REST_FOR_ONE, RESTART_TRANSIENT, END_DONE, "");
    scenario (SUPERVISE_REST_FOR_ONE, RESTART_TRANSIENT, END_FAILED, "-c +b +c ");
    scenario (SUPERVISE_REST_FOR_ONE, RESTART_TEMPORARY, END_DONE, "");
    scenario (SUPERVISE_REST_FOR_ONE, RESTART_TEMPORARY, END_FAILED, "");
}

/*  A temporary child that was stopped with the others is not started again. */
static void test_temporary_among_permanent (void **state)
{
    (void)state;
    tree_t tree;
    reset (0);
    begin (&tree, SUPERVISE_ONE_FOR_ALL, RESTART_PERMANENT, 5, false);
    tree.children[2].restart = RESTART_TEMPORARY;
    expect ("+a +b +c ");
    tell (&tree, "a", END_FAILED);
    expect ("+a +b +c -a -c -b +a +b ");
    end (&tree);
}

static void test_stops_in_reverse (void **state)
{
    (void)state;
    tree_t tree;
    reset (0);
    begin (&tree, SUPERVISE_ONE_FOR_ONE, RESTART_PERMANENT, 1, true);
    expect ("+a +b +c ");
    end (&tree);
    expect ("+a +b +c -c -b -a ");
}

/*  The second restart within the period is one too many. */
static void test_intensity (void **state)
{
    (void)state;
    tree_t tree;
    reset (0);
    begin (&tree, SUPERVISE_ONE_FOR_ONE, RESTART_PERMANENT, 1, false);
    tell (&tree, "b", END_FAILED);
    expect ("+a +b +c -b +b ");
    tell (&tree, "b", END_FAILED);
    expect ("+a +b +c -b +b -b -c -a ");
    char *command = NULL, *reason = NULL;
    zsock_set_rcvtimeo (zactor_sock (tree.host), 5000);
    assert_int_equal (zstr_recvx (tree.host, &command, &reason, NULL), 2);
    assert_string_equal (command, "DOWN");
    assert_string_equal (reason, "b ended more than 1 times within 60000 ms, at last: broken");
    zstr_free (&command);
    zstr_free (&reason);
    end (&tree);
}

/*  Restarts far apart are forgiven. */
static void test_period (void **state)
{
    (void)state;
    tree_t tree;
    reset (0);
    begin (&tree, SUPERVISE_ONE_FOR_ONE, RESTART_PERMANENT, 2, false);
    tree.spec.period_ms = 50;
    tell (&tree, "b", END_FAILED);
    expect ("+a +b +c -b +b ");
    tell (&tree, "c", END_FAILED);
    expect ("+a +b +c -b +b -c +c ");
    usleep (80000);
    tell (&tree, "b", END_FAILED);
    expect ("+a +b +c -b +b -c +c -b +b ");
    end (&tree);
}

/*  A restart whose start fails is tried again, and each try counts. */
static void test_start_fails_at_restart (void **state)
{
    (void)state;
    tree_t tree;
    reset (1);
    begin (&tree, SUPERVISE_REST_FOR_ONE, RESTART_PERMANENT, 3, false);
    tell (&tree, "b", END_FAILED);
    expect ("+a +b +c -b -c !b +b +c ");
    end (&tree);

    reset (10);
    begin (&tree, SUPERVISE_REST_FOR_ONE, RESTART_PERMANENT, 3, false);
    tell (&tree, "b", END_FAILED);
    expect ("+a +b +c -b -c !b !b !b -a ");
    end (&tree);
}

static void test_first_start_fails (void **state)
{
    (void)state;
    reset (10);
    events.ran = true;
    child_t children[] = {{.behaviour = &kid_behaviour, .name = "a"},
                          {.behaviour = &kid_behaviour, .name = "b"}};
    supervisor_spec_t spec = {.children = children, .count = 2};
    child_t root = {.behaviour = &supervisor_behaviour, .name = "sup", .args = &spec};
    nexus_error_t error;
    runtime_t *runtime = runtime_new (&(runtime_config_t){.name = "test"}, &error);
    assert_null (host_new (runtime, &root, &error));
    assert_int_equal (error.code, NEXUS_IO);
    assert_string_equal (error.text, "b: not today");
    expect ("+a !b -a ");
    runtime_destroy (&runtime);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_one_for_one),
        cmocka_unit_test (test_one_for_all),
        cmocka_unit_test (test_rest_for_one),
        cmocka_unit_test (test_temporary_among_permanent),
        cmocka_unit_test (test_stops_in_reverse),
        cmocka_unit_test (test_intensity),
        cmocka_unit_test (test_period),
        cmocka_unit_test (test_start_fails_at_restart),
        cmocka_unit_test (test_first_start_fails),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
