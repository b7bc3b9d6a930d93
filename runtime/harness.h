/*  harness - one behaviour under test: give it messages and time, expect sends

    The simulator with one actor in it. All other actors and nodes are the test:
    whatever the behaviour sends (but to itself), spawns or watches is recorded in order
    and waits to be expected. Time stands still but for harness_advance.

        harness_t *h = harness_new (&echo_behaviour, &args, NULL, NULL);
        harness_deliver (h, &peer, &ping_record, &(ping_t){ .count = 1 });
        const pong_t *pong = harness_expect (h, pong);
        assert_non_null (pong);
        assert_int_equal (pong->count, 1);
        assert_true (address_equal (&harness_message (h)->to, &peer));
        assert_true (harness_quiet (h));
        harness_destroy (&h);

    An expectation that is not met returns NULL or false and says on stderr what
    was there instead, so that the test's own assertion names the line.

    What the behaviour sends to another node passes through its wire form; if it
    can't be read back the harness ends the process with the reason.
*/
#pragma once

#include "runtime/simulator.h"

typedef struct harness harness_t;

/*  Starts the behaviour as the actor named like it, on a node of this key (NULL:
    all bytes 1). NULL with the error if its start refuses. args are borrowed. */
harness_t *harness_new (const behaviour_t *behaviour, const void *args, const record_key_t *node,
                        nexus_error_t *error);
void harness_destroy (harness_t **self_p);

/*  The behaviour's state; NULL once it has ended. */
void *harness_state (const harness_t *self);
context_t *harness_context (const harness_t *self);
/*  What context_now says in it. */
int64_t harness_now (const harness_t *self);
simulator_t *harness_simulator (const harness_t *self);

/*  ---- giving ------------------------------------------------------------ */

/*  The role of senders on other nodes from now on; at first ROLE_MASTER. */
void harness_set_role (harness_t *self, role_t role);

/*  A message from that actor (NULL: the local "test"), in a turn of its own. */
void harness_deliver (harness_t *self, const address_t *from, const record_t *kind,
                      const void *body);
/*  The same with bulk bytes; takes over *payload_p. */
void harness_deliver_payload (harness_t *self, const address_t *from, const record_t *kind,
                              const void *body, payload_t **payload_p);
/*  A request, with a deadline in 10 s; returns its correlation. */
uint64_t harness_ask (harness_t *self, const address_t *from, const record_t *kind,
                      const void *body);
/*  Answers a request that the behaviour made and harness_expect returned. */
void harness_reply (harness_t *self, const message_t *request, const record_t *kind,
                    const void *body);
void harness_reply_failure (harness_t *self, const message_t *request, nexus_code_t code,
                            const char *text);
/*  An actor that it watched or spawned has ended. */
void harness_down (harness_t *self, const address_t *actor, bool failed, const char *reason);
/*  Between these, what is delivered waits; harness_turn hands it all over in one turn. */
void harness_hold (harness_t *self);
void harness_turn (harness_t *self);

/*  Asks it to stop, as its supervisor would. */
void harness_stop (harness_t *self);
/*  Virtual time passes; timers and deadlines come at their times. */
void harness_advance (harness_t *self, int64_t ms);

/*  ---- expecting --------------------------------------------------------- */

/*  Takes the next message that was sent; NULL unless it is of that record. Valid
    until the next expectation. */
#define harness_expect(self, rec) ((const rec##_t *)harness_expect_kind (self, &rec##_record))
const void *harness_expect_kind (harness_t *self, const record_t *kind);
/*  Takes the first message of that record, wherever it stands. */
#define harness_find(self, rec) ((const rec##_t *)harness_find_kind (self, &rec##_record))
const void *harness_find_kind (harness_t *self, const record_t *kind);
/*  Takes the reply to harness_ask; NULL unless there is one of that record. */
#define harness_expect_reply(self, correlation, rec) \
    ((const rec##_t *)harness_expect_reply_kind (self, correlation, &rec##_record))
const void *harness_expect_reply_kind (harness_t *self, uint64_t correlation, const record_t *kind);
/*  The whole message whose body was returned last. */
const message_t *harness_message (const harness_t *self);
/*  How many messages of that record wait; NULL: of any. */
size_t harness_count (const harness_t *self, const record_t *kind);
/*  Nothing was sent, spawned, stopped or watched that was not expected. */
bool harness_quiet (harness_t *self);
/*  Forgets all that waits. */
void harness_clear (harness_t *self);

/*  Takes the next child that was to be spawned; NULL: none. Children don't run. */
const child_t *harness_expect_spawn (harness_t *self);
/*  The next spawn fails with this. */
void harness_refuse_spawn (harness_t *self, nexus_code_t code, const char *text);
/*  Takes the next stop_child, the next watch; false: none, or of another actor. */
bool harness_expect_stop_child (harness_t *self, const address_t *child);
bool harness_expect_watch (harness_t *self, const address_t *actor);
/*  It has ended by itself; ret_error (may be NULL) gets NEXUS_OK if it was done. */
bool harness_ended (const harness_t *self, nexus_error_t *ret_error);
