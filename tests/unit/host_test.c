/*  The production shell: delivery, requests and their failures, lanes, timers,
    children with and without threads, sockets, calls from outside. */
#include "runtime/host.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/*  ---- kinds of the tests ------------------------------------------------------ */

#define STEP(F)                             \
    F (UINT, number, _, .doc = "A number.") \
    F (STRING, text, _, .doc = "A text.")
RECORD_DECLARE (step, STEP)
#define RECORD_SELF step_t
RECORD_DEFINE (step, 3000, 0, "A step of a test, control lane.", STEP)
#undef RECORD_SELF

#define BULK(F) F (UINT, number, _, .doc = "A number.")
RECORD_DECLARE (bulk, BULK)
#define RECORD_SELF bulk_t
RECORD_DEFINE (bulk, 3001, RECORD_DATA_LANE, "A step of a test, data lane.", BULK)
#undef RECORD_SELF

/*  ---- an actor whose callbacks are the test's ----------------------------------- */

typedef struct script script_t;
struct script {
    int (*start) (script_t *, context_t *, nexus_error_t *);
    void (*receive) (script_t *, context_t *, const message_t *);
    void (*timer) (script_t *, context_t *, uint64_t timer, uint64_t data);
    void (*settle) (script_t *, context_t *);
    void (*stop) (script_t *, context_t *);
    void *peer; /* whatever the test wants to hand over */
    uint64_t numbers[64];
    size_t count;
    char text[600];
    const message_t *held;
    uint64_t correlation;
    int fd;
    void *socket;
    address_t target;
    atomic_int flag; /* read and written by the test's thread too */
};

static int script_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    script_t *self = (script_t *)(uintptr_t)args;
    *(script_t **)state = self;
    return self->start ? self->start (self, ctx, error) : 0;
}

static void script_receive (void *state, context_t *ctx, const message_t *message)
{
    script_t *self = *(script_t **)state;
    if (self->receive)
        self->receive (self, ctx, message);
}

static void script_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    script_t *self = *(script_t **)state;
    self->timer (self, ctx, timer, data);
}

static void script_settle (void *state, context_t *ctx)
{
    script_t *self = *(script_t **)state;
    if (self->settle)
        self->settle (self, ctx);
}

static void script_stop (void *state, context_t *ctx)
{
    script_t *self = *(script_t **)state;
    if (self->stop)
        self->stop (self, ctx);
}

static const behaviour_t script_behaviour = {.name = "script",
                                             .state_size = sizeof (script_t *),
                                             .start = script_start,
                                             .receive = script_receive,
                                             .timer = script_timer,
                                             .settle = script_settle,
                                             .stop = script_stop};

static child_t child_of (script_t *script, const char *name)
{
    return (child_t){.behaviour = &script_behaviour, .name = name, .args = script};
}

static runtime_t *make_runtime (void)
{
    nexus_error_t error;
    runtime_t *runtime = runtime_new (&(runtime_config_t){.name = "test"}, &error);
    assert_non_null (runtime);
    return runtime;
}

static zactor_t *make_host (runtime_t *runtime, script_t *script, const char *name)
{
    nexus_error_t error = {0};
    child_t child = child_of (script, name);
    zactor_t *host = host_new (runtime, &child, &error);
    if (!host)
        print_error ("%s\n", error.text);
    assert_non_null (host);
    return host;
}

/*  libzmq's own synchronisation is invisible to ThreadSanitizer; the directory's
    lock, which the host took last and a lookup takes now, is not. */
static void end_host (runtime_t *runtime, zactor_t **host_p)
{
    zactor_destroy (host_p);
    address_t address = address_local ("nobody", 0);
    message_t *message = message_new (&done_record, &(done_t){0}, NULL, &address, &address);
    runtime_send (runtime, &message);
}

static double dead (runtime_t *runtime, const char *reason)
{
    char labels[64];
    snprintf (labels, sizeof labels, "reason=\"%s\"", reason);
    return metric_value (
        metrics_counter (runtime_metrics (runtime), "nexus_dead_letters_total", "", labels));
}

static void post (runtime_t *runtime, const char *to, const record_t *kind, const void *body)
{
    address_t from = address_local ("nobody", 0), address = address_local (to, 0);
    message_t *message = message_new (kind, body, NULL, &address, &from);
    runtime_send (runtime, &message);
    assert_null (message);
}

