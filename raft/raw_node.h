/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a rr_raw_node, for the core's own files, for describe and for tests.
 */
#ifndef RR_RAFT_RAW_NODE_H
#define RR_RAFT_RAW_NODE_H

#include "raft/raft_core.h"

struct rr_raw_node {
    struct raft raft;
    /* What the last Ready said, to see what changed; it points here. */
    struct rr_soft_state soft;
    struct rr_hard_state hard;
    struct box *advance_box; /* sync mode: what the Ready at hand is made of, if Advance has to step
                                something of it; NULL: no Ready waits for Advance */
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
