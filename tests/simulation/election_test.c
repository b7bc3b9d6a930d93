/*  election: whole clusters of it in the simulator, with everything that can go wrong

    Each master has an election, a log on a disk that forgets, a ledger that checks
    what it is given, and a client that proposes and reads. Checked all the time:
    - all ledgers get the same commands in the same order, and one that is there twice
      says so: ledgers would apply it once;
    - a term has one leader;
    - what was answered with proposed is there, at that index, forever; what was
      answered with NEXUS_UNAVAILABLE never is;
    - a read sees everything that was answered before it was asked (linearizable).
    In the end the faults cease, and all have to make progress and be equal.
*/
#include "actors/election/election_private.h"
#include "actors/protocol/command.h"
#include "actors/simulation/raft_log.h"
#include "runtime/simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MASTERS_MAX = 7, ENTRIES_MAX = 100000, TERMS_MAX = 100000 };

typedef enum { UNKNOWN, DONE_AT, REFUSED } outcome_t;

typedef struct cluster cluster_t;

typedef struct {
    cluster_t *cluster;
    unsigned node;
    uint64_t applied; /* survives a crash if the ledgers are durable */
    election_args_t args;
    simulated_log_t log;
} member_t;

struct cluster {
    simulator_t *sim;
    unsigned count;
    bool ledgers_durable;
    record_key_t keys[MASTERS_MAX];
    member_t masters[MASTERS_MAX];
    uint64_t truth[ENTRIES_MAX]; /* the command at an index; 0: a no-op */
    uint64_t truth_last;
    uint64_t leaders[TERMS_MAX];
    struct {
        outcome_t outcome;
        uint64_t index; /* where it is for the first time */
        uint64_t client, sequence;
    } commands[ENTRIES_MAX];
    uint64_t commands_last;
    uint64_t done_last; /* the highest index that a client was told */
    uint64_t done_count, refused_count, unknown_count, reads_count, repeated_count;
    char wrong[200]; /* the first broken invariant */
};

#define WRONG(cluster, ...)                                                      \
    do {                                                                         \
        if (!(cluster)->wrong[0])                                                \
            snprintf ((cluster)->wrong, sizeof ((cluster)->wrong), __VA_ARGS__); \
    } while (0)

/*  ---- the ledger: checks, and says what it has ------------------------------ */

typedef struct {
    member_t *master;
    uint64_t applied;
} fake_ledger_t;

static int s_ledger_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)ctx;
    (void)error;
    fake_ledger_t *self = state;
    self->master = (member_t *)args;
    self->applied = self->master->cluster->ledgers_durable ? self->master->applied : 0;
    return 0;
}

/*  Proposals are 8 bytes; relayed ones come in a once. */
static uint64_t s_command (const apply_entry_t *entry, once_t *once)
{
    uint64_t command = 0;
    arena_t arena;
    *once = (once_t){.command = entry->command};
    arena_init (&arena, 0, NULL, 0);
    if (entry->command.size > sizeof (command))
        assert_int_equal (record_decode (&once_record, entry->command.data + 2,
                                         entry->command.size - 2, &arena, once, NULL),
                          0);
    if (once->command.size == sizeof (command))
        memcpy (&command, once->command.data, sizeof (command));
    once->command = (record_bytes_t){NULL, 0};
    arena_reset (&arena);
    return command;
}

/*  An index that no ledger has had before. */
static void s_first_applied (cluster_t *cluster, uint64_t index, uint64_t command,
                             const once_t *once)
{
    assert_true (index < ENTRIES_MAX);
    cluster->truth_last = index;
    cluster->truth[index] = command;
    if (!command)
        return;
    if (cluster->commands[command].outcome == REFUSED)
        WRONG (cluster, "command %lu was refused and is there", (unsigned long)command);
    if (!cluster->commands[command].index) {
        cluster->commands[command].index = index;
        cluster->commands[command].client = once->client;
        cluster->commands[command].sequence = once->sequence;
        return;
    }
    cluster->repeated_count++;
    if (!once->client || cluster->commands[command].client != once->client ||
        cluster->commands[command].sequence != once->sequence)
        WRONG (cluster, "command %lu is at %lu and at %lu", (unsigned long)command,
               (unsigned long)cluster->commands[command].index, (unsigned long)index);
}

