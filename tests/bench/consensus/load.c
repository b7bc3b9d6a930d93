/*  load - what a load generator does, however its requests travel */
#include "tests/bench/consensus/load.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  A tag: the slot, whether the attempt was sent after the kill, and the operation. */
enum { TAG_SLOT_BITS = 12, TAG_AFTER = 1 << TAG_SLOT_BITS, TAG_NUMBER_SHIFT = TAG_SLOT_BITS + 1 };
/*  What was refused is sent again no sooner. */
enum { REFUSED_PAUSE_MS = 5, DRAIN_MS = 5000 };
#define NS_PER_MS INT64_C (1000000)

typedef struct {
    load_request_t request;
    bool busy;
    int64_t began_ns, retry_ns; /* retry: INT64_MAX if it only waits */
    unsigned member;
} slot_t;

struct load {
    const load_config_t *config;
    load_result_t *result;
    load_send_fn *send;
    void *client;
    slot_t *slots;
    unsigned busy;
    uint64_t number, next_key, random, index;
    int64_t measure_ns, end_ns, kill_ns, drain_ns;
    bool killed, stopping, given_up;
};

static uint64_t draw (load_t *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}

/*  The value that the put of a key writes; no two are alike. */
static void fill_value (uint8_t *value, uint64_t key)
{
    uint64_t words[LOAD_VALUE_SIZE / 8];
    for (size_t i = 0; i < LOAD_VALUE_SIZE / 8; i++) {
        key += UINT64_C (0x9e3779b97f4a7c15);
        uint64_t word = key ^ key >> 30;
        word *= UINT64_C (0xbf58476d1ce4e5b9);
        words[i] = word ^ word >> 27;
    }
    memcpy (value, words, sizeof (words));
}

/*  False if there is no further one. */
static bool next_key (load_t *self, uint64_t *ret_key)
{
    const load_config_t *config = self->config;
    if (!config->ascending) {
        *ret_key = config->first + draw (self) % config->keys;
        return true;
    }
    while (config->op == LOAD_GET && config->acknowledged && self->next_key < config->keys &&
           !config->acknowledged[self->next_key])
        self->next_key++;
    if (self->next_key >= config->keys)
        return false;
    *ret_key = config->first + self->next_key++;
    return true;
}

static uint64_t tag_of (const load_t *self, const slot_t *slot)
{
    return slot->request.number << TAG_NUMBER_SHIFT | (self->killed ? TAG_AFTER : 0) |
           (uint64_t)(slot - self->slots);
}

static void attempt (load_t *self, slot_t *slot, int64_t now_ns)
{
    bool impatient = self->config->retry_ms && (self->killed || !self->config->kill);
    slot->retry_ns = impatient ? now_ns + self->config->retry_ms * NS_PER_MS : INT64_MAX;
    self->send (self->client, slot->member, tag_of (self, slot), &slot->request);
}

static void fill_slot (load_t *self, slot_t *slot, int64_t now_ns)
{
    const load_config_t *config = self->config;
    uint64_t key;
    if (self->stopping || !next_key (self, &key))
        return;
    load_request_t *request = &slot->request;
    request->op = config->op;
    request->number = ++self->number;
    request->after = self->index;
    request->key_size = (size_t)snprintf (request->key, sizeof (request->key), "bench/%c/%010llu",
                                          config->space, (unsigned long long)key);
    if (config->op == LOAD_PUT)
        fill_value (request->value, key);
    slot->began_ns = now_ns;
    slot->member = config->member;
    slot->busy = true;
    self->busy++;
    attempt (self, slot, now_ns);
}

load_t *load_new (const load_config_t *config, load_result_t *result)
{
    assert (config->flight > 0 && config->flight <= LOAD_FLIGHT_MAX && config->keys > 0);
    load_t *self = calloc (1, sizeof (*self));
    slot_t *slots = calloc (config->flight, sizeof (*slots));
    assert (self && slots);
    self->config = config;
    self->result = result;
    self->slots = slots;
    self->random = config->seed * 2 + 1;
    memset (result, 0, sizeof (*result));
    return self;
}

void load_destroy (load_t **self_p)
{
    if (!*self_p)
        return;
    free ((*self_p)->slots);
    free (*self_p);
    *self_p = NULL;
}

void load_start (load_t *self, load_send_fn *send, void *client, uint64_t index, int64_t now_ns)
{
    const load_config_t *config = self->config;
    self->send = send;
    self->client = client;
    self->index = index;
    self->measure_ns = now_ns + config->warmup_ms * NS_PER_MS;
    self->end_ns =
        config->ascending ? INT64_MAX : self->measure_ns + config->measure_ms * NS_PER_MS;
    for (unsigned i = 0; i < config->flight; i++)
        fill_slot (self, &self->slots[i], now_ns);
}

