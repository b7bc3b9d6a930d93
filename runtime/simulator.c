/*  simulator - building, running and looking in: see the header. */
#include "runtime/simulator_private.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void *sim_checked (void *memory)
{
    if (!memory) {
        fprintf (stderr, "simulator: out of memory; run fewer nodes or fewer at a time\n");
        abort ();
    }
    return memory;
}

/*  ---- the trace --------------------------------------------------------- */

static void trace_head (simulator_t *self, unsigned node, const address_t *actor, const char *event)
{
    char address[64];
    fprintf (self->trace, "%lld.%09lld %s %s %s", (long long)(self->now / 1000000000),
             (long long)(self->now % 1000000000), self->nodes[node].name,
             actor ? address_text (actor, address) : "-", event);
}

void sim_trace (simulator_t *self, unsigned node, const address_t *actor, const char *event,
                const char *format, ...)
{
    if (!self->trace)
        return;
    trace_head (self, node, actor, event);
    fputc (' ', self->trace);
    va_list args;
    va_start (args, format);
    vfprintf (self->trace, format, args);
    va_end (args);
    fputc ('\n', self->trace);
}

/*  Addresses by the names of their nodes. */
static const char *address_named (const simulator_t *self, const address_t *address, char text[64])
{
    int node = sim_find_node (self, &address->node);
    if (node < 0)
        return address_text (address, text);
    address_t local = *address;
    memset (&local.node, 0, sizeof local.node);
    address_text (&local, text);
    size_t length = strlen (text);
    snprintf (text + length, 64 - length, "@%s", self->nodes[node].name);
    return text;
}

void sim_trace_message (simulator_t *self, unsigned node, const char *event,
                        const message_t *message, const char *note)
{
    if (!self->trace)
        return;
    bool send = strcmp (event, "send") == 0;
    trace_head (self, node, send ? &message->from : &message->to, event);
    char peer[64];
    fprintf (self->trace, " %s=%s kind=%s", send ? "to" : "from",
             address_named (self, send ? &message->to : &message->from, peer), message->kind->name);
    if (message->flags)
        fprintf (self->trace, " %s=%llx", message->flags & MESSAGE_REPLY ? "reply" : "request",
                 (unsigned long long)message->correlation);
    if (message->payload)
        fprintf (self->trace, " payload=%zu", message->payload->size);
    if (note)
        fprintf (self->trace, " reason=%s", note);
    buffer_clear (&self->text);
    record_to_logfmt (message->kind, message->body, &self->text);
    fprintf (self->trace, " %.*s\n", (int)self->text.size, (const char *)self->text.data);
}

static void trace_field (FILE *file, const log_field_t *field)
{
    switch (field->type) {
    case LOG_FIELD_TEXT:
        fprintf (file, " %s=\"%s\"", field->key, field->text ? field->text : "");
        break;
    case LOG_FIELD_INT:
        fprintf (file, " %s=%lld", field->key, (long long)field->i);
        break;
    case LOG_FIELD_UINT:
        fprintf (file, " %s=%llu", field->key, (unsigned long long)field->u);
        break;
    case LOG_FIELD_REAL:
        fprintf (file, " %s=%g", field->key, field->real);
        break;
    case LOG_FIELD_KEY:
        fprintf (file, " %s=%02x%02x%02x%02x", field->key, field->node->bytes[0],
                 field->node->bytes[1], field->node->bytes[2], field->node->bytes[3]);
        break;
    }
}

/*  A node's log goes to the trace, under the actor that is at work. */
static void trace_log (void *context, log_level_t level, const char *actor, const char *msg,
                       const log_field_t *fields, size_t count)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    (void)actor;
    sim_node_t *node = context;
    simulator_t *self = node->sim;
    if (!self->trace || (self->running && self->running->mute))
        return;
    trace_head (self, (unsigned)(node - self->nodes),
                self->running ? &self->running->context.self : NULL, "log");
    fprintf (self->trace, " level=%s msg=\"%s\"", levels[level], msg);
    for (size_t i = 0; i < count; i++)
        trace_field (self->trace, &fields[i]);
    fputc ('\n', self->trace);
}

