/*  linearizability - did the store behave as if there were one copy of it?

    Judges a history (history.h). It is linearizable if each operation can be given one
    moment between its call and its return so that, done one after another in that order,
    all of them give what their clients saw. An operation of unknown outcome may have its
    moment at any time after its call, or never; one that failed has none.

    Keys are independent, so each is judged alone (P-compositionality: Horn and Kroening,
    2015). For a key, the orders are searched as Wing and Gong do ("Testing and Verifying
    Concurrent Objects", 1993), with Lowe's memory of (what is done, state) that was tried
    before ("Testing for Linearizability", 2017), and with four shortcuts that lose nothing:
    - what changes nothing (a get, a refused compare-and-put) and fits the state is done at
      once: nothing gets worse by it;
    - an unknown operation is done only right before one that needs it: if the next one
      does without it, it could as well come later, or not at all;
    - of several unknown writes that do the same, the one called first is done first, and
      nothing is tried again with fewer of them left than in vain before;
    - versions are log indexes and grow with each write, so writes whose versions are known
      are done in that order.

    A set of operations is remembered by a 128-bit sum of random numbers (Zobrist, 1970):
    two different sets are taken for the same with a probability below 2^-80 a history.

    The search is exponential in the worst case and therefore bounded: beyond the bound the
    verdict is LINEARIZABILITY_UNKNOWN, which says nothing in either direction.
*/
#pragma once

#include "actors/simulation/history.h"

typedef enum {
    LINEARIZABILITY_OK,
    LINEARIZABILITY_BROKEN,
    LINEARIZABILITY_UNKNOWN /* gave up */
} linearizability_verdict_t;

typedef struct {
    uint64_t work;     /* steps of the search */
    const char *key;   /* unless OK: which; the history's. NULL if no single key is to blame */
    size_t core[32];   /* if BROKEN: few operations that can't all be true, in order of calls */
    size_t core_count; /* as many as fit */
    char reason[400];  /* unless OK: a sentence */
} linearizability_report_t;

#define LINEARIZABILITY_WORK_MAX UINT64_C (5000000)

/*  work_max: steps for each key, of which each may cost some tens of bytes of memory and a bit
    for each unknown write; 0: LINEARIZABILITY_WORK_MAX. ret_report may be NULL. */
linearizability_verdict_t linearizability_check (const history_t *history, uint64_t work_max,
                                                 linearizability_report_t *ret_report);

/*  A test that is necessary but not sufficient, in the time it takes to sort: versions
    are unique, and what is called after another operation returned sees no older version of
    its key, and writes none older than any that was written before, of whatever key.
    UNKNOWN is never returned; histories without versions pass. */
linearizability_verdict_t linearizability_check_versions (const history_t *history,
                                                          linearizability_report_t *ret_report);

/*  The reason and the operations of the core, as lines of text. */
void linearizability_explain (const history_t *history, const linearizability_report_t *report,
                              buffer_t *out);
