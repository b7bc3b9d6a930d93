/*  registry - the actor that keeps the workers: enrolment, liveness, trust */
#include "actors/registry/registry.h"

#include "actors/protocol/known_masters.h"
#include "transport/link.h"

#include <stdlib.h>
#include <string.h>

/*  Of the ledger, that it keeps up with. */
#define TABLES (1u << LEDGER_WORKERS | 1u << LEDGER_TOKENS | 1u << LEDGER_MASTERS)

enum {
    TICK_MS = 100,
    REVOKE_MS = 1000,     /* a master that is removed shall hear of it, and answer who asked it */
    REFUSED_MS = 10000,   /* until a refused proposal of our own record is made again */
    COMPLAIN_MS = 60000,  /* between two complaints about the same */
    RECONNECT_MS = 10000, /* a worker has dialled again by then, whatever its back-off */
    ENROLS_MAX = 256,
    MEMORY_MAX = 256 << 20
};

/*  What is known of a worker beyond the ledger. */
typedef struct {
    record_key_t key;
    worker_t ledger; /* as the ledger has it; memory in the registry's arena */
    bool enrolled;
    const message_t *beat; /* its last heartbeat, held; or NULL */
    int64_t heard_ns;
    int64_t broken_ns; /* its connection broke, and it was not heard since; 0: no */
    uint64_t request;  /* proposal in flight */
    bool fresh;        /* not compared with the ledger yet */
} member_t;

typedef struct {
    uint64_t request;
    const message_t *message; /* the joiner's, held until its answer */
    uint8_t certificate[512];
    size_t certificate_size;
} enrolment_t;

typedef struct {
    const registry_args_t *args;
    leadership_t leadership;
    int64_t leading_since_ns;
    arena_t arena;      /* of what was read from the ledger */
    member_t **members; /* by key */
    size_t member_count, member_room;
    enrolment_t enrolments[ENROLS_MAX];
    size_t enrolment_count;
    known_masters_t masters;
    uint64_t removal;        /* index of the configuration that lacks masters we know; 0: none */
    int64_t removal_ns;      /* when it counts */
    uint64_t master_request; /* our own record's proposal */
    int64_t master_again_ns; /* not before: it was refused */
    int64_t root_again_ns;   /* not before: another master's root is another one, and we said so */
    uint64_t master_index;   /* nor before the ledger here is that far: there it was accepted */
    bool master_known;       /* the ledger has it as it is, or will have */
    bool dirty;              /* the ledger changed */
    metric_t *alive_metric, *lost_metric;
} registry_t;

