/*  linearizability: known histories, thousands of small ones against brute force, large ones
    of a true register, and the text form */
#include "actors/simulation/linearizability.h"
#include "runtime/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define COUNT(array) (sizeof (array) / sizeof (array[0]))
#define HEADING      "nexus-history 1\n"

static history_t *parse (const char *lines)
{
    char text[4096];
    nexus_error_t error;
    snprintf (text, sizeof text, HEADING "%s", lines);
    history_t *history = history_parse (text, strlen (text), &error);
    if (!history)
        fail_msg ("%s", error.text);
    return history;
}

/*  ---- known histories ------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool good;
    bool versions_good; /* what the test of versions alone says */
    const char *lines;
} table[] = {
    {"nothing", true, true, ""},
    {"one after another", true, true,
     "0 1 c1 put a 1 = ok 5\n2 3 c1 get a = found 1 5\n4 5 c2 delete a = ok 6\n"
     "6 7 c2 get a = absent\n"},
    {"concurrent gets see the old and the new", true, true,
     "0 1 c1 put a 1 = ok 5\n2 10 c1 put a 2 = ok 6\n3 4 c2 get a = found 1 5\n"
     "5 6 c2 get a = found 2 6\n"},
    {"stale read", false, false,
     "0 1 c1 put a 1 = ok 5\n2 3 c1 put a 2 = ok 6\n4 5 c2 get a = found 1 5\n"},
    {"stale read, without versions", false, true,
     "0 1 c1 put a 1 = ok\n2 3 c1 put a 2 = ok\n4 5 c2 get a = found 1\n"},
    {"gets go back in time", false, false,
     "0 1 c1 put a 1 = ok 5\n2 10 c1 put a 2 = ok 6\n3 4 c2 get a = found 2 6\n"
     "5 6 c3 get a = found 1 5\n"},
    {"lost update", false, true,
     "0 1 c1 put a 1 = ok 5\n2 9 c1 put a 2 if 5 = ok 6\n3 8 c2 put a 3 if 5 = ok 7\n"},
    {"duplicate application of a compare-and-put", false, false,
     "0 1 c1 put a 1 = ok 5\n2 3 c1 put a 2 if 5 = ok 6\n4 5 c2 delete a if 6 = ok 7\n"
     "6 7 c2 get a = found 2 6\n"},
    {"read of a failed write", false, true, "0 1 c1 put a 1 = failed\n2 3 c2 get a = found 1 5\n"},
    {"read of a refused write", false, true,
     "0 1 c1 put a 1 = ok 3\n2 3 c1 put a 2 if 9 = conflict\n4 5 c2 get a = found 2\n"},
    {"a write that nobody made", false, true, "0 1 c1 get a = found 1 5\n"},
    {"split brain: both sides go their own way", false, false,
     "0 1 c1 put a 1 = ok 5\n2 3 c1 put a 2 = ok 6\n2 3 c2 put a 3 = ok 6\n"
     "4 5 c1 get a = found 2 6\n4 5 c2 get a = found 3 6\n"},
    {"split brain, without versions", false, true,
     "0 1 c1 put a 1 = ok\n2 3 c1 put a 2 = ok\n2 3 c2 put a 3 = ok\n4 5 c1 get a = found 2\n"
     "6 7 c2 get a = found 3\n8 9 c1 get a = found 2\n"},
    {"conflict although the version is right", false, true,
     "0 1 c1 put a 1 = ok 5\n2 3 c1 put a 2 if 5 = conflict\n"},
    {"that conflict, explained by an unknown write", true, true,
     "0 1 c1 put a 1 = ok 5\n1.5 - c3 put a 3 = unknown\n2 3 c1 put a 2 if 5 = conflict\n"},
    {"an unknown write is seen late", true, true,
     "0 1 c1 put a 1 = unknown\n2 3 c2 put a 2 = ok 5\n4 5 c2 get a = found 2 5\n"
     "6 7 c2 get a = found 1 6\n"},
    {"an unknown write is seen, overwritten, and seen again", false, false,
     "0 1 c1 put a 1 = unknown\n2 3 c2 get a = found 1 4\n4 5 c2 put a 2 = ok 5\n"
     "6 7 c2 get a = found 1 4\n"},
    {"the same without versions: it was done twice", false, true,
     "0 1 c1 put a 1 = unknown\n2 3 c2 get a = found 1\n4 5 c2 put a 2 = ok\n"
     "6 7 c2 get a = found 1\n"},
    {"an unknown write is seen before it is called", false, true,
     "0 1 c2 get a = found 1 4\n2 - c1 put a 1 = unknown\n"},
    {"an unknown compare-and-put follows another one", true, true,
     "0 - c1 put a 1 if 0 = unknown\n0 - c2 put a 2 if 7 = unknown\n3 4 c3 get a = found 2 8\n"},
    {"an unknown compare-and-put can't have been done", false, true,
     "0 - c1 put a 1 if 3 = unknown\n3 4 c3 get a = found 1 8\n"},
    {"an acknowledged write is gone", false, true,
     "0 1 c1 put a 1 = ok 5\n2 3 c2 get a = absent\n"},
    {"it was deleted meanwhile", true, true,
     "0 1 c1 put a 1 = ok 5\n1 - c3 delete a = unknown\n2 3 c2 get a = absent\n"},
    {"delete finds nothing", false, true, "0 1 c1 put a 1 = ok 5\n2 3 c2 delete a = absent\n"},
    {"create only", true, true,
     "0 5 c1 put a 1 if 0 = ok 5\n0 5 c2 put a 2 if 0 = conflict\n6 7 c1 get a = found 1 5\n"},
    {"two create the same key", false, true,
     "0 5 c1 put a 1 if 0 = ok 5\n0 5 c2 put a 2 if 0 = ok 6\n"},
    {"keys don't disturb each other", true, true,
     "0 1 c1 put a 1 = ok 5\n2 3 c1 put b 2 = ok 6\n4 5 c2 get a = found 1 5\n"
     "4 5 c3 get b = found 2 6\n"},
    {"log indexes of two keys go back in time", true, false,
     "0 1 c1 put a 1 = ok 6\n2 3 c1 put b 2 = ok 5\n"},
    {"one log index for two keys", true, false, "0 3 c1 put a 1 = ok 6\n0 3 c2 put b 2 = ok 6\n"},
    {"a version above the one it replaced", false, false,
     "0 1 c1 put a 1 = ok 6\n2 3 c1 put a 2 if 6 = ok 6\n"},
};

