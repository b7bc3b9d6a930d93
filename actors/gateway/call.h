/*  call - one request of the HTTP API in the gateway's hands

    Lives for one callback: it is built from the request's message, its memory
    is one arena, and its snapshot of the ledger ends with it. Where an answer
    needs another actor, the request's message is what is kept, and the call is
    built again when that actor has answered.
*/
#pragma once

#include "actors/gateway/routes.h"
#include "actors/protocol/api.h"
#include "actors/protocol/http.h"
#include "actors/protocol/ledger.h"
#include "runtime/behaviour.h"

typedef struct gateway gateway_t;

enum { CALL_HEADERS_MAX = 8 };

struct call {
    gateway_t *gateway;
    context_t *ctx;
    const message_t *message;
    const http_request_t *request;
    const route_t *route;
    route_arguments_t arguments;
    void *query;                         /* a value of route->query */
    bool stale;                          /* ?stale=true */
    void *body;                          /* a value of route->request */
    const cluster_view_t *view;          /* ROUTE_VIEW: the soft state; NULL: not to be had */
    const struct gateway_gather *gather; /* in a continuation: what was gathered */
    const char *value; /* in a continuation of call_propose: what the command yielded */
    tables_txn_t *txn;
    bool damaged; /* txn is: that is the answer */
    arena_t arena;
    record_pair_t headers[CALL_HEADERS_MAX];
    size_t header_count;
    record_faults_t faults;
};

/*  How a call goes on: reply is what the asked actor said, a failure record
    among others; NULL where there was no single reply to wait for. */
typedef void (call_next_t) (call_t *call, const message_t *reply);

/*  ---- the request --------------------------------------------------------- */

/*  A header's value by its lower-case name; "" if it was not sent. */
const char *call_header (const call_t *call, const char *name);
/*  The body came as YAML. */
bool call_body_is_yaml (const call_t *call);

/*  ---- the answer: one of these, once --------------------------------------- */

/*  Adds a header to the answer; the value lives at least as long as the call. */
void call_add_header (call_t *call, const char *name, const char *value);

void call_reply (call_t *call, int status, const char *content_type, const void *body, size_t size);
/*  The record as JSON, with the route's status. */
void call_reply_record (call_t *call, const record_t *record, const void *value);
void call_reply_text (call_t *call, int status, const char *text);
/*  RFC 9457; the status is the code's. */
void call_fail (call_t *call, nexus_code_t code, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));
void call_fail_error (call_t *call, const nexus_error_t *error);
/*  A problem with a status of its own and call->faults as its errors. */
void call_problem (call_t *call, int status, const char *code, const char *format, ...)
    __attribute__ ((format (printf, 4, 5)));

/*  ---- asking others -------------------------------------------------------- */

/*  Sends a request; next is called with the answer, a failure included. */
void call_ask (call_t *call, const address_t *to, const record_t *kind, const void *body,
               int64_t timeout_ms, call_next_t *next);

/*  Puts a command into the log; next is called (reply NULL, call->value set) once
    this master's own ledger has it, so that a client reads its own writes. If the
    command fails, the call is answered and next is not called. With an Idempotency-Key it is
    applied at most once, however often and wherever the request is repeated. */
void call_propose (call_t *call, const record_t *kind, const void *command, call_next_t *next);
/*  The same for another request to "election" that is answered with a proposed; repeating it must
    do no harm. */
void call_change (call_t *call, const record_t *kind, const void *body, call_next_t *next);
