/*  simulation - a whole cluster over virtual time: see the header. */
#include "actors/simulation/simulation_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { ELECTION_MS = 300, ELECTION_MS_MIN = 150, ELECTION_MS_MAX = 10000 };
enum { AGENT_MS = 500, LOST_AFTER_MS = 3000 };

#define DOMAIN "control"

/*  ---- nodes -------------------------------------------------------------------------- */

static void compose_master (simulated_master_t *self)
{
    simulation_t *simulation = self->simulation;
    self->ledger = (ledger_args_t){.tables = self->tables};
    self->election = (election_args_t){.masters = simulation->master_keys,
                                       .records = simulation->master_records,
                                       .masters_count = simulation->options.masters,
                                       .election_ms = ELECTION_MS,
                                       .election_ms_min = ELECTION_MS_MIN,
                                       .election_ms_max = ELECTION_MS_MAX,
                                       .log = simulated_log (&self->log)};
    self->registry = (registry_args_t){
        .tables = self->tables,
        .keyring = self->keyring,
        .domain = DOMAIN,
        .root = &self->root,
        .self = {.key = simulation->master_keys[self->number], .name = self->name},
        .masters = simulation->master_records,
        .master_count = simulation->options.masters,
        .lost_after_ms = LOST_AFTER_MS};
    self->scheduler = (scheduler_args_t){.tables = self->tables};
    const child_t services[] = {
        {.behaviour = &registry_behaviour, .name = "registry", .args = &self->registry},
        {.behaviour = &scheduler_behaviour, .name = "scheduler", .args = &self->scheduler},
        {.behaviour = &simulated_client_behaviour, .name = "client", .args = &self->self},
    };
    memcpy (self->services, services, sizeof services);
    self->supervisor = (supervisor_spec_t){.strategy = SUPERVISE_ONE_FOR_ONE,
                                           .intensity = 5,
                                           .period_ms = 10000,
                                           .children = self->services,
                                           .count = 3};
    const child_t children[] = {
        {.behaviour = &simulated_log_behaviour, .name = "log", .args = &self->log.self},
        {.behaviour = &ledger_behaviour, .name = "ledger", .args = &self->ledger},
        {.behaviour = &election_behaviour, .name = "election", .args = &self->election},
        {.behaviour = &supervisor_behaviour, .name = "services", .args = &self->supervisor},
    };
    memcpy (self->children, children, sizeof children);
    self->node = (node_args_t){.children = self->children, .count = 4};
}

static int boot_master (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    simulated_master_t *self = context;
    self->simulation->boots++;
    simulated_log_init (&self->log, simulator_disk (sim, node), self->number + 1);
    compose_master (self);
    child_t root = {.behaviour = &node_behaviour, .name = "node", .args = &self->node};
    return simulator_spawn (sim, node, &root, error);
}

static void compose_worker (simulated_worker_t *self)
{
    simulation_t *simulation = self->simulation;
    self->agent = (agent_args_t){.masters = simulation->master_records,
                                 .master_count = simulation->options.masters,
                                 .heartbeat_ms = AGENT_MS};
    record_init (&heartbeat_record, &self->agent.self);
    self->agent.self.name = self->name;
    self->agent.self.lane = "tcp://simulated:1";
    self->agent.self.resources = (resources_t){.cpu = WORKER_CPU};
    const child_t children[] = {
        {.behaviour = &simulated_processes_behaviour, .name = "process", .args = &self->self},
        {.behaviour = &executor_behaviour, .name = "executor"},
        {.behaviour = &simulated_aggregator_behaviour, .name = "aggregator"},
        {.behaviour = &agent_behaviour, .name = "agent", .args = &self->agent},
    };
    memcpy (self->children, children, sizeof children);
    self->node = (node_args_t){.children = self->children, .count = 4};
}

static int boot_worker (simulator_t *sim, unsigned node, void *context, nexus_error_t *error)
{
    simulated_worker_t *self = context;
    self->simulation->boots++;
    compose_worker (self);
    child_t root = {.behaviour = &node_behaviour, .name = "node", .args = &self->node};
    return simulator_spawn (sim, node, &root, error);
}

static record_key_t new_key (simulation_t *self)
{
    record_key_t key;
    for (size_t i = 0; i < sizeof key.bytes; i++)
        key.bytes[i] = (uint8_t)random_next (&self->random);
    return key;
}

