/*  options_test - the command line, the environment, a file, defaults: who wins */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const option_t table[] = {
    {"endpoint", 'e', "URL", {"TEST_FIRST", "TEST_SECOND"}, "default", "Where."},
    {"follow", 'f', NULL, {NULL}, NULL, "Go on."},
    {"rank", 'r', "N", {NULL}, "0", "Which."},
    {"token", 0, "TEXT", {NULL}, NULL, "Who."},
    {0},
};

static options_t *parse (char **words, nexus_error_t *error)
{
    int count = 0;
    while (words[count])
        count++;
    return options_parse (table, count, words, error);
}
#define PARSE(error, ...) parse ((char *[]){__VA_ARGS__, NULL}, error)

static void test_forms (void **state)
{
    (void)state;
    options_t *options =
        PARSE (NULL, "a", "--rank", "3", "-f", "b", "--token=x=y", "-ehttp", "--", "--rank", "-");
    assert_non_null (options);
    assert_string_equal (options_text (options, "rank"), "3");
    assert_true (options_flag (options, "follow"));
    assert_string_equal (options_text (options, "token"), "x=y");
    assert_string_equal (options_text (options, "endpoint"), "http");
    assert_int_equal (options_count (options), 4);
    assert_string_equal (options_argument (options, 1), "b");
    assert_string_equal (options_argument (options, 2), "--rank");
    assert_string_equal (options_argument (options, 3), "-");
    assert_null (options_argument (options, 4));
    assert_false (options_help (options));
    options_destroy (&options);
    assert_null (options);
}

static void test_precedence (void **state)
{
    (void)state;
    options_t *options = PARSE (NULL, "x");
    assert_string_equal (options_text (options, "endpoint"), "default");
    assert_int_equal (options_source (options, "endpoint"), OPTION_DEFAULT);
    options_fill (options, "endpoint", "file");
    assert_string_equal (options_text (options, "endpoint"), "file");
    assert_int_equal (options_source (options, "token"), OPTION_UNSET);
    assert_null (options_text (options, "token"));
    options_destroy (&options);
    setenv ("TEST_SECOND", "second", 1);
    options = PARSE (NULL, "x");
    options_fill (options, "endpoint", "file");
    assert_string_equal (options_text (options, "endpoint"), "second");
    options_destroy (&options);
    setenv ("TEST_FIRST", "first", 1);
    options = PARSE (NULL, "x");
    assert_string_equal (options_text (options, "endpoint"), "first");
    options_destroy (&options);
    options = PARSE (NULL, "--endpoint", "line");
    options_fill (options, "endpoint", "file");
    assert_string_equal (options_text (options, "endpoint"), "line");
    options_destroy (&options);
    unsetenv ("TEST_FIRST");
    unsetenv ("TEST_SECOND");
}

static void test_faults (void **state)
{
    (void)state;
    nexus_error_t error;
    assert_null (PARSE (&error, "--rnak", "3"));
    assert_non_null (strstr (error.text, "did you mean --rank?"));
    assert_null (PARSE (&error, "--zebra"));
    assert_null (strstr (error.text, "did you mean"));
    assert_null (PARSE (&error, "--rank"));
    assert_non_null (strstr (error.text, "--rank N"));
    assert_null (PARSE (&error, "--follow=yes"));
    assert_null (PARSE (&error, "-x"));
    assert_int_equal (error.code, NEXUS_INVALID);
}

static void test_numbers (void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "-1", "3x", " 3", "11", "99999999999999999999"};
    uint64_t value = 7;
    nexus_error_t error;
    for (size_t i = 0; i < sizeof (bad) / sizeof (bad[0]); i++) {
        options_t *options = PARSE (NULL, "--rank", (char *)(uintptr_t)bad[i]);
        assert_int_equal (options_number (options, "rank", 0, 10, &value, &error), -1);
        assert_int_equal (value, 7);
        options_destroy (&options);
    }
    options_t *options = PARSE (NULL, "--rank", "10");
    assert_int_equal (options_number (options, "rank", 0, 10, &value, &error), 0);
    assert_int_equal (value, 10);
    options_destroy (&options);
}

static void test_distance (void **state)
{
    (void)state;
    assert_int_equal (edit_distance ("", "abc"), 3);
    assert_int_equal (edit_distance ("job list", "job list"), 0);
    assert_int_equal (edit_distance ("kitten", "sitting"), 3);
    char word[200];
    memset (word, 'x', sizeof (word) - 1);
    word[sizeof (word) - 1] = 0;
    assert_true (edit_distance (word, "x") > 10);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_forms),    cmocka_unit_test (test_precedence),
        cmocka_unit_test (test_faults),   cmocka_unit_test (test_numbers),
        cmocka_unit_test (test_distance),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
