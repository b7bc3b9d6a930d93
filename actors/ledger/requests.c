/*  requests - what was done for whom */
#include "actors/ledger/requests.h"
#include "runtime/planted.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRY_HEAD = 27,
    KEY_SIZE = 9,
    RING = REQUESTS_KEPT + 2 * REQUESTS_ROW, /* the newest row grows while the oldest is there */
    SLOTS_MIN = 1024
};

static_assert (RING % REQUESTS_ROW == 0, "rows don't wrap");

/*  One kept result. Results are counted from 0 as they come: number n stands in row
    n / REQUESTS_ROW. */
typedef struct {
    uint64_t client, sequence, index;
} kept_t;

/*  Those of callers' keys, or the others. */
typedef struct {
    kept_t *ring; /* [n % RING] */
    uint64_t first, next;
    uint64_t horizon;
    buffer_t row; /* the newest one */
    bool dirty;   /* it is not written yet */
} kind_t;

/*  Of the hash table: most of those that don't match are passed by without a look at the rings,
    which lie elsewhere. */
typedef struct {
    uint32_t hash;
    uint32_t place; /* in the ring * 2 + kind + 1; 0: free */
} slot_t;

struct requests {
    uint64_t seed;
    kind_t kinds[2];
    slot_t *slots; /* open addressing */
    size_t slots_count, used;
};

static void *allocate (size_t count, size_t size)
{
    void *memory = calloc (count, size);
    if (!memory) {
        fprintf (stderr, "nexus: out of memory\n");
        abort ();
    }
    return memory;
}

requests_t *requests_new (uint64_t seed)
{
    requests_t *self = allocate (1, sizeof (*self));
    self->seed = seed;
    self->slots_count = SLOTS_MIN;
    self->slots = allocate (self->slots_count, sizeof (*self->slots));
    for (int i = 0; i < 2; i++)
        self->kinds[i].ring = allocate (RING, sizeof (kept_t));
    return self;
}

void requests_destroy (requests_t **self_p)
{
    requests_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (int i = 0; i < 2; i++) {
        free (self->kinds[i].ring);
        buffer_free (&self->kinds[i].row);
    }
    free (self->slots);
    free (self);
}

/*  ---- the hash table ------------------------------------------------------ */

