/*  Swarms of seeds: replay to the byte, seeded faults, and a disk that catches who acknowledges
    too early.

    The toy: each node counts. A count is written to the disk and acknowledged when its flush is
    over; nodes tell each other their counts and take over the highest. What was acknowledged
    must be there after a crash. */
#include "runtime/simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(F) F (UINT, value, _, .doc = "How far the sender has counted.")
RECORD_DECLARE (count, COUNT)
#define RECORD_SELF count_t
RECORD_DEFINE (count, 60003, 0, "A count.", COUNT)
#undef RECORD_SELF

enum { NODES = 5, TICK = 0, FLUSHED = 1 };

typedef struct world world_t;

typedef struct {
    world_t *world;
    unsigned node;
    sim_disk_t *disk;
} counter_args_t;

struct world {
    simulator_t *sim;
    counter_args_t args[NODES];
    uint64_t acknowledged[NODES];
    uint64_t recovered_too_little; /* nodes that came back with less than acknowledged */
    uint64_t boots, torn;
    bool liar; /* acknowledges before the flush is over */
};

typedef struct {
    counter_args_t args;
    uint64_t value;
} counter_t;

typedef struct {
    uint64_t value, check;
} stored_t;

/*  The last count whose record is whole; what is behind it is erased. */
static uint64_t recover (sim_disk_t *disk, uint64_t *torn)
{
    uint64_t value = 0, key = 1;
    while (sim_disk_next (disk, key, &key)) {
        const uint8_t *data;
        size_t size;
        stored_t stored;
        assert_true (sim_disk_read (disk, key, &data, &size));
        assert_int_equal (size, sizeof stored);
        memcpy (&stored, data, sizeof stored);
        if (stored.check != ~stored.value) {
            (*torn)++;
            sim_disk_erase (disk, key, UINT64_MAX);
            sim_disk_commit (disk);
            break;
        }
        value = stored.value;
        key++;
    }
    return value;
}

static int counter_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    counter_t *self = state;
    self->args = *(const counter_args_t *)args;
    world_t *world = self->args.world;
    self->value = recover (self->args.disk, &world->torn);
    world->boots++;
    log_info (context_log (ctx), "recovered", LOG_UINT ("value", self->value));
    if (self->value < world->acknowledged[self->args.node])
        world->recovered_too_little++;
    context_after (ctx, MS_TO_NS (1), TICK);
    return 0;
}

static void store (counter_t *self, context_t *ctx)
{
    stored_t stored = {self->value, ~self->value};
    sim_disk_write (self->args.disk, self->value, &stored, sizeof stored);
    int64_t wait = sim_disk_commit (self->args.disk);
    if (self->args.world->liar)
        self->args.world->acknowledged[self->args.node] = self->value;
    else
        context_after (ctx, wait, FLUSHED | self->value << 1);
}

static void counter_receive (void *state, context_t *ctx, const message_t *message)
{
    counter_t *self = state;
    const count_t *count = message_body (message, count);
    if (!count || count->value <= self->value)
        return;
    self->value = count->value;
    store (self, ctx);
}

static void counter_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    counter_t *self = state;
    if (data & FLUSHED) {
        self->args.world->acknowledged[self->args.node] = data >> 1;
        return;
    }
    self->value++;
    store (self, ctx);
    unsigned peer = (unsigned)(context_random (ctx) % NODES);
    address_t to = address_remote (simulator_key (self->args.world->sim, peer), "counter", 0);
    context_send (ctx, &to, &count_record, &(count_t){.value = self->value});
    context_after (ctx, MS_TO_NS (5 + context_random (ctx) % 50), TICK);
}

static const behaviour_t counter_behaviour = {
    .name = "counter",
    .state_size = sizeof (counter_t),
    .start = counter_start,
    .receive = counter_receive,
    .timer = counter_timer,
};

static int boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    world_t *world = context;
    world->args[node] = (counter_args_t){world, node, simulator_disk (sim, node)};
    child_t child = {
        .behaviour = &counter_behaviour, .name = "counter", .args = &world->args[node]};
    return simulator_spawn (sim, node, &child, error);
}

static int check (simulator_t *sim, void *context, nexus_error_t *error)
{
    (void)sim;
    const world_t *world = context;
    if (world->recovered_too_little)
        return nexus_error_set (error, NEXUS_CORRUPT, "an acknowledged count is gone");
    return 0;
}

static void world_init (world_t *self, uint64_t seed, const char *profile, FILE *trace)
{
    static const char *const names[NODES] = {"n0", "n1", "n2", "n3", "n4"};
    memset (self, 0, sizeof *self);
    self->sim = simulator_new (seed, simulator_profile (profile));
    /* A counter looks at neither. */
    simulator_set (self->sim, SIMULATOR_WRITE_FAULT, 0);
    simulator_set (self->sim, SIMULATOR_CLOCK_RATE, 0);
    simulator_trace (self->sim, trace);
    for (unsigned i = 0; i < NODES; i++)
        simulator_add_node (self->sim, &(simulator_node_t){.name = names[i],
                                                           .key = {{(uint8_t)(i + 1)}},
                                                           .role = ROLE_MASTER,
                                                           .boot = boot,
                                                           .context = self});
    simulator_observe (self->sim, check, self);
}

/*  ---- replay --------------------------------------------------------------- */

typedef struct {
    char *text;
    size_t size;
    uint64_t digest, steps;
} history_t;

