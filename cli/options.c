/*  options - a command's options and arguments, from one table */
#include "cli/options.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, WORD_MAX = 40 };

typedef struct {
    const char *value;
    char *own; /* a value that was filled in */
    option_source_t source;
} setting_t;

struct options {
    const option_t *table;
    setting_t settings[OPTIONS_MAX];
    bool help;
    size_t count;
    const char *arguments[]; /* argc of them */
};

static size_t table_size (const option_t *table)
{
    size_t size = 0;
    while (table[size].name)
        size++;
    assert (size <= OPTIONS_MAX);
    return size;
}

static setting_t *find (const options_t *self, const char *name)
{
    size_t i = 0;
    while (self->table[i].name && strcmp (self->table[i].name, name) != 0)
        i++;
    assert (self->table[i].name);
    return (setting_t *)&self->settings[i];
}

/*  Levenshtein's, on the first WORD_MAX letters. */
size_t edit_distance (const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t width = strnlen (b, WORD_MAX), height = strnlen (a, WORD_MAX);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; i <= height; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[width];
}

/*  ---- parsing -------------------------------------------------------------- */

static int unknown (const option_t *table, const char *word, size_t size, nexus_error_t *error)
{
    char name[WORD_MAX];
    const char *nearest = NULL;
    size_t best = 3;
    snprintf (name, sizeof (name), "%.*s", (int)size, word);
    for (const option_t *option = table; option->name; option++) {
        size_t distance = edit_distance (name, option->name);
        if (distance < best) {
            best = distance;
            nearest = option->name;
        }
    }
    return nexus_error_set (error, NEXUS_INVALID, "there is no option --%s%s%s%s", name,
                            nearest ? "; did you mean --" : "", nearest ? nearest : "",
                            nearest ? "?" : "");
}

/*  The position of the option in the table, or -1. */
static int find_long (const option_t *table, const char *name, size_t size)
{
    for (int i = 0; table[i].name; i++)
        if (strlen (table[i].name) == size && memcmp (table[i].name, name, size) == 0)
            return i;
    return -1;
}

static int find_letter (const option_t *table, char letter)
{
    for (int i = 0; table[i].name; i++)
        if (table[i].letter == letter)
            return i;
    return -1;
}

/*  Takes one word that begins with a dash, and perhaps the one behind it: the number of words, or
 * -1. */
static int parse_option (options_t *self, int argc, char **argv, nexus_error_t *error)
{
    const char *word = argv[0], *value = NULL;
    int at;
    if (strcmp (word, "--help") == 0 || strcmp (word, "-h") == 0) {
        self->help = true;
        return 1;
    }
    if (word[1] == '-') {
        size_t size = strcspn (word + 2, "=");
        at = find_long (self->table, word + 2, size);
        if (at < 0)
            return unknown (self->table, word + 2, size, error);
        value = word[2 + size] ? word + 2 + size + 1 : NULL;
    } else {
        at = find_letter (self->table, word[1]);
        if (at < 0)
            return nexus_error_set (error, NEXUS_INVALID, "there is no option -%c", word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    const option_t *option = &self->table[at];
    int words = 1;
    if (!option->argument && value)
        return nexus_error_set (error, NEXUS_INVALID, "--%s takes no value", option->name);
    if (option->argument && !value) {
        if (argc < 2)
            return nexus_error_set (error, NEXUS_INVALID, "--%s needs a value: --%s %s",
                                    option->name, option->name, option->argument);
        value = argv[1];
        words = 2;
    }
    self->settings[at].value = option->argument ? value : "true";
    self->settings[at].source = OPTION_COMMAND_LINE;
    return words;
}

static void set_defaults (options_t *self)
{
    for (size_t i = 0; self->table[i].name; i++) {
        setting_t *setting = &self->settings[i];
        if (self->table[i].def)
            *setting = (setting_t){self->table[i].def, NULL, OPTION_DEFAULT};
        for (size_t j = 2; j-- > 0;) {
            const char *name = self->table[i].environment[j];
            const char *value = name ? getenv (name) : NULL;
            if (value && *value)
                *setting = (setting_t){value, NULL, OPTION_ENVIRONMENT};
        }
    }
}

options_t *options_parse (const option_t *table, int argc, char **argv, nexus_error_t *error)
{
    (void)table_size (table);
    options_t *self = calloc (1, sizeof (*self) + ((size_t)argc + 1) * sizeof (char *));
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->table = table;
    set_defaults (self);
    bool more = true;
    for (int i = 0; i < argc;) {
        int words = 1;
        if (more && strcmp (argv[i], "--") == 0)
            more = false;
        else if (more && argv[i][0] == '-' && argv[i][1])
            words = parse_option (self, argc - i, argv + i, error);
        else
            self->arguments[self->count++] = argv[i];
        if (words < 0) {
            options_destroy (&self);
            return NULL;
        }
        i += words;
    }
    return self;
}

void options_destroy (options_t **self_p)
{
    options_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < OPTIONS_MAX; i++)
        free (self->settings[i].own);
    free (self);
    *self_p = NULL;
}

/*  ---- asking ----------------------------------------------------------------- */

const char *options_text (const options_t *self, const char *name)
{
    return find (self, name)->value;
}

bool options_flag (const options_t *self, const char *name)
{
    const char *value = find (self, name)->value;
    return value && *value && strcmp (value, "0") != 0 && strcmp (value, "false") != 0;
}

option_source_t options_source (const options_t *self, const char *name)
{
    return find (self, name)->source;
}

int options_number (const options_t *self, const char *name, uint64_t min, uint64_t max,
                    uint64_t *ret_value, nexus_error_t *error)
{
    const char *text = find (self, name)->value;
    size_t digits = text ? strspn (text, "0123456789") : 0;
    uint64_t value = digits && digits <= 18 && !text[digits] ? strtoull (text, NULL, 10) : max;
    if (!digits || digits > 18 || text[digits] || value < min || value > max)
        return nexus_error_set (error, NEXUS_INVALID,
                                "--%s: expected a number from %llu to %llu, found \"%s\"", name,
                                (unsigned long long)min, (unsigned long long)max, text ? text : "");
    *ret_value = value;
    return 0;
}

void options_fill (options_t *self, const char *name, const char *value)
{
    setting_t *setting = find (self, name);
    if (setting->source > OPTION_FILE || !value || !*value)
        return;
    free (setting->own);
    setting->own = strdup (value);
    setting->value = setting->own;
    setting->source = OPTION_FILE;
}

bool options_help (const options_t *self)
{
    return self->help;
}

size_t options_count (const options_t *self)
{
    return self->count;
}

const char *options_argument (const options_t *self, size_t i)
{
    return i < self->count ? self->arguments[i] : NULL;
}

void options_print (const option_t *table, void *file)
{
    FILE *out = file;
    for (const option_t *option = table; option->name; option++) {
        char left[64], letter[8] = "    ";
        if (option->letter)
            snprintf (letter, sizeof (letter), "-%c, ", option->letter);
        snprintf (left, sizeof (left), "%s--%s%s%s", letter, option->name,
                  option->argument ? " " : "", option->argument ? option->argument : "");
        fprintf (out, "  %-28s %s", left, option->doc);
        if (option->def && *option->def)
            fprintf (out, " Default: %s.", option->def);
        if (option->environment[0])
            fprintf (out, " [%s%s%s]", option->environment[0], option->environment[1] ? ", " : "",
                     option->environment[1] ? option->environment[1] : "");
        fputc ('\n', out);
    }
    fprintf (out, "  %-28s %s\n", "-h, --help", "Show this.");
}
