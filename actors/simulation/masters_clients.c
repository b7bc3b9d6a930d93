/*  masters_clients - who writes and reads, and notes what came back

    Clients are nodes of their own, which never crash, and speak as workers. Each
    does one thing at a time: it asks some master, and another one if there is no
    answer or the wrong one, always with the same client and sequence, until it is
    told what became of it or has had enough. What it asked and what it learnt is a
    history (history.h), judged in the end. */
#include "actors/simulation/masters_private.h"

#include "actors/protocol/command.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define U(number) ((unsigned long long)(number))

enum { PAUSE = 1, VALUE_MAX = 64 << 10, PATIENCE_MS = 20000 };

typedef enum { GET, STALE_GET, PUT, DELETE } operation_t;

typedef struct {
    asker_t *asker;
    uint64_t id; /* "client" of its requests */
    uint64_t sequence;
    uint64_t known; /* the highest index it knows to be applied */
    uint64_t versions[MASTERS_KEYS_MAX];

    bool busy; /* with this: */
    operation_t operation;
    unsigned key;
    bool compare;
    uint64_t version; /* to compare with */
    uint64_t after;
    size_t number; /* in the history */
    char value[32];
    size_t padding; /* bytes behind it */
    int64_t asked_ns;
    unsigned master; /* who was asked */
    unsigned attempts_left;
    bool doubtful;        /* an attempt may have been done, or may yet be */
    uint64_t correlation; /* of the attempt under way; 0: it pauses */
    bool last_reads;      /* the world is calm: it reads each key once more, then rests */
} client_t;

static int64_t pause_ns (const client_t *self, context_t *ctx)
{
    return (int64_t)(context_random (ctx) % (uint64_t)(2 * self->asker->world->pause_ns)) + 1000;
}

/*  ---- what to do -------------------------------------------------------------------- */

static void key_name (unsigned key, char name[8])
{
    snprintf (name, 8, "k%u", key);
}

static void note_call (client_t *self)
{
    char name[8];
    masters_t *world = self->asker->world;
    key_name (self->key, name);
    history_operation_t operation = {
        .call_ns = simulator_now (world->sim),
        .return_ns = HISTORY_NEVER,
        .client = self->asker->number,
        .kind = self->operation == PUT      ? HISTORY_PUT
                : self->operation == DELETE ? HISTORY_DELETE
                                            : HISTORY_GET,
        .key = name,
        .value = self->operation == PUT ? self->value : NULL,
        .compare = self->compare,
        .expected = self->version,
    };
    if (self->operation != STALE_GET)
        self->number = history_add (world->history, &operation);
}

/*  Key 0 is never deleted; see masters_check_stale. */
static void draw (client_t *self, context_t *ctx)
{
    masters_t *world = self->asker->world;
    uint64_t dice = context_random (ctx) % 100;
    self->key = (unsigned)(context_random (ctx) % world->key_count);
    self->operation = dice < 55 ? PUT : dice < 65 ? DELETE : dice < 92 ? GET : STALE_GET;
    if (self->operation == DELETE && self->key == 0)
        self->operation = PUT;
    bool writes = self->operation == PUT || self->operation == DELETE;
    self->compare = writes && context_random (ctx) % 3 == 0;
    self->version = self->compare ? self->versions[self->key] : 0;
    self->padding = context_random (ctx) % 200 ? context_random (ctx) % 40
                                               : context_random (ctx) % (VALUE_MAX - 100);
    self->attempts_left = 1 + (unsigned)(context_random (ctx) % 12);
}

static void begin (client_t *self, context_t *ctx)
{
    masters_t *world = self->asker->world;
    if (world->calm) {
        if (self->last_reads && ++self->key == world->key_count)
            return;
        self->key = self->last_reads ? self->key : 0;
        self->last_reads = true;
        self->operation = GET;
        self->compare = false;
    } else
        draw (self, ctx);
    self->busy = true;
    self->doubtful = false;
    self->after = self->known;
    self->sequence++;
    snprintf (self->value, sizeof self->value, "%u.%llu", self->asker->number, U (self->sequence));
    world->started++;
    note_call (self);
}

