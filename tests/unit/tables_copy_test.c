/*  tables: copies, caches and their replacement; with readers and writers about, and a process
    that is killed at any moment */
#include "storage/tables.h"
#include "tests/unit/temp_dir.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PEOPLE, PLACES, TABLES };
static const char *const names[TABLES] = {"people", "places"};
enum { MAP_SIZE = 64 << 20 };

/*  ---- helpers ---------------------------------------------------------------------- */

static tables_t *open_cache (const char *dir, tables_origin_t expected)
{
    nexus_error_t error = {0};
    tables_origin_t origin;
    tables_t *tables = tables_open_cache (dir, MAP_SIZE, names, TABLES, &origin, &error);
    if (!tables)
        fail_msg ("%s", error.text);
    assert_int_equal (origin, expected);
    return tables;
}

/*  The same number in both tables, in one transaction. */
static int put_number (tables_t *tables, uint64_t number)
{
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    slice_t value = {&number, sizeof number};
    if (!txn || tables_put (txn, PEOPLE, SLICE ("n"), value, NULL) != 0 ||
        tables_put (txn, PLACES, SLICE ("n"), value, NULL) != 0)
        return -1;
    return tables_commit (&txn, NULL);
}

static uint64_t get_number (tables_txn_t *txn, size_t table)
{
    uint64_t number = 0;
    slice_t value;
    if (tables_get (txn, table, SLICE ("n"), &value) && value.size == sizeof number)
        memcpy (&number, value.data, sizeof number);
    return number;
}

/*  UINT64_MAX: the tables contradict each other. */
static uint64_t number_of (tables_t *tables)
{
    tables_txn_t *txn = tables_begin (tables, false, NULL);
    assert_non_null (txn);
    uint64_t number = get_number (txn, PEOPLE);
    if (get_number (txn, PLACES) != number)
        number = UINT64_MAX;
    tables_abort (&txn);
    return number;
}

static void put_many (tables_t *tables, int count)
{
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    for (int i = 0; i < count; i++) {
        char key[32];
        snprintf (key, sizeof key, "%08d", i);
        assert_int_equal (tables_put (txn, PEOPLE, SLICE (key), SLICE ("somebody"), NULL), 0);
    }
    assert_int_equal (tables_commit (&txn, NULL), 0);
}

static void in_dir (char path[128], const char *dir, const char *name)
{
    snprintf (path, 128, "%s/%s", dir, name);
}

static void write_file (const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen (path, "we");
    assert_non_null (file);
    assert_int_equal (fwrite (bytes, 1, size, file), size);
    fclose (file);
}

/*  As after a loss of power: what was written under another boot counts no more. */
static void another_boot (const char *dir)
{
    char path[128];
    in_dir (path, dir, "valid");
    write_file (path, "a 0b7e4f1c-another-boot\n", 24);
}

/*  ---- copies -------------------------------------------------------------------------- */

