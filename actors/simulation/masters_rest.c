/*  masters_rest - what has to happen once nothing fails any more */
#include "actors/simulation/masters_private.h"

#include "actors/election/election_private.h"
#include "actors/election/raft_core.h"

#include <stdio.h>

#define U(number) ((unsigned long long)(number))

/*  Within REST_MS all has to be at rest, and for PEACE_MS it has to stay so. */
enum { REST_MS = 60000 + 10 * MASTERS_ELECTION_MS_MAX, PEACE_MS = 5000 };

static const raft_t *raft_of (const masters_t *self, unsigned number)
{
    const election_t *election = simulator_state (self->sim, number, "election", 0);
    return election && !election->failed ? election->raft : NULL;
}

static const raft_t *find_leader (const masters_t *self)
{
    const raft_t *leader = NULL;
    for (unsigned i = 0; i < self->machine_count; i++) {
        const raft_t *raft = simulator_is_up (self->sim, i) ? raft_of (self, i) : NULL;
        if (raft && raft->role == RAFT_LEADER && (!leader || raft->term > leader->term))
            leader = raft;
    }
    return leader;
}

/*  One leader, and everybody who is up and takes part is where it is. */
static bool is_settled (masters_t *self, const raft_t *leader)
{
    if (!leader || leader->leaving || leader->transferee ||
        leader->journal.applied != raft_journal_last (&leader->journal))
        return false;
    for (unsigned i = 0; i < self->machine_count; i++) {
        const raft_t *raft = raft_of (self, i);
        machine_t *machine = &self->machines[i];
        machine->counts = simulator_is_up (self->sim, i) && !machine->wiped &&
                          masters_is_member (raft_conf (leader), &self->keys[i]);
        if (machine->counts && (!raft || raft->journal.applied != leader->journal.applied ||
                                raft->term != leader->term || raft->leader != leader->config.id))
            return false;
    }
    return true;
}

/*  And nothing is left to do. */
static bool at_rest (simulator_t *sim, void *context)
{
    (void)sim;
    masters_t *self = context;
    bool settled = is_settled (self, find_leader (self));
    if (settled && !self->settled_ns &&
        simulator_backlog_end (self->sim) < simulator_now (self->sim) + MS_TO_NS (1000))
        self->settled_ns = simulator_now (self->sim);
    return settled && self->done + self->refused + self->unknown == self->started;
}

static void describe (const masters_t *self, char *text, size_t size)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate", "leader"};
    size_t used = (size_t)snprintf (text, size, "%llu requests open",
                                    U (self->started - self->done - self->refused - self->unknown));
    for (unsigned i = 0; i < self->machine_count && used < size; i++) {
        const raft_t *raft = raft_of (self, i);
        bool up = simulator_is_up (self->sim, i);
        if (!up || !raft)
            used += (size_t)snprintf (text + used, size - used, "; %s %s", self->machines[i].name,
                                      up ? "does not take part" : "is down");
        else
            used += (size_t)snprintf (
                text + used, size - used, "; %s %s term %llu last %llu applied %llu",
                self->machines[i].name, roles[raft->role], U (raft->term),
                U (raft_journal_last (&raft->journal)), U (raft->journal.applied));
    }
}

/*  A minority may stay down. Where members come and go, those who don't take part may: it
    can't be told from here what is a minority of which configuration. */
static uint64_t draw_dead (masters_t *self)
{
    uint64_t dead = 0;
    if (self->committed == 0)
        return 0; /* a cluster begins when all its founders are there */
    const raft_conf_state_t *conf = masters_conf (self);
    if (self->machine_count > self->options.masters) {
        for (unsigned i = 0; i < self->machine_count && conf; i++)
            if (!self->machines[i].present)
                dead |= SIMULATOR_NODE (i);
        return dead;
    }
    for (unsigned i = 0; i < self->machine_count; i++)
        if (self->machines[i].rots || self->machines[i].wiped)
            return 0; /* one that must mend itself needs all the others' majority */
    unsigned count = (unsigned)random_below (&self->random, (self->options.masters + 1) / 2);
    while (count--)
        dead |= SIMULATOR_NODE (random_below (&self->random, self->options.masters));
    return dead;
}

static int fail_with (masters_t *self, nexus_error_t *error, const char *what)
{
    char text[400];
    describe (self, text, sizeof text);
    return nexus_error_set (error, NEXUS_CORRUPT, "step %llu, %.6f s: %s: %s",
                            U (simulator_steps (self->sim)),
                            (double)simulator_now (self->sim) / 1e9, what, text);
}

int masters_rest (masters_t *self, nexus_error_t *error)
{
    self->calm = true;
    masters_faults_end (self);
    simulator_calm (self->sim, draw_dead (self));
    simulator_result_t result = simulator_run (self->sim, MS_TO_NS (REST_MS), 0, at_rest, self);
    if (result == SIMULATOR_REACHED) {
        /* A transfer of leadership that was asked for before may still be on its way. */
        simulator_run (self->sim, MS_TO_NS (PEACE_MS), 0, NULL, NULL);
        uint64_t term = find_leader (self) ? find_leader (self)->term : 0;
        if (simulator_run (self->sim, MS_TO_NS (PEACE_MS), 0, NULL, NULL) != SIMULATOR_FAILED) {
            const raft_t *leader = find_leader (self);
            return leader && leader->term == term && is_settled (self, leader)
                       ? 0
                       : fail_with (self, error, "the leader is lost though nothing fails");
        }
        result = SIMULATOR_FAILED;
    }
    return result == SIMULATOR_FAILED ? masters_failed (self, error)
                                      : fail_with (self, error, "not at rest after the faults");
}
