/*  simulator_network - messages between nodes

    A message is encoded when it is sent and decoded into a new one for each
    copy that arrives, so that sender and receiver share nothing and the codec
    is at work. A link is one direction of a pair of nodes; it keeps the order,
    unless a message is drawn to overtake or a duplicate comes later.
*/
#include "runtime/simulator_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static sim_link_t *link_of (simulator_t *self, unsigned from, unsigned to)
{
    sim_link_t *link = sim_link (self, from, to);
    if (!link->known) {
        /* No link is faster than a third of the drawn delay: sites differ. */
        double delay = self->settings[SIMULATOR_DELAY_MS];
        link->delay_ms = delay / 3 + random_real (&self->network) * delay * 2 / 3;
        link->known = true;
    }
    return link;
}

static void arrive_later (simulator_t *self, unsigned from, unsigned to, message_t **message_p)
{
    sim_link_t *link = link_of (self, from, to);
    double ms = link->delay_ms + random_real (&self->network) * self->settings[SIMULATOR_JITTER_MS];
    int64_t at = self->now + sim_ms (ms);
    if (at < link->clogged_until)
        at = link->clogged_until;
    bool overtakes = sim_chance (&self->network, self->settings[SIMULATOR_REORDER]);
    if (!overtakes) {
        if (at < link->last_arrival)
            at = link->last_arrival;
        link->last_arrival = at;
    }
    sim_arrival_t *arrival = sim_checked (malloc (sizeof *arrival));
    *arrival = (sim_arrival_t){from, to, *message_p};
    *message_p = NULL;
    link->in_flight++;
    sim_schedule (self, at - self->now, EVENT_ARRIVAL, (uint64_t)(uintptr_t)arrival);
}

/*  What the receiver gets: a message of its own, from whom the link knows. */
static message_t *decode (simulator_t *self, unsigned from, const message_t *sent,
                          nexus_error_t *error)
{
    const buffer_t *bytes = &self->scratch;
    message_t *message = message_decode (sent->kind, bytes->data, bytes->size, error);
    if (!message)
        return NULL;
    message->to = sent->to;
    memset (&message->to.node, 0, sizeof message->to.node);
    message->from = sent->from;
    message->from.node = self->nodes[from].key;
    message->role = self->nodes[from].role;
    message->flags = sent->flags;
    message->correlation = sent->correlation;
    message->trace = sent->trace;
    if (sent->payload) {
        uint8_t *data;
        message->payload = payload_alloc (sent->payload->size, &data);
        if (sent->payload->size)
            memcpy (data, sent->payload->data, sent->payload->size);
        message->size += sent->payload->size;
    }
    return message;
}

/*  Why the message does not even enter the link; DEAD_REASONS if it does. */
static dead_reason_t refusal (simulator_t *self, unsigned from, unsigned to,
                              const message_t *message, int64_t left_ns)
{
    if (message->kind->id == 0)
        return DEAD_NO_ID;
    if (message->deadline_ns && left_ns <= 0)
        return DEAD_DEADLINE;
    if (link_of (self, from, to)->in_flight >= (unsigned)self->settings[SIMULATOR_QUEUE])
        return DEAD_LINK_FULL;
    return DEAD_REASONS;
}

static void transmit (simulator_t *self, unsigned from, unsigned to, message_t **message_p)
{
    message_t *sent = *message_p;
    buffer_clear (&self->scratch);
    record_encode (sent->kind, sent->body, &self->scratch);
    int64_t left_ns = sent->deadline_ns - sim_node_now (self, from);
    dead_reason_t reason = refusal (self, from, to, sent, left_ns);
    if (reason != DEAD_REASONS) {
        sim_dead_letter (self, from, message_p, reason);
        return;
    }
    unsigned copies = 1;
    if (sim_chance (&self->network, self->settings[SIMULATOR_DUPLICATION]))
        copies = 2;
    if (sim_link (self, from, to)->cuts ||
        sim_chance (&self->network, self->settings[SIMULATOR_LOSS]))
        copies = 0;
    if (!copies && self->trace)
        sim_trace_message (self, from, "lose", sent, NULL);
    for (unsigned i = 0; i < copies; i++) {
        nexus_error_t error = {0};
        message_t *message = decode (self, from, sent, &error);
        if (!message) {
            nexus_error_prefix (&error,
                                "%s sent what it could not read itself: ", self->nodes[from].name);
            sim_fail (self, &error);
            break;
        }
        if (sent->deadline_ns)
            message->deadline_ns = left_ns; /* relative while under way */
        arrive_later (self, from, to, &message);
    }
    message_release (message_p);
}

void sim_network_send (simulator_t *self, unsigned from, message_t **message_p)
{
    int to = sim_find_node (self, &(*message_p)->to.node);
    if (to >= 0) {
        transmit (self, from, (unsigned)to, message_p);
        return;
    }
    const simulator_outside_t *outside = self->outside;
    if (outside && outside->message && outside->message (self->outside_context, from, *message_p))
        message_release (message_p);
    else
        sim_dead_letter (self, from, message_p, DEAD_NO_ROUTE);
}

void sim_network_arrive (simulator_t *self, sim_arrival_t *arrival)
{
    sim_link_t *link = sim_link (self, arrival->from, arrival->to);
    unsigned node = arrival->to;
    message_t *message = arrival->message;
    free (arrival);
    link->in_flight--;
    /* What is under way when a link breaks or a process ends is lost with it. */
    if (!self->nodes[node].up || link->cuts) {
        if (self->trace)
            sim_trace_message (self, node, "lose", message, NULL);
        message_release (&message);
        return;
    }
    if (message->deadline_ns)
        message->deadline_ns += sim_node_now (self, node);
    sim_deliver (self, node, &message);
}
