/*  command - the table of the nexus command's commands

    A command is one of these, in a file of its own, and one line in main.c's
    table. From it come dispatch, --help, and the check of its arguments. A name of two
    words ("job submit") is a command of a group; of two names that begin alike the
    longer wins.
*/
#pragma once

#include "cli/options.h"

typedef struct {
    const char *name;      /* "job submit" */
    const char *arguments; /* "FILE"; "" if it takes none */
    const char *summary;   /* one line */
    const char *details;   /* more help, lines of at most 78 columns; or NULL */
    const option_t *options;
    size_t arguments_min, arguments_max;
    /*  Returns the exit code; errors have been printed. */
    int (*run) (options_t *options);
} command_t;

extern const command_t command_up;
extern const command_t command_down;
extern const command_t command_master;
extern const command_t command_worker;
extern const command_t command_master_list;
extern const command_t command_master_add;
extern const command_t command_master_promote;
extern const command_t command_master_remove;
extern const command_t command_master_transfer;
extern const command_t command_key;
extern const command_t command_root;
extern const command_t command_token;
extern const command_t command_status;
extern const command_t command_job_submit;
extern const command_t command_job_list;
extern const command_t command_job_show;
extern const command_t command_job_watch;
extern const command_t command_job_logs;
extern const command_t command_job_metrics;
extern const command_t command_job_stop;
extern const command_t command_worker_list;
extern const command_t command_worker_drain;
extern const command_t command_worker_undrain;
extern const command_t command_worker_remove;
extern const command_t command_kv_put;
extern const command_t command_kv_get;
extern const command_t command_kv_delete;
extern const command_t command_kv_list;
extern const command_t command_backup;
extern const command_t command_restore;
extern const command_t command_reference;
extern const command_t command_simulate;
extern const command_t command_check_history;

/*  main.c's table, in the order of --help. */
extern const command_t *const commands[];
extern const size_t commands_count;

/*  Prints "nexus: TEXT" on stderr and returns the error's exit code (sysexits). */
int command_fail (const nexus_error_t *error);
/*  The same for a file that the user named: what is damaged in it is his input, not our fault. */
int command_fail_input (const nexus_error_t *error);

/*  Colours are welcome: a terminal, and NO_COLOR (no-color.org) is not set. */
bool command_colours (int fd);

/*  Exit codes of a job's own outcome. */
enum {
    EXIT_JOB_SUCCEEDED = 0,
    EXIT_JOB_FAILED = 1,
    EXIT_JOB_NOT_PLACED = 2, /* accepted, but it still waits for room */
    EXIT_JOB_CANCELLED = 3,
    EXIT_JOB_TIMED_OUT = 4
};
