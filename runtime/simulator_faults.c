/*  simulator_faults - crashes, pauses, partitions, clogs, clocks: by hand and seeded */
#include "runtime/simulator_private.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef enum { FAULT_CLOG, FAULT_PARTITION, FAULT_CRASH, FAULT_PAUSE, FAULT_JUMP, FAULTS } fault_t;

static const simulator_setting_t intervals[FAULTS] = {
    [FAULT_CLOG] = SIMULATOR_CLOG_INTERVAL_MS,
    [FAULT_PARTITION] = SIMULATOR_PARTITION_INTERVAL_MS,
    [FAULT_CRASH] = SIMULATOR_CRASH_INTERVAL_MS,
    [FAULT_PAUSE] = SIMULATOR_PAUSE_INTERVAL_MS,
    [FAULT_JUMP] = SIMULATOR_JUMP_INTERVAL_MS,
};

/*  ---- crash, restart ---------------------------------------------------- */

static void crash (simulator_t *self, unsigned node)
{
    assert (node < self->node_count && !self->running);
    sim_node_t *home = &self->nodes[node];
    if (!home->up)
        return;
    if (self->trace)
        sim_trace (self, node, NULL, "crash", "%s", "");
    sim_digest (self, UINT64_C (1) << 32 | node);
    sim_actors_end (self, node, true);
    if (home->disk)
        sim_disk_crash (home->disk);
    home->up = home->paused = false;
}

void simulator_crash (simulator_t *self, unsigned node)
{
    crash (self, node);
    self->nodes[node].held = true;
}

void sim_node_exit (simulator_t *self, unsigned node)
{
    crash (self, node);
    if (self->nodes[node].boot)
        sim_schedule (self, sim_ms (self->settings[SIMULATOR_RESTART_MS]), EVENT_BOOT, node);
}

void simulator_restart (simulator_t *self, unsigned node)
{
    assert (node < self->node_count && !self->running);
    if (!self->nodes[node].up)
        sim_boot (self, node);
}

bool simulator_is_up (const simulator_t *self, unsigned node)
{
    return self->nodes[node].up;
}

/*  ---- pause ------------------------------------------------------------- */

void simulator_pause (simulator_t *self, unsigned node)
{
    assert (node < self->node_count && !self->running);
    sim_node_t *home = &self->nodes[node];
    if (!home->up || home->paused)
        return;
    if (self->trace)
        sim_trace (self, node, NULL, "pause", "%s", "");
    sim_digest (self, UINT64_C (2) << 32 | node);
    home->paused = true;
    sim_actors_pause (self, node);
}

void simulator_resume (simulator_t *self, unsigned node)
{
    assert (node < self->node_count && !self->running);
    sim_node_t *home = &self->nodes[node];
    if (!home->paused)
        return;
    if (self->trace)
        sim_trace (self, node, NULL, "resume", "%s", "");
    home->paused = false;
    sim_actors_resume (self, node);
}

/*  ---- partitions -------------------------------------------------------- */

static void cut (simulator_t *self, uint64_t from, uint64_t to, int by)
{
    for (unsigned a = 0; a < self->node_count; a++)
        for (unsigned b = 0; b < self->node_count; b++)
            if (a != b && from >> a & 1 && to >> b & 1) {
                sim_link_t *link = sim_link (self, a, b);
                link->cuts = (unsigned)((int)link->cuts + by);
            }
}

static void cut_both (simulator_t *self, const sim_partition_t *partition, int by)
{
    cut (self, partition->from, partition->to, by);
    if (!partition->one_way)
        cut (self, partition->to, partition->from, by);
}

static uint64_t add_partition (simulator_t *self, uint64_t from, uint64_t to, bool one_way)
{
    assert (self->partition_count < PARTITIONS_MAX);
    sim_partition_t partition = {++self->partition_id, from, to, one_way};
    self->partitions[self->partition_count++] = partition;
    if (self->trace)
        sim_trace (self, 0, NULL, "partition", "from=%llx to=%llx one_way=%d",
                   (unsigned long long)from, (unsigned long long)to, one_way);
    sim_digest (self, from ^ to << 32);
    cut_both (self, &partition, 1);
    return partition.id;
}

