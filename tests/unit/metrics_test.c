/*  Metrics: values, labels, limits, both expositions, promtool's opinion. */
#include "runtime/metrics.h"

#include "runtime/host.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *render (metrics_t *metrics, bool openmetrics)
{
    buffer_t out = {0};
    metrics_render (metrics, openmetrics, &out);
    buffer_append (&out, "", 1);
    assert_false (out.failed);
    return (char *)out.data;
}

static void expect (metrics_t *metrics, bool openmetrics, const char *expected)
{
    char *text = render (metrics, openmetrics);
    assert_string_equal (text, expected);
    free (text);
}

static void fill (metrics_t *metrics)
{
    metric_add (
        metrics_counter (metrics, "nexus_jobs_total", "Jobs.\nAll \\ of them.", "state=\"done\""),
        3);
    metric_add (metrics_counter (metrics, "nexus_jobs_total", "Jobs.", "state=\"lost\""), 0.5);
    metric_set (metrics_gauge (metrics, "nexus_free_bytes", "Free.", NULL), -1e18);
    const double bounds[] = {0.5, 1};
    metric_t *histogram =
        metrics_histogram (metrics, "nexus_wait_seconds", "Wait.", "site=\"a\"", bounds, 2);
    metric_observe (histogram, 0.5);
    metric_observe (histogram, 0.75);
    metric_observe (histogram, 9);
    assert_true (metric_value (histogram) == 3);
}

static void test_text (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    expect (metrics, false, "");
    fill (metrics);
    expect (metrics, false,
            "# HELP nexus_free_bytes Free.\n"
            "# TYPE nexus_free_bytes gauge\n"
            "nexus_free_bytes -1e+18\n"
            "# HELP nexus_jobs_total Jobs.\\nAll \\\\ of them.\n"
            "# TYPE nexus_jobs_total counter\n"
            "nexus_jobs_total{state=\"done\"} 3\n"
            "nexus_jobs_total{state=\"lost\"} 0.5\n"
            "# HELP nexus_wait_seconds Wait.\n"
            "# TYPE nexus_wait_seconds histogram\n"
            "nexus_wait_seconds_bucket{site=\"a\",le=\"0.5\"} 1\n"
            "nexus_wait_seconds_bucket{site=\"a\",le=\"1\"} 2\n"
            "nexus_wait_seconds_bucket{site=\"a\",le=\"+Inf\"} 3\n"
            "nexus_wait_seconds_sum{site=\"a\"} 10.25\n"
            "nexus_wait_seconds_count{site=\"a\"} 3\n");
    metrics_destroy (&metrics);
    assert_null (metrics);
}

static void test_openmetrics (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    fill (metrics);
    char *text = render (metrics, true);
    assert_non_null (strstr (text, "# TYPE nexus_jobs counter\nnexus_jobs_total{"));
    assert_non_null (strstr (text, "le=\"1.0\"} 2\n"));
    assert_string_equal (text + strlen (text) - 6, "# EOF\n");
    free (text);
    metrics_destroy (&metrics);
}

static void test_found_once (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    metric_t *one = metrics_gauge (metrics, "nexus_a", "A.", "x=\"1\"");
    assert_ptr_equal (one, metrics_gauge (metrics, "nexus_a", "A.", "x=\"1\""));
    assert_ptr_not_equal (one, metrics_gauge (metrics, "nexus_a", "A.", "x=\"2\""));
    assert_ptr_not_equal (one, metrics_gauge (metrics, "nexus_b", "B.", "x=\"1\""));
    metric_add (one, 2);
    metric_add (one, -0.5);
    assert_true (metric_value (one) == 1.5);
    metrics_destroy (&metrics);
}

static void test_forget (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    metric_set (metrics_gauge (metrics, "nexus_a", "A.", "w=\"1\""), 1);
    metric_set (metrics_gauge (metrics, "nexus_b", "B.", "w=\"1\""), 2);
    metric_set (metrics_gauge (metrics, "nexus_b", "B.", "w=\"2\""), 3);
    metrics_forget (metrics, "w=\"1\"");
    expect (metrics, false, "# HELP nexus_b B.\n# TYPE nexus_b gauge\nnexus_b{w=\"2\"} 3\n");
    /* It comes back from zero. */
    assert_true (metric_value (metrics_gauge (metrics, "nexus_a", "A.", "w=\"1\"")) == 0);
    metrics_destroy (&metrics);
}

