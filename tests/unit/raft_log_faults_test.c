/*  The Raft log on disks that fail: LMDB as it ships, with faults.h between it and the kernel */
#include "runtime/harness.h"
#include "storage/raft_log_actor.h"
#include "temp_dir.h"
#include "tests/faults/faults.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FILES "/tmp/nexus-test-*/data.mdb"
#define TAIL  "/tmp/nexus-test-*/tail"
#define BOTH  "/tmp/nexus-test-*/[dt]a[ti][al]*" /* but not lock.mdb */

enum { MAP_SIZE = 64 << 20 };

typedef struct {
    char dir[64];
    raft_log_t *log;
    harness_t *harness;
    uint64_t sequence;
} fixture_t;

/*  The actor as it is under load: while busy is set, each of its turns brings a message, so that it
    never finds that nothing waits. */
static bool busy, skip;

static void loaded_receive (void *state, context_t *ctx, const message_t *message)
{
    skip = false;
    raft_log_actor.receive (state, ctx, message);
}

static void loaded_timer (void *state, context_t *ctx, uint64_t id, uint64_t data)
{
    skip = busy;
    if (busy)
        context_after (ctx, MS_TO_NS (1), data);
    else
        raft_log_actor.timer (state, ctx, id, data);
}

static void loaded_settle (void *state, context_t *ctx)
{
    if (!skip)
        raft_log_actor.settle (state, ctx);
    skip = false;
}

static void begin (fixture_t *self, raft_log_durability_t durability, size_t map_size)
{
    nexus_error_t error = {0};
    self->log = raft_log_open (self->dir, map_size, &error);
    if (!self->log || raft_log_set_durability (self->log, durability, &error) != 0)
        fail_msg ("%s", error.text);
    static behaviour_t loaded;
    loaded = raft_log_actor;
    loaded.receive = loaded_receive;
    loaded.timer = loaded_timer;
    loaded.settle = loaded_settle;
    self->harness = harness_new (&loaded, self->log, NULL, &error);
    assert_non_null (self->harness);
}

/*  Nothing more waits. */
static void idle (fixture_t *self)
{
    busy = false;
    harness_advance (self->harness, 2);
    busy = true;
}

static void setup (fixture_t *self, raft_log_durability_t durability, size_t map_size)
{
    *self = (fixture_t){.sequence = 0};
    temp_dir_new (self->dir);
    faults_set (NULL);
    busy = true;
    begin (self, durability, map_size);
    faults_clear ();
}

static void end (fixture_t *self)
{
    harness_destroy (&self->harness);
    raft_log_close (&self->log);
}

static void teardown (fixture_t *self)
{
    faults_set (NULL);
    end (self);
    temp_dir_remove (self->dir);
}

static raft_log_state_t state_of (raft_log_t *log)
{
    raft_log_state_t state;
    raft_log_state (log, &state);
    return state;
}

/*  Entry N's data is N, repeated. */
static void fill (uint64_t index, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(index >> (i % 8 * 8));
}

/*  A turn with one append of count entries of term 1, or with a new term. */
static void append (fixture_t *self, size_t count, size_t size, uint64_t term)
{
    static uint8_t data[64][8192];
    log_entry_t entries[64];
    uint64_t last = state_of (self->log).last;
    assert_true (count <= 64 && size <= sizeof data[0]);
    for (size_t i = 0; i < count; i++) {
        fill (last + 1 + i, data[i], size);
        entries[i] = (log_entry_t){last + 1 + i, 1, 0, {data[i], size}};
    }
    log_append_t write = {.entries = {entries, count},
                          .sequence = ++self->sequence,
                          .has_hard_state = true,
                          .term = term,
                          .commit = last};
    harness_deliver (self->harness, NULL, &log_append_record, &write);
}

static size_t acknowledged (fixture_t *self)
{
    return harness_count (self->harness, &log_durable_record);
}

static bool check_data (void *context, const raft_log_entry_t *entry)
{
    uint8_t expected[8192];
    fill (entry->index, expected, entry->size);
    assert_memory_equal (expected, entry->data, entry->size);
    (*(uint64_t *)context)++;
    return true;
}

