/*  history - the list and its text form: see the header */
#include "actors/simulation/history.h"
#include "runtime/arena.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEADING "nexus-history 1"

/*  Texts, each with a number: open addressing, at most half full. */
typedef struct {
    const char **texts; /* by number */
    uint32_t *slots;    /* number + 1; 0: free */
    size_t count, slots_count;
} texts_t;

struct history {
    history_operation_t *operations;
    size_t count, capacity;
    texts_t keys, values;
    arena_t arena;
};

/*  ---- the list ------------------------------------------------------------------------ */

static void *resize (void *memory, size_t count, size_t size)
{
    void *grown = reallocarray (memory, count, size);
    assert (grown);
    return grown;
}

/*  FNV-1a */
static uint64_t text_hash (const char *text)
{
    uint64_t hash = UINT64_C (14695981039346656037);
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C (1099511628211);
    return hash;
}

static uint32_t *texts_slot (const texts_t *self, const char *text)
{
    size_t at = text_hash (text) & (self->slots_count - 1);
    while (self->slots[at] && strcmp (self->texts[self->slots[at] - 1], text) != 0)
        at = (at + 1) & (self->slots_count - 1);
    return &self->slots[at];
}

static void texts_grow (texts_t *self)
{
    self->slots_count = self->slots_count ? self->slots_count * 2 : 64;
    free (self->slots);
    self->slots = calloc (self->slots_count, sizeof *self->slots);
    assert (self->slots);
    self->texts = resize (self->texts, self->slots_count / 2, sizeof *self->texts);
    for (size_t i = 0; i < self->count; i++)
        *texts_slot (self, self->texts[i]) = (uint32_t)i + 1;
}

static uint32_t texts_number (texts_t *self, const char *text, arena_t *arena)
{
    if (self->count == self->slots_count / 2)
        texts_grow (self);
    uint32_t *slot = texts_slot (self, text);
    if (!*slot) {
        char *copy = arena_strdup (arena, text);
        assert (copy);
        self->texts[self->count++] = copy;
        *slot = (uint32_t)self->count;
    }
    return *slot - 1;
}

history_t *history_new (void)
{
    history_t *self = calloc (1, sizeof *self);
    assert (self);
    arena_init (&self->arena, 0, NULL, 0);
    return self;
}

void history_destroy (history_t **self_p)
{
    history_t *self = *self_p;
    if (!self)
        return;
    arena_reset (&self->arena);
    free (self->keys.texts);
    free (self->keys.slots);
    free (self->values.texts);
    free (self->values.slots);
    free (self->operations);
    free (self);
    *self_p = NULL;
}

static void set_value (history_t *self, history_operation_t *operation, const char *value)
{
    operation->value = NULL;
    operation->value_id = 0;
    if (!value)
        return;
    uint32_t number = texts_number (&self->values, value, &self->arena);
    operation->value = self->values.texts[number];
    operation->value_id = number + 1;
}

size_t history_add (history_t *self, const history_operation_t *operation)
{
    assert (operation->key && (operation->kind != HISTORY_PUT || operation->value));
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 64;
        self->operations = resize (self->operations, self->capacity, sizeof *self->operations);
    }
    history_operation_t *added = &self->operations[self->count];
    *added = *operation;
    added->key_id = texts_number (&self->keys, operation->key, &self->arena);
    added->key = self->keys.texts[added->key_id];
    set_value (self, added, operation->value);
    return self->count++;
}

void history_return (history_t *self, size_t number, int64_t now_ns, history_outcome_t outcome,
                     const char *value, uint64_t version)
{
    assert (number < self->count);
    history_operation_t *operation = &self->operations[number];
    assert (now_ns >= operation->call_ns);
    operation->return_ns = now_ns;
    operation->outcome = outcome;
    operation->version = version;
    if (operation->kind == HISTORY_GET)
        set_value (self, operation, value);
}

size_t history_count (const history_t *self)
{
    return self->count;
}

const history_operation_t *history_at (const history_t *self, size_t number)
{
    assert (number < self->count);
    return &self->operations[number];
}

bool history_is_write (const history_operation_t *operation)
{
    return operation->kind != HISTORY_GET &&
           (operation->outcome == HISTORY_OK || operation->outcome == HISTORY_UNKNOWN);
}

size_t history_keys (const history_t *self)
{
    return self->keys.count;
}

/*  ---- writing ------------------------------------------------------------------------- */