static void post_step (runtime_t *runtime, const char *to, uint64_t number)
{
    post (runtime, to, &step_record, &(step_t){.number = number});
}

static message_t *call (runtime_t *runtime, const char *to, uint64_t number, nexus_error_t *error)
{
    address_t address = address_local (to, 0);
    return runtime_call (runtime, &address, &step_record, &(step_t){.number = number}, 30000,
                         error);
}

/*  Asks the actor (its receive must answer steps) so that all before is handled. */
static uint64_t call_number (runtime_t *runtime, const char *to, uint64_t number)
{
    nexus_error_t error = {0};
    message_t *reply = call (runtime, to, number, &error);
    if (!reply)
        print_error ("%s\n", error.text);
    assert_non_null (reply);
    const step_t *step = message_body (reply, step);
    assert_non_null (step);
    uint64_t result = step->number;
    message_release (&reply);
    return result;
}

static void answer (context_t *ctx, const message_t *request, uint64_t number)
{
    context_reply (ctx, request, &step_record, &(step_t){.number = number});
}

static void wait_flag (script_t *script, int value)
{
    for (int i = 0; i < 30000 && atomic_load (&script->flag) != value; i++)
        usleep (1000);
    assert_int_equal (atomic_load (&script->flag), value);
}

/*  ---- calls -------------------------------------------------------------------- */

static void doubling (script_t *self, context_t *ctx, const message_t *message)
{
    (void)self;
    const step_t *step = message_body (message, step);
    if (step && step->number == 13)
        context_reply_failure (ctx, message, NEXUS_DENIED, "no %d", 13);
    else if (step && step->number == 15)
        context_reply_failure (ctx, message, NEXUS_IO, "%498s\xc3\xa9", "cut here");
    else if (step && step->number == 16)
        context_reply_failure (ctx, message, NEXUS_IO, "a\r\x80z");
    else if (step && step->number != 14)
        answer (ctx, message, step->number * 2);
}

static void test_call (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = doubling};
    zactor_t *host = make_host (runtime, &script, "double");
    assert_int_equal (call_number (runtime, "double", 21), 42);
    nexus_error_t error;
    assert_null (call (runtime, "double", 13, &error));
    assert_int_equal (error.code, NEXUS_DENIED);
    assert_string_equal (error.text, "no 13");

    address_t to = address_local ("double", 0);
    assert_null (runtime_call (runtime, &to, &step_record, &(step_t){.number = 14}, 20, &error));
    assert_int_equal (error.code, NEXUS_DEADLINE);
    assert_non_null (strstr (error.text, "double"));

    assert_null (call (runtime, "nobody", 1, &error));
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    assert_true (dead (runtime, "no_actor") == 1);

    /* A failure's text is always text that may travel. */
    assert_null (call (runtime, "double", 15, &error));
    assert_string_equal (error.text + strlen (error.text) - 8, "cut here");
    assert_null (call (runtime, "double", 16, &error));
    assert_string_equal (error.text, "a??z");
    end_host (runtime, &host);
    runtime_destroy (&runtime);
}

typedef struct {
    runtime_t *runtime;
    unsigned wrong;
} caller_t;

static void *caller_run (void *args)
{
    caller_t *self = args;
    for (uint64_t i = 20; i < 320; i++) {
        nexus_error_t error;
        message_t *reply = call (self->runtime, "double", i, &error);
        const step_t *step = reply ? message_body (reply, step) : NULL;
        if (!step || step->number != i * 2)
            self->wrong++;
        message_release (&reply);
    }
    return NULL;
}

static void test_calls_from_many_threads (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = doubling};
    zactor_t *host = make_host (runtime, &script, "double");
    caller_t callers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        callers[i] = (caller_t){.runtime = runtime};
        assert_int_equal (pthread_create (&threads[i], NULL, caller_run, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join (threads[i], NULL);
        assert_int_equal (callers[i].wrong, 0);
    }
    end_host (runtime, &host);
    runtime_destroy (&runtime);
}

/*  ---- requests between actors ----------------------------------------------------- */

/*  Asks "double" with the number it is told, and answers with the code of the
    failure plus 1000, or with the number of the reply. */
