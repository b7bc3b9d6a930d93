#include "transport/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_SELF resolve_t
RECORD_DEFINE (resolve, 24, 0, "Ask for the addresses of a host.", RESOLVE)
#undef RECORD_SELF
#define RECORD_SELF resolved_t
RECORD_DEFINE (resolved, 25, 0, "The addresses of a host.", RESOLVED)
#undef RECORD_SELF

int resolve_split (const char *endpoint, char host[256], char port[16])
{
    if (strncmp (endpoint, "ipc://", 6) == 0)
        return endpoint[6] ? 0 : -1;
    if (strncmp (endpoint, "tcp://", 6) != 0)
        return -1;
    const char *name = endpoint + 6;
    const char *colon = strrchr (name, ':');
    if (!colon || colon == name || colon - name > 255)
        return -1;
    size_t digits = strlen (colon + 1);
    if (digits < 1 || digits > 5 || strspn (colon + 1, "0123456789") != digits ||
        atoi (colon + 1) > 65535)
        return -1;
    size_t size = (size_t)(colon - name);
    bool bracketed = name[0] == '[' && name[size - 1] == ']';
    if (bracketed)
        name++, size -= 2;
    memcpy (host, name, size);
    host[size] = 0;
    strcpy (port, colon + 1);
    struct in6_addr address;
    if (bracketed)
        return inet_pton (AF_INET6, host, &address) == 1 ? 0 : -1;
    return inet_pton (AF_INET, host, &address) == 1 ? 0 : 1;
}

bool resolve_is_wildcard (const char *endpoint)
{
    static const char *const hosts[] = {"*", "0.0.0.0", "::", "::ffff:0.0.0.0"};
    char host[256], port[16];
    if (strncmp (endpoint, "tcp://", 6) != 0 || resolve_split (endpoint, host, port) < 0)
        return false;
    bool wildcard = atoi (port) == 0;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        wildcard |= strcmp (host, hosts[i]) == 0;
    return wildcard;
}

bool resolve_is_reachable (const char *endpoint)
{
    char host[256], port[16];
    return strncmp (endpoint, "tcp://", 6) == 0 && resolve_split (endpoint, host, port) >= 0 &&
           !resolve_is_wildcard (endpoint);
}

bool resolve_is_listenable (const char *endpoint)
{
    char host[256], port[16];
    int kind = strncmp (endpoint, "tcp://", 6) == 0 ? resolve_split (endpoint, host, port) : -1;
    return kind == 0 || (kind == 1 && strcmp (host, "*") == 0);
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    (void)state;
    const resolve_t *query = message_body (message, resolve);
    if (!query) {
        context_reply_failure (ctx, message, NEXUS_INVALID, "resolve takes only resolve requests");
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo (query->host, query->port, &hints, &list);
    if (rc != 0) {
        context_reply_failure (ctx, message, NEXUS_NOT_FOUND, "%s: %s", query->host,
                               gai_strerror (rc));
        return;
    }
    char texts[RESOLVED_MAX][80];
    const char *items[RESOLVED_MAX];
    resolved_t found = {.endpoints = {.items = items}};
    for (struct addrinfo *at = list; at && found.endpoints.count < RESOLVED_MAX; at = at->ai_next) {
        char host[64], port[16], *text = texts[found.endpoints.count];
        if (getnameinfo (at->ai_addr, at->ai_addrlen, host, sizeof host, port, sizeof port,
                         NI_NUMERICHOST | NI_NUMERICSERV) != 0)
            continue;
        snprintf (text, sizeof texts[0],
                  at->ai_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s", host, port);
        items[found.endpoints.count++] = text;
    }
    freeaddrinfo (list);
    context_reply (ctx, message, &resolved_record, &found);
}

const behaviour_t resolve_behaviour = {.name = "resolve", .receive = receive};
