/*  simulator_profile - how bad it gets

    Swarm ranges after TigerBeetle's simulator (VOPR): every seed draws its own
    world from them, from an almost quiet one to one where little works. Which faults
    there are at all is drawn as well (the third number is the chance of none): what
    hides behind many faults shows when some are missing (Groce et al.: Swarm Testing).
*/
#include "runtime/simulator.h"

#include <string.h>

/* clang-format off */
static const simulator_profile_t profiles[] = {
    { "calm", {
        [SIMULATOR_DELAY_MS] = { 1, 1 },
        [SIMULATOR_QUEUE] = { 4096, 4096 },
        [SIMULATOR_RESTART_MS] = { 1000, 1000 },
        [SIMULATOR_FLUSH_MS] = { 1, 1 },
    } },
    { "lan", {
        [SIMULATOR_DELAY_MS] = { 0.1, 1 },
        [SIMULATOR_JITTER_MS] = { 0, 0.5 },
        [SIMULATOR_QUEUE] = { 1024, 4096 },
        [SIMULATOR_CLOG_INTERVAL_MS] = { 10000, 60000 },
        [SIMULATOR_CLOG_MS] = { 10, 500 },
        [SIMULATOR_CRASH_INTERVAL_MS] = { 10000, 60000 },
        [SIMULATOR_RESTART_MS] = { 500, 5000 },
        [SIMULATOR_DOWN] = { 0.5, 0.5 },
        [SIMULATOR_SKEW_MS] = { 0, 50 },
        [SIMULATOR_FLUSH_MS] = { 0.2, 2 },
        [SIMULATOR_STALL] = { 0, 0.001 },
        [SIMULATOR_UNSYNCED_LOST] = { 0.8, 1 },
        [SIMULATOR_SHUFFLE] = { 0, 0.5 },
    } },
    { "wan", {
        [SIMULATOR_DELAY_MS] = { 30, 100 },
        [SIMULATOR_JITTER_MS] = { 1, 50 },
        [SIMULATOR_QUEUE] = { 64, 1024 },
        [SIMULATOR_CLOG_INTERVAL_MS] = { 5000, 30000 },
        [SIMULATOR_CLOG_MS] = { 100, 5000 },
        [SIMULATOR_PARTITION_INTERVAL_MS] = { 20000, 60000 },
        [SIMULATOR_PARTITION_MS] = { 1000, 20000 },
        [SIMULATOR_CRASH_INTERVAL_MS] = { 20000, 120000 },
        [SIMULATOR_RESTART_MS] = { 1000, 10000 },
        [SIMULATOR_DOWN] = { 0.5, 0.5 },
        [SIMULATOR_PAUSE_INTERVAL_MS] = { 30000, 120000 },
        [SIMULATOR_PAUSE_MS] = { 100, 10000 },
        [SIMULATOR_SKEW_MS] = { 0, 60000 },
        [SIMULATOR_FLUSH_MS] = { 0.2, 10 },
        [SIMULATOR_STALL] = { 0, 0.01 },
        [SIMULATOR_UNSYNCED_LOST] = { 0.8, 1 },
        [SIMULATOR_TEAR] = { 0, 0.5 },
        [SIMULATOR_SHUFFLE] = { 0, 1 },
    } },
    { "swarm", {
        [SIMULATOR_LOSS] = { 0, 0.3, 0.3 },
        [SIMULATOR_DUPLICATION] = { 0, 0.5, 0.3 },
        [SIMULATOR_REORDER] = { 0, 0.5, 0.3 },
        [SIMULATOR_DELAY_MS] = { 1, 50 },
        [SIMULATOR_JITTER_MS] = { 0, 50, 0.2 },
        [SIMULATOR_QUEUE] = { 4, 64 },
        [SIMULATOR_CLOG_INTERVAL_MS] = { 500, 20000, 0.3 },
        [SIMULATOR_CLOG_MS] = { 50, 5000 },
        [SIMULATOR_PARTITION_INTERVAL_MS] = { 500, 20000, 0.2 },
        [SIMULATOR_PARTITION_MS] = { 100, 10000 },
        [SIMULATOR_CRASH_INTERVAL_MS] = { 500, 15000, 0.2 },
        [SIMULATOR_RESTART_MS] = { 100, 5000 },
        [SIMULATOR_DOWN] = { 0, 1 },
        [SIMULATOR_PAUSE_INTERVAL_MS] = { 1000, 60000, 0.3 },
        [SIMULATOR_PAUSE_MS] = { 10, 10000 },
        [SIMULATOR_SKEW_MS] = { 0, 600000, 0.3 },
        [SIMULATOR_JUMP_INTERVAL_MS] = { 0, 60000, 0.3 },
        [SIMULATOR_JUMP_MS] = { 0, 3600000 },
        [SIMULATOR_FLUSH_MS] = { 0.1, 20 },
        [SIMULATOR_STALL] = { 0, 0.05, 0.3 },
        [SIMULATOR_UNSYNCED_LOST] = { 0.5, 1 },
        [SIMULATOR_TEAR] = { 0, 1, 0.3 },
        [SIMULATOR_SHUFFLE] = { 0, 1, 0.3 },
        [SIMULATOR_WRITE_FAULT] = { 0.0001, 0.02, 0.5 },
        [SIMULATOR_STRIKE] = { 0.0005, 0.05, 0.4 },
        [SIMULATOR_CLOCK_RATE] = { 0, 0.045, 0.3 }, /* two of them: less than 10 % */
        [SIMULATOR_TRANSFER_INTERVAL_MS] = { 500, 30000, 0.4 },
        [SIMULATOR_FULL_INTERVAL_MS] = { 2000, 60000, 0.5 },
        [SIMULATOR_WIPE_INTERVAL_MS] = { 1000, 60000, 0.5 },
        [SIMULATOR_ROT_INTERVAL_MS] = { 300, 60000, 0.3 },
        [SIMULATOR_CHANGE_INTERVAL_MS] = { 300, 30000, 0.4 },
    } },
};
/* clang-format on */

const simulator_profile_t *simulator_profile (const char *name)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++)
        if (strcmp (profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}