static void s_ledger_receive (void *state, context_t *ctx, const message_t *message)
{
    fake_ledger_t *self = state;
    cluster_t *cluster = self->master->cluster;
    const apply_t *apply = message_body (message, apply);
    if (!apply)
        return;
    applied_t applied = {0};
    applied.results.items = calloc (apply->entries.count + 1, sizeof (apply_result_t));
    for (size_t i = 0; i < apply->entries.count; i++) {
        const apply_entry_t *entry = &apply->entries.items[i];
        once_t once;
        uint64_t command = s_command (entry, &once);
        if (entry->index != self->applied + 1)
            WRONG (cluster, "master %u: index %lu after %lu", self->master->node,
                   (unsigned long)entry->index, (unsigned long)self->applied);
        if (entry->index > cluster->truth_last)
            s_first_applied (cluster, entry->index, command, &once);
        if (cluster->truth[entry->index] != command)
            WRONG (cluster, "master %u: another command at %lu", self->master->node,
                   (unsigned long)entry->index);
        self->applied = entry->index;
        applied.results.items[applied.results.count++] =
            (apply_result_t){.index = entry->index,
                             .code = command % 10 == 9 ? NEXUS_CONFLICT : NEXUS_OK,
                             .text = "text"};
    }
    applied.index = self->applied;
    self->master->applied = self->applied;
    context_send (ctx, &message->from, &applied_record, &applied);
    free (applied.results.items);
}

static const behaviour_t fake_ledger_behaviour = {
    .name = "ledger",
    .state_size = sizeof (fake_ledger_t),
    .start = s_ledger_start,
    .receive = s_ledger_receive,
};

/*  ---- the client: proposes and reads ---------------------------------------- */

enum { CLIENT_WAITING = 256 };

typedef struct {
    member_t *master;
    struct {
        uint64_t correlation;
        uint64_t command; /* 0: a read */
        uint64_t at_least;
    } waiting[CLIENT_WAITING];
    size_t waiting_count;
    leadership_t leadership;
} client_t;

static int s_client_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    client_t *self = state;
    self->master = (member_t *)args;
    address_t election = address_local ("election", 0);
    context_send (ctx, &election, &leadership_subscribe_record,
                  &(leadership_subscribe_t){.on = true});
    context_after (ctx, MS_TO_NS (10), 0);
    return 0;
}

static void s_client_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    (void)timer;
    (void)data;
    client_t *self = state;
    cluster_t *cluster = self->master->cluster;
    address_t election = address_local ("election", 0);
    for (uint64_t n = context_random (ctx) % 4; n > 0 && self->waiting_count < CLIENT_WAITING;
         n--) {
        bool read = context_random (ctx) % 4 == 0;
        uint64_t command = read ? 0 : ++cluster->commands_last;
        assert_true (cluster->commands_last < ENTRIES_MAX);
        propose_t propose = {.command = {(const uint8_t *)&command, sizeof (command)}};
        read_barrier_t barrier = {0};
        self->waiting[self->waiting_count].command = command;
        self->waiting[self->waiting_count].at_least = cluster->done_last;
        self->waiting[self->waiting_count++].correlation =
            read ? context_request (ctx, &election, &read_barrier_record, &barrier, 2000)
                 : context_request (ctx, &election, &propose_record, &propose, 2000);
    }
    context_after (ctx, MS_TO_NS (5 + context_random (ctx) % 200), 0);
}

