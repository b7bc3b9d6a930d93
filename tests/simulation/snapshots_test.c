/*  snapshots: copies on their way from master to master, over bad networks, through crashes of
    either side and changes of who leads; when copies are made; how far the log is compacted */
#include "actors/snapshots/snapshots.h"
#include "runtime/simulator.h"
#include "storage/raft_log_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { NODES = 3, SIZE_MAX_ = 4 << 20 };

/*  ---- a store in memory: what a disk would hold --------------------------------------- */

typedef struct {
    snapshot_info_t info;
    uint8_t *bytes;
} copy_t;

typedef struct store store_t;
struct store {
    store_t *self; /* the log's args */
    unsigned number;
    snapshots_args_t args;
    snapshot_position_t position;
    copy_t now, before;
    copy_t part;
    uint64_t have;
    uint64_t size; /* of the copies that it makes */
    bool refuse;   /* to make one, or to write */
    bool damaged;  /* what was fetched will turn out to be */
    int64_t delay_ns;
    unsigned made, begun, finished, dropped;
    /* What its election and its log were told. */
    snapshot_stored_t stored;
    unsigned stored_count;
    uint64_t compacted;
};

static snapshot_info_t info_of (unsigned maker, uint64_t index, uint64_t size)
{
    snapshot_info_t info = {.index = index, .term = 1 + index / 1000, .size = size};
    info.hash.bytes[0] = (uint8_t)(maker + 1);
    memcpy (info.hash.bytes + 1, &index, sizeof index);
    return info;
}

/*  A byte of a copy: it depends on all that makes one. */
static uint8_t byte_of (const snapshot_info_t *info, uint64_t at)
{
    return (uint8_t)((at * 31 + info->index * 7 + info->hash.bytes[0]) ^ (at >> 16));
}

static void copy_clear (copy_t *copy)
{
    free (copy->bytes);
    *copy = (copy_t){0};
}

static bool same (const snapshot_info_t *a, const snapshot_info_t *b)
{
    return a->index == b->index && memcmp (&a->hash, &b->hash, sizeof a->hash) == 0;
}

static void store_position (void *self, snapshot_position_t *ret_position)
{
    *ret_position = ((store_t *)self)->position;
}

static void store_current (void *self, snapshot_info_t *ret_copy)
{
    *ret_copy = ((store_t *)self)->now.info;
}

static int store_make (void *store, snapshot_info_t *ret_copy, int64_t *ret_delay_ns,
                       nexus_error_t *error)
{
    store_t *self = store;
    if (self->refuse)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the disk is full");
    copy_clear (&self->before);
    self->before = self->now;
    self->now = (copy_t){.info = info_of (self->number, self->position.applied, self->size),
                         .bytes = malloc (self->size)};
    for (uint64_t i = 0; i < self->size; i++)
        self->now.bytes[i] = byte_of (&self->now.info, i);
    self->made++;
    *ret_copy = self->now.info;
    *ret_delay_ns = self->delay_ns;
    return 0;
}

static int64_t store_read (void *store, const snapshot_info_t *wanted, uint64_t offset, void *data,
                           size_t size, nexus_error_t *error)
{
    store_t *self = store;
    const copy_t *copy = same (&self->now.info, wanted) ? &self->now : &self->before;
    if (!same (&copy->info, wanted) || offset > copy->info.size)
        return nexus_error_set (error, NEXUS_NOT_FOUND, "no such copy");
    if (size > copy->info.size - offset)
        size = copy->info.size - offset;
    memcpy (data, copy->bytes + offset, size);
    return (int64_t)size;
}

static void store_part (void *store, snapshot_info_t *ret_copy, uint64_t *ret_have)
{
    store_t *self = store;
    *ret_copy = self->part.info;
    *ret_have = self->have;
}

static void store_part_drop (void *store)
{
    store_t *self = store;
    self->dropped += self->part.info.index != 0;
    copy_clear (&self->part);
    self->have = 0;
}

