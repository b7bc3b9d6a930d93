#include "storage/lmdb_check.h"

#include "storage/file_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*  LMDB 0.9's layout; see "page and node structures" in its mdb.c. */
enum {
    PAGE_HEADER = 16, /* number 8, pad 2, flags 2, lower 2 and upper 2 (or overflow pages 4) */
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4,
    PAGE_META = 8,
    NODE_HEADER = 8, /* size low 2, size high 2, flags 2, key size 2; then key and data */
    NODE_BIG = 1,    /* data is the number of an overflow page */
    NODE_TABLE = 2,  /* data is a table's record */
    TABLE_INTEGER_KEYS = 8,
    TABLE_SIZE = 48,
    DEPTH_MAX = 32,
    SLACK = 64 << 20
};
#define META_MAGIC   0xbeefc0deu
#define META_VERSION 1u
#define NO_PAGE      UINT64_MAX

typedef struct {
    uint32_t pad; /* of the free list's: the page size */
    uint16_t flags;
    uint16_t depth;
    uint64_t branches;
    uint64_t leaves;
    uint64_t overflows;
    uint64_t entries;
    uint64_t root;
} table_t;
_Static_assert(sizeof (table_t) == TABLE_SIZE, "as LMDB stores it");

typedef struct {
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_size;
    table_t free;
    table_t main;
    uint64_t last_page;
    uint64_t txn;
} meta_t;

typedef struct {
    const uint8_t *data;
    size_t size;
} bytes_t;

typedef struct {
    const uint8_t *map;
    size_t size;
    size_t page_size;
    uint64_t last_page;
    uint64_t txn;
    uint8_t *taken; /* a bit for each page that is in use or free */
    uint64_t page;  /* where the fault is */
    const char *fault;
} check_t;

/*  A table being walked, what was found in it, and how its leaves are to be read. */
typedef enum { FREE_LIST, MAIN_TABLE, NAMED_TABLE } role_t;
typedef struct {
    const table_t *table;
    role_t role;
    table_t found;
} walk_t;

static bool fault (check_t *self, uint64_t page, const char *what)
{
    if (!self->fault) {
        self->fault = what;
        self->page = page;
    }
    return false;
}

static uint16_t get_16 (const uint8_t *bytes)
{
    uint16_t value;
    memcpy (&value, bytes, sizeof value);
    return value;
}

static uint64_t get_64 (const uint8_t *bytes)
{
    uint64_t value;
    memcpy (&value, bytes, sizeof value);
    return value;
}

/*  ---- pages ------------------------------------------------------------- */

/*  Marks a page as accounted for. */
static bool take (check_t *self, uint64_t page)
{
    if (page < 2 || page > self->last_page)
        return fault (self, page, "is referred to, and lies outside the file");
    uint8_t bit = (uint8_t)(1u << page % 8);
    if (self->taken[page / 8] & bit)
        return fault (self, page, "is referred to twice");
    self->taken[page / 8] |= bit;
    return true;
}

/*  The page's bytes, after checking number and kind. */
static const uint8_t *get_page (check_t *self, uint64_t page, unsigned kinds)
{
    if (page > self->last_page || (page + 1) * self->page_size > self->size) {
        fault (self, page, "is referred to, and lies outside the file");
        return NULL;
    }
    const uint8_t *bytes = self->map + page * self->page_size;
    uint16_t kind = get_16 (bytes + 10);
    if (get_64 (bytes) != page) {
        fault (self, page, "has another number in it");
        return NULL;
    }
    if ((kind & kinds) == 0 || (kind & (kind - 1)) != 0) {
        fault (self, page, "is of the wrong kind");
        return NULL;
    }
    return bytes;
}

