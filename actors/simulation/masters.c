/*  masters - the masters' world: see the header. */
#include "actors/simulation/masters_private.h"

#include "actors/simulation/fault_kinds.h"

#include "actors/election/election_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int masters_failed (const masters_t *self, nexus_error_t *error)
{
    const char *text = simulator_error (self->sim), *seed_end = strchr (text, ',');
    return nexus_error_set (error, NEXUS_CORRUPT, "%s", seed_end ? seed_end + 2 : text);
}

machine_t *masters_machine (masters_t *self, const record_key_t *key)
{
    for (unsigned i = 0; i < self->machine_count; i++)
        if (memcmp (&self->keys[i], key, sizeof *key) == 0)
            return &self->machines[i];
    return NULL;
}

const raft_conf_state_t *masters_conf (const masters_t *self)
{
    const election_t *newest = NULL;
    for (unsigned i = 0; i < self->machine_count; i++) {
        const election_t *election = simulator_state (self->sim, i, "election", 0);
        if (election && election->raft && !election->failed &&
            (!newest || election->conf.index > newest->conf.index))
            newest = election;
    }
    return newest ? raft_conf (newest->raft) : NULL;
}

bool masters_is_member (const raft_conf_state_t *conf, const record_key_t *key)
{
    uint64_t id = election_id (key);
    return quorum_set_has (&conf->voters, id) || quorum_set_has (&conf->voters_outgoing, id) ||
           quorum_set_has (&conf->learners, id) || quorum_set_has (&conf->learners_next, id);
}

/*  ---- machines ------------------------------------------------------------------------ */

static void compose (machine_t *self)
{
    masters_t *world = self->world;
    self->ledger = (ledger_args_t){.tables = self->tables,
                                   .restore = simulated_store_restore,
                                   .restore_context = &self->store};
    self->snapshots = (snapshots_args_t){.store = simulated_store (&self->store),
                                         .log_actor = simulated_log_behaviour.name,
                                         .entries = world->copy_entries,
                                         .window = world->copy_window,
                                         .bytes_per_second = world->copy_bytes_per_second,
                                         .poll_ms = 200};
    self->election = (election_args_t){.masters = self->founds ? world->keys : NULL,
                                       .masters_count = self->founds ? world->options.masters : 0,
                                       .records = self->founds ? world->records : NULL,
                                       .join = !self->founds,
                                       .election_ms = MASTERS_ELECTION_MS,
                                       .election_ms_min = MASTERS_ELECTION_MS_MIN,
                                       .election_ms_max = MASTERS_ELECTION_MS_MAX,
                                       .message_bytes_max = world->message_bytes_max,
                                       .log = simulated_log (&self->log)};
    const child_t children[] = {
        {.behaviour = &simulated_log_behaviour, .name = "log", .args = &self->log.self},
        {.behaviour = &ledger_behaviour, .name = "ledger", .args = &self->ledger},
        {.behaviour = &election_behaviour, .name = "election", .args = &self->election},
        {.behaviour = &snapshots_behaviour, .name = "snapshots", .args = &self->snapshots},
    };
    memcpy (self->children, children, sizeof children);
    self->node = (node_args_t){.children = self->children, .count = 4};
}

tables_t *masters_open_tables (void)
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
    if (!self->present)
        return 0;
    /* The ledger can be had again from the log: sometimes it has to be. */
    if (self->boots++ && random_below (&world->random, 4) == 0) {
        tables_close (&self->tables);
        self->tables = masters_open_tables ();
    }
    simulated_store_crash (&self->store);
    simulated_store_recover (&self->store);
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
    /* Often, or so seldom that nobody ever needs one. */
    self->copy_entries = UINT64_C (8) << random_below (&self->random, 6);
    self->copy_window = 1 + random_below (&self->random, self->copy_entries / 2);
    self->copy_bytes_per_second = UINT64_C (65536) << random_below (&self->random, 8);
    self->machine_count = self->options.masters;
    if (simulator_setting (self->sim, SIMULATOR_CHANGE_INTERVAL_MS) > 0)
        self->machine_count += 1 + (unsigned)random_below (&self->random, SPARES_MAX);
    for (unsigned i = 0; i < self->machine_count; i++) {
        machine_t *machine = &self->machines[i];
        bool founds = i < self->options.masters;
        *machine = (machine_t){.self = machine,
                               .world = self,
                               .number = i,
                               .founds = founds,
                               .present = founds,
                               .cut_ns = INT64_MAX,
                               .up_ns = INT64_MAX};
        machine->tables = masters_open_tables ();
        snprintf (machine->name, sizeof machine->name, "m%u", i + 1);
        self->keys[i] = masters_new_key (self);
        record_init (&master_record, &self->records[i]);
        self->records[i].key = self->keys[i];
        self->records[i].name = machine->name;
        simulator_add_node (self->sim, &(simulator_node_t){.name = machine->name,
                                                           .key = self->keys[i],
                                                           .role = ROLE_MASTER,
                                                           .boot = boot,
                                                           .context = machine});
        simulated_log_init (&machine->log, simulator_disk (self->sim, i),
                            random_next (&self->random));
        simulated_store_init (&machine->store, &machine->log, &machine->tables, self->sim,
                              random_next (&self->random),
                              simulator_setting (self->sim, SIMULATOR_FLUSH_MS));
    }
}

/*  ---- steps ------------------------------------------------------------------------------ */

static void watch (simulator_t *sim, void *context, unsigned node, bool received,
                   const message_t *message)
{
    (void)sim;
    masters_t *self = context;
    machine_t *machine = node < self->machine_count ? &self->machines[node] : NULL;
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
    machine_t *machine = node < self->machine_count ? &self->machines[node] : NULL;
    if (machine)
        masters_check_turn (self, machine, actor);
    if (self->options.trace)
        masters_trace_turn (self, machine, actor);
    if (!self->wrong)
        return 0;
    *error = self->error;
    return -1;
}

/*  ---- the run ----------------------------------------------------------------------------- */

static int run (masters_t *self, nexus_error_t *error)
{
    simulator_result_t result = SIMULATOR_TIME;
    masters_faults_begin (self);
    while (simulator_steps (self->sim) < self->options.steps && result != SIMULATOR_FAILED)
        result = simulator_run (self->sim, masters_faults_next (self),
                                self->options.steps - simulator_steps (self->sim),
                                masters_faults_due, self);
    if (result == SIMULATOR_FAILED)
        return masters_failed (self, error);
    return masters_rest (self, error) ? -1 : masters_judge (self, error);
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
        .restarts = self->boots > self->machine_count ? self->boots - self->machine_count : 0,
        .changes = self->changes,
        .restored = self->restored,
        .rotten = self->rotten,
        .done = self->done,
        .refused = self->refused,
        .unknown = self->unknown,
        .undecided = self->undecided};
}

static void destroy (masters_t *self)
{
    simulator_destroy (&self->sim);
    for (unsigned i = 0; i < self->machine_count; i++) {
        simulated_store_clear (&self->machines[i].store);
        tables_close (&self->machines[i].tables);
    }
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
    fault_kinds_leave_out (self->sim, checked.without);
    /* What is sent in small pieces can be half there. */
    if (random_below (&self->random, 2))
        self->message_bytes_max = 1 + random_below (&self->random, 1000);
    add_machines (self);
    masters_add_clients (self);
    simulator_watch (self->sim, watch, self);
    simulator_observe (self->sim, observe, self);
    int rc = run (self, error);
    fill_report (self, ret_report);
    destroy (self);
    return rc;
}
