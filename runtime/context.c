/*  The part of a context that every shell shares: it builds the message and
    hands it to the shell's operations. */
#include "runtime/behaviour.h"
#include "runtime/record_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*  No request waits longer than this, whatever its caller says. */
#define TIMEOUT_MS_MAX 86400000

const address_t *context_self (const context_t *ctx)
{
    return &ctx->self;
}

const record_key_t *context_node (const context_t *ctx)
{
    return &ctx->node;
}

int64_t context_now (const context_t *ctx)
{
    return ctx->ops->now (ctx);
}

int64_t context_wall_ms (const context_t *ctx)
{
    return ctx->ops->wall_ms (ctx);
}

uint64_t context_random (context_t *ctx)
{
    return ctx->ops->random (ctx);
}

/*  ---- messages ---------------------------------------------------------- */

static message_t *build (const context_t *ctx, const address_t *to, const record_t *kind,
                         const void *body, payload_t **payload_p)
{
    message_t *message = message_new (kind, body, payload_p, to, &ctx->self);
    message->trace = ctx->trace;
    return message;
}

void context_send (context_t *ctx, const address_t *to, const record_t *kind, const void *body)
{
    context_send_payload (ctx, to, kind, body, NULL);
}

void context_send_payload (context_t *ctx, const address_t *to, const record_t *kind,
                           const void *body, payload_t **payload_p)
{
    message_t *message = build (ctx, to, kind, body, payload_p);
    ctx->ops->send (ctx, &message);
}

uint64_t context_request (context_t *ctx, const address_t *to, const record_t *kind,
                          const void *body, int64_t timeout_ms)
{
    if (timeout_ms < 0)
        timeout_ms = 0;
    if (timeout_ms > TIMEOUT_MS_MAX)
        timeout_ms = TIMEOUT_MS_MAX;
    message_t *message = build (ctx, to, kind, body, NULL);
    message->flags = MESSAGE_REQUEST;
    message->deadline_ns = context_now (ctx) + MS_TO_NS (timeout_ms);
    return ctx->ops->request (ctx, &message, timeout_ms);
}

void context_reply (context_t *ctx, const message_t *request, const record_t *kind,
                    const void *body)
{
    context_reply_payload (ctx, request, kind, body, NULL);
}

void context_reply_payload (context_t *ctx, const message_t *request, const record_t *kind,
                            const void *body, payload_t **payload_p)
{
    if (!(request->flags & MESSAGE_REQUEST)) {
        if (payload_p)
            payload_release (payload_p);
        return;
    }
    message_t *message = build (ctx, &request->from, kind, body, payload_p);
    message->flags = MESSAGE_REPLY;
    message->correlation = request->correlation;
    message->deadline_ns = request->deadline_ns;
    message->trace = request->trace;
    ctx->ops->send (ctx, &message);
}

/*  Makes text such that it passes a record's check on the other side: a character
    that was cut off at the end goes, and what else is no text becomes '?'. */
static void make_valid (char *text)
{
    size_t length = strlen (text);
    for (int i = 0; i < 3 && length > 0 && !record_text_valid (text, length); i++)
        if (text[length - 1] & 0x80)
            text[--length] = '\0';
    if (record_text_valid (text, length))
        return;
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            *c = '?';
}

void context_reply_failure (context_t *ctx, const message_t *request, nexus_code_t code,
                            const char *format, ...)
{
    if (!(request->flags & MESSAGE_REQUEST))
        return;
    char text[500];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    make_valid (text);
    failure_t failure = {.code = (uint64_t)code, .text = text};
    context_reply (ctx, request, &failure_record, &failure);
}

void context_forward (context_t *ctx, const message_t *message, const address_t *to)
{
    payload_t *payload = message->payload ? payload_retain (message->payload) : NULL;
    message_t *copy = message_new (message->kind, message->body, &payload, to, &message->from);
    copy->role = message->role;
    copy->flags = message->flags;
    copy->correlation = message->correlation;
    copy->deadline_ns = message->deadline_ns;
    copy->trace = message->trace;
    ctx->ops->send (ctx, &copy);
}

void context_flush (context_t *ctx)
{
    if (ctx->ops->flush)
        ctx->ops->flush (ctx);
}

/*  ---- timers ------------------------------------------------------------ */

uint64_t context_after (context_t *ctx, int64_t delay_ns, uint64_t data)
{
    return ctx->ops->after (ctx, delay_ns < 0 ? 0 : delay_ns, data);
}

void context_cancel (context_t *ctx, uint64_t timer)
{
    ctx->ops->cancel (ctx, timer);
}

/*  ---- other actors ------------------------------------------------------ */

int context_spawn (context_t *ctx, const child_t *child, nexus_error_t *error)
{
    return ctx->ops->spawn (ctx, child, error);
}

void context_stop_child (context_t *ctx, const address_t *child)
{
    ctx->ops->stop_child (ctx, child);
}

void context_watch (context_t *ctx, const address_t *actor)
{
    ctx->ops->watch (ctx, actor);
}

void context_stop (context_t *ctx)
{
    ctx->ops->end (ctx, NULL);
}

void context_fail (context_t *ctx, const nexus_error_t *error)
{
    ctx->ops->end (ctx, error);
}

/*  ---- log, metrics, edges ------------------------------------------------ */

log_t *context_log (const context_t *ctx)
{
    return ctx->log;
}

metrics_t *context_metrics (const context_t *ctx)
{
    return ctx->metrics;
}

void context_poll (context_t *ctx, void *socket, int fd, short events, poll_fn *ready)
{
    ctx->ops->poll (ctx, socket, fd, events, ready);
}

void context_used (context_t *ctx, void *socket)
{
    ctx->ops->used (ctx, socket);
}

runtime_t *context_runtime (const context_t *ctx)
{
    return ctx->runtime;
}
