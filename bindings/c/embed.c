/*  embed - masters and workers as CZMQ actors (nexus.h, "embedding")

    The actor's thread holds the node and answers commands on its pipe. What a
    command asks of a master goes through the gateway, as if it had come over
    HTTPS: there is one way to submit a job.
*/
#include "nexus.h"

#include "actors/node/master.h"
#include "actors/node/worker.h"
#include "actors/protocol/api.h"
#include "actors/protocol/http.h"
#include "runtime/clock.h"
#include "transport/join_token.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CALL_TIMEOUT_MS = 10000, WAIT_POLL_US = 50000, ANSWER_MAX = 256 };

/*  A node of either sort, and why it is not there. */
typedef struct {
    zsock_t *pipe;
    bool is_master;
    master_config_t master_config;
    worker_config_t worker_config;
    arena_t arena;
    log_t *log;
    int log_fd;
    master_node_t *master;
    worker_node_t *worker;
    nexus_error_t error;
} embedded_t;

/*  ---- answers ------------------------------------------------------------------- */

static void answer (embedded_t *self, const char *word, const char *text)
{
    zstr_sendx (self->pipe, word, text, NULL);
}

static int take_response (const http_response_t *response, char **ret_body, nexus_error_t *error)
{
    char *text = response ? strndup (response->body.data ? (const char *)response->body.data : "",
                                     response->body.size)
                          : NULL;
    if (!text)
        return nexus_error_set (error, NEXUS_INVALID, "the gateway answered nonsense");
    if (response->status / 100 == 2) {
        *ret_body = text;
        return 0;
    }
    nexus_error_set (error, NEXUS_INVALID, "%s", text);
    free (text);
    return -1;
}

/*  Asks the gateway; *ret_body (to free) is the response's body as text. -1 with an error
    unless the status is 2xx. */
static int call_gateway (embedded_t *self, const char *method, const char *path,
                         const record_map_t *query, const char *body, char **ret_body,
                         nexus_error_t *error)
{
    record_pair_t headers[] = {{"content-type", "application/yaml"}};
    http_request_t request = {.method = method,
                              .path = path,
                              .user = "embedded",
                              .role = API_ADMIN,
                              .peer = "in-process"};
    if (query)
        request.query = *query;
    if (body) {
        request.headers = (record_map_t){headers, 1};
        request.body = (record_bytes_t){(const uint8_t *)body, strlen (body)};
    }
    address_t gateway = address_local ("gateway", 0);
    int64_t end = clock_now_ns () + MS_TO_NS (CALL_TIMEOUT_MS);
    for (;;) {
        message_t *reply = runtime_call (master_node_runtime (self->master), &gateway,
                                         &http_request_record, &request, CALL_TIMEOUT_MS, error);
        if (!reply)
            return -1;
        const http_response_t *response = message_body (reply, http_response);
        bool again = response && response->status == 503 && clock_now_ns () < end;
        int rc = again ? 0 : take_response (response, ret_body, error);
        message_release (&reply);
        if (!again)
            return rc;
        usleep (WAIT_POLL_US); /* no leader yet: nothing was done */
    }
}

/*  The text at a path of two names in a JSON object: "job", "id". */
static int json_text (const char *json, const char *object, const char *name, char *out,
                      nexus_error_t *error)
{
    json_t *root = json_loads (json, 0, NULL);
    json_t *inner = json_object_get (root, object);
    const char *text = json_string_value (json_object_get (inner ? inner : root, name));
    if (text)
        snprintf (out, ANSWER_MAX, "%s", text);
    json_decref (root);
    return text ? 0
                : nexus_error_set (error, NEXUS_INVALID, "the gateway's answer has no %s", name);
}

/*  ---- a master's commands ----------------------------------------------------------- */

/*  A token is a key pair: the cluster learns its public half, the caller gets the text. */
static int do_token (embedded_t *self, char *const *arguments, char **ret_text,
                     nexus_error_t *error)
{
    enum { VALID_MS = 3600000 };
    join_token_t token;
    cluster_root_t root;
    if (cluster_root_load (&root, self->master_config.root, error))
        return -1;
    join_token_generate (&token, &root.public_key);
    cluster_root_wipe (&root);
    token_request_t request = {.key = token.pair.public_key,
                               .site = arguments[0],
                               .uses = strtoull (arguments[1], NULL, 10),
                               .valid_ms = VALID_MS};
    buffer_t yaml = {0};
    char *body = NULL;
    record_to_yaml (&token_request_record, &request, 0, &yaml);
    buffer_append (&yaml, "", 1);
    int rc = call_gateway (self, "POST", "/api/v1/tokens", NULL, (char *)yaml.data, &body, error);
    free (body);
    buffer_free (&yaml);
    if (!rc) {
        char *text = join_token_text (&token);
        *ret_text = strdup (text);
        join_token_text_free (&text);
    }
    join_token_wipe (&token);
    return rc;
}

