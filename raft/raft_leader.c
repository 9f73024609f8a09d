/* SPDX-License-Identifier: Apache-2.0
 *
 * A leader: it takes proposals, replicates them, serves reads, watches its quorum and hands its
 * leadership over (thesis 3.5, 6.2, 6.4, 3.10).
 *
 * Hot: MsgProp and MsgAppResp.
 */
#include "raft/raft_core.h"

/* ---- the quorum (thesis 6.2) --------------------------------------------- */

void raft_check_quorum(struct raft *r)
{
    if (!tracker_quorum_active(&r->tracker)) {
        EVENT(&r->events, QUORUM_NOT_ACTIVE, r->id);
        raft_become_follower(r, r->term, RR_NONE);
    }
    /* Everybody must be heard again until the next check. */
    for (uint32_t i = 0; i < r->tracker.progress_count; i++) {
        struct progress *pr = &r->tracker.progress[i];
        if (pr->id != r->id)
            pr->recent_active = false;
    }
}

/* ---- reads (thesis 6.4) -------------------------------------------------- */

static void respond_to_read(struct raft *r, const struct read_request *request, uint64_t index)
{
    if (request->from == RR_NONE || request->from == r->id) {
        RR_ASSERT_SAYS(request->entry_count > 0, "a read of node % at index % has no context",
                       r->id, index);
        const struct rr_entry *entry = &request->entries[0];
        *outbox_read_state(&r->outbox) = (struct rr_read_state){
            .index = index, .request_ctx = entry->data, .request_ctx_size = entry->size};
        return;
    }
    struct rr_message *answer = raft_message(r, RR_MSG_READ_INDEX_RESP, request->from);
    answer->index = index;
    answer->entries = request->entries;
    answer->entry_count = request->entry_count;
}

/* Queues a read and asks everybody at once whether we still lead. */
static void confirm_read(struct raft *r, const struct read_request *request)
{
    struct read_request queued = *request;
    queued.index = r->log.committed;
    if (!read_queue_push(&r->read_only.queue, &r->allocator, &queued))
        return;
    read_only_record_ack(&r->read_only, r->id, read_only_last_position(&r->read_only));
    raft_broadcast_heartbeat(r);
}

/* `request` lives in the outbox, or is copied there to be answered. */
static void serve_read(struct raft *r, const struct read_request *request)
{
    if (r->read_only.option == RR_READ_ONLY_SAFE)
        confirm_read(r, request);
    else
        respond_to_read(r, request, r->log.committed);
}

static void handle_read_index(struct raft *r, const struct rr_message *m)
{
    struct read_request request = {
        .from = m->from,
        .entries = outbox_copy_with_data(&r->outbox, m->entries, m->entry_count),
        .entry_count = m->entry_count,
    };
    if (tracker_is_singleton(&r->tracker))
        respond_to_read(r, &request, r->log.committed);
    else if (!raft_has_committed_in_term(r))
        /* Until then the commit index may be behind what an older leader has acknowledged. */
        (void)read_queue_push(&r->parked_reads, &r->allocator, &request);
    else
        serve_read(r, &request);
}

static void release_parked_reads(struct raft *r)
{
    if (r->parked_reads.count == 0)
        return;
    if (!raft_has_committed_in_term(r)) {
        EVENT(&r->events, READ_BEFORE_COMMIT);
        return;
    }
    while (r->parked_reads.count > 0) {
        struct read_request request;
        read_queue_pop(&r->parked_reads, &r->outbox, &request);
        serve_read(r, &request);
    }
}

static void acknowledge_reads(struct raft *r, const struct rr_message *m)
{
    if (r->read_only.option != RR_READ_ONLY_SAFE || m->context_size == 0)
        return;
    RR_ASSERT_SAYS(m->context_size >= READ_CONTEXT_SIZE,
                   "the read position that node % echoes has % bytes", m->from, m->context_size);
    read_only_record_ack(&r->read_only, m->from, read_only_decode_context(m->context));
    uint32_t count = read_only_advance(&r->read_only, &r->tracker.config);
    for (; count > 0; count--) {
        struct read_request request;
        read_queue_pop(&r->read_only.queue, &r->outbox, &request);
        respond_to_read(r, &request, request.index);
    }
}

/* ---- transfer of leadership (thesis 3.10) -------------------------------- */

