/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a rr_raw_node, for the core's own files, for describe and for tests.
 */
#ifndef RR_RAFT_RAW_NODE_H
#define RR_RAFT_RAW_NODE_H

#include "raft/raft_core.h"

struct rr_raw_node {
    struct raft raft;
    /* What the last Ready said, to see what changed. */
    struct rr_soft_state previous_soft;
    struct rr_hard_state previous_hard;
    /* What the Ready at hand points to. */
    struct rr_soft_state ready_soft;
    struct rr_hard_state ready_hard;
    /* Sync mode: what Advance steps, in this order; the self-addressed messages of `advance_box`
     * first. */
    struct box *advance_box; /* NULL: no Ready waits for Advance */
    struct rr_message advance_append_resp;
    struct rr_message advance_apply_resp;
    bool has_advance_append_resp;
    bool has_advance_apply_resp;
};

static inline struct rr_soft_state raft_soft_state(const struct raft *r)
{
    return (struct rr_soft_state){.lead = r->lead, .raft_state = r->state};
}

static inline struct rr_hard_state raft_hard_state(const struct raft *r)
{
    return (struct rr_hard_state){.term = r->term, .vote = r->vote, .commit = r->log.committed};
}

#endif