static void s_client_proposed (cluster_t *cluster, uint64_t command, const message_t *message)
{
    const proposed_t *proposed = message_body (message, proposed);
    const failure_t *failure = message_body (message, failure);
    bool own = failure && failure->code == NEXUS_CONFLICT; /* the command's own: it is applied */
    if (proposed) {
        if (cluster->truth[proposed->index] != command)
            WRONG (cluster, "command %lu isn't at %lu", (unsigned long)command,
                   (unsigned long)proposed->index);
        cluster->commands[command].outcome = DONE_AT;
        if (cluster->done_last < proposed->index)
            cluster->done_last = proposed->index;
        cluster->done_count++;
    } else if (failure && failure->code == NEXUS_UNAVAILABLE) {
        for (uint64_t i = 1; i <= cluster->truth_last; i++)
            if (cluster->truth[i] == command)
                WRONG (cluster, "command %lu was refused (%s) but is at %lu",
                       (unsigned long)command, failure->text, (unsigned long)i);
        cluster->commands[command].outcome = REFUSED;
        cluster->refused_count++;
    } else if (own != (command % 10 == 9) && failure && failure->code != NEXUS_DEADLINE)
        WRONG (cluster, "command %lu failed with %lu (%s)", (unsigned long)command,
               (unsigned long)failure->code, failure->text);
    else
        cluster->unknown_count += !own;
}

static void s_client_receive (void *state, context_t *ctx, const message_t *message)
{
    (void)ctx;
    client_t *self = state;
    cluster_t *cluster = self->master->cluster;
    if (message_body (message, leadership))
        self->leadership = *message_body (message, leadership);
    if (!(message->flags & MESSAGE_REPLY))
        return;
    for (size_t i = 0; i < self->waiting_count; i++) {
        if (self->waiting[i].correlation != message->correlation)
            continue;
        const done_t *done = message_body (message, done);
        if (self->waiting[i].command)
            s_client_proposed (cluster, self->waiting[i].command, message);
        else if (done) {
            cluster->reads_count++;
            if (done->value < self->waiting[i].at_least)
                WRONG (cluster, "master %u read at %lu what was answered at %lu",
                       self->master->node, (unsigned long)done->value,
                       (unsigned long)self->waiting[i].at_least);
        }
        self->waiting[i] = self->waiting[--self->waiting_count];
        return;
    }
}

static const behaviour_t client_behaviour = {
    .name = "client",
    .state_size = sizeof (client_t),
    .start = s_client_start,
    .receive = s_client_receive,
    .timer = s_client_timer,
};

/*  ---- the cluster ------------------------------------------------------------ */

static int s_boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    member_t *master = context;
    simulated_log_init (&master->log, simulator_disk (sim, node), node + 1);
    master->args.log = simulated_log (&master->log);
    const child_t children[] = {
        {.behaviour = &simulated_log_behaviour, .name = "log", .args = &master->log.self},
        {.behaviour = &fake_ledger_behaviour, .name = "ledger", .args = master},
        {.behaviour = &election_behaviour, .name = "election", .args = &master->args},
        {.behaviour = &client_behaviour, .name = "client", .args = master},
    };
    for (size_t i = 0; i < sizeof (children) / sizeof (children[0]); i++)
        if (simulator_spawn (sim, node, &children[i], error))
            return -1;
    return 0;
}

static int s_observe (simulator_t *sim, void *context, nexus_error_t *error)
{
    cluster_t *cluster = context;
    for (unsigned node = 0; node < cluster->count; node++) {
        const election_t *election = simulator_state (sim, node, "election", 0);
        if (!election || !election->raft)
            continue;
        raft_soft_state_t soft = raft_soft_state (election->raft);
        if (soft.role != RAFT_LEADER)
            continue;
        if (soft.term >= TERMS_MAX)
            return nexus_error_set (error, NEXUS_INVALID, "too many terms");
        if (cluster->leaders[soft.term] && cluster->leaders[soft.term] != node + 1)
            WRONG (cluster, "two leaders in term %lu", (unsigned long)soft.term);
        cluster->leaders[soft.term] = node + 1;
    }
    if (cluster->wrong[0])
        return nexus_error_set (error, NEXUS_INVALID, "%s", cluster->wrong);
    return 0;
}