static bool is_plain (char c)
{
    return c > ' ' && c < 127 && c != '"' && c != '#' && c != '=';
}

static void write_word (const char *word, buffer_t *out)
{
    bool plain = *word != 0;
    for (const char *c = word; *c; c++)
        plain = plain && is_plain (*c);
    if (plain) {
        buffer_printf (out, "%s", word);
        return;
    }
    buffer_printf (out, "\"");
    for (; *word; word++) {
        if (*word == '"' || *word == '\\')
            buffer_printf (out, "\\%c", *word);
        else if (*word < ' ' || *word >= 127)
            buffer_printf (out, "\\x%02x", (unsigned)(uint8_t)*word);
        else
            buffer_append (out, word, 1);
    }
    buffer_printf (out, "\"");
}

static void write_time (int64_t ns, buffer_t *out)
{
    if (ns == HISTORY_NEVER)
        buffer_printf (out, "-");
    else
        buffer_printf (out, "%" PRId64 ".%09" PRId64, ns / 1000000000, ns % 1000000000);
}

static void write_outcome (const history_operation_t *operation, buffer_t *out)
{
    static const char *const words[] = {[HISTORY_UNKNOWN] = "unknown",
                                        [HISTORY_OK] = "ok",
                                        [HISTORY_ABSENT] = "absent",
                                        [HISTORY_CONFLICT] = "conflict",
                                        [HISTORY_FAILED] = "failed"};
    if (operation->outcome == HISTORY_OK && operation->kind == HISTORY_GET) {
        buffer_printf (out, "found ");
        write_word (operation->value ? operation->value : "", out);
    } else
        buffer_printf (out, "%s", words[operation->outcome]);
    if (operation->outcome == HISTORY_OK && operation->version)
        buffer_printf (out, " %" PRIu64, operation->version);
}

void history_write_operation (const history_operation_t *operation, buffer_t *out)
{
    static const char *const words[] = {"get", "put", "delete"};
    write_time (operation->call_ns, out);
    buffer_printf (out, " ");
    write_time (operation->return_ns, out);
    buffer_printf (out, " c%" PRIu32 " %s ", operation->client, words[operation->kind]);
    write_word (operation->key, out);
    if (operation->kind == HISTORY_PUT) {
        buffer_printf (out, " ");
        write_word (operation->value, out);
    }
    if (operation->compare)
        buffer_printf (out, " if %" PRIu64, operation->expected);
    buffer_printf (out, " = ");
    write_outcome (operation, out);
}

void history_write (const history_t *self, buffer_t *out)
{
    buffer_printf (out,
                   HEADING "\n"
                           "# CALL RETURN CLIENT OPERATION KEY [VALUE] [if VERSION] = OUTCOME\n");
    for (size_t i = 0; i < self->count; i++) {
        history_write_operation (&self->operations[i], out);
        buffer_printf (out, "\n");
    }
}

/*  ---- reading ------------------------------------------------------------------------- */

enum { WORDS_MAX = 12, WORD_MAX = 65536 };

typedef struct {
    char *text; /* unquoted, zero-terminated */
    bool quoted;
} word_t;

/*  One line at a time, cut into words. */
typedef struct {
    const char *next, *end; /* of the whole text */
    uint32_t line;
    word_t words[WORDS_MAX];
    size_t count, at;
    char *memory; /* the words' bytes */
    size_t memory_size;
    nexus_error_t *error;
} reader_t;

static int fault (reader_t *self, const char *field, const char *expected)
{
    const char *found = self->at < self->count ? self->words[self->at].text : "the end of the line";
    return nexus_error_set (self->error, NEXUS_INVALID,
                            "line %" PRIu32 ": %s: expected %s, found %s%.100s%s", self->line,
                            field, expected, self->at < self->count ? "\"" : "", found,
                            self->at < self->count ? "\"" : "");
}

static int line_fault (reader_t *self, const char *what)
{
    return nexus_error_set (self->error, NEXUS_INVALID, "line %" PRIu32 ": %s", self->line, what);
}

