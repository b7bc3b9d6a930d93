/*  history_fuzz - histories from strangers

    Whatever is read can be written, read back the same, and be judged within the bound.
*/
#include "actors/simulation/linearizability.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    nexus_error_t error;
    history_t *history = history_parse ((const char *)data, size, &error);
    if (!history)
        return 0;
    buffer_t out = {0}, again = {0};
    history_write (history, &out);
    history_t *copy = history_parse ((const char *)out.data, out.size, &error);
    assert (copy && history_count (copy) == history_count (history));
    history_write (copy, &again);
    assert (again.size == out.size && memcmp (again.data, out.data, out.size) == 0);
    linearizability_report_t report, report_copy;
    linearizability_verdict_t verdict = linearizability_check (history, 10000, &report);
    assert (verdict == linearizability_check (copy, 10000, &report_copy));
    buffer_clear (&out);
    linearizability_explain (history, &report, &out);
    linearizability_check_versions (history, &report);
    linearizability_explain (history, &report, &out);
    buffer_free (&out);
    buffer_free (&again);
    history_destroy (&copy);
    history_destroy (&history);
    return 0;
}