/*  Mixing as in Steele, Lea, Flood: SplitMix. */
static uint64_t s_mix (uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C (0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint32_t s_hash (const requests_t *self, uint64_t client, uint64_t sequence)
{
    return (uint32_t)s_mix (s_mix (client ^ self->seed) + sequence);
}

static const kept_t *s_kept (const requests_t *self, uint32_t place)
{
    return &self->kinds[(place - 1) & 1].ring[(place - 1) >> 1];
}

/*  Where it stands, or the free slot where it would. */
static size_t s_slot (const requests_t *self, uint64_t client, uint64_t sequence)
{
    uint32_t hash = s_hash (self, client, sequence);
    size_t mask = self->slots_count - 1, at = hash & mask;
    for (; self->slots[at].place; at = (at + 1) & mask) {
        if (self->slots[at].hash != hash)
            continue;
        const kept_t *kept = s_kept (self, self->slots[at].place);
        if (kept->client == client && kept->sequence == sequence)
            break;
    }
    return at;
}

/*  Its slot is needed soon, and lies anywhere in memory. */
static void s_prefetch (const requests_t *self, const kept_t *kept)
{
    uint32_t hash = s_hash (self, kept->client, kept->sequence);
    __builtin_prefetch (&self->slots[hash & (self->slots_count - 1)]);
}

static void s_grow (requests_t *self)
{
    slot_t *old = self->slots;
    size_t count = self->slots_count;
    self->slots_count *= 2;
    self->slots = allocate (self->slots_count, sizeof (*self->slots));
    size_t mask = self->slots_count - 1;
    for (size_t i = 0; i < count; i++) {
        size_t at = old[i].hash & mask;
        while (old[i].place && self->slots[at].place)
            at = (at + 1) & mask;
        if (old[i].place)
            self->slots[at] = old[i];
    }
    free (old);
}

/*  Closes the gap, so that nobody's search ends at it (Knuth, 6.4, algorithm R). */
static void s_remove (requests_t *self, const kept_t *kept)
{
    size_t mask = self->slots_count - 1;
    size_t gap = s_slot (self, kept->client, kept->sequence);
    if (!self->slots[gap].place || s_kept (self, self->slots[gap].place) != kept)
        return;
    for (size_t at = (gap + 1) & mask; self->slots[at].place; at = (at + 1) & mask) {
        size_t home = self->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        self->slots[gap] = self->slots[at];
        gap = at;
    }
    self->slots[gap] = (slot_t){0, 0};
    self->used--;
}

/*  The kind's next result. */
static void s_insert (requests_t *self, int kind, uint64_t client, uint64_t sequence,
                      uint64_t index)
{
    kind_t *of = &self->kinds[kind];
    size_t place = (size_t)(of->next++ % RING);
    if (2 * (self->used + 1) > self->slots_count)
        s_grow (self);
    of->ring[place] = (kept_t){client, sequence, index};
    size_t at = s_slot (self, client, sequence);
    self->used += self->slots[at].place == 0;
    self->slots[at] =
        (slot_t){s_hash (self, client, sequence), (uint32_t)(place * 2 + (size_t)kind + 1)};
}

/*  ---- rows ---------------------------------------------------------------- */

static int s_kind (uint64_t client)
{
    return client >> 63 != 0;
}

static void s_store (uint8_t *bytes, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(number >> (8 * (size - 1 - i)));
}

static uint64_t s_load (const uint8_t *bytes, int size)
{
    uint64_t number = 0;
    for (int i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

static slice_t s_key (uint8_t bytes[KEY_SIZE], int kind, uint64_t row)
{
    bytes[0] = (uint8_t)kind;
    s_store (bytes + 1, row, 8);
    return (slice_t){bytes, KEY_SIZE};
}

/*  Size of the entry at a row's rest; 0: that is no entry. */
static size_t s_entry_size (const uint8_t *at, size_t left)
{
    if (left < ENTRY_HEAD)
        return 0;
    size_t size = ENTRY_HEAD + (size_t)s_load (at + 25, 2);
    return size <= left && size <= ENTRY_HEAD + REQUESTS_TEXT_MAX ? size : 0;
}

static int s_damaged (nexus_error_t *error)
{
    return nexus_error_set (error, NEXUS_CORRUPT,
                            "ledger table requests: a row is not what was written");
}

/*  ---- loading ------------------------------------------------------------- */

typedef struct {
    requests_t *self;
    bool damaged;
} loading_t;

static bool s_load_row (void *context, slice_t key, slice_t value)
{
    loading_t *loading = context;
    const uint8_t *name = key.data, *at = value.data;
    loading->damaged = true;
    if (key.size != KEY_SIZE || name[0] > 1)
        return false;
    kind_t *of = &loading->self->kinds[name[0]];
    uint64_t begin = s_load (name + 1, 8) * REQUESTS_ROW;
    if (of->first == of->next)
        of->first = of->next = begin;
    if (of->next != begin || of->next - of->first > RING - REQUESTS_ROW)
        return false;
    for (size_t left = value.size, size; left; at += size, left -= size) {
        size = s_entry_size (at, left);
        if (!size || of->next - begin == REQUESTS_ROW)
            return false;
        s_insert (loading->self, name[0], s_load (at, 8), s_load (at + 8, 8), s_load (at + 16, 8));
    }
    buffer_clear (&of->row);
    if (of->next % REQUESTS_ROW)
        buffer_append (&of->row, value.data, value.size);
    loading->damaged = false;
    return true;
}

int requests_load (requests_t *self, tables_txn_t *txn, nexus_error_t *error)
{
    loading_t loading = {.self = self};
    memset (self->slots, 0, self->slots_count * sizeof (*self->slots));
    self->used = 0;
    if (PLANTED (REQUESTS_FORGOTTEN))
        return 0;
    for (int i = 0; i < 2; i++) {
        kind_t *of = &self->kinds[i];
        of->first = of->next = 0;
        of->dirty = false;
        of->horizon = ledger_number (txn, i ? REQUESTS_HORIZON_CALLER : REQUESTS_HORIZON);
        buffer_clear (&of->row);
    }
    tables_each (txn, LEDGER_REQUESTS, (slice_t){NULL, 0}, (slice_t){NULL, 0}, s_load_row,
                 &loading);
    return loading.damaged ? s_damaged (error) : 0;
}

/*  ---- using ---------------------------------------------------------------- */

/*  The bytes of a result; size 0: they are not there. */
static slice_t s_entry (const requests_t *self, tables_txn_t *txn, int kind, uint64_t number)
{
    const kind_t *of = &self->kinds[kind];
    uint8_t name[KEY_SIZE];
    uint64_t row = number / REQUESTS_ROW;
    slice_t found = {of->row.data, of->row.size};
    if (row != of->next / REQUESTS_ROW &&
        !tables_get (txn, LEDGER_REQUESTS, s_key (name, kind, row), &found))
        return (slice_t){NULL, 0};
    const uint8_t *at = found.data;
    size_t left = found.size, size = s_entry_size (at, left);
    for (uint64_t i = row * REQUESTS_ROW; i < number && size; i++) {
        at += size;
        left -= size;
        size = s_entry_size (at, left);
    }
    return (slice_t){at, size};
}

request_state_t requests_find (const requests_t *self, tables_txn_t *txn, const once_t *once,
                               uint64_t *ret_code, char *text, nexus_error_t *error)
{
    uint32_t slot = self->slots[s_slot (self, once->client, once->sequence)].place;
    int kind = s_kind (once->client);
    const kind_t *of = &self->kinds[kind];
    if (!slot)
        return once->after < of->horizon ? REQUEST_TOO_OLD : REQUEST_NEW;
    uint64_t place = (slot - 1) >> 1, first = of->first % RING;
    uint64_t number = of->first + (place >= first ? place - first : place + RING - first);
    slice_t entry = s_entry (self, txn, kind, number);
    const uint8_t *bytes = entry.data;
    if (!entry.size || s_load (bytes, 8) != once->client ||
        s_load (bytes + 8, 8) != once->sequence) {
        s_damaged (error);
        return REQUEST_FAILED;
    }
    *ret_code = bytes[24];
    memcpy (text, bytes + ENTRY_HEAD, entry.size - ENTRY_HEAD);
    text[entry.size - ENTRY_HEAD] = 0;
    return REQUEST_DONE;
}

static int s_write_row (kind_t *of, int kind, tables_txn_t *txn, nexus_error_t *error)
{
    uint8_t name[KEY_SIZE];
    of->dirty = false;
    return tables_put (txn, LEDGER_REQUESTS, s_key (name, kind, (of->next - 1) / REQUESTS_ROW),
                       (slice_t){of->row.data, of->row.size}, error);
}

static int s_drop_row (requests_t *self, int kind, tables_txn_t *txn, nexus_error_t *error)
{
    kind_t *of = &self->kinds[kind];
    uint8_t name[KEY_SIZE], number[8];
    tables_delete (txn, LEDGER_REQUESTS, s_key (name, kind, of->first / REQUESTS_ROW));
    for (uint64_t i = 0; i < REQUESTS_ROW; i++)
        s_prefetch (self, &of->ring[(of->first + i) % RING]);
    for (int i = 0; i < REQUESTS_ROW; i++) {
        const kept_t *kept = &of->ring[of->first++ % RING];
        of->horizon = kept->index;
        s_remove (self, kept);
    }
    s_store (number, of->horizon, 8);
    return tables_put (txn, LEDGER_META, SLICE (kind ? REQUESTS_HORIZON_CALLER : REQUESTS_HORIZON),
                       (slice_t){number, 8}, error);
}

int requests_add (requests_t *self, tables_txn_t *txn, const once_t *once, uint64_t index,
                  uint64_t code, const char *text, nexus_error_t *error)
{
    int kind = s_kind (once->client);
    kind_t *of = &self->kinds[kind];
    size_t size = strnlen (text, REQUESTS_TEXT_MAX);
    uint8_t head[ENTRY_HEAD];
    assert (code <= UINT8_MAX);
    s_store (head, once->client, 8);
    s_store (head + 8, once->sequence, 8);
    s_store (head + 16, index, 8);
    head[24] = (uint8_t)code;
    s_store (head + 25, size, 2);
    if (of->next % REQUESTS_ROW == 0)
        buffer_clear (&of->row);
    buffer_append (&of->row, head, sizeof (head));
    buffer_append (&of->row, text, size);
    if (of->row.failed)
        return nexus_error_set (error, NEXUS_EXHAUSTED, "no memory to apply a command");
    s_insert (self, kind, once->client, once->sequence, index);
    of->dirty = true;
    if (of->next % REQUESTS_ROW)
        return 0;
    if (s_write_row (of, kind, txn, error))
        return -1;
    return of->next - of->first > REQUESTS_KEPT ? s_drop_row (self, kind, txn, error) : 0;
}

int requests_flush (requests_t *self, tables_txn_t *txn, nexus_error_t *error)
{
    for (int i = 0; i < 2; i++)
        if (self->kinds[i].dirty && s_write_row (&self->kinds[i], i, txn, error))
            return -1;
    return 0;
}
