/*  linearizability - the search, and the explanation: see the header */
#include "actors/simulation/linearizability.h"
#include "runtime/random.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
/*  The version of a write that nobody has ever been told. */
#define UNSEEN UINT64_MAX

/*  The value of a write that nobody has read. */
#define UNREAD UINT32_MAX

/*  What is asked of an operation; less is asked to find out what a contradiction needs. */
typedef enum { REQUIRED, OPTIONAL, GONE } demand_t;

typedef struct {
    const history_operation_t *operation;
    size_t number;
    demand_t demand;
} subject_t;

/*  A register. Versions grow: every write's is above floor. */
typedef struct {
    uint64_t version; /* 0: absent */
    uint64_t floor;
    uint32_t value; /* 0: absent */
} state_t;

typedef struct {
    const history_operation_t *operation;
    int64_t call_ns, return_ns;
    uint32_t next, previous;           /* of those not done, in order of calls */
    uint32_t versions, versions_count; /* a put whose version is not told: what it may be */
    uint64_t told;
    uint64_t random[2];
    uint32_t value; /* a write's; UNREAD for all that nobody has read */
    uint32_t bit;   /* an optional one's, in sets */
    uint32_t twin;  /* an optional write: the one before it that does the same, or NONE */
    bool optional;
    bool is_done;
    bool write; /* changes the register; else it only looks */
} item_t;

/*  A place of the search: what is done, and which choices have been tried from here. */
typedef struct {
    state_t state;
    state_t without;  /* if needy: the state before the unknown write that was just done */
    int64_t limit_ns; /* calls after that have to wait */
    uint32_t done;
    uint32_t item;
    uint32_t version;
    bool needy;    /* and the next one must need it */
    bool optional; /* the required ones have been tried */
} place_t;

/*  What was tried in vain: the required ones that were done, and the state, as a sum; and each
    set of optional ones that had been done as well. */
typedef struct {
    uint64_t sum[2];
    uint32_t set; /* the first of a list; 0: a free slot */
} memory_t;

typedef struct {
    uint64_t version;
    uint32_t value; /* 0: any */
} version_t;

typedef struct {
    item_t *items;
    uint32_t count;
    uint32_t required, optional; /* heads of the lists */
    uint32_t *told;              /* required writes by version */
    uint32_t told_count, told_done;
    version_t *versions; /* that untold puts may have, by value; first those of any value */
    uint32_t versions_count, versions_any;
    state_t state;
    uint64_t sum[2];
    uint32_t *done; /* in the order found */
    uint32_t done_count;
    place_t *places;
    memory_t *memory;
    size_t memory_count, memory_slots;
    uint64_t *sets; /* each: the next one's number, then a bit for each optional one */
    size_t sets_count, sets_capacity, set_words;
    uint64_t *used; /* the set of now */
    uint64_t work, work_max;
} search_t;

static void *allocate (size_t count, size_t size)
{
    void *memory = calloc (count ? count : 1, size);
    assert (memory);
    return memory;
}

/*  ---- the model: a register with versions ----------------------------------------------- */

/*  An operation that only looks: does the state give what it saw? */
static bool fits (const history_operation_t *operation, const state_t *state)
{
    switch (operation->outcome) {
    case HISTORY_OK:
        return state->value == operation->value_id &&
               (operation->version == 0 || operation->version == state->version);
    case HISTORY_ABSENT:
        return state->value == 0;
    case HISTORY_CONFLICT:
        return state->version != operation->expected;
    default:
        return true;
    }
}

static bool may_write (const history_operation_t *operation, const state_t *state)
{
    return !operation->compare || state->version == operation->expected;
}

static state_t written (const item_t *item, uint64_t version, state_t state)
{
    return (state_t){.value = item->value,
                     .version = item->value ? version : 0,
                     .floor = version == UNSEEN ? state.floor : version};
}

/*  ---- setting up ------------------------------------------------------------------------ */

