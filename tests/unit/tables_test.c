#include "storage/tables.h"
#include "temp_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PEOPLE, PLACES, TABLES };
static const char *const names[TABLES] = {"people", "places"};

enum { MAP_SIZE = 64 << 20 };

/*  ---- cases for both backings ------------------------------------------- */

static void put (tables_txn_t *txn, size_t table, const char *key, const char *value)
{
    nexus_error_t error;
    assert_int_equal (tables_put (txn, table, SLICE (key), SLICE (value), &error), 0);
}

static void assert_value (tables_txn_t *txn, size_t table, const char *key, const char *value)
{
    slice_t found;
    bool there = tables_get (txn, table, SLICE (key), &found);
    assert_int_equal (there, value != NULL);
    if (value) {
        assert_int_equal (found.size, strlen (value));
        assert_memory_equal (found.data, value, found.size);
    }
}

static tables_txn_t *begin (tables_t *tables, bool write)
{
    nexus_error_t error = {0};
    tables_txn_t *txn = tables_begin (tables, write, &error);
    if (!txn)
        print_error ("%s\n", error.text);
    assert_non_null (txn);
    return txn;
}

static void commit (tables_txn_t **txn_p)
{
    nexus_error_t error = {0};
    if (tables_commit (txn_p, &error) != 0)
        fail_msg ("%s", error.text);
    assert_null (*txn_p);
}

typedef struct {
    char text[1000];
    size_t stop_after; /* 0: never */
    size_t seen;
} joined_t;

static bool join (void *context, slice_t key, slice_t value)
{
    joined_t *self = context;
    size_t length = strlen (self->text);
    snprintf (self->text + length, sizeof self->text - length, "%.*s=%.*s ", (int)key.size,
              (const char *)key.data, (int)value.size, (const char *)value.data);
    return ++self->seen != self->stop_after;
}

static void assert_each (tables_txn_t *txn, size_t table, const char *prefix, const char *from,
                         const char *expected)
{
    joined_t joined = {0};
    tables_each (txn, table, SLICE (prefix), SLICE (from), join, &joined);
    assert_string_equal (joined.text, expected);
}

static void case_get_put_delete (tables_t *tables)
{
    tables_txn_t *txn = begin (tables, true);
    put (txn, PEOPLE, "ada", "1815");
    put (txn, PEOPLE, "alan", "1912");
    put (txn, PLACES, "ada", "a language");
    put (txn, PEOPLE, "alan", "");
    assert_value (txn, PEOPLE, "ada", "1815");
    assert_value (txn, PEOPLE, "alan", "");
    assert_value (txn, PLACES, "ada", "a language");
    assert_value (txn, PLACES, "alan", NULL);
    assert_int_equal (tables_count (txn, PEOPLE), 2);
    assert_true (tables_delete (txn, PEOPLE, SLICE ("ada")));
    assert_false (tables_delete (txn, PEOPLE, SLICE ("ada")));
    assert_int_equal (tables_count (txn, PEOPLE), 1);
    commit (&txn);
    txn = begin (tables, false);
    assert_value (txn, PEOPLE, "ada", NULL);
    assert_value (txn, PEOPLE, "alan", "");
    assert_int_equal (tables_count (txn, PLACES), 1);
    tables_abort (&txn);
    tables_abort (&txn); /* nothing left to end */
}

