/*  What strangers, and members gone bad, can do to a link: nothing that is not
    refused and counted. One node listens; everything else here is its enemy. */
#include "tests/unit/link_node.h"

#include "transport/link_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/socket.h>
#include <zmq.h>

static node_t node;
static void *zmq; /* the enemies' */

static int open_node (void **state)
{
    (void)state;
    node_init (&node, "n", "tcp://127.0.0.1:*");
    node_start (&node);
    zmq = zmq_ctx_new ();
    return zmq ? 0 : -1;
}

#define SOCKETS_MAX 512
static void *sockets[SOCKETS_MAX]; /* of enemies; closed with the node if their test failed */

static void *open_enemy_socket (int type)
{
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        if (!sockets[i])
            return sockets[i] = zmq_socket (zmq, type);
    return NULL;
}

static void close_enemy_socket (void *socket)
{
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        if (sockets[i] == socket)
            sockets[i] = NULL;
    zmq_close (socket);
}

static int close_node (void **state)
{
    (void)state;
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        if (sockets[i])
            close_enemy_socket (sockets[i]);
    zmq_ctx_term (zmq);
    node_free (&node);
    return 0;
}

static long resident_kib (void)
{
    long pages = 0, ignored = 0;
    FILE *file = fopen ("/proc/self/statm", "r");
    assert_non_null (file);
    assert_int_equal (fscanf (file, "%ld %ld", &ignored, &pages), 2);
    fclose (file);
    return pages * (sysconf (_SC_PAGESIZE) / 1024);
}

#define RESIDENT_SLACK_KIB (48 * 1024)

/*  What sanitizers keep beside what a program uses. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZER 1
#endif
#endif
#ifdef SANITIZER
#define SANITIZER_KIB (1024 * 1024)
#else
#define SANITIZER_KIB 0
#endif

/*  ---- an enemy that speaks ZMTP, by libzmq ---------------------------------------- */

typedef struct {
    keypair_t pair;
    void *socket, *monitor;
} enemy_t;

typedef enum { WITH_CURVE, WITH_NULL, WITH_PLAIN } mechanism_t;

