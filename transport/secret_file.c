#include "transport/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX 512

static int check_rights (int fd, const char *path, nexus_error_t *error)
{
    struct stat st;
    if (fstat (fd, &st) == -1)
        return nexus_error_set (error, NEXUS_IO, "%s: %s", path, strerror (errno));
    if (!S_ISREG (st.st_mode))
        return nexus_error_set (error, NEXUS_INVALID, "%s: not a regular file", path);
    if (st.st_uid != geteuid ())
        return nexus_error_set (error, NEXUS_DENIED,
                                "%s: a secret key must belong to the user that uses it "
                                "(owner is uid %u, this process is uid %u)",
                                path, (unsigned)st.st_uid, (unsigned)geteuid ());
    if (st.st_mode & 077)
        return nexus_error_set (error, NEXUS_DENIED,
                                "%s: others may read this secret key (mode %03o): chmod 600 it, or "
                                "replace the key if they could have copied it",
                                path, (unsigned)(st.st_mode & 0777));
    return 0;
}

static int parse (const char *path, const char *what, const char *text, size_t text_size,
                  uint8_t *data, size_t size, nexus_error_t *error)
{
    char header[64];
    size_t header_size = (size_t)snprintf (header, sizeof header, "%s 1\n", what);
    if (text_size < header_size || memcmp (text, header, header_size) != 0)
        return nexus_error_set (error, NEXUS_CORRUPT,
                                "%s: not a %s file (its first line must be \"%s 1\")", path, what,
                                what);
    text += header_size;
    text_size -= header_size;
    const char *end_of_line = memchr (text, '\n', text_size);
    if (end_of_line)
        text_size = (size_t)(end_of_line - text);
    size_t found;
    const char *end;
    if (text_size < size * 2)
        return nexus_error_set (
            error, NEXUS_CORRUPT,
            "%s: cut short: expected %zu hex digits, found %zu bytes; restore it "
            "from a backup",
            path, size * 2, text_size);
    if (text_size > size * 2 ||
        sodium_hex2bin (data, size, text, text_size, NULL, &found, &end) != 0 || found != size ||
        end != text + text_size)
        return nexus_error_set (error, NEXUS_CORRUPT,
                                "%s: expected %zu hex digits in its second line", path, size * 2);
    return 0;
}

static int write_all (int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t n = write (fd, text, size);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        text += n;
        size -= (size_t)n;
    }
    return fsync (fd);
}

int secret_file_is_marked (const char *path, bool *ret_marked, nexus_error_t *error)
{
    char line[FILE_SIZE_MAX];
    int lines = 0;
    FILE *file = fopen (path, "re");
    if (!file)
        return nexus_error_set (error, NEXUS_IO, "%s: %s", path, strerror (errno));
    while (fgets (line, sizeof line, file))
        lines++;
    fclose (file);
    sodium_memzero (line, sizeof line);
    *ret_marked = lines > 2;
    return 0;
}

int secret_file_mark (const char *path, nexus_error_t *error)
{
    int fd = open (path, O_WRONLY | O_APPEND | O_CLOEXEC);
    int rc = fd < 0 ? -1 : write_all (fd, "used\n", 5);
    if (rc)
        nexus_error_set (error, NEXUS_IO, "%s: it can't be marked as used: %s", path,
                         strerror (errno));
    if (fd >= 0)
        close (fd);
    return rc;
}

int secret_file_load (const char *path, const char *what, uint8_t *data, size_t size,
                      nexus_error_t *error)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd == -1)
        return nexus_error_set (error,
                                errno == ENOENT   ? NEXUS_NOT_FOUND
                                : errno == EACCES ? NEXUS_DENIED
                                                  : NEXUS_IO,
                                "%s: %s", path, strerror (errno));
    char text[FILE_SIZE_MAX];
    uint8_t secret[FILE_SIZE_MAX / 2];
    size_t filled = 0;
    int rc = check_rights (fd, path, error);
    while (rc == 0 && filled < sizeof text) {
        ssize_t n = read (fd, text + filled, sizeof text - filled);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            rc = nexus_error_set (error, NEXUS_IO, "%s: %s", path, strerror (errno));
        if (n <= 0)
            break;
        filled += (size_t)n;
    }
    close (fd);
    if (rc == 0)
        rc = parse (path, what, text, filled, secret, size, error);
    if (rc == 0)
        memcpy (data, secret, size);
    sodium_memzero (text, sizeof text);
    sodium_memzero (secret, sizeof secret);
    return rc;
}

/*  The new name itself must survive a crash too. */
static void sync_folder_of (const char *path)
{
    char folder[4096];
    const char *slash = strrchr (path, '/');
    int size = slash ? (int)(slash - path) : 1;
    snprintf (folder, sizeof folder, "%.*s", size ? size : 1, slash ? path : ".");
    int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd != -1) {
        fsync (fd);
        close (fd);
    }
}

int secret_file_save (const char *path, const char *what, const uint8_t *data, size_t size,
                      nexus_error_t *error)
{
    char temporary[4096];
    if (snprintf (temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return nexus_error_set (error, NEXUS_INVALID, "%.64s...: the path is too long", path);
    int fd = mkostemp (temporary, O_CLOEXEC); /* mode 0600 */
    if (fd == -1)
        return nexus_error_set (error, NEXUS_IO, "%s: can't create a file here: %s", path,
                                strerror (errno));
    char text[FILE_SIZE_MAX];
    int header_size = snprintf (text, sizeof text, "%s 1\n", what);
    sodium_bin2hex (text + header_size, sizeof text - (size_t)header_size - 1, data, size);
    size_t text_size = (size_t)header_size + size * 2;
    text[text_size++] = '\n';
    int rc = write_all (fd, text, text_size);
    sodium_memzero (text, sizeof text);
    int write_errno = errno;
    close (fd);
    if (rc == -1)
        rc = nexus_error_set (error, NEXUS_IO, "%s: %s", path, strerror (write_errno));
    else if (link (temporary, path) == -1)
        rc = nexus_error_set (error, errno == EEXIST ? NEXUS_EXISTS : NEXUS_IO, "%s: %s", path,
                              strerror (errno));
    unlink (temporary);
    if (rc == 0)
        sync_folder_of (path);
    return rc;
}
