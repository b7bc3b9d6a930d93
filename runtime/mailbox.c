#include "runtime/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CONTROL, DATA, LANES };

#define COUNT_MAX         65536
#define BYTES_MAX         ((size_t)256 << 20)
#define CONTROL_COUNT_MAX ((size_t)1 << 20)
#define CONTROL_BYTES_MAX ((size_t)1 << 30)

/*  A lane's load in one word: messages above bytes, so that one atomic addition
    accounts for both. Limits stay far below the fields' widths, so producers that
    add at the same time before they see that it is full do no harm. */
#define LOAD_SHIFT     40
#define LOAD_ONE       (UINT64_C (1) << LOAD_SHIFT)
#define LOAD_BYTES     (LOAD_ONE - 1)
#define LOAD_COUNT_MAX ((size_t)1 << 22)
#define LOAD_BYTES_MAX ((size_t)1 << 38)

/*  How many popped messages the consumer may keep on the account. */
#define REFUND_BATCH 64

/*  Values of a stack's head that are no element. */
static char closed_mark;
static char asleep_mark;
#define CLOSED ((void *)&closed_mark)
#define ASLEEP ((void *)&asleep_mark)

struct inbox {
    _Atomic (void *) head; /* mailbox_t stack, ASLEEP or CLOSED */
    atomic_uint references;
    int fd;
    bool readable; /* the consumer's: the eventfd's count is still to be read */
};

struct mailbox {
    /* What producers write. */
    _Alignas(64) _Atomic (void *) heads[LANES]; /* message_t stacks, or CLOSED */
    atomic_uint_fast64_t load[LANES];
    atomic_bool scheduled; /* in the inbox or in the consumer's hands */
    mailbox_t *next;       /* owned by whoever scheduled it */

    /* What only the consumer writes. */
    _Alignas(64) message_t *first[LANES];
    message_t *last[LANES];
    uint64_t refund[LANES]; /* popped, still on the account */
    unsigned popped;

    /* Constant. */
    _Alignas(64) address_t address;
    size_t count_max[LANES];
    size_t bytes_max[LANES];
    inbox_t *inbox;
    void *owner;
    atomic_uint references;
};

/*  ---- inbox --------------------------------------------------------------- */

inbox_t *inbox_new (nexus_error_t *error)
{
    inbox_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->fd == -1) {
        nexus_error_set (error, NEXUS_IO, "eventfd: %s: raise the limit of open files (ulimit -n)",
                         strerror (errno));
        free (self);
        return NULL;
    }
    atomic_init (&self->references, 1);
    return self;
}

static void inbox_release (inbox_t *self)
{
    if (atomic_fetch_sub (&self->references, 1) != 1)
        return;
    close (self->fd);
    free (self);
}

static mailbox_t *reverse (mailbox_t *stack)
{
    mailbox_t *list = NULL;
    while (stack) {
        mailbox_t *next = stack->next;
        stack->next = list;
        list = stack;
        stack = next;
    }
    return list;
}

void inbox_close (inbox_t **self_p)
{
    inbox_t *self = *self_p;
    if (!self)
        return;
    void *head = atomic_exchange (&self->head, CLOSED);
    mailbox_t *mailbox = head == ASLEEP || head == CLOSED ? NULL : head;
    while (mailbox) {
        mailbox_t *next = mailbox->next;
        mailbox_release (&mailbox);
        mailbox = next;
    }
    inbox_release (self);
    *self_p = NULL;
}

int inbox_fd (const inbox_t *self)
{
    return self->fd;
}

mailbox_t *inbox_take (inbox_t *self)
{
    if (!atomic_load_explicit (&self->head, memory_order_relaxed))
        return NULL;
    void *head = atomic_exchange_explicit (&self->head, NULL, memory_order_acquire);
    return head == ASLEEP ? NULL : reverse (head);
}

bool inbox_waiting (const inbox_t *self)
{
    return atomic_load_explicit (&self->head, memory_order_relaxed) != NULL;
}

bool inbox_sleep (inbox_t *self)
{
    /* The last wake-up's count is cleared only now: work comes first. */
    uint64_t count;
    if (self->readable && read (self->fd, &count, sizeof count) == -1)
        assert (errno == EAGAIN || errno == EINTR);
    self->readable = false;
    void *expected = NULL;
    return atomic_compare_exchange_strong (&self->head, &expected, ASLEEP);
}

