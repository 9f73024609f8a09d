/* SPDX-License-Identifier: Apache-2.0
 *
 * The consumer's side of the thread-safe node: what comes out, and that it was done.
 */
#include "engine/node_state.h"

#include "raft/confchange.h"

#include <string.h>

int rr_node_ready_fd(const struct rr_node *node)
{
    return node->ready_fd;
}

int rr_node_ready(struct rr_node *node, struct rr_ready *ready)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    if (!node_can_take_ready(node))
        return node_leave(node, RR_E_NOT_FOUND);
    rr_raw_node_ready(node->raw, ready);
    node->is_ready_out = !node->is_async;
    return node_leave(node, 0);
}

int rr_node_advance(struct rr_node *node)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    if (!node->is_ready_out)
        return node_leave(node, RR_E_INVALID);
    rr_raw_node_advance(node->raw);
    node->is_ready_out = false;
    return node_leave(node, 0);
}

static const uint64_t *keep_ids(uint64_t **at, const uint64_t *ids, uint32_t count)
{
    uint64_t *kept = *at;
    if (count > 0)
        memcpy(kept, ids, count * sizeof(*ids));
    *at += count;
    return kept;
}

int rr_node_apply_conf_change_v2(struct rr_node *node, const struct rr_conf_change_v2 *change,
                                 struct rr_conf_state *conf_state)
{
    int err = node_enter(node);
    if (err != 0)
        return err;
    const struct raft *r = &node->raw->raft;
    bool was_member = tracker_find(&r->tracker, r->id) != NULL;
    struct rr_conf_state now;
    rr_raw_node_apply_conf_change_v2(node->raw, change, &now);
    /* A node that catches up may not know yet that it is a member: only a removal counts. */
    if (was_member && !tracker_find(&r->tracker, r->id))
        node->is_removed = true;
    if (conf_state) {
        uint64_t *at = node->conf_ids;
        *conf_state = now;
        conf_state->voters = keep_ids(&at, now.voters, now.voter_count);
        conf_state->learners = keep_ids(&at, now.learners, now.learner_count);
        conf_state->voters_outgoing = keep_ids(&at, now.voters_outgoing, now.voter_outgoing_count);
        conf_state->learners_next = keep_ids(&at, now.learners_next, now.learner_next_count);
        RR_ASSERT((size_t)(at - node->conf_ids) <= RR_ARRAY_SIZE(node->conf_ids));
    }
    return node_leave(node, 0);
}

int rr_node_apply_conf_change(struct rr_node *node, const struct rr_conf_change *change,
                              struct rr_conf_state *conf_state)
{
    struct rr_conf_change_single single;
    const struct rr_conf_change_v2 v2 = confchange_as_v2(change, &single);
    return rr_node_apply_conf_change_v2(node, &v2, conf_state);
}

uint32_t rr_node_take_outcomes(struct rr_node *node, struct rr_node_outcome *out, uint32_t cap)
{
    rr_node_lock(node);
    uint32_t count = node_proposals_take(&node->proposals, out, cap);
    rr_node_unlock(node);
    return count;
}