static void test_table (void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT (table); i++) {
        linearizability_report_t report, versions;
        history_t *history = parse (table[i].lines);
        linearizability_verdict_t verdict = linearizability_check (history, 0, &report);
        if (verdict != (table[i].good ? LINEARIZABILITY_OK : LINEARIZABILITY_BROKEN))
            fail_msg ("%s: verdict %d", table[i].name, verdict);
        verdict = linearizability_check_versions (history, &versions);
        if (verdict != (table[i].versions_good ? LINEARIZABILITY_OK : LINEARIZABILITY_BROKEN))
            fail_msg ("%s: versions: verdict %d: %s", table[i].name, verdict, versions.reason);
        assert_int_equal (report.core_count > 0, !table[i].good);
        assert_int_equal (versions.core_count > 0, !table[i].versions_good);
        history_destroy (&history);
    }
}

/*  ---- brute force ----------------------------------------------------------------------- */

enum { SMALL_MAX = 8 };

typedef struct {
    history_operation_t operations[SMALL_MAX];
    size_t count;
} small_t;

typedef struct {
    uint64_t version, floor;
    const char *value;
} simple_t;

static bool is_required (const history_operation_t *operation)
{
    return operation->outcome != HISTORY_UNKNOWN && operation->outcome != HISTORY_FAILED;
}

static bool enumerate (const small_t *small, unsigned done, simple_t register_);

static bool try_write (const small_t *small, unsigned done, const history_operation_t *operation,
                       simple_t register_, uint64_t version)
{
    if (version != UINT64_MAX) {
        if (version <= register_.floor)
            return false;
        register_.floor = version;
    }
    register_.value = operation->kind == HISTORY_PUT ? operation->value : NULL;
    register_.version = operation->kind == HISTORY_PUT ? version : 0;
    return enumerate (small, done, register_);
}

static bool try_any_version (const small_t *small, unsigned done,
                             const history_operation_t *operation, simple_t register_)
{
    if (operation->version)
        return try_write (small, done, operation, register_, operation->version);
    for (size_t i = 0; i < small->count; i++) {
        const history_operation_t *other = &small->operations[i];
        if ((other->version && try_write (small, done, operation, register_, other->version)) ||
            (other->expected && try_write (small, done, operation, register_, other->expected)))
            return true;
    }
    return try_write (small, done, operation, register_, UINT64_MAX);
}

