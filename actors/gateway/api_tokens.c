/*  api_tokens - who may use the API */
#include "actors/gateway/api_tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_BYTES = 32 };

typedef struct {
    unsigned char hash[HASH_BYTES];
    char name[64];
    api_role_t role;
} entry_t;

struct api_tokens {
    char *path;
    struct stat seen;
    bool read; /* seen is of a file that was read, or found missing */
    entry_t *entries;
    size_t count;
};

static void hash_token (const char *token, unsigned char hash[HASH_BYTES])
{
    crypto_generichash (hash, HASH_BYTES, (const unsigned char *)token, strlen (token), NULL, 0);
}

void api_token_hash (const char *token, char ret_hex[API_TOKEN_HASH_SIZE + 1])
{
    unsigned char hash[HASH_BYTES];
    hash_token (token, hash);
    sodium_bin2hex (ret_hex, API_TOKEN_HASH_SIZE + 1, hash, sizeof (hash));
}

int api_tokens_add (const char *path, const char *token, const char *name, api_role_t role,
                    nexus_error_t *error)
{
    char hex[API_TOKEN_HASH_SIZE + 1], line[200];
    size_t name_size = strlen (name);
    if (!name_size || name_size > 63 || strcspn (name, " \t\r\n#") != name_size)
        return nexus_error_set (
            error, NEXUS_INVALID,
            "\"%.80s\" is no name for a token: 1 to 63 characters without spaces", name);
    api_token_hash (token, hex);
    int size = snprintf (line, sizeof (line), "%s %s %s\n", hex, name,
                         record_choice_name (&api_role_choices, (int)role));
    int fd = open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return nexus_error_set (error, NEXUS_IO, "token file %s: %s", path, strerror (errno));
    ssize_t written = write (fd, line, (size_t)size);
    int rc = written == size ? fsync (fd) : -1;
    if (close (fd) || rc)
        return nexus_error_set (error, NEXUS_IO, "token file %s: %s", path, strerror (errno));
    return 0;
}

api_tokens_t *api_tokens_new (const char *path)
{
    api_tokens_t *self = calloc (1, sizeof (*self));
    if (self)
        self->path = strdup (path);
    if (self && !self->path)
        api_tokens_destroy (&self);
    return self;
}

void api_tokens_destroy (api_tokens_t **self_p)
{
    api_tokens_t *self = *self_p;
    if (!self)
        return;
    free (self->entries);
    free (self->path);
    free (self);
    *self_p = NULL;
}

/*  1: an entry; 0: nothing on that line; -1: no valid line. */
static int parse_line (char *line, entry_t *entry)
{
    char *rest = NULL;
    const char *hash = strtok_r (line, " \t\r\n", &rest);
    if (!hash || *hash == '#')
        return 0;
    const char *name = strtok_r (NULL, " \t\r\n", &rest);
    const char *role = strtok_r (NULL, " \t\r\n", &rest);
    size_t size = 0;
    if (strlen (hash) != API_TOKEN_HASH_SIZE ||
        sodium_hex2bin (entry->hash, HASH_BYTES, hash, API_TOKEN_HASH_SIZE, NULL, &size, NULL) ||
        size != HASH_BYTES || !name || strlen (name) > 63 || strtok_r (NULL, " \t\r\n", &rest))
        return -1;
    int value = role ? record_choice_value (&api_role_choices, role) : API_ADMIN;
    if (value <= API_NOBODY)
        return -1;
    snprintf (entry->name, sizeof (entry->name), "%s", name);
    entry->role = (api_role_t)value;
    return 1;
}

static int read_entries (api_tokens_t *self, FILE *file, nexus_error_t *error)
{
    char line[512];
    for (int number = 1; fgets (line, sizeof (line), file); number++) {
        entry_t entry;
        int found = parse_line (line, &entry);
        if (found < 0)
            return nexus_error_set (
                error, NEXUS_INVALID,
                "token file %s, line %d: expected a hash of 64 hex digits, a name and "
                "a role (admin or viewer); until that is mended nobody is let in",
                self->path, number);
        if (found && self->count == API_TOKENS_MAX)
            return nexus_error_set (error, NEXUS_EXHAUSTED, "token file %s: more than %d tokens",
                                    self->path, API_TOKENS_MAX);
        if (found)
            self->entries[self->count++] = entry;
    }
    return 0;
}

int api_tokens_refresh (api_tokens_t *self, nexus_error_t *error)
{
    struct stat now = {0};
    bool there = stat (self->path, &now) == 0;
    int why = errno;
    bool same = now.st_ino == self->seen.st_ino && now.st_size == self->seen.st_size &&
                now.st_mtim.tv_sec == self->seen.st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == self->seen.st_mtim.tv_nsec;
    if (self->read && same)
        return 0;
    self->seen = now;
    self->read = true;
    self->count = 0;
    FILE *file = there ? fopen (self->path, "re") : NULL;
    if (!file)
        return nexus_error_set (error, NEXUS_NOT_FOUND,
                                "token file %s: %s; until it is there nobody is let in", self->path,
                                strerror (there ? errno : why));
    free (self->entries);
    self->entries = calloc (API_TOKENS_MAX, sizeof (entry_t));
    int rc = self->entries ? read_entries (self, file, error)
                           : nexus_error_set (error, NEXUS_EXHAUSTED, "out of memory");
    fclose (file);
    if (rc)
        self->count = 0;
    return rc;
}

api_role_t api_tokens_find (const api_tokens_t *self, const char *token, const char **ret_name)
{
    unsigned char hash[HASH_BYTES];
    const entry_t *found = NULL;
    hash_token (token, hash);
    for (size_t i = 0; i < self->count; i++)
        if (sodium_memcmp (hash, self->entries[i].hash, HASH_BYTES) == 0)
            found = &self->entries[i];
    *ret_name = found ? found->name : "";
    return found ? found->role : API_NOBODY;
}
