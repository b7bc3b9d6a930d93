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
    for (seed = 1; seed < 300; seed += 1) {
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
    for (seed = 1; seed < 2000; seed += 1) {
        thing_t thing = any_thing (), back;
        buffer_clear (&wire);
        record_encode (&thing_record, &thing, &wire);
        assert_true (msgpack_valid (wire.data, wire.size));
        if (record_decode (&thing_record, wire.data, wire.size, &arena, &back, &error))
            fail_msg ("seed %lu: %s", (unsigned long)seed, error.text);
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
    REFUSED (old_record, "\x90", "old.term: missing: expected an integer of at least 1, found 0");
    REFUSED (strict_record, "\x91\xa0",
             "strict.inner.term: missing: expected an integer of at least 1, found 0");
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
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
