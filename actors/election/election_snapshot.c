/*  election_snapshot - copies of the ledger, as far as they are Raft's business

    The core says that the leader offers a copy; "snapshots" fetches it; when it is durable
    here, the log begins anew behind it and the ledger becomes it. The two may be done in
    either order: whatever a crash leaves, the next start finishes it, since the copy
    was there before both. */
#include "actors/election/election_private.h"

/*  Copies cost something: one in that time for a follower that needs one. One that was asked for
    and isn't there may have failed. */
enum { COPY_PAUSE_MS = 10000, COPY_RETRY_MS = 1000 };

void election_offer (election_t *self, context_t *ctx, const raft_offer_t *offer)
{
    const record_key_t *from = election_key (self, offer->from);
    if (!from)
        return;
    address_t snapshots = address_local ("snapshots", 0);
    context_send (ctx, &snapshots, &snapshot_fetch_record,
                  &(snapshot_fetch_t){.from = *from, .index = offer->index, .term = offer->term});
}

/*  Its damage lies in what this log has compacted, and a copy helps only if it covers all of that
    log: one that is made now does, unless it ends beyond what is applied here. */
void election_peer_damaged (election_t *self, context_t *ctx, const raft_message_t *message)
{
    const raft_storage_t *log = &self->args->log.entries;
    int64_t now_ms = election_now_ms (ctx);
    int64_t pause_ms = self->copy_index > self->copy_asked_index ? COPY_PAUSE_MS : COPY_RETRY_MS;
    if (raft_soft_state (self->raft).role != RAFT_LEADER ||
        message->reject_hint + 1 >= log->first (log->self) ||
        (self->copy_asked_ms && now_ms - self->copy_asked_ms < pause_ms))
        return;
    self->copy_asked_ms = now_ms;
    self->copy_asked_index = self->copy_index;
    address_t snapshots = address_local ("snapshots", 0);
    context_send (ctx, &snapshots, &snapshot_make_record, &(snapshot_make_t){.index = 0});
}

void election_stored (election_t *self, context_t *ctx, const snapshot_stored_t *stored)
{
    if (stored->index > self->copy_index) {
        self->copy_index = stored->index;
        self->copy_term = stored->term;
    }
    if (!self->raft)
        return; /* it hears of it when it begins */
    if (stored->fetched && raft_restore (self->raft, stored->index, stored->term) == RAFT_OK) {
        log_info (context_log (ctx), "the log begins anew behind the leader's copy of the ledger",
                  LOG_UINT ("index", stored->index), LOG_UINT ("term", stored->term));
        election_restored (self, ctx, stored->index);
        address_t ledger = address_local ("ledger", 0);
        context_send (ctx, &ledger, &ledger_restore_record,
                      &(ledger_restore_t){.index = stored->index});
    }
    raft_set_snapshot (self->raft, self->copy_index, self->copy_term);
}
