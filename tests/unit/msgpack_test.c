/*  Tests of msgpack_valid: bytes from nobody knows whom. */
#include "runtime/buffer.h"
#include "runtime/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define VALID(...) \
    msgpack_valid ((const uint8_t[]){__VA_ARGS__}, sizeof ((const uint8_t[]){__VA_ARGS__}))

static void test_every_type (void **state)
{
    (void)state;
    assert_true (VALID (0x00));
    assert_true (VALID (0x7f));
    assert_true (VALID (0xe0));
    assert_true (VALID (0xff));
    assert_true (VALID (0xc0));
    assert_true (VALID (0xc2));
    assert_true (VALID (0xc3));
    assert_true (VALID (0xcc, 1));
    assert_true (VALID (0xcd, 1, 2));
    assert_true (VALID (0xce, 1, 2, 3, 4));
    assert_true (VALID (0xcf, 1, 2, 3, 4, 5, 6, 7, 8));
    assert_true (VALID (0xd0, 1));
    assert_true (VALID (0xd1, 1, 2));
    assert_true (VALID (0xd2, 1, 2, 3, 4));
    assert_true (VALID (0xd3, 1, 2, 3, 4, 5, 6, 7, 8));
    assert_true (VALID (0xca, 1, 2, 3, 4));
    assert_true (VALID (0xcb, 1, 2, 3, 4, 5, 6, 7, 8));
    assert_true (VALID (0xa0));
    assert_true (VALID (0xa2, 'h', 'i'));
    assert_true (VALID (0xd9, 1, 'x'));
    assert_true (VALID (0xda, 0, 1, 'x'));
    assert_true (VALID (0xdb, 0, 0, 0, 1, 'x'));
    assert_true (VALID (0xc4, 1, 'x'));
    assert_true (VALID (0xc5, 0, 1, 'x'));
    assert_true (VALID (0xc6, 0, 0, 0, 1, 'x'));
    assert_true (VALID (0x90));
    assert_true (VALID (0x92, 1, 2));
    assert_true (VALID (0xdc, 0, 1, 9));
    assert_true (VALID (0xdd, 0, 0, 0, 1, 9));
    assert_true (VALID (0x80));
    assert_true (VALID (0x81, 1, 2));
    assert_true (VALID (0xde, 0, 1, 1, 2));
    assert_true (VALID (0xdf, 0, 0, 0, 1, 1, 2));
    assert_true (VALID (0x92, 0x90, 0x80));
}

