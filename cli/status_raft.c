/*  status_raft - nexus status --raft: consensus, as each master sees it */
#include "cli/status_raft.h"

#include "cli/command.h"
#include "cli/table.h"

#include <inttypes.h>

static figure_t of_limit (uint64_t used, uint64_t limit)
{
    figure_t text;
    snprintf (text.text, sizeof (text.text), "%.12s of %.12s", figure_bytes (used).text,
              figure_bytes (limit).text);
    return text;
}

static figure_t milliseconds (uint64_t p50_us, uint64_t p99_us)
{
    figure_t text;
    snprintf (text.text, sizeof (text.text), "%.2f / %.2f ms", (double)p50_us / 1e3,
              (double)p99_us / 1e3);
    return text;
}

static void print_masters (const raft_overview_t *raft)
{
    static const char *const titles[] = {"master",  "role",    "term",  "leader",
                                         "commit",  "applied", "log",   "on disk",
                                         "timeout", "flush",   "space", "elections"};
    table_t *table = table_new ();
    for (size_t i = 0; i < sizeof (titles) / sizeof (titles[0]); i++)
        table_header (table, titles[i]);
    for (size_t i = 0; i < raft->masters.count; i++) {
        const raft_master_t *master = &raft->masters.items[i];
        const raft_view_t *view = &master->view;
        table_cell (table, "%s", master->name);
        if (!master->answered) {
            table_cell (table, "no answer");
            for (size_t j = 2; j < sizeof (titles) / sizeof (titles[0]); j++)
                table_cell (table, "%s", "");
            continue;
        }
        table_cell (
            table, "%s%s%s",
            *view->refused ? "refused" : record_choice_name (&raft_view_role_choices, view->role),
            view->voter || *view->refused ? "" : " (learner)", view->damaged ? " (impaired)" : "");
        table_cell (table, "%" PRIu64, view->term);
        table_cell (table, "%s", master->leader);
        table_cell (table, "%" PRIu64, view->commit);
        table_cell (table, "%" PRIu64, view->applied);
        table_cell (table, "%" PRIu64 "-%" PRIu64, view->first, view->last);
        table_cell (table, "%" PRIu64, view->durable);
        table_cell (table, "%" PRIu64 " ms", view->election_timeout_ms);
        table_cell (table, "%s", milliseconds (view->flush_p50_us, view->flush_p99_us).text);
        table_cell (table, "%s", of_limit (view->log_used_bytes, view->log_limit_bytes).text);
        table_cell (table, "%" PRIu64, view->elections);
    }
    table_print (table, stdout, 0);
    table_destroy (&table);
}

static void print_peers (const raft_master_t *leader)
{
    static const char *const titles[] = {"peer",      "state", "on disk",    "lag",
                                         "in flight", "bytes", "round trip", "heard"};
    table_t *table = table_new ();
    for (size_t i = 0; i < sizeof (titles) / sizeof (titles[0]); i++)
        table_header (table, titles[i]);
    for (size_t i = 0; i < leader->view.peers.count; i++) {
        const raft_peer_view_t *peer = &leader->view.peers.items[i];
        table_cell (table, "%s", peer->name);
        table_cell (table, "%s%s",
                    peer->active ? record_choice_name (&raft_view_state_choices, peer->state)
                                 : "silent",
                    peer->learner ? " (learner)" : "");
        table_cell (table, "%" PRIu64, peer->match);
        table_cell (table, "%" PRIu64, peer->lag);
        table_cell (table, "%" PRIu64, peer->in_flight);
        table_cell (table, "%s", figure_bytes (peer->in_flight_bytes).text);
        table_cell (table, "%s", milliseconds (peer->round_trip_us, peer->round_trip_p99_us).text);
        table_cell (table, "%s",
                    peer->heard_ms_ago < 0 ? "never" : figure_duration (peer->heard_ms_ago).text);
    }
    printf ("\nAs the leader %s sees the others (term %" PRIu64 ", heartbeat %" PRIu64 " ms):\n",
            leader->name, leader->view.term, leader->view.heartbeat_ms);
    table_print (table, stdout, 0);
    table_destroy (&table);
}

static void print_raft (const void *value)
{
    const raft_overview_t *raft = value;
    print_masters (raft);
    for (size_t i = 0; i < raft->masters.count; i++)
        if (raft->masters.items[i].view.role == RAFT_VIEW_LEADER && raft->masters.items[i].answered)
            print_peers (&raft->masters.items[i]);
    for (size_t i = 0; i < raft->masters.count; i++)
        if (*raft->masters.items[i].view.refused)
            printf ("\n%s: %s\n", raft->masters.items[i].name, raft->masters.items[i].view.refused);
    if (*raft->message)
        printf ("\nNo leader is known to %s: %s\n", raft->answered_by, raft->message);
}

int status_raft (client_t *client, bool json)
{
    return client_show (client, json, "/api/v1/raft", NULL, &raft_overview_record, print_raft);
}