/*  A large value's pages. */
static bool get_overflow (check_t *self, walk_t *walk, uint64_t page, size_t size, bytes_t *data)
{
    const uint8_t *bytes = get_page (self, page, PAGE_OVERFLOW);
    if (!bytes)
        return false;
    uint32_t pages;
    memcpy (&pages, bytes + 12, sizeof pages);
    size_t needed = (PAGE_HEADER + size + self->page_size - 1) / self->page_size;
    /*  A value that is overwritten by a shorter one may keep its pages. */
    if (pages < needed || (page + pages) * self->page_size > self->size)
        return fault (self, page, "has the wrong length");
    for (uint32_t i = 0; i < pages; i++)
        if (!take (self, page + i))
            return false;
    walk->found.overflows += pages;
    *data = (bytes_t){bytes + PAGE_HEADER, size};
    return true;
}

/*  ---- leaves ------------------------------------------------------------ */

static bool check_table (check_t *self, const table_t *table, role_t role);

/*  The pages that a transaction set free: their count, then their numbers. */
static bool check_free (check_t *self, uint64_t page, bytes_t key, bytes_t data)
{
    if (key.size != 8 || get_64 (key.data) > self->txn || data.size < 8 ||
        get_64 (data.data) != data.size / 8 - 1)
        return fault (self, page, "has a bad list of free pages");
    uint64_t before = NO_PAGE;
    for (size_t i = 8; i + 8 <= data.size; i += 8) {
        uint64_t number = get_64 (data.data + i);
        if (number >= before)
            return fault (self, page, "has a list of free pages out of order");
        if (!take (self, number))
            return false;
        before = number;
    }
    return true;
}

static bool check_leaf_node (check_t *self, walk_t *walk, uint64_t page, const uint8_t *node,
                             bytes_t key)
{
    uint16_t flags = get_16 (node + 4);
    bytes_t data = {key.data + key.size, get_16 (node) | (size_t)get_16 (node + 2) << 16};
    if (flags & NODE_BIG && !get_overflow (self, walk, get_64 (data.data), data.size, &data))
        return false;
    walk->found.entries++;
    if (walk->role == FREE_LIST)
        return flags == (flags & NODE_BIG) ? check_free (self, page, key, data)
                                           : fault (self, page, "has a node of the wrong kind");
    if (flags == NODE_TABLE && walk->role == MAIN_TABLE && data.size == TABLE_SIZE) {
        table_t table;
        memcpy (&table, data.data, sizeof table);
        return check_table (self, &table, NAMED_TABLE);
    }
    return flags == (flags & NODE_BIG) || fault (self, page, "has a node of the wrong kind");
}

/*  ---- trees ------------------------------------------------------------- */