static bool try_one (const small_t *small, unsigned done, const history_operation_t *operation,
                     simple_t register_)
{
    bool matches = !operation->compare || operation->expected == register_.version;
    switch (operation->outcome) {
    case HISTORY_ABSENT:
        return !register_.value && enumerate (small, done, register_);
    case HISTORY_CONFLICT:
        return !matches && enumerate (small, done, register_);
    case HISTORY_FAILED:
        return false;
    case HISTORY_OK:
    case HISTORY_UNKNOWN:
        break;
    }
    if (operation->kind != HISTORY_GET)
        return matches && try_any_version (small, done, operation, register_);
    return operation->outcome == HISTORY_OK && register_.value &&
           strcmp (register_.value, operation->value) == 0 &&
           (!operation->version || operation->version == register_.version) &&
           enumerate (small, done, register_);
}

/*  All orders, one by one. */
static bool enumerate (const small_t *small, unsigned done, simple_t register_)
{
    bool all = true;
    for (size_t i = 0; i < small->count; i++)
        all = all && (done >> i & 1 || !is_required (&small->operations[i]));
    if (all)
        return true;
    for (size_t i = 0; i < small->count; i++) {
        bool may = !(done >> i & 1);
        for (size_t j = 0; j < small->count; j++)
            may = may && !(!(done >> j & 1) && is_required (&small->operations[j]) &&
                           small->operations[j].return_ns < small->operations[i].call_ns);
        if (may && try_one (small, done | 1u << i, &small->operations[i], register_))
            return true;
    }
    return false;
}

/*  ---- random histories ------------------------------------------------------------------ */

typedef struct {
    random_t random;
    unsigned clients, values;
    bool realistic;
    double unknown, told, compares; /* shares */
    uint64_t index;
    struct {
        const char *value;
        uint64_t version, known; /* known: the last that a client was told */
    } keys[3];
    unsigned keys_count;
} source_t;

enum { LARGE = 5000 };
static char texts[LARGE][8];

static int make_texts (void **state)
{
    (void)state;
    for (unsigned i = 0; i < LARGE; i++)
        snprintf (texts[i], sizeof texts[i], "%u", i);
    return 0;
}

static bool chance (source_t *self, double share)
{
    return random_real (&self->random) < share;
}

/*  Takes effect at once, on a true register. */
static void take_effect (source_t *self, unsigned key, history_operation_t *operation)
{
    self->index += 1 + random_below (&self->random, 2);
    if (operation->kind == HISTORY_GET) {
        operation->outcome = self->keys[key].value ? HISTORY_OK : HISTORY_ABSENT;
        operation->value = self->keys[key].value;
        operation->version = self->keys[key].version;
    } else if (operation->compare && operation->expected != self->keys[key].version) {
        operation->outcome = HISTORY_CONFLICT;
    } else {
        bool put = operation->kind == HISTORY_PUT;
        operation->outcome = HISTORY_OK;
        operation->version = self->index;
        self->keys[key].value = put ? operation->value : NULL;
        self->keys[key].version = put ? self->index : 0;
    }
    if (operation->outcome != HISTORY_OK || !chance (self, self->told))
        operation->version = 0;
    else if (operation->kind != HISTORY_DELETE)
        self->keys[key].known = operation->version;
}

static history_operation_t new_operation (source_t *self, unsigned *ret_key)
{
    static const char *const keys[] = {"a", "b", "c"};
    unsigned key = (unsigned)random_below (&self->random, self->keys_count);
    history_operation_t operation = {.key = keys[key],
                                     .kind = (history_kind_t)random_below (&self->random, 3)};
    if (operation.kind == HISTORY_DELETE && chance (self, 0.5))
        operation.kind = HISTORY_GET;
    if (operation.kind == HISTORY_PUT)
        operation.value = texts[random_below (&self->random, self->values)];
    if (operation.kind != HISTORY_GET && chance (self, self->compares)) {
        operation.compare = true;
        /* What a client learnt, or in small histories whatever may make trouble. */
        operation.expected = self->realistic      ? (chance (self, 0.7) ? self->keys[key].known : 0)
                             : chance (self, 0.7) ? self->keys[key].version
                                                  : random_below (&self->random, self->index + 1);
    }
    *ret_key = key;
    return operation;
}

