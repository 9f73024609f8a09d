/* SPDX-License-Identifier: Apache-2.0
 *
 * The border: what a peer may say. The core believes its messages, as the reference does, and stops
 * where a belief breaks; so whatever a peer could send to break one is refused here, before it is
 * stepped.
 */
#include "raft/raw_node.h"

#include "proto/codec.h"
#include "raft/confchange.h"

#include <string.h>

/* Each check returns NULL, or the sentence why not. */

/* ---- entries ------------------------------------------------------------- */

static const char *check_v2(const struct raft *r, const struct rr_conf_change_v2 *change)
{
    /* While another change is pending the core replaces this one anyway. */
    if (r->state != RR_STATE_LEADER || r->pending_conf_index > r->log.applied)
        return NULL;
    return confchange_check(&r->tracker, change);
}

static const char *check_conf_change(const struct raft *r, const struct rr_entry *entry,
                                     bool is_proposal)
{
    if (entry->type == RR_ENTRY_CONF_CHANGE) {
        struct rr_conf_change v1;
        struct rr_conf_change_single single;
        if (rr_conf_change_decode(entry->data, entry->size, &v1) != 0)
            return "undecodable conf change";
        struct rr_conf_change_v2 v2 = confchange_as_v2(&v1, &single);
        return is_proposal ? check_v2(r, &v2) : NULL;
    }
    size_t size = rr_conf_change_v2_scratch_size(entry->size);
    void *bytes = size ? memory_alloc(&r->allocator, size) : NULL;
    struct codec_scratch scratch = {.bytes = bytes, .cap = size};
    struct rr_conf_change_v2 v2;
    const char *reason = NULL;
    if (rr_conf_change_v2_decode(entry->data, entry->size, &scratch, &v2) != 0)
        reason = "undecodable conf change";
    else if (is_proposal)
        reason = check_v2(r, &v2);
    memory_free(&r->allocator, bytes, size);
    return reason;
}

static const char *check_entry(const struct raft *r, const struct rr_entry *entry, bool is_proposal)
{
    if (RR_LIKELY(entry->type == RR_ENTRY_NORMAL))
        return NULL;
    if (entry->type > RR_ENTRY_CONF_CHANGE_V2)
        return "unknown type of entry";
    return check_conf_change(r, entry, is_proposal);
}

static const char *check_append(const struct raft *r, const struct rr_message *m)
{
    uint64_t index = m->index;
    uint64_t term = m->log_term;
    if (term > m->term)
        return "entry of a later term than the message";
    if (index > UINT64_MAX / 2)
        return "index out of range";
    for (uint32_t i = 0; i < m->entry_count; i++) {
        const struct rr_entry *entry = &m->entries[i];
        if (entry->index != index + 1)
            return "entries are not consecutive";
        if (entry->term < term)
            return "terms of entries decrease";
        if (entry->term > m->term)
            return "entry of a later term than the message";
        const char *reason = check_entry(r, entry, false);
        if (reason)
            return reason;
        index = entry->index;
        term = entry->term;
    }
    return NULL;
}

static const char *check_proposal(const struct raft *r, const struct rr_message *m)
{
    if (m->entry_count == 0)
        return "proposal without entries";
    for (uint32_t i = 0; i < m->entry_count; i++) {
        const char *reason = check_entry(r, &m->entries[i], true);
        if (reason)
            return reason;
    }
    return NULL;
}

/* ---- the other types ----------------------------------------------------- */

static const char *check_append_response(const struct raft *r, const struct rr_message *m)
{
    bool counts = r->state == RR_STATE_LEADER && m->term == r->term && !m->reject;
    if (counts && m->index > raft_log_last_index(&r->log))
        return "acknowledges entries that do not exist";
    return NULL;
}

static const char *check_heartbeat(const struct raft *r, const struct rr_message *m)
{
    if (m->context_size != 0 && m->context_size != READ_CONTEXT_SIZE)
        return "read position of a wrong size";
    if (m->term >= r->term && m->commit > raft_log_last_index(&r->log))
        return "commit index beyond the log";
    return NULL;
}

