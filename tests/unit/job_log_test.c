#include "storage/job_log.h"
#include "temp_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const job_log_run_t run = {.job = "train-7", .rank = 3, .attempt = 1};

static job_log_t *open_log (const char *dir, uint64_t segment, unsigned keep)
{
    nexus_error_t error = {0};
    job_log_config_t config = {dir, segment, keep};
    job_log_t *log = job_log_open (&config, &run, &error);
    if (!log)
        fail_msg ("%s", error.text);
    return log;
}

/*  Byte i of the stream. */
static char byte_at (uint64_t i)
{
    return (char)('a' + i * 7 % 26);
}

static void append (job_log_t *log, size_t size)
{
    char *bytes = malloc (size + 1);
    assert_non_null (bytes);
    uint64_t from = job_log_end_offset (log);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at (from + i);
    nexus_error_t error = {0};
    if (job_log_append (log, bytes, size, &error) != 0)
        fail_msg ("%s", error.text);
    assert_int_equal (job_log_end_offset (log), from + size);
    free (bytes);
}

/*  Reads on in pieces until there is no more; every byte must be the right one. */
static uint64_t read_all (const char *dir, uint64_t offset, size_t piece, bool *ret_end)
{
    char *bytes = malloc (piece);
    assert_non_null (bytes);
    for (;;) {
        nexus_error_t error = {0};
        job_log_position_t position;
        int64_t got = job_log_read (dir, &run, offset, bytes, piece, &position, &error);
        if (got < 0)
            fail_msg ("%s", error.text);
        *ret_end = position.end;
        assert_int_equal (position.next, position.offset + (uint64_t)got);
        for (int64_t i = 0; i < got; i++)
            assert_int_equal (bytes[i], byte_at (position.offset + (uint64_t)i));
        if (got == 0)
            break;
        assert_int_equal (position.offset, offset);
        offset = position.next;
    }
    free (bytes);
    return offset;
}

static void test_append_and_read (void **state)
{
    (void)state;
    char dir[64];
    bool end;
    job_log_t *log = open_log (temp_dir_new (dir), 0, 0);
    assert_int_equal (read_all (dir, 0, 100, &end), 0);
    append (log, 10);
    append (log, 0);
    append (log, 5000);
    assert_int_equal (read_all (dir, 0, 100, &end), 5010);
    assert_int_equal (read_all (dir, 4999, 100, &end), 5010);
    assert_false (end);
    assert_int_equal (job_log_finish (log, NULL), 0);
    assert_int_equal (read_all (dir, 0, 100, &end), 5010);
    assert_true (end);
    job_log_close (&log);
    assert_null (log);
    job_log_close (&log);
    /*  The last piece says that it is the last. */
    char bytes[100];
    job_log_position_t position;
    assert_int_equal (job_log_read (dir, &run, 5000, bytes, 100, &position, NULL), 10);
    assert_true (position.end);
    assert_int_equal (job_log_read (dir, &run, 5000, bytes, 9, &position, NULL), 9);
    assert_false (position.end);
    temp_dir_remove (dir);
}

