/*  election_alone - the election's behaviour in a harness; the test is its log and its ledger */
#pragma once

#include "actors/election/election.h"
#include "runtime/harness.h"
#include "storage/raft_log_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    record_key_t masters[3];
    election_args_t args;
    harness_t *harness;
    uint64_t damaged;
    uint64_t log_last; /* as the election finds it at its start */
} fixture_t;

static uint64_t log_first (void *self)
{
    (void)self;
    return 1;
}

static uint64_t log_last (void *self)
{
    return ((fixture_t *)self)->log_last;
}

static uint64_t log_term (void *self, uint64_t index)
{
    const fixture_t *log = self;
    return index && index <= log->log_last && index != log->damaged;
}

static size_t log_entries (void *self, uint64_t lo, uint64_t hi, size_t bytes_max,
                           raft_entry_t *entries)
{
    (void)self, (void)lo, (void)hi, (void)bytes_max, (void)entries;
    return 0;
}

static uint64_t log_damaged (void *self)
{
    return ((fixture_t *)self)->damaged;
}

static int log_load (void *self, raft_hard_state_t *ret_hard, nexus_error_t *error)
{
    (void)error;
    uint64_t last = ((fixture_t *)self)->log_last;
    *ret_hard = (raft_hard_state_t){.term = last ? 1 : 0, .commit = last};
    return 0;
}

static void setup_with (fixture_t *self, size_t masters, uint64_t last, uint64_t damaged)
{
    *self = (fixture_t){.log_last = last, .damaged = damaged};
    for (size_t i = 0; i < masters; i++)
        memset (&self->masters[i], (int)i + 1, sizeof self->masters[i]);
    self->args = (election_args_t){.masters = self->masters,
                                   .masters_count = masters,
                                   .election_ms = 300,
                                   .log = {.entries = {.self = self,
                                                       .first = log_first,
                                                       .last = log_last,
                                                       .term = log_term,
                                                       .entries = log_entries,
                                                       .damaged = log_damaged},
                                           .load = log_load,
                                           .actor = "raft_log"}};
    nexus_error_t error = {0};
    self->harness = harness_new (&election_behaviour, &self->args, &self->masters[0], &error);
    if (!self->harness)
        fail_msg ("%s", error.text);
}

static void setup (fixture_t *self, size_t masters)
{
    setup_with (self, masters, 0, 0);
}

static void teardown (fixture_t *self)
{
    harness_destroy (&self->harness);
}

/*  The log writes what it was asked to. */
static void persist (fixture_t *self)
{
    const log_append_t *append;
    while (harness_count (self->harness, &log_append_record)) {
        append = harness_find (self->harness, log_append);
        message_t *request = message_retain ((message_t *)harness_message (self->harness));
        log_durable_t durable = {.sequence = append->sequence};
        harness_reply (self->harness, request, &log_durable_record, &durable);
        message_release (&request);
    }
}

/*  A ledger's word. */
static void tell_applied (fixture_t *self, uint64_t index, uint64_t done, const char *text)
{
    address_t ledger = address_local ("ledger", 0);
    apply_result_t result = {.index = done, .text = text};
    applied_t applied = {.index = index, .done = done, .results = {&result, text != NULL}};
    harness_deliver (self->harness, &ledger, &applied_record, &applied);
}

static uint64_t expect_apply (fixture_t *self)
{
    const apply_t *apply = harness_find (self->harness, apply);
    assert_non_null (apply);
    return apply->entries.count ? apply->entries.items[apply->entries.count - 1].index : 0;
}

/*  Alone, it leads; its no-op is applied. */
static void lead_alone (fixture_t *self)
{
    setup (self, 1);
    assert_int_equal (expect_apply (self), 0);
    tell_applied (self, 0, 0, NULL);
    persist (self);
    assert_int_equal (expect_apply (self), 1);
    tell_applied (self, 1, 1, NULL);
    harness_clear (self->harness);
}