/*  Where its member is, or would be. */
static size_t position (const registry_t *self, const record_key_t *key)
{
    size_t low = 0, high = self->member_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp (&self->members[middle]->key, key, sizeof (*key)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static member_t *member_of (registry_t *self, const record_key_t *key, bool create)
{
    size_t i = position (self, key);
    if (i < self->member_count && !memcmp (&self->members[i]->key, key, sizeof (*key)))
        return self->members[i];
    if (!create)
        return NULL;
    if (self->member_count == self->member_room) {
        self->member_room = self->member_room ? self->member_room * 2 : 16;
        self->members = realloc (self->members, self->member_room * sizeof (*self->members));
    }
    member_t *member = calloc (1, sizeof (*member));
    if (!self->members || !member)
        abort ();
    memmove (self->members + i + 1, self->members + i,
             (self->member_count - i) * sizeof (*self->members));
    self->member_count++;
    member->key = *key;
    return self->members[i] = member;
}

static void member_destroy (member_t *member)
{
    if (member->beat)
        message_release ((message_t **)&member->beat);
    free (member);
}

/*  Of those that are enrolled no more nothing is kept. */
static void forget_members (registry_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->member_count; i++)
        if (self->members[i]->enrolled)
            self->members[kept++] = self->members[i];
        else
            member_destroy (self->members[i]);
    self->member_count = kept;
}

/*  ---- the ledger's nodes become the keyring ---------------------------------------- */

static void entry (keyring_entry_t *out, const record_key_t *key, role_t role, const char *name,
                   int64_t not_after_ms)
{
    *out = (keyring_entry_t){.key = *key, .role = role, .not_after_ms = not_after_ms};
    strncpy (out->name, name ? name : "", sizeof (out->name) - 1);
}

static int admit (registry_t *self, const worker_t *workers, size_t worker_count,
                  const token_t *tokens, size_t token_count, nexus_error_t *error)
{
    size_t count = self->masters.count + worker_count + token_count, n = 0;
    keyring_entry_t *entries = calloc (count + 1, sizeof (*entries));
    if (!entries)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for %zu keys", count);
    for (size_t i = 0; i < self->masters.count; i++)
        entry (&entries[n++], &self->masters.items[i].key, ROLE_MASTER, self->masters.items[i].name,
               0);
    for (size_t i = 0; i < worker_count; i++)
        entry (&entries[n++], &workers[i].key, ROLE_WORKER, workers[i].name, 0);
    for (size_t i = 0; i < token_count; i++)
        entry (&entries[n++], &tokens[i].key, ROLE_JOINER, "join token", tokens[i].not_after_ms);
    int rc = keyring_replace (self->args->keyring, self->args->domain, entries, n, error);
    free (entries);
    return rc;
}

/*  ---- masters ------------------------------------------------------------------------ */

static void tell_masters (const registry_t *self, context_t *ctx, const address_t *to)
{
    master_list_t masters = {
        .index = self->masters.index,
        .masters = {(master_t *)(uintptr_t)self->masters.items, self->masters.count},
        .root = self->args->root->public_key};
    context_send (ctx, to, &master_list_record, &masters);
}

/*  Everybody who is connected (or may soon be) hears of the new list. */
static void spread_masters (const registry_t *self, context_t *ctx)
{
    for (size_t i = 0; i < self->masters.count; i++) {
        address_t to = address_remote (&self->masters.items[i].key, "registry", 0);
        if (memcmp (&to.node, context_node (ctx), sizeof (to.node)))
            tell_masters (self, ctx, &to);
    }
    for (size_t i = 0; i < self->member_count; i++) {
        address_t to = address_remote (&self->members[i]->key, "agent", 0);
        if (self->members[i]->enrolled && self->members[i]->beat)
            tell_masters (self, ctx, &to);
    }
}

/*  Masters that sign with different keys let nodes in that the others' nodes don't believe. */
static void compare_roots (registry_t *self, context_t *ctx, const record_key_t *from,
                           const record_key_t *root)
{
    if (record_key_is_zero (root) ||
        memcmp (root, &self->args->root->public_key, sizeof (*root)) == 0 ||
        context_now (ctx) < self->root_again_ns)
        return;
    log_error (context_log (ctx),
               "a master has another root key (`root:` in its configuration) than this one: nodes "
               "that join through it won't be believed by the others. Stop the one that is wrong, "
               "give it the cluster's root key, start it",
               LOG_NODE ("master", from), LOG_NODE ("its_root", root),
               LOG_NODE ("our_root", &self->args->root->public_key));
    self->root_again_ns = context_now (ctx) + MS_TO_NS (COMPLAIN_MS);
}

/*  What another master says: we may have been away, or not be admitted yet. */
static void take_masters (registry_t *self, context_t *ctx, const master_list_t *masters)
{
    if (masters->index > self->masters.index &&
        known_masters_take (&self->masters, ctx, masters->index, masters->masters.items,
                            masters->masters.count))
        self->dirty = true; /* the keyring has to follow */
}

/*  ---- the ledger --------------------------------------------------------------------- */

typedef struct {
    worker_t *workers;
    token_t *tokens;
    master_t *masters;
    size_t worker_count, token_count, master_count;
    cluster_conf_t conf;
    uint64_t applied;
} nodes_t;

static int read_nodes (registry_t *self, nodes_t *nodes, nexus_error_t *error)
{
    tables_txn_t *txn = tables_begin (self->args->tables, false, error);
    if (!txn)
        return -1;
    arena_reset (&self->arena);
    int rc =
        ledger_list_workers (txn, &self->arena, &nodes->workers, &nodes->worker_count, error) ||
        ledger_list (txn, LEDGER_TOKENS, NULL, NULL, 0, &self->arena, (void **)&nodes->tokens,
                     &nodes->token_count, error) ||
        ledger_list (txn, LEDGER_MASTERS, NULL, NULL, 0, &self->arena, (void **)&nodes->masters,
                     &nodes->master_count, error) ||
        ledger_get_conf (txn, &self->arena, &nodes->conf, error);
    nodes->applied = ledger_number (txn, LEDGER_APPLIED);
    tables_abort (&txn);
    return rc ? -1 : 0;
}

/*  Is there anything that the ledger doesn't know of this master? Its name, role and log are not
   for itself to say, and who isn't a member (yet) has nothing to say. */
static bool knows_us (const registry_t *self, const nodes_t *nodes)
{
    const master_t *wanted = &self->args->self;
    for (size_t i = 0; i < nodes->master_count; i++) {
        master_t master = nodes->masters[i];
        if (memcmp (&master.key, &wanted->key, sizeof (master.key)))
            continue;
        master.name = wanted->name;
        master.role = wanted->role;
        master.incarnation = wanted->incarnation;
        return record_equal (&master_record, &master, wanted);
    }
    return nodes->conf.members.count > 0;
}

static bool lacks_known (const registry_t *self, const nodes_t *nodes)
{
    size_t found = 0;
    for (size_t i = 0; i < nodes->master_count; i++)
        found += known_masters_find (&self->masters, &nodes->masters[i].key) != NULL;
    return found < self->masters.count;
}

/*  A list without a master that we know counts a moment later: so that one gets the answers that
   are on their way to it, and hears that it is removed. */
static bool may_take (registry_t *self, context_t *ctx, const nodes_t *nodes)
{
    if (self->masters.index == 0 || nodes->conf.index <= self->masters.index ||
        !lacks_known (self, nodes))
        return true;
    if (self->removal <= self->masters.index) { /* not this one: another master told us of that */
        self->removal = nodes->conf.index;
        self->removal_ns = context_now (ctx) + MS_TO_NS (REVOKE_MS);
    }
    if (context_now (ctx) < self->removal_ns)
        return false;
    self->removal = 0;
    return true;
}

/*  Reads what the ledger says of nodes. */
static int refresh (registry_t *self, context_t *ctx, nexus_error_t *error)
{
    nodes_t nodes;
    if (read_nodes (self, &nodes, error))
        return -1;
    self->master_known = knows_us (self, &nodes) || nodes.applied < self->master_index;
    bool news = nodes.conf.members.count && may_take (self, ctx, &nodes) &&
                known_masters_take (&self->masters, ctx, nodes.conf.index, nodes.masters,
                                    nodes.master_count);
    const worker_t *workers = nodes.workers;
    size_t worker_count = nodes.worker_count;
    for (size_t i = 0; i < self->member_count; i++)
        self->members[i]->enrolled = false;
    double lost = 0;
    for (size_t i = 0; i < worker_count; i++) {
        member_t *member = member_of (self, &workers[i].key, true);
        member->enrolled = true;
        member->fresh = true;
        member->ledger = workers[i];
        lost += workers[i].state == WORKER_LOST;
    }
    forget_members (self);
    metric_set (self->lost_metric, lost);
    metric_set (self->alive_metric, (double)worker_count - lost);
    self->dirty = false;
    if (admit (self, workers, worker_count, nodes.tokens, nodes.token_count, error))
        return -1;
    if (news)
        spread_masters (self, ctx);
    return 0;
}

/*  ---- enrolment ------------------------------------------------------------------------ */

static void take_enrol (registry_t *self, context_t *ctx, const message_t *message)
{
    const enrol_t *enrol = message->body;
    if (self->enrolment_count == ENROLS_MAX) {
        context_reply_failure (ctx, message, NEXUS_EXHAUSTED,
                               "too many nodes are joining at once: try again");
        return;
    }
    /* Nobody proves that the key is its own: it must not take a master's role away. */
    if (record_key_is_zero (&enrol->key) || known_masters_find (&self->masters, &enrol->key) ||
        !memcmp (&enrol->key, &message->from.node, sizeof (enrol->key))) {
        context_reply_failure (ctx, message, NEXUS_INVALID,
                               "enrol: expected a key of the node's own");
        return;
    }
    enrolment_t *enrolment = &self->enrolments[self->enrolment_count++];
    membership_t membership = {
        .node = enrol->key, .role = ROLE_WORKER, .name = enrol->name, .site = enrol->site};
    uint8_t signature[64];
    membership_sign (&membership, self->args->root, signature);
    buffer_t bytes = {.limit = sizeof (enrolment->certificate)};
    record_encode (&membership_record, &membership, &bytes);
    enrolment->certificate_size = bytes.size;
    memcpy (enrolment->certificate, bytes.data, bytes.size);
    add_worker_t command = {
        .worker = {.key = enrol->key,
                   .name = enrol->name,
                   .site = enrol->site,
                   .state = WORKER_LOST,
                   .reason = "joined, not heard of yet",
                   .certificate = {bytes.data, bytes.size},
                   .enrolled_ms = context_wall_ms (ctx)},
        .token = message->from.node, /* the key that it connected with is the token's */
    };
    enrolment->message = message_retain ((message_t *)message);
    enrolment->request = command_propose (ctx, &add_worker_record, &command);
    buffer_free (&bytes);
    log_info (context_log (ctx), "node asks to join", LOG_TEXT ("name", enrol->name),
              LOG_NODE ("key", &enrol->key));
}

static bool answer_enrol (registry_t *self, context_t *ctx, const message_t *reply)
{
    for (size_t i = 0; i < self->enrolment_count; i++) {
        enrolment_t *enrolment = &self->enrolments[i];
        if (enrolment->request != reply->correlation)
            continue;
        const failure_t *failure = message_body (reply, failure);
        enrolled_t enrolled = {
            .certificate = {enrolment->certificate, enrolment->certificate_size}};
        if (failure)
            context_reply_failure (ctx, enrolment->message, (nexus_code_t)failure->code, "%s",
                                   failure->text ? failure->text : "");
        else
            context_reply (ctx, enrolment->message, &enrolled_record, &enrolled);
        message_release ((message_t **)&enrolment->message);
        *enrolment = self->enrolments[--self->enrolment_count];
        return true;
    }
    return false;
}

/*  ---- liveness --------------------------------------------------------------------------- */

static void set_worker (context_t *ctx, member_t *member, const worker_t *worker)
{
    set_worker_t command = {.worker = *worker, .time_ms = context_wall_ms (ctx), .heard = true};
    member->request = command_propose (ctx, &set_worker_record, &command);
}

/*  Puts into the ledger what a heartbeat says and the ledger does not know. */
static void note_heartbeat (context_t *ctx, member_t *member)
{
    const heartbeat_t *beat = member->beat->body;
    worker_t worker = member->ledger;
    worker.resources = beat->resources;
    worker.lane = beat->lane;
    worker.labels = beat->labels;
    worker.session = beat->session;
    if (worker.state == WORKER_LOST) {
        worker.state = WORKER_ACTIVE;
        worker.reason = "";
    }
    if (!record_equal (&worker_record, &worker, &member->ledger)) {
        if (member->ledger.state == WORKER_LOST)
            log_info (context_log (ctx), "worker is there", LOG_TEXT ("worker", worker.name));
        set_worker (ctx, member, &worker);
    }
}

static void check_silence (registry_t *self, context_t *ctx, member_t *member)
{
    int64_t now = context_now (ctx), heard = member->heard_ns;
    if (member->ledger.state == WORKER_LOST)
        return;
    /*  A new leader gives everybody the full time before it judges. */
    if (heard < self->leading_since_ns)
        heard = self->leading_since_ns;
    int64_t limit = MS_TO_NS (self->args->lost_after_ms);
    /*  All this time the fault may have been ours: this master was started anew, or cut off. */
    if (self->leading_since_ns - member->heard_ns > limit && limit < MS_TO_NS (RECONNECT_MS))
        limit = MS_TO_NS (RECONNECT_MS);
    bool broken =
        member->broken_ns && now - member->broken_ns > limit / 3 && now - heard > limit / 3;
    if (!broken && now - heard <= limit)
        return;
    worker_t worker = member->ledger;
    worker.state = WORKER_LOST;
    worker.reason = broken ? "its connection broke" : "it went silent";
    log_warning (context_log (ctx), "worker is lost", LOG_TEXT ("worker", worker.name),
                 LOG_TEXT ("reason", worker.reason), LOG_INT ("silent_ms", NS_TO_MS (now - heard)));
    set_worker (ctx, member, &worker);
}

static void take_heartbeat (registry_t *self, context_t *ctx, const message_t *message)
{
    member_t *member = member_of (self, &message->from.node, true);
    if (member->beat)
        message_release ((message_t **)&member->beat);
    member->beat = message_retain ((message_t *)message);
    member->heard_ns = context_now (ctx);
    member->broken_ns = 0;
    member->fresh = true;
}

static void take_peer_event (registry_t *self, context_t *ctx, const peer_event_t *event)
{
    bool master = event->role == ROLE_MASTER;
    address_t to = address_remote (&event->node, master ? "registry" : "agent", 0);
    if (event->up && self->masters.index && (master || event->role == ROLE_WORKER))
        tell_masters (self, ctx, &to);
    member_t *member = event->role == ROLE_WORKER ? member_of (self, &event->node, false) : NULL;
    if (member)
        member->broken_ns = event->up ? 0 : context_now (ctx);
}

/*  ---- the actor ---------------------------------------------------------------------------- */

static void take_reply (registry_t *self, context_t *ctx, const message_t *message)
{
    if (message->correlation == self->master_request) {
        const failure_t *failure = message_body (message, failure);
        const proposed_t *proposed = message_body (message, proposed);
        if (self->master_request && proposed) {
            self->master_index = proposed->index;
            self->dirty = true;
        }
        if (self->master_request && failure && failure->code != NEXUS_UNAVAILABLE &&
            failure->code != NEXUS_DEADLINE) {
            log_error (context_log (ctx), "the cluster refuses what this master says of itself",
                       LOG_TEXT ("reason", failure->text));
            self->master_again_ns = context_now (ctx) + MS_TO_NS (REFUSED_MS);
        }
        self->master_request = 0;
    } else if (!answer_enrol (self, ctx, message))
        for (size_t i = 0; i < self->member_count; i++)
            if (self->members[i]->request == message->correlation)
                self->members[i]->request = 0; /* what failed is tried again at a tick */
}

static void receive (void *state, context_t *ctx, const message_t *message)
{
    registry_t *self = state;
    if (message->flags & MESSAGE_REPLY)
        take_reply (self, ctx, message);
    else if (message->role == ROLE_WORKER && message_body (message, heartbeat))
        take_heartbeat (self, ctx, message);
    else if (message->role == ROLE_JOINER && message_body (message, enrol))
        take_enrol (self, ctx, message);
    else if (message->role == ROLE_MASTER && message_body (message, master_list)) {
        const master_list_t *masters = message->body;
        compare_roots (self, ctx, &message->from.node, &masters->root);
        take_masters (self, ctx, masters);
    } else if (message->role != ROLE_LOCAL)
        return;
    else if (message_body (message, peer_event))
        take_peer_event (self, ctx, message->body);
    else if (message_body (message, ledger_changed)) {
        const ledger_changed_t *changed = message->body;
        self->dirty |= (changed->tables & TABLES) != 0;
    } else if (message_body (message, leadership)) {
        const leadership_t *leadership = message->body;
        if (leadership->leading && !self->leadership.leading)
            self->leading_since_ns = context_now (ctx);
        if (!leadership->leading)
            for (size_t i = 0; i < self->member_count; i++)
                self->members[i]->request = 0; /* the next leader sees to it */
        self->leadership = *leadership;
    }
}

static void settle (void *state, context_t *ctx)
{
    registry_t *self = state;
    nexus_error_t error;
    if (self->dirty && refresh (self, ctx, &error)) {
        context_fail (ctx, &error);
        return;
    }
    if (!self->leadership.leading)
        return;
    for (size_t i = 0; i < self->member_count; i++) {
        member_t *member = self->members[i];
        if (!member->fresh || !member->enrolled || !member->beat || member->request)
            continue;
        member->fresh = false;
        if (context_now (ctx) - member->heard_ns < MS_TO_NS (self->args->lost_after_ms) &&
            !member->broken_ns)
            note_heartbeat (ctx, member);
    }
}

static void timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    registry_t *self = state;
    (void)id;
    (void)data;
    self->dirty |= self->removal && context_now (ctx) >= self->removal_ns;
    if (!self->master_known && !self->master_request &&
        context_now (ctx) >= self->master_again_ns &&
        !record_key_is_zero (&self->leadership.leader))
        self->master_request =
            command_propose (ctx, &set_master_record, &(set_master_t){.master = self->args->self});
    for (size_t i = 0; i < self->member_count && self->leadership.leading; i++) {
        self->members[i]->fresh = true;
        if (self->members[i]->enrolled && !self->members[i]->request)
            check_silence (self, ctx, self->members[i]);
    }
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
}