static int by_call (const void *a, const void *b)
{
    const item_t *x = a, *y = b;
    return x->call_ns != y->call_ns ? (x->call_ns > y->call_ns) - (x->call_ns < y->call_ns)
           : x->return_ns != y->return_ns
               ? (x->return_ns > y->return_ns) - (x->return_ns < y->return_ns)
               : (x->operation > y->operation) - (x->operation < y->operation);
}

static void add_items (search_t *self, const subject_t *subjects, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const history_operation_t *operation = subjects[i].operation;
        bool unknown = operation->outcome == HISTORY_UNKNOWN;
        bool write = history_is_write (operation);
        if (subjects[i].demand == GONE || operation->outcome == HISTORY_FAILED ||
            (!write && (unknown || subjects[i].demand == OPTIONAL)))
            continue;
        bool optional = unknown || subjects[i].demand == OPTIONAL;
        if (optional && operation->kind == HISTORY_DELETE && operation->compare &&
            operation->expected == 0)
            continue; /* it changes nothing */
        self->items[self->count++] =
            (item_t){.operation = operation,
                     .call_ns = operation->call_ns,
                     .return_ns = optional ? HISTORY_NEVER : operation->return_ns,
                     .told = write ? operation->version : 0,
                     .optional = optional,
                     .write = write};
    }
    qsort (self->items, self->count, sizeof *self->items, by_call);
}

static void link_items (search_t *self)
{
    random_t random;
    random_seed (&random, 1);
    uint32_t last[2] = {NONE, NONE}, bits = 0;
    self->required = self->optional = NONE;
    for (uint32_t i = 0; i < self->count; i++) {
        item_t *item = &self->items[i];
        item->random[0] = random_next (&random);
        item->random[1] = random_next (&random);
        item->bit = item->optional ? bits++ : 0;
        uint32_t *previous = &last[item->optional];
        item->previous = *previous;
        item->next = NONE;
        if (*previous == NONE)
            *(item->optional ? &self->optional : &self->required) = i;
        else
            self->items[*previous].next = i;
        *previous = i;
    }
    self->set_words = (bits + 63) / 64;
}

/*  The finalizer of splitmix64: every bit of the input reaches every bit of the output. */
static uint64_t mix (uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/*  Two optional writes that do the same. */
static bool is_twin (const item_t *a, const item_t *b)
{
    return a->value == b->value && a->operation->compare == b->operation->compare &&
           a->operation->expected == b->operation->expected;
}

/*  Gives each write its value: those that nobody has read are all the same. */
static void find_values (search_t *self)
{
    uint32_t values = 0;
    for (uint32_t i = 0; i < self->count; i++)
        if (self->items[i].operation->value_id > values)
            values = self->items[i].operation->value_id;
    bool *is_read = allocate (values + 1, sizeof *is_read);
    for (uint32_t i = 0; i < self->count; i++)
        if (!self->items[i].write)
            is_read[self->items[i].operation->value_id] = true;
    for (uint32_t i = 0; i < self->count; i++) {
        item_t *item = &self->items[i];
        uint32_t value = item->operation->kind == HISTORY_PUT ? item->operation->value_id : 0;
        if (item->write)
            item->value = value && !is_read[value] ? UNREAD : value;
    }
    free (is_read);
}

/*  Gives each optional write its twin: among writes that do the same and may come at any time
    after their call, the one called first might as well come first. */
static void find_twins (search_t *self)
{
    size_t slots = 64;
    while (slots < 2 * (size_t)self->count)
        slots *= 2;
    uint32_t *last = allocate (slots, sizeof *last); /* number + 1 */
    for (uint32_t i = 0; i < self->count; i++) {
        item_t *item = &self->items[i];
        item->twin = NONE;
        if (!item->optional || item->told)
            continue;
        size_t at = mix (mix (item->operation->expected) + item->value) & (slots - 1);
        while (last[at] && !is_twin (&self->items[last[at] - 1], item))
            at = (at + 1) & (slots - 1);
        item->twin = last[at] ? last[at] - 1 : NONE;
        last[at] = i + 1;
    }
    free (last);
}

static void sort_told (search_t *self)
{
    /* An insertion sort: calls and versions have nearly the same order. */
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->items[i].optional || !self->items[i].told)
            continue;
        uint32_t at = self->told_count++;
        for (; at > 0 && self->items[self->told[at - 1]].told > self->items[i].told; at--)
            self->told[at] = self->told[at - 1];
        self->told[at] = i;
    }
}

