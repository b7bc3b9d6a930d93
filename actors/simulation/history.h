/*  history - what the clients of a key-value store saw

    A list of operations on keys: who asked for what, when, and what came back. It is
    written down by the simulator's clients and by clients of real clusters, and judged
    by linearizability.h. One store, one clock: all times are of the same monotonic one.

    As text, one operation a line, words with spaces between them:

        nexus-history 1
        # CALL RETURN CLIENT OPERATION KEY [VALUE] [if VERSION] = OUTCOME
        0.010 0.013 c1 put a 5 = ok 17
        0.011 0.020 c2 put a 6 if 17 = conflict
        0.012 - c3 delete a = unknown
        0.021 0.022 c2 get a = found 5 17
        0.030 0.031 c2 get b = absent

    CALL and RETURN are seconds with up to nine decimals; RETURN is - if there never was
    an answer. An OUTCOME is one of

        ok [VERSION]             put, delete: done, as this version of the key
        found VALUE [VERSION]    get
        absent                   get: there is no such key; delete: there was none
        conflict                 put, delete with `if`: the key has another version
        failed                   nothing was done, and nothing will be
        unknown                  done or not, or later: nobody can tell

    A version is the log index of the key's last write; 0 (in `if`) is a key that is not
    there. Words that are not plain (empty, with spaces, quotes, #, = or other than
    printable ASCII) stand in double quotes, with \" \\ and \xHH. # begins a comment.

    Not thread-safe. Times are in nanoseconds.
*/
#pragma once

#include "runtime/buffer.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct history history_t;

typedef enum { HISTORY_GET, HISTORY_PUT, HISTORY_DELETE } history_kind_t;

typedef enum {
    HISTORY_UNKNOWN, /* may have been done, may still be, or never */
    HISTORY_OK,      /* put, delete: done; get: found */
    HISTORY_ABSENT,
    HISTORY_CONFLICT,
    HISTORY_FAILED
} history_outcome_t;

#define HISTORY_NEVER INT64_MAX

typedef struct {
    int64_t call_ns;
    int64_t return_ns; /* HISTORY_NEVER: no answer (yet) */
    uint32_t client;
    history_kind_t kind;
    history_outcome_t outcome;
    const char *key;
    const char *value; /* put: what to write; get: what was found; else NULL */
    bool compare;      /* put, delete: only if the key's version is `expected` */
    uint64_t expected; /* 0: the key is absent */
    uint64_t version;  /* as the outcome told; 0: it didn't */
    /* Filled in by history_add: numbers that stand for the texts, value_id 0 for none; and
       the line that history_parse read it from, 0 for none. */
    uint32_t key_id;
    uint32_t value_id;
    uint32_t line;
} history_operation_t;

history_t *history_new (void);
void history_destroy (history_t **self_p);

/*  Copies the operation and its texts; returns its number: 0, 1, 2 ... */
size_t history_add (history_t *self, const history_operation_t *operation);
/*  What came of an operation that was added as HISTORY_UNKNOWN when it was sent. value:
    what a get found, else NULL; version 0: not told. */
void history_return (history_t *self, size_t number, int64_t now_ns, history_outcome_t outcome,
                     const char *value, uint64_t version);

size_t history_count (const history_t *self);
/*  Valid until the next history_add. */
const history_operation_t *history_at (const history_t *self, size_t number);
/*  It has changed its key, or may have. */
bool history_is_write (const history_operation_t *operation);
/*  How many keys there are; key_id is less than that. */
size_t history_keys (const history_t *self);

/*  Reads the text form. NULL with an error that names the line and what in it is wrong. */
history_t *history_parse (const char *text, size_t size, nexus_error_t *error);
/*  Appends the text form; history_parse reads it back the same. */
void history_write (const history_t *self, buffer_t *out);
/*  Appends one operation, without an end of line. */
void history_write_operation (const history_operation_t *operation, buffer_t *out);
