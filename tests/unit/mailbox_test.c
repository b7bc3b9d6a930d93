/*  Mailboxes and inboxes: lanes, bounds, wake-ups, closing, many producers. */
#include "runtime/mailbox.h"

#include "runtime/directory.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ITEM(F)                                  \
    F (UINT, producer, _, .doc = "Who sent it.") \
    F (UINT, number, _, .doc = "Its number.")
RECORD_DECLARE (item, ITEM)
#define RECORD_SELF item_t
RECORD_DEFINE (item, 3100, 0, "A control message.", ITEM)
#undef RECORD_SELF
#define DATUM(F)                                 \
    F (UINT, producer, _, .doc = "Who sent it.") \
    F (UINT, number, _, .doc = "Its number.")
RECORD_DECLARE (datum, DATUM)
#define RECORD_SELF datum_t
RECORD_DEFINE (datum, 3101, RECORD_DATA_LANE, "A data message.", DATUM)
#undef RECORD_SELF

static message_t *make (bool data, uint64_t producer, uint64_t number)
{
    address_t to = address_local ("box", 0);
    item_t item = {producer, number}; /* both kinds look the same */
    return message_new (data ? &datum_record : &item_record, &item, NULL, &to, &to);
}

static mailbox_result_t push (mailbox_t *mailbox, bool data, uint64_t number)
{
    message_t *message = make (data, 0, number);
    mailbox_result_t result = mailbox_push (mailbox, &message);
    assert_true ((result == MAILBOX_PUSHED) == (message == NULL));
    message_release (&message);
    return result;
}

static void expect (mailbox_t *mailbox, bool data, uint64_t number)
{
    message_t *message = mailbox_pop (mailbox);
    assert_non_null (message);
    assert_ptr_equal (message->kind, data ? &datum_record : &item_record);
    assert_int_equal (((const item_t *)message->body)->number, number);
    message_release (&message);
}

typedef struct {
    inbox_t *inbox;
    mailbox_t *mailbox;
} box_t;

static box_t make_box (size_t count_max, size_t bytes_max)
{
    nexus_error_t error;
    address_t address = address_local ("box", 0);
    box_t self = {.inbox = inbox_new (&error)};
    assert_non_null (self.inbox);
    self.mailbox = mailbox_new (self.inbox, &address, count_max, bytes_max, NULL);
    return self;
}

static void free_box (box_t *self)
{
    mailbox_close (self->mailbox);
    mailbox_release (&self->mailbox);
    inbox_close (&self->inbox);
}

static bool readable (const inbox_t *inbox)
{
    struct pollfd fd = {.fd = inbox_fd (inbox), .events = POLLIN};
    return poll (&fd, 1, 0) == 1;
}

static void test_lanes (void **state)
{
    (void)state;
    box_t box = make_box (0, 0);
    assert_null (mailbox_pop (box.mailbox));
    for (uint64_t i = 0; i < 3; i++)
        push (box.mailbox, true, i);
    for (uint64_t i = 0; i < 3; i++)
        push (box.mailbox, false, i);
    assert_int_equal (mailbox_depth (box.mailbox), 6);
    for (uint64_t i = 0; i < 3; i++)
        expect (box.mailbox, false, i);
    expect (box.mailbox, true, 0);
    push (box.mailbox, false, 9); /* passes data that the consumer already holds */
    push (box.mailbox, true, 3);
    expect (box.mailbox, false, 9);
    for (uint64_t i = 1; i < 4; i++)
        expect (box.mailbox, true, i);
    assert_null (mailbox_pop (box.mailbox));
    assert_true (mailbox_idle (box.mailbox));
    assert_int_equal (mailbox_depth (box.mailbox), 0);
    free_box (&box);
}

static void test_count_bound (void **state)
{
    (void)state;
    box_t box = make_box (3, 0);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal (push (box.mailbox, true, i), MAILBOX_PUSHED);
    assert_int_equal (push (box.mailbox, true, 3), MAILBOX_FULL);
    assert_int_equal (push (box.mailbox, false, 0), MAILBOX_PUSHED);
    expect (box.mailbox, false, 0);
    expect (box.mailbox, true, 0);
    /* What the consumer has in hand counts until its turn is over. */
    assert_int_equal (push (box.mailbox, true, 4), MAILBOX_FULL);
    assert_false (mailbox_idle (box.mailbox));
    assert_int_equal (push (box.mailbox, true, 4), MAILBOX_PUSHED);
    assert_int_equal (push (box.mailbox, true, 5), MAILBOX_FULL);
    free_box (&box);
}

