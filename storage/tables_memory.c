/*  Tables in memory: persistent treaps.

    A commit publishes new roots; whoever holds an old root sees the old state.
    Nodes are reference-counted and shared between versions; a write copies the
    path from the root to what it changes, except for nodes that nobody else
    holds. A node's priority is a hash of its key, so a table's shape depends on
    its content alone. (Seidel, Aragon: Randomized Search Trees; Driscoll et al.:
    Making Data Structures Persistent.)
*/
#include "storage/tables_backing.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    atomic_size_t references;
    uint64_t priority;
    uint64_t content; /* hash of key and value */
    size_t key_size;
    size_t value_size;
    char bytes[]; /* the key, then the value */
} entry_t;

typedef struct node node_t;
struct node {
    atomic_size_t references;
    entry_t *entry;
    node_t *left;
    node_t *right;
};

typedef struct {
    node_t *tree;
    size_t count;
    size_t bytes;     /* keys and values */
    uint64_t content; /* the sum of the entries' */
} root_t;

typedef struct {
    tables_t base;
    pthread_mutex_t write_lock;
    pthread_mutex_t roots_lock; /* held for the moment of copying roots */
    root_t roots[];
} memory_tables_t;

typedef struct {
    tables_txn_t base;
    root_t roots[];
} memory_txn_t;

/*  This backing serves tests and the simulator: out of memory ends the process. */
static void *allocate (size_t size)
{
    void *memory = calloc (1, size);
    if (!memory) {
        fprintf (stderr, "out of memory\n");
        abort ();
    }
    return memory;
}

/*  ---- nodes ------------------------------------------------------------- */

static slice_t entry_key (const entry_t *entry)
{
    return (slice_t){entry->bytes, entry->key_size};
}

static slice_t entry_value (const entry_t *entry)
{
    return (slice_t){entry->bytes + entry->key_size, entry->value_size};
}

/*  FNV-1a, then a finaliser, because priorities of near keys must be far apart. */
static uint64_t hash (slice_t key)
{
    const uint8_t *bytes = key.data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.size; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 33);
}

static entry_t *entry_new (slice_t key, slice_t value)
{
    entry_t *entry = allocate (sizeof *entry + key.size + value.size);
    atomic_init (&entry->references, 1);
    entry->priority = hash (key);
    entry->content = hash (value) * 3 ^ entry->priority;
    entry->content = (entry->content ^ entry->content >> 32) * 0x9e3779b97f4a7c15u;
    entry->key_size = key.size;
    entry->value_size = value.size;
    memcpy (entry->bytes, key.data, key.size);
    if (value.size)
        memcpy (entry->bytes + key.size, value.data, value.size);
    return entry;
}

static void entry_release (entry_t *entry)
{
    if (atomic_fetch_sub_explicit (&entry->references, 1, memory_order_acq_rel) == 1)
        free (entry);
}

static node_t *node_new (entry_t *entry, node_t *left, node_t *right)
{
    node_t *node = allocate (sizeof *node);
    atomic_init (&node->references, 1);
    node->entry = entry;
    node->left = left;
    node->right = right;
    return node;
}

static node_t *node_retain (node_t *node)
{
    if (node)
        atomic_fetch_add_explicit (&node->references, 1, memory_order_relaxed);
    return node;
}

/*  Recursion here and below is as deep as the tree: about 2 ln n. */
static void node_release (node_t *node)
{
    if (!node || atomic_fetch_sub_explicit (&node->references, 1, memory_order_acq_rel) != 1)
        return;
    node_release (node->left);
    node_release (node->right);
    entry_release (node->entry);
    free (node);
}

/*  The node itself if the caller holds the only reference, else a copy; takes
    over the caller's reference. */
static node_t *node_own (node_t *node)
{
    if (atomic_load_explicit (&node->references, memory_order_acquire) == 1)
        return node;
    atomic_fetch_add_explicit (&node->entry->references, 1, memory_order_relaxed);
    node_t *copy = node_new (node->entry, node_retain (node->left), node_retain (node->right));
    node_release (node);
    return copy;
}

