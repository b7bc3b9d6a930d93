/*  call - one request of the HTTP API in the gateway's hands */
#include "actors/gateway/call.h"

#include "actors/gateway/gateway_private.h"
#include "actors/gateway/problem.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *call_header (const call_t *call, const char *name)
{
    for (size_t i = 0; i < call->request->headers.count; i++)
        if (strcmp (call->request->headers.items[i].key, name) == 0)
            return call->request->headers.items[i].value;
    return "";
}

bool call_body_is_yaml (const call_t *call)
{
    static const char *const types[] = {"application/yaml", "application/x-yaml", "text/yaml"};
    const char *type = call_header (call, "content-type");
    for (size_t i = 0; i < sizeof (types) / sizeof (types[0]); i++)
        if (strncmp (type, types[i], strlen (types[i])) == 0)
            return true;
    return false;
}

/*  ---- the answer ------------------------------------------------------------ */

void call_add_header (call_t *call, const char *name, const char *value)
{
    assert (call->header_count < CALL_HEADERS_MAX);
    call->headers[call->header_count++] = (record_pair_t){name, value};
}

void call_reply (call_t *call, int status, const char *content_type, const void *body, size_t size)
{
    nexus_error_t error;
    if (call->txn && !call->damaged && tables_failed (call->txn, &error)) {
        call->damaged = true; /* 503: the next master may know */
        call_fail (call, NEXUS_UNAVAILABLE, "%s", error.text);
        return;
    }
    uint64_t applied =
        call->txn ? ledger_number (call->txn, LEDGER_APPLIED) : call->gateway->applied;
    char index[24];
    snprintf (index, sizeof (index), "%" PRIu64, applied);
    call_add_header (call, "X-Nexus-Index", index);
    call_add_header (call, "X-Nexus-Leader", gateway_leader (call->gateway));
    http_response_t response = {.status = (uint64_t)status,
                                .content_type = content_type,
                                .headers = {call->headers, call->header_count},
                                .body = {body, size}};
    context_reply (call->ctx, call->message, &http_response_record, &response);
}

void call_reply_record (call_t *call, const record_t *record, const void *value)
{
    int status = call->route && call->route->status ? call->route->status : 200;
    json_t *json = record_to_json (record, value, 0);
    char *text = json ? json_dumps (json, JSON_COMPACT | JSON_REAL_PRECISION (15)) : NULL;
    if (text)
        call_reply (call, status, "application/json", text, strlen (text));
    else
        call_reply_text (call, 500, "the answer could not be written: out of memory\n");
    free (text);
    json_decref (json);
}

void call_reply_text (call_t *call, int status, const char *text)
{
    call_reply (call, status, "text/plain; charset=utf-8", text, strlen (text));
}

static void problem (call_t *call, int status, const char *code, const char *detail)
{
    char *text = problem_json (status, code, detail, &call->faults);
    if (status == 503)
        call_add_header (call, "Retry-After", "1");
    if (text)
        call_reply (call, status, PROBLEM_TYPE, text, strlen (text));
    else
        call_reply_text (call, status, detail);
    free (text);
}

void call_problem (call_t *call, int status, const char *code, const char *format, ...)
{
    char detail[600];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (detail, sizeof (detail), format, arguments);
    va_end (arguments);
    problem (call, status, code, detail);
}

void call_fail_error (call_t *call, const nexus_error_t *error)
{
    problem (call, nexus_code_http (error->code), nexus_code_name (error->code), error->text);
}

void call_fail (call_t *call, nexus_code_t code, const char *format, ...)
{
    nexus_error_t error = {.code = code};
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (error.text, sizeof (error.text), format, arguments);
    va_end (arguments);
    call_fail_error (call, &error);
}

/*  ---- asking others ---------------------------------------------------------- */

void call_ask (call_t *call, const address_t *to, const record_t *kind, const void *body,
               int64_t timeout_ms, call_next_t *next)
{
    gateway_pending_t *pending = gateway_keep (call, next);
    if (pending)
        pending->correlation = context_request (call->ctx, to, kind, body, timeout_ms);
}

/*  Who asks is the caller's key, with all that makes the request what it is: the same key on
   another request is another request. False, and the call is answered: the headers are wrong. */
static bool read_once (call_t *call, once_t *once)
{
    const char *key = call_header (call, "idempotency-key");
    const char *after = call_header (call, "x-nexus-after");
    const http_request_t *request = call->request;
    if (strlen (key) > 200) {
        call_fail (call, NEXUS_INVALID, "the Idempotency-Key has %zu bytes; 200 are allowed",
                   strlen (key));
        return false;
    }
    if (strlen (after) > 18 || after[strspn (after, "0123456789")]) {
        call_fail (call, NEXUS_INVALID,
                   "X-Nexus-After is \"%.60s\", not the X-Nexus-Index of an "
                   "earlier answer",
                   after);
        return false;
    }
    if (!*key)
        return true;
    uint8_t hash[16];
    crypto_generichash_state state;
    const char *texts[] = {key, request->user, request->method, request->path};
    crypto_generichash_init (&state, NULL, 0, sizeof (hash));
    for (size_t i = 0; i < sizeof (texts) / sizeof (texts[0]); i++)
        crypto_generichash_update (&state, (const uint8_t *)texts[i], strlen (texts[i]) + 1);
    for (size_t i = 0; i < request->query.count; i++) {
        const record_pair_t *pair = &request->query.items[i];
        crypto_generichash_update (&state, (const uint8_t *)pair->key, strlen (pair->key) + 1);
        crypto_generichash_update (&state, (const uint8_t *)pair->value, strlen (pair->value) + 1);
    }
    crypto_generichash_update (&state, request->body.data, request->body.size);
    crypto_generichash_final (&state, hash, sizeof (hash));
    for (size_t i = 0; i < 8; i++) {
        once->client = once->client << 8 | hash[i];
        once->sequence = once->sequence << 8 | hash[8 + i];
    }
    once->client |= UINT64_C (1) << 63;
    once->after = *after ? strtoull (after, NULL, 10) : ledger_number (call->txn, LEDGER_APPLIED);
    return true;
}

void call_change (call_t *call, const record_t *kind, const void *body, call_next_t *next)
{
    gateway_pending_t *pending = gateway_keep (call, next);
    address_t to = address_local ("election", 0);
    if (!pending)
        return;
    pending->wait = GATEWAY_PROPOSED;
    pending->correlation = context_request (call->ctx, &to, kind, body, GATEWAY_PROPOSE_MS);
}

void call_propose (call_t *call, const record_t *kind, const void *command, call_next_t *next)
{
    buffer_t bytes = {.limit = COMMAND_MAX};
    once_t once = {0};
    if (!read_once (call, &once))
        return;
    command_encode (kind, command, &bytes);
    if (bytes.failed) {
        call_problem (call, 413, "exhausted",
                      "the command exceeds 1 MiB: make the document smaller");
    } else {
        propose_t propose = {.command = {bytes.data, bytes.size},
                             .client = once.client,
                             .sequence = once.sequence,
                             .after = once.after};
        call_change (call, &propose_record, &propose, next);
    }
    buffer_free (&bytes);
}