static int start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    registry_t *self = state;
    self->args = args;
    arena_init (&self->arena, MEMORY_MAX, NULL, 0);
    self->alive_metric = metrics_gauge (context_metrics (ctx), "nexus_workers_alive",
                                        "Workers that are not lost.", NULL);
    self->lost_metric =
        metrics_gauge (context_metrics (ctx), "nexus_workers_lost", "Workers that are lost.", NULL);
    known_masters_init (&self->masters, 0, self->args->masters, self->args->master_count);
    if (refresh (self, ctx, error)) {
        arena_reset (&self->arena);
        known_masters_clear (&self->masters);
        return -1;
    }
    address_t election = address_local ("election", 0), ledger = address_local ("ledger", 0);
    address_t link = address_local ("link", 0);
    context_send (ctx, &election, &leadership_subscribe_record, &(leadership_subscribe_t){true});
    context_send (ctx, &ledger, &ledger_subscribe_record,
                  &(ledger_subscribe_t){.on = true, .tables = TABLES});
    context_send (ctx, &link, &link_subscribe_record, &(link_subscribe_t){0});
    context_after (ctx, MS_TO_NS (TICK_MS), 0);
    return 0;
}

static void stop (void *state, context_t *ctx)
{
    registry_t *self = state;
    (void)ctx;
    for (size_t i = 0; i < self->member_count; i++)
        member_destroy (self->members[i]);
    free (self->members);
    for (size_t i = 0; i < self->enrolment_count; i++)
        message_release ((message_t **)&self->enrolments[i].message);
    arena_reset (&self->arena);
    known_masters_clear (&self->masters);
}

const behaviour_t registry_behaviour = {
    .name = "registry",
    .state_size = sizeof (registry_t),
    .start = start,
    .receive = receive,
    .timer = timer,
    .settle = settle,
    .stop = stop,
};