static int by_number (const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int by_value (const void *a, const void *b)
{
    const version_t *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value) - (x->value < y->value)
                                : by_number (&x->version, &y->version);
}

static bool has_number (const uint64_t *sorted, size_t count, uint64_t number)
{
    return count && bsearch (&number, sorted, count, sizeof *sorted, by_number);
}

/*  Which versions may a put have whose client was not told? Those that gets saw with its
    value, or that a compare expected and nobody saw; if they are nobody else's. */
static void find_versions (search_t *self)
{
    uint64_t *told = allocate (self->count, sizeof *told);
    uint64_t *seen = allocate (self->count, sizeof *seen);
    size_t told_count = 0, seen_count = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        const item_t *item = &self->items[i];
        if (item->told)
            told[told_count++] = item->told;
        else if (!item->write && item->operation->version)
            seen[seen_count++] = item->operation->version;
    }
    qsort (told, told_count, sizeof *told, by_number);
    qsort (seen, seen_count, sizeof *seen, by_number);
    self->versions = allocate (self->count, sizeof *self->versions);
    for (uint32_t i = 0; i < self->count; i++) {
        const item_t *item = &self->items[i];
        /* An unknown write that nobody read matters no more than what would come before it. */
        bool expects =
            item->write && item->operation->compare && !(item->optional && item->value == UNREAD);
        uint64_t version = expects        ? item->operation->expected
                           : !item->write ? item->operation->version
                                          : 0;
        if (version && !has_number (told, told_count, version) &&
            !(expects && has_number (seen, seen_count, version)))
            self->versions[self->versions_count++] =
                (version_t){.version = version, .value = expects ? 0 : item->operation->value_id};
    }
    qsort (self->versions, self->versions_count, sizeof *self->versions, by_value);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->versions_count; i++)
        if (kept == 0 || by_value (&self->versions[kept - 1], &self->versions[i]) != 0)
            self->versions[kept++] = self->versions[i];
    self->versions_count = kept;
    while (self->versions_any < kept && self->versions[self->versions_any].value == 0)
        self->versions_any++;
    free (told);
    free (seen);
}

/*  A put's own range of versions. */
static void give_versions (search_t *self, item_t *item)
{
    if (!item->write || item->told || item->operation->kind != HISTORY_PUT)
        return;
    uint32_t low = self->versions_any, high = self->versions_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (self->versions[middle].value < item->operation->value_id)
            low = middle + 1;
        else
            high = middle;
    }
    item->versions = low;
    while (low + item->versions_count < self->versions_count &&
           self->versions[low + item->versions_count].value == item->operation->value_id)
        item->versions_count++;
}

/*  ---- what was tried before ------------------------------------------------------------- */

static memory_t *memory_slot (const search_t *self, const uint64_t sum[2])
{
    size_t at = sum[0] & (self->memory_slots - 1);
    while (self->memory[at].set &&
           (self->memory[at].sum[0] != sum[0] || self->memory[at].sum[1] != sum[1]))
        at = (at + 1) & (self->memory_slots - 1);
    return &self->memory[at];
}

static void memory_grow (search_t *self)
{
    memory_t *old = self->memory;
    size_t slots = self->memory_slots;
    self->memory_slots *= 2;
    self->memory = allocate (self->memory_slots, sizeof *self->memory);
    for (size_t i = 0; i < slots; i++)
        if (old[i].set)
            *memory_slot (self, old[i].sum) = old[i];
    free (old);
}