static void test_rotation (void **state)
{
    (void)state;
    char dir[64], bytes[100];
    bool end;
    job_log_position_t position;
    nexus_error_t error = {0};
    job_log_t *log = open_log (temp_dir_new (dir), 1000, 3);
    for (int i = 0; i < 70; i++)
        append (log, 77); /* 5,390 bytes: segments 3000, 4000, 5000 are left */
    assert_int_equal (read_all (dir, 3000, 64, &end), 5390);
    assert_int_equal (job_log_read (dir, &run, 2999, bytes, 100, &position, &error), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    assert_int_equal (position.first, 3000);
    assert_non_null (strstr (error.text, "3000"));
    assert_int_equal (job_log_read (dir, &run, 0, bytes, 100, &position, &error), -1);
    assert_int_equal (position.first, 3000);
    assert_int_equal (job_log_read (dir, &run, 5391, bytes, 100, &position, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    append (log, 10000); /* in one piece, many segments */
    assert_int_equal (read_all (dir, 13000, 3000, &end), 15390);
    job_log_close (&log);
    /*  Opened again, it goes on where it was. */
    log = open_log (dir, 1000, 3);
    assert_int_equal (job_log_end_offset (log), 15390);
    append (log, 1000);
    assert_int_equal (read_all (dir, 14000, 64, &end), 16390);
    job_log_close (&log);
    temp_dir_remove (dir);
}

static void test_runs_are_apart (void **state)
{
    (void)state;
    char dir[64], bytes[10];
    job_log_config_t config = {.dir = temp_dir_new (dir)};
    static const job_log_run_t runs[] = {
        {"a", 1, 1}, {"a", 1, 2}, {"a", 11, 1}, {"b", 1, 1}, {"a.1", 1, 1}};
    job_log_position_t position;
    nexus_error_t error;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal (job_log_read (dir, &runs[i], 0, bytes, 10, &position, &error), -1);
        assert_int_equal (error.code, NEXUS_NOT_FOUND);
        assert_int_equal (position.first, 0);
        job_log_t *log = job_log_open (&config, &runs[i], &error);
        assert_non_null (log);
        assert_int_equal (job_log_append (log, &"vwxyz"[i], 1, &error), 0);
        job_log_close (&log);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal (job_log_read (dir, &runs[i], 0, bytes, 10, &position, &error), 1);
        assert_int_equal (bytes[0], "vwxyz"[i]);
    }
    assert_int_equal (job_log_remove (dir, "a", &error), 0);
    assert_int_equal (job_log_remove (dir, "a", &error), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal (job_log_read (dir, &runs[i], 0, bytes, 10, &position, &error),
                          i < 3 ? -1 : 1);
    temp_dir_remove (dir);
}

static size_t count_files (const char *path)
{
    DIR *dir = opendir (path);
    assert_non_null (dir);
    size_t count = 0;
    for (const struct dirent *item; (item = readdir (dir));)
        count += strcmp (item->d_name, ".") != 0 && strcmp (item->d_name, "..") != 0;
    closedir (dir);
    return count;
}

/*  Whatever the id, nothing appears outside the directory, and no two ids share a name. */
static void test_hostile_ids (void **state)
{
    (void)state;
    static const char *const ids[] = {"..",  ".",     "../../etc", "/etc/passwd", "a/b", "%2E%2E",
                                      "\n",  "a\\b",  "\xff\xfe",  "%",           "-rf", "a b",
                                      "CON", "a%2Fb", "~",         "$HOME",       "*",   ";ls"};
    enum { IDS = sizeof ids / sizeof ids[0] };
    char dir[64], inner[80], bytes[10];
    snprintf (inner, sizeof inner, "%s/logs", temp_dir_new (dir));
    job_log_config_t config = {.dir = inner};
    nexus_error_t error = {0};
    job_log_position_t position;
    for (size_t i = 0; i < IDS; i++) {
        job_log_run_t hostile = {.job = ids[i]};
        job_log_t *log = job_log_open (&config, &hostile, &error);
        if (!log)
            fail_msg ("%s: %s", ids[i], error.text);
        char mark = (char)('A' + i);
        assert_int_equal (job_log_append (log, &mark, 1, &error), 0);
        job_log_close (&log);
    }
    assert_int_equal (count_files (dir), 1);
    assert_int_equal (count_files (inner), IDS);
    for (size_t i = 0; i < IDS; i++) {
        job_log_run_t hostile = {.job = ids[i]};
        assert_int_equal (job_log_read (inner, &hostile, 0, bytes, 10, &position, &error), 1);
        assert_int_equal (bytes[0], 'A' + i);
        assert_int_equal (job_log_remove (inner, ids[i], &error), 0);
    }
    assert_int_equal (count_files (inner), 0);
    char longest[65];
    memset (longest, '/', sizeof longest);
    longest[64] = 0;
    assert_null (job_log_open (&config, &(job_log_run_t){.job = longest}, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_null (job_log_open (&config, &(job_log_run_t){.job = ""}, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
    longest[63] = 0;
    job_log_t *log = job_log_open (&config, &(job_log_run_t){.job = longest}, &error);
    assert_non_null (log);
    job_log_close (&log);
    temp_dir_remove (dir);
}

/*  A writer killed at any moment: what it wrote is there, and writing goes on. */
static void test_killed_writer (void **state)
{
    (void)state;
    char dir[64];
    bool end;
    temp_dir_new (dir);
    for (int round = 0; round < 5; round++) {
        int pipes[2];
        assert_int_equal (pipe (pipes), 0);
        pid_t child = fork ();
        if (child == 0) {
            job_log_t *log = open_log (dir, 5000, 100000);
            for (;;) {
                append (log, 333);
                uint64_t offset = job_log_end_offset (log);
                if (write (pipes[1], &offset, sizeof offset) != sizeof offset)
                    _exit (1);
            }
        }
        close (pipes[1]);
        uint64_t told = 0;
        for (int i = 0; i < 50; i++)
            assert_int_equal (read (pipes[0], &told, sizeof told), sizeof told);
        kill (child, SIGKILL);
        waitpid (child, NULL, 0);
        while (read (pipes[0], &told, sizeof told) == sizeof told)
            ;
        close (pipes[0]);
        uint64_t length = read_all (dir, 0, 4096, &end);
        assert_true (length >= told && length <= told + 333);
        assert_false (end);
    }
    temp_dir_remove (dir);
}

/*  A power failure took the tail of a segment, and not the next one. */
static void test_hole (void **state)
{
    (void)state;
    char dir[64], path[200], bytes[2000];
    bool end;
    job_log_t *log = open_log (temp_dir_new (dir), 1000, 10);
    append (log, 3500);
    job_log_close (&log);
    snprintf (path, sizeof path, "%s/train-7/3.1/%020d", dir, 1000);
    assert_int_equal (truncate (path, 400), 0);
    job_log_position_t position;
    assert_int_equal (job_log_read (dir, &run, 1000, bytes, 2000, &position, NULL), 400);
    assert_int_equal (position.next, 1400);
    assert_int_equal (job_log_read (dir, &run, 1400, bytes, 2000, &position, NULL), 1000);
    assert_int_equal (position.offset, 2000);
    assert_int_equal (position.next, 3000);
    assert_int_equal (job_log_read (dir, &run, 1700, bytes, 2000, &position, NULL), 1000);
    assert_int_equal (position.offset, 2000);
    assert_int_equal (read_all (dir, 2000, 100, &end), 3500);
    temp_dir_remove (dir);
}

static void test_disk_full (void **state)
{
    (void)state;
    char dir[64];
    temp_dir_new (dir);
    pid_t child = fork ();
    if (child == 0) {
        signal (SIGXFSZ, SIG_IGN);
        setrlimit (RLIMIT_FSIZE, &(struct rlimit){5000, 5000});
        job_log_config_t config = {.dir = dir};
        nexus_error_t error = {0};
        job_log_t *log = job_log_open (&config, &run, &error);
        static char bytes[8000];
        bool right = log && job_log_append (log, bytes, sizeof bytes, &error) == -1 &&
                     error.code == NEXUS_EXHAUSTED && strstr (error.text, "make room") &&
                     job_log_end_offset (log) == 5000;
        job_log_close (&log);
        _exit (right ? 0 : 1);
    }
    int status;
    waitpid (child, &status, 0);
    assert_int_equal (status, 0);
    char path[100];
    snprintf (path, sizeof path, "%s/missing/logs", dir);
    nexus_error_t error = {0};
    assert_null (job_log_open (&(job_log_config_t){.dir = path}, &run, &error));
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    assert_non_null (strstr (error.text, path));
    temp_dir_remove (dir);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_append_and_read), cmocka_unit_test (test_rotation),
        cmocka_unit_test (test_runs_are_apart),  cmocka_unit_test (test_hostile_ids),
        cmocka_unit_test (test_killed_writer),   cmocka_unit_test (test_hole),
        cmocka_unit_test (test_disk_full),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
