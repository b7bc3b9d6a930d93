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
    {&add_token_record, apply_add_token},         {&kv_put_record, apply_kv_put},
    {&kv_delete_record, apply_kv_delete},         {&change_masters_record, apply_change_masters},
};

/*  The arenas have no limit: what a command costs is bounded by its own size and by
    the job it is for, and a limit reached halfway would leave half a change. Memory
    that runs out is this node's own trouble, and ends it. */
static int apply (size_t i, application_t *self, slice_t body)
{
    void *value = arena_alloc (&self->arena, commands[i].record->size);
    int rc = -1;
    if (value && !record_decode_in_place (commands[i].record, body.data, body.size, &self->arena,
                                          value, self->error))
        rc = commands[i].apply (self, value);
    if (self->arena.failed || self->scratch.failed) {
        self->fatal = true;
        nexus_error_set (self->error, NEXUS_EXHAUSTED, "no memory to apply a command");
    }
    return self->fatal ? -1 : rc;
}

static int apply_command (ledger_writer_t *self, uint64_t index, slice_t command, char *value,
                          nexus_error_t *error)
{
    enum { STACK = 4096 }; /* enough for most commands */
    const uint8_t *bytes = command.data;
    char first[STACK], second[STACK];
    value[0] = 0;
    if (command.size < 2)
        return nexus_error_set (error, NEXUS_INVALID, "a command without a kind");
    unsigned id = (unsigned)bytes[0] << 8 | bytes[1];
    for (size_t i = 0; i < sizeof (commands) / sizeof (commands[0]); i++) {
        if (commands[i].record->id != id)
            continue;
        application_t application = {.txn = self->txn,
                                     .changed = &self->changed,
                                     .index = index,
                                     .value = value,
                                     .error = error};
        arena_init (&application.arena, 0, first, sizeof (first));
        arena_init (&application.scratch, 0, second, sizeof (second));
        int rc = apply (i, &application, (slice_t){bytes + 2, command.size - 2});
        self->fatal = application.fatal;
        arena_reset (&application.arena);
        arena_reset (&application.scratch);
        return rc;
    }
    return nexus_error_set (error, NEXUS_INVALID, "command %u is not known to this version", id);
}

/*  Applied now, and its result remembered. */
static int apply_first (ledger_writer_t *self, uint64_t index, const once_t *once, char *value,
                        nexus_error_t *error)
{
    nexus_error_t refusal = {NEXUS_OK, ""};
    int rc = apply_command (self, index, (slice_t){once->command.data, once->command.size}, value,
                            &refusal);
    if (!self->fatal &&
        requests_add (self->requests, self->txn, once, index,
                      rc ? (uint64_t)refusal.code : NEXUS_OK, rc ? refusal.text : value, &refusal))
        self->fatal = true;
    return rc || self->fatal ? nexus_error_set (error, refusal.code, "%s", refusal.text) : 0;
}

static int apply_once (ledger_writer_t *self, uint64_t index, const once_t *once, char *value,
                       nexus_error_t *error)
{
    uint64_t code = NEXUS_OK;
    switch (requests_find (self->requests, self->txn, once, &code, value, error)) {
    case REQUEST_NEW:
        return apply_first (self, index, once, value, error);
    case REQUEST_DONE:
        self->repeated++;
        return code ? nexus_error_set (error, (nexus_code_t)code, "%s", value) : 0;
    case REQUEST_TOO_OLD:
        return nexus_error_set (error, NEXUS_DEADLINE,
                                "this request is too old: nobody can tell any more whether it was "
                                "done; look, then make a new one");
    case REQUEST_FAILED:
        break;
    }
    self->fatal = true;
    return -1;
}

int ledger_apply (ledger_writer_t *self, uint64_t index, slice_t command, char *value,
                  nexus_error_t *error)
{
    enum { STACK = 4096 };
    const uint8_t *bytes = command.data;
    char stack[STACK];
    once_t once;
    self->fatal = false;
    value[0] = 0;
    if (command.size < 2 || (bytes[0] << 8 | bytes[1]) != once_record.id)
        return apply_command (self, index, command, value, error);
    arena_t arena;
    arena_init (&arena, 0, stack, sizeof (stack));
    int rc =
        record_decode_in_place (&once_record, bytes + 2, command.size - 2, &arena, &once, error);
    if (rc == 0 && once.client)
        rc = apply_once (self, index, &once, value, error);
    else if (rc == 0)
        rc = apply_command (self, index, (slice_t){once.command.data, once.command.size}, value,
                            error);
    else if (arena.failed)
        self->fatal = true;
    arena_reset (&arena);
    return rc;
}
