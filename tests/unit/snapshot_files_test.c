/*  snapshot_files: copies on disk, what a crash leaves of an installation at each point, and
    what a start makes of it */
#include "actors/protocol/ledger.h"
#include "actors/snapshots/snapshot_files.h"
#include "tests/unit/temp_dir.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAP_SIZE = 64 << 20 };

/*  A master's files. */
typedef struct {
    char dir[64];
    char ledger[128];
    raft_log_t *log;
    tables_t *tables;
    snapshot_files_t *files;
    snapshot_store_t store;
    log_t *messages;
} node_t;

static void in_ledger (const node_t *self, const char *name, char path[200])
{
    snprintf (path, 200, "%s/%s", self->ledger, name);
}

/*  -1 if it does not start; *error says why. */
static int open_node (node_t *self, nexus_error_t *error)
{
    char path[128];
    snprintf (path, sizeof path, "%s/log", self->dir);
    snprintf (self->ledger, sizeof self->ledger, "%s/ledger", self->dir);
    self->log = raft_log_open (path, MAP_SIZE, error);
    self->tables =
        tables_open_cache (self->ledger, MAP_SIZE, ledger_table_names, LEDGER_TABLES, NULL, error);
    assert_non_null (self->log);
    assert_non_null (self->tables);
    self->files = snapshot_files_new (self->ledger, self->tables, self->log, error);
    if (!self->files)
        return -1;
    self->store = snapshot_files_store (self->files);
    int null = open ("/dev/null", O_WRONLY | O_CLOEXEC);
    self->messages = log_new (null, false, LOG_LEVEL_INFO, "test");
    int rc = snapshot_files_recover (self->files, self->messages, error);
    log_destroy (&self->messages);
    close (null);
    return rc;
}

static void close_node (node_t *self)
{
    snapshot_files_destroy (&self->files);
    tables_close (&self->tables);
    raft_log_close (&self->log);
}

static void reopen (node_t *self)
{
    nexus_error_t error = {0};
    close_node (self);
    if (open_node (self, &error) != 0)
        fail_msg ("%s", error.text);
}

static node_t *node_new (void)
{
    node_t *self = calloc (1, sizeof *self);
    nexus_error_t error = {0};
    temp_dir_new (self->dir);
    if (open_node (self, &error) != 0)
        fail_msg ("%s", error.text);
    return self;
}

static void node_destroy (node_t **self_p)
{
    close_node (*self_p);
    temp_dir_remove ((*self_p)->dir);
    free (*self_p);
    *self_p = NULL;
}

/*  Entries up to last, of that term; committed up to commit. */
static void append (node_t *self, uint64_t last, uint64_t term, uint64_t commit)
{
    raft_log_state_t state;
    raft_log_state (self->log, &state);
    raft_log_entry_t entries[200];
    size_t count = 0;
    for (uint64_t index = state.last + 1; index <= last; index++)
        entries[count++] = (raft_log_entry_t){.index = index, .term = term};
    raft_log_hard_state_t hard = {.term = term, .commit = commit};
    raft_log_write_t write = {.entries = entries, .count = count, .hard = &hard};
    nexus_error_t error;
    if (raft_log_write (self->log, &write, 1, &error) != 0)
        fail_msg ("%s", error.text);
}

static void put_number (tables_txn_t *txn, const char *name, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    assert_int_equal (tables_put (txn, LEDGER_META, SLICE (name), (slice_t){bytes, 8}, NULL), 0);
}

static void apply (node_t *self, uint64_t index, uint64_t term)
{
    tables_txn_t *txn = tables_begin (self->tables, true, NULL);
    put_number (txn, LEDGER_APPLIED, index);
    put_number (txn, LEDGER_APPLIED_TERM, term);
    static char filling[30000];
    memset (filling, (int)index, sizeof filling);
    char key[32];
    snprintf (key, sizeof key, "key-%d", (int)index);
    assert_int_equal (
        tables_put (txn, LEDGER_JOBS, SLICE (key), (slice_t){filling, sizeof filling}, NULL), 0);
    assert_int_equal (tables_commit (&txn, NULL), 0);
}