static void test_copy (void **state)
{
    (void)state;
    char dir[64], file[128], part[140];
    temp_dir_new (dir);
    in_dir (file, dir, "copy");
    snprintf (part, sizeof part, "%s.part", file);
    tables_t *tables = open_cache (dir, TABLES_EMPTY);
    nexus_error_t error = {0};
    tables_copy_t one, two;
    assert_int_equal (tables_copy_check (file, &one, &error), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    /*  Nothing is a state as well. */
    assert_int_equal (tables_copy (tables, file, &error), 0);
    assert_int_equal (tables_copy_check (file, &one, &error), 0);
    put_number (tables, 7);
    put_many (tables, 5000);
    assert_int_equal (tables_copy (tables, file, &error), 0);
    put_number (tables, 8);
    assert_int_equal (tables_copy_check (file, &two, &error), 0);
    assert_true (two.size > one.size && memcmp (one.hash, two.hash, 32) != 0);
    assert_int_equal (access (part, F_OK), -1);
    tables_t *copy = tables_open_copy (file, names, TABLES, &error);
    assert_non_null (copy);
    assert_int_equal (number_of (copy), 7);
    tables_txn_t *txn = tables_begin (copy, false, NULL);
    assert_int_equal (tables_count (txn, PEOPLE), 5001);
    tables_abort (&txn);
    assert_null (tables_begin (copy, true, &error));
    tables_close (&copy);
    assert_int_equal (tables_copy_check (file, &one, &error), 0);
    assert_memory_equal (one.hash, two.hash, 32);
    tables_close (&tables);
    temp_dir_remove (dir);
}

/*  Any flipped byte, any cut, anything behind it. */
static void test_damaged_copies (void **state)
{
    (void)state;
    char dir[64], file[128], bad[128];
    temp_dir_new (dir);
    in_dir (file, dir, "copy");
    in_dir (bad, dir, "bad");
    tables_t *tables = open_cache (dir, TABLES_EMPTY);
    put_number (tables, 7);
    assert_int_equal (tables_copy (tables, file, NULL), 0);
    FILE *stream = fopen (file, "re");
    static uint8_t bytes[1 << 20];
    size_t size = fread (bytes, 1, sizeof bytes - 1, stream);
    fclose (stream);
    assert_in_range (size, 100, sizeof bytes - 2);
    for (size_t at = 0; at < size; at += at + 70 < size ? 577 : 1) {
        bytes[at] ^= 0x10;
        write_file (bad, bytes, size);
        nexus_error_t error = {0};
        assert_int_equal (tables_copy_check (bad, NULL, &error), -1);
        assert_int_equal (error.code, NEXUS_CORRUPT);
        assert_non_null (strstr (error.text, bad));
        assert_int_equal (tables_replace (tables, bad, &error), -1);
        bytes[at] ^= 0x10;
    }
    for (size_t cut = 0; cut < size; cut += 971) {
        write_file (bad, bytes, cut);
        assert_int_equal (tables_copy_check (bad, NULL, NULL), -1);
        assert_int_equal (tables_replace (tables, bad, NULL), -1);
    }
    write_file (bad, bytes, size + 1);
    assert_int_equal (tables_copy_check (bad, NULL, NULL), -1);
    /*  All those attempts have changed nothing. */
    assert_int_equal (number_of (tables), 7);
    assert_int_equal (put_number (tables, 9), 0);
    tables_close (&tables);
    tables = open_cache (dir, TABLES_KEPT);
    assert_int_equal (number_of (tables), 9);
    tables_close (&tables);
    temp_dir_remove (dir);
}

/*  ---- caches -------------------------------------------------------------------------- */

static bool count_visit (void *context, slice_t key, slice_t value)
{
    (void)key, (void)value;
    ++*(size_t *)context;
    return true;
}

/*  Alters each place of a file where these bytes stand; how many there were. */
static int rot (const char *path, const char *bytes)
{
    struct stat status;
    int fd = open (path, O_RDWR | O_CLOEXEC), places = 0;
    assert_int_equal (fstat (fd, &status), 0);
    uint8_t *file = malloc ((size_t)status.st_size), *at = file, *end = file + status.st_size;
    assert_int_equal (pread (fd, file, (size_t)status.st_size, 0), status.st_size);
    while ((at = memmem (at, (size_t)(end - at), bytes, strlen (bytes)))) {
        uint8_t altered = *at ^ 0x10;
        assert_int_equal (pwrite (fd, &altered, 1, at - file), 1);
        at++;
        places++;
    }
    free (file);
    close (fd);
    return places;
}

/*  A row that the disk has altered: nobody takes it for what was written, and no copy gets it. */
static void test_rotten_row (void **state)
{
    (void)state;
    char dir[64], file[128], data[128];
    tables_t *tables = open_cache (temp_dir_new (dir), TABLES_EMPTY);
    in_dir (file, dir, "snapshot");
    in_dir (data, dir, "a/data.mdb");
    put_many (tables, 100);
    assert_int_equal (tables_copy (tables, file, NULL), 0);
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    assert_int_equal (tables_put (txn, PLACES, SLICE ("here"), SLICE ("a place on earth"), NULL),
                      0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    assert_true (rot (data, "a place on earth") > 0);
    /*  Its first reader. */
    nexus_error_t error = {0};
    slice_t value;
    txn = tables_begin (tables, false, NULL);
    assert_true (tables_get (txn, PEOPLE, SLICE ("00000007"), &value));
    assert_false (tables_failed (txn, &error));
    assert_false (tables_get (txn, PLACES, SLICE ("here"), &value));
    assert_true (tables_failed (txn, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    tables_abort (&txn);
    /*  Nobody reads, writes or copies any more. */
    assert_null (tables_begin (tables, false, &error));
    assert_null (tables_begin (tables, true, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_int_equal (tables_copy (tables, data, &error), -1);
    tables_close (&tables);
    /*  Made anew; "here" comes back with the log. */
    tables = open_cache (dir, TABLES_FROM_COPY);
    txn = tables_begin (tables, true, NULL);
    assert_int_equal (tables_count (txn, PEOPLE), 100);
    assert_int_equal (tables_count (txn, PLACES), 0);
    assert_int_equal (tables_put (txn, PLACES, SLICE ("here"), SLICE ("a place on earth"), NULL),
                      0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    /*  Whoever copies reads all of it. */
    assert_true (rot (data, "a place on earth") > 0);
    assert_int_equal (tables_copy (tables, file, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    tables_close (&tables);
    /*  And so does whoever opens it. */
    tables = open_cache (dir, TABLES_FROM_COPY);
    txn = tables_begin (tables, true, NULL);
    assert_int_equal (tables_put (txn, PLACES, SLICE ("here"), SLICE ("a place on earth"), NULL),
                      0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
    tables_close (&tables);
    assert_true (rot (data, "a place on earth") > 0);
    tables = open_cache (dir, TABLES_MENDED);
    assert_int_equal (rot (file, "somebody"), 100);
    tables_close (&tables);
    /*  A list ends where it is. */
    tables = tables_open_copy (file, names, TABLES, &error);
    txn = tables_begin (tables, false, NULL);
    size_t visits = 0;
    assert_int_equal (tables_each (txn, PEOPLE, SLICE (""), SLICE (""), count_visit, &visits), 0);
    assert_true (tables_failed (txn, NULL));
    tables_abort (&txn);
    tables_close (&tables);
    temp_dir_remove (dir);
}

static void test_cache (void **state)
{
    (void)state;
    char dir[64], file[128], data[128];
    temp_dir_new (dir);
    in_dir (file, dir, "snapshot");
    in_dir (data, dir, "a/data.mdb");
    tables_t *tables = open_cache (dir, TABLES_EMPTY);
    put_number (tables, 1);
    tables_close (&tables);
    tables = open_cache (dir, TABLES_KEPT);
    assert_int_equal (number_of (tables), 1);
    tables_close (&tables);
    /*  What was prepared and never wanted goes with it. */
    in_dir (file, dir, "other");
    tables = open_cache (dir, TABLES_KEPT);
    assert_int_equal (tables_copy (tables, file, NULL), 0);
    assert_int_equal (tables_prepare (tables, file, NULL), 0);
    tables_close (&tables);
    in_dir (file, dir, "b/data.mdb");
    assert_int_equal (access (file, F_OK), -1);
    in_dir (file, dir, "snapshot");
    /*  Closed in peace: that holds across boots. */
    tables = open_cache (dir, TABLES_KEPT);
    tables_close (&tables);
    another_boot (dir);
    tables = open_cache (dir, TABLES_EMPTY);
    assert_int_equal (number_of (tables), 0);
    put_number (tables, 2);
    assert_int_equal (tables_copy (tables, file, NULL), 0);
    put_number (tables, 3);
    tables_close (&tables);
    another_boot (dir);
    tables = open_cache (dir, TABLES_FROM_COPY);
    assert_int_equal (number_of (tables), 2);
    put_number (tables, 4);
    tables_close (&tables);
    /*  Nobody vouches for it; what it vouches for is gone; or is damaged. */
    char valid[128];
    in_dir (valid, dir, "valid");
    unlink (valid);
    tables = open_cache (dir, TABLES_FROM_COPY);
    tables_close (&tables);
    unlink (data);
    tables = open_cache (dir, TABLES_FROM_COPY);
    put_number (tables, 5);
    tables_close (&tables);
    int fd = open (data, O_WRONLY | O_CLOEXEC);
    assert_int_equal (pwrite (fd, "rubbish", 7, 16), 7);
    close (fd);
    tables = open_cache (dir, TABLES_MENDED);
    assert_int_equal (number_of (tables), 2);
    tables_close (&tables);
    /*  The copy is needed, and damaged: that can't be passed over. */
    another_boot (dir);
    assert_int_equal (truncate (file, 5000), 0);
    nexus_error_t error = {0};
    assert_null (tables_open_cache (dir, MAP_SIZE, names, TABLES, NULL, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_non_null (strstr (error.text, file));
    temp_dir_remove (dir);
}

/*  Two processes: the second must neither use nor rebuild it. */
static void test_cache_in_use (void **state)
{
    (void)state;
    char dir[64];
    tables_t *tables = open_cache (temp_dir_new (dir), TABLES_EMPTY);
    put_number (tables, 1);
    nexus_error_t error = {0};
    assert_null (tables_open_cache (dir, MAP_SIZE, names, TABLES, NULL, &error));
    assert_int_equal (error.code, NEXUS_CONFLICT);
    assert_int_equal (put_number (tables, 2), 0);
    tables_close (&tables);
    tables = open_cache (dir, TABLES_KEPT);
    assert_int_equal (number_of (tables), 2);
    tables_close (&tables);
    temp_dir_remove (dir);
}

/*  ---- replacement ------------------------------------------------------------------------ */

typedef struct {
    tables_t *tables;
    atomic_bool stop;
    atomic_int contradictions;
    atomic_int reads;
} readers_t;

static void *read_on (void *arg)
{
    readers_t *self = arg;
    while (!atomic_load (&self->stop)) {
        tables_txn_t *txn = tables_begin (self->tables, false, NULL);
        if (!txn) {
            atomic_fetch_add (&self->contradictions, 1);
            continue;
        }
        uint64_t number = get_number (txn, PEOPLE);
        for (int i = 0; i < 20; i++) {
            sched_yield ();
            if (get_number (txn, PLACES) != number || get_number (txn, PEOPLE) != number)
                atomic_fetch_add (&self->contradictions, 1);
        }
        tables_abort (&txn);
        size_t used, limit;
        tables_usage (self->tables, &used, &limit);
        atomic_fetch_add (&self->reads, 1);
    }
    return NULL;
}

static void test_replace_under_readers (void **state)
{
    (void)state;
    char dir[64], one[128], two[128];
    tables_t *tables = open_cache (temp_dir_new (dir), TABLES_EMPTY);
    in_dir (one, dir, "one");
    in_dir (two, dir, "two");
    put_number (tables, 1);
    put_many (tables, 2000);
    assert_int_equal (tables_copy (tables, one, NULL), 0);
    put_number (tables, 2);
    assert_int_equal (tables_copy (tables, two, NULL), 0);
    readers_t readers = {.tables = tables};
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal (pthread_create (&threads[i], NULL, read_on, &readers), 0);
    for (int i = 0; i < 60; i++) {
        /*  This reader began before, and goes on seeing what was. */
        tables_txn_t *before = tables_begin (tables, false, NULL);
        uint64_t number = get_number (before, PEOPLE);
        if (i % 3 == 0)
            assert_int_equal (tables_prepare (tables, i % 2 ? one : two, NULL), 0);
        if (i % 6 == 1) /* another one than is asked for then */
            assert_int_equal (tables_prepare (tables, two, NULL), 0);
        if (i % 6 == 2)
            assert_int_equal (tables_prepare (tables, NULL, NULL), 0);
        assert_int_equal (tables_replace (tables, i % 2 ? one : two, NULL), 0);
        assert_int_equal (number_of (tables), i % 2 ? 1 : 2);
        assert_int_equal (put_number (tables, (uint64_t)i + 100), 0);
        assert_int_equal (get_number (before, PEOPLE), number);
        assert_int_equal (get_number (before, PLACES), number);
        tables_abort (&before);
        assert_int_equal (number_of (tables), (uint64_t)i + 100);
    }
    atomic_store (&readers.stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join (threads[i], NULL);
    assert_int_equal (atomic_load (&readers.contradictions), 0);
    assert_true (atomic_load (&readers.reads) > 10);
    tables_close (&tables);
    tables = open_cache (dir, TABLES_KEPT);
    assert_int_equal (number_of (tables), 159);
    tables_close (&tables);
    temp_dir_remove (dir);
}

static void *write_on (void *arg)
{
    readers_t *self = arg;
    for (uint64_t i = 1; !atomic_load (&self->stop); i++) {
        if (put_number (self->tables, i) != 0)
            atomic_fetch_add (&self->contradictions, 1);
        usleep (20); /* a copy's reader pins all pages meanwhile: don't fill the map */
    }
    return NULL;
}

/*  A copy shows one moment, whatever is written meanwhile. */
static void test_copy_under_a_writer (void **state)
{
    (void)state;
    char dir[64], file[128];
    tables_t *tables = open_cache (temp_dir_new (dir), TABLES_EMPTY);
    in_dir (file, dir, "copy");
    put_many (tables, 2000);
    readers_t writer = {.tables = tables};
    pthread_t thread;
    assert_int_equal (pthread_create (&thread, NULL, write_on, &writer), 0);
    uint64_t last = 0;
    for (int i = 0; i < 30; i++) {
        assert_int_equal (tables_copy (tables, file, NULL), 0);
        tables_t *copy = tables_open_copy (file, names, TABLES, NULL);
        uint64_t number = number_of (copy);
        assert_true (number != UINT64_MAX && number >= last);
        last = number;
        tables_close (&copy);
    }
    atomic_store (&writer.stop, true);
    pthread_join (thread, NULL);
    assert_int_equal (atomic_load (&writer.contradictions), 0);
    assert_true (last > 0);
    tables_close (&tables);
    temp_dir_remove (dir);
}

/*  ---- crashes ------------------------------------------------------------------------------ */

/*  Writes, copies and replaces for ever; tells each number that is committed, and says before a
    replacement to which number it goes back. */
static void live (const char *dir, int tell)
{
    char file[128];
    in_dir (file, dir, "snapshot");
    tables_t *tables = tables_open_cache (dir, MAP_SIZE, names, TABLES, NULL, NULL);
    if (!tables)
        _exit (1);
    uint64_t number = number_of (tables), copied = 0;
    for (int turn = 0;; turn++) {
        number++;
        if (put_number (tables, number) != 0)
            _exit (1);
        if (turn % 7 == 0 && tables_copy (tables, file, NULL) == 0)
            copied = number;
        if (turn % 11 == 4)
            tables_prepare (tables, file, NULL);
        if (turn % 11 == 5 && tables_replace (tables, file, NULL) == 0)
            number = copied;
        if (write (tell, &number, sizeof number) != sizeof number)
            _exit (1);
    }
}

static void test_killed_at_any_moment (void **state)
{
    (void)state;
    char dir[64], file[128];
    temp_dir_new (dir);
    in_dir (file, dir, "snapshot");
    for (int round = 0; round < 30; round++) {
        int pipes[2];
        assert_int_equal (pipe (pipes), 0);
        pid_t child = fork ();
        if (child == 0)
            live (dir, pipes[1]);
        close (pipes[1]);
        uint64_t told = 0;
        for (int i = 0; i < 3 + round * 2; i++)
            assert_int_equal (read (pipes[0], &told, sizeof told), sizeof told);
        usleep ((useconds_t)(round * 137 % 1000));
        kill (child, SIGKILL);
        waitpid (child, NULL, 0);
        while (read (pipes[0], &told, sizeof told) == sizeof told)
            ;
        close (pipes[0]);
        tables_t *tables = open_cache (dir, TABLES_KEPT);
        uint64_t found = number_of (tables);
        /*  One turn more may have been done, and in it a replacement by at most ten back. */
        assert_in_range (found, told > 10 ? told - 10 : 0, told + 1);
        tables_close (&tables);
        /*  And with the power gone as well: what the copy has. */
        if (round % 5 == 4 && access (file, F_OK) == 0) {
            another_boot (dir);
            tables = open_cache (dir, TABLES_FROM_COPY);
            found = number_of (tables);
            assert_true (found != UINT64_MAX && found <= told + 1);
            tables_close (&tables);
        }
    }
    temp_dir_remove (dir);
}

static void on_small_disk (const char *dir)
{
    if (unshare (CLONE_NEWNS) != 0 && unshare (CLONE_NEWUSER | CLONE_NEWNS) != 0)
        _exit (77);
    char small[128], file[160];
    in_dir (small, dir, "small");
    mkdir (small, 0700);
    if (mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount ("none", small, "tmpfs", 0, "size=2m") != 0)
        _exit (77);
    snprintf (file, sizeof file, "%s/copy", small);
    tables_t *tables = tables_open_cache (dir, MAP_SIZE, names, TABLES, NULL, NULL);
    if (!tables || put_number (tables, 1) != 0 || tables_copy (tables, file, NULL) != 0)
        _exit (2);
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    static char bytes[3 << 20];
    memset (bytes, 'x', sizeof bytes);
    if (tables_put (txn, PEOPLE, SLICE ("large"), (slice_t){bytes, sizeof bytes}, NULL) != 0 ||
        tables_commit (&txn, NULL) != 0)
        _exit (3);
    nexus_error_t error = {0};
    if (tables_copy (tables, file, &error) != -1)
        _exit (4);
    fprintf (stderr, "%s\n", error.text);
    if (error.code != NEXUS_EXHAUSTED || !strstr (error.text, small))
        _exit (5);
    /*  The copy before is still good, the part is gone, and the tables go on. */
    snprintf (file, sizeof file, "%s/copy.part", small);
    if (access (file, F_OK) == 0)
        _exit (6);
    snprintf (file, sizeof file, "%s/copy", small);
    if (tables_copy_check (file, NULL, NULL) != 0 || put_number (tables, 2) != 0)
        _exit (7);
    tables_close (&tables);
    _exit (0);
}

/*  The cache's file is written through memory: a disk without room must still be an error. */
static void in_little_room (const char *dir)
{
    char inner[128];
    if (unshare (CLONE_NEWNS) != 0 && unshare (CLONE_NEWUSER | CLONE_NEWNS) != 0)
        _exit (77);
    if (mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount ("none", dir, "tmpfs", 0, "size=80m") != 0)
        _exit (77);
    snprintf (inner, sizeof inner, "%s/ledger", dir);
    tables_t *tables = tables_open_cache (inner, 1 << 30, names, TABLES, NULL, NULL);
    if (!tables)
        _exit (2);
    static char bytes[4 << 20];
    memset (bytes, 'x', sizeof bytes);
    for (int i = 0; i < 40; i++) {
        nexus_error_t error = {NEXUS_OK, ""};
        char key[16];
        snprintf (key, sizeof key, "large%d", i);
        tables_txn_t *txn = tables_begin (tables, true, &error);
        if (!txn && error.code == NEXUS_EXHAUSTED && strstr (error.text, inner) && i > 3) {
            fprintf (stderr, "%s\n", error.text);
            tables_close (&tables);
            _exit (0);
        }
        if (!txn || tables_put (txn, PEOPLE, SLICE (key), (slice_t){bytes, sizeof bytes}, NULL) ||
            tables_commit (&txn, NULL))
            _exit (3);
    }
    _exit (4);
}

static void test_little_room (void **state)
{
    (void)state;
    char dir[64];
    temp_dir_new (dir);
    pid_t child = fork ();
    if (child == 0)
        in_little_room (dir);
    int status;
    waitpid (child, &status, 0);
    temp_dir_remove (dir);
    assert_true (WIFEXITED (status));
    if (WEXITSTATUS (status) == 77)
        skip ();
    assert_int_equal (WEXITSTATUS (status), 0);
}

static void test_full_disk (void **state)
{
    (void)state;
    char dir[64];
    temp_dir_new (dir);
    pid_t child = fork ();
    if (child == 0)
        on_small_disk (dir);
    int status;
    waitpid (child, &status, 0);
    temp_dir_remove (dir);
    assert_true (WIFEXITED (status));
    if (WEXITSTATUS (status) == 77)
        skip ();
    assert_int_equal (WEXITSTATUS (status), 0);
}

/*  ---- through memory --------------------------------------------------------------------- */

static void test_dump_and_load (void **state)
{
    (void)state;
    char dir[64];
    tables_t *disk = open_cache (temp_dir_new (dir), TABLES_EMPTY);
    tables_t *memory = tables_open_memory (names, TABLES);
    put_number (disk, 5);
    put_many (disk, 300);
    put_number (memory, 6);
    buffer_t dump = {0}, again = {0};
    tables_dump (disk, &dump);
    nexus_error_t error = {0};
    assert_int_equal (tables_load (memory, dump.data, dump.size, &error), 0);
    assert_int_equal (number_of (memory), 5);
    tables_dump (memory, &again);
    assert_int_equal (dump.size, again.size);
    assert_memory_equal (dump.data, again.data, dump.size);
    /*  A dump that is cut changes nothing. */
    put_number (memory, 6);
    for (size_t cut = dump.size - 1; cut > dump.size - 60; cut--)
        if (tables_load (memory, dump.data, cut, &error) == 0)
            put_number (memory, 6); /* cut between two entries */
        else {
            assert_int_equal (error.code, NEXUS_CORRUPT);
            assert_int_equal (number_of (memory), 6);
        }
    assert_int_equal (tables_load (disk, NULL, 0, &error), 0);
    assert_int_equal (number_of (disk), 0);
    buffer_free (&dump);
    buffer_free (&again);
    tables_close (&memory);
    tables_close (&disk);
    temp_dir_remove (dir);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_copy),
        cmocka_unit_test (test_damaged_copies),
        cmocka_unit_test (test_rotten_row),
        cmocka_unit_test (test_cache),
        cmocka_unit_test (test_cache_in_use),
        cmocka_unit_test (test_replace_under_readers),
        cmocka_unit_test (test_copy_under_a_writer),
        cmocka_unit_test (test_killed_at_any_moment),
        cmocka_unit_test (test_full_disk),
        cmocka_unit_test (test_little_room),
        cmocka_unit_test (test_dump_and_load),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
