/*  admission: masters that lose their disks, from the cluster's first millisecond on

    Each history founds a cluster of masters with real ledgers and logs on simulated
    disks, lets a minority of them lose their disks for good at some moment (and come
    back empty, under the same key), and proposes all the while. At every step:
    - a term has one leader;
    - what is committed at an index is the same everywhere, and stays so;
    - a command that was acknowledged is committed.
    In the end those who lost nothing agree and go on; the others are refused, or were there
    before anything was decided and have become founders with their new disks.
*/
#include "actors/election/election_private.h"
#include "actors/election/raft_core.h"
#include "actors/ledger/ledger.h"
#include "actors/node/node.h"
#include "actors/protocol/command.h"
#include "actors/simulation/raft_log.h"
#include "runtime/random.h"
#include "runtime/simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { NODES_MAX = 5, TERMS_MAX = 5000, ENTRIES_MAX = 5000 };

typedef struct cluster cluster_t;

typedef struct {
    void *self; /* a behaviour's args are const */
    cluster_t *cluster;
    unsigned number;
    simulated_log_t log;
    tables_t *tables;
    ledger_args_t ledger;
    election_args_t election;
    child_t children[4];
    node_args_t node;
    bool wiped;
    uint64_t commit_seen;
} machine_t;

struct cluster {
    simulator_t *sim;
    random_t random;
    unsigned count;
    record_key_t keys[NODES_MAX];
    char names[NODES_MAX][16];
    master_t records[NODES_MAX];
    machine_t machines[NODES_MAX];
    unsigned leaders[TERMS_MAX]; /* number + 1 */
    uint64_t terms[ENTRIES_MAX]; /* of the committed entries */
    uint64_t committed_last;
    uint64_t acknowledged;
    char wrong[200];
};

#define WRONG(cluster, ...)                                                      \
    do {                                                                         \
        if (!(cluster)->wrong[0])                                                \
            snprintf ((cluster)->wrong, sizeof ((cluster)->wrong), __VA_ARGS__); \
    } while (0)

/*  ---- a client that proposes ------------------------------------------------ */

typedef struct {
    machine_t *machine;
    uint64_t number;
} client_t;

static int client_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    ((client_t *)state)->machine = *(machine_t *const *)args;
    context_after (ctx, MS_TO_NS (5), 0);
    return 0;
}

static void client_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer, (void)data;
    client_t *self = state;
    address_t to = address_local ("election", 0);
    uint8_t value = (uint8_t)self->number++;
    kv_put_t put = {.key = "key", .value = {&value, 1}};
    buffer_t bytes = {0};
    command_encode (&kv_put_record, &put, &bytes);
    propose_t propose = {.command = {bytes.data, bytes.size}};
    context_request (ctx, &to, &propose_record, &propose, 3000);
    buffer_free (&bytes);
    context_after (ctx, MS_TO_NS (10 + (int64_t)(context_random (ctx) % 60)), 0);
}

static void client_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)ctx;
    cluster_t *cluster = ((client_t *)state)->machine->cluster;
    const proposed_t *proposed = message_body (message, proposed);
    if (!proposed)
        return;
    cluster->acknowledged++;
    if (proposed->index > cluster->committed_last)
        WRONG (cluster, "%lu was acknowledged and is not committed",
               (unsigned long)proposed->index);
}

static const behaviour_t client_behaviour = {
    .name = "client",
    .state_size = sizeof (client_t),
    .start = client_start,
    .receive = client_receive,
    .timer = client_timer,
};

/*  ---- the machines ------------------------------------------------------------ */

static int boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    machine_t *self = context;
    cluster_t *cluster = self->cluster;
    self->commit_seen = 0;
    self->ledger = (ledger_args_t){.tables = self->tables};
    self->election = (election_args_t){.masters = cluster->keys,
                                       .records = cluster->records,
                                       .masters_count = cluster->count,
                                       .election_ms = 300,
                                       .election_ms_min = 150,
                                       .election_ms_max = 10000,
                                       .log = simulated_log (&self->log)};
    const child_t children[] = {
        {.behaviour = &simulated_log_behaviour, .name = "log", .args = &self->log.self},
        {.behaviour = &ledger_behaviour, .name = "ledger", .args = &self->ledger},
        {.behaviour = &election_behaviour, .name = "election", .args = &self->election},
        {.behaviour = &client_behaviour, .name = "client", .args = &self->self},
    };
    memcpy (self->children, children, sizeof children);
    self->node = (node_args_t){.children = self->children, .count = 4};
    child_t root = {.behaviour = &node_behaviour, .name = "node", .args = &self->node};
    return simulator_spawn (sim, node, &root, error);
}

