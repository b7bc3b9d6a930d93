/*  metrics - nexus job metrics: the values that a job reported, as a table or a picture */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/curve.h"
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const option_t metrics_options[] = {
    CLIENT_OPTIONS,
    CLIENT_STALE,
    CLIENT_JSON,
    {"all", 'a', NULL, {NULL}, NULL, "Every point, not only the newest of each metric."},
    {"name", 'n', "NAME", {NULL}, "", "Only this metric."},
    {"svg", 's', "FILE", {NULL}, NULL, "Draw a curve into FILE (- is standard output)."},
    {"left", 0, "NAME", {NULL}, NULL, "Metric on the left axis; left out: loss."},
    {"right", 0, "NAME", {NULL}, NULL, "Metric on the right axis; left out: test_accuracy."},
    {0},
};

/*  The points of a metric: they come by name, then by step. */
static curve_t find_curve (const metric_list_t *list, const char *name)
{
    curve_t curve = {.name = name};
    for (size_t i = 0; i < list->points.count; i++)
        if (strcmp (list->points.items[i].name, name) == 0) {
            if (!curve.count)
                curve.points = &list->points.items[i];
            curve.count++;
        }
    return curve;
}

/*  The metric that was asked for, or the first of the usual names that the job has. */
static curve_t choose_curve (const metric_list_t *list, const char *asked, const char *const *usual)
{
    if (asked)
        return find_curve (list, asked);
    curve_t curve = {.name = usual[0]};
    for (; *usual && !curve.count; usual++)
        curve = find_curve (list, *usual);
    return curve;
}

static int write_file (const char *path, const buffer_t *text)
{
    FILE *file = strcmp (path, "-") == 0 ? stdout : fopen (path, "we");
    if (!file || fwrite (text->data, 1, text->size, file) != text->size ||
        (file == stdout ? fflush (file) : fclose (file))) {
        fprintf (stderr, "nexus: %s: %s\n", path, strerror (errno));
        return EX_CANTCREAT;
    }
    return 0;
}

static int draw (const metric_list_t *list, const options_t *options)
{
    static const char *const losses[] = {"loss", "train_loss", "test_loss", NULL};
    static const char *const accuracies[] = {"test_accuracy", "accuracy", "train_accuracy", NULL};
    curve_t left = choose_curve (list, options_text (options, "left"), losses);
    curve_t right = choose_curve (list, options_text (options, "right"), accuracies);
    if (!left.count && !right.count) {
        nexus_error_t error;
        nexus_error_set (&error, NEXUS_NOT_FOUND,
                         "job %s has reported neither %s nor %s; --left and --right choose others",
                         list->job_id, left.name, right.name);
        return command_fail (&error);
    }
    buffer_t text = {0};
    char title[200];
    snprintf (title, sizeof (title), "%s", list->job_id);
    curve_draw (title, &left, &right, &text);
    int rc = text.failed ? EX_OSERR : write_file (options_text (options, "svg"), &text);
    buffer_free (&text);
    return rc;
}

static void print_points (const metric_list_t *list, bool all)
{
    table_t *table = table_new ();
    table_record_header (table, &metric_point_record);
    for (size_t i = 0; i < list->points.count; i++) {
        const metric_point_t *point = &list->points.items[i];
        bool last = i + 1 == list->points.count || strcmp (point[1].name, point->name) != 0;
        if (all || last)
            table_record (table, &metric_point_record, point);
    }
    table_print (table, stdout, 0);
    table_destroy (&table);
    if (!list->points.count)
        fprintf (stderr, "job %s has reported nothing yet\n", list->job_id);
}

static int run_metrics (options_t *options)
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    client_set_stale (client, options_flag (options, "stale"));
    bool all = options_flag (options, "all") || options_text (options, "svg");
    char before[300];
    snprintf (before, sizeof (before), "/metrics?%sname=", all ? "limit=100000&" : "limit=1&");
    arena_t arena;
    metric_list_t list;
    arena_init (&arena, 1 << 30, NULL, 0);
    char *path = arena_printf (
        &arena, "%s%s%s", client_path (client, "/api/v1/jobs/", options_argument (options, 0), ""),
        before, "");
    path =
        path ? arena_strdup (&arena, client_path (client, path, options_text (options, "name"), ""))
             : NULL;
    int rc = 0;
    if (!path)
        rc = EX_OSERR;
    else if (options_flag (options, "json"))
        rc = client_print (client, path, NULL);
    else if (client_record (client, path, NULL, &metric_list_record, &arena, &list, &error))
        rc = command_fail (&error);
    else if (options_text (options, "svg"))
        rc = draw (&list, options);
    else
        print_points (&list, all);
    arena_reset (&arena);
    client_destroy (&client);
    return rc;
}

const command_t command_job_metrics = {
    "job metrics", "ID", "The values that a job has reported", NULL, metrics_options, 1, 1,
    run_metrics};
