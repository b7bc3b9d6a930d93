/*  The simulator by toy behaviours: nodes, network, turns, supervision, crashes, disks, replay. */
#include "runtime/simulator.h"
#include "runtime/supervisor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PING(F)                             \
    F (UINT, count, _, .doc = "Which one.") \
    F (STRING, text, _, .max = 32, .doc = "What to do.")
RECORD_DECLARE (ping, PING)
#define RECORD_SELF ping_t
RECORD_DEFINE (ping, 60001, 0, "A ping.", PING)
#undef RECORD_SELF
#define BULK(F) F (UINT, count, _, .doc = "Which one.")
RECORD_DECLARE (bulk, BULK)
#define RECORD_SELF bulk_t
RECORD_DEFINE (bulk, 60002, RECORD_DATA_LANE, "A message of the data lane.", BULK)
#undef RECORD_SELF

/*  ---- a probe: writes down all that it gets ------------------------------ */

/*  Outlives the actor. */
typedef struct {
    char text[8192];
    size_t size;
    role_t role;      /* of the last sender */
    address_t sender; /* the last one */
    int64_t at;       /* when the last message came, on the node's clock */
    bool fail_start;
    const child_t *child; /* what "spawn" spawns */
} diary_t;

typedef struct {
    diary_t *diary;
    message_t *held;
    bool in_callback;
} probe_t;

static void note (diary_t *diary, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
static void note (diary_t *diary, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    int n = vsnprintf (diary->text + diary->size, sizeof diary->text - diary->size, format, args);
    va_end (args);
    diary->size += (size_t)n;
    assert_true (diary->size < sizeof diary->text);
}

static int probe_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx;
    probe_t *self = state;
    /* args are const because many share them; a diary is the test's own. */
    memcpy (&self->diary, args, sizeof self->diary);
    note (self->diary, "start;");
    if (self->diary->fail_start)
        return nexus_error_set (error, NEXUS_DENIED, "not today");
    return 0;
}

static void on_ping (probe_t *self, context_t *ctx, const message_t *message, const ping_t *ping)
{
    nexus_error_t error = {0};
    address_t me = *context_self (ctx);
    if (strcmp (ping->text, "echo") == 0) {
        context_reply (ctx, message, &ping_record, &(ping_t){.count = ping->count + 1});
    } else if (strcmp (ping->text, "hold") == 0) {
        self->held = message_retain ((message_t *)message);
    } else if (strcmp (ping->text, "answer") == 0) {
        context_reply (ctx, self->held, &done_record, &(done_t){.value = 1});
        message_release (&self->held);
    } else if (strcmp (ping->text, "self") == 0) {
        context_send (ctx, &me, &ping_record, &(ping_t){.count = 100});
    } else if (strcmp (ping->text, "end") == 0) {
        context_stop (ctx);
    } else if (strcmp (ping->text, "fail") == 0) {
        nexus_error_set (&error, NEXUS_IO, "told to");
        context_fail (ctx, &error);
    } else if (strcmp (ping->text, "spawn") == 0) {
        if (context_spawn (ctx, self->diary->child, &error) == -1)
            note (self->diary, "refused %s;", nexus_code_name (error.code));
    } else if (strcmp (ping->text, "stop child") == 0) {
        address_t child = address_local (self->diary->child->name, self->diary->child->instance);
        context_stop_child (ctx, &child);
    }
}

static void probe_receive (void *state, context_t *ctx, const message_t *message)
{
    probe_t *self = state;
    assert_false (self->in_callback);
    self->in_callback = true;
    diary_t *diary = self->diary;
    diary->role = message->role;
    diary->sender = message->from;
    diary->at = context_now (ctx);
    const char *reply = message->flags & MESSAGE_REPLY ? "reply " : "";
    const ping_t *ping = message_body (message, ping);
    const down_t *down = message_body (message, down);
    const failure_t *failure = message_body (message, failure);
    const bulk_t *bulk = message_body (message, bulk);
    if (ping) {
        note (diary, "%sping %llu;", reply, (unsigned long long)ping->count);
        on_ping (self, ctx, message, ping);
    } else if (down) {
        note (diary, "down %s %s \"%s\";", down->actor, down->failed ? "failed" : "done",
              down->reason);
    } else if (failure) {
        note (diary, "%sfailure %s;", reply, nexus_code_name ((nexus_code_t)failure->code));
    } else if (bulk) {
        note (diary, "bulk %llu;", (unsigned long long)bulk->count);
    } else {
        note (diary, "%s%s;", reply, message->kind->name);
    }
    self->in_callback = false;
}

