#include "storage/raft_log.h"
#include "temp_dir.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAP_SIZE = 64 << 20 };

static raft_log_t *open_log (const char *dir)
{
    nexus_error_t error = {0};
    raft_log_t *log = raft_log_open (dir, MAP_SIZE, &error);
    if (!log)
        fail_msg ("%s", error.text);
    return log;
}

static raft_log_state_t state_of (raft_log_t *log)
{
    raft_log_state_t state;
    raft_log_state (log, &state);
    return state;
}

static int try_write (raft_log_t *log, const raft_log_write_t *write, nexus_error_t *error)
{
    *error = (nexus_error_t){0};
    return raft_log_write (log, write, 1, error);
}

static void write_ok (raft_log_t *log, raft_log_write_t write)
{
    nexus_error_t error;
    if (try_write (log, &write, &error) != 0)
        fail_msg ("%s", error.text);
}

static void write_refused (raft_log_t *log, raft_log_write_t write)
{
    nexus_error_t error;
    raft_log_state_t before = state_of (log);
    assert_int_equal (try_write (log, &write, &error), -1);
    if (error.code != NEXUS_INVALID)
        fail_msg ("%d: %s", error.code, error.text);
    raft_log_state_t after = state_of (log);
    assert_memory_equal (&before, &after, sizeof before);
}

/*  Entry N of term t has the data "entry N of t", and x's up to its size. */
static raft_log_entry_t make_entry (uint64_t index, uint64_t term, char *data, size_t size)
{
    memset (data, 'x', size);
    char text[40];
    int length = snprintf (text, sizeof text, "entry %llu of %llu", (unsigned long long)index,
                           (unsigned long long)term);
    memcpy (data, text, (size_t)length < size ? (size_t)length : size);
    return (raft_log_entry_t){
        .index = index, .term = term, .type = (uint8_t)(index % 3), .data = data, .size = size};
}

/*  Appends entries from..to as one write. */
static void append (raft_log_t *log, uint64_t from, uint64_t to, uint64_t term, size_t size)
{
    size_t count = (size_t)(to - from + 1);
    raft_log_entry_t *entries = calloc (count, sizeof *entries);
    char *data = malloc (count * size + 1);
    assert_true (entries && data);
    for (size_t i = 0; i < count; i++)
        entries[i] = make_entry (from + i, term, data + i * size, size);
    write_ok (log, (raft_log_write_t){.entries = entries, .count = count});
    free (entries);
    free (data);
}

static void set_hard (raft_log_t *log, uint64_t term, uint64_t vote, uint64_t commit)
{
    raft_log_hard_state_t hard = {term, vote, commit};
    write_ok (log, (raft_log_write_t){.hard = &hard});
}

typedef struct {
    uint64_t next;
    uint64_t term; /* expected; 0: any */
    size_t count;
    size_t stop_after;
} reading_t;

static bool check_entry (void *context, const raft_log_entry_t *entry)
{
    reading_t *self = context;
    assert_int_equal (entry->index, self->next++);
    assert_int_equal (entry->type, entry->index % 3);
    if (self->term)
        assert_int_equal (entry->term, self->term);
    char *data = malloc (entry->size + 1);
    assert_non_null (data);
    make_entry (entry->index, entry->term, data, entry->size);
    assert_memory_equal (data, entry->data, entry->size);
    free (data);
    return ++self->count != self->stop_after;
}

static void assert_read (raft_log_t *log, uint64_t from, uint64_t to, size_t bytes, size_t count)
{
    nexus_error_t error = {0};
    reading_t reading = {.next = from};
    int64_t read = raft_log_read (log, from, to, bytes, check_entry, &reading, &error);
    if (read < 0)
        fail_msg ("%s", error.text);
    assert_int_equal (read, count);
    assert_int_equal (reading.count, count);
}

static void assert_unreadable (raft_log_t *log, uint64_t index, nexus_code_t code)
{
    nexus_error_t error = {0};
    reading_t reading = {.next = index};
    assert_int_equal (raft_log_read (log, index, index, SIZE_MAX, check_entry, &reading, &error),
                      -1);
    assert_int_equal (error.code, code);
    assert_int_equal (reading.count, 0);
}

/*  ---- what it does ------------------------------------------------------ */

