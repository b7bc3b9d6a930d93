/*  nexus_error.h - how the public functions of Nexus say what went wrong

    Installed beside nexus.h, which includes it. Inside the project include
    runtime/error.h.
*/
#ifndef NEXUS_ERROR_H
#define NEXUS_ERROR_H

#define NEXUS_EXPORT __attribute__ ((visibility ("default")))

typedef enum {
    NEXUS_OK = 0,
    NEXUS_INVALID,     /* the input is wrong and will stay wrong */
    NEXUS_NOT_FOUND,   /* no such job, worker, file, table ... */
    NEXUS_EXISTS,      /* it is there already */
    NEXUS_DENIED,      /* the caller's key, token or role does not allow it */
    NEXUS_CONFLICT,    /* somebody else was faster: read again, then retry */
    NEXUS_EXHAUSTED,   /* a limit is reached: memory, disk, queue, quota */
    NEXUS_UNAVAILABLE, /* no leader, no connection, shutting down: retry later */
    NEXUS_DEADLINE,    /* the deadline passed; the outcome is unknown */
    NEXUS_CORRUPT,     /* stored bytes are not what was written */
    NEXUS_IO,          /* the operating system refused; the text has errno's words */
    NEXUS_CANCELLED,   /* somebody asked for it to stop */
    NEXUS_CODES
} nexus_code_t;

typedef struct {
    nexus_code_t code;
    char text[500]; /* what was wrong, where, what to do */
} nexus_error_t;
#endif