static void probe_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)ctx, (void)timer;
    note (((probe_t *)state)->diary, "timer %llu;", (unsigned long long)data);
}

static void probe_settle (void *state, context_t *ctx)
{
    (void)ctx;
    note (((probe_t *)state)->diary, "|");
}

static void probe_stop (void *state, context_t *ctx)
{
    (void)ctx;
    probe_t *self = state;
    if (self->held)
        message_release (&self->held);
    note (self->diary, "stop;");
}

static const behaviour_t probe_behaviour = {
    .name = "probe",
    .state_size = sizeof (probe_t),
    .start = probe_start,
    .receive = probe_receive,
    .timer = probe_timer,
    .settle = probe_settle,
    .stop = probe_stop,
};

/*  ---- a fixture: nodes with a probe each --------------------------------- */

enum { NODES = 3 };

typedef struct {
    simulator_t *sim;
    diary_t diaries[NODES];
    diary_t *args[NODES]; /* what the probes get */
} world_t;

static int boot_probe (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    world_t *world = context;
    child_t child = {.behaviour = &probe_behaviour, .name = "probe", .args = &world->args[node]};
    return simulator_spawn (sim, node, &child, error);
}

static record_key_t key_of (unsigned node)
{
    record_key_t key = {{0}};
    key.bytes[0] = (uint8_t)(node + 1);
    key.bytes[31] = 0xab;
    return key;
}

static void world_add_nodes (world_t *self, unsigned count, simulator_boot_fn *boot, void *context)
{
    static const char *const names[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};
    for (unsigned i = 0; i < count; i++)
        simulator_add_node (self->sim, &(simulator_node_t){.name = names[i],
                                                           .key = key_of (i),
                                                           .role = i ? ROLE_MASTER : ROLE_WORKER,
                                                           .boot = boot,
                                                           .context = context});
}

static world_t *world_new (const char *profile)
{
    world_t *self = calloc (1, sizeof *self);
    assert_non_null (self);
    self->sim = simulator_new (1, simulator_profile (profile));
    for (unsigned i = 0; i < NODES; i++)
        self->args[i] = &self->diaries[i];
    world_add_nodes (self, NODES, boot_probe, self);
    assert_int_equal (simulator_run (self->sim, 0, 0, NULL, NULL), SIMULATOR_IDLE);
    for (unsigned i = 0; i < NODES; i++)
        self->diaries[i].size = 0;
    return self;
}

static void world_destroy (world_t **self_p)
{
    simulator_destroy (&(*self_p)->sim);
    free (*self_p);
    *self_p = NULL;
}

static context_t *probe (world_t *self, unsigned node)
{
    return simulator_context (self->sim, node, "probe", 0);
}

static address_t probe_at (unsigned node)
{
    record_key_t key = key_of (node);
    return address_remote (&key, "probe", 0);
}

static void ping (world_t *self, unsigned from, unsigned to, uint64_t count, const char *text)
{
    address_t address = probe_at (to);
    context_send (probe (self, from), &address, &ping_record,
                  &(ping_t){.count = count, .text = text});
}

static void run_ms (world_t *self, int64_t ms)
{
    simulator_run (self->sim, MS_TO_NS (ms), 0, NULL, NULL);
}

/*  What the probe wrote since the last look. */
static const char *diary (world_t *self, unsigned node)
{
    diary_t *diary = &self->diaries[node];
    diary->text[diary->size] = 0;
    diary->size = 0;
    return diary->text;
}

/*  ---- messages and turns -------------------------------------------------- */

