/*  known_masters - whom a node takes for the masters of its cluster

    The masters tell each other, and their workers, who the masters are: each list is
    numbered with the log index of the configuration that it is from, and the highest
    number counts. So a master that was away while others came and went, and a worker
    whose configuration file is old, find those who are there now; and who was removed
    is not let in any more. The list with number 0 is the configuration file's.

    Keeps the links: who is new is dialled, who is gone is hung up. One thread.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/behaviour.h"

enum { KNOWN_MASTERS_MAX = 96 };

typedef struct {
    arena_t arena; /* of the list */
    uint64_t index;
    master_t items[KNOWN_MASTERS_MAX];
    size_t count;
} known_masters_t;

/*  Those of the configuration file (or whom the node knew last), which are dialled already. */
void known_masters_init (known_masters_t *self, uint64_t index, const master_t *masters,
                         size_t count);
void known_masters_clear (known_masters_t *self);

/*  Another list, which is copied; false, and nothing has changed, if it is not newer than ours or
    empty, or (if the number is the same) says the same. */
bool known_masters_take (known_masters_t *self, context_t *ctx, uint64_t index,
                         const master_t *masters, size_t count);

/*  Where a master says that it is: "endpoint: expected ..." or "api: expected ...", if others couldn't
    connect there. api may be NULL or empty. */
int known_masters_check_addresses (const char *endpoint, const char *api, nexus_error_t *error);

/*  NULL: it is no master's. */
const master_t *known_masters_find (const known_masters_t *self, const record_key_t *key);
