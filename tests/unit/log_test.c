/*  Log lines: both forms, escaping, limits, whole lines from many threads. */
#include "runtime/log.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char text[1 << 20];

/*  What was written to the pipe so far. */
static const char *written (int fd)
{
    ssize_t size = read (fd, text, sizeof text - 1);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

typedef struct {
    int fds[2];
    log_t *log;
} sink_t;

static sink_t open_log (bool json)
{
    sink_t self;
    assert_int_equal (pipe2 (self.fds, O_NONBLOCK), 0);
    self.log = log_new (self.fds[1], json, LOG_LEVEL_INFO, "m1");
    assert_non_null (self.log);
    return self;
}

static void close_log (sink_t *self)
{
    log_destroy (&self->log);
    assert_null (self->log);
    close (self->fds[0]);
    close (self->fds[1]);
}

/*  Checks the time and returns what follows it. */
static const char *after_time (const char *line, const char *before)
{
    assert_int_equal (strncmp (line, before, strlen (before)), 0);
    line += strlen (before);
    const char *form = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (; *form; form++, line++)
        assert_true (*form == 'd' ? *line >= '0' && *line <= '9' : *line == *form);
    return line;
}

static void test_logfmt (void **state)
{
    (void)state;
    sink_t sink = open_log (false);
    log_t *actor = log_derive (sink.log, "election");
    record_key_t key = {{0xde, 0xad, 0xbe, 0xef, 1}};
    log_info (actor, "became leader", LOG_UINT ("term", UINT64_MAX), LOG_INT ("delta", -4),
              LOG_REAL ("load", 0.25), LOG_TEXT ("site", "lab"), LOG_NODE ("peer", &key));
    const char *line = after_time (written (sink.fds[0]), "time=");
    assert_string_equal (line, " level=info node=m1 actor=election msg=\"became leader\" "
                               "term=18446744073709551615 delta=-4 load=0.25 site=lab "
                               "peer=deadbeef\n");
    log_warning (sink.log, "odd", LOG_TEXT ("a", ""), LOG_TEXT ("b", NULL),
                 LOG_TEXT ("c", "x=\"y\"\n\\\t\x01"), LOG_TEXT ("d", "\xc3\xa9\xff\xed\xa0\x80"));
    line = after_time (written (sink.fds[0]), "time=");
    assert_string_equal (line, " level=warning node=m1 msg=odd a=\"\" b=\"\" "
                               "c=\"x=\\\"y\\\"\\n\\\\\\t\\u0001\" "
                               "d=\"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"\n");
    log_destroy (&actor);
    close_log (&sink);
}

static void test_json (void **state)
{
    (void)state;
    sink_t sink = open_log (true);
    log_error (sink.log, "a \"quote\"\n", LOG_INT ("n", 7), LOG_REAL ("bad", NAN),
               LOG_TEXT ("bytes", "\xf0\x9f\x98\x80\xc0\x80"));
    json_error_t error;
    json_t *json = json_loads (written (sink.fds[0]), 0, &error);
    assert_non_null (json);
    assert_string_equal (json_string_value (json_object_get (json, "level")), "error");
    assert_string_equal (json_string_value (json_object_get (json, "node")), "m1");
    assert_string_equal (json_string_value (json_object_get (json, "msg")), "a \"quote\"\n");
    assert_int_equal (json_integer_value (json_object_get (json, "n")), 7);
    assert_true (json_is_null (json_object_get (json, "bad")));
    assert_string_equal (json_string_value (json_object_get (json, "bytes")),
                         "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd");
    assert_null (json_object_get (json, "actor"));
    json_decref (json);
    close_log (&sink);
}

static void test_levels (void **state)
{
    (void)state;
    sink_t sink = open_log (false);
    log_debug (sink.log, "hidden");
    assert_string_equal (written (sink.fds[0]), "");
    assert_false (log_enabled (sink.log, LOG_LEVEL_DEBUG));
    assert_true (log_enabled (sink.log, LOG_LEVEL_INFO));
    assert_false (log_enabled (NULL, LOG_LEVEL_ERROR));
    log_error (NULL, "nowhere"); /* fine */
    assert_null (log_derive (NULL, "x"));
    close_log (&sink);
}

/*  However long the values: at most 4,096 bytes, still valid, and it says so. */
static void test_limits (void **state)
{
    (void)state;
    char *long_text = malloc (5000);
    memset (long_text, 'x', 4999);
    long_text[4999] = '\0';
    sink_t sink = open_log (true);
    log_info (sink.log, "long", LOG_TEXT ("one", long_text), LOG_TEXT ("two", "short"));
    json_t *json = json_loads (written (sink.fds[0]), 0, NULL);
    assert_non_null (json);
    const char *one = json_string_value (json_object_get (json, "one"));
    assert_int_equal (strlen (one), 1024 + 3);
    assert_string_equal (one + 1024, "...");
    assert_string_equal (json_string_value (json_object_get (json, "two")), "short");
    json_decref (json);

    log_info (sink.log, "many", LOG_TEXT ("a", long_text), LOG_TEXT ("b", long_text),
              LOG_TEXT ("c", long_text), LOG_TEXT ("d", long_text), LOG_TEXT ("e", long_text));
    const char *line = written (sink.fds[0]);
    assert_true (strlen (line) <= 4096);
    json = json_loads (line, 0, NULL);
    assert_non_null (json);
    assert_true (json_is_true (json_object_get (json, "truncated")));
    assert_non_null (json_object_get (json, "c"));
    assert_null (json_object_get (json, "e"));
    json_decref (json);
    free (long_text);
    close_log (&sink);
}

static void *write_lines (void *args)
{
    for (int i = 0; i < 200; i++)
        log_info (args, "a line of one thread", LOG_INT ("i", i), LOG_TEXT ("tail", "end"));
    return NULL;
}

static void test_lines_never_mix (void **state)
{
    (void)state;
    char path[] = "/tmp/nexus-log-test-XXXXXX";
    int fd = mkstemp (path);
    assert_true (fd >= 0);
    unlink (path);
    assert_int_equal (fcntl (fd, F_SETFL, O_APPEND), 0);
    log_t *log = log_new (fd, false, LOG_LEVEL_INFO, "m1");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create (&threads[i], NULL, write_lines, log);
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
    lseek (fd, 0, SEEK_SET);
    written (fd);
    int lines = 0;
    for (char *line = strtok (text, "\n"); line; line = strtok (NULL, "\n"), lines++) {
        assert_int_equal (strncmp (line, "time=", 5), 0);
        assert_string_equal (line + strlen (line) - 9, " tail=end");
    }
    assert_int_equal (lines, 800);
    log_destroy (&log);
    close (fd);
}

static struct {
    char actor[32];
    const char *msg;
    int64_t value;
    int count;
} seen;

static void sink_fn (void *context, log_level_t level, const char *actor, const char *msg,
                     const log_field_t *fields, size_t count)
{
    assert_ptr_equal (context, &seen);
    assert_int_equal (level, LOG_LEVEL_WARNING);
    snprintf (seen.actor, sizeof seen.actor, "%s", actor ? actor : "none");
    seen.msg = msg;
    seen.value = count ? fields[0].i : -1;
    seen.count++;
}

static void test_sink (void **state)
{
    (void)state;
    log_t *log = log_new_sink (LOG_LEVEL_WARNING, sink_fn, &seen);
    log_t *actor = log_derive (log, "raft");
    log_info (log, "below the level");
    assert_int_equal (seen.count, 0);
    log_warning (log, "one", LOG_INT ("v", 5));
    assert_string_equal (seen.actor, "none");
    assert_int_equal (seen.value, 5);
    log_warning (actor, "two");
    assert_string_equal (seen.actor, "raft");
    assert_string_equal (seen.msg, "two");
    assert_int_equal (seen.value, -1);
    assert_int_equal (seen.count, 2);
    log_destroy (&actor);
    log_destroy (&log);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_logfmt), cmocka_unit_test (test_json),
        cmocka_unit_test (test_levels), cmocka_unit_test (test_limits),
        cmocka_unit_test (test_sink),   cmocka_unit_test (test_lines_never_mix),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