static void between_nodes (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    ping (w, 0, 1, 7, "");
    assert_string_equal (diary (w, 1), "");
    run_ms (w, 10);
    assert_string_equal (diary (w, 1), "ping 7;|");
    assert_int_equal (w->diaries[1].role, ROLE_WORKER);
    record_key_t key = key_of (0);
    assert_memory_equal (&w->diaries[1].sender.node, &key, sizeof key);
    assert_string_equal (w->diaries[1].sender.actor, "probe");
    /* To its own key is local. */
    ping (w, 2, 2, 8, "");
    run_ms (w, 0);
    assert_string_equal (diary (w, 2), "ping 8;|");
    assert_int_equal (w->diaries[2].role, ROLE_LOCAL);
    assert_true (record_key_is_zero (&w->diaries[2].sender.node));
    world_destroy (&w);
}

static void one_turn_for_an_instant (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    for (uint64_t i = 1; i <= 3; i++)
        ping (w, 0, 0, i, "");
    context_after (probe (w, 0), 0, 5);
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "timer 5;ping 1;ping 2;ping 3;|");
    /* Control before data. */
    address_t self = probe_at (0);
    context_send (probe (w, 0), &self, &bulk_record, &(bulk_t){.count = 1});
    ping (w, 0, 0, 2, "");
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "ping 2;bulk 1;|");
    /* A message to oneself comes after the callback, never within it (the probe asserts). */
    ping (w, 0, 0, 1, "self");
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "ping 1;ping 100;|");
    world_destroy (&w);
}

static void a_turn_is_bounded (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    address_t self = probe_at (0);
    for (int i = 0; i < 1025; i++)
        context_send (probe (w, 0), &self, &done_record, &(done_t){0});
    simulator_run (w->sim, 0, 1, NULL, NULL);
    assert_string_equal (w->diaries[0].text + w->diaries[0].size - 6, "done;|");
    size_t first = w->diaries[0].size;
    assert_int_equal (first, 1024 * strlen ("done;") + 1);
    run_ms (w, 0);
    assert_int_equal (w->diaries[0].size, first + strlen ("done;|"));
    world_destroy (&w);
}

static void mailboxes_are_bounded (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    diary_t small = {0};
    diary_t *args = &small;
    child_t child = {
        .behaviour = &probe_behaviour, .name = "small", .args = &args, .mailbox_count_max = 3};
    assert_int_equal (simulator_spawn (w->sim, 0, &child, NULL), 0);
    run_ms (w, 0);
    small.size = 0;
    address_t to = address_local ("small", 0);
    for (uint64_t i = 0; i < 5; i++)
        context_send (probe (w, 0), &to, &bulk_record, &(bulk_t){.count = i});
    context_request (probe (w, 0), &to, &bulk_record, &(bulk_t){.count = 9}, 1000);
    context_send (probe (w, 0), &to, &ping_record, &(ping_t){.count = 1}); /* control: gets in */
    run_ms (w, 0);
    small.text[small.size] = 0;
    assert_string_equal (small.text, "ping 1;bulk 0;bulk 1;bulk 2;|");
    assert_string_equal (diary (w, 0), "reply failure exhausted;|");
    assert_int_equal (simulator_dead_letters (w->sim, "overflow"), 3);
    world_destroy (&w);
}

/*  ---- requests ------------------------------------------------------------ */

static void requests (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    address_t far = probe_at (1);
    context_request (probe (w, 0), &far, &ping_record, &(ping_t){.count = 1, .text = "echo"}, 100);
    run_ms (w, 200);
    assert_string_equal (diary (w, 0), "reply ping 2;|");
    assert_int_equal (simulator_dead_letters (w->sim, NULL), 0);

    diary (w, 1);
    context_request (probe (w, 0), &far, &ping_record, &(ping_t){.count = 1, .text = "hold"}, 100);
    run_ms (w, 99);
    assert_string_equal (diary (w, 0), "");
    run_ms (w, 1);
    assert_string_equal (diary (w, 0), "reply failure deadline;|");
    ping (w, 1, 1, 2, "answer");
    run_ms (w, 100);
    assert_string_equal (diary (w, 0), "|"); /* a turn, but late: nobody gets it */
    assert_int_equal (simulator_dead_letters (w->sim, NULL), 1);

    address_t nobody = probe_at (1);
    strcpy (nobody.actor, "nobody");
    context_request (probe (w, 0), &nobody, &ping_record, &(ping_t){.count = 1}, 100);
    run_ms (w, 50);
    assert_string_equal (diary (w, 0), "reply failure not_found;|");
    assert_int_equal (simulator_dead_letters (w->sim, "no_actor"), 1);

    record_key_t unknown = {{99}};
    address_t nowhere = address_remote (&unknown, "probe", 0);
    context_request (probe (w, 0), &nowhere, &ping_record, &(ping_t){.count = 1}, 100);
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "reply failure unavailable;|");
    assert_int_equal (simulator_dead_letters (w->sim, "no_route"), 1);
    world_destroy (&w);
}

