/*  config - a node's configuration file */
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/log.h"
#include "storage/raft_log.h"

/* clang-format off */

#define LOG_CONFIG(F) \
    F (ENUM, level, log_level_name, .def = "info", .doc = "debug, info, warning or error.") \
    F (BOOL, json, _, .doc = "JSON lines instead of logfmt.") \
    F (STRING, file, _, .max = 1024, .doc = "Appended to; empty: standard error.")
#define LOG_LEVEL_NAMES(E) E (LOG_LEVEL_DEBUG, "debug") E (LOG_LEVEL_INFO, "info") E (LOG_LEVEL_WARNING, "warning") E (LOG_LEVEL_ERROR, "error")
extern const record_choices_t log_level_name_choices; /* of log_level_t */
RECORD_DECLARE (log_config, LOG_CONFIG)

#define DURABILITY_NAMES(E) \
    E (RAFT_LOG_JOURNALED, "journaled") E (RAFT_LOG_PIPELINED, "pipelined") E (RAFT_LOG_STRICT, "strict")
extern const record_choices_t durability_choices; /* of raft_log_durability_t */

#define PEER_CONFIG(F) \
    F (STRING, name, _, .flags = RECORD_REQUIRED, .min = 1, .max = 63, .doc = "The master's name.") \
    F (KEY, key, _, .flags = RECORD_REQUIRED, .doc = "Its public key: nexus key FILE.") \
    F (STRING, endpoint, _, .flags = RECORD_REQUIRED, .min = 1, .max = 200, .doc = "tcp://HOST:PORT of its link.") \
    F (STRING, api, _, .max = 200, .doc = "https://HOST:PORT of its API.")
RECORD_DECLARE (peer_config, PEER_CONFIG)

#define API_CONFIG(F) \
    F (STRING, bind, _, .def = "127.0.0.1", .max = 200, .doc = "Address to listen on.") \
    F (UINT, port, _, .def = "7443", .max = 65535, .doc = "Port; 0: any free one.") \
    F (STRING, certificate, _, .max = 1024, .doc = "PEM file; made with its key at the first start if neither is there. Empty: api-cert.pem in the node's directory.") \
    F (STRING, key, _, .max = 1024, .doc = "PEM file; empty: api-key.pem in the node's directory.") \
    F (STRING, tokens, _, .max = 1024, .doc = "File of the bearer tokens that are accepted: one BLAKE2b-256 hash (hex), a name and a role (admin or viewer) a line. Empty: api-tokens in the node's directory.")
RECORD_DECLARE (api_config, API_CONFIG)

