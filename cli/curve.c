/*  curve - values over steps, drawn as an SVG */
#include "cli/curve.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 860, HEIGHT = 460, LEFT = 76, RIGHT = 76, TOP = 64, BOTTOM = 60, POINTS_MAX = 1600 };

/*  A linear scale from values to pixels. */
typedef struct {
    double low, high;       /* values */
    double at_low, at_high; /* pixels */
    double first, step;     /* ticks */
} scale_t;

/*  Plain colours first, so that readers without media queries have them too. */
static const char style[] =
    "<style>\n"
    "  text { font: 13px system-ui, sans-serif; fill: #59636e; }\n"
    "  text.title { font-size: 16px; font-weight: 600; fill: #1f2328; }\n"
    "  .paper { fill: #fff; } .grid { stroke: #d1d9e0; } .frame { stroke: #59636e; fill: none; }\n"
    "  .left { stroke: #0969da; } .right { stroke: #bc4c00; }\n"
    "  text.left { fill: #0969da; stroke: none; } text.right { fill: #bc4c00; stroke: none; }\n"
    "  polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    text { fill: #9198a1; } text.title { fill: #f0f6fc; } .paper { fill: #0d1117; }\n"
    "    .grid { stroke: #3d444d; } .frame { stroke: #9198a1; }\n"
    "    .left { stroke: #58a6ff; } .right { stroke: #f0883e; }\n"
    "    text.left { fill: #58a6ff; } text.right { fill: #f0883e; }\n"
    "  }\n"
    "</style>\n";

void curve_ticks (double low, double high, int count, double *ret_first, double *ret_step)
{
    double span = high > low ? high - low : 1;
    double rough = span / count;
    double power = pow (10, floor (log10 (rough)));
    double digit = rough / power;
    double step = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
    *ret_step = step;
    *ret_first = floor (low / step + 1e-9) * step;
}

static void add_text (buffer_t *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            buffer_append (out, "&lt;", 4);
        else if (*text == '&')
            buffer_append (out, "&amp;", 5);
        else
            buffer_append (out, text, 1);
}

/*  Round ends, so that the curve stands between two ticks. */
static scale_t scale_of (double low, double high, double at_low, double at_high, bool whole)
{
    scale_t scale = {.at_low = at_low, .at_high = at_high};
    if (!(high > low)) {
        double room = fabs (low) > 0 ? fabs (low) * 0.1 : 1;
        low -= room;
        high += room;
    }
    curve_ticks (low, high, 5, &scale.first, &scale.step);
    if (whole && scale.step < 1) { /* there is no half a step */
        scale.step = 1;
        scale.first = floor (low);
    }
    scale.low = scale.first;
    scale.high = ceil (high / scale.step - 1e-9) * scale.step;
    return scale;
}

static scale_t value_scale (const curve_t *curve)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < curve->count; i++) {
        low = fmin (low, curve->points[i].value);
        high = fmax (high, curve->points[i].value);
    }
    if (low > 0 && low < high / 2) /* a loss is read against zero */
        low = 0;
    return scale_of (curve->count ? low : 0, curve->count ? high : 1, HEIGHT - BOTTOM, TOP, false);
}

static double place (const scale_t *scale, double value)
{
    double part = (value - scale->low) / (scale->high - scale->low);
    return scale->at_low + part * (scale->at_high - scale->at_low);
}