static uint64_t applied (node_t *self)
{
    snapshot_position_t position;
    self->store.position (self->store.self, &position);
    return position.applied;
}

static snapshot_info_t make (node_t *self)
{
    snapshot_info_t copy;
    int64_t delay_ns = -1;
    nexus_error_t error;
    if (self->store.make (self->store.self, &copy, &delay_ns, &error) != 0)
        fail_msg ("%s", error.text);
    assert_int_equal (delay_ns, 0);
    return copy;
}

/*  Reads it from one, writes it to the other, from `from` on up to `to`. */
static void carry (node_t *one, node_t *other, const snapshot_info_t *copy, uint64_t from,
                   uint64_t to)
{
    static uint8_t bytes[5000];
    nexus_error_t error;
    while (from < to) {
        size_t want = to - from < sizeof bytes ? (size_t)(to - from) : sizeof bytes;
        int64_t got = one->store.read (one->store.self, copy, from, bytes, want, &error);
        assert_int_equal (got, want);
        assert_int_equal (other->store.part_write (other->store.self, from, bytes, want, &error),
                          0);
        from += want;
    }
}

/*  other gets one's copy, as a durable one of its own. */
static snapshot_info_t fetch (node_t *one, node_t *other)
{
    snapshot_info_t copy;
    nexus_error_t error = {0};
    int64_t delay_ns;
    one->store.current (one->store.self, &copy);
    assert_int_equal (other->store.part_begin (other->store.self, &copy, &error), 0);
    carry (one, other, &copy, 0, copy.size);
    if (other->store.part_finish (other->store.self, &delay_ns, &error) != 0)
        fail_msg ("%s", error.text);
    return copy;
}

static bool same (const snapshot_info_t *a, const snapshot_info_t *b)
{
    return a->index == b->index && a->term == b->term && a->size == b->size &&
           memcmp (&a->hash, &b->hash, sizeof a->hash) == 0;
}

/*  A leader with a copy up to 50, of term 3. */
static node_t *leader (void)
{
    node_t *self = node_new ();
    append (self, 50, 3, 50);
    apply (self, 50, 3);
    make (self);
    return self;
}

/*  ---- copies ----------------------------------------------------------------------------- */

static void test_copies (void **state)
{
    (void)state;
    node_t *node = node_new ();
    snapshot_info_t none, first, now;
    nexus_error_t error = {0};
    uint8_t byte;
    node->store.current (node->store.self, &none);
    assert_int_equal (none.index, 0);
    append (node, 100, 2, 100);
    apply (node, 10, 2);
    first = make (node);
    assert_int_equal (first.index, 10);
    assert_int_equal (first.term, 2);
    reopen (node);
    node->store.current (node->store.self, &now);
    assert_true (same (&first, &now));
    /* One that is being read is kept while others are made; one that nobody read is not. */
    for (uint64_t index = 11; index < 20; index++) {
        assert_int_equal (node->store.read (node->store.self, &first, 0, &byte, 1, &error), 1);
        apply (node, index, 2);
        snapshot_info_t copy = make (node);
        assert_int_equal (copy.index, index);
        if (index > 11) {
            assert_int_equal (node->store.read (node->store.self, &now, 0, &byte, 1, &error), -1);
            assert_int_equal (error.code, NEXUS_NOT_FOUND);
        }
        now = copy;
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal (node->store.read (node->store.self, &now, 0, &byte, 1, &error), 1);
        apply (node, 20 + (uint64_t)i, 2);
        now = make (node);
    }
    assert_int_equal (node->store.read (node->store.self, &first, 0, &byte, 1, &error), -1);
    /* Behind its end there is nothing. */
    assert_int_equal (node->store.read (node->store.self, &now, now.size, &byte, 1, &error), 0);
    assert_int_equal (node->store.read (node->store.self, &now, UINT64_MAX, &byte, 1, &error), -1);
    node_destroy (&node);
}

/*  ---- an installation, cut short ------------------------------------------------------------- */

