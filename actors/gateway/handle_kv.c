/*  handle_kv - the key-value store */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 400, VALUE_MAX = 65536 };

/*  The path's key; NULL: it is too long, and the call is answered. */
static const char *read_key (call_t *call)
{
    const char *key = call->arguments.items[0];
    if (strlen (key) <= KEY_MAX)
        return key;
    call_fail (call, NEXUS_INVALID, "the key has %zu bytes; %d are allowed", strlen (key), KEY_MAX);
    return NULL;
}

/*  If-Match is a version, with or without quotation marks. False: the call is answered. */
static bool read_version (call_t *call, bool *compare, uint64_t *version)
{
    const char *text = call_header (call, "if-match");
    size_t digits = strspn (text + (*text == '"'), "0123456789");
    *compare = *text != 0;
    *version = strtoull (text + (*text == '"'), NULL, 10);
    if (!*compare || (digits && digits <= 19 &&
                      strcmp (text + (*text == '"') + digits, *text == '"' ? "\"" : "") == 0))
        return true;
    call_fail (call, NEXUS_INVALID, "If-Match is %.60s: expected one version, or 0 for none", text);
    return false;
}

/*  ---- reading ----------------------------------------------------------------- */

/*  The ledger's answer; NULL: it has none, and the call is answered. */
static const kv_got_t *read_answer (call_t *call, const message_t *reply)
{
    char text[GATEWAY_TEXT_MAX];
    const kv_got_t *got = message_body (reply, kv_got);
    if (!got) {
        gateway_unconfirmed (call->gateway, call->ctx, message_body (reply, failure), text);
        call_fail (call, NEXUS_UNAVAILABLE, "%s", text);
    }
    return got;
}

static void got_value (call_t *call, const message_t *reply)
{
    char version[24];
    const kv_got_t *got = read_answer (call, reply);
    if (!got)
        return;
    if (!got->found) {
        call_fail (call, NEXUS_NOT_FOUND, "there is no key \"%.400s\"", call->arguments.items[0]);
        return;
    }
    snprintf (version, sizeof (version), "\"%" PRIu64 "\"", got->version);
    call_add_header (call, "ETag", version);
    call_reply (call, 200, "application/octet-stream", got->value.data, got->value.size);
}

static void got_list (call_t *call, const message_t *reply)
{
    const kv_got_t *got = read_answer (call, reply);
    if (!got)
        return;
    size_t count = got->entries.count;
    kv_list_t list = {.entries = {got->entries.items, count},
                      .next = got->more && count ? got->entries.items[count - 1].key : ""};
    call_reply_record (call, &kv_list_record, &list);
}

static void ask_ledger (call_t *call, const kv_get_t *get, call_next_t *next)
{
    address_t to = address_local ("ledger", 0);
    call_ask (call, &to, &kv_get_record, get, GATEWAY_READ_MS, next);
}

void handle_kv_get (call_t *call)
{
    kv_get_t get = {.key = read_key (call), .stale = call->stale};
    if (get.key)
        ask_ledger (call, &get, got_value);
}

void handle_kv_list (call_t *call)
{
    const kv_query_t *query = call->query;
    kv_get_t get = {.key = query->prefix,
                    .stale = call->stale,
                    .prefix = true,
                    .after = query->after,
                    .limit = query->limit};
    ask_ledger (call, &get, got_list);
}

/*  ---- writing ------------------------------------------------------------------ */

static void written (call_t *call, const message_t *reply)
{
    (void)reply;
    kv_written_t answer = {.key = call->arguments.items[0],
                           .version = strtoull (call->value, NULL, 10)};
    call_reply_record (call, &kv_written_record, &answer);
}

void handle_kv_put (call_t *call)
{
    kv_put_t put = {.key = read_key (call), .value = call->request->body};
    if (!put.key || !read_version (call, &put.compare, &put.version))
        return;
    if (put.value.size > VALUE_MAX)
        call_problem (call, 413, "exhausted", "the value has %zu bytes; %d are allowed",
                      put.value.size, VALUE_MAX);
    else
        call_propose (call, &kv_put_record, &put, written);
}

void handle_kv_delete (call_t *call)
{
    kv_delete_t delete = {.key = read_key (call)};
    if (delete.key && read_version (call, &delete.compare, &delete.version))
        call_propose (call, &kv_delete_record, &delete, written);
}
