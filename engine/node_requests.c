/* SPDX-License-Identifier: Apache-2.0
 *
 * What other threads ask of the thread-safe node: proposals, messages, the small requests.
 */
#include "engine/node_state.h"

#include "proto/codec.h"

#include <string.h>

/* ---- proposals ----------------------------------------------------------- */

int node_step_proposal(struct rr_node *node, const struct rr_entry *entry)
{
    if (entry->type != RR_ENTRY_NORMAL) {
        uint64_t id = node->raw->raft.id;
        const struct rr_message proposal = {
            .type = RR_MSG_PROP, .to = id, .from = id, .entries = entry, .entry_count = 1};
        if (rr_raw_node_validate_message(node->raw, &proposal, NULL) != 0)
            return RR_E_CONF_REFUSED;
    }
    return rr_raw_node_propose_batch(node->raw, entry, 1);
}

/* The lock is held; takes the entry's reference. */
static int propose(struct rr_node *node, const struct rr_entry *entry,
                   const struct rr_node_wait *wait)
{
    int err;
    if (wait) {
        const struct node_proposal proposal = {
            .entry = *entry,
            .tag = wait->tag,
            .deadline = wait->ticks ? node->tick_count + wait->ticks : UINT64_MAX};
        err = node_proposals_add(&node->proposals, &proposal); /* steps it when we leave */
        if (err == 0)
            return 0;
    } else {
        err = node_takes_proposals(node) ? node_step_proposal(node, entry) : RR_E_PROPOSAL_DROPPED;
    }
    rr_block_put(entry->block, 1);
    return err;
}

int rr_node_propose(struct rr_node *node, const uint8_t *data, uint32_t size,
                    const struct rr_node_wait *wait)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    struct rr_entry entry = {.size = 0};
    if (data) {
        struct rr_block *block = memory_block_new(&node->allocator, size);
        memcpy(block->bytes, data, size);
        entry = (struct rr_entry){
            .data = block->bytes, .block = block, .size = size, .has = RR_ENTRY_HAS_DATA};
    }
    return node_leave(node, propose(node, &entry, wait));
}

/* The lock is held; `block` holds the encoded change, and its reference is taken. */
static int propose_change(struct rr_node *node, enum rr_entry_type type, struct rr_block *block,
                          const struct rr_node_wait *wait)
{
    const struct rr_entry entry = {.type = (uint8_t)type,
                                   .data = block->bytes,
                                   .block = block,
                                   .size = block->cap,
                                   .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA};
    return propose(node, &entry, wait);
}

int rr_node_propose_conf_change(struct rr_node *node, const struct rr_conf_change *change,
                                const struct rr_node_wait *wait)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    struct rr_block *block = memory_block_new(&node->allocator, rr_conf_change_size(change));
    rr_conf_change_encode(change, block->bytes);
    return node_leave(node, propose_change(node, RR_ENTRY_CONF_CHANGE, block, wait));
}

int rr_node_propose_conf_change_v2(struct rr_node *node, const struct rr_conf_change_v2 *change,
                                   const struct rr_node_wait *wait)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    struct rr_block *block = memory_block_new(&node->allocator, rr_conf_change_v2_size(change));
    rr_conf_change_v2_encode(change, block->bytes);
    return node_leave(node, propose_change(node, RR_ENTRY_CONF_CHANGE_V2, block, wait));
}

static int judge_by_tag(void *ctx, const struct node_proposal *proposal)
{
    const uint64_t *tag = ctx;
    return proposal->tag == *tag ? RR_E_CANCELED : NODE_PROPOSAL_WAITS;
}

int rr_node_cancel(struct rr_node *node, uint64_t tag)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    uint32_t count = node_proposals_judge(&node->proposals, judge_by_tag, &tag);
    return node_leave(node, count > 0 ? 0 : RR_E_NOT_FOUND);
}

/* ---- messages ------------------------------------------------------------ */

/* What a node only says to itself. */
static bool is_local(uint8_t type)
{
    switch (type) {
    case RR_MSG_HUP:
    case RR_MSG_BEAT:
    case RR_MSG_UNREACHABLE:
    case RR_MSG_SNAP_STATUS:
    case RR_MSG_CHECK_QUORUM:
    case RR_MSG_STORAGE_APPEND:
    case RR_MSG_STORAGE_APPEND_RESP:
    case RR_MSG_STORAGE_APPLY:
    case RR_MSG_STORAGE_APPLY_RESP:
        return true;
    default:
        return false;
    }
}

