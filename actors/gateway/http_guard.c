/*  http_guard - refuses requests that two readers could understand differently */
#include "actors/gateway/http_guard.h"

#include <string.h>
#include <strings.h>

enum { HEADERS_MAX = 64 };

/*  RFC 9110, section 5.6.2: what a name may consist of. */
static bool is_token (const char *text, size_t size)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && (!c || !strchr (marks, c)))
            return false;
    }
    return size > 0;
}

static bool is_clean (const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < ' ' && c != '\t') || c == 127)
            return false;
    }
    return true;
}

static bool is_name (const char *name, size_t size, const char *wanted)
{
    return size == strlen (wanted) && strncasecmp (name, wanted, size) == 0;
}

static bool is_number (const char *value, size_t size)
{
    if (!size || size > 18)
        return false;
    for (size_t i = 0; i < size; i++)
        if (value[i] < '0' || value[i] > '9')
            return false;
    return true;
}

static const char *look (http_guard_t *self, const char *name, size_t name_size, const char *value,
                         size_t value_size)
{
    if (++self->headers > HEADERS_MAX)
        return "more than 64 headers";
    if (!is_token (name, name_size))
        return "a header's name has white space or another character that it may not have";
    if (!is_clean (value, value_size))
        return "a header's value has a control character";
    if (is_name (name, name_size, "host") && ++self->hosts > 1)
        return "Host is given twice";
    if (is_name (name, name_size, "content-length")) {
        if (++self->lengths > 1)
            return "Content-Length is given twice";
        if (!is_number (value, value_size))
            return "Content-Length is no plain number";
    }
    if (is_name (name, name_size, "transfer-encoding")) {
        if (++self->encodings > 1)
            return "Transfer-Encoding is given twice";
        if (!is_name (value, value_size, "chunked"))
            return "Transfer-Encoding is not \"chunked\"";
    }
    return NULL;
}

void http_guard_header (http_guard_t *self, const char *name, size_t name_size, const char *value,
                        size_t value_size)
{
    if (!self->fault)
        self->fault = look (self, name, name_size, value ? value : "", value ? value_size : 0);
}

const char *http_guard_check (http_guard_t *self, bool http_1_1)
{
    if (self->fault)
        return self->fault;
    if (self->lengths && self->encodings)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (self->encodings && !http_1_1)
        return "Transfer-Encoding needs HTTP/1.1";
    if (http_1_1 && !self->hosts)
        return "Host is missing";
    return NULL;
}
