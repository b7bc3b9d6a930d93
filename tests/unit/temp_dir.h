/*  temp_dir - a directory of a test's own, and its removal with all that is in it */
#pragma once

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static inline const char *temp_dir_new (char path[64])
{
    snprintf (path, 64, "/tmp/nexus-test-XXXXXX");
    char *made = mkdtemp (path);
    assert (made);
    return made;
}

static inline int temp_dir_remove_one (const char *path, const struct stat *status, int type,
                                       struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove (path);
}

static inline void temp_dir_remove (const char *path)
{
    nftw (path, temp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
