/*  Addresses, payloads, messages and catalogs. */
#include "runtime/message.h"

#include "runtime/block_pool.h"
#include "runtime/catalog.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_addresses (void **state)
{
    (void)state;
    record_key_t key = {{0x01, 0x23, 0xab, 0xcd}};
    address_t local = address_local ("shard", 0), other = address_local ("shard", 3);
    address_t remote = address_remote (&key, "shard", 3);
    assert_true (address_equal (&local, &local));
    assert_false (address_equal (&local, &other));
    assert_false (address_equal (&other, &remote));
    char text[64];
    assert_string_equal (address_text (&local, text), "shard");
    assert_string_equal (address_text (&other, text), "shard/3");
    assert_string_equal (address_text (&remote, text), "shard/3@0123abcd");
    address_t longest = address_remote (&key, "12345678901234567890123", UINT64_MAX);
    assert_string_equal (address_text (&longest, text),
                         "12345678901234567890123/18446744073709551615@0123abcd");
    assert_string_equal (record_choice_name (&role_choices, ROLE_JOINER), "joiner");
}

static void release_counter (void *context)
{
    ++*(int *)context;
}

static void test_payload (void **state)
{
    (void)state;
    int released = 0;
    payload_t *payload = payload_new ("abc", 3, release_counter, &released);
    payload_t *second = payload_retain (payload);
    payload_release (&payload);
    assert_null (payload);
    assert_int_equal (released, 0);
    payload_release (&second);
    assert_int_equal (released, 1);
    payload_release (&second); /* NULL is fine */

    for (size_t size = 0; size < 200; size += 63) {
        uint8_t *data;
        payload = payload_alloc (size, &data);
        assert_int_equal ((uintptr_t)data % 64, 0);
        memset (data, 1, size);
        assert_ptr_equal (payload->data, data);
        assert_int_equal (payload->size, size);
        payload_release (&payload);
    }
}

static void test_message_owns_its_body (void **state)
{
    (void)state;
    address_t to = address_local ("to", 1), from = address_local ("from", 2);
    char text[] = "the text is copied";
    int released = 0;
    payload_t *payload = payload_new ("abc", 3, release_counter, &released);
    message_t *message =
        message_new (&failure_record, &(failure_t){.code = 5, .text = text}, &payload, &to, &from);
    assert_null (payload);
    memset (text, 'x', sizeof text - 1);
    const failure_t *failure = message_body (message, failure);
    assert_non_null (failure);
    assert_null (message_body (message, done));
    assert_string_equal (failure->text, "the text is copied");
    assert_true (address_equal (&message->to, &to));
    assert_true (address_equal (&message->from, &from));
    assert_int_equal (message->role, ROLE_LOCAL);
    assert_true (message->size >= sizeof *message + sizeof *failure + 3);
    assert_int_equal (message->correlation, 0);

    message_t *second = message_retain (message);
    message_release (&message);
    assert_int_equal (released, 0);
    assert_string_equal (failure->text, "the text is copied");
    message_release (&second);
    assert_int_equal (released, 1);
}

/*  A body that does not fit the message's own block. */
static void test_large_body (void **state)
{
    (void)state;
    char text[500];
    memset (text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    address_t to = address_local ("to", 0);
    message_t *message = message_new (&failure_record, &(failure_t){.text = text}, NULL, &to, &to);
    assert_string_equal (message_body (message, failure)->text, text);
    message_release (&message);
}

static void test_decode (void **state)
{
    (void)state;
    buffer_t wire = {0};
    record_encode (&failure_record, &(failure_t){.code = 3, .text = "there is no job"}, &wire);
    nexus_error_t error;
    message_t *message = message_decode (&failure_record, wire.data, wire.size, &error);
    assert_non_null (message);
    assert_int_equal (message_body (message, failure)->code, 3);
    assert_string_equal (message_body (message, failure)->text, "there is no job");
    message_release (&message);
    for (size_t size = 0; size < wire.size; size++)
        assert_null (message_decode (&failure_record, wire.data, size, &error));
    assert_true (error.text[0] != '\0');
    buffer_free (&wire);
}

static void *release_all (void *args)
{
    message_t **messages = args;
    for (int i = 0; i < 5000; i++)
        message_release (&messages[i]);
    return NULL;
}

/*  Made here, freed there, over and over: the pool's blocks travel. */
static void test_messages_cross_threads (void **state)
{
    (void)state;
    address_t to = address_local ("to", 0);
    message_t **messages = calloc (5000, sizeof *messages);
    for (int round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < 5000; i++)
            messages[i] = message_new (&done_record, &(done_t){.value = i}, NULL, &to, &to);
        for (uint64_t i = 0; i < 5000; i++)
            assert_int_equal (message_body (messages[i], done)->value, i);
        pthread_t thread;
        assert_int_equal (pthread_create (&thread, NULL, release_all, messages), 0);
        pthread_join (thread, NULL);
    }
    free (messages);
}

static void *use_blocks (void *args)
{
    (void)args;
    uint32_t seed = 7;
    unsigned char *held[128] = {0};
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t slot = seed >> 16 & 127;
        if (held[slot]) {
            for (int j = 0; j < BLOCK_SIZE; j += 64)
                assert_int_equal (held[slot][j], slot);
            block_free (held[slot]);
            held[slot] = NULL;
        } else {
            held[slot] = block_alloc ();
            assert_int_equal ((uintptr_t)held[slot] % _Alignof(max_align_t), 0);
            memset (held[slot], (int)slot, BLOCK_SIZE);
        }
    }
    for (int i = 0; i < 128; i++)
        if (held[i])
            block_free (held[i]);
    return NULL;
}

/*  No block is ever in two hands. */
static void test_blocks (void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal (pthread_create (&threads[i], NULL, use_blocks, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
}

static void test_catalog (void **state)
{
    (void)state;
    const catalog_entry_t entries[] = {{&failure_record, ROLE_BIT (ROLE_MASTER)},
                                       {&down_record, ROLE_BIT (ROLE_WORKER)},
                                       {&done_record, 0}};
    catalog_t catalog = {entries, 3};
    assert_ptr_equal (catalog_find (&catalog, 1), &entries[0]);
    assert_ptr_equal (catalog_find (&catalog, 2), &entries[1]);
    assert_ptr_equal (catalog_find (&catalog, 3), &entries[2]);
    assert_null (catalog_find (&catalog, 0));
    assert_null (catalog_find (&catalog, 4));
    catalog.count = 0;
    assert_null (catalog_find (&catalog, 1));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_addresses),
        cmocka_unit_test (test_payload),
        cmocka_unit_test (test_message_owns_its_body),
        cmocka_unit_test (test_large_body),
        cmocka_unit_test (test_decode),
        cmocka_unit_test (test_messages_cross_threads),
        cmocka_unit_test (test_blocks),
        cmocka_unit_test (test_catalog),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
