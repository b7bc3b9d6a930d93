#include "storage/lmdb_check.h"
#include "storage/tables.h"
#include "temp_dir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TABLES = 3, MAP_SIZE = 256 << 20, VALUE_MAX = 40000 };
static const char *const names[TABLES] = {"a", "b", "c"};
static char bytes[VALUE_MAX];

static uint64_t state;
static uint64_t draw (uint64_t bound)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % bound;
}

static void assert_sound (const char *dir)
{
    char path[100];
    nexus_error_t error = {0};
    snprintf (path, sizeof path, "%s/data.mdb", dir);
    if (lmdb_check (path, MAP_SIZE, &error) != 0)
        fail_msg ("seed state %llx: %s", (unsigned long long)state, error.text);
}

/*  Puts, overwrites and deletes of all sizes, some of the same keys within one transaction. */
static void churn (tables_t *tables, size_t changes)
{
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    assert_non_null (txn);
    uint64_t keys = 1 + draw (2000), base = draw (3) * 1000;
    size_t size_max = draw (4) ? 300 : VALUE_MAX;
    bool shrink = draw (3) == 0;
    for (size_t i = 0; i < changes; i++) {
        char key[500];
        size_t table = draw (TABLES);
        int length = snprintf (key, sizeof key, "%llu", (unsigned long long)(base + draw (keys)));
        memset (key + length, 'k', sizeof key - (size_t)length);
        slice_t name = {key, table == 2 ? (size_t)length + draw (400) : (size_t)length};
        slice_t value = {bytes, draw (size_max)};
        if (draw (10) < (shrink ? 8 : 3))
            tables_delete (txn, table, name);
        else
            assert_int_equal (tables_put (txn, table, name, value, NULL), 0);
    }
    if (draw (8) == 0)
        tables_abort (&txn);
    else
        assert_int_equal (tables_commit (&txn, NULL), 0);
}

/*  Whatever LMDB writes must be found sound: a false alarm would keep a node down. */
static void test_no_false_alarm (void **unused)
{
    (void)unused;
    char dir[64];
    nexus_error_t error = {0};
    tables_txn_t *reader = NULL;
    state = getenv ("SEED") ? strtoull (getenv ("SEED"), NULL, 0) : 1;
    int rounds = getenv ("ROUNDS") ? atoi (getenv ("ROUNDS")) : 150;
    tables_t *tables = tables_open (temp_dir_new (dir), MAP_SIZE, names, TABLES, &error);
    assert_non_null (tables);
    assert_sound (dir);
    for (int round = 0; round < rounds; round++) {
        churn (tables, 1 + draw (draw (10) ? 50 : 1500));
        assert_sound (dir);
        if (draw (5) == 0) { /* a snapshot that keeps pages from being used again */
            tables_abort (&reader);
            reader = draw (2) ? tables_begin (tables, false, NULL) : NULL;
        }
        if (draw (20) == 0) {
            tables_abort (&reader);
            tables_close (&tables);
            tables = tables_open (dir, MAP_SIZE, names, TABLES, &error);
            if (!tables)
                fail_msg ("%s", error.text);
        }
    }
    tables_abort (&reader);
    tables_close (&tables);
    temp_dir_remove (dir);
}

static void test_killed_writer_leaves_it_sound (void **unused)
{
    (void)unused;
    char dir[64];
    temp_dir_new (dir);
    for (int round = 0; round < 8; round++) {
        int pipes[2];
        assert_int_equal (pipe (pipes), 0);
        pid_t child = fork ();
        if (child == 0) {
            state = (uint64_t)round;
            tables_t *tables = tables_open (dir, MAP_SIZE, names, TABLES, NULL);
            if (!tables || write (pipes[1], "x", 1) != 1)
                _exit (1);
            for (;;)
                churn (tables, 100);
        }
        char byte;
        close (pipes[1]);
        assert_int_equal (read (pipes[0], &byte, 1), 1);
        usleep (3000 + 1000 * (unsigned)round);
        kill (child, SIGKILL);
        waitpid (child, NULL, 0);
        close (pipes[0]);
        assert_sound (dir);
    }
    temp_dir_remove (dir);
}

/*  Single flipped bits anywhere in the file: none may end the process, neither in
    the check nor, where the check finds nothing (values, pages that are not in use), in
    reading all of it and writing on. */
