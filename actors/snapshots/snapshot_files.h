/*  snapshot_files - the store of copies on disk: snapshot_store_t in production

        DIR/snapshot        the durable copy (storage/tables.h, tables_copy)
        DIR/snapshot.part   one that is being made
        DIR/snapshot.damaged  one that was found to be
        DIR/fetch           one that is being fetched, as far as it is there
        DIR/fetch.info      which one that is: "INDEX TERM SIZE HASH"
*/
#pragma once

#include "actors/snapshots/snapshots.h"
#include "storage/raft_log.h"
#include "storage/tables.h"

typedef struct snapshot_files snapshot_files_t;

/*  dir is the ledger's; tables (of the ledger) and log are borrowed. A copy that is there and
    damaged is put aside, as DIR/snapshot.damaged: the ledger and the log do without it. */
snapshot_files_t *snapshot_files_new (const char *dir, tables_t *tables, raft_log_t *log,
                                      nexus_error_t *error);
void snapshot_files_destroy (snapshot_files_t **self_p);

/*  For the behaviour. */
snapshot_store_t snapshot_files_store (snapshot_files_t *self);

/*  The ledger becomes the durable copy. For the ledger's thread. */
int snapshot_files_restore (void *self, nexus_error_t *error);

/*  What a crash has interrupted is finished, before any actor starts:
    - the copy is durable, but the log knows nothing of it yet: it begins anew behind it;
    - the log begins behind a copy that the ledger has not become: it becomes it. */
int snapshot_files_recover (snapshot_files_t *self, log_t *log, nexus_error_t *error);

/*  What a copy's file covers; size and hash as well if check is set (it is read whole). */
int snapshot_files_describe (const char *file, bool check, snapshot_info_t *ret_copy,
                             nexus_error_t *error);
