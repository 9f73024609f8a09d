/* SPDX-License-Identifier: Apache-2.0
 *
 * Ready: what the driver has to do next, taken and accepted in one call.
 *
 * Sync mode: store entries, hard state and snapshot, send the messages, apply, Advance; Advance
 * steps what the node told itself to know when that is done. Asynchronous mode: everything local is
 * a message too (MsgStorageAppend, MsgStorageApply) whose Responses are delivered when it is done,
 * in order; messages for the network never wait.
 *
 * Hot: per Ready, not per entry, but for the copies of descriptors.
 */
#include "raft/raw_node.h"

static bool soft_equal(struct rr_soft_state a, struct rr_soft_state b)
{
    return a.lead == b.lead && a.raft_state == b.raft_state;
}

static bool hard_equal(struct rr_hard_state a, struct rr_hard_state b)
{
    return a.term == b.term && a.vote == b.vote && a.commit == b.commit;
}

/* Only in sync mode does the same Ready make entries durable and hand them out to be applied. */
static bool may_apply_unstable(const struct raft *r)
{
    return !r->async_storage_writes;
}

bool rr_raw_node_has_ready(const struct rr_raw_node *node)
{
    const struct raft *r = &node->raft;
    const struct box *box = r->outbox.open;
    const struct unstable *u = &r->log.unstable;
    return box->messages.next > box->messages.items ||
           box->after_append.next > box->after_append.items || box->read_states.count > 0 ||
           u->offset_in_progress < unstable_end(u) || unstable_next_snapshot(u) ||
           raft_log_has_next_committed(&r->log, may_apply_unstable(r)) ||
           !soft_equal(raft_soft_state(r), node->soft) ||
           !hard_equal(raft_hard_state(r), node->hard);
}

/* ---- what goes into it --------------------------------------------------- */

static void take_unstable(struct raft *r, struct rr_ready *ready)
{
    struct unstable *u = &r->log.unstable;
    uint64_t first = u->offset_in_progress;
    uint64_t end = unstable_end(u);
    if (first < end) {
        ready->entries = unstable_run(u, first, end);
        ready->entry_count = (uint32_t)(end - first);
    }
    if (unstable_next_snapshot(u))
        ready->snapshot = outbox_hold_snapshot(&r->outbox, u->snapshot);
    unstable_accept_in_progress(u);
}

static void take_committed(struct raft *r, struct box *box, struct rr_ready *ready)
{
    struct committed_run run;
    raft_log_next_committed(&r->log, may_apply_unstable(r), &run);
    box->apply_resp.entry_count = run.count;
    if (run.count == 0)
        return;
    raft_log_accept_applying(&r->log, r->log.applying + run.count, run.size, may_apply_unstable(r));
    box->apply_resp.entries = run.entries;
    ready->committed_entries = run.entries;
    ready->committed_entry_count = run.count;
}

static void take_states(struct rr_raw_node *node, struct rr_ready *ready)
{
    struct rr_soft_state soft = raft_soft_state(&node->raft);
    struct rr_hard_state hard = raft_hard_state(&node->raft);
    /* A new commit index alone can be learned again: no sync for it. */
    ready->must_sync =
        ready->entry_count > 0 || hard.vote != node->hard.vote || hard.term != node->hard.term;
    if (!hard_equal(hard, node->hard)) {
        node->hard = hard;
        ready->hard_state = &node->hard;
    }
    if (!soft_equal(soft, node->soft)) {
        node->soft = soft;
        ready->soft_state = &node->soft;
    }
}

/* ---- the storage's acknowledgements, made in advance --------------------- */

/* If there is something of which the node must hear that it is durable. Behind the other messages
 * that wait for it, so that what they promise was acknowledged before. */
