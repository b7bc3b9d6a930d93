/*  table_test - columns, figures, curves: what people are shown */
#include "cli/curve.h"
#include "cli/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *printed (const table_t *table)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream (&text, &size);
    table_print (table, file, 2);
    fclose (file);
    return text;
}

static void test_columns (void **state)
{
    (void)state;
    table_t *table = table_new ();
    table_header (table, "a_name");
    table_header (table, "last");
    table_cell (table, "%s", "\xc3\xa9"); /* one character of two bytes */
    table_cell (table, "%d", 1);
    table_cell (table, "%s", "");
    table_cell (table, "x\033[2Jy\n");
    char *text = printed (table);
    assert_string_equal (text, "  A NAME  LAST\n  \xc3\xa9       1\n  -       x [2Jy \n");
    free (text);
    table_destroy (&table);
    assert_null (table);
}

static void test_record_columns (void **state)
{
    (void)state;
    table_t *table = table_new ();
    metric_point_t point = {"loss", 12, 0.25, 99};
    table_record_header (table, &metric_point_record);
    table_record (table, &metric_point_record, &point);
    char *text = printed (table);
    assert_string_equal (text, "  NAME  STEP  VALUE\n  loss  12    0.2500\n");
    free (text);
    table_destroy (&table);
}

static void test_figures (void **state)
{
    (void)state;
    assert_string_equal (figure_bytes (0).text, "0 B");
    assert_string_equal (figure_bytes (1536).text, "1.50 KiB");
    assert_string_equal (figure_bytes (UINT64_MAX).text, "16.0 EiB");
    assert_string_equal (figure_count (1234567).text, "1,234,567");
    assert_string_equal (figure_count (-123).text, "-123");
    assert_string_equal (figure_count (-1234).text, "-1,234");
    assert_string_equal (figure_duration (250).text, "250ms");
    assert_string_equal (figure_duration (65000).text, "1m05s");
    assert_string_equal (figure_duration (3725000).text, "1h02m");
    assert_string_equal (figure_real (0.12345).text, "0.1235");
    assert_string_equal (figure_real (1e-7).text, "1e-07");
    assert_string_equal (figure_real (-12345.67).text, "-12345.7");
}

static void test_ticks (void **state)
{
    (void)state;
    static const double ranges[][2] = {{0, 1},     {0.13, 2.4}, {-5, 5},
                                       {0, 60000}, {97, 97.9},  {1e-9, 3e-9}};
    for (size_t i = 0; i < sizeof (ranges) / sizeof (ranges[0]); i++) {
        double first, step;
        curve_ticks (ranges[i][0], ranges[i][1], 5, &first, &step);
        assert_true (step > 0 && first <= ranges[i][0] && ranges[i][0] - first < step);
        double count = (ranges[i][1] - ranges[i][0]) / step;
        assert_true (count > 1.9 && count <= 5.001);
    }
}

static size_t count_of (const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr (text, part)) != NULL; text++)
        count++;
    return count;
}

static char *drawn (size_t left_count, size_t right_count)
{
    static metric_point_t losses[5000], accuracies[5000];
    for (size_t i = 0; i < 5000; i++) {
        losses[i] = (metric_point_t){"a<b&c", i * 10, 2.3 * exp (-(double)i / 500), 0};
        accuracies[i] = (metric_point_t){"test_accuracy", i * 10, 1 - exp (-(double)i / 400), 0};
    }
    curve_t left = {"a<b&c", losses, left_count},
            right = {"test_accuracy", accuracies, right_count};
    buffer_t out = {0};
    curve_draw ("job <1>", &left, &right, &out);
    buffer_append (&out, "", 1);
    return (char *)out.data;
}

static void test_curve (void **state)
{
    (void)state;
    char *text = drawn (5000, 5000);
    assert_int_equal (count_of (text, "<polyline"), 2);
    assert_non_null (strstr (text, "a&lt;b&amp;c"));
    assert_non_null (strstr (text, "job &lt;1>"));
    assert_non_null (strstr (text, "prefers-color-scheme: dark"));
    assert_true (strlen (text) < 64 << 10); /* thinned */
    assert_null (strstr (text, "nan"));
    assert_null (strstr (text, "inf"));
    free (text);
    text = drawn (1, 0); /* one point: no axis of no length */
    assert_int_equal (count_of (text, "<polyline"), 1);
    assert_null (strstr (text, "nan"));
    assert_null (strstr (text, "inf"));
    free (text);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_columns), cmocka_unit_test (test_record_columns),
        cmocka_unit_test (test_figures), cmocka_unit_test (test_ticks),
        cmocka_unit_test (test_curve),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
