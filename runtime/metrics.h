/*  metrics - counters, gauges and histograms, in Prometheus' text format

    A registry holds families (name, help, type) of series (label values). A
    series is found once and then updated with relaxed atomics from any thread.
    Names follow Prometheus' rules (nexus_ prefix, base units, _total), so that
    `promtool check metrics` is silent.
*/
#pragma once

#include "runtime/buffer.h"

#include <stdint.h>

typedef struct metrics metrics_t;
typedef struct metric metric_t;

metrics_t *metrics_new (void);
void metrics_destroy (metrics_t **self_p);

/*  Finds or makes the series. labels is NULL or "key=\"value\",..." as it stands
    between the braces; values are escaped by metrics_label. Asserts that a name keeps
    its type. At most 4,096 series a registry; past that, one that is counted
    but not shown. */
metric_t *metrics_counter (metrics_t *self, const char *name, const char *help, const char *labels);
metric_t *metrics_gauge (metrics_t *self, const char *name, const char *help, const char *labels);
/*  bounds ascend; NULL: 100 us to 100 s, in seconds. */
metric_t *metrics_histogram (metrics_t *self, const char *name, const char *help,
                             const char *labels, const double *bounds, size_t count);

void metric_add (metric_t *self, double value); /* counters and gauges */
void metric_set (metric_t *self, double value); /* gauges */
void metric_observe (metric_t *self, double value);
double metric_value (const metric_t *self);

/*  Removes every series with exactly these labels (a worker that is gone). */
void metrics_forget (metrics_t *self, const char *labels);

/*  Appends the exposition; openmetrics adds what that format wants (# EOF). */
void metrics_render (metrics_t *self, bool openmetrics, buffer_t *out);

/*  Appends key="value" with the value escaped, behind a comma if the buffer is not
    empty. labels->data is a string afterwards (unless the buffer has failed). */
void metrics_label (buffer_t *labels, const char *key, const char *value);