static cluster_t *s_cluster_new (unsigned count, uint64_t seed, const char *profile)
{
    static const char *const names[] = {"m1", "m2", "m3", "m4", "m5", "m6", "m7"};
    cluster_t *self = calloc (1, sizeof (cluster_t));
    assert_non_null (self);
    self->count = count;
    self->ledgers_durable = seed % 2;
    self->sim = simulator_new (seed, simulator_profile (profile));
    for (unsigned i = 0; i < count; i++) {
        memset (self->keys[i].bytes, (int)i + 1, 32);
        self->masters[i] = (member_t){.cluster = self,
                                      .node = i,
                                      .args = {.masters = self->keys,
                                               .masters_count = count,
                                               .election_ms = 300,
                                               .election_ms_min = 150,
                                               .election_ms_max = 10000}};
        simulator_node_t node = {.name = names[i],
                                 .key = self->keys[i],
                                 .role = ROLE_MASTER,
                                 .boot = s_boot,
                                 .context = &self->masters[i]};
        assert_int_equal (simulator_add_node (self->sim, &node), i);
    }
    simulator_observe (self->sim, s_observe, self);
    return self;
}

static void s_cluster_destroy (cluster_t **self_p)
{
    simulator_destroy (&(*self_p)->sim);
    free (*self_p);
    *self_p = NULL;
}

static void s_run (cluster_t *self, int64_t ms)
{
    if (simulator_run (self->sim, MS_TO_NS (ms), 0, NULL, NULL) == SIMULATOR_FAILED)
        fail_msg ("%s", simulator_error (self->sim));
}

static election_t *s_election (cluster_t *self, unsigned node)
{
    return simulator_state (self->sim, node, "election", 0);
}

/*  The node that leads, in the latest term; -1: none. */
static int s_leader (cluster_t *self)
{
    int leader = -1;
    uint64_t term = 0;
    for (unsigned node = 0; node < self->count; node++) {
        const election_t *election = s_election (self, node);
        if (!election || !election->raft)
            continue;
        raft_soft_state_t soft = raft_soft_state (election->raft);
        if (soft.role == RAFT_LEADER && soft.term > term) {
            leader = (int)node;
            term = soft.term;
        }
    }
    return leader;
}

static void test_calm (void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 5; count += 2) {
        cluster_t *cluster = s_cluster_new (count, count, "calm");
        s_run (cluster, 10000);
        int leader = s_leader (cluster);
        assert_true (leader >= 0);
        for (unsigned node = 0; node < count; node++) {
            const client_t *client = simulator_state (cluster->sim, node, "client", 0);
            assert_memory_equal (&client->leadership.leader, &cluster->keys[leader], 32);
            assert_int_equal (client->leadership.leading, node == (unsigned)leader);
            assert_int_equal (s_election (cluster, node)->status.anomalies, 0);
        }
        assert_true (cluster->done_count > 50);
        assert_true (cluster->reads_count > 15);
        assert_int_equal (cluster->unknown_count, 0);
        s_cluster_destroy (&cluster);
    }
}

static void test_transfer (void **state)
{
    (void)state;
    cluster_t *cluster = s_cluster_new (3, 6, "calm");
    s_run (cluster, 3000);
    int leader = s_leader (cluster);
    unsigned to = (unsigned)(leader + 1) % 3;
    leadership_transfer_t transfer = {.to = cluster->keys[to]};
    address_t election = address_local ("election", 0), test = address_local ("test", 0);
    message_t *message =
        message_new (&leadership_transfer_record, &transfer, NULL, &election, &test);
    simulator_inject (cluster->sim, (unsigned)leader, ROLE_LOCAL, &message);
    s_run (cluster, 100);
    assert_int_equal (s_leader (cluster), to);
    s_cluster_destroy (&cluster);
}

enum { PRESSED = 80 };

typedef struct {
    unsigned answers[PRESSED + 1]; /* by correlation */
    unsigned done, busy, retry, unknown;
} pressed_t;

static bool s_note_answer (void *context, unsigned node, message_t *message)
{
    pressed_t *self = context;
    (void)node;
    const failure_t *failure = message_body (message, failure);
    if (strcmp (message->to.actor, "test") != 0 || message->correlation > PRESSED)
        return false;
    self->answers[message->correlation]++;
    self->done += message_body (message, proposed) != NULL;
    if (failure && failure->code == NEXUS_DEADLINE)
        self->unknown++;
    else if (failure && strstr (failure->text, "too much waits"))
        self->busy++;
    else if (failure && failure->code == NEXUS_UNAVAILABLE)
        self->retry++;
    return true;
}

/*  A leader whose followers don't answer takes no more than fits into its limit; whoever comes then
    is told to retry, at once, and everybody is answered once in the end. */