static void relaying (script_t *self, context_t *ctx, const message_t *message)
{
    if (message->flags & MESSAGE_REPLY) {
        assert_int_equal (message->correlation, self->correlation);
        const step_t *step = message_body (message, step);
        const failure_t *failure = message_body (message, failure);
        if (failure)
            snprintf (self->text, sizeof self->text, "%s", failure->text);
        answer (ctx, self->held, step ? step->number : failure->code + 1000);
        message_t *held = (message_t *)(uintptr_t)self->held;
        message_release (&held);
        self->held = NULL;
        return;
    }
    const step_t *step = message_body (message, step);
    self->held = message_retain ((message_t *)(uintptr_t)message);
    /* 14 gets no answer; a busy machine may take long for the others. */
    int64_t timeout_ms = step->number == 14 ? 50 : 20000;
    self->correlation = context_request (ctx, &self->target, &step_record, step, timeout_ms);
    assert_true (self->correlation != 0);
}

static void test_request_reply_and_deadline (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t server = {.receive = doubling};
    script_t client = {.receive = relaying, .target = address_local ("double", 0)};
    zactor_t *host = make_host (runtime, &server, "double");
    zactor_t *other = make_host (runtime, &client, "client");
    assert_int_equal (call_number (runtime, "client", 4), 8);
    assert_int_equal (call_number (runtime, "client", 13), 1000 + NEXUS_DENIED);
    assert_int_equal (call_number (runtime, "client", 14), 1000 + NEXUS_DEADLINE);
    assert_non_null (strstr (client.text, "double"));
    /* The table of requests is empty again: the next one works. */
    assert_int_equal (call_number (runtime, "client", 5), 10);
    end_host (runtime, &host);
    assert_int_equal (call_number (runtime, "client", 6), 1000 + NEXUS_NOT_FOUND);
    end_host (runtime, &other);
    runtime_destroy (&runtime);
}

static void late_timer (script_t *self, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    (void)data;
    answer (ctx, self->held, 7);
    message_t *held = (message_t *)(uintptr_t)self->held;
    message_release (&held);
    self->held = NULL;
}

static void answering_late (script_t *self, context_t *ctx, const message_t *message)
{
    self->held = message_retain ((message_t *)(uintptr_t)message);
    context_after (ctx, MS_TO_NS (100), 0);
}

static void test_late_reply_is_a_dead_letter (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t server = {.receive = answering_late, .timer = late_timer};
    script_t client = {.receive = relaying, .target = address_local ("slow", 0)};
    zactor_t *host = make_host (runtime, &server, "slow");
    zactor_t *other = make_host (runtime, &client, "client");
    assert_int_equal (call_number (runtime, "client", 14), 1000 + NEXUS_DEADLINE);
    for (int i = 0; i < 30000 && dead (runtime, "late") == 0; i++)
        usleep (1000);
    assert_true (dead (runtime, "late") == 1);

    /* The same for a caller that is no actor: it is gone when the answer comes. */
    nexus_error_t error;
    address_t to = address_local ("slow", 0);
    assert_null (runtime_call (runtime, &to, &step_record, &(step_t){.number = 1}, 10, &error));
    assert_int_equal (error.code, NEXUS_DEADLINE);
    for (int i = 0; i < 30000 && dead (runtime, "late") == 1; i++)
        usleep (1000);
    assert_true (dead (runtime, "late") == 2);
    end_host (runtime, &other);
    end_host (runtime, &host);
    runtime_destroy (&runtime);
}

static void test_no_route (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    record_key_t far = {{9}};
    script_t client = {.receive = relaying, .target = address_remote (&far, "double", 0)};
    zactor_t *host = make_host (runtime, &client, "client");
    assert_int_equal (call_number (runtime, "client", 1), 1000 + NEXUS_UNAVAILABLE);
    assert_true (dead (runtime, "no_route") == 1);

    /* With a link, the message comes to the link as it is. */
    script_t link = {.receive = doubling};
    zactor_t *other = make_host (runtime, &link, "link");
    runtime_route (runtime, false, "link");
    assert_int_equal (call_number (runtime, "client", 4), 8);
    end_host (runtime, &other);
    assert_int_equal (call_number (runtime, "client", 4), 1000 + NEXUS_UNAVAILABLE);
    end_host (runtime, &host);
    runtime_destroy (&runtime);
}

static void forwarding (script_t *self, context_t *ctx, const message_t *message)
{
    context_forward (ctx, message, &self->target);
}

static void test_forward (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t server = {.receive = doubling};
    script_t front = {.receive = forwarding, .target = address_local ("double", 0)};
    zactor_t *host = make_host (runtime, &server, "double");
    zactor_t *other = make_host (runtime, &front, "front");
    assert_int_equal (call_number (runtime, "front", 8), 16);
    end_host (runtime, &other);
    end_host (runtime, &host);
    runtime_destroy (&runtime);
}

