/*  election_raft_log - the election's log on disk: storage/raft_log.h, as the core reads it */
#pragma once

#include "actors/election/election.h"
#include "storage/raft_log.h"

/*  log is borrowed; raft_log_actor, started with it under its own name, writes it. */
election_log_t election_raft_log (raft_log_t *log);
