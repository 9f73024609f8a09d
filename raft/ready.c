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

static bool hard_state_changed(const struct rr_raw_node *node, struct rr_hard_state now)
{
    bool is_empty = now.term == 0 && now.vote == RR_NONE && now.commit == 0;
    return !is_empty && !hard_equal(now, node->previous_hard);
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
    struct rr_soft_state soft = raft_soft_state(r);
    return box->messages.count > 0 || box->after_append.count > 0 || box->read_states.count > 0 ||
           u->offset_in_progress < unstable_end(u) || unstable_next_snapshot(u) ||
           raft_log_has_next_committed(&r->log, may_apply_unstable(r)) ||
           !soft_equal(soft, node->previous_soft) || hard_state_changed(node, raft_hard_state(r));
}

/* ---- what goes into it --------------------------------------------------- */

static void take_states(struct rr_raw_node *node, struct rr_ready *ready)
{
    const struct raft *r = &node->raft;
    struct rr_soft_state soft = raft_soft_state(r);
    if (!soft_equal(soft, node->previous_soft)) {
        node->ready_soft = soft;
        node->previous_soft = soft;
        ready->soft_state = &node->ready_soft;
    }
    struct rr_hard_state hard = raft_hard_state(r);
    /* A new commit index alone can be learned again: no sync for it. */
    ready->must_sync = ready->entry_count > 0 || hard.vote != node->previous_hard.vote ||
                       hard.term != node->previous_hard.term;
    if (hard_state_changed(node, hard)) {
        node->ready_hard = hard;
        node->previous_hard = hard;
        ready->hard_state = &node->ready_hard;
    }
}

static void take_unstable(struct raft *r, struct rr_ready *ready)
{
    struct unstable *u = &r->log.unstable;
    uint64_t first = u->offset_in_progress;
    if (first < unstable_end(u)) {
        struct entry_pieces pieces = {.count = 0};
        raft_log_slice_tail(&r->log, first, unstable_end(u), UINT64_MAX, &pieces);
        ready->entries = outbox_log_entries(&r->outbox, first, &pieces);
        ready->entry_count = pieces.count;
    }
    if (unstable_next_snapshot(u))
        ready->snapshot = outbox_hold_snapshot(&r->outbox, u->snapshot);
    unstable_accept_in_progress(u);
}

static void take_committed(struct raft *r, struct rr_ready *ready)
{
    struct entry_pieces pieces;
    uint64_t first = r->log.applying + 1;
    uint64_t size = raft_log_next_committed(&r->log, may_apply_unstable(r), &pieces);
    if (pieces.count == 0)
        return;
    ready->committed_entries = outbox_log_entries(&r->outbox, first, &pieces);
    ready->committed_entry_count = pieces.count;
    raft_log_accept_applying(&r->log, first + pieces.count - 1, size, may_apply_unstable(r));
}

/* ---- the storage's acknowledgements, made in advance --------------------- */

/* Is there something for which the node must hear that it is durable? */
static bool needs_append_resp(const struct raft *r, const struct rr_ready *ready)
{
    return r->log.unstable.count > 0 || ready->snapshot;
}

static void make_append_resp(const struct raft *r, const struct rr_ready *ready,
                             struct rr_message *m)
{
    message_init(m, RR_MSG_STORAGE_APPEND_RESP, r->id, RR_LOCAL_APPEND_THREAD);
    m->term = r->term;
    m->snapshot = ready->snapshot;
    /* Always the last entry, also if this Ready has none: an acknowledgement of an older term is
     * dropped, and this one stands in for it. */
    if (r->log.unstable.count > 0) {
        struct entry_id last = raft_log_last_id(&r->log);
        m->index = last.index;
        m->log_term = last.term;
    }
}

static void make_apply_resp(const struct raft *r, const struct rr_ready *ready,
                            struct rr_message *m)
{
    message_init(m, RR_MSG_STORAGE_APPLY_RESP, r->id, RR_LOCAL_APPLY_THREAD);
    m->entries = ready->committed_entries;
    m->entry_count = ready->committed_entry_count;
}