static int do_submit (embedded_t *self, char *const *arguments, char **ret_text,
                      nexus_error_t *error)
{
    char *body, id[ANSWER_MAX];
    if (call_gateway (self, "POST", "/api/v1/jobs", NULL, arguments[0], &body, error))
        return -1;
    int rc = json_text (body, "job", "id", id, error);
    free (body);
    if (!rc)
        *ret_text = strdup (id);
    return rc;
}

static int do_wait (embedded_t *self, char *const *arguments, char **ret_text, nexus_error_t *error)
{
    char path[ANSWER_MAX], phase[ANSWER_MAX];
    snprintf (path, sizeof (path), "/api/v1/jobs/%s", arguments[0]);
    int64_t end = clock_now_ns () + MS_TO_NS (strtoll (arguments[1], NULL, 10));
    for (;;) {
        char *body;
        if (call_gateway (self, "GET", path, NULL, NULL, &body, error))
            return -1;
        int rc = json_text (body, "job", "phase", phase, error);
        free (body);
        int value = record_choice_value (&job_phase_choices, phase);
        if (rc || value < 0 || job_phase_ended ((job_phase_t)value))
            break;
        if (clock_now_ns () > end)
            return nexus_error_set (error, NEXUS_DEADLINE, "job %s is still %s", arguments[0],
                                    phase);
        if (zsock_events (self->pipe) & ZMQ_POLLIN)
            return nexus_error_set (error, NEXUS_CANCELLED, "another command came");
        usleep (WAIT_POLL_US);
    }
    *ret_text = strdup (phase);
    return 0;
}

static int do_logs (embedded_t *self, char *const *arguments, char **ret_text, nexus_error_t *error)
{
    char path[ANSWER_MAX];
    snprintf (path, sizeof (path), "/api/v1/jobs/%s/logs", arguments[0]);
    record_pair_t pairs[] = {{"rank", arguments[1]}, {"max", "1048576"}};
    record_map_t query = {pairs, 2};
    return call_gateway (self, "GET", path, &query, NULL, ret_text, error);
}

static int do_status (embedded_t *self, char *const *arguments, char **ret_text,
                      nexus_error_t *error)
{
    (void)arguments;
    if (self->is_master)
        return call_gateway (self, "GET", "/api/v1/cluster/status", NULL, NULL, ret_text, error);
    *ret_text = strdup ("{\"running\":true}");
    return 0;
}

static const struct {
    const char *name;
    size_t arguments;
    bool master_only;
    int (*run) (embedded_t *, char *const *, char **, nexus_error_t *);
} commands[] = {
    {"STATUS", 0, false, do_status}, {"TOKEN", 2, true, do_token}, {"SUBMIT", 1, true, do_submit},
    {"WAIT", 2, true, do_wait},      {"LOGS", 2, true, do_logs},
};

static void run_command (embedded_t *self, const char *name, char *const *arguments, size_t count)
{
    nexus_error_t error = self->error;
    char *text = NULL;
    int rc = -1;
    if (!strcmp (name, "STARTED")) {
        char coded[600];
        snprintf (coded, sizeof (coded), "%d %s", (int)error.code, error.text);
        answer (self, error.code == NEXUS_OK ? "OK" : "ERROR", coded);
        return;
    }
    if (error.code == NEXUS_OK) {
        nexus_error_set (&error, NEXUS_INVALID, "unknown command %s, or wrong number of arguments",
                         name);
        for (size_t i = 0; i < sizeof (commands) / sizeof (commands[0]); i++)
            if (!strcmp (commands[i].name, name) && commands[i].arguments == count &&
                (self->is_master || !commands[i].master_only))
                rc = commands[i].run (self, arguments, &text, &error);
    }
    answer (self, rc ? "ERROR" : "OK", rc ? error.text : text);
    free (text);
}

/*  ---- the actor ------------------------------------------------------------------------ */

