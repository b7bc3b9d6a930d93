/*  apply - which command is applied how */
#include "actors/ledger/application.h"

static const struct {
    const record_t *record;
    int (*apply) (application_t *, const void *);
} commands[] = {
    {&submit_job_record, apply_submit_job},       {&end_job_record, apply_end_job},
    {&place_job_record, apply_place_job},         {&explain_job_record, apply_explain_job},
    {&update_tasks_record, apply_update_tasks},   {&add_metrics_record, apply_add_metrics},
    {&add_worker_record, apply_add_worker},       {&set_worker_record, apply_set_worker},
    {&remove_worker_record, apply_remove_worker}, {&set_master_record, apply_set_master},
    {&add_token_record, apply_add_token},
};

/*  The arenas have no limit: what a command costs is bounded by its own size and by
    the job it is for, and a limit reached halfway would leave half a change. Memory
    that runs out is this node's own trouble, and ends it. */
static int apply (size_t i, application_t *self, slice_t body)
{
    void *value = arena_alloc (&self->arena, commands[i].record->size);
    int rc = -1;
    if (value &&
        !record_decode (commands[i].record, body.data, body.size, &self->arena, value, self->error))
        rc = commands[i].apply (self, value);
    if (self->arena.failed || self->scratch.failed) {
        self->fatal = true;
        nexus_error_set (self->error, NEXUS_EXHAUSTED, "no memory to apply a command");
    }
    return self->fatal ? -1 : rc;
}

int ledger_apply (tables_txn_t *txn, slice_t command, char *value, uint64_t *changed,
                  bool *ret_fatal, nexus_error_t *error)
{
    const uint8_t *bytes = command.data;
    value[0] = 0;
    *ret_fatal = false;
    if (command.size < 2)
        return nexus_error_set (error, NEXUS_INVALID, "a command without a kind");
    unsigned id = (unsigned)bytes[0] << 8 | bytes[1];
    for (size_t i = 0; i < sizeof (commands) / sizeof (commands[0]); i++) {
        if (commands[i].record->id != id)
            continue;
        application_t self = {.txn = txn, .changed = changed, .value = value, .error = error};
        arena_init (&self.arena, 0, NULL, 0);
        arena_init (&self.scratch, 0, NULL, 0);
        int rc = apply (i, &self, (slice_t){bytes + 2, command.size - 2});
        *ret_fatal = self.fatal;
        arena_reset (&self.arena);
        arena_reset (&self.scratch);
        return rc;
    }
    return nexus_error_set (error, NEXUS_INVALID, "command %u is not known to this version", id);
}