static int store_part_begin (void *store, const snapshot_info_t *copy, nexus_error_t *error)
{
    store_t *self = store;
    (void)error;
    store_part_drop (self);
    assert_in_range (copy->size, 1, SIZE_MAX_);
    self->part = (copy_t){.info = *copy, .bytes = malloc (copy->size)};
    self->begun++;
    return 0;
}

static int store_part_write (void *store, uint64_t offset, const void *data, size_t size,
                             nexus_error_t *error)
{
    store_t *self = store;
    if (self->refuse)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "the disk is full");
    assert_int_equal (offset, self->have);
    assert_true (size <= self->part.info.size - offset);
    memcpy (self->part.bytes + offset, data, size);
    self->have += size;
    return 0;
}

static int store_part_finish (void *store, int64_t *ret_delay_ns, nexus_error_t *error)
{
    store_t *self = store;
    assert_int_equal (self->have, self->part.info.size);
    bool good = !self->damaged;
    self->damaged = false;
    for (uint64_t i = 0; i < self->have; i++)
        good = good && self->part.bytes[i] == byte_of (&self->part.info, i);
    if (!good) {
        store_part_drop (self);
        return nexus_error_set (error, NEXUS_CORRUPT, "not what it should be");
    }
    self->finished++;
    if (self->part.info.index > self->now.info.index) {
        copy_clear (&self->before);
        self->before = self->now;
        self->now = self->part;
        self->part = (copy_t){0};
        self->have = 0;
    } else
        store_part_drop (self);
    *ret_delay_ns = self->delay_ns;
    return 0;
}

/*  ---- the world ------------------------------------------------------------------------- */

typedef struct {
    simulator_t *sim;
    store_t stores[NODES];
    record_key_t keys[NODES];
    int offering; /* the node that leads, in the eyes of node 1; -1: nobody */
    simulator_outside_t outside;
} world_t;

/*  The Raft log: compacts at once. */
typedef struct {
    store_t *store;
} test_log_t;

static int log_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx, (void)error;
    memcpy (&((test_log_t *)state)->store, args, sizeof (store_t *));
    return 0;
}

static void log_receive (void *state, context_t *ctx, const message_t *message)
{
    store_t *store = ((test_log_t *)state)->store;
    uint64_t index = message_body (message, log_compact)->index;
    assert_true (index >= store->position.log_first && index > store->compacted);
    store->compacted = index;
    store->position.log_first = index + 1;
    context_reply (ctx, message, &done_record, &(done_t){.value = index});
}

static const behaviour_t log_behaviour = {.name = "raft_log",
                                          .state_size = sizeof (test_log_t),
                                          .start = log_start,
                                          .receive = log_receive};

static int boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    store_t *store = context;
    if (simulator_spawn (
            sim, node,
            &(child_t){.behaviour = &log_behaviour, .name = "raft_log", .args = &store->self},
            error) != 0)
        return -1;
    return simulator_spawn (
        sim, node,
        &(child_t){.behaviour = &snapshots_behaviour, .name = "snapshots", .args = &store->args},
        error);
}

/*  What the actor tells its election. */
static bool outside (void *context, unsigned node, message_t *message)
{
    world_t *self = context;
    store_t *store = &self->stores[node];
    if (message_body (message, snapshot_stored)) {
        store->stored = *message_body (message, snapshot_stored);
        store->stored_count++;
        return true;
    }
    return false;
}

