/*  status_raft - nexus status --raft: consensus, as each master sees it */
#pragma once

#include "cli/client.h"

/*  Asks and prints, as JSON or for people; the exit code. */
int status_raft (client_t *client, bool json);