static void acknowledged (load_t *self, slot_t *slot, uint64_t tag, int64_t now_ns)
{
    const load_config_t *config = self->config;
    load_result_t *result = self->result;
    result->total++;
    result->last_ns = now_ns;
    if (now_ns >= self->measure_ns && now_ns < self->end_ns) {
        result->done++;
        result->measured_ns = now_ns - self->measure_ns;
        histogram_add (&result->latency_ns, (uint64_t)(now_ns - slot->began_ns));
    }
    if (config->op == LOAD_PUT && config->ascending && config->acknowledged)
        config->acknowledged[strtoull (slot->request.key + 8, NULL, 10) - config->first] = 1;
    if (self->killed && (tag & TAG_AFTER) && !result->gap_ns) {
        result->gap_ns = now_ns - self->kill_ns;
        self->end_ns = now_ns + config->settle_ms * NS_PER_MS;
    }
}

static bool right_value (const slot_t *slot, const uint8_t *value, size_t value_size)
{
    uint8_t expected[LOAD_VALUE_SIZE];
    fill_value (expected, strtoull (slot->request.key + 8, NULL, 10));
    return value && value_size == sizeof (expected) && !memcmp (value, expected, value_size);
}

void load_answer (load_t *self, uint64_t tag, load_outcome_t outcome, uint64_t index,
                  const uint8_t *value, size_t value_size, int64_t now_ns)
{
    size_t place = tag & (TAG_AFTER - 1);
    slot_t *slot = &self->slots[place];
    if (place >= self->config->flight || !slot->busy ||
        slot->request.number != tag >> TAG_NUMBER_SHIFT)
        return; /* of an operation that is done */
    if (outcome == LOAD_FAILED) {
        self->result->failed++;
        int64_t again_ns = now_ns + REFUSED_PAUSE_MS * NS_PER_MS;
        if (slot->retry_ns > again_ns)
            slot->retry_ns = again_ns;
        return;
    }
    if (index > self->index)
        self->index = index;
    if (self->config->verify && !right_value (slot, value, value_size))
        self->result->wrong++;
    acknowledged (self, slot, tag, now_ns);
    slot->busy = false;
    self->busy--;
    if (now_ns >= self->end_ns)
        self->stopping = true;
    fill_slot (self, slot, now_ns);
    self->result->complete = self->busy == 0;
}

static void retry (load_t *self, slot_t *slot, int64_t now_ns)
{
    const load_config_t *config = self->config;
    if (!config->only) {
        slot->member = (slot->member + 1) % config->members;
        if (self->killed && slot->member == config->member) /* the one that was killed */
            slot->member = (slot->member + 1) % config->members;
    }
    attempt (self, slot, now_ns);
}

static void kill_now (load_t *self, int64_t now_ns)
{
    kill (self->config->kill, SIGKILL);
    self->killed = true;
    self->kill_ns = now_ns;
    for (unsigned i = 0; i < self->config->flight; i++)
        self->slots[i].retry_ns = now_ns + (i + 1) * NS_PER_MS;
}

void load_tick (load_t *self, int64_t now_ns)
{
    const load_config_t *config = self->config;
    int64_t kill_ns = self->measure_ns + config->kill_after_ms * NS_PER_MS;
    if (config->kill_after_ms && !self->killed && now_ns >= kill_ns)
        kill_now (self, now_ns);
    if (now_ns >= self->end_ns)
        self->stopping = true;
    if (self->stopping && !self->drain_ns)
        self->drain_ns = now_ns + DRAIN_MS * NS_PER_MS;
    for (unsigned i = 0; i < config->flight; i++) {
        slot_t *slot = &self->slots[i];
        if (!slot->busy)
            fill_slot (self, slot, now_ns);
        else if (now_ns >= slot->retry_ns)
            retry (self, slot, now_ns);
    }
    self->given_up = self->stopping && now_ns >= self->drain_ns;
    self->result->complete = self->busy == 0;
}

int load_tick_ms (const load_t *self)
{
    return self->config->retry_ms ? 2 : 20;
}

bool load_over (const load_t *self)
{
    return self->busy == 0 || self->given_up;
}

void load_result_merge (load_result_t *self, const load_result_t *other)
{
    histogram_merge (&self->latency_ns, &other->latency_ns);
    self->done += other->done;
    self->failed += other->failed;
    self->total += other->total;
    self->wrong += other->wrong;
    if (other->measured_ns > self->measured_ns)
        self->measured_ns = other->measured_ns;
    if (other->gap_ns > self->gap_ns)
        self->gap_ns = other->gap_ns;
    self->complete = self->complete && other->complete;
}