static inline bool add_append_resp(struct raft *r, struct box *box, const struct rr_ready *ready)
{
    const struct unstable *u = &r->log.unstable;
    if (u->count == 0 && !ready->snapshot)
        return false;
    struct rr_message *m = outbox_push(&r->outbox, &box->after_append);
    message_init(m, RR_MSG_STORAGE_APPEND_RESP, r->id, RR_LOCAL_APPEND_THREAD);
    m->term = r->term;
    m->snapshot = ready->snapshot;
    /* Always the last entry, also if this Ready has none: an acknowledgement of an older term is
     * dropped, and this one stands in for it. */
    if (u->count > 0) {
        m->index = unstable_end(u) - 1;
        m->log_term = unstable_last_term(u);
    }
    return true;
}

static void add_storage_append(struct raft *r, struct box *box, const struct rr_ready *ready)
{
    struct message_list *responses = &box->after_append;
    if (ready->entry_count == 0 && !ready->hard_state && !ready->snapshot &&
        responses->next == responses->items)
        return;
    add_append_resp(r, box, ready);
    struct rr_message *m = outbox_push(&r->outbox, &box->messages);
    message_init(m, RR_MSG_STORAGE_APPEND, RR_LOCAL_APPEND_THREAD, r->id);
    m->entries = ready->entries;
    m->entry_count = ready->entry_count;
    m->snapshot = ready->snapshot;
    m->responses = responses->items;
    m->response_count = message_list_count(responses);
    if (ready->hard_state) {
        m->term = ready->hard_state->term;
        m->vote = ready->hard_state->vote;
        m->commit = ready->hard_state->commit;
    }
}

static void add_storage_apply(struct raft *r, struct box *box)
{
    if (box->apply_resp.entry_count == 0)
        return;
    struct rr_message *m = outbox_push(&r->outbox, &box->messages);
    message_init(m, RR_MSG_STORAGE_APPLY, RR_LOCAL_APPLY_THREAD, r->id);
    m->entries = box->apply_resp.entries;
    m->entry_count = box->apply_resp.entry_count;
    m->responses = &box->apply_resp;
    m->response_count = 1;
}

/* Sync mode: messages to others follow the storage writes of this Ready anyway; those to the node
 * itself are stepped by Advance. */
static void prepare_advance(struct rr_raw_node *node, struct box *box, const struct rr_ready *ready)
{
    struct raft *r = &node->raft;
    RR_ASSERT_SAYS(node->advance_box == NULL,
                   "node % gives a Ready before Advance of the one before", r->id);
    const struct message_list *waiting = &box->after_append;
    bool has_own = false;
    for (const struct rr_message *m = waiting->items; m < waiting->next; m++) {
        if (m->to == r->id)
            has_own = true;
        else
            *outbox_push(&r->outbox, &box->messages) = *m;
    }
    has_own |= add_append_resp(r, box, ready);
    if (has_own || box->apply_resp.entry_count > 0)
        node->advance_box = box;
}

void rr_raw_node_ready(struct rr_raw_node *node, struct rr_ready *ready)
{
    struct raft *r = &node->raft;
    struct box *box = r->outbox.open;
    *ready = (struct rr_ready){.entries = NULL};
    unstable_drop_kept(&r->log.unstable);
    take_unstable(r, ready);
    take_committed(r, box, ready);
    take_states(node, ready);
    if (r->async_storage_writes) {
        add_storage_append(r, box, ready);
        add_storage_apply(r, box);
    } else {
        prepare_advance(node, box, ready);
    }
    ready->messages = box->messages.items;
    ready->message_count = message_list_count(&box->messages);
    ready->read_states = box->read_states.items;
    ready->read_state_count = box->read_states.count;
    outbox_close(&r->outbox);
    RR_ASSERT_SLOW((raft_check(r), true));
}

void rr_raw_node_advance(struct rr_raw_node *node)
{
    struct raft *r = &node->raft;
    RR_ASSERT_SAYS(!r->async_storage_writes,
                   "node % is not advanced: it has asynchronous storage writes", r->id);
    const struct box *box = node->advance_box;
    if (!box)
        return;
    node->advance_box = NULL;
    /* Errors of these steps concern nobody: there is no proposal among them. */
    for (const struct rr_message *m = box->after_append.items; m < box->after_append.next; m++) {
        if (m->to == r->id)
            raft_step(r, m);
    }
    if (box->apply_resp.entry_count > 0)
        raft_step(r, &box->apply_resp);
}
