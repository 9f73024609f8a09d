/* SPDX-License-Identifier: Apache-2.0
 *
 * Elections (thesis 3.4, 9.6): how they begin, and what a candidate or pre-candidate does until
 * they end.
 */
#include "raft/raft_core.h"

#include <string.h>

/* A committed conf change that is not applied may have taken our vote away, or given others one. */
static bool has_unapplied_conf_changes(const struct raft *r)
{
    if (r->log.applied >= r->log.committed)
        return false;
    return raft_log_has_conf_change(&r->log, r->log.applied + 1, r->log.committed + 1,
                                    r->log.max_applying_ents_size);
}

static void ask_for_vote(struct raft *r, uint64_t to, enum campaign_kind kind)
{
    bool is_pre = kind == CAMPAIGN_PRE_ELECTION;
    struct entry_id last = raft_log_last_id(&r->log);
    struct rr_message *request = raft_message(r, is_pre ? RR_MSG_PRE_VOTE : RR_MSG_VOTE, to);
    EVENT(&r->events, SENT_VOTE_REQUEST, r->id, last.term, last.index, request->type, to, r->term);
    request->index = last.index;
    request->log_term = last.term;
    /* A pre-vote asks about a term that is not entered yet. */
    request->term = is_pre ? r->term + 1 : r->term;
    if (kind == CAMPAIGN_TRANSFER) {
        request->context = (const uint8_t *)CAMPAIGN_TRANSFER_CONTEXT;
        request->context_size = (uint32_t)strlen(CAMPAIGN_TRANSFER_CONTEXT);
    }
}

/* The own vote counts when it is durable, like any other. */
static void vote_for_self(struct raft *r, enum campaign_kind kind)
{
    if (kind == CAMPAIGN_PRE_ELECTION)
        raft_message(r, RR_MSG_PRE_VOTE_RESP, r->id)->term = r->term + 1;
    else
        raft_message(r, RR_MSG_VOTE_RESP, r->id);
}

static void campaign(struct raft *r, enum campaign_kind kind)
{
    if (kind == CAMPAIGN_PRE_ELECTION)
        raft_become_pre_candidate(r);
    else
        raft_become_candidate(r);
    struct id_set voters;
    tracker_voters(&r->tracker, &voters);
    for (uint32_t i = 0; i < voters.count; i++) {
        if (voters.ids[i] == r->id)
            vote_for_self(r, kind);
        else
            ask_for_vote(r, voters.ids[i], kind);
    }
}

RR_COLD void raft_hup(struct raft *r, enum campaign_kind kind)
{
    if (r->state == RR_STATE_LEADER) {
        EVENT(&r->events, HUP_ALREADY_LEADER, r->id);
        return;
    }
    if (!raft_is_promotable(r)) {
        EVENT(&r->events, UNPROMOTABLE, r->id);
        return;
    }
    if (has_unapplied_conf_changes(r)) {
        EVENT(&r->events, CAMPAIGN_PENDING_CONF, r->id, r->term);
        return;
    }
    EVENT(&r->events, STARTING_ELECTION, r->id, r->term);
    campaign(r, kind);
}

static void count_vote(struct raft *r, const struct rr_message *m)
{
    if (m->reject)
        EVENT(&r->events, RECEIVED_REJECTION, r->id, m->type, m->from, r->term);
    else
        EVENT(&r->events, RECEIVED_VOTE, r->id, m->type, m->from, r->term);
    tracker_record_vote(&r->tracker, m->from, !m->reject);

    uint32_t granted;
    uint32_t rejected;
    enum vote_result result = tracker_tally_votes(&r->tracker, &granted, &rejected);
    EVENT(&r->events, VOTE_TALLY, r->id, granted, m->type, rejected);
    if (result == VOTE_WON && r->state == RR_STATE_PRE_CANDIDATE) {
        if (!raft_is_promotable(r))
            EVENT(&r->events, CAMPAIGN_UNPROMOTABLE, r->id);
        campaign(r, CAMPAIGN_ELECTION);
    } else if (result == VOTE_WON) {
        raft_become_leader(r);
        raft_broadcast_append(r);
    } else if (result == VOTE_LOST) {
        /* At the own term, and with the vote kept. */
        raft_become_follower(r, r->term, RR_NONE);
    }
}

static int handle_vote_response(struct raft *r, const struct rr_message *m)
{
    /* Answers to the other phase are late, and say nothing about this one. */
    uint8_t own_answer =
        r->state == RR_STATE_PRE_CANDIDATE ? RR_MSG_PRE_VOTE_RESP : RR_MSG_VOTE_RESP;
    if (m->type == own_answer)
        count_vote(r, m);
    return 0;
}

static int drop_proposal(struct raft *r, const struct rr_message *m)
{
    (void)m;
    EVENT(&r->events, NO_LEADER_PROPOSAL, r->id, r->term);
    return RR_E_PROPOSAL_DROPPED;
}

/* Somebody else has won this term. */
static int follow(struct raft *r, const struct rr_message *m)
{
    raft_become_follower(r, m->term, m->from);
    return raft_follower_handlers[m->type](r, m);
}

static int ignore_timeout_now(struct raft *r, const struct rr_message *m)
{
    EVENT(&r->events, IGNORED_TIMEOUT_NOW, r->id, r->term, r->state, m->from);
    return 0;
}

const raft_handler raft_candidate_handlers[RAFT_MESSAGE_TYPES] = {
    [RR_MSG_HUP] = raft_handle_hup,
    [RR_MSG_VOTE] = raft_handle_vote_request,
    [RR_MSG_PRE_VOTE] = raft_handle_vote_request,
    [RR_MSG_STORAGE_APPEND_RESP] = raft_handle_storage_append_resp,
    [RR_MSG_STORAGE_APPLY_RESP] = raft_handle_storage_apply_resp,
    [RR_MSG_VOTE_RESP] = handle_vote_response,
    [RR_MSG_PRE_VOTE_RESP] = handle_vote_response,
    [RR_MSG_APP] = follow,
    [RR_MSG_HEARTBEAT] = follow,
    [RR_MSG_SNAP] = follow,
    [RR_MSG_PROP] = drop_proposal,
    [RR_MSG_TIMEOUT_NOW] = ignore_timeout_now,
};
