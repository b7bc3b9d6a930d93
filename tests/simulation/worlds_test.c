/*  The two worlds agree: one scenario under the host and under the simulator takes the same
    decisions, word for word.

    A director goes through steps; each ends with a reply, a down or a timer that it waited for,
    so the order of what is written down depends on the shell's rules and on nothing else. */
#include "runtime/host.h"
#include "runtime/simulator.h"
#include "runtime/supervisor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ORDER(F)                             \
    F (UINT, number, _, .doc = "Which one.") \
    F (STRING, verb, _, .max = 32, .doc = "What to do.")
RECORD_DECLARE (order, ORDER)
#define RECORD_SELF order_t
RECORD_DEFINE (order, 60005, 0, "An order.", ORDER)
#undef RECORD_SELF
#define CARGO(F) F (UINT, number, _, .doc = "Which one.")
RECORD_DECLARE (cargo, CARGO)
#define RECORD_SELF cargo_t
RECORD_DEFINE (cargo, 60006, RECORD_DATA_LANE, "A message of the data lane.", CARGO)
#undef RECORD_SELF

/*  All actors share one thread, so they share the page. */
static char page[16384];
static size_t page_size;

static void put (const context_t *ctx, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
static void put (const context_t *ctx, const char *format, ...)
{
    char address[64];
    va_list args;
    page_size += (size_t)snprintf (page + page_size, sizeof page - page_size,
                                   "%s: ", address_text (context_self (ctx), address));
    va_start (args, format);
    page_size += (size_t)vsnprintf (page + page_size, sizeof page - page_size, format, args);
    va_end (args);
    page_size += (size_t)snprintf (page + page_size, sizeof page - page_size, "\n");
    assert_true (page_size < sizeof page);
}

static void put_message (const context_t *ctx, const message_t *message)
{
    char from[64];
    const order_t *order = message_body (message, order);
    const cargo_t *cargo = message_body (message, cargo);
    const failure_t *failure = message_body (message, failure);
    const down_t *down = message_body (message, down);
    address_text (&message->from, from);
    const char *what = message->flags & MESSAGE_REPLY     ? "reply"
                       : message->flags & MESSAGE_REQUEST ? "request"
                                                          : "message";
    const char *role = record_choice_name (&role_choices, (int)message->role);
    if (order)
        put (ctx, "%s from %s (%s): %s %u", what, from, role, order->verb, (unsigned)order->number);
    else if (cargo)
        put (ctx, "%s from %s: cargo %u", what, from, (unsigned)cargo->number);
    else if (failure)
        put (ctx, "%s from %s: failure %s \"%s\"", what, from,
             nexus_code_name ((nexus_code_t)failure->code), failure->text);
    else if (down)
        put (ctx, "down from %s: %s/%u %s \"%s\"", from, down->actor, (unsigned)down->instance,
             down->failed ? "failed" : "done", down->reason);
    else
        put (ctx, "%s from %s: %s", what, from, message->kind->name);
}

/*  ---- the worker: does as it is told ----------------------------------------- */

typedef struct {
    message_t *held;
} worker_t;

static const behaviour_t worker_behaviour;
static const child_t helper = {.behaviour = &worker_behaviour, .name = "helper", .instance = 5};

static int worker_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)state;
    put (ctx, "starts");
    return args ? nexus_error_set (error, NEXUS_DENIED, "%s", (const char *)args) : 0;
}

static void worker_receive (void *state, context_t *ctx, const message_t *message)
{
    worker_t *self = state;
    put_message (ctx, message);
    const order_t *order = message_body (message, order);
    if (!order)
        return;
    nexus_error_t error;
    address_t me = *context_self (ctx), other = address_local ("helper", 5);
    if (strcmp (order->verb, "echo") == 0) {
        context_reply (ctx, message, &order_record, order);
    } else if (strcmp (order->verb, "hold") == 0) {
        self->held = message_retain ((message_t *)message);
    } else if (strcmp (order->verb, "answer") == 0) {
        context_reply (ctx, self->held, &order_record, order);
        message_release (&self->held);
        context_reply (ctx, message, &order_record, order);
    } else if (strcmp (order->verb, "refuse") == 0) {
        context_reply_failure (ctx, message, NEXUS_CONFLICT, "no %d", 5);
    } else if (strcmp (order->verb, "repeat") == 0 && address_equal (&me, &other)) {
        context_reply (ctx, message, &order_record, order);
    } else if (strcmp (order->verb, "repeat") == 0) {
        context_send (ctx, &me, &cargo_record, &(cargo_t){.number = 1});
        context_send (ctx, &me, &order_record, &(order_t){.number = 2, .verb = "self"});
        context_forward (ctx, message, &other);
    } else if (strcmp (order->verb, "spawn") == 0) {
        if (context_spawn (ctx, &helper, &error) == -1)
            put (ctx, "can't spawn: %s", error.text);
        context_reply (ctx, message, &order_record, order);
    } else if (strcmp (order->verb, "end") == 0) {
        context_stop (ctx);
    } else if (strcmp (order->verb, "fail") == 0) {
        nexus_error_set (&error, NEXUS_IO, "told to fail");
        context_fail (ctx, &error);
        context_stop (ctx); /* the first word counts */
    }
}

