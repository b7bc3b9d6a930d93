/*  planted - does the simulator find the bugs that are there on purpose?

    In a build with -DNEXUS_PLANTED_BUGS=ON (preset "planted") every bug of
    runtime/planted.h is switched on in turn, and seeds are run until one fails. Prints the
    table of docs/simulation.md. A bug that no seed finds fails the test, and so does a
    seed that fails without one. In other builds it only sees that no bug can be planted.

        planted_test [NAME ...]     only these
*/
#include "actors/simulation/masters.h"
#include "actors/simulation/seeds.h"
#include "runtime/planted.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SOUND_SEEDS = 12, SEEDS_MAX = 2500 };

/*  Odd seeds have five masters, even ones three. */
static unsigned masters_of (uint64_t seed)
{
    return seed % 2 ? 5 : 3;
}

typedef struct {
    uint64_t seeds, seed; /* run; the first that failed, or 0 */
    uint64_t steps;       /* of all */
    char text[200];
} hunt_t;

static int run (void *context, uint64_t seed, void *report, nexus_error_t *error)
{
    (void)context;
    masters_options_t options = {.seed = seed, .masters = masters_of (seed)};
    return masters_run (&options, report, error);
}

static void ended (void *context, uint64_t seed, const void *report, const char *error)
{
    hunt_t *hunt = context;
    hunt->seeds++;
    hunt->steps += ((const masters_report_t *)report)->steps;
    if (!error || (hunt->seed && hunt->seed < seed))
        return;
    hunt->seed = seed;
    snprintf (hunt->text, sizeof hunt->text, "%s", error);
}

static void hunt (uint64_t seeds_max, hunt_t *ret_hunt)
{
    nexus_error_t error;
    *ret_hunt = (hunt_t){0};
    seeds_t seeds = {.first = 1,
                     .last = seeds_max,
                     .report_size = sizeof (masters_report_t),
                     .until_failed = true,
                     .run = run,
                     .ended = ended,
                     .context = ret_hunt};
    if (seeds_run (&seeds, &error)) {
        fprintf (stderr, "%s\n", error.text);
        exit (1);
    }
}

/*  What broke, without where: "step 12, 3.4 s: m1 ..." begins with that. */
static const char *what (const char *text)
{
    const char *colon = strstr (text, " s: ");
    return colon ? colon + 4 : text;
}

/*  1 if it was not found. */
static int find (planted_t id)
{
    const planted_bug_t *bug = planted_bug (id);
    struct timespec begin, end;
    hunt_t found;
    clock_gettime (CLOCK_MONOTONIC, &begin);
    planted_plant (bug->name, NULL);
    hunt (SEEDS_MAX, &found);
    planted_plant (NULL, NULL);
    clock_gettime (CLOCK_MONOTONIC, &end);
    printf ("| `%s` | %s | ", bug->name, bug->doc);
    if (found.seed)
        printf ("%" PRIu64 ", of %u masters", found.seed, masters_of (found.seed));
    else
        printf ("not found in %d", SEEDS_MAX);
    printf (" | %" PRIu64 " | %.1f s | %s |\n", found.steps,
            (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9,
            what (found.text));
    fflush (stdout);
    return found.seed == 0;
}

static bool is_wanted (const char *name, int argc, char **argv)
{
    bool wanted = argc < 2;
    for (int i = 1; i < argc; i++)
        wanted |= strcmp (argv[i], name) == 0;
    return wanted;
}

static int try_all (int argc, char **argv)
{
    hunt_t sound;
    int missed = 0;
    hunt (SOUND_SEEDS, &sound);
    if (sound.seed) {
        printf ("seed %" PRIu64 " fails without any planted bug: %s\n", sound.seed, sound.text);
        return 1;
    }
    printf ("| bug | what it does | found by seed | steps | time | what broke |\n"
            "| --- | --- | --- | --- | --- | --- |\n");
    for (planted_t id = PLANTED_NONE + 1; id < PLANTED_COUNT; id++)
        if (is_wanted (planted_bug (id)->name, argc, argv))
            missed += find (id);
    if (missed)
        printf ("%d planted bugs were not found\n", missed);
    return missed ? 1 : 0;
}

int main (int argc, char **argv)
{
    nexus_error_t error;
    if (planted_plant (planted_bug (PLANTED_NONE + 1)->name, &error)) {
        printf ("nothing to find: %s\n", error.text);
        return error.code == NEXUS_INVALID && !strstr (error.text, "configure") ? 1 : 0;
    }
    planted_plant (NULL, NULL);
    return try_all (argc, argv);
}
