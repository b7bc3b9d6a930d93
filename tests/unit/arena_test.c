/*  Tests of arena and buffer. */
#include "runtime/arena.h"
#include "runtime/buffer.h"
#include "runtime/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sysexits.h>

static void test_memory_is_zeroed_and_aligned (void **state)
{
    (void)state;
    char first[100];
    memset (first, 0xff, sizeof first);
    arena_t arena;
    arena_init (&arena, 0, first + 1, sizeof first - 1); /* on purpose unaligned */
    for (size_t size = 0; size < 3000; size += 7) {
        char *data = arena_alloc (&arena, size);
        assert_non_null (data);
        assert_int_equal ((uintptr_t)data % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal (data[i], 0);
        memset (data, 0xff, size);
    }
    arena_reset (&arena);
    assert_int_equal (arena.used, 0);
}

static void test_first_block_is_used_first (void **state)
{
    (void)state;
    _Alignas(max_align_t) char first[64];
    arena_t arena;
    arena_init (&arena, 0, first, sizeof first);
    assert_ptr_equal (arena_alloc (&arena, 1), first);
    assert_null (arena.blocks);
    assert_non_null (arena_alloc (&arena, 64));
    assert_non_null (arena.blocks);
    arena_reset (&arena);
}

static void test_pieces_do_not_overlap (void **state)
{
    (void)state;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    enum { PIECES = 400 };
    unsigned char *pieces[PIECES];
    size_t sizes[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        sizes[i] = i * i % 20000; /* small ones, and ones with blocks of their own */
        pieces[i] = arena_alloc (&arena, sizes[i]);
        memset (pieces[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal (pieces[i][j], i & 0xff);
    arena_reset (&arena);
}

static void test_limit_is_sticky (void **state)
{
    (void)state;
    arena_t arena;
    arena_init (&arena, 1024, NULL, 0);
    assert_non_null (arena_alloc (&arena, 1000));
    assert_null (arena_alloc (&arena, 100));
    assert_true (arena.failed);
    assert_null (arena_alloc (&arena, 1));
    assert_null (arena_strdup (&arena, "x"));
    assert_null (arena_printf (&arena, "x"));
    arena_reset (&arena);
    assert_false (arena.failed);
    assert_non_null (arena_alloc (&arena, 1000));
    assert_null (arena_alloc (&arena, SIZE_MAX));
    arena_reset (&arena);
    assert_null (arena_alloc (&arena, SIZE_MAX - 40));
    arena_reset (&arena);
}

static void test_copies (void **state)
{
    (void)state;
    arena_t arena;
    arena_init (&arena, 0, NULL, 0);
    assert_null (arena_strdup (&arena, NULL));
    assert_null (arena_copy (&arena, NULL, 4));
    assert_null (arena_strndup (&arena, NULL, 4));
    assert_string_equal (arena_strdup (&arena, "gradient"), "gradient");
    assert_string_equal (arena_strndup (&arena, "gradient", 4), "grad");
    assert_string_equal (arena_printf (&arena, "%d-%s", 42, "x"), "42-x");
    assert_memory_equal (arena_copy (&arena, "a\0b", 3), "a\0b", 3);
    arena_reset (&arena);
}

static void test_buffer_grows (void **state)
{
    (void)state;
    buffer_t buffer = {0};
    for (int i = 0; i < 10000; i++)
        buffer_append (&buffer, &(uint8_t){(uint8_t)i}, 1);
    assert_int_equal (buffer.size, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal (buffer.data[i], (uint8_t)i);
    buffer_clear (&buffer);
    char text[600];
    memset (text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    buffer_printf (&buffer, "%s", text);
    buffer_printf (&buffer, "%d", 7);
    assert_int_equal (buffer.size, 600);
    assert_int_equal (buffer.data[599], '7');
    uint8_t *room = buffer_reserve (&buffer, 3);
    memcpy (room, "abc", 3);
    buffer.size += 3;
    assert_memory_equal (buffer.data + 599, "7abc", 4);
    buffer_free (&buffer);
    assert_null (buffer.data);
}

static void test_buffer_limit (void **state)
{
    (void)state;
    buffer_t buffer = {.limit = 10};
    buffer_append (&buffer, "0123456789", 10);
    assert_false (buffer.failed);
    assert_int_equal (buffer.size, 10);
    buffer_append (&buffer, "x", 1);
    assert_true (buffer.failed);
    assert_int_equal (buffer.size, 0);
    buffer_printf (&buffer, "x");
    assert_int_equal (buffer.size, 0);
    assert_null (buffer_reserve (&buffer, SIZE_MAX));
    buffer_clear (&buffer);
    buffer_printf (&buffer, "%s", "0123456789");
    assert_int_equal (buffer.size, 10);
    assert_false (buffer.failed);
    buffer_free (&buffer);
}

static void test_error_texts (void **state)
{
    (void)state;
    nexus_error_t error;
    assert_int_equal (nexus_error_set (NULL, NEXUS_IO, "x"), -1);
    assert_int_equal (nexus_error_set (&error, NEXUS_NOT_FOUND, "no job %d", 7), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    assert_string_equal (error.text, "no job 7");
    nexus_error_prefix (&error, "%s: ", "ledger");
    assert_string_equal (error.text, "ledger: no job 7");
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    nexus_error_set (&error, NEXUS_IO, "again: %s", error.text);
    assert_string_equal (error.text, "again: ledger: no job 7");

    /* A cut never tears a character. */
    char text[600];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy (text + i, "\xc3\xa4", 3);
    nexus_error_set (&error, NEXUS_IO, "%s", text);
    assert_int_equal (strlen (error.text), 498);
    nexus_error_set (&error, NEXUS_IO, "x%s", text);
    assert_int_equal (strlen (error.text), 499);
}

static void test_every_code_has_a_name (void **state)
{
    (void)state;
    for (int a = 0; a < NEXUS_CODES; a++) {
        assert_non_null (nexus_code_name ((nexus_code_t)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal (nexus_code_name ((nexus_code_t)a),
                                     nexus_code_name ((nexus_code_t)b));
        assert_true (nexus_code_http ((nexus_code_t)a) >= (a ? 400 : 200));
        assert_true (a == 0 || nexus_code_exit ((nexus_code_t)a) >= EX__BASE);
    }
    assert_string_equal (nexus_code_name (NEXUS_NOT_FOUND), "not_found");
    assert_int_equal (nexus_code_http (NEXUS_EXISTS), 409);
    assert_int_equal (nexus_code_exit (NEXUS_INVALID), EX_DATAERR);
    assert_string_equal (nexus_code_name ((nexus_code_t)99), "unknown");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_memory_is_zeroed_and_aligned),
        cmocka_unit_test (test_first_block_is_used_first),
        cmocka_unit_test (test_pieces_do_not_overlap),
        cmocka_unit_test (test_limit_is_sticky),
        cmocka_unit_test (test_copies),
        cmocka_unit_test (test_buffer_grows),
        cmocka_unit_test (test_buffer_limit),
        cmocka_unit_test (test_error_texts),
        cmocka_unit_test (test_every_code_has_a_name),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
