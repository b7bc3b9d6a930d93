/*  job - nexus job submit, list, show, watch, stop */
#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#define OUTCOME                                                                           \
    "The exit code is the job's: 0 succeeded, 1 failed, 2 not placed within --timeout,\n" \
    "3 cancelled, 4 timed out; 64 and above: the command itself failed (sysexits)."
#define NOTES                                                            \
    {                                                                    \
        "notes", 0, "FILE", {NULL}, NULL,                                \
            "Show lines that are appended to this file above the block." \
    }
#define TIMEOUT                                                 \
    {                                                           \
        "timeout", 't', "SECONDS", {NULL}, "0",                 \
            "Wait so long at most; 0: until the job has ended." \
    }

static const option_t submit_options[] = {
    CLIENT_OPTIONS,
    CLIENT_JSON,
    {"wait", 'w', NULL, {NULL}, NULL, "Show the job's progress until it has ended."},
    TIMEOUT,
    NOTES,
    {0},
};
static const option_t list_options[] = {
    CLIENT_OPTIONS,
    CLIENT_STALE,
    CLIENT_JSON,
    {"phase", 'p', "PHASES", {NULL}, "", "Only these: queued,running,failed ..."},
    {"limit", 'n', "N", {NULL}, "100", "How many at most."},
    {0},
};
static const option_t show_options[] = {CLIENT_OPTIONS, CLIENT_STALE, CLIENT_JSON, {0}};
static const option_t plain_options[] = {CLIENT_OPTIONS, CLIENT_JSON, {0}};
static const option_t watch_options[] = {CLIENT_OPTIONS, TIMEOUT, NOTES, {0}};

/*  ---- submit ------------------------------------------------------------------- */

static int read_file (const char *path, buffer_t *out)
{
    FILE *file = strcmp (path, "-") == 0 ? stdin : fopen (path, "re");
    if (!file) {
        fprintf (stderr, "nexus: %s: %s\n", path, strerror (errno));
        return errno == ENOENT ? EX_NOINPUT : EX_IOERR;
    }
    out->limit = 1 << 20;
    for (size_t got = 1; got && !out->failed;) {
        uint8_t *to = buffer_reserve (out, 4096);
        got = to ? fread (to, 1, 4096, file) : 0;
        out->size += got;
    }
    bool bad = ferror (file) != 0;
    if (file != stdin)
        fclose (file);
    if (bad || out->failed)
        fprintf (stderr, "nexus: %s: not readable, or larger than 1 MiB\n", path);
    return bad || out->failed ? EX_DATAERR : 0;
}

/*  All faults, each with its place in the file. */
static int fail_submit (const client_t *client, const char *file, const nexus_error_t *error)
{
    const problem_t *problem = client_problem (client);
    if (error->code != NEXUS_INVALID || !problem->errors.count)
        return command_fail (error);
    for (size_t i = 0; i < problem->errors.count; i++) {
        const problem_fault_t *fault = &problem->errors.items[i];
        fprintf (stderr, "%s:", file);
        if (fault->line)
            fprintf (stderr, "%" PRIu64 ":", fault->line);
        fprintf (stderr, " %s%s%s\n", fault->path, *fault->path ? ": " : "", fault->message);
    }
    return nexus_code_exit (NEXUS_INVALID);
}

static int read_job (const client_answer_t *answer, arena_t *arena, job_t *job,
                     nexus_error_t *error)
{
    record_faults_t faults = {.count = 0};
    json_t *json = json_loadb ((const char *)answer->body.data, answer->body.size, 0, NULL);
    int rc = json ? record_from_json (&job_record, json, RECORD_ALLOW_READONLY, arena, job, &faults)
                  : -1;
    json_decref (json);
    return rc ? nexus_error_set (error, NEXUS_CORRUPT, "the answer is no job: %s",
                                 faults.count ? faults.items[0].message : "no JSON")
              : 0;
}

static int submit (client_t *client, const options_t *options, const char *file,
                   const buffer_t *text, uint64_t timeout)
{
    size_t name = strlen (file);
    bool json = name > 5 && strcmp (file + name - 5, ".json") == 0;
    client_answer_t answer;
    nexus_error_t error;
    arena_t arena;
    job_t job;
    arena_init (&arena, 16 << 20, NULL, 0);
    if (client_ask (client, "/api/v1/jobs", json ? "application/json" : "application/yaml",
                    text->data ? text->data : (const uint8_t *)"", text->size, &answer, &error))
        return fail_submit (client, file, &error);
    int rc = 0;
    if (read_job (&answer, &arena, &job, &error)) {
        rc = command_fail (&error);
    } else if (options_flag (options, "json")) {
        fwrite (answer.body.data, 1, answer.body.size, stdout);
        fputc ('\n', stdout);
    } else if (options_flag (options, "wait")) {
        printf ("job %s is submitted\n", job.id);
    } else {
        printf ("%s\n", job.id);
    }
    fflush (stdout);
    if (rc == 0 && options_flag (options, "wait"))
        rc = watch_job (client, job.id, (int64_t)timeout * 1000, options_flag (options, "json"),
                        options_text (options, "notes"));
    client_answer_free (&answer);
    arena_reset (&arena);
    return rc;
}