static int hex (char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/*  *text stands behind the opening quote; it is moved behind the closing one. Returns the
    end of what was written at out, or NULL. */
static char *read_quoted (reader_t *self, const char **text, const char *end, char *out)
{
    const char *c = *text;
    for (; c < end && *c != '"'; c++) {
        if (*c != '\\') {
            *out++ = *c;
            continue;
        }
        int high = end - c > 3 && c[1] == 'x' ? hex (c[2]) : -1;
        int low = high >= 0 ? hex (c[3]) : -1;
        if (end - c > 1 && (c[1] == '"' || c[1] == '\\')) {
            *out++ = *++c;
        } else if (low >= 0 && high + low > 0) {
            *out++ = (char)(uint8_t)(high * 16 + low);
            c += 3;
        } else {
            line_fault (self, "behind a \\ in quotes there may be \", \\ or xHH, other than x00");
            return NULL;
        }
    }
    if (c == end) {
        line_fault (self, "a quote is not closed");
        return NULL;
    }
    *text = c + 1;
    return out;
}

static int cut_words (reader_t *self, const char *text, const char *end)
{
    if ((size_t)(end - text) * 2 + WORDS_MAX > self->memory_size) {
        self->memory_size = (size_t)(end - text) * 2 + WORDS_MAX;
        self->memory = resize (self->memory, self->memory_size, 1);
    }
    char *out = self->memory;
    self->count = self->at = 0;
    while (text < end && *text != '#') {
        if (*text == ' ' || *text == '\t' || *text == '\r') {
            text++;
            continue;
        }
        if (self->count == WORDS_MAX)
            return line_fault (self, "it has too many words");
        word_t *word = &self->words[self->count++];
        *word = (word_t){.text = out, .quoted = *text == '"'};
        if (word->quoted) {
            text++;
            out = read_quoted (self, &text, end, out);
            if (!out)
                return -1;
        } else if (*text == '=') {
            *out++ = *text++;
        } else if (is_plain (*text)) {
            while (text < end && is_plain (*text))
                *out++ = *text++;
        } else
            return line_fault (self, "a byte that is not printable ASCII has to stand in quotes, "
                                     "as \\xHH");
        *out++ = 0;
        if (out - word->text > WORD_MAX)
            return line_fault (self, "a word is too long");
    }
    return 0;
}

/*  The next line that has words; false at the end of the text, or with *ret_rc -1. */
static bool next_line (reader_t *self, int *ret_rc)
{
    *ret_rc = 0;
    self->count = 0;
    while (*ret_rc == 0 && self->count == 0 && self->next < self->end) {
        const char *newline = memchr (self->next, '\n', (size_t)(self->end - self->next));
        const char *line = self->next, *line_end = newline ? newline : self->end;
        self->next = newline ? newline + 1 : self->end;
        self->line++;
        if (memchr (line, 0, (size_t)(line_end - line)))
            *ret_rc = line_fault (self, "it has a zero byte");
        else
            *ret_rc = cut_words (self, line, line_end);
    }
    return *ret_rc == 0 && self->count > 0;
}

/*  If the next word is this one, bare, takes it. */
static bool take (reader_t *self, const char *text)
{
    if (self->at == self->count || self->words[self->at].quoted ||
        strcmp (self->words[self->at].text, text) != 0)
        return false;
    self->at++;
    return true;
}

static int read_text (reader_t *self, const char *field, const char **ret)
{
    if (self->at == self->count ||
        (!self->words[self->at].quoted && strcmp (self->words[self->at].text, "=") == 0))
        return fault (self, field, "a word");
    *ret = self->words[self->at++].text;
    return 0;
}

/*  Decimal digits, at most max; returns what is behind them, or NULL. */
static const char *digits (const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (value > (max - digit) / 10)
            return NULL;
        value = value * 10 + digit;
    }
    *ret = value;
    return c == text ? NULL : c;
}

static int read_number (reader_t *self, const char *field, uint64_t min, uint64_t *ret)
{
    const char *end = NULL;
    uint64_t value = 0;
    if (self->at < self->count && !self->words[self->at].quoted)
        end = digits (self->words[self->at].text, INT64_MAX, &value);
    if (!end || *end || value < min)
        return fault (self, field, min ? "a number from 1" : "a number");
    *ret = value;
    self->at++;
    return 0;
}

static int read_time (reader_t *self, const char *field, int64_t *ret)
{
    const char *end = NULL;
    uint64_t seconds = 0, ns = 0;
    if (self->at < self->count && !self->words[self->at].quoted)
        end = digits (self->words[self->at].text, INT64_MAX / 1000000000 - 1, &seconds);
    if (end && *end == '.') {
        const char *fraction = end + 1;
        end = digits (fraction, 999999999, &ns);
        if (end && end - fraction > 9)
            end = NULL;
        for (const char *c = end; c && c - fraction < 9; c++)
            ns *= 10;
    }
    if (!end || *end)
        return fault (self, field, "seconds such as 1.25, at most nine decimals");
    *ret = (int64_t)(seconds * 1000000000 + ns);
    self->at++;
    return 0;
}

