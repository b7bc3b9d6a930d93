/*  planted - the table of the planted bugs: see the header */
#include "runtime/planted.h"

#include <string.h>

#define PLANTED_BUG(id, name, doc, where) {name, doc, where},
static const planted_bug_t bugs[PLANTED_COUNT] = {{0}, PLANTED_BUGS (PLANTED_BUG)};

#ifdef NEXUS_PLANTED_BUGS
planted_t planted_now;
#endif

const planted_bug_t *planted_bug (planted_t bug)
{
    return &bugs[bug];
}

static void switch_on (planted_t bug)
{
#ifdef NEXUS_PLANTED_BUGS
    planted_now = bug;
#else
    (void)bug;
#endif
}

int planted_plant (const char *name, nexus_error_t *error)
{
    planted_t bug = PLANTED_NONE + 1;
    if (!name || !*name) {
        switch_on (PLANTED_NONE);
        return 0;
    }
#ifndef NEXUS_PLANTED_BUGS
    return nexus_error_set (error, NEXUS_INVALID,
                            "no bug \"%s\": this build has no planted bugs; configure one with "
                            "-DNEXUS_PLANTED_BUGS=ON",
                            name);
#endif
    while (bug < PLANTED_COUNT && strcmp (bugs[bug].name, name) != 0)
        bug++;
    if (bug == PLANTED_COUNT)
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "there is no planted bug \"%s\": runtime/planted.h lists them",
                                name);
    switch_on (bug);
    return 0;
}

const char *planted_name (void)
{
#ifdef NEXUS_PLANTED_BUGS
    return bugs[planted_now].name;
#else
    return NULL;
#endif
}
