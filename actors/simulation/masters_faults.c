/*  masters_faults - what goes wrong, or is asked for, beyond the simulator's own faults */
#include "actors/simulation/masters_private.h"

#include "actors/protocol/consensus.h"

#include <math.h>
#include <string.h>

enum { PATIENCE_MS = 5000 };

/*  Strikes last some election timeouts. */
#define STRIKE_NS MS_TO_NS (200)

static const simulator_setting_t intervals[FAULTS] = {
    [FAULT_TRANSFER] = SIMULATOR_TRANSFER_INTERVAL_MS, [FAULT_FULL] = SIMULATOR_FULL_INTERVAL_MS,
    [FAULT_CHANGE] = SIMULATOR_CHANGE_INTERVAL_MS,     [FAULT_ROT] = SIMULATOR_ROT_INTERVAL_MS,
    [FAULT_WIPE] = SIMULATOR_WIPE_INTERVAL_MS,
};

static void plan (masters_t *self, masters_fault_t fault)
{
    double mean = simulator_setting (self->sim, intervals[fault]);
    self->faults[fault] = mean > 0
                              ? simulator_now (self->sim) +
                                    (int64_t)(-mean * 1e6 * log1p (-random_real (&self->random)))
                              : INT64_MAX;
}

static machine_t *any_machine (masters_t *self)
{
    return &self->machines[random_below (&self->random, self->machine_count)];
}

/*  An operator asks a master's election for something; what comes of it will be seen. */
static void ask (masters_t *self, unsigned machine, const record_t *kind, const void *body)
{
    const context_t *ctx = simulator_context (self->sim, machine, "election", 0);
    address_t to = address_local ("election", 0), from = address_local ("operator", 0);
    if (!ctx)
        return;
    message_t *message = message_new (kind, body, NULL, &to, &from);
    message->flags = MESSAGE_REQUEST;
    message->correlation = ++self->operations;
    message->deadline_ns = context_now (ctx) + MS_TO_NS (PATIENCE_MS);
    simulator_inject (self->sim, machine, ROLE_LOCAL, &message);
}

/*  Leadership is to be handed over, to anybody. */
static void transfer (masters_t *self)
{
    leadership_transfer_t body = {0};
    if (random_below (&self->random, 2))
        body.to = self->keys[any_machine (self)->number];
    ask (self, any_machine (self)->number, &leadership_transfer_record, &body);
}

/*  A disk's room is nearly used up, or there is room again. */
static void full (masters_t *self)
{
    machine_t *machine = any_machine (self);
    machine->log.full = !machine->log.full;
}

/*  A bit flips on one of the disks that do such things. */
static void rot (masters_t *self)
{
    machine_t *machine = any_machine (self);
    const simulated_log_state_t *log = &machine->log.durable;
    /* A cluster is founded by whole logs only. */
    if (!machine->rots || log->last < log->first || self->committed == 0)
        return;
    uint64_t index = log->first + random_below (&self->random, log->last + 1 - log->first);
    self->rotten += simulated_log_rot (&machine->log, index);
}

/*  A minority's disks, so that each entry is whole somewhere in each majority. Where members
    come and go it can't be told from here what a minority is: there none. */
static void draw_rotting (masters_t *self)
{
    if (simulator_setting (self->sim, SIMULATOR_ROT_INTERVAL_MS) == 0 ||
        self->machine_count > self->options.masters)
        return;
    for (unsigned i = 0; i < (self->options.masters - 1) / 2; i++)
        any_machine (self)->rots = true;
}

/*  ---- who takes part ------------------------------------------------------------------ */

/*  A machine of its own that has never been part of it is switched on first. */
static master_op_t draw_op (masters_t *self, const raft_conf_state_t *conf)
{
    machine_t *machine = any_machine (self);
    uint64_t dice = random_below (&self->random, 100);
    uint64_t id = election_id (&self->keys[machine->number]);
    master_op_t op = {.master = self->records[machine->number]};
    if (quorum_set_has (&conf->voters, id))
        op.op = dice < 60 ? MASTER_OP_REMOVE : MASTER_OP_LEARNER;
    else if (masters_is_member (conf, &self->keys[machine->number]))
        op.op = dice < 75 ? MASTER_OP_VOTER : MASTER_OP_REMOVE;
    else
        op.op = dice < 95 ? MASTER_OP_LEARNER : MASTER_OP_VOTER;
    if (!machine->present) {
        machine->present = true;
        simulator_crash (self->sim, machine->number);
        simulator_restart (self->sim, machine->number);
    }
    return op;
}

/*  An operator asks some master; what comes of it, the next question will show. */
static void change (masters_t *self)
{
    master_op_t ops[3];
    const raft_conf_state_t *conf = masters_conf (self);
    uint64_t dice = random_below (&self->random, 100);
    if (!conf)
        return;
    master_change_t body = {.changes = {ops, dice < 10   ? 0
                                             : dice < 65 ? 1
                                             : dice < 85 ? 2
                                                         : 3},
                            .stay = random_below (&self->random, 6) == 0};
    for (size_t i = 0; i < body.changes.count; i++)
        ops[i] = draw_op (self, conf);
    ask (self, any_machine (self)->number, &master_change_record, &body);
}

