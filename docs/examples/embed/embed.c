/*  embed - a whole cluster inside one program

    Starts a master and a worker as CZMQ actors, lets the worker join with a
    token, submits a job, waits for it, prints what it wrote, and ends cleanly.

        cc embed.c $(pkg-config --cflags --libs nexus libczmq) -o embed && ./embed

    Everything is kept in a directory that is made for it (argument 1, or a
    temporary one that is removed at the end).
*/
#include <nexus.h>

#include <czmq.h>

static char directory[4096];

static void fail (const char *what, const char *why)
{
    fprintf (stderr, "embed: %s: %s\n", what, why);
    exit (1);
}

/*  Sends a command of up to three parts and returns the answer's text, to be freed. */
static char *ask (zactor_t *node, const char *command, const char *first, const char *second)
{
    char *word = NULL, *text = NULL;
    zstr_sendx (node, command, first, second, NULL);
    zstr_recvx (node, &word, &text, NULL);
    if (!word || strcmp (word, "OK"))
        fail (command, text ? text : "the node is gone");
    zstr_free (&word);
    return text;
}

static char *path_of (const char *name)
{
    return zsys_sprintf ("%s/%s", directory, name);
}

static zactor_t *start_master (char key[65])
{
    nexus_error_t error;
    char *dir = path_of ("master"), *key_file = path_of ("master/node.key");
    char *root_file = path_of ("root.key");
    zsys_dir_create ("%s", dir);
    if (nexus_root_file (root_file, &error) || nexus_key_file (key_file, key, &error))
        fail ("keys", error.text);
    char *text = zsys_sprintf ("name: m1\n"
                               "dir: %s\n"
                               "bind: tcp://127.0.0.1:17400\n"
                               "root: %s\n"
                               "api: {port: 17443}\n"
                               "log: {level: error}\n"
                               "masters:\n"
                               "  - {name: m1, key: %s, endpoint: \"tcp://127.0.0.1:17400\"}\n",
                               dir, root_file, key);
    nexus_node_t node = {.text = text};
    zactor_t *master = zactor_new (nexus_master, &node);
    zstr_free (&text);
    zstr_free (&dir);
    zstr_free (&key_file);
    zstr_free (&root_file);
    return master;
}

static zactor_t *start_worker (zactor_t *master, const char *master_key)
{
    char *dir = path_of ("worker"), *token_file = path_of ("token");
    char *token = ask (master, "TOKEN", "home", "1");
    FILE *file = fopen (token_file, "w");
    if (!file || fputs (token, file) < 0 || fclose (file))
        fail (token_file, strerror (errno));
    char *text = zsys_sprintf ("name: w1\n"
                               "site: home\n"
                               "dir: %s\n"
                               "token: %s\n"
                               "log: {level: error}\n"
                               "masters:\n"
                               "  - {name: m1, key: %s, endpoint: \"tcp://127.0.0.1:17400\"}\n",
                               dir, token_file, master_key);
    nexus_node_t node = {.text = text};
    zactor_t *worker = zactor_new (nexus_worker, &node);
    free (ask (worker, "STATUS", NULL, NULL)); /* says why if it could not start */
    zstr_free (&text);
    zstr_free (&token);
    zstr_free (&dir);
    zstr_free (&token_file);
    return worker;
}

int main (int argc, char *argv[])
{
    bool temporary = argc < 2;
    snprintf (directory, sizeof (directory), "%s", temporary ? "/tmp/nexus-embed-XXXXXX" : argv[1]);
    if (temporary && !mkdtemp (directory))
        fail (directory, strerror (errno));
    zsys_init ();

    char key[65];
    zactor_t *master = start_master (key);
    zactor_t *worker = start_worker (master, key);
    char *job = ask (master, "SUBMIT",
                     "name: hello\n"
                     "command: [sh, -c, \"echo Hello from rank $RANK of job $NEXUS_JOB_ID\"]\n",
                     NULL);
    char *phase = ask (master, "WAIT", job, "30000");
    char *output = ask (master, "LOGS", job, "0");
    printf ("%s %s: %s", job, phase, output);
    int status = strcmp (phase, "succeeded") != 0;
    zstr_free (&job);
    zstr_free (&phase);
    zstr_free (&output);

    zactor_destroy (&worker);
    zactor_destroy (&master);
    if (temporary) {
        zdir_t *dir = zdir_new (directory, NULL);
        zdir_remove (dir, true);
        zdir_destroy (&dir);
        rmdir (directory);
    }
    return status;
}