/*  A reply that the sender of the request got twice, or after its crash, is for nobody. */
static void replies_die_with_the_asker (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    simulator_set (w->sim, SIMULATOR_DUPLICATION, 1);
    address_t far = probe_at (1);
    context_request (probe (w, 0), &far, &ping_record, &(ping_t){.count = 1, .text = "echo"}, 100);
    run_ms (w, 50);
    assert_string_equal (diary (w, 1), "ping 1;ping 1;|");
    assert_string_equal (diary (w, 0), "reply ping 2;|"); /* four came, one was waited for */
    assert_int_equal (simulator_dead_letters (w->sim, "late"), 3);
    simulator_set (w->sim, SIMULATOR_DUPLICATION, 0);

    context_request (probe (w, 0), &far, &ping_record, &(ping_t){.count = 1, .text = "echo"}, 100);
    simulator_crash (w->sim, 0);
    simulator_restart (w->sim, 0);
    run_ms (w, 200);
    assert_string_equal (diary (w, 0), "stop;start;||");
    assert_int_equal (simulator_dead_letters (w->sim, "late"), 4);
    world_destroy (&w);
}

/*  ---- timers and clocks ---------------------------------------------------- */

static void timers_and_clocks (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    int64_t begin = context_now (probe (w, 0));
    assert_true (begin != context_now (probe (w, 1))); /* a clock of its own */
    context_after (probe (w, 0), MS_TO_NS (20), 2);
    context_after (probe (w, 0), MS_TO_NS (10), 1);
    uint64_t third = context_after (probe (w, 0), MS_TO_NS (30), 3);
    run_ms (w, 9);
    assert_string_equal (diary (w, 0), "");
    run_ms (w, 1);
    assert_string_equal (diary (w, 0), "timer 1;|");
    assert_true (context_now (probe (w, 0)) - begin == MS_TO_NS (10));
    context_cancel (probe (w, 0), third);
    run_ms (w, 50);
    assert_string_equal (diary (w, 0), "timer 2;|");
    int64_t wall = context_wall_ms (probe (w, 0)), now = context_now (probe (w, 0));
    simulator_jump_clock (w->sim, 0, -5000);
    assert_true (context_wall_ms (probe (w, 0)) == wall - 5000);
    assert_true (context_now (probe (w, 0)) == now);
    world_destroy (&w);
}

/*  Cancelled after it has expired, but before its turn. */
static void a_cancelled_timer_never_comes (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    simulator_pause (w->sim, 0);
    uint64_t timer = context_after (probe (w, 0), MS_TO_NS (1), 1);
    context_after (probe (w, 0), MS_TO_NS (2), 2);
    run_ms (w, 10);
    context_cancel (probe (w, 0), timer);
    simulator_resume (w->sim, 0);
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "timer 2;|");
    world_destroy (&w);
}

/*  ---- actors --------------------------------------------------------------- */

typedef struct {
    diary_t diary;
    diary_t *args;
    child_t child;
} offspring_t;

static void offspring_init (offspring_t *self, const char *name)
{
    memset (self, 0, sizeof *self);
    self->args = &self->diary;
    self->child = (child_t){.behaviour = &probe_behaviour, .name = name, .args = &self->args};
}

static const char *offspring_diary (offspring_t *self)
{
    self->diary.text[self->diary.size] = 0;
    self->diary.size = 0;
    return self->diary.text;
}

static void tell (world_t *self, const char *actor, const char *text)
{
    address_t to = address_local (actor, 0), from = address_local ("test", 0);
    message_t *message =
        message_new (&ping_record, &(ping_t){.count = 1, .text = text}, NULL, &to, &from);
    simulator_inject (self->sim, 0, ROLE_LOCAL, &message);
    run_ms (self, 0);
}

