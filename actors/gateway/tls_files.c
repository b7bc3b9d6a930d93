/*  tls_files - the API's certificate and key, as PEM files */
#include "actors/gateway/tls_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PEM_MAX = 1 << 20, VALID_DAYS = 3650 };

/*  ---- files ------------------------------------------------------------------ */

int tls_files_read (const char *path, buffer_t *out, nexus_error_t *error)
{
    FILE *file = fopen (path, "re");
    if (!file)
        return nexus_error_set (error, errno == ENOENT ? NEXUS_NOT_FOUND : NEXUS_IO, "%s: %s", path,
                                strerror (errno));
    size_t before = out->size, got = 0;
    uint8_t *to = buffer_reserve (out, PEM_MAX + 1);
    if (to)
        got = fread (to, 1, PEM_MAX, file);
    bool failed = ferror (file) != 0;
    fclose (file);
    if (!to || failed || got == PEM_MAX)
        return nexus_error_set (error, NEXUS_IO, "%s: not readable, or larger than 1 MiB", path);
    to[got] = 0;
    out->size = before + got;
    return 0;
}

static int write_file (const char *path, mode_t mode, const gnutls_datum_t *text,
                       nexus_error_t *error)
{
    char beside[4200];
    snprintf (beside, sizeof (beside), "%s.new", path);
    (void)unlink (beside);
    int fd = open (beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return nexus_error_set (error, NEXUS_IO, "%s: %s", beside, strerror (errno));
    bool written = write (fd, text->data, text->size) == (ssize_t)text->size && fsync (fd) == 0;
    if (close (fd) || !written || rename (beside, path)) {
        int why = errno;
        (void)unlink (beside);
        return nexus_error_set (error, NEXUS_IO, "%s: %s", path, strerror (why));
    }
    return 0;
}

/*  ---- making them -------------------------------------------------------------- */

static int add_name (gnutls_x509_crt_t certificate, const char *name)
{
    unsigned char address[16];
    if (inet_pton (AF_INET, name, address) == 1)
        return gnutls_x509_crt_set_subject_alt_name (certificate, GNUTLS_SAN_IPADDRESS, address, 4,
                                                     GNUTLS_FSAN_APPEND);
    if (inet_pton (AF_INET6, name, address) == 1)
        return gnutls_x509_crt_set_subject_alt_name (certificate, GNUTLS_SAN_IPADDRESS, address, 16,
                                                     GNUTLS_FSAN_APPEND);
    return gnutls_x509_crt_set_subject_alt_name (certificate, GNUTLS_SAN_DNSNAME, name,
                                                 (unsigned)strlen (name), GNUTLS_FSAN_APPEND);
}

/*  The names of the certificate, each once; wildcard addresses are nobody's name. */
static int add_names (gnutls_x509_crt_t certificate, const char *const *names)
{
    char host[256] = "";
    const char *all[TLS_NAMES_MAX + 4] = {"localhost", "127.0.0.1", "::1", host};
    size_t count = 4;
    if (gethostname (host, sizeof (host) - 1))
        host[0] = 0;
    for (; names && *names && count < TLS_NAMES_MAX + 4; names++)
        all[count++] = *names;
    for (size_t i = 0; i < count; i++) {
        bool skip = !*all[i] || !strcmp (all[i], "0.0.0.0") || !strcmp (all[i], "::");
        for (size_t j = 0; j < i; j++)
            skip |= strcmp (all[i], all[j]) == 0;
        int rc = skip ? 0 : add_name (certificate, all[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int fill_certificate (gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key,
                             const char *const *names)
{
    unsigned char serial[16], id[20];
    char subject[32];
    size_t id_size = sizeof (id);
    time_t now = time (NULL);
    int rc = gnutls_rnd (GNUTLS_RND_NONCE, serial, sizeof (serial));
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 1); /* positive, RFC 5280 */
    /*  Each is its own issuer: in a file of several, OpenSSL finds one by its subject and key id. */
    int length = snprintf (subject, sizeof (subject), "Nexus API %02x%02x%02x%02x", serial[0],
                           serial[1], serial[2], serial[3]);
    if (rc >= 0)
        rc = gnutls_x509_privkey_get_key_id (key, GNUTLS_KEYID_USE_SHA1, id, &id_size);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_version (certificate, 3);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_serial (certificate, serial, sizeof (serial));
    if (rc >= 0)
        rc = gnutls_x509_crt_set_dn_by_oid (certificate, GNUTLS_OID_X520_COMMON_NAME, 0, subject,
                                            (unsigned)length);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_subject_key_id (certificate, id, id_size);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_authority_key_id (certificate, id, id_size);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_activation_time (certificate, now - 3600);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_expiration_time (certificate, now + (time_t)VALID_DAYS * 86400);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key (certificate, key);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_basic_constraints (certificate, 0, -1);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_usage (certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_purpose_oid (certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (rc >= 0)
        rc = add_names (certificate, names);
    if (rc >= 0)
        rc = gnutls_x509_crt_sign2 (certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
    return rc;
}

/*  A new key, or the one that is there: a crash between the two files leaves a key alone. */
static int get_key (gnutls_x509_privkey_t key, const gnutls_datum_t *text)
{
    if (text->size)
        return gnutls_x509_privkey_import2 (key, text, GNUTLS_X509_FMT_PEM, NULL, 0);
    return gnutls_x509_privkey_generate (key, GNUTLS_PK_ECDSA,
                                         GNUTLS_CURVE_TO_BITS (GNUTLS_ECC_CURVE_SECP256R1), 0);
}

static int make (gnutls_x509_privkey_t key, gnutls_x509_crt_t certificate, const char *const *names,
                 gnutls_datum_t *key_text, gnutls_datum_t *text)
{
    int rc = get_key (key, key_text);
    if (rc >= 0)
        rc = fill_certificate (certificate, key, names);
    if (rc >= 0 && !key_text->size)
        rc = gnutls_x509_privkey_export2_pkcs8 (key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                key_text);
    if (rc >= 0)
        rc = gnutls_x509_crt_export2 (certificate, GNUTLS_X509_FMT_PEM, text);
    return rc;
}

static int make_files (const char *certificate_path, const char *key_path, bool have_key,
                       const char *const *names, nexus_error_t *error)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t certificate = NULL;
    buffer_t old = {.limit = 2 * PEM_MAX};
    gnutls_datum_t text = {0};
    if (have_key && tls_files_read (key_path, &old, error))
        return -1;
    gnutls_datum_t key_text = {old.data, (unsigned)old.size};
    int rc = gnutls_x509_privkey_init (&key);
    if (rc >= 0)
        rc = gnutls_x509_crt_init (&certificate);
    if (rc >= 0)
        rc = make (key, certificate, names, &key_text, &text);
    int result = 0;
    if (rc < 0)
        result = nexus_error_set (error, have_key ? NEXUS_INVALID : NEXUS_IO,
                                  "the API's certificate %s could not be made%s%s: %s",
                                  certificate_path, have_key ? " with the key " : "",
                                  have_key ? key_path : "", gnutls_strerror (rc));
    /*  The key first: a certificate without its key could never be used. */
    else if ((!have_key && write_file (key_path, 0600, &key_text, error)) ||
             write_file (certificate_path, 0644, &text, error))
        result = -1;
    if (key_text.data)
        gnutls_memset (key_text.data, 0, key_text.size);
    if (!have_key)
        gnutls_free (key_text.data);
    buffer_free (&old);
    gnutls_free (text.data);
    gnutls_x509_crt_deinit (certificate);
    gnutls_x509_privkey_deinit (key);
    return result;
}

int tls_files_ensure (const char *certificate, const char *key, const char *const *names,
                      nexus_error_t *error)
{
    bool have_certificate = access (certificate, F_OK) == 0;
    bool have_key = access (key, F_OK) == 0;
    if (have_certificate && !have_key)
        return nexus_error_set (
            error, NEXUS_NOT_FOUND,
            "the API's certificate %s is there, but its key %s is not: give both, "
            "or neither to have both made",
            certificate, key);
    return have_certificate ? 0 : make_files (certificate, key, have_key, names, error);
}
