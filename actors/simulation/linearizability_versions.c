/*  linearizability - the test of versions alone: see the header */
#include "actors/simulation/linearizability.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void *allocate (size_t count, size_t size)
{
    void *memory = calloc (count ? count : 1, size);
    assert (memory);
    return memory;
}

/*  The newest that has been shown to exist: by operation `number`. */
typedef struct {
    uint64_t version;
    size_t number;
} newest_t;

typedef struct {
    int64_t time_ns;
    size_t number;
    bool is_return;
} event_t;

typedef struct {
    const history_t *history;
    newest_t *of_key;                    /* by key */
    newest_t any;                        /* of all keys */
    newest_t *key_at_call, *any_at_call; /* by operation */
    linearizability_report_t *report;
} versions_t;

static int by_event (const void *a, const void *b)
{
    const event_t *x = a, *y = b;
    /* At one time calls come first: then the two overlap. */
    return x->time_ns != y->time_ns       ? (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns)
           : x->is_return != y->is_return ? x->is_return - y->is_return
                                          : (x->number > y->number) - (x->number < y->number);
}

static linearizability_verdict_t blame (versions_t *self, size_t first, size_t second,
                                        const char *what)
{
    const history_operation_t *a = history_at (self->history, first);
    const history_operation_t *b = history_at (self->history, second);
    linearizability_report_t *report = self->report;
    *report =
        (linearizability_report_t){.core = {first, second}, .core_count = first == second ? 1 : 2};
    report->key = a->key_id == b->key_id ? a->key : NULL;
    snprintf (report->reason, sizeof report->reason, "%s%.100s%s%s", report->key ? "key " : "",
              report->key ? report->key : "", report->key ? ": " : "", what);
    return LINEARIZABILITY_BROKEN;
}

static linearizability_verdict_t check_return (versions_t *self, size_t number)
{
    const history_operation_t *operation = history_at (self->history, number);
    const newest_t *key = &self->key_at_call[number], *any = &self->any_at_call[number];
    if (operation->outcome != HISTORY_OK || !operation->version)
        return LINEARIZABILITY_OK;
    if (operation->compare && operation->expected >= operation->version)
        return blame (self, number, number, "a write's version is not above what it replaced");
    if (!history_is_write (operation) && operation->version < key->version)
        return blame (self, key->number, number,
                      "a get saw an older version than was known before it was called");
    if (history_is_write (operation) && operation->version <= any->version)
        return blame (self, any->number, number,
                      "a write's version is not above those known before it was called");
    newest_t own = {.version = operation->version, .number = number};
    if (own.version > self->of_key[operation->key_id].version)
        self->of_key[operation->key_id] = own;
    if (own.version > self->any.version)
        self->any = own;
    return LINEARIZABILITY_OK;
}

static linearizability_verdict_t check_order (versions_t *self)
{
    size_t count = history_count (self->history), events_count = 0;
    event_t *events = allocate (2 * count, sizeof *events);
    for (size_t i = 0; i < count; i++) {
        const history_operation_t *operation = history_at (self->history, i);
        events[events_count++] = (event_t){.time_ns = operation->call_ns, .number = i};
        if (operation->return_ns != HISTORY_NEVER)
            events[events_count++] =
                (event_t){.time_ns = operation->return_ns, .number = i, .is_return = true};
    }
    qsort (events, events_count, sizeof *events, by_event);
    linearizability_verdict_t verdict = LINEARIZABILITY_OK;
    for (size_t i = 0; i < events_count && verdict == LINEARIZABILITY_OK; i++) {
        size_t number = events[i].number;
        if (events[i].is_return) {
            verdict = check_return (self, number);
            continue;
        }
        self->key_at_call[number] = self->of_key[history_at (self->history, number)->key_id];
        self->any_at_call[number] = self->any;
    }
    free (events);
    return verdict;
}

/*  An operation that told a version. */
typedef struct {
    const history_operation_t *operation;
    size_t number;
} told_t;

/*  By version; gets behind the writes. */
static int by_version (const void *a, const void *b)
{
    const told_t *x = a, *y = b;
    const history_operation_t *p = x->operation, *q = y->operation;
    return p->version != q->version ? (p->version > q->version) - (p->version < q->version)
           : history_is_write (p) != history_is_write (q)
               ? history_is_write (q) - history_is_write (p)
               : (x->number > y->number) - (x->number < y->number);
}

static linearizability_verdict_t check_unique (versions_t *self)
{
    size_t count = history_count (self->history);
    told_t *told = allocate (count, sizeof *told);
    size_t told_count = 0;
    for (size_t i = 0; i < count; i++) {
        const history_operation_t *operation = history_at (self->history, i);
        if (operation->outcome == HISTORY_OK && operation->version)
            told[told_count++] = (told_t){.operation = operation, .number = i};
    }
    qsort (told, told_count, sizeof *told, by_version);
    linearizability_verdict_t verdict = LINEARIZABILITY_OK;
    for (size_t i = 1; i < told_count && verdict == LINEARIZABILITY_OK; i++) {
        const history_operation_t *a = told[i - 1].operation, *b = told[i].operation;
        if (a->version != b->version)
            continue;
        if (history_is_write (a) && history_is_write (b))
            verdict =
                blame (self, told[i - 1].number, told[i].number, "two writes have one version");
        else if (a->key_id != b->key_id || a->value_id != b->value_id)
            verdict = blame (self, told[i - 1].number, told[i].number,
                             "one version stands for two different things");
    }
    free (told);
    return verdict;
}

linearizability_verdict_t linearizability_check_versions (const history_t *history,
                                                          linearizability_report_t *ret_report)
{
    linearizability_report_t unused;
    size_t count = history_count (history);
    versions_t self = {.history = history,
                       .of_key = allocate (history_keys (history), sizeof (newest_t)),
                       .key_at_call = allocate (count, sizeof (newest_t)),
                       .any_at_call = allocate (count, sizeof (newest_t)),
                       .report = ret_report ? ret_report : &unused};
    *self.report = (linearizability_report_t){.work = count};
    linearizability_verdict_t verdict = check_unique (&self);
    if (verdict == LINEARIZABILITY_OK)
        verdict = check_order (&self);
    free (self.of_key);
    free (self.key_at_call);
    free (self.any_at_call);
    return verdict;
}
