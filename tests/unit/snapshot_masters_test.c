/*  Whole masters with their files and links, in one process: one is away while the others
    compact their logs, and comes back by a copy; all lose their power at once */
#include "actors/node/master.h"
#include "actors/protocol/ledger.h"
#include "runtime/host.h"
#include "tests/unit/temp_dir.h"
#include "transport/identity.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MASTERS = 3, WRITERS = 16 };

typedef struct {
    char dir[64];
    arena_t arena;
    master_config_t config[MASTERS];
    log_t *log;
    FILE *log_file;
    master_node_t *masters[MASTERS];
} cluster_t;

static int free_port (void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal (bind (fd, (struct sockaddr *)&address, size), 0);
    getsockname (fd, (struct sockaddr *)&address, &size);
    close (fd);
    return ntohs (address.sin_port);
}

static void start (cluster_t *self, unsigned i)
{
    nexus_error_t error = {0};
    self->masters[i] = master_node_new (&self->config[i], self->log, &error);
    if (!self->masters[i])
        fail_msg ("m%u: %s", i + 1, error.text);
}

static cluster_t *cluster_new (unsigned entries)
{
    cluster_t *self = calloc (1, sizeof *self);
    char peers[2000] = "", text[4000], path[128], hex[65];
    int ports[MASTERS];
    cluster_root_t root;
    nexus_error_t error;
    arena_init (&self->arena, 0, NULL, 0);
    temp_dir_new (self->dir);
    snprintf (path, sizeof path, "%s/root", self->dir);
    cluster_root_generate (&root);
    assert_int_equal (cluster_root_save (&root, path, &error), 0);
    for (unsigned i = 0; i < MASTERS; i++) {
        keypair_t key;
        snprintf (path, sizeof path, "%s/m%u", self->dir, i + 1);
        mkdir (path, 0700);
        strcat (path, "/node.key");
        assert_int_equal (keypair_load_or_generate (&key, path, &error), 0);
        key_to_hex (&key.public_key, hex);
        ports[i] = free_port ();
        snprintf (peers + strlen (peers), sizeof peers - strlen (peers),
                  "  - {name: m%u, key: \"%s\", endpoint: \"tcp://127.0.0.1:%d\"}\n", i + 1, hex,
                  ports[i]);
    }
    for (unsigned i = 0; i < MASTERS; i++) {
        snprintf (text, sizeof text,
                  "name: m%u\ndir: %s/m%u\nbind: \"tcp://127.0.0.1:%d\"\nroot: %s/root\n"
                  "api: {port: 0}\nsnapshot_entries: %u\nsnapshot_seconds: 0\nmasters:\n%s",
                  i + 1, self->dir, i + 1, ports[i], self->dir, entries, peers);
        if (node_config_load (&master_config_record, NULL, text, &self->arena, &self->config[i],
                              &error))
            fail_msg ("%s", error.text);
    }
    const char *log = getenv ("TEST_LOG");
    self->log_file = fopen (log ? log : "/dev/null", "ae");
    self->log = log_new (fileno (self->log_file), false, LOG_LEVEL_INFO, "test");
    for (unsigned i = 0; i < MASTERS; i++)
        start (self, i);
    return self;
}

static void stop (cluster_t *self, unsigned i)
{
    master_node_destroy (&self->masters[i]);
}

static void cluster_destroy (cluster_t **self_p)
{
    cluster_t *self = *self_p;
    for (unsigned i = 0; i < MASTERS; i++)
        stop (self, i);
    log_destroy (&self->log);
    fclose (self->log_file);
    arena_reset (&self->arena);
    temp_dir_remove (self->dir);
    free (self);
    *self_p = NULL;
}

/*  ---- writing and reading ------------------------------------------------------------------ */

static bool put (cluster_t *self, unsigned master, unsigned key, unsigned value)
{
    /* Large enough that the leader's memory doesn't hold all of them: then it needs no copy. */
    char name[32], text[1000];
    snprintf (name, sizeof name, "key-%u", key);
    snprintf (text, sizeof text, "%-999u", value);
    kv_put_t command = {.key = name, .value = {(const uint8_t *)text, 999}};
    buffer_t bytes = {0};
    nexus_error_t error;
    command_encode (&kv_put_record, &command, &bytes);
    propose_t propose = {.command = {bytes.data, bytes.size}};
    address_t election = address_local ("election", 0);
    message_t *reply = runtime_call (master_node_runtime (self->masters[master]), &election,
                                     &propose_record, &propose, 10000, &error);
    bool done = reply != NULL;
    if (reply)
        message_release (&reply);
    buffer_free (&bytes);
    return done;
}

typedef struct {
    cluster_t *cluster;
    unsigned master, first, count;
    atomic_uint *failed;
} writer_t;

/*  Again if need be: a machine with much else to do may change its leader meanwhile. */
static bool put_again (cluster_t *self, unsigned master, unsigned key, unsigned value)
{
    for (int i = 0; i < 100; i++) {
        if (put (self, master, key, value))
            return true;
        usleep (100000);
    }
    return false;
}

static void *write_on (void *arg)
{
    writer_t *self = arg;
    for (unsigned i = 0; i < self->count; i++)
        if (!put_again (self->cluster, self->master, (self->first + i) % 5000, self->first + i))
            atomic_fetch_add (self->failed, 1);
    return NULL;
}