static void test_refused (void **state)
{
    (void)state;
    assert_false (msgpack_valid ((const uint8_t *)"", 0));
    assert_false (VALID (0xc1));
    for (int ext = 0xc7; ext <= 0xc9; ext++)
        assert_false (VALID ((uint8_t)ext, 0, 0, 0, 0, 0, 0));
    for (int ext = 0xd4; ext <= 0xd8; ext++)
        assert_false (VALID ((uint8_t)ext, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    assert_false (VALID (0x01, 0x02));       /* something behind */
    assert_false (VALID (0x90, 0x90));       /* the same */
    assert_false (VALID (0x92, 1));          /* an element short */
    assert_false (VALID (0x81, 1));          /* a key without value */
    assert_false (VALID (0x91, 0xd4, 0, 0)); /* ext inside */
}

static void test_huge_claims (void **state)
{
    (void)state;
    assert_false (VALID (0xdd, 0xff, 0xff, 0xff, 0xff));
    assert_false (VALID (0xdf, 0xff, 0xff, 0xff, 0xff));
    assert_false (VALID (0xdf, 0x80, 0, 0, 0, 1, 2));
    assert_false (VALID (0xdb, 0xff, 0xff, 0xff, 0xff, 'x'));
    assert_false (VALID (0xc6, 0xff, 0xff, 0xff, 0xff, 'x'));
    assert_false (VALID (0xdc, 0xff, 0xff, 1, 2, 3));
    assert_false (VALID (0xdd, 0, 0, 0, 4, 1, 2, 3));
    assert_false (VALID (0xde, 0, 2, 1, 2, 3));
    /* Nested claims, each within the bytes left: the last one must fall short. */
    uint8_t nested[4000];
    memset (nested, 0, sizeof nested);
    memcpy (nested, "\xdc\x0f\x00\xdc\x0f\x00\xdc\x0f\x00", 9);
    assert_false (msgpack_valid (nested, sizeof nested));
}

static void test_depth (void **state)
{
    (void)state;
    uint8_t arrays[20];
    memset (arrays, 0x91, sizeof arrays);
    arrays[8] = 0x01;
    assert_true (msgpack_valid (arrays, 9)); /* eight lists around a number */
    arrays[8] = 0x90;
    assert_false (msgpack_valid (arrays, 9)); /* a ninth, though empty */
    arrays[8] = 0x91;
    arrays[9] = 0x01;
    assert_false (msgpack_valid (arrays, 10));
    /* Depth is given back when a container ends. */
    uint8_t row[2 + 3 * 7];
    memset (row, 0x91, sizeof row);
    row[0] = 0x93;
    size_t at = 1;
    for (int i = 0; i < 3; i++) {
        memset (row + at, 0x91, 6);
        row[at + 6] = 0x90;
        at += 7;
    }
    assert_true (msgpack_valid (row, at));
    /* A bomb: a megabyte of opened lists. */
    size_t size = 1 << 20;
    uint8_t *bomb = malloc (size);
    memset (bomb, 0x91, size);
    assert_false (msgpack_valid (bomb, size));
    memset (bomb, 0x81, size);
    assert_false (msgpack_valid (bomb, size));
    free (bomb);
}

/*  A large valid message, by msgpack-c's own packer. */
static void pack_sample (msgpack_sbuffer *out)
{
    msgpack_packer packer;
    msgpack_packer_init (&packer, out, msgpack_sbuffer_write);
    msgpack_pack_array (&packer, 8);
    msgpack_pack_int64 (&packer, -5000000000);
    msgpack_pack_uint64 (&packer, UINT64_MAX);
    msgpack_pack_double (&packer, 2.5);
    msgpack_pack_nil (&packer);
    char text[300];
    memset (text, 't', sizeof text);
    msgpack_pack_str (&packer, sizeof text);
    msgpack_pack_str_body (&packer, text, sizeof text);
    msgpack_pack_bin (&packer, 10);
    msgpack_pack_bin_body (&packer, text, 10);
    msgpack_pack_map (&packer, 20);
    for (int i = 0; i < 20; i++) {
        msgpack_pack_int (&packer, i);
        msgpack_pack_array (&packer, 1);
        msgpack_pack_true (&packer);
    }
    msgpack_pack_array (&packer, 20);
    for (int i = 0; i < 20; i++)
        msgpack_pack_int (&packer, i * 1000);
}

static void test_truncated_at_every_byte (void **state)
{
    (void)state;
    msgpack_sbuffer sample;
    msgpack_sbuffer_init (&sample);
    pack_sample (&sample);
    assert_true (msgpack_valid ((const uint8_t *)sample.data, sample.size));
    for (size_t size = 0; size < sample.size; size++) {
        /* A copy of that very size, so that a sanitizer sees any read behind it. */
        uint8_t *cut = malloc (size ? size : 1);
        memcpy (cut, sample.data, size);
        assert_false (msgpack_valid (cut, size));
        free (cut);
    }
    char *longer = malloc (sample.size + 1);
    memcpy (longer, sample.data, sample.size);
    longer[sample.size] = 0;
    assert_false (msgpack_valid ((const uint8_t *)longer, sample.size + 1));
    free (longer);
    msgpack_sbuffer_destroy (&sample);
}

/*  What passes must also be msgpack to msgpack-c (which accepts more: depth, ext). */
static void test_agrees_with_msgpack_c (void **state)
{
    (void)state;
    msgpack_sbuffer sample;
    msgpack_sbuffer_init (&sample);
    pack_sample (&sample);
    uint64_t random = 42;
    size_t passed = 0;
    char *mutant = malloc (sample.size);
    for (int round = 0; round < 20000; round++) {
        memcpy (mutant, sample.data, sample.size);
        for (int i = 0; i < 2; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            mutant[(random >> 33) % sample.size] = (char)(random >> 56);
        }
        if (!msgpack_valid ((const uint8_t *)mutant, sample.size))
            continue;
        passed++;
        msgpack_unpacked unpacked;
        msgpack_unpacked_init (&unpacked);
        size_t offset = 0;
        assert_int_equal (msgpack_unpack_next (&unpacked, mutant, sample.size, &offset),
                          MSGPACK_UNPACK_SUCCESS);
        assert_int_equal (offset, sample.size);
        msgpack_unpacked_destroy (&unpacked);
    }
    assert_true (passed > 1000 && passed < 20000);
    free (mutant);
    msgpack_sbuffer_destroy (&sample);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_every_type),
        cmocka_unit_test (test_refused),
        cmocka_unit_test (test_huge_claims),
        cmocka_unit_test (test_depth),
        cmocka_unit_test (test_truncated_at_every_byte),
        cmocka_unit_test (test_agrees_with_msgpack_c),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