static void remove_partition (simulator_t *self, unsigned index)
{
    sim_partition_t partition = self->partitions[index];
    self->partitions[index] = self->partitions[--self->partition_count];
    cut_both (self, &partition, -1);
    if (self->trace)
        sim_trace (self, 0, NULL, "heal", "from=%llx to=%llx", (unsigned long long)partition.from,
                   (unsigned long long)partition.to);
}

void simulator_partition (simulator_t *self, uint64_t from, uint64_t to, bool one_way)
{
    assert (!self->running);
    uint64_t all = self->node_count == 64 ? SIMULATOR_ALL : SIMULATOR_NODE (self->node_count) - 1;
    add_partition (self, from & all, to & all, one_way);
}

void simulator_heal (simulator_t *self)
{
    while (self->partition_count)
        remove_partition (self, self->partition_count - 1);
    for (size_t i = 0; i < (size_t)SIMULATOR_NODES_MAX * SIMULATOR_NODES_MAX; i++)
        self->links[i].clogged_until = 0;
}

int64_t simulator_backlog_end (const simulator_t *self)
{
    int64_t end = 0;
    for (size_t i = 0; i < (size_t)SIMULATOR_NODES_MAX * SIMULATOR_NODES_MAX; i++)
        if (self->links[i].last_arrival > end)
            end = self->links[i].last_arrival;
    return end;
}

void simulator_clog (simulator_t *self, unsigned from, unsigned to, int64_t duration_ns)
{
    sim_link_t *link = sim_link (self, from, to);
    if (link->clogged_until < self->now + duration_ns)
        link->clogged_until = self->now + duration_ns;
    if (self->trace)
        sim_trace (self, from, NULL, "clog", "to=%s ms=%lld", self->nodes[to].name,
                   (long long)NS_TO_MS (duration_ns));
}

void simulator_jump_clock (simulator_t *self, unsigned node, int64_t by_ms)
{
    self->nodes[node].skew_ms += by_ms;
    if (self->trace)
        sim_trace (self, node, NULL, "jump", "ms=%lld", (long long)by_ms);
}

/*  ---- seeded faults ----------------------------------------------------- */

static double exponential (random_t *random, double mean)
{
    return -mean * log1p (-random_real (random));
}

static double between (random_t *random, double min, double max)
{
    return min + random_real (random) * (max - min);
}

static void plan (simulator_t *self, fault_t fault)
{
    double mean = self->settings[intervals[fault]];
    if (mean > 0)
        sim_schedule (self, sim_ms (exponential (&self->faults, mean)), EVENT_FAULT, fault);
}

void sim_faults_plan (simulator_t *self)
{
    for (fault_t fault = 0; fault < FAULTS; fault++)
        plan (self, fault);
}

/*  How long a fault lasts, around its setting. */
static int64_t duration (simulator_t *self, simulator_setting_t setting)
{
    return sim_ms (between (&self->faults, 0.2, 1.8) * self->settings[setting]);
}

static unsigned any_node (simulator_t *self)
{
    return (unsigned)random_below (&self->faults, self->node_count);
}

static void fault_clog (simulator_t *self)
{
    unsigned from = any_node (self), to = any_node (self);
    if (from != to)
        simulator_clog (self, from, to, duration (self, SIMULATOR_CLOG_MS));
}

/*  Isolates one node, or splits at random; both ways, or only one. */
static void fault_partition (simulator_t *self)
{
    if (self->node_count < 2 || self->partition_count >= PARTITIONS_MAX / 2)
        return;
    uint64_t all = self->node_count == 64 ? SIMULATOR_ALL : SIMULATOR_NODE (self->node_count) - 1;
    uint64_t side = random_real (&self->faults) < 0.5 ? SIMULATOR_NODE (any_node (self))
                                                      : random_next (&self->faults) & all;
    bool one_way = random_real (&self->faults) < 0.3;
    if (one_way && random_real (&self->faults) < 0.5)
        side = all & ~side;
    if (side == 0 || side == all)
        return;
    uint64_t id = add_partition (self, side, all & ~side, one_way);
    sim_schedule (self, duration (self, SIMULATOR_PARTITION_MS), EVENT_HEAL, id);
}