/*  ---- strikes: faults that know who leads --------------------------------------------- */

static int64_t draw_ns (masters_t *self, int64_t max_ns)
{
    return (int64_t)random_below (&self->random, (uint64_t)max_ns);
}

void masters_faults_leader (masters_t *self, machine_t *machine)
{
    double share = simulator_setting (self->sim, SIMULATOR_STRIKE);
    if (!self->calm && share > 0 && !self->struck && random_real (&self->random) < share)
        self->struck = machine;
}

bool masters_faults_due (simulator_t *sim, void *context)
{
    (void)sim;
    return ((const masters_t *)context)->struck != NULL;
}

static void restart_within (masters_t *self, machine_t *machine, int64_t max_ns)
{
    simulator_crash (self->sim, machine->number);
    machine->up_ns = simulator_now (self->sim) + draw_ns (self, max_ns);
}

/*  It is gone at once; or what it sends is late; or it loses one peer after the other. */
static void strike (masters_t *self, machine_t *leader)
{
    uint64_t kind = random_below (&self->random, 3);
    if (kind == 0)
        restart_within (self, leader, 4 * STRIKE_NS);
    for (unsigned i = 0; i < self->machine_count; i++) {
        if (i != leader->number && kind == 1)
            simulator_clog (self->sim, leader->number, i, draw_ns (self, 4 * STRIKE_NS));
        if (i != leader->number && kind == 2 && self->machines[i].present)
            self->machines[i].cut_ns = simulator_now (self->sim) + draw_ns (self, 2 * STRIKE_NS);
    }
    if (kind == 2)
        self->fading = leader;
}

/*  Some come back from it with nothing but what they had on disk. */
static void cut_off (masters_t *self, machine_t *machine)
{
    int64_t duration_ns = draw_ns (self, 4 * STRIKE_NS);
    machine->cut_ns = INT64_MAX;
    simulator_clog (self->sim, self->fading->number, machine->number, duration_ns);
    simulator_clog (self->sim, machine->number, self->fading->number, duration_ns);
    if (machine->up_ns == INT64_MAX && random_below (&self->random, 2))
        restart_within (self, machine, STRIKE_NS / 4);
}

static int64_t next_of_machine (masters_t *self, machine_t *machine)
{
    int64_t now = simulator_now (self->sim);
    if (machine->cut_ns <= now)
        cut_off (self, machine);
    if (machine->up_ns <= now) {
        machine->up_ns = INT64_MAX;
        simulator_restart (self->sim, machine->number);
    }
    return machine->cut_ns < machine->up_ns ? machine->cut_ns : machine->up_ns;
}

/*  ---- disks that are lost ------------------------------------------------------------------ */

/*  A machine comes back with its key and an empty disk. A minority's may, or what is committed
    could be lost; a disk that rots counts as well. Not before the founding entry is committed: a
    leader that loses its disk before anybody has an entry of its own is followed by another one
    in the same term, harmlessly, and the checks don't know that (see admission_test). */
static void wipe (masters_t *self)
{
    unsigned lost = 0;
    machine_t *machine = any_machine (self);
    for (unsigned i = 0; i < self->machine_count; i++)
        lost += self->machines[i].rots || self->machines[i].wiped;
    if (self->committed == 0 || self->machine_count > self->options.masters || machine->wiped ||
        (!machine->rots && lost >= (self->options.masters - 1) / 2))
        return;
    restart_within (self, machine, 4 * STRIKE_NS);
    machine->lost = machine->log.durable.last;
    machine->lost_ns = simulator_now (self->sim);
    simulated_log_wipe (&machine->log, random_next (&self->random));
    simulated_store_clear (&machine->store);
    tables_close (&machine->tables);
    machine->tables = masters_open_tables ();
    machine->wiped = true;
}

/*  ---- all -------------------------------------------------------------------------------- */

void masters_faults_begin (masters_t *self)
{
    for (masters_fault_t fault = 0; fault < FAULTS; fault++)
        plan (self, fault);
    draw_rotting (self);
}

int64_t masters_faults_next (masters_t *self)
{
    static void (*const inject[FAULTS]) (masters_t *) = {
        [FAULT_TRANSFER] = transfer, [FAULT_FULL] = full, [FAULT_CHANGE] = change,
        [FAULT_ROT] = rot,           [FAULT_WIPE] = wipe,
    };
    int64_t now = simulator_now (self->sim), next = INT64_MAX;
    if (self->struck)
        strike (self, self->struck);
    self->struck = NULL;
    for (unsigned i = 0; i < self->machine_count; i++) {
        int64_t at = next_of_machine (self, &self->machines[i]);
        if (next > at)
            next = at;
    }
    for (masters_fault_t fault = 0; fault < FAULTS; fault++) {
        if (self->faults[fault] <= now) {
            inject[fault](self);
            plan (self, fault);
        }
        if (next > self->faults[fault])
            next = self->faults[fault];
    }
    return next == INT64_MAX ? INT64_MAX / 4 : next - now;
}

void masters_faults_end (masters_t *self)
{
    for (unsigned i = 0; i < self->machine_count; i++)
        self->machines[i].log.full = false;
}