static void test_back_pressure (void **state)
{
    (void)state;
    pressed_t pressed = {0};
    simulator_outside_t outside = {.message = s_note_answer};
    cluster_t *cluster = s_cluster_new (3, 5, "calm");
    simulator_set_outside (cluster->sim, &outside, &pressed);
    s_run (cluster, 3000);
    unsigned leader = (unsigned)s_leader (cluster);
    uint8_t *bytes = calloc (1, 1 << 20);
    assert_non_null (bytes);
    simulator_partition (cluster->sim, SIMULATOR_NODE (leader),
                         SIMULATOR_ALL & ~SIMULATOR_NODE (leader), false);
    for (uint64_t i = 1; i <= PRESSED; i++) {
        address_t election = address_local ("election", 0), test = address_local ("test", 0);
        propose_t propose = {.command = {bytes, 1 << 20}};
        message_t *message = message_new (&propose_record, &propose, NULL, &election, &test);
        message->flags |= MESSAGE_REQUEST;
        message->correlation = i;
        simulator_inject (cluster->sim, leader, ROLE_LOCAL, &message);
    }
    s_run (cluster, 20);
    assert_in_range (pressed.busy, PRESSED - 64, PRESSED - 62); /* 64 MiB */
    assert_int_equal (pressed.done + pressed.retry + pressed.unknown, 0);
    s_run (cluster, 3000);
    simulator_heal (cluster->sim);
    s_run (cluster, 10000);
    for (uint64_t i = 1; i <= PRESSED; i++)
        assert_int_equal (pressed.answers[i], 1);
    assert_int_equal (pressed.done + pressed.retry + pressed.unknown + pressed.busy, PRESSED);
    free (bytes);
    s_cluster_destroy (&cluster);
}

static bool s_led (simulator_t *sim, void *context)
{
    cluster_t *cluster = context;
    (void)sim;
    int leader = s_leader (cluster);
    return leader >= 0 && s_election (cluster, (unsigned)leader)->status.settled;
}

static uint64_t s_term (cluster_t *self)
{
    return s_election (self, (unsigned)s_leader (self))->status.hard.term;
}

/*  Its leader dies; how long it takes until the next one leads, and has applied everything. */
static int64_t s_failover_ms (cluster_t *self)
{
    int leader = s_leader (self);
    assert_true (leader >= 0);
    int64_t begun = simulator_now (self->sim);
    simulator_crash (self->sim, (unsigned)leader);
    if (simulator_run (self->sim, MS_TO_NS (60000), 0, s_led, self) != SIMULATOR_REACHED)
        fail_msg ("no leader after a crash: %s", simulator_error (self->sim));
    int64_t took_ms = NS_TO_MS (simulator_now (self->sim) - begun);
    simulator_restart (self->sim, (unsigned)leader);
    return took_ms;
}

typedef struct {
    double delay_ms, jitter_ms, loss, flush_ms;
} network_t;

static cluster_t *s_quiet_new (unsigned count, uint64_t seed, const network_t *network)
{
    cluster_t *cluster = s_cluster_new (count, seed, "calm");
    simulator_set (cluster->sim, SIMULATOR_DELAY_MS, network->delay_ms);
    simulator_set (cluster->sim, SIMULATOR_JITTER_MS, network->jitter_ms);
    simulator_set (cluster->sim, SIMULATOR_LOSS, network->loss);
    simulator_set (cluster->sim, SIMULATOR_FLUSH_MS, network->flush_ms);
    return cluster;
}

