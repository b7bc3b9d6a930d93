/*  worker - a whole worker: its files, its world, its actors

    Dials the masters and listens on nothing but its data lane (if it has one)
    and a local socket for its tasks. The first time, it joins with its token.
*/
#pragma once

#include "actors/node/node.h"

typedef struct worker_node worker_node_t;

/*  Starts it; joins first if it has not yet (waits for a master up to 30 seconds). config and log are borrowed and must
    outlive it. NULL with the reason, and nothing left running. */
worker_node_t *worker_node_new (const worker_config_t *config, log_t *log, nexus_error_t *error);
/*  Stops it: its tasks are killed, its actors end. */
void worker_node_destroy (worker_node_t **self_p);

runtime_t *worker_node_runtime (worker_node_t *self);
/*  Its two hosts' pipes: readable when the node has ended by itself; then a message "DOWN", reason waits there. */
void worker_node_pipes (worker_node_t *self, zsock_t *ret_pipes[2]);
