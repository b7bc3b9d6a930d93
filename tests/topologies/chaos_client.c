/*  Clients of a real cluster's key-value store, who write down what they see.

    usage: chaos_client --dir DIR --history FILE [--clients N] [--keys N] [--seconds N]
                        [--pause MS] [--seed N] [--patience SECONDS]

    Each client puts, compares and puts, deletes and gets, one operation after another, as nexus kv
    does: on any master that answers, writes with an Idempotency-Key. Whoever has no answer within
   his patience notes that the outcome is unknown, and goes on under another name. At the end the
    history (history.h) is written; nexus check-history judges it. Prints how many operations there
    were, and for how long none was answered. */
#include "actors/simulation/history.h"
#include "cli/client.h"
#include "runtime/clock.h"
#include "runtime/random.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { CLIENTS_MAX = 64 };

static const option_t table[] = {
    CLIENT_OPTIONS,
    {"history", 'o', "FILE", {NULL}, "history", "Where the history goes."},
    {"clients", 'c', "N", {NULL}, "8", "How many."},
    {"keys", 'k', "N", {NULL}, "5", "On how many keys."},
    {"seconds", 's', "N", {NULL}, "20", "For how long."},
    {"pause", 'p', "MS", {NULL}, "5", "Between two operations of a client, on average."},
    {"seed", 0, "N", {NULL}, "1", "Of what the clients do."},
    {0},
};

typedef struct {
    options_t *options;
    uint64_t clients, keys, seconds, pause, seed;
    int64_t began_ns;
    pthread_mutex_t lock; /* of the history and what follows */
    history_t *history;
    uint32_t names;
    uint64_t answered, unknown;
    int64_t last_ns, gap_ns;
} chaos_t;

typedef struct {
    chaos_t *chaos;
    client_t *client;
    random_t random;
    uint32_t name;
    uint64_t values;
    uint64_t versions[16]; /* as it last saw them, by key */
} actor_t;

static int64_t now_ns (const chaos_t *chaos)
{
    return clock_now_ns () - chaos->began_ns;
}

/*  What an answer, or none, says. Sets *ret_version where it does. */
static history_outcome_t judge (actor_t *self, const history_operation_t *operation, int rc,
                                const client_answer_t *answer, nexus_error_t *error,
                                uint64_t *ret_version)
{
    kv_written_t written = {.version = 0};
    arena_t arena;
    arena_init (&arena, 1 << 20, NULL, 0);
    if (rc == 0 && operation->kind != HISTORY_GET &&
        client_read (self->client, answer, &kv_written_record, &arena, &written, error))
        abort ();
    arena_reset (&arena);
    /* A deletion tells the version that it deleted, not its own. */
    *ret_version = operation->kind == HISTORY_PUT              ? written.version
                   : operation->kind == HISTORY_GET && rc == 0 ? answer->version
                                                               : 0;
    if (rc == 0)
        return operation->kind == HISTORY_DELETE && !written.version ? HISTORY_ABSENT : HISTORY_OK;
    if (error->code == NEXUS_NOT_FOUND)
        return HISTORY_ABSENT;
    if (error->code == NEXUS_CONFLICT && operation->compare && !strstr (error->text, "too old"))
        return HISTORY_CONFLICT;
    return operation->kind == HISTORY_GET ? HISTORY_FAILED : HISTORY_UNKNOWN;
}

static void note (chaos_t *chaos, size_t number, history_outcome_t outcome, const char *value,
                  uint64_t version)
{
    int64_t now = now_ns (chaos);
    pthread_mutex_lock (&chaos->lock);
    if (outcome == HISTORY_UNKNOWN)
        chaos->unknown++;
    else {
        history_return (chaos->history, number, now, outcome, value, version);
        chaos->answered += outcome != HISTORY_FAILED;
        if (outcome != HISTORY_FAILED) {
            if (now - chaos->last_ns > chaos->gap_ns)
                chaos->gap_ns = now - chaos->last_ns;
            chaos->last_ns = now;
        }
    }
    pthread_mutex_unlock (&chaos->lock);
}

