/*  api - the tables of what the management API takes and gives */
#include "actors/protocol/api.h"

/* clang-format off */
RECORD_ENUM_DEFINE (master_role, MASTER_ROLES)

#define RECORD_SELF problem_fault_t
RECORD_DEFINE (problem_fault, 0, 0, "A fault of a document.", PROBLEM_FAULT)
#undef RECORD_SELF
#define RECORD_SELF problem_t
RECORD_DEFINE (problem, 0, 0, "What went wrong (RFC 9457).", PROBLEM)
#undef RECORD_SELF
#define RECORD_SELF master_status_t
RECORD_DEFINE (master_status, 0, 0, "A master and how it is.", MASTER_STATUS)
#undef RECORD_SELF
#define RECORD_SELF worker_counts_t
RECORD_DEFINE (worker_counts, 0, 0, "Workers by state.", WORKER_COUNTS)
#undef RECORD_SELF
#define RECORD_SELF job_counts_t
RECORD_DEFINE (job_counts, 0, 0, "Jobs by phase.", JOB_COUNTS)
#undef RECORD_SELF
#define RECORD_SELF raft_master_t
RECORD_DEFINE (raft_master, 0, 0, "Consensus, as one master sees it.", RAFT_MASTER)
#undef RECORD_SELF
#define RECORD_SELF raft_overview_t
RECORD_DEFINE (raft_overview, 0, 0, "Consensus, as all masters see it.", RAFT_OVERVIEW)
#undef RECORD_SELF
#define RECORD_SELF cluster_status_t
RECORD_DEFINE (cluster_status, 0, 0, "The cluster at a glance.", CLUSTER_STATUS)
#undef RECORD_SELF
#define RECORD_SELF job_list_query_t
RECORD_DEFINE (job_list_query, 0, 0, "Which jobs.", JOB_LIST_QUERY)
#undef RECORD_SELF
#define RECORD_SELF job_list_t
RECORD_DEFINE (job_list, 0, 0, "Jobs, a page at a time.", JOB_LIST)
#undef RECORD_SELF
#define RECORD_SELF worker_ref_t
RECORD_DEFINE (worker_ref, 0, 0, "A worker that is named by key.", WORKER_REF)
#undef RECORD_SELF
#define RECORD_SELF job_detail_t
RECORD_DEFINE (job_detail, 0, 0, "A job with its ranks and aggregators.", JOB_DETAIL)
#undef RECORD_SELF
#define RECORD_SELF log_query_t
RECORD_DEFINE (log_query, 0, 0, "Which part of which output.", LOG_QUERY)
#undef RECORD_SELF
#define RECORD_SELF metric_query_t
RECORD_DEFINE (metric_query, 0, 0, "Which metrics.", METRIC_QUERY)
#undef RECORD_SELF
#define RECORD_SELF metric_list_t
RECORD_DEFINE (metric_list, 0, 0, "Values that a job reported.", METRIC_LIST)
#undef RECORD_SELF
#define RECORD_SELF worker_status_t
RECORD_DEFINE (worker_status, 0, 0, "A worker and how it is.", WORKER_STATUS)
#undef RECORD_SELF
#define RECORD_SELF worker_list_t
RECORD_DEFINE (worker_list, 0, 0, "All workers.", WORKER_LIST)
#undef RECORD_SELF
#define RECORD_SELF master_info_t
RECORD_DEFINE (master_info, 0, 0, "A master, as the leader sees it.", MASTER_INFO)
#undef RECORD_SELF
#define RECORD_SELF master_info_list_t
RECORD_DEFINE (master_info_list, 0, 0, "The masters.", MASTER_INFO_LIST)
#undef RECORD_SELF
#define RECORD_SELF master_request_t
RECORD_DEFINE (master_request, 0, 0, "A new master.", MASTER_REQUEST)
#undef RECORD_SELF
#define RECORD_SELF transfer_request_t
RECORD_DEFINE (transfer_request, 0, 0, "Who shall lead.", TRANSFER_REQUEST)
#undef RECORD_SELF
#define RECORD_SELF transfer_result_t
RECORD_DEFINE (transfer_result, 0, 0, "Who leads.", TRANSFER_RESULT)
#undef RECORD_SELF
#define RECORD_SELF drain_request_t
RECORD_DEFINE (drain_request, 0, 0, "Take a worker out of service.", DRAIN_REQUEST)
#undef RECORD_SELF
#define RECORD_SELF token_request_t
RECORD_DEFINE (token_request, 0, 0, "Let nodes join.", TOKEN_REQUEST)
#undef RECORD_SELF
#define RECORD_SELF kv_query_t
RECORD_DEFINE (kv_query, 0, 0, "Which entries.", KV_QUERY)
#undef RECORD_SELF
#define RECORD_SELF kv_list_t
RECORD_DEFINE (kv_list, 0, 0, "A page of entries.", KV_LIST)
#undef RECORD_SELF
#define RECORD_SELF kv_written_t
RECORD_DEFINE (kv_written, 0, 0, "A write of the key-value store.", KV_WRITTEN)
#undef RECORD_SELF
#define RECORD_SELF backup_t
RECORD_DEFINE (backup, 0, 0, "A copy of the whole ledger.", BACKUP)
#undef RECORD_SELF
#define RECORD_SELF backup_query_t
RECORD_DEFINE (backup_query, 0, 0, "Which part of a backup.", BACKUP_QUERY)
#undef RECORD_SELF
#define RECORD_SELF backup_create_query_t
RECORD_DEFINE (backup_create_query, 0, 0, "Of what the copy is.", BACKUP_CREATE_QUERY)
#undef RECORD_SELF
/* clang-format on */