static void check_installed (node_t *self)
{
    raft_log_state_t log;
    raft_log_state (self->log, &log);
    assert_int_equal (log.first, 51);
    assert_int_equal (log.last, 50);
    assert_int_equal (log.last_term, 3);
    assert_int_equal (log.hard.commit, 50);
    assert_true (log.hard.term >= 3);
    assert_int_equal (applied (self), 50);
    append (self, 51, log.hard.term, 51); /* it goes on */
}

static void test_crash_before_the_logs_part (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    append (other, 10, 1, 10);
    apply (other, 10, 1);
    fetch (one, other);
    reopen (other);
    check_installed (other);
    node_destroy (&one);
    node_destroy (&other);
}

/*  Entries of a leader whom nobody followed stand where the copy's are. */
static void test_crash_before_the_logs_part_over_a_fork (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    append (other, 10, 1, 10);
    append (other, 80, 2, 10);
    apply (other, 10, 1);
    fetch (one, other);
    reopen (other);
    check_installed (other);
    node_destroy (&one);
    node_destroy (&other);
}

static void test_crash_before_the_ledgers_part (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    append (other, 10, 1, 10);
    apply (other, 10, 1);
    fetch (one, other);
    raft_log_write_t write = {.snapshot_index = 50, .snapshot_term = 3};
    assert_int_equal (raft_log_write (other->log, &write, 1, NULL), 0);
    reopen (other);
    check_installed (other);
    node_destroy (&one);
    node_destroy (&other);
}

static void test_crash_before_the_renaming (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    snapshot_info_t copy, part;
    uint64_t have;
    nexus_error_t error;
    append (other, 10, 1, 10);
    apply (other, 10, 1);
    one->store.current (one->store.self, &copy);
    assert_int_equal (other->store.part_begin (other->store.self, &copy, &error), 0);
    carry (one, other, &copy, 0, copy.size);
    reopen (other);
    assert_int_equal (applied (other), 10);
    other->store.part (other->store.self, &part, &have);
    assert_true (same (&part, &copy));
    assert_int_equal (have, copy.size);
    int64_t delay_ns;
    assert_int_equal (other->store.part_finish (other->store.self, &delay_ns, &error), 0);
    reopen (other);
    check_installed (other);
    node_destroy (&one);
    node_destroy (&other);
}

/*  The log has the copy's last entry: nothing has to be done, and nothing is dropped. */
static void test_a_log_that_has_it (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    append (other, 60, 3, 10);
    apply (other, 10, 3);
    fetch (one, other);
    reopen (other);
    raft_log_state_t log;
    raft_log_state (other->log, &log);
    assert_int_equal (log.first, 1);
    assert_int_equal (log.last, 60);
    assert_int_equal (applied (other), 10);
    node_destroy (&one);
    node_destroy (&other);
}

/*  A copy of its own that is newer stays. */
static void test_an_older_copy (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    append (other, 100, 3, 100);
    apply (other, 100, 3);
    snapshot_info_t own = make (other), now;
    fetch (one, other);
    other->store.current (other->store.self, &now);
    assert_true (same (&own, &now));
    reopen (other);
    assert_int_equal (applied (other), 100);
    node_destroy (&one);
    node_destroy (&other);
}

