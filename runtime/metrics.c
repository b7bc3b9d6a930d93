#include "runtime/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 4096
#define BUCKETS    1024 /* of the index */
#define BOUNDS_MAX 64

typedef enum { COUNTER, GAUGE, HISTOGRAM, TYPES } type_t;

typedef struct family family_t;

struct metric {
    metric_t *next;    /* of the family */
    metric_t *indexed; /* of the index's bucket */
    const family_t *family;
    char *labels;
    bool hidden;                   /* forgotten */
    atomic_uint_fast64_t value;    /* the bits of a double; of a histogram: the sum */
    atomic_uint_fast64_t counts[]; /* of a histogram: bounds and +Inf, not cumulated */
};

struct family {
    family_t *next; /* by name */
    char *name;
    char *help;
    type_t type;
    double *bounds;
    size_t bound_count;
    metric_t *first, *last;
};

struct metrics {
    pthread_mutex_t lock;
    family_t *families;
    metric_t *index[BUCKETS];
    size_t count;
    family_t hidden_family[TYPES];
    metric_t *hidden[TYPES]; /* counts for the series that are too many */
};

static const char *const type_names[TYPES] = {"counter", "gauge", "histogram"};

static const double default_bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                        0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5,
                                        5,      10,      25,     50,    100};

/*  ---- values ---------------------------------------------------------------- */