static history_t history (uint64_t seed)
{
    history_t self = {0};
    world_t world;
    FILE *trace = open_memstream (&self.text, &self.size);
    assert_non_null (trace);
    world_init (&world, seed, "swarm", trace);
    simulator_run (world.sim, MS_TO_NS (10000), 0, NULL, NULL);
    simulator_calm (world.sim, 0);
    simulator_run (world.sim, MS_TO_NS (1000), 0, NULL, NULL);
    self.digest = simulator_digest (world.sim);
    self.steps = simulator_steps (world.sim);
    simulator_destroy (&world.sim);
    fclose (trace);
    return self;
}

static void one_seed_is_one_history (void **state)
{
    (void)state;
    uint64_t digests[10];
    for (uint64_t seed = 1; seed <= 10; seed++) {
        history_t first = history (seed), second = history (seed);
        assert_true (first.steps > 500);
        assert_int_equal (first.size, second.size);
        assert_memory_equal (first.text, second.text, first.size);
        assert_true (first.digest == second.digest);
        assert_true (first.steps == second.steps);
        digests[seed - 1] = first.digest;
        for (uint64_t other = 0; other + 1 < seed; other++)
            assert_true (digests[other] != first.digest);
        free (first.text);
        free (second.text);
    }
}

/*  A trace does not change what happens. */
static void watching_changes_nothing (void **state)
{
    (void)state;
    history_t traced = history (4);
    world_t world;
    world_init (&world, 4, "swarm", NULL);
    simulator_run (world.sim, MS_TO_NS (10000), 0, NULL, NULL);
    simulator_calm (world.sim, 0);
    simulator_run (world.sim, MS_TO_NS (1000), 0, NULL, NULL);
    assert_true (simulator_digest (world.sim) == traced.digest);
    simulator_destroy (&world.sim);
    free (traced.text);
}

static void traces_tell_what_happened (void **state)
{
    (void)state;
    history_t h = history (3);
    static const char *const expected[] = {
        "# seed=3 loss=",
        " boot ",
        " counter start ",
        " counter receive from=counter@n",
        " counter timer ",
        " crash ",
        " partition ",
        "kind=count value=",
        "msg=\"recovered\"",
        " counter send to=counter@n",
        " lose ",
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (!strstr (h.text, expected[i]))
            fail_msg ("\"%s\" is not in the trace", expected[i]);
    free (h.text);
}

/*  ---- swarm ---------------------------------------------------------------- */

static bool converged (simulator_t *sim, void *context)
{
    const world_t *world = context;
    uint64_t low = UINT64_MAX, high = 0;
    for (unsigned i = 0; i < NODES; i++) {
        const counter_t *counter = simulator_state (sim, i, "counter", 0);
        if (!counter)
            return false;
        low = counter->value < low ? counter->value : low;
        high = counter->value > high ? counter->value : high;
    }
    (void)world;
    return high - low < 10;
}

static uint64_t run_seeds (uint64_t seeds, const char *profile, bool liar, world_t *totals)
{
    uint64_t failures = 0;
    memset (totals, 0, sizeof *totals);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        world_t world;
        world_init (&world, seed, profile, NULL);
        world.liar = liar;
        simulator_result_t result = simulator_run (world.sim, MS_TO_NS (20000), 0, NULL, NULL);
        if (result != SIMULATOR_FAILED) {
            simulator_calm (world.sim, 0);
            result = simulator_run (world.sim, MS_TO_NS (60000), 0, converged, &world);
            if (result != SIMULATOR_FAILED && result != SIMULATOR_REACHED)
                fail_msg ("seed %llu did not converge", (unsigned long long)seed);
        }
        failures += result == SIMULATOR_FAILED;
        if (result == SIMULATOR_FAILED && !liar)
            print_error ("%s\n", simulator_error (world.sim));
        totals->boots += world.boots;
        totals->torn += world.torn;
        simulator_destroy (&world.sim);
    }
    return failures;
}

static void what_is_acknowledged_survives (void **state)
{
    (void)state;
    static const char *const profiles[] = {"calm", "lan", "wan", "swarm"};
    world_t totals;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal (run_seeds (20, profiles[i], false, &totals), 0);
    /* The swarm has crashed nodes and torn writes, or it has tested nothing. */
    assert_true (totals.boots > (uint64_t)20 * NODES * 3 / 2);
    assert_true (totals.torn > 0);
}

static void who_acknowledges_early_is_caught (void **state)
{
    (void)state;
    world_t totals;
    assert_in_range (run_seeds (40, "swarm", true, &totals), 5, 40);
}

/*  ---- calm ------------------------------------------------------------------ */

static void calm_leaves_down_what_it_is_told (void **state)
{
    (void)state;
    world_t world;
    world_init (&world, 3, "swarm", NULL);
    simulator_run (world.sim, MS_TO_NS (20000), 0, NULL, NULL);
    simulator_calm (world.sim, SIMULATOR_NODE (1) | SIMULATOR_NODE (3));
    for (int i = 0; i < 20; i++) {
        simulator_run (world.sim, MS_TO_NS (1000), 0, NULL, NULL);
        for (unsigned node = 0; node < NODES; node++)
            assert_int_equal (simulator_is_up (world.sim, node), node != 1 && node != 3);
    }
    simulator_restart (world.sim, 3);
    assert_true (simulator_is_up (world.sim, 3));
    simulator_destroy (&world.sim);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (one_seed_is_one_history),
        cmocka_unit_test (watching_changes_nothing),
        cmocka_unit_test (traces_tell_what_happened),
        cmocka_unit_test (what_is_acknowledged_survives),
        cmocka_unit_test (who_acknowledges_early_is_caught),
        cmocka_unit_test (calm_leaves_down_what_it_is_told),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
