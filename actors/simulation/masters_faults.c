/*  masters_faults - what goes wrong, or is asked for, beyond the simulator's own faults */
#include "actors/simulation/masters_private.h"

#include <math.h>
#include <string.h>

static const simulator_setting_t intervals[FAULTS] = {
    [FAULT_TRANSFER] = SIMULATOR_TRANSFER_INTERVAL_MS,
    [FAULT_FULL] = SIMULATOR_FULL_INTERVAL_MS,
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
    return &self->machines[random_below (&self->random, self->options.masters)];
}

/*  Somebody is asked to hand leadership over, to anybody: only a leader will. */
static void transfer (masters_t *self)
{
    leadership_transfer_t body = {0};
    if (random_below (&self->random, 2))
        body.to = self->keys[any_machine (self)->number];
    for (unsigned i = 0; i < self->options.masters; i++) {
        address_t to = address_local ("election", 0), from = address_local ("operator", 0);
        message_t *message = message_new (&leadership_transfer_record, &body, NULL, &to, &from);
        simulator_inject (self->sim, i, ROLE_LOCAL, &message);
    }
}

/*  A disk's room is nearly used up, or there is room again. */
static void full (masters_t *self)
{
    machine_t *machine = any_machine (self);
    machine->log.full = !machine->log.full;
}

void masters_faults_begin (masters_t *self)
{
    for (masters_fault_t fault = 0; fault < FAULTS; fault++)
        plan (self, fault);
}

int64_t masters_faults_next (masters_t *self)
{
    static void (*const inject[FAULTS]) (masters_t *) = {
        [FAULT_TRANSFER] = transfer,
        [FAULT_FULL] = full,
    };
    int64_t now = simulator_now (self->sim), next = INT64_MAX;
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
    for (unsigned i = 0; i < self->options.masters; i++)
        self->machines[i].log.full = false;
}
