/*  cluster - three members of a store on this machine, each a process of its own

    Two kinds: etcd's and ours. Members listen on 127.0.0.1, keep their data in DIR, and
    run with their programs' defaults. They die with the bench.
*/
#pragma once

#include "runtime/error.h"
#include "tests/bench/consensus/load.h"

enum { CLUSTER_MEMBERS = 3 };

typedef struct cluster cluster_t;

/*  What differs between stores. */
typedef struct {
    const char *name;
    /*  Makes the files of all members; ports are chosen. NULL with an error. */
    void *(*make) (const char *dir, const char *program, nexus_error_t *error);
    void (*destroy) (void *store);
    /*  The command line of a member, NULL-terminated; valid until the next call. */
    const char *const *(*command) (void *store, unsigned member);
    /*  Once all members run, before the first load; 0 when it is done, 1: not yet, ask again. */
    int (*prepare) (void *store, nexus_error_t *error);
    /*  Which member leads; -1: unknown. */
    int (*leader) (void *store);
    /*  Runs a load in this process, to its end. */
    int (*run) (void *store, const load_config_t *config, load_result_t *result);
} store_t;

extern const store_t etcd_store, etcd_tls_store, nexus_store;

/*  Makes DIR/NAME and starts all members. program NULL: the store's own. NULL with an error. */
cluster_t *cluster_new (const store_t *store, const char *dir, const char *program,
                        nexus_error_t *error);
/*  Kills the members. The directory stays. */
void cluster_destroy (cluster_t **self_p);

const char *cluster_name (const cluster_t *self);
/*  0: it does not run. */
pid_t cluster_pid (const cluster_t *self, unsigned member);
/*  Waits until a member leads: -1 if none does within 20 seconds. */
int cluster_leader (cluster_t *self, nexus_error_t *error);
/*  kill -9, unless it is dead already, and reaps it. */
void cluster_kill (cluster_t *self, unsigned member);
int cluster_start (cluster_t *self, unsigned member, nexus_error_t *error);

/*  Runs a load in a process of its own, and waits for it. result (and config's acknowledged) must
   lie in memory from cluster_shared. -1 if it failed. */
int cluster_load (cluster_t *self, const load_config_t *config, load_result_t *result,
                  nexus_error_t *error);

/*  Zeroed memory that is shared with the processes of loads; never freed. */
void *cluster_shared (size_t size);

/*  For stores: a free port of 127.0.0.1. */
uint16_t cluster_free_port (void);
