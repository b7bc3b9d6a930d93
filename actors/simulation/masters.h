/*  masters - the masters of a cluster over virtual time, and clients that try them

    Whole masters (election, ledger, Raft log) of the very actors that ship, under
    the simulator (runtime/simulator.h), without workers and jobs: most of the
    steps go into consensus. First all that the profile offers goes wrong, as the
    seed draws it; then a majority is healed (not always everybody), and has to come
    to rest within a bounded time.

    Checked after every step, of the node whose step it was:
    - a term has one leader, who has all that was committed before it;
    - entries with the same index and term are the same, and so is all before them;
    - what is committed stays, is the same on all masters, and is on a majority's
      disks, so that a crash at this moment would leave it there;
    - what a master acknowledges or votes is on its disk before;
    - ledgers at the same index hold the same, byte by byte;
    - while a leader's lease holds, nobody leads in a later term.
    In the end: all requests are answered, and all masters that live stand at one index.

    One seed is one history: the same options give the same digest and result.
*/
#pragma once

#include "runtime/simulator.h"

enum { MASTERS_MAX = 7, MASTERS_ASKERS_MAX = 24 };

typedef struct {
    uint64_t seed;
    unsigned masters;    /* 1 to MASTERS_MAX; 0: 5 */
    const char *profile; /* of simulator_profile; NULL: "swarm" */
    uint64_t steps;      /* turns of actors while things fail; 0: 20,000 */
    unsigned clients;    /* that ask; 0: as the seed says */
    uint64_t without;    /* kinds of faults that are left out: fault_kinds.h */
    FILE *trace;         /* a line for each step; or NULL */
} masters_options_t;

typedef struct {
    uint64_t digest, steps;
    int64_t virtual_ms;
    uint64_t terms;                  /* the highest term that had a leader */
    uint64_t entries;                /* committed */
    uint64_t restarts;               /* boots after the first ones */
    uint64_t changes;                /* configurations, the founders' included */
    uint64_t restored;               /* ledgers that became another master's copy */
    uint64_t rotten;                 /* entries of logs that a disk altered */
    uint64_t done, refused, unknown; /* requests of clients, by outcome */
    uint64_t undecided;              /* 1: nobody could say in time whether that is linearizable */
} masters_report_t;

/*  -1 with what broke and where ("step 1234, 12.5 s: two leaders ..."), and the report as
    far as it got. NEXUS_INVALID, NEXUS_NOT_FOUND: the options can't be. */
int masters_run (const masters_options_t *options, masters_report_t *ret_report,
                 nexus_error_t *error);
