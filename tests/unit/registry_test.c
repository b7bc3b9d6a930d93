/*  The registry: who is let in, who is there, who is lost; on a ledger that the test applies its
    proposals to. */
#include "actors/registry/registry.h"
#include "ledger_world.h"

#include "runtime/harness.h"
#include "transport/link.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define DOMAIN "control"

enum { LOST_AFTER_MS = 3000 };

static ledger_world_t world;
static registry_args_t args;
static master_t masters[2];
static cluster_root_t root;
static keyring_t *keyring;
static harness_t *harness;

static void begin (void)
{
    harness = harness_new (&registry_behaviour, &args, &masters[0].key, NULL);
    assert_non_null (harness);
    assert_non_null (harness_expect (harness, leadership_subscribe));
    assert_non_null (harness_expect (harness, ledger_subscribe));
    assert_non_null (harness_expect (harness, link_subscribe));
}

static int setup (void **state)
{
    (void)state;
    ledger_world_init (&world);
    cluster_root_generate (&root);
    keyring = keyring_new ();
    masters[0] = (master_t){.key = key_of (201), .name = "m1"};
    masters[1] = (master_t){.key = key_of (202), .name = "m2"};
    args = (registry_args_t){.tables = world.tables,
                             .keyring = keyring,
                             .domain = DOMAIN,
                             .root = &root,
                             .self = {.key = masters[0].key,
                                      .name = "m1",
                                      .endpoint = "tcp://m1:1",
                                      .api = "https://m1:2"},
                             .masters = masters,
                             .master_count = 2,
                             .lost_after_ms = LOST_AFTER_MS};
    begin ();
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    harness_destroy (&harness);
    ledger_world_expect_sound (&world);
    ledger_world_clear (&world);
    keyring_release (&keyring);
    cluster_root_wipe (&root);
    return 0;
}

/*  ---- short hands ------------------------------------------------------------------- */

static void changed (void)
{
    harness_deliver (harness, NULL, &ledger_changed_record,
                     &(ledger_changed_t){1, world.changed ? world.changed : UINT64_MAX});
}

static void lead (bool leading)
{
    leadership_t leadership = {
        .term = 3, .leader = leading ? masters[0].key : masters[1].key, .leading = leading};
    harness_deliver (harness, NULL, &leadership_record, &leadership);
}

/*  This master is in the ledger already, so that it has nothing to propose for itself. */
static void know_master (void)
{
    assert_int_equal (COMMAND (&world, set_master, .master = args.self), NEXUS_OK);
    changed ();
}

static void add_worker (unsigned n)
{
    char name[16];
    snprintf (name, sizeof (name), "w%u", n);
    worker_t worker = {.key = key_of (n), .name = name, .state = WORKER_LOST, .reason = "joined"};
    assert_int_equal (COMMAND (&world, add_token,
                               .token = {.key = key_of (100 + n), .uses = 1, .not_after_ms = 9}),
                      NEXUS_OK);
    assert_int_equal (COMMAND (&world, add_worker, .worker = worker, .token = key_of (100 + n)),
                      NEXUS_OK);
    changed ();
}

static void beat (unsigned n, uint64_t session, double cpu)
{
    record_key_t key = key_of (n);
    address_t from = address_remote (&key, "agent", 0);
    heartbeat_t body = {.name = "whatever",
                        .site = "anywhere",
                        .session = session,
                        .resources = {.cpu = cpu},
                        .lane = "tcp://1.2.3.4:5"};
    harness_set_role (harness, ROLE_WORKER);
    harness_deliver (harness, &from, &heartbeat_record, &body);
    harness_set_role (harness, ROLE_MASTER);
}

static const message_t *expect_proposal (const record_t *kind)
{
    const propose_t *propose = harness_find (harness, propose);
    assert_non_null (propose);
    assert_int_equal (propose->command.data[0] << 8 | propose->command.data[1], kind->id);
    return message_retain ((message_t *)harness_message (harness));
}

static nexus_code_t commit (const message_t *request)
{
    const propose_t *propose = request->body;
    nexus_code_t code =
        ledger_world_apply_bytes (&world, propose->command.data, propose->command.size);
    if (!code)
        changed ();
    if (code)
        harness_reply_failure (harness, request, code, world.error.text);
    else
        harness_reply (harness, request, &proposed_record, &(proposed_t){1, world.value});
    message_release ((message_t **)&request);
    return code;
}