static void handle_transfer_leader(struct raft *r, struct progress *pr)
{
    uint64_t target = pr->id;
    if (pr->is_learner) {
        EVENT(&r->events, TRANSFER_LEARNER, r->id);
        return;
    }
    uint64_t previous = r->lead_transferee;
    if (previous == target) {
        EVENT(&r->events, TRANSFER_SAME, r->id, r->term, target, target);
        return;
    }
    if (previous != RR_NONE) {
        raft_abort_leader_transfer(r);
        EVENT(&r->events, TRANSFER_ABORT_PREVIOUS, r->id, r->term, previous);
    }
    if (target == r->id) {
        EVENT(&r->events, TRANSFER_TO_SELF, r->id);
        return;
    }
    EVENT(&r->events, TRANSFER_STARTS, r->id, r->term, target);
    /* It has an election timeout from now on. */
    r->election_elapsed = 0;
    r->lead_transferee = target;
    if (pr->match == raft_log_last_index(&r->log)) {
        raft_message(r, RR_MSG_TIMEOUT_NOW, target);
        EVENT(&r->events, TRANSFER_IMMEDIATE, r->id, target, target);
    } else {
        raft_maybe_send_append(r, pr, true);
    }
}

/* ---- answers of followers ------------------------------------------------ */

static void handle_append_response(struct raft *r, struct progress *pr, const struct rr_message *m)
{
    pr->recent_active = true;
    if (RR_UNLIKELY(m->reject)) {
        raft_append_rejected(r, pr, m);
        return;
    }
    if (!raft_append_accepted(r, pr, m->index))
        return;
    if (raft_maybe_commit(r)) {
        release_parked_reads(r);
        raft_broadcast_append(r);
    } else if (m->from != r->id && progress_can_bump_commit(pr, r->log.committed)) {
        raft_maybe_send_append(r, pr, true);
    }
    /* The window may have room for several messages of limited size. */
    if (m->from != r->id) {
        while (raft_maybe_send_append(r, pr, false))
            ;
    }
    if (RR_UNLIKELY(m->from == r->lead_transferee) && pr->match == raft_log_last_index(&r->log)) {
        EVENT(&r->events, TRANSFER_TIMEOUT_NOW, r->id, m->from);
        raft_message(r, RR_MSG_TIMEOUT_NOW, m->from);
    }
}

static void handle_heartbeat_response(struct raft *r, struct progress *pr,
                                      const struct rr_message *m)
{
    pr->recent_active = true;
    pr->msg_app_flow_paused = false;
    /* Also with a full window: one empty MsgApp finds out whether what filled it was lost. */
    if (pr->match < raft_log_last_index(&r->log) || pr->state == RR_PROGRESS_PROBE)
        raft_maybe_send_append(r, pr, true);
    acknowledge_reads(r, m);
}

static void handle_snapshot_status(struct raft *r, struct progress *pr, bool failed)
{
    if (pr->state != RR_PROGRESS_SNAPSHOT)
        return;
    if (failed)
        pr->pending_snapshot = 0;
    progress_become_probe(pr);
    if (failed)
        EVENT(&r->events, SNAPSHOT_FAILED, r->id, pr->id, event_pointer(pr));
    else
        EVENT(&r->events, SNAPSHOT_SUCCEEDED, r->id, pr->id, event_pointer(pr));
    /* Wait for its answer, or for a heartbeat's, before the next MsgApp. */
    pr->msg_app_flow_paused = true;
}

static void handle_unreachable(struct raft *r, struct progress *pr)
{
    /* Optimistic sending would lose more and more. */
    if (pr->state == RR_PROGRESS_REPLICATE)
        progress_become_probe(pr);
    EVENT(&r->events, UNREACHABLE, r->id, pr->id, event_pointer(pr));
}

/* ---- the role ------------------------------------------------------------ */

static void step_about_peer(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = tracker_find(&r->tracker, m->from);
    if (!pr) {
        EVENT(&r->events, NO_PROGRESS, r->id, m->from);
        return;
    }
    switch (m->type) {
    case RR_MSG_APP_RESP:
        handle_append_response(r, pr, m);
        break;
    case RR_MSG_HEARTBEAT_RESP:
        handle_heartbeat_response(r, pr, m);
        break;
    case RR_MSG_SNAP_STATUS:
        handle_snapshot_status(r, pr, m->reject);
        break;
    case RR_MSG_UNREACHABLE:
        handle_unreachable(r, pr);
        break;
    case RR_MSG_TRANSFER_LEADER:
        handle_transfer_leader(r, pr);
        break;
    default:
        break;
    }
}

int raft_step_leader(struct raft *r, const struct rr_message *m)
{
    switch (m->type) {
    case RR_MSG_PROP:
        return raft_handle_proposal(r, m);
    case RR_MSG_READ_INDEX:
        handle_read_index(r, m);
        break;
    case RR_MSG_BEAT:
        raft_broadcast_heartbeat(r);
        break;
    case RR_MSG_CHECK_QUORUM:
        raft_check_quorum(r);
        break;
    case RR_MSG_FORGET_LEADER:
        break;
    default:
        step_about_peer(r, m);
    }
    return 0;
}
