#include "runtime/dead.h"

const dead_t dead_reasons[DEAD_REASONS] = {
    [DEAD_NO_ACTOR] = {"no_actor", NEXUS_NOT_FOUND, "there is no such actor"},
    [DEAD_NO_ROUTE] = {"no_route", NEXUS_UNAVAILABLE, "no link leads to that node"},
    [DEAD_OVERFLOW] = {"overflow", NEXUS_EXHAUSTED, "its mailbox is full, retry later"},
    [DEAD_ENDED] = {"ended", NEXUS_UNAVAILABLE, "the actor ended before it could answer"},
    [DEAD_DEADLINE] = {"deadline", NEXUS_DEADLINE, "the deadline passed before it was handled"},
    [DEAD_LATE] = {"late", NEXUS_DEADLINE, "the reply came after the deadline"},
    [DEAD_LINK_FULL] = {"link_full", NEXUS_UNAVAILABLE, "the link is full, retry later"},
    [DEAD_NO_ID] = {"no_id", NEXUS_INVALID, "a record without an id can't leave its node"},
};