static void children (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    offspring_t child, grandchild;
    offspring_init (&child, "child");
    offspring_init (&grandchild, "grandchild");
    w->diaries[0].child = &child.child;
    child.diary.child = &grandchild.child;

    tell (w, "probe", "spawn");
    tell (w, "probe", "spawn");
    assert_string_equal (diary (w, 0), "ping 1;|ping 1;refused exists;|");
    tell (w, "child", "end");
    assert_string_equal (offspring_diary (&child), "start;|ping 1;stop;");
    assert_string_equal (diary (w, 0), "down child done \"done\";|");
    assert_null (simulator_state (w->sim, 0, "child", 0));

    tell (w, "probe", "spawn");
    tell (w, "child", "fail");
    assert_string_equal (diary (w, 0), "ping 1;|down child failed \"told to\";|");

    /* A stop takes the grandchild first; its own end is no news to those that end. */
    tell (w, "probe", "spawn");
    tell (w, "child", "spawn");
    offspring_diary (&child);
    offspring_diary (&grandchild);
    tell (w, "probe", "stop child");
    assert_string_equal (offspring_diary (&grandchild), "stop;");
    assert_string_equal (offspring_diary (&child), "stop;");
    assert_string_equal (diary (w, 0),
                         "ping 1;|ping 1;|down child done \"stopped by its parent\";|");

    child.diary.fail_start = true;
    tell (w, "probe", "spawn");
    assert_string_equal (diary (w, 0), "ping 1;refused denied;|");
    assert_string_equal (offspring_diary (&child), "start;"); /* and no stop */
    assert_null (simulator_state (w->sim, 0, "child", 0));
    world_destroy (&w);
}

static void watches (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    offspring_t child;
    offspring_init (&child, "child");
    assert_int_equal (simulator_spawn (w->sim, 0, &child.child, NULL), 0);
    run_ms (w, 0);
    address_t address = address_local ("child", 0), nobody = address_local ("nobody", 0);
    context_watch (probe (w, 0), &address);
    context_watch (probe (w, 0), &address);
    context_watch (probe (w, 0), &nobody);
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "down nobody failed \"there is no such actor\";|");
    tell (w, "child", "end");
    assert_string_equal (diary (w, 0), "down child done \"done\";|");
    world_destroy (&w);
}

/*  What waits in the mailbox of one that ends: its requests fail. */
static void the_mailbox_of_the_dead (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    offspring_t child;
    offspring_init (&child, "child");
    assert_int_equal (simulator_spawn (w->sim, 0, &child.child, NULL), 0);
    address_t to = address_local ("child", 0);
    context_send (probe (w, 0), &to, &ping_record, &(ping_t){.text = "end"});
    context_request (probe (w, 0), &to, &ping_record, &(ping_t){.text = "echo"}, 1000);
    run_ms (w, 0);
    assert_string_equal (diary (w, 0), "reply failure unavailable;|");
    assert_int_equal (simulator_dead_letters (w->sim, "ended"), 1);
    world_destroy (&w);
}

/*  ---- supervision (the shipped supervisor) --------------------------------- */

static void supervised (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    offspring_t kids[2];
    offspring_init (&kids[0], "one");
    offspring_init (&kids[1], "two");
    child_t children_of[] = {kids[0].child, kids[1].child};
    supervisor_spec_t spec = {.strategy = SUPERVISE_ONE_FOR_ALL,
                              .intensity = 2,
                              .period_ms = 5000,
                              .children = children_of,
                              .count = 2};
    child_t root = {.behaviour = &supervisor_behaviour, .name = "root", .args = &spec};
    assert_int_equal (simulator_spawn (w->sim, 0, &root, NULL), 0);
    run_ms (w, 0);
    assert_string_equal (offspring_diary (&kids[0]), "start;|");
    for (int i = 0; i < 2; i++) {
        tell (w, "two", "fail");
        run_ms (w, 100);
        assert_string_equal (offspring_diary (&kids[0]), "stop;start;|");
        assert_non_null (simulator_state (w->sim, 0, "two", 0));
    }
    /* The third within the period is one too many: the root fails, and with it its process,
       which boots again (here: only the probe). */
    diary (w, 0);
    tell (w, "one", "fail");
    run_ms (w, 0);
    assert_false (simulator_is_up (w->sim, 0));
    run_ms (w, 2000);
    assert_true (simulator_is_up (w->sim, 0));
    assert_string_equal (diary (w, 0), "stop;start;|");
    assert_null (simulator_state (w->sim, 0, "root", 0));
    world_destroy (&w);
}