static bool touch (void *context, slice_t key, slice_t value)
{
    uint64_t *sum = context;
    for (size_t i = 0; i < key.size; i++)
        *sum += ((const uint8_t *)key.data)[i];
    for (size_t i = 0; i < value.size; i++)
        *sum += ((const uint8_t *)value.data)[i];
    return true;
}

static uint64_t sum_of (tables_t *tables, bool *ret_failed)
{
    tables_txn_t *txn = tables_begin (tables, false, NULL);
    uint64_t sum = 0;
    for (size_t i = 0; txn && i < TABLES; i++)
        tables_each (txn, i, SLICE (""), SLICE (""), touch, &sum);
    *ret_failed = !txn || tables_failed (txn, NULL);
    tables_abort (&txn);
    return sum;
}

/*  sum: of what was written. */
static void use (const char *dir, uint64_t sum)
{
    bool failed;
    tables_t *tables = tables_open (dir, MAP_SIZE, names, TABLES, NULL);
    if (!tables)
        _exit (1);
    uint64_t found = sum_of (tables, &failed);
    if (failed)
        _exit (1);
    if (found != sum)
        _exit (2);
    for (int i = 0; i < 3; i++)
        churn (tables, 100);
    tables_close (&tables);
    _exit (0);
}

static void test_flipped_bits (void **unused)
{
    (void)unused;
    char dir[64], damaged[64], path[100];
    struct stat status;
    state = getenv ("SEED") ? strtoull (getenv ("SEED"), NULL, 0) : 7;
    int rounds = getenv ("ROUNDS") ? atoi (getenv ("ROUNDS")) : 150, refused = 0;
    tables_t *tables = tables_open (temp_dir_new (dir), MAP_SIZE, names, TABLES, NULL);
    assert_non_null (tables);
    for (int i = 0; i < 12; i++)
        churn (tables, 150);
    bool failed;
    uint64_t sum = sum_of (tables, &failed);
    assert_false (failed);
    tables_close (&tables);
    snprintf (path, sizeof path, "%s/data.mdb", dir);
    int fd = open (path, O_RDONLY);
    assert_int_equal (fstat (fd, &status), 0);
    size_t size = (size_t)status.st_size;
    uint8_t *file = malloc (size);
    assert_non_null (file);
    assert_int_equal (read (fd, file, size), size);
    close (fd);
    snprintf (path, sizeof path, "%s/data.mdb", temp_dir_new (damaged));
    for (int round = 0; round < rounds; round++) {
        size_t at = draw (size / 4096) * 4096 + draw (draw (2) ? 64 : 4096);
        uint8_t bit = (uint8_t)(1u << draw (8));
        file[at] ^= bit;
        fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal (write (fd, file, size), size);
        close (fd);
        file[at] ^= bit;
        pid_t child = fork ();
        if (child == 0)
            use (damaged, sum);
        int result;
        waitpid (child, &result, 0);
        if (!WIFEXITED (result))
            fail_msg ("bit %u of byte %zu (page %zu): signal %d", bit, at, at / 4096,
                      WTERMSIG (result));
        if (WEXITSTATUS (result) > 1)
            fail_msg ("bit %u of byte %zu (page %zu) is read as if it had been written", bit, at,
                      at / 4096);
        refused += WEXITSTATUS (result) == 1;
    }
    assert_true (refused > 0);
    free (file);
    temp_dir_remove (dir);
    temp_dir_remove (damaged);
}

static void test_odd_files (void **unused)
{
    (void)unused;
    char dir[64], path[100];
    nexus_error_t error = {0};
    snprintf (path, sizeof path, "%s/data.mdb", temp_dir_new (dir));
    assert_int_equal (lmdb_check (path, MAP_SIZE, &error), 0); /* not there */
    int fd = open (path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal (lmdb_check (path, MAP_SIZE, &error), 0); /* empty */
    for (int i = 0; i < 3; i++) {
        assert_int_equal (write (fd, bytes, 100), 100);
        assert_int_equal (lmdb_check (path, MAP_SIZE, &error), -1);
        assert_int_equal (error.code, NEXUS_CORRUPT);
        assert_non_null (strstr (error.text, path));
        assert_int_equal (ftruncate (fd, i * 5000), 0);
    }
    close (fd);
    temp_dir_remove (dir);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_no_false_alarm),
        cmocka_unit_test (test_killed_writer_leaves_it_sound),
        cmocka_unit_test (test_flipped_bits),
        cmocka_unit_test (test_odd_files),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