/*  ---- asking ------------------------------------------------------------------------ */

static void encode (const client_t *self, buffer_t *bytes)
{
    char name[8];
    uint8_t value[VALUE_MAX] = {0};
    key_name (self->key, name);
    size_t size = strlen (self->value);
    memcpy (value, self->value, size);
    const kv_put_t put = {.key = name,
                          .value = {value, size + 1 + self->padding},
                          .compare = self->compare,
                          .version = self->version};
    const kv_delete_t delete = {.key = name, .compare = self->compare, .version = self->version};
    if (self->operation == PUT)
        command_encode (&kv_put_record, &put, bytes);
    else
        command_encode (&kv_delete_record, &delete, bytes);
}

/*  Some master, for some time. */
static void ask (client_t *self, context_t *ctx)
{
    masters_t *world = self->asker->world;
    do
        self->master = (unsigned)(context_random (ctx) % world->machine_count);
    while (world->settled_ns && !world->machines[self->master].counts);
    self->asked_ns = simulator_now (world->sim);
    const record_key_t *master = &world->keys[self->master];
    bool patient = world->settled_ns != 0;
    int64_t timeout_ms = patient ? PATIENCE_MS : 1 + (int64_t)(context_random (ctx) % 4000);
    if (self->operation == GET || self->operation == STALE_GET) {
        char name[8];
        key_name (self->key, name);
        address_t to = address_remote (master, "ledger", 0);
        kv_get_t get = {.key = name, .stale = self->operation == STALE_GET};
        self->correlation = context_request (ctx, &to, &kv_get_record, &get, timeout_ms);
        return;
    }
    buffer_t bytes = {0};
    encode (self, &bytes);
    propose_t propose = {.command = {bytes.data, bytes.size},
                         .client = self->id,
                         .sequence = self->sequence,
                         .after = self->after};
    address_t to = address_remote (master, "election", 0);
    self->correlation = context_request (ctx, &to, &propose_record, &propose, timeout_ms);
    buffer_free (&bytes);
}

/*  ---- what came back ------------------------------------------------------------------ */

static void end (client_t *self, context_t *ctx, history_outcome_t outcome, const char *value,
                 uint64_t version)
{
    masters_t *world = self->asker->world;
    self->busy = false;
    if (outcome == HISTORY_UNKNOWN)
        world->unknown++;
    else if (outcome == HISTORY_FAILED)
        world->refused++;
    else
        world->done++;
    if (self->operation != STALE_GET && outcome != HISTORY_UNKNOWN)
        history_return (world->history, self->number, simulator_now (world->sim), outcome, value,
                        version);
    if (version && outcome == HISTORY_OK)
        self->versions[self->key] = version;
    context_after (ctx, pause_ns (self, ctx), PAUSE);
}

static void learn (client_t *self, uint64_t index)
{
    if (self->known < index)
        self->known = index;
}

static void take_got (client_t *self, context_t *ctx, const message_t *message)
{
    const kv_got_t *got = message->body;
    learn (self, got->index);
    char value[32] = "";
    if (got->found && got->value.size)
        snprintf (value, sizeof value, "%s", (const char *)got->value.data);
    if (self->operation == STALE_GET)
        masters_note_stale (self->asker->world, self->key, got, value);
    self->versions[self->key] = got->version;
    end (self, ctx, got->found ? HISTORY_OK : HISTORY_ABSENT, got->found ? value : NULL,
         got->version);
}

static void take_proposed (client_t *self, context_t *ctx, const proposed_t *proposed)
{
    learn (self, proposed->index);
    uint64_t version = strtoull (proposed->value, NULL, 10);
    if (self->operation == PUT) {
        if (!version)
            masters_wrong (self->asker->world, "a put yields \"%s\"", proposed->value);
        end (self, ctx, HISTORY_OK, NULL, version);
        return;
    }
    end (self, ctx, version ? HISTORY_OK : HISTORY_ABSENT, NULL, 0);
    self->versions[self->key] = 0;
}

