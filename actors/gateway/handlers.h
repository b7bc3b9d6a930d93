/*  handlers - what the operations of the HTTP API do

    A handler is called once for a request whose role, query and body are
    checked; it replies, or asks another actor and goes on when that answers
    (call_ask).
*/
#pragma once

#include "actors/gateway/call.h"

void handle_cluster_status (call_t *call);
void handle_raft (call_t *call);
void handle_livez (call_t *call);
void handle_readyz (call_t *call);
void handle_metrics (call_t *call);
void handle_openapi (call_t *call);

void handle_job_submit (call_t *call);
void handle_job_list (call_t *call);
void handle_job_get (call_t *call);
void handle_job_stop (call_t *call);
void handle_job_logs (call_t *call);
void handle_job_metrics (call_t *call);

void handle_worker_list (call_t *call);
void handle_worker_get (call_t *call);
void handle_worker_drain (call_t *call);
void handle_worker_undrain (call_t *call);
void handle_worker_remove (call_t *call);
void handle_token_add (call_t *call);

void handle_backup_create (call_t *call);
void handle_backup_read (call_t *call);

void handle_master_list (call_t *call);
void handle_master_add (call_t *call);
void handle_master_promote (call_t *call);
void handle_master_remove (call_t *call);
void handle_master_transfer (call_t *call);

void handle_kv_list (call_t *call);
void handle_kv_get (call_t *call);
void handle_kv_put (call_t *call);
void handle_kv_delete (call_t *call);
