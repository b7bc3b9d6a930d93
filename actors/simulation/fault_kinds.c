/*  fault_kinds - names for settings of which 0 means never: see the header */
#include "actors/simulation/fault_kinds.h"

#include <string.h>

static const struct {
    const char *name;
    simulator_setting_t setting;
} kinds[] = {
    {"loss", SIMULATOR_LOSS},
    {"duplication", SIMULATOR_DUPLICATION},
    {"reordering", SIMULATOR_REORDER},
    {"jitter", SIMULATOR_JITTER_MS},
    {"clogs", SIMULATOR_CLOG_INTERVAL_MS},
    {"partitions", SIMULATOR_PARTITION_INTERVAL_MS},
    {"crashes", SIMULATOR_CRASH_INTERVAL_MS},
    {"pauses", SIMULATOR_PAUSE_INTERVAL_MS},
    {"skew", SIMULATOR_SKEW_MS},
    {"jumps", SIMULATOR_JUMP_INTERVAL_MS},
    {"clock-rates", SIMULATOR_CLOCK_RATE},
    {"stalls", SIMULATOR_STALL},
    {"tears", SIMULATOR_TEAR},
    {"write-faults", SIMULATOR_WRITE_FAULT},
    {"rot", SIMULATOR_ROT_INTERVAL_MS},
    {"full-disks", SIMULATOR_FULL_INTERVAL_MS},
    {"shuffle", SIMULATOR_SHUFFLE},
    {"changes", SIMULATOR_CHANGE_INTERVAL_MS},
    {"transfers", SIMULATOR_TRANSFER_INTERVAL_MS},
    {"strikes", SIMULATOR_STRIKE},
};
enum { COUNT = sizeof kinds / sizeof kinds[0] };
const unsigned fault_kinds_count = COUNT;

static unsigned find (const char *name, size_t size)
{
    unsigned i = 0;
    while (i < COUNT &&
           (strlen (kinds[i].name) != size || strncmp (kinds[i].name, name, size) != 0))
        i++;
    return i;
}

static int unknown (const char *name, size_t size, nexus_error_t *error)
{
    buffer_t all = {0};
    fault_kinds_print (UINT64_MAX, &all);
    nexus_error_set (error, NEXUS_INVALID, "there is no kind of fault \"%.*s\": there are %.*s",
                     (int)(size < 40 ? size : 40), name, (int)all.size, (const char *)all.data);
    buffer_free (&all);
    return -1;
}

int fault_kinds_parse (const char *text, uint64_t *ret_kinds, nexus_error_t *error)
{
    uint64_t found = 0;
    while (*text) {
        size_t size = strcspn (text, ",");
        unsigned kind = find (text, size);
        if (kind == COUNT)
            return unknown (text, size, error);
        found |= UINT64_C (1) << kind;
        text += size + (text[size] == ',');
    }
    *ret_kinds = found;
    return 0;
}

void fault_kinds_print (uint64_t set, buffer_t *out)
{
    const char *comma = "";
    for (unsigned i = 0; i < COUNT; i++)
        if (set >> i & 1) {
            buffer_printf (out, "%s%s", comma, kinds[i].name);
            comma = ",";
        }
}

void fault_kinds_leave_out (simulator_t *sim, uint64_t set)
{
    for (unsigned i = 0; i < COUNT; i++)
        if (set >> i & 1)
            simulator_set (sim, kinds[i].setting, 0);
}
