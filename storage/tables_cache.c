/*  tables_cache - tables that are valid as long as their machine runs: see tables.h

        DIR/a, DIR/b   two LMDB environments, of which one counts
        DIR/valid      which one, and since which boot: "a BOOT-ID", or "a clean"
        DIR/snapshot   the durable copy (written by whoever calls tables_copy)

    LMDB's commits are atomic for the page cache, which outlives the process and dies with the
    machine. So the boot id tells whether what the file shows is what was committed. valid is
    on disk before the first commit of a boot: an older one, "clean", would otherwise come
    back with the power and vouch for a file that was written in part.
*/
#include "storage/file_error.h"
#include "storage/tables_copy.h"
#include "storage/tables_lmdb.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLEAN "clean"

static int path_of (const char *dir, const char *name, char path[PATH_MAX], nexus_error_t *error)
{
    if (snprintf (path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return nexus_error_set (error, NEXUS_INVALID, "%.300s: the path is too long", dir);
    return 0;
}

/*  ---- the file "valid" ---------------------------------------------------------- */

/*  The slot that is valid now; 0: none is. */
static char read_valid (const char *dir, const char *boot)
{
    char path[PATH_MAX], line[80] = "";
    if (path_of (dir, "valid", path, NULL) != 0)
        return 0;
    FILE *file = fopen (path, "re");
    if (!file)
        return 0;
    if (!fgets (line, sizeof line, file))
        line[0] = 0;
    fclose (file);
    line[strcspn (line, "\n")] = 0;
    if ((line[0] != 'a' && line[0] != 'b') || line[1] != ' ')
        return 0;
    bool same = strcmp (line + 2, CLEAN) == 0 || (*boot && strcmp (line + 2, boot) == 0);
    return same ? line[0] : 0;
}

static int write_valid (const char *dir, char slot, const char *since, bool flush,
                        nexus_error_t *error)
{
    char path[PATH_MAX], part[PATH_MAX];
    if (path_of (dir, "valid", path, error) != 0 || path_of (dir, "valid.part", part, error) != 0)
        return -1;
    int fd = open (part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error (part, "write it", errno, error);
    int rc = 0;
    if (dprintf (fd, "%c %s\n", slot, *since ? since : "-") < 0 || (flush && fsync (fd) != 0))
        rc = file_error (part, "write it", errno, error);
    close (fd);
    if (rc == 0 && rename (part, path) != 0)
        rc = file_error (path, "put it in place", errno, error);
    return rc || !flush ? rc : tables_copy_sync_dir (path, error);
}

static void forget_valid (const char *dir)
{
    char path[PATH_MAX];
    if (path_of (dir, "valid", path, NULL) == 0 && unlink (path) == 0)
        tables_copy_sync_dir (path, NULL);
}

/*  ---- slots ------------------------------------------------------------------------ */

static int slot_path (const char *dir, char slot, char path[PATH_MAX], nexus_error_t *error)
{
    return path_of (dir, (char[]){slot, 0}, path, error);
}

/*  Empties it. Whoever still has it open keeps what it shows. */
static void wipe (const char *slot)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "lock"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (path_of (slot, files[i], path, NULL) == 0)
            unlink (path);
}

/*  All of its rows are what was written. A copy's checksum says only that the copy is. */
static lmdb_generation_t *open_generation (const lmdb_tables_t *self, const char *slot,
                                           nexus_error_t *error)
{
    lmdb_generation_t *generation = lmdb_generation_open (
        slot, self->map_size, MDB_NOSYNC | MDB_WRITEMAP, self->names, self->base.count, error);
    if (!generation)
        return NULL;
    generation->env.mends = "restart: it is made anew";
    if (lmdb_generation_check (generation, self->base.count, error) == 0)
        return generation;
    lmdb_env_close (&generation->env);
    free (generation);
    return NULL;
}

/*  A generation in an empty slot, with the copy's content if file is not NULL. */
static lmdb_generation_t *fill (const lmdb_tables_t *self, char slot, const char *file,
                                nexus_error_t *error)
{
    char dir[PATH_MAX], data[PATH_MAX];
    if (slot_path (self->dir, slot, dir, error) != 0 || path_of (dir, "data.mdb", data, error) != 0)
        return NULL;
    wipe (dir);
    if (mkdir (dir, 0700) != 0 && errno != EEXIST) {
        file_error (dir, "create the directory", errno, error);
        return NULL;
    }
    if (file && tables_copy_extract (file, data, error) != 0) {
        wipe (dir);
        return NULL;
    }
    lmdb_generation_t *generation = open_generation (self, dir, error);
    if (!generation)
        wipe (dir);
    return generation;
}

static char other (char slot)
{
    return slot == 'a' ? 'b' : 'a';
}

/*  ---- replacing ------------------------------------------------------------------------ */

static void forget_prepared (lmdb_tables_t *self)
{
    char path[PATH_MAX];
    if (!self->prepared)
        return;
    lmdb_env_close (&self->prepared->env);
    free (self->prepared);
    self->prepared = NULL;
    if (slot_path (self->dir, other (self->slot), path, NULL) == 0)
        wipe (path);
}

/*  The other slot holds what the copy says; nothing is done twice. */
static int prepare (lmdb_tables_t *self, const char *file, nexus_error_t *error)
{
    tables_copy_t copy;
    if (tables_copy_peek (file, &copy, error) != 0)
        return -1;
    if (self->prepared && memcmp (self->prepared_hash, copy.hash, sizeof copy.hash) == 0)
        return 0;
    forget_prepared (self);
    self->prepared = fill (self, other (self->slot), file, error);
    memcpy (self->prepared_hash, copy.hash, sizeof copy.hash);
    return self->prepared ? 0 : -1;
}

int tables_cache_prepare (tables_t *base, const char *file, nexus_error_t *error)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    assert (self->dir);
    pthread_mutex_lock (&self->prepare_lock);
    int rc = 0;
    if (file)
        rc = prepare (self, file, error);
    else
        forget_prepared (self);
    pthread_mutex_unlock (&self->prepare_lock);
    return rc;
}

/*  The slot that was prepared is the one that counts. "valid" need not be flushed: the one on disk
    names this boot as well, so the power's loss makes it worthless either way. */
static int take_prepared (lmdb_tables_t *self, nexus_error_t *error)
{
    char old[PATH_MAX];
    if (write_valid (self->dir, other (self->slot), self->boot, false, error) != 0) {
        forget_valid (self->dir);
        return -1;
    }
    if (slot_path (self->dir, self->slot, old, NULL) == 0)
        wipe (old);
    self->slot = other (self->slot);
    lmdb_tables_swap (self, self->prepared);
    self->prepared = NULL;
    return 0;
}

int tables_cache_replace (tables_t *base, const char *file, nexus_error_t *error)
{
    lmdb_tables_t *self = (lmdb_tables_t *)base;
    assert (self->dir);
    pthread_mutex_lock (&self->prepare_lock);
    int rc = prepare (self, file, error);
    if (rc == 0)
        rc = take_prepared (self, error);
    pthread_mutex_unlock (&self->prepare_lock);
    return rc;
}

/*  In peace: all of it is on disk, and valid says so. */
static void before_close (lmdb_tables_t *self)
{
    nexus_error_t error;
    forget_prepared (self);
    int poison = atomic_load (&self->now->env.poison);
    if (poison || lmdb_env_sync (&self->now->env, &error) != 0)
        forget_valid (self->dir);
    else
        write_valid (self->dir, self->slot, CLEAN, true, &error);
}

/*  What the file "valid" vouches for. */
typedef enum { VALID_REFUSED = -1, VALID_NONE, VALID_OPEN, VALID_DAMAGED } valid_t;

static valid_t open_valid (lmdb_tables_t *self, nexus_error_t *error)
{
    char path[PATH_MAX], data[PATH_MAX];
    char slot = read_valid (self->dir, self->boot);
    if (!slot || slot_path (self->dir, slot, path, error) != 0 ||
        path_of (path, "data.mdb", data, error) != 0 || access (data, F_OK) != 0)
        return VALID_NONE;
    self->now = open_generation (self, path, error);
    self->slot = slot;
    /*  Damage is mended by making it again; anything else (rights, room, another process) is
        for people. */
    return self->now ? VALID_OPEN : error->code == NEXUS_CORRUPT ? VALID_DAMAGED : VALID_REFUSED;
}

static int make_anew (lmdb_tables_t *self, tables_origin_t *ret_origin, nexus_error_t *error)
{
    char path[PATH_MAX];
    if (path_of (self->dir, "snapshot", path, error) != 0)
        return -1;
    bool copy = access (path, F_OK) == 0;
    self->slot = 'a';
    self->now = fill (self, 'a', copy ? path : NULL, error);
    *ret_origin = copy ? TABLES_FROM_COPY : TABLES_EMPTY;
    return self->now ? 0 : -1;
}

static int open_slot (lmdb_tables_t *self, tables_origin_t *ret_origin, nexus_error_t *error)
{
    char path[PATH_MAX];
    valid_t valid = open_valid (self, error);
    *ret_origin = TABLES_KEPT;
    if (valid == VALID_REFUSED || (valid != VALID_OPEN && make_anew (self, ret_origin, error) != 0))
        return -1;
    if (valid == VALID_DAMAGED)
        *ret_origin = TABLES_MENDED;
    if (slot_path (self->dir, other (self->slot), path, NULL) == 0)
        wipe (path);
    return write_valid (self->dir, self->slot, self->boot, true, error);
}

tables_t *tables_open_cache (const char *dir, size_t map_size, const char *const *names,
                             size_t count, tables_origin_t *ret_origin, nexus_error_t *error)
{
    nexus_error_t ignored;
    error = error ? error : &ignored;
    lmdb_tables_t *self = lmdb_tables_new (count, error);
    tables_origin_t origin;
    if (!self)
        return NULL;
    self->dir = strdup (dir);
    self->map_size = map_size;
    self->names = names;
    boot_id_read (self->boot); /* "": nothing is valid after the process's end */
    int rc = 0;
    if (!self->dir)
        rc = nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    else if (mkdir (dir, 0700) != 0 && errno != EEXIST)
        rc = file_error (dir, "create the directory", errno, error);
    if (rc == 0)
        rc = open_slot (self, &origin, error);
    if (rc != 0) {
        if (self->now) {
            lmdb_env_close (&self->now->env);
            free (self->now);
        }
        lmdb_tables_free (self);
        return NULL;
    }
    self->before_close = before_close;
    if (ret_origin)
        *ret_origin = origin;
    return &self->base;
}