static world_t *world_new (uint64_t seed, const char *profile)
{
    world_t *self = calloc (1, sizeof *self);
    self->sim = simulator_new (seed, simulator_profile (profile));
    self->offering = -1;
    self->outside.message = outside;
    simulator_set_outside (self->sim, &self->outside, self);
    for (unsigned i = 0; i < NODES; i++) {
        store_t *store = &self->stores[i];
        char name[8];
        snprintf (name, sizeof name, "m%u", i + 1);
        store->self = store;
        store->number = i;
        store->size = 1000003;
        store->position = (snapshot_position_t){.log_first = 1};
        store->args = (snapshots_args_t){.store = {.self = store,
                                                   .position = store_position,
                                                   .current = store_current,
                                                   .make = store_make,
                                                   .read = store_read,
                                                   .part = store_part,
                                                   .part_begin = store_part_begin,
                                                   .part_write = store_part_write,
                                                   .part_finish = store_part_finish,
                                                   .part_drop = store_part_drop},
                                         .entries = 1000,
                                         .window = 100,
                                         .log_bytes = 1 << 20,
                                         .bytes_per_second = 1 << 20};
        self->keys[i].bytes[0] = (uint8_t)(i + 1);
        simulator_add_node (self->sim, &(simulator_node_t){.name = name,
                                                           .key = self->keys[i],
                                                           .role = ROLE_MASTER,
                                                           .boot = boot,
                                                           .context = store});
    }
    return self;
}

static void world_destroy (world_t **self_p)
{
    world_t *self = *self_p;
    simulator_destroy (&self->sim);
    for (unsigned i = 0; i < NODES; i++) {
        copy_clear (&self->stores[i].now);
        copy_clear (&self->stores[i].before);
        copy_clear (&self->stores[i].part);
    }
    free (self);
    *self_p = NULL;
}

/*  A master has applied up to there, all of which is in its log. */
static void apply (world_t *self, unsigned node, uint64_t index)
{
    self->stores[node].position.applied = self->stores[node].position.log_last = index;
}

static void give_copy (world_t *self, unsigned node, uint64_t index)
{
    int64_t delay_ns;
    snapshot_info_t copy;
    apply (self, node, index);
    assert_int_equal (store_make (&self->stores[node], &copy, &delay_ns, NULL), 0);
}

static void send_to (world_t *self, unsigned node, const record_t *kind, const void *body,
                     uint64_t correlation)
{
    address_t to = address_local ("snapshots", 0), from = address_local ("election", 0);
    message_t *message = message_new (kind, body, NULL, &to, &from);
    if (correlation) {
        message->flags = MESSAGE_REQUEST;
        message->correlation = correlation;
    }
    simulator_inject (self->sim, node, ROLE_LOCAL, &message);
}

/*  Runs, and repeats the leader's offer to node 1 every 50 ms, as heartbeats do, for as long as
    node 1's election wants it. */
static void run (world_t *self, int64_t ms)
{
    for (int64_t at = 0; at < ms; at += 50) {
        store_t *store = &self->stores[1];
        if (self->offering >= 0 && simulator_is_up (self->sim, 1)) {
            const snapshot_info_t *copy = &self->stores[self->offering].now.info;
            if (copy->index > store->stored.index) {
                snapshot_fetch_t offer = {
                    .from = self->keys[self->offering], .index = copy->index, .term = copy->term};
                send_to (self, 1, &snapshot_fetch_record, &offer, 0);
            }
        }
        if (simulator_run (self->sim, MS_TO_NS (50), 0, NULL, NULL) == SIMULATOR_FAILED)
            fail_msg ("%s", simulator_error (self->sim));
    }
}

static void check_fetched (world_t *self, unsigned from)
{
    assert_int_equal (self->stores[1].stored.index, self->stores[from].now.info.index);
    assert_int_equal (self->stores[1].stored.term, self->stores[from].now.info.term);
    assert_true (self->stores[1].stored.fetched);
    assert_true (same (&self->stores[1].now.info, &self->stores[from].now.info));
    assert_int_equal (self->stores[1].part.info.index, 0);
}

static double bytes_sent (world_t *self, unsigned node)
{
    metric_t *metric = metrics_counter (simulator_metrics (self->sim, node),
                                        "nexus_snapshot_sent_bytes_total", "", NULL);
    return metric_value (metric);
}

/*  ---- fetching ------------------------------------------------------------------------------ */