/*  One of the sets from `set` on has nothing that is not in use now. */
static bool is_dominated (const search_t *self, uint32_t set)
{
    while (set) {
        const uint64_t *words = self->sets + set * (self->set_words + 1);
        size_t i = 0;
        while (i < self->set_words && (words[i + 1] & ~self->used[i]) == 0)
            i++;
        if (i == self->set_words)
            return true;
        set = (uint32_t)words[0];
    }
    return false;
}

static uint32_t add_set (search_t *self, uint32_t next)
{
    size_t size = self->set_words + 1;
    if (self->sets_count == self->sets_capacity) {
        self->sets_capacity = self->sets_capacity ? self->sets_capacity * 2 : 64;
        self->sets = reallocarray (self->sets, self->sets_capacity * size, sizeof *self->sets);
        assert (self->sets);
    }
    uint64_t *words = self->sets + self->sets_count * size;
    words[0] = next;
    memcpy (words + 1, self->used, self->set_words * sizeof *words);
    return (uint32_t)self->sets_count++;
}

/*  False if there was a place that was no worse: the same was done of what has to be, the
    state was the same, and of the optional ones no other were used up. */
static bool remember (search_t *self)
{
    const state_t *state = &self->state;
    uint64_t sum[2];
    for (size_t i = 0; i < 2; i++)
        sum[i] =
            self->sum[i] ^ mix (mix (mix (state->version + i) + state->floor) + state->value + 1);
    memory_t *slot = memory_slot (self, sum);
    if (is_dominated (self, slot->set))
        return false;
    bool is_new = slot->set == 0;
    *slot = (memory_t){.sum = {sum[0], sum[1]}, .set = add_set (self, slot->set)};
    self->memory_count += is_new;
    if (is_new && self->memory_count * 4 > self->memory_slots * 3)
        memory_grow (self);
    return true;
}

static void search_begin (search_t *self, const subject_t *subjects, size_t count,
                          uint64_t work_max)
{
    *self = (search_t){.work_max = work_max};
    self->items = allocate (count, sizeof *self->items);
    add_items (self, subjects, count);
    link_items (self);
    find_values (self);
    find_twins (self);
    self->told = allocate (self->count, sizeof *self->told);
    sort_told (self);
    find_versions (self);
    for (uint32_t i = 0; i < self->count; i++)
        give_versions (self, &self->items[i]);
    self->done = allocate (self->count, sizeof *self->done);
    self->places = allocate (self->count + 1, sizeof *self->places);
    self->memory_slots = 1024;
    self->memory = allocate (self->memory_slots, sizeof *self->memory);
    self->used = allocate (self->set_words, sizeof *self->used);
    add_set (self, 0); /* number 0 is none */
}

static void search_end (search_t *self)
{
    free (self->items);
    free (self->told);
    free (self->versions);
    free (self->done);
    free (self->places);
    free (self->memory);
    free (self->sets);
    free (self->used);
}

/*  ---- the search ------------------------------------------------------------------------ */

/*  Into what is done, or out of it again. */
static void count_in (search_t *self, const item_t *item)
{
    if (item->optional) {
        self->used[item->bit / 64] ^= UINT64_C (1) << item->bit % 64;
        return;
    }
    self->sum[0] ^= item->random[0];
    self->sum[1] ^= item->random[1];
}

static void take (search_t *self, uint32_t number)
{
    item_t *item = &self->items[number];
    if (item->previous != NONE)
        self->items[item->previous].next = item->next;
    else
        *(item->optional ? &self->optional : &self->required) = item->next;
    if (item->next != NONE)
        self->items[item->next].previous = item->previous;
    count_in (self, item);
    item->is_done = true;
    self->told_done += item->told && !item->optional;
    self->done[self->done_count++] = number;
}

