/*  masters_trace - a line for each step: when, who, what came in, what came of it */
#include "actors/simulation/masters_private.h"

#include "actors/election/election_private.h"
#include "actors/election/raft_core.h"
#include "storage/raft_log_actor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define U(number) ((unsigned long long)(number))

__attribute__ ((format (printf, 2, 3))) static void put (masters_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    int size =
        vsnprintf (self->line + self->line_size, sizeof self->line - self->line_size, format, args);
    va_end (args);
    self->line_size += (size_t)size;
    if (self->line_size >= sizeof self->line)
        self->line_size = sizeof self->line - 1;
}

static const char *name_of (masters_t *self, const address_t *address)
{
    const machine_t *machine = masters_machine (self, &address->node);
    return machine ? machine->name : address->actor;
}

static void put_consensus (masters_t *self, const consensus_t *body)
{
    put (self, "%s t%llu", raft_message_name ((raft_message_type_t)body->type) + 3, U (body->term));
    if (body->index || body->entries.count)
        put (self, " i%llu", U (body->index));
    if (body->log_term)
        put (self, "/t%llu", U (body->log_term));
    if (body->entries.count)
        put (self, "+%zu", body->entries.count);
    if (body->commit)
        put (self, " c%llu", U (body->commit));
    if (body->context)
        put (self, " #%llx", U (body->context & 0xffff));
    if (body->reject)
        put (self, " no");
}

static void put_body (masters_t *self, const message_t *message)
{
    const log_append_t *append = message_body (message, log_append);
    const apply_t *apply = message_body (message, apply);
    const applied_t *applied = message_body (message, applied);
    const log_durable_t *durable = message_body (message, log_durable);
    const failure_t *failure = message_body (message, failure);
    if (message->kind == &consensus_record)
        put_consensus (self, message->body);
    else if (append) {
        put (self, "write #%llu t%llu", U (append->sequence), U (append->term));
        if (append->snapshot_index)
            put (self, " snapshot i%llu", U (append->snapshot_index));
        if (append->truncate_from)
            put (self, " cut i%llu", U (append->truncate_from));
        if (append->entries.count)
            put (self, " i%llu+%zu", U (append->entries.items[0].index), append->entries.count);
    } else if (durable)
        put (self, "written #%llu", U (durable->sequence));
    else if (apply)
        put (self, "apply i%llu+%zu", apply->entries.count ? U (apply->entries.items[0].index) : 0,
             apply->entries.count);
    else if (applied)
        put (self, "applied i%llu", U (applied->index));
    else if (failure)
        put (self, "failure %llu \"%s\"", U (failure->code), failure->text);
    else
        put (self, "%s", message->kind->name);
}

void masters_trace_message (masters_t *self, const machine_t *machine, bool received,
                            const message_t *message)
{
    (void)machine;
    put (self, " %s%s:", received ? "<" : ">",
         name_of (self, received ? &message->from : &message->to));
    put_body (self, message);
}

void masters_trace_turn (masters_t *self, const machine_t *machine, const char *actor)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate", "leader"};
    FILE *file = self->options.trace;
    char text[64];
    address_text (simulator_last_actor (self->sim), text);
    int64_t now = simulator_now (self->sim);
    fprintf (file, "%llu %lld.%06lld %s %s%.*s", U (simulator_steps (self->sim)),
             (long long)(now / 1000000000), (long long)(now % 1000000000 / 1000),
             simulator_name (self->sim, simulator_last_node (self->sim)), text,
             (int)self->line_size, self->line);
    self->line_size = 0;
    const election_t *election = machine && strcmp (actor, "election") == 0
                                     ? simulator_state (self->sim, machine->number, "election", 0)
                                     : NULL;
    if (election && election->raft) {
        const raft_t *raft = election->raft;
        const machine_t *vote = NULL, *leader = NULL;
        for (unsigned i = 0; i < self->machine_count; i++) {
            uint64_t id = election_id (&self->keys[i]);
            vote = id == raft->vote ? &self->machines[i] : vote;
            leader = id == raft->leader ? &self->machines[i] : leader;
        }
        fprintf (
            file,
            " | %s t%llu vote=%s leader=%s last=%llu/t%llu durable=%llu commit=%llu applied=%llu",
            roles[raft->role], U (raft->term), vote ? vote->name : "-", leader ? leader->name : "-",
            U (raft_journal_last (&raft->journal)), U (raft_journal_last_term (&raft->journal)),
            U (raft->journal.durable), U (raft->journal.committed), U (raft->journal.applied));
    }
    fputc ('\n', file);
}
