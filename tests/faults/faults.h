/*  faults - a library between a program and its disk, which does what bad disks do

    Preloaded (LD_PRELOAD=libnexus_faults.so) or linked in front of everything
    else, it stands between the program (LMDB included) and the C library's write,
    pwrite, writev, pwritev, fsync, fdatasync, ftruncate and posix_fallocate; counts
    them per file; and makes chosen ones fail. What is read through a map can't
    be reached from here: rot is made by altering the file.

    Rules, one a line; the first that matches decides:

        PATTERN CALL FAULT [after=N] [times=N]

    PATTERN  of the file's path, as fnmatch(3) has it without FNM_PATHNAME: * matches a / too
    CALL     write, flush (fsync, fdatasync) or grow (ftruncate, posix_fallocate)
    FAULT    eio, enospc  the call fails
             short        half of the bytes are written, and the call says so
             lose         nothing is done, and the call claims success
             kill         the process ends by SIGKILL before the call
             torn         the first half of the bytes is written, then as kill
             power        as kill, and what was not flushed is lost: see below
             stall=MS     the call is done, after so many milliseconds
    after=N  the first N calls that match are let through
    times=N  then so many are hit; all, if it is not given

    A process gets its rules from the file that the environment variable NEXUS_FAULTS
    names, and reads them again whenever the file changes (replace it by rename); or
    from faults_set. Each fault is told on stderr: "faults: eio: flush of PATH". If
    NEXUS_FAULTS_REPORT names a file, a process that ends by itself appends its counts to it.

    Power loss: for files that match faults_watch (or NEXUS_FAULTS_WATCH), what each
    512-byte sector held before is kept until the file's next flush. A power loss gives each
    sector that was written since then one of the contents that it had since, at random
    (NEXUS_FAULTS_SEED), as a disk with a cache may. Writes through O_DSYNC
    descriptors count as flushed at once. Such files are never really flushed: that
    saves the time.
*/
#pragma once

#include <stdint.h>

/*  NULL: none. Rules that make no sense end the process. */
void faults_set (const char *rules);
/*  A pattern; NULL: none. Forgets what it kept so far. */
void faults_watch (const char *pattern);
void faults_seed (uint64_t seed);
/*  Loses what was not flushed, and kills the process. */
void faults_power_loss (void) __attribute__ ((noreturn));

/*  Calls since the start or faults_clear, for files that match pattern. call: write, flush, grow.
    Writes through O_DSYNC descriptors are counted as writes, and as dsync. */
uint64_t faults_count (const char *pattern, const char *call);
void faults_clear (void);
