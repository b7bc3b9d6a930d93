/*  The simulator's disk: what is readable, what is durable, what a crash leaves. */
#include "runtime/simulator_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int64_t now;

static sim_disk_t *disk_new (double unsynced_lost, double tear)
{
    now = 1000;
    return sim_disk_new (
        &now, 7, &(sim_disk_config_t){.flush_ms = 1, .unsynced_lost = unsynced_lost, .tear = tear});
}

static void write_text (sim_disk_t *disk, uint64_t key, const char *text)
{
    sim_disk_write (disk, key, text, strlen (text));
}

/*  The record as text, "-" if there is none. */
static const char *read_text (sim_disk_t *disk, uint64_t key, bool durable)
{
    static char text[64];
    const uint8_t *data;
    size_t size;
    bool there = durable ? sim_disk_read_durable (disk, key, &data, &size)
                         : sim_disk_read (disk, key, &data, &size);
    if (!there)
        return "-";
    memcpy (text, data, size);
    text[size] = 0;
    return text;
}

static void durable_after_the_flush (void **state)
{
    (void)state;
    sim_disk_t *disk = disk_new (1, 0);
    write_text (disk, 1, "one");
    assert_string_equal (read_text (disk, 1, false), "one");
    int64_t wait = sim_disk_commit (disk);
    assert_in_range (wait, 500000, 1500000);
    write_text (disk, 2, "two"); /* of the next commit */
    now += wait - 1;
    assert_string_equal (read_text (disk, 1, true), "-");
    now += 1;
    assert_string_equal (read_text (disk, 1, true), "one");
    assert_string_equal (read_text (disk, 2, true), "-");
    sim_disk_crash (disk);
    assert_string_equal (read_text (disk, 1, false), "one");
    assert_string_equal (read_text (disk, 2, false), "-");
    sim_disk_destroy (&disk);
    assert_null (disk);
}

static void a_crash_loses_overwrites_and_erasures_too (void **state)
{
    (void)state;
    sim_disk_t *disk = disk_new (1, 0);
    for (uint64_t key = 1; key <= 5; key++)
        write_text (disk, key, "old");
    now += sim_disk_commit (disk);
    write_text (disk, 2, "new");
    sim_disk_erase (disk, 4, UINT64_MAX);
    sim_disk_commit (disk);
    assert_string_equal (read_text (disk, 2, false), "new");
    assert_string_equal (read_text (disk, 4, false), "-");
    sim_disk_crash (disk);
    assert_string_equal (read_text (disk, 2, false), "old");
    assert_string_equal (read_text (disk, 4, false), "old");
    sim_disk_erase (disk, 4, UINT64_MAX);
    now += sim_disk_commit (disk);
    sim_disk_crash (disk);
    assert_string_equal (read_text (disk, 3, false), "old");
    assert_string_equal (read_text (disk, 4, false), "-");
    uint64_t key;
    assert_true (sim_disk_next (disk, 3, &key) && key == 3);
    assert_false (sim_disk_next (disk, 4, &key));
    sim_disk_destroy (&disk);
}

/*  Whole commits, and a prefix of them. */
static void what_survives_is_a_prefix (void **state)
{
    (void)state;
    unsigned lengths[9] = {0};
    for (int round = 0; round < 200; round++) {
        sim_disk_t *disk = sim_disk_new (&now, (uint64_t)round,
                                         &(sim_disk_config_t){.flush_ms = 1, .unsynced_lost = 0.3});
        for (uint64_t key = 1; key <= 8; key += 2) {
            write_text (disk, key, "x");
            write_text (disk, key + 1, "y");
            sim_disk_commit (disk);
            now++; /* no two flushes end at one time */
        }
        write_text (disk, 9, "open");
        sim_disk_crash (disk);
        assert_string_equal (read_text (disk, 9, false), "-");
        uint64_t length = 0;
        while (length < 8 && strcmp (read_text (disk, length + 1, false), "-") != 0)
            length++;
        uint64_t key;
        assert_false (sim_disk_next (disk, length + 1, &key));
        assert_int_equal (length % 2, 0);
        lengths[length]++;
        sim_disk_destroy (&disk);
    }
    assert_true (lengths[0] && lengths[2] && lengths[4] && lengths[8]);
}

static void torn_writes (void **state)
{
    (void)state;
    unsigned torn = 0;
    for (int round = 0; round < 50; round++) {
        sim_disk_t *disk =
            sim_disk_new (&now, (uint64_t)round,
                          &(sim_disk_config_t){.flush_ms = 1, .unsynced_lost = 1, .tear = 1});
        write_text (disk, 1, "abcdefgh");
        write_text (disk, 2, "abcdefgh");
        sim_disk_commit (disk);
        sim_disk_crash (disk);
        const uint8_t *data;
        size_t size, head = 0;
        assert_true (sim_disk_read (disk, 1, &data, &size));
        assert_int_equal (size, 8);
        while (head < size && data[head] == "abcdefgh"[head])
            head++;
        assert_true (head < size);
        for (size_t i = head; i < size; i++)
            assert_int_equal (data[i], 0);
        torn += head > 0;
        assert_false (sim_disk_read (disk, 2, &data, &size));
        sim_disk_destroy (&disk);
    }
    assert_true (torn > 25);
}

static void rot_flips_a_bit (void **state)
{
    (void)state;
    sim_disk_t *disk = disk_new (1, 0);
    assert_false (sim_disk_rot (disk, 1));
    write_text (disk, 1, "abc");
    now += sim_disk_commit (disk);
    assert_true (sim_disk_rot (disk, 1));
    assert_string_not_equal (read_text (disk, 1, false), "abc");
    sim_disk_crash (disk);
    assert_string_not_equal (read_text (disk, 1, false), "abc");
    sim_disk_destroy (&disk);
}

static void flushes_end_in_order (void **state)
{
    (void)state;
    sim_disk_t *disk = disk_new (1, 0);
    sim_disk_configure (disk, &(sim_disk_config_t){.flush_ms = 1, .stall = 1});
    int64_t slow = sim_disk_commit (disk);
    assert_true (slow >= 50000000);
    sim_disk_configure (disk, &(sim_disk_config_t){.flush_ms = 1});
    assert_true (sim_disk_commit (disk) >= slow);
    sim_disk_destroy (&disk);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (durable_after_the_flush),
        cmocka_unit_test (a_crash_loses_overwrites_and_erasures_too),
        cmocka_unit_test (what_survives_is_a_prefix),
        cmocka_unit_test (torn_writes),
        cmocka_unit_test (rot_flips_a_bit),
        cmocka_unit_test (flushes_end_in_order),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