/*  1 MB at 1 MiB/s. */
static void test_fetch (void **state)
{
    (void)state;
    world_t *self = world_new (1, "calm");
    give_copy (self, 0, 5000);
    self->stores[1].delay_ns = MS_TO_NS (300);
    self->offering = 0;
    run (self, 500);
    assert_int_equal (self->stores[1].begun, 1);
    assert_in_range (self->stores[1].have, 300000, 800000); /* not faster than allowed */
    run (self, 600);
    assert_int_equal (self->stores[1].stored_count, 0); /* there, but not durable yet */
    run (self, 500);
    assert_int_equal (self->stores[1].stored_count, 1);
    check_fetched (self, 0);
    /* Whom the leader tells that it has it: no more offers, no more traffic. */
    run (self, 2000);
    assert_int_equal (self->stores[1].stored_count, 1);
    assert_int_equal ((uint64_t)bytes_sent (self, 0), 1000003);
    world_destroy (&self);
}

/*  Whatever a network does to it, it arrives, and as it was. */
static void test_fetch_over_bad_networks (void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        world_t *self = world_new (seed, "swarm");
        simulator_set (self->sim, SIMULATOR_CRASH_INTERVAL_MS, seed % 2 ? 0 : 4000);
        give_copy (self, 0, 5000);
        give_copy (self, 2, 5000);
        self->offering = 0;
        run (self, 15000);
        self->offering = seed % 3 ? 0 : 2;
        run (self, 15000);
        simulator_calm (self->sim, 0);
        run (self, 15000);
        if (self->stores[1].stored.index != 5000)
            fail_msg ("seed %u: nothing arrived, %u begun", (unsigned)seed, self->stores[1].begun);
        assert_int_equal (self->stores[1].finished, 1);
        world_destroy (&self);
    }
}

/*  What is there isn't fetched again: after a crash of the one or the other. */
static void test_fetch_resumes (void **state)
{
    (void)state;
    for (unsigned victim = 0; victim < 2; victim++) {
        world_t *self = world_new (victim, "calm");
        give_copy (self, 0, 5000);
        self->offering = 0;
        run (self, 500);
        uint64_t have = self->stores[1].have;
        assert_in_range (have, 300000, 900000);
        simulator_crash (self->sim, victim);
        run (self, 3000);
        simulator_restart (self->sim, victim);
        run (self, 8000);
        check_fetched (self, 0);
        assert_int_equal (self->stores[1].begun, 1);
        assert_in_range (bytes_sent (self, 0), 0, 1400000);
        world_destroy (&self);
    }
}

/*  Another leader has another copy: what is there of the first one goes. */
static void test_leader_changes (void **state)
{
    (void)state;
    world_t *self = world_new (3, "calm");
    give_copy (self, 0, 5000);
    give_copy (self, 2, 5000); /* the same index, other bytes */
    self->offering = 0;
    run (self, 500);
    simulator_crash (self->sim, 0);
    self->offering = 2;
    run (self, 8000);
    check_fetched (self, 2);
    assert_int_equal (self->stores[1].begun, 2);
    assert_int_equal (self->stores[1].dropped, 1);
    world_destroy (&self);
    /* It has the same bytes, having fetched them itself: the fetch goes on. */
    self = world_new (4, "calm");
    give_copy (self, 0, 5000);
    self->stores[2].now =
        (copy_t){.info = self->stores[0].now.info, .bytes = malloc (self->stores[0].size)};
    memcpy (self->stores[2].now.bytes, self->stores[0].now.bytes, self->stores[0].size);
    self->offering = 0;
    run (self, 500);
    simulator_crash (self->sim, 0);
    self->offering = 2;
    run (self, 8000);
    check_fetched (self, 2);
    assert_int_equal (self->stores[1].begun, 1);
    world_destroy (&self);
}

/*  A leader that writes all the time makes no new copy under a reader, nor does it compact
    what that needs next; and if it has to, the reader still gets the old one. */
