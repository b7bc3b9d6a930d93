/*  handle_workers - workers, their drain, and tokens to join with */
#include "actors/gateway/gateway_private.h"
#include "actors/gateway/handlers.h"

#include <stdlib.h>
#include <string.h>

static bool find_worker (call_t *call, worker_t *worker)
{
    nexus_error_t error;
    const char *name = call->arguments.items[0];
    int found = ledger_find_worker (call->txn, name, &call->arena, worker, &error);
    if (found < 0)
        call_fail_error (call, &error);
    if (found == 0)
        call_fail (call, NEXUS_NOT_FOUND,
                   "there is no worker \"%.63s\"; GET /api/v1/workers lists them", name);
    return found > 0;
}

typedef struct {
    worker_status_t *items;
    size_t count;
    bool shards;
    arena_t scratch;
} load_t;

/*  Counts a task or a shard at its worker. */
static bool count_one (void *context, slice_t key, slice_t value)
{
    (void)key;
    load_t *load = context;
    arena_reset (&load->scratch);
    union {
        task_t task;
        shard_t shard;
    } of;
    const record_t *record = load->shards ? &shard_record : &task_record;
    if (record_decode (record, value.data, value.size, &load->scratch, &of, NULL))
        return true;
    if (!load->shards && of.task.phase != TASK_ASSIGNED && of.task.phase != TASK_RUNNING)
        return true;
    const record_key_t *worker = load->shards ? &of.shard.worker : &of.task.worker;
    for (size_t i = 0; i < load->count; i++)
        if (memcmp (&load->items[i].worker.key, worker, sizeof (*worker)) == 0)
            ++*(load->shards ? &load->items[i].shards : &load->items[i].tasks);
    return true;
}

/*  Fills in what the soft state and the tables of tasks and shards say. */
static void fill_status (call_t *call, worker_status_t *items, size_t count)
{
    load_t load = {.items = items, .count = count};
    arena_init (&load.scratch, 4 << 20, NULL, 0);
    for (int shards = 0; shards <= 1; shards++) {
        load.shards = shards;
        tables_each (call->txn, shards ? LEDGER_SHARDS : LEDGER_TASKS, (slice_t){NULL, 0},
                     (slice_t){NULL, 0}, count_one, &load);
    }
    arena_reset (&load.scratch);
    for (size_t i = 0; call->view && i < call->view->workers.count; i++)
        for (size_t j = 0; j < count; j++) {
            const worker_view_t *seen = &call->view->workers.items[i];
            if (memcmp (&seen->key, &items[j].worker.key, sizeof (seen->key)) != 0)
                continue;
            items[j].alive = seen->alive;
            items[j].heard_ms_ago = seen->heard_ms_ago;
            items[j].load = seen->load;
        }
}

static int by_name (const void *a, const void *b)
{
    return strcmp (((const worker_t *)a)->name, ((const worker_t *)b)->name);
}

void handle_worker_list (call_t *call)
{
    nexus_error_t error;
    worker_t *workers;
    size_t count;
    if (ledger_list_workers (call->txn, &call->arena, &workers, &count, &error)) {
        call_fail_error (call, &error);
        return;
    }
    worker_status_t *items = arena_alloc (&call->arena, count * sizeof (*items));
    if (count && !items) {
        call_fail (call, NEXUS_EXHAUSTED, "the list does not fit into memory");
        return;
    }
    if (count)
        qsort (workers, count, sizeof (*workers), by_name);
    for (size_t i = 0; i < count; i++)
        items[i] = (worker_status_t){.worker = workers[i]};
    fill_status (call, items, count);
    worker_list_t list = {.workers = {items, count}};
    call_reply_record (call, &worker_list_record, &list);
}

void handle_worker_get (call_t *call)
{
    worker_status_t status = {0};
    if (!find_worker (call, &status.worker))
        return;
    fill_status (call, &status, 1);
    call_reply_record (call, &worker_status_record, &status);
}

/*  ---- drain ---------------------------------------------------------------------- */

static void worker_set (call_t *call, const message_t *reply)
{
    (void)reply;
    worker_t worker;
    if (find_worker (call, &worker))
        call_reply_record (call, &worker_record, &worker);
}

static void set_state (call_t *call, worker_state_t state, const char *reason)
{
    worker_t worker;
    if (!find_worker (call, &worker))
        return;
    worker.state = (int)state;
    worker.reason = reason;
    set_worker_t command = {.worker = worker, .time_ms = context_wall_ms (call->ctx)};
    call_propose (call, &set_worker_record, &command, worker_set);
}

void handle_worker_drain (call_t *call)
{
    const drain_request_t *request = call->body;
    set_state (call, WORKER_DRAINING,
               request->reason && *request->reason ? request->reason : "drained by its operator");
}

void handle_worker_undrain (call_t *call)
{
    worker_t worker;
    if (!find_worker (call, &worker))
        return;
    if (worker.state == WORKER_LOST)
        call_fail (
            call, NEXUS_CONFLICT,
            "worker %s is lost: it comes back into service by itself when it is heard of again",
            worker.name);
    else
        set_state (call, WORKER_ACTIVE, "");
}

/*  ---- removal --------------------------------------------------------------------- */

/*  The ledger has nothing of it any more. */
static void worker_removed (call_t *call, const message_t *reply)
{
    (void)reply;
    worker_t worker;
    record_init (&worker_record, &worker);
    worker.name = call->arguments.items[0];
    worker.state = WORKER_LOST;
    worker.reason = "removed";
    call_reply_record (call, &worker_record, &worker);
}

void handle_worker_remove (call_t *call)
{
    worker_t worker = {.key = {{0}}};
    /*  If this is a repetition, it is this very request that has removed it: the ledger knows. */
    bool repeated =
        *call_header (call, "idempotency-key") &&
        ledger_find_worker (call->txn, call->arguments.items[0], &call->arena, &worker, NULL) == 0;
    if (!repeated && !find_worker (call, &worker))
        return;
    remove_worker_t command = {.key = worker.key};
    call_propose (call, &remove_worker_record, &command, worker_removed);
}

/*  ---- tokens --------------------------------------------------------------------- */

static void token_added (call_t *call, const message_t *reply)
{
    (void)reply;
    const token_request_t *request = call->body;
    nexus_error_t error;
    token_t token;
    int found = ledger_get (call->txn, LEDGER_TOKENS, ledger_key_node (&request->key), &call->arena,
                            &token, &error);
    if (found < 0)
        call_fail_error (call, &error);
    else if (found == 0) /* this master's ledger lags */
        call_fail (call, NEXUS_UNAVAILABLE,
                   "the token is added, but not yet known here: ask again");
    else
        call_reply_record (call, &token_record, &token);
}

void handle_token_add (call_t *call)
{
    const token_request_t *request = call->body;
    if (record_key_is_zero (&request->key)) {
        call_fail (call, NEXUS_INVALID, "key: expected the token's public key, 64 hex digits");
        return;
    }
    add_token_t command = {
        .token = {.key = request->key,
                  .site = request->site,
                  .uses = request->uses,
                  .not_after_ms = context_wall_ms (call->ctx) + (int64_t)request->valid_ms}};
    call_propose (call, &add_token_record, &command, token_added);
}