/*  ---- faults ---------------------------------------------------------------- */

static void crash_and_restart (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    context_after (probe (w, 1), MS_TO_NS (10), 1);
    ping (w, 0, 1, 1, "hold");
    run_ms (w, 5);
    simulator_crash (w->sim, 1);
    assert_null (simulator_state (w->sim, 1, "probe", 0));
    ping (w, 0, 1, 2, ""); /* lost: nobody is there */
    run_ms (w, 100);
    assert_string_equal (diary (w, 1), "ping 1;|stop;");
    simulator_restart (w->sim, 1);
    run_ms (w, 0);
    ping (w, 0, 1, 3, "");
    run_ms (w, 100);
    assert_string_equal (diary (w, 1), "start;|ping 3;|"); /* no timer, no held request */
    world_destroy (&w);
}

static void pauses (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    context_after (probe (w, 1), MS_TO_NS (10), 1);
    simulator_pause (w->sim, 1);
    ping (w, 0, 1, 1, "");
    ping (w, 0, 1, 2, "");
    run_ms (w, 500);
    assert_string_equal (diary (w, 1), "");
    simulator_resume (w->sim, 1);
    run_ms (w, 0);
    assert_string_equal (diary (w, 1), "timer 1;ping 1;ping 2;|");
    world_destroy (&w);
}

static void partitions (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    simulator_partition (w->sim, SIMULATOR_NODE (0), SIMULATOR_NODE (1) | SIMULATOR_NODE (2), true);
    ping (w, 0, 1, 1, "");
    ping (w, 0, 2, 1, "");
    ping (w, 1, 0, 2, "");
    ping (w, 1, 2, 3, "");
    run_ms (w, 100);
    assert_string_equal (diary (w, 1), "");
    assert_string_equal (diary (w, 0), "ping 2;|");
    assert_string_equal (diary (w, 2), "ping 3;|");
    /* Cuts add up: the second one stays when the first... no: heal mends all. */
    simulator_partition (w->sim, SIMULATOR_NODE (1), SIMULATOR_NODE (0), false);
    ping (w, 1, 0, 4, "");
    run_ms (w, 100);
    assert_string_equal (diary (w, 0), "");
    simulator_heal (w->sim);
    ping (w, 0, 1, 5, "");
    ping (w, 1, 0, 6, "");
    run_ms (w, 100);
    assert_string_equal (diary (w, 1), "ping 5;|");
    assert_string_equal (diary (w, 0), "ping 6;|");
    world_destroy (&w);
}

static void clogs_and_order (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    simulator_set (w->sim, SIMULATOR_JITTER_MS, 50);
    simulator_clog (w->sim, 0, 1, MS_TO_NS (1000));
    for (uint64_t i = 1; i <= 5; i++)
        ping (w, 0, 1, i, "");
    run_ms (w, 999);
    assert_string_equal (diary (w, 1), "");
    run_ms (w, 1);
    assert_string_equal (diary (w, 1), "ping 1;ping 2;ping 3;ping 4;ping 5;|");
    /* In order, however different the delays. */
    for (uint64_t i = 1; i <= 5; i++)
        ping (w, 0, 1, i, "hold?");
    run_ms (w, 200);
    const char *got = diary (w, 1);
    const char *last = got;
    for (char c = '1'; c <= '5'; c++) {
        char wanted[] = {'p', 'i', 'n', 'g', ' ', c, ';', 0};
        last = strstr (last, wanted);
        assert_non_null (last);
    }
    world_destroy (&w);
}