static void refuse (const message_t *request)
{
    harness_reply_failure (harness, request, NEXUS_UNAVAILABLE, "no leader");
    message_release ((message_t **)&request);
}

static void commit_worker (void)
{
    assert_int_equal (commit (expect_proposal (&set_worker_record)), NEXUS_OK);
}

static role_t role_of (const record_key_t *key)
{
    keyring_entry_t entry;
    return keyring_find (keyring, DOMAIN, key, 5, &entry) ? entry.role : ROLE_NONE;
}

static worker_state_t state_of (unsigned n)
{
    return (worker_state_t)ledger_world_worker (&world, n).state;
}

/*  ---- the keyring ------------------------------------------------------------------------- */

static void test_keyring (void **state)
{
    (void)state;
    record_key_t worker = key_of (1), token = key_of (101), stranger = key_of (50);
    for (int i = 0; i < 2; i++)
        assert_int_equal (role_of (&masters[i].key), ROLE_MASTER);
    assert_int_equal (role_of (&worker), ROLE_NONE);
    add_worker (1);
    assert_int_equal (role_of (&worker), ROLE_WORKER);
    assert_int_equal (role_of (&token), ROLE_JOINER); /* until it expires, at 9 */
    assert_int_equal (role_of (&stranger), ROLE_NONE);
    keyring_entry_t entry;
    assert_false (keyring_find (keyring, DOMAIN, &token, 10, &entry));
    assert_int_equal (COMMAND (&world, remove_worker, .key = worker), NEXUS_OK);
    changed ();
    assert_int_equal (role_of (&worker), ROLE_NONE);
    /*  Another master starts on a ledger that has all this. */
    add_worker (2);
    harness_destroy (&harness);
    begin ();
    worker = key_of (2);
    assert_int_equal (role_of (&worker), ROLE_WORKER);
}

/*  What does not concern nodes is no reason to build it anew. */
static void test_other_changes (void **state)
{
    (void)state;
    uint64_t generation = keyring_generation (keyring);
    harness_deliver (harness, NULL, &ledger_changed_record,
                     &(ledger_changed_t){1, 1 << LEDGER_JOBS | 1 << LEDGER_META});
    assert_int_equal (keyring_generation (keyring), generation);
    harness_deliver (harness, NULL, &ledger_changed_record,
                     &(ledger_changed_t){1, 1 << LEDGER_TOKENS});
    assert_int_not_equal (keyring_generation (keyring), generation);
}

/*  ---- this master's own record ----------------------------------------------------------- */

static void test_master_record (void **state)
{
    (void)state;
    harness_advance (harness, 1000);
    assert_true (harness_quiet (harness)); /* nobody leads */
    lead (false);
    harness_advance (harness, 100);
    refuse (expect_proposal (&set_master_record));
    harness_advance (harness, 100);
    commit (expect_proposal (&set_master_record));
    harness_advance (harness, 5000);
    assert_true (harness_quiet (harness));
    master_t master;
    assert_true (
        ledger_world_get (&world, LEDGER_MASTERS, ledger_key_node (&masters[0].key), &master));
    assert_string_equal (master.api, "https://m1:2");
    /*  Its address has changed. */
    harness_destroy (&harness);
    args.self.api = "https://m1:3";
    begin ();
    lead (true);
    harness_advance (harness, 100);
    commit (expect_proposal (&set_master_record));
}

/*  A master whose own ledger is far behind (one that fetches its first copy) says it once. */
static void test_master_record_of_one_behind (void **state)
{
    (void)state;
    lead (false);
    harness_advance (harness, 100);
    const message_t *request = expect_proposal (&set_master_record);
    harness_reply (harness, request, &proposed_record, &(proposed_t){.index = 1000});
    message_release ((message_t **)&request);
    harness_advance (harness, 5000);
    assert_true (harness_quiet (harness));
    /*  It has caught up, and something else is there. */
    world.index = 1000;
    ledger_world_mark (&world);
    changed ();
    harness_advance (harness, 100);
    commit (expect_proposal (&set_master_record));
}

/*  ---- enrolment ------------------------------------------------------------------------------ */

