/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots (thesis 5): sent to a follower that needs entries which are compacted, received from a
 * leader.
 */
#include "raft/raft_core.h"

/* ---- sending ------------------------------------------------------------- */

static struct owned_snapshot *own(struct raft *r, const struct rr_snapshot *snapshot)
{
    struct owned_snapshot *pending = r->log.unstable.snapshot;
    if (pending && snapshot == &pending->snapshot) {
        rr_block_get(pending->memory, 1);
        return pending;
    }
    return owned_snapshot_new(&r->allocator, snapshot);
}

RR_COLD bool raft_maybe_send_snapshot(struct raft *r, struct progress *pr)
{
    if (!pr->recent_active) {
        EVENT(&r->events, SNAPSHOT_PEER_INACTIVE, pr->id);
        return false;
    }
    const struct rr_snapshot *snapshot = NULL;
    int err = raft_log_snapshot(&r->log, &snapshot);
    if (err == RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE) {
        EVENT(&r->events, SNAPSHOT_UNAVAILABLE, r->id, pr->id);
        return false;
    }
    RR_ASSERT_SAYS(err == 0, "node %: the storage has no snapshot for node %: error -%", r->id,
                   pr->id, (uint64_t)-err);
    uint64_t index = snapshot->metadata.index;
    RR_ASSERT_SAYS(index != 0, "node %: the storage's snapshot for node % is empty", r->id, pr->id);
    EVENT(&r->events, SENT_SNAPSHOT, r->id, raft_log_first_index(&r->log), r->log.committed, index,
          snapshot->metadata.term, pr->id, event_pointer(pr));
    progress_become_snapshot(pr, index);
    EVENT(&r->events, PAUSED_REPLICATION, r->id, pr->id, event_pointer(pr));

    struct owned_snapshot *owned = own(r, snapshot);
    raft_message(r, RR_MSG_SNAP, pr->id)->snapshot = outbox_hold_snapshot(&r->outbox, owned);
    owned_snapshot_put(owned);
    return true;
}

/* ---- receiving ----------------------------------------------------------- */

static bool contains(const uint64_t *ids, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* `learners_next` are outgoing voters. */
static bool is_member(const struct rr_conf_state *state, uint64_t id)
{
    return contains(state->voters, state->voter_count, id) ||
           contains(state->learners, state->learner_count, id) ||
           contains(state->voters_outgoing, state->voter_outgoing_count, id);
}

/* Makes the snapshot the beginning of the log; false if it is not wanted. */
static bool restore(struct raft *r, const struct rr_snapshot *snapshot)
{
    const struct rr_snapshot_metadata *meta = &snapshot->metadata;
    if (meta->index <= r->log.committed)
        return false;
    if (r->state != RR_STATE_FOLLOWER) {
        EVENT(&r->events, RESTORE_AS_LEADER, r->id);
        raft_become_follower(r, r->term + 1, RR_NONE);
        return false;
    }
    if (!is_member(&meta->conf_state, r->id)) {
        EVENT(&r->events, RESTORE_NOT_MEMBER, r->id, event_pointer(&meta->conf_state));
        return false;
    }
    struct entry_id id = {.term = meta->term, .index = meta->index};
    if (raft_log_match_term(&r->log, id)) {
        /* The log has it all: only the news that it is committed is worth something. */
        struct entry_id last = raft_log_last_id(&r->log);
        EVENT(&r->events, FAST_FORWARDED, r->id, r->log.committed, last.index, last.term, id.index,
              id.term);
        raft_log_commit_to(&r->log, id.index);
        return false;
    }
    raft_log_restore(&r->log, snapshot);
    raft_restore_config(r, &meta->conf_state);
    struct entry_id last = raft_log_last_id(&r->log);
    EVENT(&r->events, RESTORED, r->id, r->log.committed, last.index, last.term, id.index, id.term);
    return true;
}

RR_COLD int raft_handle_snapshot(struct raft *r, const struct rr_message *m)
{
    const struct rr_snapshot none = {.size = 0};
    const struct rr_snapshot *snapshot = m->snapshot ? m->snapshot : &none;
    uint64_t index = snapshot->metadata.index;
    uint64_t term = snapshot->metadata.term;
    uint64_t acknowledged;
    if (restore(r, snapshot)) {
        EVENT(&r->events, SNAPSHOT_RESTORED, r->id, r->log.committed, index, term);
        acknowledged = raft_log_last_index(&r->log);
    } else {
        EVENT(&r->events, SNAPSHOT_IGNORED, r->id, r->log.committed, index, term);
        acknowledged = r->log.committed;
    }
    raft_message(r, RR_MSG_APP_RESP, m->from)->index = acknowledged;
    return 0;
}
