/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages in: terms (thesis 3.3), votes (3.4, 3.6.1, 9.6), local storage acknowledgements; the
 * rest goes to the role.
 *
 * Hot: the straight line is a message of the own term for the role.
 */
#include "raft/raft_core.h"

#include <string.h>

/* ---- acknowledgements of the own storage --------------------------------- */

/* Leaves a joint configuration that is to be left as soon as it is applied. */
RR_COLD static void maybe_auto_leave(struct raft *r)
{
    if (r->log.applied < r->pending_conf_index || r->state != RR_STATE_LEADER)
        return;
    const struct rr_entry leave = {.type = RR_ENTRY_CONF_CHANGE_V2, .has = RR_ENTRY_HAS_TYPE};
    const struct rr_message m = {.type = RR_MSG_PROP, .entries = &leave, .entry_count = 1};
    /* Refused only while leadership is being transferred; tried again at the next apply. */
    int err = raft_handle_proposal(r, &m);
    if (err)
        EVENT(&r->events, AUTO_LEAVE_FAILED, event_pointer(&r->tracker.config),
              (uint64_t)(int64_t)err);
    else
        EVENT(&r->events, AUTO_LEAVE, event_pointer(&r->tracker.config));
}

static inline void applied_to(struct raft *r, uint64_t index, uint64_t size)
{
    raft_log_applied_to(&r->log, rr_max_u64(index, r->log.applied), size);
    if (RR_UNLIKELY(r->tracker.config.auto_leave))
        maybe_auto_leave(r);
}

RR_COLD static int apply_snapshot_done(struct raft *r, const struct rr_snapshot *snapshot)
{
    unstable_stable_snap_to(&r->log.unstable, snapshot->metadata.index);
    applied_to(r, snapshot->metadata.index, 0);
    return 0;
}

int raft_handle_storage_append_resp(struct raft *r, const struct rr_message *m)
{
    const struct rr_snapshot *snapshot = m->snapshot;
    if (m->index != 0)
        unstable_stable_to(&r->log.unstable, m->log_term, m->index);
    return RR_UNLIKELY(snapshot != NULL) ? apply_snapshot_done(r, snapshot) : 0;
}

int raft_handle_storage_apply_resp(struct raft *r, const struct rr_message *m)
{
    if (m->entry_count == 0)
        return 0;
    applied_to(r, m->entries[m->entry_count - 1].index,
               raft_log_applying_size(&r->log, m->entries, m->entry_count));
    if (r->uncommitted_size > 0) /* a leader's */
        raft_reduce_uncommitted_size(r, raft_log_payload_size(m->entries, m->entry_count));
    return 0;
}

/* ---- terms --------------------------------------------------------------- */

static bool comes_from_leader(const struct rr_message *m)
{
    return m->type == RR_MSG_APP || m->type == RR_MSG_HEARTBEAT || m->type == RR_MSG_SNAP;
}

/* Within the lease of a leader that was heard lately, votes are not even refused (thesis 4.2.3). */
static bool is_in_lease(const struct raft *r, const struct rr_message *m)
{
    bool is_forced = m->context_size == strlen(CAMPAIGN_TRANSFER_CONTEXT) &&
                     memcmp(m->context, CAMPAIGN_TRANSFER_CONTEXT, m->context_size) == 0;
    return !is_forced && r->check_quorum && r->lead != RR_NONE &&
           r->election_elapsed < r->election_timeout;
}

/* Returns false if the message is done with. */
RR_COLD static bool receive_higher_term(struct raft *r, const struct rr_message *m)
{
    bool is_request = m->type == RR_MSG_VOTE || m->type == RR_MSG_PRE_VOTE;
    if (is_request && is_in_lease(r, m)) {
        struct entry_id last = raft_log_last_id(&r->log);
        EVENT(&r->events, LEASE_NOT_EXPIRED, r->id, last.term, last.index, r->vote, m->type,
              m->from, m->log_term, m->index, r->term,
              (uint64_t)(r->election_timeout - r->election_elapsed));
        return false;
    }
    /* Pre-votes speak of a term that nobody has entered yet; only a refusal tells of a real one. */
    if (m->type == RR_MSG_PRE_VOTE || (m->type == RR_MSG_PRE_VOTE_RESP && !m->reject))
        return true;
    EVENT(&r->events, HIGHER_TERM, r->id, r->term, m->type, m->from, m->term);
    raft_become_follower(r, m->term, comes_from_leader(m) ? m->from : RR_NONE);
    return true;
}