static uint64_t enrol (unsigned token, const record_key_t *key, const char *name)
{
    record_key_t bearer = key_of (token);
    address_t from = address_remote (&bearer, "join", 0);
    harness_set_role (harness, ROLE_JOINER);
    uint64_t asked = harness_ask (harness, &from, &enrol_record, &(enrol_t){*key, name, "home"});
    harness_set_role (harness, ROLE_MASTER);
    return asked;
}

static void test_enrolment (void **state)
{
    (void)state;
    record_key_t key = key_of (1);
    know_master ();
    assert_int_equal (
        COMMAND (&world, add_token,
                 .token = {.key = key_of (101), .uses = 1, .not_after_ms = INT64_MAX}),
        NEXUS_OK);
    changed ();
    uint64_t asked = enrol (101, &key, "w1"); /* any master may let it in */
    assert_int_equal (harness_count (harness, &enrolled_record), 0);
    assert_int_equal (commit (expect_proposal (&add_worker_record)), NEXUS_OK);
    const enrolled_t *enrolled = harness_expect_reply (harness, asked, enrolled);
    assert_non_null (enrolled);
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    membership_t membership;
    nexus_error_t error;
    assert_int_equal (record_decode (&membership_record, enrolled->certificate.data,
                                     enrolled->certificate.size, &arena, &membership, &error),
                      0);
    assert_int_equal (membership_verify (&membership, &root.public_key, 5, &error), 0);
    assert_memory_equal (&membership.node, &key, 32);
    assert_int_equal (membership.role, ROLE_WORKER);
    assert_string_equal (membership.name, "w1");
    worker_t worker = ledger_world_worker (&world, 1);
    assert_int_equal (worker.certificate.size, enrolled->certificate.size);
    arena_reset (&arena);
    assert_int_equal (role_of (&key), ROLE_WORKER);

    key = key_of (2);
    asked = enrol (101, &key, "w2");
    assert_int_equal (commit (expect_proposal (&add_worker_record)), NEXUS_DENIED);
    const failure_t *failure = harness_expect_reply (harness, asked, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, NEXUS_DENIED);
    assert_non_null (strstr (failure->text, "used up"));
    assert_int_equal (role_of (&key), ROLE_NONE);
}

static void test_enrolment_refusals (void **state)
{
    (void)state;
    record_key_t none = {{0}}, own = key_of (101);
    const record_key_t *keys[] = {&none, &masters[0].key, &masters[1].key, &own};
    for (size_t i = 0; i < 4; i++) {
        uint64_t asked = enrol (101, keys[i], "w1");
        const failure_t *failure = harness_expect_reply (harness, asked, failure);
        assert_non_null (failure);
        assert_int_equal (failure->code, NEXUS_INVALID);
    }
    assert_true (harness_quiet (harness));
    /*  Only joiners join. */
    record_key_t key = key_of (1);
    for (int role = ROLE_NONE; role < ROLE_JOINER; role++) {
        harness_set_role (harness, (role_t)role);
        address_t from = address_remote (&own, "join", 0);
        harness_ask (harness, &from, &enrol_record, &(enrol_t){key, "w1", ""});
    }
    assert_true (harness_quiet (harness));
    assert_int_equal (role_of (&masters[1].key), ROLE_MASTER);
}

/*  A crowd that joins at once is let in as far as there is room; the others may ask again. */
static void test_enrolment_crowd (void **state)
{
    (void)state;
    enum { CROWD = 300 };
    uint64_t asked[CROWD];
    char name[16];
    size_t refused = 0;
    for (unsigned i = 0; i < CROWD; i++) {
        record_key_t key = key_of (1000 + i);
        snprintf (name, sizeof (name), "w%u", i);
        asked[i] = enrol (101, &key, name);
    }
    assert_int_equal (harness_count (harness, &propose_record), 256);
    assert_int_equal (harness_count (harness, &failure_record), CROWD - 256);
    for (unsigned i = 256; i < CROWD; i++) {
        const failure_t *failure = harness_expect_reply (harness, asked[i], failure);
        assert_non_null (failure);
        refused += failure->code == NEXUS_EXHAUSTED;
    }
    assert_int_equal (refused, CROWD - 256);
    harness_advance (harness, 6000); /* nobody decides: the proposals fail */
    for (unsigned i = 0; i < 256; i++)
        assert_non_null (harness_expect_reply (harness, asked[i], failure));
    harness_clear (harness);
    record_key_t key = key_of (7);
    enrol (101, &key, "late");
    assert_int_equal (harness_count (harness, &propose_record), 1);
}