/*  Each client has one operation at a time; each takes effect at a random moment of it. */
static size_t draw (source_t *self, history_operation_t *operations, size_t count)
{
    struct {
        size_t number;
        bool busy, effective;
        unsigned key;
    } clients[16] = {0};
    int64_t now = 0;
    size_t begun = 0, busy = 0;
    while (begun < count || busy > 0) {
        unsigned i = (unsigned)random_below (&self->random, self->clients);
        now += (int64_t)random_below (&self->random, 3);
        history_operation_t *operation = &operations[clients[i].number];
        if (!clients[i].busy && begun < count) {
            clients[i].number = begun;
            clients[i].busy = true;
            clients[i].effective = false;
            operation = &operations[begun++];
            *operation = new_operation (self, &clients[i].key);
            operation->client = i;
            operation->call_ns = now;
            busy++;
        } else if (clients[i].busy && !clients[i].effective) {
            take_effect (self, clients[i].key, operation);
            clients[i].effective = true;
            if (chance (self, self->unknown)) {
                operation->outcome = HISTORY_UNKNOWN;
                operation->version = 0;
                if (operation->kind == HISTORY_GET)
                    operation->value = NULL;
            }
        } else if (clients[i].busy) {
            operation->return_ns = now;
            clients[i].busy = false;
            busy--;
        }
    }
    return count;
}

/*  One thing that is not as it was. */
static void mutate (source_t *self, small_t *small)
{
    history_operation_t *operation = &small->operations[random_below (&self->random, small->count)];
    switch (random_below (&self->random, 5)) {
    case 0:
        if (operation->kind != HISTORY_GET)
            break;
        operation->outcome = HISTORY_OK;
        operation->value = texts[random_below (&self->random, self->values)];
        break;
    case 1:
        if (operation->outcome == HISTORY_OK)
            operation->version = 1 + random_below (&self->random, self->index + 2);
        break;
    case 2:
        if (operation->compare)
            operation->outcome = operation->outcome == HISTORY_OK ? HISTORY_CONFLICT : HISTORY_OK;
        if (operation->outcome == HISTORY_CONFLICT)
            operation->version = 0;
        break;
    case 3:
        if (operation->kind == HISTORY_PUT) {
            operation->outcome = HISTORY_FAILED;
            operation->version = 0;
        }
        break;
    default: /* done at another time than it says */
        operation->call_ns += (int64_t)random_below (&self->random, 12);
        operation->return_ns += 12;
        break;
    }
}

static history_t *history_of (const history_operation_t *operations, size_t count)
{
    history_t *history = history_new ();
    for (size_t i = 0; i < count; i++)
        history_add (history, &operations[i]);
    return history;
}

static void print (const history_t *history)
{
    buffer_t out = {0};
    history_write (history, &out);
    print_message ("%.*s", (int)out.size, (const char *)out.data);
    buffer_free (&out);
}

static void test_brute_force (void **state)
{
    (void)state;
    unsigned verdicts[2] = {0};
    for (uint64_t seed = 1; seed <= 40000; seed++) {
        source_t source = {.keys_count = 1, .compares = 0.4};
        random_seed (&source.random, seed);
        source.clients = 2 + (unsigned)random_below (&source.random, 3);
        source.values = 2 + (unsigned)random_below (&source.random, 5);
        source.unknown = random_real (&source.random) * 0.5;
        source.told = (double)(seed % 3) * 0.5;
        small_t small = {0};
        small.count = draw (&source, small.operations, 3 + random_below (&source.random, 5));
        bool mutated = seed % 4 != 0;
        for (uint64_t i = 0; i < seed % 4; i++)
            mutate (&source, &small);
        bool good = enumerate (&small, 0, (simple_t){0});
        assert_true (good || mutated);
        history_t *history = history_of (small.operations, small.count);
        linearizability_report_t report;
        linearizability_verdict_t verdict = linearizability_check (history, 0, &report);
        if (verdict != (good ? LINEARIZABILITY_OK : LINEARIZABILITY_BROKEN)) {
            print (history);
            fail_msg ("seed %llu: brute force says %d, the checker %d", (unsigned long long)seed,
                      good, verdict);
        }
        if (good && linearizability_check_versions (history, &report) != LINEARIZABILITY_OK) {
            print (history);
            fail_msg ("seed %llu: versions: %s", (unsigned long long)seed, report.reason);
        }
        verdicts[good]++;
        history_destroy (&history);
    }
    /* Else the comparison says little. */
    assert_in_range (verdicts[0], 8000, 32000);
}

