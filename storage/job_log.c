#include "storage/job_log.h"

#include "storage/file_error.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENT_DEFAULT = 16 << 20, KEEP_DEFAULT = 4, JOB_MAX = 63, NAME_DIGITS = 20 };

struct job_log {
    char path[PATH_MAX]; /* the run's directory */
    uint64_t segment_max;
    unsigned keep;
    int fd;         /* of the newest segment, or -1 */
    uint64_t start; /* its first byte's offset */
    uint64_t end;
    bool finished;
};

/*  ---- names ------------------------------------------------------------- */

/*  So that a job called "../../etc" stays in its place. */
static int encode_job (const char *job, char name[3 * JOB_MAX + 1], nexus_error_t *error)
{
    size_t size = strlen (job);
    if (size < 1 || size > JOB_MAX)
        return nexus_error_set (error, NEXUS_INVALID,
                                "a job's id has %zu bytes: 1 to %d are possible", size, JOB_MAX);
    for (const char *p = job; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_';
        if (plain)
            *name++ = (char)c;
        else
            name += snprintf (name, 4, "%%%02X", c);
    }
    *name = 0;
    return 0;
}

__attribute__ ((format (printf, 2, 3))) static int make_path (char path[PATH_MAX],
                                                              const char *format, ...)
{
    va_list args;
    va_start (args, format);
    int length = vsnprintf (path, PATH_MAX, format, args);
    va_end (args);
    return length < PATH_MAX ? 0 : -1;
}

static int run_path (const char *dir, const job_log_run_t *run, char path[PATH_MAX],
                     nexus_error_t *error)
{
    char job[3 * JOB_MAX + 1];
    if (encode_job (run->job, job, error) != 0)
        return -1;
    if (make_path (path, "%s/%s/%" PRIu64 ".%" PRIu64, dir, job, run->rank, run->attempt) != 0)
        return file_error (dir, "name a log in it", ENAMETOOLONG, error);
    return 0;
}

