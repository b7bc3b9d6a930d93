/*  master - a whole master: its files, its world, its actors

    Not an actor: a constructor that puts the parts together in the right order
    and a destructor that takes them apart.
*/
#pragma once

#include "actors/node/node.h"

typedef struct master_node master_node_t;

/*  Starts it. config and log are borrowed and must outlive it. NULL with the reason, and
    nothing left running. */
master_node_t *master_node_new (const master_config_t *config, log_t *log, nexus_error_t *error);
/*  Stops it: actors first, then their world, then the files. */
void master_node_destroy (master_node_t **self_p);

/*  Its world, to send messages into. */
runtime_t *master_node_runtime (master_node_t *self);
/*  Readable when the node has ended by itself: then a message "DOWN", reason waits there. */
zsock_t *master_node_pipe (master_node_t *self);
