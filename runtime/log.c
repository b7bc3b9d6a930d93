#include "runtime/log.h"

#include "runtime/clock.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*  PIPE_BUF on Linux: up to here a write to a pipe is atomic. */
#define LINE_MAX_BYTES  4096
#define VALUE_MAX_BYTES 1024
#define CUT             "truncated"

struct log {
    int fd;
    bool json;
    log_level_t level;
    log_sink_fn *sink; /* instead of fd */
    void *sink_context;
    char node[64];
    char actor[64];
};

/*  A line being written. It fails as a whole field: what no longer fits is left
    out, and room is kept to say so. */
typedef struct {
    char text[LINE_MAX_BYTES];
    size_t used;
    size_t limit;
    bool json;
    bool full;
} line_t;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

log_t *log_new (int fd, bool json, log_level_t level, const char *node)
{
    log_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->fd = fd;
    self->json = json;
    self->level = level;
    snprintf (self->node, sizeof self->node, "%s", node ? node : "");
    return self;
}

log_t *log_new_sink (log_level_t level, log_sink_fn *sink, void *context)
{
    log_t *self = log_new (-1, false, level, NULL);
    if (!self)
        return NULL;
    self->sink = sink;
    self->sink_context = context;
    return self;
}

log_t *log_derive (const log_t *parent, const char *actor)
{
    if (!parent)
        return NULL;
    log_t *self = malloc (sizeof *self);
    if (!self)
        return NULL;
    *self = *parent;
    snprintf (self->actor, sizeof self->actor, "%s", actor);
    return self;
}

void log_destroy (log_t **self_p)
{
    free (*self_p);
    *self_p = NULL;
}

bool log_enabled (const log_t *self, log_level_t level)
{
    return self && level >= self->level;
}

/*  ---- a line ---------------------------------------------------------------- */

static void put (line_t *line, const char *data, size_t size)
{
    if (line->full || size > line->limit - line->used) {
        line->full = true;
        return;
    }
    memcpy (line->text + line->used, data, size);
    line->used += size;
}

static void put_string (line_t *line, const char *text)
{
    put (line, text, strlen (text));
}

__attribute__ ((format (printf, 2, 3))) static void put_format (line_t *line, const char *format,
                                                                ...)
{
    char text[64];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    put_string (line, text);
}

/*  The length of the well-formed UTF-8 sequence at text (RFC 3629), 0 if there is none. */
static size_t utf8_length (const unsigned char *text)
{
    if (text[0] < 0x80)
        return 1;
    size_t length = text[0] >= 0xc2 && text[0] <= 0xdf   ? 2
                    : text[0] >= 0xe0 && text[0] <= 0xef ? 3
                    : text[0] >= 0xf0 && text[0] <= 0xf4 ? 4
                                                         : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool surrogate = text[0] == 0xed && text[1] > 0x9f;
    bool beyond = text[0] == 0xf4 && text[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

static void put_escaped (line_t *line, unsigned char c)
{
    if (c == '\n')
        put_string (line, "\\n");
    else if (c == '\t')
        put_string (line, "\\t");
    else if (c == '"' || c == '\\')
        put_format (line, "\\%c", c);
    else
        put_format (line, "\\u%04x", c);
}

static void put_quoted (line_t *line, const char *text)
{
    const unsigned char *next = (const unsigned char *)text;
    const unsigned char *end = next + VALUE_MAX_BYTES;
    put_string (line, "\"");
    while (*next && next < end) {
        size_t length = utf8_length (next);
        if (length == 0) {
            put_string (line, "\xef\xbf\xbd"); /* U+FFFD */
            length = 1;
        } else if (*next < 0x20 || *next == 0x7f || *next == '"' || *next == '\\') {
            put_escaped (line, *next);
        } else {
            put (line, (const char *)next, length);
        }
        next += length;
    }
    put_string (line, *next ? "...\"" : "\"");
}

/*  Can it stand in logfmt as it is? */
static bool plain (const char *text)
{
    size_t length = strlen (text);
    if (length == 0 || length > VALUE_MAX_BYTES)
        return false;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '=' || *c == '\\')
            return false;
    return true;
}

static void put_key (line_t *line, const char *key)
{
    if (line->json) {
        put_string (line, line->used == 0 ? "{" : ",");
        put_quoted (line, key);
        put_string (line, ":");
    } else {
        if (line->used)
            put_string (line, " ");
        put_string (line, key);
        put_string (line, "=");
    }
}

static void put_text (line_t *line, const char *key, const char *value)
{
    put_key (line, key);
    if (!value)
        value = "";
    if (!line->json && plain (value))
        put_string (line, value);
    else
        put_quoted (line, value);
}

static void put_field (line_t *line, const log_field_t *field)
{
    switch (field->type) {
    case LOG_FIELD_TEXT:
        put_text (line, field->key, field->text);
        break;
    case LOG_FIELD_INT:
        put_key (line, field->key);
        put_format (line, "%lld", (long long)field->i);
        break;
    case LOG_FIELD_UINT:
        put_key (line, field->key);
        put_format (line, "%llu", (unsigned long long)field->u);
        break;
    case LOG_FIELD_REAL:
        put_key (line, field->key);
        if (line->json && !isfinite (field->real))
            put_string (line, "null");
        else
            put_format (line, "%.6g", field->real);
        break;
    case LOG_FIELD_KEY: {
        char text[9];
        const uint8_t *key = field->node->bytes;
        snprintf (text, sizeof text, "%02x%02x%02x%02x", key[0], key[1], key[2], key[3]);
        put_text (line, field->key, text);
        break;
    }
    }
}

static void put_time (line_t *line)
{
    int64_t ms = clock_wall_ms ();
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r (&seconds, &tm);
    char text[64];
    snprintf (text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
              tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
    put_text (line, "time", text);
}

/*  A log that can't be written is no reason to stop; there is nobody to tell. */
static void write_line (int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write (fd, text, size);
        if (written == -1 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        text += written;
        size -= (size_t)written;
    }
}

void log_write (log_t *self, log_level_t level, const char *actor, const char *msg,
                const log_field_t *fields, size_t count)
{
    if (!log_enabled (self, level))
        return;
    if (!actor)
        actor = self->actor;
    if (self->sink) {
        self->sink (self->sink_context, level, actor[0] ? actor : NULL, msg, fields, count);
        return;
    }
    line_t line;
    line.used = 0;
    line.json = self->json;
    line.full = false;
    line.limit = sizeof line.text - sizeof (",\"" CUT "\":true}\n");
    put_time (&line);
    put_text (&line, "level", level_names[level]);
    if (self->node[0])
        put_text (&line, "node", self->node);
    if (actor[0])
        put_text (&line, "actor", actor);
    put_text (&line, "msg", msg);
    for (size_t i = 0; i < count && !line.full; i++) {
        size_t before = line.used;
        put_field (&line, &fields[i]);
        if (line.full)
            line.used = before;
    }
    bool cut = line.full;
    line.full = false;
    line.limit = sizeof line.text;
    if (cut) {
        put_key (&line, CUT);
        put_string (&line, "true");
    }
    put_string (&line, line.json ? "}\n" : "\n");
    write_line (self->fd, line.text, line.used);
}