static void case_order (tables_t *tables)
{
    tables_txn_t *txn = begin (tables, true);
    put (txn, PEOPLE, "b", "4");
    put (txn, PEOPLE, "ab", "3");
    put (txn, PEOPLE, "a", "1");
    put (txn, PEOPLE, "aa", "2");
    put (txn, PEOPLE, "\xff", "6");
    put (txn, PEOPLE, "\x7f", "5");
    assert_each (txn, PEOPLE, "", "", "a=1 aa=2 ab=3 b=4 \x7f=5 \xff=6 ");
    assert_each (txn, PEOPLE, "a", "", "a=1 aa=2 ab=3 ");
    assert_each (txn, PEOPLE, "a", "aa", "aa=2 ab=3 ");
    assert_each (txn, PEOPLE, "a", "aaa", "ab=3 ");
    assert_each (txn, PEOPLE, "b", "a", "b=4 ");
    assert_each (txn, PEOPLE, "a", "b", "");
    assert_each (txn, PEOPLE, "", "b", "b=4 \x7f=5 \xff=6 ");
    assert_each (txn, PEOPLE, "c", "", "");
    assert_each (txn, PEOPLE, "\xff", "", "\xff=6 ");
    assert_each (txn, PLACES, "", "", "");
    joined_t joined = {.stop_after = 2};
    assert_int_equal (tables_each (txn, PEOPLE, SLICE (""), SLICE (""), join, &joined), 2);
    assert_string_equal (joined.text, "a=1 aa=2 ");
    tables_abort (&txn);
}

static void case_sizes (tables_t *tables)
{
    char longest[502];
    memset (longest, 'k', sizeof longest);
    nexus_error_t error = {0};
    tables_txn_t *txn = begin (tables, true);
    slice_t key = {longest, 500};
    assert_int_equal (tables_put (txn, PEOPLE, key, SLICE ("v"), &error), 0);
    assert_true (tables_get (txn, PEOPLE, key, NULL));
    joined_t joined = {0};
    assert_int_equal (tables_each (txn, PEOPLE, key, key, join, &joined), 1);
    key.size = 501;
    assert_int_equal (tables_put (txn, PEOPLE, key, SLICE ("v"), &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_false (tables_get (txn, PEOPLE, key, NULL));
    assert_false (tables_delete (txn, PEOPLE, key));
    assert_int_equal (tables_each (txn, PEOPLE, key, SLICE (""), join, &joined), 0);
    assert_int_equal (tables_each (txn, PEOPLE, SLICE ("k"), key, join, &joined), 0);
    assert_int_equal (tables_put (txn, PEOPLE, SLICE (""), SLICE ("v"), &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    /*  Much larger than a page. */
    size_t size = 3 << 20;
    char *large = malloc (size);
    assert_non_null (large);
    memset (large, 'x', size);
    slice_t bytes = {large, size};
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("large"), bytes, &error), 0);
    commit (&txn);
    txn = begin (tables, false);
    slice_t found;
    assert_true (tables_get (txn, PEOPLE, SLICE ("large"), &found));
    assert_int_equal (found.size, size);
    assert_memory_equal (found.data, large, size);
    tables_abort (&txn);
    free (large);
}

static void case_abort (tables_t *tables)
{
    tables_txn_t *txn = begin (tables, true);
    put (txn, PEOPLE, "kept", "1");
    commit (&txn);
    txn = begin (tables, true);
    put (txn, PEOPLE, "kept", "2");
    put (txn, PEOPLE, "lost", "2");
    put (txn, PLACES, "lost", "2");
    tables_abort (&txn);
    txn = begin (tables, false);
    assert_each (txn, PEOPLE, "", "", "kept=1 ");
    assert_each (txn, PLACES, "", "", "");
    tables_abort (&txn);
}

static void case_snapshot (tables_t *tables)
{
    tables_txn_t *txn = begin (tables, true);
    put (txn, PEOPLE, "a", "old");
    put (txn, PEOPLE, "b", "old");
    commit (&txn);
    tables_txn_t *before = begin (tables, false);
    slice_t pinned;
    assert_true (tables_get (before, PEOPLE, SLICE ("a"), &pinned));
    for (int round = 0; round < 50; round++) {
        txn = begin (tables, true);
        put (txn, PEOPLE, "a", "new");
        tables_delete (txn, PEOPLE, SLICE ("b"));
        put (txn, PEOPLE, "c", "new");
        assert_each (before, PEOPLE, "", "", "a=old b=old ");
        commit (&txn);
    }
    assert_memory_equal (pinned.data, "old", 3);
    assert_int_equal (tables_count (before, PEOPLE), 2);
    tables_txn_t *after = begin (tables, false);
    assert_each (after, PEOPLE, "", "", "a=new c=new ");
    assert_each (before, PEOPLE, "", "", "a=old b=old ");
    tables_abort (&before);
    tables_abort (&after);
}

/*  What a read returned may be written again at once. */
static void case_copy_within (tables_t *tables)
{
    tables_txn_t *txn = begin (tables, true);
    char value[1000];
    memset (value, 'v', sizeof value);
    nexus_error_t error;
    slice_t found = {value, sizeof value};
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("5000"), found, &error), 0);
    for (int i = 4999; i >= 4000; i--) {
        char key[16];
        snprintf (key, sizeof key, "%d", i);
        assert_true (tables_get (txn, PEOPLE, SLICE ("5000"), &found));
        assert_int_equal (tables_put (txn, PEOPLE, SLICE (key), found, &error), 0);
        assert_true (tables_get (txn, PEOPLE, SLICE (key), &found));
        assert_int_equal (found.size, sizeof value);
        assert_memory_equal (found.data, value, sizeof value);
    }
    tables_abort (&txn);
}