static void add_storage_append(struct raft *r, const struct rr_ready *ready)
{
    struct message_list *responses = &r->outbox.open->after_append;
    if (ready->entry_count == 0 && !ready->hard_state && !ready->snapshot && responses->count == 0)
        return;
    /* Behind the others, so that what they promise was acknowledged before. */
    if (needs_append_resp(r, ready))
        make_append_resp(r, ready, outbox_message_after_append(&r->outbox));
    struct rr_message *m = outbox_message(&r->outbox);
    message_init(m, RR_MSG_STORAGE_APPEND, RR_LOCAL_APPEND_THREAD, r->id);
    m->entries = ready->entries;
    m->entry_count = ready->entry_count;
    m->snapshot = ready->snapshot;
    m->responses = responses->items;
    m->response_count = responses->count;
    if (ready->hard_state) {
        m->term = ready->hard_state->term;
        m->vote = ready->hard_state->vote;
        m->commit = ready->hard_state->commit;
    }
}

static void add_storage_apply(struct raft *r, const struct rr_ready *ready)
{
    if (ready->committed_entry_count == 0)
        return;
    struct rr_message *response = arena_alloc(&r->outbox.open->arena, sizeof(*response));
    make_apply_resp(r, ready, response);
    struct rr_message *m = outbox_message(&r->outbox);
    message_init(m, RR_MSG_STORAGE_APPLY, RR_LOCAL_APPLY_THREAD, r->id);
    m->entries = ready->committed_entries;
    m->entry_count = ready->committed_entry_count;
    m->responses = response;
    m->response_count = 1;
}

/* Sync mode: messages to others follow the storage writes of this Ready anyway; those to the node
 * itself are stepped by Advance. */
static void prepare_advance(struct rr_raw_node *node, const struct rr_ready *ready)
{
    struct raft *r = &node->raft;
    RR_ASSERT_SAYS(node->advance_box == NULL,
                   "node % gives a Ready before Advance of the one before", r->id);
    const struct message_list *waiting = &r->outbox.open->after_append;
    bool has_own = false;
    for (uint32_t i = 0; i < waiting->count; i++) {
        if (waiting->items[i].to == r->id)
            has_own = true;
        else
            *outbox_message(&r->outbox) = waiting->items[i];
    }
    node->has_advance_append_resp = needs_append_resp(r, ready);
    if (node->has_advance_append_resp)
        make_append_resp(r, ready, &node->advance_append_resp);
    node->has_advance_apply_resp = ready->committed_entry_count > 0;
    if (node->has_advance_apply_resp)
        make_apply_resp(r, ready, &node->advance_apply_resp);
    if (has_own || node->has_advance_append_resp || node->has_advance_apply_resp)
        node->advance_box = r->outbox.open;
}

void rr_raw_node_ready(struct rr_raw_node *node, struct rr_ready *ready)
{
    struct raft *r = &node->raft;
    *ready = (struct rr_ready){.entries = NULL};
    unstable_drop_kept(&r->log.unstable);
    take_unstable(r, ready);
    take_committed(r, ready);
    take_states(node, ready);
    if (r->async_storage_writes) {
        add_storage_append(r, ready);
        add_storage_apply(r, ready);
    } else {
        prepare_advance(node, ready);
    }
    const struct box *box = outbox_close(&r->outbox);
    ready->messages = box->messages.items;
    ready->message_count = box->messages.count;
    ready->read_states = box->read_states.items;
    ready->read_state_count = box->read_states.count;
    RR_ASSERT_SLOW((raft_check(r), true));
}

void rr_raw_node_advance(struct rr_raw_node *node)
{
    struct raft *r = &node->raft;
    RR_ASSERT_SAYS(!r->async_storage_writes,
                   "node % is not advanced: it has asynchronous storage writes", r->id);
    struct box *box = node->advance_box;
    if (!box)
        return;
    node->advance_box = NULL;
    /* Errors of these steps concern nobody: there is no proposal among them. */
    for (uint32_t i = 0; i < box->after_append.count; i++) {
        if (box->after_append.items[i].to == r->id)
            raft_step(r, &box->after_append.items[i]);
    }
    if (node->has_advance_append_resp)
        raft_step(r, &node->advance_append_resp);
    if (node->has_advance_apply_resp)
        raft_step(r, &node->advance_apply_resp);
}
