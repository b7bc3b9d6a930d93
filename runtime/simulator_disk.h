/*  simulator_disk - a disk that forgets, over virtual time

    Numbered records of bytes, as a log store wants them. Writes go to the open
    commit; sim_disk_commit closes it and starts its flush. All of it is readable
    at once, but nothing of it is durable until the flush is over: a crash keeps
    the first of the unfinished commits, in order, loses the others, and may
    leave a torn write (its head, then zeroes) of the first lost one; but what lay
    there before is then still there, as in a store that copies on write.

    Whoever acknowledges a commit before its flush is over will be found out by
    a crash:

        sim_disk_write (disk, index, bytes, size);
        int64_t wait_ns = sim_disk_commit (disk);
        context_after (ctx, wait_ns, index);         // acknowledge in the timer

    Flushes of one disk end in their order. One thread; times are nanoseconds of
    the simulation. Out of memory ends the process.
*/
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sim_disk sim_disk_t;

typedef struct {
    double flush_ms;      /* a flush takes from half to one and a half of this */
    double stall;         /* share of flushes that take a hundred times as long */
    double unsynced_lost; /* chance that a crash loses an unfinished commit, and all after it */
    double tear;          /* chance that a crash tears the first lost write */
    double write_fault;   /* chance that a commit fails */
} sim_disk_config_t;

/*  now is the simulation's clock, borrowed. */
sim_disk_t *sim_disk_new (const int64_t *now, uint64_t seed, const sim_disk_config_t *config);
void sim_disk_destroy (sim_disk_t **self_p);
void sim_disk_configure (sim_disk_t *self, const sim_disk_config_t *config);

/*  Puts a record under a key, over an older one. data is copied. */
void sim_disk_write (sim_disk_t *self, uint64_t key, const void *data, size_t size);
/*  Removes the records from first to last, both included. */
void sim_disk_erase (sim_disk_t *self, uint64_t first, uint64_t last);
/*  Ends the commit; returns how long its flush takes from now. -1: it failed; what of it the disk
    has, only the crash will show that has to follow. */
int64_t sim_disk_commit (sim_disk_t *self);
/*  All commits are durable at once: of one who starts, and waits for it before anything else. */
void sim_disk_sync (sim_disk_t *self);

/*  The record of that key, durable or not; false if there is none. Borrowed
    until the disk's next write, erase or crash. */
bool sim_disk_read (const sim_disk_t *self, uint64_t key, const uint8_t **ret_data,
                    size_t *ret_size);
/*  The first key from key on; false if there is none. */
bool sim_disk_next (const sim_disk_t *self, uint64_t key, uint64_t *ret_key);
/*  As sim_disk_read, of what a crash now could not lose. */
bool sim_disk_read_durable (sim_disk_t *self, uint64_t key, const uint8_t **ret_data,
                            size_t *ret_size);

/*  Loses what a crash loses. */
void sim_disk_crash (sim_disk_t *self);
/*  Flips a bit of a stored record; false if there is none of that key. */
bool sim_disk_rot (sim_disk_t *self, uint64_t key);
/*  Replaces the disk by an empty one. Of a node that is down. */
void sim_disk_wipe (sim_disk_t *self);