/*  A contradiction is one on its own: the operations of the core, alone, are broken, unless
    a write was left out of them that may have happened. */
static void test_core (void **state)
{
    (void)state;
    linearizability_report_t report;
    history_t *history = parse ("0 1 c1 put a 1 = ok 5\n0 1 c2 put b 1 = ok 6\n"
                                "1 2 c1 get a = found 1 5\n2 3 c1 put a 2 = ok 8\n"
                                "3.5 4 c2 get a = found 2 8\n5 6 c2 get a = found 1 5\n"
                                "7 8 c2 get a = found 2 8\n9 10 c1 put a 3 = ok 9\n");
    assert_int_equal (linearizability_check (history, 0, &report), LINEARIZABILITY_BROKEN);
    assert_string_equal (report.key, "a");
    assert_in_range (report.core_count, 2, 4);
    buffer_t out = {0};
    linearizability_explain (history, &report, &out);
    buffer_append (&out, "", 1);
    assert_non_null (strstr ((char *)out.data, "line 7: 5.000000000 6.000000000 c2 get a"));
    assert_null (strstr ((char *)out.data, "line 9"));
    buffer_free (&out);
    history_destroy (&history);
}

static double seconds_since (const struct timespec *since)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - since->tv_sec) + (double)(now.tv_nsec - since->tv_nsec) / 1e9;
}

/*  Thousands of operations of ten clients, some of unknown outcome. */
static void test_large (void **state)
{
    (void)state;
    history_operation_t *operations = calloc (LARGE, sizeof *operations);
    assert_non_null (operations);
    struct timespec since;
    clock_gettime (CLOCK_MONOTONIC, &since);
    unsigned broken = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        source_t source = {.clients = 10,
                           .values = LARGE,
                           .realistic = true,
                           .keys_count = 1 + (unsigned)(seed % 3),
                           .unknown = (double)(seed % 4) * 0.02,
                           .told = seed % 2 ? 1 : 0,
                           .compares = seed % 2 ? 0.4 : 0};
        random_seed (&source.random, seed);
        draw (&source, operations, LARGE);
        history_t *history = history_of (operations, LARGE);
        linearizability_report_t report;
        linearizability_verdict_t verdict = linearizability_check (history, 0, &report);
        if (verdict != LINEARIZABILITY_OK)
            fail_msg ("seed %llu: %s", (unsigned long long)seed, report.reason);
        history_destroy (&history);
        /* A get in the middle that saw what is long gone. */
        for (size_t i = LARGE / 2; i < LARGE; i++)
            if (operations[i].kind == HISTORY_GET && operations[i].version) {
                operations[i].version -= operations[i].version / 2;
                history = history_of (operations, LARGE);
                assert_int_equal (linearizability_check (history, 0, &report),
                                  LINEARIZABILITY_BROKEN);
                assert_in_range (report.core_count, 1, 6);
                history_destroy (&history);
                broken++;
                break;
            }
    }
    assert_true (broken >= 6);
    print_message ("12 histories of %d operations: %.2f s\n", LARGE, seconds_since (&since));
    free (operations);
}

/*  Many unknown writes that are all needed in an order that can't be: it says that it gave up. */
static void test_gives_up (void **state)
{
    (void)state;
    history_t *history = history_new ();
    history_operation_t put = {
        .kind = HISTORY_PUT, .key = "a", .outcome = HISTORY_OK, .return_ns = 100};
    for (size_t i = 0; i < 16; i++) {
        put.value = texts[i];
        history_add (history, &put);
    }
    history_add (history, &(history_operation_t){.key = "a",
                                                 .outcome = HISTORY_OK,
                                                 .value = "nobody",
                                                 .call_ns = 100,
                                                 .return_ns = 200});
    linearizability_report_t report;
    assert_int_equal (linearizability_check (history, 1000, &report), LINEARIZABILITY_UNKNOWN);
    assert_non_null (strstr (report.reason, "gave up"));
    /* With the memory of what was tried, 16 x 2^16 steps at the most, not 16! */
    assert_int_equal (linearizability_check (history, 0, &report), LINEARIZABILITY_BROKEN);
    history_destroy (&history);
}

