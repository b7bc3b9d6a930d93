/*  local_cluster - a cluster on this machine, in one directory

        DIR/cluster.yaml      what was asked for: masters, workers, sites, ports
        DIR/root.key          the cluster's root (Ed25519)
        DIR/client.yaml       endpoints, bearer token and authority, for nexus as a client
        DIR/authority.pem     the masters' API certificates
        DIR/supervisor.pid    of the nexus up that runs it
        DIR/m1/ m2/ ...       a master each: master.yaml, node.key, log/, ledger/, node.log
        DIR/w1/ w2/ ...       a worker each: worker.yaml, node.key, membership, tasks/, logs/

    The files are the same as those of nodes that are set up by hand.
*/
#pragma once

#include "actors/protocol/config.h"

/* clang-format off */
#define LOCAL_CLUSTER(F) \
    F (UINT, masters, _, .def = "3", .min = 1, .max = 9, .doc = "Masters.") \
    F (UINT, workers, _, .def = "4", .min = 0, .max = 64, .doc = "Workers.") \
    F (UINT, sites, _, .def = "2", .min = 1, .max = 16, .doc = "Sites that workers and masters are spread over.") \
    F (INTS, ports, _, .max = 18, .doc = "Of each master: its link's, its API's.") \
    F (REAL, cpu, _, .def = "2", .min = 0.1, .max = 4096, .unit = "cores", .doc = "What each worker offers.")
RECORD_DECLARE (local_cluster, LOCAL_CLUSTER)
/* clang-format on */

/*  What DIR/cluster.yaml says, if it is there. -1: it can't be read. */
int local_cluster_find (const char *dir, arena_t *arena, local_cluster_t *ret_cluster,
                        bool *ret_found, nexus_error_t *error);

/*  Makes DIR and everything in it, or, where a cluster is there already, reads it
    into *cluster (memory in the arena) and checks that it is the one asked for. port: the first
    of consecutive ports; 0: free ones. -1 with the reason. */
int local_cluster_make (const char *dir, uint64_t port, local_cluster_t *cluster, arena_t *arena,
                        nexus_error_t *error);

/*  Writes a worker's join token to DIR/wN/join-token, which its configuration names (workers count from 1).
    Collects the masters' certificates in DIR/authority.pem. */
int local_cluster_write_token (const char *dir, uint64_t worker, const char *token,
                               nexus_error_t *error);
int local_cluster_write_authority (const char *dir, const local_cluster_t *cluster,
                                   nexus_error_t *error);
