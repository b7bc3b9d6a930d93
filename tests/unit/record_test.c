/*  Tests of record: values, wire form, documents, descriptions. */
#include "runtime/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  ---- records of this test: every kind of field ------------------------- */

#define MOOD(E) E (MOOD_CALM, "calm") E (MOOD_BUSY, "busy") E (MOOD_LOST, "lost")
RECORD_ENUM (mood, MOOD)
RECORD_ENUM_DEFINE (mood, MOOD)

#define POINT(F)                                                           \
    F (REAL, x, _, .min = -1000, .max = 1000, .unit = "m", .doc = "East.") \
    F (INT, y, _, .def = "7", .min = -1000, .max = 1000, .doc = "North.")  \
    F (STRING, label, _, .max = 20, .doc = "What stands there.")
RECORD_DECLARE (point, POINT)
#define RECORD_SELF point_t
RECORD_DEFINE (point, 0, 0, "A point on the map.", POINT)
#undef RECORD_SELF

#define THING(F)                                                                           \
    F (BOOL, on, _, .def = "true", .doc = "Whether it runs.")                              \
    F (INT, delta, _, .doc = "Any integer.")                                               \
    F (UINT, count, _, .flags = RECORD_COLUMN, .doc = "Any natural number.")               \
    F (UINT, port, _, .def = "9000", .min = 1, .max = 65535, .doc = "A port.")             \
    F (REAL, rate, _, .def = "0.5", .doc = "Any number.")                                  \
    F (STRING, name, _, .flags = RECORD_REQUIRED, .min = 1, .max = 63, .doc = "Its name.") \
    F (BYTES, blob, _, .max = 2000, .doc = "Some bytes.")                                  \
    F (KEY, key, _, .doc = "A public key.")                                                \
    F (STRING, token, _, .flags = RECORD_SECRET, .doc = "A secret.")                       \
    F (ENUM, mood, mood, .def = "busy", .doc = "How it feels.")                            \
    F (RECORD, home, point, .doc = "Where it lives.")                                      \
    F (STRINGS, command, _, .max = 10, .doc = "What it runs.")                             \
    F (INTS, shape, _, .max = 8, .doc = "Dimensions.")                                     \
    F (MAP, env, _, .max = 50, .doc = "Variables.")                                        \
    F (RECORDS, trail, point, .max = 30, .doc = "Where it was.")                           \
    F (UINT, index, _, .flags = RECORD_READONLY, .doc = "Set by the cluster.")
RECORD_DECLARE (thing, THING)
#define RECORD_SELF thing_t
RECORD_DEFINE (thing, 17, 0, "A thing with every kind of field.", THING)
#undef RECORD_SELF

/*  The same message in two versions. */
#define OLD(F)                                  \
    F (UINT, term, _, .min = 1, .doc = "Term.") \
    F (STRING, who, _, .doc = "Sender.")
RECORD_DECLARE (old, OLD)
#define RECORD_SELF old_t
RECORD_DEFINE (old, 18, 0, "First version.", OLD)
#undef RECORD_SELF

#define NEWER(F)                                                 \
    OLD (F)                                                      \
    F (UINT, limit, _, .def = "12", .since = 2, .doc = "Limit.") \
    F (RECORD, place, point, .since = 2, .doc = "Place.")        \
    F (RECORDS, places, point, .since = 2, .doc = "Places.")     \
    F (MAP, notes, _, .since = 3, .doc = "Notes.")
RECORD_DECLARE (newer, NEWER)
#define RECORD_SELF newer_t
RECORD_DEFINE (newer, 18, 0, "Second version.", NEWER)
#undef RECORD_SELF

#define STRICT(F)                        \
    F (STRING, who, _, .doc = "Sender.") \
    F (RECORD, inner, old, .doc = "Has a field without a valid default.")
RECORD_DECLARE (strict, STRICT)
#define RECORD_SELF strict_t
RECORD_DEFINE (strict, 19, 0, "A field that must be given.", STRICT)
#undef RECORD_SELF

/*  ---- fixture ----------------------------------------------------------- */

static arena_t arena;
static buffer_t wire;
static nexus_error_t error;
static record_faults_t faults;

static int setup (void **state)
{
    (void)state;
    arena_init (&arena, 0, NULL, 0);
    memset (&error, 0, sizeof error);
    memset (&faults, 0, sizeof faults);
    return 0;
}

static int teardown (void **state)
{
    (void)state;
    arena_reset (&arena);
    buffer_free (&wire);
    return 0;
}

/*  ---- generated values (splitmix64) ------------------------------------- */

static uint64_t seed;

