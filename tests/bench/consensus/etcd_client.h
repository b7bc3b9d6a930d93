/*  etcd_client - a load on etcd's KV service: gRPC by hand, over nghttp2

    Puts and linearizable ranges of one key (etcdserverpb.KV), all multiplexed over a few
    HTTP/2 connections without TLS to each member. One thread; what is sent in one
    pass of its loop leaves in one write.

    gRPC over HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
*/
#pragma once

#include "tests/bench/consensus/load.h"

/*  Runs a load to its end. ports: of the members' client endpoints on 127.0.0.1. -1 with a
    line on stderr if no member can be reached. */
int etcd_client_run (const uint16_t *ports, unsigned members, const load_config_t *config,
                     load_result_t *result);

/*  Which member leads; -1: none, or it does not answer. */
int etcd_client_leader (const uint16_t *ports, unsigned members);