static void test_own_key_is_local (void **state)
{
    (void)state;
    record_key_t key = {{1, 2, 3}};
    nexus_error_t error;
    runtime_t *runtime = runtime_new (&(runtime_config_t){.name = "keyed", .key = key}, &error);
    script_t server = {.receive = doubling};
    zactor_t *host = make_host (runtime, &server, "double");
    address_t to = address_remote (&key, "double", 0);
    message_t *reply =
        runtime_call (runtime, &to, &step_record, &(step_t){.number = 3}, 30000, &error);
    assert_non_null (reply);
    message_release (&reply);
    end_host (runtime, &host);
    runtime_destroy (&runtime);
}

/*  ---- lanes ------------------------------------------------------------------------ */

/*  Sleeps on step 0 so that the mailbox fills, then notes what comes in which order. */
static void noting (script_t *self, context_t *ctx, const message_t *message)
{
    const step_t *step = message_body (message, step);
    const bulk_t *bulk = message_body (message, bulk);
    if (message->flags & MESSAGE_REQUEST) {
        answer (ctx, message, self->count);
        return;
    }
    if (step && step->number == 0) {
        atomic_store (&self->flag, 1);
        wait_flag (self, 2);
        return;
    }
    if (self->count < 64)
        self->numbers[self->count++] = step ? step->number : 1000 + bulk->number;
}

static void test_control_passes_data (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = noting};
    zactor_t *host = make_host (runtime, &script, "note");
    post_step (runtime, "note", 0);
    wait_flag (&script, 1);
    for (uint64_t i = 1; i <= 3; i++)
        post (runtime, "note", &bulk_record, &(bulk_t){.number = i});
    for (uint64_t i = 1; i <= 3; i++)
        post_step (runtime, "note", i);
    atomic_store (&script.flag, 2);
    uint64_t count = 0;
    for (int i = 0; i < 1000 && count < 6; i++)
        count = call_number (runtime, "note", 1);
    const uint64_t expected[] = {1, 2, 3, 1001, 1002, 1003};
    end_host (runtime, &host);
    assert_int_equal (script.count, 6);
    assert_memory_equal (script.numbers, expected, sizeof expected);
    runtime_destroy (&runtime);
}

static void test_data_lane_overflow (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = noting};
    child_t child = child_of (&script, "note");
    child.mailbox_count_max = 4;
    nexus_error_t error;
    zactor_t *host = host_new (runtime, &child, &error);
    assert_non_null (host);
    post_step (runtime, "note", 0);
    wait_flag (&script, 1);
    for (uint64_t i = 1; i <= 10; i++)
        post (runtime, "note", &bulk_record, &(bulk_t){.number = i});
    assert_true (dead (runtime, "overflow") == 6);

    /* A request that finds the lane full fails at once. */
    address_t to = address_local ("note", 0);
    assert_null (runtime_call (runtime, &to, &bulk_record, &(bulk_t){0}, 30000, &error));
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    assert_non_null (strstr (error.text, "full"));

    /* Control still passes. */
    post_step (runtime, "note", 77);
    assert_true (dead (runtime, "overflow") == 7);
    atomic_store (&script.flag, 2);
    uint64_t count = 0;
    for (int i = 0; i < 1000 && count < 5; i++)
        count = call_number (runtime, "note", 1);
    end_host (runtime, &host);
    assert_int_equal (script.count, 5);
    assert_int_equal (script.numbers[0], 77);
    assert_int_equal (script.numbers[4], 1004);
    runtime_destroy (&runtime);
}

/*  ---- turns and timers ---------------------------------------------------------------- */

static void counting_settle (script_t *self, context_t *ctx)
{
    (void)ctx;
    self->correlation++; /* settles */
}

static void test_settle_ends_a_turn (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = noting, .settle = counting_settle};
    zactor_t *host = make_host (runtime, &script, "note");
    post_step (runtime, "note", 0);
    wait_flag (&script, 1);
    for (uint64_t i = 1; i <= 50; i++)
        post_step (runtime, "note", i);
    atomic_store (&script.flag, 2);
    call_number (runtime, "note", 1);
    end_host (runtime, &host);
    assert_int_equal (script.count, 50);
    /* Fifty messages that waited were settled together, in the turn of the first
       (the start's own turn, and the call's, may have been apart). */
    assert_true (script.correlation >= 1 && script.correlation <= 3);
    runtime_destroy (&runtime);
}

