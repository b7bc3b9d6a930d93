#include "runtime/supervisor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INTENSITY_DEFAULT 1
#define INTENSITY_MAX     100000
#define PERIOD_MS_DEFAULT 5000

typedef struct {
    const supervisor_spec_t *spec;
    bool *running;
    bool *removed;    /* temporary, and ended */
    int64_t *history; /* the times of the last restarts, a ring of intensity */
    unsigned intensity;
    uint64_t restarts; /* in all */
    bool restarting;
    size_t first, last; /* the children to stop, then to start again */
} supervisor_t;

static address_t address_of (const child_t *child)
{
    return address_local (child->name, child->instance);
}

static void release (supervisor_t *self)
{
    free (self->running);
    free (self->removed);
    free (self->history);
}

static int spawn (supervisor_t *self, context_t *ctx, size_t i, nexus_error_t *error)
{
    const child_t *child = &self->spec->children[i];
    if (context_spawn (ctx, child, error) == -1)
        return nexus_error_prefix (error, "%s: ", child->name);
    self->running[i] = true;
    return 0;
}

static int supervisor_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    supervisor_t *self = state;
    self->spec = args;
    self->intensity = self->spec->intensity ? self->spec->intensity : INTENSITY_DEFAULT;
    assert (self->intensity <= INTENSITY_MAX);
    size_t count = self->spec->count ? self->spec->count : 1;
    self->running = calloc (count, sizeof *self->running);
    self->removed = calloc (count, sizeof *self->removed);
    self->history = calloc (self->intensity, sizeof *self->history);
    if (!self->running || !self->removed || !self->history) {
        release (self);
        return nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; i < self->spec->count; i++) {
        if (spawn (self, ctx, i, error) == -1) {
            release (self); /* the shell ends those that have started */
            return -1;
        }
    }
    return 0;
}

static void supervisor_stop (void *state, context_t *ctx)
{
    (void)ctx;
    release (state);
}

/*  Takes note of a restart. False if there were too many: the supervisor fails. */
static bool may_restart (supervisor_t *self, context_t *ctx, size_t i, const char *reason)
{
    const child_t *child = &self->spec->children[i];
    int64_t period_ms = self->spec->period_ms ? self->spec->period_ms : PERIOD_MS_DEFAULT;
    int64_t now = context_now (ctx);
    int64_t *oldest = &self->history[self->restarts % self->intensity];
    if (self->restarts >= self->intensity && now - *oldest <= MS_TO_NS (period_ms)) {
        nexus_error_t error;
        nexus_error_set (&error, NEXUS_UNAVAILABLE,
                         "%s ended more than %u times within %lld ms, at last: %s", child->name,
                         self->intensity, (long long)period_ms, reason);
        log_error (context_log (ctx), "supervisor gives up", LOG_TEXT ("reason", error.text));
        context_fail (ctx, &error);
        return false;
    }
    *oldest = now;
    self->restarts++;
    log_warning (context_log (ctx), "restarting a child", LOG_TEXT ("child", child->name),
                 LOG_UINT ("instance", child->instance), LOG_TEXT ("reason", reason));
    return true;
}

/*  Asks the last running child of the range to stop; false if none runs. */
static bool stop_one (const supervisor_t *self, context_t *ctx)
{
    for (size_t i = self->last + 1; i-- > self->first;) {
        if (self->running[i]) {
            address_t address = address_of (&self->spec->children[i]);
            context_stop_child (ctx, &address);
            return true;
        }
    }
    return false;
}

/*  Goes on with a restart: stops the range in reverse, a child at a time, then
    starts it in order. A start that fails counts as a restart, as in OTP. */
static void resume (supervisor_t *self, context_t *ctx)
{
    while (!stop_one (self, ctx)) {
        nexus_error_t error = {0};
        size_t i = self->first;
        while (i <= self->last && (self->removed[i] || spawn (self, ctx, i, &error) == 0))
            i++;
        if (i > self->last) {
            self->restarting = false;
            return;
        }
        if (!may_restart (self, ctx, i, error.text))
            return;
    }
}

/*  The children that go with child i. */
static size_t range_first (const supervisor_t *self, size_t i)
{
    return self->spec->strategy == SUPERVISE_ONE_FOR_ALL ? 0 : i;
}

static size_t range_last (const supervisor_t *self, size_t i)
{
    return self->spec->strategy == SUPERVISE_ONE_FOR_ONE ? i : self->spec->count - 1;
}

static void child_down (supervisor_t *self, context_t *ctx, size_t i, const down_t *down)
{
    restart_t restart = self->spec->children[i].restart;
    self->running[i] = false;
    self->removed[i] = restart == RESTART_TEMPORARY;
    bool expected = self->restarting && i >= self->first && i <= self->last;
    bool wanted = restart == RESTART_PERMANENT || (restart == RESTART_TRANSIENT && down->failed);
    if (!expected) {
        if (!wanted || !may_restart (self, ctx, i, down->reason))
            return;
        self->first = range_first (self, i);
        self->last = range_last (self, i);
        self->restarting = true;
    }
    resume (self, ctx);
}

static void supervisor_receive (void *state, context_t *ctx, const message_t *message)
{
    supervisor_t *self = state;
    const down_t *down = message_body (message, down);
    if (!down || !record_key_is_zero (&down->node))
        return;
    for (size_t i = 0; i < self->spec->count; i++) {
        const child_t *child = &self->spec->children[i];
        if (strcmp (child->name, down->actor) == 0 && child->instance == down->instance) {
            child_down (self, ctx, i, down);
            return;
        }
    }
}

const behaviour_t supervisor_behaviour = {.name = "supervisor",
                                          .state_size = sizeof (supervisor_t),
                                          .start = supervisor_start,
                                          .receive = supervisor_receive,
                                          .stop = supervisor_stop};
