/*  The functions that it replaces have the C library's names and no other declaration here than
    that library's; those with 64 in their names are what programs with large files call. */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__ ((visibility ("default")))

enum { RULES_MAX = 32, FILES_MAX = 256, SECTOR = 512 };

typedef enum { CALL_WRITE, CALL_FLUSH, CALL_GROW, CALL_DSYNC, CALLS } call_t;
static const char *const call_names[CALLS] = {"write", "flush", "grow", "dsync"};

typedef enum { NONE, FAIL_EIO, FAIL_ENOSPC, SHORT, LOSE, KILL, TORN, POWER, STALL, FAULTS } fault_t;
static const char *const fault_names[FAULTS] = {"none", "eio",  "enospc", "short", "lose",
                                                "kill", "torn", "power",  "stall"};

typedef struct {
    char pattern[256];
    call_t call;
    fault_t fault;
    long stall_ms;
    uint64_t after, times;
} rule_t;

typedef struct {
    char path[PATH_MAX];
    uint64_t counts[CALLS];
} file_t;

/*  What a sector held before a write that is not flushed yet. */
typedef struct {
    dev_t device;
    ino_t inode;
    char path[256];
    off_t sector;
    uint8_t bytes[SECTOR];
} image_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static rule_t rules[RULES_MAX];
static size_t rules_count;
static file_t *files;
static size_t files_count;
static struct timespec control_time;
static char watched[256];
static image_t *images;
static size_t images_count, images_room;
static uint64_t seed = 1;

static ssize_t (*real_write) (int, const void *, size_t);
static ssize_t (*real_pwrite) (int, const void *, size_t, off_t);
static ssize_t (*real_writev) (int, const struct iovec *, int);
static ssize_t (*real_pwritev) (int, const struct iovec *, int, off_t);
static int (*real_fsync) (int);
static int (*real_fdatasync) (int);
static int (*real_ftruncate) (int, off_t);
static int (*real_posix_fallocate) (int, off_t, off_t);

static void die (const char *what, const char *text)
{
    fprintf (stderr, "faults: %s: %s\n", what, text);
    abort ();
}

static void *find (const char *name)
{
    void *function = dlsym (RTLD_NEXT, name);
    if (!function)
        die ("not in the C library", name);
    return function;
}

static void find_all (void)
{
    real_write = (ssize_t (*) (int, const void *, size_t))find ("write");
    real_pwrite = (ssize_t (*) (int, const void *, size_t, off_t))find ("pwrite");
    real_writev = (ssize_t (*) (int, const struct iovec *, int))find ("writev");
    real_pwritev = (ssize_t (*) (int, const struct iovec *, int, off_t))find ("pwritev");
    real_fsync = (int (*) (int))find ("fsync");
    real_fdatasync = (int (*) (int))find ("fdatasync");
    real_ftruncate = (int (*) (int, off_t))find ("ftruncate");
    real_posix_fallocate = (int (*) (int, off_t, off_t))find ("posix_fallocate");
}

/*  ---- rules --------------------------------------------------------------- */

static int find_name (const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp (name, names[i]) == 0)
            return i;
    return -1;
}

static void add_rule (char *line)
{
    char *saved, *pattern = strtok_r (line, " \t", &saved);
    if (!pattern || *pattern == '#')
        return;
    const char *call = strtok_r (NULL, " \t", &saved), *fault = strtok_r (NULL, " \t", &saved);
    if (!call || !fault || rules_count == RULES_MAX)
        die ("not a rule, or one too many", pattern);
    rule_t *rule = &rules[rules_count++];
    *rule = (rule_t){.times = UINT64_MAX};
    snprintf (rule->pattern, sizeof rule->pattern, "%s", pattern);
    int number = find_name (call, call_names, CALL_DSYNC);
    if (number < 0)
        die ("no such call", call);
    rule->call = (call_t)number;
    if (sscanf (fault, "stall=%ld", &rule->stall_ms) == 1)
        rule->fault = STALL;
    else if ((number = find_name (fault, fault_names, STALL)) > 0)
        rule->fault = (fault_t)number;
    else
        die ("no such fault", fault);
    for (const char *word; (word = strtok_r (NULL, " \t", &saved));) {
        unsigned long long value;
        if (sscanf (word, "after=%llu", &value) == 1)
            rule->after = value;
        else if (sscanf (word, "times=%llu", &value) == 1)
            rule->times = value;
        else
            die ("neither after=N nor times=N", word);
    }
}

static void set_rules (const char *text)
{
    char *copy = strdup (text), *saved;
    rules_count = 0;
    for (char *line = strtok_r (copy, "\n", &saved); line; line = strtok_r (NULL, "\n", &saved))
        add_rule (line);
    free (copy);
}