static int run_submit (options_t *options)
{
    const char *file = options_argument (options, 0);
    buffer_t text = {0};
    nexus_error_t error;
    uint64_t timeout;
    if (options_number (options, "timeout", 0, 31536000, &timeout, &error)) {
        fprintf (stderr, "nexus job submit: %s\n", error.text);
        return EX_USAGE;
    }
    int rc = read_file (file, &text);
    client_t *client = rc ? NULL : client_new (options, &error);
    if (client)
        rc = submit (client, options, file, &text, timeout);
    else if (!rc)
        rc = command_fail (&error);
    client_destroy (&client);
    buffer_free (&text);
    return rc;
}

static int run_watch (options_t *options)
{
    nexus_error_t error;
    uint64_t timeout;
    if (options_number (options, "timeout", 0, 31536000, &timeout, &error)) {
        fprintf (stderr, "nexus job watch: %s\n", error.text);
        return EX_USAGE;
    }
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    int rc = watch_job (client, options_argument (options, 0), (int64_t)timeout * 1000, false,
                        options_text (options, "notes"));
    client_destroy (&client);
    return rc;
}

/*  ---- list ------------------------------------------------------------------------ */

static int64_t wall_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_jobs (const void *value)
{
    const job_list_t *list = value;
    table_t *table = table_new ();
    int64_t now = wall_ms ();
    table_record_header (table, &job_record);
    table_header (table, "ranks");
    table_header (table, "age");
    table_header (table, "ran");
    for (size_t i = 0; i < list->jobs.count; i++) {
        const job_t *job = &list->jobs.items[i];
        int64_t end = job->ended_ms ? job->ended_ms : now;
        table_record (table, &job_record, job);
        table_cell (table, "%" PRIu64, job->spec.gang.min);
        table_cell (table, "%s", figure_duration (now - job->submitted_ms).text);
        table_cell (table, "%s",
                    job->started_ms ? figure_duration (end - job->started_ms).text : "");
    }
    table_print (table, stdout, 0);
    table_destroy (&table);
    if (!list->jobs.count)
        fprintf (stderr, "no jobs\n");
    if (*list->next)
        fprintf (stderr, "there are more, older ones: --limit\n");
}

static int run_list (options_t *options)
{
    nexus_error_t error;
    uint64_t limit;
    char query[64];
    if (options_number (options, "limit", 1, 1000, &limit, &error)) {
        fprintf (stderr, "nexus job list: %s\n", error.text);
        return EX_USAGE;
    }
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    client_set_stale (client, options_flag (options, "stale"));
    snprintf (query, sizeof (query), "&reverse=true&limit=%" PRIu64, limit);
    const char *phase = options_text (options, "phase");
    const char *path = client_path (client, "/api/v1/jobs?phase=", phase, query);
    int rc = client_show (client, options_flag (options, "json"), path, NULL, &job_list_record,
                          print_jobs);
    client_destroy (&client);
    return rc;
}

/*  ---- show ------------------------------------------------------------------------ */

static const worker_ref_t *find_worker (const job_detail_t *detail, const record_key_t *key)
{
    static const worker_ref_t nobody = {.name = ""};
    for (size_t i = 0; i < detail->workers.count; i++)
        if (memcmp (&detail->workers.items[i].key, key, sizeof (*key)) == 0)
            return &detail->workers.items[i];
    return &nobody;
}

static void print_tasks (const job_detail_t *detail)
{
    table_t *table = table_new ();
    table_record_header (table, &task_record);
    table_header (table, "worker");
    table_header (table, "pushed");
    table_header (table, "pulled");
    table_header (table, "reason");
    for (size_t i = 0; i < detail->tasks.count; i++) {
        const task_t *task = &detail->tasks.items[i];
        const task_traffic_t *traffic = NULL;
        for (size_t j = 0; j < detail->traffic.count; j++)
            if (detail->traffic.items[j].rank == task->rank)
                traffic = &detail->traffic.items[j];
        table_record (table, &task_record, task);
        table_cell (table, "%s", find_worker (detail, &task->worker)->name);
        table_cell (table, "%s", traffic ? figure_bytes (traffic->bytes_pushed).text : "");
        table_cell (table, "%s", traffic ? figure_bytes (traffic->bytes_pulled).text : "");
        table_cell (table, "%s", task->reason);
    }
    table_print (table, stdout, 2);
    table_destroy (&table);
}

