/*  link_frame - the bytes of a frame between two nodes: a pure codec

    A frame is one or several messages to one peer, one after the other: a link that
    has many small messages waiting seals them as one. Each is

        envelope   msgpack array: version, kind, flags, to actor, to instance, from
                   actor, from instance, correlation, remaining deadline (ms), trace,
                   size of the body
        body       msgpack, size bytes: the record of that kind

    If the last one has LINK_PAYLOAD, a second ZeroMQ frame follows, its payload.
    An envelope says nothing about nodes: the sender's is what the connection
    authenticated, the receiver's is the receiver. A longer array comes from a newer
    node: the excess is skipped. An envelope without an actor to go to is the
    link's own (hello, credit).
*/
#pragma once

#include "runtime/message.h"

#define LINK_ENVELOPE_VERSION 1

enum {
    LINK_REQUEST = 1,
    LINK_REPLY = 2,
    LINK_PAYLOAD = 4,
};

typedef struct {
    uint16_t kind;
    unsigned flags;
    char to_actor[24];
    uint64_t to_instance;
    char from_actor[24];
    uint64_t from_instance;
    uint64_t correlation;
    uint64_t deadline_ms; /* 0: none */
    uint64_t trace;
    const uint8_t *body; /* into the frame; to be validated by record_decode */
    size_t body_size;
} link_envelope_t;

/*  Appends a message; envelope->body is ignored, the body is a value of kind. */
void link_frame_append (buffer_t *out, const link_envelope_t *envelope, const record_t *kind,
                        const void *body);

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} link_frame_t;

/*  Reads the next message's envelope from foreign bytes; allocates nothing, reads
    nothing outside the frame. 1: *ret_envelope is filled; 0: the frame is at its
    end; -1: malformed (whatever came before it in the frame was well-formed). */
int link_frame_next (link_frame_t *frame, link_envelope_t *ret_envelope);
