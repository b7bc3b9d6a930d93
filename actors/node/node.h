/*  node - the root of a node's actors, and what masters and workers share

    A node's critical actors (ZAP, links, log, ledger, election) are never
    restarted: if one ends, nobody can vouch for the node any more, so the node
    ends, with the reason, and whoever runs it starts it again.
*/
#pragma once

#include "actors/protocol/config.h"
#include "runtime/host.h"
#include "transport/link.h"

/*  The root actor: starts its children in order, dials, and fails when one of
    the children ends. All borrowed. */
typedef struct {
    const child_t *children;
    size_t count;
    const link_dial_t *dials; /* sent to "link" once it runs */
    size_t dial_count;
} node_args_t;

extern const behaviour_t node_behaviour; /* "node" */

/*  Reads a configuration from a file or, if text is not NULL, from text. All faults are in the error, with
    file, line and field. value's memory is in the arena. */
int node_config_load (const record_t *record, const char *file, const char *text, arena_t *arena,
                      void *value, nexus_error_t *error);

/*  The log that a configuration asks for. *ret_fd is the file to close after it, or -1. */
log_t *node_log_open (const log_config_t *config, const char *name, int *ret_fd,
                      nexus_error_t *error);

/*  Makes the node's directory (0700) if its parent exists, and takes it for this process
    alone: returns a descriptor that holds the lock, or -1. DIR/node.lock names the process. */
int node_dir_take (const char *dir, nexus_error_t *error);