/*  Takes over node; *left: keys below key, *right: keys above; returns the node
    with that key, without children, or NULL. */
static node_t *split (node_t *node, slice_t key, node_t **left, node_t **right)
{
    if (!node) {
        *left = *right = NULL;
        return NULL;
    }
    node = node_own (node);
    int order = slice_compare (key, entry_key (node->entry));
    node_t *middle;
    if (order == 0) {
        *left = node->left;
        *right = node->right;
        node->left = node->right = NULL;
        return node;
    }
    if (order < 0) {
        node_t *rest = NULL;
        middle = split (node->left, key, left, &rest);
        node->left = rest;
        *right = node;
    } else {
        node_t *rest = NULL;
        middle = split (node->right, key, &rest, right);
        node->right = rest;
        *left = node;
    }
    return middle;
}

/*  Takes over both; all keys of left are below those of right. */
static node_t *merge (node_t *left, node_t *right)
{
    if (!left || !right)
        return left ? left : right;
    if (left->entry->priority > right->entry->priority) {
        left = node_own (left);
        left->right = merge (left->right, right);
        return left;
    }
    right = node_own (right);
    right->left = merge (left, right->left);
    return right;
}

/*  ---- operations -------------------------------------------------------- */

static root_t *root_of (tables_txn_t *txn, size_t table)
{
    return &((memory_txn_t *)txn)->roots[table];
}

