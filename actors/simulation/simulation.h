/*  simulation - a whole cluster in one thread over virtual time

    Masters and workers of the very actors that ship, under the simulator
    (runtime/simulator.h). What touches the machine has a stand-in: links are the
    simulator's network, the Raft log lies on the simulator's disk, tasks are
    timers, and a client on each master submits jobs and cancels some.

    First the profile's faults reign, then all is healed, and the cluster has to
    come to rest: every job ended as it should, on every master, nothing left running.
    Checked on the way, whenever a ledger changes:
    - a term has one leader;
    - ledgers at the same index hold the same;
    - what was acknowledged is there, and once only;
    - no worker has more than it offers, neither in the ledger nor running;
    - no attempt of a rank runs twice at once, and at the end no rank, nor does a process of a job that has ended.

    One seed is one history: the same options give the same digest, trace and result.
*/
#pragma once

#include "runtime/simulator.h"

typedef struct {
    uint64_t seed;
    unsigned masters;    /* 1 to 7; 0: 3 */
    unsigned workers;    /* 1 to 32; 0: 4 */
    unsigned jobs;       /* to submit, at most 200; 0: 8 */
    const char *profile; /* of simulator_profile; NULL: "swarm" */
    bool wrong_clocks;   /* wall clocks disagree, and jump, as the profile says */
    int64_t faults_ms;   /* virtual time with faults; 0: 60,000 */
    int64_t rest_ms;     /* virtual time to come to rest in; 0: 120,000 */
    FILE *trace;         /* or NULL */
} simulation_options_t;

typedef struct {
    uint64_t digest, steps;
    int64_t virtual_ms;
    uint64_t terms;     /* the highest term that had a leader */
    uint64_t entries;   /* log index in the end */
    uint64_t restarts;  /* boots after the first ones */
    uint64_t processes; /* that were started */
    uint64_t jobs_succeeded, jobs_cancelled;
    uint64_t dead_letters;
} simulation_report_t;

/*  -1 with what went wrong, where ("seed 7, step 1234, 12.5 s: ...") and when;
    the report is filled as far as it got, in any case. */
int simulation_run (const simulation_options_t *options, simulation_report_t *ret_report,
                    nexus_error_t *error);
