/*  curve - values over steps, drawn as an SVG

    A picture of its own: two y axes (the left series on the left one, the right
    series on the right one), labelled ticks, a legend. Its colours follow the
    reader's light or dark preference (CSS prefers-color-scheme).
*/
#pragma once

#include "actors/protocol/job.h"

/*  The points of one metric, ascending by step. */
typedef struct {
    const char *name;
    const metric_point_t *points;
    size_t count;
} curve_t;

/*  Appends the picture. right may be empty (count 0): then there is no right axis. */
void curve_draw (const char *title, const curve_t *left, const curve_t *right, buffer_t *out);

/*  At most count + 1 round values that span low to high: the first, and the step between them. */
void curve_ticks (double low, double high, int count, double *ret_first, double *ret_step);