static void enemy_open (enemy_t *self, mechanism_t mechanism, const record_key_t *server,
                        const char *route)
{
    static int counter;
    char endpoint[64];
    int zero = 0, timeout = 3000;
    self->socket = open_enemy_socket (ZMQ_DEALER);
    self->monitor = open_enemy_socket (ZMQ_PAIR);
    snprintf (endpoint, sizeof endpoint, "inproc://enemy%d", counter++);
    zmq_socket_monitor (self->socket, endpoint, ZMQ_EVENT_ALL);
    zmq_connect (self->monitor, endpoint);
    zmq_setsockopt (self->monitor, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt (self->monitor, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt (self->socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt (self->socket, ZMQ_SNDTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt (self->socket, ZMQ_LINGER, &zero, sizeof zero);
    if (route)
        zmq_setsockopt (self->socket, ZMQ_ROUTING_ID, route, 5);
    if (mechanism == WITH_PLAIN)
        zmq_setsockopt (self->socket, ZMQ_PLAIN_USERNAME, "admin", 5);
    if (mechanism == WITH_CURVE) {
        zmq_setsockopt (self->socket, ZMQ_CURVE_SECRETKEY, self->pair.secret_key.bytes, 32);
        zmq_setsockopt (self->socket, ZMQ_CURVE_PUBLICKEY, self->pair.public_key.bytes, 32);
        zmq_setsockopt (self->socket, ZMQ_CURVE_SERVERKEY, server->bytes, 32);
    }
    assert_int_equal (zmq_connect (self->socket, node.bound), 0);
}

static void enemy_close (enemy_t *self)
{
    zmq_socket_monitor (self->socket, NULL, 0); /* else libzmq waits for its reader for ever */
    close_enemy_socket (self->monitor);
    close_enemy_socket (self->socket);
}

/*  The enemy's handshake: true if it succeeded, false once it has failed. */
static bool enemy_is_in (enemy_t *self)
{
    for (;;) {
        uint8_t event[6];
        if (zmq_recv (self->monitor, event, sizeof event, 0) == -1)
            return false; /* silence: refused without a word */
        zmq_recv (self->monitor, NULL, 0, 0);
        uint16_t number;
        memcpy (&number, event, sizeof number);
        if (number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            return true;
        if (number == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || number == ZMQ_EVENT_DISCONNECTED ||
            number == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL ||
            number == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            return false;
    }
}

static void enemy_send (enemy_t *self, const void *data, size_t size)
{
    zmq_send (self->socket, data, size, 0);
}

static void append (buffer_t *out, const record_t *kind, const void *body, const char *to)
{
    link_envelope_t envelope = {.kind = kind->id};
    strcpy (envelope.to_actor, to);
    strcpy (envelope.from_actor, *to ? "app" : "");
    link_frame_append (out, &envelope, kind, body);
}

static void enemy_say (enemy_t *self, const record_t *kind, const void *body, const char *to)
{
    buffer_t out = {0};
    append (&out, kind, body, to);
    enemy_send (self, out.data, out.size);
    buffer_free (&out);
}

static const link_hello_t good_hello = {
    .version = 1, .name = "enemy", .incarnation = 1, .window = 1 << 20};

/*  A member gone bad: its key is known; it has said hello. */
static void member_open (enemy_t *self, role_t role, const char *route)
{
    keypair_generate (&self->pair);
    keyring_entry_t entry = {.key = self->pair.public_key, .role = role, .name = "enemy"};
    keyring_allow (node.keyring, TEST_DOMAIN, &entry, NULL);
    enemy_open (self, WITH_CURVE, &node.pair.public_key, route);
    assert_true (enemy_is_in (self));
    enemy_say (self, &link_hello_record, &good_hello, "");
}

/*  The link's hello; a member that gets it is up. */
static bool member_is_greeted (enemy_t *self)
{
    uint8_t data[256];
    return zmq_recv (self->socket, data, sizeof data, 0) > 0;
}

/*  The node still serves an honest peer. */
static void expect_service (void)
{
    static int number;
    enemy_t honest;
    uint64_t messages = node.seen.messages;
    member_open (&honest, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&honest));
    enemy_say (&honest, &ping_record, &(ping_t){.number = (uint64_t)number++}, "app");
    assert_true (WAIT_FOR (node.seen.messages == messages + 1, 5000));
    enemy_close (&honest);
}

/*  ---- no key ------------------------------------------------------------------------ */

static void expect_refusal (enemy_t *enemy, mechanism_t mechanism, const record_key_t *server)
{
    enemy_open (enemy, mechanism, server, NULL);
    enemy_say (enemy, &link_hello_record, &good_hello, "");
    enemy_say (enemy, &ping_record, &(ping_t){0}, "app");
    assert_false (enemy_is_in (enemy));
    enemy_close (enemy);
}

static void nobody_gets_in_without_a_known_key (void **state)
{
    (void)state;
    enemy_t enemy;
    keypair_t other;
    keypair_generate (&enemy.pair);
    keypair_generate (&other);
    expect_refusal (&enemy, WITH_CURVE, &node.pair.public_key);
    expect_refusal (&enemy, WITH_CURVE, &other.public_key);
    expect_refusal (&enemy, WITH_NULL, NULL);
    expect_refusal (&enemy, WITH_PLAIN, NULL);
    assert_int_equal (node.seen.messages, 0);
    assert_int_equal (node.seen.ups, 0);
    expect_service ();
}

/*  Without ZMQ_ZAP_ENFORCE_DOMAIN a server whose ZAP handler is gone lets everybody in. */
static void nobody_gets_in_without_zap (void **state)
{
    (void)state;
    enemy_t stranger, member;
    keypair_generate (&stranger.pair);
    keypair_generate (&member.pair);
    keyring_entry_t entry = {.key = member.pair.public_key, .role = ROLE_WORKER};
    keyring_allow (node.keyring, TEST_DOMAIN, &entry, NULL);
    zactor_destroy (&node.zap);
    expect_refusal (&stranger, WITH_CURVE, &node.pair.public_key);
    expect_refusal (&member, WITH_CURVE, &node.pair.public_key);
    assert_int_equal (node.seen.messages, 0);
    assert_int_equal (node.seen.ups, 0);
    node.zap = node_host (&node, &zap_behaviour, "zap", &node.zap_config);
    expect_service ();
}

/*  ---- bytes before the handshake ------------------------------------------------------ */

static int raw_connect (void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port =
                                      htons ((uint16_t)atoi (strrchr (node.bound, ':') + 1)),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal (connect (fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval timeout = {.tv_sec = 2};
    setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return fd;
}

/*  Whether the node has hung up. */
static bool raw_is_closed (int fd)
{
    char data[256];
    ssize_t size;
    while ((size = recv (fd, data, sizeof data, 0)) > 0)
        continue;
    return size == 0 || (size == -1 && (errno == ECONNRESET || errno == EPIPE));
}

static void greet (int fd)
{
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E'};
    assert_int_equal (send (fd, greeting, sizeof greeting, MSG_NOSIGNAL), 64);
}

static void nine_bytes_cost_no_memory (void **state)
{
    (void)state;
    static const uint8_t claims[][9] = {
        {0x06, 0, 0, 0, 1, 0, 0, 0, 0},                         /* a command of 4 GiB */
        {0x02, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},             /* a message of 4 GiB */
        {0x03, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* of all there is */
        {0x06, 0, 0, 0, 0, 0x40, 0, 0, 1},                      /* of 1 GiB */
    };
    long before = resident_kib ();
    int fds[40];
    for (size_t i = 0; i < 40; i++) {
        fds[i] = raw_connect ();
        greet (fds[i]);
        send (fds[i], claims[i % 4], 9, MSG_NOSIGNAL);
    }
    for (size_t i = 0; i < 40; i++) {
        assert_true (raw_is_closed (fds[i]));
        close (fds[i]);
    }
    assert_true (resident_kib () - before < RESIDENT_SLACK_KIB);
    expect_service ();
}

/*  Half of them must be shown out long before their time to say something is over. */
static void too_many_connections_are_refused (void **state)
{
    (void)state;
    node_stop (&node);
    node.link_config.connections_max = 16;
    node_start (&node);
    int fds[64];
    for (size_t i = 0; i < 64; i++)
        fds[i] = raw_connect ();
    int64_t began = test_now_ms ();
    size_t closed = 0;
    while (closed < 48 && test_now_ms () - began < 2000) {
        closed = 0;
        for (size_t i = 0; i < 64; i++) {
            char data[64];
            ssize_t size;
            while ((size = recv (fds[i], data, sizeof data, MSG_DONTWAIT)) > 0)
                continue;
            closed += size == 0 || errno != EAGAIN;
        }
        usleep (10000);
    }
    assert_int_equal (closed, 48);
    for (size_t i = 0; i < 64; i++)
        close (fds[i]);
    usleep (100000);
    expect_service ();
}

static void noise_before_the_handshake_is_harmless (void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        uint8_t noise[512];
        randombytes_buf (noise, sizeof noise);
        int fd = raw_connect ();
        if (i % 2)
            greet (fd);
        send (fd, noise, 1 + randombytes_uniform (sizeof noise), MSG_NOSIGNAL);
        close (fd);
    }
    expect_service ();
    assert_int_equal (node.seen.messages, 1);
}

/*  ---- members gone bad ------------------------------------------------------------------ */

static void noise_after_the_handshake_is_counted (void **state)
{
    (void)state;
    enemy_t enemy;
    member_open (&enemy, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&enemy));
    double before = node_dropped (&node, "malformed");
    const int count = 2000;
    for (int i = 0; i < count; i++) {
        uint8_t noise[600];
        size_t size = randombytes_uniform (sizeof noise);
        randombytes_buf (noise, sizeof noise);
        noise[0] = (uint8_t)(noise[0] & 0x7f); /* never an array: malformed for sure */
        enemy_send (&enemy, noise, size + 1);
    }
    assert_true (WAIT_FOR (node_dropped (&node, "malformed") == before + count, 5000));
    enemy_close (&enemy);
    expect_service ();
}

/*  A good envelope around a body that claims a lot. */
static void send_bomb (enemy_t *enemy, const uint8_t *body, size_t size)
{
    uint8_t head[] = {0x9b,
                      1,
                      0xcd,
                      0xc3,
                      0x51,
                      0,
                      0xa3,
                      'a',
                      'p',
                      'p',
                      0,
                      0xa1,
                      'x',
                      0,
                      0,
                      0,
                      0,
                      0xce,
                      0,
                      0,
                      (uint8_t)(size >> 8),
                      (uint8_t)size};
    uint8_t frame[512];
    memcpy (frame, head, sizeof head);
    memcpy (frame + sizeof head, body, size);
    enemy_send (enemy, frame, sizeof head + size);
}

static void bombs_do_not_go_off (void **state)
{
    (void)state;
    enemy_t enemy;
    member_open (&enemy, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&enemy));
    uint8_t deep[300], wide[] = {0xdd, 0xff, 0xff, 0xff, 0xff};
    uint8_t bytes[] = {0x92, 1, 0xc6, 0xff, 0xff, 0xff, 0xff},
            map[] = {0xdf, 0xff, 0xff, 0xff, 0xff};
    uint8_t nested[150];
    memset (deep, 0x91, sizeof deep);
    for (size_t i = 0; i < sizeof nested; i++)
        nested[i] = (uint8_t[]){0xdd, 0x0f, 0xff, 0xff, 0xff}[i % 5];
    long before = resident_kib ();
    for (int i = 0; i < 200; i++) {
        send_bomb (&enemy, deep, sizeof deep);
        send_bomb (&enemy, wide, sizeof wide);
        send_bomb (&enemy, bytes, sizeof bytes);
        send_bomb (&enemy, map, sizeof map);
        send_bomb (&enemy, nested, sizeof nested);
    }
    assert_true (WAIT_FOR (node_dropped (&node, "malformed") == 1000, 5000));
    assert_true (resident_kib () - before < RESIDENT_SLACK_KIB);
    assert_int_equal (node.seen.messages, 0);
    enemy_close (&enemy);
    expect_service ();
}

static void a_frame_beyond_the_limit_ends_the_connection (void **state)
{
    (void)state;
    enemy_t enemy;
    member_open (&enemy, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&enemy));
    assert_true (WAIT_FOR (node.seen.ups == 1, 3000));
    uint8_t *huge = calloc (1, 32 << 20);
    enemy_send (&enemy, huge, 32 << 20);
    free (huge);
    assert_true (WAIT_FOR (node.seen.downs == 1, 5000));
    assert_int_equal (node.seen.messages, 0);
    enemy_close (&enemy);
    expect_service ();
}

static void messages_of_many_parts_are_dropped (void **state)
{
    (void)state;
    enemy_t enemy;
    member_open (&enemy, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&enemy));
    buffer_t out = {0};
    append (&out, &ping_record, &(ping_t){0}, "app");
    for (int parts = 3; parts < 200; parts += 49) {
        double before = node_dropped (&node, "malformed");
        for (int i = 0; i < parts; i++)
            zmq_send (enemy.socket, out.data, out.size, i + 1 < parts ? ZMQ_SNDMORE : 0);
        assert_true (WAIT_FOR (node_dropped (&node, "malformed") == before + 1, 3000));
    }
    /*  A second part that no envelope announces. */
    zmq_send (enemy.socket, out.data, out.size, ZMQ_SNDMORE);
    zmq_send (enemy.socket, "x", 1, 0);
    assert_true (WAIT_FOR (node_dropped (&node, "malformed") == 6, 3000));
    assert_int_equal (node.seen.messages, 0);
    buffer_free (&out);
    enemy_close (&enemy);
}

/*  Whatever it calls itself, it is its key. */
static void a_routing_id_is_no_identity (void **state)
{
    (void)state;
    enemy_t named, first, second;
    member_open (&named, ROLE_WORKER, "route");
    assert_true (WAIT_FOR (node_dropped (&node, "route") == 1, 3000));
    enemy_say (&named, &ping_record, &(ping_t){0}, "app");
    assert_true (WAIT_FOR (node_dropped (&node, "route") == 2, 3000));
    enemy_close (&named);

    /*  Two keys claim one address that looks like the ROUTER's own: the first keeps it. */
    static const char stolen[5] = {0, 1, 2, 3, 4};
    member_open (&first, ROLE_MASTER, stolen);
    assert_true (member_is_greeted (&first));
    enemy_say (&first, &ping_record, &(ping_t){0}, "app");
    assert_true (WAIT_FOR (node.seen.messages == 1, 3000));
    assert_memory_equal (&node.seen.from, &first.pair.public_key, 32);
    member_open (&second, ROLE_WORKER, stolen);
    enemy_say (&second, &order_record, &(order_t){0}, "app");
    enemy_say (&first, &ping_record, &(ping_t){.number = 1}, "app");
    assert_true (WAIT_FOR (node.seen.messages == 2, 3000));
    assert_memory_equal (&node.seen.from, &first.pair.public_key, 32);
    assert_int_equal (node.seen.role, ROLE_MASTER);
    assert_int_equal (node.seen.orders, 0);
    enemy_close (&first);
    enemy_close (&second);
    expect_service ();
}

/*  One key on two connections: the newest hello wins, the older one is deaf and dumb. */
static void the_newest_connection_wins (void **state)
{
    (void)state;
    enemy_t old, new;
    member_open (&old, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&old));
    new.pair = old.pair;
    enemy_open (&new, WITH_CURVE, &node.pair.public_key, NULL);
    assert_true (enemy_is_in (&new));
    enemy_say (&new, &ping_record, &(ping_t){0}, "app"); /* before its hello */
    assert_true (WAIT_FOR (node_dropped (&node, "no_hello") == 1, 3000));
    enemy_say (&new, &link_hello_record, &good_hello, "");
    assert_true (member_is_greeted (&new));
    enemy_say (&old, &ping_record, &(ping_t){0}, "app");
    assert_true (WAIT_FOR (node_dropped (&node, "no_hello") == 2, 3000));
    enemy_say (&new, &ping_record, &(ping_t){0}, "app");
    assert_true (WAIT_FOR (node.seen.messages == 1, 3000));
    enemy_close (&old);
    usleep (100000); /* the end of the old one is not the end of the new one */
    enemy_say (&new, &ping_record, &(ping_t){1}, "app");
    assert_true (WAIT_FOR (node.seen.messages == 2, 3000));
    assert_int_equal (node.seen.downs, 0);
    enemy_close (&new);
}

/*  A member orders the link itself about, sends what only masters may, what nobody knows, what
    only links say, speaks another version. */
static void a_member_has_its_role_only (void **state)
{
    (void)state;
    enemy_t worker, joiner, newer;
    member_open (&worker, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&worker));
    const char *endpoint = "tcp://127.0.0.1:1";
    link_dial_t dial = {.node = worker.pair.public_key, .endpoints = {&endpoint, 1}};
    enemy_say (&worker, &link_dial_record, &dial, "link");
    enemy_say (&worker, &link_subscribe_record, &(link_subscribe_t){0}, "link");
    enemy_say (&worker, &strange_record, &(strange_t){0}, "app");
    assert_true (WAIT_FOR (node_dropped (&node, "unknown_kind") == 3, 3000));
    enemy_say (&worker, &ping_record, &(ping_t){0}, "link");
    enemy_say (&worker, &order_record, &(order_t){0}, "app");
    assert_true (WAIT_FOR (node_dropped (&node, "role") == 2, 3000));
    enemy_say (&worker, &link_credit_record, &(link_credit_t){UINT64_MAX}, "");
    enemy_say (&worker, &link_hello_record, &good_hello, "");
    enemy_say (&worker, &strange_record, &(strange_t){0}, "");
    assert_true (WAIT_FOR (node_dropped (&node, "malformed") == 1, 3000));
    assert_int_equal (node.seen.orders, 0);
    assert_int_equal (node.seen.messages, 0);

    /*  A joiner has no kind here at all, and may not pose as one who answers. */
    member_open (&joiner, ROLE_JOINER, NULL);
    assert_true (member_is_greeted (&joiner));
    enemy_say (&joiner, &ping_record, &(ping_t){0}, "app");
    assert_true (WAIT_FOR (node_dropped (&node, "role") == 3, 3000));
    enemy_say (&joiner, &failure_record, &(failure_t){.code = 1, .text = "x"}, "app");
    enemy_say (&joiner, &down_record, &(down_t){.actor = "app"}, "app");
    assert_true (WAIT_FOR (node_dropped (&node, "unknown_kind") == 5, 3000));

    keypair_generate (&newer.pair);
    keyring_entry_t entry = {.key = newer.pair.public_key, .role = ROLE_WORKER};
    keyring_allow (node.keyring, TEST_DOMAIN, &entry, NULL);
    enemy_open (&newer, WITH_CURVE, &node.pair.public_key, NULL);
    link_hello_t hello = good_hello;
    hello.version = 2;
    enemy_say (&newer, &link_hello_record, &hello, "");
    assert_true (WAIT_FOR (node_dropped (&node, "version") == 1, 3000));
    enemy_close (&worker);
    enemy_close (&joiner);
    enemy_close (&newer);
}

/*  What a request of the node's app looks like to the member that is asked. */
static link_envelope_t member_is_asked (enemy_t *self)
{
    static uint8_t data[65536];
    for (;;) {
        int size = zmq_recv (self->socket, data, sizeof data, 0);
        assert_true (size > 0);
        link_frame_t frame = {data, data + size};
        link_envelope_t envelope;
        assert_int_equal (link_frame_next (&frame, &envelope), 1);
        if (envelope.flags & LINK_REQUEST)
            return envelope;
    }
}

static void member_answers (enemy_t *self, const link_envelope_t *request, uint64_t number)
{
    buffer_t out = {0};
    link_envelope_t envelope = {.kind = ping_record.id,
                                .flags = LINK_REPLY,
                                .correlation = request->correlation,
                                .to_instance = request->from_instance};
    strcpy (envelope.to_actor, request->from_actor);
    strcpy (envelope.from_actor, request->to_actor);
    link_frame_append (&out, &envelope, &ping_record, &(ping_t){.number = number});
    enemy_send (self, out.data, out.size);
    buffer_free (&out);
}

static void *call_asked (void *context)
{
    nexus_error_t error;
    node_t asked = {.pair = ((enemy_t *)context)->pair};
    message_t *reply = node_ask (&node, &asked, &(ping_t){0}, 10000, &error);
    uint64_t number = reply ? message_body (reply, ping)->number : 0;
    if (reply)
        message_release (&reply);
    return (void *)(uintptr_t)number;
}

/*  A member that knows everything about a request, but was not asked, can't answer it. */
static void only_who_was_asked_may_answer (void **state)
{
    (void)state;
    enemy_t asked, liar;
    member_open (&asked, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&asked));
    member_open (&liar, ROLE_WORKER, NULL);
    assert_true (member_is_greeted (&liar));
    enemy_say (&asked, &ping_record, &(ping_t){0}, "app"); /* whom the app will ask */
    assert_true (WAIT_FOR (node.seen.messages == 1, 3000));
    address_t app = address_local ("app", 0);
    message_t *order = message_new (&strange_record, &(strange_t){0}, NULL, &app, &app);
    runtime_send (node.runtime, &order);
    link_envelope_t request = member_is_asked (&asked);
    member_answers (&liar, &request, 666);
    enemy_say (&liar, &ping_record, &(ping_t){1}, "app"); /* after it: the lie was handled */
    assert_true (WAIT_FOR (node.seen.messages == 2, 3000));
    assert_int_equal (node.seen.answers, 0);
    member_answers (&asked, &request, 5);
    assert_true (WAIT_FOR (node.seen.answers == 1, 3000));
    assert_int_equal (node.seen.answer, 5);

    /*  The same for a thread that waits in runtime_call. */
    pthread_t thread;
    void *number;
    pthread_create (&thread, NULL, call_asked, &asked);
    request = member_is_asked (&asked);
    member_answers (&liar, &request, 666);
    enemy_say (&liar, &ping_record, &(ping_t){2}, "app");
    assert_true (WAIT_FOR (node.seen.messages == 3, 3000));
    member_answers (&asked, &request, 7);
    pthread_join (thread, &number);
    assert_int_equal ((uintptr_t)number, 7);
    enemy_close (&asked);
    enemy_close (&liar);
}