static const char *check_heartbeat_response(const struct raft *r, const struct rr_message *m)
{
    if (m->context_size == 0)
        return NULL;
    if (m->context_size != READ_CONTEXT_SIZE)
        return "read position of a wrong size";
    bool counts = r->state == RR_STATE_LEADER && m->term == r->term;
    uint64_t last = r->read_only.confirmed + r->read_only.queue.count;
    if (counts && read_only_decode_context(m->context) > last)
        return "read position beyond the queue";
    return NULL;
}

static const char *check_snapshot(const struct raft *r, const struct rr_message *m)
{
    if (!m->snapshot || m->snapshot->metadata.index == 0 || m->snapshot->metadata.term == 0)
        return "snapshot without a position";
    if (m->snapshot->metadata.term > m->term)
        return "snapshot of a later term than the message";
    if (m->snapshot->metadata.index > UINT64_MAX / 2)
        return "index out of range";
    return confchange_check_state(&r->allocator, &m->snapshot->metadata.conf_state);
}

static const char *check_by_type(const struct raft *r, const struct rr_message *m)
{
    switch (m->type) {
    case RR_MSG_APP:
        return check_append(r, m);
    case RR_MSG_APP_RESP:
        return check_append_response(r, m);
    case RR_MSG_HEARTBEAT:
        return check_heartbeat(r, m);
    case RR_MSG_HEARTBEAT_RESP:
        return check_heartbeat_response(r, m);
    case RR_MSG_SNAP:
        return check_snapshot(r, m);
    case RR_MSG_PROP:
        return check_proposal(r, m);
    case RR_MSG_READ_INDEX:
    case RR_MSG_READ_INDEX_RESP:
        return m->entry_count == 1 ? NULL : "a read has exactly one context";
    case RR_MSG_VOTE:
    case RR_MSG_VOTE_RESP:
    case RR_MSG_PRE_VOTE:
    case RR_MSG_PRE_VOTE_RESP:
    case RR_MSG_TRANSFER_LEADER:
    case RR_MSG_TIMEOUT_NOW:
        return NULL;
    default:
        return "not a message for the network";
    }
}

/* Requests that are forwarded keep their origin, and may come back to it; they have no term. */
static const char *check_envelope(const struct raft *r, const struct rr_message *m)
{
    if (m->to != r->id)
        return "addressed to another node";
    if (m->from == RR_NONE || m->from == RR_LOCAL_APPEND_THREAD || m->from == RR_LOCAL_APPLY_THREAD)
        return "no sender";
    bool is_forwarded = m->type == RR_MSG_PROP || m->type == RR_MSG_READ_INDEX;
    if (m->from == r->id && !is_forwarded && m->type != RR_MSG_TRANSFER_LEADER)
        return "claims to come from its receiver";
    if (is_forwarded != (m->term == 0))
        return is_forwarded ? "a forwarded request has no term" : "no term";
    if (m->term > UINT64_MAX / 2)
        return "term out of range";
    if (m->response_count != 0)
        return "responses are not for the network";
    return NULL;
}

int rr_raw_node_validate_message(const struct rr_raw_node *node, const struct rr_message *message,
                                 const char **reason)
{
    const char *refusal = check_envelope(&node->raft, message);
    if (!refusal)
        refusal = check_by_type(&node->raft, message);
    if (reason)
        *reason = refusal;
    return refusal ? RR_E_MALFORMED : 0;
}

int rr_raw_node_check_conf_change_v2(const struct rr_raw_node *node,
                                     const struct rr_conf_change_v2 *change, const char **reason)
{
    const char *refusal = confchange_check(&node->raft.tracker, change);
    if (reason)
        *reason = refusal;
    return refusal ? RR_E_CONF_REFUSED : 0;
}