static int timers_start (script_t *self, context_t *ctx, nexus_error_t *error)
{
    (void)error;
    int64_t now = context_now (ctx);
    context_after (ctx, MS_TO_NS (20), 5);
    uint64_t cancelled = context_after (ctx, MS_TO_NS (5), 99);
    context_after (ctx, MS_TO_NS (10), 2);
    context_after (ctx, MS_TO_NS (10), 3);
    context_after (ctx, MS_TO_NS (1), 1);
    context_after (ctx, MS_TO_NS (10), 4);
    context_cancel (ctx, cancelled);
    context_cancel (ctx, cancelled);
    context_cancel (ctx, 123456);
    assert_int_equal (context_now (ctx), now);
    self->correlation = (uint64_t)now;
    return 0;
}

static void timers_fired (script_t *self, context_t *ctx, uint64_t timer, uint64_t data)
{
    static const int64_t due_ms[] = {0, 1, 10, 10, 10, 20};
    assert_true (timer != 0);
    assert_true (context_now (ctx) - (int64_t)self->correlation >= MS_TO_NS (due_ms[data]));
    self->numbers[self->count++] = data;
    if (data == 5)
        atomic_store (&self->flag, 1);
}

static void test_timers (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.start = timers_start, .timer = timers_fired};
    zactor_t *host = make_host (runtime, &script, "timers");
    wait_flag (&script, 1);
    end_host (runtime, &host);
    const uint64_t expected[] = {1, 2, 3, 4, 5};
    assert_int_equal (script.count, 5);
    assert_memory_equal (script.numbers, expected, sizeof expected);
    runtime_destroy (&runtime);
}

/*  ---- children ------------------------------------------------------------------------ */

/*  Step 1: stop; 2: fail; otherwise answers with the number. */
static void mortal (script_t *self, context_t *ctx, const message_t *message)
{
    (void)self;
    const step_t *step = message_body (message, step);
    if (!step)
        return;
    if (step->number == 1) {
        context_stop (ctx);
    } else if (step->number == 2) {
        nexus_error_t error;
        nexus_error_set (&error, NEXUS_CORRUPT, "the disk lied");
        context_fail (ctx, &error);
    } else {
        answer (ctx, message, step->number);
    }
}

static void mortal_stopped (script_t *self, context_t *ctx)
{
    (void)ctx;
    atomic_fetch_add (&self->flag, 1);
}

static int refusing (script_t *self, context_t *ctx, nexus_error_t *error)
{
    (void)self;
    (void)ctx;
    return nexus_error_set (error, NEXUS_IO, "port 80 is taken");
}

/*  A parent: step N spawns peer (a child_t) when N is 0, stops it when N is 9,
    and answers; notes down messages in text. */
static void parenting (script_t *self, context_t *ctx, const message_t *message)
{
    const down_t *down = message_body (message, down);
    if (down) {
        snprintf (self->text, sizeof self->text, "%s/%llu %s: %s", down->actor,
                  (unsigned long long)down->instance, down->failed ? "failed" : "ended",
                  down->reason);
        atomic_fetch_add (&self->flag, 1);
        return;
    }
    const step_t *step = message_body (message, step);
    const child_t *child = self->peer;
    nexus_error_t error = {0};
    int rc = 0;
    if (step->number == 0)
        rc = context_spawn (ctx, child, &error);
    address_t address = address_local (child->name, child->instance);
    if (step->number == 9)
        context_stop_child (ctx, &address);
    if (rc == -1)
        context_reply_failure (ctx, message, error.code, "%s", error.text);
    else
        answer (ctx, message, 1);
}

