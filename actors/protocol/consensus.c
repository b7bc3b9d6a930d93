/*  consensus - the tables of the elections' messages */
#include "actors/protocol/consensus.h"

/* clang-format off */
#define RECORD_SELF consensus_entry_t
RECORD_DEFINE (consensus_entry, 0, 0, "An entry of the replicated log.", CONSENSUS_ENTRY)
#undef RECORD_SELF
#define RECORD_SELF consensus_t
RECORD_DEFINE (consensus, 130, 0, "A message of Raft.", CONSENSUS)
#undef RECORD_SELF
#define RECORD_SELF read_barrier_t
RECORD_DEFINE (read_barrier, 131, 0, "Tell me when I may read.", READ_BARRIER)
#undef RECORD_SELF
#define RECORD_SELF leadership_transfer_t
RECORD_DEFINE (leadership_transfer, 132, 0, "Let somebody else lead.", LEADERSHIP_TRANSFER)
#undef RECORD_SELF
RECORD_ENUM_DEFINE (master_op_kind, MASTER_OP_KINDS)
#define RECORD_SELF master_op_t
RECORD_DEFINE (master_op, 0, 0, "A change of one master's part.", MASTER_OP)
#undef RECORD_SELF
#define RECORD_SELF master_change_t
RECORD_DEFINE (master_change, 133, 0, "Change who the masters are.", MASTER_CHANGE)
#undef RECORD_SELF
#define RECORD_SELF raft_view_get_t
RECORD_DEFINE (raft_view_get, 135, 0, "How does consensus look from there?", RAFT_VIEW_GET)
#undef RECORD_SELF
RECORD_ENUM_DEFINE (raft_view_role, RAFT_VIEW_ROLES)
RECORD_ENUM_DEFINE (raft_view_state, RAFT_VIEW_STATES)
#define RECORD_SELF raft_peer_view_t
RECORD_DEFINE (raft_peer_view, 0, 0, "A master, as the leader sees it.", RAFT_PEER_VIEW)
#undef RECORD_SELF
#define RECORD_SELF raft_view_t
RECORD_DEFINE (raft_view, 136, 0, "How consensus looks from here.", RAFT_VIEW)
#undef RECORD_SELF
/* clang-format on */
