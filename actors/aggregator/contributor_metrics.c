/*  contributor_metrics - metric values on their way to the agent

    Values wait until the agent has them. Of a name that is reported more often
    than once a second only the newest value of each second goes.
*/
#include "actors/aggregator/contributor_private.h"

#include <stdio.h>
#include <string.h>

/*  The last waiting value of that name that is not on its way. */
static point_t *newest_of (contributor_t *self, const char *name)
{
    for (size_t i = self->point_count; i > self->points_sent; i--)
        if (strcmp (self->points[i - 1].name, name) == 0)
            return &self->points[i - 1];
    return NULL;
}

void metrics_report (contributor_t *self, context_t *ctx, const contributor_report_t *report)
{
    int64_t now = context_now (ctx);
    point_t *point = newest_of (self, report->name);
    if (!point || now - point->reported_at >= MS_TO_NS (1000)) {
        if (self->point_count == POINTS_MAX) {
            if (self->points_sent == POINTS_MAX)
                return;
            size_t oldest = self->points_sent;
            self->point_count--;
            memmove (&self->points[oldest], &self->points[oldest + 1],
                     (self->point_count - oldest) * sizeof (point_t));
        }
        point = &self->points[self->point_count++];
        point->reported_at = now;
        snprintf (point->name, sizeof (point->name), "%s", report->name);
    }
    point->step = report->step;
    point->value = report->value;
    point->time_ms = context_wall_ms (ctx);
}

static uint64_t traffic (const contributor_t *self)
{
    return atomic_load (&self->args->shared->pushed) + atomic_load (&self->args->shared->pulled);
}

bool metrics_delivered (const contributor_t *self)
{
    return self->point_count == 0 && !self->metrics_request && self->traffic_told == traffic (self);
}

void metrics_flush (contributor_t *self, context_t *ctx)
{
    if (self->metrics_request || metrics_delivered (self))
        return;
    metric_point_t points[POINTS_MAX];
    task_metrics_t metrics = {.points = {points, self->point_count},
                              .bytes_pushed = atomic_load (&self->args->shared->pushed),
                              .bytes_pulled = atomic_load (&self->args->shared->pulled)};
    for (size_t i = 0; i < self->point_count; i++)
        points[i] = (metric_point_t){self->points[i].name, self->points[i].step,
                                     self->points[i].value, self->points[i].time_ms};
    self->points_sent = self->point_count;
    self->traffic_told = metrics.bytes_pushed + metrics.bytes_pulled;
    self->metrics_at = context_now (ctx);
    self->metrics_request =
        context_request (ctx, &self->agent, &task_metrics_record, &metrics, 2000);
}

void metrics_answer (contributor_t *self, const message_t *message)
{
    if (!self->metrics_request || message->correlation != self->metrics_request)
        return;
    self->metrics_request = 0;
    if (message_body (message, done)) {
        self->point_count -= self->points_sent;
        memmove (self->points, self->points + self->points_sent,
                 self->point_count * sizeof (point_t));
    } else {
        self->traffic_told = 0;
    }
    self->points_sent = 0;
}
