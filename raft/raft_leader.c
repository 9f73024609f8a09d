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

static int handle_read_index(struct raft *r, const struct rr_message *m)
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
    return 0;
}

RR_COLD static void release_parked_reads(struct raft *r)
{
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

/* ---- what concerns a peer ------------------------------------------------- */

RR_COLD static void log_stranger(const struct raft *r, const struct rr_message *m)
{
    EVENT(&r->events, NO_PROGRESS, r->id, m->from);
}

/* The progress of who sent a message, or whom it is about; NULL: not a member. */
static inline struct progress *find_sender(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = tracker_find(&r->tracker, m->from);
    if (RR_UNLIKELY(!pr))
        log_stranger(r, m);
    return pr;
}

/* Of no concern to a leader. */
static int ignore(struct raft *r, const struct rr_message *m)
{
    (void)find_sender(r, m);
    return 0;
}

/* Thesis 3.10. */
static void start_transfer(struct raft *r, struct progress *pr)
{
    EVENT(&r->events, TRANSFER_STARTS, r->id, r->term, pr->id);
    /* It has an election timeout from now on. */
    r->election_elapsed = 0;
    r->lead_transferee = pr->id;
    if (pr->match == raft_log_last_index(&r->log)) {
        raft_message(r, RR_MSG_TIMEOUT_NOW, pr->id);
        EVENT(&r->events, TRANSFER_IMMEDIATE, r->id, pr->id, pr->id);
    } else {
        raft_maybe_send_append(r, pr, true);
    }
}

static int handle_transfer_leader(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = find_sender(r, m);
    if (!pr)
        return 0;
    if (pr->is_learner) {
        EVENT(&r->events, TRANSFER_LEARNER, r->id);
        return 0;
    }
    uint64_t previous = r->lead_transferee;
    if (previous == pr->id) {
        EVENT(&r->events, TRANSFER_SAME, r->id, r->term, previous, previous);
        return 0;
    }
    if (previous != RR_NONE) {
        raft_abort_leader_transfer(r);
        EVENT(&r->events, TRANSFER_ABORT_PREVIOUS, r->id, r->term, previous);
    }
    if (pr->id == r->id)
        EVENT(&r->events, TRANSFER_TO_SELF, r->id);
    else
        start_transfer(r, pr);
    return 0;
}

/* This follower, or the node itself, has more of the log than was known. Not inlined: an
 * acknowledgement that is no news, which every commit brings, needs no frame. */
__attribute__((noinline)) static int use_acknowledgement(struct raft *r, struct progress *pr)
{
    bool is_own = pr->id == r->id;
    /* Who acknowledges what is committed already commits nothing. */
    if (pr->match > r->log.committed && raft_maybe_commit(r)) {
        if (RR_UNLIKELY(r->parked_reads.count > 0))
            release_parked_reads(r);
        raft_broadcast_append(r);
    } else if (!is_own && progress_can_bump_commit(pr, r->log.committed)) {
        raft_maybe_send_append(r, pr, true);
    }
    if (is_own)
        return 0;
    /* The window may have room for several messages of limited size. */
    while (pr->next <= raft_log_last_index(&r->log) && raft_maybe_send_append(r, pr, false))
        ;
    if (RR_UNLIKELY(pr->id == r->lead_transferee) && pr->match == raft_log_last_index(&r->log)) {
        EVENT(&r->events, TRANSFER_TIMEOUT_NOW, r->id, pr->id);
        raft_message(r, RR_MSG_TIMEOUT_NOW, pr->id);
    }
    return 0;
}

RR_COLD static int handle_unusual_response(struct raft *r, struct progress *pr,
                                           const struct rr_message *m)
{
    if (m->reject)
        raft_append_rejected(r, pr, m);
    else if (raft_end_probing(r, pr, m->index))
        use_acknowledgement(r, pr);
    return 0;
}

static int handle_append_response(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = find_sender(r, m);
    if (RR_UNLIKELY(!pr))
        return 0;
    pr->recent_active = true;
    if (RR_UNLIKELY(m->reject || pr->state != RR_PROGRESS_REPLICATE))
        return handle_unusual_response(r, pr, m);
    if (!progress_maybe_update(pr, m->index))
        return 0;
    inflights_free_le(&pr->inflights, m->index);
    return use_acknowledgement(r, pr);
}

static int handle_heartbeat_response(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = find_sender(r, m);
    if (!pr)
        return 0;
    pr->recent_active = true;
    pr->msg_app_flow_paused = false;
    /* Also with a full window: one empty MsgApp finds out whether what filled it was lost. */
    if (pr->match < raft_log_last_index(&r->log) || pr->state == RR_PROGRESS_PROBE)
        raft_maybe_send_append(r, pr, true);
    acknowledge_reads(r, m);
    return 0;
}

static int handle_snapshot_status(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = find_sender(r, m);
    if (!pr || pr->state != RR_PROGRESS_SNAPSHOT)
        return 0;
    if (m->reject)
        pr->pending_snapshot = 0;
    progress_become_probe(pr);
    if (m->reject)
        EVENT(&r->events, SNAPSHOT_FAILED, r->id, pr->id, event_pointer(pr));
    else
        EVENT(&r->events, SNAPSHOT_SUCCEEDED, r->id, pr->id, event_pointer(pr));
    /* Wait for its answer, or for a heartbeat's, before the next MsgApp. */
    pr->msg_app_flow_paused = true;
    return 0;
}

static int handle_unreachable(struct raft *r, const struct rr_message *m)
{
    struct progress *pr = find_sender(r, m);
    if (!pr)
        return 0;
    /* Optimistic sending would lose more and more. */
    if (pr->state == RR_PROGRESS_REPLICATE)
        progress_become_probe(pr);
    EVENT(&r->events, UNREACHABLE, r->id, pr->id, event_pointer(pr));
    return 0;
}

/* ---- the role ------------------------------------------------------------ */

static int handle_beat(struct raft *r, const struct rr_message *m)
{
    (void)m;
    raft_broadcast_heartbeat(r);
    return 0;
}

static int handle_check_quorum(struct raft *r, const struct rr_message *m)
{
    (void)m;
    raft_check_quorum(r);
    return 0;
}

const raft_handler raft_leader_handlers[RAFT_MESSAGE_TYPES] = {
    [RR_MSG_HUP] = raft_handle_hup,
    [RR_MSG_VOTE] = raft_handle_vote_request,
    [RR_MSG_PRE_VOTE] = raft_handle_vote_request,
    [RR_MSG_STORAGE_APPEND_RESP] = raft_handle_storage_append_resp,
    [RR_MSG_STORAGE_APPLY_RESP] = raft_handle_storage_apply_resp,
    [RR_MSG_PROP] = raft_handle_proposal,
    [RR_MSG_READ_INDEX] = handle_read_index,
    [RR_MSG_BEAT] = handle_beat,
    [RR_MSG_CHECK_QUORUM] = handle_check_quorum,
    [RR_MSG_APP_RESP] = handle_append_response,
    [RR_MSG_HEARTBEAT_RESP] = handle_heartbeat_response,
    [RR_MSG_SNAP_STATUS] = handle_snapshot_status,
    [RR_MSG_UNREACHABLE] = handle_unreachable,
    [RR_MSG_TRANSFER_LEADER] = handle_transfer_leader,
    [RR_MSG_APP] = ignore,
    [RR_MSG_VOTE_RESP] = ignore,
    [RR_MSG_SNAP] = ignore,
    [RR_MSG_HEARTBEAT] = ignore,
    [RR_MSG_TIMEOUT_NOW] = ignore,
    [RR_MSG_READ_INDEX_RESP] = ignore,
    [RR_MSG_PRE_VOTE_RESP] = ignore,
    [RR_MSG_STORAGE_APPEND] = ignore,
    [RR_MSG_STORAGE_APPLY] = ignore,
};
