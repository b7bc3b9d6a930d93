/*  masters_file - who the masters are, as a node's directory remembers it

    A master's DIR/founders says, from its first start on, whom its cluster began with, or
    that it came to a cluster that was there: the configuration file may change later, this
    must not. A worker's DIR/masters holds the masters that it heard of last, so that it
    finds them after a restart, whatever its configuration file says.

    YAML, for people to read; written to another name first, synced, then renamed: there
    whole, or as before.
*/
#pragma once

#include "actors/protocol/cluster.h"
#include "runtime/behaviour.h"

/* clang-format off */
#define MASTERS_FILE(F) \
    F (BOOL, joined, _, .doc = "The node came to a cluster that was there.") \
    F (UINT, index, _, .doc = "Log index of the configuration that the list is from; 0: the configuration file's.") \
    F (RECORDS, masters, master, .max = 96, .doc = "The masters.")
/* clang-format on */
RECORD_DECLARE (masters_file, MASTERS_FILE)

/*  NEXUS_NOT_FOUND: there is none; else it can't be read, or makes no sense. *value's memory is in
   the arena. */
int masters_file_load (const char *path, arena_t *arena, masters_file_t *value,
                       nexus_error_t *error);
/*  Durable when it returns 0. */
int masters_file_save (const char *path, const masters_file_t *value, nexus_error_t *error);

/*  "masters_file": an edge that writes each master_list that it is sent by a local actor to the file. Its
    args are the path. A file that can't be written is complained about, and nothing more: the
    configuration file names masters, too. */
extern const behaviour_t masters_file_behaviour;