static int start (embedded_t *self, const nexus_node_t *node)
{
    int rc = self->is_master ? node_config_load (&master_config_record, node->config, node->text,
                                                 &self->arena, &self->master_config, &self->error)
                             : node_config_load (&worker_config_record, node->config, node->text,
                                                 &self->arena, &self->worker_config, &self->error);
    if (rc)
        return -1;
    self->log = self->is_master ? node_log_open (&self->master_config.log, self->master_config.name,
                                                 &self->log_fd, &self->error)
                                : node_log_open (&self->worker_config.log, self->worker_config.name,
                                                 &self->log_fd, &self->error);
    if (!self->log)
        return -1;
    if (self->is_master)
        self->master = master_node_new (&self->master_config, self->log, &self->error);
    else
        self->worker = worker_node_new (&self->worker_config, self->log, &self->error);
    if (!self->master && !self->worker) {
        if (self->error.code == NEXUS_INVALID && node->config) /* a field is wrong: say where */
            nexus_error_prefix (&self->error, "%s: ", node->config);
        return -1;
    }
    self->error.code = NEXUS_OK; /* what went wrong on the way was mended on the way */
    return 0;
}

static void stop (embedded_t *self)
{
    master_node_destroy (&self->master);
    worker_node_destroy (&self->worker);
    log_destroy (&self->log);
    if (self->log_fd >= 0)
        close (self->log_fd);
    self->log_fd = -1;
}

/*  The node has ended by itself: every command from now on gets the reason. */
static void take_down (embedded_t *self, zsock_t *pipe)
{
    char *word = NULL, *reason = NULL;
    zstr_recvx (pipe, &word, &reason, NULL);
    nexus_error_set (&self->error, NEXUS_UNAVAILABLE, "%s", reason ? reason : "the node has ended");
    zstr_free (&word);
    zstr_free (&reason);
}

/*  Returns false when the actor is to end. */
static bool take_command (embedded_t *self)
{
    zmsg_t *message = zmsg_recv (self->pipe);
    char *name = message ? zmsg_popstr (message) : NULL;
    bool goes_on = name && strcmp (name, "$TERM");
    if (goes_on) {
        char *arguments[4] = {NULL};
        size_t count = 0;
        while (count < 4 && (arguments[count] = zmsg_popstr (message)))
            count++;
        run_command (self, name, arguments, count);
        for (size_t i = 0; i < count; i++)
            zstr_free (&arguments[i]);
    }
    zstr_free (&name);
    zmsg_destroy (&message);
    return goes_on;
}

static void run (zsock_t *pipe, const nexus_node_t *node, bool is_master)
{
    embedded_t self = {.pipe = pipe, .is_master = is_master, .log_fd = -1};
    arena_init (&self.arena, 0, NULL, 0);
    bool runs = !start (&self, node);
    zsock_t *pipes[2] = {NULL, NULL};
    zpoller_t *poller = zpoller_new (pipe, NULL);
    if (runs && is_master)
        pipes[0] = master_node_pipe (self.master);
    else if (runs)
        worker_node_pipes (self.worker, pipes);
    for (size_t i = 0; i < 2; i++)
        if (pipes[i])
            zpoller_add (poller, pipes[i]);
    zsock_signal (pipe, 0);
    for (bool goes_on = true; goes_on;) {
        void *ready = zpoller_wait (poller, -1);
        if (ready && ready != pipe) {
            take_down (&self, ready);
            for (size_t i = 0; i < 2; i++)
                if (pipes[i])
                    zpoller_remove (poller, pipes[i]);
            stop (&self);
            zstr_sendx (pipe, "DOWN", self.error.text, NULL);
        } else
            goes_on = ready == pipe && take_command (&self);
    }
    zpoller_destroy (&poller);
    stop (&self);
    arena_reset (&self.arena);
}

void nexus_master (zsock_t *pipe, void *args)
{
    run (pipe, args, true);
}

void nexus_worker (zsock_t *pipe, void *args)
{
    run (pipe, args, false);
}

/*  ---- key files ---------------------------------------------------------------------------- */

int nexus_key_file (const char *path, char hex[65], nexus_error_t *error)
{
    keypair_t key;
    if (keypair_load_or_generate (&key, path, error))
        return -1;
    if (hex)
        key_to_hex (&key.public_key, hex);
    keypair_wipe (&key);
    return 0;
}

int nexus_root_file (const char *path, nexus_error_t *error)
{
    cluster_root_t root;
    nexus_error_t reason;
    int rc = cluster_root_load (&root, path, &reason);
    if (rc && reason.code == NEXUS_NOT_FOUND) {
        cluster_root_generate (&root);
        rc = cluster_root_save (&root, path, error);
    } else if (rc && error)
        *error = reason;
    cluster_root_wipe (&root);
    return rc;
}