static void test_copy_is_kept_for_its_reader (void **state)
{
    (void)state;
    world_t *self = world_new (5, "calm");
    give_copy (self, 0, 5000);
    self->stores[0].size = 2000000;
    self->offering = 0;
    run (self, 300);
    apply (self, 0, 9000);
    run (self, 2000); /* fetched by now */
    assert_int_equal (self->stores[1].stored.index, 5000);
    assert_true (self->stores[0].compacted <= 5000);
    run (self, 25000);
    assert_int_equal (self->stores[0].made, 2); /* and now it is time for a new one */
    assert_int_equal (self->stores[0].now.info.index, 9000);
    world_destroy (&self);

    self = world_new (6, "calm");
    give_copy (self, 0, 5000);
    self->offering = 0;
    run (self, 300);
    apply (self, 0, 9000);
    self->stores[0].position.log_bytes = 100 << 20; /* the log is too large to wait */
    run (self, 900);
    assert_int_equal (self->stores[0].made, 2);
    /* It went on with the old one, and takes the new one next. */
    assert_int_equal (self->stores[1].stored.index, 5000);
    assert_int_equal (self->stores[1].finished, 1);
    assert_int_equal (self->stores[1].dropped, 0);
    world_destroy (&self);
}

static void test_fetch_failures (void **state)
{
    (void)state;
    world_t *self = world_new (7, "calm");
    give_copy (self, 0, 5000);
    self->offering = 0;
    self->stores[1].damaged = true;
    run (self, 3000);
    assert_int_equal (self->stores[1].stored_count, 0);
    assert_int_equal (self->stores[1].dropped, 1);
    run (self, 8000);
    check_fetched (self, 0);
    assert_int_equal (self->stores[1].begun, 2);
    /* A full disk: it rests, and goes on at the same byte when there is room. */
    apply (self, 0, 7000);
    send_to (self, 0, &snapshot_make_record, &(snapshot_make_t){0}, 77);
    run (self, 300);
    uint64_t have = self->stores[1].have;
    assert_true (have > 0);
    self->stores[1].refuse = true;
    run (self, 6000);
    assert_int_equal (self->stores[1].have, have);
    self->stores[1].refuse = false;
    run (self, 8000);
    check_fetched (self, 0);
    assert_int_equal (self->stores[1].begun, 3);
    world_destroy (&self);
}

/*  A master that leads, and lies. */
typedef struct {
    int kind;
} liar_t;

static int liar_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx, (void)error;
    ((liar_t *)state)->kind = *(const int *)args;
    return 0;
}

static void liar_receive (void *state, context_t *ctx, const message_t *message)
{
    liar_t *self = state;
    const snapshot_read_t *read = message_body (message, snapshot_read);
    static uint8_t bytes[65536];
    snapshot_info_t info = info_of (0, 5000, 300000);
    if (!read)
        return;
    snapshot_chunk_t chunk = {.index = info.index,
                              .term = info.term,
                              .size = info.size,
                              .hash = info.hash,
                              .offset = read->offset,
                              .data = {bytes, read->size}};
    switch (self->kind) {
    case 0: /* the wrong bytes */
        break;
    case 1: /* more than there is */
        chunk.data.size = read->size ? 65536 : 0;
        break;
    case 2: /* nothing, for ever */
        chunk.data.size = 0;
        break;
    case 3: /* another copy each time */
        chunk.hash.bytes[9] = (uint8_t)context_random (ctx);
        break;
    case 4: /* no copy at all */
        chunk.size = chunk.term = 0;
        break;
    case 5: /* an older one */
        chunk.index = 1;
        break;
    case 6: /* always the beginning */
        chunk.offset = 0;
        break;
    default: /* one byte at a time */
        chunk.data.size = read->size ? 1 : 0;
        break;
    }
    context_reply (ctx, message, &snapshot_chunk_record, &chunk);
}

static const behaviour_t liar_behaviour = {
    .name = "liar", .state_size = sizeof (liar_t), .start = liar_start, .receive = liar_receive};

