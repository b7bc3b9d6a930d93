/*  application - one command on its way into the tables

    What the commands share: reading and writing records, a job with its ranks
    and aggregators, and the phase that follows from them. Every command first
    checks, then writes, so that a refusal leaves no trace. A failure of the
    tables sticks (fatal) and reads as "not there"; then the node has to end.

    The tables active and held are indexes of jobs, tasks and shards; they are
    kept by put_job, hold and let_go and save everybody from walking the jobs of
    the past.
*/
#pragma once

#include "actors/ledger/apply.h"

typedef struct {
    tables_txn_t *txn;
    arena_t arena;   /* of the command */
    arena_t scratch; /* of the job in hand: emptied by each application_load */
    uint64_t *changed;
    uint64_t index; /* of the log */
    char *value;    /* LEDGER_VALUE_MAX bytes */
    bool fatal;
    nexus_error_t *error;
} application_t;

/*  ---- records ------------------------------------------------------------- */

/*  Its memory in scratch. */
bool application_get (application_t *self, ledger_table_t table, ledger_key_t key, void *value);
bool application_has (application_t *self, ledger_table_t table, ledger_key_t key);
void application_put (application_t *self, ledger_table_t table, ledger_key_t key,
                      const record_t *record, const void *value);
void application_put_bytes (application_t *self, ledger_table_t table, ledger_key_t key,
                            slice_t value);
void application_erase (application_t *self, ledger_table_t table, ledger_key_t key);
/*  Numbers of the table meta; 0 if not there. */
uint64_t application_number (application_t *self, ledger_key_t key);
void application_put_number (application_t *self, ledger_key_t key, uint64_t number);

/*  At most max bytes of a text, cut between two characters; in the command's arena. */
const char *application_clip (application_t *self, const char *text, size_t max);

/*  ---- a job, its ranks, its aggregators ------------------------------------- */

typedef struct {
    job_t job;
    task_t *tasks; /* [i] has rank i */
    size_t task_count;
    shard_t *shards; /* [i] has index i */
    size_t shard_count;
} job_state_t;

/*  False if there is no such job (or the tables failed). */
bool application_load (application_t *self, const char *job_id, job_state_t *state);
/*  -1 and the words for it. */
int application_no_job (application_t *self, const char *job_id);

void application_put_task (application_t *self, const task_t *task);
void application_put_shard (application_t *self, const shard_t *shard);
void application_explain (application_t *self, job_t *job, const char *reason, const char *message);

/*  It claims room on a worker: placed and not ended. */
bool task_holds (const task_t *task);
/*  A waiting rank gets a worker, or a failed one its next attempt on the same. */
void application_place_task (application_t *self, const job_t *job, task_t *task,
                             const worker_t *worker);
/*  A run is over and its room free; phase says what becomes of the rank. */
void application_end_run (application_t *self, task_t *task, task_phase_t phase,
                          const char *ending);
void application_place_shard (application_t *self, shard_t *shard, const record_key_t *worker);
/*  A shard loses its worker. */
void application_free_shard (application_t *self, shard_t *shard);

/*  Asks all ranks to stop; application_settle must follow. */
void application_stop (application_t *self, job_state_t *state, job_phase_t ending,
                       const char *reason, const char *message);
/*  Works out the phase after ranks or aggregators have changed; writes the job. */
void application_settle (application_t *self, job_state_t *state, int64_t time_ms);

/*  ---- the commands ----------------------------------------------------------- */

int apply_submit_job (application_t *self, const void *body);
int apply_end_job (application_t *self, const void *body);
int apply_place_job (application_t *self, const void *body);
int apply_explain_job (application_t *self, const void *body);
int apply_update_tasks (application_t *self, const void *body);
int apply_add_metrics (application_t *self, const void *body);
int apply_add_worker (application_t *self, const void *body);
int apply_set_worker (application_t *self, const void *body);
int apply_remove_worker (application_t *self, const void *body);
int apply_set_master (application_t *self, const void *body);
int apply_change_masters (application_t *self, const void *body);
int apply_add_token (application_t *self, const void *body);
int apply_kv_put (application_t *self, const void *body);
int apply_kv_delete (application_t *self, const void *body);
