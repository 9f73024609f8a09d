/* SPDX-License-Identifier: Apache-2.0
 *
 * A follower: it takes the leader's log, and passes requests on to it.
 *
 * Hot: MsgApp and MsgHeartbeat.
 */
#include "raft/raft_core.h"

void raft_handle_append_entries(struct raft *r, const struct rr_message *m)
{
    struct rr_message *answer = raft_message(r, RR_MSG_APP_RESP, m->from);
    if (m->index < r->log.committed) {
        /* Old: what is committed matches the leader's log anyway. */
        answer->index = r->log.committed;
        return;
    }
    if (RR_LIKELY(raft_log_maybe_append(&r->log, m, &answer->index)))
        return;
    EVENT(&r->events, APP_REJECTED, r->id, raft_log_term_or_zero(&r->log, m->index), m->index,
          m->log_term, m->index, m->from);
    /* The hint: the last place where our log can match the leader's, going by terms. The leader
     * does the same on its side, so that probing skips whole terms. */
    uint64_t hint = rr_min_u64(m->index, raft_log_last_index(&r->log));
    struct entry_id match = raft_log_find_conflict_by_term(&r->log, hint, m->log_term);
    answer->index = m->index;
    answer->reject = true;
    answer->reject_hint = match.index;
    answer->log_term = match.term;
}

void raft_handle_heartbeat(struct raft *r, const struct rr_message *m)
{
    raft_log_commit_to(&r->log, m->commit);
    struct rr_message *answer = raft_message(r, RR_MSG_HEARTBEAT_RESP, m->from);
    answer->context = outbox_copy_bytes(&r->outbox, m->context, m->context_size);
    answer->context_size = m->context_size;
}

/* ---- requests for the leader --------------------------------------------- */

/* Passes a request on as it came, with its origin. Proposals and reads are for whoever leads, in
 * whatever term. */
static void forward(struct raft *r, const struct rr_message *m, const struct rr_entry *entries)
{
    struct rr_message *out = raft_message(r, (enum rr_message_type)m->type, r->lead);
    uint64_t term = m->type == RR_MSG_TRANSFER_LEADER ? r->term : 0;
    uint64_t from = m->from != RR_NONE ? m->from : r->id;
    *out = *m;
    out->to = r->lead;
    out->from = from;
    out->term = term;
    out->entries = entries;
    out->context = outbox_copy_bytes(&r->outbox, m->context, m->context_size);
    /* Neither belongs to a request. */
    out->snapshot = NULL;
    out->responses = NULL;
    out->response_count = 0;
}

static int forward_proposal(struct raft *r, const struct rr_message *m)
{
    if (r->lead == RR_NONE) {
        EVENT(&r->events, NO_LEADER_PROPOSAL, r->id, r->term);
        return RR_E_PROPOSAL_DROPPED;
    }
    if (r->disable_proposal_forwarding) {
        EVENT(&r->events, NOT_FORWARDING, r->id, r->lead, r->term);
        return RR_E_PROPOSAL_DROPPED;
    }
    forward(r, m, outbox_copy_last_use(&r->outbox, m->entries, m->entry_count));
    return 0;
}

static void forward_read_index(struct raft *r, const struct rr_message *m)
{
    if (r->lead == RR_NONE)
        EVENT(&r->events, NO_LEADER_READ, r->id, r->term);
    else
        forward(r, m, outbox_copy_with_data(&r->outbox, m->entries, m->entry_count));
}

static void forward_transfer(struct raft *r, const struct rr_message *m)
{
    if (r->lead == RR_NONE)
        EVENT(&r->events, NO_LEADER_TRANSFER, r->id, r->term);
    else
        forward(r, m, outbox_copy_with_data(&r->outbox, m->entries, m->entry_count));
}

static void forget_leader(struct raft *r)
{
    if (r->read_only.option == RR_READ_ONLY_LEASE_BASED) {
        /* A leader may be answering reads because we promised not to vote. */
        EVENT(&r->events, FORGET_LEASE_BASED);
        return;
    }
    if (r->lead != RR_NONE) {
        EVENT(&r->events, FORGETTING_LEADER, r->id, r->lead, r->term);
        r->lead = RR_NONE;
    }
}

static void take_read_answer(struct raft *r, const struct rr_message *m)
{
    if (m->entry_count != 1) {
        EVENT(&r->events, INVALID_READ_RESP, r->id, m->from, m->entry_count);
        return;
    }
    const struct rr_entry *entry = &m->entries[0];
    *outbox_read_state(&r->outbox) = (struct rr_read_state){
        .index = m->index,
        .request_ctx = outbox_copy_bytes(&r->outbox, entry->data, entry->size),
        .request_ctx_size = entry->size};
}

/* ---- the role ------------------------------------------------------------ */

static void hear_leader(struct raft *r, const struct rr_message *m)
{
    r->election_elapsed = 0;
    r->lead = m->from;
}

int raft_step_follower(struct raft *r, const struct rr_message *m)
{
    switch (m->type) {
    case RR_MSG_APP:
        hear_leader(r, m);
        raft_handle_append_entries(r, m);
        break;
    case RR_MSG_HEARTBEAT:
        hear_leader(r, m);
        raft_handle_heartbeat(r, m);
        break;
    case RR_MSG_SNAP:
        hear_leader(r, m);
        raft_handle_snapshot(r, m);
        break;
    case RR_MSG_PROP:
        return forward_proposal(r, m);
    case RR_MSG_READ_INDEX:
        forward_read_index(r, m);
        break;
    case RR_MSG_READ_INDEX_RESP:
        take_read_answer(r, m);
        break;
    case RR_MSG_TRANSFER_LEADER:
        forward_transfer(r, m);
        break;
    case RR_MSG_FORGET_LEADER:
        forget_leader(r);
        break;
    case RR_MSG_TIMEOUT_NOW:
        EVENT(&r->events, RECEIVED_TIMEOUT_NOW, r->id, r->term, m->from);
        /* Never a pre-vote: the leader itself asked for it. */
        raft_hup(r, CAMPAIGN_TRANSFER);
        break;
    default:
        break;
    }
    return 0;
}