#define MASTER_CONFIG(F) \
    F (STRING, name, _, .flags = RECORD_REQUIRED, .min = 1, .max = 63, .doc = "Unique in the cluster; must be among masters.") \
    F (STRING, site, _, .def = "default", .max = 63, .doc = "Where it stands.") \
    F (STRING, dir, _, .flags = RECORD_REQUIRED, .min = 1, .max = 1024, .doc = "Its directory: keys, log, ledger. Nobody else's.") \
    F (STRING, bind, _, .flags = RECORD_REQUIRED, .min = 1, .max = 200, .doc = "tcp://ADDRESS:PORT to listen on.") \
    F (RECORDS, masters, peer_config, .flags = RECORD_REQUIRED, .min = 1, .max = 32, .doc = "All masters, this one included. Of a new cluster: those that found it, the same in each one's file; they decide. With join: those that are there, and this one. Looked at until the cluster has told this master who they are.") \
    F (BOOL, join, _, .doc = "This master comes to a cluster that is there: at its first start it waits until nexus master add lets it in. Without, its first start founds a new cluster with the masters above.") \
    F (STRING, root, _, .flags = RECORD_REQUIRED, .max = 1024, .doc = "File of the cluster's root key.") \
    F (RECORD, api, api_config, .doc = "The HTTPS API.") \
    F (UINT, election_ms_min, _, .def = "150", .min = 20, .max = 60000, .unit = "ms", .doc = "The election timeout is fitted to the network and the disk, but is never shorter: silence after which a master stands for election, at random up to twice that.") \
    F (UINT, election_ms_max, _, .def = "10000", .min = 20, .max = 60000, .unit = "ms", .doc = "And never longer.") \
    F (UINT, snapshot_entries, _, .def = "100000", .min = 10, .doc = "Log entries after which the ledger is copied, and the log shortened.") \
    F (UINT, snapshot_seconds, _, .def = "10", .max = 86400, .unit = "s", .doc = "At least so long after the last time: under a heavy load copies would follow each other otherwise.") \
    F (UINT, snapshot_log_mib, _, .def = "1024", .min = 1, .max = 8192, .unit = "MiB", .doc = "Size of the log from which on that happens, however few the entries, or soon after the last time.") \
    F (UINT, snapshot_mib_per_second, _, .def = "32", .min = 1, .max = 10000, .unit = "MiB/s", .doc = "What copies may take of this master's network.") \
    F (ENUM, durability, durability, .def = "journaled", .doc = "How the log reaches the disk, always safe. journaled: one flush a write, of a small file in front of LMDB; pipelined: LMDB only, one flush a write under load, two otherwise; strict: two.") \
    F (UINT, lost_after_ms, _, .def = "3000", .min = 100, .max = 3600000, .unit = "ms", .doc = "Silence after which a worker is taken for lost; a third of it if its connection broke.") \
    F (RECORD, log, log_config, .doc = "Log.")
RECORD_DECLARE (master_config, MASTER_CONFIG)

#define LANE_CONFIG(F) \
    F (STRING, bind, _, .max = 200, .doc = "tcp://ADDRESS:PORT of the data lane (port *: any free one); empty: this worker hosts no aggregators.") \
    F (STRING, advertise, _, .max = 200, .doc = "What others connect to, if that is not the bound address.")
RECORD_DECLARE (lane_config, LANE_CONFIG)

#define WORKER_CONFIG(F) \
    F (STRING, name, _, .flags = RECORD_REQUIRED, .min = 1, .max = 63, .doc = "Unique in the cluster.") \
    F (STRING, site, _, .def = "default", .max = 63, .doc = "Where it stands.") \
    F (STRING, dir, _, .flags = RECORD_REQUIRED, .min = 1, .max = 1024, .doc = "Its directory: key, tasks, logs. Nobody else's.") \
    F (RECORDS, masters, peer_config, .flags = RECORD_REQUIRED, .min = 1, .max = 32, .doc = "The masters, or some of them: those tell of the others, and DIR/masters remembers.") \
    F (STRING, token, _, .max = 1024, .doc = "File of the join token; needed until the worker has joined.") \
    F (RECORD, resources, resources, .doc = "What it offers; cpu 0: all cores.") \
    F (RECORD, lane, lane_config, .doc = "Its data lane.") \
    F (MAP, labels, _, .max = 64, .doc = "Free text for people and programs.") \
    F (UINT, heartbeat_ms, _, .def = "500", .min = 10, .max = 60000, .unit = "ms", .doc = "How often it reports.") \
    F (RECORD, log, log_config, .doc = "Log.")
RECORD_DECLARE (worker_config, WORKER_CONFIG)

/*  What `nexus` as a client needs: written by nexus up. */
#define CLIENT_CONFIG(F) \
    F (STRINGS, endpoints, _, .flags = RECORD_REQUIRED, .min = 1, .max = 32, .doc = "https://HOST:PORT of the masters' APIs; any of them will do.") \
    F (STRING, token, _, .flags = RECORD_SECRET, .max = 200, .doc = "Bearer token.") \
    F (STRING, authority, _, .max = 1024, .doc = "PEM file of the certificates to trust.")
RECORD_DECLARE (client_config, CLIENT_CONFIG)

/* clang-format on */