static void children (bool thread)
{
    runtime_t *runtime = make_runtime ();
    script_t grown = {.receive = mortal, .stop = mortal_stopped};
    child_t child = child_of (&grown, "kid");
    child.instance = 7;
    child.thread = thread;
    script_t parent = {.receive = parenting, .peer = &child};
    zactor_t *host = make_host (runtime, &parent, "parent");
    nexus_error_t error;
    address_t kid = address_local ("kid", 7);

    /* It ends by itself. */
    call_number (runtime, "parent", 0);
    assert_null (call (runtime, "parent", 0, &error)); /* the name is taken */
    assert_int_equal (error.code, NEXUS_EXISTS);
    message_t *reply =
        runtime_call (runtime, &kid, &step_record, &(step_t){.number = 5}, 30000, &error);
    assert_non_null (reply);
    message_release (&reply);
    assert_null (runtime_call (runtime, &kid, &step_record, &(step_t){.number = 1}, 30, &error));
    wait_flag (&parent, 1);
    assert_string_equal (parent.text, "kid/7 ended: done");
    assert_int_equal (atomic_load (&grown.flag), 1);

    /* It fails. */
    call_number (runtime, "parent", 0);
    assert_null (runtime_call (runtime, &kid, &step_record, &(step_t){.number = 2}, 30, &error));
    wait_flag (&parent, 2);
    assert_string_equal (parent.text, "kid/7 failed: the disk lied");
    assert_null (runtime_call (runtime, &kid, &step_record, &(step_t){.number = 5}, 30, &error));
    assert_int_equal (error.code, NEXUS_NOT_FOUND);

    /* It is stopped. */
    call_number (runtime, "parent", 0);
    call_number (runtime, "parent", 9);
    wait_flag (&parent, 3);
    assert_non_null (strstr (parent.text, "kid/7 ended"));

    /* It goes with its parent. */
    call_number (runtime, "parent", 0);
    end_host (runtime, &host);
    assert_int_equal (atomic_load (&grown.flag), 4);
    assert_int_equal (atomic_load (&parent.flag), 3);
    runtime_destroy (&runtime);
}

static void test_children (void **state)
{
    (void)state;
    children (false);
}

static void test_children_with_threads (void **state)
{
    (void)state;
    children (true);
}

