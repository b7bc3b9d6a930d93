/*  error - what went wrong outside the program, in a form that reaches its user */
#include "runtime/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const struct {
    const char *name;
    int http;
    int exit;
} codes[NEXUS_CODES] = {
    [NEXUS_OK] = {"ok", 200, EX_OK},
    [NEXUS_INVALID] = {"invalid", 400, EX_DATAERR},
    [NEXUS_NOT_FOUND] = {"not_found", 404, EX_NOINPUT},
    [NEXUS_EXISTS] = {"exists", 409, EX_CANTCREAT},
    [NEXUS_DENIED] = {"denied", 403, EX_NOPERM},
    [NEXUS_CONFLICT] = {"conflict", 409, EX_TEMPFAIL},
    [NEXUS_EXHAUSTED] = {"exhausted", 429, EX_TEMPFAIL},
    [NEXUS_UNAVAILABLE] = {"unavailable", 503, EX_UNAVAILABLE},
    [NEXUS_DEADLINE] = {"deadline", 504, EX_TEMPFAIL},
    [NEXUS_CORRUPT] = {"corrupt", 500, EX_SOFTWARE},
    [NEXUS_IO] = {"io", 500, EX_IOERR},
    /* 499: nginx's "client closed request"; no RFC has a status for it. */
    [NEXUS_CANCELLED] = {"cancelled", 499, EX_TEMPFAIL},
};

/*  Cuts a UTF-8 sequence that the end of the room has torn. */
static void mend_end (char *text, size_t size)
{
    size_t length = strlen (text);
    if (length + 1 < size)
        return;
    size_t start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t needs = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (length - (start - 1) < needs)
        text[start - 1] = 0;
}

int nexus_error_set (nexus_error_t *error, nexus_code_t code, const char *format, ...)
{
    assert (code > NEXUS_OK && code < NEXUS_CODES);
    if (!error)
        return -1;
    /* By way of a copy: the arguments may be the error's own text. */
    char text[sizeof error->text];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    mend_end (text, sizeof text);
    error->code = code;
    memcpy (error->text, text, strlen (text) + 1);
    return -1;
}

int nexus_error_prefix (nexus_error_t *error, const char *format, ...)
{
    if (!error)
        return -1;
    char text[sizeof error->text];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    size_t length = strlen (text);
    snprintf (text + length, sizeof text - length, "%s", error->text);
    mend_end (text, sizeof text);
    memcpy (error->text, text, strlen (text) + 1);
    return -1;
}

const char *nexus_code_name (nexus_code_t code)
{
    return (unsigned)code < NEXUS_CODES ? codes[code].name : "unknown";
}

int nexus_code_http (nexus_code_t code)
{
    return (unsigned)code < NEXUS_CODES ? codes[code].http : 500;
}

int nexus_code_exit (nexus_code_t code)
{
    return (unsigned)code < NEXUS_CODES ? codes[code].exit : EX_SOFTWARE;
}