static int open_in (const char *dir, const char *name, int flags)
{
    char path[PATH_MAX];
    if (make_path (path, "%s/%s", dir, name) != 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open (path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void segment_name (uint64_t start, char name[NAME_DIGITS + 1])
{
    snprintf (name, NAME_DIGITS + 1, "%020" PRIu64, start);
}

static bool segment_start (const char *name, uint64_t *ret_start)
{
    if (strlen (name) != NAME_DIGITS || strspn (name, "0123456789") != NAME_DIGITS)
        return false;
    errno = 0;
    *ret_start = strtoull (name, NULL, 10);
    return errno == 0;
}

/*  ---- segments ---------------------------------------------------------- */

/*  What a look at the directory tells, with an offset in mind. */
typedef struct {
    size_t count;
    uint64_t first;
    uint64_t last;
    uint64_t holder; /* the last segment that begins at or before offset */
    uint64_t after;  /* the first that begins behind it; UINT64_MAX: none */
} segments_t;

/*  Returns 0 or errno. */
static int look (const char *path, uint64_t offset, segments_t *segments)
{
    *segments = (segments_t){.first = UINT64_MAX, .after = UINT64_MAX};
    DIR *dir = opendir (path);
    if (!dir)
        return errno;
    const struct dirent *item;
    while ((item = readdir (dir))) {
        uint64_t start;
        if (!segment_start (item->d_name, &start))
            continue;
        segments->count++;
        if (start < segments->first)
            segments->first = start;
        if (start > segments->last)
            segments->last = start;
        if (start <= offset && start > segments->holder)
            segments->holder = start;
        if (start > offset && start < segments->after)
            segments->after = start;
    }
    closedir (dir);
    return 0;
}

static int file_size (int fd, uint64_t *ret_size)
{
    struct stat status;
    if (fstat (fd, &status) != 0)
        return -1;
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

/*  ---- writing ----------------------------------------------------------- */

static int make_dirs (const char *dir, const char *path, nexus_error_t *error)
{
    if (mkdir (dir, 0700) != 0 && errno != EEXIST)
        return file_error (dir, "create the directory", errno, error);
    char job[PATH_MAX];
    make_path (job, "%s", path);
    *strrchr (job, '/') = 0;
    if (mkdir (job, 0700) != 0 && errno != EEXIST)
        return file_error (job, "create the directory", errno, error);
    if (mkdir (path, 0700) != 0 && errno != EEXIST)
        return file_error (path, "create the directory", errno, error);
    return 0;
}

static int begin_segment (job_log_t *self, uint64_t start, nexus_error_t *error)
{
    char name[NAME_DIGITS + 1];
    segment_name (start, name);
    int fd = open_in (self->path, name, O_WRONLY | O_APPEND | O_CREAT);
    uint64_t size;
    if (fd < 0 || file_size (fd, &size) != 0) {
        int code = errno;
        if (fd >= 0)
            close (fd);
        return file_error (self->path, "open a segment", code, error);
    }
    if (self->fd >= 0)
        close (self->fd);
    self->fd = fd;
    self->start = start;
    self->end = start + size;
    return 0;
}

/*  Never the newest. What can't be deleted now is tried again at the next rotation. */
static void drop_oldest (job_log_t *self)
{
    segments_t segments;
    while (look (self->path, 0, &segments) == 0 && segments.count > self->keep) {
        char path[PATH_MAX];
        if (make_path (path, "%s/%020" PRIu64, self->path, segments.first) != 0 ||
            unlink (path) != 0)
            return;
    }
}

job_log_t *job_log_open (const job_log_config_t *config, const job_log_run_t *run,
                         nexus_error_t *error)
{
    job_log_t *self = calloc (1, sizeof *self);
    if (!self) {
        nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->fd = -1;
    self->segment_max = config->segment ? config->segment : SEGMENT_DEFAULT;
    self->keep = config->keep ? config->keep : KEEP_DEFAULT;
    segments_t segments;
    int rc = run_path (config->dir, run, self->path, error);
    if (rc == 0)
        rc = make_dirs (config->dir, self->path, error);
    if (rc == 0) {
        int code = look (self->path, 0, &segments);
        rc = code ? file_error (self->path, "list its segments", code, error)
                  : begin_segment (self, segments.last, error);
    }
    if (rc != 0)
        job_log_close (&self);
    return self;
}

void job_log_close (job_log_t **self_p)
{
    job_log_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->fd >= 0)
        close (self->fd);
    free (self);
}

int job_log_append (job_log_t *self, const void *data, size_t size, nexus_error_t *error)
{
    assert (!self->finished);
    const char *bytes = data;
    while (size > 0) {
        if (self->end - self->start >= self->segment_max) {
            if (begin_segment (self, self->end, error) != 0)
                return -1;
            drop_oldest (self);
        }
        uint64_t room = self->segment_max - (self->end - self->start);
        size_t piece = size < room ? size : (size_t)room;
        ssize_t written = write (self->fd, bytes, piece);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return file_error (self->path, "append to the log", errno, error);
        bytes += written;
        size -= (size_t)written;
        self->end += (uint64_t)written;
    }
    return 0;
}

uint64_t job_log_end_offset (const job_log_t *self)
{
    return self->end;
}

int job_log_finish (job_log_t *self, nexus_error_t *error)
{
    /*  The bytes before the mark that says that they are all there. */
    if (fdatasync (self->fd) != 0)
        return file_error (self->path, "write the log to disk", errno, error);
    int fd = open_in (self->path, "end", O_WRONLY | O_CREAT);
    if (fd < 0)
        return file_error (self->path, "mark the log's end", errno, error);
    close (fd);
    self->finished = true;
    return 0;
}

/*  ---- reading ----------------------------------------------------------- */

static bool is_finished (const char *path)
{
    char end[PATH_MAX];
    return make_path (end, "%s/end", path) == 0 && access (end, F_OK) == 0;
}

/*  Reads from the segment that begins at start. Returns the bytes read, or -1 with
    errno; *ret_size is the segment's size. */
static ssize_t read_segment (const char *path, uint64_t start, uint64_t offset, void *out,
                             size_t max, uint64_t *ret_size)
{
    char name[NAME_DIGITS + 1];
    segment_name (start, name);
    int fd = open_in (path, name, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t got = file_size (fd, ret_size);
    if (got == 0 && offset - start < *ret_size)
        do
            got = pread (fd, out, max, (off_t)(offset - start));
        while (got < 0 && errno == EINTR);
    int code = errno;
    close (fd);
    errno = code;
    return got;
}

static int64_t refuse_offset (const char *path, uint64_t offset, const job_log_position_t *position,
                              nexus_error_t *error)
{
    if (offset < position->first)
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "%.300s: byte %" PRIu64 " was rotated away; the first that is kept "
                                "is %" PRIu64,
                                path, offset, position->first);
    return nexus_error_set (error, NEXUS_INVALID,
                            "%.300s: byte %" PRIu64 " is beyond the end, %" PRIu64, path, offset,
                            position->next);
}

int64_t job_log_read (const char *dir, const job_log_run_t *run, uint64_t offset, void *out,
                      size_t max, job_log_position_t *ret_position, nexus_error_t *error)
{
    char path[PATH_MAX];
    *ret_position = (job_log_position_t){.offset = offset, .next = offset};
    if (run_path (dir, run, path, error) != 0)
        return -1;
    /*  Seen before the bytes: if it was finished then, they are all there now. */
    bool finished = is_finished (path);
    /*  A segment may be rotated away between the look and the read: look again. */
    for (int attempt = 0; attempt < 10; attempt++) {
        segments_t segments;
        int code = look (path, ret_position->offset, &segments);
        if (code == ENOENT || (code == 0 && segments.count == 0))
            return nexus_error_set (error, NEXUS_NOT_FOUND,
                                    "there is no log of job %.63s, rank %" PRIu64
                                    ", attempt %" PRIu64,
                                    run->job, run->rank, run->attempt);
        if (code)
            return file_error (path, "list its segments", code, error);
        ret_position->first = segments.first;
        if (offset < segments.first)
            return refuse_offset (path, offset, ret_position, error);
        uint64_t size = 0;
        ssize_t got = read_segment (path, segments.holder, ret_position->offset, out, max, &size);
        if (got < 0 && errno == ENOENT)
            continue;
        if (got < 0)
            return file_error (path, "read the log", errno, error);
        uint64_t end = segments.holder + size;
        ret_position->next = ret_position->offset + (uint64_t)got;
        if (got == 0 && segments.after != UINT64_MAX) {
            ret_position->offset = segments.after; /* the end of a segment, or a hole */
            continue;
        }
        if (ret_position->offset > end) {
            ret_position->next = end;
            return refuse_offset (path, offset, ret_position, error);
        }
        ret_position->end = finished && segments.after == UINT64_MAX && ret_position->next == end;
        return got;
    }
    return nexus_error_set (error, NEXUS_UNAVAILABLE,
                            "%.300s: the log is rotated faster than it can be read: retry", path);
}

/*  ---- removing ---------------------------------------------------------- */

/*  Deletes a directory and the files in it; errno on failure. */
static int remove_run (const char *path)
{
    DIR *dir = opendir (path);
    if (!dir)
        return errno;
    int code = 0;
    const struct dirent *item;
    while ((item = readdir (dir))) {
        if (strcmp (item->d_name, ".") == 0 || strcmp (item->d_name, "..") == 0)
            continue;
        if (unlinkat (dirfd (dir), item->d_name, 0) != 0 && !code)
            code = errno;
    }
    closedir (dir);
    return code ? code : rmdir (path) != 0 ? errno : 0;
}

int job_log_remove (const char *dir, const char *job, nexus_error_t *error)
{
    char name[3 * JOB_MAX + 1], path[PATH_MAX], run[PATH_MAX];
    if (encode_job (job, name, error) != 0)
        return -1;
    if (make_path (path, "%s/%s", dir, name) != 0)
        return file_error (dir, "name a log in it", ENAMETOOLONG, error);
    DIR *runs = opendir (path);
    if (!runs)
        return errno == ENOENT ? 0 : file_error (path, "list its logs", errno, error);
    int code = 0;
    const struct dirent *item;
    while ((item = readdir (runs))) {
        if (item->d_name[0] == '.')
            continue;
        int failed =
            make_path (run, "%s/%s", path, item->d_name) == 0 ? remove_run (run) : ENAMETOOLONG;
        code = code ? code : failed;
    }
    closedir (runs);
    if (!code && rmdir (path) != 0)
        code = errno;
    return code ? file_error (path, "remove its logs", code, error) : 0;
}
