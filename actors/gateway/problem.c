/*  problem - an error as the body of an HTTP response (RFC 9457) */
#include "actors/gateway/problem.h"

static const char *title_of (int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof (titles) / sizeof (titles[0]); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

char *problem_json (int status, const char *code, const char *detail, const record_faults_t *faults)
{
    problem_fault_t items[64];
    problem_t value = {.type = "about:blank",
                       .title = title_of (status),
                       .status = (uint64_t)status,
                       .detail = detail,
                       .code = code};
    value.errors.items = items;
    for (size_t i = 0; faults && i < faults->count; i++) {
        const record_fault_t *fault = &faults->items[i];
        items[value.errors.count++] =
            (problem_fault_t){fault->path, (uint64_t)fault->line, fault->message};
    }
    json_t *json = record_to_json (&problem_record, &value, 0);
    char *text = json ? json_dumps (json, JSON_COMPACT) : NULL;
    json_decref (json);
    return text;
}