static uint64_t draw (void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below (size_t bound)
{
    return draw () % bound;
}

/*  Of every magnitude alike. */
static uint64_t any_natural (void)
{
    return draw () >> below (64);
}

static double any_real (void)
{
    switch (below (4)) {
    case 0:
        return (double)(int64_t)any_natural ();
    case 1:
        return (double)(int64_t)draw () / 1e6;
    case 2:
        return ldexp ((double)draw (), (int)below (1800) - 900);
    default:
        return 0;
    }
}

static const char *any_text (size_t longest)
{
    /* Pieces that documents like to trip over. */
    static const char *const pieces[] = {"a",
                                         "Z",
                                         "0",
                                         "1e5",
                                         " ",
                                         "  ",
                                         "\n",
                                         "\t",
                                         ": ",
                                         "#",
                                         " #",
                                         "-",
                                         "- ",
                                         "\"",
                                         "'",
                                         "\\",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         "&x",
                                         "*x",
                                         "!",
                                         "|",
                                         ">",
                                         "%",
                                         "@",
                                         "`",
                                         "null",
                                         "true",
                                         "~",
                                         "?",
                                         "=",
                                         "no",
                                         "\xc3\xa4",
                                         "\xe2\x82\xac",
                                         "\xe2\x80\xa8",
                                         "\xf0\x9f\x98\x80",
                                         "<<",
                                         ".",
                                         "/",
                                         "\xef\xbb\xbf",
                                         "\xef\xbf\xbf",
                                         "\xc2\xa0"};
    size_t room = below (longest + 1);
    char *text = arena_alloc (&arena, longest + 1);
    size_t used = 0;
    while (true) {
        const char *piece = pieces[below (sizeof pieces / sizeof *pieces)];
        if (used + strlen (piece) > room)
            break;
        memcpy (text + used, piece, strlen (piece));
        used += strlen (piece);
    }
    return text;
}

static point_t any_point (void)
{
    return (point_t){.x = (double)below (2000000) / 1000 - 1000,
                     .y = (int64_t)below (2001) - 1000,
                     .label = any_text (20)};
}

static thing_t any_thing (void)
{
    thing_t thing;
    record_init (&thing_record, &thing);
    thing.on = below (2);
    thing.delta = (int64_t)(below (2) ? any_natural () : ~any_natural ());
    thing.count = any_natural ();
    thing.port = 1 + below (65535);
    thing.rate = any_real ();
    thing.name = arena_printf (&arena, "n%s", any_text (60));
    uint8_t *blob = arena_alloc (&arena, 2000);
    for (size_t i = 0; i < 2000; i++)
        blob[i] = (uint8_t)draw ();
    thing.blob = (record_bytes_t){blob, below (4) ? below (300) : below (2000)};
    if (below (2))
        for (size_t i = 0; i < 32; i++)
            thing.key.bytes[i] = (uint8_t)draw ();
    thing.token = any_text (below (2) ? 4096 : 10);
    thing.mood = (int)below (3);
    thing.home = any_point ();
    thing.command.count = below (11);
    thing.command.items = arena_alloc (&arena, 10 * sizeof (char *));
    for (size_t i = 0; i < thing.command.count; i++)
        thing.command.items[i] = any_text (100);
    thing.shape.count = below (9);
    thing.shape.items = arena_alloc (&arena, 8 * sizeof (int64_t));
    for (size_t i = 0; i < thing.shape.count; i++)
        thing.shape.items[i] = (int64_t)(below (2) ? any_natural () : ~any_natural ());
    thing.env.count = below (4) ? below (5) : below (51);
    thing.env.items = arena_alloc (&arena, 50 * sizeof (record_pair_t));
    for (size_t i = 0; i < thing.env.count; i++)
        thing.env.items[i] = (record_pair_t){
            arena_printf (&arena, "%s%zu", any_text (below (9) ? 20 : 2000), i), any_text (50)};
    thing.trail.count = below (4) ? below (4) : below (31);
    thing.trail.items = arena_alloc (&arena, 30 * sizeof (point_t));
    for (size_t i = 0; i < thing.trail.count; i++)
        thing.trail.items[i] = any_point ();
    thing.index = any_natural ();
    return thing;
}

static thing_t named_thing (const char *name)
{
    thing_t thing;
    record_init (&thing_record, &thing);
    thing.name = name;
    return thing;
}

/*  ---- values ------------------------------------------------------------ */

static void test_init_sets_defaults (void **state)
{
    (void)state;
    thing_t thing;
    memset (&thing, 0xaa, sizeof thing);
    record_init (&thing_record, &thing);
    assert_true (thing.on);
    assert_int_equal (thing.delta, 0);
    assert_int_equal (thing.port, 9000);
    assert_true (thing.rate == 0.5);
    assert_string_equal (thing.name, "");
    assert_int_equal (thing.mood, MOOD_BUSY);
    assert_int_equal (thing.home.y, 7);
    assert_int_equal (thing.trail.count, 0);
    assert_true (record_key_is_zero (&thing.key));
    assert_int_equal (thing.env.count, 0);
}

static void test_enum_names (void **state)
{
    (void)state;
    assert_string_equal (record_choice_name (&mood_choices, MOOD_LOST), "lost");
    assert_string_equal (record_choice_name (&mood_choices, 3), "?");
    assert_string_equal (record_choice_name (&mood_choices, -1), "?");
    assert_int_equal (record_choice_value (&mood_choices, "busy"), MOOD_BUSY);
    assert_int_equal (record_choice_value (&mood_choices, "Busy"), -1);
}

static void test_clone_is_deep (void **state)
{
    (void)state;
    char name[] = "first", value[] = "one";
    record_pair_t pair = {"KEY", value};
    point_t points[2] = {{.label = name}, {.label = "p"}};
    thing_t thing = named_thing (name), copy;
    thing.env = (record_map_t){&pair, 1};
    thing.trail.items = points;
    thing.trail.count = 2;
    thing.home.label = NULL;
    assert_int_equal (record_clone (&thing_record, &thing, &arena, &copy), 0);
    assert_true (record_equal (&thing_record, &thing, &copy));
    memcpy (name, "other", 5);
    memcpy (value, "two", 3);
    points[1].y = 99;
    assert_string_equal (copy.name, "first");
    assert_string_equal (copy.env.items[0].value, "one");
    assert_string_equal (copy.trail.items[0].label, "first");
    assert_int_equal (copy.trail.items[1].y, 0);
    assert_string_equal (copy.home.label, "");
    assert_false (record_equal (&thing_record, &thing, &copy));
}

static void test_clone_generated (void **state)
{
    (void)state;
    for (uint64_t history = 1; history < 300; history++) {
        seed = history;
        thing_t thing = any_thing (), copy;
        assert_int_equal (record_clone (&thing_record, &thing, &arena, &copy), 0);
        assert_true (record_equal (&thing_record, &thing, &copy));
        copy.shape.count++; /* one more than there are: the count alone must tell them apart */
        assert_false (record_equal (&thing_record, &thing, &copy));
        arena_reset (&arena);
    }
}

static void test_clone_at_the_limit (void **state)
{
    (void)state;
    seed = 5;
    thing_t thing = any_thing (), copy;
    for (size_t limit = 16; limit < 4000; limit += 16) {
        arena_t small;
        arena_init (&small, limit, NULL, 0);
        if (record_clone (&thing_record, &thing, &small, &copy) == 0)
            assert_true (record_equal (&thing_record, &thing, &copy));
        else
            assert_true (small.failed);
        arena_reset (&small);
    }
}

static void test_maps_compare_without_order (void **state)
{
    (void)state;
    thing_t a = named_thing ("x"), b = a;
    a.env = (record_map_t){(record_pair_t[]){{"A", "1"}, {"B", "2"}}, 2};
    b.env = (record_map_t){(record_pair_t[]){{"B", "2"}, {"A", "1"}}, 2};
    assert_true (record_equal (&thing_record, &a, &b));
    b.env.items[0].value = "3";
    assert_false (record_equal (&thing_record, &a, &b));
}

/*  ---- wire -------------------------------------------------------------- */

static void hex (const buffer_t *bytes, char *text)
{
    for (size_t i = 0; i < bytes->size; i++)
        sprintf (text + 2 * i, "%02x", bytes->data[i]);
}

static void test_golden_bytes (void **state)
{
    (void)state;
    thing_t thing = named_thing ("adder");
    thing.delta = -129;
    thing.count = 300;
    thing.blob = (record_bytes_t){(const uint8_t *)"\x00\xff", 2};
    memset (thing.key.bytes, 0x11, 32);
    thing.home.x = 1.5;
    thing.home.label = "hut";
    thing.command = (record_strings_t){(const char *[]){"ls", "-l"}, 2};
    thing.shape = (record_ints_t){(int64_t[]){-1, 128, -33}, 3};
    thing.env = (record_map_t){(record_pair_t[]){{"A", "b"}}, 1};
    point_t point = {.y = 65536};
    thing.trail.items = &point;
    thing.trail.count = 1;
    thing.index = UINT64_MAX;
    record_encode (&thing_record, &thing, &wire);
    char text[1000];
    hex (&wire, text);
    assert_string_equal (text, "dc0010"             /* 16 fields */
                               "c3"                 /* on: true */
                               "d1ff7f"             /* delta: int16 */
                               "cd012c"             /* count: uint16 */
                               "cd2328"             /* port: its default */
                               "cb3fe0000000000000" /* rate: float64 */
                               "a5"
                               "6164646572" /* name */
                               "c40200ff"   /* blob: bin8 */
                               "c420"
                               "1111111111111111111111111111111111111111111111111111111111111111"
                               "a0"                                 /* token */
                               "01"                                 /* mood: its number */
                               "93cb3ff800000000000007a3687574"     /* home */
                               "92a26c73a22d6c"                     /* command */
                               "93ffcc80d0df"                       /* shape */
                               "81a141a162"                         /* env */
                               "9193cb0000000000000000ce00010000a0" /* trail */
                               "cfffffffffffffffff");               /* index */
}

static void test_wire_round_trip_generated (void **state)
{
    (void)state;
    for (uint64_t history = 1; history < 2000; history++) {
        seed = history;
        thing_t thing = any_thing (), back;
        buffer_clear (&wire);
        record_encode (&thing_record, &thing, &wire);
        assert_true (msgpack_valid (wire.data, wire.size));
        if (record_decode (&thing_record, wire.data, wire.size, &arena, &back, &error))
            fail_msg ("seed %lu: %s", (unsigned long)history, error.text);
        assert_true (record_equal (&thing_record, &thing, &back));
        arena_reset (&arena);
    }
}

static void test_wire_truncated_everywhere (void **state)
{
    (void)state;
    seed = 11;
    thing_t thing = any_thing (), untouched = named_thing ("u"), back = untouched;
    record_encode (&thing_record, &thing, &wire);
    for (size_t size = 0; size < wire.size; size++) {
        uint8_t *cut = malloc (size ? size : 1);
        memcpy (cut, wire.data, size);
        assert_int_equal (record_decode (&thing_record, cut, size, &arena, &back, &error), -1);
        assert_int_equal (error.code, NEXUS_INVALID);
        assert_memory_equal (&back, &untouched, sizeof back);
        free (cut);
    }
}

static void test_wire_grows_both_ways (void **state)
{
    (void)state;
    old_t old = {.term = 3, .who = "me"}, old_back;
    newer_t newer = {.term = 4, .who = "you", .limit = 99}, newer_back;
    newer.place.label = "here";
    newer.places.items = (point_t[]){{.label = "a"}, {.label = "b"}};
    newer.places.count = 2;
    newer.notes = (record_map_t){(record_pair_t[]){{"k", "v"}}, 1};

    record_encode (&old_record, &old, &wire);
    assert_int_equal (
        record_decode (&newer_record, wire.data, wire.size, &arena, &newer_back, &error), 0);
    assert_int_equal (newer_back.term, 3);
    assert_int_equal (newer_back.limit, 12);
    assert_int_equal (newer_back.place.y, 7);
    assert_string_equal (newer_back.place.label, "");
    assert_int_equal (newer_back.places.count, 0);

    buffer_clear (&wire);
    record_encode (&newer_record, &newer, &wire);
    assert_int_equal (record_decode (&old_record, wire.data, wire.size, &arena, &old_back, &error),
                      0);
    assert_int_equal (old_back.term, 4);
    assert_string_equal (old_back.who, "you");
}

static void expect_refused (const record_t *record, const char *bytes, size_t size,
                            const char *message)
{
    union {
        thing_t thing;
        newer_t newer;
    } back;
    int rc = record_decode (record, (const uint8_t *)bytes, size, &arena, &back, &error);
    assert_int_equal (rc, -1);
    assert_string_equal (error.text, message);
    assert_int_equal (record_decode (record, (const uint8_t *)bytes, size, &arena, &back, NULL),
                      -1);
}
#define REFUSED(record, bytes, message) expect_refused (&record, bytes, sizeof bytes - 1, message)

static void test_wire_limits (void **state)
{
    (void)state;
    REFUSED (old_record, "\x92\x00\xa0", "old.term: expected an integer of at least 1, found 0");
    REFUSED (old_record, "\x92\xff\xa0", "old.term: expected an integer of at least 1, found -1");
    REFUSED (old_record, "\x92\xa1x\xa0",
             "old.term: expected an integer of at least 1, found \"x\"");
    REFUSED (old_record, "\x92\x01\xc0", "old.who: expected text of at most 4096 bytes, found nil");
    REFUSED (old_record, "\x92\x01\xc4\x01x",
             "old.who: expected text of at most 4096 bytes, found 1 bytes");
    REFUSED (old_record, "\x80", "old: expected the fields of old as a list, found a map of 0");
    REFUSED (old_record, "\x92\x01\xa2\xc3\x28",
             "old.who: expected UTF-8 text without control characters");
    REFUSED (old_record, "\x92\x01\xa1\x1b",
             "old.who: expected UTF-8 text without control characters");
    REFUSED (old_record, "\x92\x01\xa1\x00",
             "old.who: expected UTF-8 text without control characters");
    REFUSED (old_record, "\x93\x01\xa0",
             "old: 3 bytes that are not one well-formed msgpack object");
    REFUSED (point_record, "\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
             "point.x: expected a number from -1000 to 1000, found nan");
    REFUSED (point_record, "\x91\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
             "point.x: expected a number from -1000 to 1000, found inf");
    REFUSED (point_record, "\x92\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
             "point.y: expected an integer from -1000 to 1000, found 18446744073709551615");
    REFUSED (newer_record, "\x95\x01\xa0\x01\x90\x92\x90\x92\x01\xcd\x07\xd0",
             "newer.places[1].y: expected an integer from -1000 to 1000, found 2000");
    REFUSED (newer_record, "\x96\x01\xa0\x01\x90\x90\x82\xa1k\xa1v\xa1k\xa1w",
             "newer.notes.k: stands there twice");
    REFUSED (newer_record, "\x96\x01\xa0\x01\x90\x90\x81\x01\x02",
             "newer.notes[0]: expected text, found another type");
    /* A short list is no way around the limits. */
    REFUSED (old_record, "\x90", "old.term: missing: expected an integer of at least 1");
    REFUSED (strict_record, "\x91\xa0",
             "strict.inner.term: missing: expected an integer of at least 1");
    /* The secret's value stays out of the message. */
    REFUSED (thing_record,
             "\x99\xc3\x01\x01\x01\x01\xa1n\xc4\x00\xc4\x20"
             "01234567890123456789012345678901\x05",
             "thing.token: expected text of at most 4096 bytes, found something else");
    REFUSED (thing_record, "\x98\xc3\x01\x01\x01\x01\xa1n\xc4\x00\xc4\x02zz",
             "thing.key: expected a key of 32 bytes (64 hex digits), found 2 bytes");
}

static void test_wire_accepts_other_number_forms (void **state)
{
    (void)state;
    point_t back;
    const char bytes[] = "\x93\xca\x3f\xc0\x00\x00\xd2\xff\xff\xff\xff\xd9\x02hi";
    assert_int_equal (record_decode (&point_record, (const uint8_t *)bytes, sizeof bytes - 1,
                                     &arena, &back, &error),
                      0);
    assert_true (back.x == 1.5);
    assert_int_equal (back.y, -1);
    assert_string_equal (back.label, "hi");
    assert_int_equal (
        record_decode (&point_record, (const uint8_t *)"\x91\xff", 2, &arena, &back, &error), 0);
    assert_true (back.x == -1);
    assert_int_equal (back.y, 7);
    old_t old;
    assert_int_equal (
        record_decode (&old_record, (const uint8_t *)"\x92\xd0\x05\xa0", 4, &arena, &old, &error),
        0);
    assert_int_equal (old.term, 5);
}

static void test_decode_at_the_limit (void **state)
{
    (void)state;
    seed = 5;
    thing_t thing = any_thing (), back;
    record_encode (&thing_record, &thing, &wire);
    bool refused = false;
    for (size_t limit = 16; limit < 8000; limit += 16) {
        arena_t small;
        arena_init (&small, limit, NULL, 0);
        if (record_decode (&thing_record, wire.data, wire.size, &small, &back, &error)) {
            refused = true;
            assert_int_equal (error.code, NEXUS_EXHAUSTED);
        } else {
            assert_true (record_equal (&thing_record, &thing, &back));
        }
        arena_reset (&small);
    }
    assert_true (refused);
}

static void test_encode_past_a_limit (void **state)
{
    (void)state;
    seed = 5;
    thing_t thing = any_thing ();
    buffer_t small = {.limit = 40};
    record_encode (&thing_record, &thing, &small);
    assert_true (small.failed);
    assert_int_equal (small.size, 0);
    buffer_free (&small);
}

/*  ---- check ------------------------------------------------------------- */

static void expect_fault (size_t index, int line, const char *path, const char *message)
{
    assert_true (index < faults.count);
    assert_string_equal (faults.items[index].path, path);
    assert_string_equal (faults.items[index].message, message);
    assert_int_equal (faults.items[index].line, line);
}

static void test_check_finds_all (void **state)
{
    (void)state;
    thing_t thing = named_thing ("fine");
    assert_int_equal (record_check (&thing_record, &thing, &arena, &faults), 0);
    assert_int_equal (faults.count, 0);
    point_t points[2] = {{.x = NAN, .y = 1}, {.label = "123456789012345678901"}};
    thing.name = NULL;
    thing.port = 0;
    thing.mood = 3;
    thing.home.y = 1001;
    thing.token = "\x1b[31m";
    thing.command = (record_strings_t){(const char *[]){"ok", "\xff"}, 2};
    thing.env = (record_map_t){(record_pair_t[]){{"A", "1"}, {"A", "2"}}, 2};
    thing.trail.items = points;
    thing.trail.count = 2;
    assert_int_equal (record_check (&thing_record, &thing, &arena, &faults), -1);
    expect_fault (0, 0, "port", "expected an integer from 1 to 65535, found 0");
    expect_fault (1, 0, "name", "expected text of 1 to 63 bytes, found nothing (it is required)");
    expect_fault (2, 0, "token", "expected UTF-8 text without control characters");
    expect_fault (3, 0, "mood", "expected one of calm, busy, lost, found 3");
    expect_fault (4, 0, "home.y", "expected an integer from -1000 to 1000, found 1001");
    expect_fault (5, 0, "command[1]", "expected UTF-8 text without control characters");
    expect_fault (6, 0, "env.A", "stands there twice: keep one");
    expect_fault (7, 0, "trail[0].x", "expected a number from -1000 to 1000, found nan");
    expect_fault (8, 0, "trail[1].label", "expected text of at most 20 bytes, found 21 bytes");
    assert_int_equal (faults.count, 9);
    assert_string_equal (
        record_faults_text (
            &(record_faults_t){.items = {{"a.b", 3, "bad"}, {"", 0, "worse"}}, .count = 2},
            "x.yaml", &arena),
        "x.yaml:3: a.b: bad\nx.yaml: worse\n");
}

static void test_faults_are_bounded (void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        record_fault (&faults, &arena, "p", i, "%d", i);
    assert_int_equal (faults.count, 64);
    assert_string_equal (faults.items[63].message, "63");
}

/*  ---- JSON -------------------------------------------------------------- */

static thing_t loaded;

static int from_json (const record_t *record, const char *text, unsigned flags, void *value)
{
    json_error_t why;
    json_t *json = json_loads (text, JSON_REJECT_DUPLICATES, &why);
    if (!json)
        fail_msg ("the test's JSON: %s", why.text);
    faults.count = 0;
    int rc = record_from_json (record, json, flags, &arena, value, &faults);
    json_decref (json);
    assert_true ((rc == 0) == (faults.count == 0));
    return rc;
}

static void test_json_form (void **state)
{
    (void)state;
    thing_t thing = named_thing ("adder");
    thing.token = "geheim";
    thing.blob = (record_bytes_t){(const uint8_t *)"\x00\xff", 2};
    memset (thing.key.bytes, 0xab, 32);
    thing.count = UINT64_MAX;
    thing.shape = (record_ints_t){(int64_t[]){1, -2}, 2};
    thing.env = (record_map_t){(record_pair_t[]){{"A", "b"}}, 1};
    point_t point = {.x = 0.1};
    thing.trail.items = &point;
    thing.trail.count = 1;
    json_t *json = record_to_json (&thing_record, &thing, 0);
    char *text = json_dumps (json, JSON_COMPACT | JSON_REAL_PRECISION (17));
    assert_string_equal (
        text, "{\"on\":true,\"delta\":0,\"count\":\"18446744073709551615\",\"port\":9000,"
              "\"rate\":0.5,\"name\":\"adder\",\"blob\":\"AP8=\",\"key\":"
              "\"abababababababababababababababababababababababababababababababab\","
              "\"token\":\"***\",\"mood\":\"busy\",\"home\":{\"x\":0.0,\"y\":7,\"label\":\"\"},"
              "\"command\":[],\"shape\":[1,-2],\"env\":{\"A\":\"b\"},"
              "\"trail\":[{\"x\":0.10000000000000001,\"y\":0,\"label\":\"\"}],\"index\":0}");
    free (text);
    json_decref (json);
    json = record_to_json (&thing_record, &thing, RECORD_SHOW_SECRETS);
    assert_string_equal (json_string_value (json_object_get (json, "token")), "geheim");
    json_decref (json);
}

static void test_json_round_trip_generated (void **state)
{
    (void)state;
    for (uint64_t history = 1; history < 1000; history++) {
        seed = history;
        thing_t thing = any_thing (), back;
        json_t *json = record_to_json (&thing_record, &thing, RECORD_SHOW_SECRETS);
        /* By way of text, as it travels. */
        char *text = json_dumps (json, 0);
        json_decref (json);
        if (from_json (&thing_record, text, RECORD_ALLOW_READONLY, &back))
            fail_msg ("seed %lu: %s", (unsigned long)history,
                      record_faults_text (&faults, "json", &arena));
        assert_true (record_equal (&thing_record, &thing, &back));
        free (text);
        arena_reset (&arena);
    }
}

static void test_json_faults (void **state)
{
    (void)state;
    loaded = named_thing ("untouched");
    assert_int_equal (
        from_json (&thing_record,
                   "{\"name\": 5, \"on\": \"true\", \"count\": -1, \"port\": 1.5, \"mood\": 1,"
                   " \"home\": {\"x\": \"far\", \"z\": 1}, \"command\": [\"a\", 1, null],"
                   " \"shape\": {}, \"env\": {\"A\": 1}, \"trail\": [{}, 7], \"index\": 3,"
                   " \"token\": \"***\", \"key\": \"abc\", \"blob\": \"!\", \"comand\": []}",
                   0, &loaded),
        -1);
    size_t i = 0;
    expect_fault (i++, 0, "name", "expected text of 1 to 63 bytes, found 5");
    expect_fault (i++, 0, "on", "expected true or false, found \"true\"");
    expect_fault (i++, 0, "count", "expected an integer of at least 0, found -1");
    expect_fault (i++, 0, "port", "expected an integer from 1 to 65535, found 1.5");
    expect_fault (i++, 0, "mood", "expected one of calm, busy, lost, found 1");
    expect_fault (i++, 0, "home.x", "expected a number from -1000 to 1000, found \"far\"");
    expect_fault (i++, 0, "home.z", "not a field of point, which has: x, y, label");
    expect_fault (i++, 0, "command[1]", "expected text, found 1");
    expect_fault (i++, 0, "command[2]", "expected text, found nothing");
    expect_fault (i++, 0, "shape", "expected a list of at most 8 integers, found a map of 0");
    expect_fault (i++, 0, "env.A", "expected text, found 1");
    expect_fault (i++, 0, "trail[1]", "expected the fields of point, found 7");
    expect_fault (i++, 0, "index", "set by the cluster: leave it out");
    expect_fault (i++, 0, "token",
                  "*** stands for a secret that was not shown: give the secret itself");
    expect_fault (i++, 0, "key", "expected a key of 32 bytes (64 hex digits), found \"abc\"");
    expect_fault (i++, 0, "blob", "expected data of at most 2000 bytes, found \"!\"");
    expect_fault (i++, 0, "comand", "not a field of thing: did you mean \"command\"?");
    assert_int_equal (faults.count, i);
    assert_string_equal (loaded.name, "untouched");

    assert_int_equal (from_json (&thing_record, "[]", 0, &loaded), -1);
    expect_fault (0, 0, "", "expected the fields of thing, found a list of 0");
    assert_int_equal (from_json (&thing_record, "{\"name\": null}", 0, &loaded), -1);
    expect_fault (0, 0, "name", "missing: expected text of 1 to 63 bytes");
    assert_int_equal (from_json (&thing_record, "{\"name\": \"\"}", 0, &loaded), -1);
    expect_fault (0, 0, "name", "expected text of 1 to 63 bytes, found nothing (it is required)");
    assert_int_equal (from_json (&thing_record, "{\"name\": [[[[[[[[[[]]]]]]]]]]}", 0, &loaded),
                      -1);
    expect_fault (0, 0, "", "the document is nested too deeply: at most 8 levels");
    assert_int_equal (from_json (&thing_record, "{\"name\":\"x\",\"quux\":1}", 0, &loaded), -1);
    expect_fault (0, 0, "quux",
                  "not a field of thing, which has: on, delta, count, port, rate, name, blob, key, "
                  "token, mood, home, command, shape, env, trail, index");
}

static void test_json_optional (void **state)
{
    (void)state;
    assert_int_equal (from_json (&thing_record, "{\"name\": \"x\", \"home\": null}", 0, &loaded),
                      0);
    thing_t expected = named_thing ("x");
    assert_true (record_equal (&thing_record, &loaded, &expected));
    /* A field whose default is outside its own limits has to be given. */
    strict_t strict;
    assert_int_equal (from_json (&strict_record, "{}", 0, &strict), -1);
    expect_fault (0, 0, "inner.term", "missing: expected an integer of at least 1");
    assert_int_equal (from_json (&strict_record, "{\"inner\":{\"term\":2}}", 0, &strict), 0);
    assert_int_equal (strict.inner.term, 2);
}

/*  ---- YAML -------------------------------------------------------------- */

static int from_yaml (const record_t *record, const char *text, unsigned flags, void *value)
{
    faults.count = 0;
    int rc = record_from_yaml (record, text, strlen (text), flags, &arena, value, &faults);
    assert_true ((rc == 0) == (faults.count == 0));
    return rc;
}

static void test_yaml_as_people_write_it (void **state)
{
    (void)state;
    const char *text = "# a thing\n"
                       "name: adder   # its name\n"
                       "on: false\n"
                       "port: 8080\n"
                       "rate: 1e-3\n"
                       "token: 12345\n"
                       "mood: lost\n"
                       "home: {x: 1.5, label: 'the hut'}\n"
                       "command:\n"
                       "  - python\n"
                       "  - train.py\n"
                       "  - no\n"
                       "  - 1.10\n"
                       "shape: [2, -3]\n"
                       "env:\n"
                       "  A: 1\n"
                       "  \"B C\": |\n"
                       "    two\n"
                       "    lines\n"
                       "trail:\n"
                       "  - x: 1\n"
                       "    label: here\n"
                       "  - {y: 2}\n"
                       "delta:\n";
    if (from_yaml (&thing_record, text, 0, &loaded))
        fail_msg ("%s", record_faults_text (&faults, "x.yaml", &arena));
    assert_string_equal (loaded.name, "adder");
    assert_false (loaded.on);
    assert_int_equal (loaded.port, 8080);
    assert_true (loaded.rate == 0.001);
    assert_string_equal (loaded.token, "12345");
    assert_int_equal (loaded.mood, MOOD_LOST);
    assert_true (loaded.home.x == 1.5);
    assert_int_equal (loaded.home.y, 7);
    assert_string_equal (loaded.home.label, "the hut");
    assert_int_equal (loaded.command.count, 4);
    assert_string_equal (loaded.command.items[2], "no");
    assert_string_equal (loaded.command.items[3], "1.10");
    assert_int_equal (loaded.shape.items[1], -3);
    assert_string_equal (loaded.env.items[0].value, "1");
    assert_string_equal (loaded.env.items[1].key, "B C");
    assert_string_equal (loaded.env.items[1].value, "two\nlines\n");
    assert_int_equal (loaded.trail.count, 2);
    assert_string_equal (loaded.trail.items[0].label, "here");
    assert_int_equal (loaded.trail.items[1].y, 2);
}

static void test_yaml_faults_have_lines (void **state)
{
    (void)state;
    loaded = named_thing ("untouched");
    const char *text = "on: yes\n"
                       "port: 70000\n"
                       "prot: 80\n"
                       "home:\n"
                       "  x: 5000\n"
                       "  y: north\n"
                       "trail:\n"
                       "  - x: 1\n"
                       "  - x: 2\n"
                       "    lable: here\n"
                       "shape: 3\n"
                       "port: 80\n"
                       "env:\n"
                       "  A: 1\n"
                       "  B: [x]\n"
                       "  A: 2\n"
                       "command: [ok, \"bad\\e\"]\n";
    assert_int_equal (from_yaml (&thing_record, text, 0, &loaded), -1);
    size_t i = 0;
    expect_fault (i++, 1, "on", "expected true or false, found \"yes\"");
    expect_fault (i++, 2, "port", "expected an integer from 1 to 65535, found 70000");
    expect_fault (i++, 3, "prot", "not a field of thing: did you mean \"port\"?");
    expect_fault (i++, 5, "home.x", "expected a number from -1000 to 1000, found 5000");
    expect_fault (i++, 6, "home.y", "expected an integer from -1000 to 1000, found \"north\"");
    expect_fault (i++, 10, "trail[1].lable", "not a field of point: did you mean \"label\"?");
    expect_fault (i++, 11, "shape", "expected a list of at most 8 integers, found \"3\"");
    expect_fault (i++, 12, "port", "stands there twice (first in line 2): keep one");
    expect_fault (i++, 15, "env.B", "expected text, found a list of 1");
    expect_fault (i++, 16, "env.A", "stands there twice (first in line 14): keep one");
    expect_fault (i++, 17, "command[1]", "expected UTF-8 text without control characters");
    expect_fault (i++, 1, "name", "missing: expected text of 1 to 63 bytes");
    assert_int_equal (faults.count, i);
    assert_string_equal (loaded.name, "untouched");
    assert_non_null (strstr (record_faults_text (&faults, "thing.yaml", &arena),
                             "thing.yaml:3: prot: not a field of thing: did you mean \"port\"?\n"));
}

static void expect_yaml_refused (const char *text, int line, const char *message)
{
    loaded = named_thing ("untouched");
    assert_int_equal (from_yaml (&thing_record, text, 0, &loaded), -1);
    assert_int_equal (faults.count, 1);
    if (!strstr (faults.items[0].message, message))
        fail_msg ("expected \"%s\", found \"%s\"", message, faults.items[0].message);
    assert_int_equal (faults.items[0].line, line);
    assert_string_equal (loaded.name, "untouched");
}

static void test_yaml_refuses (void **state)
{
    (void)state;
    expect_yaml_refused ("name: x\ntoken: &a y\n", 2, "anchors");
    expect_yaml_refused ("name: x\ntoken: *a\n", 2, "anchors");
    expect_yaml_refused ("name: x\nhome: &h {x: 1}\n", 2, "anchors");
    expect_yaml_refused ("name: !str x\n", 1, "tags");
    expect_yaml_refused ("name: x\nhome:\n  <<: {x: 1}\n", 3, "merge keys");
    expect_yaml_refused ("name: x\n---\nname: y\n", 2, "one document");
    expect_yaml_refused ("name: x\n[a]: y\n", 2, "expected a name and a colon");
    expect_yaml_refused ("name: [[[[[[[[[[x]]]]]]]]]]\n", 1, "nested too deeply");
    expect_yaml_refused ("name: x\n\tport: 1\n", 2, "not YAML");
    expect_yaml_refused ("name: \"x\n", 2, "not YAML");
    expect_yaml_refused ("name: x\nport: {\n", 3, "not YAML");
    expect_yaml_refused ("name: x\xff\n", 1, "not YAML");
    expect_yaml_refused ("name: \"a\\0b\"\n", 1, "expected text of 1 to 63 bytes");
    expect_yaml_refused ("", 1, "missing");
    expect_yaml_refused ("# nothing but a comment\n", 1, "missing");
    expect_yaml_refused ("- name\n", 1, "expected the fields of thing, found a list of 1");
    expect_yaml_refused ("name: x\nport: 8080.5\n", 2, "found \"8080.5\"");
    expect_yaml_refused ("name: x\nrate: .nan\n", 2, "expected a number");
    expect_yaml_refused ("name: x\nrate: 1e999\n", 2, "expected a number");
    expect_yaml_refused ("name: x\ncount: 18446744073709551616\n", 2, "expected an integer");
    expect_yaml_refused ("name: x\ndelta: -9223372036854775809\n", 2, "expected an integer");
    /* "Billion laughs" has no first laugh. */
    expect_yaml_refused ("a: &a [x,x]\nb: &b [*a,*a]\nname: x\n", 1, "anchors");
}

static void test_yaml_is_bounded (void **state)
{
    (void)state;
    size_t size = (1 << 20) + 1;
    char *text = malloc (size + 1);
    memset (text, '\n', size);
    text[size] = 0;
    expect_yaml_refused (text, 0, "1048577 bytes");
    /* As many values as a megabyte holds. */
    memcpy (text, "shape: [", 8);
    for (size_t i = 8; i < size - 3; i++)
        text[i] = i % 2 ? ',' : '1';
    strcpy (text + size - 4, "]\n");
    expect_yaml_refused (text, 1, "at most 65536 values");
    /* As deep as a megabyte goes. */
    memset (text, '[', size - 1);
    text[size - 1] = 0;
    expect_yaml_refused (text, 1, "nested too deeply");
    memset (text, '{', size - 1);
    expect_yaml_refused (text, 1, "a list or map as a name");
    /* More faults than are kept. */
    size_t used = 0;
    for (int i = 0; i < 1000; i++)
        used += (size_t)sprintf (text + used, "unknown%d: 1\n", i);
    assert_int_equal (from_yaml (&thing_record, text, 0, &loaded), -1);
    assert_int_equal (faults.count, 64);
    free (text);
}

static void test_yaml_round_trip_generated (void **state)
{
    (void)state;
    for (uint64_t history = 1; history < 1000; history++) {
        seed = history;
        thing_t thing = any_thing (), back;
        if (below (3) == 0)
            thing.home = (point_t){.y = 7}; /* its defaults */
        buffer_clear (&wire);
        record_to_yaml (&thing_record, &thing, RECORD_SHOW_SECRETS, &wire);
        faults.count = 0;
        if (record_from_yaml (&thing_record, (const char *)wire.data, wire.size,
                              RECORD_ALLOW_READONLY, &arena, &back, &faults))
            fail_msg ("seed %lu: %s\n%.*s", (unsigned long)history,
                      record_faults_text (&faults, "yaml", &arena), (int)wire.size, wire.data);
        if (!record_equal (&thing_record, &thing, &back))
            fail_msg ("seed %lu:\n%.*s", (unsigned long)history, (int)wire.size, wire.data);
        arena_reset (&arena);
    }
}

static void test_yaml_form (void **state)
{
    (void)state;
    thing_t thing = named_thing ("adder");
    thing.token = "geheim";
    thing.command = (record_strings_t){(const char *[]){"echo", "a b", "", "true"}, 4};
    thing.shape = (record_ints_t){(int64_t[]){1, -2}, 2};
    thing.env = (record_map_t){(record_pair_t[]){{"A", "1\n2"}}, 1};
    thing.home.x = 0.1;
    point_t points[2] = {{.y = 7}, {.x = 1, .y = 7, .label = "there"}};
    thing.trail.items = points;
    thing.trail.count = 2;
    record_to_yaml (&thing_record, &thing, 0, &wire);
    buffer_append (&wire, "", 1);
    assert_string_equal ((char *)wire.data, "name: adder\n"
                                            "token: \"***\"\n"
                                            "home:\n"
                                            "  x: 0.1\n"
                                            "command:\n"
                                            "  - echo\n"
                                            "  - \"a b\"\n"
                                            "  - \"\"\n"
                                            "  - \"true\"\n"
                                            "shape: [1, -2]\n"
                                            "env:\n"
                                            "  A: \"1\\n2\"\n"
                                            "trail:\n"
                                            "  - {}\n"
                                            "  - x: 1\n"
                                            "    label: there\n");
    buffer_clear (&wire);
    point_t point;
    record_init (&point_record, &point);
    record_to_yaml (&point_record, &point, 0, &wire);
    assert_memory_equal (wire.data, "{}\n", 3);
}

static void test_documents_at_the_limit (void **state)
{
    (void)state;
    seed = 9;
    thing_t thing = any_thing (), back;
    record_to_yaml (&thing_record, &thing, RECORD_SHOW_SECRETS, &wire);
    bool refused = false;
    for (size_t limit = 16; limit < 20000; limit += 64) {
        arena_t small;
        arena_init (&small, limit, NULL, 0);
        record_faults_t found = {0};
        if (record_from_yaml (&thing_record, (const char *)wire.data, wire.size,
                              RECORD_ALLOW_READONLY, &small, &back, &found)) {
            refused = true;
            assert_true (found.count > 0);
        } else {
            assert_true (record_equal (&thing_record, &thing, &back));
        }
        arena_reset (&small);
    }
    assert_true (refused);
}

/*  ---- descriptions ------------------------------------------------------ */

static void test_schema (void **state)
{
    (void)state;
    json_t *schema = record_schema (&point_record);
    char *text = json_dumps (schema, JSON_COMPACT);
    assert_string_equal (
        text, "{\"type\":\"object\",\"description\":\"A point on the map.\",\"properties\":{"
              "\"x\":{\"type\":\"number\",\"minimum\":-1000,\"maximum\":1000,"
              "\"description\":\"East. (m)\"},"
              "\"y\":{\"type\":\"integer\",\"minimum\":-1000,\"maximum\":1000,"
              "\"description\":\"North.\",\"default\":7},"
              "\"label\":{\"type\":\"string\",\"maxLength\":20,"
              "\"description\":\"What stands there.\"}},\"additionalProperties\":false}");
    free (text);
    json_decref (schema);

    schema = record_schema (&thing_record);
    json_t *properties = json_object_get (schema, "properties");
    assert_int_equal (json_object_size (properties), thing_record.field_count);
    text = json_dumps (json_object_get (properties, "trail"), JSON_COMPACT);
    assert_string_equal (text, "{\"type\":\"array\",\"items\":{\"$ref\":"
                               "\"#/components/schemas/point\"},\"maxItems\":30,"
                               "\"description\":\"Where it was.\"}");
    free (text);
    text = json_dumps (json_object_get (properties, "mood"), JSON_COMPACT);
    assert_string_equal (text, "{\"type\":\"string\",\"enum\":[\"calm\",\"busy\",\"lost\"],"
                               "\"description\":\"How it feels.\",\"default\":\"busy\"}");
    free (text);
    assert_true (
        json_is_true (json_object_get (json_object_get (properties, "index"), "readOnly")));
    assert_true (
        json_is_true (json_object_get (json_object_get (properties, "token"), "writeOnly")));
    text = json_dumps (json_object_get (schema, "required"), JSON_COMPACT);
    assert_string_equal (text, "[\"name\"]");
    free (text);
    json_decref (schema);
}

static void test_reference (void **state)
{
    (void)state;
    record_reference (&point_record, &wire);
    record_reference (&newer_record, &wire);
    buffer_append (&wire, "", 1);
    const char *text = (char *)wire.data;
    assert_non_null (strstr (text, "### point\n\nA point on the map.\n\n"
                                   "| Field | Takes | Default | Meaning |\n"
                                   "| --- | --- | --- | --- |\n"
                                   "| `x` | a number from -1000 to 1000, m | `0` | East. |\n"
                                   "| `y` | an integer from -1000 to 1000 | `7` | North. |\n"));
    assert_non_null (strstr (text, "Places. See [point](#point). Since version 2. |\n"));
}

static void test_logfmt (void **state)
{
    (void)state;
    thing_t thing = named_thing ("two words");
    thing.token = "geheim";
    thing.blob = (record_bytes_t){(const uint8_t *)"abc", 3};
    thing.home.label = "a\nb";
    thing.command = (record_strings_t){(const char *[]){"ls", "-l x"}, 2};
    thing.env = (record_map_t){(record_pair_t[]){{"A", "b"}}, 1};
    point_t point = {.label = "p"};
    thing.trail.items = &point;
    thing.trail.count = 1;
    record_to_logfmt (&thing_record, &thing, &wire);
    buffer_append (&wire, "", 1);
    assert_string_equal ((char *)wire.data,
                         "on=true delta=0 count=0 port=9000 rate=0.5 name=\"two words\" blob=3B "
                         "mood=busy home.x=0 home.y=7 home.label=\"a\\nb\" command=[ls \"-l x\"] "
                         "env=[A=b] trail=[{x=0 y=0 label=p}] index=0");
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, setup, teardown)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (test_init_sets_defaults),
        TEST (test_enum_names),
        TEST (test_clone_is_deep),
        TEST (test_clone_generated),
        TEST (test_clone_at_the_limit),
        TEST (test_maps_compare_without_order),
        TEST (test_golden_bytes),
        TEST (test_wire_round_trip_generated),
        TEST (test_wire_truncated_everywhere),
        TEST (test_wire_grows_both_ways),
        TEST (test_wire_limits),
        TEST (test_wire_accepts_other_number_forms),
        TEST (test_decode_at_the_limit),
        TEST (test_encode_past_a_limit),
        TEST (test_check_finds_all),
        TEST (test_faults_are_bounded),
        TEST (test_json_form),
        TEST (test_json_round_trip_generated),
        TEST (test_json_faults),
        TEST (test_json_optional),
        TEST (test_yaml_as_people_write_it),
        TEST (test_yaml_faults_have_lines),
        TEST (test_yaml_refuses),
        TEST (test_yaml_is_bounded),
        TEST (test_yaml_round_trip_generated),
        TEST (test_yaml_form),
        TEST (test_documents_at_the_limit),
        TEST (test_schema),
        TEST (test_reference),
        TEST (test_logfmt),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