static void test_new_log (void **unused)
{
    (void)unused;
    char dir[64], other[64];
    raft_log_t *log = open_log (temp_dir_new (dir));
    raft_log_state_t state = state_of (log);
    assert_int_equal (state.first, 1);
    assert_int_equal (state.last, 0);
    assert_int_equal (state.hard.term, 0);
    assert_int_equal (state.damaged, 0);
    assert_int_not_equal (state.incarnation, 0);
    assert_int_equal (raft_log_term (log, 0), 0);
    assert_unreadable (log, 0, NEXUS_NOT_FOUND);
    assert_unreadable (log, 1, NEXUS_NOT_FOUND);
    nexus_error_t error = {0};
    assert_null (raft_log_open (dir, MAP_SIZE, &error));
    assert_int_equal (error.code, NEXUS_CONFLICT);
    raft_log_close (&log);
    assert_null (log);
    raft_log_close (&log);
    log = open_log (dir);
    assert_int_equal (state_of (log).incarnation, state.incarnation);
    raft_log_t *second = open_log (temp_dir_new (other));
    assert_int_not_equal (state_of (second).incarnation, state.incarnation);
    raft_log_close (&log);
    raft_log_close (&second);
    temp_dir_remove (dir);
    temp_dir_remove (other);
}

static void test_append_and_reopen (void **unused)
{
    (void)unused;
    char dir[64];
    raft_log_t *log = open_log (temp_dir_new (dir));
    append (log, 1, 10, 1, 100);
    append (log, 11, 11, 2, 0);
    append (log, 12, 40, 2, 3000);
    append (log, 41, 41, 3, RAFT_LOG_ENTRY_MAX);
    raft_log_hard_state_t hard = {.term = 4, .vote = 77, .commit = 39};
    write_ok (log, (raft_log_write_t){.hard = &hard});
    uint64_t incarnation = state_of (log).incarnation;
    for (int round = 0; round < 2; round++) {
        raft_log_state_t state = state_of (log);
        assert_int_equal (state.first, 1);
        assert_int_equal (state.last, 41);
        assert_int_equal (state.last_term, 3);
        assert_int_equal (state.hard.term, 4);
        assert_int_equal (state.hard.vote, 77);
        assert_int_equal (state.hard.commit, 39);
        assert_int_equal (state.incarnation, incarnation);
        assert_int_equal (state.damaged, 0);
        assert_read (log, 1, 41, SIZE_MAX, 41);
        assert_read (log, 41, 100, SIZE_MAX, 1);
        assert_int_equal (raft_log_term (log, 10), 1);
        assert_int_equal (raft_log_term (log, 11), 2);
        assert_int_equal (raft_log_term (log, 41), 3);
        assert_int_equal (raft_log_term (log, 42), 0);
        assert_int_equal (raft_log_check (log, NULL), 0);
        raft_log_close (&log);
        log = open_log (dir);
    }
    raft_log_close (&log);
    temp_dir_remove (dir);
}