static int liar_boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    return simulator_spawn (
        sim, node, &(child_t){.behaviour = &liar_behaviour, .name = "snapshots", .args = context},
        error);
}

/*  Nothing of it is believed, and it costs no endless work. */
static void test_liars (void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        world_t *self = world_new (8, "calm");
        record_key_t key = {{99}};
        simulator_add_node (self->sim, &(simulator_node_t){.name = "liar",
                                                           .key = key,
                                                           .role = ROLE_MASTER,
                                                           .boot = liar_boot,
                                                           .context = &kind});
        give_copy (self, 1, 100);
        for (int i = 0; i < 200; i++) {
            snapshot_fetch_t offer = {.from = key, .index = 5000, .term = 6};
            send_to (self, 1, &snapshot_fetch_record, &offer, 0);
            assert_int_not_equal (simulator_run (self->sim, MS_TO_NS (50), 3000, NULL, NULL),
                                  SIMULATOR_STEPS);
        }
        assert_int_equal (self->stores[1].finished, 0);
        assert_int_equal (self->stores[1].now.info.index, 100);
        world_destroy (&self);
    }
}

/*  ---- making copies, compacting ------------------------------------------------------------- */

static void test_making (void **state)
{
    (void)state;
    world_t *self = world_new (9, "calm");
    store_t *store = &self->stores[0];
    apply (self, 0, 999);
    run (self, 3000);
    assert_int_equal (store->made, 0);
    apply (self, 0, 1000);
    store->delay_ns = MS_TO_NS (2000);
    run (self, 1500);
    assert_int_equal (store->made, 1);
    assert_int_equal (store->stored_count, 0); /* it isn't durable yet ... */
    assert_int_equal (store->compacted, 0);    /* ... and nothing is dropped before */
    run (self, 4000);
    assert_int_equal (store->stored.index, 1000);
    assert_false (store->stored.fetched);
    assert_int_equal (store->compacted, 900); /* but for the window */
    /* A restart tells the election again, and makes none without a reason. */
    simulator_crash (self->sim, 0);
    simulator_restart (self->sim, 0);
    run (self, 3000);
    assert_int_equal (store->made, 1);
    assert_int_equal (store->stored_count, 2);
    /* Large entries: the log is too long in bytes, so the window shrinks. */
    apply (self, 0, 1400);
    store->position.log_bytes = 500 << 20;
    run (self, 5000);
    assert_int_equal (store->made, 2);
    assert_in_range (store->compacted, 1390, 1400);
    world_destroy (&self);
}

/*  A disk that is full: it is tried again later, and the log stays. */
static void test_making_fails (void **state)
{
    (void)state;
    world_t *self = world_new (10, "calm");
    store_t *store = &self->stores[0];
    store->refuse = true;
    apply (self, 0, 5000);
    run (self, 8000);
    assert_int_equal (store->made, 0);
    assert_int_equal (store->compacted, 0);
    store->refuse = false;
    run (self, 12000);
    assert_int_equal (store->made, 1);
    assert_int_equal (store->compacted, 4900);
    world_destroy (&self);
}

/*  The log begins somewhere, and the copy that explains it is lost: there is one at once. */
static void test_making_up_for_a_lost_copy (void **state)
{
    (void)state;
    world_t *self = world_new (11, "calm");
    store_t *store = &self->stores[0];
    apply (self, 0, 500);
    store->position.log_first = 400;
    run (self, 2000);
    assert_int_equal (store->made, 1);
    world_destroy (&self);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_fetch),
        cmocka_unit_test (test_fetch_over_bad_networks),
        cmocka_unit_test (test_fetch_resumes),
        cmocka_unit_test (test_leader_changes),
        cmocka_unit_test (test_copy_is_kept_for_its_reader),
        cmocka_unit_test (test_fetch_failures),
        cmocka_unit_test (test_liars),
        cmocka_unit_test (test_making),
        cmocka_unit_test (test_making_fails),
        cmocka_unit_test (test_making_up_for_a_lost_copy),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