/*  Enough: a get is no loss; of a write is known that it was never done if each attempt was told so
    and none can have been repeated on its way. */
static void give_up (client_t *self, context_t *ctx)
{
    bool repeats = simulator_setting (self->asker->world->sim, SIMULATOR_DUPLICATION) > 0;
    bool harmless = self->operation == GET || self->operation == STALE_GET;
    end (self, ctx, harmless || (!self->doubtful && !repeats) ? HISTORY_FAILED : HISTORY_UNKNOWN,
         NULL, 0);
}

static void take_failure (client_t *self, context_t *ctx, const failure_t *failure)
{
    masters_t *world = self->asker->world;
    bool get = self->operation == GET || self->operation == STALE_GET;
    if (failure->code == NEXUS_CONFLICT && self->compare) {
        self->versions[self->key] = self->version + 1; /* look first, next time */
        end (self, ctx, HISTORY_CONFLICT, NULL, 0);
        return;
    }
    /* Nothing fails, all follow one leader: there is no reason for an answer not to come. */
    if (failure->code == NEXUS_DEADLINE && world->settled_ns && world->settled_ns < self->asked_ns)
        masters_wrong (world, "%s asks %s and is not answered: %s",
                       get ? "who reads" : "who writes", world->machines[self->master].name,
                       failure->text);
    if (failure->code == NEXUS_DEADLINE)
        self->doubtful = true;
    else if (failure->code != NEXUS_UNAVAILABLE && failure->code != NEXUS_NOT_FOUND)
        masters_wrong (world, "%s of a client fails with %llu: %s", get ? "a get" : "a write",
                       U (failure->code), failure->text);
    if (!world->calm && --self->attempts_left == 0)
        give_up (self, ctx);
    else
        context_after (ctx, pause_ns (self, ctx), PAUSE);
}

/*  ---- life ------------------------------------------------------------------------------ */

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    (void)error;
    client_t *self = state;
    memcpy (&self->asker, args, sizeof self->asker);
    self->id = (context_random (ctx) >> 1) | 1;
    context_after (ctx, pause_ns (self, ctx), PAUSE);
    return 0;
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    client_t *self = state;
    if (!(message->flags & MESSAGE_REPLY) || message->correlation != self->correlation)
        return;
    self->correlation = 0;
    if (message_body (message, kv_got))
        take_got (self, ctx, message);
    else if (message_body (message, proposed))
        take_proposed (self, ctx, message->body);
    else if (message_body (message, failure))
        take_failure (self, ctx, message->body);
    else
        masters_wrong (self->asker->world, "a client is answered with %s", message->kind->name);
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    (void)id, (void)data;
    client_t *self = state;
    if (!self->busy)
        begin (self, ctx);
    if (self->busy)
        ask (self, ctx);
}

static const behaviour_t client_behaviour = {
    .name = "client",
    .state_size = sizeof (client_t),
    .start = start,
    .receive = receive,
    .timer = timer,
};

/*  ---- the world's side -------------------------------------------------------------------- */