/*  Against a plain array: random puts, deletes, commits and aborts. */
enum { MODEL_KEYS = 300 };
typedef struct {
    int values[MODEL_KEYS]; /* -1: none */
} model_t;

typedef struct {
    const model_t *model;
    int next;
} model_walk_t;

static bool model_matches (void *context, slice_t key, slice_t value)
{
    model_walk_t *walk = context;
    while (walk->next < MODEL_KEYS && walk->model->values[walk->next] < 0)
        walk->next++;
    assert_true (walk->next < MODEL_KEYS);
    char expected_key[16], expected_value[16];
    snprintf (expected_key, sizeof expected_key, "%04d", walk->next);
    snprintf (expected_value, sizeof expected_value, "%d", walk->model->values[walk->next]);
    assert_int_equal (key.size, 4);
    assert_memory_equal (key.data, expected_key, 4);
    assert_int_equal (value.size, strlen (expected_value));
    assert_memory_equal (value.data, expected_value, value.size);
    walk->next++;
    return true;
}

static void assert_model (tables_txn_t *txn, const model_t *model)
{
    size_t count = 0;
    for (int i = 0; i < MODEL_KEYS; i++)
        count += model->values[i] >= 0;
    model_walk_t walk = {.model = model};
    assert_int_equal (tables_each (txn, PLACES, SLICE (""), SLICE (""), model_matches, &walk),
                      count);
    assert_int_equal (tables_count (txn, PLACES), count);
}

static void change (tables_txn_t *txn, model_t *model, unsigned random)
{
    int i = (int)(random % MODEL_KEYS);
    char key[16], value[16];
    snprintf (key, sizeof key, "%04d", i);
    if (random >> 10 & 1) {
        model->values[i] = (int)(random >> 16);
        snprintf (value, sizeof value, "%d", model->values[i]);
        put (txn, PLACES, key, value);
    } else {
        assert_int_equal (tables_delete (txn, PLACES, SLICE (key)), model->values[i] >= 0);
        model->values[i] = -1;
    }
}

static void case_model (tables_t *tables)
{
    static model_t current, working, pinned;
    memset (&current, 0xff, sizeof current);
    tables_txn_t *reader = NULL;
    unsigned random = 7;
    for (int round = 0; round < 100; round++) {
        tables_txn_t *txn = begin (tables, true);
        working = current;
        for (int i = 0; i < 40; i++) {
            random = random * 1664525u + 1013904223u;
            change (txn, &working, random >> 3);
        }
        assert_model (txn, &working);
        if (round % 3 == 2) {
            tables_abort (&txn);
        } else {
            commit (&txn);
            current = working;
        }
        if (reader)
            assert_model (reader, &pinned);
        if (round % 7 == 0) {
            tables_abort (&reader);
            reader = begin (tables, false);
            pinned = current;
        }
    }
    tables_abort (&reader);
}

