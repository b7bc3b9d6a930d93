/*  seeds - many histories at once: see the header. */
#include "actors/simulation/seeds.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MAX = 256 };

/*  What a process tells when a history has ended; smaller than a pipe's atomic write. */
typedef struct {
    uint64_t seed;
    int64_t failed;
    char text[sizeof ((nexus_error_t *)0)->text];
    _Alignas(16) uint8_t report[SEEDS_REPORT_MAX];
} result_t;

/*  In memory that all processes share. */
typedef struct {
    _Atomic uint64_t next;
    atomic_bool over;                        /* no more are to be begun */
    _Atomic uint64_t running[PROCESSES_MAX]; /* the seed that a process is at */
    atomic_bool busy[PROCESSES_MAX];
} shared_t;

typedef struct {
    const seeds_t *seeds;
    shared_t *shared;
    struct {
        pid_t pid;
        int pipe; /* -1: it has ended */
    } processes[PROCESSES_MAX];
    unsigned count;
} runner_t;

static result_t run_one (const seeds_t *seeds, uint64_t seed)
{
    result_t result = {.seed = seed};
    nexus_error_t error = {0};
    result.failed = seeds->run (seeds->context, seed, result.report, &error);
    memcpy (result.text, error.text, sizeof result.text);
    return result;
}

static void tell (const seeds_t *seeds, shared_t *shared, const result_t *result)
{
    if (shared && result->failed && seeds->until_failed)
        atomic_store (&shared->over, true);
    seeds->ended (seeds->context, result->seed, result->report,
                  result->failed ? result->text : NULL);
}

/*  What a child does. */
static void work (const runner_t *self, unsigned number, int pipe)
{
    shared_t *shared = self->shared;
    for (;;) {
        if (atomic_load (&shared->over))
            break;
        uint64_t seed = atomic_fetch_add (&shared->next, 1);
        if (seed > self->seeds->last)
            break;
        atomic_store (&shared->running[number], seed);
        atomic_store (&shared->busy[number], true);
        result_t result = run_one (self->seeds, seed);
        if (write (pipe, &result, sizeof result) != sizeof result)
            break;
        atomic_store (&shared->busy[number], false);
    }
    _exit (0);
}

static int begin (runner_t *self, unsigned number, nexus_error_t *error)
{
    int ends[2];
    if (pipe (ends))
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no pipe for a process: %s",
                                strerror (errno));
    fflush (NULL);
    pid_t pid = fork ();
    if (pid < 0) {
        close (ends[0]);
        close (ends[1]);
        return nexus_error_set (error, NEXUS_EXHAUSTED, "can't start a process: %s",
                                strerror (errno));
    }
    if (pid == 0) {
        close (ends[0]);
        work (self, number, ends[1]);
    }
    close (ends[1]);
    self->processes[number].pid = pid;
    self->processes[number].pipe = ends[0];
    return 0;
}

/*  It is done, or it died: then its seed is the reason, and another process goes on. */
static int end (runner_t *self, unsigned number, nexus_error_t *error)
{
    int status = 0;
    close (self->processes[number].pipe);
    self->processes[number].pipe = -1;
    waitpid (self->processes[number].pid, &status, 0);
    if (!atomic_exchange (&self->shared->busy[number], false))
        return 0;
    result_t result = {.seed = atomic_load (&self->shared->running[number]), .failed = -1};
    snprintf (result.text, sizeof result.text, "the process died: %s",
              WIFSIGNALED (status) ? strsignal (WTERMSIG (status)) : "it ended before its history");
    tell (self->seeds, self->shared, &result);
    return begin (self, number, error);
}

static int collect (runner_t *self, nexus_error_t *error)
{
    struct pollfd polls[PROCESSES_MAX];
    for (;;) {
        unsigned running = 0;
        for (unsigned i = 0; i < self->count; i++) {
            polls[i] = (struct pollfd){.fd = self->processes[i].pipe, .events = POLLIN};
            running += self->processes[i].pipe >= 0;
        }
        if (!running)
            return 0;
        if (poll (polls, self->count, -1) < 0 && errno != EINTR)
            return nexus_error_set (error, NEXUS_IO, "poll: %s", strerror (errno));
        for (unsigned i = 0; i < self->count; i++) {
            result_t result;
            if (polls[i].fd < 0 || !polls[i].revents)
                continue;
            if (read (polls[i].fd, &result, sizeof result) == sizeof result)
                tell (self->seeds, self->shared, &result);
            else if (end (self, i, error))
                return -1;
        }
    }
}

static unsigned process_count (const seeds_t *seeds)
{
    long cores = sysconf (_SC_NPROCESSORS_ONLN);
    uint64_t count = seeds->processes ? seeds->processes : cores > 0 ? (uint64_t)cores : 1;
    uint64_t histories = seeds->last - seeds->first + 1;
    if (count > histories)
        count = histories;
    return count > PROCESSES_MAX ? PROCESSES_MAX : (unsigned)count;
}

int seeds_run (const seeds_t *seeds, nexus_error_t *error)
{
    assert (seeds->report_size <= SEEDS_REPORT_MAX && seeds->first <= seeds->last);
    if (seeds->processes == 1) {
        bool failed = false;
        for (uint64_t seed = seeds->first; seed <= seeds->last && !(failed && seeds->until_failed);
             seed++) {
            result_t result = run_one (seeds, seed);
            failed = failed || result.failed;
            tell (seeds, NULL, &result);
        }
        return 0;
    }
    runner_t self = {.seeds = seeds, .count = process_count (seeds)};
    self.shared =
        mmap (NULL, sizeof *self.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.shared == MAP_FAILED)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no shared memory: %s", strerror (errno));
    atomic_store (&self.shared->next, seeds->first);
    int rc = 0;
    for (unsigned i = 0; i < self.count; i++) {
        self.processes[i].pipe = -1;
        if (!rc)
            rc = begin (&self, i, error);
    }
    if (collect (&self, error))
        rc = -1;
    munmap (self.shared, sizeof *self.shared);
    return rc;
}