/*  Workers that come and go take each other's places; too many at once are counted
    where they do no harm. */
static void test_limit (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    char labels[32];
    for (int i = 0; i < 10000; i++) {
        snprintf (labels, sizeof labels, "w=\"%d\"", i);
        metric_set (metrics_gauge (metrics, "nexus_a", "A.", labels), i);
        if (i >= 4000)
            metrics_forget (metrics, labels);
    }
    metric_t *shown = metrics_gauge (metrics, "nexus_a", "A.", "w=\"new\"");
    metric_set (shown, 5);
    char *text = render (metrics, false);
    assert_non_null (strstr (text, "nexus_a{w=\"new\"} 5\n"));
    assert_non_null (strstr (text, "nexus_a{w=\"3999\"} 3999\n"));
    assert_null (strstr (text, "4000"));
    free (text);

    for (int i = 0; i < 5000; i++) {
        snprintf (labels, sizeof labels, "v=\"%d\"", i);
        metrics_counter (metrics, "nexus_b_total", "B.", labels);
    }
    metric_t *hidden = metrics_counter (metrics, "nexus_b_total", "B.", "v=\"hidden\"");
    metric_add (hidden, 7);
    assert_true (metric_value (hidden) == 7);
    metric_observe (metrics_histogram (metrics, "nexus_c_seconds", "C.", NULL, NULL, 0), 1);
    text = render (metrics, false);
    assert_null (strstr (text, "hidden"));
    assert_null (strstr (text, "nexus_c"));
    free (text);
    metrics_destroy (&metrics);
}

static void test_label (void **state)
{
    (void)state;
    buffer_t labels = {0};
    metrics_label (&labels, "a", "plain");
    assert_string_equal ((const char *)labels.data, "a=\"plain\"");
    metrics_label (&labels, "b", "q\"b\\n\n");
    assert_string_equal ((const char *)labels.data, "a=\"plain\",b=\"q\\\"b\\\\n\\n\"");
    assert_int_equal (labels.size, strlen ((const char *)labels.data));
    buffer_free (&labels);
}

static void *count (void *args)
{
    metrics_t *metrics = args;
    metric_t *counter = metrics_counter (metrics, "nexus_n_total", "N.", NULL);
    metric_t *histogram = metrics_histogram (metrics, "nexus_h_seconds", "H.", NULL, NULL, 0);
    for (int i = 0; i < 10000; i++) {
        metric_add (counter, 1);
        metric_observe (histogram, 0.5);
    }
    return NULL;
}

static void test_threads (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create (&threads[i], NULL, count, metrics);
    free (render (metrics, false));
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
    assert_true (metric_value (metrics_counter (metrics, "nexus_n_total", "N.", NULL)) == 40000);
    assert_true (metric_value (
                     metrics_histogram (metrics, "nexus_h_seconds", "H.", NULL, NULL, 0)) == 40000);
    metrics_destroy (&metrics);
}

/*  What promtool says of the text; 127 if it is not installed. */
static int promtool (const char *text)
{
    FILE *pipe = popen ("command -v promtool >/dev/null || { cat >/dev/null; exit 127; }; "
                        "promtool check metrics",
                        "w");
    assert_non_null (pipe);
    fputs (text, pipe);
    return WEXITSTATUS (pclose (pipe));
}

static void test_promtool (void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new ();
    fill (metrics);
    char *text = render (metrics, false);
    int rc = promtool (text);
    free (text);
    metrics_destroy (&metrics);
    if (rc == 127) {
        print_message ("promtool is not installed\n");
        skip ();
    }
    assert_int_equal (rc, 0);

    /* The runtime's own. */
    nexus_error_t error;
    runtime_t *runtime = runtime_new (&(runtime_config_t){.name = "test"}, &error);
    text = render (runtime_metrics (runtime), false);
    assert_non_null (strstr (text, "nexus_dead_letters_total{reason=\"overflow\"} 0\n"));
    assert_int_equal (promtool (text), 0);
    free (text);
    runtime_destroy (&runtime);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_text),       cmocka_unit_test (test_openmetrics),
        cmocka_unit_test (test_found_once), cmocka_unit_test (test_forget),
        cmocka_unit_test (test_limit),      cmocka_unit_test (test_label),
        cmocka_unit_test (test_threads),    cmocka_unit_test (test_promtool),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
