/*  resolve - host names to addresses, off everybody's thread

    libzmq resolves names on its I/O thread, where one slow server stalls every
    connection. So a link asks this edge actor (a thread of its own) and connects
    to addresses only, asking again at each reconnect.
*/
#pragma once

#include "runtime/behaviour.h"

#define RESOLVED_MAX 8

/* clang-format off */
#define RESOLVE(F)                                                                                 \
    F (STRING, host, _, .max = 255, .doc = "A host name.")                                         \
    F (STRING, port, _, .max = 15, .doc = "A port's number.")
RECORD_DECLARE (resolve, RESOLVE)

#define RESOLVED(F)                                                                                \
    F (STRINGS, endpoints, _, .max = RESOLVED_MAX, .doc = "tcp://ADDRESS:PORT, best first.")
RECORD_DECLARE (resolved, RESOLVED)
/* clang-format on */

/*  Answers a resolve request with resolved, or a failure (NEXUS_NOT_FOUND: no
    such host). No arguments. */
extern const behaviour_t resolve_behaviour;

/*  Splits "tcp://HOST:PORT". 1: *host must be looked up; 0: the endpoint can be connected to as
    it is (ipc, or a numeric address); -1: it is no endpoint. */
int resolve_split (const char *endpoint, char host[256], char port[16]);

/*  Is that a place to listen at, but none to connect to? All addresses of a machine, or any port. */
bool resolve_is_wildcard (const char *endpoint);

/*  tcp://HOST:PORT that other machines can connect to? */
bool resolve_is_reachable (const char *endpoint);
/*  tcp://ADDRESS:PORT to listen at: an address in numbers, or * for all of the machine's? */
bool resolve_is_listenable (const char *endpoint);
