/*  openapi - the description of the HTTP API, from the tables that serve it */
#include "actors/gateway/openapi.h"

#include "actors/gateway/problem.h"
#include "actors/gateway/routes.h"
#include "nexus_version.h"

#include <string.h>

static json_t *reference (const record_t *record)
{
    return json_pack ("{s:s+}", "$ref", "#/components/schemas/", record->name);
}

/*  Adds the record's schema and those of the records within it; records nest a
    few levels only, and each is added once. */
static void add_schema (json_t *schemas, const record_t *record)
{
    if (!record || json_object_get (schemas, record->name))
        return;
    json_object_set_new (schemas, record->name, record_schema (record));
    for (size_t i = 0; i < record->field_count; i++)
        add_schema (schemas, record->fields[i].record);
}

/*  {job_id} in a path is a string; a query's parameters are its record's fields. */
static json_t *parameters_of (const route_t *route)
{
    json_t *list = json_array ();
    for (const char *open = strchr (route->path, '{'); open; open = strchr (open + 1, '{'))
        json_array_append_new (list, json_pack ("{s:s%,s:s,s:b,s:{s:s}}", "name", open + 1,
                                                strcspn (open + 1, ".}"), "in", "path", "required",
                                                1, "schema", "type", "string"));
    if (route_reads (route))
        json_array_append_new (
            list,
            json_pack ("{s:s,s:s,s:s,s:{s:s,s:b}}", "name", "stale", "in", "query", "description",
                       "Answer from what this master has, even if others know more by now.",
                       "schema", "type", "boolean", "default", 0));
    if (strcmp (route->method, "GET") != 0)
        json_array_append_new (
            list, json_pack ("{s:s,s:s,s:s,s:{s:s}}", "name", "X-Nexus-After", "in", "header",
                             "description",
                             "X-Nexus-Index of an answer that came before this request was first "
                             "sent: with a key that was forgotten since, 504.",
                             "schema", "type", "string"));
    if (strstr (route->path, "{key...}") && strcmp (route->method, "GET") != 0)
        json_array_append_new (list, json_pack ("{s:s,s:s,s:s,s:{s:s}}", "name", "If-Match", "in",
                                                "header", "description",
                                                "The version that the entry must have; 0: there "
                                                "must be none.",
                                                "schema", "type", "string"));
    if (strcmp (route->method, "GET") != 0)
        json_array_append_new (
            list, json_pack ("{s:s,s:s,s:s,s:{s:s,s:i}}", "name", "Idempotency-Key", "in", "header",
                             "description", "A repeated request with the same key is done once.",
                             "schema", "type", "string", "maxLength", 200));
    if (!route->query)
        return list;
    json_t *schema = record_schema (route->query);
    json_t *properties = json_object_get (schema, "properties");
    for (size_t i = 0; i < route->query->field_count; i++) {
        const record_field_t *field = &route->query->fields[i];
        json_array_append_new (list, json_pack ("{s:s,s:s,s:s*,s:O*}", "name", field->name, "in",
                                                "query", "description", field->doc, "schema",
                                                json_object_get (properties, field->name)));
    }
    json_decref (schema);
    return list;
}

static json_t *request_body (const route_t *route)
{
    json_t *schema = reference (route->request);
    json_t *content = json_pack ("{s:{s:O},s:{s:O}}", "application/json", "schema", schema,
                                 "application/yaml", "schema", schema);
    json_decref (schema);
    bool required = false;
    for (size_t i = 0; i < route->request->field_count; i++)
        required |= (route->request->fields[i].flags & RECORD_REQUIRED) != 0;
    return json_pack ("{s:b,s:o}", "required", required, "content", content);
}

static json_t *headers_of (const route_t *route)
{
    json_t *headers = json_object ();
    json_t *text = json_pack ("{s:s}", "type", "string");
    static const char *const always[] = {"X-Nexus-Index",
                                         "Applied index of the ledger that was read.",
                                         "X-Nexus-Leader", "Name of the leading master."};
    for (size_t i = 0; i < 4; i += 2)
        json_object_set_new (headers, always[i],
                             json_pack ("{s:s,s:O}", "description", always[i + 1], "schema", text));
    for (size_t i = 0; i < 4 && route->headers[i]; i += 2)
        json_object_set_new (
            headers, route->headers[i],
            json_pack ("{s:s,s:O}", "description", route->headers[i + 1], "schema", text));
    json_decref (text);
    return headers;
}

static json_t *responses_of (const route_t *route)
{
    char status[8];
    snprintf (status, sizeof (status), "%d", route->status ? route->status : 200);
    json_t *schema =
        route->response ? reference (route->response) : json_pack ("{s:s}", "type", "string");
    if (!route->response && route->media_type && strstr (route->media_type, "json"))
        json_object_set_new (schema, "type", json_string ("object"));
    return json_pack ("{s:{s:s,s:o,s:{s:{s:o}}},s:{s:s,s:{s:{s:o}}}}", status, "description",
                      route->summary, "headers", headers_of (route), "content",
                      route->media_type ? route->media_type : "application/json", "schema", schema,
                      "default", "description", "What was wrong (RFC 9457)", "content",
                      PROBLEM_TYPE, "schema", reference (&problem_record));
}

static json_t *operation (const route_t *route)
{
    json_t *self = json_pack ("{s:s,s:s,s:[s],s:o,s:o}", "operationId", route->id, "summary",
                              route->summary, "tags", route->tag, "parameters",
                              parameters_of (route), "responses", responses_of (route));
    if (route->request)
        json_object_set_new (self, "requestBody", request_body (route));
    if (route->flags & ROUTE_BYTES)
        json_object_set_new (self, "requestBody",
                             json_pack ("{s:b,s:{s:{s:{s:s}}}}", "required", 0, "content",
                                        "application/octet-stream", "schema", "type", "string"));
    if (route->flags & ROUTE_OPEN)
        json_object_set_new (self, "security", json_array ());
    return self;
}

json_t *openapi_document (void)
{
    json_t *paths = json_object (), *schemas = json_object ();
    for (size_t i = 0; i < routes_count; i++) {
        const route_t *route = &routes[i];
        char name[128], method[8] = "";
        snprintf (name, sizeof (name), "%s", route->path);
        char *dots = strstr (name, "...");
        if (dots)
            memmove (dots, dots + 3, strlen (dots + 3) + 1);
        for (size_t j = 0; route->method[j] && j < sizeof (method) - 1; j++)
            method[j] = (char)(route->method[j] | 0x20);
        json_t *path = json_object_get (paths, name);
        if (!path) {
            path = json_object ();
            json_object_set_new (paths, name, path);
        }
        json_object_set_new (path, method, operation (route));
        add_schema (schemas, route->request);
        add_schema (schemas, route->response);
    }
    add_schema (schemas, &problem_record);
    return json_pack (
        "{s:s,s:{s:s,s:s,s:s},s:[{s:[]}],s:o,s:{s:o,s:{s:{s:s,s:s}}}}", "openapi", "3.1.0", "info",
        "title", "Nexus", "version", NEXUS_VERSION, "description",
        "The management API of a Nexus master. Any master answers; writes go to the leader.",
        "security", "token", "paths", paths, "components", "schemas", schemas, "securitySchemes",
        "token", "type", "http", "scheme", "bearer");
}
