/*  Keys, root, memberships and join tokens: their files, texts and refusals. */
#include "transport/identity.h"
#include "transport/join_token.h"
#include "transport/secret_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static char folder[64];

static int make_folder (void **state)
{
    (void)state;
    strcpy (folder, "/tmp/nexus-identity-XXXXXX");
    return mkdtemp (folder) ? 0 : -1;
}

static int remove_folder (void **state)
{
    (void)state;
    char command[128];
    snprintf (command, sizeof command, "rm -rf %s", folder);
    return system (command);
}

static const char *path_of (const char *name)
{
    static _Thread_local char path[128];
    snprintf (path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file (const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen (path, "w");
    assert_non_null (file);
    fputs (text, file);
    fclose (file);
    chmod (path, mode);
}

static void keys_agree_with_libzmq (void **state)
{
    (void)state;
    char public_text[41], secret_text[41];
    assert_int_equal (zmq_curve_keypair (public_text, secret_text), 0);
    record_key_t public_key, secret_key;
    zmq_z85_decode (public_key.bytes, public_text);
    zmq_z85_decode (secret_key.bytes, secret_text);
    keypair_t pair;
    keypair_from_secret (&pair, &secret_key);
    assert_memory_equal (pair.public_key.bytes, public_key.bytes, 32);
    keypair_wipe (&pair);
    assert_true (record_key_is_zero (&pair.secret_key));
}

static void a_key_survives_its_file (void **state)
{
    (void)state;
    keypair_t made, loaded;
    nexus_error_t error;
    const char *path = path_of ("node.key");
    assert_int_equal (keypair_load (&made, path, &error), -1);
    assert_int_equal (error.code, NEXUS_NOT_FOUND);
    assert_int_equal (keypair_load_or_generate (&made, path, &error), 0);
    assert_int_equal (keypair_load_or_generate (&loaded, path, &error), 0);
    assert_memory_equal (&made, &loaded, sizeof made);
    struct stat st;
    assert_int_equal (stat (path, &st), 0);
    assert_int_equal (st.st_mode & 0777, 0600);
    assert_int_equal (keypair_save (&made, path, &error), -1);
    assert_int_equal (error.code, NEXUS_EXISTS);
    assert_int_equal (keypair_load_or_generate (&made, "/no/such/folder/key", &error), -1);
    assert_int_equal (error.code, NEXUS_IO);
}

static void key_files_are_refused_with_a_reason (void **state)
{
    (void)state;
    keypair_t pair;
    cluster_root_t root;
    nexus_error_t error;
    const char *path = path_of ("key");
    assert_int_equal (keypair_load_or_generate (&pair, path, NULL), 0);
    chmod (path, 0640);
    assert_int_equal (keypair_load (&pair, path, &error), -1);
    assert_int_equal (error.code, NEXUS_DENIED);
    assert_non_null (strstr (error.text, "chmod 600"));
    chmod (path, 0600);
    assert_int_equal (cluster_root_load (&root, path, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_int_equal (truncate (path, 40), 0);
    assert_int_equal (keypair_load (&pair, path, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_non_null (strstr (error.text, "cut short"));
    write_file (path, "", 0600);
    assert_int_equal (keypair_load (&pair, path, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    char text[200] = "nexus-node-key 1\n";
    memset (text + strlen (text), 'x', 64);
    write_file (path, text, 0600);
    assert_int_equal (keypair_load (&pair, path, &error), -1);
    assert_int_equal (error.code, NEXUS_CORRUPT);
    assert_int_equal (keypair_load (&pair, folder, &error), -1);
    assert_int_equal (error.code, NEXUS_INVALID);
}

static void *generate (void *pair)
{
    return keypair_load_or_generate (pair, path_of ("race.key"), NULL) == 0 ? pair : NULL;
}

/*  Two processes that start at once must end with one key. */
static void a_race_for_a_key_has_one_winner (void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        keypair_t pairs[4];
        unlink (path_of ("race.key"));
        for (int i = 0; i < 4; i++)
            pthread_create (&threads[i], NULL, generate, &pairs[i]);
        for (int i = 0; i < 4; i++) {
            void *done;
            pthread_join (threads[i], &done);
            assert_non_null (done);
        }
        for (int i = 1; i < 4; i++)
            assert_memory_equal (&pairs[0], &pairs[i], sizeof pairs[0]);
    }
}

static void keys_have_a_hex_form (void **state)
{
    (void)state;
    keypair_t pair;
    record_key_t back;
    char text[70];
    keypair_generate (&pair);
    key_to_hex (&pair.public_key, text);
    assert_int_equal (strlen (text), 64);
    assert_int_equal (key_from_hex (&back, text), 0);
    assert_true (key_equal (&pair.public_key, &back));
    text[63] = 'g';
    assert_int_equal (key_from_hex (&back, text), -1);
    text[63] = 0;
    assert_int_equal (key_from_hex (&back, text), -1);
    assert_int_equal (key_from_hex (&back, ""), -1);
}

static void a_root_survives_its_file (void **state)
{
    (void)state;
    cluster_root_t made, loaded;
    cluster_root_generate (&made);
    assert_int_equal (cluster_root_save (&made, path_of ("root"), NULL), 0);
    assert_int_equal (cluster_root_load (&loaded, path_of ("root"), NULL), 0);
    assert_memory_equal (&made, &loaded, sizeof made);
    cluster_root_wipe (&made);
    assert_true (record_key_is_zero (&made.public_key));
}

/*  Every field is under the signature: changing any one must be seen. */
static void a_membership_cannot_be_changed (void **state)
{
    (void)state;
    cluster_root_t root, other;
    uint8_t signature[64];
    nexus_error_t error;
    cluster_root_generate (&root);
    cluster_root_generate (&other);
    membership_t member = {
        .role = ROLE_WORKER, .name = "w1", .site = "berlin", .not_after_ms = 5000};
    memset (&member.node, 7, sizeof member.node);
    assert_int_equal (membership_verify (&member, &root.public_key, 1, &error), -1);
    membership_sign (&member, &root, signature);
    assert_int_equal (membership_verify (&member, &root.public_key, 4999, &error), 0);
    assert_int_equal (membership_verify (&member, &root.public_key, 5000, &error), -1);
    assert_int_equal (error.code, NEXUS_DENIED);
    assert_int_equal (membership_verify (&member, &other.public_key, 1, &error), -1);

    membership_t changed[] = {member, member, member, member, member, member};
    changed[0].role = ROLE_MASTER;
    changed[1].name = "w2";
    changed[2].site = "";
    changed[3].not_after_ms = 0;
    changed[4].node.bytes[31] ^= 1;
    changed[5].name = "w1b"; /* moves a byte from one field to the next */
    changed[5].site = "erlin";
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++)
        assert_int_equal (membership_verify (&changed[i], &root.public_key, 1, &error), -1);
    for (size_t bit = 0; bit < 512; bit++) {
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal (membership_verify (&member, &root.public_key, 1, NULL), -1);
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_token_survives_its_text (void **state)
{
    (void)state;
    cluster_root_t root;
    join_token_t made, parsed;
    nexus_error_t error;
    cluster_root_generate (&root);
    for (size_t masters = 0; masters <= JOIN_TOKEN_MASTERS_MAX; masters++) {
        join_token_generate (&made, &root.public_key);
        made.master_count = masters;
        for (size_t i = 0; i < masters; i++) {
            memset (made.masters[i].key.bytes, (int)i + 1, 32);
            snprintf (made.masters[i].endpoint, sizeof made.masters[i].endpoint,
                      "tcp://m%zu.example.org:7400", i);
        }
        char *text = join_token_text (&made);
        assert_int_equal (strncmp (text, "nexus-join-", 11), 0);
        assert_int_equal (join_token_parse (&parsed, text, &error), 0);
        assert_memory_equal (&made, &parsed, sizeof made);
        join_token_text_free (&text);
        assert_null (text);
    }
}

/*  No change of one character and no prefix is taken for a token. */
static void a_damaged_token_is_refused (void **state)
{
    (void)state;
    join_token_t token, parsed = {0};
    record_key_t root = {{1, 2, 3}};
    nexus_error_t error;
    join_token_generate (&token, &root);
    char *text = join_token_text (&token);
    size_t size = strlen (text);
    for (size_t i = 0; i < size; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal (join_token_parse (&parsed, text, &error), -1);
        assert_int_equal (error.code, NEXUS_INVALID);
        text[i] = 0;
        assert_int_equal (join_token_parse (&parsed, text, &error), -1);
        text[i] = was;
    }
    assert_true (record_key_is_zero (&parsed.pair.secret_key));
    assert_int_equal (join_token_parse (&parsed, "", &error), -1);
    assert_int_equal (join_token_parse (&parsed, "nexus-join-", &error), -1);
    join_token_text_free (&text);
}

/*  Whatever bytes stand in a token with a good checksum, reading stays inside. */
static void a_hostile_token_is_harmless (void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t binary[400], hash[32];
        size_t size = 66 + randombytes_uniform (300);
        randombytes_buf (binary, size);
        binary[0] = 1;
        binary[65] = (uint8_t)randombytes_uniform (10);
        crypto_generichash (hash, sizeof hash, binary, size, NULL, 0);
        memcpy (binary + size, hash, 4);
        char text[800] = "nexus-join-";
        sodium_bin2base64 (text + 11, sizeof text - 11, binary, size + 4,
                           sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        join_token_t parsed;
        join_token_parse (&parsed, text, NULL);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (keys_agree_with_libzmq),
        cmocka_unit_test (a_key_survives_its_file),
        cmocka_unit_test (key_files_are_refused_with_a_reason),
        cmocka_unit_test (a_race_for_a_key_has_one_winner),
        cmocka_unit_test (keys_have_a_hex_form),
        cmocka_unit_test (a_root_survives_its_file),
        cmocka_unit_test (a_membership_cannot_be_changed),
        cmocka_unit_test (a_token_survives_its_text),
        cmocka_unit_test (a_damaged_token_is_refused),
        cmocka_unit_test (a_hostile_token_is_harmless),
    };
    return cmocka_run_group_tests_name ("identity", tests, make_folder, remove_folder);
}