void simulator_trace (simulator_t *self, FILE *file)
{
    self->trace = file;
    if (!file)
        return;
#define SETTING_NAME(id, name, doc) name,
    static const char *const names[] = {SIMULATOR_SETTINGS (SETTING_NAME)};
#undef SETTING_NAME
    fprintf (file, "# seed=%llu", (unsigned long long)self->seed);
    for (int i = 0; i < SIMULATOR_SETTING_COUNT; i++)
        fprintf (file, " %s=%g", names[i], self->settings[i]);
    fputc ('\n', file);
}

void simulator_note (simulator_t *self, const char *format, ...)
{
    if (!self->trace)
        return;
    fprintf (self->trace, "%lld.%09lld # ", (long long)(self->now / 1000000000),
             (long long)(self->now % 1000000000));
    va_list args;
    va_start (args, format);
    vfprintf (self->trace, format, args);
    va_end (args);
    fputc ('\n', self->trace);
}

/*  ---- building ---------------------------------------------------------- */

simulator_t *simulator_new (uint64_t seed, const simulator_profile_t *profile)
{
    assert (profile);
    simulator_t *self = sim_checked (calloc (1, sizeof *self));
    size_t links = (size_t)SIMULATOR_NODES_MAX * SIMULATOR_NODES_MAX;
    self->links = sim_checked (calloc (links, sizeof *self->links));
    self->seed = seed;
    self->timers = timers_new ();
    self->pending = pending_new (1);
    random_t draw;
    random_seed (&draw, seed);
    random_seed (&self->network, random_next (&draw));
    random_seed (&self->faults, random_next (&draw));
    random_seed (&self->schedule, random_next (&draw));
    for (int i = 0; i < SIMULATOR_SETTING_COUNT; i++) {
        double min = profile->settings[i].min, max = profile->settings[i].max;
        double at = random_real (&draw);
        /* Over decades each decade gets its share. */
        self->settings[i] =
            min > 0 && max > 10 * min ? min * pow (max / min, at) : min + at * (max - min);
    }
    for (int i = 0; i < SIMULATOR_SETTING_COUNT; i++)
        if (random_real (&draw) < profile->settings[i].off)
            self->settings[i] = 0;
    return self;
}

void simulator_destroy (simulator_t **self_p)
{
    simulator_t *self = *self_p;
    if (!self)
        return;
    assert (!self->running);
    for (unsigned i = self->node_count; i-- > 0;) {
        sim_actors_end (self, i, true);
        sim_disk_destroy (&self->nodes[i].disk);
        metrics_destroy (&self->nodes[i].metrics);
        log_destroy (&self->nodes[i].log);
    }
    timer_entry_t event;
    while (timers_drop (self->timers, &self->events, &event))
        if (event.tag == EVENT_ARRIVAL) {
            sim_arrival_t *arrival = (sim_arrival_t *)(uintptr_t)event.data;
            message_release (&arrival->message);
            free (arrival);
        }
    timers_destroy (&self->timers);
    pending_destroy (&self->pending);
    buffer_free (&self->scratch);
    buffer_free (&self->text);
    free (self->ready);
    free (self->links);
    free (self);
    *self_p = NULL;
}

static sim_disk_config_t disk_config (const simulator_t *self)
{
    return (sim_disk_config_t){.flush_ms = self->settings[SIMULATOR_FLUSH_MS],
                               .stall = self->settings[SIMULATOR_STALL],
                               .unsynced_lost = self->settings[SIMULATOR_UNSYNCED_LOST],
                               .tear = self->settings[SIMULATOR_TEAR],
                               .write_fault = self->settings[SIMULATOR_WRITE_FAULT]};
}

double simulator_setting (const simulator_t *self, simulator_setting_t setting)
{
    return self->settings[setting];
}

void simulator_set (simulator_t *self, simulator_setting_t setting, double value)
{
    self->settings[setting] = value;
    sim_disk_config_t config = disk_config (self);
    for (unsigned i = 0; i < self->node_count; i++)
        if (self->nodes[i].disk)
            sim_disk_configure (self->nodes[i].disk, &config);
}