static void open_empty (machine_t *self)
{
    if (self->tables)
        tables_close (&self->tables);
    self->tables = tables_open_memory (ledger_table_names, LEDGER_TABLES);
    assert_non_null (self->tables);
}

static const election_t *election_of (const cluster_t *self, unsigned node)
{
    const election_t *election = simulator_state (self->sim, node, "election", 0);
    return election && election->raft ? election : NULL;
}

static void check_node (cluster_t *self, unsigned node)
{
    machine_t *machine = &self->machines[node];
    const election_t *election = election_of (self, node);
    if (!election)
        return;
    raft_status_t status;
    raft_status (election->raft, &status);
    if (status.soft.role == RAFT_LEADER) {
        assert_true (status.soft.term < TERMS_MAX);
        unsigned *leader = &self->leaders[status.soft.term];
        if (*leader && *leader != node + 1)
            WRONG (self, "two leaders in term %lu", (unsigned long)status.soft.term);
        *leader = node + 1;
    }
    for (uint64_t i = machine->commit_seen + 1; i <= status.hard.commit; i++) {
        uint64_t term = raft_journal_term (&election->raft->journal, i);
        assert_true (i < ENTRIES_MAX && term > 0);
        if (i > self->committed_last)
            self->committed_last = i;
        if (self->terms[i] && self->terms[i] != term)
            WRONG (self, "entry %lu was committed twice: in term %lu, and in %lu by %s",
                   (unsigned long)i, (unsigned long)self->terms[i], (unsigned long)term,
                   self->names[node]);
        self->terms[i] = term;
    }
    machine->commit_seen = status.hard.commit;
}

static int observe (simulator_t *sim, void *context, nexus_error_t *error)
{
    (void)sim;
    cluster_t *self = context;
    for (unsigned node = 0; node < self->count; node++)
        check_node (self, node);
    return self->wrong[0] ? nexus_error_set (error, NEXUS_INVALID, "%s", self->wrong) : 0;
}

static cluster_t *cluster_new (uint64_t seed, unsigned count)
{
    cluster_t *self = calloc (1, sizeof *self);
    assert_non_null (self);
    self->count = count;
    self->sim = simulator_new (seed, simulator_profile ("lan"));
    random_seed (&self->random, seed);
    simulator_set (self->sim, SIMULATOR_LOSS, (double)(seed % 4) * 0.05);
    simulator_set (self->sim, SIMULATOR_FLUSH_MS, (double)(seed % 3) * 4);
    simulator_set (self->sim, SIMULATOR_CRASH_INTERVAL_MS, 0);
    for (unsigned i = 0; i < count; i++) {
        machine_t *machine = &self->machines[i];
        snprintf (self->names[i], sizeof self->names[i], "m%u", i + 1);
        memset (self->keys[i].bytes, (int)i + 1, 32);
        self->records[i] = (master_t){.key = self->keys[i], .name = self->names[i]};
        machine->self = machine;
        machine->cluster = self;
        machine->number = i;
        open_empty (machine);
        simulator_node_t node = {.name = self->names[i],
                                 .key = self->keys[i],
                                 .role = ROLE_MASTER,
                                 .boot = boot,
                                 .context = machine};
        assert_int_equal (simulator_add_node (self->sim, &node), i);
        simulated_log_init (&machine->log, simulator_disk (self->sim, i), i + 1);
    }
    simulator_observe (self->sim, observe, self);
    return self;
}

static void cluster_destroy (cluster_t **self_p)
{
    simulator_destroy (&(*self_p)->sim);
    for (unsigned i = 0; i < (*self_p)->count; i++)
        tables_close (&(*self_p)->machines[i].tables);
    free (*self_p);
    *self_p = NULL;
}

static void run (cluster_t *self, int64_t us)
{
    if (simulator_run (self->sim, us * 1000, 0, NULL, NULL) == SIMULATOR_FAILED)
        fail_msg ("%s", simulator_error (self->sim));
}

static void lose_disk (cluster_t *self, unsigned node)
{
    machine_t *machine = &self->machines[node];
    simulator_crash (self->sim, node);
    simulated_log_wipe (&machine->log, random_next (&self->random));
    open_empty (machine);
    machine->wiped = true;
    simulator_restart (self->sim, node);
}

static uint64_t below (cluster_t *self, uint64_t n)
{
    return random_below (&self->random, n);
}

/*  ---- histories --------------------------------------------------------------- */

static void cut_one (cluster_t *self)
{
    uint64_t one = SIMULATOR_NODE (below (self, self->count));
    simulator_partition (self->sim, one, SIMULATOR_ALL & ~one, below (self, 4) == 0);
}

