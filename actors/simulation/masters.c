/*  masters - the masters' world: see the header. */
#include "actors/simulation/masters_private.h"

#include "actors/election/election_private.h"
#include "actors/election/raft_core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ELECTION_MS = 300, ELECTION_MS_MIN = 150, ELECTION_MS_MAX = 10000, REST_MS = 60000 };

void masters_wrong (masters_t *self, const char *format, ...)
{
    if (self->wrong)
        return;
    self->wrong = true;
    char text[400];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    nexus_error_set (&self->error, NEXUS_CORRUPT, "%s", text);
}

machine_t *masters_machine (masters_t *self, const record_key_t *key)
{
    for (unsigned i = 0; i < self->options.masters; i++)
        if (memcmp (&self->keys[i], key, sizeof *key) == 0)
            return &self->machines[i];
    return NULL;
}

/*  ---- machines ------------------------------------------------------------------------ */

static void compose (machine_t *self)
{
    masters_t *world = self->world;
    self->ledger = (ledger_args_t){.tables = self->tables};
    self->election = (election_args_t){.masters = world->keys,
                                       .masters_count = world->options.masters,
                                       .election_ms = ELECTION_MS,
                                       .election_ms_min = ELECTION_MS_MIN,
                                       .election_ms_max = ELECTION_MS_MAX,
                                       .log = simulated_log (&self->log)};
    const child_t children[] = {
        {.behaviour = &simulated_log_behaviour, .name = "log", .args = &self->log.self},
        {.behaviour = &ledger_behaviour, .name = "ledger", .args = &self->ledger},
        {.behaviour = &election_behaviour, .name = "election", .args = &self->election},
    };
    memcpy (self->children, children, sizeof children);
    self->node = (node_args_t){.children = self->children, .count = 3};
}

static tables_t *open_tables (void)
{
    tables_t *tables = tables_open_memory (ledger_table_names, LEDGER_TABLES);
    assert (tables);
    return tables;
}

static int boot (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    machine_t *self = context;
    masters_t *world = self->world;
    (void)node;
    /* The ledger can be had again from the log: sometimes it has to be. */
    if (self->boots++ && random_below (&world->random, 4) == 0) {
        tables_close (&self->tables);
        self->tables = open_tables ();
    }
    world->boots++;
    masters_check_boot (world, self);
    compose (self);
    child_t root = {.behaviour = &node_behaviour, .name = "node", .args = &self->node};
    return simulator_spawn (sim, self->number, &root, error);
}

record_key_t masters_new_key (masters_t *self)
{
    record_key_t key;
    for (size_t i = 0; i < sizeof key.bytes; i++)
        key.bytes[i] = (uint8_t)random_next (&self->random);
    return key;
}

static void add_machines (masters_t *self)
{
    for (unsigned i = 0; i < self->options.masters; i++) {
        machine_t *machine = &self->machines[i];
        *machine = (machine_t){.self = machine, .world = self, .number = i};
        machine->tables = open_tables ();
        snprintf (machine->name, sizeof machine->name, "m%u", i + 1);
        self->keys[i] = masters_new_key (self);
        simulator_add_node (self->sim, &(simulator_node_t){.name = machine->name,
                                                           .key = self->keys[i],
                                                           .role = ROLE_MASTER,
                                                           .boot = boot,
                                                           .context = machine});
        simulated_log_init (&machine->log, simulator_disk (self->sim, i));
    }
}

/*  ---- steps ------------------------------------------------------------------------------ */

static void watch (simulator_t *sim, void *context, unsigned node, bool received,
                   const message_t *message)
{
    (void)sim;
    masters_t *self = context;
    machine_t *machine = node < self->options.masters ? &self->machines[node] : NULL;
    if (machine && !received)
        masters_check_sent (self, machine, message);
    if (self->options.trace)
        masters_trace_message (self, machine, received, message);
}

static int observe (simulator_t *sim, void *context, nexus_error_t *error)
{
    masters_t *self = context;
    unsigned node = simulator_last_node (sim);
    const char *actor = simulator_last_actor (sim)->actor;
    machine_t *machine = node < self->options.masters ? &self->machines[node] : NULL;
    if (machine)
        masters_check_turn (self, machine, actor);
    if (self->options.trace)
        masters_trace_turn (self, machine, actor);
    if (!self->wrong)
        return 0;
    *error = self->error;
    return -1;
}

/*  ---- rest ------------------------------------------------------------------------------- */

static const raft_t *raft_of (const masters_t *self, unsigned number)
{
    const election_t *election = simulator_state (self->sim, number, "election", 0);
    return election && !election->failed ? election->raft : NULL;
}

/*  A leader, and everybody who is up where it is, with nothing left to do. */
static bool at_rest (simulator_t *sim, void *context)
{
    masters_t *self = context;
    const raft_t *leader = NULL;
    for (unsigned i = 0; i < self->options.masters; i++) {
        const raft_t *raft = simulator_is_up (sim, i) ? raft_of (self, i) : NULL;
        if (raft && raft->role == RAFT_LEADER && (!leader || raft->term > leader->term))
            leader = raft;
    }
    if (!leader || leader->journal.applied != raft_journal_last (&leader->journal) ||
        self->done + self->refused + self->unknown < self->started)
        return false;
    for (unsigned i = 0; i < self->options.masters; i++) {
        const raft_t *raft = raft_of (self, i);
        if (simulator_is_up (sim, i) &&
            (!raft || raft->journal.applied != leader->journal.applied ||
             raft->term != leader->term || raft->leader != leader->config.id))
            return false;
    }
    return true;
}