static void put_back (search_t *self)
{
    uint32_t number = self->done[--self->done_count];
    item_t *item = &self->items[number];
    if (item->previous != NONE)
        self->items[item->previous].next = number;
    else
        *(item->optional ? &self->optional : &self->required) = number;
    if (item->next != NONE)
        self->items[item->next].previous = number;
    count_in (self, item);
    item->is_done = false;
    self->told_done -= item->told && !item->optional;
}

/*  Whoever is called after that has to wait for somebody who is not done. */
static int64_t limit (const search_t *self)
{
    int64_t limit_ns = HISTORY_NEVER;
    for (uint32_t i = self->required; i != NONE && self->items[i].call_ns <= limit_ns;
         i = self->items[i].next)
        if (self->items[i].return_ns < limit_ns)
            limit_ns = self->items[i].return_ns;
    return limit_ns;
}

/*  Does all that only looks and may come now. */
static void look (search_t *self)
{
    bool again = true;
    while (again) {
        int64_t limit_ns = limit (self);
        again = false;
        for (uint32_t i = self->required; i != NONE && self->items[i].call_ns <= limit_ns;
             i = self->items[i].next)
            if (!self->items[i].write && fits (self->items[i].operation, &self->state)) {
                take (self, i); /* keeps its own link to the next */
                again = true;
            }
    }
}

/*  The version that a write gets at its n-th try here; 0: no such try. */
static uint64_t nth_version (const search_t *self, const item_t *item, uint32_t n)
{
    if (item->told)
        return n == 0 ? item->told : 0;
    if (n < item->versions_count)
        return self->versions[item->versions + n].version;
    n -= item->versions_count;
    bool put = item->operation->kind == HISTORY_PUT;
    if (put && n < self->versions_any)
        return self->versions[n].version;
    return n == (put ? self->versions_any : 0) ? UNSEEN : 0;
}

static bool version_fits (const search_t *self, const item_t *item, uint64_t version)
{
    if (version == UNSEEN)
        return true;
    if (version <= self->state.floor)
        return false;
    if (self->told_done == self->told_count)
        return true;
    const item_t *lowest = &self->items[self->told[self->told_done]];
    return lowest == item || version < lowest->told;
}

/*  Moves the place on to the next write that may come, and its version. */
static bool next_choice (const search_t *self, place_t *place, uint64_t *ret_version)
{
    for (;;) {
        while (place->item != NONE && self->items[place->item].call_ns <= place->limit_ns) {
            const item_t *item = &self->items[place->item];
            const history_operation_t *operation = item->operation;
            bool first = item->twin == NONE || self->items[item->twin].is_done;
            bool possible = item->write && first && may_write (operation, &self->state) &&
                            !(place->needy && may_write (operation, &place->without));
            uint64_t version = 0;
            while (possible && (version = nth_version (self, item, place->version++)) != 0)
                if (version_fits (self, item, version)) {
                    *ret_version = version;
                    return true;
                }
            place->item = item->next;
            place->version = 0;
        }
        if (place->optional)
            return false;
        place->optional = true;
        place->item = self->optional;
        place->version = 0;
    }
}

static void go_back (search_t *self, const place_t *place)
{
    while (self->done_count > place->done)
        put_back (self);
    self->state = place->state;
}

static place_t here (const search_t *self, bool needy, const state_t *without)
{
    return (place_t){.state = self->state,
                     .without = *without,
                     .limit_ns = limit (self),
                     .done = self->done_count,
                     .item = self->required,
                     .needy = needy};
}

static linearizability_verdict_t search (search_t *self)
{
    size_t depth = 0;
    look (self);
    self->places[depth++] = here (self, false, &self->state);
    while (self->required != NONE && depth > 0) {
        place_t *place = &self->places[depth - 1];
        uint64_t version;
        go_back (self, place);
        if (!next_choice (self, place, &version)) {
            depth--;
            continue;
        }
        if (++self->work > self->work_max)
            return LINEARIZABILITY_UNKNOWN;
        const item_t *item = &self->items[place->item];
        take (self, place->item);
        self->state = written (item, version, self->state);
        uint32_t done = self->done_count;
        look (self);
        bool needy = item->optional && self->done_count == done;
        if (needy || remember (self))
            self->places[depth++] = here (self, needy, &place->state);
    }
    return self->required == NONE ? LINEARIZABILITY_OK : LINEARIZABILITY_BROKEN;
}

