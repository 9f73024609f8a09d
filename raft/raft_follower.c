/* SPDX-License-Identifier: Apache-2.0
 *
 * A follower: it takes the leader's log, and passes requests on to it.
 *
 * Hot: MsgApp and MsgHeartbeat.
 */
#include "raft/raft_core.h"

static void hear_leader(struct raft *r, const struct rr_message *m)
{
    r->election_elapsed = 0;
    r->lead = m->from;
}

RR_COLD static void reject_append(struct raft *r, const struct rr_message *m,
                                  struct rr_message *answer)
{
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

static int handle_append(struct raft *r, const struct rr_message *m)
{
    hear_leader(r, m);
    struct rr_message *answer = raft_message(r, RR_MSG_APP_RESP, m->from);
    if (m->index < r->log.committed)
        /* Old: what is committed matches the leader's log anyway. */
        answer->index = r->log.committed;
    else if (RR_UNLIKELY(!raft_log_maybe_append(&r->log, m, &answer->index)))
        reject_append(r, m, answer);
    return 0;
}

static int handle_heartbeat(struct raft *r, const struct rr_message *m)
{
    hear_leader(r, m);
    raft_log_commit_to(&r->log, m->commit);
    struct rr_message *answer = raft_message(r, RR_MSG_HEARTBEAT_RESP, m->from);
    answer->context = outbox_copy_bytes(&r->outbox, m->context, m->context_size);
    answer->context_size = m->context_size;
    return 0;
}

static int handle_snapshot(struct raft *r, const struct rr_message *m)
{
    hear_leader(r, m);
    return raft_handle_snapshot(r, m);
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

static int forward_read_index(struct raft *r, const struct rr_message *m)
{
    if (r->lead == RR_NONE)
        EVENT(&r->events, NO_LEADER_READ, r->id, r->term);
    else
        forward(r, m, outbox_copy_with_data(&r->outbox, m->entries, m->entry_count));
    return 0;
}

static int forward_transfer(struct raft *r, const struct rr_message *m)
{
    if (r->lead == RR_NONE)
        EVENT(&r->events, NO_LEADER_TRANSFER, r->id, r->term);
    else
        forward(r, m, outbox_copy_with_data(&r->outbox, m->entries, m->entry_count));
    return 0;
}

static int forget_leader(struct raft *r, const struct rr_message *m)
{
    (void)m;
    if (r->read_only.option == RR_READ_ONLY_LEASE_BASED) {
        /* A leader may be answering reads because we promised not to vote. */
        EVENT(&r->events, FORGET_LEASE_BASED);
        return 0;
    }
    if (r->lead != RR_NONE) {
        EVENT(&r->events, FORGETTING_LEADER, r->id, r->lead, r->term);
        r->lead = RR_NONE;
    }
    return 0;
}

static int take_read_answer(struct raft *r, const struct rr_message *m)
{
    if (m->entry_count != 1) {
        EVENT(&r->events, INVALID_READ_RESP, r->id, m->from, m->entry_count);
        return 0;
    }
    const struct rr_entry *entry = &m->entries[0];
    *outbox_read_state(&r->outbox) = (struct rr_read_state){
        .index = m->index,
        .request_ctx = outbox_copy_bytes(&r->outbox, entry->data, entry->size),
        .request_ctx_size = entry->size};
    return 0;
}

/* ---- the role ------------------------------------------------------------ */

static int handle_timeout_now(struct raft *r, const struct rr_message *m)
{
    EVENT(&r->events, RECEIVED_TIMEOUT_NOW, r->id, r->term, m->from);
    /* Never a pre-vote: the leader itself asked for it. */
    raft_hup(r, CAMPAIGN_TRANSFER);
    return 0;
}

const raft_handler raft_follower_handlers[RAFT_MESSAGE_TYPES] = {
    [RR_MSG_HUP] = raft_handle_hup,
    [RR_MSG_VOTE] = raft_handle_vote_request,
    [RR_MSG_PRE_VOTE] = raft_handle_vote_request,
    [RR_MSG_STORAGE_APPEND_RESP] = raft_handle_storage_append_resp,
    [RR_MSG_STORAGE_APPLY_RESP] = raft_handle_storage_apply_resp,
    [RR_MSG_APP] = handle_append,
    [RR_MSG_HEARTBEAT] = handle_heartbeat,
    [RR_MSG_SNAP] = handle_snapshot,
    [RR_MSG_TIMEOUT_NOW] = handle_timeout_now,
    [RR_MSG_PROP] = forward_proposal,
    [RR_MSG_READ_INDEX] = forward_read_index,
    [RR_MSG_READ_INDEX_RESP] = take_read_answer,
    [RR_MSG_TRANSFER_LEADER] = forward_transfer,
    [RR_MSG_FORGET_LEADER] = forget_leader,
};
