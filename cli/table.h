/*  table - columns for people

    Cells are text; columns are as wide as their widest cell; what is beyond the
    first table's row of headers is never cut, so that output may be copied. A
    record's columns are those that its description flags as such.
*/
#pragma once

#include "runtime/record.h"

#include <stdio.h>

typedef struct table table_t;

table_t *table_new (void);
void table_destroy (table_t **self_p);

/*  Headers first, then cells, row by row. Text is copied; control characters become spaces, an
   empty cell is shown as "-". */
void table_header (table_t *self, const char *text);
void table_cell (table_t *self, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

/*  The headers and the cells of a record's columns. */
void table_record_header (table_t *self, const record_t *record);
void table_record (table_t *self, const record_t *record, const void *value);

/*  Asserts that the last row is full. indent: spaces before each line. */
void table_print (const table_t *self, FILE *file, int indent);

/*  ---- how figures are shown -------------------------------------------------- */

typedef struct {
    char text[32];
} figure_t;

figure_t figure_bytes (uint64_t bytes); /* "1.50 GiB" */
figure_t figure_count (double value);   /* "12,345" */
figure_t figure_duration (int64_t ms);  /* "2h03m", "1m05s", "12s", "250ms" */
figure_t figure_real (double value);    /* "0.1234", "1.2e-06" */