static void test_start_failures (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t bad = {.start = refusing};
    child_t child = child_of (&bad, "bad");
    nexus_error_t error;
    assert_null (host_new (runtime, &child, &error));
    assert_int_equal (error.code, NEXUS_IO);
    assert_string_equal (error.text, "port 80 is taken");
    for (int thread = 0; thread < 2; thread++) {
        child.thread = thread;
        script_t parent = {.receive = parenting, .peer = &child};
        zactor_t *host = make_host (runtime, &parent, "parent");
        assert_null (call (runtime, "parent", 0, &error));
        assert_int_equal (error.code, NEXUS_IO);
        assert_string_equal (error.text, "port 80 is taken");
        end_host (runtime, &host);
        assert_int_equal (atomic_load (&parent.flag), 0); /* no down message */
    }
    child.name = "a-name-that-is-much-too-long";
    assert_null (host_new (runtime, &child, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
    runtime_destroy (&runtime);
}

static int watching_start (script_t *self, context_t *ctx, nexus_error_t *error)
{
    (void)error;
    context_watch (ctx, &self->target);
    context_watch (ctx, &self->target); /* twice is once */
    return 0;
}

static void test_watch (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    child_t none = {.name = "none"};
    script_t watched = {.receive = mortal};
    zactor_t *host = make_host (runtime, &watched, "watched");
    script_t watcher = {.start = watching_start,
                        .receive = parenting,
                        .peer = &none,
                        .target = address_local ("watched", 0)};
    zactor_t *other = make_host (runtime, &watcher, "watcher");
    post_step (runtime, "watched", 2);
    wait_flag (&watcher, 1);
    assert_string_equal (watcher.text, "watched/0 failed: the disk lied");

    /* Its owner reads why on the zactor's pipe. */
    char *command = NULL, *reason = NULL;
    zsock_set_rcvtimeo (zactor_sock (host), 5000);
    assert_int_equal (zstr_recvx (host, &command, &reason, NULL), 2);
    assert_string_equal (command, "DOWN");
    assert_string_equal (reason, "the disk lied");
    zstr_free (&command);
    zstr_free (&reason);
    end_host (runtime, &host);
    end_host (runtime, &other);

    /* What is not there is down at once. */
    script_t early = {.start = watching_start,
                      .receive = parenting,
                      .peer = &none,
                      .target = address_local ("absent", 3)};
    other = make_host (runtime, &early, "watcher");
    wait_flag (&early, 2);
    assert_non_null (strstr (early.text, "absent/3 failed: there is no such actor"));
    end_host (runtime, &other);
    runtime_destroy (&runtime);
}

static void stuck (script_t *self, context_t *ctx)
{
    (void)ctx;
    wait_flag (self, 5);
    atomic_store (&self->flag, 6);
}

static void test_thread_that_does_not_stop (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t grown = {.receive = mortal, .stop = stuck};
    child_t child = child_of (&grown, "kid");
    child.thread = true;
    child.shutdown_ms = 50;
    script_t parent = {.receive = parenting, .peer = &child};
    zactor_t *host = make_host (runtime, &parent, "parent");
    call_number (runtime, "parent", 0);
    call_number (runtime, "parent", 9);
    wait_flag (&parent, 1);
    assert_string_equal (parent.text, "kid/0 failed: did not stop within 50 ms");
    /* Its name is free again. */
    script_t second = {.receive = mortal};
    child.args = &second;
    call_number (runtime, "parent", 0);
    assert_int_equal (call_number (runtime, "kid", 5), 5);
    atomic_store (&grown.flag, 5);
    end_host (runtime, &host);
    wait_flag (&grown, 6);
    usleep (200000); /* the thread that was given up on ends after all */
    runtime_destroy (&runtime);
}

/*  ---- sockets ---------------------------------------------------------------------------- */

static void pipe_ready (void *state, context_t *ctx, void *socket, int fd, short events)
{
    script_t *self = *(script_t **)state;
    assert_null (socket);
    assert_int_equal (fd, self->fd);
    assert_true (events & POLLIN);
    char c;
    assert_int_equal (read (fd, &c, 1), 1);
    self->numbers[self->count++] = (uint64_t)c;
    if (c == 'x') {
        context_poll (ctx, NULL, fd, 0, NULL);
        atomic_store (&self->flag, 1);
    }
}

static void socket_ready (void *state, context_t *ctx, void *socket, int fd, short events)
{
    (void)ctx;
    (void)fd;
    script_t *self = *(script_t **)state;
    assert_ptr_equal (socket, self->socket);
    assert_true (events & POLLIN);
    /* One message a call: readiness is level-triggered. */
    char text[8] = {0};
    assert_true (zmq_recv (socket, text, sizeof text, ZMQ_DONTWAIT) > 0);
    self->numbers[self->count++] = (uint64_t)text[0];
    if (text[0] == 'z')
        atomic_store (&self->flag, 2);
}

static int polling_start (script_t *self, context_t *ctx, nexus_error_t *error)
{
    (void)error;
    context_poll (ctx, NULL, self->fd, POLLIN, pipe_ready);
    self->socket = zmq_socket (runtime_zmq (context_runtime (ctx)), ZMQ_PULL);
    assert_non_null (self->socket);
    assert_int_equal (zmq_bind (self->socket, "inproc://in"), 0);
    context_poll (ctx, self->socket, -1, POLLIN, socket_ready);
    return 0;
}

static void polling_stop (script_t *self, context_t *ctx)
{
    context_poll (ctx, self->socket, -1, 0, NULL);
    zmq_close (self->socket);
}

static void test_poll (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    int fds[2];
    assert_int_equal (pipe (fds), 0);
    script_t script = {.start = polling_start, .stop = polling_stop, .fd = fds[0]};
    zactor_t *host = make_host (runtime, &script, "edge");
    assert_int_equal (write (fds[1], "abxy", 4), 4);
    wait_flag (&script, 1);
    void *push = zmq_socket (runtime_zmq (runtime), ZMQ_PUSH);
    assert_int_equal (zmq_connect (push, "inproc://in"), 0);
    zmq_send (push, "s", 1, 0);
    zmq_send (push, "t", 1, 0);
    zmq_send (push, "z", 1, 0);
    wait_flag (&script, 2);
    zmq_close (push);
    end_host (runtime, &host);
    const uint64_t expected[] = {'a', 'b', 'x', 's', 't', 'z'};
    assert_int_equal (script.count, 6);
    assert_memory_equal (script.numbers, expected, sizeof expected);
    close (fds[0]);
    close (fds[1]);
    runtime_destroy (&runtime);
}

/*  ---- under load --------------------------------------------------------------------------- */

typedef struct {
    runtime_t *runtime;
    atomic_bool stop;
} flood_t;

static void *flood_run (void *args)
{
    flood_t *self = args;
    for (uint64_t i = 0; !atomic_load (&self->stop); i++) {
        post (self->runtime, "sink", &bulk_record, &(bulk_t){.number = i});
        post_step (self->runtime, "sink", i + 100);
    }
    return NULL;
}

static void test_destruction_under_load (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    flood_t flood = {.runtime = runtime};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal (pthread_create (&threads[i], NULL, flood_run, &flood), 0);
    for (int i = 0; i < 50; i++) {
        script_t sink = {.receive = mortal};
        zactor_t *host = make_host (runtime, &sink, "sink");
        usleep (2000);
        end_host (runtime, &host);
    }
    atomic_store (&flood.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join (threads[i], NULL);
    runtime_destroy (&runtime);
}

static void test_order_between_two_actors (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = noting};
    zactor_t *host = make_host (runtime, &script, "note");
    for (uint64_t i = 1; i <= 60; i++)
        post_step (runtime, "note", i);
    call_number (runtime, "note", 1);
    end_host (runtime, &host);
    assert_int_equal (script.count, 60);
    for (uint64_t i = 0; i < 60; i++)
        assert_int_equal (script.numbers[i], i + 1);
    runtime_destroy (&runtime);
}

static void test_two_runtimes (void **state)
{
    (void)state;
    runtime_t *one = make_runtime (), *two = make_runtime ();
    script_t a = {.receive = doubling}, b = {.receive = mortal};
    zactor_t *host_a = make_host (one, &a, "same");
    zactor_t *host_b = make_host (two, &b, "same");
    assert_int_equal (call_number (one, "same", 4), 8);
    assert_int_equal (call_number (two, "same", 4), 4);
    end_host (two, &host_b);
    assert_int_equal (call_number (one, "same", 4), 8);
    end_host (one, &host_a);
    runtime_destroy (&two);
    runtime_destroy (&one);
}

/*  A process without descriptors left gets an error, and goes on. */
static void test_out_of_descriptors (void **state)
{
    (void)state;
    runtime_t *runtime = make_runtime ();
    script_t script = {.receive = doubling};
    zactor_t *hosts[64];
    struct rlimit usual, low;
    assert_int_equal (getrlimit (RLIMIT_NOFILE, &usual), 0);
    int lowest = dup (0);
    close (lowest);
    low = usual;
    low.rlim_cur = (rlim_t)lowest + 40;
    assert_int_equal (setrlimit (RLIMIT_NOFILE, &low), 0);
    nexus_error_t error = {0};
    size_t count = 0;
    for (; count < 64; count++) {
        child_t child = child_of (&script, "many");
        child.instance = count;
        hosts[count] = host_new (runtime, &child, &error);
        if (!hosts[count])
            break;
    }
    assert_in_range (count, 1, 63);
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    assert_non_null (strstr (error.text, "ulimit"));
    assert_int_equal (setrlimit (RLIMIT_NOFILE, &usual), 0);
    assert_int_equal (call_number (runtime, "many", 2), 4);
    while (count-- > 0)
        end_host (runtime, &hosts[count]);
    runtime_destroy (&runtime);
}

/*  A library leaves the program's signals alone. */
static void test_signals_are_untouched (void **state)
{
    (void)state;
    struct sigaction action;
    assert_int_equal (sigaction (SIGINT, NULL, &action), 0);
    assert_ptr_equal (action.sa_handler, SIG_DFL);
    assert_int_equal (sigaction (SIGTERM, NULL, &action), 0);
    assert_ptr_equal (action.sa_handler, SIG_DFL);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_call),
        cmocka_unit_test (test_calls_from_many_threads),
        cmocka_unit_test (test_request_reply_and_deadline),
        cmocka_unit_test (test_late_reply_is_a_dead_letter),
        cmocka_unit_test (test_no_route),
        cmocka_unit_test (test_forward),
        cmocka_unit_test (test_own_key_is_local),
        cmocka_unit_test (test_control_passes_data),
        cmocka_unit_test (test_data_lane_overflow),
        cmocka_unit_test (test_settle_ends_a_turn),
        cmocka_unit_test (test_timers),
        cmocka_unit_test (test_children),
        cmocka_unit_test (test_children_with_threads),
        cmocka_unit_test (test_start_failures),
        cmocka_unit_test (test_watch),
        cmocka_unit_test (test_thread_that_does_not_stop),
        cmocka_unit_test (test_poll),
        cmocka_unit_test (test_destruction_under_load),
        cmocka_unit_test (test_order_between_two_actors),
        cmocka_unit_test (test_two_runtimes),
        cmocka_unit_test (test_out_of_descriptors),
        cmocka_unit_test (test_signals_are_untouched),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