/*  What a restart finds: at least what was acknowledged, all of it as it was written. */
static raft_log_state_t verify (const char *dir, uint64_t at_least)
{
    nexus_error_t error = {0};
    raft_log_t *log = raft_log_open (dir, MAP_SIZE, &error);
    if (!log)
        fail_msg ("%s", error.text);
    raft_log_state_t state = state_of (log);
    assert_int_equal (state.damaged, 0);
    assert_true (state.last >= at_least);
    uint64_t count = 0;
    if (state.last)
        raft_log_read (log, 1, state.last, SIZE_MAX, check_data, &count, &error);
    assert_int_equal (count, state.last);
    raft_log_close (&log);
    return state;
}

typedef struct {
    uint64_t acknowledged; /* the last entry, and the last term, that somebody heard of */
    uint64_t term;
} promise_t;

/*  ---- how many flushes ------------------------------------------------------ */

/*  Under load one flush a transaction, and one write of the meta page. */
static void test_one_flush_a_batch (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, RAFT_LOG_PIPELINED, MAP_SIZE);
    append (&self, 1, 100, 1); /* a new term */
    idle (&self);
    harness_clear (self.harness);
    faults_clear ();
    for (int i = 0; i < 20; i++) {
        append (&self, 16, 100, 1);
        assert_int_equal (faults_count (FILES, "flush"), i + 1);
        assert_int_equal (acknowledged (&self), i); /* the one before */
    }
    assert_int_equal (faults_count (FILES, "dsync"), 0);
    assert_true (faults_count (FILES, "write") <= 20 * 5);
    idle (&self); /* one for the last */
    assert_int_equal (faults_count (FILES, "flush"), 21);
    assert_int_equal (acknowledged (&self), 20);
    for (uint64_t i = 1; i <= 20; i++) {
        const log_durable_t *durable = harness_expect (self.harness, log_durable);
        assert_non_null (durable);
        assert_int_equal (durable->sequence, i + 1);
        assert_int_equal (durable->last_index, i * 16 + 1);
    }
    busy = false;
    harness_advance (self.harness, 5000); /* and none for nothing */
    assert_int_equal (faults_count (FILES, "flush"), 21);
    teardown (&self);
}

/*  A journaled log flushes the tail once a write, whether more waits or not, and LMDB's file twice
    for all that has gathered. */
static void test_a_journaled_log_flushes_once (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, RAFT_LOG_JOURNALED, MAP_SIZE);
    append (&self, 1, 100, 1); /* begins a generation */
    faults_clear ();
    for (int i = 0; i < 20; i++) {
        append (&self, 16, 100, 1);
        assert_int_equal (faults_count (TAIL, "flush"), i + 1);
        assert_int_equal (faults_count (TAIL, "write"), i + 1);
        assert_int_equal (acknowledged (&self), i + 2);
    }
    assert_int_equal (faults_count (FILES, "write"), 0);
    assert_true (raft_log_gathered (self.log) > 20 * 16 * 100);
    uint64_t count = 0; /* all can be read, wherever it lies */
    for (uint64_t from = 1; from <= 321; from = count + 1)
        assert_true (raft_log_read (self.log, from, 321, SIZE_MAX, check_data, &count, NULL) > 0);
    assert_int_equal (count, 321);
    assert_int_equal (raft_log_term (self.log, 321), 1);
    busy = false;
    harness_advance (self.harness, 5000);
    assert_int_equal (raft_log_gathered (self.log), 0);
    assert_int_equal (raft_log_settle (self.log, NULL), 0);
    assert_int_equal (faults_count (FILES, "flush"), 1);
    assert_int_equal (faults_count (FILES, "dsync"), 1);
    assert_int_equal (faults_count (TAIL, "flush"), 20);
    teardown (&self);
}

static void test_strict_flushes_twice (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, RAFT_LOG_STRICT, MAP_SIZE);
    for (int i = 0; i < 20; i++) {
        append (&self, 16, 100, 1);
        assert_int_equal (acknowledged (&self), i + 1);
    }
    assert_int_equal (faults_count (FILES, "flush"), 20);
    assert_int_equal (faults_count (FILES, "dsync"), 20);
    teardown (&self);
}