/*  Reads the control file again if it is another one than before. */
static void look_for_rules (void)
{
    const char *path = getenv ("NEXUS_FAULTS");
    struct stat status;
    if (!path)
        return;
    if (stat (path, &status) != 0) {
        if (control_time.tv_sec)
            rules_count = 0;
        control_time.tv_sec = 0;
        return;
    }
    if (status.st_mtim.tv_sec == control_time.tv_sec &&
        status.st_mtim.tv_nsec == control_time.tv_nsec)
        return;
    control_time = status.st_mtim;
    char text[8192] = "";
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t size = read (fd, text, sizeof text - 1);
        text[size > 0 ? size : 0] = 0;
        close (fd);
    }
    set_rules (text);
}

/*  ---- power loss ---------------------------------------------------------- */

static uint64_t next_random (void)
{
    uint64_t z = seed += UINT64_C (0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C (0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C (0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static bool is_watched (const char *path)
{
    return watched[0] && fnmatch (watched, path, 0) == 0;
}

static image_t *add_image (const char *path)
{
    if (images_count == images_room) {
        images_room = images_room ? images_room * 2 : 1024;
        images = realloc (images, images_room * sizeof *images);
        if (!images)
            die ("out of memory", path);
    }
    image_t *image = &images[images_count++];
    *image = (image_t){.sector = -1};
    snprintf (image->path, sizeof image->path, "%.255s", path);
    return image;
}

/*  What the sectors of a write hold now; zeros behind the file's end. */
static void keep (int fd, const char *path, off_t offset, size_t size)
{
    struct stat status;
    if (!is_watched (path) || size == 0 || fstat (fd, &status) != 0)
        return;
    /*  A descriptor for writing only can't be read from. */
    char self[64];
    snprintf (self, sizeof self, "/proc/self/fd/%d", fd);
    int reader = open (self, O_RDONLY | O_CLOEXEC);
    if (reader < 0)
        die ("can't read what a write replaces", path);
    for (off_t sector = offset / SECTOR; sector * SECTOR < offset + (off_t)size; sector++) {
        image_t *image = add_image (path);
        image->device = status.st_dev;
        image->inode = status.st_ino;
        image->sector = sector;
        if (sector * SECTOR < status.st_size &&
            pread (reader, image->bytes, SECTOR, sector * SECTOR) < 0)
            die ("can't read what a write replaces", path);
    }
    close (reader);
}

static void forget (int fd, const char *path)
{
    struct stat status;
    if (!is_watched (path) || fstat (fd, &status) != 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < images_count; i++)
        if (images[i].inode != status.st_ino || images[i].device != status.st_dev)
            images[kept++] = images[i];
    images_count = kept;
}

static bool same_sector (const image_t *a, const image_t *b)
{
    return a->sector == b->sector && a->inode == b->inode && a->device == b->device;
}

/*  Newest first; a sector that is decided keeps what it has then. */
static void lose_power (void)
{
    int fd = -1;
    const char *opened = "";
    for (size_t i = images_count; i-- > 0;) {
        image_t *image = &images[i];
        if (image->sector < 0)
            continue;
        if (next_random () % 2) {
            for (size_t k = 0; k < i; k++)
                if (same_sector (&images[k], image))
                    images[k].sector = -1;
            continue;
        }
        if (strcmp (opened, image->path) != 0) {
            fd = open (image->path, O_WRONLY | O_CLOEXEC);
            opened = image->path;
        }
        if (fd < 0 || real_pwrite (fd, image->bytes, SECTOR, image->sector * SECTOR) != SECTOR)
            die ("can't undo a write", image->path);
    }
    raise (SIGKILL);
    abort ();
}

/*  ---- what happens to a call ---------------------------------------------- */

static bool find_path (int fd, char *path)
{
    char self[64];
    snprintf (self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t size = readlink (self, path, PATH_MAX - 1);
    path[size > 0 ? size : 0] = 0;
    return path[0] == '/';
}

static void count (const char *path, call_t call)
{
    size_t i = 0;
    if (!files && !(files = calloc (FILES_MAX, sizeof *files)))
        die ("out of memory", path);
    while (i < files_count && strcmp (files[i].path, path))
        i++;
    if (i == FILES_MAX)
        return;
    if (i == files_count)
        snprintf (files[files_count++].path, PATH_MAX, "%s", path);
    files[i].counts[call]++;
}

/*  The rule that hits this call; a copy, since the rules may change. */
static rule_t decide (const char *path, call_t call)
{
    look_for_rules ();
    count (path, call);
    for (size_t i = 0; i < rules_count; i++) {
        rule_t *rule = &rules[i];
        if (rule->call != call || fnmatch (rule->pattern, path, 0))
            continue;
        if (rule->after)
            rule->after--;
        else if (rule->times) {
            rule->times -= rule->times != UINT64_MAX;
            fprintf (stderr, "faults: %s: %s of %s\n", fault_names[rule->fault], call_names[call],
                     path);
            return *rule;
        }
        break;
    }
    return (rule_t){.fault = NONE};
}

/*  What can be done without knowing the call. True: it fails, with errno. */
static bool carry_out (const rule_t *rule)
{
    struct timespec wait = {rule->stall_ms / 1000, rule->stall_ms % 1000 * 1000000};
    switch (rule->fault) {
    case FAIL_EIO:
        errno = EIO;
        return true;
    case FAIL_ENOSPC:
        errno = ENOSPC;
        return true;
    case KILL:
        raise (SIGKILL);
        return false;
    case POWER:
        lose_power ();
        return false;
    case STALL:
        nanosleep (&wait, NULL);
        return false;
    default:
        return false;
    }
}

static size_t total (const struct iovec *parts, int parts_count)
{
    size_t size = 0;
    for (int i = 0; i < parts_count; i++)
        size += parts[i].iov_len;
    return size;
}

/*  offset -1: where the descriptor stands. */
static ssize_t write_all (int fd, const struct iovec *parts, int parts_count, off_t offset)
{
    if (parts_count == 1)
        return offset < 0 ? real_write (fd, parts->iov_base, parts->iov_len)
                          : real_pwrite (fd, parts->iov_base, parts->iov_len, offset);
    return offset < 0 ? real_writev (fd, parts, parts_count)
                      : real_pwritev (fd, parts, parts_count, offset);
}

/*  The first half of the bytes. */
static ssize_t write_half (int fd, const struct iovec *parts, int parts_count, off_t offset)
{
    size_t size = total (parts, parts_count) / 2, done = 0;
    for (int i = 0; i < parts_count && done < size; i++) {
        struct iovec part = parts[i];
        if (part.iov_len > size - done)
            part.iov_len = size - done;
        ssize_t rc = write_all (fd, &part, 1, offset < 0 ? offset : offset + (off_t)done);
        if (rc < 0)
            return done ? (ssize_t)done : rc;
        done += (size_t)rc;
    }
    return (ssize_t)done;
}

static ssize_t intercept_write (int fd, const struct iovec *parts, int parts_count, off_t offset)
{
    if (!real_write)
        find_all ();
    char path[PATH_MAX];
    int saved = errno;
    bool known = fd > 2 && find_path (fd, path);
    errno = saved;
    if (!known)
        return write_all (fd, parts, parts_count, offset);
    pthread_mutex_lock (&lock);
    rule_t rule = decide (path, CALL_WRITE);
    bool flushed = fcntl (fd, F_GETFL) & O_DSYNC;
    if (flushed)
        count (path, CALL_DSYNC);
    else if (rule.fault != POWER)
        keep (fd, path, offset < 0 ? lseek (fd, 0, SEEK_CUR) : offset, total (parts, parts_count));
    errno = saved;
    bool failed = rule.fault != STALL && carry_out (&rule);
    pthread_mutex_unlock (&lock);
    if (rule.fault == STALL)
        carry_out (&rule);
    if (failed)
        return -1;
    if (rule.fault == LOSE)
        return (ssize_t)total (parts, parts_count);
    if (rule.fault != SHORT && rule.fault != TORN)
        return write_all (fd, parts, parts_count, offset);
    ssize_t rc = write_half (fd, parts, parts_count, offset);
    if (rule.fault == TORN)
        raise (SIGKILL);
    return rc;
}

static int intercept_flush (int fd, int (*flush) (int))
{
    char path[PATH_MAX];
    if (!find_path (fd, path))
        return flush (fd);
    pthread_mutex_lock (&lock);
    rule_t rule = decide (path, CALL_FLUSH);
    bool failed = rule.fault != STALL && carry_out (&rule);
    pthread_mutex_unlock (&lock);
    if (rule.fault == STALL)
        carry_out (&rule);
    if (failed)
        return -1;
    if (rule.fault == LOSE)
        return 0;
    /*  Where power losses are simulated, nothing is gained by waiting for the disk. */
    int rc = is_watched (path) ? 0 : flush (fd);
    pthread_mutex_lock (&lock);
    if (rc == 0)
        forget (fd, path);
    pthread_mutex_unlock (&lock);
    return rc;
}

/*  0, or -1 with errno. */
static int intercept_grow (int fd)
{
    char path[PATH_MAX];
    if (!find_path (fd, path))
        return 0;
    pthread_mutex_lock (&lock);
    rule_t rule = decide (path, CALL_GROW);
    bool failed = carry_out (&rule);
    pthread_mutex_unlock (&lock);
    return failed ? -1 : 0;
}

/*  ---- in the C library's place --------------------------------------------- */

EXPORT ssize_t write (int fd, const void *data, size_t size)
{
    struct iovec part = {(void *)data, size};
    return intercept_write (fd, &part, 1, -1);
}

EXPORT ssize_t pwrite (int fd, const void *data, size_t size, off_t offset)
{
    struct iovec part = {(void *)data, size};
    return intercept_write (fd, &part, 1, offset);
}

EXPORT ssize_t pwrite64 (int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite (fd, data, size, offset);
}

EXPORT ssize_t writev (int fd, const struct iovec *parts, int parts_count)
{
    return intercept_write (fd, parts, parts_count, -1);
}

EXPORT ssize_t pwritev (int fd, const struct iovec *parts, int parts_count, off_t offset)
{
    return intercept_write (fd, parts, parts_count, offset);
}

EXPORT ssize_t pwritev64 (int fd, const struct iovec *parts, int parts_count, off64_t offset)
{
    return pwritev (fd, parts, parts_count, offset);
}

EXPORT int fsync (int fd)
{
    if (!real_write)
        find_all ();
    return intercept_flush (fd, real_fsync);
}

EXPORT int fdatasync (int fd)
{
    if (!real_write)
        find_all ();
    return intercept_flush (fd, real_fdatasync);
}

EXPORT int ftruncate (int fd, off_t size)
{
    if (!real_write)
        find_all ();
    return intercept_grow (fd) ? -1 : real_ftruncate (fd, size);
}

EXPORT int ftruncate64 (int fd, off64_t size)
{
    return ftruncate (fd, size);
}

EXPORT int posix_fallocate (int fd, off_t offset, off_t size)
{
    if (!real_write)
        find_all ();
    return intercept_grow (fd) ? errno : real_posix_fallocate (fd, offset, size);
}

EXPORT int posix_fallocate64 (int fd, off64_t offset, off64_t size)
{
    return posix_fallocate (fd, offset, size);
}

/*  ---- for tests in the same process ----------------------------------------- */

EXPORT void faults_set (const char *text)
{
    pthread_mutex_lock (&lock);
    set_rules (text ? text : "");
    pthread_mutex_unlock (&lock);
}

EXPORT void faults_watch (const char *pattern)
{
    pthread_mutex_lock (&lock);
    images_count = 0;
    snprintf (watched, sizeof watched, "%s", pattern ? pattern : "");
    pthread_mutex_unlock (&lock);
}

EXPORT void faults_seed (uint64_t number)
{
    seed = number;
}

EXPORT void faults_power_loss (void)
{
    pthread_mutex_lock (&lock);
    lose_power ();
    abort ();
}

EXPORT uint64_t faults_count (const char *pattern, const char *call)
{
    uint64_t found = 0;
    int number = find_name (call, call_names, CALLS);
    if (number < 0)
        die ("no such call", call);
    pthread_mutex_lock (&lock);
    for (size_t i = 0; i < files_count; i++)
        if (fnmatch (pattern, files[i].path, 0) == 0)
            found += files[i].counts[number];
    pthread_mutex_unlock (&lock);
    return found;
}

EXPORT void faults_clear (void)
{
    pthread_mutex_lock (&lock);
    files_count = 0;
    if (files)
        memset (files, 0, FILES_MAX * sizeof *files);
    pthread_mutex_unlock (&lock);
}

/*  ---- the process begins and ends ------------------------------------------- */

__attribute__ ((constructor)) static void begin (void)
{
    find_all ();
    const char *pattern = getenv ("NEXUS_FAULTS_WATCH"), *number = getenv ("NEXUS_FAULTS_SEED");
    if (pattern)
        faults_watch (pattern);
    if (number)
        seed = strtoull (number, NULL, 10);
}

__attribute__ ((destructor)) static void report (void)
{
    const char *path = getenv ("NEXUS_FAULTS_REPORT");
    FILE *out = path ? fopen (path, "a") : NULL;
    if (!out)
        return;
    for (size_t i = 0; i < files_count; i++)
        fprintf (out, "%ld %s write=%llu dsync=%llu flush=%llu grow=%llu\n", (long)getpid (),
                 files[i].path, (unsigned long long)files[i].counts[CALL_WRITE],
                 (unsigned long long)files[i].counts[CALL_DSYNC],
                 (unsigned long long)files[i].counts[CALL_FLUSH],
                 (unsigned long long)files[i].counts[CALL_GROW]);
    fclose (out);
}
