/* SPDX-License-Identifier: Apache-2.0
 *
 * The leader's log on its way to the others (thesis 3.5, 10.2): MsgApp within each follower's
 * window, heartbeats, and the commit index that acknowledgements bring.
 *
 * Hot: MsgApp is made here, per follower and batch.
 */
#include "raft/raft_core.h"

/* ---- MsgApp -------------------------------------------------------------- */

/* The entries from `next`, which exists, on that fit into a message, in the outbox's `log_run`. */
static inline int fetch_entries(struct raft *r, uint64_t next)
{
    struct log_run *run = &r->outbox.log_run;
    uint64_t log_end = raft_log_last_index(&r->log);
    /* Another peer may have got the same just now. */
    if (run->count > 0 && run->index == next && run->log_end == log_end &&
        next >= r->log.unstable.offset)
        return 0;
    struct log_run newest = {.index = next, .log_end = log_end};
    int err = raft_log_read(&r->log, next, log_end + 1, r->max_msg_size, &newest);
    if (err != 0)
        return err;
    newest.payload_size = raft_log_payload_size(newest.entries, newest.count);
    *run = newest;
    return 0;
}

static inline void send_append(struct raft *r, struct progress *pr, uint64_t previous_term,
                               const struct log_run *run)
{
    struct rr_message *m = raft_message(r, RR_MSG_APP, pr->id);
    m->index = pr->next - 1;
    m->log_term = previous_term;
    m->commit = r->log.committed;
    pr->sent_commit = r->log.committed;
    if (run) {
        m->entries = run->entries;
        m->entry_count = run->count;
        progress_sent_entries(pr, &r->allocator, run->count, run->payload_size);
    } else {
        progress_sent_nothing(pr);
    }
}

/* May entries be sent, or is this follower to be asked first whether its window is still full? */
static inline bool has_room(const struct progress *pr)
{
    return pr->state != RR_PROGRESS_REPLICATE || !inflights_is_full(&pr->inflights);
}

/* Sends what comes next for this follower, if it may be sent anything. */
bool raft_maybe_send_append(struct raft *r, struct progress *pr, bool send_if_empty)
{
    if (progress_is_paused(pr))
        return false;
    if (RR_UNLIKELY(pr->pending_read == pr->next)) {
        pr->empty_append_due |= send_if_empty;
        return false;
    }
    uint64_t previous_term;
    if (RR_UNLIKELY(raft_log_term(&r->log, pr->next - 1, &previous_term) != 0))
        /* Compacted: the follower is too far behind for entries. */
        return raft_maybe_send_snapshot(r, pr);

    if (pr->next > raft_log_last_index(&r->log) || !has_room(pr)) {
        if (send_if_empty)
            send_append(r, pr, previous_term, NULL);
        return send_if_empty;
    }
    int err = fetch_entries(r, pr->next);
    if (RR_UNLIKELY(err == RR_E_PENDING)) {
        pr->pending_read = pr->next;
        pr->empty_append_due = send_if_empty;
        return false;
    }
    if (RR_UNLIKELY(err != 0))
        return send_if_empty && raft_maybe_send_snapshot(r, pr);
    send_append(r, pr, previous_term, &r->outbox.log_run);
    return true;
}

void raft_broadcast_append(struct raft *r)
{
    for (uint32_t i = 0; i < r->tracker.progress_count; i++) {
        struct progress *pr = &r->tracker.progress[i];
        if (pr->id != r->id)
            raft_maybe_send_append(r, pr, true);
    }
}

void raft_storage_ready(struct raft *r, uint64_t from, uint64_t to)
{
    if (r->log.pending_apply >= from && r->log.pending_apply < to)
        r->log.pending_apply = 0;
    for (uint32_t i = 0; i < r->tracker.progress_count; i++) {
        struct progress *pr = &r->tracker.progress[i];
        if (pr->pending_read == 0 || pr->pending_read < from || pr->pending_read >= to)
            continue;
        /* If `next` moved on in between, nothing waited any more, and this does no harm. */
        pr->pending_read = 0;
        bool send_if_empty = pr->empty_append_due;
        pr->empty_append_due = false;
        while (raft_maybe_send_append(r, pr, send_if_empty))
            send_if_empty = false;
    }
}

/* ---- answers ------------------------------------------------------------- */

bool raft_end_probing(struct raft *r, struct progress *pr, uint64_t index)
{
    bool is_news = progress_maybe_update(pr, index);
    if (pr->state == RR_PROGRESS_PROBE) {
        if (pr->match != index)
            return false;
        progress_become_replicate(pr);
        return true;
    }
    /* Whether our snapshot did it or another one: its log touches ours again. */
    if (is_news && pr->match + 1 >= raft_log_first_index(&r->log)) {
        EVENT(&r->events, RECOVERED_FROM_SNAPSHOT, r->id, pr->id, event_pointer(pr));
        progress_become_probe(pr);
        progress_become_replicate(pr);
    }
    return is_news;
}

void raft_append_rejected(struct raft *r, struct progress *pr, const struct rr_message *m)
{
    EVENT(&r->events, APP_RESP_REJECTED, r->id, m->reject_hint, m->log_term, m->from, m->index);
    uint64_t hint = m->reject_hint;
    /* Nothing of ours with a higher term than the follower has there can match: skip it. */
    if (m->log_term > 0)
        hint = raft_log_find_conflict_by_term(&r->log, hint, m->log_term).index;
    if (!progress_maybe_decr_to(pr, m->index, hint))
        return;
    EVENT(&r->events, DECREASED_PROGRESS, r->id, pr->id, event_pointer(pr));
    if (pr->state == RR_PROGRESS_REPLICATE)
        progress_become_probe(pr);
    raft_maybe_send_append(r, pr, true);
}

bool raft_has_committed_in_term(const struct raft *r)
{
    return raft_log_term_or_zero(&r->log, r->log.committed) == r->term;
}

/* ---- heartbeats ---------------------------------------------------------- */

/* The context of heartbeats, in the outbox; NULL if no read waits. */
static const uint8_t *encode_read_context(struct raft *r)
{
    uint64_t position = read_only_last_position(&r->read_only);
    if (position == 0)
        return NULL;
    uint8_t context[READ_CONTEXT_SIZE];
    for (int i = 0; i < READ_CONTEXT_SIZE; i++)
        context[i] = (uint8_t)(position >> (8 * i));
    return outbox_copy_bytes(&r->outbox, context, sizeof(context));
}

void raft_broadcast_heartbeat(struct raft *r)
{
    const uint8_t *context = encode_read_context(r);
    for (uint32_t i = 0; i < r->tracker.progress_count; i++) {
        struct progress *pr = &r->tracker.progress[i];
        if (pr->id == r->id)
            continue;
        /* Not beyond what is known to match: the follower could not commit it. */
        uint64_t commit = rr_min_u64(pr->match, r->log.committed);
        struct rr_message *m = raft_message(r, RR_MSG_HEARTBEAT, pr->id);
        m->commit = commit;
        m->context = context;
        m->context_size = context ? READ_CONTEXT_SIZE : 0;
        pr->sent_commit = commit;
    }
}
