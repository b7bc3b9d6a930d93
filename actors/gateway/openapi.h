/*  openapi - the description of the HTTP API, from the tables that serve it */
#pragma once

#include <jansson.h>

/*  A new reference to the OpenAPI 3.1 document: a path for each row of routes, a
    schema for each record that they name. */
json_t *openapi_document (void);
