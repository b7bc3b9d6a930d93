/*  Frames from other nodes: every byte is the peer's. Whatever parses must hold what
    link_frame.h promises, and must be written again as the same message. */
#include "transport/link_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void expect (bool holds)
{
    if (!holds)
        abort ();
}

static void expect_sound (const link_envelope_t *e, const uint8_t *data, size_t size)
{
    expect (e->kind != 0);
    expect (memchr (e->to_actor, 0, sizeof e->to_actor) != NULL);
    expect (memchr (e->from_actor, 0, sizeof e->from_actor) != NULL);
    expect (e->body >= data && e->body_size <= size && e->body + e->body_size <= data + size);
    expect (!(e->flags & (LINK_REQUEST | LINK_REPLY)) || e->correlation != 0);
}

/*  Writes it with a body of its own and reads that. */
static void expect_same_again (const link_envelope_t *e)
{
    buffer_t out = {0};
    link_frame_append (&out, e, &done_record, &(done_t){7});
    link_frame_t frame = {out.data, out.data + out.size};
    link_envelope_t again;
    expect (link_frame_next (&frame, &again) == 1);
    expect (again.kind == e->kind && again.flags == e->flags);
    expect (strcmp (again.to_actor, e->to_actor) == 0 && again.to_instance == e->to_instance);
    expect (strcmp (again.from_actor, e->from_actor) == 0);
    expect (again.from_instance == e->from_instance && again.correlation == e->correlation);
    expect (again.deadline_ms == e->deadline_ms && again.trace == e->trace);
    expect (link_frame_next (&frame, &again) == 0);
    buffer_free (&out);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    link_frame_t frame = {data, data + size};
    link_envelope_t envelope;
    const uint8_t *before = frame.at;
    while (link_frame_next (&frame, &envelope) == 1) {
        expect (frame.at > before && frame.at <= data + size);
        before = frame.at;
        expect_sound (&envelope, data, size);
        expect_same_again (&envelope);
        /*  What a link does next with a body of a kind that it knows. */
        nexus_error_t error;
        message_t *message =
            message_decode (&failure_record, envelope.body, envelope.body_size, &error);
        if (message)
            message_release (&message);
    }
    return 0;
}