static void add_masters (simulation_t *self)
{
    for (unsigned i = 0; i < self->options.masters; i++) {
        simulated_master_t *master = &self->masters[i];
        master->self = master;
        master->simulation = self;
        master->number = i;
        master->tables = tables_open_memory (ledger_table_names, LEDGER_TABLES);
        master->keyring = keyring_new ();
        assert (master->tables && master->keyring);
        snprintf (master->name, sizeof master->name, "m%u", i + 1);
        self->master_keys[i] = new_key (self);
        self->master_records[i] = (master_t){.key = self->master_keys[i], .name = master->name};
        simulator_add_node (self->sim, &(simulator_node_t){.name = master->name,
                                                           .key = self->master_keys[i],
                                                           .role = ROLE_MASTER,
                                                           .boot = boot_master,
                                                           .context = master});
    }
}

static void add_workers (simulation_t *self)
{
    for (unsigned i = 0; i < self->options.workers; i++) {
        simulated_worker_t *worker = &self->workers[i];
        worker->self = worker;
        worker->simulation = self;
        worker->number = i;
        snprintf (worker->name, sizeof worker->name, "w%u", i + 1);
        simulator_add_node (self->sim, &(simulator_node_t){.name = worker->name,
                                                           .key = new_key (self),
                                                           .role = ROLE_WORKER,
                                                           .boot = boot_worker,
                                                           .context = worker});
    }
}

/*  What the clients shall do, and in which order they may. */
static void make_wishes (simulation_t *self)
{
    self->wants =
        calloc (1 + self->options.workers + 2 * (size_t)self->options.jobs, sizeof *self->wants);
    assert (self->wants);
    self->wants[self->want_count++] = (simulation_want_t){.kind = WANT_TOKEN};
    for (unsigned i = 0; i < self->options.workers; i++)
        self->wants[self->want_count++] = (simulation_want_t){.kind = WANT_WORKER, .number = i};
    for (unsigned i = 0; i < self->options.jobs; i++) {
        uint64_t room = (uint64_t)self->options.workers * WORKER_CPU;
        self->jobs[i].ranks = 1 + random_below (&self->random, room < 4 ? room : 4);
        self->jobs[i].cancel = random_below (&self->random, 5) == 0;
        int64_t since =
            (int64_t)(random_real (&self->random) * 0.8e6 * (double)self->options.faults_ms);
        self->wants[self->want_count++] =
            (simulation_want_t){.kind = WANT_JOB, .number = i, .since = since};
        if (self->jobs[i].cancel)
            self->wants[self->want_count++] = (simulation_want_t){
                .kind = WANT_CANCEL, .number = i, .since = since + MS_TO_NS (2000)};
    }
}

/*  ---- the run --------------------------------------------------------------------------- */

void simulation_broken (simulation_t *self, const char *format, ...)
{
    if (self->broken)
        return;
    self->broken = true;
    char text[400];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    nexus_error_set (&self->error, NEXUS_CORRUPT, "%s", text);
}

static int observe (simulator_t *sim, void *context, nexus_error_t *error)
{
    (void)sim;
    const simulation_t *self = context;
    if (!self->broken)
        return 0;
    *error = self->error;
    return -1;
}

static uint64_t applied_index (const simulated_master_t *master)
{
    nexus_error_t error;
    tables_txn_t *txn = tables_begin (master->tables, false, &error);
    assert (txn);
    uint64_t index = ledger_number (txn, LEDGER_APPLIED);
    tables_abort (&txn);
    return index;
}

static bool at_rest (simulation_t *self, char *why, size_t size)
{
    for (unsigned i = 0; i < self->options.masters; i++) {
        char what[400];
        if (!simulation_at_rest (self, &self->masters[i], what, sizeof what)) {
            snprintf (why, size, "%s: %s", self->masters[i].name, what);
            return false;
        }
        if (applied_index (&self->masters[i]) != applied_index (&self->masters[0])) {
            snprintf (why, size, "%s is behind", self->masters[i].name);
            return false;
        }
    }
    return true;
}

/*  Looks every virtual second: it costs more than a step. */
static int come_to_rest (simulation_t *self, nexus_error_t *error)
{
    char why[500] = "";
    int64_t end = simulator_now (self->sim) + MS_TO_NS (self->options.rest_ms);
    while (!at_rest (self, why, sizeof why)) {
        if (simulator_now (self->sim) >= end)
            return nexus_error_set (
                error, NEXUS_DEADLINE, "seed %llu: not at rest %lld ms after the last fault: %s",
                (unsigned long long)self->options.seed, (long long)self->options.rest_ms, why);
        if (simulator_run (self->sim, MS_TO_NS (1000), 0, NULL, NULL) == SIMULATOR_FAILED)
            return nexus_error_set (error, NEXUS_CORRUPT, "%s", simulator_error (self->sim));
    }
    for (unsigned i = 0; i < self->options.masters; i++)
        simulation_check_ledger (self, &self->masters[i]);
    if (self->broken)
        return nexus_error_set (error, NEXUS_CORRUPT, "seed %llu: in the end: %s",
                                (unsigned long long)self->options.seed, self->error.text);
    return 0;
}

