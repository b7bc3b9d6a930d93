/*  dead - why a message is a dead letter, in a process and in the simulator */
#pragma once

#include "runtime/nexus_error.h"

typedef enum {
    DEAD_NO_ACTOR,  /* there is no such actor */
    DEAD_NO_ROUTE,  /* nothing leads to that node */
    DEAD_OVERFLOW,  /* the mailbox's lane is full */
    DEAD_ENDED,     /* the actor ended before it came to the message */
    DEAD_DEADLINE,  /* nobody waits for it any more */
    DEAD_LATE,      /* a reply that came after its deadline */
    DEAD_LINK_FULL, /* from here on the simulator's only: in a process the link answers */
    DEAD_NO_ID,
    DEAD_REASONS
} dead_reason_t;

enum { DEAD_REASONS_OF_HOSTS = DEAD_LATE + 1 };

/*  name: in metrics and traces; code and text: what is answered to a request. */
typedef struct {
    const char *name;
    nexus_code_t code;
    const char *text;
} dead_t;

extern const dead_t dead_reasons[DEAD_REASONS];