/*  ---- liveness
 * ------------------------------------------------------------------------------------ */

static void test_life (void **state)
{
    (void)state;
    know_master ();
    add_worker (1);
    beat (1, 7, 4);
    assert_true (harness_quiet (harness)); /* it does not lead */
    lead (true);
    commit_worker ();
    worker_t worker = ledger_world_worker (&world, 1);
    assert_int_equal (worker.state, WORKER_ACTIVE);
    assert_string_equal (worker.name, "w1"); /* not what the heartbeat says */
    assert_int_equal (worker.session, 7);
    assert_true (worker.resources.cpu > 3.9);
    for (int i = 0; i < 50; i++) {
        beat (1, 7, 4);
        harness_advance (harness, 1000);
    }
    assert_true (harness_quiet (harness)); /* nothing new, no command */
    beat (1, 7, 6);
    commit_worker ();
    assert_true (ledger_world_worker (&world, 1).resources.cpu > 5.9);

    harness_advance (harness, LOST_AFTER_MS - 100);
    assert_true (harness_quiet (harness));
    harness_advance (harness, 300);
    commit_worker ();
    worker = ledger_world_worker (&world, 1);
    assert_int_equal (worker.state, WORKER_LOST);
    assert_string_equal (worker.reason, "it went silent");
    harness_advance (harness, 60000);
    assert_true (harness_quiet (harness));
    beat (1, 7, 6);
    commit_worker ();
    assert_int_equal (state_of (1), WORKER_ACTIVE);
    beat (1, 8, 6); /* restarted */
    commit_worker ();
    assert_int_equal (ledger_world_worker (&world, 1).session, 8);
}

/*  A broken connection shortens the wait, if no heartbeat comes over another one. */
static void test_broken_connection (void **state)
{
    (void)state;
    know_master ();
    add_worker (1);
    lead (true);
    beat (1, 7, 4);
    commit_worker ();
    peer_event_t event = {.node = key_of (1), .role = ROLE_WORKER, .up = false};
    harness_deliver (harness, NULL, &peer_event_record, &event);
    harness_advance (harness, 500);
    beat (1, 7, 4);
    harness_advance (harness, 1500);
    assert_true (harness_quiet (harness));
    harness_deliver (harness, NULL, &peer_event_record, &event);
    harness_advance (harness, 900);
    event.up = true;
    harness_deliver (harness, NULL, &peer_event_record, &event);
    beat (1, 7, 4);
    harness_advance (harness, 1500);
    assert_true (harness_quiet (harness));
    event.up = false;
    harness_deliver (harness, NULL, &peer_event_record, &event);
    harness_advance (harness, 1200);
    commit_worker ();
    assert_string_equal (ledger_world_worker (&world, 1).reason, "its connection broke");
}

/*  A new leader gives everybody time before it judges. */
static void test_new_leader_is_patient (void **state)
{
    (void)state;
    know_master ();
    add_worker (1);
    add_worker (2);
    lead (true);
    beat (1, 7, 4);
    commit_worker ();
    beat (2, 7, 4);
    commit_worker ();
    lead (false);
    for (int i = 0; i < 20; i++) {
        beat (2, 7, 4);
        harness_advance (harness, 1000);
    }
    assert_true (harness_quiet (harness));
    lead (true);
    beat (2, 7, 4);
    harness_advance (harness, LOST_AFTER_MS - 500);
    assert_true (harness_quiet (harness));
    /*  Worker 1 was not heard for long, but that may have been our own fault: it gets 10 s. */
    for (int i = 0; i < 6; i++) {
        beat (2, 7, 4);
        harness_advance (harness, 1000);
    }
    assert_true (harness_quiet (harness));
    beat (2, 7, 4);
    harness_advance (harness, 2000);
    commit_worker ();
    assert_int_equal (state_of (1), WORKER_LOST);
    assert_int_equal (state_of (2), WORKER_ACTIVE);
    assert_int_equal (harness_count (harness, &propose_record), 0);
}