static void describe (const masters_t *self, char *text, size_t size)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate", "leader"};
    size_t used = (size_t)snprintf (
        text, size, "%llu requests open",
        (unsigned long long)(self->started - self->done - self->refused - self->unknown));
    for (unsigned i = 0; i < self->options.masters && used < size; i++) {
        const raft_t *raft = raft_of (self, i);
        if (!simulator_is_up (self->sim, i) || !raft)
            used +=
                (size_t)snprintf (text + used, size - used, "; %s %s", self->machines[i].name,
                                  simulator_is_up (self->sim, i) ? "does not take part" : "down");
        else
            used += (size_t)snprintf (
                text + used, size - used, "; %s %s term %llu last %llu applied %llu",
                self->machines[i].name, roles[raft->role], (unsigned long long)raft->term,
                (unsigned long long)raft_journal_last (&raft->journal),
                (unsigned long long)raft->journal.applied);
    }
}

/*  A minority may stay down. */
static uint64_t draw_dead (masters_t *self)
{
    uint64_t dead = 0;
    unsigned count = (unsigned)random_below (&self->random, (self->options.masters + 1) / 2);
    while (count--)
        dead |= SIMULATOR_NODE (random_below (&self->random, self->options.masters));
    return dead;
}

static int fail_with (masters_t *self, nexus_error_t *error, const char *text)
{
    return nexus_error_set (error, NEXUS_CORRUPT, "step %llu, %.6f s: %s",
                            (unsigned long long)simulator_steps (self->sim),
                            (double)simulator_now (self->sim) / 1e9, text);
}

static int run (masters_t *self, nexus_error_t *error)
{
    simulator_result_t result = SIMULATOR_TIME;
    masters_faults_begin (self);
    while (simulator_steps (self->sim) < self->options.steps && result != SIMULATOR_FAILED)
        result = simulator_run (self->sim, masters_faults_next (self),
                                self->options.steps - simulator_steps (self->sim), NULL, NULL);
    if (result != SIMULATOR_FAILED) {
        self->calm = true;
        masters_faults_end (self);
        simulator_calm (self->sim, draw_dead (self));
        result =
            simulator_run (self->sim, MS_TO_NS (REST_MS + 10 * ELECTION_MS_MAX), 0, at_rest, self);
    }
    if (result == SIMULATOR_FAILED)
        return nexus_error_set (error, NEXUS_CORRUPT, "%s", simulator_error (self->sim));
    char text[400];
    describe (self, text, sizeof text);
    if (result != SIMULATOR_REACHED) {
        char whole[480];
        snprintf (whole, sizeof whole, "not at rest after the faults: %s", text);
        return fail_with (self, error, whole);
    }
    return masters_judge (self, error);
}

/*  ---- the whole --------------------------------------------------------------------------- */

static void fill_report (const masters_t *self, masters_report_t *report)
{
    *report = (masters_report_t){
        .digest = simulator_digest (self->sim),
        .steps = simulator_steps (self->sim),
        .virtual_ms = NS_TO_MS (simulator_now (self->sim)),
        .terms = self->terms,
        .entries = self->committed,
        .restarts = self->boots > self->options.masters ? self->boots - self->options.masters : 0,
        .done = self->done,
        .refused = self->refused,
        .unknown = self->unknown};
}

static void destroy (masters_t *self)
{
    simulator_destroy (&self->sim);
    for (unsigned i = 0; i < self->options.masters; i++)
        tables_close (&self->machines[i].tables);
    history_destroy (&self->history);
    free (self->stale);
    free (self->truth);
    free (self->seen);
    free (self->leaders);
    free (self);
}

static int check_options (masters_options_t *options, nexus_error_t *error)
{
    options->masters = options->masters ? options->masters : 5;
    options->profile = options->profile ? options->profile : "swarm";
    options->steps = options->steps ? options->steps : 20000;
    if (options->masters > MASTERS_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "a simulation has at most %d masters",
                                MASTERS_MAX);
    if (!simulator_profile (options->profile))
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "there is no profile \"%s\": try calm, lan, wan or swarm",
                                options->profile);
    return 0;
}

int masters_run (const masters_options_t *options, masters_report_t *ret_report,
                 nexus_error_t *error)
{
    masters_options_t checked = *options;
    if (check_options (&checked, error) == -1)
        return -1;
    masters_t *self = calloc (1, sizeof *self);
    if (!self)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a simulation");
    self->options = checked;
    random_seed (&self->random, checked.seed);
    self->sim = simulator_new (checked.seed, simulator_profile (checked.profile));
    add_machines (self);
    masters_add_clients (self);
    simulator_watch (self->sim, watch, self);
    simulator_observe (self->sim, observe, self);
    int rc = run (self, error);
    fill_report (self, ret_report);
    destroy (self);
    return rc;
}