unsigned simulator_add_node (simulator_t *self, const simulator_node_t *config)
{
    assert (self->node_count < SIMULATOR_NODES_MAX && !self->running);
    assert (sim_find_node (self, &config->key) < 0);
    unsigned number = self->node_count++;
    sim_node_t *node = &self->nodes[number];
    snprintf (node->name, sizeof node->name, "%s", config->name);
    node->sim = self;
    node->key = config->key;
    node->role = config->role;
    node->boot = config->boot;
    node->boot_context = config->context;
    node->metrics = metrics_new ();
    node->log = sim_checked (log_new_sink (LOG_LEVEL_DEBUG, trace_log, node));
    /* Up to 11 days of uptime: no two nodes' clocks agree. */
    node->clock_ns = (int64_t)random_below (&self->faults, UINT64_C (1000000000000000)) + 1;
    double skew = self->settings[SIMULATOR_SKEW_MS];
    node->skew_ms = (int64_t)((random_real (&self->faults) * 2 - 1) * skew);
    double rate = self->settings[SIMULATOR_CLOCK_RATE];
    if (rate > 0)
        node->drift = (random_real (&self->faults) * 2 - 1) * rate;
    if (node->boot)
        sim_schedule (self, 0, EVENT_BOOT, number);
    else
        node->up = true;
    return number;
}

int simulator_spawn (simulator_t *self, unsigned node, const child_t *child, nexus_error_t *error)
{
    assert (node < self->node_count && self->nodes[node].up);
    return sim_actor_spawn (self, node, NULL, child, error);
}

void simulator_stop (simulator_t *self, unsigned node, const char *actor, uint64_t instance)
{
    sim_actor_t *found = sim_actor_find (self, node, actor, instance);
    if (!found)
        return;
    found->stop_asked = true;
    sim_actor_wake (found);
}

void sim_boot (simulator_t *self, unsigned node)
{
    sim_node_t *home = &self->nodes[node];
    home->up = true;
    home->held = false;
    if (self->trace)
        sim_trace (self, node, NULL, "boot", "number=%u", home->boots);
    sim_digest (self, UINT64_C (3) << 32 | node);
    home->boots++;
    nexus_error_t error = {0};
    if (home->boot && home->boot (self, node, home->boot_context, &error) == -1) {
        nexus_error_prefix (&error, "%s could not boot: ", home->name);
        sim_fail (self, &error);
    }
}

/*  ---- running ----------------------------------------------------------- */

void sim_schedule (simulator_t *self, int64_t delay_ns, sim_event_t event, uint64_t data)
{
    timers_add (self->timers, self->now + delay_ns, self, &self->events, (int)event, data);
}

void sim_fail (simulator_t *self, const nexus_error_t *error)
{
    if (self->failed)
        return;
    self->failed = true;
    self->error = *error;
    nexus_error_prefix (&self->error,
                        "seed %llu, step %llu, %.6f s: ", (unsigned long long)self->seed,
                        (unsigned long long)self->steps, (double)self->now / 1e9);
    if (self->trace)
        simulator_note (self, "%s", self->error.text);
}

static void handle (simulator_t *self, const timer_entry_t *event)
{
    if (event->owner != self)
        sim_actor_expire (self, event);
    else if (event->tag == EVENT_ARRIVAL)
        sim_network_arrive (self, (sim_arrival_t *)(uintptr_t)event->data);
    else
        sim_faults_event (self, event);
}

/*  Brings on whatever is due by now. */
static void handle_due (simulator_t *self)
{
    timer_entry_t event;
    while (!self->failed && timers_pop (self->timers, self->now, &event))
        handle (self, &event);
}

/*  Who is next; NULL: nobody waits. */
static sim_actor_t *next_ready (simulator_t *self)
{
    while (self->ready_count) {
        size_t first = self->ready_first, mask = self->ready_capacity - 1;
        if (self->ready_count > 1 &&
            sim_chance (&self->schedule, self->settings[SIMULATOR_SHUFFLE])) {
            size_t other = (first + random_below (&self->schedule, self->ready_count)) & mask;
            sim_actor_t *swap = self->ready[first];
            self->ready[first] = self->ready[other];
            self->ready[other] = swap;
        }
        sim_actor_t *actor = self->ready[first];
        self->ready_first = (first + 1) & mask;
        self->ready_count--;
        if (actor)
            return actor;
    }
    return NULL;
}

static void observe (simulator_t *self)
{
    nexus_error_t error = {0};
    if (self->observer && !self->failed &&
        self->observer (self, self->observer_context, &error) == -1)
        sim_fail (self, &error);
}