/*  Several writers add to one number; none is lost, and readers see whole
    transactions: both tables always hold the same number. */
enum { WRITERS = 4, ADDITIONS = 50 };

static int number (tables_txn_t *txn, size_t table)
{
    slice_t value;
    char text[16] = "0";
    if (tables_get (txn, table, SLICE ("n"), &value))
        memcpy (text, value.data, value.size < 15 ? value.size : 15);
    return atoi (text);
}

static void *add (void *tables)
{
    for (int i = 0; i < ADDITIONS; i++) {
        tables_txn_t *txn = begin (tables, true);
        char text[16] = "";
        snprintf (text, sizeof text, "%d", number (txn, PEOPLE) + 1);
        put (txn, PEOPLE, "n", text);
        put (txn, PLACES, "n", text);
        commit (&txn);
        tables_txn_t *reader = begin (tables, false);
        assert_int_equal (number (reader, PEOPLE), number (reader, PLACES));
        tables_abort (&reader);
    }
    return NULL;
}

static void case_threads (tables_t *tables)
{
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal (pthread_create (&threads[i], NULL, add, tables), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join (threads[i], NULL);
    tables_txn_t *txn = begin (tables, false);
    assert_int_equal (number (txn, PEOPLE), WRITERS * ADDITIONS);
    tables_abort (&txn);
}

static void case_usage (tables_t *tables)
{
    size_t used, limit, more;
    tables_usage (tables, &used, &limit);
    assert_true (used < limit);
    static char bytes[100000];
    nexus_error_t error;
    tables_txn_t *txn = begin (tables, true);
    slice_t value = {bytes, sizeof bytes};
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("k"), value, &error), 0);
    commit (&txn);
    tables_usage (tables, &more, &limit);
    assert_true (more >= used + sizeof bytes && more < used + 2 * sizeof bytes);
    /*  What is deleted is given back. */
    txn = begin (tables, true);
    tables_delete (txn, PEOPLE, SLICE ("k"));
    commit (&txn);
    tables_usage (tables, &more, &limit);
    assert_true (more < used + sizeof bytes);
}

static const struct {
    const char *name;
    void (*run) (tables_t *tables);
} cases[] = {
    {"get, put, delete", case_get_put_delete},
    {"order", case_order},
    {"sizes", case_sizes},
    {"abort", case_abort},
    {"snapshot", case_snapshot},
    {"copy within", case_copy_within},
    {"model", case_model},
    {"threads", case_threads},
    {"usage", case_usage},
};

static tables_t *open_lmdb (const char *dir)
{
    nexus_error_t error = {0};
    tables_t *tables = tables_open (dir, MAP_SIZE, names, TABLES, &error);
    if (!tables)
        fail_msg ("%s", error.text);
    return tables;
}

static void test_both_backings (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message ("  %s\n", cases[i].name);
        tables_t *tables = tables_open_memory (names, TABLES);
        cases[i].run (tables);
        tables_close (&tables);
        char dir[64];
        tables = open_lmdb (temp_dir_new (dir));
        cases[i].run (tables);
        tables_close (&tables);
        assert_null (tables);
        tables_close (&tables);
        temp_dir_remove (dir);
    }
}

/*  ---- LMDB alone -------------------------------------------------------- */

static void assert_refused (const char *dir, nexus_code_t code, const char *words)
{
    nexus_error_t error = {0};
    assert_null (tables_open (dir, MAP_SIZE, names, TABLES, &error));
    if (error.code != code || !strstr (error.text, words) || !strstr (error.text, dir))
        fail_msg ("code %d: %s", error.code, error.text);
}