static int s_compare (const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/*  The same configuration on any network and disk: once it has measured them, nobody loses
    leadership as long as nothing dies, and when somebody does, the next one leads soon. Nobody
    hears that a connection broke here: a whole machine is gone. */
static void s_failovers (unsigned count, const network_t *network, int64_t median_ms,
                         int64_t worst_ms)
{
    int64_t took_ms[40];
    size_t taken = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        cluster_t *cluster = s_quiet_new (count, seed, network);
        s_run (cluster, 20000);
        for (int i = 0; i < 5; i++) {
            uint64_t term = s_term (cluster);
            s_run (cluster, 30000);
            if (s_term (cluster) != term)
                fail_msg ("seed %lu: a needless election", (unsigned long)seed);
            took_ms[taken++] = s_failover_ms (cluster);
            s_run (cluster, 5000);
        }
        s_cluster_destroy (&cluster);
    }
    qsort (took_ms, taken, sizeof (took_ms[0]), s_compare);
    if (getenv ("VERBOSE"))
        print_message ("delay %g ms, loss %g, flush %g ms: median %ld ms, worst %ld ms\n",
                       network->delay_ms, network->loss, network->flush_ms,
                       (long)took_ms[taken / 2], (long)took_ms[taken - 1]);
    assert_in_range (took_ms[taken / 2], 1, median_ms);
    assert_in_range (took_ms[taken - 1], 1, worst_ms);
}

static void test_failover_lan (void **state)
{
    (void)state;
    s_failovers (3, &(network_t){.delay_ms = 0.3, .jitter_ms = 0.2, .flush_ms = 1}, 300, 600);
}

static void test_failover_slow_disks (void **state)
{
    (void)state;
    s_failovers (3, &(network_t){.delay_ms = 0.3, .jitter_ms = 0.2, .flush_ms = 50}, 600, 1500);
}

static void test_failover_wan (void **state)
{
    (void)state;
    s_failovers (5, &(network_t){.delay_ms = 100, .jitter_ms = 30, .loss = 0.05, .flush_ms = 5},
                 2500, 6000);
}

static bool s_equal (simulator_t *sim, void *context)
{
    cluster_t *cluster = context;
    (void)sim;
    for (unsigned node = 0; node < cluster->count; node++)
        if (cluster->masters[node].applied != cluster->truth_last)
            return false;
    return true;
}

static void s_history (uint64_t seed, unsigned count, const char *profile, int64_t ms)
{
    cluster_t *cluster = s_cluster_new (count, seed, profile);
    s_run (cluster, ms);
    simulator_calm (cluster->sim, 0);
    s_run (cluster, 20000);
    int leader = s_leader (cluster);
    if (leader < 0)
        fail_msg ("seed %lu: no leader after healing", (unsigned long)seed);
    uint64_t done = cluster->done_count;
    s_run (cluster, 3000);
    if (cluster->done_count <= done + 5)
        fail_msg ("seed %lu: no progress after healing", (unsigned long)seed);
    for (unsigned node = 0; node < count; node++)
        simulator_stop (cluster->sim, node, "client", 0);
    if (simulator_run (cluster->sim, MS_TO_NS (10000), 0, s_equal, cluster) != SIMULATOR_REACHED)
        fail_msg ("seed %lu: the ledgers don't become equal: %s", (unsigned long)seed,
                  simulator_error (cluster->sim));
    for (unsigned node = 0; node < count; node++)
        assert_int_equal (s_election (cluster, node)->status.anomalies, 0);
    if (getenv ("VERBOSE"))
        print_message ("%s seed %lu: term %lu, %lu done, %lu refused, %lu unknown, %lu reads\n",
                       profile, (unsigned long)seed,
                       (unsigned long)s_election (cluster, (unsigned)leader)->status.hard.term,
                       (unsigned long)cluster->done_count, (unsigned long)cluster->refused_count,
                       (unsigned long)cluster->unknown_count, (unsigned long)cluster->reads_count);
    s_cluster_destroy (&cluster);
}

static void test_histories (void **state)
{
    static const char *const profiles[] = {"lan", "wan", "swarm", "swarm"};
    (void)state;
    const char *from = getenv ("SEED"), *count = getenv ("SEEDS");
    uint64_t seed = from ? strtoull (from, NULL, 10) : 1;
    uint64_t end = seed + (count ? strtoull (count, NULL, 10) : from ? 1 : 16);
    for (; seed < end; seed++)
        s_history (seed, 3 + 2 * (unsigned)(seed / 4 % 2), profiles[seed % 4], 60000);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_calm),
        cmocka_unit_test (test_transfer),
        cmocka_unit_test (test_back_pressure),
        cmocka_unit_test (test_failover_lan),
        cmocka_unit_test (test_failover_slow_disks),
        cmocka_unit_test (test_failover_wan),
        cmocka_unit_test (test_histories),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