/*  A vote doesn't wait for the next write. */
static void test_a_new_term_is_flushed_at_once (void **state)
{
    (void)state;
    fixture_t self;
    setup (&self, RAFT_LOG_PIPELINED, MAP_SIZE);
    append (&self, 0, 0, 1);
    assert_int_equal (acknowledged (&self), 1);
    assert_int_equal (faults_count (FILES, "flush"), 2);
    append (&self, 1, 100, 1);
    assert_int_equal (acknowledged (&self), 1);
    append (&self, 0, 0, 2);
    assert_int_equal (acknowledged (&self), 3);
    assert_int_equal (faults_count (FILES, "flush"), 5);
    teardown (&self);
}

/*  ---- calls that fail ------------------------------------------------------- */

typedef struct {
    const char *rule;
    nexus_code_t code;
    const char *says;
} failure_case_t;

/*  Ten good writes, then one that meets the fault: the actor ends and says why, nobody hears that
    it was done, nothing more is written, and a restart finds a sound log. */
static void check_failure (raft_log_durability_t durability, const failure_case_t *failure)
{
    fixture_t self;
    nexus_error_t error = {0};
    setup (&self, durability, MAP_SIZE);
    for (int i = 0; i < 10; i++)
        append (&self, 8, 300, 1);
    idle (&self);
    assert_int_equal (acknowledged (&self), 10);
    faults_set (failure->rule);
    append (&self, 8, 300, 1);
    idle (&self);
    assert_int_equal (acknowledged (&self), 10);
    assert_true (harness_ended (self.harness, &error));
    if (error.code != failure->code || !strstr (error.text, failure->says) ||
        !strstr (error.text, self.dir))
        fail_msg ("%s: %d: %s", failure->rule, error.code, error.text);
    faults_set (NULL);
    raft_log_entry_t more = {.index = state_of (self.log).last + 1, .term = 9};
    raft_log_write_t write = {.entries = &more, .count = 1};
    assert_int_equal (raft_log_write (self.log, &write, 1, &error), -1);
    assert_non_null (strstr (error.text, "after an earlier failure"));
    end (&self);
    raft_log_state_t found = verify (self.dir, 80);
    assert_true (found.last == 80 || found.last == 88);
    temp_dir_remove (self.dir);
}