static void test_map_full (void **state)
{
    (void)state;
    char dir[64];
    nexus_error_t error = {0};
    tables_t *tables = tables_open (temp_dir_new (dir), 1 << 20, names, TABLES, &error);
    assert_non_null (tables);
    tables_txn_t *txn = begin (tables, true);
    put (txn, PEOPLE, "before", "1");
    commit (&txn);
    static char bytes[600000];
    slice_t large = {bytes, sizeof bytes};
    txn = begin (tables, true);
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("a"), large, &error), 0);
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("b"), large, &error), -1);
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    assert_non_null (strstr (error.text, dir));
    assert_non_null (strstr (error.text, "map size"));
    /*  The rest of that transaction is spoilt, and says so; the tables live on. */
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("c"), SLICE ("1"), &error), -1);
    assert_int_equal (tables_commit (&txn, &error), -1);
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    txn = begin (tables, true);
    put (txn, PEOPLE, "after", "1");
    commit (&txn);
    tables_close (&tables);
    tables = open_lmdb (dir);
    txn = begin (tables, true);
    assert_each (txn, PEOPLE, "", "", "after=1 before=1 ");
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("a"), large, &error), 0);
    assert_int_equal (tables_put (txn, PEOPLE, SLICE ("b"), large, &error), 0);
    commit (&txn);
    tables_close (&tables);
    temp_dir_remove (dir);
}

static void test_opened_twice (void **state)
{
    (void)state;
    char dir[64], alias[80];
    tables_t *tables = open_lmdb (temp_dir_new (dir));
    assert_refused (dir, NEXUS_CONFLICT, "this very process");
    snprintf (alias, sizeof alias, "/tmp/../%s", dir);
    assert_refused (alias, NEXUS_CONFLICT, "this very process");
    pid_t child = fork ();
    if (child == 0) {
        nexus_error_t error = {0};
        bool refused = !tables_open (dir, MAP_SIZE, names, TABLES, &error);
        _exit (refused && strstr (error.text, "another process") ? 0 : 1);
    }
    int status;
    waitpid (child, &status, 0);
    assert_int_equal (status, 0);
    tables_close (&tables);
    tables = open_lmdb (dir);
    tables_close (&tables);
    temp_dir_remove (dir);
}

static void test_bad_directories (void **state)
{
    (void)state;
    char dir[64], path[100];
    temp_dir_new (dir);
    snprintf (path, sizeof path, "%s/missing/tables", dir);
    assert_refused (path, NEXUS_NOT_FOUND, "parent");
    snprintf (path, sizeof path, "%s/file", dir);
    close (open (path, O_CREAT | O_WRONLY, 0600));
    assert_refused (path, NEXUS_INVALID, "not a directory");
    snprintf (path, sizeof path, "%s/new", dir);
    tables_t *tables = open_lmdb (path); /* made where the parent exists */
    tables_close (&tables);
    /*  Something else under LMDB's name. */
    snprintf (path, sizeof path, "%s/new/data.mdb", dir);
    int fd = open (path, O_WRONLY);
    for (int i = 0; i < 400; i++)
        assert_int_equal (write (fd, "this is no database at all ", 27), 27);
    close (fd);
    snprintf (path, sizeof path, "%s/new", dir);
    assert_refused (path, NEXUS_CORRUPT, "damaged");
    temp_dir_remove (dir);
}

/*  Runs in a child, so that it may give up rights and limit itself. Exits with 0
    if it is as expected, 77 if this machine can't do it. */
static void in_child (void (*run) (const char *dir), const char *dir)
{
    fflush (NULL);
    pid_t child = fork ();
    if (child == 0) {
        run (dir);
        fflush (NULL);
        _exit (0);
    }
    int status;
    waitpid (child, &status, 0);
    if (WIFEXITED (status) && WEXITSTATUS (status) == 77)
        print_message ("  not possible here\n");
    else
        assert_int_equal (status, 0);
}