static const entry_t *find (const node_t *node, slice_t key)
{
    while (node) {
        int order = slice_compare (key, entry_key (node->entry));
        if (order == 0)
            return node->entry;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

static bool memory_get (tables_txn_t *txn, size_t table, slice_t key, slice_t *ret_value)
{
    const entry_t *entry = find (root_of (txn, table)->tree, key);
    if (entry)
        *ret_value = entry_value (entry);
    return entry != NULL;
}

/*  Takes out the node of a key; *left and *right are what remains. */
static bool take_out (root_t *root, slice_t key, node_t **left, node_t **right)
{
    node_t *old = split (root->tree, key, left, right);
    root->tree = NULL;
    if (!old)
        return false;
    root->count--;
    root->bytes -= old->entry->key_size + old->entry->value_size;
    root->content -= old->entry->content;
    node_release (old);
    return true;
}

static int memory_put (tables_txn_t *txn, size_t table, slice_t key, slice_t value,
                       nexus_error_t *error)
{
    (void)error;
    root_t *root = root_of (txn, table);
    /*  First of all: key and value may point into what is about to be replaced. */
    entry_t *entry = entry_new (key, value);
    node_t *left, *right;
    take_out (root, entry_key (entry), &left, &right);
    root->tree = merge (merge (left, node_new (entry, NULL, NULL)), right);
    root->count++;
    root->bytes += key.size + value.size;
    root->content += entry->content;
    return 0;
}

static bool memory_erase (tables_txn_t *txn, size_t table, slice_t key)
{
    root_t *root = root_of (txn, table);
    if (!find (root->tree, key))
        return false;
    node_t *left, *right;
    take_out (root, key, &left, &right);
    root->tree = merge (left, right);
    return true;
}

typedef struct {
    slice_t prefix;
    slice_t start;
    bool (*visit) (void *context, slice_t key, slice_t value);
    void *context;
    size_t visited;
} walk_t;

/*  In order; false: stop. */
static bool walk (walk_t *self, const node_t *node)
{
    if (!node)
        return true;
    slice_t key = entry_key (node->entry);
    if (slice_compare (key, self->start) >= 0) {
        if (!walk (self, node->left))
            return false;
        if (!slice_begins (key, self->prefix))
            return false;
        self->visited++;
        if (!self->visit (self->context, key, entry_value (node->entry)))
            return false;
    }
    return walk (self, node->right);
}

static size_t memory_each (tables_txn_t *txn, size_t table, slice_t prefix, slice_t start,
                           bool (*visit) (void *context, slice_t key, slice_t value), void *context)
{
    walk_t state = {prefix, start, visit, context, 0};
    walk (&state, root_of (txn, table)->tree);
    return state.visited;
}

static size_t memory_count (tables_txn_t *txn, size_t table)
{
    return root_of (txn, table)->count;
}

/*  ---- transactions ------------------------------------------------------ */

static tables_txn_t *memory_begin (tables_t *base, bool write, nexus_error_t *error)
{
    (void)error;
    memory_tables_t *self = (memory_tables_t *)base;
    memory_txn_t *txn = allocate (sizeof *txn + base->count * sizeof txn->roots[0]);
    if (write)
        pthread_mutex_lock (&self->write_lock);
    pthread_mutex_lock (&self->roots_lock);
    for (size_t i = 0; i < base->count; i++) {
        txn->roots[i] = self->roots[i];
        node_retain (txn->roots[i].tree);
    }
    pthread_mutex_unlock (&self->roots_lock);
    return &txn->base;
}

static void memory_abort (tables_txn_t *base)
{
    memory_tables_t *self = (memory_tables_t *)base->tables;
    memory_txn_t *txn = (memory_txn_t *)base;
    for (size_t i = 0; i < self->base.count; i++)
        node_release (txn->roots[i].tree);
    if (base->write)
        pthread_mutex_unlock (&self->write_lock);
    free (txn);
}

static int memory_commit (tables_txn_t *base, nexus_error_t *error)
{
    (void)error;
    memory_tables_t *self = (memory_tables_t *)base->tables;
    memory_txn_t *txn = (memory_txn_t *)base;
    if (base->write) {
        pthread_mutex_lock (&self->roots_lock);
        for (size_t i = 0; i < self->base.count; i++) {
            root_t old = self->roots[i];
            self->roots[i] = txn->roots[i];
            txn->roots[i] = old;
        }
        pthread_mutex_unlock (&self->roots_lock);
    }
    memory_abort (base);
    return 0;
}

static void memory_usage (tables_t *base, size_t *ret_used, size_t *ret_limit)
{
    memory_tables_t *self = (memory_tables_t *)base;
    size_t used = 0;
    pthread_mutex_lock (&self->roots_lock);
    for (size_t i = 0; i < base->count; i++)
        used += self->roots[i].bytes + self->roots[i].count * (sizeof (node_t) + sizeof (entry_t));
    pthread_mutex_unlock (&self->roots_lock);
    *ret_used = used;
    *ret_limit = SIZE_MAX;
}

uint64_t tables_memory_hash (tables_t *base)
{
    memory_tables_t *self = (memory_tables_t *)base;
    uint64_t content = 0;
    pthread_mutex_lock (&self->roots_lock);
    for (size_t i = 0; i < base->count; i++)
        content = (content ^ content >> 29) * 0xbf58476d1ce4e5b9u + self->roots[i].content;
    pthread_mutex_unlock (&self->roots_lock);
    return content;
}

static void memory_close (tables_t *base)
{
    memory_tables_t *self = (memory_tables_t *)base;
    for (size_t i = 0; i < base->count; i++)
        node_release (self->roots[i].tree);
    pthread_mutex_destroy (&self->write_lock);
    pthread_mutex_destroy (&self->roots_lock);
    free (self);
}

static const tables_ops_t memory_ops = {
    .close = memory_close,
    .begin = memory_begin,
    .commit = memory_commit,
    .abort = memory_abort,
    .get = memory_get,
    .put = memory_put,
    .erase = memory_erase,
    .each = memory_each,
    .count = memory_count,
    .usage = memory_usage,
};

tables_t *tables_open_memory (const char *const *names, size_t count)
{
    (void)names;
    assert (count > 0);
    memory_tables_t *self = allocate (sizeof *self + count * sizeof self->roots[0]);
    self->base.ops = &memory_ops;
    self->base.count = count;
    pthread_mutex_init (&self->write_lock, NULL);
    pthread_mutex_init (&self->roots_lock, NULL);
    return &self->base;
}
