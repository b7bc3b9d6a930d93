/*  zap - who may finish a CURVE handshake (ZeroMQ RFC 27)

    An edge actor, one a node: it binds inproc://zeromq.zap.01 in the node's own
    libzmq context and answers libzmq's question for each handshake from the
    keyring. Known key: 200, with the key's hex digits as User-Id, which libzmq
    then attaches to every message of that connection. Unknown, expired, not
    CURVE: 400. An address that asks too often: 300 (try again later).

    Start it before any socket binds. Should it end, nobody gets in any more: the
    links set ZMQ_ZAP_ENFORCE_DOMAIN. Answers always have the RFC's six frames; a
    malformed question is refused or, where there is nobody to answer, dropped,
    and counted either way in nexus_zap_requests_total{status}.
*/
#pragma once

#include "runtime/behaviour.h"
#include "transport/keyring.h"

typedef struct {
    keyring_t *keyring; /* borrowed */
    double rate_per_s;  /* handshakes of one address, on average; 0: 100 */
    double burst;       /* and at once; 0: 1,000 */
} zap_config_t;

/*  Its arguments are a zap_config_t. It receives no messages. */
extern const behaviour_t zap_behaviour;
