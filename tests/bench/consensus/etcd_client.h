/*  etcd_client - a load on etcd's KV service: gRPC by hand, over nghttp2

    Puts and linearizable ranges of one key (etcdserverpb.KV), all multiplexed over a few
    HTTP/2 connections to each member. One thread; what is sent in one pass of its loop leaves in
    one write.

    gRPC over HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
*/
#pragma once

#include "tests/bench/consensus/load.h"
#include "tests/bench/consensus/tls.h"

/*  Where the members are. */
typedef struct {
    uint16_t ports[LOAD_MEMBERS_MAX]; /* of their client endpoints, on 127.0.0.1 */
    unsigned members;
    const tls_identity_t *identity; /* of both sides; NULL: without TLS */
} etcd_endpoints_t;

/*  Runs a load to its end. -1 with a line on stderr if no member can be reached. */
int etcd_client_run (const etcd_endpoints_t *endpoints, const load_config_t *config,
                     load_result_t *result);

/*  Which member leads; -1: none, or it does not answer. */
int etcd_client_leader (const etcd_endpoints_t *endpoints);