simulator_result_t simulator_run (simulator_t *self, int64_t duration_ns, uint64_t steps,
                                  simulator_predicate_fn *until, void *context)
{
    assert (!self->running);
    int64_t end = self->now + duration_ns;
    uint64_t last_step = self->steps + steps;
    if (!self->faults_planned) {
        sim_faults_plan (self);
        self->faults_planned = true;
    }
    for (;;) {
        handle_due (self);
        if (self->failed)
            return SIMULATOR_FAILED;
        if (until && until (self, context))
            return SIMULATOR_REACHED;
        if (steps && self->steps == last_step)
            return SIMULATOR_STEPS;
        sim_actor_t *actor = next_ready (self);
        if (actor) {
            self->steps++;
            self->last_node = actor->node;
            self->last_actor = actor->context.self;
            sim_actor_turn (actor);
            observe (self);
            continue;
        }
        int64_t next = timers_next (self->timers);
        if (next > end) {
            self->now = end;
            return next == INT64_MAX ? SIMULATOR_IDLE : SIMULATOR_TIME;
        }
        self->now = next;
    }
}

void simulator_observe (simulator_t *self, simulator_observer_fn *observer, void *context)
{
    self->observer = observer;
    self->observer_context = context;
}

unsigned simulator_last_node (const simulator_t *self)
{
    return self->last_node;
}

const address_t *simulator_last_actor (const simulator_t *self)
{
    return &self->last_actor;
}

void simulator_watch (simulator_t *self, simulator_watcher_fn *watcher, void *context)
{
    self->watcher = watcher;
    self->watcher_context = context;
}

const char *simulator_error (const simulator_t *self)
{
    return self->error.text;
}

int64_t simulator_now (const simulator_t *self)
{
    return self->now;
}

uint64_t simulator_steps (const simulator_t *self)
{
    return self->steps;
}

uint64_t simulator_seed (const simulator_t *self)
{
    return self->seed;
}

uint64_t simulator_digest (const simulator_t *self)
{
    return self->digest;
}

/*  ---- looking in -------------------------------------------------------- */

int sim_find_node (const simulator_t *self, const record_key_t *key)
{
    for (unsigned i = 0; i < self->node_count; i++)
        if (memcmp (&self->nodes[i].key, key, sizeof *key) == 0)
            return (int)i;
    return -1;
}

void *simulator_state (const simulator_t *self, unsigned node, const char *actor, uint64_t instance)
{
    const sim_actor_t *found = sim_actor_find (self, node, actor, instance);
    return found ? found->state : NULL;
}

context_t *simulator_context (const simulator_t *self, unsigned node, const char *actor,
                              uint64_t instance)
{
    sim_actor_t *found = sim_actor_find (self, node, actor, instance);
    return found ? &found->context : NULL;
}

sim_disk_t *simulator_disk (simulator_t *self, unsigned node)
{
    assert (node < self->node_count);
    sim_node_t *home = &self->nodes[node];
    if (!home->disk) {
        sim_disk_config_t config = disk_config (self);
        home->disk = sim_disk_new (&self->now, self->seed * 64 + node, &config);
    }
    return home->disk;
}

metrics_t *simulator_metrics (const simulator_t *self, unsigned node)
{
    return self->nodes[node].metrics;
}

const record_key_t *simulator_key (const simulator_t *self, unsigned node)
{
    return &self->nodes[node].key;
}

const char *simulator_name (const simulator_t *self, unsigned node)
{
    return self->nodes[node].name;
}

uint64_t simulator_dead_letters (const simulator_t *self, const char *reason)
{
    uint64_t count = 0;
    for (dead_reason_t i = 0; i < DEAD_REASONS; i++)
        if (!reason || strcmp (dead_reasons[i].name, reason) == 0)
            count += self->dead[i];
    return count;
}

/*  ---- the outside ------------------------------------------------------- */

void simulator_inject (simulator_t *self, unsigned node, role_t role, message_t **message_p)
{
    assert (!self->running);
    message_t *message = *message_p;
    memset (&message->to.node, 0, sizeof message->to.node);
    message->role = record_key_is_zero (&message->from.node) ? ROLE_LOCAL : role;
    if (self->nodes[node].up)
        sim_deliver (self, node, message_p);
    else
        message_release (message_p);
}

void simulator_set_outside (simulator_t *self, const simulator_outside_t *outside, void *context)
{
    self->outside = outside;
    self->outside_context = context;
}