static void test_drain_stands (void **state)
{
    (void)state;
    know_master ();
    add_worker (1);
    lead (true);
    beat (1, 7, 4);
    commit_worker ();
    /*  The operator drains it while the registry is about to write what a heartbeat says. */
    beat (1, 7, 5);
    const message_t *late = expect_proposal (&set_worker_record);
    worker_t worker = {.key = key_of (1), .name = "x", .state = WORKER_DRAINING, .reason = "disks"};
    assert_int_equal (COMMAND (&world, set_worker, .worker = worker), NEXUS_OK);
    changed ();
    commit (late);
    assert_int_equal (state_of (1), WORKER_DRAINING);
    assert_string_equal (ledger_world_worker (&world, 1).reason, "disks");
    assert_true (ledger_world_worker (&world, 1).resources.cpu > 4.9);
    beat (1, 7, 5);
    assert_true (harness_quiet (harness));
    harness_advance (harness, LOST_AFTER_MS + 200);
    commit_worker ();
    assert_int_equal (state_of (1), WORKER_LOST);
    beat (1, 7, 5);
    commit_worker ();
    assert_int_equal (state_of (1), WORKER_DRAINING);
}

/*  Refusals are answered with patience. */
static void test_retries (void **state)
{
    (void)state;
    know_master ();
    add_worker (1);
    lead (true);
    beat (1, 7, 4);
    size_t tries = 0;
    for (int i = 0; i < 100; i++) {
        if (harness_count (harness, &propose_record)) {
            refuse (expect_proposal (&set_worker_record));
            tries++;
        }
        harness_advance (harness, 10);
    }
    assert_in_range (tries, 5, 12);
    harness_advance (harness, 100);
    commit_worker ();
    assert_int_equal (state_of (1), WORKER_ACTIVE);
}

static void test_strangers (void **state)
{
    (void)state;
    know_master ();
    lead (true);
    beat (5, 1, 4); /* let in once, not in the ledger any more */
    harness_advance (harness, 200);
    assert_true (harness_quiet (harness));
    add_worker (1);
    record_key_t key = key_of (1);
    address_t from = address_remote (&key, "agent", 0);
    for (int role = ROLE_NONE; role <= ROLE_JOINER; role++) {
        harness_set_role (harness, (role_t)role);
        if (role != ROLE_WORKER)
            harness_deliver (harness, &from, &heartbeat_record, &(heartbeat_t){.session = 4});
        if (role != ROLE_LOCAL) {
            harness_deliver (harness, &from, &peer_event_record, &(peer_event_t){.node = key});
            harness_deliver (harness, &from, &leadership_record, &(leadership_t){.term = 99});
        }
    }
    harness_advance (harness, 200);
    assert_true (harness_quiet (harness));
    beat (1, 1, 4);
    commit_worker ();
}

