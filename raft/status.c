/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into a node: plain reads.
 */
#include "raft/raw_node.h"

void rr_raw_node_basic_status(const struct rr_raw_node *node, struct rr_basic_status *status)
{
    const struct raft *r = &node->raft;
    *status = (struct rr_basic_status){
        .id = r->id,
        .hard_state = {.term = r->term, .vote = r->vote, .commit = r->log.committed},
        .soft_state = {.lead = r->lead, .raft_state = r->state},
        .applied = r->log.applied,
        .lead_transferee = r->lead_transferee,
        .last_index = raft_log_last_index(&r->log),
        .uncommitted_size = r->uncommitted_size,
    };
}

uint32_t rr_raw_node_progress(const struct rr_raw_node *node, struct rr_progress_status *out,
                              uint32_t cap)
{
    const struct raft *r = &node->raft;
    if (r->state != RR_STATE_LEADER)
        return 0;
    for (uint32_t i = 0; i < r->tracker.progress_count && i < cap; i++) {
        const struct progress *pr = &r->tracker.progress[i];
        out[i] = (struct rr_progress_status){
            .id = pr->id,
            .match = pr->match,
            .next = pr->next,
            .pending_snapshot = pr->pending_snapshot,
            .inflight_bytes = pr->inflights.bytes,
            .inflight_count = pr->inflights.count,
            .inflight_cap = pr->inflights.max_count,
            .state = pr->state,
            .is_learner = pr->is_learner,
            .recent_active = pr->recent_active,
            .is_paused = progress_is_paused(pr),
            .is_inflight_full = inflights_is_full(&pr->inflights),
        };
    }
    return r->tracker.progress_count;
}
