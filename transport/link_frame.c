#include "transport/link_frame.h"

#include <assert.h>
#include <string.h>

#define FIELDS     11
#define FIELDS_MAX 15 /* what a fixarray holds: room for newer versions */

/*  ---- writing ----------------------------------------------------------- */

static uint8_t *put_big (uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint8_t *put_uint (uint8_t *at, uint64_t value)
{
    if (value < 0x80) {
        *at++ = (uint8_t)value;
        return at;
    }
    int bytes = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
    *at++ = (uint8_t)(bytes == 1 ? 0xcc : bytes == 2 ? 0xcd : bytes == 4 ? 0xce : 0xcf);
    return put_big (at, value, bytes);
}

static uint8_t *put_text (uint8_t *at, const char *text)
{
    size_t size = strlen (text); /* at most 23: a fixstr */
    *at++ = (uint8_t)(0xa0 | size);
    memcpy (at, text, size);
    return at + size;
}

void link_frame_append (buffer_t *out, const link_envelope_t *envelope, const record_t *kind,
                        const void *body)
{
    uint8_t head[160];
    uint8_t *at = head;
    *at++ = 0x90 | FIELDS;
    at = put_uint (at, LINK_ENVELOPE_VERSION);
    at = put_uint (at, envelope->kind);
    at = put_uint (at, envelope->flags);
    at = put_text (at, envelope->to_actor);
    at = put_uint (at, envelope->to_instance);
    at = put_text (at, envelope->from_actor);
    at = put_uint (at, envelope->from_instance);
    at = put_uint (at, envelope->correlation);
    at = put_uint (at, envelope->deadline_ms);
    at = put_uint (at, envelope->trace);
    *at++ = 0xce; /* always uint32: the size is known after the body only */
    at += 4;
    assert (at <= head + sizeof head);
    buffer_append (out, head, (size_t)(at - head));
    size_t body_at = out->size;
    record_encode (kind, body, out);
    if (!out->failed)
        put_big (out->data + body_at - 4, out->size - body_at, 4);
}

/*  ---- reading ----------------------------------------------------------- */

static uint64_t get_big (const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static int get_uint (link_frame_t *f, uint64_t *ret)
{
    if (f->at == f->end)
        return -1;
    uint8_t first = *f->at;
    if (first < 0x80) {
        *ret = first;
        f->at++;
        return 0;
    }
    if (first < 0xcc || first > 0xcf)
        return -1;
    int bytes = 1 << (first - 0xcc);
    if (f->end - f->at <= bytes)
        return -1;
    *ret = get_big (f->at + 1, bytes);
    f->at += 1 + bytes;
    return 0;
}

/*  An actor's name: 0 to 23 printable characters. */
static int get_actor (link_frame_t *f, char text[24])
{
    if (f->at == f->end || (*f->at & 0xe0) != 0xa0)
        return -1;
    size_t size = *f->at & 0x1f;
    if (size > 23 || (size_t)(f->end - f->at) <= size)
        return -1;
    for (size_t i = 0; i < size; i++) {
        char c = (char)f->at[1 + i];
        if (c <= ' ' || c > '~')
            return -1;
        text[i] = c;
    }
    text[size] = 0;
    f->at += 1 + size;
    return 0;
}

/*  A newer version's field: any scalar, text or bytes. */
static int skip (link_frame_t *f)
{
    if (f->at == f->end)
        return -1;
    uint8_t first = *f->at++;
    size_t left = (size_t)(f->end - f->at);
    size_t size;
    if (first < 0x80 || first >= 0xe0 || first == 0xc0 || first == 0xc2 || first == 0xc3)
        size = 0;
    else if ((first & 0xe0) == 0xa0)
        size = first & 0x1f;
    else if (first >= 0xca && first <= 0xd3) { /* float 32, 64; uint, int 8 to 64 */
        static const uint8_t sizes[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8};
        size = sizes[first - 0xca];
    } else if ((first >= 0xc4 && first <= 0xc6) || (first >= 0xd9 && first <= 0xdb)) {
        int prefix = 1 << (first >= 0xd9 ? first - 0xd9 : first - 0xc4);
        if (left < (size_t)prefix)
            return -1;
        size = (size_t)prefix + (size_t)get_big (f->at, prefix);
    } else
        return -1;
    if (left < size)
        return -1;
    f->at += size;
    return 0;
}

static int get_fields (link_frame_t *f, link_envelope_t *e)
{
    uint64_t version, kind, flags, body_size;
    if (f->at == f->end || *f->at < (0x90 | FIELDS) || *f->at > (0x90 | FIELDS_MAX))
        return -1;
    int fields = *f->at++ & 0x0f;
    if (get_uint (f, &version) || version != LINK_ENVELOPE_VERSION || get_uint (f, &kind) ||
        get_uint (f, &flags) || get_actor (f, e->to_actor) || get_uint (f, &e->to_instance) ||
        get_actor (f, e->from_actor) || get_uint (f, &e->from_instance) ||
        get_uint (f, &e->correlation) || get_uint (f, &e->deadline_ms) || get_uint (f, &e->trace) ||
        get_uint (f, &body_size))
        return -1;
    for (int i = FIELDS; i < fields; i++)
        if (skip (f) == -1)
            return -1;
    if (kind == 0 || kind > UINT16_MAX || flags > (LINK_REQUEST | LINK_REPLY | LINK_PAYLOAD) ||
        (flags & LINK_REQUEST && flags & LINK_REPLY) ||
        (flags & (LINK_REQUEST | LINK_REPLY) && e->correlation == 0) ||
        body_size > (uint64_t)(f->end - f->at))
        return -1;
    e->kind = (uint16_t)kind;
    e->flags = (unsigned)flags;
    e->body = f->at;
    e->body_size = (size_t)body_size;
    f->at += body_size;
    /*  A payload belongs to the last message of a frame. */
    return flags & LINK_PAYLOAD && f->at != f->end ? -1 : 0;
}

int link_frame_next (link_frame_t *frame, link_envelope_t *ret_envelope)
{
    if (frame->at == frame->end)
        return 0;
    link_envelope_t found = {0};
    if (get_fields (frame, &found) == -1)
        return -1;
    *ret_envelope = found;
    return 1;
}
