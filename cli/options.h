/*  options - a command's options and arguments, from one table

    A value comes from the command line, else from the environment, else from a
    file (whoever reads that calls options_fill), else from the table's default.

        static const option_t table[] = {
            { "rank", 'r', "N", .def = "0", .doc = "Which rank." },
            { "follow", 'f', NULL, .doc = "Wait for more." },
            { 0 } };

    --name VALUE, --name=VALUE, -r VALUE, -rVALUE; options and arguments may
    mix; -- ends the options. --help is known to every table.
*/
#pragma once

#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *name;           /* without the dashes; NULL ends the table */
    char letter;                /* 0: none */
    const char *argument;       /* "FILE"; NULL: a flag */
    const char *environment[2]; /* asked in this order */
    const char *def;
    const char *doc;
} option_t;

typedef enum {
    OPTION_UNSET,
    OPTION_DEFAULT,
    OPTION_FILE,
    OPTION_ENVIRONMENT,
    OPTION_COMMAND_LINE
} option_source_t;

typedef struct options options_t;

/*  argv holds what stands behind the command's words, and outlives the result. NULL
    with an error that names the option, and the nearest one that exists. */
options_t *options_parse (const option_t *table, int argc, char **argv, nexus_error_t *error);
void options_destroy (options_t **self_p);

/*  All of these assert that the table has the option. */
const char *options_text (const options_t *self, const char *name); /* NULL: unset */
bool options_flag (const options_t *self, const char *name);
option_source_t options_source (const options_t *self, const char *name);
/*  -1 if it is no number from min to max. */
int options_number (const options_t *self, const char *name, uint64_t min, uint64_t max,
                    uint64_t *ret_value, nexus_error_t *error);
/*  A file's value (copied): ranks above the default only. */
void options_fill (options_t *self, const char *name, const char *value);

bool options_help (const options_t *self); /* --help was given */

size_t options_count (const options_t *self);
/*  The arguments that are no options; NULL past the last. */
const char *options_argument (const options_t *self, size_t i);

/*  Prints the table, aligned. */
void options_print (const option_t *table, void *file);

/*  How many letters must change to make one word of the other: for "did you mean". */
size_t edit_distance (const char *a, const char *b);
