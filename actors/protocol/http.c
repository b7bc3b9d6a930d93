/*  http - the tables of the exchange between the HTTPS edge and the gateway */
#include "actors/protocol/http.h"

/* clang-format off */
RECORD_ENUM_DEFINE (api_role, API_ROLES)

#define RECORD_SELF http_request_t
RECORD_DEFINE (http_request, 120, 0, "An HTTP request.", HTTP_REQUEST)
#undef RECORD_SELF
#define RECORD_SELF http_response_t
RECORD_DEFINE (http_response, 121, 0, "An HTTP response.", HTTP_RESPONSE)
#undef RECORD_SELF
#define RECORD_SELF http_endpoint_get_t
RECORD_DEFINE (http_endpoint_get, 122, 0, "Where is the API?", HTTP_ENDPOINT_GET)
#undef RECORD_SELF
#define RECORD_SELF http_endpoint_t
RECORD_DEFINE (http_endpoint, 123, 0, "Where the API is.", HTTP_ENDPOINT)
#undef RECORD_SELF
#define RECORD_SELF gateway_probe_t
RECORD_DEFINE (gateway_probe, 124, 0, "A master asks another whether it is there.", GATEWAY_PROBE)
#undef RECORD_SELF
#define RECORD_SELF gateway_state_t
RECORD_DEFINE (gateway_state, 125, 0, "It is there.", GATEWAY_STATE)
#undef RECORD_SELF
/* clang-format on */
