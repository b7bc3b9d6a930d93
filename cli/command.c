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

bool command_colours (int fd)
{
    const char *no = getenv ("NO_COLOR");
    const char *terminal = getenv ("TERM");
    return isatty (fd) && !(no && *no) && !(terminal && strcmp (terminal, "dumb") == 0);
}