#define EXPECT(condition)                                                \
    if (!(condition)) {                                                  \
        fprintf (stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
        _exit (1);                                                       \
    }

static void expect_refused (const char *dir, nexus_code_t code)
{
    nexus_error_t error = {0};
    tables_t *tables = tables_open (dir, MAP_SIZE, names, TABLES, &error);
    EXPECT (!tables);
    if (error.code != code)
        fprintf (stderr, "%s\n", error.text);
    EXPECT (error.code == code);
}

static void without_rights (const char *dir)
{
    if (geteuid () == 0 && (setgroups (0, NULL) != 0 || setgid (65534) != 0 || setuid (65534) != 0))
        _exit (77);
    expect_refused (dir, NEXUS_DENIED);
}

static void test_no_rights (void **state)
{
    (void)state;
    char dir[64];
    tables_t *tables = open_lmdb (temp_dir_new (dir));
    tables_close (&tables);
    char path[100];
    snprintf (path, sizeof path, "%s/lock", dir);
    chmod (path, 0400);
    chmod (dir, 0500);
    in_child (without_rights, dir);
    chmod (dir, 0700);
    temp_dir_remove (dir);
}

/*  A file system of its own, gone with the child. */
static void mount_small (const char *dir)
{
    if (unshare (CLONE_NEWNS) != 0 && unshare (CLONE_NEWUSER | CLONE_NEWNS) != 0)
        _exit (77);
    if (mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount ("none", dir, "tmpfs", 0, "size=4m") != 0)
        _exit (77);
}

static void on_full_disk (const char *dir)
{
    mount_small (dir);
    char inner[80];
    snprintf (inner, sizeof inner, "%s/tables", dir);
    tables_t *tables = tables_open (inner, MAP_SIZE, names, TABLES, NULL);
    EXPECT (tables);
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    EXPECT (tables_put (txn, PEOPLE, SLICE ("before"), SLICE ("1"), NULL) == 0);
    EXPECT (tables_commit (&txn, NULL) == 0);
    static char bytes[5 << 20];
    memset (bytes, 'x', sizeof bytes);
    nexus_error_t error = {0};
    txn = tables_begin (tables, true, NULL);
    EXPECT (tables_put (txn, PEOPLE, SLICE ("a"), (slice_t){bytes, sizeof bytes}, NULL) == 0);
    EXPECT (tables_commit (&txn, &error) == -1);
    EXPECT (error.code == NEXUS_EXHAUSTED && strstr (error.text, inner));
    /*  Poisoned: the next commit would hide the hole. Reading is still possible. */
    EXPECT (!tables_begin (tables, true, &error));
    EXPECT (error.code == NEXUS_EXHAUSTED && strstr (error.text, "earlier failure"));
    txn = tables_begin (tables, false, &error);
    EXPECT (txn && tables_get (txn, PEOPLE, SLICE ("before"), NULL));
    EXPECT (tables_count (txn, PEOPLE) == 1);
    tables_abort (&txn);
    tables_close (&tables);
    expect_refused (inner, NEXUS_EXHAUSTED);
}

static void on_read_only_disk (const char *dir)
{
    mount_small (dir);
    char inner[80];
    snprintf (inner, sizeof inner, "%s/tables", dir);
    tables_t *tables = tables_open (inner, MAP_SIZE, names, TABLES, NULL);
    EXPECT (tables);
    tables_close (&tables);
    if (mount ("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        _exit (77);
    expect_refused (inner, NEXUS_DENIED);
    snprintf (inner, sizeof inner, "%s/others", dir);
    expect_refused (inner, NEXUS_DENIED);
}

static void on_limited_file (const char *dir)
{
    tables_t *tables = tables_open (dir, MAP_SIZE, names, TABLES, NULL);
    EXPECT (tables);
    signal (SIGXFSZ, SIG_IGN);
    setrlimit (RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20});
    nexus_error_t error = {0};
    static char bytes[2 << 20];
    tables_txn_t *txn = tables_begin (tables, true, NULL);
    EXPECT (tables_put (txn, PEOPLE, SLICE ("a"), (slice_t){bytes, sizeof bytes}, NULL) == 0);
    EXPECT (tables_commit (&txn, &error) == -1);
    EXPECT (!tables_begin (tables, true, &error));
    tables_close (&tables);
}

static void test_failing_disks (void **state)
{
    (void)state;
    char dir[64];
    temp_dir_new (dir);
    in_child (on_full_disk, dir);
    in_child (on_read_only_disk, dir);
    in_child (on_limited_file, dir);
    /*  What failed left nothing behind. */
    tables_t *tables = open_lmdb (dir);
    tables_txn_t *txn = begin (tables, true);
    assert_int_equal (tables_count (txn, PEOPLE), 0);
    commit (&txn);
    tables_close (&tables);
    temp_dir_remove (dir);
}

/*  A child commits the same number to both tables, tells of it, and is killed at
    any moment. What it told of must be there; both tables must agree. */
static void commit_for_ever (const char *dir, int tell)
{
    tables_t *tables = tables_open (dir, MAP_SIZE, names, TABLES, NULL);
    EXPECT (tables);
    for (;;) {
        tables_txn_t *txn = tables_begin (tables, true, NULL);
        int next = number (txn, PEOPLE) + 1;
        char text[16];
        snprintf (text, sizeof text, "%d", next);
        EXPECT (tables_put (txn, PEOPLE, SLICE ("n"), SLICE (text), NULL) == 0);
        EXPECT (tables_put (txn, PLACES, SLICE ("n"), SLICE (text), NULL) == 0);
        EXPECT (tables_commit (&txn, NULL) == 0);
        EXPECT (write (tell, &next, sizeof next) == sizeof next);
    }
}

static void test_killed_while_committing (void **state)
{
    (void)state;
    char dir[64];
    temp_dir_new (dir);
    int told = 0;
    for (int round = 0; round < 10; round++) {
        int pipes[2];
        assert_int_equal (pipe (pipes), 0);
        pid_t child = fork ();
        if (child == 0)
            commit_for_ever (dir, pipes[1]);
        close (pipes[1]);
        for (int i = 0; i < 20 + round; i++)
            assert_int_equal (read (pipes[0], &told, sizeof told), sizeof told);
        kill (child, SIGKILL);
        waitpid (child, NULL, 0);
        while (read (pipes[0], &told, sizeof told) == sizeof told)
            ;
        close (pipes[0]);
        tables_t *tables = open_lmdb (dir);
        tables_txn_t *txn = begin (tables, false);
        int found = number (txn, PEOPLE);
        assert_int_equal (found, number (txn, PLACES));
        assert_in_range (found, told, told + 1);
        tables_abort (&txn);
        tables_close (&tables);
    }
    temp_dir_remove (dir);
}

/*  A file that somebody cut must not end the process with SIGBUS. */
static void test_cut_file (void **state)
{
    (void)state;
    char dir[64], path[100];
    tables_t *tables = open_lmdb (temp_dir_new (dir));
    tables_txn_t *txn = begin (tables, true);
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf (key, sizeof key, "%d", i);
        put (txn, PEOPLE, key, "something that takes a little room in the file");
    }
    commit (&txn);
    tables_close (&tables);
    snprintf (path, sizeof path, "%s/data.mdb", dir);
    assert_int_equal (truncate (path, 10 * 4096), 0);
    nexus_error_t error = {0};
    tables = tables_open (dir, MAP_SIZE, names, TABLES, &error);
    if (tables) {
        joined_t joined = {0};
        txn = begin (tables, false);
        tables_each (txn, PEOPLE, SLICE (""), SLICE (""), join, &joined);
        tables_abort (&txn);
        assert_null (tables_begin (tables, false, &error));
        tables_close (&tables);
    }
    assert_int_equal (error.code, NEXUS_CORRUPT);
    temp_dir_remove (dir);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_both_backings),
        cmocka_unit_test (test_map_full),
        cmocka_unit_test (test_opened_twice),
        cmocka_unit_test (test_bad_directories),
        cmocka_unit_test (test_no_rights),
        cmocka_unit_test (test_failing_disks),
        cmocka_unit_test (test_killed_while_committing),
        cmocka_unit_test (test_cut_file),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