static void lossy_links (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    simulator_set (w->sim, SIMULATOR_LOSS, 0.5);
    for (uint64_t i = 0; i < 400; i++)
        ping (w, 0, 1, 1, "");
    run_ms (w, 100);
    size_t got = w->diaries[1].size / strlen ("ping 1;");
    assert_in_range (got, 150, 250);
    simulator_set (w->sim, SIMULATOR_LOSS, 0);
    simulator_set (w->sim, SIMULATOR_QUEUE, 3);
    diary (w, 1);
    for (uint64_t i = 1; i <= 5; i++)
        ping (w, 0, 1, i, "");
    run_ms (w, 100);
    assert_string_equal (diary (w, 1), "ping 1;ping 2;ping 3;|");
    assert_int_equal (simulator_dead_letters (w->sim, "link_full"), 2);
    world_destroy (&w);
}

/*  ---- runs, observers, failures ---------------------------------------------- */

static bool seventh (simulator_t *sim, void *context)
{
    (void)sim;
    return strstr (((world_t *)context)->diaries[1].text, "ping 7;") != NULL;
}

static int never_eight (simulator_t *sim, void *context, nexus_error_t *error)
{
    (void)sim;
    if (strstr (((world_t *)context)->diaries[1].text, "ping 8;"))
        return nexus_error_set (error, NEXUS_CONFLICT, "there was an eight");
    return 0;
}

static void results_of_runs (void **state)
{
    (void)state;
    world_t *w = world_new ("calm");
    simulator_observe (w->sim, never_eight, w);
    ping (w, 0, 1, 7, "");
    assert_int_equal (simulator_run (w->sim, MS_TO_NS (1000), 0, seventh, w), SIMULATOR_REACHED);
    int64_t now = simulator_now (w->sim);
    assert_true (now < MS_TO_NS (10));
    assert_int_equal (simulator_run (w->sim, MS_TO_NS (1000), 0, NULL, NULL), SIMULATOR_IDLE);
    assert_true (simulator_now (w->sim) == now + MS_TO_NS (1000));
    context_after (probe (w, 0), MS_TO_NS (2000), 1);
    assert_int_equal (simulator_run (w->sim, MS_TO_NS (1000), 0, NULL, NULL), SIMULATOR_TIME);
    ping (w, 0, 1, 1, "");
    ping (w, 0, 2, 1, "");
    assert_int_equal (simulator_run (w->sim, MS_TO_NS (1000), 1, NULL, NULL), SIMULATOR_STEPS);
    ping (w, 0, 1, 8, "");
    assert_int_equal (simulator_run (w->sim, MS_TO_NS (1000), 0, NULL, NULL), SIMULATOR_FAILED);
    assert_non_null (strstr (simulator_error (w->sim), "seed 1, step "));
    assert_non_null (strstr (simulator_error (w->sim), "there was an eight"));
    assert_int_equal (simulator_run (w->sim, MS_TO_NS (1), 0, NULL, NULL), SIMULATOR_FAILED);
    world_destroy (&w);
}

static int refuse_boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    (void)sim, (void)node, (void)context;
    return nexus_error_set (error, NEXUS_CORRUPT, "no disk");
}

static void a_node_that_can_not_boot (void **state)
{
    (void)state;
    simulator_t *sim = simulator_new (3, simulator_profile ("calm"));
    simulator_add_node (sim, &(simulator_node_t){.name = "m1", .key = {{1}}, .boot = refuse_boot});
    assert_int_equal (simulator_run (sim, MS_TO_NS (1), 0, NULL, NULL), SIMULATOR_FAILED);
    assert_non_null (strstr (simulator_error (sim), "m1 could not boot: no disk"));
    simulator_destroy (&sim);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (between_nodes),
        cmocka_unit_test (one_turn_for_an_instant),
        cmocka_unit_test (a_turn_is_bounded),
        cmocka_unit_test (mailboxes_are_bounded),
        cmocka_unit_test (requests),
        cmocka_unit_test (replies_die_with_the_asker),
        cmocka_unit_test (timers_and_clocks),
        cmocka_unit_test (a_cancelled_timer_never_comes),
        cmocka_unit_test (children),
        cmocka_unit_test (watches),
        cmocka_unit_test (the_mailbox_of_the_dead),
        cmocka_unit_test (supervised),
        cmocka_unit_test (crash_and_restart),
        cmocka_unit_test (pauses),
        cmocka_unit_test (partitions),
        cmocka_unit_test (clogs_and_order),
        cmocka_unit_test (lossy_links),
        cmocka_unit_test (results_of_runs),
        cmocka_unit_test (a_node_that_can_not_boot),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