static void test_byte_bound (void **state)
{
    (void)state;
    message_t *message = make (true, 0, 0);
    size_t size = message->size;
    box_t box = make_box (0, size * 2 + 100);
    uint8_t *data;
    payload_t *payload = payload_alloc (1000, &data);
    message->payload = payload;
    message->size += 1000;
    assert_int_equal (mailbox_push (box.mailbox, &message), MAILBOX_FULL);
    message->size = size + 50;
    assert_int_equal (mailbox_push (box.mailbox, &message), MAILBOX_PUSHED);
    assert_int_equal (push (box.mailbox, true, 0), MAILBOX_PUSHED);
    assert_int_equal (push (box.mailbox, true, 0), MAILBOX_FULL);
    free_box (&box);
}

static void test_wake_up (void **state)
{
    (void)state;
    box_t box = make_box (0, 0);
    push (box.mailbox, false, 1);
    assert_true (inbox_waiting (box.inbox));
    assert_false (inbox_sleep (box.inbox)); /* there is something to do */
    assert_false (readable (box.inbox));    /* awake: no wake-up */
    mailbox_t *ready = inbox_take (box.inbox);
    assert_ptr_equal (ready, box.mailbox);
    assert_null (mailbox_next (ready));
    push (box.mailbox, false, 2); /* scheduled already: not in the inbox again */
    assert_null (inbox_take (box.inbox));
    expect (box.mailbox, false, 1);
    expect (box.mailbox, false, 2);
    assert_true (mailbox_idle (box.mailbox));
    mailbox_release (&ready);

    assert_true (inbox_sleep (box.inbox));
    assert_null (inbox_take (box.inbox)); /* which ends the sleep */
    assert_true (inbox_sleep (box.inbox));
    push (box.mailbox, false, 3);
    assert_true (readable (box.inbox));
    inbox_wake (box.inbox, true);
    ready = inbox_take (box.inbox);
    assert_ptr_equal (ready, box.mailbox);
    assert_false (mailbox_claim (box.mailbox));
    expect (box.mailbox, false, 3);
    assert_true (mailbox_idle (box.mailbox));
    assert_true (inbox_sleep (box.inbox));
    assert_false (readable (box.inbox)); /* the old wake-up does not end the new sleep */
    assert_true (mailbox_claim (box.mailbox));
    mailbox_release (&ready);
    free_box (&box);
}

static void test_idle_sees_what_came (void **state)
{
    (void)state;
    box_t box = make_box (0, 0);
    push (box.mailbox, false, 1);
    mailbox_t *ready = inbox_take (box.inbox);
    expect (box.mailbox, false, 1);
    push (box.mailbox, true, 2);
    assert_false (mailbox_idle (box.mailbox)); /* another turn, no wake-up */
    assert_null (inbox_take (box.inbox));
    expect (box.mailbox, true, 2);
    assert_true (mailbox_idle (box.mailbox));
    mailbox_release (&ready);
    free_box (&box);
}

static void test_close (void **state)
{
    (void)state;
    box_t box = make_box (0, 0);
    mailbox_t *producer = mailbox_retain (box.mailbox);
    push (box.mailbox, false, 1);
    push (box.mailbox, true, 2);
    mailbox_close (box.mailbox);
    assert_int_equal (push (box.mailbox, false, 3), MAILBOX_CLOSED);
    assert_int_equal (push (box.mailbox, true, 3), MAILBOX_CLOSED);
    expect (box.mailbox, false, 1);
    expect (box.mailbox, true, 2);
    assert_null (mailbox_pop (box.mailbox));
    mailbox_release (&box.mailbox);
    inbox_close (&box.inbox); /* the mailbox is still in it */
    assert_int_equal (push (producer, false, 4), MAILBOX_CLOSED);
    mailbox_release (&producer);
}

/*  Messages that nobody popped go with the mailbox (a leak checker sees to it). */
static void test_release_frees_messages (void **state)
{
    (void)state;
    box_t box = make_box (0, 0);
    push (box.mailbox, false, 1);
    push (box.mailbox, true, 2);
    mailbox_t *ready = inbox_take (box.inbox);
    mailbox_release (&ready);
    mailbox_release (&box.mailbox);
    inbox_close (&box.inbox);
}

#define PRODUCERS 4
#define EACH      20000

typedef struct {
    mailbox_t *mailbox;
    uint64_t producer;
} producer_t;

static void *produce (void *args)
{
    const producer_t *self = args;
    for (uint64_t i = 0; i < EACH; i++) {
        message_t *message = make (i % 2, self->producer, i);
        while (mailbox_push (self->mailbox, &message) == MAILBOX_FULL)
            sched_yield ();
        assert_null (message);
    }
    return NULL;
}

