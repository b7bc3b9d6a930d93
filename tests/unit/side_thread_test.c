#include "storage/side_thread.h"

#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct {
    sem_t hold;
    int done;
} work_t;

static void job (void *arg)
{
    work_t *self = arg;
    sem_wait (&self->hold);
    self->done++;
}

static bool readable (const side_thread_t *self, int timeout_ms)
{
    struct pollfd fd = {.fd = side_thread_fd (self), .events = POLLIN};
    return poll (&fd, 1, timeout_ms) == 1;
}

/*  Nothing is told before it is done, and then once. */
static void test_jobs (void **state)
{
    (void)state;
    nexus_error_t error;
    work_t work = {.done = 0};
    sem_init (&work.hold, 0, 0);
    side_thread_t *thread = side_thread_new ("a name that is too long", job, &work, &error);
    assert_non_null (thread);
    assert_false (side_thread_finish (thread));
    for (int i = 1; i <= 3; i++) {
        side_thread_start (thread);
        assert_false (readable (thread, 20));
        assert_false (side_thread_finish (thread));
        sem_post (&work.hold);
        assert_true (readable (thread, 5000));
        assert_true (side_thread_finish (thread));
        assert_int_equal (work.done, i);
        assert_false (side_thread_finish (thread));
        assert_false (readable (thread, 0));
    }
    assert_true (side_thread_destroy (&thread, 5000));
    assert_null (thread);
    assert_true (side_thread_destroy (&thread, 0));
    sem_destroy (&work.hold);
}

/*  A job under way is waited for, but not for ever. */
static void test_ends (void **state)
{
    (void)state;
    nexus_error_t error;
    static work_t work; /* outlives a thread that is given up on */
    sem_init (&work.hold, 0, 0);
    side_thread_t *thread = side_thread_new ("test", job, &work, &error);
    side_thread_start (thread);
    assert_false (side_thread_destroy (&thread, 50));
    sem_post (&work.hold);
    thread = side_thread_new ("test", job, &work, &error);
    side_thread_start (thread);
    sem_post (&work.hold);
    assert_true (side_thread_destroy (&thread, 5000));
    assert_true (work.done >= 1);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_jobs),
        cmocka_unit_test (test_ends),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
