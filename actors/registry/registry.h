/*  registry - the actor that keeps the workers: enrolment, liveness, trust

    On every master: turns the ledger's nodes and tokens into the keyring that
    ZAP and the links ask; lets joiners in (any master may: it proposes). Keeps the
    links to the other masters, and tells them and the workers who the masters are.
    On the leader: notes what workers' heartbeats say that the ledger does not
    know yet, and takes a worker that is silent for lost_after_ms for lost (a
    third of that if its connection broke).

    Sends: propose to "election"; link_subscribe, link_dial, link_hangup to "link";
           master_list to other masters' "registry" and workers' "agent"; enrolled.
    Takes: leadership, ledger_changed, peer_event, enrol, heartbeat, master_list.
*/
#pragma once

#include "actors/protocol/ledger.h"
#include "runtime/behaviour.h"
#include "transport/identity.h"
#include "transport/keyring.h"

/*  All borrowed. */
typedef struct {
    tables_t *tables; /* read only */
    keyring_t *keyring;
    const char *domain;         /* of the keyring */
    const cluster_root_t *root; /* signs memberships */
    master_t self;              /* this master, as the ledger shall know it */
    const master_t *masters; /* the masters, this one included, as long as the ledger knows none */
    size_t master_count;
    int64_t lost_after_ms;
} registry_args_t;

extern const behaviour_t registry_behaviour; /* "registry" */
