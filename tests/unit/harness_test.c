/*  The harness by a small behaviour that uses all of its context. */
#include "runtime/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NUMBER(F)                                       \
    F (UINT, value, _, .max = 1000, .doc = "A number.") \
    F (STRING, text, _, .max = 20, .doc = "What to do with it.")
RECORD_DECLARE (number, NUMBER)
#define RECORD_SELF number_t
RECORD_DEFINE (number, 60001, 0, "A number.", NUMBER)
#undef RECORD_SELF

/*  A tally: adds numbers, tells its sum at each settle, asks an oracle, minds a child. */
typedef struct {
    uint64_t sum, turns, timer, asked;
    bool changed;
    message_t *held;
} tally_t;

typedef struct {
    bool refuse;
} tally_args_t;

static const address_t oracle = {.actor = "oracle"};

static int tally_start (void *state, context_t *ctx, const void *args, nexus_error_t *error)
{
    tally_t *self = state;
    const tally_args_t *tally_args = args;
    if (tally_args && tally_args->refuse)
        return nexus_error_set (error, NEXUS_INVALID, "tally: told to refuse");
    self->timer = context_after (ctx, MS_TO_NS (100), 7);
    return 0;
}

static void on_number (tally_t *self, context_t *ctx, const message_t *message,
                       const number_t *number)
{
    child_t child = {.behaviour = NULL, .name = "child", .instance = number->value};
    address_t address = address_local ("child", number->value);
    nexus_error_t error = {0};
    if (strcmp (number->text, "ask") == 0) {
        self->held = message_retain ((message_t *)message);
        self->asked = context_request (ctx, &oracle, &number_record, number, 500);
    } else if (strcmp (number->text, "spawn") == 0) {
        if (context_spawn (ctx, &child, &error) == -1)
            context_reply_failure (ctx, message, error.code, "%s", error.text);
    } else if (strcmp (number->text, "stop child") == 0) {
        context_stop_child (ctx, &address);
    } else if (strcmp (number->text, "watch") == 0) {
        context_watch (ctx, &address);
    } else if (strcmp (number->text, "fail") == 0) {
        nexus_error_set (&error, NEXUS_CORRUPT, "bad number");
        context_fail (ctx, &error);
    } else if (strcmp (number->text, "cancel") == 0) {
        context_cancel (ctx, self->timer);
    } else {
        self->sum += number->value;
        self->changed = true;
        context_reply (ctx, message, &number_record, &(number_t){.value = self->sum});
    }
}

static void tally_receive (void *state, context_t *ctx, const message_t *message)
{
    tally_t *self = state;
    const number_t *number = message_body (message, number);
    const down_t *down = message_body (message, down);
    if (down) {
        self->sum = down->failed ? 666 : 600;
    } else if (message->flags & MESSAGE_REPLY) {
        const failure_t *failure = message_body (message, failure);
        assert_true (message->correlation == self->asked);
        if (failure)
            context_reply_failure (ctx, self->held, (nexus_code_t)failure->code, "%s",
                                   failure->text);
        else
            context_reply (ctx, self->held, &number_record, number);
        message_release (&self->held);
    } else if (number) {
        on_number (self, ctx, message, number);
    }
}

static void tally_timer (void *state, context_t *ctx, uint64_t timer, uint64_t data)
{
    tally_t *self = state;
    assert_true (timer == self->timer);
    assert_int_equal (data, 7);
    context_send (ctx, &oracle, &done_record, &(done_t){.value = data});
    self->timer = context_after (ctx, MS_TO_NS (100), 7);
}

static void tally_settle (void *state, context_t *ctx)
{
    tally_t *self = state;
    self->turns++;
    record_key_t far = {{9}};
    address_t to = address_remote (&far, "listener", 3);
    if (self->changed)
        context_send (ctx, &to, &number_record, &(number_t){.value = self->sum, .text = "sum"});
    self->changed = false;
}

static void tally_stop (void *state, context_t *ctx)
{
    tally_t *self = state;
    context_send (ctx, &oracle, &done_record, &(done_t){.value = 99});
    if (self->held)
        message_release (&self->held);
}

static const behaviour_t tally_behaviour = {
    .name = "tally",
    .state_size = sizeof (tally_t),
    .start = tally_start,
    .receive = tally_receive,
    .timer = tally_timer,
    .settle = tally_settle,
    .stop = tally_stop,
};

static harness_t *fixture (void)
{
    harness_t *h = harness_new (&tally_behaviour, NULL, NULL, NULL);
    assert_non_null (h);
    return h;
}

static void give (harness_t *h, uint64_t value, const char *text)
{
    harness_deliver (h, NULL, &number_record, &(number_t){.value = value, .text = text});
}

static void start_refused (void **state)
{
    (void)state;
    nexus_error_t error = {0};
    assert_null (harness_new (&tally_behaviour, &(tally_args_t){.refuse = true}, NULL, &error));
    assert_int_equal (error.code, NEXUS_INVALID);
    assert_string_equal (error.text, "tally: told to refuse");
}

static void sends_are_recorded (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    give (h, 4, "");
    const number_t *sum = harness_expect (h, number);
    assert_non_null (sum);
    assert_int_equal (sum->value, 4);
    assert_string_equal (sum->text, "sum");
    assert_string_equal (harness_message (h)->to.actor, "listener");
    assert_int_equal (harness_message (h)->to.node.bytes[0], 9);
    assert_int_equal (harness_message (h)->to.instance, 3);
    assert_true (harness_quiet (h));
    give (h, 1, "");
    assert_null (harness_expect (h, done)); /* something else is there */
    assert_false (harness_quiet (h));
    assert_int_equal (harness_count (h, NULL), 1);
    harness_clear (h);
    assert_true (harness_quiet (h));
    assert_null (harness_expect (h, number));
    harness_destroy (&h);
}

