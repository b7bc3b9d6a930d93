/*  cluster - the tables of the control plane's messages */
#include "actors/protocol/cluster.h"

#include <string.h>

/* clang-format off */
RECORD_ENUM_DEFINE (worker_state, WORKER_STATES)

#define RECORD_SELF worker_t
RECORD_DEFINE (worker, 0, 0, "A worker, as the ledger keeps it.", WORKER)
#undef RECORD_SELF
RECORD_ENUM_DEFINE (suffrage, SUFFRAGES)
RECORD_ENUM_DEFINE (standing, STANDINGS)
#define RECORD_SELF master_t
RECORD_DEFINE (master, 0, 0, "A master, as the ledger keeps it.", MASTER)
#undef RECORD_SELF
#define RECORD_SELF conf_member_t
RECORD_DEFINE (conf_member, 0, 0, "A master's part in decisions.", CONF_MEMBER)
#undef RECORD_SELF
#define RECORD_SELF cluster_conf_t
RECORD_DEFINE (cluster_conf, 0, 0, "Which masters decide.", CLUSTER_CONF)
#undef RECORD_SELF
#define RECORD_SELF token_t
RECORD_DEFINE (token, 0, 0, "A join token, as the ledger keeps it.", TOKEN)
#undef RECORD_SELF
#define RECORD_SELF kv_entry_t
RECORD_DEFINE (kv_entry, 0, 0, "An entry of the key-value store.", KV_ENTRY)
#undef RECORD_SELF
#define RECORD_SELF propose_t
RECORD_DEFINE (propose, 80, 0, "A command for the log.", PROPOSE)
#undef RECORD_SELF
#define RECORD_SELF proposed_t
RECORD_DEFINE (proposed, 81, 0, "It is applied.", PROPOSED)
#undef RECORD_SELF
#define RECORD_SELF leadership_subscribe_t
RECORD_DEFINE (leadership_subscribe, 82, 0, "Tell me who leads.", LEADERSHIP_SUBSCRIBE)
#undef RECORD_SELF
#define RECORD_SELF leadership_t
RECORD_DEFINE (leadership, 83, 0, "Who leads.", LEADERSHIP)
#undef RECORD_SELF
#define RECORD_SELF apply_entry_t
RECORD_DEFINE (apply_entry, 0, 0, "A committed log entry.", APPLY_ENTRY)
#undef RECORD_SELF
#define RECORD_SELF apply_t
RECORD_DEFINE (apply, 84, 0, "Committed entries for the ledger.", APPLY)
#undef RECORD_SELF
#define RECORD_SELF apply_result_t
RECORD_DEFINE (apply_result, 0, 0, "What applying an entry yielded.", APPLY_RESULT)
#undef RECORD_SELF
#define RECORD_SELF applied_t
RECORD_DEFINE (applied, 85, 0, "Entries are applied.", APPLIED)
#undef RECORD_SELF
#define RECORD_SELF ledger_subscribe_t
RECORD_DEFINE (ledger_subscribe, 86, 0, "Tell me when the ledger changes.", LEDGER_SUBSCRIBE)
#undef RECORD_SELF
#define RECORD_SELF ledger_changed_t
RECORD_DEFINE (ledger_changed, 87, 0, "The ledger has changed.", LEDGER_CHANGED)
#undef RECORD_SELF
#define RECORD_SELF kv_get_t
RECORD_DEFINE (kv_get, 88, 0, "Read the key-value store.", KV_GET)
#undef RECORD_SELF
#define RECORD_SELF kv_got_t
RECORD_DEFINE (kv_got, 89, 0, "What the key-value store holds.", KV_GOT)
#undef RECORD_SELF
#define RECORD_SELF enrol_t
RECORD_DEFINE (enrol, 90, 0, "A node asks to join.", ENROL)
#undef RECORD_SELF
#define RECORD_SELF enrolled_t
RECORD_DEFINE (enrolled, 91, 0, "It has joined.", ENROLLED)
#undef RECORD_SELF
#define RECORD_SELF heartbeat_t
RECORD_DEFINE (heartbeat, 92, 0, "A worker is alive.", HEARTBEAT)
#undef RECORD_SELF
#define RECORD_SELF task_state_t
RECORD_DEFINE (task_state, 0, 0, "What a worker knows of a task.", TASK_STATE)
#undef RECORD_SELF
#define RECORD_SELF shard_state_t
RECORD_DEFINE (shard_state, 0, 0, "What a worker knows of an aggregator.", SHARD_STATE)
#undef RECORD_SELF
#define RECORD_SELF metric_report_t
RECORD_DEFINE (metric_report, 0, 0, "A metric value and its job.", METRIC_REPORT)
#undef RECORD_SELF
#define RECORD_SELF worker_report_t
RECORD_DEFINE (worker_report, 93, 0, "What a worker runs.", WORKER_REPORT)
#undef RECORD_SELF
#define RECORD_SELF metrics_stored_t
RECORD_DEFINE (metrics_stored, 94, 0, "Metric values are in the ledger.", METRICS_STORED)
#undef RECORD_SELF
#define RECORD_SELF group_member_t
RECORD_DEFINE (group_member, 0, 0, "A rank of a group.", GROUP_MEMBER)
#undef RECORD_SELF
#define RECORD_SELF group_shard_t
RECORD_DEFINE (group_shard, 0, 0, "An aggregator of a group.", GROUP_SHARD)
#undef RECORD_SELF
#define RECORD_SELF group_view_t
RECORD_DEFINE (group_view, 95, 0, "A group: its ranks and aggregators.", GROUP_VIEW)
#undef RECORD_SELF
#define RECORD_SELF task_order_t
RECORD_DEFINE (task_order, 0, 0, "Run this rank.", TASK_ORDER)
#undef RECORD_SELF
#define RECORD_SELF shard_order_t
RECORD_DEFINE (shard_order, 0, 0, "Host this aggregator.", SHARD_ORDER)
#undef RECORD_SELF
#define RECORD_SELF assignment_t
RECORD_DEFINE (assignment, 96, 0, "All that a worker shall run.", ASSIGNMENT)
#undef RECORD_SELF
#define RECORD_SELF log_read_t
RECORD_DEFINE (log_read, 97, 0, "Read captured output.", LOG_READ)
#undef RECORD_SELF
#define RECORD_SELF log_chunk_t
RECORD_DEFINE (log_chunk, 98, 0, "Captured output.", LOG_CHUNK)
#undef RECORD_SELF
#define RECORD_SELF task_orders_t
RECORD_DEFINE (task_orders, 100, 0, "The tasks that a worker shall run.", TASK_ORDERS)
#undef RECORD_SELF
#define RECORD_SELF task_states_t
RECORD_DEFINE (task_states, 101, 0, "The tasks that a worker runs.", TASK_STATES)
#undef RECORD_SELF
#define RECORD_SELF shard_orders_t
RECORD_DEFINE (shard_orders, 102, 0, "The aggregators that a worker shall host.", SHARD_ORDERS)
#undef RECORD_SELF
#define RECORD_SELF shard_states_t
RECORD_DEFINE (shard_states, 103, 0, "The aggregators that a worker hosts.", SHARD_STATES)
#undef RECORD_SELF
#define RECORD_SELF worker_view_t
RECORD_DEFINE (worker_view, 0, 0, "What was heard of a worker.", WORKER_VIEW)
#undef RECORD_SELF
#define RECORD_SELF task_traffic_t
RECORD_DEFINE (task_traffic, 0, 0, "Bytes between a task and the aggregators.", TASK_TRAFFIC)
#undef RECORD_SELF
#define RECORD_SELF cluster_view_get_t
RECORD_DEFINE (cluster_view_get, 108, 0, "A master's soft state, please.", CLUSTER_VIEW_GET)
#undef RECORD_SELF
#define RECORD_SELF cluster_view_t
RECORD_DEFINE (cluster_view, 109, 0, "A master's soft state.", CLUSTER_VIEW)
#undef RECORD_SELF
#define RECORD_SELF task_file_t
RECORD_DEFINE (task_file, 0, 0, "Who a task is: the file named by NEXUS_TASK_FILE.", TASK_FILE)
#undef RECORD_SELF
#define RECORD_SELF master_list_t
RECORD_DEFINE (master_list, 104, 0, "Who the masters are.", MASTER_LIST)
#undef RECORD_SELF
#define RECORD_SELF task_join_t
RECORD_DEFINE (task_join, 105, 0, "A task asks for its group.", TASK_JOIN)
#undef RECORD_SELF
#define RECORD_SELF task_metrics_t
RECORD_DEFINE (task_metrics, 106, 0, "Metric values of a task.", TASK_METRICS)
#undef RECORD_SELF
#define RECORD_SELF task_stop_t
RECORD_DEFINE (task_stop, 107, 0, "The job is being stopped.", TASK_STOP)
#undef RECORD_SELF
/* clang-format on */

bool worker_name_check (const char *name)
{
    size_t size =
        strspn (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return size && !name[size];
}