void inbox_wake (inbox_t *self, bool readable)
{
    void *expected = ASLEEP;
    atomic_compare_exchange_strong (&self->head, &expected, NULL);
    self->readable = self->readable || readable;
}

/*  Puts in a mailbox whose scheduled flag the caller has just set. */
static void inbox_push (inbox_t *self, mailbox_t *mailbox)
{
    mailbox_retain (mailbox);
    void *head = atomic_load_explicit (&self->head, memory_order_relaxed);
    do {
        if (head == CLOSED) {
            mailbox_release (&mailbox);
            return;
        }
        mailbox->next = head == ASLEEP ? NULL : head;
    } while (!atomic_compare_exchange_weak (&self->head, &head, mailbox));
    if (head == ASLEEP) {
        uint64_t one = 1;
        ssize_t written;
        do
            written = write (self->fd, &one, sizeof one);
        while (written == -1 && errno == EINTR);
    }
}

/*  ---- mailbox ------------------------------------------------------------- */

static size_t limit (size_t wanted, size_t usual, size_t most)
{
    if (!wanted)
        return usual;
    return wanted < most ? wanted : most;
}

mailbox_t *mailbox_new (inbox_t *inbox, const address_t *address, size_t count_max,
                        size_t bytes_max, void *owner)
{
    mailbox_t *self = aligned_alloc (_Alignof(mailbox_t), sizeof *self);
    if (!self)
        return NULL;
    memset (self, 0, sizeof *self);
    self->address = *address;
    self->count_max[CONTROL] = CONTROL_COUNT_MAX;
    self->bytes_max[CONTROL] = CONTROL_BYTES_MAX;
    self->count_max[DATA] = limit (count_max, COUNT_MAX, LOAD_COUNT_MAX);
    self->bytes_max[DATA] = limit (bytes_max, BYTES_MAX, LOAD_BYTES_MAX);
    self->inbox = inbox;
    atomic_fetch_add (&inbox->references, 1);
    self->owner = owner;
    atomic_init (&self->references, 1);
    return self;
}

mailbox_t *mailbox_retain (mailbox_t *self)
{
    atomic_fetch_add_explicit (&self->references, 1, memory_order_relaxed);
    return self;
}

void mailbox_release (mailbox_t **self_p)
{
    mailbox_t *self = *self_p;
    *self_p = NULL;
    if (!self || atomic_fetch_sub_explicit (&self->references, 1, memory_order_acq_rel) != 1)
        return;
    if (atomic_load (&self->heads[CONTROL]) != CLOSED)
        mailbox_close (self);
    message_t *message;
    while ((message = mailbox_pop (self)))
        message_release (&message);
    inbox_release (self->inbox);
    free (self);
}

const address_t *mailbox_address (const mailbox_t *self)
{
    return &self->address;
}

bool mailbox_closed (const mailbox_t *self)
{
    return atomic_load (&self->heads[CONTROL]) == CLOSED;
}

void *mailbox_owner (const mailbox_t *self)
{
    return self->owner;
}

void mailbox_disown (mailbox_t *self)
{
    self->owner = NULL;
}

bool mailbox_scheduled (const mailbox_t *self)
{
    return atomic_load (&self->scheduled);
}

void mailbox_schedule (mailbox_t *self)
{
    /* Sequentially consistent against mailbox_idle: either we see that it is no
       longer scheduled, or it sees our message. */
    if (atomic_load (&self->scheduled))
        return;
    if (!atomic_exchange (&self->scheduled, true))
        inbox_push (self->inbox, self);
}

mailbox_result_t mailbox_push (mailbox_t *self, message_t **message_p)
{
    mailbox_result_t result = mailbox_put (self, message_p);
    if (result == MAILBOX_PUSHED)
        mailbox_schedule (self);
    return result;
}