static void worker_stop (void *state, context_t *ctx)
{
    worker_t *self = state;
    nexus_error_t error;
    put (ctx, "stops");
    if (self->held)
        message_release (&self->held);
    if (context_spawn (ctx, &helper, &error) == -1)
        put (ctx, "can't spawn: %s", error.text);
}

static const behaviour_t worker_behaviour = {
    .name = "worker",
    .state_size = sizeof (worker_t),
    .start = worker_start,
    .receive = worker_receive,
    .stop = worker_stop,
};

/*  ---- the director ------------------------------------------------------------ */

typedef struct {
    int step;
    unsigned waiting; /* for so many replies, downs and timers */
} director_t;

static void request (director_t *self, context_t *ctx, const address_t *to, const char *verb,
                     int64_t timeout_ms)
{
    context_request (ctx, to, &order_record, &(order_t){.number = 7, .verb = verb}, timeout_ms);
    self->waiting++;
}

static void tell (context_t *ctx, const address_t *to, const char *verb)
{
    context_send (ctx, to, &order_record, &(order_t){.number = 1, .verb = verb});
}

static void spawn (context_t *ctx, const child_t *child)
{
    nexus_error_t error = {0};
    if (context_spawn (ctx, child, &error) == -1)
        put (ctx, "can't spawn: %s: %s", nexus_code_name (error.code), error.text);
}

static const child_t worker = {
    .behaviour = &worker_behaviour, .name = "worker", .mailbox_count_max = 3};
static const child_t refuser = {
    .behaviour = &worker_behaviour, .name = "refuser", .args = "I won't"};
static const child_t nameless = {.behaviour = &worker_behaviour, .name = ""};
static const child_t crew[] = {
    {.behaviour = &worker_behaviour, .name = "first"},
    {.behaviour = &worker_behaviour, .name = "second", .restart = RESTART_TRANSIENT},
    {.behaviour = &worker_behaviour, .name = "third", .restart = RESTART_TEMPORARY},
};
static const supervisor_spec_t crew_spec = {
    .strategy = SUPERVISE_REST_FOR_ONE, .intensity = 2, .children = crew, .count = 3};
static const child_t crew_supervisor = {
    .behaviour = &supervisor_behaviour, .name = "crew", .args = &crew_spec};

static void step_requests (director_t *self, context_t *ctx, const address_t *to)
{
    address_t nobody = address_local ("nobody", 3);
    record_key_t far = {{1, 2, 3, 4}};
    address_t nowhere = address_remote (&far, "worker", 0);
    request (self, ctx, to, "echo", 1000);
    request (self, ctx, to, "refuse", 1000);
    request (self, ctx, &nobody, "echo", 1000);
    request (self, ctx, &nowhere, "echo", 1000);
    request (self, ctx, to, "hold", 30);
}

static void step_overflow (director_t *self, context_t *ctx, const address_t *to)
{
    for (uint64_t i = 1; i <= 4; i++)
        context_send (ctx, to, &cargo_record, &(cargo_t){.number = i});
    context_request (ctx, to, &cargo_record, &(cargo_t){.number = 5}, 1000);
    self->waiting++;
    request (self, ctx, to, "echo", 1000);
}

static void step_timers (director_t *self, context_t *ctx)
{
    context_after (ctx, MS_TO_NS (20), 3);
    context_after (ctx, MS_TO_NS (10), 1);
    uint64_t cancelled = context_after (ctx, MS_TO_NS (10), 99);
    context_after (ctx, MS_TO_NS (10), 2);
    context_after (ctx, -5, 0);
    context_cancel (ctx, cancelled);
    context_cancel (ctx, cancelled);
    self->waiting += 4;
}

static void step_watches (director_t *self, context_t *ctx)
{
    address_t nobody = address_local ("nobody", 3), own = address_local ("worker", 0);
    record_key_t far = {{1, 2, 3, 4}};
    address_t nowhere = address_remote (&far, "worker", 0);
    context_watch (ctx, &nobody);
    context_watch (ctx, &nowhere);
    context_watch (ctx, &own); /* a second watch of a child's: one down */
    self->waiting += 2;
}

/*  A worker that fails with a request in its mailbox. */
static void step_fails (director_t *self, context_t *ctx, const address_t *to)
{
    tell (ctx, to, "fail");
    request (self, ctx, to, "echo", 1000);
    self->waiting++; /* the down */
}

