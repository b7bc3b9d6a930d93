/*  main - the nexus command: finds the command, checks its arguments, runs it */
#include "cli/command.h"
#include "nexus_version.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static int run_version (options_t *options);

static const option_t version_options[] = {{0}};
static const command_t command_version = {"version", "", "Print the version", NULL, version_options,
                                          0,         0,  run_version};

const command_t *const commands[] = {
    &command_up,
    &command_down,
    &command_master,
    &command_worker,
    &command_key,
    &command_root,
    &command_token,
    &command_status,
    &command_job_submit,
    &command_job_list,
    &command_job_show,
    &command_job_watch,
    &command_job_logs,
    &command_job_metrics,
    &command_job_stop,
    &command_master_list,
    &command_master_add,
    &command_master_promote,
    &command_master_remove,
    &command_master_transfer,
    &command_worker_list,
    &command_worker_drain,
    &command_worker_undrain,
    &command_worker_remove,
    &command_kv_put,
    &command_kv_get,
    &command_kv_delete,
    &command_kv_list,
    &command_backup,
    &command_restore,
    &command_simulate,
    &command_check_history,
    &command_version,
    &command_reference,
};
enum { COMMANDS = sizeof (commands) / sizeof (commands[0]) };
const size_t commands_count = COMMANDS;

static int run_version (options_t *options)
{
    (void)options;
    printf ("nexus %s (%s)\n", NEXUS_VERSION, NEXUS_COMMIT);
    return 0;
}

/*  ---- help ------------------------------------------------------------------------ */

static void print_list (FILE *file, const char *group)
{
    size_t size = strlen (group);
    for (size_t i = 0; i < COMMANDS; i++) {
        char left[64];
        if (size &&
            (strncmp (commands[i]->name, group, size) != 0 || commands[i]->name[size] != ' '))
            continue;
        snprintf (left, sizeof (left), "%s %s", commands[i]->name, commands[i]->arguments);
        fprintf (file, "  %-24s %s\n", left, commands[i]->summary);
    }
}

static void print_help (FILE *file)
{
    fputs ("Nexus turns scattered machines into one training cluster.\n\n"
           "Usage: nexus COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n",
           file);
    print_list (file, "");
    fputs ("\nnexus COMMAND --help says more about a command.\n", file);
}

static void print_command_help (const command_t *command, FILE *file)
{
    fprintf (file, "%s.\n\nUsage: nexus %s [OPTIONS]%s%s\n", command->summary, command->name,
             *command->arguments ? " " : "", command->arguments);
    if (command->details)
        fprintf (file, "\n%s\n", command->details);
    fputs ("\nOptions:\n", file);
    options_print (command->options, file);
}

/*  ---- finding ---------------------------------------------------------------------- */

/*  How many words of argv name the command; 0: they don't. */
static int matches (const command_t *command, int argc, char **argv)
{
    const char *name = command->name;
    for (int words = 0; words < argc; words++) {
        size_t size = strcspn (name, " ");
        if (strlen (argv[words]) != size || strncmp (name, argv[words], size) != 0)
            return 0;
        if (!name[size])
            return words + 1;
        name += size + 1;
    }
    return 0;
}

static const command_t *find_command (int argc, char **argv, int *ret_words)
{
    const command_t *found = NULL;
    *ret_words = 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        int words = matches (commands[i], argc, argv);
        if (words > *ret_words) {
            found = commands[i];
            *ret_words = words;
        }
    }
    return found;
}

static bool is_group (const char *word)
{
    size_t size = strlen (word);
    for (size_t i = 0; i < COMMANDS; i++)
        if (strncmp (commands[i]->name, word, size) == 0 && commands[i]->name[size] == ' ')
            return true;
    return false;
}

static int unknown_command (int argc, char **argv)
{
    char words[100];
    const char *nearest = NULL;
    size_t best = 4;
    bool group = is_group (argv[0]);
    bool second = group && argc > 1 && argv[1][0] != '-';
    snprintf (words, sizeof (words), "%s%s%s", argv[0], second ? " " : "", second ? argv[1] : "");
    if (group && !second) {
        bool help = argc > 1 && (!strcmp (argv[1], "--help") || !strcmp (argv[1], "-h"));
        fprintf (help ? stdout : stderr,
                 "Usage: nexus %s COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n", argv[0]);
        print_list (help ? stdout : stderr, argv[0]);
        return help ? 0 : EX_USAGE;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t distance = edit_distance (words, commands[i]->name);
        if (distance < best) {
            best = distance;
            nearest = commands[i]->name;
        }
    }
    fprintf (stderr, "nexus: there is no command \"%s\"", words);
    if (nearest)
        fprintf (stderr, "; did you mean \"nexus %s\"?", nearest);
    fputs (nearest ? "\n" : "; nexus --help lists them\n", stderr);
    return EX_USAGE;
}

static int run_command (const command_t *command, int argc, char **argv)
{
    nexus_error_t error;
    options_t *options = options_parse (command->options, argc, argv, &error);
    int rc = EX_USAGE;
    if (!options) {
        fprintf (stderr, "nexus %s: %s\n", command->name, error.text);
    } else if (options_help (options)) {
        print_command_help (command, stdout);
        rc = 0;
    } else if (options_count (options) < command->arguments_min ||
               options_count (options) > command->arguments_max) {
        fprintf (stderr, "nexus %s: it takes %s%s; usage: nexus %s [OPTIONS]%s%s\n", command->name,
                 *command->arguments ? "" : "no arguments", command->arguments, command->name,
                 *command->arguments ? " " : "", command->arguments);
    } else {
        rc = command->run (options);
        if (fflush (stdout) && rc == 0) {
            perror ("nexus: standard output");
            rc = EX_IOERR;
        }
    }
    options_destroy (&options);
    return rc;
}

int main (int argc, char **argv)
{
    int words;
    if (argc < 2) {
        print_help (stderr);
        return EX_USAGE;
    }
    if (!strcmp (argv[1], "--help") || !strcmp (argv[1], "-h") || !strcmp (argv[1], "help")) {
        print_help (stdout);
        return 0;
    }
    if (!strcmp (argv[1], "--version"))
        return run_version (NULL);
    const command_t *command = find_command (argc - 1, argv + 1, &words);
    /*  "master" is a command, and a group: another word behind it is no argument of the former. */
    bool word = argc > 1 + words && argv[1 + words][0] != '-';
    if (!command || (word && !command->arguments_max && is_group (argv[1]) && words == 1))
        return unknown_command (argc - 1, argv + 1);
    return run_command (command, argc - 1 - words, argv + 1 + words);
}