/*  Each producer's messages of a lane arrive once and in order, whoever sleeps when. */
static void test_many_producers (void **state)
{
    (void)state;
    box_t box = make_box (500, 0);
    producer_t producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (uint64_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer_t){box.mailbox, i};
        assert_int_equal (pthread_create (&threads[i], NULL, produce, &producers[i]), 0);
    }
    uint64_t next[2][PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) {
        next[0][i] = 0;
        next[1][i] = 1;
    }
    uint64_t received = 0;
    while (received < PRODUCERS * EACH) {
        mailbox_t *ready = inbox_take (box.inbox);
        if (!ready) {
            if (!inbox_sleep (box.inbox))
                continue;
            struct pollfd fd = {.fd = inbox_fd (box.inbox), .events = POLLIN};
            int rc = poll (&fd, 1, 10000);
            assert_int_equal (rc, 1); /* a lost wake-up would be found here */
            inbox_wake (box.inbox, true);
            continue;
        }
        do {
            message_t *message;
            while ((message = mailbox_pop (box.mailbox))) {
                const item_t *item = message->body;
                bool data = message->kind == &datum_record;
                assert_int_equal (item->number, next[data][item->producer]);
                next[data][item->producer] += 2;
                received++;
                message_release (&message);
            }
        } while (!mailbox_idle (box.mailbox));
        mailbox_release (&ready);
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join (threads[i], NULL);
    assert_int_equal (mailbox_depth (box.mailbox), 0);
    free_box (&box);
}

/*  ---- the directory -------------------------------------------------------------- */

static void test_directory (void **state)
{
    (void)state;
    nexus_error_t error;
    directory_t *directory = directory_new ();
    inbox_t *inbox = inbox_new (&error);
    mailbox_t *mailboxes[300];
    for (uint64_t i = 0; i < 300; i++) { /* so many that it grows */
        address_t address = address_local ("shard", i);
        mailboxes[i] = mailbox_new (inbox, &address, 0, 0, NULL);
        assert_int_equal (directory_add (directory, mailboxes[i], &error), 0);
    }
    address_t address = address_local ("shard", 7);
    mailbox_t *twin = mailbox_new (inbox, &address, 0, 0, NULL);
    assert_int_equal (directory_add (directory, twin, &error), -1);
    assert_int_equal (error.code, NEXUS_EXISTS);
    assert_non_null (strstr (error.text, "shard/7"));

    address_t names[3] = {address_local ("watcher", 0), address_local ("second", 0),
                          address_local ("ended", 0)};
    mailbox_t *watcher[3];
    for (int i = 0; i < 3; i++)
        watcher[i] = mailbox_new (inbox, &names[i], 0, 0, NULL);
    assert_true (directory_watch (directory, &address, watcher[2]));
    mailbox_close (watcher[2]); /* makes room for the next */
    assert_true (directory_watch (directory, &address, watcher[0]));
    assert_true (directory_watch (directory, &address, watcher[0]));
    assert_true (directory_watch (directory, &address, watcher[1]));
    directory_unwatch (directory, &address, watcher[1]);
    address_t absent = address_local ("absent", 0);
    assert_false (directory_watch (directory, &absent, watcher[0]));
    assert_null (directory_find (directory, &absent));

    mailbox_t **watchers;
    size_t count;
    assert_false (directory_remove (directory, twin, &watchers, &count));
    assert_null (watchers);
    for (uint64_t i = 0; i < 300; i++) {
        address_t name = address_local ("shard", i);
        mailbox_t *found = directory_find (directory, &name);
        assert_ptr_equal (found, mailboxes[i]);
        mailbox_release (&found);
        assert_true (directory_remove (directory, mailboxes[i], &watchers, &count));
        assert_int_equal (count, i == 7 ? 1 : 0);
        if (i == 7)
            assert_ptr_equal (watchers[0], watcher[0]);
        for (size_t j = 0; j < count; j++)
            mailbox_release (&watchers[j]);
        free (watchers);
        assert_null (directory_find (directory, &name));
        mailbox_release (&mailboxes[i]);
    }
    mailbox_release (&twin);
    for (int i = 0; i < 3; i++)
        mailbox_release (&watcher[i]);
    directory_destroy (&directory);
    inbox_close (&inbox);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_lanes),
        cmocka_unit_test (test_count_bound),
        cmocka_unit_test (test_byte_bound),
        cmocka_unit_test (test_wake_up),
        cmocka_unit_test (test_idle_sees_what_came),
        cmocka_unit_test (test_close),
        cmocka_unit_test (test_release_frees_messages),
        cmocka_unit_test (test_many_producers),
        cmocka_unit_test (test_directory),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