/* Entries of these may enter the log, which keeps their bytes: one block for all of them. */
static int step_with_entries(struct rr_node *node, const struct rr_message *message)
{
    size_t size = 0;
    for (uint32_t i = 0; i < message->entry_count; i++)
        size += message->entries[i].size;
    if (size > UINT32_MAX)
        return RR_E_TOO_LARGE;
    struct rr_block *block = memory_block_new(&node->allocator, size);
    size_t copies_size = message->entry_count * sizeof(struct rr_entry);
    struct rr_entry *copies = memory_alloc(&node->allocator, copies_size);
    uint8_t *at = block->bytes;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        copies[i] = message->entries[i];
        copies[i].block = block;
        copies[i].wire_size = 0;
        if (copies[i].size > 0)
            memcpy(at, copies[i].data, copies[i].size);
        if (copies[i].data)
            copies[i].data = at;
        at += copies[i].size;
    }
    struct rr_message own = *message;
    own.entries = copies;
    if (own.type == RR_MSG_PROP)
        own.from = node->raw->raft.id;
    int err = rr_raw_node_step(node->raw, &own);
    memory_free(&node->allocator, copies, copies_size);
    rr_block_put(block, 1);
    return err;
}

static int step(struct rr_node *node, const struct rr_message *message)
{
    if (message->type == RR_MSG_PROP && !node_takes_proposals(node))
        return RR_E_PROPOSAL_DROPPED;
    if (message->entry_count > 0 && (message->type == RR_MSG_APP || message->type == RR_MSG_PROP))
        return step_with_entries(node, message);
    if (!message->snapshot)
        return rr_raw_node_step(node->raw, message);
    struct rr_snapshot snapshot = *message->snapshot;
    struct rr_message own = *message;
    snapshot.block = NULL; /* so that the core copies it */
    own.snapshot = &snapshot;
    return rr_raw_node_step(node->raw, &own);
}

int rr_node_step(struct rr_node *node, const struct rr_message *message)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    if (is_local(message->type))
        return node_leave(node, 0);
    err = rr_raw_node_validate_message(node->raw, message, NULL);
    if (err == 0)
        err = step(node, message);
    return node_leave(node, err == RR_E_STEP_PEER_NOT_FOUND ? 0 : err);
}

int rr_node_step_storage(struct rr_node *node, const struct rr_message *response)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    uint64_t id = node->raw->raft.id;
    bool is_own = response->from == id || response->from == RR_LOCAL_APPEND_THREAD ||
                  response->from == RR_LOCAL_APPLY_THREAD;
    if (!node->is_async || response->to != id || !is_own)
        return node_leave(node, RR_E_INVALID);
    err = rr_raw_node_step(node->raw, response);
    return node_leave(node, err == RR_E_STEP_PEER_NOT_FOUND ? 0 : err);
}

/* ---- other requests ------------------------------------------------------ */

int rr_node_campaign(struct rr_node *node)
{
    int err = node_enter(node);
    return err != 0 ? err : node_leave(node, rr_raw_node_campaign(node->raw));
}

int rr_node_forget_leader(struct rr_node *node)
{
    int err = node_enter(node);
    return err != 0 ? err : node_leave(node, rr_raw_node_forget_leader(node->raw));
}

int rr_node_transfer_leader(struct rr_node *node, uint64_t transferee)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    rr_raw_node_transfer_leader(node->raw, transferee);
    return node_leave(node, 0);
}

int rr_node_read_index(struct rr_node *node, const uint8_t *context, uint32_t size)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    rr_raw_node_read_index(node->raw, context, size);
    return node_leave(node, 0);
}

int rr_node_report_unreachable(struct rr_node *node, uint64_t id)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    rr_raw_node_report_unreachable(node->raw, id);
    return node_leave(node, 0);
}

int rr_node_report_snapshot(struct rr_node *node, uint64_t id, bool failed)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    rr_raw_node_report_snapshot(node->raw, id, failed);
    return node_leave(node, 0);
}

int rr_node_status(struct rr_node *node, struct rr_node_status *status)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    *status = (struct rr_node_status){.ticks_missed = node->ticks_missed,
                                      .waiting_bytes = node->proposals.waiting_bytes,
                                      .waiting_count = node->proposals.waiting_count,
                                      .outcome_count = node->proposals.outcome_count,
                                      .is_ready_out = node->is_ready_out,
                                      .is_removed = node->is_removed};
    rr_raw_node_basic_status(node->raw, &status->basic);
    return node_leave(node, 0);
}

int rr_node_progress(struct rr_node *node, struct rr_progress_status *out, uint32_t cap,
                     uint32_t *count)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    *count = rr_raw_node_progress(node->raw, out, cap);
    return node_leave(node, 0);
}