RR_COLD static void log_rejected_vote(struct raft *r, const struct rr_message *m)
{
    struct entry_id last = raft_log_last_id(&r->log);
    EVENT(&r->events, REJECTED_VOTE, r->id, last.term, last.index, r->vote, m->type, m->from,
          m->log_term, m->index, r->term);
}

RR_COLD static void receive_lower_term(struct raft *r, const struct rr_message *m)
{
    if ((r->check_quorum || r->pre_vote) &&
        (m->type == RR_MSG_HEARTBEAT || m->type == RR_MSG_APP)) {
        /* A leader of an older term that we do not disturb with votes: the answer's term frees it,
         * or lets it make us follow again in a newer term. */
        raft_message(r, RR_MSG_APP_RESP, m->from);
        return;
    }
    if (m->type == RR_MSG_PRE_VOTE) {
        /* An answer, lest clusters that switch pre-vote on deadlock. */
        log_rejected_vote(r, m);
        raft_message(r, RR_MSG_PRE_VOTE_RESP, m->from)->reject = true;
        return;
    }
    if (m->type == RR_MSG_STORAGE_APPEND_RESP) {
        /* The entries may have been overwritten since, and again by equal ones that are not durable
         * (ABA); every later append message names the last index again. The snapshot is durable
         * anyway. */
        if (m->index != 0)
            EVENT(&r->events, LOWER_TERM_APPEND, r->id, r->term, m->type, m->term);
        if (m->snapshot)
            apply_snapshot_done(r, m->snapshot);
        return;
    }
    EVENT(&r->events, LOWER_TERM, r->id, r->term, m->type, m->from, m->term);
}

/* ---- votes --------------------------------------------------------------- */

RR_COLD int raft_handle_vote_request(struct raft *r, const struct rr_message *m)
{
    bool can_vote =
        /* a repetition of the vote we cast, */
        r->vote == m->from ||
        /* or we have not voted and know of no leader in this term, */
        (r->vote == RR_NONE && r->lead == RR_NONE) ||
        /* or it is a pre-vote for a future term. */
        (m->type == RR_MSG_PRE_VOTE && m->term > r->term);
    struct entry_id candidate_last = {.term = m->log_term, .index = m->index};
    enum rr_message_type answer = m->type == RR_MSG_VOTE ? RR_MSG_VOTE_RESP : RR_MSG_PRE_VOTE_RESP;
    if (!can_vote || !raft_log_is_up_to_date(&r->log, candidate_last)) {
        log_rejected_vote(r, m);
        raft_message(r, answer, m->from)->reject = true;
        return 0;
    }
    /* Learners vote too: they may have been promoted without knowing it yet. */
    struct entry_id last = raft_log_last_id(&r->log);
    EVENT(&r->events, CAST_VOTE, r->id, last.term, last.index, r->vote, m->type, m->from,
          m->log_term, m->index, r->term);
    /* With the term of the request: for a pre-vote it is not ours. */
    raft_message(r, answer, m->from)->term = m->term;
    if (m->type == RR_MSG_VOTE) {
        r->election_elapsed = 0;
        r->vote = m->from;
    }
    return 0;
}

/* ---- in ------------------------------------------------------------------ */

int raft_handle_hup(struct raft *r, const struct rr_message *m)
{
    (void)m;
    raft_hup(r, r->pre_vote ? CAMPAIGN_PRE_ELECTION : CAMPAIGN_ELECTION);
    return 0;
}

const raft_handler *const raft_roles[] = {
    [RR_STATE_FOLLOWER] = raft_follower_handlers,
    [RR_STATE_CANDIDATE] = raft_candidate_handlers,
    [RR_STATE_LEADER] = raft_leader_handlers,
    [RR_STATE_PRE_CANDIDATE] = raft_candidate_handlers,
};

int raft_step_other_term(struct raft *r, const struct rr_message *m)
{
    if (m->term < r->term) {
        receive_lower_term(r, m);
        return 0;
    }
    return receive_higher_term(r, m) ? raft_step_own_term(r, m) : 0;
}
