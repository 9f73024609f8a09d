/* SPDX-License-Identifier: Apache-2.0
 *
 * Proposals: entries enter the leader's log here. They are laid into the room behind the unstable
 * tail, checked and numbered there, and become part of the log all together or not at all.
 *
 * Hot: one pass per entry.
 */
#include "raft/raft_core.h"

#include "proto/codec.h"
#include "raft/confchange.h"

/* ---- how much is under way ----------------------------------------------- */

static bool increase_uncommitted_size(struct raft *r, uint64_t payload_size)
{
    /* An empty tail takes an entry of any size, or it could never be proposed; empty entries (a new
     * leader's, the one that leaves a joint configuration) always pass. */
    if (r->uncommitted_size > 0 && payload_size > 0 &&
        r->uncommitted_size + payload_size > r->max_uncommitted_size)
        return false;
    r->uncommitted_size += payload_size;
    return true;
}

void raft_reduce_uncommitted_size(struct raft *r, uint64_t payload_size)
{
    /* Entries of older terms were never counted. */
    r->uncommitted_size -= rr_min_u64(r->uncommitted_size, payload_size);
}

/* ---- conf changes -------------------------------------------------------- */

/* A conf change in an entry, decoded; as V2 in any case. */
struct decoded_change {
    struct rr_conf_change_v2 v2;
    struct rr_conf_change_single single;
    void *scratch;
    size_t scratch_size;
};

static void decode_change(struct raft *r, const struct rr_entry *entry, struct decoded_change *out)
{
    *out = (struct decoded_change){.scratch_size = 0};
    int err;
    if (entry->type == RR_ENTRY_CONF_CHANGE) {
        struct rr_conf_change v1;
        err = rr_conf_change_decode(entry->data, entry->size, &v1);
        RR_ASSERT_SAYS(err == 0, "a conf change of % bytes does not decode: error -%", entry->size,
                       (uint64_t)-err);
        out->v2 = confchange_as_v2(&v1, &out->single);
        return;
    }
    out->scratch_size = rr_conf_change_v2_scratch_size(entry->size);
    if (out->scratch_size)
        out->scratch = memory_alloc(&r->allocator, out->scratch_size);
    struct codec_scratch scratch = {.bytes = out->scratch, .cap = out->scratch_size};
    err = rr_conf_change_v2_decode(entry->data, entry->size, &scratch, &out->v2);
    RR_ASSERT_SAYS(err == 0, "a conf change of % bytes does not decode: error -%", entry->size,
                   (uint64_t)-err);
}

/* May this change be proposed now? Says why not. */
static bool check_change(struct raft *r, const struct rr_conf_change_v2 *change)
{
    uint64_t config = event_pointer(&r->tracker.config);
    bool is_joint = tracker_is_joint(&r->tracker);
    bool wants_to_leave = change->change_count == 0;
    if (r->pending_conf_index > r->log.applied) {
        if (!r->disable_conf_change_validation)
            EVENT(&r->events, CONF_REFUSED_PENDING, r->id, event_pointer(change), config,
                  r->pending_conf_index, r->log.applied);
        return false;
    }
    if (is_joint && !wants_to_leave) {
        if (!r->disable_conf_change_validation)
            EVENT(&r->events, CONF_REFUSED_JOINT, r->id, event_pointer(change), config);
        return false;
    }
    if (!is_joint && wants_to_leave) {
        if (!r->disable_conf_change_validation)
            EVENT(&r->events, CONF_REFUSED_NOT_JOINT, r->id, event_pointer(change), config);
        return false;
    }
    return true;
}

/* A change that is refused is replaced by an empty normal entry: the proposal as such succeeds. */
static void check_conf_change_entry(struct raft *r, struct rr_entry *entry, uint64_t index)
{
    struct decoded_change change;
    decode_change(r, entry, &change);
    if (check_change(r, &change.v2) || r->disable_conf_change_validation) {
        r->pending_conf_index = index;
    } else {
        if (!entry->block)
            outbox_copy_last_use(&r->outbox, entry, 1);
        *entry = (struct rr_entry){.type = RR_ENTRY_NORMAL, .has = RR_ENTRY_HAS_TYPE};
    }
    memory_free(&r->allocator, change.scratch, change.scratch_size);
}

/* ---- appending ----------------------------------------------------------- */

static void number_entry(struct rr_entry *entry, struct entry_id id)
{
    const uint8_t both = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX;
    /* What was encoded with another position (a forwarded proposal) is encoded no longer. */
    if ((entry->has & both) != both || entry->term != id.term || entry->index != id.index)
        entry->wire_size = 0;
    entry->term = id.term;
    entry->index = id.index;
    entry->has |= both;
}

/* Appends the `count` entries that lie in the reserved room. */
static bool append_reserved(struct raft *r, uint32_t count, uint64_t payload_size)
{
    if (!increase_uncommitted_size(r, payload_size)) {
        EVENT(&r->events, UNCOMMITTED_LIMIT, r->id);
        return false;
    }
    unstable_extend(&r->log.unstable, count);
    /* The leader acknowledges to itself like any follower: when the entries are durable. */
    raft_message(r, RR_MSG_APP_RESP, r->id)->index = raft_log_last_index(&r->log);
    return true;
}

void raft_append_empty_entry(struct raft *r)
{
    struct entry_id id = {.term = r->term, .index = raft_log_last_index(&r->log) + 1};
    unstable_reserve(&r->log.unstable, 1);
    struct rr_entry *entry = unstable_slot(&r->log.unstable, id.index);
    *entry = (struct rr_entry){.type = RR_ENTRY_NORMAL};
    number_entry(entry, id);
    bool appended = append_reserved(r, 1, 0);
    RR_ASSERT(appended);
}

int raft_handle_proposal(struct raft *r, const struct rr_message *m)
{
    RR_ASSERT_SAYS(m->entry_count > 0, "a proposal of node % has no entries", m->from);
    /* Removed from the configuration, and still leading until somebody takes over. */
    if (!tracker_find(&r->tracker, r->id))
        return RR_E_PROPOSAL_DROPPED;
    if (r->lead_transferee != RR_NONE) {
        EVENT(&r->events, PROPOSAL_IN_TRANSFER, r->id, r->term, r->lead_transferee);
        return RR_E_PROPOSAL_DROPPED;
    }
    unstable_reserve(&r->log.unstable, m->entry_count);
    struct entry_id id = {.term = r->term, .index = raft_log_last_index(&r->log) + 1};
    uint64_t payload_size = 0;
    for (uint32_t i = 0; i < m->entry_count; i++, id.index++) {
        struct rr_entry *entry = unstable_slot(&r->log.unstable, id.index);
        *entry = m->entries[i];
        if (RR_UNLIKELY(entry->type == RR_ENTRY_CONF_CHANGE ||
                        entry->type == RR_ENTRY_CONF_CHANGE_V2))
            check_conf_change_entry(r, entry, id.index);
        number_entry(entry, id);
        payload_size += entry->size;
    }
    if (!append_reserved(r, m->entry_count, payload_size))
        return RR_E_PROPOSAL_DROPPED;
    raft_broadcast_append(r);
    return 0;
}
