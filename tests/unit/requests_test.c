/*  What was done for whom: repetitions in any order, the horizon, restarts. */
#include "ledger_world.h"

#include "runtime/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CALLER (UINT64_C (1) << 63)

static ledger_world_t world;

static int setup (void **state)
{
    (void)state;
    ledger_world_init (&world);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    ledger_world_clear (&world);
    return 0;
}

static nexus_code_t put_once (uint64_t client, uint64_t sequence, uint64_t after, const char *value)
{
    kv_put_t put = {.key = "k", .value = {(const uint8_t *)value, strlen (value)}};
    buffer_t bytes = {0};
    command_encode (&kv_put_record, &put, &bytes);
    nexus_code_t code =
        COMMAND (&world, once, client, sequence, after, .command = {bytes.data, bytes.size});
    buffer_free (&bytes);
    return code;
}

static uint64_t version (void)
{
    kv_entry_t entry;
    return ledger_world_get (&world, LEDGER_KV, ledger_key_text ("k"), &entry) ? entry.version : 0;
}

/*  A new start of the ledger: the index in memory is made anew from the table. */
static void restart (void)
{
    requests_destroy (&world.requests);
    world.requests = requests_new (world.index);
    tables_txn_t *txn = tables_begin (world.tables, false, NULL);
    nexus_error_t error = {NEXUS_OK, ""};
    if (requests_load (world.requests, txn, &error))
        fail_msg ("%s", error.text);
    tables_abort (&txn);
}

static void test_repeated (void **state)
{
    (void)state;
    assert_int_equal (put_once (1, 1, 0, "a"), NEXUS_OK);
    assert_string_equal (world.value, "1");
    assert_int_equal (put_once (1, 3, 0, "b"), NEXUS_OK); /* overtook 2 */
    assert_int_equal (put_once (1, 2, 0, "c"), NEXUS_OK);
    assert_string_equal (world.value, "3");
    for (int i = 0; i < 3; i++) {
        assert_int_equal (put_once (1, 1, 0, "a"), NEXUS_OK);
        assert_string_equal (world.value, "1");
        assert_int_equal (world.changed, 0);
        assert_int_equal (put_once (1, 3, 0, "b"), NEXUS_OK);
        assert_string_equal (world.value, "2");
        if (i == 1)
            restart ();
    }
    assert_int_equal (version (), 3);
    assert_int_equal (put_once (2, 1, 0, "d"), NEXUS_OK); /* another client's */
    assert_int_equal (version (), world.index);
    /*  Without a client nobody looks. */
    assert_int_equal (put_once (0, 1, 0, "e"), NEXUS_OK);
    assert_int_equal (put_once (0, 1, 0, "e"), NEXUS_OK);
    assert_int_equal (version (), world.index);
}

/*  A refusal is a result like any other, even if it would succeed by now. */
static void test_refusal_is_remembered (void **state)
{
    (void)state;
    kv_put_t put = {.key = "k", .compare = true, .version = 2};
    buffer_t bytes = {0};
    command_encode (&kv_put_record, &put, &bytes);
    once_t once = {.client = 7, .sequence = 1, .command = {bytes.data, bytes.size}};
    assert_int_equal (ledger_world_apply (&world, &once_record, &once), NEXUS_CONFLICT);
    nexus_error_t first = world.error;
    assert_int_equal (put_once (8, 1, 0, "x"), NEXUS_OK);
    assert_int_equal (version (), 2);
    restart ();
    assert_int_equal (ledger_world_apply (&world, &once_record, &once), NEXUS_CONFLICT);
    assert_string_equal (world.error.text, first.text);
    assert_int_equal (version (), 2);
    buffer_free (&bytes);
}

static void test_hostile (void **state)
{
    (void)state;
    uint8_t inner[64] = {(uint8_t)(once_record.id >> 8), (uint8_t)once_record.id, 0xc0};
    assert_int_equal (COMMAND (&world, once, .client = 1, .command = {inner, 3}), NEXUS_INVALID);
    assert_int_equal (COMMAND (&world, once, .client = 2, .command = {inner, 1}), NEXUS_INVALID);
    assert_int_equal (ledger_world_apply_bytes (&world, inner, 3), NEXUS_INVALID);
    assert_int_equal (ledger_world_apply_bytes (&world, inner, 2), NEXUS_INVALID);
}

