#include "storage/side_thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct side_thread {
    void (*job) (void *arg);
    void *arg;
    pthread_t thread;
    sem_t wanted;
    int done; /* an eventfd */
    bool busy;
    bool given;       /* a job; wanted without one means the end */
    atomic_bool left; /* by the thread, or by its owner: whoever is second frees it */
};

static void leave (side_thread_t *self)
{
    if (!atomic_exchange (&self->left, true))
        return;
    close (self->done);
    sem_destroy (&self->wanted);
    free (self);
}

static void *run (void *arg)
{
    side_thread_t *self = arg;
    for (;;) {
        while (sem_wait (&self->wanted) == -1)
            assert (errno == EINTR);
        if (!self->given)
            break;
        self->given = false;
        self->job (self->arg);
        uint64_t one = 1;
        while (write (self->done, &one, sizeof one) == -1)
            assert (errno == EINTR);
    }
    leave (self);
    return NULL;
}

side_thread_t *side_thread_new (const char *name, void (*job) (void *arg), void *arg,
                                nexus_error_t *error)
{
    side_thread_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->job = job;
    self->arg = arg;
    sem_init (&self->wanted, 0, 0);
    self->done = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
    int code = self->done < 0 ? errno : pthread_create (&self->thread, NULL, run, self);
    if (code == 0) {
        char short_name[16];
        snprintf (short_name, sizeof short_name, "%.15s", name);
        pthread_setname_np (self->thread, short_name);
        return self;
    }
    nexus_error_set (error, NEXUS_EXHAUSTED, "can't start the thread %s: %s", name,
                     strerror (code));
    if (self->done >= 0)
        close (self->done);
    sem_destroy (&self->wanted);
    free (self);
    return NULL;
}

bool side_thread_destroy (side_thread_t **self_p, int64_t timeout_ms)
{
    side_thread_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return true;
    sem_post (&self->wanted);
    struct timespec until;
    clock_gettime (CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    bool ended = pthread_timedjoin_np (self->thread, NULL, &until) == 0;
    if (!ended)
        pthread_detach (self->thread);
    leave (self);
    return ended;
}

int side_thread_fd (const side_thread_t *self)
{
    return self->done;
}

void side_thread_start (side_thread_t *self)
{
    assert (!self->busy);
    self->busy = self->given = true;
    sem_post (&self->wanted);
}

bool side_thread_finish (side_thread_t *self)
{
    uint64_t count;
    if (!self->busy || read (self->done, &count, sizeof count) != sizeof count)
        return false;
    self->busy = false;
    return true;
}