static int read_client (reader_t *self, uint32_t *ret)
{
    const char *end = NULL;
    uint64_t value = 0;
    if (self->at < self->count && self->words[self->at].text[0] == 'c')
        end = digits (self->words[self->at].text + 1, UINT32_MAX, &value);
    if (!end || *end)
        return fault (self, "client", "c and a number, such as c1");
    *ret = (uint32_t)value;
    self->at++;
    return 0;
}

static int read_request (reader_t *self, history_operation_t *operation)
{
    if (take (self, "get"))
        operation->kind = HISTORY_GET;
    else if (take (self, "put"))
        operation->kind = HISTORY_PUT;
    else if (take (self, "delete"))
        operation->kind = HISTORY_DELETE;
    else
        return fault (self, "operation", "get, put or delete");
    if (read_text (self, "key", &operation->key) == -1 ||
        (operation->kind == HISTORY_PUT && read_text (self, "value", &operation->value) == -1))
        return -1;
    if (operation->kind != HISTORY_GET && take (self, "if")) {
        operation->compare = true;
        if (read_number (self, "if", 0, &operation->expected) == -1)
            return -1;
    }
    return take (self, "=") ? 0 : fault (self, "operation", "= and the outcome");
}

static int read_outcome (reader_t *self, history_operation_t *operation)
{
    bool get = operation->kind == HISTORY_GET;
    if (take (self, "unknown"))
        operation->outcome = HISTORY_UNKNOWN;
    else if (take (self, "failed"))
        operation->outcome = HISTORY_FAILED;
    else if (operation->kind != HISTORY_PUT && take (self, "absent"))
        operation->outcome = HISTORY_ABSENT;
    else if (operation->compare && take (self, "conflict"))
        operation->outcome = HISTORY_CONFLICT;
    else if (take (self, get ? "found" : "ok"))
        operation->outcome = HISTORY_OK;
    else
        return fault (self, "outcome",
                      get                  ? "found, absent, failed or unknown"
                      : operation->compare ? "ok, absent, conflict, failed or unknown"
                                           : "ok, absent, failed or unknown (conflict needs if)");
    if (operation->outcome != HISTORY_OK)
        return 0;
    if (get && read_text (self, "value", &operation->value) == -1)
        return -1;
    return self->at < self->count ? read_number (self, "version", 1, &operation->version) : 0;
}

static int read_operation (reader_t *self, history_operation_t *operation)
{
    *operation = (history_operation_t){.line = self->line, .return_ns = HISTORY_NEVER};
    if (read_time (self, "call", &operation->call_ns) == -1)
        return -1;
    if (!take (self, "-") && read_time (self, "return", &operation->return_ns) == -1)
        return -1;
    if (operation->return_ns < operation->call_ns) {
        self->at--;
        return fault (self, "return", "a time that is not before the call");
    }
    if (read_client (self, &operation->client) == -1 || read_request (self, operation) == -1 ||
        read_outcome (self, operation) == -1)
        return -1;
    if (self->at < self->count)
        return fault (self, "outcome", "the end of the line");
    if (operation->return_ns == HISTORY_NEVER && operation->outcome != HISTORY_UNKNOWN)
        return line_fault (self, "return: what has an outcome has a time of return as well");
    return 0;
}

history_t *history_parse (const char *text, size_t size, nexus_error_t *error)
{
    history_t *self = history_new ();
    reader_t reader = {.next = text, .end = text + size, .error = error};
    int rc = 0;
    history_operation_t operation;
    if (!next_line (&reader, &rc) || !take (&reader, "nexus-history") || !take (&reader, "1") ||
        reader.at < reader.count)
        rc = rc ? rc
                : nexus_error_set (error, NEXUS_INVALID,
                                   "line %" PRIu32 ": a history begins with the line \"%s\"",
                                   reader.line ? reader.line : 1, HEADING);
    while (rc == 0 && next_line (&reader, &rc)) {
        rc = read_operation (&reader, &operation);
        if (rc == 0)
            history_add (self, &operation);
    }
    free (reader.memory);
    if (rc)
        history_destroy (&self);
    return self;
}
