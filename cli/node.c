/*  node - nexus master and nexus worker: one node, in the foreground

    Does what any embedding program can do: starts the actor, and ends it on
    SIGTERM or SIGINT. */
#include "cli/command.h"

#include "nexus.h"

#include <czmq.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const option_t node_options[] = {
    {"config", 'c', "FILE", {"NEXUS_CONFIG"}, NULL, "The node's configuration (YAML)."},
    {0},
};

/*  SIGTERM and SIGINT as a descriptor, blocked for all threads that come. */
static int open_signals (void)
{
    sigset_t set;
    sigemptyset (&set);
    sigaddset (&set, SIGTERM);
    sigaddset (&set, SIGINT);
    sigprocmask (SIG_BLOCK, &set, NULL);
    signal (SIGPIPE, SIG_IGN);
    return signalfd (-1, &set, SFD_CLOEXEC);
}

static int say_ended (const char *reason, nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_UNAVAILABLE, "%s", reason ? reason : "the node has ended");
}

/*  Asks the actor how it is; -1 and the reason if it could not start, or has ended by now. */
static int check_started (zactor_t *node, nexus_error_t *error)
{
    char *word = NULL, *text = NULL;
    zstr_sendx (node, "STARTED", NULL);
    zstr_recvx (node, &word, &text, NULL);
    int rc = 0;
    if (word && streq (word, "DOWN"))
        rc = say_ended (text, error);
    else if (!word || !streq (word, "OK"))
        rc = nexus_error_set (error, (nexus_code_t)(text ? atoi (text) : NEXUS_IO), "%s",
                              text && strchr (text, ' ') ? strchr (text, ' ') + 1
                                                         : "the node has not started");
    zstr_free (&word);
    zstr_free (&text);
    return rc;
}

static int run_node (options_t *options, zactor_fn *actor)
{
    nexus_error_t error;
    const char *file = options_text (options, "config");
    if (!file) {
        fputs ("nexus: --config FILE is needed: the node's configuration\n", stderr);
        return 64;
    }
    int signals = open_signals ();
    zsys_init ();
    zsys_handler_set (NULL);
    nexus_node_t args = {.config = file};
    zactor_t *node = zactor_new (actor, &args);
    if (check_started (node, &error)) {
        zactor_destroy (&node);
        return command_fail (&error);
    }
    zpoller_t *poller = zpoller_new (node, &signals, NULL);
    int code = 0;
    if (zpoller_wait (poller, -1) == (void *)node) {
        char *word = NULL, *reason = NULL;
        zstr_recvx (node, &word, &reason, NULL);
        say_ended (reason, &error);
        code = command_fail (&error);
        zstr_free (&word);
        zstr_free (&reason);
    }
    zpoller_destroy (&poller);
    zactor_destroy (&node);
    close (signals);
    return code;
}

static int run_master (options_t *options)
{
    return run_node (options, nexus_master);
}

static int run_worker (options_t *options)
{
    return run_node (options, nexus_worker);
}

const command_t command_master = {
    "master",
    "",
    "Run a master",
    "Runs in the foreground until SIGTERM; docs/operations.md shows "
    "a\nconfiguration, docs/reference.md lists its fields.",
    node_options,
    0,
    0,
    run_master,
};

const command_t command_worker = {
    "worker",
    "",
    "Run a worker",
    "Runs in the foreground until SIGTERM; docs/operations.md shows "
    "a\nconfiguration, docs/reference.md lists its fields.",
    node_options,
    0,
    0,
    run_worker,
};