/*  The oldest are forgotten; what can't be told is refused; what could be told is done. */
static void test_horizon (void **state)
{
    (void)state;
    enum { MANY = REQUESTS_KEPT + 5 * REQUESTS_ROW };
    assert_int_equal (put_once (CALLER | 1, 1, 0, "caller"), NEXUS_OK);
    for (uint64_t i = 1; i <= MANY; i++)
        assert_int_equal (put_once (1, i, world.index, "v"), NEXUS_OK);
    tables_txn_t *txn = tables_begin (world.tables, false, NULL);
    uint64_t horizon = ledger_number (txn, REQUESTS_HORIZON);
    size_t rows = tables_count (txn, LEDGER_REQUESTS);
    tables_abort (&txn);
    assert_int_equal (horizon, 1 + 5 * REQUESTS_ROW); /* the caller's was index 1 */
    assert_int_equal (rows, REQUESTS_KEPT / REQUESTS_ROW + 1);
    for (int round = 0; round < 2; round++) {
        uint64_t before = version ();
        /*  Kept: the first result, whatever `after` says. */
        assert_int_equal (put_once (1, 5 * REQUESTS_ROW + 1, 0, "v"), NEXUS_OK);
        assert_int_equal (strtoull (world.value, NULL, 10), horizon + 1);
        /*  Forgotten: nobody can tell. */
        assert_int_equal (put_once (1, 5 * REQUESTS_ROW, horizon - 2, "v"), NEXUS_DEADLINE);
        assert_non_null (strstr (world.error.text, "too old"));
        assert_int_equal (put_once (1, 1, 0, "v"), NEXUS_DEADLINE);
        /*  Never seen, but too old to be sure of it. */
        assert_int_equal (put_once (9, 1, horizon - 1, "v"), NEXUS_DEADLINE);
        assert_int_equal (version (), before);
        /*  What callers of the API asked for is not pushed out by all this. */
        assert_int_equal (put_once (CALLER | 1, 1, 0, "caller"), NEXUS_OK);
        assert_string_equal (world.value, "1");
        restart ();
    }
    uint64_t before = version ();
    assert_int_equal (put_once (9, 2, horizon, "new"), NEXUS_OK);
    assert_true (version () > before);
}

/*  Against a model that forgets nothing, with repetitions at random and restarts. */
static void test_random (void **state)
{
    (void)state;
    enum { CLIENTS = 50, SEQUENCES = 3000, STEPS = 200000 };
    static uint64_t results[CLIENTS][SEQUENCES]; /* 0: not done */
    random_t random;
    random_seed (&random, 3);
    for (int step = 0; step < STEPS; step++) {
        uint64_t client = random_next (&random) % CLIENTS, last = (uint64_t)step / 70;
        uint64_t sequence =
            last - (random_next (&random) % 100 < last ? random_next (&random) % 100 : 0);
        if (sequence >= SEQUENCES)
            continue;
        uint64_t before = world.index;
        uint64_t id = client % 3 ? client + 1 : CALLER | client;
        assert_int_equal (put_once (id, sequence, before, "v"), NEXUS_OK);
        uint64_t result = strtoull (world.value, NULL, 10);
        if (results[client][sequence])
            assert_int_equal (result, results[client][sequence]);
        else
            assert_int_equal (result, world.index);
        results[client][sequence] = result;
        if (step % 20011 == 0)
            restart ();
    }
}

static void test_damage (void **state)
{
    (void)state;
    assert_int_equal (put_once (1, 1, 0, "a"), NEXUS_OK);
    uint8_t key[9] = {0};
    const char *rows[] = {"", "rubbish", "0123456789012345678901234567890"};
    for (size_t i = 1; i < 3; i++) {
        tables_txn_t *txn = tables_begin (world.tables, true, NULL);
        assert_int_equal (
            tables_put (txn, LEDGER_REQUESTS, (slice_t){key, 9}, SLICE (rows[i]), NULL), 0);
        requests_t *other = requests_new (1);
        nexus_error_t error;
        assert_int_equal (requests_load (other, txn, &error), -1);
        assert_int_equal (error.code, NEXUS_CORRUPT);
        requests_destroy (&other);
        tables_abort (&txn);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (test_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown (test_refusal_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown (test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown (test_horizon, setup, teardown),
        cmocka_unit_test_setup_teardown (test_random, setup, teardown),
        cmocka_unit_test_setup_teardown (test_damage, setup, teardown),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
