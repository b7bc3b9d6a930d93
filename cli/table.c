/*  table - columns for people */
#include "cli/table.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_MAX = 300 };

struct table {
    size_t columns, count, room;
    char **cells; /* the headers first */
};

table_t *table_new (void)
{
    table_t *self = calloc (1, sizeof (*self));
    if (!self)
        abort ();
    return self;
}

void table_destroy (table_t **self_p)
{
    table_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        free (self->cells[i]);
    free (self->cells);
    free (self);
    *self_p = NULL;
}

static void add (table_t *self, const char *text)
{
    if (self->count == self->room) {
        self->room = self->room ? self->room * 2 : 64;
        self->cells = realloc (self->cells, self->room * sizeof (char *));
    }
    char *copy = self->cells ? strdup (*text ? text : "-") : NULL;
    if (!copy)
        abort (); /* a command that can't show its result has nothing else to do */
    for (char *c = copy; *c; c++)
        if (iscntrl ((unsigned char)*c))
            *c = ' ';
    self->cells[self->count++] = copy;
}

void table_header (table_t *self, const char *text)
{
    assert (self->count == self->columns);
    char upper[64];
    snprintf (upper, sizeof (upper), "%s", text);
    for (char *c = upper; *c; c++)
        *c = *c == '_' ? ' ' : (char)toupper ((unsigned char)*c);
    add (self, upper);
    self->columns++;
}

void table_cell (table_t *self, const char *format, ...)
{
    char text[CELL_MAX];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof (text), format, arguments);
    va_end (arguments);
    add (self, text);
}

void table_record_header (table_t *self, const record_t *record)
{
    for (size_t i = 0; i < record->field_count; i++)
        if (record->fields[i].flags & RECORD_COLUMN)
            table_header (self, record->fields[i].name);
}

static void add_field (table_t *self, const record_field_t *field, const void *member)
{
    switch (field->type) {
    case RECORD_TYPE_BOOL:
        table_cell (self, "%s", *(const bool *)member ? "yes" : "no");
        break;
    case RECORD_TYPE_INT:
        table_cell (self, "%" PRIi64, *(const int64_t *)member);
        break;
    case RECORD_TYPE_UINT:
        if (field->unit && strcmp (field->unit, "bytes") == 0)
            table_cell (self, "%s", figure_bytes (*(const uint64_t *)member).text);
        else
            table_cell (self, "%" PRIu64, *(const uint64_t *)member);
        break;
    case RECORD_TYPE_REAL:
        table_cell (self, "%s", figure_real (*(const double *)member).text);
        break;
    case RECORD_TYPE_STRING:
        table_cell (self, "%s", *(const char *const *)member ? *(const char *const *)member : "");
        break;
    case RECORD_TYPE_ENUM:
        table_cell (self, "%s", record_choice_name (field->choices, *(const int *)member));
        break;
    default: /* lists and bytes are no columns */
        assert (false);
    }
}

void table_record (table_t *self, const record_t *record, const void *value)
{
    for (size_t i = 0; i < record->field_count; i++)
        if (record->fields[i].flags & RECORD_COLUMN)
            add_field (self, &record->fields[i], (const char *)value + record->fields[i].offset);
}

/*  Characters, not bytes: continuation bytes of UTF-8 take no room. */
static int width_of (const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

void table_print (const table_t *self, FILE *file, int indent)
{
    if (!self->columns)
        return;
    assert (self->count % self->columns == 0);
    for (size_t row = 0; row < self->count / self->columns; row++) {
        fprintf (file, "%*s", indent, "");
        for (size_t column = 0; column < self->columns; column++) {
            const char *cell = self->cells[row * self->columns + column];
            int width = 0;
            for (size_t i = column; i < self->count; i += self->columns)
                if (width_of (self->cells[i]) > width)
                    width = width_of (self->cells[i]);
            bool last = column + 1 == self->columns;
            fprintf (file, "%s%*s", cell, last ? 0 : width - width_of (cell) + 2, "");
        }
        fputc ('\n', file);
    }
}

/*  ---- how figures are shown -------------------------------------------------------- */

figure_t figure_bytes (uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    figure_t figure;
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    int digits = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    snprintf (figure.text, sizeof (figure.text), "%.*f %s", digits, value, units[unit]);
    return figure;
}

figure_t figure_count (double value)
{
    figure_t figure;
    char digits[32];
    if (!(fabs (value) < 1e15))
        return figure_real (value);
    snprintf (digits, sizeof (digits), "%.0f", value);
    size_t size = strlen (digits), to = 0;
    for (size_t i = 0; i < size; i++) {
        if (i && digits[i - 1] != '-' && (size - i) % 3 == 0)
            figure.text[to++] = ',';
        figure.text[to++] = digits[i];
    }
    figure.text[to] = 0;
    return figure;
}

figure_t figure_duration (int64_t ms)
{
    figure_t figure;
    long long seconds = ms / 1000;
    if (ms < 1000)
        snprintf (figure.text, sizeof (figure.text), "%lldms", (long long)(ms < 0 ? 0 : ms));
    else if (seconds < 60)
        snprintf (figure.text, sizeof (figure.text), "%llds", seconds);
    else if (seconds < 3600)
        snprintf (figure.text, sizeof (figure.text), "%lldm%02llds", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf (figure.text, sizeof (figure.text), "%lldh%02lldm", seconds / 3600,
                  seconds / 60 % 60);
    else
        snprintf (figure.text, sizeof (figure.text), "%lldd%02lldh", seconds / 86400,
                  seconds / 3600 % 24);
    return figure;
}

figure_t figure_real (double value)
{
    figure_t figure;
    double size = fabs (value);
    if (size != 0 && (size < 1e-3 || size >= 1e6))
        snprintf (figure.text, sizeof (figure.text), "%.3g", value);
    else
        snprintf (figure.text, sizeof (figure.text), "%.*f", size >= 100 ? 1 : 4, value);
    return figure;
}
