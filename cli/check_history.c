/*  check_history - nexus check-history: is what clients saw linearizable? */
#include "actors/simulation/linearizability.h"
#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const option_t check_history_options[] = {
    {"work", 'w', "STEPS", .def = "5000000", .doc = "Give up on a key after that many steps."},
    {0},
};

static int read_all (const char *path, buffer_t *out, nexus_error_t *error)
{
    bool standard = strcmp (path, "-") == 0;
    FILE *file = standard ? stdin : fopen (path, "re");
    if (!file)
        return nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO,
                                "can't read %s: %s", path, strerror (errno));
    size_t got = 1;
    while (got > 0 && !out->failed) {
        uint8_t *room = buffer_reserve (out, 65536);
        got = room ? fread (room, 1, 65536, file) : 0;
        out->size += got;
    }
    int rc = 0;
    if (ferror (file))
        rc = nexus_error_set (error, NEXUS_IO, "can't read %s: %s", path, strerror (errno));
    else if (out->failed)
        rc = nexus_error_set (error, NEXUS_EXHAUSTED, "no memory for %s", path);
    if (!standard)
        fclose (file);
    return rc;
}

static void explain (const history_t *history, const linearizability_report_t *report)
{
    buffer_t out = {0};
    linearizability_explain (history, report, &out);
    fwrite (out.data, 1, out.size, stdout);
    buffer_free (&out);
}

/*  The general test is the judge; versions add what only they show, such as the order of
    writes to different keys. */
static int judge (const history_t *history, uint64_t work_max)
{
    linearizability_report_t general, versions;
    linearizability_verdict_t verdict = linearizability_check (history, work_max, &general);
    bool versions_ok = linearizability_check_versions (history, &versions) == LINEARIZABILITY_OK;
    if (verdict == LINEARIZABILITY_OK && versions_ok)
        printf ("linearizable: %zu operations, %zu keys\n", history_count (history),
                history_keys (history));
    else if (verdict == LINEARIZABILITY_UNKNOWN && versions_ok)
        printf ("gave up: ");
    else
        printf ("not linearizable\n");
    if (verdict != LINEARIZABILITY_OK)
        explain (history, &general);
    if (verdict != LINEARIZABILITY_BROKEN && !versions_ok)
        explain (history, &versions);
    if (verdict == LINEARIZABILITY_BROKEN || !versions_ok)
        return 1;
    return verdict == LINEARIZABILITY_OK ? 0 : 2;
}

static int run_check_history (options_t *options)
{
    nexus_error_t error;
    buffer_t text = {0};
    uint64_t work_max;
    const char *path = options_argument (options, 0);
    if (options_number (options, "work", 1, UINT32_MAX, &work_max, &error) ||
        read_all (path, &text, &error)) {
        buffer_free (&text);
        return command_fail (&error);
    }
    history_t *history = history_parse ((const char *)text.data, text.size, &error);
    buffer_free (&text);
    if (!history) {
        fprintf (stderr, "nexus: %s: %s\n", path, error.text);
        return EX_DATAERR;
    }
    int rc = judge (history, work_max);
    history_destroy (&history);
    return rc;
}

const command_t command_check_history = {
    "check-history",
    "FILE",
    "Judge what the clients of a key-value store saw",
    "FILE (- is standard input) is a history, an operation a line:\n"
    "\n"
    "  nexus-history 1\n"
    "  # CALL RETURN CLIENT OPERATION KEY [VALUE] [if VERSION] = OUTCOME\n"
    "  0.010 0.013 c1 put a 5 = ok 17\n"
    "  0.021 0.022 c2 get a = found 5 17\n"
    "\n"
    "CALL and RETURN are seconds of one clock; RETURN is - if no answer came.\n"
    "Operations are get, put and delete, the latter two with `if VERSION` on\n"
    "condition. Outcomes are ok, found VALUE, absent, conflict, failed (nothing was\n"
    "done) and unknown (it may have been done, or may be yet).\n"
    "Prints \"linearizable\", or the few operations that contradict each other.\n"
    "Exit code: 0 linearizable, 1 not, 2 gave up, 65 no history.",
    check_history_options,
    1,
    1,
    run_check_history,
};
