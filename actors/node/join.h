/*  join - how a node with a token becomes a member */
#pragma once

#include "actors/protocol/config.h"
#include "runtime/log.h"
#include "transport/identity.h"

/*  Connects to the masters with the token's own key, asks them to let node_key in
    as config says, and writes the certificate to the file. Returns at once if the file holds a
    certificate for that key already. Waits at most 30 seconds; -1 with the reason. */
int node_join (const worker_config_t *config, const keypair_t *node_key, const char *certificate,
               log_t *log, nexus_error_t *error);