static void print_shards (const job_detail_t *detail)
{
    table_t *table = table_new ();
    table_record_header (table, &shard_record);
    table_header (table, "worker");
    for (size_t i = 0; i < detail->shards.count; i++) {
        table_record (table, &shard_record, &detail->shards.items[i]);
        table_cell (table, "%s", find_worker (detail, &detail->shards.items[i].worker)->name);
    }
    table_print (table, stdout, 2);
    table_destroy (&table);
}

/*  Runs that have ended: where a rank was before, and why it is not there any more. */
static void print_runs (const job_detail_t *detail)
{
    table_t *table = table_new ();
    size_t count = 0;
    table_header (table, "rank");
    table_record_header (table, &task_run_record);
    for (size_t i = 0; i < detail->tasks.count; i++)
        for (size_t j = 0; j < detail->tasks.items[i].runs.count; j++) {
            const task_run_t *run = &detail->tasks.items[i].runs.items[j];
            if (!run->ending || !*run->ending)
                continue;
            table_cell (table, "%" PRIu64, detail->tasks.items[i].rank);
            table_record (table, &task_run_record, run);
            count++;
        }
    if (count) {
        puts ("Runs that have ended");
        table_print (table, stdout, 2);
    }
    table_destroy (&table);
}

static void print_time (const char *title, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm local;
    char text[40];
    if (ms && localtime_r (&seconds, &local) &&
        strftime (text, sizeof (text), "%Y-%m-%d %H:%M:%S %z", &local))
        printf ("%-11s%s\n", title, text);
}

static void print_job (const void *value)
{
    const job_detail_t *detail = value;
    const job_t *job = &detail->job;
    printf ("%-11s%s\n%-11s%s", "Job", job->id, "Phase",
            record_choice_name (&job_phase_choices, job->phase));
    if (job->reason && *job->reason)
        printf (" (%s: %s)", job->reason, job->message ? job->message : "");
    printf ("\n%-11s", "Command");
    for (size_t i = 0; i < job->spec.command.count; i++)
        printf ("%s%s", i ? " " : "", job->spec.command.items[i]);
    printf ("\n%-11s%" PRIu64 "\n", "Epoch", job->epoch);
    print_time ("Submitted", job->submitted_ms);
    print_time ("Started", job->started_ms);
    print_time ("Ended", job->ended_ms);
    printf ("%-11s%s pushed, ", "Traffic", figure_bytes (detail->bytes_pushed).text);
    printf ("%s pulled\n", figure_bytes (detail->bytes_pulled).text);
    puts ("Ranks");
    print_tasks (detail);
    if (detail->shards.count && !job_phase_ended ((job_phase_t)job->phase)) {
        puts ("Aggregators");
        print_shards (detail);
    }
    print_runs (detail);
}

static int run_show (options_t *options)
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    client_set_stale (client, options_flag (options, "stale"));
    const char *path = client_path (client, "/api/v1/jobs/", options_argument (options, 0), "");
    int rc = client_show (client, options_flag (options, "json"), path, NULL, &job_detail_record,
                          print_job);
    client_destroy (&client);
    return rc;
}

/*  ---- stop ------------------------------------------------------------------------- */

static void print_phase (const void *value)
{
    const job_t *job = value;
    printf ("%s is %s\n", job->id, record_choice_name (&job_phase_choices, job->phase));
}

static int run_stop (options_t *options)
{
    nexus_error_t error;
    client_t *client = client_new (options, &error);
    if (!client)
        return command_fail (&error);
    const char *path =
        client_path (client, "/api/v1/jobs/", options_argument (options, 0), "/stop");
    int rc =
        client_show (client, options_flag (options, "json"), path, "{}", &job_record, print_phase);
    client_destroy (&client);
    return rc;
}

const command_t command_job_submit = {"job submit",
                                      "FILE",
                                      "Submit a job; prints its id",
                                      "FILE is a job file in YAML (or JSON, if its name ends in "
                                      ".json); - is standard input.\n" OUTCOME,
                                      submit_options,
                                      1,
                                      1,
                                      run_submit};
const command_t command_job_list = {
    "job list", "", "The jobs, newest first", NULL, list_options, 0, 0, run_list};
const command_t command_job_show = {
    "job show", "ID", "A job, its ranks and its aggregators", NULL, show_options, 1, 1, run_show};
const command_t command_job_watch = {
    "job watch", "ID",     "Show a job's progress until it has ended", OUTCOME, watch_options, 1,
    1,           run_watch};
const command_t command_job_stop = {"job stop", "ID", "Stop a job", NULL, plain_options,
                                    1,          1,    run_stop};
