/*  catalog - the kinds that may cross a link, and who may send them

    The table of kinds is the protocol: the protocol page, the golden bytes and
    the fuzz seeds come from it. A kind that is not in a link's catalog, or comes
    from a role that may not send it, is dropped and counted.
*/
#pragma once

#include "runtime/message.h"

typedef struct {
    const record_t *kind;
    unsigned senders; /* ROLE_BITs */
} catalog_entry_t;

typedef struct {
    const catalog_entry_t *entries; /* ascending by kind id */
    size_t count;
} catalog_t;

/*  NULL if there is no such kind. */
const catalog_entry_t *catalog_find (const catalog_t *self, uint16_t id);