static double from_bits (uint64_t bits)
{
    double value;
    memcpy (&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits (double value)
{
    uint64_t bits;
    memcpy (&bits, &value, sizeof bits);
    return bits;
}

static void add (atomic_uint_fast64_t *cell, double value)
{
    uint64_t old = atomic_load_explicit (cell, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit (cell, &old, to_bits (from_bits (old) + value),
                                                   memory_order_relaxed, memory_order_relaxed))
        ;
}

static double load (const atomic_uint_fast64_t *cell)
{
    return from_bits (atomic_load_explicit (cell, memory_order_relaxed));
}

void metric_add (metric_t *self, double value)
{
    assert (self->family->type != HISTOGRAM);
    assert (self->family->type == GAUGE || value >= 0);
    add (&self->value, value);
}

void metric_set (metric_t *self, double value)
{
    assert (self->family->type == GAUGE);
    atomic_store_explicit (&self->value, to_bits (value), memory_order_relaxed);
}

void metric_observe (metric_t *self, double value)
{
    const family_t *family = self->family;
    assert (family->type == HISTOGRAM);
    size_t i = 0;
    while (i < family->bound_count && !(value <= family->bounds[i]))
        i++;
    atomic_fetch_add_explicit (&self->counts[i], 1, memory_order_relaxed);
    add (&self->value, value);
}

double metric_value (const metric_t *self)
{
    if (self->family->type != HISTOGRAM)
        return load (&self->value);
    uint64_t count = 0;
    for (size_t i = 0; i <= self->family->bound_count; i++)
        count += atomic_load_explicit (&self->counts[i], memory_order_relaxed);
    return (double)count;
}

/*  ---- the registry ----------------------------------------------------------- */

static void *must (void *memory)
{
    if (!memory) {
        fprintf (stderr, "nexus: out of memory (metrics)\n");
        abort ();
    }
    return memory;
}

static metric_t *new_series (const family_t *family, const char *labels)
{
    size_t counts = family->type == HISTOGRAM ? family->bound_count + 1 : 0;
    metric_t *self = must (calloc (1, sizeof *self + counts * sizeof self->counts[0]));
    self->family = family;
    self->labels = must (strdup (labels));
    return self;
}

metrics_t *metrics_new (void)
{
    metrics_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    pthread_mutex_init (&self->lock, NULL);
    for (int type = 0; type < TYPES; type++) {
        self->hidden_family[type].type = (type_t)type;
        self->hidden[type] = new_series (&self->hidden_family[type], "");
    }
    return self;
}

static void free_series (metric_t *self)
{
    free (self->labels);
    free (self);
}

void metrics_destroy (metrics_t **self_p)
{
    metrics_t *self = *self_p;
    if (!self)
        return;
    while (self->families) {
        family_t *family = self->families;
        self->families = family->next;
        while (family->first) {
            metric_t *series = family->first;
            family->first = series->next;
            free_series (series);
        }
        free (family->name);
        free (family->help);
        free (family->bounds);
        free (family);
    }
    for (int type = 0; type < TYPES; type++)
        free_series (self->hidden[type]);
    pthread_mutex_destroy (&self->lock);
    free (self);
    *self_p = NULL;
}

static bool valid_name (const char *name)
{
    const char *letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";
    return strchr (letters, name[0]) && name[0] &&
           strspn (name + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789") ==
               strlen (name) - 1;
}

static family_t *find_family (metrics_t *self, const char *name, const char *help, type_t type,
                              const double *bounds, size_t bound_count)
{
    family_t **link = &self->families;
    while (*link && strcmp ((*link)->name, name) < 0)
        link = &(*link)->next;
    if (*link && strcmp ((*link)->name, name) == 0) {
        assert ((*link)->type == type);
        return *link;
    }
    assert (valid_name (name) && bound_count <= BOUNDS_MAX);
    family_t *family = must (calloc (1, sizeof *family));
    family->name = must (strdup (name));
    family->help = must (strdup (help ? help : ""));
    family->type = type;
    if (bound_count) {
        family->bounds = must (calloc (bound_count, sizeof *bounds));
        memcpy (family->bounds, bounds, bound_count * sizeof *bounds);
        family->bound_count = bound_count;
        for (size_t i = 1; i < bound_count; i++)
            assert (bounds[i - 1] < bounds[i]);
    }
    family->next = *link;
    *link = family;
    return family;
}

static metric_t **bucket (metrics_t *self, const char *name, const char *labels)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (const char *c = labels; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &self->index[hash % BUCKETS];
}

static void clear (metric_t *series)
{
    atomic_store_explicit (&series->value, 0, memory_order_relaxed);
    if (series->family->type == HISTOGRAM)
        for (size_t i = 0; i <= series->family->bound_count; i++)
            atomic_store_explicit (&series->counts[i], 0, memory_order_relaxed);
}

/*  A forgotten series of that family, out of the index; NULL: there is none. */
static metric_t *reuse (metrics_t *self, family_t *family, const char *labels)
{
    metric_t *series = family->first;
    while (series && !series->hidden)
        series = series->next;
    if (!series)
        return NULL;
    metric_t **link = bucket (self, family->name, series->labels);
    while (*link != series)
        link = &(*link)->indexed;
    *link = series->indexed;
    free (series->labels);
    series->labels = must (strdup (labels));
    series->hidden = false;
    clear (series);
    return series;
}

static metric_t *find_series (metrics_t *self, family_t *family, const char *labels)
{
    metric_t **head = bucket (self, family->name, labels);
    for (metric_t *series = *head; series; series = series->indexed)
        if (series->family == family && strcmp (series->labels, labels) == 0) {
            series->hidden = false;
            return series;
        }
    metric_t *series;
    if (self->count < SERIES_MAX) {
        series = new_series (family, labels);
        self->count++;
        if (family->last)
            family->last->next = series;
        else
            family->first = series;
        family->last = series;
    } else {
        series = reuse (self, family, labels);
        if (!series)
            return self->hidden[family->type];
    }
    series->indexed = *head;
    *head = series;
    return series;
}

static metric_t *find (metrics_t *self, const char *name, const char *help, const char *labels,
                       type_t type, const double *bounds, size_t bound_count)
{
    pthread_mutex_lock (&self->lock);
    family_t *family = find_family (self, name, help, type, bounds, bound_count);
    metric_t *series = find_series (self, family, labels ? labels : "");
    pthread_mutex_unlock (&self->lock);
    return series;
}

metric_t *metrics_counter (metrics_t *self, const char *name, const char *help, const char *labels)
{
    return find (self, name, help, labels, COUNTER, NULL, 0);
}

metric_t *metrics_gauge (metrics_t *self, const char *name, const char *help, const char *labels)
{
    return find (self, name, help, labels, GAUGE, NULL, 0);
}

metric_t *metrics_histogram (metrics_t *self, const char *name, const char *help,
                             const char *labels, const double *bounds, size_t count)
{
    if (!bounds) {
        bounds = default_bounds;
        count = sizeof default_bounds / sizeof default_bounds[0];
    }
    return find (self, name, help, labels, HISTOGRAM, bounds, count);
}

void metrics_forget (metrics_t *self, const char *labels)
{
    pthread_mutex_lock (&self->lock);
    for (family_t *family = self->families; family; family = family->next)
        for (metric_t *series = family->first; series; series = series->next)
            if (strcmp (series->labels, labels) == 0) {
                series->hidden = true;
                clear (series);
            }
    pthread_mutex_unlock (&self->lock);
}

/*  ---- exposition --------------------------------------------------------------- */

static void put_number (buffer_t *out, double value)
{
    if (isnan (value))
        buffer_printf (out, "NaN");
    else if (isinf (value))
        buffer_printf (out, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor (value) && fabs (value) < 1e15)
        buffer_printf (out, "%.0f", value);
    else {
        char text[40];
        snprintf (text, sizeof text, "%.15g", value);
        if (strtod (text, NULL) != value)
            snprintf (text, sizeof text, "%.17g", value);
        buffer_printf (out, "%s", text);
    }
}

static void put_help (buffer_t *out, const char *help)
{
    for (; *help; help++) {
        if (*help == '\\')
            buffer_append (out, "\\\\", 2);
        else if (*help == '\n')
            buffer_append (out, "\\n", 2);
        else
            buffer_append (out, help, 1);
    }
}

static void put_sample (buffer_t *out, const char *name, const char *suffix, const char *labels,
                        const char *le, double value)
{
    buffer_printf (out, "%s%s", name, suffix);
    if (labels[0] || le)
        buffer_printf (out, "{%s%s", labels, labels[0] && le ? "," : "");
    if (le)
        buffer_printf (out, "le=\"%s\"", le);
    buffer_printf (out, labels[0] || le ? "} " : " ");
    put_number (out, value);
    buffer_append (out, "\n", 1);
}

static void put_histogram (buffer_t *out, const metric_t *series, bool openmetrics)
{
    const family_t *family = series->family;
    uint64_t count = 0;
    for (size_t i = 0; i <= family->bound_count; i++) {
        count += atomic_load_explicit (&series->counts[i], memory_order_relaxed);
        char le[40] = "+Inf";
        if (i < family->bound_count) {
            snprintf (le, sizeof le, "%.15g", family->bounds[i]);
            if (openmetrics && !strpbrk (le, ".e"))
                strcat (le, ".0"); /* OpenMetrics wants a canonical float */
        }
        put_sample (out, family->name, "_bucket", series->labels, le, (double)count);
    }
    put_sample (out, family->name, "_sum", series->labels, NULL, load (&series->value));
    put_sample (out, family->name, "_count", series->labels, NULL, (double)count);
}

/*  OpenMetrics names a counter's family without the suffix of its samples. */
static int family_length (const family_t *family, bool openmetrics)
{
    size_t length = strlen (family->name);
    size_t suffix = strlen ("_total");
    if (openmetrics && family->type == COUNTER && length > suffix &&
        strcmp (family->name + length - suffix, "_total") == 0)
        length -= suffix;
    return (int)length;
}

static void put_family (buffer_t *out, const family_t *family, bool openmetrics)
{
    const metric_t *series = family->first;
    while (series && series->hidden)
        series = series->next;
    if (!series)
        return;
    int length = family_length (family, openmetrics);
    buffer_printf (out, "# HELP %.*s ", length, family->name);
    put_help (out, family->help);
    buffer_printf (out, "\n# TYPE %.*s %s\n", length, family->name, type_names[family->type]);
    for (; series; series = series->next) {
        if (series->hidden)
            continue;
        if (family->type == HISTOGRAM)
            put_histogram (out, series, openmetrics);
        else
            put_sample (out, family->name, "", series->labels, NULL, load (&series->value));
    }
}

void metrics_render (metrics_t *self, bool openmetrics, buffer_t *out)
{
    pthread_mutex_lock (&self->lock);
    for (const family_t *family = self->families; family; family = family->next)
        put_family (out, family, openmetrics);
    pthread_mutex_unlock (&self->lock);
    if (openmetrics)
        buffer_printf (out, "# EOF\n");
}

void metrics_label (buffer_t *labels, const char *key, const char *value)
{
    buffer_printf (labels, "%s%s=\"", labels->size ? "," : "", key);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            buffer_printf (labels, "\\%c", *value);
        else if (*value == '\n')
            buffer_append (labels, "\\n", 2);
        else
            buffer_append (labels, value, 1);
    }
    buffer_append (labels, "\"", 2);
    if (!labels->failed)
        labels->size--; /* the NUL is not content, but data can be used as a string */
}
