/*  harness - one behaviour under test: see the header. */
#include "runtime/harness.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef enum { EFFECT_MESSAGE, EFFECT_SPAWN, EFFECT_STOP_CHILD, EFFECT_WATCH } effect_kind_t;

typedef struct effect effect_t;
struct effect {
    effect_t *next;
    effect_kind_t kind;
    message_t *message;
    child_t child;
    address_t address;
};

struct harness {
    simulator_t *sim;
    char name[24];
    role_t role;
    bool held;
    effect_t *first, **last; /* what waits to be expected */
    effect_t *taken;         /* what was expected last */
    uint64_t correlation;
    bool refuse, ended;
    nexus_error_t refusal, end;
};

static const int64_t ASK_TIMEOUT_MS = 10000;

/*  ---- recording --------------------------------------------------------- */

static void *must (void *memory)
{
    if (!memory) {
        fprintf (stderr, "harness: out of memory\n");
        abort ();
    }
    return memory;
}

static effect_t *record (harness_t *self, effect_kind_t kind)
{
    effect_t *effect = must (calloc (1, sizeof *effect));
    effect->kind = kind;
    *self->last = effect;
    self->last = &effect->next;
    return effect;
}

static void effect_destroy (effect_t **effect_p)
{
    if (!*effect_p)
        return;
    message_release (&(*effect_p)->message);
    free (*effect_p);
    *effect_p = NULL;
}

/*  Takes an effect out of those that wait; it stays valid until the next one. */
static effect_t *take (harness_t *self, effect_t **place)
{
    effect_t *effect = *place;
    *place = effect->next;
    if (!*place)
        self->last = place;
    effect_destroy (&self->taken);
    self->taken = effect;
    return effect;
}

/*  The same message after a trip over the wire. */
static message_t *through_wire (const message_t *sent)
{
    nexus_error_t error;
    buffer_t bytes = {0};
    record_encode (sent->kind, sent->body, &bytes);
    message_t *message = message_decode (sent->kind, bytes.data, bytes.size, &error);
    buffer_free (&bytes);
    if (!message) {
        fprintf (stderr, "harness: what was sent can't be read: %s\n", error.text);
        abort ();
    }
    message->to = sent->to;
    message->from = sent->from;
    message->role = sent->role;
    message->flags = sent->flags;
    message->correlation = sent->correlation;
    message->deadline_ns = sent->deadline_ns;
    message->trace = sent->trace;
    message->payload = sent->payload ? payload_retain (sent->payload) : NULL;
    return message;
}

static bool on_message (void *context, unsigned node, message_t *message)
{
    (void)node;
    const harness_t *self = context;
    address_t own = address_local (self->name, 0);
    if (address_equal (&message->to, &own))
        return false; /* what it tells itself it gets */
    effect_t *effect = record (context, EFFECT_MESSAGE);
    effect->message =
        record_key_is_zero (&message->to.node) ? message_retain (message) : through_wire (message);
    return true;
}

static int on_spawn (void *context, unsigned node, const child_t *child, nexus_error_t *error)
{
    (void)node;
    harness_t *self = context;
    effect_t *effect = record (self, EFFECT_SPAWN);
    effect->child = *child;
    effect->address = address_local (child->name, child->instance);
    if (!self->refuse)
        return 0;
    self->refuse = false;
    if (error)
        *error = self->refusal;
    return -1;
}

static bool on_stop_child (void *context, unsigned node, const address_t *child)
{
    (void)node;
    record (context, EFFECT_STOP_CHILD)->address = *child;
    return true;
}

static bool on_watch (void *context, unsigned node, const address_t *actor)
{
    (void)node;
    record (context, EFFECT_WATCH)->address = *actor;
    return true;
}

static void on_end (void *context, unsigned node, const address_t *actor,
                    const nexus_error_t *error)
{
    (void)node, (void)actor;
    harness_t *self = context;
    self->ended = true;
    if (error)
        self->end = *error;
}

static const simulator_outside_t outside = {
    .message = on_message,
    .spawn = on_spawn,
    .stop_child = on_stop_child,
    .watch = on_watch,
    .end = on_end,
};

/*  ---- building ---------------------------------------------------------- */