static void test_corrupt_ledger (void **state)
{
    (void)state;
    add_worker (1);
    tables_txn_t *txn = tables_begin (world.tables, true, NULL);
    record_key_t key = key_of (1);
    assert_int_equal (
        tables_put (txn, LEDGER_WORKERS, (slice_t){key.bytes, 32}, SLICE ("rubbish"), NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    changed ();
    nexus_error_t error;
    assert_true (harness_ended (harness, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_null (harness_new (&registry_behaviour, &args, &masters[0].key, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    ledger_world_clear (&world);
    ledger_world_init (&world);
}

/*  Masters come and go by the ledger, or (for one that was away) by what another master says. */
static void test_masters_change (void **state)
{
    (void)state;
    record_key_t third = key_of (203);
    conf_member_t members[] = {{.key = masters[0].key, .voter = true},
                               {.key = third, .voter = true}};
    master_t records[] = {args.self, {.key = third, .name = "m3", .endpoint = "tcp://m3:1"}};
    change_masters_t change = {.masters = {records, 2}, .conf = {.members = {members, 2}}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    changed ();
    const link_dial_t *dial = harness_find (harness, link_dial);
    assert_non_null (dial);
    assert_memory_equal (&dial->node, &third, 32);
    const link_hangup_t *hangup = harness_find (harness, link_hangup);
    assert_non_null (hangup);
    assert_memory_equal (&hangup->node, &masters[1].key, 32);
    assert_int_equal (role_of (&third), ROLE_MASTER);
    assert_int_equal (role_of (&masters[1].key), ROLE_NONE); /* removed: revoked */
    const master_list_t *list = harness_find (harness, master_list);
    assert_non_null (list);
    assert_int_equal (list->index, world.index);
    assert_memory_equal (&harness_message (harness)->to.node, &third, 32);

    /* Who connects is told. */
    harness_deliver (harness, NULL, &peer_event_record,
                     &(peer_event_t){.node = third, .role = ROLE_MASTER, .up = true});
    assert_non_null (harness_find (harness, master_list));

    /* A newer list than the ledger's: we have been away. An older one counts for nothing. */
    master_t fourth[] = {records[0], {.key = key_of (204), .name = "m4", .endpoint = "tcp://m4:1"}};
    master_list_t said = {.index = world.index + 5, .masters = {fourth, 2}};
    address_t from = address_remote (&third, "registry", 0);
    harness_set_role (harness, ROLE_MASTER);
    harness_deliver (harness, &from, &master_list_record, &said);
    assert_int_equal (role_of (&fourth[1].key), ROLE_MASTER);
    assert_int_equal (role_of (&third), ROLE_NONE);
    said = (master_list_t){.index = world.index, .masters = {records, 2}};
    harness_deliver (harness, &from, &master_list_record, &said);
    assert_int_equal (role_of (&third), ROLE_NONE);
    changed (); /* and neither does our own ledger, until it gets there */
    assert_int_equal (role_of (&fourth[1].key), ROLE_MASTER);
    harness_set_role (harness, ROLE_LOCAL);
}

/*  A master that is removed may hear of it, then it is revoked; at once if another master says so,
    who has waited for us. */
static void test_removed_master (void **state)
{
    (void)state;
    record_key_t third = key_of (203);
    conf_member_t members[] = {{.key = masters[0].key, .voter = true},
                               {.key = masters[1].key, .voter = true},
                               {.key = third, .voter = true}};
    master_t records[] = {args.self, masters[1], {.key = third, .name = "m3"}};
    change_masters_t change = {.masters = {records, 3}, .conf = {.members = {members, 3}}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    changed ();
    change = (change_masters_t){.base = world.index, .conf = {.members = {members, 2}}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    changed ();
    assert_int_equal (role_of (&third), ROLE_MASTER);
    master_list_t said = {.index = world.index, .masters = {records, 2}};
    address_t from = address_remote (&masters[1].key, "registry", 0);
    harness_set_role (harness, ROLE_MASTER);
    harness_deliver (harness, &from, &master_list_record, &said);
    harness_set_role (harness, ROLE_LOCAL);
    assert_int_equal (role_of (&third), ROLE_NONE);
    assert_non_null (harness_find (harness, link_hangup));
    harness_advance (harness, 2000);

    change = (change_masters_t){.base = world.index, .conf = {.members = {members, 1}}};
    assert_int_equal (ledger_world_apply (&world, &change_masters_record, &change), NEXUS_OK);
    changed ();
    assert_int_equal (role_of (&masters[1].key), ROLE_MASTER);
    assert_null (harness_find (harness, link_hangup));
    harness_advance (harness, 1200);
    assert_int_equal (role_of (&masters[1].key), ROLE_NONE);
    assert_non_null (harness_find (harness, link_hangup));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_masters_change, setup, teardown),
        cmocka_unit_test_setup_teardown (test_removed_master, setup, teardown),
        cmocka_unit_test_setup_teardown (test_keyring, setup, teardown),
        cmocka_unit_test_setup_teardown (test_other_changes, setup, teardown),
        cmocka_unit_test_setup_teardown (test_master_record, setup, teardown),
        cmocka_unit_test_setup_teardown (test_master_record_of_one_behind, setup, teardown),
        cmocka_unit_test_setup_teardown (test_enrolment, setup, teardown),
        cmocka_unit_test_setup_teardown (test_enrolment_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown (test_enrolment_crowd, setup, teardown),
        cmocka_unit_test_setup_teardown (test_life, setup, teardown),
        cmocka_unit_test_setup_teardown (test_broken_connection, setup, teardown),
        cmocka_unit_test_setup_teardown (test_new_leader_is_patient, setup, teardown),
        cmocka_unit_test_setup_teardown (test_drain_stands, setup, teardown),
        cmocka_unit_test_setup_teardown (test_retries, setup, teardown),
        cmocka_unit_test_setup_teardown (test_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown (test_corrupt_ledger, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