static void one_turn_for_all_that_waits (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    harness_hold (h);
    for (uint64_t i = 1; i <= 10; i++)
        give (h, i, "");
    assert_int_equal (harness_count (h, NULL), 0);
    harness_turn (h);
    assert_int_equal (((tally_t *)harness_state (h))->turns, 2); /* and one after start */
    const number_t *sum = harness_expect (h, number);
    assert_non_null (sum);
    assert_int_equal (sum->value, 55);
    assert_true (harness_quiet (h));
    harness_destroy (&h);
}

static void timers_follow_the_clock (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    int64_t begin = harness_now (h);
    harness_advance (h, 99);
    assert_true (harness_quiet (h));
    harness_advance (h, 1);
    const done_t *tick = harness_expect (h, done);
    assert_non_null (tick);
    assert_int_equal (tick->value, 7);
    harness_advance (h, 250);
    assert_int_equal (harness_count (h, &done_record), 2);
    assert_true (harness_now (h) == begin + MS_TO_NS (350));
    harness_clear (h);
    give (h, 0, "cancel");
    harness_advance (h, 1000);
    assert_true (harness_quiet (h));
    harness_destroy (&h);
}

static void requests_and_replies (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    record_key_t key = {{5}};
    address_t peer = address_remote (&key, "peer", 0);
    uint64_t direct = harness_ask (h, &peer, &number_record, &(number_t){.value = 2});
    const number_t *reply = harness_expect_reply (h, direct, number);
    assert_non_null (reply);
    assert_int_equal (reply->value, 2);
    assert_true (address_equal (&harness_message (h)->to, &peer));
    harness_clear (h);

    uint64_t relayed = harness_ask (h, NULL, &number_record, &(number_t){.text = "ask"});
    assert_non_null (harness_expect (h, number));
    harness_reply (h, harness_message (h), &number_record, &(number_t){.value = 42});
    reply = harness_expect_reply (h, relayed, number);
    assert_non_null (reply);
    assert_int_equal (reply->value, 42);

    uint64_t failed = harness_ask (h, NULL, &number_record, &(number_t){.text = "ask"});
    assert_non_null (harness_expect (h, number));
    harness_reply_failure (h, harness_message (h), NEXUS_DENIED, "not you");
    const failure_t *failure = harness_expect_reply (h, failed, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, NEXUS_DENIED);
    assert_string_equal (failure->text, "not you");
    harness_destroy (&h);
}

static void a_request_without_reply_fails (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    give (h, 0, "cancel");
    uint64_t asked = harness_ask (h, NULL, &number_record, &(number_t){.text = "ask"});
    assert_non_null (harness_expect (h, number));
    message_t *request = message_retain ((message_t *)harness_message (h));
    harness_advance (h, 499);
    assert_true (harness_quiet (h));
    harness_advance (h, 1);
    const failure_t *failure = harness_expect_reply (h, asked, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, NEXUS_DEADLINE);
    harness_reply (h, request, &number_record, &(number_t){.value = 1}); /* too late */
    assert_int_equal (simulator_dead_letters (harness_simulator (h), "late"), 1);
    assert_true (harness_quiet (h));
    message_release (&request);
    harness_destroy (&h);
}

static void children_are_recorded (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    address_t child = address_local ("child", 8), other = address_local ("child", 9);
    give (h, 8, "spawn");
    const child_t *spawned = harness_expect_spawn (h);
    assert_non_null (spawned);
    assert_string_equal (spawned->name, "child");
    assert_int_equal (spawned->instance, 8);
    assert_null (harness_expect_spawn (h));
    give (h, 8, "watch");
    assert_false (harness_expect_watch (h, &other));
    assert_true (harness_expect_watch (h, &child));
    give (h, 8, "stop child");
    assert_true (harness_expect_stop_child (h, &child));
    harness_down (h, &child, true, "burnt");
    assert_int_equal (((tally_t *)harness_state (h))->sum, 666);

    harness_refuse_spawn (h, NEXUS_EXHAUSTED, "no room");
    uint64_t asked =
        harness_ask (h, NULL, &number_record, &(number_t){.value = 1, .text = "spawn"});
    assert_non_null (harness_expect_spawn (h));
    const failure_t *failure = harness_expect_reply (h, asked, failure);
    assert_non_null (failure);
    assert_int_equal (failure->code, NEXUS_EXHAUSTED);
    assert_true (harness_quiet (h));
    harness_destroy (&h);
}

static void ends (void **state)
{
    (void)state;
    harness_t *h = fixture ();
    nexus_error_t error = {0};
    assert_false (harness_ended (h, &error));
    give (h, 0, "fail");
    assert_true (harness_ended (h, &error));
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_null (harness_state (h));
    const done_t *last_words = harness_expect (h, done);
    assert_non_null (last_words);
    assert_int_equal (last_words->value, 99);
    harness_destroy (&h);

    h = fixture ();
    harness_stop (h);
    assert_null (harness_state (h));
    assert_non_null (harness_expect (h, done));
    harness_destroy (&h);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (start_refused),
        cmocka_unit_test (sends_are_recorded),
        cmocka_unit_test (one_turn_for_all_that_waits),
        cmocka_unit_test (timers_follow_the_clock),
        cmocka_unit_test (requests_and_replies),
        cmocka_unit_test (a_request_without_reply_fails),
        cmocka_unit_test (children_are_recorded),
        cmocka_unit_test (ends),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
