/*  command - what all commands share */
#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int command_fail (const nexus_error_t *error)
{
    fprintf (stderr, "nexus: %s\n", error->text);
    return nexus_code_exit (error->code);
}

int command_fail_input (const nexus_error_t *error)
{
    int code = command_fail (error);
    return error->code == NEXUS_CORRUPT ? nexus_code_exit (NEXUS_INVALID) : code;
}

bool command_colours (int fd)
{
    const char *no = getenv ("NO_COLOR");
    const char *terminal = getenv ("TERM");
    return isatty (fd) && !(no && *no) && !(terminal && strcmp (terminal, "dumb") == 0);
}