/*  A peer that gives no credit and reads nothing: its queue is bounded, others are served. */
static void a_peer_that_reads_nothing_is_bounded (void **state)
{
    (void)state;
    enemy_t mute;
    member_open (&mute, ROLE_WORKER, NULL);
    assert_true (WAIT_FOR (node.seen.ups == 1, 3000));
    static uint8_t data[10000];
    node_t target = {.pair = mute.pair};
    long before = resident_kib ();
    for (uint64_t i = 0; i < 60000; i++) {
        node_send (&node, &target, &ping_record, &(ping_t){.number = i, .data = {data, 10000}},
                   NULL);
        if (i % 500 == 499)
            usleep (2000);
    }
    assert_true (WAIT_FOR (node_dropped (&node, "queue_full") > 40000, 10000));
    assert_true (resident_kib () - before < 300 * 1024 + SANITIZER_KIB);
    expect_service ();
    enemy_close (&mute);
}

#define HOSTILE(test) cmocka_unit_test_setup_teardown (test, open_node, close_node)

int main (void)
{
    const struct CMUnitTest tests[] = {
        HOSTILE (nobody_gets_in_without_a_known_key),
        HOSTILE (nobody_gets_in_without_zap),
        HOSTILE (nine_bytes_cost_no_memory),
        HOSTILE (too_many_connections_are_refused),
        HOSTILE (noise_before_the_handshake_is_harmless),
        HOSTILE (noise_after_the_handshake_is_counted),
        HOSTILE (bombs_do_not_go_off),
        HOSTILE (a_frame_beyond_the_limit_ends_the_connection),
        HOSTILE (messages_of_many_parts_are_dropped),
        HOSTILE (a_routing_id_is_no_identity),
        HOSTILE (the_newest_connection_wins),
        HOSTILE (a_member_has_its_role_only),
        HOSTILE (only_who_was_asked_may_answer),
        HOSTILE (a_peer_that_reads_nothing_is_bounded),
    };
    return cmocka_run_group_tests_name ("hostile", tests, NULL, NULL);
}