static void test_failing_calls (void **state)
{
    (void)state;
    static const failure_case_t cases[] = {
        {FILES " write eio times=1", NEXUS_IO, "Input/output error"},
        {FILES " write eio after=1 times=1", NEXUS_IO, "Input/output error"},
        {FILES " write enospc times=1", NEXUS_EXHAUSTED, "make room"},
        {FILES " write short times=1", NEXUS_IO, "Input/output error"},
        {FILES " flush eio times=1", NEXUS_IO, "Input/output error"},
        {FILES " flush enospc times=1", NEXUS_EXHAUSTED, "make room"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_failure (RAFT_LOG_PIPELINED, &cases[i]);
        check_failure (RAFT_LOG_STRICT, &cases[i]);
    }
    /*  The flush that ends a batch when nothing more waits. */
    static const failure_case_t last = {FILES " flush eio after=1 times=1", NEXUS_IO, "flush it"};
    check_failure (RAFT_LOG_PIPELINED, &last);
    static const failure_case_t tail[] = {
        {TAIL " write eio times=1", NEXUS_IO, "Input/output error"},
        {TAIL " write enospc times=1", NEXUS_EXHAUSTED, "make room"},
        {TAIL " flush eio times=1", NEXUS_IO, "Input/output error"},
    };
    for (size_t i = 0; i < sizeof tail / sizeof tail[0]; i++)
        check_failure (RAFT_LOG_JOURNALED, &tail[i]);
}

/*  What is acknowledged but can't be brought to LMDB is there after a restart. */
static void test_settling_that_fails (void **state)
{
    (void)state;
    static const char *const rules[] = {FILES " write eio times=1", FILES " flush eio times=1",
                                        FILES " write enospc times=1"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        fixture_t self;
        nexus_error_t error = {0};
        setup (&self, RAFT_LOG_JOURNALED, MAP_SIZE);
        for (int k = 0; k < 10; k++)
            append (&self, 8, 300, 1 + (uint64_t)k / 3);
        assert_int_equal (acknowledged (&self), 10);
        faults_set (rules[i]);
        busy = false;
        for (int k = 0; k < 5000 && !harness_ended (self.harness, &error); k++) {
            usleep (1000);
            harness_advance (self.harness, 100);
        }
        assert_true (harness_ended (self.harness, &error));
        assert_non_null (strstr (error.text, self.dir));
        faults_set (NULL);
        end (&self);
        assert_int_equal (verify (self.dir, 80).hard.term, 4);
        temp_dir_remove (self.dir);
    }
}

/*  The tail of a log whose process died after ten acknowledged writes; returns its size, and
    where each write ended in it. */
static size_t die_with_a_tail (char *dir, size_t *ends)
{
    fixture_t self;
    setup (&self, RAFT_LOG_JOURNALED, MAP_SIZE);
    memcpy (dir, self.dir, sizeof self.dir);
    append (&self, 1, 100, 1);
    assert_int_equal (raft_log_settle (self.log, NULL), 0); /* what follows is at the beginning */
    for (int i = 0; i < 10; i++) {
        append (&self, 2, 300, 1);
        ends[i] = raft_log_gathered (self.log);
    }
    assert_int_equal (acknowledged (&self), 11);
    size_t size = raft_log_gathered (self.log);
    faults_set (TAIL " write eio times=1"); /* so it closes as it stands */
    append (&self, 1, 300, 1);
    assert_true (harness_ended (self.harness, NULL));
    faults_set (NULL);
    end (&self);
    return size;
}

static void alter (const char *dir, off_t at, const void *bytes, size_t size)
{
    char path[100];
    snprintf (path, sizeof path, "%s/tail", dir);
    int fd = open (path, O_WRONLY);
    assert_true (fd >= 0);
    assert_int_equal (pwrite (fd, bytes, size, at), (ssize_t)size);
    close (fd);
}

/*  The machine has lost its power: it boots anew. */
static void boot (const char *dir)
{
    char path[100];
    snprintf (path, sizeof path, "%s/boot", dir);
    unlink (path);
}

/*  Wherever the last record is torn, what stands before it is there; where an earlier one is
    damaged, the log does not open, and says why. */
static void test_tails_that_are_damaged (void **state)
{
    (void)state;
    static const uint8_t zeros[8192], junk[8192] = {0xff, 1, 2, 3};
    for (size_t step = 0; step < 40; step++) {
        char dir[64];
        size_t ends[10];
        nexus_error_t error = {0};
        size_t size = die_with_a_tail (dir, ends);
        size_t at = step * size / 40;
        bool last = at >= ends[8];
        alter (dir, (off_t)at, step % 2 ? zeros : junk, last && step % 4 < 2 ? size - at : 5);
        raft_log_t *log = raft_log_open (dir, MAP_SIZE, &error);
        if (log) {
            assert_true (last || state_of (log).last == 21);
            assert_true (state_of (log).last >= 19);
        } else {
            assert_false (last);
            assert_int_equal (error.code, NEXUS_CORRUPT);
            assert_non_null (strstr (error.text, "acknowledged entries are lost"));
        }
        raft_log_close (&log);
        temp_dir_remove (dir);
    }
}

/*  A log whose process is killed after four acknowledged writes, the last of that many bytes; returns
    where that one begins in the tail. */
static size_t be_killed (const char *dir, size_t last_bytes)
{
    size_t *begin_at =
        mmap (NULL, sizeof *begin_at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork ();
    if (child == 0) {
        fixture_t self = {.sequence = 0};
        snprintf (self.dir, sizeof self.dir, "%s", dir);
        busy = true;
        begin (&self, RAFT_LOG_JOURNALED, MAP_SIZE);
        append (&self, 1, 100, 1);
        raft_log_settle (self.log, NULL);
        append (&self, 1, 300, 1);
        append (&self, 1, 300, 1);
        *begin_at = raft_log_gathered (self.log);
        append (&self, 1, last_bytes, 1);
        raise (SIGKILL);
    }
    int status;
    assert_int_equal (waitpid (child, &status, 0), child);
    size_t at = *begin_at;
    munmap (begin_at, sizeof *begin_at);
    return at;
}

/*  While the machine has not booted, a write of one block was there or was not: if it can't be read, it
    has rotted, and the log does not open. After a boot, or over several blocks, it may have been cut
    short, before it was acknowledged. */
static void test_rot_of_the_last_record (void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        bool booted, opens;
    } cases[] = {{300, false, false}, {300, true, true}, {8000, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char dir[64];
        nexus_error_t error = {0};
        temp_dir_new (dir);
        size_t at = be_killed (dir, cases[i].bytes);
        alter (dir, (off_t)(at + cases[i].bytes / 2), "?????", 5);
        if (cases[i].booted)
            boot (dir);
        raft_log_t *log = raft_log_open (dir, MAP_SIZE, &error);
        if (cases[i].opens) {
            assert_non_null (log);
            assert_int_equal (state_of (log).last, 3);
        } else {
            assert_null (log);
            assert_int_equal (error.code, NEXUS_CORRUPT);
            assert_non_null (strstr (error.text, "acknowledged entries are lost"));
        }
        raft_log_close (&log);
        temp_dir_remove (dir);
    }
}

/*  Power is lost, the machine boots, and the process that starts dies before it has brought the tail to
    LMDB: the next one still knows that the record may have been cut short. */
static void test_a_start_after_a_boot_that_is_cut_short (void **state)
{
    (void)state;
    char dir[64];
    nexus_error_t error = {0};
    temp_dir_new (dir);
    size_t at = be_killed (dir, 300);
    alter (dir, (off_t)(at + 150), "?????", 5);
    boot (dir);
    faults_set (FILES " write eio times=1");
    assert_null (raft_log_open (dir, MAP_SIZE, &error));
    faults_set (NULL);
    raft_log_t *log = raft_log_open (dir, MAP_SIZE, &error);
    assert_non_null (log);
    assert_int_equal (state_of (log).last, 3);
    raft_log_close (&log);
    temp_dir_remove (dir);
}

/*  What was written while a settling was under way stands in the other half; a start that finds
    both puts them together, and one that misses the end of the first says so. */
static void test_two_generations (void **state)
{
    (void)state;
    for (int altered = 0; altered < 2; altered++) {
        promise_t *promise =
            mmap (NULL, sizeof *promise, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        char dir[64];
        temp_dir_new (dir);
        pid_t child = fork ();
        if (child == 0) {
            fixture_t self = {.sequence = 0};
            snprintf (self.dir, sizeof self.dir, "%s", dir);
            busy = true;
            begin (&self, RAFT_LOG_JOURNALED, MAP_SIZE);
            append (&self, 1, 100, 1);
            raft_log_settle (self.log, NULL);
            for (int i = 0; i < 10; i++)
                append (&self, 2, 300, 1);
            promise->term = raft_log_gathered (self.log);
            faults_set (FILES " write stall=60000");
            raft_log_settle_begin (self.log, NULL);
            for (int i = 0; i < 10; i++)
                append (&self, 2, 300, 1);
            promise->acknowledged = state_of (self.log).last;
            raise (SIGKILL);
        }
        int status;
        assert_int_equal (waitpid (child, &status, 0), child);
        assert_int_equal (promise->acknowledged, 41);
        if (altered) {
            nexus_error_t error = {0};
            alter (dir, (off_t)promise->term - 5, "?????", 5);
            assert_null (raft_log_open (dir, MAP_SIZE, &error));
            assert_non_null (strstr (error.text, "acknowledged entries are lost"));
        } else
            assert_int_equal (verify (dir, 41).last, 41);
        temp_dir_remove (dir);
        munmap (promise, sizeof *promise);
    }
}

static void test_a_tail_that_is_missing (void **state)
{
    (void)state;
    char dir[64], path[100];
    size_t ends[10];
    nexus_error_t error = {0};
    die_with_a_tail (dir, ends);
    snprintf (path, sizeof path, "%s/tail", dir);
    assert_int_equal (unlink (path), 0);
    assert_null (raft_log_open (dir, MAP_SIZE, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_non_null (strstr (error.text, "it is missing"));
    temp_dir_remove (dir);
}

/*  The meta page is the commit's last write: short, it must not be taken for one. */
static void test_short_meta_page (void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        raft_log_durability_t durability = i ? RAFT_LOG_STRICT : RAFT_LOG_PIPELINED;
        fixture_t self;
        setup (&self, durability, MAP_SIZE);
        append (&self, 1, 10, 1);
        uint64_t before = faults_count (FILES, "write");
        append (&self, 1, 10, 1);
        uint64_t writes = faults_count (FILES, "write") - before;
        end (&self);
        temp_dir_remove (self.dir);
        char rule[100];
        for (const char *const *fault = (const char *const[]){"short", "eio", NULL}; *fault;
             fault++) {
            snprintf (rule, sizeof rule, "%s write %s after=%llu times=1", FILES, *fault,
                      (unsigned long long)writes - 1);
            check_failure (durability, &(failure_case_t){rule, NEXUS_IO, "Input/output error"});
        }
    }
}

/*  A full map refuses the write, and says what to do. */
static void test_full_map (void **state)
{
    (void)state;
    fixture_t self;
    nexus_error_t error = {0};
    setup (&self, RAFT_LOG_PIPELINED, 512 << 10);
    for (int i = 0; i < 200 && !harness_ended (self.harness, NULL); i++)
        append (&self, 8, 1000, 1);
    assert_true (harness_ended (self.harness, &error));
    assert_int_equal (error.code, NEXUS_EXHAUSTED);
    assert_non_null (strstr (error.text, "larger map size"));
    size_t done = acknowledged (&self);
    end (&self);
    verify (self.dir, done * 8);
    temp_dir_remove (self.dir);
}

/*  A disk that can't be flushed at the start is not trusted. */
static void test_open_flushes (void **state)
{
    (void)state;
    fixture_t self;
    nexus_error_t error = {0};
    setup (&self, RAFT_LOG_PIPELINED, MAP_SIZE);
    append (&self, 1, 10, 1);
    end (&self);
    faults_set (FILES " flush eio times=1");
    assert_null (raft_log_open (self.dir, MAP_SIZE, &error));
    assert_int_equal (error.code, NEXUS_IO);
    faults_set (NULL);
    faults_clear ();
    verify (self.dir, 1);
    assert_true (faults_count (FILES, "flush") >= 1);
    temp_dir_remove (self.dir);
}

/*  ---- crashes --------------------------------------------------------------- */

/*  A child writes until the fault kills it, and leaves what it promised in *promise. */
static void write_and_die (const char *dir, raft_log_durability_t durability, const char *rule,
                           uint64_t seed, volatile promise_t *promise)
{
    fixture_t self = {.sequence = 0};
    busy = true;
    snprintf (self.dir, sizeof self.dir, "%s", dir);
    int quiet = open ("/dev/null", O_WRONLY);
    dup2 (quiet, 2);
    faults_seed (seed);
    faults_watch (BOTH);
    faults_set (rule);
    begin (&self, durability, MAP_SIZE);
    for (uint64_t i = 0, term = 1; i < 60; i++) {
        term += i % 13 == 12;
        append (&self, (i * 7 + seed) % 20, (i * 131 + seed * 17) % 5000, term);
        if ((i + seed) % 3 == 0)
            idle (&self);
        if ((i + seed) % 4 == 0 && durability == RAFT_LOG_JOURNALED)
            raft_log_settle_begin (self.log, NULL); /* goes on while more is written */
        while (acknowledged (&self)) {
            const log_durable_t *durable = harness_expect (self.harness, log_durable);
            promise->acknowledged = durable->last_index;
            if (acknowledged (&self) == 0 && durable->sequence == self.sequence)
                promise->term = term;
        }
        if (harness_ended (self.harness, NULL))
            break;
    }
    raise (SIGKILL);
}

/*  Kills at the Nth call that matches, for all N until it lives to the end. */
static unsigned kill_everywhere (raft_log_durability_t durability, const char *files,
                                 const char *call, const char *fault)
{
    /*  Settling shall take longer than some writes. */
    const char *slow = durability == RAFT_LOG_JOURNALED && strcmp (files, TAIL) == 0 ? FILES
                           " write stall=3\n"
                                                                                     : "";
    promise_t *promise =
        mmap (NULL, sizeof *promise, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true (promise != MAP_FAILED);
    unsigned tried = 0;
    for (unsigned step = 1; tried < 200; step += 1 + tried / 12, tried++) {
        char dir[64], rule[200];
        temp_dir_new (dir);
        snprintf (rule, sizeof rule, "%s%s %s %s after=%u", slow, files, call, fault, step);
        *promise = (promise_t){0};
        pid_t child = fork ();
        assert_true (child >= 0);
        if (child == 0)
            write_and_die (dir, durability, rule, tried, promise);
        int status;
        assert_int_equal (waitpid (child, &status, 0), child);
        assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
        boot (dir);
        raft_log_state_t found = verify (dir, promise->acknowledged);
        assert_true (found.hard.term >= promise->term);
        temp_dir_remove (dir);
        if (promise->acknowledged >= 520)
            break;
    }
    munmap (promise, sizeof *promise);
    return tried;
}

static void test_torn_writes (void **state)
{
    (void)state;
    assert_true (kill_everywhere (RAFT_LOG_PIPELINED, FILES, "write", "torn") > 30);
    assert_true (kill_everywhere (RAFT_LOG_STRICT, FILES, "write", "torn") > 30);
    assert_true (kill_everywhere (RAFT_LOG_JOURNALED, BOTH, "write", "torn") > 30);
}

/*  Sectors that were not flushed are lost, or not, one by one. */
static void test_power_losses (void **state)
{
    (void)state;
    assert_true (kill_everywhere (RAFT_LOG_PIPELINED, FILES, "write", "power") > 30);
    assert_true (kill_everywhere (RAFT_LOG_PIPELINED, FILES, "flush", "power") > 20);
    assert_true (kill_everywhere (RAFT_LOG_STRICT, FILES, "write", "power") > 30);
    assert_true (kill_everywhere (RAFT_LOG_JOURNALED, TAIL, "write", "power") > 20);
    kill_everywhere (RAFT_LOG_JOURNALED, FILES, "write", "power"); /* as often as it settles */
    assert_true (kill_everywhere (RAFT_LOG_JOURNALED, BOTH, "write", "power") > 30);
    assert_true (kill_everywhere (RAFT_LOG_JOURNALED, BOTH, "flush", "power") > 20);
}

/*  The same with a disk that only claims to flush: this must be found out, or the tests above
    prove nothing. */
static void check_a_lying_disk (raft_log_durability_t durability, const char *rules)
{
    promise_t *promise =
        mmap (NULL, sizeof *promise, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true (promise != MAP_FAILED);
    unsigned broken = 0;
    for (unsigned seed = 0; seed < 20; seed++) {
        char dir[64];
        temp_dir_new (dir);
        *promise = (promise_t){0};
        pid_t child = fork ();
        if (child == 0)
            write_and_die (dir, durability, rules, seed, promise);
        int status;
        assert_int_equal (waitpid (child, &status, 0), child);
        boot (dir);
        nexus_error_t error = {0};
        raft_log_t *log = raft_log_open (dir, MAP_SIZE, &error);
        broken += !log || state_of (log).damaged || state_of (log).last < promise->acknowledged;
        raft_log_close (&log);
        temp_dir_remove (dir);
    }
    munmap (promise, sizeof *promise);
    assert_true (broken > 10);
}

static void test_a_lying_disk_is_found_out (void **state)
{
    (void)state;
    check_a_lying_disk (RAFT_LOG_PIPELINED,
                        FILES " flush lose after=4\n" FILES " write power after=40");
    check_a_lying_disk (RAFT_LOG_JOURNALED,
                        TAIL " flush lose after=4\n" TAIL " write power after=30");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_one_flush_a_batch),
        cmocka_unit_test (test_a_journaled_log_flushes_once),
        cmocka_unit_test (test_strict_flushes_twice),
        cmocka_unit_test (test_a_new_term_is_flushed_at_once),
        cmocka_unit_test (test_failing_calls),
        cmocka_unit_test (test_settling_that_fails),
        cmocka_unit_test (test_tails_that_are_damaged),
        cmocka_unit_test (test_rot_of_the_last_record),
        cmocka_unit_test (test_a_start_after_a_boot_that_is_cut_short),
        cmocka_unit_test (test_two_generations),
        cmocka_unit_test (test_a_tail_that_is_missing),
        cmocka_unit_test (test_short_meta_page),
        cmocka_unit_test (test_full_map),
        cmocka_unit_test (test_open_flushes),
        cmocka_unit_test (test_torn_writes),
        cmocka_unit_test (test_power_losses),
        cmocka_unit_test (test_a_lying_disk_is_found_out),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
