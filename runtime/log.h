/*  log - structured lines, logfmt or JSON

        time=2026-01-31T12:00:00.123Z level=info node=m1 actor=election msg="became leader" term=4

    A line is one write of at most 4,096 bytes, so lines of several threads and
    processes never mix, not even in a pipe. Longer values are cut ("...").
    Thread-safe; a log may be shared by all actors of a node. Repeated lines are
    the caller's business: log once, at the layer that decides.
*/
#pragma once

#include "runtime/record.h"

/*  Not LOG_INFO and so on: syslog.h, which CZMQ includes, defines those as other numbers. */
typedef enum { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR } log_level_t;

typedef struct log log_t;

/*  fd is borrowed. json chooses JSON lines. node names the node in each line. */
log_t *log_new (int fd, bool json, log_level_t level, const char *node);
/*  A log whose lines go to a function instead: the simulator's trace, tests. It gets
    what log_write got, if the level is enabled; on the writer's thread. */
typedef struct log_field log_field_t;
typedef void (log_sink_fn) (void *context, log_level_t level, const char *actor, const char *msg,
                            const log_field_t *fields, size_t count);
log_t *log_new_sink (log_level_t level, log_sink_fn *sink, void *context);
void log_destroy (log_t **self_p);
/*  A log of one actor: the same lines to the same place, with its name in each. NULL
    in, NULL out. Destroy it before its parent. */
log_t *log_derive (const log_t *parent, const char *actor);
/*  A NULL log is one that is never enabled. */
bool log_enabled (const log_t *self, log_level_t level);

struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_REAL, LOG_FIELD_KEY } type;
    union {
        const char *text;
        int64_t i;
        uint64_t u;
        double real;
        const record_key_t *node;
    };
};

#define LOG_TEXT(k, v) ((log_field_t){.key = k, .type = LOG_FIELD_TEXT, .text = (v)})
#define LOG_INT(k, v)  ((log_field_t){.key = k, .type = LOG_FIELD_INT, .i = (int64_t)(v)})
#define LOG_UINT(k, v) ((log_field_t){.key = k, .type = LOG_FIELD_UINT, .u = (uint64_t)(v)})
#define LOG_REAL(k, v) ((log_field_t){.key = k, .type = LOG_FIELD_REAL, .real = (v)})
/*  A node's key, shown by its first 8 hex digits. */
#define LOG_NODE(k, v) ((log_field_t){.key = k, .type = LOG_FIELD_KEY, .node = (v)})

/*  msg says what happened in a few constant words; what varies is in the fields:
        log_info (log, "became leader", LOG_UINT ("term", term), LOG_TEXT ("site", site));
    actor NULL: the one that the log was derived for. */
void log_write (log_t *self, log_level_t level, const char *actor, const char *msg,
                const log_field_t *fields, size_t count);
#define log_at(log, level, msg, ...)                                                 \
    log_write (log, level, NULL, msg, (const log_field_t[]){{0}, ##__VA_ARGS__} + 1, \
               sizeof ((const log_field_t[]){{0}, ##__VA_ARGS__}) / sizeof (log_field_t) - 1)
#define log_debug(log, msg, ...)   log_at (log, LOG_LEVEL_DEBUG, msg, ##__VA_ARGS__)
#define log_info(log, msg, ...)    log_at (log, LOG_LEVEL_INFO, msg, ##__VA_ARGS__)
#define log_warning(log, msg, ...) log_at (log, LOG_LEVEL_WARNING, msg, ##__VA_ARGS__)
#define log_error(log, msg, ...)   log_at (log, LOG_LEVEL_ERROR, msg, ##__VA_ARGS__)
