#include "tests/bench/consensus/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { VALID_S = 86400 };

struct tls {
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
};

/*  ---- the certificate ------------------------------------------------------------------- */

static int fill (gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key)
{
    static const unsigned char serial[] = {1}, address[] = {127, 0, 0, 1};
    time_t now = time (NULL);
    int rc = gnutls_x509_privkey_generate (key, GNUTLS_PK_ECDSA,
                                           GNUTLS_CURVE_TO_BITS (GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_version (certificate, 3);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_serial (certificate, serial, sizeof (serial));
    if (rc >= 0)
        rc = gnutls_x509_crt_set_dn (certificate, "CN=consensus bench", NULL);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_activation_time (certificate, now - 3600);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_expiration_time (certificate, now + VALID_S);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key (certificate, key);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_basic_constraints (certificate, 1, -1);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_subject_alt_name (certificate, GNUTLS_SAN_IPADDRESS, address,
                                                   sizeof (address), GNUTLS_FSAN_SET);
    if (rc >= 0)
        rc = gnutls_x509_crt_sign2 (certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
    return rc;
}

static int write_pem (const char *path, const gnutls_datum_t *text)
{
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t written = fd < 0 ? -1 : write (fd, text->data, text->size);
    if (fd >= 0)
        close (fd);
    return written == (ssize_t)text->size ? 0 : GNUTLS_E_FILE_ERROR;
}

static int write_files (gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key,
                        const tls_identity_t *files)
{
    gnutls_datum_t key_text = {0}, text = {0};
    int rc = gnutls_x509_privkey_export2_pkcs8 (key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                &key_text);
    if (rc >= 0)
        rc = gnutls_x509_crt_export2 (certificate, GNUTLS_X509_FMT_PEM, &text);
    if (rc >= 0)
        rc = write_pem (files->key, &key_text);
    if (rc >= 0)
        rc = write_pem (files->certificate, &text);
    gnutls_free (key_text.data);
    gnutls_free (text.data);
    return rc;
}

int tls_make_identity (const char *dir, tls_identity_t *ret_identity, nexus_error_t *error)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t certificate = NULL;
    tls_identity_t *files = ret_identity;
    snprintf (files->certificate, sizeof (files->certificate), "%.500s/certificate.pem", dir);
    snprintf (files->key, sizeof (files->key), "%.500s/key.pem", dir);
    int rc = gnutls_x509_privkey_init (&key);
    if (rc >= 0)
        rc = gnutls_x509_crt_init (&certificate);
    if (rc >= 0)
        rc = fill (certificate, key);
    if (rc >= 0)
        rc = write_files (certificate, key, files);
    if (certificate)
        gnutls_x509_crt_deinit (certificate);
    if (key)
        gnutls_x509_privkey_deinit (key);
    return rc < 0 ? nexus_error_set (error, NEXUS_IO, "can't make %s: %s", files->certificate,
                                     gnutls_strerror (rc))
                  : 0;
}

/*  ---- a connection ---------------------------------------------------------------------- */

static int start (tls_t *self, int fd, const tls_identity_t *identity)
{
    static const gnutls_datum_t protocol = {(unsigned char *)"h2", 2};
    int rc = gnutls_certificate_allocate_credentials (&self->credentials);
    if (rc >= 0)
        rc = gnutls_certificate_set_x509_key_file (self->credentials, identity->certificate,
                                                   identity->key, GNUTLS_X509_FMT_PEM);
    if (rc >= 0)
        rc = gnutls_certificate_set_x509_trust_file (self->credentials, identity->certificate,
                                                     GNUTLS_X509_FMT_PEM);
    if (rc >= 0)
        rc = gnutls_init (&self->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    if (rc >= 0)
        rc = gnutls_set_default_priority (self->session);
    if (rc >= 0)
        rc = gnutls_credentials_set (self->session, GNUTLS_CRD_CERTIFICATE, self->credentials);
    if (rc >= 0)
        rc = gnutls_alpn_set_protocols (self->session, &protocol, 1, GNUTLS_ALPN_MANDATORY);
    if (rc < 0)
        return rc;
    gnutls_session_set_verify_cert (self->session, "127.0.0.1", 0);
    gnutls_transport_set_int (self->session, fd);
    do
        rc = gnutls_handshake (self->session);
    while (rc < 0 && !gnutls_error_is_fatal (rc));
    return rc;
}

tls_t *tls_connect (int fd, const tls_identity_t *identity)
{
    tls_t *self = calloc (1, sizeof (*self));
    int rc = self ? start (self, fd, identity) : GNUTLS_E_MEMORY_ERROR;
    if (rc >= 0 && fcntl (fd, F_SETFL, fcntl (fd, F_GETFL) | O_NONBLOCK) == 0)
        return self;
    fprintf (stderr, "etcd: no TLS: %s\n", rc < 0 ? gnutls_strerror (rc) : "fcntl");
    tls_destroy (&self);
    return NULL;
}

void tls_destroy (tls_t **self_p)
{
    tls_t *self = *self_p;
    if (!self)
        return;
    if (self->session)
        gnutls_deinit (self->session);
    if (self->credentials)
        gnutls_certificate_free_credentials (self->credentials);
    free (self);
    *self_p = NULL;
}

static ssize_t result_of (ssize_t rc)
{
    if (rc >= 0)
        return rc;
    errno = gnutls_error_is_fatal ((int)rc) ? EIO : EAGAIN;
    return -1;
}

ssize_t tls_send (tls_t *self, const void *data, size_t size)
{
    return result_of (gnutls_record_send (self->session, data, size));
}

ssize_t tls_receive (tls_t *self, void *buffer, size_t room)
{
    return result_of (gnutls_record_recv (self->session, buffer, room));
}