static int compare (const walk_t *walk, bytes_t a, bytes_t b)
{
    if (walk->table->flags & TABLE_INTEGER_KEYS) {
        uint64_t x = get_64 (a.data), y = get_64 (b.data);
        return (x > y) - (x < y);
    }
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp (a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/*  Node i, whose bytes must lie within the page; adds them to *used. */
static const uint8_t *get_node (check_t *self, uint64_t page, const uint8_t *bytes, size_t i,
                                bytes_t *key, size_t *used)
{
    bool leaf = get_16 (bytes + 10) == PAGE_LEAF;
    size_t at = get_16 (bytes + PAGE_HEADER + 2 * i), upper = get_16 (bytes + 14);
    if (at < upper || at % 2 || at + NODE_HEADER > self->page_size) {
        fault (self, page, "has a pointer out of its bounds");
        return NULL;
    }
    const uint8_t *node = bytes + at;
    *key = (bytes_t){node + NODE_HEADER, get_16 (node + 6)};
    size_t size = NODE_HEADER + key->size;
    if (leaf)
        size += get_16 (node + 4) & NODE_BIG ? 8 : get_16 (node) | (size_t)get_16 (node + 2) << 16;
    size += size % 2;
    if (at + size > self->page_size) {
        fault (self, page, "has a node out of its bounds");
        return NULL;
    }
    *used += size;
    return node;
}

/*  Keys of a page ascend, from low (included) to high (excluded); NULL data: no bound. */
static bool check_key (check_t *self, const walk_t *walk, uint64_t page, bytes_t key, bytes_t low,
                       bool equal_allowed, bytes_t high)
{
    if (walk->table->flags & TABLE_INTEGER_KEYS && key.size != 8)
        return fault (self, page, "has a key of the wrong size");
    int order = low.data ? compare (walk, key, low) : 1;
    if (order < 0 || (order == 0 && !equal_allowed) ||
        (high.data && compare (walk, key, high) >= 0))
        return fault (self, page, "has keys out of order");
    return true;
}

static bool check_page (check_t *self, walk_t *walk, uint64_t page, unsigned depth, bytes_t low,
                        bytes_t high);

/*  Node i of a branch leads to the keys from its own key on, below that of the next. */
static bool check_branch (check_t *self, walk_t *walk, uint64_t page, const uint8_t *bytes,
                          size_t count, unsigned depth, bytes_t low, bytes_t high)
{
    for (size_t i = 0; i < count; i++) {
        bytes_t key, next;
        size_t ignored = 0;
        const uint8_t *node = get_node (self, page, bytes, i, &key, &ignored);
        if (!node || (i + 1 < count && !get_node (self, page, bytes, i + 1, &next, &ignored)))
            return false;
        uint64_t child =
            get_16 (node) | (uint64_t)get_16 (node + 2) << 16 | (uint64_t)get_16 (node + 4) << 32;
        /*  The first key stands for "everything below", whatever it says. */
        if (!check_page (self, walk, child, depth + 1, i ? key : low, i + 1 < count ? next : high))
            return false;
    }
    return true;
}

/*  Recursion is as deep as the tree, DEPTH_MAX at most. */
static bool check_page (check_t *self, walk_t *walk, uint64_t page, unsigned depth, bytes_t low,
                        bytes_t high)
{
    if (depth > walk->table->depth)
        return fault (self, page, "lies deeper than its table says");
    bool bottom = depth == walk->table->depth;
    const uint8_t *bytes = get_page (self, page, bottom ? PAGE_LEAF : PAGE_BRANCH);
    if (!bytes || !take (self, page))
        return false;
    size_t lower = get_16 (bytes + 12), upper = get_16 (bytes + 14), used = 0;
    if (lower < PAGE_HEADER || lower % 2 || lower > upper || upper > self->page_size)
        return fault (self, page, "has bad bounds");
    size_t count = (lower - PAGE_HEADER) / 2;
    if (count < (bottom ? 1 : 2))
        return fault (self, page, "has too few nodes");
    bytes_t before = low;
    for (size_t i = 0; i < count; i++) {
        bytes_t key;
        const uint8_t *node = get_node (self, page, bytes, i, &key, &used);
        if (!node)
            return false;
        if (!bottom && i == 0)
            continue;
        if (!check_key (self, walk, page, key, before, i == (bottom ? 0 : 1), high) ||
            (bottom && !check_leaf_node (self, walk, page, node, key)))
            return false;
        before = key;
    }
    if (used != self->page_size - upper)
        return fault (self, page, "has nodes that overlap, or holes");
    if (bottom)
        walk->found.leaves++;
    else
        walk->found.branches++;
    return bottom || check_branch (self, walk, page, bytes, count, depth, low, high);
}

static bool check_table (check_t *self, const table_t *table, role_t role)
{
    walk_t walk = {.table = table, .role = role};
    uint16_t flags = table->flags & (uint16_t)~TABLE_INTEGER_KEYS;
    if (flags || table->depth > DEPTH_MAX || (table->root == NO_PAGE) != (table->depth == 0))
        return fault (self, table->root, "is the root of a table whose record is damaged");
    if (table->root != NO_PAGE &&
        !check_page (self, &walk, table->root, 1, (bytes_t){0}, (bytes_t){0}))
        return false;
    if (walk.found.entries != table->entries || walk.found.leaves != table->leaves ||
        walk.found.branches != table->branches || walk.found.overflows != table->overflows)
        return fault (self, table->root, "is the root of a table that has other counts");
    return true;
}

/*  ---- the file ---------------------------------------------------------- */

static bool get_meta (check_t *self, uint64_t page, meta_t *meta)
{
    const uint8_t *bytes = self->map + page * self->page_size;
    memcpy (meta, bytes + PAGE_HEADER, sizeof *meta);
    if (get_64 (bytes) != page || get_16 (bytes + 10) != PAGE_META || meta->magic != META_MAGIC ||
        meta->version != META_VERSION || meta->free.pad != self->page_size)
        return fault (self, page, "is no meta page of LMDB 0.9");
    return true;
}

/*  Commits write the two meta pages in turn, so their numbers differ by one. */
static bool pick_meta (check_t *self, meta_t *newest)
{
    meta_t even, odd;
    if (!get_meta (self, 0, &even) || !get_meta (self, 1, &odd))
        return false;
    bool fresh = even.txn == 0 && odd.txn == 0;
    if (!fresh && (even.txn % 2 != 0 || odd.txn % 2 != 1 ||
                   (even.txn + 1 != odd.txn && odd.txn + 1 != even.txn)))
        return fault (self, even.txn > odd.txn ? 0 : 1, "has a bad transaction number");
    *newest = odd.txn > even.txn ? odd : even;
    return true;
}

static bool check_file (check_t *self, size_t map_size)
{
    meta_t meta;
    /*  The page size stands in the first page itself. */
    memcpy (&meta, self->map + PAGE_HEADER, sizeof meta);
    self->page_size = meta.free.pad;
    if (self->page_size < 512 || self->page_size > 32768 ||
        (self->page_size & (self->page_size - 1)) || self->size < 2 * self->page_size)
        return fault (self, 0, "is no meta page of LMDB 0.9");
    if (!pick_meta (self, &meta))
        return false;
    /*  The last pages may be free and never written. */
    size_t limit = 2 * self->size + SLACK;
    limit = map_size > limit ? map_size : limit;
    self->last_page = meta.last_page;
    self->txn = meta.txn;
    if (meta.last_page < 1 || meta.last_page >= limit / self->page_size)
        return fault (self, meta.last_page, "would be the last one, and lies outside the file");
    self->taken = calloc (1, meta.last_page / 8 + 1);
    if (!self->taken)
        return fault (self, 0, "can't be checked for want of memory");
    /*  The free list's flags are the environment's; its keys are always integers. */
    meta.free.flags = TABLE_INTEGER_KEYS;
    return check_table (self, &meta.main, MAIN_TABLE) && check_table (self, &meta.free, FREE_LIST);
}

int lmdb_check (const char *path, size_t map_size, nexus_error_t *error)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : file_error (path, "open it", errno, error);
    struct stat status;
    if (fstat (fd, &status) != 0) {
        int code = errno;
        close (fd);
        return file_error (path, "look at it", code, error);
    }
    size_t size = (size_t)status.st_size;
    if (size < PAGE_HEADER + sizeof (meta_t)) {
        close (fd);
        return size == 0 ? 0
                         : nexus_error_set (error, NEXUS_CORRUPT,
                                            "%.300s: is damaged: it is too short for an LMDB file; "
                                            "move it away and join again",
                                            path);
    }
    void *map = mmap (NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    int code = errno;
    close (fd);
    if (map == MAP_FAILED)
        return file_error (path, "map it", code, error);
    check_t check = {.map = map, .size = size};
    bool sound = check_file (&check, map_size);
    munmap (map, size);
    free (check.taken);
    if (sound)
        return 0;
    return nexus_error_set (error, NEXUS_CORRUPT,
                            "%.300s: is damaged: page %llu %s; move it away and join again", path,
                            (unsigned long long)check.page, check.fault);
}