harness_t *harness_new (const behaviour_t *behaviour, const void *args, const record_key_t *node,
                        nexus_error_t *error)
{
    harness_t *self = must (calloc (1, sizeof *self));
    self->last = &self->first;
    self->role = ROLE_MASTER;
    snprintf (self->name, sizeof self->name, "%s", behaviour->name);
    self->sim = simulator_new (1, simulator_profile ("calm"));
    simulator_node_t config = {.name = "node", .role = ROLE_MASTER};
    if (node)
        config.key = *node;
    else
        memset (&config.key, 1, sizeof config.key);
    simulator_add_node (self->sim, &config);
    simulator_set_outside (self->sim, &outside, self);
    child_t child = {.behaviour = behaviour, .name = self->name, .args = args};
    if (simulator_spawn (self->sim, 0, &child, error) == -1) {
        harness_destroy (&self);
        return NULL;
    }
    harness_turn (self);
    return self;
}

void harness_destroy (harness_t **self_p)
{
    harness_t *self = *self_p;
    if (!self)
        return;
    simulator_destroy (&self->sim);
    harness_clear (self);
    effect_destroy (&self->taken);
    free (self);
    *self_p = NULL;
}

void *harness_state (const harness_t *self)
{
    return simulator_state (self->sim, 0, self->name, 0);
}

context_t *harness_context (const harness_t *self)
{
    return simulator_context (self->sim, 0, self->name, 0);
}

int64_t harness_now (const harness_t *self)
{
    const context_t *ctx = harness_context (self);
    return ctx ? context_now (ctx) : 0;
}

simulator_t *harness_simulator (const harness_t *self)
{
    return self->sim;
}

/*  ---- giving ------------------------------------------------------------ */

void harness_set_role (harness_t *self, role_t role)
{
    self->role = role;
}

void harness_hold (harness_t *self)
{
    self->held = true;
}

void harness_turn (harness_t *self)
{
    self->held = false;
    simulator_run (self->sim, 0, 0, NULL, NULL);
}

static void give (harness_t *self, message_t **message_p)
{
    simulator_inject (self->sim, 0, self->role, message_p);
    if (!self->held)
        harness_turn (self);
}

static message_t *build (const harness_t *self, const address_t *from, const record_t *kind,
                         const void *body, payload_t **payload_p)
{
    address_t to = address_local (self->name, 0), test = address_local ("test", 0);
    return message_new (kind, body, payload_p, &to, from ? from : &test);
}

void harness_deliver (harness_t *self, const address_t *from, const record_t *kind,
                      const void *body)
{
    harness_deliver_payload (self, from, kind, body, NULL);
}

void harness_deliver_payload (harness_t *self, const address_t *from, const record_t *kind,
                              const void *body, payload_t **payload_p)
{
    message_t *message = build (self, from, kind, body, payload_p);
    give (self, &message);
}

uint64_t harness_ask (harness_t *self, const address_t *from, const record_t *kind,
                      const void *body)
{
    message_t *message = build (self, from, kind, body, NULL);
    message->flags = MESSAGE_REQUEST;
    /* Out of the way of the behaviour's own requests. */
    message->correlation = (UINT64_C (1) << 63) + ++self->correlation;
    message->deadline_ns = harness_now (self) + MS_TO_NS (ASK_TIMEOUT_MS);
    uint64_t correlation = message->correlation;
    give (self, &message);
    return correlation;
}

void harness_reply (harness_t *self, const message_t *request, const record_t *kind,
                    const void *body)
{
    assert (request->flags & MESSAGE_REQUEST);
    message_t *message = build (self, &request->to, kind, body, NULL);
    message->flags = MESSAGE_REPLY;
    message->correlation = request->correlation;
    give (self, &message);
}

void harness_reply_failure (harness_t *self, const message_t *request, nexus_code_t code,
                            const char *text)
{
    failure_t failure = {.code = (uint64_t)code, .text = text};
    harness_reply (self, request, &failure_record, &failure);
}

void harness_down (harness_t *self, const address_t *actor, bool failed, const char *reason)
{
    down_t down = {.node = actor->node,
                   .actor = actor->actor,
                   .instance = actor->instance,
                   .failed = failed,
                   .reason = reason};
    harness_deliver (self, actor, &down_record, &down);
}

void harness_stop (harness_t *self)
{
    simulator_stop (self->sim, 0, self->name, 0);
    harness_turn (self);
}

