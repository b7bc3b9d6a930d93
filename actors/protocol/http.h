/*  http - an HTTP exchange as a message

    Between "http", the edge that owns the sockets, and "gateway", which knows
    what the requests mean. Between gateways: who is there. Ids: 120-129.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/message.h"

/* clang-format off */

/*  What the bearer of an API token may do. */
#define API_ROLES(E) \
    E (API_NOBODY, "nobody") /* no token */ \
    E (API_VIEWER, "viewer") /* may read */ \
    E (API_ADMIN, "admin")   /* may do everything */
RECORD_ENUM (api_role, API_ROLES)

/*  "http" to "gateway", as a request; the reply is a http_response. The edge has
    checked the framing, the size, the text and the token. */
#define HTTP_REQUEST(F) \
    F (STRING, method, _, .min = 1, .max = 16, .doc = "GET, POST ...") \
    F (STRING, path, _, .min = 1, .max = 1024, .doc = "Percent-decoded, without the query.") \
    F (MAP, query, _, .max = 32, .doc = "Percent-decoded.") \
    F (MAP, headers, _, .max = 8, .doc = "Those that matter, with lower-case names: accept, content-type, idempotency-key, if-match, x-nexus-after.") \
    F (BYTES, body, _, .max = 1048576, .doc = "Content.") \
    F (STRING, peer, _, .max = 64, .doc = "Who asks: address and port.") \
    F (STRING, user, _, .max = 63, .doc = "Name of the token; empty: none.") \
    F (ENUM, role, api_role, .doc = "What the token allows.")
RECORD_DECLARE (http_request, HTTP_REQUEST)

#define HTTP_RESPONSE(F) \
    F (UINT, status, _, .min = 100, .max = 599, .doc = "HTTP status.") \
    F (STRING, content_type, _, .max = 100, .doc = "Media type of the body.") \
    F (MAP, headers, _, .max = 16, .doc = "Further headers.") \
    F (BYTES, body, _, .max = 67108864, .doc = "Content.")
RECORD_DECLARE (http_response, HTTP_RESPONSE)

/*  To "http", as a request: where do you listen? */
#define HTTP_ENDPOINT_GET(F) F (BOOL, now, _, .def = "true", .doc = "Says nothing.")
RECORD_DECLARE (http_endpoint_get, HTTP_ENDPOINT_GET)
#define HTTP_ENDPOINT(F) \
    F (STRING, url, _, .max = 200, .doc = "https://ADDRESS:PORT") \
    F (UINT, port, _, .max = 65535, .doc = "The port, also where the configuration left it open.") \
    F (STRING, certificate, _, .max = 1024, .doc = "PEM file of its certificate.")
RECORD_DECLARE (http_endpoint, HTTP_ENDPOINT)

/*  "gateway" to the other masters' "gateway", as a request, every second. The reply is
    a gateway_state: that master is reachable. */
#define GATEWAY_PROBE(F) F (UINT, term, _, .doc = "The sender's Raft term.")
RECORD_DECLARE (gateway_probe, GATEWAY_PROBE)
#define GATEWAY_STATE(F) \
    F (UINT, term, _, .doc = "Raft term.") \
    F (BOOL, leading, _, .doc = "It leads.") \
    F (UINT, applied, _, .doc = "Applied index of its ledger.") \
    F (ENUM, standing, standing, .doc = "What it is to the group.")
RECORD_DECLARE (gateway_state, GATEWAY_STATE)

/* clang-format on */
