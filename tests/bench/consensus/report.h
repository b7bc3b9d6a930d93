/*  report - the bench's figures, side by side */
#pragma once

#include "tests/bench/consensus/load.h"

enum { NEXUS, ETCD, STORES };

typedef struct {
    double rate; /* operations a second */
    uint64_t p50_ns, p99_ns;
    double flushes, bytes, cpu_us; /* an operation: of the disk; of all members together */
    uint64_t wrong;
} report_sample_t;

typedef struct report report_t;

report_t *report_new (bool json);
void report_destroy (report_t **self_p);

void report_load (report_t *self, load_op_t op, unsigned flight, unsigned store,
                  const report_sample_t *sample);
/*  Prints the level's line to stderr. */
void report_level_done (report_t *self, load_op_t op, unsigned flight);
void report_failover (report_t *self, unsigned store, int64_t gap_ns, uint64_t checked,
                      uint64_t lost);
void report_restart (report_t *self, unsigned store, int64_t took_ns);
/*  when: a constant. */
void report_memory (report_t *self, unsigned store, const char *when, uint64_t resident,
                    uint64_t anonymous);
/*  To stdout: tables, or one JSON object. */
void report_print (report_t *self);