void harness_advance (harness_t *self, int64_t ms)
{
    simulator_run (self->sim, MS_TO_NS (ms), 0, NULL, NULL);
}

/*  ---- expecting --------------------------------------------------------- */

static void complain (const effect_t *effect, const char *wanted)
{
    char address[64];
    if (!effect)
        fprintf (stderr, "harness: expected %s, nothing is there\n", wanted);
    else if (effect->kind == EFFECT_MESSAGE)
        fprintf (stderr, "harness: expected %s, found %s to %s\n", wanted,
                 effect->message->kind->name, address_text (&effect->message->to, address));
    else
        fprintf (stderr, "harness: expected %s, found a %s of %s\n", wanted,
                 effect->kind == EFFECT_SPAWN        ? "spawn"
                 : effect->kind == EFFECT_STOP_CHILD ? "stop"
                                                     : "watch",
                 address_text (&effect->address, address));
}

/*  Where the first effect of that kind stands; the end if there is none. */
static effect_t **first_of (harness_t *self, effect_kind_t kind)
{
    effect_t **place = &self->first;
    while (*place && (*place)->kind != kind)
        place = &(*place)->next;
    return place;
}

const void *harness_expect_kind (harness_t *self, const record_t *kind)
{
    effect_t **place = first_of (self, EFFECT_MESSAGE);
    if (!*place || (*place)->message->kind != kind) {
        complain (*place, kind->name);
        return NULL;
    }
    return take (self, place)->message->body;
}

const void *harness_find_kind (harness_t *self, const record_t *kind)
{
    effect_t **place = &self->first;
    while (*place && ((*place)->kind != EFFECT_MESSAGE || (*place)->message->kind != kind))
        place = &(*place)->next;
    if (!*place) {
        complain (self->first, kind->name);
        return NULL;
    }
    return take (self, place)->message->body;
}

const void *harness_expect_reply_kind (harness_t *self, uint64_t correlation, const record_t *kind)
{
    effect_t **place = &self->first;
    while (*place &&
           ((*place)->kind != EFFECT_MESSAGE || (*place)->message->correlation != correlation ||
            !((*place)->message->flags & MESSAGE_REPLY)))
        place = &(*place)->next;
    if (!*place || (*place)->message->kind != kind) {
        complain (*place, kind->name);
        return NULL;
    }
    return take (self, place)->message->body;
}

const message_t *harness_message (const harness_t *self)
{
    return self->taken ? self->taken->message : NULL;
}

size_t harness_count (const harness_t *self, const record_t *kind)
{
    size_t count = 0;
    for (const effect_t *effect = self->first; effect; effect = effect->next)
        count += effect->kind == EFFECT_MESSAGE && (!kind || effect->message->kind == kind);
    return count;
}

bool harness_quiet (harness_t *self)
{
    for (const effect_t *effect = self->first; effect; effect = effect->next)
        complain (effect, "nothing");
    return self->first == NULL;
}

void harness_clear (harness_t *self)
{
    while (self->first) {
        effect_t *effect = self->first;
        self->first = effect->next;
        effect_destroy (&effect);
    }
    self->last = &self->first;
}

const child_t *harness_expect_spawn (harness_t *self)
{
    effect_t **place = first_of (self, EFFECT_SPAWN);
    if (!*place) {
        complain (NULL, "a spawn");
        return NULL;
    }
    return &take (self, place)->child;
}

void harness_refuse_spawn (harness_t *self, nexus_code_t code, const char *text)
{
    self->refuse = true;
    nexus_error_set (&self->refusal, code, "%s", text);
}

static bool expect_address (harness_t *self, effect_kind_t kind, const address_t *address,
                            const char *wanted)
{
    effect_t **place = first_of (self, kind);
    if (!*place || !address_equal (&(*place)->address, address)) {
        complain (*place, wanted);
        return false;
    }
    take (self, place);
    return true;
}

bool harness_expect_stop_child (harness_t *self, const address_t *child)
{
    return expect_address (self, EFFECT_STOP_CHILD, child, "a stop of that child");
}

bool harness_expect_watch (harness_t *self, const address_t *actor)
{
    return expect_address (self, EFFECT_WATCH, actor, "a watch of that actor");
}

bool harness_ended (const harness_t *self, nexus_error_t *ret_error)
{
    if (self->ended && ret_error)
        *ret_error = self->end;
    return self->ended;
}