/*  ---- the text form --------------------------------------------------------------------- */

static void test_round_trip (void **state)
{
    (void)state;
    history_t *history = history_new ();
    size_t number = history_add (history, &(history_operation_t){.client = 7,
                                                                 .call_ns = 1000000001,
                                                                 .return_ns = HISTORY_NEVER,
                                                                 .kind = HISTORY_PUT,
                                                                 .key = "with space",
                                                                 .value = "a=\"\\\n\xff"});
    history_add (history, &(history_operation_t){.call_ns = 5, .kind = HISTORY_GET, .key = ""});
    history_return (history, 1, 6, HISTORY_OK, "", 9);
    assert_string_equal (history_at (history, 1)->value, "");
    buffer_t out = {0}, again = {0};
    history_write (history, &out);
    nexus_error_t error;
    history_t *read = history_parse ((char *)out.data, out.size, &error);
    if (!read)
        fail_msg ("%s", error.text);
    const history_operation_t *operation = history_at (read, number);
    assert_string_equal (operation->value, "a=\"\\\n\xff");
    assert_int_equal (operation->call_ns, 1000000001);
    assert_int_equal (operation->return_ns, HISTORY_NEVER);
    assert_int_equal (operation->client, 7);
    assert_int_equal (operation->line, 3);
    history_write (read, &again);
    assert_int_equal (out.size, again.size);
    assert_memory_equal (out.data, again.data, out.size);
    buffer_free (&out);
    buffer_free (&again);
    history_destroy (&read);
    history_destroy (&history);
}

static void test_errors (void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } faults[] = {
        {"", "line 1: a history begins with"},
        {"hello\n", "line 1: a history begins with"},
        {HEADING "\n# c\nx", "line 4: call: expected seconds"},
        {HEADING "0 x", "line 2: return: expected seconds"},
        {HEADING "5 4", "line 2: return: expected a time that is not before the call"},
        {HEADING "0.1234567891 1", "line 2: call: expected seconds"},
        {HEADING "99999999999 1", "line 2: call: expected seconds"},
        {HEADING "0 1 d", "line 2: client: expected c and a number"},
        {HEADING "0 1 c1 got", "line 2: operation: expected get, put or delete, found \"got\""},
        {HEADING "0 1 c1 get = absent", "line 2: key: expected a word, found \"=\""},
        {HEADING "0 1 c1 put a", "line 2: value: expected a word, found the end of the line"},
        {HEADING "0 1 c1 put a 1 if x", "line 2: if: expected a number"},
        {HEADING "0 1 c1 put a 1 ok", "line 2: operation: expected = and the outcome"},
        {HEADING "0 1 c1 put a 1 = conflict", "(conflict needs if)"},
        {HEADING "0 1 c1 get a = ok", "line 2: outcome: expected found, absent"},
        {HEADING "0 1 c1 put a 1 = ok 0", "line 2: version: expected a number from 1"},
        {HEADING "0 1 c1 put a 1 = ok 1 2", "line 2: outcome: expected the end of the line"},
        {HEADING "0 - c1 put a 1 = ok 1", "line 2: return: what has an outcome"},
        {HEADING "0 1 c1 put \"a 1 = ok", "line 2: a quote is not closed"},
        {HEADING "0 1 c1 put \"\\x00\" 1 = ok", "line 2: behind a \\"},
        {HEADING "0 1 c1 put \xc3\xa4 1 = ok", "line 2: a byte that is not printable"},
        {HEADING "1 1 1 1 1 1 1 1 1 1 1 1 1", "line 2: it has too many words"},
    };
    for (size_t i = 0; i < COUNT (faults); i++) {
        nexus_error_t error = {0};
        history_t *history = history_parse (faults[i].text, strlen (faults[i].text), &error);
        assert_null (history);
        if (!strstr (error.text, faults[i].error))
            fail_msg ("expected \"%s\", got \"%s\"", faults[i].error, error.text);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_table),    cmocka_unit_test (test_brute_force),
        cmocka_unit_test (test_core),     cmocka_unit_test (test_large),
        cmocka_unit_test (test_gives_up), cmocka_unit_test (test_round_trip),
        cmocka_unit_test (test_errors),
    };
    return cmocka_run_group_tests (tests, make_texts, NULL);
}
