#include "storage/checkpoint.h"
#include "temp_dir.h"

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

static void save (const char *dir, uint64_t rank, uint64_t step, const void *data, size_t size)
{
    nexus_error_t error = {0};
    if (checkpoint_save (dir, "job", rank, step, data, size, &error) != 0)
        fail_msg ("%s", error.text);
}

static checkpoint_reader_t *open_ok (const char *dir, uint64_t rank, uint64_t step)
{
    nexus_error_t error = {0};
    checkpoint_reader_t *reader = checkpoint_open (dir, "job", rank, step, &error);
    if (!reader)
        fail_msg ("%s", error.text);
    return reader;
}

static void assert_content (checkpoint_reader_t *reader, const void *data, size_t size)
{
    assert_int_equal (checkpoint_info (reader)->size, size);
    char *bytes = malloc (size + 1);
    assert_non_null (bytes);
    size_t filled = 0;
    for (int64_t got; (got = checkpoint_read (reader, bytes + filled, 777, NULL)) > 0;)
        filled += (size_t)got;
    assert_int_equal (filled, size);
    assert_memory_equal (bytes, data, size);
    free (bytes);
}

static void assert_not_open (const char *dir, const char *job, uint64_t rank, uint64_t step,
                             nexus_code_t code)
{
    nexus_error_t error = {0};
    assert_null (checkpoint_open (dir, job, rank, step, &error));
    if (error.code != code || !strstr (error.text, dir))
        fail_msg ("%d: %s", error.code, error.text);
}

static size_t count_steps (const char *dir, uint64_t rank, uint64_t *ret_first, uint64_t *ret_last)
{
    arena_t arena;
    uint64_t *steps = NULL;
    arena_init (&arena, 0, NULL, 0);
    int64_t count = checkpoint_list (dir, rank, &arena, &steps, NULL);
    assert_true (count >= 0);
    *ret_first = count ? steps[0] : 0;
    *ret_last = count ? steps[count - 1] : 0;
    arena_reset (&arena);
    return (size_t)count;
}

static void path_of (const char *dir, uint64_t rank, uint64_t step, char path[150])
{
    snprintf (path, 150, "%s/%llu-%020llu.checkpoint", dir, (unsigned long long)rank,
              (unsigned long long)step);
}

static void test_save_and_load (void **state)
{
    (void)state;
    char dir[64], inner[80];
    snprintf (inner, sizeof inner, "%s/made", temp_dir_new (dir));
    float weights[10000];
    for (int i = 0; i < 10000; i++)
        weights[i] = (float)i / 3;
    save (inner, 2, 500, weights, sizeof weights);
    save (inner, 2, 600, "", 0);
    checkpoint_reader_t *reader = open_ok (inner, 2, 500);
    const checkpoint_t *info = checkpoint_info (reader);
    assert_string_equal (info->job, "job");
    assert_int_equal (info->rank, 2);
    assert_int_equal (info->step, 500);
    assert_content (reader, weights, sizeof weights);
    checkpoint_close (&reader);
    assert_null (reader);
    checkpoint_close (&reader);
    reader = open_ok (inner, 2, 600);
    assert_content (reader, "", 0);
    checkpoint_close (&reader);
    /*  Saved again: the newer one counts. */
    save (inner, 2, 500, "short", 5);
    reader = open_ok (inner, 2, 500);
    assert_content (reader, "short", 5);
    checkpoint_close (&reader);
    assert_not_open (inner, "job", 2, 501, NEXUS_NOT_FOUND);
    assert_not_open (inner, "job", 3, 500, NEXUS_NOT_FOUND);
    assert_not_open (inner, "another", 2, 500, NEXUS_CORRUPT);
    temp_dir_remove (dir);
}