void masters_add_clients (masters_t *self)
{
    unsigned nodes = 1 + (unsigned)random_below (&self->random, MASTERS_CLIENT_NODES_MAX);
    unsigned each = 1 + (unsigned)random_below (&self->random, MASTERS_ASKERS_MAX / nodes);
    if (self->options.clients) {
        nodes = 1;
        each = self->options.clients;
    }
    self->key_count = 1 + (unsigned)random_below (&self->random, MASTERS_KEYS_MAX);
    /* From one thing after the other to one a second. */
    static const int64_t pauses_ms[] = {0, 2, 20, 200};
    self->pause_ns = MS_TO_NS (pauses_ms[random_below (&self->random, 4)]) + 100000;
    self->history = history_new ();
    assert (self->history);
    for (unsigned i = 0; i < nodes; i++) {
        char name[16];
        snprintf (name, sizeof name, "c%u", i + 1);
        unsigned node = simulator_add_node (
            self->sim,
            &(simulator_node_t){.name = name, .key = masters_new_key (self), .role = ROLE_WORKER});
        for (unsigned instance = 0; instance < each; instance++) {
            asker_t *asker = &self->askers[self->asker_count];
            *asker = (asker_t){.self = asker, .world = self, .number = self->asker_count++};
            nexus_error_t error;
            const child_t child = {.behaviour = &client_behaviour,
                                   .name = "client",
                                   .instance = instance,
                                   .args = &asker->self};
            int rc = simulator_spawn (self->sim, node, &child, &error);
            assert (rc == 0);
        }
    }
}

/*  ---- stale reads --------------------------------------------------------------------------- */

void masters_note_stale (masters_t *self, unsigned key, const kv_got_t *got, const char *value)
{
    if (self->stale_count == self->stale_room) {
        self->stale_room = self->stale_room ? self->stale_room * 2 : 64;
        self->stale = realloc (self->stale, self->stale_room * sizeof *self->stale);
        assert (self->stale);
    }
    stale_t *stale = &self->stale[self->stale_count++];
    *stale = (stale_t){.key = key, .index = got->index, .version = got->version};
    snprintf (stale->value, sizeof stale->value, "%s", value);
    if (got->index > self->committed || got->version > got->index)
        masters_wrong (self, "a stale read shows version %llu at index %llu, of %llu committed",
                       U (got->version), U (got->index), U (self->committed));
}

/*  It shows a state that was: not one put that it leaves out, not a value that wasn't put. */
static bool stale_fits (const stale_t *stale, const history_operation_t *put)
{
    if (put->version == stale->version)
        return strcmp (put->value, stale->value) == 0;
    bool left_out = put->version > stale->version && put->version <= stale->index;
    /* Of the other keys, an entry that is not there may have been deleted. */
    return !left_out || (stale->version == 0 && stale->key != 0);
}

static int check_stale (masters_t *self, nexus_error_t *error)
{
    for (size_t i = 0; i < self->stale_count; i++) {
        char name[8];
        key_name (self->stale[i].key, name);
        for (size_t n = 0; n < history_count (self->history); n++) {
            const history_operation_t *operation = history_at (self->history, n);
            if (operation->kind == HISTORY_PUT && operation->outcome == HISTORY_OK &&
                strcmp (operation->key, name) == 0 && !stale_fits (&self->stale[i], operation))
                return nexus_error_set (error, NEXUS_CORRUPT,
                                        "a stale read of %s at index %llu shows version %llu (%s), "
                                        "and version %llu (%s) was put",
                                        name, U (self->stale[i].index), U (self->stale[i].version),
                                        self->stale[i].value, U (operation->version),
                                        operation->value);
        }
    }
    return 0;
}

int masters_judge (masters_t *self, nexus_error_t *error)
{
    linearizability_report_t report;
    linearizability_verdict_t verdict = linearizability_check_versions (self->history, &report);
    if (verdict == LINEARIZABILITY_OK)
        verdict = linearizability_check (self->history, 0, &report);
    self->undecided = verdict == LINEARIZABILITY_UNKNOWN;
    if (verdict == LINEARIZABILITY_BROKEN) {
        buffer_t text = {0};
        linearizability_explain (self->history, &report, &text);
        if (self->options.trace)
            fprintf (self->options.trace, "%.*s\n", (int)text.size, (const char *)text.data);
        nexus_error_set (error, NEXUS_CORRUPT, "not linearizable: %.*s",
                         (int)(text.size < 420 ? text.size : 420), (const char *)text.data);
        buffer_free (&text);
        return -1;
    }
    return check_stale (self, error);
}
