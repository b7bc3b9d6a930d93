/*  standalone - drives a fuzz target where there is no libFuzzer

        NAME_fuzz [ITERATIONS [SEED]]

    Replays the files of tests/fuzz/corpus/NAME (NAME without _fuzz), then feeds
    seeded mutations of them and random bytes. The same seed gives the same inputs.
    NAME_fuzz FILE replays that one file. */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096, CORPUS_MAX = 1024 };

typedef struct {
    uint8_t *data;
    size_t size;
} input_t;

static input_t corpus[CORPUS_MAX];
static size_t corpus_count;

/*  splitmix64 */
static uint64_t state;
static uint64_t draw (void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below (size_t bound)
{
    return draw () % bound;
}

/*  In memory of exactly its size, so that a sanitizer sees every read behind it. */
static void feed (const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc (size ? size : 1);
    if (!copy)
        abort ();
    memcpy (copy, data, size);
    LLVMFuzzerTestOneInput (copy, size);
    free (copy);
}

static bool load (const char *path, input_t *input)
{
    FILE *file = fopen (path, "rb");
    if (!file)
        return false;
    input->data = malloc (1 << 20);
    input->size = input->data ? fread (input->data, 1, 1 << 20, file) : 0;
    fclose (file);
    return input->data != NULL;
}

/*  The corpus stands beside this file, in a folder by the target's name. */
static void load_corpus (const char *program)
{
    char name[256], folder[1024], source[512];
    snprintf (name, sizeof name, "%s", program);
    char *base = basename (name);
    char *suffix = strstr (base, "_fuzz");
    if (suffix)
        *suffix = 0;
    snprintf (source, sizeof source, "%s", __FILE__);
    snprintf (folder, sizeof folder, "%s/corpus/%s", dirname (source), base);
    struct dirent **entries;
    int count = scandir (folder, &entries, NULL, alphasort); /* in order: same seed, same inputs */
    for (int i = 0; i < count; i++) {
        char path[2048];
        snprintf (path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (*entries[i]->d_name != '.' && corpus_count < CORPUS_MAX &&
            load (path, &corpus[corpus_count]))
            corpus_count++;
        free (entries[i]);
    }
    if (count >= 0)
        free (entries);
}

/*  Mostly a few bytes, at times up to all that is left. */
static size_t piece_size (size_t left)
{
    return 1 + below (left > 8 && below (8) ? 8 : left);
}

/*  One change of what is there; returns the new size. */
static size_t mutate (uint8_t *data, size_t size)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x90, 0xc0, 0xdd, '\n', '"', '{', '['};
    size_t at = size ? below (size) : 0;
    switch (below (7)) {
    case 0: /* flip a bit */
        if (size)
            data[at] ^= (uint8_t)(1u << below (8));
        return size;
    case 1: /* any byte */
        if (size)
            data[at] = (uint8_t)draw ();
        return size;
    case 2: /* a byte at an edge */
        if (size)
            data[at] = edges[below (sizeof edges)];
        return size;
    case 3: /* another number */
        if (size)
            data[at] = (uint8_t)(data[at] + (below (2) ? 1 : -1));
        return size;
    case 4: { /* take out, at times all that is left */
        size_t count = size ? piece_size (size - at) : 0;
        memmove (data + at, data + at + count, size - at - count);
        return size - count;
    }
    case 5: { /* put in a copy of a piece */
        size_t from = size ? below (size) : 0;
        size_t count = size ? piece_size (size - from) : 0;
        uint8_t piece[INPUT_MAX];
        if (size + count > INPUT_MAX)
            return size;
        memcpy (piece, data + from, count);
        memmove (data + at + count, data + at, size - at);
        memcpy (data + at, piece, count);
        return size + count;
    }
    default: /* put in a byte */
        if (size == INPUT_MAX)
            return size;
        memmove (data + at + 1, data + at, size - at);
        data[at] = (uint8_t)draw ();
        return size + 1;
    }
}

static void feed_mutation (void)
{
    uint8_t data[INPUT_MAX];
    size_t size = 0;
    if (corpus_count > 0 && below (8)) {
        const input_t *input = &corpus[below (corpus_count)];
        size = input->size < INPUT_MAX ? input->size : INPUT_MAX;
        memcpy (data, input->data, size);
        for (size_t rounds = below (4) ? 1 + below (2) : 1 + below (8); rounds > 0; rounds--)
            size = mutate (data, size);
    } else {
        size = below (2) ? below (32) : below (INPUT_MAX);
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)draw ();
    }
    feed (data, size);
}

int main (int argc, char **argv)
{
    input_t single;
    char *end = NULL;
    unsigned long iterations = argc > 1 ? strtoul (argv[1], &end, 10) : 20000;
    if (end && *end) {
        if (!load (argv[1], &single)) {
            fprintf (stderr, "%s: %s\n", argv[1], strerror (errno));
            return EXIT_FAILURE;
        }
        feed (single.data, single.size);
        free (single.data);
        return EXIT_SUCCESS;
    }
    state = argc > 2 ? strtoull (argv[2], NULL, 10) : 1;
    printf ("seed %llu, %lu iterations\n", (unsigned long long)state, iterations);
    fflush (stdout);
    load_corpus (argv[0]);
    for (size_t i = 0; i < corpus_count; i++)
        feed (corpus[i].data, corpus[i].size);
    for (unsigned long i = 0; i < iterations; i++)
        feed_mutation ();
    for (size_t i = 0; i < corpus_count; i++)
        free (corpus[i].data);
    printf ("%zu files of the corpus, all well\n", corpus_count);
    return EXIT_SUCCESS;
}