static void test_pieces_and_cancel (void **state)
{
    (void)state;
    char dir[64];
    uint64_t first, last;
    static char bytes[1000000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * i >> 5);
    checkpoint_writer_t *writer = checkpoint_create (temp_dir_new (dir), "job", 0, 9, NULL);
    assert_non_null (writer);
    for (size_t i = 0; i < sizeof bytes; i += 10000)
        assert_int_equal (checkpoint_write (writer, bytes + i, 10000, NULL), 0);
    assert_int_equal (count_steps (dir, 0, &first, &last), 0); /* not before it is done */
    assert_int_equal (checkpoint_commit (&writer, NULL), 0);
    assert_null (writer);
    checkpoint_reader_t *reader = open_ok (dir, 0, 9);
    assert_content (reader, bytes, sizeof bytes);
    checkpoint_close (&reader);
    writer = checkpoint_create (dir, "job", 0, 10, NULL);
    assert_int_equal (checkpoint_write (writer, bytes, 10000, NULL), 0);
    checkpoint_cancel (&writer);
    checkpoint_cancel (&writer);
    assert_int_equal (count_steps (dir, 0, &first, &last), 1);
    temp_dir_remove (dir);
}

static void test_list_and_prune (void **state)
{
    (void)state;
    char dir[64], path[150];
    uint64_t first, last;
    temp_dir_new (dir);
    assert_int_equal (count_steps ("/tmp/nexus-no-such-directory", 1, &first, &last), 0);
    assert_int_equal (count_steps (dir, 1, &first, &last), 0);
    for (uint64_t step = 95; step <= 105; step++)
        save (dir, 1, step, "x", 1);
    save (dir, 11, 7, "x", 1);
    save (dir, 1, UINT64_MAX, "x", 1);
    snprintf (path, sizeof path, "%s/1-5.checkpoint", dir); /* somebody else's */
    close (open (path, O_CREAT | O_WRONLY, 0600));
    snprintf (path, sizeof path, "%s/1-%020d.partial", dir, 77); /* of a writer that died */
    close (open (path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal (count_steps (dir, 1, &first, &last), 12);
    assert_int_equal (first, 95);
    assert_true (last == UINT64_MAX);
    assert_int_equal (checkpoint_prune (dir, 1, 3, NULL), 9);
    assert_int_equal (access (path, F_OK), -1);
    assert_int_equal (count_steps (dir, 1, &first, &last), 3);
    assert_int_equal (first, 104);
    assert_int_equal (checkpoint_prune (dir, 1, 3, NULL), 0);
    assert_int_equal (checkpoint_prune (dir, 1, 0, NULL), 2); /* one stays */
    assert_int_equal (count_steps (dir, 11, &first, &last), 1);
    temp_dir_remove (dir);
}

static void flip (const char *path, long at)
{
    FILE *file = fopen (path, "r+b");
    assert_non_null (file);
    fseek (file, at, SEEK_SET);
    int byte = fgetc (file);
    fseek (file, at, SEEK_SET);
    fputc (byte ^ 4, file);
    fclose (file);
}

/*  Any flipped bit is found, and so is any cut; the newest intact one is taken. */
static void test_damage (void **state)
{
    (void)state;
    char dir[64], path[150];
    temp_dir_new (dir);
    save (dir, 1, 10, "the content", 11);
    save (dir, 1, 20, "the content", 11);
    path_of (dir, 1, 20, path);
    for (long at = 0; at < CHECKPOINT_HEADER + 11; at++) {
        flip (path, at);
        assert_not_open (dir, "job", 1, 20, NEXUS_CORRUPT);
        flip (path, at);
    }
    checkpoint_reader_t *reader = checkpoint_open_newest (dir, "job", 1, NULL);
    assert_non_null (reader);
    assert_int_equal (checkpoint_info (reader)->step, 20);
    checkpoint_close (&reader);
    for (long size = CHECKPOINT_HEADER + 10; size >= 0; size -= 50) {
        assert_int_equal (truncate (path, size), 0);
        assert_not_open (dir, "job", 1, 20, NEXUS_CORRUPT);
    }
    reader = checkpoint_open_newest (dir, "job", 1, NULL);
    assert_non_null (reader);
    assert_int_equal (checkpoint_info (reader)->step, 10);
    assert_content (reader, "the content", 11);
    checkpoint_close (&reader);
    path_of (dir, 1, 10, path);
    flip (path, CHECKPOINT_HEADER);
    nexus_error_t error = {0};
    assert_null (checkpoint_open_newest (dir, "job", 1, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_null (checkpoint_open_newest (dir, "job", 5, &error));
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    temp_dir_remove (dir);
}

/*  A writer killed at any moment leaves the old one or the new one. */
static void test_killed_writer (void **state)
{
    (void)state;
    char dir[64];
    temp_dir_new (dir);
    static char bytes[200000];
    for (int round = 0; round < 10; round++) {
        int pipes[2];
        assert_int_equal (pipe (pipes), 0);
        pid_t child = fork ();
        if (child == 0) {
            for (uint8_t i = 1;; i++) {
                memset (bytes, i, sizeof bytes);
                if (checkpoint_save (dir, "job", 0, 1, bytes, sizeof bytes, NULL) != 0 ||
                    write (pipes[1], &i, 1) != 1)
                    _exit (1);
            }
        }
        close (pipes[1]);
        for (int i = 0; i < 3; i++) {
            uint8_t told;
            assert_int_equal (read (pipes[0], &told, 1), 1);
        }
        usleep (1000 * (unsigned)round);
        kill (child, SIGKILL);
        waitpid (child, NULL, 0);
        close (pipes[0]);
        checkpoint_reader_t *reader = open_ok (dir, 0, 1);
        assert_int_equal (checkpoint_read (reader, bytes, sizeof bytes, NULL), sizeof bytes);
        assert_int_equal (bytes[0], bytes[sizeof bytes - 1]);
        checkpoint_close (&reader);
    }
    temp_dir_remove (dir);
}

static void test_refusals (void **state)
{
    (void)state;
    char dir[64], path[150];
    nexus_error_t error = {0};
    snprintf (path, sizeof path, "%s/missing/dir", temp_dir_new (dir));
    assert_int_equal (checkpoint_save (path, "job", 0, 1, "x", 1, &error), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    assert_int_equal (checkpoint_save (dir, "", 0, 1, "x", 1, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    pid_t child = fork ();
    if (child == 0) {
        static char bytes[8000];
        signal (SIGXFSZ, SIG_IGN);
        setrlimit (RLIMIT_FSIZE, &(struct rlimit){5000, 5000});
        bool right = checkpoint_save (dir, "job", 0, 1, bytes, sizeof bytes, &error) == -1 &&
                     error.code == NEXUS_EXHAUSTED && strstr (error.text, "make room");
        _exit (right ? 0 : 1);
    }
    int status;
    waitpid (child, &status, 0);
    assert_int_equal (status, 0);
    assert_int_equal (rmdir (dir), 0); /* nothing was left in it */
}

/*  The format is fixed. */
static void test_golden_header (void **state)
{
    (void)state;
    checkpoint_t info = {.job = "train", .rank = 258, .step = 3, .size = 4, .hash = {9, 8, 7}};
    uint8_t header[CHECKPOINT_HEADER];
    static const uint8_t golden[80] = {
        'N', 'E', 'X', 'U', 'S', 'C', 'K', 'P', 1, 0, 0, 0,          0,   0,   0,   0,
        2,   1,   0,   0,   0,   0,   0,   0,   3, 0, 0, 0,          0,   0,   0,   0,
        4,   0,   0,   0,   0,   0,   0,   0,   9, 8, 7, [72] = 't', 'r', 'a', 'i', 'n',
    };
    checkpoint_header_encode (&info, header);
    assert_memory_equal (header, golden, sizeof golden);
    for (size_t i = sizeof golden; i < 188; i++)
        assert_int_equal (header[i], 0);
    checkpoint_t found;
    assert_int_equal (checkpoint_header_decode (header, &found, NULL), 0);
    assert_memory_equal (&found, &info, sizeof info);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_save_and_load),  cmocka_unit_test (test_pieces_and_cancel),
        cmocka_unit_test (test_list_and_prune), cmocka_unit_test (test_damage),
        cmocka_unit_test (test_killed_writer),  cmocka_unit_test (test_refusals),
        cmocka_unit_test (test_golden_header),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