static void draw_value_axis (const scale_t *scale, bool right, const char *name, buffer_t *out)
{
    const char *class = right ? "right" : "left";
    int x = right ? WIDTH - RIGHT + 8 : LEFT - 8;
    int steps = (int)lround ((scale->high - scale->low) / scale->step);
    for (int i = 0; i <= steps; i++) {
        double value = scale->low + i * scale->step, y = place (scale, value);
        if (!right)
            buffer_printf (out,
                           "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
                           LEFT, WIDTH - RIGHT, y, y);
        buffer_printf (
            out, "<text class=\"%s\" x=\"%d\" y=\"%.1f\" text-anchor=\"%s\">%.6g</text>\n", class,
            x, y + 4, right ? "start" : "end", fabs (value) < scale->step / 1000 ? 0 : value);
    }
    int middle = (TOP + HEIGHT - BOTTOM) / 2, at = right ? WIDTH - 14 : 20;
    buffer_printf (out,
                   "<text class=\"%s\" text-anchor=\"middle\" transform=\"translate(%d %d) "
                   "rotate(%d)\">",
                   class, at, middle, right ? 90 : -90);
    add_text (out, name);
    buffer_printf (out, "</text>\n");
}

static void draw_step_axis (const scale_t *scale, buffer_t *out)
{
    int steps = (int)lround ((scale->high - scale->low) / scale->step);
    for (int i = 0; i <= steps; i++) {
        double value = scale->low + i * scale->step, x = place (scale, value);
        buffer_printf (out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n",
                       x, x, TOP, HEIGHT - BOTTOM);
        buffer_printf (out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.7g</text>\n", x,
                       HEIGHT - BOTTOM + 20, value);
    }
    buffer_printf (out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n",
                   (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16);
}

/*  Where there are more points than pixels every one of a stride is drawn, and the last. */
static void draw_line (const curve_t *curve, const scale_t *x, const scale_t *y, const char *class,
                       buffer_t *out)
{
    size_t stride = curve->count / POINTS_MAX + 1;
    buffer_printf (out, "<polyline class=\"%s\" points=\"", class);
    for (size_t i = 0; i < curve->count; i++)
        if (i % stride == 0 || i + 1 == curve->count)
            buffer_printf (out, "%.1f,%.1f ", place (x, (double)curve->points[i].step),
                           place (y, curve->points[i].value));
    buffer_printf (out, "\"/>\n");
}

static void draw_legend (const curve_t *curve, const char *class, int x, buffer_t *out)
{
    buffer_printf (out,
                   "<line class=\"%s\" stroke-width=\"3\" x1=\"%d\" x2=\"%d\" y1=\"48\" "
                   "y2=\"48\"/>\n<text x=\"%d\" y=\"52\">",
                   class, x, x + 22, x + 28);
    add_text (out, curve->name);
    buffer_printf (out, " (last %.6g)</text>\n", curve->points[curve->count - 1].value);
}

void curve_draw (const char *title, const curve_t *left, const curve_t *right, buffer_t *out)
{
    const curve_t *const curves[] = {left, right};
    double first = INFINITY, last = -INFINITY;
    for (size_t i = 0; i < 2; i++)
        if (curves[i]->count) {
            first = fmin (first, (double)curves[i]->points[0].step);
            last = fmax (last, (double)curves[i]->points[curves[i]->count - 1].step);
        }
    scale_t x = scale_of (left->count || right->count ? first : 0,
                          left->count || right->count ? last : 1, LEFT, WIDTH - RIGHT, true);
    scale_t left_y = value_scale (left), right_y = value_scale (right);
    buffer_printf (
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
        WIDTH, HEIGHT);
    add_text (out, title);
    buffer_printf (out, "</title>\n%s<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", style,
                   WIDTH, HEIGHT);
    buffer_printf (out, "<text class=\"title\" x=\"%d\" y=\"28\">", LEFT);
    add_text (out, title);
    buffer_printf (out, "</text>\n");
    draw_step_axis (&x, out);
    draw_value_axis (&left_y, false, left->name, out);
    if (right->count)
        draw_value_axis (&right_y, true, right->name, out);
    buffer_printf (out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
                   LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    if (left->count) {
        draw_line (left, &x, &left_y, "left", out);
        draw_legend (left, "left", LEFT, out);
    }
    if (right->count) {
        draw_line (right, &x, &right_y, "right", out);
        draw_legend (right, "right", (LEFT + WIDTH - RIGHT) / 2, out);
    }
    buffer_printf (out, "</svg>\n");
}
