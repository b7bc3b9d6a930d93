/*  simulation_private - what the simulation's files share

    simulation.c  the cluster, its nodes, the run
    stand_ins.c   a worker's processes and aggregator
    client.c      who submits jobs, and checks the ledgers as they change
*/
#pragma once

#include "actors/agent/agent.h"
#include "actors/executor/executor.h"
#include "actors/ledger/ledger.h"
#include "actors/node/node.h"
#include "actors/registry/registry.h"
#include "actors/scheduler/scheduler.h"
#include "actors/simulation/raft_log.h"
#include "actors/simulation/simulation.h"
#include "runtime/random.h"
#include "runtime/supervisor.h"

enum {
    SIMULATION_MASTERS_MAX = 7,
    SIMULATION_WORKERS_MAX = 32,
    SIMULATION_JOBS_MAX = 200,
    SIMULATION_PROCESSES_MAX = 4096,
    WORKER_CPU = 4
};

typedef struct simulation simulation_t;

/*  ---- workers ---------------------------------------------------------------- */

/*  A running process, as it really is. */
typedef struct {
    unsigned worker; /* 0, 1 ... */
    int64_t pid;
    char job_id[64];
    uint64_t rank, attempt;
} simulation_process_t;

typedef struct simulated_worker simulated_worker_t;
struct simulated_worker {
    simulated_worker_t *self; /* args of its actors point here: a behaviour's are const */
    simulation_t *simulation;
    unsigned number;
    char name[16];
    agent_args_t agent;
    child_t children[4];
    node_args_t node;
};

/*  "process"; args: where the simulated_worker_t * stands. */
extern const behaviour_t simulated_processes_behaviour;
extern const behaviour_t simulated_aggregator_behaviour; /* "aggregator"; no args */

/*  ---- masters ----------------------------------------------------------------- */

typedef struct simulated_master simulated_master_t;
struct simulated_master {
    simulated_master_t *self;
    simulation_t *simulation;
    unsigned number;
    char name[16];
    simulated_log_t log;
    tables_t *tables; /* survive a crash: a commit is durable */
    keyring_t *keyring;
    cluster_root_t root;
    ledger_args_t ledger;
    election_args_t election;
    registry_args_t registry;
    scheduler_args_t scheduler;
    child_t services[3];
    supervisor_spec_t supervisor;
    child_t children[4];
    node_args_t node;
};

/*  "client"; args: where the simulated_master_t * stands. */
extern const behaviour_t simulated_client_behaviour;

/*  What clients want done, by any of them, as often as it takes. */
typedef struct {
    enum { WANT_TOKEN, WANT_WORKER, WANT_JOB, WANT_CANCEL } kind;
    unsigned number; /* of the worker, of the job */
    int64_t since;   /* virtual time; jobs come while the faults reign */
    bool done;
} simulation_want_t;

typedef struct {
    char id[64]; /* as it was acknowledged; "": not yet */
    bool cancel;
    uint64_t ranks;
} simulation_job_t;

/*  ---- the whole ---------------------------------------------------------------- */

struct simulation {
    simulation_options_t options;
    simulator_t *sim;
    random_t random;
    record_key_t master_keys[SIMULATION_MASTERS_MAX];
    master_t master_records[SIMULATION_MASTERS_MAX]; /* of the same */
    simulated_master_t masters[SIMULATION_MASTERS_MAX];
    simulated_worker_t workers[SIMULATION_WORKERS_MAX];
    simulation_want_t *wants;
    size_t want_count;
    simulation_job_t jobs[SIMULATION_JOBS_MAX];
    simulation_process_t processes[SIMULATION_PROCESSES_MAX];
    size_t process_count;
    int64_t pid;
    uint64_t boots;
    bool calm;

    /* What was seen, for the checks. */
    record_key_t *leaders; /* by term */
    uint64_t term_room;
    uint64_t *hashes; /* of the tables, by applied index; 0: not seen */
    uint64_t index_room;
    uint64_t terms;
    bool broken;
    nexus_error_t error; /* the first invariant that broke */
};

/*  Notes the first broken invariant. */
void simulation_broken (simulation_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/*  client.c: checks what a master's ledger holds now. */
void simulation_check_ledger (simulation_t *self, simulated_master_t *master);
/*  That this master led in that term. */
void simulation_check_leader (simulation_t *self, const record_key_t *leader, uint64_t term);
/*  Every wish is fulfilled and every job has ended as it should, says this master's
    ledger. False with what it waits for, if not. */
bool simulation_at_rest (simulation_t *self, simulated_master_t *master, char *why, size_t size);
