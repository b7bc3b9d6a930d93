/*  routes - the table of the HTTP API

    One row an operation: from it requests are dispatched, their query and body
    checked, and /openapi.json generated. A new operation is one row and its
    handler.
*/
#pragma once

#include "runtime/record.h"

typedef struct call call_t;

enum {
    ROUTE_OPEN = 1, /* answers without a token */
    ROUTE_VIEW = 2, /* the handler wants the soft state (call->view) */
    /*  What a handler reads shows all that was done before the request came (a read barrier), or with
        ?stale=true what this master has; unless */
    ROUTE_LOCAL = 4,  /* it is about this very master, */
    ROUTE_ASKS = 8,   /* or reads nothing before it asks an actor that sees to it. */
    ROUTE_BYTES = 16, /* the request's body is a value as it is */
    ROUTE_ADMIN = 32  /* reading it takes the role admin, too */
};

enum { ROUTE_ARGUMENTS_MAX = 2, ROUTE_ARGUMENT_SIZE = 512 };

typedef struct {
    const char *method;
    const char *path; /* "/api/v1/jobs/{job_id}"; {key...} takes slashes, too */
    const char *id;   /* operationId */
    const char *tag;
    const char *summary;
    void (*handler) (call_t *call);
    const record_t *query;    /* NULL: takes no parameters */
    const record_t *request;  /* NULL: takes no body */
    const record_t *response; /* NULL: not a record; see media_type */
    const char *media_type;   /* of the response; NULL: application/json */
    int status;               /* when all is well; 0: 200 */
    unsigned flags;
    const char *headers[4]; /* of the response: name, description, name, ... */
} route_t;

extern const route_t routes[];
extern const size_t routes_count;

/*  What stands in place of {...} in a path, in order. */
typedef struct {
    char items[ROUTE_ARGUMENTS_MAX][ROUTE_ARGUMENT_SIZE];
} route_arguments_t;

/*  It reads the ledger as a caller wishes: ?stale=true is known there. */
bool route_reads (const route_t *route);

/*  True if path is of that template; arguments (may be NULL) are filled. */
bool route_match (const char *path_template, const char *path, route_arguments_t *arguments);

/*  The row for a request; HEAD finds GET's. NULL: none; *ret_allow (may be NULL) then says
    which methods the path has ("GET, POST"), empty if there is no such path. */
const route_t *routes_find (const char *method, const char *path, route_arguments_t *arguments,
                            char ret_allow[64]);