/*  A copy beside a new log: the vote is lost. */
static void test_a_lost_log (void **state)
{
    (void)state;
    node_t *node = leader ();
    char path[200];
    nexus_error_t error = {0};
    close_node (node);
    snprintf (path, sizeof path, "%s/log", node->dir);
    temp_dir_remove (path);
    assert_int_equal (open_node (node, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_non_null (strstr (error.text, "Raft log is new"));
    node_destroy (&node);
}

/*  ---- fetching --------------------------------------------------------------------------------
 */

static void test_part (void **state)
{
    (void)state;
    node_t *one = leader (), *other = node_new ();
    snapshot_info_t copy, part;
    uint64_t have;
    int64_t delay_ns;
    char path[200];
    nexus_error_t error = {0};
    append (other, 1, 1, 1);
    one->store.current (one->store.self, &copy);
    other->store.part (other->store.self, &part, &have);
    assert_int_equal (part.index, 0);
    /* It goes on where it was, after a restart. */
    assert_int_equal (other->store.part_begin (other->store.self, &copy, &error), 0);
    carry (one, other, &copy, 0, 7777);
    reopen (other);
    other->store.part (other->store.self, &part, &have);
    assert_true (same (&part, &copy));
    assert_int_equal (have, 7777);
    /* A byte was lost on the way: it is not taken, and is gone. */
    assert_int_equal (other->store.part_write (other->store.self, 7777, "x", 1, &error), 0);
    carry (one, other, &copy, 7778, copy.size);
    assert_int_equal (other->store.part_finish (other->store.self, &delay_ns, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    other->store.part (other->store.self, &part, &have);
    assert_int_equal (part.index, 0);
    in_ledger (other, "fetch", path);
    assert_int_equal (access (path, F_OK), -1);
    /* It is whole, but not what it was called. */
    snapshot_info_t wrong = copy;
    wrong.index++;
    assert_int_equal (other->store.part_begin (other->store.self, &wrong, &error), 0);
    carry (one, other, &copy, 0, copy.size);
    assert_int_equal (other->store.part_finish (other->store.self, &delay_ns, &error), -1);
    /* No disk is that large. */
    wrong.size = UINT64_C (1) << 60;
    assert_int_equal (other->store.part_begin (other->store.self, &wrong, &error), -1);
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    /* Nobody knows what a part without its description is. */
    assert_int_equal (other->store.part_begin (other->store.self, &copy, &error), 0);
    carry (one, other, &copy, 0, 100);
    in_ledger (other, "fetch.info", path);
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen (path, "we");
        fputs (i ? "50 3 10 abc" : "rubbish", file);
        fclose (file);
        reopen (other);
        other->store.part (other->store.self, &part, &have);
        assert_int_equal (part.index, 0);
    }
    other->store.current (other->store.self, &part);
    assert_int_equal (part.index, 0);
    node_destroy (&one);
    node_destroy (&other);
}

/*  ---- damage ------------------------------------------------------------------------------------
 */

static void test_damaged_copies (void **state)
{
    (void)state;
    node_t *node = leader ();
    snapshot_info_t copy, now;
    char path[200], aside[200];
    nexus_error_t error;
    uint8_t byte;
    in_ledger (node, "snapshot", path);
    in_ledger (node, "snapshot.damaged", aside);
    node->store.current (node->store.self, &copy);
    /* Rot: found before anybody is given it. */
    int fd = open (path, O_WRONLY | O_CLOEXEC);
    assert_int_equal (pwrite (fd, "rot", 3, 20000), 3);
    close (fd);
    reopen (node);
    node->store.current (node->store.self, &now);
    assert_true (same (&copy, &now));
    assert_int_equal (node->store.read (node->store.self, &copy, 0, &byte, 1, &error), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    node->store.current (node->store.self, &now);
    assert_int_equal (now.index, 0);
    assert_int_equal (access (aside, F_OK), 0);
    assert_int_equal (applied (node), 50);
    make (node);
    /* Cut: found at the start, which goes on without it. */
    assert_int_equal (truncate (path, 9000), 0);
    reopen (node);
    node->store.current (node->store.self, &now);
    assert_int_equal (now.index, 0);
    assert_int_equal (applied (node), 50);
    copy = make (node);
    assert_int_equal (copy.index, 50);
    reopen (node);
    node->store.current (node->store.self, &now);
    assert_true (same (&copy, &now));
    node_destroy (&node);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_copies),
        cmocka_unit_test (test_crash_before_the_logs_part),
        cmocka_unit_test (test_crash_before_the_logs_part_over_a_fork),
        cmocka_unit_test (test_crash_before_the_ledgers_part),
        cmocka_unit_test (test_crash_before_the_renaming),
        cmocka_unit_test (test_a_log_that_has_it),
        cmocka_unit_test (test_an_older_copy),
        cmocka_unit_test (test_a_lost_log),
        cmocka_unit_test (test_part),
        cmocka_unit_test (test_damaged_copies),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