static void step (director_t *self, context_t *ctx)
{
    address_t to = address_local ("worker", 0), child = address_local ("helper", 5);
    address_t second = address_local ("second", 0);
    put (ctx, "step %d", self->step);
    switch (self->step++) {
    case 0:
        spawn (ctx, &worker);
        spawn (ctx, &worker);
        spawn (ctx, &refuser);
        spawn (ctx, &nameless);
        step_requests (self, ctx, &to);
        break;
    case 1:
        request (self, ctx, &to, "answer", 1000); /* and a late one to what it holds */
        break;
    case 2:
        step_overflow (self, ctx, &to);
        break;
    case 3:
        step_timers (self, ctx);
        break;
    case 4:
        step_watches (self, ctx);
        break;
    case 5:
        request (self, ctx, &to, "spawn", 1000);
        break;
    case 6:
        context_reply (ctx, &(message_t){0}, &order_record, &(order_t){0}); /* no request */
        request (self, ctx, &to, "repeat", 1000);
        break;
    case 7:
        context_stop_child (ctx, &child); /* not ours: nothing */
        context_stop_child (ctx, &to);
        self->waiting++;
        break;
    case 8:
        spawn (ctx, &worker);
        step_fails (self, ctx, &to);
        break;
    case 9:
        spawn (ctx, &crew_supervisor);
        request (self, ctx, &second, "echo", 1000);
        break;
    case 10:
        tell (ctx, &second, "fail");
        context_after (ctx, MS_TO_NS (50), 0);
        self->waiting++;
        break;
    case 11:
        tell (ctx, &second, "end"); /* transient: stays ended */
        context_after (ctx, MS_TO_NS (50), 0);
        self->waiting++;
        break;
    case 12:
        to = address_local ("first", 0);
        for (int i = 0; i < 2; i++) {
            tell (ctx, &to, "fail");
            context_after (ctx, MS_TO_NS (50 * (i + 1)), 0);
        }
        tell (ctx, &to, "fail");
        self->waiting += 2;
        break;
    case 13:
        tell (ctx, &to, "nobody is there");
        to = address_local ("first", 0);
        tell (ctx, &to, "fail"); /* the third within the period */
        self->waiting++;
        break;
    default:
        context_stop (ctx);
    }
}

static int director_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)args, (void)error;
    step (state, ctx);
    return 0;
}

static void finish_one (director_t *self, context_t *ctx)
{
    if (self->waiting && --self->waiting == 0)
        step (self, ctx);
}

static void director_receive (void *state, context_t *ctx, const message_t *message)
{
    put_message (ctx, message);
    if (message->flags & MESSAGE_REPLY || message->kind == &down_record)
        finish_one (state, ctx);
}

static void director_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    put (ctx, "timer %u", (unsigned)data);
    finish_one (state, ctx);
}

static void director_stop (void *state, context_t *ctx)
{
    (void)state;
    put (ctx, "stops");
}

static const behaviour_t director_behaviour = {
    .name = "director",
    .state_size = sizeof (director_t),
    .start = director_start,
    .receive = director_receive,
    .timer = director_timer,
    .stop = director_stop,
};
static const child_t director = {.behaviour = &director_behaviour, .name = "director"};

/*  ---- the two worlds ------------------------------------------------------------ */

static record_key_t node_key = {{42}};

static void run_in_host (void)
{
    nexus_error_t error = {0};
    runtime_config_t config = {.name = "node", .key = node_key};
    runtime_t *runtime = runtime_new (&config, &error);
    assert_non_null (runtime);
    zactor_t *actor = host_new (runtime, &director, &error);
    assert_non_null (actor);
    char *event = zstr_recv (actor); /* "DOWN" */
    assert_string_equal (event, "DOWN");
    zstr_free (&event);
    zactor_destroy (&actor);
    runtime_destroy (&runtime);
}

static void run_in_simulator (void)
{
    simulator_t *sim = simulator_new (1, simulator_profile ("calm"));
    simulator_add_node (sim, &(simulator_node_t){.name = "node", .key = node_key});
    nexus_error_t error = {0};
    assert_int_equal (simulator_spawn (sim, 0, &director, &error), 0);
    assert_int_equal (simulator_run (sim, MS_TO_NS (60000), 0, NULL, NULL), SIMULATOR_IDLE);
    assert_null (simulator_state (sim, 0, "director", 0));
    simulator_destroy (&sim);
}

/*  Says where the two part. */
static void compare (const char *host, const char *simulator)
{
    for (unsigned line = 1; *host || *simulator; line++) {
        size_t a = strcspn (host, "\n"), b = strcspn (simulator, "\n");
        if (a != b || memcmp (host, simulator, a) != 0)
            fail_msg ("line %u\n  host:      %.*s\n  simulator: %.*s", line, (int)a, host, (int)b,
                      simulator);
        host += a + (host[a] != 0);
        simulator += b + (simulator[b] != 0);
    }
}

static void both_worlds_agree (void **state)
{
    (void)state;
    static char host[sizeof page];
    page_size = 0;
    run_in_host ();
    page[page_size] = 0;
    memcpy (host, page, page_size + 1);
    page_size = 0;
    run_in_simulator ();
    page[page_size] = 0;
    if (getenv ("VERBOSE"))
        fprintf (stderr, "%s", page);
    assert_non_null (strstr (page, "director: step 14"));
    compare (host, page);
}

int main (void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test (both_worlds_agree)};
    return cmocka_run_group_tests (tests, NULL, NULL);
}