static int run (simulation_t *self, nexus_error_t *error)
{
    if (simulator_run (self->sim, MS_TO_NS (self->options.faults_ms), 0, NULL, NULL) ==
        SIMULATOR_FAILED)
        return nexus_error_set (error, NEXUS_CORRUPT, "%s", simulator_error (self->sim));
    self->calm = true;
    simulator_note (self->sim, "from here on nothing fails");
    simulator_calm (self->sim, 0);
    return come_to_rest (self, error);
}

static void count_jobs (simulation_t *self, simulation_report_t *report)
{
    nexus_error_t error;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    tables_txn_t *txn = tables_begin (self->masters[0].tables, false, &error);
    assert (txn);
    job_t *jobs = NULL;
    size_t count = 0;
    ledger_list (txn, LEDGER_JOBS, NULL, NULL, 0, &arena, (void **)&jobs, &count, &error);
    for (size_t i = 0; i < count; i++) {
        report->jobs_succeeded += jobs[i].phase == JOB_SUCCEEDED;
        report->jobs_cancelled += jobs[i].phase == JOB_CANCELLED;
    }
    arena_reset (&arena);
    tables_abort (&txn);
}

static void fill_report (simulation_t *self, simulation_report_t *report)
{
    *report = (simulation_report_t){
        .digest = simulator_digest (self->sim),
        .steps = simulator_steps (self->sim),
        .virtual_ms = NS_TO_MS (simulator_now (self->sim)),
        .terms = self->terms,
        .entries = applied_index (&self->masters[0]),
        .restarts = self->boots > self->options.masters + self->options.workers
                        ? self->boots - self->options.masters - self->options.workers
                        : 0,
        .processes = (uint64_t)self->pid,
        .dead_letters = simulator_dead_letters (self->sim, NULL)};
    count_jobs (self, report);
}

static void destroy (simulation_t *self)
{
    simulator_destroy (&self->sim);
    for (unsigned i = 0; i < self->options.masters; i++) {
        tables_close (&self->masters[i].tables);
        keyring_release (&self->masters[i].keyring);
    }
    free (self->wants);
    free (self->leaders);
    free (self->hashes);
    free (self);
}

static int check_options (simulation_options_t *options, nexus_error_t *error)
{
    options->masters = options->masters ? options->masters : 3;
    options->workers = options->workers ? options->workers : 4;
    options->jobs = options->jobs ? options->jobs : 8;
    options->profile = options->profile ? options->profile : "swarm";
    options->faults_ms = options->faults_ms ? options->faults_ms : 60000;
    options->rest_ms = options->rest_ms ? options->rest_ms : 120000;
    if (options->masters > SIMULATION_MASTERS_MAX || options->workers > SIMULATION_WORKERS_MAX ||
        options->jobs > SIMULATION_JOBS_MAX || options->faults_ms < 0 || options->rest_ms < 0)
        return nexus_error_set (error, NEXUS_INVALID,
                                "a simulation has at most %d masters, %d workers and %d jobs, and "
                                "no negative times",
                                SIMULATION_MASTERS_MAX, SIMULATION_WORKERS_MAX,
                                SIMULATION_JOBS_MAX);
    if (!simulator_profile (options->profile))
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "there is no profile \"%s\": try calm, lan, wan or swarm",
                                options->profile);
    return 0;
}

int simulation_run (const simulation_options_t *options, simulation_report_t *ret_report,
                    nexus_error_t *error)
{
    simulation_options_t checked = *options;
    if (check_options (&checked, error) == -1)
        return -1;
    simulation_t *self = calloc (1, sizeof *self);
    if (!self)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for a simulation");
    self->options = checked;
    random_seed (&self->random, checked.seed);
    self->sim = simulator_new (checked.seed, simulator_profile (checked.profile));
    if (!checked.wrong_clocks) {
        simulator_set (self->sim, SIMULATOR_SKEW_MS, 0);
        simulator_set (self->sim, SIMULATOR_JUMP_INTERVAL_MS, 0);
    }
    simulator_trace (self->sim, checked.trace);
    add_masters (self);
    add_workers (self);
    make_wishes (self);
    simulator_observe (self->sim, observe, self);
    int rc = run (self, error);
    fill_report (self, ret_report);
    destroy (self);
    return rc;
}