mailbox_result_t mailbox_put (mailbox_t *self, message_t **message_p)
{
    message_t *message = *message_p;
    int lane = message->kind->flags & RECORD_DATA_LANE ? DATA : CONTROL;
    uint64_t cost = LOAD_ONE + (message->size < LOAD_BYTES_MAX ? message->size : LOAD_BYTES_MAX);
    uint64_t load = atomic_fetch_add_explicit (&self->load[lane], cost, memory_order_relaxed);
    if ((load >> LOAD_SHIFT) >= self->count_max[lane] ||
        (load & LOAD_BYTES) + (cost & LOAD_BYTES) > self->bytes_max[lane]) {
        atomic_fetch_sub_explicit (&self->load[lane], cost, memory_order_relaxed);
        bool closed = atomic_load (&self->heads[lane]) == CLOSED;
        return closed ? MAILBOX_CLOSED : MAILBOX_FULL;
    }
    void *head = atomic_load_explicit (&self->heads[lane], memory_order_relaxed);
    do {
        if (head == CLOSED) {
            atomic_fetch_sub_explicit (&self->load[lane], cost, memory_order_relaxed);
            return MAILBOX_CLOSED;
        }
        message->next = head;
    } while (!atomic_compare_exchange_weak (&self->heads[lane], &head, message));
    *message_p = NULL;
    return MAILBOX_PUSHED;
}

/*  Moves what producers have pushed behind what the consumer already holds. */
static void take (mailbox_t *self, int lane, void *replacement)
{
    message_t *stack =
        atomic_exchange_explicit (&self->heads[lane], replacement, memory_order_acquire);
    if (!stack || (void *)stack == CLOSED)
        return;
    message_t *newest = stack;
    message_t *list = NULL;
    while (stack) {
        message_t *next = stack->next;
        stack->next = list;
        list = stack;
        stack = next;
    }
    if (self->first[lane])
        self->last[lane]->next = list;
    else
        self->first[lane] = list;
    self->last[lane] = newest;
}

static bool has_pushed (const mailbox_t *self, int lane)
{
    void *head = atomic_load_explicit (&self->heads[lane], memory_order_relaxed);
    return head && head != CLOSED;
}

static void refund (mailbox_t *self)
{
    for (int lane = 0; lane < LANES; lane++) {
        if (self->refund[lane])
            atomic_fetch_sub_explicit (&self->load[lane], self->refund[lane], memory_order_relaxed);
        self->refund[lane] = 0;
    }
    self->popped = 0;
}

message_t *mailbox_pop (mailbox_t *self)
{
    for (int lane = 0; lane < LANES; lane++) {
        if (!self->first[lane] && has_pushed (self, lane))
            take (self, lane, NULL);
        message_t *message = self->first[lane];
        if (!message)
            continue;
        self->first[lane] = message->next;
        message->next = NULL;
        self->refund[lane] +=
            LOAD_ONE + (message->size < LOAD_BYTES_MAX ? message->size : LOAD_BYTES_MAX);
        if (++self->popped >= REFUND_BATCH)
            refund (self);
        return message;
    }
    return NULL;
}

bool mailbox_idle (mailbox_t *self)
{
    refund (self);
    if (self->first[CONTROL] || self->first[DATA])
        return false;
    atomic_store (&self->scheduled, false);
    /* A push that came before that store did not schedule us: look again. */
    for (int lane = 0; lane < LANES; lane++) {
        void *head = atomic_load (&self->heads[lane]);
        if (head && head != CLOSED)
            return !mailbox_claim (self);
    }
    return true;
}

bool mailbox_claim (mailbox_t *self)
{
    return !atomic_exchange (&self->scheduled, true);
}

void mailbox_close (mailbox_t *self)
{
    take (self, CONTROL, CLOSED);
    take (self, DATA, CLOSED);
}

size_t mailbox_depth (const mailbox_t *self)
{
    uint64_t control = atomic_load_explicit (&self->load[CONTROL], memory_order_relaxed);
    uint64_t data = atomic_load_explicit (&self->load[DATA], memory_order_relaxed);
    return (size_t)((control >> LOAD_SHIFT) + (data >> LOAD_SHIFT));
}

mailbox_t *mailbox_next (const mailbox_t *self)
{
    return self->next;
}

void mailbox_set_next (mailbox_t *self, mailbox_t *next)
{
    self->next = next;
}
