#include "storage/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef uint32_t (crc_fn) (uint32_t crc, const void *data, size_t size);

static void check_vectors (crc_fn *crc)
{
    uint8_t bytes[48];
    /*  RFC 3720, appendix B.4. */
    memset (bytes, 0, 32);
    assert_int_equal (crc (0, bytes, 32), 0x8a9136aa);
    memset (bytes, 0xff, 32);
    assert_int_equal (crc (0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal (crc (0, bytes, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal (crc (0, bytes, 32), 0x113fdb5c);
    static const uint8_t read_command[48] = {
        [0] = 0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, 0x28, [40] = 0x02,
    };
    assert_int_equal (crc (0, read_command, 48), 0xd9963a56);
    /*  The check value of every catalogue of CRCs. */
    assert_int_equal (crc (0, "123456789", 9), 0xe3069283);
    assert_int_equal (crc (0, NULL, 0), 0);
}

static void test_vectors (void **state)
{
    (void)state;
    check_vectors (crc32c_portable);
    check_vectors (crc32c);
}

/*  At every length and alignment, and cut in two anywhere, both agree. */
static void test_agreement (void **state)
{
    (void)state;
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t from = 0; from < 9; from++)
        for (size_t size = 0; from + size <= 100; size++) {
            uint32_t whole = crc32c (0, bytes + from, size);
            assert_int_equal (whole, crc32c_portable (0, bytes + from, size));
            for (size_t cut = 0; cut <= size; cut += 7)
                assert_int_equal (
                    whole, crc32c (crc32c (0, bytes + from, cut), bytes + from + cut, size - cut));
        }
}

static void test_every_flip_is_found (void **state)
{
    (void)state;
    uint8_t bytes[64] = {1, 2, 3};
    uint32_t good = crc32c (0, bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal (crc32c (0, bytes, sizeof bytes), good);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_vectors),
        cmocka_unit_test (test_agreement),
        cmocka_unit_test (test_every_flip_is_found),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