static void check_end (cluster_t *self, uint64_t seed)
{
    unsigned leaders = 0, refused = 0;
    for (unsigned i = 0; i < self->count; i++) {
        const election_t *election = election_of (self, i);
        assert_non_null (election);
        uint64_t recorded = election_on_record (election, &self->keys[i]);
        leaders += raft_soft_state (election->raft).role == RAFT_LEADER;
        refused += election->refused_as != 0;
        if (election->refused_as ? !self->machines[i].wiped : recorded != election->incarnation)
            fail_msg ("seed %lu: m%u has log %lx, on record %lx, refused as %lx",
                      (unsigned long)seed, i + 1, (unsigned long)election->incarnation,
                      (unsigned long)recorded, (unsigned long)election->refused_as);
    }
    if (leaders != 1)
        fail_msg ("seed %lu: %u leaders, %u refused", (unsigned long)seed, leaders, refused);
}

static void history (uint64_t seed)
{
    cluster_t *self = cluster_new (seed, seed % 3 ? 3 : 5);
    unsigned wipes = (self->count - 1) / 2;
    for (int step = 0; step < 40; step++) {
        unsigned node = (unsigned)below (self, self->count);
        /* Most of it happens while the cluster is being founded. */
        run (self, (int64_t)below (self, seed % 2 ? 40000 : 250000));
        switch (below (self, 8)) {
        case 0:
            cut_one (self);
            break;
        case 1:
        case 2:
            simulator_heal (self->sim);
            break;
        case 3:
            if (simulator_is_up (self->sim, node))
                simulator_crash (self->sim, node);
            break;
        case 4:
        case 5:
            if (!simulator_is_up (self->sim, node))
                simulator_restart (self->sim, node);
            break;
        case 6:
            if (wipes && simulator_is_up (self->sim, node)) {
                /* Worst, if somebody who knows what it promised is away then. */
                if (below (self, 2))
                    cut_one (self);
                lose_disk (self, node);
                wipes--;
            }
            break;
        default:
            break;
        }
    }
    simulator_calm (self->sim, 0);
    uint64_t before = self->acknowledged;
    run (self, 15000000);
    if (self->acknowledged <= before + 10)
        fail_msg ("seed %lu: nothing is acknowledged any more", (unsigned long)seed);
    check_end (self, seed);
    cluster_destroy (&self);
}

static void test_histories (void **state)
{
    (void)state;
    const char *from = getenv ("ADMISSION_SEED"), *count = getenv ("ADMISSION_SEEDS");
    uint64_t seed = from ? strtoull (from, NULL, 10) : 1;
    uint64_t end = seed + (count ? strtoull (count, NULL, 10) : from ? 1 : 40);
    for (; seed < end; seed++)
        history (seed);
}

/*  The founding waits for all; then it takes no longer than an election does. */
static void test_founding_needs_all (void **state)
{
    (void)state;
    cluster_t *self = cluster_new (7, 3);
    simulator_partition (self->sim, SIMULATOR_NODE (2), SIMULATOR_ALL & ~SIMULATOR_NODE (2), false);
    run (self, 5000000);
    assert_int_equal (self->committed_last, 0);
    assert_int_equal (self->acknowledged, 0);
    simulator_heal (self->sim);
    run (self, 5000000);
    assert_true (self->acknowledged > 10);
    const election_t *election = election_of (self, 0);
    assert_int_equal (election->conf.index, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal (election_on_record (election, &self->keys[i]),
                          election_of (self, i)->incarnation);
    simulator_crash (self->sim, 1); /* from now on a majority will do */
    uint64_t before = self->acknowledged;
    run (self, 5000000);
    assert_true (self->acknowledged > before + 10);
    cluster_destroy (&self);
}

/*  One of three loses its disk and is refused by both others; with one of them it makes no
    majority, so nothing is decided when the other is away. */
static void test_replaced_disk_decides_nothing (void **state)
{
    (void)state;
    cluster_t *self = cluster_new (11, 3);
    run (self, 3000000);
    assert_true (self->acknowledged > 10);
    lose_disk (self, 0);
    simulator_crash (self->sim, 1);
    uint64_t last = self->committed_last;
    run (self, 10000000);
    assert_int_equal (self->committed_last, last);
    const election_t *replaced = election_of (self, 0), *other = election_of (self, 2);
    assert_int_equal (raft_soft_state (replaced->raft).leader, 0);
    assert_true (other->refusals > 0);
    simulator_restart (self->sim, 1);
    run (self, 5000000);
    assert_int_equal (replaced->refused_as, election_on_record (other, &self->keys[0]));
    assert_int_not_equal (replaced->refused_as, replaced->incarnation);
    assert_true (self->committed_last > last);
    cluster_destroy (&self);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_founding_needs_all),
        cmocka_unit_test (test_replaced_disk_decides_nothing),
        cmocka_unit_test (test_histories),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