static void test_read_limits (void **unused)
{
    (void)unused;
    char dir[64];
    raft_log_t *log = open_log (temp_dir_new (dir));
    append (log, 1, 50, 1, 100);
    assert_read (log, 1, 50, 1000, 10);
    assert_read (log, 1, 50, 999, 9);
    assert_read (log, 7, 50, 0, 1); /* one always */
    assert_read (log, 7, 9, SIZE_MAX, 3);
    reading_t reading = {.next = 1, .stop_after = 4};
    assert_int_equal (raft_log_read (log, 1, 50, SIZE_MAX, check_entry, &reading, NULL), 4);
    assert_unreadable (log, 51, NEXUS_NOT_FOUND);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

static void test_truncate (void **unused)
{
    (void)unused;
    char dir[64];
    raft_log_t *log = open_log (temp_dir_new (dir));
    append (log, 1, 1000, 1, 200);
    set_hard (log, 1, 0, 300);
    char data[200];
    raft_log_entry_t entry = make_entry (501, 2, data, sizeof data);
    raft_log_hard_state_t hard = {2, 5, 301};
    write_ok (log, (raft_log_write_t){
                       .truncate_from = 501, .entries = &entry, .count = 1, .hard = &hard});
    assert_int_equal (state_of (log).last, 501);
    assert_int_equal (state_of (log).last_term, 2);
    assert_int_equal (raft_log_term (log, 500), 1);
    assert_int_equal (raft_log_term (log, 501), 2);
    assert_int_equal (raft_log_term (log, 502), 0);
    assert_read (log, 500, 600, SIZE_MAX, 2);
    /*  Behind the end there is nothing to truncate. */
    write_ok (log, (raft_log_write_t){.truncate_from = 502});
    write_ok (log, (raft_log_write_t){.truncate_from = 302});
    assert_int_equal (state_of (log).last, 301);
    raft_log_close (&log);
    log = open_log (dir);
    assert_int_equal (state_of (log).last, 301);
    assert_int_equal (state_of (log).last_term, 1);
    append (log, 302, 310, 3, 10);
    assert_read (log, 1, 310, SIZE_MAX, 310);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  Several writes of one call are one transaction, in their order. */
static void test_batch (void **unused)
{
    (void)unused;
    char dir[64], data[3][16];
    raft_log_t *log = open_log (temp_dir_new (dir));
    raft_log_entry_t first = make_entry (1, 1, data[0], 16), again = make_entry (1, 2, data[1], 16);
    raft_log_entry_t gap = make_entry (3, 2, data[2], 16);
    raft_log_hard_state_t hard = {2, 9, 0};
    raft_log_write_t writes[] = {
        {.entries = &first, .count = 1},
        {.hard = &hard},
        {.truncate_from = 1, .entries = &again, .count = 1},
        {.entries = &gap, .count = 1},
    };
    nexus_error_t error;
    assert_int_equal (raft_log_write (log, writes, 4, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_int_equal (state_of (log).last, 0);
    assert_int_equal (state_of (log).hard.term, 0);
    assert_int_equal (raft_log_write (log, writes, 3, &error), 0);
    assert_int_equal (state_of (log).last, 1);
    assert_int_equal (raft_log_term (log, 1), 2);
    assert_int_equal (state_of (log).hard.vote, 9);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

static void test_refusals (void **unused)
{
    (void)unused;
    char dir[64], data[16];
    raft_log_t *log = open_log (temp_dir_new (dir));
    append (log, 1, 20, 3, 10);
    set_hard (log, 5, 1, 10);
    raft_log_entry_t entry = make_entry (22, 5, data, 16);
    write_refused (log, (raft_log_write_t){.entries = &entry, .count = 1});
    entry = make_entry (20, 5, data, 16);
    write_refused (log, (raft_log_write_t){.entries = &entry, .count = 1});
    entry = make_entry (21, 2, data, 16); /* terms don't fall */
    write_refused (log, (raft_log_write_t){.entries = &entry, .count = 1});
    entry = make_entry (21, 5, data, 16);
    entry.size = RAFT_LOG_ENTRY_MAX + 1;
    write_refused (log, (raft_log_write_t){.entries = &entry, .count = 1});
    write_refused (log, (raft_log_write_t){.truncate_from = 10}); /* committed */
    raft_log_hard_state_t hard = {4, 1, 10};
    write_refused (log, (raft_log_write_t){.hard = &hard});
    hard = (raft_log_hard_state_t){5, 2, 10}; /* a second vote in one term */
    write_refused (log, (raft_log_write_t){.hard = &hard});
    hard = (raft_log_hard_state_t){5, 1, 21}; /* not there */
    write_refused (log, (raft_log_write_t){.hard = &hard});
    write_refused (log, (raft_log_write_t){.snapshot_index = 9, .snapshot_term = 3});
    nexus_error_t error;
    assert_int_equal (raft_log_compact (log, 11, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    entry = make_entry (5, 2, data, 16); /* another one can be read there */
    write_refused (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1});
    entry = make_entry (21, 3, data, 16);
    write_refused (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1});
    /*  A lower commit index is old news, no contradiction. */
    set_hard (log, 6, 0, 7);
    assert_int_equal (state_of (log).hard.commit, 10);
    /*  None of that spoilt the log. */
    append (log, 21, 21, 6, 10);
    assert_int_equal (raft_log_check (log, NULL), 0);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

static void test_compact (void **unused)
{
    (void)unused;
    char dir[64];
    nexus_error_t error;
    raft_log_t *log = open_log (temp_dir_new (dir));
    append (log, 1, 5000, 7, 100);
    append (log, 5001, 5100, 8, 100);
    set_hard (log, 8, 0, 5050);
    size_t before, after, limit;
    raft_log_usage (log, &before, &limit);
    assert_int_equal (limit, MAP_SIZE);
    assert_int_equal (raft_log_compact (log, 5000, &error), 5000 - RAFT_LOG_COMPACT_SLICE);
    assert_int_equal (state_of (log).first, RAFT_LOG_COMPACT_SLICE + 1);
    int64_t left;
    while ((left = raft_log_compact (log, 5000, &error)) > 0)
        ;
    assert_int_equal (left, 0);
    assert_int_equal (raft_log_compact (log, 5000, &error), 0);
    assert_int_equal (raft_log_compact (log, 17, &error), 0);
    raft_log_usage (log, &after, &limit);
    assert_true (after < before / 2);
    for (int round = 0; round < 2; round++) {
        raft_log_state_t state = state_of (log);
        assert_int_equal (state.first, 5001);
        assert_int_equal (state.last, 5100);
        assert_int_equal (state.previous_term, 7);
        assert_int_equal (raft_log_term (log, 5000), 7);
        assert_int_equal (raft_log_term (log, 4999), 0);
        assert_unreadable (log, 5000, NEXUS_NOT_FOUND);
        assert_read (log, 5001, 5100, SIZE_MAX, 100);
        raft_log_close (&log);
        log = open_log (dir);
    }
    /*  To the very end: the log goes on behind it. */
    set_hard (log, 8, 0, 5100);
    assert_int_equal (raft_log_compact (log, 5100, &error), 0);
    assert_int_equal (state_of (log).first, 5101);
    assert_int_equal (state_of (log).last, 5100);
    assert_int_equal (state_of (log).last_term, 8);
    append (log, 5101, 5110, 8, 100);
    raft_log_close (&log);
    log = open_log (dir);
    assert_read (log, 5101, 5110, SIZE_MAX, 10);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

static void test_snapshot (void **unused)
{
    (void)unused;
    char dir[64], data[16];
    raft_log_t *log = open_log (temp_dir_new (dir));
    append (log, 1, 100, 1, 3000);
    set_hard (log, 1, 1, 50);
    uint64_t incarnation = state_of (log).incarnation;
    raft_log_entry_t entry = make_entry (1001, 9, data, 16);
    write_ok (log, (raft_log_write_t){
                       .snapshot_index = 1000, .snapshot_term = 8, .entries = &entry, .count = 1});
    for (int round = 0; round < 2; round++) {
        raft_log_state_t state = state_of (log);
        assert_int_equal (state.first, 1001);
        assert_int_equal (state.last, 1001);
        assert_int_equal (state.previous_term, 8);
        assert_int_equal (state.last_term, 9);
        assert_int_equal (state.hard.commit, 1000);
        assert_int_equal (state.incarnation, incarnation);
        assert_int_equal (raft_log_term (log, 1000), 8);
        assert_int_equal (raft_log_term (log, 100), 0);
        assert_unreadable (log, 100, NEXUS_NOT_FOUND);
        set_hard (log, 9, 3, 1000);
        raft_log_close (&log);
        log = open_log (dir);
    }
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  A reader goes through the log again and again while it is appended to,
    truncated and compacted; whatever it sees is right. */
typedef struct {
    raft_log_t *log;
    atomic_bool done;
    atomic_int rounds;
} race_t;

static void *read_all_the_time (void *context)
{
    race_t *race = context;
    while (!atomic_load (&race->done)) {
        raft_log_state_t state = state_of (race->log);
        reading_t reading = {.next = state.first};
        nexus_error_t error = {0};
        if (raft_log_read (race->log, state.first, state.last, SIZE_MAX, check_entry, &reading,
                           &error) < 0)
            assert_int_equal (error.code, NEXUS_NOT_FOUND);
        raft_log_term (race->log, state.last);
        atomic_fetch_add (&race->rounds, 1);
    }
    return NULL;
}

static void test_readers (void **unused)
{
    (void)unused;
    char dir[64];
    race_t race = {.log = open_log (temp_dir_new (dir))};
    pthread_t thread;
    append (race.log, 1, 100, 1, 100);
    assert_int_equal (pthread_create (&thread, NULL, read_all_the_time, &race), 0);
    uint64_t last = 100;
    for (uint64_t round = 0; round < 100 || atomic_load (&race.rounds) < 20; round++) {
        append (race.log, last + 1, last + 30, round + 2, 100);
        last += 30;
        write_ok (race.log, (raft_log_write_t){.truncate_from = last - 9});
        last -= 10;
        set_hard (race.log, round + 2, 0, last);
        assert_int_equal (raft_log_compact (race.log, last - 50, NULL), 0);
    }
    atomic_store (&race.done, true);
    pthread_join (thread, NULL);
    assert_int_equal (state_of (race.log).damaged, 0);
    assert_int_equal (raft_log_check (race.log, NULL), 0);
    raft_log_close (&race.log);
    temp_dir_remove (dir);
}

/*  The same with a journaled log, whose newest entries move from memory to LMDB meanwhile. */
static void test_readers_of_a_journaled_log (void **unused)
{
    (void)unused;
    char dir[64];
    nexus_error_t error = {0};
    race_t race = {.log = open_log (temp_dir_new (dir))};
    pthread_t thread;
    assert_int_equal (raft_log_set_durability (race.log, RAFT_LOG_JOURNALED, &error), 0);
    append (race.log, 1, 100, 1, 100);
    assert_int_equal (pthread_create (&thread, NULL, read_all_the_time, &race), 0);
    uint64_t last = 100;
    for (uint64_t round = 0; round < 400 || atomic_load (&race.rounds) < 20; round++) {
        append (race.log, last + 1, last + 30, round + 2, 100);
        last += 30;
        set_hard (race.log, round + 2, 0, last - 20);
        if (round % 3 == 0)
            assert_int_equal (raft_log_settle_begin (race.log, &error), 0);
        if (round % 50 == 20) {
            write_ok (race.log, (raft_log_write_t){.truncate_from = last - 9});
            last -= 10;
        }
        if (round % 50 == 40)
            while (raft_log_compact (race.log, last - 150, NULL) > 0)
                continue;
    }
    atomic_store (&race.done, true);
    pthread_join (thread, NULL);
    assert_int_equal (raft_log_settle (race.log, &error), 0);
    assert_int_equal (state_of (race.log).damaged, 0);
    assert_int_equal (state_of (race.log).last, last);
    assert_int_equal (raft_log_check (race.log, NULL), 0);
    uint64_t first = state_of (race.log).first;
    raft_log_close (&race.log);
    race.log = open_log (dir);
    assert_int_equal (state_of (race.log).first, first);
    assert_read (race.log, first, last, SIZE_MAX, last - first + 1);
    raft_log_close (&race.log);
    temp_dir_remove (dir);
}

static void test_map_full (void **unused)
{
    (void)unused;
    char dir[64];
    nexus_error_t error = {0};
    raft_log_t *log = raft_log_open (temp_dir_new (dir), 1 << 20, &error);
    assert_non_null (log);
    append (log, 1, 100, 1, 100);
    char *data = calloc (1, RAFT_LOG_ENTRY_MAX);
    assert_non_null (data);
    raft_log_entry_t entry = {101, 1, 0, data, RAFT_LOG_ENTRY_MAX};
    assert_int_equal (try_write (log, &(raft_log_write_t){.entries = &entry, .count = 1}, &error),
                      -1);
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    assert_non_null (strstr (error.text, "map size"));
    free (data);
    assert_int_equal (state_of (log).last, 100);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  ---- what the disk does to it ------------------------------------------ */

/*  A child appends in writes of 1 to 5 entries, with the vote in each, tells of
    each, and is killed at any moment. */
static void append_for_ever (const char *dir, int tell)
{
    raft_log_t *log = raft_log_open (dir, MAP_SIZE, NULL);
    if (!log)
        _exit (1);
    char data[5][300];
    for (;;) {
        raft_log_state_t state = state_of (log);
        raft_log_entry_t entries[5];
        size_t count = 1 + state.last % 5;
        uint64_t term = state.hard.term + 1;
        for (size_t i = 0; i < count; i++)
            entries[i] = make_entry (state.last + 1 + i, term, data[i], 300);
        raft_log_hard_state_t hard = {term, term, state.last};
        raft_log_write_t change = {.entries = entries, .count = count, .hard = &hard};
        if (raft_log_write (log, &change, 1, NULL) != 0)
            _exit (1);
        raft_log_state (log, &state);
        if (write (tell, &state, sizeof state) != sizeof state)
            _exit (1);
    }
}

static void test_killed_while_appending (void **unused)
{
    (void)unused;
    char dir[64];
    temp_dir_new (dir);
    for (int round = 0; round < 10; round++) {
        int pipes[2];
        assert_int_equal (pipe (pipes), 0);
        pid_t child = fork ();
        if (child == 0)
            append_for_ever (dir, pipes[1]);
        close (pipes[1]);
        raft_log_state_t told = {0};
        for (int i = 0; i < 10 + round; i++)
            assert_int_equal (read (pipes[0], &told, sizeof told), sizeof told);
        kill (child, SIGKILL);
        waitpid (child, NULL, 0);
        while (read (pipes[0], &told, sizeof told) == sizeof told)
            ;
        close (pipes[0]);
        raft_log_t *log = open_log (dir);
        raft_log_state_t state = state_of (log);
        assert_int_equal (state.damaged, 0);
        /*  What it told of is there, and at most one write more, whole. */
        if (state.hard.term == told.hard.term) {
            assert_int_equal (state.last, told.last);
        } else {
            assert_int_equal (state.hard.term, told.hard.term + 1);
            assert_int_equal (state.hard.vote, told.hard.vote + 1);
            assert_int_equal (state.last, told.last + 1 + told.last % 5);
        }
        assert_int_equal (state.last_term, state.hard.term);
        assert_read (log, 1, state.last, SIZE_MAX, state.last);
        raft_log_close (&log);
    }
    temp_dir_remove (dir);
}

/*  Changes every occurrence of text in the database's file at its byte `at`. */
static void flip (const char *dir, const void *text, size_t size, size_t at, uint8_t bits)
{
    char path[100];
    snprintf (path, sizeof path, "%s/data.mdb", dir);
    int fd = open (path, O_RDWR);
    struct stat status;
    assert_int_equal (fstat (fd, &status), 0);
    uint8_t *bytes = mmap (NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal (bytes, MAP_FAILED);
    int found = 0;
    uint8_t *end = bytes + status.st_size;
    for (uint8_t *p = bytes; (p = memmem (p, (size_t)(end - p), text, size)); p += size) {
        p[at] ^= bits;
        found++;
    }
    assert_true (found > 0);
    munmap (bytes, (size_t)status.st_size);
    close (fd);
}

static void make_log (const char *dir, size_t size)
{
    raft_log_t *log = open_log (dir);
    append (log, 1, 100, 5, size);
    set_hard (log, 6, 2, 90);
    raft_log_close (&log);
}

static void test_rotten_entry (void **unused)
{
    (void)unused;
    static const size_t sizes[] = {60, 1500, 9000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char dir[64], data[9000];
        temp_dir_new (dir);
        make_log (dir, sizes[i]);
        flip (dir, "entry 42 of 5", 13, 5, 0x10);
        flip (dir, "entry 77 of 5", 13, 0, 0x01);
        raft_log_t *log = open_log (dir);
        raft_log_state_t state = state_of (log);
        assert_int_equal (state.damaged, 42);
        assert_int_equal (state.last, 100); /* nothing is truncated */
        assert_int_equal (state.hard.vote, 2);
        nexus_error_t error = {0};
        assert_int_equal (raft_log_check (log, &error), -1);
        assert_int_equal (error.code, NEXUS_CORRUPT);
        assert_non_null (strstr (error.text, "entry 42"));
        assert_unreadable (log, 42, NEXUS_CORRUPT);
        assert_int_equal (raft_log_term (log, 42), 0);
        assert_read (log, 40, 100, SIZE_MAX, 2); /* up to the damage */
        assert_read (log, 43, 76, SIZE_MAX, 34);
        append (log, 101, 110, 6, 10);
        assert_int_equal (state_of (log).damaged, 42);
        /*  Fetched again from the leader. */
        raft_log_entry_t entry = make_entry (42, 4, data, sizes[i]); /* its neighbours say 5 */
        write_refused (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1});
        entry = make_entry (42, 6, data, sizes[i]);
        write_refused (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1});
        entry = make_entry (42, 5, data, sizes[i]);
        write_ok (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1});
        assert_int_equal (state_of (log).damaged, 77);
        write_ok (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1}); /* again */
        entry = make_entry (77, 5, data, sizes[i]);
        write_ok (log, (raft_log_write_t){.repairs = &entry, .repairs_count = 1});
        assert_int_equal (state_of (log).damaged, 0);
        assert_read (log, 1, 110, SIZE_MAX, 110);
        raft_log_close (&log);
        log = open_log (dir);
        assert_int_equal (state_of (log).damaged, 0);
        raft_log_close (&log);
        temp_dir_remove (dir);
    }
}

/*  What follows the damage was never committed, and goes with it: but only then. */
static void test_repair_and_truncate (void **unused)
{
    (void)unused;
    char dir[64], data[120];
    temp_dir_new (dir);
    make_log (dir, 60);
    flip (dir, "entry 95 of 5", 13, 5, 0x10);
    flip (dir, "entry 97 of 5", 13, 5, 0x10);
    raft_log_t *log = open_log (dir);
    assert_int_equal (state_of (log).damaged, 95);
    write_refused (log, (raft_log_write_t){.truncate_from = 90});
    raft_log_entry_t repairs[] = {make_entry (95, 5, data, 60)};
    raft_log_entry_t entries[] = {make_entry (96, 6, data + 60, 60)};
    write_ok (log, (raft_log_write_t){.repairs = repairs,
                                      .repairs_count = 1,
                                      .truncate_from = 96,
                                      .entries = entries,
                                      .count = 1});
    raft_log_state_t state = state_of (log);
    assert_int_equal (state.damaged, 0);
    assert_int_equal (state.last, 96);
    assert_int_equal (state.last_term, 6);
    assert_read (log, 1, 96, SIZE_MAX, 96);
    /*  The entry before a truncation is damaged itself: its term is not known, and not needed. */
    raft_log_close (&log);
    flip (dir, "entry 95 of 5", 13, 5, 0x10);
    log = open_log (dir);
    write_ok (log, (raft_log_write_t){.truncate_from = 96});
    state = state_of (log);
    assert_int_equal (state.last, 95);
    assert_int_equal (state.damaged, 95);
    assert_int_equal (state.last_term, 5);
    /*  A log can't begin behind it. */
    nexus_error_t error;
    set_hard (log, 6, 2, 95);
    assert_int_equal (raft_log_compact (log, 95, &error), 1);
    assert_int_equal (raft_log_compact (log, 95, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    write_ok (log, (raft_log_write_t){.repairs = repairs, .repairs_count = 1});
    assert_int_equal (raft_log_compact (log, 95, &error), 0);
    assert_int_equal (state_of (log).damaged, 0);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  A thread does it, in the end. What goes and what is damaged is told at once. */
static int compact_journaled (raft_log_t *log, uint64_t index, nexus_error_t *error)
{
    int64_t left;
    while ((left = raft_log_compact (log, index, error)) > 0) {
        raft_log_state_t state = state_of (log);
        assert_true (!state.damaged || state.damaged >= state.first);
        sched_yield ();
    }
    return (int)left;
}

static void test_compact_a_journaled_log (void **unused)
{
    (void)unused;
    char dir[64];
    nexus_error_t error = {0};
    raft_log_t *log = open_log (temp_dir_new (dir));
    assert_int_equal (raft_log_set_durability (log, RAFT_LOG_JOURNALED, &error), 0);
    append (log, 1, 4000, 7, 100);
    append (log, 4001, 5000, 8, 100);
    set_hard (log, 8, 0, 4950);
    /*  Little of much stays: all of it goes at once. */
    assert_int_equal (raft_log_compact (log, 4900, &error), 4900);
    uint64_t first;
    while ((first = state_of (log).first) == 1)
        usleep (100);
    assert_int_equal (first, 4901);
    assert_int_equal (compact_journaled (log, 4900, &error), 0);
    append (log, 5001, 5100, 8, 100); /* in the tail */
    for (int round = 0; round < 2; round++) {
        raft_log_state_t state = state_of (log);
        assert_int_equal (state.first, 4901);
        assert_int_equal (state.last, 5100);
        assert_int_equal (state.previous_term, 8);
        assert_int_equal (state.damaged, 0);
        assert_unreadable (log, 4900, NEXUS_NOT_FOUND);
        assert_read (log, 4901, 5000, SIZE_MAX, 100);
        assert_read (log, 5001, 5100, SIZE_MAX, 100);
        assert_int_equal (raft_log_check (log, &error), 0);
        raft_log_close (&log);
        log = open_log (dir);
        assert_int_equal (raft_log_set_durability (log, RAFT_LOG_JOURNALED, &error), 0);
    }
    /*  Much of little stays: some entries are taken out. Not beyond what is committed. */
    assert_int_equal (compact_journaled (log, 4910, &error), 0);
    assert_int_equal (state_of (log).first, 4911);
    assert_int_equal (compact_journaled (log, 4951, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_int_equal (state_of (log).first, 4911);
    /*  What stays is what it was, damaged or not. */
    flip (dir, "entry 5042 of 8", 15, 7, 0x10);
    assert_int_equal (raft_log_term (log, 5042), 0);
    set_hard (log, 8, 0, 5100);
    assert_int_equal (compact_journaled (log, 5040, &error), 0);
    assert_int_equal (state_of (log).first, 5041);
    assert_int_equal (state_of (log).damaged, 5042);
    assert_read (log, 5043, 5100, SIZE_MAX, 58);
    assert_int_equal (compact_journaled (log, 5050, &error), 0);
    assert_int_equal (state_of (log).damaged, 0);
    assert_int_equal (compact_journaled (log, 5100, &error), 0);
    append (log, 5101, 5110, 8, 100);
    raft_log_close (&log);
    log = open_log (dir);
    assert_read (log, 5101, 5110, SIZE_MAX, 10);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  Damage that comes while the log is open is found by the first reader. */
static void test_rots_while_open (void **unused)
{
    (void)unused;
    char dir[64];
    temp_dir_new (dir);
    make_log (dir, 60);
    raft_log_t *log = open_log (dir);
    assert_int_equal (state_of (log).damaged, 0);
    flip (dir, "entry 42 of 5", 13, 5, 0x10);
    assert_int_equal (raft_log_term (log, 42), 0);
    assert_int_equal (state_of (log).damaged, 42);
    /*  Compacted away, it matters no more. */
    assert_int_equal (raft_log_compact (log, 50, NULL), 0);
    assert_int_equal (state_of (log).damaged, 0);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  Without its vote a node could vote twice. */
static void test_rotten_state (void **unused)
{
    (void)unused;
    char dir[64];
    temp_dir_new (dir);
    raft_log_t *log = open_log (dir);
    append (log, 1, 3, 5, 50);
    raft_log_hard_state_t hard = {6, UINT64_C (0x7365746f766f6877), 1}; /* "whovotes" */
    write_ok (log, (raft_log_write_t){.hard = &hard});
    raft_log_close (&log);
    flip (dir, "whovotes", 8, 3, 0x40);
    nexus_error_t error = {0};
    assert_null (raft_log_open (dir, MAP_SIZE, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    flip (dir, "who6otes", 8, 3, 0x40);
    log = open_log (dir);
    assert_true (state_of (log).hard.vote == hard.vote);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  Every bit of an entry's record, as the disk has it. */
static void test_record_flips (void **unused)
{
    (void)unused;
    char data[20];
    uint8_t bytes[RAFT_LOG_RECORD_HEADER + sizeof data];
    raft_log_entry_t entry = make_entry (9, 3, data, sizeof data), found;
    raft_log_record_encode (RAFT_LOG_RECORD_ENTRY, &entry, bytes);
    nexus_error_t error;
    size_t size = sizeof bytes;
    assert_int_equal (
        raft_log_record_decode (RAFT_LOG_RECORD_ENTRY, 9, bytes, size, &found, &error), 0);
    assert_int_equal (found.term, 3);
    assert_int_equal (found.size, sizeof data);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal (
            raft_log_record_decode (RAFT_LOG_RECORD_ENTRY, 9, bytes, size, &found, &error), -1);
        assert_int_equal (error.code, NEXUS_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal (
            raft_log_record_decode (RAFT_LOG_RECORD_ENTRY, 9, bytes, cut, &found, &error), -1);
    assert_int_equal (
        raft_log_record_decode (RAFT_LOG_RECORD_ENTRY, 10, bytes, size, &found, &error), -1);
    assert_int_equal (
        raft_log_record_decode (RAFT_LOG_RECORD_STATE, 9, bytes, size, &found, &error), -1);
}

/*  The format is fixed: these bytes must be read for ever. */
static void test_golden_record (void **unused)
{
    (void)unused;
    static const uint8_t golden[] = {
        0x01, 0x01, 0x02, 0x00, 0x03, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06,
        0x05, 0x04, 0x03, 0x02, 0x01, 0x2a, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x35, 0x56, 0x3b, 0x0c, 'a',  'b',  'c',
    };
    raft_log_entry_t entry = {
        .index = 0x0102030405060708, .term = 42, .type = 2, .data = "abc", .size = 3};
    uint8_t bytes[sizeof golden];
    raft_log_record_encode (RAFT_LOG_RECORD_ENTRY, &entry, bytes);
    assert_memory_equal (bytes, golden, sizeof golden);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_new_log),
        cmocka_unit_test (test_append_and_reopen),
        cmocka_unit_test (test_read_limits),
        cmocka_unit_test (test_truncate),
        cmocka_unit_test (test_batch),
        cmocka_unit_test (test_refusals),
        cmocka_unit_test (test_compact),
        cmocka_unit_test (test_snapshot),
        cmocka_unit_test (test_readers),
        cmocka_unit_test (test_readers_of_a_journaled_log),
        cmocka_unit_test (test_compact_a_journaled_log),
        cmocka_unit_test (test_map_full),
        cmocka_unit_test (test_killed_while_appending),
        cmocka_unit_test (test_rotten_entry),
        cmocka_unit_test (test_rots_while_open),
        cmocka_unit_test (test_repair_and_truncate),
        cmocka_unit_test (test_rotten_state),
        cmocka_unit_test (test_record_flips),
        cmocka_unit_test (test_golden_record),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