/*  Can these be put into an order? Adds to *work. */
static linearizability_verdict_t judge (const subject_t *subjects, size_t count, uint64_t work_max,
                                        uint64_t *work)
{
    search_t self;
    search_begin (&self, subjects, count, work_max);
    linearizability_verdict_t verdict = search (&self);
    *work += self.work;
    search_end (&self);
    return verdict;
}

/*  ---- the smallest contradiction -------------------------------------------------------- */

#define CORE_WORK_MAX UINT64_C (2000000)

typedef struct {
    subject_t *subjects; /* of one key, by call */
    size_t count;
    uint64_t work;
} core_t;

/*  False also if it would take too long to find out. */
static bool still_broken (core_t *self)
{
    uint64_t left = self->work < CORE_WORK_MAX ? CORE_WORK_MAX - self->work : 0;
    self->work += self->count / 16 + 1; /* setting up takes time as well */
    return left &&
           judge (self->subjects, self->count, left / 8 + 1, &self->work) == LINEARIZABILITY_BROKEN;
}

/*  What could be known at that time: later calls have not come, later returns are open. */
static void cut (core_t *self, int64_t now_ns)
{
    for (size_t i = 0; i < self->count; i++) {
        const history_operation_t *operation = self->subjects[i].operation;
        self->subjects[i].demand = operation->call_ns > now_ns     ? GONE
                                   : operation->return_ns > now_ns ? OPTIONAL
                                                                   : REQUIRED;
    }
}

static int by_time (const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/*  The shortest beginning that is broken: a longer one never gets whole again. */
static void cut_end (core_t *self)
{
    int64_t *times = allocate (self->count, sizeof *times);
    for (size_t i = 0; i < self->count; i++)
        times[i] = self->subjects[i].operation->return_ns;
    qsort (times, self->count, sizeof *times, by_time);
    size_t low = 0, high = self->count - 1; /* broken at high */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        cut (self, times[middle]);
        if (still_broken (self))
            high = middle;
        else
            low = middle + 1;
    }
    cut (self, times[high]);
    free (times);
}

/*  Asks less of a run of operations, as long as it stays broken: writes that may or may not
    have been done, and nothing of those that only looked. Both can only make it better. */
static void relax (core_t *self)
{
    demand_t *before = allocate (self->count, sizeof *before);
    for (size_t size = self->count; size > 0; size /= 2)
        for (size_t at = 0; at < self->count; at += size) {
            size_t end = at + size < self->count ? at + size : self->count;
            bool changed = false;
            for (size_t i = at; i < end; i++) {
                subject_t *subject = &self->subjects[i];
                before[i] = subject->demand;
                if (subject->demand != REQUIRED)
                    continue;
                subject->demand = history_is_write (subject->operation) ? OPTIONAL : GONE;
                changed = true;
            }
            if (changed && !still_broken (self))
                for (size_t i = at; i < end; i++)
                    self->subjects[i].demand = before[i];
        }
    free (before);
}

/*  An optional write matters to the reader if one of the others saw it. */
static bool is_mentioned (const core_t *self, const history_operation_t *write)
{
    for (size_t i = 0; i < self->count; i++) {
        const history_operation_t *operation = self->subjects[i].operation;
        if (self->subjects[i].demand != REQUIRED)
            continue;
        if (operation->kind == HISTORY_GET && operation->outcome == HISTORY_OK &&
            operation->value_id == write->value_id && write->kind == HISTORY_PUT &&
            (!operation->version || !write->version || operation->version == write->version))
            return true;
        if (operation->compare && operation->expected && operation->expected == write->version)
            return true;
    }
    return false;
}