static void crash_for_a_while (simulator_t *self, unsigned node, bool quick)
{
    unsigned down = 0;
    for (unsigned i = 0; i < self->node_count; i++)
        down += !self->nodes[i].up;
    unsigned down_max = (unsigned)(self->settings[SIMULATOR_DOWN] * self->node_count);
    if (!self->nodes[node].up || !self->nodes[node].boot || down >= (down_max ? down_max : 1))
        return;
    crash (self, node);
    int64_t back =
        quick ? sim_ms (between (&self->faults, 1, 50)) : duration (self, SIMULATOR_RESTART_MS);
    sim_schedule (self, back, EVENT_BOOT, node);
}

/*  One node, or half of them at once, as when a rack loses its power; now and then to be back in no
    time, as when a service manager starts them again. */
static void fault_crash (simulator_t *self)
{
    bool quick = random_real (&self->faults) < 0.25, many = random_real (&self->faults) < 0.2;
    if (!many)
        crash_for_a_while (self, any_node (self), quick);
    for (unsigned node = 0; many && node < self->node_count; node++)
        if (random_real (&self->faults) < 0.5)
            crash_for_a_while (self, node, quick);
}

static void fault_pause (simulator_t *self)
{
    unsigned node = any_node (self);
    if (!self->nodes[node].up || self->nodes[node].paused)
        return;
    simulator_pause (self, node);
    sim_schedule (self, duration (self, SIMULATOR_PAUSE_MS), EVENT_RESUME, node);
}

static void fault_jump (simulator_t *self)
{
    double limit = self->settings[SIMULATOR_JUMP_MS];
    simulator_jump_clock (self, any_node (self), (int64_t)between (&self->faults, -limit, limit));
}

static void inject (simulator_t *self, fault_t fault)
{
    static void (*const inject_one[FAULTS]) (simulator_t *) = {
        [FAULT_CLOG] = fault_clog,   [FAULT_PARTITION] = fault_partition,
        [FAULT_CRASH] = fault_crash, [FAULT_PAUSE] = fault_pause,
        [FAULT_JUMP] = fault_jump,
    };
    if (self->calm || self->node_count == 0)
        return;
    inject_one[fault](self);
    plan (self, fault);
}

static void on_heal (simulator_t *self, uint64_t id)
{
    for (unsigned i = 0; i < self->partition_count; i++)
        if (self->partitions[i].id == id) {
            remove_partition (self, i);
            return;
        }
}

void sim_faults_event (simulator_t *self, const timer_entry_t *event)
{
    unsigned node = (unsigned)event->data;
    switch ((sim_event_t)event->tag) {
    case EVENT_BOOT:
        if (!self->nodes[node].up && !self->nodes[node].held)
            sim_boot (self, node);
        break;
    case EVENT_RESUME:
        simulator_resume (self, node);
        break;
    case EVENT_HEAL:
        on_heal (self, event->data);
        break;
    case EVENT_FAULT:
        inject (self, (fault_t)event->data);
        break;
    default:
        assert (false && "an event of another file");
    }
}

void simulator_calm (simulator_t *self, uint64_t leave_down)
{
    assert (!self->running);
    self->calm = true;
    simulator_heal (self);
    static const simulator_setting_t quiet[] = {SIMULATOR_LOSS, SIMULATOR_DUPLICATION,
                                                SIMULATOR_REORDER, SIMULATOR_STALL,
                                                SIMULATOR_WRITE_FAULT};
    for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++)
        simulator_set (self, quiet[i], 0);
    if (self->settings[SIMULATOR_QUEUE] < 1024)
        simulator_set (self, SIMULATOR_QUEUE, 1024);
    for (unsigned node = 0; node < self->node_count; node++) {
        if (leave_down >> node & 1) {
            simulator_crash (self, node);
            continue;
        }
        simulator_resume (self, node);
        if (!self->nodes[node].up && self->nodes[node].boot)
            sim_boot (self, node);
    }
}
