/*  apply_masters - who the masters are, and who of them decides */
#include "actors/ledger/application.h"
#include "runtime/planted.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool same_key (const record_key_t *a, const record_key_t *b)
{
    return memcmp (a, b, sizeof (*a)) == 0;
}

static const conf_member_t *find_member (const cluster_conf_t *conf, const record_key_t *key)
{
    for (size_t i = 0; i < conf->members.count; i++)
        if (same_key (&conf->members.items[i].key, key))
            return &conf->members.items[i];
    return NULL;
}

/*  False if the tables failed. */
static bool get_conf (application_t *self, cluster_conf_t *conf)
{
    if (!self->fatal && ledger_get_conf (self->txn, &self->scratch, conf, self->error))
        self->fatal = true;
    return !self->fatal;
}

static bool list_masters (application_t *self, master_t **ret_masters, size_t *ret_count)
{
    void *items = NULL;
    if (!self->fatal && ledger_list (self->txn, LEDGER_MASTERS, NULL, NULL, 0, &self->scratch,
                                     &items, ret_count, self->error))
        self->fatal = true;
    *ret_masters = items;
    return !self->fatal;
}

/*  May this key and this name be a master's, beside those in the table? */
static int check_master (application_t *self, const master_t *master, const master_t *others,
                         size_t count)
{
    ledger_key_t key = ledger_key_node (&master->key);
    if (record_key_is_zero (&master->key) || application_has (self, LEDGER_WORKERS, key) ||
        application_has (self, LEDGER_TOKENS, key))
        return nexus_error_set (self->error, NEXUS_DENIED, "this key can't be a master's");
    if (!worker_name_check (master->name))
        return nexus_error_set (self->error, NEXUS_INVALID,
                                "name: expected letters, digits, '.', '_' and '-'; found \"%s\"",
                                master->name);
    for (size_t i = 0; i < count; i++)
        if (strcmp (others[i].name, master->name) == 0 && !same_key (&others[i].key, &master->key))
            return nexus_error_set (self->error, NEXUS_EXISTS,
                                    "there is a master \"%s\" with another key: choose another "
                                    "name, or remove it first",
                                    master->name);
    return 0;
}

int apply_set_master (application_t *self, const void *body)
{
    const set_master_t *command = body;
    master_t master = command->master, before, *others;
    cluster_conf_t conf;
    size_t count;
    ledger_key_t key = ledger_key_node (&master.key);
    if (!get_conf (self, &conf) || !list_masters (self, &others, &count) ||
        check_master (self, &master, others, count))
        return -1;
    if (conf.members.count && !find_member (&conf, &master.key))
        return nexus_error_set (self->error, NEXUS_NOT_FOUND,
                                "this key belongs to no master: nexus master add");
    if (application_get (self, LEDGER_MASTERS, key, &before)) {
        if (before.incarnation && master.incarnation && before.incarnation != master.incarnation)
            return nexus_error_set (self->error, NEXUS_CONFLICT,
                                    "master %s comes with another log than it had: its disk was "
                                    "lost or replaced. Remove it, and let it join with a new key",
                                    before.name);
        master.name = before.name;
        master.role = before.role;
        if (before.incarnation)
            master.incarnation = before.incarnation;
    }
    if (self->fatal)
        return -1;
    application_put (self, LEDGER_MASTERS, key, &master_record, &master);
    return 0;
}

/*  A member does not come a second time under another name: as a learner, it would lose its vote. */
static int check_name (application_t *self, const cluster_conf_t *conf, const master_t *master,
                       const master_t *others, size_t count)
{
    if (!find_member (conf, &master->key))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (same_key (&others[i].key, &master->key) && strcmp (others[i].name, master->name) != 0)
            return nexus_error_set (self->error, NEXUS_EXISTS,
                                    "this key is master \"%s\"'s already", others[i].name);
    return 0;
}

/*  Would the configuration make sense, with a record for each member? */
static int check_conf (application_t *self, const change_masters_t *command)
{
    const cluster_conf_t *conf = &command->conf;
    size_t voters = 0;
    for (size_t i = 0; i < conf->members.count; i++) {
        const conf_member_t *member = &conf->members.items[i];
        bool known = application_has (self, LEDGER_MASTERS, ledger_key_node (&member->key));
        for (size_t j = 0; j < command->masters.count && !known; j++)
            known = same_key (&command->masters.items[j].key, &member->key);
        if (!known || find_member (conf, &member->key) != member ||
            !(member->voter || member->outgoing || member->learner))
            return nexus_error_set (self->error, NEXUS_INVALID,
                                    "change_masters: member %zu makes no sense", i);
        voters += member->voter;
    }
    return voters
               ? 0
               : nexus_error_set (self->error, NEXUS_INVALID, "change_masters: no voter is left");
}

static void put_roles (application_t *self, const cluster_conf_t *conf)
{
    master_t *masters;
    size_t count;
    if (!list_masters (self, &masters, &count))
        return;
    for (size_t i = 0; i < count; i++) {
        ledger_key_t key = ledger_key_node (&masters[i].key);
        const conf_member_t *member = find_member (conf, &masters[i].key);
        int role = member && (member->voter || member->outgoing) ? MASTER_VOTER : MASTER_LEARNER;
        if (!member)
            application_erase (self, LEDGER_MASTERS, key);
        else if (masters[i].role != role || masters[i].incarnation != member->incarnation) {
            masters[i].role = role;
            masters[i].incarnation = member->incarnation;
            application_put (self, LEDGER_MASTERS, key, &master_record, &masters[i]);
        }
    }
}

/*  One that has spoken before it was written down has said which log it has. */
static void put_new (application_t *self, const master_t *said)
{
    master_t master = *said, before;
    ledger_key_t key = ledger_key_node (&master.key);
    if (application_get (self, LEDGER_MASTERS, key, &before))
        master.incarnation = before.incarnation;
    application_put (self, LEDGER_MASTERS, key, &master_record, &master);
}

int apply_change_masters (application_t *self, const void *body)
{
    const change_masters_t *command = body;
    cluster_conf_t before, conf = command->conf;
    master_t *others;
    size_t count;
    if (!get_conf (self, &before) || !list_masters (self, &others, &count))
        return -1;
    if (command->base != before.index && !PLANTED (TWO_CHANGES))
        return nexus_error_set (self->error, NEXUS_CONFLICT,
                                "the masters have changed meanwhile (configuration %" PRIu64
                                ", not %" PRIu64 "): look again",
                                before.index, command->base);
    if (before.members.count && before.cluster != conf.cluster)
        return nexus_error_set (self->error, NEXUS_INVALID,
                                "change_masters: a cluster's number doesn't change");
    for (size_t i = 0; i < command->masters.count; i++)
        if (check_master (self, &command->masters.items[i], others, count) ||
            check_name (self, &before, &command->masters.items[i], others, count) ||
            check_master (self, &command->masters.items[i], command->masters.items, i))
            return -1;
    if (check_conf (self, command))
        return -1;
    for (size_t i = 0; i < command->masters.count; i++)
        if (find_member (&conf, &command->masters.items[i].key))
            put_new (self, &command->masters.items[i]);
    put_roles (self, &conf);
    conf.index = self->index;
    application_put (self, LEDGER_META, ledger_key_text (LEDGER_CONF), &cluster_conf_record, &conf);
    snprintf (self->value, LEDGER_VALUE_MAX, "%" PRIu64, self->index);
    return self->fatal ? -1 : 0;
}