/*  From many threads at once, so that they share flushes. */
static void put_many (cluster_t *self, unsigned master, unsigned first, unsigned count)
{
    pthread_t threads[WRITERS];
    writer_t writers[WRITERS];
    atomic_uint failed = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] =
            (writer_t){self, master, first + i * (count / WRITERS), count / WRITERS, &failed};
        assert_int_equal (pthread_create (&threads[i], NULL, write_on, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join (threads[i], NULL);
    assert_int_equal (atomic_load (&failed), 0);
}

/*  What this master itself has; -1: nothing. */
static long get (cluster_t *self, unsigned master, unsigned key)
{
    char name[32];
    nexus_error_t error;
    snprintf (name, sizeof name, "key-%u", key);
    address_t ledger = address_local ("ledger", 0);
    kv_get_t wanted = {.key = name, .stale = true};
    message_t *reply = runtime_call (master_node_runtime (self->masters[master]), &ledger,
                                     &kv_get_record, &wanted, 10000, &error);
    const kv_got_t *got = reply ? message_body (reply, kv_got) : NULL;
    char text[32] = "-1";
    if (got && got->found)
        snprintf (text, sizeof text, "%.*s", (int)got->value.size, (const char *)got->value.data);
    if (reply)
        message_release (&reply);
    return atol (text);
}

static void await (cluster_t *self, unsigned master, unsigned key, long value)
{
    for (int i = 0; i < 600; i++) {
        if (get (self, master, key) == value)
            return;
        usleep (50000);
    }
    fail_msg ("m%u never got key-%u = %ld, it has %ld", master + 1, key, value,
              get (self, master, key));
}

static void put_surely (cluster_t *self, unsigned master, unsigned key, unsigned value)
{
    if (!put_again (self, master, key, value))
        fail_msg ("no leader");
}

static double gauge (cluster_t *self, unsigned master, const char *name)
{
    return metric_value (metrics_gauge (
        runtime_metrics (master_node_runtime (self->masters[master])), name, "", NULL));
}

/*  All masters are stopped: their ledgers must be the same. Those that were stopped later have seen
    another term begin, which is all that may differ. */
static void check_equal (cluster_t *self)
{
    buffer_t first = {0};
    for (unsigned i = 0; i < MASTERS; i++) {
        char path[128];
        nexus_error_t error;
        tables_origin_t origin;
        snprintf (path, sizeof path, "%s/m%u/ledger", self->dir, i + 1);
        tables_t *tables = tables_open_cache (path, (size_t)1 << 30, ledger_table_names,
                                              LEDGER_TABLES, &origin, &error);
        assert_non_null (tables);
        assert_int_equal (origin, TABLES_KEPT);
        tables_txn_t *txn = tables_begin (tables, true, &error);
        tables_delete (txn, LEDGER_META, SLICE (LEDGER_APPLIED));
        tables_delete (txn, LEDGER_META, SLICE (LEDGER_APPLIED_TERM));
        assert_int_equal (tables_commit (&txn, &error), 0);
        buffer_t dump = {0};
        tables_dump (tables, &dump);
        tables_close (&tables);
        if (i == 0)
            first = dump;
        else {
            assert_int_equal (dump.size, first.size);
            assert_memory_equal (dump.data, first.data, dump.size);
            buffer_free (&dump);
        }
    }
    buffer_free (&first);
}

/*  ---- tests ------------------------------------------------------------------------------------
 */

static void test_away (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (2000);
    unsigned count = getenv ("WRITES") ? (unsigned)atol (getenv ("WRITES")) : 24000;
    put_surely (cluster, 0, 0, 1);
    await (cluster, 2, 0, 1);
    stop (cluster, 2);
    put_surely (cluster, 0, 0, 2); /* whoever led */
    put_many (cluster, 0, 100000, count);
    put_surely (cluster, 1, 4999, 7777777);
    /* The log begins behind what the third one has. */
    for (int i = 0; i < 200 && gauge (cluster, 0, "nexus_snapshot_index") < count / 2; i++)
        usleep (50000);
    assert_true (gauge (cluster, 0, "nexus_snapshot_index") >= count / 2);
    start (cluster, 2);
    await (cluster, 2, 4999, 7777777);
    assert_true (gauge (cluster, 2, "nexus_snapshot_index") >= count / 2);
    /* It goes on as any other: writes through it, and after another restart. */
    put_surely (cluster, 2, 4998, 8888888);
    await (cluster, 0, 4998, 8888888);
    stop (cluster, 2);
    start (cluster, 2);
    await (cluster, 2, 4998, 8888888);
    for (unsigned i = 0; i < MASTERS; i++) {
        put_surely (cluster, i, i, 9999999);
        for (unsigned k = 0; k < MASTERS; k++)
            await (cluster, k, i, 9999999);
    }
    usleep (500000);
    for (unsigned i = 0; i < MASTERS; i++)
        stop (cluster, i);
    check_equal (cluster);
    cluster_destroy (&cluster);
}

/*  What a ledger holds that was not flushed is gone: its copy and the log tell it again. */
static void test_loss_of_power (void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new (500);
    put_surely (cluster, 0, 0, 1);
    put_many (cluster, 0, 100000, 4000);
    put_surely (cluster, 0, 1, 5);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MASTERS; i++)
            stop (cluster, i);
        for (unsigned i = 0; i < MASTERS; i++) {
            char path[128];
            snprintf (path, sizeof path, "%s/m%u/ledger/valid", cluster->dir, i + 1);
            FILE *file = fopen (path, "we");
            fprintf (file, "a 00000000-another-boot\n");
            fclose (file);
        }
        for (unsigned i = 0; i < MASTERS; i++)
            start (cluster, i);
        put_surely (cluster, 1, 2, 6 + (unsigned)round);
        for (unsigned i = 0; i < MASTERS; i++) {
            await (cluster, i, 2, 6 + round);
            assert_int_equal (get (cluster, i, 1), 5);
            assert_int_equal (get (cluster, i, 3999 % 5000), 103999 % 5000 == 3999 ? 103999 : -1);
        }
    }
    cluster_destroy (&cluster);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_away),
        cmocka_unit_test (test_loss_of_power),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
