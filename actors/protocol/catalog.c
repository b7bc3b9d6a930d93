/*  catalog - every kind that nodes send each other, and who may send it */
#include "actors/protocol/catalog.h"

#include "actors/protocol/command.h"
#include "actors/protocol/consensus.h"
#include "actors/protocol/data.h"
#include "actors/protocol/http.h"
#include "actors/protocol/snapshot.h"

enum {
    MASTER = ROLE_BIT (ROLE_MASTER),
    WORKER = ROLE_BIT (ROLE_WORKER),
    TASK = ROLE_BIT (ROLE_TASK),
    JOINER = ROLE_BIT (ROLE_JOINER)
};

/*  Ascending by id. failure and done answer whoever asked. */
static const catalog_entry_t entries[] = {
    {&failure_record, MASTER | WORKER},
    {&done_record, MASTER | WORKER},
    {&chunk_push_record, TASK},
    {&chunk_result_record, WORKER},
    {&propose_record, MASTER | WORKER},
    {&proposed_record, MASTER},
    {&kv_get_record, MASTER | WORKER},
    {&kv_got_record, MASTER},
    {&enrol_record, JOINER},
    {&enrolled_record, MASTER},
    {&heartbeat_record, WORKER},
    {&worker_report_record, WORKER},
    {&metrics_stored_record, MASTER},
    {&group_view_record, WORKER},
    {&assignment_record, MASTER},
    {&log_read_record, MASTER},
    {&log_chunk_record, WORKER},
    {&master_list_record, MASTER},
    {&task_join_record, TASK},
    {&task_metrics_record, TASK},
    {&task_stop_record, WORKER},
    {&gateway_probe_record, MASTER},
    {&gateway_state_record, MASTER},
    {&consensus_record, MASTER},
    {&leadership_transfer_record, MASTER},
    {&master_change_record, MASTER},
    {&raft_view_get_record, MASTER},
    {&raft_view_record, MASTER},
    {&snapshot_read_record, MASTER},
    {&snapshot_chunk_record, MASTER},
};

const catalog_t protocol_catalog = {entries, sizeof (entries) / sizeof (entries[0])};

static const catalog_entry_t command_entries[] = {
    {&submit_job_record, 0},  {&end_job_record, 0},        {&place_job_record, 0},
    {&explain_job_record, 0}, {&update_tasks_record, 0},   {&add_metrics_record, 0},
    {&add_worker_record, 0},  {&set_worker_record, 0},     {&remove_worker_record, 0},
    {&set_master_record, 0},  {&add_token_record, 0},      {&kv_put_record, 0},
    {&kv_delete_record, 0},   {&change_masters_record, 0}, {&once_record, 0},
};

const catalog_t command_catalog = {command_entries,
                                   sizeof (command_entries) / sizeof (command_entries[0])};
