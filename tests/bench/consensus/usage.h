/*  usage - what processes and the disk have used, as the kernel counts it */
#pragma once

#include <stdint.h>
#include <sys/types.h>

typedef struct {
    uint64_t flushes, writes, bytes; /* of the disk: cache flushes, write requests, bytes written */
} usage_disk_t;

/*  The whole disk that holds path. -1 if the kernel does not tell (tmpfs, overlays of it). */
int usage_disk (const char *path, usage_disk_t *ret_disk);

typedef struct {
    uint64_t resident, anonymous; /* bytes: with mapped files and shared memory; without */
    double cpu_seconds;
} usage_process_t;

/*  All zero if there is no such process. */
void usage_process (pid_t pid, usage_process_t *ret_process);