/*  One operation; false if its outcome is not known. */
static bool operate (actor_t *self)
{
    static const char *const methods[] = {NULL, "PUT", "DELETE"};
    chaos_t *chaos = self->chaos;
    char key[24], value[48], path[64], expected[24];
    uint64_t which = random_below (&self->random, chaos->keys),
             dice = random_below (&self->random, 100);
    snprintf (key, sizeof key, "k%" PRIu64, which);
    snprintf (path, sizeof path, "/api/v1/kv/%s", key);
    snprintf (value, sizeof value, "c%u-%" PRIu64, self->name, ++self->values);
    snprintf (expected, sizeof expected, "%" PRIu64, self->versions[which]);
    history_operation_t operation = {
        .client = self->name,
        .kind = dice < 45   ? HISTORY_GET
                : dice < 95 ? HISTORY_PUT
                            : HISTORY_DELETE,
        .key = key,
        .compare = dice >= 70 && dice < 95,
        .call_ns = now_ns (chaos),
        .return_ns = HISTORY_NEVER,
    };
    bool put = operation.kind == HISTORY_PUT;
    operation.value = put ? value : NULL;
    operation.expected = operation.compare ? self->versions[which] : 0;
    pthread_mutex_lock (&chaos->lock);
    size_t number = history_add (chaos->history, &operation);
    pthread_mutex_unlock (&chaos->lock);
    client_question_t question = {.method = methods[operation.kind],
                                  .path = path,
                                  .body_type = "application/octet-stream",
                                  .body = put ? value : NULL,
                                  .body_size = put ? strlen (value) : 0,
                                  .if_match = operation.compare ? expected : NULL};
    client_answer_t answer = {0};
    nexus_error_t error = {0};
    uint64_t version;
    int rc = client_question (self->client, &question, &answer, &error);
    history_outcome_t outcome = judge (self, &operation, rc, &answer, &error, &version);
    bool found = operation.kind == HISTORY_GET && outcome == HISTORY_OK;
    note (chaos, number, outcome, found ? (const char *)answer.body.data : NULL,
          operation.kind == HISTORY_DELETE && outcome == HISTORY_ABSENT ? 0 : version);
    if (outcome == HISTORY_OK)
        self->versions[which] = operation.kind == HISTORY_DELETE ? 0 : version;
    else if (outcome == HISTORY_ABSENT)
        self->versions[which] = 0;
    client_answer_free (&answer);
    return outcome != HISTORY_UNKNOWN;
}

static void *run (void *argument)
{
    actor_t *self = argument;
    chaos_t *chaos = self->chaos;
    int64_t end_ns = (int64_t)chaos->seconds * 1000000000;
    while (now_ns (chaos) < end_ns) {
        if (!operate (self)) {
            pthread_mutex_lock (&chaos->lock);
            self->name = ++chaos->names;
            pthread_mutex_unlock (&chaos->lock);
        }
        usleep ((useconds_t)(random_below (&self->random, 2 * chaos->pause + 1) * 1000));
    }
    return NULL;
}

static int work (chaos_t *chaos, nexus_error_t *error)
{
    static actor_t actors[CLIENTS_MAX];
    pthread_t threads[CLIENTS_MAX];
    for (uint64_t i = 0; i < chaos->clients; i++) {
        actors[i] = (actor_t){.chaos = chaos, .name = ++chaos->names};
        random_seed (&actors[i].random, chaos->seed * 1000 + i);
        actors[i].client = client_new (chaos->options, error);
        if (!actors[i].client)
            return -1;
    }
    chaos->began_ns = clock_now_ns ();
    for (uint64_t i = 0; i < chaos->clients; i++)
        if (pthread_create (&threads[i], NULL, run, &actors[i]))
            abort ();
    for (uint64_t i = 0; i < chaos->clients; i++) {
        pthread_join (threads[i], NULL);
        client_destroy (&actors[i].client);
    }
    return 0;
}

static int save (const chaos_t *chaos, const char *name, nexus_error_t *error)
{
    buffer_t text = {0};
    history_write (chaos->history, &text);
    FILE *file = fopen (name, "wbe");
    bool good = file && fwrite (text.data, 1, text.size, file) == text.size;
    if (file && fclose (file) != 0)
        good = false;
    buffer_free (&text);
    return good ? 0 : nexus_error_set (error, NEXUS_IO, "%s: it can't be written", name);
}

static int fail (const nexus_error_t *error)
{
    fprintf (stderr, "chaos_client: %s\n", error->text);
    return EX_USAGE;
}

int main (int argc, char **argv)
{
    nexus_error_t error = {0};
    chaos_t chaos = {.lock = PTHREAD_MUTEX_INITIALIZER, .history = history_new ()};
    chaos.options = options_parse (table, argc - 1, argv + 1, &error);
    if (!chaos.options ||
        options_number (chaos.options, "clients", 1, CLIENTS_MAX, &chaos.clients, &error) ||
        options_number (chaos.options, "keys", 1, 16, &chaos.keys, &error) ||
        options_number (chaos.options, "seconds", 1, 3600, &chaos.seconds, &error) ||
        options_number (chaos.options, "pause", 0, 10000, &chaos.pause, &error) ||
        options_number (chaos.options, "seed", 0, UINT32_MAX, &chaos.seed, &error) ||
        work (&chaos, &error) || save (&chaos, options_text (chaos.options, "history"), &error))
        return fail (&error);
    printf ("%" PRIu64 " operations answered, %" PRIu64 " of unknown outcome, none answered for "
            "%.1f s at most\n",
            chaos.answered, chaos.unknown, (double)chaos.gap_ns / 1e9);
    history_destroy (&chaos.history);
    options_destroy (&chaos.options);
    return 0;
}