static void find_core (core_t *self, linearizability_report_t *report)
{
    cut_end (self);
    relax (self);
    for (size_t i = 0; i < self->count; i++) {
        const subject_t *subject = &self->subjects[i];
        bool shown = subject->demand == REQUIRED ||
                     (subject->demand == OPTIONAL && is_mentioned (self, subject->operation));
        if (shown && report->core_count < sizeof report->core / sizeof report->core[0])
            report->core[report->core_count++] = subject->number;
    }
}

/*  ---- all keys -------------------------------------------------------------------------- */

static int by_key (const void *a, const void *b)
{
    const subject_t *x = a, *y = b;
    const history_operation_t *p = x->operation, *q = y->operation;
    return p->key_id != q->key_id     ? (p->key_id > q->key_id) - (p->key_id < q->key_id)
           : p->call_ns != q->call_ns ? (p->call_ns > q->call_ns) - (p->call_ns < q->call_ns)
                                      : (x->number > y->number) - (x->number < y->number);
}

static subject_t *all_subjects (const history_t *history)
{
    size_t count = history_count (history);
    subject_t *subjects = allocate (count, sizeof *subjects);
    for (size_t i = 0; i < count; i++)
        subjects[i] = (subject_t){.operation = history_at (history, i), .number = i};
    qsort (subjects, count, sizeof *subjects, by_key);
    return subjects;
}

static void report_key (subject_t *subjects, size_t count, linearizability_verdict_t verdict,
                        linearizability_report_t *report)
{
    report->key = subjects[0].operation->key;
    if (verdict == LINEARIZABILITY_UNKNOWN) {
        snprintf (report->reason, sizeof report->reason,
                  "key %.100s: gave up on its %zu operations after %" PRIu64
                  " steps; this says nothing in either direction",
                  report->key, count, report->work);
        return;
    }
    core_t core = {.subjects = subjects, .count = count};
    find_core (&core, report);
    report->work += core.work;
    snprintf (report->reason, sizeof report->reason,
              "key %.100s: there is no order in which these %zu of its %zu operations give what "
              "was seen",
              report->key, report->core_count, count);
}

linearizability_verdict_t linearizability_check (const history_t *history, uint64_t work_max,
                                                 linearizability_report_t *ret_report)
{
    linearizability_report_t report = {0};
    linearizability_verdict_t verdict = LINEARIZABILITY_OK;
    subject_t *subjects = all_subjects (history);
    size_t count = history_count (history);
    for (size_t at = 0, end; at < count && verdict != LINEARIZABILITY_BROKEN; at = end) {
        for (end = at + 1;
             end < count && subjects[end].operation->key_id == subjects[at].operation->key_id;)
            end++;
        linearizability_verdict_t one = judge (
            subjects + at, end - at, work_max ? work_max : LINEARIZABILITY_WORK_MAX, &report.work);
        if (one == LINEARIZABILITY_BROKEN ||
            (one != LINEARIZABILITY_OK && verdict == LINEARIZABILITY_OK)) {
            verdict = one;
            if (ret_report)
                report_key (subjects + at, end - at, one, &report);
        }
    }
    free (subjects);
    if (ret_report)
        *ret_report = report;
    return verdict;
}

/*  ---- the explanation ------------------------------------------------------------------- */

void linearizability_explain (const history_t *history, const linearizability_report_t *report,
                              buffer_t *out)
{
    buffer_printf (out, "%s%s\n", report->reason, report->core_count ? ":" : "");
    for (size_t i = 0; i < report->core_count; i++) {
        const history_operation_t *operation = history_at (history, report->core[i]);
        buffer_printf (out, "  ");
        if (operation->line)
            buffer_printf (out, "line %" PRIu32 ": ", operation->line);
        history_write_operation (operation, out);
        buffer_printf (out, "\n");
    }
}
