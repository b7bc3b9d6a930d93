#include "storage/file_error.h"

#include <errno.h>
#include <string.h>

int file_error (const char *path, const char *doing, int code, nexus_error_t *error)
{
    nexus_code_t kind = NEXUS_IO;
    const char *advice = "check the disk and the system's log";
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        kind = NEXUS_EXHAUSTED;
        advice = "make room on that file system or raise the quota";
        break;
    case EMFILE:
    case ENFILE:
        kind = NEXUS_EXHAUSTED;
        advice = "allow more open files (ulimit -n)";
        break;
    case ENOMEM:
        kind = NEXUS_EXHAUSTED;
        advice = "give the process more memory and address space (ulimit -v)";
        break;
    case EACCES:
    case EPERM:
        kind = NEXUS_DENIED;
        advice = "let this user read and write there";
        break;
    case EROFS:
        kind = NEXUS_DENIED;
        advice = "that file system is mounted read-only: remount it or choose another directory";
        break;
    case ENOENT:
        kind = NEXUS_NOT_FOUND;
        advice = "check its name; what is to be made needs its parent directory first";
        break;
    case ENOTDIR:
        kind = NEXUS_INVALID;
        advice = "a part of the path is not a directory";
        break;
    }
    return nexus_error_set (error, kind, "%.300s: can't %s: %s; %s", path, doing, strerror (code),
                            advice);
}
